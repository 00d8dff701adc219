/*
 * node.h - the core of a member: owns the index and every decision (DESIGN.md).
 *
 * A state machine. Everything in here is called on one thread, the core's; nothing waits. What has to wait is a job: its run() looks at tree and index (a read
 * transaction) on any thread and changes no other state, its done() is called on the core afterwards. The host gives the node threads, connections and time;
 * the simulation gives it a world of its own.
 *
 * Order matters nowhere but in one place: of the jobs that change the tree or look what changed (examining, applying) at most one is under way at a time, and
 * the intentions of applying are in the index before it runs. So what a record says of the disk is true, or known to be in doubt, at every moment, also after a
 * crash.
 *
 * Not in here yet: content inside announcements of others than the maker.
 */
#ifndef CLONELOVE_NODE_H
#define CLONELOVE_NODE_H

#include <stdatomic.h>

#include "env.h"
#include "frame.h"
#include "ignore.h"
#include "index.h"
#include "members.h"
#include "trash.h"
#include "tree.h"

#define NODE_MISSING_PERCENT 50u
#define NODE_MISSING_MOST 100u

struct node;
struct node_peer;

struct node_job {
	void (*run)(struct node_job *j);   /* anywhere */
	void (*done)(struct node_job *j);  /* on the core; frees the job */
	void (*drop)(struct node_job *j);  /* instead of done, before node_free: frees the job */
	struct node_job *next;             /* the host's */
};

/*
 * Bytes of the published copy of a path (published.h), which may be anything. The host's from node_host.published on until it calls j.done, on the core, once what came of it is set; j.run is
 * none.
 */
struct node_published {
	struct node_job j;
	const char *path;
	uint64_t offset;
	uint32_t length;
	int rc;                            /* 0, or why there is nothing: any error */
	uint8_t *bytes;                    /* malloc'd, the core's; NULL where rc is not 0 */
	size_t len;                        /* of them: fewer than length where it ends before */
};
enum node_rot { NODE_ROT_FOUND, NODE_ROT_RESTORED, NODE_ROT_KEPT /* no member has it: it stays as it is */ };

struct node_host {
	/* Runs j->run, then calls j->done on the core; in any order. */
	void (*submit)(struct node_host *h, struct node_job *j);
	/* Whole frames to a peer; b is empty afterwards. An error is followed by node_down. */
	int (*send)(struct node_host *h, void *link, struct buf *b);
	size_t (*queued)(struct node_host *h, void *link);  /* bytes not yet sent; node_drained when they are */
	void (*close)(struct node_host *h, void *link, const char *why); /* node_down follows, not before this returns */
	/* Calls node_tick at this boot time, or earlier. */
	void (*wake_at)(struct node_host *h, uint64_t boot_ns);
	/* Who belongs to the cluster has changed (node_members): whom to call, whom to let in. */
	void (*members)(struct node_host *h);
	/* What a path was to have is held by nobody: it was given up, and what was there before is said again. For operators. */
	void (*lost)(struct node_host *h, const char *path);
	/* Gets bytes of the published copy; j.done is called later, never before this returns. NULL: there is no such copy. */
	void (*published)(struct node_host *h, struct node_published *g);
	/* What became of a content that changed with nobody's doing. For operators. */
	void (*rot)(struct node_host *h, const char *path, enum node_rot what);
};

#define NODE_CONTEXT_KEEP 256u
#define NODE_KNOWN_KEEP 64u
#define NODE_SCRUB_RATE (4u << 20)
#define NODE_SCRUB_EVERY_NS (7 * 86400 * 1000000000ull)
#define NODE_TOMBS_KEEP_NS (30 * 86400 * 1000000000ull)

struct node_options {
	struct node_host *host;            /* all outlive the node */
	struct env *env;
	struct tree *tree;
	struct index *index;
	bool new_index;                    /* it was made just now */
	uint8_t node[FRAME_NODE_BYTES];    /* our key */
	uint8_t boot[16];                  /* other after each boot of the machine */
	const char *name;                  /* ours, for operators; NULL = none. Outlives the node, as does */
	const char *address;               /* where others call us, HOST:PORT; NULL or "" = nowhere, or not known yet (node_address) */
	unsigned peers;                    /* how many others the configuration names: so many there are, until one was met */
	unsigned missing_percent;          /* 0 = NODE_MISSING_PERCENT of the tree, missing at once, halt the node; over 100: never */
	uint64_t missing_most;             /* 0 = NODE_MISSING_MOST; so many may be missing in any case */
	size_t context_keep;               /* so many elements of the context are no reason to cut it; 0 = NODE_CONTEXT_KEEP */
	size_t known_keep;                 /* the same of a version's vector; 0 = NODE_KNOWN_KEEP */
	uint64_t tombs_keep_ns;            /* a deletion is not forgotten before it is as old; 0 = NODE_TOMBS_KEEP_NS */
	uint64_t trash_keep_ns;            /* 0 = TRASH_KEEP_NS; by the trash's clock (trash.h) */
	uint64_t trash_most_bytes;         /* 0 = no limit */
	uint64_t limit_rate;               /* bytes of contents that are sent a second, to all peers together (rate.h); 0 = no limit */
	uint64_t hash_apart;               /* files of so many bytes are read by jobs of their own; 0 = 8 MiB */
	uint64_t scrub_rate;               /* bytes a second that are read again, to see whether they are what they were (DESIGN.md, "Rot"); 0 = only when asked */
	uint64_t scrub_every_ns;           /* from one pass's beginning to the next's, at the least; 0 = NODE_SCRUB_EVERY_NS */
	const struct ignore *ignore;       /* paths that are left alone (DESIGN.md, "Ignored paths"); NULL = none. Outlives the node */
	size_t inline_most;                /* bytes of announced contents kept until they are applied; 0 = 32 MiB */
	unsigned batch;                    /* paths that are put in place by one job; 0 = 256, which is the most */
	size_t want_keep;                  /* paths that are wanted and kept by path, of each kind: the others are looked up in the index; 0 = 65,536 */
	unsigned fetch_most;               /* files that are fetched at a time, small ones and others; 0 = as fetch.c has it */
};

/*
 * Prepares index and tree (blocks; not to be called on the core). ERR_CORRUPT: the index is to be thrown away. -EKEYREJECTED: the cluster has forgotten this key:
 * it is to join as new, with another. Nothing is done before node_run.
 * From node_start on the watcher must be running: changes before node_run are found by its scan.
 */
int node_start(const struct node_options *o, struct node **ret);
void node_run(struct node *n);
/* Starts nothing any more, and ends the reading of big files; true once nothing is under way. To be asked again after each done(). */
bool node_stop(struct node *n);
/* The last thing: the index is marked as left in order. After node_stop said so. What was not looked at yet is found by the next start's scan. Blocks. */
int node_finish(struct node *n);
/* Every job was dropped or is done, every link is down or is not heard of again. NULL is fine. */
void node_free(struct node *n);

/* --- what the watcher says --- */
/* writing: somebody writes to it, and its close will be told: it is looked at then, or after a while. */
void node_dirty(struct node *n, const char *path, size_t len, bool deep, bool writing);

/* --- rot (DESIGN.md) --- */
struct node_scrub_pass { uint64_t began_us, ended_us, files, bytes, skipped, rotten; }; /* wall clock; skipped: somebody wrote to it, or it changed: it was looked at for that */
struct node_scrub_status {
	bool running;              /* `now` is what it has read yet */
	uint64_t rate;             /* 0: only when asked */
	struct node_scrub_pass now, last; /* last.ended_us 0: none has ended yet */
	uint64_t found, restored;  /* rotten files, since the start */
};
/* A pass begins now, unless one is under way. */
void node_scrub(struct node *n);
void node_scrub_status(const struct node *n, struct node_scrub_status *ret);

/* --- connections --- */
void node_hello(struct node *n, struct frame_hello *ret);  /* what we say of ourselves, beside versions, key and names */
/* -EMFILE: as many are up as can be; -EKEYREJECTED: the peer was forgotten, or we were. */
int node_up(struct node *n, void *link, const struct frame_hello *h, struct node_peer **ret);
int node_frame(struct node *n, struct node_peer *p, const struct frame *f); /* an error ends the link */
/*
 * More contents came with their announcements than are applied at this rate: the frames of peers, in their order, had better wait. To be asked before each frame; false at
 * the latest when nothing is being applied or looked at. Who gives frames all the same loses nothing: what there is no room for is fetched.
 */
bool node_full(struct node *n);
void node_drained(struct node *n, struct node_peer *p);
void node_down(struct node *n, struct node_peer *p);       /* p is gone */

/*
 * After a halt for what is missing (status.missing): it goes on. deleted: somebody did delete that, and the others are told so. Else what is missing is wanted again, from the
 * peers. The word is about the paths that were counted at the halt, and nothing else; a process that ends before all of them were dealt with forgets it, and its successor asks anew.
 * Blocks for one look at the root. -EALREADY: it is not halted; -ESTALE: the tree itself is not there: it takes a new start; -ESRCH: that is not the question (status.question).
 */
int node_go_on(struct node *n, uint32_t question, bool deleted);

void node_tick(struct node *n);

/*
 * Between these two the node takes in what it is told, and starts nothing: many events, frames and ends of jobs are then answered at once. It may be told anything
 * there but node_finish and node_free. A turn should be short: nobody is served meanwhile.
 */
void node_turn_begin(struct node *n);
void node_turn_end(struct node *n);

/* --- members (members.h; DESIGN.md, "Members") --- */
/* Ours among them. Valid until the next call that is not const. */
const struct members *node_members(const struct node *n);
struct node_peer_status { bool compared, joining, scanning; int64_t clock_us; uint64_t get_us; }; /* get_us: what it takes to answer for a piece of a file; 0: none was asked for */
bool node_peer_status(const struct node *n, const uint8_t *node, struct node_peer_status *ret); /* false: it is not up */
/* Others call us there from now on; the text is copied. */
int node_address(struct node *n, const char *address);
/* Ends a membership, for good, and everywhere once it was heard of. Durable when it returns (blocks for the disk). -ENOENT: no such member; -EINVAL: it is this node. */
int node_forget(struct node *n, const uint8_t *node);

/* --- in sync, as a cut (DESIGN.md, "In sync") --- */
struct node_cut;
enum node_cut_phase {
	NODE_CUT_WAITING,          /* for our scan, for versions, for members to come up */
	NODE_CUT_ASKED,            /* for answers */
	NODE_CUT_COVERING,         /* for all that they know */
	NODE_CUT_HOLDING           /* for it to be on the disk */
};
/* Called on the core, once, as the last thing of a cut. nodes: whose knowledge it covers. */
typedef void (*node_cut_end)(void *user, const uint8_t (*nodes)[FRAME_NODE_BYTES], unsigned count);
/* Ends (end is called) when all that reachable members knew at this call is on our disk, or what is later; perhaps before this returns. `end` drops no cuts. -EBUSY: too many are under way. */
int node_cut_begin(struct node *n, node_cut_end end, void *user, struct node_cut **ret);
void node_cut_drop(struct node *n, struct node_cut *c);    /* before it has ended; node_free drops those that are left */
enum node_cut_phase node_cut_phase(const struct node *n, const struct node_cut *c);

/* --- what differs from a peer (DESIGN.md, "What differs") --- */
enum node_differs {
	NODE_MISSING_HERE, NODE_MISSING_THERE,   /* the other has it, and this side never had, or has only what was before it was deleted */
	NODE_DELETED_HERE, NODE_DELETED_THERE,   /* and the other does not know yet */
	NODE_NEWER_HERE, NODE_NEWER_THERE,
	NODE_CONFLICTING,                        /* neither knows of the other's change */
	NODE_TO_COME_HERE, NODE_TO_COME_THERE,   /* both know the same version; it is not on the disk yet */
	NODE_DIFFERS
};
extern const char *const node_differs_names[NODE_DIFFERS]; /* "missing here", ... */
struct node_difference { const char *path; size_t len; enum node_differs how; };
/* differing: paths of which the two know other things. here, there: paths that are not on the disk yet; all of them 0: the two are identical. */
struct node_diff_result { uint64_t differing, here, there; };
struct node_diff;
typedef void (*node_diff_each)(void *user, const struct node_difference *d); /* a view; in no order */
typedef void (*node_diff_end)(void *user, int rc, const struct node_diff_result *r); /* once, the last thing. -ECONNRESET: the peer went down before */
/*
 * Our index against that of this peer, as both are while it goes on; its records become known here with that, as when it comes up. Of what the peer alone lacks on its disk, paths are
 * told where its index differs nearby; the number is whole. end may be called before this returns, but not where it fails. -ENOTCONN: it is not up; -EAGAIN: we
 * still look at our own tree, or join; -ESTALE: we halted.
 */
int node_diff_begin(struct node *n, const uint8_t *key, node_diff_each each, node_diff_end end, void *user, struct node_diff **ret);
void node_diff_drop(struct node *n, struct node_diff *d); /* before it has ended; node_free drops those that are left */

struct node_status {
	uint64_t dirty, wanted, records, peers, compared; /* compared: peers whose index was compared with ours since they came up */
	uint64_t wanted_bytes;     /* the sizes of the files that are wanted */
	uint64_t fetched_bytes;    /* contents that came from peers since the start, announced ones too */
	uint64_t published_bytes;  /* contents that were got from the published copy, and were right */
	uint64_t alerts;           /* twins seen, and the like */
	uint64_t context;          /* elements of the context */
	uint64_t tombs_gone;       /* deletions that were forgotten since the start */
	uint64_t members;          /* others that there are: known, or else configured */
	bool forgotten;            /* the cluster has forgotten this node: it talks to nobody any more */
	bool untimed;              /* directories do not have their times yet */
	bool joining;              /* what was found here has no versions yet */
	bool scanning;             /* the scan after the start is not over */
	bool halted;               /* the tree is not there any more, or too much of it is missing */
	uint64_t missing, missing_of; /* halted for what is missing: so many paths, of so many; else 0 */
	uint32_t question;         /* which to answer with node_go_on, then; else 0 */
	bool working;              /* a job is under way, or something waits for one */
	uint64_t unheard_s;        /* so long something waits to be decided (what nobody seems to hold, what becomes of a directory) for a member that joins, or scans after its start; else 0 */
	int error;                 /* the last error of disk or index, until what failed has been done; 0 */
	struct sum root;
	uint64_t trash_items, trash_bytes; /* when it was last tended */
	struct node_scrub_status scrub;
	uint64_t rotten;           /* files whose content changed with nobody's doing, not restored yet */
	bool trash_stuck;          /* something is to go to the trash, and does not get there (a full disk) */
};
void node_status(struct node *n, struct node_status *ret);
/* Nothing is under way or waiting, nothing dirty; what is wanted cannot be had now. */
bool node_idle(const struct node *n);

#endif
