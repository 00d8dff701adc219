/*
 * node_choose.c - which of all that is wanted is tried next.
 *
 * There may be a million, most of which cannot be had now, and the core must answer meanwhile. So what has just become possible is kept by path: what was told of a
 * moment ago, what is in a directory that was just made, what was fetched, whose pause is over. All else is found by going through all that is wanted, a piece at a time,
 * and not again at once. What is kept by path is only a shortcut: it may be dropped at any time, for a walk (scan_wanted).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

#define KEPT_MOST 65536u          /* paths kept of each kind */
#define SCAN_MOST 2048u           /* records of one piece */
#define SCAN_SMALL 1024u          /* so few are gone through at any time, */
#define SCAN_AGAIN_NS 1000000000ull /* more only in this distance */

static void keep(struct node *n, struct pathmap *m, const char *path, size_t len)
{
	struct pathmap_item *i;

	if (pathmap_get(m, path, len))
		return;
	i = m->count < KEPT_MOST ? calloc(1, sizeof *i) : NULL;
	if (i && pathmap_add(m, path, len, i) == 0)
		return;
	free(i);
	n->scan_wanted = true;
}

void node_want_soon(struct node *n, const char *path, size_t len, const struct index_record *r)
{
	keep(n, r && !r->known.deleted && r->known.kind == ENTRY_DIR ? &n->fresh_dirs : &n->fresh, path, len);
}

void node_want_fetch(struct node *n, const char *path, size_t len)
{
	keep(n, &n->fetchable, path, len);
}

static int want_child(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct node *n = user;
	struct wait *w = (struct wait *)(void *)pathmap_get(&n->waits, path, len);

	if (w)
		w->due_ns = 0;
	node_want_soon(n, path, len, r);
	return 0;
}

int node_want_below(struct node *n, struct index_txn *t, const char *path, size_t len)
{
	return index_wanted_below(t, path, len, KEPT_MOST, want_child, n);
}

/* Those that were there when it began: who is tried may be kept again. any_time: whatever pause it was given. */
static int try_all(struct node *n, struct pathmap *m, bool any_time, node_try try, void *user)
{
	uint64_t now = node_now(n);
	int rc = 0;

	for (size_t left = m->count; left && m->first && !rc; left--) {
		struct pathmap_item *i = m->first;
		const struct wait *w = (const struct wait *)(const void *)pathmap_get(&n->waits, i->path, i->len);
		bool ready = (any_time || !w || w->due_ns <= now) && !pathmap_get(&n->intents, i->path, i->len);
		char *path = ready ? strndup(i->path, i->len) : NULL;

		if (ready && !path)
			return -ENOMEM;
		pathmap_remove(m, i);
		free(i);
		if (path)
			rc = try(user, path, strlen(path));
		free(path);
	}
	return rc;
}

struct scan { struct node *n; uint64_t now; };

static int note_candidate(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct scan *s = user;
	const struct wait *w = (const struct wait *)(const void *)pathmap_get(&s->n->waits, path, len);

	if ((w && w->due_ns > s->now) || pathmap_get(&s->n->intents, path, len) || pathmap_get(&s->n->fetchable, path, len))
		return 0;
	node_want_soon(s->n, path, len, r);
	return 0;
}

/* A piece of all that is wanted becomes fresh. */
static int scan(struct node *n, struct index_txn *t)
{
	struct scan s = { n, node_now(n) };
	int rc;

	if (!n->scanning_wanted && (!n->scan_wanted || (n->wanted > SCAN_SMALL && s.now < n->want_scan_ns))) {
		if (n->scan_wanted)
			node_wake(n, n->want_scan_ns);
		return 0;
	}
	if (!n->scanning_wanted) {
		n->scanning_wanted = true;
		n->scan_wanted = false;
		n->want_at.len = 0;
		n->want_scan_ns = s.now + SCAN_AGAIN_NS;
	}
	rc = index_wanted_from(t, &n->want_at, SCAN_MOST, note_candidate, &s);
	n->scanning_wanted = !rc && n->want_at.len;
	if (n->scanning_wanted)
		node_wake(n, s.now); /* the next piece, when others had their turn */
	return rc;
}

int node_candidates(struct node *n, struct index_txn *t, node_try try, void *user)
{
	uint64_t now = node_now(n);
	int rc;

	for (struct pathmap_item *i = n->waits.first; i; i = i->next)
		if (((struct wait *)(void *)i)->due_ns <= now)
			node_want_soon(n, i->path, i->len, NULL);
	rc = n->fresh.count < SCAN_SMALL ? scan(n, t) : 0;
	if (!rc)
		rc = try_all(n, &n->fresh_dirs, false, try, user);
	if (!rc)
		rc = try_all(n, &n->fresh, false, try, user);
	if (!rc && fetch_room(n->fetches))
		rc = try_all(n, &n->fetchable, true, try, user);
	return rc < 0 ? rc : 0;
}

static void free_all(struct pathmap *m)
{
	while (m->first) {
		struct pathmap_item *i = m->first;

		pathmap_remove(m, i);
		free(i);
	}
	pathmap_free(m);
}

void node_choose_free(struct node *n)
{
	free_all(&n->fresh_dirs);
	free_all(&n->fresh);
	free_all(&n->fetchable);
	n->scanning_wanted = n->scan_wanted = false;
}
