// SPDX-License-Identifier: MIT
/* Exploring in words: options that are one of a list, and how a check has ended. */
#include "base/cleanup.h"
#include "base/near.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------ options */

static const struct presenter_ops *const presenters[] = { &presenter_file, &presenter_fuse,
							  &presenter_device };

int presenter_find(const char *name, struct diag *diag, const struct presenter_ops **ret_ops)
{
	const char *names[array_size(presenters) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < array_size(presenters); i++) {
		names[i] = presenters[i]->name;
		if (strcmp(names[i], name) == 0) {
			*ret_ops = presenters[i];
			return 0;
		}
	}
	diag_set(diag, -EINVAL, "explore.present",
		 "--present: got '%.100s', wanted file, fuse or device", name);
	near = near_word(name, strlen(name), names);
	if (near)
		diag_hint(diag, "did you mean %s?", near);
	return -EINVAL;
}

int explore_word(const char *option, const char *word, const char *const *words, struct diag *diag)
{
	const char *near = near_word(word, strlen(word), words);
	char all[128] = "";

	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
		strncat(all, i ? ", " : "", sizeof(all) - strlen(all) - 1);
		strncat(all, words[i], sizeof(all) - strlen(all) - 1);
	}
	diag_set(diag, -EINVAL, "explore.option", "--%s: got '%.100s', wanted one of %s", option,
		 word, all);
	if (near)
		diag_hint(diag, "did you mean %s?", near);
	return -EINVAL;
}

/* ------------------------------------------------------------------------------ ends */

const char *explore_who_ended(const struct explore_result *result)
{
	return result->in_recovery ? "recovery" : "check";
}

int explore_lacks(const struct explore_result *result, struct diag *diag)
{
	diag_set(diag, -ENOSPC, "explore.lack", "the %s gave no verdict: %.300s",
		 explore_who_ended(result), result->lack);
	diag_hint(diag, "%s", EXPLORE_LACK_HINT);
	return -ENOSPC;
}

int explore_cannot_run(const struct explore_result *result, struct diag *diag)
{
	diag_set(diag, -ENOEXEC, "explore.check", "the %s cannot be run: it exits with %d%s%.300s",
		 explore_who_ended(result), result->exit_code, result->output ? ": " : "",
		 result->output ? result->output : "");
	for (char *p = diag->message; *p; p++)
		if (*p == '\n')
			*p = ' ';
	diag_hint(diag, "exit status 126 or 127 means that a command did not run");
	return -ENOEXEC;
}

const char *explore_how_ended(const struct explore_result *result, char *text, size_t size)
{
	if (result->verdict == EXPLORE_TIMEOUT)
		return "did not end in time";
	if (result->signal)
		snprintf(text, size, "was killed by signal %d (%s)", result->signal,
			 strsignal(result->signal));
	else
		snprintf(text, size, "exits with %d", result->exit_code);
	return text;
}
