// SPDX-License-Identifier: MIT
/* What was recorded is what a replay does. */
#include "faults/engine/replay.h"
#include "faults/record/recorder.h"
#include "tests/unit/play.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

struct recording {
	char dir[32], path[48];
	unsigned char *bytes;
	size_t size;
	struct recorder *recorder;
};

static struct record_disk disk_of(uint64_t seed, uint16_t nr_queues)
{
	return (struct record_disk){ .name = "d",
				     .size_bytes = PLAY_SIZE,
				     .seed = seed,
				     .start_ns = 900,
				     .block_bytes = 512,
				     .physical_bytes = 512,
				     .max_io_bytes = PLAY_IO_MAX,
				     .depth = PLAY_WAITING,
				     .flags = RECORD_CACHE,
				     .nr_queues = nr_queues };
}

static struct recorder_disk *add_disk(struct recording *recording, const char *name, uint64_t seed,
				      uint16_t nr_queues)
{
	struct record_disk disk = disk_of(seed, nr_queues);
	struct recorder_disk *recorded = NULL;
	struct diag diag = { 0 };

	snprintf(disk.name, sizeof(disk.name), "%s", name);
	if (recorder_add_disk(recording->recorder, &disk, &diag, &recorded) < 0)
		fail_msg("%s", diag.message);
	return recorded;
}

static void start(struct recording *recording, bool data)
{
	struct recorder_options options = { .data = data };
	struct diag diag = { 0 };

	*recording = (struct recording){ 0 };
	snprintf(recording->dir, sizeof(recording->dir), "/tmp/replay-XXXXXX");
	assert_non_null(mkdtemp(recording->dir));
	snprintf(recording->path, sizeof(recording->path), "%s/rec", recording->dir);
	options.path = recording->path;
	if (recorder_create(&options, &diag, &recording->recorder) < 0)
		fail_msg("%s", diag.message);
}

#define FILE_BYTES (96u << 20)

static void finish(struct recording *recording)
{
	struct recorder_status status;
	FILE *file;

	recorder_close(recording->recorder, &status);
	assert_int_equal(status.error, 0);
	assert_true(status.file_bytes < FILE_BYTES);
	file = fopen(recording->path, "re");
	recording->bytes = malloc(status.file_bytes);
	assert_true(file && recording->bytes);
	recording->size = fread(recording->bytes, 1, status.file_bytes, file);
	fclose(file);
	unlink(recording->path);
	rmdir(recording->dir);
	assert_int_equal(recording->size, status.file_bytes);
}

/* What comes of a replay: the events, and the contents of the disks in the end. */
struct outcome {
	FILE *log;
	uint64_t sums[2];
	unsigned int nr_sums;
};

static void add_line(void *ctx, const struct record_disk *disk, const struct event *event)
{
	(void)disk;
	print_event_line(((struct outcome *)ctx)->log, event, true);
}

static int add_sum(void *ctx, const struct record_disk *disk, struct store *store)
{
	struct outcome *outcome = ctx;
	uint64_t sum = 0;

	assert_int_equal(disk->size_bytes, PLAY_SIZE);
	for (uint64_t at = 0; at < PLAY_SIZE; at += 8)
		sum = rng_mix(sum, *(const uint64_t *)(store_bytes(store) + at), at);
	outcome->sums[outcome->nr_sums++] = sum;
	return 0;
}

/* Replays it to the end, which must be that of a closed recording; caller frees *ret_events. */
static struct replay_result replay_to(const struct recording *recording, bool forced,
				      char **ret_events, struct outcome *outcome)
{
	size_t len;
	const struct replay_options options = {
		.forced = forced, .event = add_line, .image = add_sum, .ctx = outcome
	};
	struct record_reader *reader = NULL;
	struct replay_result result;
	struct diag diag = { 0 };

	*outcome = (struct outcome){ .log = open_memstream(ret_events, &len) };
	if (record_reader_open(recording->bytes, recording->size, &diag, &reader) < 0 ||
	    replay_run(reader, &options, &diag, &result) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	if (!result.differs && record_reader_end(reader, &diag) < 0)
		fail_msg("%s: %s", diag.id, diag.message);
	record_reader_free(reader);
	fclose(outcome->log);
	return result;
}

static struct replay_result replay(const struct recording *recording, bool forced,
				   char **ret_events)
{
	struct outcome outcome;

	return replay_to(recording, forced, ret_events, &outcome);
}

/* Only the lines of events. */
static void drop_other_lines(char *text)
{
	char *to = text;

	for (char *line = text; *line;) {
		size_t len = strcspn(line, "\n") + 1;

		if (line[0] >= '0' && line[0] <= '9') {
			memmove(to, line, len);
			to += len;
		}
		line += len;
	}
	*to = '\0';
}

/* With @sum the disk must hold in the end what the recorded one did. */
static void check_replay(const struct recording *recording, bool forced, const char *events,
			 const char *sum)
{
	_cleanup_free_ char *got = NULL;
	struct outcome outcome;
	struct replay_result result = replay_to(recording, forced, &got, &outcome);
	char text[32];

	if (result.differs)
		fail_msg("forced %d: %s", forced, result.difference.message);
	assert_string_equal(got, events);
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)outcome.sums[0]);
	if (sum)
		assert_string_equal(text, sum);
}

/* A little of everything. */
static void play_all(struct play *play)
{
	struct rule_set *set = NULL;

	play_steps(play, 20);
	for (size_t from = 0; kind_at(from); from++) {
		rule_set_free(set);
		set = play_every_kind(from, from % 2 ? "p=20%" : "every=3 up=30us down=50us");
		play_rules(play, set);
		play_steps(play, 150);
		/* Half of them stay, with their counters; one sleeps. */
		for (size_t i = 0; i < rule_set_count(set) / 2; i++)
			rule_set_remove(set, rule_name(rule_set_at(set, 0)), NULL);
		rule_enable(rule_set_at(set, 0), false);
		play_rules(play, set);
		play_steps(play, 50);
	}
	rule_set_free(set);
}

static void record_and_replay(uint64_t seed, uint16_t nr_queues, bool data)
{
	struct play *play = malloc(sizeof(*play));
	struct recording recording;
	char sum[17] = "";

	start(&recording, data);
	play_open(play, seed, nr_queues, add_disk(&recording, "d", seed, nr_queues));
	play_all(play);
	play_finish(play);
	finish(&recording);
	sscanf(strstr(play->text, "\ndisk ") + 6, "%16s", sum);
	drop_other_lines(play->text);
	assert_true(strlen(play->text) > 1000);
	check_replay(&recording, true, play->text, data ? sum : NULL);
	check_replay(&recording, false, play->text, data ? sum : NULL);
	free(recording.bytes);
	free(play->text);
	free(play);
}

static void a_replay_does_what_was_recorded(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		record_and_replay(seed, (uint16_t)(1 + seed % 3), false);
}

static void with_data_the_disk_holds_in_the_end_what_the_recorded_one_did(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		record_and_replay(seed, (uint16_t)(1 + seed % 3), true);
}

static void what_failed_for_lack_of_space_fails_again(void **state)
{
	struct rule_set *set = must_set("slow op=write p=30% do=delay:5us\n"
					"torn op=write p=10% do=torn:keep=3s");
	struct play *play = malloc(sizeof(*play));
	struct recording recording;
	char sum[17] = "";

	(void)state;
	start(&recording, true);
	play_open(play, 3, 2, add_disk(&recording, "d", 3, 2));
	play_rules(play, set);
	rule_set_free(set);
	store_limit(play->store, 64 * 4096);
	play_steps(play, 300);
	store_limit(play->store, 200 * 4096);
	play_steps(play, 300);
	assert_in_range(store_used(play->store) >> 12, 100, 200);
	play_finish(play);
	finish(&recording);
	assert_non_null(strstr(play->text, " -28\n"));
	sscanf(strstr(play->text, "\ndisk ") + 6, "%16s", sum);
	drop_other_lines(play->text);
	check_replay(&recording, true, play->text, sum);
	check_replay(&recording, false, play->text, sum);
	free(recording.bytes);
	free(play->text);
	free(play);
}

static uint64_t host_room;

static uint64_t fake_room(const char *root)
{
	(void)root;
	return host_room;
}

/* Beside errors of the same number that rules make, with and without a part of the write. */
static void what_the_host_had_no_memory_for_fails_again(void **state)
{
	struct rule_set *set = must_set("slow op=write p=30% do=delay:5us\n"
					"torn op=write p=10% do=torn:keep=3s,fail\n"
					"bad op=write p=10% do=error:EIO");
	struct play *play = malloc(sizeof(*play));
	struct recording recording;
	char sum[17] = "";

	(void)state;
	start(&recording, true);
	play_open(play, 4, 2, add_disk(&recording, "d", 4, 2));
	play_rules(play, set);
	rule_set_free(set);
	host_room = 0;
	store_watch_host(play->store, fake_room, "");
	/* That it has become low is an event of this disk alone. */
	assert_int_equal(store_grow(play->store, 4096), -EIO);
	assert_true(store_host_changed(play->store));
	play_steps(play, 200);
	host_room = 64 << 20;
	play_steps(play, 300);
	assert_true(store_host(play->store).nr_refused > 20);
	play_finish(play);
	finish(&recording);
	sscanf(strstr(play->text, "\ndisk ") + 6, "%16s", sum);
	drop_other_lines(play->text);
	check_replay(&recording, true, play->text, sum);
	check_replay(&recording, false, play->text, sum);
	free(recording.bytes);
	free(play->text);
	free(play);
}

static void several_disks_are_replayed_each_with_its_own_rules(void **state)
{
	struct play *plays[2];
	struct recording recording;
	struct replay_result result;
	struct outcome outcome;
	char *events;

	(void)state;
	start(&recording, true);
	for (unsigned int i = 0; i < 2; i++) {
		plays[i] = malloc(sizeof(*plays[i]));
		play_open(plays[i], 7 + i, 1, add_disk(&recording, i ? "log" : "data", 7 + i, 1));
	}
	for (unsigned int i = 0; i < 2; i++)
		play_all(plays[i]);
	for (unsigned int i = 0; i < 2; i++)
		play_finish(plays[i]);
	finish(&recording);
	result = replay_to(&recording, false, &events, &outcome);
	if (result.differs)
		fail_msg("%s", result.difference.message);
	assert_int_equal(outcome.nr_sums, 2);
	for (unsigned int i = 0; i < 2; i++) {
		char sum[48];

		snprintf(sum, sizeof(sum), "\ndisk %016llx\n", (unsigned long long)outcome.sums[i]);
		assert_non_null(strstr(plays[i]->text, sum));
		free(plays[i]->text);
		free(plays[i]);
	}
	free(events);
	free(recording.bytes);
}

static void content_from_before_the_first_request_is_there(void **state)
{
	unsigned char base[4096], data[SEC] = { 9 };
	struct recorder_disk *recorded;
	struct record_reader *reader;
	struct recording recording;
	struct record record;
	struct store *store;
	struct io io = make_io(IO_WRITE, 1, SEC, data);

	(void)state;
	memset(base, 0x55, sizeof(base));
	start(&recording, true);
	recorded = add_disk(&recording, "d", 1, 1);
	assert_int_equal(recorder_base(recorded, 8192, base, sizeof(base)), 0);
	recorder_arrive(recorded, &io);
	recorder_walked(recorded, &io, 1000, RECORDER_DONE);
	finish(&recording);
	assert_int_equal(store_create(PLAY_SIZE, NULL, &store), 0);
	assert_int_equal(record_reader_open(recording.bytes, recording.size, NULL, &reader), 0);
	assert_int_equal(record_reader_next(reader, &record), 1);
	assert_int_equal(record.type, RECORD_BASE);
	replay_base(store, &record);
	assert_memory_equal(store_bytes(store) + 8192, base, sizeof(base));
	assert_int_equal(store_bytes(store)[8191], 0);
	record_reader_free(reader);
	store_free(store);
	free(recording.bytes);
}

/* One write of @data at sector 8, under one rule. */
static void record_write(struct recording *recording, const char *rule, unsigned char *data,
			 bool with_data)
{
	struct play *play = malloc(sizeof(*play));
	struct rule_set *set = must_set(rule);
	struct io io = make_io(IO_WRITE, 8, SEC, data);

	start(recording, with_data);
	play_open(play, 5, 1, add_disk(recording, "d", 5, 1));
	play_rules(play, set);
	assert_int_equal(pipeline_submit(play->pipeline, &io, 2000), IO_DONE);
	play_finish(play);
	rule_set_free(set);
	finish(recording);
	free(play->text);
	free(play);
}

static void what_the_rules_cannot_decide_again_is_named_and_can_be_forced(void **state)
{
	unsigned char data[SEC] = "needle";
	struct recording recording;
	struct replay_result result;
	char *events;

	(void)state;
	record_write(&recording, "found content=6e6565646c65 do=error:ENOSPC", data, false);
	result = replay(&recording, false, &events);
	free(events);
	assert_true(result.differs);
	assert_string_equal(result.difference.message,
			    "request 1 (write 1s at sector 8): decision: recorded: rule 'found', "
			    "match 0; got: nothing");
	result = replay(&recording, true, &events);
	assert_false(result.differs);
	assert_non_null(strstr(events, " found "));
	free(events);
	free(recording.bytes);
}

static void rules_that_look_at_data_decide_again_where_the_recording_has_it(void **state)
{
	unsigned char data[SEC] = "needle";
	struct recording recording;
	struct replay_result result;
	char *events;

	(void)state;
	record_write(&recording, "found content=6e6565646c65 do=error:ENOSPC", data, true);
	result = replay(&recording, false, &events);
	assert_false(result.differs);
	assert_non_null(strstr(events, " found "));
	free(events);
	free(recording.bytes);
}

static void another_seed_of_the_disk_is_noticed(void **state)
{
	struct record_disk disk = disk_of(6, 1);
	unsigned char data[SEC] = { 0 };
	struct recording recording;
	struct replay_result result;
	unsigned int nr_differ = 0;
	char *events;

	(void)state;
	record_write(&recording, "half p=50% do=error:EIO", data, false);
	for (disk.seed = 0; disk.seed < 16; disk.seed++) {
		unsigned char *block = recording.bytes + RECORD_HEADER_BYTES;

		record_put_disk(block + RECORD_BLOCK_BYTES, &disk);
		record_put_block(block, 0, RECORD_IS_DISK, block + RECORD_BLOCK_BYTES,
				 RECORD_DISK_BYTES, NULL, 0);
		result = replay(&recording, false, &events);
		nr_differ += result.differs;
		free(events);
		result = replay(&recording, true, &events);
		assert_false(result.differs);
		free(events);
	}
	assert_in_range(nr_differ, 3, 13);
	free(recording.bytes);
}

/* A disk whose rule takes another one along, as its server runs it. */
struct joining {
	struct disk disk;
	struct io *unparked;
	struct io ios[12];
	unsigned char data[12][SEC];
	unsigned int nr;
};

static void note_unparked(void *ctx, struct io *io)
{
	((struct joining *)ctx)->unparked = io;
}

static struct io *ask(struct joining *joining, enum io_verdict verdict)
{
	unsigned int nr = joining->nr++;
	struct io *io = &joining->ios[nr];

	memset(joining->data[nr], 'a' + (int)nr, SEC);
	*io = make_io(IO_WRITE, nr, SEC, joining->data[nr]);
	io->flags = nr % 2 ? IO_FUA : 0;
	assert_int_equal(pipeline_submit(joining->disk.pipeline, io, 2000 + nr), verdict);
	return io;
}

static void end_at(struct joining *joining, struct io *io, uint64_t now_ns)
{
	assert_int_equal(pipeline_resume(joining->disk.pipeline, io, now_ns), IO_DONE);
}

static void release_all(struct joining *joining, uint64_t now_ns)
{
	pipeline_release(joining->disk.pipeline, NULL, 0, SIZE_MAX);
	pipeline_adopt(joining->disk.pipeline, 0);
	if (joining->unparked)
		end_at(joining, joining->unparked, now_ns);
	joining->unparked = NULL;
}

static void open_joining(struct joining *joining, struct recorder_disk *recorder, bool joins)
{
	const struct pipeline_options options = {
		.geometry = { .size_bytes = PLAY_SIZE, .block_bytes = 512, .nr_queues = 1 },
		.seed = 5,
		.cache = true,
		.joins = joins,
		.recorder = recorder,
		.unpark = note_unparked,
		.ctx = joining,
	};

	*joining = (struct joining){ .nr = 0 };
	assert_int_equal(store_create(PLAY_SIZE, NULL, &joining->disk.store), 0);
	assert_int_equal(pipeline_create(joining->disk.store, &options, &joining->disk.pipeline), 0);
}

/*
 * Between the hit and the cut others are carried out; a late one comes before the hit's end, or not
 * until then; and one that a modifier delays may end by the cut first.
 */
static void cut_jointly(struct joining *joining, bool late, bool delayed)
{
	struct pipeline *pipeline = joining->disk.pipeline;
	struct io *slow = delayed ? ask(joining, IO_PARKED) : NULL;
	struct io *hit = ask(joining, IO_PARKED);
	struct joint_cut joint;

	assert_int_equal(ask(joining, IO_DONE)->result, SEC);
	assert_int_equal(ask(joining, IO_DONE)->result, SEC);
	assert_true(pipeline_joint(pipeline, &joint));
	assert_true(pipeline_joint_end(pipeline, &joint));
	if (slow)
		end_at(joining, slow, 9000);
	if (late)
		assert_true(ask(joining, IO_DONE)->result < 0);
	release_all(joining, 9100);
	assert_true(hit->result < 0);
	pipeline_revive(pipeline, NULL);
	assert_int_equal(ask(joining, IO_DONE)->result, SEC);
}

static void replay_joint(const char *rules, bool late, bool delayed, bool joins)
{
	struct joining *joining = malloc(sizeof(*joining));
	struct outcome there = { 0 }, outcome;
	struct recording recording;
	struct record_disk disk = disk_of(5, 1);

	start(&recording, true);
	open_joining(joining, add_disk(&recording, "d", 5, 1), joins);
	use_rules(&joining->disk, rules);
	if (joins)
		cut_jointly(joining, late, delayed);
	else
		assert_true(ask(joining, IO_DONE)->result < 0);
	pipeline_batch_done(joining->disk.pipeline, 0);
	add_sum(&there, &disk, joining->disk.store);
	free_disk(&joining->disk);
	finish(&recording);
	for (unsigned int forced = 0; forced < 2; forced++) {
		char *events;
		struct replay_result result = replay_to(&recording, forced, &events, &outcome);

		if (result.differs)
			fail_msg("%s, late %d, delayed %d, forced %u: %s", rules, late, delayed,
				 forced, result.difference.message);
		assert_int_equal(result.nr_hits, delayed ? 2 : 1);
		if (joins)
			assert_int_equal(outcome.sums[0], there.sums[0]);
		free(events);
	}
	free(recording.bytes);
	free(joining);
}

static void a_cut_that_took_others_along_falls_where_it_was_recorded(void **state)
{
	static const char *const acts[] = { "powercut:keep=none,with=b", "powercut:keep=all,with=b",
					    "powercut:keep=random,with=b",
					    "powercut:keep=first:512,with=b",
					    "short-life:gone,with=b" };
	char rules[160];

	(void)state;
	for (size_t i = 0; i < array_size(acts); i++) {
		for (unsigned int late = 0; late < 2; late++) {
			snprintf(rules, sizeof(rules), "cut op=write times=1 do=%s", acts[i]);
			replay_joint(rules, late, false, true);
			snprintf(rules, sizeof(rules),
				 "slow op=write times=1 do=delay:5us\n"
				 "cut op=write after=1 times=1 do=%s",
				 acts[i]);
			replay_joint(rules, late, true, true);
		}
		snprintf(rules, sizeof(rules), "cut op=write times=1 do=%s", acts[i]);
		replay_joint(rules, false, false, false);
	}
}

/* Appends a block of one record, a control one or not. */
static void append(struct recording *recording, uint16_t queue, const void *bytes, size_t len)
{
	record_put_block(recording->bytes + recording->size, 0, queue, bytes, len, NULL, 0);
	memcpy(recording->bytes + recording->size + RECORD_BLOCK_BYTES, bytes, len);
	recording->size += RECORD_BLOCK_BYTES + len;
}

/* The file of a disk that was killed while it held a flush: rules, adoption, request. */
static void make_cut_recording(struct recording *recording, const struct record *request)
{
	const struct record_header header = { .start_ns = 900 };
	const struct record_disk disk = disk_of(5, 1);
	struct record_stream queue = record_stream_start(&header);
	const char *text = "stop do=hang";
	const struct record_rule rule = {
		.rule = 1, .fresh = true, .enabled = true, .text = text, .len = strlen(text)
	};
	const struct record set = {
		.type = RECORD_RULES, .step = 1, .epoch = 2, .nr_rules = 1, .rules = &rule
	};
	const struct record adopt = { .type = RECORD_ADOPT, .step = 2, .epoch = 2 };
	unsigned char bytes[256], *to, *control_bytes;
	size_t len;

	recording->bytes = malloc(4096);
	assert_non_null(recording->bytes);
	recording->size = RECORD_HEADER_BYTES;
	record_put_header(recording->bytes, &header);
	record_put_disk(bytes, &disk);
	append(recording, RECORD_IS_DISK, bytes, RECORD_DISK_BYTES);
	assert_int_equal(record_put_control(&header, &set, &control_bytes, &len), 0);
	append(recording, RECORD_CONTROL, control_bytes, len);
	free(control_bytes);
	to = record_put(bytes, &queue, &adopt);
	to = record_put(to, &queue, request);
	for (uint32_t i = 0; i < request->nr_hits; i++)
		to = record_put_hit(to, &request->hits[i]);
	append(recording, 0, bytes, (size_t)(to - bytes));
}

static int replay_cut(const struct record *request, struct replay_result *result, struct diag *diag,
		      int *ret_end)
{
	const struct replay_options options = { .forced = true };
	struct record_reader *reader;
	struct recording recording;
	int err;

	make_cut_recording(&recording, request);
	assert_int_equal(record_reader_open(recording.bytes, recording.size, diag, &reader), 0);
	err = replay_run(reader, &options, diag, result);
	*ret_end = record_reader_end(reader, err ? NULL : diag);
	record_reader_free(reader);
	free(recording.bytes);
	return err;
}

static void what_was_still_held_at_the_end_is_counted_and_let_go(void **state)
{
	const struct record_hit hit = { .rule = 1, .held = true };
	const struct record request = { .type = RECORD_REQUEST,
					.step = 3,
					.op = IO_FLUSH,
					.parked = true,
					.nr_hits = 1,
					.hits = &hit };
	struct replay_result result;
	struct diag diag = { 0 };
	int end;

	(void)state;
	assert_int_equal(replay_cut(&request, &result, &diag, &end), 0);
	assert_false(result.differs);
	assert_int_equal(result.nr_unfinished, 1);
	assert_int_equal(end, -ENODATA);
	assert_non_null(strstr(diag.message, "ends early, after record 3"));
}

static void records_that_contradict_each_other_are_refused(void **state)
{
	static const struct {
		uint32_t rule, nr_hits;
		bool held;
		const char *says;
	} cases[] = {
		{ 2, 1, true, "an undefined rule acts, in record 3" },
		{ 7, 1, true, "an undefined rule acts" },
	};

	(void)state;
	for (size_t i = 0; i < array_size(cases); i++) {
		const struct record_hit hit = { .rule = cases[i].rule, .held = cases[i].held };
		const struct record request = { .type = RECORD_REQUEST,
						.step = 3,
						.op = IO_READ,
						.len_bytes = SEC,
						.parked = true,
						.nr_hits = cases[i].nr_hits,
						.hits = &hit };
		struct replay_result result;
		struct diag diag = { 0 };
		int end;

		assert_int_equal(replay_cut(&request, &result, &diag, &end), -EBADMSG);
		if (!strstr(diag.message, "contradicts itself") ||
		    !strstr(diag.message, cases[i].says))
			fail_msg("%s", diag.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_replay_does_what_was_recorded),
		cmocka_unit_test(with_data_the_disk_holds_in_the_end_what_the_recorded_one_did),
		cmocka_unit_test(what_failed_for_lack_of_space_fails_again),
		cmocka_unit_test(what_the_host_had_no_memory_for_fails_again),
		cmocka_unit_test(several_disks_are_replayed_each_with_its_own_rules),
		cmocka_unit_test(content_from_before_the_first_request_is_there),
		cmocka_unit_test(rules_that_look_at_data_decide_again_where_the_recording_has_it),
		cmocka_unit_test(what_the_rules_cannot_decide_again_is_named_and_can_be_forced),
		cmocka_unit_test(a_cut_that_took_others_along_falls_where_it_was_recorded),
		cmocka_unit_test(another_seed_of_the_disk_is_noticed),
		cmocka_unit_test(what_was_still_held_at_the_end_is_counted_and_let_go),
		cmocka_unit_test(records_that_contradict_each_other_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
