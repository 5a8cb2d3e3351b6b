// SPDX-License-Identifier: MIT
/* The lines of the results file: sealed, and written by one call each; those of the head in bulk. */
#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/write_all.h"
#include "tools/explore/results_internal.h"
#include "tools/rpc/line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BULK_BYTES (1u << 20)

static void put_bytes(struct results *r, const char *bytes, size_t len)
{
	if (len && !r->error && r->fd >= 0)
		r->error = fail_value("tools/explore/lines/write", -ENOSPC,
				      write_all(r->fd, bytes, len));
}

static void flush_bulk(struct results *r)
{
	put_bytes(r, r->bulk, r->bulk_len);
	r->bulk_len = 0;
}

static bool bulk_room(struct results *r, size_t len)
{
	if (r->bulk_len + len <= r->bulk_size)
		return true;
	flush_bulk(r);
	if (len <= r->bulk_size)
		return true;
	return !array_room("tools/explore/lines/bulk", r->bulk, r->bulk_size, len + BULK_BYTES, 0);
}

void results_line(struct results *r, json_t *line)
{
	size_t len;
	char *text = results_seal(line, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12),
				  &r->seal, &len);

	/* A list that lacks a member is not to be believed. */
	if (rpc_json_short() || !text) {
		if (!r->error)
			r->error = -ENOMEM;
		free(text);
		return;
	}
	if (r->compare) {
		r->compare(r->loader, text, len);
		free(text);
		return;
	}
	if (r->print)
		fwrite(text, 1, len, stdout);
	if (r->print && !r->is_bulk)
		fflush(stdout);
	if (r->is_bulk && bulk_room(r, len)) {
		memcpy(r->bulk + r->bulk_len, text, len);
		r->bulk_len += len;
	} else {
		put_bytes(r, text, len);
	}
	free(text);
}

/* Bytes of the UTF-8 character at @s; 0: it is none. */
static size_t utf8_len(const unsigned char *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4 || (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

json_t *results_text(const char *text)
{
	_cleanup_free_ char *copy = text ? strdup(text) : NULL;

	if (!copy)
		return text ? NULL : json_null();
	for (char *p = copy; *p;) {
		size_t len = utf8_len((unsigned char *)p);

		if (len == 0 || *p == 0x7f) { /* which no JSON text has escaped */
			*p = '?';
			len = 1;
		}
		p += len;
	}
	return json_string(copy);
}

json_t *results_hex(uint64_t value)
{
	char hex[17];

	snprintf(hex, sizeof(hex), "%016" PRIx64, value);
	return json_string(hex);
}

void results_bulk(struct results *r, bool on)
{
	if (!on)
		flush_bulk(r);
	r->is_bulk = on;
	if (!on && r->print)
		fflush(stdout);
}
