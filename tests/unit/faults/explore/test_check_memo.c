// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/check_memo.h"

#include <errno.h>

#define PLACES 16u

/* A check whose first read says where it reads next, and so on: @contents are letters by sector. */
struct fake {
	const char *contents;
	char asked[64];
};

static void note(struct check_log *log, uint64_t sector, char letter)
{
	unsigned char bytes[SEC];

	memset(bytes, letter, SEC);
	check_log_note(log, 0, sector * SEC, (uint8_t)(1u << sector % PAGE_SECTORS), bytes);
}

static uint64_t content(char letter)
{
	unsigned char bytes[SEC];

	memset(bytes, letter, SEC);
	return check_hash(bytes, SEC);
}

static uint64_t ask(void *ctx, uint64_t place, const uint64_t *known, size_t nr_known)
{
	struct fake *fake = ctx;
	size_t at = strlen(fake->asked);

	(void)known;
	(void)nr_known;
	assert_true(place < PLACES);
	fake->asked[at] = (char)('0' + place);
	fake->asked[at + 1] = '\0';
	return content(fake->contents[place]);
}

/* Enter a check that read these sectors (digits) of these contents in this order. */
static int enter(struct check_memo *memo, const char *contents, const char *order, int verdict)
{
	struct check_log log;
	int err;

	check_log_init(&log);
	for (const char *digit = order; *digit; digit++)
		note(&log, (uint64_t)(*digit - '0'), contents[*digit - '0']);
	err = check_memo_add(memo, &log, verdict);
	check_log_free(&log);
	return err;
}

/* The verdict, or -1; and what was asked for. */
static int find(struct check_memo *memo, const char *contents, const char *asked)
{
	struct fake fake = { .contents = contents };
	int verdict = -1;

	if (!check_memo_find(memo, ask, &fake, &verdict))
		assert_int_equal(verdict, -1);
	assert_string_equal(fake.asked, asked);
	return verdict;
}

static struct check_memo *make_memo(uint64_t limit_bytes)
{
	struct check_memo *memo;

	assert_int_equal(check_memo_create(limit_bytes, &memo), 0);
	return memo;
}

static void a_check_that_reads_what_was_read_ends_as_that_did(void **state)
{
	struct check_memo *memo = make_memo(1 << 20);

	(void)state;
	assert_int_equal(find(memo, "aaaaaaaa", ""), -1);
	assert_int_equal(enter(memo, "aaaaaaaa", "2415", 7), 0);
	assert_int_equal(find(memo, "aaaaaaaa", "2415"), 7);
	assert_int_equal(find(memo, "baabaabb", "2415"), 7);
	assert_int_equal(find(memo, "aaaabaaa", "24"), -1);
	check_memo_free(memo);
}

static void the_tree_forks_where_contents_differ(void **state)
{
	struct check_memo *memo = make_memo(1 << 20);

	(void)state;
	assert_int_equal(enter(memo, "aaaaaaaa", "01234", 1), 0);
	assert_int_equal(enter(memo, "aaabaaaa", "0123567", 2), 0);
	assert_int_equal(enter(memo, "abaaaaaa", "01", 3), 0);
	assert_int_equal(enter(memo, "aaacaaaa", "0123", 4), 0);
	assert_int_equal(enter(memo, "aaabacaa", "01235", 5), 0);
	assert_int_equal(find(memo, "aaaaaaaa", "01234"), 1);
	assert_int_equal(find(memo, "aaabxaaa", "0123567"), 2);
	assert_int_equal(find(memo, "abxxxxxx", "01"), 3);
	assert_int_equal(find(memo, "aaacxxxx", "0123"), 4);
	assert_int_equal(find(memo, "aaabxcxx", "01235"), 5);
	assert_int_equal(find(memo, "aaadxxxx", "0123"), -1);
	assert_int_equal(find(memo, "acaaaaaa", "01"), -1);
	assert_int_equal(find(memo, "aaabaaab", "0123567"), -1);
	check_memo_free(memo);
}

static void the_order_of_the_reads_does_not_matter(void **state)
{
	struct check_memo *memo = make_memo(1 << 20);

	(void)state;
	assert_int_equal(enter(memo, "aaaaaaaa", "0123", 1), 0);
	assert_int_equal(enter(memo, "aaabaaaa", "321045", 2), 0);
	assert_int_equal(enter(memo, "aaaaaaaa", "3012", 1), 0);
	assert_int_equal(enter(memo, "aaabaaaa", "450321", 2), 0);
	assert_int_equal(find(memo, "aaabaaaa", "012345"), 2);
	assert_int_equal(find(memo, "aaaaxxxx", "0123"), 1);
	check_memo_free(memo);
}

static void the_same_reads_with_another_verdict_contradict(void **state)
{
	struct check_memo *memo = make_memo(1 << 20);

	(void)state;
	assert_int_equal(enter(memo, "aaaaaaaa", "0123", 1), 0);
	assert_int_equal(enter(memo, "aaaabbbb", "3210", 2), -ESTALE);
	assert_int_equal(enter(memo, "aaaabbbb", "3210", 1), 0);
	assert_int_equal(enter(memo, "", "", 1), 0);
	assert_int_equal(find(memo, "aaaaxxxx", "0123"), 1);
	check_memo_free(memo);
}

static void a_check_that_reads_nothing_always_ends_the_same(void **state)
{
	struct check_memo *memo = make_memo(1 << 20);

	(void)state;
	assert_int_equal(enter(memo, "", "", 5), 0);
	assert_int_equal(find(memo, "aaaaaaaa", ""), 5);
	assert_int_equal(enter(memo, "", "", 6), -ESTALE);
	check_memo_free(memo);
}

static void past_the_limit_nothing_is_remembered_and_all_else_works(void **state)
{
	struct check_memo *memo = make_memo(1);

	(void)state;
	assert_int_equal(enter(memo, "aaaaaaaa", "0123", 1), 0);
	assert_int_equal(enter(memo, "abaaaaaa", "0123", 2), 0);
	assert_int_equal(find(memo, "abaaaaaa", "01"), -1);
	assert_int_equal(find(memo, "aaaaaaaa", "0123"), 1);
	assert_int_equal(enter(memo, "aaaaaaaa", "0123", 3), -ESTALE);
	check_memo_free(memo);
}

static void a_log_keeps_what_a_sector_held_when_it_was_first_read(void **state)
{
	struct check_log log;
	unsigned char bytes[PAGE_BYTES];

	(void)state;
	check_log_init(&log);
	memset(bytes, 'a', sizeof(bytes));
	check_log_note(&log, 1, 4096 + 512, 0x06, bytes);
	memset(bytes, 'b', sizeof(bytes));
	check_log_note(&log, 1, 4096, 0x87, bytes);
	assert_int_equal(log.nr, 4);
	assert_int_equal(log.reads[0].place, check_place(1, 4096 + 512));
	assert_int_equal(log.reads[0].content, content('a'));
	assert_int_equal(log.reads[1].place, check_place(1, 4096 + 1024));
	assert_int_equal(log.reads[2].place, check_place(1, 4096));
	assert_int_equal(log.reads[2].content, content('b'));
	assert_int_equal(log.reads[3].place, check_place(1, 4096 + 7 * 512));
	check_log_clear(&log);
	assert_int_equal(log.nr, 0);
	check_log_note(&log, 1, 4096, 0x02, bytes);
	assert_int_equal(log.nr, 1);
	check_log_free(&log);
}

static void zeroes_have_one_name_wherever_they_are(void **state)
{
	static const unsigned char zeroes[4 * SEC];

	(void)state;
	assert_int_equal(check_hash(NULL, SEC), check_hash(zeroes, SEC));
	assert_int_equal(check_hash(NULL, 4 * SEC), check_hash(zeroes, 4 * SEC));
	assert_int_not_equal(check_hash(NULL, SEC), check_hash(NULL, 2 * SEC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_that_reads_what_was_read_ends_as_that_did),
		cmocka_unit_test(the_tree_forks_where_contents_differ),
		cmocka_unit_test(the_order_of_the_reads_does_not_matter),
		cmocka_unit_test(the_same_reads_with_another_verdict_contradict),
		cmocka_unit_test(a_check_that_reads_nothing_always_ends_the_same),
		cmocka_unit_test(past_the_limit_nothing_is_remembered_and_all_else_works),
		cmocka_unit_test(a_log_keeps_what_a_sector_held_when_it_was_first_read),
		cmocka_unit_test(zeroes_have_one_name_wherever_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
