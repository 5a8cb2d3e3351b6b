// SPDX-License-Identifier: MIT
/* Any text as fio's output. What is accepted must be curves that rise and stay within the limit. */
#include "faults/rule/fio.h"

#include <stdbool.h>
#include <stdlib.h>

#define LIMIT 3600000000000ull

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void check_curve(const struct curve *curve)
{
	uint64_t last = 0;

	for (uint64_t i = 0; i <= 64 && curve->nr; i++) {
		uint64_t ns = curve_at(curve, i < 64 ? i << 58 : UINT64_MAX);

		require(ns >= last && ns <= LIMIT);
		last = ns;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diag diag = { .message = "" };
	struct fio_times times;
	size_t nr = 0;

	if (fio_parse((const char *)data, size, NULL, LIMIT, &diag, &times) < 0) {
		require(diag.id[0] && diag.message[0]);
		return 0;
	}
	for (size_t i = 0; i < FIO_NR_SECTIONS; i++) {
		check_curve(&times.of[i]);
		nr += times.of[i].nr;
	}
	require(nr > 0);
	fio_clear(&times);
	return 0;
}
