// SPDX-License-Identifier: MIT
/*
 *	{"type":"state", ... ,"nr_lost":1,"seal":"0123456789abcdef"}
 *	|<------- what is hashed ------>|^                        ^ then the brace
 */
#include "tools/report/line.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "faults/explore/explore.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#define SEAL_BEGIN ",\"seal\":\""
#define SEAL_END   "\"}"
#define SEAL_BYTES (sizeof(SEAL_BEGIN) - 1 + 16 + sizeof(SEAL_END) - 1)

/* ------------------------------------------------------------------------------ seals */

/* @len bytes of a line, up to its seal. */
static uint64_t next_seal(uint64_t before, const char *words, size_t len)
{
	return XXH3_64bits_withSeed(words, len, before);
}

char *results_seal(json_t *line, size_t flags, uint64_t *seal, size_t *ret_len)
{
	char *text = NULL, *room;
	size_t len;

	if (line) {
		json_object_del(line, "seal");
		text = json_dumps(line, flags);
		json_decref(line);
	}
	len = text ? strlen(text) : 0;
	room = text ? fail_alloc("tools/report/line/seal", realloc(text, len + SEAL_BYTES + 1))
		    : NULL;
	if (!room) {
		free(text);
		return NULL;
	}
	len--; /* the brace goes behind the seal */
	*seal = next_seal(*seal, room, len);
	snprintf(room + len, SEAL_BYTES + 1, SEAL_BEGIN "%016" PRIx64 SEAL_END, *seal);
	len += SEAL_BYTES;
	room[len++] = '\n'; /* in place of the end */
	*ret_len = len;
	return room;
}

static bool read_hex(const char *digits, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (int i = 0; i < 16; i++) {
		char c = digits[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret_value = value;
	return true;
}

bool results_read_hex(const json_t *text, uint64_t *ret_value)
{
	const char *digits = json_string_value(text);

	return digits && json_string_length(text) == 16 && read_hex(digits, ret_value);
}

/* Bytes before the seal; 0: there is none. */
static size_t words_len(const char *bytes, size_t len)
{
	const char *seal = bytes + len - SEAL_BYTES;

	if (len <= SEAL_BYTES || memcmp(seal, SEAL_BEGIN, sizeof(SEAL_BEGIN) - 1) != 0 ||
	    memcmp(bytes + len - 2, SEAL_END, 2) != 0)
		return 0;
	return len - SEAL_BYTES;
}

bool results_same_words(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t len = words_len(a, a_len);

	return len && len == words_len(b, b_len) && memcmp(a, b, len) == 0;
}

/* ------------------------------------------------------------------------------ reading */

int results_bad_line(const struct results_source *source, const char *what, const char *hint,
		     struct diag *diag)
{
	diag_set(diag, -EINVAL, "results.line", "%.200s, line %u: %s", source->file, source->line,
		 what);
	diag_hint(diag, "%s",
		  hint ? hint : "the file is damaged or not of `faultblk explore --results`");
	return -EINVAL;
}

/* What an older program called by another name. */
static int take_old_names(json_t *head)
{
	json_t *all = json_object_get(head, "moments");

	if (!all || json_object_get(head, "all_points"))
		return 0;
	if (json_object_set(head, "all_points", all) < 0)
		return -ENOMEM;
	return json_object_del(head, "moments");
}

static json_int_t version_of(const json_t *head)
{
	return json_integer_value(json_object_get(head, "version"));
}

bool results_are_sealed(const json_t *head)
{
	return version_of(head) == 2 || version_of(head) == RESULTS_VERSION;
}

bool results_have_record_steps(const json_t *head)
{
	return version_of(head) == RESULTS_VERSION;
}

/* The first line says whether there are seals. */
static int look_at_first(struct results_source *source, json_t *line, struct diag *diag)
{
	const json_t *version = json_object_get(line, "version");
	const char *type = json_string_value(json_object_get(line, "type"));

	if (!type || strcmp(type, "explore") != 0)
		return results_bad_line(source, "no head, wanted a line of type explore first",
					NULL, diag);
	if (take_old_names(line))
		return diag_set(diag, -ENOMEM, "results.memory", "no memory to read results");
	source->sealed = results_are_sealed(line);
	source->seal = RESULTS_SEAL_START;
	if (source->sealed)
		return 0;
	if ((version && json_integer_value(version) != 1) || json_object_get(line, "seal"))
		return results_bad_line(source, "results of another version, wanted 1 to 3", NULL,
					diag);
	return 0;
}

static int check_seal(struct results_source *source, const char *bytes, size_t len,
		      struct diag *diag)
{
	size_t words = words_len(bytes, len);
	char hint[160] = "";
	uint64_t seal;

	if (!words || !read_hex(bytes + words + sizeof(SEAL_BEGIN) - 1, &seal))
		return results_bad_line(source, "no seal at its end", NULL, diag);
	source->seal = next_seal(source->seal, bytes, words);
	if (seal == source->seal)
		return 0;
	if (source->line > 1)
		snprintf(hint, sizeof(hint),
			 "it was changed, or lines before it are missing, doubled or moved; the "
			 "first %u lines are good (head -n %u)",
			 source->line - 1, source->line - 1);
	return results_bad_line(source, "its seal does not match it and the line before it",
				hint[0] ? hint : NULL, diag);
}

int results_take(struct results_source *source, const char *bytes, size_t len, struct diag *diag,
		 json_t **ret_line)
{
	json_error_t error;
	json_t *line = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &error);
	int err = 0;

	source->line++;
	if (!json_is_object(line))
		err = results_bad_line(source, "not a JSON object, wanted one in each line", NULL,
				       diag);
	else if (source->line == 1)
		err = look_at_first(source, line, diag);
	else if (!json_is_string(json_object_get(line, "type")))
		err = results_bad_line(source, "no \"type\", wanted one in each line", NULL, diag);
	if (!err && source->sealed)
		err = check_seal(source, bytes, len, diag);
	if (err)
		json_decref(line);
	else
		*ret_line = line;
	return err;
}

/* ------------------------------------------------------------------------------ what lines say */

enum kind {
	POINT,    /* one of the exploration's crash points */
	COUNT,    /* 0 or more */
	NUMBER,   /* any whole one */
	REAL,     /* 0 or more */
	FRACTION, /* 0 to 1 */
	FLAG,
	TEXT,
	NAME, /* of a state */
	HEX,
	VERDICT,
	FINDING, /* a verdict that is one */
	LOST,
	COUNTS, /* one for each verdict */
	SHARES, /* a fraction for each verdict */
};

static const struct member {
	const char *type, *name;
	enum kind kind;
	bool may_lack;
	const char *fault;
} members[] = {
	{ "state", "point", POINT, false, "its point is not one of the exploration" },
	{ "state", "state", NAME, false, "its state has no name" },
	{ "state", "hash", HEX, false, "its hash is not 16 hexadecimal digits" },
	{ "state", "key", HEX, false, "its key is not 16 hexadecimal digits" },
	{ "state", "strategy", TEXT, false, "it has no strategy" },
	{ "state", "verdict", VERDICT, false, "its verdict is not valid" },
	{ "state", "exit", NUMBER, false, "its exit is not a number" },
	{ "state", "signal", COUNT, false, "its signal is not a signal" },
	{ "state", "ms", REAL, true, "its ms is not a time" },
	{ "state", "switch_ms", REAL, true, "its switch_ms is not a time" },
	{ "state", "lost", LOST, false, "its lost are not ascending writes of the recording" },
	{ "state", "nr_lost", COUNT, false, "its nr_lost is not a count" },
	{ "state", "reordered", FLAG, true, "its reordered is neither true nor false" },
	{ "state", "output", TEXT, true, "its output is not text" },
	{ "done", "point", POINT, false, "its point is not one of the exploration" },
	{ "done", "generated", COUNT, false, "its generated is not a count" },
	{ "done", "distinct", COUNT, false, "its distinct is not a count" },
	{ "done", "equivalent", COUNT, false, "its equivalent is not a count" },
	{ "done", "covered", FRACTION, false, "its covered is not a fraction" },
	{ "done", "exact", FLAG, false, "its exact is neither true nor false" },
	{ "done", "complete", FLAG, false, "its complete is neither true nor false" },
	{ "done", "verdicts", COUNTS, false, "its verdicts are not counts" },
	{ "done", "shares", SHARES, true, "its shares are not fractions of 1" },
	{ "finding", "point", POINT, false, "its point is not one of the exploration" },
	{ "finding", "state", NAME, false, "its state has no name" },
	{ "finding", "verdict", FINDING, false, "its verdict is not that of a finding" },
	{ "finding", "reordered", FLAG, true, "its reordered is neither true nor false" },
};

static bool read_verdict(const json_t *value, enum explore_verdict *ret_verdict)
{
	const char *name = json_string_value(value);

	for (int i = 0; name && i < EXPLORE_NR_VERDICTS; i++) {
		if (strcmp(name, explore_verdict_name(i)) != 0)
			continue;
		*ret_verdict = i;
		return true;
	}
	return false;
}

static bool is_count(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_real(const json_t *value, double max)
{
	return json_is_number(value) && json_number_value(value) >= 0 &&
	       json_number_value(value) <= max;
}

/* What crash_name() is made of; nothing that a shell or a path knows. */
static bool is_name(const json_t *value)
{
	const char *name = json_string_value(value);
	size_t len = json_string_length(value);

	return name && len && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789~=,.:+-") == len &&
	       name[0] != '-';
}

static bool is_lost(const json_t *value, uint64_t writes)
{
	json_int_t before = -1;
	const json_t *write;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > RESULTS_LOST_MAX)
		return false;
	json_array_foreach (value, i, write) {
		json_int_t n = json_integer_value(write);

		if (!json_is_integer(write) || n <= before || (uint64_t)n >= writes)
			return false;
		before = n;
	}
	return true;
}

/* A number for each verdict and no other; of fractions the sum is at most 1. */
static bool are_of_verdicts(const json_t *value, bool counts)
{
	double sum = 0;

	if (!json_is_object(value) || json_object_size(value) != EXPLORE_NR_VERDICTS)
		return false;
	for (int i = 0; i < EXPLORE_NR_VERDICTS; i++) {
		const json_t *n = json_object_get(value, explore_verdict_name(i));

		if (counts ? !is_count(n) : !is_real(n, 1))
			return false;
		sum += json_number_value(n);
	}
	return counts || sum <= 1 + 1e-6;
}

static bool is_kind(const json_t *value, enum kind kind, const struct results_limits *limits)
{
	enum explore_verdict verdict;
	uint64_t hex;

	switch (kind) {
	case POINT:
		return is_count(value) && (uint64_t)json_integer_value(value) < limits->points;
	case COUNT:
		return is_count(value);
	case NUMBER:
		return json_is_integer(value);
	case REAL:
		return is_real(value, 1e300);
	case FRACTION:
		return is_real(value, 1);
	case FLAG:
		return json_is_boolean(value);
	case TEXT:
		return json_is_string(value);
	case NAME:
		return is_name(value);
	case HEX:
		return results_read_hex(value, &hex);
	case VERDICT:
		return read_verdict(value, &verdict);
	case FINDING:
		return read_verdict(value, &verdict) && explore_is_finding(verdict);
	case LOST:
		return is_lost(value, limits->writes);
	case COUNTS:
	case SHARES:
		return are_of_verdicts(value, kind == COUNTS);
	}
	return false;
}

/* Members are there; do they agree? */
static const char *counts_fault(const char *type, const json_t *line,
				const struct results_limits *limits)
{
	uint64_t nr_lost = (uint64_t)json_integer_value(json_object_get(line, "nr_lost"));
	uint64_t listed = json_array_size(json_object_get(line, "lost"));
	json_int_t distinct = json_integer_value(json_object_get(line, "distinct"));
	json_int_t equivalent = json_integer_value(json_object_get(line, "equivalent"));
	json_int_t generated = json_integer_value(json_object_get(line, "generated"));
	const char *stopped = json_string_value(json_object_get(line, "stopped"));

	if (strcmp(type, "state") == 0 &&
	    (nr_lost > limits->writes ||
	     listed != (nr_lost < RESULTS_LOST_MAX ? nr_lost : RESULTS_LOST_MAX)))
		return "its nr_lost and lost contradict each other";
	if (strcmp(type, "done") == 0 &&
	    (distinct > generated || equivalent != generated - distinct))
		return "its generated, distinct and equivalent contradict each other";
	if (strcmp(type, "end") == 0 && stopped && strcmp(stopped, RESULTS_CHANGED) == 0)
		return "the recording changed while it was explored: these results are not valid";
	return NULL;
}

const char *results_line_fault(const json_t *line, const struct results_limits *limits)
{
	const char *type = json_string_value(json_object_get(line, "type"));

	for (size_t i = 0; i < array_size(members); i++) {
		const struct member *m = &members[i];
		const json_t *value = json_object_get(line, m->name);

		if (strcmp(type, m->type) == 0 && !(m->may_lack && !value) &&
		    !is_kind(value, m->kind, limits))
			return m->fault;
	}
	return counts_fault(type, line, limits);
}
