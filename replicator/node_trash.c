/*
 * node_trash.c - the job that tends the trash: now and then, and soon after something could not be moved there. Nothing is applied meanwhile, so that whatever is in
 * the temps under a name that is to be kept is left over.
 */
#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "node_impl.h"

#define TEND_EVERY_NS 3600000000000ull
#define TEND_FIRST_NS 10000000000ull      /* after a start: the scan comes first */
#define TEND_AGAIN_NS 1000000000ull       /* after a failure; each time twice as long */
#define TEND_AGAIN_MOST_NS 60000000000ull

struct tend_job {
	struct node_job j;
	struct node *n;
	struct trash_rules rules;
	struct trash_state state;
	int alive, rc;
};

static void run(struct node_job *j)
{
	struct tend_job *k = (struct tend_job *)(void *)j;
	struct tree *t = k->n->o.tree;

	k->alive = t->alive(t);
	if (!k->alive)
		k->rc = trash_tend(t, &k->rules, &k->state);
}

/* Where things are kept for a short time only, more often. */
static uint64_t pause(const struct node *n, uint64_t most_ns)
{
	return n->o.trash_keep_ns / 8 < most_ns ? n->o.trash_keep_ns / 8 + 1 : most_ns;
}

static void drop(struct node_job *j)
{
	free(j);
}

static void done(struct node_job *j)
{
	struct tend_job *k = (struct tend_job *)(void *)j;
	struct node *n = k->n;

	node_job_over(n);
	n->tree_job = false;
	if (k->alive) {
		n->halted = true;
		node_failed(n, k->alive);
	} else if (k->rc) {
		node_failed(n, k->rc);
		n->tend_ns = node_now(n) + n->tend_pause_ns;
		n->tend_pause_ns = 2 * n->tend_pause_ns < TEND_AGAIN_MOST_NS ? 2 * n->tend_pause_ns : TEND_AGAIN_MOST_NS;
		n->trash.stuck = k->state.stuck;
		n->tend_left = true;
	} else {
		n->trash = k->state;
		n->tend_left = k->state.stuck;
		n->tend_pause_ns = TEND_AGAIN_NS;
		n->tend_ns = node_now(n) + pause(n, TEND_EVERY_NS);
	}
	free(k);
	node_pump(n);
}

void node_tend_first(struct node *n)
{
	n->tend_pause_ns = TEND_AGAIN_NS;
	n->tend_ns = node_now(n) + pause(n, TEND_FIRST_NS);
}

void node_tend_soon(struct node *n)
{
	uint64_t at = node_now(n) + TEND_AGAIN_NS;

	n->tend_left = true;
	if (at < n->tend_ns)
		n->tend_ns = at;
}

bool node_start_tend(struct node *n)
{
	uint64_t now = node_now(n);
	struct tend_job *k;

	if (n->tend_ns > now)
		return false;
	k = calloc(1, sizeof *k);
	if (!k) {
		node_failed(n, -ENOMEM);
		n->tend_ns = now + TEND_AGAIN_NS;
		return false;
	}
	k->j = (struct node_job){ run, done, drop, NULL };
	k->n = n;
	k->rules = (struct trash_rules){ .boot = n->o.boot, .boot_ns = now, .clock_ns = trash_clock_ns(&n->trash_clock, now),
					 .wall_us = n->o.env->real_ns(n->o.env) / 1000, .keep_ns = n->o.trash_keep_ns,
					 .most_bytes = n->o.trash_most_bytes };
	n->tree_job = true;
	node_submit(n, &k->j);
	return true;
}
