/*
 * test_poolplan.c - the pool's plan: its properties on generated states, each from a seed that a failure names, and the cases that the rules are about.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "poolplan.h"
#include "../lib/rng.h"

#define MOST 1000u

struct world {
	struct poolplan_member members[MOST];
	char names[MOST][24], addresses[MOST][DNS_ADDRESS_MAX], in[MOST][DNS_ADDRESS_MAX];
	struct dns_answers answers;
	struct poolplan_in input;
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool has(const struct dns_answers *a, const char *address)
{
	return a->count && bsearch(address, a->addresses, a->count, DNS_ADDRESS_MAX, compare);
}

static void sort_answers(struct dns_answers *a)
{
	size_t kept = 0;

	qsort(a->addresses, a->count, DNS_ADDRESS_MAX, compare);
	for (size_t i = 0; i < a->count; i++)
		if (!kept || strcmp(a->addresses[kept - 1], a->addresses[i]) != 0)
			memmove(a->addresses[kept++], a->addresses[i], DNS_ADDRESS_MAX);
	a->count = kept;
}

/* Members' addresses are 10.0.*, mostly their own; what is in the answers of others is 10.9.*. */
static void generate(uint64_t *r, unsigned most, struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->input.count = rng_below(r, most + 1);
	w->answers.addresses = w->in;
	for (size_t i = 0; i < w->input.count; i++) {
		struct poolplan_member *m = &w->members[i];
		unsigned host = rng_below(r, 12) ? (unsigned)i : (unsigned)rng_below(r, most);

		snprintf(w->names[i], sizeof(w->names[i]), "m%zu", i);
		snprintf(w->addresses[i], sizeof(w->addresses[i]), "10.0.%u.%u", host / 256, host % 256);
		*m = (struct poolplan_member){ .name = w->names[i], .address = w->addresses[i], .wanted = rng_below(r, 4), .unproven = rng_below(r, 3) ? NULL : "not ready",
					       .leader = (enum poolplan_sight)rng_below(r, 3), .others_up = (unsigned)rng_below(r, 3), .others_down = (unsigned)rng_below(r, 3) };
		if (rng_below(r, 3))
			memcpy(w->in[w->answers.count++], w->addresses[i], DNS_ADDRESS_MAX);
	}
	for (unsigned n = rng_below(r, 4) ? 0 : (unsigned)rng_below(r, 3); n && w->answers.count < MOST; n--)
		snprintf(w->in[w->answers.count++], DNS_ADDRESS_MAX, "10.9.0.%u", n);
	sort_answers(&w->answers);
	w->input.members = w->members;
	w->input.answers = &w->answers;
	w->input.min = rng_below(r, 5);
	w->input.settled = rng_below(r, 2);
}

static bool dead(const struct poolplan_member *m)
{
	return m->leader == POOLPLAN_DOWN && m->others_down && !m->others_up;
}

/* Answers that members have. */
static size_t members_in(const struct world *w, const struct dns_answers *a, bool only_good)
{
	size_t n = 0;

	for (size_t i = 0; i < a->count; i++) {
		bool found = false;

		for (size_t j = 0; j < w->input.count && !found; j++)
			found = strcmp(a->addresses[i], w->addresses[j]) == 0 && (!only_good || w->members[j].leader != POOLPLAN_DOWN);
		n += found;
	}
	return n;
}

#define HOLDS(x) do { if (!(x)) fail_msg("seed %llu: not so: %s", (unsigned long long)seed, #x); } while (0)

static void check_differences(uint64_t seed, const struct world *w, const struct poolplan *p)
{
	for (size_t i = 0; i < w->answers.count; i++) {
		if (has(&p->to, w->in[i]))
			continue;
		HOLDS(members_in(w, &(struct dns_answers){ .addresses = &((struct world *)(uintptr_t)w)->in[i], .count = 1 }, false) == 1); /* nobody's stays */
		for (size_t j = 0; j < w->input.count; j++)
			if (strcmp(w->in[i], w->addresses[j]) == 0)
				HOLDS(!w->members[j].wanted || dead(&w->members[j]));
	}
	for (size_t i = 0; i < p->to.count; i++) {
		bool admitted = has(&w->answers, p->to.addresses[i]);

		for (size_t j = 0; j < w->input.count; j++)
			admitted |= strcmp(p->to.addresses[i], w->addresses[j]) == 0 && w->members[j].wanted && !w->members[j].unproven &&
				    w->members[j].leader == POOLPLAN_UP && w->members[j].others_up >= w->members[j].others_down;
		HOLDS(admitted);
		HOLDS(i == 0 || strcmp(p->to.addresses[i - 1], p->to.addresses[i]) < 0);
	}
}

static void check_again(uint64_t seed, struct world *w, const struct poolplan *p)
{
	struct poolplan_in again = w->input;
	struct poolplan second;

	again.answers = &p->to;
	again.settled = true;
	assert_int_equal(poolplan_make(&again, &second), 0);
	HOLDS(!second.change && second.added == 0 && second.removed == 0);
	HOLDS(second.to.count == p->to.count);
	poolplan_free(&second);
}

static void check_order(uint64_t seed, uint64_t *r, struct world *w, const struct poolplan *p)
{
	struct poolplan second;

	for (size_t i = w->input.count; i > 1; i--) {
		size_t j = rng_below(r, i);
		struct poolplan_member m = w->members[i - 1];

		w->members[i - 1] = w->members[j];
		w->members[j] = m;
	}
	assert_int_equal(poolplan_make(&w->input, &second), 0);
	HOLDS(second.change == p->change && second.to.count == p->to.count && second.line_count == p->line_count);
	for (size_t i = 0; i < p->to.count; i++)
		HOLDS(strcmp(second.to.addresses[i], p->to.addresses[i]) == 0);
	for (size_t i = 0; i < p->line_count; i++)
		HOLDS(strcmp(second.lines[i].name, p->lines[i].name) == 0 && second.lines[i].verb == p->lines[i].verb);
	poolplan_free(&second);
}

static void check(uint64_t seed, uint64_t *r, struct world *w)
{
	size_t least = w->input.min ? w->input.min : 1, before = members_in(w, &w->answers, false), good = members_in(w, &w->answers, true), after, good_after;
	struct poolplan p;

	assert_int_equal(poolplan_make(&w->input, &p), 0);
	after = members_in(w, &p.to, false);
	good_after = members_in(w, &p.to, true);
	HOLDS(p.to.count > 0 || w->answers.count == 0);              /* O2: never emptied */
	HOLDS(after >= (before < least ? before : least));             /* never below the minimum */
	HOLDS(good_after >= (good < least ? good : least));            /* nor by taking out who serves */
	HOLDS(p.change == (p.added || p.removed || (p.to.count && !w->input.settled)));
	HOLDS(p.to.count == w->answers.count + p.added - p.removed);
	check_differences(seed, w, &p);
	check_again(seed, w, &p);
	check_order(seed, r, w, &p);
	poolplan_free(&p);
}

static void test_generated(void **state)
{
	struct world *w = malloc(sizeof(*w));
	uint64_t r;

	(void)state;
	assert_non_null(w);
	for (uint64_t seed = 1; seed <= 20000; seed++) {
		r = seed;
		generate(&r, seed % 50 ? 8 : 60, w);
		check(seed, &r, w);
	}
	free(w);
}

static void test_thousand(void **state)
{
	struct world *w = malloc(sizeof(*w));
	struct timespec a, b;
	struct poolplan p;
	uint64_t r;
	double ms;

	(void)state;
	assert_non_null(w);
	r = 7;
	do
		generate(&r, MOST, w);
	while (w->input.count < MOST - 20);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	assert_int_equal(poolplan_make(&w->input, &p), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	print_message("# %zu members planned in %.2f ms of processor time\n", w->input.count, ms);
	assert_true(ms < 100);
	poolplan_free(&p);
	free(w);
}

/* Three in the answers, nobody else; what a plan makes of them. */
struct three { struct poolplan_member m[3]; char in[3][DNS_ADDRESS_MAX]; struct dns_answers a; struct poolplan_in input; };

static void three(struct three *t, size_t min)
{
	static const char *const names[] = { "web-1", "web-2", "web-3" }, *const addresses[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3" };

	memset(t, 0, sizeof(*t));
	for (int i = 0; i < 3; i++) {
		t->m[i] = (struct poolplan_member){ names[i], addresses[i], true, NULL, POOLPLAN_UP, 2, 0 };
		snprintf(t->in[i], sizeof(t->in[i]), "%s", addresses[i]);
	}
	t->a = (struct dns_answers){ .addresses = t->in, .count = 3 };
	t->input = (struct poolplan_in){ t->m, 3, &t->a, min, true };
}

static void expect(struct three *t, size_t count, enum poolplan_verb first)
{
	struct poolplan p;

	assert_int_equal(poolplan_make(&t->input, &p), 0);
	assert_int_equal(p.to.count, count);
	assert_int_equal(p.lines[0].verb, first);
	poolplan_free(&p);
}

static void test_cases(void **state)
{
	struct three t;

	(void)state;
	three(&t, 2);
	expect(&t, 3, POOLPLAN_IN);
	t.m[0].leader = POOLPLAN_DOWN;
	expect(&t, 3, POOLPLAN_DOUBTED); /* cut off from the leader: others see it */
	t.m[0].others_up = 0;
	expect(&t, 3, POOLPLAN_DOUBTED); /* nobody else looks */
	t.m[0].others_down = 1;
	expect(&t, 2, POOLPLAN_REMOVE);  /* dead */
	t.m[0].others_up = 1;
	expect(&t, 3, POOLPLAN_DOUBTED); /* one sees it */
	t.m[0].others_up = 0;
	t.input.min = 3;
	expect(&t, 3, POOLPLAN_HELD);
	three(&t, 1);
	for (int i = 0; i < 3; i++)
		t.m[i].wanted = false;
	expect(&t, 1, POOLPLAN_REMOVE); /* all drained: the last one stays */
	three(&t, 2);
	t.m[0].wanted = false;
	t.m[1].leader = POOLPLAN_DOWN;
	expect(&t, 3, POOLPLAN_HELD); /* two would be left, but only one that is up */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_generated), cmocka_unit_test(test_thousand), cmocka_unit_test(test_cases) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
