/* roles.c - what the processes of a simulated cluster do. Controllers are the project's own; agents and the operator write objects by its own calls. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "orbit.h"

/* ---------------------------------------------------------------- controllers */

static struct dns *find_dns(void *user, const char *section CL_UNUSED)
{
	struct process *p = user;

	return &p->dns;
}

static void begin(struct process *p)
{
	struct controller_options o = { .cluster = &p->cluster, .health = &p->health, .name = p->name, .host = "", .dns = find_dns, .user = p };

	p->crashed = false;
	p->frozen_ns = 0;
	p->lease_ms = LEASE_MS;
	if (lead_new(&p->cluster, p->name, &p->lead) != 0)
		abort();
	o.lead = p->lead;
	if (controller_new(&o, &p->controller) != 0)
		abort();
	note(p->w, "begins");
	p->up = true;
}

/* in_order: it gives the lease back. */
static void end(struct actor *a, bool in_order)
{
	struct process *p = a->p;
	struct lead *l = p->lead;

	p->up = false;
	while (p->lease_runs && !p->w->ending)
		actor_sleep(a, MS);
	if (in_order && !p->crashed)
		lead_release(l);
	p->lead = NULL;
	controller_free(p->controller);
	lead_free(l);
	p->controller = NULL;
	p->frozen_ns = 0;
	p->starts_ns = p->w->now_ns + (p->w->calm ? 1 : 1 + rng_below(&p->w->rng, 20000)) * MS;
}

static void sleep_till_start(struct actor *a)
{
	while (!a->w->ending && a->w->now_ns < a->p->starts_ns)
		actor_sleep(a, a->p->starts_ns - a->w->now_ns);
}

void run_rounds(struct actor *a)
{
	struct process *p = a->p;
	struct world *w = a->w;

	for (sleep_till_start(a); !w->ending; sleep_till_start(a)) {
		bool in_order = false;

		begin(p);
		while (!p->crashed && !in_order) {
			controller_round(p->controller, &p->lease_ms);
			actor_sleep(a, (CONTROLLER_EVERY_MS - 20 + rng_below(&w->rng, 40)) * MS);
			in_order = !w->calm && rng_below(&w->rng, 60) == 0;
		}
		end(a, in_order);
	}
}

void run_lease(struct actor *a)
{
	struct process *p = a->p;

	while (!a->w->ending) {
		uint64_t next, now;

		if (!p->up || p->crashed) {
			actor_sleep(a, 20 * MS);
			continue;
		}
		p->lease_runs = true;
		next = lead_step(p->lead, p->lease_ms);
		p->lease_runs = false;
		now = process_now(p);
		actor_sleep(a, next > now + MS ? next - now : MS);
	}
}

/* ---------------------------------------------------------------- agents */

static void look_around(struct process *p, struct cluster_report *r)
{
	char why[sizeof(r->sees->why)];

	r->sees = calloc(MEMBERS, sizeof(*r->sees));
	if (!r->sees)
		abort();
	for (unsigned m = 0; m < MEMBERS; m++) {
		struct cluster_sight *s = &r->sees[r->see_count];

		snprintf(s->member, sizeof(s->member), "web-%u", m);
		if (strcmp(s->member, p->name) == 0)
			continue;
		s->up = p->health.sees(&p->health, s->member, why) == CLUSTER_UP;
		r->see_count++;
	}
}

/* One life of an agent, until its machine dies or it does. */
static void report(struct actor *a, unsigned m)
{
	struct process *p = a->p;
	struct cluster_version v = { .raw = NULL };
	char id[CLUSTER_ID_MAX];
	uint64_t seq = 0;

	cluster_new_id(&p->env, id);
	while (!p->crashed && p->w->alive[m]) {
		struct cluster_report r = { .seq = ++seq, .ready = true, .in_sync = true }, old;
		int rc;

		snprintf(r.name, sizeof(r.name), "%s", p->name);
		snprintf(r.host, sizeof(r.host), "%s", p->name);
		snprintf(r.process, sizeof(r.process), "%s", id);
		look_around(p, &r);
		rc = cluster_put(&p->cluster, CLUSTER_REPORT, p->name, &r, &v);
		cluster_free(CLUSTER_REPORT, &r);
		if (rc) {
			cluster_version_free(&v);
			if (cluster_get(&p->cluster, CLUSTER_REPORT, p->name, &old, &v) == 0)
				cluster_free(CLUSTER_REPORT, &old);
		}
		actor_sleep(a, REPORT_MS * MS);
	}
	cluster_version_free(&v);
}

void run_agent(struct actor *a)
{
	struct process *p = a->p;
	unsigned m = p->id - CONTROLLERS;

	for (sleep_till_start(a); !a->w->ending; sleep_till_start(a)) {
		p->crashed = !a->w->alive[m];
		report(a, m);
		p->starts_ns = a->w->now_ns + (a->w->calm ? 100 : 100 + rng_below(&a->w->rng, 5000)) * MS;
	}
}

/* ---------------------------------------------------------------- the operator */

struct wish { struct process *p; unsigned member, turn; enum cluster_wanted wanted; };

/* As clonectl pool does it. */
static int wish(void *user, bool found, void *st)
{
	struct wish *x = user;
	struct cluster_member *m = st;

	if (!found || (m->state == CLUSTER_GONE && x->wanted == CLUSTER_IN)) {
		*m = (struct cluster_member){ .state = CLUSTER_LIVE };
		snprintf(m->name, sizeof(m->name), "web-%u", x->member);
		snprintf(m->role, sizeof(m->role), "web");
		snprintf(m->address, sizeof(m->address), "10.0.%u.%u", x->turn % 200, x->member);
		return 0;
	}
	if (m->wanted == (int)x->wanted || m->state >= CLUSTER_TERMINATING)
		return 1;
	m->wanted = (int)x->wanted;
	return 0;
}

static void wish_for(struct wish *x)
{
	char name[16];

	snprintf(name, sizeof(name), "web-%u", x->member);
	if (cluster_change(&x->p->cluster, CLUSTER_MEMBER, name, wish, x, NULL) == 0)
		note(x->p->w, "wants %s %s", name, cluster_wanted_names[x->wanted]);
}

void run_operator(struct actor *a)
{
	struct wish x = { .p = a->p };

	while (!a->w->ending) {
		actor_sleep(a, (2000 + rng_below(&a->w->rng, 15000)) * MS);
		if (a->w->calm || a->w->ending)
			continue;
		x.member = (unsigned)rng_below(&a->w->rng, MEMBERS);
		x.turn++;
		x.wanted = rng_below(&a->w->rng, 2) ? CLUSTER_IN : rng_below(&a->w->rng, 2) ? CLUSTER_OUT : CLUSTER_AWAY;
		wish_for(&x);
		a->w->wished_ns[x.member] = a->w->now_ns;
	}
}

/* What init and pool have made: written whole, before anything runs. */
static void found(struct world *w, enum cluster_kind kind, const char *name, const void *st)
{
	char put[CLUSTER_ID_MAX], key[CLUSTER_KEY_MAX];
	struct object *o = &w->objects[w->object_count++];
	struct json_object *x;

	cluster_new_id(&w->processes[0].env, put);
	if (cluster_encode(kind, name, st, NULL, put, &x) != 0)
		abort();
	snprintf(o->key, sizeof(o->key), "%s", cluster_key(kind, name, key));
	o->data = (uint8_t *)strdup(json_object_to_json_string(x));
	o->len = strlen((char *)o->data);
	o->version = ++w->version;
	json_object_put(x);
}

void roles_found(struct world *w)
{
	struct cluster_site site = { .lease_ms = LEASE_MS, .report_ms = REPORT_MS, .name = "sim", .created = "then" };
	struct cluster_pool pool = { .name = "www", .host = HOST, .role = "web", .dns = "main", .min = w->min, .ttl_s = TTL_S, .port = 80, .check = CLUSTER_HTTP, .report = true };

	w->objects = calloc(OBJECTS_MAX, sizeof(*w->objects));
	if (!w->objects)
		abort();
	cluster_new_id(&w->processes[0].env, site.id);
	for (unsigned m = 0; m < MEMBERS; m++) { /* in order of keys */
		struct wish x = { .member = m };
		struct cluster_member one;

		wish(&x, false, &one);
		found(w, CLUSTER_MEMBER, one.name, &one);
	}
	found(w, CLUSTER_POOL, "www", &pool);
	found(w, CLUSTER_SITE, "", &site);
}
