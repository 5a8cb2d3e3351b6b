// SPDX-License-Identifier: MIT
/* tsan */
/*
 * Control commands past their deadline: what the kernel does with their memory then; and those of
 * several threads in the one ring. The calls of liburing that enter the kernel are stood in for by
 * one that answers when it is told to.
 */
#include "base/clock.h"
#include "lib/abi.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* The driver: the commands it has, and what it has been told to answer. */
#define DRIVER_MAX 8

struct driver_cmd {
	bool has;
	struct abi_ctrl_cmd cmd;
	uint64_t user_data;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct io_uring_sqe sqes[8];
	unsigned int head, tail, nr_inits, nr_exits, nr_waiting, nr_nops, nr_cancels;
	struct driver_cmd cmds[DRIVER_MAX];
	struct abi_ctrl_cmd cmd; /* the last one */
	uint32_t cmd_op;
	bool answers, refuses; /* submissions */
	uint32_t held_id;      /* this device's commands are not answered; 0: all are */
	int result;
	unsigned char answer; /* each byte of it */
	uint64_t ready[DRIVER_MAX];
	int ready_res[DRIVER_MAX];
	unsigned int nr_ready;
	struct io_uring_cqe cqe; /* last: it ends in an array */
} driver = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int driver_init(struct io_uring *ring)
{
	memset(ring, 0, sizeof(*ring));
	driver.head = 0;
	driver.tail = 0;
	driver.nr_inits++;
	ring->flags = IORING_SETUP_SQE128;
	ring->sq.khead = &driver.head;
	ring->sq.ktail = &driver.tail;
	ring->sq.sqes = driver.sqes;
	ring->sq.ring_entries = 4;
	ring->sq.ring_mask = 3;
	return 0;
}

static void driver_complete(uint64_t user_data, int res)
{
	assert(driver.nr_ready < DRIVER_MAX);
	driver.ready_res[driver.nr_ready] = res;
	driver.ready[driver.nr_ready++] = user_data;
}

/* A command that merely waits is interrupted. */
static void driver_cancel(uint64_t user_data)
{
	driver.nr_cancels++;
	for (int i = 0; i < DRIVER_MAX; i++)
		if (driver.cmds[i].has && driver.cmds[i].user_data == user_data) {
			driver.cmds[i].has = false;
			driver_complete(user_data, -EINTR);
		}
	driver_complete(0, 0);
}

static void driver_take(const struct io_uring_sqe *sqe)
{
	struct driver_cmd *cmd = driver.cmds;

	if (sqe->opcode == IORING_OP_ASYNC_CANCEL) {
		driver_cancel(sqe->addr);
	} else if (sqe->opcode == IORING_OP_NOP) {
		driver.nr_nops++;
		driver_complete(sqe->user_data, 0);
	} else {
		while (cmd->has)
			cmd++;
		memcpy(&driver.cmd, sqe->cmd, sizeof(driver.cmd));
		driver.cmd_op = sqe->cmd_op;
		*cmd = (struct driver_cmd){ true, driver.cmd, sqe->user_data };
	}
}

static int driver_submit(struct io_uring *ring)
{
	struct io_uring_sq *sq = &ring->sq;
	int nr = 0;

	pthread_mutex_lock(&driver.lock);
	for (; !driver.refuses && sq->sqe_head != sq->sqe_tail; nr++)
		driver_take(&driver.sqes[(sq->sqe_head++ & 3) << 1]);
	driver.head = sq->sqe_head;
	pthread_cond_broadcast(&driver.changed);
	pthread_mutex_unlock(&driver.lock);
	return driver.refuses ? -EAGAIN : nr;
}

/* What the kernel's worker does when it comes to it: write the answer, then tell. */
static void driver_work(void)
{
	for (int i = 0; i < DRIVER_MAX; i++) {
		struct driver_cmd *at = &driver.cmds[i];
		const struct abi_ctrl_cmd *cmd = &at->cmd;

		if (!at->has || !driver.answers ||
		    (driver.held_id && cmd->dev_id == driver.held_id))
			continue;
		if (driver.result >= 0 && cmd->addr)
			memset((void *)(uintptr_t)(cmd->addr + cmd->dev_path_len), driver.answer,
			       cmd->len - cmd->dev_path_len);
		at->has = false;
		driver_complete(at->user_data, driver.result);
	}
}

static int driver_peek_locked(struct io_uring_cqe **ret_cqe)
{
	driver_work();
	if (!driver.nr_ready)
		return -EAGAIN;
	driver.cqe.user_data = driver.ready[0];
	driver.cqe.res = driver.ready_res[0];
	*ret_cqe = &driver.cqe;
	return 0;
}

static int driver_peek(struct io_uring_cqe **ret_cqe)
{
	int err;

	pthread_mutex_lock(&driver.lock);
	err = driver_peek_locked(ret_cqe);
	pthread_mutex_unlock(&driver.lock);
	return err;
}

static int driver_wait(struct io_uring_cqe **ret_cqe, const struct __kernel_timespec *ts)
{
	struct timespec until =
		clock_in_ns((uint64_t)ts->tv_sec * NSEC_PER_SEC + (uint64_t)ts->tv_nsec);
	int late = 0, err;

	pthread_mutex_lock(&driver.lock);
	driver.nr_waiting++;
	pthread_cond_broadcast(&driver.changed);
	while ((err = driver_peek_locked(ret_cqe)) && !late)
		late = pthread_cond_clockwait(&driver.changed, &driver.lock, CLOCK_MONOTONIC,
					      &until);
	driver.nr_waiting--;
	pthread_mutex_unlock(&driver.lock);
	return err ? -ETIME : 0;
}

static void driver_seen(void)
{
	pthread_mutex_lock(&driver.lock);
	driver.nr_ready--;
	memmove(driver.ready, driver.ready + 1, sizeof(driver.ready) - sizeof(*driver.ready));
	memmove(driver.ready_res, driver.ready_res + 1,
		sizeof(driver.ready_res) - sizeof(*driver.ready_res));
	pthread_mutex_unlock(&driver.lock);
}

static void driver_exit(struct io_uring *ring)
{
	(void)ring;
	driver.nr_exits++;
	memset(driver.cmds, 0, sizeof(driver.cmds));
	driver.nr_ready = 0;
}

static int open_any(const char *path, int flags)
{
	(void)path, (void)flags;
	return eventfd(0, EFD_CLOEXEC);
}

#define ring_init_control(ring)                       driver_init(ring)
#define io_uring_submit(ring)                         driver_submit(ring)
#define io_uring_wait_cqe_timeout(ring, cqe, timeout) driver_wait(cqe, timeout)
#define io_uring_peek_cqe(ring, cqe)                  driver_peek(cqe)
#define io_uring_cqe_seen(ring, cqe)                  ((void)(cqe), driver_seen())
#define io_uring_queue_exit                           driver_exit
#define open                                          open_any
#include "lib/control.c"
#include "lib/control_ring.c"
#undef open

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct logger quiet;

static void answer_with(int result, unsigned char byte)
{
	pthread_mutex_lock(&driver.lock);
	driver.answers = true;
	driver.held_id = 0;
	driver.result = result;
	driver.answer = byte;
	pthread_cond_broadcast(&driver.changed);
	pthread_mutex_unlock(&driver.lock);
}

static void open_control(struct control *control)
{
	/* The features: all there are, the modern encoding among them. */
	answer_with(0, 0xff);
	assert_int_equal(control_open(control, false, &quiet), 0);
	assert_false(control->legacy);
}

static void an_answer_reaches_the_caller(void **state)
{
	struct abi_dev_info info = { .dev_id = 7 };
	struct control control;

	(void)state;
	open_control(&control);
	answer_with(0, 0x5a);
	assert_int_equal(
		control_cmd(&control, ABI_ADD_DEV,
			    &(struct control_args){ .id = 7, .buf = &info, .len = sizeof(info) }),
		0);
	assert_int_equal(info.dev_id, 0x5a5a5a5a);
	answer_with(-EBUSY, 0xa5);
	assert_int_equal(
		control_cmd(&control, ABI_ADD_DEV,
			    &(struct control_args){ .id = 7, .buf = &info, .len = sizeof(info) }),
		-EBUSY);
	assert_int_equal(info.dev_id, 0x5a5a5a5a);
	control_close(&control);
}

static void a_late_answer_does_not_touch_the_callers_memory(void **state)
{
	struct abi_dev_info info, before;
	struct control_args args = { .id = 7, .buf = &info, .len = sizeof(info), .timeout_ms = 1 };
	struct control control;

	(void)state;
	open_control(&control);
	memset(&info, 1, sizeof(info));
	before = info;
	driver.answers = false;
	assert_int_equal(control_cmd(&control, ABI_ADD_DEV, &args), -ETIMEDOUT);
	/* The next command waits for the first, and gets no answer but its own. */
	assert_int_equal(control_cmd(&control, ABI_ADD_DEV, &args), -ETIMEDOUT);
	answer_with(0, 0x5a);
	assert_int_equal(control_wait(&control, 1), 0);
	assert_memory_equal(&info, &before, sizeof(info));
	answer_with(0, 0x33);
	assert_int_equal(control_cmd(&control, ABI_ADD_DEV, &args), 0);
	assert_int_equal(info.dev_id, 0x33333333);
	control_close(&control);
}

static void memory_that_the_kernel_may_still_write_outlives_the_control(void **state)
{
	struct abi_dev_info info;
	struct control_args args = { .id = 7, .buf = &info, .len = sizeof(info), .timeout_ms = 1 };
	struct control control, next;
	unsigned int exits;

	(void)state;
	open_control(&control);
	driver.answers = false;
	assert_int_equal(control_cmd(&control, ABI_SET_PARAMS, &args), -ETIMEDOUT);
	exits = driver.nr_exits;
	control_close(&control);
	assert_int_equal(driver.nr_exits, exits);
	/* Written to now: were it freed, this would fault. The next control frees it. */
	answer_with(0, 0xff);
	assert_int_equal(control_open(&next, false, &quiet), 0);
	assert_null(shared.left);
	assert_int_equal(driver.nr_exits, exits);
	control_close(&next);
	assert_int_equal(driver.nr_exits, exits + 1);
}

static void a_command_without_memory_keeps_nothing(void **state)
{
	struct control control;

	(void)state;
	open_control(&control);
	driver.answers = false;
	assert_int_equal(control_start(&control, ABI_DEL_DEV, &(struct control_args){ .id = 7 }),
			 0);
	assert_int_equal(driver.cmd.addr, 0);
	assert_int_equal(control_wait(&control, 0), -ETIMEDOUT);
	control_close(&control);
	assert_null(shared.left);
	assert_false(shared.is_open);
}

static void a_device_is_asked_for_by_its_node(void **state)
{
	struct abi_dev_info info;
	struct control control;
	const char *path;

	(void)state;
	open_control(&control);
	answer_with(0, 0x11);
	assert_int_equal(control_dev_info(&control, 63, &info), 0);
	path = (const char *)(uintptr_t)driver.cmd.addr;
	assert_string_equal(path, "/dev/ublkc63");
	assert_true(driver.cmd.dev_path_len > strlen(path));
	assert_int_equal(driver.cmd.len, driver.cmd.dev_path_len + sizeof(info));
	assert_int_equal(driver.cmd_op, ABI_IOCTL_R(ABI_GET_DEV_INFO2));
	assert_int_equal(info.dev_id, 0x11111111);
	/* What does not know of that is asked in the old way. */
	answer_with(-EOPNOTSUPP, 0);
	assert_int_equal(control_dev_info(&control, 63, &info), -EOPNOTSUPP);
	assert_int_equal(driver.cmd_op, ABI_IOCTL_R(ABI_GET_DEV_INFO));
	assert_int_equal(driver.cmd.dev_path_len, 0);
	control_close(&control);
}

/* ------------------------------------------------------------------------------ one ring */

static void controls_share_one_ring_which_goes_with_the_last(void **state)
{
	unsigned int inits = driver.nr_inits, exits = driver.nr_exits;
	struct control a, b, c;

	(void)state;
	open_control(&a);
	open_control(&b);
	control_close(&a);
	open_control(&c);
	control_close(&b);
	assert_int_equal(driver.nr_exits, exits);
	control_close(&c);
	assert_int_equal(driver.nr_inits, inits + 1);
	assert_int_equal(driver.nr_exits, exits + 1);
	open_control(&a);
	control_close(&a);
	assert_int_equal(driver.nr_inits, inits + 2);
}

/* A command of device @id, on a thread of its own. */
struct waiter {
	struct control control;
	pthread_t thread;
	int id, result;
	unsigned int timeout_ms;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	w->result = control_start(&w->control, ABI_DEL_DEV, &(struct control_args){ .id = w->id });
	if (!w->result)
		w->result = control_wait(&w->control, w->timeout_ms);
	return NULL;
}

static void waiter_start(struct waiter *w, int id, unsigned int timeout_ms)
{
	w->id = id;
	w->timeout_ms = timeout_ms;
	open_control(&w->control);
	pthread_mutex_lock(&driver.lock);
	driver.held_id = 7;
	pthread_mutex_unlock(&driver.lock);
	pthread_create(&w->thread, NULL, waiter_main, w);
}

/* Until a thread waits in the kernel. */
static void wait_for_reaping(void)
{
	pthread_mutex_lock(&driver.lock);
	while (!driver.nr_waiting)
		pthread_cond_wait(&driver.changed, &driver.lock);
	pthread_mutex_unlock(&driver.lock);
}

static void one_waits_while_others_are_answered(void **state)
{
	struct control_args args = { .id = 8 };
	struct control control;
	struct waiter w;

	(void)state;
	open_control(&control);
	waiter_start(&w, 7, CONTROL_TIMEOUT_MS);
	wait_for_reaping();
	for (int i = 0; i < 100; i++)
		assert_int_equal(control_cmd(&control, ABI_STOP_DEV, &args), 0);
	answer_with(3, 0);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.result, 3);
	control_close(&w.control);
	control_close(&control);
}

static void *answerer_main(void *arg)
{
	struct waiter *w = arg;

	pthread_join(w->thread, NULL);
	answer_with(0, 0);
	return NULL;
}

/* Who has waited in the kernel for all gives up, and the answer comes after that. */
static void whoever_waits_longer_takes_over(void **state)
{
	struct control control;
	pthread_t answerer;
	struct waiter w;

	(void)state;
	open_control(&control);
	waiter_start(&w, 7, 100);
	wait_for_reaping();
	assert_int_equal(control_start(&control, ABI_DEL_DEV, &(struct control_args){ .id = 7 }),
			 0);
	assert_int_equal(control_wait(&control, 1), -ETIMEDOUT);
	pthread_create(&answerer, NULL, answerer_main, &w);
	assert_int_equal(control_wait(&control, CONTROL_TIMEOUT_MS), 0);
	pthread_join(answerer, NULL);
	assert_int_equal(w.result, -ETIMEDOUT);
	assert_int_equal(control_wait(&w.control, 0), 0);
	control_close(&w.control);
	control_close(&control);
}

/* Else commands that wait for ever would take all that may be under way at once. */
static void a_wait_that_nobody_waits_for_is_interrupted(void **state)
{
	struct control control, other;
	unsigned int cancels = driver.nr_cancels, exits = driver.nr_exits;

	(void)state;
	open_control(&other);
	open_control(&control);
	driver.answers = false;
	assert_int_equal(control_start(&control, ABI_DEL_DEV, &(struct control_args){ .id = 7 }),
			 0);
	control_close(&control);
	assert_int_equal(driver.nr_cancels, cancels + 1);
	assert_int_equal(driver.nr_exits, exits);
	answer_with(0, 0);
	assert_int_equal(control_cmd(&other, ABI_STOP_DEV, &(struct control_args){ .id = 8 }), 0);
	assert_null(shared.left);
	control_close(&other);
}

static void what_could_not_be_submitted_is_not_carried_out_later(void **state)
{
	struct control_args args = { .id = 7 };
	struct control control;
	unsigned int nops = driver.nr_nops;

	(void)state;
	open_control(&control);
	driver.refuses = true;
	/* More than the ring has room for. */
	for (int i = 0; i < 6; i++)
		assert_int_equal(control_cmd(&control, ABI_DEL_DEV, &args), -EAGAIN);
	driver.refuses = false;
	answer_with(0, 0);
	assert_int_equal(control_cmd(&control, ABI_STOP_DEV, &(struct control_args){ .id = 8 }), 0);
	assert_int_equal(driver.cmd.dev_id, 8);
	assert_int_equal(driver.nr_nops, nops + 4);
	control_close(&control);
}

/* 0, or the line where the child finds what is not so. */
static int in_forked_child(struct control *control)
{
	struct control mine;

	if (control_cmd(control, ABI_STOP_DEV, &(struct control_args){ .id = 8 }) != -ECHILD)
		return 1;
	if (shared.is_open || control_open(&mine, false, &quiet))
		return 2;
	control_close(control);
	if (control_cmd(&mine, ABI_STOP_DEV, &(struct control_args){ .id = 8 }))
		return 3;
	control_close(&mine);
	return shared.is_open ? 4 : 0;
}

static void a_forked_child_has_a_ring_of_its_own(void **state)
{
	struct control control;
	int status;
	pid_t pid;

	(void)state;
	open_control(&control);
	pid = fork();
	if (pid == 0)
		_exit(in_forked_child(&control));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(control_cmd(&control, ABI_STOP_DEV, &(struct control_args){ .id = 8 }), 0);
	control_close(&control);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_reaches_the_caller),
		cmocka_unit_test(a_late_answer_does_not_touch_the_callers_memory),
		cmocka_unit_test(memory_that_the_kernel_may_still_write_outlives_the_control),
		cmocka_unit_test(a_command_without_memory_keeps_nothing),
		cmocka_unit_test(a_device_is_asked_for_by_its_node),
		cmocka_unit_test(controls_share_one_ring_which_goes_with_the_last),
		cmocka_unit_test(one_waits_while_others_are_answered),
		cmocka_unit_test(whoever_waits_longer_takes_over),
		cmocka_unit_test(a_wait_that_nobody_waits_for_is_interrupted),
		cmocka_unit_test(what_could_not_be_submitted_is_not_carried_out_later),
		cmocka_unit_test(a_forked_child_has_a_ring_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
