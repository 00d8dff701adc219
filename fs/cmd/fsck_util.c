/*
 * fsck_util.c - findings, parallel work and reading, for fsck.clonefs.
 *
 * Parallelism is a parallel-for: k->width threads that make blocking calls, so
 * that requests, decompression and hashing all overlap. Items share nothing but
 * the findings (k->mu).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "fsck.h"

static const char *const kind_names[] = { "note", "error", "repaired" };

static void print_finding(struct fsck *k, enum fsck_kind kind, const char *object, const char *text)
{
	struct json_object *o;

	if (!k->findings) {
		progress_hide(&k->bar);
		printf("%s: %s%s%s\n", kind_names[kind], object, object[0] ? ": " : "", text);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "kind", json_object_new_string(kind_names[kind]));
	json_object_object_add(o, "object", json_object_new_string(object));
	json_object_object_add(o, "text", json_object_new_string(text));
	json_object_array_add(k->findings, o);
}

void fsck_report(struct fsck *k, enum fsck_kind kind, const char *object, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&k->mu);
	if (kind == FSCK_ERROR)
		k->errors++;
	else if (kind == FSCK_NOTE)
		k->notes++;
	else
		k->repaired++;
	if (!(k->quiet && kind == FSCK_NOTE))
		print_finding(k, kind, object, text);
	pthread_mutex_unlock(&k->mu);
}

struct parallel {
	struct fsck *k;
	size_t count;
	_Atomic size_t next;
	int (*work)(struct fsck *k, size_t i);
	_Atomic unsigned running;
	pthread_mutex_t mu;
	int rc; /* under mu: the first error and its message */
	char why[512];
};

static void *parallel_thread(void *arg)
{
	struct parallel *p = arg;
	bool failed = false;

	for (;;) {
		size_t i = atomic_fetch_add(&p->next, 1);
		int rc;

		if (i >= p->count || atomic_load(p->k->stop))
			break;
		rc = p->work(p->k, i);
		progress_add(&p->k->bar, 1);
		pthread_mutex_lock(&p->mu);
		if (rc && !p->rc) {
			p->rc = rc;
			snprintf(p->why, sizeof(p->why), "%s", err_last()[0] ? err_last() : err_text(rc));
		}
		failed = p->rc;
		pthread_mutex_unlock(&p->mu);
		if (failed)
			break;
	}
	atomic_fetch_sub(&p->running, 1);
	return NULL;
}

int fsck_parallel(struct fsck *k, const char *what, size_t count, int (*work)(struct fsck *k, size_t i))
{
	struct parallel p = { .k = k, .count = count, .work = work, .mu = PTHREAD_MUTEX_INITIALIZER };
	unsigned width = count < k->width ? (unsigned)count : k->width, n;
	pthread_t *t = calloc(width + 1, sizeof(*t));
	int rc = t ? 0 : -ENOMEM;

	progress_begin(&k->bar, what, count);
	for (n = 0; !rc && n < width; n++) {
		atomic_fetch_add(&p.running, 1);
		rc = -pthread_create(&t[n], NULL, parallel_thread, &p);
		if (rc)
			atomic_fetch_sub(&p.running, 1);
		if (rc)
			break;
	}
	if (rc) { /* fewer threads will do, none will not */
		if (n)
			rc = 0;
		else
			rc = err_set(rc, "starting threads: %s", err_text(rc));
	}
	while (atomic_load(&p.running)) {
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		pthread_mutex_lock(&k->mu); /* a finding takes the bar away while it prints */
		progress_draw(&k->bar);
		pthread_mutex_unlock(&k->mu);
	}
	while (n--)
		pthread_join(t[n], NULL);
	free(t);
	progress_end(&k->bar);
	if (!rc && p.rc)
		rc = err_set(p.rc, "%s", p.why);
	if (!rc && atomic_load(k->stop))
		rc = err_set(-EINTR, "interrupted: the check is not complete");
	return rc;
}

int fsck_read(struct fsck *k, const char *key, uint64_t suffix, struct store_req *ret, bool *ret_present)
{
	int rc;

	store_req_init(ret, STORE_GET);
	ret->key = key;
	ret->range_length = suffix ? suffix : STORE_ANY;
	ret->range_suffix = suffix != 0;
	rc = store_call(k->store, ret);
	*ret_present = rc == 0;
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return err_set(rc, "reading %s/%s: %s", k->store->address, key, ret->detail[0] ? ret->detail : err_text(rc));
	return 0;
}

static int compare_key(const void *a, const void *b)
{
	const struct fsck_object *x = a, *y = b;

	return strcmp(x->key, y->key);
}

const struct fsck_object *fsck_find(const struct fsck *k, const char *key)
{
	struct fsck_object want = { .key = (char *)(uintptr_t)key };

	return k->object_count ? bsearch(&want, k->objects, k->object_count, sizeof(want), compare_key) : NULL;
}

struct fsck_slot *fsck_find_slot(const struct fsck *k, uint64_t epoch, uint64_t slot)
{
	size_t lo = 0, hi = k->slot_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct fsck_slot *s = &k->slots[mid];

		if (s->epoch == epoch && s->slot == slot)
			return s;
		if (s->epoch < epoch || (s->epoch == epoch && s->slot < slot))
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}
