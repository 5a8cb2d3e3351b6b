// SPDX-License-Identifier: MIT
#include "tools/serve/joint.h"

#include "base/cleanup.h"
#include "base/flusher.h"
#include "base/list_text.h"
#include "base/rng.h"
#include "faults/rule/ast.h"
#include "tools/rpc/disk_group.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MEMBERS_MAX (JOINT_NAMES_MAX / 2 + 2)
#define TRIES_MAX   8 /* each that fails leaves a disk out, or met another cut */

struct joint_job {
	struct joint_cut joint;
	char name[RUNTIME_NAME_MAX + 1];
	char socket[PATH_MAX];
	int event_fd;
	_Atomic unsigned int users; /* the thread, and whoever started it */
	_Atomic bool over;
	/* The thread's, until it is over. */
	struct disk_member members[MEMBERS_MAX];
	char left_out[400], words[800];
	size_t len; /* of left_out */
};

static void drop(struct joint_job *job)
{
	if (atomic_fetch_sub(&job->users, 1) != 1)
		return;
	close(job->event_fd);
	free(job);
}

/* ------------------------------------------------------------------------------ the thread */

static void leave_out(struct joint_job *job, const char *name, const struct diag *diag)
{
	int n = snprintf(job->left_out + job->len, sizeof(job->left_out) - job->len,
			 "; not disk '%s': %.200s", name, diag->message);

	job->len += (size_t)n < sizeof(job->left_out) - job->len ? (size_t)n : 0;
	job->left_out[job->len] = '\0';
}

/* Our own is the first, and there before the others. */
static int open_member(struct joint_job *job, struct disk_group *group, const char *name,
		       const char *socket, struct diag *diag)
{
	struct disk_member *member = &group->members[group->nr];
	char path[PATH_MAX];
	int err = 0;

	if (!socket)
		err = runtime_socket(name, path, diag);
	if (!err && !socket && strcmp(path, job->socket) == 0)
		return 0;
	if (!err)
		err = rpc_client_open_path(socket ?: path, diag, &member->client);
	if (err)
		return err;
	snprintf(member->name, sizeof(member->name), "%s", name);
	group->nr++;
	return 0;
}

static int open_members(struct joint_job *job, struct disk_group *group, struct diag *diag)
{
	char *rest = NULL, names[sizeof(job->joint.with)];
	int err = open_member(job, group, job->name, job->socket, diag);

	memcpy(names, job->joint.with, sizeof(names));
	for (char *name = strtok_r(names, "+", &rest); name && !err;
	     name = strtok_r(NULL, "+", &rest)) {
		struct diag why = { 0 };

		if (group->nr < MEMBERS_MAX && open_member(job, group, name, NULL, &why))
			leave_out(job, name, &why);
	}
	return err;
}

/* What chance decides is another thing for each disk, and the same one each time. */
static json_t *cut_params(void *ctx, const struct disk_member *member)
{
	static const char *const words[] = {
		[KEEP_NONE] = "none", [KEEP_ALL] = "all", [KEEP_RANDOM] = "random"
	};
	const struct joint_job *job = ctx;
	const struct power_cut *cut = &job->joint.cut;
	uint64_t bits = member == job->members
				? cut->bits
				: rng_mix(cut->bits, rule_hash_name(member->name), 0);
	json_t *params;

	if (job->joint.unplug)
		return json_pack("{s:b, s:I}", "unplug", 1, "gone_ns",
				 (json_int_t)job->joint.gone_ns);
	params = json_pack("{s:s}", "keep", words[cut->keep]);
	if (cut->keep != KEEP_RANDOM)
		return params;
	json_object_set_new(params, "seed", json_sprintf("%llu", (unsigned long long)bits));
	json_object_set_new(params, "share", json_real((double)cut->threshold / 0x1p64));
	return params;
}

/* Those that cannot be cut; how many there were. */
static unsigned int drop_failed(struct joint_job *job, struct disk_group *group)
{
	unsigned int nr = 1, was = group->nr;

	for (unsigned int i = 1; i < was; i++) {
		struct disk_member *member = &group->members[i];

		if (!member->err) {
			group->members[nr++] = *member;
			continue;
		}
		leave_out(job, member->name, &member->diag);
		rpc_client_free(member->client);
		json_decref(member->answer);
	}
	group->nr = nr;
	return was - nr;
}

static int cut(struct joint_job *job, struct disk_group *group, struct diag *diag)
{
	int err = open_members(job, group, diag);
	bool done = false, again;

	for (unsigned int i = 0; i < TRIES_MAX && !err && !done; i++) {
		err = disk_group_crash(group, cut_params, job, diag, NULL);
		if (!err || group->members[0].err)
			break;
		/* Decided, and somebody has not said that it is cut; or it can be tried again. */
		done = json_object_get(group->members[0].answer, "condition");
		again = (drop_failed(job, group) || err == -ECANCELED) && i + 1 < TRIES_MAX;
		err = done || again ? 0 : err;
	}
	return err;
}

static void describe(struct joint_job *job, const struct disk_group *group, int err,
		     const struct diag *diag)
{
	char names[160];
	struct list_text list;

	list_text_begin(&list, names, sizeof(names));
	for (unsigned int i = 0; i < group->nr; i++)
		list_text_add(&list, group->members[i].name);
	if (err)
		snprintf(job->words, sizeof(job->words), "a rule cuts disk '%s' alone: %.150s%s",
			 job->name, diag->message, job->left_out);
	else
		snprintf(job->words, sizeof(job->words), "a rule %s at one moment: %s%s",
			 job->joint.unplug ? "takes away" : "cuts the power", list_text_end(&list),
			 job->left_out);
}

static void *run(void *ctx)
{
	struct joint_job *job = ctx;
	struct disk_group group = { .members = job->members, .many = true };
	struct diag diag = { 0 };
	int err;

	/* The disks that stand still may be those that memory is written back to. */
	set_io_flusher(true);
	err = cut(job, &group, &diag);
	describe(job, &group, err, &diag);
	disk_group_forget(&group);
	for (unsigned int i = 0; i < group.nr; i++)
		rpc_client_free(group.members[i].client);
	atomic_store(&job->over, true);
	eventfd_write(job->event_fd, 1);
	drop(job);
	return NULL;
}

/* ------------------------------------------------------------------------------ control thread */

int joint_job_start(const struct joint_cut *joint, const char *name, const char *socket,
		    int event_fd, struct joint_job **ret_job)
{
	struct joint_job *job = calloc(1, sizeof(*job));
	pthread_t thread;
	int err;

	if (!job)
		return -ENOMEM;
	job->joint = *joint;
	snprintf(job->name, sizeof(job->name), "%s", name);
	snprintf(job->socket, sizeof(job->socket), "%s", socket);
	atomic_init(&job->users, 2);
	job->event_fd = fcntl(event_fd, F_DUPFD_CLOEXEC, 0);
	err = job->event_fd < 0 ? -errno : -pthread_create(&thread, NULL, run, job);
	if (err) {
		if (job->event_fd >= 0)
			close(job->event_fd);
		free(job);
		return err;
	}
	pthread_detach(thread);
	*ret_job = job;
	return 0;
}

const char *joint_job_words(const struct joint_job *job)
{
	return atomic_load(&job->over) ? job->words : NULL;
}

struct joint_job *joint_job_free(struct joint_job *job)
{
	if (job)
		drop(job);
	return NULL;
}
