// SPDX-License-Identifier: MIT
/*
 * A sealed memfd, one shared mapping of it, and a bit for each page that has been written.
 *
 * The bits are there because the kernel allocates a page of such a mapping when it is first
 * touched, even to be read: a look at every sector of a sparse disk of a tebibyte would need a
 * tebibyte. What has no bit is not touched and reads as zero. The bit map is itself sparse.
 *
 * A disk never shows a sector half written, whoever reads it while it is written; memcpy() does.
 * One queue's thread is alone and needs nothing; with several each unit is copied under its lock,
 * one of a fixed number, which nobody holds for longer than that copy takes. A punch takes them
 * all, in order, since bits and pages have to go together.
 */
#include "faults/store.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/units.h"

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
#define PAGE_SHIFT 12 /* of the bit map; the kernel's pages are this or larger */
#define WORD_BITS  64

/* Units share locks by their number; neighbours never do. */
struct unit_lock {
	_Alignas(64) pthread_mutex_t mutex;
};

struct store {
	unsigned char *data;
	_Atomic uint64_t *marks; /* a bit for each page */
	uint64_t size_bytes;
	int fd;
	unsigned int unit_shift;
	struct unit_lock *locks; /* NULL: one thread only */
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
		fail_errno("faults/store/memfd", EMFILE,
			   memfd_create("faultblk-store", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	if (fd < 0)
		return fail(diag, "create a memfd", size_bytes);
	if (fail_errno("faults/store/size", EFBIG, ftruncate(fd, (off_t)size_bytes)) < 0)
		return fail(diag, "set the memfd's size", size_bytes);
	if (fail_errno("faults/store/seal", EBUSY,
		       fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) < 0)
		return fail(diag, "seal the memfd", size_bytes);
	return take_fd(&fd);
}

static uint64_t marks_bytes(uint64_t size_bytes)
{
	uint64_t pages = (size_bytes >> PAGE_SHIFT) + 1;

	return (pages / WORD_BITS + 1) * sizeof(uint64_t);
}

int store_create(uint64_t size_bytes, struct diag *diag, struct store **ret_store)
{
	_cleanup_free_ struct store *store = NULL;
	_cleanup_close_ int fd = -1;
	void *data, *marks;

	if (size_bytes < SECTOR_SIZE || size_bytes % SECTOR_SIZE || size_bytes > INT64_MAX)
		return diag_set(diag, -EINVAL, "store.bad-size",
				"a disk of %llu bytes is not possible, wanted a multiple of %u",
				(unsigned long long)size_bytes, SECTOR_SIZE);
	store = fail_alloc("faults/store/alloc", calloc(1, sizeof(*store)));
	if (!store)
		return diag_set(diag, -ENOMEM, "store.memory", "no memory for a disk");
	fd = open_memory(size_bytes, diag);
	if (fd < 0)
		return fd;
	data = fail_value(
		"faults/store/map", (errno = ENOMEM, MAP_FAILED),
		mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0));
	if (data == MAP_FAILED)
		return fail_map(diag, fd, size_bytes);
	marks = fail_value("faults/store/map-marks", (errno = ENOMEM, MAP_FAILED),
			   mmap(NULL, marks_bytes(size_bytes), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	if (marks == MAP_FAILED) {
		int err = fail(diag, "map the page marks", size_bytes);

		munmap(data, size_bytes);
		return err;
	}
	/* A core dump of the server must not contain the disk. Only advice: failure is harmless. */
	fail_errno("faults/store/advise", EINVAL, madvise(data, size_bytes, MADV_DONTDUMP));
	*store = (struct store){
		.data = data, .marks = marks, .size_bytes = size_bytes, .fd = take_fd(&fd)
	};
	*ret_store = take_ptr(store);
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	munmap(store->data, store->size_bytes);
	munmap((void *)store->marks, marks_bytes(store->size_bytes));
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

void store_mark(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t first = offset_bytes >> PAGE_SHIFT;
	uint64_t last = (offset_bytes + len_bytes - 1) >> PAGE_SHIFT;

	for (uint64_t word = first / WORD_BITS; word <= last / WORD_BITS; word++) {
		uint64_t mask = word_mask(word, first, last);

		/* Marked pages stay marked most of the time: look before the locked instruction. */
		if ((atomic_load_explicit(&store->marks[word], memory_order_relaxed) & mask) !=
		    mask)
			atomic_fetch_or_explicit(&store->marks[word], mask, memory_order_relaxed);
	}
}

static void unmark(struct store *store, uint64_t first, uint64_t last)
{
	for (uint64_t word = first / WORD_BITS; word <= last / WORD_BITS; word++) {
		uint64_t mask = word_mask(word, first, last);

		/* Never write to a part of the map that is a hole itself. */
		if (atomic_load_explicit(&store->marks[word], memory_order_relaxed) & mask)
			atomic_fetch_and_explicit(&store->marks[word], ~mask, memory_order_relaxed);
	}
}

uint64_t store_span(const struct store *store, uint64_t offset_bytes, uint64_t len_bytes,
		    bool *ret_marked)
{
	uint64_t page = offset_bytes >> PAGE_SHIFT;
	uint64_t end_page = ((offset_bytes + len_bytes - 1) >> PAGE_SHIFT) + 1;
	bool marked = atomic_load_explicit(&store->marks[page / WORD_BITS], memory_order_relaxed) >>
			      page % WORD_BITS &
		      1;
	uint64_t alike = marked ? UINT64_MAX : 0, end;

	*ret_marked = marked;
	while (++page < end_page) {
		uint64_t bits =
			atomic_load_explicit(&store->marks[page / WORD_BITS], memory_order_relaxed);

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

int store_punch(struct store *store, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t first = (offset_bytes + (1u << PAGE_SHIFT) - 1) >> PAGE_SHIFT;
	uint64_t end = (offset_bytes + len_bytes) >> PAGE_SHIFT;
	int err;

	if (len_bytes > store->size_bytes || offset_bytes > store->size_bytes - len_bytes)
		return -EINVAL;
	if (len_bytes == 0)
		return 0;
	store_lock_all(store);
	err = punch(store, offset_bytes, len_bytes);
	if (!err && first < end)
		unmark(store, first, end - 1);
	store_unlock_all(store);
	return err;
}

/* ------------------------------------------------------------------------------ sharing */

int store_share(struct store *store, uint32_t unit_bytes)
{
	store->locks = fail_alloc("faults/store/locks",
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
