// SPDX-License-Identifier: MIT
/*
 * The tools read the copy through /proc, run under timeout(1), and print in the C locale; what they
 * print is taken line by line, and lines that say nothing to us are passed over.
 *
 *	ext	e2fsck -E journal_only	the journal is replayed
 *		dumpe2fs		where the metadata of each group is
 *		debugfs icheck		block -> inode
 *		debugfs stat		inode -> type
 *		debugfs ncheck		inode -> path
 *	xfs	(we)			the log is emptied
 *		xfs_db blockuse		block -> type, inode, path
 *
 * No tool outside of the kernel replays a log of xfs, and xfs_db says nothing while there is one to
 * be replayed. Without it things are where they were when they were last written to their places.
 */
#include "tools/explore/name_fs.h"

#include "base/cleanup.h"
#include "faults/record/code.h"
#include "tools/explore/name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXT_ROOT    2
#define EXT_RESIZE  7
#define EXT_JOURNAL 8

typedef unsigned long long ull;

/* ------------------------------------------------------------------------------ what it is */

static int open_ext(struct name_fs *fs, const unsigned char *super)
{
	uint64_t shift = get_le(super + 24, 4), inode = get_le(super + 88, 2);

	if (get_le(super + 56, 2) != 0xef53 || shift > 6)
		return -ENOENT;
	fs->kind = NAME_EXT;
	fs->block_bytes = 1024u << shift;
	/* The first revision has no such field. */
	fs->inode_bytes = get_le(super + 76, 4) ? (uint32_t)inode : 128;
	fs->group_inodes = (uint32_t)get_le(super + 40, 4);
	return fs->inode_bytes ? 0 : -ENOENT;
}

static uint32_t get_be(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int open_xfs(struct name_fs *fs, const unsigned char *super)
{
	uint32_t block = get_be(super + 4), group_blocks = get_be(super + 84);
	uint64_t log = (uint64_t)get_be(super + 48) << 32 | get_be(super + 52);
	unsigned char shift = super[124]; /* of the group in the number of a block */

	if (memcmp(super, "XFSB", 4) != 0 || block < 512 || block > 65536 || block & (block - 1) ||
	    shift > 32)
		return -ENOENT;
	fs->kind = NAME_XFS;
	fs->block_bytes = block;
	if (log) {
		fs->log_at =
			((log >> shift) * group_blocks + (log & ((1ull << shift) - 1))) * block;
		fs->log_bytes = (uint64_t)get_be(super + 96) * block;
	}
	return 0;
}

int name_fs_open(struct name_fs *fs, int fd, uint64_t size_bytes)
{
	unsigned char head[2048];

	*fs = (struct name_fs){ .fd = fd };
	if (size_bytes < sizeof(head) || pread(fd, head, sizeof(head), 0) != sizeof(head))
		return -ENOENT;
	return open_ext(fs, head + 1024) == 0 ? 0 : open_xfs(fs, head);
}

void name_fs_close(struct name_fs *fs)
{
	for (size_t i = 0; i < fs->nr; i++)
		free(fs->blocks[i].words);
	free(fs->blocks);
	*fs = (struct name_fs){ 0 };
}

void name_fs_add(struct name_fs *fs, uint64_t at, uint64_t len_bytes)
{
	uint64_t block = fs->block_bytes, end = at + len_bytes;

	if (!fs->blocks)
		fs->blocks = calloc(NAME_BLOCKS, sizeof(*fs->blocks));
	for (at -= at % block; fs->blocks && at < end && fs->nr < NAME_BLOCKS; at += block)
		fs->blocks[fs->nr++] = (struct name_block){ .at = at };
}

static int compare_blocks(const void *a, const void *b)
{
	const struct name_block *one = a, *two = b;

	return one->at < two->at ? -1 : one->at > two->at;
}

static void sort_blocks(struct name_fs *fs)
{
	size_t kept = 0;

	if (!fs->nr)
		return;
	qsort(fs->blocks, fs->nr, sizeof(*fs->blocks), compare_blocks);
	for (size_t i = 1; i < fs->nr; i++)
		if (fs->blocks[i].at != fs->blocks[kept].at)
			fs->blocks[++kept] = fs->blocks[i];
	fs->nr = kept + 1;
}

uint64_t name_fs_first(const struct name_fs *fs, uint64_t at)
{
	size_t from = 0, to = fs->nr;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (fs->blocks[middle].at + fs->block_bytes <= at)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/* ------------------------------------------------------------------------------ tools */

/* The command line of a tool; %s in @fmt is the copy. NULL: no memory. */
struct command_line {
	FILE *out;
	char *text;
	size_t len;
};

static bool begin(struct command_line *line, const char *tool)
{
	*line = (struct command_line){ 0 };
	line->out = open_memstream(&line->text, &line->len);
	if (line->out)
		fprintf(line->out, "PATH=$PATH:/usr/sbin:/sbin LC_ALL=C timeout -k 1 %d %s",
			NAME_SECONDS, tool);
	return line->out;
}

/* What it prints, line by line; pclose() it. NULL: it cannot be run. */
static FILE *run(struct command_line *line, const struct name_fs *fs)
{
	FILE *in;

	fprintf(line->out, " /proc/%d/fd/%d </dev/null 2>/dev/null", (int)getpid(), fs->fd);
	in = fclose(line->out) == 0 ? popen(line->text, "re") : NULL;
	free(line->text);
	return in;
}

static char *next_line(FILE *in, char *text, size_t size)
{
	if (!fgets(text, (int)size, in))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static struct name_block *find_block(const struct name_fs *fs, uint64_t at)
{
	uint64_t i = name_fs_first(fs, at);

	return i < fs->nr && fs->blocks[i].at == at ? &fs->blocks[i] : NULL;
}

/* ------------------------------------------------------------------------------ ext */

static void set_words(struct name_block *block, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void set_words(struct name_block *block, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!block->words && vasprintf(&block->words, fmt, args) < 0)
		block->words = NULL;
	va_end(args);
}

/* " at 12-34" or " at 12" behind @what on the line: the blocks in there are it. */
static bool range_of(const char *line, const char *what, uint64_t *ret_from, uint64_t *ret_to)
{
	const char *at = strstr(line, what);
	ull from, to;
	int n = at ? sscanf(at + strlen(what), " at %llu-%llu", &from, &to) : 0;

	if (n < 1)
		return false;
	*ret_from = from;
	*ret_to = n == 2 ? to : from;
	return true;
}

static void take_group_line(struct name_fs *fs, const char *line, unsigned int group)
{
	static const char *const parts[][2] = {
		{ "Primary superblock", "superblock" },
		{ "Backup superblock", "backup superblock" },
		{ "Group descriptors", "group descriptors" },
		{ "Reserved GDT blocks", "reserved group descriptors" },
		{ "Block bitmap", "block bitmap" },
		{ "Inode bitmap", "inode bitmap" },
		{ "Inode table", "inode table" },
	};
	uint64_t from, to, each = fs->block_bytes / fs->inode_bytes;

	for (size_t i = 0; i < array_size(parts); i++) {
		if (!range_of(line, parts[i][0], &from, &to))
			continue;
		for (uint64_t k = name_fs_first(fs, from * fs->block_bytes);
		     k < fs->nr && fs->blocks[k].at <= to * fs->block_bytes; k++) {
			uint64_t first = (uint64_t)group * fs->group_inodes + 1 +
					 (fs->blocks[k].at / fs->block_bytes - from) * each;

			if (i == 0)
				set_words(&fs->blocks[k], "superblock");
			else if (i < array_size(parts) - 1)
				set_words(&fs->blocks[k], "%s of group %u", parts[i][1], group);
			else
				set_words(&fs->blocks[k],
					  "inode table of group %u (inodes %llu to %llu)", group,
					  (ull)first, (ull)(first + each - 1));
		}
	}
}

static void ask_groups(struct name_fs *fs)
{
	struct command_line line;
	unsigned int group = 0;
	char text[512];
	FILE *in;

	if (!begin(&line, "dumpe2fs"))
		return;
	in = run(&line, fs);
	while (in && next_line(in, text, sizeof(text)))
		if (sscanf(text, "Group %u: (", &group) != 1)
			take_group_line(fs, text, group);
	if (in)
		pclose(in);
}

/* Blocks of 1 KiB: what is before the superblock is there for the boot loader. */
static void ask_owners(struct name_fs *fs)
{
	struct command_line line;
	char text[512];
	FILE *in;

	if (!begin(&line, "debugfs -R 'icheck"))
		return;
	for (size_t i = 0; i < fs->nr; i++)
		if (!fs->blocks[i].words)
			fprintf(line.out, " %llu", (ull)(fs->blocks[i].at / fs->block_bytes));
	fputc('\'', line.out);
	in = run(&line, fs);
	while (in && next_line(in, text, sizeof(text))) {
		struct name_block *block;
		ull at, ino;

		if (sscanf(text, "%llu %llu", &at, &ino) != 2 || ino > UINT32_MAX)
			continue;
		block = find_block(fs, at * fs->block_bytes);
		if (block)
			block->ino = (uint32_t)ino;
	}
	if (in)
		pclose(in);
}

struct inode {
	uint32_t ino;
	bool directory;
	char *path;
};

static int compare_inodes(const void *a, const void *b)
{
	const struct inode *one = a, *two = b;

	return one->ino < two->ino ? -1 : one->ino > two->ino;
}

static struct inode *list_inodes(const struct name_fs *fs, size_t *ret_nr)
{
	struct inode *inodes = calloc(fs->nr + 1, sizeof(*inodes));
	size_t nr = 0, kept = 0;

	for (size_t i = 0; inodes && i < fs->nr; i++)
		if (fs->blocks[i].ino)
			inodes[nr++].ino = fs->blocks[i].ino;
	if (nr)
		qsort(inodes, nr, sizeof(*inodes), compare_inodes);
	for (size_t i = 0; i < nr; i++)
		if (!kept || inodes[kept - 1].ino != inodes[i].ino)
			inodes[kept++] = inodes[i];
	*ret_nr = kept;
	return inodes;
}

static struct inode *find_inode(struct inode *inodes, size_t nr, uint32_t ino)
{
	const struct inode key = { .ino = ino };

	return nr ? bsearch(&key, inodes, nr, sizeof(*inodes), compare_inodes) : NULL;
}

/* An inode of several names keeps the first. */
static void ask_paths(struct name_fs *fs, struct inode *inodes, size_t nr)
{
	struct command_line line;
	char text[4600];
	FILE *in;

	if (!nr || !begin(&line, "debugfs -R 'ncheck"))
		return;
	for (size_t i = 0; i < nr; i++)
		fprintf(line.out, " %u", inodes[i].ino);
	fputc('\'', line.out);
	in = run(&line, fs);
	while (in && next_line(in, text, sizeof(text))) {
		const char *path = strchr(text, '\t');
		unsigned int ino;
		struct inode *inode;

		if (!path || sscanf(text, "%u", &ino) != 1)
			continue;
		inode = find_inode(inodes, nr, ino);
		/* It prints //name for what is in the root. */
		if (inode && !inode->path)
			inode->path = strdup(path + 1 + (strncmp(path + 1, "//", 2) == 0));
	}
	if (in)
		pclose(in);
}

/* debugfs takes one request with -R; several come from a file, here its standard input. */
static void ask_types(struct name_fs *fs, struct inode *inodes, size_t nr)
{
	struct command_line line;
	unsigned int ino = 0;
	char text[512];
	FILE *in;

	line = (struct command_line){ 0 };
	line.out = open_memstream(&line.text, &line.len);
	if (!line.out)
		return;
	fputs("printf '", line.out);
	for (size_t i = 0; i < nr; i++)
		fprintf(line.out, "stat <%u>\\n", inodes[i].ino);
	fprintf(line.out, "' | LC_ALL=C timeout -k 1 %d debugfs -f - /proc/%d/fd/%d 2>/dev/null",
		NAME_SECONDS, (int)getpid(), fs->fd);
	in = fclose(line.out) == 0 ? popen(line.text, "re") : NULL;
	free(line.text);
	while (in && next_line(in, text, sizeof(text))) {
		struct inode *inode;

		if (sscanf(text, "Inode: %u", &ino) != 1)
			continue;
		inode = find_inode(inodes, nr, ino);
		if (inode)
			inode->directory = strstr(text, "Type: directory");
	}
	if (in)
		pclose(in);
}

static void say_inode(struct name_block *block, const struct inode *inode)
{
	const char *what = inode->directory ? "directory block of" : "data of";

	block->journal = inode->ino == EXT_JOURNAL;
	block->named = !block->journal && inode->ino != EXT_RESIZE;
	if (inode->ino == EXT_JOURNAL)
		set_words(block, "journal");
	else if (inode->ino == EXT_RESIZE)
		set_words(block, "reserved group descriptors");
	else if (inode->ino == EXT_ROOT)
		set_words(block, "directory block of /");
	else if (inode->path)
		set_words(block, "%s %.*s", what, NAME_TEXT / 2, inode->path);
	else
		set_words(block, "%s inode %u, which has no name", what, inode->ino);
}

/* Blocks of a transaction are printed before its end. */
size_t name_fs_committed(struct name_fs *fs, bool add)
{
	_cleanup_free_ uint64_t *blocks = calloc(NAME_BLOCKS, sizeof(*blocks));
	size_t nr = 0, nr_last = 0, nr_committed = 0;
	struct command_line line;
	char text[512];
	FILE *in = NULL;

	if (blocks && fs->kind == NAME_EXT && begin(&line, "debugfs -R 'logdump -a'"))
		in = run(&line, fs);
	while (in && next_line(in, text, sizeof(text))) {
		ull block;

		if (strstr(text, ", type 2 (commit block)")) {
			nr_committed++;
			nr_last = nr;
			nr = 0;
		} else if (sscanf(text, " FS block %llu logged at", &block) == 1 &&
			   nr < NAME_BLOCKS) {
			/* The one before is not the last. */
			nr_last = nr ? nr_last : 0;
			blocks[nr++] = block;
		}
	}
	if (in)
		pclose(in);
	for (size_t i = 0; add && i < nr_last; i++)
		name_fs_add(fs, blocks[i] * fs->block_bytes, fs->block_bytes);
	return nr_committed;
}

static void replay(const struct name_fs *fs)
{
	struct command_line line;
	char text[512];
	FILE *in;

	if (!begin(&line, "e2fsck -y -E journal_only"))
		return;
	in = run(&line, fs);
	/* It would die of a pipe that is closed while it has something to say. */
	while (in && next_line(in, text, sizeof(text)))
		;
	if (in)
		pclose(in);
}

static void ask_ext(struct name_fs *fs)
{
	struct inode *inodes;
	size_t nr;

	replay(fs);
	ask_groups(fs);
	ask_owners(fs);
	inodes = list_inodes(fs, &nr);
	if (!inodes)
		return;
	if (nr) {
		ask_types(fs, inodes, nr);
		ask_paths(fs, inodes, nr);
	}
	for (size_t i = 0; i < fs->nr; i++) {
		const struct inode *inode = find_inode(inodes, nr, fs->blocks[i].ino);

		if (inode)
			say_inode(&fs->blocks[i], inode);
	}
	for (size_t i = 0; i < nr; i++)
		free(inodes[i].path);
	free(inodes);
}

/* ------------------------------------------------------------------------------ xfs */

static void take_xfs_line(struct name_block *block, const char *line)
{
	static const char *const types[][2] = {
		{ "sb", "superblock" },
		{ "agf", "free space header" },
		{ "agi", "inode header" },
		{ "agfl", "free list" },
		{ "btbno", "free space tree" },
		{ "btcnt", "free space tree" },
		{ "btino", "inode tree" },
		{ "btfino", "free inode tree" },
		{ "btrmap", "reverse mapping tree" },
		{ "btrefc", "reference count tree" },
		{ "inode", "inodes" },
		{ "log", "log" },
		{ "dir", "directory block" },
		{ "data", "data" },
		{ "attr", "attributes" },
		{ "symlink", "symbolic link" },
		{ "bmap", "extent list" },
	};
	char type[32] = "", path[NAME_TEXT / 2] = "";
	ull ino = 0;

	if (sscanf(line, "block %*u (%*u/%*u) type %31s inode %llu %255[^\n]", type, &ino, path) <
	    1)
		return;
	for (size_t i = 0; i < array_size(types); i++) {
		if (strcmp(type, types[i][0]) != 0)
			continue;
		if (path[0])
			set_words(block, "%s of /%s", types[i][1], path);
		else if (ino)
			set_words(block, "%s of inode %llu", types[i][1], ino);
		else
			set_words(block, "%s", types[i][1]);
	}
}

/* It answers in the order of the questions, a line each. */
static void ask_xfs(struct name_fs *fs)
{
	struct command_line line;
	size_t i = 0;
	char text[512];
	FILE *in;

	if (fs->log_bytes)
		fallocate(fs->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)fs->log_at,
			  (off_t)fs->log_bytes);
	if (!begin(&line, "xfs_db -r -f -c 'blockget -n'"))
		return;
	for (size_t k = 0; k < fs->nr; k++)
		fprintf(line.out, " -c 'daddr %llu' -c 'blockuse -n'",
			(ull)(fs->blocks[k].at / 512));
	in = run(&line, fs);
	while (in && next_line(in, text, sizeof(text)))
		if (strncmp(text, "block ", 6) == 0 && i < fs->nr)
			take_xfs_line(&fs->blocks[i++], text);
	if (in)
		pclose(in);
}

void name_fs_ask(struct name_fs *fs)
{
	sort_blocks(fs);
	if (!fs->nr)
		return;
	switch (fs->kind) {
	case NAME_NOTHING:
		break;
	case NAME_EXT:
		ask_ext(fs);
		break;
	case NAME_XFS:
		ask_xfs(fs);
		break;
	}
}
