/*
 * node_context.c - contexts are cut (DESIGN.md, "Contexts are cut"): what all know of an incarnation is said no more, and remembered in a table of the index alone.
 *
 * n->context and that table together are what this node knows. Whatever asks whether a change is known asks here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define RETIRE_AGAIN_NS 1000000000ull       /* after it could be cut, or not; then twice as long each time */
#define RETIRE_AGAIN_MOST_NS 64000000000ull

/* 1: known to be in the table; 0; or an error. */
static int is_retired(struct node *n, struct index_txn *t, const struct dot *d)
{
	uint64_t seq;
	int rc = n->any_retired ? index_retired_get(t, d->inc, &seq) : -ENOENT;

	return rc == -ENOENT ? 0 : rc ? rc : seq >= d->seq;
}

bool node_covers(struct node *n, struct index_txn *t, const struct dot *d)
{
	int rc;

	if (vector_covers(&n->context, d))
		return true;
	rc = is_retired(n, t, d);
	if (rc < 0)
		node_failed(n, rc); /* not known to be known: decided later */
	return rc > 0;
}

bool node_knows(struct node *n, const struct dot *d)
{
	struct index_txn *t;
	bool yes;

	if (vector_covers(&n->context, d) || !n->any_retired)
		return vector_covers(&n->context, d);
	if (index_begin(n->o.index, false, &t))
		return false;
	yes = node_covers(n, t, d);
	index_abort(t);
	return yes;
}

int node_context_lacks(struct node *n, const struct vector *context, struct vector *ret)
{
	struct index_txn *t = NULL;
	int rc = 0;

	ret->count = 0;
	if (vector_includes(&n->context, context))
		return 0;
	if (n->any_retired)
		rc = index_begin(n->o.index, false, &t);
	for (size_t i = 0; i < context->count && !rc; i++) {
		const struct dot *d = &context->dots[i];

		if (vector_covers(&n->context, d))
			continue;
		rc = is_retired(n, t, d);
		rc = rc > 0 ? 0 : rc ? rc : vector_raise(ret, d);
	}
	index_abort(t);
	return rc;
}

int node_context_add(struct vector *v, const struct vector *said, size_t most)
{
	int rc = vector_join_within(v, said, most);

	return rc == -E2BIG ? err_set(-EPERM, "it sent what no member may send: that changes of more processes are known than there can have been (%zu)", said->count) : rc;
}

/* --- retiring --- */

/*
 * Is there nobody up who does not know all of it, or has not been told that we do, and nobody who may be making changes under it? Who is not up compares with us when it comes, and is told
 * then.
 */
static bool may_retire(const struct node *n, const struct dot *d)
{
	if (memcmp(d->inc, n->incarnation, sizeof d->inc) == 0)
		return false;
	for (const struct node_peer *p = n->peers; p; p = p->next)
		if (!p->compared || !p->marked || memcmp(d->inc, p->incarnation, sizeof d->inc) == 0 || !vector_covers(&p->known, d))
			return false;
	return true;
}

static int retire(struct node *n, struct index_txn *t, struct vector *left)
{
	int rc = vector_copy(&n->context, left);

	for (size_t i = 0; i < n->context.count && !rc; i++) {
		const struct dot *d = &n->context.dots[i];

		if (!may_retire(n, d))
			continue;
		rc = index_retired_put(t, d);
		vector_drop(left, d->inc);
	}
	return rc;
}

void node_context_due(struct node *n)
{
	struct vector left = VECTOR_INIT, was = n->context;
	struct index_txn *t;
	int rc;

	if (n->context.count <= n->o.context_keep || n->scanning || n->joining || node_now(n) < n->retire_ns)
		return;
	n->retire_pause_ns = !n->retire_pause_ns ? RETIRE_AGAIN_NS : n->retire_pause_ns < RETIRE_AGAIN_MOST_NS ? 2 * n->retire_pause_ns : n->retire_pause_ns;
	n->retire_ns = node_now(n) + n->retire_pause_ns;
	rc = index_begin(n->o.index, true, &t);
	if (rc) {
		node_failed(n, rc);
		return;
	}
	rc = retire(n, t, &left);
	if (!rc && left.count == was.count) {
		index_abort(t);
		vector_free(&left);
		return;
	}
	if (!rc)
		n->context = left; /* node_commit stores it */
	rc = node_commit(n, t, rc);
	if (rc) {
		n->context = was;
		vector_free(&left);
		return;
	}
	vector_free(&was);
	n->any_retired = true;
	n->retire_ns = node_now(n) + RETIRE_AGAIN_NS;
	n->retire_pause_ns = 0;
}

int node_context_load(struct node *n, struct index_txn *t)
{
	struct vector one = VECTOR_INIT;
	int rc = index_context_get(t, &n->context);

	if (!rc)
		rc = index_retired(t, 1, &one);
	n->any_retired = one.count > 0;
	vector_free(&one);
	return rc;
}

/* --- the vectors of versions --- */

static bool is_of(const struct entry *e, const struct dot *d)
{
	return e && memcmp(e->dot.inc, d->inc, sizeof d->inc) == 0;
}

/*
 * What a version does not say that it knows makes it look like a conflict to whoever still has that on the disk, who keeps it in the trash then, for nothing. So any element may go but the
 * maker's own and those of the versions that it follows; the retired ones first.
 */
void node_cut_known(const struct node *n, struct vector *known, const struct dot *own, const struct entry *a, const struct entry *b)
{
	for (int any = 0; any < 2; any++)
		for (size_t i = 0; i < known->count && known->count > n->o.known_keep;) {
			struct dot d = known->dots[i];

			if (memcmp(d.inc, own->inc, sizeof d.inc) != 0 && !is_of(a, &d) && !is_of(b, &d) && (any || !vector_get(&n->context, d.inc)))
				vector_drop(known, d.inc);
			else
				i++;
		}
}
