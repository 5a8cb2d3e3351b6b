// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define DISK (64 * SEC)

static void without_rules_the_disk_is_a_disk(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[4 * SEC];

	(void)state;
	memset(data, 'w', sizeof(data));
	assert_int_equal(run_io(&disk, IO_WRITE, 2, 4 * SEC, data), 4 * SEC);
	assert_int_equal(run_io(&disk, IO_READ, 4, 4 * SEC, data), 4 * SEC);
	assert_int_equal(data[2 * SEC - 1], 'w');
	assert_int_equal(data[2 * SEC], 0);
	assert_int_equal(run_io(&disk, IO_DISCARD, 2, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_ZEROES, 4, SEC, NULL), 0);
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	assert_string_equal(MAP(&disk, 0, 8), "...w.w..");
	assert_int_equal(run_io(&disk, IO_WRITE, 63, SEC, data), SEC);
	free_disk(&disk);
}

static void zeroes_take_no_memory_and_with_nounmap_they_keep_their_space(void **state)
{
	struct disk disk = make_disk(1 << 20, 512, 1, 1);
	struct io io = make_io(IO_ZEROES, 0, 1 << 20, NULL);
	unsigned char data[2 * SEC];

	(void)state;
	store_mark(disk.store, 0, 1 << 20);
	memset(store_data(disk.store), 'x', 1 << 20);
	io.flags = IO_NOUNMAP;
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_DONE);
	assert_int_equal(io.result, 0);
	assert_int_equal(store_allocated(disk.store), 0);
	assert_int_equal(store_used(disk.store), 1 << 20);
	assert_int_equal(run_io(&disk, IO_READ, 24, sizeof(data), data), sizeof(data));
	assert_int_equal(data[0], 0);
	io.flags = 0;
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_DONE);
	assert_int_equal(store_used(disk.store), 0);
	free_disk(&disk);
}

static void zeroes_that_are_written_take_memory_only_where_it_is(void **state)
{
	struct disk disk = make_disk(1 << 20, 512, 1, 1);
	static unsigned char data[1 << 20];

	(void)state;
	memset(data, 0, sizeof(data));
	assert_int_equal(run_io(&disk, IO_WRITE, 0, sizeof(data), data), sizeof(data));
	assert_int_equal(store_allocated(disk.store), 0);
	assert_int_equal(store_used(disk.store), 1 << 20);
	/* The last byte of one page. */
	data[40 * SEC - 1] = 'x';
	assert_int_equal(run_io(&disk, IO_WRITE, 0, sizeof(data), data), sizeof(data));
	assert_int_equal(store_allocated(disk.store), 4096);
	assert_int_equal(run_io(&disk, IO_READ, 32, 8 * SEC, data), 8 * SEC);
	assert_int_equal(data[8 * SEC - 1], 'x');
	/* Over content they are content. */
	memset(data, 0, sizeof(data));
	assert_int_equal(run_io(&disk, IO_WRITE, 36, 8 * SEC, data), 8 * SEC);
	assert_string_equal(MAP(&disk, 32, 8), "........");
	assert_int_equal(store_allocated(disk.store), 4096);
	free_disk(&disk);
}

static void what_does_not_fit_changes_nothing_and_discards_make_room(void **state)
{
	struct disk disk = make_disk(64 * 4096, 512, 2, 1);
	static unsigned char data[4 * 4096];
	struct io zeroes = make_io(IO_ZEROES, 8, sizeof(data), NULL);

	(void)state;
	store_limit(disk.store, 4 * 4096);
	zeroes.flags = IO_NOUNMAP;
	memset(data, 'a', sizeof(data));
	assert_int_equal(run_io(&disk, IO_WRITE, 0, 3 * 4096, data), 3 * 4096);
	memset(data, 'b', sizeof(data));
	assert_int_equal(run_io(&disk, IO_WRITE, 8, sizeof(data), data), -ENOSPC);
	assert_int_equal(pipeline_submit(disk.pipeline, &zeroes, 0), IO_DONE);
	assert_int_equal(zeroes.result, -ENOSPC);
	assert_string_equal(MAP(&disk, 7, 18), "aaaaaaaaaaaaaaaaa.");
	/* With a discard of the last of its pages it would fit, and does. */
	assert_int_equal(run_io(&disk, IO_DISCARD, 0, 4096, NULL), 0);
	assert_int_equal(run_io(&disk, IO_WRITE, 8, sizeof(data), data), sizeof(data));
	assert_string_equal(MAP(&disk, 7, 4), ".bbb");
	assert_int_equal(store_used(disk.store), 4 * 4096);
	free_disk(&disk);
}

static uint64_t no_room(const char *root)
{
	(void)root;
	return 0;
}

static void a_host_without_memory_is_an_error_and_an_event(void **state)
{
	struct disk disk = make_disk(1 << 20, 512, 1, 1);
	struct event_reader *reader = NULL;
	unsigned char data[SEC] = { 1 };
	struct event event;
	uint64_t lost = 0;

	(void)state;
	assert_int_equal(event_reader_create(pipeline_events(disk.pipeline), 0, &reader), 0);
	assert_int_equal(run_io(&disk, IO_WRITE, 0, SEC, data), SEC);
	store_watch_host(disk.store, no_room, "");
	assert_int_equal(run_io(&disk, IO_WRITE, 80, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_WRITE, 80, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_WRITE, 1, SEC, data), SEC);
	assert_int_equal(run_io(&disk, IO_READ, 80, SEC, data), SEC);
	assert_int_equal(store_host(disk.store).nr_refused, 2);
	assert_true(event_reader_next(reader, &event, &lost));
	assert_string_equal(event.rule, "-host-memory");
	assert_int_equal(event.sector, 80);
	assert_false(event_reader_next(reader, &event, &lost));
	event_reader_free(reader);
	free_disk(&disk);
}

static void reading_what_was_never_written_takes_no_memory(void **state)
{
	struct disk disk = make_disk(1 << 20, 512, 1, 1);
	static unsigned char data[1 << 20];

	(void)state;
	data[0] = 1;
	assert_int_equal(run_io(&disk, IO_WRITE, 80, 2 * SEC, data), 2 * SEC);
	memset(data, 'x', sizeof(data));
	assert_int_equal(run_io(&disk, IO_READ, 0, sizeof(data), data), sizeof(data));
	assert_int_equal(data[0], 0);
	data[40960] = 0;
	assert_memory_equal(data, data + 1, sizeof(data) - 1);
	assert_int_equal(store_allocated(disk.store), 4096);
	free_disk(&disk);
}

static int copy_calls;

static int no_copy(struct io *io, size_t offset, void *to, size_t len)
{
	(void)io;
	(void)offset;
	(void)len;
	memset(to, 'g', len);
	copy_calls++;
	return 0;
}

static int broken_copy(struct io *io, size_t offset, const void *from, size_t len)
{
	(void)io;
	(void)offset;
	(void)from;
	(void)len;
	copy_calls++;
	return -EFAULT;
}

static void data_without_a_pointer_goes_through_the_owners_calls(void **state)
{
	static const struct io_data_ops ops = { .get = no_copy, .put = broken_copy };
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_WRITE, 1, 2 * SEC, NULL);

	(void)state;
	io.data_ops = &ops;
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_DONE);
	assert_int_equal(io.result, 2 * SEC);
	assert_string_equal(MAP(&disk, 0, 4), ".gg.");
	io.op = IO_READ;
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_DONE);
	assert_int_equal(io.result, -EFAULT);
	assert_int_equal(copy_calls, 2);
	free_disk(&disk);
}

#define BLOCK 4096

struct overwriter {
	struct disk *disk;
	uint16_t queue;
	uint8_t op;
	int torn;
};

/* Write one letter or another all over a block that starts mid-page, or look for a mixture. */
static void *overwrite(void *arg)
{
	struct overwriter *o = arg;
	unsigned char data[2 * BLOCK];
	struct io io = make_io(o->op, 8, sizeof(data), data);

	io.queue = o->queue;
	for (int i = 0; i < 20000; i++) {
		if (o->op == IO_WRITE)
			memset(data, i & 1 ? 'a' : 'b', sizeof(data));
		pipeline_submit(o->disk->pipeline, &io, 0);
		o->torn += memcmp(data, data + 1, BLOCK - 1) != 0;
		o->torn += memcmp(data + BLOCK, data + BLOCK + 1, BLOCK - 1) != 0;
	}
	return NULL;
}

static void another_queue_never_sees_a_block_half_written(void **state)
{
	struct disk disk = make_disk(1 << 20, BLOCK, 2, 1);
	struct overwriter writer = { .disk = &disk, .queue = 0, .op = IO_WRITE };
	struct overwriter reader = { .disk = &disk, .queue = 1, .op = IO_READ };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, overwrite, &writer), 0);
	overwrite(&reader);
	pthread_join(thread, NULL);
	assert_int_equal(reader.torn, 0);
	free_disk(&disk);
}

static void a_shared_disk_punches_and_zeroes_the_same_bytes(void **state)
{
	struct disk shared = make_disk(64 * BLOCK, 512, 2, 1),
		    alone = make_disk(64 * BLOCK, 512, 1, 1);
	static const uint32_t places[] = { 0, 1, 7, 8, 9, 15, 16, 17, 40, 64 };

	(void)state;
	for (size_t a = 0; a < array_size(places); a++) {
		for (size_t b = a + 1; b < array_size(places); b++) {
			for (uint8_t op = IO_DISCARD; op <= IO_ZEROES; op++) {
				uint32_t len = (places[b] - places[a]) * SEC;

				memset(store_data(shared.store), 'x', 64 * BLOCK);
				memset(store_data(alone.store), 'x', 64 * BLOCK);
				assert_int_equal(run_io(&shared, op, places[a], len, NULL), 0);
				assert_int_equal(run_io(&alone, op, places[a], len, NULL), 0);
				assert_memory_equal(store_data(shared.store),
						    store_data(alone.store), 64 * BLOCK);
			}
		}
	}
	free_disk(&shared);
	free_disk(&alone);
}

static void the_first_terminal_rule_wins_and_later_rules_count_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];

	(void)state;
	use_rules(&disk, "a every=2 do=error:EBUSY\nb do=error:EIO\nc do=error:ENOSPC");
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EBUSY);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	assert_int_equal(counts_of(&disk, "a").matches, 3);
	assert_int_equal(counts_of(&disk, "b").matches, 2);
	assert_int_equal(counts_of(&disk, "c").matches, 0);
	free_disk(&disk);
}

static void selectors_choose_by_length_flags_and_queue(void **state)
{
	static const struct {
		const char *words;
		uint32_t len;
		uint32_t flags;
		uint16_t queue;
		bool hit;
	} cases[] = {
		{ "len=2s", SEC, 0, 0, false },
		{ "len=2s", 2 * SEC, 0, 0, true },
		{ "len=2s", 3 * SEC, 0, 0, false },
		{ "min-len=2s", SEC, 0, 0, false },
		{ "min-len=2s", 2 * SEC, 0, 0, true },
		{ "max-len=2s", 2 * SEC, 0, 0, true },
		{ "max-len=2s", 3 * SEC, 0, 0, false },
		{ "flags=fua", SEC, 0, 0, false },
		{ "flags=fua", SEC, IO_FUA | IO_META, 0, true },
		{ "flags=fua,meta", SEC, IO_FUA, 0, false },
		{ "flags=failfast-driver", SEC, IO_FAILFAST_DRIVER, 0, true },
		{ "flags=swap", SEC, IO_SWAP, 0, true },
		{ "flags=nounmap", SEC, IO_SWAP, 0, false },
		{ "queue=1", SEC, 0, 0, false },
		{ "queue=1", SEC, 0, 1, true },
		{ "queue=0", SEC, 0, 0, true },
	};
	unsigned char data[4 * SEC];

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct disk disk = make_disk(DISK, 512, 2, 1);
		struct io io = make_io(IO_READ, 0, cases[i].len, data);
		char rule[64];

		snprintf(rule, sizeof(rule), "a %s do=error:EIO", cases[i].words);
		use_rules(&disk, rule);
		pipeline_adopt(disk.pipeline, 1);
		io.flags = cases[i].flags;
		io.queue = cases[i].queue;
		assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_DONE);
		if ((io.result == -EIO) != cases[i].hit)
			fail_msg("case %zu: %s: %d", i, cases[i].words, io.result);
		assert_int_equal(counts_of(&disk, "a").matches, cases[i].hit);
		free_disk(&disk);
	}
}

static void a_rule_with_place_or_length_never_matches_a_flush(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	use_rules(&disk, "a range=0.. do=error:EIO\nb max-len=4k do=error:EIO");
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), 0);
	use_rules(&disk, "a range=0.. do=error:EIO\nb flags=fua do=error:EIO\nc do=error:ENODEV");
	assert_int_equal(run_io(&disk, IO_FLUSH, 0, 0, NULL), -ENODEV);
	free_disk(&disk);
}

static void a_plan_takes_effect_when_the_queue_adopts_it(void **state)
{
	struct rule_set *set = must_set("a do=error:EIO"), *none = rule_set_new();
	struct disk disk = make_disk(DISK, 512, 2, 1);
	unsigned char data[SEC];
	uint64_t epoch;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, &epoch), 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), SEC);
	assert_false(pipeline_adopted(disk.pipeline, epoch));
	pipeline_adopt(disk.pipeline, 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	assert_false(pipeline_adopted(disk.pipeline, epoch));
	assert_int_equal(pipeline_nr_plans(disk.pipeline), 2);
	pipeline_adopt(disk.pipeline, 1);
	assert_true(pipeline_adopted(disk.pipeline, epoch));
	assert_int_equal(pipeline_nr_plans(disk.pipeline), 1);
	assert_int_equal(pipeline_publish(disk.pipeline, none, 0, NULL, &epoch), 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	pipeline_adopt(disk.pipeline, 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), SEC);
	rule_set_free(set);
	rule_set_free(none);
	free_disk(&disk);
}

static void a_parked_request_keeps_the_plan_it_started_under(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	unsigned char data[SEC];
	struct io io = make_io(IO_READ, 0, SEC, data);

	(void)state;
	use_rules(&disk, "slow do=delay:1s\nbad do=error:ENOSPC");
	assert_int_equal(pipeline_submit(disk.pipeline, &io, 0), IO_PARKED);
	use_rules(&disk, "other do=error:EBUSY");
	use_rules(&disk, "other do=error:EBUSY");
	assert_true(pipeline_adopted(disk.pipeline, 0));
	/* The one in force and the one that is waited under; the one between is gone. */
	assert_int_equal(pipeline_nr_plans(disk.pipeline), 2);
	assert_string_equal(rule_name(io.rule), "bad");
	pipeline_resume(disk.pipeline, &io, 0);
	assert_int_equal(io.result, -ENOSPC);
	assert_null(io.rule);
	assert_true(pipeline_adopted(disk.pipeline, 0));
	assert_int_equal(pipeline_nr_plans(disk.pipeline), 1);
	free_disk(&disk);
}

static void a_rule_that_stays_keeps_its_counters_and_one_put_again_starts_afresh(void **state)
{
	struct rule_set *set = must_set("a times=3 for=10s do=error:EIO");
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct rule *again = must_parse("a times=3 for=10s do=error:EIO");
	struct rule *b = must_parse("b after=100 do=error:EIO");
	unsigned char data[SEC];

	(void)state;
	pipeline_publish(disk.pipeline, set, 0, NULL, NULL);
	pipeline_adopt(disk.pipeline, 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	rule_set_put(set, b, "a", NULL);
	pipeline_publish(disk.pipeline, set, 9 * NSEC_PER_SEC, NULL, NULL);
	pipeline_adopt(disk.pipeline, 0);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	assert_int_equal(counts_of(&disk, "a").hits, 2);
	rule_set_put(set, again, NULL, NULL);
	pipeline_publish(disk.pipeline, set, 20 * NSEC_PER_SEC, NULL, NULL);
	pipeline_adopt(disk.pipeline, 0);
	assert_int_equal(counts_of(&disk, "a").hits, 0);
	assert_int_equal(counts_of(&disk, "b").matches, 1);
	assert_int_equal(run_io(&disk, IO_READ, 0, SEC, data), -EIO);
	rule_unref(again);
	rule_unref(b);
	rule_set_free(set);
	free_disk(&disk);
}

static void a_set_with_one_bad_rule_changes_nothing(void **state)
{
	struct rule_set *set = must_set("a do=error:EIO\nb range=1M..2M do=error:EIO");
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct diag diag;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, &diag, NULL), -EINVAL);
	assert_string_equal(diag.id, "rule.range-outside");
	assert_int_equal(rule_set_count(pipeline_rules(disk.pipeline)), 0);
	assert_int_equal(pipeline_nr_plans(disk.pipeline), 1);
	assert_false(rule_set_at(set, 0)->armed);
	rule_set_free(set);
	free_disk(&disk);
}

static void geometry_that_is_not_the_stores_is_refused(void **state)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = 1 }
	};
	struct pipeline *pipeline = NULL;
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(DISK, NULL, &store), 0);
	options.geometry.nr_queues = 0;
	assert_int_equal(pipeline_create(store, &options, &pipeline), -EINVAL);
	options.geometry = (struct rule_geometry){ .size_bytes = DISK * 2,
						   .block_bytes = 512,
						   .nr_queues = 1 };
	assert_int_equal(pipeline_create(store, &options, &pipeline), -EINVAL);
	options.geometry =
		(struct rule_geometry){ .size_bytes = DISK, .block_bytes = 700, .nr_queues = 1 };
	assert_int_equal(pipeline_create(store, &options, &pipeline), -EINVAL);
	assert_null(pipeline);
	assert_null(pipeline_free(NULL));
	store_free(store);
}

static void check_explain(struct disk *disk, const struct io *io, const char *want)
{
	char *text = pipeline_explain(disk->pipeline, io, 0);

	assert_string_equal(text, want);
	free(text);
}

static void explain_says_what_each_rule_does_and_counts_nothing(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct io io = make_io(IO_WRITE, 20, 4 * SEC, NULL);

	(void)state;
	use_rules(&disk, "a op=read do=error:EIO\n"
			 "b range=0..20s do=error:EIO\n"
			 "c range=0..21s after=1 do=error:EIO\n"
			 "d do=delay:10ms\n"
			 "e p=0 do=error:EIO\n"
			 "f do=torn:keep=1s,fail\n"
			 "g do=error:EIO");
	for (int i = 0; i < 2; i++)
		check_explain(&disk, &io,
			      "a: no match: op=read\n"
			      "b: no match: range=0..10k\n"
			      "c: match 0: passes, after=1 skips it\n"
			      "d: match 0: waits 10.0ms\n"
			      "e: match 0: passes, p=0 skips it\n"
			      "f: match 0: keeps sectors 20..21, then fails with EIO\n"
			      "after 10.0ms: as the last rule says\n");
	assert_int_equal(counts_of(&disk, "d").matches, 0);
	io = make_io(IO_FLUSH, 0, 0, NULL);
	use_rules(&disk,
		  "a range=0.. do=error:EIO\nb do=torn:random\nc queue=0 flags=fua do=error:EIO");
	check_explain(&disk, &io,
		      "a: no match: range=0.., and a flush has neither place nor length\n"
		      "b: no match: torn acts only on write, discard or zeroes\n"
		      "c: no match: flags=fua\n"
		      "carried out as usual\n");
	use_rules(&disk, "a times=1 do=error:EIO,after");
	check_explain(&disk, &io,
		      "a: match 0: is carried out, then fails with EIO\n"
		      "as the last rule says\n");
	run_io(&disk, IO_FLUSH, 0, 0, NULL);
	check_explain(&disk, &io, "a: match 1: passes, times=1 is used up\ncarried out as usual\n");
	free_disk(&disk);
}

/* Requests dealt out over the queues in arrival order: the decisions must not depend on how many.
 */
static void the_same_seed_and_arrival_order_decide_alike_with_any_number_of_queues(void **state)
{
	static const char rules[] = "a op=read p=0.3 every=2 times=40 do=error:EIO\n"
				    "b op=write p=0.5 do=torn:random\n"
				    "c p=0.2 do=delay:1us..1s\n"
				    "d op=read range=8s..16s after=3 p=0.7 do=error:ENODATA";
	static uint64_t log[4][3000];
	unsigned char data[4 * SEC];

	(void)state;
	for (uint16_t nr = 1; nr <= 4; nr++) {
		struct disk disk = make_disk(DISK, 512, nr, 99);
		struct draw draw = { .seed = 5 };
		uint64_t sum = 0;

		use_rules(&disk, rules);
		for (uint16_t q = 0; q < nr; q++)
			pipeline_adopt(disk.pipeline, q);
		for (int i = 0; i < 3000; i++) {
			struct io io = make_io(draw_below(&draw, 2) ? IO_READ : IO_WRITE,
					       draw_below(&draw, 60), 4 * SEC, data);

			memset(data, (int)draw_below(&draw, 256), sizeof(data));
			io.queue = (uint16_t)(i % nr);
			io.due_ns = 0;
			if (pipeline_submit(disk.pipeline, &io, 0) == IO_PARKED)
				pipeline_resume(disk.pipeline, &io, io.due_ns);
			for (size_t s = 0; s < 64; s++)
				sum = sum * 31 + store_data(disk.store)[s * SEC];
			log[nr - 1][i] = sum ^ io.due_ns ^ (uint64_t)io.result << 40;
		}
		assert_memory_equal(log[0], log[nr - 1], sizeof(log[0]));
		free_disk(&disk);
	}
}

/* Four queues at full speed against a control thread that publishes plan after plan. */
enum { QUEUES = 4, PER_QUEUE = 40000, RING = 8, LIMIT = 5000 };

struct worker {
	pthread_t thread;
	struct pipeline *pipeline;
	uint16_t queue;
	uint64_t errors, parked;
	_Atomic bool *go_on;
};

static void *run_worker(void *arg)
{
	struct worker *worker = arg;
	struct io ring[RING] = { 0 };
	bool waiting[RING] = { false };
	unsigned char data[SEC];

	memset(data, 'w', sizeof(data));
	for (int i = 0; i < PER_QUEUE; i++) {
		int slot = i % RING;
		struct io *io = &ring[slot];

		if (i % 16 == 0)
			pipeline_adopt(worker->pipeline, worker->queue);
		if (waiting[slot])
			pipeline_resume(worker->pipeline, io, 0);
		/* Each queue has its own sectors: overlapping requests in flight have no order. */
		*io = make_io(i % 2 ? IO_READ : IO_WRITE, worker->queue * 16u + (uint64_t)slot, SEC,
			      data);
		io->queue = worker->queue;
		waiting[slot] = pipeline_submit(worker->pipeline, io, 0) == IO_PARKED;
		worker->parked += waiting[slot];
		worker->errors += !waiting[slot] && io->result == -EIO;
	}
	for (int slot = 0; slot < RING; slot++)
		if (waiting[slot])
			pipeline_resume(worker->pipeline, &ring[slot], 0);
	while (atomic_load(worker->go_on)) {
		pipeline_adopt(worker->pipeline, worker->queue);
		sched_yield();
	}
	return NULL;
}

static void limits_hold_and_no_plan_leaks_under_four_queues_and_many_plans(void **state)
{
	struct rule_set *set = must_set("limit op=read times=5000 every=3 do=error:EIO\n"
					"slow p=0.2 do=delay:1ms");
	struct disk disk = make_disk(DISK, 512, QUEUES, 3);
	struct worker workers[QUEUES];
	uint64_t errors = 0, parked = 0, epoch = 0, due = clock_now_ns() + PATIENCE_NS;
	_Atomic bool go_on = true;
	struct rule_counts counts;
	size_t most = 0;

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, NULL), 0);
	for (uint16_t q = 0; q < QUEUES; q++) {
		workers[q] =
			(struct worker){ .pipeline = disk.pipeline, .queue = q, .go_on = &go_on };
		assert_int_equal(pthread_create(&workers[q].thread, NULL, run_worker, &workers[q]),
				 0);
	}
	for (int i = 0; i < 300; i++) {
		struct rule *other = must_parse(i % 2 ? "other op=discard do=error:EIO"
						      : "other p=0.5 do=delay:1us..2us");

		rule_set_put(set, other, "slow", NULL);
		rule_unref(other);
		assert_int_equal(pipeline_publish(disk.pipeline, set, 0, NULL, &epoch), 0);
		most = pipeline_nr_plans(disk.pipeline) > most ? pipeline_nr_plans(disk.pipeline)
							       : most;
		if (i % 4 == 0)
			while (!pipeline_adopted(disk.pipeline, epoch) && clock_now_ns() < due)
				sched_yield();
	}
	while (!pipeline_adopted(disk.pipeline, epoch) && clock_now_ns() < due)
		sched_yield();
	atomic_store(&go_on, false);
	for (uint16_t q = 0; q < QUEUES; q++) {
		pthread_join(workers[q].thread, NULL);
		errors += workers[q].errors;
		parked += workers[q].parked;
	}
	assert_true(pipeline_adopted(disk.pipeline, epoch));
	assert_int_equal(pipeline_nr_plans(disk.pipeline), 1);
	rule_counts(rule_set_find(set, "limit"), &counts);
	assert_int_equal(counts.hits, LIMIT);
	assert_in_range(counts.matches, QUEUES * PER_QUEUE / 2 - RING * QUEUES,
			QUEUES * PER_QUEUE / 2);
	/* The rest of the hits were parked by `slow` or `other` first: none asks after a terminal.
	 */
	assert_int_equal(errors, LIMIT);
	assert_true(parked > 1000);
	print_message("%zu plans alive at most\n", most);
	rule_set_free(set);
	free_disk(&disk);
}

static void note_unparked(void *ctx, struct io *io)
{
	(void)io;
	++*(unsigned int *)ctx;
}

static struct disk make_joining(unsigned int *nr_unparked)
{
	const struct pipeline_options options = {
		.geometry = { .size_bytes = DISK, .block_bytes = 512, .nr_queues = 2 },
		.joins = true,
		.unpark = note_unparked,
		.ctx = nr_unparked,
	};
	struct disk disk;

	assert_int_equal(store_create(DISK, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	return disk;
}

static void end_hit(struct disk *disk, struct io *io, int result)
{
	pipeline_release(disk->pipeline, NULL, 0, SIZE_MAX);
	pipeline_adopt(disk->pipeline, 0);
	assert_int_equal(pipeline_resume(disk->pipeline, io, 0), IO_DONE);
	assert_int_equal(io->result, result);
}

/* The other disks may take their time; and the next hit is a cut of its own. */
static void what_was_revived_before_the_others_answered_is_not_cut_again(void **state)
{
	static const char *const rules[] = { "cut op=write do=powercut:with=b",
					     "cut op=write do=short-life:gone,with=b" };

	(void)state;
	for (size_t i = 0; i < array_size(rules); i++) {
		unsigned int nr_unparked = 0;
		struct disk disk = make_joining(&nr_unparked);
		struct condition *condition = pipeline_condition(disk.pipeline);
		unsigned char data[SEC] = { 0 };
		struct io first = make_io(IO_WRITE, 0, SEC, data), next = first;
		struct joint_cut joint, other;

		use_rules(&disk, rules[i]);
		assert_int_equal(pipeline_submit(disk.pipeline, &first, 0), IO_PARKED);
		assert_true(pipeline_joint(disk.pipeline, &joint));
		if (joint.unplug)
			condition_remove(condition, 0);
		else
			condition_cut(condition, KEEP_ALL, 0, 0);
		end_hit(&disk, &first, joint.unplug ? -ENODEV : -EIO);
		pipeline_revive(disk.pipeline, NULL);
		assert_int_equal(pipeline_submit(disk.pipeline, &next, 0), IO_PARKED);
		assert_false(pipeline_joint_end(disk.pipeline, &joint));
		assert_int_equal(condition_bits(condition), 0);
		assert_true(pipeline_joint(disk.pipeline, &other));
		assert_int_not_equal(other.incarnation, joint.incarnation);
		assert_true(pipeline_joint_end(disk.pipeline, &other));
		assert_int_not_equal(condition_bits(condition), 0);
		end_hit(&disk, &next, joint.unplug ? -ENODEV : -EIO);
		assert_false(pipeline_joint(disk.pipeline, &other));
		assert_int_equal(nr_unparked, 2);
		free_disk(&disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_rules_the_disk_is_a_disk),
		cmocka_unit_test(reading_what_was_never_written_takes_no_memory),
		cmocka_unit_test(zeroes_take_no_memory_and_with_nounmap_they_keep_their_space),
		cmocka_unit_test(zeroes_that_are_written_take_memory_only_where_it_is),
		cmocka_unit_test(what_does_not_fit_changes_nothing_and_discards_make_room),
		cmocka_unit_test(a_host_without_memory_is_an_error_and_an_event),
		cmocka_unit_test(data_without_a_pointer_goes_through_the_owners_calls),
		cmocka_unit_test(another_queue_never_sees_a_block_half_written),
		cmocka_unit_test(a_shared_disk_punches_and_zeroes_the_same_bytes),
		cmocka_unit_test(the_first_terminal_rule_wins_and_later_rules_count_nothing),
		cmocka_unit_test(selectors_choose_by_length_flags_and_queue),
		cmocka_unit_test(a_rule_with_place_or_length_never_matches_a_flush),
		cmocka_unit_test(a_plan_takes_effect_when_the_queue_adopts_it),
		cmocka_unit_test(a_parked_request_keeps_the_plan_it_started_under),
		cmocka_unit_test(
			a_rule_that_stays_keeps_its_counters_and_one_put_again_starts_afresh),
		cmocka_unit_test(a_set_with_one_bad_rule_changes_nothing),
		cmocka_unit_test(geometry_that_is_not_the_stores_is_refused),
		cmocka_unit_test(explain_says_what_each_rule_does_and_counts_nothing),
		cmocka_unit_test(what_was_revived_before_the_others_answered_is_not_cut_again),
		cmocka_unit_test(
			the_same_seed_and_arrival_order_decide_alike_with_any_number_of_queues),
		cmocka_unit_test(limits_hold_and_no_plan_leaks_under_four_queues_and_many_plans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
