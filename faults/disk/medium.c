// SPDX-License-Identifier: MIT
#include "faults/disk/medium.h"

void medium_before(const struct medium *medium, uint64_t at, uint64_t len)
{
	if (medium->snapshots)
		snapshots_before(medium->snapshots, at, len);
	if (medium->cache)
		cache_before_change(medium->cache, at, len);
	medium_before_hole(medium, at, len);
}

void medium_before_hole(const struct medium *medium, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < medium->nr_watchers; i++) {
		const struct watcher *watcher = &medium->watchers[i];

		if (watcher->ops->before_change)
			watcher->ops->before_change(watcher->state, medium->store, at, len);
	}
}

void medium_after(const struct medium *medium, uint64_t at, uint64_t len)
{
	for (uint32_t i = 0; i < medium->nr_watchers; i++) {
		const struct watcher *watcher = &medium->watchers[i];

		if (watcher->ops->after_change)
			watcher->ops->after_change(watcher->state, at, len);
	}
}

void medium_changed(const struct medium *medium, uint64_t at, uint64_t len, bool durable)
{
	if (medium->cache && durable)
		cache_settle(medium->cache, at, len);
	else if (medium->cache)
		cache_after_change(medium->cache, at, len, false);
	medium_after(medium, at, len);
}
