// SPDX-License-Identifier: MIT
/* What the parameters of disk.crash and of the images come to; the rest needs a device. */
#include "tests/unit/check.h"
#include "tests/unit/tools/rpc/fake.h"

#include <errno.h>

static struct fake fake;
static struct power_cut got;
static bool got_vanish, changing;
static uint64_t frozen_for;
static struct image_request asked;
static char asked_path[64];

static int take_freeze(void *ctx, uint64_t client, const struct cut_order *order, struct diag *diag)
{
	(void)order;
	(void)ctx;
	(void)diag;
	frozen_for = client;
	return 0;
}

static bool take_thaw(void *ctx, uint64_t client)
{
	bool was = frozen_for == client;

	(void)ctx;
	frozen_for = was ? 0 : frozen_for;
	return was;
}

/* As for a disk that is being made, too: nobody's queues are there. */
static bool is_changing(void *ctx, uint64_t client)
{
	(void)ctx;
	return changing || (frozen_for && frozen_for != client);
}

static int take_crash(void *ctx, uint64_t client, struct cut_order *order, struct diag *diag,
		      struct power_cut_result *ret_result)
{
	(void)ctx;
	if (client && client != frozen_for)
		return diag_set(diag, -ESTALE, "disk.not-frozen", "not for you");
	frozen_for = 0;
	got = order->cut;
	got_vanish = order->vanish;
	*ret_result = (struct power_cut_result){ .nr_volatile = 9, .nr_lost = 4 };
	return 0;
}

static int take_image(void *ctx, const struct image_request *request, struct rpc_ticket *ticket,
		      struct diag *diag)
{
	(void)ctx;
	(void)ticket;
	asked = *request;
	snprintf(asked_path, sizeof(asked_path), "%s", request->path);
	return diag_set(diag, -EBUSY, "image.busy", "one is under way");
}

static int open_fake(void **state)
{
	static char disk[1]; /* never looked at */

	(void)state;
	fake_open(&fake);
	fake.target.disk = (struct disk *)disk;
	fake.target.crash = take_crash;
	fake.target.freeze = take_freeze;
	fake.target.thaw = take_thaw;
	fake.target.is_changing = is_changing;
	frozen_for = 0;
	changing = false;
	fake.target.image = take_image;
	got = (struct power_cut){ 0 };
	asked = (struct image_request){ 0 };
	return 0;
}

static int close_fake(void **state)
{
	(void)state;
	fake_close(&fake);
	return 0;
}

static void says(const char *method, const char *params, const char *words)
{
	char line[1024];
	size_t len;
	char *answer;

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	answer = fake_serve(&fake, line, &len);
	assert_non_null(answer);
	if (!strstr(answer, words))
		fail_msg("%s %s: '%s' does not say '%s'", method, params, answer, words);
	free(answer);
}

static void a_crash_keeps_nothing_unless_told(void **state)
{
	(void)state;
	says("disk.crash", "{}", "\"keep\":\"none\",\"volatile\":9,\"lost\":4");
	assert_int_equal(got.keep, KEEP_NONE);
	assert_false(got_vanish);
	says("disk.crash", "{\"keep\":\"all\",\"vanish\":true}", "\"keep\":\"all\"");
	assert_int_equal(got.keep, KEEP_ALL);
	assert_true(got_vanish);
	says("disk.crash", "{\"keep\":\"some\"}",
	     "keep: got \\\"some\\\", wanted none, all, random or pattern");
	says("disk.crash", "{\"kep\":\"all\"}", "did you mean 'keep'?");
	says("disk.crash", "{\"keep\":\"random\",\"seed\":\"1\",\"share\":0.25}", "\"seed\":\"1\"");
	assert_int_equal(got.threshold, 1ull << 62);
	says("disk.crash", "{\"keep\":\"random\",\"share\":1}",
	     "share: got 1, wanted a number from 0");
	says("disk.crash", "{\"share\":0.5}", "with keep=random");
}

/* How a line of @client ends. */
static enum rpc_outcome ends(uint64_t client, const char *method)
{
	char line[256], *text;
	size_t len;
	enum rpc_outcome outcome;

	snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", method);
	outcome = rpc_serve_line(&fake.target, client, line, strlen(line), &text, &len);
	free(text);
	return outcome;
}

static void a_frozen_disk_is_for_the_client_that_froze_it(void **state)
{
	(void)state;
	says("disk.crash", "{\"frozen\":true}", "disk.not-frozen");
	says("disk.thaw", "{}", "\"was_frozen\":false");
	says("disk.freeze", "{}", "\"deadline_ms\":10000");
	assert_int_equal(frozen_for, 1);
	/* Others wait, and so does what needs queues that move; what needs none does not. */
	assert_int_equal(ends(2, "disk.crash"), RPC_NOT_NOW);
	assert_int_equal(ends(2, "disk.freeze"), RPC_NOT_NOW);
	assert_int_equal(ends(2, "rules.list"), RPC_NOT_NOW);
	assert_int_equal(ends(1, "rules.clear"), RPC_NOT_NOW);
	assert_int_equal(ends(2, "snapshot.list"), RPC_ANSWERED);
	assert_int_equal(ends(2, "disk.thaw"), RPC_ANSWERED);
	assert_int_equal(frozen_for, 1);
	changing = true;
	assert_int_equal(ends(1, "disk.crash"), RPC_NOT_NOW);
	changing = false;
	says("disk.crash", "{\"frozen\":true}", "\"keep\":\"none\"");
	assert_int_equal(frozen_for, 0);
	says("disk.freeze", "{}", "deadline_ms");
	says("disk.thaw", "{}", "\"was_frozen\":true");
	assert_int_equal(ends(2, "disk.crash"), RPC_ANSWERED);
}

static void a_seed_is_chosen_told_and_taken_back(void **state)
{
	char text[64];

	(void)state;
	says("disk.crash", "{\"keep\":\"random\"}", "\"seed\":\"");
	snprintf(text, sizeof(text), "\"seed\":\"%llu\"", (unsigned long long)got.bits);
	says("disk.crash", "{\"keep\":\"random\",\"seed\":\"18446744073709551615\"}",
	     "\"seed\":\"18446744073709551615\"");
	assert_true(got.bits == UINT64_MAX);
	assert_true(got.threshold == 1ull << 63);
	says("disk.crash", "{\"keep\":\"random\",\"seed\":\"18446744073709551616\"}", "below 2^64");
	says("disk.crash", "{\"keep\":\"random\",\"seed\":\"-1\"}", "below 2^64");
	says("disk.crash", "{\"keep\":\"random\",\"seed\":\"\"}", "below 2^64");
	says("disk.crash", "{\"keep\":\"random\",\"seed\":4}", "seed: got 4, wanted");
	says("disk.crash", "{\"keep\":\"all\",\"seed\":\"4\"}", "only together with keep=random");
}

static void a_pattern_is_bits_from_the_left(void **state)
{
	char digits[300], params[400];

	(void)state;
	says("disk.crash", "{\"keep\":\"pattern\",\"pattern\":\"a5F\"}", "\"pattern\":\"a5F\"");
	assert_int_equal(got.nr_pattern, 12);
	assert_int_equal(got.pattern[0], 0xa5);
	assert_int_equal(got.pattern[1], 0xf0);
	assert_true(cut_pattern_keeps(&got, 0));
	assert_false(cut_pattern_keeps(&got, 1));
	assert_true(cut_pattern_keeps(&got, 12));
	memset(digits, '1', sizeof(digits));
	snprintf(params, sizeof(params), "{\"keep\":\"pattern\",\"pattern\":\"%.256s\"}", digits);
	says("disk.crash", params, "\"volatile\":9");
	assert_int_equal(got.nr_pattern, KEEP_PATTERN_BITS);
	snprintf(params, sizeof(params), "{\"keep\":\"pattern\",\"pattern\":\"%.257s\"}", digits);
	says("disk.crash", params, "1 to 256 hexadecimal digits");
	says("disk.crash", "{\"keep\":\"pattern\"}", "pattern is missing");
	says("disk.crash", "{\"keep\":\"pattern\",\"pattern\":\"\"}", "1 to 256");
	says("disk.crash", "{\"keep\":\"pattern\",\"pattern\":\"5g\"}", "1 to 256");
	says("disk.crash", "{\"keep\":\"none\",\"pattern\":\"5\"}", "with keep=pattern");
}

static void an_image_has_an_absolute_path(void **state)
{
	(void)state;
	says("image.save", "{}", "path is missing");
	says("image.save", "{\"path\":\"x\"}", "an absolute path");
	assert_null(asked.path);
	says("image.save", "{\"path\":\"/x\",\"force\":true}", "image.busy");
	assert_int_equal(asked.what, IMAGE_SAVE);
	assert_true(asked.force);
	assert_null(asked.snapshot);
	says("snapshot.save", "{\"name\":\"a\",\"path\":\"/y\"}", "-32003");
	assert_string_equal(asked_path, "/y");
	assert_false(asked.force);
	says("snapshot.save", "{\"name\":\"a/b\",\"path\":\"/y\"}", "snapshot.name");
	says("image.load", "{\"path\":\"/z\"}", "image.busy");
	assert_int_equal(asked.what, IMAGE_LOAD);
	says("image.load", "{\"path\":\"/z\",\"force\":true}", "no parameter 'force'");
}

static void snapshots_that_are_not_there_are_named(void **state)
{
	(void)state;
	says("snapshot.restore", "{\"name\":\"a\"}", "there is no snapshot 'a'");
	says("snapshot.remove", "{\"name\":\"a\"}", "-32002");
	says("snapshot.create", "{\"name\":\".a\"}", "snapshot.name");
	says("snapshot.list", "{}", "\"snapshots\":[],\"bytes\":0");
	assert_int_equal(pipeline_snapshot_add(fake.target.pipeline, "a", 5, NULL), 0);
	says("snapshot.list", "{}", "{\"name\":\"a\",\"created_ns\":5,\"bytes\":0}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_crash_keeps_nothing_unless_told, open_fake,
						close_fake),
		cmocka_unit_test_setup_teardown(a_frozen_disk_is_for_the_client_that_froze_it,
						open_fake, close_fake),
		cmocka_unit_test_setup_teardown(a_seed_is_chosen_told_and_taken_back, open_fake,
						close_fake),
		cmocka_unit_test_setup_teardown(a_pattern_is_bits_from_the_left, open_fake,
						close_fake),
		cmocka_unit_test_setup_teardown(an_image_has_an_absolute_path, open_fake,
						close_fake),
		cmocka_unit_test_setup_teardown(snapshots_that_are_not_there_are_named, open_fake,
						close_fake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
