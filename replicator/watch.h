/*
 * watch.h - which paths of a tree may have changed, by inotify(7).
 *
 * A watch says only that something may have happened to a path; what, is for the owner to see. It never says too little: a directory is told
 * of, whole, once it and all below are watched, and when the kernel lost events, when there
 * are not enough watches, or when the tree itself is gone, that is said, and the owner scans (DESIGN.md, "From disk to cluster").
 *
 * The corner (`.clonesync`) is not watched. Directories on other file systems are not entered. Symlinks are never followed.
 *
 * Threads: one of its own reads the kernel's queue, and calls the events, one at a time, with no lock held. They should only take a note: while they
 * run, the kernel's queue fills.
 */
#ifndef CLONELOVE_WATCH_H
#define CLONELOVE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watch;

struct watch_events {
	/* path (a view, not NUL-terminated; len 0: the root) may have changed; deep: so may everything below. writing: it is being written, and a close
	 * will follow. */
	void (*dirty)(void *user, const char *path, size_t len, bool deep, bool writing);
	/* Events were lost: everything may have changed. */
	void (*lost)(void *user);
	/* A directory could not be watched, for want of watches (limit: fs.inotify.max_user_watches) or memory: what happens in it and below is not seen
	 * until watch_again. Said once for each directory. */
	void (*blind)(void *user, const char *path, size_t len, int rc);
	/* The root is gone, moved or unmounted. Nothing more follows. */
	void (*gone)(void *user);
	/* All that was in the kernel's queue a moment ago was told: both ends of a move, as a rule. NULL: nobody asks. */
	void (*over)(void *user);
};

struct watch_options {
	const char *dir;
	uint64_t most_watches;             /* 0 = what the system allows */
	const struct watch_events *events;
	void *user;
};

/*
 * Returns once every directory that was there is watched or said to be blind; from then on no change goes unsaid. Events may come before it returns.
 * 0; -EMFILE (fs.inotify.max_user_instances) and others, with a message that says what to do.
 */
int watch_start(const struct watch_options *o, struct watch **ret);
void watch_stop(struct watch *w);               /* NULL is fine */
uint64_t watch_count(struct watch *w);          /* directories watched */
uint64_t watch_blind_count(struct watch *w);    /* those that are not, and should be */
/* Tries the blind ones once more (their paths become dirty where it works). */
void watch_again(struct watch *w);

/* The system's limit, for the message that tells the operator how to raise it; 0 where it cannot be read. */
uint64_t watch_limit(void);

#endif
