// SPDX-License-Identifier: MIT
/*
 * Nothing that is a word here needs an escape in JSON: names of rules, faults and operations are
 * made of letters, digits, '-', '_' and '.'.
 */
#include "tools/rpc/event_line.h"

#include "base/decimal.h"
#include "base/units.h"
#include "faults/rule/kind.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define HEAD       "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":"
#define HELD       "\"held\""
#define DIGITS_MAX 19 /* those of every whole number below 10^19; JSON has them up to 2^63-1 */

static void put_text(char **at, const char *text, size_t len)
{
	memcpy(*at, text, len);
	*at += len;
}
#define PUT(at, literal) put_text(at, literal, sizeof(literal) - 1)

static void put_count(char **at, uint64_t number)
{
	*at = decimal_put(*at, number);
}

/* As JSON carries it: signed. */
static void put_number(char **at, int64_t number)
{
	if (number < 0)
		PUT(at, "-");
	put_count(at, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void put_word(char **at, const char *word)
{
	put_text(at, word, strlen(word));
}

size_t event_line_put(char line[EVENT_LINE_MAX], const struct event *event)
{
	char *at = line;

	PUT(&at, HEAD "{\"seq\":");
	put_number(&at, (int64_t)event->seq);
	PUT(&at, ",\"time_ns\":");
	put_number(&at, (int64_t)event->time_ns);
	PUT(&at, ",\"rule\":\"");
	put_word(&at, event->rule);
	PUT(&at, "\",\"kind\":\"");
	put_word(&at, kind_at(event->kind)->name);
	PUT(&at, "\",\"op\":\"");
	put_word(&at, value_op_names()[event->op]);
	PUT(&at, "\",\"sector\":");
	put_number(&at, (int64_t)event->sector);
	PUT(&at, ",\"len_bytes\":");
	put_number(&at, event->len_bytes);
	PUT(&at, ",\"flags\":");
	put_number(&at, (int32_t)event->flags);
	PUT(&at, ",\"queue\":");
	put_number(&at, event->queue);
	PUT(&at, ",\"match\":");
	put_number(&at, (int64_t)event->match);
	PUT(&at, ",\"delay_ns\":");
	if (event->delay_ns == UINT64_MAX)
		PUT(&at, HELD);
	else
		put_number(&at, (int64_t)event->delay_ns);
	PUT(&at, "}}\n");
	assert(at <= line + EVENT_LINE_MAX);
	return (size_t)(at - line);
}

/* ------------------------------------------------------------------------------ reading */

static inline bool take(struct text *rest, const char *text, size_t len)
{
	if (rest->len < len || memcmp(rest->at, text, len) != 0)
		return false;
	rest->at += len;
	rest->len -= len;
	return true;
}
#define TAKE(rest, literal) take(rest, literal, sizeof(literal) - 1)

/* No sign, and no zeroes before it. */
static bool take_number(struct text *rest, uint64_t *ret)
{
	uint64_t number = 0;
	size_t nr = 0;

	while (nr < rest->len && rest->at[nr] >= '0' && rest->at[nr] <= '9' && nr < DIGITS_MAX)
		number = number * 10 + (uint64_t)(rest->at[nr++] - '0');
	if (!nr || (nr > 1 && rest->at[0] == '0') || number > INT64_MAX)
		return false;
	rest->at += nr;
	rest->len -= nr;
	*ret = number;
	return true;
}

static bool is_of_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

static bool take_word(struct text *rest, struct text *ret)
{
	size_t nr = 0;

	while (nr < rest->len && is_of_word(rest->at[nr]))
		nr++;
	*ret = (struct text){ rest->at, nr };
	rest->at += nr;
	rest->len -= nr;
	return nr;
}

static bool take_delay(struct text *rest, uint64_t *ret)
{
	if (!TAKE(rest, HELD))
		return take_number(rest, ret);
	*ret = UINT64_MAX;
	return true;
}

bool event_line_get(const char *line, size_t len, struct event_words *words)
{
	struct text rest = { line, len };
	uint64_t flags;

	if (!TAKE(&rest, HEAD))
		return false;
	words->json = (struct text){ rest.at, rest.len - 1 };
	return TAKE(&rest, "{\"seq\":") && take_number(&rest, &words->seq) &&
	       TAKE(&rest, ",\"time_ns\":") && take_number(&rest, &words->time_ns) &&
	       TAKE(&rest, ",\"rule\":\"") && take_word(&rest, &words->rule) &&
	       TAKE(&rest, "\",\"kind\":\"") && take_word(&rest, &words->kind) &&
	       TAKE(&rest, "\",\"op\":\"") && take_word(&rest, &words->op) &&
	       TAKE(&rest, "\",\"sector\":") && take_number(&rest, &words->sector) &&
	       TAKE(&rest, ",\"len_bytes\":") && take_number(&rest, &words->len_bytes) &&
	       TAKE(&rest, ",\"flags\":") && take_number(&rest, &flags) &&
	       TAKE(&rest, ",\"queue\":") && take_number(&rest, &words->queue) &&
	       TAKE(&rest, ",\"match\":") && take_number(&rest, &words->match) &&
	       TAKE(&rest, ",\"delay_ns\":") && take_delay(&rest, &words->delay_ns) &&
	       TAKE(&rest, "}}") && !rest.len;
}

/* ------------------------------------------------------------------------------ words */

static struct text text_of(const char *string)
{
	return (struct text){ string, strlen(string) };
}

void event_words_of(const struct event *event, struct event_words *ret_words)
{
	*ret_words = (struct event_words){
		.seq = event->seq,
		.time_ns = event->time_ns,
		.sector = event->sector,
		.len_bytes = event->len_bytes,
		.queue = event->queue,
		.match = event->match,
		.delay_ns = event->delay_ns,
		.rule = text_of(event->rule),
		.kind = text_of(kind_at(event->kind)->name),
		.op = text_of(value_op_names()[event->op]),
	};
}

static uint64_t number_in(json_t *event, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(event, key));
}

static struct text text_in(json_t *event, const char *key)
{
	return text_of(json_string_value(json_object_get(event, key)) ?: "");
}

void event_words_of_json(json_t *event, struct event_words *ret_words)
{
	*ret_words = (struct event_words){
		.seq = number_in(event, "seq"),
		.time_ns = number_in(event, "time_ns"),
		.sector = number_in(event, "sector"),
		.len_bytes = number_in(event, "len_bytes"),
		.queue = number_in(event, "queue"),
		.match = number_in(event, "match"),
		.delay_ns = json_is_string(json_object_get(event, "delay_ns"))
				    ? UINT64_MAX
				    : number_in(event, "delay_ns"),
		.rule = text_in(event, "rule"),
		.kind = text_in(event, "kind"),
		.op = text_in(event, "op"),
	};
}

/* Those that the protocol has are shorter. */
#define WORD_MAX 100u

static void put_part(char **at, struct text word)
{
	put_text(at, word.at, word.len < WORD_MAX ? word.len : WORD_MAX);
	PUT(at, " ");
}

/* In seconds, with six digits behind the point. */
static void put_time(char **at, uint64_t ns)
{
	uint64_t us = ns / 1000 + (ns % 1000 >= 500);

	put_count(at, us / 1000000);
	/* The digit that keeps the zeroes becomes the point. */
	decimal_put(*at, 1000000 + us % 1000000);
	**at = '.';
	*at += 7;
}

void event_words_print(const struct event_words *words)
{
	char line[EVENT_LINE_MAX], unit[UNITS_MAX], *at = line;

	put_count(&at, words->seq);
	PUT(&at, " ");
	put_time(&at, words->time_ns);
	PUT(&at, " ");
	put_part(&at, words->rule);
	put_part(&at, words->kind);
	put_part(&at, words->op);
	if (words->len_bytes) {
		put_count(&at, words->sector);
		PUT(&at, "s+");
		put_word(&at, units_format_size(words->len_bytes, unit));
		PUT(&at, " ");
	}
	PUT(&at, "queue ");
	put_count(&at, words->queue);
	PUT(&at, " match ");
	put_count(&at, words->match);
	if (words->delay_ns) {
		PUT(&at, " ");
		put_word(&at, words->delay_ns == UINT64_MAX
				      ? "held"
				      : units_human_time(words->delay_ns, unit));
	}
	PUT(&at, "\n");
	assert(at <= line + sizeof(line));
	fwrite(line, 1, (size_t)(at - line), stdout);
}
