/*
 * poolplan.c - the pool's plan. Members are sorted by name, the addresses they have by address; an address goes by all members that have it (one,
 * mostly). Additions come first, then removals in the order of names while the minimum holds, so the same state always gives the same plan.
 */
#include "poolplan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

/* An address that is in the answers, or that a member has. */
struct place {
	const char *address;
	bool is_in, stays_in;  /* before, after */
	unsigned members, wish_in, wish_stay, dead, seen_down; /* members: how many have it; of these so many ... */
};

struct work {
	const struct poolplan_in *in;
	const struct poolplan_member **by_name;
	struct place *places; /* by address */
	size_t place_count;
	size_t size, good;    /* of those in the answers that members have; of these not seen down */
	struct poolplan *plan;
};

static int compare_names(const void *a, const void *b)
{
	const struct poolplan_member *const *x = a, *const *y = b;
	int d = strcmp((*x)->name, (*y)->name);

	return d ? d : strcmp((*x)->address, (*y)->address);
}

static int compare_places(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->address, ((const struct place *)b)->address);
}

static bool is_dead(const struct poolplan_member *m)
{
	return m->leader == POOLPLAN_DOWN && m->others_down > 0 && m->others_up == 0;
}

/* NULL: it may enter. */
static const char *why_out(const struct poolplan_member *m)
{
	if (!m->wanted)
		return "not wanted in";
	if (m->leader != POOLPLAN_UP)
		return m->leader == POOLPLAN_DOWN ? "the leader sees it down" : "the leader has not seen it up yet";
	if (m->others_down > m->others_up)
		return "more of the others see it down than up";
	return m->unproven;
}

static struct place *place_of(struct work *w, const char *address)
{
	struct place key = { .address = address };

	return bsearch(&key, w->places, w->place_count, sizeof(key), compare_places);
}

static void make_places(struct work *w)
{
	const struct dns_answers *a = w->in->answers;
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < a->count; i++)
		w->places[n++] = (struct place){ .address = a->addresses[i], .is_in = true };
	for (size_t i = 0; i < w->in->count; i++)
		w->places[n++] = (struct place){ .address = w->in->members[i].address };
	qsort(w->places, n, sizeof(*w->places), compare_places);
	for (size_t i = 0; i < n; i++) {
		if (kept && strcmp(w->places[kept - 1].address, w->places[i].address) == 0)
			w->places[kept - 1].is_in |= w->places[i].is_in;
		else
			w->places[kept++] = w->places[i];
	}
	w->place_count = kept;
	for (size_t i = 0; i < w->in->count; i++) {
		const struct poolplan_member *m = &w->in->members[i];
		struct place *p = place_of(w, m->address);

		p->members++;
		p->wish_in += !why_out(m);
		p->wish_stay += m->wanted && !is_dead(m);
		p->dead += is_dead(m);
		p->seen_down += m->leader == POOLPLAN_DOWN;
	}
}

static bool is_down(const struct place *p)
{
	return p->seen_down == p->members;
}

static void add(struct work *w)
{
	for (size_t i = 0; i < w->place_count; i++) {
		struct place *p = &w->places[i];

		p->stays_in = p->is_in || (p->wish_in && w->plan->to.count < DNS_ANSWERS_MAX);
		w->plan->to.count += p->stays_in && !p->is_in;
		w->plan->added += p->stays_in && !p->is_in;
		if (p->stays_in && p->members) {
			w->size++;
			w->good += !is_down(p);
		}
	}
}

/* Takes out those that are dead, or else those not wanted, while the minimum holds. */
static void take_out(struct work *w, bool dead)
{
	size_t least = w->in->min ? w->in->min : 1;

	for (size_t i = 0; i < w->in->count; i++) {
		struct place *p = place_of(w, w->by_name[i]->address);

		if (!p->stays_in || p->wish_stay || p->wish_in || (p->dead == p->members) != dead)
			continue;
		if (w->size <= least || (!is_down(p) && w->good <= least))
			continue;
		p->stays_in = false;
		w->size--;
		w->good -= !is_down(p);
		w->plan->removed++;
		w->plan->to.count--;
	}
}

static struct poolplan_line line_of(struct work *w, const struct poolplan_member *m)
{
	struct place *p = place_of(w, m->address);
	struct poolplan_line l = { m->name, m->address, "", POOLPLAN_IN };

	if (p->members > 1) {
		l.verb = POOLPLAN_DOUBLE;
		l.why = "another member has the same address";
	} else if (!p->is_in) {
		l.verb = p->stays_in ? POOLPLAN_ADD : POOLPLAN_OUT;
		l.why = p->stays_in ? "it is up and has proven itself" : why_out(m) ? why_out(m) : "there are as many answers as there can be";
	} else if (!p->stays_in) {
		l.verb = POOLPLAN_REMOVE;
		l.why = p->dead ? "it is dead: the leader and others say so" : "not wanted in";
	} else if (!p->wish_stay && !p->wish_in) {
		l.verb = POOLPLAN_HELD;
		l.why = p->dead ? "it is dead, and stays only because the pool is at its minimum" : "not wanted in, and stays only because the pool is at its minimum";
		w->plan->held++;
	} else if (m->leader == POOLPLAN_DOWN) {
		l.verb = POOLPLAN_DOUBTED;
		l.why = m->others_up ? "the leader sees it down, others see it up" : "the leader sees it down, and nobody else is there to say so";
	}
	return l;
}

static void write_lines(struct work *w)
{
	for (size_t i = 0; i < w->in->count; i++)
		w->plan->lines[w->plan->line_count++] = line_of(w, w->by_name[i]);
	for (size_t i = 0; i < w->place_count; i++)
		if (!w->places[i].members)
			w->plan->lines[w->plan->line_count++] = (struct poolplan_line){ "", w->places[i].address, "no member has this address", POOLPLAN_FOREIGN };
}

static void write_answers(struct work *w)
{
	struct dns_answers *to = &w->plan->to;

	to->count = 0;
	for (size_t i = 0; i < w->place_count; i++)
		if (w->places[i].stays_in)
			memcpy(to->addresses[to->count++], w->places[i].address, strlen(w->places[i].address) + 1);
	w->plan->change = w->plan->added || w->plan->removed || (to->count && !w->in->settled);
}

int poolplan_make(const struct poolplan_in *in, struct poolplan *ret)
{
	size_t n = in->count + in->answers->count;
	struct work w = { .in = in, .plan = ret };
	int rc = -ENOMEM;

	*ret = (struct poolplan){ .to.count = in->answers->count };
	w.by_name = calloc(n + 1, sizeof(const struct poolplan_member *));
	w.places = calloc(n + 1, sizeof(*w.places));
	ret->lines = calloc(n + 1, sizeof(*ret->lines));
	ret->to.addresses = calloc(n + 1, sizeof(*ret->to.addresses));
	if (w.by_name && w.places && ret->lines && ret->to.addresses) {
		for (size_t i = 0; i < in->count; i++)
			w.by_name[i] = &in->members[i];
		qsort(w.by_name, in->count, sizeof(const struct poolplan_member *), compare_names);
		make_places(&w);
		add(&w);
		take_out(&w, true);
		take_out(&w, false);
		write_answers(&w);
		write_lines(&w);
		rc = 0;
	}
	free(w.by_name);
	free(w.places);
	if (rc)
		poolplan_free(ret);
	return rc;
}

void poolplan_free(struct poolplan *p)
{
	dns_answers_free(&p->to);
	free(p->lines);
	p->lines = NULL;
	p->line_count = 0;
}
