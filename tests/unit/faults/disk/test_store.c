// SPDX-License-Identifier: MIT
#include "tests/unit/check.h"

#include "base/rng.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static void a_new_store_reads_as_zero_and_uses_no_memory(void **state)
{
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(1 << 20, NULL, &store), 0);
	assert_int_equal(store_size(store), 1 << 20);
	for (size_t i = 0; i < 1 << 20; i += 511)
		assert_int_equal(store_data(store)[i], 0);
	store_free(store);
}

static void a_disk_of_a_tebibyte_costs_only_what_is_written(void **state)
{
	struct store *store = NULL;
	uint64_t size = 1ull << 40;

	(void)state;
	assert_int_equal(store_create(size, NULL, &store), 0);
	assert_int_equal(store_allocated(store), 0);
	store_mark(store, size - 1, 1);
	store_mark(store, size / 2, 1);
	store_data(store)[size - 1] = 7;
	store_data(store)[size / 2] = 8;
	assert_in_range(store_allocated(store), 1, 4 << 20);
	assert_int_equal(store_punch(store, 0, size), 0);
	assert_int_equal(store_allocated(store), 0);
	assert_int_equal(store_data(store)[size - 1], 0);
	store_free(store);
}

static void sizes_that_are_no_disk_are_refused_with_words(void **state)
{
	static const uint64_t sizes[] = {
		0, 1, 511, 513, 1 << 20 | 1, UINT64_MAX, UINT64_MAX - 511
	};
	struct store *store = NULL;
	struct diag diag;

	(void)state;
	for (size_t i = 0; i < array_size(sizes); i++) {
		assert_int_equal(store_create(sizes[i], &diag, &store), -EINVAL);
		assert_string_equal(diag.id, "store.bad-size");
		assert_null(store);
	}
	assert_null(store_free(NULL));
}

static void too_many_open_files_is_an_error_that_names_the_limit(void **state)
{
	struct rlimit before, none;
	struct store *store = NULL;
	struct diag diag;
	int err;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	err = store_create(4096, &diag, &store);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(err, -EMFILE);
	assert_non_null(strstr(diag.hint, "ulimit -n"));
}

static void a_size_beyond_all_addresses_blames_no_limit(void **state)
{
	struct rlimit before;
	struct store *store = NULL;
	struct diag diag = { 0 };

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	if (before.rlim_cur != RLIM_INFINITY)
		skip();
	assert_int_equal(store_create(1ull << 50, &diag, &store), -ENOMEM);
	assert_null(strstr(diag.hint, "ulimit"));
	assert_non_null(strstr(diag.hint, "T can be mapped"));
}

static void a_size_beyond_the_limit_of_addresses_names_it(void **state)
{
	struct rlimit before, low;
	struct store *store = NULL;
	struct diag diag = { 0 };
	int err;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	low = before;
	low.rlim_cur = 32ull << 40;
	assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
	err = store_create(64ull << 40, &diag, &store);
	setrlimit(RLIMIT_AS, &before);
	assert_int_equal(err, -ENOMEM);
	assert_non_null(strstr(diag.hint, "now 32T (ulimit -v)"));
}

/* Every start and end around page boundaries, against a plain array. */
static void punch_clears_exactly_the_bytes_asked_for(void **state)
{
	enum { SIZE = 5 * 4096 };
	static const unsigned int edges[] = { 0,    1,    511,  512,  4095,  4096,
					      4097, 8191, 8192, 9000, 12288, SIZE };
	struct store *store = NULL;
	unsigned char want[SIZE];

	(void)state;
	assert_int_equal(store_create(SIZE, NULL, &store), 0);
	for (size_t a = 0; a < array_size(edges); a++) {
		for (size_t b = a; b < array_size(edges); b++) {
			store_mark(store, 0, SIZE);
			memset(store_data(store), 'x', SIZE);
			memset(want, 'x', SIZE);
			memset(want + edges[a], 0, edges[b] - edges[a]);
			assert_int_equal(store_punch(store, edges[a], edges[b] - edges[a]), 0);
			assert_memory_equal(store_data(store), want, SIZE);
		}
	}
	store_free(store);
}

static void punch_frees_whole_pages_and_allocates_none(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(64 * page, NULL, &store), 0);
	assert_int_equal(store_punch(store, 512, 63 * page), 0);
	assert_int_equal(store_allocated(store), 0);
	store_mark(store, 0, 64 * page);
	memset(store_data(store), 'x', 64 * page);
	assert_int_equal(store_allocated(store), 64 * page);
	assert_int_equal(store_punch(store, 512, 10 * page), 0);
	assert_int_equal(store_allocated(store), 55 * page);
	store_free(store);
}

/* What mkfs does first. Each page of the marks that is looked at is a page fault. */
static void discards_of_what_was_never_written_look_at_no_pages(void **state)
{
	uint64_t size = 16ull << 40, each = 1ull << 30;
	struct rusage before, after;
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(size, NULL, &store), 0);
	store_mark(store, 5 * each + 4096, 8192);
	getrusage(RUSAGE_SELF, &before);
	for (uint64_t at = 0; at < size; at += each)
		assert_int_equal(store_punch(store, at, each), 0);
	getrusage(RUSAGE_SELF, &after);
	assert_in_range(after.ru_minflt - before.ru_minflt, 0, 1000);
	assert_int_equal(store_used(store), 0);
	assert_false(store_is_marked(store, 5 * each + 4096, 4096));
	store_free(store);
}

static void punch_outside_the_disk_is_refused(void **state)
{
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(4096, NULL, &store), 0);
	assert_int_equal(store_punch(store, 4096, 1), -EINVAL);
	assert_int_equal(store_punch(store, 0, 4097), -EINVAL);
	assert_int_equal(store_punch(store, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(store_punch(store, 4096, 0), 0);
	store_free(store);
}

static void spans_agree_with_a_look_at_every_page(void **state)
{
	enum { PAGES = 300, SIZE = PAGES * 4096 };
	bool model[PAGES] = { false };
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(SIZE, NULL, &store), 0);
	for (uint64_t step = 0; step < 4000; step++) {
		uint64_t from = rng_below(rng_mix(3, 0, step), SIZE);
		uint64_t len = 1 + rng_below(rng_mix(3, 1, step), SIZE - from);
		uint64_t end = from / 4096, span;
		bool marked;

		if (step % 8 == 0) {
			assert_int_equal(store_punch(store, from, len), 0);
			for (uint64_t p = (from + 4095) / 4096; p < (from + len) / 4096; p++)
				model[p] = false;
		} else if (step % 8 == 1) {
			uint64_t few = len < 20000 ? len : 20000;

			store_mark(store, from, few);
			for (uint64_t p = from / 4096; p <= (from + few - 1) / 4096; p++)
				model[p] = true;
		}
		while (end < PAGES && model[end] == model[from / 4096])
			end++;
		span = store_span(store, from, len, &marked);
		assert_int_equal(marked, model[from / 4096]);
		assert_int_equal(span, end * 4096 < from + len ? end * 4096 - from : len);
	}
	store_free(store);
}

static void zeroes_hold_space_and_no_memory(void **state)
{
	uint64_t size = 16ull << 40;
	struct store *store = NULL;
	bool marked;

	(void)state;
	assert_int_equal(store_create(size, NULL, &store), 0);
	assert_int_equal(store_zero(store, 0, size), 0);
	assert_int_equal(store_used(store), size);
	assert_int_equal(store_allocated(store), 0);
	assert_true(store_is_taken(store, size / 2, 1 << 20));
	store_span(store, 4096, 4096, &marked);
	assert_false(marked);
	/* What had content loses its memory, not its space. */
	store_mark(store, 8192, 8192);
	memset(store_data(store) + 8192, 'x', 8192);
	assert_int_equal(store_zero(store, 8192 + 512, 8192), 0);
	assert_int_equal(store_allocated(store), 4096);
	assert_int_equal(store_data(store)[8192 + 511], 'x');
	assert_int_equal(store_data(store)[8192 + 512], 0);
	assert_int_equal(store_used(store), size);
	assert_int_equal(store_punch(store, 0, size), 0);
	assert_int_equal(store_used(store), 0);
	store_free(store);
}

static void a_limit_is_reached_to_the_page_and_discards_give_back(void **state)
{
	struct store *store = NULL;

	(void)state;
	assert_int_equal(store_create(1 << 20, NULL, &store), 0);
	assert_true(store_capacity(store) == UINT64_MAX);
	store_limit(store, 4 * 4096 + 4095);
	assert_int_equal(store_capacity(store), 4 * 4096);
	assert_int_equal(store_take(store, 0, 3 * 4096), 0);
	assert_int_equal(store_take(store, 3 * 4096, 4097), -ENOSPC);
	assert_int_equal(store_zero(store, 3 * 4096, 4097), -ENOSPC);
	assert_int_equal(store_used(store), 3 * 4096);
	assert_int_equal(store_take(store, 2 * 4096 + 512, 4096), 0);
	assert_int_equal(store_take(store, 0, 4 * 4096), 0);
	assert_int_equal(store_take(store, 4 * 4096, 1), -ENOSPC);
	/* Half a page is not given back. */
	assert_int_equal(store_punch(store, 0, 4096 + 512), 0);
	assert_int_equal(store_used(store), 3 * 4096);
	assert_int_equal(store_take(store, 8 * 4096, 4096), 0);
	/* Less than is used takes nothing away. */
	store_limit(store, 4096);
	assert_int_equal(store_take(store, 8 * 4096, 512), 0);
	assert_int_equal(store_take(store, 9 * 4096, 512), -ENOSPC);
	store_limit(store, UINT64_MAX);
	assert_int_equal(store_take(store, 9 * 4096, 512), 0);
	store_free(store);
}

static uint64_t host_room;
static unsigned int nr_looks;

static uint64_t fake_room(const char *root)
{
	assert_string_equal(root, "fake");
	nr_looks++;
	return host_room;
}

static void a_host_without_memory_refuses_what_grows_and_nothing_else(void **state)
{
	struct store *store = NULL;
	uint64_t at = 0, size = 8ull << 30;

	(void)state;
	assert_int_equal(store_create(size, NULL, &store), 0);
	store_watch_host(store, fake_room, "fake");
	host_room = 64ull << 30;
	/* Looked at for every 64 MiB where there is plenty. */
	for (; at < 1 << 30; at += 1 << 20) {
		assert_int_equal(store_take(store, at, 1 << 20), 0);
		store_mark(store, at, 1 << 20);
	}
	assert_in_range(nr_looks, 16, 18);
	assert_false(store_host(store).low);
	host_room = 0;
	while (at < size && store_take(store, at, 1 << 20) == 0) {
		store_mark(store, at, 1 << 20);
		at += 1 << 20;
	}
	/* At most as much as was found free at the last look. */
	assert_in_range(at, 1 << 30, (1 << 30) + (64 << 20));
	assert_int_equal(store_take(store, at, 4096), -EIO);
	assert_true(store_host(store).low);
	assert_int_equal(store_host(store).nr_refused, 2);
	assert_true(store_host_changed(store));
	assert_false(store_host_changed(store));
	assert_false(store_is_taken(store, at, 4096));
	assert_int_equal(store_take(store, at - (1 << 20), 1 << 20), 0);
	assert_int_equal(store_zero(store, at, 1 << 20), 0);
	host_room = 2 << 20;
	assert_int_equal(store_take(store, at, 1 << 20), 0);
	assert_false(store_host(store).low);
	assert_false(store_host_changed(store));
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_store_reads_as_zero_and_uses_no_memory),
		cmocka_unit_test(a_disk_of_a_tebibyte_costs_only_what_is_written),
		cmocka_unit_test(sizes_that_are_no_disk_are_refused_with_words),
		cmocka_unit_test(too_many_open_files_is_an_error_that_names_the_limit),
		cmocka_unit_test(a_size_beyond_all_addresses_blames_no_limit),
		cmocka_unit_test(a_size_beyond_the_limit_of_addresses_names_it),
		cmocka_unit_test(punch_clears_exactly_the_bytes_asked_for),
		cmocka_unit_test(punch_frees_whole_pages_and_allocates_none),
		cmocka_unit_test(discards_of_what_was_never_written_look_at_no_pages),
		cmocka_unit_test(punch_outside_the_disk_is_refused),
		cmocka_unit_test(spans_agree_with_a_look_at_every_page),
		cmocka_unit_test(zeroes_hold_space_and_no_memory),
		cmocka_unit_test(a_limit_is_reached_to_the_page_and_discards_give_back),
		cmocka_unit_test(a_host_without_memory_refuses_what_grows_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
