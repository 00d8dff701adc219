/*
 * node_join.c - the end of joining: what was in the tree when it began, and has no versions, gets them once a member that is not joining was compared with.
 *
 * A slice of the index at a time, each a transaction: a large tree keeps the core from nothing else meanwhile, and no transaction is as large as the index. What
 * got a version goes out at once, and loses to all that others know; so it does not matter where it is left off: by a death, by a peer that goes down.
 */
#include "node_impl.h"

#include <string.h>

#include "exchange.h"

#define SLICES 4u /* of a job's paths: records that are gone through at a time */

static void end_joining(struct node *n)
{
	struct index_txn *t;
	int rc = index_begin(n->o.index, true, &t);

	if (!rc)
		rc = node_commit(n, t, index_value_put(t, NODE_VALUE_JOINING, NULL, 0));
	if (rc) {
		node_failed(n, rc);
		n->join_again_ns = node_now(n) + NODE_AGAIN_MOST_NS;
		return;
	}
	n->joining = false;
	exchange_joined(n);
}

/* --- versions for what has none --- */

struct slice { struct buf paths; const uint8_t *leaves; uint64_t upto; unsigned seen; bool left; };

static int note_unversioned(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct slice *s = user;
	uint16_t leaf = sums_leaf(path, len);

	s->upto = r->position;
	s->seen++;
	if (r->known.dot.seq)
		return 0;
	if (s->leaves && !(s->leaves[leaf / 8] & (1u << (leaf % 8))))
		s->left = true;
	else
		buf_str16(&s->paths, path, len);
	return s->paths.err;
}

static int adopt_one(struct node *n, struct index_txn *t, const char *path, size_t len)
{
	struct index_record r;
	struct entry x;
	int rc;

	index_record_init(&r);
	entry_init(&x);
	rc = index_get(t, path, len, &r);
	if (!rc)
		rc = entry_copy(&r.known, &x);
	if (!rc)
		rc = node_version(n, t, &x, NULL, NULL);
	if (!rc) {
		x.stamp = 1; /* it goes on losing to whatever else turns up, a deletion too, from a member not heard yet */
		entry_free(&r.known);
		r.known = x;
		entry_init(&x);
		rc = index_put(t, path, len, &r);
	}
	entry_free(&x);
	index_record_free(&r);
	return rc;
}

/* The next slice, of asked leaves alone (a bitmap; NULL = all). What gets a version gets another position as well: it is met again, and passed. */
static int adopt_slice(struct node *n, const uint8_t *leaves, bool *ret_more)
{
	struct slice s = { .paths = BUF_INIT, .leaves = leaves, .upto = n->adopt_after };
	unsigned most = SLICES * n->o.batch;
	struct index_txn *t;
	struct cursor c;
	int rc = index_begin(n->o.index, true, &t);

	if (rc)
		return rc;
	rc = index_since(t, n->adopt_after, most, note_unversioned, &s);
	c = cursor_make(s.paths.data, s.paths.len);
	while (!rc && cursor_left(&c)) {
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

		rc = adopt_one(n, t, path, len);
	}
	buf_free(&s.paths);
	rc = node_commit(n, t, rc);
	if (rc)
		return rc;
	n->adopt_after = s.upto;
	n->adopt_left |= s.left;
	*ret_more = s.seen == most;
	return 0;
}

static void begin_adopting(struct node *n, struct node_peer *p)
{
	n->adopting = true;
	n->adopt_from = p;
	n->adopt_after = 0;
	n->adopt_left = false;
}

void node_heard(struct node *n, struct node_peer *p)
{
	if (!n->joining || p->joining || (n->adopting && n->adopt_from))
		return;
	begin_adopting(n, p);
}

void node_join_peer_down(struct node *n, const struct node_peer *p)
{
	if (!n->adopting || n->adopt_from != p)
		return;
	n->adopting = false;
	n->join_again_ns = node_now(n) + 1; /* another one may have been heard meanwhile */
}

/* The index failed when one was heard, or it went down: it is, or others are, once more. */
static void join_again(struct node *n)
{
	if (!n->join_again_ns || n->join_again_ns > node_now(n))
		return;
	n->join_again_ns = 0;
	for (struct node_peer *p = n->peers; p && n->joining; p = p->next)
		if (p->compared && !p->joining)
			exchange_compare(n, p);
}

/* When all members there are join at once, there is none to hear: the first of them is the one. */
static bool is_first(const struct node *n)
{
	for (const struct node_peer *p = n->peers; p; p = p->next)
		if (!p->joining || memcmp(p->key, n->o.node, sizeof p->key) < 0)
			return false;
	return node_all_up(n, false);
}

void node_join_go_on(struct node *n)
{
	struct node_peer *p;
	bool more = false;
	int rc;

	join_again(n);
	if (!n->joining || n->scanning)
		return;
	if (!n->adopting || !n->adopt_from) {
		if (n->tree_job) /* it is gone on with after that, from where it was */
			return;
		if (!is_first(n)) {
			n->adopting = false;
			return;
		}
		if (!n->adopting)
			begin_adopting(n, NULL);
	}
	p = n->adopt_from;
	if (p && p->comparing) { /* once more: it is heard again at the end */
		n->adopting = false;
		return;
	}
	rc = adopt_slice(n, p ? p->odd : NULL, &more);
	if (!rc && more) {
		node_wake(n, node_now(n)); /* others are heard between */
		return;
	}
	n->adopting = false;
	if (rc)
		n->join_again_ns = node_now(n) + NODE_AGAIN_MOST_NS;
	else if (n->adopt_left)
		exchange_compare(n, p); /* of what has come since */
	else
		end_joining(n);
}
