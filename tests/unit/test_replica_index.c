/* test_replica_index.c - the replicator's index against a model: every table after every change, aborts, reopening. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "ignore.h"
#include "index.h"

#define MAP_BYTES (64ull << 20)
#define PATHS 40

static const uint8_t random_id[INDEX_ID_BYTES] = { 1, 2, 3 };
static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/replica-index.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[128];
	static const char *const names[] = { "data.mdb", "lock.mdb", "lock" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* Paths of which some are others' directories, and some have directories without a record. */
static size_t path_of(unsigned n, char *out)
{
	static const char *const dirs[] = { "", "d/", "d/e/", "d/e/f/", "d-/", "x/y/z/", "D/", "d/e!/" };

	return (size_t)sprintf(out, "%s%s%u", dirs[n % 8], n % 3 ? "n" : "\xff", n / 8);
}

#define HASHES 4
#define BIG 300000 /* more than one block */

struct model { bool there[PATHS]; struct index_record r[PATHS]; uint64_t position; bool list[HASHES]; };

static void random_record(uint64_t *r, struct index_record *rec)
{
	index_record_free(rec);
	rec->known.dot = (struct dot){ { (uint8_t)rng_below(r, 3) }, 1 + rng_below(r, 1000) };
	rec->known.stamp = 1 + rng_below(r, 1000);
	assert_int_equal(vector_raise(&rec->known.known, &rec->known.dot), 0);
	rec->known.kind = (enum entry_kind)(1 + rng_below(r, 2));
	rec->known.deleted = rng_below(r, 4) == 0;
	if (rec->known.kind == ENTRY_FILE && !rec->known.deleted) {
		rec->known.size = rng_below(r, 2) ? rng_below(r, 3) : BIG;
		rec->known.hash[0] = (uint8_t)rng_below(r, HASHES);
	}
	rec->held = rng_below(r, 2);
	rec->on_disk = !rec->held && rng_below(r, 2);
	if (rec->known.kind == ENTRY_FILE && !rec->known.deleted)
		rec->known.link[3] = (uint8_t)rng_below(r, 3);
	if (rec->on_disk)
		assert_int_equal(entry_copy(&rec->known, &rec->disk), 0);
	if (rec->on_disk && rec->disk.size)
		rec->disk.hash[0] = (uint8_t)rng_below(r, HASHES);
	if (!rec->held)
		rec->holders = rng_next(r);
	if (rng_below(r, 2))
		rec->stat = (struct index_stat){ .ino = 1 + rng_below(r, 4), .links = 1 + rng_below(r, 2), .mtime_s = -5, .uid = rng_below(r, 2) ? UINT32_MAX : 0, .gid = 100 };
	if (rng_below(r, 2))
		rec->known.dir_s = rng_below(r, 2) ? 7 : -5;
	rec->young = rec->stat.ino && rng_below(r, 2);
}

static void assert_same_record(const struct index_record *a, const struct index_record *b)
{
	assert_true(entry_same(&a->known, &b->known) && entry_order(&a->known, &b->known) == 0);
	assert_true(a->held == b->held && a->on_disk == b->on_disk && a->position == b->position);
	assert_true(a->held || a->holders == b->holders);
	assert_int_equal(a->young, b->young);
	assert_memory_equal(&a->stat, &b->stat, sizeof a->stat);
}

static int model_find(const char *path, size_t len)
{
	char p[64];

	for (unsigned n = 0; n < PATHS; n++)
		if (path_of(n, p) == len && memcmp(p, path, len) == 0)
			return (int)n;
	return -1;
}

struct seen { const struct model *m; bool at[PATHS]; unsigned count; uint64_t last_position; char last_path[64]; bool by_position; };

static int see(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct seen *s = user;
	int n = model_find(path, len);

	assert_true(n >= 0 && s->m->there[n] && !s->at[n]);
	assert_same_record(r, &s->m->r[n]);
	s->at[n] = true;
	s->count++;
	if (s->by_position) {
		assert_true(r->position > s->last_position);
		s->last_position = r->position;
	}
	return 0;
}

/* Exactly those that `want` says were seen. */
static void assert_seen(struct seen *s, const struct model *m, bool (*want)(const struct model *m, unsigned n, uint64_t arg), uint64_t arg)
{
	for (unsigned n = 0; n < PATHS; n++)
		assert_int_equal(s->at[n], m->there[n] && want(m, n, arg));
	memset(s->at, 0, sizeof s->at);
	s->count = 0;
	s->last_position = 0;
}

static bool all(const struct model *m, unsigned n, uint64_t arg) { (void)m; (void)n; (void)arg; return true; }
static bool wanted(const struct model *m, unsigned n, uint64_t arg) { (void)arg; return !m->r[n].held; }
static bool untimed(const struct model *m, unsigned n, uint64_t arg)
{
	const struct index_record *r = &m->r[n];

	(void)arg;
	return r->held && !r->known.deleted && r->known.kind == ENTRY_DIR && r->known.dir_s && r->stat.ino && r->known.dir_s != r->stat.mtime_s;
}

static void check_wanted_in(struct index_txn *t, const struct model *m)
{
	for (unsigned n = 0; n < PATHS; n++) {
		char p[64], q[64], *slash;
		bool any = false, is = true;

		path_of(n, p);
		slash = strrchr(p, '/');
		if (slash)
			*slash = '\0';
		else
			p[0] = '\0';
		for (unsigned k = 0; k < PATHS; k++) {
			size_t len = strlen(p);

			path_of(k, q);
			any |= m->there[k] && !m->r[k].held && strncmp(q, p, len) == 0 && (!len || q[len] == '/') && !strchr(q + len + (len > 0), '/');
		}
		assert_int_equal(index_wanted_in(t, p, strlen(p), &is), 0);
		assert_int_equal(is, any);
	}
}

static bool since(const struct model *m, unsigned n, uint64_t arg) { return m->r[n].position > arg; }
static bool with_link(const struct model *m, unsigned n, uint64_t arg)
{
	const struct index_record *r = &m->r[n];
	const struct entry *e = r->held ? &r->known : r->on_disk ? &r->disk : NULL;

	return e && !e->deleted && e->link[3] == arg;
}
static bool with_inode(const struct model *m, unsigned n, uint64_t arg) { return arg && m->r[n].stat.ino == arg && (m->r[n].held ? &m->r[n].known : &m->r[n].disk)->kind == ENTRY_FILE; }

static bool with_hash(const struct model *m, unsigned n, uint64_t arg)
{
	const struct index_record *r = &m->r[n];

	const struct entry *e = r->held ? &r->known : r->on_disk ? &r->disk : NULL;

	return e && !e->deleted && e->kind == ENTRY_FILE && e->size && e->hash[0] == arg;
}

/* Does any record have to do with this content of many blocks? */
static bool needed(const struct model *m, unsigned hash)
{
	for (unsigned n = 0; n < PATHS; n++) {
		const struct index_record *r = &m->r[n];

		if (m->there[n] && ((r->known.size == BIG && r->known.hash[0] == hash) || (!r->held && r->on_disk && r->disk.size == BIG && r->disk.hash[0] == hash)))
			return true;
	}
	return false;
}

static bool has_list(struct index_txn *t, unsigned hash)
{
	uint8_t h[HASH_BYTES] = { (uint8_t)hash };
	struct buf b = BUF_INIT;
	int rc = index_blocks_get(t, h, &b);

	assert_true(rc == 0 || rc == -ENOENT);
	buf_free(&b);
	return rc == 0;
}

static void change_list(struct index_txn *t, struct model *m, unsigned hash)
{
	uint8_t h[HASH_BYTES] = { (uint8_t)hash }, list[3 * HASH_BYTES] = { 9 };

	assert_int_equal(index_blocks_put(t, h, list, sizeof list), needed(m, hash) ? 0 : -ENOENT);
	m->list[hash] |= needed(m, hash);
}

static bool in_leaf(const struct model *m, unsigned n, uint64_t arg)
{
	char p[64];
	size_t len = path_of(n, p);

	(void)m;
	return sums_leaf(p, len) == arg;
}

static bool below_d(const struct model *m, unsigned n, uint64_t arg)
{
	char p[64];

	(void)m;
	path_of(n, p);
	return strncmp(p, "d/", 2) == 0 && (!arg || !strchr(p + 2, '/'));
}

/* Piece by piece, in the order in which they came; directory by directory as well. */
static void check_wanted_pieces(struct index_txn *t, const struct model *m)
{
	struct seen s = { .m = m, .by_position = true };
	struct index_at at = { 0 };
	unsigned before;

	do {
		before = s.count;
		assert_int_equal(index_wanted_from(t, &at, 3, see, &s), 0);
		assert_true(s.count <= before + 3);
	} while (at.len);
	assert_seen(&s, m, wanted, 0);
	s.by_position = false;
	assert_int_equal(index_wanted_below(t, "d", 1, UINT32_MAX, see, &s), 0);
	for (unsigned n = 0; n < PATHS; n++)
		assert_int_equal(s.at[n], m->there[n] && wanted(m, n, 0) && below_d(m, n, 1));
}

static void check_all(struct index *x, const struct model *m)
{
	struct seen s = { .m = m };
	struct sums *sums;
	struct index_txn *t;
	uint64_t count = 0, missing = 0, missing_bytes = 0;
	char p[64];

	assert_int_equal(index_begin(x, false, &t), 0);
	assert_int_equal(sums_new(&sums), 0);
	assert_int_equal(index_below(t, "", 0, see, &s), 0);
	assert_seen(&s, m, all, 0);
	assert_int_equal(index_below(t, "d", 1, see, &s), 0);
	assert_seen(&s, m, below_d, 0);
	assert_int_equal(index_children(t, "d", 1, see, &s), 0);
	assert_seen(&s, m, below_d, 1);
	assert_int_equal(index_wanted(t, UINT32_MAX, see, &s), 0);
	assert_seen(&s, m, wanted, 0);
	check_wanted_pieces(t, m);
	assert_int_equal(index_untimed(t, UINT32_MAX, see, &s), 0);
	assert_seen(&s, m, untimed, 0);
	check_wanted_in(t, m);
	s.by_position = true;
	assert_int_equal(index_since(t, 0, UINT32_MAX, see, &s), 0);
	assert_seen(&s, m, all, 0);
	assert_int_equal(index_since(t, m->position / 2, UINT32_MAX, see, &s), 0);
	assert_seen(&s, m, since, m->position / 2);
	s.by_position = false;
	for (uint64_t i = 0; i < 5; i++) {
		uint8_t hash[HASH_BYTES] = { (uint8_t)i };

		assert_int_equal(index_with_hash(t, hash, see, &s), 0);
		assert_seen(&s, m, with_hash, i);
		assert_int_equal(index_with_inode(t, i, see, &s), 0);
		assert_seen(&s, m, with_inode, i);
	}
	for (unsigned i = 0; i < HASHES; i++)
		assert_int_equal(has_list(t, i), m->list[i]);
	for (uint8_t i = 1; i < 4; i++) {
		const uint8_t link[ENTRY_LINK_BYTES] = { 0, 0, 0, i };

		assert_int_equal(index_with_link(t, link, see, &s), 0);
		assert_seen(&s, m, with_link, i);
	}
	for (unsigned n = 0; n < PATHS; n++) {
		size_t len = path_of(n, p);
		struct buf b = BUF_INIT;

		assert_int_equal(index_leaf(t, sums_leaf(p, len), see, &s), 0);
		assert_seen(&s, m, in_leaf, sums_leaf(p, len));
		count += m->there[n];
		missing += m->there[n] && !m->r[n].held;
		missing_bytes += m->there[n] && !m->r[n].held ? m->r[n].known.size : 0;
		if (!m->there[n] || m->r[n].known.deleted)
			continue;
		entry_encode(&m->r[n].known, &b);
		sums_add(sums, sums_leaf(p, len), sums_hash(p, len, b.data, b.len));
		buf_free(&b);
	}
	assert_int_equal(index_count(t), count);
	assert_int_equal(index_wanted_count(t), missing);
	assert_int_equal(index_wanted_bytes(t), missing_bytes);
	assert_int_equal(index_position(t), m->position);
	assert_true(sum_equal(sums_root(sums), sums_root(index_sums(x))));
	for (unsigned n = 0; n < SUM_FANOUT; n++)
		assert_true(sum_equal(sums_node(sums, n), sums_node(index_sums(x), n)));
	sums_free(sums);
	index_abort(t);
}

static int take(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct model *m = user;
	int n = model_find(path, len);

	assert_true(n >= 0);
	m->there[n] = true;
	index_record_free(&m->r[n]);
	assert_int_equal(entry_copy(&r->known, &m->r[n].known), 0);
	assert_int_equal(entry_copy(&r->disk, &m->r[n].disk), 0);
	m->r[n].held = r->held;
	m->r[n].on_disk = r->on_disk;
	m->r[n].stat = r->stat;
	m->r[n].young = r->young;
	m->r[n].holders = r->holders;
	m->r[n].position = r->position;
	return 0;
}

static void change_record(struct index_txn *t, struct model *m, uint64_t *r)
{
	unsigned n = (unsigned)rng_below(r, PATHS);
	char p[64];
	size_t len = path_of(n, p);

	if (rng_below(r, 4) == 0) {
		assert_int_equal(index_delete(t, p, len), m->there[n] ? 0 : -ENOENT);
		m->there[n] = false;
		return;
	}
	if (rng_below(r, 8) == 0) { /* told once more */
		assert_int_equal(index_renew(t, p, len), m->there[n] ? 0 : -ENOENT);
		if (m->there[n])
			m->r[n].position = ++m->position;
		assert_int_equal(index_position(t), m->position);
		return;
	}
	if (m->there[n] && rng_below(r, 3) == 0) { /* only what lies on the disk: no news for peers */
		m->r[n].stat.size++;
		assert_int_equal(index_put(t, p, len, &m->r[n]), 0);
		assert_true(m->r[n].position <= m->position);
		return;
	}
	random_record(r, &m->r[n]);
	m->there[n] = true;
	assert_int_equal(index_put(t, p, len, &m->r[n]), 0);
	m->position = m->r[n].position > m->position ? m->r[n].position : m->position;
}

static void change(struct index_txn *t, struct model *m, uint64_t *r)
{
	if (rng_below(r, 3) == 0)
		change_list(t, m, (unsigned)rng_below(r, HASHES));
	change_record(t, m, r);
	for (unsigned i = 0; i < HASHES; i++)
		m->list[i] &= needed(m, i);
}

/* What the index itself says, as a model: after an abort, and to see that reopening changes nothing. */
static void model_again(struct index *x, struct model *m)
{
	struct index_txn *t;

	for (unsigned n = 0; n < PATHS; n++)
		m->there[n] = false;
	assert_int_equal(index_begin(x, false, &t), 0);
	assert_int_equal(index_below(t, "", 0, take, m), 0);
	m->position = index_position(t);
	for (unsigned i = 0; i < HASHES; i++)
		m->list[i] = has_list(t, i);
	index_abort(t);
}

static void random_changes(void **state)
{
	struct model *m = calloc(1, sizeof *m);
	struct index *x;
	struct index_txn *t;
	uint64_t r = 11;
	bool is_new;

	(void)state;
	assert_non_null(m);
	for (unsigned n = 0; n < PATHS; n++)
		index_record_init(&m->r[n]);
	assert_int_equal(index_open(dir, MAP_BYTES, random_id, &x, &is_new), 0);
	assert_true(is_new);
	for (int round = 0; round < 300; round++) {
		bool abort_it = rng_below(&r, 5) == 0;

		assert_int_equal(index_begin(x, true, &t), 0);
		for (size_t i = rng_below(&r, 12); i > 0; i--)
			change(t, m, &r);
		if (abort_it) {
			index_abort(t);
			model_again(x, m);
		} else {
			assert_int_equal(index_commit(t), 0);
		}
		check_all(x, m);
		if (round % 50 != 49)
			continue;
		index_close(x);
		assert_int_equal(index_open(dir, MAP_BYTES, (const uint8_t *)"another random n", &x, &is_new), 0);
		assert_false(is_new);
		assert_memory_equal(index_id(x), random_id, INDEX_ID_BYTES);
		check_all(x, m);
	}
	index_close(x);
	for (unsigned n = 0; n < PATHS; n++)
		index_record_free(&m->r[n]);
	free(m);
}

static int stop_at_first(void *user, const char *path, size_t len, const struct index_record *r)
{
	(void)path;
	(void)len;
	(void)r;
	++*(int *)user;
	return -ENOENT;
}

/* What the mapping of the index counts for as memory of this process. */
static size_t mapped_kib(void)
{
	char line[512];
	bool ours = false;
	size_t kib = 0, n;
	FILE *f = fopen("/proc/self/smaps", "r");

	assert_non_null(f);
	while (fgets(line, sizeof line, f)) {
		if (strchr(line, '-') && strstr(line, "data.mdb"))
			ours = true;
		else if (ours && sscanf(line, "Rss: %zu kB", &n) == 1) {
			kib += n;
			ours = false;
		}
	}
	fclose(f);
	return kib;
}

static void memory_is_given_back(void **state)
{
	struct index_record r;
	struct index_txn *t;
	struct index *x;
	char path[16];
	bool is_new;

	(void)state;
	assert_int_equal(index_open(dir, MAP_BYTES, random_id, &x, &is_new), 0);
	index_record_init(&r);
	r.known.dot = (struct dot){ { 4 }, 9 };
	r.known.stamp = 1;
	r.held = true;
	assert_int_equal(vector_raise(&r.known.known, &r.known.dot), 0);
	assert_int_equal(index_begin(x, true, &t), 0);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(index_put(t, path, (size_t)sprintf(path, "n%u", i), &r), 0);
	assert_int_equal(index_commit(t), 0);
	for (unsigned round = 0; round < 2; round++) { /* it is as it was, behind that */
		int visits = 0;

		assert_int_equal(index_begin(x, false, &t), 0);
		for (unsigned i = 0; i < 5000; i++)
			visits += index_get(t, path, (size_t)sprintf(path, "n%u", i), &r) == 0 && r.known.dot.seq == 9;
		assert_int_equal(visits, 5000);
		assert_true(mapped_kib() > 500);
		index_release(x); /* with a transaction that is open */
		assert_true(mapped_kib() < 100);
		assert_int_equal(index_get(t, "n77", 3, &r), 0);
		index_abort(t);
	}
	index_record_free(&r);
	index_close(x);
}

static void values_blocks_contexts(void **state)
{
	struct index *x, *second;
	struct index_txn *t;
	struct index_record r;
	struct buf b = BUF_INIT;
	struct vector v = VECTOR_INIT, w = VECTOR_INIT;
	struct dot d = { { 4 }, 9 };
	uint8_t hash[HASH_BYTES] = { 8 }, list[2 * HASH_BYTES] = { 1, 2 };
	int visits = 0;
	bool is_new;

	(void)state;
	assert_int_equal(index_open(dir, MAP_BYTES, random_id, &x, &is_new), 0);
	assert_int_equal(index_open(dir, MAP_BYTES, random_id, &second, &is_new), -EBUSY);
	assert_non_null(strstr(err_last(), dir));
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_value_get(t, "clean", &b), -ENOENT);
	assert_int_equal(index_value_put(t, "clean", "yes", 3), 0);
	assert_int_equal(index_value_put(t, "", "yes", 3), -EINVAL);
	assert_int_equal(index_blocks_put(t, hash, list, 33), -EINVAL);
	assert_int_equal(index_blocks_put(t, hash, list, sizeof list), -ENOENT);
	assert_int_equal(index_context_get(t, &w), 0);
	assert_int_equal(w.count, 0);
	assert_int_equal(vector_raise(&v, &d), 0);
	assert_int_equal(index_context_put(t, &v), 0);
	index_record_init(&r);
	assert_int_equal(index_put(t, "../x", 4, &r), -EINVAL);
	r.known.size = BIG;
	memcpy(r.known.hash, hash, sizeof hash);
	assert_int_equal(index_put(t, "x", 1, &r), 0);
	assert_int_equal(index_blocks_put(t, hash, list, sizeof list), 0);
	assert_int_equal(index_commit(t), 0);
	assert_int_equal(index_sync(x), 0);
	assert_int_equal(index_begin(x, false, &t), 0);
	assert_int_equal(index_value_get(t, "clean", &b), 0);
	assert_true(b.len == 3 && memcmp(b.data, "yes", 3) == 0);
	assert_int_equal(index_blocks_get(t, hash, &b), 0);
	assert_true(b.len == sizeof list && memcmp(b.data, list, b.len) == 0);
	assert_int_equal(index_context_get(t, &w), 0);
	assert_true(vector_covers(&w, &d));
	assert_int_equal(index_put(t, "y", 1, &r), -EINVAL); /* not in a read transaction */
	assert_int_equal(index_below(t, "", 0, stop_at_first, &visits), -ENOENT);
	assert_int_equal(visits, 1);
	index_abort(t);
	index_record_free(&r);
	vector_free(&v);
	vector_free(&w);
	buf_free(&b);
	index_close(x);
}

static int count_one(void *user, const char *path, size_t len, const struct index_record *r)
{
	(void)path;
	(void)len;
	(void)r;
	++*(int *)user;
	return 0;
}

static void put_file(struct index_txn *t, const char *path, uint64_t ino, bool held)
{
	struct index_record r;

	index_record_init(&r);
	r.known.dot = (struct dot){ { 7 }, ino };
	r.known.stamp = 1;
	assert_int_equal(vector_raise(&r.known.known, &r.known.dot), 0);
	r.known.kind = ENTRY_FILE;
	r.known.size = 5;
	r.held = held;
	if (held)
		r.stat = (struct index_stat){ .ino = ino, .size = 5, .links = 1, .mtime_s = 1, .ctime_s = 1 };
	assert_int_equal(index_put(t, path, strlen(path), &r), 0);
	index_record_free(&r);
}

static int count_of(struct index_txn *t, uint64_t ino)
{
	int n = 0;

	assert_int_equal(index_with_inode(t, ino, count_one, &n), 0);
	return n;
}

/* What is ignored is not wanted, and nothing is known to lie there; when that is over it is wanted, and stale until whoever looked says that it is not. */
static void left_out(void **state)
{
	static const char text[] = "a\nd/\n";
	struct ignore *rules = NULL;
	struct index_record r;
	struct index_txn *t;
	struct index *x;
	uint64_t position;
	bool is_new;
	int n = 0;

	(void)state;
	assert_int_equal(index_open(dir, MAP_BYTES, random_id, &x, &is_new), 0);
	assert_int_equal(ignore_parse("test", text, strlen(text), &rules), 0);
	index_record_init(&r);
	assert_int_equal(index_begin(x, true, &t), 0);
	put_file(t, "a", 11, true);
	put_file(t, "b", 12, false);
	assert_int_equal(count_of(t, 11), 1);
	assert_int_equal(index_wanted_count(t), 1);
	index_set_ignore(x, rules);
	assert_int_equal(index_get(t, "a", 1, &r), 0);
	position = r.position;
	assert_false(r.left_out);
	assert_int_equal(index_put(t, "a", 1, &r), 0); /* held no more: that is told */
	assert_true(r.left_out && !r.held && !r.on_disk && !r.stat.ino && r.position > position);
	put_file(t, "d/e", 13, false);
	assert_int_equal(count_of(t, 11), 0);
	assert_int_equal(index_wanted_count(t), 1);
	assert_int_equal(index_wanted_bytes(t), 5);
	assert_int_equal(index_commit(t), 0);
	index_set_ignore(x, NULL);
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_get(t, "a", 1, &r), 0);
	assert_true(r.left_out && !r.stale);
	assert_int_equal(index_put(t, "a", 1, &r), 0);
	assert_true(!r.left_out && r.stale && index_wanted_news(t));
	assert_int_equal(index_wanted_count(t), 2);
	assert_int_equal(index_wanted(t, 9, count_one, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(index_commit(t), 0);
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_get(t, "a", 1, &r), 0);
	assert_true(r.stale);
	r.stale = false;
	assert_int_equal(index_put(t, "a", 1, &r), 0);
	assert_int_equal(index_get(t, "a", 1, &r), 0);
	assert_true(!r.stale && !r.left_out);
	index_abort(t);
	index_record_free(&r);
	index_close(x);
	ignore_free(rules);
}

/* A map that is too small: an error, the transaction gone, and the index as it was. */
static void full(void **state)
{
	struct index *x;
	struct index_txn *t;
	struct index_record r;
	uint8_t *big = calloc(1, 60000);
	uint64_t before;
	bool is_new;
	int rc = 0;

	(void)state;
	assert_non_null(big);
	assert_int_equal(index_open(dir, 256 << 10, random_id, &x, &is_new), 0);
	index_record_init(&r);
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_put(t, "a", 1, &r), 0);
	assert_int_equal(index_commit(t), 0);
	assert_int_equal(index_begin(x, true, &t), 0);
	before = index_position(t);
	for (unsigned i = 0; i < 100 && !rc; i++) {
		char name[16];

		sprintf(name, "v%u", i);
		rc = index_value_put(t, name, big, 60000);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(index_commit(t), -ENOSPC);
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_position(t), before);
	assert_int_equal(index_get(t, "a", 1, &r), 0);
	assert_int_equal(index_put(t, "b", 1, &r), 0);
	assert_int_equal(index_commit(t), 0);
	index_record_free(&r);
	index_close(x);
	free(big);
}

static void deep_paths(void **state)
{
	char path[ENTRY_PATH_MAX + 1];
	struct index *x;
	struct index_txn *t;
	struct index_record r;
	size_t len = ENTRY_PATH_MAX;
	int visits = 0;
	bool is_new;

	(void)state;
	for (size_t i = 0; i < len; i++)
		path[i] = i % 2 ? '/' : 'a';
	assert_int_equal(index_open(dir, MAP_BYTES, random_id, &x, &is_new), 0);
	index_record_init(&r);
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_put(t, path, len, &r), 0);
	assert_int_equal(index_commit(t), 0);
	assert_int_equal(index_begin(x, true, &t), 0);
	assert_int_equal(index_below(t, "a/a", 3, stop_at_first, &visits), -ENOENT);
	assert_int_equal(index_since(t, 0, 9, stop_at_first, &visits), -ENOENT);
	assert_int_equal(visits, 2);
	assert_int_equal(index_delete(t, path, len), 0);
	/* Two thousand directories went with it. */
	assert_int_equal(index_children(t, "a", 1, stop_at_first, &visits), 0);
	assert_int_equal(index_put(t, "a", 1, &r), 0);
	assert_int_equal(index_commit(t), 0);
	index_record_free(&r);
	index_close(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(values_blocks_contexts, setup, teardown),
		cmocka_unit_test_setup_teardown(left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_is_given_back, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_paths, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
