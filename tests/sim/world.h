/*
 * world.h - a whole world in one process and one thread: clocks, machines with
 * disks, an object store, and the scheduler that lets all of it happen in an
 * order that the seed decides. The same seed gives the same history.
 *
 *   world    time, randomness, the event queue, the first violation found
 *   node     a machine: its disk survives its processes
 *   proc     one process on a node: env, exec, store and disk as the engine
 *            sees them. It dies at once: nothing of it runs or has an effect afterwards,
 *            except requests that had left for the store
 *   coro     everything that runs, runs in a coroutine, so that a blocking call
 *            (store->wait, exec->idle, a contended mutex, fdatasync) lets the rest of the world go on
 *
 * Memory from world_alloc lives until world_free.
 */
#ifndef CLONELOVE_SIM_WORLD_H
#define CLONELOVE_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "disk.h"
#include "env.h"
#include "err.h"
#include "exec.h"
#include "store.h"

#define SIM_US 1000ull
#define SIM_MS 1000000ull
#define SIM_S 1000000000ull

/* --- random numbers --- */
struct rng { uint64_t s; };
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);                 /* 0..n-1; 0 for n == 0 */
uint64_t rng_range(struct rng *r, uint64_t lo, uint64_t hi);   /* lo..hi */
bool rng_permille(struct rng *r, unsigned p);
/* lo..hi with small values much likelier than large ones. */
uint64_t rng_skewed(struct rng *r, uint64_t lo, uint64_t hi);
void rng_fill(struct rng *r, void *p, size_t len);

/* Faults that a check must find (the world lies); see sim --list-breaks. */
enum sim_break {
	BREAK_NONE,
	BREAK_STORE_OVERWRITES,    /* If-None-Match ignored under log/ and epochs/ */
	BREAK_STORE_ACKS_EARLY,    /* 200 for a PUT that takes effect much later, or never */
	BREAK_STORE_LOSES,         /* an object vanishes after it was acknowledged */
	BREAK_STORE_STALE_LIST,    /* listings lack the newest keys */
	BREAK_STORE_412_LIES,      /* a create that another won is answered 200 */
	BREAK_SYNC_LIES,           /* fdatasync returns 0 and does nothing */
	BREAK_DIRSYNC_LIES,        /* the same for directories */
	BREAK_CLOCK_STOPS,         /* boot time stands still while a process is frozen */
	BREAK_LOST_REPLY_JOB,      /* the executor loses answers */
	BREAK_ACK_EARLY,           /* fsync is taken for done as soon as it was called */
	BREAK_READ_FLIPS,          /* a bit of what was read flips behind every checksum */
	BREAK_REORDER,             /* the history claims two operations in the wrong order */
	BREAK_LOSS_UNTOLD,         /* what a damaged disk took is mentioned in no message */
	BREAK_COUNT
};
extern const char *const sim_break_names[BREAK_COUNT];

struct world;
struct node;
struct proc;
struct coro;
struct simstore;
struct simdisk;

/* What the store does to requests, in permille of them, and for how long. */
struct weather {
	unsigned fail_clean;     /* ERR_UNAVAILABLE, no effect, not ambiguous */
	unsigned fail_ambiguous; /* ERR_UNAVAILABLE, ambiguous, no effect */
	unsigned lost_reply;     /* effect, then ERR_UNAVAILABLE ambiguous */
	unsigned late;           /* ERR_UNAVAILABLE ambiguous now, effect much later */
	unsigned own_412;        /* a conditional PUT succeeds, its inner retry meets it: ERR_PRECONDITION */
	unsigned get_error;      /* GET: ERR_CORRUPT (the client saw a short body) */
	unsigned get_flip;       /* GET: 0, with a flipped bit */
	unsigned slow;           /* seconds instead of milliseconds, both ways */
	bool away;               /* every request hangs until its deadline */
	bool storm;              /* every request fails at once, some with effect */
	int refuse;              /* every request is refused with this code; 0 = none */
};

typedef void (*sim_fn)(void *arg);

struct event {
	uint64_t at_ns, seq;
	struct proc *proc;   /* NULL = the world's own */
	struct coro *wake;   /* resume this one, if it is still the one of wake_life, or ... */
	uint64_t wake_life;
	sim_fn fn;           /* ... run this in a new coroutine */
	void *arg;
	uint32_t label;      /* for the event hash and the trace */
	struct event *next;  /* deferred list, free list */
};

struct world {
	uint64_t seed;
	struct rng rng;
	uint64_t now_ns, seq, events, event_hash;
	struct event **heap;
	size_t heap_len, heap_cap;
	struct event *free_events;
	struct coro *coros;              /* all live ones */
	struct proc *procs;
	struct node *nodes[24];
	unsigned node_count;
	struct simstore *store;
	enum sim_break brk;
	bool verbose, stopped;
	uint64_t max_events;
	char violation[1024];            /* the first one; "" = none */
	void *allocs;
	char scratch_dir[128];
	unsigned proc_count;
	unsigned crashes;
};

struct node {
	struct world *w;
	unsigned index;
	char name[16];
	uint8_t machine_id[16];
	struct simdisk *disk;
	unsigned disk_generation;        /* grows when the disk is replaced by an empty one */
	int64_t skew_ns;                 /* of its real-time clock */
	struct proc *proc;               /* running one, or NULL */
	struct simdisk *image;           /* of its disk, taken earlier; NULL = none */
	bool poisoned, poisoned_live;    /* files of its cache directory were damaged, and so while a process had them open */
	uint64_t told_ns, power_lost_ns; /* when an operator was last told of a loss there; when its power last went */
};

enum crash_kind { CRASH_KILL, CRASH_POWER };

struct proc {
	struct env env;
	struct exec exec;
	struct store store;
	struct disk disk;
	struct world *w;
	struct node *n;
	struct proc *next;
	unsigned index;
	struct rng rng;
	bool dead, exited, frozen, reaped;
	enum crash_kind crash_kind;
	uint64_t ops, crash_at;          /* store and disk operations so far; 0 = no crash planned */
	bool crash_in_sync;              /* crash_at counts the fdatasyncs still to come instead */
	uint64_t frozen_at_ns, frozen_total_ns, thawed_at_ns;
	struct event *deferred, **deferred_tail;
	bool sync_running;               /* EXEC_SYNC is one thread */
	unsigned coros;                  /* coroutines that run in it */
	void (*on_dead)(struct proc *p); /* called once when it died and nothing of it runs any more */
	void *user;
	char meta_dir[160];
};

int world_new(uint64_t seed, enum sim_break brk, bool verbose, struct world **ret);
void world_free(struct world *w);
void *world_alloc(struct world *w, size_t len); /* zeroed; aborts without memory */
/* Runs events until nothing is left, something was violated, world_stop, or max_events. */
void world_run(struct world *w);
void world_stop(struct world *w);
void world_violation(struct world *w, const char *fmt, ...) CL_PRINTF(2, 3);
void world_trace(struct world *w, const char *fmt, ...) CL_PRINTF(2, 3);
void world_hash(struct world *w, uint64_t x);
/* Queues fn(arg) in a coroutine of p after delay. */
void world_at(struct world *w, struct proc *p, uint64_t delay_ns, uint32_t label, sim_fn fn, void *arg);

struct node *node_new(struct world *w, uint64_t disk_bytes);
/* A new, empty disk in place of the old one. */
void node_wipe(struct node *n, uint64_t disk_bytes);
/* Its disk becomes a copy of another one (which stays the caller's). */
void node_take_image(struct node *n, const struct simdisk *d);

struct proc *proc_start(struct node *n);
/* Dies now. Store requests under way may still take effect. */
void proc_crash(struct proc *p, enum crash_kind kind);
/* Ends by itself: nothing of it may be under way. */
void proc_exit(struct proc *p);
void proc_freeze(struct proc *p);
void proc_thaw(struct proc *p);
/* Counts an operation of p; true when p is dead (before, or through this one). */
bool proc_op(struct proc *p, bool *ret_die_after);
/* The same for an fdatasync. */
bool proc_sync_op(struct proc *p, bool *ret_die_after);

/* --- coroutines (coro.c) --- */
struct coro *coro_self(void);              /* NULL in the scheduler */
struct proc *coro_proc(void);              /* of the running coroutine, or NULL */
void coro_sleep(uint64_t ns);              /* lets the world go on for that long */
void coro_block(void);                     /* until coro_wake */
void coro_wake(struct coro *c, uint64_t delay_ns);
void coro_run(struct world *w, struct proc *p, sim_fn fn, void *arg);
void coro_resume(struct coro *c);
void coro_kill(struct coro *c);
uint64_t coro_life(const struct coro *c);  /* differs each time the same memory is used again */
void coro_kill_all(struct world *w);
bool coro_dead_sleeper(struct coro *c);    /* sleeps without end in a dead process */
struct coro *coro_next(struct coro *c);
struct proc *coro_owner(struct coro *c);

/* --- the store (simstore.c) --- */
enum { SIMSTORE_EPOCHS = 256 };
struct simblob { unsigned refs; size_t len; uint8_t data[]; };
struct simobject { char *key; struct simblob *blob; uint64_t version; int64_t mtime_s; };
struct simstore {
	struct world *w;
	struct simobject *objects;       /* sorted by key */
	size_t count, cap;
	uint64_t version;
	struct weather weather;
	struct simreq *reqs;             /* under way */
	uint64_t pending_effects;
	uint64_t last_log_ns[SIMSTORE_EPOCHS]; /* by epoch: when an object of its log last took effect */
	uint64_t requests, effects;
};
struct simstore *simstore_new(struct world *w);
void simstore_free(struct simstore *s);
void simstore_attach(struct simstore *s, struct proc *p); /* fills p->store */
void simstore_proc_dead(struct simstore *s, struct proc *p);
const struct simobject *simstore_find(struct simstore *s, const char *key);
/* Direct changes, outside of all rules. remove: false when it is not there. */
void simstore_set(struct simstore *s, const char *key, const void *data, size_t len);
bool simstore_remove(struct simstore *s, const char *key);
struct simblob *simblob_new(const void *p, size_t len);
struct simblob *simblob_ref(struct simblob *b);
void simblob_unref(struct simblob *b);

/* --- the disk (simdisk.c) --- */
struct simdisk *simdisk_new(struct world *w, uint64_t capacity_bytes);
void simdisk_free(struct simdisk *d);
void simdisk_attach(struct simdisk *d, struct proc *p);   /* fills p->disk */
struct simdisk *simdisk_copy(const struct simdisk *d);
void simdisk_power_loss(struct simdisk *d);
struct simdisk_faults { unsigned sync_fail, write_fail; bool sync_fails_for_good; };
void simdisk_set_faults(struct simdisk *d, const struct simdisk_faults *f);
void simdisk_set_capacity(struct simdisk *d, uint64_t bytes);
uint64_t simdisk_used(struct simdisk *d);
/* Bytes used by files whose names begin with prefix. */
uint64_t simdisk_used_by(struct simdisk *d, const char *prefix);
/* Flips a bit of the file (current and durable) if it has data there. */
bool simdisk_rot(struct simdisk *d, const char *name, uint64_t off);
/* Damages a file of the cache directory in some way (poison.c): its name, or NULL when nothing was done. */
const char *simdisk_poison(struct simdisk *d, struct rng *r);
/* The i-th file's name, or NULL. */
const char *simdisk_name(struct simdisk *d, size_t i);

/* --- exec and env (procenv.c) --- */
void procenv_attach(struct proc *p);

#endif
