// SPDX-License-Identifier: MIT
#include "tools/rpc/ballot.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* No more may be taken from it, or the next look at it would be the last. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* What is shared. */
struct paper {
	_Atomic uint32_t word; /* enum ballot_word */
	uint32_t pid;          /* with the time: no two are the same */
	uint64_t time_ns;
};

struct ballot {
	int fd;
	struct paper *paper;
	uint64_t time_ns;
	uint32_t pid;
};

static void cleanup_ballot(struct ballot **ballot)
{
	ballot_free(*ballot);
}

static int map(struct ballot *ballot)
{
	void *paper = fail_value("tools/rpc/ballot/map", (errno = ENOMEM, MAP_FAILED),
				 mmap(NULL, sizeof(struct paper), PROT_READ | PROT_WRITE,
				      MAP_SHARED, ballot->fd, 0));

	if (paper == MAP_FAILED)
		return -errno;
	ballot->paper = paper;
	return 0;
}

static int make(struct ballot *ballot)
{
	int err;

	ballot->fd = fail_errno("tools/rpc/ballot/memfd", EMFILE,
				memfd_create("faultblk-ballot", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (ballot->fd < 0 || ftruncate(ballot->fd, sizeof(struct paper)) < 0)
		return -errno;
	err = map(ballot);
	if (err)
		return err;
	ballot->paper->time_ns = ballot->time_ns = clock_now_ns();
	ballot->paper->pid = ballot->pid = (uint32_t)getpid();
	return fcntl(ballot->fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

int ballot_create(struct ballot **ret_ballot)
{
	_cleanup_(cleanup_ballot) struct ballot *ballot =
		fail_alloc("tools/rpc/ballot/alloc", calloc(1, sizeof(*ballot)));
	int err;

	if (!ballot)
		return -ENOMEM;
	err = make(ballot);
	if (err)
		return err;
	*ret_ballot = take_ptr(ballot);
	return 0;
}

static int take(struct ballot *ballot, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS), err;
	struct stat st;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 ||
	    st.st_size != sizeof(struct paper))
		return -EINVAL;
	ballot->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (ballot->fd < 0)
		return -errno;
	err = map(ballot);
	if (err)
		return err;
	ballot->time_ns = ballot->paper->time_ns;
	ballot->pid = ballot->paper->pid;
	return 0;
}

int ballot_open(int fd, struct ballot **ret_ballot)
{
	_cleanup_(cleanup_ballot) struct ballot *ballot =
		fail_alloc("tools/rpc/ballot/part", calloc(1, sizeof(*ballot)));
	int err;

	if (!ballot)
		return -ENOMEM;
	ballot->fd = -1;
	err = take(ballot, fd);
	if (err)
		return err;
	*ret_ballot = take_ptr(ballot);
	return 0;
}

struct ballot *ballot_free(struct ballot *ballot)
{
	if (!ballot)
		return NULL;
	if (ballot->paper)
		munmap(ballot->paper, sizeof(struct paper));
	if (ballot->fd >= 0)
		close(ballot->fd);
	free(ballot);
	return NULL;
}

int ballot_fd(const struct ballot *ballot)
{
	return ballot->fd;
}

enum ballot_word ballot_look(const struct ballot *ballot)
{
	switch (atomic_load(&ballot->paper->word)) {
	case BALLOT_OPEN:
		return BALLOT_OPEN;
	case BALLOT_CUT:
		return BALLOT_CUT;
	}
	return BALLOT_GO_ON;
}

enum ballot_word ballot_decide(struct ballot *ballot, enum ballot_word word)
{
	uint32_t open = BALLOT_OPEN;

	atomic_compare_exchange_strong(&ballot->paper->word, &open, (uint32_t)word);
	return ballot_look(ballot);
}

bool ballot_is_older(const struct ballot *a, const struct ballot *b)
{
	return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->pid < b->pid;
}
