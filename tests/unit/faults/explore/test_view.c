// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/view.h"
#include "tests/crash_case.h"

#include <errno.h>
#include <sys/stat.h>

#define SIZE (1u << 20)
#define UNIT 4096u

static unsigned char letters[8][4 * UNIT];

static void set_letters(void)
{
	for (size_t i = 0; i < 8; i++)
		memset(letters[i], 'a' + (int)i, sizeof(letters[i]));
}

/* Durable: a letter each at 0 and 64k. Undecided: units 2 to 4 (b, then c in 3), zeroes in 5. */
static struct crash_case *make_case(enum crash_atomic atomic)
{
	struct crash_options options = { .unit_bytes = UNIT, .atomic = atomic };
	struct crash_case *c = calloc(1, sizeof(*c));

	set_letters();
	c->size_bytes = SIZE;
	c->nr_disks = 1;
	case_complete(c, case_write(c, 0, 0, UNIT, letters[0], 0));
	case_complete(c, case_write(c, 0, 5 * UNIT, UNIT, letters[0], 0));
	case_complete(c, case_write(c, 0, 16 * UNIT, UNIT, letters[0], 0));
	case_flush(c, 0);
	case_complete(c, case_write(c, 0, 2 * UNIT, 3 * UNIT, letters[1], 0));
	case_complete(c, case_write(c, 0, 3 * UNIT, UNIT, letters[2], 0));
	case_complete(c, case_write(c, 0, 5 * UNIT, UNIT, NULL, 0));
	case_seal(c, 512, &options);
	return c;
}

static void drop_case(struct crash_case *c)
{
	case_free(c);
	free(c);
}

static struct view *make_view(const struct crash_case *c)
{
	struct view *view;

	assert_int_equal(view_create(c->crash, c->images, &view), 0);
	return view;
}

/* One character for each sector from unit @unit on: '.' zero, its letter, '?' anything else. */
static const char *map_of(struct view *view, uint64_t unit, size_t nr, char *map)
{
	unsigned char sector[512];

	for (size_t i = 0; i < nr; i++) {
		assert_int_equal(view_read(view, 0, unit * UNIT + i * 512, sector, 512), 0);
		map[i] = memcmp(sector, sector + 1, 511) ? '?' : sector[0] ? (char)sector[0] : '.';
	}
	map[nr] = '\0';
	return map;
}
#define MAP_OF(view, unit, nr) map_of((view), (unit), (nr), (char[(nr) + 1]){ 0 })

static void a_picked_unit_hides_the_image_and_a_written_sector_hides_both(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	uint16_t picks[4];

	(void)state;
	crash_newest(c->crash, picks);
	assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
	assert_string_equal(MAP_OF(view, 0, 48),
			    "aaaaaaaa........bbbbbbbbccccccccbbbbbbbb........");
	view_write(view, 0, 3 * UNIT - 512, letters[3], 1024);
	view_zero(view, 0, 3 * UNIT + 7 * 512, 1024);
	assert_string_equal(MAP_OF(view, 2, 24), "bbbbbbbddcccccc..bbbbbbb");
	crash_oldest(c->crash, picks);
	assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
	assert_string_equal(MAP_OF(view, 0, 48),
			    "aaaaaaaa................................aaaaaaaa");
	assert_int_equal(view_written(view), 0);
	view_free(view);
	drop_case(c);
}

static void whole_writes_and_prefixes_can_be_picked_as_well(void **state)
{
	static const enum crash_atomic atomics[] = { CRASH_WRITE, CRASH_ORDER };

	(void)state;
	for (size_t i = 0; i < array_size(atomics); i++) {
		struct crash_case *c = make_case(atomics[i]);
		struct view *view = make_view(c);
		uint16_t picks[3] = { 1, 0, 0 };

		assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
		assert_string_equal(MAP_OF(view, 2, 32), "bbbbbbbbbbbbbbbbbbbbbbbbaaaaaaaa");
		crash_newest(c->crash, picks);
		assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
		assert_string_equal(MAP_OF(view, 2, 32), "bbbbbbbbccccccccbbbbbbbb........");
		crash_oldest(c->crash, picks);
		assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
		assert_string_equal(MAP_OF(view, 2, 32), "........................aaaaaaaa");
		view_free(view);
		drop_case(c);
	}
}

/* ---- deciding ---------------------------------------------------------------------------- */

struct asked {
	size_t nr, choice[16];
	uint32_t from[16], to[16];
	int answer;
};

static int answer(void *ctx, size_t choice, uint32_t from, uint32_t to)
{
	struct asked *asked = ctx;

	assert_true(asked->nr < array_size(asked->choice));
	asked->choice[asked->nr] = choice;
	asked->from[asked->nr] = from;
	asked->to[asked->nr++] = to;
	return asked->answer;
}

static void only_undecided_bytes_that_nobody_wrote_are_asked_for(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	struct asked asked = { .answer = 1 };
	unsigned char buffer[4 * UNIT];

	(void)state;
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	assert_int_equal(view_read(view, 0, 0, buffer, 2 * UNIT), 0);
	view_write(view, 0, 2 * UNIT + 1024, letters[3], UNIT);
	assert_int_equal(asked.nr, 0);
	assert_string_equal(MAP_OF(view, 2, 1), "b");
	assert_int_equal(asked.nr, 1);
	assert_int_equal(asked.to[0], 512);
	assert_int_equal(view_read(view, 0, 2 * UNIT, buffer, 3 * UNIT), 0);
	assert_int_equal(asked.nr, 4);
	assert_int_equal(asked.choice[1], 0);
	assert_int_equal(asked.to[1], 1024);
	assert_int_equal(asked.choice[2], 1);
	assert_int_equal(asked.from[2], 1024);
	assert_int_equal(asked.to[2], UNIT);
	assert_int_equal(asked.choice[3], 2);
	assert_int_equal(buffer[1023], 'b');
	assert_int_equal(buffer[1024], 'd');
	view_free(view);
	drop_case(c);
}

static void a_settled_unit_is_not_asked_for_again_until_the_reset(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	struct asked asked = { .answer = 0 };

	(void)state;
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	view_settle(view, 1, 2);
	assert_string_equal(MAP_OF(view, 3, 8), "cccccccc");
	assert_int_equal(asked.nr, 0);
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	assert_string_equal(MAP_OF(view, 3, 2), "..");
	assert_int_equal(asked.nr, 2);
	view_free(view);
	drop_case(c);
}

static void what_the_decision_fails_with_the_read_fails_with(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	struct asked asked = { .answer = -ENOMEM };
	unsigned char buffer[UNIT];

	(void)state;
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	assert_int_equal(view_read(view, 0, 2 * UNIT, buffer, UNIT), -ENOMEM);
	assert_int_equal(view_read(view, 0, 0, buffer, UNIT), 0);
	view_free(view);
	drop_case(c);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void a_watcher_can_tell_what_was_written_late(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	struct asked asked = { .answer = 0 };
	uint8_t late;

	(void)state;
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	view_write(view, 0, 512, letters[3], 1024);
	view_phase(view);
	view_write(view, 0, 1024, letters[4], 1024);
	assert_int_equal(view_changed(view, 0, 0, &late), 0xe);
	assert_int_equal(late, 0xc);
	assert_int_equal(view_changed(view, 0, UNIT, &late), 0);
	assert_int_equal(late, 0);
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	view_write(view, 0, 512, letters[3], 512);
	assert_int_equal(view_changed(view, 0, 0, &late), 0x2);
	assert_int_equal(late, 0);
	view_free(view);
	drop_case(c);
}

static void the_overlay_ends_at_its_limit_and_zeroes_hardly_count(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	struct asked asked = { .answer = 0 };
	uint64_t at;

	(void)state;
	view_limit(view, 64 << 10);
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	assert_int_equal(view_zero(view, 0, 0, SIZE), 0);
	assert_true(view_written(view) <= 64 << 10);
	assert_string_equal(MAP_OF(view, 0, 8), "........");
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	for (at = 0; at < SIZE; at += UNIT)
		if (view_write(view, 0, at, letters[3], UNIT) < 0)
			break;
	assert_int_equal(at, 15 * UNIT);
	assert_int_equal(view_write(view, 0, 0, letters[4], UNIT), 0);
	assert_string_equal(MAP_OF(view, 14, 16), "dddddddd........");
	assert_int_equal(view_reset(view, NULL, answer, &asked), 0);
	assert_int_equal(view_write(view, 0, at, letters[3], UNIT), 0);
	view_free(view);
	drop_case(c);
}

static void to_read_a_hole_of_the_image_does_not_fill_it(void **state)
{
	struct crash_case *c = make_case(CRASH_UNIT);
	struct view *view = make_view(c);
	unsigned char *buffer = malloc(SIZE);
	uint16_t picks[4];
	struct stat before, after;

	(void)state;
	crash_newest(c->crash, picks);
	assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
	assert_int_equal(fstat(c->images[0].fd, &before), 0);
	assert_int_equal(view_read(view, 0, 0, buffer, SIZE), 0);
	assert_int_equal(fstat(c->images[0].fd, &after), 0);
	assert_int_equal(after.st_blocks, before.st_blocks);
	assert_true(after.st_blocks * 512 <= 4 * UNIT);
	assert_int_equal(buffer[16 * UNIT], 'a');
	assert_int_equal(buffer[17 * UNIT], 0);
	free(buffer);
	view_free(view);
	drop_case(c);
}

/* ---- against a plain copy ---------------------------------------------------------------- */

static void random_step(struct draw *draw, struct view *view, unsigned char *copy)
{
	static unsigned char buffer[SIZE];
	uint64_t at = draw_below(draw, SIZE / 512), end = SIZE / 512;
	uint64_t len = 1 + draw_below(draw, draw_below(draw, 8) ? 20 : 600);

	if (draw_below(draw, 2))
		at %= 100;
	len = at + len > end ? (end - at) * 512 : len * 512;
	at *= 512;
	switch (draw_below(draw, 4)) {
	case 0:
		memset(buffer, (int)draw_below(draw, 256), len);
		assert_int_equal(view_write(view, 0, at, buffer, len), 0);
		memcpy(copy + at, buffer, len);
		break;
	case 1:
		assert_int_equal(view_zero(view, 0, at, len), 0);
		memset(copy + at, 0, len);
		break;
	default:
		assert_int_equal(view_read(view, 0, at, buffer, len), 0);
		assert_memory_equal(buffer, copy + at, len);
	}
}

static void a_view_reads_like_a_copy_of_its_state(void **state)
{
	static const enum crash_atomic atomics[] = { CRASH_UNIT, CRASH_WRITE, CRASH_ORDER };
	static unsigned char copy[SIZE];

	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct crash_case *c = make_case(atomics[seed % 3]);
		struct draw draw = { .seed = seed };
		struct view *view;
		uint16_t picks[4];
		const struct crash_choice *choices;
		size_t nr = crash_choices(c->crash, &choices);
		int fd = c->images[0].fd;

		/* Without a file the image is read as it is. */
		if (seed % 2)
			c->images[0].fd = -1;
		view = make_view(c);
		for (int round = 0; round < 4; round++) {
			for (size_t i = 0; i < nr; i++)
				picks[i] = (uint16_t)draw_below(&draw, choices[i].nr);
			case_state(c, picks, copy);
			assert_int_equal(view_reset(view, picks, NULL, NULL), 0);
			for (int i = 0; i < 60; i++)
				random_step(&draw, view, copy);
		}
		view_free(view);
		c->images[0].fd = fd;
		drop_case(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_picked_unit_hides_the_image_and_a_written_sector_hides_both),
		cmocka_unit_test(whole_writes_and_prefixes_can_be_picked_as_well),
		cmocka_unit_test(only_undecided_bytes_that_nobody_wrote_are_asked_for),
		cmocka_unit_test(a_settled_unit_is_not_asked_for_again_until_the_reset),
		cmocka_unit_test(what_the_decision_fails_with_the_read_fails_with),
		cmocka_unit_test(a_watcher_can_tell_what_was_written_late),
		cmocka_unit_test(the_overlay_ends_at_its_limit_and_zeroes_hardly_count),
		cmocka_unit_test(to_read_a_hole_of_the_image_does_not_fill_it),
		cmocka_unit_test(a_view_reads_like_a_copy_of_its_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
