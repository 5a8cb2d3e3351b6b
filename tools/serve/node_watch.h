/* SPDX-License-Identifier: MIT */
/*
 * udev learns what is on the disk when somebody has written to it. Its own watch has the kernel read
 * the partition table with each look, which fault rules would meet; this one makes no request.
 */
#ifndef TOOLS_SERVE_NODE_WATCH_H
#define TOOLS_SERVE_NODE_WATCH_H

#include "ublkcore.h"

struct node_watch;

/* Tell udev of @dev now, and watch its node. NULL: udev does not run, or there is no memory for it. */
struct node_watch *node_watch_new(const struct ublk_dev *dev);
/* NULL allowed; returns NULL. */
struct node_watch *node_watch_free(struct node_watch *watch);
/* Readable when there is something to do; -1 of NULL. Borrowed. */
int node_watch_fd(const struct node_watch *watch);
/* Tell udev of @dev, the device that it was made for, if its content has changed. */
void node_watch_turn(struct node_watch *watch, const struct ublk_dev *dev);

#endif
