/* controller_report.c - a controller as an observer: whom it checks, and its own report. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller_impl.h"
#include "err.h"
#include "logmsg.h"

static bool is_checked(const struct view_object *o)
{
	return o->kind == CLUSTER_MEMBER && o->readable && o->u.member.address[0] && o->u.member.state != CLUSTER_GONE && o->u.member.state != CLUSTER_TERMINATING;
}

int controller_watch(struct controller *c)
{
	struct health_target *all = calloc(c->view.count + 1, sizeof(*all));
	size_t n = 0;
	int rc;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < c->view.count; i++) {
		const struct cluster_member *m = &c->view.objects[i]->u.member;
		const struct cluster_pool *p = is_checked(c->view.objects[i]) ? controller_check_of(&c->view, m->role) : NULL;
		struct health_target *t = &all[n];

		if (!p)
			continue;
		n++;
		snprintf(t->member, sizeof(t->member), "%s", m->name);
		snprintf(t->address, sizeof(t->address), "%s", m->address);
		snprintf(t->host, sizeof(t->host), "%s", p->host);
		snprintf(t->path, sizeof(t->path), "%s", p->path);
		t->port = (unsigned)p->port;
		t->check = (enum cluster_check)p->check;
	}
	rc = c->o.health->watch(c->o.health, all, n);
	free(all);
	return rc;
}

/* What is seen of all members that anything is known of. */
static int look(struct controller *c, struct cluster_report *ret)
{
	ret->sees = calloc(c->view.count + 1, sizeof(*ret->sees));
	if (!ret->sees)
		return -ENOMEM;
	for (size_t i = 0; i < c->view.count && ret->see_count < CLUSTER_LIST_MAX; i++) {
		struct cluster_sight *s = &ret->sees[ret->see_count];
		enum cluster_health h;

		if (!is_checked(c->view.objects[i]))
			continue;
		h = c->o.health->sees(c->o.health, c->view.objects[i]->name, s->why);
		if (h == CLUSTER_UNKNOWN)
			continue;
		s->up = h == CLUSTER_UP;
		snprintf(s->member, sizeof(s->member), "%s", c->view.objects[i]->name);
		ret->see_count++;
	}
	return 0;
}

static bool sees_the_same(const struct cluster_report *a, const struct cluster_report *b)
{
	bool same = a->see_count == b->see_count;

	for (size_t i = 0; same && i < a->see_count; i++)
		same = a->sees[i].up == b->sees[i].up && strcmp(a->sees[i].member, b->sees[i].member) == 0;
	return same;
}

/*
 * Over whatever is there: a report of an earlier process of our name, or one of ours whose answer was lost. Where another process goes on writing it, two
 * have one name: together they count as one observer, which withdraws less than it could, and never too much.
 */
static int put(struct controller *c)
{
	struct cluster_report old;
	int rc = cluster_put(c->o.cluster, CLUSTER_REPORT, c->o.name, &c->report, &c->report_version);

	if (rc != ERR_PRECONDITION && rc != ERR_UNAVAILABLE)
		return rc;
	cluster_version_free(&c->report_version);
	rc = cluster_get(c->o.cluster, CLUSTER_REPORT, c->o.name, &old, &c->report_version);
	if (rc)
		return rc;
	if (c->report.seq > 1 && strcmp(old.process, c->process) != 0)
		logmsg(LOGMSG_WARNING, "another controller is called %s, too: give one of them another name in clonectl.conf", c->o.name);
	cluster_free(CLUSTER_REPORT, &old);
	return cluster_put(c->o.cluster, CLUSTER_REPORT, c->o.name, &c->report, &c->report_version);
}

int controller_report(struct controller *c)
{
	struct cluster_report r = { .seq = c->report.seq + 1 };
	uint64_t now = controller_now(c);
	int rc;

	if (view_find(&c->view, CLUSTER_MEMBER, c->o.name))
		return err_set(ERR_CONFIG, "a member is called %s, and so is this controller, whose report would be taken for the member's: give it another name", c->o.name);
	rc = look(c, &r);
	if (rc)
		return rc;
	if (c->report_ns && sees_the_same(&r, &c->report) && now - c->report_ns < c->site.report_ms * 1000000) {
		cluster_free(CLUSTER_REPORT, &r);
		return 0;
	}
	snprintf(r.name, sizeof(r.name), "%s", c->o.name);
	snprintf(r.process, sizeof(r.process), "%s", c->process);
	snprintf(r.host, sizeof(r.host), "%s", c->o.host);
	cluster_free(CLUSTER_REPORT, &c->report);
	c->report = r;
	rc = put(c);
	c->report_ns = rc ? 0 : now;
	return rc;
}
