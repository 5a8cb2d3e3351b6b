/* SPDX-License-Identifier: MIT */
/*
 * One request as the fault engine sees it, whoever brought it: a ublk queue, a test, a simulator.
 *
 * The owner fills in the first part and keeps the io in place until it is finished; the engine owns
 * the rest. Positions are in sectors of 512 bytes, lengths in bytes, here and everywhere.
 */
#ifndef FAULTS_IO_H
#define FAULTS_IO_H

#include "base/units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum io_op { IO_READ, IO_WRITE, IO_FLUSH, IO_DISCARD, IO_ZEROES, IO_NR_OPS };

/*
 * What the block layer may say about a request; the same bits select it in a rule (flags=). The
 * values are those of the ublk ABI, so that a server can pass them on as they come.
 */
enum io_flag {
	IO_FAILFAST_DEV = 1u << 0, /* all three fail-fast bits: read-ahead */
	IO_FAILFAST_TRANSPORT = 1u << 1,
	IO_FAILFAST_DRIVER = 1u << 2,
	IO_META = 1u << 3,    /* file-system metadata */
	IO_FUA = 1u << 5,     /* durable before it completes */
	IO_NOUNMAP = 1u << 7, /* write-zeroes that must keep the blocks allocated */
	IO_SWAP = 1u << 8,    /* swap I/O */
	/* Made by us from the three of fail-fast, in rules only; see io_flags(). */
	IO_READAHEAD = 1u << 30,
};

#define IO_FAILFAST (IO_FAILFAST_DEV | IO_FAILFAST_TRANSPORT | IO_FAILFAST_DRIVER)

struct io;
struct plan;
struct rule;

/* How the engine reaches the data of a request that has no direct pointer. */
struct io_data_ops {
	/* Copy request bytes [offset, offset+len) to @to (a write's data); 0 or -errno. */
	int (*get)(struct io *io, size_t offset, void *to, size_t len);
	/* Copy @from into request bytes [offset, offset+len) (a read's answer); 0 or -errno. */
	int (*put)(struct io *io, size_t offset, const void *from, size_t len);
};

struct io {
	/* Set by the owner before pipeline_submit(). */
	uint64_t sector;
	uint32_t len_bytes; /* 0 only for IO_FLUSH */
	uint8_t op;         /* enum io_op */
	uint16_t queue;
	uint32_t flags;      /* enum io_flag */
	unsigned char *data; /* the data itself, or NULL: then data_ops is used */
	const struct io_data_ops *data_ops;
	/* Owned by the engine from submit until the request is finished. */
	uint64_t due_ns;      /* valid after IO_PARKED: when to call pipeline_resume() */
	int result;           /* valid after IO_DONE: bytes done (or 0) or -errno */
	struct plan *plan;    /* the plan a parked request started under (counted) */
	struct rule *rule;    /* the terminal rule that hit, or NULL */
	uint64_t match;       /* that rule's match number, for seeded decisions */
	uint32_t incarnation; /* of the disk, at its arrival: a power cut ends one */
	uint64_t step;        /* number of its arrival in the recording; 0: not recorded */
	/* Of a request that is held until it is released; in its queue's list of those. */
	bool released;
	bool refused;        /* of a recorded one: the host had no memory for all of it */
	struct rule *holder; /* NULL: not held */
	uint64_t id;         /* number of the hit that holds it */
	uint64_t held_ns;    /* since when */
	struct io *held_next, *held_prev;
};

static inline uint64_t io_start(const struct io *io)
{
	return io->sector << SECTOR_SHIFT;
}

/* The flags that rules see: those of the request, and read-ahead. */
static inline uint32_t io_rule_flags(const struct io *io)
{
	return io->flags | ((io->flags & IO_FAILFAST) == IO_FAILFAST ? IO_READAHEAD : 0);
}

static inline int io_get(struct io *io, size_t offset, void *to, size_t len)
{
	if (!io->data)
		return io->data_ops->get(io, offset, to, len);
	memcpy(to, io->data + offset, len);
	return 0;
}

static inline int io_put(struct io *io, size_t offset, const void *from, size_t len)
{
	if (!io->data)
		return io->data_ops->put(io, offset, from, len);
	memcpy(io->data + offset, from, len);
	return 0;
}

#endif
