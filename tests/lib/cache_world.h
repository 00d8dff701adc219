/*
 * cache_world.h - a segment cache over a store in memory and a real directory, for its tests (each includes it once).
 *
 * `shim` stands between cache and store: it counts GETs, holds them back, says that the store is away, or spoils what
 * comes back. Every read is compared with the bytes that were put into the object.
 */
#ifndef CLONELOVE_TEST_CACHE_WORLD_H
#define CLONELOVE_TEST_CACHE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../s3/backends.h"
#include "fault_disk.h"
#include "rng.h"
#include "cache.h"
#include "compiler.h"
#include "err.h"
#include "logmsg.h"

#define MIB (1u << 20)
#define FULL_FILE (SEGMENT_DATA_OFFSET + SEGMENT_DATA_MAX + (16u << 10)) /* what a log file is charged */

/* --- the world --- */

enum shim_mode { SHIM_PASS, SHIM_HOLD, SHIM_AWAY, SHIM_SPOIL, SHIM_SHORTEN };

struct shim {
	struct store store, *below;
	pthread_mutex_t mu;
	enum shim_mode mode;
	unsigned spoil_left;
	unsigned gets, held_count;
	struct store_req *held[256];
};

static char dir[64];
static struct disk *posix, *d;
static struct shim shim;
static struct exec *x;
static struct cache *c;
static _Atomic uint64_t clock_offset; /* the cache's clock before the executor's: not where timers are waited for */
static uint64_t next_slot;

static inline void shim_answer(struct store_req *r, unsigned spoil, enum shim_mode how)
{
	struct store_req in;

	store_req_init(&in, r->op);
	in.key = r->key;
	in.range_offset = r->range_offset;
	in.range_length = r->range_length;
	r->result = store_call(shim.below, &in);
	r->data = in.data;
	r->data_len = in.data_len;
	in.data = NULL;
	store_req_reset(&in);
	if (spoil && how == SHIM_SPOIL && r->data_len)
		r->data[r->data_len / 2] ^= 1;
	if (spoil && how == SHIM_SHORTEN && r->data_len)
		r->data_len /= 2;
	r->done(r);
}

static inline void shim_submit(struct store *s, struct store_req *r)
{
	enum shim_mode mode;
	unsigned spoil = 0;

	(void)s;
	pthread_mutex_lock(&shim.mu);
	shim.gets++;
	mode = shim.mode;
	if (mode == SHIM_HOLD) {
		assert_true(shim.held_count < CL_ARRAY_LEN(shim.held));
		shim.held[shim.held_count++] = r;
	}
	if (mode >= SHIM_SPOIL && shim.spoil_left) {
		shim.spoil_left--;
		spoil = 1;
	}
	pthread_mutex_unlock(&shim.mu);
	if (mode == SHIM_AWAY) {
		r->result = ERR_UNAVAILABLE;
		r->done(r);
	} else if (mode != SHIM_HOLD) {
		shim_answer(r, spoil, mode);
	}
}

static inline void shim_mode(enum shim_mode mode, unsigned spoil)
{
	struct store_req *held[256];
	unsigned n, i;

	pthread_mutex_lock(&shim.mu);
	shim.mode = mode;
	shim.spoil_left = spoil;
	n = shim.held_count;
	memcpy(held, shim.held, sizeof(held));
	shim.held_count = 0;
	pthread_mutex_unlock(&shim.mu);
	for (i = 0; i < n; i++)
		shim_answer(held[i], 0, SHIM_PASS);
}

static inline unsigned gets(void)
{
	unsigned n;

	pthread_mutex_lock(&shim.mu);
	n = shim.gets;
	shim.gets = 0;
	pthread_mutex_unlock(&shim.mu);
	return n;
}

static inline unsigned held(void)
{
	unsigned n;

	pthread_mutex_lock(&shim.mu);
	n = shim.held_count;
	pthread_mutex_unlock(&shim.mu);
	return n;
}

static inline uint64_t env_boot(struct env *e)
{
	(void)e;
	return env_system()->boot_ns(env_system()) + atomic_load(&clock_offset);
}

static inline uint64_t env_real(struct env *e)
{
	(void)e;
	return 1;
}

static inline void env_random(struct env *e, void *p, size_t len)
{
	env_system()->random(e, p, len);
}

static struct env env = { env_boot, env_real, env_random };

static inline void open_cache(uint64_t budget, bool read_only)
{
	struct cache_options o = { &shim.store, d, &env, x, budget, read_only };

	assert_int_equal(cache_open(&o, &c), 0);
}

static inline void reopen_cache(uint64_t budget)
{
	cache_close(c);
	open_cache(budget, false);
}

static inline int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/clonelove-cache-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir) || disk_posix_open(dir, &posix))
		return -1;
	d = fault_disk_new(posix);
	memset(&shim, 0, sizeof(shim));
	pthread_mutex_init(&shim.mu, NULL);
	if (store_mem_open(1, &shim.below) || exec_threads_start(3, &x))
		return -1;
	shim.store.kind = "shim";
	shim.store.address = "mem:";
	shim.store.submit = shim_submit;
	shim.store.wait = store_wait_threads;
	atomic_store(&clock_offset, 0);
	next_slot = 1;
	c = NULL;
	return 0;
}

static inline int teardown(void **state)
{
	char command[128];

	(void)state;
	cache_close(c);
	exec_threads_stop(x);
	store_close(shim.below);
	pthread_mutex_destroy(&shim.mu);
	assert_int_equal(fault_disk_open_files(d), 0);
	fault_disk_close(d);
	disk_posix_close(posix);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* --- objects --- */

static inline void fill(uint64_t id, uint8_t *data, uint32_t len)
{
	uint64_t rng = id * 31, *p = (uint64_t *)(void *)data;
	uint32_t i;

	for (i = 0; i < len / 8; i++)
		p[i] = rng_next(&rng);
	memset(data + len / 8 * 8, 7, len % 8);
}

/* An object of len bytes for segment id in the store. */
static inline struct segment_ref make_object(uint64_t id, uint32_t len, const bool *live)
{
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 1, .slot = next_slot++, .first_lsn = 1, .segment_id = id, .data_len = len };
	struct object_table *t = malloc(sizeof(*t));
	uint8_t *data = calloc(1, len + 8);
	struct buf b = BUF_INIT;
	struct segment_ref r;
	struct store_req put;
	char key[OBJECT_KEY_MAX];

	fill(id, data, len);
	assert_int_equal(object_encode_cut(&f, data, live, "run", 3, 0, t, &b), 0);
	object_key_slot(f.epoch, f.slot, key);
	assert_int_equal(store_put(shim.below, key, b.data, b.len, true, &put), 0);
	store_req_reset(&put);
	r = (struct segment_ref){ .id = id, .epoch = 1, .slot = f.slot, .object_bytes = b.len, .data_len = len,
				  .table_offset = f.table_offset, .table_len = f.table_len };
	memcpy(r.table_hash, f.table_hash, HASH_BYTES);
	buf_free(&b);
	free(data);
	free(t);
	return r;
}

/* --- reading --- */

struct waiting {
	struct volume_wait w;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool resumed;
	unsigned count;
};

static inline void resumed(struct volume_wait *w, int rc)
{
	struct waiting *p = CL_CONTAINER_OF(w, struct waiting, w);

	pthread_mutex_lock(&p->mu);
	p->resumed = true;
	p->count++;
	w->rc = rc;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->mu);
}

static inline void waiting_init(struct waiting *p, uint64_t deadline)
{
	memset(p, 0, sizeof(*p));
	p->w.resume = resumed;
	p->w.lsn = deadline;
	pthread_mutex_init(&p->mu, NULL);
	pthread_cond_init(&p->cond, NULL);
}

static inline int waiting_wait(struct waiting *p)
{
	int rc;

	pthread_mutex_lock(&p->mu);
	while (!p->resumed)
		pthread_cond_wait(&p->cond, &p->mu);
	p->resumed = false;
	rc = p->w.rc;
	pthread_mutex_unlock(&p->mu);
	return rc;
}

static inline bool is_resumed(struct waiting *p)
{
	bool r;

	pthread_mutex_lock(&p->mu);
	r = p->resumed;
	pthread_mutex_unlock(&p->mu);
	return r;
}

static inline int read_raw(const struct segment_ref *r, uint32_t at, uint32_t len, uint8_t *buf)
{
	struct waiting p;
	int rc, rounds = 0;

	waiting_init(&p, 0);
	for (;;) {
		rc = cache_read(c, r, at, len, buf, &p.w);
		if (rc != ERR_PARKED)
			return rc;
		rc = waiting_wait(&p);
		if (rc)
			return rc;
		assert_true(++rounds < 1000);
	}
}

static inline void check(const struct segment_ref *r, uint32_t at, uint32_t len)
{
	uint8_t *data = calloc(1, r->data_len + 8), *buf = malloc(len);

	fill(r->id, data, r->data_len);
	memset(buf, 0x55, len);
	assert_int_equal(read_raw(r, at, len, buf), 0);
	assert_memory_equal(buf, data + at, len);
	free(buf);
	free(data);
}

static inline struct cache_status status(void)
{
	struct cache_status s;

	cache_status(c, &s);
	return s;
}

static inline void seg_path(uint64_t id, char *ret, size_t n)
{
	(void)snprintf(ret, n, "%s/seg-%016llx", dir, (unsigned long long)id);
}

static inline void spoil_file(uint64_t id, uint64_t at, uint8_t mask)
{
	char path[128];
	FILE *f;
	int ch;

	seg_path(id, path, sizeof(path));
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
	ch = fgetc(f);
	assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
	(void)fputc(ch == EOF ? mask : ch ^ mask, f);
	assert_int_equal(fclose(f), 0);
}

/* --- load --- */

struct load {
	struct segment_ref *refs;
	unsigned count, reads;
	uint64_t seed;
};

static inline void *load_run(void *arg)
{
	struct load *l = arg;
	uint64_t rng = l->seed;
	unsigned i;

	for (i = 0; i < l->reads; i++) {
		const struct segment_ref *r = &l->refs[rng_below(&rng, l->count)];
		uint32_t at = (uint32_t)rng_below(&rng, r->data_len), len = 1 + (uint32_t)rng_below(&rng, 200000);

		if (len > r->data_len - at)
			len = r->data_len - at;
		if (rng_below(&rng, 4) == 0)
			cache_prefetch(c, r, at, len);
		else
			check(r, at, len);
	}
	return NULL;
}

static inline void *watch_budget(void *arg)
{
	atomic_bool *stop = arg;
	uint64_t peak = 0;

	while (!atomic_load(stop)) {
		uint64_t now = fault_disk_usage(d);

		peak = now > peak ? now : peak;
		usleep(500);
	}
	return (void *)(uintptr_t)peak;
}

static inline void be_quiet(void)
{
	int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC); /* messages about what is broken here on purpose */

	if (quiet >= 0)
		logmsg_set_fd(quiet);
}

#endif
