/* SPDX-License-Identifier: MIT */
/* The manual pages that came with this program. */
#ifndef TOOLS_CLI_MANUAL_H
#define TOOLS_CLI_MANUAL_H

/*
 * Become man(1), showing the page @name of section 1: the one beside this program, in the build directory
 * or where it was installed. Returns where that cannot be: standard output is no terminal, there is no
 * such page, or no man.
 */
void manual_open(const char *name);

#endif
