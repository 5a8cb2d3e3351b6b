// SPDX-License-Identifier: MIT
/* A state in one word: all survived, or none did, and where it differs from that. */
#include "faults/crash/internal.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t digits(size_t number)
{
	size_t nr = 1;

	while (number /= 10)
		nr++;
	return nr;
}

/* Length of the word that begins with "new" or "old", without its end. */
static size_t word_len(const struct crash *crash, const uint16_t *picks, bool from_newest)
{
	size_t len = 3;

	for (size_t i = 0; i < crash->nr_choices; i++)
		if (picks[i] != (from_newest ? crash->choices[i].newest : 0))
			len += 2 + digits(i) + digits(picks[i]);
	return len;
}

char *crash_name(const struct crash *crash, const uint16_t *picks)
{
	const struct crash *made = crash_made(crash);
	size_t len = word_len(made, picks, true), old_len = word_len(made, picks, false), at = 3;
	bool from_newest = len <= old_len;
	char *name;

	len = from_newest ? len : old_len;
	name = fail_alloc("faults/crash/name/alloc", malloc(len + 1));
	if (!name)
		return NULL;
	memcpy(name, from_newest ? "new" : "old", 4);
	for (size_t i = 0; i < made->nr_choices; i++)
		if (picks[i] != (from_newest ? made->choices[i].newest : 0))
			at += (size_t)snprintf(name + at, len + 1 - at, "%c%zu=%u",
					       at == 3 ? '~' : ',', i, picks[i]);
	return name;
}

static int bad_word(struct diag *diag, const char *name, const char *at)
{
	return diag_set(diag, -EINVAL, "crash.bad-name",
			"'%.60s' is not the name of a state: unexpected '%.20s', wanted new or "
			"old, then "
			"~CHOICE=CANDIDATE,CHOICE=CANDIDATE... with ascending choices",
			name, at);
}

/* Decimal, no sign, no leading zero, at most 9 digits. */
static bool take_number(const char **at, size_t *ret_number)
{
	const char *from = *at;
	size_t number = 0;

	while (isdigit((unsigned char)**at) && *at - from < 9)
		number = number * 10 + (size_t)(*(*at)++ - '0');
	*ret_number = number;
	return *at > from && (*from != '0' || *at == from + 1);
}

static int take_pick(const struct crash *crash, const char *name, const char **at, size_t *next,
		     struct diag *diag, uint16_t *picks)
{
	const unsigned long long step = journal_shown(crash->journal, crash->step);
	const char *from = *at;
	size_t choice, pick;

	if (!take_number(at, &choice) || *(*at)++ != '=' || !take_number(at, &pick) ||
	    choice < *next)
		return bad_word(diag, name, from);
	if (choice >= crash->nr_choices)
		return diag_set(diag, -EINVAL, "crash.other-moment",
				"'%.60s' speaks of choice %zu, but at step %llu there are %zu: it "
				"is the name of a state of another moment, or of other options",
				name, choice, step, crash->nr_choices);
	if (pick >= crash->choices[choice].nr)
		return diag_set(diag, -EINVAL, "crash.other-moment",
				"'%.60s' speaks of candidate %zu of choice %zu, but at step %llu "
				"it has %u: it is the name of a state of another moment, or of "
				"other options",
				name, pick, choice, step, crash->choices[choice].nr);
	picks[choice] = (uint16_t)pick;
	*next = choice + 1;
	return 0;
}

int crash_parse(const struct crash *crash, const char *name, struct diag *diag, uint16_t *picks)
{
	bool from_newest = !strncmp(name, "new", 3);
	const char *at = name + 3;
	size_t next = 0;

	if (!from_newest && strncmp(name, "old", 3) != 0)
		return bad_word(diag, name, name);
	if (from_newest)
		crash_newest(crash, picks);
	else
		crash_oldest(crash, picks);
	if (*at && *at != '~')
		return bad_word(diag, name, at);
	while (*at) {
		int err;

		at++;
		err = take_pick(crash, name, &at, &next, diag, picks);
		if (err)
			return err;
		if (*at && *at != ',')
			return bad_word(diag, name, at);
	}
	if (crash_canonical(crash, picks))
		return 0;
	return diag_set(diag, -EINVAL, "crash.other-moment",
			"'%.60s' loses a write that comes before one that it keeps, or names an "
			"order without effect: it is the name of a "
			"state of another moment, or of other options",
			name);
}
