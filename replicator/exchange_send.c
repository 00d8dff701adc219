/*
 * exchange_send.c - what is said to peers: what changed, in order, with a mark when they have all of it; sums and leaves, as they ask.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "exchange.h"
#include "node_impl.h"

#define PIECE_RECORDS 256u
#define SEEN_RECORDS 4096u
#define PIECE_BYTES (1u << 20)
#define QUEUE_MOST (4u << 20)
#define RETIRED_TOLD 1024u

int exchange_send(struct node *n, struct node_peer *p, struct buf *b)
{
	int rc = b->err;

	/* A link that does not take it is on its way down: node_down follows, and what was to be said is in the index. */
	if (!rc && b->len && !p->down)
		(void)n->o.host->send(n->o.host, p->link, b);
	buf_free(b);
	return rc;
}

/* --- out: what changed --- */

struct send_job {
	struct node_job j;
	struct node *n;
	struct node_peer *p;
	uint64_t after, upto;
	struct buf records, frames;
	uint32_t count;
	bool contents;         /* they may go along, by the limit */
	uint64_t content_bytes;
	struct vector known;   /* to the peer, as it said since it came up */
	bool end;              /* a mark is at the end */
	int rc;
};

static void job_unref(struct node_peer *p)
{
	if (--p->refs == 0 && p->down)
		exchange_free_peer(p);
}

static void send_free(struct node_job *j)
{
	struct send_job *s = (struct send_job *)(void *)j;

	job_unref(s->p);
	vector_free(&s->known);
	buf_free(&s->records);
	buf_free(&s->frames);
	free(s);
}

/* The content of a small file, while it is what its record says; else nothing, and the peer asks for it. */
static bool small_content(struct node *n, const char *path, const struct index_record *r, uint8_t *ret)
{
	struct tree *t = n->o.tree;
	struct tree_stat st;
	struct tree_file *f;
	bool good = false;

	if (t->open(t, path, &f))
		return false;
	if (t->fstat(f, &st) == 0 && memcmp(&st.id, &r->stat, sizeof st.id) == 0)
		good = t->read(f, ret, (size_t)r->known.size, 0) == (int64_t)r->known.size && t->fstat(f, &st) == 0 &&
		       memcmp(&st.id, &r->stat, sizeof st.id) == 0;
	t->close(f);
	return good;
}

/*
 * Nothing in it is news to a peer that knows of the change: no time of a directory, which is merged without a version; no deletion, that is told again on purpose to who
 * knows of it and has forgotten it; not that we hold it: who waits for it must not take it for lost.
 */
static bool is_known(const struct send_job *s, const struct index_record *r)
{
	const struct entry *e = &r->known;

	return !r->held && !e->deleted && e->kind != ENTRY_DIR && !e->dir_s && !e->dir_ns && vector_covers(&s->known, &e->dot);
}

static int put_record(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct send_job *s = user;
	struct frame_record f = { .path = { path, len }, .held = r->held, .position = r->position };
	char text[ENTRY_PATH_MAX + 1];
	uint8_t content[FRAME_CONTENT_MAX];

	s->upto = r->position;
	if (!r->known.dot.seq || is_known(s, r))
		return 0;
	f.entry = r->known; /* borrowed */
	memcpy(text, path, len);
	text[len] = '\0';
	if (s->contents && r->held && !r->known.deleted && r->known.kind == ENTRY_FILE && r->known.size && r->known.size <= FRAME_CONTENT_MAX &&
	    memcmp(r->known.dot.inc, s->n->incarnation, INCARNATION_BYTES) == 0 && small_content(s->n, text, r, content)) {
		f.has_content = true;
		f.content = content;
		f.content_len = (uint32_t)r->known.size;
		s->content_bytes += f.content_len;
	}
	frame_put_record(&s->records, &f);
	s->count++;
	return s->records.err ? s->records.err : s->records.len >= PIECE_BYTES || s->count >= PIECE_RECORDS;
}

static int put_mark(struct send_job *s, struct index_txn *t)
{
	struct vector context = VECTOR_INIT;
	size_t start;
	int rc = index_context_get(t, &context);

	if (!rc) {
		frame_begin(&s->frames, FRAME_MARK, &start);
		frame_put_mark(&s->frames, s->upto, &context);
		frame_end(&s->frames, start, false);
	}
	vector_free(&context);
	return rc;
}

static void send_run(struct node_job *j)
{
	struct send_job *s = (struct send_job *)(void *)j;
	struct index_txn *t;
	size_t start;

	s->rc = index_begin(s->n->o.index, false, &t);
	if (s->rc)
		return;
	s->upto = s->after;
	s->rc = index_since(t, s->after, SEEN_RECORDS, put_record, s);
	if (s->rc > 0)
		s->rc = 0;
	if (s->count) {
		frame_begin(&s->frames, FRAME_RECORDS, &start);
		buf_u32(&s->frames, s->count);
		buf_bytes(&s->frames, s->records.data, s->records.len);
		frame_end(&s->frames, start, true);
	}
	s->end = s->upto >= index_position(t);
	if (!s->rc && !s->end && s->upto == s->after) /* the last positions belong to records that were forgotten */
		s->end = true;
	if (!s->rc && s->end) {
		s->upto = index_position(t);
		s->rc = put_mark(s, t);
	}
	index_abort(t);
}

static void send_done(struct node_job *j)
{
	struct send_job *s = (struct send_job *)(void *)j;
	struct node *n = s->n;
	struct node_peer *p = s->p;

	node_job_over(n);
	p->sending = false;
	rate_took(&n->rate, s->content_bytes);
	if (s->rc || s->frames.err) {
		node_failed(n, s->rc ? s->rc : s->frames.err);
		if (!p->down)
			n->o.host->close(n->o.host, p->link, "the index cannot be read");
	} else if (!p->down) {
		p->sent = s->upto;
		p->marked = s->end && !p->remark;
		p->remark = false;
		exchange_send(n, p, &s->frames);
	}
	send_free(j);
	node_pump(n);
}

static void pump_records(struct node *n, struct node_peer *p)
{
	struct send_job *s;

	if (p->sending || p->down || (p->sent >= n->position && p->marked) || n->o.host->queued(n->o.host, p->link) >= QUEUE_MOST)
		return;
	if (n->lazy_ns && p->sent >= n->eager) /* it may wait */
		return;
	s = calloc(1, sizeof *s);
	if (!s || vector_copy(&p->known, &s->known)) {
		free(s);
		node_failed(n, -ENOMEM);
		return;
	}
	s->j = (struct node_job){ send_run, send_done, send_free, NULL };
	s->n = n;
	s->p = p;
	s->after = p->sent;
	s->contents = rate_ready(&n->rate, node_now(n)); /* else they are asked for, and wait for their turn */
	p->refs++;
	p->sending = true;
	node_submit(n, &s->j);
}

/* --- out: sums and leaves --- */

/* all: what was retired as well, as much of it as there is room for. The first by incarnation: from everybody the same, mostly. */
static int put_place(struct buf *b, struct index_txn *t, bool all)
{
	struct vector context = VECTOR_INIT;
	int rc = index_context_get(t, &context);

	if (!rc && all)
		rc = index_retired(t, VECTOR_MAX - context.count < RETIRED_TOLD ? VECTOR_MAX - context.count : RETIRED_TOLD, &context);
	buf_u64(b, index_position(t));
	vector_encode(&context, b);
	vector_free(&context);
	return rc;
}

int exchange_ask_sums(struct node *n, struct node_peer *p, const struct frame *f)
{
	const struct sums *sums = index_sums(n->o.index);
	struct cursor c = cursor_make(f->body, f->len);
	uint16_t node = cursor_u16(&c);
	struct buf b = BUF_INIT;
	struct index_txn *t;
	size_t start;
	int rc = cursor_end(&c);

	if (!rc && node != FRAME_ROOT && node >= SUM_FANOUT)
		rc = ERR_CORRUPT;
	if (!rc)
		rc = index_begin(n->o.index, false, &t);
	if (rc)
		return rc;
	p->scanned |= node == FRAME_ROOT;
	frame_begin(&b, FRAME_SUMS, &start);
	buf_u16(&b, node);
	for (unsigned i = 0; i < SUM_FANOUT; i++)
		frame_put_sum(&b, node == FRAME_ROOT ? sums_node(sums, i) : sums_of_leaf(sums, (uint16_t)(node * SUM_FANOUT + i)));
	rc = put_place(&b, t, node == FRAME_ROOT);
	index_abort(t);
	frame_end(&b, start, true);
	if (rc)
		buf_free(&b);
	return rc ? rc : exchange_send(n, p, &b);
}

/*
 * Leaves that were asked for go out one after the other, as the link takes them: a whole index at once would be more than it may queue.
 */
struct leaf_job {
	struct node_job j;
	struct node *n;
	struct node_peer *p;
	struct buf leaves;     /* u16 each: those that are still to be sent, taken from the peer */
	size_t done;           /* bytes of them that were */
	struct buf records, frames;
	uint16_t leaf;
	uint32_t count;
	int rc;
};

static void leaf_free(struct node_job *j)
{
	struct leaf_job *l = (struct leaf_job *)(void *)j;

	job_unref(l->p);
	buf_free(&l->leaves);
	buf_free(&l->records);
	buf_free(&l->frames);
	free(l);
}

static int leaf_piece(struct leaf_job *l, struct index_txn *t, bool last)
{
	size_t start;
	int rc = l->records.err;

	frame_begin(&l->frames, FRAME_LEAF, &start);
	buf_u16(&l->frames, l->leaf);
	buf_u8(&l->frames, last);
	buf_u32(&l->frames, l->count);
	buf_bytes(&l->frames, l->records.data, l->records.len);
	if (!rc && last)
		rc = put_place(&l->frames, t, false);
	frame_end(&l->frames, start, true);
	buf_reset(&l->records);
	l->count = 0;
	return rc ? rc : l->frames.err;
}

static int put_leaf_record(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct leaf_job *l = user;
	struct frame_record f = { .path = { path, len }, .held = r->held, .position = r->position };

	if (!r->known.dot.seq)
		return 0;
	f.entry = r->known; /* borrowed */
	frame_put_leaf_record(&l->records, &f);
	l->count++;
	return l->records.len >= PIECE_BYTES ? leaf_piece(l, NULL, false) : l->records.err;
}

static void leaf_run(struct node_job *j)
{
	struct leaf_job *l = (struct leaf_job *)(void *)j;
	struct cursor c = cursor_make(l->leaves.data, l->leaves.len);
	struct index_txn *t;

	l->rc = index_begin(l->n->o.index, false, &t);
	if (l->rc)
		return;
	while (!l->rc && cursor_left(&c) && l->frames.len < PIECE_BYTES) {
		l->leaf = cursor_u16(&c);
		l->rc = index_leaf(t, l->leaf, put_leaf_record, l);
		if (!l->rc)
			l->rc = leaf_piece(l, t, true);
		l->done += 2;
	}
	index_abort(t);
}

static void pump_leaves(struct node *n, struct node_peer *p);

static void leaf_done(struct node_job *j)
{
	struct leaf_job *l = (struct leaf_job *)(void *)j;
	struct node_peer *p = l->p;
	struct node *n = l->n;

	node_job_over(n);
	p->answering = false;
	if (!p->down && (l->rc || exchange_send(n, p, &l->frames))) {
		n->o.host->close(n->o.host, p->link, "the index cannot be read");
	} else if (!p->down) { /* those that are left, before what was asked for since */
		struct buf rest = BUF_INIT;

		buf_bytes(&rest, l->leaves.data + l->done, l->leaves.len - l->done);
		buf_bytes(&rest, p->leaves.data, p->leaves.len);
		buf_free(&p->leaves);
		p->leaves = rest;
		if (rest.err)
			n->o.host->close(n->o.host, p->link, "out of memory");
		else
			pump_leaves(n, p);
	}
	leaf_free(j);
	node_pump(n);
}

static void pump_leaves(struct node *n, struct node_peer *p)
{
	struct leaf_job *l;

	if (p->answering || p->down || !p->leaves.len || n->o.host->queued(n->o.host, p->link) >= QUEUE_MOST)
		return;
	l = calloc(1, sizeof *l);
	if (!l) {
		node_failed(n, -ENOMEM);
		return;
	}
	l->j = (struct node_job){ leaf_run, leaf_done, leaf_free, NULL };
	l->n = n;
	l->p = p;
	l->leaves = p->leaves;
	p->leaves = (struct buf)BUF_INIT;
	p->refs++;
	p->answering = true;
	node_submit(n, &l->j);
}

int exchange_ask_leaves(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	size_t count = cursor_u16(&c);
	const uint8_t *leaves = cursor_view(&c, 2 * count);

	/* Nobody asks for one again before it was answered: who does so wants to fill our memory. */
	if (cursor_end(&c) || p->leaves.len / 2 + count > SUM_LEAVES)
		return ERR_CORRUPT;
	buf_bytes(&p->leaves, leaves, 2 * count);
	if (!p->leaves.err)
		pump_leaves(n, p); /* also of a node that is halted */
	return p->leaves.err;
}

void exchange_pump(struct node *n, struct node_peer *p)
{
	pump_leaves(n, p);
	pump_records(n, p);
	node_cuts_answer(n, p);
}
