/*
 * index_walk.c - going through records: of a directory, of a subtree, by position, by leaf, by content, by inode, wanted ones.
 *
 * A walk holds no view across a visit but its cursor; each record is decoded for its visit alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "index_impl.h"

#define STOPPED 1 /* by a visit; w->answer is what it said */

struct walk {
	struct index_txn *t;
	int answer;
	index_visit visit;
	void *user;
	struct index_record r;
	char path[ENTRY_PATH_MAX];
};

static int walk_new(struct index_txn *t, index_visit fn, void *user, struct walk **ret)
{
	struct walk *w = calloc(1, sizeof *w);

	if (!w)
		return -ENOMEM;
	w->t = t;
	w->visit = fn;
	w->user = user;
	index_record_init(&w->r);
	*ret = w;
	return 0;
}

static int walk_end(struct walk *w, int rc)
{
	int answer = rc == STOPPED ? w->answer : rc == -ENOENT ? 0 : rc;

	index_record_free(&w->r);
	free(w);
	return answer;
}

static int visit(struct walk *w, size_t path_len)
{
	w->answer = w->visit(w->user, w->path, path_len, &w->r);
	return w->answer ? STOPPED : 0;
}

/* --- by secondary keys --- */

static int visit_place(struct walk *w, const struct index_place *p)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t len;
	MDB_val v;
	int rc = index_raw_get(w->t, key, index_key('E', p, key), &v);

	if (!rc)
		rc = index_record_decode(v.mv_data, v.mv_size, &w->r);
	if (!rc)
		rc = index_path_of(w->t, p, w->path, &len);
	if (rc)
		return rc == -ENOENT ? ERR_CORRUPT : rc;
	return visit(w, len);
}

/* Keys from `key` on that begin with its first `prefix` bytes; the place is behind `skip` bytes. */
static int walk_keys(struct index_txn *t, const uint8_t *key, size_t klen, size_t prefix, size_t skip, unsigned most, index_visit fn, void *user)
{
	MDB_cursor *c;
	struct walk *w;
	MDB_val k, v;
	int rc = walk_new(t, fn, user, &w);

	if (rc)
		return rc;
	rc = index_cursor(t, &c);
	if (rc)
		return walk_end(w, rc);
	rc = index_raw_seek(c, key, klen, prefix, &k, &v);
	for (unsigned n = 0; !rc && n < most; n++) {
		struct index_place p;

		rc = index_key_place(&k, skip, &p);
		if (!rc)
			rc = visit_place(w, &p);
		if (!rc)
			rc = index_raw_next(c, key, prefix, &k, &v);
	}
	mdb_cursor_close(c);
	return walk_end(w, rc);
}

int index_since(struct index_txn *t, uint64_t after, unsigned most, index_visit fn, void *user)
{
	uint8_t key[9];

	if (after == UINT64_MAX)
		return 0;
	index_key_number('P', after + 1, NULL, key);
	return walk_keys(t, key, sizeof key, 1, 9, most, fn, user);
}

int index_wanted(struct index_txn *t, unsigned most, index_visit fn, void *user)
{
	return walk_keys(t, (const uint8_t *)"W", 1, 1, 1, most, fn, user);
}

int index_wanted_from(struct index_txn *t, struct index_at *at, unsigned most, index_visit fn, void *user)
{
	uint8_t key[INDEX_KEY_MAX + 1] = { 'A' };
	size_t klen = at->len;
	MDB_cursor *c;
	struct walk *w;
	MDB_val k, v;
	int rc = walk_new(t, fn, user, &w);

	if (rc)
		return rc;
	rc = index_cursor(t, &c);
	if (rc)
		return walk_end(w, rc);
	memcpy(key, at->key, klen);
	key[klen ? klen : 1] = 0; /* names have no NUL: just behind the last one */
	rc = index_raw_seek(c, key, klen + 1, 1, &k, &v);
	for (unsigned n = 0; !rc && n < most; n++) {
		struct index_place p;

		rc = index_key_place(&k, 9, &p);
		if (!rc && k.mv_size > sizeof at->key)
			rc = ERR_CORRUPT;
		if (rc)
			break;
		at->len = k.mv_size;
		memcpy(at->key, k.mv_data, k.mv_size);
		rc = visit_place(w, &p);
		if (!rc)
			rc = index_raw_next(c, key, 1, &k, &v);
	}
	mdb_cursor_close(c);
	if (rc == -ENOENT)
		at->len = 0;
	return walk_end(w, rc);
}

int index_wanted_below(struct index_txn *t, const char *dir, size_t len, unsigned most, index_visit fn, void *user)
{
	struct index_place p = { .name = "" };
	uint8_t key[INDEX_KEY_MAX];
	size_t klen;
	int rc = index_path_dir(t, dir, len, &p.dir);

	if (rc)
		return rc == -ENOENT ? 0 : rc; /* nothing was ever in it */
	klen = index_key('W', &p, key);
	return walk_keys(t, key, klen, klen, 1, most, fn, user);
}

int index_with_link(struct index_txn *t, const uint8_t *link, index_visit fn, void *user)
{
	uint8_t key[1 + ENTRY_LINK_BYTES] = { 'G' };

	memcpy(key + 1, link, ENTRY_LINK_BYTES);
	return walk_keys(t, key, sizeof key, sizeof key, sizeof key, UINT32_MAX, fn, user);
}

int index_untimed(struct index_txn *t, unsigned most, index_visit fn, void *user)
{
	return walk_keys(t, (const uint8_t *)"T", 1, 1, 1, most, fn, user);
}

int index_wanted_in(struct index_txn *t, const char *dir, size_t len, bool *ret)
{
	struct index_place p = { .name = "" };
	uint8_t key[INDEX_KEY_MAX];
	MDB_cursor *c;
	MDB_val k, v;
	size_t klen;
	int rc = index_path_dir(t, dir, len, &p.dir);

	*ret = false;
	if (!rc)
		rc = index_cursor(t, &c);
	if (rc)
		return rc == -ENOENT ? 0 : rc; /* nothing was ever in it */
	klen = index_key('W', &p, key);
	rc = index_raw_seek(c, key, klen, klen, &k, &v);
	mdb_cursor_close(c);
	*ret = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

int index_leaf(struct index_txn *t, uint16_t leaf, index_visit fn, void *user)
{
	uint8_t key[3] = { 'L', (uint8_t)(leaf >> 8), (uint8_t)leaf };

	return walk_keys(t, key, sizeof key, sizeof key, sizeof key, UINT32_MAX, fn, user);
}

int index_with_hash(struct index_txn *t, const uint8_t *hash, index_visit fn, void *user)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t len = index_key_hash(hash, NULL, key);

	return walk_keys(t, key, len, len, len, UINT32_MAX, fn, user);
}

int index_rotten_of(struct index_txn *t, const uint8_t *hash, index_visit fn, void *user)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t len = index_key_rot(hash, NULL, key);

	return walk_keys(t, key, len, len, len, UINT32_MAX, fn, user);
}

int index_with_inode(struct index_txn *t, uint64_t ino, index_visit fn, void *user)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t len = index_key_number('I', ino, NULL, key);

	return walk_keys(t, key, len, len, len, UINT32_MAX, fn, user);
}

/* --- by directories --- */

struct level { uint64_t dir; size_t path_len; char last[ENTRY_NAME_MAX]; size_t last_len; };

struct stack { struct level *l; size_t depth, cap; };

static int push(struct stack *s, uint64_t dir, size_t path_len)
{
	if (s->depth == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct level *p = realloc(s->l, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		s->l = p;
		s->cap = cap;
	}
	s->l[s->depth].dir = dir;
	s->l[s->depth].path_len = path_len;
	s->l[s->depth++].last_len = 0;
	return 0;
}

/* The next name of a level in table E or F, whichever comes first: a directory on the way to records may have none itself.
 * 0, -ENOENT at its end. */
static int next_name(MDB_cursor *c, struct level *l, struct index_place *ret)
{
	struct index_place best = { 0, NULL, 0 };

	for (int table = 0; table < 2; table++) {
		uint8_t key[INDEX_KEY_MAX + 1];
		struct index_place from = { l->dir, l->last, l->last_len }, p;
		size_t klen = index_key(table ? 'F' : 'E', &from, key);
		MDB_val k, v;
		int rc;

		if (l->last_len)
			key[klen++] = 0; /* names have no NUL: just behind the last one */
		rc = index_raw_seek(c, key, klen, 9, &k, &v);
		if (rc == -ENOENT)
			continue;
		if (!rc)
			rc = index_key_place(&k, 1, &p);
		if (rc)
			return rc;
		if (!best.name || memcmp(p.name, best.name, p.len < best.len ? p.len : best.len) < 0 ||
		    (memcmp(p.name, best.name, p.len < best.len ? p.len : best.len) == 0 && p.len < best.len))
			best = p;
	}
	if (!best.name)
		return -ENOENT;
	if (best.len > ENTRY_NAME_MAX)
		return ERR_CORRUPT;
	memcpy(l->last, best.name, best.len);
	l->last_len = best.len;
	*ret = (struct index_place){ l->dir, l->last, l->last_len };
	return 0;
}

/* Puts the level's last name behind its path. */
static int extend(struct walk *w, const struct level *l, size_t *ret_len)
{
	size_t at = l->path_len;

	if (at + 1 + l->last_len > sizeof w->path)
		return ERR_CORRUPT;
	if (at)
		w->path[at++] = '/';
	memcpy(w->path + at, l->last, l->last_len);
	*ret_len = at + l->last_len;
	return 0;
}

static int visit_name(struct walk *w, const struct index_place *p, size_t path_len)
{
	uint8_t key[INDEX_KEY_MAX];
	MDB_val v;
	int rc = index_raw_get(w->t, key, index_key('E', p, key), &v);

	if (rc == -ENOENT)
		return 0;
	if (!rc)
		rc = index_record_decode(v.mv_data, v.mv_size, &w->r);
	return rc ? rc : visit(w, path_len);
}

static int descend(struct walk *w, struct stack *s, const struct index_place *p, size_t path_len)
{
	uint8_t key[INDEX_KEY_MAX];
	MDB_val v;
	int rc = index_raw_get(w->t, key, index_key('F', p, key), &v);

	if (rc == -ENOENT)
		return 0;
	if (rc || v.mv_size != 8)
		return rc ? rc : ERR_CORRUPT;
	return push(s, get_u64(v.mv_data), path_len);
}

static int walk_dirs(struct index_txn *t, const char *dir, size_t len, bool deep, index_visit fn, void *user)
{
	struct stack s = { NULL, 0, 0 };
	struct index_place p;
	MDB_cursor *c = NULL;
	struct walk *w;
	uint64_t number;
	size_t path_len;
	int rc = walk_new(t, fn, user, &w);

	if (rc)
		return rc;
	rc = len > sizeof w->path ? -EINVAL : index_path_dir(t, dir, len, &number);
	if (!rc) {
		memcpy(w->path, dir, len);
		rc = push(&s, number, len);
	}
	if (!rc)
		rc = index_cursor(t, &c);
	while (!rc && s.depth) {
		rc = next_name(c, &s.l[s.depth - 1], &p);
		if (rc == -ENOENT) {
			s.depth--;
			rc = 0;
			continue;
		}
		if (!rc)
			rc = extend(w, &s.l[s.depth - 1], &path_len);
		if (!rc)
			rc = visit_name(w, &p, path_len);
		if (!rc && deep)
			rc = descend(w, &s, &p, path_len);
	}
	if (c)
		mdb_cursor_close(c);
	free(s.l);
	return walk_end(w, rc);
}

int index_children(struct index_txn *t, const char *dir, size_t len, index_visit fn, void *user)
{
	return walk_dirs(t, dir, len, false, fn, user);
}

int index_below(struct index_txn *t, const char *dir, size_t len, index_visit fn, void *user)
{
	return walk_dirs(t, dir, len, true, fn, user);
}
