// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "tools/cli/places.h"

#include <errno.h>
#include <stdio.h>

/* What comes of @text, in sectors: "17..23 40..41"; or what is said of it. */
static int places_of(const char *text, uint64_t unit, char got[4096], struct diag *diag)
{
	struct places places = { .unit_bytes = unit };
	FILE *file = fmemopen((void *)text, strlen(text), "r");
	size_t at = 0;
	int err;

	assert_non_null(file);
	*diag = (struct diag){ .line = 0 };
	got[0] = '\0';
	err = places_read(&places, file, "x", diag);
	fclose(file);
	places_end(&places);
	for (size_t i = 0; i < places.nr && !err && at < 4000; i++) {
		const struct value_range *range = &places.ranges[i];

		at += (size_t)snprintf(got + at, 4096 - at, "%s%llu..", i ? " " : "",
				       (unsigned long long)range->from / SEC);
		if (range->to != UINT64_MAX)
			at += (size_t)snprintf(got + at, 4096 - at, "%llu",
					       (unsigned long long)range->to / SEC);
	}
	places_free(&places);
	return err;
}

static void every_form_that_people_have_is_read(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit;
		const char *want;
	} table[] = {
		{ "17s..23s", 0, "17..23" },
		{ "40s..48s,17s..23s 1M..\n", 0, "17..23 40..48 2048.." },
		{ "17s..23s,23s..24s,20s..21s", 0, "17..24" },
		{ "# from last night\n\n 1k..2k # this one\r\n3k..4k", 0, "2..4 6..8" },
		/* badblocks -b 4096, the kernel's sectors, dm-dust */
		{ "5\n6\n9\n", 4096, "40..56 72..80" },
		{ "17", 512, "17..18" },
		{ "60-67, 80", 512, "60..68 80..81" },
		{ "60+8\n68+1", 1024, "120..138" },
		{ "1M+4k", 0, "2048..2056" },
		{ "Filesystem type is: ef53\n"
		  "File size of /mnt/1 of 2 is 12288 (3 blocks of 4096 bytes)\n"
		  " ext:     logical_offset:        physical_offset: length:   expected: flags:\n"
		  "   0:        0..       1:      34816..     34817:      2:\n"
		  "   1:        2..       2:        100..       100:      1:      34818: last,eof\n"
		  "/mnt/1 of 2: 2 extents found\n"
		  "File size of b is 1024 (1 block of 1024 bytes)\n"
		  " ext:     logical_offset:        physical_offset: length:   expected: flags:\n"
		  "   0:        0..       0:          7..         7:      1: last,unwritten,eof\n"
		  "b: 1 extent found\n"
		  "17s..18s\n",
		  0, "14..16 17..18 800..808 278528..278544" },
	};
	struct diag diag;
	char got[4096];

	(void)state;
	for (size_t i = 0; i < array_size(table); i++) {
		if (places_of(table[i].text, table[i].unit, got, &diag))
			fail_msg("'%s': %s", table[i].text, diag.message);
		assert_string_equal(got, table[i].want);
	}
}

static void what_is_no_place_is_told_with_its_line(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit;
		const char *says, *hints;
	} table[] = {
		{ "1k..2k\n17\n", 0, "x:2: '17' counts blocks of unknown size: give --unit SIZE",
		  "badblocks counts in 1k" },
		{ "17-20", 0, "--unit", "" },
		{ "17+3", 0, "--unit", "" },
		{ "17s", 512, "got '17s', wanted 17s..23s, 4711", "" },
		{ "20-17", 512, "FIRST-LAST", "" },
		{ "17s-20s", 512, "FIRST-LAST", "" },
		{ "17+0", 512, "at least one block", "" },
		{ "1M+8", 512, "both in blocks", "" },
		{ "1M+0k", 0, "START+LEN", "" },
		{ "100..200", 0, "whole sectors", "" },
		{ "2k..1k", 0, "START..END", "" },
		{ "18446744073709551615", 512, "got '18446744073709551615'", "" },
		{ "9999999999999999999", 512, "inside a disk", "" },
		{ "x", 512, "got 'x'", "" },
		{ "Filesystem type is: 9123683e\n", 0, "btrfs", "" },
		{ "Filesystem type is: ef53\n   0:        0..       1:   34816..  34817:      2:\n",
		  0, "'File size of ...'", "" },
		{ "Filesystem type is: ef53\nFile size of a is 4096 (1 block of 4096 bytes)\n"
		  "   0:        0..       0:          0..         0:      1: last,unknown_loc,delalloc,eof\n",
		  0, "x:3: an extent has no blocks of its own on the disk (unknown)", "sync" },
		{ "Filesystem type is: ef53\nFile size of a is 4096 (1 block of 4096 bytes)\n"
		  "   0:        0..       1:          5..         6:      3: last,eof\n",
		  0, "as long as it says", "" },
	};
	struct diag diag;
	char got[4096];

	(void)state;
	for (size_t i = 0; i < array_size(table); i++) {
		if (places_of(table[i].text, table[i].unit, got, &diag) != -EINVAL)
			fail_msg("'%s' was taken: %s", table[i].text, got);
		if (!strstr(diag.message, table[i].says) || !strstr(diag.hint, table[i].hints))
			fail_msg("'%s': '%s' (%s)", table[i].text, diag.message, diag.hint);
	}
}

/* Work, not time: each is looked at a few times, however many they are. */
static void a_long_list_in_any_order_comes_out_sorted(void **state)
{
	struct places places = { .unit_bytes = 512 };
	struct draw draw = { .seed = 5 };
	struct diag diag = { 0 };
	const unsigned int nr = 100000;

	(void)state;
	for (unsigned int i = 0; i < nr; i++) {
		char word[32];
		int len = snprintf(word, sizeof(word), "%u", 2 * (i * 7919u % nr));

		assert_int_equal(places_line(&places, (struct text){ word, (size_t)len }, &diag),
				 0);
	}
	places_end(&places);
	assert_int_equal(places.nr, nr);
	for (unsigned int i = 0; i < nr; i++)
		assert_int_equal(places.ranges[i].from, 2ull * i * SEC);
	places_free(&places);
	/* Whatever stands there, it is taken or refused. */
	for (int i = 0; i < 20000; i++) {
		static const char some[] = "0123456789.,+-ks M#.. \t9of";
		char text[40] = "";

		for (size_t at = draw_below(&draw, sizeof(text) - 1); at-- > 0;)
			text[at] = some[draw_below(&draw, sizeof(some) - 1)];
		places = (struct places){ .unit_bytes = draw_below(&draw, 2) * 4096 };
		places_line(&places, (struct text){ text, strlen(text) }, NULL);
		places_end(&places);
		for (size_t r = 0; r < places.nr; r++)
			assert_true(places.ranges[r].from < places.ranges[r].to &&
				    (!r || places.ranges[r - 1].to < places.ranges[r].from));
		places_free(&places);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_that_people_have_is_read),
		cmocka_unit_test(what_is_no_place_is_told_with_its_line),
		cmocka_unit_test(a_long_list_in_any_order_comes_out_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
