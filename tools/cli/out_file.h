/* SPDX-License-Identifier: MIT */
/*
 * Every file that this program writes for its user: it is there whole, or not at all.
 *
 *	open --write--> finish: synced, then it gets its name, then its folder is synced
 *	     --publish--> it has its name, and is written on (a recording, results) --> finish
 *	     --drop--> nothing is left
 *
 * Until it is published it has no name, so whoever is killed leaves nothing. Where the file system
 * cannot have files without names it is `.NAME.faultblk-part` in the same folder; signals that end
 * the program remove that, and what SIGKILL leaves the next writer does.
 *
 * What it never does: write through a symbolic link, a FIFO or a device, replace anything but a
 * regular file, replace a file that nobody allowed to, one that the command reads, or one on which
 * somebody holds a lock (flock), as those do who write on in a file that they have published.
 */
#ifndef TOOLS_CLI_OUT_FILE_H
#define TOOLS_CLI_OUT_FILE_H

#include "base/diag.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* What is in it came from a disk or tells of one: for its owner alone. */
#define OUT_FILE_MODE 0600

/* How many paths out_options.inputs has room for. */
#define OUT_INPUTS_MAX 2

struct out_options {
	bool force; /* an existing regular file may be replaced */
	/* NULL, or: may this existing one, open for reading, be replaced even without force? */
	bool (*is_ours)(int fd);
	/* What the command reads; not to be replaced, by whatever name. NULL: none, and no more. */
	const char *inputs[OUT_INPUTS_MAX];
	char *const *more_inputs; /* more of them, NULL: none */
	int nr_more;
	unsigned int mode;      /* less the umask; 0: OUT_FILE_MODE */
	const char *id;         /* of the words of errors, "image": "image.exists"; NULL: "file" */
	const char *force_word; /* what the user says for force, for hints; NULL: "--force" */
};

struct out_file {
	int fd; /* open for reading and writing; its position is the caller's */
	/* The rest is out_file's own. */
	int dir_fd;
	struct out_options options;
	const char *path;
	bool named, published;
	char name[NAME_MAX + 1], part[NAME_MAX + 1];
};

/*
 * A new file. @path and what @options (NULL: defaults) point to are borrowed until it is finished
 * or dropped, and @ret_file does not move. In words: -EEXIST: it is there already; -EINVAL: what is
 * there is no regular file, or an input; -EBUSY: another program writes it; -errno.
 */
int out_file_open(const char *path, const struct out_options *options, struct diag *diag,
		  struct out_file *ret_file);
/*
 * Go on in a file that is there, to be published already, or make it as out_file_open() does:
 * *ret_new says which. Its position is its beginning.
 */
int out_file_go_on(const char *path, const struct out_options *options, struct diag *diag,
		   struct out_file *ret_file, bool *ret_new);
/* All of it, at the position; -errno. */
int out_file_write(struct out_file *file, const void *bytes, size_t len);
/* It gets its name, and stays open. On error it stays as it was. Once. */
int out_file_publish(struct out_file *file, struct diag *diag);
/*
 * It is finished: on disk, and under its name. Closes it. On error too; then nothing is left, but of
 * one that was published all that could be written. -ESTALE: not published, and a mapping that was
 * read for it broke (base/map_guard.h).
 */
int out_file_finish(struct out_file *file, struct diag *diag);
/* It is not wanted: nothing is left, but of one that was published all that was written. May be
 * called after finish, and again. */
void out_file_drop(struct out_file *file);
/* May @path be written, as out_file_open() would see it now? Makes nothing. */
int out_file_check(const char *path, const struct out_options *options, struct diag *diag);

#endif
