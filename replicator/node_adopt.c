/* node_adopt.c - versions for what has none: what a node that joins has found, and nobody else knew of. */
#include <errno.h>

#include "node_impl.h"

struct unversioned { struct buf paths; const uint8_t *leaves; bool left; };

static int note_unversioned(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct unversioned *u = user;
	uint16_t leaf = sums_leaf(path, len);

	if (r->known.dot.seq)
		return 0;
	if (u->leaves && !(u->leaves[leaf / 8] & (1u << (leaf % 8))))
		u->left = true;
	else
		buf_str16(&u->paths, path, len);
	return u->paths.err;
}

int node_adopt(struct node *n, const uint8_t *leaves, bool *ret_left)
{
	struct unversioned u = { BUF_INIT, leaves, false };
	struct index_record r;
	struct index_txn *t;
	struct cursor c;
	struct entry x;
	int rc = index_begin(n->o.index, true, &t);

	if (rc)
		return rc;
	index_record_init(&r);
	entry_init(&x);
	rc = index_since(t, 0, UINT32_MAX, note_unversioned, &u);
	c = cursor_make(u.paths.data, u.paths.len);
	while (!rc && cursor_left(&c)) {
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

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
	}
	entry_free(&x);
	index_record_free(&r);
	buf_free(&u.paths);
	if (!rc)
		*ret_left = u.left;
	return node_commit(n, t, rc);
}
