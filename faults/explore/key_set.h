/* SPDX-License-Identifier: MIT */
/*
 * A set of 64-bit keys that are hashes already: open addressing, 8 bytes a slot, at most 3/4 full,
 * grown by doubling up to a limit.
 */
#ifndef FAULTS_EXPLORE_KEY_SET_H
#define FAULTS_EXPLORE_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero but for @limit is an empty set. */
struct key_set {
	uint64_t *slots; /* 0: free */
	size_t nr_slots; /* power of two, or 0 */
	size_t nr;
	size_t limit; /* keys; more are not taken */
	bool has_zero;
};

/* 1: it is new; 0: it was there; -ENOSPC: new, and not taken for the limit; -ENOMEM: the same. */
int key_set_add(struct key_set *set, uint64_t key);
bool key_set_has(const struct key_set *set, uint64_t key);
/* Empty, keeping the memory of a set that was not large. */
void key_set_clear(struct key_set *set);
void key_set_free(struct key_set *set);

#endif
