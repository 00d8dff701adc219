/*
 * test_codec_oom.c - the Nth allocation fails, for every N: the codecs and the map of changed keys say -ENOMEM, lose
 * nothing they had, and do the same thing right the next time. Allocation is interposed, which sanitizers do
 * themselves: under those the same calls run without failures.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "kvmap.h"
#include "object.h"
#include "run.h"

static long fail_in; /* 0 = never, 1 = the next one */
static unsigned long failed;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERPOSED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERPOSED 0
#endif
#endif
#ifndef INTERPOSED
#define INTERPOSED 1
#endif

#if INTERPOSED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static int fails(void)
{
	if (fail_in == 0 || --fail_in > 0)
		return 0;
	failed++;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	return fails() ? NULL : __libc_memalign(align, n);
}
#endif

/* Calls step(user) with the Nth allocation failing, for N = 1, 2, ... until none fails. step: 0 or -ENOMEM. */
static void each_allocation(int (*step)(void *user), void *user)
{
	unsigned long before, n = 0;

	do {
		before = failed;
		fail_in = (long)++n;
		int rc = step(user);

		fail_in = 0;
		assert_true(rc == 0 || rc == -ENOMEM);
		assert_true(rc == 0 || failed > before);
	} while (failed > before);
	if (!INTERPOSED)
		print_message("allocations do not fail here: the sanitizer owns malloc\n");
	else
		assert_true(n > 1);
}

static size_t make_key(size_t i, uint8_t *key)
{
	key[0] = 'E';
	put_be64(key + 1, i * 7919 % 3000);
	return 9;
}

/* Some grow, some shrink, some go: all that leads to moves and to compaction. */
static size_t make_val(size_t i, uint8_t *val)
{
	size_t len = i * 31 % (i % 9000 < 6000 ? 700 : 20);

	memset(val, (int)i, len);
	return len;
}

/* The map must be what the first `done` operations made of it. */
static void check_map(const struct kvmap *m, size_t done)
{
	static size_t newest[3000];
	struct kvmap_iter it;
	const uint8_t *key, *val;
	size_t klen, vlen, count = 0;
	uint8_t k[9], v[700];

	memset(newest, 0, sizeof(newest));
	for (size_t i = 0; i < done; i++) {
		make_key(i, k);
		newest[get_be64(k + 1)] = i + 1;
	}
	kvmap_first(m, &it);
	for (size_t x = 0; x < 3000; x++) {
		if (!newest[x])
			continue;
		assert_true(kvmap_next(&it, &key, &klen, &val, &vlen));
		assert_int_equal(get_be64(key + 1), x);
		if ((newest[x] - 1) % 11 == 10) {
			assert_null(val);
		} else {
			assert_int_equal(vlen, make_val(newest[x] - 1, v));
			assert_memory_equal(val, v, vlen);
		}
		count++;
	}
	assert_false(kvmap_next(&it, &key, &klen, &val, &vlen));
	assert_int_equal(kvmap_count(m), count);
}

static void map_unchanged(void **state)
{
	struct kvmap *m = NULL;
	uint8_t key[9], val[700];
	size_t done = 0;
	unsigned long failures = 0;

	(void)state;
	fail_in = 1;
	while (kvmap_new(&m) != 0)
		fail_in = ++failures < 3 ? (long)failures + 1 : 0;
	/* Nearly every operation that allocates fails, at its first allocation or at its second. */
	while (done < 36000) {
		size_t klen = make_key(done, key), vlen = make_val(done, val);
		int rc;

		fail_in = done % 5 ? 1 : 2;
		rc = kvmap_set(m, key, klen, done % 11 == 10 ? NULL : val, vlen);
		fail_in = 0;
		if (rc) {
			assert_int_equal(rc, -ENOMEM);
			if (++failures % 3 == 0)
				check_map(m, done);
			assert_int_equal(kvmap_set(m, key, klen, done % 11 == 10 ? NULL : val, vlen), 0);
		}
		done++;
	}
	check_map(m, done);
	if (INTERPOSED) {
		print_message("%lu allocations failed, %lu calls\n", failed, failures);
		assert_true(failures > 10 && failed > failures + 10);
	}
	kvmap_free(m);
}

static int write_run(void *user)
{
	struct buf *out = user;
	struct run_writer *w;
	uint8_t key[9] = "I", val[100] = { 0 };
	int rc = run_writer_new(1, &w);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < 1500 && !rc; i++) {
		put_be64(key + 1, i);
		put_u64(val, i * i);
		rc = run_writer_add(w, key, 9, val, sizeof(val));
	}
	/* A writer that failed once stays failed: no part may lack a key. */
	if (rc)
		assert_true(run_writer_add(w, "z", 1, "", 0) != 0 && run_writer_finish(w, out) != 0 && out->len == 0);
	else
		rc = run_writer_finish(w, out);
	run_writer_free(w);
	fail_in = 0;
	if (!rc) {
		struct run_reader *r;
		const uint8_t *k, *v;
		size_t kl, vl;
		uint64_t n = 0;

		assert_int_equal(run_reader_new(out->data, out->len, &r), 0);
		while (run_reader_next(r, &k, &kl, &v, &vl) == 1)
			assert_int_equal(get_be64(k + 1), n++);
		assert_int_equal(n, 1500);
		run_reader_free(r);
	}
	buf_free(out);
	return rc;
}

static int next(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen)
{
	return run_reader_next(user, key, klen, val, vlen);
}

static int merge_run(void *user)
{
	const struct buf *part = user;
	struct run_reader *r = NULL;
	struct run_merge *m = NULL;
	const uint8_t *k, *v;
	size_t kl, vl, n = 0;
	int rc = run_reader_new(part->data, part->len, &r);

	if (!rc) {
		struct run_source s = { next, r };

		rc = run_merge_new(&s, 1, true, &m);
	}
	if (!rc) {
		while ((rc = run_merge_next(m, &k, &kl, &v, &vl)) == 1)
			n++;
	}
	assert_true(rc != 0 || n == 200);
	run_merge_free(m);
	run_reader_free(r);
	return rc;
}

static void runs(void **state)
{
	struct buf part = BUF_INIT, out = BUF_INIT;
	struct run_writer *w;
	uint8_t key[9] = "I", val[100] = { 0 };

	(void)state;
	each_allocation(write_run, &out);
	assert_int_equal(run_writer_new(1, &w), 0);
	for (uint64_t i = 0; i < 200; i++) {
		put_be64(key + 1, i);
		assert_int_equal(run_writer_add(w, key, 9, val, sizeof(val)), 0);
	}
	assert_int_equal(run_writer_finish(w, &part), 0);
	run_writer_free(w);
	each_allocation(merge_run, &part);
	buf_free(&part);
}

static uint8_t cut_data[300000];

static int make_cut(void *user)
{
	static struct object_table t;
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 1, .slot = 1, .first_lsn = 1, .last_lsn = 1, .segment_id = 3, .data_len = sizeof(cut_data) }, r;
	struct buf *run = user, out = BUF_INIT;
	int rc = object_encode_cut(&f, cut_data, NULL, run->data, run->len, 1, &t, &out);

	fail_in = 0;
	if (rc)
		assert_int_equal(out.len, 0);
	else
		assert_int_equal(object_verify(out.data, out.len, &r, &t), 0);
	buf_free(&out);
	return rc;
}

static int dump_cut(void *user)
{
	const struct buf *b = user;
	struct buf out = BUF_INIT;
	int rc = object_dump("log/0000000001/000000000001", b->data, b->len, failed % 2, &out);

	if (rc)
		assert_int_equal(out.len, 0);
	buf_free(&out);
	return rc;
}

static void cuts(void **state)
{
	static struct object_table t;
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 1, .slot = 1, .first_lsn = 1, .last_lsn = 1, .segment_id = 3, .data_len = 100000 };
	struct run_writer *w;
	struct buf run = BUF_INIT, b = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(cut_data); i++)
		cut_data[i] = (uint8_t)(i / 7);
	assert_int_equal(run_writer_new(0, &w), 0);
	assert_int_equal(run_writer_add(w, "k", 1, "v", 1), 0);
	assert_int_equal(run_writer_finish(w, &run), 0);
	run_writer_free(w);
	each_allocation(make_cut, &run);
	assert_int_equal(object_encode_cut(&f, cut_data, NULL, run.data, run.len, 0, &t, &b), 0);
	each_allocation(dump_cut, &b);
	buf_free(&run);
	buf_free(&b);
}

static int decode_manifest(void *user)
{
	const struct buf *b = user;
	struct manifest m;
	int rc = manifest_decode(b->data, b->len, &m);

	if (!rc)
		manifest_free(&m);
	return rc;
}

static int encode_manifest(void *user)
{
	struct buf b = BUF_INIT;
	int rc = manifest_encode(user, &b);

	if (rc)
		assert_int_equal(b.len, 0);
	buf_free(&b);
	return rc;
}

static void manifests(void **state)
{
	struct manifest_part parts[9] = { { .bytes = 1 } };
	struct manifest_run runs_of[3] = { { parts, 2, 1 }, { parts, 9, 1 }, { parts, 1, 1 } };
	struct manifest m = { .epoch = 1, .runs = runs_of, .run_count = 3 };
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(manifest_encode(&m, &b), 0);
	each_allocation(decode_manifest, &b);
	each_allocation(encode_manifest, &m);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_unchanged),
		cmocka_unit_test(runs),
		cmocka_unit_test(cuts),
		cmocka_unit_test(manifests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
