/* SPDX-License-Identifier: MIT */
/* The bytes of a dm-log-writes log, shared by the two sides of it. All numbers little-endian. */
#ifndef FAULTS_JOURNAL_LOGWRITES_CODE_H
#define FAULTS_JOURNAL_LOGWRITES_CODE_H

#include <stdint.h>

/* Super block: magic, version, entries, each 8 bytes; sector size, 4 bytes. */
#define LOG_MAGIC       0x006a736677736872ull
#define LOG_VERSION     1
#define LOG_SUPER_BYTES 28u
#define LOG_BLOCK_MIN   512u /* sector size */
#define LOG_BLOCK_MAX   65536u
/* Entry: sector, sectors, flags, length of the text, each 8 bytes; the text of a mark. */
#define LOG_ENTRY_BYTES 32u

/* The words of the first mark of the logs that we write. */
#define LOG_DISK_SIZE "faultblk-disk size="
#define LOG_DISK_BASE " base="
#define LOG_DISK_NAME " name="

struct log_disk {
	uint64_t size_bytes;
	uint64_t nr_base; /* entries after the mark that are content from before */
	char name[64];
};

#endif
