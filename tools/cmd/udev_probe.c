// SPDX-License-Identifier: MIT
/*
 * What udev's rule asks: what is on this disk, or on this partition? It is read from the server's
 * memory, through /proc, by the programs of util-linux. Requests for it would meet fault rules, count
 * as matches, and wait for what is held.
 */
#include "base/cleanup.h"
#include "tools/cli/tool.h"
#include "tools/disk/partition.h"
#include "tools/rpc/client.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STORE "/memfd:faultblk-store" /* as faults/disk/store.c names it */

struct probe {
	int disk;
	unsigned int number;   /* 0: the disk */
	struct partition part; /* with a number */
	char store[64];        /* a path */
};

static int find_store(int pid, char *ret_path, size_t size)
{
	char folder[32], target[64];
	const struct dirent *entry;
	DIR *dir;
	int err = -ENOENT;

	snprintf(folder, sizeof(folder), "/proc/%d/fd", pid);
	dir = opendir(folder);
	if (!dir)
		return -errno;
	while (err && (entry = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));

		if (len < (ssize_t)strlen(STORE) || memcmp(target, STORE, strlen(STORE)) != 0)
			continue;
		snprintf(ret_path, size, "%s/%.16s", folder, entry->d_name);
		err = 0;
	}
	closedir(dir);
	return err;
}

/* As libblkid encodes what is to be a part of a file's name. */
static void print_encoded(const char *key, const char *value)
{
	printf("%s=", key);
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;

		/* A backslash is partx's, of such an encoding. */
		if (isalnum(c) || strchr("#+-.:=@_\\", c))
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	putchar('\n');
}

/* What its table says of the partition. */
static void print_entry(const struct probe *probe)
{
	static const char *const keys[] = { "ID_PART_ENTRY_SCHEME", "ID_PART_ENTRY_TYPE",
					    "ID_PART_ENTRY_UUID", "ID_PART_ENTRY_NAME" };
	char command[256], line[1024] = "", *at = line;
	uint64_t block = 512;
	FILE *file;

	partition_block_bytes(probe->disk, &block);
	snprintf(command, sizeof(command),
		 "partx -g -r -o SCHEME,TYPE,UUID,NAME -n %u:%u -S %" PRIu64 " %s 2>/dev/null",
		 probe->number, probe->number, block, probe->store);
	file = popen(command, "re");
	if (!file)
		return;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	pclose(file);
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < array_size(keys) && at; i++) {
		const char *value = strsep(&at, " ");

		if (value[0] && value[0] != '.')
			print_encoded(keys[i], value);
	}
	printf("ID_PART_ENTRY_NUMBER=%u\n", probe->number);
}

/* It fails where it finds nothing, and udev takes no property of a program that fails. */
static int run_blkid(const struct probe *probe)
{
	char command[192], place[80] = "";

	if (probe->number)
		snprintf(place, sizeof(place), "-O %" PRIu64 " -S %" PRIu64, probe->part.start,
			 probe->part.size);
	snprintf(command, sizeof(command), "blkid -p -o udev %s %s 2>/dev/null", place,
		 probe->store);
	return fflush(stdout) || system(command) < 0 ? EXIT_FAILED : EXIT_OK;
}

int cmd_udev_probe(int argc, char **argv)
{
	struct probe probe = { .number = 0 };
	struct rpc_client *client = NULL;
	struct diag diag = { 0 };
	struct disk_choice choice;
	char device[32];
	const char *name;
	int err;

	if (argc != 2 || sscanf(argv[1], "ublkb%dp%u", &probe.disk, &probe.number) < 1)
		return EXIT_USAGE;
	if (probe.number && partition_read(probe.disk, probe.number, &probe.part))
		return EXIT_FAILED;
	snprintf(device, sizeof(device), "/dev/ublkb%d", probe.disk);
	choice = (struct disk_choice){ .name = device };
	err = rpc_client_open(&choice, &diag, &client);
	/* Another program's disk, or one that is not there yet: the server tells udev once it is. */
	if (err)
		return EXIT_NO_DISK;
	name = json_string_value(json_object_get(rpc_client_hello(client), "name"));
	err = find_store(rpc_client_pid(client), probe.store, sizeof(probe.store));
	if (name && !err)
		printf("FAULTBLK_NAME=%s\n", name);
	rpc_client_free(client);
	if (!name || err)
		return EXIT_FAILED;
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (probe.number)
		print_entry(&probe);
	return run_blkid(&probe);
}
