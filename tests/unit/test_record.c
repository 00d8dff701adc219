/* test_record.c - records of the local log: round trips, torn and flipped bytes, other salts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "hash.h"
#include "kvmap.h"
#include "record.h"

#define SALT 0x1122334455667788u

static void add_record(struct buf *b, uint64_t lsn, uint64_t salt)
{
	size_t start;

	record_begin(b, &start);
	record_data(b, start, 4096, 512, 77);
	record_put(b, "key", 3, "value", 5);
	record_put(b, "empty", 5, NULL, 0);
	record_del(b, "gone", 4);
	record_finish(b, start, lsn, 1234567890, 9, salt);
	assert_int_equal(b->err, 0);
}

static void check_record(struct record *r, uint64_t lsn)
{
	const uint8_t *key, *val;
	size_t klen, vlen;

	assert_int_equal(r->lsn, lsn);
	assert_int_equal(r->real_ns, 1234567890);
	assert_int_equal(r->request_id, 9);
	assert_int_equal(r->data_hash, 77);
	assert_int_equal(r->data_logical, 4096);
	assert_int_equal(r->data_len, 512);
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 1);
	assert_int_equal(klen, 3);
	assert_memory_equal(key, "key", 3);
	assert_int_equal(vlen, 5);
	assert_memory_equal(val, "value", 5);
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 1);
	assert_int_equal(klen, 5);
	assert_non_null(val); /* an empty value is not a deletion */
	assert_int_equal(vlen, 0);
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 1);
	assert_memory_equal(key, "gone", 4);
	assert_null(val);
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 0);
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 0);
}

static void round_trip(void **state)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	struct record r;

	(void)state;
	buf_bytes(&b, "before", 6); /* records are appended to what is there */
	for (uint64_t lsn = 1; lsn <= 3; lsn++)
		add_record(&b, lsn, SALT);
	buf_zero(&b, 100); /* the unwritten rest of a segment */
	c = cursor_make(b.data + 6, b.len - 6);
	for (uint64_t lsn = 1; lsn <= 3; lsn++) {
		assert_int_equal(record_parse(&c, SALT, &r), 0);
		check_record(&r, lsn);
	}
	assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
	assert_int_equal(cursor_left(&c), 100);
	buf_free(&b);
}

static void no_changes(void **state)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	struct record r;
	const uint8_t *key, *val;
	size_t start, klen, vlen;

	(void)state;
	record_begin(&b, &start);
	record_finish(&b, start, 5, 6, 0, SALT);
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), 0);
	assert_int_equal(r.total_bytes, b.len);
	assert_int_equal(r.data_len, 0);
	assert_int_equal(record_next(&r, &key, &klen, &val, &vlen), 0);
	assert_int_equal(cursor_left(&c), 0);
	buf_free(&b);
}

static void every_flip_is_refused(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	add_record(&b, 42, SALT);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		struct cursor c = cursor_make(b.data, b.len);
		struct record r;

		b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
		assert_ptr_equal(c.p, b.data); /* not moved */
		b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	buf_free(&b);
}

static void every_truncation_is_refused(void **state)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	struct record r;

	(void)state;
	add_record(&b, 42, SALT);
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *copy = malloc(len ? len : 1); /* its own allocation, so that reading past it shows */

		assert_non_null(copy);
		memcpy(copy, b.data, len);
		c = cursor_make(copy, len);
		assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
		free(copy);
	}
	/* Torn: the front of the new over recycled bytes. */
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *copy = malloc(b.len);

		assert_non_null(copy);
		memset(copy, 0xa5, b.len);
		memcpy(copy, b.data, len);
		c = cursor_make(copy, b.len);
		assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
		free(copy);
	}
	buf_free(&b);
}

static void another_salt_is_refused(void **state)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	struct record r;

	(void)state;
	add_record(&b, 42, SALT);
	for (unsigned bit = 0; bit < 64; bit++) {
		c = cursor_make(b.data, b.len);
		assert_int_equal(record_parse(&c, SALT ^ (UINT64_C(1) << bit), &r), ERR_CORRUPT);
	}
	buf_free(&b);
}

/* Replaces byte `at` and makes the checksum good again. */
static void forge(struct buf *b, size_t at, uint8_t x)
{
	b->data[at] = x;
	put_u64(b->data + b->len - 8, hash_xxh3(b->data, b->len - 8, SALT));
}

static void forged_records(void **state)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	struct record r;

	(void)state;
	/* Intact, of an unknown kind, or with unknown flags: not the end of the log. */
	add_record(&b, 1, SALT);
	forge(&b, 8, 2);
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), ERR_NEWER_FORMAT);
	buf_reset(&b);
	add_record(&b, 1, SALT);
	forge(&b, 9, 1);
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), ERR_NEWER_FORMAT);
	/* Changes that do not parse: the whole record is refused, not its first half applied. */
	buf_reset(&b);
	add_record(&b, 1, SALT);
	forge(&b, 56, 200); /* the first key's length */
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
	buf_reset(&b);
	add_record(&b, 1, SALT);
	forge(&b, 56, 0);
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
	/* Data beyond what a segment can hold. */
	buf_reset(&b);
	add_record(&b, 1, SALT);
	forge(&b, 51, 0xff);
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), ERR_CORRUPT);
	buf_free(&b);
}

static void limits(void **state)
{
	static uint8_t key[KVMAP_KEY_MAX + 1], big[KVMAP_VALUE_MAX + 1];
	struct buf b = BUF_INIT;
	struct cursor c;
	struct record r;
	const uint8_t *k, *v;
	size_t start, klen, vlen;

	(void)state;
	memset(key, 'k', sizeof(key));
	record_begin(&b, &start);
	record_put(&b, key, KVMAP_KEY_MAX, big, KVMAP_VALUE_MAX);
	record_del(&b, key, KVMAP_KEY_MAX);
	record_finish(&b, start, 1, 2, 3, SALT);
	assert_int_equal(b.err, 0);
	c = cursor_make(b.data, b.len);
	assert_int_equal(record_parse(&c, SALT, &r), 0);
	assert_int_equal(record_next(&r, &k, &klen, &v, &vlen), 1);
	assert_int_equal(klen, KVMAP_KEY_MAX);
	assert_int_equal(vlen, KVMAP_VALUE_MAX);
	assert_int_equal(record_next(&r, &k, &klen, &v, &vlen), 1);
	assert_null(v);

	buf_reset(&b);
	record_begin(&b, &start);
	record_put(&b, key, KVMAP_KEY_MAX + 1, "", 0);
	assert_int_equal(b.err, -EINVAL);
	buf_reset(&b);
	record_begin(&b, &start);
	record_put(&b, key, 1, big, sizeof(big));
	assert_int_equal(b.err, -EINVAL);
	buf_reset(&b);
	record_begin(&b, &start);
	record_del(&b, key, 0);
	assert_int_equal(b.err, -EINVAL);
	buf_reset(&b);
	record_begin(&b, &start);
	for (int i = 0; i < 3; i++)
		record_put(&b, key, 1, big, KVMAP_VALUE_MAX);
	record_finish(&b, start, 1, 2, 3, SALT);
	assert_int_equal(b.err, -E2BIG);
	buf_free(&b);
}

static void random_records(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int round = 0; round < 500; round++) {
		struct buf b = BUF_INIT;
		struct cursor c;
		struct record r;
		uint64_t again = seed;
		size_t start, n = rng_below(&seed, 40), klen, vlen;
		uint8_t key[KVMAP_KEY_MAX], val[300];
		const uint8_t *k, *v;

		record_begin(&b, &start);
		for (size_t i = 0; i < n; i++) {
			klen = 1 + rng_below(&seed, KVMAP_KEY_MAX);
			vlen = rng_below(&seed, sizeof(val) + 1);
			rng_fill(&seed, key, klen);
			rng_fill(&seed, val, vlen);
			if (rng_below(&seed, 4) == 0)
				record_del(&b, key, klen);
			else
				record_put(&b, key, klen, val, vlen);
		}
		record_finish(&b, start, 1, 2, 3, SALT);
		assert_int_equal(b.err, 0);
		c = cursor_make(b.data, b.len);
		assert_int_equal(record_parse(&c, SALT, &r), 0);
		assert_int_equal(rng_below(&again, 40), n);
		for (size_t i = 0; i < n; i++) {
			size_t want_klen = 1 + rng_below(&again, KVMAP_KEY_MAX), want_vlen = rng_below(&again, sizeof(val) + 1);

			rng_fill(&again, key, want_klen);
			rng_fill(&again, val, want_vlen);
			assert_int_equal(record_next(&r, &k, &klen, &v, &vlen), 1);
			assert_int_equal(klen, want_klen);
			assert_memory_equal(k, key, klen);
			if (rng_below(&again, 4) == 0) {
				assert_null(v);
			} else {
				assert_int_equal(vlen, want_vlen);
				assert_memory_equal(v, val, vlen);
			}
		}
		assert_int_equal(record_next(&r, &k, &klen, &v, &vlen), 0);
		buf_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(no_changes),
		cmocka_unit_test(every_flip_is_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(another_salt_is_refused),
		cmocka_unit_test(forged_records),
		cmocka_unit_test(limits),
		cmocka_unit_test(random_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
