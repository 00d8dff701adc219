/*
 * test_volume_commit.c - who syncs the local log and who waits: the caller of an fsync does it himself when nobody does, others share the
 * next pass; and what becomes of them all when the sync fails, or the volume is closed under it.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/hook.h"
#include "err.h"

#define FOLLOWERS 5

/* A thread in volume_fsync, or in volume_close. */
struct caller {
	struct vol *t;
	pthread_t thread;
	struct vol_wait *wait;
	atomic_bool over;
	int rc;
};

static void *call_fsync(void *arg)
{
	struct caller *c = arg;

	c->rc = volume_fsync(c->t->v, vol_wait_of(c->wait));
	atomic_store(&c->over, true);
	return NULL;
}

static void *call_close(void *arg)
{
	struct caller *c = arg;

	c->rc = volume_close(c->t->v, false, NULL, NULL);
	atomic_store(&c->over, true);
	return NULL;
}

static void caller_start(struct caller *c, struct vol *t, void *(*run)(void *))
{
	c->t = t;
	c->wait = vol_wait_new();
	atomic_init(&c->over, false);
	assert_int_equal(pthread_create(&c->thread, NULL, run, c), 0);
}

/* The code of the call, the answer to its wait object where it parked. */
static int caller_end(struct caller *c)
{
	int rc;

	assert_int_equal(pthread_join(c->thread, NULL), 0);
	rc = c->rc == ERR_PARKED ? vol_wait(c->wait) : c->rc;
	vol_wait_free(c->wait);
	return rc;
}

static void open_quiet(struct faulty *f, struct world *w, struct hook *h, int (*before)(struct hook *, struct store_req *))
{
	struct volume_options o;

	hook_init(h, w, before);
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.commit_interval_ms = 60000;
	faulty_open(f, w, &h->s, "a", &o);
	file_put(&f->t, "before", 5000, 1);
	assert_int_equal(vol_fsync(&f->t), 0);
}

/* A caller that is in the middle of fdatasync for file "led". */
static void lead(struct faulty *f, struct caller *c)
{
	fault_disk_hold_syncs(f->fault, "seg-");
	file_put(&f->t, "led", 5000, 2);
	caller_start(c, &f->t, call_fsync);
	while (fault_disk_syncs_waiting(f->fault) == 0)
		usleep(1000);
}

static void follow(struct faulty *f, struct vol_wait **waits)
{
	for (unsigned i = 0; i < FOLLOWERS; i++) {
		char name[] = { 'f', (char)('0' + i), 0 };

		file_put(&f->t, name, 5000, i);
		waits[i] = vol_wait_new();
		assert_int_equal(volume_fsync(f->t.v, vol_wait_of(waits[i])), ERR_PARKED);
	}
}

static void followers_end(struct vol_wait **waits, int rc)
{
	for (unsigned i = 0; i < FOLLOWERS; i++) {
		assert_int_equal(vol_wait(waits[i]), rc);
		vol_wait_free(waits[i]);
	}
}

/* Alone, an fsync is over when the call is. */
static void test_alone(void **state)
{
	struct world *w = *state;
	struct vol_wait *wait = vol_wait_new();
	struct hook h;
	struct faulty f;

	open_quiet(&f, w, &h, NULL);
	for (unsigned i = 0; i < 50; i++) {
		file_put(&f.t, "f", 100, i);
		assert_int_equal(volume_fsync(f.t.v, vol_wait_of(wait)), 0);
		assert_true(vol_status(&f.t).lsn_local == vol_status(&f.t).lsn);
	}
	faulty_close(&f);
	vol_wait_free(wait);
}

/* What was synced ahead needs no sync when the fsync comes; while somebody syncs, or where the store decides, nothing is done. */
static void test_ahead(void **state)
{
	struct world *w = *state;
	struct vol_wait *wait = vol_wait_new();
	struct volume_options o;
	struct caller leader;
	struct hook h;
	struct faulty f;
	struct vol t;

	open_quiet(&f, w, &h, NULL);
	fault_disk_hold_syncs(f.fault, "seg-");
	fault_disk_hold_syncs(f.fault, NULL);
	file_put(&f.t, "f", 5000, 1);
	assert_true(vol_status(&f.t).lsn_local < vol_status(&f.t).lsn);
	volume_sync_ahead(f.t.v);
	assert_true(vol_status(&f.t).lsn_local == vol_status(&f.t).lsn);
	assert_int_equal(fault_disk_syncs_counted(f.fault), 1);
	volume_sync_ahead(f.t.v);
	assert_int_equal(volume_fsync(f.t.v, vol_wait_of(wait)), 0);
	assert_int_equal(fault_disk_syncs_counted(f.fault), 1);
	lead(&f, &leader);
	volume_sync_ahead(f.t.v); /* returns at once */
	assert_int_equal(fault_disk_syncs_waiting(f.fault), 1);
	fault_disk_hold_syncs(f.fault, NULL);
	assert_int_equal(caller_end(&leader), 0);
	faulty_close(&f);
	vol_options(&o, "b");
	o.durability = VOLUME_DURABILITY_STORE;
	o.takeover = true;
	world_must_open(&t, w, &h.s, "b", &o);
	file_put(&t, "g", 5000, 1);
	volume_sync_ahead(t.v);
	assert_true(vol_status(&t).lsn_local < vol_status(&t).lsn);
	assert_int_equal(vol_close(&t, true), 0);
	vol_wait_free(wait);
}

static void *call_ahead(void *arg)
{
	struct caller *c = arg;

	volume_sync_ahead(c->t->v);
	c->rc = 0;
	atomic_store(&c->over, true);
	return NULL;
}

/* Whose fsync comes while another thread syncs ahead is answered by that sync. */
static void test_ahead_answers(void **state)
{
	struct world *w = *state;
	struct vol_wait *wait = vol_wait_new();
	struct caller ahead;
	struct hook h;
	struct faulty f;

	open_quiet(&f, w, &h, NULL);
	fault_disk_hold_syncs(f.fault, "seg-");
	file_put(&f.t, "f", 5000, 2);
	caller_start(&ahead, &f.t, call_ahead);
	while (fault_disk_syncs_waiting(f.fault) == 0)
		usleep(1000);
	assert_int_equal(volume_fsync(f.t.v, vol_wait_of(wait)), ERR_PARKED);
	fault_disk_hold_syncs(f.fault, NULL);
	assert_int_equal(vol_wait(wait), 0);
	assert_int_equal(caller_end(&ahead), 0);
	assert_int_equal(fault_disk_syncs_counted(f.fault), 1);
	faulty_close(&f);
	vol_wait_free(wait);
}

/* While one syncs, the others' calls return at once, and one more fdatasync serves them all. */
static void test_others_share(void **state)
{
	struct world *w = *state;
	struct vol_wait *waits[FOLLOWERS];
	struct caller leader;
	struct hook h;
	struct faulty f;

	open_quiet(&f, w, &h, NULL);
	lead(&f, &leader);
	follow(&f, waits);
	fault_disk_hold_syncs(f.fault, NULL);
	assert_int_equal(caller_end(&leader), 0);
	followers_end(waits, 0);
	assert_true(vol_status(&f.t).lsn_local == vol_status(&f.t).lsn);
	assert_int_equal(fault_disk_syncs_counted(f.fault), 2);
	faulty_close(&f);
}

/* Rule 11: the leader's sync fails. Neither he nor who waits behind him is told that it is durable, before the store has it. */
static void test_leader_fails(void **state)
{
	struct world *w = *state;
	struct vol_wait *waits[FOLLOWERS];
	struct caller leader;
	struct hook h;
	struct faulty f;
	uint64_t lsn;

	open_quiet(&f, w, &h, hook_away_cuts);
	lsn = vol_status(&f.t).lsn_local;
	usleep(300000); /* files made ahead are synced, too: not the sync that is to fail */
	atomic_store(&h.away, true);
	lead(&f, &leader);
	follow(&f, waits);
	fault_disk_fail(f.fault, FAULT_SYNC, 0, 1, -EIO);
	fault_disk_hold_syncs(f.fault, NULL);
	assert_int_equal(pthread_join(leader.thread, NULL), 0);
	assert_int_equal(leader.rc, ERR_PARKED);
	usleep(300000); /* more passes than one */
	assert_int_equal(vol_status(&f.t).lsn_local, lsn);
	assert_int_equal(vol_status(&f.t).parked, FOLLOWERS + 1);
	atomic_store(&h.away, false);
	assert_int_equal(vol_wait(leader.wait), 0);
	vol_wait_free(leader.wait);
	followers_end(waits, 0);
	assert_true(vol_status(&f.t).lsn_store >= lsn + 2);
	faulty_close(&f);
}

/* The volume stays while a caller syncs; what he synced is there afterwards. */
static void test_close_under_leader(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct caller leader, closer;
	struct hook h;
	struct faulty f;
	struct vol t;
	int rc;

	open_quiet(&f, w, &h, NULL);
	lead(&f, &leader);
	caller_start(&closer, &f.t, call_close);
	usleep(200000);
	assert_false(atomic_load(&closer.over));
	fault_disk_hold_syncs(f.fault, NULL);
	rc = caller_end(&leader);
	assert_true(rc == 0 || rc == -ESHUTDOWN);
	assert_int_equal(caller_end(&closer), 0);
	exec_threads_stop(f.t.exec);
	fault_disk_close(f.fault);
	disk_posix_close(f.t.disk);
	vol_options(&o, "a");
	world_must_open(&t, w, &h.s, "a", &o);
	file_check(&t, "led", 5000, 2);
	assert_int_equal(vol_close(&t, false), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alone, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_ahead, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_ahead_answers, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_others_share, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_leader_fails, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_close_under_leader, world_setup, world_teardown),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
