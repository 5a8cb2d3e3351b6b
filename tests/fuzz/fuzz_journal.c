// SPDX-License-Identifier: MIT
/*
 * Any bytes as a recording to make a journal of. Checksums are made right first, as in
 * fuzz_record.c. A journal that comes of it is saved as a recording and read back: it must be
 * alike.
 */
#include "base/cleanup.h"
#include "faults/journal/read.h"
#include "faults/journal/save.h"
#include "faults/record/code.h"
#include "faults/record/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void mend(unsigned char *bytes, size_t size)
{
	size_t at = RECORD_HEADER_BYTES;

	if (size < at)
		return;
	put_le(bytes + 60, record_crc(0, bytes, 60), 4);
	while (size - at >= RECORD_BLOCK_BYTES) {
		uint64_t len = get_le(bytes + at + 8, 4);
		uint32_t crc = record_crc(0, bytes + at, 12);

		if (!len || len > size - at - RECORD_BLOCK_BYTES)
			return;
		crc = record_crc(crc, bytes + at + RECORD_BLOCK_BYTES, len);
		put_le(bytes + at + 12, crc, 4);
		at += RECORD_BLOCK_BYTES + len;
	}
}

static struct journal *read_journal(const void *bytes, size_t size)
{
	struct journal *journal = NULL;
	struct diag diag = { 0 };
	int err = journal_from_record(bytes, size, &diag, &journal);

	require(err == 0 || err == -EINVAL);
	require(err == 0 ? !!journal : !journal && diag.id[0] && diag.message[0]);
	return journal;
}

static void require_same_write(const struct journal_write *a, const struct journal_write *b)
{
	require(a->submit == b->submit && a->complete == b->complete && a->at == b->at &&
		a->len_bytes == b->len_bytes && a->flags == b->flags && a->disk == b->disk &&
		a->op == b->op && a->submit_ns == b->submit_ns && !a->data == !b->data);
	require(!a->data || memcmp(a->data, b->data, a->len_bytes) == 0);
	/* What never ended has no end to be saved. */
	require(a->complete == JOURNAL_NEVER ||
		(a->failed == b->failed && a->false_ack == b->false_ack) || a->failed);
}

static void require_alike(const struct journal *a, const struct journal *b)
{
	require(a->nr_disks == b->nr_disks && a->nr_extents == b->nr_extents &&
		a->nr_writes == b->nr_writes && a->nr_flushes == b->nr_flushes &&
		a->nr_marks == b->nr_marks && a->closed == b->closed && a->end_step == b->end_step);
	for (size_t i = 0; i < a->nr_extents; i++)
		require(a->extents[i].at == b->extents[i].at &&
			a->extents[i].len_bytes == b->extents[i].len_bytes &&
			memcmp(a->extents[i].data, b->extents[i].data, a->extents[i].len_bytes) ==
				0);
	for (size_t i = 0; i < a->nr_writes; i++)
		require_same_write(&a->writes[i], &b->writes[i]);
	for (size_t i = 0; i < a->nr_flushes; i++)
		require(a->flushes[i].submit == b->flushes[i].submit &&
			a->flushes[i].complete == b->flushes[i].complete);
	for (size_t i = 0; i < a->nr_marks; i++)
		require(a->marks[i].step == b->marks[i].step &&
			strcmp(a->marks[i].text, b->marks[i].text) == 0);
}

static void go_round(const struct journal *journal)
{
	_cleanup_close_ int fd = memfd_create("recording", MFD_CLOEXEC);
	struct journal *back;
	off_t size;
	void *bytes;

	require(fd >= 0 && journal_save(journal, 1, fd, NULL) == 0);
	size = lseek(fd, 0, SEEK_END);
	bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	require(bytes != MAP_FAILED);
	back = read_journal(bytes, (size_t)size);
	require(back);
	require_alike(journal, back);
	journal_free(back);
	munmap(bytes, (size_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ unsigned char *bytes = malloc(size ? size : 1);
	struct journal *journal;

	require(bytes);
	memcpy(bytes, data, size);
	mend(bytes, size);
	journal = read_journal(bytes, size);
	if (journal)
		go_round(journal);
	journal_free(journal);
	return 0;
}
