/*
 * cache_fill.c - what came from the store, verified and put into files.
 *
 * Nothing is staged or stored that was not checked against the table, and the table against the hash that the map holds. Who
 * waits is answered from memory (cache_stage.c) before the file is written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache_impl.h"
#include "err.h"

/* --- the table --- */

static int check_table(const struct segment_ref *ref, const uint8_t *data, size_t len, struct object_table *ret)
{
	uint8_t hash[HASH_BYTES];
	int rc;

	if (len != ref->table_len)
		return ERR_CORRUPT;
	hash_blake2b(data, len, hash);
	if (memcmp(hash, ref->table_hash, HASH_BYTES) != 0)
		return ERR_CORRUPT;
	rc = object_table_decode(data, len, ret);
	return rc ? rc : ret->data_len == ref->data_len ? 0 : ERR_CORRUPT;
}

/* A segment for e, which we are loading: with a file if the disk takes one. mu not held. */
static int new_file(struct cache *c, uint64_t id, const struct object_table *t, struct segment **ret)
{
	char name[SEGMENT_NAME_BYTES];
	int rc = segment_create_fetched(c->o.disk, id, t, ret);

	if (rc == -EEXIST) { /* one whose removal failed: its content proves nothing, begin anew */
		segment_name(id, name);
		rc = c->o.disk->unlink(c->o.disk, name);
		if (rc == 0) {
			pthread_mutex_lock(&c->mu);
			cache_discarded(c, name);
			pthread_mutex_unlock(&c->mu);
		}
		if (rc == 0)
			rc = segment_create_fetched(c->o.disk, id, t, ret);
	}
	return rc;
}

/* The disk is fuller than the budget knows: the next one shall find room. mu held (drops it). */
static void make_way(struct cache *c)
{
	struct entry *victim = cache_victim(c);

	if (victim)
		(void)cache_evict(c, victim);
}

/* A new entry with a file of its own. mu held (drops it). */
static int attach_new(struct cache *c, const struct fetch *f, const struct object_table *t, struct entry **ret)
{
	const struct segment_ref *ref = &f->ref;
	bool room = !f->dropped && cache_reserve(c, CACHE_BASE_CHARGE) == 0;
	char name[SEGMENT_NAME_BYTES];
	struct segment *s = NULL;
	struct entry *e;
	int rc = -ENOSPC;

	e = cache_find(c, ref->id) ? NULL : cache_add(c, ref->id);
	if (!e) { /* somebody was faster, or no memory */
		if (room)
			cache_unreserve(c, CACHE_BASE_CHARGE);
		return cache_find(c, ref->id) ? -EAGAIN : -ENOMEM;
	}
	e->loading = true;
	e->pins++;
	pthread_mutex_unlock(&c->mu);
	if (room)
		rc = new_file(c, ref->id, t, &s);
	if (rc && segment_create_memory(ref->id, t, &s))
		s = NULL;
	pthread_mutex_lock(&c->mu);
	if (room && rc == 0) {
		cache_charge(c, e, CACHE_BASE_CHARGE);
		cache_unreserve(c, CACHE_BASE_CHARGE);
	} else if (room) {
		segment_name(ref->id, name);
		cache_discard(c, name, NULL, CACHE_BASE_CHARGE); /* e is still loading: the name is ours */
	}
	e->loading = false;
	e->seg = s;
	if (s) {
		cache_enqueue(c, e);
		cache_touch(c, e);
		*ret = e;
	} else {
		cache_remove(c, e);
		cache_unpin(c, e);
	}
	pthread_cond_broadcast(&c->cond);
	if (room && rc == -ENOSPC)
		make_way(c);
	return s ? 0 : -ENOMEM;
}

/* The file is there already. mu held (drops it). */
static int attach_old(struct cache *c, struct entry *e, const struct object_table *t, bool *ret_fresh)
{
	int rc = 0;

	if (!e->seg) { /* but cannot be opened */
		rc = segment_create_memory(e->id, t, &e->seg);
		*ret_fresh = true;
		if (rc)
			return rc;
	}
	e->pins++;
	cache_touch(c, e);
	if (segment_has_table(e->seg))
		return 0;
	pthread_mutex_unlock(&c->mu);
	rc = segment_set_table(e->seg, t);
	pthread_mutex_lock(&c->mu);
	if (rc)
		cache_unpin(c, e);
	return rc;
}

int cache_fill_table(struct cache *c, struct fetch *f, const uint8_t *data, size_t len, bool *ret_fresh)
{
	struct object_table *t = calloc(1, sizeof(*t));
	struct entry *e = NULL;
	bool fresh = false;
	int rc = t ? check_table(&f->ref, data, len, t) : -ENOMEM;

	pthread_mutex_lock(&c->mu);
	while (rc == 0 && !f->e) {
		while ((e = cache_find(c, f->ref.id)) && (e->dying || e->loading))
			pthread_cond_wait(&c->cond, &c->mu);
		if (e) {
			rc = attach_old(c, e, t, &fresh);
		} else {
			fresh = true;
			rc = attach_new(c, f, t, &e);
		}
		if (rc == 0)
			f->e = e;
		else if (rc == -EAGAIN)
			rc = 0;
	}
	pthread_mutex_unlock(&c->mu);
	free(t);
	if (rc == 0)
		*ret_fresh = fresh;
	return rc;
}

/* --- blocks --- */

static bool waited_for(const struct fetch *f, uint32_t block)
{
	const struct waiter *w;

	for (w = f->waiters; w; w = w->next)
		if (w->first <= block && block <= w->last)
			return true;
	return false;
}

/* Writes verified blocks into the file, within the budget. mu held (drops it). */
static void store_run(struct cache *c, struct entry *e, uint32_t start, const uint8_t *data, uint32_t len)
{
	uint64_t need = (uint64_t)len + 2 * GRANULE_BYTES, usage;
	uint32_t b, first = start / BLOCK_BYTES, damaged = 0;
	int rc;

	while (e->storing)
		pthread_cond_wait(&c->cond, &c->mu);
	if (e->gone || !segment_on_disk(e->seg))
		return;
	e->storing = true;
	if (cache_reserve(c, need)) {
		e->storing = false;
		pthread_cond_broadcast(&c->cond);
		return;
	}
	pthread_mutex_unlock(&c->mu);
	for (b = first; b <= (start + len - 1) / BLOCK_BYTES; b++)
		damaged += segment_take_damage(e->seg, b);
	rc = segment_store_block(e->seg, first, data, len);
	usage = segment_disk_usage(e->seg);
	pthread_mutex_lock(&c->mu);
	if (!e->gone)
		cache_charge(c, e, usage);
	cache_unreserve(c, need);
	e->storing = false;
	pthread_cond_broadcast(&c->cond);
	if (rc == 0) {
		c->repaired += damaged;
		cache_stage_stored(c, e->id, start);
	}
	if (rc == -ENOSPC)
		make_way(c);
}

static bool under_way(struct cache *c, const struct fetch *f, uint32_t block)
{
	bool yes;

	pthread_mutex_lock(&c->mu);
	yes = f->state[block] == BLOCK_UNDER_WAY && segment_table(f->e->seg)->blocks[block].stored_len;
	pthread_mutex_unlock(&c->mu);
	return yes;
}

/* The stored bytes of a block in an answer that begins with those of `first`; NULL: it is too short. */
static const uint8_t *stored_at(const struct object_table *t, uint32_t first, uint32_t block, const uint8_t *data, size_t len)
{
	uint32_t base = t->blocks[first].offset;
	const struct object_block *k = &t->blocks[block];

	return k->offset >= base && (size_t)(k->offset - base) + k->stored_len <= len ? data + (k->offset - base) : NULL;
}

/* Blocks of a segment, adjacent, verified. */
struct run { uint32_t first, count, len; struct staged_mem *mem; const uint8_t *at; };

/*
 * From `block` on as many as are under way, good, and stored alike: raw ones are taken where they lie (mem), others unpacked.
 * *ret_count 0: the first is not under way. ERR_CORRUPT: the block behind the run is bad (of no blocks, perhaps).
 */
static int gather(struct cache *c, const struct fetch *f, uint32_t first, uint32_t last, uint32_t block, const struct store_req *r,
		  struct staged_mem *mem, struct run *ret)
{
	const struct object_table *t = segment_table(f->e->seg);
	bool raw = object_block_raw(t, block);
	const uint8_t *stored;
	uint8_t *out = NULL;
	uint32_t b, len;
	int rc = 0;

	*ret = (struct run){ .first = block };
	for (b = block; b <= last && object_block_raw(t, b) == raw && under_way(c, f, b); b++) {
		stored = stored_at(t, first, b, mem->data, r->data_len);
		if (!raw && !out) {
			out = malloc((size_t)(last - block + 1) * BLOCK_BYTES);
			if (!out)
				return -ENOMEM;
		}
		if (!stored)
			rc = ERR_CORRUPT;
		else if (raw)
			rc = object_check_raw(t, f->ref.id, b, stored, &len);
		else
			rc = object_decode_block(t, f->ref.id, b, stored, t->blocks[b].stored_len, out + (size_t)(b - block) * BLOCK_BYTES,
						 &len);
		if (rc)
			break;
		ret->count++;
		ret->len += len;
	}
	if (ret->count && raw) {
		ret->at = stored_at(t, first, block, mem->data, r->data_len);
		ret->mem = mem;
	} else if (ret->count) {
		ret->at = out;
		ret->mem = cache_mem_new(out, (size_t)(last - block + 1) * BLOCK_BYTES);
		if (!ret->mem)
			rc = -ENOMEM;
	}
	if (!ret->mem)
		free(out);
	return rc;
}

/* The run is there: for those who wait at once, and then in the file. */
static void put_run(struct cache *c, struct fetch *f, const struct run *n)
{
	struct staged s = { .id = f->ref.id, .mem = n->mem, .at = n->at, .start = n->first * BLOCK_BYTES, .len = n->len };
	uint32_t b;

	pthread_mutex_lock(&c->mu);
	for (b = n->first; b < n->first + n->count; b++) {
		c->fetched_bytes += segment_table(f->e->seg)->blocks[b].stored_len;
		s.wanted |= waited_for(f, b);
		f->state[b] = BLOCK_IDLE;
	}
	cache_stage(c, &s);
	cache_fetch_answer(c, f);
	store_run(c, f->e, s.start, s.at, s.len);
	pthread_mutex_unlock(&c->mu);
}

int cache_fill_blocks(struct cache *c, struct fetch *f, uint32_t first, uint32_t last, struct store_req *r)
{
	struct staged_mem *mem = cache_mem_new(r->data, r->data_len);
	int rc = 0, result = 0;
	struct run n;
	uint32_t b;

	if (!mem)
		return -ENOMEM;
	r->data = NULL;
	for (b = first; b <= last && (!rc || rc == ERR_CORRUPT); b += n.count + (n.count == 0 || rc)) {
		rc = gather(c, f, first, last, b, r, mem, &n);
		if (n.mem)
			put_run(c, f, &n);
		if (rc)
			result = rc;
		pthread_mutex_lock(&c->mu);
		if (n.mem && n.mem != mem)
			cache_mem_put(c, n.mem);
		pthread_mutex_unlock(&c->mu);
	}
	pthread_mutex_lock(&c->mu);
	cache_mem_put(c, mem);
	pthread_mutex_unlock(&c->mu);
	return result;
}
