/* SPDX-License-Identifier: MIT */
/*
 * The frame of a simulator: its random numbers, its words when it fails, and its main program,
 * which repeats a failing round with fewer rules until none can be left out.
 *
 *	PROGRAM [SEED [ROUNDS [MASK]]]	round r uses SEED + r; MASK: the rule slots in use
 *
 * A simulator's `struct sim` begins with a struct frame.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "base/cleanup.h"
#include "base/rng.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct frame {
	uint64_t seed, next; /* of this round; how many numbers were drawn */
	bool verbose;
	int step;
};

struct sim;

struct program {
	const char *name;
	size_t sim_bytes;
	uint64_t rounds; /* by default */
	unsigned int slots;
	bool (*run_round)(struct sim *sim, uint64_t seed, unsigned int mask, bool verbose);
	/* What was done in all rounds, without newline. */
	void (*summarise)(const struct sim *sim);
};

static inline uint64_t frame_draw(struct frame *frame, uint64_t bound)
{
	return rng_below(rng_mix(frame->seed, 1, frame->next++), bound);
}

/* Says why, when the round is verbose; always false. */
__attribute__((format(printf, 2, 3))) static inline bool frame_fail(const struct frame *frame,
								    const char *fmt, ...)
{
	va_list ap;

	if (!frame->verbose)
		return false;
	printf("step %d: ", frame->step);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	return false;
}

#define draw(sim, bound) frame_draw(&(sim)->frame, (bound))
#define fail(sim, ...)   frame_fail(&(sim)->frame, __VA_ARGS__)

/* Append to a rule's text of @size bytes. */
__attribute__((format(printf, 3, 4))) static inline void append(char *text, size_t size,
								const char *fmt, ...)
{
	size_t at = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + at, size - at, fmt, ap);
	va_end(ap);
}

#define say(rule, ...) append((rule)->text, sizeof((rule)->text), __VA_ARGS__)

/* The stream of a rule's random bits, by its name. */
static inline uint64_t stream_of(const char *name)
{
	uint64_t hash = 14695981039346656037ull;

	while (*name)
		hash = (hash ^ (unsigned char)*name++) * 1099511628211ull;
	return hash;
}

/* Of bits: is this the share of them that hits? */
static inline bool below(uint64_t bits, double share)
{
	return (long double)bits < (long double)share * 18446744073709551616.0L;
}

static const char *const op_words[] = { "read", "write", "flush", "discard", "zeroes" };

static inline void report(const struct program *program, struct sim *sim, uint64_t seed,
			  unsigned int mask)
{
	for (unsigned int slot = 0; slot < program->slots; slot++)
		if (!program->run_round(sim, seed, mask & ~(1u << slot), false))
			mask &= ~(1u << slot);
	program->run_round(sim, seed, mask, true);
	printf("%s: FAILED; repeat with: %s %" PRIu64 " 1 %u\n", program->name, program->name, seed,
	       mask);
}

static inline int sim_main(const struct program *program, int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : program->rounds;
	unsigned int mask =
		argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 0) : (1u << program->slots) - 1;
	_cleanup_free_ struct sim *sim = calloc(1, program->sim_bytes);

	if (!sim)
		return 1;
	printf("%s: seed %" PRIu64 ", %" PRIu64 " rounds\n", program->name, seed, rounds);
	fflush(stdout);
	for (uint64_t i = 0; i < rounds; i++) {
		if (program->run_round(sim, seed + i, mask, false))
			continue;
		report(program, sim, seed + i, mask);
		return 1;
	}
	printf("%s: ", program->name);
	program->summarise(sim);
	printf(", ok\n");
	return 0;
}

/* The main program of a simulator that has run_round() and summarise(). */
#define SIM_MAIN(its_name, its_rounds, its_slots)                                                  \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		static const struct program program = {                                            \
			.name = its_name,                                                          \
			.sim_bytes = sizeof(struct sim),                                           \
			.rounds = its_rounds,                                                      \
			.slots = its_slots,                                                        \
			.run_round = run_round,                                                    \
			.summarise = summarise,                                                    \
		};                                                                                 \
                                                                                                   \
		return sim_main(&program, argc, argv);                                             \
	}

#endif
