// SPDX-License-Identifier: MIT
#include "tools/disk/env.h"

static char env_char(char c)
{
	if (c >= 'a' && c <= 'z')
		return (char)(c - 'a' + 'A');
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '_';
}

void disk_env_name(const char *disk, char *ret_name, size_t size)
{
	for (; *disk && size > 1; size--)
		*ret_name++ = env_char(*disk++);
	*ret_name = '\0';
}
