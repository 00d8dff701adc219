/*
 * ns_fragment.c - keeping the extents of a file few enough that one write of
 * VOLUME_WRITE_MAX is always one record.
 *
 * Small writes are packed in the segment, so each may be an extent of its own (a log of short lines, every other byte
 * written, holes punched here and there). Invariant: at most NS_FRAGMENTS_MAX extents touch any aligned 64 KiB of a file; 1 MiB then
 * overlaps at most 17 * 56 = 952 < META_EXTENTS_PER_OP. An operation that could add one to a full block first has the block's
 * small pieces written again as one: a record of its own, which changes no byte of the file, so a
 * crash between the two is nothing. Reading them is done without the lock, and the map is compared before the rewrite.
 *
 * Where a piece cannot be read (the store is damaged) the block stays as it is and may go beyond the limit; a write that would then
 * overlap more than META_EXTENTS_PER_OP is refused with -EIO, whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "ns.h"

/* Pieces this small are joined, over gaps smaller than it: so at most 16 + 17 are left in a block. */
#define SMALL_BYTES 4096u
#define BEGIN_TRIES 4

int ns_fragment_count(struct meta *m, uint64_t ino, uint64_t block, uint64_t skip, uint64_t skip_end, unsigned *ret)
{
	uint64_t at = block, end = block + NS_FRAGMENT_BLOCK;
	struct extent e;
	unsigned n = 0;
	int rc = 0;

	while (at < end) {
		uint64_t stop;

		rc = meta_extent_find(m, ino, at, &e);
		if (rc || e.start >= end)
			break;
		stop = e.start + e.len;
		if (e.start < skip)
			n++;
		if (stop > skip_end)
			n++;
		/* One that lies beside the range altogether was counted for one side only; nothing inside it needs to be looked at. */
		at = stop;
		if (at >= skip && at < skip_end)
			at = skip_end;
	}
	*ret = n;
	return rc == -ENOENT ? 0 : rc;
}

static int block_room(struct meta *m, uint64_t ino, uint64_t block, uint64_t off, uint64_t end, uint64_t *ret_block)
{
	unsigned n;
	int rc;

	if (off <= block && end >= block + NS_FRAGMENT_BLOCK)
		return 0;
	rc = ns_fragment_count(m, ino, block, off, end, &n);
	if (rc)
		return rc;
	*ret_block = block;
	return n >= NS_FRAGMENTS_MAX;
}

int ns_fragment_room(struct meta *m, uint64_t ino, uint64_t off, uint64_t len, uint64_t *ret_block)
{
	uint64_t end = off + len, first = off - off % NS_FRAGMENT_BLOCK, last = (end - 1) - (end - 1) % NS_FRAGMENT_BLOCK;
	int rc;

	if (len == 0)
		return 0;
	rc = block_room(m, ino, first, off, end, ret_block);
	if (rc || first == last)
		return rc;
	return block_room(m, ino, last, off, end, ret_block);
}

/* --- compacting --- */

struct span { uint64_t start, len; size_t at; }; /* one new extent: in the file, and in the data */
struct plan {
	struct span spans[NS_FRAGMENT_BLOCK / SMALL_BYTES * 2 + 2];
	size_t count, bytes;
	struct ns_pieces small; /* what is to be read */
};

static int plan_push(struct plan *p, const struct ns_piece *piece)
{
	if (p->small.count == p->small.cap) {
		size_t cap = p->small.cap ? p->small.cap * 2 : 64;
		struct ns_piece *at = realloc(p->small.at, cap * sizeof *at);

		if (!at)
			return -ENOMEM;
		p->small.at = at;
		p->small.cap = cap;
	}
	p->small.at[p->small.count++] = *piece;
	return 0;
}

/* Runs of two or more small pieces, near each other, become one span each. */
static int make_plan(const struct ns_pieces *all, struct plan *p)
{
	size_t i, j, k;

	for (i = 0; i < all->count; i = j) {
		const struct ns_piece *a = &all->at[i];
		uint64_t end = a->start + a->len;

		j = i + 1;
		if (a->len >= SMALL_BYTES)
			continue;
		for (; j < all->count && all->at[j].len < SMALL_BYTES && all->at[j].start - end < SMALL_BYTES; j++)
			end = all->at[j].start + all->at[j].len;
		if (j - i < 2)
			continue;
		p->spans[p->count++] = (struct span){ .start = a->start, .len = end - a->start, .at = p->bytes };
		p->bytes += (size_t)(end - a->start);
		for (k = i; k < j; k++) {
			int rc = plan_push(p, &all->at[k]);

			if (rc)
				return rc;
		}
	}
	return 0;
}

/* The spans' bytes out of the block's, one behind the other. */
static void pack(const struct plan *p, uint64_t block, const uint8_t *from, uint8_t *to)
{
	for (size_t i = 0; i < p->count; i++)
		memcpy(to + p->spans[i].at, from + (p->spans[i].start - block), (size_t)p->spans[i].len);
}

static int rewrite(struct volume *v, struct inode *i, const struct plan *p, const uint8_t *data)
{
	struct meta *m = engine_meta(v);
	struct extent e = { .ino = i->a.ino };
	uint32_t logical;
	int rc = engine_data(v, data, p->bytes, &e.segment, &logical);

	if (rc)
		return engine_abort(v, rc);
	for (size_t k = 0; k < p->count && !rc; k++) {
		e.start = p->spans[k].start;
		e.len = p->spans[k].len;
		e.logical = logical + (uint32_t)p->spans[k].at;
		rc = meta_extent_set(m, &e, &i->a.allocated_bytes);
	}
	if (!rc)
		rc = meta_inode_put(m, i);
	return rc ? engine_fail(v, rc, "a file's fragments could not be joined") : engine_commit(v);
}

/* Writes the plan, if the block still is what the plan was made from. */
static int rewrite_block(struct volume *v, uint64_t ino, uint64_t block, const struct ns_pieces *all,
			 const struct plan *p, const uint8_t *data,
		 struct volume_wait *w)
{
	struct ns_pieces now = { .at = NULL };
	struct inode i;
	bool same;
	int rc = engine_begin(v, p->bytes, w);

	if (rc)
		return rc;
	rc = ns_file_get(engine_meta(v), ino, &i);
	if (!rc)
		rc = ns_pieces_gather(v, ino, block, NS_FRAGMENT_BLOCK, SIZE_MAX, &now);
	same = !rc && ns_pieces_equal(all, &now);
	ns_pieces_free(&now);
	return same ? rewrite(v, &i, p, data) : engine_abort(v, rc);
}

static int read_and_apply(struct volume *v, uint64_t ino, uint64_t block, const struct ns_pieces *all,
			  const struct plan *p, struct volume_wait *w)
{
	uint8_t *whole, *data;
	int rc = 0;

	if (p->count == 0)
		return 0;
	whole = calloc(2, NS_FRAGMENT_BLOCK);
	if (!whole)
		return -ENOMEM;
	data = whole + NS_FRAGMENT_BLOCK;
	rc = ns_pieces_read(engine_cache(v), &p->small, block, whole, NULL, w);
	if (!rc) {
		pack(p, block, whole, data);
		rc = rewrite_block(v, ino, block, all, p, data, w);
	}
	free(whole);
	return rc;
}

int ns_fragment_compact(struct volume *v, uint64_t ino, uint64_t block, struct volume_wait *w)
{
	struct ns_pieces all = { .at = NULL };
	struct plan *p = calloc(1, sizeof *p);
	int rc;

	if (!p)
		return -ENOMEM;
	engine_lock(v);
	rc = engine_unlock(v, ns_pieces_gather(v, ino, block, NS_FRAGMENT_BLOCK, SIZE_MAX, &all));
	if (!rc)
		rc = make_plan(&all, p);
	if (w)
		w->lsn = engine_deadline(v);
	if (!rc)
		rc = read_and_apply(v, ino, block, &all, p, w);
	ns_pieces_free(&p->small);
	ns_pieces_free(&all);
	free(p);
	return rc;
}

int ns_begin_range(struct volume *v, uint64_t ino, uint64_t off, uint64_t len, size_t data_bytes, struct volume_wait *w)
{
	for (int tries = 0;; tries++) {
		uint64_t block = 0;
		int rc = engine_begin(v, data_bytes, w), full;

		if (rc || tries == BEGIN_TRIES)
			return rc;
		full = ns_fragment_room(engine_meta(v), ino, off, len, &block);
		if (full == 0)
			return 0;
		rc = engine_abort(v, full < 0 ? full : 0);
		if (rc)
			return rc;
		rc = ns_fragment_compact(v, ino, block, w);
		if (rc == ERR_PARKED)
			return rc;
		if (rc) /* it cannot be read: go on without */
			tries = BEGIN_TRIES - 1;
	}
}
