/* SPDX-License-Identifier: MIT */
/*
 * Kinds: what a fault does. A rule decides when, a kind decides what; a kind never matches.
 *
 * A new kind is a row in kinds/kinds.def and a file kinds/<name>.c that defines
 * `const struct kind_ops kind_<name>_ops`. A modifier (KIND_MODIFIER) changes when the request is
 * carried out and the walk through the rules goes on; a terminal kind ends the walk and finishes
 * the request. Everything random in a kind comes from the 64 bits that it is given, so that the
 * same hit of the same rule always does the same.
 */
#ifndef FAULTS_KIND_H
#define FAULTS_KIND_H

#include "faults/io.h"
#include "faults/rule.h"
#include "faults/value.h"

#include <stdio.h>

#define KIND_PARAMS_MAX   8
#define KIND_ALL_OPS      ((1u << IO_NR_OPS) - 1)
#define KIND_DELAY_MAX_NS 3600000000000ull     /* longest delay of one rule: one hour */
#define RULE_LEN_MAX      (UINT32_MAX & ~511u) /* longest request, in bytes */
#define RULE_MATCHES_MAX  ((1ull << 40) - 1)   /* largest match number that a rule can name */

enum kind_role { KIND_TERMINAL, KIND_MODIFIER };

/* The parameters of one rule's do=, by the enum of its row: bit and value at the same index. */
struct kind_args {
	uint32_t given;
	struct value value[KIND_PARAMS_MAX];
};

static inline bool kind_has(const struct kind_args *args, unsigned int param)
{
	return args->given >> param & 1;
}

/* What a hit acts with. */
struct kind_hit {
	struct store *store;
	uint32_t block_bytes; /* the disk's logical block */
	uint64_t bits;        /* this hit's own random bits */
};

struct kind_ops {
	/* Do the parameters make sense together? Before a disk is known. NULL: always. */
	int (*validate)(const struct kind_args *args, struct diag *diag);
	/* Do they make sense on this disk? NULL: always. */
	int (*check)(const struct kind_args *args, const struct rule_geometry *geometry,
		     struct diag *diag);
	/* A modifier: by how much to delay the request. Must not touch the store or the data. */
	uint64_t (*delay_ns)(const struct kind_args *args, uint64_t bits);
	/* A terminal kind: carry out what is to be carried out and set io->result. */
	void (*act)(const struct kind_args *args, const struct kind_hit *hit, struct io *io);
	/* Say in a few words what the hit would do to @io. */
	void (*describe)(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
			 const struct io *io);
};

struct kind {
	const char *name;
	uint32_t op_bits; /* 1 << enum io_op: what it can act on */
	enum kind_role role;
	const char *doc;     /* one line */
	const char *example; /* a whole rule */
	const struct kind_ops *ops;
	unsigned int nr_params;
	struct param params[KIND_PARAMS_MAX];
};

/* The parameters of kind x are numbered x_a, x_b, ..., x_NR_PARAMS. */
/* clang-format off */
#define KIND(kind, ops, role, doc, example)			enum kind_##kind##_param {
#define PARAM(kind, id, text, type, form, bare, min, max, doc)	kind##_##id,
#define KIND_END(kind)						kind##_NR_PARAMS };
/* clang-format on */
#include "faults/kinds/kinds.def"
#undef KIND
#undef PARAM
#undef KIND_END

/* The table: kind_at(0), kind_at(1), ... until NULL. */
const struct kind *kind_at(size_t index);
const struct kind *kind_find(struct text name);
/* NULL-terminated. */
const char *const *kind_names(void);

/* Parse what stands after "do=". */
int kind_parse(const struct place *place, struct text text, const struct kind **ret_kind,
	       struct kind_args *ret_args);
/* The text that parses back to the same: "torn:keep=3s,fail". */
void kind_print(FILE *out, const struct kind *kind, const struct kind_args *args);
bool kind_args_equal(const struct kind *kind, const struct kind_args *a, const struct kind_args *b);

#endif
