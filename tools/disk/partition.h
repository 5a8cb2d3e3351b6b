/* SPDX-License-Identifier: MIT */
/* Partitions of a disk, as the kernel knows them at this moment. */
#ifndef TOOLS_DISK_PARTITION_H
#define TOOLS_DISK_PARTITION_H

#include "base/diag.h"
#include "faults/rule/rule.h"
#include "faults/rule/value.h"

#include <stdint.h>

#define PARTITION_MAX 255

struct ublk_dev;

struct partition {
	unsigned int number;
	uint64_t start, size; /* bytes */
};

/* Those of /dev/ublkb@disk that the kernel knows, by number. */
void partition_each(int disk, void (*each)(void *ctx, const struct partition *partition),
		    void *ctx);
/*
 * Partition @number of the disk. -ENOENT, words in @diag: there is none, and which there are; NULL for
 * @dev: the disk has no device, and so no partitions.
 */
int partition_find(const struct ublk_dev *dev, unsigned int number, struct diag *diag,
		   struct partition *ret_partition);
/* The same of /dev/ublkb@disk, without words. */
int partition_read(int disk, unsigned int number, struct partition *ret_partition);
/* How large the blocks of the disk are. */
int partition_block_bytes(int disk, uint64_t *ret_bytes);
/* From bytes of the partition to bytes of the disk; -EINVAL, in words: it ends outside. */
int partition_shift(const struct partition *partition, struct value_range *range,
		    struct diag *diag);
/* A rule with part= becomes one about the same bytes of the disk, without it. */
int partition_resolve(const struct ublk_dev *dev, struct rule *rule, struct diag *diag);

#endif
