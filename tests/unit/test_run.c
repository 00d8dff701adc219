/* test_run.c - sorted runs: round trips, block boundaries, hostile bytes, and merges against a model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "hash.h"
#include "kvmap.h"
#include "run.h"

static struct kvmap *map_new(void)
{
	struct kvmap *m;

	assert_int_equal(kvmap_new(&m), 0);
	return m;
}

/* A map, which test_kvmap.c has checked, as one part. */
static void write_part(const struct kvmap *m, int compress, struct buf *out)
{
	struct run_writer *w;
	struct kvmap_iter it;
	const uint8_t *key, *val;
	size_t klen, vlen, n = 0;

	assert_int_equal(run_writer_new(compress, &w), 0);
	kvmap_first(m, &it);
	while (kvmap_next(&it, &key, &klen, &val, &vlen)) {
		assert_int_equal(run_writer_add(w, key, klen, val, vlen), 0);
		assert_int_equal(run_writer_count(w), ++n);
	}
	assert_int_equal(run_writer_finish(w, out), 0);
	assert_int_equal(run_writer_count(w), 0);
	run_writer_free(w);
}

static void expect_part(const struct buf *part, const struct kvmap *m)
{
	struct run_reader *r;
	struct kvmap_iter it;
	const uint8_t *key, *val, *k, *v;
	size_t klen, vlen, kl, vl;

	assert_int_equal(run_reader_new(part->data, part->len, &r), 0);
	kvmap_first(m, &it);
	while (kvmap_next(&it, &key, &klen, &val, &vlen)) {
		assert_int_equal(run_reader_next(r, &k, &kl, &v, &vl), 1);
		assert_int_equal(kl, klen);
		assert_memory_equal(k, key, klen);
		assert_int_equal(v == NULL, val == NULL);
		assert_int_equal(vl, vlen);
		if (vlen)
			assert_memory_equal(v, val, vlen);
	}
	assert_int_equal(run_reader_next(r, &k, &kl, &v, &vl), 0);
	assert_int_equal(run_reader_next(r, &k, &kl, &v, &vl), 0);
	run_reader_free(r);
}

static void fill_map(struct kvmap *m, uint64_t *seed, size_t n, size_t key_max, size_t val_max)
{
	uint8_t *key = malloc(key_max), *val = malloc(val_max + 1);

	assert_non_null(key);
	assert_non_null(val);
	for (size_t i = 0; i < n; i++) {
		size_t klen = 1 + rng_below(seed, key_max), vlen = rng_below(seed, val_max + 1);

		memset(key, (int)rng_below(seed, 3), klen); /* long common fronts, and keys that are fronts of others */
		if (rng_below(seed, 8))
			rng_fill(seed, key + klen - (klen < 4 ? klen : 4), klen < 4 ? klen : 4);
		if (rng_below(seed, 2))
			memset(val, (int)i, vlen);
		else
			rng_fill(seed, val, vlen);
		assert_int_equal(kvmap_set(m, key, klen, rng_below(seed, 6) ? val : NULL, vlen), 0);
	}
	free(key);
	free(val);
}

static void round_trips(void **state)
{
	static const struct { size_t n, key_max, val_max; } shapes[] = {
		{ 0, 1, 1 }, { 1, 1, 0 }, { 5, 20, 20 }, { 3000, 17, 20 }, { 2000, 30, 200 }, { 600, KVMAP_KEY_MAX, 1000 }, { 60, 20, KVMAP_VALUE_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (int compress = 0; compress <= 3; compress++) {
			uint64_t seed = i * 10 + (uint64_t)compress;
			struct kvmap *m = map_new();
			struct buf b = BUF_INIT;

			fill_map(m, &seed, shapes[i].n, shapes[i].key_max, shapes[i].val_max);
			write_part(m, compress, &b);
			expect_part(&b, m);
			buf_free(&b);
			kvmap_free(m);
		}
	}
}

/* Entries such that a block ends exactly at, just before and just after its 32 KiB. */
static void block_boundaries(void **state)
{
	static uint8_t val[40000];

	(void)state;
	for (size_t vlen = 32 * 1024 - 20; vlen < 32 * 1024 + 4; vlen++) {
		struct kvmap *m = map_new();
		struct buf b = BUF_INIT;

		assert_int_equal(kvmap_set(m, "a", 1, val, vlen), 0);
		assert_int_equal(kvmap_set(m, "ab", 2, val, 3), 0);
		assert_int_equal(kvmap_set(m, "ac", 2, NULL, 0), 0);
		assert_int_equal(kvmap_set(m, "b", 1, val, vlen), 0);
		write_part(m, 0, &b);
		expect_part(&b, m);
		buf_free(&b);
		kvmap_free(m);
	}
}

static void largest_entries(void **state)
{
	uint8_t key[KVMAP_KEY_MAX], *val = malloc(KVMAP_VALUE_MAX);
	struct kvmap *m = map_new();
	struct buf b = BUF_INIT;
	uint64_t seed = 5;

	(void)state;
	assert_non_null(val);
	memset(key, 0xff, sizeof(key));
	for (uint8_t i = 0; i < 40; i++) {
		key[KVMAP_KEY_MAX - 1] = i;
		rng_fill(&seed, val, KVMAP_VALUE_MAX);
		assert_int_equal(kvmap_set(m, key, sizeof(key), val, i % 3 ? KVMAP_VALUE_MAX : 1), 0);
	}
	write_part(m, 1, &b);
	expect_part(&b, m);
	buf_free(&b);
	kvmap_free(m);
	free(val);
}

static void several_parts(void **state)
{
	struct run_writer *w;
	struct buf parts[8] = { BUF_INIT };
	uint8_t key[9] = "I", val[100];
	size_t n = 0;
	uint64_t seed = 9, i = 0;

	(void)state;
	assert_int_equal(run_writer_new(0, &w), 0);
	for (; n < 8; n++) {
		while (run_writer_bytes(w) < 100000) {
			put_be64(key + 1, i++);
			rng_fill(&seed, val, sizeof(val));
			assert_int_equal(run_writer_add(w, key, sizeof(key), val, sizeof(val)), 0);
		}
		size_t about = run_writer_bytes(w);

		assert_int_equal(run_writer_finish(w, &parts[n]), 0);
		assert_true(parts[n].len >= about && parts[n].len < about + 100);
	}
	/* The next part goes on after the last. */
	put_be64(key + 1, i - 1);
	assert_int_equal(run_writer_add(w, key, sizeof(key), "x", 1), -EINVAL);
	run_writer_free(w);
	i = 0;
	for (n = 0; n < 8; n++) {
		struct run_reader *r;
		const uint8_t *k, *v;
		size_t kl, vl;

		assert_int_equal(run_reader_new(parts[n].data, parts[n].len, &r), 0);
		while (run_reader_next(r, &k, &kl, &v, &vl) == 1)
			assert_int_equal(get_be64(k + 1), i++);
		run_reader_free(r);
		buf_free(&parts[n]);
	}
	assert_true(i > 5000);
}

static void order_is_enforced(void **state)
{
	struct run_writer *w;
	struct buf b = BUF_INIT;
	uint8_t key[KVMAP_KEY_MAX + 1] = { 0 };

	(void)state;
	assert_int_equal(run_writer_new(0, &w), 0);
	assert_int_equal(run_writer_add(w, "b", 1, "1", 1), 0);
	assert_int_equal(run_writer_add(w, "b", 1, "2", 1), -EINVAL);
	assert_int_equal(run_writer_add(w, "a", 1, "2", 1), -EINVAL);
	assert_int_equal(run_writer_add(w, "azzz", 4, "2", 1), -EINVAL);
	assert_int_equal(run_writer_add(w, "b\0", 2, "2", 1), 0);
	assert_int_equal(run_writer_add(w, "b", 1, "2", 1), -EINVAL);
	assert_int_equal(run_writer_add(w, "", 0, "2", 1), -EINVAL);
	memset(key, 'c', sizeof(key));
	assert_int_equal(run_writer_add(w, key, sizeof(key), "2", 1), -EINVAL);
	assert_int_equal(run_writer_add(w, "c", 1, NULL, 0), 0);
	assert_int_equal(run_writer_count(w), 3); /* what was refused left no trace */
	assert_int_equal(run_writer_finish(w, &b), 0);
	run_writer_free(w);

	struct kvmap *m = map_new();

	assert_int_equal(kvmap_set(m, "b", 1, "1", 1), 0);
	assert_int_equal(kvmap_set(m, "b\0", 2, "2", 1), 0);
	assert_int_equal(kvmap_set(m, "c", 1, NULL, 0), 0);
	expect_part(&b, m);
	kvmap_free(m);
	buf_free(&b);
}

/* Reads to the end or to an error; returns how it ended. What comes out before must be the front of what m holds. */
static int read_all(const uint8_t *p, size_t len, const struct kvmap *m)
{
	struct run_reader *r;
	struct kvmap_iter it;
	const uint8_t *key, *val, *k, *v;
	size_t klen, vlen, kl, vl;
	int rc = run_reader_new(p, len, &r);

	if (rc)
		return rc;
	kvmap_first(m, &it);
	while ((rc = run_reader_next(r, &key, &klen, &val, &vlen)) == 1) {
		assert_true(kvmap_next(&it, &k, &kl, &v, &vl));
		assert_true(kl == klen && vl == vlen && memcmp(k, key, kl) == 0 && (v == NULL) == (val == NULL));
		assert_true(vl == 0 || memcmp(v, val, vl) == 0);
	}
	if (rc < 0) /* it does not recover */
		assert_int_equal(run_reader_next(r, &key, &klen, &val, &vlen), rc);
	run_reader_free(r);
	return rc;
}

static void flips_and_truncations(void **state)
{
	(void)state;
	for (int compress = 0; compress <= 1; compress++) {
		struct kvmap *m = map_new();
		struct buf b = BUF_INIT;
		uint64_t seed = 11;

		fill_map(m, &seed, 60, 17, 30);
		write_part(m, compress, &b);
		assert_int_equal(read_all(b.data, b.len, m), 0);
		for (size_t bit = 0; bit < b.len * 8; bit++) {
			b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			assert_int_equal(read_all(b.data, b.len, m), ERR_CORRUPT);
			b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
		for (size_t len = 0; len < b.len; len++) {
			uint8_t *copy = malloc(len ? len : 1);

			assert_non_null(copy);
			memcpy(copy, b.data, len);
			assert_int_equal(read_all(copy, len, m), ERR_CORRUPT);
			free(copy);
		}
		buf_u8(&b, 0); /* bytes left over */
		assert_int_equal(read_all(b.data, b.len, m), ERR_CORRUPT);
		buf_free(&b);
		kvmap_free(m);
	}
}

/* A part of one raw block with these entries, its checksums good. */
static int read_forged(const void *entries, size_t len, uint32_t count, uint8_t codec, uint8_t features)
{
	struct buf b = BUF_INIT;
	struct run_reader *r;
	const uint8_t *key, *val;
	size_t klen, vlen;
	uint8_t bh[16] = { 0 };
	int rc;

	buf_bytes(&b, "CLNLRUN", 8);
	buf_u16(&b, 1);
	buf_u16(&b, 0);
	buf_u32(&b, features);
	buf_u32(&b, (uint32_t)(40 + 24 + len));
	buf_u32(&b, 1);
	buf_u64(&b, count);
	buf_u64(&b, hash_xxh3(b.data, 32, 0));
	put_u32(bh, (uint32_t)len);
	put_u32(bh + 4, (uint32_t)len);
	put_u32(bh + 8, count);
	bh[12] = codec;
	buf_bytes(&b, bh, 16);
	buf_u64(&b, hash_xxh3(entries, len, hash_xxh3(bh, 16, 0)));
	buf_bytes(&b, entries, len);
	assert_int_equal(b.err, 0);
	rc = run_reader_new(b.data, b.len, &r);
	if (!rc) {
		do
			rc = run_reader_next(r, &key, &klen, &val, &vlen);
		while (rc > 0);
		run_reader_free(r);
	}
	buf_free(&b);
	return rc;
}

static void forged_entries(void **state)
{
	(void)state;
	/* shared, unshared, value length + 1, key, value */
	assert_int_equal(read_forged("\0\1\2aX\1\1\0b", 9, 2, 0, 0), 0);
	assert_int_equal(read_forged("\0\1\2aX\1\1\0b", 9, 2, 0, 1), ERR_NEWER_FORMAT);  /* a feature */
	assert_int_equal(read_forged("\0\1\2aX\1\1\0b", 9, 2, 2, 0), ERR_NEWER_FORMAT);  /* a codec */
	assert_int_equal(read_forged("\0\1\2aX\1\1\0b", 9, 1, 0, 0), ERR_CORRUPT);       /* an entry too many */
	assert_int_equal(read_forged("\0\1\2aX\1\1\0b", 9, 3, 0, 0), ERR_CORRUPT);       /* one too few */
	assert_int_equal(read_forged("\1\1\1aX", 5, 1, 0, 0), ERR_CORRUPT);              /* shares with nothing */
	assert_int_equal(read_forged("\0\1\1b\0\1\1a", 8, 2, 0, 0), ERR_CORRUPT);        /* descends */
	assert_int_equal(read_forged("\0\1\1a\0\1\1a", 8, 2, 0, 0), ERR_CORRUPT);        /* twice */
	assert_int_equal(read_forged("\0\1\1a\1\0\1", 7, 2, 0, 0), ERR_CORRUPT);         /* twice, shared */
	assert_int_equal(read_forged("\0\1\1a\0\2\1ab", 9, 2, 0, 0), ERR_CORRUPT);       /* shares less than it could */
	assert_int_equal(read_forged("\0\1\1a\2\1\1b", 8, 2, 0, 0), ERR_CORRUPT);        /* shares more than there is */
	assert_int_equal(read_forged("\0\0\1", 3, 1, 0, 0), ERR_CORRUPT);                /* no key */
	assert_int_equal(read_forged("\0\1\xff\xff\xff\xff\x0f""a", 8, 1, 0, 0), ERR_CORRUPT); /* a huge value */
	assert_int_equal(read_forged("\0\1\xff\xff\xff\xff\x7f""a", 8, 1, 0, 0), ERR_CORRUPT); /* beyond 32 bits */
	assert_int_equal(read_forged("\x80\0\1\1a", 5, 1, 0, 0), ERR_CORRUPT);           /* not the shortest form */
	assert_int_equal(read_forged("\0\1\3aX", 5, 1, 0, 0), ERR_CORRUPT);              /* a value that is cut off */
	assert_int_equal(read_forged("\0\xff\x04\1a", 5, 1, 0, 0), ERR_CORRUPT);         /* a key that is too long */
	assert_int_equal(read_forged("", 0, 0, 0, 0), ERR_CORRUPT);                      /* an empty block */
}

/* A block of zeros that claims to unpack to more than a block may hold. */
static void blocks_are_bounded(void **state)
{
	uint8_t part[40 + 24 + 4] = "CLNLRUN";

	(void)state;
	part[8] = 1;
	put_u32(part + 16, sizeof(part));
	put_u32(part + 20, 1);
	put_u64(part + 24, 1);
	put_u64(part + 32, hash_xxh3(part, 32, 0));
	put_u32(part + 40, 4);
	put_u32(part + 44, UINT32_MAX);
	put_u32(part + 48, 1);
	part[52] = 1;
	put_u64(part + 56, hash_xxh3(part + 64, 4, hash_xxh3(part + 40, 16, 0)));

	struct run_reader *r;
	const uint8_t *key, *val;
	size_t klen, vlen;

	assert_int_equal(run_reader_new(part, sizeof(part), &r), 0);
	assert_int_equal(run_reader_next(r, &key, &klen, &val, &vlen), ERR_CORRUPT);
	run_reader_free(r);
}

/* --- merge --- */

static int next_of_reader(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen)
{
	return run_reader_next(user, key, klen, val, vlen);
}

/* count runs with many keys in common; the model is the map that took them oldest first. */
static void merge_once(uint64_t seed, size_t count, bool drop)
{
	struct kvmap *maps[12], *model = map_new();
	struct buf parts[12] = { BUF_INIT };
	struct run_reader *readers[12];
	struct run_source sources[12];
	struct run_merge *m;
	struct kvmap_iter it;
	const uint8_t *key, *val, *k, *v;
	size_t klen, vlen, kl, vl;

	for (size_t i = count; i-- > 0;) {
		size_t n = rng_below(&seed, 3) ? rng_below(&seed, 300) : rng_below(&seed, 3) * 2000;

		maps[i] = map_new();
		fill_map(maps[i], &seed, n, rng_below(&seed, 2) ? 2 : 17, 40);
		assert_int_equal(kvmap_merge(model, maps[i]), 0);
		write_part(maps[i], (int)rng_below(&seed, 2), &parts[i]);
		assert_int_equal(run_reader_new(parts[i].data, parts[i].len, &readers[i]), 0);
		sources[i].next = next_of_reader;
		sources[i].user = readers[i];
	}
	assert_int_equal(run_merge_new(sources, count, drop, &m), 0);
	kvmap_first(model, &it);
	while (kvmap_next(&it, &k, &kl, &v, &vl)) {
		if (drop && !v)
			continue;
		assert_int_equal(run_merge_next(m, &key, &klen, &val, &vlen), 1);
		assert_int_equal(klen, kl);
		assert_memory_equal(key, k, kl);
		assert_int_equal(val == NULL, v == NULL);
		assert_int_equal(vlen, vl);
		if (vl)
			assert_memory_equal(val, v, vl);
	}
	assert_int_equal(run_merge_next(m, &key, &klen, &val, &vlen), 0);
	assert_int_equal(run_merge_next(m, &key, &klen, &val, &vlen), 0);
	run_merge_free(m);
	for (size_t i = 0; i < count; i++) {
		run_reader_free(readers[i]);
		buf_free(&parts[i]);
		kvmap_free(maps[i]);
	}
	kvmap_free(model);
}

static void merges(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++)
		merge_once(seed, seed % 13, seed % 2);
}

struct script { const char *keys; size_t at; int end; };

static int next_of_script(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen)
{
	struct script *s = user;

	if (!s->keys[s->at])
		return s->end;
	*key = (const uint8_t *)s->keys + s->at++;
	*klen = 1;
	*val = (const uint8_t *)"";
	*vlen = 0;
	return 1;
}

static int merge_scripts(const char *a, int a_end, const char *b, int b_end, char *ret)
{
	struct script s[2] = { { a, 0, a_end }, { b, 0, b_end } };
	const struct run_source sources[2] = { { next_of_script, &s[0] }, { next_of_script, &s[1] } };
	struct run_merge *m;
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc;

	assert_int_equal(run_merge_new(sources, 2, false, &m), 0);
	while ((rc = run_merge_next(m, &key, &klen, &val, &vlen)) == 1)
		*ret++ = (char)*key;
	assert_int_equal(run_merge_next(m, &key, &klen, &val, &vlen), rc);
	*ret = '\0';
	run_merge_free(m);
	return rc;
}

static void merge_errors(void **state)
{
	char out[32];

	(void)state;
	assert_int_equal(merge_scripts("ace", 0, "bce", 0, out), 0);
	assert_string_equal(out, "abce");
	assert_int_equal(merge_scripts("ace", -EIO, "bcf", 0, out), -EIO);
	assert_string_equal(out, "abce");
	assert_int_equal(merge_scripts("", 0, "", -ENOMEM, out), -ENOMEM);
	assert_int_equal(merge_scripts("aa", 0, "b", 0, out), ERR_CORRUPT);
	assert_int_equal(merge_scripts("ac", 0, "ba", 0, out), ERR_CORRUPT);
	assert_string_equal(out, "ab");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(block_boundaries),
		cmocka_unit_test(largest_entries),
		cmocka_unit_test(several_parts),
		cmocka_unit_test(order_is_enforced),
		cmocka_unit_test(flips_and_truncations),
		cmocka_unit_test(forged_entries),
		cmocka_unit_test(blocks_are_bounded),
		cmocka_unit_test(merges),
		cmocka_unit_test(merge_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
