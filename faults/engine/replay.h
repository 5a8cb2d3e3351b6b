/* SPDX-License-Identifier: MIT */
/*
 * A recording done again, without a kernel: the same rules at the same places, the same requests in
 * the same order at the recorded times, each disk through a pipeline and a store of its own. What
 * writes bring is that of the recording, where it has data; else it is made up from the request's
 * number and the sector.
 */
#ifndef FAULTS_ENGINE_REPLAY_H
#define FAULTS_ENGINE_REPLAY_H

#include "faults/engine/pipeline.h"
#include "faults/record/record.h"

struct replay_options {
	/*
	 * The recorded decisions are applied. Without, the rules decide anew and are compared with
	 * them: the two can differ where a rule asks what a recording does not hold (data, libfiu)
	 * or where queues that ran at once raced for a rule's next match number.
	 */
	bool forced;
	/* Every hit, those of one disk in order. May be NULL. */
	void (*event)(void *ctx, const struct record_disk *disk, const struct event *event);
	/* So much of the recording is read: before each of its records. May be NULL. */
	void (*progress)(void *ctx, uint64_t read_bytes);
	/* After all: what each disk holds. -errno ends the replay with it. May be NULL. */
	int (*image)(void *ctx, const struct record_disk *disk, struct store *store);
	void *ctx;
};

struct replay_result {
	uint64_t nr_requests, nr_hits, nr_rule_sets;
	uint64_t nr_unfinished; /* of the requests: no end of them is recorded */
	uint64_t nr_marks;
	bool differs;
	struct diag difference; /* the first one; the replay ended there */
};

/*
 * All of what is good of a recording. 0, also for one that differs; -EBADMSG: its records do not
 * belong together, or its rules are none; the -errno of making the disk. Words in @diag.
 */
int replay_run(struct record_reader *reader, const struct replay_options *options,
	       struct diag *diag, struct replay_result *ret_result);

/* ------------------------------------------------------------------------------ parts of it */

/* The rules of a recording by their numbers; they live until it is freed. */
struct replay_rules {
	struct rule **rules;
	size_t nr, max;
};

void replay_rules_free(struct replay_rules *rules);
/* The set that a record of type RULES describes. -EBADMSG, -ENOMEM. */
int replay_rules_set(struct replay_rules *rules, const struct record *record, struct diag *diag,
		     struct rule_set **ret_set);
/* What is recorded for a request; @decisions has room for RULE_SET_MAX. -EBADMSG. */
int replay_decisions(const struct replay_rules *rules, const struct record *record,
		     struct decision *decisions, struct diag *diag);
/* A command to a rule, done again. What it answered is not recorded. -EBADMSG. */
int replay_tell(const struct replay_rules *rules, const struct record *record, struct diag *diag);
/* The pipeline options of a recorded disk. */
struct pipeline_options replay_pipeline(const struct record_disk *disk);
/* Content that was there before the first request. */
void replay_base(struct store *store, const struct record *record);
/* What write number @number (of all requests, from 1) brings for bytes [at, at+len) of the disk. */
void replay_pattern(uint64_t number, uint64_t at, void *to, size_t len);
/* "request 17 (write 4k at sector 8)" */
#define REPLAY_NAME_MAX 96
const char *replay_name(uint64_t number, uint8_t op, uint64_t sector, uint32_t len_bytes,
			char buf[REPLAY_NAME_MAX]);
/* "success", "EIO" */
const char *replay_result_name(int result);

#endif
