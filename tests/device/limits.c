// SPDX-License-Identifier: MIT
/*
 * limits: every option of the library at, below and above each of its limits, on a real kernel.
 *
 * Values of which each is a lower limit are tried together on one disk, and so are the upper limits;
 * with SOAK=1, and where they exclude each other, each has a disk of its own. What is accepted is opened, its first and its last block are read and written, what the block layer
 * shows is compared, and it is closed. What is refused is refused with words, before the kernel is
 * asked, and leaves nothing behind.
 */
#include "base/clock.h"
#include "harness.h"
#include "ublkcore.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define MIB      (1ull << 20)
#define GIB      (1ull << 30)
#define IO_ALIGN 4096

static char said[1024];

static void catch_message(void *ctx, enum ublk_log_level level, const char *message)
{
	(void)ctx;
	if (level == UBLK_LOG_ERROR)
		snprintf(said, sizeof(said), "%s", message);
}

/* ------------------------------------------------------------------------------ a disk of any size */

/* Its content is where it lies, so that it needs no memory. */
static uint64_t word_at(uint64_t sector, size_t i)
{
	return sector * 64 + i;
}

static _Atomic unsigned int nr_wrong, largest_io;

static int pattern_read(void *ctx, struct ublk_req *req)
{
	uint64_t word[64];
	int err = 0;

	(void)ctx;
	for (uint32_t at = 0; at < req->len_bytes && !err; at += sizeof(word)) {
		for (size_t i = 0; i < 64; i++)
			word[i] = word_at(req->sector + at / 512, i);
		err = ublk_req_put(req, at, word, sizeof(word));
	}
	return err;
}

static int pattern_write(void *ctx, struct ublk_req *req)
{
	uint64_t word[64];
	int err = 0;

	(void)ctx;
	if (req->len_bytes > largest_io)
		largest_io = req->len_bytes;
	for (uint32_t at = 0; at < req->len_bytes && !err; at += sizeof(word)) {
		err = ublk_req_get(req, at, word, sizeof(word));
		for (size_t i = 0; i < 64; i++)
			nr_wrong += word[i] != word_at(req->sector + at / 512, i);
	}
	return err;
}

static int nothing(void *ctx, struct ublk_req *req)
{
	(void)ctx, (void)req;
	return 0;
}

static const struct ublk_backend pattern = {
	.name = "pattern",
	.read = pattern_read,
	.write = pattern_write,
	.flush = nothing,
	.discard = nothing,
	.write_zeroes = nothing,
};

/* Read @len bytes at @at, and write them back: 0 if both are right. */
static int check_block(int fd, uint64_t at, size_t len)
{
	uint64_t *buf = aligned_alloc(IO_ALIGN, (len + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN);
	int bad = pread(fd, buf, len, (off_t)at) != (ssize_t)len;

	for (size_t i = 0; i < len / 8 && !bad; i++)
		bad = buf[i] != word_at(at / 512 + i / 64, i % 64);
	bad |= pwrite(fd, buf, len, (off_t)at) != (ssize_t)len || nr_wrong;
	free(buf);
	return bad;
}

/* ------------------------------------------------------------------------------ the table */

enum { REFUSED = -EINVAL, OPENED = 0 };

struct row {
	const char *name;
	size_t offset, size; /* of the field */
	unsigned long long value;
	int want;
	const char *shown; /* /sys/block/ublkbN/... that has it, and as what */
	unsigned long long as;
	enum { ALONE, LOW, HIGH } with;
	/* What else has to be set for it, alone. */
	unsigned long long size_bytes, block, physical, granularity;
};

#define ROW(f, v, w, ...)                                                                          \
	{                                                                                          \
		.name = #f, .offset = offsetof(struct ublk_options, f),                            \
		.size = sizeof(((struct ublk_options *)0)->f), .value = (v), .want = (w),          \
		__VA_ARGS__                                                                        \
	}

// clang-format off
static const struct row rows[] = {
	ROW(size_bytes, 0, REFUSED),
	ROW(size_bytes, 511, REFUSED),
	ROW(size_bytes, 513, REFUSED),
	ROW(size_bytes, 512, OPENED, .shown = "size", .as = 1, .with = LOW),
	ROW(size_bytes, (1ull << 63) - 4096, OPENED, .shown = "size", .as = (1ull << 54) - 8, .with = HIGH),
	ROW(size_bytes, (1ull << 63) - 512, OPENED, .shown = "size", .as = (1ull << 54) - 1),
	ROW(size_bytes, 1ull << 63, REFUSED),
	ROW(id, (unsigned long long)-2, REFUSED),
	ROW(id, 0, OPENED, .with = LOW),
	ROW(id, (1 << 20) - 1, OPENED, .with = HIGH),
	ROW(id, 1 << 20, REFUSED),
	ROW(nr_queues, 0, REFUSED),
	ROW(nr_queues, 1, OPENED, .with = LOW),
	ROW(queue_depth, 0, REFUSED),
	ROW(queue_depth, 1, OPENED, .with = LOW),
	ROW(queue_depth, 4096, OPENED, .with = HIGH),
	ROW(queue_depth, 4097, REFUSED),
	ROW(logical_block, 256, REFUSED),
	ROW(logical_block, 512, OPENED, .shown = "queue/logical_block_size", .as = 512, .with = LOW),
	ROW(logical_block, 1536, REFUSED),
	ROW(logical_block, 4096, OPENED, .shown = "queue/logical_block_size", .as = 4096, .with = HIGH),
	ROW(logical_block, 8192, REFUSED),
	ROW(physical_block, 256, REFUSED),
	ROW(physical_block, 512, OPENED, .shown = "queue/physical_block_size", .as = 512, .with = LOW),
	ROW(physical_block, 2048, REFUSED, .block = 4096),
	ROW(physical_block, 1 << 20, OPENED, .shown = "queue/physical_block_size", .as = 1 << 20, .with = HIGH),
	ROW(physical_block, 2 << 20, REFUSED),
	ROW(max_io_bytes, 2048, REFUSED),
	ROW(max_io_bytes, 4096, OPENED, .shown = "queue/max_hw_sectors_kb", .as = 4, .with = LOW),
	ROW(max_io_bytes, 4608, REFUSED),
	ROW(max_io_bytes, 32 * MIB, OPENED, .shown = "queue/max_hw_sectors_kb", .as = 32 << 10, .with = HIGH),
	ROW(max_io_bytes, 32 * MIB + 4096, REFUSED),
	ROW(discard_granularity, 256, REFUSED),
	ROW(discard_granularity, 512, OPENED, .shown = "queue/discard_granularity", .as = 512, .with = LOW, .physical = 512),
	/* Below the physical block it is raised to that. */
	ROW(discard_granularity, 512, OPENED, .shown = "queue/discard_granularity", .as = 4096),
	ROW(discard_granularity, 2048, REFUSED, .block = 4096),
	ROW(discard_granularity, 3072, REFUSED),
	ROW(discard_granularity, GIB, OPENED, .shown = "queue/discard_granularity", .as = GIB, .with = HIGH),
	ROW(discard_granularity, 2 * GIB, REFUSED),
	ROW(max_discard_bytes, 0, OPENED, .shown = "queue/discard_max_hw_bytes", .as = 0),
	ROW(max_discard_bytes, 100, REFUSED),
	ROW(max_discard_bytes, 512, OPENED, .shown = "queue/discard_max_hw_bytes", .as = 512, .with = LOW),
	ROW(max_discard_bytes, 2 * GIB, OPENED, .shown = "queue/discard_max_hw_bytes", .as = 2 * GIB, .with = HIGH),
	ROW(max_discard_bytes, 2 * GIB + 512, REFUSED),
	ROW(max_zeroes_bytes, 0, OPENED, .shown = "queue/write_zeroes_max_bytes", .as = 0),
	ROW(max_zeroes_bytes, 100, REFUSED),
	ROW(max_zeroes_bytes, 512, OPENED, .shown = "queue/write_zeroes_max_bytes", .as = 512, .with = LOW),
	ROW(max_zeroes_bytes, 2 * GIB, OPENED, .shown = "queue/write_zeroes_max_bytes", .as = 2 * GIB, .with = HIGH),
	ROW(max_zeroes_bytes, 2 * GIB + 512, REFUSED),
	ROW(close_timeout_ms, 0, OPENED, .with = LOW),
	ROW(close_timeout_ms, 1, OPENED),
	ROW(close_timeout_ms, 600000, OPENED, .with = HIGH),
	ROW(close_timeout_ms, 600001, REFUSED),
	ROW(data_path, UBLK_DATA_COPY, OPENED, .with = LOW),
	ROW(data_path, UBLK_DATA_USER_COPY, OPENED),
	ROW(data_path, UBLK_DATA_USER_COPY + 1, REFUSED),
	ROW(read_only, true, OPENED, .shown = "ro", .as = 1),
	ROW(read_only, false, OPENED, .shown = "ro", .as = 0, .with = LOW),
	ROW(rotational, true, OPENED, .shown = "queue/rotational", .as = 1, .with = HIGH),
	ROW(rotational, false, OPENED, .shown = "queue/rotational", .as = 0, .with = LOW),
	ROW(volatile_cache, false, OPENED, .shown = "queue/fua", .as = 0),
	ROW(fua, false, OPENED, .shown = "queue/fua", .as = 0, .with = LOW),
	ROW(fua, true, OPENED, .shown = "queue/fua", .as = 1, .with = HIGH),
	ROW(legacy_commands, true, OPENED),
};
// clang-format on

static void set_field(struct ublk_options *o, const struct row *row)
{
	/* Little-endian, like every machine that has these kernels. */
	memcpy((char *)o + row->offset, &row->value, row->size);
}

static struct ublk_options usual(void)
{
	struct ublk_options o;

	ublk_options_init(&o);
	o.size_bytes = 64 * MIB;
	o.log = catch_message;
	said[0] = '\0';
	return o;
}

static struct ublk_options options_of(const struct row *row)
{
	struct ublk_options o = usual();

	if (row->size_bytes)
		o.size_bytes = row->size_bytes;
	if (row->block)
		o.logical_block = (unsigned int)row->block;
	if (row->physical)
		o.physical_block = (unsigned int)row->physical;
	if (row->granularity)
		o.discard_granularity = (unsigned int)row->granularity;
	set_field(&o, row);
	return o;
}

static void check_shown(const struct row *row, int id)
{
	char path[128];
	unsigned long long got = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/%s", id, row->shown);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &got) != 1 || got != row->as)
		FAIL("%s = %llu: %s is %llu, expected %llu", row->name, row->value, row->shown, got,
		     row->as);
	if (f)
		fclose(f);
}

/* The first and the last block, the largest request, and the end. */
static void check_disk(const char *name, const struct ublk_options *o, struct ublk_dev *dev)
{
	const struct ublk_options *has = ublk_dev_options(dev);
	size_t len = has->logical_block;
	int err, fd = open(ublk_dev_path(dev),
			   (o->read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);

	EXPECT(fd >= 0);
	EXPECT(has->nr_queues == o->nr_queues && has->queue_depth == o->queue_depth &&
	       has->max_io_bytes == o->max_io_bytes);
	nr_wrong = largest_io = 0;
	if (!o->read_only && (check_block(fd, 0, len) || check_block(fd, o->size_bytes - len, len)))
		FAIL("%s: a block differs", name);
	if (o->max_io_bytes > MIB && check_block(fd, 0, o->max_io_bytes))
		FAIL("%s: %u bytes differ", name, o->max_io_bytes);
	EXPECT(largest_io <= o->max_io_bytes);
	close(fd);
	err = ublk_dev_close(dev);
	if (err)
		FAIL("%s: close: %d: %s", name, err, said);
}

static void check_row(const struct row *row)
{
	struct ublk_options o = options_of(row);
	struct ublk_dev *dev = NULL;
	char name[64];
	int err = ublk_dev_open(&pattern, NULL, &o, &dev);

	snprintf(name, sizeof(name), "%s = %llu", row->name, row->value);
	if (err != row->want)
		FAIL("%s: open: %d: %s", name, err, said);
	if (!err && row->shown)
		check_shown(row, ublk_dev_id(dev));
	if (!err)
		check_disk(name, &o, dev);
	else if (strncmp(said, row->name, strlen(row->name)))
		FAIL("%s: it said: %s", name, said);
	ublk_dev_free(dev);
}

static void check_together(int with, const char *name)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = NULL;
	int err;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((int)rows[i].with == with)
			set_field(&o, &rows[i]);
	err = ublk_dev_open(&pattern, NULL, &o, &dev);
	if (err)
		FAIL("%s: open: %d: %s", name, err, said);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !err; i++)
		if ((int)rows[i].with == with && rows[i].shown)
			check_shown(&rows[i], ublk_dev_id(dev));
	if (!err)
		check_disk(name, &o, dev);
	ublk_dev_free(dev);
}

static void every_option_at_its_limits(void)
{
	bool all = getenv("SOAK") && getenv("SOAK")[0];

	check_together(LOW, "all at their lower limits");
	check_together(HIGH, "all at their upper limits");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (all || rows[i].with == ALONE)
			check_row(&rows[i]);
}

static void as_many_queues_as_processors_and_no_more(void)
{
	const struct row *queues = rows;
	struct row row;

	while (queues->offset != offsetof(struct ublk_options, nr_queues))
		queues++;
	row = *queues;
	row.want = OPENED;
	row.value = (unsigned long long)sysconf(_SC_NPROCESSORS_CONF);
	check_row(&row);
	row.want = REFUSED;
	row.value++;
	check_row(&row);
}

/* ------------------------------------------------------------------------------ the other arguments */

static void null_is_refused_by_name(void)
{
	struct ublk_options o = usual();
	struct ublk_dev *dev = NULL;

	EXPECT_EQ(ublk_dev_open(NULL, NULL, &o, &dev), -EINVAL);
	EXPECT(!strcmp(said, "backend is NULL"));
	EXPECT_EQ(ublk_dev_open(&pattern, NULL, &o, NULL), -EINVAL);
	EXPECT(!strcmp(said, "ret_dev is NULL"));
	EXPECT_EQ(ublk_dev_open(&pattern, NULL, NULL, &dev), -EINVAL);
	EXPECT(!dev);
}

static int start_five(void *ctx, unsigned int queue)
{
	(void)ctx, (void)queue;
	return 5;
}

static void a_queue_start_that_returns_a_positive_number_is_refused(void)
{
	static const struct ublk_backend five = { .name = "five",
						  .read = pattern_read,
						  .queue_start = start_five };
	struct ublk_options o = usual();
	struct ublk_dev *dev = NULL;

	EXPECT_EQ(ublk_dev_open(&five, NULL, &o, &dev), -EINVAL);
	EXPECT(strstr(said, "backend \"five\": queue_start returned 5 for queue 0"));
	EXPECT(!dev);
}

int main(int argc, char **argv)
{
	const struct device_test tests[] = {
		DEVICE_TEST(every_option_at_its_limits),
		DEVICE_TEST(as_many_queues_as_processors_and_no_more),
		DEVICE_TEST(null_is_refused_by_name),
		DEVICE_TEST(a_queue_start_that_returns_a_positive_number_is_refused),
	};

	return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL) != 0;
}
