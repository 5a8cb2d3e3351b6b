// SPDX-License-Identifier: MIT
#include "tools/rpc/disk_group.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"
#include "tools/cli/typed.h"
#include "tools/rpc/ballot.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* ------------------------------------------------------------------------------ who */

static bool is_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool disk_group_has(const struct disk_group *group, const char *socket)
{
	for (unsigned int i = 0; i < group->nr; i++)
		if (is_same(rpc_client_path(group->members[i].client), socket))
			return true;
	return false;
}

/* Takes over @client. One that is there already is there once. */
static int add(struct disk_group *group, struct rpc_client *client, struct diag *diag)
{
	struct disk_member *member;
	const char *name = json_string_value(json_object_get(rpc_client_hello(client), "name"));

	if (disk_group_has(group, rpc_client_path(client))) {
		rpc_client_free(client);
		return 0;
	}
	if (array_fit("tools/rpc/disk_group/add", group->members, group->nr + 1u)) {
		rpc_client_free(client);
		return diag_set(diag, -ENOMEM, "client.memory", "no memory for a list of disks");
	}
	member = &group->members[group->nr++];
	*member = (struct disk_member){ .client = client };
	snprintf(member->name, sizeof(member->name), "%s", name ?: "?");
	return 0;
}

static int add_choice(struct disk_group *group, const struct disk_choice *choice, struct diag *diag)
{
	struct rpc_client *client = NULL;
	int err = rpc_client_open(choice, diag, &client);

	return err ? err : add(group, client, diag);
}

struct group_finding {
	struct disk_group *group;
	struct diag *diag;
};

static int add_live(void *ctx, const char *name, const char *path, bool live)
{
	const struct group_finding *finding = ctx;
	struct rpc_client *client = NULL;
	int err;

	(void)name;
	if (!live)
		return 0;
	err = rpc_client_open_path(path, finding->diag, &client);
	/* It may have ended since. */
	if (err == -ENOENT || err == -ECONNREFUSED || err == -ECONNRESET)
		return 0;
	return err ? err : add(finding->group, client, finding->diag);
}

static int add_all(struct disk_group *group, struct diag *diag)
{
	int err = runtime_each(add_live, &(struct group_finding){ group, diag }, diag);

	if (err || group->nr)
		return err;
	diag_set(diag, 0, "client.no-disk", "no disk is running");
	diag_hint(diag, "start one with: faultblk run");
	return -ENODEV;
}

static int add_choices(struct disk_group *group, const struct disks_choice *choice,
		       struct diag *diag)
{
	int err = 0;

	for (size_t i = 0; i < choice->names.count && !err; i++)
		err = add_choice(group, &(struct disk_choice){ .name = choice->names.items[i] },
				 diag);
	for (size_t i = 0; i < choice->sockets.count && !err; i++)
		err = add_choice(group, &(struct disk_choice){ .socket = choice->sockets.items[i] },
				 diag);
	return err;
}

int disk_group_open(const struct disks_choice *choice, struct diag *diag, struct disk_group *group)
{
	size_t nr = choice->names.count + choice->sockets.count;
	int err;

	*group = (struct disk_group){ .many = choice->all || nr > 1 };
	if (choice->all && nr)
		return diag_set(diag, -EINVAL, "client.all-and-some",
				"--all does not go with --name or --socket");
	if (choice->all)
		err = add_all(group, diag);
	else if (nr)
		err = add_choices(group, choice, diag);
	else
		err = add_choice(group, &(struct disk_choice){ .name = NULL }, diag);
	/* What is said from here on is about none of them more than about another. */
	if (group->many)
		typed_set_disk(NULL, NULL);
	if (err)
		disk_group_close(group);
	return err;
}

static void forget(struct disk_member *member)
{
	json_decref(member->answer);
	member->answer = NULL;
	member->err = member->code = 0;
	member->diag = (struct diag){ .line = 0 };
}

void disk_group_forget(struct disk_group *group)
{
	for (unsigned int i = 0; i < group->nr; i++)
		forget(&group->members[i]);
}

void disk_group_close(struct disk_group *group)
{
	disk_group_forget(group);
	for (unsigned int i = 0; i < group->nr; i++)
		rpc_client_free(group->members[i].client);
	free(group->members);
	*group = (struct disk_group){ .members = NULL };
}

/* ------------------------------------------------------------------------------ asking */

/* @passed: a file that goes along; -1: none. */
static int ask(struct disk_group *group, const char *method, disk_params_fn params, void *ctx,
	       int passed)
{
	int err = 0;

	for (unsigned int i = 0; i < group->nr; i++) {
		struct disk_member *member = &group->members[i];

		forget(member);
		member->err = rpc_client_send_fd(member->client, method,
						 params ? params(ctx, member) : NULL, passed,
						 &member->diag);
	}
	for (unsigned int i = 0; i < group->nr; i++) {
		struct disk_member *member = &group->members[i];

		if (!member->err)
			member->err = rpc_client_answer(member->client, &member->diag,
							&member->code, &member->answer);
		err = err ?: member->err;
	}
	return err;
}

int disk_group_ask(struct disk_group *group, const char *method, disk_params_fn params, void *ctx)
{
	return ask(group, method, params, ctx, -1);
}

static const struct disk_member *first_failed(const struct disk_group *group)
{
	for (unsigned int i = 0; i < group->nr; i++)
		if (group->members[i].err)
			return &group->members[i];
	return NULL;
}

/* How many of them stand still, or are cut. */
static unsigned int nr_well(const struct disk_group *group)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < group->nr; i++)
		nr += group->members[i].err == 0;
	return nr;
}

static int blame(const struct disk_member *member, const char *what, struct diag *diag,
		 int *ret_code)
{
	int err = member->err;

	if (ret_code)
		*ret_code = member->code;
	diag_set(diag, err, member->diag.id, "disk '%s'%s: %.360s", member->name, what,
		 member->diag.message);
	if (member->diag.hint[0])
		diag_hint(diag, "%s", member->diag.hint);
	return err;
}

/* ------------------------------------------------------------------------------ power cuts */

struct frozen {
	disk_params_fn params;
	void *ctx;
};

static json_t *frozen_params(void *ctx, const struct disk_member *member)
{
	const struct frozen *frozen = ctx;
	json_t *params = frozen->params ? frozen->params(frozen->ctx, member) : NULL;

	params = params ?: json_object();
	json_object_set_new(params, "frozen", json_true());
	return params;
}

/*
 * @diag and what each answered to the freeze stand; what the thaw itself brings is of no interest, for a
 * freeze ends by itself.
 */
static void thaw(struct disk_group *group)
{
	for (unsigned int i = 0; i < group->nr; i++) {
		struct diag ignored = { 0 };

		group->members[i].asked =
			rpc_client_send(group->members[i].client, "disk.thaw", NULL, &ignored) == 0;
	}
	for (unsigned int i = 0; i < group->nr; i++) {
		struct diag ignored = { 0 };

		if (group->members[i].asked)
			rpc_client_answer(group->members[i].client, &ignored, NULL, NULL);
	}
}

static void patience(struct disk_group *group, int timeout_ms)
{
	for (unsigned int i = 0; i < group->nr; i++)
		rpc_client_patience(group->members[i].client, timeout_ms);
}

/*
 * A server that is slow to say that it stands still may have had another's freeze end meanwhile: half
 * of its time must be left for the cuts, which are then sent without waiting for any answer.
 */
static int freeze(struct disk_group *group, const struct ballot *ballot, disk_params_fn params,
		  void *ctx, struct diag *diag, int *ret_code)
{
	uint64_t end_ns = clock_now_ns() + RPC_FREEZE_MS / 2 * NSEC_PER_MSEC;
	int err;

	patience(group, RPC_FREEZE_MS / 2);
	err = ask(group, "disk.freeze", params, ctx, ballot_fd(ballot));
	patience(group, RPC_CALL_MS);
	if (err)
		blame(first_failed(group), ", so none was cut", diag, ret_code);
	else if (fail_value("tools/rpc/disk_group/late", true, clock_now_ns() >= end_ns))
		err = diag_set(diag, -ETIMEDOUT, "disk.late",
			       "no disk was cut: after %d s not all %u disks had paused",
			       RPC_FREEZE_MS / 2000, group->nr);
	return err;
}

int disk_group_decide(struct disk_group *group, struct ballot *ballot, disk_params_fn params,
		      void *ctx, struct diag *diag, int *ret_code)
{
	int err = freeze(group, ballot, params, ctx, diag, ret_code);
	enum ballot_word word = ballot_decide(ballot, err ? BALLOT_GO_ON : BALLOT_CUT);

	if (!err && word != BALLOT_CUT) {
		err = diag_set(diag, -ECANCELED, "disk.given-up",
			       "no disk was cut: one of the %u disks did not wait, or takes part "
			       "in another power cut",
			       group->nr);
		diag_hint(diag, "faultblk status shows their states; try again");
	}
	if (err)
		thaw(group);
	return err;
}

int disk_group_cut(struct disk_group *group, disk_params_fn params, void *ctx, struct diag *diag,
		   int *ret_code)
{
	struct frozen frozen = { params, ctx };
	const struct disk_member *member;
	char what[120];
	int err = disk_group_ask(group, "disk.crash", frozen_params, &frozen);

	group->decided = true;
	if (!err)
		return 0;
	member = first_failed(group);
	/* What was decided is carried out by a server that only does not answer, once it goes on. */
	snprintf(what, sizeof(what), " %s, and %u of %u were",
		 member->err == -EREMOTEIO
			 ? "was not cut"
			 : "has not confirmed the power cut (it follows once the server answers)",
		 nr_well(group), group->nr);
	return blame(member, what, diag, ret_code);
}

static int crash_one(struct disk_group *group, disk_params_fn params, void *ctx, struct diag *diag,
		     int *ret_code)
{
	int err = disk_group_ask(group, "disk.crash", params, ctx);

	if (!err)
		return 0;
	*diag = group->members[0].diag;
	if (ret_code)
		*ret_code = group->members[0].code;
	return err;
}

int disk_group_crash(struct disk_group *group, disk_params_fn params, void *ctx, struct diag *diag,
		     int *ret_code)
{
	struct ballot *ballot;
	int err;

	if (group->nr == 1)
		return crash_one(group, params, ctx, diag, ret_code);
	err = ballot_create(&ballot);
	if (err)
		return diag_set(diag, err, "disk.ballot",
				"cannot create the ballot for a power cut of several disks: %s", strerror(-err));
	err = disk_group_decide(group, ballot, params, ctx, diag, ret_code);
	if (!err)
		err = disk_group_cut(group, params, ctx, diag, ret_code);
	ballot_free(ballot);
	return err;
}

/* ------------------------------------------------------------------------------ telling */

json_t *disk_group_answers(const struct disk_group *group)
{
	json_t *disks;

	if (!group->many)
		return json_incref(group->members[0].answer);
	disks = json_array();
	for (unsigned int i = 0; i < group->nr; i++) {
		const struct disk_member *member = &group->members[i];
		json_t *row = json_pack("{s:s, s:s*}", "name", member->name, "error",
					member->err ? member->diag.message : NULL);

		json_object_update(row, member->answer);
		json_array_append_new(disks, row);
	}
	return json_pack("{s:o}", "disks", disks);
}

int disk_group_fail(const struct disk_group *group)
{
	int worst = EXIT_OK;

	for (unsigned int i = 0; i < group->nr; i++) {
		const struct disk_member *member = &group->members[i];
		struct diag diag;
		int code;

		if (!member->err)
			continue;
		if (group->many)
			blame(member, "", &diag, NULL);
		else
			diag = member->diag;
		code = rpc_client_fail(member->err, member->code, &diag);
		worst = code > worst ? code : worst;
	}
	return worst;
}

int disk_group_run(const struct disks_choice *choice, const char *method, disk_params_fn params,
		   void *ctx, bool json, void (*print)(const json_t *answer))
{
	_cleanup_(disk_group_close) struct disk_group group = { .members = NULL };
	struct diag diag = { 0 };
	int err = disk_group_open(choice, &diag, &group);
	int code;

	if (err)
		return rpc_client_fail(err, 0, &diag);
	disk_group_ask(&group, method, params, ctx);
	code = disk_group_fail(&group);
	if (json && (group.many || !code))
		return tool_print_json(disk_group_answers(&group)) ?: code;
	for (unsigned int i = 0; print && i < group.nr; i++)
		if (group.members[i].answer)
			print(group.members[i].answer);
	return code;
}
