// SPDX-License-Identifier: MIT
/* tsan */
#include "tests/unit/check.h"

#include "tools/rpc/reading.h"

#include <errno.h>
#include <poll.h>

static struct rpc_reading *reading;

static int set_up(void **state)
{
	(void)state;
	return rpc_reading_create(&reading);
}

static int tear_down(void **state)
{
	(void)state;
	reading = rpc_reading_free(reading);
	return 0;
}

static json_t *json(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	return value;
}

static void wait_for_it(void)
{
	struct pollfd read = { .fd = rpc_reading_fd(reading), .events = POLLIN };

	assert_int_equal(poll(&read, 1, PATIENCE_MS), 1);
	rpc_reading_seen(reading);
}

static void only_rules_that_may_name_a_file_are_read_elsewhere(void **state)
{
	static const struct {
		const char *rules;
		bool is;
	} cases[] = {
		{ "\"a op=read do=error:EIO\"", false },
		{ "\"a do=delay:file=/x\"", true },
		{ "[\"a do=count\",\"b do=count\"]", false },
		{ "[\"a do=count\",\"b do=delay:rw=read,file=/x\"]", true },
		{ "{\"name\":\"a\",\"do\":{\"delay\":{\"file\":\"/x\"}}}", true },
		{ "[{\"name\":\"a\",\"do\":\"count\"},{\"name\":\"b\",\"do\":\"delay:file=/x\"}]",
		  true },
		{ "7", false },
		{ "[null]", false },
	};

	(void)state;
	assert_false(rpc_reading_is_for(NULL));
	for (size_t i = 0; i < array_size(cases); i++) {
		json_t *rules = json(cases[i].rules);

		if (rpc_reading_is_for(rules) != cases[i].is)
			fail_msg("%s: wanted %d", cases[i].rules, cases[i].is);
		json_decref(rules);
	}
}

static void rules_come_back_one_by_one_with_their_words(void **state)
{
	json_t *rules = json("[\"a do=count\",\"b do=delay:file=/there/is/none\",7]");
	struct diag diag = { 0 };
	struct rule *rule = NULL;

	(void)state;
	assert_int_equal(rpc_reading_ask(reading, 3, rules), -EAGAIN);
	wait_for_it();
	assert_int_equal(rpc_reading_ask(reading, 3, rules), 0);
	assert_int_equal(rpc_reading_take(reading, 0, &diag, &rule), 0);
	assert_string_equal(rule_name(rule), "a");
	rule_unref(rule);
	assert_true(rpc_reading_take(reading, 1, &diag, &rule) < 0);
	assert_non_null(strstr(diag.message, "/there/is/none"));
	assert_int_equal(rpc_reading_take(reading, 2, &diag, &rule), -EINVAL);
	rpc_reading_end(reading);
	json_decref(rules);
}

static void the_next_takes_over_from_a_client_that_has_gone(void **state)
{
	json_t *rules = json("\"a do=delay:file=/there/is/none\"");
	int err;

	(void)state;
	assert_int_equal(rpc_reading_ask(reading, 3, rules), -EAGAIN);
	err = rpc_reading_ask(reading, 4, rules);
	if (err == -EBUSY) {
		wait_for_it();
		err = rpc_reading_ask(reading, 4, rules);
	}
	assert_int_equal(err, -EAGAIN);
	while ((err = rpc_reading_ask(reading, 4, rules)) == -EAGAIN)
		wait_for_it();
	assert_int_equal(err, 0);
	/* Nobody takes them: that is no leak. */
	json_decref(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_rules_that_may_name_a_file_are_read_elsewhere),
		cmocka_unit_test(rules_come_back_one_by_one_with_their_words),
		cmocka_unit_test(the_next_takes_over_from_a_client_that_has_gone),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
