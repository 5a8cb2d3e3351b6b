/* SPDX-License-Identifier: MIT */
/* The bytes of the record file, shared by the two sides of it. */
#ifndef FAULTS_RECORD_CODE_H
#define FAULTS_RECORD_CODE_H

#include <stdint.h>

/* First byte of a record in the stream of a queue: the low three bits say what it is. */
enum record_code {
	CODE_OP_MASK = 7, /* 0 to 4: a request of that enum io_op */
	CODE_END = 5,
	CODE_ADOPT = 6,
	CODE_BATCH = 7,
	/* Of a request. */
	CODE_FLAGS = 1 << 3,    /* its flags follow */
	CODE_PARKED = 1 << 4,   /* it waits: an END will follow */
	CODE_HITS = 1 << 5,     /* rules acted on it */
	CODE_RESULT = 1 << 6,   /* its result follows: it is not that of success */
	CODE_SAME_LEN = 1 << 7, /* it is as long as the one before it */
	/* Among its flags, far from those of the block layer. */
	CODE_REFUSED = 1 << 28,
	CODE_UNREACHED = 1 << 29,
	/* Of an END; CODE_RESULT too. */
	CODE_RELEASED = 1 << 4,
	CODE_END_REFUSED = 1 << 5,
	/* Of a rule in a set. */
	CODE_FRESH = 1 << 0,
	CODE_ENABLED = 1 << 1,
};

/* Byte before the data of a write or of a base. */
enum record_content { CONTENT_UNKNOWN, CONTENT_BYTES, CONTENT_ZEROES, CONTENT_NR };

/* First byte of the other records: what it is, by enum record_type less RECORD_RULES. */
#define CODE_OF_CONTROL(type) ((unsigned char)((type)-RECORD_RULES))

static inline void put_le(unsigned char *to, uint64_t n, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		to[i] = (unsigned char)(n >> 8 * i);
}

static inline uint64_t get_le(const unsigned char *from, unsigned int bytes)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < bytes; i++)
		n |= (uint64_t)from[i] << 8 * i;
	return n;
}

#endif
