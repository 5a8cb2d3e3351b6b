/* SPDX-License-Identifier: MIT */
/*
 * The log of hits: a bounded ring for each queue, overwritten from the oldest, so that nobody who
 * reads, or does not read, ever slows a request down.
 *
 * Each queue's thread writes to its own ring; the control thread reads all of them in the order of
 * the sequence numbers, which count the hits of the whole disk from 1.
 */
#ifndef FAULTS_ENGINE_EVENT_H
#define FAULTS_ENGINE_EVENT_H

#include "faults/rule/rule.h"

#include <stddef.h>
#include <stdint.h>

#define EVENT_RING 4096 /* events that are kept for each queue */

struct event {
	uint64_t seq;
	uint64_t time_ns; /* of the request's batch, on the clock that the owner brings */
	uint64_t sector;
	uint64_t match;    /* the rule's match number */
	uint64_t delay_ns; /* that this hit adds; UINT64_MAX: held until released */
	uint32_t len_bytes;
	uint32_t flags; /* enum io_flag */
	uint16_t queue;
	uint8_t op;   /* enum io_op */
	uint8_t kind; /* kind_at(kind) */
	char rule[RULE_NAME_MAX + 1];
};

struct event_log;

/* -ENOMEM. */
int event_log_create(uint16_t nr_queues, struct event_log **ret_log);
struct event_log *event_log_free(struct event_log *log); /* NULL allowed; returns NULL */

/* The queue's thread; gives the event its number, which is returned. */
uint64_t event_log_add(struct event_log *log, struct event *event);
/* The number of the newest event; 0: none yet. Any thread. */
uint64_t event_log_newest(const struct event_log *log);

/* Where one reader stands. Control thread. */
struct event_reader;
/* Starts with the oldest events that are kept and whose number is above @after. */
int event_reader_create(struct event_log *log, uint64_t after, struct event_reader **ret_reader);
struct event_reader *event_reader_free(struct event_reader *reader); /* NULL allowed */
/*
 * The next event. *ret_lost grows by the number of those that were overwritten before they were
 * read. False when there is none for now.
 */
bool event_reader_next(struct event_reader *reader, struct event *ret_event, uint64_t *ret_lost);

#endif
