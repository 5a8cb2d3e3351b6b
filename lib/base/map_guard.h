/* SPDX-License-Identifier: MIT */
/*
 * Files that are mapped, and cut or lost while we look at them.
 *
 * The kernel answers an access to what a file no longer has, or to a page for which its file system
 * has no space or its disk no answer, with SIGBUS, which ends a program in the middle of anything.
 * A guarded mapping goes on instead: from that page on it holds zeroes of its own, and is known as
 * broken. So whoever works with it needs no check at each access, but has to ask once before
 * believing, printing or keeping what came of it.
 *
 * A file that is written to while it is mapped shows what is written, without any signal: so a
 * guard of a file also knows when that was last written to, and whoever asks whether it is broken
 * hears of it. What another mapping writes to a page that it has written before changes no time.
 *
 * Each guard takes the process's SIGBUS handler anew; a SIGBUS elsewhere still ends the process.
 * Guards are seen by children that are forked later, and what breaks there is broken here too.
 */
#ifndef BASE_MAP_GUARD_H
#define BASE_MAP_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* @map comes from mmap() with @prot. Any thread. 0 or -ENOMEM. */
int map_guard(void *map, size_t size_bytes, int prot);
/*
 * The same of all of the file @fd, which stays the caller's. @grows: somebody is still appending to
 * it, which changes nothing that is mapped. A device has no such time, and is not looked at.
 */
int map_guard_file(void *map, size_t size_bytes, int prot, int fd, bool grows);
/* Before munmap(). Of a mapping that is not guarded: nothing. Any thread. */
void map_unguard(void *map);
/* Whether @map has been broken since map_guard(). Any thread. */
bool map_is_broken(const void *map);
/* Whether any mapping of this process has been, those that are gone included. */
bool map_any_broken(void);
/* Whether one is because its file was written to, and not cut: other words are true then. */
bool map_any_changed(void);

#endif
