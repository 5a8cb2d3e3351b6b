// SPDX-License-Identifier: MIT
/*
 * The control thread. Everything that happens is an event in one loop: a client, a signal (by
 * signalfd), the end of COMMAND (SIGCHLD), the disk going away, a hit that somebody waits for, a
 * change of the disk's condition, the end of a work on its device, or the next try to close it. A
 * disk whose condition says that it has gone is taken out of the machine; it stays in SERVING,
 * without a device, until it is revived.
 *
 *	SERVING --stop, signal, end of COMMAND--> CLOSING --nobody holds it--> REMOVING --> GONE
 *	   ^                                       |   '------- by force ---------^
 *	   '------- still held after CLOSE_WAIT_MS-'
 *
 * Nothing here waits for the kernel: closing, removing and making a device are works of the disk
 * (disk/disk.h), and an image is a job. Meanwhile clients are served; what needs the queues while they
 * end or begin waits where it is, in its client's socket.
 */
#include "tools/serve/serve.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "faults/record/recorder.h"
#include "tools/cli/tool.h"
#include "tools/disk/apart.h"
#include "tools/disk/reread.h"
#include "tools/rpc/methods.h"
#include "tools/rpc/reading.h"
#include "tools/rpc/runtime.h"
#include "tools/rpc/server.h"
#include "tools/rpc/watch.h"
#include "tools/serve/joint.h"
#include "tools/serve/node_watch.h"
#include "tools/serve/standstill.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define CLOSE_WAIT_MS  5000
#define CLOSE_RETRY_MS 50
#define FLUSH_MS       500
#define JOB_WAIT_MS    1000 /* for an image job that is told to end */
#define HOLDERS_MAX    8
#define LOW_PAUSE_NS   (10 * NSEC_PER_SEC)
#define SIGNAL_EXIT    128

enum phase { SERVING, CLOSING, REMOVING, GONE };

struct serve {
	struct disk *disk;
	struct rpc_target target;
	struct rpc_server *server;
	struct watch *watch;
	struct node_watch *node; /* NULL: nobody is to be told what is on the disk */
	struct rpc_reading *reading;
	bool was_cut; /* without the word of who asked for it; not looked at yet */
	bool more;    /* the watch has more to deliver, or who had to wait can go on */
	bool has_command;
	bool working;                    /* the disk closes, its device is being made or read */
	bool hastened;                   /* the recording does not let queues wait */
	struct rpc_ticket revive_ticket; /* client 0: nobody asked for the revival */
	uint32_t revive_was;
	uint64_t revive_lost;
	struct rpc_ticket gone_ticket; /* who is told when the device has left; client 0: nobody */
	json_t *gone_result;           /* NULL: no memory for it, and who waits is cut off */
	struct rpc_ticket reread_ticket; /* whose change of the content the kernel looks at */
	json_t *reread_result;
	uint64_t return_ns; /* a disk that has gone comes back by itself then; 0: it does not */
	struct standstill still;
	struct joint_job *job_of_joint; /* NULL: no rule takes other disks along now */
	struct joint_cut joint;         /* what that one does */
	int signal_fd;
	const char *socket;
	enum phase phase;
	bool force;
	bool told;               /* that the disk is held */
	uint64_t nr_low, low_ns; /* of that the host has too little memory: told, and when */
	bool held_at_the_end;    /* COMMAND left it held */
	unsigned int nr_stops;   /* signals that ask us to end */
	uint64_t deadline_ns;
	uint64_t retry_ns;                         /* the next try to close, unless by force */
	struct rpc_ticket tickets[RPC_CLIENT_MAX]; /* who asked for the stop */
	unsigned int nr_tickets;
	pid_t child;           /* 0: none, or it has ended */
	struct image_job *job; /* NULL: none is under way */
	struct rpc_ticket job_ticket;
	bool job_lives; /* one could not be ended: what it may touch stays */
	int code;
};

static const int handled[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGCHLD,
			       SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU };

static void handled_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < array_size(handled); i++)
		sigaddset(set, handled[i]);
}

void serve_block_signals(void)
{
	sigset_t set;

	handled_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* A reader of our output or a client that goes away must not end the disk. */
	signal(SIGPIPE, SIG_IGN);
	/* Where whoever started us ignores the ends of children, nobody would tell us of ours. */
	signal(SIGCHLD, SIG_DFL);
}

/* ------------------------------------------------------------------------------ closing */

static void begin_close(struct serve *s, bool force)
{
	s->force |= force;
	if (s->phase != SERVING)
		return;
	s->phase = CLOSING;
	s->told = false;
	s->deadline_ns = clock_now_ns() + CLOSE_WAIT_MS * NSEC_PER_MSEC;
	s->retry_ns = 0;
}

static void answer_stops(struct serve *s, int err, const struct diag *diag)
{
	int code = err ? rpc_code_of(err) : 0;

	for (unsigned int i = 0; i < s->nr_tickets; i++)
		rpc_server_reply(s->server, &s->tickets[i], code, diag,
				 code ? NULL : json_pack("{s:b}", "stopped", 1));
	s->nr_tickets = 0;
}

/* A queue that waits for a full recording would keep the device from going away. */
static void let_recording_wait(struct serve *s, bool may)
{
	struct recorder_disk *recorder = pipeline_recorder(disk_pipeline(s->disk));

	if (recorder && s->hastened == may)
		recorder_let_wait(recorder_of(recorder), may);
	s->hastened = !may;
}

static void end_job(struct serve *s, bool give_up);
static void look_at_condition(struct serve *s);

/* A crash took the device away: who asked for it is told. */
static void tell_gone(struct serve *s)
{
	if (s->gone_ticket.client)
		rpc_server_reply(s->server, &s->gone_ticket, 0, NULL, s->gone_result);
	s->gone_result = NULL;
}

/* Whatever took the disk away: it is, and with it goes the socket. */
static void enter_gone(struct serve *s)
{
	s->phase = GONE;
	/* Whoever is told that it has stopped may at once begin another of the same name. */
	runtime_unlink(s->socket);
	let_recording_wait(s, false);
	disk_remove(s->disk);
	end_job(s, true);
	tell_gone(s);
	answer_stops(s, 0, NULL);
	watch_end_waits(s->watch, s->server, -ENODEV, "the disk was removed");
	watch_finish(s->watch, s->server);
	rpc_server_flush(s->server, FLUSH_MS);
	s->server = rpc_server_free(s->server);
	s->disk = s->job_lives ? NULL : disk_free(s->disk);
}

/* Whatever the queues stood still for: they go on, unless a cut was decided, which comes first. */
static void let_go_on(struct serve *s)
{
	s->more |= standstill_end(&s->still); /* who had to wait */
}

/* Held or not. */
static void begin_removal(struct serve *s)
{
	let_go_on(s);
	s->phase = REMOVING;
	let_recording_wait(s, false);
	disk_begin_removal(s->disk);
}

static void give_up_closing(struct serve *s, const struct diag *diag)
{
	answer_stops(s, -EBUSY, diag);
	s->phase = SERVING;
	tool_msg(
		"%s; the disk stays (a second signal, or `faultblk stop --force`, removes it by "
		"force)",
		diag->message);
	/* It may have gone meanwhile. */
	look_at_condition(s);
}

static bool is_late(const struct serve *s)
{
	return clock_now_ns() >= s->deadline_ns;
}

/* Will somebody hear of who holds it? */
static bool has_words(const struct serve *s)
{
	return !s->told || is_late(s);
}

/* @diag says who holds it. */
static void still_held(struct serve *s, const struct diag *diag)
{
	bool late = is_late(s);

	if (late && s->has_command && !s->child) {
		tool_msg("%s; removed by force", diag->message);
		s->held_at_the_end = true;
		s->force = true;
	} else if (late) {
		give_up_closing(s, diag);
	} else if (!s->told) {
		tool_msg("%s; waiting", diag->message);
		s->told = true;
	}
}

/* This reads all of /proc: for words, and where the try to close would change something. */
static bool is_held(const struct serve *s, struct diag *diag)
{
	const struct ublk_dev *dev = disk_dev(s->disk);
	struct ublk_holder holders[HOLDERS_MAX];
	int nr = dev ? ublk_holders(ublk_dev_id(dev), holders, HOLDERS_MAX) : 0;
	char words[384];

	if (nr <= 0)
		return false;
	diag_set(diag, 0, "device.held", "%s is %s", ublk_dev_path(dev),
		 ublk_holders_text(holders, (unsigned int)(nr < HOLDERS_MAX ? nr : HOLDERS_MAX),
				   words, sizeof(words)));
	diag_hint(diag, "end or unmount what holds it, or: faultblk stop --force");
	return true;
}

/*
 * In CLOSING, and again and again. What is under way comes to its end first. Of a disk that is held
 * the try is to leave the recording as it is.
 */
static void try_close(struct serve *s)
{
	struct diag diag = { 0 };

	if (s->working || disk_is_changing(s->disk) || (!s->force && clock_now_ns() < s->retry_ns))
		return;
	if (!s->force && pipeline_recorder(disk_pipeline(s->disk)) && is_held(s, &diag)) {
		still_held(s, &diag);
		if (!s->force)
			return;
	}
	if (s->force || !disk_dev(s->disk)) {
		begin_removal(s);
		return;
	}
	let_recording_wait(s, false);
	disk_begin_close(s->disk);
	s->working = true;
}

static void end_close(struct serve *s, int err, const struct diag *diag)
{
	struct diag holders = { 0 };

	if (err == -EBUSY) {
		let_recording_wait(s, true);
		s->retry_ns = clock_now_ns() + CLOSE_RETRY_MS * NSEC_PER_MSEC;
		still_held(s, has_words(s) && is_held(s, &holders) ? &holders : diag);
		return;
	}
	if (err)
		tool_msg("%s", diag->message);
	s->phase = REMOVING;
	if (err && err != -ETIMEDOUT)
		begin_removal(s);
}

static int on_stop(void *ctx, bool force, struct rpc_ticket *ticket, struct diag *diag)
{
	struct serve *s = ctx;

	if (s->nr_tickets == array_size(s->tickets))
		return diag_set(diag, -ENOSPC, "disk.stopping", "it is being stopped already");
	s->tickets[s->nr_tickets++] = *ticket;
	begin_close(s, force);
	return -EINPROGRESS;
}

/* ------------------------------------------------------------------------------ rereading */

static void tell_udev(const struct serve *s)
{
	if (disk_dev(s->disk))
		reread_tell_udev(ublk_dev_id(disk_dev(s->disk)));
}

static int on_reread(void *ctx, struct rpc_ticket *ticket, json_t *result)
{
	struct serve *s = ctx;
	struct diag diag = { 0 };
	int err = disk_begin_reread(s->disk, &diag);

	if (err == -EINPROGRESS) {
		s->working = true;
		s->reread_ticket = *ticket;
		s->reread_result = result;
		return err;
	}
	if (err) {
		tool_msg("cannot make the kernel reread the partition table: %s", diag.message);
		rpc_add_table(result, disk_dev(s->disk), err, true);
	}
	tell_udev(s);
	return 0;
}

static void end_reread(struct serve *s, int err, const struct diag *diag)
{
	/* A revival says what the disk was. */
	bool always = !json_object_get(s->reread_result, "was");

	if (diag->message[0])
		tool_msg("the rules are off: %s", diag->message);
	rpc_add_table(s->reread_result, disk_dev(s->disk), err, always);
	tell_udev(s);
	rpc_server_reply(s->server, &s->reread_ticket, 0, NULL, s->reread_result);
	s->reread_result = NULL;
	look_at_condition(s);
}

/* ------------------------------------------------------------------------------ images */

static int on_image(void *ctx, const struct image_request *request, struct rpc_ticket *ticket,
		    struct diag *diag)
{
	struct serve *s = ctx;
	int err;

	if (s->job) {
		diag_set(diag, -EBUSY, "image.busy",
			 "an image is being written or read already: %.200s",
			 image_job_path(s->job));
		diag_hint(diag, "wait for it");
		return -EBUSY;
	}
	err = image_job_start(s->disk, request, diag, &s->job);
	if (err)
		return err;
	s->job_ticket = *ticket;
	return -EINPROGRESS;
}

/* @give_up: the disk goes away. */
static void end_job(struct serve *s, bool give_up)
{
	struct diag diag = { 0 };
	uint64_t bytes = 0, size = 0;
	json_t *answer;
	bool loads;
	int err;

	if (!s->job)
		return;
	loads = image_job_loads(s->job);
	if (give_up)
		err = image_job_give_up(s->job, JOB_WAIT_MS, &diag, &bytes, &size);
	else
		err = image_job_end(s->job, &diag, &bytes, &size);
	s->job_lives |= give_up && err == -ETIMEDOUT;
	s->job = NULL;
	answer = err ? NULL : rpc_image_answer(size, bytes);
	if (err || !loads || give_up || on_reread(s, &s->job_ticket, answer) != -EINPROGRESS)
		rpc_server_reply(s->server, &s->job_ticket, err ? rpc_image_code_of(err) : 0, &diag,
				 answer);
}

/* ------------------------------------------------------------------------------ condition */

static int revive(struct serve *s, struct rpc_ticket *ticket, struct diag *diag, uint32_t *ret_was,
		  uint64_t *ret_lost)
{
	int err = disk_begin_revival(s->disk, diag, ret_was, ret_lost);
	json_t *answer = NULL;

	s->return_ns = 0;
	/* What was volatile has gone under a device that stays. */
	if (!err && *ret_was & CONDITION_OFF && ticket) {
		answer = rpc_revive_answer(*ret_was, *ret_lost, ublk_dev_path(disk_dev(s->disk)));
		err = on_reread(s, ticket, answer);
		if (!err)
			json_decref(answer);
	}
	if (err != -EINPROGRESS || answer)
		return err;
	s->working = true;
	s->revive_ticket = ticket ? *ticket : (struct rpc_ticket){ 0 };
	s->revive_was = *ret_was;
	s->revive_lost = *ret_lost;
	return err;
}

static int on_revive(void *ctx, struct rpc_ticket *ticket, struct diag *diag, uint32_t *ret_was,
		     uint64_t *ret_lost)
{
	return revive(ctx, ticket, diag, ret_was, ret_lost);
}

static void end_revival(struct serve *s, int err, const struct diag *diag)
{
	const struct ublk_dev *dev = disk_dev(s->disk);
	json_t *answer = NULL;

	if (dev) {
		tool_msg("the disk is back: %s", ublk_dev_path(dev));
		runtime_note_disk(s->socket, ublk_dev_id(dev));
		node_watch_free(s->node);
		s->node = node_watch_new(dev);
	}
	if (!err)
		answer = rpc_revive_answer(s->revive_was, s->revive_lost, ublk_dev_path(dev));
	else if (!s->revive_ticket.client)
		tool_msg("cannot bring the disk back: %s", diag->message);
	rpc_server_reply(s->server, &s->revive_ticket, err ? rpc_code_of(err) : 0, diag, answer);
	/* It may have gone again, before it was here. */
	look_at_condition(s);
}

static int on_freeze(void *ctx, uint64_t client, const struct cut_order *order, struct diag *diag)
{
	struct serve *s = ctx;
	/* It is for this freeze alone: a later one, without, is not to obey what was decided by it. */
	_cleanup_close_ int ballot_fd = rpc_server_take_passed(s->server, client);

	if (ballot_fd == -EMFILE)
		return diag_set(
			diag, -EMFILE, "disk.ballot",
			"the ballot of the power cut was lost: the server has no file descriptor "
			"left");
	return standstill_begin(&s->still, client, ballot_fd, order, diag);
}

static bool on_thaw(void *ctx, uint64_t client)
{
	struct serve *s = ctx;
	bool frozen = s->still.client == client;

	if (frozen)
		let_go_on(s);
	return frozen;
}

/* Nobody has cut the power, or nobody is left who would say so. */
static void look_at_freeze(struct serve *s)
{
	bool there = s->phase == SERVING && rpc_server_has(s->server, s->still.client);

	if (standstill_look(&s->still, there))
		s->more = s->was_cut = true;
	if (s->was_cut)
		look_at_condition(s);
	s->was_cut = false;
}

static int on_crash(void *ctx, uint64_t client, struct cut_order *order, struct diag *diag,
		    struct power_cut_result *ret_result)
{
	struct serve *s = ctx;
	int err = standstill_cut(&s->still, client, order, diag, ret_result);

	if (err == -ESTALE)
		return err;
	s->more = true;
	if (!err)
		look_at_condition(s);
	return err;
}

static void on_when_gone(void *ctx, struct rpc_ticket *ticket, json_t *result)
{
	struct serve *s = ctx;

	tell_gone(s);
	s->gone_ticket = *ticket;
	s->gone_result = result;
}

static bool is_changing(const struct serve *s)
{
	return s->still.client || disk_is_changing(s->disk);
}

static bool on_is_changing(void *ctx, uint64_t client)
{
	struct serve *s = ctx;

	if (disk_is_changing(s->disk))
		return true;
	return s->still.client && s->still.client != client &&
	       !(client &&
		 standstill_gives_way(&s->still, rpc_server_passed_fd(s->server, client)));
}

static void come_back(struct serve *s)
{
	struct diag diag = { 0 };
	uint64_t lost;
	uint32_t was;
	int err = revive(s, NULL, &diag, &was, &lost);

	if (err && err != -EINPROGRESS)
		tool_msg("cannot bring the disk back: %s", diag.message);
}

/* A kind of fault has made it so: what that means for the device and for those who wait. */
static void look_at_condition(struct serve *s)
{
	struct condition *condition = pipeline_condition(disk_pipeline(s->disk));
	uint32_t bits = condition_bits(condition);
	uint64_t back_ns;

	/* Without power nothing is released any more by anybody who waits for it to be carried out.
	 */
	if (bits & (CONDITION_OFF | CONDITION_GONE) &&
	    pipeline_release(disk_pipeline(s->disk), NULL, 0, SIZE_MAX))
		disk_kick(s->disk);
	if (!(bits & CONDITION_GONE) || !disk_dev(s->disk) || s->phase != SERVING || s->working)
		return;
	back_ns = atomic_load(&condition->gone_ns);
	tool_msg("%s is gone; %s", ublk_dev_path(disk_dev(s->disk)),
		 back_ns ? "it returns by itself" : "faultblk revive brings it back");
	if (!back_ns || __builtin_add_overflow(clock_now_ns(), back_ns, &s->return_ns))
		s->return_ns = 0;
	let_go_on(s);
	let_recording_wait(s, false);
	disk_begin_removal(s->disk);
}

static void tell_cut(struct serve *s, const char *why)
{
	tool_msg("%s", why);
	watch_announce(s->watch, s->server, "power",
		       json_pack("{s:s, s:s}", "state", "cut", "why", why));
}

/* Whatever has become of the others: the rule has hit, and the requests that wait are let go. */
static void end_joint(struct serve *s, const char *words)
{
	pipeline_joint_end(disk_pipeline(s->disk), &s->joint);
	tell_cut(s, words);
	s->job_of_joint = joint_job_free(s->job_of_joint);
}

/*
 * A rule has hit that takes other disks along, or that is over. While the one is under way the disk may
 * be cut by it, revived, and hit again.
 */
static void look_at_joint(struct serve *s)
{
	const char *words = s->job_of_joint ? joint_job_words(s->job_of_joint) : NULL;

	if (words)
		end_joint(s, words);
	if (s->job_of_joint || !pipeline_joint(disk_pipeline(s->disk), &s->joint))
		return;
	if (joint_job_start(&s->joint, disk_name(s->disk), s->socket, disk_event_fd(s->disk),
			    &s->job_of_joint))
		end_joint(s, "a rule cuts its disk alone: no memory to reach others");
}

/* A work on the device has come to its end, or a queue has. */
static void handle_works(struct serve *s)
{
	enum disk_change change;
	int err;

	do {
		struct diag diag = { 0 };

		change = disk_tend(s->disk, &diag, &err);
		s->working &= change == DISK_UNCHANGED;
		if (change == DISK_CLOSED)
			end_close(s, err, &diag);
		else if (change == DISK_MADE)
			end_revival(s, err, &diag);
		else if (change == DISK_REREAD)
			end_reread(s, err, &diag);
	} while (change != DISK_UNCHANGED);
	if (s->phase == SERVING && !disk_is_changing(s->disk))
		let_recording_wait(s, true);
}

/* It is full, goes on, or has ended. */
static void handle_recording(struct serve *s)
{
	struct recorder *recorder = recorder_of(pipeline_recorder(disk_pipeline(s->disk)));
	struct recorder_status status;

	recorder_event_seen(recorder);
	recorder_status(recorder, &status);
	if (status.state == RECORDER_FULL)
		tool_msg("the recording has reached its limit of %llu bytes: requests wait; "
			 "`faultblk recording --limit SIZE` raises it, `faultblk recording --stop` "
			 "ends it",
			 (unsigned long long)status.limit_bytes);
	watch_announce(s->watch, s->server, "recording", rpc_recording(disk_pipeline(s->disk)));
}

static void look_at_host(struct serve *s)
{
	uint64_t nr_low = store_host(disk_store(s->disk)).nr_low, now_ns = clock_now_ns();

	if (nr_low == s->nr_low || (s->nr_low && now_ns - s->low_ns < LOW_PAUSE_NS))
		return;
	tool_msg("the host is short of memory: writes to disk %s that need more memory fail with "
		 "EIO",
		 disk_name(s->disk));
	s->nr_low = nr_low;
	s->low_ns = now_ns;
}

static void handle_events(struct serve *s)
{
	disk_event_seen(s->disk);
	look_at_host(s);
	look_at_joint(s);
	look_at_condition(s);
}

/* ------------------------------------------------------------------------------ COMMAND */

static int set_environment(const struct serve *s)
{
	if (setenv("FAULTBLK_DEV", ublk_dev_path(disk_dev(s->disk)), 1) < 0 ||
	    setenv("FAULTBLK_SOCKET", s->socket, 1) < 0 ||
	    setenv("FAULTBLK_NAME", disk_name(s->disk), 1) < 0)
		return -errno;
	return 0;
}

/*
 * The environment is set before the fork: afterwards, with threads around, only what is safe in a
 * signal handler may be called, and it is ours to change, as queue threads do not read it.
 */
static int start_command(struct serve *s, char **command)
{
	int err = fail_value("tools/serve/serve/environment", -ENOMEM, set_environment(s));
	pid_t parent, pid;

	if (err)
		return err;
	parent = getpid();
	pid = fail_errno("tools/serve/serve/fork", EAGAIN, fork());
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		s->child = pid;
		return 0;
	}
	tool_become_command(parent);
	err = -apart_return();
	if (err) {
		dprintf(STDERR_FILENO, TOOL_PREFIX "cannot run '%s' in its mount namespace: %s\n",
			command[0], strerrordesc_np(err));
		_exit(EXIT_OURS);
	}
	execvp(command[0], command);
	err = errno;
	dprintf(STDERR_FILENO, TOOL_PREFIX "cannot run '%s': %s%s\n", command[0],
		strerrordesc_np(err), tool_quoted_hint(command, err));
	_exit(err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static void reap(struct serve *s)
{
	int status;
	pid_t pid;

	/* Only our own child: other children do not exist, but a wait for any would hide a bug. */
	if (!s->child)
		return;
	pid = waitpid(s->child, &status, WNOHANG);
	if (pid != s->child)
		return;
	s->child = 0;
	s->code = WIFEXITED(status) ? WEXITSTATUS(status) : SIGNAL_EXIT + WTERMSIG(status);
	if (s->phase != GONE)
		begin_close(s, false);
}

/* ------------------------------------------------------------------------------ events */

/*
 * From the terminal COMMAND gets SIGINT and SIGQUIT itself, through its process group; what
 * another process sends goes to us alone, and is passed on.
 */
static void signal_to_command(struct serve *s, const struct signalfd_siginfo *info)
{
	bool terminal = info->ssi_code == SI_KERNEL;

	if (s->child && !terminal)
		kill(s->child, (int)info->ssi_signo);
}

static void signal_to_us(struct serve *s)
{
	begin_close(s, ++s->nr_stops > 1);
}

static void handle_signals(struct serve *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(s);
		else if (s->child)
			signal_to_command(s, &info);
		else if (s->phase != GONE)
			signal_to_us(s);
	}
}

static int sooner(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* How long a turn may wait; -1: for ever. */
static int turn_timeout_ms(const struct serve *s)
{
	int timeout_ms = s->phase == CLOSING && !s->working ? CLOSE_RETRY_MS : -1;

	if (s->more)
		return 0;
	timeout_ms = sooner(timeout_ms, watch_timeout_ms(s->watch));
	if (s->still.client)
		return sooner(timeout_ms, clock_ms_until(s->still.end_ns));
	if (!s->return_ns || s->working || disk_is_changing(s->disk))
		return timeout_ms;
	return sooner(timeout_ms, clock_ms_until(s->return_ns));
}

/* With a disk: its clients, its events, its end. */
static int turn_with_disk(struct serve *s)
{
	struct recorder_disk *recorder = pipeline_recorder(disk_pipeline(s->disk));
	struct ublk_dev *dev = disk_dev(s->disk);
	bool changing = is_changing(s);
	struct pollfd extra[] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = dev && !s->working ? ublk_dev_gone_fd(dev) : -1, .events = POLLIN },
		{ .fd = disk_event_fd(s->disk), .events = POLLIN },
		{ .fd = recorder ? recorder_event_fd(recorder_of(recorder)) : -1,
		  .events = POLLIN },
		{ .fd = s->job && !changing && !s->working ? image_job_fd(s->job) : -1,
		  .events = POLLIN },
		{ .fd = disk_work_fd(s->disk), .events = POLLIN },
		{ .fd = rpc_reading_fd(s->reading), .events = POLLIN },
		{ .fd = dev ? node_watch_fd(s->node) : -1, .events = POLLIN },
	};
	int timeout_ms = turn_timeout_ms(s), err;

	s->more = false;
	err = rpc_server_turn(s->server, extra, array_size(extra), timeout_ms);
	if (err)
		return err;
	if (extra[0].revents)
		handle_signals(s);
	look_at_freeze(s);
	/*
	 * No client has had it removed within this very turn: what removes it waits for its queues,
	 * which have ended, and fails.
	 */
	if (extra[1].revents && s->phase != REMOVING && !s->working) {
		tool_msg("another program removed the disk");
		begin_removal(s);
	}
	if (extra[2].revents)
		handle_events(s);
	if (extra[3].revents)
		handle_recording(s);
	if (extra[4].revents && !s->still.client && !s->working)
		end_job(s, false);
	if (extra[5].revents)
		handle_works(s);
	changing = is_changing(s);
	if (!changing && !disk_is_leaving(s->disk, false))
		tell_gone(s);
	if (s->return_ns && clock_now_ns() >= s->return_ns && s->phase == SERVING && !changing &&
	    !s->working)
		come_back(s);
	if (extra[6].revents)
		rpc_reading_seen(s->reading);
	if (extra[7].revents && disk_dev(s->disk))
		node_watch_turn(s->node, disk_dev(s->disk));
	/* Who had to wait for the change of the disk, or for a file, is to go on. */
	s->more |= watch_turn(s->watch, s->server) || extra[5].revents || extra[6].revents;
	return 0;
}

static int turn(struct serve *s)
{
	struct pollfd signals = { .fd = s->signal_fd, .events = POLLIN };
	int err = 0;

	if (s->phase != GONE) {
		err = turn_with_disk(s);
	} else if (poll(&signals, 1, -1) >= 0) {
		handle_signals(s);
	} else if (errno != EINTR) {
		err = -errno;
	}
	if (!err && s->phase == CLOSING)
		try_close(s);
	if (!err && s->phase == REMOVING && !s->working && !disk_is_changing(s->disk) &&
	    !disk_is_leaving(s->disk, true))
		enter_gone(s);
	return err;
}

/* What has become of a standstill that its client did not end. */
static void tell_power(void *ctx, bool cut, const char *why)
{
	struct serve *s = ctx;

	s->was_cut |= cut;
	tool_msg("%s: %s", why, cut ? "the power is cut" : "the disk continues");
	watch_announce(s->watch, s->server, "power",
		       json_pack("{s:s, s:s}", "state", cut ? "cut" : "on", "why", why));
}

static int prepare(struct serve *s, const struct serve_options *options)
{
	const struct ublk_options *ublk = disk_ublk_options(s->disk);
	const struct cache *cache = pipeline_cache(disk_pipeline(s->disk));
	const struct rpc_server_options server = { .service = &rpc_methods_service,
						   .target = &s->target,
						   .listen_fd = options->listen_fd };
	sigset_t set;
	int err;

	s->target = (struct rpc_target){
		.pipeline = disk_pipeline(s->disk),
		/* What the kernel made of the options may be less than was asked for. */
		.geometry = disk_geometry(ublk, cache ? cache_model(cache) : NULL),
		.name = disk_name(s->disk),
		.socket = options->socket,
		.disk = s->disk,
		.stop = on_stop,
		.revive = on_revive,
		.freeze = on_freeze,
		.thaw = on_thaw,
		.crash = on_crash,
		.image = on_image,
		.when_gone = on_when_gone,
		.reread = on_reread,
		.is_changing = on_is_changing,
		.ctx = s,
	};
	err = rpc_server_new(&server, &s->server);
	if (!err)
		err = watch_create(disk_pipeline(s->disk), &s->watch);
	if (!err)
		err = rpc_reading_create(&s->reading);
	if (err)
		return err;
	s->target.watch = s->watch;
	s->still = (struct standstill){ .disk = s->disk, .tell = tell_power, .ctx = s };
	s->target.reading = s->reading;
	handled_set(&set);
	s->signal_fd = fail_errno("tools/serve/serve/signalfd", EMFILE,
				  signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
	if (s->signal_fd < 0)
		return -errno;
	if (disk_dev(s->disk)) {
		runtime_note_disk(s->socket, ublk_dev_id(disk_dev(s->disk)));
		s->node = node_watch_new(disk_dev(s->disk));
	}
	if (options->ready)
		options->ready(options->ctx);
	return options->command ? start_command(s, options->command) : 0;
}

int serve(const struct serve_options *options)
{
	struct serve s = { .disk = options->disk,
			   .socket = options->socket,
			   .signal_fd = -1,
			   .has_command = options->command != NULL };
	int err = prepare(&s, options);

	while (!err && (s.phase != GONE || s.child))
		err = turn(&s);
	if (err) {
		tool_msg("cannot continue to serve: %s", strerror(-err));
		s.code = s.has_command ? EXIT_OURS : EXIT_FAILED;
	}
	if (s.phase != GONE) {
		let_go_on(&s);
		runtime_unlink(s.socket);
		disk_remove(s.disk);
		end_job(&s, true);
		rpc_server_free(s.server);
		if (!s.job_lives)
			disk_free(s.disk);
	}
	joint_job_free(s.job_of_joint);
	watch_free(s.watch);
	node_watch_free(s.node);
	rpc_reading_free(s.reading);
	if (s.signal_fd >= 0)
		close(s.signal_fd);
	return s.held_at_the_end && s.code == EXIT_OK ? EXIT_OURS : s.code;
}
