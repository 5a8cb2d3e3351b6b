/* SPDX-License-Identifier: MIT */
/*
 * Two ways for a row of blocks: plain C, and the SHA instructions of x86. The latter are four to
 * eight times as fast, which is what makes it cheap to look at a whole QEMU before each start.
 */
#include "base/sha256.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static uint32_t big_endian_32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void block_portable(uint32_t state[8], const unsigned char *p)
{
	uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3];
	uint32_t e = state[4], f = state[5], g = state[6], h = state[7];

	for (int i = 0; i < 16; i++)
		w[i] = big_endian_32(p + 4 * i);
	for (int i = 16; i < 64; i++) {
		uint32_t x = w[i - 15], y = w[i - 2];

		w[i] = w[i - 16] + w[i - 7] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) +
		       (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
	}
	for (int i = 0; i < 64; i++) {
		uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
			       ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
		uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
			       ((a & b) ^ (a & c) ^ (b & c));

		h = g, g = f, f = e, e = d + one;
		d = c, c = b, b = a, a = one + two;
	}
	state[0] += a, state[1] += b, state[2] += c, state[3] += d;
	state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static void blocks_portable(uint32_t state[8], const unsigned char *p, size_t count)
{
	for (; count; count--, p += SHA256_BLOCK)
		block_portable(state, p);
}

#if defined(__x86_64__)
/*
 * The instructions keep the state as two vectors, ABEF and CDGH, and do four rounds at a time. @w
 * is a ring of the last 16 words: of its four vectors the oldest turns into the next.
 */
__attribute__((target("sha,sse4.1,ssse3"))) static void
blocks_hardware(uint32_t state[8], const unsigned char *p, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
	const __m128i *k = (const __m128i *)(const void *)round_constants;
	__m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(void *)&state[0]), 0xb1);
	__m128i cdgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(void *)&state[4]), 0x1b);
	__m128i abef = _mm_alignr_epi8(t, cdgh, 8);

	cdgh = _mm_blend_epi16(cdgh, t, 0xf0);
	for (; count; count--, p += SHA256_BLOCK) {
		const __m128i abef_before = abef, cdgh_before = cdgh;
		__m128i w[4];

		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(
				_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), swap);
		for (int i = 0; i < 16; i++) {
			__m128i now = w[i & 3], sum = _mm_add_epi32(now, k[i]);

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
			if (i < 12) {
				__m128i last = w[(i + 3) & 3];

				now = _mm_sha256msg1_epu32(now, w[(i + 1) & 3]);
				now = _mm_add_epi32(now, _mm_alignr_epi8(last, w[(i + 2) & 3], 4));
				w[i & 3] = _mm_sha256msg2_epu32(now, last);
			}
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	t = _mm_shuffle_epi32(abef, 0x1b);
	cdgh = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)&state[0], _mm_blend_epi16(t, cdgh, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)&state[4], _mm_alignr_epi8(cdgh, t, 8));
}

static bool has_hardware(void)
{
	unsigned int a, b, c, d, sse;

	if (!__get_cpuid(1, &a, &b, &sse, &d) || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return false;
	return b & bit_SHA && sse & bit_SSE4_1 && sse & bit_SSSE3;
}
#else
static void blocks_hardware(uint32_t state[8], const unsigned char *p, size_t count)
{
	blocks_portable(state, p, count);
}

static bool has_hardware(void)
{
	return false;
}
#endif

typedef void (*blocks_fn)(uint32_t state[8], const unsigned char *p, size_t count);
static _Atomic(blocks_fn) blocks; /* NULL: not looked yet; all who look find the same */

void sha256_set_portable(bool portable)
{
	atomic_store(&blocks, !portable && has_hardware() ? blocks_hardware : blocks_portable);
}

void sha256_start(struct sha256 *s)
{
	static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	if (!atomic_load(&blocks))
		sha256_set_portable(false);
	memcpy(s->state, first, sizeof(first));
	s->len_bytes = 0;
}

void sha256_add(struct sha256 *s, const void *data, size_t len_bytes)
{
	size_t used = s->len_bytes % SHA256_BLOCK, part = SHA256_BLOCK - used;
	const unsigned char *p = data;
	blocks_fn do_blocks = atomic_load(&blocks);

	s->len_bytes += len_bytes;
	if (used && len_bytes >= part) {
		memcpy(s->block + used, p, part);
		do_blocks(s->state, s->block, 1);
		p += part;
		len_bytes -= part;
		used = 0;
	}
	if (!used && len_bytes >= SHA256_BLOCK) {
		size_t count = len_bytes / SHA256_BLOCK;

		do_blocks(s->state, p, count);
		p += count * SHA256_BLOCK;
		len_bytes -= count * SHA256_BLOCK;
	}
	if (len_bytes)
		memcpy(s->block + used, p, len_bytes);
}

void sha256_finish(struct sha256 *s, unsigned char ret_digest[SHA256_BYTES])
{
	static const unsigned char pad[SHA256_BLOCK] = { 0x80 };
	uint64_t bits = s->len_bytes * 8;
	size_t used = s->len_bytes % SHA256_BLOCK;
	unsigned char end[8];

	for (int i = 0; i < 8; i++)
		end[i] = (unsigned char)(bits >> (56 - 8 * i));
	sha256_add(s, pad, (used < 56 ? 56 : 120) - used);
	sha256_add(s, end, sizeof(end));
	for (int i = 0; i < SHA256_BYTES; i++)
		ret_digest[i] = (unsigned char)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}
