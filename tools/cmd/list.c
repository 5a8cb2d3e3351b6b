// SPDX-License-Identifier: MIT
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/opt.h"
#include "tools/cli/table.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"
#include "tools/rpc/others.h"
#include "tools/rpc/runtime.h"
#include "ublkcore.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct list_opts {
	bool json;
};

static const struct opt list_table[] = {
	OPT_FLAG(struct list_opts, json, "json", "print JSON"),
	OPT_END,
};

static const struct opt_help list_help = {
	.usage = "faultblk list [options]",
	.what =
		"List the disks, one a line: name, device, state, process of the server, socket.\n"
		"States:\n"
		"  live        the server answers\n"
		"  silent      the socket accepts connections, but the server does not answer\n"
		"  elsewhere   the disk is served through a socket outside the runtime directory\n"
		"  dead        the server is gone: faultblk gc removes the disk\n"
		"  ending      the server was killed, but has not ended\n"
		"  unknown     the server is in another pid namespace, which is not visible here\n"
		"  foreign     another program made the disk\n"
		"A socket without a server and a disk is dead, with device '-'. On a narrow terminal\n"
		"the socket is left out, and names are shortened. A user who may not command the\n"
		"driver sees only the disks of his own sockets.",
	.examples = "  faultblk list\n  faultblk list --json",
	.exits = "  0  printed, even if there is none\n  1  the runtime directory is not readable\n"
		 "  2  wrong options",
};

#define ENTRIES_MAX 4096

struct listing {
	struct ublk_dev_entry *entries; /* of the driver */
	bool *seen;                     /* those of our sockets */
	int nr;
	json_t *disks;
};

static int id_of(const char *device)
{
	int id;

	return device && sscanf(device, "/dev/ublkb%d", &id) == 1 ? id : -1;
}

/* What the driver says of the disk @id, which is then listed; NULL: nothing. */
static const struct ublk_dev_entry *take_entry(struct listing *l, int id)
{
	for (int i = 0; i < l->nr; i++)
		if (l->entries[i].id == id) {
			l->seen[i] = true;
			return &l->entries[i];
		}
	return NULL;
}

static void add_row(struct listing *l, const char *name, const char *socket, const char *device,
		    const struct ublk_dev_entry *entry, const char *state)
{
	int id = entry ? entry->id : id_of(device);
	json_t *row = json_pack("{s:s?, s:s?, s:s?, s:s}", "name", name, "socket", socket, "device",
				device, "state", state);

	json_object_set_new(row, "id", id >= 0 ? json_integer(id) : json_null());
	json_object_set_new(row, "pid",
			    entry && entry->owner_pid ? json_integer(entry->owner_pid)
						      : json_null());
	json_array_append_new(l->disks, row);
}

static const char *state_of(const struct ublk_dev_entry *entry)
{
	return !entry->ours          ? "foreign"
	       : entry->owner_gone   ? "dead"
	       : entry->owner_ending ? "ending"
	       : entry->owner_unseen ? "unknown"
				     : "elsewhere";
}

static void device_of(const struct ublk_dev_entry *entry, char device[32])
{
	snprintf(device, 32, "/dev/ublkb%d", entry->id);
}

/* A socket that nobody serves, and its disk, which may be there still. Of a number that another has
 * by now it is not. */
static void add_dead(struct listing *l, const char *name, const char *path)
{
	int id = runtime_noted_disk(path);
	char device[32];

	for (int i = 0; id >= 0 && i < l->nr; i++) {
		const struct ublk_dev_entry *entry = &l->entries[i];

		if (entry->id != id || l->seen[i] || !entry->ours ||
		    !(entry->owner_gone || entry->owner_ending))
			continue;
		device_of(entry, device);
		add_row(l, name, path, device, take_entry(l, id), state_of(entry));
		return;
	}
	add_row(l, name, path, NULL, NULL, "dead");
}

/* The greeting says what disk it is. */
static int add_socket(void *ctx, const char *name, const char *path, bool live)
{
	struct listing *l = ctx;
	struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	const char *device = NULL;
	int err;

	if (!live) {
		add_dead(l, name, path);
		return 0;
	}
	err = rpc_client_open_path(path, &diag, &client);
	if (!err)
		device = json_string_value(json_object_get(rpc_client_hello(client), "device"));
	add_row(l, name, path, device, take_entry(l, id_of(device)), err ? "silent" : "live");
	if (err)
		json_object_set_new(json_array_get(l->disks, json_array_size(l->disks) - 1),
				    "error", json_string(diag.message));
	rpc_client_free(client);
	return 0;
}

/* Disks that no socket of ours speaks for. */
static void add_rest(struct listing *l)
{
	for (int i = 0; i < l->nr; i++) {
		char device[32];

		if (l->seen[i])
			continue;
		device_of(&l->entries[i], device);
		add_row(l, NULL, NULL, device, &l->entries[i], state_of(&l->entries[i]));
	}
}

enum { NAME, DEVICE, STATE, PID, SOCKET, ERROR, NR_COLUMNS };

static const struct table_column list_columns[NR_COLUMNS] = {
	[NAME] = { .least = 16, .cut = true }, [DEVICE] = { .least = 16 }, [STATE] = { .least = 9 },
	[PID] = { .least = 7, .right = true }, [SOCKET] = { .rank = 2 },   [ERROR] = { .rank = 1 },
};

static void put_disk(void *ctx, size_t row, struct table_cell *cells)
{
	static const char *const keys[] = {
		[NAME] = "name", [DEVICE] = "device", [STATE] = "state",
		[PID] = "pid",   [SOCKET] = "socket", [ERROR] = "error"
	};
	json_t *disk = json_array_get(ctx, row);

	for (size_t i = 0; i < NR_COLUMNS; i++) {
		json_t *value = json_object_get(disk, keys[i]);

		cells[i].text = json_string_value(value) ?: i == ERROR ? NULL : "-";
		if (!json_is_integer(value))
			continue;
		snprintf(cells[i].buf, sizeof(cells[i].buf), "%lld", json_integer_value(value));
		cells[i].text = cells[i].buf;
	}
}

static void print_disks(json_t *disks)
{
	const struct screen screen = screen_of_list(STDOUT_FILENO);
	const struct table table = { .columns = list_columns,
				     .nr_columns = NR_COLUMNS,
				     .nr_rows = json_array_size(disks),
				     .headless = true,
				     .row = put_disk,
				     .ctx = disks };

	table_print(&table, &screen, stdout);
}

static void say_none(void)
{
	char others[320];

	if (!others_look("/sys/block", "/proc", geteuid(), others, sizeof(others)))
		others[0] = '\0';
	tool_msg_hint(others, "no disk is running");
}

static int list_all(struct listing *l, bool json)
{
	struct diag diag = { 0 };

	l->nr = ublk_list(l->entries, ENTRIES_MAX);
	l->nr = l->nr < 0 ? 0 : l->nr > ENTRIES_MAX ? ENTRIES_MAX : l->nr;
	if (runtime_each(add_socket, l, &diag)) {
		tool_diag(&diag);
		return EXIT_FAILED;
	}
	add_rest(l);
	if (json)
		return tool_print_json(json_incref(l->disks));
	if (json_array_size(l->disks) == 0)
		say_none();
	print_disks(l->disks);
	return EXIT_OK;
}

int cmd_list(int argc, char **argv)
{
	struct list_opts opts;
	enum opt_result result = opt_parse(argc, argv, list_table, &list_help, &opts, NULL);
	_cleanup_free_ struct ublk_dev_entry *entries = NULL;
	_cleanup_free_ bool *seen = NULL;
	struct listing listing;
	int code;

	if (result != OPT_OK)
		return opt_exit(result);
	entries = fail_alloc("tools/cmd/list/entries", calloc(ENTRIES_MAX, sizeof(*entries)));
	seen = fail_alloc("tools/cmd/list/seen", calloc(ENTRIES_MAX, sizeof(*seen)));
	if (!entries || !seen) {
		tool_msg("no memory for a list of disks");
		return EXIT_FAILED;
	}
	listing = (struct listing){ .entries = entries, .seen = seen, .disks = json_array() };
	code = list_all(&listing, opts.json);
	json_decref(listing.disks);
	return code;
}
