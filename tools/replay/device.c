// SPDX-License-Identifier: MIT
/*
 *	parent: serves the disk			child: uses it
 *	reads the recording, puts rules in	opens /dev/ublkbN with O_DIRECT
 *	force, says what is expected  --order--> one system call for each request
 *	compares		     <--answer-- its result
 *
 * A process must not use a ublk disk that it serves itself, hence two. The queue that sees the
 * expected request takes its recorded decisions; whatever else arrives (the kernel's look at the
 * partition table, udev) is carried out without rules. A held request would hold the child, and
 * everything after it: it is let go as soon as it is held, if it was released in the recording.
 */
#include "tools/replay/device.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "tools/cli/tool.h"
#include "tools/disk/apart.h"
#include "tools/disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define LOOK_MS    20                  /* how often a held request is looked for */
#define OPEN_NS    (5 * NSEC_PER_SEC)  /* for the node of the disk to appear */
#define STUCK_NS   (60 * NSEC_PER_SEC) /* past its delays, a request is given up */
#define DATA_ALIGN 4096

struct order {
	uint64_t number, sector;
	uint32_t len_bytes, flags;
	uint16_t disk;
	uint8_t op;
	bool has_data;
	const unsigned char *data; /* of a write, in the recording; NULL: zeroes */
	char path[64];             /* not empty: open this */
	bool read_only;
};

/* How a request that waited ended. */
struct ending {
	uint64_t arrival;
	int result;
	bool released, refused;
};

struct device_waiting {
	struct rule_set *set;
	uint64_t epoch;
	struct device_waiting *next;
};

struct device_replay;

/* One of the disks. */
struct device_part {
	struct device_replay *replay;
	const struct record_disk *is;
	uint16_t index;
	bool asked; /* its first request has come */
	struct disk *disk;
	struct event_reader *events;
	struct replay_rules rules;
	struct device_waiting *waiting;
};

struct device_replay {
	const struct replay_options *options;
	struct replay_result *result;
	struct diag *diag;
	bool has_data;
	struct device_part parts[RECORD_DISKS_MAX];
	uint16_t nr_parts;
	void *endings; /* tree */
	int child_fd;
	pid_t child;
	/* What the queues are to look out for. */
	pthread_mutex_t lock;
	bool expecting, taken;
	struct order order;
	struct decision *decisions;
	size_t nr_decisions;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* ------------------------------------------------------------------------------ the child */

static int open_disk(const struct order *order)
{
	const struct timespec pause = { .tv_nsec = 10 * NSEC_PER_MSEC };
	uint64_t until_ns = clock_now_ns() + OPEN_NS;
	int fd;

	do {
		fd = open(order->path,
			  (order->read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		nanosleep(&pause, NULL);
	} while (clock_now_ns() < until_ns);
	return -errno;
}

static int write_data(int fd, const struct order *order, void *data)
{
	struct iovec iov = { data, order->len_bytes };
	off_t at = (off_t)(order->sector << SECTOR_SHIFT);

	if (!order->has_data)
		replay_pattern(order->number, (uint64_t)at, data, order->len_bytes);
	else if (order->data)
		memcpy(data, order->data, order->len_bytes);
	else
		memset(data, 0, order->len_bytes);
	return (int)pwritev2(fd, &iov, 1, at, order->flags & IO_FUA ? RWF_DSYNC : 0);
}

/* At least 0, or -1 with errno. */
static int do_request(int fd, const struct order *order, void *data)
{
	uint64_t range[] = { order->sector << SECTOR_SHIFT, order->len_bytes };
	int how = order->flags & IO_NOUNMAP ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;

	switch ((enum io_op)order->op) {
	case IO_READ:
		return (int)pread(fd, data, order->len_bytes, (off_t)range[0]);
	case IO_WRITE:
		return write_data(fd, order, data);
	case IO_FLUSH:
		return fsync(fd);
	case IO_DISCARD:
		return ioctl(fd, BLKDISCARD, range);
	case IO_ZEROES:
		return fallocate(fd, how | FALLOC_FL_KEEP_SIZE, (off_t)range[0], (off_t)range[1]);
	case IO_NR_OPS:
		break;
	}
	errno = EINVAL;
	return -1;
}

static _Noreturn void run_child(int socket, uint32_t max_io_bytes)
{
	int fds[RECORD_DISKS_MAX], answer;
	struct order order;
	void *data;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The terminal's signals are the parent's business. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	if (posix_memalign(&data, DATA_ALIGN, max_io_bytes))
		_exit(1);
	while (recv(socket, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
		if (order.path[0])
			answer = fds[order.disk] = open_disk(&order);
		else if (do_request(fds[order.disk], &order, data) < 0)
			answer = -errno;
		else
			answer = 0;
		if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

static int start_child(struct device_replay *replay)
{
	uint32_t max_io_bytes = 0;
	int sockets[2];
	pid_t pid;

	for (uint16_t i = 0; i < replay->nr_parts; i++)
		if (replay->parts[i].is->max_io_bytes > max_io_bytes)
			max_io_bytes = replay->parts[i].is->max_io_bytes;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(sockets[0]);
		run_child(sockets[1], max_io_bytes);
	}
	close(sockets[1]);
	if (pid < 0) {
		close(sockets[0]);
		return -errno;
	}
	replay->child = pid;
	replay->child_fd = sockets[0];
	return 0;
}

/* ------------------------------------------------------------------------------ queue threads */

static bool is_expected(const struct device_part *part, const struct io *io)
{
	const struct device_replay *replay = part->replay;
	const struct order *order = &replay->order;

	return replay->expecting && !replay->taken && order->disk == part->index &&
	       io->op == order->op &&
	       (io->op == IO_FLUSH ||
		(io->sector == order->sector && io->len_bytes == order->len_bytes));
}

static bool decide(void *ctx, const struct io *io, const struct decision **ret_decisions,
		   size_t *ret_nr)
{
	const struct device_part *part = ctx;
	struct device_replay *replay = part->replay;
	bool ours;

	pthread_mutex_lock(&replay->lock);
	ours = is_expected(part, io);
	if (ours) {
		replay->taken = true;
		*ret_decisions = replay->decisions;
		*ret_nr = replay->nr_decisions;
	}
	pthread_mutex_unlock(&replay->lock);
	return ours;
}

/* ------------------------------------------------------------------------------ endings */

static int by_arrival(const void *a, const void *b)
{
	const struct ending *left = a, *right = b;

	return (left->arrival > right->arrival) - (left->arrival < right->arrival);
}

static int add_ending(struct device_replay *replay, const struct record *record)
{
	struct ending *ending = malloc(sizeof(*ending));
	struct ending **at = NULL;

	if (ending) {
		*ending = (struct ending){ .arrival = record->arrival,
					   .result = record->result,
					   .refused = record->refused,
					   .released = record->released };
		at = tsearch(ending, &replay->endings, by_arrival);
	}
	if (!at || *at != ending)
		free(ending);
	return at ? 0 : -ENOMEM;
}

/* Whether and how a request that waits will end stands further on in the file. */
static int read_endings(struct device_replay *replay, const void *bytes, size_t size)
{
	struct record_reader *reader;
	struct record record;
	int err = record_reader_open(bytes, size, replay->diag, &reader), more;

	if (err)
		return err;
	while (!err && (more = record_reader_next(reader, &record)) != 0)
		err = more < 0 ? more : record.type == RECORD_END ? add_ending(replay, &record) : 0;
	record_reader_free(reader);
	return err;
}

static const struct ending *find_ending(struct device_replay *replay, uint64_t arrival)
{
	struct ending wanted = { .arrival = arrival };
	struct ending **at = tfind(&wanted, &replay->endings, by_arrival);

	return at ? *at : NULL;
}

/* ------------------------------------------------------------------------------ rules */

static int on_rules(struct device_part *part, const struct record *record)
{
	struct device_waiting *waiting = calloc(1, sizeof(*waiting)), **at = &part->waiting;
	struct device_replay *replay = part->replay;
	int err = waiting ? replay_rules_set(&part->rules, record, replay->diag, &waiting->set)
			  : -ENOMEM;

	if (err) {
		free(waiting);
		return err;
	}
	waiting->epoch = record->epoch;
	while (*at)
		at = &(*at)->next;
	*at = waiting;
	replay->result->nr_rule_sets++;
	return 0;
}

static int catch_up(struct device_part *part, uint64_t epoch)
{
	int err = 0;

	while (!err && part->waiting && part->waiting->epoch <= epoch) {
		struct device_waiting *waiting = part->waiting;

		err = disk_set_rules(part->disk, waiting->set, part->replay->diag);
		part->waiting = waiting->next;
		rule_set_free(waiting->set);
		free(waiting);
	}
	return err;
}

/* ------------------------------------------------------------------------------ requests */

static void expect(struct device_replay *replay, const struct order *order, size_t nr_decisions)
{
	pthread_mutex_lock(&replay->lock);
	replay->order = *order;
	replay->nr_decisions = nr_decisions;
	replay->expecting = true;
	replay->taken = false;
	pthread_mutex_unlock(&replay->lock);
}

/* True if the request came by. */
static bool expect_no_more(struct device_replay *replay)
{
	bool taken;

	pthread_mutex_lock(&replay->lock);
	replay->expecting = false;
	taken = replay->taken;
	pthread_mutex_unlock(&replay->lock);
	return taken;
}

static void let_go(struct device_replay *replay)
{
	for (uint16_t i = 0; i < replay->nr_parts; i++)
		if (pipeline_release(disk_pipeline(replay->parts[i].disk), NULL, 0, SIZE_MAX))
			disk_kick(replay->parts[i].disk);
}

/* The child's answer; held requests are let go meanwhile if @release. */
static int wait_answer(struct device_replay *replay, bool release, uint64_t patience_ns,
		       int *ret_answer)
{
	struct pollfd fd = { .fd = replay->child_fd, .events = POLLIN };
	uint64_t until_ns = clock_now_ns() + patience_ns;

	while (!interrupted && clock_now_ns() < until_ns) {
		int nr = poll(&fd, 1, LOOK_MS);

		if (nr < 0 && errno != EINTR)
			return -errno;
		if (nr > 0)
			return recv(fd.fd, ret_answer, sizeof(*ret_answer), 0) ==
					       (ssize_t)sizeof(*ret_answer)
				       ? 0
				       : diag_set(replay->diag, -ECHILD, "replay.child",
						  "the process that uses the disk ended");
		if (release)
			let_go(replay);
	}
	if (interrupted)
		return diag_set(replay->diag, -EINTR, "replay.interrupted", "ended by a signal");
	return diag_set(replay->diag, -ETIMEDOUT, "replay.stuck",
			"a request did not end within %llu s",
			(unsigned long long)(patience_ns / NSEC_PER_SEC));
}

static int send_order(struct device_replay *replay, const struct order *order)
{
	return send(replay->child_fd, order, sizeof(*order), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void differ(struct device_replay *replay, const struct order *order, const char *what,
		   const char *recorded, const char *got)
{
	bool several = replay->nr_parts > 1;
	char name[REPLAY_NAME_MAX];

	if (replay->result->differs)
		return;
	replay->result->differs = true;
	diag_set(&replay->result->difference, 0, "replay.differs",
		 "%s%s%s%s: %s: recorded: %s; got: %s", several ? "disk " : "",
		 several ? replay->parts[order->disk].is->name : "", several ? ": " : "",
		 replay_name(order->number, order->op, order->sector, order->len_bytes, name), what,
		 recorded, got);
}

static void report_events(struct device_part *part)
{
	struct device_replay *replay = part->replay;
	uint64_t lost = 0;
	struct event event;

	while (event_reader_next(part->events, &event, &lost)) {
		replay->result->nr_hits++;
		if (replay->options->event)
			replay->options->event(replay->options->ctx, part->is, &event);
	}
	replay->result->nr_hits += lost;
}

static uint64_t sum_delays(const struct record *record)
{
	uint64_t sum_ns = STUCK_NS;

	for (uint32_t i = 0; i < record->nr_hits; i++)
		sum_ns += record->hits[i].delay_ns;
	return sum_ns;
}

static int on_request(struct device_part *part, const struct record *record)
{
	struct device_replay *replay = part->replay;
	const struct ending *ending = record->parked ? find_ending(replay, record->step) : NULL;
	const struct order order = {
		.number = ++replay->result->nr_requests,
		.sector = record->sector,
		.len_bytes = record->len_bytes,
		.flags = record->flags,
		.disk = part->index,
		.op = record->op,
		.has_data = replay->has_data && !record->no_data,
		.data = record->data,
	};
	int recorded = ending ? ending->result : record->result, answer = 0;
	int err = replay_decisions(&part->rules, record, replay->decisions, replay->diag);

	if (err)
		return err;
	/* As in faults/engine/replay.c: a limit of the recorded disk is told by what failed for it. */
	store_limit(disk_store(part->disk), recorded == -ENOSPC ? 0 : UINT64_MAX);
	store_refuse(disk_store(part->disk), ending ? ending->refused : record->refused);
	expect(replay, &order, record->nr_hits);
	err = send_order(replay, &order);
	if (!err)
		err = wait_answer(replay, !ending || ending->released, sum_delays(record), &answer);
	if (!expect_no_more(replay) && !err)
		differ(replay, &order, "course", "it reached the disk", "it did not");
	report_events(part);
	if (record->parked && !ending)
		replay->result->nr_unfinished++;
	else if (!err && (recorded < 0 ? recorded : 0) != answer)
		differ(replay, &order, "result", replay_result_name(recorded),
		       replay_result_name(answer));
	return err;
}

static int on_record(struct device_part *part, const struct record *record)
{
	struct device_replay *replay = part->replay;
	uint64_t lost;
	uint32_t was;
	int err;

	switch (record->type) {
	case RECORD_REQUEST:
		part->asked = true;
		return on_request(part, record);
	case RECORD_RULES:
		return on_rules(part, record);
	case RECORD_ADOPT:
		return catch_up(part, record->epoch);
	case RECORD_REVIVE:
		return disk_revive(part->disk, replay->diag, &was, &lost);
	case RECORD_TELL:
		err = catch_up(part, UINT64_MAX);
		return err ? err : replay_tell(&part->rules, record, replay->diag);
	case RECORD_BASE:
		/* Later it is what was left after a power cut, which happens here, too. */
		if (!part->asked)
			replay_base(disk_store(part->disk), record);
		return 0;
	case RECORD_END:
	case RECORD_BATCH:
	case RECORD_MARK:
	case RECORD_CLOSE:
		break;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ the disk */

static void log_device(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx;
	if (level <= UBLK_LOG_WARNING)
		tool_msg("%s", message);
}

static void fill_options(struct device_part *part, struct disk_options *options)
{
	const struct record_disk *is = part->is;
	struct ublk_options *ublk = &options->ublk;

	ublk_options_init(ublk);
	ublk->size_bytes = is->size_bytes;
	ublk->nr_queues = is->nr_queues;
	ublk->queue_depth = is->depth;
	ublk->logical_block = is->block_bytes;
	ublk->physical_block = is->physical_bytes;
	if (ublk->discard_granularity < ublk->logical_block)
		ublk->discard_granularity = ublk->logical_block;
	ublk->max_io_bytes = is->max_io_bytes;
	ublk->read_only = is->flags & RECORD_READ_ONLY;
	ublk->rotational = is->flags & RECORD_ROTATIONAL;
	ublk->volatile_cache = !(is->flags & RECORD_NO_FLUSH);
	ublk->fua = !(is->flags & RECORD_NO_FUA);
	ublk->data_path = is->flags & RECORD_USER_COPY ? UBLK_DATA_USER_COPY : UBLK_DATA_COPY;
	ublk->log = log_device;
	options->seed = is->seed;
	options->cache = is->flags & RECORD_CACHE;
	options->decide = decide;
	options->decide_ctx = part;
}

/* What the child submits must reach the disk in one piece. */
static int forbid_merges(int id, struct diag *diag)
{
	_cleanup_fclose_ FILE *file = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/queue/nomerges", id);
	file = fopen(path, "we");
	if (file && fputs("2", file) >= 0 && fflush(file) == 0)
		return 0;
	return diag_set(diag, -EIO, "replay.nomerges", "cannot write %s: %s", path,
			strerror(errno));
}

static int open_both(struct device_part *part)
{
	struct device_replay *replay = part->replay;
	struct disk_options options = { .name = NULL };
	struct order order = { .disk = part->index,
			       .read_only = part->is->flags & RECORD_READ_ONLY };
	int answer = 0, err;

	fill_options(part, &options);
	err = disk_open(&options, replay->diag, &part->disk);
	if (err)
		return err;
	err = forbid_merges(ublk_dev_id(disk_dev(part->disk)), replay->diag);
	if (!err)
		err = event_reader_create(pipeline_events(disk_pipeline(part->disk)), 0,
					  &part->events);
	if (err)
		return err;
	snprintf(order.path, sizeof(order.path), "%s", ublk_dev_path(disk_dev(part->disk)));
	err = send_order(replay, &order);
	if (!err)
		err = wait_answer(replay, false, 2 * OPEN_NS, &answer);
	if (!err && answer < 0)
		return diag_set(replay->diag, answer, "replay.open", "cannot open %s: %s",
				order.path, strerror(-answer));
	return err;
}

static void destroy_part(struct device_part *part)
{
	event_reader_free(part->events);
	if (part->disk)
		disk_close(part->disk, NULL);
	disk_free(part->disk);
	while (part->waiting) {
		struct device_waiting *waiting = part->waiting;

		part->waiting = waiting->next;
		rule_set_free(waiting->set);
		free(waiting);
	}
	replay_rules_free(&part->rules);
}

static void destroy(struct device_replay *replay)
{
	/* Without its socket the child ends; what it waits for ends with the disks. */
	if (replay->child_fd >= 0)
		close(replay->child_fd);
	for (uint16_t i = 0; i < replay->nr_parts; i++)
		destroy_part(&replay->parts[i]);
	if (replay->child > 0)
		waitpid(replay->child, NULL, 0);
	apart_end();
	tdestroy(replay->endings, free);
	free(replay->decisions);
	pthread_mutex_destroy(&replay->lock);
	free(replay);
}

static void catch_signals(void)
{
	const struct sigaction action = { .sa_handler = on_signal };
	sigset_t set;

	tool_end_signals(&set);
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&set, i) == 1)
			sigaction(i, &action, NULL);
}

static int finish(struct device_replay *replay)
{
	const struct replay_options *options = replay->options;
	int err = 0;

	for (uint16_t i = 0; i < replay->nr_parts && options->image && !err; i++)
		err = options->image(options->ctx, replay->parts[i].is,
				     disk_store(replay->parts[i].disk));
	return err;
}

static int play(struct device_replay *replay, struct record_reader *reader, const void *bytes,
		size_t size)
{
	struct record record;
	int err = read_endings(replay, bytes, size), more;

	if (!err && !(replay->decisions = calloc(RULE_SET_MAX, sizeof(*replay->decisions))))
		err = -ENOMEM;
	if (!err)
		err = start_child(replay);
	/* It serves, and the child does not. */
	if (!err)
		apart_enter();
	catch_signals();
	for (uint16_t i = 0; i < replay->nr_parts && !err; i++)
		err = open_both(&replay->parts[i]);
	while (!err && !replay->result->differs &&
	       (more = record_reader_next(reader, &record)) != 0) {
		if (replay->options->progress)
			replay->options->progress(replay->options->ctx, record_reader_read(reader));
		if (more < 0)
			err = more;
		else if (record.disk != RECORD_NOBODY)
			err = on_record(&replay->parts[record.disk], &record);
		else
			replay->result->nr_marks += record.type == RECORD_MARK;
	}
	return err ? err : finish(replay);
}

static struct device_replay *new_replay(const struct record_reader *reader,
					const struct replay_options *options,
					struct replay_result *result, struct diag *diag)
{
	struct device_replay *replay = calloc(1, sizeof(*replay));

	if (!replay)
		return NULL;
	replay->options = options;
	replay->result = result;
	replay->diag = diag;
	replay->has_data = record_reader_header(reader)->flags & RECORD_DATA;
	replay->child_fd = -1;
	pthread_mutex_init(&replay->lock, NULL);
	replay->nr_parts = record_reader_nr_disks(reader);
	for (uint16_t i = 0; i < replay->nr_parts; i++)
		replay->parts[i] = (struct device_part){ .replay = replay,
							 .is = record_reader_disk(reader, i),
							 .index = i };
	return replay;
}

int replay_device(const void *bytes, size_t size, const struct replay_options *options,
		  struct diag *diag, struct replay_result *ret_result, int *ret_end)
{
	struct replay_result result = { 0 };
	struct record_reader *reader;
	struct device_replay *replay;
	int err = record_reader_open(bytes, size, diag, &reader);

	if (err)
		return err;
	replay = new_replay(reader, options, &result, diag);
	err = replay ? play(replay, reader, bytes, size) : -ENOMEM;
	if (replay)
		destroy(replay);
	if (err && !diag->message[0])
		diag_set(diag, err, "replay.failed", "the recording cannot be replayed: %s",
			 strerror(-err));
	if (!err)
		*ret_end = record_reader_end(reader, diag);
	record_reader_free(reader);
	*ret_result = result;
	return err;
}
