// SPDX-License-Identifier: MIT
/*
 * linear PATH [SECONDS]: several threads read and write the same few blocks at random, each write a
 * value of its own; every block's history must be linearizable, as for one disk with one head.
 */
#include "tests/linear.h"
#include "base/clock.h"
#include "base/rng.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS  4
#define THREADS 6
#define OPS_MAX 20000

struct worker {
	pthread_t thread;
	unsigned int index;
	struct linear_op *ops[BLOCKS];
	size_t nr_ops[BLOCKS];
	int errors;
};

static int fd;
static uint64_t deadline_ns;

static void one_op(struct worker *w, uint64_t step, uint64_t *buf)
{
	uint64_t bits = rng_mix(getpid(), w->index, step);
	unsigned int block = bits % BLOCKS;
	struct linear_op *op = &w->ops[block][w->nr_ops[block]];

	op->is_write = bits >> 32 & 1;
	op->value = (uint64_t)(w->index + 1) << 48 | (step + 1);
	/* Every word carries the value, so that a write seen half done is seen. */
	for (int i = 0; op->is_write && i < 512; i++)
		buf[i] = op->value;
	op->start_ns = clock_now_ns();
	if ((op->is_write ? pwrite(fd, buf, 4096, block * 4096)
			  : pread(fd, buf, 4096, block * 4096)) != 4096)
		w->errors++;
	op->end_ns = clock_now_ns();
	for (int i = 1; i < 512; i++)
		w->errors += buf[i] != buf[0];
	op->value = buf[0];
	w->nr_ops[block]++;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t *buf = aligned_alloc(4096, 4096);

	for (uint64_t step = 0; step < OPS_MAX && clock_now_ns() < deadline_ns; step++)
		one_op(w, step, buf);
	free(buf);
	return NULL;
}

static int check_block(struct worker *workers, unsigned int block, const struct linear_op *initial)
{
	struct linear_op *all = calloc(THREADS * OPS_MAX + 1, sizeof(*all));
	size_t n = 0;
	bool good;

	all[n++] = *initial;
	for (int t = 0; t < THREADS; t++) {
		memcpy(all + n, workers[t].ops[block], workers[t].nr_ops[block] * sizeof(*all));
		n += workers[t].nr_ops[block];
	}
	good = linear_check(all, n);
	printf("%s block_%u_is_linearizable: %zu operations\n", good ? "ok" : "not ok", block, n);
	free(all);
	return !good;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS];
	void *zeroes = aligned_alloc(4096, BLOCKS * 4096);
	struct linear_op initial = { .is_write = true };
	int bad = 0;

	fd = argc > 1 ? open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC) : -1;
	memset(zeroes, 0, BLOCKS * 4096);
	if (fd < 0 || pwrite(fd, zeroes, BLOCKS * 4096, 0) != BLOCKS * 4096) {
		perror("linear");
		return 2;
	}
	initial.end_ns = clock_now_ns();
	deadline_ns = initial.end_ns + (argc > 2 ? strtoull(argv[2], NULL, 10) : 3) * NSEC_PER_SEC;
	for (unsigned int t = 0; t < THREADS; t++) {
		workers[t].index = t;
		for (int b = 0; b < BLOCKS; b++)
			workers[t].ops[b] = calloc(OPS_MAX, sizeof(struct linear_op));
		pthread_create(&workers[t].thread, NULL, worker_main, &workers[t]);
	}
	for (int t = 0; t < THREADS; t++) {
		pthread_join(workers[t].thread, NULL);
		bad |= workers[t].errors;
	}
	if (bad)
		printf("not ok every_operation_succeeds_whole: %d did not\n", bad);
	for (unsigned int b = 0; b < BLOCKS; b++)
		bad |= check_block(workers, b, &initial);
	close(fd);
	return bad != 0;
}
