/*
 * test_volume_wedge.c - a store of which a part is away, or full: what is held, for how long, and what it costs meanwhile.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "../lib/hook.h"
#include "../lib/rng.h"

#define VALUE_BYTES 60000u

static int away_gets(struct hook *h, struct store_req *r)
{
	return r->op == STORE_GET && atomic_load(&h->away) && strstr(r->key, "log/") ? ERR_UNAVAILABLE : 0;
}

/* outage_timeout: a read of what is not cached gives up, too, and works when the store is back. */
static void test_reads_give_up(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct hook h;
	struct vol t;
	uint8_t *got;
	size_t n;

	hook_init(&h, w, away_gets);
	vol_options(&o, "a");
	world_must_open(&t, w, &h.s, "a", &o);
	file_put(&t, "f", 300000, 1);
	assert_int_equal(vol_close(&t, true), 0);
	vol_options(&o, "b");
	o.outage_timeout_ms = 500;
	world_must_open(&t, w, &h.s, "b", &o);
	atomic_store(&h.away, true);
	assert_int_equal(vol_get_file(&t, "f", &got, &n), -EIO);
	assert_int_equal(vol_get_file(&t, "f", &got, &n), -EIO);
	file_put(&t, "g", 1000, 2); /* writing is not concerned */
	file_check(&t, "g", 1000, 2);
	atomic_store(&h.away, false);
	for (unsigned i = 0; vol_get_file(&t, "f", &got, &n) == -EIO && i < 20; i++)
		got = NULL; /* the machine is slow */
	free(got);
	file_check(&t, "f", 300000, 1);
	vol_close(&t, true);
}

/* The store takes log/ but no checkpoints: the changes kept for these do not fill the memory, and writing goes on when it does. */
static void test_no_checkpoints(void **state)
{
	struct world *w = *state;
	struct volume_cred cred = { 0 };
	struct volume_options o;
	struct volume_attr a;
	struct volume_status st;
	struct hook h;
	struct vol t;
	uint8_t *val = malloc(VALUE_BYTES), *got = malloc(VALUE_BYTES);
	unsigned i, tries, count = 0;
	uint64_t ino[800];
	size_t len;
	char name[16];
	int rc = 0;

	hook_init(&h, w, hook_away_puts);
	h.pattern = "runs/";
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.checkpoint_bytes = 1u << 20;
	world_must_open(&t, w, &h.s, "a", &o);
	atomic_store(&h.away, true);
	for (i = 0; i < 800 && rc == 0; i++) {
		snprintf(name, sizeof name, "x%u", i);
		rc = volume_mknod(t.v, VOLUME_ROOT_INO, name, strlen(name), S_IFREG | 0600, 0, &cred, &a, NULL);
		if (rc == 0) {
			ino[i] = a.ino;
			file_fill(val, VALUE_BYTES, i);
			rc = volume_setxattr(t.v, a.ino, "user.x", val, VALUE_BYTES, 0, NULL);
		}
		if (rc == 0)
			count++;
		if (i % 16 == 15)
			assert_int_equal(vol_sync(&t), 0); /* in log/ it is */
	}
	assert_int_equal(rc, -EAGAIN); /* 48 MB if nobody stops it */
	assert_in_range(count, 50, 300);
	st = vol_status(&t);
	assert_int_equal(st.state, VOLUME_HELD);
	assert_non_null(strstr(st.error, "checkpoint"));
	assert_int_equal(st.checkpoints, 0);
	atomic_store(&h.away, false);
	for (tries = 0; rc == -EAGAIN && tries < 1000; tries++) {
		usleep(20000);
		rc = volume_mknod(t.v, VOLUME_ROOT_INO, "after", 5, S_IFREG | 0600, 0, &cred, &a, NULL);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(vol_status(&t).state, VOLUME_SERVING);
	assert_int_equal(vol_close(&t, true), 0);
	o.read_only = true;
	world_must_open(&t, w, &h.s, "r", &o);
	for (i = 0; i < count; i++) {
		file_fill(val, VALUE_BYTES, i);
		assert_int_equal(volume_getxattr(t.v, ino[i], "user.x", got, VALUE_BYTES, &len), 0);
		assert_memory_equal(got, val, VALUE_BYTES);
	}
	vol_close(&t, false);
	free(val);
	free(got);
}

/* Bytes of PUTs, by what they are for. */
static atomic_ullong log_bytes, checkpoint_bytes;

static int count_puts(struct hook *h, struct store_req *r)
{
	(void)h;
	if (r->op == STORE_PUT)
		for (size_t i = 0; i < r->body_count; i++)
			atomic_fetch_add(strncmp(r->key, "log/", 4) == 0 ? &log_bytes : &checkpoint_bytes, r->body[i].iov_len);
	return 0;
}

/* Rule 14: as a database writes, pages all over a file, checkpoints stay under a fifth of the log. The file has so many pages that the whole map in each
 * checkpoint would be more than that. */
static void test_checkpoints_are_small(void **state)
{
	enum { PAGE = 16384, PAGES = 150000, WRITES = 3000, EACH = 100 };
	struct world *w = *state;
	struct volume_cred cred = { 0 };
	struct volume_options o;
	struct volume_status st;
	struct volume_attr a;
	struct hook h;
	struct vol t;
	uint64_t rng = 7, before;
	uint8_t *page = malloc(PAGE);
	int rc;

	hook_init(&h, w, count_puts);
	vol_options(&o, "a");
	o.checkpoint_bytes = 16u << 10; /* as many checkpoints as 2,000 times as much would make */
	o.max_lag_ms = UINT64_MAX;
	world_must_open(&t, w, &h.s, "a", &o);
	VOL_CALL(rc, q, volume_mknod(t.v, VOLUME_ROOT_INO, "ibdata", 6, S_IFREG | 0600, 0, &cred, &a, q));
	assert_int_equal(rc, 0);
	for (unsigned i = 0; i < PAGES; i++) { /* their first bytes: the map is the same */
		VOL_CALL(rc, q, volume_write(t.v, a.ino, (uint64_t)i * PAGE, "page", 4, false, false, q));
		assert_int_equal(rc, 0);
	}
	assert_int_equal(vol_sync(&t), 0);
	before = vol_status(&t).checkpoints;
	atomic_store(&log_bytes, 0);
	atomic_store(&checkpoint_bytes, 0);
	for (unsigned i = 0; i < WRITES; i++) {
		rng_fill(&rng, page, PAGE);
		VOL_CALL(rc, q, volume_write(t.v, a.ino, rng_below(&rng, PAGES) * PAGE, page, PAGE, false, false, q));
		assert_int_equal(rc, 0);
		if (i % EACH == EACH - 1) { /* a checkpoint for each, however slow it is */
			uint64_t seen = vol_status(&t).checkpoints;

			assert_int_equal(vol_sync(&t), 0);
			for (unsigned k = 0; k < 1000 && vol_status(&t).checkpoints == seen; k++)
				usleep(10000);
		}
	}
	st = vol_status(&t);
	st.checkpoints -= before;
	assert_int_equal(vol_close(&t, true), 0);
	print_message("# %llu checkpoints, %llu KiB; the log %llu KiB\n", (unsigned long long)st.checkpoints,
		      atomic_load(&checkpoint_bytes) >> 10, atomic_load(&log_bytes) >> 10);
	assert_true(st.checkpoints >= WRITES / EACH);
	assert_true(atomic_load(&checkpoint_bytes) * 5 < atomic_load(&log_bytes));
	free(page);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reads_give_up, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_no_checkpoints, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_checkpoints_are_small, world_setup, world_teardown),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
