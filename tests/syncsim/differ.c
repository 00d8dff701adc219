/*
 * differ.c - what a node says that differs from its peers. It is asked while everything goes on, with crashes and cuts between: then no more is known of the answer than that it
 * comes, or the link went down. At rest all are identical, and each says so of each.
 */
#include <stdlib.h>
#include <string.h>

#include "syncworld.h"

static void each(void *user, const struct node_difference *x)
{
	struct machine *m = user;

	if (!entry_path_valid(x->path, x->len) || (unsigned)x->how >= NODE_DIFFERS)
		world_violation(m->w, "differs: %u tells of no path, or of no difference", m->number);
	m->differ.told++;
	if (m->differ.at_rest)
		world_violation(m->w, "differs: %u says at rest that %.*s is %s", m->number, (int)x->len, x->path, node_differs_names[x->how]);
}

static void ended(void *user, int rc, const struct node_diff_result *r)
{
	struct machine *m = user;
	struct sim_differ *d = &m->differ;

	d->running--;
	d->ended += rc == 0;
	if (!d->at_rest)
		return;
	if (rc)
		world_violation(m->w, "differs: %u cannot say at rest what does (%d)", m->number, rc);
	else if (r->differing || r->here || r->there)
		world_violation(m->w, "differs: %u says at rest that %llu paths do, %llu are to come here, %llu there", m->number, (unsigned long long)r->differing,
				(unsigned long long)r->here, (unsigned long long)r->there);
}

unsigned differ_begin(struct machine *m, bool at_rest)
{
	struct node_diff *d;
	unsigned begun = 0;

	if (!m->node)
		return 0;
	m->differ.at_rest = at_rest;
	for (unsigned i = 0; i < m->w->count; i++) {
		if (m->w->m[i].number == m->number)
			continue;
		m->differ.running++; /* it may end before this returns */
		if (node_diff_begin(m->node, m->w->m[i].key, each, ended, m, &d))
			m->differ.running--;
		else
			begun++;
	}
	return begun;
}

/* Its process is gone. */
void differ_drop(struct machine *m)
{
	m->differ.running = 0;
}
