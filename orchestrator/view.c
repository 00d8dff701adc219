/* view.c - what was read, kept by ETag. */
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define OBJECTS_MAX (3 * CLUSTER_LIST_MAX + 1)

struct refresh { struct view *v; const struct cluster *c; };

static void forget(struct view_object *o)
{
	if (o->readable)
		cluster_free(o->kind, &o->u);
	o->readable = false;
}

void view_free(struct view *v)
{
	for (size_t i = 0; i < v->count; i++) {
		forget(v->objects[i]);
		free(v->objects[i]);
	}
	free(v->objects);
	*v = (struct view){ .objects = NULL };
}

static int compare(enum cluster_kind kind, const char *name, const struct view_object *o)
{
	return kind != o->kind ? (kind < o->kind ? -1 : 1) : strcmp(name, o->name);
}

/* Where it is, or belongs. */
static size_t place_of(const struct view *v, enum cluster_kind kind, const char *name)
{
	size_t lo = 0, hi = v->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(kind, name, v->objects[mid]) > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct view_object *view_find(const struct view *v, enum cluster_kind kind, const char *name)
{
	size_t at = place_of(v, kind, name);

	return at < v->count && compare(kind, name, v->objects[at]) == 0 ? v->objects[at] : NULL;
}

bool view_is_fresh(const struct view_object *o, uint64_t now_ns, uint64_t within_ms)
{
	return o->readable && o->moved && now_ns - o->since_ns <= within_ms * 1000000;
}

static int insert(struct view *v, size_t at, enum cluster_kind kind, const char *name)
{
	struct view_object **all, *o;

	if (v->count == OBJECTS_MAX)
		return err_set(-E2BIG, "more than %d members, pools and reports", OBJECTS_MAX);
	all = realloc(v->objects, (v->count + 1) * sizeof(struct view_object *));
	if (!all)
		return -ENOMEM;
	v->objects = all;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->kind = kind;
	snprintf(o->name, sizeof(o->name), "%s", name);
	memmove(all + at + 1, all + at, (v->count - at) * sizeof(struct view_object *));
	all[at] = o;
	v->count++;
	return 0;
}

/* 0: it is as the store has it, or is gone (and then not of this round). */
static int read_one(struct refresh *r, struct view_object *o)
{
	struct cluster_version v;
	bool first = !o->etag[0];
	int rc;

	forget(o);
	rc = cluster_get(r->c, o->kind, o->name, &o->u, &v);
	if (rc == -ENOENT) {
		o->round--;
		err_clear();
		return 0;
	}
	if (rc && rc != ERR_CORRUPT && rc != ERR_NEWER_FORMAT) {
		o->etag[0] = '\0';
		o->moved = false;
		return rc;
	}
	o->readable = !rc;
	snprintf(o->error, sizeof(o->error), "%.255s", rc ? err_last() : "");
	if (first || rc || strcmp(o->etag, v.etag) != 0) {
		o->moved = !first;
		o->since_ns = r->c->env->boot_ns(r->c->env);
	}
	snprintf(o->etag, sizeof(o->etag), "%s", rc ? "unreadable" : v.etag);
	cluster_version_free(&v);
	return 0;
}

static int see(void *user, enum cluster_kind kind, const char *name, const char *etag)
{
	struct refresh *r = user;
	size_t at = place_of(r->v, kind, name);
	struct view_object *o;

	if (at == r->v->count || compare(kind, name, r->v->objects[at]) != 0) {
		int rc = insert(r->v, at, kind, name);

		if (rc)
			return rc;
	}
	o = r->v->objects[at];
	o->round = r->v->round;
	return *etag && strcmp(etag, o->etag) == 0 ? 0 : read_one(r, o);
}

int view_refresh(struct view *v, const struct cluster *c)
{
	struct refresh r = { v, c };
	size_t kept = 0;
	int rc;

	v->round++;
	rc = cluster_list_now(c, see, &r);
	if (rc)
		return *err_last() ? rc : err_set(rc, "listing %s: %s", c->store->address, err_text(rc));
	for (size_t i = 0; i < v->count; i++) {
		struct view_object *o = v->objects[i];

		if (o->round == v->round) {
			v->objects[kept++] = o;
			continue;
		}
		forget(o);
		free(o);
	}
	v->count = kept;
	return 0;
}
