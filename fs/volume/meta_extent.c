/*
 * meta_extent.c - which bytes of a file are where: setting, punching and
 * joining extents.
 *
 * Extents of one inode never overlap. Every change is a replacement: some old extents for at most three new ones
 * (what is left on the left, the new, what is left on the right). live_bytes and sink.live
 * hear of the difference in references only, not of splits and joins.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "meta_impl.h"

void meta_extent_live(struct meta *m, const struct extent *e, int sign)
{
	m->live_bytes = sign > 0 ? m->live_bytes + e->len : m->live_bytes - e->len;
	if (m->sink.live)
		m->sink.live(m->sink.user, e->segment, e->logical, (uint32_t)e->len, sign);
}

static uint64_t last_of(const struct extent *e)
{
	return e->start + e->len - 1;
}

/* The part of e from `from` (at or after its start) to its end. */
static struct extent tail_from(struct extent e, uint64_t from)
{
	e.logical += (uint32_t)(from - e.start);
	e.len -= from - e.start;
	e.start = from;
	return e;
}

/* The part of e before `to`. */
static struct extent head_to(struct extent e, uint64_t to)
{
	e.len = to - e.start;
	return e;
}

static bool adjoin(const struct extent *a, const struct extent *b)
{
	return a->segment == b->segment && a->start + a->len == b->start && a->logical + a->len == b->logical &&
	       a->len + b->len <= SEGMENT_DATA_MAX;
}

/* The entry the cursor found, if it is an extent of ino; else -ENOENT. */
static int decode(const uint8_t *prefix, const MDB_val *k, const MDB_val *v, struct extent *ret)
{
	struct value_key parsed;
	int rc;

	if (!meta_raw_within(k, prefix))
		return -ENOENT;
	rc = value_key_parse(k->mv_data, k->mv_size, &parsed);
	return rc ? rc : value_extent_decode(parsed.a, parsed.b, v->mv_data, v->mv_size, ret);
}

int meta_extent_find(struct meta *m, uint64_t ino, uint64_t off, struct extent *ret)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES];
	MDB_val k, v;
	int rc = meta_raw_seek(m, key, value_key_extent(ino, off, key), &k, &v);

	return rc ? rc : decode(key, &k, &v, ret);
}

static int next_extent(struct meta *m, uint64_t ino, struct extent *ret)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];
	MDB_val k, v;
	int rc = meta_raw_next(m, &k, &v);

	value_key_prefix(VALUE_EXTENT, ino, key);
	return rc ? rc : decode(key, &k, &v, ret);
}

static int prev_extent(struct meta *m, uint64_t ino, struct extent *ret)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];
	MDB_val k, v;
	int rc = meta_raw_prev(m, &k, &v);

	value_key_prefix(VALUE_EXTENT, ino, key);
	return rc ? rc : decode(key, &k, &v, ret);
}

static int put(struct meta *m, const struct extent *e)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES], val[VALUE_EXTENT_BYTES];
	int rc = value_extent_encode(e, val);

	return rc ? rc : meta_raw_put(m, key, value_key_extent(e->ino, last_of(e), key), val, sizeof val, true, NULL);
}

static int del(struct meta *m, const struct extent *e)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES];

	return meta_raw_del(m, key, value_key_extent(e->ino, last_of(e), key), true);
}

/* Keys in old and not in fresh go, fresh are put. Neither needs to be sorted; fresh has at most three. */
static int replace(struct meta *m, const struct extent *old, size_t olds, const struct extent *fresh, size_t freshes)
{
	size_t i, j;
	int rc;

	for (i = 0; i < olds; i++) {
		for (j = 0; j < freshes && last_of(&fresh[j]) != last_of(&old[i]); j++)
			;
		if (j == freshes) {
			rc = del(m, &old[i]);
			if (rc)
				return rc;
		}
	}
	for (j = 0; j < freshes; j++) {
		rc = put(m, &fresh[j]);
		if (rc)
			return rc;
	}
	return 0;
}

/* Takes the part of each extent within [off, end) out of the accounts. */
static void release(struct meta *m, const struct extent *old, size_t olds, uint64_t off, uint64_t end, uint64_t *io_alloc)
{
	size_t i;

	for (i = 0; i < olds; i++) {
		struct extent part = old[i];

		if (part.start < off)
			part = tail_from(part, off);
		if (part.start + part.len > end)
			part = head_to(part, end);
		meta_extent_live(m, &part, -1);
		*io_alloc -= part.len;
	}
}

/* The extents that overlap [e->start, end) into scratch; *ret_right: the one that begins at end, len 0 where there is none. */
static int overlapped(struct meta *m, const struct extent *e, size_t *ret_count, struct extent *ret_right)
{
	uint64_t end = e->start + e->len;
	struct extent x;
	size_t n = 0;
	int rc = meta_extent_find(m, e->ino, e->start, &x);

	ret_right->len = 0;
	while (!rc && x.start < end) {
		if (n == META_EXTENTS_PER_OP)
			return -E2BIG;
		m->scratch[n++] = x;
		rc = next_extent(m, e->ino, &x);
	}
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc && x.start == end)
		*ret_right = x;
	*ret_count = n;
	return 0;
}

/* The extent that ends right before off; len 0 where there is none. */
static int left_neighbour(struct meta *m, uint64_t ino, uint64_t off, struct extent *ret)
{
	int rc;

	ret->len = 0;
	if (off == 0)
		return 0;
	rc = meta_extent_find(m, ino, off - 1, ret);
	if (rc && rc != -ENOENT)
		return rc;
	if (rc || ret->start + ret->len != off)
		ret->len = 0;
	return 0;
}

int meta_extent_set(struct meta *m, const struct extent *e, uint64_t *io_alloc)
{
	struct extent left, right, fresh[3], mid = *e;
	uint64_t end = e->start + e->len;
	uint8_t probe[VALUE_EXTENT_BYTES];
	size_t n, olds, freshes = 0;
	int rc = value_extent_encode(e, probe);

	if (!rc)
		rc = overlapped(m, e, &n, &right);
	if (!rc)
		rc = left_neighbour(m, e->ino, e->start, &left);
	if (rc)
		return rc;
	olds = n;
	/* What is beside the new one: rests of what it overlaps, or neighbours; rests must be put again, neighbours only when joined. */
	if (n && m->scratch[0].start < e->start) {
		left = head_to(m->scratch[0], e->start);
		if (!adjoin(&left, &mid))
			fresh[freshes++] = left;
	} else if (left.len && adjoin(&left, &mid)) {
		m->scratch[olds++] = left;
	}
	if (left.len && adjoin(&left, &mid)) {
		mid.start = left.start;
		mid.logical = left.logical;
		mid.len += left.len;
	}
	if (n && last_of(&m->scratch[n - 1]) >= end) {
		right = tail_from(m->scratch[n - 1], end);
		if (!adjoin(&mid, &right))
			fresh[freshes++] = right;
	} else if (right.len && adjoin(&mid, &right)) {
		m->scratch[olds++] = right;
	}
	if (right.len && adjoin(&mid, &right))
		mid.len += right.len;
	fresh[freshes++] = mid;
	meta_extent_live(m, e, 1);
	*io_alloc += e->len;
	release(m, m->scratch, n, e->start, end, io_alloc);
	return replace(m, m->scratch, olds, fresh, freshes);
}

/* The last extent that begins before end: where a walk downwards starts. */
static int last_before(struct meta *m, uint64_t ino, uint64_t end, struct extent *ret)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES];
	MDB_val k, v;
	int rc = meta_raw_seek(m, key, value_key_extent(ino, end - 1, key), &k, &v);

	if (rc == -ENOENT) { /* nothing at all behind: the last key of the map is the one before */
		rc = meta_raw_last(m, &k, &v);
		return rc ? rc : decode(key, &k, &v, ret);
	}
	if (!rc)
		rc = decode(key, &k, &v, ret);
	if (rc && rc != -ENOENT)
		return rc;
	if (!rc && ret->start < end)
		return 0;
	return prev_extent(m, ino, ret);
}

int meta_extent_punch(struct meta *m, uint64_t ino, uint64_t off, uint64_t len, uint64_t *io_alloc, uint64_t *ret_from)
{
	const uint64_t max = (uint64_t)VOLUME_FILE_MAX;
	struct extent x, fresh[2];
	size_t n = 0, freshes = 0;
	uint64_t end;
	int rc;

	*ret_from = off;
	if (off >= max || len == 0)
		return 0;
	end = len > max - off ? max : off + len;
	rc = last_before(m, ino, end, &x);
	while (!rc && x.start + x.len > off && n < META_EXTENTS_PER_OP) {
		m->scratch[n++] = x;
		rc = prev_extent(m, ino, &x);
	}
	if (rc && rc != -ENOENT)
		return rc;
	if (n == 0)
		return 0;
	/* Full, and one more overlaps: this step ends where the lowest of ours begins. */
	if (!rc && x.start + x.len > off)
		off = m->scratch[n - 1].start;
	if (m->scratch[n - 1].start < off)
		fresh[freshes++] = head_to(m->scratch[n - 1], off);
	if (last_of(&m->scratch[0]) >= end)
		fresh[freshes++] = tail_from(m->scratch[0], end);
	release(m, m->scratch, n, off, end, io_alloc);
	*ret_from = off;
	return replace(m, m->scratch, n, fresh, freshes);
}
