/* SPDX-License-Identifier: MIT */
/*
 * Randomness that replays.
 *
 * rng_mix() is a pure function of its arguments, so a decision can be taken by any thread at any
 * time and come out the same. It chains the 64-bit finaliser of SplitMix64 (Steele, Lea, Flood:
 * "Fast splittable pseudorandom number generators", 2014), which passes through every bit.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

static inline uint64_t rng_finalise(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* One reproducible 64-bit value for the triple; all three change every bit of the result. */
static inline uint64_t rng_mix(uint64_t seed, uint64_t stream, uint64_t index)
{
	uint64_t x = rng_finalise(seed + 0x9e3779b97f4a7c15ull);

	x = rng_finalise(x ^ (stream + 0x9e3779b97f4a7c15ull));
	return rng_finalise(x ^ (index + 0x9e3779b97f4a7c15ull));
}

/* A value in [0, bound), bound > 0, from 64 random bits: multiply-high, bias below bound/2^64. */
static inline uint64_t rng_below(uint64_t bits, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)bits * bound) >> 64);
}

#endif
