// SPDX-License-Identifier: MIT
/*
 * A sealed memfd, one shared mapping of it, and a bit for each page that has been written.
 *
 * The bits are there because the kernel allocates a page of such a mapping when it is first
 * touched, even to be read: a look at every sector of a sparse disk of a tebibyte would need a
 * tebibyte. What has no bit is not touched and reads as zero. The bit map is itself sparse. Which
 * pages hold space, with memory or without, is another map: space.c.
 *
 * A disk never shows a sector half written, whoever reads it while it is written; memcpy() does.
 * One queue's thread is alone and needs nothing; with several each unit is copied under its lock,
 * one of a fixed number, which nobody holds for longer than that copy takes. A punch takes them
 * all, in order, since bits and pages have to go together.
 */
#include "faults/disk/store.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/sparse.h"
#include "base/units.h"
#include "faults/disk/space.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define NR_LOCKS   32
#define PAGE_SHIFT 12 /* of STORE_PAGE; the kernel's pages are this or larger */
#define WORD_BITS  64
#define LOOK_MIN   (1ull << 20) /* bytes that are used before the host is asked again */
#define LOOK_MAX   (64ull << 20)

_Static_assert(STORE_PAGE == 1u << PAGE_SHIFT, "one size of pages");

/* Units share locks by their number; neighbours never do. */
struct unit_lock {
	_Alignas(64) pthread_mutex_t mutex;
};

typedef uint64_t (*store_room_fn)(const char *root);

static __thread uint64_t nr_refusals;

struct store {
	unsigned char *data;
	_Atomic uint64_t *marks; /* a bit for each page */
	uint64_t size_bytes;
	int fd;
	unsigned int unit_shift;
	struct unit_lock *locks; /* NULL: one thread only */
	struct space *space;
	/* The host's memory. */
	_Atomic(store_room_fn) room; /* NULL: nobody is asked */
	store_room_fn watched;       /* what it is unless memory is refused anyway */
	const char *root;
	_Atomic uint64_t budget; /* bytes that may be used before it is asked */
	_Atomic uint64_t nr_low, nr_refused;
	_Atomic bool low, host_changed;
};

/* Blame a limit of the process only where it is one: below @size_bytes. */
static bool hint_limit(struct diag *diag, int which, uint64_t size_bytes, const char *name,
		       char option)
{
	struct rlimit limit;
	char has[UNITS_MAX];

	if (getrlimit((__rlimit_resource_t)which, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
	    limit.rlim_cur >= size_bytes) {
		diag_hint(diag, "make the disk smaller");
		return false;
	}
	diag_hint(diag, "make the disk smaller, or raise the %s, now %s (ulimit -%c)", name,
		  units_format_size(limit.rlim_cur, has), option);
	return true;
}

static int fail(struct diag *diag, const char *what, uint64_t size_bytes)
{
	int err = -errno;
	char size[UNITS_MAX];

	diag_set(diag, err, "store.system", "cannot %s for a disk of %s: %s", what,
		 units_format_size(size_bytes, size), strerror(-err));
	if (err == -EFBIG)
		hint_limit(diag, RLIMIT_FSIZE, size_bytes, "file size limit", 'f');
	else if (err == -EMFILE)
		diag_hint(diag, "raise the limit of open files (ulimit -n)");
	return err;
}

/* A mapping of @size_bytes of @fd failed: what would not? */
static int fail_map(struct diag *diag, int fd, uint64_t size_bytes)
{
	int err = fail(diag, "map the memory", size_bytes);
	uint64_t fits = size_bytes;
	char size[UNITS_MAX];
	void *p = MAP_FAILED;

	if (err != -ENOMEM || hint_limit(diag, RLIMIT_AS, size_bytes, "address space limit", 'v'))
		return err;
	while (p == MAP_FAILED && (fits = fits / 2 & ~(uint64_t)(SECTOR_SIZE - 1)))
		p = mmap(NULL, fits, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return err;
	munmap(p, fits);
	diag_hint(diag, "make the disk smaller: %s can be mapped", units_format_size(fits, size));
	return err;
}

/* Sealed against resizing, so that no holder of the descriptor can make the mapping fault. */
static int open_memory(uint64_t size_bytes, struct diag *diag)
{
	_cleanup_close_ int fd =
		fail_errno("faults/disk/store/memfd", EMFILE,
			   memfd_create("faultblk-store", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (fd < 0)
		return fail(diag, "create a memfd", size_bytes);
	if (fail_errno("faults/disk/store/size", EFBIG, ftruncate(fd, (off_t)size_bytes)) < 0)
		return fail(diag, "set the memfd's size", size_bytes);
	if (fail_errno("faults/disk/store/seal", EBUSY,
		       fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) < 0)
		return fail(diag, "seal the memfd", size_bytes);
	return take_fd(&fd);
}

static uint64_t pages_of(uint64_t size_bytes)
{
	return (size_bytes + (1u << PAGE_SHIFT) - 1) >> PAGE_SHIFT;
}

static uint64_t marks_bytes(uint64_t size_bytes)
{
	return (pages_of(size_bytes) / WORD_BITS + 1) * sizeof(uint64_t);
}

int store_create(uint64_t size_bytes, struct diag *diag, struct store **ret_store)
{
	_cleanup_free_ struct store *store = NULL;
	_cleanup_close_ int fd = -1;
	void *data;
	int err = 0;

	if (size_bytes < SECTOR_SIZE || size_bytes % SECTOR_SIZE || size_bytes > INT64_MAX)
		return diag_set(diag, -EINVAL, "store.bad-size",
				"a disk of %llu bytes is not possible, wanted a multiple of %u",
				(unsigned long long)size_bytes, SECTOR_SIZE);
	store = fail_alloc("faults/disk/store/alloc", calloc(1, sizeof(*store)));
	if (!store)
		return diag_set(diag, -ENOMEM, "store.memory", "no memory for a disk");
	fd = open_memory(size_bytes, diag);
	if (fd < 0)
		return fd;
	data = fail_value(
		"faults/disk/store/map", (errno = ENOMEM, MAP_FAILED),
		mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0));
	if (data == MAP_FAILED)
		return fail_map(diag, fd, size_bytes);
	sparse_advise(data, size_bytes);
	*store = (struct store){ .data = data, .size_bytes = size_bytes, .fd = take_fd(&fd) };
	store->marks = sparse_map(marks_bytes(size_bytes));
	if (!store->marks)
		err = fail(diag, "map the page marks", size_bytes);
	else if (space_create(pages_of(size_bytes), &store->space))
		err = diag_set(diag, -ENOMEM, "store.memory", "no memory for a disk");
	if (err) {
		store_free(take_ptr(store));
		return err;
	}
	*ret_store = take_ptr(store);
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	munmap(store->data, store->size_bytes);
	sparse_unmap(store->marks, marks_bytes(store->size_bytes));
	space_free(store->space);
	close(store->fd);
	free(store->locks);
	free(store);
	return NULL;
}

uint64_t store_size(const struct store *store)
{
	return store->size_bytes;
}

unsigned char *store_data(struct store *store)
{
	return store->data;
}

const unsigned char *store_bytes(const struct store *store)
{
	return store->data;
}

uint64_t store_allocated(const struct store *store)
{
	struct stat st;

	if (fstat(store->fd, &st) < 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

/* ------------------------------------------------------------------------------ marks */

/* The bits of one word that stand for pages first..last; both may lie outside of the word. */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t last)
{
	uint64_t mask = UINT64_MAX;

	if (first > word * WORD_BITS)
		mask <<= first % WORD_BITS;
	if (last < word * WORD_BITS + WORD_BITS - 1)
		mask &= UINT64_MAX >> (WORD_BITS - 1 - last % WORD_BITS);
	return mask;
}

/* The pages of bytes [offset, offset+len), one at least, those that it has a part of included. */
struct page_stretch {
	uint64_t first, last;
};

static inline struct page_stretch pages_at(uint64_t offset_bytes, uint64_t len_bytes)
{
	return (struct page_stretch){ offset_bytes >> PAGE_SHIFT,
				      (offset_bytes + len_bytes - 1) >> PAGE_SHIFT };
}

static inline uint64_t load_marks(const struct store *store, uint64_t word)
{
	return atomic_load_explicit(&store->marks[word], memory_order_relaxed);
}

static inline bool all_marked(const struct store *store, struct page_stretch pages)
{
	for (uint64_t w = pages.first / WORD_BITS; w <= pages.last / WORD_BITS; w++) {
		uint64_t mask = word_mask(w, pages.first, pages.last);

		if ((load_marks(store, w) & mask) != mask)
			return false;
	}
	return true;
}

bool store_is_marked(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	return all_marked(store, pages_at(offset_bytes, len_bytes));
}

static uint64_t count_marked(const struct store *store, struct page_stretch pages)
{
	uint64_t nr = 0;

	for (uint64_t w = pages.first / WORD_BITS; w <= pages.last / WORD_BITS; w++)
		nr += (uint64_t)__builtin_popcountll(load_marks(store, w) &
						     word_mask(w, pages.first, pages.last));
	return nr;
}

uint64_t store_marked(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	return count_marked(store, pages_at(offset_bytes, len_bytes)) << PAGE_SHIFT;
}

static void set_marks(struct store *store, struct page_stretch pages)
{
	for (uint64_t w = pages.first / WORD_BITS; w <= pages.last / WORD_BITS; w++)
		atomic_fetch_or_explicit(&store->marks[w], word_mask(w, pages.first, pages.last),
					 memory_order_relaxed);
}

/* Marked pages stay marked most of the time: look before the lock and the locked instructions. */
void store_mark(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct page_stretch pages = pages_at(offset_bytes, len_bytes);

	if (all_marked(store, pages))
		return;
	/* First, so that whoever finds a page marked can rely on its being taken. */
	space_force(store->space, pages.first, pages.last - pages.first + 1);
	set_marks(store, pages);
}

void store_fill(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	/* Another thread may have discarded it since it was taken. */
	if (store->locks)
		store_mark(store, offset_bytes, len_bytes);
	else
		set_marks(store, pages_at(offset_bytes, len_bytes));
}

static void unmark(struct store *store, uint64_t first, uint64_t last)
{
	for (uint64_t word = first / WORD_BITS; word <= last / WORD_BITS; word++) {
		uint64_t mask = word_mask(word, first, last);

		/* Never write to a part of the map that is a hole itself. */
		if (load_marks(store, word) & mask)
			atomic_fetch_and_explicit(&store->marks[word], ~mask, memory_order_relaxed);
	}
}

uint64_t store_span(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes,
		    bool *ret_marked)
{
	uint64_t page = offset_bytes >> PAGE_SHIFT;
	uint64_t end_page = ((offset_bytes + len_bytes - 1) >> PAGE_SHIFT) + 1;
	bool marked = load_marks(store, page / WORD_BITS) >> page % WORD_BITS & 1;
	uint64_t alike = marked ? UINT64_MAX : 0, end;

	*ret_marked = marked;
	while (++page < end_page) {
		uint64_t bits = load_marks(store, page / WORD_BITS);

		if (page % WORD_BITS == 0 && bits == alike) {
			page += WORD_BITS - 1;
			continue;
		}
		if ((bits >> page % WORD_BITS & 1) != marked)
			break;
	}
	end = page << PAGE_SHIFT;
	return end < offset_bytes + len_bytes ? end - offset_bytes : len_bytes;
}

int store_each_extent(struct store *store,
		      int (*each)(void *ctx, uint64_t offset_bytes, uint64_t len_bytes), void *ctx)
{
	uint64_t at = 0, span;
	int result = 0;

	for (; at < store->size_bytes && !result; at += span) {
		bool marked;

		span = store_span(store, at, store->size_bytes - at, &marked);
		if (marked)
			result = each(ctx, at, span);
	}
	return result;
}

void store_peek(const struct store *store, uint64_t offset_bytes, void *to, uint64_t len_bytes)
{
	unsigned char *bytes = to;

	for (uint64_t done = 0, span; done < len_bytes; done += span) {
		bool marked;

		span = store_span(store, offset_bytes + done, len_bytes - done, &marked);
		if (marked)
			memcpy(bytes + done, store->data + offset_bytes + done, span);
		else
			memset(bytes + done, 0, span);
	}
}

/* ------------------------------------------------------------------------------ space */

void store_limit(struct store *store, uint64_t capacity_bytes)
{
	space_limit(store->space,
		    capacity_bytes == UINT64_MAX ? SPACE_ENDLESS : capacity_bytes >> PAGE_SHIFT);
}

uint64_t store_capacity(const struct store *store)
{
	uint64_t pages = space_capacity(store->space);

	return pages == SPACE_ENDLESS ? UINT64_MAX : pages << PAGE_SHIFT;
}

uint64_t store_used(const struct store *store)
{
	return space_used(store->space) << PAGE_SHIFT;
}

bool store_is_taken(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct page_stretch pages = pages_at(offset_bytes, len_bytes);

	return all_marked(store, pages) ||
	       space_has(store->space, pages.first, pages.last - pages.first + 1);
}

void store_watch_host(struct store *store, uint64_t (*room)(const char *root), const char *root)
{
	store->watched = room;
	store->room = room;
	store->root = root;
}

uint64_t store_refusals(void)
{
	return nr_refusals;
}

static uint64_t no_room(const char *root)
{
	(void)root;
	return 0;
}

void store_refuse(struct store *store, bool refuse)
{
	atomic_store(&store->room, refuse ? no_room : store->watched);
	/* Low: it is asked each time, and nobody is told. */
	atomic_store(&store->low, refuse);
}

struct store_host store_host(const struct store *store)
{
	return (struct store_host){
		.low = atomic_load(&store->low),
		.nr_low = atomic_load(&store->nr_low),
		.nr_refused = atomic_load(&store->nr_refused),
	};
}

bool store_host_changed(struct store *store)
{
	return atomic_load_explicit(&store->host_changed, memory_order_relaxed) &&
	       atomic_exchange(&store->host_changed, false);
}

/* Several threads may look at once: each then has what it found, and a budget is only a distance. */
static _cold_ int look_at_host(struct store *store, uint64_t bytes)
{
	store_room_fn ask = atomic_load(&store->room);
	uint64_t room = ask ? ask(store->root) : UINT64_MAX, next = room / 16;

	if (room < bytes) {
		nr_refusals++;
		atomic_fetch_add(&store->nr_refused, 1);
		if (!atomic_exchange(&store->low, true)) {
			atomic_fetch_add(&store->nr_low, 1);
			atomic_store(&store->host_changed, true);
		}
		return -EIO;
	}
	atomic_store(&store->low, false);
	next = next < LOOK_MIN ? LOOK_MIN : next > LOOK_MAX ? LOOK_MAX : next;
	atomic_store(&store->budget, next);
	return 0;
}

int store_grow(struct store *store, uint64_t bytes)
{
	uint64_t budget;

	if (!atomic_load_explicit(&store->room, memory_order_relaxed) || !bytes)
		return 0;
	budget = atomic_load_explicit(&store->budget, memory_order_relaxed);
	while (budget >= bytes && !atomic_load_explicit(&store->low, memory_order_relaxed))
		if (atomic_compare_exchange_weak_explicit(&store->budget, &budget, budget - bytes,
							  memory_order_relaxed,
							  memory_order_relaxed))
			return 0;
	return look_at_host(store, bytes);
}

int store_take(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct page_stretch pages = pages_at(offset_bytes, len_bytes);
	uint64_t nr = pages.last - pages.first + 1;
	int err;

	if (all_marked(store, pages))
		return 0;
	err = store_grow(store, (nr == 1 ? 1 : nr - count_marked(store, pages)) << PAGE_SHIFT);
	return err ? err : space_take(store->space, pages.first, nr);
}

int store_take_space(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct page_stretch pages = pages_at(offset_bytes, len_bytes);

	return space_take(store->space, pages.first, pages.last - pages.first + 1);
}

/* ------------------------------------------------------------------------------ punching */

void store_lock_all(struct store *store)
{
	for (int i = 0; store->locks && i < NR_LOCKS; i++)
		pthread_mutex_lock(&store->locks[i].mutex);
}

void store_unlock_all(struct store *store)
{
	for (int i = 0; store->locks && i < NR_LOCKS; i++)
		pthread_mutex_unlock(&store->locks[i].mutex);
}

/*
 * The kernel frees the whole pages and clears the bytes of the partial ones at both ends itself;
 * it does not allocate an end page that is a hole, which a memset() here would.
 */
static int punch(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	while (fallocate(store->fd, mode, (off_t)offset_bytes, (off_t)len_bytes) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static bool is_inside(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	return len_bytes <= store->size_bytes && offset_bytes <= store->size_bytes - len_bytes;
}

/* All locks are held. Of the pages that are freed the space is given back, too, unless @keep. */
static int clear_held(struct store *store, uint64_t offset_bytes, uint64_t len_bytes, bool keep)
{
	uint64_t first = (offset_bytes + (1u << PAGE_SHIFT) - 1) >> PAGE_SHIFT;
	uint64_t end = (offset_bytes + len_bytes) >> PAGE_SHIFT;
	int err = punch(store, offset_bytes, len_bytes);

	if (err || first >= end)
		return err;
	unmark(store, first, end - 1);
	if (!keep)
		space_give(store->space, first, end - first);
	return 0;
}

/*
 * The same. Where nothing is taken no page is marked, and there is nothing to do: a discard of what
 * was never written asks neither the kernel nor the marks, however large it is.
 */
static int clear(struct store *store, uint64_t offset_bytes, uint64_t len_bytes, bool keep)
{
	uint64_t at = offset_bytes, end = offset_bytes + len_bytes, skip, held;
	int err = 0;

	while (at < end && !err) {
		struct page_stretch pages = pages_at(at, end - at);
		uint64_t nr = pages.last - pages.first + 1, from, to;

		held = space_next(store->space, pages.first, nr, &skip);
		if (!held)
			break;
		from = skip ? (pages.first + skip) << PAGE_SHIFT : at;
		to = (pages.first + skip + held) << PAGE_SHIFT;
		to = to < end ? to : end;
		err = clear_held(store, from, to - from, keep);
		at = to;
	}
	return err;
}

int store_punch(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	int err;

	if (!is_inside(store, offset_bytes, len_bytes))
		return -EINVAL;
	if (len_bytes == 0)
		return 0;
	store_lock_all(store);
	err = clear(store, offset_bytes, len_bytes, false);
	store_unlock_all(store);
	return err;
}

int store_zero(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct page_stretch pages = pages_at(offset_bytes, len_bytes);
	int err;

	if (!is_inside(store, offset_bytes, len_bytes))
		return -EINVAL;
	if (len_bytes == 0)
		return 0;
	store_lock_all(store);
	err = space_take(store->space, pages.first, pages.last - pages.first + 1);
	if (!err)
		err = clear(store, offset_bytes, len_bytes, true);
	store_unlock_all(store);
	return err;
}

/* ------------------------------------------------------------------------------ sharing */

int store_share(struct store *store, uint32_t unit_bytes)
{
	store->locks = fail_alloc("faults/disk/store/locks",
				  aligned_alloc(64, NR_LOCKS * sizeof(*store->locks)));
	if (!store->locks)
		return -ENOMEM;
	for (int i = 0; i < NR_LOCKS; i++)
		pthread_mutex_init(&store->locks[i].mutex, NULL);
	store->unit_shift = (unsigned int)__builtin_ctz(unit_bytes);
	return 0;
}

void store_unshare(struct store *store)
{
	for (int i = 0; store->locks && i < NR_LOCKS; i++)
		pthread_mutex_destroy(&store->locks[i].mutex);
	free(store->locks);
	store->locks = NULL;
}

uint64_t store_unit_left(const struct store *store, uint64_t offset_bytes)
{
	uint64_t unit = 1ull << store->unit_shift;

	return store->locks ? unit - (offset_bytes & (unit - 1)) : UINT64_MAX;
}

static pthread_mutex_t *lock_of(struct store *store, uint64_t offset_bytes)
{
	return &store->locks[(offset_bytes >> store->unit_shift) % NR_LOCKS].mutex;
}

void store_lock(struct store *store, uint64_t offset_bytes)
{
	if (store->locks)
		pthread_mutex_lock(lock_of(store, offset_bytes));
}

void store_unlock(struct store *store, uint64_t offset_bytes)
{
	if (store->locks)
		pthread_mutex_unlock(lock_of(store, offset_bytes));
}
