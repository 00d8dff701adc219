/*
 * node_cut.c - "in sync" as a cut (DESIGN.md, "In sync").
 *
 * Who answered and goes down before all that it knew is known here may take that knowledge with it (a disk that was lost): the others are asked anew.
 *
 * A cut goes WAITING (for the scan, for versions, for somebody to ask) -> ASKED -> COVERING -> HOLDING -> ended. What it waits for in HOLDING is fixed when the
 * context covers the cut: the paths that are wanted at that moment. Each of them is done with when its disk has that version or a later one. What is told
 * later, of other paths, is of no matter here: what was asked for had been held when it was covered. What is lost of that meanwhile, and is to come back, is waited for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define CUTS_MOST 32u
#define ASKED_MOST 16384u              /* bytes of a peer's questions that were not answered */
#define LOOK_NS 100000000ull           /* between two looks at what is wanted; */
#define LOOK_SHARE 10u                 /* and this many times as long as one takes */
#define PATIENCE_NS 10000000000ull     /* a member that is not up is waited for, after our start, after somebody went down */

struct due { uint64_t path, stamp, dot; }; /* hashes, and the stamp of the version that is to be on the disk */

struct node_cut {
	struct node_cut *next;
	node_cut_end end;
	void *user;
	uint64_t request;
	enum node_cut_phase phase;
	uint64_t waiting;              /* slots of peers that have not answered */
	struct vector context;
	uint8_t (*nodes)[FRAME_NODE_BYTES]; /* who has */
	unsigned node_count, node_cap;
	struct due *due;
	size_t due_count, due_cap;
	bool due_sorted;
	uint64_t look_ns;
};

static void cut_free(struct node_cut *c)
{
	vector_free(&c->context);
	free(c->nodes);
	free(c->due);
	free(c);
}

static void take_out(struct node *n, struct node_cut *c)
{
	struct node_cut **at = &n->cuts;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
}

/* --- what is due --- */

static struct due due_of(const char *path, size_t len, const struct entry *e)
{
	return (struct due){ hash_xxh3(path, len, 0), e->stamp, hash_xxh3(e->dot.inc, sizeof e->dot.inc, e->dot.seq) };
}

static int by_path(const void *a, const void *b)
{
	const struct due *x = a, *y = b;

	return x->path < y->path ? -1 : x->path > y->path;
}

static int note_due(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct node_cut *c = user;

	if (!r->known.dot.seq)
		return 0;
	if (c->due_count == c->due_cap) {
		size_t cap = c->due_cap ? 2 * c->due_cap : 64;
		struct due *p = realloc(c->due, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		c->due = p;
		c->due_cap = cap;
	}
	c->due[c->due_count++] = due_of(path, len, &r->known);
	c->due_sorted = false;
	return 0;
}

/* 1: it is due, and what is on the disk is older. */
static int is_due(void *user, const char *path, size_t len, const struct index_record *r)
{
	const struct node_cut *c = user;
	const struct entry *disk = node_on_disk(r);
	struct due key = { hash_xxh3(path, len, 0), 0, 0 }, now;
	const struct due *d = c->due_count ? bsearch(&key, c->due, c->due_count, sizeof *c->due, by_path) : NULL;

	if (!d)
		return 0;
	if (!disk || !disk->dot.seq)
		return 1;
	now = due_of(path, len, disk);
	return now.stamp < d->stamp || (now.stamp == d->stamp && now.dot != d->dot);
}

/* 0; 1: something is due yet. */
static int look(struct node *n, struct node_cut *c)
{
	uint64_t began = node_now(n), pause;
	struct index_txn *t;
	int rc = index_begin(n->o.index, false, &t);

	if (rc)
		return rc;
	if (c->due_count && !c->due_sorted)
		qsort(c->due, c->due_count, sizeof *c->due, by_path);
	c->due_sorted = true;
	rc = index_wanted(t, UINT32_MAX, is_due, c);
	index_abort(t);
	pause = LOOK_SHARE * (node_now(n) - began);
	c->look_ns = node_now(n) + (pause > LOOK_NS ? pause : LOOK_NS);
	return rc;
}

/*
 * Was the index of each that answered compared with ours? A context says nothing of what was made by one that went before it could say what it knew: who has that
 * tells it with the rest of its index.
 */
static bool compared_with_all(const struct node *n, const struct node_cut *c)
{
	for (unsigned i = 0; i < c->node_count; i++)
		for (const struct node_peer *p = n->peers; p; p = p->next)
			if (!p->compared && memcmp(p->key, c->nodes[i], sizeof p->key) == 0)
				return false;
	return true;
}

static int fix_due(struct node *n, struct node_cut *c)
{
	struct index_txn *t;
	int rc = index_begin(n->o.index, false, &t);

	if (rc)
		return rc;
	c->due_count = 0;
	rc = index_wanted(t, UINT32_MAX, note_due, c);
	index_abort(t);
	return rc;
}

/* Of a path that is due already there are two then, and either will do: none is older than what was asked for. */
int node_cuts_lost(struct node *n, const char *path, size_t len, const struct index_record *r)
{
	int rc = 0;

	for (struct node_cut *c = n->cuts; c && !rc; c = c->next)
		if (c->phase == NODE_CUT_HOLDING)
			rc = note_due(c, path, len, r);
	return rc;
}

/* --- asking --- */

static uint64_t patient_until(const struct node *n)
{
	return (n->lost_ns > n->began_ns ? n->lost_ns : n->began_ns) + PATIENCE_NS;
}

static int ask(struct node *n, struct node_cut *c)
{
	int rc = 0;

	c->waiting = 0;
	c->node_count = 0;
	c->request = ++n->cut_requests;
	for (struct node_peer *p = n->peers; p && !rc; p = p->next) {
		struct buf b = BUF_INIT;
		size_t start;

		frame_begin(&b, FRAME_ASK_CUT, &start);
		buf_u64(&b, c->request);
		frame_end(&b, start, false);
		rc = exchange_send(n, p, &b);
		c->waiting |= 1ull << p->slot;
	}
	return rc;
}

static int covers(struct node *n, const struct node_cut *c, bool *ret)
{
	struct vector lacks = VECTOR_INIT;
	int rc = node_context_lacks(n, &c->context, &lacks);

	*ret = !rc && !lacks.count;
	vector_free(&lacks);
	return rc;
}

/* As far as it gets now. 1: over. */
static int go_on(struct node *n, struct node_cut *c)
{
	bool covered;
	int rc = 0;

	if (n->scanning || n->joining || n->forgotten)
		return 0;
	if (c->phase == NODE_CUT_WAITING) {
		if (node_others(n) && (!n->peers || (!node_all_up(n, false) && node_now(n) < patient_until(n))))
			return 0;
		rc = vector_copy(&n->context, &c->context);
		if (!rc)
			rc = ask(n, c);
		if (rc) /* somebody is going down, or there is no memory: once more, later */
			return rc == -ENOMEM ? rc : 0;
		c->phase = NODE_CUT_ASKED;
	}
	if (!rc && c->phase == NODE_CUT_ASKED && !c->waiting) {
		if (!c->node_count && node_others(n)) { /* all went down before they answered */
			c->phase = NODE_CUT_WAITING;
			return 0;
		}
		c->phase = NODE_CUT_COVERING;
	}
	if (!rc && c->phase == NODE_CUT_COVERING && compared_with_all(n, c)) {
		rc = covers(n, c, &covered);
		if (!rc && covered)
			rc = fix_due(n, c);
		if (!rc && covered)
			c->phase = NODE_CUT_HOLDING;
	}
	if (rc || c->phase != NODE_CUT_HOLDING || (n->wanted && c->look_ns > node_now(n)))
		return rc;
	rc = n->wanted ? look(n, c) : 0;
	if (rc)
		return rc < 0 ? rc : 0;
	if (c->node_count || !node_others(n))
		return 1;
	c->phase = NODE_CUT_WAITING; /* it was alone, and is not any more */
	n->again = true;
	return 0;
}

void node_cuts_go_on(struct node *n)
{
	struct node_cut *c, *next;

	for (c = n->cuts; c; c = next) {
		int rc = go_on(n, c);

		next = c->next;
		if (rc < 0)
			node_failed(n, rc);
		if (rc <= 0)
			continue;
		take_out(n, c);
		c->end(c->user, c->nodes, c->node_count);
		cut_free(c);
	}
}

uint64_t node_cuts_alarm(const struct node *n)
{
	uint64_t next = UINT64_MAX, at;

	for (const struct node_cut *c = n->cuts; c; c = c->next) {
		at = c->phase == NODE_CUT_HOLDING ? c->look_ns : c->phase == NODE_CUT_WAITING && n->peers ? patient_until(n) : UINT64_MAX;
		if (at > node_now(n) && at < next)
			next = at;
	}
	return next;
}

void node_cuts_peer_down(struct node *n, const struct node_peer *p)
{
	for (struct node_cut *c = n->cuts; c; c = c->next) {
		c->waiting &= ~(1ull << p->slot);
		for (unsigned i = 0; i < c->node_count && c->phase != NODE_CUT_HOLDING; i++)
			if (memcmp(c->nodes[i], p->key, FRAME_NODE_BYTES) == 0)
				c->phase = NODE_CUT_WAITING;
	}
}

/* --- frames --- */

static int answer(struct node *n, struct node_peer *p, uint64_t request)
{
	struct frame_cut cut = { .request = request, .context = n->context /* borrowed */ };
	struct buf b = BUF_INIT;
	size_t start;

	cut.root = sums_root(index_sums(n->o.index));
	cut.missing = n->wanted;
	cut.wall_us = n->o.env->real_ns(n->o.env) / 1000;
	frame_begin(&b, FRAME_CUT, &start);
	frame_put_cut(&b, &cut);
	frame_end(&b, start, true);
	return exchange_send(n, p, &b);
}

/*
 * The answer goes behind what was known here at the question: who told it to us may not have told us its context yet, or we have not compared with it, so that
 * ours does not say that it is here. One that is halted says nothing of it, and keeps nobody waiting.
 */
void node_cuts_answer(struct node *n, struct node_peer *p)
{
	struct cursor c = cursor_make(p->cuts.data, p->cuts.len);
	struct buf rest = BUF_INIT;
	size_t left;
	int rc = 0;

	while (!rc && (left = cursor_left(&c)) != 0) {
		uint64_t request = cursor_u64(&c), position = cursor_u64(&c);

		if (p->sent < position && !n->halted) {
			buf_bytes(&rest, p->cuts.data + (p->cuts.len - left), left);
			break;
		}
		rc = answer(n, p, request);
	}
	buf_free(&p->cuts);
	p->cuts = rest;
	if ((rc || rest.err) && !p->down)
		n->o.host->close(n->o.host, p->link, "out of memory");
}

int node_cut_asked(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	uint64_t request = cursor_u64(&c);

	if (cursor_end(&c) || p->cuts.len >= ASKED_MOST)
		return ERR_CORRUPT;
	buf_u64(&p->cuts, request);
	buf_u64(&p->cuts, n->position);
	n->eager = n->position;
	if (p->cuts.err)
		return p->cuts.err;
	node_cuts_answer(n, p);
	return 0;
}

static int note_answer(struct node_cut *c, const struct node_peer *p, const struct vector *context)
{
	int rc;

	if (c->node_count == c->node_cap) {
		unsigned cap = c->node_cap ? 2 * c->node_cap : 8;
		void *more = realloc(c->nodes, cap * sizeof *c->nodes);

		if (!more)
			return -ENOMEM;
		c->nodes = more;
		c->node_cap = cap;
	}
	rc = vector_join(&c->context, context);
	if (rc)
		return rc;
	memcpy(c->nodes[c->node_count++], p->key, FRAME_NODE_BYTES);
	c->waiting &= ~(1ull << p->slot);
	return 0;
}

int node_cut_answered(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct frame_cut cut;
	struct node_cut *c;
	int rc = frame_get_cut(f, &cut);

	if (rc)
		return rc;
	node_clock_heard(n, p, cut.wall_us);
	for (c = n->cuts; c && c->request != cut.request; c = c->next)
		;
	if (c && c->phase == NODE_CUT_ASKED && (c->waiting & (1ull << p->slot))) /* else one that was dropped */
		rc = note_answer(c, p, &cut.context);
	else if (!c)
		node_diff_cut(n, p, &cut);
	vector_free(&cut.context);
	return rc;
}

/* --- beginning and dropping --- */

int node_cut_begin(struct node *n, node_cut_end end, void *user, struct node_cut **ret)
{
	struct node_cut *c;
	unsigned count = 0;

	for (c = n->cuts; c; c = c->next)
		count++;
	if (count >= CUTS_MOST)
		return -EBUSY;
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->end = end;
	c->user = user;
	c->phase = NODE_CUT_WAITING;
	c->next = n->cuts;
	n->cuts = c;
	*ret = c;
	node_pump(n);
	return 0;
}

void node_cut_drop(struct node *n, struct node_cut *c)
{
	take_out(n, c);
	cut_free(c);
}

enum node_cut_phase node_cut_phase(const struct node *n, const struct node_cut *c)
{
	(void)n;
	return c->phase;
}

void node_cuts_free(struct node *n)
{
	while (n->cuts)
		node_cut_drop(n, n->cuts);
}
