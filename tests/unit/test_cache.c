/*
 * test_cache.c - the segment cache: fetching, files that lie, a disk that fails, budget and eviction, waiting.
 */
#include "../lib/cache_world.h"

/* --- fetching --- */

static void test_fetch(void **state)
{
	struct segment_ref r, s;
	uint64_t rng = 1;
	int i;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, 8 * MIB, NULL);
	s = make_object(2, 300001, NULL);
	check(&r, 5, 10);
	assert_int_equal(gets(), 2); /* table, one block */
	check(&r, 100, 4000);
	assert_int_equal(gets(), 0);
	check(&r, 0, 8 * MIB);
	assert_int_equal(gets(), 8); /* the other 127 blocks, 1 MiB at a time */
	for (i = 0; i < 200; i++) {
		uint32_t at = (uint32_t)rng_below(&rng, s.data_len), len = 1 + (uint32_t)rng_below(&rng, s.data_len - at);

		check(&s, at, len);
	}
	check(&s, s.data_len - 1, 1);
	assert_true(gets() <= 1 + 5 * 2);
	reopen_cache(64 * MIB);
	check(&r, 0, 8 * MIB);
	check(&s, 0, s.data_len);
	assert_int_equal(gets(), 0); /* all still there */
	assert_true(status().hits > 0);
}

static void test_outside(void **state)
{
	struct segment_ref r;
	uint8_t b[16];

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, 1000, NULL);
	assert_int_equal(read_raw(&r, 1000, 1, b), ERR_CORRUPT);
	assert_int_equal(read_raw(&r, 0xfffffff0u, 16, b), ERR_CORRUPT);
	assert_int_equal(cache_read(c, &r, 0, 10, b, NULL), -EAGAIN);
	assert_int_equal(cache_read(c, &r, 0, 0, b, NULL), 0);
	assert_int_equal(gets(), 0);
	check(&r, 0, 1000);
	assert_int_equal(cache_read(c, &r, 0, 10, b, NULL), 0);
}

static void test_elided(void **state)
{
	bool live[SEGMENT_GRANULES];
	struct segment_ref r;
	uint8_t b[4096];
	unsigned i;

	(void)state;
	open_cache(64 * MIB, false);
	for (i = 0; i < SEGMENT_GRANULES; i++)
		live[i] = i % 2 && i < 32;
	r = make_object(1, 3 * BLOCK_BYTES, live);
	check(&r, 4096, 4096);
	assert_int_equal(read_raw(&r, 0, 10, b), ERR_CORRUPT);            /* a granule of a fetched block */
	assert_int_equal(read_raw(&r, 2 * BLOCK_BYTES, 10, b), ERR_CORRUPT); /* a block that is not there at all */
	check(&r, 3 * 4096 + 5, 100);
}

static void test_bad_answers(void **state)
{
	struct segment_ref r;
	uint8_t b[100];

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	shim_mode(SHIM_SPOIL, 1); /* the table, once */
	check(&r, 0, 100);
	assert_int_equal(gets(), 3);
	shim_mode(SHIM_SPOIL, 1); /* a block, once */
	check(&r, 70000, 100);
	assert_int_equal(gets(), 2);
	shim_mode(SHIM_SHORTEN, 1);
	check(&r, 140000, 100);
	shim_mode(SHIM_SPOIL, 2);
	assert_int_equal(read_raw(&r, 210000, 100, b), ERR_CORRUPT);
	check(&r, 0, 100); /* what is there is not affected */
	shim_mode(SHIM_SHORTEN, 2);
	assert_int_equal(read_raw(&r, 210000, 100, b), ERR_CORRUPT);
	shim_mode(SHIM_PASS, 0);
	check(&r, 210000, 100);

	r = make_object(2, MIB, NULL);
	shim_mode(SHIM_SPOIL, 100);
	assert_int_equal(read_raw(&r, 0, 100, b), ERR_CORRUPT);
	shim_mode(SHIM_SHORTEN, 100);
	assert_int_equal(read_raw(&r, 0, 100, b), ERR_CORRUPT);
	shim_mode(SHIM_PASS, 0);
	check(&r, 0, MIB);
}

static void test_missing(void **state)
{
	struct segment_ref r;
	char key[OBJECT_KEY_MAX];
	uint8_t b[100];

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	object_key_slot(r.epoch, r.slot, key);
	check(&r, 0, 100);
	assert_int_equal(store_delete(shim.below, key), 0);
	assert_int_equal(read_raw(&r, 100000, 100, b), ERR_DAMAGED);
	check(&r, 0, 100);
	cache_drop(c, r.id);
	assert_int_equal(read_raw(&r, 200000, 100, b), ERR_DAMAGED);
}

/* --- the files lie --- */

static void test_damaged_files(void **state)
{
	static const uint64_t where[] = { 0, 20, 4096, 5000, 12000, SEGMENT_DATA_OFFSET, SEGMENT_DATA_OFFSET + 70001,
					  SEGMENT_DATA_OFFSET + 299999 };
	struct segment_ref r, s;
	char a[128], b[128], t[140];
	size_t i;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, 300000, NULL);
	s = make_object(2, 300000, NULL);
	check(&r, 0, 300000);
	check(&s, 0, 300000);
	for (i = 0; i < CL_ARRAY_LEN(where); i++) {
		spoil_file(1, where[i], 0x40); /* while it is open, and then for a fresh start */
		check(&r, 0, 300000);
		reopen_cache(64 * MIB);
		check(&r, 0, 300000);
		spoil_file(1, where[i], 0x40);
		reopen_cache(64 * MIB);
		check(&r, 0, 300000);
	}
	spoil_file(1, SEGMENT_DATA_OFFSET + 5, 1);
	check(&r, 0, 300000);
	assert_true(status().repaired >= 1);
	gets();
	check(&r, 0, 300000);
	assert_int_equal(gets(), 0); /* repaired in the file too */

	seg_path(1, a, sizeof(a));
	seg_path(2, b, sizeof(b));
	assert_int_equal(truncate(a, SEGMENT_DATA_OFFSET + 100000), 0);
	check(&r, 0, 300000);
	cache_close(c);
	c = NULL;
	(void)snprintf(t, sizeof(t), "%s.x", a);
	assert_int_equal(rename(a, t), 0);
	assert_int_equal(rename(b, a), 0);
	assert_int_equal(rename(t, b), 0);
	open_cache(64 * MIB, false);
	check(&r, 0, 300000);
	check(&s, 0, 300000);
	cache_close(c);
	c = NULL;
	assert_int_equal(truncate(a, 10), 0);
	assert_int_equal(truncate(b, 0), 0);
	open_cache(64 * MIB, false);
	check(&r, 0, 300000);
	check(&s, 0, 300000);
}

static void test_file_gone(void **state)
{
	struct segment_ref r;
	char a[128];

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, 300000, NULL);
	check(&r, 0, 300000);
	reopen_cache(64 * MIB);
	seg_path(1, a, sizeof(a));
	assert_int_equal(unlink(a), 0);
	check(&r, 0, 300000);
	gets();
	check(&r, 0, 300000);
	assert_int_equal(gets(), 0);
}

static void failing_disk(unsigned ops, int err)
{
	struct segment_ref r[6];
	unsigned i;

	open_cache(64 * MIB, false);
	r[0] = make_object(100, 500000, NULL);
	check(&r[0], 0, 500000);
	fault_disk_fail(d, ops, 0, 1000000, err);
	for (i = 1; i < 6; i++) {
		r[i] = make_object(i, 500000, NULL);
		check(&r[i], 0, 500000);
		check(&r[i], 77, 130000);
	}
	check(&r[0], 0, 500000);
	assert_true(fault_disk_calls(d) > 0);
	fault_disk_fail(d, 0, 0, 0, 0);
	for (i = 0; i < 6; i++)
		check(&r[i], 0, 500000);
	gets();
	for (i = 0; i < 6; i++)
		check(&r[i], 0, 500000);
	assert_int_equal(gets(), 0); /* the disk is well: all is cached now */
	cache_close(c);
	c = NULL;
}

/* A file that cannot be opened for a moment is there all the same, and takes its space of the budget. */
static void test_unopenable_counts(void **state)
{
	struct segment_ref r;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, 5000000, NULL);
	check(&r, 0, 5000000);
	reopen_cache(64 * MIB);
	assert_true(fault_disk_usage(d) <= status().used_bytes);
	fault_disk_fail(d, FAULT_OPEN, 0, 1, -EMFILE);
	check(&r, 0, 100000);
	fault_disk_fail(d, 0, 0, 0, 0);
	assert_true(fault_disk_usage(d) <= status().used_bytes);
}

static void test_disk_fails(void **state)
{
	(void)state;
	failing_disk(FAULT_PWRITE, -ENOSPC);
	failing_disk(FAULT_PWRITE, -EIO);
	failing_disk(FAULT_PREAD, -EIO);
	failing_disk(FAULT_OPEN, -EMFILE);
	failing_disk(FAULT_OPEN | FAULT_PREAD | FAULT_PWRITE | FAULT_UNLINK, -EIO);
}

/* --- budget and eviction --- */

static void run_load(uint64_t budget, unsigned threads, unsigned reads, bool with_log)
{
	struct segment_ref refs[24];
	struct load l[4];
	pthread_t t[4], w;
	atomic_bool stop = false;
	void *peak;
	unsigned i;

	open_cache(budget, false);
	for (i = 0; i < 24; i++)
		refs[i] = make_object(i + 1, 1000000 + i * 50000, NULL);
	assert_int_equal(pthread_create(&w, NULL, watch_budget, &stop), 0);
	for (i = 0; i < threads; i++) {
		l[i] = (struct load){ refs, 24, reads, i + 1 };
		assert_int_equal(pthread_create(&t[i], NULL, load_run, &l[i]), 0);
	}
	for (i = 0; with_log && i < 10; i++) {
		struct segment_header h = { .id = 1000 + i, .salt = i, .epoch = 1, .first_lsn = 1 };
		struct segment *s;

		if (cache_new_log(c, &h, &s) == 0) {
			cache_drop(c, h.id);
			segment_unref(s);
		}
	}
	for (i = 0; i < threads; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	cache_close(c);
	c = NULL;
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(w, &peak), 0);
	print_message("budget %llu, peak %llu\n", (unsigned long long)budget, (unsigned long long)(uintptr_t)peak);
	assert_true((uintptr_t)peak <= budget);
	assert_true((uintptr_t)peak >= budget / 4);
}

static void test_budget(void **state)
{
	(void)state;
	run_load(8 * MIB, 3, 250, false);
}

static void test_budget_with_log(void **state)
{
	(void)state;
	run_load(48 * MIB, 2, 300, true);
}

static void test_tiny_budget(void **state)
{
	struct segment_ref r;

	(void)state;
	open_cache(100000, false); /* a table fits, hardly a block */
	r = make_object(1, 2 * MIB, NULL);
	check(&r, 0, 2 * MIB);
	check(&r, 5, 100000);
	assert_true(fault_disk_usage(d) <= 100000);
	cache_close(c);
	open_cache(1000, false);
	r = make_object(2, MIB, NULL);
	check(&r, 0, MIB);
	check(&r, 70000, 1);
}

/* Segments that are read again and again stay while a scan five times the budget goes by. */
static void test_scan_resistance(void **state)
{
	struct segment_ref hot[8], cold[50];
	unsigned i, j, hot_gets = 0;

	(void)state;
	open_cache(10 * MIB, true);
	for (i = 0; i < 8; i++)
		hot[i] = make_object(i + 1, 500000, NULL);
	for (i = 0; i < 50; i++)
		cold[i] = make_object(i + 100, 1000000, NULL);
	for (j = 0; j < 3; j++) {
		for (i = 0; i < 8; i++)
			check(&hot[i], 0, 500000);
		atomic_fetch_add(&clock_offset, 6000000000u);
	}
	for (i = 0; i < 50; i++) {
		for (j = 0; j < 1000000; j += 100000) /* in many small reads, as a scan has it */
			check(&cold[i], j, 100000);
		if (i % 10 == 5) {
			gets();
			check(&hot[i / 10], 0, 500000);
			hot_gets += gets();
		}
	}
	gets();
	for (i = 0; i < 8; i++)
		check(&hot[i], 0, 500000);
	hot_gets += gets();
	assert_int_equal(hot_gets, 0);
	assert_true(status().evictions >= 35);
	/* The reverse: what was hot and is not any more goes at last. */
	for (j = 0; j < 12; j++) {
		atomic_fetch_add(&clock_offset, 6000000000u);
		for (i = 0; i < 30; i++) /* more than fetched blocks in memory can hide */
			check(&cold[i], 0, 900000);
	}
	gets();
	for (i = 0; i < 8; i++)
		check(&hot[i], 0, 500000);
	assert_true(gets() > 0);
}

static void test_descriptors(void **state)
{
	struct segment_ref *r = calloc(700, sizeof(*r));
	unsigned i, round;

	(void)state;
	open_cache(500 * MIB, true);
	for (i = 0; i < 700; i++)
		r[i] = make_object(i + 1, 5000, NULL);
	for (round = 0; round < 2; round++)
		for (i = 0; i < 700; i++)
			check(&r[i], 0, 5000);
	assert_true(fault_disk_open_peak(d) <= CACHE_OPEN_MAX);
	gets();
	reopen_cache(500 * MIB);
	for (i = 0; i < 700; i++)
		check(&r[i], 0, 5000);
	assert_int_equal(gets(), 0);
	assert_true(fault_disk_open_peak(d) <= CACHE_OPEN_MAX);
	free(r);
}

/* --- waiting --- */

struct reader { const struct segment_ref *r; uint32_t at, len; };

static void *reader_run(void *arg)
{
	struct reader *p = arg;

	check(p->r, p->at, p->len);
	return NULL;
}

static void test_shared_fetch(void **state)
{
	struct segment_ref r;
	struct reader p[8];
	pthread_t t[8];
	unsigned i;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	shim_mode(SHIM_HOLD, 0);
	for (i = 0; i < 8; i++) {
		p[i] = (struct reader){ &r, i * 100, 5000 };
		assert_int_equal(pthread_create(&t[i], NULL, reader_run, &p[i]), 0);
	}
	while (status().misses < 8)
		usleep(1000);
	assert_int_equal(held(), 1); /* the table, once for all */
	shim_mode(SHIM_HOLD, 0);     /* lets it go, and holds the block */
	while (held() == 0)
		usleep(1000);
	usleep(20000);
	assert_int_equal(held(), 1);
	shim_mode(SHIM_PASS, 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(gets(), 2);
}

static void test_away_and_back(void **state)
{
	struct segment_ref r;
	struct reader p;
	pthread_t t;
	uint8_t b[10];
	int tries = 0;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	check(&r, 0, 10);
	gets();
	shim_mode(SHIM_AWAY, 0);
	p = (struct reader){ &r, 500000, 100 };
	assert_int_equal(pthread_create(&t, NULL, reader_run, &p), 0);
	while (tries < 3) {
		usleep(10000);
		tries += (int)gets();
		assert_int_equal(cache_read(c, &r, 0, 10, b, NULL), 0); /* what is cached is served */
	}
	shim_mode(SHIM_PASS, 0);
	assert_int_equal(pthread_join(t, NULL), 0);
}

static void test_deadline(void **state)
{
	struct segment_ref r;
	struct waiting p, q;
	uint64_t start;
	uint8_t b[10];

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	shim_mode(SHIM_AWAY, 0);
	start = env_boot(NULL);
	waiting_init(&p, start + 300000000);
	waiting_init(&q, 0);
	assert_int_equal(cache_read(c, &r, 0, 10, b, &q.w), ERR_PARKED);
	assert_int_equal(cache_read(c, &r, 0, 10, b, &p.w), ERR_PARKED);
	assert_int_equal(waiting_wait(&p), -EIO);
	assert_true(env_boot(NULL) - start >= 300000000);
	assert_false(is_resumed(&q));
	shim_mode(SHIM_PASS, 0);
	assert_int_equal(waiting_wait(&q), 0);
	check(&r, 0, 10);
	/* While a GET is held, too. */
	shim_mode(SHIM_HOLD, 0);
	waiting_init(&p, env_boot(NULL) + 100000000);
	assert_int_equal(cache_read(c, &r, 500000, 10, b, &p.w), ERR_PARKED);
	assert_int_equal(waiting_wait(&p), -EIO);
	shim_mode(SHIM_PASS, 0);
	check(&r, 500000, 10);
	assert_int_equal(p.count, 1);
}

/* However long the store was away: whoever waits with a deadline sees it tried. */
static void test_deadline_sees_a_try(void **state)
{
	struct segment_ref r;
	struct waiting p;
	uint8_t b[10];

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	shim_mode(SHIM_AWAY, 0);
	for (unsigned i = 0; i < 6; i++) {
		waiting_init(&p, env_boot(NULL) + 400000000);
		gets();
		assert_int_equal(cache_read(c, &r, 0, 10, b, &p.w), ERR_PARKED);
		assert_int_equal(waiting_wait(&p), -EIO);
		assert_true(gets() > 0);
	}
	shim_mode(SHIM_PASS, 0);
	check(&r, 0, 10);
}

static void *release_soon(void *arg)
{
	usleep(50000);
	shim_mode(SHIM_PASS, 0);
	return arg;
}

static void test_close_while_fetching(void **state)
{
	struct segment_ref r, s;
	struct waiting p, q;
	uint8_t b[10];
	pthread_t t;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, MIB, NULL);
	s = make_object(2, MIB, NULL);
	waiting_init(&p, 0);
	waiting_init(&q, 0);
	shim_mode(SHIM_AWAY, 0);
	assert_int_equal(cache_read(c, &r, 0, 10, b, &p.w), ERR_PARKED);
	while (gets() == 0) /* it waits for its next try now, or soon */
		usleep(1000);
	usleep(10000);
	shim_mode(SHIM_HOLD, 0);
	assert_int_equal(cache_read(c, &s, 0, 10, b, &q.w), ERR_PARKED);
	cache_prefetch(c, &s, 500000, 100000);
	assert_int_equal(pthread_create(&t, NULL, release_soon, NULL), 0);
	cache_close(c);
	c = NULL;
	assert_int_equal(waiting_wait(&p), -ESHUTDOWN);
	assert_int_equal(waiting_wait(&q), -ESHUTDOWN);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(p.count + q.count, 2);
}

static void test_prefetch(void **state)
{
	struct segment_ref r;

	(void)state;
	open_cache(64 * MIB, false);
	r = make_object(1, 2 * MIB, NULL);
	cache_prefetch(c, &r, MIB, 10 * MIB);
	while (status().fetched_bytes < MIB)
		usleep(1000);
	usleep(20000);
	gets();
	check(&r, MIB, MIB);
	assert_int_equal(gets(), 0);
	cache_prefetch(c, &r, MIB, MIB);
	usleep(20000);
	assert_int_equal(gets(), 0);
	reopen_cache(64 * MIB); /* nothing is known of the file, but it is looked at before the store is */
	cache_prefetch(c, &r, 0, 2 * MIB);
	while (status().fetched_bytes < MIB)
		usleep(1000);
	usleep(20000);
	assert_int_equal(gets(), 1);
	check(&r, 0, 2 * MIB);
	assert_int_equal(gets(), 0);
	shim_mode(SHIM_AWAY, 0); /* dropped, not tried for ever */
	r = make_object(2, MIB, NULL);
	cache_prefetch(c, &r, 0, MIB);
	usleep(400000);
	assert_int_equal(gets(), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_fetch), T(test_outside), T(test_elided), T(test_bad_answers), T(test_missing),
		T(test_damaged_files), T(test_file_gone), T(test_unopenable_counts), T(test_disk_fails), T(test_budget), T(test_budget_with_log),
		T(test_tiny_budget), T(test_scan_resistance), T(test_descriptors), T(test_shared_fetch),
		T(test_away_and_back), T(test_deadline), T(test_deadline_sees_a_try), T(test_close_while_fetching), T(test_prefetch),
	};

	be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
