/* test_store_fault.c - the layers: faults by rule, one by one, with what they leave behind; and delays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../lib/store_conformance.h"
#include "backends.h"
#include "compiler.h"
#include "counters.h"
#include "err.h"
#include "fault.h"

/* A store in memory under rules; `under` is what is below. */
static struct store *faulty(const char *rules, uint64_t seed, struct store **under)
{
	struct store *s = NULL, *mem;

	if (store_mem_open(4, &mem) || store_fault_open(mem, rules, seed, &s))
		fail_msg("%s", err_last());
	if (under != NULL)
		*under = mem;
	return s;
}

static struct store *slow(uint32_t base_ms, uint32_t jitter_ms)
{
	struct store *s = NULL, *mem;

	if (store_mem_open(4, &mem) || store_delay_open(mem, base_ms, jitter_ms, &s))
		fail_msg("%s", err_last());
	return s;
}

static int put_as(struct store *s, const char *key, const char *text, bool create, bool *ret_ambiguous)
{
	struct store_req r;
	int rc = store_put(s, key, text, strlen(text), create, &r);

	if (ret_ambiguous != NULL)
		*ret_ambiguous = r.ambiguous;
	assert_true(rc == 0 || r.detail[0] != '\0');
	store_req_reset(&r);
	return rc;
}

static bool holds(struct store *s, const char *key, const char *text)
{
	struct store_req r;
	int rc = store_get(s, key, &r);
	bool same = rc == 0 && r.data_len == strlen(text) && memcmp(r.data, text, r.data_len) == 0;

	store_req_reset(&r);
	return same;
}

static void test_conformance(void **state)
{
	char why[512] = "";
	struct store *s, *mem;

	(void)state;
	/* With no rules, or none that fires, a layer is a store like any other; and so are two. */
	s = faulty("", 1, NULL);
	if (store_conformance(s, why, sizeof(why)))
		fail_msg("%s", why);
	store_close(s);
	s = faulty("*:*:delay=1:p=0.05;*:*:503:p=0", 1, NULL);
	if (store_conformance(s, why, sizeof(why)))
		fail_msg("%s", why);
	store_close(s);
	assert_int_equal(store_mem_open(8, &mem), 0);
	assert_int_equal(store_delay_open(mem, 0, 0, &s), 0);
	assert_int_equal(store_fault_open(s, "", 1, &mem), 0);
	if (store_conformance(mem, why, sizeof(why)))
		fail_msg("%s", why);
	store_close(mem);
}

static void test_close(void **state)
{
	static const char *const rules[] = { "", "*:*:delay=20", "*:*:delay=1:p=0.5", "get:*:stall;put:*:delay=2" };
	char why[512] = "";

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(rules); i++)
		if (store_conformance_close(faulty(rules[i], i, NULL), why, sizeof(why)))
			fail_msg("%s: %s", rules[i], why);
	for (uint32_t ms = 0; ms < 8; ms += 2)
		if (store_conformance_close(slow(ms, ms), why, sizeof(why)))
			fail_msg("%u ms: %s", ms, why);
}

static void test_bad_rules(void **state)
{
	static const char *const bad[] = {
		"nonsense", "put", "put:*", "put:*:nonsense", "fly:*:503", "put:*:503:500", "put:*:p=0.5", "put:*:503:p=2", "put:*:503:p=x",
		"put:*:503:p=", "put:*:503:after=-1", "put:*:503:count=", "put:*:503:delay=1s", "get:*:late", "put:*:short", "seed=x",
		"get:*:412-after-success", "put:ok:503; put:*:oops",
	};
	char longest[600];
	struct fault_rules *f;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		err_clear();
		if (fault_rules_parse(bad[i], 1, &f) != ERR_CONFIG)
			fail_msg("taken for a rule: %s", bad[i]);
		assert_string_not_equal(err_last(), "");
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(fault_rules_parse(longest, 1, &f), ERR_CONFIG);
	assert_int_equal(fault_rules_parse("", 1, &f), 0);
	fault_rules_free(f);
	assert_int_equal(fault_rules_parse(" ;\n, seed=7 ;put:log/*:503:p=0.1,get:*:short\n*:a?c:delay=5:after=1:count=2;", 1, &f), 0);
	fault_rules_free(f);
	fault_rules_free(NULL);
}

static void test_refusals(void **state)
{
	static const struct { const char *rule; int want; bool ambiguous; } cases[] = {
		{ "put:*:503", ERR_UNAVAILABLE, true }, { "*:*:500", ERR_UNAVAILABLE, true },
		{ "write:*:conflict409", ERR_UNAVAILABLE, true }, { "put:*:200-error-body", ERR_UNAVAILABLE, true },
		{ "put:*:auth", ERR_AUTH, false }, { "put:*:no-bucket", ERR_NO_BUCKET, false },
		{ "put:*:clock-skew", ERR_CLOCK_SKEW, false }, { "put:*:no-space", -ENOSPC, false },
		{ "put:*:unsupported", ERR_UNSUPPORTED, false }, { "put:*:canceled", -ECANCELED, true },
	};

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(cases); i++) {
		struct store *below, *s = faulty(cases[i].rule, 1, &below);
		bool ambiguous;

		assert_int_equal(put_as(s, "k", "v", true, &ambiguous), cases[i].want);
		assert_int_equal(ambiguous, cases[i].ambiguous);
		assert_false(holds(below, "k", "v"));
		store_close(s);
	}
}

static void test_after_effect(void **state)
{
	struct store *below, *s = faulty("put:lost/*:lost-reply;put:twelve/*:412-after-success;write:late/*:late:delay=60", 1, &below);
	struct store_req r;
	bool ambiguous;
	const char *key = "late/d";

	(void)state;
	assert_int_equal(put_as(s, "lost/a", "v", true, &ambiguous), ERR_UNAVAILABLE);
	assert_true(ambiguous);
	assert_true(holds(below, "lost/a", "v"));
	assert_int_equal(put_as(s, "twelve/a", "v", true, &ambiguous), ERR_PRECONDITION);
	assert_true(ambiguous);
	assert_true(holds(below, "twelve/a", "v"));
	/* An unconditional PUT meets no 412. */
	assert_int_equal(put_as(s, "twelve/a", "w", false, NULL), 0);
	/* A late write: answered first, done later, though all that it was made of is gone. */
	{
		char *name = strdup("late/c"), *body = strdup("late value");

		assert_int_equal(put_as(s, name, body, true, &ambiguous), ERR_UNAVAILABLE);
		memset(name, 'x', strlen(name));
		memset(body, 'x', strlen(body));
		free(name);
		free(body);
	}
	assert_true(ambiguous);
	assert_false(holds(below, "late/c", "late value"));
	for (int i = 0; i < 100 && !holds(below, "late/c", "late value"); i++)
		usleep(10000);
	assert_true(holds(below, "late/c", "late value"));
	/* The same for a delete and a copy. */
	assert_int_equal(put_as(below, "late/d", "v", true, NULL), 0);
	assert_int_equal(store_delete(s, key), ERR_UNAVAILABLE);
	store_req_init(&r, STORE_COPY);
	r.source_key = "lost/a";
	r.key = "late/e";
	assert_int_equal(store_call(s, &r), ERR_UNAVAILABLE);
	store_req_reset(&r);
	assert_true(holds(below, "late/d", "v"));
	for (int i = 0; i < 100 && (holds(below, "late/d", "v") || !holds(below, "late/e", "v")); i++)
		usleep(10000);
	assert_false(holds(below, "late/d", "v"));
	assert_true(holds(below, "late/e", "v"));
	/* One that is still to come when the store closes does not come, and is not leaked. */
	assert_int_equal(put_as(s, "late/f", "v", true, NULL), ERR_UNAVAILABLE);
	store_close(s);
}

static void test_reads(void **state)
{
	struct store *below, *s = faulty("get:short:short;get:cut:truncate;get:rot:corrupt;get:gone:404;get:lost:lost-reply", 3, &below);
	static const char *const keys[] = { "short", "cut", "rot", "gone", "lost" };
	struct store_req r;
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(keys); i++)
		assert_int_equal(put_as(below, keys[i], "0123456789", true, NULL), 0);
	assert_int_equal(store_get(s, "short", &r), ERR_UNAVAILABLE);
	assert_null(r.data);
	assert_false(r.ambiguous);
	store_req_reset(&r);
	assert_int_equal(store_get(s, "lost", &r), ERR_UNAVAILABLE);
	assert_null(r.data);
	store_req_reset(&r);
	assert_int_equal(store_get(s, "cut", &r), 0);
	assert_int_equal(r.data_len, 5);
	store_req_reset(&r);
	assert_int_equal(store_get(s, "gone", &r), -ENOENT);
	store_req_reset(&r);
	assert_int_equal(store_get(s, "short/none", &r), -ENOENT);
	store_req_reset(&r);
	assert_int_equal(store_get(s, "rot", &r), 0);
	assert_int_equal(r.data_len, 10);
	for (size_t i = 0; i < 10; i++)
		wrong += __builtin_popcount((unsigned)(r.data[i] ^ (uint8_t)('0' + i)));
	assert_int_equal(wrong, 1); /* one bit */
	store_req_reset(&r);
	assert_true(holds(below, "rot", "0123456789"));
	store_close(s);
}

static void test_partial_delete(void **state)
{
	struct store *below, *s = faulty("delete:k2:partial", 1, &below);
	const char *const keys[] = { "k0", "k1", "k2", "k3" };
	struct store_req r;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(keys); i++)
		assert_int_equal(put_as(s, keys[i], "v", true, NULL), 0);
	store_req_init(&r, STORE_DELETE);
	r.keys = keys;
	r.key_count = CL_ARRAY_LEN(keys);
	assert_int_equal(store_call(s, &r), ERR_UNAVAILABLE);
	assert_true(r.ambiguous);
	store_req_reset(&r);
	assert_false(holds(s, "k1", "v"));
	assert_true(holds(s, "k2", "v"));
	assert_true(holds(s, "k3", "v"));
	assert_int_equal(store_delete(s, "k2"), ERR_UNAVAILABLE); /* half of one is none */
	assert_true(holds(s, "k2", "v"));
	store_close(s);
}

static void test_after_and_count(void **state)
{
	struct store *s = faulty("put:a*:503:after=2:count=3;put:*:auth:after=8", 1, NULL);
	static const int want[] = { 0, 0, ERR_UNAVAILABLE, ERR_UNAVAILABLE, ERR_UNAVAILABLE, 0, 0, 0, 0, 0, 0, ERR_AUTH };

	(void)state;
	/* Requests that an earlier rule hit are not counted by a later one. */
	for (size_t i = 0; i < CL_ARRAY_LEN(want); i++)
		assert_int_equal(put_as(s, "a", "v", false, NULL), want[i]);
	assert_int_equal(put_as(s, "b", "v", false, NULL), ERR_AUTH);
	store_close(s);
}

/* Which of n requests are hit, as bits. */
static uint64_t pattern_of(const char *rules, uint64_t seed)
{
	struct fault_rules *f;
	struct store_req r;
	uint64_t bits = 0;

	assert_int_equal(fault_rules_parse(rules, seed, &f), 0);
	store_req_init(&r, STORE_PUT);
	r.key = "k";
	for (int i = 0; i < 64; i++) {
		struct fault fault;

		fault_rules_choose(f, &r, &fault);
		bits = bits << 1 | (fault.kind != FAULT_NONE);
	}
	fault_rules_free(f);
	return bits;
}

static void test_seeds(void **state)
{
	int hits = 0;

	(void)state;
	assert_int_equal(pattern_of("put:*:503:p=0.5", 1), pattern_of("put:*:503:p=0.5", 1));
	assert_int_not_equal(pattern_of("put:*:503:p=0.5", 1), pattern_of("put:*:503:p=0.5", 2));
	assert_int_equal(pattern_of("put:*:503:p=0.5", 2), pattern_of("seed=2;put:*:503:p=0.5", 1));
	assert_int_equal(pattern_of("put:*:503:p=0", 1), 0);
	assert_int_equal(pattern_of("put:*:503:p=1", 1), UINT64_MAX);
	for (uint64_t seed = 0; seed < 100; seed++)
		hits += __builtin_popcountll(pattern_of("put:*:503:p=0.1", seed));
	assert_in_range(hits, 540, 740); /* 640 of 6400, four deviations either way */
}

static void test_stall_and_delay(void **state)
{
	struct store *below, *s = faulty("put:stall:stall;get:*:delay=40;put:slow:503:delay=40", 1, &below);
	uint64_t start = counters_now_ns();
	struct store_req r;

	(void)state;
	store_req_init(&r, STORE_PUT);
	r.key = "stall";
	r.deadline_ms = 50;
	assert_int_equal(store_call(s, &r), ERR_UNAVAILABLE);
	assert_true(r.ambiguous);
	assert_true(counters_now_ns() - start >= 50000000);
	store_req_reset(&r);
	start = counters_now_ns();
	assert_int_equal(store_get(s, "stall", &r), -ENOENT);
	assert_true(counters_now_ns() - start >= 40000000);
	store_req_reset(&r);
	start = counters_now_ns();
	assert_int_equal(put_as(s, "slow", "v", true, NULL), ERR_UNAVAILABLE);
	assert_true(counters_now_ns() - start >= 40000000);
	assert_false(holds(below, "slow", "v"));
	store_close(s);
}

static void test_delay_layer(void **state)
{
	struct store *s = slow(40, 20);
	struct store_counters sum;
	uint64_t start = counters_now_ns(), took;
	struct store_req r[50];
	uint64_t slow_answers = 0;

	(void)state;
	/* They wait side by side, not one after the other. */
	for (size_t i = 0; i < CL_ARRAY_LEN(r); i++) {
		store_req_init(&r[i], STORE_PUT);
		r[i].key = "k";
		r[i].done = store_wait_done;
		s->submit(s, &r[i]);
	}
	for (size_t i = 0; i < CL_ARRAY_LEN(r); i++) {
		s->wait(s, &r[i]);
		assert_int_equal(r[i].result, 0);
		store_req_reset(&r[i]);
	}
	took = counters_now_ns() - start;
	assert_true(took >= 40000000);
	assert_true(took < 1000000000); /* 50 * 40 ms in a row were 2 s */
	s->counters(s, &sum);
	assert_int_equal(sum.requests[STORE_PUT], 50);
	for (unsigned i = counters_bucket(40000000); i < STORE_HIST; i++)
		slow_answers += sum.latency[STORE_PUT][i];
	assert_int_equal(slow_answers, 50);
	store_close(s);
}

static void test_counters(void **state)
{
	struct store *s = faulty("put:bad:503;get:*:lost-reply", 1, NULL);
	struct store_counters sum;
	struct store_req r;

	(void)state;
	assert_int_equal(put_as(s, "bad", "v", true, NULL), ERR_UNAVAILABLE);
	assert_int_equal(put_as(s, "good", "v", true, NULL), 0);
	assert_int_equal(put_as(s, "good", "v", true, NULL), ERR_PRECONDITION);
	assert_int_equal(store_get(s, "good", &r), ERR_UNAVAILABLE);
	store_req_reset(&r);
	s->counters(s, &sum);
	assert_int_equal(sum.requests[STORE_PUT], 2); /* the refused one never went out */
	assert_int_equal(sum.failures[STORE_PUT], 1);
	assert_int_equal(sum.requests[STORE_GET], 1);
	assert_int_equal(sum.failures[STORE_GET], 1);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conformance), cmocka_unit_test(test_close), cmocka_unit_test(test_bad_rules),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_after_effect), cmocka_unit_test(test_reads),
		cmocka_unit_test(test_partial_delete), cmocka_unit_test(test_after_and_count), cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_stall_and_delay), cmocka_unit_test(test_delay_layer), cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
