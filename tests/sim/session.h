/*
 * session.h - one volume as one process has it open, what it was told, and what that promised.
 *
 * The trial knows every session of a history. Whenever a volume is opened anywhere, the
 * tree it shows must be the fold of a prefix of some session's operations, and that prefix must hold
 * everything that was promised (session_verify).
 */
#ifndef CLONELOVE_SIM_SESSION_H
#define CLONELOVE_SIM_SESSION_H

#include "model.h"

/* What a history is made of; scenario.c fills it in from the seed. */
struct plan {
	const char *scenario;
	unsigned nodes, clients, steps;
	uint64_t step_ns, think_ns;      /* director's and clients' pauses, at most about */
	enum volume_durability durability;
	uint64_t max_lag_ms, commit_interval_ms, outage_timeout_ms, checkpoint_bytes, cache_bytes, disk_bytes;
	unsigned uploads;
	uint64_t max_write;
	unsigned crash, power, freeze, seize, takeover, follower, storm, away, wipe, image, rot, close, disk_fault, skew; /* permille of steps */
	unsigned poison;                 /* permille of steps without a process that damage its files, and a tenth of it of those with one */
	unsigned crash_point;            /* permille of starts that die at an operation chosen beforehand */
	unsigned meddle, reads, big_xattrs; /* permille of writes that are big, of clients' steps that only read, of xattrs that are big */
	struct weather weather;
};

void volume_abandon(struct volume *v) __attribute__((weak));

struct trial;

struct ack { uint64_t at_ns, lsn; };

struct session {
	struct trial *t;
	struct session *next;            /* older */
	struct proc *p;
	struct node *n;
	unsigned disk_generation, index;
	struct volume *v;
	bool read_only, takeover, opening, opened, stopping, closed, failed, clean;
	int open_rc;              /* why it failed to open */
	bool close_drain;
	uint64_t epoch, lsn_open, opened_ns, open_called_ns, used_open;
	uint64_t superseded_ns;          /* another writer served from here on */
	struct history h;
	size_t base;                     /* operations it found */
	struct model *m;                 /* now */
	uint64_t acked_store, acked_local; /* LSNs that an fsync promised */
	uint64_t acked_local_ns;         /* when the latter was */
	struct ack *acks;                /* the store's, with their times */
	size_t ack_count, ack_cap;
	bool busy;                       /* a client is in an operation */
	unsigned clients;
	uint64_t held;                   /* calls that wait for resume */
	uint64_t open_refs[4];
};

struct trial {
	struct world *w;
	struct plan plan;
	struct session *sessions;        /* newest first */
	unsigned session_count, opens;
	uint64_t next_op_id;
	bool quiet;                      /* the end: no more faults */
	bool corruption;                 /* blocks of caches or answers were flipped */
	unsigned op_counts[OP_KINDS], acks_store, acks_local, verified, fenced, damage_checks;
	unsigned coverage_lost_ops;      /* operations that crashes took */
	struct volume_options base_options;
	sim_fn client;                   /* what each client of a session does; NULL = client_run */
	void *user;                      /* its */
};

/* A call that waits for resume, in a coroutine. */
struct held {
	struct volume_wait w;
	struct coro *c;
	struct session *s;
	bool done;
	int rc;
};
struct held *held_new(struct session *s);
int held_wait(struct held *h);          /* blocks; the rc of resume, or ERR_CRASHED */

/* Starts a process on the node that opens the volume and lets clients loose on it. */
struct session *session_start(struct trial *t, struct node *n, bool read_only, bool takeover);
/* Ends it: drain or not. Returns at once; closed is set later. */
void session_close(struct session *s, bool drain);

/* The tree of an open volume against a model: 0, or 1 and the first difference, or a negative error. */
int compare_tree(struct session *s, struct model *m, char *diff, size_t cap);
void session_acked_store(struct session *s, uint64_t lsn);
/* At open: which prefix is it, and does it hold what was promised? Fills in s->h and s->m. */
void session_verify(struct session *s);

/* A client: random operations until the session stops. */
void client_run(void *arg);
/* One given operation; an fsync, or (to_store) a sync until the store has it. Both wait, note what was promised, and judge the answer. */
void client_do(struct session *s, struct op *o);
void client_sync(struct session *s, bool to_store);
void trial_check_end(struct trial *t);
/* Blocking, in a coroutine of the world: opens on a new machine, verifies, hands the session back (NULL: violation or error). */
struct session *check_open(struct trial *t, bool read_only);
void check_close(struct session *s);

const char *scenario_name(unsigned i);  /* NULL at the end */
bool scenario_format(struct trial *t);   /* in a coroutine: false with a violation */
void scenario_options(struct trial *t);  /* what volumes are opened with, from the plan */

struct result { char violation[1024]; uint64_t event_hash, events, virtual_ns; unsigned ops, acks, opens, lost; };
/* One history. Returns 0, or 1 with a violation. */
int scenario_run(uint64_t seed, const char *scenario, enum sim_break brk, bool verbose, struct result *ret);

/* --- ace.c: all short workloads. "ace2": of one and two operations, "ace3": of three; a seed is the number of a batch. --- */
uint64_t ace_batches(const char *scenario); /* 0: no such scenario */
void ace_prepare(struct trial *t, const char *scenario);
void ace_direct(void *arg);                 /* struct trial */
/* What was under way, in words. */
void ace_explain(const struct trial *t, char *out, size_t cap);

#endif
