// SPDX-License-Identifier: MIT
/*
 * sectors: a disk looked at sector by sector, past every cache (O_DIRECT).
 *
 *	sectors scan PATH [START COUNT]		read each sector alone; print the ranges that fail
 *	sectors fill PATH START COUNT LETTER	write COUNT sectors of LETTER in one request
 *	sectors map PATH START COUNT		print a letter for each sector: its content, `.` for
 *						zeroes, `?` for a mixture, `!` where it cannot
 *						be read
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512

static int fd;
static unsigned char *buf;

static int scan(off_t start, off_t end)
{
	off_t first = -1;
	int err = 0;

	for (off_t s = start; s <= end; s++) {
		int now = s < end && pread(fd, buf, SECTOR, s * SECTOR) != SECTOR ? errno : 0;

		if (now == err)
			continue;
		if (err)
			printf("%lld..%lld %s\n", (long long)first, (long long)s,
			       strerrorname_np(err));
		first = s;
		err = now;
	}
	return 0;
}

static int fill(off_t start, size_t count, int letter)
{
	memset(buf, letter, count * SECTOR);
	if (pwrite(fd, buf, count * SECTOR, start * SECTOR) == (ssize_t)(count * SECTOR))
		return 0;
	printf("%s\n", strerrorname_np(errno));
	return 1;
}

static int map(off_t start, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int letter = '!';

		if (pread(fd, buf, SECTOR, (start + (off_t)i) * SECTOR) == SECTOR)
			letter = memcmp(buf, buf + 1, SECTOR - 1) ? '?' : buf[0] ? buf[0] : '.';
		putchar(letter);
	}
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	off_t start = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
	size_t count = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
	const char *what = argc > 2 ? argv[1] : "";

	buf = aligned_alloc(4096, (count * SECTOR + 4095) / 4096 * 4096);
	fd = argc > 2 ? open(argv[2], O_DIRECT | (*what == 'f' ? O_RDWR : O_RDONLY)) : -1;
	if (fd < 0 || !buf) {
		fprintf(stderr, "sectors: %s: %s\n", argc > 2 ? argv[2] : "no PATH",
			strerror(errno));
		return 2;
	}
	if (!strcmp(what, "scan"))
		return scan(start,
			    argc > 4 ? start + (off_t)count : lseek(fd, 0, SEEK_END) / SECTOR);
	if (!strcmp(what, "fill") && argc == 6)
		return fill(start, count, argv[5][0]);
	if (!strcmp(what, "map"))
		return map(start, count);
	fprintf(stderr, "sectors: scan, fill or map, not '%s'\n", what);
	return 2;
}
