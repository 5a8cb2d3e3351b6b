// SPDX-License-Identifier: MIT
/*
 * CRC-32C. With the CPU's instruction where it has one, eight bytes at a time; else by eight
 * tables: table n has the effect of a byte that n others follow.
 */
#include "faults/record/record.h"

#include "base/cleanup.h"
#include "faults/record/code.h"

#include <pthread.h>
#include <string.h>

#define CRC_POLY 0x82f63b78u /* CRC-32C, reflected */
#define TABLES   8
#define UNROLL   16 /* instructions of eight bytes a round */

static uint32_t tables[TABLES][256];

static uint32_t by_table(uint32_t crc, const unsigned char *at, size_t len)
{
	for (; len >= TABLES; len -= TABLES, at += TABLES) {
		crc ^= (uint32_t)get_le(at, 4);
		crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^
		      tables[5][crc >> 16 & 0xff] ^ tables[4][crc >> 24] ^ tables[3][at[4]] ^
		      tables[2][at[5]] ^ tables[1][at[6]] ^ tables[0][at[7]];
	}
	while (len--)
		crc = crc >> 8 ^ tables[0][(crc ^ *at++) & 0xff];
	return crc;
}

static uint32_t (*crc_fn)(uint32_t crc, const unsigned char *at, size_t len) = by_table;

#if defined(__x86_64__)
static inline uint64_t load(const unsigned char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const unsigned char *at, size_t len)
{
	uint64_t wide = crc;

	for (; len >= UNROLL * 8; len -= UNROLL * 8, at += UNROLL * 8) {
#pragma GCC unroll 16
		for (int i = 0; i < UNROLL; i++)
			wide = __builtin_ia32_crc32di(wide, load(at + 8 * i));
	}
	for (; len >= 8; len -= 8, at += 8)
		wide = __builtin_ia32_crc32di(wide, load(at));
	crc = (uint32_t)wide;
	while (len--)
		crc = __builtin_ia32_crc32qi(crc, *at++);
	return crc;
}
#endif

static void prepare(void)
{
	for (uint32_t i = 0; i < array_size(tables[0]); i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC_POLY : 0);
		tables[0][i] = crc;
	}
	for (int n = 1; n < TABLES; n++)
		for (uint32_t i = 0; i < array_size(tables[0]); i++)
			tables[n][i] = tables[n - 1][i] >> 8 ^ tables[0][tables[n - 1][i] & 0xff];
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		crc_fn = by_instruction;
#endif
}

static void prepare_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, prepare);
}

uint32_t record_crc(uint32_t crc, const void *bytes, size_t len)
{
	prepare_once();
	return ~crc_fn(~crc, bytes, len);
}

uint32_t record_crc_portable(uint32_t crc, const void *bytes, size_t len)
{
	prepare_once();
	return ~by_table(~crc, bytes, len);
}
