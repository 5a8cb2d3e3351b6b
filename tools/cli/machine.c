// SPDX-License-Identifier: MIT
#include "tools/cli/machine.h"

#include "base/cleanup.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "ublkcore.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* VERSION_CODENAME of os-release(5). */
static bool is_bookworm(void)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/os-release", "re");
	char line[256];
	bool is = false;

	while (f && !is && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		is = strcmp(line, "VERSION_CODENAME=bookworm") == 0;
	}
	return is;
}

const char *machine_kernel_hint(void)
{
	struct utsname system;

	if (access("/dev/ublk-control", F_OK) == 0 || ublk_module_there() || uname(&system) < 0 ||
	    strncmp(system.release, "6.1.0-", 6) != 0 || !is_bookworm())
		return NULL;
	return "Debian 12's own kernel (6.1) is built without it; that of its backports has it: "
	       "apt-get install -t bookworm-backports linux-image-amd64, and start that";
}

int machine_check(int argc, char **argv)
{
	struct ublk_probe probe;
	char text[512];
	const char *hint;

	if (ublk_probe(&probe) == 0)
		return EXIT_OK;
	hint = probe.control ? machine_kernel_hint() : NULL;
	tool_msg_hint(hint ?: "", "%s", ublk_probe_text(&probe, text, sizeof(text)));
	fputs("          this works: ", stderr);
	typed_put_vm_line(stderr, argc, argv);
	fputc('\n', stderr);
	return EXIT_NO_UBLK;
}
