// SPDX-License-Identifier: MIT
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "control.h"
#include "ring.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static unsigned int read_ublks_max(void)
{
	_cleanup_fclose_ FILE *f =
		fail_null("lib/probe/parameter", EMFILE,
			  fopen("/sys/module/ublk_drv/parameters/ublks_max", "re"));
	unsigned int max = 0;

	if (f && fscanf(f, "%u", &max) != 1)
		return 0;
	return max;
}

/* Ask the driver something harmless that needs the same permission as making a device. */
static int probe_command(struct ublk_probe *probe)
{
	const struct logger quiet = { 0 };
	struct abi_dev_info info = { 0 };
	struct control_args args = { .id = INT32_MAX, .buf = &info, .len = sizeof(info) };
	struct control control;
	int err = control_open(&control, false, &quiet);

	if (err)
		return err;
	probe->has_features = control.has_features;
	probe->features = control.features;
	err = control_cmd(&control, ABI_GET_DEV_INFO, &args);
	control_close(&control);
	/* No such device is the answer of a driver that listens to us. */
	return err == -ENODEV || err >= 0 ? 0 : err;
}

int ublk_probe(struct ublk_probe *probe)
{
	_cleanup_close_ int fd =
		fail_errno("lib/probe/open", EMFILE, open("/dev/ublk-control", O_RDWR | O_CLOEXEC));

	*probe = (struct ublk_probe){ .control = fd < 0 ? -errno : 0 };
	probe->io_uring = ring_probe();
	probe->ublks_max = read_ublks_max();
	probe->command = -ENODEV;
	if (!probe->io_uring && !probe->control)
		probe->command = probe_command(probe);
	return probe->io_uring ? probe->io_uring : probe->control ? probe->control : probe->command;
}

bool ublk_module_there(void)
{
	struct utsname system;
	char pattern[256];
	glob_t found;
	bool there;

	if (uname(&system) < 0)
		return false;
	snprintf(pattern, sizeof(pattern), "/lib/modules/%s/kernel/drivers/block/ublk_drv.ko*",
		 system.release);
	there = glob(pattern, GLOB_NOSORT, NULL, &found) == 0;
	globfree(&found);
	return there;
}

static void say_no_driver(char *buf, size_t size)
{
	struct utsname system = { .release = "?" };

	uname(&system);
	if (ublk_module_there())
		snprintf(buf, size,
			 "the ublk driver of kernel %s is not loaded (no /dev/ublk-control; try: "
			 "modprobe ublk_drv)",
			 system.release);
	else
		snprintf(buf, size,
			 "there is no ublk driver (no /dev/ublk-control, and no module ublk_drv "
			 "for the running kernel, %s)",
			 system.release);
}

const char *ublk_probe_text(const struct ublk_probe *p, char *buf, size_t size)
{
	if (p->io_uring == -EPERM)
		snprintf(
			buf, size,
			"io_uring is disabled for this process by sysctl kernel.io_uring_disabled or "
			"a seccomp filter (try: sysctl kernel.io_uring_disabled=0)");
	else if (p->io_uring == -ENOSYS)
		snprintf(buf, size, "this kernel has no io_uring, or a seccomp filter hides it");
	else if (p->io_uring)
		snprintf(buf, size, "io_uring cannot be set up: %s", strerror(-p->io_uring));
	else if (p->control == -ENOENT || p->control == -ENODEV || p->control == -ENXIO)
		say_no_driver(buf, size);
	else if (p->control)
		snprintf(buf, size, "/dev/ublk-control cannot be opened: %s (run as root)",
			 strerror(-p->control));
	else if (p->command == -EPERM || p->command == -EACCES)
		snprintf(buf, size,
			 "the ublk driver denies access: CAP_SYS_ADMIN is needed (run as root)");
	else if (p->command)
		snprintf(buf, size, "the ublk driver does not answer: %s", strerror(-p->command));
	else if (size)
		buf[0] = '\0';
	return buf;
}
