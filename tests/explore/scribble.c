// SPDX-License-Identifier: MIT
/*
 * scribble FILE SEED: writes all over a file in every way that a check may: by write(), through a
 * mapping whose pages it has read before, by punching holes and by filling them. SEED 0: only
 * through the mapping, of which the file's times say nothing.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned char block[4096];
	volatile unsigned char *map;
	struct stat stat;
	unsigned int sum = 0;
	int fd;

	if (argc != 3)
		return 126;
	srand((unsigned int)atoi(argv[2]));
	fd = open(argv[1], O_RDWR);
	if (fd < 0 || fstat(fd, &stat) < 0)
		return 126;
	map = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return 126;
	for (off_t at = 0; at < stat.st_size; at += 4096)
		sum += map[at];
	for (int i = 0; i < (atoi(argv[2]) ? 8 : 0); i++) {
		off_t at = (off_t)(rand() % (int)(stat.st_size / 4096)) * 4096;

		switch (rand() % 4) {
		case 0:
			map[at + rand() % 4096] ^= 0x5a;
			break;
		case 1:
			memset(block, rand(), sizeof(block));
			if (pwrite(fd, block, sizeof(block), at + 100) < 0)
				return 126;
			break;
		case 2:
			if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 12288))
				return 126;
			break;
		case 3:
			/* Zeroes where a hole was, and a size of its own. */
			if (fallocate(fd, 0, at, 8192) || (at && ftruncate(fd, at)))
				return 126;
			return 0;
		}
	}
	/* Only through the mapping, from here on. */
	map[0] ^= 1;
	map[4096] ^= 1;
	return (int)(sum - sum);
}
