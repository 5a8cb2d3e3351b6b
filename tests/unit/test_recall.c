// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "faults/explore/recall.h"

#include <errno.h>

#define PLACES 16u

/* A check whose first read says where it reads next, and so on: @contents are letters by sector. */
struct fake {
	const char *contents;
	char asked[64];
};

static void note(struct recall_log *log, uint64_t sector, char letter)
{
	unsigned char bytes[SEC];

	memset(bytes, letter, SEC);
	recall_note(log, 0, sector * SEC, (uint8_t)(1u << sector % PAGE_SECTORS), bytes);
}

static uint64_t content(char letter)
{
	unsigned char bytes[SEC];

	memset(bytes, letter, SEC);
	return recall_hash(bytes, SEC);
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
static int enter(struct recall *recall, const char *contents, const char *order, int verdict)
{
	struct recall_log log;
	int err;

	recall_log_init(&log);
	for (const char *digit = order; *digit; digit++)
		note(&log, (uint64_t)(*digit - '0'), contents[*digit - '0']);
	err = recall_add(recall, &log, verdict);
	recall_log_free(&log);
	return err;
}

/* The verdict, or -1; and what was asked for. */
static int find(struct recall *recall, const char *contents, const char *asked)
{
	struct fake fake = { .contents = contents };
	int verdict = -1;

	if (!recall_find(recall, ask, &fake, &verdict))
		assert_int_equal(verdict, -1);
	assert_string_equal(fake.asked, asked);
	return verdict;
}

static struct recall *make_recall(uint64_t limit_bytes)
{
	struct recall *recall;

	assert_int_equal(recall_create(limit_bytes, &recall), 0);
	return recall;
}

static void a_check_that_reads_what_was_read_ends_as_that_did(void **state)
{
	struct recall *recall = make_recall(1 << 20);

	(void)state;
	assert_int_equal(find(recall, "aaaaaaaa", ""), -1);
	assert_int_equal(enter(recall, "aaaaaaaa", "2415", 7), 0);
	assert_int_equal(find(recall, "aaaaaaaa", "2415"), 7);
	assert_int_equal(find(recall, "baabaabb", "2415"), 7);
	assert_int_equal(find(recall, "aaaabaaa", "24"), -1);
	recall_free(recall);
}

static void the_tree_forks_where_contents_differ(void **state)
{
	struct recall *recall = make_recall(1 << 20);

	(void)state;
	assert_int_equal(enter(recall, "aaaaaaaa", "01234", 1), 0);
	assert_int_equal(enter(recall, "aaabaaaa", "0123567", 2), 0);
	assert_int_equal(enter(recall, "abaaaaaa", "01", 3), 0);
	assert_int_equal(enter(recall, "aaacaaaa", "0123", 4), 0);
	assert_int_equal(enter(recall, "aaabacaa", "01235", 5), 0);
	assert_int_equal(find(recall, "aaaaaaaa", "01234"), 1);
	assert_int_equal(find(recall, "aaabxaaa", "0123567"), 2);
	assert_int_equal(find(recall, "abxxxxxx", "01"), 3);
	assert_int_equal(find(recall, "aaacxxxx", "0123"), 4);
	assert_int_equal(find(recall, "aaabxcxx", "01235"), 5);
	assert_int_equal(find(recall, "aaadxxxx", "0123"), -1);
	assert_int_equal(find(recall, "acaaaaaa", "01"), -1);
	assert_int_equal(find(recall, "aaabaaab", "0123567"), -1);
	recall_free(recall);
}

static void the_order_of_the_reads_does_not_matter(void **state)
{
	struct recall *recall = make_recall(1 << 20);

	(void)state;
	assert_int_equal(enter(recall, "aaaaaaaa", "0123", 1), 0);
	assert_int_equal(enter(recall, "aaabaaaa", "321045", 2), 0);
	assert_int_equal(enter(recall, "aaaaaaaa", "3012", 1), 0);
	assert_int_equal(enter(recall, "aaabaaaa", "450321", 2), 0);
	assert_int_equal(find(recall, "aaabaaaa", "012345"), 2);
	assert_int_equal(find(recall, "aaaaxxxx", "0123"), 1);
	recall_free(recall);
}

static void the_same_reads_with_another_verdict_contradict(void **state)
{
	struct recall *recall = make_recall(1 << 20);

	(void)state;
	assert_int_equal(enter(recall, "aaaaaaaa", "0123", 1), 0);
	assert_int_equal(enter(recall, "aaaabbbb", "3210", 2), -ESTALE);
	assert_int_equal(enter(recall, "aaaabbbb", "3210", 1), 0);
	assert_int_equal(enter(recall, "", "", 1), 0);
	assert_int_equal(find(recall, "aaaaxxxx", "0123"), 1);
	recall_free(recall);
}

static void a_check_that_reads_nothing_always_ends_the_same(void **state)
{
	struct recall *recall = make_recall(1 << 20);

	(void)state;
	assert_int_equal(enter(recall, "", "", 5), 0);
	assert_int_equal(find(recall, "aaaaaaaa", ""), 5);
	assert_int_equal(enter(recall, "", "", 6), -ESTALE);
	recall_free(recall);
}

static void past_the_limit_nothing_is_remembered_and_all_else_works(void **state)
{
	struct recall *recall = make_recall(1);

	(void)state;
	assert_int_equal(enter(recall, "aaaaaaaa", "0123", 1), 0);
	assert_int_equal(enter(recall, "abaaaaaa", "0123", 2), 0);
	assert_int_equal(find(recall, "abaaaaaa", "01"), -1);
	assert_int_equal(find(recall, "aaaaaaaa", "0123"), 1);
	assert_int_equal(enter(recall, "aaaaaaaa", "0123", 3), -ESTALE);
	recall_free(recall);
}

static void a_log_keeps_what_a_sector_held_when_it_was_first_read(void **state)
{
	struct recall_log log;
	unsigned char bytes[PAGE_BYTES];

	(void)state;
	recall_log_init(&log);
	memset(bytes, 'a', sizeof(bytes));
	recall_note(&log, 1, 4096 + 512, 0x06, bytes);
	memset(bytes, 'b', sizeof(bytes));
	recall_note(&log, 1, 4096, 0x87, bytes);
	assert_int_equal(log.nr, 4);
	assert_int_equal(log.reads[0].place, recall_place(1, 4096 + 512));
	assert_int_equal(log.reads[0].content, content('a'));
	assert_int_equal(log.reads[1].place, recall_place(1, 4096 + 1024));
	assert_int_equal(log.reads[2].place, recall_place(1, 4096));
	assert_int_equal(log.reads[2].content, content('b'));
	assert_int_equal(log.reads[3].place, recall_place(1, 4096 + 7 * 512));
	recall_log_clear(&log);
	assert_int_equal(log.nr, 0);
	recall_note(&log, 1, 4096, 0x02, bytes);
	assert_int_equal(log.nr, 1);
	recall_log_free(&log);
}

static void zeroes_have_one_name_wherever_they_are(void **state)
{
	static const unsigned char zeroes[4 * SEC];

	(void)state;
	assert_int_equal(recall_hash(NULL, SEC), recall_hash(zeroes, SEC));
	assert_int_equal(recall_hash(NULL, 4 * SEC), recall_hash(zeroes, 4 * SEC));
	assert_int_not_equal(recall_hash(NULL, SEC), recall_hash(NULL, 2 * SEC));
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
