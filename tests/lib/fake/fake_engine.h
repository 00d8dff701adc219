/*
 * fake_engine.h - an engine in memory, to test the operations of ns_*.c on their
 * own: no log, no store, no threads; and hooks to make it park, fail, and lose segments.
 *
 * The calls of engine.h and cache.h that the operations use are renamed to fake_*, and the operations are compiled
 * into the same unit (fake_engine.c is to be included, once, by the test), so that the real engine
 * in the library is not touched.
 *
 * Beyond working it checks its callers: no change before an abort, no record beyond RECORD_MAX_BYTES, no lock left held, no data after a
 * change; and it keeps every change, so that they can be replayed into another map.
 */
#ifndef CLONELOVE_FAKE_ENGINE_H
#define CLONELOVE_FAKE_ENGINE_H

#define engine_begin fake_begin
#define engine_abort fake_abort
#define engine_commit fake_commit
#define engine_fail fake_fail
#define engine_lock fake_lock
#define engine_unlock fake_unlock
#define engine_meta fake_meta
#define engine_cache fake_cache
#define engine_new_ino fake_new_ino
#define engine_now fake_now
#define engine_data fake_data
#define engine_segment_ref fake_segment_ref
#define engine_orphans fake_orphans
#define cache_read fake_cache_read
#define cache_prefetch fake_cache_prefetch

#include "engine.h"
#include "exec.h"

struct fake_segment {
	uint64_t id;
	uint32_t len;
	bool absent;     /* not here: a read of it parks until fake_arrive */
	bool damaged;    /* ERR_DAMAGED */
	uint8_t *data;
	int32_t *refs;   /* per granule: referenced bytes, by sink.live */
};

struct fake_options { uint64_t name_hash_mask; /* 0 = all bits */ bool keep_changes; };

int fake_open(const struct fake_options *o, struct volume **ret);
void fake_close(struct volume *v);

/* Runs queued background jobs (reaping), and those they queue. */
void fake_run(struct volume *v);
/* The next n engine_begin are parked (or -EAGAIN without a wait); fake_release answers them with rc. */
void fake_park(struct volume *v, unsigned n);
void fake_release(struct volume *v, int rc);
/* Everything written so far goes out of reach (absent) / all that was asked for arrives and its waiters are resumed. */
void fake_evict(struct volume *v);
void fake_arrive(struct volume *v);
/* Called by fake_cache_read before it reads, without the lock. */
void fake_on_read(struct volume *v, void (*hook)(struct volume *v, void *user), void *user);
void fake_damage(struct volume *v, uint64_t segment, bool damaged);
void fake_set_time(struct volume *v, uint64_t ns);
/* meta_check, and live bytes told of each segment against the extents: how much is wrong (each printed). */
int fake_check(struct volume *v);
/* All changes since the start (keep_changes), applied to a new map, make the same one. */
int fake_check_replay(struct volume *v);

struct fake_stats { uint64_t records, record_bytes_max, data_bytes, reads, prefetches, prefetched_bytes, parked; bool failed; };
const struct fake_stats *fake_stats(const struct volume *v);

#endif
