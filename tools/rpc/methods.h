/* SPDX-License-Identifier: MIT */
/*
 * The methods of the control socket: from a request to its answer, without I/O. With a disk they
 * act on it; without one (tests, fuzzing) rules, explain and faults act on a bare pipeline.
 */
#ifndef TOOLS_RPC_METHODS_H
#define TOOLS_RPC_METHODS_H

#include "tools/disk/disk.h"
#include "tools/disk/image_job.h"
#include "tools/rpc/server.h"

struct watch;
struct rpc_reading;

/* How the power goes. */
struct cut_order {
	struct power_cut cut;
	bool vanish;      /* the device leaves the machine, too */
	bool unplug;      /* only that: the power stays */
	uint64_t gone_ns; /* with unplug: it comes back by itself after so long; 0: on command */
};

struct rpc_target {
	struct pipeline *pipeline;
	struct rule_geometry geometry;
	const char *name;
	const char *socket; /* path, for status; may be NULL */
	struct disk *disk;  /* NULL: status, stats, stop, disk.* and held.release are not there */
	struct rpc_reading *reading; /* reads the files that rules name; NULL: the method does */
	struct watch *watch;         /* NULL: rules.wait and events.subscribe are not there */
	/*
	 * Begin to take the disk away. 0: it is gone; -EINPROGRESS: @ticket was taken over (client
	 * and id) and is answered later; other -errno: refused, words in @diag.
	 */
	int (*stop)(void *ctx, bool force, struct rpc_ticket *ticket, struct diag *diag);
	/*
	 * Bring the disk back; *ret_was: the condition bits that it was in. -EINPROGRESS: @ticket
	 * was taken over, as by stop, and is answered with rpc_revive_answer(). 0 or -errno.
	 */
	int (*revive)(void *ctx, struct rpc_ticket *ticket, struct diag *diag, uint32_t *ret_was,
		      uint64_t *ret_lost);
	/*
	 * Stop the queues, and keep them so for @client (as in tickets) until it cuts the power or
	 * thaws, is gone, or RPC_FREEZE_MS are over; if it sent a ballot along, that decides, and the
	 * cut is as @order says. 0 or -errno, words in @diag.
	 */
	int (*freeze)(void *ctx, uint64_t client, const struct cut_order *order, struct diag *diag);
	/* False: they were not stopped for @client, or are not any more. */
	bool (*thaw)(void *ctx, uint64_t client);
	/*
	 * Cut the power; as disk_crash(). @client: of the disk that is frozen for it, -ESTALE if it
	 * is not; 0: of one that is not frozen. *order becomes what was carried out.
	 */
	int (*crash)(void *ctx, uint64_t client, struct cut_order *order, struct diag *diag,
		     struct power_cut_result *ret_result);
	/* Begin to write or read an image. -EINPROGRESS: @ticket was taken over, as by stop; else
	 * -errno, words in @diag; -EBUSY: one is under way. */
	int (*image)(void *ctx, const struct image_request *request, struct rpc_ticket *ticket,
		     struct diag *diag);
	/*
	 * Answer @ticket with @result (both taken over) once the device, which was removed, has
	 * left the machine. NULL: it has when crash returns.
	 */
	void (*when_gone)(void *ctx, struct rpc_ticket *ticket, json_t *result);
	/*
	 * The content has changed without a request: the kernel is to look at the disk again.
	 * -EINPROGRESS: @ticket and @result were taken over, and are the answer, with
	 * rpc_add_table(), once it has. 0: it cannot now, or cannot at all, which @result says.
	 */
	int (*reread)(void *ctx, struct rpc_ticket *ticket, json_t *result);
	/*
	 * The disk's queues are about to end, or to begin, or stand still for somebody else than
	 * @client (0: for anybody): methods that need them wait. NULL: never.
	 */
	bool (*is_changing)(void *ctx, uint64_t client);
	void *ctx;
};

/*
 * Serve one line. *ret_text: the answer with its newline (caller frees), NULL where there is none.
 * @client stands in the ticket of an answer that comes later.
 */
enum rpc_outcome rpc_serve_line(const struct rpc_target *target, uint64_t client, const char *line,
				size_t len, char **ret_text, size_t *ret_len);

/* Parameters of the greeting. New reference. */
json_t *rpc_greeting(const struct rpc_target *target);
/* What the server calls: these two, and who listens to the target's watch. */
extern const struct rpc_service rpc_methods_service;
/* The kinds of faults, as faults.list answers. New reference. */
json_t *rpc_kinds(void);
/* How the recording of the disk goes, as in status; NULL: it is not recorded. New reference. */
json_t *rpc_recording(struct pipeline *pipeline);
/* As rpc_code_of(), for images and snapshots, whose errors are none of rules. */
int rpc_image_code_of(int err);
/* The answer to disk.revive. New reference. */
json_t *rpc_revive_answer(uint32_t was, uint64_t lost_blocks, const char *device);
/*
 * Say in an answer what the kernel knows of the disk now, by an error of reread_disk(). @always: of
 * one that is in use also where it knows of no partitions.
 */
void rpc_add_table(json_t *answer, const struct ublk_dev *dev, int err, bool always);
/* The answer to snapshot.save, image.save and image.load. New reference. */
json_t *rpc_image_answer(uint64_t size_bytes, uint64_t data_bytes);

#endif
