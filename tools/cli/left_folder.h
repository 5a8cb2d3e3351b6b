/* SPDX-License-Identifier: MIT */
/*
 * Folders that killed programs of ours have left: found by their names, told by their locks, which
 * nobody holds, and removed by the next start of the same command or by gc.
 *
 * One that is removed is our user's, a folder and no link to one, on the file system that it was
 * looked for on, and locked by us meanwhile; how is said in remove_tree.h.
 */
#ifndef TOOLS_CLI_LEFT_FOLDER_H
#define TOOLS_CLI_LEFT_FOLDER_H

#include "base/diag.h"

#include <stdbool.h>

/* What the folders of a command are. Constant. */
struct folder_kind {
	const char *prefix; /* of their names */
	const char *lock;   /* the entry that is locked while it is used; NULL: the folder itself */
	const char *command; /* whose they are */
	const char *place;   /* where they are if neither TMPDIR nor an option says so */
	bool on_tmpfs;       /* there are none on other file systems */
};

extern const struct folder_kind folder_of_explore, folder_of_crashtest;

/* One that was looked at and is not in use. */
struct left_folder {
	const struct folder_kind *kind;
	const char *where, *name; /* the folder @name in @where; they live as long as the call */
	const char *why;          /* it is left, in words; NULL: it is removed, or would be */
	const char
		*inside; /* of what is in it, by a path below it, the first that is left; or NULL */
	bool was_tried;  /* it is ours, and was to be removed */
	bool is_mount;   /* because something is mounted there */
	bool is_foreign; /* because it belongs to another user: nobody expects us to */
};
typedef void (*left_folder_fn)(void *ctx, const struct left_folder *folder);

/* May folders of that kind be in @where: is it a folder, on such a file system? */
bool left_folder_is_place(const char *where, const struct folder_kind *kind);
/* Does the file @path lie in a folder of that kind, by its name? */
bool left_folder_holds(const char *path, const struct folder_kind *kind);
/* The same for the word of --work, with -EINVAL in words. */
int left_folder_check_work(const char *where, struct diag *diag);
/*
 * Remove what is left in @where, a path (@dry_run: nothing is touched, folders that hold mounts are
 * not told apart). @each is called for each folder that is removed, and each of the name that is
 * not and that nobody uses. 0, also where there is no such folder as @where; -errno: it cannot be
 * read. Any thread.
 */
int left_folder_sweep(const char *where, const struct folder_kind *kind, bool dry_run,
		      left_folder_fn each, void *ctx);
/*
 * The same in each place where folders are made by default, once: in TMPDIR, if it is set, and in
 * those of the kinds; of explore in @work as well (NULL: none). @failed is called for each that
 * cannot be read, @err -errno.
 */
typedef void (*left_folder_failed_fn)(void *ctx, const char *where, int err);
void left_folder_sweep_all(const char *work, bool dry_run, left_folder_fn each,
			   left_folder_failed_fn failed, void *ctx);
/* A message on standard error: why it is left, and what to do. */
void left_folder_tell(const struct left_folder *folder);
/* A left_folder_fn for a start, which has other work: what was to be removed and could not be. */
void left_folder_tell_failed(void *ctx, const struct left_folder *folder);

struct tree_left;
/* What remove_tree() has left, as the message of left_folder_tell(). */
void left_folder_tell_tree(const char *where, const char *name, const struct folder_kind *kind,
			   const struct tree_left *left);

#endif
