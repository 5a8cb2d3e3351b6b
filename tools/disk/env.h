/* SPDX-License-Identifier: MIT */
/* The name of a disk as it stands in environment variables: FAULTBLK_DEV_NAME. */
#ifndef TOOLS_DISK_ENV_H
#define TOOLS_DISK_ENV_H

#include <stddef.h>

/* "log-1" -> "LOG_1": capitals, an underscore for each byte that is no ASCII letter or digit. At
 * most @size bytes with the zero at the end, which is always there. */
void disk_env_name(const char *disk, char *ret_name, size_t size);

#endif
