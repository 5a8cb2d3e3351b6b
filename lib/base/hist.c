// SPDX-License-Identifier: MIT
#include "base/hist.h"

uint64_t hist_bucket_floor(unsigned int bucket)
{
	unsigned int octave;

	if (bucket < HIST_STEPS)
		return bucket;
	octave = bucket / HIST_STEPS - 1;
	return (uint64_t)(bucket - octave * HIST_STEPS) << octave;
}

void hist_merge(struct hist *to, const struct hist *from)
{
	uint64_t max = atomic_load_explicit(&from->max, memory_order_relaxed);

	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = atomic_load_explicit(&from->count[i], memory_order_relaxed);

		if (n)
			relaxed_add(&to->count[i], n);
	}
	if (max > atomic_load_explicit(&to->max, memory_order_relaxed))
		atomic_store_explicit(&to->max, max, memory_order_relaxed);
}

uint64_t hist_total(const struct hist *h)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		total += atomic_load_explicit(&h->count[i], memory_order_relaxed);
	return total;
}

uint64_t hist_permille(const struct hist *h, unsigned int permille)
{
	uint64_t total = hist_total(h);
	uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
	/* The rank of the entry asked for, 1-based: at least the first, at most the last. */
	uint64_t rank = (uint64_t)(((unsigned __int128)total * permille + 999) / 1000);
	uint64_t seen = 0;

	if (!rank)
		rank = total ? 1 : 0;
	for (unsigned int i = 0; i < HIST_BUCKETS && rank; i++) {
		uint64_t ceiling;

		seen += atomic_load_explicit(&h->count[i], memory_order_relaxed);
		if (seen < rank)
			continue;
		ceiling = i + 1 < HIST_BUCKETS ? hist_bucket_floor(i + 1) - 1 : UINT64_MAX;
		return ceiling < max ? ceiling : max;
	}
	return 0;
}
