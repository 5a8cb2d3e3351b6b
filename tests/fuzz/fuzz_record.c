// SPDX-License-Identifier: MIT
/*
 * Any bytes as a record file. Checksums would stop a fuzzer at the first byte, so they are made
 * right first: the header's, and those of the blocks as far as there are any. What is read is
 * replayed, asked anew and forced, on the disks that the file describes where those are small ones.
 */
#include "base/cleanup.h"
#include "faults/engine/replay.h"
#include "faults/record/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISK_MAX (4u << 20)

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

static void require_words(const struct diag *diag)
{
	require(diag->id[0] && diag->message[0]);
}

/* Names become paths: none leaves its folder, and no two are one file. */
static void require_names(const struct record_reader *reader)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "_-.";
	uint16_t nr = record_reader_nr_disks(reader);

	for (uint16_t i = 0; i < nr; i++) {
		const char *name = record_reader_disk(reader, i)->name;
		size_t len = strlen(name);

		require(len >= 1 && len <= 63 && strspn(name, good) == len);
		require(name[0] != '.' && name[0] != '-');
		for (uint16_t k = 0; k < i; k++)
			require(strcmp(record_reader_disk(reader, k)->name, name) != 0);
	}
}

/* Every byte that a record points to is in the file, and may be read. */
static void require_inside(const struct record *record, const unsigned char *bytes, size_t size)
{
	unsigned int sum = 0;

	if (record->data) {
		require(record->data >= bytes && record->len_bytes <= size &&
			record->data <= bytes + size - record->len_bytes);
		for (uint32_t i = 0; i < record->len_bytes; i++)
			sum += record->data[i];
	}
	if (record->type == RECORD_MARK)
		require(!record_check_mark(record->text, record->text_len, NULL));
	require(sum != UINT32_MAX);
}

static void read_all(const unsigned char *bytes, size_t size)
{
	struct record_reader *reader;
	struct diag diag = { 0 };
	struct record record;
	uint64_t step = 0;
	int more, end;

	if (record_reader_open(bytes, size, &diag, &reader) < 0) {
		require_words(&diag);
		return;
	}
	require_names(reader);
	while ((more = record_reader_next(reader, &record)) == 1) {
		require(record.step == ++step);
		require(record.disk == RECORD_NOBODY ||
			record.disk < record_reader_nr_disks(reader));
		require_inside(&record, bytes, size);
	}
	require(more == 0);
	end = record_reader_end(reader, &diag);
	require(end == 0 || end == -ENODATA || end == -EBADMSG);
	if (end)
		require_words(&diag);
	record_reader_free(reader);
}

static bool are_small(const struct record_reader *reader)
{
	uint16_t nr = record_reader_nr_disks(reader);

	for (uint16_t i = 0; i < nr; i++) {
		const struct record_disk *disk = record_reader_disk(reader, i);

		if (disk->size_bytes > DISK_MAX || disk->nr_queues > 8)
			return false;
	}
	return nr <= 3;
}

static void replay(const unsigned char *bytes, size_t size, bool forced)
{
	const struct replay_options options = { .forced = forced };
	struct replay_result result;
	struct record_reader *reader;
	struct diag diag = { 0 };

	if (record_reader_open(bytes, size, &diag, &reader) < 0)
		return;
	if (are_small(reader)) {
		if (replay_run(reader, &options, &diag, &result) < 0)
			require_words(&diag);
		else if (result.differs)
			require_words(&result.difference);
	}
	record_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ unsigned char *bytes = malloc(size ? size : 1);

	require(bytes);
	memcpy(bytes, data, size);
	read_all(bytes, size);
	mend(bytes, size);
	read_all(bytes, size);
	replay(bytes, size, false);
	replay(bytes, size, true);
	return 0;
}
