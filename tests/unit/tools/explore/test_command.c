// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/patience.h"
#include "tools/explore/internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int stop[2];
static char gate[64]; /* a folder that the slow command makes; it ends when that is gone */
static _Atomic bool stands, go_on, failed;

static int run_one(const char *text, const char *owner, struct command_end *ret_end)
{
	char *env[] = { "PATH=/bin:/usr/bin", (char *)owner, NULL };
	struct command_options options = { .text = text,
					   .env = env,
					   .owner = owner,
					   .timeout_ns = PATIENCE_NS,
					   .stop_fd = stop[0] };
	struct command_output output = { .total = 0 };
	struct diag diag = { 0 };
	int err = command_run(&options, &output, ret_end, &diag);

	if (err)
		print_message("%s\n", diag.message);
	return err;
}

/* The first child of the main thread. */
static pid_t child(void)
{
	int pid = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "re");
	if (file && fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

/* The main thread has started its command, and waits for it. */
static bool is_waiting(void)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	file = access(gate, F_OK) == 0 ? fopen(path, "re") : NULL;
	if (file && fscanf(file, "%*s %*s %c", &state) != 1)
		state = '?';
	if (file)
		fclose(file);
	return state == 'S';
}

/* Of the main thread, wherever it is. */
static void stand_still(int signal)
{
	(void)signal;
	stands = true;
	while (!go_on)
		usleep(1000);
}

/* The command of another thread, while the main thread's is dead and not yet asked for. */
static void *other(void *ctx)
{
	struct command_end end = { .status = 0 };
	siginfo_t info;
	pid_t pid;

	while (!is_waiting() || !(pid = child()))
		usleep(1000);
	pthread_kill(*(pthread_t *)ctx, SIGUSR1);
	while (!stands)
		usleep(1000);
	rmdir(gate);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	failed = run_one("exit 3", "FAULTBLK_WORKER=other", &end) || end.status != 3 << 8;
	go_on = true;
	return NULL;
}

/* A thread that looks for what its own command has left finds the dead child of another thread. */
static void a_command_that_one_thread_waits_for_is_no_orphan_to_another(void **state)
{
	const struct sigaction action = { .sa_handler = stand_still };
	pthread_t thread, self = pthread_self();
	struct command_end end = { .status = 0 };
	char text[200];
	int err;

	(void)state;
	snprintf(gate, sizeof(gate), "/tmp/faultblk-test-gate-%d", getpid());
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	assert_int_equal(pipe(stop), 0);
	sigaction(SIGUSR1, &action, NULL);
	assert_int_equal(pthread_create(&thread, NULL, other, &self), 0);
	/* It ends when the thread that waits for it stands still. */
	snprintf(text, sizeof(text),
		 "mkdir %s; while [ -e %s ] && kill -0 $PPID; do sleep 0.01; done; exit 7", gate,
		 gate);
	err = run_one(text, "FAULTBLK_WORKER=slow", &end);
	pthread_join(thread, NULL);
	assert_int_equal(err, 0);
	assert_false(failed);
	assert_int_equal(end.status, 7 << 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_that_one_thread_waits_for_is_no_orphan_to_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
