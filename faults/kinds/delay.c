// SPDX-License-Identifier: MIT
/*
 * delay:SHAPE [,max=TIME] [,grow=TIME] [,grow-match=TIME] [,seek=TIME] [,lanes=N]
 *
 * The request is carried out so much later; whatever else the rules decided happens then. A delay
 * of 0 is legal and changes nothing. The shapes, from 64 random bits of the hit, of which u is the
 * share of 2^64:
 *
 *	TIME			that
 *	MIN..MAX		uniform, both ends included
 *	normal=MEAN,dev=SIGMA	MEAN + SIGMA sqrt(-2 ln u) cos(2 pi v), cut at 0; v from more bits
 *	exp=MEAN		-MEAN ln u
 *	pareto=MIN,shape=A	MIN / u^(1/A)
 *	p50=TIME,p99=TIME,...	the curve through these percentiles, at u; straight in between,
 *				level below the first and above the last
 *	file=PATH		the curve that fio measured, at u
 *
 * To that comes what has grown, by the time since the rule was armed and by its match number, and
 * the way of the arm (rule/seek.h) from where the rule's last hit ended, at first from the start of the
 * disk; a flush has no place and moves nothing. Then max cuts, and KIND_DELAY_MAX_NS.
 *
 * With lanes that is for how long the request takes one of them, once its turn has come (rule/lanes.h):
 * it waits as long as that and its time in line. Arrivals make the line, so nothing that happens to
 * a request later, a release or a power cut, lets those behind it move up.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/rng.h"
#include "base/units.h"
#include "faults/disk/apply.h"
#include "faults/rule/fio.h"
#include "faults/rule/fixed.h"
#include "faults/rule/kind.h"
#include "faults/rule/lanes.h"
#include "faults/rule/seek.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#define LIMIT       KIND_DELAY_MAX_NS
#define SHAPE_MIN   0.1
#define SHAPE_SHIFT 20 /* shape= in steps of 2^-20 */

/* The percentiles, from the lowest, in parts per ten thousand. */
#define PERCENTILE(name, share)                                                                    \
	{                                                                                          \
		delay_##name, #name, share                                                         \
	}
static const struct percentile {
	unsigned int param;
	const char *name;
	uint64_t share;
} percentiles[] = {
	PERCENTILE(p0, 0),       PERCENTILE(p50, 5000),   PERCENTILE(p90, 9000),
	PERCENTILE(p95, 9500),   PERCENTILE(p99, 9900),   PERCENTILE(p999, 9990),
	PERCENTILE(p9999, 9999), PERCENTILE(p100, 10000),
};

/* The state of a rule whose shape is a curve, or that has an arm or lanes. */
struct delay {
	struct fio_times times;
	const struct curve *of[IO_NR_OPS]; /* which curve for an operation */
	struct lanes *lanes;               /* NULL: each request by itself */
	_Atomic uint64_t arm_at; /* the byte that the last hit with a place ended before */
};

/* ------------------------------------------------------------------------------ checking */

static unsigned int count_percentiles(const struct kind_args *args)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < array_size(percentiles); i++)
		nr += kind_has(args, percentiles[i].param);
	return nr;
}

static int check_curve(const struct kind_args *args, struct diag *diag)
{
	const struct percentile *last = NULL;

	if (count_percentiles(args) == 1)
		return diag_set(diag, -EINVAL, "rule.missing-parameter",
				"delay wants two percentiles or more for a curve, got one");
	for (size_t i = 0; i < array_size(percentiles); i++) {
		const struct percentile *at = &percentiles[i];
		char a[UNITS_MAX], b[UNITS_MAX];

		if (!kind_has(args, at->param))
			continue;
		if (last && args->value[last->param].lo > args->value[at->param].lo)
			return diag_set(
				diag, -EINVAL, "rule.conflict",
				"delay wants percentiles that rise, but %s=%s is more than %s=%s",
				last->name, units_format_time(args->value[last->param].lo, a),
				at->name, units_format_time(args->value[at->param].lo, b));
		last = at;
	}
	return 0;
}

static int one_shape(const struct kind_args *args, struct diag *diag)
{
	int shapes = kind_has(args, delay_time) + kind_has(args, delay_normal) +
		     kind_has(args, delay_exp) + kind_has(args, delay_pareto) +
		     kind_has(args, delay_file) + (count_percentiles(args) > 0);

	if (shapes == 1)
		return 0;
	diag_set(diag, -EINVAL, shapes ? "rule.conflict" : "rule.missing-parameter",
		 "delay wants %s of TIME, MIN..MAX, normal=, exp=, pareto=, percentiles and file=",
		 shapes ? "only one" : "one");
	diag_hint(diag, "for example do=delay:10ms, do=delay:exp=2ms or do=delay:p50=80us,p99=2ms");
	return -EINVAL;
}

/* Parameters that make sense only beside another one, and those that need one. */
static const struct {
	unsigned int param, beside;
	bool needed;
	const char *says;
} pairs[] = {
	{ delay_dev, delay_normal, true, "normal=MEAN and dev=SIGMA only together" },
	{ delay_shape, delay_pareto, true, "pareto=MIN and shape=A only together" },
	{ delay_job, delay_file, false, "job=NAME only with file=" },
	{ delay_rw, delay_file, false, "rw= only with file=" },
};

static int validate(const struct kind_args *args, struct diag *diag)
{
	for (size_t i = 0; i < array_size(pairs); i++) {
		bool has = kind_has(args, pairs[i].param), beside = kind_has(args, pairs[i].beside);

		if (has != beside && (has || pairs[i].needed))
			return diag_set(diag, -EINVAL,
					has ? "rule.conflict" : "rule.missing-parameter",
					"delay takes %s", pairs[i].says);
	}
	if (one_shape(args, diag) < 0 || check_curve(args, diag) < 0)
		return -EINVAL;
	if (kind_has(args, delay_shape) && args->value[delay_shape].share < SHAPE_MIN)
		return diag_set(diag, -EINVAL, "rule.bad-number",
				"shape wants a number from %g to 100", SHAPE_MIN);
	return 0;
}

/* ------------------------------------------------------------------------------ state */

static void disarm(void *state)
{
	struct delay *delay = state;

	if (!delay)
		return;
	fio_clear(&delay->times);
	lanes_free(delay->lanes);
	free(delay);
}

static int arm_percentiles(const struct kind_args *args, struct delay *delay)
{
	struct curve *curve = &delay->times.of[0];
	int err = 0;

	for (size_t i = 0; !err && i < array_size(percentiles); i++)
		if (kind_has(args, percentiles[i].param))
			err = curve_add(curve, curve_share(percentiles[i].share, 10000),
					args->value[percentiles[i].param].lo);
	for (size_t op = 0; op < IO_NR_OPS; op++)
		delay->of[op] = curve;
	return err;
}

/* What fio measured of the same operation, else of reads, else of writes, else of anything. */
static const struct curve *choose(const struct fio_times *times, enum fio_section section)
{
	const struct curve *curve = &times->of[section];

	for (size_t i = 0; !curve->nr && i < FIO_NR_SECTIONS; i++)
		curve = &times->of[i];
	return curve;
}

static int arm_file(const struct kind_args *args, struct delay *delay, struct diag *diag)
{
	static const enum fio_section sections[IO_NR_OPS] = {
		[IO_READ] = FIO_READ,    [IO_WRITE] = FIO_WRITE,  [IO_FLUSH] = FIO_SYNC,
		[IO_DISCARD] = FIO_TRIM, [IO_ZEROES] = FIO_WRITE,
	};
	const char *path = args->value[delay_file].text, *job = args->value[delay_job].text;
	enum fio_section rw = (enum fio_section)args->value[delay_rw].lo;
	int err = fio_read(path, job, LIMIT, diag, &delay->times);

	if (err < 0)
		return err;
	if (kind_has(args, delay_rw) && !delay->times.of[rw].nr)
		return diag_set(diag, -EINVAL, "rule.bad-file", "file=%s has no latencies of %s",
				path, fio_section_name(rw));
	for (size_t op = 0; op < IO_NR_OPS; op++)
		delay->of[op] = choose(&delay->times, kind_has(args, delay_rw) ? rw : sections[op]);
	return 0;
}

static int arm_parts(const struct kind_args *args, struct delay *delay, struct diag *diag)
{
	if (kind_has(args, delay_lanes)) {
		delay->lanes = lanes_new((unsigned int)args->value[delay_lanes].lo);
		if (!delay->lanes)
			return -ENOMEM;
	}
	if (kind_has(args, delay_file))
		return arm_file(args, delay, diag);
	return arm_percentiles(args, delay);
}

static int arm(const struct kind_arm *arm, struct diag *diag, void **ret_state)
{
	const struct kind_args *args = arm->args;
	struct delay *delay;
	int err;

	if (!kind_has(args, delay_file) && !count_percentiles(args) &&
	    !kind_has(args, delay_lanes) && !kind_has(args, delay_seek))
		return 0;
	delay = fail_alloc("faults/kinds/delay/alloc", calloc(1, sizeof(*delay)));
	if (!delay)
		return -ENOMEM;
	err = arm_parts(args, delay, diag);
	if (err) {
		disarm(delay);
		return err;
	}
	*ret_state = delay;
	return 0;
}

/* ------------------------------------------------------------------------------ sampling */

static uint64_t at_most(unsigned __int128 ns, uint64_t limit)
{
	return ns < limit ? (uint64_t)ns : limit;
}

static uint64_t normal_ns(uint64_t mean, uint64_t dev, uint64_t bits)
{
	/* 2 * ln has at most 47 bits: so shifted the root is in steps of 2^-28, and below 10. */
	uint64_t root = fixed_sqrt(2 * fixed_ln(bits | 1) << 16);
	uint64_t reach = (uint64_t)((unsigned __int128)dev * root >> 28);
	int64_t turn = fixed_cos(rng_mix(bits, 0, 0));
	uint64_t size = turn < 0 ? -(uint64_t)turn : (uint64_t)turn;
	uint64_t off = (uint64_t)((unsigned __int128)reach * size >> FIXED_COS_SHIFT);

	if (turn < 0)
		return off < mean ? mean - off : 0;
	return mean + off;
}

static uint64_t pareto_ns(uint64_t min, double shape, uint64_t bits)
{
	uint64_t steps = (uint64_t)(shape * (1u << SHAPE_SHIFT));
	unsigned __int128 power = (unsigned __int128)fixed_log2(bits | 1) << SHAPE_SHIFT;

	return fixed_exp2(min, (uint64_t)(power / steps), LIMIT);
}

static uint64_t shape_ns(const struct kind_args *args, const struct kind_hit *hit, uint8_t op)
{
	const struct value *value = args->value;
	const struct value *span = &value[delay_time];

	/* No overflow: both ends are at most LIMIT. */
	if (kind_has(args, delay_time))
		return span->lo + rng_below(hit->bits, span->hi - span->lo + 1);
	if (kind_has(args, delay_normal))
		return normal_ns(value[delay_normal].lo, value[delay_dev].lo, hit->bits);
	if (kind_has(args, delay_exp))
		return (uint64_t)((unsigned __int128)value[delay_exp].lo *
					  fixed_ln(hit->bits | 1) >>
				  FIXED_SHIFT);
	if (kind_has(args, delay_pareto))
		return pareto_ns(value[delay_pareto].lo, value[delay_shape].share, hit->bits);
	assert(hit->state);
	return curve_at(((const struct delay *)hit->state)->of[op], hit->bits);
}

/* How long the arm takes to where the request begins; it stays where that ends. */
static uint64_t arm_ns(const struct kind_args *args, const struct kind_hit *hit,
		       const struct io *io, bool pure)
{
	uint64_t start = io_start(io), end = start + io->len_bytes, from;
	struct delay *delay = hit->state;

	if (!kind_has(args, delay_seek) || io->op == IO_FLUSH)
		return 0;
	from = pure ? atomic_load_explicit(&delay->arm_at, memory_order_relaxed)
		    : atomic_exchange_explicit(&delay->arm_at, end, memory_order_relaxed);
	return seek_ns(from, start, hit->size_bytes, args->value[delay_seek].lo);
}

/* What the request takes by itself. */
static uint64_t own_ns(const struct kind_args *args, const struct kind_hit *hit,
		       const struct io *io, bool pure)
{
	const struct value *value = args->value;
	uint64_t limit = kind_has(args, delay_max) ? value[delay_max].lo : LIMIT;
	unsigned __int128 ns = shape_ns(args, hit, io->op);

	/* The factors are below 2^64 and 2^42. */
	ns += (unsigned __int128)hit->age_ns * value[delay_grow].lo / NSEC_PER_SEC;
	ns += (unsigned __int128)hit->match * value[delay_grow_match].lo;
	ns += arm_ns(args, hit, io, pure);
	return at_most(ns, limit);
}

static uint64_t delay_ns(const struct kind_args *args, const struct kind_hit *hit,
			 const struct io *io, bool pure)
{
	uint64_t ns = own_ns(args, hit, io, pure);

	if (!kind_has(args, delay_lanes))
		return ns;
	return lanes_take(((struct delay *)hit->state)->lanes, hit->age_ns, ns, LIMIT, pure);
}

static void describe(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
		     const struct io *io)
{
	uint64_t ns = delay_ns(args, hit, io, true), own = own_ns(args, hit, io, true);
	char buf[UNITS_MAX];

	fprintf(out, "waits %s", units_human_time(ns, buf));
	if (ns > own)
		fprintf(out, ", %s of it in line", units_human_time(ns - own, buf));
}

static bool arms_from_file(const struct kind_args *args)
{
	return kind_has(args, delay_file);
}

const struct kind_ops kind_delay_ops = {
	.validate = validate,
	.arm = arm,
	.arms_from_file = arms_from_file,
	.disarm = disarm,
	.delay_ns = delay_ns,
	.describe = describe,
};
