// SPDX-License-Identifier: MIT
#include "tests/unit/random_rule.h"

#include "base/clock.h"

#include <errno.h>
#include <locale.h>

static void check_print(const char *text, const char *want)
{
	struct rule *rule = must_parse(text);
	char *got = rule_print(rule);

	assert_string_equal(got, want);
	free(got);
	rule_unref(rule);
}

static void the_rules_of_the_manual_print_as_they_were_written(void **state)
{
	static const char *const texts[] = {
		"hole op=read range=17s..23s do=error:EIO",
		"tear op=write,zeroes min-len=4k after=100 times=1 do=torn:keep=3s",
		"slow op=read p=0.05 do=delay:100us..300us",
		"all op=read,write,flush,discard,zeroes flags=meta,fua do=error:ENOSPC,after",
		"q range=1G.. queue=3 every=7 for=1h do=torn:random,p=0.9,unit=4k,fail",
		"x len=128k do=delay:0s",
	};

	(void)state;
	for (size_t i = 0; i < array_size(texts); i++)
		check_print(texts[i], texts[i]);
	for (size_t i = 0; kind_at(i); i++)
		rule_unref(must_parse(kind_at(i)->example));
}

static void words_come_in_any_order_and_print_in_one(void **state)
{
	(void)state;
	check_print("  a\tdo=error:EIO   times=2 range=0..1k op=write,read ",
		    "a op=read,write range=0..1k times=2 do=error:EIO");
	/* One that touches another is one with it. */
	check_print("a range=40s..48s,17s..23s do=error:EIO",
		    "a range=17s..23s,20k..24k do=error:EIO");
	check_print("a range=4k..8k,2k..4k,1M.. do=error:EIO", "a range=2k..8k,1M.. do=error:EIO");
	check_print("a range=4k..,2k..5k part=2 do=error:EIO", "a range=2k.. part=2 do=error:EIO");
	check_print("a do=torn:fail=EIO,unit=512,keep=1024", "a do=torn:keep=1k,unit=1s,fail");
	check_print("a flags=swap,fua do=delay:5000ns", "a flags=fua,swap do=delay:5us");
	check_print("a do=delay:5ms..5ms", "a do=delay:5ms");
}

static void shares_of_every_form_are_read_exactly(void **state)
{
	static const struct {
		const char *text;
		double want;
	} cases[] = {
		{ "0", 0 },        { "1", 1 },         { "0.25", 0.25 },     { "0.5%", 0.005 },
		{ "0.3%", 0.003 }, { "100%", 1 },      { "1e-6", 1e-6 },     { "1:1000", 0.001 },
		{ "1e-3%", 1e-5 }, { "1.0e+0", 1 },    { "1:3", 1.0 / 3 },   { "0.000", 0 },
		{ "7:7", 1 },      { "0:5", 0 },       { "1e-300", 1e-300 }, { "0e9999", 0 },
		{ "0.1e1", 1 },    { "33.3%", 0.333 }, { "0.07%", 0.0007 },  { "5e-324", 5e-324 },
	};
	static const char *const bad[] = {
		"",      "x",   "-0.5", "+0.5",  ".5",    "5.",      "0x1", "inf",
		"nan",   "1e",  "1e+",  "0.5%%", "%",     "1:",      ":1",  "1:2:3",
		"1k:2k", "0,5", " 0.5", "0.5 ",  "1e5e5", "0.5e-1x",
	};
	static const char *const outside[] = { "1.0001", "2",   "101%",
					       "2:1",    "1:0", "1e-400",
					       "1e9999", "0:0", "99999999999999999999:1" };

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct text text = { cases[i].text, strlen(cases[i].text) };
		double got = -1;

		if (share_parse(text, &got) || got != cases[i].want)
			fail_msg("%s -> %.17g", cases[i].text, got);
	}
	for (size_t i = 0; i < array_size(bad); i++)
		if (share_parse((struct text){ bad[i], strlen(bad[i]) }, &(double){ 0 }) != -EINVAL)
			fail_msg("'%s' was not -EINVAL", bad[i]);
	for (size_t i = 0; i < array_size(outside); i++)
		if (share_parse((struct text){ outside[i], strlen(outside[i]) }, &(double){ 0 }) !=
		    -ERANGE)
			fail_msg("'%s' was not -ERANGE", outside[i]);
}

static void shares_survive_printing_bit_by_bit_in_any_locale(void **state)
{
	static const char *const locales[] = { "C", "de_DE.UTF-8", "fr_FR.UTF-8" };
	struct draw draw = { .seed = 11 };

	(void)state;
	for (int i = 0; i < 20000; i++) {
		double share = random_share(&draw), back = -1;
		char buf[SHARE_MAX];

		setlocale(LC_ALL, locales[i % 3]);
		share_format(share, buf);
		if (share_parse((struct text){ buf, strlen(buf) }, &back) || back != share)
			fail_msg("%a -> %s -> %a", share, buf, back);
	}
	setlocale(LC_ALL, "C");
	check_print("a p=0.1 do=delay:1s", "a p=0.1 do=delay:1s");
	check_print("a p=30% do=delay:1s", "a p=0.3 do=delay:1s");
}

static void printing_and_parsing_are_inverse(void **state)
{
	struct draw draw = { .seed = 4711 };

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct rule *rule = random_rule(&draw), *back = NULL;
		char *text = rule_print(rule), *again;
		struct diag diag;

		if (rule_parse(text, strlen(text), &diag, &back) < 0)
			fail_msg("%s: %s", text, diag.message);
		if (!rule_equal(rule, back))
			fail_msg("not equal: %s", text);
		again = rule_print(back);
		assert_string_equal(text, again);
		free(again);
		free(text);
		rule_unref(rule);
		rule_unref(back);
	}
}

static void rules_that_differ_in_one_word_are_not_equal(void **state)
{
	static const char *const texts[] = {
		"a do=error:EIO",
		"b do=error:EIO",
		"a do=error:EBUSY",
		"a do=error:EIO,after",
		"a op=read do=error:EIO",
		"a op=write do=error:EIO",
		"a p=0.5 do=error:EIO",
		"a p=0.25 do=error:EIO",
		"a range=0..1k do=error:EIO",
		"a range=0..2k do=error:EIO",
		"a do=delay:1s",
		"a do=delay:1s..2s",
	};

	(void)state;
	for (size_t i = 0; i < array_size(texts); i++) {
		for (size_t j = 0; j < array_size(texts); j++) {
			struct rule *a = must_parse(texts[i]), *b = must_parse(texts[j]);

			assert_int_equal(rule_equal(a, b), i == j);
			rule_unref(a);
			rule_unref(b);
		}
	}
}

static void errors_name_the_place_what_was_wanted_and_the_nearest_word(void **state)
{
	(void)state;
	check_error("", "rule.bad-name", 1, "wants a name, got nothing", NULL);
	check_error("   ", "rule.bad-name", 4, "wants a name, got nothing", NULL);
	check_error("op=read do=error:EIO", "rule.bad-name", 3, "got 'op=read'",
		    "starts with its name: NAME op=read");
	check_error("-a do=error:EIO", "rule.bad-name", 1, "not starting with '-'", NULL);
	check_error("a/b do=error:EIO", "rule.bad-name", 2, "letters, digits", NULL);
	check_error("a", "rule.no-do", 2, "rule 'a' does not say what to do", "add do=KIND");
	check_error("a op=read", "rule.no-do", 10, "does not say", "add do=KIND");
	check_error("a oop=read do=error:EIO", "rule.unknown-key", 3, "'oop' is not a key",
		    "did you mean 'op'?");
	check_error("a rnage=0..1k do=error:EIO", "rule.unknown-key", 3, "'rnage' is not a key",
		    "did you mean 'range'?");
	check_error("a error:EIO", "rule.unknown-key", 3, "'error:EIO' is not", NULL);
	check_error("a delay", "rule.unknown-key", 3, "'delay' is not", "do=delay");
	check_error("a op do=error:EIO", "rule.missing-value", 3, "op wants a value: op=OP,...",
		    NULL);
	check_error("a do", "rule.missing-value", 3, "do wants a value: do=KIND", NULL);
	check_error("a op= do=error:EIO", "rule.bad-op", 6, "got nothing", NULL);
	check_error("a op=read,raed do=error:EIO", "rule.bad-op", 11, "got 'raed'",
		    "did you mean 'read'?");
	check_error("a op=read, do=error:EIO", "rule.bad-op", 11, "got nothing", NULL);
	check_error("a op=read,read do=error:EIO", "rule.bad-op", 11, "names 'read' twice", NULL);
	check_error("a flags=fia do=error:EIO", "rule.bad-flag", 9, "got 'fia'",
		    "did you mean 'fua'?");
	check_error("a p=1 p=1 do=error:EIO", "rule.duplicate-key", 7, "p= is given twice", NULL);
	check_error("a do=error:EIO do=error:EIO", "rule.duplicate-key", 16, "do= is given twice",
		    NULL);
	check_error("a do=errror:EIO", "rule.unknown-kind", 6, "), got 'errror'",
		    "did you mean 'error'?");
	check_error("a do=", "rule.unknown-kind", 6, "got nothing", NULL);
	check_error("a do=error", "rule.missing-parameter", 11, "do=error:ERRNO", "for example");
	check_error("a do=error:", "rule.missing-parameter", 12, "do=error:ERRNO", "for example");
	check_error("a do=error:EIO,befor", "rule.unknown-parameter", 16,
		    "'befor', wanted ERRNO, after", NULL);
	check_error("a do=error:EIO,aftr", "rule.unknown-parameter", 16, "'aftr'",
		    "did you mean 'after'?");
}

static void bad_values_are_explained(void **state)
{
	(void)state;
	check_error("a range=1k..2k,, do=error:EIO", "rule.bad-range", 16, "got nothing", NULL);
	check_error("a range=1k..2k,17s do=error:EIO", "rule.bad-range", 16, "got '17s'", NULL);
	check_error("a part=0 do=error:EIO", "rule.bad-number", 8, "1 to 255", NULL);
	check_error("a range=17s do=error:EIO", "rule.bad-range", 9, "START..END", NULL);
	check_error("a range=..5k do=error:EIO", "rule.bad-range", 9, "got nothing", NULL);
	check_error("a range=1k..1000 do=error:EIO", "rule.bad-range", 13,
		    "its end '1000' is not a multiple of 512", "2s is the sector boundary");
	check_error("a range=700..1M do=error:EIO", "rule.bad-range", 9,
		    "its start '700' is not a multiple", "1s is the sector boundary");
	check_error("a range=2k..1k do=error:EIO", "rule.bad-range", 9, "START before END",
		    "1k..2k");
	check_error("a range=2k..2k do=error:EIO", "rule.bad-range", 9, "START before END", NULL);
	check_error("a range=1k..2k..3k do=error:EIO", "rule.bad-range", 13, "got '2k..3k'", NULL);
	check_error("a range=1x..2k do=error:EIO", "rule.bad-range", 9, "got '1x'", NULL);
	check_error("a len=4q do=error:EIO", "rule.bad-size", 7, "a size such as", NULL);
	check_error("a len=0 do=error:EIO", "rule.bad-size", 7, "size of 1s to", NULL);
	check_error("a len=8G do=error:EIO", "rule.bad-size", 7, "got '8G'", NULL);
	check_error("a len=99999999999999999999999 do=error:EIO", "rule.bad-size", 7, "size of",
		    NULL);
	check_error("a len=1000 do=error:EIO", "rule.bad-size", 3, "never matches", NULL);
	check_error("a len=4k min-len=4k do=error:EIO", "rule.conflict", 3, "len= and min-len= or max-len= exclude",
		    NULL);
	check_error("a min-len=8k max-len=4k do=error:EIO", "rule.conflict", 3, "min-len", NULL);
	check_error("a p=5 do=error:EIO", "rule.bad-share", 5, "from 0 to 1", "5%");
	check_error("a p=-1 do=error:EIO", "rule.bad-share", 5, "got '-1'", NULL);
	check_error("a p=half do=error:EIO", "rule.bad-share", 5, "got 'half'", NULL);
	check_error("a after=-1 do=error:EIO", "rule.bad-number", 9, "0 to 1099511627775", NULL);
	check_error("a every=0 do=error:EIO", "rule.bad-number", 9, "from 1 to", NULL);
	check_error("a times=0 do=error:EIO", "rule.bad-number", 9, "1 to 16777215", NULL);
	check_error("a times=16777216 do=error:EIO", "rule.bad-number", 9, "1 to 16777215", NULL);
	check_error("a times=99999999999999999999 do=error:EIO", "rule.bad-number", 9, "1 to",
		    NULL);
	check_error("a queue=65536 do=error:EIO", "rule.bad-number", 9, "0 to 65535", NULL);
	check_error("a for=0s do=error:EIO", "rule.bad-time", 7, "at least 1ns", NULL);
	check_error("a for=10 do=error:EIO", "rule.bad-time", 7, "got '10'", "needs its unit");
	check_error("a op=flush range=0..1k do=error:EIO", "rule.never-matches", 3, "flush", NULL);
	check_error("a op=flush min-len=1k do=error:EIO", "rule.never-matches", 3, "flush", NULL);
}

static void characters_that_could_harm_a_terminal_are_refused(void **state)
{
	char wide[RULE_TEXT_MAX + 2];
	struct diag diag;
	struct rule *rule = NULL;

	(void)state;
	check_error("a \033[2J do=error:EIO", "rule.bad-character", 3, "0x1b", NULL);
	check_error("a do=error:EIO\r", "rule.bad-character", 15, "0x0d", NULL);
	check_error("a do=\302\233error", "rule.bad-character", 6, "0x9b", NULL);
	check_error("a \377", "rule.bad-character", 3, "not valid UTF-8", NULL);
	check_error("a \303", "rule.bad-character", 3, "not valid UTF-8", NULL);
	check_error("a \300\200", "rule.bad-character", 3, "not valid UTF-8", NULL);
	check_error("a \355\240\200", "rule.bad-character", 3, "not valid UTF-8", NULL);
	check_error("a \360\200\200\200", "rule.bad-character", 3, "not valid UTF-8", NULL);
	check_error("a gr\303\266\303\237e=1 do=error:EIO", "rule.unknown-key", 3,
		    "gr\303\266\303\237e", NULL);
	assert_int_equal(rule_parse("a\0b do=error:EIO", 16, &diag, &rule), -EINVAL);
	assert_string_equal(diag.id, "rule.bad-character");
	assert_int_equal(diag.column, 2);
	memset(wide, ' ', sizeof(wide));
	memcpy(wide, "a do=error:EIO", 14);
	assert_int_equal(rule_parse(wide, sizeof(wide), &diag, &rule), -EINVAL);
	assert_string_equal(diag.id, "rule.too-long");
	assert_int_equal(rule_parse(wide, RULE_TEXT_MAX, &diag, &rule), 0);
	rule_unref(rule);
	assert_int_equal(rule_parse("a op=x", 6, NULL, &rule), -EINVAL);
}

static void check_file(const char *text, size_t len, const char *id, unsigned int line,
		       unsigned int column)
{
	struct rule_set *set = NULL;
	struct diag diag = { 0 };
	int err = rule_set_parse(text, len, &diag, &set);

	if (!id && err)
		fail_msg("%u:%u: %s", diag.line, diag.column, diag.message);
	if (id && (!err || strcmp(id, diag.id) || diag.line != line || diag.column != column))
		fail_msg("'%s': got %s at %u:%u (%s), wanted %s at %u:%u", text, diag.id, diag.line,
			 diag.column, diag.message, id, line, column);
	rule_set_free(set);
}
#define CHECK_FILE(text, ...) check_file((text), sizeof(text) - 1, __VA_ARGS__)

static void long_words_are_quoted_in_part_and_never_inside_a_character(void **state)
{
	(void)state;
	check_error(
		"a op=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\303\244yyyyyyyyyyyyyy",
		"rule.bad-op", 6, "xxx...'", NULL);
	CHECK_FILE("a\tb\n", "rule.file-magic", 1, 1);
}

static void a_name_of_63_bytes_fits_and_one_of_64_does_not(void **state)
{
	char text[128];

	(void)state;
	snprintf(text, sizeof(text), "%063d do=error:EIO", 0);
	rule_unref(must_parse(text));
	snprintf(text, sizeof(text), "%064d do=error:EIO", 0);
	check_error(text, "rule.bad-name", 1, "at most 63 bytes, got 64", NULL);
}

static void a_rule_that_does_not_fit_the_disk_is_refused(void **state)
{
	static const struct {
		const char *text, *id;
	} cases[] = {
		{ "a range=0..1M do=error:EIO", NULL },
		{ "a range=1s.. do=error:EIO", NULL },
		{ "a range=0..1025k do=error:EIO", "rule.range-outside" },
		{ "a range=1M.. do=error:EIO", "rule.range-outside" },
		{ "a range=0..1k,1023k..1M do=error:EIO", NULL },
		{ "a range=0..1k,1023k..1025k do=error:EIO", "rule.range-outside" },
		{ "a range=2M..,0..1k do=error:EIO", "rule.range-outside" },
		{ "a part=1 range=0..1k do=error:EIO", "rule.part" },
		{ "a range=2M..3M do=error:EIO", "rule.range-outside" },
		{ "a queue=1 do=error:EIO", NULL },
		{ "a queue=2 do=error:EIO", "rule.no-such-queue" },
	};
	const struct rule_geometry geometry = { .size_bytes = 1 << 20,
						.block_bytes = 512,
						.nr_queues = 2 };

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		struct rule *rule = must_parse(cases[i].text);
		struct diag diag = { 0 };

		assert_int_equal(rule_check(rule, &geometry, &diag), cases[i].id ? -EINVAL : 0);
		assert_string_equal(diag.id, cases[i].id ? cases[i].id : "");
		rule_unref(rule);
	}
}

static void arm(struct rule *rule, uint64_t now_ns)
{
	const struct rule_geometry geometry = { .size_bytes = 1 << 20,
						.block_bytes = 512,
						.nr_queues = 2 };
	bool first;

	assert_int_equal(rule_arm(rule, &geometry, now_ns, NULL, &first), 0);
}

/* '1' for a hit, for matches 0..nr-1 at time 0. */
static const char *hits_of(const char *text, uint64_t seed, int nr, char *buf)
{
	struct rule *rule = must_parse(text);
	uint64_t match;

	arm(rule, 0);
	for (int i = 0; i < nr; i++) {
		bool hit = rule_count_match(rule, seed, 0, &match);

		if (hit)
			assert_int_equal(match, i);
		buf[i] = hit ? '1' : '.';
	}
	buf[nr] = '\0';
	rule_unref(rule);
	return buf;
}

static void triggers_decide_from_the_match_number(void **state)
{
	char buf[64], again[64];

	(void)state;
	assert_string_equal(hits_of("a do=error:EIO", 1, 8, buf), "11111111");
	assert_string_equal(hits_of("a after=3 do=error:EIO", 1, 8, buf), "...11111");
	assert_string_equal(hits_of("a every=3 do=error:EIO", 1, 10, buf), "..1..1..1.");
	assert_string_equal(hits_of("a after=1 every=3 do=error:EIO", 1, 10, buf), "...1..1..1");
	assert_string_equal(hits_of("a times=2 do=error:EIO", 1, 8, buf), "11......");
	assert_string_equal(hits_of("a after=1 every=2 times=2 do=error:EIO", 1, 9, buf),
			    "..1.1....");
	assert_string_equal(hits_of("a p=1 do=error:EIO", 1, 8, buf), "11111111");
	assert_string_equal(hits_of("a p=0 do=error:EIO", 1, 8, buf), "........");
	assert_string_equal(hits_of("a p=0.5 do=error:EIO", 1, 60, buf),
			    hits_of("a p=0.5 do=delay:1s", 1, 60, again));
	assert_string_not_equal(buf, hits_of("b p=0.5 do=error:EIO", 1, 60, again));
	assert_string_not_equal(buf, hits_of("a p=0.5 do=error:EIO", 2, 60, again));
	/* With a limit the hits are the first of those without. */
	hits_of("a p=0.5 times=3 do=error:EIO", 1, 60, again);
	for (int i = 0, left = 3; i < 60; i++) {
		assert_int_equal(again[i], left && buf[i] == '1' ? '1' : '.');
		left -= again[i] == '1';
	}
}

static void a_share_is_kept_over_many_matches(void **state)
{
	struct rule *rule = must_parse("a p=1:1000 do=error:EIO");
	struct rule_counts counts;
	uint64_t match;

	(void)state;
	arm(rule, 0);
	for (int i = 0; i < 1000000; i++)
		rule_count_match(rule, 42, 0, &match);
	rule_counts(rule, &counts);
	assert_int_equal(counts.matches, 1000000);
	assert_in_range(counts.hits, 900, 1100);
	rule_unref(rule);
}

static void a_limited_rule_that_ran_out_of_match_numbers_stays_silent(void **state)
{
	struct rule *rule = must_parse("a times=3 do=error:EIO");
	struct rule_counts counts;
	uint64_t match;

	(void)state;
	arm(rule, 0);
	assert_true(rule_count_match(rule, 1, 0, &match));
	atomic_store(&rule->matches, (1ull << RULE_HITS_SHIFT) | (RULE_MATCHES_MAX - 1));
	assert_true(rule_count_match(rule, 1, 0, &match));
	assert_int_equal(match, RULE_MATCHES_MAX - 1);
	for (int i = 0; i < 3; i++)
		assert_false(rule_count_match(rule, 1, 0, &match));
	rule_counts(rule, &counts);
	assert_int_equal(counts.matches, RULE_MATCHES_MAX);
	assert_int_equal(counts.hits, 2);
	rule_unref(rule);
}

static void for_counts_from_arming_and_only_the_first_arming(void **state)
{
	struct rule *rule = must_parse("a for=10s do=error:EIO");
	uint64_t match;

	(void)state;
	arm(rule, 5 * NSEC_PER_SEC);
	arm(rule, 100 * NSEC_PER_SEC);
	assert_true(rule_count_match(rule, 1, 5 * NSEC_PER_SEC, &match));
	assert_true(rule_count_match(rule, 1, 15 * NSEC_PER_SEC - 1, &match));
	assert_false(rule_count_match(rule, 1, 15 * NSEC_PER_SEC, &match));
	/* A queue whose clock was read just before arming. */
	assert_true(rule_count_match(rule, 1, 4 * NSEC_PER_SEC, &match));
	rule_unref(rule);
}

static void a_set_keeps_order_and_replaces_by_name(void **state)
{
	struct rule_set *set = must_set("a do=error:EIO\nb do=error:EIO\nc do=error:EIO");
	struct rule *b2 = must_parse("b do=delay:1s"), *d = must_parse("d do=delay:2s");
	struct diag diag;
	char *text;

	(void)state;
	assert_int_equal(rule_set_put(set, b2, NULL, &diag), 0);
	assert_int_equal(rule_set_put(set, d, "bb", &diag), -ENOENT);
	assert_string_equal(diag.id, "rule.not-found");
	assert_string_equal(diag.hint, "did you mean 'b'?");
	assert_int_equal(rule_set_put(set, d, "b", &diag), 0);
	text = rule_set_print(set);
	assert_string_equal(text, "faultblk-rules 1\na do=error:EIO\nd do=delay:2s\n"
				  "b do=delay:1s\nc do=error:EIO\n");
	free(text);
	assert_int_equal(rule_set_remove(set, "a", &diag), 0);
	assert_int_equal(rule_set_remove(set, "a", &diag), -ENOENT);
	assert_int_equal(rule_set_count(set), 3);
	assert_ptr_equal(rule_set_find(set, "b"), b2);
	assert_null(rule_set_find(set, "a"));
	assert_null(rule_set_at(set, 3));
	rule_unref(b2);
	rule_unref(d);
	assert_null(rule_set_free(set));
	assert_null(rule_set_free(NULL));
	assert_null(rule_unref(NULL));
}

static void a_copy_shares_the_rules_and_outlives_the_original(void **state)
{
	struct rule_set *set = must_set("a do=error:EIO\nb do=error:EIO");
	struct rule_set *copy = rule_set_copy(set);
	struct rule *a = rule_set_at(set, 0);

	(void)state;
	assert_ptr_equal(rule_set_at(copy, 0), a);
	rule_set_remove(set, "b", NULL);
	rule_set_free(set);
	assert_int_equal(rule_set_count(copy), 2);
	assert_string_equal(rule_name(rule_set_at(copy, 1)), "b");
	rule_set_free(copy);
}

static void rule_files_take_comments_blank_lines_and_crlf(void **state)
{
	(void)state;
	CHECK_FILE("faultblk-rules 1", NULL, 0, 0);
	CHECK_FILE("faultblk-rules 1\r\n\r\n# all\r\n  # indented\r\na do=error:EIO\r\n", NULL, 0,
		   0);
	CHECK_FILE("faultblk-rules 1 # why\n\n \t\na do=error:EIO # \303\244\nb do=error:EIO\t#x",
		   NULL, 0, 0);
}

static void errors_in_a_rule_file_have_line_and_column(void **state)
{
	(void)state;
	CHECK_FILE("", "rule.file-magic", 1, 1);
	CHECK_FILE("a do=error:EIO\n", "rule.file-magic", 1, 1);
	CHECK_FILE("faultblk-rules 2\n", "rule.file-magic", 1, 1);
	CHECK_FILE("faultblk-rules 1\n\n# x\na  opp=read\n", "rule.unknown-key", 4, 4);
	CHECK_FILE("faultblk-rules 1\na do=error:EIO\n  a do=error:EIO\n", "rule.duplicate-name", 3,
		   3);
	CHECK_FILE("faultblk-rules 1\na do=error:EIO#x\n", "rule.bad-errno", 2, 12);
	CHECK_FILE("faultblk-rules 1\na do=error:EIO\0\n", "rule.bad-character", 2, 15);
	CHECK_FILE("faultblk-rules 1\n# \377\n", "rule.bad-character", 2, 3);
	CHECK_FILE("faultblk-rules 1\n# \033[0m\n", "rule.bad-character", 2, 3);
	CHECK_FILE("faultblk-rules 1\n  a op=read # no do\n", "rule.no-do", 2, 12);
}

static void four_thousand_rules_are_read_and_one_more_is_refused(void **state)
{
	struct rule_set *set = NULL;
	struct diag diag = { 0 };
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	fprintf(out, "%s\n", RULE_FILE_MAGIC);
	for (int i = 0; i < RULE_SET_MAX; i++)
		fprintf(out, "rule-%d op=read range=%ds..%ds p=0.5%% do=error:EIO\n", i, i, i + 9);
	fflush(out);
	assert_int_equal(rule_set_parse(text, len, &diag, &set), 0);
	rule_set_free(set);
	set = NULL;
	fprintf(out, "more do=error:EIO\n");
	fclose(out);
	assert_int_equal(rule_set_parse(text, len, &diag, &set), -ENOSPC);
	assert_string_equal(diag.id, "rule.too-many");
	assert_int_equal(diag.line, RULE_SET_MAX + 2);
	assert_null(set);
	free(text);
}

static void a_file_past_the_limit_is_refused_by_name(void **state)
{
	struct rule_set *set = NULL;
	struct diag diag;
	char *text = calloc(1, RULE_FILE_MAX + 1);

	(void)state;
	memset(text, '\n', RULE_FILE_MAX + 1);
	assert_int_equal(rule_set_parse(text, RULE_FILE_MAX + 1, &diag, &set), -EFBIG);
	assert_string_equal(diag.id, "rule.file-too-big");
	free(text);
}

static void sets_survive_printing(void **state)
{
	struct draw draw = { .seed = 99 };

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct rule_set *set = rule_set_new(), *back = NULL;
		char *text;

		for (int n = 0; n < 40; n++) {
			struct rule *rule = random_rule(&draw);

			rule_set_put(set, rule, NULL, NULL);
			rule_unref(rule);
		}
		text = rule_set_print(set);
		assert_int_equal(rule_set_parse(text, strlen(text), NULL, &back), 0);
		assert_int_equal(rule_set_count(set), rule_set_count(back));
		for (size_t n = 0; n < rule_set_count(set); n++)
			assert_true(rule_equal(rule_set_at(set, n), rule_set_at(back, n)));
		free(text);
		rule_set_free(set);
		rule_set_free(back);
	}
}

/* Whatever is taken is printed as something that is taken, too. */
static void a_rule_of_many_ranges_is_no_longer_than_what_is_read_again(void **state)
{
	struct draw draw = { .seed = 12 };
	unsigned int taken = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t max = 3000 + draw_below(&draw, 1090);
		struct rule *rule = NULL, *back = NULL;
		struct diag diag = { 0 };
		char text[RULE_TEXT_MAX + 64];
		size_t len = (size_t)snprintf(text, sizeof(text), "r do=count range=");
		uint64_t at = 0;
		char *printed;

		while (len < max) {
			at += 2 + draw_below(&draw, 3);
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%llu.5T..%llu.75T",
						text[len - 1] == '=' ? "" : ",",
						(unsigned long long)at, (unsigned long long)at);
		}
		if (rule_parse(text, len, &diag, &rule)) {
			assert_string_equal(diag.id, "rule.too-long");
			refused++;
			continue;
		}
		taken++;
		printed = rule_print(rule);
		assert_int_equal(rule_parse(printed, strlen(printed), &diag, &back), 0);
		assert_true(rule_equal(rule, back));
		free(printed);
		rule_unref(rule);
		rule_unref(back);
	}
	assert_true(taken && refused);
}

/* As one who knows the partitions does it. */
static void ranges_that_were_moved_are_printed_and_read_again(void **state)
{
	const struct value_range moved[] = { { 1024, 2048 }, { 1ull << 50, UINT64_MAX } };
	struct value_range many[300], *ranges = NULL;
	struct rule *rule = must_parse("a part=2 range=0..1k,4k.. do=count");
	struct diag diag = { 0 };
	size_t nr = 0;
	char *text;

	(void)state;
	assert_int_equal(rule_part(rule), 2);
	assert_int_equal(rule_copy_ranges(rule, NULL, &ranges, &nr), 0);
	assert_int_equal(nr, 2);
	assert_true(ranges[1].from == 4096 && ranges[1].to == UINT64_MAX);
	free(ranges);
	assert_int_equal(rule_set_ranges(rule, moved, 2, NULL), 0);
	assert_int_equal(rule_part(rule), 0);
	text = rule_print(rule);
	assert_string_equal(text, "a range=1k..2k,1P.. do=count");
	free(text);
	for (size_t i = 0; i < array_size(many); i++)
		many[i] = (struct value_range){ (1ull << 50) + i * 2 * SEC,
						(1ull << 50) + (i * 2 + 1) * SEC };
	assert_int_equal(rule_set_ranges(rule, many, array_size(many), &diag), -EINVAL);
	assert_string_equal(diag.id, "rule.too-long");
	rule_unref(rule);
	rule = must_parse("a part=2 do=count");
	assert_int_equal(rule_copy_ranges(rule, NULL, &ranges, &nr), 0);
	assert_true(nr == 1 && !ranges[0].from && ranges[0].to == UINT64_MAX);
	free(ranges);
	rule_unref(rule);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rules_of_the_manual_print_as_they_were_written),
		cmocka_unit_test(words_come_in_any_order_and_print_in_one),
		cmocka_unit_test(shares_of_every_form_are_read_exactly),
		cmocka_unit_test(shares_survive_printing_bit_by_bit_in_any_locale),
		cmocka_unit_test(printing_and_parsing_are_inverse),
		cmocka_unit_test(rules_that_differ_in_one_word_are_not_equal),
		cmocka_unit_test(errors_name_the_place_what_was_wanted_and_the_nearest_word),
		cmocka_unit_test(bad_values_are_explained),
		cmocka_unit_test(characters_that_could_harm_a_terminal_are_refused),
		cmocka_unit_test(long_words_are_quoted_in_part_and_never_inside_a_character),
		cmocka_unit_test(a_name_of_63_bytes_fits_and_one_of_64_does_not),
		cmocka_unit_test(a_rule_that_does_not_fit_the_disk_is_refused),
		cmocka_unit_test(triggers_decide_from_the_match_number),
		cmocka_unit_test(a_share_is_kept_over_many_matches),
		cmocka_unit_test(a_limited_rule_that_ran_out_of_match_numbers_stays_silent),
		cmocka_unit_test(for_counts_from_arming_and_only_the_first_arming),
		cmocka_unit_test(a_set_keeps_order_and_replaces_by_name),
		cmocka_unit_test(a_copy_shares_the_rules_and_outlives_the_original),
		cmocka_unit_test(rule_files_take_comments_blank_lines_and_crlf),
		cmocka_unit_test(errors_in_a_rule_file_have_line_and_column),
		cmocka_unit_test(four_thousand_rules_are_read_and_one_more_is_refused),
		cmocka_unit_test(a_file_past_the_limit_is_refused_by_name),
		cmocka_unit_test(sets_survive_printing),
		cmocka_unit_test(a_rule_of_many_ranges_is_no_longer_than_what_is_read_again),
		cmocka_unit_test(ranges_that_were_moved_are_printed_and_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
