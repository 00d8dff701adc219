/*
 * test_meta.c - the map: extents against arrays of bytes, names with forced
 * collisions, loading and applying, and that meta_check finds each thing it is to find.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lib/rng.h"
#include "err.h"
#include "meta_impl.h"

/* Processor time: the machine may be busy with other things. */
static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* --- a map with a sink that counts --- */

#define SEGMENTS 4
#define SPACE 6000

struct world {
	char dir[64];
	struct meta *m;
	struct meta *replica;              /* gets every change through meta_apply */
	int32_t refs[SEGMENTS][SPACE];     /* how often each byte is referred to, as sink.live says */
	bool counting;
	uint64_t changes;
};

static int change(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct world *w = user;

	w->changes++;
	return w->replica ? meta_apply(w->replica, key, klen, val, vlen) : 0;
}

static void live(void *user, uint64_t segment, uint32_t logical, uint32_t len, int sign)
{
	struct world *w = user;

	if (!w->counting)
		return;
	assert_true(segment < SEGMENTS && logical + len <= SPACE && len > 0);
	for (uint32_t i = 0; i < len; i++)
		w->refs[segment][logical + i] += sign;
}

static struct world *world_new(bool replica)
{
	struct world *w = calloc(1, sizeof *w);
	struct meta_sink sink = { .change = change, .live = live, .user = w }, none = { .change = NULL };
	char dir[80];

	assert_non_null(w);
	snprintf(w->dir, sizeof w->dir, "/tmp/clonelove-meta-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(meta_open(w->dir, 0, &sink, &w->m), 0);
	if (replica) {
		snprintf(dir, sizeof dir, "%s/r", w->dir);
		assert_int_equal(mkdir(dir, 0700), 0);
		assert_int_equal(meta_open(dir, 0, &none, &w->replica), 0);
	}
	return w;
}

static int collect(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct buf *b = user;

	buf_u32(b, (uint32_t)klen);
	buf_u32(b, (uint32_t)vlen);
	buf_bytes(b, key, klen);
	buf_bytes(b, val, vlen);
	return b->err;
}

static void world_free(struct world *w)
{
	char dir[80];

	if (w->replica) {
		struct buf a = BUF_INIT, b = BUF_INIT;

		assert_int_equal(meta_walk(w->m, 0, collect, &a), 0);
		assert_int_equal(meta_walk(w->replica, 0, collect, &b), 0);
		assert_int_equal(a.len, b.len);
		assert_memory_equal(a.data, b.data, a.len);
		assert_int_equal(meta_live_bytes(w->m), meta_live_bytes(w->replica));
		buf_free(&a);
		buf_free(&b);
		meta_close(w->replica);
		snprintf(dir, sizeof dir, "%s/r", w->dir);
		rmdir(dir);
	}
	meta_close(w->m);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
}

/* --- extents against arrays --- */

#define FILES 3
#define SIZE 5000

struct place { uint64_t segment; uint32_t logical; bool set; };

static void check_extents(struct world *w, struct place (*model)[SIZE], const uint64_t *alloc)
{
	static int32_t refs[SEGMENTS][SPACE];
	uint64_t total = 0;

	memset(refs, 0, sizeof refs);
	for (uint64_t f = 0; f < FILES; f++) {
		uint64_t at = 0, sum = 0;
		struct extent e, last = { .len = 0 };

		while (at < SIZE) {
			int rc = meta_extent_find(w->m, f + 5, at, &e);
			uint64_t start = rc ? SIZE : e.start;

			assert_true(rc == 0 || rc == -ENOENT);
			for (; at < start; at++)
				assert_false(model[f][at].set);
			if (rc)
				break;
			assert_true(e.ino == f + 5 && e.start == at);
			/* Neighbours that could be one are one. */
			if (last.len && last.start + last.len == e.start && last.segment == e.segment)
				assert_true(last.logical + last.len != e.logical);
			for (uint64_t k = 0; k < e.len; k++, at++) {
				assert_true(model[f][at].set && model[f][at].segment == e.segment);
				assert_int_equal(model[f][at].logical, e.logical + k);
				refs[e.segment][e.logical + k]++;
			}
			sum += e.len;
			last = e;
		}
		assert_int_equal(sum, alloc[f]);
		total += sum;
	}
	assert_int_equal(meta_live_bytes(w->m), total);
	assert_memory_equal(refs, w->refs, sizeof refs);
}

static void random_extent(uint64_t *s, const struct extent *before, struct extent *e)
{
	e->ino = 5 + rng_below(s, FILES);
	e->len = 1 + rng_below(s, rng_below(s, 3) ? 60 : 1500);
	e->start = rng_below(s, SIZE - e->len);
	e->segment = rng_below(s, SEGMENTS);
	e->logical = (uint32_t)rng_below(s, SPACE - e->len);
	/* Often right behind (or before) the last one, in file and segment. */
	if (before->len && rng_below(s, 2) && before->start + before->len + e->len <= SIZE && before->logical + before->len + e->len <= SPACE) {
		e->ino = before->ino;
		e->segment = before->segment;
		e->start = before->start + before->len;
		e->logical = before->logical + (uint32_t)before->len;
	} else if (before->len && rng_below(s, 3) == 0 && before->start >= e->len && before->logical >= e->len) {
		e->ino = before->ino;
		e->segment = before->segment;
		e->start = before->start - e->len;
		e->logical = before->logical - (uint32_t)e->len;
	}
}

static void test_extents(void **state)
{
	static struct place model[FILES][SIZE];
	uint64_t alloc[FILES] = { 0 }, s = 4711;
	struct world *w = world_new(true);
	struct extent e = { .len = 0 };

	(void)state;
	w->counting = true;
	for (unsigned n = 0; n < 20000; n++) {
		struct extent before = e;

		random_extent(&s, &before, &e);
		if (rng_below(&s, 4)) {
			assert_int_equal(meta_extent_set(w->m, &e, &alloc[e.ino - 5]), 0);
			for (uint64_t k = 0; k < e.len; k++)
				model[e.ino - 5][e.start + k] = (struct place){ e.segment, e.logical + (uint32_t)k, true };
		} else {
			uint64_t from;

			assert_int_equal(meta_extent_punch(w->m, e.ino, e.start, e.len, &alloc[e.ino - 5], &from), 0);
			assert_int_equal(from, e.start);
			for (uint64_t k = 0; k < e.len; k++)
				model[e.ino - 5][e.start + k].set = false;
		}
		assert_int_equal(meta_step(w->m), 0);
		if (n % 10 == 0)
			check_extents(w, model, alloc);
	}
	check_extents(w, model, alloc);
	world_free(w);
}

static void test_extent_limits(void **state)
{
	struct world *w = world_new(true);
	uint64_t alloc = 0, from, changes;
	struct extent e = { .ino = 9, .len = 1, .segment = 1 }, big = { .ino = 9, .start = 0, .len = 1 << 20, .segment = 2 };
	unsigned n;

	(void)state;
	for (n = 0; n < 3000; n++) {
		e.start = n * 2;
		e.logical = (n * 8) % 4096;
		assert_int_equal(meta_extent_set(w->m, &e, &alloc), 0);
	}
	changes = w->changes;
	assert_int_equal(meta_extent_set(w->m, &big, &alloc), -E2BIG);
	assert_int_equal(w->changes, changes);
	assert_int_equal(alloc, 3000);
	assert_int_equal(meta_extent_punch(w->m, 9, 1, 1 << 20, &alloc, &from), 0);
	assert_int_equal(alloc, 3000 - META_EXTENTS_PER_OP);
	assert_int_equal(from, (3000 - META_EXTENTS_PER_OP) * 2);
	assert_int_equal(meta_extent_punch(w->m, 9, 1, from - 1, &alloc, &from), 0);
	assert_int_equal(meta_extent_punch(w->m, 9, 1, from - 1, &alloc, &from), 0);
	assert_int_equal(from, 1);
	assert_int_equal(alloc, 1);
	assert_int_equal(meta_extent_set(w->m, &big, &alloc), 0);
	assert_int_equal(alloc, 1 << 20);
	/* Joined up to the size of a segment, no further. */
	for (n = 1; n < 8; n++) {
		big.start = (uint64_t)n << 20;
		big.logical = n << 20;
		assert_int_equal(meta_extent_set(w->m, &big, &alloc), 0);
	}
	assert_int_equal(meta_extent_find(w->m, 9, 0, &e), 0);
	assert_int_equal(e.len, SEGMENT_DATA_MAX);
	/* Nonsense is refused before anything happens. */
	changes = w->changes;
	big.len = 0;
	assert_int_equal(meta_extent_set(w->m, &big, &alloc), -EINVAL);
	big.len = SEGMENT_DATA_MAX;
	assert_int_equal(meta_extent_set(w->m, &big, &alloc), -EINVAL);
	big = (struct extent){ .ino = 9, .start = VOLUME_FILE_MAX, .len = 1 };
	assert_int_equal(meta_extent_set(w->m, &big, &alloc), -EINVAL);
	assert_int_equal(w->changes, changes);
	/* The very end of the largest file. */
	big = (struct extent){ .ino = 9, .start = (uint64_t)VOLUME_FILE_MAX - 10, .len = 10, .segment = 3 };
	assert_int_equal(meta_extent_set(w->m, &big, &alloc), 0);
	assert_int_equal(meta_extent_punch(w->m, 9, 5, UINT64_MAX, &alloc, &from), 0);
	assert_int_equal(alloc, 5);
	world_free(w);
}

/* --- names --- */

#define NAMES 200

static void names_history(uint64_t mask, unsigned names)
{
	struct world *w = world_new(true);
	uint64_t s = mask, model[2][NAMES] = { { 0 } };
	struct volume_dirent e;
	char name[16];

	w->m->name_hash_mask = mask;
	for (unsigned n = 0; n < 8000; n++) {
		uint64_t d = rng_below(&s, 2), k = rng_below(&s, names);
		int len = snprintf(name, sizeof name, "name%" PRIu64, k), rc = meta_name_get(w->m, d + 1, name, (size_t)len, &e);

		assert_int_equal(rc, model[d][k] ? 0 : -ENOENT);
		if (!rc)
			assert_true(e.ino == model[d][k] && e.len == len && !strcmp(e.name, name) && e.cookie >= 3 && e.cookie < 1ull << 63);
		if (rng_below(&s, 3)) {
			model[d][k] = 10 + n;
			assert_int_equal(meta_name_put(w->m, d + 1, name, (size_t)len, 10 + n, S_IFREG), 0);
			if (!rc) { /* replaced in place */
				uint64_t cookie = e.cookie;

				assert_int_equal(meta_name_get(w->m, d + 1, name, (size_t)len, &e), 0);
				assert_int_equal(e.cookie, cookie);
			}
		} else {
			model[d][k] = 0;
			assert_int_equal(meta_name_del(w->m, d + 1, name, (size_t)len), rc);
		}
		assert_int_equal(meta_step(w->m), 0);
	}
	for (uint64_t d = 0; d < 2; d++) {
		uint64_t cookie = 0;
		unsigned seen = 0, want = 0;

		for (unsigned k = 0; k < names; k++)
			want += model[d][k] != 0;
		while (meta_name_next(w->m, d + 1, cookie, &e) == 0) {
			assert_true(e.cookie > cookie && model[d][atoi(e.name + 4)] == e.ino);
			cookie = e.cookie;
			seen++;
		}
		assert_int_equal(seen, want);
	}
	world_free(w);
}

static void test_names(void **state)
{
	(void)state;
	names_history(UINT64_MAX, NAMES);
	names_history(3ull << 9, NAMES); /* four buckets */
	names_history(1, NAMES);         /* one: bucket 0, with 253 places */
}

static void test_names_full(void **state)
{
	struct world *w = world_new(true);
	struct volume_dirent e;
	char name[16];

	(void)state;
	w->m->name_hash_mask = 0;
	for (int n = 0; n < 253; n++)
		assert_int_equal(meta_name_put(w->m, 1, name, (size_t)snprintf(name, sizeof name, "%d", n), 7, S_IFREG), 0);
	assert_int_equal(meta_name_put(w->m, 1, "x", 1, 7, S_IFREG), -ENOSPC);
	assert_int_equal(meta_name_put(w->m, 1, "100", 3, 8, S_IFREG), 0);
	assert_int_equal(meta_name_del(w->m, 1, "17", 2), 0);
	assert_int_equal(meta_name_put(w->m, 1, "x", 1, 7, S_IFREG), 0);
	assert_int_equal(meta_name_get(w->m, 1, "x", 1, &e), 0);
	assert_int_equal(e.cookie, 3 + 17);
	assert_int_equal(meta_name_get(w->m, 1, "252", 3, &e), 0);
	assert_int_equal(meta_name_get(w->m, 1, "17", 2, &e), -ENOENT);
	world_free(w);
}

/* --- inodes, attributes, orphans, segments --- */

static struct inode inode_of(uint64_t ino, uint32_t mode)
{
	return (struct inode){ .a = { .ino = ino, .mode = mode, .nlink = S_ISDIR(mode) ? 2 : 1 }, .parent = 1 };
}

static void test_inodes(void **state)
{
	struct world *w = world_new(true);
	struct inode i, l = inode_of(3, S_IFLNK | 0777);
	struct segment_ref r = { .id = 77, .epoch = 1, .slot = 2, .object_bytes = 1000, .data_len = 4096 }, got;
	const uint8_t *p;
	char name[256];
	uint64_t o;
	size_t len;

	(void)state;
	assert_int_equal(meta_inode_get(w->m, 2, &i), -ENOENT);
	assert_int_equal(meta_inode_put(w->m, &l), -EINVAL); /* a symlink without a target */
	strcpy(l.target, "there");
	l.target_len = 5;
	assert_int_equal(meta_inode_put(w->m, &l), 0);
	assert_int_equal(meta_inode_put(w->m, &l), 0);
	assert_int_equal(meta_inode_count(w->m), 1);
	assert_int_equal(meta_inode_get(w->m, 3, &i), 0);
	assert_string_equal(i.target, "there");
	assert_int_equal(meta_inode_del(w->m, 3), 0);
	assert_int_equal(meta_inode_del(w->m, 3), -ENOENT);
	assert_int_equal(meta_inode_count(w->m), 0);

	assert_int_equal(meta_xattr_get(w->m, 3, "user.a", &p, &len), -ENODATA);
	assert_int_equal(meta_xattr_put(w->m, 3, "user.b", NULL, 0), 0);
	assert_int_equal(meta_xattr_put(w->m, 3, "user.a", "1234", 4), 0);
	assert_int_equal(meta_xattr_put(w->m, 3, "user.ab", "12345", 5), 0);
	assert_int_equal(meta_xattr_put(w->m, 4, "user.z", "1", 1), 0);
	assert_int_equal(meta_xattr_get(w->m, 3, "user.b", &p, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(meta_xattr_next(w->m, 3, "", name), 0);
	assert_string_equal(name, "user.a");
	assert_int_equal(meta_xattr_next(w->m, 3, name, name), 0);
	assert_string_equal(name, "user.ab");
	assert_int_equal(meta_xattr_next(w->m, 3, name, name), 0);
	assert_string_equal(name, "user.b");
	assert_int_equal(meta_xattr_next(w->m, 3, name, name), -ENOENT);
	assert_int_equal(meta_xattr_del(w->m, 3, "user.a"), 0);
	assert_int_equal(meta_xattr_del(w->m, 3, "user.a"), -ENODATA);
	assert_int_equal(meta_xattr_put(w->m, 3, "", "", 0), -EINVAL);

	assert_int_equal(meta_orphan_next(w->m, 0, &o), -ENOENT);
	assert_int_equal(meta_orphan_put(w->m, 9), 0);
	assert_int_equal(meta_orphan_put(w->m, 6), 0);
	assert_int_equal(meta_orphan_next(w->m, 0, &o), 0);
	assert_int_equal(o, 6);
	assert_int_equal(meta_orphan_next(w->m, 6, &o), 0);
	assert_int_equal(o, 9);
	assert_int_equal(meta_orphan_next(w->m, 9, &o), -ENOENT);
	assert_int_equal(meta_orphan_del(w->m, 6), 0);

	w->changes = 0;
	assert_int_equal(meta_segment_put(w->m, &r), 0);
	r.object_bytes = 3000;
	assert_int_equal(meta_segment_put(w->m, &r), 0);
	assert_int_equal(w->changes, 0); /* not through the log */
	assert_int_equal(meta_segment_count(w->m), 1);
	assert_int_equal(meta_segment_bytes(w->m), 3000);
	assert_int_equal(meta_segment_get(w->m, 77, &got), 0);
	assert_memory_equal(&got.table_hash, &r.table_hash, HASH_BYTES);
	assert_int_equal(meta_segment_put(w->replica, &r), 0);
	world_free(w);
}

/* Values of all sizes, put again in other sizes, among many keys: pages split, join and overflow. */
static void test_values(void **state)
{
	enum { INODES = 40, NAMES_EACH = 5 };
	static struct { bool set; uint64_t seed; size_t len; } model[INODES][NAMES_EACH];
	static uint8_t value[VOLUME_XATTR_VALUE_MAX];
	struct world *w = world_new(true);
	uint64_t s = 99, fill;
	const uint8_t *p;
	char name[16];
	size_t len;

	(void)state;
	for (unsigned n = 0; n < 6000; n++) {
		size_t i = rng_below(&s, INODES), k = rng_below(&s, NAMES_EACH);
		int rc;

		snprintf(name, sizeof name, "user.%zu", k);
		rc = meta_xattr_get(w->m, i + 1, name, &p, &len);
		assert_int_equal(rc, model[i][k].set ? 0 : -ENODATA);
		if (!rc) {
			fill = model[i][k].seed;
			rng_fill(&fill, value, model[i][k].len);
			assert_int_equal(len, model[i][k].len);
			assert_memory_equal(p, value, len);
		}
		if (rng_below(&s, 4)) {
			static const size_t sizes[] = { 1, 30, 600, 2100, 5000, VOLUME_XATTR_VALUE_MAX + 1 };

			model[i][k].len = rng_below(&s, sizes[rng_below(&s, 6)]);
			model[i][k].seed = fill = rng_next(&s);
			model[i][k].set = true;
			rng_fill(&fill, value, model[i][k].len);
			assert_int_equal(meta_xattr_put(w->m, i + 1, name, value, model[i][k].len), 0);
		} else {
			model[i][k].set = false;
			assert_int_equal(meta_xattr_del(w->m, i + 1, name), rc);
		}
		if (rng_below(&s, 3) == 0)
			assert_int_equal(meta_step(w->m), 0);
		if (rng_below(&s, 50) == 0)
			assert_int_equal(meta_raw_commit(w->m), 0);
	}
	world_free(w);
}

/* --- loading --- */

static void test_load(void **state)
{
	const uint64_t files = 250000;
	struct world *w = world_new(false);
	struct inode i = inode_of(0, S_IFREG | 0644);
	uint8_t key[VALUE_KEY_MAX], val[VALUE_INODE_MAX];
	struct volume_dirent d;
	uint64_t n, keys = 0;
	char name[16];
	size_t len;
	double t = now_us();

	(void)state;
	for (n = 0; n < files; n++, keys++) {
		assert_int_equal(value_dirent_encode(n + 2, S_IFREG, name, (size_t)snprintf(name, sizeof name, "%08" PRIu64, n), val, &len), 0);
		assert_int_equal(meta_load(w->m, key, value_key_dirent(1, (n + 1) << 8, key), val, len), 0);
	}
	for (n = 0; n < 2 * files; n++, keys++) {
		struct extent e = { .ino = n / 2 + 2, .start = n % 2 * 8192, .len = 4096, .segment = n % 3, .logical = 4096 };

		assert_int_equal(value_extent_encode(&e, val), 0);
		assert_int_equal(meta_load(w->m, key, value_key_extent(e.ino, e.start + 4095, key), val, VALUE_EXTENT_BYTES), 0);
	}
	for (n = 0; n < files; n++, keys++) {
		i.a.ino = n + 2;
		assert_int_equal(value_inode_encode(&i, val, &len), 0);
		assert_int_equal(meta_load(w->m, key, value_key_inode(n + 2, key), val, len), 0);
	}
	/* Out of order, twice, or not what it claims to be: refused. */
	assert_int_equal(meta_load(w->m, key, value_key_inode(n + 1, key), val, len), ERR_CORRUPT);
	assert_int_equal(meta_load(w->m, key, value_key_inode(5, key), val, len), ERR_CORRUPT);
	assert_int_equal(meta_load(w->m, key, value_key_inode(n + 9, key), val, 50), ERR_CORRUPT);
	assert_int_equal(meta_load(w->m, "Z23456789", 9, val, len), ERR_CORRUPT);
	assert_int_equal(meta_load(w->m, key, value_key_inode(n + 9, key), NULL, 0), -EINVAL);
	assert_int_equal(meta_load_end(w->m), 0);
	t = now_us() - t;
	print_message("loaded %" PRIu64 " keys, %.2f million/s of processor time\n", keys, (double)keys / t);
	assert_int_equal(meta_inode_count(w->m), files);
	assert_int_equal(meta_live_bytes(w->m), 2 * files * 4096);
	assert_int_equal(meta_inode_get(w->m, files / 2, &i), 0);
	assert_int_equal(meta_name_next(w->m, 1, files << 7, &d), 0);
	/* And it is a map like any other. */
	i.a.ino = 1;
	assert_int_equal(meta_inode_put(w->m, &i), 0);
	assert_int_equal(meta_inode_count(w->m), files + 1);
	world_free(w);
}

static void apply_extent(struct meta *m, const struct extent *e, bool del)
{
	uint8_t key[VALUE_KEY_PAIR_BYTES], val[VALUE_EXTENT_BYTES];

	assert_int_equal(value_extent_encode(e, val), 0);
	assert_int_equal(meta_apply(m, key, value_key_extent(e->ino, e->start + e->len - 1, key), del ? NULL : val, del ? 0 : sizeof val), 0);
}

static void test_apply(void **state)
{
	struct world *w = world_new(false);
	struct extent a = { .ino = 5, .start = 0, .len = 1000, .segment = 1, .logical = 0 };
	struct extent b = { .ino = 5, .start = 500, .len = 500, .segment = 2, .logical = 100 }, c = { .ino = 5, .start = 0, .len = 500, .segment = 1 };
	struct segment_ref r = { .id = 7, .object_bytes = 5000 };
	struct buf key = BUF_INIT, val = BUF_INIT;
	uint8_t raw[VALUE_KEY_PREFIX_BYTES];

	(void)state;
	w->counting = true;
	apply_extent(w->m, &a, false);
	assert_int_equal(w->refs[1][999], 1);
	/* The same key with another value: one reference goes, another comes. */
	apply_extent(w->m, &b, false);
	assert_int_equal(meta_live_bytes(w->m), 500);
	assert_int_equal(w->refs[1][0], 0);
	assert_int_equal(w->refs[2][100], 1);
	apply_extent(w->m, &c, false);
	apply_extent(w->m, &c, false);
	assert_int_equal(meta_live_bytes(w->m), 1000);
	assert_int_equal(w->refs[1][499], 1);
	apply_extent(w->m, &b, true);
	apply_extent(w->m, &b, true);
	apply_extent(w->m, &c, true);
	assert_int_equal(meta_live_bytes(w->m), 0);
	assert_int_equal(w->refs[1][0] + w->refs[2][100], 0);
	assert_int_equal(w->changes, 0);
	meta_segment_encode(&r, &key, &val);
	assert_int_equal(key.err + val.err, 0);
	assert_int_equal(meta_apply(w->m, key.data, key.len, val.data, val.len), 0);
	assert_int_equal(meta_apply(w->m, key.data, key.len, val.data, val.len), 0);
	assert_int_equal(meta_segment_count(w->m), 1);
	assert_int_equal(meta_segment_bytes(w->m), 5000);
	assert_int_equal(meta_apply(w->m, key.data, key.len, NULL, 0), 0);
	assert_int_equal(meta_segment_count(w->m), 0);
	assert_int_equal(meta_apply(w->m, raw, value_key_inode(3, raw), "\1", 1), ERR_CORRUPT);
	assert_int_equal(meta_apply(w->m, "I", 1, "x", 1), ERR_CORRUPT);
	r.data_len = SEGMENT_DATA_MAX + 1;
	meta_segment_encode(&r, &key, &val);
	assert_true(val.err != 0);
	buf_free(&key);
	buf_free(&val);
	world_free(w);
}

/* --- meta_check --- */

static void put_inode(struct meta *m, struct inode i)
{
	assert_int_equal(meta_inode_put(m, &i), 0);
}

/* root: d (a directory), f and g (one file of 100 bytes, an attribute); an orphan. */
static struct world *sound(void)
{
	struct world *w = world_new(false);
	struct inode root = inode_of(1, S_IFDIR | 0755), d = inode_of(2, S_IFDIR | 0755), f = inode_of(3, S_IFREG | 0644), o = inode_of(4, S_IFREG | 0644);
	struct extent e = { .ino = 3, .start = 0, .len = 100, .segment = 1 };
	struct segment_ref r = { .id = 1, .data_len = 100 };

	root.entries = 3;
	root.a.nlink = 3;
	f.a.nlink = 2;
	f.a.size = f.a.allocated_bytes = 100;
	f.xattrs = 1;
	o.a.nlink = 0;
	put_inode(w->m, root);
	put_inode(w->m, d);
	put_inode(w->m, o);
	assert_int_equal(meta_name_put(w->m, 1, "d", 1, 2, S_IFDIR), 0);
	assert_int_equal(meta_name_put(w->m, 1, "f", 1, 3, S_IFREG), 0);
	assert_int_equal(meta_name_put(w->m, 1, "g", 1, 3, S_IFREG), 0);
	assert_int_equal(meta_extent_set(w->m, &e, &(uint64_t){ 0 }), 0);
	assert_int_equal(meta_xattr_put(w->m, 3, "user.x", "1", 1), 0);
	assert_int_equal(meta_orphan_put(w->m, 4), 0);
	assert_int_equal(meta_segment_put(w->m, &r), 0);
	put_inode(w->m, f);
	return w;
}

static void note(void *user, const char *line)
{
	strncat(user, line, 1000);
	strncat(user, "\n", 2);
}

#define BREAK(what, expect, ...)                                                             \
	do {                                                                                 \
		static char said_[20000];                                                    \
		struct world *w = sound();                                                   \
		struct inode i;                                                              \
		(void)i;                                                                     \
		assert_int_equal(meta_check(w->m, note, said_), 0);                           \
		__VA_ARGS__;                                                                 \
		said_[0] = '\0';                                                             \
		if (meta_check(w->m, note, said_) < 1 || !strstr(said_, expect))             \
			fail_msg("%s: not found, but: %s", what, said_);                     \
		world_free(w);                                                               \
	} while (0)

#define EDIT(n, ...)                                         \
	do {                                                 \
		assert_int_equal(meta_inode_get(w->m, n, &i), 0); \
		__VA_ARGS__;                                 \
		put_inode(w->m, i);                          \
	} while (0)

static void test_check(void **state)
{
	struct extent far = { .ino = 3, .start = 200, .len = 10, .segment = 1 }, beyond = { .ino = 3, .start = 90, .len = 10, .segment = 1, .logical = 95 };

	(void)state;
	BREAK("link count", "link count 7", EDIT(3, i.a.nlink = 7));
	BREAK("a directory's link count", "subdirectories and link count", EDIT(1, i.a.nlink = 2));
	BREAK("entries", "but says 9", EDIT(1, i.entries = 9));
	BREAK("parent", "its parent is 3", EDIT(2, i.parent = 3));
	BREAK("size", "data up to 100", EDIT(3, i.a.size = 99));
	BREAK("allocated", "bytes in extents", EDIT(3, i.a.allocated_bytes = 1));
	BREAK("extent beyond", "data up to 210", assert_int_equal(meta_extent_set(w->m, &far, &(uint64_t){ 0 }), 0));
	BREAK("extent outside of its segment", "goes beyond segment", assert_int_equal(meta_extent_set(w->m, &beyond, &(uint64_t){ 100 }), 0));
	BREAK("attributes", "extended attributes", EDIT(3, i.xattrs = 0));
	BREAK("dangling name", "which is not there", assert_int_equal(meta_name_put(w->m, 1, "h", 1, 99, S_IFREG), 0));
	BREAK("type of a name", "another type", assert_int_equal(meta_name_put(w->m, 1, "f", 1, 3, S_IFIFO), 0));
	BREAK("name missing", "is not listed as an orphan", assert_int_equal(meta_name_del(w->m, 1, "f", 1), 0);
	      assert_int_equal(meta_name_del(w->m, 1, "g", 1), 0));
	BREAK("not listed", "is not listed as an orphan", assert_int_equal(meta_orphan_del(w->m, 4), 0));
	BREAK("listed wrongly", "is listed as an orphan", assert_int_equal(meta_orphan_put(w->m, 3), 0));
	BREAK("attribute of nobody", "table 'X'", assert_int_equal(meta_xattr_put(w->m, 50, "user.x", "1", 1), 0));
	BREAK("extent of nobody", "table 'E'", far.ino = 50; assert_int_equal(meta_extent_set(w->m, &far, &(uint64_t){ 0 }), 0));
	BREAK("orphan of nobody", "table 'O'", assert_int_equal(meta_orphan_put(w->m, 50), 0));
	BREAK("names in a file", "is no directory", assert_int_equal(meta_name_put(w->m, 4, "f", 1, 3, S_IFREG), 0));
	BREAK("names of nobody", "table 'D'", assert_int_equal(meta_name_put(w->m, 50, "f", 1, 3, S_IFREG), 0));
	BREAK("no root", "no root", assert_int_equal(meta_inode_del(w->m, 1), 0));
	BREAK("a directory twice", "has 2 names", assert_int_equal(meta_name_put(w->m, 1, "dd", 2, 2, S_IFDIR), 0));
	BREAK("a directory in itself", "inside itself", assert_int_equal(meta_name_del(w->m, 1, "d", 1), 0);
	      assert_int_equal(meta_name_put(w->m, 2, "d", 1, 2, S_IFDIR), 0); EDIT(2, i.parent = 2));
	BREAK("data in a directory", "no regular file", far.ino = 2; assert_int_equal(meta_extent_set(w->m, &far, &(uint64_t){ 0 }), 0));
	BREAK("hidden name", "not found by its hash", w->m->name_hash_mask = 1);
	BREAK("sums", "are counted", w->m->live_bytes++);
	BREAK("inodes", "inodes are there", w->m->inodes++);
}

/* --- what it costs --- */

static void test_cost(void **state)
{
	const unsigned blocks = 65536, rounds = 50000;
	struct world *w = world_new(false);
	uint64_t alloc = 0, s = 5;
	struct inode i = inode_of(7, S_IFREG | 0644), got;
	double t, most = 0;
	unsigned n;

	(void)state;
	put_inode(w->m, i);
	for (n = 0; n < blocks; n++) { /* 1 GiB, every 16 KiB elsewhere */
		struct extent e = { .ino = 7, .start = n * 16384ull, .len = 16384, .segment = n, .logical = 0 };

		assert_int_equal(meta_extent_set(w->m, &e, &alloc), 0);
		assert_int_equal(meta_step(w->m), 0);
	}
	t = now_us();
	for (n = 0; n < rounds; n++) {
		struct extent e = { .ino = 7, .start = rng_below(&s, blocks) * 16384, .len = 16384, .segment = blocks + n, .logical = 0 };
		double before = now_us(), took;

		assert_int_equal(meta_inode_get(w->m, 7, &got), 0);
		assert_int_equal(meta_extent_set(w->m, &e, &alloc), 0);
		assert_int_equal(meta_inode_put(w->m, &got), 0);
		assert_int_equal(meta_step(w->m), 0);
		took = now_us() - before;
		if (took > most)
			most = took;
	}
	print_message("a random 16 KiB write's changes in a file of 65536 extents: %.2f us, at most %.0f us (with the commit)\n",
		      (now_us() - t) / rounds, most);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extents), cmocka_unit_test(test_extent_limits), cmocka_unit_test(test_names), cmocka_unit_test(test_names_full),
		cmocka_unit_test(test_inodes), cmocka_unit_test(test_values), cmocka_unit_test(test_load), cmocka_unit_test(test_apply), cmocka_unit_test(test_check),
		cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
