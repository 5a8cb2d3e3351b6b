/* SPDX-License-Identifier: MIT */
/*
 * Which of some ranges was noted last, of those that overlap a given one. What it costs to note one
 * or to ask grows with the logarithm of how many there are, whatever the ranges. One thread.
 */
#ifndef FAULTS_RECORD_LATEST_H
#define FAULTS_RECORD_LATEST_H

#include <stddef.h>
#include <stdint.h>

/* All zero: no ranges. */
struct latest {
	uint64_t *borders; /* ascending, each once */
	size_t nr_borders, nr_leaves;
	uint32_t *within, *whole; /* of each node of the tree, from 1; see latest.c */
};

/*
 * @borders: the first byte of each range that may be noted, and the byte behind its last, in any
 * order; from malloc, and owned by @latest from here on, even where this fails. -ENOMEM.
 */
int latest_start(struct latest *latest, uint64_t *borders, size_t nr_borders);
/* Range [@from, @end), which is not empty; @number: from 1, and greater than all before it. */
void latest_note(struct latest *latest, uint64_t from, uint64_t end, uint32_t number);
/* The number of the last one that overlaps [@from, @end), any that is not empty; 0: none does. */
uint32_t latest_find(const struct latest *latest, uint64_t from, uint64_t end);
void latest_free(struct latest *latest);

#endif
