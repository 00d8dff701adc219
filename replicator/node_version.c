/*
 * node_version.c - the version of a change that is made here: its dot, its stamp, what it knows of.
 */
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"
#include "stamp.h"

#define CLOCKS_MAX 64u

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
		clocks[count++] = now_us + (uint64_t)p->clock_us;
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
