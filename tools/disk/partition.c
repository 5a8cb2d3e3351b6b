// SPDX-License-Identifier: MIT
/*
 * The table on the disk says nothing of what is mounted: only what the kernel has read of it counts.
 * That stands in /sys/class/block/ublkbNpM, in sectors of 512 bytes. The server may have another
 * /dev than its users, but /sys is the same for all.
 */
#include "tools/disk/partition.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/list_text.h"
#include "base/units.h"
#include "faults/rule/ast.h"
#include "ublkcore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int read_number(const char *path, uint64_t *ret)
{
	_cleanup_fclose_ FILE *file =
		fail_null("tools/disk/partition/open", EMFILE, fopen(path, "re"));

	if (!file)
		return -errno;
	return fscanf(file, "%" SCNu64, ret) == 1 ? 0 : -EIO;
}

static int read_part(int disk, unsigned int number, const char *what, uint64_t *ret)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/class/block/ublkb%dp%u/%s", disk, number, what);
	return read_number(path, ret);
}

int partition_block_bytes(int disk, uint64_t *ret_bytes)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/class/block/ublkb%d/queue/logical_block_size", disk);
	return read_number(path, ret_bytes);
}

int partition_read(int disk, unsigned int number, struct partition *ret)
{
	uint64_t start = 0, size = 0;
	int err = read_part(disk, number, "start", &start);

	if (!err)
		err = read_part(disk, number, "size", &size);
	if (!err)
		*ret = (struct partition){ number, start << SECTOR_SHIFT, size << SECTOR_SHIFT };
	return err;
}

void partition_each(int disk, void (*each)(void *ctx, const struct partition *partition), void *ctx)
{
	struct partition partition;

	for (unsigned int i = 1; i <= PARTITION_MAX; i++)
		if (!partition_read(disk, i, &partition))
			each(ctx, &partition);
}

struct known {
	struct list_text list;
	unsigned int nr;
};

static void add_known(void *ctx, const struct partition *partition)
{
	struct known *known = ctx;
	char name[16];

	snprintf(name, sizeof(name), "%u", partition->number);
	list_text_add(&known->list, name);
	known->nr++;
}

static int no_partition(int disk, unsigned int number, struct diag *diag)
{
	struct known known = { .nr = 0 };
	char names[200];

	list_text_begin(&known.list, names, sizeof(names));
	partition_each(disk, add_known, &known);
	if (known.nr)
		diag_set(diag, -ENOENT, "part.unknown",
			 "the kernel knows no partition %u of /dev/ublkb%d, only %s", number, disk,
			 list_text_end(&known.list));
	else
		diag_set(diag, -ENOENT, "part.unknown",
			 "the kernel knows no partition %u of /dev/ublkb%d, nor any other", number,
			 disk);
	diag_hint(diag,
		  "to make it read a new table: blockdev --rereadpt /dev/ublkb%d",
		  disk);
	return -ENOENT;
}

int partition_find(const struct ublk_dev *dev, unsigned int number, struct diag *diag,
		   struct partition *ret_partition)
{
	int err;

	if (!dev)
		return diag_set(diag, -ENOENT, "part.no-device",
				"the disk has no device now, so its partitions are not known");
	err = partition_read(ublk_dev_id(dev), number, ret_partition);
	if (err == -ENOENT)
		return no_partition(ublk_dev_id(dev), number, diag);
	if (err)
		diag_set(diag, err, "part.read", "cannot read of partition %u of %s: %s", number,
			 ublk_dev_path(dev), strerror(-err));
	return err;
}

int partition_shift(const struct partition *partition, struct value_range *range, struct diag *diag)
{
	bool open_end = range->to == UINT64_MAX;
	char from[UNITS_MAX], to[UNITS_MAX] = "", size[UNITS_MAX];

	if (range->from >= partition->size || (!open_end && range->to > partition->size)) {
		if (!open_end)
			units_format_size(range->to, to);
		return diag_set(diag, -EINVAL, "part.outside", "range %s..%s: partition %u has %s",
				units_format_size(range->from, from), to, partition->number,
				units_format_size(partition->size, size));
	}
	range->from += partition->start;
	range->to = partition->start + (open_end ? partition->size : range->to);
	return 0;
}

int partition_resolve(const struct ublk_dev *dev, struct rule *rule, struct diag *diag)
{
	_cleanup_free_ struct value_range *ranges = NULL;
	struct partition partition;
	size_t nr;
	int err;

	if (!rule_part(rule))
		return 0;
	err = partition_find(dev, rule_part(rule), diag, &partition);
	if (!err)
		err = rule_copy_ranges(rule, diag, &ranges, &nr);
	for (size_t i = 0; !err && i < nr; i++)
		err = partition_shift(&partition, &ranges[i], diag);
	if (!err)
		err = rule_set_ranges(rule, ranges, nr, diag);
	return err ? rule_blame(rule, err, diag) : 0;
}
