// SPDX-License-Identifier: MIT
/*
 * Small parts of the program that need no kernel and no disk, see way.h: what looks for processes,
 * mounts and folders, rules that are read by a thread, and recordings of before.
 */
#include "base/cleanup.h"
#include "base/mounts.h"
#include "faults/journal/read.h"
#include "faults/record/code.h"
#include "faults/record/recorder.h"
#include "holders.h"
#include "tests/fail/way.h"
#include "tools/cli/guard.h"
#include "tools/cli/left_folder.h"
#include "tools/rpc/reading.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_SUCH_DISK 990003
#define NO_SUCH_NODE "ublkb990003"
#define SOON_MS      PATIENCE_MS

static char dir[] = "/tmp/faultblk-parts.XXXXXX";

static int way_reading(struct diag *diag)
{
	json_t *rules = json_string("a op=read do=delay:1ms");
	struct rpc_reading *reading = NULL;
	struct rule *rule = NULL;
	int err = rpc_reading_create(&reading);

	if (!err)
		err = rpc_reading_ask(reading, 1, rules);
	if (err == -EAGAIN) {
		struct pollfd read = { .fd = rpc_reading_fd(reading), .events = POLLIN };

		EXPECT_EQ(poll(&read, 1, SOON_MS), 1);
		rpc_reading_seen(reading);
		err = rpc_reading_ask(reading, 1, rules);
		EXPECT_EQ(err, 0);
		err = rpc_reading_take(reading, 0, diag, &rule);
		rpc_reading_end(reading);
	}
	rule_unref(rule);
	rpc_reading_free(reading);
	json_decref(rules);
	return words_for(err, diag, "reading");
}

static void hear(void *ctx, const struct left_folder *folder)
{
	if (folder->why)
		diag_set(ctx, -EIO, "left", "%s", folder->why);
}

/* What one try left, the next removes. */
static int way_left_folder(struct diag *diag)
{
	static const struct folder_kind kind = { .prefix = "in-",
						 .lock = "lock",
						 .command = "test" };
	_cleanup_close_ int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int lock = -1, file = -1;
	int err;

	mkdirat(at, "in-a", 0700);
	mkdirat(at, "in-a/deep", 0700);
	lock = openat(at, "in-a/lock", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	file = openat(at, "in-a/deep/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	EXPECT(lock >= 0 && file >= 0);
	err = left_folder_sweep(dir, &kind, false, hear, diag);
	if (!err && diag->message[0])
		err = -EIO;
	EXPECT_EQ(faccessat(at, "in-a", F_OK, 0) == 0, err != 0);
	return words_for(err, diag, "left folder");
}

static void hear_process(void *ctx, const struct guard_left *process, const char *why)
{
	if (why)
		diag_set(ctx, -EIO, "left", "%s: %s", process->name, why);
}

/* A process of an exploration that is no more. */
static pid_t start_left(void)
{
	char *argv[] = { "sleep", "1000", NULL }, variable[64], *env[] = { variable, NULL };
	struct stat space;
	pid_t pid = -1;

	EXPECT(stat("/proc/self/ns/pid", &space) == 0);
	snprintf(variable, sizeof(variable), GUARD_WORKER "=4000000.%llu.0",
		 (unsigned long long)space.st_ino);
	EXPECT(posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, env) == 0);
	return pid;
}

static int way_guard(struct diag *diag)
{
	pid_t left = start_left();
	struct guard guard;
	int err = guard_start(NULL, &guard);

	if (!err)
		err = guard_sweep(false, hear_process, diag);
	if (!err && diag->message[0])
		err = -EIO;
	guard_end(&guard, true);
	kill(left, SIGKILL);
	waitpid(left, NULL, 0);
	return words_for(err, diag, "guard");
}

static int way_mounts(struct diag *diag)
{
	int err = mounts_detach(NO_SUCH_NODE);

	EXPECT(err <= 0);
	return words_for(err, diag, "mounts");
}

/* There is none: that is what is found, however little can be looked at. */
static int way_holders(struct diag *diag)
{
	struct ublk_holder holder;

	EXPECT_EQ(ublk_holders(NO_SUCH_DISK, &holder, 1), 0);
	return words_for(holders_of_dead(NO_SUCH_DISK, &holder, 1), diag, "holders");
}

/* A disk with a cache and one write. */
static int record_old(const char *path, struct diag *diag)
{
	static const struct record_disk disk = { .name = "d",
						 .size_bytes = 1 << 20,
						 .block_bytes = 512,
						 .physical_bytes = 512,
						 .max_io_bytes = 4096,
						 .depth = 1,
						 .flags = RECORD_CACHE,
						 .nr_queues = 1 };
	const struct recorder_options options = { .path = path, .data = true };
	unsigned char data[512] = { 1 };
	struct io io = { .op = IO_WRITE, .len_bytes = 512, .data = data, .result = 512 };
	struct recorder_disk *recorded = NULL;
	struct recorder *recorder = NULL;
	int err = recorder_create(&options, diag, &recorder);

	if (!err)
		err = recorder_add_disk(recorder, &disk, diag, &recorded);
	if (!err) {
		recorder_arrive(recorded, &io);
		recorder_walked(recorded, &io, 1, RECORDER_DONE);
		recorder_batch_done(recorded, 0);
	}
	recorder_close(recorder, NULL);
	return err;
}

/* The file that a program of version 2 would have written, made once, with nothing failing. */
static int way_old_journal(struct diag *diag)
{
	static unsigned char bytes[16 << 10];
	static size_t size;
	struct journal *journal = NULL;
	int err;

	if (!size) {
		char path[128];
		FILE *file;
		uint32_t crc;

		snprintf(path, sizeof(path), "%s/old", dir);
		EXPECT_EQ(record_old(path, diag), 0);
		file = fopen(path, "re");
		size = file ? fread(bytes, 1, sizeof(bytes), file) : 0;
		if (file)
			fclose(file);
		unlink(path);
		EXPECT(size > RECORD_HEADER_BYTES);
		bytes[8] = 2;
		crc = record_crc(0, bytes, RECORD_HEADER_BYTES - 4);
		memcpy(bytes + RECORD_HEADER_BYTES - 4, &crc, 4);
	}
	err = journal_from_record(bytes, size, diag, &journal);
	EXPECT(err || journal->nr_writes == 1);
	journal_free(journal);
	return words_for(err, diag, "journal");
}

static void rules_are_read_by_a_thread_or_it_says_why(void)
{
	sweep(way_reading);
}

static void a_folder_that_is_left_goes_or_is_told(void)
{
	sweep(way_left_folder);
}

static void a_guard_is_there_and_processes_are_listed_or_it_says_why(void)
{
	sweep(way_guard);
}

static void mounts_are_read_or_it_says_why(void)
{
	sweep(way_mounts);
}

static void who_holds_a_disk_is_looked_for_as_far_as_it_goes(void)
{
	sweep_way(way_holders, false);
}

static void a_recording_of_version_2_is_read_or_it_says_why(void)
{
	sweep(way_old_journal);
}

int main(int argc, char **argv)
{
	static const struct device_test tests[] = {
		DEVICE_TEST(rules_are_read_by_a_thread_or_it_says_why),
		DEVICE_TEST(a_folder_that_is_left_goes_or_is_told),
		DEVICE_TEST(a_guard_is_there_and_processes_are_listed_or_it_says_why),
		DEVICE_TEST(mounts_are_read_or_it_says_why),
		DEVICE_TEST(who_holds_a_disk_is_looked_for_as_far_as_it_goes),
		DEVICE_TEST(a_recording_of_version_2_is_read_or_it_says_why),
	};
	int failed;

	if (failpoint_init() || !mkdtemp(dir))
		return 1;
	failed = run_tests(tests, array_size(tests), argc > 1 ? argv[1] : NULL);
	rmdir(dir);
	return failed != 0;
}
