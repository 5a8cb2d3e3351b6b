/* SPDX-License-Identifier: MIT */
/*
 * Writes the record file of a disk while it serves. A pipeline that was given a recorder calls it;
 * each queue has a ring of bytes that a thread of the recorder drains into the file.
 *
 * Nothing is lost: a queue whose ring is full waits for the writer, which is counted. If the file
 * cannot be written, the recording ends there, the file is cut back to its last whole block, the
 * owner is told once, and the disk serves on.
 */
#ifndef FAULTS_RECORDER_H
#define FAULTS_RECORDER_H

#include "faults/record.h"

struct recorder;

struct recorder_options {
	const char *path; /* must not exist; made with mode 0600 */
	struct record_header header;
	/* The recording has ended before its time; from the writer or the control thread. May be
	 * NULL. @message is one sentence. */
	void (*failed)(void *ctx, const char *message);
	void *ctx;
	uint32_t ring_bytes; /* of each queue: a power of two; 0: the default */
};

struct recorder_status {
	uint64_t nr_requests;
	uint64_t file_bytes;
	uint64_t nr_waits; /* times that a queue found its ring full and waited */
	int error;         /* -errno that ended the recording; 0: it goes on */
};

/* Makes the file and starts the writer. -EEXIST, another -errno of open or write, -ENOMEM. */
int recorder_create(const struct recorder_options *options, struct diag *diag,
		    struct recorder **ret_recorder);
/*
 * End the recording in order, once no queue runs any more, and free it. NULL allowed; returns NULL.
 * *ret_status (may be NULL): how it went.
 */
struct recorder *recorder_close(struct recorder *recorder, struct recorder_status *ret_status);
/* Any thread. */
void recorder_status(const struct recorder *recorder, struct recorder_status *ret_status);

/* ------------------------------------------------------------------------------ for pipelines */

/* The queue's thread, in this order: a request arrives, rules act on it, it is done or parked. */
void recorder_arrive(struct recorder *recorder, struct io *io);
void recorder_hit(struct recorder *recorder, const struct io *io, const struct record_hit *hit);
void recorder_walked(struct recorder *recorder, const struct io *io, uint64_t now_ns, bool parked);
/* A parked request ended. */
void recorder_end(struct recorder *recorder, const struct io *io, uint64_t now_ns, bool released);
void recorder_adopt(struct recorder *recorder, uint16_t queue, uint64_t epoch);
/* Control thread. The set is about to be published; gives new rules their numbers. */
void recorder_rules(struct recorder *recorder, const struct rule_set *set, uint64_t epoch,
		    uint64_t now_ns);
void recorder_revive(struct recorder *recorder);
/* A command is about to be given to the rule. */
struct kind_tell;
void recorder_tell(struct recorder *recorder, const struct rule *rule,
		   const struct kind_tell *tell);

#endif
