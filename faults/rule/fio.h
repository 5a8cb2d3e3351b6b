/* SPDX-License-Identifier: MIT */
/* Measured latencies, from what `fio --output-format=json` (or json+) has written. */
#ifndef FAULTS_RULE_FIO_H
#define FAULTS_RULE_FIO_H

#include "base/diag.h"
#include "faults/rule/curve.h"

#define FIO_FILE_MAX (16u << 20) /* bytes of a file */

/* fio's own words for what it measured. */
enum fio_section { FIO_READ, FIO_WRITE, FIO_TRIM, FIO_SYNC, FIO_NR_SECTIONS };

struct fio_times {
	struct curve of[FIO_NR_SECTIONS]; /* empty: the file has nothing about it */
};

const char *fio_section_name(enum fio_section section);

/*
 * Read the times of job @job (NULL: the file has one job only) from the file. The completion
 * latencies count, or the total ones where there are no others: all of their histogram if it is
 * there (json+), else their percentiles and smallest and largest. At least one section is then not
 * empty. No time is above @limit_ns. 0; -EINVAL: no such regular file, too large, not fio's, or it
 * has no such times, with words in @diag; -ENOMEM. The caller clears the times.
 */
int fio_read(const char *path, const char *job, uint64_t limit_ns, struct diag *diag,
	     struct fio_times *ret_times);
/* The same, of what such a file holds. */
int fio_parse(const char *text, size_t len, const char *job, uint64_t limit_ns, struct diag *diag,
	      struct fio_times *ret_times);
void fio_clear(struct fio_times *times);

#endif
