/* SPDX-License-Identifier: MIT */
/* Rules from the command line and from files, with errors that show the place. Messages: stderr. */
#ifndef TOOLS_CLI_RULE_FILE_H
#define TOOLS_CLI_RULE_FILE_H

#include "faults/rule/rule.h"

/* Read a whole rule file ("-": standard input) into a new set. Returns an enum tool_exit. */
int rule_file_load(const char *path, struct rule_set **ret_set);
/* Parse one rule as given on the command line into @set, in place of one of that name, or last. */
int rule_text_add(struct rule_set *set, const char *text);
/*
 * Check every rule against the disk that is to be made. @parts_later: but for those with part=, which
 * only one can check who knows the partitions.
 */
int rule_set_check(const struct rule_set *set, const struct rule_geometry *geometry,
		   bool parts_later);
/*
 * "SOURCE:LINE:COLUMN: message", the line itself, a caret below the place, the hint. @text is what
 * was parsed (may be NULL).
 */
void rule_complain(const char *source, const char *text, const struct diag *diag);

#endif
