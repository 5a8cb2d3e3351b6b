// SPDX-License-Identifier: MIT
#include "tests/unit/data.h"

#include <errno.h>

#define DISK (128 * SEC)
#define LEN  (24 * SEC)

/* A pattern in which no two neighbours are alike. */
static void make_data(unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)(i * 31 + (i >> 8));
}

static unsigned int bits_that_differ(const unsigned char *a, const unsigned char *b, size_t len)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < len; i++)
		nr += (unsigned int)__builtin_popcount(a[i] ^ b[i]);
	return nr;
}

/* The first byte from @at on in which the two differ, or @len. */
static size_t differs_from(const unsigned char *a, const unsigned char *b, size_t at, size_t len)
{
	while (at < len && a[at] == b[at])
		at++;
	return at;
}

/* A disk whose sectors 8..32 hold make_data(). */
static struct disk make_written(const char *rules, unsigned char data[LEN])
{
	struct disk disk = make_disk(DISK, 512, 1, 3);

	make_data(data, LEN);
	run_io(&disk, IO_WRITE, 8, LEN, data);
	use_rules(&disk, rules);
	return disk;
}

static void a_read_with_flipped_bits_reports_success_and_leaves_the_disk_alone(void **state)
{
	static const unsigned int counts[] = { 1, 2, 3, 17, 1000, 65536 };
	unsigned char data[LEN], got[LEN];
	char rule[64];

	(void)state;
	for (size_t i = 0; i < array_size(counts); i++) {
		struct disk disk;

		snprintf(rule, sizeof(rule), "c op=read do=corrupt:flip=%u", counts[i]);
		disk = make_written(rule, data);
		assert_int_equal(run_io(&disk, IO_READ, 8, LEN, got), LEN);
		assert_int_equal(bits_that_differ(data, got, LEN), counts[i]);
		assert_memory_equal(store_data(disk.store) + 8 * SEC, data, LEN);
		free_disk(&disk);
	}
}

static void more_flips_than_bits_flip_them_all(void **state)
{
	unsigned char data[LEN], got[SEC];
	struct disk disk = make_written("c op=read do=corrupt:flip=5000", data);

	(void)state;
	run_io(&disk, IO_READ, 8, SEC, got);
	assert_int_equal(bits_that_differ(data, got, SEC), 8 * SEC);
	free_disk(&disk);
}

static void flips_are_one_in_each_part_and_change_from_hit_to_hit(void **state)
{
	unsigned char data[LEN], got[LEN];
	struct disk disk = make_written("c op=read do=corrupt:flip=4", data);
	size_t first = LEN;
	unsigned int moved = 0;

	(void)state;
	for (int run = 0; run < 20; run++) {
		size_t at;

		run_io(&disk, IO_READ, 8, LEN, got);
		for (size_t part = 0; part < 4; part++)
			assert_int_equal(bits_that_differ(data + part * LEN / 4,
							  got + part * LEN / 4, LEN / 4),
					 1);
		at = differs_from(data, got, 0, LEN);
		moved += run && at != first;
		first = at;
	}
	assert_true(moved > 15);
	free_disk(&disk);
}

/* Direct, by copying, on one queue and on several, and as a write: the same hit, the same harm. */
static void the_same_hit_always_corrupts_the_same_way(void **state)
{
	static const char *const harms[] = { "flip=9",          "byte=ffee,count=5",
					     "garbage=700",     "garbage",
					     "garbage,at=5000", "byte=a1b2c3,at=4090,count=9" };
	unsigned char data[LEN], want[LEN], got[LEN];
	char rule[96];

	(void)state;
	for (size_t i = 0; i < array_size(harms); i++) {
		struct disk disk, shared = make_disk(DISK, 512, 2, 3);

		snprintf(rule, sizeof(rule), "c op=read do=corrupt:%s", harms[i]);
		disk = make_written(rule, data);
		run_io(&disk, IO_READ, 8, LEN, want);
		assert_memory_not_equal(want, data, LEN);
		use_rules(&disk, rule);
		assert_int_equal(run_copied(&disk, IO_READ, 8, LEN, got, false), LEN);
		assert_memory_equal(got, want, LEN);
		snprintf(rule, sizeof(rule), "c op=read do=corrupt:%s,rest", harms[i]);
		use_rules(&disk, rule);
		run_io(&disk, IO_READ, 8, LEN, got);
		assert_memory_equal(got, want, LEN);
		assert_memory_equal(store_data(disk.store) + 8 * SEC, want, LEN);
		free_disk(&disk);

		snprintf(rule, sizeof(rule), "c op=write do=corrupt:%s", harms[i]);
		use_rules(&shared, rule);
		run_io(&shared, IO_WRITE, 9, LEN, data);
		assert_memory_equal(store_data(shared.store) + 9 * SEC, want, LEN);
		use_rules(&shared, rule);
		run_copied(&shared, IO_WRITE, 8, LEN, data, false);
		assert_memory_equal(store_data(shared.store) + 8 * SEC, want, LEN);
		free_disk(&shared);
	}
}

static void a_corrupted_write_leaves_its_own_buffer_alone(void **state)
{
	struct disk disk = make_disk(DISK, 512, 1, 3);
	unsigned char data[LEN], mine[LEN];

	(void)state;
	make_data(data, LEN);
	memcpy(mine, data, LEN);
	use_rules(&disk, "c op=write do=corrupt:flip=3");
	assert_int_equal(run_io(&disk, IO_WRITE, 0, LEN, data), LEN);
	assert_memory_equal(data, mine, LEN);
	assert_int_equal(bits_that_differ(store_data(disk.store), mine, LEN), 3);
	free_disk(&disk);
}

static void bytes_are_set_where_at_says_in_a_row(void **state)
{
	unsigned char data[LEN], got[LEN];
	struct disk disk = make_written("c op=read do=corrupt:byte=dead,at=510,count=3", data);

	(void)state;
	run_io(&disk, IO_READ, 8, LEN, got);
	memcpy(data + 510, "\xde\xad\xde\xad\xde\xad", 6);
	assert_memory_equal(got, data, LEN);
	/* What reaches past the request's end is left off. */
	run_io(&disk, IO_READ, 8, SEC, got);
	assert_memory_equal(got, data, SEC);
	/* A shorter request is no match. */
	use_rules(&disk, "c op=read do=corrupt:byte=dead,at=512");
	run_io(&disk, IO_READ, 8, SEC, got);
	assert_memory_equal(got, store_data(disk.store) + 8 * SEC, SEC);
	assert_int_equal(counts_of(&disk, "c").matches, 0);
	free_disk(&disk);
}

static void bytes_at_random_places_stay_inside_the_request(void **state)
{
	unsigned char zeroes[4 * SEC], got[4 * SEC];
	struct disk disk = make_disk(DISK, 512, 1, 3);

	(void)state;
	memset(zeroes, 0, sizeof(zeroes));
	use_rules(&disk, "c op=read do=corrupt:byte=a1a2a3a4a5a6a7a8");
	for (int run = 0; run < 300; run++) {
		size_t at;

		run_io(&disk, IO_READ, 0, SEC, got);
		at = differs_from(zeroes, got, 0, SEC);
		assert_in_range(at, 0, SEC - 8);
		assert_memory_equal(got + at, "\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8", 8);
		assert_int_equal(differs_from(zeroes, got, at + 8, SEC), SEC);
	}
	use_rules(&disk, "c op=read do=corrupt:byte=01,count=4");
	run_io(&disk, IO_READ, 0, 4 * SEC, got);
	for (size_t part = 0; part < 4; part++)
		assert_int_equal(bits_that_differ(zeroes, got + part * SEC, SEC), 1);
	/* The answer was made up: the disk is still sparse. */
	assert_int_equal(store_allocated(disk.store), 0);
	free_disk(&disk);
}

static void garbage_fills_a_piece_or_all(void **state)
{
	unsigned char data[LEN], got[LEN];
	struct disk disk = make_written("c op=read do=corrupt:garbage=100,at=1000", data);
	unsigned int same = 0, alike = 0;
	size_t at;

	(void)state;
	run_io(&disk, IO_READ, 8, LEN, got);
	assert_int_equal(differs_from(data, got, 0, LEN) / 8, 1000 / 8);
	assert_int_equal(differs_from(data, got, 1100, LEN), LEN);
	use_rules(&disk, "c op=read do=corrupt:garbage=100");
	run_io(&disk, IO_READ, 8, LEN, got);
	at = differs_from(data, got, 0, LEN);
	assert_true(at < LEN);
	assert_int_equal(differs_from(data, got, at + 100, LEN), LEN);
	use_rules(&disk, "c op=read do=corrupt:garbage");
	run_io(&disk, IO_READ, 8, LEN, got);
	for (size_t i = 0; i < LEN; i++)
		same += data[i] == got[i];
	assert_in_range(same, 0, LEN / 100);
	for (size_t i = 1; i < LEN; i++)
		alike += got[i - 1] == got[i];
	assert_in_range(alike, 0, LEN / 100);
	use_rules(&disk, "c op=read do=corrupt:garbage,at=4k");
	run_io(&disk, IO_READ, 8, LEN, got);
	assert_memory_equal(got, data, 4096);
	assert_memory_not_equal(got + 4096, data + 4096, 64);
	assert_memory_not_equal(got + LEN - 64, data + LEN - 64, 64);
	free_disk(&disk);
}

static void at_rest_the_disk_itself_is_changed_for_good(void **state)
{
	unsigned char data[LEN], got[LEN], again[LEN];
	struct disk disk = make_written("c op=read times=1 do=corrupt:flip=5,rest", data);

	(void)state;
	run_io(&disk, IO_READ, 8, LEN, got);
	assert_int_equal(bits_that_differ(data, got, LEN), 5);
	run_io(&disk, IO_READ, 8, LEN, again);
	assert_memory_equal(again, got, LEN);
	free_disk(&disk);
}

static void no_power_cut_takes_rot_back_or_makes_more_durable_than_it_hit(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 1, 3);
	unsigned char data[LEN], got[LEN];

	(void)state;
	make_data(data, LEN);
	run_flagged(&disk, IO_WRITE, 0, 4 * SEC, data, IO_FUA);
	run_io(&disk, IO_WRITE, 4, 4 * SEC, data + 4 * SEC);
	use_rules(&disk, "c op=read times=1 do=corrupt:byte=00,at=600,rest");
	run_io(&disk, IO_READ, 0, 8 * SEC, got);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 4);
	assert_int_equal(cut_power(&disk, KEEP_NONE), 4);
	assert_int_equal(store_data(disk.store)[600], 0);
	assert_int_equal(bits_that_differ(store_data(disk.store), data, 4 * SEC),
			 __builtin_popcount(data[600]));
	free_disk(&disk);
}

static void a_corrupted_fua_write_stays_durable_and_a_plain_one_volatile(void **state)
{
	struct disk disk = make_cached_disk(DISK, 512, 2, 3);
	unsigned char data[LEN];

	(void)state;
	make_data(data, LEN);
	use_rules(&disk, "c op=write do=corrupt:byte=00,at=1");
	run_flagged(&disk, IO_WRITE, 1, 20 * SEC, data, IO_FUA);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 0);
	run_io(&disk, IO_WRITE, 40, 20 * SEC, data);
	assert_int_equal(pipeline_nr_volatile(disk.pipeline), 20);
	cut_power(&disk, KEEP_NONE);
	data[1] = 0;
	assert_memory_equal(store_data(disk.store) + SEC, data, 20 * SEC);
	assert_string_equal(MAP(&disk, 40, 20), "....................");
	free_disk(&disk);
}

/* About @share of so many bits, 6 standard deviations at most away. */
static void check_share(unsigned int nr, double share, size_t nr_bits)
{
	double off = (double)nr - share * (double)nr_bits;

	if (off * off > 36 * share * (1 - share) * (double)nr_bits)
		fail_msg("%u of %zu bits for a share of %g", nr, nr_bits, share);
}

static void bits_are_flipped_each_by_itself(void **state)
{
	static const double shares[] = { 0.0001, 0.01, 0.5, 0.99, 1 };
	unsigned char data[LEN], first[LEN], second[LEN];
	char rule[64];

	(void)state;
	for (size_t i = 0; i < array_size(shares); i++) {
		struct disk disk;

		snprintf(rule, sizeof(rule), "c op=read do=corrupt:bits=%g", shares[i]);
		disk = make_written(rule, data);
		assert_int_equal(run_io(&disk, IO_READ, 8, LEN, first), LEN);
		assert_int_equal(run_io(&disk, IO_READ, 8, LEN, second), LEN);
		check_share(bits_that_differ(data, first, LEN), shares[i], 8 * LEN);
		check_share(bits_that_differ(data, first, LEN / 24), shares[i], 8 * LEN / 24);
		/* Two hits have nothing to do with each other. */
		check_share(bits_that_differ(first, second, LEN), 2 * shares[i] * (1 - shares[i]),
			    8 * LEN);
		assert_memory_equal(store_data(disk.store) + 8 * SEC, data, LEN);
		free_disk(&disk);
	}
}

static void rare_bits_are_hit_as_often_as_they_should(void **state)
{
	unsigned char data[LEN], got[LEN];
	struct disk disk = make_written("c op=read do=corrupt:bits=1e-6", data);
	unsigned int nr = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		run_io(&disk, IO_READ, 8, LEN, got);
		nr += bits_that_differ(data, got, LEN);
	}
	check_share(nr, 1e-6, 8ul * LEN * 1000);
	assert_true(nr > 0);
	use_rules(&disk, "c op=read do=corrupt:bits=1e-10");
	run_io(&disk, IO_READ, 8, LEN, got);
	assert_memory_equal(got, data, LEN);
	free_disk(&disk);
}

/* What reads of sectors 8..32 find where the disk holds all zeroes, and all ones. */
static void read_levels(struct disk *disk, unsigned char high[LEN], unsigned char low[LEN])
{
	fill_disk(disk, 0x00);
	assert_int_equal(run_io(disk, IO_READ, 8, LEN, high), LEN);
	fill_disk(disk, 0xff);
	assert_int_equal(run_io(disk, IO_READ, 8, LEN, low), LEN);
}

static void stuck_bits_are_always_the_same_ones(void **state)
{
	unsigned char data[LEN], high[LEN], low[LEN], got[LEN], zero[LEN] = { 0 }, ones[LEN];
	struct disk disk = make_written("c op=read do=corrupt:stuck=2%", data);
	unsigned int nr_high, nr_low;

	(void)state;
	memset(ones, 0xff, LEN);
	read_levels(&disk, high, low);
	nr_high = bits_that_differ(high, zero, LEN);
	nr_low = bits_that_differ(low, ones, LEN);
	check_share(nr_high + nr_low, 0.02, 8 * LEN);
	check_share(nr_high, 0.5, nr_high + nr_low);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(high[i] & ~low[i], 0);
	/* Whatever the disk holds, and in whatever pieces it is read. */
	run_io(&disk, IO_WRITE, 8, LEN, data);
	for (uint64_t i = 0; i < LEN / SEC; i += 3)
		run_io(&disk, IO_READ, 8 + i, 3 * SEC, got + i * SEC);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(got[i], (data[i] | high[i]) & low[i]);
	assert_memory_equal(store_data(disk.store) + 8 * SEC, data, LEN);
	/* Only in the rule's range. */
	use_rules(&disk, "c op=read range=10s..20s do=corrupt:stuck=2%");
	fill_disk(&disk, 0x00);
	run_io(&disk, IO_READ, 8, LEN, got);
	assert_memory_equal(got, zero, 2 * SEC);
	assert_memory_equal(got + 2 * SEC, high + 2 * SEC, 10 * SEC);
	assert_memory_equal(got + 12 * SEC, zero, LEN - 12 * SEC);
	/* Other rules have other ones. */
	use_rules(&disk, "d op=read do=corrupt:stuck=2%");
	read_levels(&disk, got, low);
	check_share(bits_that_differ(high, got, LEN), 0.02, 8 * LEN);
	free_disk(&disk);
}

static void stuck_bits_are_stored_by_writes_and_left_by_reads_at_rest(void **state)
{
	unsigned char data[LEN], high[LEN], low[LEN], got[LEN];
	struct disk disk = make_written("c op=read do=corrupt:stuck=1%", data);

	(void)state;
	read_levels(&disk, high, low);
	use_rules(&disk, "c op=write do=corrupt:stuck=1%");
	run_io(&disk, IO_WRITE, 8, LEN, data);
	run_io(&disk, IO_READ, 8, LEN, got);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(got[i], (data[i] | high[i]) & low[i]);
	use_rules(&disk, "c op=read do=corrupt:stuck=1%,rest");
	fill_disk(&disk, 0x00);
	run_io(&disk, IO_READ, 8, LEN, got);
	assert_memory_equal(got, high, LEN);
	assert_memory_equal(store_data(disk.store) + 8 * SEC, high, LEN);
	use_rules(&disk, "c op=read do=corrupt:stuck=1%");
	memset(data, 0xff, LEN);
	fill_disk(&disk, 0xff);
	assert_int_equal(run_copied(&disk, IO_READ, 8, LEN, data, false), LEN);
	assert_memory_equal(data, low, LEN);
	free_disk(&disk);
}

static void stuck_wires_count_from_the_start_of_each_request(void **state)
{
	unsigned char data[LEN], first[2 * SEC], second[2 * SEC], zero[2 * SEC] = { 0 };
	struct disk disk = make_written("c op=read do=corrupt:stuck=5%,wires", data);

	(void)state;
	fill_disk(&disk, 0);
	run_io(&disk, IO_READ, 8, 2 * SEC, first);
	run_io(&disk, IO_READ, 77, 2 * SEC, second);
	assert_memory_equal(first, second, 2 * SEC);
	assert_true(bits_that_differ(first, zero, SEC) > 0);
	assert_memory_not_equal(first, first + SEC, SEC);
	free_disk(&disk);
}

static void data_that_cannot_be_copied_fails_the_request(void **state)
{
	unsigned char data[LEN];
	struct disk disk = make_written("c do=corrupt:flip=1", data);

	(void)state;
	assert_int_equal(run_copied(&disk, IO_READ, 8, LEN, data, true), -EFAULT);
	assert_int_equal(run_copied(&disk, IO_WRITE, 8, LEN, data, true), -EFAULT);
	free_disk(&disk);
}

static void corruptions_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("c do=corrupt", "rule.missing-parameter", 6, "one of flip=N", NULL);
	check_error("c do=corrupt:flip=1,garbage", "rule.conflict", 6, "only one of", NULL);
	check_error("c do=corrupt:flip=1,at=1", "rule.conflict", 6, "at=OFFSET only with",
		    NULL);
	check_error("c do=corrupt:garbage,count=2", "rule.conflict", 6, "only with byte=HEX",
		    NULL);
	check_error("c do=corrupt:byte=ff@1k", "rule.bad-bytes", 6, "a parameter of its own",
		    "byte=ff,at=1k");
	check_error("c do=corrupt:byte=f", "rule.bad-bytes", 19, "even number of hex", NULL);
	check_error("c do=corrupt:byte", "rule.missing-value", 14, "byte=HEX", NULL);
	check_error("c do=corrupt:flip=0", "rule.bad-number", 19, "1 to 65536", NULL);
	check_error("c do=corrupt:garbage=0", "rule.bad-size", 22, "1 to", NULL);
	check_error("c do=corrupt:flip=1,stuck=1%", "rule.conflict", 6, "only one of", NULL);
	check_error("c do=corrupt:bits=1%,at=1", "rule.conflict", 6, "only with", NULL);
	check_error("c do=corrupt:stuck=1%,count=2", "rule.conflict", 6, "only with", NULL);
	check_error("c do=corrupt:bits=1%,wires", "rule.conflict", 6, "with stuck=SHARE", NULL);
	check_error("c do=corrupt:flip=1,wires", "rule.conflict", 6, "with stuck=SHARE", NULL);
	check_error("c do=corrupt:bits=0", "rule.bad-share", 6, "bits=0", "bits=1e-6");
	check_error("c do=corrupt:stuck=1e-11", "rule.bad-share", 6, "at least 1e-10",
		    "stuck=1e-6");
	check_error("c op=discard do=corrupt:flip=1", "rule.op-not-for-kind", 3,
		    "cannot act on discard", NULL);
}

static void explain_says_what_is_hit(void **state)
{
	unsigned char data[LEN];
	struct disk disk = make_written("c do=corrupt:garbage=8,at=16,rest", data);
	struct io io = make_io(IO_READ, 8, SEC, NULL);

	(void)state;
	check_explained(&disk, &io, "changes bytes 16..24 of what the disk holds, for good");
	io.op = IO_WRITE;
	check_explained(&disk, &io, "changes bytes 16..24 of what is stored");
	use_rules(&disk, "c op=read do=corrupt:flip=7");
	io.op = IO_READ;
	check_explained(&disk, &io, "flips 7 bits, the first in byte ");
	use_rules(&disk, "c op=read do=corrupt:byte=00ff,count=3");
	check_explained(&disk, &io, "changes 2 bytes at 3 places, the first at byte ");
	use_rules(&disk, "c op=read do=corrupt:bits=1");
	check_explained(&disk, &io, "flips 4096 bits, the first in byte 0 of the answer");
	use_rules(&disk, "c op=read do=corrupt:stuck=1");
	check_explained(&disk, &io, "meets 4096 bits that are stuck, the first in byte 0 of the");
	use_rules(&disk, "c op=read do=corrupt:bits=1e-10");
	check_explained(&disk, &io, "flips 0 bits of the answer");
	free_disk(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_read_with_flipped_bits_reports_success_and_leaves_the_disk_alone),
		cmocka_unit_test(more_flips_than_bits_flip_them_all),
		cmocka_unit_test(flips_are_one_in_each_part_and_change_from_hit_to_hit),
		cmocka_unit_test(the_same_hit_always_corrupts_the_same_way),
		cmocka_unit_test(a_corrupted_write_leaves_its_own_buffer_alone),
		cmocka_unit_test(bytes_are_set_where_at_says_in_a_row),
		cmocka_unit_test(bytes_at_random_places_stay_inside_the_request),
		cmocka_unit_test(garbage_fills_a_piece_or_all),
		cmocka_unit_test(at_rest_the_disk_itself_is_changed_for_good),
		cmocka_unit_test(no_power_cut_takes_rot_back_or_makes_more_durable_than_it_hit),
		cmocka_unit_test(a_corrupted_fua_write_stays_durable_and_a_plain_one_volatile),
		cmocka_unit_test(bits_are_flipped_each_by_itself),
		cmocka_unit_test(rare_bits_are_hit_as_often_as_they_should),
		cmocka_unit_test(stuck_bits_are_always_the_same_ones),
		cmocka_unit_test(stuck_bits_are_stored_by_writes_and_left_by_reads_at_rest),
		cmocka_unit_test(stuck_wires_count_from_the_start_of_each_request),
		cmocka_unit_test(data_that_cannot_be_copied_fails_the_request),
		cmocka_unit_test(corruptions_that_make_no_sense_are_refused),
		cmocka_unit_test(explain_says_what_is_hit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
