/* SPDX-License-Identifier: MIT */
/*
 * The queues of a disk stand still for a power cut of several disks. Control thread.
 *
 *	begin --the client cuts--> cut
 *	  |---- it thaws, is gone, takes too long, the disk is stopped, or an older ballot comes -->
 *	        with a ballot: what that says, decided by now; without: the disk goes on
 *
 * So of the disks that stand still under one ballot all are cut or none is, whenever and wherever
 * whoever asked for it ends, or ceases to answer.
 */
#ifndef TOOLS_SERVE_STANDSTILL_H
#define TOOLS_SERVE_STANDSTILL_H

#include "tools/rpc/methods.h"

struct ballot;

struct standstill {
	struct disk *disk;
	/* Told of an end that the client itself did not bring about, and why. */
	void (*tell)(void *ctx, bool cut, const char *why);
	void *ctx;
	uint64_t client;        /* for whom; 0: they do not stand still */
	uint64_t end_ns;        /* at the latest */
	struct ballot *ballot;  /* owned; NULL: the client alone decides */
	struct cut_order order; /* with a ballot */
	/* Who was cut without its own word hears of it if it asks after all; 0: nobody. */
	uint64_t done_client;
	struct power_cut_result done;
};

/*
 * Stop the queues for @client; @ballot_fd (borrowed): the ballot that decides, or -1. What would keep
 * the disk from being cut is told here, before any other is cut. 0; -EALREADY, -ENODEV, -EINVAL.
 */
int standstill_begin(struct standstill *still, uint64_t client, int ballot_fd,
		     const struct cut_order *order, struct diag *diag);
/*
 * Somebody else with this ballot wants them to: does the one that stands have to give way to it? It
 * is then decided, against a cut if that was not decided yet.
 */
bool standstill_gives_way(struct standstill *still, int ballot_fd);
/*
 * Cut the power: @client, @order and errors as of rpc_target.crash. The queues go on. What was decided
 * and carried out for @client before is told, once. -ESTALE changes nothing.
 */
int standstill_cut(struct standstill *still, uint64_t client, struct cut_order *order,
		   struct diag *diag, struct power_cut_result *ret_result);
/* @there: its client is, and the disk serves. True: that was all, the queues go on. */
bool standstill_look(struct standstill *still, bool there);
/* The queues are to go on, now; true: they stood still. A cut that was decided comes first. */
bool standstill_end(struct standstill *still);

#endif
