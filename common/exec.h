/*
 * exec.h - where background work runs: lanes of threads, or a simulation's
 * scheduler. A job is embedded in its owner, queued at most once at a time;
 * run() is called without any lock held and may queue the job again or free
 * its owner.
 */
#ifndef CLONELOVE_EXEC_H
#define CLONELOVE_EXEC_H

#include <stdint.h>

enum exec_lane {
	EXEC_SYNC,  /* fdatasync of the local log, nothing else: one thread */
	EXEC_WORK,  /* compression, checkpoints, disk reads: several threads */
	EXEC_REPLY, /* answers to parked requests: short, must not block: two threads */
	EXEC_FILES, /* files of the cache directory, put in order behind everybody's back: as slow as the disk, so nothing else waits here: one thread */
	EXEC_LANES
};

struct job {
	void (*run)(struct job *j);
	/* private to the executor */
	struct job *next;
	uint64_t at_boot_ns;
};

struct exec {
	void (*submit)(struct exec *x, enum exec_lane lane, struct job *j);
	/* Runs j on `lane` once boot time reaches at_boot_ns. Cannot be withdrawn: owners keep the job alive
	 * until it ran (exec_stop runs what is left at once). */
	void (*submit_at)(struct exec *x, enum exec_lane lane, uint64_t at_boot_ns, struct job *j);
	/* For calls that block until jobs or requests got somewhere (open, close): lets others run. Threads: sleeps a millisecond or
	 * so; a simulation runs a step of its world. No lock may be held. */
	void (*idle)(struct exec *x);
};

/*
 * Real threads (work_threads >= 1 for EXEC_WORK). exec_threads_stop runs all
 * that is queued (timed jobs at once), including what those jobs queue, then
 * joins the threads and frees x. Returns 0 or -errno.
 */
int exec_threads_start(unsigned work_threads, struct exec **ret);
void exec_threads_stop(struct exec *x);

#endif
