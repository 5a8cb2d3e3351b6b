/* SPDX-License-Identifier: MIT */
/* What the commands of the program share: the table of them, messages, exit codes. */
#ifndef TOOLS_CLI_TOOL_H
#define TOOLS_CLI_TOOL_H

#include "base/diag.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#define FAULTBLK_VERSION "0.1.0"

enum tool_exit {
	EXIT_OK = 0,
	EXIT_FAILED = 1,  /* the work could not be done; a message says why */
	EXIT_USAGE = 2,   /* wrong words on the command line or in a rule */
	EXIT_NO_UBLK = 3, /* this machine cannot make ublk devices */
	EXIT_NO_DISK = 4, /* no such disk is being served */
	EXIT_BUSY = 5,    /* the disk is held by somebody */
	EXIT_TIMEOUT = 6, /* wait: it did not happen in time */
	EXIT_OURS = 125,  /* run, vm: our own failure, not COMMAND's */
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
};

/* What to add where a COMMAND was not found (@err): "" or why that may be. Safe after fork(). */
const char *tool_quoted_hint(char *const *command, int err);
/* Is @got this word, or another that users have for it: ls and list, rm and remove? */
bool tool_is_word(const char *got, const char *word);

int cmd_run(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_rule(int argc, char **argv);
int cmd_faults(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_mark(int argc, char **argv);
int cmd_recording(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_vm(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_held(int argc, char **argv);
int cmd_release(int argc, char **argv);
int cmd_badblock(int argc, char **argv);
int cmd_explore(int argc, char **argv);
int cmd_crashtest(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_revive(int argc, char **argv);
/* No command of anybody's: disk/reread.c runs it. */
#define REREAD_WORD "reread-disk"
int cmd_reread_disk(int argc, char **argv);
/* Nor this one: 90-faultblk.rules does. */
#define PROBE_WORD "udev-probe"
int cmd_udev_probe(int argc, char **argv);
int cmd_crash(int argc, char **argv);
int cmd_capacity(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_log(int argc, char **argv);

/*
 * Before anything else: standard streams that are closed are opened, on /dev/null, so that no file
 * gets their number (output to be read only: writing to it stays an error); and a file that may not
 * grow (SIGXFSZ) is an error of writing.
 */
void tool_prepare(void);
/* What ends a program that does not care, but for SIGKILL and what its own faults raise. */
void tool_end_signals(sigset_t *ret_set);
/* Before another program takes over: SIGXFSZ as it was before that. */
void tool_unprepare(void);
/*
 * In a child that becomes a command of the user's: signals as they were before that, and none blocked.
 * It ends when @parent does, at once where that has ended already. Safe after fork().
 */
void tool_become_command(pid_t parent);

/*
 * All messages of the program have one form and go out here, to standard error, one line each:
 *
 *	faultblk: WHAT failed: WHY; HINT
 *
 * WHY is the kernel's words for an error, or the value that was got and the values that are wanted.
 * HINT is the next step. Names in a message may hold any byte; control characters are replaced.
 * tests/check-tree verifies that no other file writes the prefix, and the words that they use.
 */
#define TOOL_PREFIX "faultblk: "

/* The hint is the limit of this process that the error in the message may come from, if any. */
void tool_msg(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "": no hint. */
void tool_msg_hint(const char *hint, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Message and hint of @diag, with its line and column if it has them. */
void tool_diag(const struct diag *diag);
/*
 * At the end of a command that read the file @path through a guarded mapping: @code, or, where the
 * mapping broke, EXIT_FAILED and a message that what was said does not count.
 */
int tool_check_input(int code, const char *path);
/* At the end: could not all of standard output be written? Then a message says so, once. */
bool tool_output_failed(void);
/* Who prints as things happen asks first: EXIT_FAILED, in words: standard output is closed. */
int tool_check_output(void);
/*
 * Is standard output a pipe, a socket or a terminal whose other end has gone? Who prints rarely asks
 * now and then, or waits for it: poll() says POLLERR or POLLHUP there, whatever it is asked for.
 */
bool tool_reader_gone(void);
#define TOOL_READER_GONE (POLLERR | POLLHUP)
/*
 * Then end as a write there would, by SIGPIPE; where that is ignored say that nothing can be written
 * there, and return the exit code.
 */
int tool_end_unread(void);
/* From here on messages go to syslog: standard error is gone. */
void tool_use_syslog(void);

#endif
