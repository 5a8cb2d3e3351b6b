/* SPDX-License-Identifier: MIT */
/*
 * ublkcore: block devices served from user space, on Linux ublk.
 *
 * The kernel's ublk driver turns /dev/ublkbN into requests that a process answers over io_uring.
 * This library is that process's half: it adds the device, runs one thread and one ring for each
 * queue, hands every request to a backend, and takes the device away again. A backend is a const
 * table of callbacks; what it leaves NULL, the disk does not offer.
 *
 *	static int mem_read(void *ctx, struct ublk_req *req)
 *	{
 *		return ublk_req_put(req, 0, (char *)ctx + req->sector * 512, req->len_bytes);
 *	}
 *	static int mem_write(void *ctx, struct ublk_req *req)
 *	{
 *		return ublk_req_get(req, 0, (char *)ctx + req->sector * 512, req->len_bytes);
 *	}
 *	static const struct ublk_backend mem = {
 *		.name = "mem", .read = mem_read, .write = mem_write,
 *	};
 *
 *	ublk_options_init(&options);
 *	options.size_bytes = 64 << 20;
 *	err = ublk_dev_open(&mem, memory, &options, &dev);	-> /dev/ublkbN is there
 *	...
 *	dev = ublk_dev_free(dev);				-> and gone
 *
 * UNITS. Positions are in sectors of 512 bytes whatever the block size; lengths are in bytes; times
 * are nanoseconds of CLOCK_MONOTONIC unless the name ends in _ms.
 *
 * ERRORS. Functions return 0 or a negative errno. The sentence that explains an error (what was
 * got, what was wanted, what to do) goes to the log callback of the options at UBLK_LOG_ERROR;
 * ublk_log_stderr() is one that prints. The library itself never prints and never exits, with one
 * exception: a backend that breaks its contract (a request completed twice, a result that is not
 * 0 or -errno) ends the process through abort(), with a line on standard error that names backend,
 * queue, tag and operation, because to continue would corrupt data.
 *
 * THREADS. Each queue has one thread, made and joined by the library, pinned to the CPUs that the
 * kernel maps to the queue. Every callback that concerns a request runs on that request's queue
 * thread, never two at a time for one queue, in parallel for different queues. All other calls may
 * come from any thread, and at the same time, unless their comment restricts it: also while another
 * thread closes the device, and until ublk_dev_free() is called, which waits for running calls.
 * The queue threads block all signals. They are marked PR_SET_IO_FLUSHER, so that the disk may hold
 * a file system or swap on the same machine; a backend should therefore not allocate while it
 * serves.
 *
 * MANY DISKS. A process may have hundreds. Each takes two descriptors, and two more for each of its
 * queues; all of them together take two more, for control commands. Opening a disk is work of the
 * kernel; closing one is mostly waiting for it (some 25 ms on kernel 7.3), which threads that close
 * several disks at once do at the same time.
 *
 * DYING. When the process ends, for any reason, the kernel stops its disks; ublk_gc() deletes their
 * devices. A killed server never ends, but waits for itself in the kernel, in two cases. First, it has
 * its own disk open with cached I/O in flight: use a disk from another process. Second, it is the last
 * process of a mount namespace in which its disk is mounted: the kernel then unmounts the disk, which
 * writes to it. This happens to a server that is the only process of a container, or of a service with
 * private mounts. So move a server to a mount namespace in which its disk is never mounted, before it
 * starts its first thread:
 *
 *	unshare(CLONE_NEWNS); mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
 *
 * The server then does not see later mounts, and keeps earlier mounts busy; tools/disk/apart.h, which
 * `faultblk run` uses, avoids both.
 *
 * FORKING. A child that is forked after ublk_dev_open() keeps the character device of the disk open
 * until it ends or calls exec (all descriptors are close-on-exec). The kernel deletes the disk only
 * after that: ublk_dev_close() returns -ETIMEDOUT and names the child. Fork before, exec soon, or end
 * the children first. Calls of this library do not work in such a child.
 *
 * CONTRACTS. Each call states its Errors (what it returns besides success), its Thread (who may call it)
 * and, where pointers go in or out, their Owner.
 *
 * OWNERSHIP. The caller keeps backend and ctx, which must outlive the device; the table of the backend
 * must also outlive all of its requests. Options are copied. A request belongs to the backend from the
 * callback that passes it until the backend completes it. Its fields are read-only to the backend, and
 * its memory (fields, pdu, data) is valid until then, even after ublk_dev_free().
 */
#ifndef UBLKCORE_H
#define UBLKCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define UBLKCORE_VERSION "0.1.0"

/* A device that is served. Made by ublk_dev_open(), the caller's until ublk_dev_free(). */
struct ublk_dev;

/* ------------------------------------------------------------------------------ requests */

/* What a request asks for. Source of the meaning: REQ_OP_* of <linux/blk_types.h>; the values are ours. */
enum ublk_op {
	UBLK_OP_READ,         /* fill the request's data from the range */
	UBLK_OP_WRITE,        /* put the request's data to the range */
	UBLK_OP_FLUSH,        /* everything completed before it is submitted becomes durable */
	UBLK_OP_DISCARD,      /* the range's content is no longer needed */
	UBLK_OP_WRITE_ZEROES, /* the range reads as zero afterwards */
	UBLK_NR_OPS,          /* how many there are */
};

/*
 * What the block layer says about a request. Source of the meaning: <linux/blk_types.h>, REQ_*; of
 * the values: UBLK_IO_F_* of <linux/ublk_cmd.h>, shifted down by 8. All three fail-fast bits
 * together mean read-ahead.
 */
enum ublk_req_flag {
	UBLK_REQ_FAILFAST_DEV = 1u << 0,       /* do not retry errors of the device */
	UBLK_REQ_FAILFAST_TRANSPORT = 1u << 1, /* nor those of the transport */
	UBLK_REQ_FAILFAST_DRIVER = 1u << 2,    /* nor those of the driver */
	UBLK_REQ_META = 1u << 3,               /* file-system metadata */
	UBLK_REQ_FUA = 1u << 5,                /* write: durable before it completes */
	UBLK_REQ_NOUNMAP = 1u << 7,            /* write-zeroes: keep the blocks allocated */
	UBLK_REQ_SWAP = 1u << 8,               /* swap */
};

/* A request. Owner: the backend, from the callback to ublk_req_complete(); the library sets every field. */
struct ublk_req {
	uint64_t sector;    /* first sector; inside the disk, checked by the kernel; 0 for FLUSH */
	uint32_t len_bytes; /* bytes, whole logical blocks; 0 for FLUSH only */
	uint32_t flags;     /* any of enum ublk_req_flag */
	uint16_t queue;     /* 0..nr_queues - 1 */
	uint16_t tag;       /* < queue depth; unique among the queue's requests in flight */
	uint8_t op;         /* enum ublk_op */
	void *pdu; /* the backend's own memory for this tag: backend.pdu_bytes, zero at first use */
};

/*
 * Copy @len bytes from @from into the data of a READ, at byte @offset; both inside the request.
 *
 * Errors: -EFAULT; -EIO, also once the kernel has given the request up.
 * Thread: any, while the request is the backend's.
 * Owner: @from stays the caller's, and is not used after the call.
 */
int ublk_req_put(struct ublk_req *req, size_t offset, const void *from, size_t len);
/*
 * Copy @len bytes of the data of a WRITE, from byte @offset on, to @to; both inside the request.
 *
 * Errors: as of ublk_req_put().
 * Thread: any, while the request is the backend's.
 * Owner: @to stays the caller's.
 */
int ublk_req_get(struct ublk_req *req, size_t offset, void *to, size_t len);
/*
 * The data of a READ or WRITE in place, len_bytes long.
 *
 * Errors: NULL where the data path has no such place (UBLK_DATA_USER_COPY); never on UBLK_DATA_COPY.
 * Thread: any, while the request is the backend's.
 * Owner: the library; valid until the request is completed.
 */
void *ublk_req_data(struct ublk_req *req);

/*
 * Finish a request: @result is 0 (all of it done) or a negative errno. The kernel passes these errnos on to the
 * application as they are and turns every other one into EIO: EOPNOTSUPP ETIMEDOUT ENOSPC ENOLINK
 * EREMOTEIO EBADE ENODATA EILSEQ ENOMEM EBUSY EAGAIN ENODEV ETIME EINVAL (source: errors[] of the kernel's
 * block/blk-core.c). A request that the device has gone without is completed like any other, and its memory
 * is freed with that.
 *
 * Errors: none; a second completion, or a @result above 0, ends the process (see ERRORS).
 * Thread: any, exactly once.
 * Owner: the request is the library's afterwards.
 */
void ublk_req_complete(struct ublk_req *req, int result);

/*
 * Put a request aside until @due_ns (CLOCK_MONOTONIC; UINT64_MAX: until unparked); the queue then calls
 * backend.resume for it. Costs no thread, no SQE and no allocation: thousands may be parked. While
 * the device is being closed parked requests become due at once.
 *
 * Errors: none.
 * Thread: the request's queue thread, from submit or resume.
 * Owner: the request stays the backend's.
 */
void ublk_req_park(struct ublk_req *req, uint64_t due_ns);
/*
 * Make a parked request due now: resume is called before the queue next waits.
 *
 * Errors: none.
 * Thread: the request's queue thread.
 * Owner: the request stays the backend's.
 */
void ublk_req_unpark(struct ublk_req *req);

/* ------------------------------------------------------------------------------ backends */

/*
 * The table of a backend. @ctx is what ublk_dev_open() was given.
 *
 * SYNCHRONOUS: fill in read and write, and flush, discard, write_zeroes where there are such; each
 * does its work before it returns 0 or -errno. ASYNCHRONOUS: fill in submit and submit_ops instead,
 * and resume, if it parks; submit must complete or park the request, or keep it and complete it
 * later from any thread. An op with both goes to submit. READ must be there in one of the forms;
 * without WRITE the disk is read-only.
 *
 * Thread: every callback on the queue's thread.
 * Owner: the table is the caller's, and outlives the device and all its requests.
 */
struct ublk_backend {
	const char *name;                                     /* for messages */
	int (*read)(void *ctx, struct ublk_req *req);         /* 0 or -errno, as the next four */
	int (*write)(void *ctx, struct ublk_req *req);        /* UBLK_REQ_FUA: durable at return */
	int (*flush)(void *ctx, struct ublk_req *req);        /* what was completed is durable */
	int (*discard)(void *ctx, struct ublk_req *req);      /* a hint: may do nothing */
	int (*write_zeroes)(void *ctx, struct ublk_req *req); /* the range reads as zero */

	uint32_t submit_ops; /* bit (1 << enum ublk_op) for each op that submit takes */
	void (*submit)(void *ctx, struct ublk_req *req); /* completes, parks or keeps it */
	void (*resume)(void *ctx, struct ublk_req *req); /* a parked request is due */

	size_t pdu_bytes; /* size of ublk_req.pdu, up to 1 MiB */

	/* All optional, on the queue's thread. */
	int (*queue_start)(void *ctx, unsigned int queue); /* 0; -errno: the open fails with it */
	void (*queue_stop)(void *ctx, unsigned int queue); /* for each start that returned 0 */
	void (*batch)(void *ctx, unsigned int queue, uint64_t now_ns); /* before every batch */
	/*
	 * After every batch, before its results go to the kernel. The kernel gets the result of a
	 * request only after a call of this that follows its completion. It may be called from
	 * within ublk_req_complete(), for the requests that were completed before that one.
	 */
	void (*batch_done)(void *ctx, unsigned int queue);
	/*
	 * The device is closing, and this is final: complete every request that the backend holds,
	 * now or soon. Called in every batch from then on.
	 */
	void (*drain)(void *ctx, unsigned int queue);
};

/* ------------------------------------------------------------------------------ options */

/* How much a message matters. */
enum ublk_log_level { UBLK_LOG_ERROR, UBLK_LOG_WARNING, UBLK_LOG_INFO, UBLK_LOG_DEBUG };

/* A callback for messages. @message: one line without newline, valid during the call.
 *
 * Errors: none.
 * Thread: any, several at a time.
 * Owner: @log_ctx is the caller's, and outlives the device; @message is the library's.
 */
typedef void (*ublk_log_fn)(void *log_ctx, enum ublk_log_level level, const char *message);
/*
 * A ready-made one: "ublk: message" on standard error for levels up to INFO. @log_ctx is not used.
 *
 * Errors: none; what cannot be written is lost.
 * Thread: any.
 * Owner: @message stays the caller's.
 */
void ublk_log_stderr(void *log_ctx, enum ublk_log_level level, const char *message);

/* How request data travels between the kernel and the backend. */
enum ublk_data_path {
	UBLK_DATA_COPY,      /* the driver copies to and from a buffer of ours: direct pointers */
	UBLK_DATA_USER_COPY, /* pread and pwrite on the character device; kernel 6.5 and later */
};

/* What a device is to be. Fill it with ublk_options_init() first; the device keeps a copy. */
struct ublk_options {
	uint64_t size_bytes;         /* required; multiple of the logical block */
	int id;                      /* N of /dev/ublkbN, 0..1048575; -1 (default): any free one */
	unsigned int nr_queues;      /* 1..number of CPUs; default 1 */
	unsigned int queue_depth;    /* 1..4096; default 128 */
	unsigned int logical_block;  /* bytes; power of two, 512..page size; default 512 */
	unsigned int physical_block; /* bytes; power of two, logical..1 MiB; default 4096 */
	unsigned int max_io_bytes;   /* largest READ or WRITE; pages, up to 32 MiB; 512 KiB */
	/* bytes; power of two, logical..1 GiB; default 4096; raised to the physical block */
	unsigned int discard_granularity;
	uint64_t max_discard_bytes;    /* largest DISCARD; 0 (none)..2 GiB; default 2 GiB */
	uint64_t max_zeroes_bytes;     /* largest WRITE_ZEROES; 0..2 GiB; default 1 GiB */
	bool read_only;                /* default false, but true without a write callback */
	bool rotational;               /* default false */
	bool volatile_cache;           /* flushes arrive; default true, false without flush */
	bool fua;                      /* FUA writes arrive; default true, needs volatile_cache */
	enum ublk_data_path data_path; /* default UBLK_DATA_COPY */
	unsigned int close_timeout_ms; /* how long close waits for others; 0..600000; 5000 */
	ublk_log_fn log;               /* default NULL: messages are dropped */
	void *log_ctx;                 /* for log; the caller's, and outlives the device */
	bool legacy_commands; /* speak the encoding of kernels before 6.4; default: detect */
};

/*
 * Set every field to its default. Call it first, always.
 *
 * Errors: none.
 * Thread: any.
 * Owner: @options stays the caller's.
 */
void ublk_options_init(struct ublk_options *options);

/* ------------------------------------------------------------------------------ devices */

/*
 * Add the device, set its parameters, start its queues and make it live: when this returns 0,
 * /dev/ublkbN exists and answers. On error nothing is left behind. The kernel reads the partition
 * table during the start: the backend must answer from the first moment.
 *
 * Thread: any but a queue thread.
 * Owner: *ret_dev, set on success alone, is the caller's until ublk_dev_free(); @options is copied, @backend
 * and @ctx stay the caller's and outlive the device.
 * Errors: these, and others that the kernel gives.
 *
 * -EINVAL	an option or a part of the backend is out of its range, or an argument is NULL (@ctx may
 *		be); the message names it
 * -ENOENT	no /dev/ublk-control: the ublk_drv module is not loaded, or the kernel has none
 * -EPERM	no permission (CAP_SYS_ADMIN is needed), or io_uring is disabled
 * -ENOSYS	no io_uring in this kernel, or a seccomp filter hides it
 * -EEXIST	the id is taken, or another file in /dev has the name of a node of the disk
 * -ENFILE	the driver's limit of devices (module parameter ublks_max) is reached; current kernels
 *		count only the devices of unprivileged users
 * -EOPNOTSUPP	the kernel does not support an option, or grants a smaller value
 * -ETIMEDOUT	the kernel did not answer
 */
int ublk_dev_open(const struct ublk_backend *backend, void *ctx, const struct ublk_options *options,
		  struct ublk_dev **ret_dev);

/*
 * Remove the disk, unless it is in use: wait up to close_timeout_ms for processes that hold it and for
 * unfinished requests, then stop and delete it. Requests that are parked or kept stay so until the
 * stop is certain. Allowed in any state, and again after success (0). Calls from several threads run
 * one after the other.
 *
 * Thread: any but one of the device's queue threads.
 * Owner: @dev stays the caller's.
 * Errors:
 *
 * -EBUSY	in use; the message names the holders that are visible. The device continues, parked
 *		requests stay parked, and close may be called again. Kernels without TRY_STOP_DEV do
 *		not report a holder that is not visible here (in another pid namespace): if it has no
 *		request in flight, it gets errors from then on.
 * -ETIMEDOUT	stopped, but a process keeps the kernel from deleting it: the message names the holder
 *		of the disk, or of its character device (see FORKING). The kernel deletes it once that
 *		process ends. The wait for the kernel itself is 10 s, independent of close_timeout_ms.
 * -EDEADLK	called by one of the device's own queue threads
 * others	the kernel refused to delete it; close may be called again, and ublk_dev_free() tries
 *		again, too
 */
int ublk_dev_close(struct ublk_dev *dev);
/*
 * The same, but do not wait for a disk that is in use.
 *
 * Errors: as of ublk_dev_close(); -EBUSY comes at once.
 * Thread: any but one of the device's queue threads.
 * Owner: @dev stays the caller's.
 */
int ublk_dev_try_close(struct ublk_dev *dev);

/*
 * Close even if it is held (holders get errors), and free. NULL allowed. Parked requests are resumed
 * at once, and the drain callback is called; requests that the backend keeps longer than
 * close_timeout_ms fail with EIO, and the device is removed. Their fields, pdu and data stay valid
 * until the backend completes them, with any result. The call waits for callbacks that have not
 * returned. A thread within ublk_req_complete() may still be there when this returns.
 *
 * Errors: NULL is success; @dev: one of its own queue threads called, and nothing was done.
 * Thread: any but one of the device's queue threads, and no call with @dev after it.
 * Owner: @dev is freed, and all that was returned for it.
 */
struct ublk_dev *ublk_dev_free(struct ublk_dev *dev);

/*
 * N of /dev/ublkbN: 0..1048575.
 *
 * Errors: none.
 * Thread: any.
 */
int ublk_dev_id(const struct ublk_dev *dev);
/*
 * "/dev/ublkb0".
 *
 * Errors: none; never NULL.
 * Thread: any.
 * Owner: the device; valid until ublk_dev_free().
 */
const char *ublk_dev_path(const struct ublk_dev *dev);
/*
 * The options in force, as settled with the kernel.
 *
 * Errors: none; never NULL.
 * Thread: any.
 * Owner: the device; valid until ublk_dev_free().
 */
const struct ublk_options *ublk_dev_options(const struct ublk_dev *dev);
/*
 * Feature bits that the kernel granted this device. Source: UBLK_F_* of <linux/ublk_cmd.h>.
 *
 * Errors: none.
 * Thread: any.
 */
uint64_t ublk_dev_features(const struct ublk_dev *dev);

/*
 * A descriptor that is readable (poll) once the device is gone, for any reason.
 *
 * Errors: none.
 * Thread: any.
 * Owner: the device; do not close it, nor read from it.
 */
int ublk_dev_gone_fd(const struct ublk_dev *dev);
/*
 * Block until the device has gone or @timeout_ms (milliseconds, -1: for ever) is over.
 *
 * Errors: -ETIMEDOUT; -errno of poll(2).
 * Thread: any but one of the device's queue threads.
 */
int ublk_dev_wait(struct ublk_dev *dev, int timeout_ms);

/*
 * Wake every queue, so that each runs its batch callback soon. After a close it does nothing.
 *
 * Errors: none.
 * Thread: any.
 */
void ublk_dev_kick(struct ublk_dev *dev);

/* ------------------------------------------------------------------------------ holders */

/* How a disk is held. */
enum ublk_hold {
	UBLK_HOLD_OPEN,    /* a process has the node open */
	UBLK_HOLD_MOUNT,   /* a file system on it is mounted */
	UBLK_HOLD_SWAP,    /* it is swap space */
	UBLK_HOLD_STACKED, /* another block device (md, device mapper, loop) is on top */
	UBLK_HOLD_SERVER,  /* has /dev/ublkcN open; ublk_holders() does not look for it */
};

/* One who holds a disk. */
struct ublk_holder {
	enum ublk_hold how; /* and so which of the fields below are set */
	int pid;            /* of the opener, or one process that sees the mount; 0: none */
	char name[32];      /* its command name, or the name of the device stacked on top */
	char where[256];    /* mount point; empty for others */
};

/*
 * List the holders of block device /dev/ublkb@id. Fills up to @max; returns the number found. It does
 * not wait for file servers: a process that has opened the disk by a node outside of /dev, on a
 * network, FUSE or overlay file system, is not found. Source: /proc and /sys/class/block.
 *
 * Errors: none; what cannot be read is not seen.
 * Thread: any.
 * Owner: @holders stays the caller's.
 */
int ublk_holders(int id, struct ublk_holder *holders, unsigned int max);
/*
 * "held by mkfs.ext4 (pid 123), mounted on /mnt": into @buf of @size bytes, cut to fit; "held by an
 * unknown process" if @nr is 0.
 *
 * Errors: none; never NULL.
 * Thread: any.
 * Owner: returns @buf, which stays the caller's.
 */
const char *ublk_holders_text(const struct ublk_holder *holders, unsigned int nr, char *buf,
			      size_t size);

/* ------------------------------------------------------------------------------ counters */

/* What one op cost, from the start of the device on. */
struct ublk_op_stats {
	uint64_t ops;    /* completed, errors included */
	uint64_t bytes;  /* of those without error */
	uint64_t errors; /* completed with an errno */
	/* From the request's arrival at the queue to its completion, 0 when there are none. */
	uint64_t p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
};

/*
 * @queue: one queue, or -1 for the sum of all. Values are known
 * within 6.25%; a snapshot under load may miss the latest few.
 *
 * Errors: -EINVAL: there is no such queue or op; -ENOMEM.
 * Thread: any.
 * Owner: *ret_stats is the caller's.
 */
int ublk_dev_op_stats(const struct ublk_dev *dev, int queue, enum ublk_op op,
		      struct ublk_op_stats *ret_stats);
/*
 * How many requests ended with -@error (errno > 0) on all queues.
 *
 * Errors: none; 0 for what is no errno.
 * Thread: any.
 */
uint64_t ublk_dev_errno_count(const struct ublk_dev *dev, int error);

/* What one queue did, from the start of the device on, and has now. */
struct ublk_queue_stats {
	uint64_t batches;    /* system calls of the ring loop */
	uint64_t parked;     /* requests parked, ever */
	uint64_t in_flight;  /* with the backend now, parked ones included */
	uint64_t parked_now; /* requests parked now */
};
/*
 * The counters of @queue, 0..nr_queues - 1.
 *
 * Errors: -EINVAL: there is no such queue.
 * Thread: any.
 * Owner: *ret_stats is the caller's.
 */
int ublk_dev_queue_stats(const struct ublk_dev *dev, unsigned int queue,
			 struct ublk_queue_stats *ret_stats);

/* ------------------------------------------------------------------------------ the machine */

/* What this machine has for a server of disks. */
struct ublk_probe {
	int io_uring;      /* 0 usable; -EPERM disabled (sysctl or seccomp), -ENOSYS not there */
	int control;       /* 0 /dev/ublk-control opens; -ENOENT no driver; -EACCES, -EPERM */
	int command;       /* 0 the driver answers us; -EPERM without CAP_SYS_ADMIN; -errno */
	bool has_features; /* the kernel knows GET_FEATURES (6.5 and later) */
	uint64_t features; /* UBLK_F_* bits, where has_features */
	unsigned int ublks_max; /* the driver's limit of devices, 0 where unknown */
};

/*
 * Look at this machine: 0 if devices can be made here. Always fills *ret_probe.
 *
 * Errors: the first of those in *ret_probe.
 * Thread: any.
 * Owner: *ret_probe is the caller's.
 */
int ublk_probe(struct ublk_probe *ret_probe);
/*
 * Is the driver's module there, to be loaded into the running kernel? One that is built in is not,
 * nor one in a folder that is not this kernel's. Source: /lib/modules/RELEASE/kernel/drivers/block.
 *
 * Errors: none; false where that cannot be read.
 * Thread: any.
 */
bool ublk_module_there(void);
/*
 * One sentence for a failed probe, into @buf of @size bytes, cut to fit: what is missing and what to do.
 * Empty text for a good one.
 *
 * Errors: none; never NULL.
 * Thread: any.
 * Owner: returns @buf, which stays the caller's.
 */
const char *ublk_probe_text(const struct ublk_probe *probe, char *buf, size_t size);

/* What the driver says of a device. Source: UBLK_S_DEV_* of <linux/ublk_cmd.h>. */
enum ublk_dev_state { UBLK_DEV_DEAD, UBLK_DEV_LIVE, UBLK_DEV_QUIESCED, UBLK_DEV_FAIL_IO };

/* A ublk device of this machine, made by any program. */
struct ublk_dev_entry {
	int id;                    /* N of /dev/ublkbN */
	enum ublk_dev_state state; /* by the driver */
	int owner_pid;             /* process that made it, as far as known; 0 unknown */
	bool ours; /* made by this library: pid and start time of the owner are known */
	/* If ours is true, at most one of these is true; none: the owner lives. */
	bool owner_gone;   /* that process has certainly ended */
	bool owner_ending; /* it was killed, but has not ended */
	bool owner_unseen; /* it is in a pid namespace that is not visible; owner_pid is of that */
	uint64_t size_bytes;                 /* of the disk */
	unsigned int nr_queues, queue_depth; /* hardware queues; requests in flight for each */
};

/*
 * List the ublk devices of this machine by id, except those of other users that cannot be queried.
 * Fills up to @max; returns the number of devices.
 *
 * Errors: -errno of opening /dev/ublk-control, of reading /sys/class/ublk-char, or of the driver.
 * Thread: any.
 * Owner: @entries stays the caller's.
 */
int ublk_list(struct ublk_dev_entry *entries, unsigned int max);

/*
 * Delete the devices that killed servers left behind. Such a device was made by this library, its
 * owner (pid namespace, pid and start time) has certainly ended, and for half a second the driver does
 * not report it as live. Devices of other programs, and of owners that are not visible here, are never
 * deleted. Returns the number of deleted devices, or, if there was none, -errno of a failure. Each
 * deletion is logged at UBLK_LOG_INFO. A device that cannot be deleted is logged at UBLK_LOG_ERROR with
 * the reason: its holder, a server that was killed but has not ended, or one in another pid namespace.
 * The kernel deletes a held device once it is released. This takes at most 6 s, and 10 s more for each
 * held device.
 *
 * Errors: see above; -EPERM without CAP_SYS_ADMIN, -ENOENT without a driver.
 * Thread: any but a queue thread.
 * Owner: @log_ctx stays the caller's, and is not used after the call.
 */
int ublk_gc(ublk_log_fn log, void *log_ctx);
/*
 * The same, but delete nothing: log and count the devices that ublk_gc() would delete.
 *
 * Errors: as of ublk_gc().
 * Thread: any but a queue thread.
 * Owner: @log_ctx stays the caller's, and is not used after the call.
 */
int ublk_gc_look(ublk_log_fn log, void *log_ctx);
/*
 * Stop and delete device @id of any program.
 *
 * Errors: -EBUSY while it is held, -ENODEV if there is none, others of the driver.
 * Thread: any but a queue thread.
 * Owner: @log_ctx stays the caller's, and is not used after the call.
 */
int ublk_delete(int id, ublk_log_fn log, void *log_ctx);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
