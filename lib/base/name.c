// SPDX-License-Identifier: MIT
#include "base/name.h"

/* Whatever the locale. */
static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

bool name_is_good(const char *name, size_t len)
{
	if (!len || len > NAME_BYTES_MAX || !is_letter(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_letter(name[i]) && name[i] != '-' && name[i] != '.')
			return false;
	return true;
}
