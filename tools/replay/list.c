// SPDX-License-Identifier: MIT
#include "tools/replay/list.h"

#include "base/units.h"
#include "faults/engine/replay.h"
#include "faults/rule/kind.h"
#include "tools/cli/tool.h"
#include "tools/rpc/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const char *const type_names[] = {
	[RECORD_REQUEST] = "request", [RECORD_END] = "end",     [RECORD_ADOPT] = "adopt",
	[RECORD_BATCH] = "batch",     [RECORD_RULES] = "rules", [RECORD_REVIVE] = "revive",
	[RECORD_TELL] = "tell",       [RECORD_BASE] = "base",   [RECORD_MARK] = "mark",
	[RECORD_CLOSE] = "close",
};

static bool has_time(const struct record *record)
{
	return record->type != RECORD_ADOPT && record->type != RECORD_BATCH;
}

static const char *content_name(const struct record *record)
{
	return record->data ? "bytes" : record->no_data ? "unknown" : "zeroes";
}

/* ------------------------------------------------------------------------------ words */

static void print_request(const struct record *record, bool has_data)
{
	char len[UNITS_MAX];

	printf(" %s", value_op_names()[record->op]);
	if (record->op != IO_FLUSH)
		printf(" %" PRIu64 "s+%s", record->sector,
		       units_format_size(record->len_bytes, len));
	if (record->flags)
		printf(" flags 0x%x", record->flags);
	if (record->nr_hits)
		printf(" hits %u", record->nr_hits);
	if (has_data && record->op == IO_WRITE && !record->data)
		printf(" %s", content_name(record));
	printf(" %s", record->parked ? "waits" : replay_result_name(record->result));
	if (record->unreached)
		printf(" unreached");
	if (record->refused)
		printf(" no host memory");
}

static void print_rest(const struct record *record, bool has_data)
{
	char len[UNITS_MAX];

	switch (record->type) {
	case RECORD_REQUEST:
		print_request(record, has_data);
		break;
	case RECORD_END:
		printf(" of %" PRIu64 " %s%s%s", record->arrival,
		       replay_result_name(record->result), record->released ? " released" : "",
		       record->refused ? " no host memory" : "");
		break;
	case RECORD_ADOPT:
		printf(" rules %" PRIu64, record->epoch);
		break;
	case RECORD_RULES:
		printf(" %" PRIu64 ", %u of them", record->epoch, record->nr_rules);
		break;
	case RECORD_TELL:
		printf(" rule %u %s", record->rule, record->verb);
		break;
	case RECORD_BASE:
		printf(" %" PRIu64 "s+%s %s", record->from >> SECTOR_SHIFT,
		       units_format_size(record->len_bytes, len), content_name(record));
		break;
	case RECORD_MARK:
		printf(" %" PRIu64 " %.*s", record->mark, (int)record->text_len, record->text);
		break;
	case RECORD_CLOSE:
		printf(" %" PRIu64 " requests", record->nr_requests);
		break;
	case RECORD_REVIVE:
		printf("%s", record->after_cut ? " after a power cut" : "");
		break;
	case RECORD_BATCH:
		break;
	}
}

static void print_record(const struct record_reader *reader, const struct record *record)
{
	const struct record_header *header = record_reader_header(reader);

	printf("%" PRIu64, record->step);
	if (has_time(record))
		printf(" %.6f", (double)(int64_t)(record->time_ns - header->start_ns) / 1e9);
	else
		printf(" -");
	if (record->disk != RECORD_NOBODY)
		printf(" %s", record_reader_disk(reader, record->disk)->name);
	if (record->queue != RECORD_CONTROL)
		printf(" queue %u", record->queue);
	printf(" %s", type_names[record->type]);
	print_rest(record, header->flags & RECORD_DATA);
	putchar('\n');
}

/* ------------------------------------------------------------------------------ JSON */

static void set_number(json_t *to, const char *key, uint64_t number)
{
	json_object_set_new(to, key, json_integer((json_int_t)number));
}

static void set_text(json_t *to, const char *key, const char *text)
{
	json_object_set_new(to, key, json_string(text));
}

static void request_json(json_t *to, const struct record *record, bool has_data)
{
	set_text(to, "op", value_op_names()[record->op]);
	set_number(to, "sector", record->sector);
	set_number(to, "len_bytes", record->len_bytes);
	set_number(to, "flags", record->flags);
	set_number(to, "hits", record->nr_hits);
	if (has_data && record->op == IO_WRITE)
		set_text(to, "content", content_name(record));
	json_object_set_new(to, "parked", json_boolean(record->parked));
	json_object_set_new(to, "unreached", json_boolean(record->unreached));
	json_object_set_new(to, "host_refused", json_boolean(record->refused));
	if (!record->parked)
		set_text(to, "result", replay_result_name(record->result));
}

static void rest_json(json_t *to, const struct record *record, bool has_data)
{
	static const char *const whys[] = { "done", "limit", "stopped" };

	switch (record->type) {
	case RECORD_REQUEST:
		request_json(to, record, has_data);
		break;
	case RECORD_END:
		set_number(to, "of", record->arrival);
		set_text(to, "result", replay_result_name(record->result));
		json_object_set_new(to, "released", json_boolean(record->released));
		json_object_set_new(to, "host_refused", json_boolean(record->refused));
		break;
	case RECORD_RULES:
		set_number(to, "count", record->nr_rules);
		/* fall through */
	case RECORD_ADOPT:
		set_number(to, "set", record->epoch);
		break;
	case RECORD_TELL:
		set_number(to, "rule", record->rule);
		set_text(to, "verb", record->verb);
		break;
	case RECORD_BASE:
		set_number(to, "sector", record->from >> SECTOR_SHIFT);
		set_number(to, "len_bytes", record->len_bytes);
		set_text(to, "content", content_name(record));
		break;
	case RECORD_MARK:
		set_number(to, "mark", record->mark);
		json_object_set_new(to, "text", json_stringn(record->text, record->text_len));
		break;
	case RECORD_CLOSE:
		set_number(to, "requests", record->nr_requests);
		set_number(to, "waits", record->nr_waits);
		set_text(to, "why", whys[record->why]);
		break;
	case RECORD_REVIVE:
		json_object_set_new(to, "power_cut", json_boolean(record->after_cut));
		break;
	case RECORD_BATCH:
		break;
	}
}

static int print_json(const struct record_reader *reader, const struct record *record)
{
	json_t *to = json_pack("{s:I, s:s}", "step", (json_int_t)record->step, "type",
			       type_names[record->type]);

	if (has_time(record))
		set_number(to, "time_ns", record->time_ns);
	if (record->disk != RECORD_NOBODY)
		set_text(to, "disk", record_reader_disk(reader, record->disk)->name);
	if (record->queue != RECORD_CONTROL)
		set_number(to, "queue", record->queue);
	rest_json(to, record, record_reader_header(reader)->flags & RECORD_DATA);
	return tool_print_json(to) ? -ENOMEM : 0;
}

int record_list(struct record_reader *reader, bool json)
{
	struct record record;
	int err = 0, more;

	while (!err && (more = record_reader_next(reader, &record)) != 0) {
		if (more < 0)
			err = more;
		else if (json)
			err = print_json(reader, &record);
		else
			print_record(reader, &record);
	}
	return err;
}
