// SPDX-License-Identifier: MIT
/* The methods about what happens, against a pipeline without a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tools/rpc/fake.h"

#include <string.h>

static struct fake fake;
static unsigned char data[4096];

static int open_fake(void **state)
{
	(void)state;
	fake_open(&fake);
	return 0;
}

static int close_fake(void **state)
{
	(void)state;
	fake_close(&fake);
	return 0;
}

/* The answer to @method: new reference. */
static json_t *call(const char *method, const char *params)
{
	char line[1024], *text;
	json_t *answer;
	size_t len;

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method, params);
	text = fake_serve(&fake, line, &len);
	assert_non_null(text);
	answer = json_loadb(text, len, 0, NULL);
	free(text);
	assert_non_null(answer);
	return answer;
}

/* The whole answer's text holds @words. */
static void says(const char *method, const char *params, const char *words)
{
	json_t *answer = call(method, params);
	char *text = json_dumps(answer, JSON_COMPACT);

	if (!strstr(text, words))
		fail_msg("%s %s: %s does not say %s", method, params, text, words);
	free(text);
	json_decref(answer);
}

static enum io_verdict submit(struct io *io, enum io_op op, uint16_t queue, uint64_t sector)
{
	*io = (struct io){
		.op = op, .queue = queue, .sector = sector, .len_bytes = 4096, .data = data
	};
	return pipeline_submit(fake.target.pipeline, io, 0);
}

static void hits_are_listed_from_where_one_left_off(void **state)
{
	struct io io;

	(void)state;
	says("events.list", "{}", "\"events\":[],\"lost\":0,\"next\":0");
	says("rules.put", "{\"rule\":\"a op=read do=count\"}", "\"count\":1");
	for (uint16_t i = 0; i < 5; i++)
		assert_int_equal(submit(&io, IO_READ, i % FAKE_QUEUES, 8u * i), IO_DONE);
	says("events.list", "{\"after\":3}",
	     "{\"seq\":4,\"time_ns\":0,\"rule\":\"a\",\"kind\":\"count\",\"op\":\"read\",\"sector\":24,"
	     "\"len_bytes\":4096,\"flags\":0,\"queue\":1,\"match\":3,\"delay_ns\":0}");
	says("events.list", "{\"after\":3}", "\"next\":5");
	says("events.list", "{\"max\":2}", "\"next\":2");
	says("events.list", "{\"max\":0}", "max: got 0, wanted a whole number from 1 to 1000");
	says("events.list", "{\"aftre\":1}", "did you mean 'after'?");
}

static void what_is_held_is_listed_and_released(void **state)
{
	struct io a, b, c;

	(void)state;
	says("rules.put", "{\"rule\":\"h op=write do=hang\"}", "\"count\":1");
	assert_int_equal(submit(&a, IO_WRITE, 1, 0), IO_PARKED);
	assert_int_equal(submit(&b, IO_WRITE, 0, 8), IO_PARKED);
	assert_int_equal(submit(&c, IO_WRITE, 0, 16), IO_PARKED);
	assert_true(a.due_ns == UINT64_MAX);
	says("held.list", "{}", "\"count\":3");
	says("held.release", "{\"rule\":\"nobody\"}", "\"released\":0");
	says("held.release", "{\"rule\":\"h\",\"count\":1}", "\"released\":1");
	assert_true(a.released);
	assert_false(b.released);
	says("held.release", "{\"id\":3}", "\"released\":1");
	assert_true(c.released);
	says("held.list", "{}", "\"id\":2,\"rule\":\"h\",\"op\":\"write\",\"sector\":8");
	says("held.release", "{\"id\":0}", "id: got 0, wanted a whole number from 1");
	says("held.release", "{}", "\"released\":1");
	pipeline_resume(fake.target.pipeline, &a, 1);
	pipeline_resume(fake.target.pipeline, &b, 1);
	pipeline_resume(fake.target.pipeline, &c, 1);
	assert_int_equal(a.result, 4096);
	says("held.list", "{}", "\"held\":[],\"count\":0");
}

static void a_disabled_rule_is_not_asked_and_keeps_its_counters(void **state)
{
	struct io io;

	(void)state;
	says("rules.put", "{\"rule\":\"e op=read do=error:EIO\"}", "\"count\":1");
	submit(&io, IO_READ, 0, 0);
	assert_true(io.result < 0);
	says("rules.disable", "{\"name\":\"e\"}", "\"count\":1");
	submit(&io, IO_READ, 0, 0);
	assert_int_equal(io.result, 4096);
	says("rules.list", "{}", "\"matches\":1,\"hits\":1,\"enabled\":false");
	says("rules.list", "{}", "e op=read enabled=no do=error:EIO");
	says("rules.enable", "{\"name\":\"e\"}", "\"count\":1");
	submit(&io, IO_READ, 0, 0);
	assert_true(io.result < 0);
	says("rules.list", "{}", "\"matches\":2,\"hits\":2,\"enabled\":true");
	says("rules.enable", "{\"name\":\"f\"}", "there is no rule 'f'");
}

static void what_needs_a_disk_or_a_kind_that_listens_says_so(void **state)
{
	(void)state;
	says("rules.put", "{\"rule\":\"e op=read do=error:EIO\"}", "\"count\":1");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"count\"}", "takes no commands");
	says("rules.tell", "{\"name\":\"e\"}", "verb is missing");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"add\",\"range\":\"2M..3M\"}",
	     "a range inside the disk");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"add\",\"range\":\"x\"}", "START..END");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"add\",\"range\":[\"1k..2k\",7]}",
	     "ranges as in a rule");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"add\",\"range\":[]}", "ranges as in a rule");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"add\",\"part\":1}", "together with range");
	says("rules.tell", "{\"name\":\"e\",\"verb\":\"add\",\"range\":\"0..1k\",\"part\":1}",
	     "the disk has no device now");
	says("rules.put", "{\"rule\":\"p part=1 do=error:EIO\"}", "part= needs a running disk");
	says("rules.put", "{\"rule\":\"m range=4k..8k,16k..20k do=badblock\"}", "\"count\"");
	says("rules.tell", "{\"name\":\"m\",\"verb\":\"list\"}", "[\"4k..8k\",\"16k..20k\"]");
	/* All of them or none, in any order, overlapping or not. */
	says("rules.tell", "{\"name\":\"m\",\"verb\":\"remove\",\"range\":[\"4k..5k\",\"8k..9k\"]}",
	     "parts of 4k..20k");
	says("rules.tell", "{\"name\":\"m\",\"verb\":\"count\"}", "\"count\":16");
	says("rules.tell",
	     "{\"name\":\"m\",\"verb\":\"remove\",\"range\":[\"18k..19k,4k..5k\",\"4k..6k\"]}",
	     "\"count\":6");
	says("rules.tell", "{\"name\":\"m\",\"verb\":\"query\",\"range\":\"4k..8k,16k..20k\"}",
	     "\"count\":10");
	says("rules.tell", "{\"name\":\"m\",\"verb\":\"list\",\"range\":[\"17k..20k\"]}",
	     "[\"17k..18k\",\"19k..20k\"]");
	says("rules.wait", "{\"name\":\"e\"}", "no disk to subscribe to");
	says("events.subscribe", "{}", "no disk to subscribe to");
	says("disk.revive", "{}", "disk.none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hits_are_listed_from_where_one_left_off, open_fake,
						close_fake),
		cmocka_unit_test_setup_teardown(what_is_held_is_listed_and_released, open_fake,
						close_fake),
		cmocka_unit_test_setup_teardown(a_disabled_rule_is_not_asked_and_keeps_its_counters,
						open_fake, close_fake),
		cmocka_unit_test_setup_teardown(what_needs_a_disk_or_a_kind_that_listens_says_so,
						open_fake, close_fake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
