// SPDX-License-Identifier: MIT
#include "faults/engine/freeze.h"

#include "base/cleanup.h"

_cold_ void freeze_init(struct freeze *freeze)
{
	atomic_init(&freeze->on, false);
	pthread_mutex_init(&freeze->lock, NULL);
	pthread_cond_init(&freeze->over, NULL);
	freeze->nr = 0;
	freeze->ordinal = 0;
}

_cold_ void freeze_destroy(struct freeze *freeze)
{
	pthread_mutex_destroy(&freeze->lock);
	pthread_cond_destroy(&freeze->over);
}

_cold_ void freeze_begin(struct freeze *freeze)
{
	pthread_mutex_lock(&freeze->lock);
	atomic_store_explicit(&freeze->on, true, memory_order_relaxed);
	pthread_mutex_unlock(&freeze->lock);
}

_cold_ unsigned int freeze_count(struct freeze *freeze)
{
	unsigned int nr;

	pthread_mutex_lock(&freeze->lock);
	nr = freeze->nr;
	pthread_mutex_unlock(&freeze->lock);
	return nr;
}

_cold_ void freeze_end(struct freeze *freeze)
{
	pthread_mutex_lock(&freeze->lock);
	atomic_store_explicit(&freeze->on, false, memory_order_relaxed);
	freeze->nr = 0;
	freeze->ordinal++;
	pthread_cond_broadcast(&freeze->over);
	pthread_mutex_unlock(&freeze->lock);
}

_cold_ void freeze_wait(struct freeze *freeze)
{
	unsigned long ordinal;

	pthread_mutex_lock(&freeze->lock);
	ordinal = freeze->ordinal;
	if (atomic_load_explicit(&freeze->on, memory_order_relaxed)) {
		freeze->nr++;
		/* One that wakes late, in the next freeze, waits there when it comes by again. */
		while (freeze->ordinal == ordinal)
			pthread_cond_wait(&freeze->over, &freeze->lock);
	}
	pthread_mutex_unlock(&freeze->lock);
}
