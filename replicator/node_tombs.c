/*
 * node_tombs.c - tombstones that nobody needs any more go from the index (DESIGN.md, "Forgetting deletions").
 *
 * One goes when it is as old as is asked, nothing of ours is on the disk or under way at its path, it was told to everybody who is up, and every member is known to cover it: its
 * last context that we heard has the tombstone's dot. What is heard of contexts is not kept from one start to the next, and of a member that comes up again it is heard anew:
 * it may have been set back meanwhile.
 *
 * The whole index is looked through in slices, by a job that reads; what it finds is looked at again before it goes. `floor` is the latest stamp of all that
 * went: whatever is made here is later, as if the tombstone were still known.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define VALUE_FLOOR "floor"
#define SLICE 1024u                        /* records of one job */
#define SLICE_PAUSE_NS 20000000ull
#define PASS_MOST_NS 3600000000000ull      /* between two passes */

struct heard { struct heard *next; uint8_t node[FRAME_NODE_BYTES]; struct vector context; };

struct tombs_job {
	struct node_job j;
	struct node *n;
	uint64_t after, upto, old_us;
	unsigned seen;
	struct buf paths;
	int rc;
};

/* --- what members are known to know --- */

void node_tombs_unheard(struct node *n, const uint8_t *node)
{
	for (struct heard **at = &n->heard; *at; at = &(*at)->next) {
		struct heard *h = *at;

		if (memcmp(h->node, node, sizeof h->node) != 0)
			continue;
		*at = h->next;
		vector_free(&h->context);
		free(h);
		return;
	}
}

int node_tombs_heard(struct node *n, const uint8_t *node, const struct vector *context)
{
	struct heard *h = n->heard;

	while (h && memcmp(h->node, node, sizeof h->node) != 0)
		h = h->next;
	if (!h) {
		h = calloc(1, sizeof *h);
		if (!h)
			return -ENOMEM;
		memcpy(h->node, node, sizeof h->node);
		h->next = n->heard;
		n->heard = h;
	}
	return node_context_add(&h->context, context, NODE_HEARD_MOST); /* marks do not say again what is retired */
}

bool node_tombs_covered_by(const struct node *n, const uint8_t *node, const struct dot *d)
{
	const struct heard *h = n->heard;

	while (h && memcmp(h->node, node, sizeof h->node) != 0)
		h = h->next;
	/* Two with one key, or what one said before it was killed: each that is up has to know it. */
	for (const struct node_peer *p = n->peers; p; p = p->next)
		if (memcmp(p->key, node, sizeof p->key) == 0 && !vector_covers(&p->known, d))
			return false;
	return h && vector_covers(&h->context, d);
}

static bool covered_by_all(struct node *n, struct index_txn *t, const struct dot *d)
{
	if (!node_covers(n, t, d))
		return false;
	for (size_t i = 0; i < n->members.count; i++) {
		const struct member *m = &n->members.all[i];

		if (!m->forgotten && memcmp(m->node, n->o.node, sizeof m->node) != 0 && !node_tombs_covered_by(n, m->node, d))
			return false;
	}
	return true;
}

/* Members are known, or there are none; and nobody is about to give versions to what it found, deleted long ago or not. */
static bool may_forget(const struct node *n)
{
	unsigned known = 0;

	for (size_t i = 0; i < n->members.count; i++)
		known += !n->members.all[i].forgotten;
	for (const struct node_peer *p = n->peers; p; p = p->next)
		if (p->joining)
			return false;
	return !n->joining && !n->scanning && !n->forgotten && (known > 1 || n->o.peers == 0);
}

/* --- looking for them --- */

static bool is_old(const struct index_record *r, uint64_t old_us)
{
	return r->held && r->known.deleted && r->known.dot.seq && r->known.stamp <= old_us;
}

static int note_old(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct tombs_job *k = user;

	k->upto = r->position;
	k->seen++;
	if (is_old(r, k->old_us))
		buf_str16(&k->paths, path, len);
	return k->paths.err;
}

static void run(struct node_job *j)
{
	struct tombs_job *k = (struct tombs_job *)(void *)j;
	struct index_txn *t;

	k->rc = index_begin(k->n->o.index, false, &t);
	if (k->rc)
		return;
	k->rc = index_since(t, k->after, SLICE, note_old, k);
	index_abort(t);
}

static void drop(struct node_job *j)
{
	buf_free(&((struct tombs_job *)(void *)j)->paths);
	free(j);
}

/* --- forgetting --- */

static bool is_busy(const struct node *n, const char *path, size_t len)
{
	return pathmap_get(&n->dirty, path, len) || pathmap_get(&n->waits, path, len) || pathmap_get(&n->intents, path, len);
}

/* Is it still to be told to somebody who is up? It may be told again on purpose, to who knows of it and has something alive there. */
static bool is_unsaid(const struct node *n, uint64_t position)
{
	for (const struct node_peer *p = n->peers; p; p = p->next)
		if (p->sent < position)
			return true;
	return false;
}

/* A deletion that went from here, and would again at once: taken in, and told on, it would go round for ever. */
bool node_tombs_needless(struct node *n, struct index_txn *t, const struct entry *e)
{
	uint64_t now_us = n->o.env->real_ns(n->o.env) / 1000, keep_us = n->o.tombs_keep_ns / 1000;

	return e->deleted && e->stamp <= n->floor && now_us > keep_us && e->stamp <= now_us - keep_us && may_forget(n) && covered_by_all(n, t, &e->dot);
}

static int forget(struct node *n, struct index_txn *t, struct tombs_job *k, unsigned *ret_gone)
{
	struct cursor c = cursor_make(k->paths.data, k->paths.len);
	struct index_record r;
	uint64_t floor = n->floor;
	uint8_t b[8];
	int rc = 0;

	index_record_init(&r);
	while (!rc && cursor_left(&c)) {
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

		rc = index_get(t, path, len, &r);
		if (rc == -ENOENT || (!rc && (!is_old(&r, k->old_us) || is_busy(n, path, len) || is_unsaid(n, r.position) || !covered_by_all(n, t, &r.known.dot)))) {
			rc = 0;
			continue;
		}
		if (!rc)
			rc = index_delete(t, path, len);
		if (!rc && r.known.stamp > floor)
			floor = r.known.stamp;
		*ret_gone += !rc;
	}
	index_record_free(&r);
	put_u64(b, floor);
	if (!rc && floor != n->floor)
		rc = index_value_put(t, VALUE_FLOOR, b, sizeof b);
	if (!rc)
		n->floor = floor; /* too late a floor, should the transaction fail, does no harm */
	return rc;
}

static void done(struct node_job *j)
{
	struct tombs_job *k = (struct tombs_job *)(void *)j;
	uint64_t pass_ns = k->n->o.tombs_keep_ns / 8 < PASS_MOST_NS ? k->n->o.tombs_keep_ns / 8 + 1 : PASS_MOST_NS;
	struct node *n = k->n;
	struct index_txn *t;
	unsigned gone = 0;
	int rc = k->rc;

	node_job_over(n);
	n->tombs_job = false;
	if (!rc && k->paths.len && may_forget(n)) {
		rc = index_begin(n->o.index, true, &t);
		if (!rc)
			rc = node_commit(n, t, forget(n, t, k, &gone));
	}
	if (rc)
		node_failed(n, rc);
	else
		n->tombs_gone += gone;
	n->tombs_after = rc || !k->seen ? 0 : k->upto;
	n->tombs_ns = node_now(n) + (rc || !k->seen ? pass_ns : SLICE_PAUSE_NS);
	drop(j);
	node_pump(n);
}

void node_tombs_due(struct node *n)
{
	uint64_t now_us = n->o.env->real_ns(n->o.env) / 1000, keep_us = n->o.tombs_keep_ns / 1000;
	struct tombs_job *k;

	if (n->tombs_job || n->tombs_ns > node_now(n))
		return;
	n->tombs_ns = node_now(n) + SLICE_PAUSE_NS;
	k = now_us > keep_us && may_forget(n) ? calloc(1, sizeof *k) : NULL;
	if (!k) {
		n->tombs_ns = node_now(n) + (n->o.tombs_keep_ns / 8 < PASS_MOST_NS ? n->o.tombs_keep_ns / 8 + 1 : PASS_MOST_NS);
		return;
	}
	k->j = (struct node_job){ run, done, drop, NULL };
	k->n = n;
	k->after = n->tombs_after;
	k->old_us = now_us - keep_us;
	n->tombs_job = true;
	node_submit(n, &k->j);
}

int node_tombs_load(struct node *n, struct index_txn *t)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	int rc = index_value_get(t, VALUE_FLOOR, &b);

	c = cursor_make(b.data, b.len);
	if (!rc) {
		n->floor = cursor_u64(&c);
		rc = cursor_end(&c);
	}
	buf_free(&b);
	return rc == -ENOENT ? 0 : rc;
}

void node_tombs_free(struct node *n)
{
	while (n->heard)
		node_tombs_unheard(n, n->heard->node);
}
