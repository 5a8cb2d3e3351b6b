// SPDX-License-Identifier: MIT
/*
 * record FILE SIZE <SCRIPT: a recording without a kernel (a log of dm-log-writes; of several disks,
 * or with writes in flight together, one of ours) of what the script says, a line each:
 *
 *	write AT LEN BYTE [fua]		LEN bytes of that value
 *	text AT TEXT			a block of 4096 bytes that begins with TEXT and a newline
 *	file AT PATH			all blocks of 4096 bytes of a file that are not there yet
 *	discard AT LEN
 *	together			the next two writes are in flight together
 *	flush
 *	mark TEXT
 *	disk NAME			what follows is of that disk; before the first write all
 *					but the first (disk) are named once
 */
#include "faults/journal/logwrites.h"
#include "faults/journal/save.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096u

static struct journal *journal;
static struct journal_disk disk = { .name = "disk", .block_bytes = 512, .cache = true };
static unsigned char *contents[8], *content; /* of the disks, and of the one that is written, now */
static uint16_t current;
static uint64_t step;
static unsigned int together; /* writes to come that are in flight together */
static bool ours;

__attribute__((noreturn)) static void die(const char *what, const char *line)
{
	fprintf(stderr, "record: %s: %s\n", what, line);
	exit(1);
}

static void must(int err, const char *line)
{
	if (err)
		die(strerror(-err), line);
}

static void add(uint64_t at, uint64_t len, unsigned char *data, bool fua)
{
	const uint64_t complete = step + (together ? 3 : 2);
	const struct journal_write write = { .submit = step + 1,
					     .complete = complete,
					     .submit_ns = (step + 1) * 1000,
					     .complete_ns = complete * 1000,
					     .at = at,
					     .len_bytes = len,
					     .data = data,
					     .disk = current,
					     .op = data ? IO_WRITE : IO_DISCARD,
					     .flags = fua ? IO_FUA : 0 };

	/* Of two the second is submitted before the first completes. */
	step = together == 2 ? step + 1 : complete;
	together -= together > 0;
	must(journal_add_write(journal, &write), "write");
	if (data)
		memcpy(content + at, data, len);
	else
		memset(content + at, 0, len);
	if (data)
		must(journal_own(journal, data), "write");
}

static unsigned char *block_of(uint64_t len, int byte)
{
	unsigned char *data = malloc(len);

	if (!data)
		die("no memory", "");
	memset(data, byte, len);
	return data;
}

static void add_file(uint64_t at, const char *path)
{
	FILE *file = fopen(path, "r");
	unsigned char *data;

	if (!file)
		die("cannot open", path);
	for (;; at += BLOCK) {
		data = block_of(BLOCK, 0);
		if (fread(data, 1, BLOCK, file) == 0)
			break;
		if (at + BLOCK > disk.size_bytes)
			die("too large for the disk", path);
		if (memcmp(data, content + at, BLOCK) == 0)
			free(data);
		else
			add(at, BLOCK, data, false);
	}
	free(data);
	fclose(file);
}

static void choose_disk(const char *name)
{
	for (current = 0; current < journal->nr_disks; current++)
		if (strcmp(journal->disks[current].name, name) == 0)
			break;
	if (current == journal->nr_disks) {
		if (current == sizeof(contents) / sizeof(contents[0]))
			die("too many disks", name);
		snprintf(disk.name, sizeof(disk.name), "%s", name);
		must(journal_add_disk(journal, &disk), name);
		contents[current] = calloc(1, disk.size_bytes);
		if (!contents[current])
			die("no memory for disk", name);
	}
	content = contents[current];
}

static void add_line(char *line)
{
	struct journal_flush flush = { .submit = step + 1, .complete = step + 2, .disk = current };
	uint64_t at, len;
	char text[256], extra[8] = "";
	unsigned char *data;
	int byte;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "write %" SCNu64 " %" SCNu64 " %i %7s", &at, &len, &byte, extra) >= 3) {
		add(at, len, block_of(len, byte), strcmp(extra, "fua") == 0);
	} else if (sscanf(line, "text %" SCNu64 " %255[^\n]", &at, text) == 2) {
		data = block_of(BLOCK, 0);
		snprintf((char *)data, BLOCK, "%s\n", text);
		add(at, BLOCK, data, false);
	} else if (sscanf(line, "file %" SCNu64 " %255[^\n]", &at, text) == 2) {
		add_file(at, text);
	} else if (sscanf(line, "discard %" SCNu64 " %" SCNu64, &at, &len) == 2) {
		add(at, len, NULL, false);
	} else if (strcmp(line, "together") == 0) {
		together = 2;
		ours = true;
	} else if (strcmp(line, "flush") == 0) {
		step += 2;
		must(journal_add_flush(journal, &flush), line);
	} else if (strncmp(line, "disk ", 5) == 0) {
		choose_disk(line + 5);
	} else if (strncmp(line, "mark ", 5) == 0) {
		step++;
		must(journal_add_mark(journal, step, step * 1000, line + 5, strlen(line + 5)),
		     line);
	} else {
		die("what is", line);
	}
}

int main(int argc, char **argv)
{
	struct logwrites_export told;
	struct diag diag = { 0 };
	char line[512];
	int fd;

	if (argc != 3)
		die("wanted", "record FILE SIZE <SCRIPT");
	disk.size_bytes = strtoull(argv[2], NULL, 10);
	must(journal_new(&journal), "journal");
	choose_disk("disk");
	while (fgets(line, sizeof(line), stdin))
		add_line(line);
	if (journal_seal(journal, &diag))
		die("journal", diag.message);
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 ||
	    (journal->nr_disks > 1 || ours ? journal_save(journal, 1, fd, &diag)
					   : logwrites_export(journal, 0, fd, &diag, &told)))
		die(argv[1], diag.message);
	for (uint32_t i = 0; i < journal->nr_disks; i++)
		free(contents[i]);
	journal_free(journal);
	return close(fd) ? 1 : 0;
}
