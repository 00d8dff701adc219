/* index_key.c - the index's database as bytes: keys, single reads and writes, walks over a prefix. */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "index_impl.h"

int index_raw_error(int mdb_rc)
{
	switch (mdb_rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	case MDB_VERSION_MISMATCH:
		return ERR_NEWER_FORMAT;
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
		return ERR_CORRUPT;
	default:
		return mdb_rc > 0 ? -mdb_rc : -EIO;
	}
}

static MDB_val view(const void *p, size_t len)
{
	return (MDB_val){ .mv_size = len, .mv_data = (void *)(uintptr_t)p };
}

int index_raw_get(struct index_txn *t, const uint8_t *key, size_t klen, MDB_val *ret)
{
	MDB_val k = view(key, klen);

	return index_raw_error(mdb_get(t->txn, t->x->dbi, &k, ret));
}

int index_raw_put(struct index_txn *t, const uint8_t *key, size_t klen, const void *val, size_t vlen)
{
	MDB_val k = view(key, klen), v = view(val, vlen);

	t->changed = true;
	return index_raw_error(mdb_put(t->txn, t->x->dbi, &k, &v, 0));
}

int index_raw_del(struct index_txn *t, const uint8_t *key, size_t klen)
{
	MDB_val k = view(key, klen);
	int rc = index_raw_error(mdb_del(t->txn, t->x->dbi, &k, NULL));

	t->changed |= rc != -ENOENT;
	return rc;
}

int index_cursor(struct index_txn *t, MDB_cursor **ret)
{
	return index_raw_error(mdb_cursor_open(t->txn, t->x->dbi, ret));
}

static int within(int rc, const uint8_t *prefix, size_t plen, const MDB_val *key)
{
	if (rc)
		return index_raw_error(rc);
	return key->mv_size >= plen && memcmp(key->mv_data, prefix, plen) == 0 ? 0 : -ENOENT;
}

int index_raw_seek(MDB_cursor *c, const uint8_t *key, size_t klen, size_t prefix, MDB_val *ret_key, MDB_val *ret_val)
{
	*ret_key = view(key, klen);
	return within(mdb_cursor_get(c, ret_key, ret_val, MDB_SET_RANGE), key, prefix, ret_key);
}

int index_raw_next(MDB_cursor *c, const uint8_t *prefix, size_t plen, MDB_val *ret_key, MDB_val *ret_val)
{
	return within(mdb_cursor_get(c, ret_key, ret_val, MDB_NEXT), prefix, plen, ret_key);
}

static size_t put_place(const struct index_place *p, uint8_t *out)
{
	put_be64(out, p->dir);
	if (p->len)
		memcpy(out + 8, p->name, p->len);
	return 8 + p->len;
}

size_t index_key(char table, const struct index_place *p, uint8_t *out)
{
	out[0] = (uint8_t)table;
	return 1 + put_place(p, out + 1);
}

size_t index_key_number(char table, uint64_t number, const struct index_place *p, uint8_t *out)
{
	out[0] = (uint8_t)table;
	put_be64(out + 1, number);
	return 9 + (p ? put_place(p, out + 9) : 0);
}

static size_t by_hash(char table, const uint8_t *hash, const struct index_place *p, uint8_t *out)
{
	out[0] = (uint8_t)table;
	memcpy(out + 1, hash, HASH_BYTES);
	return 1 + HASH_BYTES + (p ? put_place(p, out + 1 + HASH_BYTES) : 0);
}

size_t index_key_hash(const uint8_t *hash, const struct index_place *p, uint8_t *out)
{
	return by_hash('H', hash, p, out);
}

size_t index_key_rot(const uint8_t *hash, const struct index_place *p, uint8_t *out)
{
	return by_hash('X', hash, p, out);
}

size_t index_key_ref(const uint8_t *hash, const struct index_place *p, uint8_t *out)
{
	return by_hash('R', hash, p, out);
}

size_t index_key_blocks(const uint8_t *hash, uint8_t *out)
{
	return by_hash('B', hash, NULL, out);
}

int index_key_place(const MDB_val *key, size_t skip, struct index_place *ret)
{
	const uint8_t *p = key->mv_data;

	if (key->mv_size < skip + 9)
		return ERR_CORRUPT;
	ret->dir = get_be64(p + skip);
	ret->name = (const char *)p + skip + 8;
	ret->len = key->mv_size - skip - 8;
	return 0;
}
