/*
 * cache_stage.c - what was just fetched, in memory until it is read.
 *
 * A stream reads each byte once, soon after it came: from here, without waiting for the cache's file and without hashing it
 * again. And a disk that is full or fails costs the cache, not the reader: blocks somebody waits for stay here until they are read.
 *
 * A staged run is adjacent blocks of one segment, verified; they lie in the answer of the store itself where they were stored raw. It goes when
 * it was read to its end and the file has it, or as the oldest when there is no room: those that nobody waits for first.
 * What is copied out is held meanwhile, so that the copying needs no lock.
 */
#include <stdlib.h>
#include <string.h>

#include "cache_impl.h"

struct staged_mem *cache_mem_new(uint8_t *data, size_t size)
{
	struct staged_mem *m = malloc(sizeof(*m));

	if (m)
		*m = (struct staged_mem){ .refs = 1, .size = size, .data = data };
	return m;
}

void cache_mem_put(struct cache *c, struct staged_mem *m)
{
	if (--m->refs)
		return;
	if (m->counted)
		c->staged_bytes -= m->size;
	free(m->data);
	free(m);
}

static struct staged *find(struct cache *c, uint64_t id, uint32_t at)
{
	if (!c->staged_count)
		return NULL;
	for (size_t i = 0; i < CACHE_STAGED_MAX; i++) {
		struct staged *s = &c->staged[i];

		if (s->mem && s->id == id && at >= s->start && at - s->start < s->len)
			return s;
	}
	return NULL;
}

static void drop(struct cache *c, struct staged *s)
{
	cache_mem_put(c, s->mem);
	*s = (struct staged){ .mem = NULL };
	c->staged_count--;
}

static struct staged *oldest(struct cache *c)
{
	struct staged *o = NULL;

	for (size_t i = 0; i < CACHE_STAGED_MAX; i++) {
		struct staged *s = &c->staged[i];

		if (s->mem && (!o || (o->wanted && !s->wanted) || (o->wanted == s->wanted && s->used < o->used)))
			o = s;
	}
	return o;
}

static struct staged *free_slot(struct cache *c)
{
	for (size_t i = 0; i < CACHE_STAGED_MAX; i++)
		if (!c->staged[i].mem)
			return &c->staged[i];
	return NULL;
}

void cache_stage(struct cache *c, const struct staged *run)
{
	size_t more = run->mem->counted ? 0 : run->mem->size;

	while (c->staged_count == CACHE_STAGED_MAX || (c->staged_count && c->staged_bytes + more > CACHE_STAGED_BYTES))
		drop(c, oldest(c));
	run->mem->refs++;
	run->mem->counted = true;
	c->staged_bytes += more;
	c->staged_count++;
	*free_slot(c) = *run;
	find(c, run->id, run->start)->used = ++c->staged_seq;
}

void cache_stage_stored(struct cache *c, uint64_t id, uint32_t start)
{
	struct staged *s = find(c, id, start);

	if (s && s->consumed)
		drop(c, s);
	else if (s)
		s->stored = true;
}

void cache_stage_clear(struct cache *c)
{
	for (size_t i = 0; i < CACHE_STAGED_MAX; i++)
		if (c->staged[i].mem)
			drop(c, &c->staged[i]);
}

/* What ends in [logical, end) was read: it is not waited for any more. */
static void consumed(struct cache *c, uint64_t id, uint32_t logical, uint32_t end)
{
	for (size_t i = 0; c->staged_count && i < CACHE_STAGED_MAX; i++) {
		struct staged *s = &c->staged[i];

		if (!s->mem || s->id != id || s->start + s->len <= logical || s->start + s->len > end)
			continue;
		s->consumed = true;
		s->wanted = false;
		if (s->stored)
			drop(c, s);
	}
}

bool cache_unstage(struct cache *c, uint64_t id, const bool *need, uint32_t logical, uint32_t len, uint8_t *buf)
{
	struct { struct staged_mem *mem; const uint8_t *from; uint32_t at, len; } part[SEGMENT_BLOCKS];
	uint32_t at = logical, end = logical + len, n = 0, stop;
	bool all = c->staged_count > 0;

	for (; all && at < end; at = stop) {
		uint32_t b = at / BLOCK_BYTES;
		struct staged *s = NULL;

		stop = end - b * BLOCK_BYTES < BLOCK_BYTES ? end : (b + 1) * BLOCK_BYTES;
		if (need && !need[b])
			continue;
		s = find(c, id, at);
		all = s && stop - s->start <= s->len;
		if (!all)
			break;
		s->mem->refs++;
		s->used = ++c->staged_seq;
		part[n].mem = s->mem;
		part[n].from = s->at + (at - s->start);
		part[n].at = at - logical;
		part[n++].len = stop - at;
	}
	if (all) {
		pthread_mutex_unlock(&c->mu);
		for (uint32_t i = 0; i < n; i++)
			memcpy(buf + part[i].at, part[i].from, part[i].len);
		pthread_mutex_lock(&c->mu);
		consumed(c, id, logical, end);
	}
	while (n > 0)
		cache_mem_put(c, part[--n].mem);
	return all;
}
