/*
 * mem.c - a store in memory, for tests.
 *
 * The objects are an array sorted by key, under one mutex that is held for the whole of each request: every request is atomic.
 * A pool of threads carries them out, so that races and the order of answers are as with a real backend.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends.h"
#include "compiler.h"
#include "counters.h"
#include "err.h"
#include "etag.h"
#include "listing.h"
#include "pool.h"

#define DEFAULT_THREADS 4

struct object {
	char *key;
	uint8_t *data;
	size_t len;
	int64_t mtime_s;
	char etag[ETAG_HEX + 1];
};

struct mem {
	struct store store;
	struct counters counters;
	struct pool *pool;
	pthread_mutex_t lock; /* guards what follows */
	struct object **objects;
	size_t count, cap;
};

static struct mem *mem_of(struct store *s)
{
	return CL_CONTAINER_OF(s, struct mem, store);
}

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

/* The index of the first object whose key is at or after `key`. */
static size_t lower_bound(const struct mem *m, const char *key)
{
	size_t lo = 0, hi = m->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(m->objects[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct object *find(const struct mem *m, const char *key)
{
	size_t i = lower_bound(m, key);

	return i < m->count && strcmp(m->objects[i]->key, key) == 0 ? m->objects[i] : NULL;
}

static void object_free(struct object *o)
{
	if (o == NULL)
		return;
	free(o->key);
	free(o->data);
	free(o);
}

/* An object that owns `data`, which is freed on failure too. */
static struct object *object_make(const char *key, uint8_t *data, size_t len)
{
	struct object *o = calloc(1, sizeof(*o));
	struct etag_state *st = etag_begin();

	if (o == NULL || st == NULL || (o->key = strdup(key)) == NULL) {
		free(o);
		etag_free(st);
		free(data);
		return NULL;
	}
	etag_add(st, data, len);
	etag_end(st, o->etag);
	o->data = data;
	o->len = len;
	o->mtime_s = now_s();
	return o;
}

/* Puts o in place of what has its key, if anything. Takes o over when it succeeds. */
static int insert(struct mem *m, struct object *o)
{
	size_t i = lower_bound(m, o->key);

	if (i < m->count && strcmp(m->objects[i]->key, o->key) == 0) {
		object_free(m->objects[i]);
		m->objects[i] = o;
		return 0;
	}
	if (m->count == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 64;
		struct object **objects = realloc(m->objects, cap * sizeof(struct object *));

		if (objects == NULL)
			return -ENOMEM;
		m->objects = objects;
		m->cap = cap;
	}
	memmove(&m->objects[i + 1], &m->objects[i], (m->count - i) * sizeof(struct object *));
	m->objects[i] = o;
	m->count++;
	return 0;
}

static int copy_in(struct mem *m, struct store_req *r, const char *key, uint8_t *data, size_t len)
{
	struct object *o = object_make(key, data, len);

	if (o == NULL)
		return store_fail(r, -ENOMEM, "out of memory");
	if (insert(m, o)) {
		object_free(o);
		return store_fail(r, -ENOMEM, "out of memory");
	}
	memcpy(r->etag, o->etag, sizeof(o->etag));
	return 0;
}

static int mem_put(struct mem *m, struct store_req *r)
{
	const struct object *old = find(m, r->key);
	size_t len = (size_t)store_body_bytes(r), at = 0;
	uint8_t *data;

	if (r->if_none_match && old != NULL)
		return store_fail(r, ERR_PRECONDITION, "there is an object of this key");
	if (r->if_match != NULL && (old == NULL || strcmp(old->etag, r->if_match) != 0))
		return store_fail(r, ERR_PRECONDITION, "the object is not the one expected");
	data = malloc(len + 1);
	if (data == NULL)
		return store_fail(r, -ENOMEM, "out of memory");
	for (size_t i = 0; i < r->body_count; i++) {
		if (r->body[i].iov_len > 0)
			memcpy(data + at, r->body[i].iov_base, r->body[i].iov_len);
		at += r->body[i].iov_len;
	}
	return copy_in(m, r, r->key, data, len);
}

static int mem_copy(struct mem *m, struct store_req *r)
{
	const struct object *o = find(m, r->source_key);
	uint8_t *data;

	if (o == NULL)
		return store_fail(r, -ENOENT, "no such object");
	data = malloc(o->len + 1);
	if (data == NULL)
		return store_fail(r, -ENOMEM, "out of memory");
	memcpy(data, o->data, o->len);
	return copy_in(m, r, r->key, data, o->len);
}

static int mem_head(struct mem *m, struct store_req *r, const struct object **ret)
{
	const struct object *o = find(m, r->key);

	if (o == NULL)
		return store_fail(r, -ENOENT, "no such object");
	r->object_size = o->len;
	r->mtime_s = o->mtime_s;
	memcpy(r->etag, o->etag, sizeof(o->etag));
	*ret = o;
	return 0;
}

static int mem_get(struct mem *m, struct store_req *r)
{
	const struct object *o = NULL;
	uint64_t off;
	int rc = mem_head(m, r, &o);

	if (rc)
		return rc;
	store_range(r, o->len, &off, &r->data_len);
	r->data = malloc(r->data_len + 1);
	if (r->data == NULL) {
		r->data_len = 0;
		return store_fail(r, -ENOMEM, "out of memory");
	}
	memcpy(r->data, o->data + off, r->data_len);
	return 0;
}

static int mem_list(struct mem *m, struct store_req *r)
{
	const char *after = r->start_after != NULL ? r->start_after : "";
	struct listing l;
	int rc = 0;

	listing_begin(&l, r);
	for (size_t i = lower_bound(m, strcmp(after, r->key) > 0 ? after : r->key); i < m->count && !rc; i++) {
		const struct object *o = m->objects[i];

		if (strncmp(o->key, r->key, strlen(r->key)) != 0)
			break;
		rc = listing_offer(&l, o->key, o->len, o->mtime_s, o->etag);
	}
	return rc < 0 ? store_fail(r, rc, "out of memory") : 0;
}

static int mem_delete(struct mem *m, struct store_req *r)
{
	for (size_t k = 0; k < r->key_count; k++) {
		size_t i = lower_bound(m, r->keys[k]);
		bool found = i < m->count && strcmp(m->objects[i]->key, r->keys[k]) == 0;

		if (r->if_match != NULL && (!found || strcmp(m->objects[i]->etag, r->if_match) != 0))
			return store_fail(r, ERR_PRECONDITION, "the object is not the one expected");
		if (!found)
			continue;
		object_free(m->objects[i]);
		m->count--;
		memmove(&m->objects[i], &m->objects[i + 1], (m->count - i) * sizeof(struct object *));
	}
	return 0;
}

static void mem_run(void *user, struct store_req *r)
{
	struct mem *m = user;
	const struct object *o;
	int rc = -EINVAL;

	pthread_mutex_lock(&m->lock);
	switch (r->op) {
	case STORE_PUT:
		rc = mem_put(m, r);
		break;
	case STORE_GET:
		rc = mem_get(m, r);
		break;
	case STORE_HEAD:
		rc = mem_head(m, r, &o);
		break;
	case STORE_LIST:
		rc = mem_list(m, r);
		break;
	case STORE_DELETE:
		rc = mem_delete(m, r);
		break;
	case STORE_COPY:
		rc = mem_copy(m, r);
		break;
	case STORE_OPS:
		break;
	}
	pthread_mutex_unlock(&m->lock);
	r->result = rc;
	r->server_time_s = now_s();
}

static void mem_submit(struct store *s, struct store_req *r)
{
	pool_submit(mem_of(s)->pool, r);
}

static void mem_counters(struct store *s, struct store_counters *ret)
{
	counters_read(&mem_of(s)->counters, ret);
}

static void mem_free(struct mem *m)
{
	for (size_t i = 0; i < m->count; i++)
		object_free(m->objects[i]);
	free(m->objects);
	pthread_mutex_destroy(&m->lock);
	counters_destroy(&m->counters);
	free(m);
}

static void mem_close(struct store *s)
{
	struct mem *m = mem_of(s);

	pool_stop(m->pool);
	mem_free(m);
}

int store_mem_open(unsigned threads, struct store **ret)
{
	struct mem *m = calloc(1, sizeof(*m));
	int rc;

	if (m == NULL)
		return err_set(-ENOMEM, "cannot open a store in memory: out of memory");
	m->store = (struct store){ .kind = "mem", .address = "mem://", .submit = mem_submit, .wait = store_wait_threads,
				   .counters = mem_counters, .close = mem_close };
	pthread_mutex_init(&m->lock, NULL);
	counters_init(&m->counters);
	rc = pool_start(threads ? threads : DEFAULT_THREADS, mem_run, m, &m->counters, &m->pool);
	if (rc) {
		mem_free(m);
		return rc;
	}
	*ret = &m->store;
	return 0;
}
