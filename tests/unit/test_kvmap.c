/* test_kvmap.c - the sorted map of changed keys against a naive model: a sorted array. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "buf.h"
#include "kvmap.h"

struct pair { uint8_t *key, *val; size_t klen, vlen; };
struct model { struct pair *p; size_t n, cap; };

static int cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int d = memcmp(a, b, alen < blen ? alen : blen);

	return d ? d : (alen > blen) - (alen < blen);
}

static uint8_t *copy(const void *p, size_t len)
{
	uint8_t *q = malloc(len ? len : 1);

	assert_non_null(q);
	if (len)
		memcpy(q, p, len);
	return q;
}

static void model_set(struct model *m, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (cmp(m->p[mid].key, m->p[mid].klen, key, klen) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == m->n || cmp(m->p[lo].key, m->p[lo].klen, key, klen) != 0) {
		if (m->n == m->cap) {
			m->cap = m->cap ? m->cap * 2 : 64;
			m->p = realloc(m->p, m->cap * sizeof(*m->p));
			assert_non_null(m->p);
		}
		memmove(&m->p[lo + 1], &m->p[lo], (m->n - lo) * sizeof(*m->p));
		m->n++;
		m->p[lo].key = copy(key, klen);
		m->p[lo].klen = klen;
	} else {
		free(m->p[lo].val);
	}
	m->p[lo].val = val ? copy(val, vlen) : NULL;
	m->p[lo].vlen = val ? vlen : 0;
}

static void model_free(struct model *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->p[i].key);
		free(m->p[i].val);
	}
	free(m->p);
}

static void compare(const struct kvmap *map, const struct model *m)
{
	struct kvmap_iter it;
	const uint8_t *key, *val;
	size_t klen, vlen;

	assert_int_equal(kvmap_count(map), m->n);
	kvmap_first(map, &it);
	for (size_t i = 0; i < m->n; i++) {
		assert_true(kvmap_next(&it, &key, &klen, &val, &vlen));
		assert_int_equal(klen, m->p[i].klen);
		assert_memory_equal(key, m->p[i].key, klen);
		assert_int_equal(val == NULL, m->p[i].val == NULL);
		assert_int_equal(vlen, m->p[i].vlen);
		if (vlen)
			assert_memory_equal(val, m->p[i].val, vlen);
	}
	assert_false(kvmap_next(&it, &key, &klen, &val, &vlen));
	assert_false(kvmap_next(&it, &key, &klen, &val, &vlen));
}

/* Keys of several shapes: few (many replacements), like the volume's own, random bytes, long ones with a common front, and prefixes of each other. */
static size_t make_key(uint64_t *seed, unsigned shape, uint8_t *key)
{
	switch (shape % 5) {
	case 0:
		key[0] = (uint8_t)rng_below(seed, 256);
		return 1;
	case 1:
		key[0] = (uint8_t)("DEI"[rng_below(seed, 3)]);
		put_be64(key + 1, rng_below(seed, 20));
		put_be64(key + 9, rng_below(seed, 2000) * 4096 + 4095);
		return 17;
	case 2: {
		size_t len = 1 + rng_below(seed, 40);

		rng_fill(seed, key, len);
		return len;
	}
	case 3:
		memset(key, 'x', KVMAP_KEY_MAX);
		put_be64(key + KVMAP_KEY_MAX - 8, rng_below(seed, 500));
		return KVMAP_KEY_MAX;
	default:
		memset(key, 0, 40);
		return 1 + rng_below(seed, 40);
	}
}

static void random_ops(void **state)
{
	(void)state;
	for (uint64_t s = 1; s <= 40; s++) {
		uint64_t seed = s;
		struct kvmap *map;
		struct model m = { NULL, 0, 0 };
		size_t ops = 1 + rng_below(&seed, 6000);
		uint8_t key[KVMAP_KEY_MAX], val[600];

		assert_int_equal(kvmap_new(&map), 0);
		compare(map, &m);
		for (size_t i = 0; i < ops; i++) {
			size_t klen = make_key(&seed, (unsigned)(s % 6 == 5 ? rng_below(&seed, 5) : s), key);
			size_t vlen = rng_below(&seed, rng_below(&seed, 4) ? 60 : sizeof(val) + 1);
			bool del = rng_below(&seed, 5) == 0;

			rng_fill(&seed, val, vlen);
			assert_int_equal(kvmap_set(map, key, klen, del ? NULL : val, vlen), 0);
			model_set(&m, key, klen, del ? NULL : val, vlen);
		}
		compare(map, &m);
		kvmap_free(map);
		model_free(&m);
	}
}

/* Many keys, in order, backwards, and shuffled: several levels of tree. */
static void orders(void **state)
{
	enum { N = 60000 };

	(void)state;
	for (int order = 0; order < 3; order++) {
		struct kvmap *map;
		struct kvmap_iter it;
		const uint8_t *k, *v;
		size_t klen, vlen;
		uint8_t key[17], val[4];

		assert_int_equal(kvmap_new(&map), 0);
		for (uint32_t i = 0; i < N; i++) {
			uint32_t x = order == 0 ? i : order == 1 ? N - 1 - i : (uint32_t)((uint64_t)i * 48271 % N);

			key[0] = 'E';
			put_be64(key + 1, x / 100);
			put_be64(key + 9, x % 100);
			put_u32(val, x);
			assert_int_equal(kvmap_set(map, key, sizeof(key), val, sizeof(val)), 0);
		}
		assert_int_equal(kvmap_count(map), N);
		kvmap_first(map, &it);
		for (uint32_t i = 0; i < N; i++) {
			assert_true(kvmap_next(&it, &k, &klen, &v, &vlen));
			assert_int_equal(get_u32(v), i);
		}
		assert_false(kvmap_next(&it, &k, &klen, &v, &vlen));
		kvmap_free(map);
	}
}

/* One key rewritten for ever, each time larger or smaller: memory stays bounded. */
static void memory_is_reclaimed(void **state)
{
	struct kvmap *map;
	struct model m = { NULL, 0, 0 };
	uint64_t seed = 3;
	size_t peak = 0;
	static uint8_t val[KVMAP_VALUE_MAX];
	uint8_t key[9] = { 'I' };

	(void)state;
	assert_int_equal(kvmap_new(&map), 0);
	for (int i = 0; i < 20000; i++) {
		size_t vlen = rng_below(&seed, 4000);

		put_be64(key + 1, rng_below(&seed, 20));
		if (i % 3 == 0) /* forget the room it had */
			assert_int_equal(kvmap_set(map, key, 9, NULL, 0), 0);
		memset(val, i & 0xff, vlen);
		assert_int_equal(kvmap_set(map, key, 9, val, vlen), 0);
		model_set(&m, key, 9, val, vlen);
		if (kvmap_bytes(map) > peak)
			peak = kvmap_bytes(map);
	}
	compare(map, &m);
	assert_true(peak < 4u << 20);
	for (int i = 0; i < 300; i++) { /* the largest values there are */
		put_be64(key + 1, (uint64_t)i % 3);
		assert_int_equal(kvmap_set(map, key, 9, val, i % 2 ? KVMAP_VALUE_MAX : 1), 0);
		model_set(&m, key, 9, val, i % 2 ? KVMAP_VALUE_MAX : 1);
	}
	compare(map, &m);
	kvmap_free(map);
	model_free(&m);
}

static void merge(void **state)
{
	(void)state;
	for (uint64_t s = 1; s <= 20; s++) {
		uint64_t seed = s;
		struct kvmap *map, *newer;
		struct model m = { NULL, 0, 0 };
		uint8_t key[KVMAP_KEY_MAX], val[100];

		assert_int_equal(kvmap_new(&map), 0);
		assert_int_equal(kvmap_new(&newer), 0);
		for (int i = 0; i < 2000; i++) {
			size_t klen = make_key(&seed, (unsigned)s, key), vlen = rng_below(&seed, sizeof(val));

			rng_fill(&seed, val, vlen);
			assert_int_equal(kvmap_set(i < 1000 ? map : newer, key, klen, i % 7 ? val : NULL, vlen), 0);
			model_set(&m, key, klen, i % 7 ? val : NULL, vlen);
		}
		assert_int_equal(kvmap_merge(map, newer), 0);
		compare(map, &m);
		assert_int_equal(kvmap_merge(map, newer), 0); /* again changes nothing */
		compare(map, &m);
		kvmap_free(map);
		kvmap_free(newer);
		model_free(&m);
	}
}

static void limits(void **state)
{
	static uint8_t key[KVMAP_KEY_MAX + 1], val[KVMAP_VALUE_MAX + 1];
	struct kvmap *map;

	(void)state;
	assert_int_equal(kvmap_new(&map), 0);
	assert_int_equal(kvmap_set(map, key, 0, val, 1), -EINVAL);
	assert_int_equal(kvmap_set(map, key, KVMAP_KEY_MAX + 1, val, 1), -EINVAL);
	assert_int_equal(kvmap_set(map, key, 1, val, KVMAP_VALUE_MAX + 1), -EINVAL);
	assert_int_equal(kvmap_count(map), 0);
	assert_int_equal(kvmap_set(map, key, KVMAP_KEY_MAX, val, KVMAP_VALUE_MAX), 0);
	assert_int_equal(kvmap_count(map), 1);
	assert_true(kvmap_bytes(map) > KVMAP_VALUE_MAX);
	kvmap_free(map);
	kvmap_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_ops),
		cmocka_unit_test(orders),
		cmocka_unit_test(memory_is_reclaimed),
		cmocka_unit_test(merge),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
