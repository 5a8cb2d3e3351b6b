// SPDX-License-Identifier: MIT
/*
 *	queue thread: encode ---> ring ---.
 *	queue thread: encode ---> ring ----+--> writer thread --> blocks --> file
 *	control thread: encode ----------------------------------^  (under file_lock)
 *
 * A record is put into its ring in full before the ring's head moves on, so whatever the writer
 * finds between tail and head is whole records. The writer sleeps between rounds and is woken when
 * a ring is half full; a queue makes no system call but for that, and when it has to wait.
 *
 * The writer is marked as one that serves a disk (PR_SET_IO_FLUSHER): a queue may wait for it, and
 * so it must not wait for the disk's own dirty pages.
 */
#include "faults/recorder.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/hist.h"
#include "faults/kind.h"
#include "faults/rule_ast.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#define RING_BYTES (512u << 10)
#define NAP_NS     (20 * NSEC_PER_MSEC)
#define WAIT_NS    (100 * NSEC_PER_USEC)
#define CACHE_LINE 64

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

struct ring {
	/* The queue's. */
	_Alignas(CACHE_LINE) _Atomic uint64_t head; /* bytes ever put in */
	uint64_t room_end;                          /* up to here there is known to be room */
	struct record_stream stream;
	unsigned char *bytes;
	unsigned char *hits, *hits_end; /* of the request at hand, encoded */
	uint32_t nr_hits;
	_Atomic uint64_t nr_requests, nr_waits;
	bool hurried; /* the writer was woken for what is in it now */
	/* The writer's. */
	_Alignas(CACHE_LINE) _Atomic uint64_t tail; /* bytes ever taken out */
};

struct recorder {
	_Alignas(CACHE_LINE) _Atomic uint64_t step; /* drawn last */
	_Alignas(CACHE_LINE) _Atomic int error;     /* not 0: it is over */
	uint32_t ring_bytes;
	uint16_t nr_queues;
	_Atomic bool stop;
	sem_t wake;
	pthread_t writer;
	char *path;
	void (*failed)(void *ctx, const char *message);
	void *ctx;
	/* Control thread. */
	struct record_stream stream;
	uint32_t nr_rules; /* numbers given */
	/* Whoever writes. */
	pthread_mutex_t file_lock;
	int fd;
	_Atomic uint64_t file_bytes;
	struct ring rings[];
};

static bool is_over(const struct recorder *recorder)
{
	return atomic_load_explicit(&recorder->error, memory_order_relaxed) != 0;
}

static uint64_t draw_step(struct recorder *recorder)
{
	return atomic_fetch_add_explicit(&recorder->step, 1, memory_order_relaxed) + 1;
}

/* ------------------------------------------------------------------------------ the file */

/* Its lock is held. */
static void give_up(struct recorder *recorder, int err)
{
	uint64_t good = atomic_load(&recorder->file_bytes);
	char message[512];

	snprintf(message, sizeof(message),
		 "recording to %s ended after %llu bytes: %s; what is there can be replayed, and "
		 "the disk serves on without",
		 recorder->path, (unsigned long long)good, strerror(-err));
	/* A part of a block would count as damage. */
	if (ftruncate(recorder->fd, (off_t)good) < 0)
		good = 0;
	atomic_store(&recorder->error, err);
	if (recorder->failed)
		recorder->failed(recorder->ctx, message);
}

/* All of it, or -errno. */
static int write_all(int fd, struct iovec *iov, int nr)
{
	while (nr) {
		ssize_t done = writev(fd, iov, nr);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		for (; nr && (size_t)done >= iov->iov_len; iov++, nr--)
			done -= (ssize_t)iov->iov_len;
		if (nr) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* One block whose payload is @a and then @b. */
static void write_block(struct recorder *recorder, uint16_t stream, void *a, size_t a_len, void *b,
			size_t b_len)
{
	unsigned char head[RECORD_BLOCK_BYTES];
	struct iovec iov[] = { { head, sizeof(head) }, { a, a_len }, { b, b_len } };
	int err;

	record_put_block(head, stream, a, a_len, b, b_len);
	pthread_mutex_lock(&recorder->file_lock);
	if (!is_over(recorder)) {
		err = write_all(recorder->fd, iov, b_len ? 3 : 2);
		if (err)
			give_up(recorder, err);
		else
			atomic_fetch_add(&recorder->file_bytes, sizeof(head) + a_len + b_len);
	}
	pthread_mutex_unlock(&recorder->file_lock);
}

/* ------------------------------------------------------------------------------ the writer */

static void drain(struct recorder *recorder, uint16_t queue)
{
	struct ring *ring = &recorder->rings[queue];
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
	uint32_t at = (uint32_t)tail & (recorder->ring_bytes - 1);
	size_t len = head - tail, first = recorder->ring_bytes - at;

	if (!len)
		return;
	if (first > len)
		first = len;
	write_block(recorder, queue, ring->bytes + at, first, ring->bytes, len - first);
	atomic_store_explicit(&ring->tail, head, memory_order_release);
}

static void nap(struct recorder *recorder)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)NAP_NS;
	if (until.tv_nsec >= (long)NSEC_PER_SEC) {
		until.tv_nsec -= (long)NSEC_PER_SEC;
		until.tv_sec++;
	}
	while (sem_timedwait(&recorder->wake, &until) < 0 && errno == EINTR)
		;
}

static void *run_writer(void *arg)
{
	struct recorder *recorder = arg;
	bool last;

	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	pthread_setname_np(pthread_self(), "recorder");
	do {
		last = atomic_load(&recorder->stop);
		for (uint16_t i = 0; i < recorder->nr_queues; i++)
			drain(recorder, i);
		if (!last)
			nap(recorder);
	} while (!last);
	return NULL;
}

/* No signal is this thread's; SIGXFSZ would otherwise end the process where EFBIG would do. */
static int start_writer(struct recorder *recorder)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&recorder->writer, NULL, run_writer, recorder);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

/* ------------------------------------------------------------------------------ the rings */

/* Returns false when the recording ended meanwhile. */
_cold_ static bool wait_for_room(struct recorder *recorder, struct ring *ring, uint64_t wanted_end)
{
	const struct timespec pause = { .tv_nsec = (long)WAIT_NS };

	atomic_fetch_add_explicit(&ring->nr_waits, 1, memory_order_relaxed);
	sem_post(&recorder->wake);
	for (;;) {
		ring->room_end = atomic_load_explicit(&ring->tail, memory_order_acquire) +
				 recorder->ring_bytes;
		if (wanted_end <= ring->room_end)
			return true;
		if (is_over(recorder))
			return false;
		nanosleep(&pause, NULL);
	}
}

static void copy_in(const struct recorder *recorder, struct ring *ring, uint64_t head,
		    const unsigned char *bytes, size_t len)
{
	uint32_t at = (uint32_t)head & (recorder->ring_bytes - 1);
	size_t first = recorder->ring_bytes - at;

	if (first > len)
		first = len;
	memcpy(ring->bytes + at, bytes, first);
	memcpy(ring->bytes, bytes + first, len - first);
}

/* Half of the ring waits: have it taken out before it is full. */
static void hurry(struct recorder *recorder, struct ring *ring, uint64_t head)
{
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	bool half = head - tail > recorder->ring_bytes / 2;

	if (half && !ring->hurried)
		sem_post(&recorder->wake);
	ring->hurried = half;
}

/* One record: @bytes, then the hits at hand. */
static void put(struct recorder *recorder, struct ring *ring, const unsigned char *bytes,
		size_t len)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	size_t hits_len = (size_t)(ring->hits_end - ring->hits);
	uint64_t end = head + len + hits_len;

	if (end > ring->room_end && !wait_for_room(recorder, ring, end))
		return;
	copy_in(recorder, ring, head, bytes, len);
	if (hits_len)
		copy_in(recorder, ring, head + len, ring->hits, hits_len);
	atomic_store_explicit(&ring->head, end, memory_order_release);
	/* A look every 64 KiB or so will do. */
	if ((head ^ end) >> 16)
		hurry(recorder, ring, end);
}

/* ------------------------------------------------------------------------------ queue threads */

void recorder_arrive(struct recorder *recorder, struct io *io)
{
	struct ring *ring = &recorder->rings[io->queue];

	ring->hits_end = ring->hits;
	ring->nr_hits = 0;
	io->step = is_over(recorder) ? 0 : draw_step(recorder);
}

void recorder_hit(struct recorder *recorder, const struct io *io, const struct record_hit *hit)
{
	struct ring *ring = &recorder->rings[io->queue];

	if (!io->step)
		return;
	ring->hits_end = record_put_hit(ring->hits_end, hit);
	ring->nr_hits++;
}

void recorder_walked(struct recorder *recorder, const struct io *io, uint64_t now_ns, bool parked)
{
	struct ring *ring = &recorder->rings[io->queue];
	unsigned char bytes[RECORD_REQUEST_MAX];
	const struct record record = {
		.type = RECORD_REQUEST,
		.step = io->step,
		.time_ns = now_ns,
		.op = io->op,
		.parked = parked,
		.flags = io->flags,
		.len_bytes = io->len_bytes,
		.sector = io->sector,
		.nr_hits = ring->nr_hits,
		.result = parked ? 0 : io->result,
	};

	if (!io->step)
		return;
	relaxed_add(&ring->nr_requests, 1);
	put(recorder, ring, bytes, (size_t)(record_put(bytes, &ring->stream, &record) - bytes));
}

void recorder_end(struct recorder *recorder, const struct io *io, uint64_t now_ns, bool released)
{
	struct ring *ring = &recorder->rings[io->queue];
	unsigned char bytes[RECORD_REQUEST_MAX];
	struct record record = {
		.type = RECORD_END,
		.time_ns = now_ns,
		.op = io->op,
		.len_bytes = io->len_bytes,
		.arrival = io->step,
		.released = released,
		.result = io->result,
	};

	if (!io->step || is_over(recorder))
		return;
	record.step = draw_step(recorder);
	ring->hits_end = ring->hits;
	put(recorder, ring, bytes, (size_t)(record_put(bytes, &ring->stream, &record) - bytes));
}

_cold_ void recorder_adopt(struct recorder *recorder, uint16_t queue, uint64_t epoch)
{
	struct ring *ring = &recorder->rings[queue];
	unsigned char bytes[RECORD_REQUEST_MAX];
	struct record record = { .type = RECORD_ADOPT, .epoch = epoch };

	if (is_over(recorder))
		return;
	record.step = draw_step(recorder);
	ring->hits_end = ring->hits;
	put(recorder, ring, bytes, (size_t)(record_put(bytes, &ring->stream, &record) - bytes));
}

/* ------------------------------------------------------------------------------ control thread */

/* The step is drawn here. */
_cold_ static void put_control(struct recorder *recorder, struct record *record)
{
	_cleanup_free_ unsigned char *bytes = NULL;
	size_t len;
	int err;

	record->step = draw_step(recorder);
	err = record_put_control(&recorder->stream, record, &bytes, &len);
	if (!err) {
		write_block(recorder, recorder->nr_queues, bytes, len, NULL, 0);
		return;
	}
	pthread_mutex_lock(&recorder->file_lock);
	if (!is_over(recorder))
		give_up(recorder, err);
	pthread_mutex_unlock(&recorder->file_lock);
}

static void free_texts(struct record_rule *rules, uint32_t nr)
{
	for (uint32_t i = 0; rules && i < nr; i++)
		free((char *)rules[i].text);
	free(rules);
}

/* False without memory. */
static bool describe_rule(struct recorder *recorder, struct rule *rule, struct record_rule *said)
{
	*said = (struct record_rule){ .fresh = !rule->number, .enabled = rule_enabled(rule) };
	if (said->fresh)
		rule->number = ++recorder->nr_rules;
	said->rule = rule->number;
	if (!said->fresh)
		return true;
	said->text = rule_print(rule);
	said->len = said->text ? strlen(said->text) : 0;
	return said->text;
}

_cold_ void recorder_rules(struct recorder *recorder, const struct rule_set *set, uint64_t epoch,
			   uint64_t now_ns)
{
	uint32_t nr = (uint32_t)rule_set_count(set);
	struct record_rule *rules = calloc(nr + 1, sizeof(*rules));
	bool ok = rules;

	for (uint32_t i = 0; ok && i < nr; i++)
		ok = describe_rule(recorder, rule_set_at(set, i), &rules[i]);
	if (ok && !is_over(recorder))
		put_control(recorder, &(struct record){ .type = RECORD_RULES,
							.time_ns = now_ns,
							.epoch = epoch,
							.nr_rules = nr,
							.rules = rules });
	pthread_mutex_lock(&recorder->file_lock);
	if (!ok && !is_over(recorder))
		give_up(recorder, -ENOMEM);
	pthread_mutex_unlock(&recorder->file_lock);
	free_texts(rules, nr);
}

_cold_ void recorder_revive(struct recorder *recorder)
{
	if (!is_over(recorder))
		put_control(recorder, &(struct record){ .type = RECORD_REVIVE,
							.time_ns = recorder->stream.time_ns });
}

_cold_ void recorder_tell(struct recorder *recorder, const struct rule *rule,
			  const struct kind_tell *tell)
{
	struct record record = { .type = RECORD_TELL,
				 .time_ns = recorder->stream.time_ns,
				 .rule = rule->number,
				 .has_range = tell->has_range,
				 .from = tell->from,
				 .to = tell->to };

	/* A verb as long as that is none. */
	if (!rule->number || is_over(recorder) || strlen(tell->verb) > RECORD_VERB_MAX)
		return;
	snprintf(record.verb, sizeof(record.verb), "%s", tell->verb);
	put_control(recorder, &record);
}

/* ------------------------------------------------------------------------------ life */

static int create_rings(struct recorder *recorder, const struct record_header *header)
{
	for (uint16_t i = 0; i < recorder->nr_queues; i++) {
		struct ring *ring = &recorder->rings[i];

		ring->stream = record_stream_start(header);
		ring->room_end = recorder->ring_bytes;
		ring->bytes = fail_alloc("faults/recorder/ring", malloc(recorder->ring_bytes));
		ring->hits = malloc((size_t)RULE_SET_MAX * RECORD_HIT_MAX);
		if (!ring->bytes || !ring->hits)
			return -ENOMEM;
		ring->hits_end = ring->hits;
	}
	return 0;
}

static void free_recorder(struct recorder *recorder)
{
	for (uint16_t i = 0; i < recorder->nr_queues; i++) {
		free(recorder->rings[i].bytes);
		free(recorder->rings[i].hits);
	}
	if (recorder->fd >= 0)
		close(recorder->fd);
	sem_destroy(&recorder->wake);
	pthread_mutex_destroy(&recorder->file_lock);
	free(recorder->path);
	free(recorder);
}

static int create_file(struct recorder *recorder, const struct record_header *header,
		       struct diag *diag)
{
	unsigned char bytes[RECORD_HEADER_BYTES];
	struct iovec iov = { bytes, sizeof(bytes) };
	int err;

	recorder->fd = fail_errno(
		"faults/recorder/open", EMFILE,
		open(recorder->path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600));
	if (recorder->fd < 0) {
		err = -errno;
		diag_set(diag, err, "record.file", "cannot make the record file %s: %s",
			 recorder->path, strerror(-err));
		if (err == -EEXIST)
			diag_hint(diag, "remove it, or name another one");
		return err;
	}
	record_put_header(bytes, header);
	err = write_all(recorder->fd, &iov, 1);
	atomic_store(&recorder->file_bytes, sizeof(bytes));
	if (!err)
		return 0;
	unlink(recorder->path);
	return diag_set(diag, err, "record.file", "cannot write the record file %s: %s",
			recorder->path, strerror(-err));
}

_cold_ int recorder_create(const struct recorder_options *options, struct diag *diag,
			   struct recorder **ret_recorder)
{
	uint16_t nr_queues = options->header.nr_queues;
	size_t size = sizeof(struct recorder) + nr_queues * sizeof(struct ring);
	struct recorder *recorder =
		fail_alloc("faults/recorder/alloc", aligned_alloc(CACHE_LINE, size));
	int err;

	if (!recorder)
		return diag_set(diag, -ENOMEM, "record.memory", "no memory for the recorder");
	memset(recorder, 0, size);
	recorder->fd = -1;
	recorder->nr_queues = nr_queues;
	recorder->ring_bytes = options->ring_bytes ? options->ring_bytes : RING_BYTES;
	recorder->failed = options->failed;
	recorder->ctx = options->ctx;
	recorder->stream = record_stream_start(&options->header);
	recorder->path = strdup(options->path);
	sem_init(&recorder->wake, 0, 0);
	pthread_mutex_init(&recorder->file_lock, NULL);
	err = recorder->path ? create_rings(recorder, &options->header) : -ENOMEM;
	if (err)
		diag_set(diag, err, "record.memory", "no memory for the recorder");
	else
		err = create_file(recorder, &options->header, diag);
	if (!err) {
		err = start_writer(recorder);
		if (err) {
			diag_set(diag, err, "record.thread", "cannot start the recorder: %s",
				 strerror(-err));
			unlink(recorder->path);
		}
	}
	if (err)
		free_recorder(recorder);
	else
		*ret_recorder = recorder;
	return err;
}

_cold_ void recorder_status(const struct recorder *recorder, struct recorder_status *ret_status)
{
	*ret_status = (struct recorder_status){
		.file_bytes = atomic_load(&recorder->file_bytes),
		.error = atomic_load(&recorder->error),
	};
	for (uint16_t i = 0; i < recorder->nr_queues; i++) {
		ret_status->nr_requests +=
			atomic_load_explicit(&recorder->rings[i].nr_requests, memory_order_relaxed);
		ret_status->nr_waits +=
			atomic_load_explicit(&recorder->rings[i].nr_waits, memory_order_relaxed);
	}
}

_cold_ struct recorder *recorder_close(struct recorder *recorder,
				       struct recorder_status *ret_status)
{
	struct recorder_status status;

	if (!recorder)
		return NULL;
	atomic_store(&recorder->stop, true);
	sem_post(&recorder->wake);
	pthread_join(recorder->writer, NULL);
	recorder_status(recorder, &status);
	if (!is_over(recorder))
		put_control(recorder, &(struct record){ .type = RECORD_CLOSE,
							.time_ns = recorder->stream.time_ns,
							.nr_requests = status.nr_requests,
							.nr_waits = status.nr_waits });
	recorder_status(recorder, &status);
	if (ret_status)
		*ret_status = status;
	free_recorder(recorder);
	return NULL;
}
