// SPDX-License-Identifier: MIT
/*
 * The cursor: carries the events of the journal, in order, to the units.
 *
 *	journal ->  crash_flow: which writes become durable now
 *	        ->  crash_unit: entries, images, what is settled
 *	asked   ->  crash_choice: candidates, choices, volatile writes; crash_state, crash_name
 *
 * What happens costs what it touches. The lists that are handed out cost what is undecided, so they
 * are made when they are first asked for, behind a lock since a cursor that stands still may have
 * several readers; the memory for them is there before, since a reader cannot say that there is
 * none.
 */
#include "faults/crash/internal.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

#include <assert.h>
#include <stdlib.h>

static uint32_t smallest_block(const struct journal *journal)
{
	uint32_t block = journal->disks[0].block_bytes;

	for (uint32_t i = 1; i < journal->nr_disks; i++)
		if (journal->disks[i].block_bytes < block)
			block = journal->disks[i].block_bytes;
	return block;
}

static uint32_t largest_block(const struct journal *journal)
{
	uint32_t block = 0;

	for (uint32_t i = 0; i < journal->nr_disks; i++)
		if (journal->disks[i].block_bytes > block)
			block = journal->disks[i].block_bytes;
	return block;
}

uint32_t crash_unit_bytes(const struct journal *journal, const struct crash_options *options)
{
	if (options->atomic != CRASH_UNIT)
		return smallest_block(journal);
	return options->unit_bytes ? options->unit_bytes : largest_block(journal);
}

bool crash_has_parts(const struct journal *journal, const struct crash_options *options)
{
	uint32_t unit = crash_unit_bytes(journal, options);

	for (size_t i = 0; i < journal->nr_writes; i++) {
		const struct journal_write *write = &journal->writes[i];
		uint64_t end = write->at + write->len_bytes;

		if (write->at % unit ||
		    (end % unit && end != journal->disks[write->disk].size_bytes))
			return true;
	}
	return false;
}

static int check_unit(const struct journal *journal, const struct crash_options *options,
		      struct diag *diag)
{
	uint32_t unit = crash_unit_bytes(journal, options);

	if (unit >= CRASH_UNIT_MIN && unit <= CRASH_UNIT_MAX && !(unit & (unit - 1)))
		return 0;
	return diag_set(diag, -EINVAL, "crash.bad-unit",
			"units of %u bytes are not possible, wanted a power of two from 512 to 1G",
			unit);
}

static int start_disks(struct crash *crash, const struct crash_image *images)
{
	const struct journal *journal = crash->journal;

	crash->disks = fail_alloc("faults/crash/crash/disks",
				  calloc(journal->nr_disks, sizeof(*crash->disks)));
	if (!crash->disks)
		return -ENOMEM;
	for (uint32_t i = 0; i < journal->nr_disks; i++) {
		struct crash_disk *disk = &crash->disks[i];
		uint64_t size = journal->disks[i].size_bytes;
		int err;

		*disk = (struct crash_disk){
			.bytes = images[i].bytes,
			.fd = images[i].fd,
			.size_bytes = size,
			.nr_units = ((size - 1) >> crash->unit_shift) + 1,
		};
		err = crash_bits_start(&disk->used, disk->nr_units);
		if (err)
			return err;
	}
	return 0;
}

static int start(struct crash *crash, const struct crash_image *images)
{
	int err = crash_flow_start(&crash->flow, crash->journal, &crash->options);

	if (!err)
		err = start_disks(crash, images);
	if (err)
		return err;
	crash->writes =
		fail_alloc("faults/crash/crash/writes", calloc(crash->journal->nr_writes + 1, 1));
	if (!crash->writes)
		return -ENOMEM;
	err = crash_load_extents(crash);
	return err ? err : crash_make_room(crash);
}

int crash_create(const struct journal *journal, const struct crash_options *options,
		 const struct crash_image *images, struct diag *diag, struct crash **ret_crash)
{
	struct crash *crash;
	int err = check_unit(journal, options, diag);

	if (err)
		return err;
	crash = fail_alloc("faults/crash/crash/alloc", calloc(1, sizeof(*crash)));
	if (!crash)
		return diag_set(diag, -ENOMEM, "crash.memory", "no memory for crash states");
	crash->journal = journal;
	crash->options = *options;
	crash->options.unit_bytes = crash_unit_bytes(journal, options);
	crash->parts = crash_has_parts(journal, options);
	crash->unit_shift = (unsigned int)__builtin_ctz(crash->options.unit_bytes);
	pthread_mutex_init(&crash->lock, NULL);
	err = start(crash, images);
	if (err) {
		crash_free(crash);
		return diag_set(diag, err, "crash.memory", "no memory for crash states");
	}
	*ret_crash = crash;
	return 0;
}

struct crash *crash_free(struct crash *crash)
{
	if (!crash)
		return NULL;
	crash_untangle(crash);
	crash_drop_units(crash);
	crash_flow_free(&crash->flow);
	for (uint32_t i = 0; crash->disks && i < crash->journal->nr_disks; i++)
		crash_bits_free(&crash->disks[i].used);
	pthread_mutex_destroy(&crash->lock);
	free(crash->disks);
	free(crash->buckets);
	free(crash->live);
	free(crash->queue);
	free(crash->units);
	crash_skipped_free(&crash->skipped);
	free(crash->open);
	free(crash->writes);
	free(crash->choices);
	free(crash->volatiles);
	free(crash->ordinals);
	free(crash->bits);
	free(crash->rows);
	free(crash->flight);
	free(crash->scratch);
	free(crash);
	return NULL;
}

static int take_event(struct crash *crash, const struct journal_event *event)
{
	const uint32_t *durable;
	size_t nr;
	int err;

	if (event->what == JOURNAL_SUBMIT)
		return crash_submit(crash, event->index);
	if (event->what == JOURNAL_COMPLETE)
		crash_complete(crash, event->index);
	err = crash_flow_event(&crash->flow, event, &durable, &nr);
	if (!err && nr)
		crash_settle(crash, durable, nr);
	return err;
}

int crash_move(struct crash *crash, uint64_t step)
{
	const struct journal *journal = crash->journal;
	int err;

	assert(step >= crash->step);
	while (crash->next_event < journal->nr_events &&
	       journal->events[crash->next_event].step <= step) {
		err = take_event(crash, &journal->events[crash->next_event]);
		if (err)
			return err;
		crash->next_event++;
	}
	crash->step = step;
	atomic_store(&crash->made, false);
	return crash_make_room(crash);
}

uint64_t crash_step(const struct crash *crash)
{
	return crash->step;
}

const struct journal *crash_journal(const struct crash *crash)
{
	return crash->journal;
}

const struct crash_options *crash_options(const struct crash *crash)
{
	return &crash->options;
}
