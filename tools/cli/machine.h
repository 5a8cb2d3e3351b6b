/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_CLI_MACHINE_H
#define TOOLS_CLI_MACHINE_H

/*
 * Can this machine make ublk devices? EXIT_OK, or EXIT_NO_UBLK after one sentence that says why not
 * and the line, of the command @argv of this program, that does the same in a machine that can.
 */
int machine_check(int argc, char **argv);

/*
 * Where the running kernel has no ublk driver and is one of those that Debian 12 itself has, which
 * are built without: the sentence that says which of its kernels has it. Else NULL.
 */
const char *machine_kernel_hint(void);

#endif
