// SPDX-License-Identifier: MIT
/*
 * replay_log LOG IMAGE [ENTRIES]: what a log of dm-log-writes leaves, from the description of the
 * format and nothing of ours. IMAGE is made as large as it must be. A discard writes zeroes.
 */
#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct super {
	uint64_t magic, version, nr_entries;
	uint32_t sectorsize;
};

struct entry {
	uint64_t sector, nr_sectors, flags, data_len;
	char text[480];
};

static void need(int ok, const char *what, uint64_t n)
{
	if (ok)
		return;
	fprintf(stderr, "replay_log: entry %llu: %s\n", (unsigned long long)n, what);
	exit(1);
}

static void copy(int log, off_t from, int image, off_t to, uint64_t len)
{
	static char buffer[1 << 20];

	while (len) {
		size_t part = len < sizeof(buffer) ? len : sizeof(buffer);

		if (log < 0)
			memset(buffer, 0, part);
		need(log < 0 || pread(log, buffer, part, from) == (ssize_t)part, "cannot read", 0);
		need(pwrite(image, buffer, part, to) == (ssize_t)part, "cannot write", 0);
		from += part;
		to += part;
		len -= part;
	}
}

int main(int argc, char **argv)
{
	int log = argc > 2 ? open(argv[1], O_RDONLY) : -1;
	int image = log >= 0 ? open(argv[2], O_RDWR | O_CREAT, 0666) : -1;
	uint64_t most = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
	struct super super;
	uint64_t sector, at;

	need(image >= 0, "usage: replay_log LOG IMAGE [ENTRIES]", 0);
	need(pread(log, &super, sizeof(super), 0) == sizeof(super), "no super block", 0);
	need(le64toh(super.magic) == 0x006a736677736872ull && le64toh(super.version) == 1,
	     "wrong magic or version", 0);
	sector = le32toh(super.sectorsize);
	at = sector;
	for (uint64_t i = 0; i < le64toh(super.nr_entries) && i < most; i++) {
		struct entry entry;
		uint64_t to, len, flags;

		need(pread(log, &entry, sizeof(entry), (off_t)at) == sizeof(entry), "cut off", i);
		to = le64toh(entry.sector) * sector;
		len = le64toh(entry.nr_sectors) * sector;
		flags = le64toh(entry.flags);
		at += sector;
		need(flags || len, "flags and sectors are both 0", i);
		need(flags & 8 || !entry.text[0], "garbage behind the header", i);
		if (flags & 4) {
			copy(-1, 0, image, (off_t)to, len);
		} else {
			copy(log, (off_t)at, image, (off_t)to, len);
			at += len;
		}
	}
	return 0;
}
