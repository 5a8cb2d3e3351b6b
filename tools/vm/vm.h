/* SPDX-License-Identifier: MIT */
/*
 * Inside of `faultblk vm`: what its files share.
 *
 *	cmd/vm.c	options, retries, exit status
 *	vm/cache.c	the cache folder: packages, the guest's first process, what is known of KVM
 *	vm/package.c	who can write to a folder; whether a package is what was fetched
 *	vm/machine.c	starts QEMU and the two virtiofsd, and ends them
 *	vm/tsc.c	how fast the counter is that an emulated guest takes its time from
 *	vm/session.c	carries input, output, signals and window sizes until COMMAND has ended
 *	vm/signals.c	the signals that end us, on their way to COMMAND
 *	vm/init.c	the guest's first process; vm/wire.h is what it and the host say, vm/clock.h
 *			how it compares their clocks
 *	vm/fetch	the script that fetches packages
 *
 * One thread. No function keeps a pointer that it is given.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include "base/diag.h"
#include "tools/vm/wire.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VM_BOOT_DEADLINE_NS (240 * 1000000000ull) /* a busy host is slow, not dead */
#define VM_LOADER           "ld.so" /* beside QEMU, where the package has all of its libraries */

struct vm_cache {
	char dir[PATH_MAX];
	char init[PATH_MAX];    /* the guest's first process */
	char qemu[PATH_MAX];    /* folder that holds usr/bin/qemu-system-x86_64 */
	char kernel[PATH_MAX];  /* vmlinux or bzImage */
	char modules[PATH_MAX]; /* .../lib/modules/RELEASE */
	char qemu_release[64], kernel_release[128];
};

/*
 * Find the cache and what @kernel (lts, latest, or a kernel's path with lib/modules beside it)
 * means in it; fetch what is missing, or everything when @refresh. 0 or -errno, after a message.
 */
int vm_cache_open(struct vm_cache *cache, const char *kernel, bool refresh);

/* What the last boot under KVM has shown. */
struct vm_kvm_note {
	bool works;
	uint64_t age_sec;
	char why[256]; /* it did not */
};
/*
 * The note about KVM and the kernel of the cache. -ENOENT: nobody tried since this machine started,
 * or it failed more than VM_KVM_RETRY_SEC ago, and is to be tried again: what was wrong (a busy
 * host, a module that was not loaded) may be over.
 */
#define VM_KVM_RETRY_SEC 3600
int vm_cache_kvm(const struct vm_cache *cache, struct vm_kvm_note *ret_note);
/* @why: NULL: it works. */
void vm_cache_set_kvm(const struct vm_cache *cache, const char *why);

/* For `doctor`, which changes nothing. */
/* As vm_cache_kvm(), for the kernel of the cache that was tried last; -ENOENT: none. */
int vm_look_kvm(struct vm_kvm_note *ret_note);
/* Could packages be fetched? 0, or -ENOENT; @ret_text: from where, or what is missing. */
int vm_look_archive(char *ret_text, size_t size);

/*
 * Whether nobody but root and us can put anything into the folder @path, a real path, by way of any
 * folder above it either. 0, -EPERM or -errno, in words.
 */
int vm_folder_check(const char *path, struct diag *diag);
/*
 * Whether the package in the folder @dir is what was fetched: its digests, and owners and modes of
 * all that is in it. Without @all only what boots is read; of modules that is what @dependencies,
 * the package's modules.dep (NULL: none), names for the driver. 0; -ENOENT: it keeps no digests;
 * -EBADMSG: it is not, and @diag says which file. Uses threads of its own.
 */
int vm_package_check(const char *dir, const char *dependencies, bool all, struct diag *diag);

/* Ticks of this machine's time stamp counter in a millisecond; 0: not known. Takes 10 ms. */
uint32_t vm_tsc_khz(void);

struct vm_config {
	const struct vm_cache *cache;
	bool kvm;
	bool icount;
	unsigned int cpus;
	const char *append; /* more words for the kernel */
	uint64_t mem_bytes;
	const char *work; /* folder to share, writable; NULL: none */
};

struct vm_machine {
	pid_t qemu, daemons[2];  /* -1: not running */
	int control, stdio, err; /* our ends of the guest's ports */
	int log;                 /* console of the guest, messages of QEMU and virtiofsd */
};

#define VM_MACHINE_NONE                                                                            \
	{                                                                                          \
		.qemu = -1, .daemons = { -1, -1 }, .control = -1, .stdio = -1, .err = -1,          \
		.log = -1                                                                          \
	}

/* 0 or -errno, after a message. FAULTBLK_VM_DEBUG=1 shows the command lines and the log. */
int vm_machine_start(struct vm_machine *vm, const struct vm_config *config);
/* Whether QEMU and both virtiofsd run. */
bool vm_machine_alive(const struct vm_machine *vm);
/* End every process of it. Idempotent; safe after a failed start. */
void vm_machine_stop(struct vm_machine *vm);

struct vm_session {
	char **argv;          /* COMMAND, NULL-terminated */
	uint64_t deadline_ns; /* on clock_now_ns(); 0: none */
	uint64_t silence_ns;  /* so long the guest's first process may say nothing; 0: for ever */
	bool quiet;           /* a trial boot: no input, output thrown away */
	char last_words[256]; /* of a machine that did not come to its end: why, as far as it said;
				 written by vm_session_run() */
	struct vm_job job;    /* flags, ublks_max, modules and work are the caller's */
	int out_error; /* of vm_session_run(): why standard output could not be written, errno; or 0 */
};

enum vm_end {
	VM_END_STATUS,     /* COMMAND ended: its status is in *ret_status */
	VM_END_TIMEOUT,    /* the deadline passed */
	VM_END_SIGNAL,     /* we were told to end; *ret_status is 128 + the signal */
	VM_END_NOT_BOOTED, /* the guest died, or hung, before COMMAND started: safe to try again */
	VM_END_DIED,       /* the guest died while COMMAND ran */
	VM_END_SILENT,     /* it lives, and nothing has been heard of it for session.silence_ns */
};

enum vm_end vm_session_run(struct vm_session *s, struct vm_machine *vm, int *ret_status);

/* Signals that end us are caught from here on: the first goes to COMMAND. */
void vm_signals_catch(void);
/* The signal that came so far, or 0. */
int vm_signals_pending(void);
/* How many came, and what poll() waits on for the next. */
unsigned int vm_signals_count(void);
int vm_signals_fd(void);
/* Empty the pipe; whether the terminal's window changed since the last call. */
bool vm_signals_take_window(void);

extern const char vm_init_blob[], vm_init_blob_end[];
extern const char vm_fetch_blob[], vm_fetch_blob_end[];

#endif
