// SPDX-License-Identifier: MIT
/*
 * Any bytes as a log of dm-log-writes. The magic number and the version are put right first, so
 * that inputs get past them. What can be read is written again and read back: the two journals must
 * be alike.
 */
#include "base/cleanup.h"
#include "faults/journal/logwrites.h"
#include "faults/journal/logwrites_code.h"
#include "faults/record/code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT_MAX (4u << 20)
#define DISK_MAX   (4u << 20)

static void require(bool ok)
{
	if (!ok)
		abort();
}

static struct journal *import(const void *bytes, size_t size)
{
	struct journal *journal = NULL;
	struct diag diag = { 0 };
	int err = logwrites_import(bytes, size, NULL, &diag, &journal);

	require(err == 0 || err == -EINVAL);
	require(!err || (diag.id[0] && diag.message[0] && !journal));
	/* It becomes a path. */
	require(err || (journal->disks[0].name[0] && journal->disks[0].name[0] != '.' &&
			!strchr(journal->disks[0].name, '/')));
	return journal;
}

/* Every byte of what the journal points to is there. */
static uint64_t touch(const struct journal *journal)
{
	uint64_t sum = 0, total = 0;

	for (size_t i = 0; i < journal->nr_writes; i++) {
		const struct journal_write *write = &journal->writes[i];

		require(write->at + write->len_bytes <= journal->disks[0].size_bytes);
		total += write->op == IO_WRITE ? write->len_bytes : 0;
		for (uint64_t at = 0; write->data && at < write->len_bytes; at += 97)
			sum += write->data[at];
	}
	for (size_t i = 0; i < journal->nr_marks; i++)
		total += strlen(journal->marks[i].text);
	/* The sum is only there to be made. */
	return sum == UINT64_MAX ? 0 : total;
}

/* What the disk holds in the end; NULL: it is too large to look. */
static unsigned char *content(const struct journal *journal)
{
	uint64_t size = journal->disks[0].size_bytes;
	unsigned char *image = size <= DISK_MAX ? calloc(1, size) : NULL;

	for (size_t i = 0; image && i < journal->nr_extents; i++)
		memcpy(image + journal->extents[i].at, journal->extents[i].data,
		       journal->extents[i].len_bytes);
	for (size_t i = 0; image && i < journal->nr_writes; i++) {
		const struct journal_write *write = &journal->writes[i];

		if (write->data)
			memcpy(image + write->at, write->data, write->len_bytes);
		else
			memset(image + write->at, 0, write->len_bytes);
	}
	return image;
}

static void require_alike(const struct journal *one, const struct journal *two)
{
	_cleanup_free_ unsigned char *image = content(one), *other = content(two);

	require(one->nr_flushes == two->nr_flushes && one->nr_marks == two->nr_marks &&
		one->nr_extents == two->nr_extents && one->nr_writes <= two->nr_writes &&
		one->disks[0].size_bytes == two->disks[0].size_bytes);
	require(!image || memcmp(image, other, one->disks[0].size_bytes) == 0);
}

static void go_round(const struct journal *journal)
{
	_cleanup_close_ int fd = memfd_create("log", MFD_CLOEXEC);
	struct logwrites_export export;
	struct journal *back;
	off_t size;
	void *bytes;

	require(fd >= 0 && logwrites_export(journal, 0, fd, NULL, &export) == 0);
	size = lseek(fd, 0, SEEK_END);
	bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
	require(bytes != MAP_FAILED);
	back = import(bytes, (size_t)size);
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
	journal_free(import(bytes, size));
	if (size < LOG_SUPER_BYTES)
		return 0;
	put_le(bytes, LOG_MAGIC, 8);
	put_le(bytes + 8, LOG_VERSION, 8);
	journal = import(bytes, size);
	/* Not those whose discards alone would be millions of entries. */
	if (journal && touch(journal) < EXPORT_MAX &&
	    journal->disks[0].size_bytes < (uint64_t)1 << 36)
		go_round(journal);
	journal_free(journal);
	return 0;
}
