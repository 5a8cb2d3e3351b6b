/* SPDX-License-Identifier: MIT */
/* Inside `faultblk explore`: what its files share with each other and with nobody else. */
#ifndef TOOLS_EXPLORE_INTERNAL_H
#define TOOLS_EXPLORE_INTERNAL_H

#include "tools/cli/meter.h"
#include "tools/explore/explore.h"
#include "tools/report/report.h"

#include <limits.h>
#include <sys/types.h>

#define EXPLORE_OUTPUT_MAX 4096 /* bytes of a check's output that are kept */
#define EXPLORE_LOST_MAX   256  /* lost writes that are listed */

/* ------------------------------------------------------------------------------ commands */

struct host;

struct command_options {
	const char *text;  /* for /bin/sh -c */
	char *const *env;  /* NULL-terminated */
	const char *owner; /* "FAULTBLK_WORKER=..." in env: whoever has it is ended afterwards */
	uint64_t timeout_ns;
	int stop_fd;             /* readable: end it at once */
	bool show;               /* print its output, as it comes, instead of keeping it */
	const struct host *host; /* looked at while it runs; NULL: it is not */
};

struct command_end {
	bool timed_out;
	int status; /* of waitpid(); not if timed_out */
	uint64_t time_ns;
	const char *lack; /* what the machine lacked meanwhile, as host_lack() */
};

/* What commands printed: the first and the last of it. All zero at first. */
struct command_output {
	char head[EXPLORE_OUTPUT_MAX / 2 - 64], tail[EXPLORE_OUTPUT_MAX / 2];
	uint64_t total;
};

/*
 * Run it in a session of its own, and end whatever of it is left when its first process ends. 0;
 * -EINTR: it was ended because stop_fd became readable; -errno in words: it could not be started,
 * or does not die. The calling process must be a subreaper.
 */
int command_run(const struct command_options *options, struct command_output *output,
		struct command_end *ret_end, struct diag *diag);
/* One text, from malloc, bounded by EXPLORE_OUTPUT_MAX; NULL: nothing was printed, or no memory. */
char *command_output_text(const struct command_output *output);

/* ------------------------------------------------------------------------------ the machine */

/* Counters of the kernel; NULL: it has none such. */
struct host_files {
	const char *vmstat;      /* "oom_kill N" is in it */
	const char *const *pids; /* "max N" is in each; NULL-terminated */
};

/*
 * What commands of an exploration share with everything else on the machine, and may find used up:
 * space in @work, memory, processes. @images_bytes: so much of @work they may fill by what is theirs
 * to write to (images). @files: NULL: those of this machine. What cannot be looked at is not.
 */
int host_create(const char *work, uint64_t images_bytes, const struct host_files *files,
		struct diag *diag, struct host **ret_host);
struct host *host_free(struct host *host); /* NULL allowed; returns NULL */

/* What was seen during one command. */
struct host_seen {
	uint64_t oom_kills, refused; /* when it began */
	bool tight, full;
};

/* Before it; while it runs, and at its end, before anything is taken back. NULL as @host: nothing. */
void host_begin(const struct host *host, struct host_seen *seen);
void host_look(const struct host *host, struct host_seen *seen);
/*
 * It has ended: did the machine lack something meanwhile, so that its end says nothing of the state?
 * In words that live as long as @host, or NULL. @status: of waitpid(); @output: what it printed, of
 * its beginning and end (NULL: nothing).
 */
const char *host_lack(const struct host *host, const struct host_seen *seen, int status,
		      const char *output);

/* ------------------------------------------------------------------------------ a worker's checks
 */

struct checker_options {
	const struct journal *journal;
	const struct presenter_ops *ops;
	const char *check, *recovery; /* recovery: or NULL */
	uint64_t timeout_ns, seed;
	int stop_fd;
	bool show;
	const struct host *host; /* or NULL */
};

struct checker;

/* Has each disk a variable of its own (FAULTBLK_DEV_NAME)? 0, or -EINVAL in words. */
int checker_disks(const struct journal *journal, struct diag *diag);
/* @dir: the worker's folder. @presenter stays the caller's. Options outlive it. */
int checker_create(const struct checker_options *options, unsigned int worker, const char *dir,
		   void *presenter, struct diag *diag, struct checker **ret_checker);
struct checker *checker_free(struct checker *checker);
/* Present, recover, check, take back. As explore_options.check, with words. */
int checker_run(struct checker *checker, const struct explore_state *state,
		struct explore_result *ret_result, struct diag *diag);
/* The same with @nr writes on top of the state; those that failed are left out. */
int checker_run_with(struct checker *checker, const struct explore_state *state,
		     const struct journal_write *writes, size_t nr,
		     struct explore_result *ret_result, struct diag *diag);

/* ------------------------------------------------------------------------------ where images are
 */

#define WORK_SPARE 20 /* as many as remove_tree() opens at once, and a few */
struct workdir {
	char path[PATH_MAX];   /* empty: none */
	char where[PATH_MAX];  /* the folder that it is in; empty: neither */
	int where_fd;          /* that one, opened */
	char name[32];         /* its name there */
	int spare[WORK_SPARE]; /* closed first, so that there are enough to remove it */
	int lock_fd;           /* held while it is used: one that nobody holds was left by a kill */
};

/*
 * A folder on tmpfs, in @where or, NULL, in TMPDIR if that is tmpfs, or /dev/shm; with a folder for
 * each of @jobs workers. -EINVAL or -errno in words: no tmpfs, or less than @need_bytes free.
 */
int workdir_make(const char *where, unsigned int jobs, uint64_t need_bytes, struct diag *diag,
		 struct workdir *ret_dir);
void workdir_remove(struct workdir *dir);
/* The folder of a worker. */
void workdir_worker(const struct workdir *dir, unsigned int worker, char ret_path[PATH_MAX]);
/* Memory of the size of a disk, zeroes, in a file of its own; -errno. */
int image_map(uint64_t size_bytes, struct crash_image *ret_image);
/* NULL bytes allowed. */
void image_unmap(struct crash_image *image, uint64_t size_bytes);
/* Bytes that an image of each disk takes at most, together; UINT64_MAX where memory ran out. */
uint64_t workdir_need(const struct journal *journal);

/* ------------------------------------------------------------------------------ results */

struct results_options {
	const struct explore_job *job;
	const struct journal *journal;
	const struct crash_options *crash; /* settled */
	const struct strategy *strategies;
	size_t nr_strategies;
	const struct crash_point *points;
	size_t nr_points;
	const struct crash_select *select; /* by which they were chosen; NULL: all */
	size_t nr_all_points;              /* of its set, in the whole recording */
	unsigned int shard, nr_shards;
};

/* What came of a finding when it was repeated, see explore_reduce(). */
enum finding_repeated {
	FINDING_NOT_REPEATED,
	FINDING_FAILED, /* in the same way */
	FINDING_PASSED, /* or in another one: the check is not deterministic */
};

/* A state that is a finding, as it is remembered until the end. */
struct finding {
	size_t point_index;
	char *name; /* as it was found */
	uint64_t key;
	enum explore_verdict verdict;
	bool in_recovery; /* which so ended, and not the check */
	char *output;     /* or NULL */
	uint32_t *lost;   /* indices of writes; from explore_reduce() on of the smallest state */
	uint32_t nr_listed;
	uint64_t nr_lost, nr_found_lost;
	/* By explore_reduce(); texts are NULL where there are none. */
	enum finding_repeated repeated;
	bool shrunk;    /* nothing that is lost can be given back */
	bool reordered; /* of the smallest state from explore_reduce() on; see crash_reordered() */
	bool folded;    /* the same as another, which names it */
	size_t rank;    /* from 1 on, of those that were made small; 0: it was not */
	uint64_t shrink_runs;
	char *minimal;      /* name of the smallest state found, at the same crash point */
	char **names;       /* of each listed write */
	uint32_t missing;   /* by explore_missing(): index of a write, */
	char *missing_name; /* if it has a name */
	char *reproducer, *reproducer_state;
	/* Others that lost just the same, the first ones of them: crash points and names. */
	struct finding_same {
		size_t point_index;
		char *name;
	} * same;
	uint32_t nr_same, nr_more; /* more that are not named */
};

struct results;

/*
 * The file of job->results (none: nothing is written), or what job->resume finds there. With
 * job->json every line is also printed. -EEXIST, -EINVAL (another exploration's), -EBUSY (in use)
 * or -errno, in words.
 */
int results_open(const struct results_options *options, struct diag *diag,
		 struct results **ret_results);
struct results *results_free(struct results *results); /* NULL allowed */
/* These have the signatures of explore_options, with struct results as context. */
bool results_known(struct results *results, uint64_t key, enum explore_verdict *ret_verdict);
bool results_known_lazy(struct results *results, size_t point_index,
			struct explore_lazy_known *ret_known);
void results_state(struct results *results, const struct explore_state *state,
		   const struct explore_result *result);
void results_point(struct results *results, const struct explore_point *point);
/* Findings, grouped by what was lost: of this run and of those that it goes on from. Those with a
 * rank first, then in the order of crash points and names. */
size_t results_findings(struct results *results, struct finding **ret_findings);
/* Is it the same as one that failed again, with the same verdict and loss? That one names it from
 * now on. */
bool results_fold(struct results *results, struct finding *finding);
/* Is there one that shows it again? Not of a recording that will be gone, without a reproducer. */
bool results_has_command(const struct results *results, const struct finding *finding);
/* The command that does, in any folder of this machine; from malloc, NULL: there is none, it is too
 * long for a command line, or no memory. */
char *results_command(const struct results *results, const struct finding *finding);
void results_finding(struct results *results, const struct finding *finding, size_t n);
void results_end(struct results *results, const struct explore_status *status, const char *stopped);
/* 0, or the first -errno of writing: the file is not complete. */
int results_error(const struct results *results);

/* ------------------------------------------------------------------------------ small findings */

struct reduce_options {
	struct crash *crash;              /* before the first finding's crash point; is moved on */
	const struct crash_image *images; /* its images */
	struct checker *checker;
	const struct crash_point *points;
	uint64_t timeout_ns; /* of a check */
	/* Reproducers: this and ".findN.rec"; one that is there is replaced if it is a recording,
	 * but not the one that is explored. NULL: none. */
	const char *results, *recording;
	uint64_t max; /* causes: findings that come down to different losses */
};

/*
 * Repeat findings, make what they lost small, name it, write reproducers. 0; -EINTR: stopped by a
 * signal; -errno in words. In both cases findings are as far as they came, and can be told.
 */
int explore_reduce(const struct reduce_options *options, struct results *results,
		   struct diag *diag);
/*
 * Of a finding whose smallest state, at the crash point where the cursor stands, lost nothing: the first
 * write submitted later with which, and all before it, the check passes; it came too late. Found by
 * doubling and halving, so with a check that passes once and fails again later it is one such write
 * of several. There may be none. 0, -EINTR, -errno in words.
 */
int explore_missing(const struct reduce_options *options, uint64_t until_ns,
		    struct finding *finding, struct diag *diag);
struct summary {
	struct explore_status status;  /* at the end */
	unsigned int shard, nr_shards; /* 0-based */
	bool illegal, common;          /* which states were explored, see job.c */
	struct report_model model;
	size_t nr_findings;   /* sets of lost writes, and orders of the others */
	uint64_t nr_left_out; /* crash points, by --from, --to and --sample */
};

/* What the states of an exploration are states of. */
struct report_model explore_model(const struct journal *journal,
				  const struct crash_options *options);
const char *explore_atomic_name(enum crash_atomic atomic);
/* Requests to discard. */
uint64_t explore_discards(const struct journal *journal);

/* To stdout: what all of it came to. */
void explore_print_summary(const struct summary *summary);
/* Text for people: what became of a finding. */
void explore_print_finding(const struct results *results, const struct journal *journal,
			   const struct crash_point *point, const struct finding *finding,
			   size_t n);

/* ------------------------------------------------------------------------------ words */

/* The place of @word in @words, which NULL ends; -EINVAL in words that name --@option. */
int explore_word(const char *option, const char *word, const char *const *words, struct diag *diag);
/* "check" or "recovery". */
const char *explore_who_ended(const struct explore_result *result);
/* "exits with 1", "did not end in time", ...; @text is room for it. */
const char *explore_how_ended(const struct explore_result *result, char *text, size_t size);
/* Of the first check, that could not be run: it is the command that is wrong, and not the states.
 * Of the first that was not judged, as the machine lacks something: so will the others. -errno. */
int explore_cannot_run(const struct explore_result *result, struct diag *diag);
int explore_lacks(const struct explore_result *result, struct diag *diag);
#define EXPLORE_LACK_HINT "give fewer --jobs, or another tmpfs with --work DIR"

/* ------------------------------------------------------------------------------ shares */

/*
 * @text: "i/n", 1-based, n at most RESULTS_SHARDS_MAX; NULL: what the environment says of a Slurm
 * array, or all. *ret_shard from 0. -EINVAL in words.
 */
int explore_shard(const char *text, struct diag *diag, unsigned int *ret_shard,
		  unsigned int *ret_nr);

/* ------------------------------------------------------------------------------ progress */

struct progress;

/*
 * A thread that prints how far @explore is and, on a signal, stops it and makes *stop_fd readable.
 * Signals are blocked in the caller. @job: its limits, and whether anything is printed. @explore may
 * be NULL: signals only.
 */
int progress_start(struct explore *explore, const struct explore_job *job, int stop_fd,
		   struct diag *diag, struct progress **ret_progress);
/* Ends it; returns the signal that stopped the exploration, or 0. */
int progress_stop(struct progress *progress);
/*
 * Around what another thread prints: the status line is wiped, and none comes in between. NULL
 * allowed.
 */
void progress_pause(struct progress *progress);
void progress_resume(struct progress *progress);

#define PROGRESS_UNKNOWN METER_UNKNOWN
/*
 * How long it will go on: as long as the crash points that are left take if they are like those that are
 * done, or as @max_states or @max_ns (0: none) let it. PROGRESS_UNKNOWN: no crash point is done yet, and
 * there is no limit.
 */
uint64_t progress_left_ns(const struct explore_status *status, double rate, uint64_t max_states,
			  uint64_t max_ns);
#define PROGRESS_LINE 512
/* As much of it as goes into @columns, the most important first. @line is returned. */
const char *progress_line(const struct explore_status *status, double rate, uint64_t left_ns,
			  size_t columns, char line[PROGRESS_LINE]);

#endif
