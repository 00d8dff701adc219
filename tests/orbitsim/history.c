/*
 * history.c - a storm, then calm; and what has to hold.
 *
 * All the time: one leader at a time (clocks differ by at most 8 %), an epoch is of one process; tokens go up; the answers are never emptied, and never
 * taken below the minimum; nobody who is drained, being ended or gone is in them (so late effects have put nobody back); states go the ways there are; and
 * while members have been well and in reach of each other for long, none of them leaves, whatever controllers see.
 * At the end, when nothing went wrong for long: one leads; who is wanted in is in the answers, and nobody else but for the minimum; the others are drained or gone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orbit.h"

const char *const orbit_break_names[ORBIT_BREAK_COUNT] = { "none", "swap-blind", "put-blind", "clock-fast", "reports-lie", "late-blind" };

/* ---------------------------------------------------------------- objects */

static bool decode(enum cluster_kind kind, const char *name, const uint8_t *data, size_t len, void *ret)
{
	struct json_object *raw;

	if (cluster_decode(kind, name, data, len, ret, &raw) != 0)
		return false;
	json_object_put(raw);
	return true;
}

static bool in_answers(const struct answers *a, const char *address)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->addresses[i], address) == 0)
			return true;
	return false;
}

static bool may_follow(const struct cluster_member *a, const struct cluster_member *b)
{
	if (a->state == b->state)
		return true;
	switch ((enum cluster_state)a->state) {
	case CLUSTER_LIVE: return b->state == CLUSTER_DRAINED;
	case CLUSTER_DRAINED: return b->state == CLUSTER_LIVE || b->state == CLUSTER_TERMINATING;
	case CLUSTER_TERMINATING: return b->state == CLUSTER_GONE;
	case CLUSTER_GONE: return b->state == CLUSTER_LIVE && strcmp(a->address, b->address) != 0; /* another under its name */
	default: return false;
	}
}

static void check_member(struct world *w, const char *name, const struct object *before, const uint8_t *data, size_t len)
{
	struct cluster_member a, b;

	if (!decode(CLUSTER_MEMBER, name, data, len, &b)) {
		violate(w, "%s was written as something that cannot be read", name);
		return;
	}
	note(w, "%s is %s, wanted %s (epoch %" PRIu64 ")", name, cluster_state_names[b.state], cluster_wanted_names[b.wanted], b.epoch);
	if (before && decode(CLUSTER_MEMBER, name, before->data, before->len, &a) && !may_follow(&a, &b))
		violate(w, "%s went from %s to %s", name, cluster_state_names[a.state], cluster_state_names[b.state]);
	if (b.state >= CLUSTER_DRAINED && in_answers(&w->dns, b.address))
		violate(w, "%s became %s while it is in the answers", name, cluster_state_names[b.state]);
}

static void check_leader(struct world *w, const struct object *before, const uint8_t *data, size_t len)
{
	struct cluster_leader a, b;

	if (!decode(CLUSTER_LEADER, "", data, len, &b)) {
		violate(w, "the lease was written as something that cannot be read");
		return;
	}
	if (!before || !decode(CLUSTER_LEADER, "", before->data, before->len, &a))
		return;
	if (strcmp(a.process, b.process) != 0 ? b.epoch <= a.epoch : b.epoch < a.epoch)
		violate(w, "epoch %" PRIu64 " of %s follows %" PRIu64 " of %s", b.epoch, b.holder, a.epoch, a.holder);
	w->leaders += b.epoch != a.epoch;
	if (b.epoch != a.epoch)
		note(w, "%s has the lease, epoch %" PRIu64, b.holder, b.epoch);
}

void check_object(struct world *w, const char *key, const struct object *before, const uint8_t *data, size_t len)
{
	static const char members[] = "now/members/";

	if (strncmp(key, members, sizeof(members) - 1) == 0)
		check_member(w, key + sizeof(members) - 1, before, data, len);
	else if (strcmp(key, "leader") == 0)
		check_leader(w, before, data, len);
}

static bool member_of(struct world *w, unsigned m, struct cluster_member *ret)
{
	char key[32], name[16];

	snprintf(name, sizeof(name), "web-%u", m);
	snprintf(key, sizeof(key), "now/members/%s", name);
	for (size_t i = 0; i < w->object_count; i++)
		if (strcmp(w->objects[i].key, key) == 0)
			return decode(CLUSTER_MEMBER, name, w->objects[i].data, w->objects[i].len, ret);
	return false;
}

/* ---------------------------------------------------------------- answers */

static void parse_token(const char *token, uint64_t *ret_epoch, uint64_t *ret_serial)
{
	char *end;

	*ret_epoch = strtoull(token, &end, 10);
	*ret_serial = *end ? strtoull(end + 1, NULL, 10) : 0;
}

void check_swap(struct world *w, const struct answers *before, const struct answers *after, bool late)
{
	uint64_t e[2], s[2];

	parse_token(before->token, &e[0], &s[0]);
	parse_token(after->token, &e[1], &s[1]);
	if (e[1] < e[0] || (e[1] == e[0] && s[1] <= s[0]))
		violate(w, "the answers of %s follow those of %s", after->token, before->token);
	if (after->count == 0)
		violate(w, "the answers were emptied");
	if (after->count < before->count && after->count < w->min)
		violate(w, "%zu answers became %zu, the minimum is %u", before->count, after->count, w->min);
	for (unsigned m = 0; m < MEMBERS; m++) {
		struct cluster_member x;

		if (!member_of(w, m, &x))
			continue;
		if (x.state >= CLUSTER_DRAINED && in_answers(after, x.address))
			violate(w, "%s is %s, and was put into the answers (%s)", x.name, cluster_state_names[x.state], after->token);
		if (!late && w->now_ns > w->trouble_ns + WELL_NS && w->now_ns > w->wished_ns[m] + WELL_NS && x.wanted == CLUSTER_IN && x.state == CLUSTER_LIVE && in_answers(before, x.address) && !in_answers(after, x.address))
			violate(w, "%s was taken out while all members were well", x.name);
	}
}

/* ---------------------------------------------------------------- what happens */

static void check_one_leader(struct world *w)
{
	unsigned holders = 0;
	uint64_t epoch;

	for (unsigned i = 0; i < CONTROLLERS; i++)
		holders += w->processes[i].up && !w->processes[i].crashed && lead_holds(w->processes[i].lead, &epoch);
	if (holders > 1)
		violate(w, "%u lead at once", holders);
}

static uint64_t next_event_ns; /* of the one history that runs in this process */

static void between(struct world *w)
{
	unsigned m = (unsigned)rng_below(&w->rng, MEMBERS), p;

	check_one_leader(w);
	if (w->calm || w->now_ns < next_event_ns)
		return;
	next_event_ns = w->now_ns + rng_below(&w->rng, 12000) * MS;
	/* For half of the storm controllers alone have trouble. */
	if (w->now_ns > STORM_NS / 2 || rng_below(&w->rng, 3) == 0) {
		p = (unsigned)rng_below(&w->rng, CONTROLLERS);
		w->cut[p][m] = rng_below(&w->rng, 2);
		return;
	}
	w->trouble_ns = w->now_ns;
	if (rng_below(&w->rng, 2)) {
		w->alive[m] = !w->alive[m];
		w->processes[CONTROLLERS + m].crashed |= !w->alive[m];
		note(w, "web-%u is %s", m, w->alive[m] ? "back" : "dead");
	} else {
		p = CONTROLLERS + (unsigned)rng_below(&w->rng, MEMBERS);
		w->cut[p][m] = rng_below(&w->rng, 2);
	}
}

static void heal(struct world *w, bool all)
{
	for (unsigned m = 0; m < MEMBERS; m++) {
		w->alive[m] = true;
		for (unsigned p = all ? 0 : CONTROLLERS; p < PROCESSES; p++)
			w->cut[p][m] = false;
	}
	w->trouble_ns = w->now_ns;
	if (!all)
		return;
	w->calm = true;
	note(w, "it is calm");
	for (unsigned p = 0; p < PROCESSES; p++) {
		w->processes[p].frozen_ns = 0;
		if (w->processes[p].starts_ns > w->now_ns)
			w->processes[p].starts_ns = w->now_ns;
	}
}

static void check_end(struct world *w)
{
	uint64_t epoch = 0, e, s;
	unsigned wanted = 0, holders = 0;

	for (unsigned i = 0; i < CONTROLLERS; i++)
		holders += w->processes[i].up && lead_holds(w->processes[i].lead, &epoch) && ++wanted;
	wanted = 0;
	if (holders != 1)
		violate(w, "at the end %u lead", holders);
	for (unsigned i = 0; i < CONTROLLERS; i++) {
		if (w->processes[i].up && lead_holds(w->processes[i].lead, &e))
			epoch = e;
	}
	parse_token(w->dns.token, &e, &s);
	if (e != epoch)
		violate(w, "at the end the answers are of %s, and the epoch is %" PRIu64, w->dns.token, epoch);
	for (unsigned m = 0; m < MEMBERS; m++) {
		struct cluster_member x;

		if (!member_of(w, m, &x)) {
			violate(w, "at the end web-%u cannot be read", m);
			return;
		}
		wanted += x.wanted == CLUSTER_IN;
		if (x.wanted == CLUSTER_IN && (x.state != CLUSTER_LIVE || !in_answers(&w->dns, x.address)))
			violate(w, "at the end %s is wanted, and %s", x.name, x.state == CLUSTER_LIVE ? "not in the answers" : cluster_state_names[x.state]);
	}
	for (unsigned m = 0; m < MEMBERS && wanted >= w->min; m++) {
		struct cluster_member x;

		if (member_of(w, m, &x) && x.wanted != CLUSTER_IN && x.state != (x.wanted == CLUSTER_OUT ? CLUSTER_DRAINED : CLUSTER_GONE))
			violate(w, "at the end %s is wanted %s, and still %s", x.name, cluster_wanted_names[x.wanted], cluster_state_names[x.state]);
	}
}

static void set_up(struct world *w)
{
	unsigned n = 0;

	w->min = 1 + (unsigned)rng_below(&w->rng, 2);
	for (unsigned i = 0; i < PROCESSES; i++) {
		struct process *p = &w->processes[i];

		p->w = w;
		p->id = i;
		p->rate = 960 + (unsigned)rng_below(&w->rng, 81);
		p->boot_ns = rng_below(&w->rng, 1000000) * SECOND;
		p->starts_ns = (1 + rng_below(&w->rng, 3000)) * MS;
		if (w->brk == ORBIT_BREAK_CLOCK_FAST && i == 0)
			p->rate = 2000;
		snprintf(p->name, sizeof(p->name), i < CONTROLLERS ? "c-%u" : i < PROCESSES - 1 ? "web-%u" : "op", i < CONTROLLERS ? i : i - CONTROLLERS);
		doubles_open(p);
	}
	roles_found(w);
	for (unsigned m = 0; m < MEMBERS; m++)
		w->alive[m] = true;
	for (unsigned i = 0; i < CONTROLLERS; i++) /* first, so that at the end they end first */
		w->actors[n++] = (struct actor){ .w = w, .p = &w->processes[i], .run = run_lease };
	for (unsigned i = 0; i < CONTROLLERS; i++)
		w->actors[n++] = (struct actor){ .w = w, .p = &w->processes[i], .run = run_rounds };
	for (unsigned i = CONTROLLERS; i < PROCESSES - 1; i++)
		w->actors[n++] = (struct actor){ .w = w, .p = &w->processes[i], .run = run_agent };
	w->actors[n++] = (struct actor){ .w = w, .p = &w->processes[PROCESSES - 1], .run = run_operator };
}

int history_run(uint64_t seed, enum orbit_break brk, bool trace, struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->rng = seed * 0x9e3779b97f4a7c15u + 1;
	w->brk = brk;
	w->trace = trace;
	next_event_ns = 20 * SECOND;
	set_up(w);
	actors_start(w);
	actors_run(w, STORM_NS / 2, between);
	heal(w, false);
	actors_run(w, STORM_NS, between);
	heal(w, true);
	actors_run(w, STORM_NS + CALM_NS, between);
	if (!w->violation[0])
		check_end(w);
	actors_stop(w);
	doubles_free(w);
	return w->violation[0] ? -1 : 0;
}
