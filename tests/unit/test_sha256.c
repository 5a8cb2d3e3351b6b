/* SPDX-License-Identifier: MIT */
/* SHA-256 against the published examples, and its two ways against each other. */
#include "base/rng.h"
#include "base/sha256.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void hash(const void *data, size_t len, size_t piece, char hex[2 * SHA256_BYTES + 1])
{
	unsigned char digest[SHA256_BYTES];
	struct sha256 s;

	sha256_start(&s);
	for (size_t at = 0; at < len; at += piece)
		sha256_add(&s, (const char *)data + at, len - at < piece ? len - at : piece);
	sha256_finish(&s, digest);
	for (int i = 0; i < SHA256_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The examples of FIPS 180-4, and of a million letters. */
static void published_examples_have_their_digests(void **state)
{
	static const char *const examples[][2] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	char hex[2 * SHA256_BYTES + 1], *many = malloc(1000000);

	(void)state;
	assert_non_null(many);
	memset(many, 'a', 1000000);
	for (int portable = 0; portable < 2; portable++) {
		sha256_set_portable(portable);
		for (size_t i = 0; i < array_size(examples); i++) {
			hash(examples[i][0], strlen(examples[i][0]), SIZE_MAX, hex);
			assert_string_equal(hex, examples[i][1]);
		}
		hash(many, 1000000, 997, hex);
		assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67"
					 "f1809a48a497200e046d39ccc7112cd0");
	}
	sha256_set_portable(false);
	free(many);
}

static void both_ways_agree_whatever_the_length_and_the_pieces(void **state)
{
	char one[2 * SHA256_BYTES + 1], other[2 * SHA256_BYTES + 1];
	unsigned char data[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)rng_mix(7, 1, i);
	for (size_t len = 0; len < 400; len++) {
		size_t piece = 1 + (size_t)rng_below(rng_mix(7, 2, len), 200);

		sha256_set_portable(false);
		hash(data, len, piece, one);
		sha256_set_portable(true);
		hash(data, len, SIZE_MAX, other);
		assert_string_equal(one, other);
	}
	sha256_set_portable(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_examples_have_their_digests),
		cmocka_unit_test(both_ways_agree_whatever_the_length_and_the_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
