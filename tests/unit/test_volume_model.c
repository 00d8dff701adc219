/*
 * test_volume_model.c - the whole volume (real disk, real threads, the store in memory) against the model of a file system: random
 * operations, the volume closed and opened again in every way there is, all of it compared.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/fsmodel.h"
#include "../lib/rng.h"
#include "../lib/vol.h"
#include "backends.h"
#include "err.h"

struct world {
	struct store *store;
	char base[64];
	unsigned dirs;
	struct vol t;
	struct volume_options o;
};

static void open_volume(struct world *w, bool fresh_dir)
{
	char dir[128];

	if (fresh_dir)
		w->dirs++;
	snprintf(dir, sizeof dir, "%s/%u", w->base, w->dirs);
	if (vol_open(&w->t, w->store, dir, &w->o))
		fail_msg("cannot open: %s", err_last());
}

static void tell(void *user, const char *line)
{
	(void)user;
	print_error("differs: %s\n", line);
}

static void idle(void *user)
{
	(void)user;
	usleep(100);
}

static void compare(struct world *w, const struct fsmodel *m, uint64_t seed, unsigned n)
{
	struct fsmodel_target t = FSMODEL_TARGET(w->t.v, idle, NULL);
	int rc = fsmodel_compare(m, &t, tell, NULL);

	if (rc)
		fail_msg("seed %" PRIu64 " step %u: %s", seed, n, rc < 0 ? err_text(rc) : "the volume differs");
}

static void one(struct world *w, struct fsmodel *m, uint64_t *s, uint64_t seed, unsigned n)
{
	struct fsmodel_target t = FSMODEL_TARGET(w->t.v, idle, NULL);
	struct fsop_result res = { .ino = 0 };
	struct fsop op;
	char text[400];
	int rc, want;

	fsop_random(m, s, &op);
	VOL_CALL(rc, wait, fsop_run(&t, &op, wait, &res));
	want = fsmodel_apply(m, &op, &res);
	if (rc != want) {
		fsop_print(&op, text, sizeof text);
		fail_msg("seed %" PRIu64 " step %u: %s: %s, should be %s", seed, n, text, err_text(rc), err_text(want));
	}
}

/* How the volume ends, and what it comes back from. */
static void turn(struct world *w, struct fsmodel *m, uint64_t *s)
{
	size_t luck = rng_below(s, 4);

	assert_int_equal(vol_close(&w->t, luck < 2), 0);
	fsmodel_crash(m);
	/* Drained: from the store alone, or with the cache that is left; not drained: the local log has the rest. */
	open_volume(w, luck == 0);
}

/* Nothing is there that the model does not have: orphans are taken away in the background. */
static void count(struct world *w, const struct fsmodel *m)
{
	struct volume_statfs st;

	for (unsigned n = 0; n < 5000; n++) {
		assert_int_equal(volume_statfs(w->t.v, &st), 0);
		if (st.inodes == fsmodel_count(m))
			return;
		usleep(2000);
	}
	fail_msg("%" PRIu64 " inodes, should be %zu", st.inodes, fsmodel_count(m));
}

static void history(uint64_t seed, unsigned turns, unsigned steps, uint64_t cache_bytes)
{
	struct fsmodel_options mo = { .opens = true };
	struct fsmodel *m = fsmodel_new(&mo);
	struct world w = { .base = "/tmp/test_volume_model.XXXXXX" };
	uint64_t s = seed;
	char cmd[128];
	unsigned n = 0;

	assert_non_null(mkdtemp(w.base));
	assert_int_equal(store_mem_open(0, &w.store), 0);
	assert_int_equal(volume_format(w.store, env_system(), false, 1), 0);
	vol_options(&w.o, "a");
	w.o.commit_interval_ms = 20;
	w.o.checkpoint_bytes = 200000;
	w.o.cache_bytes = cache_bytes;
	open_volume(&w, true);
	for (unsigned k = 0; k < turns; k++) {
		for (unsigned i = 0; i < steps; i++)
			one(&w, m, &s, seed, ++n);
		compare(&w, m, seed, n);
		turn(&w, m, &s);
		compare(&w, m, seed, n);
		count(&w, m);
	}
	assert_int_equal(vol_close(&w.t, true), 0);
	store_close(w.store);
	fsmodel_free(m);
	snprintf(cmd, sizeof cmd, "rm -rf %s", w.base);
	assert_int_equal(system(cmd), 0);
}

static void test_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++)
		history(seed, 6, 400, 256u << 20);
}

/* A cache so small that most reads come from the store. */
static void test_small_cache(void **state)
{
	(void)state;
	history(50, 6, 1200, 40u << 20);
}

/* --- many at once --- */

#define BLOCK 4096u
#define BLOCKS 512u
#define WRITERS 2
#define READERS 3

struct race {
	struct world w;
	uint64_t ino;
	uint64_t version[BLOCKS]; /* the last one whose write has returned */
	bool stop;
	uint64_t reads, wrong;
};

struct racer { struct race *r; unsigned which; pthread_t thread; };

static void fill_block(uint8_t *p, uint64_t block, uint64_t version)
{
	for (size_t i = 0; i < BLOCK; i += 16) {
		memcpy(p + i, &block, 8);
		memcpy(p + i + 8, &version, 8);
	}
}

/* Each writer has its own blocks, and writes them over and over: most versions are never part of any object. */
static void *writer(void *user)
{
	struct racer *a = user;
	uint64_t s = a->which + 1, version = 1;
	uint8_t buf[8 * BLOCK];

	for (; !__atomic_load_n(&a->r->stop, __ATOMIC_RELAXED); version++) {
		size_t n = 1 + rng_below(&s, 8), first = a->which * (BLOCKS / WRITERS) + rng_below(&s, BLOCKS / WRITERS - 8);
		int rc;

		for (size_t i = 0; i < n; i++)
			fill_block(buf + i * BLOCK, first + i, version);
		VOL_CALL(rc, wait, volume_write(a->r->w.t.v, a->r->ino, first * BLOCK, buf, n * BLOCK, false, false, wait));
		if (rc)
			__atomic_fetch_add(&a->r->wrong, 1, __ATOMIC_RELAXED);
		for (size_t i = 0; i < n; i++)
			__atomic_store_n(&a->r->version[first + i], version, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* A block read whole must be one version, and none older than what was there before the read. */
static bool good_block(const uint8_t *p, uint64_t block, uint64_t at_least)
{
	uint64_t b, v, first;

	memcpy(&first, p + 8, 8);
	for (size_t i = 0; i < BLOCK; i += 16) {
		memcpy(&b, p + i, 8);
		memcpy(&v, p + i + 8, 8);
		if (b != block || v != first)
			return false;
	}
	return first >= at_least;
}

static void *reader(void *user)
{
	struct racer *a = user;
	uint64_t s = a->which + 100, least[16];
	uint8_t buf[16 * BLOCK];

	while (!__atomic_load_n(&a->r->stop, __ATOMIC_RELAXED)) {
		size_t n = 1 + rng_below(&s, 16), first = rng_below(&s, BLOCKS - 16), got = 0;
		int rc;

		for (size_t i = 0; i < n; i++)
			least[i] = __atomic_load_n(&a->r->version[first + i], __ATOMIC_ACQUIRE);
		VOL_CALL(rc, wait, volume_read(a->r->w.t.v, a->r->ino, first * BLOCK, n * BLOCK, buf, &got, wait));
		if (rc || got != n * BLOCK) {
			print_error("read of %zu blocks at %zu: %s (%s)\n", n, first, err_text(rc), err_last());
			__atomic_fetch_add(&a->r->wrong, 1, __ATOMIC_RELAXED);
			continue;
		}
		for (size_t i = 0; i < n; i++)
			if (!good_block(buf + i * BLOCK, first + i, least[i])) {
				print_error("block %zu is torn or old\n", first + i);
				__atomic_fetch_add(&a->r->wrong, 1, __ATOMIC_RELAXED);
			}
		__atomic_fetch_add(&a->r->reads, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Readers beside writers, while segments are cut, elided, acknowledged, evicted: every read is one version, and new enough. */
static void test_race(void **state)
{
	static struct race r = { .w.base = "/tmp/test_volume_model.XXXXXX" };
	struct racer a[WRITERS + READERS];
	const char *seconds = getenv("RACE_SECONDS");
	static uint8_t buf[BLOCK];
	struct volume_attr attr;
	char cmd[128];
	int rc;

	(void)state;
	assert_non_null(mkdtemp(r.w.base));
	assert_int_equal(store_mem_open(0, &r.w.store), 0);
	assert_int_equal(volume_format(r.w.store, env_system(), false, 1), 0);
	vol_options(&r.w.o, "a");
	r.w.o.commit_interval_ms = 3;
	r.w.o.cache_bytes = 64u << 20;
	open_volume(&r.w, true);
	VOL_CALL(rc, wait, volume_mknod(r.w.t.v, VOLUME_ROOT_INO, "f", 1, 0100644, 0, &(struct volume_cred){ 0, 0, 0 }, &attr, wait));
	assert_int_equal(rc, 0);
	r.ino = attr.ino;
	for (uint64_t b = 0; b < BLOCKS; b++) {
		fill_block(buf, b, 0);
		VOL_CALL(rc, wait, volume_write(r.w.t.v, r.ino, b * BLOCK, buf, BLOCK, false, false, wait));
		assert_int_equal(rc, 0);
	}
	for (unsigned i = 0; i < WRITERS + READERS; i++) {
		a[i] = (struct racer){ .r = &r, .which = i };
		assert_int_equal(pthread_create(&a[i].thread, NULL, i < WRITERS ? writer : reader, &a[i]), 0);
	}
	usleep(seconds ? (unsigned)atoi(seconds) * 1000000u : 1500000);
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		pthread_join(a[i].thread, NULL);
	print_message("%" PRIu64 " reads beside %d writers\n", r.reads, WRITERS);
	assert_int_equal(r.wrong, 0);
	assert_true(r.reads > 0);
	assert_int_equal(vol_close(&r.w.t, true), 0);
	store_close(r.w.store);
	snprintf(cmd, sizeof cmd, "rm -rf %s", r.w.base);
	assert_int_equal(system(cmd), 0);
}

/* --- appending --- */

#define APPENDERS 4
#define LINES 1500u
#define LINE_BYTES 25u

struct appender { struct world *w; uint64_t ino; unsigned which; pthread_t thread; int rc; };

static void *append(void *user)
{
	struct appender *a = user;
	char line[LINE_BYTES + 1];

	for (unsigned n = 0; n < LINES && !a->rc; n++) {
		snprintf(line, sizeof line, "appender %u line %08u\n", a->which % 10, n % 100000000);
		VOL_CALL(a->rc, wait, volume_write(a->w->t.v, a->ino, 0, line, LINE_BYTES, true, false, wait));
	}
	return NULL;
}

/* Several append to one file at once: every line is there whole, once, each appender's in order. */
static void test_appenders(void **state)
{
	struct world w = { .base = "/tmp/test_volume_model.XXXXXX" };
	struct appender a[APPENDERS];
	unsigned next[APPENDERS] = { 0 };
	struct volume_attr attr;
	uint8_t *p;
	size_t len;
	char cmd[128];
	int rc;

	(void)state;
	assert_non_null(mkdtemp(w.base));
	assert_int_equal(store_mem_open(0, &w.store), 0);
	assert_int_equal(volume_format(w.store, env_system(), false, 1), 0);
	vol_options(&w.o, "a");
	open_volume(&w, true);
	VOL_CALL(rc, wait, volume_mknod(w.t.v, VOLUME_ROOT_INO, "log", 3, 0100644, 0, &(struct volume_cred){ 0, 0, 0 }, &attr, wait));
	assert_int_equal(rc, 0);
	for (unsigned i = 0; i < APPENDERS; i++) {
		a[i] = (struct appender){ .w = &w, .ino = attr.ino, .which = i };
		assert_int_equal(pthread_create(&a[i].thread, NULL, append, &a[i]), 0);
	}
	for (unsigned i = 0; i < APPENDERS; i++) {
		pthread_join(a[i].thread, NULL);
		assert_int_equal(a[i].rc, 0);
	}
	assert_int_equal(vol_get_file(&w.t, "log", &p, &len), 0);
	assert_int_equal(len, APPENDERS * LINES * LINE_BYTES);
	for (size_t at = 0; at < len; at += LINE_BYTES) {
		unsigned who, line;
		char end;

		assert_int_equal(sscanf((const char *)p + at, "appender %1u line %8u%c", &who, &line, &end), 3);
		assert_true(who < APPENDERS && end == '\n');
		assert_int_equal(line, next[who]++);
	}
	free(p);
	assert_int_equal(vol_close(&w.t, true), 0);
	store_close(w.store);
	snprintf(cmd, sizeof cmd, "rm -rf %s", w.base);
	assert_int_equal(system(cmd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_histories), cmocka_unit_test(test_small_cache), cmocka_unit_test(test_race),
					    cmocka_unit_test(test_appenders) };

	return cmocka_run_group_tests_name("volume_model", tests, NULL, NULL);
}
