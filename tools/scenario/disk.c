// SPDX-License-Identifier: MIT
#include "tools/scenario/disk.h"

#include "base/cleanup.h"
#include "faults/record/recorder.h"
#include "tools/cli/tool.h"
#include "tools/rpc/disk_group.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define RETRY_US    20000 /* before asking again for a rule that is not there */
#define WAIT_MS     5000  /* of one rules.wait; the client itself gives up after 30 s */
#define CHILD_WORDS (SCENARIO_OPTIONS_MAX + 8)
#define SELF        "/proc/self/exe"

/* ------------------------------------------------------------------------------ the process */

/* Build argv: its strings are owned by the caller, which exits or execs. NULL without memory. */
static char **child_words(const struct scenario_child *child, const char *seed)
{
	const struct scenario_disk *disk = child->disk;
	char **words = calloc(CHILD_WORDS, sizeof(*words));
	bool has_seed = false, ok = words != NULL;
	size_t nr = 0;

	if (!ok)
		return NULL;
	words[nr++] = strdup("faultblk");
	words[nr++] = strdup("run");
	words[nr++] = strdup("--json");
	ok = asprintf(&words[nr++], "--name=%s", disk->name) > 0;
	for (unsigned int i = 0; i < disk->nr_options && ok; i++) {
		const struct run_option *option = &disk->options[i];

		ok = asprintf(&words[nr++], "--%s%s%s", option->name, option->value ? "=" : "",
			      option->value ?: "") > 0;
		has_seed |= strcmp(option->name, "seed") == 0;
	}
	if (ok && seed && !has_seed)
		ok = asprintf(&words[nr++], "--seed=%s", seed) > 0;
	return ok ? words : NULL;
}

/* What the new process inherits of the recording. */
static int pass_recording(const struct recorder *recorder)
{
	char text[32];
	int fds[2];

	recorder_fds(recorder, fds);
	for (int i = 0; i < 2; i++)
		if (fcntl(fds[i], F_SETFD, 0) < 0)
			return -errno;
	snprintf(text, sizeof(text), "%d,%d", fds[0], fds[1]);
	return setenv(RECORDING_ENV, text, 1) < 0 ? -errno : 0;
}

/* The new process: never returns. */
static void run_child(const struct scenario_child *child, const char *seed,
		      const struct recorder *recorder, int out_fd, pid_t parent)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char **words = child_words(child, seed);
	sigset_t none;

	/* A group of its own: what is typed at the terminal is for COMMAND and for the supervisor.
	 */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	unsetenv("NOTIFY_SOCKET"); /* there is one manager, and we speak to it once all are up */
	if ((!recorder || !pass_recording(recorder)) && words && null_fd >= 0 &&
	    dup2(null_fd, STDIN_FILENO) >= 0 && dup2(out_fd, STDOUT_FILENO) >= 0)
		execv(SELF, words);
	tool_msg("cannot start the server of disk '%s': %m", child->disk->name);
	_exit(EXIT_FAILED);
}

int scenario_child_start(struct scenario_child *child, const char *seed,
			 const struct recorder *recorder, int *ret_fd)
{
	pid_t parent = getpid(), pid;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		run_child(child, seed, recorder, fds[1], parent);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -errno;
	}
	child->pid = pid;
	*ret_fd = fds[0];
	return 0;
}

int scenario_child_up(struct scenario_child *child, const char *line)
{
	json_t *words = json_loads(line, 0, NULL);
	const char *device = json_string_value(json_object_get(words, "device"));
	const char *socket = json_string_value(json_object_get(words, "socket"));
	const char *seed = json_string_value(json_object_get(words, "seed"));

	if (device && socket && seed) {
		snprintf(child->device, sizeof(child->device), "%s", device);
		snprintf(child->socket, sizeof(child->socket), "%s", socket);
		snprintf(child->seed, sizeof(child->seed), "%s", seed);
		child->up = true;
	}
	json_decref(words);
	return child->up ? 0 : -EPROTO;
}

bool scenario_child_reap(struct scenario_child *child, int *ret_status)
{
	if (!child->pid || waitpid(child->pid, ret_status, WNOHANG) != child->pid)
		return false;
	child->pid = 0;
	child->killed = WIFSIGNALED(*ret_status);
	return true;
}

/* ------------------------------------------------------------------------------ calls */

int scenario_child_arm(struct scenario_child *child, struct diag *diag, int *ret_code)
{
	const struct rule_set *set = child->disk->rules;
	json_t *rules;
	int err = rpc_client_open_path(child->socket, diag, &child->client);

	if (err || !rule_set_count(set))
		return err;
	rules = json_array();
	for (size_t i = 0; i < rule_set_count(set); i++) {
		_cleanup_free_ char *text = rule_print(rule_set_at(set, i));

		json_array_append_new(rules, json_string(text));
	}
	return rpc_client_call(child->client, "rules.replace", json_pack("{s:o}", "rules", rules),
			       diag, ret_code, NULL);
}

int scenario_child_step(struct scenario_child *child, const struct scenario_step *step,
			struct diag *diag, int *ret_code)
{
	_cleanup_free_ char *text = step->rule ? rule_print(step->rule) : NULL;
	const char *key = step->action == SCENARIO_RELEASE ? "rule" : "name";
	json_t *params = NULL;

	if (step->rule)
		params = json_pack("{s:s}", "rule", text);
	else if (step->action == SCENARIO_MARK)
		params = json_pack("{s:s}", "text", step->text);
	else if (step->action == SCENARIO_CAPACITY)
		params = json_pack("{s:s}", "capacity", step->text);
	else if (step->rule_name[0])
		params = json_pack("{s:s}", key, step->rule_name);
	return rpc_client_call(child->client, scenario_action_method(step->action), params, diag,
			       ret_code, NULL);
}

struct group_crash {
	const struct scenario_step *step;
	const struct scenario_child *children[SCENARIO_DISKS_MAX]; /* by member */
	const struct disk_member *first;
};

/* What chance decides comes from the disk's seed, so that the scenario repeats. */
static json_t *crash_params(void *ctx, const struct disk_member *member)
{
	const struct group_crash *crash = ctx;
	const char *keep = crash->step->text;

	if (!keep)
		return NULL;
	return json_pack("{s:s, s:s*}", "keep", keep, "seed",
			 strcmp(keep, "random") == 0 ? crash->children[member - crash->first]->seed
						     : NULL);
}

int scenario_children_crash(struct scenario_child *children, const struct scenario_step *step,
			    struct diag *diag)
{
	struct disk_member members[SCENARIO_DISKS_MAX] = { { .err = 0 } };
	struct disk_group group = { .members = members };
	struct group_crash crash = { .step = step, .first = members };
	int err;

	for (unsigned int i = 0; i < SCENARIO_DISKS_MAX; i++) {
		struct disk_member *member = &members[group.nr];

		if (!(step->disks >> i & 1))
			continue;
		crash.children[group.nr++] = &children[i];
		member->client = children[i].client;
		snprintf(member->name, sizeof(member->name), "%s", children[i].disk->name);
	}
	err = disk_group_crash(&group, crash_params, &crash, diag, NULL);
	disk_group_forget(&group);
	return err;
}

/* ------------------------------------------------------------------------------ waiting */

/* 1: it has the hits; 0: not yet; -EAGAIN: there is no such rule. */
static int wait_once(struct rpc_client *client, const char *name, uint64_t hits, struct diag *diag)
{
	int code = 0;
	int err = rpc_client_call(client, "rules.wait",
				  json_pack("{s:s, s:I, s:i}", "name", name, "hits",
					    (json_int_t)hits, "timeout_ms", WAIT_MS),
				  diag, &code, NULL);

	if (!err)
		return 1;
	if (err != -EREMOTEIO)
		return err;
	switch (code) {
	case RPC_TIMEOUT:
		return 0;
	case RPC_NOT_FOUND:
		return -EAGAIN;
	case RPC_GONE:
		return -ECONNRESET;
	}
	return err;
}

int scenario_wait_hits(struct rpc_client *client, const char *rule, uint64_t hits,
		       const _Atomic bool *quit, struct diag *diag)
{
	while (!*quit) {
		int err = wait_once(client, rule, hits, diag);

		if (err == 1)
			return 0;
		if (err && err != -EAGAIN)
			return err;
		if (err)
			usleep(RETRY_US);
	}
	return -ECANCELED;
}
