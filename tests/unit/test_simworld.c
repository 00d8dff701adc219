/*
 * test_simworld.c - the simulated world by itself: is the scheduler deterministic, is the store consistent and as nasty as it
 * says, does the disk lose what it may and keep what it must?
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../sim/coro.c"
#include "../sim/procenv.c"
#include "../sim/simdisk.c"
#include "../sim/simdisk_ops.c"
#include "../sim/simstore.c"
#include "../sim/threads.c"
#include "../sim/world.c"

/* What a test runs inside a world; it ends the world. */
struct stage {
	struct world *w;
	struct node *n;
	struct proc *p;
	sim_fn body;
	unsigned counter, order[64];
	bool ok;
};

static void stage_main(void *arg)
{
	struct stage *s = arg;

	s->body(s);
	world_stop(s->w);
}

/* Builds a world with one machine, runs body in it as the world itself; the caller frees. */
static void stage_run(struct stage *s, uint64_t seed, sim_fn body)
{
	memset(s, 0, sizeof *s);
	assert_int_equal(world_new(seed, BREAK_NONE, false, &s->w), 0);
	s->n = node_new(s->w, 64u << 20);
	s->p = proc_start(s->n);
	s->body = body;
	world_at(s->w, NULL, 0, 'M', stage_main, s);
	world_run(s->w);
	if (s->w->violation[0])
		fail_msg("%s", s->w->violation);
}

/* --- scheduler --- */

struct note { struct job j; struct stage *s; unsigned id; };

static void note_run(struct job *j)
{
	struct note *n = CL_CONTAINER_OF(j, struct note, j);

	n->s->order[n->s->counter++] = n->id;
}

static void submit_jobs(struct stage *s, struct note *n, enum exec_lane lane)
{
	for (unsigned i = 0; i < 16; i++) {
		n[i] = (struct note){ .j.run = note_run, .s = s, .id = i };
		s->p->exec.submit(&s->p->exec, lane, &n[i].j);
	}
}

static void jobs_body(void *arg)
{
	static struct note work[16], timed;
	struct stage *s = arg;

	submit_jobs(s, work, EXEC_WORK);
	coro_sleep(SIM_S);
	assert_int_equal(s->counter, 16);
	timed = (struct note){ .j.run = note_run, .s = s, .id = 99 };
	s->p->exec.submit_at(&s->p->exec, EXEC_WORK, s->p->env.boot_ns(&s->p->env) + 2 * SIM_S, &timed.j);
	coro_sleep(SIM_S);
	assert_int_equal(s->counter, 16);
	coro_sleep(2 * SIM_S);
	assert_int_equal(s->counter, 17);
}

static void test_jobs_run_once_in_an_order_the_seed_decides(void **state)
{
	struct stage a, b, c;

	(void)state;
	stage_run(&a, 1, jobs_body);
	stage_run(&b, 1, jobs_body);
	stage_run(&c, 2, jobs_body);
	assert_memory_equal(a.order, b.order, sizeof a.order);
	assert_memory_not_equal(a.order, c.order, sizeof a.order);
	assert_true(a.w->event_hash == b.w->event_hash);
	assert_true(a.w->event_hash != c.w->event_hash);
	world_free(a.w);
	world_free(b.w);
	world_free(c.w);
}

static void sync_body(void *arg)
{
	static struct note n[16];
	struct stage *s = arg;

	submit_jobs(s, n, EXEC_SYNC);
	coro_sleep(SIM_S);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(s->order[i], i);
}

static void test_sync_lane_keeps_its_order(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 3, sync_body);
	world_free(s.w);
}

static void freeze_body(void *arg)
{
	static struct note n[16];
	struct stage *s = arg;
	uint64_t boot = s->p->env.boot_ns(&s->p->env);

	proc_freeze(s->p);
	submit_jobs(s, n, EXEC_WORK);
	coro_sleep(10 * SIM_S);
	assert_int_equal(s->counter, 0);
	proc_thaw(s->p);
	coro_sleep(SIM_S);
	assert_int_equal(s->counter, 16);
	assert_true(s->p->env.boot_ns(&s->p->env) - boot == 11 * SIM_S); /* CLOCK_BOOTTIME does not stop */
	submit_jobs(s, n, EXEC_WORK);
	proc_crash(s->p, CRASH_KILL);
	coro_sleep(SIM_S);
	assert_int_equal(s->counter, 16); /* the dead run nothing */
}

static void test_frozen_and_dead_processes_run_nothing(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 4, freeze_body);
	world_free(s.w);
}

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;

static void hold_lock(struct job *j)
{
	pthread_mutex_lock(&contended);
	coro_sleep(50 * SIM_MS);
	note_run(j);
	pthread_mutex_unlock(&contended);
}

static void lock_body(void *arg)
{
	static struct note n;
	struct stage *s = arg;
	uint64_t began = s->w->now_ns;

	n = (struct note){ .j.run = hold_lock, .s = s, .id = 1 };
	s->p->exec.submit(&s->p->exec, EXEC_SYNC, &n.j);
	coro_sleep(SIM_MS);
	pthread_mutex_lock(&contended); /* waits for the job, which waits for nobody */
	assert_int_equal(s->counter, 1);
	assert_true(s->w->now_ns - began >= 50 * SIM_MS);
	pthread_mutex_unlock(&contended);
}

static void test_a_contended_lock_lets_the_world_go_on(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 5, lock_body);
	world_free(s.w);
}

/* --- store --- */

static int put(struct stage *s, struct proc *p, const char *key, const char *text, bool create)
{
	struct store_req r;
	int rc = store_put(&p->store, key, text, strlen(text), create, &r);

	(void)s;
	store_req_reset(&r);
	return rc;
}

static void store_body(void *arg)
{
	struct stage *s = arg;
	struct store_req r;
	char etag[STORE_ETAG_MAX];

	assert_int_equal(put(s, s->p, "log/1", "one", true), 0);
	assert_int_equal(put(s, s->p, "log/1", "two", true), ERR_PRECONDITION);
	assert_int_equal(store_get(&s->p->store, "log/1", &r), 0);
	assert_int_equal(r.data_len, 3);
	assert_memory_equal(r.data, "one", 3);
	store_req_reset(&r);
	assert_int_equal(store_get(&s->p->store, "absent", &r), -ENOENT);
	store_req_reset(&r);

	store_req_init(&r, STORE_GET);
	r.key = "log/1";
	r.range_suffix = true;
	r.range_length = 2;
	assert_int_equal(store_call(&s->p->store, &r), 0);
	assert_memory_equal(r.data, "ne", 2);
	assert_int_equal(r.object_size, 3);
	store_req_reset(&r);

	/* compare and swap */
	assert_int_equal(put(s, s->p, "heartbeat", "a", false), 0);
	store_req_init(&r, STORE_HEAD);
	r.key = "heartbeat";
	assert_int_equal(store_call(&s->p->store, &r), 0);
	memcpy(etag, r.etag, sizeof etag);
	store_req_reset(&r);
	assert_int_equal(put(s, s->p, "heartbeat", "b", false), 0);
	store_req_init(&r, STORE_PUT);
	r.key = "heartbeat";
	r.if_match = etag;
	assert_int_equal(store_call(&s->p->store, &r), ERR_PRECONDITION);
	store_req_reset(&r);

	/* listings: order, start-after, limit, folders */
	assert_int_equal(put(s, s->p, "d/b/1", "x", false), 0);
	assert_int_equal(put(s, s->p, "d/b/2", "x", false), 0);
	assert_int_equal(put(s, s->p, "d/a", "x", false), 0);
	store_req_init(&r, STORE_LIST);
	r.key = "d/";
	r.delimiter = "/";
	assert_int_equal(store_call(&s->p->store, &r), 0);
	assert_int_equal(r.entry_count, 2);
	assert_string_equal(r.entries[0].key, "d/a");
	assert_string_equal(r.entries[1].key, "d/b/");
	store_req_reset(&r);
	store_req_init(&r, STORE_LIST);
	r.key = "d/";
	r.start_after = "d/a";
	r.max_keys = 1;
	assert_int_equal(store_call(&s->p->store, &r), 0);
	assert_int_equal(r.entry_count, 1);
	assert_string_equal(r.entries[0].key, "d/b/1");
	assert_true(r.truncated);
	store_req_reset(&r);
	assert_int_equal(store_delete(&s->p->store, "d/a"), 0);
	assert_null(simstore_find(s->w->store, "d/a"));
	assert_int_equal(store_probe(&s->p->store), 0);
}

static void test_the_store_in_fair_weather(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 6, store_body);
	world_free(s.w);
}

struct racer { struct store_req r; struct iovec v; int *winners, *done; };

static void racer_done(struct store_req *r)
{
	struct racer *x = r->user;

	*x->winners += r->result == 0;
	*x->done += 1;
	assert_true(r->result == 0 || r->result == ERR_PRECONDITION);
}

static void race_body(void *arg)
{
	static struct racer x[20];
	static char byte[20];
	struct stage *s = arg;
	int winners = 0, done = 0;

	for (int i = 0; i < 20; i++) {
		byte[i] = (char)i;
		store_req_init(&x[i].r, STORE_PUT);
		x[i].v = (struct iovec){ &byte[i], 1 };
		x[i].winners = &winners;
		x[i].done = &done;
		x[i].r.key = "log/one";
		x[i].r.body = &x[i].v;
		x[i].r.body_count = 1;
		x[i].r.if_none_match = true;
		x[i].r.done = racer_done;
		x[i].r.user = &x[i];
		s->p->store.submit(&s->p->store, &x[i].r);
	}
	coro_sleep(60 * SIM_S);
	assert_int_equal(done, 20);
	assert_int_equal(winners, 1);
	for (int i = 0; i < 20; i++)
		store_req_reset(&x[i].r);
}

static void test_of_racing_creates_one_wins(void **state)
{
	struct stage s;

	(void)state;
	for (uint64_t seed = 1; seed < 20; seed++) {
		stage_run(&s, seed, race_body);
		world_free(s.w);
	}
}

/* Each kind of bad weather, alone and at its worst. */
static void weather_body(void *arg)
{
	struct stage *s = arg;
	struct weather *w = &s->w->store->weather;

	*w = (struct weather){ .fail_clean = 1000 };
	assert_int_equal(put(s, s->p, "log/a", "x", true), ERR_UNAVAILABLE);
	coro_sleep(1000 * SIM_S);
	assert_null(simstore_find(s->w->store, "log/a"));

	*w = (struct weather){ .lost_reply = 1000 };
	assert_int_equal(put(s, s->p, "log/b", "x", true), ERR_UNAVAILABLE);
	assert_non_null(simstore_find(s->w->store, "log/b"));

	*w = (struct weather){ .late = 1000 };
	assert_int_equal(put(s, s->p, "log/c", "x", true), ERR_UNAVAILABLE);
	assert_null(simstore_find(s->w->store, "log/c"));
	coro_sleep(1000 * SIM_S);
	assert_non_null(simstore_find(s->w->store, "log/c"));

	*w = (struct weather){ .own_412 = 1000 };
	assert_int_equal(put(s, s->p, "log/d", "x", true), ERR_PRECONDITION);
	assert_non_null(simstore_find(s->w->store, "log/d"));

	*w = (struct weather){ .away = true };
	assert_int_equal(put(s, s->p, "y", "x", false), ERR_UNAVAILABLE);
	*w = (struct weather){ .get_error = 1000 };
	{
		struct store_req r;

		assert_int_equal(store_get(&s->p->store, "log/b", &r), ERR_CORRUPT);
		store_req_reset(&r);
	}
	assert_int_equal(s->w->store->pending_effects, 0);
}

static void test_the_store_in_foul_weather(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 8, weather_body);
	world_free(s.w);
}

static void orphan_body(void *arg)
{
	static struct racer x;
	struct stage *s = arg;
	int winners = 0, done = 0;
	char *body = strdup("late");

	store_req_init(&x.r, STORE_PUT);
	x.v = (struct iovec){ body, 4 };
	x.winners = &winners;
	x.done = &done;
	x.r.key = "log/late";
	x.r.body = &x.v;
	x.r.body_count = 1;
	x.r.if_none_match = true;
	x.r.done = racer_done;
	x.r.user = &x;
	s->w->store->weather.late = 1000;
	s->p->store.submit(&s->p->store, &x.r);
	proc_crash(s->p, CRASH_KILL);
	memset(body, 'x', 4); /* the dead process's memory is gone */
	free(body);
	coro_sleep(1000 * SIM_S);
	assert_int_equal(done, 0);
	assert_non_null(simstore_find(s->w->store, "log/late"));
	assert_memory_equal(simstore_find(s->w->store, "log/late")->blob->data, "late", 4);
}

static void test_a_request_outlives_its_sender(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 9, orphan_body);
	world_free(s.w);
}

static void test_a_rewritten_log_object_is_a_violation(void **state)
{
	struct world *w;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct simreq q = { .key = (char *)(i == 1 ? "epochs/1" : "log/1"), .op = i == 2 ? STORE_DELETE : STORE_PUT };
		char *key = q.key;

		assert_int_equal(world_new(1, BREAK_NONE, false, &w), 0);
		simstore_set(w->store, key, "old", 3);
		q.s = w->store;
		q.body = simblob_new("new", 3);
		q.keys = &key;
		q.key_count = i == 2;
		effect_of(&q);
		assert_string_not_equal(w->violation, "");
		simblob_unref(q.body);
		world_free(w);
	}
}

/* --- disk --- */

static void write_file(struct stage *s, const char *name, int flags, const void *data, size_t len, bool sync)
{
	struct disk *d = &s->p->disk;
	struct disk_file *f;

	assert_int_equal(d->open(d, name, DISK_WRITE | flags, &f), 0);
	assert_int_equal(d->pwrite(f, data, len, 0), 0);
	if (sync)
		assert_int_equal(d->sync(f), 0);
	d->close(f);
}

static size_t read_file(struct stage *s, const char *name, void *data, size_t cap)
{
	struct disk *d = &s->p->disk;
	struct disk_file *f;
	size_t n = 0;

	if (d->open(d, name, DISK_READ, &f))
		return SIZE_MAX;
	assert_int_equal(d->pread(f, data, cap, 0, &n), 0);
	d->close(f);
	return n;
}

static void reboot(struct stage *s, enum crash_kind kind)
{
	proc_crash(s->p, kind);
	coro_sleep(SIM_S);
	s->p = proc_start(s->n);
}

#define FILE_BYTES 16384u

static void power_body(void *arg)
{
	static uint8_t old[FILE_BYTES], new[FILE_BYTES], got[FILE_BYTES];
	struct stage *s = arg;
	unsigned kept = 0;

	memset(old, 'o', sizeof old);
	memset(new, 'n', sizeof new);
	write_file(s, "safe", DISK_CREATE, old, sizeof old, true);
	write_file(s, "half", DISK_CREATE, old, sizeof old, true);
	assert_int_equal(s->p->disk.sync_dir(&s->p->disk, ""), 0);
	write_file(s, "half", 0, new, sizeof new, false);
	write_file(s, "unnamed", DISK_CREATE, new, sizeof new, true);
	reboot(s, CRASH_POWER);
	assert_int_equal(read_file(s, "safe", got, sizeof got), FILE_BYTES);
	assert_memory_equal(got, old, sizeof got);
	/* what was not synced: old or new, sector by sector */
	assert_int_equal(read_file(s, "half", got, sizeof got), FILE_BYTES);
	for (size_t i = 0; i < FILE_BYTES; i += SIMDISK_SECTOR) {
		assert_true(!memcmp(got + i, old, SIMDISK_SECTOR) || !memcmp(got + i, new, SIMDISK_SECTOR));
		kept += got[i] == 'n';
	}
	s->counter = kept;
	s->ok = read_file(s, "unnamed", got, sizeof got) == SIZE_MAX;
}

static void test_power_loss_keeps_what_was_synced_and_tears_the_rest(void **state)
{
	unsigned none = 0, all = 0, torn = 0, gone = 0;
	struct stage s;

	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		stage_run(&s, seed, power_body);
		none += s.counter == 0;
		all += s.counter == FILE_BYTES / SIMDISK_SECTOR;
		torn += s.counter > 0 && s.counter < FILE_BYTES / SIMDISK_SECTOR;
		gone += s.ok;
		world_free(s.w);
	}
	assert_true(none > 0 && all > 0 && torn > 0);
	assert_true(gone > 0 && gone < 60);
}

static void kill_body(void *arg)
{
	static uint8_t data[FILE_BYTES], got[FILE_BYTES];
	struct stage *s = arg;

	memset(data, 'k', sizeof data);
	write_file(s, "f", DISK_CREATE, data, sizeof data, false);
	reboot(s, CRASH_KILL);
	assert_int_equal(read_file(s, "f", got, sizeof got), FILE_BYTES);
	assert_memory_equal(got, data, sizeof got);
}

static void test_a_killed_process_loses_nothing_it_wrote(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 11, kill_body);
	world_free(s.w);
}

static void rename_body(void *arg)
{
	struct stage *s = arg;
	char got[8];
	size_t a, b;

	write_file(s, "a", DISK_CREATE, "old", 3, true);
	assert_int_equal(s->p->disk.sync_dir(&s->p->disk, ""), 0);
	assert_int_equal(s->p->disk.rename(&s->p->disk, "a", "b"), 0);
	reboot(s, CRASH_POWER);
	a = read_file(s, "a", got, sizeof got);
	b = read_file(s, "b", got, sizeof got);
	assert_true((a == 3) != (b == 3)); /* a rename happens or it does not */
	s->counter = b == 3;
}

static void test_an_unsynced_rename_happens_or_does_not(void **state)
{
	unsigned done = 0;
	struct stage s;

	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		stage_run(&s, seed, rename_body);
		done += s.counter;
		world_free(s.w);
	}
	assert_true(done > 0 && done < 40);
}

static void sync_fail_body(void *arg)
{
	static uint8_t data[FILE_BYTES], got[FILE_BYTES];
	struct stage *s = arg;
	struct disk *d = &s->p->disk;
	struct disk_file *f;

	memset(data, 'f', sizeof data);
	assert_int_equal(d->open(d, "f", DISK_WRITE | DISK_CREATE, &f), 0);
	assert_int_equal(d->sync_dir(d, ""), 0);
	assert_int_equal(d->pwrite(f, data, sizeof data, 0), 0);
	simdisk_set_faults(s->n->disk, &(struct simdisk_faults){ .sync_fail = 1000 });
	assert_int_equal(d->sync(f), -EIO);
	simdisk_set_faults(s->n->disk, &(struct simdisk_faults){ .sync_fail = 0 });
	assert_int_equal(d->sync(f), 0); /* a later success covers nothing */
	d->close(f);
	reboot(s, CRASH_POWER);
	s->ok = read_file(s, "f", got, sizeof got) == FILE_BYTES && !memcmp(got, data, sizeof data);
}

static void test_after_a_failed_sync_a_later_one_covers_nothing(void **state)
{
	unsigned intact = 0;
	struct stage s;

	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		stage_run(&s, seed, sync_fail_body);
		intact += s.ok;
		world_free(s.w);
	}
	assert_true(intact > 0 && intact < 40);
}

static void space_body(void *arg)
{
	static uint8_t data[FILE_BYTES];
	struct stage *s = arg;
	struct disk *d = &s->p->disk;
	struct disk_file *f;
	uint64_t left;

	simdisk_set_capacity(s->n->disk, 2 * FILE_BYTES);
	assert_int_equal(d->open(d, "f", DISK_WRITE | DISK_CREATE, &f), 0);
	assert_int_equal(d->allocate(f, 0, FILE_BYTES), 0);
	assert_int_equal(d->free_bytes(d, &left), 0);
	assert_true(left == FILE_BYTES);
	assert_int_equal(d->allocate(f, FILE_BYTES, 2 * FILE_BYTES), -ENOSPC);
	assert_int_equal(d->pwrite(f, data, FILE_BYTES, 0), 0); /* reserved */
	assert_int_equal(d->pwrite(f, data, FILE_BYTES, FILE_BYTES), 0);
	assert_int_equal(d->pwrite(f, data, FILE_BYTES, 2 * FILE_BYTES), -ENOSPC);
	d->close(f);
	assert_int_equal(d->unlink(d, "f"), 0);
	assert_int_equal(d->sync_dir(d, ""), 0);
	assert_true(simdisk_used(s->n->disk) == 0);
}

static void test_space_is_counted(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 12, space_body);
	world_free(s.w);
}

static void crash_point_body(void *arg)
{
	struct stage *s = arg;
	struct disk *d = &s->p->disk;
	struct disk_file *f;
	struct store_req r;

	s->p->crash_at = 2;
	s->p->crash_kind = CRASH_KILL;
	assert_int_equal(d->open(d, "f", DISK_WRITE | DISK_CREATE, &f), 0);
	assert_int_equal(d->pwrite(f, "x", 1, 0), ERR_CRASHED);
	assert_int_equal(d->pwrite(f, "x", 1, 0), ERR_CRASHED);
	assert_int_equal(d->sync(f), ERR_CRASHED);
	d->close(f);
	assert_int_equal(store_put(&s->p->store, "k", "v", 1, false, &r), ERR_CRASHED);
	store_req_reset(&r);
	coro_sleep(SIM_S);
	assert_null(simstore_find(s->w->store, "k"));
}

static void test_a_crash_point_ends_everything(void **state)
{
	struct stage s;

	(void)state;
	stage_run(&s, 13, crash_point_body);
	world_free(s.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jobs_run_once_in_an_order_the_seed_decides),
		cmocka_unit_test(test_sync_lane_keeps_its_order),
		cmocka_unit_test(test_frozen_and_dead_processes_run_nothing),
		cmocka_unit_test(test_a_contended_lock_lets_the_world_go_on),
		cmocka_unit_test(test_the_store_in_fair_weather),
		cmocka_unit_test(test_of_racing_creates_one_wins),
		cmocka_unit_test(test_the_store_in_foul_weather),
		cmocka_unit_test(test_a_request_outlives_its_sender),
		cmocka_unit_test(test_a_rewritten_log_object_is_a_violation),
		cmocka_unit_test(test_power_loss_keeps_what_was_synced_and_tears_the_rest),
		cmocka_unit_test(test_a_killed_process_loses_nothing_it_wrote),
		cmocka_unit_test(test_an_unsynced_rename_happens_or_does_not),
		cmocka_unit_test(test_after_a_failed_sync_a_later_one_covers_nothing),
		cmocka_unit_test(test_space_is_counted),
		cmocka_unit_test(test_a_crash_point_ends_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
