/*
 * test_volume_review.c - histories against the rules of the volume that need an exact order of events: a store that is stopped
 * at a chosen request, a disk whose sync fails once, a clock that goes back.
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
#include "backends.h"
#include "err.h"
#include "object.h"

/*
 * Rule 11. The log of one cut cannot be synced; its object arrives, but the object before it does not. It is in no place that
 * recovery reads, so nothing behind it may be called durable, however well that was synced.
 */
static void test_failed_sync_before_the_prefix(void **state)
{
	struct world *w = *state;
	struct vol_wait *one, *two, *three;
	struct volume_options o;
	struct hook h;
	struct faulty f;
	uint64_t lsn;
	int i;

	hook_init(&h, w, hook_away_puts);
	h.pattern = "/000000000001";
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.commit_interval_ms = 60000;
	faulty_open(&f, w, &h.s, "a", &o);
	atomic_store(&h.away, true);
	file_put(&f.t, "one", 5000, 1);
	one = vol_start_sync(&f.t);
	assert_int_equal(vol_fsync(&f.t), 0);
	lsn = vol_status(&f.t).lsn_local;
	file_put(&f.t, "two", 5000, 2);
	usleep(300000); /* files made ahead are synced, too: not the sync that is to fail */
	fault_disk_fail(f.fault, FAULT_SYNC, 0, 1, -EIO);
	two = vol_wait_new();
	assert_int_equal(volume_fsync(f.t.v, vol_wait_of(two)), ERR_PARKED);
	for (i = 0; i < 300 && vol_status(&f.t).objects_put < 1; i++)
		usleep(10000);
	assert_int_equal(vol_status(&f.t).objects_put, 1); /* of the cut that failed here */
	file_put(&f.t, "three", 5000, 3);
	three = vol_start_sync(&f.t);
	usleep(400000);
	assert_int_equal(vol_status(&f.t).lsn_local, lsn);
	atomic_store(&h.away, false);
	assert_int_equal(vol_wait(one), 0);
	assert_int_equal(vol_wait(two), 0);
	assert_int_equal(vol_wait(three), 0);
	vol_wait_free(one);
	vol_wait_free(two);
	vol_wait_free(three);
	faulty_close(&f);
}

/*
 * Rule 11, across a restart: the kernel shows the bytes of a failed fdatasync as if they were on the disk, and the next fdatasync
 * of them says yes. The process that comes after must not believe it.
 */
static void test_failed_sync_is_remembered(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol_wait *wait = vol_wait_new();
	struct hook h;
	struct faulty f;
	uint64_t lsn;

	hook_init(&h, w, hook_away_cuts);
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.commit_interval_ms = 60000;
	faulty_open(&f, w, &h.s, "a", &o);
	file_put(&f.t, "before", 5000, 1);
	assert_int_equal(vol_sync(&f.t), 0);
	atomic_store(&h.away, true);
	file_put(&f.t, "doubtful", 5000, 2);
	usleep(300000);
	fault_disk_fail(f.fault, FAULT_SYNC, 0, 1, -EIO);
	assert_int_equal(volume_fsync(f.t.v, vol_wait_of(wait)), ERR_PARKED);
	usleep(200000);
	lsn = vol_status(&f.t).lsn;
	assert_true(vol_status(&f.t).lsn_local < lsn);
	faulty_close(&f);
	assert_int_equal(vol_wait(wait), -ESHUTDOWN);

	faulty_open(&f, w, &h.s, "a", &o);
	assert_int_equal(vol_status(&f.t).lsn, lsn); /* it is there, as far as one can see */
	assert_int_equal(volume_fsync(f.t.v, vol_wait_of(wait)), ERR_PARKED);
	usleep(300000);
	assert_true(vol_status(&f.t).lsn_local < lsn);
	atomic_store(&h.away, false);
	assert_int_equal(vol_wait(wait), 0); /* the store has it now */
	assert_true(vol_status(&f.t).lsn_store >= lsn);
	file_check(&f.t, "doubtful", 5000, 2);
	faulty_close(&f);
	vol_wait_free(wait);
}

/* V9: a log that fills the whole budget when the process ends is taken up again without an operator. */
static void test_restart_with_a_full_budget(void **state)
{
	struct world *w = *state;
	struct volume_cred cred = { 0 };
	struct volume_options o;
	struct volume_attr a;
	struct hook h;
	struct vol t;
	uint8_t *mib = malloc(VOLUME_WRITE_MAX), *got;
	unsigned n = 0, refused = 0, i;
	size_t len;
	int rc;

	hook_init(&h, w, hook_away_cuts);
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.cache_bytes = 64u << 20;
	world_must_open(&t, w, &h.s, "a", &o);
	VOL_CALL(rc, q, volume_mknod(t.v, VOLUME_ROOT_INO, "big", 3, S_IFREG | 0600, 0, &cred, &a, q));
	assert_int_equal(rc, 0);
	atomic_store(&h.away, true);
	while (refused < 50) {
		file_fill(mib, VOLUME_WRITE_MAX, n);
		rc = volume_write(t.v, a.ino, (uint64_t)n << 20, mib, VOLUME_WRITE_MAX, false, false, NULL);
		if (rc == 0) {
			n++;
			refused = 0;
		} else {
			assert_int_equal(rc, -EAGAIN);
			refused++;
			usleep(10000);
		}
	}
	assert_true(n > 20);
	vol_close(&t, false);
	atomic_store(&h.away, false);
	world_must_open(&t, w, &h.s, "a", &o);
	assert_int_equal(vol_get_file(&t, "big", &got, &len), 0);
	assert_int_equal(len, (size_t)n << 20);
	for (i = 0; i < n; i++) {
		file_fill(mib, VOLUME_WRITE_MAX, i);
		assert_memory_equal(got + ((size_t)i << 20), mib, VOLUME_WRITE_MAX);
	}
	free(got);
	file_put(&t, "more", 5000, 1);
	assert_int_equal(vol_close(&t, true), 0);
	free(mib);
}

/* Rule 9: a tail that was taken up is as old as it is, not as the process; writers are held until the store has it. */
static void test_adopted_tail_keeps_its_age(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct hook h;
	struct vol t;

	hook_init(&h, w, hook_away_cuts);
	vol_options(&o, "a");
	o.max_lag_ms = 1000;
	world_must_open(&t, w, &h.s, "a", &o);
	atomic_store(&h.away, true);
	file_put(&t, "tail", 5000, 1);
	assert_int_equal(vol_fsync(&t), 0);
	vol_close(&t, false);
	usleep(1200000);
	world_must_open(&t, w, &h.s, "a", &o);
	assert_true(vol_status(&t).lag_ns >= 1000000000u);
	assert_int_equal(vol_status(&t).state, VOLUME_HELD);
	atomic_store(&h.away, false);
	assert_int_equal(vol_sync(&t), 0);
	file_put(&t, "next", 5000, 2);
	assert_int_equal(vol_close(&t, true), 0);
}

/*
 * Rule 9: b has sealed a's epoch and opened its own, and dies before a's lease is over. The next one, b again, finds its own
 * epoch as the last; it has to wait for a's lease all the same.
 */
static int fail_disk_after_open(struct hook *h, struct store_req *r)
{
	if (r->op == STORE_PUT && strcmp(r->key, "log/0000000002/000000000000") == 0)
		fault_disk_fail(h->user, FAULT_OPEN | FAULT_RENAME, 0, 100, -EIO);
	return 0;
}

static void test_lease_of_the_one_before(void **state)
{
	struct world *w = *state;
	struct volume_options oa, ob;
	struct volume_attr attr;
	struct volume_cred cred = { 0 };
	struct vol_wait *wait = vol_wait_new();
	struct hook h;
	struct vol a;
	struct faulty b;
	char path[128], meta[160];
	int rc;

	vol_options(&oa, "a");
	oa.max_lag_ms = 2000;
	oa.commit_interval_ms = 60000;
	hook_init(&h, w, fail_disk_after_open);
	world_must_open(&a, w, &(struct hook){ .s = h.s, .below = w->mem }.s, "a", &oa);
	file_put(&a, "kept", 1000, 1);
	vol_options(&ob, "b");
	ob.takeover = true;
	snprintf(path, sizeof path, "%s/b", w->base);
	snprintf(meta, sizeof meta, "%s/meta", path);
	assert_int_equal(disk_posix_open(path, &b.t.disk), 0);
	mkdir(meta, 0700);
	b.fault = fault_disk_new(b.t.disk);
	assert_int_equal(exec_threads_start(2, &b.t.exec), 0);
	h.user = b.fault;
	ob.store = &h.s;
	ob.disk = b.fault;
	ob.env = env_system();
	ob.exec = b.t.exec;
	ob.meta_dir = meta;
	assert_int_equal(vol_sync(&a), 0); /* the lease begins */
	assert_int_not_equal(volume_open(&ob, &b.t.v), 0);
	exec_threads_stop(b.t.exec);
	fault_disk_close(b.fault);
	disk_posix_close(b.t.disk);
	world_must_open(&b.t, w, &h.s, "b", &ob);
	/* b serves: a acknowledges nothing from here on */
	rc = volume_mknod(a.v, VOLUME_ROOT_INO, "late", 4, S_IFREG | 0600, 0, &cred, &attr, vol_wait_of(wait));
	if (rc == 0) {
		rc = volume_fsync(a.v, vol_wait_of(wait));
		if (rc == ERR_PARKED)
			rc = vol_wait(wait);
		assert_int_equal(rc, -EIO);
	}
	vol_close(&a, false);
	assert_int_equal(vol_close(&b.t, true), 0);
	vol_wait_free(wait);
}

/* A doubt about one's own object, and a bad answer to the question: no reason to give the volume up. */
static void test_bad_answer_is_no_seal(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct store *s;
	struct hook h;
	struct vol t;

	hook_init(&h, w, NULL);
	assert_int_equal(store_fault_open(&h.s, "put:log/*:412-after-success:after=1:count=1; get:log/*:corrupt:count=1", 1, &s), 0);
	vol_options(&o, "a");
	world_must_open(&t, w, s, "a", &o);
	file_put(&t, "one", 5000, 1);
	assert_int_equal(vol_sync(&t), 0);
	assert_int_equal(vol_status(&t).state, VOLUME_SERVING);
	assert_int_equal(vol_close(&t, true), 0);
	store_close(s);
}

#define LAG_SHOWN 2u
#define LAG_SLOTS 6u

struct lag { unsigned listings, seals; };

/* The listings of an epoch's log lag: they show its first slots only. What is asked for by name is there. */
static int lagging_listing(struct hook *h, struct store_req *r)
{
	struct lag *lag = h->user;
	struct store_req below;
	size_t i, kept = 0;
	uint64_t epoch, slot;

	if (!atomic_load(&h->away))
		return 0;
	if (r->op == STORE_PUT && strncmp(r->key, "log/0000000001/", 15) == 0)
		lag->seals++;
	if (r->op != STORE_LIST || strcmp(r->key, "log/0000000001/") != 0)
		return 0;
	if (++lag->listings > 100)
		return ERR_UNAVAILABLE; /* it would go on for ever */
	store_req_init(&below, STORE_LIST);
	below.key = r->key;
	below.start_after = r->start_after;
	below.delimiter = r->delimiter;
	r->result = store_call(h->below, &below);
	for (i = 0; i < below.entry_count; i++) {
		if (!object_parse_slot_key(below.entries[i].key, &epoch, &slot))
			fail_msg("%s", below.entries[i].key);
		if (slot <= LAG_SHOWN)
			below.entries[kept++] = below.entries[i];
		else
			free(below.entries[i].key);
	}
	r->entries = below.entries;
	r->entry_count = kept;
	return HOOK_ANSWERED;
}

/*
 * Recovery goes by listings for speed only: where they lag for good, each refused seal says that there is a slot more, and that is read;
 * and what the heartbeat knows to be acknowledged is looked for by name before it is called damage.
 */
static void lagging_open(struct world *w, bool released)
{
	struct volume_options o;
	struct lag lag = { 0 };
	char name[16];
	struct hook h;
	struct vol t;
	unsigned i;

	hook_init(&h, w, lagging_listing);
	h.user = &lag;
	vol_options(&o, "a");
	o.commit_interval_ms = 60000;
	world_must_open(&t, w, &h.s, "a", &o);
	for (i = 1; i <= LAG_SLOTS; i++) {
		snprintf(name, sizeof name, "f%u", i);
		file_put(&t, name, 1000, i);
		assert_int_equal(vol_sync(&t), 0);
	}
	assert_true(vol_status(&t).slot >= LAG_SLOTS);
	assert_int_equal(vol_close(&t, released), 0);
	atomic_store(&h.away, true);
	vol_options(&o, "b");
	o.takeover = true;
	world_must_open(&t, w, &h.s, "b", &o);
	for (i = 1; i <= LAG_SLOTS; i++) {
		snprintf(name, sizeof name, "f%u", i);
		file_check(&t, name, 1000, i);
	}
	assert_true(lag.listings > 0 && lag.listings <= 3 * LAG_SLOTS);
	assert_true(lag.seals > 0 && lag.seals <= LAG_SLOTS + 2);
	assert_int_equal(vol_close(&t, true), 0);
}

static void test_listing_lags_behind_seal(void **state)
{
	lagging_open(*state, false);
}

static void test_listing_lags_behind_heartbeat(void **state)
{
	lagging_open(*state, true);
}

static size_t anonymous_bytes(void)
{
	char line[128];
	size_t kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "RssAnon: %zu kB", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

#define XATTR_FILES 1600u
#define XATTR_BYTES 60000u

/* V9: an outage without a bound on the lag. What waits for the store is on the disk, not in memory, and all of it arrives. */
static void test_outage_takes_disk_not_memory(void **state)
{
	struct world *w = *state;
	struct volume_cred cred = { 0 };
	struct volume_options o;
	struct volume_attr a;
	struct hook h;
	struct vol t;
	uint8_t *val = malloc(XATTR_BYTES), *got = malloc(XATTR_BYTES);
	uint64_t ino[XATTR_FILES];
	char name[16];
	size_t before, after, len;
	unsigned i;
	int rc;

	hook_init(&h, w, hook_away_cuts);
	vol_options(&o, "a");
	o.max_lag_ms = UINT64_MAX;
	o.cache_bytes = 2ull << 30;
	world_must_open(&t, w, &h.s, "a", &o);
	atomic_store(&h.away, true);
	before = 0;
	for (i = 0; i < XATTR_FILES; i++) {
		snprintf(name, sizeof name, "x%u", i);
		VOL_CALL(rc, q, volume_mknod(t.v, VOLUME_ROOT_INO, name, strlen(name), S_IFREG | 0600, 0, &cred, &a, q));
		assert_int_equal(rc, 0);
		ino[i] = a.ino;
		file_fill(val, XATTR_BYTES, i);
		VOL_CALL(rc, q, volume_setxattr(t.v, a.ino, "user.x", val, XATTR_BYTES, 0, q));
		assert_int_equal(rc, 0);
		if (i == XATTR_FILES / 4) {
			assert_int_equal(vol_fsync(&t), 0);
			before = anonymous_bytes();
		}
	}
	assert_int_equal(vol_fsync(&t), 0);
	after = anonymous_bytes();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* 72 MB went into the log in between */
	if (after > before + (24u << 20))
		fail_msg("%zu MiB of memory before, %zu after", before >> 20, after >> 20);
#else
	(void)before;
	(void)after;
#endif
	vol_close(&t, false);
	world_must_open(&t, w, &h.s, "a", &o); /* the same tail, taken up; its changes are in no memory either */
	atomic_store(&h.away, false);
	assert_int_equal(vol_close(&t, true), 0);
	o.read_only = true;
	world_must_open(&t, w, &h.s, "r", &o);
	for (i = 0; i < XATTR_FILES; i++) {
		file_fill(val, XATTR_BYTES, i);
		assert_int_equal(volume_getxattr(t.v, ino[i], "user.x", got, XATTR_BYTES, &len), 0);
		assert_int_equal(len, XATTR_BYTES);
		assert_memory_equal(got, val, XATTR_BYTES);
	}
	vol_close(&t, false);
	free(val);
	free(got);
}

/* Answers the first listing of the tip's slots without the first of them, as one that raced with the writer may. */
static int torn_list(struct hook *h, struct store_req *r)
{
	struct store_req q;

	if (r->op != STORE_LIST || strncmp(r->key, "log/0000000001/", 15) != 0 || !r->start_after ||
	    strcmp(r->start_after, "log/0000000001/000000000000") != 0 || atomic_fetch_add(&h->stage, 1) != 1)
		return 0;
	store_req_init(&q, STORE_LIST);
	q.key = r->key;
	q.start_after = r->start_after;
	assert_int_equal(store_call(h->below, &q), 0);
	assert_true(q.entry_count > 1);
	free(q.entries[0].key);
	memmove(q.entries, q.entries + 1, --q.entry_count * sizeof *q.entries);
	r->entries = q.entries;
	r->entry_count = q.entry_count;
	return HOOK_ANSWERED;
}

/* V1 has a hole refused; what a listing of two moments shows is none. */
static void test_listing_of_two_moments(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct hook plain, torn;
	struct vol t, r;
	unsigned i;
	char name[16];

	hook_init(&plain, w, NULL);
	hook_init(&torn, w, torn_list);
	vol_options(&o, "a");
	world_must_open(&t, w, &plain.s, "a", &o);
	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "f%u", i);
		file_put(&t, name, 1000, i);
		assert_int_equal(vol_sync(&t), 0);
	}
	vol_options(&o, "r");
	o.read_only = true;
	world_must_open(&r, w, &torn.s, "r", &o);
	assert_true(atomic_load(&torn.stage) > 1);
	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "f%u", i);
		file_check(&r, name, 1000, i);
	}
	vol_close(&r, false);
	/* and a real hole stays one */
	assert_int_equal(store_delete(w->mem, "log/0000000001/000000000001"), 0);
	assert_int_equal(world_open(&r, w, &plain.s, "r", &o), ERR_DAMAGED);
	vol_close(&t, false);
}

/* Rule 9: what a writer goes by is what its opening record tells a taker to wait for, however long. */
static void test_long_lease_is_written_whole(void **state)
{
	struct world *w = *state;
	struct object_footer f;
	struct volume_options o;
	struct store_req req;
	struct hook h;
	struct vol t;

	hook_init(&h, w, NULL);
	vol_options(&o, "a");
	o.max_lag_ms = (1ull << 32) + 5;
	world_must_open(&t, w, &h.s, "a", &o);
	assert_int_equal(store_get(w->mem, "log/0000000001/000000000000", &req), 0);
	assert_int_equal(object_decode_footer(req.data, req.data_len, req.data_len, &f), 0);
	store_req_reset(&req);
	assert_true(f.fence_lease_ms == UINT32_MAX - 1);
	assert_int_equal(vol_close(&t, true), 0);
}

/* A server that has forgotten what If-None-Match means. */
static int forgetful(struct hook *h, struct store_req *r)
{
	(void)h;
	r->if_none_match = false;
	return 0;
}

/* Rule 5: no writable mount where creates are not refused; and looking does no harm. */
static void test_fencing_is_checked_at_mount(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct store_req before, after;
	struct hook good, bad;
	struct vol t;

	hook_init(&good, w, NULL);
	hook_init(&bad, w, forgetful);
	vol_options(&o, "a");
	world_must_open(&t, w, &good.s, "a", &o);
	file_put(&t, "kept", 1000, 1);
	assert_int_equal(vol_close(&t, true), 0);
	assert_int_equal(store_get(w->mem, "volume", &before), 0);
	assert_int_equal(world_open(&t, w, &bad.s, "a", &o), ERR_NO_FENCING);
	assert_int_equal(store_get(w->mem, "volume", &after), 0);
	assert_int_equal(before.data_len, after.data_len);
	assert_memory_equal(before.data, after.data, before.data_len);
	store_req_reset(&before);
	store_req_reset(&after);
	assert_int_equal(store_get(w->mem, "epochs/0000000002", &after), -ENOENT);
	store_req_reset(&after);
	world_must_open(&t, w, &good.s, "a", &o);
	file_check(&t, "kept", 1000, 1);
	assert_int_equal(vol_close(&t, true), 0);
}

static uint64_t backwards_real(struct env *e)
{
	static _Atomic uint64_t calls;

	(void)e;
	return 2000000000000000000u - 1000000000u * atomic_fetch_add(&calls, 1);
}

static uint64_t true_boot(struct env *e)
{
	(void)e;
	return env_system()->boot_ns(env_system());
}

static void true_random(struct env *e, void *p, size_t len)
{
	(void)e;
	env_system()->random(env_system(), p, len);
}

static int note_time(void *user, const struct store_entry *e)
{
	struct { struct store *s; uint64_t last, count; } *n = user;
	struct object_footer f;
	struct store_req req;

	assert_int_equal(store_get(n->s, e->key, &req), 0);
	assert_int_equal(object_decode_footer(req.data, req.data_len, req.data_len, &f), 0);
	store_req_reset(&req);
	if (f.type != OBJECT_SEAL) {
		assert_true(f.commit_real_ns > n->last);
		n->last = f.commit_real_ns;
		n->count++;
	}
	return 0;
}

/* Rule 16: a clock that only goes back, and commit times that only grow, over cuts and epochs. */
static void test_commit_times_grow(void **state)
{
	struct world *w = *state;
	struct env env = { .boot_ns = true_boot, .real_ns = backwards_real, .random = true_random };
	struct { struct store *s; uint64_t last, count; } n = { .s = w->mem };
	struct volume_options o;
	struct hook h;
	struct faulty f;
	unsigned round, i;

	hook_init(&h, w, NULL);
	vol_options(&o, "a");
	o.env = &env;
	for (round = 0; round < 3; round++) {
		faulty_open(&f, w, &h.s, "a", &o);
		for (i = 0; i < 4; i++) {
			file_put(&f.t, "f", 1000, i);
			assert_int_equal(vol_sync(&f.t), 0);
		}
		faulty_close(&f);
	}
	assert_int_equal(store_list_all(w->mem, "log/", NULL, note_time, &n), 0);
	assert_true(n.count >= 15);
}

static int count_gets(struct hook *h, struct store_req *r)
{
	if (r->op == STORE_GET && strncmp(r->key, "log/", 4) == 0)
		atomic_fetch_add(&h->stage, 1);
	return 0;
}

/* V7: neither many cuts nor many short epochs make a mount read more than the bound. */
static void test_recovery_is_bounded(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct hook plain, counting;
	struct vol t;
	unsigned i;

	hook_init(&plain, w, NULL);
	hook_init(&counting, w, count_gets);
	vol_options(&o, "a");
	world_must_open(&t, w, &plain.s, "a", &o);
	for (i = 0; i < 700; i++) {
		file_put(&t, "f", 100, i);
		assert_int_equal(vol_sync(&t), 0);
	}
	for (i = 0; i < 300 && vol_status(&t).checkpoints < 1; i++)
		usleep(10000);
	assert_true(vol_status(&t).checkpoints >= 1);
	assert_int_equal(vol_close(&t, false), 0);
	o.read_only = true;
	world_must_open(&t, w, &counting.s, "r", &o);
	file_check(&t, "f", 100, 699);
	vol_close(&t, false);
	assert_true(atomic_load(&counting.stage) < 512 + 64);
	o.read_only = false;
	for (i = 0; i < 40; i++) { /* a crash loop; a tick each, for the checkpoint that is due now and then */
		world_must_open(&t, w, &plain.s, "a", &o);
		usleep(i % 8 == 7 ? 150000 : 0);
		assert_int_equal(vol_close(&t, false), 0);
	}
	atomic_store(&counting.stage, 0);
	o.read_only = true;
	world_must_open(&t, w, &counting.s, "r", &o);
	file_check(&t, "f", 100, 699);
	vol_close(&t, false);
	assert_true(atomic_load(&counting.stage) < 120);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_failed_sync_before_the_prefix, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_failed_sync_is_remembered, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_restart_with_a_full_budget, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_adopted_tail_keeps_its_age, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_listing_of_two_moments, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_outage_takes_disk_not_memory, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_fencing_is_checked_at_mount, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_lease_of_the_one_before, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_long_lease_is_written_whole, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_bad_answer_is_no_seal, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_listing_lags_behind_seal, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_listing_lags_behind_heartbeat, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_commit_times_grow, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_recovery_is_bounded, world_setup, world_teardown),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
