// SPDX-License-Identifier: MIT
#include "tools/rpc/reading.h"

#include "base/failpoint.h"
#include "faults/rule/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct made {
	struct rule *rule; /* owned, until it is taken */
	struct diag diag;
	int err;
};

/* One request's rules. The thread's until it is over. */
struct reading_task {
	json_t *rules; /* a copy of its own */
	size_t nr;
	int event_fd; /* its own, too: it may outlive everything else */
	_Atomic bool over;
	struct made made[];
};

struct rpc_reading {
	struct reading_task *task; /* NULL: none */
	uint64_t client;           /* whose */
	pthread_t thread;
	int event_fd;
};

int rpc_reading_create(struct rpc_reading **ret_reading)
{
	struct rpc_reading *reading =
		fail_alloc("tools/rpc/reading/alloc", calloc(1, sizeof(*reading)));

	if (!reading)
		return -ENOMEM;
	reading->event_fd = fail_errno("tools/rpc/reading/eventfd", EMFILE,
				       eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (reading->event_fd < 0) {
		free(reading);
		return -EMFILE;
	}
	*ret_reading = reading;
	return 0;
}

static void free_task(struct reading_task *task)
{
	for (size_t i = 0; i < task->nr; i++)
		rule_unref(task->made[i].rule);
	json_decref(task->rules);
	free(task);
}

struct rpc_reading *rpc_reading_free(struct rpc_reading *reading)
{
	if (!reading)
		return NULL;
	if (reading->task && !atomic_load(&reading->task->over)) {
		/* It tells its end through the descriptor, which therefore stays. */
		pthread_detach(reading->thread);
		free(reading);
		return NULL;
	}
	if (reading->task)
		rpc_reading_end(reading);
	close(reading->event_fd);
	free(reading);
	return NULL;
}

int rpc_reading_fd(const struct rpc_reading *reading)
{
	return reading->event_fd;
}

void rpc_reading_seen(struct rpc_reading *reading)
{
	eventfd_t ignored;

	eventfd_read(reading->event_fd, &ignored);
}

/* Every way of giving a file has this word in it; whoever says it otherwise is only slower. */
bool rpc_reading_is_for(const json_t *rules)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_string(rules))
		return strstr(json_string_value(rules), "file") != NULL;
	json_array_foreach (rules, i, value)
		if (rpc_reading_is_for(value))
			return true;
	json_object_foreach ((json_t *)rules, key, value)
		if (strcmp(key, "file") == 0 || rpc_reading_is_for(value))
			return true;
	return false;
}

static void *read_rules(void *ctx)
{
	struct reading_task *task = ctx;
	bool many = json_is_array(task->rules);

	for (size_t i = 0; i < task->nr; i++) {
		struct made *made = &task->made[i];
		json_t *value = many ? json_array_get(task->rules, i) : task->rules;

		/* What is no rule at all is refused before anybody asks for it. */
		if (json_is_string(value) || json_is_object(value))
			made->err = rule_from_json(value, &made->diag, &made->rule);
		else
			made->err = -EINVAL;
		if (!made->err)
			made->err = rule_read_file(made->rule, &made->diag);
	}
	atomic_store(&task->over, true);
	eventfd_write(task->event_fd, 1);
	return NULL;
}

static int start(struct rpc_reading *reading, uint64_t client, const json_t *rules)
{
	size_t nr = json_is_array(rules) ? json_array_size(rules) : 1;
	struct reading_task *task = fail_alloc("tools/rpc/reading/task",
					       calloc(1, sizeof(*task) + nr * sizeof(*task->made)));
	int err;

	if (!task)
		return -ENOMEM;
	task->nr = nr;
	task->event_fd = reading->event_fd;
	task->rules = json_deep_copy(rules);
	err = !task->rules ? -ENOMEM
			   : -fail_value("tools/rpc/reading/thread", EAGAIN,
					 pthread_create(&reading->thread, NULL, read_rules, task));
	if (err) {
		free_task(task);
		return -ENOMEM;
	}
	reading->task = task;
	reading->client = client;
	return -EAGAIN;
}

int rpc_reading_ask(struct rpc_reading *reading, uint64_t client, const json_t *rules)
{
	bool over = reading->task && atomic_load(&reading->task->over);

	if (over && reading->client != client)
		rpc_reading_end(reading); /* its client has gone */
	if (!reading->task)
		return start(reading, client, rules);
	if (reading->client != client)
		return -EBUSY;
	return over ? 0 : -EAGAIN;
}

int rpc_reading_take(struct rpc_reading *reading, size_t index, struct diag *diag,
		     struct rule **ret_rule)
{
	struct made *made = &reading->task->made[index];

	*diag = made->diag;
	if (made->err)
		return made->err;
	*ret_rule = made->rule;
	made->rule = NULL;
	return 0;
}

void rpc_reading_end(struct rpc_reading *reading)
{
	pthread_join(reading->thread, NULL);
	free_task(reading->task);
	reading->task = NULL;
}
