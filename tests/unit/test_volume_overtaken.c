/*
 * test_volume_overtaken.c - candidates for a volume that are overtaken between claim and opening record: they have lost, and do no harm.
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

#include "../lib/hook.h"
#include "err.h"

/* --- candidates that are overtaken --- */

struct race {
	struct world *w;
	struct hook hb, hc;         /* the stores of b, who is stopped before it opens, and of the one that claims after it */
	struct vol b, d;
	struct volume_options ob, od;
	pthread_t thread;
	int rc_b;
	bool d_open;
	void (*in_between)(struct race *r); /* b serves; the other one's seal has not been sent yet */
	struct disk *fail_at_open;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool b_waits, b_may_go;
};

static int stop_b(struct hook *h, struct store_req *req)
{
	struct race *r = h->user;

	if (req->op != STORE_PUT || strcmp(req->key, "log/0000000002/000000000000") != 0)
		return 0;
	pthread_mutex_lock(&r->mu);
	r->b_waits = true;
	pthread_cond_broadcast(&r->cond);
	while (!r->b_may_go)
		pthread_cond_wait(&r->cond, &r->mu);
	pthread_mutex_unlock(&r->mu);
	return 0;
}

static int overtake_c(struct hook *h, struct store_req *req)
{
	struct race *r = h->user;
	int stage = atomic_load(&h->stage);

	if (stage == 0 && req->op == STORE_PUT && strcmp(req->key, "log/0000000002/000000000000") == 0) {
		atomic_store(&h->stage, 1);
		pthread_mutex_lock(&r->mu);
		r->b_may_go = true;
		pthread_cond_broadcast(&r->cond);
		pthread_mutex_unlock(&r->mu);
		pthread_join(r->thread, NULL);
		assert_int_equal(r->rc_b, 0);
		if (r->in_between)
			r->in_between(r);
	} else if (stage == 1 && r->od.node && req->op == STORE_GET && strcmp(req->key, "volume") == 0) {
		atomic_store(&h->stage, 2);
		world_must_open(&r->d, r->w, &r->hb.s, "d", &r->od);
		r->d_open = true;
	} else if (r->fail_at_open && req->op == STORE_PUT && strcmp(req->key, "log/0000000003/000000000000") == 0) {
		fault_disk_fail(r->fail_at_open, FAULT_RENAME, 0, 1, -EIO);
	}
	return 0;
}

static void *open_b(void *arg)
{
	struct race *r = arg;

	r->rc_b = world_open(&r->b, r->w, &r->hb.s, "b", &r->ob);
	return NULL;
}

/* b has claimed epoch 2 and stands before its opening record. */
static void race_start(struct race *r, struct world *w)
{
	memset(r, 0, sizeof *r);
	r->w = w;
	pthread_mutex_init(&r->mu, NULL);
	pthread_cond_init(&r->cond, NULL);
	hook_init(&r->hb, w, stop_b);
	hook_init(&r->hc, w, overtake_c);
	r->hb.user = r->hc.user = r;
	vol_options(&r->ob, "b");
	r->ob.takeover = true;
	r->ob.max_lag_ms = 100;
	r->ob.commit_interval_ms = 60000;
	assert_int_equal(pthread_create(&r->thread, NULL, open_b, r), 0);
	pthread_mutex_lock(&r->mu);
	while (!r->b_waits)
		pthread_cond_wait(&r->cond, &r->mu);
	pthread_mutex_unlock(&r->mu);
}

static void race_end(struct race *r)
{
	vol_close(&r->b, false);
	pthread_cond_destroy(&r->cond);
	pthread_mutex_destroy(&r->mu);
}

/* Rule 1: b opens after c has claimed, and d, who claimed after c, opens before c looks again. c has lost, and touches nothing of d's. */
static void test_late_candidate_seals_nobody_newer(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct hook plain;
	struct race r;
	struct vol t;

	hook_init(&plain, w, NULL);
	vol_options(&o, "a");
	o.max_lag_ms = 100;
	world_must_open(&t, w, &plain.s, "a", &o);
	file_put(&t, "kept", 1000, 1);
	assert_int_equal(vol_close(&t, true), 0);
	race_start(&r, w);
	vol_options(&r.od, "d");
	r.od.takeover = true;
	r.od.max_lag_ms = 100;
	vol_options(&o, "c");
	o.takeover = true;
	o.max_lag_ms = 100;
	assert_int_equal(world_open(&t, w, &r.hc.s, "c", &o), ERR_FENCED);
	assert_true(r.d_open);
	file_put(&r.d, "served", 1000, 2);
	assert_int_equal(vol_sync(&r.d), 0);
	assert_int_equal(vol_status(&r.d).state, VOLUME_SERVING);
	file_check(&r.d, "kept", 1000, 1);
	assert_int_equal(vol_close(&r.d, true), 0);
	race_end(&r);
}

static void b_writes(struct race *r)
{
	file_put(&r->b, "b1", 1000, 7);
	assert_int_equal(vol_sync(&r->b), 0);
}

/*
 * Rule 4: a comes back with an unsent tail of two cuts; meanwhile b opens and writes just as many operations as a's first cut has,
 * and a dies after its opening record. Its second cut continues b's numbers, but not b's history: it is no part of the volume.
 */
static void test_tail_after_anothers_epoch(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct volume_attr attr;
	struct vol_wait *x1, *x2;
	uint64_t l0, l1;
	struct hook h;
	struct race r;
	struct faulty f;
	struct vol t;
	char path[128], meta[160];
	int rc;

	hook_init(&h, w, hook_away_cuts);
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.commit_interval_ms = 60000;
	world_must_open(&t, w, &h.s, "a", &o);
	file_put(&t, "kept", 1000, 1);
	assert_int_equal(vol_sync(&t), 0);
	atomic_store(&h.away, true);
	l0 = vol_status(&t).lsn;
	file_put(&t, "x1", 1000, 2);
	x1 = vol_start_sync(&t);
	l1 = vol_status(&t).lsn;
	file_put(&t, "x2", 1000, 3);
	x2 = vol_start_sync(&t);
	assert_int_equal(vol_fsync(&t), 0);
	vol_close(&t, false);
	assert_int_equal(vol_wait(x1), -ESHUTDOWN);
	assert_int_equal(vol_wait(x2), -ESHUTDOWN);
	vol_wait_free(x1);
	vol_wait_free(x2);

	race_start(&r, w);
	r.in_between = b_writes;
	o.takeover = true;
	snprintf(path, sizeof path, "%s/a", w->base);
	snprintf(meta, sizeof meta, "%s/meta", path);
	assert_int_equal(disk_posix_open(path, &f.t.disk), 0);
	f.fault = fault_disk_new(f.t.disk);
	r.fail_at_open = f.fault;
	assert_int_equal(exec_threads_start(2, &f.t.exec), 0);
	o.store = &r.hc.s;
	o.disk = f.fault;
	o.env = env_system();
	o.exec = f.t.exec;
	o.meta_dir = meta;
	rc = volume_open(&o, &f.t.v);
	assert_int_not_equal(rc, 0); /* the segments could not be moved away: as good as a crash */
	assert_int_equal(vol_status(&r.b).lsn, l0 + (l1 - l0));
	exec_threads_stop(f.t.exec);
	fault_disk_close(f.fault);
	disk_posix_close(f.t.disk);

	hook_init(&h, w, NULL);
	o.takeover = false; /* the newest epoch is its own, under the identity that it was opened with: nobody to wait for */
	world_must_open(&t, w, &h.s, "a", &o);
	file_check(&t, "b1", 1000, 7);
	file_check(&t, "kept", 1000, 1);
	assert_int_equal(volume_lookup(t.v, VOLUME_ROOT_INO, "x1", 2, &attr), -ENOENT);
	assert_int_equal(volume_lookup(t.v, VOLUME_ROOT_INO, "x2", 2, &attr), -ENOENT);
	assert_int_equal(vol_close(&t, true), 0);
	race_end(&r);
}

/*
 * An image of a machine cannot be told from the machine: its cache directory is a copy, with the same log and the same machine's ID. What the one had not sent when
 * the other served does not go on from what that did, whatever their numbers are.
 */
static void test_image_served_meanwhile(void **state)
{
	struct world *w = *state;
	struct volume_cred cred = { 0 };
	struct volume_options o;
	struct volume_attr attr;
	struct hook h;
	struct vol t;
	char cmd[400];
	uint64_t base, n;
	int rc;

	hook_init(&h, w, hook_away_cuts);
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	world_must_open(&t, w, &h.s, "a", &o);
	file_put(&t, "kept", 1000, 1);
	assert_int_equal(vol_close(&t, true), 0);
	snprintf(cmd, sizeof cmd, "cp -a %s/a %s/image", w->base, w->base);
	assert_int_equal(system(cmd), 0);

	/* Two segments that the store does not get: of one operation, and of the next two. */
	world_must_open(&t, w, &h.s, "a", &o);
	base = vol_status(&t).lsn;
	atomic_store(&h.away, true);
	VOL_CALL(rc, q, volume_mknod(t.v, VOLUME_ROOT_INO, "a", 1, S_IFREG | 0600, 0, &cred, &attr, q));
	assert_int_equal(rc, 0);
	assert_int_equal(vol_fsync(&t), 0);
	assert_int_equal(vol_status(&t).lsn, base + 1);
	usleep(500000); /* a cut ends its segment */
	VOL_CALL(rc, q, volume_write(t.v, attr.ino, 0, (const uint8_t *)"of a", 4, false, false, q));
	assert_int_equal(rc, 0);
	assert_int_equal(vol_fsync(&t), 0);
	assert_true(vol_status(&t).lsn > base + 1);
	assert_int_not_equal(vol_close(&t, false), -1);

	/* The image serves, and gives the number of the first of them to something else. */
	atomic_store(&h.away, false);
	world_must_open(&t, w, &h.s, "image", &o);
	assert_int_equal(vol_status(&t).lsn, base);
	VOL_CALL(rc, q, volume_mknod(t.v, VOLUME_ROOT_INO, "q", 1, S_IFREG | 0600, 0, &cred, &attr, q));
	assert_int_equal(rc, 0);
	assert_int_equal(vol_close(&t, true), 0);

	world_must_open(&t, w, &h.s, "a", &o);
	file_check(&t, "kept", 1000, 1);
	assert_int_equal(volume_lookup(t.v, VOLUME_ROOT_INO, "a", 1, &attr), -ENOENT);
	assert_int_equal(volume_lookup(t.v, VOLUME_ROOT_INO, "q", 1, &attr), 0);
	assert_int_equal(attr.size, 0); /* no byte of a's */
	assert_int_equal(vol_status(&t).lsn, base + 1);
	n = vol_status(&t).lost_operations;
	assert_true(n >= 2);
	assert_non_null(strstr(vol_status(&t).found_lost, "copy of this cache directory"));
	assert_int_equal(vol_close(&t, true), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_late_candidate_seals_nobody_newer, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_tail_after_anothers_epoch, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_image_served_meanwhile, world_setup, world_teardown),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
