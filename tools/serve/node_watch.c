// SPDX-License-Identifier: MIT
/*
 * Somebody who could write closes the node: udev is told at once. But the kernel tells of a close
 * before it has written back what was cached, and udev's rule looks at what has arrived here. So for
 * some seconds after a close udev is told again whenever something was written meanwhile, at times
 * that are further and further apart.
 */
#include "tools/serve/node_watch.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/disk/reread.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define GAP_FIRST_MS 100
#define GAP_MAX_MS   6400

struct node_watch {
	int fd; /* of the other two */
	int nodes, timer;
	unsigned int gap_ms;
	uint64_t nr_changes; /* when udev was told last */
};

static uint64_t count_changes(const struct ublk_dev *dev)
{
	static const enum ublk_op ops[] = { UBLK_OP_WRITE, UBLK_OP_DISCARD, UBLK_OP_WRITE_ZEROES };
	uint64_t nr = 0;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct ublk_op_stats stats = { 0 };

		if (!ublk_dev_op_stats(dev, -1, ops[i], &stats))
			nr += stats.ops;
	}
	return nr;
}

static void tell(struct node_watch *watch, const struct ublk_dev *dev)
{
	watch->nr_changes = count_changes(dev);
	reread_tell_udev(ublk_dev_id(dev));
}

static void look_later(struct node_watch *watch)
{
	const struct itimerspec then = {
		.it_value = { .tv_sec = watch->gap_ms / 1000,
			      .tv_nsec = (long)(watch->gap_ms % 1000 * NSEC_PER_MSEC) },
	};

	timerfd_settime(watch->timer, 0, &then, NULL);
}

static int add(struct node_watch *watch, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return fd < 0 ? -1 : epoll_ctl(watch->fd, EPOLL_CTL_ADD, fd, &event);
}

struct node_watch *node_watch_new(const struct ublk_dev *dev)
{
	struct node_watch *watch;

	if (access(UDEV_CONTROL, F_OK) < 0)
		return NULL;
	watch = fail_alloc("tools/serve/node_watch/new", calloc(1, sizeof(*watch)));
	if (!watch)
		return NULL;
	watch->fd = epoll_create1(EPOLL_CLOEXEC);
	watch->nodes = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	watch->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	tell(watch, dev);
	if (watch->fd < 0 || add(watch, watch->nodes) || add(watch, watch->timer) ||
	    inotify_add_watch(watch->nodes, ublk_dev_path(dev), IN_CLOSE_WRITE) < 0)
		return node_watch_free(watch);
	return watch;
}

struct node_watch *node_watch_free(struct node_watch *watch)
{
	if (!watch)
		return NULL;
	if (watch->timer >= 0)
		close(watch->timer);
	if (watch->nodes >= 0)
		close(watch->nodes);
	if (watch->fd >= 0)
		close(watch->fd);
	free(watch);
	return NULL;
}

int node_watch_fd(const struct node_watch *watch)
{
	return watch ? watch->fd : -1;
}

static bool has_closed(struct node_watch *watch)
{
	char bytes[1024] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool closed = false;
	ssize_t len;

	while ((len = read(watch->nodes, bytes, sizeof(bytes))) > 0) {
		const struct inotify_event *event;

		for (ssize_t at = 0; at < len; at += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const void *)(bytes + at);
			closed |= (event->mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW)) != 0;
		}
	}
	return closed;
}

void node_watch_turn(struct node_watch *watch, const struct ublk_dev *dev)
{
	uint64_t nr;
	bool due = read(watch->timer, &nr, sizeof(nr)) > 0;

	if (has_closed(watch)) {
		tell(watch, dev);
		watch->gap_ms = GAP_FIRST_MS;
		look_later(watch);
		return;
	}
	if (!due)
		return;
	if (count_changes(dev) != watch->nr_changes)
		tell(watch, dev);
	watch->gap_ms *= 2;
	if (watch->gap_ms <= GAP_MAX_MS)
		look_later(watch);
}
