// SPDX-License-Identifier: MIT
/* The line of an event against the JSON that it is documented to be. */
#include "tests/unit/random_rule.h"

#include "base/units.h"
#include "faults/rule/kind.h"
#include "tools/rpc/event_line.h"
#include "tools/rpc/line.h"
#include "tools/rpc/watch.h"

static size_t nr_kinds(void)
{
	size_t nr = 0;

	while (kind_at(nr))
		nr++;
	return nr;
}

/* A number of any length, the ends of its range included. */
static uint64_t draw_number(struct draw *draw, uint64_t max)
{
	switch (draw_below(draw, 4)) {
	case 0:
		return 0;
	case 1:
		return max;
	}
	return draw_below(draw, UINT64_MAX) >> draw_below(draw, 64) & max;
}

static struct event draw_event(struct draw *draw)
{
	static const char letters[] = "abcxyzABCXYZ0189_.-";
	struct event event = {
		.seq = draw_number(draw, INT64_MAX),
		.time_ns = draw_number(draw, INT64_MAX),
		.sector = draw_number(draw, INT64_MAX),
		.match = draw_number(draw, INT64_MAX),
		.delay_ns = draw_below(draw, 4) ? draw_number(draw, INT64_MAX) : UINT64_MAX,
		.len_bytes = (uint32_t)draw_number(draw, UINT32_MAX),
		.flags = (uint32_t)draw_number(draw, INT32_MAX),
		.queue = (uint16_t)draw_number(draw, UINT16_MAX),
		.op = (uint8_t)draw_below(draw, IO_NR_OPS),
		.kind = (uint8_t)draw_below(draw, nr_kinds()),
	};
	size_t len = draw_below(draw, 8) ? 1 + draw_below(draw, RULE_NAME_MAX) : RULE_NAME_MAX;

	for (size_t i = 0; i < len; i++)
		event.rule[i] = letters[draw_below(draw, sizeof(letters) - (i ? 1 : 2))];
	return event;
}

static char *tree_of(const struct event *event, size_t *ret_len)
{
	char *text = rpc_line_text(rpc_notification("event", watch_event_json(event)), ret_len);

	assert_non_null(text);
	return text;
}

static void the_line_is_the_bytes_of_the_tree(void **state)
{
	struct draw draw = { .seed = 7 };
	char line[EVENT_LINE_MAX];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct event event = draw_event(&draw);
		size_t len = event_line_put(line, &event), want_len;
		char *want = tree_of(&event, &want_len);

		if (len != want_len || memcmp(line, want, len) != 0)
			fail_msg("got %.*s, wanted %s", (int)len, line, want);
		free(want);
	}
}

/* Of faultblk-protocol(7). */
static void the_line_is_as_documented(void **state)
{
	static const char want[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"seq\":4,"
		"\"time_ns\":4607358000,\"rule\":\"stuck\",\"kind\":\"hang\",\"op\":\"write\","
		"\"sector\":0,\"len_bytes\":4096,\"flags\":0,\"queue\":0,\"match\":0,"
		"\"delay_ns\":\"held\"}}\n";
	const struct event event = {
		.seq = 4,
		.time_ns = 4607358000,
		.delay_ns = UINT64_MAX,
		.len_bytes = 4096,
		.op = IO_WRITE,
		.kind = (uint8_t)kind_index(kind_find((struct text){ "hang", 4 })),
		.rule = "stuck",
	};
	char line[EVENT_LINE_MAX];

	(void)state;
	assert_int_equal(event_line_put(line, &event), sizeof(want) - 1);
	assert_memory_equal(line, want, sizeof(want) - 1);
}

static void same_text(struct text a, struct text b)
{
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.at, b.at, a.len);
}

static void same_words(const struct event_words *a, const struct event_words *b)
{
	assert_true(a->seq == b->seq && a->time_ns == b->time_ns && a->sector == b->sector);
	assert_true(a->len_bytes == b->len_bytes && a->queue == b->queue && a->match == b->match);
	assert_true(a->delay_ns == b->delay_ns);
	same_text(a->rule, b->rule);
	same_text(a->kind, b->kind);
	same_text(a->op, b->op);
}

static void what_was_written_is_read_back(void **state)
{
	struct draw draw = { .seed = 8 };
	char line[EVENT_LINE_MAX];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct event event = draw_event(&draw);
		size_t len = event_line_put(line, &event);
		struct event_words got, want;

		event_words_of(&event, &want);
		assert_true(event_line_get(line, len - 1, &got));
		same_words(&got, &want);
		assert_ptr_equal(got.json.at + got.json.len, line + len - 2);
		assert_int_equal(got.json.at[got.json.len - 1], '}');
	}
}

static void people_read_the_same(void **state)
{
	struct draw draw = { .seed = 10 };
	FILE *was = stdout;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct event event = draw_event(&draw);
		struct event_words words;
		char want[1024], len[UNITS_MAX], took[UNITS_MAX], place[64] = "", *got = NULL;
		size_t size, delay = event.delay_ns;

		if (event.len_bytes)
			snprintf(place, sizeof(place), " %llus+%s",
				 (unsigned long long)event.sector,
				 units_format_size(event.len_bytes, len));
		event.time_ns = event.time_ns / 1000 * 1000;
		snprintf(want, sizeof(want),
			 "%llu %llu.%06llu %s %s %s%s queue %u match %llu%s%s\n",
			 (unsigned long long)event.seq,
			 (unsigned long long)event.time_ns / 1000000000,
			 (unsigned long long)event.time_ns / 1000 % 1000000, event.rule,
			 kind_at(event.kind)->name, value_op_names()[event.op], place, event.queue,
			 (unsigned long long)event.match, delay ? " " : "",
			 delay == UINT64_MAX ? "held"
			 : delay             ? units_human_time(delay, took)
					     : "");
		stdout = open_memstream(&got, &size);
		event_words_of(&event, &words);
		event_words_print(&words);
		fclose(stdout);
		stdout = was;
		assert_string_equal(got, want);
		free(got);
	}
}

/* A line that was changed anywhere is left to the parser, or says what the parser reads in it. */
static void a_line_that_is_taken_says_what_a_parser_reads_in_it(void **state)
{
	static const char bytes[] = "0123456789\"\\{}[],:-+.eE tnaZ_\n\x01\xc3";
	struct draw draw = { .seed = 9 };
	char line[EVENT_LINE_MAX];
	unsigned int taken = 0;

	(void)state;
	for (int i = 0; i < 40000; i++) {
		struct event event = draw_event(&draw);
		size_t len = event_line_put(line, &event) - 1;
		struct event_words got, want;
		json_t *tree;

		if (draw_below(&draw, 8))
			line[draw_below(&draw, len)] = bytes[draw_below(&draw, sizeof(bytes) - 1)];
		else
			len = draw_below(&draw, len);
		if (!event_line_get(line, len, &got))
			continue;
		taken++;
		tree = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
		if (!tree)
			fail_msg("taken, though it is no JSON: %.*s", (int)len, line);
		event_words_of_json(json_object_get(tree, "params"), &want);
		same_words(&got, &want);
		json_decref(tree);
	}
	assert_true(taken > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_is_the_bytes_of_the_tree),
		cmocka_unit_test(the_line_is_as_documented),
		cmocka_unit_test(what_was_written_is_read_back),
		cmocka_unit_test(people_read_the_same),
		cmocka_unit_test(a_line_that_is_taken_says_what_a_parser_reads_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
