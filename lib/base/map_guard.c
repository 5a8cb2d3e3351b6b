/* SPDX-License-Identifier: MIT */
/*
 * Guards stand in blocks of shared memory that are never given back: the handler may look at them at
 * any moment, and a child's handler has to tell its parent. A guard is free while its start is 0;
 * only the mutex's holder gives it a start, after all else is in place, or takes it.
 */
#include "base/map_guard.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define GUARDS_PER_BLOCK 127

struct guarded_map {
	atomic_uintptr_t start; /* 0: free */
	size_t size_bytes;
	int prot;
	atomic_bool broken;
	int fd; /* of the file; -1: it is not looked at */
	bool grows;
	off_t size;
	struct timespec written;
};

struct guard_block {
	struct guard_block *_Atomic next;
	atomic_bool any_broken, any_changed; /* of the first block: of all */
	struct guarded_map guards[GUARDS_PER_BLOCK];
};

static struct guard_block *_Atomic first_block;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint nr_files; /* guards that have one */
static uintptr_t page_bytes;

/* The guard of the mapping that holds @address, or NULL. From the handler, too. */
static struct guarded_map *find(uintptr_t address)
{
	for (struct guard_block *b = atomic_load(&first_block); b; b = atomic_load(&b->next)) {
		for (size_t i = 0; i < GUARDS_PER_BLOCK; i++) {
			uintptr_t start = atomic_load(&b->guards[i].start);

			if (start && address - start < b->guards[i].size_bytes)
				return &b->guards[i];
		}
	}
	return NULL;
}

/* Zeroes from the page of @address to the mapping's end. */
static bool put_zeroes(struct guarded_map *g, uintptr_t address)
{
	uintptr_t page = address & ~(page_bytes - 1);
	size_t rest = atomic_load(&g->start) + g->size_bytes - page;

	return mmap((void *)page, rest, g->prot,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	int err = errno;
	struct guarded_map *g = info->si_code > 0 ? find((uintptr_t)info->si_addr) : NULL;

	(void)context;
	if (g && put_zeroes(g, (uintptr_t)info->si_addr)) {
		atomic_store(&g->broken, true);
		atomic_store(&atomic_load(&first_block)->any_broken, true);
	} else {
		struct sigaction action = { .sa_handler = SIG_DFL };

		sigaction(signal, &action, NULL);
		raise(signal);
	}
	errno = err;
}

static struct guard_block *new_block(void)
{
	void *block = mmap(NULL, sizeof(struct guard_block), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return block == MAP_FAILED ? NULL : block;
}

/* A guard that is free. The lock is held. */
static struct guarded_map *free_guard(void)
{
	struct guard_block *_Atomic *place = &first_block;

	for (;; place = &atomic_load(place)->next) {
		struct guard_block *b = atomic_load(place);

		if (!b) {
			b = new_block();
			if (!b)
				return NULL;
			atomic_store(place, b);
		}
		for (size_t i = 0; i < GUARDS_PER_BLOCK; i++)
			if (!atomic_load(&b->guards[i].start))
				return &b->guards[i];
	}
}

static void take_signal(void)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };

	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	sigaction(SIGBUS, &action, NULL);
}

/* @file: with its fd, or -1; the rest of it is copied. */
static int guard(void *map, size_t size_bytes, int prot, const struct guarded_map *file)
{
	struct guarded_map *g;

	pthread_mutex_lock(&lock);
	take_signal();
	g = free_guard();
	if (g) {
		g->size_bytes = size_bytes;
		g->prot = prot;
		g->fd = file->fd;
		g->grows = file->grows;
		g->size = file->size;
		g->written = file->written;
		atomic_store(&g->broken, false);
		atomic_fetch_add(&nr_files, file->fd >= 0);
		atomic_store(&g->start, (uintptr_t)map);
	}
	pthread_mutex_unlock(&lock);
	return g ? 0 : -ENOMEM;
}

int map_guard(void *map, size_t size_bytes, int prot)
{
	return guard(map, size_bytes, prot, &(struct guarded_map){ .fd = -1 });
}

int map_guard_file(void *map, size_t size_bytes, int prot, int fd, bool grows)
{
	struct guarded_map file = { .fd = -1, .grows = grows };
	struct stat stat;
	int err;

	if (fstat(fd, &stat) < 0)
		return -errno;
	if (S_ISREG(stat.st_mode)) {
		file.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		file.size = stat.st_size;
		file.written = stat.st_mtim;
		if (file.fd < 0)
			return -errno;
	}
	err = guard(map, size_bytes, prot, &file);
	if (err)
		cleanup_close(&file.fd);
	return err;
}

void map_unguard(void *map)
{
	struct guarded_map *g;

	pthread_mutex_lock(&lock);
	g = find((uintptr_t)map);
	if (g && g->fd >= 0) {
		close(g->fd);
		g->fd = -1;
		atomic_fetch_sub(&nr_files, 1);
	}
	if (g)
		atomic_store(&g->start, 0);
	pthread_mutex_unlock(&lock);
}

/* The lock is held. */
static void look_at_file(struct guarded_map *g)
{
	struct guard_block *first = atomic_load(&first_block);
	struct stat stat;

	if (g->fd < 0 || atomic_load(&g->broken) || fstat(g->fd, &stat) < 0)
		return;
	if (stat.st_size == g->size && stat.st_mtim.tv_sec == g->written.tv_sec &&
	    stat.st_mtim.tv_nsec == g->written.tv_nsec)
		return;
	if (g->grows && stat.st_size >= g->size)
		return;
	atomic_store(&g->broken, true);
	if (stat.st_size >= g->size)
		atomic_store(&first->any_changed, true);
	atomic_store(&first->any_broken, true);
}

static void look_at_files(void)
{
	if (!atomic_load(&nr_files))
		return;
	pthread_mutex_lock(&lock);
	for (struct guard_block *b = atomic_load(&first_block); b; b = atomic_load(&b->next))
		for (size_t i = 0; i < GUARDS_PER_BLOCK; i++)
			if (atomic_load(&b->guards[i].start))
				look_at_file(&b->guards[i]);
	pthread_mutex_unlock(&lock);
}

bool map_is_broken(const void *map)
{
	const struct guarded_map *g = find((uintptr_t)map);

	look_at_files();
	return g && atomic_load(&g->broken);
}

bool map_any_broken(void)
{
	struct guard_block *b = atomic_load(&first_block);

	look_at_files();
	return b && atomic_load(&b->any_broken);
}

bool map_any_changed(void)
{
	struct guard_block *b = atomic_load(&first_block);

	return b && atomic_load(&b->any_changed);
}
