/* SPDX-License-Identifier: MIT */
/*
 * Rules: what a user says about when a disk breaks, and how.
 *
 *	hole op=read range=17s..23s do=error:EIO
 *	tear op=write,zeroes min-len=4k after=100 times=1 do=torn:keep=3s
 *	slow op=read p=5% do=delay:100us..300us
 *
 * A rule is a name and words key=value in any order; `do=` names the kind and its parameters. The
 * same keys stand in JSON: {"name":"hole","op":"read","range":"17s..23s","do":"error:EIO"}. One
 * parsed form stands behind both; printing and parsing are inverse on it.
 *
 * A request is matched against a rule by its selectors: op (default: every op that the kind can act
 * on), range (any overlap counts), len / min-len / max-len, align, flags (all of them set, those
 * after a '!' not), queue, state, content, fiu. Each request that matches gets the rule's next
 * match number n = 0, 1, 2, ... and the triggers decide from (seed, rule name, n), and the time for
 * the last three, whether it is a hit:
 *
 *	after=N		the first N matches are let pass
 *	every=N		of the rest, every Nth: n - after = N-1, 2N-1, ...
 *	times=N		at most N hits (up to RULE_TIMES_MAX), then never again
 *	p=F		of those, a share F: 0.5%, 1e-6, 1:1000, 0.25; 0 never, 1 always
 *	for=TIME	only within TIME of the rule being armed
 *	between=A..B	only from A to B after it
 *	up=T down=T	let pass for up, act for down, and so on
 *
 * goto=S: a hit puts the disk's state machine into state S, which the next requests find. A disk
 * starts in the state "start". enabled=no: the rule is kept, and not asked.
 *
 * range=START..END is in bytes with units, both whole sectors of 512, END the first byte outside;
 * START.. reaches to the end of the disk. A flush has neither place nor length: a rule with range
 * or a length never matches one. A match that the triggers let pass has still been counted, and a
 * rule with times= stops counting, and acting, after 2^40-1 matches.
 */
#ifndef FAULTS_RULE_RULE_H
#define FAULTS_RULE_RULE_H

#include "base/diag.h"
#include "faults/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULE_NAME_MAX   63       /* bytes: letters, digits, '-', '_', '.'; not starting with '-' */
#define RULE_TEXT_MAX   4096     /* bytes of one rule in text form */
#define RULE_SET_MAX    4096     /* rules of one disk */
#define RULE_TIMES_MAX  16777215 /* largest times= */
#define RULE_FILE_MAX   (1u << 20) /* bytes of a rule file */
#define RULE_FILE_MAGIC "faultblk-rules 1"

struct rule;     /* one rule: parsed form, and once armed its counters; reference counted */
struct rule_set; /* an ordered list of rules with distinct names */

/* What rules are checked against: the disk that they are meant for. */
struct rule_geometry {
	uint64_t size_bytes;
	uint32_t block_bytes; /* logical block size: default atomic unit */
	uint16_t nr_queues;
	/* What the disk never sends, for warnings; 0 and false where that is not known. */
	uint32_t max_io_bytes;
	bool no_flush, no_fua;      /* flushes, FUA writes do not arrive */
	bool no_discard, no_zeroes; /* neither do discards, write-zeroes */
	bool has_cache;             /* a volatile cache stands in front of the store */
	uint32_t cache_unit_bytes;  /* with it: what survives a power cut as one; 0: a write */
};

/*
 * Parse text[0..len) (one line, no newline). The caller owns one reference to *ret_rule. The errors
 * of all parsers: -EINVAL with a stable id ("rule.unknown-key", "rule.bad-range", ...), line and
 * column; -ENOMEM; for sets also -ENOSPC (too many rules) and -EFBIG (file too large).
 */
int rule_parse(const char *text, size_t len, struct diag *diag, struct rule **ret_rule);
struct rule *rule_ref(struct rule *rule);
struct rule *rule_unref(struct rule *rule); /* NULL allowed; returns NULL */
/*
 * Read now the file that the rule names, if it names one; else that is done when the rule is first
 * put in force. Any thread, while nobody else has the rule. 0 or -errno with words in @diag.
 */
int rule_read_file(struct rule *rule, struct diag *diag);
const char *rule_name(const struct rule *rule);
/* The names of the disks that its act takes along, "b+c"; NULL: none. */
const char *rule_with(const struct rule *rule);
/* The canonical text; caller frees. NULL only without memory. */
char *rule_print(const struct rule *rule);
/* Does the rule make sense on this disk (range inside it, unit a multiple of the block, ...)? */
int rule_check(const struct rule *rule, const struct rule_geometry *geometry, struct diag *diag);

/*
 * The partition that the rule's range= is relative to; 0: the disk. rule_check() refuses a rule with
 * one: only who knows the disk's partitions can say which bytes are meant, and does so before anybody
 * else has the rule: takes a copy of its ranges (all: one from 0 to UINT64_MAX; the caller frees it),
 * and sets them as bytes of the disk.
 */
unsigned int rule_part(const struct rule *rule);
struct value_range;
int rule_copy_ranges(const struct rule *rule, struct diag *diag, struct value_range **ret_ranges,
		     size_t *ret_nr);
int rule_set_ranges(struct rule *rule, const struct value_range *ranges, size_t nr,
		    struct diag *diag);

/* Enable or disable a rule; it takes effect with the next publish of a set that holds it. */
void rule_enable(struct rule *rule, bool enabled);
bool rule_enabled(const struct rule *rule);

/* Counters of an armed rule; any thread. */
struct rule_counts {
	uint64_t matches; /* requests that the selectors matched */
	uint64_t hits;    /* matches on which the rule acted */
};
void rule_counts(const struct rule *rule, struct rule_counts *ret_counts);

/* Sets. Names are distinct; order is the order in which rules are asked. */
struct rule_set *rule_set_new(void);
struct rule_set *rule_set_free(struct rule_set *set); /* NULL allowed; returns NULL */
/* A new set with references to the same rules (their counters go on). */
struct rule_set *rule_set_copy(const struct rule_set *set);
size_t rule_set_count(const struct rule_set *set);
struct rule *rule_set_at(const struct rule_set *set, size_t index);       /* borrowed */
struct rule *rule_set_find(const struct rule_set *set, const char *name); /* borrowed, or NULL */
/*
 * Put @rule (a reference is taken) in place of the one of the same name, or else before the rule
 * named @before, or last when @before is NULL. -ENOSPC past RULE_SET_MAX, -ENOENT for @before.
 */
int rule_set_put(struct rule_set *set, struct rule *rule, const char *before, struct diag *diag);
/* -ENOENT, with the nearest name as the hint. */
int rule_set_remove(struct rule_set *set, const char *name, struct diag *diag);
/* Parse a whole rule file (magic line, comments, one rule a line); duplicate names are errors. */
int rule_set_parse(const char *text, size_t len, struct diag *diag, struct rule_set **ret_set);
/* A rule file; caller frees. */
char *rule_set_print(const struct rule_set *set);

/*
 * What is legal but can hardly be meant: rules that never match on this disk, or never act, or
 * stand behind one that leaves them nothing. @warn gets one sentence for each, without newline.
 */
typedef void (*rule_warn_fn)(void *ctx, const struct rule *rule, const char *sentence);
void rule_set_lint(const struct rule_set *set, const struct rule_geometry *geometry,
		   rule_warn_fn warn, void *ctx);

#endif
