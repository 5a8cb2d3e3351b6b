/* SPDX-License-Identifier: MIT */
/*
 * A record file that is being written, by one process or several: its steps, its end, its limit,
 * and one block after the other. recorder.c fills the blocks.
 *
 * How it ends. Steps are drawn from one counter, whose top bit says that it is over: whoever ends
 * the recording sets the bit, and thereby knows the last step that anyone has drawn. What was drawn
 * is still written, by all; once as many records are in the file as steps were drawn, the CLOSE
 * follows. If writing fails, nothing follows.
 *
 * As long as something may follow, the file is locked (flock), by the open file that all processes
 * of the recording share: the lock ends with the last of them, however they end.
 */
#ifndef FAULTS_RECORD_RECORDING_H
#define FAULTS_RECORD_RECORDING_H

#include "faults/record/recorder.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#define RECORDING_LINE 64 /* bytes of a cache line */
#define RECORDING_OVER (1ull << 63)

/* In memory that all processes of the recording share. */
struct recording_shared {
	uint64_t magic;
	struct record_header header;
	char path[PATH_MAX]; /* for messages */
	enum recorder_full full;
	pthread_mutex_t lock; /* for whoever writes */
	/* The lock is held. */
	uint64_t nr_written; /* records in the file */
	uint64_t nr_requests, nr_waits;
	bool closed;
	/* Any thread. */
	_Alignas(RECORDING_LINE) _Atomic uint64_t step; /* drawn last; RECORDING_OVER */
	_Alignas(RECORDING_LINE) _Atomic uint64_t file_bytes;
	_Atomic uint64_t limit_bytes;
	_Atomic uint64_t close_step; /* that of the CLOSE; 0: it is not over */
	_Atomic uint64_t nr_marks;
	_Atomic int ending; /* 0: it goes on; -errno; 1 + enum record_why */
	_Atomic uint16_t nr_disks;
};

struct recording {
	struct recording_shared *shared;
	int fds[2];        /* the file; what is shared */
	_Atomic bool ours; /* we have ended it */
};

/* What a block holds, for the counts of the recording. */
struct recording_counts {
	uint64_t records, requests, waits;
};

int recording_create(struct recording *recording, const struct recorder_options *options,
		     struct diag *diag);
int recording_join(struct recording *recording, const int fds[2], struct diag *diag);
/* Once, also after an error of the two above. */
void recording_free(struct recording *recording);

/* The next step, or 0 when it is over. */
static inline uint64_t recording_draw(const struct recording *recording)
{
	uint64_t step =
		atomic_fetch_add_explicit(&recording->shared->step, 1, memory_order_relaxed) + 1;

	return step & RECORDING_OVER ? 0 : step;
}

static inline bool recording_is_over(const struct recording *recording)
{
	return atomic_load_explicit(&recording->shared->step, memory_order_relaxed) &
	       RECORDING_OVER;
}

/* -errno of a recording that failed; else 0. */
static inline int recording_error(const struct recording *recording)
{
	int ending = atomic_load(&recording->shared->ending);

	return ending < 0 ? ending : 0;
}

/* Has the file reached its limit? Not once it is over. */
bool recording_is_full(const struct recording *recording);
/* For the first caller only: @ending as in shared->ending. */
void recording_end(struct recording *recording, int ending);
/* Once all is written that was drawn: the CLOSE. True if the file has one now. */
bool recording_try_close(struct recording *recording, uint64_t now_ns);

/* One block whose payload is @a and then @b; -errno that ended the recording. */
int recording_write(struct recording *recording, uint16_t disk, uint16_t queue, const void *a,
		    size_t a_len, const void *b, size_t b_len, struct recording_counts counts);
/* Describe a disk in the file. -ENOSPC: it has RECORD_DISKS_MAX. */
int recording_add_disk(struct recording *recording, const struct record_disk *disk,
		       uint16_t *ret_index);
/*
 * A record of a control thread, in a block of its own; its data follows. The step is drawn here:
 * 0, and nothing is written, when it is over. -errno: that ended it.
 */
int recording_control(struct recording *recording, struct record *record);
/* A mark, likewise; its number is drawn here, too. */
int recording_mark(struct recording *recording, struct record *record);

#endif
