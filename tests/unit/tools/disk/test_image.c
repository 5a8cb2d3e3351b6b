// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/units.h"
#include "tools/disk/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SIZE (4u << 20)

static char dir[] = "/tmp/faultblk-image.XXXXXX";
static char path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/image", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir); /* and nothing else is left in it */
}

/* A file of @size bytes with @letter at each of the places. */
static void make_file(uint64_t size, const uint64_t *places, size_t nr, char letter)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(pwrite(fd, &letter, 1, (off_t)places[i]), 1);
	close(fd);
}

static void check_refused(const struct image_limits *limits, const char *at, const char *says)
{
	struct diag diag = { 0 };
	struct image image;

	assert_true(image_open(at, limits, &diag, &image) < 0);
	if (!strstr(diag.message, says))
		fail_msg("'%s' does not say '%s'", diag.message, says);
}

static void what_does_not_fit_is_refused_with_words(void **state)
{
	const struct image_limits limits = { .size_bytes = SIZE, .block_bytes = 4096 };

	(void)state;
	check_refused(&limits, "/tmp/there-is-no-such-image", "No such file");
	check_refused(&limits, dir, "wanted a file");
	make_file(0, NULL, 0, 0);
	check_refused(&limits, path, "multiple of the block size");
	make_file(4096 + 512, NULL, 0, 0);
	check_refused(&limits, path, "got 4608 bytes, wanted a multiple of the block size, 4096");
	make_file(SIZE + 4096, NULL, 0, 0);
	check_refused(&limits, path, "wanted at most those of the disk, 4194304");
}

/* Whatever its size: a compressed image is rarely a multiple of anything. */
static void a_file_of_another_format_is_refused_by_name(void **state)
{
	static const struct {
		const char *bytes;
		size_t len, at, size;
		const char *name, *how;
	} table[] = {
		{ "QFI\xfb\0\0\0\3", 8, 0, 196616, "is qcow or qcow2", "qemu-img convert -O raw " },
		{ "KDMV\1\0\0\0", 8, 0, 65536, "is VMDK", "qemu-img" },
		{ "# Disk DescriptorFile\n", 22, 0, 300, "is VMDK (its descriptor)", "qemu-img" },
		{ "\x7f\x10\xda\xbe", 4, 64, 4096, "is VDI", "qemu-img" },
		{ "vhdxfile", 8, 0, 4096, "is VHDX", "qemu-img" },
		{ "\x1f\x8b\x08\0", 4, 0, 77, "is gzip", "gzip -dc " },
		{ "\xfd\x37zXZ\0", 6, 0, 77, "is xz", "xz -dc " },
		{ "\x28\xb5\x2f\xfd", 4, 0, 4096, "is zstd", "zstd -dc " },
	};
	const struct image_limits limits = { .size_bytes = SIZE, .block_bytes = 512 };
	struct image image;

	(void)state;
	for (size_t i = 0; i < array_size(table); i++) {
		struct diag diag = { 0 };
		int fd;

		make_file(table[i].size, NULL, 0, 0);
		fd = open(path, O_WRONLY);
		assert_int_equal(pwrite(fd, table[i].bytes, table[i].len, (off_t)table[i].at),
				 table[i].len);
		close(fd);
		assert_int_equal(image_open(path, &limits, &diag, &image), -EINVAL);
		assert_string_equal(diag.id, "image.format");
		if (!strstr(diag.message, table[i].name) || !strstr(diag.hint, table[i].how) ||
		    !strstr(diag.hint, path))
			fail_msg("%s: %s (%s)", table[i].name, diag.message, diag.hint);
		/* Elsewhere in an image they are nothing of the kind. */
		make_file(8192, NULL, 0, 0);
		fd = open(path, O_WRONLY);
		assert_int_equal(pwrite(fd, table[i].bytes, table[i].len, 512), table[i].len);
		close(fd);
		assert_int_equal(image_open(path, &limits, &diag, &image), 0);
		image_close(&image);
	}
}

/* The alarm ends the test, should any of these be waited for. */
static void what_is_no_file_is_refused_without_waiting_for_it(void **state)
{
	const struct image_limits limits = { .size_bytes = SIZE, .block_bytes = 4096 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	alarm(PATIENCE_MS / 1000);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	check_refused(&limits, path, "got a FIFO, wanted a file or a block device");
	unlink(path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	check_refused(&limits, path, "cannot read");
	unlink(path);
	close(sock);
	check_refused(&limits, dir, "got a directory");
	check_refused(&limits, "/dev/zero", "got a character device");
	assert_int_equal(symlink(path, path), 0);
	check_refused(&limits, path, "cannot read");
	unlink(path);
	alarm(0);
}

static void holes_and_zeroes_stay_holes_and_data_comes_to_its_place(void **state)
{
	const uint64_t places[] = { 0, 5000, 1 << 20, (1 << 20) + 4095, 3 * 1048576 + 17 };
	const struct image_limits limits = { .block_bytes = 512 };
	unsigned char zeroes[16 * 4096] = { 0 };
	struct store *store;
	struct image image;
	int fd;

	(void)state;
	make_file(SIZE - 512, places, array_size(places), 'x');
	/* Written, but nothing but zeroes. */
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, zeroes, sizeof(zeroes), 2 << 20), sizeof(zeroes));
	close(fd);
	assert_int_equal(store_create(SIZE, NULL, &store), 0);
	assert_int_equal(image_open(path, &limits, NULL, &image), 0);
	assert_int_equal(image.size_bytes, SIZE - 512);
	assert_int_equal(image_load(&image, store, NULL), 0);
	image_close(&image);
	assert_int_equal(store_allocated(store), 4 * 4096);
	for (size_t i = 0; i < array_size(places); i++)
		assert_int_equal(store_bytes(store)[places[i]], 'x');
	assert_int_equal(store_bytes(store)[1], 0);
	store_free(store);
}

/* Every 64 KiB one page of letters; the rest is hole. */
static uint64_t striped(void *ctx, uint64_t at, uint64_t len, unsigned char *data, bool *ret_hole)
{
	uint64_t stripe = at % 65536, nr = stripe < 4096 ? 4096 - stripe : 65536 - stripe;

	nr = nr < len ? nr : len;
	*ret_hole = stripe >= 4096;
	if (!*ret_hole)
		memset(data, 'a' + (int)(at / 65536) % 26, nr);
	return ctx && at >= *(uint64_t *)ctx ? 0 : nr;
}

static void a_saved_image_is_sparse_and_appears_when_it_is_whole(void **state)
{
	struct image_out out;
	struct stat st;
	uint64_t bytes;
	char letter;
	int fd;

	(void)state;
	unlink(path);
	assert_int_equal(image_out_open(path, false, NULL, &out), 0);
	assert_int_equal(image_out_write(&out, SIZE, striped, NULL, NULL, &bytes), 0);
	assert_int_equal(bytes, SIZE / 16);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(image_out_commit(&out, NULL), 0);
	image_out_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_in_range(st.st_blocks * 512, SIZE / 16, SIZE / 4);
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, &letter, 1, 3 * 65536 + 100), 1);
	assert_int_equal(letter, 'd');
	close(fd);
}

static void a_file_that_is_there_is_replaced_by_force_alone(void **state)
{
	struct diag diag = { 0 };
	struct image_out out;
	struct stat st;
	uint64_t bytes;

	(void)state;
	make_file(512, NULL, 0, 0);
	assert_int_equal(image_out_open(path, false, &diag, &out), -EEXIST);
	assert_non_null(strstr(diag.hint, "--force"));
	assert_int_equal(image_out_open(path, true, NULL, &out), 0);
	assert_int_equal(image_out_write(&out, SIZE, striped, NULL, NULL, &bytes), 0);
	assert_int_equal(image_out_commit(&out, NULL), 0);
	image_out_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	/* One that came while it was written stays what it is. */
	unlink(path);
	assert_int_equal(image_out_open(path, false, NULL, &out), 0);
	make_file(1024, NULL, 0, 0);
	assert_int_equal(image_out_write(&out, SIZE, striped, NULL, NULL, &bytes), 0);
	assert_int_equal(image_out_commit(&out, &diag), -EEXIST);
	image_out_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1024);
}

static void what_is_given_up_leaves_nothing_behind(void **state)
{
	uint64_t limit = 1 << 20, bytes;
	struct diag diag = { 0 };
	struct image_out out;

	(void)state;
	unlink(path);
	assert_int_equal(image_out_open(path, false, NULL, &out), 0);
	assert_int_equal(image_out_write(&out, SIZE, striped, &limit, &diag, &bytes), -ECANCELED);
	image_out_close(&out);
	assert_int_equal(access(path, F_OK), -1);
	/* tear_down() finds the part, if there is one. */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_refused_with_words),
		cmocka_unit_test(a_file_of_another_format_is_refused_by_name),
		cmocka_unit_test(what_is_no_file_is_refused_without_waiting_for_it),
		cmocka_unit_test(holes_and_zeroes_stay_holes_and_data_comes_to_its_place),
		cmocka_unit_test(a_saved_image_is_sparse_and_appears_when_it_is_whole),
		cmocka_unit_test(a_file_that_is_there_is_replaced_by_force_alone),
		cmocka_unit_test(what_is_given_up_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
