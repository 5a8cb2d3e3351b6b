// SPDX-License-Identifier: MIT
/* Places of real file systems, found with their own tools in another way than the names are. */
#include "tests/unit/check.h"

#include "tools/explore/name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static char dir[] = "/tmp/test_name.XXXXXX";

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, fmt);
	assert_true(vasprintf(&text, fmt, args) > 0);
	va_end(args);
	if (system(text) != 0)
		fail_msg("'%s' failed", text);
}

/* The number that the command prints. */
static uint64_t number(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static uint64_t number(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long n = 0;
	va_list args;
	FILE *in;

	va_start(args, fmt);
	assert_true(vasprintf(&text, fmt, args) > 0);
	va_end(args);
	in = popen(text, "re");
	if (!in || fscanf(in, "%llu", &n) != 1)
		fail_msg("'%s' printed no number", text);
	pclose(in);
	return n;
}

/* A disk that holds the image, and writes over it that bring nothing new. */
struct stand {
	unsigned char *file;
	size_t size;
	struct journal *journal;
	struct crash *crash;
	struct crash_image image;
	uint32_t nr;
};

static void begin(struct stand *stand, const char *image)
{
	char path[256];
	int fd;
	struct stat stat;
	struct journal_disk disk = { .name = "vda", .block_bytes = 512, .cache = true };
	struct journal_extent extent = { 0 };

	*stand = (struct stand){ 0 };
	snprintf(path, sizeof(path), "%s/%s", dir, image);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &stat) == 0);
	stand->size = (size_t)stat.st_size;
	stand->file = mmap(NULL, stand->size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_true(stand->file != MAP_FAILED);
	assert_int_equal(journal_new(&stand->journal), 0);
	disk.size_bytes = stand->size;
	extent.len_bytes = stand->size;
	extent.data = stand->file;
	assert_int_equal(journal_add_disk(stand->journal, &disk), 0);
	assert_int_equal(journal_add_extent(stand->journal, &extent), 0);
}

static void add_write(struct stand *stand, uint64_t at, uint64_t len)
{
	const struct journal_write write = { .submit = ++stand->nr,
					     .complete = JOURNAL_NEVER,
					     .at = at,
					     .len_bytes = len,
					     .data = stand->file + at,
					     .submit_ns = 1500000000,
					     .op = IO_WRITE };

	assert_int_equal(journal_add_write(stand->journal, &write), 0);
}

static void name(struct stand *stand, char **names)
{
	const struct crash_options options = { .unit_bytes = 4096 };
	struct diag diag = { 0 };
	uint32_t writes[64];
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)stand->size), 0);
	stand->image.fd = fd;
	stand->image.bytes = mmap(NULL, stand->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	stand->journal->start_ns = 250000000;
	if (journal_seal(stand->journal, &diag) < 0 ||
	    crash_create(stand->journal, &options, &stand->image, &diag, &stand->crash) < 0)
		fail_msg("%s", diag.message);
	assert_int_equal(crash_move(stand->crash, stand->nr), 0);
	for (uint32_t i = 0; i < stand->nr; i++)
		writes[i] = i;
	assert_int_equal(explore_name(stand->crash, &stand->image, writes, NULL, stand->nr, names),
			 0);
}

static void done(struct stand *stand, char **names)
{
	for (uint32_t i = 0; i < stand->nr; i++)
		free(names[i]);
	crash_free(stand->crash);
	munmap(stand->image.bytes, stand->size);
	close(stand->image.fd);
	journal_free(stand->journal);
	munmap(stand->file, stand->size);
}

static void places_of_ext4_have_their_names(void **state)
{
	struct stand stand;
	char *names[64];
	uint64_t table, journal, file, folder, bitmap;

	(void)state;
	sh("cd %s && mkdir -p tree/d && seq 3000 >tree/d/f && "
	   "mkfs.ext4 -q -b 1024 -d tree ext.img 16M >/dev/null 2>&1",
	   dir);
	table = number("dumpe2fs %s/ext.img 2>/dev/null | sed -n '/^Group 1:/,$"
		       "s/.*Inode table at \\([0-9]*\\).*/\\1/p' | head -n 1",
		       dir);
	bitmap = number("dumpe2fs %s/ext.img 2>/dev/null | sed -n '/^Group 1:/,$"
			"s/.*Block bitmap at \\([0-9]*\\).*/\\1/p' | head -n 1",
			dir);
	journal = number("debugfs -R 'bmap <8> 5' %s/ext.img 2>/dev/null", dir);
	file = number("debugfs -R 'bmap /d/f 1' %s/ext.img 2>/dev/null", dir);
	folder = number("debugfs -R 'bmap /d 0' %s/ext.img 2>/dev/null", dir);
	begin(&stand, "ext.img");
	add_write(&stand, 1024, 1024);
	add_write(&stand, 2048, 1024);
	add_write(&stand, table * 1024 + 1536, 512);
	add_write(&stand, bitmap * 1024, 1024);
	add_write(&stand, journal * 1024, 4096);
	add_write(&stand, file * 1024, 2048);
	add_write(&stand, folder * 1024, 1024);
	add_write(&stand, stand.size - 4096, 512);
	name(&stand, names);
	assert_string_equal(names[0], "superblock");
	assert_string_equal(names[1], "group descriptors of group 0");
	assert_non_null(strstr(names[2], "inode table of group 1 (inodes "));
	assert_string_equal(names[3], "block bitmap of group 1");
	assert_string_equal(names[4], "journal");
	assert_string_equal(names[5], "data of /d/f");
	assert_string_equal(names[6], "directory block of /d");
	assert_string_equal(names[7], "sector 32760 of vda, written 1.250 s after the start");
	done(&stand, names);
}

static void the_inodes_of_a_block_of_the_table_are_those_that_debugfs_finds_there(void **state)
{
	struct stand stand;
	char *names[64];
	unsigned int group, first, last;
	uint64_t block, ino;

	(void)state;
	ino = number("debugfs -R 'stat /d/f' %s/ext.img 2>/dev/null | "
		     "sed -n 's/^Inode: \\([0-9]*\\).*/\\1/p'",
		     dir);
	block = number("debugfs -R 'imap /d/f' %s/ext.img 2>/dev/null | "
		       "sed -n 's/.*located at block \\([0-9]*\\).*/\\1/p'",
		       dir);
	begin(&stand, "ext.img");
	add_write(&stand, block * 1024, 1024);
	name(&stand, names);
	assert_int_equal(sscanf(names[0], "inode table of group %u (inodes %u to %u)", &group,
				&first, &last),
			 3);
	assert_in_range(ino, first, last);
	assert_int_equal(last - first, 3);
	done(&stand, names);
}

static void a_write_of_several_things_names_each_once(void **state)
{
	struct stand stand;
	char *names[64];

	(void)state;
	begin(&stand, "ext.img");
	add_write(&stand, 0, 1 << 20);
	name(&stand, names);
	assert_non_null(strstr(names[0], "superblock, group descriptors of group 0, "
					 "reserved group descriptors of group 0, "));
	assert_non_null(strstr(names[0], " and more"));
	done(&stand, names);
}

/* debugfs writes a transaction with the block of a directory; its last block makes it one. */
static void the_end_of_a_transaction_is_named_with_what_is_in_it(void **state)
{
	static const unsigned char magic[] = { 0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 2 };
	struct stand stand;
	struct journal_write end = { .complete = JOURNAL_NEVER, .len_bytes = 1024 };
	char *names[64], *name_of_end;
	uint64_t folder;

	(void)state;
	folder = number("debugfs -R 'bmap /d 0' %s/ext.img 2>/dev/null", dir);
	sh("cd %s && cp ext.img journal.img && dd if=ext.img bs=1024 skip=%llu count=1 status=none >block "
	   "&& printf 'jo\njw -b %llu block\njc\n' | debugfs -w -f - journal.img >/dev/null 2>&1",
	   dir, (unsigned long long)folder, (unsigned long long)folder);
	begin(&stand, "journal.img");
	for (end.at = 0; memcmp(stand.file + end.at, magic, sizeof(magic)) != 0; end.at += 1024)
		assert_true(end.at < stand.size);
	end.data = malloc(1024);
	memcpy((unsigned char *)end.data, stand.file + end.at, 1024);
	assert_int_equal(mprotect(stand.file, stand.size, PROT_READ | PROT_WRITE), 0);
	memset(stand.file + end.at, 0, 1024);
	add_write(&stand, 4096, 512);
	for (end.submit = 3; end.submit <= 4; end.submit++)
		assert_int_equal(journal_add_write(stand.journal, &end), 0);
	name(&stand, names);
	assert_int_equal(explore_name_later(stand.crash, &stand.image, 1, 1, &name_of_end), 0);
	assert_string_equal(name_of_end, "journal, and with it directory block of /d");
	free(name_of_end);
	/* It is there already. */
	assert_int_equal(explore_name_later(stand.crash, &stand.image, 1, 2, &name_of_end), 0);
	assert_string_equal(name_of_end, "journal");
	free(name_of_end);
	done(&stand, names);
	free((unsigned char *)end.data);
}

static void what_only_the_journal_of_ext4_knows_has_its_name(void **state)
{
	struct stand stand;
	char *names[64];
	uint64_t file, table;

	(void)state;
	sh("cd %s && mkfs.ext4 -q -b 1024 jbd.img 8M && echo text >text && "
	   "debugfs -w -R 'write text late' jbd.img 2>/dev/null",
	   dir);
	file = number("debugfs -R 'bmap late 0' %s/jbd.img 2>/dev/null", dir);
	table = number("debugfs -R 'imap late' %s/jbd.img 2>/dev/null | "
		       "sed -n 's/.*located at block \\([0-9]*\\).*/\\1/p'",
		       dir);
	/* The block of its inode is in the journal, and not in its place. */
	sh("cd %s && dd if=jbd.img of=inodes bs=1024 skip=%llu count=1 status=none && "
	   "printf 'jo\njw -b %llu inodes\njc\n' | debugfs -w -f - jbd.img >/dev/null 2>&1 && "
	   "dd if=/dev/zero of=jbd.img bs=1024 seek=%llu count=1 conv=notrunc status=none",
	   dir, (unsigned long long)table, (unsigned long long)table, (unsigned long long)table);
	begin(&stand, "jbd.img");
	add_write(&stand, file * 1024, 1024);
	name(&stand, names);
	assert_string_equal(names[0], "data of /late");
	done(&stand, names);
}

static void places_of_xfs_have_their_names(void **state)
{
	struct stand stand;
	char *names[64];
	uint64_t file, log;

	(void)state;
	sh("cd %s && printf '/dummy\\n0 0\\nd--755 0 0\\nf ---644 0 0 tree/d/f\\n$\\n$\\n' >proto && "
	   "truncate -s 320M xfs.img && mkfs.xfs -q -p proto xfs.img",
	   dir);
	file = number("xfs_db -r -f -c 'inode 131' -c bmap %s/xfs.img | "
		      "sed -n 's/.*startblock \\([0-9]*\\).*/\\1/p'",
		      dir);
	log = number("xfs_db -r -f -c 'sb 0' -c 'p logstart' -c 'convert fsblock '$(xfs_db -r -f "
		     "-c 'sb 0' -c 'p logstart' %s/xfs.img | sed 's/.* //')' daddr' %s/xfs.img | "
		     "sed -n 's/.*0x[0-9a-f]* (\\([0-9]*\\)).*/\\1/p'",
		     dir, dir);
	/* The record that says it was unmounted becomes one of something to be replayed. */
	sh("cd %s && printf '\\0' | dd of=xfs.img bs=1 seek=%llu conv=notrunc status=none && "
	   "! xfs_db -r -f -c 'blockget -n' xfs.img >/dev/null",
	   dir, (unsigned long long)log * 512 + 512 + 9);
	begin(&stand, "xfs.img");
	add_write(&stand, 0, 512);
	add_write(&stand, file * 4096, 4096);
	add_write(&stand, log * 512, 4096);
	add_write(&stand, 318 << 20, 4096);
	name(&stand, names);
	assert_string_equal(names[0], "superblock");
	assert_string_equal(names[1], "data of /f");
	assert_string_equal(names[2], "log");
	assert_string_equal(names[3], "sector 651264 of vda, written 1.250 s after the start");
	done(&stand, names);
}

static void what_no_tool_knows_is_named_by_sector(void **state)
{
	struct stand stand;
	char *names[64];

	(void)state;
	/* A superblock that says it is one, and nothing behind it. */
	sh("cd %s && head -c 1M /dev/zero >bad.img && "
	   "printf '\\123\\357' | dd of=bad.img bs=1 seek=1080 conv=notrunc status=none && "
	   "printf '\\000\\001' | dd of=bad.img bs=1 seek=1112 conv=notrunc status=none",
	   dir);
	begin(&stand, "bad.img");
	add_write(&stand, 4096, 512);
	name(&stand, names);
	assert_string_equal(names[0], "sector 8 of vda, written 1.250 s after the start");
	done(&stand, names);
}

static void without_the_tools_there_are_sectors(void **state)
{
	_cleanup_free_ char *path = strdup(getenv("PATH"));
	struct stand stand;
	char *names[64];

	(void)state;
	setenv("PATH", "/nowhere", 1);
	begin(&stand, "ext.img");
	add_write(&stand, 1024, 1024);
	name(&stand, names);
	setenv("PATH", path, 1);
	assert_string_equal(names[0], "sector 2 of vda, written 1.250 s after the start");
	done(&stand, names);
}

static int make_dir(void **state)
{
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "/usr/sbin:/sbin:%s", getenv("PATH"));
	return !mkdtemp(dir) || setenv("PATH", path, 1);
}

static int remove_dir(void **state)
{
	(void)state;
	sh("rm -rf %s", dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_of_ext4_have_their_names),
		cmocka_unit_test(
			the_inodes_of_a_block_of_the_table_are_those_that_debugfs_finds_there),
		cmocka_unit_test(a_write_of_several_things_names_each_once),
		cmocka_unit_test(the_end_of_a_transaction_is_named_with_what_is_in_it),
		cmocka_unit_test(what_only_the_journal_of_ext4_knows_has_its_name),
		cmocka_unit_test(places_of_xfs_have_their_names),
		cmocka_unit_test(what_no_tool_knows_is_named_by_sector),
		cmocka_unit_test(without_the_tools_there_are_sectors),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
