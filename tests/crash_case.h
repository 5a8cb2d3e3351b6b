/* SPDX-License-Identifier: MIT */
/*
 * A journal made by hand, its images in memory files, and a cursor at its end: what tests of states
 * begin with. Everything that cannot fail in a test ends it.
 */
#ifndef TESTS_CRASH_CASE_H
#define TESTS_CRASH_CASE_H

#include "faults/crash/crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CASE_WRITES  256
#define CASE_FLUSHES 64
#define CASE_DISKS   2

#define case_must(what)                                                                            \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct crash_case {
	uint64_t size_bytes, step;
	uint16_t nr_disks;
	struct journal_write writes[CASE_WRITES];
	size_t nr_writes;
	struct journal_flush flushes[CASE_FLUSHES];
	size_t nr_flushes;
	struct journal *journal;
	struct crash_image images[CASE_DISKS];
	struct crash *crash;
};

/* @data (NULL: zeroes) must live as long as the case. Returns the number of the write. */
static inline size_t case_write(struct crash_case *c, uint16_t disk, uint64_t at, uint64_t len,
				const void *data, uint32_t flags)
{
	case_must(c->nr_writes < CASE_WRITES);
	c->step++;
	c->writes[c->nr_writes] = (struct journal_write){
		.submit = c->step,
		.complete = JOURNAL_NEVER,
		.submit_ns = c->step * 1000,
		.at = at,
		.len_bytes = len,
		.data = data,
		.flags = flags,
		.disk = disk,
		.op = data ? IO_WRITE : IO_ZEROES,
	};
	return c->nr_writes++;
}

static inline void case_complete(struct crash_case *c, size_t i)
{
	c->writes[i].complete = ++c->step;
	c->writes[i].complete_ns = c->step * 1000;
}

static inline void case_flush(struct crash_case *c, uint16_t disk)
{
	uint64_t submit = ++c->step;

	case_must(c->nr_flushes < CASE_FLUSHES);
	c->step++;
	c->flushes[c->nr_flushes++] = (struct journal_flush){
		.submit = submit,
		.complete = c->step,
		.submit_ns = submit * 1000,
		.complete_ns = c->step * 1000,
		.disk = disk,
	};
}

static inline void case_images(struct crash_case *c)
{
	for (uint16_t d = 0; d < c->nr_disks; d++) {
		int fd = memfd_create("image", MFD_CLOEXEC);

		case_must(fd >= 0 && ftruncate(fd, (off_t)c->size_bytes) == 0);
		c->images[d].fd = fd;
		c->images[d].bytes =
			mmap(NULL, c->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		case_must(c->images[d].bytes != MAP_FAILED);
	}
}

/* Nothing comes after this: the cursor stands at the end. */
static inline void case_seal(struct crash_case *c, uint32_t block_bytes,
			     const struct crash_options *options)
{
	struct diag diag = { 0 };

	case_must(journal_new(&c->journal) == 0);
	for (uint16_t d = 0; d < c->nr_disks; d++) {
		struct journal_disk disk = { .size_bytes = c->size_bytes,
					     .block_bytes = block_bytes,
					     .cache = true };

		snprintf(disk.name, sizeof(disk.name), "d%u", d);
		case_must(journal_add_disk(c->journal, &disk) == 0);
	}
	for (size_t i = 0; i < c->nr_writes; i++)
		case_must(journal_add_write(c->journal, &c->writes[i]) == 0);
	for (size_t i = 0; i < c->nr_flushes; i++)
		case_must(journal_add_flush(c->journal, &c->flushes[i]) == 0);
	if (journal_seal(c->journal, &diag) < 0) {
		fprintf(stderr, "%s: %s\n", diag.id, diag.message);
		abort();
	}
	case_images(c);
	case_must(crash_create(c->journal, options, c->images, &diag, &c->crash) == 0);
	case_must(crash_move(c->crash, c->step) == 0);
}

static inline void case_free(struct crash_case *c)
{
	crash_free(c->crash);
	journal_free(c->journal);
	for (uint16_t d = 0; d < c->nr_disks; d++) {
		munmap(c->images[d].bytes, c->size_bytes);
		close(c->images[d].fd);
	}
}

/* crash_put_fn: into a plain copy of disk 0, 1, ... of that size, one behind the other. */
struct case_copy {
	unsigned char *bytes;
	uint64_t size_bytes;
};

static inline int case_put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data,
			   uint32_t len)
{
	const struct case_copy *copy = ctx;
	unsigned char *to = copy->bytes + disk * copy->size_bytes + at;

	if (data)
		memcpy(to, data, len);
	else
		memset(to, 0, len);
	return 0;
}

/* All disks in one state. */
static inline void case_state(const struct crash_case *c, const uint16_t *picks,
			      unsigned char *bytes)
{
	struct case_copy copy = { bytes, c->size_bytes };

	for (uint16_t d = 0; d < c->nr_disks; d++)
		memcpy(bytes + d * c->size_bytes, c->images[d].bytes, c->size_bytes);
	case_must(crash_put(c->crash, picks, case_put, &copy) == 0);
}

#endif
