// SPDX-License-Identifier: MIT
/*
 *	oldest -> a -> b -> c = youngest -> the store
 *
 * b's page is in layer b, else in c, else in the store. When b goes, what it has and a has not is
 * a's: of the two layers the smaller is poured into the larger. A restore goes through the layers
 * from the snapshot's own to the youngest, oldest first, and writes back each page that no earlier
 * one had; the youngest gets a copy first, as before any other change, so that the younger
 * snapshots stay what they are.
 */
#include "faults/disk/snapshot.h"

#include "base/failpoint.h"
#include "faults/disk/shadow.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u /* of the store's marks: what is a hole is one for all of a page */

struct snapshot {
	struct snapshot *older, *younger;
	struct shadow *layer;
	uint64_t time_ns;
	unsigned int nr_pins;
	bool own; /* it has no name for anybody else */
	char name[SNAPSHOT_NAME_MAX + 1];
};

struct snapshots {
	struct store *store;
	struct snapshot *oldest, *youngest;
	size_t nr, nr_own;
	/* The chain changes, or is read by a thread that is not stopped for that. */
	pthread_mutex_t lock;
};

int snapshots_create(struct store *store, struct snapshots **ret_snapshots)
{
	struct snapshots *snapshots =
		fail_alloc("faults/disk/snapshot/alloc", calloc(1, sizeof(*snapshots)));

	if (!snapshots)
		return -ENOMEM;
	snapshots->store = store;
	pthread_mutex_init(&snapshots->lock, NULL);
	*ret_snapshots = snapshots;
	return 0;
}

static void free_snapshot(struct snapshot *snapshot)
{
	shadow_free(snapshot->layer);
	free(snapshot);
}

struct snapshots *snapshots_free(struct snapshots *snapshots)
{
	struct snapshot *next;

	if (!snapshots)
		return NULL;
	for (struct snapshot *s = snapshots->oldest; s; s = next) {
		next = s->younger;
		free_snapshot(s);
	}
	pthread_mutex_destroy(&snapshots->lock);
	free(snapshots);
	return NULL;
}

void snapshots_lock(struct snapshots *snapshots)
{
	pthread_mutex_lock(&snapshots->lock);
}

void snapshots_unlock(struct snapshots *snapshots)
{
	pthread_mutex_unlock(&snapshots->lock);
}

void snapshots_before(struct snapshots *snapshots, uint64_t at, uint64_t len)
{
	if (snapshots->youngest)
		shadow_save(snapshots->youngest->layer, snapshots->store, at, len, false, NULL);
}

bool snapshots_any(const struct snapshots *snapshots)
{
	return snapshots->youngest;
}

struct snapshot *snapshots_find(struct snapshots *snapshots, const char *name)
{
	struct snapshot *s = snapshots->oldest;

	while (s && (s->own || strcmp(s->name, name) != 0))
		s = s->younger;
	return s;
}

static uint64_t layer_end(const struct store *store)
{
	return (store_size(store) + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

int snapshots_add(struct snapshots *snapshots, const char *name, uint64_t time_ns,
		  struct snapshot **ret_snapshot)
{
	struct snapshot *snapshot;
	int err;

	assert(!name || strlen(name) <= SNAPSHOT_NAME_MAX);
	if (name && snapshots_find(snapshots, name))
		return -EEXIST;
	if (name && snapshots->nr - snapshots->nr_own >= SNAPSHOT_MAX)
		return -ENOSPC;
	snapshot = fail_alloc("faults/disk/snapshot/one", calloc(1, sizeof(*snapshot)));
	if (!snapshot)
		return -ENOMEM;
	snapshot->time_ns = time_ns;
	snapshot->own = !name;
	if (name)
		memcpy(snapshot->name, name, strlen(name));
	err = shadow_create(0, layer_end(snapshots->store), PAGE, &snapshot->layer);
	if (err) {
		free(snapshot);
		return err;
	}
	snapshots_lock(snapshots);
	snapshot->older = snapshots->youngest;
	*(snapshots->youngest ? &snapshots->youngest->younger : &snapshots->oldest) = snapshot;
	snapshots->youngest = snapshot;
	snapshots->nr++;
	snapshots->nr_own += snapshot->own;
	snapshots_unlock(snapshots);
	if (ret_snapshot)
		*ret_snapshot = snapshot;
	return 0;
}

/* ------------------------------------------------------------------------------ removing */

struct pour {
	struct shadow *from, *to;
	bool over; /* what @to has of the page is the younger content */
};

static void pour_page(void *ctx, uint64_t at, const unsigned char *page)
{
	struct pour *pour = ctx;

	if (pour->over || !shadow_block(pour->to, at))
		shadow_put(pour->to, at, shadow_is_hole(pour->from, at) ? NULL : page);
}

/* All that @older needs of its younger neighbour's layer. */
static void merge(struct snapshot *older, struct snapshot *younger)
{
	bool swap = shadow_bytes(older->layer) < shadow_bytes(younger->layer);
	struct pour pour = { .from = swap ? older->layer : younger->layer,
			     .to = swap ? younger->layer : older->layer,
			     .over = swap };

	shadow_each(pour.from, pour_page, &pour);
	older->layer = pour.to;
	younger->layer = pour.from;
}

void snapshots_pin(struct snapshot *snapshot)
{
	snapshot->nr_pins++;
}

void snapshots_unpin(struct snapshot *snapshot)
{
	assert(snapshot->nr_pins);
	snapshot->nr_pins--;
}

int snapshots_remove(struct snapshots *snapshots, struct snapshot *snapshot)
{
	struct snapshot *older = snapshot->older, *younger = snapshot->younger;

	if (snapshot->nr_pins)
		return -EBUSY;
	snapshots_lock(snapshots);
	if (older)
		merge(older, snapshot);
	*(older ? &older->younger : &snapshots->oldest) = younger;
	*(younger ? &younger->older : &snapshots->youngest) = older;
	snapshots->nr--;
	snapshots->nr_own -= snapshot->own;
	snapshots_unlock(snapshots);
	free_snapshot(snapshot);
	return 0;
}

/* ------------------------------------------------------------------------------ restoring */

struct restore {
	struct snapshots *snapshots;
	const struct snapshot *from; /* what is restored */
	const struct snapshot *layer;
	uint64_t hole_at, hole_len; /* to be punched */
	uint64_t bytes;
	int err;
};

static bool has_earlier(const struct restore *restore, uint64_t at)
{
	for (const struct snapshot *s = restore->from; s != restore->layer; s = s->younger)
		if (shadow_block(s->layer, at))
			return true;
	return false;
}

static uint64_t page_bytes(const struct store *store, uint64_t at)
{
	uint64_t left = store_size(store) - at;

	return left < PAGE ? left : PAGE;
}

static void flush_hole(struct restore *restore)
{
	int err = 0;

	if (restore->hole_len)
		err = store_punch(restore->snapshots->store, restore->hole_at, restore->hole_len);
	if (!restore->err)
		restore->err = err;
	restore->hole_len = 0;
}

static void restore_hole(struct restore *restore, uint64_t at, uint64_t len)
{
	struct store *store = restore->snapshots->store;
	bool marked;

	store_span(store, at, len, &marked);
	if (!marked)
		return;
	store_lock(store, at);
	snapshots_before(restore->snapshots, at, len);
	store_unlock(store, at);
	if (restore->hole_at + restore->hole_len != at)
		flush_hole(restore);
	if (!restore->hole_len)
		restore->hole_at = at;
	restore->hole_len += len;
	restore->bytes += len;
}

static void restore_page(void *ctx, uint64_t at, const unsigned char *page)
{
	struct restore *restore = ctx;
	struct store *store = restore->snapshots->store;
	uint64_t len = page_bytes(store, at);

	if (has_earlier(restore, at))
		return;
	if (shadow_is_hole(restore->layer->layer, at)) {
		restore_hole(restore, at, len);
		return;
	}
	store_lock(store, at);
	snapshots_before(restore->snapshots, at, len);
	store_mark(store, at, len);
	memcpy(store_data(store) + at, page, len);
	store_unlock(store, at);
	restore->bytes += len;
}

int snapshots_restore(struct snapshots *snapshots, struct snapshot *snapshot, uint64_t *ret_bytes)
{
	struct restore restore = { .snapshots = snapshots, .from = snapshot };

	snapshots_lock(snapshots);
	for (struct snapshot *s = snapshot; s; s = s->younger) {
		restore.layer = s;
		shadow_each(s->layer, restore_page, &restore);
		flush_hole(&restore);
	}
	snapshots_unlock(snapshots);
	if (ret_bytes)
		*ret_bytes = restore.bytes;
	return restore.err;
}

/* ------------------------------------------------------------------------------ looking */

size_t snapshots_list(const struct snapshots *snapshots, struct snapshot_info *info, size_t max)
{
	size_t nr = 0;

	for (const struct snapshot *s = snapshots->oldest; s; s = s->younger) {
		if (s->own)
			continue;
		if (nr < max) {
			info[nr] = (struct snapshot_info){ .time_ns = s->time_ns,
							   .bytes = shadow_bytes(s->layer) };
			memcpy(info[nr].name, s->name, sizeof(s->name));
		}
		nr++;
	}
	return nr;
}

uint64_t snapshots_bytes(const struct snapshots *snapshots)
{
	uint64_t bytes = 0;

	for (const struct snapshot *s = snapshots->oldest; s; s = s->younger)
		bytes += shadow_bytes(s->layer);
	return bytes;
}

/* The oldest layer, from the snapshot's own on, that has the page at @at. */
static const struct shadow *layer_of(const struct snapshot *snapshot, uint64_t at)
{
	while (snapshot && !shadow_block(snapshot->layer, at))
		snapshot = snapshot->younger;
	return snapshot ? snapshot->layer : NULL;
}

/* How many of the bytes from @at on, all in the store, are a hole there and in no layer. */
static uint64_t hole_in_store(const struct snapshot *snapshot, uint64_t at, uint64_t len)
{
	for (; snapshot && len; snapshot = snapshot->younger)
		len = shadow_next(snapshot->layer, at, at + len) - at;
	return len;
}

/* The page at @at, or what is left of it and of @len; @data NULL: only say whether it is a hole. */
static uint64_t read_page(const struct store *store, const struct snapshot *snapshot, uint64_t at,
			  uint64_t len, unsigned char *data, bool *ret_hole)
{
	const struct shadow *layer = layer_of(snapshot, at);
	uint64_t left = PAGE - at % PAGE;
	bool marked;

	len = len < left ? len : left;
	if (layer)
		marked = !shadow_is_hole(layer, at);
	else
		len = store_span(store, at, len, &marked);
	*ret_hole = !marked;
	if (data && marked)
		memcpy(data, layer ? shadow_block(layer, at) + at % PAGE : store_bytes(store) + at,
		       len);
	return len;
}

static uint64_t read_locked(const struct store *store, const struct snapshot *snapshot, uint64_t at,
			    uint64_t len, unsigned char *data, bool *ret_hole)
{
	uint64_t done, span;
	bool marked, hole;

	span = store_span(store, at, len, &marked);
	span = marked ? 0 : hole_in_store(snapshot, at, span);
	*ret_hole = span;
	if (span)
		return span;
	len = len < SNAPSHOT_READ_MAX ? len : SNAPSHOT_READ_MAX;
	done = read_page(store, snapshot, at, len, data, ret_hole);
	while (done < len) {
		span = read_page(store, snapshot, at + done, len - done, NULL, &hole);
		if (hole != *ret_hole)
			break;
		if (!hole)
			read_page(store, snapshot, at + done, len - done, data + done, &hole);
		done += span;
	}
	return done;
}

uint64_t snapshots_read(struct snapshots *snapshots, const struct snapshot *snapshot, uint64_t at,
			uint64_t len, unsigned char *data, bool *ret_hole)
{
	struct store *store = snapshots->store;
	uint64_t nr;

	assert(at < store_size(store) && len && len <= store_size(store) - at);
	snapshots_lock(snapshots);
	store_lock_all(store);
	nr = read_locked(store, snapshot, at, len, data, ret_hole);
	store_unlock_all(store);
	snapshots_unlock(snapshots);
	return nr;
}
