/* status.c - reading what there is to show. Nothing is decided by it. */
#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler.h"
#include "err.h"

static int note_age(void *user, const struct store_entry *e)
{
	struct status *s = user;
	const char *name = strrchr(e->key, '/');
	struct status_age *all;

	if (s->report_count == s->report_cap) {
		size_t cap = s->report_cap ? 2 * s->report_cap : 16;

		all = realloc(s->reports, cap * sizeof(*all));
		if (!all)
			return -ENOMEM;
		s->reports = all;
		s->report_cap = cap;
	}
	all = &s->reports[s->report_count++];
	snprintf(all->name, sizeof(all->name), "%s", name ? name + 1 : e->key);
	all->s = s->clock_s > e->mtime_s ? s->clock_s - e->mtime_s : 0;
	return 0;
}

/* The store's clock where it tells one (a directory's is ours), and how old the last beat is by it. */
static int read_clock(const struct cluster *c, struct status *s)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_HEAD);
	r.key = "leader";
	r.deadline_ms = c->deadline_ms;
	rc = store_call(c->store, &r);
	s->clock_s = r.server_time_s ? r.server_time_s : (int64_t)time(NULL);
	s->leader_age_s = rc == 0 && s->clock_s > r.mtime_s ? s->clock_s - r.mtime_s : 0;
	if (rc && rc != -ENOENT)
		err_set(rc, "reading %s/leader: %s", c->store->address, r.detail[0] ? r.detail : err_text(rc));
	store_req_reset(&r);
	return rc == -ENOENT ? 0 : rc;
}

static int read_one(const struct cluster *c, enum cluster_kind kind, void *ret)
{
	struct cluster_version v;
	int rc = cluster_get(c, kind, "", ret, &v);

	cluster_version_free(&v);
	if (rc)
		memset(ret, 0, cluster_bytes(kind));
	return rc == -ENOENT ? 0 : rc;
}

int status_read(const struct cluster *c, struct status *ret)
{
	char dir[CLUSTER_KEY_MAX];
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = view_refresh(&ret->now, c);
	if (!rc && !view_find(&ret->now, CLUSTER_SITE, ""))
		rc = err_set(-ENOENT, "%s holds no cluster; clonectl init makes one", c->store->address);
	if (!rc)
		rc = read_clock(c, ret);
	if (!rc)
		rc = read_one(c, CLUSTER_LEADER, &ret->leader);
	if (!rc)
		rc = read_one(c, CLUSTER_VIEW, &ret->view);
	return rc ? rc : store_list_all(c->store, cluster_key(CLUSTER_REPORT, "", dir), NULL, note_age, ret);
}

void status_free(struct status *s)
{
	view_free(&s->now);
	cluster_free(CLUSTER_VIEW, &s->view);
	free(s->reports);
	memset(s, 0, sizeof(*s));
}

int64_t status_report_age(const struct status *s, const char *name)
{
	for (size_t i = 0; i < s->report_count; i++)
		if (strcmp(s->reports[i].name, name) == 0)
			return s->reports[i].s;
	return -1;
}

/* ------------------------------------------------------------------ JSON */

static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static void add_number(struct json_object *o, const char *name, uint64_t n)
{
	json_object_object_add(o, name, json_object_new_uint64(n));
}

/* An object as it stands in the store, without what is the store's. NULL: it cannot be shown. */
static struct json_object *plain(enum cluster_kind kind, const char *name, const void *st)
{
	struct json_object *o;

	if (cluster_encode(kind, name, st, NULL, "00000000000000000000000000000000", &o) != 0)
		return NULL;
	json_object_object_del(o, "kind");
	json_object_object_del(o, "format");
	json_object_object_del(o, "put");
	return o;
}

static struct json_object *list_of(const struct status *s, enum cluster_kind kind)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; list && i < s->now.count; i++) {
		const struct view_object *v = s->now.objects[i];
		struct json_object *o;

		if (v->kind != kind)
			continue;
		o = v->readable ? plain(kind, v->name, &v->u) : json_object_new_object();
		if (!o)
			continue;
		if (!v->readable) {
			add_text(o, "name", v->name);
			add_text(o, "error", v->error);
		}
		if (kind == CLUSTER_REPORT)
			json_object_object_add(o, "age_s", json_object_new_int64(status_report_age(s, v->name)));
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *status_json(const struct status *s)
{
	struct json_object *o = json_object_new_object(), *l = json_object_new_object();
	const struct view_object *site = view_find(&s->now, CLUSTER_SITE, "");

	if (!o || !l) {
		json_object_put(o);
		json_object_put(l);
		return NULL;
	}
	json_object_object_add(o, "site", site->readable ? plain(CLUSTER_SITE, "", &site->u.site) : NULL);
	add_text(l, "holder", s->leader.holder);
	add_number(l, "epoch", s->leader.epoch);
	add_number(l, "lease_ms", s->leader.lease_ms);
	json_object_object_add(l, "released", json_object_new_boolean(s->leader.released));
	json_object_object_add(l, "age_s", json_object_new_int64(s->leader_age_s));
	json_object_object_add(o, "leader", l);
	json_object_object_add(o, "pools", list_of(s, CLUSTER_POOL));
	json_object_object_add(o, "members", list_of(s, CLUSTER_MEMBER));
	json_object_object_add(o, "reports", list_of(s, CLUSTER_REPORT));
	json_object_object_add(o, "view", s->view.epoch ? plain(CLUSTER_VIEW, "", &s->view) : NULL);
	return o;
}
