/*
 * controller_members.c - the states of members. Each change is made on what the object says when it is written, not on what was seen before: the condition
 * is looked at again in the function that changes it. What else it relies on, that nobody can be put into the answers any more, stays true while the object
 * does not change (DESIGN.md, "Late effects").
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller_impl.h"
#include "err.h"

struct move { struct controller *c; enum cluster_state from, to; int wanted; };

/* The next state of a member whose wishes and state are these; out: it is out of all answers for long enough. -1: none. */
static int next_state(const struct cluster_member *m, bool out)
{
	switch ((enum cluster_state)m->state) {
	case CLUSTER_LIVE: return m->wanted != CLUSTER_IN && out ? CLUSTER_DRAINED : -1;
	case CLUSTER_DRAINED: return m->wanted == CLUSTER_IN ? CLUSTER_LIVE : m->wanted == CLUSTER_AWAY ? CLUSTER_TERMINATING : -1;
	case CLUSTER_TERMINATING: return m->provider[0] ? -1 : CLUSTER_GONE; /* a machine is its provider's to end */
	default: return -1;
	}
}

static struct controller_out *out_of(struct controller *c, const char *name)
{
	struct controller_out *all;

	for (size_t i = 0; i < c->out_count; i++)
		if (strcmp(c->outs[i].name, name) == 0)
			return &c->outs[i];
	all = realloc(c->outs, (c->out_count + 1) * sizeof(*all));
	if (!all)
		return NULL;
	c->outs = all;
	all[c->out_count] = (struct controller_out){ .since_ns = 0 };
	snprintf(all[c->out_count].name, sizeof(all->name), "%s", name);
	return &all[c->out_count++];
}

static bool has(const struct dns_answers *a, const char *address)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->addresses[i], address) == 0)
			return true;
	return false;
}

/* Is it out of all settled answers of its role's pools, as read in this round? The longest time that somebody may still believe otherwise: *ret_ms. */
static bool is_out(struct controller *c, const struct cluster_member *m, uint64_t *ret_ms)
{
	*ret_ms = 0;
	for (size_t i = 0; i < c->view.count; i++) {
		const struct view_object *o = c->view.objects[i];
		const struct controller_pool *known = NULL;

		if (o->kind != CLUSTER_POOL)
			continue;
		if (!o->readable)
			return false; /* who knows whose it is */
		if (strcmp(o->u.pool.role, m->role) != 0)
			continue;
		for (size_t j = 0; j < c->pool_count; j++)
			if (strcmp(c->pools[j].name, o->name) == 0)
				known = &c->pools[j];
		if (!known || !known->read || !known->settled || has(&known->answers, m->address))
			return false;
		if (o->u.pool.ttl_s * 1000 + CONTROLLER_DRAIN_MS > *ret_ms)
			*ret_ms = o->u.pool.ttl_s * 1000 + CONTROLLER_DRAIN_MS;
	}
	return true;
}

/* 1: long enough. */
static int out_for_long(struct controller *c, const struct cluster_member *m)
{
	struct controller_out *o = out_of(c, m->name);
	uint64_t now = controller_now(c), wait_ms;

	if (!o)
		return -ENOMEM;
	if (m->wanted == CLUSTER_IN || m->state != CLUSTER_LIVE || !is_out(c, m, &wait_ms)) {
		o->since_ns = 0;
		return 0;
	}
	if (!o->since_ns)
		o->since_ns = now;
	return now - o->since_ns >= wait_ms * 1000000;
}

static int change(void *user, bool found, void *st)
{
	struct move *x = user;
	struct cluster_member *m = st;

	if (!found || m->state != (int)x->from || m->wanted != x->wanted)
		return 1;
	if (m->epoch > x->c->epoch || !controller_leads(x->c))
		return err_set(ERR_FENCED, "the lease is over");
	m->state = (int)x->to;
	m->epoch = x->c->epoch;
	return 0;
}

static void move(struct controller *c, const struct cluster_member *m, enum cluster_state to)
{
	struct move x = { c, (enum cluster_state)m->state, to, m->wanted };
	struct cluster_decision d;
	struct cluster_version v;
	char why[160];
	int rc;

	snprintf(why, sizeof(why), "it is %s, wanted %s%s", cluster_state_names[m->state], cluster_wanted_names[m->wanted],
		 to == CLUSTER_DRAINED ? ", and out of all answers for longer than anybody keeps them" : "");
	rc = controller_begin(c, cluster_state_names[to], m->name, why, &d, &v);
	if (rc) {
		controller_problem(c, m->name, "the decision could not be written: %s", err_last());
		return;
	}
	rc = cluster_change(c->o.cluster, CLUSTER_MEMBER, m->name, change, &x, NULL);
	if (rc > 0)
		rc = err_set(ERR_PRECONDITION, "it has been changed meanwhile");
	controller_end(c, &d, &v, rc);
	if (rc)
		controller_problem(c, m->name, "it could not be made %s: %s", cluster_state_names[to], err_last());
}

int controller_members(struct controller *c)
{
	for (size_t i = 0; i < c->view.count; i++) {
		const struct view_object *o = c->view.objects[i];
		int out, to;

		if (o->kind != CLUSTER_MEMBER || !o->readable)
			continue;
		out = out_for_long(c, &o->u.member);
		if (out < 0)
			return out;
		to = next_state(&o->u.member, out);
		if (to >= 0)
			move(c, &o->u.member, (enum cluster_state)to);
	}
	return 0;
}
