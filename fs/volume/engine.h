/*
 * engine.h - the inside of struct volume, for the operations in ns_*.c: one
 * lock, one record per operation.
 *
 * An operation is:
 *
 *   rc = engine_begin(v, data_bytes, w);    // lock, gate, room; record open
 *   if (rc) return rc;                      // ERR_PARKED, ERR_READ_ONLY, ... : lock not held
 *   ... read the map, decide ...
 *   return engine_abort(v, -ENOENT);        // nothing was changed; unlocks, returns its argument
 *   ... change the map ...
 *   return engine_commit(v);                // record gets its LSN; unlocks
 *
 * Once anything was changed the operation must go through; an error from meta then goes to engine_fail, which turns
 * the volume read-only (VOLUME_FAILED) without writing the record: a remount recovers the state before it.
 * A record must stay within RECORD_MAX_BYTES: long work is cut into several operations (engine_commit, engine_begin).
 */
#ifndef CLONELOVE_ENGINE_H
#define CLONELOVE_ENGINE_H

#include "meta.h"

int engine_begin(struct volume *v, size_t data_bytes, struct volume_wait *w);
int engine_abort(struct volume *v, int rc);
int engine_commit(struct volume *v);
int engine_fail(struct volume *v, int rc, const char *what);

/* For calls that only read: locks (never parks) and unlocks; engine_unlock returns rc. */
void engine_lock(struct volume *v);
int engine_unlock(struct volume *v, int rc);

/* For a call that waits for a fetch (cache_read): until when, 0 = for ever. Needs no lock. */
uint64_t engine_deadline(struct volume *v);

/* Valid between begin/lock and commit/abort/unlock. */
struct meta *engine_meta(struct volume *v);
struct cache *engine_cache(struct volume *v);
uint64_t engine_new_ino(struct volume *v);
void engine_now(struct volume *v, struct timespec *ret); /* the clock, for file times */
/* Appends data (<= data_bytes of begin, once per operation) to the active segment. */
int engine_data(struct volume *v, const void *buf, size_t len, uint64_t *ret_segment, uint32_t *ret_logical);
/* The ref of a segment for cache_read: from the map, or object_bytes 0 while it is unacknowledged log. */
int engine_segment_ref(struct volume *v, uint64_t id, struct segment_ref *ret);

/* Open references, and reaping of orphans (an EXEC_WORK job of ns_orphan.c, in steps of META_EXTENTS_PER_OP). */
struct orphans;
struct orphans *engine_orphans(struct volume *v);
int orphans_new(struct volume *v, struct exec *x, struct orphans **ret);
void orphans_free(struct orphans *o);   /* after orphans_stop */
void orphans_stop(struct orphans *o);   /* no new steps; waits for the running one */
/* With the lock held: is it open? Start reaping soon all that is not. */
bool orphans_is_open(struct orphans *o, uint64_t ino);
void orphans_kick(struct orphans *o);

#endif
