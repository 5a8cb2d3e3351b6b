// SPDX-License-Identifier: MIT
/* tsan */
/* What any thread may do against close and free, with threads held up at the worst places. */
#include "tests/unit/lib/fake_ublk.h"

#include "lib/device.c"
#include "lib/queue.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KEPT_MAX 16
#define LEN      4096u

/* A backend that keeps what it is given while `keeping`, and answers else. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct ublk_req *kept[KEPT_MAX];
	unsigned int nr;
	_Atomic bool keeping, parking;
	_Atomic unsigned int resumed, drained;
} keeper = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static char said[2048];
static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;

static void catch_message(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx, (void)level;
	pthread_mutex_lock(&said_lock);
	snprintf(said, sizeof(said), "%s", message);
	pthread_mutex_unlock(&said_lock);
}

static void keep(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	if (atomic_load(&keeper.parking)) {
		ublk_req_park(req, UINT64_MAX);
	} else if (!atomic_load(&keeper.keeping)) {
		ublk_req_complete(req, 0);
	} else {
		pthread_mutex_lock(&keeper.lock);
		keeper.kept[keeper.nr++] = req;
		pthread_cond_broadcast(&keeper.more);
		pthread_mutex_unlock(&keeper.lock);
	}
}

static void resume(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	atomic_fetch_add(&keeper.resumed, 1);
	ublk_req_complete(req, 0);
}

static const struct ublk_backend backend = {
	.name = "keeper",
	.submit = keep,
	.resume = resume,
	.submit_ops = (1u << UBLK_NR_OPS) - 1,
	.pdu_bytes = 64,
};

static struct ublk_req *wait_kept(unsigned int nr)
{
	pthread_mutex_lock(&keeper.lock);
	while (keeper.nr < nr)
		pthread_cond_wait(&keeper.more, &keeper.lock);
	pthread_mutex_unlock(&keeper.lock);
	return keeper.kept[nr - 1];
}

static struct ublk_options usual(void)
{
	struct ublk_options o;

	ublk_options_init(&o);
	o.size_bytes = 1 << 20;
	o.queue_depth = 4;
	o.max_io_bytes = 64 << 10;
	o.close_timeout_ms = 0;
	o.log = catch_message;
	return o;
}

static struct ublk_dev *open_dev(const struct ublk_options *o)
{
	struct ublk_dev *dev = NULL;

	fake_init();
	keeper.nr = 0;
	atomic_store(&keeper.keeping, true);
	atomic_store(&keeper.parking, false);
	atomic_store(&keeper.resumed, 0);
	said[0] = '\0';
	assert_int_equal(ublk_dev_open(&backend, NULL, o, &dev), 0);
	return dev;
}

static void assert_said(const char *words)
{
	pthread_mutex_lock(&said_lock);
	if (!strstr(said, words))
		fail_msg("\"%s\" does not say \"%s\"", said, words);
	pthread_mutex_unlock(&said_lock);
}

/* ------------------------------------------------------------------------------ completing */

static void *complete_main(void *req)
{
	fake_may_hold = true;
	ublk_req_complete(req, 0);
	return NULL;
}

/* Held up at @where, while the request ends and the device is closed and freed. */
static void check_held_up_completer(const char *where)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);
	struct fake_io *io = fake_submit_io(0, ABI_OP_WRITE, 8, LEN);
	struct ublk_req *req = wait_kept(1);
	int wake_fd = fake.rings[0].wake_fd;
	pthread_t thread;

	fake_hold(where);
	pthread_create(&thread, NULL, complete_main, req);
	fake_held();
	/* Any other reason for the queue to wake. */
	ublk_dev_kick(dev);
	assert_int_equal(fake_result(io), 0);
	assert_null(ublk_dev_free(dev));
	/* What it is about to write to is its own still, and nobody else's. */
	assert_true(fcntl(wake_fd, F_GETFD) >= 0);
	fake_go();
	pthread_join(thread, NULL);
	assert_true(fcntl(wake_fd, F_GETFD) < 0);
}

static void a_completer_held_up_after_its_request_is_done_outlives_the_device(void **state)
{
	(void)state;
	check_held_up_completer("pushed");
	check_held_up_completer("kick");
}

static void *free_main(void *dev)
{
	assert_null(ublk_dev_free(dev));
	return NULL;
}

static void free_waits_for_a_completer_that_has_taken_its_request(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);
	struct fake_io *io = fake_submit_io(0, ABI_OP_WRITE, 8, LEN);
	struct ublk_req *req = wait_kept(1);
	pthread_t thread, freer;

	(void)state;
	fake_hold("taken");
	pthread_create(&thread, NULL, complete_main, req);
	fake_held();
	pthread_create(&freer, NULL, free_main, dev);
	while (!atomic_load(&dev->shared->cut))
		sched_yield();
	assert_false(fake_has_ended(io));
	fake_go();
	pthread_join(thread, NULL);
	pthread_join(freer, NULL);
	assert_int_equal(fake_result(io), 0);
}

static void a_completer_that_comes_too_late_finds_its_memory(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);
	struct fake_io *io = fake_submit_io(0, ABI_OP_WRITE, 8, LEN);
	struct ublk_req *req = wait_kept(1);
	pthread_t thread;

	(void)state;
	fake_hold("entered");
	pthread_create(&thread, NULL, complete_main, req);
	fake_held();
	assert_null(ublk_dev_free(dev));
	assert_int_equal(fake_result(io), -EIO);
	fake_go();
	pthread_join(thread, NULL);
}

/* ------------------------------------------------------------------------------ keeping */

static void what_is_kept_stays_the_backends_after_free(void **state)
{
	unsigned char data[LEN];
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	struct fake_io *ios[3];

	(void)state;
	o.nr_queues = sysconf(_SC_NPROCESSORS_CONF) > 1 ? 2 : 1;
	dev = open_dev(&o);
	for (unsigned int i = 0; i < 3; i++) {
		ios[i] = fake_submit_io(i % o.nr_queues, ABI_OP_WRITE, 8 * (i + 1), LEN);
		wait_kept(i + 1);
	}
	assert_null(ublk_dev_free(dev));
	assert_said("backend \"keeper\" has not finished");
	for (unsigned int i = 0; i < 3; i++) {
		struct ublk_req *req = keeper.kept[i];

		assert_int_equal(fake_result(ios[i]), -EIO);
		assert_int_equal(req->sector, 8 * (i + 1));
		assert_int_equal(req->len_bytes, LEN);
		memset(req->pdu, 1, 64);
		assert_int_equal(ublk_req_get(req, 0, data, LEN), 0);
		assert_int_equal(data[LEN - 1], 8 * (i + 1));
		assert_int_equal(ublk_req_put(req, 0, data, LEN), 0);
		ublk_req_complete(req, i ? 0 : -ENOSPC);
	}
	/* What is left now is found by the leak checker. */
}

static void a_kept_request_of_user_copy_writes_to_no_foreign_file(void **state)
{
	unsigned char data[LEN] = { 0 };
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	struct fake_io *io;
	int cdev_fd, victim, fd;

	(void)state;
	o.data_path = UBLK_DATA_USER_COPY;
	dev = open_dev(&o);
	io = fake_submit_io(0, ABI_OP_READ, 8, LEN);
	wait_kept(1);
	cdev_fd = dev->shared->cdev_fd;
	assert_null(ublk_dev_free(dev));
	assert_int_equal(fake_result(io), -EIO);
	/* The next files that are opened do not get its number. */
	victim = memfd_create("victim", MFD_CLOEXEC);
	for (fd = victim; fd < cdev_fd; fd = fcntl(victim, F_DUPFD_CLOEXEC, 0))
		;
	assert_int_not_equal(fd, cdev_fd);
	assert_int_equal(ublk_req_put(keeper.kept[0], 0, data, LEN), -EIO);
	assert_int_equal(lseek(victim, 0, SEEK_END), 0);
	ublk_req_complete(keeper.kept[0], 0);
	assert_true(fcntl(cdev_fd, F_GETFD) < 0);
	close_range((unsigned int)victim, ~0u, 0);
}

static void what_waits_for_a_kept_tag_fails_without_touching_it(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;
	struct fake_io *ios[4];

	(void)state;
	o.queue_depth = 1;
	dev = open_dev(&o);
	for (unsigned int i = 0; i < 4; i++)
		ios[i] = fake_submit_io(0, ABI_OP_WRITE, 8 + i, LEN);
	wait_kept(1);
	assert_null(ublk_dev_free(dev));
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(fake_result(ios[i]), -EIO);
	assert_int_equal(keeper.nr, 1);
	assert_int_equal(keeper.kept[0]->sector, 8);
	assert_int_equal(((unsigned char *)ublk_req_data(keeper.kept[0]))[0], 8);
	ublk_req_complete(keeper.kept[0], 0);
}

/* ------------------------------------------------------------------------------ closing */

/* The queue has looked round since. */
static void wait_for_batches(struct ublk_dev *dev, uint64_t nr)
{
	struct ublk_queue_stats qs;
	uint64_t before;

	ublk_dev_queue_stats(dev, 0, &qs);
	before = qs.batches;
	while (qs.batches < before + nr) {
		ublk_dev_kick(dev);
		ublk_dev_queue_stats(dev, 0, &qs);
	}
}

static void a_refused_stop_lets_nothing_go(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);
	struct ublk_queue_stats qs = { 0 };
	struct fake_io *io;

	(void)state;
	/* Open out of sight, by somebody who waits for a request that is parked for ever. */
	fake.openers = 1;
	atomic_store(&keeper.parking, true);
	io = fake_submit_io(0, ABI_OP_WRITE, 8, LEN);
	while (!qs.parked_now)
		assert_int_equal(ublk_dev_queue_stats(dev, 0, &qs), 0);
	while (!qs.in_flight)
		ublk_dev_queue_stats(dev, 0, &qs);
	for (int safe = 0; safe < 2; safe++) {
		dev->info.flags = safe ? ABI_F_SAFE_STOP_DEV : 0;
		assert_int_equal(ublk_dev_close(dev), -EBUSY);
		assert_said("has unfinished requests (1)");
		wait_for_batches(dev, 2);
		assert_int_equal(keeper.resumed, 0);
		assert_false(fake_has_ended(io));
	}
	assert_null(ublk_dev_free(dev));
	assert_int_equal(keeper.resumed, 1);
	assert_int_equal(fake_result(io), 0);
}

static void a_stop_that_the_kernel_refuses_says_so_and_serves_on(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);

	(void)state;
	fake.openers = 1;
	atomic_store(&keeper.keeping, false);
	assert_int_equal(ublk_dev_close(dev), -EBUSY);
	assert_said("the kernel reports that /dev/ublkb990001 is open");
	assert_int_equal(fake_result(fake_submit_io(0, ABI_OP_READ, 8, LEN)), 0);
	fake.openers = 0;
	assert_int_equal(ublk_dev_close(dev), 0);
	assert_null(ublk_dev_free(dev));
}

/* That reads all of /proc; the kernel knows better whether the disk is held. */
static void who_holds_a_disk_is_looked_for_only_to_be_named(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;

	(void)state;
	dev = open_dev(&o);
	assert_int_equal(ublk_dev_close(dev), 0);
	assert_null(ublk_dev_free(dev));
	assert_int_equal(fake.nr_looks, 0);
	o.close_timeout_ms = 10 * HOLD_POLL_MS;
	dev = open_dev(&o);
	fake.openers = 1;
	fake.seen = true;
	assert_int_equal(ublk_dev_close(dev), -EBUSY);
	assert_said("is held open by reader (pid 7)");
	assert_int_equal(fake.nr_looks, 1);
	assert_null(ublk_dev_free(dev));
	assert_int_equal(fake.nr_looks, 1);
}

static void where_the_kernel_cannot_tell_it_is_looked_for_before_each_try(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);

	(void)state;
	dev->info.flags &= ~ABI_F_SAFE_STOP_DEV;
	fake.seen = true;
	assert_int_equal(ublk_dev_close(dev), -EBUSY);
	assert_said("is held open by reader (pid 7)");
	assert_int_equal(fake.nr_looks, 1);
	assert_false(fake.stopping);
	fake.seen = false;
	assert_int_equal(ublk_dev_close(dev), 0);
	assert_int_equal(fake.nr_looks, 2);
	assert_null(ublk_dev_free(dev));
}

static void a_try_to_close_does_not_wait_for_whoever_holds_it(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev;

	(void)state;
	o.close_timeout_ms = 600000;
	dev = open_dev(&o);
	fake.openers = 1;
	atomic_store(&keeper.keeping, false);
	assert_int_equal(ublk_dev_try_close(dev), -EBUSY);
	assert_int_equal(fake_result(fake_submit_io(0, ABI_OP_READ, 8, LEN)), 0);
	fake.openers = 0;
	assert_int_equal(ublk_dev_try_close(dev), 0);
	assert_int_equal(ublk_dev_try_close(dev), 0);
	assert_null(ublk_dev_free(dev));
}

static _Atomic bool closers_go;

static void *close_main(void *dev)
{
	while (!atomic_load(&closers_go))
		;
	return (void *)(intptr_t)ublk_dev_close(dev);
}

static void what_lies_where_a_node_belongs_ends_the_start_before_anything_serves(void **state)
{
	const mode_t types[] = { S_IFBLK, S_IFCHR };
	struct ublk_options o = usual();
	struct ublk_dev *dev = NULL;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		fake_init();
		fake.in_the_way = types[i];
		said[0] = '\0';
		assert_int_equal(ublk_dev_open(&backend, NULL, &o, &dev), -EEXIST);
		assert_null(dev);
		assert_said(types[i] == S_IFBLK ? "/dev/ublkb" : "/dev/ublkc");
		assert_said("is in the way");
		assert_int_equal(fake.nr_rings, 0);
	}
}

static void closing_from_eight_threads_closes_once(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);
	pthread_t threads[8];
	void *err;

	(void)state;
	atomic_store(&closers_go, false);
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, close_main, dev);
	atomic_store(&closers_go, true);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], &err);
		assert_null(err);
	}
	assert_null(ublk_dev_free(dev));
}

static _Atomic(struct ublk_dev *) own_dev;
static _Atomic int own_close = 1;

static void close_in_batch(void *ctx, unsigned int queue, uint64_t now_ns)
{
	struct ublk_dev *dev = atomic_load(&own_dev);

	(void)ctx, (void)queue, (void)now_ns;
	if (dev && atomic_load(&own_close) == 1 && ublk_dev_free(dev) == dev)
		atomic_store(&own_close, ublk_dev_close(dev));
}

static void a_queue_thread_cannot_close_its_own_device(void **state)
{
	static const struct ublk_backend suicide = { .name = "suicide",
						     .submit = keep,
						     .resume = resume,
						     .submit_ops = 1,
						     .batch = close_in_batch };
	struct ublk_options o = usual();
	struct ublk_dev *dev;

	(void)state;
	fake_init();
	assert_int_equal(ublk_dev_open(&suicide, NULL, &o, &dev), 0);
	atomic_store(&own_dev, dev);
	while (atomic_load(&own_close) == 1)
		ublk_dev_kick(dev);
	assert_int_equal(atomic_load(&own_close), -EDEADLK);
	atomic_store(&own_dev, NULL);
	assert_null(ublk_dev_free(dev));
}

/* ------------------------------------------------------------------------------ kicking */

static void *kick_main(void *dev)
{
	fake_may_hold = true;
	ublk_dev_kick(dev);
	return NULL;
}

static void free_waits_for_a_kick_under_way(void **state)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = open_dev(&o);
	int wake_fd = fake.rings[0].wake_fd;
	pthread_t kicker, freer;

	(void)state;
	fake_hold("kick");
	pthread_create(&kicker, NULL, kick_main, dev);
	fake_held();
	assert_int_equal(ublk_dev_close(dev), 0);
	assert_true(fcntl(wake_fd, F_GETFD) >= 0);
	pthread_create(&freer, NULL, free_main, dev);
	/* Long enough for a free that does not wait to be over. */
	for (int i = 0; i < 50; i++) {
		assert_int_equal(pthread_tryjoin_np(freer, NULL), EBUSY);
		usleep(2000);
	}
	fake_go();
	pthread_join(kicker, NULL);
	pthread_join(freer, NULL);
	assert_true(fcntl(wake_fd, F_GETFD) < 0);
}

static _Atomic bool over;

static void *caller_main(void *arg)
{
	struct ublk_dev *dev = arg;
	struct ublk_op_stats ops;
	struct ublk_queue_stats queue;

	while (!atomic_load(&over)) {
		ublk_dev_kick(dev);
		ublk_dev_op_stats(dev, -1, UBLK_OP_WRITE, &ops);
		ublk_dev_queue_stats(dev, 0, &queue);
		ublk_dev_errno_count(dev, EIO);
	}
	return NULL;
}

static void *completer_main(void *arg)
{
	(void)arg;
	for (;;) {
		struct ublk_req *req = NULL;

		pthread_mutex_lock(&keeper.lock);
		if (keeper.nr)
			req = keeper.kept[--keeper.nr];
		pthread_mutex_unlock(&keeper.lock);
		if (req)
			ublk_req_complete(req, 0);
		else if (atomic_load(&over))
			return NULL;
		else
			sched_yield();
	}
}

static void calls_of_any_thread_race_with_close(void **state)
{
	struct ublk_options o = usual();
	pthread_t threads[4];

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct ublk_dev *dev = open_dev(&o);
		struct fake_io *ios[12];

		atomic_store(&over, false);
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, i < 2 ? caller_main : completer_main,
				       dev);
		for (int i = 0; i < 12; i++)
			ios[i] = fake_submit_io(0, ABI_OP_WRITE, 8, LEN);
		for (int i = 0; i < 12; i++)
			assert_int_equal(fake_result(ios[i]), 0);
		while (ublk_dev_close(dev))
			;
		atomic_store(&over, true);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		assert_null(ublk_dev_free(dev));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_completer_held_up_after_its_request_is_done_outlives_the_device),
		cmocka_unit_test(free_waits_for_a_completer_that_has_taken_its_request),
		cmocka_unit_test(a_completer_that_comes_too_late_finds_its_memory),
		cmocka_unit_test(what_is_kept_stays_the_backends_after_free),
		cmocka_unit_test(a_kept_request_of_user_copy_writes_to_no_foreign_file),
		cmocka_unit_test(what_waits_for_a_kept_tag_fails_without_touching_it),
		cmocka_unit_test(a_refused_stop_lets_nothing_go),
		cmocka_unit_test(a_stop_that_the_kernel_refuses_says_so_and_serves_on),
		cmocka_unit_test(
			what_lies_where_a_node_belongs_ends_the_start_before_anything_serves),
		cmocka_unit_test(who_holds_a_disk_is_looked_for_only_to_be_named),
		cmocka_unit_test(where_the_kernel_cannot_tell_it_is_looked_for_before_each_try),
		cmocka_unit_test(a_try_to_close_does_not_wait_for_whoever_holds_it),
		cmocka_unit_test(closing_from_eight_threads_closes_once),
		cmocka_unit_test(a_queue_thread_cannot_close_its_own_device),
		cmocka_unit_test(free_waits_for_a_kick_under_way),
		cmocka_unit_test(calls_of_any_thread_race_with_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
