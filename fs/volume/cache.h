/*
 * cache.h - all segments of the cache directory: which are local log, which
 * are cache, what is fetched, what is evicted.
 *
 * Budget: the disk usage of all segment files never exceeds budget_bytes, unsent ones included (those are never
 * evicted; cache_log_held tells whether another may be made). Eviction is by whole segment, scan-resistant: a segment
 * touched once (a scan, readahead) goes before one that was touched again after a while.
 * Descriptors: at most CACHE_OPEN_MAX segment files are open.
 *
 * Memory beside the segments': at most 64 GETs under way of 1 MiB each, 16 MiB of what was fetched, kept until it is read, 512 tables
 * (9 MiB). A disk that fails or is full costs fetches, never an answer: reads are then served from these blocks.
 *
 * Threads: every call from any thread; cache.mu is taken inside. No call blocks on the store. After cache_close has begun, waiters
 * get -ESHUTDOWN.
 */
#ifndef CLONELOVE_CACHE_H
#define CLONELOVE_CACHE_H

#include "env.h"
#include "exec.h"
#include "segment.h"
#include "store.h"
#include "volume.h"

#define CACHE_OPEN_MAX 256

/* Where a segment's object is: the value of the map's segment entry. */
struct segment_ref {
	uint64_t id, epoch, slot, object_bytes;
	uint32_t data_len, table_offset, table_len;
	uint8_t table_hash[HASH_BYTES];
};

struct cache;
struct cache_options {
	struct store *store;
	struct disk *disk;
	struct env *env;
	struct exec *exec;
	uint64_t budget_bytes;
	bool read_only; /* a read-only mount: no log segments */
};

int cache_open(const struct cache_options *o, struct cache **ret);
/* Waits for its fetches. Files stay. */
void cache_close(struct cache *c);

/*
 * At open: calls each() for every segment file whose header says is_log, in no order; each takes a reference if it keeps one. And with s NULL
 * for every one whose header does not hold, as why says: -ENODATA (zeros, or nothing), ERR_CORRUPT, or -EIO. That one stays as it is
 * until cache_drop or cache_set_aside. All other files found start as evictable cache of unknown content; cache_adopt_log pins one as log.
 */
typedef int cache_found(void *user, uint64_t id, struct segment *s, int why);
int cache_scan_log(struct cache *c, cache_found *each, void *user);
void cache_adopt_log(struct cache *c, struct segment *s);
/* Moves a log segment's file to "salvage/" (durable when it returns) and forgets it; the same for one that cannot be opened. */
int cache_salvage(struct cache *c, struct segment *s);
int cache_set_aside(struct cache *c, uint64_t id);
/* A copy of the file, as it is, in "salvage/" (durable when it returns). */
int cache_copy_aside(struct cache *c, uint64_t id);

/* A new active log segment (pinned). Uses a spare when one is ready: a file that was log before, most often (cache_spare.c); when none is
 * left makes the next on EXEC_FILES, by recycling an evictable file where possible. -ENOSPC when the disk has none, after eviction. */
int cache_new_log(struct cache *c, const struct segment_header *h, struct segment **ret);
/* NULL when unsent log bytes may grow by another segment within the budget, and the disk has the space; else why not (static). */
const char *cache_log_held(struct cache *c);
/* Its object is acknowledged: from now on it is cache, under ref. */
void cache_log_committed(struct cache *c, struct segment *s, const struct segment_ref *ref);
/* The segment is gone from the volume (collected): forget and unlink. */
void cache_drop(struct cache *c, uint64_t id);

/*
 * Reads len bytes at logical of ref's segment (an unacknowledged log segment is found by ID alone: ref->object_bytes is 0 then).
 * 0; ERR_PARKED: being fetched, w->resume(w, 0) when it is worth calling again, or an error (ERR_UNAVAILABLE, ERR_CORRUPT when the
 * store's copy is bad too, ERR_DAMAGED when the object is missing). A failed fetch because the store is away (or refuses our credentials or clock,
 * which somebody may put right) is tried again, with back-off, for ever; after w->lsn (used as boot-time deadline in ns, 0 = none) the
 * waiter gets -EIO. Several waiters share one fetch.
 * may_fetch false: -EAGAIN where it would be fetched.
 */
int cache_read(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len, void *buf, struct volume_wait *w);
/* Starts fetching what is absent of the range (readahead); dropped silently when 64 fetches are under way. */
void cache_prefetch(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len);

struct cache_status { uint64_t used_bytes, budget_bytes, log_bytes, hits, misses, fetched_bytes, evictions, repaired; };
void cache_status(struct cache *c, struct cache_status *ret);

#endif
