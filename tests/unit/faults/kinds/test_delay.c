// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"
#include "tests/unit/scratch_file.h"

#include "base/clock.h"
#include "base/units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define DISK (64 * SEC)

static void a_delayed_write_reaches_the_disk_only_when_resumed(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io;

	(void)state;
	use_rules(&disk, "slow do=delay:10ms");
	memset(data, 'w', SEC);
	io = make_io(IO_WRITE, 3, SEC, data);
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 1000), IO_PARKED);
	assert_int_equal(io.due_ns, 1000 + 10 * NSEC_PER_MSEC);
	assert_string_equal(MAP(&disk, 0, 5), ".....");
	pipeline_resume(disk.pipeline, &io, io.due_ns);
	assert_int_equal(io.result, SEC);
	assert_string_equal(MAP(&disk, 0, 5), "...w.");
	free_disk(&disk);
}

static void delays_of_several_rules_add_up_and_the_error_comes_late(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io = make_io(IO_READ, 0, SEC, data);

	(void)state;
	use_rules(&disk, "a do=delay:1ms\n"
			 "b op=write do=delay:1h\n"
			 "c op=read do=delay:2us\n"
			 "d do=error:EIO\n"
			 "never do=delay:1h");
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 5), IO_PARKED);
	assert_int_equal(io.due_ns, 5 + 1002000);
	assert_string_equal(rule_name(io.rule), "d");
	pipeline_resume(disk.pipeline, &io, 5);
	assert_int_equal(io.result, -EIO);
	assert_int_equal(counts_of(&disk, "never").matches, 0);
	free_disk(&disk);
}

static void a_random_delay_stays_within_its_bounds_and_repeats_with_the_seed(void **state)
{
	uint64_t seen[2][1000], low = UINT64_MAX, high = 0, sum = 0;

	(void)state;
	for (int run = 0; run < 2; run++) {
		struct disk disk = make_disk(DISK, 512, 1, 77);
		struct io io = make_io(IO_FLUSH, 0, 0, NULL);

		use_rules(&disk, "slow do=delay:100us..300us");
		for (int i = 0; i < 1000; i++) {
			assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_PARKED);
			seen[run][i] = io.due_ns;
			pipeline_resume(disk.pipeline, &io, io.due_ns);
		}
		free_disk(&disk);
	}
	assert_memory_equal(seen[0], seen[1], sizeof(seen[0]));
	for (int i = 0; i < 1000; i++) {
		low = seen[0][i] < low ? seen[0][i] : low;
		high = seen[0][i] > high ? seen[0][i] : high;
		sum += seen[0][i];
	}
	assert_in_range(low, 100000, 102000);
	assert_in_range(high, 298000, 300000);
	assert_in_range(sum / 1000, 195000, 205000);
}

static void both_ends_of_a_span_are_reached(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 5);
	unsigned int seen[4] = { 0 };

	(void)state;
	use_rules(&disk, "slow do=delay:1ns..3ns");
	for (int i = 0; i < 300; i++) {
		struct io io = make_io(IO_FLUSH, 0, 0, NULL);

		assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_PARKED);
		assert_in_range(io.due_ns, 1, 3);
		seen[io.due_ns]++;
		pipeline_resume(disk.pipeline, &io, 0);
	}
	for (int i = 1; i <= 3; i++)
		assert_in_range(seen[i], 60, 140);
	free_disk(&disk);
}

static void a_delay_of_nothing_parks_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "slow do=delay:0s");
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(counts_of(&disk, "slow").hits, 1);
	free_disk(&disk);
}

static void a_due_time_past_the_end_of_time_stops_there(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_FLUSH, 0, 0, NULL);

	(void)state;
	use_rules(&disk, "slow do=delay:1h");
	assert_int_equal(pipeline_submit(disk.pipeline, &io, UINT64_MAX - 5), IO_PARKED);
	assert_int_equal(io.due_ns, UINT64_MAX);
	pipeline_resume(disk.pipeline, &io, UINT64_MAX);
	free_disk(&disk);
}

/* ---- distributions ----------------------------------------------------------------------- */

enum { SAMPLES = 40000 };

static uint64_t sample[SAMPLES];

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x == y ? 0 : x < y ? -1 : 1;
}

/* What one rule makes of so many requests at this time, in their order. */
static void draw_delays(const char *action, enum io_op op, uint64_t now_ns, uint64_t *delays,
			int nr)
{
	struct disk disk = make_disk(DISK, 512, 1, 77);
	unsigned char data[SEC];
	char rule[400];

	snprintf(rule, sizeof(rule), "slow do=%s", action);
	use_rules(&disk, rule);
	for (int i = 0; i < nr; i++) {
		struct io io = make_io(op, 0, op == IO_FLUSH ? 0 : SEC, data);

		delays[i] = 0;
		if (pipeline_submit(disk.pipeline, &io, now_ns) == IO_DONE)
			continue;
		delays[i] = io.due_ns - now_ns;
		pipeline_resume(disk.pipeline, &io, io.due_ns);
	}
	free_disk(&disk);
}

static void draw_sorted(const char *action)
{
	draw_delays(action, IO_READ, 0, sample, SAMPLES);
	qsort(sample, SAMPLES, sizeof(*sample), by_size);
}

/* The time that this share, in parts per ten thousand, of the sample stays below. */
static uint64_t quantile(unsigned int share)
{
	return sample[(uint64_t)share * (SAMPLES - 1) / 10000];
}

static double mean_of(const uint64_t *delays, int nr)
{
	double sum = 0;

	for (int i = 0; i < nr; i++)
		sum += (double)delays[i];
	return sum / nr;
}

static void a_normal_delay_has_its_mean_its_deviation_and_its_tails(void **state)
{
	(void)state;
	draw_sorted("delay:normal=10ms,dev=1ms");
	assert_true(fabs(mean_of(sample, SAMPLES) - 10e6) < 0.02e6);
	/* One, two and three deviations to either side. */
	assert_in_range(quantile(1587), 8960000, 9040000);
	assert_in_range(quantile(8413), 10960000, 11040000);
	assert_in_range(quantile(228), 7930000, 8070000);
	assert_in_range(quantile(9772), 11930000, 12070000);
	assert_in_range(quantile(9987), 12850000, 13150000);
	assert_in_range(quantile(10000), 13700000, 15500000);
}

static void a_normal_delay_is_cut_at_nothing(void **state)
{
	unsigned int nothing = 0;

	(void)state;
	draw_sorted("delay:normal=1ms,dev=1ms");
	while (sample[nothing] == 0)
		nothing++;
	/* A share of 0.1587 lies more than one deviation below the mean. */
	assert_in_range(nothing, SAMPLES * 0.150, SAMPLES * 0.167);
	draw_sorted("delay:normal=3ms,dev=0ns");
	assert_int_equal(sample[0], 3000000);
	assert_int_equal(sample[SAMPLES - 1], 3000000);
}

static void an_exponential_delay_halves_with_every_half_life(void **state)
{
	(void)state;
	draw_sorted("delay:exp=1ms");
	assert_true(fabs(mean_of(sample, SAMPLES) - 1e6) < 0.02e6);
	assert_in_range(quantile(5000), 680000, 706000);
	assert_in_range(quantile(7500), 1365000, 1407000);
	assert_in_range(quantile(9900), 4450000, 4760000);
	draw_sorted("delay:exp=0s");
	assert_int_equal(sample[SAMPLES - 1], 0);
}

static void a_pareto_delay_is_never_shorter_and_has_a_long_tail(void **state)
{
	(void)state;
	draw_sorted("delay:pareto=1ms,shape=1.5");
	assert_in_range(sample[0], 1000000, 1000100);
	/* u^(-1/1.5) for u of a half, a tenth, a thousandth. */
	assert_in_range(quantile(5000), 1565000, 1610000);
	assert_in_range(quantile(9000), 4450000, 4830000);
	assert_in_range(quantile(9990), 75000000, 135000000);
	draw_sorted("delay:pareto=1s,shape=0.1");
	assert_int_equal(sample[SAMPLES - 1], KIND_DELAY_MAX_NS);
	draw_sorted("delay:pareto=1ms,shape=100");
	assert_in_range(quantile(5000), 1006000, 1008000);
}

static void a_percentile_curve_is_met_at_its_percentiles(void **state)
{
	(void)state;
	draw_sorted("delay:p50=80us,p90=100us,p99=2ms,p999=40ms");
	assert_int_equal(sample[0], 80000);
	assert_int_equal(quantile(4900), 80000);
	assert_in_range(quantile(7000), 89000, 91000);
	assert_in_range(quantile(9000), 99000, 115000);
	assert_in_range(quantile(9450), 950000, 1150000);
	assert_in_range(quantile(9900), 1900000, 4500000);
	assert_in_range(quantile(9945), 15000000, 27000000);
	assert_in_range(quantile(9990), 37500000, 40000000);
	assert_int_equal(sample[SAMPLES - 1], 40000000);
	draw_sorted("delay:p0=0s,p100=1ms");
	assert_in_range(quantile(2500), 240000, 260000);
	assert_in_range(sample[SAMPLES - 1], 999000, 1000000);
}

static void max_cuts_every_shape(void **state)
{
	static const char *const shapes[] = {
		"delay:1ms..9ms,max=5ms",          "delay:normal=5ms,dev=2ms,max=5ms",
		"delay:exp=5ms,max=5ms",           "delay:pareto=1ms,shape=1,max=5ms",
		"delay:p50=1ms,p100=9ms,max=5ms",  "delay:7ms,max=5ms",
		"delay:1ms,grow-match=1s,max=5ms",
	};

	(void)state;
	for (size_t i = 0; i < array_size(shapes); i++) {
		draw_sorted(shapes[i]);
		assert_int_equal(sample[SAMPLES - 1], 5000000);
	}
}

static void a_delay_that_grows_gets_worse_by_the_second(void **state)
{
	uint64_t delays[4];

	(void)state;
	draw_delays("delay:1ms,grow=3us", IO_READ, 0, delays, 1);
	assert_int_equal(delays[0], 1000000);
	draw_delays("delay:1ms,grow=3us", IO_READ, NSEC_PER_SEC / 3, delays, 1);
	assert_int_equal(delays[0], 1000999);
	draw_delays("delay:1ms,grow=3us", IO_READ, 3600 * NSEC_PER_SEC, delays, 1);
	assert_int_equal(delays[0], 11800000);
	draw_delays("delay:1ms,grow=1h", IO_READ, 3600 * NSEC_PER_SEC, delays, 1);
	assert_int_equal(delays[0], KIND_DELAY_MAX_NS);
	draw_delays("delay:1ms,grow=1h", IO_READ, UINT64_MAX - KIND_DELAY_MAX_NS, delays, 1);
	assert_int_equal(delays[0], KIND_DELAY_MAX_NS);
	draw_delays("delay:1ms,grow-match=2us", IO_READ, 0, delays, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(delays[i], 1000000 + i * 2000);
}

static void every_shape_replays_from_its_seed_and_explain_foretells_it(void **state)
{
	static const char *const shapes[] = {
		"delay:1ms..9ms",        "delay:normal=5ms,dev=2ms", "delay:exp=5ms",
		"delay:p50=1ms,p99=9ms", "delay:pareto=1ms,shape=1", "delay:1ms,grow-match=1us",
	};

	(void)state;
	for (size_t i = 0; i < array_size(shapes); i++) {
		struct disk disk = make_disk(DISK, 512, 1, 77);
		uint64_t again[20];
		char rule[100];

		draw_delays(shapes[i], IO_FLUSH, 0, sample, 20);
		draw_delays(shapes[i], IO_FLUSH, 0, again, 20);
		assert_memory_equal(sample, again, sizeof(again));
		snprintf(rule, sizeof(rule), "slow do=%s", shapes[i]);
		use_rules(&disk, rule);
		for (int n = 0; n < 20; n++) {
			struct io io = make_io(IO_FLUSH, 0, 0, NULL);
			char *text = pipeline_explain(disk.pipeline, &io, 0);
			char want[64], human[UNITS_MAX];

			snprintf(want, sizeof(want), "waits %s\n",
				 units_human_time(sample[n], human));
			assert_non_null(strstr(text, want));
			free(text);
			assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_PARKED);
			assert_int_equal(io.due_ns, sample[n]);
			pipeline_resume(disk.pipeline, &io, 0);
		}
		free_disk(&disk);
	}
}

/* ---- a measured file --------------------------------------------------------------------- */

static void put_file(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

#define BINS(bins) "\"clat_ns\":{\"bins\":{" bins "}}"

static uint64_t first_delay(const char *params, enum io_op op)
{
	char action[200];
	uint64_t delay;

	snprintf(action, sizeof(action), "delay:file=%s%s", path, params);
	draw_delays(action, op, 0, &delay, 1);
	return delay;
}

static void a_file_of_fio_gives_each_operation_its_own_times(void **state)
{
	(void)state;
	put_file("{\"jobs\":[{\"jobname\":\"j\",\"read\":{" BINS("\"1000\":7") "},\"write\":{" BINS(
		"\"2000\":7") "},\"sync\":{\"lat_ns\":{\"bins\":{\"9000\":1}}}}]}");
	assert_int_equal(first_delay("", IO_READ), 1000);
	assert_int_equal(first_delay("", IO_WRITE), 2000);
	assert_int_equal(first_delay("", IO_ZEROES), 2000);
	assert_int_equal(first_delay("", IO_FLUSH), 9000);
	/* Not measured: as reads. */
	assert_int_equal(first_delay("", IO_DISCARD), 1000);
	assert_int_equal(first_delay(",rw=write", IO_DISCARD), 2000);
	assert_int_equal(first_delay(",job=j,rw=sync", IO_READ), 9000);
	assert_int_equal(first_delay(",job=j,rw=sync,max=5us", IO_READ), 5000);
	put_file("{\"jobs\":[{\"jobname\":\"j\",\"write\":{" BINS("\"2000\":7") "}}]}");
	assert_int_equal(first_delay("", IO_READ), 2000);
}

static void a_file_that_cannot_be_used_leaves_the_old_rules_in_force(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct rule_set *set;
	struct diag diag;
	char rule[200];

	(void)state;
	use_rules(&disk, "old do=delay:1ms");
	put_file("{\"jobs\":[{\"jobname\":\"j\",\"read\":{" BINS("\"1000\":7") "}}]}");
	snprintf(rule, sizeof(rule), "fine do=delay:p0=1s,p50=2s\nnew do=delay:file=%s,rw=trim",
		 path);
	set = must_set(rule);
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, &diag, NULL), -EINVAL);
	assert_string_equal(diag.id, "rule.bad-file");
	assert_non_null(strstr(diag.message, "has no latencies of trim"));
	assert_false(rule_set_at(set, 0)->armed);
	put_file("nonsense");
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, &diag, NULL), -EINVAL);
	assert_non_null(strstr(diag.message, "is not what fio writes"));
	assert_non_null(rule_set_find(pipeline_rules(disk.pipeline), "old"));
	rule_set_free(set);
	free_disk(&disk);
}

/* ---- lanes and the arm ------------------------------------------------------------------- */

/* A flush that arrives at this time on a queue: how long it waits. Not resumed when @ret_io is there. */
static uint64_t flush_wait(struct disk *disk, uint16_t queue, uint64_t now_ns, struct io *ret_io)
{
	struct io io = make_io(IO_FLUSH, 0, 0, NULL), *at = ret_io ? ret_io : &io;

	*at = io;
	at->queue = queue;
	if (pipeline_submit(disk->pipeline, at, now_ns) == IO_DONE)
		return 0;
	if (!ret_io)
		pipeline_resume(disk->pipeline, at, at->due_ns);
	return at->due_ns - now_ns;
}

static void with_lanes_requests_of_all_queues_wait_in_one_line(void **state)
{
	struct disk disk = make_disk(DISK, 512, 3, 1);

	(void)state;
	use_rules(&disk, "line do=delay:10ns,lanes=2");
	for (uint16_t queue = 1; queue < 3; queue++)
		pipeline_adopt(disk.pipeline, queue);
	for (uint64_t i = 0; i < 12; i++)
		assert_int_equal(flush_wait(&disk, (uint16_t)(i % 3), 0, NULL), 10 * (1 + i / 2));
	assert_int_equal(flush_wait(&disk, 2, 55, NULL), 15);
	assert_int_equal(flush_wait(&disk, 0, 65, NULL), 10);
	assert_int_equal(flush_wait(&disk, 1, 65, NULL), 15);
	free_disk(&disk);
}

static void a_line_is_the_rule_s_own_and_a_rule_put_anew_has_none(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io waits[2];

	(void)state;
	use_rules(&disk, "a do=delay:10ns,lanes=1\nb do=delay:1us");
	assert_int_equal(flush_wait(&disk, 0, 0, &waits[0]), 1010);
	assert_int_equal(flush_wait(&disk, 0, 0, &waits[1]), 1020);
	/* Who waits has its time, whatever becomes of the rule; who comes finds what is there now. */
	use_rules(&disk, "a do=delay:10ns,lanes=1");
	assert_int_equal(flush_wait(&disk, 0, 5, NULL), 10);
	assert_int_equal(flush_wait(&disk, 0, 5, NULL), 20);
	assert_int_equal(waits[1].due_ns, 1020);
	pipeline_resume(disk.pipeline, &waits[0], 1010);
	pipeline_resume(disk.pipeline, &waits[1], 1020);
	free_disk(&disk);
}

static void publish_kept(struct disk *disk, bool enabled)
{
	struct rule_set *set = rule_set_copy(pipeline_rules(disk->pipeline));

	rule_enable(rule_set_at(set, 0), enabled);
	assert_int_equal(pipeline_publish(disk->pipeline, set, 0, NULL, NULL), 0);
	pipeline_adopt(disk->pipeline, 0);
	rule_set_free(set);
}

static void a_rule_that_is_disabled_meanwhile_finds_its_line_again(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "a do=delay:10ns,lanes=1");
	assert_int_equal(flush_wait(&disk, 0, 0, NULL), 10);
	assert_int_equal(flush_wait(&disk, 0, 0, NULL), 20);
	publish_kept(&disk, false);
	assert_int_equal(flush_wait(&disk, 0, 0, NULL), 0);
	publish_kept(&disk, true);
	assert_int_equal(flush_wait(&disk, 0, 5, NULL), 25);
	free_disk(&disk);
}

static void who_is_held_or_let_go_early_keeps_its_turn_in_the_line(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io held;

	(void)state;
	use_rules(&disk, "a do=delay:10ns,lanes=1\nh times=1 do=hang");
	assert_int_equal(flush_wait(&disk, 0, 0, &held), UINT64_MAX);
	assert_int_equal(flush_wait(&disk, 0, 0, NULL), 20);
	pipeline_resume(disk.pipeline, &held, 1);
	assert_int_equal(flush_wait(&disk, 0, 2, NULL), 28);
	free_disk(&disk);
}

static void max_and_the_shapes_are_about_a_request_not_about_its_line(void **state)
{
	uint64_t delays[40], alone[40], sum = 0;

	(void)state;
	draw_delays("delay:exp=5ms,max=8ms", IO_READ, 0, alone, 40);
	draw_delays("delay:exp=5ms,max=8ms,lanes=1", IO_READ, 0, delays, 40);
	for (int i = 0; i < 40; i++)
		assert_int_equal(delays[i], sum += alone[i]);
	draw_delays("delay:30m,lanes=1", IO_READ, 0, delays, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(delays[i], i ? KIND_DELAY_MAX_NS : KIND_DELAY_MAX_NS / 2);
}

static uint64_t seek_wait(struct disk *disk, enum io_op op, uint64_t sector, unsigned int nr)
{
	unsigned char data[8 * SEC];
	struct io io = make_io(op, sector, nr * SEC, data);

	memset(data, 's', sizeof(data));
	if (pipeline_submit(disk->pipeline, &io, 0) == IO_DONE)
		return 0;
	pipeline_resume(disk->pipeline, &io, io.due_ns);
	return io.due_ns;
}

static void an_arm_moves_from_where_the_last_hit_ended(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "arm op=read,write,flush do=delay:100ns,seek=8us");
	assert_int_equal(seek_wait(&disk, IO_READ, 0, 4), 100);
	/* Next to it: no way at all. */
	assert_int_equal(seek_wait(&disk, IO_WRITE, 4, 4), 100);
	assert_int_equal(seek_wait(&disk, IO_READ, 24, 8), 100 + 4000);
	/* Neither what has no place nor what is no hit moves the arm. */
	assert_int_equal(seek_wait(&disk, IO_FLUSH, 0, 0), 100);
	assert_int_equal(seek_wait(&disk, IO_DISCARD, 0, 1), 0);
	assert_int_equal(seek_wait(&disk, IO_READ, 31, 1), 100 + 1000);
	/* Once over half of the disk and back. */
	assert_int_equal(seek_wait(&disk, IO_READ, 0, 1), 100 + 5656);
	assert_int_equal(seek_wait(&disk, IO_READ, 33, 1), 100 + 5656);
	use_rules(&disk, "arm op=read do=delay:100ns,seek=8us,max=4us");
	assert_int_equal(seek_wait(&disk, IO_READ, 62, 1), 4000);
	free_disk(&disk);
}

static void explain_foretells_the_line_and_the_way_and_moves_neither(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io = make_io(IO_READ, 16, SEC, data);

	(void)state;
	use_rules(&disk, "arm do=delay:2ms,seek=8ms,lanes=1");
	for (int i = 0; i < 3; i++) {
		char *text = pipeline_explain(disk.pipeline, &io, 0);

		assert_string_equal(text, "arm: match 0: waits 6.00ms\n"
					  "after 6.00ms: carried out as usual\n");
		free(text);
	}
	assert_int_equal(seek_wait(&disk, IO_READ, 16, 1), 6 * NSEC_PER_MSEC);
	io.sector = 17;
	for (int i = 0; i < 3; i++) {
		char *text = pipeline_explain(disk.pipeline, &io, 0);

		assert_string_equal(text, "arm: match 1: waits 8.00ms, 6.00ms of it in line\n"
					  "after 8.00ms: carried out as usual\n");
		free(text);
	}
	assert_int_equal(seek_wait(&disk, IO_READ, 17, 1), 8 * NSEC_PER_MSEC);
	free_disk(&disk);
}

/* ---- what is refused --------------------------------------------------------------------- */

static void delays_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("s do=delay", "rule.missing-parameter", 6, "wants one of TIME",
		    "for example do=delay:10ms");
	check_error("s do=delay:2ms..1ms", "rule.bad-time", 12, "shorter time first", NULL);
	check_error("s do=delay:61m", "rule.bad-time", 12, "0s to 1h, got '61m'", NULL);
	check_error("s do=delay:1ms..2h", "rule.bad-time", 17, "0s to 1h, got '2h'", NULL);
	check_error("s do=delay:100", "rule.bad-time", 12, "got '100'", "needs its unit");
	check_error("s do=delay:1ms,lanes=0", "rule.bad-number", 22, "from 1 to 256", NULL);
	check_error("s do=delay:1ms,lanes=257", "rule.bad-number", 22, "from 1 to 256", NULL);
	check_error("s do=delay:lanes=2", "rule.missing-parameter", 6, "wants one of TIME",
		    "for example");
	check_error("s do=delay:seek=8ms", "rule.missing-parameter", 6, "wants one of TIME",
		    "for example");
	check_error("s do=delay:1ms,seek=2h", "rule.bad-time", 21, "0s to 1h, got '2h'", NULL);
	check_error("s do=delay:1ms,after", "rule.unknown-parameter", 16, "no parameter 'after'",
		    NULL);
}

static void shapes_that_do_not_fit_together_are_refused(void **state)
{
	(void)state;
	check_error("s do=delay:1ms,exp=1ms", "rule.conflict", 6, "only one of TIME",
		    "for example");
	check_error("s do=delay:p50=1ms,p90=2ms,exp=1ms", "rule.conflict", 6, "only one of",
		    "for example");
	check_error("s do=delay:max=1s,grow=1ms", "rule.missing-parameter", 6, "wants one of",
		    "for example");
	check_error("s do=delay:normal=1ms", "rule.missing-parameter", 6,
		    "normal=MEAN and dev=SIGMA only together", NULL);
	check_error("s do=delay:1ms,dev=1ms", "rule.conflict", 6,
		    "normal=MEAN and dev=SIGMA only together", NULL);
	check_error("s do=delay:pareto=1ms", "rule.missing-parameter", 6,
		    "pareto=MIN and shape=A only together", NULL);
	check_error("s do=delay:pareto=1ms,shape=0.05", "rule.bad-number", 6, "from 0.1 to 100",
		    NULL);
	check_error("s do=delay:pareto=1ms,shape=101", "rule.bad-number", 29, "from 0 to 100",
		    NULL);
	check_error("s do=delay:1ms,job=j", "rule.conflict", 6, "job=NAME only with file=", NULL);
	check_error("s do=delay:1ms,rw=read", "rule.conflict", 6, "rw= only with file=", NULL);
	check_error("s do=delay:file=/x,rw=raed", "rule.bad-word", 23, "read|write|trim|sync",
		    NULL);
	check_error("s do=delay:file=x", "rule.bad-path", 17, "absolute path", NULL);
	check_error("s do=delay:p50=1ms", "rule.missing-parameter", 6, "two percentiles or more",
		    NULL);
	check_error("s do=delay:p99=1ms,p50=2ms", "rule.conflict", 6,
		    "that rise, but p50=2ms is more than p99=1ms", NULL);
	check_error("s do=delay:exp=2h", "rule.bad-time", 16, "0s to 1h", NULL);
	check_error("s do=delay:p95=1ms,p42=2ms", "rule.unknown-parameter", 20,
		    "no parameter 'p42'", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_delayed_write_reaches_the_disk_only_when_resumed),
		cmocka_unit_test(delays_of_several_rules_add_up_and_the_error_comes_late),
		cmocka_unit_test(a_random_delay_stays_within_its_bounds_and_repeats_with_the_seed),
		cmocka_unit_test(both_ends_of_a_span_are_reached),
		cmocka_unit_test(a_delay_of_nothing_parks_nothing),
		cmocka_unit_test(a_due_time_past_the_end_of_time_stops_there),
		cmocka_unit_test(a_normal_delay_has_its_mean_its_deviation_and_its_tails),
		cmocka_unit_test(a_normal_delay_is_cut_at_nothing),
		cmocka_unit_test(an_exponential_delay_halves_with_every_half_life),
		cmocka_unit_test(a_pareto_delay_is_never_shorter_and_has_a_long_tail),
		cmocka_unit_test(a_percentile_curve_is_met_at_its_percentiles),
		cmocka_unit_test(max_cuts_every_shape),
		cmocka_unit_test(a_delay_that_grows_gets_worse_by_the_second),
		cmocka_unit_test(every_shape_replays_from_its_seed_and_explain_foretells_it),
		cmocka_unit_test(a_file_of_fio_gives_each_operation_its_own_times),
		cmocka_unit_test(a_file_that_cannot_be_used_leaves_the_old_rules_in_force),
		cmocka_unit_test(with_lanes_requests_of_all_queues_wait_in_one_line),
		cmocka_unit_test(a_line_is_the_rule_s_own_and_a_rule_put_anew_has_none),
		cmocka_unit_test(a_rule_that_is_disabled_meanwhile_finds_its_line_again),
		cmocka_unit_test(who_is_held_or_let_go_early_keeps_its_turn_in_the_line),
		cmocka_unit_test(max_and_the_shapes_are_about_a_request_not_about_its_line),
		cmocka_unit_test(an_arm_moves_from_where_the_last_hit_ended),
		cmocka_unit_test(explain_foretells_the_line_and_the_way_and_moves_neither),
		cmocka_unit_test(delays_that_make_no_sense_are_refused),
		cmocka_unit_test(shapes_that_do_not_fit_together_are_refused),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}
