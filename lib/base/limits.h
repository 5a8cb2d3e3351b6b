/* SPDX-License-Identifier: MIT */
/*
 * Limits of this process (setrlimit(2)) that an error may come from. What is said is what they are,
 * not that they were the cause: of that the kernel tells nothing.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include <stddef.h>

/*
 * "the limit of open files (ulimit -n) is 16" in @buf, which is returned: those that the error
 * @err (positive or negative) may come from and that are set. "" where there is none. Any thread.
 */
const char *limits_words(int err, char *buf, size_t size);

#endif
