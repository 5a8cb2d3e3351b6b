// SPDX-License-Identifier: MIT
/*
 * The parser walks argv once and compacts the words that are not options to its front, so nothing
 * is allocated but lists. Each type of option is one row of `kinds`: how to store a value.
 */
#include "tools/cli/opt.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/near.h"
#include "base/units.h"
#include "tools/cli/screen.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 64
#define HELP_COLUMN 27

static int parse_count(const char *text, size_t len, uint64_t *ret)
{
	uint64_t value = 0;

	if (len == 0)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return -ERANGE;
	}
	*ret = value;
	return 0;
}

static const char *format_count(uint64_t value, char buf[UNITS_MAX])
{
	snprintf(buf, UNITS_MAX, "%" PRIu64, value);
	return buf;
}

/* How a number is written, by type; the other types have no row. */
static const struct opt_number {
	int (*parse)(const char *text, size_t len, uint64_t *ret);
	const char *(*format)(uint64_t value, char buf[UNITS_MAX]);
	const char *what;
} numbers[] = {
	[OPT_T_COUNT] = { parse_count, format_count, "a whole number" },
	[OPT_T_SIZE] = { units_parse_size, units_format_size, "a size like 4k, 256M or 1G" },
	[OPT_T_TIME] = { units_parse_time, units_format_time, "a time like 100us, 20ms or 1s" },
};

static int list_add(struct opt_list *list, const char *item, struct diag *diag)
{
	if (array_fit("tools/cli/opt/list", list->items, list->count + 1))
		return diag_set(diag, -ENOMEM, "option.memory", "no memory for '%.200s'", item);
	list->items[list->count++] = item;
	return 0;
}

/* Of an option's largest value: *ret_why is what it comes from, "" where the option has it by itself. */
static uint64_t max_of(const struct opt *opt, const char **ret_why)
{
	*ret_why = opt->max == OPT_MAX_CPUS   ? ", one for each of the CPUs"
		   : opt->max == OPT_MAX_PAGE ? ", the page size"
					      : "";
	return opt->max == OPT_MAX_CPUS   ? (uint64_t)sysconf(_SC_NPROCESSORS_CONF)
	       : opt->max == OPT_MAX_PAGE ? (uint64_t)sysconf(_SC_PAGESIZE)
					  : opt->max;
}

static int store_number(const struct opt *opt, const char *value, uint64_t *ret_field,
			struct diag *diag)
{
	const struct opt_number *number = &numbers[opt->type];
	char min[UNITS_MAX], max[UNITS_MAX];
	uint64_t parsed = UINT64_MAX, most;
	int err = number->parse(value, strlen(value), &parsed);
	const char *why;

	most = max_of(opt, &why);
	if (!err && (parsed < opt->min || parsed > most))
		err = -ERANGE;
	if (!err) {
		*ret_field = parsed;
		return 0;
	}
	number->format(opt->min, min);
	if (err == -EINVAL)
		diag_set(diag, err, "option.value", "--%s: got '%.200s', wanted %s", opt->name,
			 value, number->what);
	else if (opt->max == UINT64_MAX && parsed < opt->min)
		diag_set(diag, err, "option.value", "--%s: got '%.200s', wanted at least %s",
			 opt->name, value, min);
	else
		diag_set(diag, err, "option.value", "--%s: got '%.200s', wanted %s to %s%s",
			 opt->name, value, min, number->format(most, max), why);
	return err;
}

static int store_value(const struct opt *opt, const char *value, void *values, struct diag *diag)
{
	void *field = (char *)values + opt->offset;

	switch (opt->type) {
	case OPT_T_FLAG:
		*(bool *)field = true;
		return 0;
	case OPT_T_COUNT:
	case OPT_T_SIZE:
	case OPT_T_TIME:
		return store_number(opt, value, field, diag);
	case OPT_T_TEXT:
		*(const char **)field = value;
		return 0;
	case OPT_T_LIST:
		return list_add(field, value, diag);
	}
	return -EINVAL;
}

static int store_default(const struct opt *opt, void *values)
{
	void *field = (char *)values + opt->offset;

	switch (opt->type) {
	case OPT_T_FLAG:
		*(bool *)field = false;
		return 0;
	case OPT_T_COUNT:
	case OPT_T_SIZE:
	case OPT_T_TIME:
		*(uint64_t *)field = 0;
		break;
	case OPT_T_TEXT:
		*(const char **)field = NULL;
		break;
	case OPT_T_LIST:
		*(struct opt_list *)field = (struct opt_list){ 0 };
		return 0;
	}
	return opt->fallback ? store_value(opt, opt->fallback, values, NULL) : 0;
}

static const struct opt *find_opt(const struct opt *table, const char *name, size_t len)
{
	for (; table->name; table++)
		if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
			return table;
	return NULL;
}

static void unknown_option(const struct opt *table, const char *arg, const char *command)
{
	const char *names[OPTIONS_MAX + 2];
	size_t count = 0, dashes = strspn(arg, "-");
	const char *near;

	for (; table->name && count < OPTIONS_MAX; table++)
		names[count++] = table->name;
	names[count++] = "help";
	names[count] = NULL;
	near = near_word(arg + dashes, strcspn(arg + dashes, "="), names);
	if (near)
		tool_msg("%s: unknown option '%s'; did you mean --%s?", command, arg, near);
	else
		tool_msg("%s: unknown option '%s'; see faultblk %s --help", command, arg, command);
}

/* ------------------------------------------------------------------------------ help */

struct help_page {
	size_t columns, at,
		hang;  /* @at: columns of the line that are taken; @hang: of the next ones */
	size_t blanks; /* before the next word */
};

/* The words of text[0..len), each in the line if it has room there, else in the next. */
static void put_words(struct help_page *p, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t blanks = p->blanks, nr = 0;

		p->blanks = 0;
		while (i < len && text[i] == ' ')
			i++, blanks++;
		while (i + nr < len && text[i + nr] != ' ')
			nr++;
		if (!nr)
			break;
		if (p->at > p->hang && p->at + blanks + nr > p->columns) {
			/* A list of words without blanks may have more than there is. */
			size_t room = p->columns > nr ? p->columns - nr : 0;

			p->at = room < p->hang ? room : p->hang;
			printf("\n%*s", (int)p->at, "");
			blanks = 0;
		}
		printf("%*s%.*s", (int)blanks, "", (int)nr, text + i);
		p->at += blanks + nr;
		i += nr;
	}
}

static void end_line(struct help_page *p)
{
	printf("\n");
	p->at = 0;
}

/* Where the second column of a line of a list begins; 2 more than it is indented if it has none. */
static size_t hang_of(const char *line, size_t len)
{
	size_t indent = strspn(line, " "), i = indent;

	while (i + 1 < len && !(line[i] == ' ' && line[i + 1] == ' '))
		i++;
	while (i < len && line[i] == ' ')
		i++;
	return i < len && i < 30 ? i : indent + 2;
}

/* Does the line @next go on with the line that ends with @last? */
static bool goes_on(const struct help_page *p, char last, const char *next)
{
	size_t indent = strspn(next, " ");

	if (!next[indent] || next[indent] == '\n')
		return false;
	return p->hang ? indent == p->hang : !indent && !strchr(".:;", last);
}

/* Lines that are not indented are paragraphs; one goes on behind a line that ends no sentence. */
static void print_prose(struct help_page *p, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n"), skip = p->at ? strspn(text, " ") : 0;
		const char *next = text + len + (text[len] == '\n');

		if (!p->at)
			p->hang = *text == ' ' ? hang_of(text, len) : 0;
		put_words(p, text + skip, len - skip);
		p->blanks = len && goes_on(p, text[len - 1], next);
		if (!p->blanks)
			end_line(p);
		text = next;
	}
}

static void print_opt(struct help_page *p, const struct opt *opt)
{
	int width = printf("  --%s%s%s", opt->name, opt->arg ? " " : "", opt->arg ? opt->arg : "");
	char rest[160];

	p->hang = p->columns < 2 * HELP_COLUMN ? 6 : HELP_COLUMN;
	if ((size_t)width >= p->hang)
		width = printf("\n") - 1;
	p->at = p->hang;
	printf("%*s", (int)p->hang - width, "");
	put_words(p, opt->help, strlen(opt->help));
	rest[0] = '\0';
	if (opt->fallback && *opt->fallback)
		snprintf(rest, sizeof(rest), " (default %s)", opt->fallback);
	else if (opt->type == OPT_T_LIST)
		snprintf(rest, sizeof(rest), " (may be repeated)");
	put_words(p, rest, strlen(rest));
	end_line(p);
}

static void print_help(const struct opt *table, const struct opt_help *help)
{
	const struct screen screen = screen_of(STDOUT_FILENO);
	struct help_page page = { .columns = screen.columns < SCREEN_COLUMNS ? screen.columns
									     : SCREEN_COLUMNS,
				  .hang = 2 };

	put_words(&page, "usage:", 6);
	printf(" ");
	page.at++;
	put_words(&page, help->usage, strlen(help->usage));
	end_line(&page);
	printf("\n");
	print_prose(&page, help->what);
	printf("\noptions:\n");
	for (; table->name; table++)
		print_opt(&page, table);
	printf("%-*s%s\n", page.columns < 2 * HELP_COLUMN ? 14 : HELP_COLUMN, "  -h, --help",
	       "show this help");
	if (help->examples) /* to be copied: as they are */
		printf("\nexamples:\n%s\n", help->examples);
	if (help->exits) {
		printf("\nexit codes:\n");
		print_prose(&page, help->exits);
	}
}

/* ------------------------------------------------------------------------------ parsing */

/* One option at argv[*i]; moves *i on when its value is the next word. */
static int parse_option(int argc, char **argv, int *i, const struct opt *table, void *values)
{
	const char *arg = argv[*i], *name = arg + 2, *value = strchr(arg, '=');
	const struct opt *opt = NULL;
	struct diag diag = { 0 };
	int err;

	if (arg[1] == '-')
		opt = find_opt(table, name, value ? (size_t)(value - name) : strlen(name));
	if (!opt) {
		unknown_option(table, arg, argv[0]);
		return -EINVAL;
	}
	if (value)
		value++;
	if (opt->type == OPT_T_FLAG && value) {
		tool_msg("--%s takes no value, got '%s'", opt->name, value);
		return -EINVAL;
	}
	if (opt->type != OPT_T_FLAG && !value) {
		if (*i + 1 >= argc || strcmp(argv[*i + 1], "--") == 0) {
			tool_msg("--%s needs a value: --%s %s", opt->name, opt->name, opt->arg);
			return -EINVAL;
		}
		value = argv[++*i];
	}
	err = store_value(opt, value, values, &diag);
	if (err)
		tool_diag(&diag);
	return err;
}

/* The usage names the words behind its "[options]". */
static void say_missing(const struct opt_help *help, const char *command,
			const struct opt_words *words)
{
	const char *wanted = strstr(help->usage, "[options] ");

	wanted = wanted ? wanted + strlen("[options] ") : help->usage;
	if (words->count)
		tool_msg("%s: got only '%s', wanted %s", command,
			 words->words[words->count - 1], wanted);
	else
		tool_msg("%s: got nothing, wanted %s", command, wanted);
}

/* A word that is the value of an option; an option that takes one value has it once. */
static int word_as_option(const struct opt *opt, const char *command, const char *word,
			  void *values)
{
	const char *had =
		opt->type == OPT_T_TEXT ? *(const char **)((char *)values + opt->offset) : NULL;
	struct diag diag = { 0 };

	if (had) {
		tool_msg("%s: got '%s' and '%s', wanted one %s", command, had, word, opt->arg);
		return -EINVAL;
	}
	if (store_value(opt, word, values, &diag)) {
		tool_diag(&diag);
		return -EINVAL;
	}
	return 0;
}

static enum opt_result check_words(const struct opt_help *help, const char *command,
				   const struct opt_words *words)
{
	if (help->max_words >= 0 && words->count > help->max_words) {
		const char *word = words->words[help->max_words];

		/* The second word of a rule, say. */
		tool_msg("%s: unexpected word '%s'%s%s", command, word,
			 strchr(word, '=') ? "; put a word with blanks in quotes" : "",
			 help->command ? "; a COMMAND goes after --" : "");
	} else if (words->count < help->min_words) {
		say_missing(help, command, words);
	} else if (words->command && !words->command[0]) {
		tool_msg("%s: no COMMAND after --", command);
	} else {
		return OPT_OK;
	}
	fprintf(stderr, "usage: %s\n", help->usage);
	return OPT_BAD;
}

static enum opt_result parse(int argc, char **argv, const struct opt *table,
			     const struct opt_help *help, void *values, struct opt_words *words)
{
	for (const struct opt *opt = table; opt->name; opt++)
		if (store_default(opt, values))
			return OPT_BAD;
	for (int i = 1; i < argc; i++) {
		char *arg = argv[i];

		if (strcmp(arg, "--") == 0) {
			if (help->command) {
				words->command = argv + i + 1;
				break;
			}
			while (++i < argc)
				words->words[words->count++] = argv[i];
		} else if (arg[0] != '-' || arg[1] == '\0') {
			if (!help->words_are)
				words->words[words->count++] = arg;
			else if (word_as_option(
					 find_opt(table, help->words_are, strlen(help->words_are)),
					 argv[0], arg, values))
				return OPT_BAD;
		} else if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
			print_help(table, help);
			return OPT_HELP_SHOWN;
		} else if (parse_option(argc, argv, &i, table, values)) {
			return OPT_BAD;
		}
	}
	return check_words(help, argv[0], words);
}

enum opt_result opt_parse(int argc, char **argv, const struct opt *table,
			  const struct opt_help *help, void *values, struct opt_words *ret_words)
{
	struct opt_words words = { .words = argv + 1 };
	enum opt_result result = parse(argc, argv, table, help, values, &words);

	if (result != OPT_OK)
		opt_free(table, values);
	else if (ret_words)
		*ret_words = words;
	return result;
}

int opt_defaults(const struct opt *table, void *values)
{
	int err = 0;

	for (const struct opt *opt = table; opt->name && !err; opt++)
		err = store_default(opt, values);
	return err;
}

int opt_set(const struct opt *table, void *values, const char *name, const char *value,
	    struct diag *diag)
{
	const struct opt *opt = find_opt(table, name, strlen(name));
	const char *names[OPTIONS_MAX + 1] = { NULL };
	const char *near;
	size_t nr = 0;

	if (opt && opt->type == OPT_T_FLAG && value)
		return diag_set(diag, -EINVAL, "option.value", "%s takes no value, got '%.200s'",
				name, value);
	if (opt && opt->type != OPT_T_FLAG && !value)
		return diag_set(diag, -EINVAL, "option.value", "%s needs a value: %s=%s", name,
				name, opt->arg);
	if (opt)
		return store_value(opt, value, values, diag);
	for (opt = table; opt->name && nr < OPTIONS_MAX; opt++)
		names[nr++] = opt->name;
	diag_set(diag, -EINVAL, "option.unknown", "there is no option '%.200s'", name);
	near = near_word(name, strlen(name), names);
	if (near)
		diag_hint(diag, "did you mean %s?", near);
	return -EINVAL;
}

int opt_exit(enum opt_result result)
{
	return result == OPT_BAD ? EXIT_USAGE : EXIT_OK;
}

int opt_run(int argc, char **argv, const struct opt *table, const struct opt_help *help,
	    void *values, int (*run)(void *values, const struct opt_words *words))
{
	struct opt_words words;
	enum opt_result result = opt_parse(argc, argv, table, help, values, &words);
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	code = run(values, &words);
	opt_free(table, values);
	return code;
}

void opt_free(const struct opt *table, void *values)
{
	for (; table->name; table++) {
		struct opt_list *list = (void *)((char *)values + table->offset);

		if (table->type != OPT_T_LIST)
			continue;
		free(list->items);
		*list = (struct opt_list){ 0 };
	}
}
