// SPDX-License-Identifier: MIT
/*
 * Ordered sets of rules, and rule files.
 *
 * A set is an array. Names are looked up by walking it, but past a hash that lies beside the
 * pointer, so that even parsing a file of RULE_SET_MAX rules touches each cache line few times.
 */
#include "faults/rule/rule.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/near.h"
#include "faults/rule/ast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct set_entry {
	uint64_t name_hash;
	struct rule *rule;
};

struct rule_set {
	struct set_entry *entries;
	size_t count, room;
};

struct rule_set *rule_set_new(void)
{
	return fail_alloc("faults/rule/set/alloc", calloc(1, sizeof(struct rule_set)));
}

struct rule_set *rule_set_free(struct rule_set *set)
{
	if (!set)
		return NULL;
	for (size_t i = 0; i < set->count; i++)
		rule_unref(set->entries[i].rule);
	free(set->entries);
	free(set);
	return NULL;
}

static void cleanup_rule_set(struct rule_set **set)
{
	rule_set_free(*set);
}

static void cleanup_rule(struct rule **rule)
{
	rule_unref(*rule);
}

struct rule_set *rule_set_copy(const struct rule_set *set)
{
	struct rule_set *copy = rule_set_new();

	if (!copy || !set->count)
		return copy;
	copy->entries =
		fail_alloc("faults/rule/set/copy", calloc(set->count, sizeof(*copy->entries)));
	if (!copy->entries)
		return rule_set_free(copy);
	for (; copy->count < set->count; copy->count++) {
		copy->entries[copy->count] = set->entries[copy->count];
		rule_ref(copy->entries[copy->count].rule);
	}
	copy->room = set->count;
	return copy;
}

size_t rule_set_count(const struct rule_set *set)
{
	return set->count;
}

struct rule *rule_set_at(const struct rule_set *set, size_t index)
{
	return index < set->count ? set->entries[index].rule : NULL;
}

/* The index of the rule so named, or the count. */
static size_t find_name(const struct rule_set *set, const char *name, uint64_t hash)
{
	size_t i = 0;

	while (i < set->count &&
	       (set->entries[i].name_hash != hash || strcmp(set->entries[i].rule->name, name) != 0))
		i++;
	return i;
}

struct rule *rule_set_find(const struct rule_set *set, const char *name)
{
	return rule_set_at(set, find_name(set, name, rule_hash_name(name)));
}

static int no_such_rule(const struct rule_set *set, const char *name, struct diag *diag)
{
	_cleanup_free_ const char **names =
		fail_alloc("faults/rule/set/names", calloc(set->count + 1, sizeof(*names)));
	const struct place place = { .line = NULL, .diag = diag };
	struct text got = { name, strlen(name) };

	diag_set(diag, -ENOENT, "rule.not-found", "there is no rule '%s'", QUOTE(got));
	for (size_t i = 0; i < set->count && names; i++)
		names[i] = set->entries[i].rule->name;
	if (names && set->count)
		place_suggest(&place, got, names);
	else if (!set->count)
		diag_hint(diag, "there are no rules at all");
	return -ENOENT;
}

static int make_room(struct rule_set *set, struct diag *diag)
{
	if (set->count >= RULE_SET_MAX)
		return diag_set(diag, -ENOSPC, "rule.too-many", "a disk has at most %d rules",
				RULE_SET_MAX);
	if (array_room("faults/rule/set/room", set->entries, set->room, set->count + 1, 16))
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for another rule");
	return 0;
}

int rule_set_put(struct rule_set *set, struct rule *rule, const char *before, struct diag *diag)
{
	size_t at = find_name(set, rule->name, rule->name_hash);
	int err;

	if (at < set->count) {
		rule_ref(rule);
		rule_unref(set->entries[at].rule);
		set->entries[at].rule = rule;
		return 0;
	}
	if (before)
		at = find_name(set, before, rule_hash_name(before));
	if (before && at == set->count)
		return no_such_rule(set, before, diag);
	err = make_room(set, diag);
	if (err < 0)
		return err;
	memmove(&set->entries[at + 1], &set->entries[at],
		(set->count - at) * sizeof(*set->entries));
	set->entries[at] = (struct set_entry){ rule->name_hash, rule_ref(rule) };
	set->count++;
	return 0;
}

int rule_set_remove(struct rule_set *set, const char *name, struct diag *diag)
{
	size_t at = find_name(set, name, rule_hash_name(name));

	if (at == set->count)
		return no_such_rule(set, name, diag);
	rule_unref(set->entries[at].rule);
	set->count--;
	memmove(&set->entries[at], &set->entries[at + 1],
		(set->count - at) * sizeof(*set->entries));
	return 0;
}

/* Cut a line short at its comment ('#' first or after white space), CR and trailing white space. */
static struct text strip_line(struct text line)
{
	for (size_t i = 0; i < line.len; i++) {
		bool first = i == 0 || line.at[i - 1] == ' ' || line.at[i - 1] == '\t';

		if (line.at[i] == '#' && first)
			line.len = i;
	}
	while (line.len && strchr(" \t\r", line.at[line.len - 1]) && line.at[line.len - 1])
		line.len--;
	return line;
}

static bool is_blank(struct text line)
{
	for (size_t i = 0; i < line.len; i++)
		if (line.at[i] != ' ' && line.at[i] != '\t')
			return false;
	return true;
}

static int check_magic(struct text line, const struct place *place)
{
	if (text_is(strip_line(line), RULE_FILE_MAGIC))
		return 0;
	place_fail(place, line.at, "rule.file-magic",
		   "a rule file starts with the line '%s', got '%s'", RULE_FILE_MAGIC,
		   QUOTE(strip_line(line)));
	if (line.len > 15 && memcmp(line.at, RULE_FILE_MAGIC, 15) == 0)
		diag_hint(place->diag, "this program knows version 1 only");
	return -EINVAL;
}

static int add_line(struct rule_set *set, struct text line, const struct place *place)
{
	_cleanup_(cleanup_rule) struct rule *rule = NULL;
	const char *start = line.at;
	int err = rule_parse(line.at, line.len, place->diag, &rule);

	if (err < 0)
		return err;
	while (*start == ' ' || *start == '\t')
		start++;
	if (rule_set_find(set, rule->name))
		return place_fail(place, start, "rule.duplicate-name",
				  "a line above defines a rule '%s' already", rule->name);
	err = rule_set_put(set, rule, NULL, place->diag);
	if (err < 0)
		place_mark(place, start);
	return err;
}

static int parse_line(struct rule_set *set, struct text line, unsigned int number,
		      const struct place *place)
{
	/* A line that ends in CR LF is as good as one that ends in LF. */
	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	if (text_check(place, line) < 0)
		return -EINVAL;
	if (number == 1)
		return check_magic(line, place);
	line = strip_line(line);
	return is_blank(line) ? 0 : add_line(set, line, place);
}

int rule_set_parse(const char *text, size_t len, struct diag *diag, struct rule_set **ret_set)
{
	_cleanup_(cleanup_rule_set) struct rule_set *set = rule_set_new();
	struct text rest = { text, len };
	unsigned int number = 0;

	if (!set)
		return diag_set(diag, -ENOMEM, "rule.memory", "no memory for a set of rules");
	if (len > RULE_FILE_MAX)
		return diag_set(diag, -EFBIG, "rule.file-too-big",
				"a rule file has at most %u bytes, got %zu", RULE_FILE_MAX, len);
	do {
		struct text line = text_cut(&rest, '\n');
		struct place place = { .line = line.at, .diag = diag };
		int err = parse_line(set, line, ++number, &place);

		if (err < 0) {
			/* What is one line to the parser of a rule is line @number of the file. */
			if (diag)
				diag_at(diag, number, diag->column);
			return err;
		}
	} while (rest.len);
	*ret_set = take_ptr(set);
	return 0;
}

char *rule_set_print(const struct rule_set *set)
{
	char *text = NULL;
	size_t len;
	FILE *out = fail_alloc("faults/rule/set/print", open_memstream(&text, &len));
	bool failed = !out;

	if (!out)
		return NULL;
	fputs(RULE_FILE_MAGIC "\n", out);
	for (size_t i = 0; i < set->count && !failed; i++) {
		_cleanup_free_ char *line = rule_print(set->entries[i].rule);

		failed = !line || fprintf(out, "%s\n", line) < 0;
	}
	if (fclose(out) != 0)
		failed = true;
	if (!failed)
		return text;
	free(text);
	return NULL;
}
