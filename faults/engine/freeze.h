/* SPDX-License-Identifier: MIT */
/* Threads that stop at a place of their own choosing until they are let go; see pipeline_freeze().
 */
#ifndef FAULTS_ENGINE_FREEZE_H
#define FAULTS_ENGINE_FREEZE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct freeze {
	_Atomic bool on;
	pthread_mutex_t lock;
	pthread_cond_t over;
	unsigned int nr;       /* threads that wait */
	unsigned long ordinal; /* of the freeze */
};

void freeze_init(struct freeze *freeze);
void freeze_destroy(struct freeze *freeze);

/* The control thread. */
void freeze_begin(struct freeze *freeze);
unsigned int freeze_count(struct freeze *freeze); /* how many wait now */
void freeze_end(struct freeze *freeze);

void freeze_wait(struct freeze *freeze);
/* The others: wait, if a freeze has begun. */
static inline void freeze_point(struct freeze *freeze)
{
	if (__builtin_expect(atomic_load_explicit(&freeze->on, memory_order_relaxed), false))
		freeze_wait(freeze);
}

#endif
