/*
 * node_choose.c - which of all that is wanted is tried next.
 *
 * There may be a million, most of which cannot be had now, and the core must answer meanwhile. So what may have become possible is kept by path, in the order in which it came: what was told of a
 * moment ago (fresh), what was tried before and may be tried again (early), what was fetched, what is to be fetched once fewer are. All else is found by going through all that is wanted,
 * a piece at a time, in the order in which it came, and not again at once. What is kept by path is only a shortcut: it may be dropped at any time, for a walk (scan_wanted).
 *
 * Who came first is not to wait for those who come all the time: a half of each job is for what was fetched, a quarter for what is early, and what is to be fetched is asked for before what is fresh is
 * looked at. Nor are those who come now to wait until a million are there: the rest is theirs. What is fresh and does not fit becomes early, when the walk comes to it. Small files are not
 * fetched behind big ones.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "node_impl.h"

#define SCAN_MOST 2048u           /* records of one piece */
#define SCAN_SMALL 1024u          /* so few are gone through at any time, */
#define SCAN_AGAIN_NS 1000000000ull /* more only in this distance */
#define EARLY_TRIED (2 * NODE_BATCH) /* so much of what came first is tried before what is fresh */

static bool keep(const struct node *n, struct pathmap *m, const char *path, size_t len)
{
	struct pathmap_item *i;

	if (pathmap_get(m, path, len))
		return true;
	i = m->count < n->o.want_keep ? calloc(1, sizeof *i) : NULL;
	if (i && pathmap_add(m, path, len, i) == 0)
		return true;
	free(i);
	return false;
}

/* From the first on: what was not kept may have come before all that the walk has not come to yet. */
static void walk_anew(struct node *n)
{
	n->scan_wanted = true;
	n->scanning_wanted = false;
}

static bool is_dir(const struct index_record *r)
{
	return r && !r->known.deleted && r->known.kind == ENTRY_DIR;
}

void node_want_news(struct node *n, const char *path, size_t len, const struct index_record *r)
{
	if (!keep(n, is_dir(r) ? &n->fresh_dirs : &n->fresh, path, len) && !n->scanning_wanted)
		n->scan_wanted = true; /* a walk that is under way will come to it: it is the last */
}

void node_want_soon(struct node *n, const char *path, size_t len, const struct index_record *r)
{
	if (!keep(n, is_dir(r) ? &n->fresh_dirs : &n->early, path, len))
		walk_anew(n);
}

void node_want_fetched(struct node *n, const char *path, size_t len)
{
	if (!keep(n, &n->fetched, path, len))
		walk_anew(n);
}

void node_want_fetch(struct node *n, const char *path, size_t len, bool small)
{
	if (!n->unfetched) /* once one was not kept none is that came later, until the walk comes to it */
		n->unfetched = !keep(n, &n->fetchable[small], path, len);
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
	return index_wanted_below(t, path, len, (unsigned)n->o.want_keep, want_child, n);
}

/* So many may still be tried, and be chosen. */
struct share { unsigned tries, most; };

/* Those that were there when it began: who is tried may be kept again. */
static int try_all(struct node *n, struct pathmap *m, struct share *s, node_try try, void *user)
{
	uint64_t now = node_now(n);
	bool fetchable = m == &n->fetchable[0] || m == &n->fetchable[1]; /* whatever pause it was given */
	int rc = 0;

	for (size_t left = m->count; left && m->first && s->tries && s->most; left--) {
		struct pathmap_item *i = m->first;
		const struct wait *w = (const struct wait *)(const void *)pathmap_get(&n->waits, i->path, i->len);
		bool ready = (fetchable || !w || w->due_ns <= now) && !pathmap_get(&n->intents, i->path, i->len);
		char *path;

		if (fetchable && !fetch_room(n->fetches, m == &n->fetchable[1]))
			break;
		path = ready ? strndup(i->path, i->len) : NULL;
		if (ready && !path)
			return -ENOMEM;
		pathmap_remove(m, i);
		free(i);
		if (!path)
			continue;
		s->tries--;
		rc = try(user, path, strlen(path));
		free(path);
		if (rc < 0 || rc == NODE_ENOUGH)
			return rc;
		s->most -= rc == NODE_CHOSEN;
	}
	return 0;
}

struct scan { struct node *n; uint64_t now; };

static int note_candidate(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct scan *s = user;
	const struct wait *w = (const struct wait *)(const void *)pathmap_get(&s->n->waits, path, len);

	if ((w && w->due_ns > s->now) || pathmap_get(&s->n->intents, path, len) || pathmap_get(&s->n->fetchable[0], path, len) || pathmap_get(&s->n->fetchable[1], path, len))
		return 0;
	node_want_soon(s->n, path, len, r);
	return 0;
}

/* A piece of all that is wanted becomes early. */
static int scan(struct node *n, struct index_txn *t)
{
	struct scan s = { n, node_now(n) };
	size_t kept = n->early.count > n->fresh_dirs.count ? n->early.count : n->fresh_dirs.count, room = kept < n->o.want_keep ? n->o.want_keep - kept : 0;
	int rc;

	if (!n->scanning_wanted && (!n->scan_wanted || (n->wanted > SCAN_SMALL && s.now < n->want_scan_ns))) {
		if (n->scan_wanted)
			node_wake(n, n->want_scan_ns);
		return 0;
	}
	if (!room) {
		node_wake(n, s.now);
		return 0;
	}
	if (!n->scanning_wanted) {
		n->scanning_wanted = true;
		n->scan_wanted = false;
		n->want_at.len = 0;
		n->want_scan_ns = s.now + SCAN_AGAIN_NS;
	}
	rc = index_wanted_from(t, &n->want_at, room < SCAN_MOST ? (unsigned)room : SCAN_MOST, note_candidate, &s);
	n->scanning_wanted = !rc && n->want_at.len;
	if (n->scanning_wanted)
		node_wake(n, s.now); /* the next piece, when others had their turn */
	return rc;
}

static void take_due(struct node *n)
{
	uint64_t now = node_now(n);

	for (struct pathmap_item *i = n->waits.first; i; i = i->next)
		if (((struct wait *)(void *)i)->due_ns <= now && !pathmap_get(&n->intents, i->path, i->len))
			node_want_soon(n, i->path, i->len, NULL);
}

static bool any_due(const struct node *n)
{
	uint64_t now = node_now(n);

	for (const struct pathmap_item *i = n->waits.first; i; i = i->next)
		if (((const struct wait *)(const void *)i)->due_ns <= now)
			return true;
	return false;
}

bool node_any_candidates(const struct node *n)
{
	if (n->fresh.count + n->fresh_dirs.count + n->early.count + n->fetched.count || n->scan_wanted || n->scanning_wanted || n->unfetched)
		return true;
	for (unsigned small = 0; small < 2; small++)
		if (n->fetchable[small].count && fetch_room(n->fetches, small))
			return true;
	return any_due(n);
}

int node_candidates(struct node *n, struct index_txn *t, node_try try, void *user)
{
	struct share fetched = { UINT_MAX, (n->o.batch + 1) / 2 }, early = { EARLY_TRIED, (n->o.batch + 3) / 4 }, rest = { UINT_MAX, UINT_MAX };
	const struct { struct pathmap *m; struct share *share; } order[] = {
		{ &n->fetched, &fetched }, { &n->fetchable[1], &early }, { &n->fetchable[0], &early }, { &n->early, &early },
		{ &n->fresh_dirs, &rest }, { &n->fresh, &rest }, { &n->fetched, &rest }, { &n->early, &rest },
	};
	int rc;

	take_due(n);
	if (n->unfetched && n->fetchable[0].count + n->fetchable[1].count <= n->o.want_keep / 2) {
		n->unfetched = false;
		walk_anew(n);
	}
	rc = n->early.count < SCAN_SMALL ? scan(n, t) : 0;
	for (size_t i = 0; i < CL_ARRAY_LEN(order) && !rc; i++)
		rc = try_all(n, order[i].m, order[i].share, try, user);
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
	free_all(&n->early);
	free_all(&n->fetched);
	free_all(&n->fetchable[0]);
	free_all(&n->fetchable[1]);
	n->scanning_wanted = n->scan_wanted = n->unfetched = false;
}
