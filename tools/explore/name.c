// SPDX-License-Identifier: MIT
/*
 * One pass for each disk that has lost something: copy it, see what is on it, ask its tools about
 * all places at once, then say each place in words. What a place is made of is named block by
 * block, and like names come once.
 */
#include "tools/explore/name.h"

#include "base/cleanup.h"
#include "base/units.h"
#include "base/write_all.h"
#include "tools/explore/name_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)

/* ------------------------------------------------------------------------------ the copy */

struct copying {
	int fd;
	uint16_t disk;
};

static int put(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len_bytes)
{
	static const unsigned char zeroes[4096];
	const struct copying *copying = ctx;

	int err = 0;

	if (disk != copying->disk)
		return 0;
	if (data)
		return write_all_at(copying->fd, data, len_bytes, at);
	for (uint32_t done = 0, part; done < len_bytes && !err; done += part) {
		part = len_bytes - done < sizeof(zeroes) ? len_bytes - done : sizeof(zeroes);
		err = write_all_at(copying->fd, zeroes, part, at + done);
	}
	return err;
}

/* What is no hole: [*from, *to) from *from on; false: there is nothing more. */
static bool next_data(const struct crash_image *image, uint64_t size, uint64_t *from, uint64_t *to)
{
	off_t at, end;

	*to = *from + COPY_BYTES < size ? *from + COPY_BYTES : size;
	if (image->fd < 0 || *from >= size)
		return *from < size;
	at = lseek(image->fd, (off_t)*from, SEEK_DATA);
	if (at < 0)
		return errno != ENXIO;
	end = lseek(image->fd, at, SEEK_HOLE);
	*from = (uint64_t)at;
	*to = end > at ? (uint64_t)end : size;
	return *from < size;
}

static int copy_image(const struct crash_image *image, uint64_t size, int fd)
{
	uint64_t from = 0, to;
	int err = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;

	for (; !err && next_data(image, size, &from, &to); from = to)
		err = write_all_at(fd, image->bytes + from, to - from, from);
	return err;
}

/* The disk with everything survived; -1: it cannot be had. */
static int copy_disk(const struct crash *crash, const struct crash_image *images, uint16_t disk)
{
	const struct journal *journal = crash_journal(crash);
	const struct crash_choice *choices;
	_cleanup_close_ int fd = memfd_create("faultblk-name", MFD_CLOEXEC);
	_cleanup_free_ uint16_t *picks = calloc(crash_choices(crash, &choices) + 1, sizeof(*picks));
	struct copying copying = { .fd = fd, .disk = disk };

	if (fd < 0 || !picks || copy_image(&images[disk], journal->disks[disk].size_bytes, fd) < 0)
		return -1;
	crash_newest(crash, picks);
	return crash_put(crash, picks, put, &copying) < 0 ? -1 : take_fd(&fd);
}

/* ------------------------------------------------------------------------------ words */

/* The block's words, unless they are there already; @nr_more counts what has no room. */
static void add_words(char *text, size_t size, const char *words, unsigned int *nr,
		      unsigned int *nr_more)
{
	size_t len = strlen(text), more = strlen(words);
	const char *found = strstr(text, words);

	if (found && (found == text || found[-1] == ' ') &&
	    (found[more] == ',' || found[more] == '\0'))
		return;
	if (*nr == NAME_WORDS || len + more + 32 > size) {
		++*nr_more;
		return;
	}
	snprintf(text + len, size - len, "%s%s", len ? ", " : "", words);
	++*nr;
}

/* What has been put together; NULL: nothing, or no memory. */
static char *end_words(char *text, size_t size, unsigned int nr_more)
{
	size_t len = strlen(text);

	if (nr_more)
		snprintf(text + len, size - len, " and more");
	return text[0] ? strdup(text) : NULL;
}

static char *in_words(const struct name_fs *fs, uint64_t at, uint64_t len_bytes)
{
	unsigned int nr = 0, nr_more = 0;
	char text[NAME_TEXT] = "";

	for (uint64_t i = name_fs_first(fs, at); i < fs->nr && fs->blocks[i].at < at + len_bytes;
	     i++)
		if (fs->blocks[i].words)
			add_words(text, sizeof(text), fs->blocks[i].words, &nr, &nr_more);
	return end_words(text, sizeof(text), nr_more);
}

static char *by_sector(const struct journal *journal, const struct journal_write *write,
		       uint64_t at)
{
	char *text;

	if (asprintf(&text, "sector %llu of %s, written %.3f s after the start",
		     (unsigned long long)(at / SECTOR_SIZE), journal->disks[write->disk].name,
		     (double)(write->submit_ns - journal->start_ns) / 1e9) < 0)
		return NULL;
	return text;
}

/* ------------------------------------------------------------------------------ a disk */

struct naming {
	const struct crash *crash;
	const struct crash_image *images;
	const struct journal *journal;
	const uint32_t *writes;
	const struct name_part *only;
	size_t nr;
	char **names;
};

static struct name_part part_of(const struct naming *naming, size_t i)
{
	const struct journal_write *write = &naming->journal->writes[naming->writes[i]];

	return naming->only ? naming->only[i]
			    : (struct name_part){ .at = write->at, .len_bytes = write->len_bytes };
}

static bool of_disk(const struct naming *naming, size_t i, uint16_t disk)
{
	return naming->journal->writes[naming->writes[i]].disk == disk;
}

static void name_disk(struct naming *naming, uint16_t disk)
{
	size_t most = naming->nr < NAME_PLACES ? naming->nr : NAME_PLACES, nr = 0;
	_cleanup_close_ int fd = -1;
	struct name_fs fs = { 0 };

	for (size_t i = 0; i < most; i++)
		nr += of_disk(naming, i, disk);
	if (nr)
		fd = copy_disk(naming->crash, naming->images, disk);
	if (fd < 0 || name_fs_open(&fs, fd, naming->journal->disks[disk].size_bytes) < 0)
		return;
	for (size_t i = 0; i < most; i++) {
		struct name_part part = part_of(naming, i);

		if (of_disk(naming, i, disk))
			name_fs_add(&fs, part.at, part.len_bytes);
	}
	name_fs_ask(&fs);
	for (size_t i = 0; i < most; i++) {
		struct name_part part = part_of(naming, i);

		if (of_disk(naming, i, disk))
			naming->names[i] = in_words(&fs, part.at, part.len_bytes);
	}
	name_fs_close(&fs);
}

int explore_name(const struct crash *crash, const struct crash_image *images,
		 const uint32_t *writes, const struct name_part *only, size_t nr, char **ret_names)
{
	struct naming naming = { .crash = crash,
				 .images = images,
				 .journal = crash_journal(crash),
				 .writes = writes,
				 .only = only,
				 .nr = nr,
				 .names = ret_names };
	bool all = true;

	memset(ret_names, 0, nr * sizeof(*ret_names));
	for (uint16_t i = 0; i < naming.journal->nr_disks; i++)
		name_disk(&naming, i);
	for (size_t i = 0; i < nr; i++) {
		const struct journal_write *write = &naming.journal->writes[writes[i]];

		if (!ret_names[i])
			ret_names[i] = by_sector(naming.journal, write, part_of(&naming, i).at);
		all = all && ret_names[i];
	}
	for (size_t i = 0; !all && i < nr; i++) {
		free(ret_names[i]);
		ret_names[i] = NULL;
	}
	return all ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------------------------ a later write */

/* The disk with everything survived and the writes [@from, @end) on top of it; -1: not to be had.
 */
static int copy_later(const struct crash *crash, const struct crash_image *images, uint16_t disk,
		      uint32_t from, uint32_t end)
{
	const struct journal_write *writes = crash_journal(crash)->writes;
	_cleanup_close_ int fd = copy_disk(crash, images, disk);
	struct copying copying = { .fd = fd, .disk = disk };

	for (uint32_t i = from; fd >= 0 && i < end; i++) {
		const struct journal_write *w = &writes[i];

		for (uint64_t done = 0, part; done < w->len_bytes && !w->failed; done += part) {
			part = w->len_bytes - done < COPY_BYTES ? w->len_bytes - done : COPY_BYTES;
			if (put(&copying, w->disk, w->at + done, w->data ? w->data + done : NULL,
				(uint32_t)part) < 0)
				return -1;
		}
	}
	return take_fd(&fd);
}

/* First what has a name of its own, then the rest of the file system; not the journal. */
static char *brought_in_words(const struct name_fs *fs)
{
	unsigned int nr = 0, nr_more = 0;
	char text[NAME_TEXT] = "";

	for (int named = 1; named >= 0; named--)
		for (uint64_t i = 0; i < fs->nr; i++)
			if (fs->blocks[i].words && !fs->blocks[i].journal &&
			    fs->blocks[i].named == named)
				add_words(text, sizeof(text), fs->blocks[i].words, &nr, &nr_more);
	return end_words(text, sizeof(text), nr_more);
}

static char *name_later(const struct journal *journal, const struct journal_write *write,
			int before, int after)
{
	const uint64_t size = journal->disks[write->disk].size_bytes;
	_cleanup_free_ char *own = NULL, *brought = NULL;
	struct name_fs fs;
	size_t committed = 0;
	char *text;

	if (before >= 0 && name_fs_open(&fs, before, size) == 0)
		committed = name_fs_committed(&fs, false);
	if (after < 0 || name_fs_open(&fs, after, size) < 0)
		return NULL;
	name_fs_add(&fs, write->at, write->len_bytes);
	if (name_fs_committed(&fs, false) > committed)
		name_fs_committed(&fs, true);
	name_fs_ask(&fs);
	own = in_words(&fs, write->at, write->len_bytes);
	brought = brought_in_words(&fs);
	name_fs_close(&fs);
	if (!own || !brought || strcmp(own, brought) == 0)
		return own ? take_ptr(own) : take_ptr(brought);
	return asprintf(&text, "%s, and with it %s", own, brought) < 0 ? NULL : text;
}

int explore_name_later(const struct crash *crash, const struct crash_image *images, uint32_t first,
		       uint32_t which, char **ret_name)
{
	const struct journal *journal = crash_journal(crash);
	const struct journal_write *write = &journal->writes[which];
	_cleanup_close_ int before = copy_later(crash, images, write->disk, first, which);
	_cleanup_close_ int after = copy_later(crash, images, write->disk, first, which + 1);

	*ret_name = name_later(journal, write, before, after);
	if (!*ret_name)
		*ret_name = by_sector(journal, write, write->at);
	return *ret_name ? 0 : -ENOMEM;
}
