// SPDX-License-Identifier: MIT
/*
 * Any bytes as a results file to go on from: as they are, and as lines behind the head that the
 * exploration wrote itself, with seals that are right, so that a fuzzer gets past them. What is
 * refused is told in words and left as it is; from what is taken the exploration comes to its end,
 * and then everything is known.
 */
#include "tests/resume_case.h"

#include <errno.h>

static char folder[] = "/tmp/faultblk-fuzz-XXXXXX", path[64];
static struct resume_case c;
static char *head;
static size_t head_len;
static uint64_t head_seal = RESULTS_SEAL_START;

static void clean_up(void)
{
	unlink(path);
	rmdir(folder);
	journal_free(c.journal);
	free(head);
}

/* An exploration that is stopped before its first state has written its head. */
static void make_head(void)
{
	const char *last, *at;
	struct diag diag = { 0 };
	size_t len;

	resume_must(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/r", folder);
	c = resume_begin(path);
	atexit(clean_up);
	c.job.max_states = 1;
	resume_must(resume_explore(&c, &diag) == 0);
	c.job.max_states = 0;
	head = resume_read(path, &len);
	last = strstr(head, "{\"type\":\"state\"");
	resume_must(last);
	head_len = (size_t)(last - head);
	at = strstr(last - 28, ",\"seal\":\"");
	resume_must(at && sscanf(at, ",\"seal\":\"%16lx\"", &head_seal) == 1);
}

static void try(const char *bytes, size_t len)
{
	struct diag diag = { 0 };
	char *after;
	size_t after_len;

	resume_save(path, bytes, len);
	if (resume_explore(&c, &diag) == 0) {
		resume_must(resume_explore(&c, &diag) == 0 && c.checks == 0);
		return;
	}
	resume_must(diag.id[0] && diag.message[0]);
	after = resume_read(path, &after_len);
	resume_must(after_len == len && memcmp(after, bytes, len) == 0);
	free(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *sealed = NULL;
	size_t len = 0;
	uint64_t seal;
	FILE *out;

	if (!head)
		make_head();
	try((const char *)data, size);
	out = open_memstream(&sealed, &len);
	resume_must(out);
	seal = head_seal;
	fwrite(head, 1, head_len, out);
	resume_seal((const char *)data, size, &seal, out);
	fclose(out);
	try(sealed, len);
	free(sealed);
	return 0;
}
