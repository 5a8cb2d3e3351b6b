// SPDX-License-Identifier: MIT
/*
 *	thread: start ---- lock, submit ----> kernel
 *	thread: start ---- lock, submit ----> kernel
 *	thread: wait, the only one in the kernel <--- answers, to all of them
 *	thread: wait, on the condition <-------'
 *
 * Of the threads that wait one reaps: it waits in the kernel, without the lock, and gives each
 * command its answer. When it has its own, or no more time, another one takes its place. Nobody
 * else takes answers, so that nobody waits in the kernel for one that has been taken.
 *
 * Kernels before 6.13 or so answer from the thread that submitted: it does so from whatever system
 * call it sleeps in, and needs no wait in the ring.
 */
#include "control_ring.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* answers have come, or nobody reaps */
	struct io_uring ring;
	int fd;
	bool is_open; /* there are both */
	bool reaping;
	bool watches_forks;
	unsigned int nr_users, generation;
	struct control_command *left; /* under way, and nobody's */
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* ------------------------------------------------------------------------------ forking */

static void before_fork(void)
{
	pthread_mutex_lock(&shared.lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&shared.lock);
}

static void free_left(void)
{
	while (shared.left) {
		struct control_command *command = shared.left;

		shared.left = command->next;
		free(command);
	}
}

static void release(void)
{
	io_uring_queue_exit(&shared.ring);
	close(shared.fd);
	shared.is_open = false;
	free_left();
}

/* The ring is the parent's, and this thread, which holds the lock, the only one there is. */
static void in_child(void)
{
	if (shared.is_open)
		release();
	shared.nr_users = 0;
	shared.reaping = false;
	shared.generation++;
	pthread_cond_init(&shared.changed, NULL);
	pthread_mutex_unlock(&shared.lock);
}

/* Once for the process. The lock is held, which no fork takes before. */
static int watch_forks(void)
{
	int err = shared.watches_forks
			  ? 0
			  : -fail_value("lib/control_ring/atfork", ENOMEM,
					pthread_atfork(before_fork, after_fork, in_child));

	shared.watches_forks = !err;
	return err;
}

unsigned int control_ring_generation(void)
{
	unsigned int generation;

	pthread_mutex_lock(&shared.lock);
	generation = shared.generation;
	pthread_mutex_unlock(&shared.lock);
	return generation;
}

/* ------------------------------------------------------------------------------ answers */

static void forget_left(const struct control_command *command)
{
	struct control_command **at = &shared.left;

	while (*at && *at != command)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = command->next;
	free((void *)command);
}

/* Give out all answers that are there. The lock is held, and nobody reaps. */
static void take_answers(void)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&shared.ring, &cqe)) {
		struct control_command *command = (void *)(uintptr_t)cqe->user_data;
		int result = cqe->res;

		io_uring_cqe_seen(&shared.ring, cqe);
		if (!command)
			continue;
		command->result = result;
		command->under_way = false;
		forget_left(command);
	}
	pthread_cond_broadcast(&shared.changed);
}

/* Wait in the kernel for all that wait. The lock is held, but not meanwhile. */
static int reap(uint64_t deadline_ns)
{
	uint64_t now_ns = clock_now_ns(), left_ns = now_ns < deadline_ns ? deadline_ns - now_ns : 0;
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(left_ns / NSEC_PER_SEC),
		.tv_nsec = (int64_t)(left_ns % NSEC_PER_SEC),
	};
	struct io_uring_cqe *cqe;
	int err;

	shared.reaping = true;
	pthread_mutex_unlock(&shared.lock);
	err = io_uring_wait_cqe_timeout(&shared.ring, &cqe, &ts);
	pthread_mutex_lock(&shared.lock);
	shared.reaping = false;
	take_answers();
	return err == -EINTR ? 0 : err == -ETIME ? -ETIMEDOUT : err;
}

/* Wait for whoever reaps. The lock is held, but not meanwhile. */
static int wait_for_reaper(uint64_t deadline_ns)
{
	const struct timespec until = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};

	return -pthread_cond_clockwait(&shared.changed, &shared.lock, CLOCK_MONOTONIC, &until);
}

int control_ring_wait(struct control_command *command, uint64_t deadline_ns)
{
	int err = 0;

	pthread_mutex_lock(&shared.lock);
	while (command->under_way && !err)
		err = shared.reaping ? wait_for_reaper(deadline_ns) : reap(deadline_ns);
	if (!command->under_way)
		err = 0;
	pthread_mutex_unlock(&shared.lock);
	return err;
}

/* ------------------------------------------------------------------------------ commands */

static struct io_uring_sqe *next_sqe(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&shared.ring);

	/* Only what could not be submitted before is there still. */
	if (!sqe && io_uring_submit(&shared.ring) > 0)
		sqe = io_uring_get_sqe(&shared.ring);
	if (sqe)
		memset(sqe, 0, 2 * sizeof(*sqe));
	return sqe;
}

/* What the kernel does not take now goes with the next one, as nothing. */
static int submit(struct io_uring_sqe *sqe)
{
	int nr = io_uring_submit(&shared.ring);

	/* Taken up to this one? */
	if (nr >= 0 && !io_uring_sq_ready(&shared.ring))
		return 0;
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	return nr < 0 ? nr : -EAGAIN;
}

int control_ring_start(struct control_command *command, uint32_t cmd_op,
		       const struct abi_ctrl_cmd *cmd)
{
	struct io_uring_sqe *sqe;
	int err = -EAGAIN;

	pthread_mutex_lock(&shared.lock);
	sqe = next_sqe();
	if (sqe) {
		sqe->opcode = IORING_OP_URING_CMD;
		sqe->fd = shared.fd;
		sqe->cmd_op = cmd_op;
		sqe->user_data = (uint64_t)(uintptr_t)command;
		memcpy(sqe->cmd, cmd, sizeof(*cmd));
		command->under_way = true;
		err = submit(sqe);
		if (err)
			command->under_way = false;
	}
	pthread_mutex_unlock(&shared.lock);
	return err;
}

/* As the end of a ring of its own would do it: else those that wait for ever fill the ring. */
static void interrupt(const struct control_command *command)
{
	struct io_uring_sqe *sqe = next_sqe();

	if (!sqe)
		return;
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->addr = (uint64_t)(uintptr_t)command;
	submit(sqe);
}

/* ------------------------------------------------------------------------------ users */

static int open_ring(bool *ret_no_ring)
{
	int err = ring_init_control(&shared.ring);

	*ret_no_ring = err;
	if (err)
		return err;
	shared.fd =
		fail_errno("lib/control_ring/open", EMFILE, open(CONTROL_PATH, O_RDWR | O_CLOEXEC));
	if (shared.fd < 0) {
		err = -errno;
		io_uring_queue_exit(&shared.ring);
		return err;
	}
	shared.is_open = true;
	return 0;
}

/* A command that was left and has memory keeps the ring. */
static bool is_needed(void)
{
	for (const struct control_command *left = shared.left; left; left = left->next)
		if (left->uses_buf)
			return true;
	return shared.nr_users;
}

int control_ring_join(struct control_command **ret_command, bool *ret_no_ring)
{
	struct control_command *command =
		fail_alloc("lib/control_ring/command", calloc(1, sizeof(*command)));
	int err;

	*ret_no_ring = false;
	if (!command)
		return -ENOMEM;
	pthread_mutex_lock(&shared.lock);
	if (shared.is_open && !shared.reaping)
		take_answers();
	err = watch_forks();
	if (!err && !shared.is_open)
		err = open_ring(ret_no_ring);
	if (!err)
		shared.nr_users++;
	pthread_mutex_unlock(&shared.lock);
	if (err)
		free(command);
	else
		*ret_command = command;
	return err;
}

void control_ring_leave(struct control_command *command)
{
	bool left;

	pthread_mutex_lock(&shared.lock);
	shared.nr_users--;
	if (!shared.reaping)
		take_answers();
	left = command->under_way;
	if (!left) {
		free(command);
	} else {
		command->next = shared.left;
		shared.left = command;
	}
	if (!is_needed())
		release();
	else if (left)
		interrupt(command);
	pthread_mutex_unlock(&shared.lock);
}
