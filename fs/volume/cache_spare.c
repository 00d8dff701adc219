/*
 * cache_spare.c - files for the next log segments, made ahead; and what becomes of a log file when the store has its object.
 *
 * A log file is preallocated, 10 MiB. fdatasync is quickest where the blocks were written before (no
 * extent to convert, no journal commit), so files go round: the data of a committed segment moves to a sparse file of its size, and
 * the log file becomes a spare; once the budget is used up, evicted log files do. A segment of more than half a file that was
 * seldom synced (a stream) stays where it is: to copy it costs more than its successor's syncs gain. A file is made anew only when no spare
 * is left, so what is under way to the store comes back to be used again.
 *
 * A file is written only as far as its segments went. What was never written of it is written when it becomes a spare, once for each file,
 * unless a stream goes on, which seldom syncs: so every round but the first is as quick as the disk can be. What was made while it went on and is still
 * a spare is written when it is over.
 *
 * Nothing here carries durability: a committed segment is in the store.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_impl.h"
#include "err.h"

#define MOVE_MAX_BYTES (SEGMENT_DATA_MAX / 2)
#define SYNC_OFTEN_BYTES (128u << 10) /* of log for each sync, or fewer */

struct settle {
	struct job job;
	struct cache *c;
	struct entry *e;
	bool drop; /* nothing is to be kept of it */
};

static void spare_name(struct cache *c, char ret[SEGMENT_NAME_BYTES])
{
	memset(ret, 0, SEGMENT_NAME_BYTES);
	(void)snprintf(ret, SEGMENT_NAME_BYTES, "spare-%llu", (unsigned long long)++c->name_seq);
}

static void add_spare(struct cache *c, const char *name, unsigned how)
{
	struct spare *s = &c->spares[c->spare_count++];

	memcpy(s->name, name, SEGMENT_NAME_BYTES);
	s->raw = how == 0;
}

/* No file waits for the next segment, and none is being made. */
static bool lacking(const struct cache *c)
{
	return !c->closing && c->spare_max && c->spare_count + c->spares_coming == 0;
}

/* A spare that is to be written in full after all: the stream is over. NULL: none. */
static struct spare *unfilled(struct cache *c)
{
	unsigned i;

	for (i = 0; c->fill && !c->closing && i < c->spare_count; i++)
		if (c->spares[i].raw)
			return &c->spares[i];
	return NULL;
}

void cache_spare_kick(struct cache *c)
{
	if (c->spare_queued || (!lacking(c) && !unfilled(c)))
		return;
	c->spare_queued = true;
	cache_busy(c, 1);
	c->o.exec->submit(c->o.exec, EXEC_FILES, &c->spare_job);
}

/* seg: of the file that is used again, which nobody else has; NULL: none, or it is not open. Where it was never synced, the next will not be either. */
static unsigned how_prepared(const struct cache *c, const struct segment *seg)
{
	return seg && segment_blank(seg) ? SEGMENT_BLANK : c->fill ? SEGMENT_FILL : 0;
}

/*
 * Turns the file of e, which we alone have pinned, into a spare, which is added; e is gone then. The charge of a whole file minus that
 * of e was reserved. mu held, dropped for the I/O.
 */
static int recycle(struct cache *c, struct entry *e, const char *name)
{
	struct segment *seg = e->seg;
	char old[SEGMENT_NAME_BYTES];
	unsigned how = how_prepared(c, seg);
	int rc;

	e->dying = true;
	if (seg) {
		segment_ref(seg);
		cache_unload(c, e);
	}
	segment_name(e->id, old);
	pthread_mutex_unlock(&c->mu);
	segment_unref(seg);
	rc = segment_prepare(c->o.disk, old, name, how);
	pthread_mutex_lock(&c->mu);
	c->used += e->usage_bytes; /* the spare's from now on */
	if (rc == 0)
		add_spare(c, name, how);
	else
		cache_discard(c, old, name, CACHE_LOG_CHARGE);
	e->dying = false;
	cache_remove(c, e);
	return rc;
}

static bool alone(const struct entry *e)
{
	return e->pins == 1 && !e->gone && !e->dying && !e->loading && !(e->seg && segment_shared(e->seg));
}

static bool whole_file(const struct entry *e)
{
	return !e->failed && e->usage_bytes >= CACHE_LOG_CHARGE / 8 * 7 && e->usage_bytes <= CACHE_LOG_CHARGE;
}

static int recycle_victim(struct cache *c, struct entry *e, const char *name)
{
	int rc;

	e->pins++; /* the reservation may evict: others, then */
	rc = cache_reserve(c, CACHE_LOG_CHARGE - e->usage_bytes);
	if (rc == 0 && alone(e)) {
		c->evictions++;
		rc = recycle(c, e, name);
	} else if (rc == 0) {
		cache_unreserve(c, CACHE_LOG_CHARGE - e->usage_bytes);
		rc = -EBUSY;
	}
	cache_unpin(c, e);
	return rc;
}

static int make_new(struct cache *c, const char *name)
{
	int rc = cache_reserve(c, CACHE_LOG_CHARGE);
	unsigned how;

	if (rc)
		return rc;
	how = how_prepared(c, NULL);
	pthread_mutex_unlock(&c->mu);
	rc = segment_prepare(c->o.disk, NULL, name, how);
	pthread_mutex_lock(&c->mu);
	if (rc == 0)
		add_spare(c, name, how);
	else
		cache_discard(c, name, NULL, CACHE_LOG_CHARGE);
	return rc;
}

/* Is a file that becomes free to be kept as a spare? */
static bool wanted(const struct cache *c)
{
	return !c->closing && c->spare_count + c->spares_coming < c->spare_max;
}

static int make_spare(struct cache *c)
{
	char name[SEGMENT_NAME_BYTES];
	struct entry *e = NULL;
	int rc;

	spare_name(c, name);
	c->spares_coming++;
	if (c->used + CACHE_LOG_CHARGE > c->o.budget_bytes)
		e = cache_victim(c);
	rc = e && whole_file(e) ? recycle_victim(c, e, name) : make_new(c, name);
	c->spares_coming--;
	return rc;
}

/* Nobody is given it meanwhile. */
static int fill_spare(struct cache *c, struct spare *s)
{
	char name[SEGMENT_NAME_BYTES];
	int rc;

	memcpy(name, s->name, sizeof(name));
	*s = c->spares[--c->spare_count];
	c->spares_coming++;
	pthread_mutex_unlock(&c->mu);
	rc = segment_prepare(c->o.disk, name, name, SEGMENT_FILL);
	pthread_mutex_lock(&c->mu);
	c->spares_coming--;
	if (rc == 0)
		add_spare(c, name, SEGMENT_FILL);
	else
		cache_discard(c, name, NULL, CACHE_LOG_CHARGE);
	return rc;
}

void cache_spare_run(struct job *j)
{
	struct cache *c = CL_CONTAINER_OF(j, struct cache, spare_job);
	struct spare *s;
	int rc = 0;

	pthread_mutex_lock(&c->mu);
	while (rc == 0 && lacking(c))
		rc = make_spare(c); /* a failure shows when a log segment is wanted: it is made then, or refused */
	while (rc == 0 && (s = unfilled(c)))
		rc = fill_spare(c, s);
	c->spare_queued = false;
	cache_busy(c, -1);
	pthread_mutex_unlock(&c->mu);
}

/* --- committed files --- */

/* All blocks of data into n; what its table does not know stays a hole. */
static int store_all(struct segment *n, const uint8_t *data, uint32_t len)
{
	uint32_t off;
	int rc = 0;

	for (off = 0; rc == 0 && off < len; off += BLOCK_BYTES)
		rc = segment_store_block(n, off / BLOCK_BYTES, data + off, len - off < BLOCK_BYTES ? len - off : BLOCK_BYTES);
	return rc;
}

/* A sparse copy of s under tmp: out of its memory while that is there. */
static int copy_out(struct cache *c, struct segment *s, const char *tmp, struct segment **ret)
{
	const uint8_t *memory = segment_memory_get(s);
	uint8_t *read = memory ? NULL : malloc(SEGMENT_DATA_MAX);
	struct segment *n = NULL;
	int rc = memory ? 0 : read ? segment_load_data(s, read) : -ENOMEM;

	if (rc == 0)
		rc = segment_create_named(c->o.disk, tmp, segment_header(s)->id, segment_table(s), &n);
	if (rc == 0)
		rc = store_all(n, memory ? memory : read, segment_data_len(s));
	if (memory)
		segment_memory_put(s);
	free(read);
	if (rc)
		segment_unref(n);
	else
		*ret = n;
	return rc;
}

/* The copy takes e's place, and e's old file becomes a spare. mu held, dropped for I/O; e is pinned by us alone. */
static void replace_file(struct cache *c, struct entry *e, struct segment *n, const char *tmp)
{
	char name[SEGMENT_NAME_BYTES], spare[SEGMENT_NAME_BYTES];
	struct segment *old = e->seg;
	uint64_t usage;
	unsigned how = how_prepared(c, old);
	int rc, moved;

	spare_name(c, spare);
	segment_name(e->id, name);
	c->spares_coming++;
	e->seg = n; /* open, and kept open by our pin: readers go on with it whatever its name is */
	pthread_mutex_unlock(&c->mu);
	segment_unref(old);
	rc = segment_prepare(c->o.disk, name, spare, how);
	moved = c->o.disk->rename(c->o.disk, tmp, name);
	if (moved == 0)
		segment_moved(n, name);
	usage = segment_disk_usage(n);
	pthread_mutex_lock(&c->mu);
	c->spares_coming--;
	c->used += CACHE_LOG_CHARGE; /* the spare's: what e gives up, a whole file's */
	if (e->gone) {               /* dropped meanwhile, charge and all */
		cache_discard(c, spare, name, CACHE_LOG_CHARGE);
		return;
	}
	cache_charge(c, e, usage);
	if (rc == 0)
		add_spare(c, spare, how);
	else
		cache_discard(c, spare, moved ? name : NULL, CACHE_LOG_CHARGE);
	if (moved && !e->gone) { /* it could not be found by its name any more */
		c->used += usage;
		cache_remove(c, e);
		cache_discard(c, tmp, NULL, usage);
	}
}

/* Not of a stream: its data is little, or was synced often. */
static bool worth_moving(const struct segment *s)
{
	uint32_t len = segment_data_len(s);

	return len <= MOVE_MAX_BYTES || segment_sync_count(s) >= len / SYNC_OFTEN_BYTES;
}

/* True when e's file was exchanged for a smaller one. mu held, dropped for I/O. */
static bool move_out(struct cache *c, struct entry *e)
{
	uint32_t len = segment_data_len(e->seg);
	uint64_t need = CACHE_BASE_CHARGE + 2 * (uint64_t)BLOCK_BYTES + len;
	struct segment *n, *s = e->seg;
	char tmp[SEGMENT_NAME_BYTES];
	bool done = false;
	int rc;

	if (!worth_moving(s) || e->failed || e->usage_bytes != CACHE_LOG_CHARGE || !segment_has_table(s) || !wanted(c) ||
	    cache_reserve(c, need))
		return false;
	(void)snprintf(tmp, sizeof(tmp), "tmp-%llu", (unsigned long long)++c->name_seq);
	pthread_mutex_unlock(&c->mu);
	rc = copy_out(c, s, tmp, &n);
	pthread_mutex_lock(&c->mu);
	if (rc == 0 && alone(e) && wanted(c)) {
		replace_file(c, e, n, tmp);
		done = true;
		cache_unreserve(c, need);
	} else { /* no copy, or somebody reads from the file */
		if (rc == 0)
			segment_unref(n);
		cache_discard(c, tmp, NULL, need);
	}
	return done;
}

/* What is kept stays in its file. mu held, dropped for I/O. */
static void keep_file(struct cache *c, struct entry *e, struct segment *s)
{
	uint64_t usage;

	pthread_mutex_unlock(&c->mu);
	segment_drop_memory(s);
	/* Small ones give back what they do not fill; large ones keep their file whole, to be used again. */
	if (segment_data_len(s) <= MOVE_MAX_BYTES)
		segment_trim(s);
	usage = segment_disk_usage(s);
	pthread_mutex_lock(&c->mu);
	if (!e->gone)
		cache_charge(c, e, usage < CACHE_LOG_CHARGE ? usage : CACHE_LOG_CHARGE);
}

static void drop_file(struct cache *c, struct entry *e)
{
	char name[SEGMENT_NAME_BYTES];

	if (alone(e) && wanted(c) && !e->failed && e->usage_bytes == CACHE_LOG_CHARGE) {
		spare_name(c, name);
		c->spares_coming++;
		(void)recycle(c, e, name);
		c->spares_coming--;
		return;
	}
	cache_unlink(c, e);
}

static void settle_run(struct job *j)
{
	struct settle *t = CL_CONTAINER_OF(j, struct settle, job);
	struct cache *c = t->c;
	struct entry *e = t->e;
	struct segment *s = e->seg; /* pinned: it stays */
	bool drop = t->drop;

	free(t);
	segment_committed(s);
	pthread_mutex_lock(&c->mu);
	e->failed = segment_failed(s);
	c->fill = worth_moving(s);
	if (drop && !e->gone)
		drop_file(c, e);
	else if (!e->gone && !move_out(c, e))
		keep_file(c, e, s);
	cache_unpin(c, e);
	cache_spare_kick(c);
	cache_busy(c, -1);
	pthread_mutex_unlock(&c->mu);
}

int cache_settle(struct cache *c, struct entry *e, bool drop)
{
	struct settle *t = malloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->job.run = settle_run;
	t->c = c;
	t->e = e;
	t->drop = drop;
	e->pins++;
	cache_busy(c, 1);
	c->o.exec->submit(c->o.exec, EXEC_FILES, &t->job);
	return 0;
}
