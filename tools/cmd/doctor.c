// SPDX-License-Identifier: MIT
/*
 * faultblk doctor: a table of checks. Each looks at one thing and says ok, warn or fail, in a
 * sentence, with the command that mends it. Nothing is changed.
 */
#include "base/cleanup.h"
#include "base/mounts.h"
#include "tools/cli/machine.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/disk/node_file.h"
#include "tools/rpc/client.h"
#include "tools/rpc/runtime.h"
#include "tools/vm/vm.h"
#include "ublkcore.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define LIST_MAX         4096
#define UBLKS_MAX_WANTED 4096
#define NOFILE_WANTED    4096
#define MEMLOCK_WANTED   (64ull << 20)

struct doctor_opts {
	bool json;
};

static const struct opt doctor_table[] = {
	OPT_FLAG(struct doctor_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help doctor_help = {
	.usage = "faultblk doctor [options]",
	.what = "Check whether this machine can make disks, itself or in a virtual machine. Each\n"
		"problem comes with a command that fixes it. Nothing is changed.\n"
		"Files to install are in PREFIX/share/faultblk/etc (tools/etc in the source).",
	.examples = "  faultblk doctor",
	.exits = "  0  disks can be made here (there may be warnings)\n"
		 "  1  something is missing\n  2  wrong options",
};

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_FAIL };
static const char *const level_names[] = {
	[LEVEL_OK] = "ok", [LEVEL_WARN] = "warn", [LEVEL_FAIL] = "fail"
};

struct doctor_finding {
	enum level level;
	char what[768];
	char fix[1024]; /* empty: nothing to do */
};

/* Commands as this user has to type them. */
static void put(char *buf, size_t size, const char *fmt, va_list ap)
{
	_cleanup_free_ char *typed = NULL;

	vsnprintf(buf, size, fmt, ap);
	typed = typed_for_user(buf);
	if (typed)
		snprintf(buf, size, "%s", typed);
}

static void found(struct doctor_finding *f, enum level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void found(struct doctor_finding *f, enum level level, const char *fmt, ...)
{
	va_list ap;

	f->level = level;
	va_start(ap, fmt);
	put(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
}

static void fix(struct doctor_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void fix(struct doctor_finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(f->fix, sizeof(f->fix), fmt, ap);
	va_end(ap);
}

/* ------------------------------------------------------------------------------ the kernel */

static bool matches(const char *pattern)
{
	glob_t found_paths;
	bool any = glob(pattern, GLOB_NOSORT, NULL, &found_paths) == 0;

	globfree(&found_paths);
	return any;
}

static const char *as_root(void)
{
	return geteuid() == 0 ? "" : "sudo ";
}

/* Where one of the settings to install lies, seen from this program: installed, or as it was built. */
static const char *etc_file(const char *name, char path[PATH_MAX])
{
	static const char *const folders[] = { "../share/faultblk/etc", "../tools/etc",
					       "../../tools/etc" };
	char self[PATH_MAX] = "", place[2 * PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = len > 0 ? strrchr(self, '/') : NULL;

	for (size_t i = 0; slash && i < array_size(folders); i++) {
		snprintf(place, sizeof(place), "%.*s/%s/%s", (int)(slash - self), self, folders[i],
			 name);
		if (realpath(place, path)) {
			snprintf(place, sizeof(place), "%s", path);
			return typed_word(place, place, path, PATH_MAX);
		}
	}
	snprintf(path, PATH_MAX, "PREFIX/share/faultblk/etc/%s", name);
	return path;
}

static void check_module(const struct ublk_probe *probe, struct doctor_finding *f)
{
	const char *hint = machine_kernel_hint();
	struct utsname system;

	uname(&system);
	if (probe->control == 0 || probe->control == -EACCES || probe->control == -EPERM) {
		found(f, LEVEL_OK, "kernel %s has the ublk driver", system.release);
	} else if (ublk_module_there()) {
		found(f, LEVEL_FAIL, "the ublk driver of kernel %s is not loaded", system.release);
		fix(f, "%smodprobe ublk_drv", as_root());
	} else {
		found(f, LEVEL_FAIL, "kernel %s has no ublk driver (CONFIG_BLK_DEV_UBLK)%s%s",
		      system.release, hint ? "; " : "", hint ?: "");
		fix(f, "faultblk vm -- faultblk doctor");
	}
}

static void check_permission(const struct ublk_probe *probe, struct doctor_finding *f)
{
	if (probe->control == -EACCES || probe->control == -EPERM || probe->command == -EPERM) {
		found(f, LEVEL_FAIL, "user %u may not command the ublk driver (CAP_SYS_ADMIN)",
		      geteuid());
		fix(f, "sudo faultblk run ...");
	} else if (probe->control) {
		found(f, LEVEL_WARN, "permission cannot be checked without the driver");
	} else if (probe->command) {
		found(f, LEVEL_FAIL, "the ublk driver does not answer: %s",
		      strerror(-probe->command));
	} else {
		found(f, LEVEL_OK, "the ublk driver answers");
	}
}

static void check_io_uring(const struct ublk_probe *probe, struct doctor_finding *f)
{
	if (probe->io_uring == 0) {
		found(f, LEVEL_OK, "io_uring is usable");
	} else if (probe->io_uring == -ENOSYS) {
		found(f, LEVEL_FAIL,
		      "io_uring is missing: the kernel lacks it, or a seccomp filter (a "
		      "container's) hides it");
		fix(f, "docker run --security-opt seccomp=unconfined ...");
	} else {
		found(f, LEVEL_FAIL, "io_uring is disabled: %s", strerror(-probe->io_uring));
		fix(f, "%ssysctl kernel.io_uring_disabled=0", as_root());
	}
}

static void check_features(const struct ublk_probe *probe, struct doctor_finding *f)
{
	/* By bit. */
	/* clang-format off */
	static const char *const names[] = {
		"SUPPORT_ZERO_COPY", "URING_CMD_COMP_IN_TASK", "NEED_GET_DATA", "USER_RECOVERY",
		"USER_RECOVERY_REISSUE", "UNPRIVILEGED_DEV", "CMD_IOCTL_ENCODE", "USER_COPY",
		"ZONED", "USER_RECOVERY_FAIL_IO", "UPDATE_SIZE", "AUTO_BUF_REG", "QUIESCE",
		"PER_IO_DAEMON", "BUF_REG_OFF_DAEMON", "BATCH_IO", "INTEGRITY", "SAFE_STOP_DEV",
		"NO_AUTO_PART_SCAN", "SHMEM_ZC", "IO_DESC_SIZE",
	};
	/* clang-format on */
	size_t at;

	if (!probe->has_features) {
		found(f, probe->command ? LEVEL_WARN : LEVEL_OK,
		      probe->command ? "features are unknown while the driver does not answer"
				     : "this kernel does not list its features (before 6.5)");
		return;
	}
	found(f, LEVEL_OK, "features 0x%llx:", (unsigned long long)probe->features);
	at = strlen(f->what);
	for (unsigned int bit = 0; bit < 64 && at < sizeof(f->what); bit++) {
		if (!(probe->features >> bit & 1))
			continue;
		if (bit < array_size(names))
			at += (size_t)snprintf(f->what + at, sizeof(f->what) - at, " %s",
					       names[bit]);
		else
			at += (size_t)snprintf(f->what + at, sizeof(f->what) - at, " bit%u", bit);
	}
}

static void check_ublks_max(const struct ublk_probe *probe, struct doctor_finding *f)
{
	char file[PATH_MAX];
	if (probe->ublks_max == 0) {
		found(f, LEVEL_OK, "the limit of devices is not known without the driver");
	} else if (probe->ublks_max < UBLKS_MAX_WANTED) {
		found(f, LEVEL_WARN, "at most %u ublk devices at a time", probe->ublks_max);
		fix(f,
		    "%ssh -c 'echo %d >/sys/module/ublk_drv/parameters/ublks_max'; and for good: "
		    "%scp %s /etc/modprobe.d/",
		    as_root(), UBLKS_MAX_WANTED, as_root(),
		    etc_file("modprobe.d/faultblk.conf", file));
	} else {
		found(f, LEVEL_OK, "up to %u ublk devices at a time", probe->ublks_max);
	}
}

/* ------------------------------------------------------------------------------ the system */

static void check_nofile(const struct ublk_probe *probe, struct doctor_finding *f)
{
	char file[PATH_MAX];
	struct rlimit limit = { 0 };

	(void)probe;
	getrlimit(RLIMIT_NOFILE, &limit);
	found(f, limit.rlim_cur < NOFILE_WANTED ? LEVEL_WARN : LEVEL_OK, "open files: at most %llu",
	      (unsigned long long)limit.rlim_cur);
	if (f->level != LEVEL_OK && geteuid() && limit.rlim_max < NOFILE_WANTED)
		fix(f, "sudo faultblk run ...");
	else if (f->level != LEVEL_OK)
		fix(f, "ulimit -n %d; and for good: %scp %s /etc/security/limits.d/", NOFILE_WANTED,
		    as_root(), etc_file("security/limits.d/faultblk.conf", file));
}

static void check_memlock(const struct ublk_probe *probe, struct doctor_finding *f)
{
	struct rlimit limit = { 0 };

	(void)probe;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (geteuid() == 0 || limit.rlim_cur >= MEMLOCK_WANTED) {
		found(f, LEVEL_OK, "locked memory: enough");
		return;
	}
	found(f, LEVEL_WARN, "locked memory: at most %llu bytes",
	      (unsigned long long)limit.rlim_cur);
	/* No other user can raise it, or make disks. */
	fix(f, "sudo faultblk run ...");
}

static void check_udev(const struct ublk_probe *probe, struct doctor_finding *f)
{
	char file[PATH_MAX];
	static const char *const rules[] = { "/etc/udev/rules.d/*faultblk*",
					     "/usr/lib/udev/rules.d/*faultblk*",
					     "/lib/udev/rules.d/*faultblk*" };

	(void)probe;
	if (access("/run/udev/control", F_OK) < 0) {
		found(f, LEVEL_OK, "udev is not running: no rule is needed");
		return;
	}
	for (size_t i = 0; i < array_size(rules); i++)
		if (matches(rules[i])) {
			found(f, LEVEL_OK, "the udev rule is installed");
			return;
		}
	found(f, LEVEL_WARN,
	      "the udev rule is not installed: there are no links by label, lsblk -f shows no "
	      "file systems, and some versions of udev read a disk after each close, which "
	      "triggers fault rules");
	fix(f, "%scp %s /etc/udev/rules.d/ && %sudevadm control --reload", as_root(),
	    etc_file("udev/rules.d/90-faultblk.rules", file), as_root());
}

static void check_orphans(const struct ublk_probe *probe, struct doctor_finding *f)
{
	_cleanup_free_ struct ublk_dev_entry *entries = calloc(LIST_MAX, sizeof(*entries));
	int nr = entries ? ublk_list(entries, LIST_MAX) : -ENOMEM, nr_orphans = 0;

	(void)probe;
	if (nr < 0 && nr != -ENOENT) {
		found(f, LEVEL_WARN, "the ublk devices cannot be listed: %s", strerror(-nr));
		return;
	}
	for (int i = 0; i < nr && i < LIST_MAX; i++)
		nr_orphans += entries[i].ours && entries[i].owner_gone;
	found(f, nr_orphans ? LEVEL_WARN : LEVEL_OK, "%d ublk devices, %d without a server",
	      nr < 0 ? 0 : nr, nr_orphans);
	if (nr_orphans)
		fix(f, "faultblk gc");
}

static void check_runtime(const struct ublk_probe *probe, struct doctor_finding *f)
{
	char path[PATH_MAX];
	struct diag diag = { 0 };
	int err = runtime_dir(path, &diag);

	(void)probe;
	/* Where it is there, making it only checks it. */
	if (!err && access(path, F_OK) == 0)
		err = runtime_dir_make(path, &diag);
	if (err) {
		found(f, LEVEL_FAIL, "%s", diag.message);
		fix(f, "export FAULTBLK_RUNTIME_DIR=$HOME/.faultblk");
	} else {
		found(f, LEVEL_OK, "control sockets are in %s", path);
	}
}

/* Where /dev is another file system, what makes nodes there, if anything does, is not known. */
static void check_nodes(const struct ublk_probe *probe, struct doctor_finding *f)
{
	char type[32];
	int err = mounts_type_of("/dev", type, sizeof(type));

	(void)probe;
	if (err || !type[0]) {
		found(f, LEVEL_WARN,
		      "cannot find out whether /dev is a devtmpfs, where new disks appear%s%s",
		      err ? ": " : "", err ? strerror(-err) : "");
	} else if (strcmp(type, "devtmpfs") == 0) {
		found(f, LEVEL_OK, "/dev is a devtmpfs: new disks appear there");
	} else {
		found(f, LEVEL_WARN,
		      "/dev is a %s, not the kernel's devtmpfs: new disks appear there only if "
		      "something else makes their nodes",
		      type);
		fix(f,
		    "docker run --privileged -v /dev:/dev ...; or: mount -t devtmpfs devtmpfs /dev");
	}
}

static void note_file(void *ctx, const struct node_file *file)
{
	struct doctor_finding *f = ctx;
	size_t len = strlen(f->what);

	snprintf(f->what + len, sizeof(f->what) - len, "%s/dev/%.32s is %s of %llu bytes",
		 len ? ", " : "", file->name, file->what, (unsigned long long)file->size_bytes);
}

static void check_node_files(const struct ublk_probe *probe, struct doctor_finding *f)
{
	int nr = node_file_each("/dev", note_file, f);
	size_t len = strlen(f->what);

	(void)probe;
	if (nr <= 0) {
		found(f, nr ? LEVEL_WARN : LEVEL_OK, "%s%s",
		      nr ? "/dev cannot be read: " : "no other file in /dev has the name of a disk",
		      nr ? strerror(-nr) : "");
		return;
	}
	f->level = LEVEL_FAIL;
	snprintf(f->what + len, sizeof(f->what) - len, ": no disk of that number can be made");
	fix(f, "faultblk gc; or, to remove those with content, too: faultblk gc --node-files");
}

static void check_fuse(const struct ublk_probe *probe, struct doctor_finding *f)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	(void)probe;
	if (fd >= 0) {
		found(f, LEVEL_OK, "/dev/fuse opens, for explore --present fuse");
		return;
	}
	found(f, LEVEL_WARN, "/dev/fuse does not open, which explore --present fuse needs: %s",
	      strerror(errno));
	if (errno == ENOENT || errno == ENODEV)
		fix(f, "%smodprobe fuse; in a container: docker run --device /dev/fuse ...",
		    as_root());
}

/* ------------------------------------------------------------------------------ faultblk vm */

/* In the machine nobody needs another one. */
static bool is_machine(struct doctor_finding *f)
{
	const char *kernel = getenv("FAULTBLK_VM");

	if (kernel)
		found(f, LEVEL_OK, "vm: this is the machine, with kernel %s", kernel);
	return kernel != NULL;
}

static void check_kvm(const struct ublk_probe *probe, struct doctor_finding *f)
{
	struct vm_kvm_note note;

	(void)probe;
	if (is_machine(f))
		return;
	if (access("/dev/kvm", R_OK | W_OK) == 0 && vm_look_kvm(&note) == 0) {
		found(f, note.works ? LEVEL_OK : LEVEL_WARN,
		      note.works ? "vm: KVM works: a boot has shown it"
				 : "vm: KVM cannot boot a machine, so emulation is used, which is "
				   "slow; %llu minutes ago: %s",
		      (unsigned long long)note.age_sec / 60, note.why);
		if (!note.works)
			fix(f, "faultblk vm --accel kvm -- true, once that is mended");
	} else if (access("/dev/kvm", R_OK | W_OK) == 0) {
		found(f, LEVEL_OK,
		      "vm: /dev/kvm opens; only a boot shows whether it works (faultblk vm -- "
		      "true)");
	} else if (errno == EACCES) {
		found(f, LEVEL_WARN, "vm: user %u may not use /dev/kvm, so emulation is used, "
				     "which is slow",
		      geteuid());
		fix(f, "sudo usermod -a -G kvm $USER, and log in anew");
	} else {
		found(f, LEVEL_WARN, "vm: there is no /dev/kvm, so emulation is used, which is "
				     "slow");
	}
}

static void check_archive(const struct ublk_probe *probe, struct doctor_finding *f)
{
	char text[sizeof(f->what)];
	int err;

	(void)probe;
	if (is_machine(f))
		return;
	err = vm_look_archive(text, sizeof(text));
	if (err)
		found(f, LEVEL_WARN, "vm: no kernel can be fetched: %s",
		      text[0] ? text : strerror(-err));
	else
		found(f, LEVEL_OK, "vm: kernel and QEMU are fetched from %s", text);
}

/* ------------------------------------------------------------------------------ the table */

static const struct doctor_check {
	const char *name;
	void (*run)(const struct ublk_probe *probe, struct doctor_finding *f);
} checks[] = {
	{ "module", check_module },       { "permission", check_permission },
	{ "io_uring", check_io_uring },   { "features", check_features },
	{ "ublks_max", check_ublks_max }, { "nofile", check_nofile },
	{ "memlock", check_memlock },     { "udev", check_udev },
	{ "orphans", check_orphans },     { "runtime", check_runtime },
	{ "nodes", check_nodes },         { "node-files", check_node_files },
	{ "fuse", check_fuse },           { "kvm", check_kvm },
	{ "archive", check_archive },
};

static void print_finding(const struct doctor_check *check, const struct doctor_finding *f)
{
	printf("%-4s  %-10s  %s\n", level_names[f->level], check->name, f->what);
	if (f->fix[0])
		printf("%18s-> %s\n", "", f->fix);
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor_opts opts;
	struct ublk_probe probe;
	enum opt_result result = opt_parse(argc, argv, doctor_table, &doctor_help, &opts, NULL);
	bool failed = false;
	json_t *rows;

	if (result != OPT_OK)
		return opt_exit(result);
	rows = json_array();
	ublk_probe(&probe);
	for (size_t i = 0; i < array_size(checks); i++) {
		struct doctor_finding f = { 0 };

		checks[i].run(&probe, &f);
		failed |= f.level == LEVEL_FAIL;
		if (opts.json)
			json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s*}", "check",
							      checks[i].name, "level",
							      level_names[f.level], "what", f.what,
							      "fix", f.fix[0] ? f.fix : NULL));
		else
			print_finding(&checks[i], &f);
	}
	if (opts.json)
		tool_print_json(rows);
	else
		json_decref(rows);
	return failed ? EXIT_FAILED : EXIT_OK;
}
