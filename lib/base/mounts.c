// SPDX-License-Identifier: MIT
/*
 * A mount is taken away by a descriptor of its root, whose mount id was compared: a path leads to
 * whatever is mounted there last, and that may be somebody else's.
 */
#include "base/mounts.h"
#include "base/array.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* ------------------------------------------------------------------------------ reading */

static bool is_octal(const char *digits)
{
	return digits[0] >= '0' && digits[0] <= '3' && digits[1] >= '0' && digits[1] <= '7' &&
	       digits[2] >= '0' && digits[2] <= '7';
}

static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (*from == '\\' && is_octal(from + 1)) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static char *next_word(char **at)
{
	char *word = strsep(at, " ");

	if (word)
		unescape(word);
	return word;
}

/*
 *	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *	id parent dev root where options optional... - type source options
 */
static bool parse(char *line, struct mount_entry *entry)
{
	char *dash = strstr(line, " - "), *at = line, *behind;
	unsigned int major, minor;

	if (!dash || sscanf(line, "%d %d %u:%u ", &entry->id, &entry->parent, &major, &minor) != 4)
		return false;
	*dash = '\0';
	behind = dash + 3;
	for (int i = 0; i < 4; i++) /* id, parent, device, root */
		strsep(&at, " ");
	entry->dev = makedev(major, minor);
	entry->where = next_word(&at);
	entry->type = next_word(&behind);
	entry->source = next_word(&behind);
	return entry->where && entry->type && entry->source;
}

static int read_all(const char *path, char **ret_text)
{
	_cleanup_close_ int fd =
		fail_errno("lib/base/mounts/open", EMFILE, open(path, O_RDONLY | O_CLOEXEC));
	_cleanup_free_ char *text = NULL;
	size_t len = 0, max = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	do {
		if (array_room("lib/base/mounts/text", text, max, len + 2, 16384))
			return -ENOMEM;
		got = read(fd, text + len, max - len - 1);
		if (got < 0)
			return -errno;
		len += (size_t)got;
	} while (got);
	text[len] = '\0';
	*ret_text = take_ptr(text);
	return 0;
}

int mounts_read(const char *path, struct mounts **ret_mounts)
{
	struct mounts *mounts = fail_alloc("lib/base/mounts/alloc", calloc(1, sizeof(*mounts)));
	size_t nr_lines = 1;
	int err = mounts ? read_all(path, &mounts->text) : -ENOMEM;

	for (const char *at = err ? "" : mounts->text; *at; at++)
		nr_lines += *at == '\n';
	if (!err) {
		mounts->entries = fail_alloc("lib/base/mounts/entries",
					     calloc(nr_lines, sizeof(*mounts->entries)));
		err = mounts->entries ? 0 : -ENOMEM;
	}
	if (err) {
		mounts_free(mounts);
		return err;
	}
	for (char *at = mounts->text, *line; (line = strsep(&at, "\n"));)
		mounts->nr += parse(line, &mounts->entries[mounts->nr]);
	*ret_mounts = mounts;
	return 0;
}

struct mounts *mounts_free(struct mounts *mounts)
{
	if (!mounts)
		return NULL;
	free(mounts->entries);
	free(mounts->text);
	free(mounts);
	return NULL;
}

/* ------------------------------------------------------------------------------ devices */

int mounts_type_of(const char *path, char *ret_type, size_t size)
{
	struct mounts *mounts;
	struct stat st;
	int err;

	ret_type[0] = '\0';
	if (stat(path, &st) < 0)
		return -errno;
	err = mounts_read("/proc/self/mountinfo", &mounts);
	if (err)
		return err;
	for (size_t i = 0; i < mounts->nr; i++)
		if (mounts->entries[i].dev == st.st_dev)
			snprintf(ret_type, size, "%s", mounts->entries[i].type);
	mounts_free(mounts);
	return 0;
}

bool mounts_has_source(const struct mount_entry *entry)
{
	_cleanup_fclose_ FILE *types =
		fail_null("lib/base/mounts/types", EMFILE, fopen("/proc/filesystems", "re"));
	char line[256], word[256];

	/* "nodev	proc", but "	ext4" */
	while (types && fgets(line, sizeof(line), types))
		if (line[0] == '\t' && sscanf(line, " %255s", word) == 1 &&
		    strcmp(word, entry->type) == 0)
			return true;
	return false;
}

/* "../../devices/virtual/block/ublkb0/ublkb0p1" */
bool mounts_is_part_of(dev_t dev, const char *disk)
{
	char path[64], link[PATH_MAX];
	char *at = link, *name;
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return false;
	link[len] = '\0';
	while ((name = strsep(&at, "/")))
		if (strcmp(name, disk) == 0)
			return true;
	return false;
}

/*
 * The block device that it lies on; 0 where there is none. A source is what the one who mounted
 * says: it is looked for in /dev alone, and not where a file server would have to answer first.
 */
static dev_t device_of(const struct mount_entry *entry)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV |
						 RESOLVE_NO_MAGICLINKS };
	_cleanup_close_ int dev = -1, fd = -1;
	struct stat st;

	if (major(entry->dev))
		return entry->dev;
	if (strncmp(entry->source, "/dev/", 5) != 0 || !mounts_has_source(entry))
		return 0;
	dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = (int)syscall(SYS_openat2, dev, entry->source + 5, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	return st.st_rdev;
}

/* ------------------------------------------------------------------------------ taking away */

/* 1; 0: something else is mounted there last, or nothing any more; or -errno. */
static int detach(const struct mount_entry *entry)
{
	_cleanup_close_ int fd = open(entry->where, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[64];
	struct statx st;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
		return -errno;
	if (!(st.stx_mask & STATX_MNT_ID))
		return -EOPNOTSUPP;
	if (st.stx_mnt_id != (uint64_t)entry->id)
		return 0;
	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", fd);
	return umount2(path, MNT_DETACH) < 0 ? -errno : 1;
}

int mounts_detach(const char *disk)
{
	struct mounts *mounts;
	int err = mounts_read("/proc/thread-self/mountinfo", &mounts), nr = 0;

	if (err)
		return err;
	for (size_t i = mounts->nr; i-- > 0;) {
		dev_t dev = device_of(&mounts->entries[i]);
		int ret = dev && mounts_is_part_of(dev, disk) ? detach(&mounts->entries[i]) : 0;

		if (ret < 0)
			err = ret;
		else
			nr += ret;
	}
	mounts_free(mounts);
	return err ? err : nr;
}
