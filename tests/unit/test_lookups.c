/* test_lookups.c - the kernel's lookup counts, and the engine's references tied to them. The engine's two calls are this test's own. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lookups.h"
#include "../lib/rng.h"

#define INODES 5000

static int refs[INODES + 1], next_ref_code, ref_calls;
static pthread_mutex_t refs_mu = PTHREAD_MUTEX_INITIALIZER;

int volume_open_ref(struct volume *v, uint64_t ino)
{
	int rc;

	(void)v;
	pthread_mutex_lock(&refs_mu);
	rc = next_ref_code;
	ref_calls++;
	if (rc == 0)
		refs[ino]++;
	pthread_mutex_unlock(&refs_mu);
	return rc;
}

void volume_open_unref(struct volume *v, uint64_t ino)
{
	(void)v;
	pthread_mutex_lock(&refs_mu);
	refs[ino]--;
	pthread_mutex_unlock(&refs_mu);
}

static int setup(void **state)
{
	memset(refs, 0, sizeof(refs));
	next_ref_code = ref_calls = 0;
	return lookups_new(NULL, (struct lookups **)state);
}

static int teardown(void **state)
{
	lookups_free(*state);
	return 0;
}

static void counts(void **state)
{
	struct lookups *l = *state;

	assert_int_equal(lookups_count(l), 0);
	assert_int_equal(lookups_add(l, 7), 0);
	assert_int_equal(lookups_add(l, 7), 0);
	assert_int_equal(lookups_add(l, 8), 0);
	assert_int_equal(lookups_count(l), 2);
	lookups_forget(l, 7, 1);
	assert_int_equal(lookups_count(l), 2);
	lookups_forget(l, 7, 1);
	assert_int_equal(lookups_count(l), 1);
	lookups_forget(l, 9, 3); /* never told of: nothing happens */
	lookups_forget(l, 8, 5); /* more often than told: it is forgotten all the same */
	assert_int_equal(lookups_count(l), 0);
	assert_int_equal(ref_calls, 0);
}

static void holds(void **state)
{
	struct lookups *l = *state;

	/* What the kernel does not know needs no holding. */
	assert_int_equal(lookups_hold(l, 5), 0);
	assert_int_equal(refs[5], 0);
	/* Once, however often it is asked for, until the last FORGET. */
	assert_int_equal(lookups_add(l, 5), 0);
	assert_int_equal(lookups_add(l, 5), 0);
	assert_int_equal(lookups_hold(l, 5), 0);
	assert_int_equal(lookups_hold(l, 5), 0);
	assert_int_equal(refs[5], 1);
	lookups_forget(l, 5, 1);
	assert_int_equal(refs[5], 1);
	assert_int_equal(lookups_add(l, 5), 0);
	lookups_forget(l, 5, 1);
	assert_int_equal(refs[5], 1);
	lookups_forget(l, 5, 1);
	assert_int_equal(refs[5], 0);
	/* A temporary file comes with its reference. */
	refs[6] = 1;
	assert_int_equal(lookups_add_held(l, 6), 0);
	assert_int_equal(lookups_hold(l, 6), 0);
	assert_int_equal(refs[6], 1);
	lookups_forget(l, 6, 1);
	assert_int_equal(refs[6], 0);
}

static void failed_hold(void **state)
{
	struct lookups *l = *state;

	assert_int_equal(lookups_add(l, 5), 0);
	next_ref_code = -12;
	assert_int_equal(lookups_hold(l, 5), -12);
	next_ref_code = 0;
	/* It is asked for again, and nothing is given back that was not had. */
	lookups_forget(l, 5, 1);
	assert_int_equal(refs[5], 0);
	assert_int_equal(lookups_add(l, 5), 0);
	assert_int_equal(lookups_hold(l, 5), 0);
	assert_int_equal(refs[5], 1);
	lookups_forget(l, 5, 1);
	assert_int_equal(refs[5], 0);
}

/* Against an array: the table grows, shrinks, and moves entries at every deletion. */
static void against_a_model(void **state)
{
	static uint32_t model[INODES + 1];
	static bool held[INODES + 1];
	struct lookups *l = *state;
	uint64_t r = 42;
	uint64_t known = 0;

	memset(model, 0, sizeof(model));
	memset(held, 0, sizeof(held));
	for (int i = 0; i < 400000; i++) {
		/* Waves of telling and forgetting. */
		bool grow = rng_below(&r, 100) < (i / 40000 % 2 ? 25 : 75);
		uint64_t ino = 1 + rng_below(&r, INODES);

		if (grow) {
			known += model[ino]++ == 0;
			assert_int_equal(lookups_add(l, ino), 0);
			if (rng_below(&r, 10) == 0) {
				assert_int_equal(lookups_hold(l, ino), 0);
				held[ino] = true;
			}
		} else if (model[ino]) {
			uint32_t n = 1 + (uint32_t)rng_below(&r, model[ino]);

			model[ino] -= n;
			known -= model[ino] == 0;
			lookups_forget(l, ino, n);
			held[ino] = held[ino] && model[ino];
		}
		assert_int_equal(refs[ino], held[ino]);
		if (i % 5000 == 0)
			assert_int_equal(lookups_count(l), known);
	}
	for (uint64_t ino = 1; ino <= INODES; ino++)
		if (model[ino])
			lookups_forget(l, ino, model[ino]);
	assert_int_equal(lookups_count(l), 0);
	for (uint64_t ino = 1; ino <= INODES; ino++)
		assert_int_equal(refs[ino], 0);
}

struct visitor { struct lookups *l; uint64_t seed; };

static void *visit(void *arg)
{
	struct visitor *me = arg;
	uint64_t r = me->seed;

	for (int i = 0; i < 50000; i++) {
		uint64_t ino = 1 + rng_below(&r, 300);

		if (lookups_add(me->l, ino) < 0)
			abort();
		if (i % 7 == 0 && lookups_hold(me->l, ino) < 0)
			abort();
		lookups_forget(me->l, ino, 1);
	}
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[4];
	struct visitor v[4];

	for (uint64_t i = 0; i < 4; i++) {
		v[i] = (struct visitor){ *state, i };
		assert_int_equal(pthread_create(&t[i], NULL, visit, &v[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(lookups_count(*state), 0);
	for (int i = 1; i <= 300; i++)
		assert_int_equal(refs[i], 0);
}

/* Who else may still be about to hear what was before a change. */
static void told(void **state)
{
	struct lookups *l = *state;

	lookups_told(l, 9, 100); /* of an inode that the kernel does not know: nothing to remember */
	assert_false(lookups_told_others(l, 9, 200));
	assert_int_equal(lookups_add(l, 9), 0);
	assert_false(lookups_told_others(l, 9, 100));
	lookups_told(l, 9, 100);
	assert_false(lookups_told_others(l, 9, 100)); /* the asker itself has its answer already */
	lookups_told(l, 9, 100);
	assert_true(lookups_told_others(l, 9, 200));
	assert_false(lookups_told_others(l, 9, 200)); /* once */
	lookups_told(l, 9, 100);
	lookups_told(l, 9, 200);
	lookups_told(l, 9, 100);
	assert_true(lookups_told_others(l, 9, 100)); /* two of them: one is another, whoever asks */
	lookups_told(l, 9, 0);
	assert_true(lookups_told_others(l, 9, 0)); /* threads outside of our process namespace are all 0 */
	lookups_told(l, 9, 1u << 22);
	assert_false(lookups_told_others(l, 9, 1u << 22));
	lookups_told(l, 9, 100);
	lookups_forget(l, 9, 1);
	assert_int_equal(lookups_add(l, 9), 0);
	assert_false(lookups_told_others(l, 9, 200));
	lookups_forget(l, 9, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts, setup, teardown),
		cmocka_unit_test_setup_teardown(holds, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(against_a_model, setup, teardown),
		cmocka_unit_test_setup_teardown(threads, setup, teardown),
		cmocka_unit_test_setup_teardown(told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
