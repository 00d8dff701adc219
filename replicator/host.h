/*
 * host.h - the core on a real machine: threads, connections, the watcher (DESIGN.md, "Processes and threads").
 *
 * One host is one tree. Its threads: the core's; some workers for jobs; the hub's (link.h); the watcher's (watch.h). What they have to say to the core goes
 * into its queue; the core never waits for them. A hub that brings more than the core takes waits: peers then feel it.
 *
 * host_start blocks until the tree is watched and recognised; the scan goes on afterwards. All other calls may come from any thread; none is under way when
 * host_stop is called.
 */
#ifndef CLONELOVE_HOST_H
#define CLONELOVE_HOST_H

#include "env.h"
#include "keys.h"
#include "node.h"

#define HOST_WORKERS 4u
#define HOST_PEERS_MAX 63u

struct host;
struct published;

struct host_options {
	const char *dir;               /* the tree */
	const char *state_dir;         /* index and the node's key; made where it is missing; not within the tree */
	const char *cluster_key_file;  /* not within the tree */
	const char *listen;            /* HOST:PORT; NULL = only call */
	const char *const *peers;      /* HOST:PORT of other members, one at least; it learns the rest from them. None: the first of its cluster */
	unsigned peer_count;           /* <= HOST_PEERS_MAX */
	const char *name;              /* for operators, on every member */
	const char *address;           /* HOST:PORT at which others call; NULL = where it listens, on the address that its first connection shows */
	unsigned missing_percent;      /* so much of the tree missing at once halts it, if it is more than */
	uint64_t missing_most;         /* so many paths; 0 = as node.h has them */
	uint64_t trash_keep_ns;        /* how long the trash keeps what it has, by its own clock (trash.h); 0 = 30 days */
	uint64_t trash_most_bytes;     /* over that the oldest go earlier, but for what is younger than a day; 0 = no limit */
	uint64_t tombs_keep_ns;        /* a deletion is not forgotten before it is as old; 0 = 30 days */
	uint64_t limit_rate;           /* bytes of contents sent a second, to all together; 0 = no limit */
	bool scrub_off;                /* what is held is read again only when asked (host_scrub); else */
	uint64_t scrub_rate;           /* at so many bytes a second, once a week; 0 = as node.h has it, but where the tree is far away (tree.h) off */
	const char *ignore;            /* what is left alone: patterns (ignore.h), one a line; NULL = nothing. Other ones than last time hold from this start on */
	struct published *published;   /* a copy that contents are got from before members are asked (published.h); NULL = none. Outlives the host, which cancels it at its end */
	uint64_t index_map_bytes;      /* 0 = a terabyte: the most the index may grow to */
};

/* 0, or an error with a message (err_last). What is wrong with addresses, key file or directory is found before anything is made. ERR_CONFIG, -EKEYREJECTED (the cluster has
 * forgotten this member): trying again does not help. */
int host_start(const struct host_options *o, struct host **ret);
/* Waits for what is under way, marks the index as left in order if nothing was left undone, and ends. NULL is fine. */
void host_stop(struct host *h);
uint16_t host_port(const struct host *h);
/* Calls one more member, that was counted in peer_count or not. */
int host_call(struct host *h, const char *address);
/* As of the last time the core had done something. */
void host_status(struct host *h, struct node_status *ret);
const uint8_t *host_node(const struct host *h); /* this member's key, NODE_KEY_BYTES */
/* Every file is looked at again, as after a start. */
void host_rescan(struct host *h);
/* What is held is read again now (node_scrub). Waits for the core. -ESHUTDOWN. */
int host_scrub(struct host *h);
/* After a halt for what is missing: node_go_on, on the core. -ESHUTDOWN while it stops. */
int host_go_on(struct host *h, uint32_t question, bool deleted);
/* While paused it has no connection to anybody, and says why to who calls; changes in the tree are noted. What was going on ends with its connection.
 * That is kept for the next start. An error, with a message: it could not be, or not taken back; it is as asked all the same until then. Blocks for the disk. */
int host_pause(struct host *h, bool pause);
bool host_paused(struct host *h);
/* unwatched: directories that are scanned once a minute, for want of watches; limit: the system's, of all watches of the user (0 = not known). */
struct host_watching { uint64_t watched, unwatched, limit; };
void host_watching(struct host *h, struct host_watching *ret);

/* --- members; these wait for the core. -ESHUTDOWN: it is over. --- */
struct host_member {
	struct member m;
	bool self, up, compared;       /* compared: its index with ours, since it came up */
	bool joining, scanning;        /* so it says; it is looking through its directory after a start */
	uint64_t get_us;               /* up: what it takes to answer for a piece of a file; 0: none was asked for */
	int64_t clock_us;              /* up: its wall clock less ours */
};
/* Everybody who is known, the forgotten too. *ret: free(). */
int host_members(struct host *h, struct host_member **ret, size_t *ret_count);
/* who: a name, an address, or the first digits (8 at least) of a key in hex; of one member. -ENOENT, ERR_CONFIG, with a message. */
int host_forget(struct host *h, const char *who);

/*
 * Is it in sync? (DESIGN.md, "In sync".) The question is asked by host_sync_begin; host_sync_over is true once all that the members that can be reached knew then is on
 * our disk. *ret_members: whose knowledge that is (0: there is nobody else). Not yet: ret_why says what it waits for, for an operator. These wait for
 * the core. host_sync_free ends the question, answered or not (NULL is fine); before host_stop.
 */
struct host_sync;
int host_sync_begin(struct host *h, struct host_sync **ret); /* -EBUSY, -ESHUTDOWN, with a message */
bool host_sync_over(struct host_sync *s, unsigned *ret_members, char *ret_why, size_t cap);
void host_sync_free(struct host_sync *s);

/*
 * What differs from one member (node_diff_begin)? who: as for host_forget. Of the paths at most HOST_DIFF_MOST are kept; all are counted. Errors have a message: -ENOENT, ERR_CONFIG, ERR_UNAVAILABLE (not now).
 */
#define HOST_DIFF_MOST 10000u
struct host_diff;
struct host_difference { char *path; enum node_differs how; };
int host_diff_begin(struct host *h, const char *who, struct host_diff **ret);
bool host_diff_over(struct host_diff *d);
int host_diff_result(const struct host_diff *d, struct node_diff_result *ret, const struct host_difference **ret_all, size_t *ret_count); /* once it is over */
void host_diff_free(struct host_diff *d); /* waits for the core; over or not; NULL is fine; before host_stop */

/* The last peer that did not let us come up, and why: text for an operator; false: none since one did. */
bool host_refused(struct host *h, char *ret, size_t cap);

#endif
