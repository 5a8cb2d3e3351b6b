// SPDX-License-Identifier: MIT
/* tsan */
#include "faults/disk/apply.h"
#include "tests/unit/data.h"

#include <errno.h>
#include <pthread.h>

#define SIZE (8u << 20)
#define PAGE 4096u

static struct disk make_plain(uint64_t size_bytes, uint16_t nr_queues, bool cache)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = size_bytes,
			      .block_bytes = 512,
			      .nr_queues = nr_queues },
		.cache = cache,
	};
	struct disk disk;

	assert_int_equal(store_create(size_bytes, NULL, &disk.store), 0);
	assert_int_equal(pipeline_create(disk.store, &options, &disk.pipeline), 0);
	return disk;
}

static void keep(struct disk *disk, const char *name)
{
	assert_int_equal(pipeline_snapshot_add(disk->pipeline, name, 7, NULL), 0);
}

static struct snapshot *find(struct disk *disk, const char *name)
{
	return snapshots_find(pipeline_snapshots(disk->pipeline), name);
}

static uint64_t restore(struct disk *disk, const char *name)
{
	uint64_t bytes;

	assert_int_equal(pipeline_snapshot_restore(disk->pipeline, find(disk, name), &bytes), 0);
	return bytes;
}

static void drop(struct disk *disk, const char *name)
{
	assert_int_equal(pipeline_snapshot_remove(disk->pipeline, find(disk, name)), 0);
}

static uint64_t bytes_of(struct disk *disk, const char *name)
{
	struct snapshot_info info[8];
	size_t nr = snapshots_list(pipeline_snapshots(disk->pipeline), info, 8);

	for (size_t i = 0; i < nr && i < 8; i++)
		if (strcmp(info[i].name, name) == 0)
			return info[i].bytes;
	return UINT64_MAX;
}

/* The letter of one sector of a snapshot; '.' for zero. */
static char letter(struct disk *disk, const char *name, uint64_t sector)
{
	static unsigned char data[SNAPSHOT_READ_MAX];
	bool hole;

	snapshots_read(pipeline_snapshots(disk->pipeline), find(disk, name), sector * SEC, SEC,
		       data, &hole);
	return hole || !data[0] ? '.' : (char)data[0];
}

static void a_restore_brings_back_what_was_and_keeps_the_younger_ones(void **state)
{
	struct disk disk = make_plain(SIZE, 1, false);

	(void)state;
	keep(&disk, "empty");
	write_letter(&disk, 0, 16, 'a', 0);
	keep(&disk, "a");
	write_letter(&disk, 8, 16, 'b', 0);
	keep(&disk, "b");
	write_letter(&disk, 0, 8, 'c', 0);
	/* Only what differs: the page of 'c', then those of 'b'. */
	assert_int_equal(restore(&disk, "a"), 3 * PAGE);
	assert_string_equal(MAP(&disk, 0, 16), "aaaaaaaaaaaaaaaa");
	assert_int_equal(letter(&disk, "b", 0), 'a');
	assert_int_equal(letter(&disk, "b", 8), 'b');
	restore(&disk, "b");
	assert_string_equal(MAP(&disk, 0, 24), "aaaaaaaabbbbbbbbbbbbbbbb");
	restore(&disk, "empty");
	assert_int_equal(store_allocated(disk.store), 0);
	assert_string_equal(MAP(&disk, 0, 4), "....");
	restore(&disk, "a");
	assert_string_equal(MAP(&disk, 14, 4), "aa..");
	free_disk(&disk);
}

static void memory_is_one_copy_of_each_page_however_many_snapshots(void **state)
{
	struct disk disk = make_plain(SIZE, 1, false);
	char name[8];

	(void)state;
	write_letter(&disk, 0, 64, 'a', 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		keep(&disk, name);
	}
	write_letter(&disk, 0, 1, 'b', 0);
	write_letter(&disk, 1, 1, 'c', 0);
	write_letter(&disk, 9, 1, 'd', 0);
	assert_int_equal(snapshots_bytes(pipeline_snapshots(disk.pipeline)), 2 * PAGE);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(letter(&disk, name, 0), 'a');
		if (i % 2)
			drop(&disk, name);
	}
	for (int i = 0; i < 100; i += 2) {
		snprintf(name, sizeof(name), "s%d", i);
		assert_int_equal(letter(&disk, name, 9), 'a');
	}
	assert_int_equal(snapshots_bytes(pipeline_snapshots(disk.pipeline)), 2 * PAGE);
	free_disk(&disk);
}

/* Whichever of three goes, and in whatever order, the others stay what they are. */
static void removing_one_changes_no_other(void **state)
{
	static const char *const names[] = { "x", "y", "z" };

	(void)state;
	for (int order = 0; order < 6; order++) {
		struct disk disk = make_plain(SIZE, 2, false);
		int first = order % 3, second = (first + 1 + order / 3) % 3,
		    last = 3 - first - second;

		for (int i = 0; i < 3; i++) {
			keep(&disk, names[i]);
			/* Each layer has pages of its own, some that an older one has, many. */
			write_letter(&disk, 0, 8, (char)('a' + i), 0);
			write_letter(&disk, 8 + 64ull * (unsigned int)i, 64, (char)('a' + i), 0);
		}
		drop(&disk, names[first]);
		write_letter(&disk, 0, 8, 'q', 0);
		drop(&disk, names[second]);
		assert_int_equal(letter(&disk, names[last], 0), last ? 'a' + last - 1 : '.');
		for (int i = 0; i < 3; i++)
			assert_int_equal(
				letter(&disk, names[last], 8 + 64ull * (unsigned int)i + 63),
				i < last ? 'a' + i : '.');
		drop(&disk, names[last]);
		assert_int_equal(snapshots_bytes(pipeline_snapshots(disk.pipeline)), 0);
		assert_false(snapshots_any(pipeline_snapshots(disk.pipeline)));
		free_disk(&disk);
	}
}

static void discards_and_holes_cost_only_what_was_written(void **state)
{
	const uint64_t huge = 16ull << 30;
	struct disk disk = make_plain(huge, 2, false);

	(void)state;
	write_letter(&disk, 1000, 16, 'a', 0);
	keep(&disk, "a");
	for (uint64_t at = 0; at < 8; at++)
		assert_int_equal(run_io(&disk, IO_DISCARD, at << 21, 1u << 30, NULL), 0);
	assert_int_equal(bytes_of(&disk, "a"), 2 * PAGE);
	/* To write where nothing was takes nothing either. */
	write_letter(&disk, 20ull << 20, 64, 'b', 0);
	assert_int_equal(bytes_of(&disk, "a"), 2 * PAGE);
	assert_int_equal(restore(&disk, "a"), 10 * PAGE);
	assert_in_range(store_allocated(disk.store), 2 * PAGE, 2 * PAGE);
	assert_string_equal(MAP(&disk, 999, 4), ".aaa");
	free_disk(&disk);
}

static void a_disk_whose_last_page_is_short_is_kept_to_its_end(void **state)
{
	struct disk disk = make_plain(SIZE + 3 * SEC, 1, false);
	uint64_t last = SIZE / SEC;

	(void)state;
	write_letter(&disk, last, 3, 'a', 0);
	keep(&disk, "a");
	write_letter(&disk, last - 1, 4, 'b', 0);
	assert_int_equal(letter(&disk, "a", last + 2), 'a');
	assert_int_equal(letter(&disk, "a", last - 1), '.');
	assert_int_equal(restore(&disk, "a"), PAGE + 3 * SEC);
	assert_string_equal(MAP(&disk, last - 1, 4), ".aaa");
	free_disk(&disk);
}

static void a_power_cut_and_a_restore_do_not_meet(void **state)
{
	struct disk disk = make_plain(SIZE, 1, true);

	(void)state;
	write_letter(&disk, 0, 8, 'a', 0);
	run_io(&disk, IO_FLUSH, 0, 0, NULL);
	write_letter(&disk, 0, 8, 'b', 0);
	keep(&disk, "volatile");
	assert_int_equal(cut_power(&disk, KEEP_NONE), 8);
	assert_string_equal(MAP(&disk, 0, 9), "aaaaaaaa.");
	/* It holds what the disk answered; restored, that is durable. */
	assert_int_equal(letter(&disk, "volatile", 0), 'b');
	write_letter(&disk, 0, 8, 'c', 0);
	restore(&disk, "volatile");
	assert_int_equal(cut_power(&disk, KEEP_NONE), 0);
	assert_string_equal(MAP(&disk, 0, 9), "bbbbbbbb.");
	free_disk(&disk);
}

static void names_limits_and_pins_are_kept(void **state)
{
	struct disk disk = make_plain(1 << 20, 1, false);
	struct snapshots *snapshots = pipeline_snapshots(disk.pipeline);
	struct snapshot *own;
	char name[16];

	(void)state;
	assert_null(find(&disk, "a"));
	for (int i = 0; i < SNAPSHOT_MAX; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		keep(&disk, name);
	}
	assert_int_equal(pipeline_snapshot_add(disk.pipeline, "s7", 0, NULL), -EEXIST);
	assert_int_equal(pipeline_snapshot_add(disk.pipeline, "more", 0, NULL), -ENOSPC);
	/* One of our own still fits, has no name, and is not counted. */
	assert_int_equal(pipeline_snapshot_add(disk.pipeline, NULL, 0, &own), 0);
	assert_int_equal(snapshots_list(snapshots, NULL, 0), SNAPSHOT_MAX);
	assert_null(find(&disk, ""));
	snapshots_pin(own);
	assert_int_equal(pipeline_snapshot_remove(disk.pipeline, own), -EBUSY);
	snapshots_unpin(own);
	assert_int_equal(pipeline_snapshot_remove(disk.pipeline, own), 0);
	free_disk(&disk);
}

/* ------------------------------------------------------------------------------ threads */

struct writer {
	struct disk *disk;
	uint16_t queue;
	atomic_bool *stop;
	uint64_t from; /* sectors */
};

/* Each request stamps both of its pages with one letter, one request after the other. */
static void *stamp(void *ctx)
{
	struct writer *writer = ctx;
	unsigned char data[16 * SEC];

	for (unsigned int i = 0; !atomic_load(writer->stop); i++) {
		struct io io =
			make_io(i % 16 ? IO_WRITE : IO_DISCARD, writer->from, sizeof(data), data);

		memset(data, 'a' + (int)i % 16, sizeof(data));
		io.queue = writer->queue;
		pipeline_adopt(writer->disk->pipeline, writer->queue);
		if (pipeline_submit(writer->disk->pipeline, &io, 0) != IO_DONE)
			abort();
	}
	return NULL;
}

static void freeze(struct disk *disk)
{
	pipeline_freeze(disk->pipeline);
	while (!pipeline_is_frozen(disk->pipeline))
		sched_yield();
}

/* What a snapshot made under load shows, read while the load goes on: whole requests, and always
 * the same. @nr_queues 1: the store has locks only while somebody reads. */
static void read_under_load(uint16_t nr_queues)
{
	struct disk disk = make_plain(SIZE, nr_queues, false);
	atomic_bool stop = false;
	struct writer writers[2];
	pthread_t threads[2];

	for (uint16_t i = 0; i < nr_queues; i++) {
		writers[i] = (struct writer){ &disk, i, &stop, 100ull * i };
		assert_int_equal(pthread_create(&threads[i], NULL, stamp, &writers[i]), 0);
	}
	for (int round = 0; round < 50; round++) {
		char first[2] = "";

		freeze(&disk);
		assert_int_equal(pipeline_share(disk.pipeline), 0);
		keep(&disk, "now");
		pipeline_thaw(disk.pipeline);
		for (int look = 0; look < 3; look++)
			for (uint16_t i = 0; i < nr_queues; i++) {
				char a = letter(&disk, "now", writers[i].from);

				assert_int_equal(a, letter(&disk, "now", writers[i].from + 15));
				if (look == 0)
					first[i] = a;
				assert_int_equal(a, first[i]);
			}
		freeze(&disk);
		if (round % 3 == 0)
			restore(&disk, "now");
		drop(&disk, "now");
		pipeline_unshare(disk.pipeline);
		pipeline_thaw(disk.pipeline);
	}
	atomic_store(&stop, true);
	for (uint16_t i = 0; i < nr_queues; i++)
		pthread_join(threads[i], NULL);
	free_disk(&disk);
}

static void a_snapshot_under_load_is_of_one_moment(void **state)
{
	(void)state;
	read_under_load(1);
	read_under_load(2);
}

struct loader {
	struct disk *disk;
	atomic_bool *stop;
};

/* As a load does: changes from a thread that does not stop for a freeze. */
static void *load(void *ctx)
{
	struct loader *loader = ctx;
	struct snapshots *snapshots = pipeline_snapshots(loader->disk->pipeline);
	const struct backing backing = { .store = loader->disk->store, .snapshots = snapshots };
	unsigned char data[16 * SEC];

	memset(data, 'z', sizeof(data));
	for (unsigned int i = 0; !atomic_load(loader->stop); i++) {
		snapshots_lock(snapshots);
		if (i % 8)
			apply_data(&backing, 50 * SEC, data, sizeof(data));
		else
			apply_punch(&backing, 40 * SEC, 32 * SEC);
		snapshots_unlock(snapshots);
	}
	return NULL;
}

static void a_load_and_snapshots_and_queues_do_not_disturb_each_other(void **state)
{
	struct disk disk = make_plain(SIZE, 1, false);
	atomic_bool stop = false;
	struct writer writer = { &disk, 0, &stop, 60 };
	struct loader loader = { &disk, &stop };
	pthread_t threads[2];

	(void)state;
	assert_int_equal(pipeline_share(disk.pipeline), 0);
	assert_int_equal(pthread_create(&threads[0], NULL, stamp, &writer), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, load, &loader), 0);
	for (int round = 0; round < 100; round++) {
		char first;

		freeze(&disk);
		keep(&disk, "now");
		pipeline_thaw(disk.pipeline);
		first = letter(&disk, "now", 64);
		sched_yield();
		assert_int_equal(letter(&disk, "now", 64), first);
		freeze(&disk);
		if (round % 2)
			restore(&disk, "now");
		drop(&disk, "now");
		pipeline_thaw(disk.pipeline);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pipeline_unshare(disk.pipeline);
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restore_brings_back_what_was_and_keeps_the_younger_ones),
		cmocka_unit_test(memory_is_one_copy_of_each_page_however_many_snapshots),
		cmocka_unit_test(removing_one_changes_no_other),
		cmocka_unit_test(discards_and_holes_cost_only_what_was_written),
		cmocka_unit_test(a_disk_whose_last_page_is_short_is_kept_to_its_end),
		cmocka_unit_test(a_power_cut_and_a_restore_do_not_meet),
		cmocka_unit_test(names_limits_and_pins_are_kept),
		cmocka_unit_test(a_snapshot_under_load_is_of_one_moment),
		cmocka_unit_test(a_load_and_snapshots_and_queues_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
