/* SPDX-License-Identifier: MIT */
/*
 * `faultblk explore`: what its parts and the commands built on it share.
 *
 *	cmd/explore.c      options -> struct explore_job
 *	job.c      a job: recording, presenters, faults/explore/explore.h, results, exit code
 *	words.c    options that are one of a list; how a check ended, in words
 *	shard.c    which share of the states is done
 *	check.c    recovery and check as commands: environment, time limit, output, verdict
 *	host.c     what of the machine a check may find used up
 *	file.c     a state as image files
 *	fuse.c     a state as files that are served from a view (state_file.h)
 *	device.c   a state as block devices (state_disk.h)
 *	view.c     the view that the last two show
 *	results.c  the results file: writing it, and reading it again to go on
 *	reduce.c   findings repeated, shrunk, named and written down
 *	missing.c  what a finding that lost nothing misses: the write that came too late
 *	progress.c signals and the status line
 *	summary.c  what it came to, in words
 */
#ifndef TOOLS_EXPLORE_EXPLORE_H
#define TOOLS_EXPLORE_EXPLORE_H

#include "faults/explore/explore.h"

#define EXIT_NOT_DONE 2 /* of explore: what is EXIT_FAILED elsewhere */

/* ------------------------------------------------------------------------------ presenters */

/* What one presenter is made for. All pointers outlive it. */
struct presenter_options {
	const struct journal *journal;
	unsigned int worker; /* 0-based: names of devices and folders */
	const char *work;    /* folder of this worker, on tmpfs, made and removed by the job */
	uint32_t unit_bytes; /* settled */
	bool lazy;           /* states will be shown that are decided when they are read */
};

/*
 * How a state is shown to commands: a presenter belongs to one worker and is used by one thread at
 * a time. Every call returns 0 or -errno with words in @diag; an error ends the exploration.
 *
 *	open, image (each disk), { present, [put ...], [settle], restore } ..., close
 *
 * @self is what open() returned. Members that may be NULL say so.
 */
struct presenter_ops {
	const char *name; /* of --present */
	/* What the command says that shows a finding again: its state has been decided then, and
	 * whatever shows it with less asked of the machine will do. */
	const char *again;
	bool views; /* can show a state that is decided when it is read (LAZY) */
	/* Can this machine do it? Asked once, before anything else and before any thread is
	 * started: it may change the process. Returns an exit code of the program (cli/tool.h) after a
	 * message, or 0. NULL: always. */
	int (*probe)(void);
	int (*open)(const struct presenter_options *options, struct diag *diag, void **ret_self);
	/* Memory for the image that the worker's cursor keeps. NULL: any memory will do. It stays
	 * the presenter's until close(). */
	int (*image)(void *self, uint16_t disk, struct crash_image *ret_image, struct diag *diag);
	/* The path of a disk, the same from open() to close(). */
	const char *(*path)(void *self, uint16_t disk);
	/* Show @state: its picks, or for LAZY its view. It may be a state of another crash point than
	 * the last one: then state->crash has moved since. */
	int (*present)(void *self, const struct explore_state *state, struct diag *diag);
	/* Before the commands: @data over what is shown, as if it were theirs; NULL: zeroes. */
	int (*put)(void *self, uint16_t disk, uint64_t at, const unsigned char *data,
		   uint64_t len_bytes, struct diag *diag);
	/* Recovery is over, the check comes: what was written must be what is read, nothing cached.
	 * NULL: it is so anyway. */
	int (*settle)(void *self, const struct explore_state *state, struct diag *diag);
	/* All commands have ended. Throw away what they wrote: state->images hold again what is
	 * durable and nothing else. Called after every present() that succeeded. */
	int (*restore)(void *self, const struct explore_state *state, struct diag *diag);
	void (*close)(void *self); /* NULL allowed as @self */
};

extern const struct presenter_ops presenter_file, presenter_fuse, presenter_device;

/* By name; -EINVAL in words: what there is, the nearest. */
int presenter_find(const char *name, struct diag *diag, const struct presenter_ops **ret_ops);

/* ------------------------------------------------------------------------------ a job */

/* As the options of `faultblk explore` say it; texts are borrowed. */
struct explore_job {
	const char *recording, *check, *recovery;
	const char *present, *strategy, *points, *atomic;
	const char *from, *to; /* a step or the text of a mark */
	uint64_t sample;
	uint64_t unit_bytes;
	bool illegal, by_content;
	uint64_t jobs; /* 0: one for each CPU */
	uint64_t timeout_ns;
	uint64_t seed;
	const char *shard; /* "i/n", 1-based; NULL: SLURM_ARRAY_TASK_ID and _COUNT, or 1/1 */
	const char *results;
	bool resume, force;
	uint64_t max_states, max_ns, max_findings;
	uint64_t shrink;   /* findings that are made small; 0: none */
	const char *state; /* "STEP:NAME": only this one */
	const char *work;  /* where images are kept; NULL: TMPDIR if it is tmpfs, or /dev/shm */
	bool quiet, json;
};

/*
 * The options of an explore_job that is member @m of the options structure @s: rows for a table of
 * cli/opt.h, without --recording.
 */
#define EXPLORE_OPTIONS(s, m)                                                                          \
	OPT_TEXT(s, m.check, "check", NULL, "COMMAND",                                                 \
		 "shell command that checks a state; exit status 0: the state is good"),               \
		OPT_TEXT(s, m.recovery, "recovery", NULL, "COMMAND",                                   \
			 "shell command that runs before the check, such as a repair"),                \
		OPT_TEXT(s, m.present, "present", "file", "KIND",                                      \
			 "present a state as a file, through fuse, or as a device"),                   \
		OPT_TEXT(s, m.strategy, "strategy", EXPLORE_STRATEGIES, "LIST",                        \
			 "which states to check at a crash point"),                                    \
		OPT_TEXT(s, m.points, "points", "default", "SET",                                      \
			 "which crash points: default, completions or marks"),                         \
		OPT_TEXT(s, m.from, "from", NULL, "WHEN", "start at this mark or step"),               \
		OPT_TEXT(s, m.to, "to", NULL, "WHEN", "end at this mark or step"),                     \
		OPT_COUNT(s, m.sample, "sample", NULL, 0, UINT64_MAX,                                  \
			  "number of crash points, chosen by --seed; 0: all"),                         \
		OPT_SIZE(                                                                              \
			s, m.unit_bytes, "unit", NULL, 512, 1 << 30,                                   \
			"size of what survives or is lost as a whole; default: as recorded, else 4k"), \
		OPT_TEXT(s, m.atomic, "atomic", NULL, "WHAT",                                          \
			 "unit; write: whole writes; order: the disk keeps their order; "              \
			 "default: as recorded, else unit"),                                           \
		OPT_FLAG(s, m.illegal, "illegal",                                                      \
			 "also states that only false acknowledgements leave"),                        \
		OPT_FLAG(s, m.by_content, "by-content",                                                \
			 "check equal content once, even with different marks"),                       \
		OPT_COUNT(s, m.jobs, "jobs", NULL, 0, 1024,                                            \
			  "number of parallel checks; 0: one for each CPU"),                           \
		OPT_TIME(s, m.timeout_ns, "timeout", "60s", 1000000, UINT64_MAX,                       \
			 "time limit for recovery, and for the check"),                                \
		OPT_COUNT(s, m.seed, "seed", "1", 0, UINT64_MAX, "seed of all random choices"),        \
		OPT_TEXT(s, m.shard, "shard", NULL, "I/N",                                             \
			 "check the I-th (from 1) of N shares of the states"),                         \
		OPT_TEXT(s, m.results, "results", NULL, "FILE",                                        \
			 "write the results to FILE as JSON lines"),                                   \
		OPT_FLAG(s, m.resume, "resume", "continue the results in FILE"),                       \
		OPT_FLAG(s, m.force, "force", "replace the FILE of --results if it exists"),           \
		OPT_COUNT(s, m.max_states, "max-states", NULL, 0, UINT64_MAX,                          \
			  "stop after N checks; 0: no limit"),                                         \
		OPT_TIME(s, m.max_ns, "max-time", NULL, 0, UINT64_MAX,                                 \
			 "stop after this time; 0: no limit"),                                         \
		OPT_COUNT(s, m.max_findings, "max-findings", NULL, 0, UINT64_MAX,                      \
			  "stop after N findings; 0: no limit"),                                       \
		OPT_COUNT(s, m.shrink, "shrink", "8", 0, UINT64_MAX,                                   \
			  "shrink findings, up to N causes; 0: none"),                                 \
		OPT_TEXT(s, m.state, "state", NULL, "STEP:NAME",                                       \
			 "check only this state, and show the output of the check"),                   \
		OPT_TEXT(s, m.work, "work", NULL, "DIR", "folder for images, on a tmpfs"),             \
		OPT_FLAG(s, m.quiet, "quiet", "print only findings and errors"),                       \
		OPT_FLAG(s, m.json, "json", "print the results as JSON, one object a line")

#define EXPLORE_STRATEGIES "exhaustive:256,new,old,prefixes,drop-one,keep-one,random:100"

/*
 * Do it, messages included; returns the program's exit code: 0 nothing found, 1 findings, 2 wrong
 * options or it could not be done, 3 no ublk, 128 + signal. Blocks tool_end_signals() in
 * the calling thread; threads that the caller starts before must have them blocked, too.
 */
int explore_job_run(const struct explore_job *job);

#endif
