// SPDX-License-Identifier: MIT
/*
 * A tree of reads. What is read first is the same for all checks; what is read next depends on what
 * was found so far. A stretch is a chain of reads that all went the same way; at its end stands a
 * verdict, or a fork: one more read, of which several contents were seen.
 *
 *	[a=1 b=7 c=3] -> d? -- 5 --> [e=2] good
 *	                    \- 6 --> [f=0 g=4] bad
 *
 * Readers that run side by side read in no fixed order, so a new check is entered in the order of
 * the tree: what it read at the place that the tree asks about is looked up in its log. Where it
 * leaves the tree, what remains of its log is a new stretch. If what a check reads depends on
 * nothing but what it has read, then a check that agrees with the tree up to a place reads that
 * place; a log in which it is missing is no news, and is dropped.
 */
#include "faults/explore/check_memo.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#define SECTOR      512u
#define LOG_FIRST   1024u
#define FORKS_FIRST 2u

struct memo_stretch {
	struct check_read *reads;
	size_t nr;
	uint64_t place;     /* of the fork */
	uint64_t *contents; /* what was seen there */
	struct memo_stretch **next;
	size_t nr_forks, max_forks; /* nr 0: the end, with this verdict */
	int verdict;
	struct memo_stretch *older; /* all there are, to free them */
};

struct check_memo {
	pthread_rwlock_t lock;
	struct memo_stretch *root, *newest;
	uint64_t bytes, limit_bytes;
};

/* A page in a log. */
struct noted {
	struct page page;
	uint8_t sectors;
	uint32_t index[PAGE_SECTORS];
};

uint64_t check_hash(const unsigned char *data, size_t len)
{
	static const unsigned char zeroes[SECTOR];
	uint64_t hash = 0;

	for (size_t at = 0; at < len; at += SECTOR)
		hash = hash * 0x9e3779b97f4a7c15ull +
		       XXH3_64bits(data ? data + at : zeroes, SECTOR);
	return hash;
}

/* ------------------------------------------------------------------------------ a log */

void check_log_init(struct check_log *log)
{
	*log = (struct check_log){ .pages.entry_bytes = sizeof(struct noted) };
}

void check_log_free(struct check_log *log)
{
	pages_free(&log->pages);
	free(log->reads);
	check_log_init(log);
}

void check_log_clear(struct check_log *log)
{
	pages_clear(&log->pages);
	log->nr = 0;
	log->failed = false;
}

static int reserve(struct check_log *log)
{
	return array_room("faults/explore/check_memo/log", log->reads, log->max,
			  log->nr + PAGE_SECTORS, LOG_FIRST);
}

void check_log_note(struct check_log *log, uint16_t disk, uint64_t at, uint8_t sectors,
		    const unsigned char *data)
{
	uint64_t page_at = at & ~(uint64_t)(PAGE_BYTES - 1);
	struct noted *noted = pages_find(&log->pages, page_key(disk, at));

	if (log->failed)
		return;
	if (reserve(log) < 0 ||
	    (!noted && pages_add(&log->pages, page_key(disk, at), &noted) < 0)) {
		log->failed = true;
		return;
	}
	for (sectors &= (uint8_t)~noted->sectors; sectors; sectors &= (uint8_t)(sectors - 1)) {
		uint32_t i = (uint32_t)__builtin_ctz(sectors);
		uint64_t from = page_at + (uint64_t)i * SECTOR;

		noted->sectors |= (uint8_t)(1u << i);
		noted->index[i] = (uint32_t)log->nr;
		log->reads[log->nr++] = (struct check_read){
			.place = check_place(disk, from),
			.content = check_hash(data + (from - at), SECTOR),
		};
	}
}

static const struct check_read *find_read(const struct check_log *log, uint64_t place)
{
	uint64_t sector = place & ((1ull << CHECK_DISK_SHIFT) - 1);
	uint16_t disk = (uint16_t)(place >> CHECK_DISK_SHIFT);
	const struct noted *noted = pages_find(&log->pages, page_key(disk, sector * SECTOR));
	uint32_t i = sector % PAGE_SECTORS;

	return noted && noted->sectors >> i & 1 ? &log->reads[noted->index[i]] : NULL;
}

/* ------------------------------------------------------------------------------ the tree */

int check_memo_create(uint64_t limit_bytes, struct check_memo **ret_memo)
{
	struct check_memo *memo =
		fail_alloc("faults/explore/check_memo/alloc", calloc(1, sizeof(*memo)));

	if (!memo)
		return -ENOMEM;
	pthread_rwlock_init(&memo->lock, NULL);
	memo->limit_bytes = limit_bytes;
	*ret_memo = memo;
	return 0;
}

struct check_memo *check_memo_free(struct check_memo *memo)
{
	if (!memo)
		return NULL;
	for (struct memo_stretch *stretch = memo->newest, *older; stretch; stretch = older) {
		older = stretch->older;
		free(stretch->reads);
		free(stretch->contents);
		free(stretch->next);
		free(stretch);
	}
	pthread_rwlock_destroy(&memo->lock);
	free(memo);
	return NULL;
}

/* Where the answers leave the tree: at read @at of the stretch, at its fork (at = nr), or nowhere
 * (the stretch is an end, and *ret_verdict its verdict). */
static bool follow(struct memo_stretch **at_stretch, size_t *ret_at, check_memo_ask_fn ask,
		   void *ctx)
{
	struct memo_stretch *stretch = *at_stretch;

	for (;;) {
		uint64_t content;
		size_t i;

		for (i = 0; i < stretch->nr; i++) {
			const struct check_read *read = &stretch->reads[i];

			if (ask(ctx, read->place, &read->content, 1) != read->content)
				break;
		}
		*at_stretch = stretch;
		*ret_at = i;
		if (i < stretch->nr)
			return false;
		if (!stretch->nr_forks)
			return true;
		content = ask(ctx, stretch->place, stretch->contents, stretch->nr_forks);
		for (i = 0; i < stretch->nr_forks && stretch->contents[i] != content; i++)
			;
		if (i == stretch->nr_forks)
			return false;
		stretch = stretch->next[i];
	}
}

bool check_memo_find(struct check_memo *memo, check_memo_ask_fn ask, void *ctx, int *ret_verdict)
{
	struct memo_stretch *stretch;
	bool found = false;
	size_t at;

	pthread_rwlock_rdlock(&memo->lock);
	stretch = memo->root;
	if (stretch) {
		found = follow(&stretch, &at, ask, ctx);
		if (found)
			*ret_verdict = stretch->verdict;
	}
	pthread_rwlock_unlock(&memo->lock);
	return found;
}

/* A log that is entered: what of it lies on the path from the root. */
struct memo_entry {
	const struct check_log *log;
	bool *on_path; /* for each of its reads */
	size_t nr_on_path;
	bool missing; /* it lacks a place that it should have read */
};

static uint64_t ask_log(void *ctx, uint64_t place, const uint64_t *known, size_t nr_known)
{
	struct memo_entry *entry = ctx;
	const struct check_read *read = find_read(entry->log, place);

	(void)nr_known;
	if (!read) {
		entry->missing = true;
		return ~known[0]; /* leaves the tree, or goes astray in it: dropped */
	}
	entry->nr_on_path += !entry->on_path[read - entry->log->reads];
	entry->on_path[read - entry->log->reads] = true;
	return read->content;
}

static struct memo_stretch *new_stretch(size_t nr)
{
	struct memo_stretch *stretch =
		fail_alloc("faults/explore/check_memo/stretch", calloc(1, sizeof(*stretch)));

	if (!stretch)
		return NULL;
	stretch->reads = fail_alloc("faults/explore/check_memo/reads",
				    malloc((nr ? nr : 1) * sizeof(*stretch->reads)));
	if (!stretch->reads) {
		free(stretch);
		return NULL;
	}
	return stretch;
}

static void own(struct check_memo *memo, struct memo_stretch *stretch)
{
	stretch->older = memo->newest;
	memo->newest = stretch;
	memo->bytes += sizeof(*stretch) + stretch->nr * sizeof(*stretch->reads);
}

/* What of the log is not on the path, and the verdict. */
static struct memo_stretch *rest_of(const struct memo_entry *entry, int verdict)
{
	const struct check_log *log = entry->log;
	struct memo_stretch *stretch = new_stretch(log->nr - entry->nr_on_path);

	if (!stretch)
		return NULL;
	for (size_t i = 0; i < log->nr; i++)
		if (!entry->on_path[i])
			stretch->reads[stretch->nr++] = log->reads[i];
	stretch->verdict = verdict;
	return stretch;
}

static int reserve_fork(struct memo_stretch *stretch)
{
	size_t want = stretch->nr_forks + 1, max_next = stretch->max_forks, max = max_next;

	if (array_room("faults/explore/check_memo/next", stretch->next, max_next, want,
		       FORKS_FIRST) ||
	    array_room("faults/explore/check_memo/contents", stretch->contents, max, want,
		       FORKS_FIRST))
		return -ENOMEM;
	stretch->max_forks = max;
	return 0;
}

static void add_fork(struct memo_stretch *stretch, uint64_t content, struct memo_stretch *next)
{
	stretch->contents[stretch->nr_forks] = content;
	stretch->next[stretch->nr_forks++] = next;
}

/* Read @at of the stretch becomes its fork, with what follows as the first branch. */
static int make_fork(struct check_memo *memo, struct memo_stretch *stretch, size_t at)
{
	size_t nr = stretch->nr - at - 1;
	struct memo_stretch *tail = new_stretch(nr);
	struct memo_stretch head = { .place = stretch->reads[at].place };

	if (!tail)
		return -ENOMEM;
	if (reserve_fork(&head) < 0) {
		free(head.next);
		free(head.contents);
		free(tail->reads);
		free(tail);
		return -ENOMEM;
	}
	memcpy(tail->reads, stretch->reads + at + 1, nr * sizeof(*tail->reads));
	tail->nr = nr;
	tail->place = stretch->place;
	tail->contents = stretch->contents;
	tail->next = stretch->next;
	tail->nr_forks = stretch->nr_forks;
	tail->max_forks = stretch->max_forks;
	tail->verdict = stretch->verdict;
	stretch->place = head.place;
	stretch->contents = head.contents;
	stretch->next = head.next;
	stretch->nr_forks = 0;
	stretch->max_forks = head.max_forks;
	add_fork(stretch, stretch->reads[at].content, tail);
	stretch->nr = at;
	own(memo, tail);
	return 0;
}

/* The log leaves the tree at read @at of the stretch. */
static int branch(struct check_memo *memo, struct memo_stretch *stretch, size_t at,
		  const struct memo_entry *entry, int verdict)
{
	uint64_t place = at < stretch->nr ? stretch->reads[at].place : stretch->place;
	struct memo_stretch *rest = rest_of(entry, verdict);
	int err = rest ? 0 : -ENOMEM;

	if (!err && at < stretch->nr)
		err = make_fork(memo, stretch, at);
	if (!err)
		err = reserve_fork(stretch);
	if (err) {
		if (rest)
			free(rest->reads);
		free(rest);
		return err;
	}
	add_fork(stretch, find_read(entry->log, place)->content, rest);
	own(memo, rest);
	return 0;
}

static int enter(struct check_memo *memo, struct memo_entry *entry, int verdict)
{
	struct memo_stretch *stretch = memo->root;
	size_t at;

	if (!stretch) {
		stretch = rest_of(entry, verdict);
		if (!stretch)
			return -ENOMEM;
		memo->root = stretch;
		own(memo, stretch);
		return 0;
	}
	if (follow(&stretch, &at, ask_log, entry) && !entry->missing)
		return stretch->verdict == verdict ? 0 : -ESTALE;
	if (entry->missing || memo->bytes >= memo->limit_bytes)
		return 0;
	return branch(memo, stretch, at, entry, verdict);
}

int check_memo_add(struct check_memo *memo, const struct check_log *log, int verdict)
{
	struct memo_entry entry = { .log = log };
	_cleanup_free_ bool *on_path = NULL;
	int err;

	if (log->failed)
		return -ENOMEM;
	on_path =
		fail_alloc("faults/explore/check_memo/path", calloc(log->nr + 1, sizeof(*on_path)));
	if (!on_path)
		return -ENOMEM;
	entry.on_path = on_path;
	pthread_rwlock_wrlock(&memo->lock);
	err = enter(memo, &entry, verdict);
	pthread_rwlock_unlock(&memo->lock);
	return err;
}
