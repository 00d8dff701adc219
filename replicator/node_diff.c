/*
 * node_diff.c - what differs from a peer (DESIGN.md, "What differs").
 *
 * A diff rides on comparing: the sums are gone through once more, and the leaves that differ come whole, as after a connection came up. Before such a leaf is merged it is held against ours.
 * So it takes time by the difference, needs no message of its own but a cut (for what the peer has not on its disk yet), and what was found missing is on its way then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

const char *const node_differs_names[NODE_DIFFERS] = {
	"missing here", "missing there", "deleted here", "deleted there", "newer here", "newer there", "conflicting", "to come here", "to come there",
};

struct side { char *path; size_t len; struct entry e; bool held; };
struct sides { struct side *all; size_t count, cap; };

struct node_diff {
	struct node_diff *next;
	struct node_peer *peer;
	node_diff_each each;
	node_diff_end end;
	void *user;
	uint64_t request;              /* of the cut */
	bool begun, compared, answered;
	uint64_t differing, there;     /* there: paths that are not on its disk yet, as it says */
	struct vector context;         /* its own, when comparing began */
	int leaf;                      /* that is coming; -1: none */
	struct sides ours, theirs;     /* of that leaf */
	uint8_t seen[SUM_LEAVES / 8];
};

static void sides_clear(struct sides *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->all[i].path);
		entry_free(&s->all[i].e);
	}
	free(s->all);
	*s = (struct sides){ NULL, 0, 0 };
}

static int sides_add(struct sides *s, const char *path, size_t len, const struct entry *e, bool held)
{
	struct side *x;

	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 32;
		struct side *p = realloc(s->all, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		s->all = p;
		s->cap = cap;
	}
	x = &s->all[s->count];
	*x = (struct side){ .path = strndup(path, len), .len = len, .held = held };
	entry_init(&x->e);
	if (!x->path || entry_copy(e, &x->e)) {
		free(x->path);
		return -ENOMEM;
	}
	s->count++;
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct side *)a)->path, ((const struct side *)b)->path);
}

static void diff_free(struct node_diff *d)
{
	sides_clear(&d->ours);
	sides_clear(&d->theirs);
	vector_free(&d->context);
	free(d);
}

static void take_out(struct node *n, struct node_diff *d)
{
	struct node_diff **at = &n->diffs;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	if (d->peer && d->peer->diff == d)
		d->peer->diff = NULL;
}

static void end(struct node *n, struct node_diff *d, int rc)
{
	struct node_diff_result r = { d->differing, n->wanted, d->there };

	take_out(n, d);
	d->end(d->user, rc, &r);
	diff_free(d);
}

/* --- one path --- */

static bool alive(const struct side *s)
{
	return s && !s->e.deleted && s->e.dot.seq;
}

/* One side has it alive. dead: what the other knows of it, NULL: nothing; knew: that change is known to it. */
static enum node_differs one_alive(const struct side *live, const struct side *dead, bool knew, bool live_here)
{
	enum node_differs missing = live_here ? NODE_MISSING_THERE : NODE_MISSING_HERE, deleted = live_here ? NODE_DELETED_THERE : NODE_DELETED_HERE;

	if (!dead) /* a deletion that was forgotten: exchange.h */
		return knew ? deleted : missing;
	if (vector_covers(&dead->e.known, &live->e.dot))
		return deleted;
	return vector_covers(&live->e.known, &dead->e.dot) ? missing : NODE_CONFLICTING;
}

static void both_alive(const struct side *ours, const struct side *theirs, enum node_differs *ret)
{
	struct buf a = BUF_INIT, b = BUF_INIT;
	bool same, here, there;

	entry_encode(&ours->e, &a);
	entry_encode(&theirs->e, &b);
	same = a.len == b.len && !a.err && !b.err && memcmp(a.data, b.data, a.len) == 0;
	buf_free(&a);
	buf_free(&b);
	if (same) {
		*ret = !ours->held ? NODE_TO_COME_HERE : !theirs->held ? NODE_TO_COME_THERE : NODE_DIFFERS;
		return;
	}
	here = vector_covers(&ours->e.known, &theirs->e.dot);
	there = vector_covers(&theirs->e.known, &ours->e.dot);
	if (here && there) /* one change; the time of the directory differs, that it carries on */
		*ret = ours->e.dir_s > theirs->e.dir_s || (ours->e.dir_s == theirs->e.dir_s && ours->e.dir_ns > theirs->e.dir_ns) ? NODE_NEWER_HERE : NODE_NEWER_THERE;
	else if (here || there)
		*ret = here ? NODE_NEWER_HERE : NODE_NEWER_THERE;
	else if (!entry_same(&ours->e, &theirs->e))
		*ret = NODE_CONFLICTING;
	else
		*ret = entry_order(&ours->e, &theirs->e) > 0 ? NODE_NEWER_HERE : NODE_NEWER_THERE;
}

static void tell(struct node_diff *d, const char *path, size_t len, enum node_differs how)
{
	struct node_difference x = { path, len, how };

	if (how != NODE_TO_COME_HERE && how != NODE_TO_COME_THERE)
		d->differing++;
	d->each(d->user, &x);
}

static void judge(struct node *n, struct node_diff *d, const struct side *ours, const struct side *theirs)
{
	const struct side *any = ours ? ours : theirs;
	enum node_differs how = NODE_DIFFERS;

	if (ours && !ours->e.dot.seq && !ours->e.deleted)
		how = alive(theirs) ? NODE_CONFLICTING : NODE_MISSING_THERE; /* no version yet: we join */
	else if (alive(ours) && alive(theirs))
		both_alive(ours, theirs, &how);
	else if (alive(ours))
		how = one_alive(ours, theirs, vector_covers(&d->context, &ours->e.dot), true);
	else if (alive(theirs))
		how = one_alive(theirs, ours, node_knows(n, &theirs->e.dot), false);
	if (how != NODE_DIFFERS)
		tell(d, any->path, any->len, how);
}

static void leaf_over(struct node *n, struct node_diff *d)
{
	size_t i = 0, k = 0;

	if (d->ours.count)
		qsort(d->ours.all, d->ours.count, sizeof *d->ours.all, by_path);
	if (d->theirs.count)
		qsort(d->theirs.all, d->theirs.count, sizeof *d->theirs.all, by_path);
	while (i < d->ours.count || k < d->theirs.count) {
		struct side *o = i < d->ours.count ? &d->ours.all[i] : NULL, *t = k < d->theirs.count ? &d->theirs.all[k] : NULL;
		int c = !o ? 1 : !t ? -1 : by_path(o, t);

		judge(n, d, c <= 0 ? o : NULL, c >= 0 ? t : NULL);
		i += c <= 0;
		k += c >= 0;
	}
	sides_clear(&d->ours);
	sides_clear(&d->theirs);
	d->leaf = -1;
}

/* --- what comes --- */

static int add_ours(void *user, const char *path, size_t len, const struct index_record *r)
{
	return sides_add(&((struct node_diff *)user)->ours, path, len, &r->known, r->held || r->left_out);
}

static int begin_leaf(struct node *n, struct node_diff *d, uint16_t leaf)
{
	struct index_txn *t;
	int rc = index_begin(n->o.index, false, &t);

	if (rc)
		return rc;
	d->leaf = leaf;
	d->seen[leaf / 8] |= (uint8_t)(1u << (leaf % 8));
	rc = index_leaf(t, leaf, add_ours, d);
	index_abort(t);
	return rc;
}

int node_diff_leaf(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	uint16_t leaf = cursor_u16(&c);
	bool last = cursor_u8(&c);
	uint32_t count = cursor_u32(&c);
	struct node_diff *d = p->diff;
	int rc = c.err;

	if (!d || !d->begun || rc)
		return rc;
	if (d->leaf >= 0 && d->leaf != leaf)
		return ERR_CORRUPT; /* the pieces of a leaf come together */
	if (d->leaf < 0)
		rc = begin_leaf(n, d, leaf);
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct frame_record r;

		rc = frame_get_leaf_record(&c, &r);
		if (rc)
			break;
		rc = sides_add(&d->theirs, r.path.p, r.path.len, &r.entry, r.held);
		entry_free(&r.entry);
	}
	if (!rc && last)
		leaf_over(n, d);
	return rc;
}

/* What is the same in both indexes, and wanted here. */
static int add_wanted(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct node_diff *d = user;
	uint16_t leaf = sums_leaf(path, len);

	if (r->known.dot.seq && !(d->seen[leaf / 8] & (1u << (leaf % 8))))
		tell(d, path, len, NODE_TO_COME_HERE);
	return 0;
}

static void maybe_over(struct node *n, struct node_diff *d)
{
	struct index_txn *t;
	int rc;

	if (!d->compared || !d->answered)
		return;
	rc = index_begin(n->o.index, false, &t);
	if (!rc) {
		rc = index_wanted(t, UINT32_MAX, add_wanted, d);
		index_abort(t);
	}
	end(n, d, rc);
}

static void begin(struct node *n, struct node_diff *d)
{
	struct node_peer *p = d->peer;
	struct buf b = BUF_INIT;
	size_t start;
	int rc;

	d->begun = true;
	p->diff = d;
	frame_begin(&b, FRAME_ASK_CUT, &start);
	buf_u64(&b, d->request);
	frame_end(&b, start, false);
	rc = exchange_send(n, p, &b);
	p->for_diff = p->compared;
	if (!rc)
		exchange_compare(n, p);
	if (rc)
		end(n, d, rc);
}

void node_diff_compared(struct node *n, struct node_peer *p)
{
	struct node_diff *d = p->diff;

	if (d && d->begun && !d->compared) {
		d->compared = true;
		p->diff = NULL;
		maybe_over(n, d);
	}
	for (d = n->diffs; d && (d->begun || d->peer != p); d = d->next)
		;
	if (d && !p->comparing) /* it waited for that one */
		begin(n, d);
}

int node_diff_context(struct node_peer *p)
{
	return p->diff && p->diff->begun ? vector_copy(&p->context, &p->diff->context) : 0;
}

bool node_diff_cut(struct node *n, const struct node_peer *p, const struct frame_cut *cut)
{
	for (struct node_diff *d = n->diffs; d; d = d->next) {
		if (d->peer != p || d->request != cut->request || !d->begun || d->answered)
			continue;
		d->answered = true;
		d->there = cut->missing;
		maybe_over(n, d);
		return true;
	}
	return false;
}

void node_diff_down(struct node *n, struct node_peer *p)
{
	struct node_diff *d, *next;

	for (d = n->diffs; d; d = next) {
		next = d->next;
		if (d->peer == p)
			end(n, d, -ECONNRESET);
	}
}

/* --- beginning and dropping --- */

int node_diff_begin(struct node *n, const uint8_t *key, node_diff_each each, node_diff_end over, void *user, struct node_diff **ret)
{
	struct node_peer *p = n->peers;
	struct node_diff *d;

	while (p && memcmp(p->key, key, sizeof p->key) != 0)
		p = p->next;
	if (n->scanning || n->joining || n->halted)
		return n->halted ? -ESTALE : -EAGAIN;
	if (!p)
		return -ENOTCONN;
	d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	*d = (struct node_diff){ .next = n->diffs, .peer = p, .each = each, .end = over, .user = user, .request = ++n->cut_requests, .leaf = -1 };
	n->diffs = d;
	*ret = d;
	if (!p->comparing)
		begin(n, d);
	return 0;
}

void node_diff_drop(struct node *n, struct node_diff *d)
{
	take_out(n, d);
	diff_free(d);
}

void node_diffs_free(struct node *n)
{
	while (n->diffs)
		node_diff_drop(n, n->diffs);
}
