// SPDX-License-Identifier: MIT
#include "tools/disk/run_words.h"

#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ID_MAX 1048575 /* of the kernel's minor numbers */

int run_parse_seed(const char *text, uint64_t *ret_seed, struct diag *diag)
{
	char *end;

	if (strcmp(text, RUN_SEED_RANDOM) == 0) {
		if (fail_errno("tools/disk/run_words/seed", ENOSYS,
			       getrandom(ret_seed, sizeof(*ret_seed), 0)) ==
		    (ssize_t)sizeof(*ret_seed))
			return 0;
		return diag_set(diag, -EIO, "option.seed", "no random seed from the kernel: %m");
	}
	errno = 0;
	*ret_seed = strtoull(text, &end, 0);
	if (text[0] < '0' || text[0] > '9' || *end || errno)
		return diag_set(diag, -EINVAL, "option.seed",
				"--seed: got '%.200s', wanted a whole number below 2^64", text);
	return 0;
}

int run_parse_id(const char *text, int *ret_id, struct diag *diag)
{
	char *end;
	unsigned long id;

	*ret_id = -1;
	if (!text)
		return 0;
	errno = 0;
	id = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || id > ID_MAX)
		return diag_set(diag, -EINVAL, "option.id", "--id: got '%.200s', wanted 0 to %d",
				text, ID_MAX);
	*ret_id = (int)id;
	return 0;
}
