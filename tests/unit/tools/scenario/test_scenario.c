// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/disk/env.h"
#include "tools/scenario/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "faultblk-scenario 1\n"
/* A disk with a rule and a rule that may hit three times: line 2 to 4. */
#define DISK                                                                                       \
	HEAD "disk data size=1M\nrule data slow do=delay:1ms\nrule data few times=3 do=error:EIO\n"

static struct scenario *must(const char *text)
{
	struct scenario *scenario = NULL;
	struct diag diag = { 0 };

	if (scenario_parse(text, strlen(text), &diag, &scenario))
		fail_msg("'%s': %u:%u: %s: %s", text, diag.line, diag.column, diag.id,
			 diag.message);
	return scenario;
}

static void check_print(const char *text, const char *want)
{
	struct scenario *scenario = must(text), *back;
	char *got = scenario_print(scenario), *again;

	assert_string_equal(got, want);
	back = must(got);
	again = scenario_print(back);
	assert_string_equal(again, got);
	free(again);
	free(got);
	scenario_free(back);
	scenario_free(scenario);
}

struct bad {
	const char *text;
	unsigned int line, column;
	const char *id, *says, *hints; /* hints NULL: none */
};

static void check_bad(const struct bad *bad)
{
	struct scenario *scenario = NULL;
	struct diag diag = { 0 };

	if (scenario_parse(bad->text, strlen(bad->text), &diag, &scenario) == 0)
		fail_msg("'%s' was accepted", bad->text);
	assert_null(scenario);
	if (strcmp(diag.id, bad->id) || diag.line != bad->line || diag.column != bad->column)
		fail_msg("'%s': got %s at %u:%u (%s), wanted %s at %u:%u", bad->text, diag.id,
			 diag.line, diag.column, diag.message, bad->id, bad->line, bad->column);
	if (!strstr(diag.message, bad->says))
		fail_msg("'%s': '%s' does not say '%s'", bad->text, diag.message, bad->says);
	if (bad->hints ? !strstr(diag.hint, bad->hints) : diag.hint[0] != '\0')
		fail_msg("'%s': hint is '%s', wanted '%s'", bad->text, diag.hint,
			 bad->hints ? bad->hints : "");
}
#define CHECK_BAD(table)                                                                           \
	for (size_t i_ = 0; i_ < array_size(table); i_++)                                          \
	check_bad(&(table)[i_])

/* ------------------------------------------------------------------------------ what is accepted
 */

static void a_scenario_prints_disks_rules_and_the_time_line_in_order(void **state)
{
	(void)state;
	check_print(HEAD "  # nothing but a comment\n\n"
			 "disk data size=1M seed=1 read-only\r\n"
			 "rule data b op=read p=5% do=delay:1ms\n"
			 "at 1m:data   put  hole do=error:EIO op=read   # why not\n"
			 "disk log\n"
			 "when data b hits 3: log put dead do=error:EIO\n"
			 "rule log a do=error:EBUSY\n"
			 "\tat 500ms: stop",
		    HEAD "disk data size=1M seed=1 read-only\ndisk log\n"
			 "rule data b op=read p=0.05 do=delay:1ms\nrule log a do=error:EBUSY\n"
			 "at 500ms: stop\nat 1m: data put hole op=read do=error:EIO\n"
			 "when data b hits 3: log put dead do=error:EIO\n");
}

static void a_step_can_be_of_several_disks(void **state)
{
	static const char three[] = HEAD "disk a size=1M\ndisk b size=2M\ndisk c size=1M\n";
	struct scenario *scenario;
	char text[512], want[512], *names;

	(void)state;
	snprintf(text, sizeof(text),
		 "%sat 1s: c,a crash random\nat 2s: a,b,c revive\nat 3s: b,c put x range=0..1M "
		 "do=delay:1ms\nat 4s: c,b remove x\n",
		 three);
	snprintf(want, sizeof(want),
		 "%sat 1s: a,c crash random\nat 2s: a,b,c revive\nat 3s: b,c put x range=0..1M "
		 "do=delay:1ms\nat 4s: b,c remove x\n",
		 three);
	check_print(text, want);
	scenario = must(text);
	assert_int_equal(scenario->steps[0].disks, 5);
	names = scenario_disk_names(scenario, 6);
	assert_string_equal(names, "b,c");
	free(names);
	scenario_free(scenario);
}

static void several_disks_are_refused_like_one(void **state)
{
#define TWO HEAD "disk a size=1M\ndisk b size=2M\n"
	static const struct bad table[] = {
		{ TWO "at 1s: a,a crash", 4, 10, "scenario.duplicate-disk", "'a' is given twice",
		  NULL },
		{ TWO "at 1s: a, crash", 4, 10, "scenario.unknown-disk", "got nothing", NULL },
		{ TWO "at 1s: a,,b crash", 4, 10, "scenario.unknown-disk", "got nothing", NULL },
		{ TWO "at 1s: b,c crash", 4, 10, "scenario.unknown-disk", "defines a disk 'c'",
		  "disk NAME" },
		{ TWO "at 1s: b,a put x range=1M..2M do=error:EIO", 4, 16, "rule.range-outside",
		  "the disk ends at 1M", NULL },
		{ TWO "at 1s: b put x do=error:EIO\nat 2s: b,a remove x", 5, 19,
		  "scenario.unknown-rule", "'x' of disk 'a'", "a step that puts it" },
	};

	(void)state;
	CHECK_BAD(table);
}

static void the_order_of_lines_is_kept_where_times_are_equal(void **state)
{
	(void)state;
	check_print(DISK
		    "at 2s: say b\nat 1s: say a\nat 2s: say c\nevery 2s: say d\nat 0s: say 0\n",
		    HEAD "disk data size=1M\nrule data slow do=delay:1ms\n"
			 "rule data few times=3 do=error:EIO\nat 0s: say 0\nat 1s: say a\n"
			 "at 2s: say b\nat 2s: say c\nevery 2s: say d\n");
}

static void every_action_and_trigger_prints_as_it_was_written(void **state)
{
	static const char text[] =
		DISK "at 0s: data remove slow\nat 1ms: data clear\nat 2ms: data enable slow\n"
		     "at 3ms: data disable slow\nat 4ms: data release\nat 5ms: data release slow\n"
		     "at 6ms: data revive\nat 6ms: data crash\n"
		     "at 6ms: data crash random\nat 7ms: say a: b\nat 8ms: stop\n"
		     "at 9ms: data put x do=error:EIO\nevery 10ms from 20ms times 3: data clear\n"
		     "every 1h: stop\n"
		     "when data slow hits 5: stop\nwhen data x hits 1 then 1ns: data remove x\n";

	(void)state;
	/* In the order of their first times. */
	check_print(text,
		    DISK "at 0s: data remove slow\nat 1ms: data clear\nat 2ms: data enable slow\n"
			 "at 3ms: data disable slow\nat 4ms: data release\n"
			 "at 5ms: data release slow\nat 6ms: data revive\nat 6ms: data crash\n"
			 "at 6ms: data crash random\nat 7ms: say a: b\n"
			 "at 8ms: stop\nat 9ms: data put x do=error:EIO\n"
			 "every 10ms from 20ms times 3: data clear\nevery 1h: stop\n"
			 "when data slow hits 5: stop\n"
			 "when data x hits 1 then 1ns: data remove x\n");
}

static void a_recording_of_all_disks_prints_as_it_was_written(void **state)
{
	struct scenario *s = must(HEAD "record a.rec data limit=1G full=block\ndisk data\n");

	(void)state;
	assert_string_equal(s->recording.path, "a.rec");
	assert_true(s->recording.data && s->recording.block && s->recording.has_limit);
	assert_int_equal(s->recording.limit_bytes, 1 << 30);
	scenario_free(s);
	check_print(HEAD "record /tmp/b full=stop\ndisk data size=1M\nat 1s: mark it is \xc3\xa9\n",
		    HEAD "disk data size=1M\nrecord /tmp/b\nat 1s: mark it is \xc3\xa9\n");
	check_print(HEAD "disk d size=1M\nrecord c data limit=0",
		    HEAD "disk d size=1M\nrecord c data limit=0\n");
}

static void recordings_are_refused_that_cannot_be(void **state)
{
	static const struct bad cases[] = {
		{ HEAD "disk d\nrecord\n", 3, 7, "scenario.bad-recording", "name of a file", NULL },
		{ HEAD "disk d\nrecord a date\n", 3, 10, "scenario.bad-recording", "got 'date'",
		  "did you mean 'data'?" },
		{ HEAD "disk d\nrecord a limit=many\n", 3, 10, "scenario.bad-recording",
		  "limit wants a size", NULL },
		{ HEAD "disk d\nrecord a\nrecord b\n", 4, 8, "scenario.duplicate-recording",
		  "line 3 defines a recording already", NULL },
		{ HEAD "disk d record=b\nrecord a\n", 3, 1, "scenario.duplicate-recording",
		  "disk 'd' has the option 'record'", "remove one of the two" },
		{ HEAD "disk d\nat 1s: mark a\n", 3, 8, "scenario.no-recording",
		  "no recording for the mark", "add a line: record FILE data" },
		{ HEAD "disk d\nrecord a\nat 1s: mark\n", 4, 12, "scenario.missing-text",
		  "mark wants something to say", NULL },
		{ HEAD "disk mark\n", 2, 6, "scenario.bad-name", "'mark' is an action", NULL },
		{ HEAD "disk d record-data\n", 2, 8, "option.record-data",
		  "--record-data needs --record FILE", NULL },
		{ HEAD "disk d record=a record-limit=x\n", 2, 17, "option.record-limit",
		  "wanted a size", NULL },
		{ HEAD "disk d record=a record-full=x\n", 2, 17, "option.record-full",
		  "wanted stop or block", NULL },
	};

	(void)state;
	CHECK_BAD(cases);
}

static void options_of_a_disk_shape_what_its_rules_are_checked_against(void **state)
{
	struct scenario *s = must(HEAD "disk a size=8M block-size=4k\ndisk b");

	(void)state;
	assert_int_equal(s->disks[0].geometry.size_bytes, 8 << 20);
	assert_int_equal(s->disks[0].geometry.block_bytes, 4096);
	assert_int_equal(s->disks[1].geometry.size_bytes, 256 << 20);
	assert_int_equal(s->disks[1].geometry.nr_queues, 1);
	scenario_free(s);
}

static void names_become_environment_variables(void **state)
{
	char name[16], cut[4];

	(void)state;
	disk_env_name("log-1.x_y", name, sizeof(name));
	assert_string_equal(name, "LOG_1_X_Y");
	disk_env_name("az AZ=09/\303\251", name, sizeof(name));
	assert_string_equal(name, "AZ_AZ_09___");
	disk_env_name("abcdef", cut, sizeof(cut));
	assert_string_equal(cut, "ABC");
}

/* ------------------------------------------------------------------------------ what is refused */

static void the_first_line_names_the_format(void **state)
{
	static const struct bad bad[] = {
		{ "", 1, 1, "scenario.file-magic", "starts with the line", NULL },
		{ "faultblk-scenario 2\n", 1, 1, "scenario.file-magic", "'faultblk-scenario 2'",
		  "version 1 only" },
		{ "faultblk-rules 1\n", 1, 1, "scenario.file-magic", "'faultblk-rules 1'", NULL },
		{ HEAD, 1, 1, "scenario.no-disk", "no disk", "disk NAME" },
		{ HEAD "# x\n\n", 3, 1, "scenario.no-disk", "no disk", "disk NAME" },
		{ HEAD "dsik a\n", 2, 1, "scenario.unknown-word", "got 'dsik'", "'disk'" },
		{ HEAD "  at: stop\n", 2, 3, "scenario.unknown-word", "got 'at:'", "'at'" },
		{ HEAD "disk a\x01\n", 2, 7, "rule.bad-character", "0x01", NULL },
		{ HEAD "disk a\xff\n", 2, 7, "rule.bad-character", "0xff", NULL },
	};

	(void)state;
	CHECK_BAD(bad);
}

static void disks_are_refused_as_run_would(void **state)
{
	static const struct bad bad[] = {
		{ HEAD "disk", 2, 5, "scenario.bad-name", "got nothing", NULL },
		{ HEAD "disk size=1M", 2, 6, "runtime.name", "size=1M", "disk NAME size=1M" },
		{ HEAD "disk -a", 2, 6, "runtime.name", "-a", NULL },
		{ HEAD "disk stop", 2, 6, "scenario.bad-name", "is an action", NULL },
		{ HEAD "disk a\ndisk a", 3, 6, "scenario.duplicate-disk", "already", NULL },
		{ HEAD "disk a-b\ndisk a.B", 3, 6, "scenario.duplicate-disk", "FAULTBLK_DEV_A_B",
		  NULL },
		{ HEAD "disk a size=1x", 2, 8, "option.value", "'1x'", NULL },
		{ HEAD "disk a seed=1 size=1", 2, 15, "option.value", "1s to 4096P", NULL },
		{ HEAD "disk a size", 2, 8, "option.value", "size=SIZE", NULL },
		{ HEAD "disk a read-only=1", 2, 8, "option.value", "no value", NULL },
		{ HEAD "disk a sise=1M", 2, 8, "option.unknown", "'sise'", "size" },
		{ HEAD "disk a seed=1 seed=2", 2, 15, "scenario.duplicate-option", "twice", NULL },
		{ HEAD "disk a seed=x", 2, 8, "option.seed", "'x'", NULL },
		{ HEAD "disk a id=9999999", 2, 8, "option.id", "9999999", NULL },
		{ HEAD "disk a seed=1 block-size=1000", 2, 15, "option.block-size", "power of two",
		  NULL },
		{ HEAD "disk a size=1M physical-block-size=1000", 2, 16,
		  "option.physical-block-size", "power of two", NULL },
		{ HEAD "disk a block-size=4k size=1k", 2, 22, "option.size", "multiple", NULL },
		{ HEAD "disk a max-io=5000", 2, 8, "option.max-io", "multiple", NULL },
		{ HEAD "disk a queues=4096", 2, 8, "option.value", "CPUs", NULL },
		{ HEAD "disk a name=b", 2, 8, "option.not-of-a-disk", "'name'", NULL },
		{ HEAD "disk a rule=b", 2, 8, "option.not-of-a-disk", "'rule'", "rule DISK" },
		{ HEAD "disk a daemon", 2, 8, "option.not-of-a-disk", "'daemon'", NULL },
		{ HEAD "disk a scenario=x", 2, 8, "option.not-of-a-disk", "'scenario'", NULL },
	};

	(void)state;
	CHECK_BAD(bad);
}

static void rules_are_checked_for_their_disk(void **state)
{
	static const struct bad bad[] = {
		{ HEAD "rule data a do=error:EIO", 2, 6, "scenario.unknown-disk", "'data'",
		  "disk NAME" },
		{ DISK "rule dtaa a do=error:EIO", 5, 6, "scenario.unknown-disk", "'dtaa'",
		  "'data'" },
		{ DISK "rule", 5, 5, "scenario.unknown-disk", "got nothing", NULL },
		{ DISK "rule data", 5, 10, "rule.bad-name", "wants a name", NULL },
		{ DISK "rule data x do=eror:EIO", 5, 16, "rule.unknown-kind", "eror", "error" },
		{ DISK "rule data slow do=error:EIO", 5, 11, "rule.duplicate-name", "defined above",
		  NULL },
		{ DISK "rule data x range=2M..3M do=error:EIO", 5, 11, "rule.range-outside", "1M",
		  NULL },
		{ DISK "at 1s: data put x range=2M..3M do=error:EIO", 5, 17, "rule.range-outside",
		  "1M", NULL },
		{ DISK "at 1s: data put x op=raed do=error:EIO", 5, 22, "rule.bad-op", "raed",
		  "read" },
	};

	(void)state;
	CHECK_BAD(bad);
}

static void triggers_say_what_they_want(void **state)
{
	static const struct bad bad[] = {
		{ DISK "at: stop", 5, 1, "scenario.unknown-word", "'at:'", "'at'" },
		{ DISK "at 10: stop", 5, 4, "scenario.bad-time", "10s", NULL },
		{ DISK "at : stop", 5, 4, "scenario.bad-time", "''", NULL },
		{ DISK "at 1000h: stop", 5, 4, "scenario.bad-time", "720h", NULL },
		{ DISK "at 10s 20s: stop", 5, 8, "scenario.extra-words", "20s", NULL },
		{ DISK "at 10s stop", 5, 8, "scenario.extra-words", "stop", NULL },
		{ DISK "at 10s", 5, 7, "scenario.missing-action", "':'", NULL },
		{ DISK "every 1ms: stop", 5, 7, "scenario.bad-time", "10ms", NULL },
		{ DISK "every 1s form 2s: stop", 5, 10, "scenario.bad-trigger", "'form'",
		  "every TIME [from TIME] [times N]" },
		{ DISK "every 1s from x: stop", 5, 15, "scenario.bad-time", "'x'", NULL },
		{ DISK "every 1s times 0: stop", 5, 16, "scenario.bad-number", "from 1", NULL },
		{ DISK "every 1s from 1s times 1 x: stop", 5, 26, "scenario.extra-words", "x",
		  NULL },
		{ DISK "when dat slow hits 1: stop", 5, 6, "scenario.unknown-disk", "'dat'",
		  "'data'" },
		{ DISK "when data: stop", 5, 10, "scenario.missing-rule", "name of a rule", NULL },
		{ DISK "when data slow 3: stop", 5, 16, "scenario.bad-trigger", "'hits'",
		  "when DISK RULE hits N" },
		{ DISK "when data slow hits 1.5: stop", 5, 21, "scenario.bad-number", "'1.5'",
		  NULL },
		{ DISK "when data slow hits 99999999999999999999: stop", 5, 21,
		  "scenario.bad-number", "whole number", NULL },
		{ DISK "when data slow hits 1 after 2s: stop", 5, 23, "scenario.bad-trigger",
		  "'then'", "when DISK RULE hits N" },
		{ DISK "when data slow hits 1 then 2: stop", 5, 28, "scenario.bad-time", "'2'",
		  NULL },
	};

	(void)state;
	CHECK_BAD(bad);
}

static void actions_say_what_they_want(void **state)
{
	static const struct bad bad[] = {
		{ DISK "at 1s:", 5, 7, "scenario.missing-action", "an action", NULL },
		{ DISK "at 1s: data", 5, 12, "scenario.unknown-action", "got nothing", NULL },
		{ DISK "at 1s: data putt x", 5, 13, "scenario.unknown-action", "'putt'", "'put'" },
		{ DISK "at 1s: data stop", 5, 13, "scenario.unknown-action", "'stop'", NULL },
		{ DISK "at 1s: put x do=error:EIO", 5, 8, "scenario.unknown-disk", "'put'",
		  "disk NAME" },
		{ DISK "at 1s: stop now", 5, 13, "scenario.extra-words", "now", NULL },
		{ DISK "at 1s: say", 5, 11, "scenario.missing-text", "nothing", NULL },
		{ DISK "at 1s: data remove", 5, 19, "scenario.missing-rule", "name", NULL },
		{ DISK "at 1s: data remove slow few", 5, 25, "scenario.extra-words", "few", NULL },
		{ DISK "at 1s: data clear all", 5, 19, "scenario.extra-words", "all", NULL },
		{ DISK "at 1s: data remove slwo", 5, 20, "scenario.unknown-rule", "'slwo'",
		  "'slow'" },
		{ DISK "at 1s: data enable other", 5, 20, "scenario.unknown-rule", "'other'",
		  "rule data other" },
		{ DISK "at 1s: data crash some", 5, 19, "scenario.bad-keep", "'some'", NULL },
		{ DISK "at 1s: data crash all now", 5, 23, "scenario.extra-words", "now", NULL },
		{ DISK "at 1s: data release slo", 5, 21, "scenario.unknown-rule", "'slo'",
		  "'slow'" },
	};

	(void)state;
	CHECK_BAD(bad);
}

static void a_when_that_can_never_come_true_is_refused(void **state)
{
	static const struct bad bad[] = {
		{ DISK "when data slwo hits 1: stop", 5, 11, "scenario.unknown-rule", "'slwo'",
		  "'slow'" },
		{ DISK "when data few hits 4: stop", 5, 11, "scenario.never", "at most 3 times",
		  "times=" },
		{ DISK "when data x hits 1: data put x do=error:EIO", 5, 11, "scenario.never",
		  "never exist", "at TIME" },
		{ DISK "when data x hits 1: data put y do=error:EIO\n"
		       "when data y hits 1: data put x do=error:EIO",
		  5, 11, "scenario.never", "never exist", "at TIME" },
		/* The rule is another disk's. */
		{ DISK "disk log\nwhen log slow hits 1: stop", 6, 10, "scenario.unknown-rule",
		  "disk 'log'", "rule log slow" },
	};

	(void)state;
	CHECK_BAD(bad);
	/* A chain that begins somewhere may be as long as it likes, in any order. */
	scenario_free(must(DISK "when data y hits 1: stop\n"
				"when data x hits 1: data put y do=error:EIO\n"
				"when data slow hits 1: data put x do=error:EIO\n"));
	/* A put may raise the limit. */
	scenario_free(must(DISK "at 1s: data put few times=9 do=error:EIO\n"
				"when data few hits 4: stop\n"));
}

/* @nr lines, each @before, its number, @after, are accepted; one more is refused at @column of it.
 */
static void check_limit(const char *head, const char *before, const char *after, unsigned int nr,
			unsigned int column)
{
	for (unsigned int over = 0; over < 2; over++) {
		struct scenario *scenario = NULL;
		struct diag diag = { 0 };
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		fputs(head, out);
		for (unsigned int i = 0; i < nr + over; i++)
			fprintf(out, "%s%u%s\n", before, i, after);
		fclose(out);
		if (scenario_parse(text, len, &diag, &scenario) != (over ? -EINVAL : 0))
			fail_msg("%s: %u: %s", before, over, diag.message);
		if (over) {
			assert_string_equal(diag.id, "scenario.too-many");
			assert_int_equal(diag.column, column);
		}
		scenario_free(scenario);
		free(text);
	}
}

static void limits_are_kept_and_named(void **state)
{
	char *big = calloc(1, SCENARIO_FILE_MAX + 1);
	char say[SCENARIO_SAY_MAX + 64];
	struct scenario *scenario = NULL;
	struct diag diag = { 0 };

	(void)state;
	check_limit(HEAD, "disk d", " size=1M", SCENARIO_DISKS_MAX, 6);
	check_limit(HEAD "disk a\n", "at ", "s: stop", SCENARIO_STEPS_MAX, 1);
	memset(big, '#', SCENARIO_FILE_MAX + 1);
	memcpy(big, HEAD, strlen(HEAD));
	assert_int_equal(scenario_parse(big, SCENARIO_FILE_MAX + 1, &diag, &scenario), -EFBIG);
	assert_string_equal(diag.id, "scenario.too-big");
	free(big);
	snprintf(say, sizeof(say), HEAD "disk a\nat 1s: say %0*d", SCENARIO_SAY_MAX, 0);
	scenario_free(must(say));
	strcat(say, "0");
	assert_int_equal(scenario_parse(say, strlen(say), &diag, &scenario), -EINVAL);
	assert_string_equal(diag.id, "scenario.too-long");
}

static void few_rules_of_one_disk_can_be_waited_for(void **state)
{
	char text[8192] = HEAD "disk a\ndisk b\n", line[128];
	struct scenario *scenario = NULL;
	struct diag diag = { 0 };

	(void)state;
	for (int i = 0; i <= SCENARIO_WAITED_MAX; i++) {
		for (const char *disk = "ab"; *disk; disk++) {
			snprintf(line, sizeof(line), "rule %c r%d do=error:EIO\n", *disk, i);
			strcat(text, line);
		}
	}
	for (int i = 0; i < 2 * SCENARIO_WAITED_MAX; i++) {
		snprintf(line, sizeof(line), "when a r%d hits %d: stop\nwhen b r%d hits 1: stop\n",
			 i % SCENARIO_WAITED_MAX, i + 1, i % SCENARIO_WAITED_MAX);
		strcat(text, line);
	}
	scenario_free(must(text));
	snprintf(line, sizeof(line), "when a r%d hits 1: stop\n", SCENARIO_WAITED_MAX);
	strcat(text, line);
	assert_int_equal(scenario_parse(text, strlen(text), &diag, &scenario), -EINVAL);
	assert_string_equal(diag.id, "scenario.too-many");
	assert_int_equal(diag.column, 8);
}

/* ------------------------------------------------------------------------------ the time line */

/* Carry out what is due up to @until_ns; what was said, one after the other. */
static const char *play(struct timeline *timeline, uint64_t until_ns)
{
	static char said[256];
	const struct scenario_step *step;
	uint64_t due_ns;

	said[0] = '\0';
	while ((step = timeline_next(timeline, &due_ns)) && due_ns <= until_ns) {
		strcat(said, step->text);
		timeline_done(timeline, step);
	}
	return said;
}

static void steps_are_due_at_their_times_and_once(void **state)
{
	struct scenario *s = must(DISK "at 2s: say b\nat 1s: say a\nat 2s: say c\n");
	struct timeline timeline;

	(void)state;
	assert_int_equal(timeline_init(&timeline, s, 1), 0);
	assert_string_equal(play(&timeline, NSEC_PER_SEC - 1), "");
	assert_string_equal(play(&timeline, NSEC_PER_SEC), "a");
	assert_string_equal(play(&timeline, 100 * NSEC_PER_SEC), "bc");
	assert_null(timeline_next(&timeline, &(uint64_t){ 0 }));
	timeline_free(&timeline);
	scenario_free(s);
}

static void every_comes_again_and_again_or_as_often_as_it_says(void **state)
{
	struct scenario *s = must(DISK "every 10s: say a\nevery 10s from 12s times 2: say b\n");
	struct timeline timeline;

	(void)state;
	assert_int_equal(timeline_init(&timeline, s, 1), 0);
	assert_string_equal(play(&timeline, 19 * NSEC_PER_SEC), "ab");
	/* Late as it is, nothing is left out, and the order is that of the times. */
	assert_string_equal(play(&timeline, 40 * NSEC_PER_SEC), "abaa");
	timeline_free(&timeline);
	scenario_free(s);
}

static void when_waits_for_the_hits_and_then_for_the_time(void **state)
{
	struct scenario *s =
		must(DISK "when data slow hits 3 then 2s: say b\n"
			  "when data slow hits 3: say a\n"
			  "when data slow hits 9: say c\nwhen data few hits 1: say d\n");
	struct timeline timeline;

	(void)state;
	assert_int_equal(timeline_init(&timeline, s, 1), 0);
	timeline_hits(&timeline, 0, "slow", 2, 0);
	assert_string_equal(play(&timeline, 50 * NSEC_PER_SEC), "");
	timeline_hits(&timeline, 0, "slow", 4, 50 * NSEC_PER_SEC);
	assert_string_equal(play(&timeline, 51 * NSEC_PER_SEC), "a");
	/* Seen again: that moves nothing. */
	timeline_hits(&timeline, 0, "slow", 5, 51 * NSEC_PER_SEC);
	assert_string_equal(play(&timeline, 52 * NSEC_PER_SEC), "b");
	timeline_hits(&timeline, 1, "few", 1, 0);
	assert_string_equal(play(&timeline, 99 * NSEC_PER_SEC), "");
	timeline_hits(&timeline, 0, "slow", 9, 99 * NSEC_PER_SEC);
	assert_string_equal(play(&timeline, 99 * NSEC_PER_SEC), "c");
	timeline_free(&timeline);
	scenario_free(s);
}

static void speed_divides_every_time(void **state)
{
	struct scenario *s = must(DISK "at 10s: say a\nevery 10s from 20s times 2: say b\n"
				       "when data slow hits 1 then 10s: say c\n");
	struct timeline timeline;

	(void)state;
	assert_int_equal(timeline_init(&timeline, s, 10), 0);
	assert_string_equal(play(&timeline, NSEC_PER_SEC), "a");
	assert_string_equal(play(&timeline, 2 * NSEC_PER_SEC), "b");
	assert_string_equal(play(&timeline, 3 * NSEC_PER_SEC), "b");
	timeline_hits(&timeline, 0, "slow", 1, 5 * NSEC_PER_SEC);
	assert_string_equal(play(&timeline, 6 * NSEC_PER_SEC), "c");
	timeline_free(&timeline);
	scenario_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_scenario_prints_disks_rules_and_the_time_line_in_order),
		cmocka_unit_test(a_step_can_be_of_several_disks),
		cmocka_unit_test(several_disks_are_refused_like_one),
		cmocka_unit_test(the_order_of_lines_is_kept_where_times_are_equal),
		cmocka_unit_test(every_action_and_trigger_prints_as_it_was_written),
		cmocka_unit_test(a_recording_of_all_disks_prints_as_it_was_written),
		cmocka_unit_test(recordings_are_refused_that_cannot_be),
		cmocka_unit_test(options_of_a_disk_shape_what_its_rules_are_checked_against),
		cmocka_unit_test(names_become_environment_variables),
		cmocka_unit_test(the_first_line_names_the_format),
		cmocka_unit_test(disks_are_refused_as_run_would),
		cmocka_unit_test(rules_are_checked_for_their_disk),
		cmocka_unit_test(triggers_say_what_they_want),
		cmocka_unit_test(actions_say_what_they_want),
		cmocka_unit_test(a_when_that_can_never_come_true_is_refused),
		cmocka_unit_test(limits_are_kept_and_named),
		cmocka_unit_test(few_rules_of_one_disk_can_be_waited_for),
		cmocka_unit_test(steps_are_due_at_their_times_and_once),
		cmocka_unit_test(every_comes_again_and_again_or_as_often_as_it_says),
		cmocka_unit_test(when_waits_for_the_hits_and_then_for_the_time),
		cmocka_unit_test(speed_divides_every_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
