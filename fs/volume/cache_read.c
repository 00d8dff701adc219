/*
 * cache_read.c - reads: from the segment's file, from blocks just fetched, or
 * parked until they are.
 *
 * A hit takes the lock for a look into the table, pins the entry, and reads and verifies without the lock. A miss names the
 * blocks it lacks and waits for these; resumed, the caller reads again. What was fetched for a waiter stays in memory
 * for a while too, so that a disk that takes or returns nothing delays no read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache_impl.h"
#include "err.h"

#define RESUME_SOON_NS 2000000u

/* Opens e's file and its table. mu held, dropped for the I/O. False: there is no such file any more. */
static bool load(struct cache *c, struct entry *e, const struct segment_ref *ref)
{
	struct segment *s = NULL;
	bool junk;
	int rc;

	e->loading = true;
	pthread_mutex_unlock(&c->mu);
	rc = segment_open(c->o.disk, e->id, &s);
	junk = rc == ERR_CORRUPT || rc == -ENOENT;
	/* Without the table the file still counts: the table is fetched. */
	if (rc == 0 && ref->object_bytes)
		(void)segment_load_table(s, ref->table_hash, ref->table_len);
	pthread_mutex_lock(&c->mu);
	e->loading = false;
	pthread_cond_broadcast(&c->cond);
	if (rc == 0) {
		e->seg = s;
		return true;
	}
	if (junk && !e->held && !e->pins && !e->gone)
		cache_unlink(c, e);
	return false;
}

struct entry *cache_acquire(struct cache *c, const struct segment_ref *ref)
{
	struct entry *e;

	while ((e = cache_find(c, ref->id)) && (e->dying || e->loading))
		pthread_cond_wait(&c->cond, &c->mu);
	if (!e || (!e->seg && !load(c, e, ref)))
		return NULL;
	e->pins++;
	cache_touch(c, e);
	return e;
}

static void release(struct cache *c, struct entry *e)
{
	pthread_mutex_lock(&c->mu);
	cache_unpin(c, e);
	pthread_mutex_unlock(&c->mu);
}

static void need_range(uint32_t logical, uint32_t len, bool *need)
{
	uint32_t b;

	memset(need, 0, SEGMENT_BLOCKS * sizeof(*need));
	for (b = logical / BLOCK_BYTES; b <= (logical + len - 1) / BLOCK_BYTES; b++)
		need[b] = true;
}

/* Bytes that no object ever held cannot be fetched. */
static bool elided(const struct segment *s, uint32_t logical, uint32_t len)
{
	const struct object_table *t = segment_table(s);
	uint32_t g;

	for (g = logical / GRANULE_BYTES; t && g <= (logical + len - 1) / GRANULE_BYTES; g++)
		if (t->sums[g] == 0 || t->blocks[g / (BLOCK_BYTES / GRANULE_BYTES)].stored_len == 0)
			return true;
	return false;
}

static int park(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len, const bool *need, uint8_t *buf,
		struct volume_wait *w)
{
	uint32_t first = SEGMENT_BLOCKS, last = 0, b;
	int rc = ERR_PARKED;

	for (b = 0; b < SEGMENT_BLOCKS; b++)
		if (need[b]) {
			first = first < b ? first : b;
			last = b;
		}
	pthread_mutex_lock(&c->mu);
	if (cache_unstage(c, ref->id, need, logical, len, buf))
		rc = 0;
	else if (c->closing)
		rc = -ESHUTDOWN;
	else if (!w)
		rc = -EAGAIN;
	else if (cache_fetch(c, ref, need, first, last, w))
		rc = -ENOMEM;
	pthread_mutex_unlock(&c->mu);
	if (rc == ERR_PARKED) {
		atomic_fetch_add_explicit(&c->misses, 1, memory_order_relaxed);
		cache_pump(c);
	}
	return rc;
}

/* The caller thought it was unacknowledged log. It was a moment ago, or the map will tell where it is now: look again. */
static int stale(struct cache *c, struct volume_wait *w)
{
	return w ? cache_resume_later(c, w, RESUME_SOON_NS) : -EAGAIN;
}

/* The local log's own bytes are bad, and the store has none yet. */
static int bad_log(const struct segment_ref *ref, int rc)
{
	return err_set(rc == -EIO ? -EIO : ERR_CORRUPT,
		       "seg-%016llx of the cache directory: unsent data does not match its checksum; check the disk",
		       (unsigned long long)ref->id);
}

static int read_entry(struct cache *c, struct entry *e, const struct segment_ref *ref, uint32_t logical, uint32_t len, uint8_t *buf,
		      bool *need)
{
	int rc = segment_read(e->seg, logical, len, buf, need);
	bool log;

	if (rc == 0) {
		atomic_fetch_add_explicit(&c->hits, 1, memory_order_relaxed);
		return 0;
	}
	if (rc != ERR_CORRUPT && rc != -EIO)
		return rc;
	pthread_mutex_lock(&c->mu);
	log = e->log;
	pthread_mutex_unlock(&c->mu);
	if (log)
		return bad_log(ref, rc);
	if (elided(e->seg, logical, len))
		return err_set(ERR_CORRUPT, "segment %016llx: bytes at %u were never part of its object", (unsigned long long)ref->id,
			       logical);
	return ERR_PARKED;
}

int cache_read(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len, void *buf, struct volume_wait *w)
{
	bool need[SEGMENT_BLOCKS];
	struct entry *e;
	int rc;

	if (len == 0)
		return 0;
	if (logical >= SEGMENT_DATA_MAX || len > SEGMENT_DATA_MAX - logical ||
	    (ref->object_bytes && (logical + len > ref->data_len || ref->table_len > SEGMENT_RECORDS_OFFSET)))
		return err_set(ERR_CORRUPT, "segment %016llx: %u bytes at %u lie outside of its data", (unsigned long long)ref->id, len,
			       logical);
	pthread_mutex_lock(&c->mu);
	e = cache_acquire(c, ref);
	rc = ERR_PARKED;
	if (e && c->staged_count && segment_has_table(e->seg) && !elided(e->seg, logical, len) &&
	    cache_unstage(c, ref->id, NULL, logical, len, buf))
		rc = 0;
	pthread_mutex_unlock(&c->mu);
	need_range(logical, len, need);
	if (rc == 0) {
		atomic_fetch_add_explicit(&c->hits, 1, memory_order_relaxed);
		release(c, e);
	} else if (e) {
		rc = read_entry(c, e, ref, logical, len, buf, need);
		release(c, e);
	}
	if (rc != ERR_PARKED)
		return rc;
	return ref->object_bytes ? park(c, ref, logical, len, need, buf, w) : stale(c, w);
}

/* --- readahead --- */

struct ahead {
	struct job job;
	struct cache *c;
	struct segment_ref ref;
	uint32_t logical, len;
};

/* Which of the blocks are neither known to be there nor found there. */
static bool find_absent(struct entry *e, uint32_t logical, uint32_t len, bool *need)
{
	const struct object_table *t = segment_table(e->seg);
	uint8_t *buf = malloc(GRANULE_BYTES);
	bool any = false, one[SEGMENT_BLOCKS];
	uint32_t g;

	memset(need, 0, SEGMENT_BLOCKS * sizeof(*need));
	for (g = logical / GRANULE_BYTES; buf && t && g <= (logical + len - 1) / GRANULE_BYTES; g++) {
		uint32_t at = g * GRANULE_BYTES, n = t->data_len - at < GRANULE_BYTES ? t->data_len - at : GRANULE_BYTES;
		uint32_t block = at / BLOCK_BYTES;

		if (t->sums[g] == 0 || need[block] || segment_present(e->seg, at, n))
			continue;
		if (segment_read(e->seg, at, n, buf, one))
			any = need[block] = true;
	}
	free(buf);
	return any;
}

static void ahead_run(struct job *j)
{
	struct ahead *a = CL_CONTAINER_OF(j, struct ahead, job);
	struct cache *c = a->c;
	uint32_t first = a->logical / BLOCK_BYTES, last = (a->logical + a->len - 1) / BLOCK_BYTES;
	bool need[SEGMENT_BLOCKS], want = true;
	struct entry *e;

	need_range(a->logical, a->len, need);
	pthread_mutex_lock(&c->mu);
	e = c->closing ? NULL : cache_acquire(c, &a->ref);
	pthread_mutex_unlock(&c->mu);
	if (e && segment_has_table(e->seg))
		want = find_absent(e, a->logical, a->len, need);
	pthread_mutex_lock(&c->mu);
	if (e)
		cache_unpin(c, e);
	c->prefetches--;
	if (want && !c->closing)
		(void)cache_fetch(c, &a->ref, need, first, last, NULL);
	pthread_mutex_unlock(&c->mu);
	cache_pump(c);
	free(a);
	pthread_mutex_lock(&c->mu);
	cache_busy(c, -1);
	pthread_mutex_unlock(&c->mu);
}

void cache_prefetch(struct cache *c, const struct segment_ref *ref, uint32_t logical, uint32_t len)
{
	struct ahead *a;
	struct entry *e;
	bool idle;

	if (!ref->object_bytes || len == 0 || logical >= ref->data_len)
		return;
	if (len > ref->data_len - logical)
		len = ref->data_len - logical;
	pthread_mutex_lock(&c->mu);
	e = cache_find(c, ref->id);
	idle = c->closing || c->gets + c->prefetches >= CACHE_GETS_MAX || (e && e->log) ||
	       (e && e->seg && segment_present(e->seg, logical, len));
	a = idle ? NULL : malloc(sizeof(*a));
	if (a) {
		a->job.run = ahead_run;
		a->c = c;
		a->ref = *ref;
		a->logical = logical;
		a->len = len;
		c->prefetches++;
		cache_busy(c, 1);
		c->o.exec->submit(c->o.exec, EXEC_WORK, &a->job);
	}
	pthread_mutex_unlock(&c->mu);
}
