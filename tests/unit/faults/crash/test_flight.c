// SPDX-License-Identifier: MIT
/* Writes that were in flight together: whichever the disk did first, its states are there. */
#include "tests/crash_case.h"
#include "tests/unit/check.h"

#include <errno.h>

#define SIZE   65536u
#define LETTER 512u

static unsigned char letters[26][LETTER];

/* One letter at a sector; in flight until case_complete(). */
static size_t begin_write(struct crash_case *c, unsigned int sector, char letter, uint32_t flags)
{
	memset(letters[letter - 'a'], letter, LETTER);
	return case_write(c, 0, sector * 512ull, LETTER, letters[letter - 'a'], flags);
}

static struct crash_case new_case(void)
{
	return (struct crash_case){ .size_bytes = SIZE, .nr_disks = 1 };
}

static int show(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	unsigned char *bytes = ctx;

	(void)disk;
	if (data)
		memcpy(bytes + at, data, len);
	else
		memset(bytes + at, 0, len);
	return 0;
}

/* The first @nr sectors in every state, in the order of crash_next(): ".. a. ab". */
static const char *states_of(const struct crash_case *c, unsigned int nr)
{
	static unsigned char bytes[SIZE];
	static char text[1024];
	uint16_t picks[64];
	size_t at = 0;

	crash_oldest(c->crash, picks);
	do {
		memcpy(bytes, c->images[0].bytes, SIZE);
		crash_put(c->crash, picks, show, bytes);
		assert_true(at + nr + 2 < sizeof(text));
		if (at)
			text[at++] = ' ';
		for (unsigned int i = 0; i < nr; i++)
			text[at++] = bytes[i * 512] ? (char)bytes[i * 512] : '.';
	} while (crash_next(c->crash, picks));
	text[at] = '\0';
	return text;
}

static void seal(struct crash_case *c, struct crash_options options)
{
	case_seal(c, 512, &options);
}

static bool is_missing(const struct crash_case *c)
{
	struct crash_count count;

	crash_count(c->crash, &count);
	return count.missing;
}

static const struct crash_options by_4k = { .unit_bytes = 4096 };
static const struct crash_options by_write = { .atomic = CRASH_WRITE };
static const struct crash_options in_order = { .atomic = CRASH_ORDER };

static void a_unit_may_have_the_later_of_two_writes_without_the_earlier(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	begin_write(&c, 0, 'a', 0);
	case_complete(&c, begin_write(&c, 1, 'b', 0));
	seal(&c, by_4k);
	assert_string_equal(states_of(&c, 2), ".. a. ab .b");
	assert_false(is_missing(&c));
	case_free(&c);
}

static void a_unit_with_a_durable_write_has_what_was_done_before_it(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	case_complete(&c, begin_write(&c, 0, 'a', 0));
	begin_write(&c, 2, 'c', 0);
	case_complete(&c, begin_write(&c, 1, 'b', IO_FUA));
	seal(&c, by_4k);
	assert_string_equal(states_of(&c, 3), "ab. abc");
	case_free(&c);
}

static void of_two_writes_to_one_place_in_a_unit_either_is_the_last(void **state)
{
	struct crash_case c = new_case();
	size_t first;

	(void)state;
	first = begin_write(&c, 0, 'a', IO_FUA);
	case_complete(&c, begin_write(&c, 0, 'b', IO_FUA));
	case_complete(&c, first);
	case_complete(&c, begin_write(&c, 1, 'c', IO_FUA));
	seal(&c, by_4k);
	assert_string_equal(states_of(&c, 2), "bc ac");
	case_free(&c);
}

static void what_is_lost_of_a_unit_is_told_by_its_parts(void **state)
{
	struct crash_case c = new_case();
	uint16_t picks[1];
	bool lost[2];

	(void)state;
	begin_write(&c, 0, 'a', 0);
	case_complete(&c, begin_write(&c, 1, 'b', 0));
	seal(&c, by_4k);
	picks[0] = 3; /* .b */
	crash_lost(c.crash, picks, lost);
	assert_true(lost[0] && !lost[1]);
	crash_survivors(c.crash, (bool[]){ false, true }, picks);
	assert_int_equal(picks[0], 3);
	crash_survivors(c.crash, (bool[]){ true, false }, picks);
	assert_int_equal(picks[0], 1);
	case_free(&c);
}

/* As many parts as there may be, all in flight: their versions are a power of two. */
static void too_many_versions_are_said_to_be_missing(void **state)
{
	struct crash_options options = { .unit_bytes = 16384 };

	(void)state;
	for (unsigned int nr = 8; nr <= 20; nr += 12) {
		struct crash_case c = new_case();
		const struct crash_choice *choices;

		for (unsigned int i = 0; i < nr; i++)
			begin_write(&c, i, (char)('a' + i), 0);
		seal(&c, options);
		assert_int_equal(crash_choices(c.crash, &choices), 1);
		assert_int_equal(is_missing(&c), nr > 8);
		if (nr == 8)
			assert_int_equal(choices[0].nr, 256);
		else
			assert_in_range(choices[0].nr, 1024, 1100);
		case_free(&c);
	}
}

static void in_order_a_write_in_flight_may_be_missing_and_a_done_one_may_not(void **state)
{
	struct crash_case c = new_case();
	struct crash_count count;

	(void)state;
	begin_write(&c, 0, 'a', 0);
	case_complete(&c, begin_write(&c, 1, 'b', 0));
	case_complete(&c, begin_write(&c, 2, 'c', 0));
	seal(&c, in_order);
	assert_string_equal(states_of(&c, 3), "... a.. ab. .b. abc .bc");
	crash_count(c.crash, &count);
	assert_int_equal(count.exact, 6);
	assert_false(count.missing);
	case_free(&c);
}

static void in_order_a_flush_of_a_later_write_does_not_make_one_in_flight_durable(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	begin_write(&c, 0, 'a', 0);
	case_complete(&c, begin_write(&c, 1, 'b', 0));
	case_flush(&c, 0);
	seal(&c, in_order);
	assert_string_equal(states_of(&c, 2), ".b ab");
	case_free(&c);
}

static void in_order_a_name_that_loses_what_cannot_be_lost_is_refused(void **state)
{
	struct crash_case c = new_case();
	uint16_t picks[3];
	struct diag diag;

	(void)state;
	begin_write(&c, 0, 'a', 0);
	case_complete(&c, begin_write(&c, 1, 'b', 0));
	seal(&c, in_order);
	assert_int_equal(crash_parse(c.crash, "new~1=1", &diag, picks), 0);
	assert_int_equal(crash_parse(c.crash, "old~1=1", &diag, picks), -EINVAL);
	assert_string_equal(diag.id, "crash.other-moment");
	assert_int_equal(crash_parse(c.crash, "old~0=1,1=1", &diag, picks), -EINVAL);
	case_free(&c);
}

/* So many sectors from one on. */
static size_t begin_long(struct crash_case *c, unsigned int sector, unsigned int nr, char letter,
			 uint32_t flags)
{
	static unsigned char bytes[26][8 * LETTER];
	unsigned char *data = bytes[letter - 'a'];

	memset(data, letter, sizeof(bytes[0]));
	return case_write(c, 0, sector * 512ull, nr * 512ull, data, flags);
}

static uint64_t count_of(const struct crash_case *c)
{
	struct crash_count count;

	crash_count(c->crash, &count);
	return count.exact;
}

static void of_whole_writes_over_each_other_either_is_the_last(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	begin_long(&c, 0, 2, 'a', 0);
	begin_long(&c, 1, 2, 'b', 0);
	seal(&c, by_write);
	assert_string_equal(states_of(&c, 3), "... aa. .bb abb aab");
	assert_int_equal(count_of(&c), 5);
	assert_false(is_missing(&c));
	case_free(&c);
}

static void what_was_done_before_comes_before(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	case_complete(&c, begin_long(&c, 0, 2, 'a', 0));
	begin_long(&c, 1, 2, 'b', 0);
	seal(&c, by_write);
	assert_string_equal(states_of(&c, 3), "... aa. .bb abb");
	case_free(&c);
}

/* a and b meet, b and c do, and a was done before c: the third order would be a circle. */
static void orders_of_three_go_round_in_no_circle(void **state)
{
	struct crash_case c = new_case();
	size_t a, b;

	(void)state;
	a = begin_long(&c, 0, 2, 'a', IO_FUA);
	b = begin_long(&c, 1, 2, 'b', IO_FUA);
	case_complete(&c, a);
	case_complete(&c, begin_long(&c, 2, 2, 'c', IO_FUA));
	case_complete(&c, b);
	seal(&c, by_write);
	assert_string_equal(states_of(&c, 4), "abcc abbc aacc");
	assert_int_equal(count_of(&c), 3);
	case_free(&c);
}

/* Once durable, their order stays open until one comes over them that is. */
static void an_order_stays_open_until_it_is_written_over(void **state)
{
	for (int over = 0; over < 2; over++) {
		for (int i = 0; i < 2; i++) {
			struct crash_case c = new_case();
			size_t a = begin_write(&c, 0, 'a', 0), b = begin_write(&c, 0, 'b', 0);

			case_complete(&c, a);
			case_complete(&c, b);
			case_flush(&c, 0);
			if (over)
				case_complete(&c, begin_write(&c, 0, 'c', IO_FUA));
			seal(&c, i ? in_order : by_write);
			assert_string_equal(states_of(&c, 1), over ? "c" : "b a");
			case_free(&c);
		}
	}
	(void)state;
}

/* What the disk held before is what one of them writes: it is there only over the other one. */
static void one_that_changes_nothing_alone_may_come_over_another(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	case_complete(&c, begin_write(&c, 0, 'a', IO_FUA));
	begin_write(&c, 0, 'a', 0);
	begin_long(&c, 0, 2, 'b', 0);
	seal(&c, by_write);
	assert_string_equal(states_of(&c, 2), "a. a. bb bb ab");
	case_free(&c);
}

static void a_disk_that_keeps_an_order_may_have_had_another_one(void **state)
{
	struct crash_case c = new_case();

	(void)state;
	case_complete(&c, begin_write(&c, 3, 'x', 0));
	begin_long(&c, 0, 2, 'a', 0);
	begin_long(&c, 1, 2, 'b', 0);
	seal(&c, in_order);
	assert_string_equal(states_of(&c, 4), ".... ...x aa.x abbx aabx .bbx");
	assert_int_equal(count_of(&c), 6);
	case_free(&c);
}

static void too_many_over_each_other_are_said_to_lack_orders(void **state)
{
	(void)state;
	for (unsigned int nr = 6; nr <= 9; nr++) {
		struct crash_case c = new_case();

		for (unsigned int i = 0; i < nr; i++)
			begin_write(&c, 0, (char)('a' + i), 0);
		seal(&c, by_write);
		assert_int_equal(is_missing(&c), nr > 6);
		/* Of each set each may be the last. */
		assert_int_equal(count_of(&c), nr > 6 ? 1u << nr : 1 + nr * (1u << (nr - 1)));
		case_free(&c);
	}
}

static void an_order_that_makes_no_difference_has_no_name(void **state)
{
	struct crash_case c = new_case();
	uint16_t picks[3];
	struct diag diag;

	(void)state;
	begin_long(&c, 0, 2, 'a', 0);
	begin_long(&c, 1, 2, 'b', 0);
	seal(&c, by_write);
	assert_int_equal(crash_parse(c.crash, "new~2=1", &diag, picks), 0);
	assert_true(crash_reordered(c.crash, picks, 0));
	assert_int_equal(crash_parse(c.crash, "new", &diag, picks), 0);
	assert_false(crash_reordered(c.crash, picks, 0));
	assert_int_equal(crash_parse(c.crash, "old~0=1,2=1", &diag, picks), -EINVAL);
	assert_string_equal(diag.id, "crash.other-moment");
	case_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_unit_may_have_the_later_of_two_writes_without_the_earlier),
		cmocka_unit_test(a_unit_with_a_durable_write_has_what_was_done_before_it),
		cmocka_unit_test(of_two_writes_to_one_place_in_a_unit_either_is_the_last),
		cmocka_unit_test(what_is_lost_of_a_unit_is_told_by_its_parts),
		cmocka_unit_test(too_many_versions_are_said_to_be_missing),
		cmocka_unit_test(in_order_a_write_in_flight_may_be_missing_and_a_done_one_may_not),
		cmocka_unit_test(
			in_order_a_flush_of_a_later_write_does_not_make_one_in_flight_durable),
		cmocka_unit_test(in_order_a_name_that_loses_what_cannot_be_lost_is_refused),
		cmocka_unit_test(of_whole_writes_over_each_other_either_is_the_last),
		cmocka_unit_test(what_was_done_before_comes_before),
		cmocka_unit_test(orders_of_three_go_round_in_no_circle),
		cmocka_unit_test(an_order_stays_open_until_it_is_written_over),
		cmocka_unit_test(one_that_changes_nothing_alone_may_come_over_another),
		cmocka_unit_test(a_disk_that_keeps_an_order_may_have_had_another_one),
		cmocka_unit_test(too_many_over_each_other_are_said_to_lack_orders),
		cmocka_unit_test(an_order_that_makes_no_difference_has_no_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
