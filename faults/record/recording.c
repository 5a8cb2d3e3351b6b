// SPDX-License-Identifier: MIT
#include "faults/record/recording.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/write_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SHARED_MAGIC 0x32646572616873ull

enum { FILE_FD, SHARED_FD };

/* ------------------------------------------------------------------------------ the lock */

/* Whoever held it was killed, perhaps within a block: what is behind the last whole one goes. */
static void lock_file(struct recording *recording)
{
	struct recording_shared *shared = recording->shared;

	if (pthread_mutex_lock(&shared->lock) != EOWNERDEAD)
		return;
	if (ftruncate(recording->fds[FILE_FD], (off_t)atomic_load(&shared->file_bytes)) < 0)
		recording_end(recording, -errno);
	pthread_mutex_consistent(&shared->lock);
}

static void unlock_file(struct recording *recording)
{
	pthread_mutex_unlock(&recording->shared->lock);
}

static int init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;
	int err = -pthread_mutexattr_init(&attr);

	if (err)
		return err;
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	err = -pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return err;
}

/* ------------------------------------------------------------------------------ the file */

/* Nothing more will be written: whoever wants to may replace it. */
static void unlock_for_others(const struct recording *recording)
{
	flock(recording->fds[FILE_FD], LOCK_UN);
}

void recording_end(struct recording *recording, int ending)
{
	struct recording_shared *shared = recording->shared;
	int going = 0;
	uint64_t last;

	if (!atomic_compare_exchange_strong(&shared->ending, &going, ending))
		return;
	atomic_store(&recording->ours, true);
	last = atomic_fetch_or(&shared->step, RECORDING_OVER);
	atomic_store(&shared->close_step, last + 1);
	if (ending < 0)
		unlock_for_others(recording);
}

bool recording_is_full(const struct recording *recording)
{
	const struct recording_shared *shared = recording->shared;
	uint64_t limit = atomic_load_explicit(&shared->limit_bytes, memory_order_relaxed);

	return limit && !recording_is_over(recording) &&
	       atomic_load_explicit(&shared->file_bytes, memory_order_relaxed) >= limit;
}

/* The lock is held. What part of a block was written would count as damage: cut it off. */
static int append(struct recording *recording, struct iovec *iov, int nr, size_t len)
{
	struct recording_shared *shared = recording->shared;
	int err = recording_error(recording);

	if (err)
		return err;
	err = write_all_vec(recording->fds[FILE_FD], iov, nr);
	if (!err) {
		atomic_fetch_add(&shared->file_bytes, len);
		return 0;
	}
	/* If even this fails, the reader says where the damage begins. */
	if (ftruncate(recording->fds[FILE_FD], (off_t)atomic_load(&shared->file_bytes)) < 0)
		err = -errno;
	recording_end(recording, err);
	return err;
}

/* The lock is held. */
static int append_block(struct recording *recording, unsigned char head[RECORD_BLOCK_BYTES],
			const void *a, size_t a_len, const void *b, size_t b_len)
{
	struct iovec iov[] = { { head, RECORD_BLOCK_BYTES },
			       { (void *)a, a_len },
			       { (void *)b, b_len } };

	return append(recording, iov, b_len ? 3 : 2, RECORD_BLOCK_BYTES + a_len + b_len);
}

int recording_write(struct recording *recording, uint16_t disk, uint16_t queue, const void *a,
		    size_t a_len, const void *b, size_t b_len, struct recording_counts counts)
{
	struct recording_shared *shared = recording->shared;
	unsigned char head[RECORD_BLOCK_BYTES];
	int err = 0;

	if (a_len)
		record_put_block(head, disk, queue, a, a_len, b, b_len);
	lock_file(recording);
	if (a_len)
		err = append_block(recording, head, a, a_len, b, b_len);
	if (!err) {
		shared->nr_written += counts.records;
		shared->nr_requests += counts.requests;
		shared->nr_waits += counts.waits;
	}
	unlock_file(recording);
	return err;
}

int recording_add_disk(struct recording *recording, const struct record_disk *disk,
		       uint16_t *ret_index)
{
	struct recording_shared *shared = recording->shared;
	unsigned char head[RECORD_BLOCK_BYTES], bytes[RECORD_DISK_BYTES];
	uint16_t index;
	int err = -ENOSPC;

	record_put_disk(bytes, disk);
	lock_file(recording);
	index = atomic_load(&shared->nr_disks);
	if (index < RECORD_DISKS_MAX) {
		record_put_block(head, index, RECORD_IS_DISK, bytes, sizeof(bytes), NULL, 0);
		err = append_block(recording, head, bytes, sizeof(bytes), NULL, 0);
	}
	if (!err) {
		atomic_store(&shared->nr_disks, index + 1);
		*ret_index = index;
	}
	unlock_file(recording);
	return err;
}

/* ------------------------------------------------------------------------------ control */

/* The lock is held; the record has its step. */
static int append_control(struct recording *recording, const struct record *record)
{
	bool nobodys = record->type >= RECORD_MARK;
	unsigned char head[RECORD_BLOCK_BYTES];
	_cleanup_free_ unsigned char *bytes = NULL;
	size_t len, data_len = record->data ? record->len_bytes : 0;
	int err = record_put_control(&recording->shared->header, record, &bytes, &len);

	if (err) {
		recording_end(recording, err);
		return err;
	}
	record_put_block(head, nobodys ? RECORD_NOBODY : record->disk, RECORD_CONTROL, bytes, len,
			 record->data, data_len);
	err = append_block(recording, head, bytes, len, record->data, data_len);
	if (!err)
		recording->shared->nr_written++;
	return err;
}

int recording_control(struct recording *recording, struct record *record)
{
	int err = 0;

	lock_file(recording);
	record->step = recording_draw(recording);
	if (record->step)
		err = append_control(recording, record);
	unlock_file(recording);
	return err;
}

int recording_mark(struct recording *recording, struct record *record)
{
	int err = 0;

	lock_file(recording);
	record->step = recording_draw(recording);
	if (record->step) {
		record->mark = atomic_fetch_add(&recording->shared->nr_marks, 1) + 1;
		err = append_control(recording, record);
	}
	unlock_file(recording);
	return err;
}

bool recording_try_close(struct recording *recording, uint64_t now_ns)
{
	struct recording_shared *shared = recording->shared;
	uint64_t step = atomic_load(&shared->close_step);
	int ending = atomic_load(&shared->ending);
	bool closed;

	if (!step || ending <= 0)
		return false;
	lock_file(recording);
	if (!shared->closed && shared->nr_written == step - 1 && !recording_error(recording))
		shared->closed = !append_control(
			recording, &(struct record){ .type = RECORD_CLOSE,
						     .step = step,
						     .time_ns = now_ns,
						     .why = (enum record_why)(ending - 1),
						     .nr_requests = shared->nr_requests,
						     .nr_waits = shared->nr_waits });
	closed = shared->closed;
	unlock_file(recording);
	if (closed)
		unlock_for_others(recording);
	return closed;
}

/* ------------------------------------------------------------------------------ life */

static int map_shared(struct recording *recording)
{
	void *memory =
		fail_value("faults/record/recording/map", (errno = ENOMEM, MAP_FAILED),
			   mmap(NULL, sizeof(struct recording_shared), PROT_READ | PROT_WRITE,
				MAP_SHARED, recording->fds[SHARED_FD], 0));

	if (memory == MAP_FAILED)
		return -errno;
	recording->shared = memory;
	return 0;
}

static int create_shared(struct recording *recording, const struct recorder_options *options,
			 struct diag *diag)
{
	struct recording_shared *shared;
	int err = 0, fd = fail_errno("faults/record/recording/memfd", EMFILE,
				     memfd_create("faultblk-recording", MFD_CLOEXEC));

	if (fd < 0)
		return diag_set(diag, -errno, "record.memory", "no memory for the recording: %s",
				strerror(errno));
	recording->fds[SHARED_FD] = fd;
	if (ftruncate(fd, sizeof(*shared)) < 0)
		err = -errno;
	if (!err)
		err = map_shared(recording);
	if (!err)
		err = init_lock(&recording->shared->lock);
	if (err)
		return diag_set(diag, err, "record.memory", "no memory for the recording: %s",
				strerror(-err));
	shared = recording->shared;
	shared->magic = SHARED_MAGIC;
	shared->header = (struct record_header){ .start_ns = clock_now_ns(),
						 .flags = options->data ? RECORD_DATA : 0 };
	shared->full = options->full;
	atomic_store(&shared->limit_bytes, options->limit_bytes);
	if (getrandom(&shared->header.id, sizeof(shared->header.id), GRND_NONBLOCK) < 0)
		shared->header.id = shared->header.start_ns;
	return 0;
}

/* The caller's file, or one of our own at @path. */
static int open_file(const struct recorder_options *options, struct diag *diag)
{
	const int flags = O_WRONLY | O_APPEND | O_CLOEXEC;
	bool given = options->fd > 0;
	int err, fd = fail_errno("faults/record/recording/open", EMFILE,
				 given ? fcntl(options->fd, F_DUPFD_CLOEXEC, 3)
				       : open(options->path, O_CREAT | O_EXCL | flags, 0600));

	/* Whoever joins writes behind what is there. */
	if (fd >= 0 && (!given || fcntl(fd, F_SETFL, O_APPEND) == 0))
		return fd;
	err = -errno;
	cleanup_close(&fd);
	diag_set(diag, err, "record.file", "cannot make the record file %s: %s", options->path,
		 strerror(-err));
	if (err == -EEXIST)
		diag_hint(diag, "remove it, or name another one");
	return err;
}

static int create_file(struct recording *recording, const struct recorder_options *options,
		       struct diag *diag)
{
	struct recording_shared *shared = recording->shared;
	unsigned char bytes[RECORD_HEADER_BYTES];
	int err, fd = open_file(options, diag);

	if (fd < 0)
		return fd;
	recording->fds[FILE_FD] = fd;
	/* A new file is nobody else's; where there are no locks it goes without. */
	flock(fd, LOCK_EX | LOCK_NB);
	snprintf(shared->path, sizeof(shared->path), "%s", options->path);
	record_put_header(bytes, &shared->header);
	err = write_all(fd, bytes, sizeof(bytes));
	atomic_store(&shared->file_bytes, sizeof(bytes));
	if (!err)
		return 0;
	if (options->fd <= 0)
		unlink(options->path);
	return diag_set(diag, err, "record.file", "cannot write the record file %s: %s",
			options->path, strerror(-err));
}

_cold_ int recording_create(struct recording *recording, const struct recorder_options *options,
			    struct diag *diag)
{
	int err;

	*recording = (struct recording){ .fds = { -1, -1 } };
	if (strlen(options->path) >= PATH_MAX)
		return diag_set(diag, -ENAMETOOLONG, "record.file",
				"the name of the record file has more than %d bytes", PATH_MAX - 1);
	err = create_shared(recording, options, diag);
	return err ? err : create_file(recording, options, diag);
}

_cold_ int recording_join(struct recording *recording, const int fds[2], struct diag *diag)
{
	struct stat stat;
	int err;

	*recording = (struct recording){ .fds = { fds[FILE_FD], fds[SHARED_FD] } };
	if (fstat(fds[SHARED_FD], &stat) < 0 || fstat(fds[FILE_FD], &(struct stat){ 0 }) < 0 ||
	    stat.st_size != (off_t)sizeof(struct recording_shared))
		return diag_set(diag, -EINVAL, "record.join",
				"descriptors %d and %d are not those of a recording", fds[FILE_FD],
				fds[SHARED_FD]);
	for (int i = 0; i < 2; i++)
		fcntl(fds[i], F_SETFD, FD_CLOEXEC);
	err = map_shared(recording);
	if (err)
		return diag_set(diag, err, "record.memory", "no memory for the recording: %s",
				strerror(-err));
	if (recording->shared->magic != SHARED_MAGIC)
		return diag_set(diag, -EINVAL, "record.join",
				"descriptor %d is not that of a recording", fds[SHARED_FD]);
	return 0;
}

_cold_ void recording_free(struct recording *recording)
{
	if (recording->shared)
		munmap(recording->shared, sizeof(*recording->shared));
	for (int i = 0; i < 2; i++)
		cleanup_close(&recording->fds[i]);
	recording->shared = NULL;
}
