/* SPDX-License-Identifier: MIT */
/*
 * faultblk vm: run a command in a machine whose kernel has ublk, as if it were here. The parts
 * are in vm/; vm/vm.h says which is which.
 */
#include "tools/vm/vm.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "tools/cli/opt.h"
#include "tools/cli/program.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOT_RETRIES     2
#define KVM_PROOF_NS     (8 * NSEC_PER_SEC)
#define CPUS_DEFAULT_MAX 4u
#define EXIT_TIMEOUT     124

struct vm_opts {
	const char *kernel, *accel, *append, *archive, *keyring;
	uint64_t cpus, mem_bytes, timeout_sec, heartbeat_sec, ublks_max;
	bool icount, no_ublk, fetch_only, refresh, quiet, udev;
};

static const struct opt vm_table[] = {
	OPT_TEXT(struct vm_opts, kernel, "kernel", "lts", "lts|latest|PATH",
		 "kernel to boot: lts, latest, or the path of a vmlinuz beside lib/modules"),
	OPT_COUNT(struct vm_opts, cpus, "cpus", NULL, 1, 255,
		  "processors (default: those of this machine, at most 4)"),
	OPT_SIZE(struct vm_opts, mem_bytes, "mem", "2G", 256ull << 20, 1ull << 40, "memory"),
	OPT_COUNT(struct vm_opts, timeout_sec, "timeout", NULL, 1, 1000000,
		  "end the machine after N seconds, boot included (default: never)"),
	OPT_COUNT(struct vm_opts, heartbeat_sec, "heartbeat", "300", 0, 1000000,
		  "end the machine after N seconds without a sign of life; 0: wait for ever"),
	OPT_FLAG(struct vm_opts, icount, "icount",
		 "virtual time counts instructions: repeatable, but emulated on one processor"),
	OPT_TEXT(struct vm_opts, accel, "accel", "auto", "auto|kvm|tcg",
		 "accelerator; auto uses KVM once a boot has proven that it works"),
	OPT_TEXT(struct vm_opts, append, "append", "", "WORDS", "further parameters for the kernel"),
	OPT_COUNT(struct vm_opts, ublks_max, "ublks-max", NULL, 1, 1000000,
		  "the driver's limit of disks (default: the driver's own, 64)"),
	OPT_FLAG(struct vm_opts, no_ublk, "no-ublk", "do not load the ublk driver"),
	OPT_FLAG(struct vm_opts, udev, "udev", "start this system's udev in the machine"),
	OPT_TEXT(struct vm_opts, archive, "archive", NULL, "URL",
		 "mirror of Debian to fetch from (default: that of apt on this system)"),
	OPT_TEXT(struct vm_opts, keyring, "keyring", NULL, "FILE",
		 "archive keys of Debian (default: those of debian-archive-keyring)"),
	OPT_FLAG(struct vm_opts, fetch_only, "fetch-only", "fetch the packages and end"),
	OPT_FLAG(struct vm_opts, refresh, "refresh", "look for newer packages first"),
	OPT_FLAG(struct vm_opts, quiet, "quiet", "do not print the versions in use"),
	OPT_END
};

static const struct opt_help vm_help = {
	.usage = "faultblk vm [options] [-- COMMAND...]",
	.what =
		"Run COMMAND (default: a shell) as root in a QEMU machine whose kernel has ublk.\n"
		"It sees the files, environment and working directory of this machine. Writes to the\n"
		"working directory are kept; all other writes are discarded.\n"
		"The first use fetches a kernel and QEMU with apt-get into FAULTBLK_CACHE,\n"
		"XDG_CACHE_HOME/faultblk or ~/.cache/faultblk; nothing is installed. If apt knows no\n"
		"archive of Debian, give --archive (or FAULTBLK_ARCHIVE) and --keyring\n"
		"(FAULTBLK_KEYRING). Ctrl-C goes to COMMAND; a second one, or Ctrl-] three times,\n"
		"ends the machine.",
	.examples = "  faultblk vm -- ls -l /dev/ublk-control\n"
		    "  faultblk vm --udev -- udevadm info /dev/ublk-control\n"
		    "  faultblk vm --kernel latest --cpus 2 -- faultblk doctor",
	.exits = "  COMMAND's status; 128+N when signal N ended it\n"
		 "  124  the timeout passed\n"
		 "  125  the machine could not be made, died or hung\n"
		 "  126  COMMAND could not be executed; 127  it was not found",
	.command = true,
};

static unsigned int default_cpus(void)
{
	cpu_set_t set;
	unsigned int count = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return count < CPUS_DEFAULT_MAX ? count : CPUS_DEFAULT_MAX;
}

static bool below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == 0 || path[len] == '/');
}

/* Folders that the guest has of its own, and the root itself, are not shared for writing. */
static bool work_is_shared(const char *work)
{
	if (below(work, "/dev/shm"))
		return true;
	return strcmp(work, "/") && !below(work, "/dev") && !below(work, "/proc") &&
	       !below(work, "/sys");
}

/* One boot: 0 with the way it ended, or -errno when there was no machine to boot. */
static int boot_once(const struct vm_config *config, struct vm_session *session,
		     enum vm_end *ret_end, int *ret_status)
{
	_cleanup_(vm_machine_stop) struct vm_machine vm = VM_MACHINE_NONE;
	int err = vm_machine_start(&vm, config);

	if (!err)
		*ret_end = vm_session_run(session, &vm, ret_status);
	return err;
}

/* What became of a trial boot; empty: it worked. */
static void kvm_failure(enum vm_end end, int status, const struct vm_session *proof, char *why,
			size_t size)
{
	const char *words = proof->last_words;

	why[0] = 0;
	if (end == VM_END_STATUS && status)
		snprintf(why, size, "its first command ended with status %d", status);
	else if (end == VM_END_TIMEOUT)
		snprintf(why, size, "it had not booted after %llu s%s%.200s",
			 KVM_PROOF_NS / NSEC_PER_SEC, words[0] ? "; its last lines: " : "", words);
	else if (end != VM_END_STATUS)
		snprintf(why, size, "%.240s", words[0] ? words : "QEMU ended without a message");
}

/* /dev/kvm may open and still not carry a guest: only a boot proves it. */
static bool kvm_works(const struct vm_config *config, const struct vm_session *session)
{
	char *command[] = { "/bin/true", NULL };
	struct vm_config trial = *config;
	struct vm_session proof = *session;
	enum vm_end end = VM_END_DIED;
	struct vm_kvm_note note;
	char why[256];
	int status = -1;

	if (access("/dev/kvm", R_OK | W_OK))
		return false;
	if (vm_cache_kvm(config->cache, &note) == 0)
		return note.works;
	tool_msg("vm: /dev/kvm is there; trying a boot with it, once, for at most %llu seconds",
		 KVM_PROOF_NS / NSEC_PER_SEC);
	trial.kvm = true;
	proof.quiet = true;
	proof.argv = command;
	proof.deadline_ns = clock_now_ns() + KVM_PROOF_NS;
	if (boot_once(&trial, &proof, &end, &status) || end == VM_END_SIGNAL)
		return false;
	kvm_failure(end, status, &proof, why, sizeof(why));
	vm_cache_set_kvm(config->cache, why[0] ? why : NULL);
	if (why[0])
		tool_msg("vm: KVM cannot boot a machine here: %s; emulation is used (KVM is tried "
			 "again after %d minutes, with --accel kvm at once)",
			 why, VM_KVM_RETRY_SEC / 60);
	return !why[0];
}

static int choose_accel(const struct vm_opts *opts, struct vm_config *config,
			const struct vm_session *session)
{
	if (strcmp(opts->accel, "kvm") == 0 && !opts->icount)
		config->kvm = true;
	else if (strcmp(opts->accel, "auto") == 0 && !opts->icount)
		config->kvm = kvm_works(config, session);
	else if (strcmp(opts->accel, "auto") && strcmp(opts->accel, "tcg")) {
		tool_msg("vm: --accel %s: wanted auto, kvm or tcg%s", opts->accel,
			 opts->icount ? " (and not kvm with --icount)" : "");
		return -EINVAL;
	}
	return 0;
}

static void print_versions(const struct vm_config *config)
{
	char mem[UNITS_MAX];

	tool_msg("vm: Linux %s, QEMU %s, %u CPU%s, %s%s", config->cache->kernel_release,
		 config->cache->qemu_release, config->cpus, config->cpus == 1 ? "" : "s",
		 units_format_size(config->mem_bytes, mem),
		 config->kvm      ? ", KVM"
		 : config->icount ? ", instruction-counted: times are instructions, not seconds"
				  : ", emulated: timings are only comparable with each other");
}

/*
 * COMMAND did well, and did not notice that nothing came of what it printed; or a later write of it met the
 * stream that was closed for that reason.
 */
static int check_output(const struct vm_session *session, int status)
{
	if ((status && status != 128 + SIGPIPE) || !session->out_error ||
	    session->out_error == EPIPE)
		return status;
	tool_msg("vm: cannot write to standard output: %s", strerror(session->out_error));
	return EXIT_OURS;
}

static int exit_code(enum vm_end end, int status, const struct vm_opts *opts,
		     const struct vm_session *session)
{
	switch (end) {
	case VM_END_STATUS:
		return check_output(session, status);
	case VM_END_SIGNAL:
		return status;
	case VM_END_TIMEOUT:
		tool_msg("vm: ended after %llu seconds (--timeout)",
			 (unsigned long long)opts->timeout_sec);
		return EXIT_TIMEOUT;
	case VM_END_NOT_BOOTED:
		tool_msg("vm: the machine did not boot; FAULTBLK_VM_DEBUG=1 shows more");
		return EXIT_OURS;
	case VM_END_DIED:
		tool_msg("vm: the machine died while the command ran");
		return EXIT_OURS;
	case VM_END_SILENT:
		tool_msg("vm: the machine hangs: its first process sent no sign of life for %llu "
			 "seconds (--heartbeat; 0 waits for ever)",
			 (unsigned long long)opts->heartbeat_sec);
		return EXIT_OURS;
	}
	return EXIT_OURS;
}

/* A boot that never came to COMMAND is tried again; anything later has had its effects. */
static int run_machine(const struct vm_opts *opts, struct vm_config *config,
		       struct vm_session *session)
{
	enum vm_end end = VM_END_NOT_BOOTED;
	int status = EXIT_OURS;

	if (opts->timeout_sec)
		session->deadline_ns = clock_now_ns() + opts->timeout_sec * NSEC_PER_SEC;
	for (int try = 0;; try++) {
		if (boot_once(config, session, &end, &status))
			return EXIT_OURS;
		if (end == VM_END_STATUS && config->kvm)
			vm_cache_set_kvm(config->cache, NULL);
		if (end != VM_END_NOT_BOOTED || try == BOOT_RETRIES)
			return exit_code(end, status, opts, session);
		tool_msg("vm: the machine died before the command started; trying again (%d of %d)",
			 try + 1, BOOT_RETRIES);
		if (config->kvm && strcmp(opts->accel, "auto") == 0) {
			vm_cache_set_kvm(config->cache, session->last_words[0]
								? session->last_words
								: "QEMU ended without a message");
			config->kvm = false;
		}
	}
}

/* What the script that fetches, and what runs in the machine, find in their environment. */
static void set_environment(const struct vm_opts *opts)
{
	char keyring[PATH_MAX];

	if (opts->archive)
		setenv("FAULTBLK_ARCHIVE", opts->archive, 1);
	if (opts->keyring)
		setenv("FAULTBLK_KEYRING",
		       realpath(opts->keyring, keyring) ? keyring : opts->keyring, 1);
	/* Without udev nobody else makes the nodes that dmsetup would wait for. */
	if (!opts->udev)
		setenv("DM_DISABLE_UDEV", "1", 0);
}

static int vm_main(const struct vm_opts *opts, char **command)
{
	char *shell[] = { getenv("SHELL"), NULL };
	struct vm_cache cache = { .dir = "" };
	struct vm_config config = { .cache = &cache,
				    .append = opts->append,
				    .icount = opts->icount };
	struct vm_session session = { .argv = command && *command ? command : shell };

	vm_signals_catch();
	set_environment(opts);
	if (!shell[0] || access(shell[0], X_OK))
		shell[0] = "/bin/sh";
	if (!getcwd(session.job.work, sizeof(session.job.work))) {
		tool_msg("vm: working directory: %s", strerror(errno));
		return EXIT_OURS;
	}
	if (vm_cache_open(&cache, opts->kernel, opts->refresh))
		return vm_signals_pending() ? 128 + vm_signals_pending() : EXIT_OURS;
	if (opts->fetch_only)
		return EXIT_OK;
	config.cpus = opts->icount ? 1 : opts->cpus ? (unsigned int)opts->cpus : default_cpus();
	config.mem_bytes = opts->mem_bytes & ~((2ull << 20) - 1);
	if (work_is_shared(session.job.work)) {
		config.work = session.job.work;
		session.job.flags |= VM_JOB_SHARE;
	}
	if (!opts->no_ublk)
		session.job.flags |= VM_JOB_UBLK;
	if (opts->udev)
		session.job.flags |= VM_JOB_UDEV;
	/* Where time is what is counted, and jumps while nothing runs, a beat would count, too. */
	if (opts->heartbeat_sec && !opts->icount) {
		session.job.flags |= VM_JOB_BEAT;
		session.silence_ns = opts->heartbeat_sec * NSEC_PER_SEC;
	}
	if (!opts->icount)
		session.job.flags |= VM_JOB_SET_CLOCK;
	if (geteuid() != 0)
		session.job.flags |= VM_JOB_NOT_ROOT;
	session.job.ublks_max = (uint32_t)opts->ublks_max;
	snprintf(session.job.modules, sizeof(session.job.modules), "%s", cache.modules);
	setenv("FAULTBLK_VM", cache.kernel_release, 1);
	if (choose_accel(opts, &config, &session))
		return EXIT_USAGE;
	if (!opts->quiet)
		print_versions(&config);
	return run_machine(opts, &config, &session);
}

int cmd_vm(int argc, char **argv)
{
	struct vm_opts opts = { .kernel = NULL };
	struct opt_words words = { .count = 0 };

	switch (opt_parse(argc, argv, vm_table, &vm_help, &opts, &words)) {
	case OPT_OK:
		break;
	case OPT_HELP_SHOWN:
		return EXIT_OK;
	case OPT_BAD:
		return EXIT_USAGE;
	}
	if (program_offer()) {
		tool_msg("no memory");
		return EXIT_OURS;
	}
	return vm_main(&opts, words.command);
}

#ifdef VM_STANDALONE
int main(int argc, char **argv)
{
	return cmd_vm(argc - 1, argv + 1);
}
#endif
