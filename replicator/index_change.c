/*
 * index_change.c - storing records, and what follows from them: positions, wanted, contents, inodes, leaves, sums; values and block lists.
 *
 * Invariant: for each record, and for nothing else, there is a P key of its position, an L key, a W and an A key if it is not held and not left out, an H key if it
 * is a file on the disk with contents, held or not, a T key if it is a held directory with another time than is known, an I key if it is a file on the disk, a G key if that has a link group, R keys of the contents of more
 * than one block that it has to do with. A list of blocks (B) is there only while an R key of its content is. test_replica_index checks it after every change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "ignore.h"
#include "index_impl.h"

#define VALUE_NAME_MAX 64u

/* A change that fails half-way leaves a transaction that can only be aborted. */
static int keep(struct index_txn *t, int rc)
{
	if (rc && !t->failed)
		t->failed = rc;
	return rc;
}

static int stage_sum(struct index_txn *t, const char *path, size_t len, const struct entry *e, bool add)
{
	struct buf b = BUF_INIT;
	int rc = 0;

	if (e->deleted || e->dot.seq == 0)
		return 0;
	if (t->change_count == t->change_cap) {
		size_t cap = t->change_cap ? 2 * t->change_cap : 64;
		struct sum_change *p = realloc(t->changes, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		t->changes = p;
		t->change_cap = cap;
	}
	entry_encode(e, &b);
	rc = b.err;
	if (!rc)
		t->changes[t->change_count++] = (struct sum_change){ sums_leaf(path, len), add, sums_hash(path, len, b.data, b.len) };
	buf_free(&b);
	return rc;
}

static bool untimed(const struct index_record *r)
{
	const struct entry *e = &r->known;

	return r->held && !e->deleted && e->kind == ENTRY_DIR && (e->dir_s || e->dir_ns) && r->stat.ino &&
	       (e->dir_s != r->stat.mtime_s || e->dir_ns != r->stat.mtime_ns);
}

static bool in_blocks(const struct entry *e)
{
	return !e->deleted && e->kind == ENTRY_FILE && entry_block_count(e->size) > 1;
}

/* What lies on the disk where it has another content than what is known; NULL. */
static const struct entry *other_on_disk(const struct index_record *r)
{
	bool same = in_blocks(&r->known) && memcmp(r->known.hash, r->disk.hash, HASH_BYTES) == 0;

	return !r->held && r->on_disk && !same ? &r->disk : NULL;
}

/* The keys that follow from a record, one after the other; 0 when there are no more. */
static size_t derived(unsigned n, const char *path, size_t len, const struct index_place *p, const struct index_record *r, uint8_t *out)
{
	switch (n) {
	case 0:
		return index_key_number('P', r->position, p, out);
	case 1: {
		uint8_t leaf[2] = { (uint8_t)(sums_leaf(path, len) >> 8), (uint8_t)sums_leaf(path, len) };
		size_t k = index_key('L', p, out);

		memmove(out + 3, out + 1, k - 1);
		memcpy(out + 1, leaf, 2);
		return k + 2;
	}
	case 2:
		return r->held || r->left_out ? 0 : index_key('W', p, out);
	case 8:
		return r->held || r->left_out ? 0 : index_key_number('A', r->position, p, out);
	case 3: {
		const struct entry *e = r->held ? &r->known : r->on_disk ? &r->disk : NULL;

		return e && !e->deleted && e->kind == ENTRY_FILE && e->size ? index_key_hash(e->hash, p, out) : 0;
	}
	case 5: {
		const struct entry *e = r->held ? &r->known : r->on_disk ? &r->disk : NULL;
		size_t k = e && !e->deleted && entry_linked(e) ? index_key('G', p, out) : 0;

		if (!k)
			return 0;
		memmove(out + 1 + ENTRY_LINK_BYTES, out + 1, k - 1);
		memcpy(out + 1, e->link, ENTRY_LINK_BYTES);
		return k + ENTRY_LINK_BYTES;
	}
	case 4:
		return untimed(r) ? index_key('T', p, out) : 0;
	case 6:
		return r->stat.ino && (r->held ? &r->known : &r->disk)->kind == ENTRY_FILE ? index_key_number('I', r->stat.ino, p, out) : 0;
	case 7:
		return in_blocks(&r->known) ? index_key_ref(r->known.hash, p, out) : 0;
	case 10:
		return r->rot ? index_key_rot(r->known.hash, p, out) : 0;
	default: {
		const struct entry *e = other_on_disk(r);

		return e && in_blocks(e) ? index_key_ref(e->hash, p, out) : 0;
	}
	}
}

#define DERIVED 11u

struct key { size_t len; uint8_t bytes[INDEX_KEY_MAX + 8]; };

static void all_derived(const char *path, size_t len, const struct index_place *p, const struct index_record *r, struct key *ret)
{
	for (unsigned n = 0; n < DERIVED; n++)
		ret[n].len = r ? derived(n, path, len, p, r, ret[n].bytes) : 0;
}

static bool same_key(const struct key *a, const struct key *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* From those of old to those of r (NULL: none): most are the same. All that go, then all that come: a content may be another one of the record's two now. */
static int change_derived(struct index_txn *t, const char *path, size_t len, const struct index_place *p, const struct index_record *old, const struct index_record *r)
{
	struct key was[DERIVED], is[DERIVED];
	int rc = 0;

	all_derived(path, len, p, old, was);
	all_derived(path, len, p, r, is);
	for (unsigned n = 0; n < DERIVED && !rc; n++)
		if (was[n].len && !same_key(&was[n], &is[n]))
			rc = index_raw_del(t, was[n].bytes, was[n].len);
	if (rc == -ENOENT)
		rc = ERR_CORRUPT;
	for (unsigned n = 0; n < DERIVED && !rc; n++)
		if (is[n].len && !same_key(&was[n], &is[n]))
			rc = index_raw_put(t, is[n].bytes, is[n].len, "", 0);
	return rc;
}

static bool is_wanted(const struct index_record *r)
{
	return !r->held && !r->left_out;
}

static uint64_t wanted_bytes(const struct index_record *r)
{
	return is_wanted(r) && !r->known.deleted ? r->known.size : 0;
}

static void count(struct index_txn *t, const struct index_record *r, int by)
{
	t->count += (uint64_t)(int64_t)by;
	t->wanted += is_wanted(r) ? (uint64_t)(int64_t)by : 0;
	t->wanted_bytes += by < 0 ? 0 - wanted_bytes(r) : wanted_bytes(r);
	t->rotten += r->rot ? (uint64_t)(int64_t)by : 0;
}

/* r in the place of old; NULL: nothing was, or is to be, there. known: both say the same of what is known. */
static int replace(struct index_txn *t, const char *path, size_t len, const struct index_place *p, const struct index_record *old, const struct index_record *r, bool known)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t klen = index_key('E', p, key);
	struct buf b = BUF_INIT;
	int rc;

	if (r)
		index_record_encode(r, &b);
	rc = b.err ? b.err : r ? index_raw_put(t, key, klen, b.data, b.len) : index_raw_del(t, key, klen);
	buf_free(&b);
	if (!rc)
		rc = change_derived(t, path, len, p, old, r);
	if (!rc && old && !known)
		rc = stage_sum(t, path, len, &old->known, false);
	if (!rc && r && !known)
		rc = stage_sum(t, path, len, &r->known, true);
	if (old)
		count(t, old, -1);
	if (r)
		count(t, r, 1);
	return rc;
}

static int drop_list(struct index_txn *t, const struct entry *e)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t klen;
	MDB_cursor *c;
	MDB_val k, v;
	int rc;

	if (!in_blocks(e))
		return 0;
	rc = index_cursor(t, &c);
	if (rc)
		return rc;
	klen = index_key_ref(e->hash, NULL, key);
	rc = index_raw_seek(c, key, klen, klen, &k, &v);
	mdb_cursor_close(c);
	if (rc != -ENOENT)
		return rc;
	rc = index_raw_del(t, key, index_key_blocks(e->hash, key));
	return rc == -ENOENT ? 0 : rc;
}

/* Of contents that this record had to do with, and that no record has any more, nobody needs the blocks. */
static int drop_lists(struct index_txn *t, const struct index_record *old)
{
	const struct entry *e = other_on_disk(old);
	int rc = drop_list(t, &old->known);

	return rc || !e ? rc : drop_list(t, e);
}

static int same_known(const struct index_record *a, const struct index_record *b, bool *ret)
{
	struct buf x = BUF_INIT, y = BUF_INIT;

	entry_encode(&a->known, &x);
	entry_encode(&b->known, &y);
	*ret = !x.err && !y.err && x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
	buf_free(&x);
	buf_free(&y);
	return x.err ? x.err : y.err;
}

/* The record at p; -ENOENT. */
static int fetch(struct index_txn *t, const struct index_place *p, struct index_record *ret)
{
	uint8_t key[INDEX_KEY_MAX];
	MDB_val v;
	int rc = index_raw_get(t, key, index_key('E', p, key), &v);

	return rc ? rc : index_record_decode(v.mv_data, v.mv_size, ret);
}

int index_get(struct index_txn *t, const char *path, size_t len, struct index_record *ret)
{
	struct index_place p;
	int rc = index_path_place(t, path, len, false, &p);

	return rc ? rc : fetch(t, &p, ret);
}

/* Of an ignored path nothing is known but what others say; of one that was, nothing is known yet. */
static void leave_out(const struct ignore *rules, const char *path, size_t len, const struct index_record *old, struct index_record *r)
{
	r->left_out = ignore_leaves_out(rules, path, len);
	r->stale |= old->left_out && !r->left_out;
	if (!r->left_out)
		return;
	r->held = r->known.deleted;
	r->on_disk = r->young = r->stale = false;
	entry_free(&r->disk);
	memset(&r->stat, 0, sizeof r->stat);
}

int index_put(struct index_txn *t, const char *path, size_t len, struct index_record *r)
{
	struct index_record old;
	struct index_place p;
	bool none, known = false, same;
	int rc;

	if (!t->write || !entry_path_valid(path, len))
		return -EINVAL;
	index_record_init(&old);
	rc = index_path_place(t, path, len, true, &p);
	if (!rc)
		rc = fetch(t, &p, &old);
	none = rc == -ENOENT;
	if (none)
		rc = 0;
	if (!rc)
		leave_out(t->x->ignore, path, len, &old, r);
	r->rot = r->rot && r->on_disk && !r->held;
	if (!rc && !none)
		rc = same_known(&old, r, &known);
	same = known && old.held == r->held;
	r->position = same ? old.position : ++t->position;
	t->wanted_news |= is_wanted(r) && (!same || old.left_out);
	if (!rc)
		rc = replace(t, path, len, &p, none ? NULL : &old, r, known);
	if (!rc)
		rc = drop_lists(t, &old);
	index_record_free(&old);
	return keep(t, rc);
}

void index_set_ignore(struct index *x, const struct ignore *rules)
{
	x->ignore = rules;
}

int index_renew(struct index_txn *t, const char *path, size_t len)
{
	struct index_record r, old;
	struct index_place p;
	int rc;

	if (!t->write)
		return -EINVAL;
	index_record_init(&r);
	rc = index_path_place(t, path, len, false, &p);
	if (!rc)
		rc = fetch(t, &p, &r);
	if (rc)
		return rc;
	old = r; /* borrowed */
	r.position = ++t->position;
	rc = replace(t, path, len, &p, &old, &r, true);
	index_record_free(&r);
	return keep(t, rc);
}

int index_delete(struct index_txn *t, const char *path, size_t len)
{
	struct index_record old;
	struct index_place p;
	int rc;

	if (!t->write)
		return -EINVAL;
	index_record_init(&old);
	rc = index_path_place(t, path, len, false, &p);
	if (!rc)
		rc = fetch(t, &p, &old);
	if (rc)
		return rc;
	rc = replace(t, path, len, &p, &old, NULL, false);
	if (!rc)
		rc = index_path_prune(t, p.dir);
	if (!rc)
		rc = drop_lists(t, &old);
	index_record_free(&old);
	return keep(t, rc);
}

/* --- values and block lists --- */

static size_t value_key(const char *name, uint8_t *out)
{
	size_t n = strlen(name);

	if (n == 0 || n > VALUE_NAME_MAX)
		return 0;
	out[0] = 'V';
	memcpy(out + 1, name, n);
	return n + 1;
}

static int get_bytes(struct index_txn *t, const uint8_t *key, size_t klen, struct buf *ret)
{
	MDB_val v;
	int rc = klen ? index_raw_get(t, key, klen, &v) : -EINVAL;

	if (rc)
		return rc;
	buf_reset(ret);
	buf_bytes(ret, v.mv_data, v.mv_size);
	return ret->err;
}

int index_value_get(struct index_txn *t, const char *name, struct buf *ret)
{
	uint8_t key[1 + VALUE_NAME_MAX];

	return get_bytes(t, key, value_key(name, key), ret);
}

int index_value_put(struct index_txn *t, const char *name, const void *p, size_t len)
{
	uint8_t key[1 + VALUE_NAME_MAX];
	size_t klen = value_key(name, key);
	int rc;

	if (!t->write || !klen)
		return -EINVAL;
	rc = p ? index_raw_put(t, key, klen, p, len) : index_raw_del(t, key, klen);
	return keep(t, !p && rc == -ENOENT ? 0 : rc);
}

int index_blocks_put(struct index_txn *t, const uint8_t *hash, const uint8_t *list, size_t len)
{
	uint8_t key[INDEX_KEY_MAX];
	size_t klen = index_key_ref(hash, NULL, key);
	MDB_cursor *c;
	MDB_val k, v;
	int rc;

	if (!t->write || len == 0 || len % HASH_BYTES || len / HASH_BYTES > ENTRY_BLOCKS_MAX)
		return -EINVAL;
	rc = index_cursor(t, &c);
	if (rc)
		return rc;
	rc = index_raw_seek(c, key, klen, klen, &k, &v);
	mdb_cursor_close(c);
	if (rc)
		return rc;
	return keep(t, index_raw_put(t, key, index_key_blocks(hash, key), list, len));
}

int index_blocks_get(struct index_txn *t, const uint8_t *hash, struct buf *ret)
{
	uint8_t key[INDEX_KEY_MAX];

	return get_bytes(t, key, index_key_blocks(hash, key), ret);
}

int index_context_get(struct index_txn *t, struct vector *ret)
{
	struct buf b = BUF_INIT;
	int rc = index_value_get(t, ".context", &b);

	if (rc == -ENOENT) {
		ret->count = 0;
		rc = 0;
	} else if (!rc) {
		struct cursor c = cursor_make(b.data, b.len);

		vector_decode(&c, ret);
		rc = cursor_end(&c);
	}
	buf_free(&b);
	return rc;
}

int index_context_put(struct index_txn *t, const struct vector *v)
{
	struct buf b = BUF_INIT;
	uint8_t key[1 + VALUE_NAME_MAX];
	size_t klen = value_key(".context", key);
	MDB_val old;
	int rc;

	vector_encode(v, &b);
	rc = b.err ? b.err : index_raw_get(t, key, klen, &old);
	if (rc || old.mv_size != b.len || memcmp(old.mv_data, b.data, b.len) != 0)
		rc = b.err ? b.err : index_value_put(t, ".context", b.data, b.len);
	buf_free(&b);
	return rc;
}
