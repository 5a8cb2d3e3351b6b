// SPDX-License-Identifier: MIT
#include "tools/serve/joint.h"

#include "base/cleanup.h"
#include "base/flusher.h"
#include "base/list_text.h"
#include "base/printable.h"
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
	char left_out[400], words[1000];
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

/* @diag says why a disk is not among those that are cut, or may not be. */
static void leave_out(struct joint_job *job, const char *name, bool follows,
		      const struct diag *diag)
{
	int n = snprintf(job->left_out + job->len, sizeof(job->left_out) - job->len,
			 follows ? "; disk '%s' has not confirmed it: %.*s" : "; not disk '%s': %.*s",
			 name, (int)printable_fit(diag->message, 200), diag->message);

	job->len += (size_t)n < sizeof(job->left_out) - job->len ? (size_t)n : 0;
	job->left_out[job->len] = '\0';
}

/* Our own is the first. One that is there already, by whatever name, is there once. */
static int open_member(struct disk_group *group, const char *name, const char *socket,
		       struct diag *diag)
{
	struct disk_member *member = &group->members[group->nr];
	char path[PATH_MAX];
	int err = 0;

	if (!socket)
		err = runtime_socket(name, path, diag);
	if (!err && disk_group_has(group, socket ?: path))
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
	int err = open_member(group, job->name, job->socket, diag);

	memcpy(names, job->joint.with, sizeof(names));
	for (char *name = strtok_r(names, "+", &rest); name && !err;
	     name = strtok_r(NULL, "+", &rest)) {
		struct diag why = { 0 };

		if (group->nr < MEMBERS_MAX && open_member(group, name, NULL, &why))
			leave_out(job, name, false, &why);
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
		leave_out(job, member->name, false, &member->diag);
		rpc_client_free(member->client);
		json_decref(member->answer);
	}
	group->nr = nr;
	return was - nr;
}

static int cut(struct joint_job *job, struct disk_group *group, struct diag *diag)
{
	int err = open_members(job, group, diag);
	bool again;

	for (unsigned int i = 0; i < TRIES_MAX && !err; i++) {
		err = disk_group_crash(group, cut_params, job, diag, NULL);
		if (!err || group->decided || group->members[0].err)
			break;
		again = (drop_failed(job, group) || err == -ECANCELED) && i + 1 < TRIES_MAX;
		err = again ? 0 : err;
	}
	return err;
}

/* Those that said that they are cut. */
static const char *list_cut(struct joint_job *job, const struct disk_group *group,
			    struct list_text *list)
{
	for (unsigned int i = 0; i < group->nr; i++) {
		const struct disk_member *member = &group->members[i];

		if (member->err)
			leave_out(job, member->name, member->err != -EREMOTEIO, &member->diag);
		else
			list_text_add(list, member->name);
	}
	return list_text_end(list);
}

/* Our own was cut before, by something else. */
static bool was_dead(const struct diag *diag)
{
	return strcmp(diag->id, "disk.no-power") == 0 || strcmp(diag->id, "disk.gone") == 0;
}

static void describe(struct joint_job *job, const struct disk_group *group, int err,
		     const struct diag *diag)
{
	const char *verb = job->joint.unplug ? "takes away" : "cuts the power", *cut;
	char names[160];
	struct list_text list;

	if (err && !group->decided) {
		snprintf(job->words, sizeof(job->words),
			 was_dead(diag) ? "a rule of disk '%s' takes no disk along: %.*s%s"
					: "a rule cuts disk '%s' alone: %.*s%s",
			 job->name, (int)printable_fit(diag->message, 150), diag->message,
			 job->left_out);
		return;
	}
	list_text_begin(&list, names, sizeof(names));
	cut = list_cut(job, group, &list);
	snprintf(job->words, sizeof(job->words), "a rule %s at one moment: %s%s", verb, cut,
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
