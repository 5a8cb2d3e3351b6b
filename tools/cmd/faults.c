// SPDX-License-Identifier: MIT
/* faultblk faults: the table of kinds, in the form that somebody needs. Needs no disk. */
#include "faults/rule/kind.h"
#include "tools/cli/opt.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"
#include "tools/rpc/methods.h"

#include <string.h>

struct faults_opts {
	bool json, markdown, scdoc;
};

static const struct opt faults_table[] = {
	OPT_FLAG(struct faults_opts, json, "json", "print JSON"),
	OPT_FLAG(struct faults_opts, markdown, "markdown", "print a Markdown table"),
	OPT_FLAG(struct faults_opts, scdoc, "scdoc", "print the part of the manual page"),
	OPT_END,
};

static const struct opt_help faults_help = {
	.usage = "faultblk faults [options] [KIND]",
	.what = "List the kinds of faults (do= in a rule), with parameters and an example of each.",
	.examples = "  faultblk faults\n  faultblk faults torn",
	.exits = "  0  printed\n  2  wrong options, or no such kind",
	.max_words = 1,
};

/* "ERRNO", "keep=SIZE", "fail[=ERRNO]", "random" */
static const char *param_form(const struct param *param, char buf[64])
{
	const char *value = param_placeholder(param);

	if (param->form == PARAM_FIRST || param->form == PARAM_LEAD)
		snprintf(buf, 64, "%s", value);
	else if (param->type == VALUE_MARK)
		snprintf(buf, 64, "%s", param->name);
	else if (param->form == PARAM_EITHER)
		snprintf(buf, 64, "%s[=%s]", param->name, value);
	else
		snprintf(buf, 64, "%s=%s", param->name, value);
	return buf;
}

static void print_text(const struct kind *kind)
{
	char ops[OP_LIST_MAX], form[64];

	printf("%s\n  %s\n  on: %s; %s\n", kind->name, kind->doc, value_op_list(kind->op_bits, ops),
	       kind->role != KIND_MODIFIER ? "ends the walk through the rules"
					   : "the walk through the rules goes on");
	for (unsigned int i = 0; i < kind->nr_params; i++)
		printf("    %-16s %s\n", param_form(&kind->params[i], form), kind->params[i].doc);
	printf("  example: %s\n", kind->example);
}

/* A cell of a Markdown table: a bar would end it. */
static void print_cell(const char *text)
{
	for (; *text; text++)
		printf(*text == '|' ? "\\|" : "%c", *text);
}

/* What each parameter means stands in the manual page: a cell has no room for it. */
static void print_markdown(const struct kind *kind)
{
	char ops[OP_LIST_MAX], form[64];

	printf("| `%s` | ", kind->name);
	print_cell(kind->doc);
	printf(" | %s | ", value_op_list(kind->op_bits, ops));
	for (unsigned int i = 0; i < kind->nr_params; i++) {
		printf("%s`", i ? " " : "");
		print_cell(param_form(&kind->params[i], form));
		putchar('`');
	}
	printf(" | `");
	print_cell(kind->example);
	printf("` |\n");
}

/* scdoc reads _ and * as markup, and [ at the start of a line as a table. */
static void print_escaped(const char *text)
{
	for (; *text; text++)
		printf(strchr("_*\\`[#", *text) ? "\\%c" : "%c", *text);
}

static void print_scdoc(const struct kind *kind)
{
	char ops[OP_LIST_MAX], form[64];

	printf("## %s\n\n", kind->name);
	print_escaped(kind->doc);
	printf(". Acts on %s. %s\n\n", value_op_list(kind->op_bits, ops),
	       kind->role != KIND_MODIFIER ? "Ends the walk through the rules."
					   : "The walk through the rules goes on.");
	for (unsigned int i = 0; i < kind->nr_params; i++) {
		printf("*");
		print_escaped(param_form(&kind->params[i], form));
		printf("*\n\t");
		print_escaped(kind->params[i].doc);
		printf("\n\n");
	}
	printf("```\n%s\n```\n\n", kind->example);
}

static int print_kinds(const struct faults_opts *opts, const char *only)
{
	const struct kind *kind;

	if (only && !kind_find((struct text){ only, strlen(only) })) {
		struct diag diag;
		const struct place place = { .diag = &diag };

		diag_set(&diag, 0, "faults.unknown", "there is no kind of fault '%s'", only);
		place_suggest(&place, (struct text){ only, strlen(only) }, kind_names());
		tool_diag(&diag);
		return EXIT_USAGE;
	}
	if (opts->markdown)
		printf("| kind | what it does | on | parameters | example |\n"
		       "|---|---|---|---|---|\n");
	for (size_t i = 0; (kind = kind_at(i)); i++) {
		if (only && strcmp(only, kind->name) != 0)
			continue;
		if (opts->markdown)
			print_markdown(kind);
		else if (opts->scdoc)
			print_scdoc(kind);
		else
			print_text(kind);
	}
	return EXIT_OK;
}

int cmd_faults(int argc, char **argv)
{
	struct faults_opts opts;
	struct opt_words words;
	enum opt_result result = opt_parse(argc, argv, faults_table, &faults_help, &opts, &words);

	if (result != OPT_OK)
		return opt_exit(result);
	if (opts.json)
		return tool_print_json(rpc_kinds());
	return print_kinds(&opts, words.count ? words.words[0] : NULL);
}
