/* SPDX-License-Identifier: MIT */
/* Who holds a disk, beyond what ublkcore.h tells: after it was stopped, too. */
#ifndef LIB_HOLDERS_H
#define LIB_HOLDERS_H

#include "ublkcore.h"

#include <sys/types.h>

#define NODES_MAX 64

/* What there is to hold: the disk, its partitions, and the server's half of it, /dev/ublkcN. */
struct disk_nodes {
	char disk[32]; /* "ublkb0" */
	dev_t devs[NODES_MAX];
	unsigned int nr_devs;
	dev_t server; /* 0: not looked for */
};

/* Find the nodes of the disk; while it is there, since a stopped one has none. Keeps .server. */
void disk_nodes_find(struct disk_nodes *nodes, int id);
/* Who holds any of them. Fills up to @max; returns the number found. */
int disk_nodes_holders(const struct disk_nodes *nodes, struct ublk_holder *holders,
		       unsigned int max);

/*
 * As ublk_holders(), of a disk that the kernel has taken away and somebody still holds: whoever has
 * /dev/ublkb@id open or mounted by that name, though no such device is there any more.
 */
int holders_of_dead(int id, struct ublk_holder *holders, unsigned int max);

#endif
