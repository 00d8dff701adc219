/*
 * node_version.c - the version of a change that is made here: its dot, its stamp (by our clock, and the peers'), what it knows of.
 */
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"
#include "stamp.h"

#define CLOCKS_MAX 64u

#define CLOCK_AGAIN_NS 600000000000ull

/* --- clocks --- */

void node_clock_heard(struct node *n, struct node_peer *p, uint64_t wall_us)
{
	p->wall_us = wall_us;
	p->wall_at_ns = node_now(n);
	p->clock_again_ns = p->wall_at_ns + CLOCK_AGAIN_NS;
}

/* By the boot clock, which never jumps: were it by our wall clock, one that is wrong would have all others' wrong with it. */
uint64_t node_clock_us(const struct node *n, const struct node_peer *p)
{
	uint64_t since_us = (node_now(n) - p->wall_at_ns) / 1000;

	return p->wall_us < UINT64_MAX - since_us ? p->wall_us + since_us : UINT64_MAX;
}

/* Theirs may be set while they are up. An answer about a cut tells of it; 0 is no cut's. */
void node_clocks_due(struct node *n)
{
	for (struct node_peer *p = n->peers; p; p = p->next) {
		struct buf b = BUF_INIT;
		size_t start;

		if (p->broken || node_now(n) < p->clock_again_ns)
			continue;
		p->clock_again_ns = node_now(n) + CLOCK_AGAIN_NS;
		frame_begin(&b, FRAME_ASK_CUT, &start);
		buf_u64(&b, 0);
		frame_end(&b, start, false);
		exchange_send(n, p, &b);
	}
}

uint64_t node_clocks_alarm(const struct node *n)
{
	uint64_t next = UINT64_MAX;

	for (const struct node_peer *p = n->peers; p; p = p->next)
		if (!p->broken && p->clock_again_ns < next)
			next = p->clock_again_ns;
	return next;
}

/* --- versions --- */

int node_version_behind(struct node *n, struct index_txn *t, struct entry *e, const struct entry *a, const struct entry *b, uint64_t later, uint64_t made_us)
{
	uint64_t now_us = n->o.env->real_ns(n->o.env) / 1000, clocks[CLOCKS_MAX];
	uint64_t parent = a && a->stamp > later ? a->stamp : later;
	struct vector known = VECTOR_INIT;
	struct dot d;
	size_t count = 0;
	int rc;

	(void)t;
	memcpy(d.inc, n->incarnation, sizeof d.inc);
	d.seq = vector_get(&n->context, d.inc) + 1;
	if (b && b->stamp > parent)
		parent = b->stamp;
	if (n->floor > parent) /* what was forgotten may have been about this path */
		parent = n->floor;
	for (struct node_peer *p = n->peers; p && count < CLOCKS_MAX; p = p->next)
		clocks[count++] = node_clock_us(n, p);
	rc = a ? vector_join(&known, &a->known) : 0;
	if (!rc && b)
		rc = vector_join(&known, &b->known);
	if (!rc)
		rc = vector_raise(&known, &d);
	if (!rc)
		node_cut_known(n, &known, &d, a, b);
	if (!rc)
		rc = vector_raise(&n->context, &d);
	if (rc) {
		vector_free(&known);
		return rc;
	}
	vector_free(&e->known);
	e->known = known;
	e->dot = d;
	e->stamp = stamp_next(parent, made_us < now_us ? made_us : now_us, clocks, count);
	return 0;
}

int node_version(struct node *n, struct index_txn *t, struct entry *e, const struct entry *a, const struct entry *b)
{
	return node_version_behind(n, t, e, a, b, 0, UINT64_MAX);
}

int node_tombstone(const struct entry *e, struct entry *ret)
{
	int rc = entry_copy(e, ret);

	if (rc)
		return rc;
	ret->deleted = true;
	ret->unsettled = false;
	ret->size = 0;
	memset(ret->hash, 0, sizeof ret->hash);
	memset(ret->link, 0, sizeof ret->link);
	free(ret->target);
	ret->target = NULL;
	if (ret->kind != ENTRY_DIR) { /* a directory may be revived, with all it had */
		free(ret->xattrs);
		ret->xattrs = NULL;
		ret->xattrs_len = 0;
	}
	return 0;
}
