// SPDX-License-Identifier: MIT
/* Decisions depend on the seed and the order of arrival, and on nothing else. */
#include "tests/unit/play.h"

#define STEPS 600

/* Caller frees. */
static char *log_of(uint64_t seed, uint16_t nr_queues, bool with_queues)
{
	struct play *play = malloc(sizeof(*play));
	size_t nr = 0;
	char *text;

	assert_non_null(play);
	play_open(play, seed, nr_queues, NULL);
	play->with_queues = with_queues;
	while (kind_at(nr))
		nr++;
	for (size_t from = 0; from < nr; from++) {
		struct rule_set *set = play_every_kind(from, "p=12%");

		play_rules(play, set);
		play_steps(play, STEPS);
		rule_set_free(set);
	}
	play_finish(play);
	text = play->text;
	free(play);
	return text;
}

static void same(const char *a, const char *b)
{
	if (strcmp(a, b) != 0) {
		size_t at = 0;

		while (a[at] == b[at])
			at++;
		while (at && a[at - 1] != '\n')
			at--;
		fail_msg("'%.60s' is not '%.60s'", a + at, b + at);
	}
}

static void the_same_seed_twice_gives_the_same_event_log(void **state)
{
	static const uint16_t queues[] = { 1, 2, 4 };

	(void)state;
	for (size_t i = 0; i < array_size(queues); i++) {
		_cleanup_free_ char *first = log_of(42, queues[i], true);
		_cleanup_free_ char *second = log_of(42, queues[i], true);

		same(first, second);
	}
}

static void the_number_of_queues_changes_nothing_but_the_queue(void **state)
{
	_cleanup_free_ char *one = log_of(7, 1, false);
	_cleanup_free_ char *two = log_of(7, 2, false);
	_cleanup_free_ char *four = log_of(7, 4, false);

	(void)state;
	same(one, two);
	same(one, four);
}

static void another_seed_gives_another_event_log(void **state)
{
	_cleanup_free_ char *one = log_of(1, 2, false);
	_cleanup_free_ char *two = log_of(2, 2, false);

	(void)state;
	assert_string_not_equal(one, two);
}

static void every_kind_takes_part(void **state)
{
	_cleanup_free_ char *log = log_of(42, 2, true);

	(void)state;
	for (size_t i = 0; kind_at(i); i++) {
		char word[80];

		snprintf(word, sizeof(word), " %s-", kind_at(i)->name);
		if (!strstr(log, word))
			fail_msg("no hit of kind %s", kind_at(i)->name);
	}
	for (size_t i = 0; i < array_size(play_others); i++) {
		char word[80];

		snprintf(word, sizeof(word), " other-%zu-", i);
		if (!strstr(log, word))
			fail_msg("no hit of %s", play_others[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_twice_gives_the_same_event_log),
		cmocka_unit_test(the_number_of_queues_changes_nothing_but_the_queue),
		cmocka_unit_test(another_seed_gives_another_event_log),
		cmocka_unit_test(every_kind_takes_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
