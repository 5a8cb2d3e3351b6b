// SPDX-License-Identifier: MIT
#include "base/array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void room_is_the_first_and_then_doubles_and_keeps_what_is_there(void **state)
{
	static const uint32_t rooms[] = { 3, 6, 12, 24 };
	uint32_t *items = NULL, nr = 0, room = 0;

	(void)state;
	for (; nr < 24; nr++) {
		assert_int_equal(array_room("tests", items, room, nr + 1, 3), 0);
		assert_int_equal(room, rooms[nr < 3 ? 0 : nr < 6 ? 1 : nr < 12 ? 2 : 3]);
		items[nr] = 7 * nr;
	}
	for (uint32_t i = 0; i < nr; i++)
		assert_int_equal(items[i], 7 * i);
	free(items);
}

static void more_than_twice_as_many_are_just_so_many(void **state)
{
	char *bytes = NULL, *before;
	size_t room = 0;

	(void)state;
	assert_int_equal(array_room("tests", bytes, room, 100, 16), 0);
	assert_int_equal(room, 100);
	before = bytes;
	assert_int_equal(array_room("tests", bytes, room, 100, 16), 0);
	assert_int_equal(array_room("tests", bytes, room, 0, 16), 0);
	assert_ptr_equal(bytes, before);
	assert_int_equal(room, 100);
	assert_int_equal(array_room("tests", bytes, room, 1000, 16), 0);
	assert_int_equal(room, 1000);
	free(bytes);
}

static void room_ends_where_its_variable_does_and_nothing_is_lost(void **state)
{
	uint16_t *items = NULL;
	uint8_t room = 0;

	(void)state;
	assert_int_equal(array_room("tests", items, room, 200, 16), 0);
	assert_int_equal(room, 200);
	items[199] = 4711;
	assert_int_equal(array_room("tests", items, room, 201, 16), 0);
	assert_int_equal(room, 255);
	assert_int_equal(array_room("tests", items, room, 256, 16), -ENOMEM);
	assert_int_equal(room, 255);
	assert_int_equal(items[199], 4711);
	free(items);
}

static void bytes_that_overflow_or_cannot_be_had_are_no_memory(void **state)
{
	struct {
		uint64_t words[4];
	} *items = NULL, *before;
	size_t room = 0;

	(void)state;
	assert_int_equal(array_room("tests", items, room, 4, 4), 0);
	items[3].words[3] = 4711;
	before = items;
	/* 32 times as many bytes wrap around to 32; and half of the address space is not to be had. */
	assert_int_equal(array_room("tests", items, room, SIZE_MAX / 32 + 2, 4), -ENOMEM);
	assert_int_equal(array_room("tests", items, room, SIZE_MAX / 64 + 1, 4), -ENOMEM);
	assert_int_equal(array_room("tests", items, room, SIZE_MAX, 4), -ENOMEM);
	assert_int_equal(array_fit("tests", items, SIZE_MAX / 32 + 2), -ENOMEM);
	assert_int_equal(room, 4);
	assert_ptr_equal(items, before);
	assert_int_equal(items[3].words[3], 4711);
	free(items);
}

static void an_array_that_fits_has_just_its_number(void **state)
{
	uint64_t *items = NULL;

	(void)state;
	for (size_t nr = 1; nr < 100; nr++) {
		assert_int_equal(array_fit("tests", items, nr), 0);
		items[nr - 1] = nr;
		assert_int_equal(items[0], 1);
	}
	free(items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_is_the_first_and_then_doubles_and_keeps_what_is_there),
		cmocka_unit_test(more_than_twice_as_many_are_just_so_many),
		cmocka_unit_test(room_ends_where_its_variable_does_and_nothing_is_lost),
		cmocka_unit_test(bytes_that_overflow_or_cannot_be_had_are_no_memory),
		cmocka_unit_test(an_array_that_fits_has_just_its_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
