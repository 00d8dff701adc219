/* test_replica_entry.c - entries of the replicator: vectors, the hybrid clock, bytes, merging, sums. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "entry.h"
#include "err.h"
#include "stamp.h"
#include "sums.h"

static struct dot dot_of(unsigned node, uint64_t seq)
{
	struct dot d = { { 0 }, seq };

	d.inc[0] = (uint8_t)(node * 37);
	d.inc[15] = (uint8_t)node;
	return d;
}

/* --- vectors --- */

static void random_vector(uint64_t *r, struct vector *v)
{
	v->count = 0;
	for (unsigned n = 0; n < 6; n++) {
		struct dot d = dot_of(n, rng_below(r, 4));

		assert_int_equal(vector_raise(v, &d), 0);
	}
}

static void vectors(void **state)
{
	struct vector a = VECTOR_INIT, b = VECTOR_INIT, j = VECTOR_INIT, k = VECTOR_INIT;
	uint64_t r = 1;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		random_vector(&r, &a);
		random_vector(&r, &b);
		assert_int_equal(vector_copy(&a, &j), 0);
		assert_int_equal(vector_join(&j, &b), 0);
		assert_int_equal(vector_copy(&b, &k), 0);
		assert_int_equal(vector_join(&k, &a), 0);
		assert_true(vector_includes(&j, &k) && vector_includes(&k, &j) && j.count == k.count);
		for (unsigned n = 0; n < 6; n++) {
			struct dot d = dot_of(n, 3), zero = dot_of(n, 0);
			uint64_t x = vector_get(&a, d.inc), y = vector_get(&b, d.inc);

			assert_int_equal(vector_get(&j, d.inc), x > y ? x : y);
			assert_int_equal(vector_covers(&j, &d), x == 3 || y == 3);
			assert_true(vector_covers(&a, &zero));
		}
		assert_int_equal(vector_includes(&a, &b), j.count == a.count && vector_includes(&a, &j));
	}
	vector_drop(&j, dot_of(2, 0).inc);
	assert_int_equal(vector_get(&j, dot_of(2, 0).inc), 0);
	vector_free(&a);
	vector_free(&b);
	vector_free(&j);
	vector_free(&k);
}

static void vectors_refused(void **state)
{
	struct vector v = VECTOR_INIT, w = VECTOR_INIT;
	struct buf b = BUF_INIT;
	struct cursor c;
	struct dot d1 = dot_of(1, 5), d2 = dot_of(2, 6);

	(void)state;
	vector_raise(&v, &d2);
	vector_raise(&v, &d1);
	vector_encode(&v, &b);
	c = cursor_make(b.data, b.len);
	vector_decode(&c, &w);
	assert_int_equal(cursor_end(&c), 0);
	assert_true(w.count == 2 && vector_includes(&w, &v) && vector_includes(&v, &w));
	for (size_t len = 0; len < b.len; len++) {
		c = cursor_make(b.data, len);
		vector_decode(&c, &w);
		assert_int_equal(cursor_end(&c), ERR_CORRUPT);
	}
	put_u64(b.data + 2 + 16, 0); /* a sequence of 0 says nothing */
	c = cursor_make(b.data, b.len);
	vector_decode(&c, &w);
	assert_int_equal(c.err, ERR_CORRUPT);
	put_u64(b.data + 2 + 16, 5);
	memcpy(b.data + 2 + 24, b.data + 2, 16); /* the same incarnation twice */
	c = cursor_make(b.data, b.len);
	vector_decode(&c, &w);
	assert_int_equal(c.err, ERR_CORRUPT);
	assert_int_equal(w.count, 0);
	vector_free(&v);
	vector_free(&w);
	buf_free(&b);
}

/* --- the clock --- */

static void stamps(void **state)
{
	uint64_t peers[] = { 5000000, 1000000, 3000000 };

	(void)state;
	assert_int_equal(stamp_median(peers, 3), 3000000);
	assert_int_equal(stamp_next(0, 777, NULL, 0), 777);
	assert_int_equal(stamp_next(900, 777, NULL, 0), 901);
	/* A clock far ahead: the peers' median and a second. */
	assert_int_equal(stamp_next(0, 99000000, peers, 3), 4000000);
	/* One behind is not pulled forward. */
	assert_int_equal(stamp_next(0, 5, peers, 3), 5);
	/* A parent from far ahead is answered, whatever the clocks say. */
	assert_int_equal(stamp_next(88000000, 99000000, peers, 3), 88000001);
	assert_int_equal(stamp_next(0, 0, NULL, 0), 1);
}

/* --- bytes --- */

static void random_entry(uint64_t *r, struct entry *e)
{
	struct xattr x[3] = { { "user.b", 6, "value", 5 }, { "user.a", 6, "", 0 }, { "system.posix_acl_access", 23, "\2\0\0\0", 4 } };
	struct buf b = BUF_INIT;

	entry_free(e);
	e->kind = (enum entry_kind)(1 + rng_below(r, 3));
	e->deleted = rng_below(r, 4) == 0;
	e->mode = (uint16_t)rng_below(r, 010000);
	e->uid = (uint32_t)rng_next(r);
	e->gid = (uint32_t)rng_next(r);
	strcpy(e->owner, rng_below(r, 2) ? "www-data" : "");
	if (e->kind != ENTRY_DIR) {
		e->mtime_s = (int64_t)rng_next(r);
		e->mtime_ns = (uint32_t)rng_below(r, 1000000000);
	}
	if (rng_below(r, 2))
		e->dir_s = (int64_t)rng_below(r, 100);
	if (e->kind == ENTRY_FILE && !e->deleted) {
		e->size = rng_below(r, 1u << 30);
		rng_fill(r, e->hash, HASH_BYTES);
		e->unsettled = rng_below(r, 2);
		if (rng_below(r, 2))
			rng_fill(r, e->link, ENTRY_LINK_BYTES);
	}
	if (e->kind == ENTRY_SYMLINK && !e->deleted)
		assert_non_null(e->target = strdup("../elsewhere"));
	if (!e->deleted && rng_below(r, 2)) {
		entry_xattrs_encode(x, 1 + rng_below(r, 3), &b);
		assert_int_equal(b.err, 0);
		e->xattrs = b.data;
		e->xattrs_len = (uint32_t)b.len;
	}
	if (rng_below(r, 8)) {
		e->dot = dot_of((unsigned)rng_below(r, 6), 1 + rng_below(r, 1000));
		e->stamp = 1 + rng_below(r, 1u << 30);
		random_vector(r, &e->known);
		assert_int_equal(vector_raise(&e->known, &e->dot), 0);
	}
}

static void round_trip(void **state)
{
	struct entry e, d;
	struct buf b = BUF_INIT, again = BUF_INIT;
	uint64_t r = 3;

	(void)state;
	entry_init(&e);
	entry_init(&d);
	for (int i = 0; i < 3000; i++) {
		struct cursor c;

		random_entry(&r, &e);
		buf_reset(&b);
		entry_encode(&e, &b);
		assert_int_equal(b.err, 0);
		c = cursor_make(b.data, b.len);
		entry_free(&d);
		assert_int_equal(entry_decode(&c, &d), 0);
		assert_int_equal(cursor_end(&c), 0);
		assert_true(entry_same(&e, &d) && entry_order(&e, &d) == 0);
		buf_reset(&again);
		entry_encode(&d, &again);
		assert_int_equal(again.len, b.len);
		assert_memory_equal(again.data, b.data, b.len);
		/* Nothing shorter is an entry, and what one changed bit makes is refused or has these very bytes. */
		c = cursor_make(b.data, rng_below(&r, b.len));
		entry_free(&d);
		assert_int_not_equal(entry_decode(&c, &d), 0);
		b.data[rng_below(&r, b.len)] ^= (uint8_t)(1u << rng_below(&r, 8));
		c = cursor_make(b.data, b.len);
		if (entry_decode(&c, &d) == 0 && cursor_end(&c) == 0) {
			buf_reset(&again);
			entry_encode(&d, &again);
			assert_int_equal(again.err, 0);
			assert_int_equal(again.len, b.len);
			assert_memory_equal(again.data, b.data, b.len);
		}
	}
	buf_free(&b);
	buf_free(&again);
	entry_free(&e);
	entry_free(&d);
}

static void newer_format(void **state)
{
	uint8_t bytes[] = { 2, 0, 0 };
	struct cursor c = cursor_make(bytes, sizeof bytes);
	struct entry e;

	(void)state;
	entry_init(&e);
	assert_int_equal(entry_decode(&c, &e), ERR_NEWER_FORMAT);
}

static void paths(void **state)
{
	static const char *const bad[] = { "", "/a", "a/", "a//b", ".", "a/./b", "..", "a/..", "../a" };
	static const char *const good[] = { "a", "a/b", "...", ".a", "a/..b", "\x01\xff/\n" };
	char name[ENTRY_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++)
		assert_false(entry_path_valid(bad[i], strlen(bad[i])));
	for (size_t i = 0; i < CL_ARRAY_LEN(good); i++)
		assert_true(entry_path_valid(good[i], strlen(good[i])));
	assert_false(entry_path_valid("a\0b", 3));
	memset(name, 'n', sizeof name);
	assert_true(entry_path_valid(name, ENTRY_NAME_MAX));
	assert_false(entry_path_valid(name, ENTRY_NAME_MAX + 1));
}

static void blocks(void **state)
{
	(void)state;
	assert_int_equal(entry_block_count(0), 0);
	assert_int_equal(entry_block_count(1), 1);
	assert_int_equal(entry_block_count(ENTRY_BLOCK_BYTES_MIN + 1), 2);
	assert_int_equal(entry_block_bytes(1ull << 29), ENTRY_BLOCK_BYTES_MIN);
	assert_int_equal(entry_block_count(1ull << 29), ENTRY_BLOCKS_MAX);
	assert_int_equal(entry_block_bytes((1ull << 29) + 1), 2 * ENTRY_BLOCK_BYTES_MIN);
	assert_true(entry_block_count(ENTRY_SIZE_MAX) <= ENTRY_BLOCKS_MAX);
}

/* --- merging --- */

#define NODES 4
#define CHANGES 24

/* One path's history: nodes change what they see and see each other's changes in any order. */
struct history { struct entry all[CHANGES]; size_t count; struct entry at[NODES]; uint64_t seq[NODES]; };

static void change(struct history *h, uint64_t *r, unsigned n)
{
	struct entry e;
	struct dot d = dot_of(n, h->seq[n] += 1 + rng_below(r, 3)); /* other paths take numbers, too */

	entry_init(&e);
	random_entry(r, &e);
	vector_free(&e.known);
	assert_int_equal(vector_copy(&h->at[n].known, &e.known), 0);
	e.dot = d;
	e.stamp = stamp_next(h->at[n].stamp, 1 + rng_below(r, 50), NULL, 0);
	assert_int_equal(vector_raise(&e.known, &d), 0);
	if (e.dir_s < h->at[n].dir_s)
		e.dir_s = h->at[n].dir_s;
	entry_free(&h->at[n]);
	h->at[n] = e;
	assert_int_equal(entry_copy(&e, &h->all[h->count++]), 0);
}

static void tell(struct history *h, uint64_t *r)
{
	unsigned from = (unsigned)rng_below(r, NODES), to = (unsigned)rng_below(r, NODES);
	struct merge m;

	if (from != to && h->at[from].dot.seq)
		assert_int_equal(entry_merge(&h->at[to], &h->at[from], &m), 0);
}

static void fold(const struct history *h, uint64_t *r, struct entry *ret)
{
	size_t order[CHANGES];

	for (size_t i = 0; i < h->count; i++) {
		size_t k = rng_below(r, i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	entry_free(ret);
	for (size_t i = 0; i < h->count; i++) {
		struct merge m;

		if (i == 0)
			assert_int_equal(entry_copy(&h->all[order[0]], ret), 0);
		else
			assert_int_equal(entry_merge(ret, &h->all[order[i]], &m), 0);
		if (rng_below(r, 3) == 0) { /* again: nothing may change */
			assert_int_equal(entry_merge(ret, &h->all[order[rng_below(r, i + 1)]], &m), 0);
			assert_false(m.changed);
		}
	}
}

static void assert_equal_bytes(const struct entry *a, const struct entry *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;

	entry_encode(a, &x);
	entry_encode(b, &y);
	assert_int_equal(x.err | y.err, 0);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	buf_free(&x);
	buf_free(&y);
}

static void merging_in_any_order(void **state)
{
	struct entry a, b;
	uint64_t r = 5;

	(void)state;
	entry_init(&a);
	entry_init(&b);
	for (int i = 0; i < 400; i++) {
		struct history h = { .count = 0 };

		for (unsigned n = 0; n < NODES; n++)
			entry_init(&h.at[n]);
		while (h.count < CHANGES) {
			if (rng_below(&r, 2))
				change(&h, &r, (unsigned)rng_below(&r, NODES));
			else
				tell(&h, &r);
		}
		fold(&h, &r, &a);
		fold(&h, &r, &b);
		assert_equal_bytes(&a, &b);
		for (size_t k = 0; k < h.count; k++) {
			assert_true(entry_order(&h.all[k], &a) <= 0);
			entry_free(&h.all[k]);
		}
		for (unsigned n = 0; n < NODES; n++)
			entry_free(&h.at[n]);
	}
	entry_free(&a);
	entry_free(&b);
}

static struct entry file_of(unsigned node, uint64_t seq, uint64_t stamp, uint8_t content)
{
	struct entry e;

	entry_init(&e);
	e.dot = dot_of(node, seq);
	e.stamp = stamp;
	e.size = 1;
	memset(e.hash, content, HASH_BYTES);
	assert_int_equal(vector_raise(&e.known, &e.dot), 0);
	return e;
}

static void conflicts(void **state)
{
	struct entry a = file_of(1, 4, 100, 'a'), b = file_of(2, 9, 90, 'b'), none;
	struct dot loser = b.dot;
	struct merge m;

	(void)state;
	/* Strangers with different contents: the later wins. It does not learn of the other: who holds that must see that it was not known of. */
	assert_int_equal(entry_merge(&a, &b, &m), 0);
	assert_true(m.conflict && !m.theirs && !m.changed && !m.twin);
	assert_false(vector_covers(&a.known, &loser));
	assert_int_equal(entry_merge(&b, &a, &m), 0);
	assert_true(m.conflict && m.theirs && m.changed && !vector_covers(&b.known, &loser));
	/* The same contents twice: no conflict. */
	entry_free(&b);
	b = file_of(3, 1, 200, 'a');
	assert_int_equal(entry_merge(&a, &b, &m), 0);
	assert_true(m.theirs && !m.conflict);
	/* One dot, two contents, whatever the stamps: a twin; both sides choose the same. */
	entry_free(&a);
	entry_free(&b);
	for (uint64_t stamp = 100; stamp < 102; stamp++) {
		struct entry c, d;

		a = file_of(1, 4, 100, 'a');
		b = file_of(1, 4, stamp, 'b');
		entry_init(&c);
		entry_init(&d);
		assert_int_equal(entry_copy(&a, &c), 0);
		assert_int_equal(entry_copy(&b, &d), 0);
		assert_int_equal(entry_merge(&c, &b, &m), 0);
		assert_true(m.twin && m.conflict && m.theirs);
		assert_int_equal(entry_merge(&d, &a, &m), 0);
		assert_true(m.twin && m.conflict && !m.theirs);
		assert_equal_bytes(&c, &d);
		entry_free(&a);
		entry_free(&b);
		entry_free(&c);
		entry_free(&d);
	}
	/* What has no version loses to everything that has one, and is kept where it differs. */
	entry_init(&none);
	none.size = 1;
	memset(none.hash, 'x', HASH_BYTES);
	b = file_of(2, 9, 1, 'b');
	assert_int_equal(entry_merge(&none, &b, &m), 0);
	assert_true(m.theirs && m.conflict);
	entry_free(&none);
	entry_free(&b);
}

static void directory_times(void **state)
{
	struct entry a, b;
	struct merge m;

	(void)state;
	entry_init(&a);
	a.kind = ENTRY_DIR;
	a.dot = dot_of(1, 1);
	a.stamp = 10;
	a.dir_s = 5;
	assert_int_equal(vector_raise(&a.known, &a.dot), 0);
	entry_init(&b);
	assert_int_equal(entry_copy(&a, &b), 0);
	b.dir_s = 7;
	b.dir_ns = 1;
	assert_true(entry_same(&a, &b));
	assert_int_equal(entry_merge(&a, &b, &m), 0);
	assert_true(m.changed && !m.theirs && !m.conflict && !m.twin && a.dir_s == 7 && a.dir_ns == 1);
	assert_int_equal(entry_merge(&b, &a, &m), 0);
	assert_false(m.changed);
	entry_free(&a);
	entry_free(&b);
}

/* --- sums --- */

static void sums_of_sets(void **state)
{
	struct sums *a, *b;
	uint64_t r = 9;
	char path[2][600];

	(void)state;
	assert_int_equal(sums_new(&a), 0);
	assert_int_equal(sums_new(&b), 0);
	memset(path, 'p', sizeof path);
	for (size_t i = 1; i < 600; i++) /* one way, and the other way round, with one that comes and goes */
		sums_add(a, sums_leaf(path[0], i), sums_hash(path[0], i, "e", 1));
	for (size_t i = 599; i > 0; i--) {
		struct sum passing = { rng_next(&r), rng_next(&r) };

		sums_add(b, 77, passing);
		sums_add(b, sums_leaf(path[0], i), sums_hash(path[0], i, "e", 1));
		sums_sub(b, 77, passing);
	}
	assert_true(sum_equal(sums_root(a), sums_root(b)));
	sums_sub(b, sums_leaf(path[0], 5), sums_hash(path[0], 5, "e", 1));
	assert_false(sum_equal(sums_root(a), sums_root(b)));
	for (unsigned n = 0; n < SUM_FANOUT; n++)
		assert_int_equal(sum_equal(sums_node(a, n), sums_node(b, n)), n != sums_leaf(path[0], 5) / SUM_FANOUT);
	assert_false(sum_equal(sums_of_leaf(a, sums_leaf(path[0], 5)), sums_of_leaf(b, sums_leaf(path[0], 5))));
	/* Bytes do not move between path and entry unseen. */
	assert_false(sum_equal(sums_hash("ab", 2, "c", 1), sums_hash("a", 1, "bc", 2)));
	sums_free(a);
	sums_free(b);
}

static void set_attrs(struct entry *e, const char *a, const char *b)
{
	struct xattr x[2];
	struct buf list = BUF_INIT;
	size_t n = 0;

	if (a)
		x[n++] = (struct xattr){ "user.a", 6, a, strlen(a) };
	if (b)
		x[n++] = (struct xattr){ "user.b", 6, b, strlen(b) };
	entry_xattrs_encode(x, n, &list);
	free(e->xattrs);
	e->xattrs = list.data;
	e->xattrs_len = (uint32_t)list.len;
}

/* What is left where setting one state's metadata over another's stopped half-way, and what is not. */
static void between(void **state)
{
	struct entry from, to, e;

	(void)state;
	entry_init(&from);
	entry_init(&to);
	entry_init(&e);
	from.mode = 04754;
	from.uid = 1;
	from.mtime_s = 5;
	set_attrs(&from, "1", "1");
	to.mode = 0640;
	to.uid = 2;
	to.mtime_s = 6;
	set_attrs(&to, NULL, "2");
	assert_int_equal(entry_copy(&from, &e), 0);
	assert_true(entry_between(&e, &from, &to) && entry_between(&to, &from, &to) && entry_between(&from, &from, &to));
	e.mode = 0640;
	e.uid = 2;
	set_attrs(&e, NULL, "1");
	assert_true(entry_between(&e, &from, &to));
	e.mtime_s = 6;
	set_attrs(&e, "1", "2");
	assert_true(entry_between(&e, &from, &to));
	set_attrs(&e, "1", NULL); /* what both have is never away */
	assert_false(entry_between(&e, &from, &to));
	set_attrs(&e, "2", "2");
	assert_false(entry_between(&e, &from, &to));
	set_attrs(&e, NULL, "2");
	e.mode = 0660;
	assert_false(entry_between(&e, &from, &to));
	e.mode = 0600;
	assert_false(entry_between(&e, &from, &to));
	e.mode = 0640;
	e.uid = 3;
	assert_false(entry_between(&e, &from, &to));
	e.uid = 1;
	e.mtime_s = 7;
	assert_false(entry_between(&e, &from, &to));
	e.mtime_s = 5;
	assert_true(entry_between(&e, &from, &to));
	e.kind = ENTRY_DIR;
	assert_false(entry_between(&e, &from, &to));
	entry_free(&from);
	entry_free(&to);
	entry_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors), cmocka_unit_test(vectors_refused), cmocka_unit_test(stamps), cmocka_unit_test(round_trip),
		cmocka_unit_test(newer_format), cmocka_unit_test(paths), cmocka_unit_test(blocks), cmocka_unit_test(merging_in_any_order),
		cmocka_unit_test(conflicts), cmocka_unit_test(directory_times), cmocka_unit_test(sums_of_sets),
		cmocka_unit_test(between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
