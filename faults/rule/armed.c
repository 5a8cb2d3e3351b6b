// SPDX-License-Identifier: MIT
/* A rule in force: its clock, its kind's state, and its counters. */
#include "base/cleanup.h"
#include "faults/disk/apply.h"
#include "faults/rule/ast.h"
#include "faults/rule/fiu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 4096 /* bytes of data that are searched at once */

void rule_enable(struct rule *rule, bool enabled)
{
	atomic_store_explicit(&rule->disabled, !enabled, memory_order_relaxed);
}

bool rule_enabled(const struct rule *rule)
{
	return !atomic_load_explicit(&rule->disabled, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------ arming */

int kind_arm_one_range(const struct kind_arm *arm, const char *what, struct diag *diag)
{
	if (arm->nr_ranges <= 1)
		return 0;
	diag_set(diag, -EINVAL, "rule.several-ranges", "%s wants one range, got range= with %u",
		 what, arm->nr_ranges);
	diag_hint(diag, "make a rule for each of them");
	return -EINVAL;
}

int rule_blame(const struct rule *rule, int err, struct diag *diag)
{
	struct diag kind;

	if (!diag || err == 0 || !diag->message[0])
		return err;
	kind = *diag;
	diag_set(diag, err, kind.id, "rule '%s': %.*s", rule->name, 400, kind.message);
	if (kind.hint[0])
		diag_hint(diag, "%s", kind.hint);
	return err;
}

static int arm_kind(struct rule *rule, const struct rule_geometry *geometry, uint64_t now_ns,
		    struct diag *diag)
{
	const struct value *range = &rule->word[WORD_range];
	const struct kind_arm arm = {
		.args = &rule->args,
		.geometry = geometry,
		.from = rule_has(rule, WORD_range) ? range->lo : 0,
		.to = rule_has(rule, WORD_range) && range->hi < geometry->size_bytes
			      ? range->hi
			      : geometry->size_bytes,
		.has_range = rule_has(rule, WORD_range),
		.ranges = rule->ranges,
		.nr_ranges = rule->nr_ranges,
		.now_ns = now_ns,
	};

	if (!rule->kind->ops->arm)
		return 0;
	if (diag)
		*diag = (struct diag){ .line = 0 };
	return rule_blame(rule, rule->kind->ops->arm(&arm, diag, &rule->state), diag);
}

_cold_ int rule_read_file(struct rule *rule, struct diag *diag)
{
	const struct rule_geometry geometry = { .size_bytes = 0 };
	const struct kind_ops *ops = rule->kind->ops;
	int err;

	if (rule->armed || rule->is_read || !ops->arms_from_file ||
	    !ops->arms_from_file(&rule->args))
		return 0;
	err = arm_kind(rule, &geometry, 0, diag);
	rule->is_read = !err;
	return err;
}

_cold_ int rule_arm(struct rule *rule, const struct rule_geometry *geometry, uint64_t now_ns,
		    struct diag *diag, bool *ret_first)
{
	int err = 0;

	*ret_first = false;
	if (rule->armed)
		return 0;
	if (rule_has(rule, WORD_fiu))
		err = fiu_rule_ready();
	if (!err && !rule->is_read)
		err = arm_kind(rule, geometry, now_ns, diag);
	if (err) {
		if (diag && !diag->message[0])
			diag_set(diag, err, "rule.memory",
				 "rule '%s' could not be put in force: %s", rule->name,
				 strerror(-err));
		return err;
	}
	rule->armed = true;
	rule->armed_ns = now_ns;
	*ret_first = true;
	return 0;
}

_cold_ void rule_disarm(struct rule *rule)
{
	if (!rule->armed && !rule->is_read)
		return;
	rule->armed = rule->is_read = false;
	if (rule->kind->ops->disarm)
		rule->kind->ops->disarm(rule->state);
	rule->state = NULL;
}

/* ------------------------------------------------------------------------------ content= */

/* Bytes [offset, offset+len) of the data that a write brings, or that a read would find. */
static int look(const struct backing *backing, struct io *io, size_t offset, void *to, size_t len)
{
	if (io->op == IO_WRITE)
		return io_get(io, offset, to, len);
	apply_peek(backing, io_start(io) + offset, to, len);
	return 0;
}

static bool has_content(const struct value *wanted, const struct backing *backing, struct io *io)
{
	unsigned char window[WINDOW + VALUE_BYTES_MAX], bytes[VALUE_BYTES_MAX];
	size_t size = wanted->lo, at = 0;

	value_bytes(wanted, bytes);
	if (wanted->hi != UINT64_MAX)
		return wanted->hi + size <= io->len_bytes &&
		       look(backing, io, wanted->hi, window, size) == 0 &&
		       memcmp(window, bytes, size) == 0;
	/* Windows overlap by one byte less than the pattern has. */
	for (; at + size <= io->len_bytes; at += WINDOW) {
		size_t left = io->len_bytes - at;
		size_t len = left < WINDOW + size - 1 ? left : WINDOW + size - 1;

		if (look(backing, io, at, window, len))
			return false;
		if (memmem(window, len, bytes, size))
			return true;
	}
	return false;
}

bool rule_fits(const struct rule *rule, const struct backing *backing, struct io *io)
{
	if (rule->kind->ops->concerns && !rule->kind->ops->concerns(&rule->args, rule->state, io))
		return false;
	if (rule_has(rule, WORD_content) && !has_content(&rule->word[WORD_content], backing, io))
		return false;
	return !rule_has(rule, WORD_fiu) || fiu_rule_asks(rule->word[WORD_fiu].text);
}

/* ------------------------------------------------------------------------------ counting */

/*
 * Past match number RULE_MATCHES_MAX, twelve days at a million a second, the counter stands still
 * and the rule lets everything pass, rather than start over.
 */
static bool count_match_limited(struct rule *rule, uint64_t seed, uint64_t now_ns,
				uint64_t *ret_match)
{
	uint64_t old = atomic_load_explicit(&rule->matches, memory_order_relaxed);
	uint64_t n, new;
	bool hit;

	do {
		n = old & RULE_MATCHES_MAX;
		if (n == RULE_MATCHES_MAX)
			return false;
		hit = rule_trigger(rule, seed, n, old >> RULE_HITS_SHIFT, now_ns) == TRIGGER_HIT;
		new = old + 1 + ((uint64_t)hit << RULE_HITS_SHIFT);
	} while (!atomic_compare_exchange_weak_explicit(
		&rule->matches, &old, new, memory_order_relaxed, memory_order_relaxed));
	*ret_match = n;
	return hit;
}

bool rule_count_match(struct rule *rule, uint64_t seed, uint64_t now_ns, uint64_t *ret_match)
{
	uint64_t n;

	if (rule->times != UINT64_MAX)
		return count_match_limited(rule, seed, now_ns, ret_match);
	n = atomic_fetch_add_explicit(&rule->matches, 1, memory_order_relaxed);
	if (rule_trigger(rule, seed, n, 0, now_ns) != TRIGGER_HIT)
		return false;
	atomic_fetch_add_explicit(&rule->hits, 1, memory_order_relaxed);
	*ret_match = n;
	return true;
}

void rule_count_decided(struct rule *rule, uint64_t match)
{
	uint64_t old = atomic_load(&rule->matches), hits = 0, n, new;
	bool limited = rule->times != UINT64_MAX;

	do {
		n = limited ? old & RULE_MATCHES_MAX : old;
		hits = limited ? (old >> RULE_HITS_SHIFT) + 1 : 0;
		new = (n > match + 1 ? n : match + 1) | hits << RULE_HITS_SHIFT;
	} while (!atomic_compare_exchange_weak(&rule->matches, &old, new));
	if (!limited)
		atomic_fetch_add(&rule->hits, 1);
}

void rule_counts(const struct rule *rule, struct rule_counts *ret_counts)
{
	uint64_t matches = atomic_load_explicit(&rule->matches, memory_order_relaxed);
	uint64_t hits = atomic_load_explicit(&rule->hits, memory_order_relaxed);

	if (rule->times != UINT64_MAX) {
		hits = matches >> RULE_HITS_SHIFT;
		matches &= RULE_MATCHES_MAX;
	}
	*ret_counts = (struct rule_counts){ .matches = matches, .hits = hits };
}
