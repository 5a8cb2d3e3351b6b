/* SPDX-License-Identifier: MIT */
/*
 * Sizes and times as people write them.
 *
 * A size is a decimal number and an optional unit: none or B (bytes), s (sectors of 512 bytes),
 * k, M, G, T, P (powers of 1024). A time is a decimal number and a unit: ns, us, ms, s, m, h.
 * A fraction is accepted where the result is a whole number of bytes or nanoseconds (1.5k).
 * Formatting gives the shortest text that parses back to the same value.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define SECTOR_SHIFT 9
#define SECTOR_SIZE  512u

/* Parse all of text[0..len). Returns 0, -EINVAL (not a number with a unit) or -ERANGE. */
int units_parse_size(const char *text, size_t len, uint64_t *ret_bytes);
int units_parse_time(const char *text, size_t len, uint64_t *ret_ns);

/* Largest unit that divides the value: "128k", "17s", "1000". @buf must hold UNITS_MAX bytes. */
#define UNITS_MAX 32
const char *units_format_size(uint64_t bytes, char buf[UNITS_MAX]);
const char *units_format_time(uint64_t ns, char buf[UNITS_MAX]);
/* For people: three significant digits, "12.3us". Does not parse back exactly. */
const char *units_human_time(uint64_t ns, char buf[UNITS_MAX]);

#endif
