// SPDX-License-Identifier: MIT
#include "tools/cli/text_file.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "tools/cli/tool.h"

#include <errno.h>
#include <string.h>

static int read_all(FILE *file, size_t most, char **ret_text, size_t *ret_len)
{
	_cleanup_free_ char *text = fail_alloc("tools/cli/text_file/text", malloc(most + 2));

	if (!text)
		return -ENOMEM;
	errno = 0;
	*ret_len = fread(text, 1, most + 1, file);
	if (ferror(file))
		return errno ? -errno : -EIO;
	text[*ret_len] = '\0';
	*ret_text = take_ptr(text);
	return 0;
}

const char *text_file_name(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

int text_file_read(const char *path, size_t most, char **ret_text, size_t *ret_len)
{
	bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_fclose_ FILE *opened =
		is_stdin ? NULL : fail_null("tools/cli/text_file/open", EMFILE, fopen(path, "re"));
	FILE *file = is_stdin ? stdin : opened;
	int err;

	if (!file) {
		tool_msg("%s: %m", path);
		return EXIT_USAGE;
	}
	err = read_all(file, most, ret_text, ret_len);
	if (!err)
		return EXIT_OK;
	tool_msg("%s: %s", text_file_name(path), strerror(-err));
	return EXIT_USAGE;
}
