// SPDX-License-Identifier: MIT
/* tsan */
#include "base/clock.h"
#include "tests/unit/cached_disk.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define DISK (64 * SEC)

/* What a command answered: its ranges as text, "17..18 20..21" in sectors. */
struct answer {
	struct kind_tell tell;
	struct diag diag;
	char ranges[200];
	uint64_t nr_ranges, bytes, last_to;
	bool touching; /* two ranges that should have been one, or are out of order */
};

static void note_range(void *ctx, uint64_t from, uint64_t to)
{
	struct answer *answer = ctx;
	size_t at = strlen(answer->ranges);

	answer->touching |= answer->nr_ranges && from <= answer->last_to;
	answer->nr_ranges++;
	answer->bytes += to - from;
	answer->last_to = to;
	snprintf(answer->ranges + at, sizeof(answer->ranges) - at, "%s%llu..%llu", at ? " " : "",
		 (unsigned long long)from / SEC, (unsigned long long)to / SEC);
}

static int tell_bytes(struct disk *disk, struct answer *answer, const char *verb, uint64_t from,
		      uint64_t to)
{
	struct rule *rule = rule_set_find(pipeline_rules(disk->pipeline), "b");

	*answer = (struct answer){ .tell = { .verb = verb,
					     .has_range = from != to,
					     .from = from,
					     .to = from != to ? to : store_size(disk->store),
					     .each = note_range,
					     .ctx = answer } };
	return rule->kind->ops->tell(rule->state, &answer->tell, &answer->diag);
}

/* A command about sectors, which must succeed; returns its count. */
static uint64_t tell(struct disk *disk, const char *verb, uint64_t from, uint64_t to)
{
	struct answer answer;

	if (tell_bytes(disk, &answer, verb, from * SEC, to * SEC))
		fail_msg("%s: %s", verb, answer.diag.message);
	return answer.tell.ret_count;
}

static void check_list(struct disk *disk, const char *want)
{
	struct answer answer;

	assert_int_equal(tell_bytes(disk, &answer, "list", 0, 0), 0);
	assert_string_equal(answer.ranges, want);
	assert_false(answer.touching);
	assert_int_equal(answer.tell.ret_count, answer.nr_ranges);
	assert_int_equal(answer.bytes, tell(disk, "count", 0, 0) * SEC);
}

static void check_refused(struct disk *disk, const char *verb, uint64_t from, uint64_t to,
			  const char *id, const char *says, const char *hints)
{
	struct answer answer;

	assert_int_equal(tell_bytes(disk, &answer, verb, from, to), -EINVAL);
	assert_string_equal(answer.diag.id, id);
	if (!strstr(answer.diag.message, says) || !strstr(answer.diag.hint, hints))
		fail_msg("'%s' (%s)", answer.diag.message, answer.diag.hint);
}

static void all_blocks_of_the_range_are_bad_until_they_are_rewritten(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[4 * SEC];

	(void)state;
	use_rules(&disk, "b range=8s..16s do=badblock");
	check_list(&disk, "8..16");
	memset(data, 'd', sizeof(data));
	assert_int_equal(run_io(&disk, IO_READ, 4, 4 * SEC, data), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_READ, 16, SEC, data), SEC);
	memset(data, 'd', sizeof(data));
	assert_int_equal(run_io(&disk, IO_READ, 5, 4 * SEC, data), -EIO);
	assert_int_equal(data[0], 'd');
	assert_int_equal(run_io(&disk, IO_READ, 15, 4 * SEC, data), -EIO);
	/* What touches no bad block is no match. */
	assert_int_equal(counts_of(&disk, "b").matches, 2);
	assert_int_equal(run_io(&disk, IO_WRITE, 7, 2 * SEC, data), 2 * SEC);
	assert_int_equal(run_io(&disk, IO_DISCARD, 10, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 12, SEC, NULL), 0);
	assert_int_equal(run_flagged(&disk, IO_ZEROES, 14, SEC, NULL, IO_NOUNMAP), 0);
	check_list(&disk, "9..10 11..12 13..14 15..16");
	assert_int_equal(run_io(&disk, IO_READ, 8, SEC, data), SEC);
	assert_int_equal(data[0], 'd');
	for (uint64_t s = 8; s < 16; s++)
		assert_int_equal(run_io(&disk, IO_READ, s, SEC, data), s % 2 ? -EIO : (int)SEC);
	free_disk(&disk);
}

static void of_several_ranges_each_is_bad_and_nothing_between_them(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[64 * SEC];

	(void)state;
	use_rules(&disk, "b range=48s..,8s..16s,32s..40s do=badblock");
	check_list(&disk, "8..16 32..40 48..64");
	assert_int_equal(run_io(&disk, IO_READ, 16, 16 * SEC, data), 16 * SEC);
	assert_int_equal(run_io(&disk, IO_READ, 16, 17 * SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_WRITE, 8, 32 * SEC, data), 32 * SEC);
	check_list(&disk, "48..64");
	assert_int_equal(tell(&disk, "add", 32, 40), 8);
	check_refused(&disk, "add", 16 * SEC, 24 * SEC, "badblock.outside", "parts of 4k..32k",
		      "range=");
	check_refused(&disk, "add", 8 * SEC, 24 * SEC, "badblock.outside", "parts of", "range=");
	check_refused(&disk, "query", 32 * SEC, 48 * SEC, "badblock.outside", "parts of", "range=");
	check_list(&disk, "32..40 48..64");
	free_disk(&disk);
}

static void a_part_of_a_block_heals_nothing_and_a_failed_write_neither(void **state)
{
	struct disk disk = make_disk(DISK, 4096, 1, 1);
	unsigned char data[8 * SEC];

	(void)state;
	use_rules(&disk, "w op=write range=24s.. do=error:EIO\nb range=8s..32s do=badblock");
	assert_int_equal(run_io(&disk, IO_WRITE, 9, 7 * SEC, data), 7 * SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 12, 8 * SEC, data), 8 * SEC);
	assert_int_equal(run_io(&disk, IO_WRITE, 24, 8 * SEC, data), -EIO);
	assert_int_equal(tell(&disk, "count", 0, 0), 3);
	assert_int_equal(run_io(&disk, IO_WRITE, 16, 8 * SEC, data), 8 * SEC);
	assert_int_equal(tell(&disk, "count", 0, 0), 2);
	assert_int_equal(run_io(&disk, IO_READ, 15, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 16, SEC, data), SEC);
	free_disk(&disk);
}

static void blocks_turn_bad_and_good_on_command(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	use_rules(&disk, "b do=badblock:ENODATA");
	check_list(&disk, "");
	assert_int_equal(run_io(&disk, IO_READ, 17, SEC, data), SEC);
	assert_int_equal(tell(&disk, "add", 17, 18), 1);
	assert_int_equal(tell(&disk, "add", 16, 20), 3);
	assert_int_equal(tell(&disk, "add", 20, 21), 1);
	assert_int_equal(tell(&disk, "add", 63, 64), 1);
	assert_int_equal(tell(&disk, "add", 0, 1), 1);
	check_list(&disk, "0..1 16..21 63..64");
	assert_int_equal(run_io(&disk, IO_READ, 17, SEC, data), -ENODATA);
	assert_int_equal(tell(&disk, "query", 0, 18), 3);
	assert_int_equal(tell(&disk, "query", 21, 63), 0);
	assert_int_equal(tell(&disk, "count", 0, 0), 7);
	assert_int_equal(tell(&disk, "remove", 17, 19), 2);
	assert_int_equal(tell(&disk, "remove", 17, 19), 0);
	assert_int_equal(run_io(&disk, IO_READ, 17, SEC, data), SEC);
	check_list(&disk, "0..1 16..17 19..21 63..64");
	free_disk(&disk);
}

static void commands_that_make_no_sense_are_refused_by_name(void **state)
{
	struct disk disk = make_disk(DISK, 4096, 1, 1);

	(void)state;
	use_rules(&disk, "b range=8s..32s do=badblock");
	check_refused(&disk, "heal", 0, 0, "badblock.unknown-verb",
		      "add, remove, query, count and list, got 'heal'", "");
	check_refused(&disk, "add", 0, 0, "badblock.no-range", "add wants a range", "add 17s..18s");
	check_refused(&disk, "count", 4096, 8192, "badblock.unwanted-range", "takes no range",
		      "query");
	check_refused(&disk, "add", 0, 8192, "badblock.outside",
		      "add 0..8k: the rule covers only 4k..16k", "another range=");
	check_refused(&disk, "list", 4096, 20480, "badblock.outside", "4k..16k", "range=");
	check_refused(&disk, "remove", 4096, 8192 + 512, "badblock.not-blocks",
		      "remove 4k..17s: wanted whole logical blocks of 4k", "multiples of 4k");
	check_refused(&disk, "add", 4096 + 512, 8192, "badblock.not-blocks", "blocks of 4k", "4k");
	assert_int_equal(tell(&disk, "count", 0, 0), 3);
	free_disk(&disk);
}

static void a_range_that_cuts_blocks_is_refused_and_names_the_rule(void **state)
{
	struct disk disk = make_disk(DISK, 4096, 1, 1);
	struct rule_set *set = must_set("ok do=badblock\nb range=8s..33s do=badblock");
	struct diag diag = { 0 };

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, &diag, NULL), -EINVAL);
	assert_string_equal(diag.id, "rule.bad-range");
	assert_non_null(strstr(diag.message, "rule 'b': badblock wants a range of whole logical"));
	assert_non_null(strstr(diag.hint, "multiples of 4k"));
	rule_set_free(set);
	free_disk(&disk);
}

static void the_nth_failed_read_replaces_the_first_bad_block_it_touches(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 1);
	unsigned char data[4 * SEC];

	(void)state;
	assert_int_equal(write_letter(&disk, 8, 4, 'x', IO_FUA), 4 * SEC);
	use_rules(&disk, "cut op=discard do=powercut\nb range=8s..12s do=badblock:remap=3");
	for (int i = 0; i < 3; i++)
		assert_int_equal(run_io(&disk, IO_READ, 8, 4 * SEC, data), -EIO);
	check_list(&disk, "9..12");
	assert_string_equal(MAP(&disk, 8, 4), ".xxx");
	/* A rewritten block starts anew. */
	assert_int_equal(run_io(&disk, IO_READ, 9, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 9, SEC, data), -EIO);
	assert_int_equal(write_letter(&disk, 9, 1, 'n', 0), SEC);
	assert_int_equal(tell(&disk, "add", 9, 10), 1);
	assert_int_equal(run_io(&disk, IO_READ, 9, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 9, SEC, data), -EIO);
	assert_string_equal(MAP(&disk, 8, 4), ".nxx");
	assert_int_equal(run_io(&disk, IO_READ, 9, SEC, data), -EIO);
	check_list(&disk, "10..12");
	assert_int_equal(run_io(&disk, IO_READ, 8, 2 * SEC, data), 2 * SEC);
	assert_int_equal(data[0], 0);
	/* What was there is lost for good. */
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, SEC, NULL), -EIO);
	revive(&disk, 1, NULL);
	assert_string_equal(MAP(&disk, 8, 4), "..xx");
	free_disk(&disk);
}

static void a_read_that_waits_fails_though_its_block_is_rewritten_meanwhile(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io late = make_io(IO_READ, 9, SEC, data);

	(void)state;
	use_rules(&disk, "slow op=read do=delay:1s\nb range=8s..12s do=badblock:remap=1");
	assert_int_equal(pipeline_submit(disk.pipeline, &late, 0), IO_PARKED);
	assert_int_equal(write_letter(&disk, 9, 1, 'n', 0), SEC);
	pipeline_resume(disk.pipeline, &late, 0);
	assert_int_equal(late.result, -EIO);
	/* And replaces nothing. */
	assert_string_equal(MAP(&disk, 8, 4), ".n..");
	free_disk(&disk);
}

static void a_rule_that_was_taken_away_replaces_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io late = make_io(IO_READ, 9, SEC, data);

	(void)state;
	use_rules(&disk, "slow op=read do=delay:1s\nb range=8s..12s do=badblock:remap=1");
	assert_int_equal(pipeline_submit(disk.pipeline, &late, 0), IO_PARKED);
	use_rules(&disk, "other do=count");
	assert_int_equal(write_letter(&disk, 9, 1, 'n', 0), SEC);
	pipeline_resume(disk.pipeline, &late, 0);
	assert_int_equal(late.result, -EIO);
	assert_string_equal(MAP(&disk, 8, 4), ".n..");
	free_disk(&disk);
}

static void explain_names_the_sector_and_counts_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_READ, 6, 8 * SEC, NULL);
	char *text;

	(void)state;
	use_rules(&disk, "b range=8s..12s do=badblock:ENODATA,remap=1");
	text = pipeline_explain(disk.pipeline, &io, 0);
	assert_string_equal(text, "b: match 0: fails with ENODATA: sector 8 is bad\n"
				  "as the last rule says\n");
	free(text);
	assert_int_equal(tell(&disk, "count", 0, 0), 4);
	assert_int_equal(tell(&disk, "remove", 8, 12), 4);
	text = pipeline_explain(disk.pipeline, &io, 0);
	assert_string_equal(text, "b: no match: badblock does not apply now\n"
				  "carried out as usual\n");
	free(text);
	free_disk(&disk);
}

static void wrong_parameters_are_named(void **state)
{
	struct rule *rule = must_parse("b do=badblock:ENODATA,remap=3");
	char *text = rule_print(rule);

	(void)state;
	assert_string_equal(text, "b do=badblock:ENODATA,remap=3");
	free(text);
	rule_unref(rule);
	check_error("b do=badblock:EROFS", "rule.bad-errno", 15, "EROFS", "use EIO");
	check_error("b do=badblock:remap=0", "rule.bad-number", 21, "from 1 to 255", NULL);
	check_error("b do=badblock:EIO,remp=3", "rule.unknown-parameter", 19, "'remp'", "remap");
	check_error("b op=write do=badblock", "rule.op-not-for-kind", 3, "only on read", NULL);
}

/* Against an array of bytes, across words and regions, with commands, writes and reads. */
static void random_changes_agree_with_an_array(void **state)
{
	enum { SECTORS = 100000 };
	static unsigned char bad[SECTORS];
	struct disk disk = make_disk((uint64_t)SECTORS * SEC, 512, 1, 1);
	struct draw draw = { .seed = 11 };
	static unsigned char data[64 * SEC];

	(void)state;
	use_rules(&disk, "b range=70s..99990s do=badblock");
	memset(bad, 0, sizeof(bad));
	memset(bad + 70, 1, 99990 - 70);
	for (int i = 0; i < 6000; i++) {
		uint64_t len = 1 + draw_below(&draw, draw_below(&draw, 4) ? 63 : 40000);
		uint64_t from = 70 + draw_below(&draw, 99990 - 70 - len), nr = 0, ranges = 0;
		bool add = draw_below(&draw, 2);
		struct answer answer;

		for (uint64_t s = from; s < from + len; s++)
			nr += bad[s];
		for (uint64_t s = from; s < from + len; s++)
			ranges += bad[s] && (s == from || !bad[s - 1]);
		switch (draw_below(&draw, 5)) {
		case 0:
		case 1:
			assert_int_equal(tell(&disk, add ? "add" : "remove", from, from + len),
					 add ? len - nr : nr);
			memset(bad + from, add, len);
			break;
		case 2:
			assert_int_equal(tell(&disk, "query", from, from + len), nr);
			tell_bytes(&disk, &answer, "list", from * SEC, (from + len) * SEC);
			assert_int_equal(answer.nr_ranges, ranges);
			assert_int_equal(answer.bytes, nr * SEC);
			assert_false(answer.touching);
			break;
		case 3:
			assert_int_equal(run_io(&disk, IO_ZEROES, from, (uint32_t)len * SEC, NULL),
					 0);
			memset(bad + from, 0, len);
			break;
		default:
			len = len > 64 ? 64 : len;
			for (nr = 0; nr < len && !bad[from + nr]; nr++)
				;
			assert_int_equal(run_io(&disk, IO_READ, from, (uint32_t)len * SEC, data),
					 nr < len ? -EIO : (int)(len * SEC));
		}
	}
	free_disk(&disk);
}

static double ns_per_lookup(struct disk *disk, int nr)
{
	const struct rule *rule = rule_set_find(pipeline_rules(disk->pipeline), "b");
	uint64_t blocks = store_size(disk->store) / 4096, bad = 0, start;
	struct draw draw = { .seed = 3 };
	struct io io = make_io(IO_READ, 0, 4096, NULL);

	start = clock_now_ns();
	for (int i = 0; i < nr; i++) {
		io.sector = draw_below(&draw, blocks) * 8;
		bad += rule->kind->ops->concerns(&rule->args, rule->state, &io);
	}
	assert_true(bad < (uint64_t)nr);
	return (double)(clock_now_ns() - start) / nr;
}

/* A tebibyte in blocks of 512 bytes, a million bad ones all over it. */
static void a_million_bad_blocks_on_a_tebibyte_cost_little(void **state)
{
	struct disk disk = make_disk(1ull << 40, 512, 1, 1);
	uint64_t step = (1ull << 40) / 1000000 / SEC, start, worst = 0, add_ns;
	struct answer answer;
	double none_ns;

	(void)state;
	use_rules(&disk, "b do=badblock");
	none_ns = ns_per_lookup(&disk, 1000000);
	start = clock_now_ns();
	for (uint64_t i = 0; i < 1000000; i++)
		assert_int_equal(tell(&disk, "add", i * step, i * step + 1), 1);
	add_ns = clock_now_ns() - start;
	for (uint64_t i = 0; i < 1000; i++) {
		start = clock_now_ns();
		assert_int_equal(tell(&disk, "add", i * 1000 * step + 3, i * 1000 * step + 4), 1);
		worst = clock_now_ns() - start > worst ? clock_now_ns() - start : worst;
	}
	print_message("add: %.0f ns each, %.0f ns at worst of 1000 at a million\n",
		      (double)add_ns / 1e6, (double)worst);
	print_message("lookup of 4k: %.1f ns with none, %.1f ns with a million (each with ~5 ns "
		      "of drawing the place)\n",
		      none_ns, ns_per_lookup(&disk, 1000000));
	assert_int_equal(tell(&disk, "count", 0, 0), 1001000);
	start = clock_now_ns();
	assert_int_equal(tell_bytes(&disk, &answer, "list", 0, 0), 0);
	print_message("list: %.0f ms\n", (double)(clock_now_ns() - start) / 1e6);
	/* There are more than it lists, and it says so. */
	assert_int_equal(answer.tell.ret_count, 1001000);
	assert_int_equal(answer.nr_ranges, 1000000);
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, 1u << 31, NULL), 0);
	free_disk(&disk);
}

/* ---- several queues ----------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	struct disk *disk;
	uint16_t queue;
	uint64_t failed, wrong;
};

/* Read until it fails or is zero, rewrite, read back: never anything but what was written or 0. */
static void *run_worker(void *arg)
{
	struct worker *w = arg;
	unsigned char data[SEC];

	for (unsigned int i = 0; i < 30000; i++) {
		struct io io = make_io(IO_READ, 8u * w->queue + i % 8, SEC, data);

		io.queue = w->queue;
		pipeline_submit(w->disk->pipeline, &io, 0);
		if (io.result < 0) {
			w->failed++;
			if (i % 3)
				continue;
			io.op = IO_WRITE;
			memset(data, 'w', SEC);
			pipeline_submit(w->disk->pipeline, &io, 0);
		} else {
			w->wrong +=
				(data[0] && data[0] != 'w') || memcmp(data, data + 1, SEC - 1) != 0;
		}
	}
	return NULL;
}

static void queues_heal_and_look_while_blocks_are_added(void **state)
{
	struct disk disk = make_disk(DISK, 512, 2, 1);
	struct worker workers[2];

	(void)state;
	use_rules(&disk, "b do=badblock:remap=2");
	tell(&disk, "add", 0, 64);
	pipeline_adopt(disk.pipeline, 1);
	/* Whenever they get to run, there is something to fail at. */
	tell(&disk, "add", 0, 64);
	for (uint16_t q = 0; q < 2; q++) {
		workers[q] = (struct worker){ .disk = &disk, .queue = q };
		assert_int_equal(pthread_create(&workers[q].thread, NULL, run_worker, &workers[q]),
				 0);
	}
	for (int i = 0; i < 20000; i++) {
		tell(&disk, "add", (uint64_t)i % 64, (uint64_t)i % 64 + 1);
		if (i % 16 == 0)
			tell(&disk, "list", 0, 64);
	}
	for (int q = 0; q < 2; q++) {
		pthread_join(workers[q].thread, NULL);
		assert_int_equal(workers[q].wrong, 0);
		assert_true(workers[q].failed > 0);
	}
	/* The counters agree with the bits once all is quiet. */
	assert_int_equal(tell(&disk, "count", 0, 0),
			 tell(&disk, "query", 0, 32) + tell(&disk, "query", 32, 64));
	tell(&disk, "remove", 0, 64);
	assert_int_equal(tell(&disk, "count", 0, 0), 0);
	assert_int_equal(tell(&disk, "add", 0, 64), 64);
	free_disk(&disk);
}

static void *run_read(void *arg)
{
	struct io io = make_io(IO_READ, 9, SEC, (unsigned char[SEC]){ 0 });

	pipeline_submit(((struct disk *)arg)->pipeline, &io, 0);
	return (void *)(intptr_t)io.result;
}

/* The read is made to wait where it is about to replace the block. */
static void a_block_that_was_rewritten_meanwhile_is_not_replaced(void **state)
{
	struct disk disk = make_disk(DISK, 512, 2, 1);
	pthread_t thread;
	void *result;

	(void)state;
	use_rules(&disk, "b range=8s..12s do=badblock:remap=1");
	store_lock(disk.store, 9 * SEC);
	assert_int_equal(pthread_create(&thread, NULL, run_read, &disk), 0);
	while (!counts_of(&disk, "b").hits)
		sched_yield();
	usleep(50000);
	memset(store_data(disk.store) + 9 * SEC, 'w', SEC);
	store_mark(disk.store, 9 * SEC, SEC);
	assert_int_equal(tell(&disk, "remove", 9, 10), 1);
	store_unlock(disk.store, 9 * SEC);
	pthread_join(thread, &result);
	assert_int_equal((intptr_t)result, -EIO);
	assert_string_equal(MAP(&disk, 8, 4), ".w..");
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_blocks_of_the_range_are_bad_until_they_are_rewritten),
		cmocka_unit_test(of_several_ranges_each_is_bad_and_nothing_between_them),
		cmocka_unit_test(a_part_of_a_block_heals_nothing_and_a_failed_write_neither),
		cmocka_unit_test(blocks_turn_bad_and_good_on_command),
		cmocka_unit_test(commands_that_make_no_sense_are_refused_by_name),
		cmocka_unit_test(a_range_that_cuts_blocks_is_refused_and_names_the_rule),
		cmocka_unit_test(the_nth_failed_read_replaces_the_first_bad_block_it_touches),
		cmocka_unit_test(a_read_that_waits_fails_though_its_block_is_rewritten_meanwhile),
		cmocka_unit_test(a_rule_that_was_taken_away_replaces_nothing),
		cmocka_unit_test(explain_names_the_sector_and_counts_nothing),
		cmocka_unit_test(wrong_parameters_are_named),
		cmocka_unit_test(random_changes_agree_with_an_array),
		cmocka_unit_test(a_million_bad_blocks_on_a_tebibyte_cost_little),
		cmocka_unit_test(queues_heal_and_look_while_blocks_are_added),
		cmocka_unit_test(a_block_that_was_rewritten_meanwhile_is_not_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
