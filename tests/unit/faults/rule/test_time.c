// SPDX-License-Identifier: MIT
/* The words of a rule that go by the clock: for=, between=, up= and down=. */
#include "tests/unit/check.h"

#include "base/clock.h"

#define DISK  (64 * SEC)
#define ARMED (7 * NSEC_PER_SEC)

/* Publish one rule at ARMED. */
static struct disk armed_disk(const char *line)
{
	struct disk disk = make_disk(DISK, 512, 1, 1);
	struct rule_set *set = must_set(line);

	assert_int_equal(pipeline_publish(disk.pipeline, set, ARMED, NULL, NULL), 0);
	pipeline_adopt(disk.pipeline, 0);
	rule_set_free(set);
	return disk;
}

static bool acts_at(struct disk *disk, uint64_t age_ns)
{
	struct io io = make_io(IO_FLUSH, 0, 0, NULL);

	assert_int_equal(pipeline_submit(disk->pipeline, &io, ARMED + age_ns), IO_DONE);
	return io.result != 0;
}

/* One character for each of the first seconds: '1' where the rule acts, '?' where not all of it. */
static void check_seconds(const char *words, const char *want)
{
	char line[120], got[64];
	struct disk disk;
	size_t nr = strlen(want);

	snprintf(line, sizeof(line), "a %s do=error:EIO", words);
	disk = armed_disk(line);
	for (uint64_t s = 0; s < nr; s++) {
		bool first = acts_at(&disk, s * NSEC_PER_SEC);
		bool last = acts_at(&disk, (s + 1) * NSEC_PER_SEC - 1);

		got[s] = first != last ? '?' : first ? '1' : '.';
	}
	got[nr] = '\0';
	if (strcmp(got, want) != 0)
		fail_msg("%s: got %s, wanted %s", words, got, want);
	/* What a time lets pass was a match all the same. */
	assert_int_equal(counts_of(&disk, "a").matches, 2 * nr);
	free_disk(&disk);
}

static void a_rule_acts_in_its_seconds_and_in_no_others(void **state)
{
	(void)state;
	check_seconds("for=3s", "111.......");
	check_seconds("between=2s..5s", "..111.....");
	check_seconds("between=0s..1s", "1.........");
	check_seconds("between=2s..3500ms", "..1?......");
	check_seconds("up=3s down=2s", "...11...11...11");
	check_seconds("up=0s down=2s", "1111111");
	check_seconds("up=1s down=1500ms", ".1??1.1??1");
	check_seconds("for=5s between=3s..9s", "...11.....");
	check_seconds("for=9s up=3s down=2s", "...11...1..");
	check_seconds("between=4s..9s up=3s down=2s", "....1...1..");
	check_seconds("for=1h", "1111");
}

static void the_moments_of_change_are_exact(void **state)
{
	struct disk disk = armed_disk("a between=5ns..8ns do=error:EIO");

	(void)state;
	assert_false(acts_at(&disk, 4));
	assert_true(acts_at(&disk, 5));
	assert_true(acts_at(&disk, 7));
	assert_false(acts_at(&disk, 8));
	free_disk(&disk);
	disk = armed_disk("a up=5ns down=3ns do=error:EIO");
	for (uint64_t age = 0; age < 40; age++)
		assert_int_equal(acts_at(&disk, age), age % 8 >= 5);
	/* A clock that was read just before the rule was armed counts as that moment. */
	assert_false(acts_at(&disk, (uint64_t)-3));
	free_disk(&disk);
}

static void times_and_numbers_together_both_decide(void **state)
{
	struct disk disk = armed_disk("a between=10s..20s after=2 times=1 do=error:EIO");

	(void)state;
	/* The matches that the time let pass are among the first two. */
	assert_false(acts_at(&disk, 0));
	assert_false(acts_at(&disk, 0));
	assert_true(acts_at(&disk, 10 * NSEC_PER_SEC));
	assert_false(acts_at(&disk, 11 * NSEC_PER_SEC));
	assert_int_equal(counts_of(&disk, "a").hits, 1);
	free_disk(&disk);
	/* But a hit that times= allows is not used up by a time that lets it pass. */
	disk = armed_disk("a up=5s down=5s times=2 do=error:EIO");
	assert_false(acts_at(&disk, 0));
	assert_true(acts_at(&disk, 5 * NSEC_PER_SEC));
	assert_false(acts_at(&disk, 10 * NSEC_PER_SEC));
	assert_true(acts_at(&disk, 15 * NSEC_PER_SEC));
	assert_false(acts_at(&disk, 25 * NSEC_PER_SEC));
	free_disk(&disk);
}

static void a_change_of_other_rules_does_not_start_the_clock_again(void **state)
{
	struct rule_set *set = must_set("a between=10s..20s do=error:EIO");
	struct rule *other = must_parse("b op=read do=error:EIO");
	struct disk disk = make_disk(DISK, 512, 1, 1);

	(void)state;
	assert_int_equal(pipeline_publish(disk.pipeline, set, ARMED, NULL, NULL), 0);
	assert_int_equal(rule_set_put(set, other, NULL, NULL), 0);
	assert_int_equal(pipeline_publish(disk.pipeline, set, ARMED + 9 * NSEC_PER_SEC, NULL, NULL),
			 0);
	pipeline_adopt(disk.pipeline, 0);
	assert_true(acts_at(&disk, 10 * NSEC_PER_SEC));
	assert_false(acts_at(&disk, 20 * NSEC_PER_SEC));
	rule_unref(other);
	rule_set_free(set);
	free_disk(&disk);
}

static void explain_says_which_time_lets_a_request_pass(void **state)
{
	static const struct {
		const char *words;
		uint64_t age_s;
		const char *want;
	} cases[] = {
		{ "for=10s", 9, NULL },
		{ "for=10s", 10, "for=10s is over" },
		{ "between=10s..20s", 9, "between=10s..20s lets it pass at this time" },
		{ "between=10s..20s", 10, NULL },
		{ "between=10s..20s", 20, "between=10s..20s lets it pass at this time" },
		{ "up=10s down=5s", 9, "up=10s lets it pass at this time" },
		{ "up=10s down=5s", 10, NULL },
		{ "up=10s down=5s", 15, "up=10s lets it pass at this time" },
		{ "for=5s between=10s..20s", 6, "for=5s is over" },
		{ "between=0s..90s after=1", 6, "after=1 skips it" },
	};
	struct io io = make_io(IO_FLUSH, 0, 0, NULL);

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		char line[100], want[160];
		struct disk disk;
		char *text;

		snprintf(line, sizeof(line), "a %s do=error:EIO", cases[i].words);
		if (cases[i].want)
			snprintf(want, sizeof(want),
				 "a: match 0: passes, %s\ncarried out as usual\n", cases[i].want);
		else
			snprintf(
				want, sizeof(want),
				"a: match 0: does nothing, then fails with EIO\nas the last rule says\n");
		disk = armed_disk(line);
		text = pipeline_explain(disk.pipeline, &io, ARMED + cases[i].age_s * NSEC_PER_SEC);
		assert_string_equal(text, want);
		free(text);
		free_disk(&disk);
	}
}

static void check_print(const char *text)
{
	struct rule *rule = must_parse(text);
	char *got = rule_print(rule);

	assert_string_equal(got, text);
	free(got);
	rule_unref(rule);
}

static void they_print_as_they_were_written(void **state)
{
	(void)state;
	check_print("a for=1h do=error:EIO");
	check_print("a between=10s..20s do=error:EIO");
	check_print("a between=0s..1ns do=error:EIO");
	check_print("a up=10s down=5s do=error:EIO");
	check_print("a up=0s down=1ns do=error:EIO");
	check_print("a after=3 for=1m between=1s..2s up=1ms down=2ms do=delay:1s");
}

static void times_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	check_error("a between=10s do=error:EIO", "rule.bad-time", 3, "two times such as 10s..20s",
		    NULL);
	check_error("a between=5s..5s do=error:EIO", "rule.bad-time", 3, "two times", NULL);
	check_error("a between=2s..1s do=error:EIO", "rule.bad-time", 11, "shorter time first",
		    NULL);
	check_error("a between=..5s do=error:EIO", "rule.bad-time", 11, "got nothing", NULL);
	check_error("a between=1..2 do=error:EIO", "rule.bad-time", 11, "got '1'",
		    "needs its unit");
	check_error("a up=10s do=error:EIO", "rule.conflict", 3, "go together", NULL);
	check_error("a down=10s do=error:EIO", "rule.conflict", 3, "go together", NULL);
	check_error("a up=1s down=0s do=error:EIO", "rule.bad-time", 14, "at least 1ns", NULL);
	check_error("a up=10000000000s down=10000000000s do=error:EIO", "rule.bad-time", 3,
		    "too long together", NULL);
	check_error("a up=-1s down=1s do=error:EIO", "rule.bad-time", 6, "got '-1s'", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_acts_in_its_seconds_and_in_no_others),
		cmocka_unit_test(the_moments_of_change_are_exact),
		cmocka_unit_test(times_and_numbers_together_both_decide),
		cmocka_unit_test(a_change_of_other_rules_does_not_start_the_clock_again),
		cmocka_unit_test(explain_says_which_time_lets_a_request_pass),
		cmocka_unit_test(they_print_as_they_were_written),
		cmocka_unit_test(times_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
