/*
 * cluster.c - objects in the store, by compare-and-swap.
 *
 * A put's bytes are made once, with a `put` of their own, and sent again where no answer came: whichever attempt takes effect, it is the same write. A
 * 412 is believed only once the object was read and is not ours.
 */
#include "cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler.h"
#include "err.h"

#define SENDS 3
#define CHANGES 8

void cluster_version_free(struct cluster_version *v)
{
	json_object_put(v->raw);
	*v = (struct cluster_version){ .raw = NULL };
}

void cluster_new_id(struct env *env, char *ret)
{
	uint8_t bytes[(CLUSTER_ID_MAX - 1) / 2];

	env->random(env, bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

void cluster_now(struct env *env, char *ret)
{
	time_t t = (time_t)(env->real_ns(env) / 1000000000);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(ret, CLUSTER_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(ret, CLUSTER_TIME_MAX, "?");
}

static int store_fail(const struct cluster *c, const struct store_req *r, int rc, const char *what, const char *key)
{
	return err_set(rc, "%s %s/%s: %s", what, c->store->address, key, r->detail[0] ? r->detail : err_text(rc));
}

int cluster_get(const struct cluster *c, enum cluster_kind kind, const char *name, void *ret, struct cluster_version *ret_v)
{
	char key[CLUSTER_KEY_MAX];
	struct store_req r;
	int rc;

	*ret_v = (struct cluster_version){ .raw = NULL };
	store_req_init(&r, STORE_GET);
	r.key = cluster_key(kind, name, key);
	r.range_length = STORE_ANY;
	r.deadline_ms = c->deadline_ms;
	rc = store_call(c->store, &r);
	if (rc == -ENOENT)
		err_set(rc, "there is no %s in %s", key, c->store->address);
	else if (rc)
		store_fail(c, &r, rc, "reading", key);
	else
		rc = cluster_decode(kind, name, r.data ? (const void *)r.data : "", r.data_len, ret, &ret_v->raw);
	if (!rc)
		snprintf(ret_v->etag, sizeof(ret_v->etag), "%s", r.etag);
	store_req_reset(&r);
	return rc;
}

/* Is the object that is there the one with this `put`? 1 and its ETag, 0, or an error: not known. */
static int is_ours(const struct cluster *c, const char *key, const char *put, char *ret_etag)
{
	struct store_req r;
	struct json_object *o, *x;
	int rc;

	store_req_init(&r, STORE_GET);
	r.key = key;
	r.range_length = STORE_ANY;
	r.deadline_ms = c->deadline_ms;
	rc = store_call(c->store, &r);
	if (!rc) {
		char *text = strndup(r.data ? (const char *)r.data : "", r.data_len);

		o = text ? json_tokener_parse(text) : NULL;
		rc = o && json_object_object_get_ex(o, "put", &x) && json_object_is_type(x, json_type_string) && strcmp(json_object_get_string(x), put) == 0;
		snprintf(ret_etag, STORE_ETAG_MAX, "%s", r.etag);
		json_object_put(o);
		free(text);
	}
	store_req_reset(&r);
	return rc == -ENOENT ? 0 : rc;
}

/* Sends the bytes over an ETag ("": where there is none). 0 and the new ETag; ERR_PRECONDITION; ERR_UNAVAILABLE; others. */
static int send_put(const struct cluster *c, const char *key, const char *text, size_t len, const char *put, const char *over, char *ret_etag)
{
	struct iovec body = { .iov_base = (void *)(uintptr_t)text, .iov_len = len };
	int rc = ERR_UNAVAILABLE;

	for (int i = 0; i < SENDS; i++) {
		struct store_req r;
		bool maybe;
		int own;

		store_req_init(&r, STORE_PUT);
		r.key = key;
		r.body = &body;
		r.body_count = 1;
		r.content_type = "application/json";
		r.if_none_match = !*over;
		r.if_match = *over ? over : NULL;
		r.deadline_ms = c->deadline_ms;
		rc = store_call(c->store, &r);
		maybe = r.ambiguous;
		if (rc)
			store_fail(c, &r, rc, "writing", key);
		snprintf(ret_etag, STORE_ETAG_MAX, "%s", rc ? "" : r.etag);
		store_req_reset(&r);
		if (!rc && *ret_etag)
			return 0;
		/* What is if-matched and not there may be answered as either. */
		if (!rc || rc == ERR_PRECONDITION || rc == -ENOENT) {
			own = is_ours(c, key, put, ret_etag);
			if (own == 1)
				return 0;
			return own == 0 ? err_set(ERR_PRECONDITION, "%s/%s: somebody else has changed it meanwhile", c->store->address, key) :
					  err_set(ERR_UNAVAILABLE, "writing %s/%s: whether it was written is not known", c->store->address, key);
		}
		if (!maybe && rc != ERR_UNAVAILABLE)
			return rc;
	}
	return err_set(ERR_UNAVAILABLE, "%s", err_last());
}

int cluster_put(const struct cluster *c, enum cluster_kind kind, const char *name, const void *st, struct cluster_version *v)
{
	char key[CLUSTER_KEY_MAX], put[CLUSTER_ID_MAX], etag[STORE_ETAG_MAX];
	struct json_object *o;
	const char *text;
	size_t len;
	int rc;

	cluster_new_id(c->env, put);
	rc = cluster_encode(kind, name, st, v->raw, put, &o);
	if (rc)
		return rc;
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &len);
	rc = text ? send_put(c, cluster_key(kind, name, key), text, len, put, v->etag, etag) : -ENOMEM;
	if (rc) {
		json_object_put(o);
		return rc;
	}
	cluster_version_free(v);
	v->raw = o;
	snprintf(v->etag, sizeof(v->etag), "%s", etag);
	return 0;
}

/* One turn of cluster_change; v and st are its to clean up. */
static int change_once(const struct cluster *c, enum cluster_kind kind, const char *name, int (*change)(void *user, bool found, void *st), void *user, void *st,
		       struct cluster_version *v)
{
	int rc = cluster_get(c, kind, name, st, v);

	if (rc && rc != -ENOENT)
		return rc;
	if (rc)
		memset(st, 0, cluster_bytes(kind));
	err_clear();
	rc = change(user, !rc, st);
	return rc ? rc : cluster_put(c, kind, name, st, v);
}

int cluster_change(const struct cluster *c, enum cluster_kind kind, const char *name, int (*change)(void *user, bool found, void *st), void *user, void *ret)
{
	void *st = calloc(1, cluster_bytes(kind));
	int rc = st ? ERR_PRECONDITION : -ENOMEM;

	for (int i = 0; i < CHANGES && rc == ERR_PRECONDITION; i++) {
		struct cluster_version v = { .raw = NULL };

		rc = change_once(c, kind, name, change, user, st, &v);
		cluster_version_free(&v);
		if (rc < 0 || !ret) {
			cluster_free(kind, st);
			memset(st, 0, cluster_bytes(kind));
		}
	}
	if (rc >= 0 && ret)
		memcpy(ret, st, cluster_bytes(kind));
	free(st);
	return rc;
}

struct listing { const char *dir; int (*each)(void *user, const char *name, const char *etag); void *user; };

static int list_one(void *user, const struct store_entry *e)
{
	struct listing *l = user;

	return l->each(l->user, e->key + strlen(l->dir), e->etag);
}

int cluster_list(const struct cluster *c, enum cluster_kind kind, int (*each)(void *user, const char *name, const char *etag), void *user)
{
	char dir[CLUSTER_KEY_MAX];
	struct listing l = { cluster_key(kind, "", dir), each, user };

	return store_list_all(c->store, dir, NULL, list_one, &l);
}

struct now_listing { int (*each)(void *user, enum cluster_kind kind, const char *name, const char *etag); void *user; };

static int list_now_one(void *user, const struct store_entry *e)
{
	static const enum cluster_kind of[] = { CLUSTER_MEMBER, CLUSTER_POOL, CLUSTER_REPORT };
	struct now_listing *l = user;
	char dir[CLUSTER_KEY_MAX];

	if (strcmp(e->key, cluster_key(CLUSTER_SITE, "", dir)) == 0)
		return l->each(l->user, CLUSTER_SITE, "", e->etag);
	for (size_t i = 0; i < CL_ARRAY_LEN(of); i++) {
		const char *name = e->key + strlen(cluster_key(of[i], "", dir));

		if (strncmp(e->key, dir, strlen(dir)) == 0 && cluster_is_label(name))
			return l->each(l->user, of[i], name, e->etag);
	}
	return 0;
}

int cluster_list_now(const struct cluster *c, int (*each)(void *user, enum cluster_kind kind, const char *name, const char *etag), void *user)
{
	struct now_listing l = { each, user };

	return store_list_all(c->store, "now/", NULL, list_now_one, &l);
}

/* One PUT over an ETag; its own is left in ret_etag. */
static int probe_put(const struct cluster *c, const char *key, const char *over, char *ret_etag)
{
	char text[CLUSTER_ID_MAX];
	struct iovec body = { .iov_base = text, .iov_len = CLUSTER_ID_MAX - 1 };
	struct store_req r;
	int rc;

	cluster_new_id(c->env, text);
	store_req_init(&r, STORE_PUT);
	r.key = key;
	r.body = &body;
	r.body_count = 1;
	r.if_none_match = !over;
	r.if_match = over;
	rc = store_call(c->store, &r);
	if (rc && rc != ERR_PRECONDITION)
		store_fail(c, &r, rc, "writing", key);
	snprintf(ret_etag, STORE_ETAG_MAX, "%s", r.etag);
	store_req_reset(&r);
	return rc;
}

int cluster_probe(const struct cluster *c)
{
	char key[CLUSTER_KEY_MAX] = "probe/swap-", first[STORE_ETAG_MAX], second[STORE_ETAG_MAX];
	int rc = store_probe(c->store);

	if (rc)
		return rc;
	cluster_new_id(c->env, key + strlen(key));
	rc = probe_put(c, key, NULL, first);
	if (!rc)
		rc = probe_put(c, key, first, second);
	if (!rc) {
		rc = probe_put(c, key, first, second);
		rc = rc == ERR_PRECONDITION ? 0 : rc ? rc : err_set(ERR_NO_FENCING, "%s ignores If-Match: a cluster cannot be kept there", c->store->address);
	} else if (rc == ERR_PRECONDITION) {
		rc = err_set(ERR_NO_FENCING, "%s does not know its own ETags in If-Match: a cluster cannot be kept there", c->store->address);
	}
	(void)store_delete(c->store, key);
	return rc;
}
