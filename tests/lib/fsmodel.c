/*
 * fsmodel.c - the model's state and what each operation does to it. Written for
 * clarity, from the man pages, and on purpose without a look at how the volume does it: whole files as arrays, whole
 * directories as lists.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "fsmodel_impl.h"

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct minode *fsmodel_inode(const struct fsmodel *m, uint64_t ino)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->inodes[i].a.ino == ino)
			return &m->inodes[i];
	return NULL;
}

struct mname *fsmodel_name(const struct minode *d, const char *name)
{
	for (size_t i = 0; i < d->name_count; i++)
		if (!strcmp(d->names[i].name, name))
			return &d->names[i];
	return NULL;
}

/* --- life and death --- */

struct fsmodel *fsmodel_new(const struct fsmodel_options *o)
{
	struct fsmodel *m = must(calloc(1, sizeof *m));

	m->o = *o;
	if (!m->o.dirs)
		m->o.dirs = 6;
	if (!m->o.names)
		m->o.names = 24;
	m->inodes = must(calloc(1, sizeof *m->inodes));
	m->inodes[0] = (struct minode){ .a = { .ino = VOLUME_ROOT_INO, .mode = S_IFDIR | 0755, .nlink = 2 }, .parent = VOLUME_ROOT_INO };
	m->count = 1;
	return m;
}

void fsmodel_set_root(struct fsmodel *m, const struct volume_attr *root)
{
	m->inodes[0].a = *root;
}

size_t fsmodel_count(const struct fsmodel *m)
{
	return m->count;
}

static void inode_free(struct minode *i)
{
	for (size_t k = 0; k < i->xattr_count; k++)
		free(i->xattrs[k].value);
	free(i->xattrs);
	free(i->names);
	free(i->target);
	free(i->data);
}

void fsmodel_free(struct fsmodel *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++)
		inode_free(&m->inodes[i]);
	free(m->inodes);
	free(m);
}

static void *copy_bytes(const void *p, size_t len)
{
	void *q = must(malloc(len ? len : 1));

	if (len)
		memcpy(q, p, len);
	return q;
}

struct fsmodel *fsmodel_clone(const struct fsmodel *m)
{
	struct fsmodel *c = copy_bytes(m, sizeof *m);

	c->inodes = copy_bytes(m->inodes, m->count * sizeof *m->inodes);
	for (size_t i = 0; i < c->count; i++) {
		struct minode *n = &c->inodes[i];

		n->xattrs = copy_bytes(n->xattrs, n->xattr_count * sizeof *n->xattrs);
		for (size_t k = 0; k < n->xattr_count; k++)
			n->xattrs[k].value = copy_bytes(n->xattrs[k].value, n->xattrs[k].len);
		n->names = copy_bytes(n->names, n->name_count * sizeof *n->names);
		n->target = n->target ? copy_bytes(n->target, strlen(n->target) + 1) : NULL;
		n->data = copy_bytes(n->data, n->cap);
	}
	return c;
}

static void forget(struct fsmodel *m, struct minode *i)
{
	inode_free(i);
	*i = m->inodes[--m->count];
}

/* Takes inodes away that have no name and are not open. */
static void reap(struct fsmodel *m)
{
	for (size_t i = m->count; i-- > 0;)
		if (m->inodes[i].a.nlink == 0 && m->inodes[i].opens == 0)
			forget(m, &m->inodes[i]);
}

void fsmodel_crash(struct fsmodel *m)
{
	for (size_t i = 0; i < m->count; i++) {
		m->inodes[i].opens = 0;
		m->inodes[i].linkable = false;
	}
	reap(m);
}

static struct minode *inode_new(struct fsmodel *m)
{
	m->inodes = must(realloc(m->inodes, (m->count + 1) * sizeof *m->inodes));
	memset(&m->inodes[m->count], 0, sizeof *m->inodes);
	return &m->inodes[m->count++];
}

static void name_add(struct minode *d, const char *name, uint64_t ino)
{
	d->names = must(realloc(d->names, (d->name_count + 1) * sizeof *d->names));
	memset(&d->names[d->name_count], 0, sizeof *d->names);
	strcpy(d->names[d->name_count].name, name);
	d->names[d->name_count++].ino = ino;
}

static void name_del(struct minode *d, struct mname *n)
{
	*n = d->names[--d->name_count];
}

static void changed(struct minode *i, const struct fsop_result *res, bool data)
{
	i->a.ctime = res->now;
	if (data)
		i->a.mtime = res->now;
}

/* --- checks that several operations share --- */

static int check_name(const char *name)
{
	if (!*name)
		return -ENOENT;
	return strlen(name) > VOLUME_NAME_MAX ? -ENAMETOOLONG : 0;
}

static int get_dir(const struct fsmodel *m, uint64_t ino, struct minode **ret)
{
	*ret = fsmodel_inode(m, ino);
	if (!*ret)
		return -ENOENT;
	if (!S_ISDIR((*ret)->a.mode))
		return -ENOTDIR;
	return (*ret)->a.nlink ? 0 : -ENOENT;
}

static int get_file(const struct fsmodel *m, uint64_t ino, struct minode **ret)
{
	*ret = fsmodel_inode(m, ino);
	if (!*ret)
		return -ENOENT;
	if (S_ISDIR((*ret)->a.mode))
		return -EISDIR;
	return S_ISREG((*ret)->a.mode) ? 0 : -EINVAL;
}

/* --- names --- */

static int make(struct fsmodel *m, const struct fsop *op, uint32_t mode, const struct fsop_result *res)
{
	struct minode *d, *i;
	int rc = op->kind == FSOP_TMPFILE ? 0 : check_name(op->name);

	if (!rc)
		rc = get_dir(m, op->ino, &d);
	if (!rc && op->kind != FSOP_TMPFILE && fsmodel_name(d, op->name))
		rc = -EEXIST;
	if (rc)
		return rc;
	i = inode_new(m);
	d = fsmodel_inode(m, op->ino);
	i->a = (struct volume_attr){ .ino = res->ino, .mode = mode, .uid = op->cred.uid, .gid = op->cred.gid, .nlink = S_ISDIR(mode) ? 2 : 1 };
	if (!S_ISLNK(mode))
		i->a.mode &= ~(op->cred.umask & 0777);
	if (d->a.mode & S_ISGID) {
		i->a.gid = d->a.gid;
		if (S_ISDIR(mode))
			i->a.mode |= S_ISGID;
	}
	i->a.atime = i->a.btime = res->now;
	changed(i, res, true);
	i->parent = op->ino;
	if (op->kind == FSOP_TMPFILE) {
		i->a.nlink = 0;
		i->opens = 1;
		i->linkable = true;
		return 0;
	}
	name_add(d, op->name, res->ino);
	changed(d, res, true);
	d->a.nlink += S_ISDIR(mode) ? 1 : 0;
	return 0;
}

static int make_symlink(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	char target[VOLUME_SYMLINK_MAX + 1];
	size_t len = fsop_target(op, target);
	int rc = make(m, op, S_IFLNK | 0777, res);

	if (rc)
		return rc;
	m->inodes[m->count - 1].target = must(strdup(target));
	m->inodes[m->count - 1].a.size = len;
	return 0;
}

static int make_link(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	struct minode *d, *i = fsmodel_inode(m, op->target);
	int rc = check_name(op->name);

	if (!rc)
		rc = get_dir(m, op->ino, &d);
	if (rc)
		return rc;
	if (fsmodel_name(d, op->name))
		return -EEXIST;
	if (!i)
		return -ENOENT;
	if (S_ISDIR(i->a.mode))
		return -EPERM;
	if (i->a.nlink == 0 && !i->linkable)
		return -ENOENT;
	name_add(d, op->name, op->target);
	i->a.nlink++;
	changed(i, res, false);
	changed(d, res, true);
	return 0;
}

static void drop(struct minode *i, const struct fsop_result *res)
{
	i->a.nlink = S_ISDIR(i->a.mode) ? 0 : i->a.nlink - 1;
	changed(i, res, false);
}

static int take_name(struct fsmodel *m, const struct fsop *op, bool want_dir, const struct fsop_result *res)
{
	struct minode *d, *i;
	struct mname *n;
	int rc = check_name(op->name);

	if (!rc)
		rc = get_dir(m, op->ino, &d);
	if (rc)
		return rc;
	n = fsmodel_name(d, op->name);
	if (!n)
		return -ENOENT;
	i = fsmodel_inode(m, n->ino);
	if (want_dir && !S_ISDIR(i->a.mode))
		return -ENOTDIR;
	if (!want_dir && S_ISDIR(i->a.mode))
		return -EISDIR;
	if (want_dir && i->name_count)
		return -ENOTEMPTY;
	name_del(d, n);
	if (want_dir)
		d->a.nlink--;
	changed(d, res, true);
	drop(i, res);
	reap(m);
	return 0;
}

/* Is `ino` the directory dir, or above it? */
static bool above(const struct fsmodel *m, uint64_t ino, uint64_t dir)
{
	for (;; dir = fsmodel_inode(m, dir)->parent) {
		if (dir == ino)
			return true;
		if (dir == VOLUME_ROOT_INO)
			return false;
	}
}

static int check_rename(const struct fsmodel *m, const struct fsop *op, const struct minode *from, const struct minode *to)
{
	bool exchange = op->flags == RENAME_EXCHANGE, from_dir = S_ISDIR(from->a.mode), to_dir = to && S_ISDIR(to->a.mode);

	if (from_dir && above(m, from->a.ino, op->ino2))
		return -EINVAL;
	if (to_dir && above(m, to->a.ino, op->ino))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (!to || exchange || to == from)
		return 0;
	if (from_dir && !to_dir)
		return -ENOTDIR;
	if (!from_dir && to_dir)
		return -EISDIR;
	return to_dir && to->name_count ? -ENOTEMPTY : 0;
}

static void moved(struct fsmodel *m, struct minode *i, uint64_t from, uint64_t to, const struct fsop_result *res)
{
	changed(i, res, false);
	if (!S_ISDIR(i->a.mode))
		return;
	i->parent = to;
	fsmodel_inode(m, from)->a.nlink--;
	fsmodel_inode(m, to)->a.nlink++;
}

static int do_rename(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	struct minode *d, *d2, *from, *to;
	struct mname *n, *n2;
	int rc = check_name(op->name);

	if (!rc)
		rc = check_name(op->name2);
	if (!rc)
		rc = get_dir(m, op->ino, &d);
	if (!rc)
		rc = get_dir(m, op->ino2, &d2);
	if (rc)
		return rc;
	n = fsmodel_name(d, op->name);
	n2 = fsmodel_name(d2, op->name2);
	if (!n || (!n2 && op->flags == RENAME_EXCHANGE))
		return -ENOENT;
	if (n2 && op->flags == RENAME_NOREPLACE)
		return -EEXIST;
	from = fsmodel_inode(m, n->ino);
	to = n2 ? fsmodel_inode(m, n2->ino) : NULL;
	rc = check_rename(m, op, from, to);
	if (rc || to == from)
		return rc;
	changed(d, res, true);
	changed(d2, res, true);
	moved(m, from, op->ino, op->ino2, res);
	if (op->flags == RENAME_EXCHANGE) {
		moved(m, to, op->ino2, op->ino, res);
		n->ino = to->a.ino;
		n2->ino = from->a.ino;
		return 0;
	}
	if (n2) {
		if (S_ISDIR(to->a.mode))
			d2->a.nlink--;
		n2->ino = from->a.ino;
		drop(to, res);
	} else {
		name_add(d2, op->name2, from->a.ino);
	}
	name_del(d, fsmodel_name(d, op->name));
	reap(m);
	return 0;
}

/* --- data --- */

static void resize(struct minode *i, uint64_t size)
{
	if (size > i->cap) {
		i->data = must(realloc(i->data, size));
		memset(i->data + i->cap, 0, size - i->cap);
		i->cap = size;
	}
	if (size < i->a.size)
		memset(i->data + size, 0, i->a.size - size);
	i->a.size = size;
}

static void kill_priv(struct minode *i)
{
	if (S_ISDIR(i->a.mode))
		return;
	i->a.mode &= ~(uint32_t)S_ISUID;
	if (i->a.mode & S_IXGRP)
		i->a.mode &= ~(uint32_t)S_ISGID;
}

static int do_write(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	struct minode *i;
	int rc = get_file(m, op->ino, &i);
	uint64_t off;

	if (rc || op->len == 0)
		return rc;
	off = op->append ? i->a.size : op->off;
	if (off + op->len > i->a.size)
		resize(i, off + op->len);
	fsop_bytes(op, i->data + off, op->len);
	changed(i, res, true);
	if (op->kill_priv)
		kill_priv(i);
	return 0;
}

static int do_fallocate(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	bool keep = op->flags & FALLOC_FL_KEEP_SIZE, zero = op->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	struct minode *i = fsmodel_inode(m, op->ino);
	uint64_t end = op->off + op->len;

	if (op->len == 0)
		return -EINVAL;
	if (!i)
		return -ENOENT;
	if (!S_ISREG(i->a.mode))
		return S_ISDIR(i->a.mode) ? -EISDIR : S_ISFIFO(i->a.mode) ? -ESPIPE : -ENODEV;
	if (zero && op->off < i->a.size)
		memset(i->data + op->off, 0, (end < i->a.size ? end : i->a.size) - op->off);
	changed(i, res, true);
	if (!keep && end > i->a.size)
		resize(i, end);
	return 0;
}

static int do_copy(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	struct minode *s, *d;
	uint64_t len = op->len;
	uint8_t *copy;
	int rc = get_file(m, op->ino, &s);

	if (!rc)
		rc = get_file(m, op->ino2, &d);
	if (rc)
		return rc;
	if (op->off >= s->a.size)
		len = 0;
	else if (len > s->a.size - op->off)
		len = s->a.size - op->off;
	if (s == d && op->off < op->off2 + len && op->off2 < op->off + len)
		return -EINVAL;
	if (res->copied > len || (len && !res->copied))
		return -EDOM; /* no such answer: the caller sees that the codes differ */
	len = res->copied;
	if (len == 0)
		return 0;
	copy = copy_bytes(s->data + op->off, len);
	if (op->off2 + len > d->a.size)
		resize(d, op->off2 + len);
	memcpy(d->data + op->off2, copy, len);
	free(copy);
	changed(d, res, true);
	return 0;
}

/* --- attributes --- */

static int do_setattr(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	struct minode *i = fsmodel_inode(m, op->ino);
	const unsigned set = op->set;

	if (!i)
		return -ENOENT;
	if ((set & VOLUME_SET_SIZE) && !S_ISREG(i->a.mode))
		return S_ISDIR(i->a.mode) ? -EISDIR : -EINVAL;
	if ((set & VOLUME_SET_MODE) && S_ISLNK(i->a.mode))
		return -EOPNOTSUPP;
	changed(i, res, (set & VOLUME_SET_SIZE) && op->attr.size != i->a.size);
	if (set & VOLUME_SET_SIZE)
		resize(i, op->attr.size);
	if (set & VOLUME_SET_KILL_PRIV)
		kill_priv(i);
	if (set & VOLUME_SET_MODE)
		i->a.mode = (i->a.mode & S_IFMT) | (op->attr.mode & 07777);
	if (set & VOLUME_SET_UID)
		i->a.uid = op->attr.uid;
	if (set & VOLUME_SET_GID)
		i->a.gid = op->attr.gid;
	if (set & VOLUME_SET_ATIME)
		i->a.atime = op->attr.atime;
	if (set & VOLUME_SET_MTIME)
		i->a.mtime = op->attr.mtime;
	if (set & VOLUME_SET_CTIME)
		i->a.ctime = op->attr.ctime;
	if (set & VOLUME_SET_ATIME_NOW)
		i->a.atime = res->now;
	if (set & VOLUME_SET_MTIME_NOW)
		i->a.mtime = res->now;
	return 0;
}

static int do_xattr(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	struct minode *i = fsmodel_inode(m, op->ino);
	struct mxattr *x = NULL;

	if (!i)
		return -ENOENT;
	for (size_t k = 0; k < i->xattr_count; k++)
		if (!strcmp(i->xattrs[k].name, op->name))
			x = &i->xattrs[k];
	if (x && op->kind == FSOP_SETXATTR && (op->flags & XATTR_CREATE))
		return -EEXIST;
	if (!x && (op->kind == FSOP_REMOVEXATTR || (op->flags & XATTR_REPLACE)))
		return -ENODATA;
	if (op->kind == FSOP_SETXATTR && !strncmp(op->name, "user.", 5) && !S_ISREG(i->a.mode) && !S_ISDIR(i->a.mode))
		return -EPERM;
	changed(i, res, false);
	if (op->kind == FSOP_REMOVEXATTR) {
		free(x->value);
		*x = i->xattrs[--i->xattr_count];
		return 0;
	}
	if (!x) {
		i->xattrs = must(realloc(i->xattrs, (i->xattr_count + 1) * sizeof *i->xattrs));
		x = &i->xattrs[i->xattr_count++];
		memset(x, 0, sizeof *x);
		strcpy(x->name, op->name);
	}
	free(x->value);
	x->value = must(malloc(op->len + 1));
	x->len = op->len;
	fsop_bytes(op, x->value, op->len);
	return 0;
}

static int do_open(struct fsmodel *m, const struct fsop *op)
{
	struct minode *i = fsmodel_inode(m, op->ino);

	if (op->kind == FSOP_OPEN) {
		if (!i)
			return -ENOENT;
		i->opens++;
		return 0;
	}
	if (i && i->opens) {
		i->opens--;
		if (i->opens == 0)
			i->linkable = false;
		reap(m);
	}
	return 0;
}

int fsmodel_apply(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res)
{
	switch (op->kind) {
	case FSOP_MKNOD:
	case FSOP_TMPFILE:
		return make(m, op, op->mode, res);
	case FSOP_SYMLINK:
		return make_symlink(m, op, res);
	case FSOP_LINK:
		return make_link(m, op, res);
	case FSOP_UNLINK:
	case FSOP_RMDIR:
		return take_name(m, op, op->kind == FSOP_RMDIR, res);
	case FSOP_RENAME:
		return do_rename(m, op, res);
	case FSOP_SETATTR:
		return do_setattr(m, op, res);
	case FSOP_SETXATTR:
	case FSOP_REMOVEXATTR:
		return do_xattr(m, op, res);
	case FSOP_WRITE:
		return do_write(m, op, res);
	case FSOP_FALLOCATE:
		return do_fallocate(m, op, res);
	case FSOP_COPY:
		return do_copy(m, op, res);
	case FSOP_OPEN:
	case FSOP_CLOSE:
		return do_open(m, op);
	case FSOP_KINDS:
		break;
	}
	abort();
}
