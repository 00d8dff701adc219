/* test_store_mem.c - the store in memory, and on it what all stores share: options, the probe, blocking calls. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backends.h"
#include "compiler.h"
#include "counters.h"
#include "err.h"
#include "../lib/store_conformance.h"

static void test_conformance(void **state)
{
	char why[512] = "";
	struct store *s;

	(void)state;
	assert_int_equal(store_mem_open(8, &s), 0);
	if (store_conformance(s, why, sizeof(why)))
		fail_msg("%s", why);
	store_close(s);
}

static void test_close(void **state)
{
	char why[512] = "";
	struct store *s;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(store_mem_open(1 + (unsigned)i % 4, &s), 0);
		if (store_conformance_close(s, why, sizeof(why)))
			fail_msg("%s", why);
	}
}

static void test_probe(void **state)
{
	struct store *s;
	struct store_req r;

	(void)state;
	assert_int_equal(store_mem_open(8, &s), 0);
	assert_int_equal(store_probe(s), 0);
	store_req_init(&r, STORE_LIST);
	r.key = "";
	assert_int_equal(store_call(s, &r), 0);
	assert_int_equal(r.entry_count, 0); /* it leaves nothing behind */
	store_req_reset(&r);
	store_close(s);
}

/* A store that ignores conditions, in different ways, on top of one that does not. */
struct careless {
	struct store store;
	struct store *below;
	int only_every; /* every so many conditional PUTs are let through */
	int seen;
};

static void careless_submit(struct store *s, struct store_req *r)
{
	struct careless *c = CL_CONTAINER_OF(s, struct careless, store);

	if (r->op == STORE_PUT && __atomic_add_fetch(&c->seen, 1, __ATOMIC_SEQ_CST) % c->only_every == 0)
		r->if_none_match = false;
	c->below->submit(c->below, r);
}

static void test_probe_finds_carelessness(void **state)
{
	static const int every[] = { 1, 2, 3, 7, 9 };
	struct careless c = { .store = { .kind = "careless", .address = "careless://", .submit = careless_submit,
					 .wait = store_wait_threads } };

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(every); i++) {
		assert_int_equal(store_mem_open(8, &c.below), 0);
		c.only_every = every[i];
		c.seen = 0;
		assert_int_equal(store_probe(&c.store), ERR_NO_FENCING);
		assert_non_null(strstr(err_last(), "If-None-Match"));
		store_close(c.below);
	}
}

static void test_probe_tells_failures(void **state)
{
	static const struct { const char *rules; int want; } cases[] = {
		{ "put:probe/*:auth", ERR_AUTH }, { "*:*:503", ERR_UNAVAILABLE }, { "get:probe/*:404", -ENOENT },
		{ "get:probe/*:corrupt", ERR_CORRUPT }, { "delete:*:auth", ERR_AUTH }, { "put:*:no-bucket", ERR_NO_BUCKET },
		/* What a healthy but troubled store does is no reason to refuse it. */
		{ "put:probe/*:412-after-success", 0 }, { "put:probe/*:lost-reply:count=1", 0 }, { "put:probe/*:503:count=5", 0 },
		{ "put:probe/*:conflict409:after=3:count=2", 0 },
	};

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(cases); i++) {
		struct store *mem, *s;
		int rc;

		assert_int_equal(store_mem_open(4, &mem), 0);
		assert_int_equal(store_fault_open(mem, cases[i].rules, 1, &s), 0);
		err_clear();
		rc = store_probe(s);
		if (rc != cases[i].want)
			fail_msg("with %s: %s (%s)", cases[i].rules, err_text(rc), err_last());
		if (rc)
			assert_string_not_equal(err_last(), "");
		store_close(s);
	}
}

static int stop_at_third(void *user, const struct store_entry *e)
{
	int *n = user;

	(void)e;
	return ++*n == 3 ? 42 : 0;
}

static void test_list_all_stops(void **state)
{
	struct store *s;
	struct store_req r;
	int n = 0;

	(void)state;
	assert_int_equal(store_mem_open(0, &s), 0);
	for (char k[] = "k0"; k[1] < '9'; k[1]++) {
		assert_int_equal(store_put(s, k, "", 0, true, &r), 0);
		store_req_reset(&r);
	}
	assert_int_equal(store_list_all(s, "", NULL, stop_at_third, &n), 42);
	assert_int_equal(n, 3);
	n = 10;
	assert_int_equal(store_list_all(s, "k", "k6", stop_at_third, &n), 0);
	assert_int_equal(n, 12); /* k7, k8 */
	store_close(s);
}

static int collect(void *user, const char *key, const char *value)
{
	char *to = user;

	strcat(strcat(strcat(strcat(to, key), ">"), value), " ");
	return strcmp(key, "stop") == 0 ? 7 : 0;
}

static void test_options(void **state)
{
	char to[256] = "", longer[600];

	(void)state;
	assert_int_equal(store_options(NULL, collect, to), 0);
	assert_int_equal(store_options("", collect, to), 0);
	assert_string_equal(to, "");
	assert_int_equal(store_options("a=1,b,c=x=y,,d=", collect, to), 0);
	assert_string_equal(to, "a>1 b> c>x=y d> ");
	to[0] = '\0';
	assert_int_equal(store_options("a=1,stop=1,b=2", collect, to), 7);
	assert_string_equal(to, "a>1 stop>1 ");
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(store_options(longer, collect, to), ERR_CONFIG);
}

static void test_range(void **state)
{
	struct store_req r;
	uint64_t off;
	size_t len;

	(void)state;
	store_req_init(&r, STORE_GET);
	r.range_offset = UINT64_MAX;
	r.range_length = UINT64_MAX;
	store_range(&r, 100, &off, &len);
	assert_int_equal(off, 100);
	assert_int_equal(len, 0);
	r.range_offset = 99;
	store_range(&r, 100, &off, &len);
	assert_int_equal(off, 99);
	assert_int_equal(len, 1);
}

static void test_counters(void **state)
{
	struct store_counters sum;
	struct counters c;

	(void)state;
	assert_int_equal(counters_bucket(0), 0);
	assert_int_equal(counters_bucket(63999), 0);
	assert_int_equal(counters_bucket(64000), 1);
	assert_int_equal(counters_bucket(127999), 1);
	assert_int_equal(counters_bucket(128000), 2);
	assert_int_equal(counters_bucket(UINT64_MAX), STORE_HIST - 1);
	counters_init(&c);
	counters_attempt(&c, STORE_PUT, false, 10);
	counters_attempt(&c, STORE_PUT, true, 10);
	counters_end(&c, STORE_PUT, ERR_PRECONDITION, counters_now_ns(), 0);
	counters_end(&c, STORE_GET, -ENOENT, counters_now_ns(), 0);
	counters_end(&c, STORE_GET, ERR_UNAVAILABLE, counters_now_ns(), 0);
	counters_end(&c, STORE_GET, 0, counters_now_ns(), 7);
	counters_read(&c, &sum);
	assert_int_equal(sum.requests[STORE_PUT], 2);
	assert_int_equal(sum.retries[STORE_PUT], 1);
	assert_int_equal(sum.bytes_sent, 20);
	assert_int_equal(sum.bytes_received, 7);
	assert_int_equal(sum.failures[STORE_PUT], 0);
	assert_int_equal(sum.failures[STORE_GET], 1);
	counters_destroy(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conformance), cmocka_unit_test(test_close), cmocka_unit_test(test_probe),
		cmocka_unit_test(test_probe_finds_carelessness), cmocka_unit_test(test_probe_tells_failures),
		cmocka_unit_test(test_list_all_stops), cmocka_unit_test(test_options), cmocka_unit_test(test_range),
		cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
