/* test_exec.c - the executor of threads: order, timing, jobs that queue and free, and stopping. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "compiler.h"
#include "env.h"
#include "err.h"
#include "exec.h"

static uint64_t now(void)
{
	return env_system()->boot_ns(env_system());
}

static struct exec *start(unsigned work)
{
	struct exec *x;

	assert_int_equal(exec_threads_start(work, &x), 0);
	return x;
}

struct counted {
	struct job job;
	struct exec *x;
	enum exec_lane lane;
	atomic_int *runs, *inside, *most;
	int again;        /* queues itself so many times more */
	uint64_t after_ns; /* with this delay, 0 = at once */
	uint64_t ran_at, not_before;
	bool free_it;
};

static void run_counted(struct job *j)
{
	struct counted *c = CL_CONTAINER_OF(j, struct counted, job);
	int in = c->inside != NULL ? atomic_fetch_add(c->inside, 1) + 1 : 0;

	if (c->most != NULL) {
		int most = atomic_load(c->most);

		while (in > most && !atomic_compare_exchange_weak(c->most, &most, in))
			;
		usleep(1000);
	}
	c->ran_at = now();
	if (c->inside != NULL)
		atomic_fetch_sub(c->inside, 1);
	atomic_fetch_add(c->runs, 1);
	if (c->again-- > 0) {
		if (c->after_ns > 0)
			c->x->submit_at(c->x, c->lane, now() + c->after_ns, j);
		else
			c->x->submit(c->x, c->lane, j);
	} else if (c->free_it) {
		free(c);
	}
}

static void test_every_job_runs_once(void **state)
{
	enum { N = 3000 };
	struct exec *x = start(4);
	atomic_int runs = 0;

	(void)state;
	for (int i = 0; i < N; i++) {
		struct counted *c = calloc(1, sizeof(*c));

		assert_non_null(c);
		c->job.run = run_counted;
		c->runs = &runs;
		c->free_it = true;
		x->submit(x, (enum exec_lane)(i % EXEC_LANES), &c->job);
	}
	exec_threads_stop(x);
	assert_int_equal(atomic_load(&runs), N);
}

/* One at a time in EXEC_SYNC; several, but no more than asked for, in EXEC_WORK. */
static void test_lane_widths(void **state)
{
	static const struct { enum exec_lane lane; int most; } lanes[] = { { EXEC_SYNC, 1 }, { EXEC_WORK, 3 }, { EXEC_REPLY, 2 }, { EXEC_FILES, 1 } };

	(void)state;
	for (size_t l = 0; l < CL_ARRAY_LEN(lanes); l++) {
		struct exec *x = start(3);
		struct counted c[40] = { 0 };
		atomic_int runs = 0, inside = 0, most = 0;

		for (size_t i = 0; i < CL_ARRAY_LEN(c); i++) {
			c[i] = (struct counted){ .job.run = run_counted, .runs = &runs, .inside = &inside, .most = &most };
			x->submit(x, lanes[l].lane, &c[i].job);
		}
		exec_threads_stop(x);
		assert_int_equal(atomic_load(&runs), 40);
		assert_int_equal(atomic_load(&most), lanes[l].most);
	}
}

struct ordered { struct job job; int id; int *log; int *at; };

static void run_ordered(struct job *j)
{
	struct ordered *o = CL_CONTAINER_OF(j, struct ordered, job);

	o->log[(*o->at)++] = o->id; /* EXEC_SYNC has one thread */
}

static void test_order(void **state)
{
	struct exec *x = start(1);
	struct ordered o[200];
	int log[200], at = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		o[i] = (struct ordered){ .job.run = run_ordered, .id = i, .log = log, .at = &at };
		x->submit(x, EXEC_SYNC, &o[i].job);
	}
	exec_threads_stop(x);
	for (int i = 0; i < 200; i++)
		assert_int_equal(log[i], i);
}

static void test_timed_order(void **state)
{
	static const int delay_ms[] = { 30, 5, 20, 10, 5, 25, 0, 15 };
	static const int want[] = { 6, 1, 4, 3, 7, 2, 5, 0 }; /* equals in the order they came */
	struct exec *x = start(1);
	struct ordered o[8];
	int log[8], at = 0;
	uint64_t t = now() + 20000000;

	(void)state;
	for (int i = 0; i < 8; i++) {
		o[i] = (struct ordered){ .job.run = run_ordered, .id = i, .log = log, .at = &at };
		x->submit_at(x, EXEC_SYNC, t + (uint64_t)delay_ms[i] * 1000000, &o[i].job);
	}
	while (now() < t + 40000000)
		x->idle(x);
	exec_threads_stop(x);
	assert_int_equal(at, 8);
	assert_memory_equal(log, want, sizeof(want));
}

static void test_never_early(void **state)
{
	struct exec *x = start(2);
	struct counted c[60] = { 0 };
	atomic_int runs = 0;
	uint64_t t = now();

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(c); i++) {
		c[i] = (struct counted){ .job.run = run_counted, .runs = &runs, .not_before = t + (i * 37 % 60) * 1000000 };
		x->submit_at(x, (enum exec_lane)(i % EXEC_LANES), c[i].not_before, &c[i].job);
	}
	while (atomic_load(&runs) < 60 && now() < t + UINT64_C(5000000000))
		x->idle(x);
	exec_threads_stop(x);
	for (size_t i = 0; i < CL_ARRAY_LEN(c); i++) {
		assert_true(c[i].ran_at >= c[i].not_before);
		assert_true(c[i].ran_at < c[i].not_before + UINT64_C(2000000000)); /* nor forgotten */
	}
}

/* Times in the past, and none at all, are due at once; those beyond all time wait for the end. */
static void test_odd_times(void **state)
{
	struct exec *x = start(1);
	atomic_int runs = 0;
	struct counted c[3] = { 0 };
	const uint64_t at[] = { 0, 1, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(c); i++) {
		c[i] = (struct counted){ .job.run = run_counted, .runs = &runs };
		x->submit_at(x, EXEC_WORK, at[i], &c[i].job);
	}
	for (int i = 0; i < 2000 && atomic_load(&runs) < 2; i++)
		x->idle(x);
	assert_int_equal(atomic_load(&runs), 2);
	exec_threads_stop(x);
	assert_int_equal(atomic_load(&runs), 3);
}

/* Stopping runs what jobs queue meanwhile, and timed ones at once, however far off. */
static void test_stop_runs_all(void **state)
{
	struct exec *x = start(2);
	struct counted c[6] = { 0 };
	atomic_int runs = 0;
	uint64_t t = now();

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(c); i++) {
		c[i] = (struct counted){ .job.run = run_counted, .runs = &runs, .x = x, .lane = (enum exec_lane)(i % EXEC_LANES),
					 .again = 50, .after_ns = i < 3 ? UINT64_C(3600000000000) : 0 };
		x->submit_at(x, c[i].lane, t + UINT64_C(3600000000000), &c[i].job);
	}
	usleep(20000);
	assert_int_equal(atomic_load(&runs), 0);
	exec_threads_stop(x);
	assert_int_equal(atomic_load(&runs), 6 * 51);
	assert_true(now() - t < UINT64_C(60000000000));
}

struct hammer { struct exec *x; atomic_int *runs; };

static void *hammer_main(void *arg)
{
	struct hammer *h = arg;

	for (int i = 0; i < 500; i++) {
		struct counted *c = calloc(1, sizeof(*c));

		if (c == NULL)
			abort();
		c->job.run = run_counted;
		c->runs = h->runs;
		c->free_it = true;
		if (i % 2)
			h->x->submit(h->x, (enum exec_lane)(i % EXEC_LANES), &c->job);
		else
			h->x->submit_at(h->x, (enum exec_lane)(i % EXEC_LANES), now() + (uint64_t)(i % 7) * 300000, &c->job);
	}
	return NULL;
}

static void test_many_submitters(void **state)
{
	struct exec *x = start(3);
	atomic_int runs = 0;
	struct hammer h = { x, &runs };
	pthread_t threads[6];

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer_main, &h), 0);
	for (size_t i = 0; i < CL_ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	exec_threads_stop(x);
	assert_int_equal(atomic_load(&runs), 6 * 500);
}

static void test_arguments(void **state)
{
	struct exec *x = NULL;

	(void)state;
	assert_int_equal(exec_threads_start(0, &x), -EINVAL);
	assert_int_equal(exec_threads_start(100000, &x), -EINVAL);
	assert_null(x);
	exec_threads_stop(NULL);
	exec_threads_stop(start(1)); /* with nothing ever queued */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_job_runs_once), cmocka_unit_test(test_lane_widths), cmocka_unit_test(test_order),
		cmocka_unit_test(test_timed_order), cmocka_unit_test(test_never_early), cmocka_unit_test(test_odd_times),
		cmocka_unit_test(test_stop_runs_all), cmocka_unit_test(test_many_submitters), cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
