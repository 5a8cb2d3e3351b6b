// SPDX-License-Identifier: MIT
/*
 * store: the check of the store whose recordings the tests make. Its head, at 4096, names a version
 * of its data, at 8192: that data must be there, and no version that was acknowledged may be lost.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "head 7" at @at: 7; nothing there: 0. */
static int number_at(int fd, off_t at)
{
	char text[33] = "";
	const char *space;

	if (pread(fd, text, sizeof(text) - 1, at) < 0)
		exit(126);
	space = strchr(text, ' ');
	return space ? atoi(space + 1) : 0;
}

int main(void)
{
	const char *path = getenv("FAULTBLK_DEV"), *mark = getenv("FAULTBLK_MARK");
	int fd = path ? open(path, O_RDONLY) : -1, head, data, acknowledged = 0;

	if (fd < 0 || !mark)
		return 126;
	head = number_at(fd, 4096);
	data = number_at(fd, 8192);
	if (strncmp(mark, "commit ", 7) == 0)
		acknowledged = atoi(mark + 7);
	printf("head %d, data %d, acknowledged %d\n", head, data, acknowledged);
	return head <= data && head >= acknowledged ? 0 : 1;
}
