/* SPDX-License-Identifier: MIT */
/*
 * The guest's file systems, modules and network. A part of init.c, which is one translation unit
 * so that the guest's program needs nothing but itself; it uses that file's job, say() and die().
 */
#ifndef VM_INIT_MOUNTS_H
#define VM_INIT_MOUNTS_H

static void make_dirs(const char *path, mode_t mode)
{
	char part[4200];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return;
	memcpy(part, path, len + 1);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(part, mode);
		*p = '/';
	}
	mkdir(part, mode);
}

struct mount_row {
	const char *source, *target, *type, *options;
	unsigned long flags;
	bool required;
};

static const struct mount_row guest_mounts[] = {
	{ "proc", "/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true },
	{ "sysfs", "/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true },
	{ "devtmpfs", "/dev", "devtmpfs", "mode=755", MS_NOSUID, true },
	{ "devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666,gid=5", MS_NOSUID | MS_NOEXEC,
	  true },
	{ "tmpfs", "/dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV, true },
	{ "tmpfs", "/run", "tmpfs", "mode=755", MS_NOSUID | MS_NODEV, true },
	{ "cgroup2", "/sys/fs/cgroup", "cgroup2", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
	{ "debugfs", "/sys/kernel/debug", "debugfs", NULL, 0, false },
	{ "tracefs", "/sys/kernel/tracing", "tracefs", NULL, 0, false },
	{ "configfs", "/sys/kernel/config", "configfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC,
	  false },
};

static int load_module(int dir, const char *path, const char *options)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, options, 0) ? -errno : 0;
	close(fd);
	return err == -EEXIST ? 0 : err;
}

static void mount_all(int modules)
{
	/* Where it is built in there is no such file. */
	(void)load_module(modules, "kernel/fs/configfs/configfs.ko", "");
	for (size_t i = 0; i < array_size(guest_mounts); i++) {
		const struct mount_row *m = &guest_mounts[i];

		mkdir(m->target, 0755);
		if (mount(m->source, m->target, m->type, m->flags, m->options) && m->required)
			die("mount %s", m->target);
	}
	(void)!symlink("/proc/self/fd", "/dev/fd");
	(void)!symlink("/proc/self/fd/0", "/dev/stdin");
	(void)!symlink("/proc/self/fd/1", "/dev/stdout");
	(void)!symlink("/proc/self/fd/2", "/dev/stderr");
	mkdir("/run/lock", 01777);
	mkdir("/run/user", 0755);
}

/*
 * The overlay opens files below it with O_NOATIME if whoever mounted it may. A virtiofsd that is
 * not root may not: without CAP_FOWNER at the moment of the mount the overlay does not ask.
 */
static void drop_fowner(struct __user_cap_data_struct saved[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &header, saved))
		die("capget");
	memcpy(caps, saved, sizeof(caps));
	caps[0].effective &= ~(1u << CAP_FOWNER);
	if (syscall(SYS_capset, &header, caps))
		die("capset");
}

static void restore_caps(const struct __user_cap_data_struct saved[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	if (syscall(SYS_capset, &header, saved))
		die("capset");
}

/* The host's root is read-only below; everything written lands in memory and is forgotten. */
static void enter_overlay(int modules)
{
	struct __user_cap_data_struct caps[2];

	/* Where it is built in there is no such file: the mount has the last word. */
	(void)load_module(modules, "kernel/fs/overlayfs/overlay.ko", "");
	if (mount("tmpfs", "/sys", "tmpfs", 0, "mode=755"))
		die("mount the tmpfs below /");
	if (mkdir("/sys/upper", 0755) || mkdir("/sys/work", 0755) || mkdir("/sys/root", 0755))
		die("make the folders of the overlay");
	if (job.flags & VM_JOB_NOT_ROOT)
		drop_fowner(caps);
	if (mount("overlay", "/sys/root", "overlay", 0,
		  "lowerdir=/,upperdir=/sys/upper,workdir=/sys/work,index=off,metacopy=off"))
		die("mount the overlay");
	if (job.flags & VM_JOB_NOT_ROOT)
		restore_caps(caps);
	if (chdir("/sys/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("enter the overlay");
}

static void bind_modules(int modules)
{
	const char *release = strrchr(job.modules, '/') + 1;
	char from[64], to[1024];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", modules);
	snprintf(to, sizeof(to), "/lib/modules/%s", release);
	make_dirs(to, 0755);
	if (mount(from, to, NULL, MS_BIND, NULL))
		say(to);
}

/*
 * Nodes of drivers that are loaded when somebody opens them (/dev/loop-control, /dev/fuse): the
 * job of udev, which does not run here. Lines are "MODULE NODE cMAJOR:MINOR".
 */
static void make_static_nodes(int modules)
{
	int fd = openat(modules, "modules.devname", O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	char line[256], node[128], path[160], type;
	unsigned int major, minor;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*s %127s %c%u:%u", node, &type, &major, &minor) != 4)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", node);
		for (char *p = strchr(path + 5, '/'); p; p = strchr(p + 1, '/')) {
			*p = 0;
			mkdir(path, 0755);
			*p = '/';
		}
		mknod(path, (type == 'b' ? S_IFBLK : S_IFCHR) | 0600, makedev(major, minor));
	}
	if (file)
		fclose(file);
}

static void mount_work(void)
{
	if (job.flags & VM_JOB_SHARE) {
		make_dirs(job.work, 0755);
		if (mount(VM_TAG_WORK, job.work, "virtiofs", 0, NULL))
			die("mount the working directory %s", job.work);
	}
	if (chdir(job.work))
		die("enter the working directory %s", job.work);
}

static void load_ublk(int modules)
{
	char options[64] = "";
	int err;

	if (!(job.flags & VM_JOB_UBLK))
		return;
	if (job.ublks_max)
		snprintf(options, sizeof(options), "ublks_max=%u", job.ublks_max);
	err = load_module(modules, "kernel/drivers/block/ublk_drv.ko", options);
	if (err) {
		errno = -err;
		say("load ublk_drv.ko");
	}
}

/*
 * What other test suites expect of a system. modprobe of scsi_debug brings the driver of its disks
 * along, which udev would do elsewhere. configfs gets its mount from mount_all().
 */
static void write_modprobe_rules(void)
{
	static const char rules[] = "softdep scsi_debug post: sd_mod\n";
	int fd;

	mkdir("/run/modprobe.d", 0755);
	fd = open("/run/modprobe.d/faultblk-vm.conf", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, rules, sizeof(rules) - 1) < 0)
		say("/run/modprobe.d/faultblk-vm.conf");
	if (fd >= 0)
		close(fd);
}

/* Run one program to its end; its status, or -1. */
static int run_program(char *const argv[])
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The host's own udev, with the host's rules; devices from before it are told to it. */
static void start_udev(void)
{
	static const char *const daemons[] = { "/usr/lib/systemd/systemd-udevd",
					       "/lib/systemd/systemd-udevd", "/sbin/udevd",
					       "/usr/sbin/udevd" };
	const char *udevadm =
		access("/usr/bin/udevadm", X_OK) ? "/sbin/udevadm" : "/usr/bin/udevadm";
	size_t i = 0;

	if (!(job.flags & VM_JOB_UDEV))
		return;
	while (i < array_size(daemons) && access(daemons[i], X_OK))
		i++;
	if (i == array_size(daemons)) {
		tell("--udev: there is no systemd-udevd on this system; install the package udev");
		return;
	}
	if (run_program((char *[]){ (char *)daemons[i], "--daemon", NULL }) ||
	    run_program((char *[]){ (char *)udevadm, "trigger", NULL }) ||
	    run_program((char *[]){ (char *)udevadm, "settle", NULL }))
		tell("--udev: udev did not start, or does not answer");
}

static void network_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		say("bring up lo");
	if (fd >= 0)
		close(fd);
}

#endif
