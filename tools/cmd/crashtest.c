// SPDX-License-Identifier: MIT
/*
 * faultblk crashtest: `run --record` and `explore` in one go. Both are this program again, started
 * as a user would, so that whatever it does can be done by hand in two steps, too.
 */
#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/guard.h"
#include "tools/cli/left_folder.h"
#include "tools/cli/lock_wait.h"
#include "tools/cli/machine.h"
#include "tools/cli/opt.h"
#include "tools/cli/program.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define START_MARK "crashtest: the workload begins"
#define TRIES      100
#define LOCK_MS    10000 /* others look whether a new folder is left */

struct crashtest_opts {
	const char *setup, *workload, *check, *recovery, *recording;
	const char *size, *block_size, *queues, *seed;
	struct opt_list rules;
	bool force;
};

#define O struct crashtest_opts
static const struct opt crashtest_table[] = {
	OPT_TEXT(O, workload, "workload", NULL, "'COMMAND'",
		 "the workload to record; FAULTBLK_DEV "
		 "is set"),
	OPT_TEXT(O, check, "check", NULL, "'COMMAND'", "the check of each state, see explore"),
	OPT_TEXT(O, recovery, "recovery", NULL, "'COMMAND'",
		 "the recovery that runs on each state "
		 "before the check"),
	OPT_TEXT(O, setup, "setup", NULL, "'COMMAND'",
		 "runs before the workload (mkfs, say); crash points within it are not explored"),
	OPT_TEXT(O, size, "size", "64M", "SIZE", "size of the disk"),
	OPT_TEXT(O, block_size, "block-size", "512", "SIZE", "logical block size"),
	OPT_TEXT(O, queues, "queues", "1", "N", "hardware queues"),
	OPT_TEXT(O, seed, "seed", "1", "N", "seed of all random choices"),
	OPT_LIST(O, rules, "rule", "'TEXT'", "a rule of the disk, see faultblk-rules(5)"),
	OPT_TEXT(O, recording, "recording", NULL, "FILE", "keep the recording in this file"),
	OPT_FLAG(O, force, "force", "replace the FILE of --recording if it exists"),
	OPT_END,
};
#undef O

static const struct opt_help crashtest_help = {
	.usage = "faultblk crashtest --workload 'COMMAND' --check 'COMMAND' [options] "
		 "[-- EXPLORE-OPTIONS...]",
	.what = "Create a disk, run the workload on it, and check the states that a power cut can\n"
		"leave at each crash point. This is the same as\n"
		"`faultblk run --cache --record FILE --record-data` followed by\n"
		"`faultblk explore --recording FILE`; options after -- go to explore. The workload\n"
		"reports promises with `faultblk mark TEXT`; the check finds the last mark in\n"
		"FAULTBLK_MARK.\n",
	.examples =
		"  faultblk crashtest --setup 'mkfs.ext4 -q $FAULTBLK_DEV' \\\n"
		"      --workload 'mount $FAULTBLK_DEV /mnt && cp -r /etc /mnt; umount /mnt' \\\n"
		"      --check 'faultblk check fsck'",
	.exits = "  0    no finding\n  1    findings\n  2    wrong options\n"
		 "  3    this machine cannot make ublk devices; a line that works is printed\n"
		 "  125  the workload or the exploration failed",
	.command = true,
};

extern char **environ;

static char owner[GUARD_OWNER_MAX]; /* what setup, workload, and all that they start have */

/* A list of words for a command. */
struct words {
	char **items;
	size_t nr, max;
};

static void words_free(struct words *words)
{
	for (size_t i = 0; i < words->nr; i++)
		free(words->items[i]);
	free(words->items);
}

/* NULL ends the list. False: no memory. */
static bool add(struct words *words, const char *word)
{
	if (array_room("tools/cmd/crashtest/words", words->items, words->max, words->nr + 2, 16))
		return false;
	words->items[words->nr] = fail_alloc("tools/cmd/crashtest/word", strdup(word));
	if (!words->items[words->nr])
		return false;
	words->items[++words->nr] = NULL;
	return true;
}

static bool add_option(struct words *words, const char *name, const char *value)
{
	return !value || (add(words, name) && add(words, value));
}

static pid_t _Atomic running;
static volatile sig_atomic_t ended_by; /* a signal that asked for the end */

/*
 * What the terminal sends reaches the child by itself; what is sent to us alone is passed on, as
 * the one signal that each of our commands takes for its end in order. Once: run takes a second
 * one for impatience.
 */
static void pass_on(int number, siginfo_t *info, void *context)
{
	pid_t child = running;
	bool first = !ended_by;

	(void)context;
	ended_by = number;
	if (child > 0 && first && info->si_code <= 0)
		kill(child, SIGTERM);
}

static void catch_signals(void)
{
	struct sigaction act = { .sa_sigaction = pass_on, .sa_flags = SA_SIGINFO };
	sigset_t set;

	tool_end_signals(&set);
	act.sa_mask = set;
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&set, i) == 1)
			sigaction(i, &act, NULL);
}

/* Never returns. It ends with us, in order: what SIGKILL does to us is SIGTERM to it. */
static void run_child(const char *self, char **argv, const sigset_t *mask, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_OURS);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execve(self, argv, environ);
	tool_msg("%s cannot be started: %s", self, strerror(errno));
	_exit(EXIT_OURS);
}

/* Runs to its end; the exit status of it, 128+N by signal N; -errno if it did not start. */
static int run_self(const char *self, char **argv)
{
	sigset_t set, old;
	pid_t parent = getpid(), child = 0;
	int status = 0, err = 0;

	/* A signal comes before there is a child, or when it is known. */
	tool_end_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	if (!ended_by) {
		child = fail_errno("tools/cmd/crashtest/fork", EAGAIN, fork());
		if (child == 0)
			run_child(self, argv, &old, parent);
		err = errno;
		running = child;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (child == 0)
		return 128 + ended_by;
	if (child < 0)
		return -err;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	running = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Workload and check call `faultblk`: it is this program, wherever it lies. */
static int set_path(const char *self)
{
	const char *slash = strrchr(self, '/'), *old = getenv("PATH");
	_cleanup_free_ char *path = NULL;

	if (program_tell())
		return -errno;
	if (asprintf(&path, "%.*s:%s", (int)(slash - self), self,
		     old ? old : PROGRAM_DEFAULT_PATH) < 0)
		return -ENOMEM;
	return setenv("PATH", path, 1) ? -errno : 0;
}

static bool record_words(struct words *words, const struct crashtest_opts *opts,
			 const char *recording, const char *script)
{
	bool good = add(words, "faultblk") && add(words, "run") && add(words, "--cache") &&
		    add_option(words, "--size", opts->size) &&
		    add_option(words, "--block-size", opts->block_size) &&
		    add_option(words, "--queues", opts->queues) &&
		    add_option(words, "--seed", opts->seed) &&
		    add_option(words, "--record", recording) && add(words, "--record-data");

	for (size_t i = 0; good && i < opts->rules.count; i++)
		good = add_option(words, "--rule", opts->rules.items[i]);
	if (opts->force)
		good = good && add(words, "--force");
	return good && add(words, "--") && add(words, "/bin/sh") && add(words, "-c") &&
	       add(words, script);
}

/* The disk has gone; what goes on would only be in the way of the checks. */
static void end_left(void)
{
	unsigned int nr = guard_kill(owner);

	if (nr)
		tool_msg("ended %u process%s that setup or workload left running", nr,
			 nr == 1 ? "" : "es");
}

static int record(const char *self, const struct crashtest_opts *opts, const char *recording)
{
	_cleanup_(words_free) struct words words = { 0 };
	_cleanup_free_ char *script = NULL;
	int code;

	/* As one script, each part in a shell of its own: an `exit` ends only its part. Their statuses
	 * are not to be taken for those of `run`. */
	if (asprintf(&script,
		     "(%s\n) && faultblk mark '" START_MARK "' >/dev/null && (%s\n) || {\n"
		     "echo \"" TOOL_PREFIX "setup or workload failed with exit status $?; "
		     "nothing is explored\" >&2\nexit %d\n}",
		     opts->setup ? opts->setup : ":", opts->workload, EXIT_OURS) < 0)
		script = NULL;
	if (!script || !record_words(&words, opts, recording, script)) {
		tool_msg("no memory");
		return EXIT_OURS;
	}
	code = run_self(self, words.items);
	end_left();
	if (code == 0 || code == EXIT_NO_UBLK || code == EXIT_USAGE || code == EXIT_OURS)
		return code;
	if (code < 0)
		tool_msg("%s cannot be started: %s", self, strerror(-code));
	else
		tool_msg("the recording ended with exit status %d; nothing is explored", code);
	return EXIT_OURS;
}

static int explore(const char *self, const struct crashtest_opts *opts, const char *recording,
		   char **more)
{
	_cleanup_(words_free) struct words words = { 0 };
	int code;
	bool good = add(&words, "faultblk") && add(&words, "explore") &&
		    add_option(&words, "--recording", recording) &&
		    add_option(&words, "--check", opts->check) &&
		    add_option(&words, "--recovery", opts->recovery) &&
		    add_option(&words, "--seed", opts->seed) &&
		    add_option(&words, "--from", START_MARK);

	while (good && more && *more)
		good = add(&words, *more++);
	if (!good) {
		tool_msg("no memory");
		return EXIT_OURS;
	}
	code = run_self(self, words.items);
	if (code >= 0)
		return code;
	tool_msg("%s cannot be started: %s", self, strerror(-code));
	return EXIT_OURS;
}

static int missing(const char *what)
{
	tool_msg("crashtest: no --%s; wanted: --workload 'COMMAND' and --check 'COMMAND'", what);
	return EXIT_USAGE;
}

/* ------------------------------------------------------------------------------ its folder */

/* It is locked as long as it is in use. */
struct folder {
	char path[PATH_MAX];
	int fd;
};

/* Another program may take it for one that was left, before it is locked: 0, -errno, -ENOENT. */
static int lock_folder(struct folder *folder)
{
	_cleanup_close_ int fd =
		open(folder->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat stat;
	pid_t holder;
	int err;

	if (fd < 0)
		return -errno;
	err = lock_wait(fd, LOCK_MS, &holder);
	if (!err && fstat(fd, &stat) < 0)
		err = -errno;
	if (!err && !stat.st_nlink)
		err = -ENOENT;
	if (!err)
		folder->fd = take_fd(&fd);
	return err;
}

static int make_folder(const char *base, struct folder *folder)
{
	int err = -ENOENT;

	for (int i = 0; i < TRIES && err == -ENOENT; i++) {
		if ((size_t)snprintf(folder->path, sizeof(folder->path), "%s/%sXXXXXX", base,
				     folder_of_crashtest.prefix) >=
		    sizeof(folder->path) - sizeof("/recording"))
			return -ENAMETOOLONG;
		if (!fail_null("tools/cmd/crashtest/mkdtemp", ENOSPC, mkdtemp(folder->path)))
			return -errno;
		err = lock_folder(folder);
	}
	return err;
}

static int in_folder(const char *self, const struct crashtest_opts *opts, struct guard *guard,
		     char **more)
{
	const char *base = getenv("TMPDIR") ?: "";
	_cleanup_free_ char *whole = realpath(base[0] ? base : folder_of_crashtest.place, NULL);
	char recording[PATH_MAX + 16];
	struct folder folder;
	int code, err;

	/* One that cannot be read is told when a folder is made in it. */
	if (whole)
		left_folder_sweep(whole, &folder_of_crashtest, false, left_folder_tell_failed,
				  NULL);
	err = whole ? make_folder(whole, &folder) : -errno;
	if (err) {
		tool_msg("cannot create a folder for the recording in %s: %s; give --recording "
			 "FILE",
			 base[0] ? base : folder_of_crashtest.place, strerror(-err));
		return EXIT_OURS;
	}
	guard_folder(guard, folder.path);
	snprintf(recording, sizeof(recording), "%s/recording", folder.path);
	code = record(self, opts, recording);
	if (!code)
		code = explore(self, opts, recording, more);
	unlink(recording);
	rmdir(folder.path);
	close(folder.fd);
	return code;
}

/* Setup and workload, and whatever they start, can be told from others. */
static int be_guarded(struct guard *guard)
{
	guard_owner(GUARD_CRASHTEST, owner);
	if (setenv(GUARD_CRASHTEST, strchr(owner, '=') + 1, 1))
		return -errno;
	guard_sweep(false, NULL, NULL);
	guard_start(owner, guard);
	return 0;
}

static int test(const char *self, const struct crashtest_opts *opts, char **more)
{
	struct guard guard;
	int code = be_guarded(&guard);

	if (code) {
		tool_msg("no memory");
		return EXIT_OURS;
	}
	catch_signals();
	if (opts->recording) {
		code = record(self, opts, opts->recording);
		if (!code)
			code = explore(self, opts, opts->recording, more);
	} else {
		code = in_folder(self, opts, &guard, more);
	}
	guard_end(&guard, !ended_by);
	return code;
}

int cmd_crashtest(int argc, char **argv)
{
	struct crashtest_opts opts;
	struct opt_words words;
	enum opt_result result =
		opt_parse(argc, argv, crashtest_table, &crashtest_help, &opts, &words);
	char self[PATH_MAX] = "";
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	if (opts.force && !opts.recording) {
		tool_msg("crashtest: --force needs --recording FILE");
		code = EXIT_USAGE;
	} else if (!opts.workload || !opts.check) {
		code = missing(opts.workload ? "check" : "workload");
	} else if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || set_path(self)) {
		tool_msg("cannot find the path of this program: %s", strerror(errno));
		code = EXIT_OURS;
	} else {
		/* As the user said it; run would name what it was given by us. */
		code = machine_check(argc, argv);
		if (!code)
			code = test(self, &opts, words.command);
	}
	opt_free(crashtest_table, &opts);
	return code;
}
