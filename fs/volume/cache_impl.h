/*
 * cache_impl.h - the inside of struct cache, shared by cache.c (open, close, log segments), cache_evict.c (entries,
 * queues, budget), cache_spare.c (files made ahead, committed files put in order), cache_read.c (reads),
 * cache_fetch.c (from the store), cache_fill.c (what came from there) and cache_stage.c (in memory until it is read).
 *
 * An entry stands for one segment file. Invariants:
 * - `used` = the charges of all entries and spares + what is reserved; it is raised before the disk is, lowered after, and never
 *   above the budget.
 * - An entry with pins, or with a segment that others hold, is not evicted, unloaded or recycled: so nobody ever reads or fills a
 *   file that has become another segment's.
 * - While `dying` or `loading` is set one thread does I/O for the entry without mu; others wait on cond.
 * - Log entries are in no queue and always loaded. Others are in `small` or `main`.
 * - `busy` counts everything that will still come back on its own: GETs under way, jobs queued, answers to be given. Timers are not
 *   counted: they hold a reference on the struct instead, and find it closed.
 */
#ifndef CLONELOVE_CACHE_IMPL_H
#define CLONELOVE_CACHE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache.h"

#define CACHE_LOADED_MAX 512    /* segments with a table in memory */
#define CACHE_GETS_MAX 64       /* GETs under way */
#define CACHE_GET_BYTES (1u << 20) /* adjacent blocks joined into one GET */
#define CACHE_STAGED_MAX 256    /* runs of fetched blocks kept in memory until they were read, */
#define CACHE_STAGED_BYTES (16u << 20) /* and their memory */
#define CACHE_GHOSTS 8192
#define CACHE_SPARES_MAX 4
#define CACHE_LOG_CHARGE ((uint64_t)SEGMENT_DATA_OFFSET + SEGMENT_DATA_MAX + (16u << 10)) /* a whole file and its extents */
#define CACHE_BASE_CHARGE (48u << 10) /* header, table and extents of a fetched file */

struct link { struct link *prev, *next; };

enum queue_kind { QUEUE_NONE, QUEUE_SMALL, QUEUE_MAIN };

struct entry {
	struct entry *hash_next;
	struct link queue_link, lru_link;
	uint64_t id, usage_bytes;
	uint64_t counted_ns;    /* boot time of the last touch that counted */
	struct segment *seg;    /* NULL while not loaded */
	unsigned pins;
	uint8_t freq;
	enum queue_kind queue;
	bool failed;            /* a sync of this file failed once: no new log in it */
	bool held;              /* found at open, not yet shown to the volume: not evicted, in no queue */
	bool log, loading, dying, gone; /* gone: out of the table, freed with the last pin */
	bool storing;           /* one thread writes fetched blocks: its look at the usage is not to be overtaken */
	bool in_lru, open;      /* open: in open_lru, else (loaded) in idle_lru */
};

struct queue { struct link head; uint64_t bytes; size_t count; };
struct spare { char name[SEGMENT_NAME_BYTES]; bool raw; }; /* raw: made while a stream went on, not written in full */
struct trash { struct trash *next; uint64_t bytes; char name[SEGMENT_NAME_BYTES]; };
/* Memory that staged runs lie in; refs: theirs, and of who copies or fills. */
struct staged_mem { unsigned refs; bool counted; size_t size; uint8_t *data; };
/* start, len: logical bytes of the segment; at: where they are in mem. wanted: somebody waits for them. */
struct staged { uint64_t id, used; struct staged_mem *mem; const uint8_t *at; uint32_t start, len; bool wanted, stored, consumed; };
struct fetch;
struct get;

struct cache {
	struct cache_options o;
	uint64_t log_charge;
	atomic_ullong hits, misses;
	pthread_mutex_t mu; /* all below */
	pthread_cond_t cond;
	unsigned refs; /* timers, and the owner */
	bool closing;
	uint64_t busy;

	struct entry **buckets;
	size_t bucket_count, entry_count;
	struct queue small, main;
	struct link open_lru, idle_lru; /* most recent first */
	size_t open_count, idle_count;
	uint64_t used, log_bytes, log_count;
	struct trash *trash;    /* files that could not be removed yet */
	uint64_t ghosts[CACHE_GHOSTS];

	struct spare spares[CACHE_SPARES_MAX];
	unsigned spare_count, spares_coming, spare_max;
	uint64_t name_seq;
	struct job spare_job;
	bool spare_queued;
	bool fill; /* files for the next segments are to be written in full: the last that was committed was none of a stream */
	uint64_t free_checked_ns, free_bytes; /* of the disk, asked now and then */

	struct link fetches;
	struct link waiting; /* gets that wait for another try */
	unsigned gets, prefetches;
	uint64_t expiry_ns;  /* the earliest timer for deadlines, 0 = none */
	uint64_t patience_ns; /* how long the last reader with a deadline would wait, 0 = none had one */
	struct staged staged[CACHE_STAGED_MAX]; /* mem NULL: a free slot */
	uint64_t staged_seq, staged_count, staged_bytes;
	uint64_t fetched_bytes, evictions, repaired;
};

/* --- lists --- */
static inline void link_init(struct link *l)
{
	l->prev = l->next = l;
}

static inline void link_add(struct link *after, struct link *l)
{
	l->prev = after;
	l->next = after->next;
	after->next->prev = l;
	after->next = l;
}

static inline void link_del(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->prev = l->next = l;
}

/* --- cache_evict.c: all with mu held; those marked (drops mu) let it go for I/O --- */
struct entry *cache_find(struct cache *c, uint64_t id);
struct entry *cache_add(struct cache *c, uint64_t id); /* NULL: no memory; in no queue yet */
void cache_enqueue(struct cache *c, struct entry *e);  /* makes it evictable */
void cache_dequeue(struct cache *c, struct entry *e);
void cache_remove(struct cache *c, struct entry *e);   /* out of everything, charge too; freed when no pin is left */
void cache_unpin(struct cache *c, struct entry *e);
void cache_charge(struct cache *c, struct entry *e, uint64_t usage_bytes);
void cache_touch(struct cache *c, struct entry *e);    /* LRU, descriptors, frequency; e is loaded */
void cache_unload(struct cache *c, struct entry *e);   /* forgets e->seg */
struct entry *cache_victim(struct cache *c);
int cache_evict(struct cache *c, struct entry *victim);         /* (drops mu) 0 or what unlink said */
void cache_unlink(struct cache *c, struct entry *e);            /* (drops mu) removes e and its file */
int cache_reserve(struct cache *c, uint64_t bytes);             /* (drops mu) 0 or -ENOSPC; raises used */
void cache_unreserve(struct cache *c, uint64_t bytes);
/* (drops mu) Removes files (b may be NULL) whose charge is reserved, and gives it back; what cannot be removed keeps the charge, and
 * is tried again when room is wanted. */
void cache_discard(struct cache *c, const char *a, const char *b, uint64_t bytes);
void cache_discarded(struct cache *c, const char *name);        /* such a file is gone after all */

/* --- cache_spare.c --- */
void cache_spare_kick(struct cache *c);                         /* mu held */
void cache_spare_run(struct job *j);
/* mu held; pins e (loaded) and queues the job that puts its file in order, or removes it. */
int cache_settle(struct cache *c, struct entry *e, bool drop);

/* --- cache_read.c --- */
/* mu held (drops it). The entry of ref, loaded and pinned, with or without a table; NULL where there is no file. */
struct entry *cache_acquire(struct cache *c, const struct segment_ref *ref);

/* --- cache_fetch.c --- */
struct waiter {
	struct job job;
	struct waiter *next;
	struct cache *c;
	struct volume_wait *w;
	uint32_t first, last;
	uint64_t deadline_ns;
	int rc;
};

enum { BLOCK_IDLE, BLOCK_WANTED, BLOCK_UNDER_WAY };

/* What is being fetched of one segment. It lives while a GET, a wanted block or a waiter does. */
struct fetch {
	struct link link;
	struct segment_ref ref;
	struct entry *e; /* pinned, with a table; NULL until there is one */
	bool table_wanted;
	bool dropped;    /* the segment was, meanwhile: no file is made for it any more */
	unsigned gets;   /* of it, waiting ones included */
	uint8_t state[SEGMENT_BLOCKS];
	struct waiter *waiters;
};

/* mu held. Starts what is missing; w (may be NULL) is answered when none of the blocks first..last is under way any more.
 * 0 or -ENOMEM (w is not queued then). After it cache_pump must be called without mu. */
int cache_fetch(struct cache *c, const struct segment_ref *ref, const bool *need, uint32_t first, uint32_t last, struct volume_wait *w);
void cache_pump(struct cache *c);
/* mu held. Whoever waits for nothing but what is there now is answered. */
void cache_fetch_answer(struct cache *c, struct fetch *f);
int cache_resume_later(struct cache *c, struct volume_wait *w, uint64_t after_ns); /* mu not held */
void cache_fetch_forget(struct cache *c, uint64_t id); /* mu held: the segment was dropped */
void cache_fetch_stop(struct cache *c);                /* closing is set, mu not held */

/* --- cache_fill.c: what came back, into the cache. mu not held --- */
/* The table's bytes: verified, given to the segment's file (a new one, or none where the disk takes none), f->e set.
 * *ret_fresh: the file holds nothing yet. ERR_CORRUPT, -ENOMEM. */
int cache_fill_table(struct cache *c, struct fetch *f, const uint8_t *data, size_t len, bool *ret_fresh);
/* The stored bytes of blocks first..last (r->data, which may be taken): those under way are decoded, staged, idle from then on,
 * and stored. ERR_CORRUPT when some do not verify (these stay under way). */
int cache_fill_blocks(struct cache *c, struct fetch *f, uint32_t first, uint32_t last, struct store_req *r);

/* --- cache_stage.c: mu held but where it says otherwise --- */
struct staged_mem *cache_mem_new(uint8_t *data, size_t size); /* (mu not needed) data: malloc'd, its own from now on; NULL: no memory */
void cache_mem_put(struct cache *c, struct staged_mem *m);
void cache_stage(struct cache *c, const struct staged *run); /* takes a reference on run->mem */
void cache_stage_stored(struct cache *c, uint64_t id, uint32_t start); /* the run that begins there is in the file now */
void cache_stage_clear(struct cache *c);
/* Copies what of [logical, logical + len) lies in needed blocks (NULL: all); false where one is not staged. (drops mu) */
bool cache_unstage(struct cache *c, uint64_t id, const bool *need, uint32_t logical, uint32_t len, uint8_t *buf);

void cache_busy(struct cache *c, int by);              /* mu held */
void cache_unref_locked(struct cache *c);              /* mu held; unlocks, and frees with the last */

#endif
