/* SPDX-License-Identifier: MIT */
/* How the data of a request gets to the backend and back: a row for each enum ublk_data_path. */
#ifndef LIB_DATA_PATH_H
#define LIB_DATA_PATH_H

#include "ublkcore.h"

struct queue;
struct req;

struct data_path {
	const char *name;
	uint64_t feature;   /* ABI_F_*: the driver must have it; 0: each driver does */
	bool needs_cdev_fd; /* put and get use /dev/ublkcN as long as the backend has a request */
	/* 0 or -errno. The span lies inside the request, which is the backend's. Any thread. */
	int (*put)(struct req *req, size_t offset, const void *from, size_t len);
	int (*get)(struct req *req, size_t offset, void *to, size_t len);
	/* The queue's thread, before its requests are made: memory for their data. 0 or -errno. */
	int (*map)(struct queue *q);
	/* The queue's thread: the backend keeps requests whose tags are to be used again. */
	void (*cut)(struct queue *q);
};

/* NULL: there is no such path. */
const struct data_path *data_path_find(enum ublk_data_path path);

#endif
