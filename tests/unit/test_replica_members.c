/* test_replica_members.c - the set of members: merging in any order, its bounds, its bytes; the one at the door. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admit.h"
#include "err.h"
#include "../lib/rng.h"

static struct member one(unsigned key, bool forgotten, uint64_t stamp, const char *address)
{
	struct member m = { .forgotten = forgotten, .stamp = stamp };

	m.node[0] = (uint8_t)(key >> 8);
	m.node[1] = (uint8_t)key;
	snprintf(m.name, sizeof m.name, "n%u", key);
	snprintf(m.address, sizeof m.address, "%s", address);
	return m;
}

static bool merge(struct members *s, struct member m)
{
	bool changed;

	assert_int_equal(members_merge(s, &m, &changed), 0);
	return changed;
}

static void assert_same(const struct members *a, const struct members *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;

	members_encode(a, &x);
	members_encode(b, &y);
	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
	buf_free(&x);
	buf_free(&y);
}

static void the_later_stays(void **state)
{
	struct members s = MEMBERS_INIT;

	(void)state;
	assert_true(merge(&s, one(1, false, 10, "a:1")));
	assert_false(merge(&s, one(1, false, 10, "a:1")));
	assert_false(merge(&s, one(1, false, 9, "b:1")));
	assert_true(merge(&s, one(1, false, 11, "b:1")));
	assert_string_equal(members_get(&s, one(1, false, 0, "").node)->address, "b:1");
	assert_true(merge(&s, one(1, true, 2, "b:1"))); /* for good, whatever the clocks say */
	assert_false(merge(&s, one(1, false, 99, "c:1")));
	assert_int_equal(members_live(&s), 0);
	assert_null(members_get(&s, one(2, false, 0, "").node));
	members_free(&s);
}

/* Any order, any number of times, by way of others: the same set. */
static void any_order(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint64_t r = seed;
		struct member all[40];
		struct members a = MEMBERS_INIT, b = MEMBERS_INIT, c = MEMBERS_INIT;

		for (size_t i = 0; i < 40; i++) {
			char address[8];

			snprintf(address, sizeof address, "h%zu:1", rng_below(&r, 3));
			all[i] = one((unsigned)rng_below(&r, 8), rng_below(&r, 6) == 0, rng_below(&r, 5), address);
			merge(&a, all[i]);
		}
		for (size_t i = 0; i < 200; i++)
			merge(rng_below(&r, 2) ? &b : &c, all[rng_below(&r, 40)]);
		for (size_t i = 0; i < 40; i++)
			merge(&c, all[39 - i]);
		for (size_t i = 0; i < c.count; i++)
			merge(&b, c.all[i]);
		for (size_t i = 0; i < b.count; i++)
			assert_false(merge(&a, b.all[i]));
		assert_same(&a, &b);
		assert_same(&a, &c);
		members_free(&a);
		members_free(&b);
		members_free(&c);
	}
}

static void bounds(void **state)
{
	struct members s = MEMBERS_INIT, t = MEMBERS_INIT;

	(void)state;
	for (unsigned i = 0; i < 2 * MEMBERS_MAX; i++)
		merge(&s, one(i, true, 1000 + i, "a:1"));
	for (unsigned i = 2 * MEMBERS_MAX; i-- > 0;)
		merge(&t, one(i, true, 1000 + i, "a:1"));
	assert_int_equal(s.count, MEMBERS_MAX);
	assert_same(&s, &t); /* the last ones, in whatever order they came */
	assert_null(members_get(&s, one(0, false, 0, "").node));
	assert_true(merge(&s, one(9999, false, 1, "a:1"))); /* a live one is worth more than any that was forgotten */
	assert_int_equal(s.count, MEMBERS_MAX);
	for (unsigned i = 0; i < 2 * MEMBERS_LIVE_MAX; i++)
		merge(&s, one(10000 + i, false, 1, "a:1"));
	assert_int_equal(members_live(&s), MEMBERS_LIVE_MAX);
	assert_int_equal(s.count, MEMBERS_MAX);
	members_free(&s);
	members_free(&t);
}

static void bytes(void **state)
{
	struct members s = MEMBERS_INIT, t = MEMBERS_INIT;
	struct buf b = BUF_INIT;
	struct cursor c;
	bool changed;

	(void)state;
	merge(&s, one(1, false, 10, "a:1"));
	merge(&s, one(2, true, MEMBERS_STAMP_MAX, ""));
	members_encode(&s, &b);
	c = cursor_make(b.data, b.len);
	assert_int_equal(members_decode(&c, &t, &changed), 0);
	assert_true(changed);
	assert_same(&s, &t);
	c = cursor_make(b.data, b.len);
	assert_int_equal(members_decode(&c, &t, &changed), 0);
	assert_false(changed);
	for (size_t n = 0; n < b.len; n++) { /* cut anywhere */
		struct members u = MEMBERS_INIT;

		c = cursor_make(b.data, n);
		assert_int_equal(members_decode(&c, &u, &changed), ERR_CORRUPT);
		members_free(&u);
	}
	b.data[2 + 32] = 3; /* no such state */
	c = cursor_make(b.data, b.len);
	assert_int_equal(members_decode(&c, &t, &changed), ERR_CORRUPT);
	b.data[2 + 32] = 1;
	memset(b.data + 2 + 33, 0xff, 8); /* a stamp that nothing could be later than */
	c = cursor_make(b.data, b.len);
	assert_int_equal(members_decode(&c, &t, &changed), ERR_CORRUPT);
	members_free(&s);
	members_free(&t);
	buf_free(&b);
}

static uint64_t now;

static uint64_t boot_ns(struct env *e)
{
	(void)e;
	return now;
}

static const char *judge(struct admit *a, unsigned key, uint8_t incarnation, bool *ret_twin)
{
	struct frame_hello h = { .lowest = 1 };

	memcpy(h.node, one(key, false, 0, "").node, sizeof h.node);
	memset(h.incarnation, incarnation, sizeof h.incarnation);
	return admit_judge(a, &h, ret_twin);
}

static void the_door(void **state)
{
	struct env env = { boot_ns, boot_ns, NULL };
	struct members s = MEMBERS_INIT;
	struct admit *a;
	bool twin;

	(void)state;
	now = 1000000000000;
	assert_int_equal(admit_new(&env, &a), 0);
	assert_null(judge(a, 1, 1, &twin));
	merge(&s, one(1, true, 1, ""));
	assert_int_equal(admit_know(a, &s), 0);
	assert_non_null(strstr(judge(a, 1, 1, &twin), "forgotten"));
	assert_false(twin);
	/* A new start is let in, and calls again; who was there before it is a copy. */
	assert_null(judge(a, 2, 1, &twin));
	admit_up(a, one(2, false, 0, "").node);
	assert_null(judge(a, 2, 2, &twin));
	admit_up(a, one(2, false, 0, "").node);
	admit_down(a, one(2, false, 0, "").node);
	assert_null(judge(a, 2, 2, &twin));
	assert_non_null(judge(a, 2, 1, &twin));
	assert_true(twin);
	now += 2 * ADMIT_TWIN_S * 1000000000ull;
	assert_non_null(judge(a, 2, 1, &twin)); /* the other is still up */
	admit_down(a, one(2, false, 0, "").node);
	assert_non_null(judge(a, 2, 1, &twin));
	now += 2 * ADMIT_TWIN_S * 1000000000ull;
	assert_null(judge(a, 2, 1, &twin));
	assert_false(twin);
	/* Who did wrong waits a minute; the others do not. */
	admit_bad(a, one(4, false, 0, "").node);
	assert_non_null(strstr(judge(a, 4, 1, &twin), "no member may send"));
	assert_false(twin);
	assert_null(judge(a, 5, 1, &twin));
	now += ADMIT_BAD_S * 1000000000ull - 1;
	assert_non_null(judge(a, 4, 1, &twin));
	now += 1;
	assert_null(judge(a, 4, 1, &twin));
	for (unsigned i = 0; i < MEMBERS_ADMIT_MAX; i++)
		merge(&s, one(100 + i, false, 1, ""));
	assert_int_equal(admit_know(a, &s), 0);
	assert_null(judge(a, 100, 1, &twin));
	assert_non_null(strstr(judge(a, 3, 1, &twin), "as many members"));
	members_free(&s);
	admit_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_later_stays), cmocka_unit_test(any_order), cmocka_unit_test(bounds), cmocka_unit_test(bytes), cmocka_unit_test(the_door),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
