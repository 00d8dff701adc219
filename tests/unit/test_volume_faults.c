/*
 * test_volume_faults.c - the engine when the store or the local disk misbehaves: storms, lost replies, an outage with held writers, a
 * failed fdatasync, and elision against a plain reading of what was written.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/vol.h"
#include "backends.h"
#include "err.h"

struct world { struct store *mem; char base[64]; };

/* Passes everything on to the store below, but for close: one store in memory, many openings with other faults. */
struct keep { struct store s; struct store *below; };

static void keep_submit(struct store *s, struct store_req *r)
{
	struct keep *k = (struct keep *)s;

	k->below->submit(k->below, r);
}

static void keep_wait(struct store *s, struct store_req *r)
{
	struct keep *k = (struct keep *)s;

	k->below->wait(k->below, r);
}

static void keep_counters(struct store *s, struct store_counters *ret)
{
	struct keep *k = (struct keep *)s;

	k->below->counters(k->below, ret);
}

static void keep_close(struct store *s)
{
	free(s);
}

static struct store *faulty(struct world *w, const char *rules, uint64_t seed)
{
	struct keep *k = calloc(1, sizeof *k);
	struct store *s;

	k->s = (struct store){ .kind = "keep", .address = "mem://", .submit = keep_submit, .wait = keep_wait, .counters = keep_counters,
			       .close = keep_close };
	k->below = w->mem;
	if (!rules)
		return &k->s;
	assert_int_equal(store_fault_open(&k->s, rules, seed, &s), 0);
	return s;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	strcpy(w->base, "/tmp/test_volume_faults.XXXXXX");
	if (!mkdtemp(w->base) || store_mem_open(0, &w->mem))
		return -1;
	if (volume_format(w->mem, env_system(), false, 1))
		return -1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char cmd[128];

	store_close(w->mem);
	snprintf(cmd, sizeof cmd, "rm -rf %s", w->base);
	if (system(cmd))
		return -1;
	free(w);
	return 0;
}

static void open_on(struct vol *t, struct world *w, struct store *s, const char *dir, const struct volume_options *o)
{
	char path[128];
	int rc;

	snprintf(path, sizeof path, "%s/%s", w->base, dir);
	rc = vol_open(t, s, path, o);
	if (rc)
		fail_msg("open on %s: %s: %s", dir, err_text(rc), err_last());
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	size_t i;

	for (i = 0; i < n; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (uint8_t)(seed >> 16);
	}
}

static void put(struct vol *t, const char *name, size_t len, unsigned seed)
{
	uint8_t *p = malloc(len + 1);

	fill(p, len, seed);
	assert_int_equal(vol_put_file(t, name, p, len), 0);
	free(p);
}

static void check(struct vol *t, const char *name, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len + 1), *got;
	size_t n;
	int rc = vol_get_file(t, name, &got, &n);

	if (rc)
		fail_msg("%s: %s: %s", name, err_text(rc), err_last());
	fill(want, len, seed);
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
	free(want);
	free(got);
}

/* Every kind of doubt about a PUT, often: nothing acknowledged is lost, nobody fences himself. */
static void test_storms(void **state)
{
	struct world *w = *state;
	static const char rules[] = "put:log/*:lost-reply:p=0.1; put:log/*:412-after-success:p=0.2; put:*:503:p=0.1; put:*:conflict409:p=0.1; "
				    "get:*:short:p=0.1; get:*:503:p=0.1; put:epochs/*:lost-reply:p=0.5; list:*:503:p=0.05";
	struct volume_options o;
	struct volume_status st;
	struct vol t;
	char name[16];
	unsigned i, round;

	for (round = 0; round < 6; round++) {
		struct store *s = faulty(w, rules, round + 1);
		int rc;

		vol_options(&o, round % 2 ? "a" : "b");
		o.max_lag_ms = 1000;
		o.durability = round < 3 ? VOLUME_DURABILITY_STORE : VOLUME_DURABILITY_LOCAL;
		o.takeover = true;
		for (i = 0, rc = -1; rc && i < 20; i++) {
			char path[128];

			snprintf(path, sizeof path, "%s/%s", w->base, o.node);
			rc = vol_open(&t, s, path, &o);
			/* A claim whose reply was lost may be met again; what may not happen is damage. */
			if (rc && rc != ERR_UNAVAILABLE && rc != ERR_FENCED)
				fail_msg("open: %s: %s", err_text(rc), err_last());
		}
		assert_int_equal(rc, 0);
		for (i = 0; i < 15; i++) {
			snprintf(name, sizeof name, "r%u-%u", round, i);
			put(&t, name, 3000 + i * 1111, i + round);
			assert_int_equal(vol_fsync(&t), 0);
		}
		volume_status(t.v, &st);
		assert_int_equal(st.state, VOLUME_SERVING);
		assert_int_equal(vol_sync(&t), 0);
		vol_close(&t, false);
		store_close(s);
	}
	vol_options(&o, "c");
	o.read_only = true;
	struct store *s = faulty(w, NULL, 0);
	open_on(&t, w, s, "c", &o);
	for (round = 0; round < 6; round++)
		for (i = 0; i < 15; i++) {
			snprintf(name, sizeof name, "r%u-%u", round, i);
			check(&t, name, 3000 + i * 1111, i + round);
		}
	vol_close(&t, false);
	store_close(s);
}

struct writer { struct vol *t; unsigned id; atomic_int done; };

static void *write_on(void *arg)
{
	struct writer *wr = arg;
	char name[16];
	unsigned i;

	for (i = 0; i < 80; i++) {
		snprintf(name, sizeof name, "w%u-%u", wr->id, i);
		put(wr->t, name, 2000, wr->id * 1000 + i);
		assert_int_equal(vol_fsync(wr->t), 0);
		usleep(10000);
	}
	atomic_store(&wr->done, 1);
	return NULL;
}

/* The store is away for longer than max_lag: writers are held, reads and status go on, and afterwards all of it is there. */
static void test_outage(void **state)
{
	struct world *w = *state;
	struct store *s = faulty(w, "put:log/*:503:after=3:count=20", 1);
	struct volume_options o;
	struct volume_status st;
	struct writer wr[8];
	pthread_t th[8];
	struct vol t;
	bool held = false;
	unsigned i, j, running;
	char name[16];

	vol_options(&o, "a");
	o.max_lag_ms = 300;
	open_on(&t, w, s, "a", &o);
	put(&t, "before", 50000, 99);
	assert_int_equal(vol_sync(&t), 0);
	for (i = 0; i < 8; i++) {
		wr[i] = (struct writer){ .t = &t, .id = i };
		assert_int_equal(pthread_create(&th[i], NULL, write_on, &wr[i]), 0);
	}
	do {
		check(&t, "before", 50000, 99);
		volume_status(t.v, &st);
		if (st.state == VOLUME_HELD && st.parked)
			held = true;
		usleep(5000);
		for (i = 0, running = 0; i < 8; i++)
			running += !atomic_load(&wr[i].done);
	} while (running);
	for (i = 0; i < 8; i++)
		pthread_join(th[i], NULL);
	assert_true(held);
	assert_int_equal(vol_close(&t, true), 0);
	vol_options(&o, "b");
	open_on(&t, w, s, "b", &o);
	for (i = 0; i < 8; i++)
		for (j = 0; j < 80; j++) {
			snprintf(name, sizeof name, "w%u-%u", i, j);
			check(&t, name, 2000, i * 1000 + j);
		}
	vol_close(&t, true);
	store_close(s);
}

/* The same blocks written over and over within a cut: most of it never goes out, and all of it reads right afterwards. */
static void test_elision(void **state)
{
	struct world *w = *state;
	struct store *s = faulty(w, NULL, 0);
	struct volume_cred cred = { 0 };
	struct volume_options o;
	struct volume_status st;
	struct volume_attr a;
	struct vol t;
	uint8_t *want = calloc(1, 256 * 1024), *got;
	size_t n;
	unsigned i, x = 12345;
	int rc;

	vol_options(&o, "a");
	o.commit_interval_ms = 200;
	open_on(&t, w, s, "a", &o);
	VOL_CALL(rc, q, volume_mknod(t.v, VOLUME_ROOT_INO, "hot", 3, S_IFREG | 0600, 0, &cred, &a, q));
	assert_int_equal(rc, 0);
	for (i = 0; i < 4000; i++) {
		uint64_t off;
		size_t len;

		x = x * 1103515245u + 12345u;
		off = (x >> 8) % (200 * 1024);
		len = 1 + (x >> 4) % 9000;
		if (i % 3)
			off &= ~4095ull;
		fill(want + off, len, i);
		VOL_CALL(rc, q, volume_write(t.v, a.ino, off, want + off, len, false, false, q));
		assert_int_equal(rc, 0);
		if (i % 500 == 499)
			assert_int_equal(vol_sync(&t), 0);
	}
	volume_status(t.v, &st);
	assert_int_equal(vol_close(&t, true), 0);
	assert_true(st.elided_bytes > st.written_bytes / 2);
	vol_options(&o, "b");
	o.read_only = true;
	open_on(&t, w, s, "b", &o);
	assert_int_equal(vol_get_file(&t, "hot", &got, &n), 0);
	assert_memory_equal(got, want, n);
	free(got);
	free(want);
	vol_close(&t, false);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_storms, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elision, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
