/* SPDX-License-Identifier: MIT */
/*
 * What happened to the disks of one recording, in order: the material that states after a power
 * cut are made of. An index in memory; the data stays where it is, in the mapped recording.
 *
 * Steps number everything that happened to the disks, across all of them, from 1: of two things that
 * happened the one with the smaller step came first. The step that users see and give, in every command,
 * file and page, is another number where the journal is that of a recording: the step of the record
 * (record.h), which counts reads and rules as well, and which all that a batch completes shares;
 * journal_shown() and journal_step() translate. A journal is filled, then sealed, then only read; from
 * there on any thread may.
 */
#ifndef FAULTS_JOURNAL_JOURNAL_H
#define FAULTS_JOURNAL_JOURNAL_H

#include "base/diag.h"
#include "faults/io.h"

#define JOURNAL_NEVER     UINT64_MAX
#define JOURNAL_DISKS_MAX 64

struct journal_disk {
	char name[64];
	uint64_t size_bytes;
	uint32_t block_bytes; /* logical block */
	bool cache;           /* volatile: a completed write is durable only once it is flushed */
	bool cache_writes;    /* which loses or keeps whole writes */
	bool cache_order;     /* which keeps the order of the writes */
	/* What it loses or keeps as one; 0, without the two above: nobody told. */
	uint32_t cache_unit_bytes;
};

/* Content that a disk had before anything was recorded; elsewhere it read as zero. */
struct journal_extent {
	uint16_t disk;
	uint64_t at, len_bytes;
	const unsigned char *data;
};

/* A write, discard or write-zeroes. */
struct journal_write {
	uint64_t submit;           /* step at which the disk got it */
	uint64_t complete;         /* step at which the host could first know its end, or NEVER */
	uint64_t at;               /* byte on the disk */
	uint64_t len_bytes;        /* multiple of the logical block */
	const unsigned char *data; /* NULL: the place reads as zero afterwards */
	uint64_t submit_ns, complete_ns;
	uint32_t flags; /* enum io_flag; IO_FUA: durable when it completes */
	uint16_t disk;
	uint8_t op;     /* IO_WRITE, IO_DISCARD, IO_ZEROES */
	bool failed;    /* ended with an error: it may have landed, and guarantees nothing */
	bool false_ack; /* a rule made the disk acknowledge what it did not do */
	/*
	 * No request: what the disk held after a power cut, of a range written before. All such of
	 * one cut are submitted, then completed, with nothing in between; they are FUA. Between the
	 * first step of them and the last there is no moment.
	 */
	bool survivor;
};

struct journal_flush {
	uint64_t submit, complete;
	uint64_t submit_ns, complete_ns;
	uint16_t disk;
	bool failed;
	bool false_ack;
};

struct journal_mark {
	uint64_t step;
	uint64_t time_ns;
	const char *text; /* one line, terminated */
};

/* Everything that happened to the disks, and the marks, in one line: made by journal_seal(). */
enum journal_what {
	JOURNAL_SUBMIT,   /* of a write */
	JOURNAL_COMPLETE, /* of a write, failed or not */
	JOURNAL_FLUSH_SUBMIT,
	JOURNAL_FLUSH_COMPLETE,
	JOURNAL_MARK,
};

struct journal_event {
	uint64_t step;
	uint32_t index; /* of the write, flush or mark */
	uint8_t what;   /* enum journal_what */
};

struct journal {
	/* Hash of all of it: the same recording, whatever its file is called. One that is already
	 * known may be set before journal_seal(), which then does not read all data for it. */
	uint64_t id;
	uint32_t nr_disks;
	size_t nr_extents, nr_writes, nr_flushes, nr_marks;
	struct journal_disk *disks;
	struct journal_extent *extents; /* by disk and place */
	struct journal_write *writes;   /* by submit step */
	struct journal_flush *flushes;  /* by submit step */
	struct journal_mark *marks;     /* by step */
	size_t nr_events;
	struct journal_event *events; /* by step */
	/* Of the last thing that happened, and the times of the first and the last; may be set
	 * further apart before journal_seal(), for what is not in here (reads). */
	uint64_t end_step;
	/* By step: that of its record. NULL: users see the steps themselves. */
	uint64_t *shown;
	uint64_t nr_shown, room_shown; /* the steps that have one, 0 included */
	uint64_t start_ns, end_ns;
	bool closed; /* the recording ended in order, not by a kill */
	bool under_way; /* by journal_open(): somebody is still writing it; what was there is in here */
	struct journal_inside *inside;
};

/*
 * The journal of a recording with data. -EINVAL: no recording, one without data, or one whose
 * records contradict each other; -errno of opening or mapping it; words in @diag. One that ends
 * early is read up to there (closed is false), and where is in @diag, though it returns 0.
 */
int journal_open(const char *path, struct diag *diag, struct journal **ret_journal);
struct journal *journal_free(struct journal *journal); /* NULL allowed; returns NULL */
/* Whether its file was cut or written to, or could not be read any more, since journal_open(): then
 * some of what it says was written is something else, and nothing that came of it is to be believed.
 * Any thread. */
bool journal_is_broken(const struct journal *journal);
/* Is all data what it was when the journal was opened? This reads all of it, and so finds what no
 * time of change tells of; of a journal that no file is behind it is. Any thread. */
bool journal_is_as_it_was(const struct journal *journal);

/* What users see of @step; JOURNAL_NEVER is itself. */
uint64_t journal_shown(const struct journal *journal, uint64_t step);
/* The last step that users see as @shown or less; 0: there is none. */
uint64_t journal_step(const struct journal *journal, uint64_t shown);
/* The time of an event of a sealed journal. */
uint64_t journal_event_ns(const struct journal *journal, const struct journal_event *event);

/* ------------------------------------------------------------------------------ by hand */

/* For what does not come from a recording: other logs, tests. -ENOMEM from each; -E2BIG: more disks
 * than JOURNAL_DISKS_MAX, or more than 2^32 - 2 of something. */
int journal_new(struct journal **ret_journal);
/* Each copies *its argument; the data stays the caller's unless it is given by journal_own(). */
int journal_add_disk(struct journal *journal, const struct journal_disk *disk);
int journal_add_extent(struct journal *journal, const struct journal_extent *extent);
int journal_add_write(struct journal *journal, const struct journal_write *write);
int journal_add_flush(struct journal *journal, const struct journal_flush *flush);
int journal_add_mark(struct journal *journal, uint64_t step, uint64_t time_ns, const char *text,
		     size_t len);
/* Users see the steps up to @last that had no such number yet as @shown, which is above those before. */
int journal_show(struct journal *journal, uint64_t last, uint64_t shown);
/* @memory (from malloc) is freed with the journal; on error it is freed at once. */
int journal_own(struct journal *journal, void *memory);
/* The same for a mapping of @size bytes, which is unmapped. */
int journal_own_map(struct journal *journal, void *map, size_t size);
/* Sealed: from here on journal_is_as_it_was() looks. */
void journal_remember(struct journal *journal);
/*
 * Filled: sort (indices are those after it), check, name. -EINVAL in words: two things with one
 * step, step 0, something outside its disk or not of whole blocks, a completion before its
 * submission, extents that overlap, no disk, two disks of one name. Once; -ENOMEM.
 */
int journal_seal(struct journal *journal, struct diag *diag);

#endif
