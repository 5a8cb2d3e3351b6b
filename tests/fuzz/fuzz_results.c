// SPDX-License-Identifier: MIT
/*
 * Any bytes as results: read (also as two files), merged, and told in every form; and the same with
 * seals that are right.
 */
#include "tests/resume_case.h"
#include "tools/report/report.h"

#include <stdbool.h>
#include <stdlib.h>

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void tell(struct report *report)
{
	static FILE *null;
	struct diag diag = { .message = "" };
	char *gaps;

	if (!null)
		null = fopen("/dev/null", "we");
	if (report_merge(report, &diag))
		return;
	gaps = report_gaps(report);
	report_print(report, null);
	json_decref(report_json(report));
	report_write(report, true, null);
	report_page(report, null);
	require(gaps && report_exit(report) <= 2);
	free(gaps);
}

static void read_all(const char *data, size_t size)
{
	struct diag diag = { .message = "" };
	struct report report;
	size_t half = size / 2;

	report_init(&report);
	if (report_read(&report, "whole", data, size, &diag) == 0)
		tell(&report);
	else
		require(diag.id[0] && diag.message[0]);
	report_clear(&report);
	report_init(&report);
	if (report_read(&report, "a", data, half, &diag) == 0 &&
	    report_read(&report, "b", data + half, size - half, &diag) == 0)
		tell(&report);
	report_clear(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t seal = RESULTS_SEAL_START;
	char *sealed = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&sealed, &len);

	require(out);
	resume_seal((const char *)data, size, &seal, out);
	fclose(out);
	read_all((const char *)data, size);
	read_all(sealed, len);
	free(sealed);
	return 0;
}
