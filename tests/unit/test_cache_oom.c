/*
 * test_cache_oom.c - the Nth allocation fails, for every N: segments and cache say -ENOMEM or do without, return no
 * wrong byte, and do the same thing right the next time. Allocation is interposed, which sanitizers do themselves: under those
 * the same calls run without failures.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../s3/backends.h"
#include "../lib/rng.h"
#include "cache.h"
#include "compiler.h"
#include "err.h"
#include "logmsg.h"

static atomic_long fail_in; /* 0 = never, 1 = the next one */
static atomic_long failed;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERPOSED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERPOSED 0
#endif
#endif
#ifndef INTERPOSED
#define INTERPOSED 1
#endif

#if INTERPOSED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static bool fails(void)
{
	if (atomic_load(&fail_in) <= 0 || atomic_fetch_sub(&fail_in, 1) != 1)
		return false;
	atomic_fetch_add(&failed, 1);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails() ? NULL : __libc_realloc(p, n);
}
#endif

#define LEN 200000u

static char dir[64];
static struct disk *d;
static struct store *store;
static struct exec *x;
static uint8_t data[LEN], got[LEN];
static struct object_table table;

struct waiting {
	struct volume_wait w;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool resumed;
	int rc;
};

static void resumed(struct volume_wait *w, int rc)
{
	struct waiting *p = CL_CONTAINER_OF(w, struct waiting, w);

	pthread_mutex_lock(&p->mu);
	p->resumed = true;
	p->rc = rc;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->mu);
}

static int read_all(struct cache *c, const struct segment_ref *r)
{
	struct waiting p = { .w.resume = resumed };
	int rc;

	pthread_mutex_init(&p.mu, NULL);
	pthread_cond_init(&p.cond, NULL);
	memset(got, 0x77, sizeof(got));
	do {
		rc = cache_read(c, r, 0, LEN, got, &p.w);
		if (rc != ERR_PARKED)
			break;
		pthread_mutex_lock(&p.mu);
		while (!p.resumed)
			pthread_cond_wait(&p.cond, &p.mu);
		p.resumed = false;
		rc = p.rc;
		pthread_mutex_unlock(&p.mu);
	} while (rc == 0);
	if (rc == 0)
		assert_memory_equal(got, data, LEN);
	return rc;
}

static struct segment_ref make_object(uint64_t id)
{
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 1, .slot = id, .first_lsn = 1, .segment_id = id, .data_len = LEN };
	struct buf b = BUF_INIT;
	struct segment_ref r;
	struct store_req put;
	char key[OBJECT_KEY_MAX];

	assert_int_equal(object_encode_cut(&f, data, NULL, "run", 3, 0, &table, &b), 0);
	object_key_slot(1, id, key);
	assert_int_equal(store_put(store, key, b.data, b.len, true, &put), 0);
	store_req_reset(&put);
	r = (struct segment_ref){ .id = id, .epoch = 1, .slot = id, .object_bytes = b.len, .data_len = LEN,
				  .table_offset = f.table_offset, .table_len = f.table_len };
	memcpy(r.table_hash, f.table_hash, HASH_BYTES);
	buf_free(&b);
	return r;
}

static int count_record(void *user, struct record *r)
{
	(void)r;
	(*(unsigned *)user)++;
	return 0;
}

/* A log segment from birth to commit; each step may say -ENOMEM, and then that is all. */
static int log_life(struct cache *c, uint64_t id, const void *rec, size_t rec_len, uint64_t salt)
{
	struct segment_header h = { .id = id, .salt = salt, .epoch = 1, .first_lsn = 1 };
	struct segment *s, *again;
	uint64_t hash, lsn;
	unsigned records = 0;
	uint32_t at;
	int rc = cache_new_log(c, &h, &s);

	if (rc)
		return rc;
	rc = segment_append_data(s, data, LEN, &at, &hash);
	if (rc == 0)
		rc = segment_append_record(s, rec, rec_len, 1);
	if (rc == 0)
		rc = segment_sync(s, &lsn);
	if (rc == 0) {
		segment_freeze(s);
		rc = segment_open(d, id, &again);
		if (rc == 0) {
			rc = segment_replay(again, count_record, &records);
			if (rc == 0)
				assert_int_equal(records, 1);
			segment_unref(again);
		}
	}
	cache_drop(c, id);
	segment_unref(s);
	return rc;
}

static void expect(int rc)
{
	if (rc && rc != -ENOMEM)
		fail_msg("returned %d (%s), not -ENOMEM", rc, err_text(rc));
}

/* Nothing is left behind by what went wrong. */
static int no_segment(void *user, const char *name)
{
	(void)user;
	return strncmp(name, "seg-", 4) == 0 || strncmp(name, "tmp-", 4) == 0;
}

static void test_every_allocation(void **state)
{
	struct cache_options o = { store, d, env_system(), x, 64u << 20, false };
	struct buf b = BUF_INIT;
	long n, done = 0;
	size_t start;

	(void)state;
	record_begin(&b, &start);
	record_data(&b, start, 0, LEN, hash_xxh3(data, LEN, 5));
	record_finish(&b, start, 1, 1, 0, 5);
	for (n = 1; n <= 600 && done < 3; n++) {
		struct segment_ref r = make_object((uint64_t)n);
		char name[SEGMENT_NAME_BYTES];
		struct cache *c = NULL;

		atomic_store(&failed, 0);
		atomic_store(&fail_in, n);
		expect(cache_open(&o, &c));
		if (c) {
			expect(log_life(c, 1000 + (uint64_t)n, b.data, b.len, 5));
			cache_prefetch(c, &r, 0, LEN / 2);
			expect(read_all(c, &r));
		}
		if (atomic_exchange(&fail_in, 0) > 0)
			done++; /* there were fewer than n */
		if (!c)
			assert_int_equal(cache_open(&o, &c), 0);
		assert_int_equal(read_all(c, &r), 0);
		assert_int_equal(log_life(c, 5000 + (uint64_t)n, b.data, b.len, 5), 0);
		cache_close(c);
		segment_name(r.id, name); /* so that each round finds the same */
		(void)d->unlink(d, name);
		assert_int_equal(d->list(d, "", no_segment, NULL), 0);
	}
	print_message("up to %ld allocations\n", n);
	assert_true(done == 3);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_allocation) };
	int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC), rc;
	char command[128];
	uint64_t rng = 3;

	rng_fill(&rng, data, sizeof(data));
	if (quiet >= 0)
		logmsg_set_fd(quiet);
	(void)snprintf(dir, sizeof(dir), "%s/clonelove-cache-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir) || disk_posix_open(dir, &d) || store_mem_open(1, &store) || exec_threads_start(2, &x))
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	exec_threads_stop(x);
	store_close(store);
	disk_posix_close(d);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) ? 1 : rc;
}
