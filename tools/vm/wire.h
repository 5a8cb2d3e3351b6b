/* SPDX-License-Identifier: MIT */
/*
 * What `faultblk vm` and the first process of its guest say to each other.
 *
 *	port 1, "control"	host: job, then messages		guest: messages
 *	port 2, "stdio"		host: COMMAND's standard input		guest: its standard output
 *	port 3, "stderr"	-					guest: its standard error
 *
 * The job is a struct vm_job and its strings: COMMAND's words, then the environment, each ending
 * in a NUL. Both sides are one build on one machine: structures travel as they are.
 */
#ifndef VM_WIRE_H
#define VM_WIRE_H

#include <stdint.h>
#include <sys/resource.h>

#define VM_JOB_MAGIC     0x6a6d7631u
#define VM_JOB_MAX_BYTES (8u << 20)
#define VM_BEAT_MS       2000
#define VM_TAG_ROOT      "hostroot"
#define VM_TAG_WORK      "hostwork"

enum vm_port { VM_PORT_CONTROL = 1, VM_PORT_STDIO = 2, VM_PORT_STDERR = 3 };

enum vm_job_flags {
	VM_JOB_TTY = 1u << 0,          /* standard input and output are one terminal */
	VM_JOB_STDERR_SPLIT = 1u << 1, /* standard error does not go where standard output goes */
	VM_JOB_STDIN_NULL = 1u << 2,   /* standard input is /dev/null */
	VM_JOB_UBLK = 1u << 3,         /* load ublk_drv */
	VM_JOB_SHARE = 1u << 4,        /* the working directory is shared, writable */
	VM_JOB_SET_CLOCK = 1u << 6, /* set the clock by the host's, and compare how fast they go */
	VM_JOB_UDEV = 1u << 7,      /* start udev before COMMAND */
	VM_JOB_NOT_ROOT = 1u << 5,  /* the host's user, and so its virtiofsd, is not root */
	VM_JOB_BEAT = 1u << 8,      /* say every VM_BEAT_MS that the machine goes on */
};

struct vm_job {
	uint32_t magic;
	uint32_t flags;
	uint32_t nr_args;
	uint32_t nr_env;
	uint32_t strings_bytes; /* what follows this structure */
	uint32_t umask;
	uint32_t ublks_max; /* 0: the driver's default */
	uint16_t rows, columns;
	struct rlimit limits[RLIM_NLIMITS];
	char modules[4096]; /* host path of the modules of the kernel that boots */
	char work[4096];    /* the working directory */
};

enum vm_msg_type {
	/* host to guest */
	VM_MSG_SIGNAL = 1, /* value: signal for COMMAND's process group */
	VM_MSG_WINDOW,     /* value: rows << 16 | columns */
	VM_MSG_STDIN_END,  /* bytes: how many were sent on the stdio port */
	VM_MSG_TIME,       /* bytes, err_bytes: the host's CLOCK_REALTIME and CLOCK_MONOTONIC in
			      ns; answers VM_MSG_ASK_TIME */
	/* guest to host */
	VM_MSG_ASK_TIME,
	VM_MSG_STARTED, /* COMMAND is about to run: from here on nothing may be retried */
	VM_MSG_BEAT,    /* the first process is alive, from VM_MSG_STARTED to VM_MSG_DONE */
	VM_MSG_DONE,    /* value: exit status as a shell sees it; bytes on stdio and on stderr */
};

struct vm_msg {
	uint32_t type;
	uint32_t value;
	uint64_t bytes, err_bytes;
};

#endif
