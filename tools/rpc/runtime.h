/* SPDX-License-Identifier: MIT */
/*
 * Where running disks are found: a directory of control sockets, NAME.sock each.
 *
 *	$FAULTBLK_RUNTIME_DIR, else /run/faultblk for root, else $XDG_RUNTIME_DIR/faultblk
 *
 * The directory is ours alone (0700, owner checked), a socket is 0600. A socket file whose server
 * was killed stays behind; it is replaced by the next server of that name, and swept by gc. Nothing
 * else is ever removed: no live socket of whatever kind, no other file, nobody else's.
 */
#ifndef TOOLS_RPC_RUNTIME_H
#define TOOLS_RPC_RUNTIME_H

#include "base/diag.h"
#include "base/name.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define RUNTIME_NAME_MAX NAME_BYTES_MAX /* bytes of a disk's name */

/* The directory's path, whether or not it is there. -ENOENT: no place for it is known. */
int runtime_dir(char path[PATH_MAX], struct diag *diag);
/* The same, and make it if need be. -EPERM: it belongs to somebody else, or others may enter. */
int runtime_dir_make(char path[PATH_MAX], struct diag *diag);
/* As name_is_good(). -EINVAL, words in @diag. */
int runtime_check_name(const char *name, struct diag *diag);
/* The socket of the disk @name. */
int runtime_socket(const char *name, char path[PATH_MAX], struct diag *diag);

/*
 * A listening socket at @path, mode 0600, non-blocking. What a killed server of our user has left
 * there is replaced: a socket that answers ECONNREFUSED. -EADDRINUSE: a live server is there;
 * -EEXIST: something else is, and stays. -ENAMETOOLONG: a unix socket's path is limited to 107 bytes.
 */
int runtime_listen(const char *path, struct diag *diag, int *ret_fd);
/*
 * A socket says of what disk it is, also when nobody answers there any more: the device's number is in
 * the nanoseconds of its time of modification. -1: it does not say so.
 */
void runtime_note_disk(const char *path, int id);
int runtime_noted_disk(const char *path);
/* Remove the socket that runtime_listen() made last, if it is the one at @path, and still is. */
void runtime_unlink(const char *path);
/* Remove the socket of a killed server of our user; whatever else is there stays. */
void runtime_remove_stale(const char *path);
/* Connect to the server at @path, blocking. -ENOENT, -ECONNREFUSED (nobody serves it), ... */
int runtime_connect(const char *path, struct diag *diag, int *ret_fd);

/*
 * Call @each for every socket file in the directory, by name, until it returns non-zero; that is
 * then returned. No directory: no calls. @live: somebody accepts connections there.
 */
typedef int (*runtime_each_fn)(void *ctx, const char *name, const char *path, bool live);
int runtime_each(runtime_each_fn each, void *ctx, struct diag *diag);

/*
 * Remove the sockets of killed servers from the directory (@dry_run: only tell). @each is called for
 * each of them, @why NULL, and for all else that is called NAME.sock, has no live server behind it
 * and is left: @why, in words. -EPERM, -ENOTDIR, in words: the directory is not ours alone, and
 * nothing in it is touched. No directory: no calls.
 */
typedef void (*runtime_sweep_fn)(void *ctx, const char *path, const char *why);
int runtime_sweep(bool dry_run, runtime_sweep_fn each, void *ctx, struct diag *diag);

#endif
