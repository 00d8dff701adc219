/*
 * host_impl.h - the inside of the host: host.c (threads around the core), host_frames.c (frames that wait for it), host_members.c (whom to call, whom to let in, what operators ask of members).
 *
 * Locks: `mu` guards the two queues, the status and the snapshot of what HELLO says, and is held for pointer moves alone; `peer_link.mu` guards one link against going down
 * while the core sends. Neither is taken inside the other. The node is the core thread's, from node_run on.
 */
#ifndef CLONELOVE_HOST_IMPL_H
#define CLONELOVE_HOST_IMPL_H

#include <pthread.h>

#include "admit.h"
#include "host.h"
#include "link.h"
#include "watch.h"

enum note_kind { NOTE_JOB, NOTE_DIRTY, NOTE_UP, NOTE_FRAME, NOTE_DRAINED, NOTE_DOWN, NOTE_ASK };

struct peer_link {
	pthread_mutex_t mu;
	struct link *link;             /* under mu; NULL: down */
	/* the core's */
	struct node_peer *peer;
	uint8_t key[FRAME_NODE_BYTES]; /* its node's */
	struct note *held, **held_end; /* frames that wait, in their order, while the node is full */
	size_t held_bytes;
	bool paused;                   /* nothing more is read from it */
	struct peer_link *next_held;   /* in host.holding */
};

#define HOST_STATE_DIR_MAX 4000u

struct ask { /* to be done on the core's thread, by somebody who waits for it */
	void (*run)(struct host *h, void *arg);
	void *arg;
	bool over, lost;               /* under host.mu; lost: the core ended before */
};

struct note { /* what the core is told */
	struct note *next;
	enum note_kind kind;
	struct node_job *job;
	struct ask *ask;
	struct peer_link *p;
	struct frame_hello hello;
	bool deep, writing;
	enum frame_type type;
	size_t len;
	const uint8_t *body;           /* a frame's: bytes, or in whole */
	struct buf whole;
	uint8_t bytes[];               /* a path; a frame's body; UP: our end's host */
};

struct host {
	struct node_host base;         /* first */
	struct node *node;
	struct tree *tree;
	struct index *index;
	struct keys *keys;
	struct node_key *key;
	struct link_hub *hub;
	struct watch *watch;
	struct admit *admit;
	char name[FRAME_NAME_MAX + 1], state_dir[HOST_STATE_DIR_MAX + 1];
	/* whom the hub calls, beside peers (configured): the core's, or before there is one the starter's */
	char **peers, **called;
	size_t peer_count, called_count;
	bool learn_address;            /* our address is not known but for its port */
	char refused[512];             /* under mu */
	pthread_t core, workers[HOST_WORKERS];
	unsigned worker_count;
	bool core_started;
	uint64_t alarm_ns, blind_ns, root_ns, unheard_say_ns, tidy_ns; /* the core's */
	long faults;                   /* that the process had when memory was given back last */
	pthread_mutex_t mu;
	pthread_cond_t told, work, room, answered;
	struct note *notes, **notes_end;
	struct note *seen, **seen_end; /* the watcher's: what it is about to tell, together */
	struct node_job *jobs, **jobs_end;
	size_t frame_bytes;
	struct peer_link *holding;     /* the core's: those that hold frames back */
	bool stopping, core_over, blind;
	struct node_status status;
	struct frame_hello hello;
	struct ignore *ignore;         /* NULL: none */
	struct published *published;   /* NULL: none */
};

/* --- host.c --- */
/* Runs something on the core's thread, and waits until it was done. -ESHUTDOWN: it never will be. */
int host_ask(struct host *h, void (*run)(struct host *h, void *arg), void *arg);

struct note *host_note_new(enum note_kind kind, const void *bytes, size_t len); /* never NULL: without memory the process ends */

/* --- host_watch.c --- */
extern const struct watch_events host_watch_events;
void host_tell_limit(struct host *h); /* are there watches enough for the tree? */

/* --- host.c --- */
void host_bad_peer(struct host *h, struct peer_link *p, const char *what); /* it is dropped for a while */

/* --- host_frames.c --- */
void host_hear_frame(struct host *h, struct note *n);
bool host_hold(struct host *h, struct note *n);          /* it waits, and is not the caller's any more */
void host_hear_held(struct host *h, unsigned *left);     /* as many as the node takes, and *left says; it says how many more then */
void host_drop_held(struct host *h, struct peer_link *p);
void host_note_free(struct host *h, struct note *n);     /* and makes room for others, if it is a frame */

/* --- host_memory.c --- */
void host_bound_memory(void);                            /* before there are threads */
void host_tidy_memory(struct host *h, uint64_t now);     /* the core's: what is not needed goes back to the kernel, now and then */

/* --- host_pause.c --- */
bool host_was_paused(const char *state_dir);             /* when its last process ended */

/* --- host_members.c --- */
int host_members_start(struct host *h, const struct host_options *o); /* the node is there, the hub too; the core's thread is not yet */
void host_members_free(struct host *h);
void host_members_changed(struct node_host *b);                       /* node_host's */
void host_members_up(struct host *h, const char *local);              /* the core's: a link is up, our end of it has this host */
/* The core's: the other member that is meant by a name, an address or the beginning of a key. -ENOENT, -ENOTUNIQ, -EINVAL: it is this one; host_members_why sets the message, for the asker. */
int host_members_find(struct host *h, const char *who, struct member *ret);
int host_members_why(int rc, const char *who);
const char *host_judge(void *user, const struct frame_hello *hello);  /* link_events', as is */
void host_note_refusal(void *user, const char *address, const char *why);

#endif
