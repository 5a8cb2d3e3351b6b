// SPDX-License-Identifier: MIT
#include "options.h"

#include "abi.h"
#include "base/cleanup.h"
#include "data_path.h"

#include <inttypes.h>
#include <unistd.h>

#define MAX_PDU_BYTES   (1u << 20)
#define MAX_ID          ((1u << 20) - 1) /* the kernel's minor numbers */
#define MAX_RANGE_BYTES (1ull << 31) /* discard, write-zeroes: below the block layer's 32 bits */

void ublk_options_init(struct ublk_options *options)
{
	*options = (struct ublk_options){
		.id = -1,
		.nr_queues = 1,
		.queue_depth = 128,
		.logical_block = 512,
		.physical_block = 4096,
		.max_io_bytes = 512 << 10,
		.discard_granularity = 4096,
		.max_discard_bytes = 2ull << 30,
		.max_zeroes_bytes = 1 << 30,
		.volatile_cache = true,
		.fua = true,
		.close_timeout_ms = 5000,
	};
}

bool backend_does(const struct ublk_backend *backend, enum ublk_op op)
{
	const bool sync[UBLK_NR_OPS] = {
		[UBLK_OP_READ] = backend->read,
		[UBLK_OP_WRITE] = backend->write,
		[UBLK_OP_FLUSH] = backend->flush,
		[UBLK_OP_DISCARD] = backend->discard,
		[UBLK_OP_WRITE_ZEROES] = backend->write_zeroes,
	};

	return sync[op] || (backend->submit && (backend->submit_ops & (1u << op)));
}

/* One bounded number. A multiple of 0 means any; is_pow2 is checked after the range. */
struct range {
	const char *name;
	uint64_t value, min, max;
	uint64_t multiple;
	const char *of; /* what the multiple is */
	bool is_pow2;
};

static int check_range(const struct range *r, const struct logger *log)
{
	if (r->value < r->min || r->value > r->max)
		return log_error(log, -EINVAL,
				 "%s is %" PRIu64 ", it must lie in %" PRIu64 "..%" PRIu64, r->name,
				 r->value, r->min, r->max);
	if (r->is_pow2 && (r->value & (r->value - 1)))
		return log_error(log, -EINVAL, "%s is %" PRIu64 ", it must be a power of two",
				 r->name, r->value);
	if (r->multiple && r->value % r->multiple)
		return log_error(log, -EINVAL,
				 "%s is %" PRIu64 ", it must be a multiple of the %s, %" PRIu64
				 " bytes",
				 r->name, r->value, r->of, r->multiple);
	return 0;
}

static int check_backend(const struct ublk_backend *be, const struct logger *log)
{
	const struct range pdu = { "pdu_bytes", be->pdu_bytes, 0, MAX_PDU_BYTES, 0, NULL, false };

	if (!be->name)
		return log_error(log, -EINVAL, "the backend has no name; messages need one");
	if (!backend_does(be, UBLK_OP_READ))
		return log_error(log, -EINVAL,
				 "backend \"%s\" cannot read: give it a read callback, or submit "
				 "with UBLK_OP_READ in submit_ops",
				 be->name);
	if (be->submit_ops && !be->submit)
		return log_error(log, -EINVAL,
				 "backend \"%s\" has submit_ops but no submit callback", be->name);
	if (be->submit_ops >> UBLK_NR_OPS)
		return log_error(
			log, -EINVAL,
			"backend \"%s\" has bits in submit_ops (0x%x) that are not in enum ublk_op",
			be->name, be->submit_ops);
	return check_range(&pdu, log);
}

/* What the backend cannot do is not offered, whatever the options say. */
static void settle_backend(struct ublk_options *o, const struct ublk_backend *be)
{
	o->read_only |= !backend_does(be, UBLK_OP_WRITE);
	o->volatile_cache &= backend_does(be, UBLK_OP_FLUSH);
	o->fua &= o->volatile_cache;
	if (!backend_does(be, UBLK_OP_DISCARD))
		o->max_discard_bytes = 0;
	if (!backend_does(be, UBLK_OP_WRITE_ZEROES))
		o->max_zeroes_bytes = 0;
}

int options_settle(struct ublk_options *o, const struct ublk_backend *be, const struct logger *log)
{
	const char *lb = "logical block", *pg = "page size";
	uint64_t lbs = o->logical_block;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t cpus = (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
	const struct range ranges[] = {
		{ "logical_block", lbs, 512, page, 0, NULL, true },
		{ "physical_block", o->physical_block, lbs, 1 << 20, 0, NULL, true },
		{ "size_bytes", o->size_bytes, lbs, INT64_MAX, lbs, lb, false },
		{ "nr_queues", o->nr_queues, 1, cpus, 0, NULL, false },
		{ "queue_depth", o->queue_depth, 1, ABI_MAX_QUEUE_DEPTH, 0, NULL, false },
		/* The driver rounds it down to pages, in silence. */
		{ "max_io_bytes", o->max_io_bytes, page, ABI_MAX_IO_BYTES, page, pg, false },
		{ "discard_granularity", o->discard_granularity, lbs, 1 << 30, lbs, lb, true },
		{ "max_discard_bytes", o->max_discard_bytes, 0, MAX_RANGE_BYTES, lbs, lb, false },
		{ "max_zeroes_bytes", o->max_zeroes_bytes, 0, MAX_RANGE_BYTES, lbs, lb, false },
		{ "close_timeout_ms", o->close_timeout_ms, 0, 600000, 0, NULL, false },
	};
	int err = check_backend(be, log);

	for (size_t i = 0; i < array_size(ranges) && !err; i++)
		err = check_range(&ranges[i], log);
	if (!err && (o->id < -1 || o->id > (int)MAX_ID))
		err = log_error(log, -EINVAL, "id is %d, it must be -1 (any) or lie in 0..%u",
				o->id, MAX_ID);
	if (!err && !data_path_find(o->data_path))
		err = log_error(log, -EINVAL, "data_path is %d, it must be an enum ublk_data_path",
				(int)o->data_path);
	if (err)
		return err;
	settle_backend(o, be);
	/* As the block layer does. */
	if (o->discard_granularity < o->physical_block)
		o->discard_granularity = o->physical_block;
	return 0;
}
