// SPDX-License-Identifier: MIT
/* Reproducers of random states: the recording says "old", and the disks hold the same bytes. */
#include "tests/unit/check.h"

#include "faults/explore/reproduce.h"
#include "faults/journal/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#define BLOCK    512u
#define SIZE     (64 * 1024u)
#define NR_DISKS 2

struct disks {
	unsigned char *bytes[NR_DISKS];
	struct crash_image images[NR_DISKS];
};

/* As files with holes: what is not written must not be touched. */
static void make_disks(struct disks *disks)
{
	for (int i = 0; i < NR_DISKS; i++) {
		int fd = memfd_create("disk", MFD_CLOEXEC);

		assert_int_equal(ftruncate(fd, SIZE), 0);
		disks->bytes[i] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(disks->bytes[i] != MAP_FAILED);
		disks->images[i] = (struct crash_image){ disks->bytes[i], fd };
	}
}

static void free_disks(struct disks *disks)
{
	for (int i = 0; i < NR_DISKS; i++) {
		munmap(disks->bytes[i], SIZE);
		close(disks->images[i].fd);
	}
}

struct stand {
	struct journal *journal;
	struct disks disks;
	struct crash *crash;
	size_t nr;
};

static void stand_at(struct stand *stand, uint64_t step, enum crash_atomic atomic, uint32_t unit)
{
	const struct crash_options options = { .atomic = atomic, .unit_bytes = unit };
	const struct crash_choice *choices;
	struct diag diag = { 0 };

	make_disks(&stand->disks);
	if (crash_create(stand->journal, &options, stand->disks.images, &diag, &stand->crash) < 0)
		fail_msg("%s", diag.message);
	assert_int_equal(crash_move(stand->crash, step), 0);
	stand->nr = crash_choices(stand->crash, &choices);
}

static void leave(struct stand *stand)
{
	crash_free(stand->crash);
	free_disks(&stand->disks);
	journal_free(stand->journal);
}

static int put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	unsigned char(*bytes)[SIZE] = ctx;

	if (data)
		memcpy(bytes[disk] + at, data, len);
	else
		memset(bytes[disk] + at, 0, len);
	return 0;
}

static void show(const struct stand *stand, const uint16_t *picks,
		 unsigned char bytes[NR_DISKS][SIZE])
{
	for (int i = 0; i < NR_DISKS; i++)
		memcpy(bytes[i], stand->disks.bytes[i], SIZE);
	assert_int_equal(crash_put(stand->crash, picks, put, bytes), 0);
}

/* ------------------------------------------------------------------------------ journals */

static unsigned char contents[4][8 * BLOCK];

static void add_write(struct draw *draw, struct journal *journal, uint64_t *step)
{
	struct journal_write write = {
		.submit = ++*step,
		.complete = JOURNAL_NEVER,
		.at = BLOCK * draw_below(draw, 40),
		.len_bytes = BLOCK * (1 + draw_below(draw, 8)),
		.submit_ns = *step * 10,
		.flags = draw_below(draw, 4) ? IO_META : IO_FUA,
		.disk = (uint16_t)draw_below(draw, NR_DISKS),
		.op = IO_WRITE,
		.failed = draw_below(draw, 10) == 0,
	};
	uint64_t content = draw_below(draw, 5);

	if (content < 4)
		write.data = contents[content];
	else
		write.op = IO_DISCARD;
	if (write.failed || draw_below(draw, 5))
		write.complete = ++*step;
	assert_int_equal(journal_add_write(journal, &write), 0);
}

static struct journal *random_journal(struct draw *draw)
{
	struct journal_disk disks[NR_DISKS] = {
		{ .name = "a", .size_bytes = SIZE, .block_bytes = BLOCK, .cache = true },
		{ .name = "b", .size_bytes = SIZE, .block_bytes = BLOCK },
	};
	const struct journal_extent extent = { .at = 3 * BLOCK,
					       .len_bytes = 8 * BLOCK,
					       .data = contents[0] };
	struct journal *journal;
	uint64_t step = 0;
	char text[16];

	assert_int_equal(journal_new(&journal), 0);
	for (int i = 0; i < NR_DISKS; i++)
		assert_int_equal(journal_add_disk(journal, &disks[i]), 0);
	assert_int_equal(journal_add_extent(journal, &extent), 0);
	for (int i = 0; i < 40; i++) {
		uint64_t what = draw_below(draw, 10);

		if (what == 0) {
			const struct journal_flush flush = { .submit = step + 1,
							     .complete = step + 2 };

			step += 2;
			assert_int_equal(journal_add_flush(journal, &flush), 0);
		} else if (what == 1) {
			snprintf(text, sizeof(text), "mark %d", i);
			step++;
			assert_int_equal(journal_add_mark(journal, step, step, text, strlen(text)),
					 0);
		} else {
			add_write(draw, journal, &step);
		}
	}
	assert_int_equal(journal_seal(journal, NULL), 0);
	return journal;
}

static void same_marks(const struct journal *one, uint64_t one_step, const struct journal *two,
		       uint64_t two_step)
{
	assert_int_equal(one->nr_marks, two->nr_marks);
	for (size_t i = 0; i < one->nr_marks; i++) {
		assert_string_equal(one->marks[i].text, two->marks[i].text);
		assert_int_equal(one->marks[i].step <= one_step, two->marks[i].step <= two_step);
	}
}

/* The recording, opened and gone to the cut. */
static void read_back(int fd, const struct reproduced *reproduced, uint32_t unit,
		      struct stand *stand)
{
	struct diag diag = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (journal_open(path, &diag, &stand->journal) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	stand_at(stand, journal_step(stand->journal, reproduced->step), CRASH_UNIT, unit);
	assert_int_equal(journal_shown(stand->journal, crash_step(stand->crash)), reproduced->step);
}

static void reproduce_random(struct draw *draw, enum crash_atomic atomic, uint32_t unit)
{
	static unsigned char wanted[NR_DISKS][SIZE], got[NR_DISKS][SIZE];
	uint16_t picks[1024], other[1024];
	struct stand stand = { .journal = random_journal(draw) }, back = { 0 };
	const struct crash_choice *choices;
	struct reproduced reproduced;
	struct diag diag = { 0 };
	_cleanup_close_ int fd = memfd_create("reproducer", MFD_CLOEXEC);

	stand_at(&stand, 1 + draw_below(draw, stand.journal->end_step), atomic, unit);
	assert_in_range(stand.nr, 0, 1024);
	crash_choices(stand.crash, &choices);
	for (size_t i = 0; i < stand.nr; i++)
		picks[i] = (uint16_t)draw_below(draw, choices[i].nr);
	if (reproduce(stand.crash, stand.disks.images, picks, fd, &diag, &reproduced) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	read_back(fd, &reproduced, unit, &back);
	assert_true(back.journal->closed);
	assert_int_equal(reproduced.nr_lost, back.journal->nr_writes);
	same_marks(stand.journal, crash_step(stand.crash), back.journal, crash_step(back.crash));

	assert_int_equal(crash_parse(back.crash, strchr(reproduced.state, ':') + 1, &diag, other),
			 0);
	show(&stand, picks, wanted);
	show(&back, other, got);
	assert_memory_equal(wanted, got, sizeof(got));

	crash_newest(stand.crash, picks);
	crash_newest(back.crash, other);
	show(&stand, picks, wanted);
	show(&back, other, got);
	assert_memory_equal(wanted, got, sizeof(got));
	leave(&back);
	leave(&stand);
}

static void old_is_the_state_and_new_is_what_it_would_have_been(void **state)
{
	struct draw draw = { .seed = 9 };

	(void)state;
	for (int i = 0; i < 4; i++)
		for (size_t k = 0; k < sizeof(contents[0]); k++)
			contents[i][k] = (unsigned char)(1 + i + k / BLOCK * 4);
	for (int i = 0; i < 150; i++) {
		reproduce_random(&draw, CRASH_UNIT, 0);
		reproduce_random(&draw, CRASH_UNIT, 4096);
		reproduce_random(&draw, CRASH_WRITE, 0);
		reproduce_random(&draw, CRASH_ORDER, 0);
	}
}

static void it_holds_only_what_it_needs_and_is_the_same_each_time(void **state)
{
	struct stand stand = { 0 };
	const struct journal_disk disk = {
		.name = "a", .size_bytes = SIZE, .block_bytes = BLOCK, .cache = true
	};
	const struct journal_disk other = {
		.name = "b", .size_bytes = SIZE, .block_bytes = BLOCK, .cache = true
	};
	struct journal_write write = { .len_bytes = 8 * BLOCK,
				       .data = contents[1],
				       .op = IO_WRITE };
	uint16_t picks[1024];
	struct reproduced one, two;
	char first[16384], second[16384];

	(void)state;
	assert_int_equal(journal_new(&stand.journal), 0);
	assert_int_equal(journal_add_disk(stand.journal, &disk), 0);
	assert_int_equal(journal_add_disk(stand.journal, &other), 0);
	/* A hundred writes to one place, and one lost unit. */
	for (uint64_t i = 0; i < 100; i++) {
		write.submit = 2 * i + 1;
		write.complete = 2 * i + 2;
		write.data = contents[i % 2];
		assert_int_equal(journal_add_write(stand.journal, &write), 0);
	}
	assert_int_equal(journal_seal(stand.journal, NULL), 0);
	stand_at(&stand, stand.journal->end_step, CRASH_UNIT, 0);
	crash_newest(stand.crash, picks);
	picks[3] = 0;
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = memfd_create("reproducer", MFD_CLOEXEC);
		struct reproduced *reproduced = i ? &two : &one;

		assert_int_equal(
			reproduce(stand.crash, stand.disks.images, picks, fd, NULL, reproduced), 0);
		assert_in_range(reproduced->file_bytes, 1, 5000);
		assert_int_equal(reproduced->nr_lost, 1);
		assert_string_equal(reproduced->state, "6:old");
		assert_int_equal(pread(fd, i ? second : first, sizeof(first), 0),
				 reproduced->file_bytes);
	}
	assert_memory_equal(first, second, one.file_bytes);
	/* Disk b was never written: its memory still has no page. */
	assert_int_equal(lseek(stand.disks.images[1].fd, 0, SEEK_DATA), -1);
	leave(&stand);
}

static void a_full_disk_is_told(void **state)
{
	struct draw draw = { .seed = 2 };
	struct stand stand = { .journal = random_journal(&draw) };
	_cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	uint16_t picks[1024];
	struct reproduced reproduced;
	struct diag diag = { 0 };

	(void)state;
	stand_at(&stand, stand.journal->end_step, CRASH_UNIT, 0);
	crash_oldest(stand.crash, picks);
	assert_int_equal(reproduce(stand.crash, stand.disks.images, picks, fd, &diag, &reproduced),
			 -ENOSPC);
	assert_non_null(strstr(diag.message, "No space left"));
	leave(&stand);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(old_is_the_state_and_new_is_what_it_would_have_been),
		cmocka_unit_test(it_holds_only_what_it_needs_and_is_the_same_each_time),
		cmocka_unit_test(a_full_disk_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
