/* controller.c - a round, its decisions and what it says. */
#include "controller_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"

int controller_new(const struct controller_options *o, struct controller **ret)
{
	struct controller *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->o = *o;
	cluster_new_id(o->cluster->env, c->process);
	*ret = c;
	return 0;
}

/* What is of one epoch. */
static void forget(struct controller *c)
{
	for (size_t i = 0; i < c->pool_count; i++)
		dns_answers_free(&c->pools[i].answers);
	free(c->pools);
	free(c->outs);
	c->pools = NULL;
	c->outs = NULL;
	c->pool_count = c->out_count = 0;
	c->serial = 0;
	cluster_free(CLUSTER_VIEW, &c->said);
	c->have_said = false;
}

void controller_free(struct controller *c)
{
	if (!c)
		return;
	forget(c);
	view_free(&c->view);
	cluster_free(CLUSTER_VIEW, &c->next);
	cluster_free(CLUSTER_REPORT, &c->report);
	cluster_version_free(&c->report_version);
	free(c);
}

uint64_t controller_now(const struct controller *c)
{
	return c->o.cluster->env->boot_ns(c->o.cluster->env);
}

bool controller_leads(struct controller *c)
{
	uint64_t epoch;

	return lead_holds(c->o.lead, &epoch) && epoch == c->epoch;
}

void controller_problem(struct controller *c, const char *on, const char *fmt, ...)
{
	struct cluster_problem *all, *p;
	va_list ap;

	if (c->next.problem_count == CLUSTER_LIST_MAX)
		return;
	all = realloc(c->next.problems, (c->next.problem_count + 1) * sizeof(*all));
	if (!all)
		return;
	c->next.problems = all;
	p = &all[c->next.problem_count++];
	snprintf(p->on, sizeof(p->on), "%s", on);
	va_start(ap, fmt);
	if (vsnprintf(p->text, sizeof(p->text), fmt, ap) < 0)
		p->text[0] = '\0';
	va_end(ap);
}

int controller_begin(struct controller *c, const char *what, const char *on, const char *why, struct cluster_decision *ret, struct cluster_version *ret_v)
{
	char name[CLUSTER_NAME_MAX];
	int rc;

	*ret = (struct cluster_decision){ .epoch = c->epoch, .serial = ++c->serial, .result = CLUSTER_BEGUN };
	*ret_v = (struct cluster_version){ .raw = NULL };
	cluster_now(c->o.cluster->env, ret->at);
	snprintf(ret->leader, sizeof(ret->leader), "%s", c->o.name);
	snprintf(ret->what, sizeof(ret->what), "%s", what);
	snprintf(ret->on, sizeof(ret->on), "%s", on);
	snprintf(ret->why, sizeof(ret->why), "%s", why);
	if (!controller_leads(c))
		return err_set(ERR_FENCED, "the lease is over");
	rc = cluster_put(c->o.cluster, CLUSTER_DECISION, cluster_decision_name(ret->epoch, ret->serial, name), ret, ret_v);
	if (!rc && !controller_leads(c))
		rc = err_set(ERR_FENCED, "the lease is over");
	if (rc)
		cluster_version_free(ret_v);
	return rc;
}

void controller_end(struct controller *c, struct cluster_decision *d, struct cluster_version *v, int rc)
{
	char name[CLUSTER_NAME_MAX], why[sizeof(d->detail)];

	snprintf(why, sizeof(why), "%s", rc ? (*err_last() ? err_last() : err_text(rc)) : "");
	d->result = rc == 0 ? CLUSTER_ENDED : rc == ERR_UNAVAILABLE ? CLUSTER_NOT_KNOWN : CLUSTER_REFUSED;
	memcpy(d->detail, why, sizeof(why));
	logmsg(rc ? LOGMSG_WARNING : LOGMSG_NOTICE, "%s %s: %s%s%s", d->what, d->on, d->why, rc ? ": " : "", why);
	/* Where that fails it is shown as begun, or interrupted: it decides nothing. */
	(void)cluster_put(c->o.cluster, CLUSTER_DECISION, cluster_decision_name(d->epoch, d->serial, name), d, v);
	cluster_version_free(v);
	if (rc)
		err_set(rc, "%s", why);
}

const struct cluster_pool *controller_check_of(const struct view *v, const char *role)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->objects[i]->kind == CLUSTER_POOL && v->objects[i]->readable && strcmp(v->objects[i]->u.pool.role, role) == 0)
			return &v->objects[i]->u.pool;
	return NULL;
}

static bool same_view(const struct cluster_view *a, const struct cluster_view *b)
{
	bool same = a->epoch == b->epoch && a->member_count == b->member_count && a->problem_count == b->problem_count;

	for (size_t i = 0; same && i < a->member_count; i++) {
		const struct cluster_view_member *x = &a->members[i], *y = &b->members[i];

		same = strcmp(x->name, y->name) == 0 && strcmp(x->pool, y->pool) == 0 && strcmp(x->why, y->why) == 0 && x->in == y->in && x->health == y->health;
	}
	for (size_t i = 0; same && i < a->problem_count; i++)
		same = strcmp(a->problems[i].on, b->problems[i].on) == 0 && strcmp(a->problems[i].text, b->problems[i].text) == 0;
	return same;
}

/* A list's copy; NULL for none. */
static int copy_list(void **ret, const void *from, size_t bytes)
{
	*ret = bytes ? malloc(bytes) : NULL;
	if (!*ret)
		return bytes ? -ENOMEM : 0;
	memcpy(*ret, from, bytes);
	return 0;
}

static int write_view(void *user, bool found, void *st)
{
	struct controller *c = user;
	struct cluster_view *v = st;
	void *members = NULL, *problems = NULL;

	if (found && v->epoch > c->epoch)
		return 1; /* a later leader's */
	if (copy_list(&members, c->said.members, c->said.member_count * sizeof(*v->members)) ||
	    copy_list(&problems, c->said.problems, c->said.problem_count * sizeof(*v->problems))) {
		free(members);
		return -ENOMEM;
	}
	cluster_free(CLUSTER_VIEW, v);
	*v = c->said;
	v->members = members;
	v->problems = problems;
	return 0;
}

int controller_say(struct controller *c)
{
	int rc;

	c->next.epoch = c->epoch;
	if ((c->have_said && same_view(&c->said, &c->next)) || !controller_leads(c))
		return 0;
	cluster_now(c->o.cluster->env, c->next.at);
	cluster_free(CLUSTER_VIEW, &c->said);
	c->said = c->next;
	memset(&c->next, 0, sizeof(c->next));
	rc = cluster_change(c->o.cluster, CLUSTER_VIEW, "", write_view, c, NULL);
	c->have_said = rc >= 0;
	return rc < 0 ? rc : 0;
}

static int decide(struct controller *c)
{
	int rc;

	cluster_free(CLUSTER_VIEW, &c->next);
	for (size_t i = 0; i < c->view.count; i++)
		if (!c->view.objects[i]->readable)
			controller_problem(c, c->view.objects[i]->name, "%s; nothing is changed by it until it is mended", c->view.objects[i]->error);
	rc = controller_pools(c);
	if (!rc)
		rc = controller_members(c);
	return rc ? rc : controller_say(c);
}

int controller_round(struct controller *c, uint64_t *ret_lease_ms)
{
	const struct view_object *site;
	uint64_t epoch;
	int rc = view_refresh(&c->view, c->o.cluster);
	bool leads;

	if (rc)
		return rc;
	site = view_find(&c->view, CLUSTER_SITE, "");
	if (!site)
		return err_set(-ENOENT, "%s holds no cluster; clonectl init makes one", c->o.cluster->store->address);
	if (!site->readable)
		return err_set(ERR_CORRUPT, "%s", site->error);
	c->site = site->u.site;
	*ret_lease_ms = c->site.lease_ms;
	rc = controller_watch(c);
	if (!rc)
		rc = controller_report(c);
	leads = lead_holds(c->o.lead, &epoch);
	if (!leads || epoch != c->epoch) {
		forget(c);
		c->epoch = epoch;
	}
	return rc || !leads ? rc : decide(c);
}
