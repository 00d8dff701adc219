/*
 * cache_evict.c - the entries of the cache, what they cost, and which goes first.
 *
 * Eviction follows S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023), by bytes and whole
 * segments: new ones enter `small` (a tenth of the space); at its head those that were touched again move to
 * `main`, the others go, and leave their ID among the ghosts; an ID that comes back from there enters `main` at once. `main` gives
 * each touch another round. A touch counts only some seconds after the one before: the many
 * reads with which a scan passes through one segment are one touch.
 *
 * The space of a victim is given back to the account after its file is gone, never before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_impl.h"
#include "err.h"
#include "logmsg.h"

#define TOUCH_NS 5000000000u
#define FREQ_MAX 3
#define OPEN_LIMIT (CACHE_OPEN_MAX - 32) /* the rest: files in use beyond the count, for moments */

static struct entry *of_queue(struct link *l)
{
	return CL_CONTAINER_OF(l, struct entry, queue_link);
}

static struct entry *of_lru(struct link *l)
{
	return CL_CONTAINER_OF(l, struct entry, lru_link);
}

/* IDs are random; a segment made by a careless peer costs time, not correctness. */
static size_t slot_of(uint64_t id, size_t count)
{
	return (size_t)(id * 0x9e3779b97f4a7c15u >> 32) & (count - 1);
}

struct entry *cache_find(struct cache *c, uint64_t id)
{
	struct entry *e = c->bucket_count ? c->buckets[slot_of(id, c->bucket_count)] : NULL;

	while (e && e->id != id)
		e = e->hash_next;
	return e;
}

static int grow(struct cache *c)
{
	size_t count = c->bucket_count ? c->bucket_count * 2 : 256, i;
	struct entry **n = calloc(count, sizeof(*n)), *e, *next;

	if (!n)
		return c->bucket_count ? 0 : -ENOMEM; /* fuller buckets do too */
	for (i = 0; i < c->bucket_count; i++)
		for (e = c->buckets[i]; e; e = next) {
			next = e->hash_next;
			e->hash_next = n[slot_of(e->id, count)];
			n[slot_of(e->id, count)] = e;
		}
	free(c->buckets);
	c->buckets = n;
	c->bucket_count = count;
	return 0;
}

struct entry *cache_add(struct cache *c, uint64_t id)
{
	struct entry *e, **b;

	if (c->entry_count >= c->bucket_count && grow(c))
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->id = id;
	e->counted_ns = c->o.env->boot_ns(c->o.env);
	link_init(&e->queue_link);
	link_init(&e->lru_link);
	b = &c->buckets[slot_of(id, c->bucket_count)];
	e->hash_next = *b;
	*b = e;
	c->entry_count++;
	return e;
}

static struct queue *queue_of(struct cache *c, const struct entry *e)
{
	return e->queue == QUEUE_SMALL ? &c->small : e->queue == QUEUE_MAIN ? &c->main : NULL;
}

static void enter(struct cache *c, struct entry *e, enum queue_kind kind)
{
	struct queue *q;

	e->queue = kind;
	q = queue_of(c, e);
	link_add(q->head.prev, &e->queue_link);
	q->bytes += e->usage_bytes;
	q->count++;
}

void cache_enqueue(struct cache *c, struct entry *e)
{
	uint64_t *ghost = &c->ghosts[slot_of(e->id, CACHE_GHOSTS)];
	bool back = e->id && *ghost == e->id;

	if (back)
		*ghost = 0;
	if (e->queue == QUEUE_NONE)
		enter(c, e, back ? QUEUE_MAIN : QUEUE_SMALL);
}

void cache_dequeue(struct cache *c, struct entry *e)
{
	struct queue *q = queue_of(c, e);

	if (!q)
		return;
	link_del(&e->queue_link);
	q->bytes -= e->usage_bytes;
	q->count--;
	e->queue = QUEUE_NONE;
}

void cache_charge(struct cache *c, struct entry *e, uint64_t usage_bytes)
{
	struct queue *q = queue_of(c, e);

	c->used += usage_bytes - e->usage_bytes;
	if (q)
		q->bytes += usage_bytes - e->usage_bytes;
	if (e->log)
		c->log_bytes += usage_bytes - e->usage_bytes;
	e->usage_bytes = usage_bytes;
}

/* --- loaded segments and their descriptors --- */

static void leave_lru(struct cache *c, struct entry *e)
{
	if (!e->in_lru)
		return;
	link_del(&e->lru_link);
	if (e->open)
		c->open_count--;
	else
		c->idle_count--;
	e->in_lru = e->open = false;
}

static void enter_lru(struct cache *c, struct entry *e, bool open)
{
	link_add(open ? &c->open_lru : &c->idle_lru, &e->lru_link);
	if (open)
		c->open_count++;
	else
		c->idle_count++;
	e->in_lru = true;
	e->open = open;
}

void cache_unload(struct cache *c, struct entry *e)
{
	leave_lru(c, e);
	segment_unref(e->seg);
	e->seg = NULL;
}

/* Closes the descriptors used longest ago. Those in use, and log that is not synced, are passed over. */
static void limit_open(struct cache *c)
{
	struct link *l = c->open_lru.prev, *prev;

	for (; c->open_count > OPEN_LIMIT && l != &c->open_lru; l = prev) {
		struct entry *e = of_lru(l);

		prev = l->prev;
		if (e->pins)
			continue;
		segment_idle(e->seg);
		if (segment_is_open(e->seg))
			continue;
		leave_lru(c, e);
		enter_lru(c, e, false);
	}
}

static void limit_loaded(struct cache *c)
{
	size_t tries = 8;

	while (c->open_count + c->idle_count > CACHE_LOADED_MAX + c->log_count && c->idle_count && tries-- > 0) {
		struct entry *e = of_lru(c->idle_lru.prev);

		if (e->log || e->pins || segment_shared(e->seg)) {
			link_del(&e->lru_link);
			link_add(&c->idle_lru, &e->lru_link);
			continue;
		}
		cache_unload(c, e);
	}
}

void cache_touch(struct cache *c, struct entry *e)
{
	uint64_t now = c->o.env->boot_ns(c->o.env);

	if (now - e->counted_ns >= TOUCH_NS) {
		e->counted_ns = now;
		if (e->freq < FREQ_MAX)
			e->freq++;
	}
	if (e->in_lru && e->open) {
		if (c->open_lru.next != &e->lru_link) {
			link_del(&e->lru_link);
			link_add(&c->open_lru, &e->lru_link);
		}
		return;
	}
	leave_lru(c, e);
	enter_lru(c, e, true);
	limit_open(c);
	limit_loaded(c);
}

/* --- removal --- */

static void unhash(struct cache *c, struct entry *e)
{
	struct entry **b = &c->buckets[slot_of(e->id, c->bucket_count)];

	while (*b != e)
		b = &(*b)->hash_next;
	*b = e->hash_next;
	c->entry_count--;
}

void cache_remove(struct cache *c, struct entry *e)
{
	cache_charge(c, e, 0);
	cache_dequeue(c, e);
	leave_lru(c, e);
	if (e->log)
		c->log_count--;
	e->log = false;
	unhash(c, e);
	e->gone = true;
	e->pins++;
	cache_unpin(c, e);
}

void cache_unpin(struct cache *c, struct entry *e)
{
	if (--e->pins == 0 && e->gone) {
		segment_unref(e->seg);
		free(e);
	}
	pthread_cond_broadcast(&c->cond);
}

/* --- eviction --- */

static bool evictable(const struct entry *e)
{
	return !e->log && !e->pins && !e->loading && !e->dying && !(e->seg && segment_shared(e->seg));
}

static void to_main(struct cache *c, struct entry *e)
{
	cache_dequeue(c, e);
	enter(c, e, QUEUE_MAIN);
}

static struct entry *victim_small(struct cache *c)
{
	size_t left = c->small.count;

	for (; left > 0; left--) {
		struct entry *e = of_queue(c->small.head.next);

		if (e->freq) {
			e->freq = 0;
			to_main(c, e);
		} else if (evictable(e)) {
			c->ghosts[slot_of(e->id, CACHE_GHOSTS)] = e->id;
			return e;
		} else { /* in use: another round */
			link_del(&e->queue_link);
			link_add(c->small.head.prev, &e->queue_link);
		}
	}
	return NULL;
}

static struct entry *victim_main(struct cache *c)
{
	size_t left = c->main.count * (FREQ_MAX + 1);

	for (; left > 0; left--) {
		struct entry *e = of_queue(c->main.head.next);

		if (e->freq == 0 && evictable(e))
			return e;
		if (e->freq)
			e->freq--;
		link_del(&e->queue_link);
		link_add(c->main.head.prev, &e->queue_link);
	}
	return NULL;
}

struct entry *cache_victim(struct cache *c)
{
	bool small_first = c->main.count == 0 || c->small.bytes * 10 >= c->small.bytes + c->main.bytes;
	struct entry *e = small_first ? victim_small(c) : victim_main(c);

	if (e)
		return e;
	e = victim_main(c);
	return e ? e : victim_small(c);
}

int cache_evict(struct cache *c, struct entry *e)
{
	char name[SEGMENT_NAME_BYTES];
	struct segment *seg = e->seg;
	int rc;

	e->dying = true;
	leave_lru(c, e);
	e->seg = NULL;
	segment_name(e->id, name);
	pthread_mutex_unlock(&c->mu);
	segment_unref(seg); /* closes it, so that the unlink gives the space back */
	rc = c->o.disk->unlink(c->o.disk, name);
	if (rc == -ENOENT)
		rc = 0;
	pthread_mutex_lock(&c->mu);
	e->dying = false;
	if (rc == 0) {
		c->evictions++;
		cache_remove(c, e);
	}
	pthread_cond_broadcast(&c->cond);
	return rc;
}

/* --- files that go --- */

static bool gone(struct cache *c, const char *name)
{
	int rc = c->o.disk->unlink(c->o.disk, name);

	return rc == 0 || rc == -ENOENT;
}

static void keep_trash(struct cache *c, const char *name, uint64_t bytes)
{
	struct trash *t = calloc(1, sizeof(*t));

	if (!t)
		return; /* its charge stays until the next start, then */
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	t->bytes = bytes;
	t->next = c->trash;
	c->trash = t;
}

void cache_discard(struct cache *c, const char *a, const char *b, uint64_t bytes)
{
	bool a_left, b_left;

	pthread_mutex_unlock(&c->mu);
	a_left = !gone(c, a);
	b_left = b && !gone(c, b);
	pthread_mutex_lock(&c->mu);
	if (a_left)
		keep_trash(c, a, bytes);
	if (b_left)
		keep_trash(c, b, a_left ? 0 : bytes); /* they are two names of one file */
	if (!a_left && !b_left)
		c->used -= bytes;
}

void cache_discarded(struct cache *c, const char *name)
{
	struct trash **p = &c->trash, *t;

	while ((t = *p) && strcmp(t->name, name) != 0)
		p = &t->next;
	if (!t)
		return;
	*p = t->next;
	c->used -= t->bytes;
	free(t);
}

/* Tries again what could not be removed. mu held (drops it). */
static void empty_trash(struct cache *c)
{
	struct trash *list = c->trash, *next;

	c->trash = NULL;
	for (; list; list = next) {
		next = list->next;
		cache_discard(c, list->name, NULL, list->bytes);
		free(list);
	}
}

void cache_unlink(struct cache *c, struct entry *e)
{
	char name[SEGMENT_NAME_BYTES];
	uint64_t bytes;

	segment_name(e->id, name);
	e->pins++;
	bytes = e->usage_bytes;
	cache_remove(c, e);
	c->used += bytes;
	cache_discard(c, name, NULL, bytes);
	cache_unpin(c, e);
}

int cache_reserve(struct cache *c, uint64_t bytes)
{
	if (bytes > c->o.budget_bytes)
		return -ENOSPC;
	if (c->trash && c->used + bytes > c->o.budget_bytes)
		empty_trash(c);
	while (c->used + bytes > c->o.budget_bytes) {
		struct entry *e = cache_victim(c);

		/* A file that cannot be removed stays on the account: then there is no room. */
		if (!e || cache_evict(c, e))
			return -ENOSPC;
	}
	c->used += bytes;
	return 0;
}

void cache_unreserve(struct cache *c, uint64_t bytes)
{
	c->used -= bytes;
}
