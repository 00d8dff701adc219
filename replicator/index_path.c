/*
 * index_path.c - paths to places and back: the numbers of directories.
 *
 * A directory has a number as long as anything is recorded below it, whether it has a record itself or not.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "index_impl.h"

static int make_dir(struct index_txn *t, const struct index_place *p, const uint8_t *key, size_t klen, uint64_t *ret)
{
	uint8_t number[8], back[8 + ENTRY_NAME_MAX], dkey[INDEX_KEY_MAX];
	uint64_t id = t->next_dir++;
	int rc;

	put_u64(number, id);
	rc = index_raw_put(t, key, klen, number, sizeof number);
	put_u64(back, p->dir);
	memcpy(back + 8, p->name, p->len);
	if (!rc)
		rc = index_raw_put(t, dkey, index_key_number('D', id, NULL, dkey), back, 8 + p->len);
	if (!rc)
		*ret = id;
	return rc;
}

/* The number of the directory at p. */
static int step(struct index_txn *t, const struct index_place *p, bool create, uint64_t *ret)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t klen = index_key('F', p, key);
	MDB_val v;
	int rc = index_raw_get(t, key, klen, &v);

	if (rc == -ENOENT && create)
		return make_dir(t, p, key, klen, ret);
	if (rc)
		return rc;
	if (v.mv_size != 8)
		return ERR_CORRUPT;
	*ret = get_u64(v.mv_data);
	return 0;
}

int index_path_place(struct index_txn *t, const char *path, size_t len, bool create, struct index_place *ret)
{
	struct index_place p = { INDEX_ROOT, path, 0 };
	const char *end = path + len, *slash;
	int rc;

	while ((slash = memchr(p.name, '/', (size_t)(end - p.name)))) {
		p.len = (size_t)(slash - p.name);
		rc = step(t, &p, create, &p.dir);
		if (rc)
			return rc;
		p.name = slash + 1;
	}
	p.len = (size_t)(end - p.name);
	*ret = p;
	return 0;
}

int index_path_dir(struct index_txn *t, const char *path, size_t len, uint64_t *ret)
{
	struct index_place p;
	int rc;

	if (len == 0) {
		*ret = INDEX_ROOT;
		return 0;
	}
	rc = index_path_place(t, path, len, false, &p);
	return rc ? rc : step(t, &p, false, ret);
}

int index_path_of(struct index_txn *t, const struct index_place *p, char *out, size_t *ret_len)
{
	size_t at = ENTRY_PATH_MAX; /* filled from its end */
	struct index_place q = *p;
	uint8_t key[INDEX_KEY_MAX];
	MDB_val v;
	int rc;

	for (;;) {
		if (q.len == 0 || q.len > ENTRY_NAME_MAX || q.len + (q.dir != INDEX_ROOT) > at)
			return ERR_CORRUPT; /* or a ring of directories */
		at -= q.len;
		memcpy(out + at, q.name, q.len);
		if (q.dir == INDEX_ROOT)
			break;
		out[--at] = '/';
		rc = index_raw_get(t, key, index_key_number('D', q.dir, NULL, key), &v);
		if (rc)
			return rc == -ENOENT ? ERR_CORRUPT : rc;
		if (v.mv_size < 9)
			return ERR_CORRUPT;
		q.dir = get_u64(v.mv_data);
		q.name = (const char *)v.mv_data + 8;
		q.len = v.mv_size - 8;
	}
	*ret_len = ENTRY_PATH_MAX - at;
	memmove(out, out + at, *ret_len);
	return 0;
}

/* Is there any key of this table in this directory? 1, 0 or an error. */
static int any_in(struct index_txn *t, char table, uint64_t dir)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t klen = index_key_number(table, dir, NULL, key);
	MDB_cursor *c;
	MDB_val k, v;
	int rc = index_cursor(t, &c);

	if (rc)
		return rc;
	rc = index_raw_seek(c, key, klen, klen, &k, &v);
	mdb_cursor_close(c);
	return rc == -ENOENT ? 0 : rc ? rc : 1;
}

int index_path_prune(struct index_txn *t, uint64_t dir)
{
	while (dir != INDEX_ROOT) {
		uint8_t key[INDEX_KEY_MAX], name[ENTRY_NAME_MAX];
		struct index_place p;
		size_t klen;
		MDB_val v;
		int rc = any_in(t, 'E', dir);

		if (rc == 0)
			rc = any_in(t, 'F', dir);
		if (rc)
			return rc < 0 ? rc : 0;
		klen = index_key_number('D', dir, NULL, key);
		rc = index_raw_get(t, key, klen, &v);
		if (rc || v.mv_size < 9 || v.mv_size > 8 + sizeof name)
			return rc && rc != -ENOENT ? rc : ERR_CORRUPT;
		p = (struct index_place){ get_u64(v.mv_data), (const char *)name, v.mv_size - 8 };
		memcpy(name, (const uint8_t *)v.mv_data + 8, p.len);
		rc = index_raw_del(t, key, klen);
		if (!rc)
			rc = index_raw_del(t, key, index_key('F', &p, key));
		if (rc)
			return rc == -ENOENT ? ERR_CORRUPT : rc;
		dir = p.dir;
	}
	return 0;
}
