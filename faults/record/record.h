/* SPDX-License-Identifier: MIT */
/*
 * The record file: every request of one disk or several, what the rules decided about it, how it
 * ended, every rule set put in force, marks, and (RECORD_DATA) what was written.
 * tools/man/faultblk-record.5.scd has it byte by byte.
 *
 *	header | block | block | ...		a block: header with checksum, then records
 *
 * Each queue of each disk writes a stream of records of its own, the control thread of each disk
 * one more, and one more there is for what belongs to no disk; a block holds records of one stream.
 * What gives all of them one order is the step: a number that counts the records of the whole file
 * from 1, drawn where a record begins. A reader takes the streams apart and hands the records out
 * by step; a step that is missing means that the file was cut there.
 *
 * WHAT THE HOST COULD KNOW. In a recording with data a request counts as submitted at the step of
 * its REQUEST. It counts as completed at the first BATCH of its queue that follows its REQUEST, or,
 * if it was parked, its END: BATCH is drawn when results of requests that change the disk are about
 * to be handed to the kernel, so whoever has seen a completion acts at a greater step. This holds
 * across queues and disks; a mark is ordered by it, too.
 */
#ifndef FAULTS_RECORD_RECORD_H
#define FAULTS_RECORD_RECORD_H

#include "base/diag.h"
#include "base/name.h"
#include "faults/io.h"
#include "faults/rule/rule.h"

#define RECORD_MAGIC        "fbrecord"
#define RECORD_BLOCK_MAGIC  0x6b6c6266u /* "fblk" */
#define RECORD_VERSION      3
#define RECORD_VERSION_MIN  2 /* read, too */
#define RECORD_HEADER_BYTES 64
#define RECORD_BLOCK_BYTES  16           /* of a block's header */
#define RECORD_BLOCK_MAX    (128u << 20) /* of what follows it */
#define RECORD_DISKS_MAX    64
#define RECORD_NAME_MAX     NAME_BYTES_MAX /* bytes of a disk's name */
#define RECORD_QUEUES_MAX   4096
#define RECORD_IO_MAX       (32u << 20) /* largest read or write */
#define RECORD_BASE_MAX     (1u << 20)  /* bytes of one BASE record */
#define RECORD_MARK_MAX     4000        /* bytes of a mark's text */
#define RECORD_VERB_MAX     31          /* bytes of a command's verb */

#define RECORD_PLAIN INT32_MAX

enum record_flag {
	/* Of a disk. */
	RECORD_CACHE = 1u << 0, /* a volatile cache stands in front of the store */
	RECORD_READ_ONLY = 1u << 1,
	RECORD_NO_FLUSH = 1u << 2, /* flushes do not arrive */
	RECORD_NO_FUA = 1u << 3,   /* FUA writes do not arrive */
	RECORD_ROTATIONAL = 1u << 4,
	RECORD_USER_COPY = 1u << 5,
	RECORD_CACHE_WRITES = 1u << 6, /* the cache loses or keeps whole writes */
	RECORD_CACHE_ORDER = 1u << 7,  /* it keeps the order of the writes */
	RECORD_ALL_FLAGS = (1u << 8) - 1,
	/* Of the file. */
	RECORD_DATA = 1u << 0, /* writes with their data, BATCH and BASE records */
};

/* The file. */
struct record_header {
	uint64_t id;       /* drawn at random when it was made */
	uint64_t start_ns; /* CLOCK_MONOTONIC; times of records count from here */
	uint32_t flags;    /* RECORD_DATA */
	uint16_t version;  /* read: from RECORD_VERSION_MIN on; writing always uses the newest */
};

/* One of its disks. */
struct record_disk {
	char name[RECORD_NAME_MAX + 1];
	uint64_t size_bytes;
	uint64_t seed;
	uint64_t start_ns; /* when it was added; at or after that of the file */
	uint32_t block_bytes, physical_bytes;
	uint32_t max_io_bytes;
	uint32_t depth; /* requests in flight for each queue */
	uint32_t flags; /* enum record_flag */
	/* What the cache loses or keeps as one, in bytes: a power of two; 0: it was not told. */
	uint32_t cache_unit_bytes;
	uint16_t nr_queues;
};

/* One rule that acted on a request. */
struct record_hit {
	uint32_t rule; /* number of the rule of this disk in this recording, from 1 */
	bool held;     /* until it is released; at most for delay_ns, if that is not 0 */
	uint64_t match;
	uint64_t delay_ns;
};

/* One rule of a set. */
struct record_rule {
	uint32_t rule; /* its number */
	bool fresh;    /* in force for the first time: here is its text */
	bool enabled;
	const char *text; /* points into the file; not terminated */
	size_t len;
};

enum record_type {
	/* In the stream of a queue. */
	RECORD_REQUEST, /* a request arrived; if it did not park, it also ended */
	RECORD_END,     /* a parked request ended */
	RECORD_ADOPT,   /* a queue goes by another rule set from here on */
	RECORD_BATCH,   /* all that ended on this queue before is known to the host from here on */
	/* Of a disk. */
	RECORD_RULES,  /* the control thread published a rule set */
	RECORD_REVIVE, /* the disk was brought back */
	RECORD_TELL,   /* a command was given to a rule */
	/* Content that the disk had before its first request (elsewhere zeroes); or after it: that
	 * it holds when the power is on again, as the next REVIVE with after_cut says. */
	RECORD_BASE,
	/* Of the recording. */
	RECORD_MARK,  /* somebody said something */
	RECORD_CLOSE, /* the last record of a recording that ended in order */
};

/* Why a recording ended in order. */
enum record_why {
	RECORD_WHY_DONE,    /* its disks were taken away */
	RECORD_WHY_LIMIT,   /* the file reached its limit; the disks served on */
	RECORD_WHY_STOPPED, /* on command; the disks served on */
	RECORD_NR_WHYS,
};

struct record {
	enum record_type type;
	uint64_t step;
	uint64_t time_ns; /* not of ADOPT and BATCH */
	uint16_t disk;    /* not of MARK and CLOSE */
	uint16_t queue;   /* of the types in the stream of a queue */
	/* REQUEST */
	uint8_t op;
	bool parked;
	bool unreached; /* it came to a disk without power or body: nothing of it was done */
	uint32_t flags;
	uint32_t len_bytes;
	uint64_t sector;
	uint32_t nr_hits;
	const struct record_hit *hits; /* valid until the next record is read */
	/*
	 * REQUEST of a write in a file with RECORD_DATA, as the request brought it, and BASE:
	 * len_bytes of it, straight in the file; NULL: zeroes, or nothing is known (no_data).
	 */
	const unsigned char *data;
	bool no_data; /* the data could not be had from the kernel, and the write failed with it */
	/* END, and REQUEST unless parked */
	bool refused; /* the host had no memory for all of it, and nothing of that was done */
	int result;   /* RECORD_PLAIN in an END: that of success, which the request tells */
	/* END */
	uint64_t arrival; /* the request's step */
	bool released;    /* by command, before its time */
	/* REVIVE: the power had been off, and every place that was written since the disk was
	 * there, or since the last such REVIVE, has been told by a BASE. */
	bool after_cut;
	/* RULES and ADOPT */
	uint64_t epoch;
	/* RULES */
	uint32_t nr_rules;
	const struct record_rule *rules; /* valid until the next record is read */
	/* TELL: the range. BASE: from; len_bytes are there. */
	uint32_t rule;
	bool has_range;
	uint64_t from, to;
	char verb[RECORD_VERB_MAX + 1];
	/* MARK */
	uint64_t mark;    /* its number, from 1 */
	const char *text; /* UTF-8 without control characters, in the file; not terminated */
	size_t text_len;
	/* CLOSE */
	enum record_why why;
	uint64_t nr_requests;
	uint64_t nr_waits; /* times that a queue waited for the writer */
};

/* What a request that was carried out whole ends with. */
static inline int record_plain_result(uint8_t op, uint32_t len_bytes)
{
	return op <= IO_WRITE ? (int)len_bytes : 0;
}

/* ------------------------------------------------------------------------------ reading */

struct record_reader;

/*
 * @bytes (borrowed; must outlive the reader and all data that it gave) is a whole file, mapped as a
 * rule. -EINVAL: no record file, one of another version, or a header that makes no sense; the words
 * are in @diag. All blocks are checked here; damage further on is no error of this call, see
 * record_reader_end(). Takes memory for each block and each stream, none for data.
 */
int record_reader_open(const void *bytes, size_t size, struct diag *diag,
		       struct record_reader **ret_reader);
struct record_reader *record_reader_free(struct record_reader *reader); /* NULL allowed */
const struct record_header *record_reader_header(const struct record_reader *reader);
/* Those of all blocks that are good, numbered from 0 as record.disk is; may be 0. */
uint16_t record_reader_nr_disks(const struct record_reader *reader);
const struct record_disk *record_reader_disk(const struct record_reader *reader, uint16_t disk);
/* The next record in the order of steps: 1; 0 at the end of what is good; -ENOMEM. */
int record_reader_next(struct record_reader *reader, struct record *ret_record);
/* How many bytes of the file those took. */
uint64_t record_reader_read(const struct record_reader *reader);
/*
 * After a 0 of the above: 0 for a recording that was closed in order; -ENODATA for one that ends
 * early (its server was killed, or could not write on); -EBADMSG for a damaged one. Both say in
 * @diag how far the file is good.
 */
int record_reader_end(const struct record_reader *reader, struct diag *diag);

/* ------------------------------------------------------------------------------ writing */

/* The stream of a disk's control thread, and the disk of the stream that belongs to none. */
#define RECORD_CONTROL UINT16_MAX
#define RECORD_NOBODY  UINT16_MAX
/* Not a stream: the block describes the next disk. */
#define RECORD_IS_DISK (UINT16_MAX - 1)

/*
 * What a record in the stream of a queue is relative to. Starts as record_stream_start(). A block
 * of a control thread holds whole records, each block beginning with a fresh start.
 */
struct record_stream {
	uint64_t step, time_ns, next_sector;
	uint32_t len_bytes;
	bool data; /* of the file: RECORD_DATA */
};

static inline struct record_stream record_stream_start(const struct record_header *header)
{
	return (struct record_stream){ .time_ns = header->start_ns,
				       .data = header->flags & RECORD_DATA };
}

#define RECORD_HIT_MAX     25 /* bytes of one encoded hit, at most */
#define RECORD_REQUEST_MAX 64 /* of a request or an end without its hits and data */
#define RECORD_DISK_BYTES  (56 + RECORD_NAME_MAX + 1)

/* Each writes at most the bytes named above at @to and returns the byte behind. */
unsigned char *record_put_hit(unsigned char *to, const struct record_hit *hit);
/*
 * The hits follow it, record->nr_hits of them, and then the record->len_bytes of data of a write,
 * if the stream has data, record->data is not NULL (what it points to does not matter here), and
 * not record->no_data. Types REQUEST, END, ADOPT and BATCH.
 */
unsigned char *record_put(unsigned char *to, struct record_stream *stream,
			  const struct record *record);
/*
 * The other types, rules not at all bounded; caller frees *ret_bytes. The data of a BASE follows
 * it. -ENOMEM.
 */
int record_put_control(const struct record_header *header, const struct record *record,
		       unsigned char **ret_bytes, size_t *ret_len);
void record_put_header(unsigned char to[RECORD_HEADER_BYTES], const struct record_header *header);
void record_put_disk(unsigned char to[RECORD_DISK_BYTES], const struct record_disk *disk);
/* Could there be such a disk? NULL, or what of it makes no sense. Its name is one: base/name.h. */
const char *record_disk_fault(const struct record_disk *disk);
/* -EINVAL in words: no text of a mark. */
int record_check_mark(const char *text, size_t len, struct diag *diag);
/* The header of a block whose payload is @a and then @b (@b_len may be 0). */
void record_put_block(unsigned char to[RECORD_BLOCK_BYTES], uint16_t disk, uint16_t queue,
		      const void *a, size_t a_len, const void *b, size_t b_len);
/* CRC-32C, carried on from @crc; begin with 0. */
uint32_t record_crc(uint32_t crc, const void *bytes, size_t len);
/* The same without the CPU's instruction for it. */
uint32_t record_crc_portable(uint32_t crc, const void *bytes, size_t len);

#endif
