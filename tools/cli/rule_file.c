// SPDX-License-Identifier: MIT
#include "tools/cli/rule_file.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/printable.h"
#include "tools/cli/text_file.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <string.h>

#define SHOWN_MAX 160 /* bytes of a line that are shown around the caret */

static void cleanup_rule(struct rule **rule)
{
	rule_unref(*rule);
}

static const char *find_line(const char *text, unsigned int line)
{
	while (text && line-- > 1) {
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return text;
}

/* The line, cut where it is long, with control characters made harmless; the caret below. */
static void show_place(const char *line, unsigned int column)
{
	size_t len = strcspn(line, "\n"), start = 0, at = column ? column - 1 : 0, used;
	char shown[PRINTABLE_MAX];

	if (at > len)
		at = len;
	if (at > SHOWN_MAX / 2)
		start = at - SHOWN_MAX / 2;
	if (len - start > SHOWN_MAX)
		len = start + SHOWN_MAX;
	fputs("          ", stderr);
	for (size_t i = start; i < len; i += used) {
		size_t n = printable_next(line + i, len - i, shown, &used);

		/* One column, or the caret stands elsewhere. */
		if (n && used && memcmp(shown, line + i, used) == 0)
			fprintf(stderr, "%.*s", (int)used, line + i);
		else
			fputc('?', stderr);
		used = used ? used : 1;
	}
	fputs("\n          ", stderr);
	/* A continuation byte of UTF-8 takes no column of its own. */
	for (size_t i = start; i < at; i++)
		if (((unsigned char)line[i] & 0xc0) != 0x80)
			fputc(' ', stderr);
	fputs("^\n", stderr);
}

void rule_complain(const char *source, const char *text, const struct diag *diag)
{
	const char *line = diag->column ? find_line(text, diag->line ? diag->line : 1) : NULL;

	if (diag->line && diag->column)
		tool_msg_hint(diag->hint, "%s:%u:%u: %s", source, diag->line, diag->column, diag->message);
	else if (diag->line)
		tool_msg_hint(diag->hint, "%s:%u: %s", source, diag->line, diag->message);
	else
		tool_msg_hint(diag->hint, "%s: %s", source, diag->message);
	if (line)
		show_place(line, diag->column);
}

int rule_file_load(const char *path, struct rule_set **ret_set)
{
	_cleanup_free_ char *text = NULL;
	struct diag diag = { 0 };
	size_t len;
	int code = text_file_read(path, RULE_FILE_MAX, &text, &len);

	if (code)
		return code;
	if (len > RULE_FILE_MAX) {
		tool_msg("%s: a rule file has at most 1 MiB", text_file_name(path));
		return EXIT_USAGE;
	}
	if (rule_set_parse(text, len, &diag, ret_set)) {
		rule_complain(text_file_name(path), text, &diag);
		return EXIT_USAGE;
	}
	return EXIT_OK;
}

int rule_text_add(struct rule_set *set, const char *text)
{
	_cleanup_(cleanup_rule) struct rule *rule = NULL;
	struct diag diag = { 0 };

	int err = rule_parse(text, strlen(text), &diag, &rule);

	if (!err && rule_set_find(set, rule_name(rule))) {
		err = diag_set(&diag, -EINVAL, "rule.duplicate-name",
			       "there are two rules named '%s'", rule_name(rule));
		diag_hint(&diag, "rename one of them");
	}
	if (!err)
		err = rule_set_put(set, rule, NULL, &diag);
	if (!err)
		return EXIT_OK;
	rule_complain("rule", text, &diag);
	return EXIT_USAGE;
}

int rule_set_check(const struct rule_set *set, const struct rule_geometry *geometry,
		   bool parts_later)
{
	for (size_t i = 0; i < rule_set_count(set); i++) {
		const struct rule *rule = rule_set_at(set, i);
		struct diag diag = { 0 };

		if (parts_later && rule_part(rule))
			continue;
		if (rule_check(rule, geometry, &diag)) {
			_cleanup_free_ char *text = rule_print(rule);

			rule_complain("rule", text, &diag);
			return EXIT_USAGE;
		}
	}
	return EXIT_OK;
}
