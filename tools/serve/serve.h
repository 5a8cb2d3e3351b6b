/* SPDX-License-Identifier: MIT */
/* What `faultblk run` does once the disk is there: serve the socket, run COMMAND, take all down. */
#ifndef TOOLS_SERVE_SERVE_H
#define TOOLS_SERVE_SERVE_H

#include "tools/disk/disk.h"

struct serve_options {
	struct disk *disk;        /* owned from here on */
	int listen_fd;            /* owned from here on */
	const char *socket;       /* its path; removed at the end */
	void (*ready)(void *ctx); /* called once nothing but COMMAND can fail to begin; or NULL */
	void *ctx;
	char **command; /* NULL: none */
};

/* Block the signals that serve() handles; before any thread exists, so that all inherit it. */
void serve_block_signals(void);

/*
 * Returns an exit code once the disk is gone: COMMAND's, or enum tool_exit.
 *
 * Without COMMAND: a SIGINT, SIGTERM, SIGHUP or `stop` takes the disk down; while somebody holds it
 * a message names the holder, and after 5 s it serves on. A second signal removes it by force.
 * With COMMAND: SIGTERM and SIGHUP are passed on to it; the end of COMMAND takes the disk down, by
 * force if it is still held after 5 s, and then the code is EXIT_OURS if COMMAND itself succeeded.
 */
int serve(const struct serve_options *options);

#endif
