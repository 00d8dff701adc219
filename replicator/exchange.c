/*
 * exchange.c - what is said to peers and what they say.
 *
 * Why a mark may be believed: everything that was in the peer's index when it came up was compared with ours, everything later was sent, in order; so once
 * comparing is over, a mark's context is one of which we know everything.
 */
#include "exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define PIECE_RECORDS 256u
#define PIECE_BYTES (1u << 20)
#define QUEUE_MOST (4u << 20)
#define SLOTS 64u

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

static int put_record(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct send_job *s = user;
	struct frame_record f = { .path = { path, len }, .held = r->held, .position = r->position };
	char text[ENTRY_PATH_MAX + 1];
	uint8_t content[FRAME_CONTENT_MAX];

	s->upto = r->position;
	if (!r->known.dot.seq)
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
	return s->records.err ? s->records.err : s->records.len >= PIECE_BYTES;
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
	s->rc = index_since(t, s->after, PIECE_RECORDS, put_record, s);
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

void exchange_pump(struct node *n, struct node_peer *p)
{
	struct send_job *s;

	if (p->sending || p->down || (p->sent >= n->position && p->marked) || n->o.host->queued(n->o.host, p->link) >= QUEUE_MOST)
		return;
	s = calloc(1, sizeof *s);
	if (!s) {
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

static int put_place(struct buf *b, struct index_txn *t)
{
	struct vector context = VECTOR_INIT;
	int rc = index_context_get(t, &context);

	buf_u64(b, index_position(t));
	vector_encode(&context, b);
	vector_free(&context);
	return rc;
}

static int answer_sums(struct node *n, struct node_peer *p, const struct frame *f)
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
	rc = put_place(&b, t);
	index_abort(t);
	frame_end(&b, start, true);
	if (rc)
		buf_free(&b);
	return rc ? rc : exchange_send(n, p, &b);
}

struct leaf_job {
	struct node_job j;
	struct node *n;
	struct node_peer *p;
	struct buf leaves;     /* u16 each */
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
		rc = put_place(&l->frames, t);
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
	while (!l->rc && cursor_left(&c)) {
		l->leaf = cursor_u16(&c);
		l->rc = index_leaf(t, l->leaf, put_leaf_record, l);
		if (!l->rc)
			l->rc = leaf_piece(l, t, true);
	}
	index_abort(t);
}

static void leaf_done(struct node_job *j)
{
	struct leaf_job *l = (struct leaf_job *)(void *)j;
	struct node *n = l->n;

	node_job_over(n);
	if (!l->p->down && (l->rc || exchange_send(n, l->p, &l->frames)))
		n->o.host->close(n->o.host, l->p->link, "the index cannot be read");
	leaf_free(j);
	node_pump(n);
}

static int answer_leaves(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	size_t count = cursor_u16(&c);
	const uint8_t *leaves = cursor_view(&c, 2 * count);
	struct leaf_job *l;

	if (cursor_end(&c))
		return ERR_CORRUPT;
	l = calloc(1, sizeof *l);
	if (!l)
		return -ENOMEM;
	buf_bytes(&l->leaves, leaves, 2 * count);
	if (l->leaves.err) {
		buf_free(&l->leaves);
		free(l);
		return -ENOMEM;
	}
	l->j = (struct node_job){ leaf_run, leaf_done, leaf_free, NULL };
	l->n = n;
	l->p = p;
	p->refs++;
	node_submit(n, &l->j);
	return 0;
}

/* --- in: comparing --- */

static int note_odd(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct node_peer *p = user;
	uint16_t leaf = sums_leaf(path, len);

	if (!r->known.dot.seq)
		p->odd[leaf / 8] |= (uint8_t)(1u << (leaf % 8));
	return 0;
}

static bool is_odd(const struct node_peer *p, unsigned leaf)
{
	return p->odd[leaf / 8] & (1u << (leaf % 8));
}

static int ask_sums(struct node *n, struct node_peer *p, uint16_t node)
{
	struct buf b = BUF_INIT;
	size_t start;

	frame_begin(&b, FRAME_ASK_SUMS, &start);
	buf_u16(&b, node);
	frame_end(&b, start, false);
	p->asked++;
	return exchange_send(n, p, &b);
}

void exchange_compare(struct node *n, struct node_peer *p)
{
	struct index_txn *t;
	int rc = 0;

	if (n->scanning || p->comparing || p->down)
		return;
	memset(p->odd, 0, sizeof p->odd);
	if (n->joining) {
		rc = index_begin(n->o.index, false, &t);
		if (!rc) {
			rc = index_since(t, 0, UINT32_MAX, note_odd, p);
			index_abort(t);
		}
	}
	p->comparing = true;
	p->asked = 0;
	p->context.count = 0;
	if (!rc)
		rc = ask_sums(n, p, FRAME_ROOT);
	if (rc)
		node_failed(n, rc);
}

/* All that was asked for is here. */
static void compared(struct node *n, struct node_peer *p)
{
	int rc;

	if (!p->comparing || p->asked)
		return;
	p->comparing = false;
	/* Of one that a diff asked for nothing is concluded: what the peer knew when it began may have deletions in it that are on their way behind it, and no sum tells of these. Marks come behind them. */
	rc = p->for_diff ? 0 : exchange_join(n, &p->context);
	if (!rc && !p->for_diff)
		rc = exchange_join(n, &p->early);
	p->compared = true;
	p->for_diff = false;
	if (!rc)
		rc = vector_join(&p->context, &p->early);
	if (!rc)
		rc = node_tombs_heard(n, p->key, &p->context);
	p->early.count = 0;
	if (rc)
		node_failed(n, rc);
	node_heard(n, p);
	if (p->joined) { /* it answered before: what it has learned since counts */
		p->joined = p->joining = false;
		if (n->joining)
			exchange_compare(n, p);
	}
	node_diff_compared(n, p);
}

int exchange_join(struct node *n, const struct vector *context)
{
	int rc;

	if (vector_includes(&n->context, context))
		return 0;
	rc = vector_join(&n->context, context);
	if (rc)
		return rc;
	n->context_news = true;
	for (struct node_peer *p = n->peers; p; p = p->next) {
		p->marked = false;
		p->remark = p->sending;
	}
	return 0;
}

static bool node_is_odd(const struct node_peer *p, unsigned node)
{
	for (unsigned i = 0; i < SUM_FANOUT / 8; i++)
		if (p->odd[node * (SUM_FANOUT / 8) + i])
			return true;
	return false;
}

static int take_sums(struct node *n, struct node_peer *p, const struct frame *f)
{
	const struct sums *sums = index_sums(n->o.index);
	struct cursor c = cursor_make(f->body, f->len);
	uint16_t node = cursor_u16(&c), count = 0;
	struct buf b = BUF_INIT, leaves = BUF_INIT;
	size_t start;
	int rc = 0;

	if (!p->comparing || !p->asked || (node != FRAME_ROOT && node >= SUM_FANOUT))
		return ERR_CORRUPT;
	p->asked--;
	for (unsigned i = 0; i < SUM_FANOUT && !rc; i++) {
		struct sum s = frame_get_sum(&c);

		if (node == FRAME_ROOT && (!sum_equal(s, sums_node(sums, i)) || node_is_odd(p, i))) {
			rc = ask_sums(n, p, (uint16_t)i);
		} else if (node != FRAME_ROOT) {
			unsigned leaf = node * SUM_FANOUT + i;

			if (sum_equal(s, sums_of_leaf(sums, (uint16_t)leaf)) && !is_odd(p, leaf))
				continue;
			buf_u16(&leaves, (uint16_t)leaf);
			count++;
		}
	}
	cursor_u64(&c);
	if (node == FRAME_ROOT) {
		vector_decode(&c, &p->context);
		rc = rc ? rc : node_diff_context(p);
	} else {
		struct vector later = VECTOR_INIT;

		vector_decode(&c, &later); /* what it knows by now reaches us by a mark */
		vector_free(&later);
	}
	if (!rc)
		rc = cursor_end(&c);
	if (!rc && count) {
		frame_begin(&b, FRAME_ASK_LEAVES, &start);
		buf_u16(&b, count);
		buf_bytes(&b, leaves.data, leaves.len);
		frame_end(&b, start, false);
		p->asked += count;
		rc = exchange_send(n, p, &b);
	}
	buf_free(&leaves);
	buf_free(&b);
	if (!rc)
		compared(n, p);
	return rc;
}

/* --- in: records --- */

static int take_record(struct node *n, struct index_txn *t, struct node_peer *p, struct frame_record *r)
{
	bool wanted;
	int rc = node_merge(n, t, r->path.p, r->path.len, &r->entry, &wanted);

	if (!rc && wanted && r->has_content)
		node_announce(n, r->entry.hash, r->content, r->content_len);
	if (!rc && wanted && r->held)
		fetch_held(n->fetches, r->entry.hash, p);
	return rc;
}

/* A list of records, from the cursor. */
static int take_records(struct node *n, struct node_peer *p, struct cursor *c, bool leaf)
{
	uint32_t count = cursor_u32(c);
	struct index_txn *t;
	int rc = c->err ? c->err : index_begin(n->o.index, true, &t);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct frame_record r;

		rc = leaf ? frame_get_leaf_record(c, &r) : frame_get_record(c, &r);
		if (rc)
			break;
		rc = take_record(n, t, p, &r);
		entry_free(&r.entry);
	}
	return node_commit(n, t, rc);
}

static int take_leaf(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct vector context = VECTOR_INIT;
	unsigned last;
	int rc;

	cursor_u16(&c);
	last = cursor_u8(&c);
	if (c.err || last > 1 || !p->comparing || p->asked < last)
		return ERR_CORRUPT;
	rc = node_diff_leaf(n, p, f);
	if (!rc)
		rc = take_records(n, p, &c, true);
	if (!rc && last) {
		cursor_u64(&c);
		vector_decode(&c, &context);
	}
	vector_free(&context);
	if (!rc)
		rc = cursor_end(&c);
	if (rc)
		return rc;
	p->asked -= last;
	compared(n, p);
	return 0;
}

static int take_mark(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct vector context = VECTOR_INIT;
	uint64_t position;
	int rc = frame_get_mark(&c, &position, &context);

	if (!rc)
		rc = cursor_end(&c);
	/* It is said once: an early one counts as well, later; and one that comes while comparing goes on once more is not undone at its end, by what was said at its beginning. */
	if (!rc && p->compared)
		rc = exchange_join(n, &context);
	if (!rc && (!p->compared || p->comparing))
		rc = vector_join(&p->early, &context);
	if (!rc && p->compared)
		rc = node_tombs_heard(n, p->key, &context);
	vector_free(&context);
	return rc;
}

/* --- peers --- */

void node_hello(struct node *n, struct frame_hello *ret)
{
	memcpy(ret->incarnation, n->incarnation, sizeof ret->incarnation);
	memcpy(ret->index_id, index_id(n->o.index), sizeof ret->index_id);
	memcpy(ret->tree_id, n->session, sizeof ret->tree_id);
	ret->wall_us = n->o.env->real_ns(n->o.env) / 1000;
	ret->joining = n->joining;
}

int node_up(struct node *n, void *link, const struct frame_hello *h, struct node_peer **ret)
{
	struct node_peer *p = calloc(1, sizeof *p);
	const struct member *m = members_get(&n->members, h->node);
	uint64_t used = 0;
	int rc;

	if (!p)
		return -ENOMEM;
	if (n->forgotten || (m && m->forgotten)) {
		free(p);
		return -EKEYREJECTED;
	}
	for (const struct node_peer *q = n->peers; q; q = q->next)
		used |= 1ull << q->slot;
	while (p->slot < SLOTS && (used & (1ull << p->slot)))
		p->slot++;
	if (p->slot == SLOTS) {
		free(p);
		return -EMFILE;
	}
	p->node = n;
	p->link = link;
	memcpy(p->key, h->node, sizeof p->key);
	p->joining = h->joining;
	p->clock_us = (int64_t)(h->wall_us - n->o.env->real_ns(n->o.env) / 1000);
	p->sent = n->position;
	p->next = n->peers;
	n->peers = p;
	*ret = p;
	node_tombs_unheard(n, p->key);
	rc = node_members_send(n, p); /* before anything that they made */
	if (rc)
		node_failed(n, rc);
	exchange_compare(n, p);
	fetch_peer_up(n->fetches, p);
	node_pump(n);
	return 0;
}

void node_down(struct node *n, struct node_peer *p)
{
	struct node_peer **at = &n->peers;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->down = true;
	n->lost_ns = node_now(n);
	node_cuts_peer_down(n, p);
	node_diff_down(n, p);
	fetch_peer_down(n->fetches, p);
	if (!p->refs)
		exchange_free_peer(p);
	node_pump(n);
}

void node_drained(struct node *n, struct node_peer *p)
{
	exchange_pump(n, p);
}

void exchange_free_peer(struct node_peer *p)
{
	vector_free(&p->context);
	vector_free(&p->early);
	free(p);
}

void exchange_joined(struct node *n)
{
	for (struct node_peer *p = n->peers; p; p = p->next) {
		struct buf b = BUF_INIT;
		size_t start;

		frame_begin(&b, FRAME_JOINED, &start);
		frame_end(&b, start, false);
		exchange_send(n, p, &b);
	}
}

static int take_joined(struct node *n, struct node_peer *p, const struct frame *f)
{
	if (f->len)
		return ERR_CORRUPT;
	if (p->comparing) {
		p->joined = true;
		return 0;
	}
	p->joining = false;
	if (n->joining)
		exchange_compare(n, p);
	return 0;
}

int node_frame(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	int rc;

	switch (f->type) {
	case FRAME_RECORDS:
		rc = take_records(n, p, &c, false);
		if (!rc)
			rc = cursor_end(&c);
		break;
	case FRAME_MARK:
		rc = take_mark(n, p, f);
		break;
	case FRAME_ASK_SUMS:
		rc = answer_sums(n, p, f);
		break;
	case FRAME_SUMS:
		rc = take_sums(n, p, f);
		break;
	case FRAME_ASK_LEAVES:
		rc = answer_leaves(n, p, f);
		break;
	case FRAME_LEAF:
		rc = take_leaf(n, p, f);
		break;
	case FRAME_GET:
		rc = serve_get(n, p, f);
		break;
	case FRAME_DATA:
		rc = fetch_data(n->fetches, p, f);
		break;
	case FRAME_JOINED:
		rc = take_joined(n, p, f);
		break;
	case FRAME_MEMBERS:
		rc = node_members_take(n, p, f);
		break;
	case FRAME_ASK_CUT:
		rc = node_cut_asked(n, p, f);
		break;
	case FRAME_CUT:
		rc = node_cut_answered(n, p, f);
		break;
	default:
		rc = ERR_CORRUPT;
		break;
	}
	node_pump(n);
	return rc;
}
