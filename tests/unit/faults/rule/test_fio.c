// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"
#include "tests/unit/scratch_file.h"

#include "faults/rule/fio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define LIMIT 3600000000000ull

static void put_file(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void check_bad(const char *text, const char *job, const char *says, const char *hints)
{
	struct fio_times times;
	struct diag diag = { 0 };

	put_file(text);
	assert_int_equal(fio_read(path, job, LIMIT, &diag, &times), -EINVAL);
	assert_string_equal(diag.id, "rule.bad-file");
	if (!strstr(diag.message, path) || !strstr(diag.message, says))
		fail_msg("'%s': '%s' does not say '%s'", text, diag.message, says);
	if (hints && !strstr(diag.hint, hints))
		fail_msg("'%s': the hint is '%s'", text, diag.hint);
	assert_int_equal(fio_read(path, job, LIMIT, NULL, &times), -EINVAL);
}

#define JOB(sections) "{\"jobs\":[{\"jobname\":\"j\"," sections "}]}"
#define BINS(bins)    "\"clat_ns\":{\"N\":4,\"min\":1,\"max\":9,\"bins\":{" bins "}}"

static void a_histogram_comes_back_share_by_share(void **state)
{
	struct fio_times times;

	(void)state;
	put_file("fio: a remark\nand another\n" JOB(
		"\"read\":{" BINS("\"500\":1,\"100\":2,\"300\":1,\"200\":0") "}"));
	assert_int_equal(fio_read(path, NULL, LIMIT, NULL, &times), 0);
	assert_int_equal(curve_at(&times.of[FIO_READ], 0), 100);
	assert_int_equal(curve_at(&times.of[FIO_READ], (1ull << 63) - 1), 100);
	assert_int_equal(curve_at(&times.of[FIO_READ], 1ull << 63), 300);
	assert_int_equal(curve_at(&times.of[FIO_READ], 3ull << 62), 500);
	assert_int_equal(curve_at(&times.of[FIO_READ], UINT64_MAX), 500);
	assert_int_equal(times.of[FIO_WRITE].nr, 0);
	fio_clear(&times);
}

static void percentiles_make_a_curve_from_the_smallest_to_the_largest(void **state)
{
	struct fio_times times;

	(void)state;
	put_file(
		JOB("\"write\":{\"clat_ns\":{\"N\":9,\"min\":50,\"max\":900,\"percentile\":"
		    "{\"50.000000\":100,\"99.000000\":800}},\"lat_ns\":{\"N\":9,\"percentile\":3}},"
		    "\"sync\":{\"lat_ns\":{\"min\":7,\"max\":7,\"percentile\":{\"1.000000\":8}}},"
		    "\"trim\":{\"clat_ns\":{\"N\":0,\"min\":0,\"max\":0,\"percentile\":"
		    "{\"1.000000\":0}}}"));
	assert_int_equal(fio_read(path, "j", LIMIT, NULL, &times), 0);
	assert_int_equal(curve_at(&times.of[FIO_WRITE], 0), 50);
	assert_int_equal(curve_at(&times.of[FIO_WRITE], 1ull << 62), 75);
	assert_int_equal(curve_at(&times.of[FIO_WRITE], 1ull << 63), 100);
	assert_int_equal(curve_at(&times.of[FIO_WRITE], curve_share(99, 100)), 800);
	assert_in_range(curve_at(&times.of[FIO_WRITE], UINT64_MAX), 899, 900);
	/* Rounded to bins the percentile sticks out: the curve still rises. */
	assert_int_equal(curve_at(&times.of[FIO_SYNC], 0), 7);
	assert_int_equal(curve_at(&times.of[FIO_SYNC], 1ull << 63), 8);
	assert_int_equal(times.of[FIO_READ].nr, 0);
	assert_int_equal(times.of[FIO_TRIM].nr, 0);
	fio_clear(&times);
}

static void total_latencies_stand_in_for_completion_latencies(void **state)
{
	struct fio_times times;

	(void)state;
	put_file(JOB(
		"\"read\":{\"clat_ns\":{\"min\":1,\"max\":2},\"lat_ns\":{\"bins\":{\"77\":5}}}"));
	assert_int_equal(fio_read(path, NULL, LIMIT, NULL, &times), 0);
	assert_int_equal(curve_at(&times.of[FIO_READ], 12345), 77);
	fio_clear(&times);
}

static void one_of_several_jobs_is_named(void **state)
{
	static const char two[] = "{\"jobs\":[{\"jobname\":\"a\",\"read\":{" BINS(
		"\"1\":1") "}},"
			   "{\"jobname\":\"b\",\"read\":{" BINS("\"2\":1") "}}]}";
	struct fio_times times;

	(void)state;
	put_file(two);
	assert_int_equal(fio_read(path, "b", LIMIT, NULL, &times), 0);
	assert_int_equal(curve_at(&times.of[FIO_READ], 0), 2);
	fio_clear(&times);
	check_bad(two, NULL, "has 2 jobs: a, b", "job=");
	check_bad(two, "c", "has no job 'c', it has a, b", NULL);
}

static void what_fio_does_not_write_is_refused_in_words(void **state)
{
	(void)state;
	check_bad("", NULL, "it is empty", "fio --output-format=json+");
	check_bad("hello\n", NULL, "expected near 'hello'", NULL);
	check_bad("{\"jobs\":\n[,", NULL, "line 2 of the JSON", NULL);
	check_bad("{}", NULL, "no list of \"jobs\"", NULL);
	check_bad("{\"jobs\":7}", NULL, "no list of \"jobs\"", NULL);
	check_bad("{\"jobs\":[]}", NULL, "no list of \"jobs\"", NULL);
	check_bad("{\"jobs\":[3]}", NULL, "neither percentiles nor bins", NULL);
	check_bad(JOB("\"read\":{}"), NULL, "neither percentiles nor bins", NULL);
	check_bad(JOB("\"read\":{" BINS("\"x\":1") "}"), NULL, "\"x\" wants a number", NULL);
	check_bad(JOB("\"read\":{" BINS("\"-1\":1") "}"), NULL, "\"-1\" wants a number", NULL);
	check_bad(JOB("\"read\":{" BINS("\"5\":-1") "}"), NULL, "wants a count", NULL);
	check_bad(JOB("\"read\":{" BINS("\"5\":1.5") "}"), NULL, "wants a count", NULL);
	check_bad(JOB("\"read\":{" BINS("\"3600000000001\":1") "}"), NULL, "wants a number from 0",
		  NULL);
	check_bad(JOB("\"read\":{" BINS("\"5\":0") "}"), NULL, "neither percentiles nor bins",
		  NULL);
	check_bad(JOB("\"read\":{\"clat_ns\":{\"min\":1,\"percentile\":{\"50.0\":9}}}"), NULL,
		  "\"max\" wants nanoseconds", NULL);
	check_bad(JOB("\"read\":{\"clat_ns\":{\"min\":1,\"max\":9,\"percentile\":{\"500\":9}}}"),
		  NULL, "\"500\" wants a number from 0 to 100", NULL);
	check_bad(JOB("\"read\":{\"clat_ns\":{\"min\":1,\"max\":9,\"percentile\":"
		      "{\"50\":9,\"90\":8}}}"),
		  NULL, "percentile 90 is shorter", NULL);
	check_bad(JOB("\"read\":{\"clat_ns\":{\"min\":1,\"max\":9e12,\"percentile\":{\"50\":9}}}"),
		  NULL, "\"max\" is 9000s, wanted at most 1h", NULL);
	check_bad(JOB("\"read\":{" BINS("\"\\u001b[2J\\u009b\":1") "}"), NULL, "\"?[2J??\"", NULL);
}

static void what_is_no_regular_file_or_too_large_is_refused(void **state)
{
	char fifo[sizeof(path) + 8];
	struct fio_times times;
	struct diag diag;

	(void)state;
	assert_int_equal(fio_read("/nowhere/x", NULL, LIMIT, &diag, &times), -EINVAL);
	assert_non_null(strstr(diag.message, "cannot be opened: No such file"));
	assert_int_equal(fio_read("/tmp", NULL, LIMIT, &diag, &times), -EINVAL);
	assert_non_null(strstr(diag.message, "wants a regular file, got a directory"));
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(fio_read(fifo, NULL, LIMIT, &diag, &times), -EINVAL);
	assert_non_null(strstr(diag.message, "got a special file"));
	unlink(fifo);
	put_file("");
	assert_int_equal(truncate(path, FIO_FILE_MAX + 1), 0);
	assert_int_equal(fio_read(path, NULL, LIMIT, &diag, &times), -EINVAL);
	assert_non_null(strstr(diag.message, "too large, wanted at most 16 MiB"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_histogram_comes_back_share_by_share),
		cmocka_unit_test(percentiles_make_a_curve_from_the_smallest_to_the_largest),
		cmocka_unit_test(total_latencies_stand_in_for_completion_latencies),
		cmocka_unit_test(one_of_several_jobs_is_named),
		cmocka_unit_test(what_fio_does_not_write_is_refused_in_words),
		cmocka_unit_test(what_is_no_regular_file_or_too_large_is_refused),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
