/* SPDX-License-Identifier: MIT */
/*
 * Kinds: what a fault does. A rule decides when, a kind decides what.
 *
 * A new kind is a row in kinds/kinds.def and a file kinds/<name>.c that defines
 * `const struct kind_ops kind_<name>_ops`. A modifier (KIND_MODIFIER) changes when the request is
 * carried out and the walk through the rules goes on; a terminal kind ends the walk and finishes
 * the request (KIND_FALSE_ACK: perhaps with a false acknowledgement). Everything random in a kind
 * comes from the 64 bits that it is given, so that the same hit of the same rule always does the
 * same.
 *
 * A kind whose rules remember something (which blocks are bad, when the next request may pass) has
 * arm and disarm; its state belongs to the rule, is shared by all queues, and must be safe for
 * them: atomics, or the lock of the store's unit where a callback says that it is held.
 */
#ifndef FAULTS_RULE_KIND_H
#define FAULTS_RULE_KIND_H

#include "faults/disk/backing.h"
#include "faults/disk/condition.h"
#include "faults/io.h"
#include "faults/rule/rule.h"
#include "faults/rule/value.h"

#include <stdio.h>

#define KIND_PARAMS_MAX   24
#define KIND_ALL_OPS      ((1u << IO_NR_OPS) - 1)
#define KIND_DELAY_MAX_NS 3600000000000ull     /* longest delay of one rule: one hour */
#define RULE_LEN_MAX      (UINT32_MAX & ~511u) /* longest request, in bytes */
#define RULE_MATCHES_MAX  ((1ull << 40) - 1)   /* largest match number that a rule can name */
#define POWERCUT_FIRST    3                    /* keep=first:SIZE, among the words of its row */
/* In the answer of delay_ns: hold the request until it is released, at most for the other bits. */
#define KIND_HOLD (1ull << 63)

enum kind_role {
	KIND_TERMINAL,
	KIND_MODIFIER,
	KIND_FALSE_ACK, /* terminal, and may acknowledge what it has not done */
};

/* The parameters of one rule's do=, by the enum of its row: bit and value at the same index. */
struct kind_args {
	uint32_t given;
	struct value value[KIND_PARAMS_MAX];
};

static inline bool kind_has(const struct kind_args *args, unsigned int param)
{
	return args->given >> param & 1;
}

/* What a rule's state is made for. */
struct kind_arm {
	const struct kind_args *args;
	const struct rule_geometry *geometry;
	uint64_t from, to; /* the rule's range in bytes, of several from the first to the last, cut
			    * to the disk */
	bool has_range;    /* false: no range=, so all of the disk */
	/* Those that range= has, ascending, the last perhaps open; the rule's, as long as it lives. */
	const struct value_range *ranges;
	uint32_t nr_ranges;
	uint64_t now_ns;
};

/* For a kind that remembers one range only: -EINVAL, in words, if the rule has several. See
 * armed.c. */
int kind_arm_one_range(const struct kind_arm *arm, const char *what, struct diag *diag);

/* What a hit acts with. */
struct kind_hit {
	const struct backing *backing; /* NULL only in describe and delay_ns */
	struct condition *condition;   /* of the disk; NULL only in describe and delay_ns */
	void *state;                   /* the rule's, NULL for kinds without */
	uint32_t block_bytes;          /* the disk's logical block */
	uint64_t size_bytes;           /* of the disk */
	uint64_t bits;                 /* this hit's own random bits */
	uint64_t rule_bits;            /* the rule's: the same for all its hits */
	uint64_t match;                /* its number among the rule's matches */
	uint64_t age_ns;               /* since the rule was armed; 0 in act */
	uint64_t now_ns;               /* 0 in act */
};

/* A command to one rule: `faultblk rule tell NAME VERB [RANGE]`. */
struct kind_tell {
	const char *verb;
	bool has_range;
	uint64_t from, to;  /* bytes, inside the disk; of all of it without a range */
	bool dry;           /* only say whether it would be refused */
	uint64_t ret_count; /* the answer */
	/* For each range of an answer that has some, in ascending order; never NULL. */
	void (*each)(void *ctx, uint64_t from, uint64_t to);
	void *ctx;
};

struct kind_ops {
	/* Do the parameters make sense together? Before a disk is known. NULL: always. */
	int (*validate)(const struct kind_args *args, struct diag *diag);
	/* Do they make sense on this disk? NULL: always. */
	int (*check)(const struct kind_args *args, const struct rule_geometry *geometry,
		     struct diag *diag);
	/*
	 * The rule is put in force for the first time: make its state. Control thread. 0, or
	 * -errno with words in @diag, and then the rule is refused. disarm frees the state, once
	 * nobody uses the rule any more; any thread.
	 */
	int (*arm)(const struct kind_arm *arm, struct diag *diag, void **ret_state);
	void (*disarm)(void *state);
	/* Does arm read a file, and nothing of what else stands in struct kind_arm? NULL: no. */
	bool (*arms_from_file)(const struct kind_args *args);
	/*
	 * Is the rule about this request at all, beyond what its words say? Asked after them; if
	 * not, the request is no match. Queue thread. NULL: it is.
	 */
	bool (*concerns)(const struct kind_args *args, void *state, const struct io *io);
	/*
	 * A modifier: by how much to delay the request, at most KIND_DELAY_MAX_NS; KIND_HOLD: hold
	 * it. Must not touch the store or the data; in explain @pure: and not its state either.
	 */
	uint64_t (*delay_ns)(const struct kind_args *args, const struct kind_hit *hit,
			     const struct io *io, bool pure);
	/* A modifier that held the request: what it ends with when its time is up without a
	 * release; 0: carried out. NULL: always 0. */
	int (*overdue)(const struct kind_args *args);
	/* A terminal kind: carry out what is to be carried out and set io->result. */
	void (*act)(const struct kind_args *args, const struct kind_hit *hit, struct io *io);
	/*
	 * The names of the disks that the act takes along, NULL: none; where there are, and the
	 * disk's owner knows how (struct pipeline_options), the request is held instead of the act,
	 * and joint says what is to befall all of them, and stores what of @io has arrived before
	 * that. Queue thread. Both NULL: a kind that takes none along.
	 */
	const char *(*with)(const struct kind_args *args);
	void (*joint)(const struct kind_args *args, const struct kind_hit *hit, struct io *io,
		      struct joint_cut *ret_joint);
	/* The rule watches the store as long as it is in force. */
	struct watcher_ops watch;
	/* A command. Control thread. 0 or -errno with words in @diag. NULL: there are none. */
	int (*tell)(void *state, struct kind_tell *tell, struct diag *diag);
	/* Say in a few words what the hit would do to @io. */
	void (*describe)(FILE *out, const struct kind_args *args, const struct kind_hit *hit,
			 const struct io *io);
};

struct kind {
	const char *name; /* "short-life" for kind_short_life_ops */
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
#define KIND(kind, text, ops, role, doc, example)		enum kind_##kind##_param {
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
size_t kind_index(const struct kind *kind);
/* NULL-terminated. */
const char *const *kind_names(void);

/* Parse what stands after "do="; the caller clears the arguments. */
int kind_parse(const struct place *place, struct text text, const struct kind **ret_kind,
	       struct kind_args *ret_args);
/* The text that parses back to the same: "torn:keep=3s,fail". */
void kind_print(FILE *out, const struct kind *kind, const struct kind_args *args);
/* Free what the arguments own. */
void kind_args_clear(struct kind_args *args);
bool kind_args_equal(const struct kind *kind, const struct kind_args *a, const struct kind_args *b);

#endif
