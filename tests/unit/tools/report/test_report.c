// SPDX-License-Identifier: MIT
/* Results read, merged and written: shards, files that are cut, and files of anyone. */
#include "tests/unit/check.h"
#include "tools/report/line.h"
#include "tools/report/report.h"

#include <errno.h>

#define HEAD_OF(id, shard, shards)                                                                 \
	"{\"type\":\"explore\",\"version\":1,\"recording\":{\"id\":\"" id "\"},\"check\":\"c\","   \
	"\"seed\":\"1\",\"points\":2,\"shard\":" #shard ",\"shards\":" #shards "}\n"               \
	"{\"type\":\"point\",\"point\":0,\"step\":10,\"time_ns\":5,\"why\":\"end\"}\n"             \
	"{\"type\":\"point\",\"point\":1,\"step\":20,\"time_ns\":9,\"why\":\"end\"}\n"
#define HEAD(shard, shards) HEAD_OF("aa", shard, shards)
#define STATE(point, name, key, verdict)                                                           \
	"{\"type\":\"state\",\"point\":" #point ",\"state\":\"" name "\",\"key\":\"" key "\","     \
	"\"verdict\":\"" verdict "\",\"ms\":1.5,\"lost\":[3],\"nr_lost\":1}\n"
#define DONE(point, nr, covered, complete)                                                         \
	"{\"type\":\"done\",\"point\":" #point ",\"generated\":" #nr ",\"distinct\":" #nr          \
	",\"equivalent\":0,\"covered\":" #covered ",\"complete\":" complete ",\"exact\":" complete \
	",\"verdicts\":{\"ok\":" #nr "}}\n"
#define FINDING(point, name, key)                                                                  \
	"{\"type\":\"finding\",\"n\":0,\"point\":" #point ",\"state\":\"" name "\",\"key\":\"" key \
	"\",\"verdict\":\"fail\",\"lost\":[{\"write\":3}],\"nr_lost\":1,\"same_as\":[]}\n"
#define CRASHED(point, name, key)                                                                  \
	"{\"type\":\"finding\",\"n\":0,\"point\":" #point ",\"state\":\"" name "\",\"key\":\"" key \
	"\",\"verdict\":\"crash\",\"lost\":[{\"write\":3}],\"nr_lost\":1,\"same_as\":[]}\n"
#define END "{\"type\":\"end\",\"seconds\":2.0,\"first_finding_s\":null,\"stopped\":null}\n"

#define K1 "0000000000000001"
#define K2 "0000000000000002"
#define K3 "0000000000000003"

static const char first[] =
	HEAD(0, 2) STATE(0, "a", K2, "ok") DONE(0, 1, 0.5, "true") DONE(1, 0, 0.0, "false") END;
static const char second[] = HEAD(1, 2) STATE(1, "b", K3, "fail") STATE(0, "b", K1, "fail")
	DONE(0, 1, 0.5, "true") DONE(1, 1, 0.25, "false") FINDING(0, "b", K1) END;

static void read_text(struct report *report, const char *file, const char *text)
{
	struct diag diag = { 0 };

	if (report_read(report, file, text, strlen(text), &diag))
		fail_msg("%s: %s", file, diag.message);
}

static void merge(struct report *report)
{
	struct diag diag = { 0 };

	if (report_merge(report, &diag))
		fail_msg("%s", diag.message);
}

static void refuse(struct report *report, const char *file, const char *text, const char *says)
{
	struct diag diag = { 0 };

	if (report_read(report, file, text, strlen(text), &diag) == 0)
		fail_msg("%s was accepted", file);
	if (!strstr(diag.message, says))
		fail_msg("'%s' does not say '%s'", diag.message, says);
}

static char *canonical(const char *const *texts)
{
	struct report report;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	report_init(&report);
	for (size_t i = 0; texts[i]; i++)
		read_text(&report, "some", texts[i]);
	merge(&report);
	assert_int_equal(report_write(&report, true, out), 0);
	fclose(out);
	report_clear(&report);
	return text;
}

static void shards_in_any_order_and_twice_give_the_same(void **ctx)
{
	const char *const in_order[] = { first, second, NULL };
	const char *const mixed[] = { second, first, second, NULL };
	_cleanup_free_ char *a = canonical(in_order), *b = canonical(mixed), *c = NULL;
	const char *const again[] = { a, NULL };

	(void)ctx;
	assert_string_equal(a, b);
	assert_non_null(strstr(a, "\"shards\":1"));
	assert_null(strstr(a, "\"ms\""));
	/* What was merged is read as one run, and stays what it is. */
	c = canonical(again);
	assert_string_equal(a, c);
}

static void shards_add_up(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1", first);
	read_text(&r, "2", second);
	merge(&r);
	assert_int_equal(r.nr_states, 3);
	assert_int_equal(r.totals.states, 3);
	assert_int_equal(r.totals.verdicts[REPORT_FAIL], 2);
	assert_int_equal(r.totals.points_complete, 1);
	assert_true(report_real(json_array_get(r.done, 0), "covered") == 1);
	assert_true(report_real(json_array_get(r.done, 1), "covered") == 0.25);
	assert_true(r.totals.seconds == 4);
	assert_false(r.totals.exact);
	assert_int_equal(report_exit(&r), 1);
	report_clear(&r);
}

static void a_missing_and_an_unfinished_shard_are_named(void **ctx)
{
	struct report r;
	char *gaps;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1", HEAD(0, 3) END);
	read_text(&r, "3", HEAD(2, 3) STATE(0, "a", K2, "ok") "{\"type\":\"sta");
	merge(&r);
	gaps = report_gaps(&r);
	assert_string_equal(gaps, "shard 2/3 is missing; shard 3/3 is not finished");
	assert_int_equal(r.nr_cut, 1);
	assert_int_equal(report_exit(&r), 2);
	free(gaps);
	report_clear(&r);
}

static void a_shard_that_was_killed_has_the_findings_of_its_states(void **ctx)
{
	struct report r;
	const json_t *finding;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1",
		  HEAD(0, 1) STATE(1, "bb", K1, "fail") STATE(0, "b", K2, "fail")
			  STATE(0, "c", K3, "crash"));
	merge(&r);
	/* No moment came to its end. */
	assert_int_equal(r.totals.states, 3);
	assert_int_equal(r.totals.distinct, 3);
	assert_int_equal(json_array_size(r.findings), 2);
	finding = json_array_get(r.findings, 0);
	assert_string_equal(report_text(finding, "state"), "b");
	assert_int_equal(report_int(finding, "nr_found_lost"), 1);
	assert_true(json_is_null(json_object_get(finding, "repeated")));
	assert_int_equal(json_array_size(json_object_get(finding, "same_as")), 1);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(finding, "same_as"), 0)), "20:bb");
	report_clear(&r);
}

static void findings_of_two_shards_that_lost_the_same_are_one(void **ctx)
{
	struct report r;
	const json_t *finding;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1", HEAD(0, 2) FINDING(1, "a", K2) END);
	read_text(&r, "2", second);
	merge(&r);
	assert_int_equal(json_array_size(r.findings), 1);
	finding = json_array_get(r.findings, 0);
	assert_int_equal(report_int(finding, "point"), 0);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(finding, "same_as"), 0)), "20:a");
	report_clear(&r);
}

#define FOUND(point, name, key, more)                                                              \
	"{\"type\":\"finding\",\"n\":0,\"point\":" #point ",\"state\":\"" name "\",\"key\":\"" key \
	"\",\"verdict\":\"fail\",\"lost\":[{\"write\":3}],\"nr_lost\":1,\"nr_found_lost\":4," more \
	"}\n"
#define AGAIN "\"repeated\":true,\"shrunk\":true,\"shrink_runs\":7,\"minimal\":\"old\""

static void one_that_failed_again_stands_for_all_but_one_that_did_not(void **ctx)
{
	struct report r;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)ctx;
	report_init(&r);
	read_text(&r, "1",
		  HEAD(0, 2) FOUND(0, "a", K1, "\"repeated\":null")
			  FOUND(0, "b", K2, "\"repeated\":false") END);
	read_text(&r, "2", HEAD(1, 2) FOUND(1, "c", K3, AGAIN) END);
	merge(&r);
	assert_int_equal(json_array_size(r.findings), 2);
	assert_int_equal(r.totals.not_deterministic, 1);
	report_print(&r, out);
	fclose(out);
	assert_non_null(strstr(text, "findings    2, of which 1 did not fail when repeated\n"));
	assert_non_null(strstr(text,
			       "0 fail at point 0, state b: did not fail when repeated: it is "
			       "not deterministic\n"));
	assert_non_null(strstr(text, "1 fail, and again when repeated, at point 1, state old: 1 of "
				     "4 lost writes suffice, found in 7 runs\n"));
	assert_non_null(strstr(text, "    found as: c\n    1 other state lost the same writes\n"));
	free(text);
	report_clear(&r);
}

static void a_loss_is_told_in_the_words_of_explore(void **ctx)
{
	static const struct {
		struct report_loss loss;
		const char *words;
	} all[] = {
		{ { REPORT_FAILED_AGAIN, true, false, false, 2, 5, 9, false },
		  "2 of 5 lost writes suffice, found in 9 runs" },
		{ { REPORT_FAILED_AGAIN, false, false, false, 2, 5, 500, false },
		  "2 of 5 lost writes suffice (fewer may be), found in 500 runs" },
		{ { REPORT_FAILED_AGAIN, true, false, false, 0, 5, 9, false },
		  "the check fails with no write lost" },
		{ { REPORT_FAILED_AGAIN, false, false, false, 0, 5, 500, false },
		  "the check fails with no write lost" },
		{ { REPORT_FAILED_AGAIN, true, true, false, 0, 0, 1, false },
		  "no write is lost: writes that were in flight at the same time were reordered" },
		{ { REPORT_FAILED_AGAIN, true, false, true, 0, 5, 9, false },
		  "the check fails with no write lost: the data was acknowledged before it was "
		  "written" },
		{ { REPORT_FAILED_AGAIN, true, false, false, 0, 5, 9, true },
		  "recovery fails with no write lost" },
		{ { REPORT_PASSED_THEN, false, false, false, 5, 5, 1, false },
		  "did not fail when repeated: it is not deterministic" },
		{ { REPORT_NOT_REPEATED, false, false, false, 1, 1, 0, false },
		  "not repeated; found with 1 lost write" },
		{ { REPORT_NOT_REPEATED, false, false, false, 0, 0, 0, false },
		  "not repeated; found with 0 lost writes" },
	};

	(void)ctx;
	for (size_t i = 0; i < array_size(all); i++) {
		char text[REPORT_LOSS_MAX];

		assert_string_equal(report_loss_words(&all[i].loss, text), all[i].words);
	}
}

static void the_findings_of_a_resumed_run_are_those_told_last(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1", HEAD(0, 1) FINDING(1, "a", K2) END HEAD(0, 1) FINDING(0, "a", K1) END);
	merge(&r);
	assert_int_equal(json_array_size(r.findings), 1);
	assert_int_equal(report_int(json_array_get(r.findings, 0), "point"), 0);
	assert_int_equal(json_array_size(r.points), 2);
	report_clear(&r);
}

static void a_state_told_twice_keeps_the_verdict_that_says_more(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1",
		  HEAD(0, 1) STATE(0, "a", K1, "error") STATE(0, "a", K1, "ok")
			  STATE(0, "b", K2, "ok") STATE(0, "b", K2, "fail"));
	merge(&r);
	assert_int_equal(r.nr_states, 2);
	assert_int_equal(r.totals.verdicts[REPORT_ERROR], 0);
	assert_int_equal(r.totals.verdicts[REPORT_OK], 1);
	assert_int_equal(r.totals.verdicts[REPORT_FAIL], 1);
	assert_int_equal(r.totals.disagree, 1);
	report_clear(&r);
}

static char *merged_text(const char *const *texts, int *ret_exit)
{
	struct report report;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	report_init(&report);
	for (size_t i = 0; texts[i]; i++)
		read_text(&report, "some", texts[i]);
	merge(&report);
	report_print(&report, out);
	fclose(out);
	*ret_exit = report_exit(&report);
	report_clear(&report);
	return text;
}

static void two_files_that_judge_one_state_differently_are_told_in_any_order(void **ctx)
{
	static const char good[] = HEAD(0, 1) STATE(0, "a", K1, "ok") STATE(1, "b", K2, "ok")
		DONE(0, 1, 1.0, "true") DONE(1, 1, 1.0, "true") END;
	static const char failing[] = HEAD(0, 1) STATE(0, "a", K1, "fail") STATE(1, "b", K2, "ok")
		DONE(0, 1, 1.0, "true") DONE(1, 1, 1.0, "true") FINDING(0, "a", K1) END;
	static const char other[] = HEAD(0, 1) STATE(0, "a", K1, "ok") STATE(1, "b", K2, "crash")
		DONE(0, 1, 1.0, "true") DONE(1, 1, 1.0, "true") CRASHED(1, "b", K2) END;
	static const char *const orders[][4] = {
		{ good, failing, other }, { failing, other, good }, { other, good, failing },
		{ good, other, failing }, { failing, good, other }, { other, failing, good },
	};
	_cleanup_free_ char *wanted = NULL;

	(void)ctx;
	for (size_t i = 0; i < array_size(orders); i++) {
		int code;
		_cleanup_free_ char *text = merged_text(orders[i], &code);

		assert_int_equal(code, 1);
		assert_non_null(strstr(text, "ok 0, fail 1, timeout 0, crash 1, error 0"));
		assert_non_null(strstr(text, "findings    2\n"));
		if (!wanted)
			wanted = strdup(text);
		assert_string_equal(text, wanted);
	}
}

static void a_state_that_fails_is_a_finding_also_where_none_is_told(void **ctx)
{
	static const char *const texts[] = { HEAD(0, 1) STATE(0, "a", K1, "fail")
						     DONE(0, 1, 1.0, "true") END,
					     NULL };
	int code;
	_cleanup_free_ char *text = merged_text(texts, &code);

	(void)ctx;
	assert_int_equal(code, 1);
	assert_non_null(strstr(text, "findings    1\n"));
}

/* Its finding names it, or counts it among those that it does not name. */
static void a_state_that_a_finding_tells_of_is_no_other_one(void **ctx)
{
	static const char *const texts[] = {
		HEAD(0, 1) STATE(0, "a", K1, "fail") STATE(1, "b", K2, "fail") STATE(
			1, "c", K3,
			"fail") "{\"type\":\"finding\",\"n\":0,\"point\":0,\"state\":\"a\",\"key\":\"" K1
				"\",\"verdict\":\"fail\",\"lost\":[],\"nr_lost\":0,\"same_as\":[\"20:b\"],"
				"\"more_same\":1}\n" END,
		NULL
	};
	int code;
	_cleanup_free_ char *text = merged_text(texts, &code);

	(void)ctx;
	assert_non_null(strstr(text, "findings    1\n"));
	assert_non_null(strstr(text, "    2 other states lost the same writes\n"));
}

static json_int_t of_point(const struct report *r, size_t point, const char *name)
{
	return report_int(json_array_get(r->done, point), name);
}

static json_int_t verdict_of_point(const struct report *r, size_t point, const char *name)
{
	return report_int(json_object_get(json_array_get(r->done, point), "verdicts"), name);
}

/* What is said of a moment agrees with its states, of whichever file they come. */
static void the_counts_of_moments_are_those_of_the_states(void **ctx)
{
	static const char ended[] = HEAD(0, 1) STATE(0, "a", K1, "ok") DONE(0, 1, 1.0, "true") END;
	static const char more[] = HEAD(0, 1) STATE(0, "a", K1, "fail") STATE(0, "c", K3, "ok")
		STATE(1, "b", K2, "crash") DONE(1, 1, 1.0, "true");
	static const char *const orders[][2] = { { ended, more }, { more, ended } };

	(void)ctx;
	for (size_t i = 0; i < array_size(orders); i++) {
		struct report r;

		report_init(&r);
		read_text(&r, "one", orders[i][0]);
		read_text(&r, "two", orders[i][1]);
		merge(&r);
		assert_int_equal(verdict_of_point(&r, 0, "ok"), 1);
		assert_int_equal(verdict_of_point(&r, 0, "fail"), 1);
		assert_int_equal(of_point(&r, 0, "distinct"), 2);
		assert_int_equal(of_point(&r, 0, "generated"), 2);
		assert_int_equal(of_point(&r, 0, "equivalent"), 0);
		/* Of this moment the file that ended knew nothing. */
		assert_int_equal(verdict_of_point(&r, 1, "crash"), 1);
		assert_int_equal(verdict_of_point(&r, 1, "ok"), 0);
		assert_true(report_bool(json_array_get(r.done, 1), "complete"));
		assert_int_equal(r.totals.states, 3);
		assert_int_equal(r.totals.distinct, 3);
		assert_int_equal(r.totals.points_complete, 2);
		report_clear(&r);
	}
}

/* States of a shard that did not come to the end of a moment are not among what others say of it. */
static void states_of_a_moment_under_way_are_counted_once(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "1", HEAD(0, 2) STATE(0, "a", K2, "ok") DONE(0, 1, 0.5, "true") END);
	read_text(&r, "2", HEAD(1, 2) STATE(0, "b", K1, "fail"));
	merge(&r);
	assert_int_equal(of_point(&r, 0, "distinct"), 1);
	assert_int_equal(verdict_of_point(&r, 0, "fail"), 0);
	assert_int_equal(r.totals.states, 2);
	report_clear(&r);
}

/* In one of three files a run of the lazy search went astray; which is kept does not matter. */
static void one_that_diverged_is_not_forgotten(void **ctx)
{
	static const char good[] = HEAD(0, 1) STATE(0, "a", K1, "ok") DONE(0, 1, 1.0, "true") END;
	static const char astray[] = HEAD(0, 1) STATE(
		0, "a", K1,
		"ok") "{\"type\":\"done\",\"point\":0,\"generated\":1,\"distinct\":1,\"equivalent\":0,"
		      "\"covered\":0.5,\"complete\":false,\"exact\":false,\"diverged\":2,"
		      "\"verdicts\":{\"ok\":1}}\n";
	static const char *const orders[][3] = { { good, astray, good },
						 { astray, good, good },
						 { good, good, astray } };

	(void)ctx;
	for (size_t i = 0; i < array_size(orders); i++) {
		struct report r;

		report_init(&r);
		for (size_t k = 0; k < 3; k++)
			read_text(&r, "some", orders[i][k]);
		merge(&r);
		assert_int_equal(r.totals.diverged, 2);
		assert_int_equal(r.totals.points_complete, 1);
		report_clear(&r);
	}
}

#define RECOVERED(point, name, key, verdict)                                                       \
	"{\"type\":\"state\",\"point\":" #point ",\"state\":\"" name "\",\"key\":\"" key "\","     \
	"\"verdict\":\"" verdict "\",\"lost\":[3],\"nr_lost\":1,\"in_recovery\":true}\n"

static void recovery_that_fails_is_another_finding_than_the_check(void **ctx)
{
	static const char *const texts[] = { HEAD(0, 1) STATE(0, "a", K1, "fail")
						     RECOVERED(1, "b", K2, "fail")
							     RECOVERED(1, "c", K3, "ok") END,
					     NULL };
	_cleanup_free_ char *text = NULL, *page = NULL;
	struct report r;
	size_t len;
	FILE *out;
	int code;

	(void)ctx;
	text = merged_text(texts, &code);
	assert_non_null(strstr(text, "findings    2\n"));
	assert_non_null(strstr(text, "1 of these are verdicts of recovery, without a check"));
	assert_non_null(strstr(text, "0 fail at point 0, state a"));
	assert_non_null(strstr(text, "1 fail of recovery at point 1, state b"));
	report_init(&r);
	read_text(&r, "one", texts[0]);
	merge(&r);
	assert_int_equal(r.totals.in_recovery, 1);
	out = open_memstream(&page, &len);
	assert_int_equal(report_page(&r, out), 0);
	fclose(out);
	assert_non_null(strstr(page, "\"in_recovery\":true"));
	report_clear(&r);
}

static void another_exploration_is_refused_by_what_differs(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "one.jsonl", first);
	refuse(&r, "two.jsonl", HEAD_OF("bb", 1, 2), "the recording is \"aa\" in one.jsonl and");
	refuse(&r, "two.jsonl", HEAD(1, 3), "shards is 2 in one.jsonl and 3 in two.jsonl");
	report_clear(&r);
}

#define HEAD_AT(step, shard, shards)                                                               \
	"{\"type\":\"explore\",\"version\":1,\"recording\":{\"id\":\"aa\"},\"check\":\"c\","       \
	"\"seed\":\"1\",\"points\":2,\"shard\":" #shard ",\"shards\":" #shards "}\n"               \
	"{\"type\":\"point\",\"point\":0,\"step\":10,\"time_ns\":5,\"why\":\"end\"}\n"             \
	"{\"type\":\"point\",\"point\":1,\"step\":" #step ",\"time_ns\":9,\"why\":\"end\"}\n"

/* Sealed, of a version, whose disks end at another step for a program that numbers in another way. */
static char *versioned(int version, int end_step, int shard, size_t *ret_len)
{
	uint64_t seal = RESULTS_SEAL_START;
	char *line = results_seal(json_pack("{s:s, s:i, s:{s:s, s:i}, s:s, s:i, s:i, s:i}", "type",
					    "explore", "version", version, "recording", "id", "aa",
					    "end_step", end_step, "check", "c", "points", 1,
					    "shard", shard, "shards", 2),
				  JSON_COMPACT, &seal, ret_len);

	assert_non_null(line);
	return line;
}

/* Each alone is read, and those that number in one way are. */
static void shards_that_number_steps_in_another_way_are_refused(void **ctx)
{
	static const struct {
		int first, second;
		const char *says;
	} cases[] = {
		{ 2, 3,
		  "one was made by an older program, which numbered steps in another way than "
		  "two does" },
		{ 3, 2,
		  "two was made by an older program, which numbered steps in another way than "
		  "one does" },
		{ 2, 2, NULL },
		{ 3, 3, NULL },
	};

	(void)ctx;
	for (size_t i = 0; i < array_size(cases); i++) {
		size_t one_len, two_len;
		_cleanup_free_ char *one = versioned(cases[i].first, 12, 0, &one_len);
		_cleanup_free_ char *two = versioned(cases[i].second, 40, 1, &two_len);
		struct diag diag = { 0 };
		struct report r;
		int err;

		report_init(&r);
		assert_int_equal(report_read(&r, "one", one, one_len, &diag), 0);
		err = report_read(&r, "two", two, two_len, &diag);
		if (cases[i].says ? err != -EINVAL || strcmp(diag.message, cases[i].says) : err)
			fail_msg("%zu: %d, '%s'", i, err, diag.message);
		report_clear(&r);
	}
}

/* As many as ours, and not the same. */
static void shards_of_other_moments_are_refused(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "one.jsonl", HEAD_AT(20, 0, 2) END);
	refuse(&r, "two.jsonl", HEAD_AT(30, 1, 2) END,
	       "step of point 1 is 20 in one.jsonl and 30 in two.jsonl");
	report_clear(&r);
}

#define HEAD_OF_SET(all, set, shard)                                                               \
	"{\"type\":\"explore\",\"version\":1,\"recording\":{\"id\":\"aa\"},\"check\":\"c\","       \
	"\"seed\":\"1\",\"points\":2,\"" all "\":7,\"set\":\"" set                                 \
	"\",\"from\":null,\"shard\":" #shard ",\"shards\":3}\n"

static void older_files_say_nothing_of_the_choice_of_moments(void **ctx)
{
	struct report r;

	(void)ctx;
	report_init(&r);
	read_text(&r, "one", HEAD_OF_SET("moments", "default", 0) END);
	refuse(&r, "two", HEAD_OF_SET("all_points", "marks", 1) END,
	       "set is \"default\" in one and \"marks\" in two");
	read_text(&r, "old", HEAD(1, 3) END);
	merge(&r);
	assert_int_equal(r.totals.points_left_out, 5);
	report_clear(&r);
}

static void what_is_no_result_is_refused_with_its_line(void **ctx)
{
	static const char *const bad[][2] = {
		{ "{}\n{}\n", "line 1: no head" },
		{ HEAD(2, 2), "an impossible shard" },
		{ HEAD(0, 1) "nonsense\n" END, "line 4: not a JSON object" },
		{ HEAD(0, 1) STATE(2, "a", K1, "ok"), "line 4: a state without a point" },
		{ HEAD(0, 1) STATE(0, "a", "xyz", "ok"), "a state without a key" },
		{ HEAD(0, 1) STATE(0, "a", K1, "fine"), "an unknown verdict" },
		{ HEAD(0, 2) HEAD(1, 2), "another shard in the same file" },
		{ "\n", "holds no results" },
	};

	(void)ctx;
	for (size_t i = 0; i < array_size(bad); i++) {
		struct report r;

		report_init(&r);
		refuse(&r, "bad", bad[i][0], bad[i][1]);
		report_clear(&r);
	}
}

static void the_page_holds_no_markup_from_the_results(void **ctx)
{
	static const char hostile[] = HEAD(
		0,
		1) "{\"type\":\"finding\",\"point\":0,\"state\":\"a\",\"verdict\":\"fail\",\"output\":"
		   "\"</script><img onerror=1>\"}\n" END;
	struct report r;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)ctx;
	report_init(&r);
	read_text(&r, "hostile", hostile);
	merge(&r);
	assert_int_equal(report_page(&r, out), 0);
	fclose(out);
	assert_null(strstr(text, "<img"));
	assert_non_null(strstr(text, "\\u003c/script\\u003e\\u003cimg onerror=1\\u003e"));
	free(text);
	report_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards_in_any_order_and_twice_give_the_same),
		cmocka_unit_test(shards_add_up),
		cmocka_unit_test(a_missing_and_an_unfinished_shard_are_named),
		cmocka_unit_test(a_shard_that_was_killed_has_the_findings_of_its_states),
		cmocka_unit_test(findings_of_two_shards_that_lost_the_same_are_one),
		cmocka_unit_test(one_that_failed_again_stands_for_all_but_one_that_did_not),
		cmocka_unit_test(a_loss_is_told_in_the_words_of_explore),
		cmocka_unit_test(the_findings_of_a_resumed_run_are_those_told_last),
		cmocka_unit_test(a_state_told_twice_keeps_the_verdict_that_says_more),
		cmocka_unit_test(two_files_that_judge_one_state_differently_are_told_in_any_order),
		cmocka_unit_test(a_state_that_fails_is_a_finding_also_where_none_is_told),
		cmocka_unit_test(a_state_that_a_finding_tells_of_is_no_other_one),
		cmocka_unit_test(the_counts_of_moments_are_those_of_the_states),
		cmocka_unit_test(states_of_a_moment_under_way_are_counted_once),
		cmocka_unit_test(one_that_diverged_is_not_forgotten),
		cmocka_unit_test(recovery_that_fails_is_another_finding_than_the_check),
		cmocka_unit_test(another_exploration_is_refused_by_what_differs),
		cmocka_unit_test(shards_that_number_steps_in_another_way_are_refused),
		cmocka_unit_test(shards_of_other_moments_are_refused),
		cmocka_unit_test(older_files_say_nothing_of_the_choice_of_moments),
		cmocka_unit_test(what_is_no_result_is_refused_with_its_line),
		cmocka_unit_test(the_page_holds_no_markup_from_the_results),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
