/* SPDX-License-Identifier: MIT */
/*
 * Starts the machine: QEMU, and one virtiofsd for each folder that the guest sees.
 *
 * Nothing of it has a name in the file system: ports are socket pairs, and the socket between
 * QEMU and a virtiofsd loses its name before QEMU starts. So nothing is left behind however we
 * end; the processes die with us (PR_SET_PDEATHSIG), and virtiofsd also when QEMU does.
 *
 *	faultblk --socketpair-- QEMU --vhost-user-- virtiofsd /	   (a read-only copy of the mounts)
 *		 --pipe-------- log  --vhost-user-- virtiofsd CWD
 */
#include "tools/vm/vm.h"

#include "base/cleanup.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX   96
#define ICOUNT_KHZ 1000000u

/* A command line under construction; the words are owned. */
struct args {
	char *words[ARGS_MAX + 1];
	size_t count;
};

__attribute__((format(printf, 2, 3))) static void args_add(struct args *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (a->count == ARGS_MAX || vasprintf(&a->words[a->count], fmt, ap) < 0)
		abort();
	a->count++;
	va_end(ap);
}

/* Words without a blank, all in one text. */
static void args_split(struct args *a, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, " ");

		args_add(a, "%.*s", (int)len, text);
		text += len;
		text += strspn(text, " ");
	}
}

static void args_free(struct args *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->words[i]);
}

static void args_show(const struct args *a)
{
	if (!getenv("FAULTBLK_VM_DEBUG"))
		return;
	for (size_t i = 0; i < a->count; i++)
		fprintf(stderr, strchr(a->words[i], ' ') ? "'%s' " : "%s ", a->words[i]);
	fputc('\n', stderr);
}

/* ---- processes ---- */

static void keep_fd(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

/*
 * In the child: a session of its own, so that Ctrl-C reaches COMMAND only; the end of its parent
 * is its own end; whatever it prints belongs to the log.
 */
static void child_setup(pid_t parent, int log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
}

/* A package that has brought a loader has brought all of its libraries with it, for that loader. */
static void child_exec(const struct vm_cache *cache, struct args *a)
{
	char libraries[PATH_MAX + 64], loader[PATH_MAX + 64];
	char *words[ARGS_MAX + 4] = { loader, "--library-path", libraries };

	snprintf(libraries, sizeof(libraries), "%s/usr/lib/x86_64-linux-gnu", cache->qemu);
	snprintf(loader, sizeof(loader), "%s/usr/bin/" VM_LOADER, cache->qemu);
	if (access(loader, X_OK) == 0) {
		memcpy(words + 3, a->words, (a->count + 1) * sizeof(*words));
		execv(loader, words);
	} else {
		setenv("LD_LIBRARY_PATH", libraries, 1);
		execv(a->words[0], a->words);
	}
	dprintf(2, "cannot run %s: %s\n", a->words[0], strerror(errno));
	_exit(127);
}

static void write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		dprintf(2, "%s: %s\n", path, strerror(errno));
}

/* Without root: be root of a user namespace that holds only the caller. */
static void child_become_root(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if (uid == 0)
		return;
	if (unshare(CLONE_NEWUSER)) {
		dprintf(2, "virtiofsd needs root or user namespaces (unshare: %s)\n",
			strerror(errno));
		_exit(1);
	}
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
}

/* Our own view of the mounts, in which nothing can be written: the guest's root cannot either. */
static void child_read_only(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr))) {
		dprintf(2, "make a read-only view of /: %s%s\n", strerror(errno),
			errno == EINVAL
				? "; a chroot has to be a mount point (mount --bind DIR DIR)"
				: "");
		_exit(1);
	}
}

/* ---- virtiofsd ---- */

/* A listening socket and a connection to it. Its name lives for these few lines only. */
static int socket_pair_by_name(int *ret_listener, int *ret_client)
{
	_cleanup_close_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/faultblk-XXXXXX";
	int err = 0;

	if (listener < 0 || client < 0 || !mkdtemp(dir))
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/s", dir);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 1) ||
	    connect(client, (struct sockaddr *)&addr, sizeof(addr)))
		err = -errno;
	unlink(addr.sun_path);
	rmdir(dir);
	if (err)
		return err;
	*ret_listener = take_fd(&listener);
	*ret_client = take_fd(&client);
	return 0;
}

static int start_daemon(const struct vm_cache *cache, const char *source, bool writable, int log,
			pid_t *ret_pid, int *ret_fd)
{
	_cleanup_(args_free) struct args a = { .count = 0 };
	_cleanup_close_ int listener = -1;
	pid_t parent = getpid(), pid;
	int err = socket_pair_by_name(&listener, ret_fd);

	if (err)
		return err;
	args_add(&a, "%s/usr/lib/qemu/virtiofsd", cache->qemu);
	args_add(&a, "--fd=%d", listener);
	args_add(&a, "-o");
	args_add(&a, "source=%s", source);
	/* Nobody else writes to the root while we look; others may write to the work folder. */
	args_split(&a, writable ? "-o cache=auto -o sandbox=chroot -o log_level=warn"
				: "-o cache=always -o sandbox=chroot -o log_level=warn");
	if (geteuid() != 0)
		args_add(&a, "--rlimit-nofile=0");
	args_show(&a);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		child_setup(parent, log);
		child_become_root();
		if (!writable)
			child_read_only();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep_fd(listener);
		child_exec(cache, &a);
	}
	*ret_pid = pid;
	return 0;
}

/* ---- QEMU ---- */

static void args_machine(struct args *a, const struct vm_config *c)
{
	const char *dir = c->cache->qemu;

	args_add(a, "%s/usr/bin/qemu-system-x86_64", dir);
	args_split(a, "-nodefaults -no-user-config -display none -monitor none -no-reboot -L");
	args_add(a, "%s/usr/share/qemu", dir);
	/* Less firmware: a quarter of a second sooner, and no words of its own on the console. */
	args_split(a, "-bios qboot.rom");
	args_split(a, "-M q35,memory-backend=mem,hpet=off,sata=off,smbus=off,usb=off,vmport=off,"
		      "i8042=off,graphics=off");
	args_add(a, "-object");
	args_add(a, "memory-backend-memfd,id=mem,size=%llu,share=on",
		 (unsigned long long)c->mem_bytes);
	args_add(a, "-m");
	args_add(a, "%lluM", (unsigned long long)(c->mem_bytes >> 20));
	if (c->icount)
		args_split(a, "-icount shift=0,sleep=off -smp 1 -accel tcg,thread=single -seed 1 "
			      "-rtc clock=vm -cpu max,-erms,-fsrm");
	else if (c->kvm)
		args_split(a, "-accel kvm -cpu host");
	else
		args_split(a, "-accel tcg,thread=multi -cpu max,-erms,-fsrm");
	if (!c->icount)
		args_add(a, "-smp"), args_add(a, "%u", c->cpus);
}

static void args_share(struct args *a, const char *id, int fd, const char *tag)
{
	args_add(a, "-chardev");
	args_add(a, "socket,id=%s,fd=%d", id, fd);
	args_add(a, "-device");
	args_add(a, "vhost-user-fs-pci,chardev=%s,tag=%s", id, tag);
}

static void args_port(struct args *a, const char *id, int fd, enum vm_port nr)
{
	args_add(a, "-chardev");
	args_add(a, "socket,id=%s,fd=%d", id, fd);
	args_add(a, "-device");
	args_add(a, "virtserialport,chardev=%s,nr=%d", id, (int)nr);
}

/*
 * What an emulated kernel must be told of time. The time stamp counter is stated to be good:
 * emulation makes the kernel doubt it, and reading any other clock leaves the guest. Its rate is
 * stated, too: a kernel that is kept waiting while it measures gets it wrong, up to 50 times. The
 * counter is the host's; under -icount one instruction is one nanosecond. What looks for processors
 * that do not come forward finds a busy host, and its long reports on the console hold up the rest.
 */
static void words_of_time(const struct vm_config *c, char *words, size_t size)
{
	uint32_t khz = c->icount ? ICOUNT_KHZ : vm_tsc_khz();
	size_t len;

	len = (size_t)snprintf(words, size,
			       " tsc=reliable clocksource=tsc rcupdate.rcu_cpu_stall_suppress=1 "
			       "rcupdate.rcu_cpu_stall_suppress_at_boot=1 nowatchdog");
	if (khz)
		snprintf(words + len, size - len, " tsc_early_khz=%u", khz);
}

/*
 * The kernel's words. norandmaps makes exec several times faster under emulation. The jitter entropy
 * test is a fixed cost of an eighth of a second for nothing here. The caller's words come last: they
 * have the last word.
 */
static void args_kernel(struct args *a, const struct vm_config *c)
{
	char time[256] = "";

	/* A guest under KVM has a clock of KVM's, which knows its rate. */
	if (!c->kvm)
		words_of_time(c, time, sizeof(time));
	args_add(a, "-kernel");
	args_add(a, "%s", c->cache->kernel);
	args_add(a, "-append");
	args_add(a,
		 "rootfstype=virtiofs root=" VM_TAG_ROOT
		 " ro \"init=%s\" norandmaps mitigations=off "
		 "nokaslr random.trust_cpu=on panic=-1 quiet console=ttyS0 8250.nr_uarts=1 "
		 "no_timer_check initcall_blacklist=jent_mod_init%s %s",
		 c->cache->init, time, c->append);
}

static int start_qemu(struct vm_machine *vm, const struct vm_config *c, const int shares[2],
		      const int ports[3], int log)
{
	_cleanup_(args_free) struct args a = { .count = 0 };
	pid_t parent = getpid();

	args_machine(&a, c);
	args_share(&a, "root", shares[0], VM_TAG_ROOT);
	if (c->work)
		args_share(&a, "work", shares[1], VM_TAG_WORK);
	args_split(&a, "-device virtio-serial-pci,max_ports=4");
	args_port(&a, "control", ports[0], VM_PORT_CONTROL);
	args_port(&a, "stdio", ports[1], VM_PORT_STDIO);
	args_port(&a, "stderr", ports[2], VM_PORT_STDERR);
	args_split(&a, "-chardev stdio,id=log,signal=off -serial chardev:log");
	args_kernel(&a, c);
	args_show(&a);
	vm->qemu = fork();
	if (vm->qemu < 0)
		return -errno;
	if (vm->qemu == 0) {
		child_setup(parent, log);
		for (int i = 0; i < 2; i++)
			keep_fd(shares[i]);
		for (int i = 0; i < 3; i++)
			keep_fd(ports[i]);
		child_exec(c->cache, &a);
	}
	return 0;
}

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(take_fd(&fds[i]));
}

static int open_ports(struct vm_machine *vm, int theirs[3])
{
	int *ours[] = { &vm->control, &vm->stdio, &vm->err };

	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
			return -errno;
		*ours[i] = ends[0];
		theirs[i] = ends[1];
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

int vm_machine_start(struct vm_machine *vm, const struct vm_config *c)
{
	int shares[2] = { -1, -1 }, ports[3] = { -1, -1, -1 }, log[2] = { -1, -1 };
	int err;

	*vm = (struct vm_machine)VM_MACHINE_NONE;
	err = pipe2(log, O_CLOEXEC) ? -errno : 0;
	if (!err) {
		vm->log = log[0];
		fcntl(vm->log, F_SETFL, O_NONBLOCK);
		err = open_ports(vm, ports);
	}
	if (!err)
		err = start_daemon(c->cache, "/", false, log[1], &vm->daemons[0], &shares[0]);
	if (!err && c->work)
		err = start_daemon(c->cache, c->work, true, log[1], &vm->daemons[1], &shares[1]);
	if (!err)
		err = start_qemu(vm, c, shares, ports, log[1]);
	close_all(shares, 2);
	close_all(ports, 3);
	close_all(&log[1], 1);
	if (err) {
		tool_msg("vm: cannot start the machine: %s", strerror(-err));
		vm_machine_stop(vm);
	}
	return err;
}

bool vm_machine_alive(const struct vm_machine *vm)
{
	const pid_t pids[] = { vm->qemu, vm->daemons[0], vm->daemons[1] };

	for (size_t i = 0; i < array_size(pids); i++) {
		siginfo_t info = { .si_pid = 0 };

		if (pids[i] > 0 &&
		    !waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid)
			return false;
	}
	return true;
}

static void end_process(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = -1;
}

void vm_machine_stop(struct vm_machine *vm)
{
	end_process(&vm->qemu);
	end_process(&vm->daemons[0]);
	end_process(&vm->daemons[1]);
	close_all(&vm->control, 1);
	close_all(&vm->stdio, 1);
	close_all(&vm->err, 1);
	close_all(&vm->log, 1);
}
