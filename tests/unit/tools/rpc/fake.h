/* SPDX-License-Identifier: MIT */
/* A target of the protocol without a kernel: a small store, a pipeline, no device. */
#ifndef TESTS_RPC_FAKE_H
#define TESTS_RPC_FAKE_H

#include "tools/rpc/methods.h"

#include <stdlib.h>
#include <string.h>

#define FAKE_SIZE   (1u << 20)
#define FAKE_QUEUES 2

struct fake {
	struct store *store;
	struct rpc_target target;
};

/* @recorder: of a disk like this one, or NULL. */
static inline void fake_open_recorded(struct fake *fake, struct recorder_disk *recorder)
{
	struct pipeline_options options = {
		.geometry = { .size_bytes = FAKE_SIZE,
			      .block_bytes = 512,
			      .nr_queues = FAKE_QUEUES },
		.seed = 1,
		.recorder = recorder,
	};

	*fake = (struct fake){ .target = { .geometry = options.geometry, .name = "fake" } };
	if (store_create(FAKE_SIZE, NULL, &fake->store) ||
	    pipeline_create(fake->store, &options, &fake->target.pipeline))
		abort();
}

static inline void fake_open(struct fake *fake)
{
	fake_open_recorded(fake, NULL);
}

static inline void fake_close(struct fake *fake)
{
	pipeline_free(fake->target.pipeline);
	store_free(fake->store);
}

/* The answer to @line, of *ret_len bytes; NULL for none. The caller frees it. */
static inline char *fake_serve(struct fake *fake, const char *line, size_t *ret_len)
{
	char *text;

	rpc_serve_line(&fake->target, 1, line, strlen(line), &text, ret_len);
	return text;
}

#endif
