// SPDX-License-Identifier: MIT
/*
 * What exploring costs without any check: switching an image file from state to state, against
 * copying it; taking back what a check wrote; and states that are checked inside the program.
 *
 *	explore FOLDER		a folder on tmpfs with 5 GiB free
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/rng.h"
#include "faults/journal/save.h"
#include "tools/explore/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         (1ull << 20)
#define UNIT        4096u
#define NR_SWITCHES 2000

__attribute__((noreturn)) static void die(const char *what, const struct diag *diag)
{
	fprintf(stderr, "bench/explore: %s: %s\n", what, diag ? diag->message : strerror(errno));
	exit(1);
}

/* ------------------------------------------------------------------------------ recordings */

struct recipe {
	uint64_t size;
	uint64_t full;               /* bytes of the disk that hold data before */
	unsigned int epochs, writes; /* flushes, and writes of a unit before each */
};

static struct journal *make_journal(const struct recipe *recipe)
{
	struct journal_disk disk = {
		.name = "disk", .size_bytes = recipe->size, .block_bytes = 512, .cache = true
	};
	struct diag diag = { 0 };
	struct journal *journal;
	unsigned char *base = malloc(recipe->full), *data;
	uint64_t step = 0, n = 0;

	if (!base || journal_new(&journal) || journal_add_disk(journal, &disk) ||
	    journal_own(journal, base))
		die("journal", NULL);
	for (uint64_t at = 0; at < recipe->full; at += 8)
		*(uint64_t *)(base + at) = rng_finalise(at);
	if (recipe->full &&
	    journal_add_extent(journal,
			       &(struct journal_extent){ .len_bytes = recipe->full, .data = base }))
		die("journal", NULL);
	for (unsigned int epoch = 0; epoch < recipe->epochs; epoch++) {
		for (unsigned int i = 0; i < recipe->writes; i++, n++) {
			struct journal_write write = { .submit = step + 1,
						       .complete = step + 2,
						       .at = UNIT * rng_below(rng_mix(1, 2, n),
									      recipe->size / UNIT),
						       .len_bytes = UNIT,
						       .op = IO_WRITE };

			data = malloc(UNIT);
			if (!data)
				die("journal", NULL);
			memset(data, (int)n, UNIT);
			memcpy(data, &n, sizeof(n));
			write.data = data;
			step += 2;
			if (journal_own(journal, data) || journal_add_write(journal, &write))
				die("journal", NULL);
		}
		if (journal_add_flush(journal, &(struct journal_flush){ .submit = step + 1,
									.complete = step + 2 }))
			die("journal", NULL);
		step += 2;
	}
	if (journal_seal(journal, &diag))
		die("journal", &diag);
	return journal;
}

/* ------------------------------------------------------------------------------ switching */

struct shown {
	const struct presenter_ops *ops;
	struct journal *journal;
	void *presenter;
	struct crash_image image;
	struct crash *crash;
	struct explore_state state;
	uint16_t *picks;
	size_t nr_choices;
};

static void show(struct shown *s, const struct presenter_ops *ops, const struct recipe *recipe,
		 const char *folder)
{
	struct presenter_options options = { .work = folder, .unit_bytes = UNIT };
	const struct crash_choice *choices;
	struct diag diag = { 0 };

	*s = (struct shown){ .ops = ops, .journal = make_journal(recipe) };
	options.journal = s->journal;
	if (ops->open(&options, &diag, &s->presenter) ||
	    (ops->image ? ops->image(s->presenter, 0, &s->image, &diag)
			: image_map(recipe->size, &s->image)) ||
	    crash_create(s->journal, &(struct crash_options){ .unit_bytes = UNIT }, &s->image,
			 &diag, &s->crash) ||
	    /* Before the last flush has ended. */
	    crash_move(s->crash, s->journal->end_step - 1))
		die("presenter", &diag);
	s->nr_choices = crash_choices(s->crash, &choices);
	s->picks = calloc(s->nr_choices, sizeof(*s->picks));
	s->state = (struct explore_state){
		.journal = s->journal, .crash = s->crash, .picks = s->picks, .images = &s->image
	};
}

static void hide(struct shown *s)
{
	s->ops->close(s->presenter);
	if (!s->ops->image)
		image_unmap(&s->image, s->journal->disks[0].size_bytes);
	crash_free(s->crash);
	journal_free(s->journal);
	free(s->picks);
}

static uint64_t copy_file(const char *from, const char *to)
{
	uint64_t start_ns = clock_now_ns();
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	unsigned char *bytes = malloc(MIB);
	ssize_t got;

	if (in < 0 || out < 0 || !bytes)
		die(to, NULL);
	while ((got = read(in, bytes, MIB)) > 0)
		if (write(out, bytes, (size_t)got) != got)
			die(to, NULL);
	free(bytes);
	return clock_now_ns() - start_ns;
}

/* A switch: one state taken back, the next one presented. */
static void bench_switch(struct shown *s, const char *folder)
{
	uint64_t start_ns = clock_now_ns(), switch_ns, copy_ns = UINT64_MAX;
	struct diag diag = { 0 };
	char copy[PATH_MAX];

	for (uint64_t i = 0; i < NR_SWITCHES; i++) {
		for (size_t c = 0; c < s->nr_choices; c++)
			s->picks[c] = (uint16_t)(rng_mix(3, i, c) & 1);
		if (s->ops->present(s->presenter, &s->state, &diag) ||
		    s->ops->restore(s->presenter, &s->state, &diag))
			die("switch", &diag);
	}
	switch_ns = (clock_now_ns() - start_ns) / NR_SWITCHES;
	snprintf(copy, sizeof(copy), "%s/copy", folder);
	for (int i = 0; i < 3; i++) {
		uint64_t ns = copy_file(s->ops->path(s->presenter, 0), copy);

		copy_ns = ns < copy_ns ? ns : copy_ns;
		unlink(copy);
	}
	printf("switching to a state of a 1 GiB image (about %zu of %zu undecided units of 4 KiB "
	       "change): %.3f ms\n",
	       s->nr_choices / 2, s->nr_choices, (double)switch_ns / 1e6);
	printf("copying that image (best of 3): %.1f ms, %.0f times as long\n",
	       (double)copy_ns / 1e6, (double)copy_ns / (double)switch_ns);
}

/* A check that writes one byte costs a comparison of all data, or with a view nothing. */
static void bench_written(struct shown *s, uint64_t data_bytes)
{
	const char *path = s->ops->path(s->presenter, 0);
	uint64_t total_ns = 0;
	struct diag diag = { 0 };

	for (int i = 0; i <= 20; i++) {
		_cleanup_close_ int fd = -1;
		uint64_t start_ns;

		if (s->ops->present(s->presenter, &s->state, &diag))
			die("present", &diag);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (pwrite(fd, "x", 1, 12345) != 1)
			die("write", NULL);
		close(take_fd(&fd));
		start_ns = clock_now_ns();
		if (s->ops->restore(s->presenter, &s->state, &diag))
			die("restore", &diag);
		/* The first time the second image is made. */
		if (i)
			total_ns += clock_now_ns() - start_ns;
	}
	printf("taking back what a check wrote to an image with %llu MiB of data, --present %s: "
	       "%.3f ms\n",
	       (unsigned long long)(data_bytes / MIB), s->ops->name, (double)total_ns / 20 / 1e6);
}

/* ------------------------------------------------------------------------------ in the program */

struct inside {
	struct crash_image images[8];
	uint64_t size;
};

struct reader {
	unsigned char *bytes;
	uint64_t sum;
};

static int read_unit(void *ctx, uint16_t disk, uint64_t at, const unsigned char *data, uint32_t len)
{
	struct reader *reader = ctx;

	(void)disk;
	(void)len;
	reader->sum += data ? data[0] : at;
	return 0;
}

/* Looks at what differs, which is the least that a check can do. */
static int inside_check(void *ctx, unsigned int worker, const struct explore_state *state,
			struct explore_result *ret_result)
{
	struct reader reader = { 0 };

	(void)ctx;
	(void)worker;
	crash_put(state->crash, state->picks, read_unit, &reader);
	ret_result->verdict = reader.sum == 12345 ? EXPLORE_FAIL : EXPLORE_OK;
	return 0;
}

static int inside_image(void *ctx, unsigned int worker, uint16_t disk,
			struct crash_image *ret_image)
{
	struct inside *inside = ctx;
	int err = image_map(inside->size, &inside->images[worker]);

	(void)disk;
	*ret_image = inside->images[worker];
	return err;
}

static void no_result(void *ctx, const struct explore_state *state,
		      const struct explore_result *result)
{
	(void)ctx;
	(void)state;
	(void)result;
}

static void no_point(void *ctx, const struct explore_point *point)
{
	(void)ctx;
	(void)point;
}

static void explore_inside(const struct journal *journal, const struct strategy *strategy,
			   unsigned int jobs)
{
	struct inside inside = { .size = journal->disks[0].size_bytes };
	const struct explore_options options = { .journal = journal,
						 .crash.unit_bytes = UNIT,
						 .strategies = strategy,
						 .nr_strategies = 1,
						 .nr_shards = 1,
						 .jobs = jobs,
						 .check = inside_check,
						 .image = inside_image,
						 .result = no_result,
						 .point = no_point,
						 .ctx = &inside };
	struct explore_status status;
	struct explore *explore;
	struct diag diag = { 0 };

	if (explore_create(&options, &diag, &explore) || explore_run(explore, &diag))
		die("explore", &diag);
	explore_status(explore, &status);
	printf("states checked inside the program, %u worker%s: %.0f distinct/s (%llu of %llu "
	       "moments)\n",
	       jobs, jobs == 1 ? "" : "s",
	       (double)status.distinct / ((double)status.elapsed_ns / 1e9),
	       (unsigned long long)status.distinct, (unsigned long long)status.nr_points);
	explore_free(explore);
	for (unsigned int i = 0; i <= jobs; i++)
		image_unmap(&inside.images[i], inside.size);
}

static void bench_inside(unsigned int jobs)
{
	static const struct recipe recipe = { .size = 64 * MIB, .epochs = 100, .writes = 64 };
	static const struct strategy random = { .kind = STRATEGY_RANDOM, .count = 300 };
	struct journal *journal = make_journal(&recipe);

	explore_inside(journal, &random, jobs);
	journal_free(journal);
}

/* ------------------------------------------------------------------------------ a million writes
 */

#define NR_EPOCHS 10000u
#define NR_WRITES 100u /* of each */

/* All contents are parts of one, so that only the file is large. */
static void record_million(const char *path)
{
	const uint64_t nr = (uint64_t)NR_EPOCHS * NR_WRITES, len = nr * 8 + UNIT;
	const struct journal_disk disk = {
		.name = "disk", .size_bytes = 1024 * MIB, .block_bytes = 512, .cache = true
	};
	unsigned char *pool = malloc(len);
	struct journal *journal;
	struct diag diag = { 0 };
	uint64_t step = 0;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || !pool || journal_new(&journal) || journal_add_disk(journal, &disk))
		die(path, NULL);
	for (uint64_t at = 0; at < len; at += 8)
		*(uint64_t *)(pool + at) = rng_finalise(at);
	for (uint64_t n = 0; n < nr; n++, step += 2) {
		const struct journal_write write = { .submit = step + 1,
						     .complete = step + 2,
						     .at = UNIT * rng_below(rng_mix(1, 2, n),
									    disk.size_bytes / UNIT),
						     .len_bytes = UNIT,
						     .data = pool + n * 8,
						     .op = IO_WRITE };
		struct journal_flush flush = { .submit = step + 3, .complete = step + 4 };

		if (journal_add_write(journal, &write))
			die("journal", NULL);
		if (n % NR_WRITES == NR_WRITES - 1) {
			if (journal_add_flush(journal, &flush))
				die("journal", NULL);
			step += 2;
		}
	}
	if (journal_seal(journal, &diag) || journal_save(journal, 1, fd, &diag))
		die(path, &diag);
	close(fd);
	journal_free(journal);
	free(pool);
}

/* Of this process, without files and images that are mapped, in MiB. */
static double own_memory(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file) && sscanf(line, "RssAnon: %lu", &kib) != 1)
		;
	if (file)
		fclose(file);
	return (double)kib / 1024;
}

static void explore_million(const char *path)
{
	static const struct strategy random = { .kind = STRATEGY_RANDOM, .count = 20 };
	uint64_t start_ns = clock_now_ns();
	struct journal *journal;
	struct diag diag = { 0 };
	double seconds, opened;

	if (journal_open(path, &diag, &journal))
		die(path, &diag);
	seconds = (double)(clock_now_ns() - start_ns) / 1e9;
	opened = own_memory();
	printf("a recording of %zu writes and %.1f GiB is open after %.1f s and takes %.0f MiB\n",
	       journal->nr_writes, (double)journal->nr_writes * UNIT / (double)(1024 * MIB),
	       seconds, opened);
	explore_inside(journal, &random, 2);
	printf("  and %.0f MiB when all its moments have been explored\n", own_memory());
	journal_free(journal);
}

/* Each in a process of its own, whose memory is nothing else's. */
static void in_process(void (*what)(const char *path), const char *path)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		what(path);
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		die("a million writes", NULL);
}

static void bench_million(const char *folder)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/million.rec", folder);
	in_process(record_million, path);
	in_process(explore_million, path);
	unlink(path);
}

int main(int argc, char **argv)
{
	static const struct recipe full = {
		.size = 1024 * MIB, .full = 1024 * MIB, .epochs = 2, .writes = 64
	};
	static const struct recipe small = {
		.size = 1024 * MIB, .full = 64 * MIB, .epochs = 2, .writes = 64
	};
	struct shown shown;
	bool served;

	if (argc != 2)
		die("wanted", &(struct diag){ .message = "explore FOLDER" });
	served = presenter_fuse.probe() == 0;
	show(&shown, &presenter_file, &full, argv[1]);
	bench_switch(&shown, argv[1]);
	bench_written(&shown, full.full);
	hide(&shown);
	show(&shown, &presenter_file, &small, argv[1]);
	bench_written(&shown, small.full);
	hide(&shown);
	if (served) {
		show(&shown, &presenter_fuse, &full, argv[1]);
		bench_written(&shown, full.full);
		hide(&shown);
	}
	bench_inside(1);
	bench_inside(2);
	bench_million(argv[1]);
	return 0;
}
