/*
 * meta_load.c - filling the map at recovery: sorted keys in bulk, then changes
 * of log objects and records, blindly.
 *
 * Bytes come from checksummed objects, but are checked all the same: a key or value that does not parse is
 * ERR_CORRUPT and nothing of it gets in. Extents are accounted key by key, so that the sums are right whatever
 * order changes come in, even while two extents overlap on the way.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "meta_impl.h"

/* What a key with this value counts for, added (sign 1) or taken away (-1). */
static int account(struct meta *m, const struct value_key *k, const void *val, size_t vlen, int sign)
{
	struct segment_ref r;
	struct extent e;
	int rc;

	switch (k->table) {
	case VALUE_EXTENT:
		rc = value_extent_decode(k->a, k->b, val, vlen, &e);
		if (!rc)
			meta_extent_live(m, &e, sign);
		return rc;
	case VALUE_SEGMENT:
		rc = value_segment_decode(k->a, val, vlen, &r);
		if (rc)
			return rc;
		m->segments = sign > 0 ? m->segments + 1 : m->segments - 1;
		m->segment_bytes = sign > 0 ? m->segment_bytes + r.object_bytes : m->segment_bytes - r.object_bytes;
		return 0;
	case VALUE_INODE:
		m->inodes = sign > 0 ? m->inodes + 1 : m->inodes - 1;
		return 0;
	case VALUE_DIRENT:
	case VALUE_ORPHAN:
	case VALUE_XATTR:
		return 0;
	}
	return ERR_CORRUPT;
}

static bool counted(enum value_table t)
{
	return t == VALUE_EXTENT || t == VALUE_SEGMENT || t == VALUE_INODE;
}

int meta_load(struct meta *m, const void *key, size_t klen, const void *val, size_t vlen)
{
	struct value_key k;
	int rc = value_key_parse(key, klen, &k);

	if (!rc)
		rc = val ? value_check(key, klen, val, vlen) : -EINVAL;
	if (!rc)
		rc = meta_raw_append(m, key, klen, val, vlen);
	return rc ? rc : account(m, &k, val, vlen, 1);
}

int meta_load_end(struct meta *m)
{
	return meta_raw_commit(m);
}

int meta_apply(struct meta *m, const void *key, size_t klen, const void *val, size_t vlen)
{
	struct value_key k;
	MDB_val old;
	int rc = value_key_parse(key, klen, &k);

	if (!rc && val)
		rc = value_check(key, klen, val, vlen);
	if (rc)
		return rc;
	rc = meta_raw_get(m, key, klen, &old);
	if (rc && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT && !val)
		return 0;
	/* What appears is counted before what goes: a reference that moves from key to key is never at zero between. */
	if (val && counted(k.table)) {
		int arc = account(m, &k, val, vlen, 1);

		if (arc)
			return arc;
	}
	if (!rc && counted(k.table)) {
		rc = account(m, &k, old.mv_data, old.mv_size, -1);
		if (rc)
			return rc;
	}
	if (val)
		return meta_raw_put(m, key, klen, val, vlen, false, NULL);
	return meta_raw_del(m, key, klen, false);
}
