// SPDX-License-Identifier: MIT
/*
 * The part of fio's JSON that is read; all else is left alone:
 *
 *	"jobs": [ { "jobname": "j",
 *		    "read": { "clat_ns": { "min": 9, "max": 99, "N": 5,
 *					   "percentile": { "1.000000": 9, ... },
 *					   "bins": { "9": 1, "50": 3, "99": 1 } } },
 *		    "write": ..., "trim": ...,
 *		    "sync": { "lat_ns": ... } } ]
 */
#include "faults/rule/fio.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/list_text.h"
#include "base/units.h"
#include "faults/rule/value.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ID         "rule.bad-file"
#define POINTS_MAX 8192      /* of one histogram; fio itself has at most 1856 */
#define WHOLE      100000000 /* fio writes percentiles with six digits after the point */

static const char *const section_names[FIO_NR_SECTIONS] = {
	[FIO_READ] = "read",
	[FIO_WRITE] = "write",
	[FIO_TRIM] = "trim",
	[FIO_SYNC] = "sync",
};

/* What is being read, for messages. */
struct fio_source {
	const char *path;
	uint64_t limit_ns;
	struct diag *diag;
};

const char *fio_section_name(enum fio_section section)
{
	return section_names[section];
}

void fio_clear(struct fio_times *times)
{
	for (size_t i = 0; i < FIO_NR_SECTIONS; i++)
		curve_clear(&times->of[i]);
}

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* ------------------------------------------------------------------------------ the file */

static int not_fio(const struct fio_source *source, const char *what)
{
	diag_set(source->diag, -EINVAL, ID, "file=%s is not what fio writes: %s", source->path,
		 what);
	diag_hint(source->diag, "fio --output-format=json+ --output=%.200s", source->path);
	return -EINVAL;
}

/* The caller frees *ret_text. */
static int read_text(const struct fio_source *source, char **ret_text, size_t *ret_len)
{
	/* Without waiting: a pipe that nobody writes to must not stop the control thread. */
	_cleanup_close_ int fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	ssize_t got = 1;
	size_t len = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return diag_set(source->diag, -EINVAL, ID, "file=%s cannot be opened: %s",
				source->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return diag_set(source->diag, -EINVAL, ID, "file=%s wants a regular file, got a %s",
				source->path, S_ISDIR(st.st_mode) ? "directory" : "special file");
	/* One byte more than allowed, so that a file that grows meanwhile is noticed. */
	text = fail_alloc("faults/rule/fio/read", malloc(FIO_FILE_MAX + 1));
	if (!text)
		return -ENOMEM;
	while (len <= FIO_FILE_MAX && got > 0) {
		got = read(fd, text + len, FIO_FILE_MAX + 1 - len);
		len += got > 0 ? (size_t)got : 0;
	}
	if (got < 0)
		return diag_set(source->diag, -EINVAL, ID, "file=%s cannot be read: %s",
				source->path, strerror(errno));
	if (len > FIO_FILE_MAX)
		return diag_set(source->diag, -EINVAL, ID,
				"file=%s is too large, wanted at most %u MiB", source->path,
				FIO_FILE_MAX >> 20);
	*ret_text = take_ptr(text);
	*ret_len = len;
	return 0;
}

/* fio may have written remarks before its JSON, a line each. */
static const char *skip_remarks(const char *text, size_t *len)
{
	const char *at = text, *end = text + *len, *line = text;

	while (line < end && *line != '{') {
		const char *next = memchr(line, '\n', (size_t)(end - line));

		line = next ? next + 1 : end;
	}
	if (line < end)
		at = line;
	*len = (size_t)(end - at);
	return at;
}

static int load(const struct fio_source *source, const char *text, size_t len, json_t **ret_json)
{
	const char *at = skip_remarks(text, &len);
	json_error_t error;
	char words[200];

	/* Names may stand twice: fio repeats options that it was given twice. */
	*ret_json = json_loadb(at, len, 0, &error);
	if (*ret_json)
		return 0;
	snprintf(words, sizeof(words), "line %d of the JSON: %.*s", error.line, 150,
		 len ? error.text : "it is empty");
	return not_fio(source, words);
}

/* ------------------------------------------------------------------------------ the times */

static int time_of(const struct fio_source *source, const char *key, const json_t *value,
		   uint64_t *ret_ns)
{
	char got[UNITS_MAX], limit[UNITS_MAX];
	double real = json_is_number(value) ? json_number_value(value) : -1;

	if (!(real >= 0)) {
		diag_set(
			source->diag, -EINVAL, ID,
			"file=%s: the latency at \"%.40s\" wants nanoseconds, a number of at least 0",
			source->path, key);
		return -EINVAL;
	}
	if (real > (double)source->limit_ns)
		return diag_set(source->diag, -EINVAL, ID,
				"file=%s: the latency at \"%.40s\" is %s, wanted at most %s",
				source->path, key,
				units_human_time(real < 0x1p63 ? (uint64_t)real : INT64_MAX, got),
				units_format_time(source->limit_ns, limit));
	*ret_ns = (uint64_t)real;
	return 0;
}

/* One entry of "bins" or "percentile": how many, or what share of WHOLE, have how long. */
struct fio_entry {
	uint64_t ns, amount;
};

static int by_time(const void *a, const void *b)
{
	const struct fio_entry *x = a, *y = b;

	return x->ns == y->ns ? 0 : x->ns < y->ns ? -1 : 1;
}

static int by_amount(const void *a, const void *b)
{
	const struct fio_entry *x = a, *y = b;

	return x->amount == y->amount ? 0 : x->amount < y->amount ? -1 : 1;
}

static int key_number(const struct fio_source *source, const char *key, double max, double *ret)
{
	if (number_parse((struct text){ key, strlen(key) }, max, ret) == 0)
		return 0;
	diag_set(source->diag, -EINVAL, ID,
		 "file=%s: \"%.40s\" wants a number from 0 to %g as its name", source->path, key,
		 max);
	return -EINVAL;
}

static int read_bin(const struct fio_source *source, const char *key, const json_t *value,
		    struct fio_entry *ret)
{
	json_int_t count = json_is_integer(value) ? json_integer_value(value) : -1;
	double ns;

	if (count < 0 || count > 1ll << 40)
		return diag_set(source->diag, -EINVAL, ID,
				"file=%s: the bin \"%.40s\" wants a count from 0 to 2^40",
				source->path, key);
	if (key_number(source, key, (double)source->limit_ns, &ns) < 0)
		return -EINVAL;
	*ret = (struct fio_entry){ (uint64_t)ns, (uint64_t)count };
	return 0;
}

static int read_percentile(const struct fio_source *source, const char *key, const json_t *value,
			   struct fio_entry *ret)
{
	double percent;

	if (key_number(source, key, 100, &percent) < 0)
		return -EINVAL;
	ret->amount = (uint64_t)(percent * (WHOLE / 100) + 0.5);
	return time_of(source, key, value, &ret->ns);
}

/* All members of @object as entries; the caller frees *ret_entries. */
static int read_entries(const struct fio_source *source, json_t *object, bool bins,
			struct fio_entry **ret_entries, size_t *ret_nr)
{
	_cleanup_free_ struct fio_entry *entries = NULL;
	const char *key;
	json_t *value;
	size_t nr = 0;

	if (json_object_size(object) > POINTS_MAX)
		return diag_set(source->diag, -EINVAL, ID,
				"file=%s has %zu bins in a histogram, wanted at most %d",
				source->path, json_object_size(object), POINTS_MAX);
	entries = calloc(json_object_size(object) + 1, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	json_object_foreach (object, key, value) {
		int err = bins ? read_bin(source, key, value, &entries[nr])
			       : read_percentile(source, key, value, &entries[nr]);

		if (err < 0)
			return err;
		nr++;
	}
	qsort(entries, nr, sizeof(*entries), bins ? by_time : by_amount);
	*ret_entries = take_ptr(entries);
	*ret_nr = nr;
	return 0;
}

/* A step for each bin, as wide as the bin's share. */
static int curve_of_bins(const struct fio_source *source, json_t *object, struct curve *curve)
{
	_cleanup_free_ struct fio_entry *entries = NULL;
	uint64_t total = 0, sum = 0;
	size_t nr;
	int err = read_entries(source, object, true, &entries, &nr);

	for (size_t i = 0; !err && i < nr; i++)
		total += entries[i].amount;
	for (size_t i = 0; !err && i < nr; i++) {
		if (!entries[i].amount)
			continue;
		err = curve_add(curve, curve_share(sum, total), entries[i].ns);
		sum += entries[i].amount;
		if (!err)
			err = curve_add(curve, curve_share(sum, total), entries[i].ns);
	}
	return err;
}

static int curve_of_percentiles(const struct fio_source *source, json_t *latency, json_t *object,
				struct curve *curve)
{
	_cleanup_free_ struct fio_entry *entries = NULL;
	uint64_t min_ns, max_ns, last_ns;
	size_t nr;
	int err = read_entries(source, object, false, &entries, &nr);

	if (!err)
		err = time_of(source, "min", json_object_get(latency, "min"), &min_ns);
	if (!err)
		err = time_of(source, "max", json_object_get(latency, "max"), &max_ns);
	/* fio rounds percentiles to its bins: they may stick out at both ends. */
	if (!err && nr && min_ns > entries[0].ns)
		min_ns = entries[0].ns;
	if (!err)
		err = curve_add(curve, 0, min_ns);
	last_ns = err ? 0 : min_ns;
	for (size_t i = 0; !err && i < nr; i++) {
		if (entries[i].ns < last_ns)
			return diag_set(source->diag, -EINVAL, ID,
					"file=%s: percentile %g is shorter than the one before it",
					source->path, (double)entries[i].amount / (WHOLE / 100));
		last_ns = entries[i].ns;
		err = curve_add(curve, curve_share(entries[i].amount, WHOLE), last_ns);
	}
	if (!err)
		err = curve_add(curve, UINT64_MAX, max_ns > last_ns ? max_ns : last_ns);
	return err;
}

/* Leaves the curve empty when there is nothing to make it from. */
static int read_latency(const struct fio_source *source, json_t *latency, struct curve *curve)
{
	json_t *bins = json_object_get(latency, "bins");
	json_t *percentiles = json_object_get(latency, "percentile");
	json_t *count = json_object_get(latency, "N");

	if (json_is_integer(count) && !json_integer_value(count))
		return 0;
	if (json_is_object(bins) && json_object_size(bins))
		return curve_of_bins(source, bins, curve);
	if (json_is_object(percentiles) && json_object_size(percentiles))
		return curve_of_percentiles(source, latency, percentiles, curve);
	return 0;
}

static int read_job(const struct fio_source *source, json_t *job, struct fio_times *times)
{
	static const char *const latencies[] = { "clat_ns", "lat_ns" };
	bool any = false;

	for (size_t i = 0; i < FIO_NR_SECTIONS; i++) {
		json_t *section = json_object_get(job, section_names[i]);

		for (size_t l = 0; l < array_size(latencies) && !times->of[i].nr; l++) {
			int err = read_latency(source, json_object_get(section, latencies[l]),
					       &times->of[i]);

			if (err < 0)
				return err;
		}
		any |= times->of[i].nr > 0;
	}
	if (any)
		return 0;
	return not_fio(source, "its job has neither percentiles nor bins in clat_ns or lat_ns");
}

/* ------------------------------------------------------------------------------ the job */

static const char *job_name(json_t *job)
{
	const char *name = json_string_value(json_object_get(job, "jobname"));

	return name ? name : "?";
}

/* "a, b, c": which jobs there are. */
static const char *list_jobs(json_t *jobs, char *buf, size_t size)
{
	struct list_text list;

	list_text_begin(&list, buf, size);
	for (size_t i = 0; i < json_array_size(jobs); i++)
		list_text_add(&list, job_name(json_array_get(jobs, i)));
	return list_text_end(&list);
}

static int find_job(const struct fio_source *source, json_t *jobs, const char *name,
		    json_t **ret_job)
{
	size_t nr = json_array_size(jobs);
	char list[160];

	if (nr == 0)
		return not_fio(source, "it has no list of \"jobs\"");
	for (size_t i = 0; name && i < nr; i++) {
		*ret_job = json_array_get(jobs, i);
		if (strcmp(job_name(*ret_job), name) == 0)
			return 0;
	}
	list_jobs(jobs, list, sizeof(list));
	if (name)
		return diag_set(source->diag, -EINVAL, ID, "file=%s has no job '%s', it has %s",
				source->path, name, list);
	*ret_job = json_array_get(jobs, 0);
	if (nr == 1)
		return 0;
	diag_set(source->diag, -EINVAL, ID, "file=%s has %zu jobs: %s", source->path, nr, list);
	diag_hint(source->diag, "name one with job=, or let fio add them up: --group_reporting");
	return -EINVAL;
}

/* What is quoted from the file could steer the terminal of whoever reads the message. */
static void make_printable(char *message)
{
	for (unsigned char *c = (unsigned char *)message; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (c[0] == 0xc2 && c[1] && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

static int parse(const struct fio_source *source, const char *text, size_t len, const char *job,
		 struct fio_times *ret_times)
{
	_cleanup_(cleanup_json) json_t *json = NULL;
	struct fio_times times = { .of = { { .nr = 0 } } };
	json_t *found = NULL;
	int err = load(source, text, len, &json);

	if (!err)
		err = find_job(source, json_object_get(json, "jobs"), job, &found);
	if (!err)
		err = read_job(source, found, &times);
	if (err) {
		if (err == -EINVAL && source->diag)
			make_printable(source->diag->message);
		fio_clear(&times);
		return err;
	}
	*ret_times = times;
	return 0;
}

int fio_parse(const char *text, size_t len, const char *job, uint64_t limit_ns, struct diag *diag,
	      struct fio_times *ret_times)
{
	const struct fio_source source = { "(text)", limit_ns, diag };

	return parse(&source, text, len, job, ret_times);
}

int fio_read(const char *path, const char *job, uint64_t limit_ns, struct diag *diag,
	     struct fio_times *ret_times)
{
	const struct fio_source source = { path, limit_ns, diag };
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int err = read_text(&source, &text, &len);

	return err ? err : parse(&source, text, len, job, ret_times);
}
