/*
 * exchange.c - what peers say, and comparing. exchange_send.c has what is said to them.
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

#define SLOTS 64u
#define TOLD_MOST 2048u /* records that are merged in one transaction: a larger one has more of the index in memory */

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

/* Of its process, and of whoever has its key. */
static int said(struct node *n, struct node_peer *p, const struct vector *context)
{
	int rc = node_context_add(&p->known, context, NODE_HEARD_MOST);

	return rc ? rc : node_tombs_heard(n, p->key, context);
}

/* A frame of it was not taken in: a mark that is on its way already would say that it was. */
static void break_off(struct node *n, struct node_peer *p, int rc)
{
	if (!p->broken && !p->down)
		n->o.host->close(n->o.host, p->link, rc == -EPERM ? err_last() : err_text(rc));
	p->broken = true;
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
	if (!rc)
		rc = node_context_add(&p->context, &p->early, NODE_HEARD_MOST);
	if (!rc)
		rc = said(n, p, &p->context);
	if (rc) {
		node_failed(n, rc);
		break_off(n, p, rc);
		return;
	}
	p->compared = true;
	p->for_diff = false;
	p->early.count = 0;
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
	struct vector news = VECTOR_INIT;
	int rc = node_context_lacks(n, context, &news);
	bool any = !rc && news.count;

	if (any)
		rc = node_context_add(&n->context, &news, NODE_CONTEXT_MOST);
	vector_free(&news);
	if (rc || !any)
		return rc;
	n->context_news = true;
	if (!n->lazy_ns)
		n->lazy_ns = node_now(n);
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

	if (!rc && wanted && r->has_content) {
		node_announce(n, r->entry.hash, r->content, r->content_len);
		n->fetched_bytes += r->content_len;
	}
	if (!rc && wanted && r->held)
		fetch_held(n->fetches, r->entry.hash, p);
	return rc;
}

/*
 * What was told is merged together: one transaction for what came in a turn, or some. A mark, and whatever else is said, comes after the records before it.
 */
struct told {
	struct told *next;
	struct node_peer *p;
	bool leaf, last;
	uint32_t count;
	size_t len;
	uint8_t body[];
};

typedef int (*told_visit)(struct node *n, struct index_txn *t, struct node_peer *p, struct frame_record *r);

/* Goes through the records of a frame. */
static int read_told(const uint8_t *body, size_t len, bool leaf, unsigned *ret_last, uint32_t *ret_count, struct node *n, struct index_txn *t, struct node_peer *p,
		     told_visit visit)
{
	struct cursor c = cursor_make(body, len);
	struct vector context = VECTOR_INIT;
	unsigned last = 0;
	uint32_t count;
	int rc = 0;

	if (leaf) {
		cursor_u16(&c);
		last = cursor_u8(&c);
	}
	count = cursor_u32(&c);
	if (c.err || last > 1)
		return ERR_CORRUPT;
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct frame_record r;

		rc = leaf ? frame_get_leaf_record(&c, &r) : frame_get_record(&c, &r);
		if (rc)
			return rc;
		if (visit)
			rc = visit(n, t, p, &r);
		entry_free(&r.entry);
	}
	if (last && !rc) {
		cursor_u64(&c);
		vector_decode(&c, &context);
		vector_free(&context);
	}
	*ret_last = last;
	*ret_count = count;
	return rc ? rc : cursor_end(&c);
}

/* The whole frame is looked at first: of one that is none, nothing is taken. */
static int keep_told(struct node *n, struct node_peer *p, const struct frame *f)
{
	bool leaf = f->type == FRAME_LEAF;
	struct told *k, **at = &n->told;
	unsigned last;
	uint32_t count;
	int rc = read_told(f->body, f->len, leaf, &last, &count, n, NULL, p, NULL);

	if (!rc && leaf && (!p->comparing || p->asked < p->told_leaves + last))
		rc = ERR_CORRUPT;
	if (!rc && leaf && p->diff) {
		exchange_take_told(n); /* what it is compared with has all that was told before */
		rc = node_diff_leaf(n, p, f);
	}
	if (rc)
		return rc;
	k = malloc(sizeof *k + f->len);
	if (!k)
		return -ENOMEM;
	*k = (struct told){ .p = p, .leaf = leaf, .last = last, .count = count, .len = f->len };
	memcpy(k->body, f->body, f->len);
	p->told_leaves += last;
	n->told_bytes += f->len;
	while (*at)
		at = &(*at)->next;
	*at = k;
	return 0;
}

static void free_told(struct told *k)
{
	while (k) {
		struct told *next = k->next;

		free(k);
		k = next;
	}
}

/* Merges these frames in one transaction. */
static int merge_told(struct node *n, struct told *all)
{
	struct index_txn *t;
	unsigned last;
	uint32_t count;
	bool scan;
	int rc = index_begin(n->o.index, true, &t);

	if (rc)
		return rc;
	for (struct told *k = all; k && !rc; k = k->next)
		rc = k->p->broken ? 0 : read_told(k->body, k->len, k->leaf, &last, &count, n, t, k->p, take_record);
	scan = n->scan_wanted;
	n->lazy = true;
	rc = node_commit(n, t, rc);
	n->lazy = false;
	if (!rc)
		n->scan_wanted = scan; /* node_merge has kept by path what is wanted */
	return rc;
}

/* The first frames, as many as make one transaction. */
static struct told *take_some(struct told **from)
{
	struct told *all = *from, *k = all;

	for (uint64_t count = k->count; k->next && count + k->next->count <= TOLD_MOST; k = k->next)
		count += k->next->count;
	*from = k->next;
	k->next = NULL;
	return all;
}

static void take_told(struct node *n, struct told *all)
{
	int rc = merge_told(n, all);

	for (struct told *k = all; k; k = k->next) {
		k->p->told_leaves -= k->last;
		if (rc)
			break_off(n, k->p, rc);
		else if (!k->p->broken)
			k->p->asked -= k->last;
	}
	for (struct told *k = all; k; k = k->next)
		if (k->last && !k->p->broken)
			compared(n, k->p);
	free_told(all);
}

void exchange_take_told(struct node *n)
{
	struct told *all = n->told;

	n->told = NULL;
	n->told_bytes = 0;
	while (all)
		take_told(n, take_some(&all));
}

/* It is down: what it told and was not merged is as what did not come. */
static void forget_told(struct node *n, const struct node_peer *p)
{
	for (struct told **at = &n->told; *at;) {
		struct told *k = *at;

		if (k->p != p) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		n->told_bytes -= k->len;
		free(k);
	}
}

void exchange_drop_told(struct node *n)
{
	free_told(n->told);
	n->told = NULL;
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
		rc = node_context_add(&p->early, &context, NODE_HEARD_MOST);
	if (!rc && p->compared)
		rc = said(n, p, &context);
	vector_free(&context);
	return rc;
}

/* --- peers --- */

/* Its hello may have been written before joining ended, and its link be up after that: so who has joined since it started says it to whoever comes. */
static void say_joined(struct node *n, struct node_peer *p)
{
	struct buf b = BUF_INIT;
	size_t start;

	frame_begin(&b, FRAME_JOINED, &start);
	frame_end(&b, start, false);
	exchange_send(n, p, &b);
}

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
	memcpy(p->incarnation, h->incarnation, sizeof p->incarnation);
	p->joining = h->joining;
	node_clock_heard(n, p, h->wall_us);
	p->sent = n->position;
	p->next = n->peers;
	n->peers = p;
	*ret = p;
	node_tombs_unheard(n, p->key);
	rc = node_members_send(n, p); /* before anything that they made */
	if (rc)
		node_failed(n, rc);
	if (n->has_joined)
		say_joined(n, p);
	exchange_compare(n, p);
	fetch_peer_up(n->fetches, p);
	node_pump(n);
	return 0;
}

void node_down(struct node *n, struct node_peer *p)
{
	struct node_peer **at = &n->peers;

	forget_told(n, p);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->down = true;
	n->lost_ns = node_now(n);
	node_cuts_peer_down(n, p);
	node_diff_down(n, p);
	node_join_peer_down(n, p);
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
	vector_free(&p->known);
	buf_free(&p->leaves);
	buf_free(&p->cuts);
	free(p);
}

void exchange_joined(struct node *n)
{
	n->has_joined = true;
	for (struct node_peer *p = n->peers; p; p = p->next)
		say_joined(n, p);
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
	int rc;

	if (p->broken)
		return 0;
	if (f->type == FRAME_RECORDS || f->type == FRAME_LEAF) {
		rc = keep_told(n, p, f);
		p->broken = rc != 0;
		if (!n->turn)
			exchange_take_told(n);
		node_pump(n);
		return rc;
	}
	exchange_take_told(n);
	if (p->broken)
		return 0;
	switch (f->type) {
	case FRAME_MARK:
		rc = take_mark(n, p, f);
		break;
	case FRAME_ASK_SUMS:
		rc = exchange_ask_sums(n, p, f);
		break;
	case FRAME_SUMS:
		rc = take_sums(n, p, f);
		break;
	case FRAME_ASK_LEAVES:
		rc = exchange_ask_leaves(n, p, f);
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
	p->broken |= rc != 0;
	node_pump(n);
	return rc;
}
