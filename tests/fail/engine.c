// SPDX-License-Identifier: MIT
/*
 * What needs no kernel, with its first failure point failing, then its second, until none is left:
 * an error with words, nothing leaked, and the same call works afterwards. For a build with FIU=1
 * and SAN=asan.
 */
#include "base/cleanup.h"
#include "faults/crash/crash.h"
#include "faults/engine/pipeline.h"
#include "faults/explore/lazy.h"
#include "faults/explore/strategy.h"
#include "faults/explore/view.h"
#include "faults/journal/read.h"
#include "faults/record/recorder.h"
#include "faults/rule/fio.h"
#include "faults/rule/json.h"
#include "tests/crash_case.h"
#include "tests/fail/way.h"
#include "tools/disk/image.h"
#include "tools/rpc/methods.h"
#include "tools/rpc/runtime.h"
#include "tools/rpc/server.h"

#include <sys/stat.h>
#include <unistd.h>

#define DISK_BYTES (1u << 20)

static const char two_rules[] = RULE_FILE_MAGIC "\na op=read range=1s..1k do=error:EIO\n"
						"b op=write times=3 do=delay:1ms\n";
static char dir[] = "/tmp/faultblk-fail.XXXXXX";

/* ---------------------------------------------------------------------------- the ways */

static int way_store(struct diag *diag)
{
	struct store *store = NULL;
	int err = store_create(DISK_BYTES, diag, &store);

	store_free(store);
	return err;
}

static int make_engine(uint16_t nr_queues, struct diag *diag, struct store **store,
		       struct pipeline **pipeline)
{
	const struct pipeline_options options = { .geometry = { .size_bytes = DISK_BYTES,
								.block_bytes = 512,
								.nr_queues = nr_queues },
						  .seed = 1 };
	int err = store_create(DISK_BYTES, diag, store);

	/* pipeline_create() brings no words: its caller has them. */
	return err ? err : words_for(pipeline_create(*store, &options, pipeline), diag, "pipeline");
}

static int way_pipeline(struct diag *diag)
{
	struct pipeline *pipeline = NULL;
	struct store *store = NULL;
	int err = make_engine(2, diag, &store, &pipeline);

	pipeline_free(pipeline);
	store_free(store);
	return err;
}

/* A publication that fails leaves the rules as they were. */
static int publish_twice(struct pipeline *pipeline, struct diag *diag)
{
	struct rule_set *set = NULL;
	int err = rule_set_parse(two_rules, strlen(two_rules), diag, &set);

	if (!err)
		err = pipeline_publish(pipeline, set, 0, diag, NULL);
	EXPECT_EQ(rule_set_count(pipeline_rules(pipeline)), err ? 0 : 2);
	pipeline_adopt(pipeline, 0);
	rule_set_free(set);
	return err;
}

static int way_publish(struct diag *diag)
{
	struct pipeline *pipeline = NULL;
	struct store *store = NULL;
	int err = make_engine(1, diag, &store, &pipeline);

	if (!err)
		err = publish_twice(pipeline, diag);
	pipeline_free(pipeline);
	store_free(store);
	return err;
}

static int way_rules(struct diag *diag)
{
	struct rule_set *set = NULL, *copy = NULL;
	_cleanup_free_ char *text = NULL;
	int err = rule_set_parse(two_rules, strlen(two_rules), diag, &set);

	if (!err) {
		copy = rule_set_copy(set);
		text = copy ? rule_set_print(copy) : NULL;
		err = text ? rule_set_remove(copy, "a", diag) : words_for(-ENOMEM, diag, "memory");
		EXPECT(!text || !strcmp(text, two_rules));
	}
	rule_set_free(copy);
	rule_set_free(set);
	return err;
}

static int way_json(struct diag *diag)
{
	json_t *text = json_loads("{\"name\":\"a\",\"op\":\"read\",\"do\":\"error:EIO\"}", 0, NULL);
	json_t *back = NULL;
	struct rule *rule = NULL;
	int err = rule_from_json(text, diag, &rule);

	if (!err) {
		back = rule_to_json(rule);
		EXPECT(!back || json_equal(back, text));
		err = back ? 0 : words_for(-ENOMEM, diag, "memory");
	}
	json_decref(back);
	rule_unref(rule);
	json_decref(text);
	return err;
}

/* A curve of what fio measured. */
static int way_measured(struct diag *diag)
{
	struct fio_times times = { 0 };
	_cleanup_fclose_ FILE *file = NULL;
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/fio.json", dir);
	file = fopen(path, "we");
	fputs("{\"jobs\":[{\"jobname\":\"a\",\"read\":{\"clat_ns\":{\"bins\":{\"1000\":9}}}}]}",
	      file);
	fflush(file);
	err = fio_read(path, NULL, NSEC_PER_SEC, diag, &times);
	unlink(path);
	fio_clear(&times);
	return words_for(err, diag, "memory");
}

static struct crash_case states;

/* Six undecided units of 4 KiB, the first with two new versions. */
static void make_states(void)
{
	static const unsigned char data[2][8192] = { "old", "new" };
	struct crash_options options = { .unit_bytes = 4096 };
	const struct crash_choice *choices;

	states.size_bytes = 64 << 10;
	states.nr_disks = 1;
	for (size_t i = 0; i < 7; i++)
		case_complete(&states, case_write(&states, 0, i / 2 * 4096, 8192, data[i % 2], 0));
	case_seal(&states, 512, &options);
	EXPECT(crash_choices(states.crash, &choices) > 3);
}

/* Recovery copies what it finds; the check looks at the copies and at one unit more. */
static int recover_and_check(struct lazy_run *run, int *ret_verdict)
{
	struct view *view = lazy_view(run);
	unsigned char bytes[4096];
	int err = view_read(view, 0, 0, bytes, sizeof(bytes));

	if (!err)
		err = view_write(view, 0, 48 << 10, bytes, sizeof(bytes));
	if (err || lazy_check_starts(run, ret_verdict))
		return err;
	err = view_read(view, 0, 48 << 10, bytes, 512);
	*ret_verdict = bytes[0];
	if (!err)
		err = view_read(view, 0, 8192, bytes, 512);
	*ret_verdict += bytes[0];
	return err;
}

static int search(struct lazy *lazy)
{
	struct lazy_run *run;
	int ret, err = 0;

	while (!err && (ret = lazy_next(lazy, &run)) != 0) {
		int verdict;

		if (ret < 0)
			return ret;
		err = recover_and_check(run, &verdict);
		if (err)
			lazy_drop(lazy, run);
		else
			err = lazy_end(lazy, run, verdict);
	}
	return err;
}

static int way_lazy(struct diag *diag)
{
	struct lazy_options options = { .repeat_every = 2, .depth_first_runs = 3 };
	struct lazy_status status = { .complete = false };
	struct lazy *lazy = NULL;
	int err = lazy_create(states.crash, states.images, &options, &lazy);

	if (!err)
		err = search(lazy);
	if (lazy)
		lazy_status(lazy, &status);
	EXPECT_EQ(status.complete, !err);
	lazy_free(lazy);
	return words_for(err, diag, "lazy");
}

static int way_strategy(struct diag *diag)
{
	struct strategy strategy = { .kind = STRATEGY_PREFIXES };
	struct strategy_walk *walk = NULL;
	int err = strategy_start(&strategy, states.crash, 1, &walk);
	uint16_t picks[64];
	uint64_t nr = 0;

	while (walk && strategy_next(walk, picks))
		nr++;
	EXPECT_EQ(nr > 0, err == 0);
	strategy_free(walk);
	return words_for(err, diag, "strategy");
}

static int way_listen(struct diag *diag)
{
	char path[128];
	int fd = -1, err;

	snprintf(path, sizeof(path), "%s/listen.sock", dir);
	err = runtime_listen(path, diag, &fd);
	EXPECT_EQ(access(path, F_OK) == 0, err == 0);
	if (fd >= 0)
		close(fd);
	unlink(path);
	return err;
}

static int way_server(struct diag *diag)
{
	static const struct rpc_target target = { .name = "test" };
	struct rpc_server_options options = { .service = &rpc_methods_service, .target = &target };
	struct rpc_server *server = NULL;
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/server.sock", dir);
	err = runtime_listen(path, diag, &options.listen_fd);
	if (!err)
		err = words_for(rpc_server_new(&options, &server), diag, "server");
	rpc_server_free(server);
	unlink(path);
	return err;
}

static int each(void *ctx, const char *name, const char *path, bool live)
{
	(void)ctx, (void)name, (void)path, (void)live;
	return 0;
}

static int way_directory(struct diag *diag)
{
	char path[PATH_MAX], socket_path[128];
	int fd = -1, err = runtime_dir_make(path, diag);

	snprintf(socket_path, sizeof(socket_path), "%s/other.sock", dir);
	if (!err)
		err = runtime_listen(socket_path, diag, &fd);
	if (!err)
		err = runtime_each(each, NULL, diag);
	if (fd >= 0)
		close(fd);
	unlink(socket_path);
	return err;
}

/* A disk with every part: a cache with versions, a snapshot, somebody who reads along. */
static int use_state(struct pipeline *pipeline, struct diag *diag)
{
	struct snapshot *snapshot = NULL;
	int err = pipeline_share(pipeline);

	if (err)
		return words_for(err, diag, "share");
	err = pipeline_snapshot_add(pipeline, "a", 0, &snapshot);
	if (!err) {
		struct io io = { .op = IO_DISCARD, .len_bytes = 4096 };

		pipeline_submit(pipeline, &io, 0);
		err = pipeline_snapshot_restore(pipeline, snapshot, NULL);
		pipeline_snapshot_remove(pipeline, snapshot);
	}
	EXPECT(!snapshots_any(pipeline_snapshots(pipeline)));
	pipeline_unshare(pipeline);
	return words_for(err, diag, "snapshot");
}

static int way_state(struct diag *diag)
{
	const struct pipeline_options options = {
		.geometry = { .size_bytes = DISK_BYTES, .block_bytes = 512, .nr_queues = 1 },
		.cache = true,
		.cache_model = { .unit_bytes = 4096 },
	};
	struct pipeline *pipeline = NULL;
	struct store *store = NULL;
	int err = store_create(DISK_BYTES, diag, &store);

	if (!err)
		err = words_for(pipeline_create(store, &options, &pipeline), diag, "pipeline");
	if (!err)
		err = use_state(pipeline, diag);
	pipeline_free(pipeline);
	store_free(store);
	return err;
}

static uint64_t a_page(void *ctx, uint64_t at, uint64_t len, unsigned char *data, bool *ret_hole)
{
	(void)ctx;
	*ret_hole = at > 0;
	memset(data, 'a', 4096);
	return at ? len : 4096;
}

/* Whatever fails: no part of the file stays, and no file that is not whole. */
static int way_image(struct diag *diag)
{
	const struct image_limits limits = { .size_bytes = DISK_BYTES, .block_bytes = 512 };
	struct store *store = NULL;
	struct image_out out;
	struct image image;
	struct stat st;
	uint64_t bytes;
	char path[128];
	int err;

	snprintf(path, sizeof(path), "%s/image", dir);
	err = image_out_open(path, false, diag, &out);
	if (!err)
		err = image_out_write(&out, DISK_BYTES, a_page, NULL, diag, &bytes);
	if (!err)
		err = image_out_commit(&out, diag);
	image_out_close(&out);
	EXPECT_EQ(stat(path, &st) == 0, err == 0);
	if (!err) {
		EXPECT_EQ(st.st_size, DISK_BYTES);
		err = store_create(DISK_BYTES, diag, &store);
	}
	if (!err)
		err = image_open(path, &limits, diag, &image);
	if (!err) {
		err = image_load(&image, store, diag);
		image_close(&image);
	}
	store_free(store);
	unlink(path);
	return err;
}

/* A disk with content, one request, a mark. */
static int record_disk(struct recorder *recorder, struct diag *diag)
{
	static const struct record_disk disk = { .name = "d",
						 .size_bytes = DISK_BYTES,
						 .block_bytes = 512,
						 .physical_bytes = 512,
						 .max_io_bytes = 4096,
						 .depth = 1,
						 .nr_queues = 2 };
	unsigned char data[512] = { 1 };
	struct io io = { .op = IO_WRITE, .len_bytes = 512, .data = data, .result = 512 };
	struct recorder_disk *recorded = NULL;
	uint64_t mark, step;
	int err = recorder_add_disk(recorder, &disk, diag, &recorded);

	if (err)
		return err;
	err = words_for(recorder_base(recorded, 0, data, sizeof(data)), diag, "base");
	recorder_arrive(recorded, &io);
	recorder_walked(recorded, &io, 1, RECORDER_DONE);
	recorder_batch_done(recorded, 0);
	return err ? err : recorder_mark(recorder, 1, "here", 4, diag, &mark, &step);
}

/* What a failure has left of a recording is good as far as it goes. */
static int read_back(const char *path, struct diag *diag)
{
	unsigned char bytes[16 << 10];
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	size_t size = file ? fread(bytes, 1, sizeof(bytes), file) : 0;
	struct record_reader *reader = NULL;
	struct record record;
	int err = record_reader_open(bytes, size, diag, &reader), end;

	if (err)
		return err;
	while (record_reader_next(reader, &record) == 1)
		;
	end = record_reader_end(reader, NULL);
	EXPECT(end == 0 || end == -ENODATA);
	record_reader_free(reader);
	return 0;
}

static int way_recording(struct diag *diag)
{
	char path[128];
	const struct recorder_options options = { .path = path, .data = true };
	struct recorder *recorder = NULL;
	int err;

	snprintf(path, sizeof(path), "%s/recording", dir);
	err = recorder_create(&options, diag, &recorder);
	EXPECT_EQ(access(path, F_OK) == 0, err == 0);
	if (!err) {
		err = record_disk(recorder, diag);
		recorder_close(recorder, NULL);
		if (!err)
			err = read_back(path, diag);
		else
			read_back(path, NULL);
	}
	unlink(path);
	return err;
}

/* A write that a rule lied about, one that is lost with the power, and what the disk held then. */
static int lose_power(struct recorder *recorder, struct diag *diag)
{
	static const struct record_disk disk = { .name = "d",
						 .size_bytes = DISK_BYTES,
						 .block_bytes = 512,
						 .physical_bytes = 512,
						 .max_io_bytes = 4096,
						 .depth = 1,
						 .flags = RECORD_CACHE,
						 .nr_queues = 1 };
	static const char rules[] = RULE_FILE_MAGIC
		"\na op=write range=0..1k do=lie\nb op=flush do=powercut:keep=none\n";
	struct pipeline_options options = {
		.geometry = { .size_bytes = DISK_BYTES, .block_bytes = 512, .nr_queues = 1 },
		.cache = true,
	};
	struct pipeline *pipeline = NULL;
	struct rule_set *set = NULL;
	struct store *store = NULL;
	int err = recorder_add_disk(recorder, &disk, diag, &options.recorder);

	if (!err)
		err = store_create(DISK_BYTES, diag, &store);
	if (!err)
		err = words_for(pipeline_create(store, &options, &pipeline), diag, "pipeline");
	if (!err)
		err = rule_set_parse(rules, strlen(rules), diag, &set);
	if (!err)
		err = pipeline_publish(pipeline, set, 0, diag, NULL);
	for (uint64_t i = 0; i < 3 && !err; i++) {
		unsigned char data[512] = { 1 };
		struct io io = { .op = i < 2 ? IO_WRITE : IO_FLUSH,
				 .flags = i ? 0 : IO_FUA,
				 .sector = i * 8,
				 .len_bytes = i < 2 ? 512 : 0,
				 .data = data };

		pipeline_adopt(pipeline, 0);
		pipeline_submit(pipeline, &io, 1 + i);
		pipeline_batch_done(pipeline, 0);
	}
	if (!err)
		pipeline_revive(pipeline, NULL);
	rule_set_free(set);
	pipeline_free(pipeline);
	store_free(store);
	return err;
}

static int read_journal(const char *path, struct diag *diag)
{
	unsigned char bytes[16 << 10];
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	size_t size = file ? fread(bytes, 1, sizeof(bytes), file) : 0;
	struct journal *journal = NULL;
	int err = journal_from_record(bytes, size, diag, &journal);

	EXPECT(err || (journal->nr_writes == 3 && journal->writes[0].false_ack &&
		       journal->writes[2].survivor));
	journal_free(journal);
	return words_for(err, diag, "journal");
}

static int way_powercut(struct diag *diag)
{
	char path[128];
	const struct recorder_options options = { .path = path, .data = true };
	struct recorder_status status = { .closed = false };
	struct recorder *recorder = NULL;
	int err;

	snprintf(path, sizeof(path), "%s/cut", dir);
	err = recorder_create(&options, diag, &recorder);
	if (!err)
		err = lose_power(recorder, diag);
	recorder_close(recorder, &status);
	if (!err)
		err = status.error ? words_for(status.error, diag, "recording")
				   : read_journal(path, diag);
	unlink(path);
	return err;
}

/* Writes to parts and to all of units, zeroes over zeroes, content from before, a mark. */
static int make_journal(struct diag *diag, struct journal **journal)
{
	static const struct journal_disk disk = {
		.name = "a", .size_bytes = DISK_BYTES, .block_bytes = 512, .cache = true
	};
	static const unsigned char data[4096] = { 1 };
	static const struct journal_extent extent = { 0, 512, 4096, data };
	static const struct journal_flush flush = { .submit = 900, .complete = 901 };
	int err = journal_new(journal);

	if (!err)
		err = journal_add_disk(*journal, &disk);
	if (!err)
		err = journal_add_extent(*journal, &extent);
	for (uint64_t i = 0; i < 80 && !err; i++) {
		struct journal_write write = { .submit = 1 + 2 * i,
					       .complete = i % 40 ? 2 + 2 * i : 200 + i,
					       .at = i % 7 * 512,
					       .len_bytes = i % 3 ? 512 : 4096,
					       .flags = i % 5 ? 0 : IO_FUA,
					       .data = i % 4 ? data : NULL };

		write.at += i < 3 ? DISK_BYTES / 2 : 0;
		err = journal_add_write(*journal, &write);
	}
	/* Of the second only a part is durable, whatever becomes of the first. */
	for (uint64_t i = 0; i < 2 && !err; i++) {
		const struct journal_write write = { .submit = 500 + 2 * i,
						     .complete = 501 + 2 * i,
						     .at = 64 << 10,
						     .len_bytes = i ? 512 : 4096,
						     .flags = i ? IO_FUA : 0,
						     .data = data };

		err = journal_add_write(*journal, &write);
	}
	/* In flight together on parts of a unit: more versions of it than writes. */
	for (uint64_t i = 0; i < 4 && !err; i++) {
		const struct journal_write write = { .submit = 600 + i,
						     .complete = 610 + i,
						     .at = (80 << 10) + 512 * i,
						     .len_bytes = 512,
						     .data = data };

		err = journal_add_write(*journal, &write);
	}
	if (!err)
		err = journal_add_flush(*journal, &flush);
	if (!err)
		err = journal_add_mark(*journal, 300, 0, "mark", 4);
	if (!err)
		err = journal_own(*journal, malloc(1));
	return err ? words_for(err, diag, "journal") : journal_seal(*journal, diag);
}

static int walk_journal(const struct journal *journal, struct diag *diag, struct crash *crash)
{
	_cleanup_free_ struct crash_point *points = NULL;
	const struct crash_select select = { 0 };
	const struct crash_choice *choices;
	size_t nr = 0;
	int err = crash_points(journal, crash_options(crash), &select, &points, &nr);

	for (size_t i = 0; i < nr && !err; i++) {
		_cleanup_free_ uint16_t *picks = NULL;
		_cleanup_free_ char *name = NULL;

		err = crash_move(crash, points[i].step);
		if (err)
			break;
		picks = calloc(crash_choices(crash, &choices) + 1, sizeof(*picks));
		crash_newest(crash, picks);
		name = crash_name(crash, picks);
		err = name ? 0 : -ENOMEM;
		EXPECT(err || !crash_parse(crash, name, diag, picks));
	}
	return words_for(err, diag, "crash states");
}

static int way_crash(struct diag *diag)
{
	_cleanup_free_ unsigned char *bytes = calloc(1, DISK_BYTES);
	const struct crash_options options = { .unit_bytes = 4096 };
	const struct crash_image image = { bytes, -1 };
	struct journal *journal = NULL;
	struct crash *crash = NULL;
	int err = make_journal(diag, &journal);

	if (!err)
		err = crash_create(journal, &options, &image, diag, &crash);
	if (!err)
		err = walk_journal(journal, diag, crash);
	crash_free(crash);
	journal_free(journal);
	return err;
}

/* Whole writes that were in flight together and lie over each other. */
static int way_tangle(struct diag *diag)
{
	static const struct journal_disk disk = {
		.name = "a", .size_bytes = DISK_BYTES, .block_bytes = 512, .cache = true
	};
	static const unsigned char data[1024] = { 1 };
	_cleanup_free_ unsigned char *bytes = calloc(1, DISK_BYTES);
	const struct crash_options options = { .atomic = CRASH_ORDER };
	const struct crash_image image = { bytes, -1 };
	struct journal *journal = NULL;
	struct crash_count count;
	struct crash *crash = NULL;
	int err = journal_new(&journal);

	if (!err)
		err = journal_add_disk(journal, &disk);
	for (uint64_t i = 0; i < 3 && !err; i++)
		err = journal_add_write(journal,
					&(struct journal_write){ .submit = 1 + i,
								 .complete = 10 + i,
								 .at = i * 512,
								 .len_bytes = 1024,
								 .data = i == 1 ? NULL : data });
	err = err ? words_for(err, diag, "journal") : journal_seal(journal, diag);
	if (!err)
		err = crash_create(journal, &options, &image, diag, &crash);
	if (!err)
		err = words_for(crash_move(crash, 20), diag, "crash states");
	if (!err)
		crash_count(crash, &count);
	EXPECT(err || (!count.missing && count.exact > 8));
	crash_free(crash);
	journal_free(journal);
	return err;
}

/* A state as it is where whole writes survive: its contents are copied. */
static int way_view(struct diag *diag)
{
	_cleanup_free_ unsigned char *bytes = calloc(1, DISK_BYTES);
	const struct crash_options options = { .unit_bytes = 4096, .atomic = CRASH_WRITE };
	const struct crash_image image = { bytes, -1 };
	_cleanup_free_ uint16_t *picks = NULL;
	const struct crash_choice *choices;
	unsigned char read[4096] = { 0 };
	struct journal *journal = NULL;
	struct crash *crash = NULL;
	struct view *view = NULL;
	int err = make_journal(diag, &journal);

	if (!err)
		err = crash_create(journal, &options, &image, diag, &crash);
	if (!err)
		err = crash_move(crash, 290);
	if (!err)
		err = view_create(crash, &image, &view);
	if (!err) {
		picks = calloc(crash_choices(crash, &choices) + 1, sizeof(*picks));
		crash_newest(crash, picks);
		err = view_reset(view, picks, NULL, NULL);
	}
	if (!err)
		err = view_read(view, 0, DISK_BYTES / 2, read, sizeof(read));
	EXPECT(err || read[1024] == 1);
	view_free(view);
	crash_free(crash);
	journal_free(journal);
	return words_for(err, diag, "view");
}

/* ---------------------------------------------------------------------------- the tests */

static void a_recording_is_made_and_read_or_says_why(void)
{
	sweep(way_recording);
}

static void a_store_is_made_or_says_why(void)
{
	sweep(way_store);
}

static void a_pipeline_is_made_or_says_why(void)
{
	sweep(way_pipeline);
}

static void caches_and_snapshots_are_made_or_say_why(void)
{
	sweep(way_state);
}

static void an_image_is_saved_and_loaded_or_leaves_nothing(void)
{
	sweep(way_image);
}

static void rules_are_published_whole_or_not_at_all(void)
{
	sweep(way_publish);
}

static void rules_are_parsed_copied_and_printed_or_say_why(void)
{
	sweep(way_rules);
}

static void a_rule_in_json_is_read_and_printed_or_says_why(void)
{
	sweep(way_json);
}

static void what_fio_measured_is_read_or_says_why(void)
{
	sweep(way_measured);
}

static void a_lazy_search_is_complete_or_says_why(void)
{
	make_states();
	sweep(way_lazy);
	sweep(way_strategy);
	case_free(&states);
}

static void a_socket_is_made_or_leaves_no_file(void)
{
	sweep(way_listen);
}

static void a_server_is_made_or_gives_everything_back(void)
{
	sweep(way_server);
}

static void the_directory_of_sockets_is_read_or_says_why(void)
{
	sweep(way_directory);
}

static void a_power_cut_is_recorded_and_read_or_says_why(void)
{
	sweep(way_powercut);
}

static void crash_states_are_walked_and_viewed_or_say_why(void)
{
	sweep(way_crash);
	sweep(way_tangle);
	sweep(way_view);
}

int main(int argc, char **argv)
{
	static const struct device_test tests[] = {
		DEVICE_TEST(a_store_is_made_or_says_why),
		DEVICE_TEST(a_pipeline_is_made_or_says_why),
		DEVICE_TEST(caches_and_snapshots_are_made_or_say_why),
		DEVICE_TEST(an_image_is_saved_and_loaded_or_leaves_nothing),
		DEVICE_TEST(a_recording_is_made_and_read_or_says_why),
		DEVICE_TEST(rules_are_published_whole_or_not_at_all),
		DEVICE_TEST(rules_are_parsed_copied_and_printed_or_say_why),
		DEVICE_TEST(a_rule_in_json_is_read_and_printed_or_says_why),
		DEVICE_TEST(what_fio_measured_is_read_or_says_why),
		DEVICE_TEST(a_power_cut_is_recorded_and_read_or_says_why),
		DEVICE_TEST(a_lazy_search_is_complete_or_says_why),
		DEVICE_TEST(a_socket_is_made_or_leaves_no_file),
		DEVICE_TEST(a_server_is_made_or_gives_everything_back),
		DEVICE_TEST(the_directory_of_sockets_is_read_or_says_why),
		DEVICE_TEST(crash_states_are_walked_and_viewed_or_say_why),
	};
	int failed;

	if (failpoint_init() || !mkdtemp(dir) || setenv("FAULTBLK_RUNTIME_DIR", dir, 1))
		return 1;
	failed = run_tests(tests, array_size(tests), argc > 1 ? argv[1] : NULL);
	rmdir(dir);
	return failed != 0;
}
