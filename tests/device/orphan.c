// SPDX-License-Identifier: MIT
/*
 * orphan: devices whose owner is another pid namespace's. A maker is a process of a pid namespace of
 * its own that adds a device and is held before it starts it: the driver calls such a device dead.
 */
#include "harness.h"
#include "ublkcore.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[4096];

static void catch_message(void *ctx, enum ublk_log_level level, const char *message)
{
	size_t at = strlen(said);

	(void)ctx;
	(void)level;
	snprintf(said + at, sizeof(said) - at, "%s\n", message);
}

static int nothing(void *ctx, struct ublk_req *req)
{
	(void)ctx;
	(void)req;
	return 0;
}

struct gate {
	int at, go; /* a byte is written when the maker is there; read before it goes on */
};

static int wait_at_gate(void *ctx, unsigned int queue)
{
	const struct gate *gate = ctx;
	char byte;

	(void)queue;
	return write(gate->at, "", 1) == 1 && read(gate->go, &byte, 1) == 1 ? 0 : -ECANCELED;
}

/* Makes a disk, and serves it until @go ends. */
static _Noreturn void make(struct gate gate)
{
	static const struct ublk_backend backend = {
		.name = "slow", .read = nothing, .write = nothing, .queue_start = wait_at_gate
	};
	struct ublk_options options;
	struct ublk_dev *dev;
	char byte;

	ublk_options_init(&options);
	options.size_bytes = 1 << 20;
	options.log = ublk_log_stderr;
	if (ublk_dev_open(&backend, &gate, &options, &dev))
		_exit(1);
	if (write(gate.at, "", 1) != 1 || read(gate.go, &byte, 1) != 0)
		_exit(2);
	ublk_dev_free(dev);
	_exit(0);
}

/* Run @what in the first process of a pid namespace of its own, our child. */
static pid_t in_pid_namespace(void (*what)(struct gate gate), struct gate gate, int close_at,
			      int close_go)
{
	pid_t pid, middle = fork();
	int status;

	if (middle)
		return middle;
	close(close_at);
	close(close_go);
	if (unshare(CLONE_NEWPID) < 0)
		_exit(10);
	pid = fork();
	if (pid == 0) {
		what(gate);
		_exit(0);
	}
	close(gate.at);
	close(gate.go);
	_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 11);
}

static int nr_devices(void)
{
	return ublk_list(NULL, 0);
}

/* With a /proc that shows nothing but this namespace. */
static void gc_twice(struct gate gate)
{
	int looked, deleted;

	(void)gate;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		_exit(2);
	looked = ublk_gc_look(catch_message, NULL);
	deleted = ublk_gc(catch_message, NULL);
	if (looked != -EBUSY || deleted != -EBUSY || !strstr(said, "another pid namespace")) {
		fprintf(stderr, "looked %d deleted %d: %s", looked, deleted, said);
		_exit(1);
	}
}

static void a_disk_that_is_being_made_in_another_pid_namespace_is_left_alone(void)
{
	int at[2], go[2], status;
	struct gate gate;
	pid_t maker, other;
	char byte;

	REQUIRE(pipe2(at, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	gate = (struct gate){ .at = at[1], .go = go[0] };
	fflush(stdout);
	maker = in_pid_namespace(make, gate, at[0], go[1]);
	close(at[1]);
	close(go[0]);
	REQUIRE(read(at[0], &byte, 1) == 1);
	EXPECT_EQ(nr_devices(), 1);
	/* From where it can be seen it lives; from a third namespace it cannot be. */
	EXPECT_EQ(ublk_gc_look(catch_message, NULL), 0);
	EXPECT_EQ(ublk_gc(catch_message, NULL), 0);
	other = in_pid_namespace(gc_twice, (struct gate){ .at = -1, .go = -1 }, at[0], go[1]);
	EXPECT(waitpid(other, &status, 0) == other && status == 0);
	EXPECT_EQ(nr_devices(), 1);
	/* It is made to its end. */
	EXPECT(write(go[1], "", 1) == 1 && read(at[0], &byte, 1) == 1);
	close(go[1]);
	EXPECT(waitpid(maker, &status, 0) == maker && status == 0);
	EXPECT_EQ(nr_devices(), 0);
	close(at[0]);
}

/* By the pid that it has here. */
static int child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%d", &child) != 1)
		child = 0;
	if (f)
		fclose(f);
	return child;
}

/* The first process of a pid namespace, so that its pid is that of somebody else here. */
static void what_a_killed_server_of_another_pid_namespace_left_is_deleted(void)
{
	struct ublk_dev_entry entry;
	int at[2], go[2], server;
	struct gate gate;
	pid_t maker;
	char byte;

	REQUIRE(pipe2(at, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	gate = (struct gate){ .at = at[1], .go = go[0] };
	said[0] = '\0';
	fflush(stdout);
	maker = in_pid_namespace(make, gate, at[0], go[1]);
	close(at[1]);
	close(go[0]);
	REQUIRE(read(at[0], &byte, 1) == 1 && write(go[1], "", 1) == 1 &&
		read(at[0], &byte, 1) == 1);
	REQUIRE(ublk_list(&entry, 1) == 1 && entry.owner_pid == 1 && !entry.owner_gone);
	server = child_of(maker);
	REQUIRE(server > 0 && kill(server, SIGKILL) == 0);
	REQUIRE(waitpid(maker, NULL, 0) == maker);
	EXPECT_EQ(ublk_gc_look(catch_message, NULL), 1);
	EXPECT_EQ(nr_devices(), 1);
	EXPECT_EQ(ublk_gc(catch_message, NULL), 1);
	EXPECT_EQ(nr_devices(), 0);
	if (!strstr(said, "would delete") || !strstr(said, "\ndeleted"))
		FAIL("it said: %s", said);
	close(at[0]);
	close(go[1]);
}

int main(int argc, char **argv)
{
	const struct device_test tests[] = {
		DEVICE_TEST(a_disk_that_is_being_made_in_another_pid_namespace_is_left_alone),
		DEVICE_TEST(what_a_killed_server_of_another_pid_namespace_left_is_deleted),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL) != 0;
}
