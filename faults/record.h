/* SPDX-License-Identifier: MIT */
/*
 * The record file: every request of a disk, what the rules decided about it, how it ended, and
 * every rule set put in force. tools/man/faultblk-record.5.scd has it byte by byte.
 *
 *	header | block | block | ...		a block: header with checksum, then records
 *
 * Each queue writes a stream of records of its own, the control thread one more; a block holds
 * records of one stream. What gives all of them one order is the step: a number that counts the
 * records of the whole disk from 1, drawn where a record begins. A reader takes the streams apart
 * and hands the records out by step; a step that is missing means that the file was cut there.
 */
#ifndef FAULTS_RECORD_H
#define FAULTS_RECORD_H

#include "base/diag.h"
#include "faults/io.h"
#include "faults/rule.h"

#define RECORD_MAGIC        "fbrecord"
#define RECORD_BLOCK_MAGIC  0x6b6c6266u /* "fblk" */
#define RECORD_VERSION      1
#define RECORD_HEADER_BYTES 64
#define RECORD_BLOCK_BYTES  16          /* of a block's header */
#define RECORD_BLOCK_MAX    (32u << 20) /* of what follows it */
#define RECORD_QUEUES_MAX   4096
#define RECORD_IO_MAX       (32u << 20) /* largest read or write */
#define RECORD_VERB_MAX     31          /* bytes of a command's verb */

#define RECORD_PLAIN INT32_MAX

enum record_flag {
	RECORD_CACHE = 1u << 0, /* a volatile cache stands in front of the store */
	RECORD_READ_ONLY = 1u << 1,
	RECORD_NO_FLUSH = 1u << 2, /* flushes do not arrive */
	RECORD_NO_FUA = 1u << 3,   /* FUA writes do not arrive */
	RECORD_ROTATIONAL = 1u << 4,
	RECORD_USER_COPY = 1u << 5,
	RECORD_ALL_FLAGS = (1u << 6) - 1,
};

/* The disk. */
struct record_header {
	uint64_t size_bytes;
	uint64_t seed;
	uint64_t start_ns; /* times of records count from here */
	uint32_t block_bytes, physical_bytes;
	uint32_t max_io_bytes;
	uint32_t depth; /* requests in flight for each queue */
	uint32_t flags; /* enum record_flag */
	uint16_t nr_queues;
};

/* One rule that acted on a request. */
struct record_hit {
	uint32_t rule; /* number of the rule in this recording, from 1 */
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
	RECORD_REQUEST, /* a request arrived; if it did not park, it also ended */
	RECORD_END,     /* a parked request ended */
	RECORD_ADOPT,   /* a queue goes by another rule set from here on */
	RECORD_RULES,   /* the control thread published a rule set */
	RECORD_REVIVE,  /* the disk was brought back */
	RECORD_TELL,    /* a command was given to a rule */
	RECORD_CLOSE,   /* the last record of a recording that ended in order */
};

struct record {
	enum record_type type;
	uint64_t step;
	uint64_t time_ns; /* not of ADOPT */
	uint16_t queue;   /* of the first three types */
	/* REQUEST */
	uint8_t op;
	bool parked;
	uint32_t flags;
	uint32_t len_bytes;
	uint64_t sector;
	uint32_t nr_hits;
	const struct record_hit *hits; /* valid until the next record is read */
	/* END, and REQUEST unless parked */
	int result; /* RECORD_PLAIN in an END: that of success, which the request tells */
	/* END */
	uint64_t arrival; /* the request's step */
	bool released;    /* by command, before its time */
	/* RULES and ADOPT */
	uint64_t epoch;
	/* RULES */
	uint32_t nr_rules;
	const struct record_rule *rules; /* valid until the next record is read */
	/* TELL */
	uint32_t rule;
	bool has_range;
	uint64_t from, to;
	char verb[RECORD_VERB_MAX + 1];
	/* CLOSE */
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
 * @bytes (borrowed; must outlive the reader) is a whole file. -EINVAL: no record file, one of
 * another version, or a header that makes no sense; the words are in @diag. All blocks are checked
 * here; damage further on is no error of this call, see record_reader_end().
 */
int record_reader_open(const void *bytes, size_t size, struct diag *diag,
		       struct record_reader **ret_reader);
struct record_reader *record_reader_free(struct record_reader *reader); /* NULL allowed */
const struct record_header *record_reader_header(const struct record_reader *reader);
/* The next record in the order of steps: 1; 0 at the end of what is good; -ENOMEM. */
int record_reader_next(struct record_reader *reader, struct record *ret_record);
/*
 * After a 0 of the above: 0 for a recording that was closed in order; -ENODATA for one that ends
 * early (its server was killed, or could not write on); -EBADMSG for a damaged one. Both say in
 * @diag how far the file is good.
 */
int record_reader_end(const struct record_reader *reader, struct diag *diag);

/* ------------------------------------------------------------------------------ writing */

/* What one stream's records are relative to. Starts as record_stream_start(). */
struct record_stream {
	uint64_t step, time_ns, next_sector;
	uint32_t len_bytes;
};

static inline struct record_stream record_stream_start(const struct record_header *header)
{
	return (struct record_stream){ .time_ns = header->start_ns };
}

#define RECORD_HIT_MAX     25 /* bytes of one encoded hit, at most */
#define RECORD_REQUEST_MAX 64 /* of a request or an end without its hits */

/* Each writes at most the bytes named above at @to and returns the byte behind. */
unsigned char *record_put_hit(unsigned char *to, const struct record_hit *hit);
/* The hits follow it, record->nr_hits of them. Types REQUEST, END and ADOPT. */
unsigned char *record_put(unsigned char *to, struct record_stream *stream,
			  const struct record *record);
/* The other types, hits and rules not at all bounded; caller frees *ret_bytes. -ENOMEM. */
int record_put_control(struct record_stream *stream, const struct record *record,
		       unsigned char **ret_bytes, size_t *ret_len);
void record_put_header(unsigned char to[RECORD_HEADER_BYTES], const struct record_header *header);
/* The header of a block whose payload is @a and then @b (@b_len may be 0). */
void record_put_block(unsigned char to[RECORD_BLOCK_BYTES], uint16_t stream, const void *a,
		      size_t a_len, const void *b, size_t b_len);
/* CRC-32C, carried on from @crc; begin with 0. */
uint32_t record_crc(uint32_t crc, const void *bytes, size_t len);

#endif
