/*
 * node_missing.c - a vanished tree is not a deletion (R5): when much is missing at once, nothing of it is told until somebody says what to make of it.
 *
 * What is found gone alone, nothing else being to be looked at, goes out at once, however much it becomes: that is somebody who deletes. So do the first few that
 * are not alone. What is found gone behind those is held back until all that is to be looked at was, and nothing more was found gone for
 * a second, or it has been five; then it is judged: what is missing, less what is now somewhere else (a move: the inode tells), against what there was. Not too much: it goes out.
 * Too much: the node halts, and tells nobody. Then it takes a word from outside (node_go_on). That word is written on each of the paths that were held back at the halt, and goes
 * with them: what is found gone later is another question, with another number.
 *
 * What is held back is dirty and has no version: whoever dies in between finds it missing again, and asks again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define HOLD_NS 1000000000ull            /* so long nothing more is found gone before it is judged; */
#define HOLD_MOST_NS 5000000000ull       /* where something is deleted all the time, nothing is held back longer */
#define CENSUS_NS 60000000000ull         /* so long what was counted will do, where it is far from a halt */
#define WINDOW_NS 10000000000ull         /* what is missing in this time is missing at once */

/* The few that are not held back. None, while the scan after a start goes on: who is started again and again must not tell a few each time. */
static uint64_t free_count(const struct node *n)
{
	return n->scanning ? 0 : n->o.missing_most / 2;
}

static void begin_window(struct node *n)
{
	uint64_t now = node_now(n);

	if (n->held || (n->window_ns && now - n->window_ns < WINDOW_NS))
		return;
	n->window_ns = now;
	n->gone = 0;
}

int node_hold(struct node *n, const char *path)
{
	struct dirty *d;
	int rc = node_look(n, path, strlen(path), false, true, 0);

	if (rc)
		return rc;
	d = (struct dirty *)(void *)pathmap_get(&n->dirty, path, strlen(path));
	if (!n->held && !n->look_held)
		n->held_ns = node_now(n);
	n->held += !d->held;
	d->held = true;
	d->due_ns = UINT64_MAX;
	if (!n->look_held)
		n->gone_ns = node_now(n);
	return 0;
}

enum node_missing node_missing(struct node *n, const char *path)
{
	if (n->look_word != MISSING_ASK)
		return n->look_word;
	begin_window(n);
	if (n->look_alone && !n->scanning && !n->held && !n->look_held)
		return MISSING_DELETED;
	if (n->o.missing_percent > 100 || (n->look_held && n->releasing) ||
	    (!n->held && !n->look_held && n->gone < free_count(n))) {
		if (n->look_held && n->moved) /* it is somewhere else: not missing */
			n->moved--;
		else
			n->gone++;
		return MISSING_DELETED;
	}
	if (node_hold(n, path))
		node_failed(n, -ENOMEM); /* the next scan finds it */
	return MISSING_ASK;
}

bool node_is_held(struct node *n, const char *path, size_t len)
{
	const struct dirty *d = (const struct dirty *)(const void *)pathmap_get(&n->dirty, path, len);

	return d && d->held;
}

struct census { struct node *n; uint64_t *inodes, all, moved; size_t count; };

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int count_one(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct census *c = user;

	if (!node_on_disk(r))
		return 0;
	c->all++;
	if (c->count && bsearch(&r->stat.ino, c->inodes, c->count, sizeof r->stat.ino, by_number) && !node_is_held(c->n, path, len))
		c->moved++;
	return 0;
}

/* What should lie on the disk, what is held back included; and how much of what is held back lies elsewhere. */
static int take_census(struct node *n, uint64_t *ret_all, uint64_t *ret_moved)
{
	struct census c = { .n = n, .inodes = calloc(n->held, sizeof *c.inodes) };
	struct index_record r;
	struct index_txn *t;
	int rc = c.inodes ? index_begin(n->o.index, false, &t) : -ENOMEM;

	if (rc) {
		free(c.inodes);
		return rc;
	}
	index_record_init(&r);
	for (struct pathmap_item *i = n->dirty.first; i && c.count < n->held; i = i->next)
		if (((struct dirty *)(void *)i)->held && index_get(t, i->path, i->len, &r) == 0 && r.stat.ino)
			c.inodes[c.count++] = r.stat.ino;
	index_record_free(&r);
	qsort(c.inodes, c.count, sizeof *c.inodes, by_number);
	rc = index_since(t, 0, UINT32_MAX, count_one, &c);
	index_abort(t);
	free(c.inodes);
	*ret_all = c.all;
	*ret_moved = c.moved;
	return rc;
}

static void release(struct node *n)
{
	uint64_t now = node_now(n);

	for (struct pathmap_item *i = n->dirty.first; i; i = i->next) {
		struct dirty *d = (struct dirty *)(void *)i;

		if (d->held)
			d->due_ns = now;
	}
}

bool node_look_is_due(const struct node *n)
{
	uint64_t now = n->o.env->boot_ns(n->o.env);

	for (const struct pathmap_item *i = n->dirty.first; i; i = i->next)
		if (((const struct dirty *)(const void *)i)->due_ns <= now)
			return true;
	return false;
}

void node_look_again(struct node *n, const char *path, size_t len)
{
	struct dirty *d = (struct dirty *)(void *)pathmap_get(&n->dirty, path, len);

	if (!d)
		return;
	d->told |= n->look_told;
	if (d->word == MISSING_ASK)
		d->word = n->look_word;
}

void node_judge_missing(struct node *n)
{
	uint64_t now = node_now(n), all = 0, moved = 0, gone = n->gone + n->held;
	int rc;

	if (n->tree_job || node_look_is_due(n)) /* what is being looked at may be what was released */
		return;
	n->releasing = false;
	if (!n->held || (now - n->gone_ns < HOLD_NS && now - n->held_ns < HOLD_MOST_NS))
		return;
	/* Half of what would be too much, by a count of a minute ago: it is not. */
	if (gone > n->o.missing_most && !(n->census_ns && now - n->census_ns < CENSUS_NS && gone * 200 < n->o.missing_percent * n->census)) {
		rc = take_census(n, &all, &moved);
		n->census = all;
		n->census_ns = rc ? 0 : now;
	} else {
		rc = 0;
		all = UINT64_MAX / 200;
	}
	if (rc) {
		node_failed(n, rc);
		n->gone_ns = n->held_ns = now; /* again in a second */
		return;
	}
	all += n->gone;
	gone -= moved < gone ? moved : gone;
	if (gone > n->o.missing_most && gone * 100 >= n->o.missing_percent * all) {
		n->halted = n->halted_missing = true;
		do
			n->o.env->random(n->o.env, &n->question, sizeof n->question);
		while (!n->question);
		n->missing_count = gone;
		n->missing_of = all;
		return;
	}
	n->moved = moved;
	n->releasing = true;
	n->again = true;
	release(n);
}

uint64_t node_judge_at(const struct node *n)
{
	uint64_t quiet = n->gone_ns + HOLD_NS, most = n->held_ns + HOLD_MOST_NS;

	return !n->held || n->releasing ? UINT64_MAX : quiet < most ? quiet : most;
}

int node_go_on(struct node *n, uint32_t question, bool deleted)
{
	int rc;

	if (!n->halted)
		return -EALREADY;
	if (!n->halted_missing)
		return -ESTALE;
	if (question != n->question)
		return -ESRCH;
	rc = n->o.tree->alive(n->o.tree);
	if (rc)
		return rc;
	for (struct pathmap_item *i = n->dirty.first; i; i = i->next) {
		struct dirty *d = (struct dirty *)(void *)i;

		if (d->held)
			d->word = deleted ? MISSING_DELETED : MISSING_RESTORE;
	}
	n->halted = n->halted_missing = false;
	release(n);
	node_pump(n);
	return 0;
}
