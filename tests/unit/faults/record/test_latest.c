// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "faults/record/latest.h"

#include <string.h>

#define PLACES 97u

struct range {
	uint64_t from, end;
};

static struct latest started(const struct range *ranges, size_t nr)
{
	uint64_t *borders = malloc((2 * nr + 1) * sizeof(*borders));
	struct latest latest;

	for (size_t i = 0; i < nr; i++) {
		borders[2 * i] = ranges[i].from;
		borders[2 * i + 1] = ranges[i].end;
	}
	assert_int_equal(latest_start(&latest, borders, 2 * nr), 0);
	return latest;
}

static void the_last_one_that_overlaps_is_found(void **state)
{
	const struct range ranges[] = { { 10, 20 }, { 15, 40 }, { 30, 31 }, { 100, UINT64_MAX } };
	struct latest latest = started(ranges, array_size(ranges));

	(void)state;
	assert_int_equal(latest_find(&latest, 0, UINT64_MAX), 0);
	for (uint32_t i = 0; i < array_size(ranges); i++)
		latest_note(&latest, ranges[i].from, ranges[i].end, i + 1);
	assert_int_equal(latest_find(&latest, 0, 10), 0);
	assert_int_equal(latest_find(&latest, 0, 11), 1);
	assert_int_equal(latest_find(&latest, 14, 15), 1);
	assert_int_equal(latest_find(&latest, 14, 16), 2);
	assert_int_equal(latest_find(&latest, 31, 99), 2);
	assert_int_equal(latest_find(&latest, 12, 99), 3);
	assert_int_equal(latest_find(&latest, 40, 100), 0);
	assert_int_equal(latest_find(&latest, 5, 101), 4);
	assert_int_equal(latest_find(&latest, UINT64_MAX - 1, UINT64_MAX), 4);
	latest_free(&latest);
}

static void without_ranges_nothing_is_found(void **state)
{
	struct latest latest = started(NULL, 0);

	(void)state;
	assert_int_equal(latest_find(&latest, 0, UINT64_MAX), 0);
	latest_free(&latest);
	latest_free(&latest);
}

/* Against a list of what was noted last at each place. */
static void random_ranges_are_found_as_a_list_of_places_says(void **state)
{
	struct range ranges[60];

	(void)state;
	for (uint64_t seed = 0; seed < 300; seed++) {
		uint32_t nr = (uint32_t)(1 + seed % array_size(ranges)), last[PLACES] = { 0 };
		struct latest latest;

		for (uint32_t i = 0; i < nr; i++) {
			ranges[i].from = rng_mix(seed, i, 0) % (PLACES - 1);
			ranges[i].end = ranges[i].from + 1 +
					rng_mix(seed, i, 1) % (PLACES - ranges[i].from - 1);
		}
		latest = started(ranges, nr);
		for (uint32_t i = 0; i < nr; i++) {
			uint64_t from = rng_mix(seed, i, 2) % PLACES;
			uint64_t end = from + 1 + rng_mix(seed, i, 3) % (PLACES - from);
			uint32_t wanted = 0;

			latest_note(&latest, ranges[i].from, ranges[i].end, i + 1);
			for (uint64_t at = ranges[i].from; at < ranges[i].end; at++)
				last[at] = i + 1;
			for (uint64_t at = from; at < end; at++)
				wanted = last[at] > wanted ? last[at] : wanted;
			if (latest_find(&latest, from, end) != wanted)
				fail_msg("seed %llu, range %u: got %u, wanted %u",
					 (unsigned long long)seed, i,
					 latest_find(&latest, from, end), wanted);
		}
		latest_free(&latest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_one_that_overlaps_is_found),
		cmocka_unit_test(without_ranges_nothing_is_found),
		cmocka_unit_test(random_ranges_are_found_as_a_list_of_places_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
