/*
 * controller_pools.c - the pools of a round: read the answers, plan, swap.
 *
 * A name is settled while its token is the last one that this leader saw confirmed. Before a swap that is forgotten, so whatever becomes of it, only its
 * confirmation settles the name again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller_impl.h"
#include "err.h"

#define WHY_BYTES sizeof(((struct cluster_decision *)0)->why)

struct pool_work {
	struct controller *c;
	const struct cluster_pool *pool;
	struct controller_pool *known;
	struct poolplan_member *members;
	size_t count;
	uint64_t now;
};

static struct controller_pool *known_pool(struct controller *c, const char *name)
{
	struct controller_pool *all;

	for (size_t i = 0; i < c->pool_count; i++)
		if (strcmp(c->pools[i].name, name) == 0)
			return &c->pools[i];
	all = realloc(c->pools, (c->pool_count + 1) * sizeof(*all));
	if (!all)
		return NULL;
	c->pools = all;
	memset(&all[c->pool_count], 0, sizeof(*all));
	snprintf(all[c->pool_count].name, sizeof(all->name), "%s", name);
	return &all[c->pool_count++];
}

static bool is_admissible(const struct cluster_site *s, const char *revision)
{
	return !s->revision[0] || strcmp(revision, s->revision) == 0 || (s->revision_next[0] && strcmp(revision, s->revision_next) == 0);
}

/* O3. NULL: it has proven itself. */
static const char *unproven(const struct pool_work *w, const char *name)
{
	const struct view_object *o = view_find(&w->c->view, CLUSTER_REPORT, name);

	if (!w->pool->report)
		return NULL;
	if (!o || !o->readable)
		return "it has not reported";
	if (!view_is_fresh(o, w->now, 3 * w->c->site.report_ms))
		return "its report is not fresh";
	if (!o->u.report.ready)
		return "it is not ready yet";
	if (!o->u.report.in_sync)
		return "it is not in sync yet";
	return is_admissible(&w->c->site, o->u.report.revision) ? NULL : "its revision is not the cluster's";
}

static int compare_member(const void *name, const void *m)
{
	return strcmp(name, ((const struct poolplan_member *)m)->name);
}

/* They are in order of names, as the view is. */
static struct poolplan_member *member_of(const struct pool_work *w, const char *name)
{
	return w->count ? bsearch(name, w->members, w->count, sizeof(*w->members), compare_member) : NULL;
}

/* What the others say of members, each by a fresh report; who was on a member's machine says nothing of that one. */
static void count_others(struct pool_work *w)
{
	for (size_t i = 0; i < w->c->view.count; i++) {
		const struct view_object *o = w->c->view.objects[i];

		if (o->kind != CLUSTER_REPORT || !view_is_fresh(o, w->now, 3 * w->c->site.report_ms) || strcmp(o->name, w->c->o.name) == 0)
			continue;
		for (size_t j = 0; j < o->u.report.see_count; j++) {
			const struct cluster_sight *s = &o->u.report.sees[j];
			struct poolplan_member *m = member_of(w, s->member);

			if (!m || strcmp(o->name, m->name) == 0 || strcmp(o->u.report.host, m->name) == 0)
				continue;
			m->others_up += s->up;
			m->others_down += !s->up;
		}
	}
}

static int collect(struct pool_work *w)
{
	char why[sizeof(((struct cluster_sight *)0)->why)];

	w->members = calloc(w->c->view.count + 1, sizeof(*w->members));
	if (!w->members)
		return -ENOMEM;
	for (size_t i = 0; i < w->c->view.count; i++) {
		const struct view_object *o = w->c->view.objects[i];
		struct poolplan_member *m = &w->members[w->count];
		enum cluster_health h;

		if (o->kind != CLUSTER_MEMBER || !o->readable || !o->u.member.address[0] || strcmp(o->u.member.role, w->pool->role) != 0 || o->u.member.state == CLUSTER_GONE)
			continue;
		w->count++;
		h = strcmp(w->c->o.host, o->name) == 0 ? CLUSTER_UNKNOWN : w->c->o.health->sees(w->c->o.health, o->name, why);
		m->name = o->u.member.name;
		m->address = o->u.member.address;
		m->wanted = o->u.member.wanted == CLUSTER_IN && o->u.member.state == CLUSTER_LIVE;
		m->unproven = unproven(w, o->name);
		m->leader = h == CLUSTER_UP ? POOLPLAN_UP : h == CLUSTER_DOWN ? POOLPLAN_DOWN : POOLPLAN_UNKNOWN;
	}
	count_others(w);
	return 0;
}

/* A token of a later leader: we are none any more, whatever the lease says. */
static bool is_later(const struct pool_work *w)
{
	char *end;
	unsigned long long epoch = strtoull(w->known->answers.token, &end, 10);

	return *end == '.' && epoch > w->c->epoch;
}

/* For the decision: who comes, who goes, each with its reason, as far as there is room. */
static void explain(const struct poolplan *p, char *ret)
{
	size_t at = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < p->line_count && at < WHY_BYTES - 1; i++) {
		const struct poolplan_line *l = &p->lines[i];

		if (l->verb == POOLPLAN_ADD || l->verb == POOLPLAN_REMOVE)
			at += (size_t)snprintf(ret + at, WHY_BYTES - at, "%s%s %s (%s): %s", at ? "; " : "", l->verb == POOLPLAN_ADD ? "adds" : "removes", l->name, l->address, l->why);
	}
	if (!at)
		snprintf(ret, WHY_BYTES, p->added || p->removed ? "addresses that two members have" : "settles the name, so that no earlier request can change it any more");
}

static void swap(struct pool_work *w, struct dns *d, struct poolplan *p)
{
	struct dns_change ch = { w->pool->host, &w->known->answers, &p->to, (uint32_t)w->pool->ttl_s };
	struct cluster_decision decision;
	struct cluster_version v;
	char why[WHY_BYTES];
	int rc;

	explain(p, why);
	w->known->token[0] = '\0';
	rc = controller_begin(w->c, "swap", w->pool->name, why, &decision, &v);
	if (rc) {
		controller_problem(w->c, w->pool->name, "the decision could not be written: %s", err_last());
		return;
	}
	snprintf(p->to.token, sizeof(p->to.token), "%" PRIu64 ".%" PRIu64, w->c->epoch, decision.serial);
	rc = dns_swap(d, &ch, CONTROLLER_DNS_MS);
	controller_end(w->c, &decision, &v, rc);
	if (rc) {
		uint64_t wait_ms = (uint64_t)CONTROLLER_EVERY_MS << (w->known->failures < 6 ? w->known->failures++ : 6);

		w->known->retry_ns = w->now + (wait_ms < CONTROLLER_RETRY_MAX_MS ? wait_ms : CONTROLLER_RETRY_MAX_MS) * 1000000;
		controller_problem(w->c, w->pool->name, "the answers of %s could not be changed: %s", w->pool->host, *err_last() ? err_last() : err_text(rc));
		return;
	}
	w->known->failures = 0;
	snprintf(w->known->token, sizeof(w->known->token), "%s", p->to.token);
}

static enum cluster_health health_of(const struct pool_work *w, const char *name)
{
	const struct poolplan_member *m = member_of(w, name);

	return !m || m->leader == POOLPLAN_UNKNOWN ? CLUSTER_UNKNOWN : m->leader == POOLPLAN_UP ? CLUSTER_UP : CLUSTER_DOWN;
}

static bool is_wanted(const struct pool_work *w, const char *name)
{
	const struct poolplan_member *m = member_of(w, name);

	return m && m->wanted;
}

/* For `view`: each member as it is, and what an operator should know. */
static int tell(struct pool_work *w, const struct poolplan *p)
{
	struct cluster_view *v = &w->c->next;
	struct cluster_view_member *all = realloc(v->members, (v->member_count + p->line_count + 1) * sizeof(*all));
	size_t in = 0;

	if (!all)
		return -ENOMEM;
	v->members = all;
	for (size_t i = 0; i < p->line_count; i++) {
		const struct poolplan_line *l = &p->lines[i];
		struct cluster_view_member *m = &v->members[v->member_count];

		in += l->verb != POOLPLAN_OUT && l->verb != POOLPLAN_REMOVE && l->verb != POOLPLAN_FOREIGN;
		if (l->verb == POOLPLAN_FOREIGN || l->verb == POOLPLAN_HELD || l->verb == POOLPLAN_DOUBTED || l->verb == POOLPLAN_DOUBLE)
			controller_problem(w->c, l->verb == POOLPLAN_FOREIGN ? w->pool->name : l->name, "%s in %s: %s", l->address, w->pool->host, l->why);
		if (l->verb == POOLPLAN_OUT && health_of(w, l->name) == CLUSTER_DOWN && is_wanted(w, l->name))
			controller_problem(w->c, l->name, "it is down, and out of %s; mend it, or clonectl pool remove %s", w->pool->host, l->name);
		if (!*l->name || v->member_count == CLUSTER_LIST_MAX)
			continue;
		v->member_count++;
		*m = (struct cluster_view_member){ .in = l->verb != POOLPLAN_OUT && l->verb != POOLPLAN_REMOVE, .health = (int)health_of(w, l->name) };
		snprintf(m->name, sizeof(m->name), "%s", l->name);
		snprintf(m->pool, sizeof(m->pool), "%s", w->pool->name);
		snprintf(m->why, sizeof(m->why), "%s", l->why);
	}
	if (p->to.count == 0)
		controller_problem(w->c, w->pool->name, "%s has no answers: no member is up and has proven itself", w->pool->host);
	else if (in < w->pool->min)
		controller_problem(w->c, w->pool->name, "%zu in the answers of %s, the minimum is %" PRIu64 ": nobody is taken out; launch or mend members", in, w->pool->host, w->pool->min);
	return 0;
}

static int plan(struct pool_work *w, struct dns *d)
{
	struct poolplan p;
	struct poolplan_in in = { NULL, 0, &w->known->answers, w->pool->min, w->known->settled };
	int rc = collect(w);

	in.members = w->members;
	in.count = w->count;
	if (!rc)
		rc = poolplan_make(&in, &p);
	if (rc)
		return rc;
	if (p.change && w->now >= w->known->retry_ns)
		swap(w, d, &p);
	rc = tell(w, &p);
	poolplan_free(&p);
	return rc;
}

static int one_pool(struct controller *c, const struct cluster_pool *pool)
{
	struct pool_work w = { .c = c, .pool = pool, .known = known_pool(c, pool->name), .now = controller_now(c) };
	struct dns *d = c->o.dns(c->o.user, pool->dns);
	int rc;

	if (!w.known)
		return -ENOMEM;
	dns_answers_free(&w.known->answers);
	w.known->read = w.known->settled = false;
	rc = d ? d->read(d, pool->host, CONTROLLER_DNS_MS, &w.known->answers) : ERR_CONFIG;
	if (rc) {
		controller_problem(c, pool->name, "the answers of %s cannot be read: %s", pool->host, *err_last() ? err_last() : err_text(rc));
		return 0;
	}
	w.known->read = true;
	w.known->settled = w.known->token[0] && strcmp(w.known->token, w.known->answers.token) == 0;
	if (is_later(&w)) {
		controller_problem(c, pool->name, "%s was changed by a later leader (%s)", pool->host, w.known->answers.token);
		return 0;
	}
	if (!d->exact)
		controller_problem(c, pool->name, "its DNS (%s) has no conditional updates: a late request may undo a change until the next look", d->where);
	rc = plan(&w, d);
	free(w.members);
	return rc;
}

int controller_pools(struct controller *c)
{
	int rc = 0;

	for (size_t i = 0; i < c->view.count && !rc; i++)
		if (c->view.objects[i]->kind == CLUSTER_POOL && c->view.objects[i]->readable)
			rc = one_pool(c, &c->view.objects[i]->u.pool);
	return rc;
}
