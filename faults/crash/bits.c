// SPDX-License-Identifier: MIT
#include "faults/crash/bits.h"

#include "base/failpoint.h"

#include <stdlib.h>

int crash_bits_start(struct crash_bits *bits, uint64_t nr)
{
	*bits = (struct crash_bits){ 0 };
	do {
		nr = nr / 64 + 1;
		bits->levels[bits->nr_levels] =
			fail_alloc("faults/crash/bits/level", calloc(nr, sizeof(uint64_t)));
		if (!bits->levels[bits->nr_levels++])
			return -ENOMEM;
	} while (nr > 1 && bits->nr_levels < CRASH_BITS_LEVELS);
	return nr > 1 ? -ENOMEM : 0;
}

void crash_bits_free(struct crash_bits *bits)
{
	for (unsigned int i = 0; i < bits->nr_levels; i++)
		free(bits->levels[i]);
	bits->nr_levels = 0;
}

void crash_bits_set(struct crash_bits *bits, uint64_t member)
{
	for (unsigned int i = 0; i < bits->nr_levels; i++, member /= 64)
		bits->levels[i][member / 64] |= 1ull << member % 64;
}

void crash_bits_clear(struct crash_bits *bits, uint64_t member)
{
	for (unsigned int i = 0; i < bits->nr_levels; i++, member /= 64) {
		bits->levels[i][member / 64] &= ~(1ull << member % 64);
		if (bits->levels[i][member / 64])
			return;
	}
}

/* Up while there is nothing more in the word, then down along the first bits. */
uint64_t crash_bits_next(const struct crash_bits *bits, uint64_t from, uint64_t nr)
{
	unsigned int level = 0;
	uint64_t at = from, word;

	if (from >= nr)
		return CRASH_BITS_NONE;
	for (;;) {
		/* The top level is one word; behind its end there is nothing. */
		if (level == bits->nr_levels || (level == bits->nr_levels - 1 && at >= 64))
			return CRASH_BITS_NONE;
		word = bits->levels[level][at / 64] >> at % 64;
		if (word)
			break;
		at = at / 64 + 1;
		level++;
	}
	at += (uint64_t)__builtin_ctzll(word);
	while (level-- > 0)
		at = at * 64 + (uint64_t)__builtin_ctzll(bits->levels[level][at]);
	return at < nr ? at : CRASH_BITS_NONE;
}
