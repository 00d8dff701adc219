/*
 * meta_inode.c - typed access to inodes, orphans and segments in the map.
 *
 * Invariant: the counters (inodes, segments and their objects' bytes) are those
 * of the keys that are there.
 */
#include <errno.h>
#include <string.h>

#include "meta_impl.h"

/* --- inodes --- */

int meta_inode_get(struct meta *m, uint64_t ino, struct inode *ret)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];
	MDB_val v;
	int rc = meta_raw_get(m, key, value_key_inode(ino, key), &v);

	return rc ? rc : value_inode_decode(ino, v.mv_data, v.mv_size, ret);
}

int meta_inode_put(struct meta *m, const struct inode *i)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES], val[VALUE_INODE_MAX];
	size_t len;
	bool is_new;
	int rc = value_inode_encode(i, val, &len);

	if (rc)
		return rc;
	rc = meta_raw_put(m, key, value_key_inode(i->a.ino, key), val, len, true, &is_new);
	if (!rc && is_new)
		m->inodes++;
	return rc;
}

int meta_inode_del(struct meta *m, uint64_t ino)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];
	int rc = meta_raw_del(m, key, value_key_inode(ino, key), true);

	if (!rc)
		m->inodes--;
	return rc;
}

/* --- orphans --- */

int meta_orphan_put(struct meta *m, uint64_t ino)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES], val[VALUE_ORPHAN_BYTES];

	value_orphan_encode(val);
	return meta_raw_put(m, key, value_key_orphan(ino, key), val, sizeof val, true, NULL);
}

int meta_orphan_del(struct meta *m, uint64_t ino)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];

	return meta_raw_del(m, key, value_key_orphan(ino, key), true);
}

int meta_orphan_next(struct meta *m, uint64_t after, uint64_t *ret)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];
	struct value_key parsed;
	MDB_val k, v;
	int rc;

	if (after == UINT64_MAX)
		return -ENOENT;
	rc = meta_raw_seek(m, key, value_key_orphan(after + 1, key), &k, &v);
	if (rc)
		return rc;
	if (*(const uint8_t *)k.mv_data != VALUE_ORPHAN)
		return -ENOENT;
	rc = value_key_parse(k.mv_data, k.mv_size, &parsed);
	if (!rc)
		*ret = parsed.a;
	return rc;
}

/* --- segments --- */

int meta_segment_get(struct meta *m, uint64_t id, struct segment_ref *ret)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES];
	MDB_val v;
	int rc = meta_raw_get(m, key, value_key_segment(id, key), &v);

	return rc ? rc : value_segment_decode(id, v.mv_data, v.mv_size, ret);
}

int meta_segment_put(struct meta *m, const struct segment_ref *r)
{
	uint8_t key[VALUE_KEY_PREFIX_BYTES], val[VALUE_SEGMENT_BYTES];
	struct segment_ref old = { .object_bytes = 0 };
	bool is_new;
	int rc = value_segment_encode(r, val);

	if (rc)
		return rc;
	rc = meta_segment_get(m, r->id, &old);
	if (rc && rc != -ENOENT)
		return rc;
	rc = meta_raw_put(m, key, value_key_segment(r->id, key), val, sizeof val, false, &is_new);
	if (rc)
		return rc;
	m->segments += is_new;
	m->segment_bytes += r->object_bytes - old.object_bytes;
	return 0;
}

void meta_segment_encode(const struct segment_ref *r, struct buf *key, struct buf *val)
{
	uint8_t k[VALUE_KEY_PREFIX_BYTES], v[VALUE_SEGMENT_BYTES];
	int rc = value_segment_encode(r, v);

	buf_bytes(key, k, value_key_segment(r->id, k));
	if (rc) /* a ref that no reader would take: said through the buffer's sticky error */
		val->err = rc;
	buf_bytes(val, v, sizeof v);
}
