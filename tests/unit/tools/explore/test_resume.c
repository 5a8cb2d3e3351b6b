// SPDX-License-Identifier: MIT
/*
 * A results file that was damaged in any way is refused by line and left as it is, or it is gone on
 * from to exactly what an exploration that was never stopped says.
 */
#include "tests/resume_case.h"
#include "tests/unit/check.h"
#include "tools/report/report.h"

#include <errno.h>

#define MUTATIONS 1000

static char path[] = "/tmp/faultblk-resume-XXXXXX";
static struct resume_case c;

struct results_text {
	char *bytes;
	size_t len;
};

static char *whole;                  /* what an unbroken exploration says */
static struct results_text bases[3]; /* unbroken; stopped once; stopped and gone on from */
static const uint64_t limit = 9;     /* states of the one that is stopped */

static int set_up(void **ctx)
{
	int fd = mkstemp(path);

	(void)ctx;
	if (fd < 0)
		return -1;
	close(fd);
	c = resume_begin(path);
	return 0;
}

static int tear_down(void **ctx)
{
	(void)ctx;
	for (size_t i = 0; i < array_size(bases); i++)
		free(bases[i].bytes);
	free(whole);
	journal_free(c.journal);
	return unlink(path);
}

static void explore(uint64_t max_states)
{
	struct diag diag = { 0 };

	c.job.max_states = max_states;
	if (resume_explore(&c, &diag))
		fail_msg("%s", diag.message);
}

/* ------------------------------------------------------------------------------ what is said */

/* The findings of the last run, seals aside. */
static void put_findings(const struct results_text *text, FILE *out)
{
	const char *at = text->bytes, *end = text->bytes + text->len, *from = at, *to = at, *next;

	for (; at < end; at = next) {
		next = strchr(at, '\n') + 1;
		if (strncmp(at, "{\"type\":\"finding\",\"n\":0,", 24) == 0)
			from = at;
		if (strncmp(at, "{\"type\":\"end\"", 13) == 0)
			to = at;
	}
	for (at = from; at < to; at = next) {
		next = strchr(at, '\n') + 1;
		fwrite(at, 1, (size_t)(next - at - 28), out);
	}
}

/* All that a results file says but for times, in one text. */
static char *told(const struct results_text *text)
{
	struct diag diag = { 0 };
	struct report report;
	char *words = NULL;
	size_t len;
	FILE *out = open_memstream(&words, &len);

	report_init(&report);
	if (report_read(&report, "results", text->bytes, text->len, &diag) ||
	    report_merge(&report, &diag))
		fail_msg("%s", diag.message);
	assert_int_equal(report.nr_cut, 0);
	assert_int_equal(report_write(&report, true, out), 0);
	put_findings(text, out);
	fclose(out);
	report_clear(&report);
	return words;
}

static struct results_text now(void)
{
	struct results_text text;

	text.bytes = resume_read(path, &text.len);
	return text;
}

static void put_base(const struct results_text *base)
{
	resume_save(path, base->bytes, base->len);
}

/* Goes on from what is there, and it comes to the unbroken result. */
static void goes_on(void)
{
	_cleanup_free_ char *said = NULL;
	struct results_text text;

	explore(0);
	text = now();
	said = told(&text);
	assert_string_equal(said, whole);
	free(text.bytes);
}

/* It is refused with words, and not touched. */
static void is_refused(const char *words)
{
	struct results_text before = now(), after;
	struct diag diag = { 0 };

	c.job.max_states = 0;
	if (resume_explore(&c, &diag) != -EINVAL)
		fail_msg("gone on from, wanted: %s", words);
	if (!strstr(diag.message, words))
		fail_msg("'%s' does not say '%s'", diag.message, words);
	assert_int_equal(c.checks, 0);
	after = now();
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.bytes, before.bytes, before.len);
	free(before.bytes);
	free(after.bytes);
}

static void explorations_that_are_stopped_come_to_the_same(void **ctx)
{
	uint64_t all;

	(void)ctx;
	resume_save(path, "", 0);
	explore(0);
	all = c.checks;
	assert_true(all > 20);
	bases[0] = now();
	whole = told(&bases[0]);
	assert_non_null(strstr(whole, "\"type\":\"finding\""));
	resume_save(path, "", 0);
	explore(limit);
	assert_int_equal(c.checks, limit);
	bases[1] = now();
	goes_on();
	assert_int_equal(c.checks, all - limit);
	bases[2] = now();
	goes_on();
	assert_int_equal(c.checks, 0);
}

/* ------------------------------------------------------------------------------ damage */

static struct draw draw = { .seed = 1 };

static size_t below(size_t bound)
{
	return (size_t)draw_below(&draw, bound);
}

static void cut_out(struct results_text *text, size_t at, size_t len)
{
	memmove(text->bytes + at, text->bytes + at + len, text->len - at - len);
	text->len -= len;
}

static void put_in(struct results_text *text, size_t at, const char *bytes, size_t len)
{
	text->bytes = realloc(text->bytes, text->len + len + 1);
	assert_non_null(text->bytes);
	memmove(text->bytes + at + len, text->bytes + at, text->len - at);
	memcpy(text->bytes + at, bytes, len);
	text->len += len;
}

/* A line of it, with its end; any, or one that the last of them does not follow. */
static size_t any_line(const struct results_text *text, size_t *ret_len)
{
	size_t at = below(text->len), end = at;

	while (at && text->bytes[at - 1] != '\n')
		at--;
	while (text->bytes[end] != '\n')
		end++;
	*ret_len = end + 1 - at;
	return at;
}

/* A copy of a line put before another one. */
static void copy_line(struct results_text *text, bool move)
{
	size_t len, to_len, from = any_line(text, &len), to = any_line(text, &to_len);
	_cleanup_free_ char *line = malloc(len);

	assert_non_null(line);
	memcpy(line, text->bytes + from, len);
	if (move && to > from)
		to -= len;
	if (move)
		cut_out(text, from, len);
	put_in(text, to, line, len);
}

static void double_line(struct results_text *text)
{
	size_t len, at = any_line(text, &len);
	_cleanup_free_ char *line = malloc(len);

	assert_non_null(line);
	memcpy(line, text->bytes + at, len);
	put_in(text, at + len, line, len);
}

static void change_digit(struct results_text *text)
{
	size_t at;

	do {
		at = below(text->len);
	} while (!strchr("0123456789", text->bytes[at]));
	text->bytes[at] = (char)('0' + below(10));
}

static void replace_number(struct results_text *text)
{
	static const char *const numbers[] = { "0",  "1",          "2",
					       "-1", "4294967295", "9223372036854775807" };
	const char *number = numbers[below(array_size(numbers))];
	size_t at, len = 0;

	do {
		at = below(text->len);
	} while (!strchr("0123456789", text->bytes[at]));
	while (at && strchr("0123456789", text->bytes[at - 1]))
		at--;
	while (strchr("0123456789", text->bytes[at + len]))
		len++;
	cut_out(text, at, len);
	put_in(text, at, number, strlen(number));
}

static void mutate(struct results_text *text)
{
	size_t at = below(text->len), len;
	char byte = (char)below(256);

	switch (below(11)) {
	case 0:
		at = any_line(text, &len);
		cut_out(text, at, len);
		break;
	case 1:
		double_line(text);
		break;
	case 2:
		copy_line(text, true);
		break;
	case 3:
		copy_line(text, false);
		break;
	case 4:
		change_digit(text);
		break;
	case 5:
		replace_number(text);
		break;
	case 6:
		text->bytes[at] ^= (char)(1 << below(8));
		break;
	case 7:
		cut_out(text, at, 1);
		break;
	case 8:
		put_in(text, at, &byte, 1);
		break;
	case 9: /* from there on */
		cut_out(text, at, text->len - at);
		break;
	case 10: /* a piece */
		len = 1 + below(text->len - at);
		cut_out(text, at, len);
		break;
	}
}

static void a_damaged_file_is_refused_by_line_or_comes_to_the_same(void **ctx)
{
	unsigned int refused = 0;

	(void)ctx;
	for (int i = 0; i < MUTATIONS; i++) {
		const struct results_text *base = &bases[i % array_size(bases)];
		struct results_text text = { .len = base->len };
		struct diag diag = { 0 };

		text.bytes = malloc(base->len + 1);
		assert_non_null(text.bytes);
		memcpy(text.bytes, base->bytes, base->len + 1);
		mutate(&text);
		put_base(&text);
		free(text.bytes);
		c.job.max_states = 0;
		if (resume_explore(&c, &diag) == 0) {
			goes_on();
			continue;
		}
		/* The same again, looked at. */
		is_refused(strstr(diag.message, "is no results file") ? "is no results file"
								      : ", line ");
		refused++;
	}
	printf("%u of %d were refused\n", refused, MUTATIONS);
	assert_in_range(refused, MUTATIONS / 2, MUTATIONS - MUTATIONS / 20);
}

/* ------------------------------------------------------------------------------ forged */

/* The stopped run with @old in its first line of type @type replaced by @new, all seals right. */
static void forge(const char *type, const char *old, const char *new)
{
	uint64_t seal = RESULTS_SEAL_START;
	const char *at = bases[1].bytes, *next;
	struct results_text text = { 0 };
	bool done = false;

	for (; *at; at = next) {
		_cleanup_free_ char *line = NULL, *sealed = NULL;
		char *place;
		size_t len;

		next = strchr(at, '\n') + 1;
		line = strndup(at, (size_t)(next - at));
		place = !done && strstr(line, type) ? strstr(line, old) : NULL;
		if (place) {
			_cleanup_free_ char *rest = strdup(place + strlen(old));

			*place = '\0';
			assert_true(asprintf(&place, "%s%s%s", line, new, rest) > 0);
			free(line);
			line = place;
			done = true;
		}
		sealed = results_seal(json_loads(line, 0, NULL),
				      JSON_COMPACT | JSON_REAL_PRECISION(12), &seal, &len);
		assert_non_null(sealed);
		put_in(&text, text.len, sealed, len);
	}
	if (!done)
		fail_msg("no %s in a line of %s", old, type);
	put_base(&text);
	free(text.bytes);
}

static void what_is_sealed_and_cannot_be_is_refused(void **ctx)
{
	static const struct {
		const char *type, *old, *new, *words;
	} cases[] = {
		{ "\"explore\"", "\"seed\":\"1\"", "\"seed\":\"2\"", "its seed is \"2\"" },
		{ "\"explore\"", "\"writes\":9", "\"writes\":10", "its writes is 10" },
		{ "\"explore\"", "\"name\":\"d\"", "\"name\":\"e\"", "its disks is" },
		{ "\"explore\"", "\"points\":", "\"points\":1", "its points is" },
		{ "\"explore\"", "\"set\":\"default\"", "\"set\":\"marks\"",
		  "its set is \"marks\"" },
		{ "\"explore\"", "\"from\":null", "\"from\":3", "its from is 3" },
		{ "\"explore\"", "\"version\":3", "\"version\":2",
		  "line 1: results of an older program, which numbered steps in another way" },
		{ "\"explore\"", "\"version\":3", "\"version\":4", "line 1: results of another" },
		{ "\"explore\"", "\"set\":\"default\",", "", "its set is nothing" },
		{ "\"write\"", "\"sector\":0", "\"sector\":1", "has another line there" },
		{ "\"mark\"", "\"text\":\"round\"", "\"text\":\"Round\"",
		  "has another line there" },
		{ "\"point\"", "\"why\":\"", "\"why\":\"x", "has another line there" },
		{ "\"state\"", "\"point\":", "\"point\":-1", "its point is not one" },
		{ "\"state\"", "\"point\":", "\"point\":99999", "its point is not one" },
		{ "\"state\"", "\"key\":\"", "\"key\":\"0", "its key is not" },
		{ "\"state\"", "\"verdict\":\"", "\"verdict\":\"n", "its verdict is not valid" },
		{ "\"state\"", "\"state\":\"", "\"state\":\"' ; touch PWNED ; '", "no name" },
		{ "\"state\"", "\"state\":\"", "\"state\":\"../", "no name" },
		{ "\"lost\":[0", "\"lost\":[0", "\"lost\":[4000000",
		  "not ascending writes of the" },
		{ "\"lost\":[0", "\"lost\":[0", "\"lost\":[4294967295",
		  "not ascending writes of the" },
		{ "\"lost\":[0", "\"lost\":[0", "\"lost\":[-1", "not ascending writes of the" },
		{ "\"lost\":[0", "\"lost\":[0", "\"lost\":[0,0", "not ascending writes of the" },
		{ "\"nr_lost\":1", "\"nr_lost\":1", "\"nr_lost\":2", "contradict" },
		{ "\"nr_lost\":1", "\"nr_lost\":1", "\"nr_lost\":9223372036854775807",
		  "contradict" },
		{ "\"done\"", "\"point\":", "\"point\":1000", "its point is not one" },
		{ "\"done\"", "\"covered\":", "\"covered\":2", "its covered is not a fraction" },
		{ "\"done\"", "\"distinct\":", "\"distinct\":1", "contradict each other" },
		{ "\"done\"", "\"ok\":", "\"ok\":-1", "its verdicts are not counts" },
		{ "\"done\"", "\"complete\":", "\"complet\":", "its complete is" },
		{ "\"end\"", "\"type\":\"end\"", "\"type\":\"point\"", "belongs to the head" },
	};

	(void)ctx;
	for (size_t i = 0; i < array_size(cases); i++) {
		forge(cases[i].type, cases[i].old, cases[i].new);
		is_refused(cases[i].words);
	}
	/* The forger is not what is refused. */
	forge("\"state\"", "\"ms\":", "\"ms\":1");
	goes_on();
}

static void a_file_without_seals_is_refused(void **ctx)
{
	struct results_text text = { .bytes = strdup(bases[1].bytes), .len = bases[1].len };
	char *version = strstr(text.bytes, "\"version\":3"), *seal;

	(void)ctx;
	version[10] = '1';
	put_base(&text);
	is_refused("line 1: results of another version");
	while ((seal = strstr(text.bytes, ",\"seal\":\""))) {
		cut_out(&text, (size_t)(seal - text.bytes), 26);
		text.bytes[text.len] = '\0';
	}
	put_base(&text);
	is_refused("line 1: results of version 1 cannot be continued");
	free(text.bytes);
}

int main(void)
{
	/* The first one makes what the others damage. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(explorations_that_are_stopped_come_to_the_same),
		cmocka_unit_test(a_damaged_file_is_refused_by_line_or_comes_to_the_same),
		cmocka_unit_test(what_is_sealed_and_cannot_be_is_refused),
		cmocka_unit_test(a_file_without_seals_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
