// SPDX-License-Identifier: MIT
/*
 * A record file comes from anywhere, so everything in it that the reader cannot judge is judged
 * here before the pipeline, which asserts, sees it: numbers of rules and of requests.
 *
 * A rule set is put in force when the first queue adopts it, and each queue adopts it at its own
 * place: between the two the other queues go by the old one, as they did when it was recorded.
 */
#include "faults/engine/replay.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/rng.h"
#include "base/units.h"
#include "faults/rule/ast.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request under way. */
struct flight {
	struct io io; /* first: the engine hands back &io */
	uint64_t arrival, number;
	bool parked;
	bool made_up; /* its data is not in the recording */
	bool no_data;
	const unsigned char *data; /* of a write, in the recording; NULL: zeroes */
};

/* A rule set that no queue has adopted yet. */
struct replay_waiting {
	struct rule_set *set;
	uint64_t epoch, time_ns;
	struct replay_waiting *next;
};

/* Of one disk. */
struct replay {
	const struct record_disk *disk;
	bool has_data, several; /* the recording has */
	bool asked;             /* its first request has come */
	const struct replay_options *options;
	struct replay_result *result;
	struct diag *diag;
	struct store *store;
	struct pipeline *pipeline;
	struct event_reader *events;
	struct replay_rules rules;
	struct replay_waiting *waiting; /* oldest first */
	void *flights;                  /* those that wait, a tree by their arrival */
	uint64_t nr_flights;
	struct flight *spare; /* for the next request */
	struct decision *decisions;
};

static int damaged(struct diag *diag, const char *what, uint64_t step)
{
	return diag_set(diag, -EBADMSG, "record.nonsense",
			"the record file contradicts itself: %s, in record %" PRIu64, what, step);
}

/* ------------------------------------------------------------------------------ names, data */

const char *replay_name(uint64_t number, uint8_t op, uint64_t sector, uint32_t len_bytes,
			char buf[REPLAY_NAME_MAX])
{
	char len[UNITS_MAX];

	if (op == IO_FLUSH)
		snprintf(buf, REPLAY_NAME_MAX, "request %" PRIu64 " (flush)", number);
	else
		snprintf(buf, REPLAY_NAME_MAX, "request %" PRIu64 " (%s %s at sector %" PRIu64 ")",
			 number, value_op_names()[op], units_format_size(len_bytes, len), sector);
	return buf;
}

const char *replay_result_name(int result)
{
	const char *name;

	if (result >= 0)
		return "success";
	name = strerrorname_np(-result);
	return name ? name : "an unknown errno";
}

void replay_pattern(uint64_t number, uint64_t at, void *to, size_t len)
{
	unsigned char *out = to;

	while (len) {
		uint64_t word = rng_finalise(rng_finalise(number) + (at >> 3));
		size_t skip = at & 7, part = 8 - skip;

		if (part > len)
			part = len;
		memcpy(out, (unsigned char *)&word + skip, part);
		out += part;
		at += part;
		len -= part;
	}
}

static int data_get(struct io *io, size_t offset, void *to, size_t len)
{
	const struct flight *flight = (struct flight *)io;

	if (flight->no_data)
		return -EFAULT;
	if (flight->made_up)
		replay_pattern(flight->number, (io->sector << SECTOR_SHIFT) + offset, to, len);
	else if (flight->data)
		memcpy(to, flight->data + offset, len);
	else
		memset(to, 0, len);
	return 0;
}

static int data_put(struct io *io, size_t offset, const void *from, size_t len)
{
	(void)io;
	(void)offset;
	(void)from;
	(void)len;
	return 0;
}

static const struct io_data_ops data_ops = { .get = data_get, .put = data_put };

/* ------------------------------------------------------------------------------ rules */

void replay_rules_free(struct replay_rules *rules)
{
	for (size_t i = 0; i < rules->nr; i++)
		rule_unref(rules->rules[i]);
	free(rules->rules);
	*rules = (struct replay_rules){ 0 };
}

static struct rule *find_rule(const struct replay_rules *rules, uint32_t number)
{
	return number && number <= rules->nr ? rules->rules[number - 1] : NULL;
}

/* Takes the reference, also on error. */
static int add_rule(struct replay_rules *rules, struct rule *rule)
{
	if (array_room("faults/engine/replay/rules", rules->rules, rules->max, rules->nr + 1, 16)) {
		rule_unref(rule);
		return -ENOMEM;
	}
	rules->rules[rules->nr++] = rule;
	return 0;
}

static int take_rule(struct replay_rules *rules, const struct record_rule *said, uint64_t step,
		     struct diag *diag, struct rule **ret_rule)
{
	struct rule *rule = NULL;
	int err;

	if (said->fresh) {
		if (said->rule != rules->nr + 1)
			return damaged(diag, "a new rule has a number out of turn", step);
		err = rule_parse(said->text, said->len, diag, &rule);
		if (!err)
			err = add_rule(rules, rule);
		if (err)
			return err;
	}
	rule = find_rule(rules, said->rule);
	if (!rule)
		return damaged(diag, "a rule set has an undefined rule", step);
	rule_enable(rule, said->enabled);
	*ret_rule = rule;
	return 0;
}

int replay_rules_set(struct replay_rules *rules, const struct record *record, struct diag *diag,
		     struct rule_set **ret_set)
{
	struct rule_set *set = rule_set_new();
	struct rule *rule = NULL;
	int err = set ? 0 : -ENOMEM;

	for (uint32_t i = 0; !err && i < record->nr_rules; i++) {
		err = take_rule(rules, &record->rules[i], record->step, diag, &rule);
		if (!err && rule_set_find(set, rule_name(rule)))
			err = damaged(diag, "a rule set has two rules of one name", record->step);
		if (!err)
			err = rule_set_put(set, rule, NULL, diag);
	}
	if (err)
		rule_set_free(set);
	else
		*ret_set = set;
	return err;
}

int replay_decisions(const struct replay_rules *rules, const struct record *record,
		     struct decision *decisions, struct diag *diag)
{
	for (uint32_t i = 0; i < record->nr_hits; i++) {
		const struct record_hit *hit = &record->hits[i];

		decisions[i] = (struct decision){
			.rule = find_rule(rules, hit->rule),
			.match = hit->match,
			.delay_ns = hit->delay_ns | (hit->held ? KIND_HOLD : 0),
		};
		if (!decisions[i].rule)
			return damaged(diag, "an undefined rule acts", record->step);
	}
	return 0;
}

static void ignore_range(void *ctx, uint64_t from, uint64_t to)
{
	(void)ctx;
	(void)from;
	(void)to;
}

int replay_tell(const struct replay_rules *rules, const struct record *record, struct diag *diag)
{
	struct rule *rule = find_rule(rules, record->rule);
	struct kind_tell tell = {
		.verb = record->verb,
		.has_range = record->has_range,
		.from = record->from,
		.to = record->to,
		.each = ignore_range,
	};

	if (!rule || !rule->armed || !rule->kind->ops->tell)
		return damaged(diag, "a command goes to a rule that takes none", record->step);
	/* One that was refused is refused again. */
	rule->kind->ops->tell(rule->state, &tell, NULL);
	return 0;
}

struct pipeline_options replay_pipeline(const struct record_disk *disk)
{
	return (struct pipeline_options){
		.geometry = {
			.size_bytes = disk->size_bytes,
			.block_bytes = disk->block_bytes,
			.nr_queues = disk->nr_queues,
			.max_io_bytes = disk->max_io_bytes,
			.no_flush = disk->flags & RECORD_NO_FLUSH,
			.no_fua = disk->flags & RECORD_NO_FUA,
		},
		.seed = disk->seed,
		.cache = disk->flags & RECORD_CACHE,
	};
}

void replay_base(struct store *store, const struct record *record)
{
	if (!record->data) {
		store_punch(store, record->from, record->len_bytes);
		return;
	}
	store_mark(store, record->from, record->len_bytes);
	memcpy(store_data(store) + record->from, record->data, record->len_bytes);
}

static int on_rules(struct replay *replay, const struct record *record)
{
	struct replay_waiting *waiting = calloc(1, sizeof(*waiting)), **at = &replay->waiting;
	int err = waiting ? replay_rules_set(&replay->rules, record, replay->diag, &waiting->set)
			  : -ENOMEM;

	if (err) {
		free(waiting);
		return err;
	}
	waiting->epoch = record->epoch;
	waiting->time_ns = record->time_ns;
	while (*at)
		at = &(*at)->next;
	*at = waiting;
	replay->result->nr_rule_sets++;
	return 0;
}

/* Put in force what has been published up to @epoch. */
static int catch_up(struct replay *replay, uint64_t epoch, uint64_t step)
{
	while (replay->waiting && replay->waiting->epoch <= epoch) {
		struct replay_waiting *waiting = replay->waiting;
		uint64_t got;
		int err = pipeline_publish(replay->pipeline, waiting->set, waiting->time_ns,
					   replay->diag, &got);

		if (err)
			return err;
		if (got != waiting->epoch)
			return damaged(replay->diag, "a rule set is missing", step);
		replay->waiting = waiting->next;
		rule_set_free(waiting->set);
		free(waiting);
	}
	return 0;
}

static int on_adopt(struct replay *replay, const struct record *record)
{
	int err = catch_up(replay, record->epoch, record->step);

	if (!err)
		pipeline_adopt(replay->pipeline, record->queue);
	return err;
}

/* ------------------------------------------------------------------------------ comparing */

static void print_hit(FILE *out, const char *rule, const struct record_hit *hit)
{
	char delay[UNITS_MAX];

	fprintf(out, "rule '%s', match %" PRIu64, rule, hit->match);
	if (hit->held && !hit->delay_ns)
		fputs(", held", out);
	else if (hit->delay_ns)
		fprintf(out, ", %s", units_format_time(hit->delay_ns, delay));
}

/* What the @index-th hit of the two is: "nothing" where there is none. */
static char *describe_hit(const char *rule, const struct record_hit *hit)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (rule)
		print_hit(out, rule, hit);
	else
		fputs("nothing", out);
	fclose(out);
	return text;
}

static void differ(struct replay *replay, const struct flight *flight, const char *what,
		   const char *recorded, const char *got)
{
	char name[REPLAY_NAME_MAX];

	if (replay->result->differs)
		return;
	replay->result->differs = true;
	diag_set(&replay->result->difference, 0, "replay.differs",
		 "%s%s%s%s: %s: recorded: %s; got: %s", replay->several ? "disk " : "",
		 replay->several ? replay->disk->name : "", replay->several ? ": " : "",
		 replay_name(flight->number, flight->io.op, flight->io.sector, flight->io.len_bytes,
			     name),
		 what, recorded ? recorded : "?", got ? got : "?");
}

static void differ_hit(struct replay *replay, const struct flight *flight,
		       const struct decision *decision, const struct record_hit *recorded,
		       const char *rule, const struct record_hit *hit)
{
	_cleanup_free_ char *was =
		describe_hit(decision ? rule_name(decision->rule) : NULL, recorded);
	_cleanup_free_ char *is = describe_hit(rule, hit);

	differ(replay, flight, "decision", was, is);
}

static bool hit_agrees(const struct record_hit *recorded, const struct event *event)
{
	uint64_t delay_ns = recorded->held && !recorded->delay_ns ? UINT64_MAX : recorded->delay_ns;

	return recorded->match == event->match && delay_ns == event->delay_ns;
}

/* The events since the last request are this one's; do they say what is recorded? */
static void compare_hits(struct replay *replay, const struct flight *flight,
			 const struct record *record)
{
	uint64_t lost = 0;
	uint32_t at = 0;
	struct event event;

	while (event_reader_next(replay->events, &event, &lost)) {
		struct record_hit hit = { .match = event.match,
					  .held = event.delay_ns == UINT64_MAX,
					  .delay_ns = event.delay_ns };
		bool has = at < record->nr_hits;

		if (hit.held)
			hit.delay_ns = 0;
		replay->result->nr_hits++;
		if (replay->options->event)
			replay->options->event(replay->options->ctx, replay->disk, &event);
		/* More hits than the log keeps can only be counted. */
		if (!lost && (!has || !hit_agrees(&record->hits[at], &event) ||
			      strcmp(rule_name(replay->decisions[at].rule), event.rule) != 0))
			differ_hit(replay, flight, has ? &replay->decisions[at] : NULL,
				   has ? &record->hits[at] : NULL, event.rule, &hit);
		at++;
	}
	replay->result->nr_hits += lost;
	if (at + lost < record->nr_hits)
		differ_hit(replay, flight, &replay->decisions[at], &record->hits[at], NULL, NULL);
}

static void compare_result(struct replay *replay, const struct flight *flight, int recorded)
{
	const struct io *io = &flight->io;

	if (recorded == RECORD_PLAIN)
		recorded = record_plain_result(io->op, io->len_bytes);
	if (io->result != recorded)
		differ(replay, flight, "result", replay_result_name(recorded),
		       replay_result_name(io->result));
}

/* ------------------------------------------------------------------------------ requests */

static int by_arrival(const void *a, const void *b)
{
	const struct flight *left = a, *right = b;

	return (left->arrival > right->arrival) - (left->arrival < right->arrival);
}

static struct flight *new_flight(struct replay *replay, const struct record *record)
{
	struct flight *flight = replay->spare;

	if (!flight)
		flight = malloc(sizeof(*flight));
	if (!flight)
		return NULL;
	replay->spare = NULL;
	*flight = (struct flight){
		.io = { .sector = record->sector,
			.len_bytes = record->len_bytes,
			.op = record->op,
			.queue = record->queue,
			.flags = record->flags,
			.data_ops = &data_ops },
		.arrival = record->step,
		.number = ++replay->result->nr_requests,
		.made_up = !replay->has_data,
		.no_data = record->no_data,
		.data = record->data,
	};
	return flight;
}

static void spare_flight(struct replay *replay, struct flight *flight)
{
	free(replay->spare);
	replay->spare = flight;
}

static int submit(struct replay *replay, struct flight *flight, const struct record *record,
		  enum io_verdict *ret_verdict)
{
	int err = replay_decisions(&replay->rules, record, replay->decisions, replay->diag);

	if (err)
		return err;
	if (!replay->options->forced) {
		*ret_verdict = pipeline_submit(replay->pipeline, &flight->io, record->time_ns);
		return 0;
	}
	err = pipeline_submit_decided(replay->pipeline, &flight->io, record->time_ns,
				      replay->decisions, record->nr_hits, ret_verdict);
	return err ? damaged(replay->diag, "a rule acts that cannot act on such a request",
			     record->step)
		   : 0;
}

static int keep_flight(struct replay *replay, struct flight *flight)
{
	const struct record_disk *disk = replay->disk;

	flight->parked = true;
	if (!tsearch(flight, &replay->flights, by_arrival))
		return -ENOMEM;
	if (++replay->nr_flights <= (uint64_t)disk->depth * disk->nr_queues)
		return 0;
	return damaged(replay->diag, "more requests wait than the disk takes", flight->arrival);
}

/*
 * A limit of the recorded disk is told by nothing but the requests that failed for it: for them the
 * store is full. What its host had no memory for, this one refuses, too.
 */
static void limit_space(struct replay *replay, const struct record *record, bool ends)
{
	store_limit(replay->store, ends && record->result == -ENOSPC ? 0 : UINT64_MAX);
	store_refuse(replay->store, ends && record->refused);
}

static bool is_joint(const struct flight *flight)
{
	return flight->io.rule && rule_with(flight->io.rule);
}

/* The first to wait no longer of those whose rule takes other disks along. */
static void find_joint(const void *node, VISIT which, void *ctx)
{
	struct flight *flight = *(struct flight *const *)node, **first = ctx;

	if ((which == postorder || which == leaf) && is_joint(flight) &&
	    (!*first || flight->io.due_ns < (*first)->io.due_ns))
		*first = flight;
}

/*
 * A rule's cut that took other disks along fell between its request and that one's end. It shows first
 * by a request that it was too late for: by then all disks stood still.
 */
static void cut_jointly(struct replay *replay, const struct record *record)
{
	struct pipeline *pipeline = replay->pipeline;
	struct flight *first = NULL;
	struct joint_cut joint;

	if (condition_bits(pipeline_condition(pipeline)) & (CONDITION_OFF | CONDITION_GONE))
		return;
	if (!pipeline_joint(pipeline, &joint)) {
		twalk_r(replay->flights, find_joint, &first);
		if (!first || pipeline_resume(pipeline, &first->io, record->time_ns) != IO_PARKED ||
		    !pipeline_joint(pipeline, &joint))
			return;
	}
	pipeline_joint_end(pipeline, &joint);
}

/* Did it end so because the disk was cut? What a rule fails so does nothing to the disk. */
static bool shows_cut(const struct replay *replay, const struct flight *flight,
		      const struct record *record)
{
	bool dead = record->result == -EIO || record->result == -ENODEV;
	bool well = !condition_bits(pipeline_condition(replay->pipeline));

	return is_joint(flight) || (dead && well && !record->refused && !flight->io.rule);
}

/* A disk whose rules act alone has none that wait for others. */
static enum io_verdict act_alone(struct replay *replay, struct flight *flight,
				 const struct record *record, enum io_verdict verdict)
{
	if (verdict != IO_PARKED || record->parked || !is_joint(flight))
		return verdict;
	return pipeline_resume(replay->pipeline, &flight->io, record->time_ns);
}

static int on_request(struct replay *replay, const struct record *record)
{
	struct flight *flight = new_flight(replay, record);
	enum io_verdict verdict;
	int err;

	if (!flight)
		return -ENOMEM;
	replay->asked = true;
	limit_space(replay, record, !record->parked);
	if (record->unreached)
		cut_jointly(replay, record);
	err = submit(replay, flight, record, &verdict);
	if (err) {
		spare_flight(replay, flight);
		return err;
	}
	compare_hits(replay, flight, record);
	verdict = act_alone(replay, flight, record, verdict);
	if ((verdict == IO_PARKED) != record->parked)
		differ(replay, flight, "course", record->parked ? "it waits" : "done at once",
		       record->parked ? "done at once" : "it waits");
	if (verdict == IO_PARKED)
		return keep_flight(replay, flight);
	if (!record->parked)
		compare_result(replay, flight, record->result);
	spare_flight(replay, flight);
	return 0;
}

static void take_flight(struct replay *replay, struct flight *flight)
{
	tdelete(flight, &replay->flights, by_arrival);
	replay->nr_flights--;
}

static int on_end(struct replay *replay, const struct record *record)
{
	struct flight wanted = { .arrival = record->arrival };
	struct flight **found = tfind(&wanted, &replay->flights, by_arrival), *flight;

	if (!found)
		return damaged(replay->diag, "a request ends that is not under way", record->step);
	flight = *found;
	if (flight->io.queue != record->queue)
		return damaged(replay->diag, "a request ends on another queue", record->step);
	limit_space(replay, record, true);
	if (shows_cut(replay, flight, record))
		cut_jointly(replay, record);
	take_flight(replay, flight);
	if (record->released)
		pipeline_release(replay->pipeline, NULL, flight->io.id, 1);
	pipeline_resume(replay->pipeline, &flight->io, record->time_ns);
	compare_result(replay, flight, record->result);
	spare_flight(replay, flight);
	return 0;
}

/* Requests whose ends are not there. */
static void finish_flights(struct replay *replay)
{
	replay->result->nr_unfinished += replay->nr_flights;
	while (replay->flights) {
		struct flight *flight = *(struct flight **)replay->flights;

		take_flight(replay, flight);
		/* The second time it acts alone. */
		if (pipeline_resume(replay->pipeline, &flight->io, UINT64_MAX) == IO_PARKED)
			pipeline_resume(replay->pipeline, &flight->io, UINT64_MAX);
		spare_flight(replay, flight);
	}
}

/* ------------------------------------------------------------------------------ all of it */

/* A record of this disk. */
static int on_record(struct replay *replay, const struct record *record)
{
	struct joint_cut joint;
	int err = 0;

	switch (record->type) {
	case RECORD_REQUEST:
		return on_request(replay, record);
	case RECORD_END:
		return on_end(replay, record);
	case RECORD_ADOPT:
		return on_adopt(replay, record);
	case RECORD_RULES:
		return on_rules(replay, record);
	case RECORD_REVIVE:
		if (pipeline_joint(replay->pipeline, &joint))
			pipeline_joint_end(replay->pipeline, &joint);
		pipeline_revive(replay->pipeline, NULL);
		return 0;
	case RECORD_TELL:
		err = catch_up(replay, UINT64_MAX, record->step);
		return err ? err : replay_tell(&replay->rules, record, replay->diag);
	case RECORD_BASE:
		/* Later it is what was left after a power cut, which happens here, too. */
		if (!replay->asked)
			replay_base(replay->store, record);
		return 0;
	case RECORD_BATCH:
	case RECORD_MARK:
	case RECORD_CLOSE:
		break;
	}
	return 0;
}

static int create(struct replay *replay)
{
	struct pipeline_options options = replay_pipeline(replay->disk);
	int err = store_create(options.geometry.size_bytes, replay->diag, &replay->store);

	options.joins = true;
	if (!err)
		err = pipeline_create(replay->store, &options, &replay->pipeline);
	if (!err)
		err = event_reader_create(pipeline_events(replay->pipeline), 0, &replay->events);
	if (!err && !(replay->decisions = calloc(RULE_SET_MAX, sizeof(*replay->decisions))))
		err = -ENOMEM;
	return err;
}

static void destroy(struct replay *replay)
{
	event_reader_free(replay->events);
	pipeline_free(replay->pipeline);
	store_free(replay->store);
	while (replay->waiting) {
		struct replay_waiting *waiting = replay->waiting;

		replay->waiting = waiting->next;
		rule_set_free(waiting->set);
		free(waiting);
	}
	replay_rules_free(&replay->rules);
	free(replay->decisions);
	free(replay->spare);
}

static int play(struct record_reader *reader, struct replay *disks,
		const struct replay_options *options, struct replay_result *result)
{
	struct record record;
	int err = 0, more;

	while (!err && !result->differs && (more = record_reader_next(reader, &record)) != 0) {
		if (options->progress)
			options->progress(options->ctx, record_reader_read(reader));
		if (more < 0)
			err = more;
		else if (record.disk != RECORD_NOBODY)
			err = on_record(&disks[record.disk], &record);
		else
			result->nr_marks += record.type == RECORD_MARK;
	}
	return err;
}

static int finish(struct replay *replay)
{
	const struct replay_options *options = replay->options;

	finish_flights(replay);
	return options->image ? options->image(options->ctx, replay->disk, replay->store) : 0;
}

int replay_run(struct record_reader *reader, const struct replay_options *options,
	       struct diag *diag, struct replay_result *ret_result)
{
	uint16_t nr = record_reader_nr_disks(reader);
	struct diag words = { 0 };
	struct replay_result result = { 0 };
	struct replay *disks = calloc(nr + 1u, sizeof(*disks));
	int err = disks ? 0 : -ENOMEM;

	for (uint16_t i = 0; i < nr && !err; i++) {
		disks[i] = (struct replay){
			.disk = record_reader_disk(reader, i),
			.has_data = record_reader_header(reader)->flags & RECORD_DATA,
			.several = nr > 1,
			.options = options,
			.result = &result,
			.diag = &words,
		};
		err = create(&disks[i]);
	}
	if (!err)
		err = play(reader, disks, options, &result);
	for (uint16_t i = 0; disks && i < nr; i++) {
		if (disks[i].pipeline && !err)
			err = finish(&disks[i]);
		else if (disks[i].pipeline)
			finish_flights(&disks[i]);
		destroy(&disks[i]);
	}
	free(disks);
	if (err && !words.message[0])
		diag_set(&words, err, "replay.failed", "the recording cannot be replayed: %s",
			 strerror(-err));
	if (err && diag)
		*diag = words;
	*ret_result = result;
	return err;
}
