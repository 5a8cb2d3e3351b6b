/* SPDX-License-Identifier: MIT */
/*
 * Command-line options as a table: it parses, checks ranges, fills in defaults and prints --help.
 *
 *	struct run_opts { uint64_t size; uint64_t queues; const char *name; bool json; };
 *	static const struct opt run_table[] = {
 *		OPT_SIZE(struct run_opts, size, "size", "256M", 512, UINT64_MAX, "size of the
 * disk"), OPT_COUNT(struct run_opts, queues, "queues", "1", 1, 4096, "hardware queues"),
 *		OPT_TEXT(struct run_opts, name, "name", NULL, "NAME", "name of the disk"),
 *		OPT_FLAG(struct run_opts, json, "json", "print JSON"),
 *		OPT_END
 *	};
 *
 * Accepts --name VALUE and --name=VALUE, anywhere before a `--`; -h and --help are always there.
 * A mistyped option names the nearest one. Messages go to standard error.
 */
#ifndef TOOLS_CLI_OPT_H
#define TOOLS_CLI_OPT_H

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_type {
	OPT_T_FLAG,  /* bool: --json */
	OPT_T_COUNT, /* uint64_t: decimal, min..max */
	OPT_T_SIZE,  /* uint64_t: bytes with units (base/units.h), min..max */
	OPT_T_TIME,  /* uint64_t: nanoseconds with units, min..max */
	OPT_T_TEXT,  /* const char *, borrowed from argv */
	OPT_T_LIST,  /* struct opt_list: may be given again and again */
};

struct opt_list {
	const char **items; /* owned: free(items); the strings are borrowed from argv */
	size_t count;
};

/* As `max`: what this machine has, so that no message offers more than that. */
#define OPT_MAX_CPUS (UINT64_MAX - 1)
#define OPT_MAX_PAGE (UINT64_MAX - 2)

struct opt {
	const char *name; /* without the dashes */
	enum opt_type type;
	size_t offset;        /* of the field in the options structure */
	const char *fallback; /* default as the user would write it, or NULL: zero / NULL / empty */
	uint64_t min, max;
	const char *arg;  /* name of the value in help: "SIZE" */
	const char *help; /* one line */
};

#define OPT_FLAG(s, f, n, h)                                                                       \
	{                                                                                          \
		.name = n, .type = OPT_T_FLAG, .offset = offsetof(s, f), .help = h                 \
	}
#define OPT_COUNT(s, f, n, d, lo, hi, h)                                                           \
	{                                                                                          \
		.name = n, .type = OPT_T_COUNT, .offset = offsetof(s, f), .fallback = d,           \
		.min = lo, .max = hi, .arg = "N", .help = h                                        \
	}
#define OPT_SIZE(s, f, n, d, lo, hi, h)                                                            \
	{                                                                                          \
		.name = n, .type = OPT_T_SIZE, .offset = offsetof(s, f), .fallback = d, .min = lo, \
		.max = hi, .arg = "SIZE", .help = h                                                \
	}
#define OPT_TIME(s, f, n, d, lo, hi, h)                                                            \
	{                                                                                          \
		.name = n, .type = OPT_T_TIME, .offset = offsetof(s, f), .fallback = d, .min = lo, \
		.max = hi, .arg = "TIME", .help = h                                                \
	}
#define OPT_TEXT(s, f, n, d, a, h)                                                                 \
	{                                                                                          \
		.name = n, .type = OPT_T_TEXT, .offset = offsetof(s, f), .fallback = d, .arg = a,  \
		.help = h                                                                          \
	}
#define OPT_LIST(s, f, n, a, h)                                                                    \
	{                                                                                          \
		.name = n, .type = OPT_T_LIST, .offset = offsetof(s, f), .arg = a, .help = h       \
	}
#define OPT_END                                                                                    \
	{                                                                                          \
		.name = NULL                                                                       \
	}

/* What surrounds the table in --help, and how many words may follow the options. */
struct opt_help {
	const char *usage;        /* "faultblk run [options] [-- COMMAND...]" */
	const char *what;         /* what the command does: one or more lines */
	const char *examples;     /* one or more lines, each beginning with two spaces */
	const char *exits;        /* exit codes, one a line */
	int min_words, max_words; /* words that are not options; -1: no upper limit */
	bool command;             /* everything after -- is a COMMAND and left alone */
	const char *words_are; /* words are values of this option; NULL: they are the command's */
};

struct opt_words {
	char **words; /* the words that are not options, in order; points into argv (reordered) */
	int count;
	char **command; /* after --: NULL-terminated; NULL where there was no -- */
};

enum opt_result { OPT_OK, OPT_HELP_SHOWN, OPT_BAD };

/*
 * Parse argv[1..]; argv[0] is the command's name. @values is the structure that the offsets mean;
 * it is filled with the defaults first. OPT_BAD: a message was printed; exit with 2.
 */
enum opt_result opt_parse(int argc, char **argv, const struct opt *table,
			  const struct opt_help *help, void *values, struct opt_words *ret_words);
/*
 * The same without argv: all defaults, and one option by its name. @value NULL: none was given.
 * -EINVAL, -ERANGE or -ENOMEM, words in @diag. Strings stay the caller's.
 */
int opt_defaults(const struct opt *table, void *values);
int opt_set(const struct opt *table, void *values, const char *name, const char *value,
	    struct diag *diag);
/* The exit code of a command whose parse did not say OPT_OK. */
int opt_exit(enum opt_result result);
/* Parse, @run with what came of it, and release it: a whole command. The exit code. */
int opt_run(int argc, char **argv, const struct opt *table, const struct opt_help *help,
	    void *values, int (*run)(void *values, const struct opt_words *words));
/* Release what the parse allocated (lists). */
void opt_free(const struct opt *table, void *values);

#endif
