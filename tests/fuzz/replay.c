// SPDX-License-Identifier: MIT
/* replay DIRECTORY...: give every file of a corpus to the fuzz target, without a fuzzer. */
#include "base/cleanup.h"

#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ uint8_t *data = malloc(1 << 21);
	size_t size;

	if (!f || !data) {
		perror(path);
		return 1;
	}
	size = fread(data, 1, 1 << 21, f);
	/* Exactly as long as the input, so that a read past its end is seen. */
	data = realloc(data, size ? size : 1);
	return LLVMFuzzerTestOneInput(data, size);
}

static int replay_dir(const char *dir)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, NULL, alphasort), nr_files = 0;

	if (n < 0) {
		perror(dir);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.' && replay_file(path) == 0)
			nr_files++;
		free(entries[i]);
	}
	free(entries);
	return nr_files;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int n = replay_dir(argv[i]);

		/* A corpus that has gone missing tests nothing: that is a failure. */
		if (n <= 0) {
			printf("not ok %s: no inputs replayed\n", argv[i]);
			return 1;
		}
		printf("ok %s: %d inputs\n", argv[i], n);
	}
	return argc < 2;
}
