/*
 * ns_read.c - reading: extents to bytes.
 *
 * Under the engine's lock only the list of extents and where their segments are is copied; the reading itself goes on
 * without it. So what was copied can be outdated when it is read: overwritten (the old bytes are as good an answer while they are there),
 * elided from its object, acknowledged, evicted or collected. A read that fails is therefore made again whenever the map now says
 * something else, and is an error only when the map still says the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "ns.h"

#define READ_TRIES 8
#define AHEAD_PIECES 64

/* --- lists of pieces --- */

static struct ns_piece *push(struct ns_pieces *p)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 8;
		struct ns_piece *at = realloc(p->at, cap * sizeof *at);

		if (!at)
			return NULL;
		p->at = at;
		p->cap = cap;
	}
	return &p->at[p->count++];
}

void ns_pieces_free(struct ns_pieces *p)
{
	free(p->at);
	*p = (struct ns_pieces){ .at = NULL };
}

bool ns_pieces_equal(const struct ns_pieces *a, const struct ns_pieces *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct ns_piece *x = &a->at[i], *y = &b->at[i];

		if (x->start != y->start || x->len != y->len || x->logical != y->logical || x->ref.id != y->ref.id ||
		    x->ref.epoch != y->ref.epoch || x->ref.slot != y->ref.slot || x->ref.object_bytes != y->ref.object_bytes)
			return false;
	}
	return true;
}

int ns_pieces_gather(struct volume *v, uint64_t ino, uint64_t off, uint64_t len, size_t max, struct ns_pieces *io)
{
	uint64_t at = off, end = off + len;
	struct segment_ref ref = { .id = 0 };
	bool have_ref = false;
	struct extent e;
	int rc = 0;

	for (; at < end && max > 0; max--) {
		struct ns_piece *p;
		uint64_t stop;

		rc = meta_extent_find(engine_meta(v), ino, at, &e);
		if (rc || e.start >= end)
			break;
		if (!have_ref || ref.id != e.segment)
			rc = engine_segment_ref(v, e.segment, &ref);
		if (rc)
			return rc;
		have_ref = true;
		p = push(io);
		if (!p)
			return -ENOMEM;
		if (e.start > at)
			at = e.start;
		stop = e.start + e.len < end ? e.start + e.len : end;
		*p = (struct ns_piece){ .start = at, .len = stop - at, .logical = e.logical + (uint32_t)(at - e.start), .ref = ref };
		at = stop;
	}
	return rc == -ENOENT ? 0 : rc;
}

static int read_piece(struct cache *c, const struct ns_piece *p, uint64_t base, uint8_t *buf, struct volume_wait *w)
{
	return cache_read(c, &p->ref, p->logical, (uint32_t)p->len, buf + (p->start - base), w);
}

static void prefetch(struct cache *c, const struct ns_pieces *p)
{
	for (size_t i = 0; i < p->count; i++)
		cache_prefetch(c, &p->at[i].ref, p->at[i].logical, (uint32_t)p->at[i].len);
}

int ns_pieces_read(struct cache *c, const struct ns_pieces *p, uint64_t base, void *buf, const struct ns_pieces *ahead,
		   struct volume_wait *w)
{
	size_t i, first = p->count;
	int rc;

	/* What is here is read; what is not is asked for all at once, the first by the read that waits for it. After ERR_PARKED the
	 * caller's wait and buffer are not ours any more. */
	for (i = 0; i < p->count; i++) {
		rc = read_piece(c, &p->at[i], base, buf, NULL);
		if (rc && rc != -EAGAIN)
			return rc;
		if (rc && first == p->count)
			first = i;
		else if (rc)
			cache_prefetch(c, &p->at[i].ref, p->at[i].logical, (uint32_t)p->at[i].len);
	}
	if (ahead)
		prefetch(c, ahead);
	if (first < p->count && !w)
		return -EAGAIN;
	for (i = first; i < p->count; i++) {
		rc = read_piece(c, &p->at[i], base, buf, w);
		if (rc)
			return rc;
	}
	return 0;
}

/* --- read --- */

/* The file's pieces in the range, and what to fetch ahead. *ret_len: how much of size there is. */
static int look(struct volume *v, uint64_t ino, uint64_t off, size_t size, struct ns_pieces *ret,
		struct ns_pieces *ret_ahead, size_t *ret_len)
{
	uint64_t ahead_off, ahead_len;
	struct inode i;
	int rc;

	*ret_len = 0;
	engine_lock(v);
	rc = ns_file_get(engine_meta(v), ino, &i);
	if (rc || off >= i.a.size || size == 0)
		return engine_unlock(v, rc);
	if (size > i.a.size - off)
		size = (size_t)(i.a.size - off);
	rc = ns_pieces_gather(v, ino, off, size, SIZE_MAX, ret);
	if (!rc && readahead_next(ns_orphan_readahead(engine_orphans(v)), ino, off, size, i.a.size, &ahead_off, &ahead_len))
		rc = ns_pieces_gather(v, ino, ahead_off, ahead_len, AHEAD_PIECES, ret_ahead);
	*ret_len = size;
	return engine_unlock(v, rc);
}

/* Has the map another answer than p now? */
static bool outdated(struct volume *v, uint64_t ino, uint64_t off, size_t size, const struct ns_pieces *p)
{
	struct ns_pieces now = { .at = NULL }, ahead = { .at = NULL };
	size_t len;
	bool differs = look(v, ino, off, size, &now, &ahead, &len) || !ns_pieces_equal(p, &now);

	ns_pieces_free(&now);
	ns_pieces_free(&ahead);
	return differs;
}

static void zero_holes(const struct ns_pieces *p, uint64_t off, size_t len, uint8_t *buf)
{
	uint64_t at = off;

	for (size_t i = 0; i < p->count; i++) {
		memset(buf + (at - off), 0, p->at[i].start - at);
		at = p->at[i].start + p->at[i].len;
	}
	memset(buf + (at - off), 0, off + len - at);
}

static int read_once(struct volume *v, uint64_t ino, uint64_t off, size_t size, void *buf, size_t *ret, bool *ret_again,
		     struct volume_wait *w)
{
	struct ns_pieces p = { .at = NULL }, ahead = { .at = NULL };
	size_t len;
	int rc = look(v, ino, off, size, &p, &ahead, &len);

	*ret_again = false;
	if (!rc) {
		zero_holes(&p, off, len, buf);
		rc = ns_pieces_read(engine_cache(v), &p, off, buf, &ahead, w);
		*ret_again = rc && rc != ERR_PARKED && rc != -EAGAIN && outdated(v, ino, off, size, &p);
	}
	ns_pieces_free(&p);
	ns_pieces_free(&ahead);
	if (!rc)
		*ret = len;
	return rc;
}

int volume_read(struct volume *v, uint64_t ino, uint64_t off, size_t size, void *buf, size_t *ret, struct volume_wait *w)
{
	bool again = true;
	int rc = 0;

	if (size > VOLUME_FILE_MAX || off > VOLUME_FILE_MAX)
		return -EINVAL;
	if (w)
		w->lsn = engine_deadline(v); /* as cache_read has it */
	for (int tries = 0; again && tries < READ_TRIES; tries++)
		rc = read_once(v, ino, off, size, buf, ret, &again, w);
	return rc;
}

/* --- seek --- */

static int seek(struct volume *v, uint64_t ino, uint64_t off, bool data, uint64_t *io_at, bool *ret_more)
{
	struct inode i;
	struct extent e;
	int n, rc;

	*ret_more = false;
	engine_lock(v);
	rc = ns_file_get(engine_meta(v), ino, &i);
	if (!rc && off >= i.a.size)
		rc = -ENXIO;
	for (n = 0; !rc && n < META_EXTENTS_PER_OP; n++) {
		rc = meta_extent_find(engine_meta(v), ino, *io_at, &e);
		if (data) {
			if (!rc && e.start > *io_at)
				*io_at = e.start;
			return engine_unlock(v, rc == -ENOENT ? -ENXIO : rc);
		}
		if (rc == -ENOENT || (!rc && e.start > *io_at))
			return engine_unlock(v, 0); /* the hole begins here; behind the last extent that may be the end of the file */
		if (!rc)
			*io_at = e.start + e.len;
	}
	*ret_more = !rc;
	return engine_unlock(v, rc);
}

int volume_seek(struct volume *v, uint64_t ino, uint64_t off, int whence, uint64_t *ret)
{
	uint64_t at = off;
	bool more = true;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	while (more) {
		int rc = seek(v, ino, off, whence == SEEK_DATA, &at, &more);

		if (rc)
			return rc;
	}
	*ret = at;
	return 0;
}
