/* SPDX-License-Identifier: MIT */
/*
 * Writes the record file of disks while they serve. A pipeline that was given a recorder_disk calls
 * it; each queue has a ring of bytes that a thread of the recorder drains into the file.
 *
 * Nothing is lost: a queue whose ring is full waits for the writer, which is counted. If the file
 * cannot be written, the recording ends there, the file is cut back to its last whole block, the
 * owner is told once, and the disks serve on. Memory is that of the rings: recorder_ring_bytes()
 * for each queue, taken when its disk is added.
 *
 * Several disks may share a recording, and several processes: one makes it, the others join it by
 * its two descriptors. Steps and marks are common to all, a process has the writer of its disks.
 */
#ifndef FAULTS_RECORD_RECORDER_H
#define FAULTS_RECORD_RECORDER_H

#include "faults/record/record.h"

struct recorder;
struct recorder_disk;
struct store;

enum recorder_full {
	RECORDER_STOP,  /* at its limit the recording ends in order; the disks serve on */
	RECORDER_BLOCK, /* the queues wait until the limit is raised or the recording stopped */
};

struct recorder_options {
	const char *path; /* its name, for messages too */
	/*
	 * > 0: an empty file, open for writing, that is or will be at path; borrowed until
	 * recorder_create() returns. 0: it is made at path, with mode 0600; must not exist.
	 */
	int fd;
	bool data; /* RECORD_DATA */
	/*
	 * Bytes of the file; 0: none. What is in the rings when it is reached is still written, so
	 * the file may grow past it by their sum (RECORDER_STOP) or by a ring (RECORDER_BLOCK).
	 */
	uint64_t limit_bytes;
	enum recorder_full full;
	/*
	 * This process has ended the recording before its time, in order or not; once, from any of
	 * its threads. May be NULL. @message is one sentence.
	 */
	void (*ended)(void *ctx, const char *message);
	void *ctx;
	uint32_t ring_bytes; /* of each queue: a power of two; 0: the default */
};

enum recorder_state {
	RECORDER_RECORDING,
	RECORDER_FULL,   /* RECORDER_BLOCK: the limit is reached, queues wait */
	RECORDER_ENDED,  /* in order, before its time: by its limit or on command */
	RECORDER_FAILED, /* the file could not be written */
};

struct recorder_status {
	enum recorder_state state;
	/* Of the disks of this process; of recorder_close(): of the whole recording. */
	uint64_t nr_requests;
	uint64_t nr_waits; /* times that a queue found its ring full and waited */
	uint64_t file_bytes;
	uint64_t limit_bytes; /* 0: none */
	uint64_t nr_marks;
	int error;           /* -errno that ended the recording; 0: none */
	enum record_why why; /* of RECORDER_ENDED */
	bool data;
	bool closed; /* of recorder_close() by its maker: the file ends with a CLOSE */
};

/* Makes the file and starts the writer. -EEXIST, another -errno of open or write, -ENOMEM. */
int recorder_create(const struct recorder_options *options, struct diag *diag,
		    struct recorder **ret_recorder);
/*
 * Another process's recording: descriptors as recorder_fds() gave them there, inherited; owned from
 * here on, also on error. Only ended, ctx and ring_bytes of @options count. -EINVAL: they are none.
 */
int recorder_join(const int fds[2], const struct recorder_options *options, struct diag *diag,
		  struct recorder **ret_recorder);
/* To be inherited (they are close-on-exec): the file, and what is shared. Borrowed. */
void recorder_fds(const struct recorder *recorder, int ret_fds[2]);

/*
 * Add a disk, before its first request; @disk->start_ns is set here. The handle is for one
 * pipeline, and lives until the recorder is closed. -EINVAL: no such disk can be (words), -ENOSPC:
 * RECORD_DISKS_MAX of them; -ENOMEM. One thread at a time.
 */
int recorder_add_disk(struct recorder *recorder, const struct record_disk *disk, struct diag *diag,
		      struct recorder_disk **ret_disk);
/*
 * Content that the disk has before its first request. @at and @len: multiples of 512, inside the
 * disk (asserted). Zeroes need not be told. Nothing in a recording without data. 0; the -errno that
 * ended the recording; -ENOMEM.
 */
int recorder_base(struct recorder_disk *disk, uint64_t at, const void *bytes, size_t len);

/*
 * End it, once no queue of this process runs any more, and free it. NULL allowed; returns NULL.
 * Whoever made it closes it last, and in order: the file then ends with a CLOSE, unless the writer
 * of another process was killed. *ret_status (may be NULL): how it went.
 */
struct recorder *recorder_close(struct recorder *recorder, struct recorder_status *ret_status);

/* ------------------------------------------------------------------------------ any thread */

void recorder_status(struct recorder *recorder, struct recorder_status *ret_status);
/* Readable after each change of the state; recorder_event_seen() takes note. Borrowed. */
int recorder_event_fd(const struct recorder *recorder);
void recorder_event_seen(struct recorder *recorder);
/*
 * A mark: *ret_step is behind every request whose completion anyone had seen before the call.
 * -EINVAL: no text of a mark (words); -ENODATA: the recording has ended (words); -ENOMEM, or the
 * -errno that ended it now.
 */
int recorder_mark(struct recorder *recorder, uint64_t now_ns, const char *text, size_t len,
		  struct diag *diag, uint64_t *ret_mark, uint64_t *ret_step);
/* Raise or lower the limit (0: none); a lower one than the file is reached at once. */
void recorder_set_limit(struct recorder *recorder, uint64_t limit_bytes);
/* End it in order. Queues that wait go on. */
void recorder_stop(struct recorder *recorder);
/*
 * RECORDER_BLOCK: false: no queue of this process waits at the limit from here on, until true; what
 * they record until then is written beyond it. For whoever is about to wait for the queues.
 */
void recorder_let_wait(struct recorder *recorder, bool may);

/* ------------------------------------------------------------------------------ for pipelines */

struct recorder *recorder_of(const struct recorder_disk *disk);
/* What a queue of such a disk takes. */
uint32_t recorder_ring_bytes(bool data, uint32_t max_io_bytes);

/* What became of a request at once. */
enum recorder_course {
	RECORDER_DONE,
	RECORDER_PARKED,
	RECORDER_UNREACHED, /* done, with an error: the disk had no power, or was gone */
};

/* The queue's thread, in this order: a request arrives, rules act on it, it is done or parked. */
void recorder_arrive(struct recorder_disk *disk, struct io *io);
void recorder_hit(struct recorder_disk *disk, const struct io *io, const struct record_hit *hit);
void recorder_walked(struct recorder_disk *disk, struct io *io, uint64_t now_ns,
		     enum recorder_course course);
/* A parked request ended. */
void recorder_end(struct recorder_disk *disk, const struct io *io, uint64_t now_ns, bool released);
/* The results of all that ended on this queue are about to become known. */
void recorder_batch_done(struct recorder_disk *disk, uint16_t queue);
void recorder_adopt(struct recorder_disk *disk, uint16_t queue, uint64_t epoch);
/* Control thread. The set is about to be published; gives new rules their numbers. */
void recorder_rules(struct recorder_disk *disk, const struct rule_set *set, uint64_t epoch,
		    uint64_t now_ns);
/*
 * The disk is about to be brought back. @cut: the power was off, and this is what the disk holds
 * now; NULL: it was not. No request is under way.
 */
void recorder_revive(struct recorder_disk *disk, struct store *cut);
/* A command is about to be given to the rule. */
struct kind_tell;
void recorder_tell(struct recorder_disk *disk, const struct rule *rule,
		   const struct kind_tell *tell);

#endif
