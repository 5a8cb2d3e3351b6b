// SPDX-License-Identifier: MIT
/*
 * The journal of a file, whatever kind of recording it is: the first bytes tell. The file is mapped
 * for as long as the journal lives, since all data stays where it is.
 */
#include "faults/journal/read.h"

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/map_guard.h"
#include "faults/journal/logwrites.h"
#include "faults/record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int cannot(struct diag *diag, const char *what, const char *path)
{
	int err = errno ? -errno : -EIO;

	return diag_set(diag, err, "journal.file", "cannot %s %s: %s", what, path, strerror(-err));
}

bool journal_is_under_way(int fd)
{
	struct stat stat;

	if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode))
		return false;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	flock(fd, LOCK_UN);
	return false;
}

int journal_map(const char *path, struct diag *diag, struct journal_file *ret_file)
{
	_cleanup_close_ int fd = fail_errno("faults/journal/read/open", EACCES,
					    open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
	struct stat stat;
	bool under_way;
	off_t size;
	void *bytes;
	int err;

	if (fd < 0 || fstat(fd, &stat) < 0)
		return cannot(diag, "open", path);
	if (!S_ISREG(stat.st_mode) && !S_ISBLK(stat.st_mode))
		return diag_set(diag, -EINVAL, "journal.file",
				"%s is neither a file nor a block device, so it is not a recording", path);
	under_way = journal_is_under_way(fd);
	/* Of a device fstat() tells no size. */
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return cannot(diag, "find the size of", path);
	if (size == 0)
		return diag_set(diag, -EINVAL, "journal.file", "%s is empty, so it is not a "
							       "recording",
				path);
	bytes = fail_value("faults/journal/read/map", (errno = ENOMEM, MAP_FAILED),
			   mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0));
	if (bytes == MAP_FAILED)
		return cannot(diag, "map", path);
	err = map_guard_file(bytes, (size_t)size, PROT_READ, fd, under_way);
	if (err) {
		munmap(bytes, (size_t)size);
		return diag_set(diag, err, "journal.memory", "cannot watch %s: %s", path,
				strerror(-err));
	}
	*ret_file = (struct journal_file){ .bytes = bytes,
					   .size = (size_t)size,
					   .under_way = under_way };
	return 0;
}

void journal_unmap(struct journal_file *file)
{
	if (file->bytes) {
		map_unguard(file->bytes);
		munmap(file->bytes, file->size);
	}
	*file = (struct journal_file){ 0 };
}

enum journal_format journal_format(const struct journal_file *file)
{
	if (logwrites_is(file->bytes, file->size))
		return JOURNAL_LOGWRITES;
	if (file->size >= strlen(RECORD_MAGIC) &&
	    memcmp(file->bytes, RECORD_MAGIC, strlen(RECORD_MAGIC)) == 0)
		return JOURNAL_RECORD;
	return JOURNAL_UNKNOWN;
}

static int load(const struct journal_file *file, const char *path, struct diag *diag,
		struct journal **ret_journal)
{
	switch (journal_format(file)) {
	case JOURNAL_LOGWRITES:
		return logwrites_import(file->bytes, file->size, NULL, diag, ret_journal);
	case JOURNAL_RECORD:
		return journal_from_record(file->bytes, file->size, diag, ret_journal);
	case JOURNAL_UNKNOWN:
		break;
	}
	diag_set(diag, -EINVAL, "journal.magic",
		 "%s is neither a recording nor a log of dm-log-writes", path);
	diag_hint(diag, "faultblk run --record FILE --record-data makes a recording");
	return -EINVAL;
}

int journal_open(const char *path, struct diag *diag, struct journal **ret_journal)
{
	struct journal_file file;
	struct journal *journal;
	int err = journal_map(path, diag, &file);

	if (err)
		return err;
	err = load(&file, path, diag, &journal);
	if (err) {
		journal_unmap(&file);
		return err;
	}
	err = journal_own_map(journal, file.bytes, file.size);
	if (!err) {
		journal->under_way = file.under_way && !journal->closed;
		journal_remember(journal);
	} else {
		journal_free(journal);
		return diag_set(diag, err, "journal.memory", "no memory to open %s", path);
	}
	*ret_journal = journal;
	return 0;
}
