/* hook.c - see hook.h. */
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

#include "backends.h"
#include "err.h"
#include "hook.h"
#include "object.h"

static void hook_submit(struct store *s, struct store_req *r)
{
	struct hook *h = (struct hook *)s;
	int rc = h->before ? h->before(h, r) : 0;

	if (!rc) {
		h->below->submit(h->below, r);
		return;
	}
	if (rc != HOOK_ANSWERED) {
		r->result = rc;
		r->ambiguous = r->op == STORE_PUT;
		snprintf(r->detail, sizeof r->detail, "made to fail");
	}
	r->done(r);
}

static void hook_counters(struct store *s, struct store_counters *ret)
{
	(void)s;
	memset(ret, 0, sizeof *ret);
}

static void hook_close(struct store *s)
{
	(void)s;
}

void hook_init(struct hook *h, struct world *w, int (*before)(struct hook *h, struct store_req *r))
{
	memset(h, 0, sizeof *h);
	h->s = (struct store){ .kind = "hook", .address = "mem://", .submit = hook_submit, .wait = store_wait_threads,
			       .counters = hook_counters, .close = hook_close };
	h->below = w->mem;
	h->w = w;
	h->before = before;
}

int hook_away_puts(struct hook *h, struct store_req *r)
{
	return r->op == STORE_PUT && atomic_load(&h->away) && strstr(r->key, h->pattern) ? ERR_UNAVAILABLE : 0;
}

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w)
		return -1;
	strcpy(w->base, "/tmp/test_volume_review.XXXXXX");
	if (!mkdtemp(w->base) || store_mem_open(0, &w->mem) || volume_format(w->mem, env_system(), false, 1))
		return -1;
	*state = w;
	return 0;
}

int world_teardown(void **state)
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

int world_open(struct vol *t, struct world *w, struct store *s, const char *dir, const struct volume_options *o)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", w->base, dir);
	return vol_open(t, s, path, o);
}

void world_must_open(struct vol *t, struct world *w, struct store *s, const char *dir, const struct volume_options *o)
{
	int rc = world_open(t, w, s, dir, o);

	if (rc)
		fail_msg("open on %s: %s: %s", dir, err_text(rc), err_last());
}

void file_fill(uint8_t *p, size_t n, unsigned seed)
{
	size_t i;

	for (i = 0; i < n; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (uint8_t)(seed >> 16);
	}
}

void file_put(struct vol *t, const char *name, size_t len, unsigned seed)
{
	uint8_t *p = malloc(len + 1);

	file_fill(p, len, seed);
	assert_int_equal(vol_put_file(t, name, p, len), 0);
	free(p);
}

void file_check(struct vol *t, const char *name, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len + 1), *got;
	size_t n;
	int rc = vol_get_file(t, name, &got, &n);

	if (rc)
		fail_msg("%s: %s: %s", name, err_text(rc), err_last());
	file_fill(want, len, seed);
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
	free(want);
	free(got);
}

struct volume_status vol_status(struct vol *t)
{
	struct volume_status st;

	volume_status(t->v, &st);
	return st;
}

/* A cut without waiting for it. */
struct vol_wait *vol_start_sync(struct vol *t)
{
	struct vol_wait *w = vol_wait_new();

	assert_int_equal(volume_sync(t->v, vol_wait_of(w)), ERR_PARKED);
	return w;
}

void faulty_open(struct faulty *f, struct world *w, struct store *s, const char *dir, const struct volume_options *o)
{
	struct volume_options own = *o;
	char path[128], meta[160];
	int rc;

	memset(f, 0, sizeof *f);
	snprintf(path, sizeof path, "%s/%s", w->base, dir);
	assert_int_equal(disk_posix_open(path, &f->t.disk), 0);
	f->fault = fault_disk_new(f->t.disk);
	assert_non_null(f->fault);
	snprintf(meta, sizeof meta, "%s/meta", path);
	mkdir(meta, 0700);
	assert_int_equal(exec_threads_start(4, &f->t.exec), 0);
	own.store = s;
	own.disk = f->fault;
	own.env = o->env ? o->env : env_system();
	own.exec = f->t.exec;
	own.meta_dir = meta;
	rc = volume_open(&own, &f->t.v);
	if (rc)
		fail_msg("open on %s: %s: %s", dir, err_text(rc), err_last());
}

void faulty_close(struct faulty *f)
{
	volume_close(f->t.v, false, NULL, NULL);
	exec_threads_stop(f->t.exec);
	fault_disk_close(f->fault);
	disk_posix_close(f->t.disk);
}

/* Cuts; what opens and seals epochs goes through. */
int hook_away_cuts(struct hook *h, struct store_req *r)
{
	enum object_type type;
	uint64_t epoch, slot;
	uint8_t id[ID_BYTES];

	if (r->op != STORE_PUT || !atomic_load(&h->away) || strncmp(r->key, "log/", 4) != 0 || r->body[0].iov_len < OBJECT_HEAD_BYTES)
		return 0;
	assert_int_equal(object_decode_head(r->body[0].iov_base, OBJECT_HEAD_BYTES, &type, &epoch, &slot, id), 0);
	return type == OBJECT_CUT ? ERR_UNAVAILABLE : 0;
}
