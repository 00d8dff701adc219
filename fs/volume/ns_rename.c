/*
 * ns_rename.c - rename(2) with RENAME_NOREPLACE and RENAME_EXCHANGE, in one record.
 *
 * Both directories may be one inode, so they are held in two slots of which the second stands in for the first
 * where they are the same; likewise nothing is put twice. The order of errors is that of the man page and of Linux: missing names, then
 * EEXIST, then loops in the tree, then types, then what the target holds, then link counts.
 */
#include <errno.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "err.h"
#include "ns.h"

struct end {
	uint64_t dir;
	const char *name;
	size_t len;
	struct inode parent; /* of the new end: unused when both are one */
	struct inode i;      /* what the name means */
	bool there;
};

struct rename_op { struct end from, to; bool same_dir, exchange; };

static struct inode *new_parent(struct rename_op *r)
{
	return r->same_dir ? &r->from.parent : &r->to.parent;
}

static int find(struct meta *m, struct end *e)
{
	struct volume_dirent d;
	int rc = meta_name_get(m, e->dir, e->name, e->len, &d);

	e->there = rc == 0;
	if (rc)
		return rc;
	rc = meta_inode_get(m, d.ino, &e->i);
	return rc == -ENOENT ? ERR_CORRUPT : rc;
}

/* Is `ino` dir itself or above it? 1, 0 or an error. */
static int is_above(struct meta *m, uint64_t ino, uint64_t dir)
{
	uint64_t left = meta_inode_count(m);
	struct inode d;
	int rc;

	while (dir != ino) {
		if (dir == VOLUME_ROOT_INO)
			return 0;
		rc = ns_dir_get(m, dir, &d);
		if (rc || left-- == 0)
			return rc && rc != -ENOENT && rc != -ENOTDIR ? rc : ERR_CORRUPT;
		dir = d.parent;
	}
	return 1;
}

static int check_loops(struct meta *m, const struct rename_op *r)
{
	int rc;

	if (r->same_dir)
		return 0;
	rc = S_ISDIR(r->from.i.a.mode) ? is_above(m, r->from.i.a.ino, r->to.dir) : 0;
	if (rc)
		return rc > 0 ? -EINVAL : rc;
	if (!r->to.there || !S_ISDIR(r->to.i.a.mode))
		return 0;
	rc = is_above(m, r->to.i.a.ino, r->from.dir);
	if (rc > 0)
		return r->exchange ? -EINVAL : -ENOTEMPTY;
	return rc;
}

static int check_types(struct rename_op *r)
{
	bool from_dir = S_ISDIR(r->from.i.a.mode), to_dir = r->to.there && S_ISDIR(r->to.i.a.mode);

	if (r->to.there && !r->exchange) {
		if (from_dir && !to_dir)
			return -ENOTDIR;
		if (!from_dir && to_dir)
			return -EISDIR;
		if (to_dir && r->to.i.entries)
			return -ENOTEMPTY;
	}
	if (r->same_dir)
		return 0;
	if (from_dir && !to_dir && new_parent(r)->a.nlink >= VOLUME_LINK_MAX)
		return -EMLINK;
	if (r->exchange && to_dir && !from_dir && r->from.parent.a.nlink >= VOLUME_LINK_MAX)
		return -EMLINK;
	return 0;
}

/* 0 = go on; 1 = nothing to do; or the error. */
static int check_rename(struct meta *m, struct rename_op *r, bool noreplace)
{
	int rc = ns_parent_get(m, r->from.dir, &r->from.parent);

	if (!rc && !r->same_dir)
		rc = ns_parent_get(m, r->to.dir, &r->to.parent);
	if (rc)
		return rc;
	if (ns_name_is_dots(r->from.name, r->from.len) || ns_name_is_dots(r->to.name, r->to.len))
		return noreplace && ns_name_is_dots(r->to.name, r->to.len) ? -EEXIST : -EBUSY;
	rc = find(m, &r->from);
	if (rc)
		return rc;
	rc = find(m, &r->to);
	if (rc && (rc != -ENOENT || r->exchange))
		return rc;
	if (r->to.there && noreplace)
		return -EEXIST;
	rc = check_loops(m, r);
	if (rc)
		return rc;
	if (r->to.there && r->to.i.a.ino == r->from.i.a.ino)
		return 1;
	return check_types(r);
}

/* The parents' counts: a name more or less, a subdirectory more or less. */
static void count(struct inode *parent, const struct inode *i, int sign)
{
	parent->entries = sign > 0 ? parent->entries + 1 : parent->entries - 1;
	if (S_ISDIR(i->a.mode))
		parent->a.nlink = sign > 0 ? parent->a.nlink + 1 : parent->a.nlink - 1;
}

static int put_parents(struct volume *v, struct rename_op *r)
{
	int rc;

	ns_touch_data(v, &r->from.parent);
	rc = meta_inode_put(engine_meta(v), &r->from.parent);
	if (rc || r->same_dir)
		return rc;
	ns_touch_data(v, &r->to.parent);
	return meta_inode_put(engine_meta(v), &r->to.parent);
}

static int put_moved(struct volume *v, struct inode *i, uint64_t parent)
{
	if (S_ISDIR(i->a.mode))
		i->parent = parent;
	ns_touch_inode(v, i);
	return meta_inode_put(engine_meta(v), i);
}

static int name_put(struct meta *m, const struct end *e, const struct inode *i)
{
	return meta_name_put(m, e->dir, e->name, e->len, i->a.ino, i->a.mode & S_IFMT);
}

static int exchange(struct volume *v, struct rename_op *r)
{
	struct meta *m = engine_meta(v);
	int rc = name_put(m, &r->to, &r->from.i);

	if (!rc)
		rc = name_put(m, &r->from, &r->to.i);
	count(&r->from.parent, &r->from.i, -1);
	count(&r->from.parent, &r->to.i, 1);
	count(new_parent(r), &r->to.i, -1);
	count(new_parent(r), &r->from.i, 1);
	if (!rc)
		rc = put_moved(v, &r->from.i, r->to.dir);
	if (!rc)
		rc = put_moved(v, &r->to.i, r->from.dir);
	if (!rc)
		rc = put_parents(v, r);
	return rc ? engine_fail(v, rc, "two names could not be exchanged") : engine_commit(v);
}

static int replace(struct volume *v, struct rename_op *r)
{
	struct meta *m = engine_meta(v);
	int rc = name_put(m, &r->to, &r->from.i);

	if (rc == -ENOSPC && !r->to.there)
		return engine_abort(v, rc);
	if (!rc)
		rc = meta_name_del(m, r->from.dir, r->from.name, r->from.len);
	count(&r->from.parent, &r->from.i, -1);
	count(new_parent(r), &r->from.i, 1);
	if (r->to.there)
		count(new_parent(r), &r->to.i, -1);
	if (!rc)
		rc = put_moved(v, &r->from.i, r->to.dir);
	if (!rc)
		rc = put_parents(v, r);
	if (!rc && r->to.there) {
		struct inode *gone = &r->to.i;

		gone->a.nlink = S_ISDIR(gone->a.mode) ? 0 : gone->a.nlink - 1;
		ns_touch_inode(v, gone);
		rc = gone->a.nlink ? meta_inode_put(m, gone) : ns_orphan_add(v, gone);
	}
	return rc ? engine_fail(v, rc, "a name could not be changed") : engine_commit(v);
}

int volume_rename(struct volume *v, uint64_t dir, const char *name, size_t len, uint64_t new_dir, const char *new_name,
		  size_t new_len, unsigned flags, struct volume_wait *w)
{
	struct rename_op r;
	int rc;

	if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE)
		return -EINVAL;
	rc = ns_name_check(name, len);
	if (!rc)
		rc = ns_name_check(new_name, new_len);
	if (rc)
		return rc;
	r.from.dir = dir;
	r.from.name = name;
	r.from.len = len;
	r.to.dir = new_dir;
	r.to.name = new_name;
	r.to.len = new_len;
	r.same_dir = dir == new_dir;
	r.exchange = flags == RENAME_EXCHANGE;
	rc = engine_begin(v, 0, w);
	if (rc)
		return rc;
	rc = check_rename(engine_meta(v), &r, flags == RENAME_NOREPLACE);
	if (rc)
		return engine_abort(v, rc > 0 ? 0 : rc);
	return r.exchange ? exchange(v, &r) : replace(v, &r);
}
