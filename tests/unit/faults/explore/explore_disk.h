/* SPDX-License-Identifier: MIT */
/* Journals made by hand for tests of the explorer: random ones, and a memory of their images. */
#ifndef TESTS_EXPLORE_DISK_H
#define TESTS_EXPLORE_DISK_H

#include "faults/explore/explore.h"
#include "tests/unit/check.h"

#include <sys/mman.h>

#define DISK_BYTES (64u << 10)

/* What a random journal is made of. */
struct maker {
	struct draw draw;
	struct journal *journal;
	uint64_t step;
	uint32_t nr_flights, nr_marks;
	struct journal_write flights[8]; /* under way */
};

static inline void end_flight(struct maker *m, uint32_t i)
{
	m->flights[i].complete = ++m->step;
	m->flights[i].complete_ns = m->step * 1000;
	assert_int_equal(journal_add_write(m->journal, &m->flights[i]), 0);
	m->flights[i] = m->flights[--m->nr_flights];
}

static inline void add_random_write(struct maker *m, uint32_t units)
{
	uint64_t len = SEC * (1 + draw_below(&m->draw, 3));
	uint64_t at = SEC * draw_below(&m->draw, units);
	unsigned char *data = malloc(len);
	struct journal_write write = { .submit = ++m->step,
				       .submit_ns = m->step * 1000,
				       .at = at,
				       .len_bytes = len,
				       .op = IO_WRITE };

	assert_non_null(data);
	/* Few contents, so that some are equal. */
	memset(data, (int)draw_below(&m->draw, 4), len);
	assert_int_equal(journal_own(m->journal, data), 0);
	write.data = data;
	if (draw_below(&m->draw, 8) == 0) {
		write.op = IO_DISCARD;
		write.data = NULL;
	} else if (draw_below(&m->draw, 6) == 0) {
		write.flags = IO_FUA;
	}
	if (m->nr_flights == array_size(m->flights))
		end_flight(m, 0);
	m->flights[m->nr_flights++] = write;
}

static inline void add_flush(struct maker *m)
{
	struct journal_flush flush = { .submit = m->step + 1, .complete = m->step + 2 };

	m->step += 2;
	flush.submit_ns = flush.submit * 1000;
	flush.complete_ns = flush.complete * 1000;
	assert_int_equal(journal_add_flush(m->journal, &flush), 0);
}

static inline void add_mark(struct maker *m)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "mark %u", m->nr_marks++);

	m->step++;
	assert_int_equal(journal_add_mark(m->journal, m->step, m->step * 1000, text, (size_t)len),
			 0);
}

static inline void seal(struct journal *journal)
{
	struct diag diag = { 0 };

	journal->closed = true;
	if (journal_seal(journal, &diag))
		fail_msg("%s", diag.message);
}

static inline struct journal *new_journal(void)
{
	static const struct journal_disk disk = {
		.name = "d", .size_bytes = DISK_BYTES, .block_bytes = SEC, .cache = true
	};
	struct journal *journal;

	assert_int_equal(journal_new(&journal), 0);
	assert_int_equal(journal_add_disk(journal, &disk), 0);
	return journal;
}

/* @units: how many places there are to write to; fewer collide more. */
static inline struct journal *random_journal(uint64_t seed, uint32_t nr, uint32_t units)
{
	struct maker m = { .draw = { .seed = seed }, .journal = new_journal() };

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t what = draw_below(&m.draw, 10);

		if (what < 6)
			add_random_write(&m, units);
		else if (what < 8 && m.nr_flights)
			end_flight(&m, (uint32_t)draw_below(&m.draw, m.nr_flights));
		else if (what == 8)
			add_flush(&m);
		else if (what == 9)
			add_mark(&m);
	}
	while (m.nr_flights)
		end_flight(&m, 0);
	seal(m.journal);
	return m.journal;
}

/* Zeroed memory for the image of a disk. */
static inline int memory_image(struct crash_image *ret_image)
{
	ret_image->fd = memfd_create("image", MFD_CLOEXEC);
	assert_true(ret_image->fd >= 0);
	assert_int_equal(ftruncate(ret_image->fd, DISK_BYTES), 0);
	ret_image->bytes =
		mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ret_image->fd, 0);
	assert_true(ret_image->bytes != MAP_FAILED);
	return 0;
}

static inline void free_image(struct crash_image *image)
{
	if (!image->bytes)
		return;
	munmap(image->bytes, DISK_BYTES);
	close(image->fd);
	*image = (struct crash_image){ 0 };
}

#endif
