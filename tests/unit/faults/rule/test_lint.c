// SPDX-License-Identifier: MIT
#include "tests/unit/cached_disk.h"

#include "base/clock.h"

#include <errno.h>

#define DISK   (16 * SEC)
#define MAX_IO (4 * SEC)

struct said {
	char rule[8][RULE_NAME_MAX + 1];
	char sentence[8][500];
	unsigned int nr;
};

static void note(void *ctx, const struct rule *rule, const char *sentence)
{
	struct said *said = ctx;

	assert_true(said->nr < 8);
	assert_null(strchr(sentence, '\n'));
	assert_non_null(strstr(sentence, rule_name(rule)));
	snprintf(said->rule[said->nr], sizeof(said->rule[0]), "%s", rule_name(rule));
	snprintf(said->sentence[said->nr], sizeof(said->sentence[0]), "%s", sentence);
	assert_in_range(strlen(sentence), 20, 400);
	said->nr++;
}

static const struct rule_geometry plain = {
	.size_bytes = DISK, .block_bytes = 512, .nr_queues = 2, .max_io_bytes = MAX_IO
};

static struct said lint_of(const char *lines, const struct rule_geometry *geometry)
{
	struct rule_set *set = must_set(lines);
	struct said said = { .nr = 0 };

	rule_set_lint(set, geometry, note, &said);
	rule_set_free(set);
	return said;
}

/* The set gets one warning, about this rule and with these words; none where @words is NULL. */
static void check_lint(const char *lines, const struct rule_geometry *geometry, const char *rule,
		       const char *words)
{
	struct said said = lint_of(lines, geometry);

	if (!words && !said.nr)
		return;
	if (!words || said.nr != 1 || strcmp(said.rule[0], rule) != 0 ||
	    !strstr(said.sentence[0], words))
		fail_msg("'%s': %u warnings, first '%s'", lines, said.nr, said.sentence[0]);
}

static void rules_that_can_never_match_are_named(void **state)
{
	struct rule_geometry bare = plain, big = plain;

	(void)state;
	bare.no_flush = bare.no_fua = true;
	big.block_bytes = 4096;
	check_lint("a op=write min-len=5s do=error:EIO", &plain, "a",
		   "no request has such a length");
	check_lint("a op=write,discard min-len=5s do=error:EIO", &plain, NULL, NULL);
	check_lint("a len=17s do=error:EIO", &plain, "a", "at most the disk's 8k");
	check_lint("a len=1s do=error:EIO", &big, "a", "logical block of 4k");
	check_lint("a min-len=4097 max-len=8191 do=error:EIO", &big, "a", "multiples");
	check_lint("a min-len=4097 max-len=8191 do=error:EIO", &plain, NULL, NULL);
	check_lint("a op=flush do=error:EIO", &bare, "a", "this disk gets none");
	check_lint("a op=flush,read do=error:EIO", &bare, NULL, NULL);
	check_lint("a op=discard,zeroes do=error:EIO", &bare, NULL, NULL);
	bare.no_discard = true;
	check_lint("a op=discard do=error:EIO", &bare, "a", "about discards, and");
	check_lint("a op=discard,zeroes do=error:EIO", &bare, NULL, NULL);
	check_lint(
		"a op=discard,flush do=error:EIO", &bare, "a",
		"about flushes, discards, and this disk gets none; make it with a volatile cache and "
		"them");
	bare.no_zeroes = true;
	check_lint("a op=discard,zeroes do=error:EIO", &bare, "a", "discards, write-zeroes, and");
	check_lint("a flags=fua do=error:EIO", &bare, "a", "flags=fua");
	check_lint("a flags=fua do=error:EIO", &plain, NULL, NULL);
	check_lint("a flags=readahead,!failfast-dev do=error:EIO", &plain, "a", "contradict");
	check_lint(
		"a flags=failfast-dev,failfast-transport,failfast-driver,!readahead do=error:EIO",
		&plain, "a", "contradict");
	check_lint("a flags=failfast-dev,!readahead do=error:EIO", &plain, NULL, NULL);
	check_lint("a flags=readahead,!meta do=error:EIO", &plain, NULL, NULL);
	check_lint("a state=hot do=error:EIO", &plain, "a", "add goto=hot");
	check_lint("a state=hot do=error:EIO\nb enabled=no goto=hot do=count", &plain, NULL, NULL);
	check_lint("a state=start do=error:EIO", &plain, NULL, NULL);
	check_lint("a op=read align=8s range=6s..8s max-len=4s do=error:EIO", &plain, "a",
		   "touch range=");
	check_lint("a op=read align=8s range=3s..8s max-len=4s do=error:EIO", &plain, NULL, NULL);
	/* Sector 0 is a multiple of everything. */
	check_lint("a align=1M do=error:EIO", &plain, "a", "only requests that start where");
	check_lint("a enabled=no len=17s do=error:EIO", &plain, NULL, NULL);
}

static void rules_that_can_never_act_are_named(void **state)
{
	struct rule_geometry cached = plain;

	(void)state;
	cached.has_cache = true;
	check_lint("a p=0 do=error:EIO", &plain, "a", "p= is 0");
	check_lint("a p=1e-9 do=error:EIO", &plain, NULL, NULL);
	check_lint("a for=10s between=10s..20s do=error:EIO", &plain, "a", "no moment in common");
	check_lint("a for=11s between=10s..20s do=error:EIO", &plain, NULL, NULL);
	check_lint("a for=5s up=5s down=1s do=error:EIO", &plain, "a", "no moment");
	check_lint("a for=5s up=4s down=1s do=error:EIO", &plain, NULL, NULL);
	check_lint("a between=12s..16s up=4s down=6s do=error:EIO", &plain, NULL, NULL);
	check_lint("a between=10s..14s up=4s down=6s do=error:EIO", &plain, "a", "no moment");
	check_lint("a do=powercut:keep=all", &plain, "a", "its own request only");
	check_lint("a do=powercut:keep=all", &cached, NULL, NULL);
	check_lint("a do=powercut", &plain, NULL, NULL);
	check_lint("a do=powercut:keep=first:4k", &plain, NULL, NULL);
	check_lint("a do=powercut:keep=first:4k,rest=all", &plain, "a",
		   "decides with rest= about nothing");
}

static void delays_of_minutes_are_told_from_milliseconds(void **state)
{
	(void)state;
	check_lint("a do=delay:20m", &plain, "a",
		   "20m is 20 of them; milliseconds are written ms, as in 20ms");
	check_lint("a do=delay:1ms..5m", &plain, "a", "as in 5ms");
	check_lint("a do=delay:normal=3m,dev=1m", &plain, "a", "as in 3ms");
	check_lint("a do=delay:p50=1ms,p99=2m", &plain, "a", "as in 2ms");
	check_lint("a do=delay:1ms,seek=8m", &plain, "a", "as in 8ms");
	check_lint("a do=delay:20ms", &plain, NULL, NULL);
	check_lint("a do=delay:90s,max=10m", &plain, NULL, NULL);
	check_lint("a do=delay:1h", &plain, NULL, NULL);
	/* Where minutes are what one means. */
	check_lint("a for=10m up=5m down=1m do=hang:for=30m", &plain, NULL, NULL);
	check_lint("a do=throttle:iops=1,burst=1m", &plain, NULL, NULL);
}

static void rules_in_the_shadow_of_another_are_named_with_it(void **state)
{
	struct rule_geometry one = plain;

	(void)state;
	one.nr_queues = 1;
	check_lint("a op=read,write do=error:EIO\nb op=read range=1s..2s do=error:ENOSPC", &plain,
		   "b",
		   "rule 'a' before it ends every request that could match; put 'b' before 'a'");
	check_lint("a op=read do=error:EIO\nb op=read,write do=error:ENOSPC", &plain, NULL, NULL);
	check_lint("a range=1s..5s do=error:EIO\nb range=2s..5s do=error:EIO", &plain, "b", "'a'");
	check_lint("a range=1s..5s do=error:EIO\nb range=0s..5s do=error:EIO", &plain, NULL, NULL);
	check_lint("a op=read range=0.. do=error:EIO\nb op=read do=count", &plain, "b", "'a'");
	/* A flush has no place. */
	check_lint("a range=0.. do=error:EIO\nb do=count", &plain, NULL, NULL);
	check_lint("a min-len=2s do=error:EIO\nb len=3s do=count", &plain, "b", "'a'");
	check_lint("a op=read max-len=4s do=error:EIO\nb op=read do=count", &plain, "b", "'a'");
	check_lint("a op=zeroes max-len=4s do=error:EIO\nb op=zeroes do=count", &plain, NULL, NULL);
	check_lint("a queue=1 do=error:EIO\nb queue=1 do=count", &plain, "b", "'a'");
	check_lint("a queue=0 do=error:EIO\nb do=count", &plain, NULL, NULL);
	check_lint("a queue=0 do=error:EIO\nb do=count", &one, "b", "'a'");
	check_lint("a flags=failfast-dev do=error:EIO\nb flags=readahead do=count", &plain, "b",
		   "'a'");
	check_lint("a flags=!readahead do=error:EIO\nb flags=!failfast-dev do=count", &plain, "b",
		   "'a'");
	check_lint("a flags=!fua do=error:EIO\nb do=count", &plain, NULL, NULL);
	check_lint("a flags=!readahead do=error:EIO\nb flags=!fua do=count", &plain, NULL, NULL);
	check_lint("a align=1s do=error:EIO\nb op=read do=count", &plain, "b", "'a'");
	check_lint("a align=2s do=error:EIO\nb align=4s do=count", &plain, "b", "'a'");
	check_lint("a align=2s do=error:EIO\nb align=3s do=count", &plain, NULL, NULL);
	check_lint("g op=flush goto=s do=count\na state=s do=error:EIO\nb state=s do=count", &plain,
		   "b", "'a'");
	check_lint("a state=start do=error:EIO\nb do=count", &plain, NULL, NULL);
}

static void a_rule_that_lets_anything_pass_shadows_nothing(void **state)
{
	static const char *const words[] = { "after=1",        "every=2",  "times=9",
					     "p=0.999",        "for=1h",   "up=0s down=1s",
					     "between=0s..1s", "fiu=name", "op=read content=00" };

	(void)state;
	for (size_t i = 0; i < array_size(words); i++) {
		char lines[128];

		snprintf(lines, sizeof(lines), "a %s do=error:EIO\nb op=read do=count", words[i]);
		check_lint(lines, &plain, NULL, NULL);
	}
	check_lint("a do=count\nb op=read do=count", &plain, NULL, NULL);
	check_lint("a do=delay:1s\nb op=read do=count", &plain, NULL, NULL);
	check_lint("a do=badblock\nb op=read do=error:EIO", &plain, NULL, NULL);
	check_lint("a enabled=no do=error:EIO\nb op=read do=count", &plain, NULL, NULL);
}

/* ---- against every request there is --------------------------------------------------------- */

static void add_words(struct draw *draw, char *text, size_t size)
{
	static const char *const words[][8] = {
		{ "op=read", "op=write", "op=read,write", "op=flush", "op=discard",
		  "op=zeroes,flush" },
		{ "range=0s..4s", "range=4s..8s", "range=6s..7s", "range=0..", "range=4s..",
		  "range=7s..8s" },
		{ "len=1s", "len=2s", "len=3s", "min-len=3s", "max-len=2s", "min-len=2s max-len=3s",
		  "min-len=513 max-len=1023", "len=8s" },
		{ "align=2s", "align=4s", "align=1s", "align=3s", "align=6s", "align=1M" },
		{ "flags=fua", "flags=readahead", "flags=!failfast-dev", "flags=failfast-dev",
		  "flags=readahead,!failfast-dev", "flags=!fua", "flags=!readahead" },
		{ "queue=0", "queue=1" },
		{ "state=start", "state=x", "state=y" },
		{ "goto=x", "goto=start" },
		{ "p=0", "p=0.5", "after=1", "every=2", "times=1", "for=2s", "between=2s..3s",
		  "up=2s down=1s" },
		{ "for=2s", "between=1s..2s", "between=4s..6s" },
	};

	for (size_t group = 0; group < array_size(words); group++) {
		unsigned int nr = 0;
		const char *word;

		while (nr < 8 && words[group][nr])
			nr++;
		word = words[group][draw_below(draw, nr)];
		/* The last group has words of the one before. */
		if (draw_below(draw, group < 3 ? 3 : 6) ||
		    (group == array_size(words) - 1 && strstr(text, "for=")) ||
		    (group == array_size(words) - 1 && strstr(text, "between=")))
			continue;
		snprintf(text + strlen(text), size - strlen(text), " %s", word);
	}
}

static const char *const kinds[] = { "error:EIO", "error:EIO", "count", "count", "delay:1us" };

/* Two random rules that parse; the second after the first. */
static struct rule_set *random_pair(struct draw *draw, char lines[600])
{
	for (;;) {
		struct rule_set *set = rule_set_new();

		lines[0] = '\0';
		for (int i = 0; i < 2; i++) {
			struct rule *rule = NULL;
			char text[256];

			snprintf(text, sizeof(text), "%c", 'a' + i);
			add_words(draw, text, sizeof(text));
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " do=%s",
				 kinds[draw_below(draw, array_size(kinds))]);
			if (rule_parse(text, strlen(text), NULL, &rule) == 0)
				rule_set_put(set, rule, NULL, NULL);
			rule_unref(rule);
			snprintf(lines + strlen(lines), 300, "%s\n", text);
		}
		if (rule_set_count(set) == 2)
			return set;
		rule_set_free(set);
	}
}

static void submit_one(struct disk *disk, struct io io, uint64_t now_ns)
{
	static unsigned char data[8 * SEC];

	io.data = data;
	if (pipeline_submit(disk->pipeline, &io, now_ns) == IO_PARKED)
		pipeline_resume(disk->pipeline, &io, now_ns);
}

/* Every request that a disk of @geometry can get, at every time that makes a difference. */
static void submit_all(struct disk *disk, const struct rule_geometry *geometry, uint64_t now_ns)
{
	for (uint32_t flags = 0; flags < 16; flags++) {
		uint32_t bits = (flags & 7) | (flags & 8 ? IO_FUA : 0);
		uint32_t block = geometry->block_bytes;

		if (geometry->no_fua && bits & IO_FUA)
			continue;
		for (uint16_t queue = 0; queue < geometry->nr_queues; queue++) {
			struct io io = { .queue = queue, .flags = bits, .op = IO_FLUSH };

			if (!geometry->no_flush)
				submit_one(disk, io, now_ns);
			for (uint64_t at = 0; at < geometry->size_bytes; at += block) {
				for (uint64_t len = block; at + len <= geometry->size_bytes;
				     len += block) {
					io.sector = at / SEC;
					io.len_bytes = (uint32_t)len;
					for (uint8_t op = 0; op < IO_NR_OPS; op++) {
						io.op = op;
						if (op == IO_FLUSH ||
						    (op == IO_DISCARD && geometry->no_discard) ||
						    (op == IO_ZEROES && geometry->no_zeroes) ||
						    (op <= IO_WRITE &&
						     len > geometry->max_io_bytes))
							continue;
						submit_one(disk, io, now_ns);
					}
				}
			}
		}
	}
}

/* What the warning claims of the rule must be so; a first rule that is never matched is warned of.
 */
static void check_claims(struct disk *disk, const struct said *said, const char *lines)
{
	for (unsigned int i = 0; i < said->nr; i++) {
		struct rule_counts counts = counts_of(disk, said->rule[i]);
		bool matches = strstr(said->sentence[i], "never acts") ||
			       strstr(said->sentence[i], "matches only");

		if (strstr(said->sentence[i], "matches only"))
			continue;
		if (counts.hits || (!matches && counts.matches))
			fail_msg("%s\n%s, but %llu hits", lines, said->sentence[i],
				 (unsigned long long)counts.hits);
	}
	if (rule_set_at(pipeline_rules(disk->pipeline), 0)->state_hash)
		return;
	if (!counts_of(disk, "a").matches && !(said->nr && said->rule[0][0] == 'a'))
		fail_msg("%s\nnobody said that a never matches", lines);
}

static void no_request_ever_reaches_what_lint_calls_unreachable(void **state)
{
	unsigned int warned[3] = { 0 };
	struct draw draw = { .seed = 17 };

	(void)state;
	for (int round = 0; round < 600; round++) {
		struct rule_geometry geometry = {
			.size_bytes = 8 * SEC,
			.block_bytes = draw_below(&draw, 2) ? 512 : 1024,
			.nr_queues = (uint16_t)(1 + draw_below(&draw, 2)),
			.max_io_bytes = draw_below(&draw, 2) ? 2 * SEC : 8 * SEC,
			.no_flush = draw_below(&draw, 2),
			.no_fua = draw_below(&draw, 2),
			.no_discard = draw_below(&draw, 2),
			.no_zeroes = draw_below(&draw, 2),
		};
		struct disk disk = make_disk(8 * SEC, geometry.block_bytes, geometry.nr_queues, 1);
		char lines[600];
		struct rule_set *set = random_pair(&draw, lines);
		struct said said = { .nr = 0 };
		struct diag diag;

		if (pipeline_publish(disk.pipeline, set, 0, &diag, NULL) == 0) {
			pipeline_adopt(disk.pipeline, 0);
			if (geometry.nr_queues > 1)
				pipeline_adopt(disk.pipeline, 1);
			rule_set_lint(set, &geometry, note, &said);
			for (uint64_t t = 0; t < 7; t++)
				submit_all(&disk, &geometry, t * NSEC_PER_SEC);
			check_claims(&disk, &said, lines);
			for (unsigned int i = 0; i < said.nr; i++)
				warned[strstr(said.sentence[i], "never reached")  ? 2
				       : strstr(said.sentence[i], "never acts") ? 1
										: 0]++;
		}
		rule_set_free(set);
		free_disk(&disk);
	}
	print_message("%u never match, %u never act, %u shadowed\n", warned[0], warned[1],
		      warned[2]);
	assert_true(warned[0] > 20 && warned[1] > 10 && warned[2] > 10);
}

static void four_thousand_rules_are_looked_at_in_a_moment(void **state)
{
	struct rule_set *set = rule_set_new();
	struct said said = { .nr = 0 };
	uint64_t start;

	(void)state;
	for (int i = 0; i < RULE_SET_MAX; i++) {
		struct rule *rule;
		char text[80];

		snprintf(text, sizeof(text), "r%d op=read range=%ds..%ds do=error:EIO", i, i,
			 i + 1);
		rule = must_parse(text);
		assert_int_equal(rule_set_put(set, rule, NULL, NULL), 0);
		rule_unref(rule);
	}
	start = clock_now_ns();
	rule_set_lint(set,
		      &(struct rule_geometry){
			      .size_bytes = 1u << 30, .block_bytes = 512, .nr_queues = 1 },
		      note, &said);
	print_message("%.0f ms\n", (double)(clock_now_ns() - start) / 1e6);
	assert_int_equal(said.nr, 0);
	rule_set_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_that_can_never_match_are_named),
		cmocka_unit_test(rules_that_can_never_act_are_named),
		cmocka_unit_test(delays_of_minutes_are_told_from_milliseconds),
		cmocka_unit_test(rules_in_the_shadow_of_another_are_named_with_it),
		cmocka_unit_test(a_rule_that_lets_anything_pass_shadows_nothing),
		cmocka_unit_test(no_request_ever_reaches_what_lint_calls_unreachable),
		cmocka_unit_test(four_thousand_rules_are_looked_at_in_a_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
