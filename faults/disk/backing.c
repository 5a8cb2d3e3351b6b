// SPDX-License-Identifier: MIT
#include "faults/disk/backing.h"

void backing_before(const struct backing *backing, uint64_t at, uint64_t len)
{
	if (backing->snapshots)
		snapshots_before(backing->snapshots, at, len);
	if (backing->cache)
		cache_before_change(backing->cache, at, len);
	backing_before_hole(backing, at, len);
}

void backing_before_hole(const struct backing *backing, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < backing->nr_watchers; i++) {
		const struct watcher *watcher = &backing->watchers[i];

		if (watcher->ops->before_change)
			watcher->ops->before_change(watcher->state, backing->store, at, len);
	}
}

void backing_after(const struct backing *backing, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < backing->nr_watchers; i++) {
		const struct watcher *watcher = &backing->watchers[i];

		if (watcher->ops->after_change)
			watcher->ops->after_change(watcher->state, at, len);
	}
}

void backing_changed(const struct backing *backing, uint64_t at, uint64_t len, bool durable)
{
	if (backing->cache && durable)
		cache_settle(backing->cache, at, len);
	else if (backing->cache)
		cache_after_change(backing->cache, at, len, false);
	backing_after(backing, at, len);
}
