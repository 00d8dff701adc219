/*
 * meta_name.c - names of directories, found by hash.
 *
 * A name's cookie is its key within the directory, its order for readdir and what a reader resumes at.
 * Names whose hashes agree in the 55 bits used share a bucket of 256 cookies, taken from the lowest free one; a name
 * deleted leaves a gap, so a bucket is always searched to its end.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "hash.h"
#include "meta_impl.h"

#define BUCKET 256u
#define COOKIE_FIRST 3u /* 0 start, 1 ".", 2 ".." */

static uint64_t bucket_of(const struct meta *m, uint64_t dir, const char *name, size_t len)
{
	return ((hash_xxh3(name, len, dir) & m->name_hash_mask) >> 9) << 8;
}

/* Finds name in its bucket: 0 with *ret_val and *ret_cookie; -ENOENT with *ret_cookie = where it would go (0 = the bucket is full). */
static int find(struct meta *m, uint64_t dir, const char *name, size_t len, uint64_t *ret_cookie, MDB_val *ret_val)
{
	uint64_t base = bucket_of(m, dir, name, len), free_at = base < COOKIE_FIRST ? COOKIE_FIRST : base;
	uint8_t key[VALUE_KEY_PAIR_BYTES];
	struct value_key parsed;
	MDB_val k, v;
	int rc = meta_raw_seek(m, key, value_key_dirent(dir, base, key), &k, &v);

	while (!rc && meta_raw_within(&k, key)) {
		rc = value_key_parse(k.mv_data, k.mv_size, &parsed);
		if (rc)
			return rc;
		if (parsed.b - base >= BUCKET)
			break;
		if (v.mv_size == VALUE_DIRENT_FIXED + len && !memcmp((const char *)v.mv_data + VALUE_DIRENT_FIXED, name, len)) {
			*ret_cookie = parsed.b;
			*ret_val = v;
			return 0;
		}
		if (parsed.b == free_at)
			free_at++;
		rc = meta_raw_next(m, &k, &v);
	}
	if (rc && rc != -ENOENT)
		return rc;
	*ret_cookie = free_at - base < BUCKET ? free_at : 0;
	return -ENOENT;
}

int meta_name_get(struct meta *m, uint64_t dir, const char *name, size_t len, struct volume_dirent *ret)
{
	uint64_t cookie;
	MDB_val v;
	int rc = find(m, dir, name, len, &cookie, &v);

	return rc ? rc : value_dirent_decode(cookie, v.mv_data, v.mv_size, ret);
}

int meta_name_put(struct meta *m, uint64_t dir, const char *name, size_t len, uint64_t ino, uint32_t type)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES], val[VALUE_DIRENT_MAX];
	uint64_t cookie;
	size_t vlen;
	MDB_val v;
	int rc = value_dirent_encode(ino, type, name, len, val, &vlen);

	if (rc)
		return rc;
	rc = find(m, dir, name, len, &cookie, &v);
	if (rc && rc != -ENOENT)
		return rc;
	if (cookie == 0)
		return -ENOSPC;
	return meta_raw_put(m, key, value_key_dirent(dir, cookie, key), val, vlen, true, NULL);
}

int meta_name_del(struct meta *m, uint64_t dir, const char *name, size_t len)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES];
	uint64_t cookie;
	MDB_val v;
	int rc = find(m, dir, name, len, &cookie, &v);

	return rc ? rc : meta_raw_del(m, key, value_key_dirent(dir, cookie, key), true);
}

int meta_name_next(struct meta *m, uint64_t dir, uint64_t cookie, struct volume_dirent *ret)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES];
	struct value_key parsed;
	MDB_val k, v;
	int rc;

	if (cookie == UINT64_MAX)
		return -ENOENT;
	rc = meta_raw_seek(m, key, value_key_dirent(dir, cookie + 1, key), &k, &v);
	if (rc)
		return rc;
	if (!meta_raw_within(&k, key))
		return -ENOENT;
	rc = value_key_parse(k.mv_data, k.mv_size, &parsed);
	return rc ? rc : value_dirent_decode(parsed.b, v.mv_data, v.mv_size, ret);
}
