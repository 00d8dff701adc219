/*
 * ns_write.c - write, fallocate and copy_range.
 *
 * A write is one record: data, extent and inode, so after a crash it is there whole or not at all. Long holes are punched
 * in several records, each leaving a file that is consistent. copy_range shares extents, counted by reference; where sharing would
 * make too many small pieces it copies bytes.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "ns.h"

/* --- write --- */

static int check_write(const struct inode *i, bool append, size_t size, uint64_t *io_off)
{
	if (append)
		*io_off = i->a.size;
	return *io_off > VOLUME_FILE_MAX || size > VOLUME_FILE_MAX - *io_off ? -EFBIG : 0;
}

/* The changes of a write; begun, checked. */
static int put_write(struct volume *v, struct inode *i, uint64_t off, const void *buf, size_t size, bool kill_priv)
{
	struct meta *m = engine_meta(v);
	struct extent e = { .ino = i->a.ino, .start = off, .len = size };
	int rc = engine_data(v, buf, size, &e.segment, &e.logical);

	if (!rc)
		rc = meta_extent_set(m, &e, &i->a.allocated_bytes);
	if (rc == -E2BIG)
		rc = -EIO; /* fragments that could not be read and joined (ns_fragment.c); nothing is changed yet */
	if (rc)
		return engine_abort(v, rc);
	if (off + size > i->a.size)
		i->a.size = off + size;
	ns_touch_data(v, i);
	if (kill_priv)
		rc = ns_kill_priv(m, i);
	if (!rc)
		rc = meta_inode_put(m, i);
	return rc ? engine_fail(v, rc, "a write could not be recorded") : engine_commit(v);
}

/* Where an append would go now, for making room there; it is looked up again in the operation itself. */
static uint64_t append_at(struct volume *v, uint64_t ino)
{
	struct inode i;
	int rc;

	engine_lock(v);
	rc = engine_unlock(v, meta_inode_get(engine_meta(v), ino, &i));
	return rc ? 0 : i.a.size;
}

int volume_write(struct volume *v, uint64_t ino, uint64_t off, const void *buf, size_t size, bool append, bool kill_priv,
		 struct volume_wait *w)
{
	struct inode i;
	int rc;

	if (size > VOLUME_WRITE_MAX)
		return -EINVAL;
	if (append)
		off = append_at(v, ino);
	if (off > VOLUME_FILE_MAX)
		return -EFBIG;
	rc = ns_begin_range(v, ino, off, size, size, w);
	if (rc)
		return rc;
	rc = ns_file_get(engine_meta(v), ino, &i);
	if (!rc && size)
		rc = check_write(&i, append, size, &off);
	if (rc || size == 0)
		return engine_abort(v, rc);
	return put_write(v, &i, off, buf, size, kill_priv);
}

/* --- fallocate --- */

static int check_fallocate(int mode, uint64_t off, uint64_t len)
{
	switch (mode) {
	case 0:
	case FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (len == 0 || off > VOLUME_FILE_MAX)
		return -EINVAL;
	return len > VOLUME_FILE_MAX - off ? -EFBIG : 0;
}

static int fallocate_file(struct meta *m, uint64_t ino, struct inode *ret)
{
	int rc = ns_file_get(m, ino, ret);

	if (rc != -EINVAL)
		return rc;
	return S_ISFIFO(ret->a.mode) ? -ESPIPE : -ENODEV;
}

/* One record of it. *io_len shrinks from its end as the hole grows downwards; 0 = done. */
static int fallocate_step(struct volume *v, uint64_t ino, int mode, uint64_t off, uint64_t *io_len, struct volume_wait *w)
{
	bool punch = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	uint64_t from = off, end = off + *io_len;
	struct inode i;
	bool grow;
	int rc = punch ? ns_begin_range(v, ino, off, *io_len, 0, w) : engine_begin(v, 0, w);

	if (rc)
		return rc;
	rc = fallocate_file(engine_meta(v), ino, &i);
	if (rc)
		return engine_abort(v, rc);
	grow = !(mode & FALLOC_FL_KEEP_SIZE) && end > i.a.size;
	if (punch)
		rc = meta_extent_punch(engine_meta(v), ino, off, *io_len, &i.a.allocated_bytes, &from);
	if (grow)
		i.a.size = end;
	ns_touch_data(v, &i);
	if (!rc)
		rc = meta_inode_put(engine_meta(v), &i);
	*io_len = from - off;
	return rc ? engine_fail(v, rc, "a hole could not be made") : engine_commit(v);
}

int volume_fallocate(struct volume *v, uint64_t ino, int mode, uint64_t off, uint64_t len, struct volume_wait *w)
{
	int rc = check_fallocate(mode, off, len);

	while (!rc && len)
		rc = fallocate_step(v, ino, mode, off, &len, w);
	return rc;
}

/* --- copy_range --- */

#define SHARE_EXTENTS_MAX 256u

struct copy {
	uint64_t src, src_off, dst, dst_off, len;
};

static int check_copy(struct meta *m, struct copy *c, struct inode *ret_dst)
{
	struct inode s;
	int rc = ns_file_get(m, c->src, &s);

	if (!rc)
		rc = ns_file_get(m, c->dst, ret_dst);
	if (rc)
		return rc;
	if (c->src_off >= s.a.size)
		c->len = 0;
	else if (c->len > s.a.size - c->src_off)
		c->len = s.a.size - c->src_off;
	if (c->len > VOLUME_FILE_MAX - c->dst_off)
		return -EFBIG;
	if (c->src == c->dst && c->src_off < c->dst_off + c->len && c->dst_off < c->src_off + c->len)
		return -EINVAL;
	return 0;
}

/* How much of the copy one record can share: up to SHARE_EXTENTS_MAX source extents, no destination block with too many, and no
 * more than a record's worth replaced. 0 = the first destination block would be too fragmented. */
static int share_len(struct meta *m, const struct copy *c, uint64_t *ret)
{
	uint64_t at = 0, block = UINT64_MAX;
	unsigned in_block = 0, n = 0;
	struct extent e;
	int rc = 0;

	for (; at < c->len && n < SHARE_EXTENTS_MAX; n++) {
		uint64_t pos, stop;

		rc = meta_extent_find(m, c->src, c->src_off + at, &e);
		if (rc || e.start >= c->src_off + c->len) {
			at = c->len;
			break;
		}
		pos = e.start > c->src_off + at ? e.start - c->src_off : at;
		stop = e.start + e.len - c->src_off < c->len ? e.start + e.len - c->src_off : c->len;
		if ((c->dst_off + pos) / NS_FRAGMENT_BLOCK != block) {
			block = (c->dst_off + pos) / NS_FRAGMENT_BLOCK;
			rc = ns_fragment_count(m, c->dst, block * NS_FRAGMENT_BLOCK, c->dst_off, c->dst_off + c->len, &in_block);
			if (rc)
				return rc;
		}
		if (++in_block > NS_FRAGMENTS_MAX) {
			uint64_t begin = block * NS_FRAGMENT_BLOCK;

			*ret = begin > c->dst_off ? begin - c->dst_off : 0;
			return 0;
		}
		/* An extent that goes on into another block is the first piece there. */
		if ((c->dst_off + stop - 1) / NS_FRAGMENT_BLOCK != block) {
			block = (c->dst_off + stop - 1) / NS_FRAGMENT_BLOCK;
			rc = ns_fragment_count(m, c->dst, block * NS_FRAGMENT_BLOCK, c->dst_off, c->dst_off + c->len, &in_block);
			if (rc)
				return rc;
			in_block++;
		}
		at = stop;
	}
	*ret = at;
	return rc == -ENOENT ? 0 : rc;
}

/* Shortens *io_len so that the destination's part overlaps at most META_EXTENTS_PER_OP / 2 extents. */
static int limit_replaced(struct meta *m, const struct copy *c, uint64_t *io_len)
{
	uint64_t at = c->dst_off, end = c->dst_off + *io_len;
	struct extent e;
	unsigned n = 0;
	int rc;

	while (at < end) {
		rc = meta_extent_find(m, c->dst, at, &e);
		if (rc)
			return rc == -ENOENT ? 0 : rc;
		if (e.start >= end)
			return 0;
		if (++n > META_EXTENTS_PER_OP / 2) {
			*io_len = e.start - c->dst_off;
			return 0;
		}
		at = e.start + e.len;
	}
	return 0;
}

/* Maps [dst_off, +len) to what the source maps; the destination's range has been emptied. */
static int share_extents(struct meta *m, const struct copy *c, uint64_t len, struct inode *dst)
{
	uint64_t at = c->src_off, end = c->src_off + len;
	struct extent e;
	int rc = 0;

	while (at < end) {
		uint64_t stop;

		rc = meta_extent_find(m, c->src, at, &e);
		if (rc || e.start >= end)
			return rc == -ENOENT ? 0 : rc;
		stop = e.start + e.len < end ? e.start + e.len : end;
		if (e.start > at)
			at = e.start;
		e.logical += (uint32_t)(at - e.start);
		e.len = stop - at;
		e.start = c->dst_off + (at - c->src_off);
		e.ino = c->dst;
		rc = meta_extent_set(m, &e, &dst->a.allocated_bytes);
		if (rc)
			return rc;
		at = stop;
	}
	return 0;
}

static int share(struct volume *v, const struct copy *c, uint64_t len, struct inode *dst)
{
	struct meta *m = engine_meta(v);
	uint64_t from;
	int rc = meta_extent_punch(m, c->dst, c->dst_off, len, &dst->a.allocated_bytes, &from);

	if (!rc && from != c->dst_off)
		rc = -E2BIG; /* limit_replaced rules it out */
	if (!rc)
		rc = share_extents(m, c, len, dst);
	if (c->dst_off + len > dst->a.size)
		dst->a.size = c->dst_off + len;
	ns_touch_data(v, dst);
	if (!rc)
		rc = meta_inode_put(m, dst);
	return rc ? engine_fail(v, rc, "extents could not be shared") : engine_commit(v);
}

/* Copies bytes up to the end of the destination's block: for what is too fragmented to share. */
static int copy_bytes(struct volume *v, const struct copy *c, uint64_t *ret, struct volume_wait *w)
{
	uint64_t max = NS_FRAGMENT_BLOCK - c->dst_off % NS_FRAGMENT_BLOCK;
	size_t got = 0;
	uint8_t *buf = malloc(NS_FRAGMENT_BLOCK);
	int rc;

	if (!buf)
		return -ENOMEM;
	rc = volume_read(v, c->src, c->src_off, (size_t)(c->len < max ? c->len : max), buf, &got, w);
	if (!rc && got)
		rc = volume_write(v, c->dst, c->dst_off, buf, got, false, false, w);
	free(buf);
	if (!rc)
		*ret = got;
	return rc;
}

int volume_copy_range(struct volume *v, uint64_t src, uint64_t src_off, uint64_t dst, uint64_t dst_off, uint64_t len,
		      uint64_t *ret, struct volume_wait *w)
{
	struct copy c = { .src = src, .src_off = src_off, .dst = dst, .dst_off = dst_off, .len = len };
	struct inode i;
	uint64_t n = 0;
	int rc;

	if (src_off > VOLUME_FILE_MAX)
		return -EINVAL;
	if (dst_off > VOLUME_FILE_MAX)
		return -EFBIG;
	rc = ns_begin_range(v, dst, dst_off, len < VOLUME_FILE_MAX - dst_off ? len : VOLUME_FILE_MAX - dst_off, 0, w);
	if (rc)
		return rc;
	rc = check_copy(engine_meta(v), &c, &i);
	if (!rc && c.len)
		rc = share_len(engine_meta(v), &c, &n);
	if (!rc && n)
		rc = limit_replaced(engine_meta(v), &c, &n);
	if (!rc && n)
		rc = share(v, &c, n, &i);
	else
		rc = engine_abort(v, rc);
	if (!rc && !n && c.len)
		return copy_bytes(v, &c, ret, w);
	if (!rc)
		*ret = n;
	return rc;
}
