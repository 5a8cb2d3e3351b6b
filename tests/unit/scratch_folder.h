/* SPDX-License-Identifier: MIT */
/* A folder for a test: set_up() makes it, tear_down() removes it. After cmocka.h. */
#ifndef TESTS_SCRATCH_FOLDER_H
#define TESTS_SCRATCH_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char base[64];

/* With the shell, in the folder. */
static void run(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s && %s", base, command);
	assert_int_equal(system(line), 0);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(base, "/tmp/faultblk-test-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	run("rm -rf ./* && rmdir $PWD");
	return 0;
}

#endif
