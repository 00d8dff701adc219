/*
 * ns_inode.c - attributes: getattr, setattr (with truncation), readlink.
 *
 * Truncation goes from the end downwards, META_EXTENTS_PER_OP extents to a record, and the size comes down with it: at
 * every instant, and after a crash, no extent lies beyond the size, so a file that grows again shows zeros.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "ns.h"

void ns_touch_data(struct volume *v, struct inode *i)
{
	engine_now(v, &i->a.mtime);
	i->a.ctime = i->a.mtime;
	i->a.change++;
}

void ns_touch_inode(struct volume *v, struct inode *i)
{
	engine_now(v, &i->a.ctime);
	i->a.change++;
}

int ns_file_get(struct meta *m, uint64_t ino, struct inode *ret)
{
	int rc = meta_inode_get(m, ino, ret);

	if (rc)
		return rc;
	if (S_ISDIR(ret->a.mode))
		return -EISDIR;
	return S_ISREG(ret->a.mode) ? 0 : -EINVAL;
}

#define CAPABILITY "security.capability"

int ns_kill_priv(struct meta *m, struct inode *i)
{
	int rc;

	if (!S_ISDIR(i->a.mode)) {
		i->a.mode &= ~(uint32_t)S_ISUID;
		if (i->a.mode & S_IXGRP)
			i->a.mode &= ~(uint32_t)S_ISGID;
	}
	if (i->xattrs == 0)
		return 0;
	rc = meta_xattr_del(m, i->a.ino, CAPABILITY);
	if (rc == 0)
		i->xattrs--;
	return rc == -ENODATA ? 0 : rc;
}

int volume_getattr(struct volume *v, uint64_t ino, struct volume_attr *ret)
{
	struct inode i;
	int rc;

	engine_lock(v);
	rc = meta_inode_get(engine_meta(v), ino, &i);
	if (!rc)
		*ret = i.a;
	return engine_unlock(v, rc);
}

int volume_readlink(struct volume *v, uint64_t ino, char *ret_target)
{
	struct inode i;
	int rc;

	engine_lock(v);
	rc = meta_inode_get(engine_meta(v), ino, &i);
	if (!rc && !S_ISLNK(i.a.mode))
		rc = -EINVAL;
	if (!rc)
		memcpy(ret_target, i.target, (size_t)i.target_len + 1);
	return engine_unlock(v, rc);
}

/* --- setattr --- */

static bool time_bad(const struct timespec *t)
{
	return t->tv_nsec < 0 || t->tv_nsec > 999999999;
}

static int check_setattr(const struct inode *i, unsigned set, const struct volume_attr *a)
{
	if (set & VOLUME_SET_SIZE) {
		if (!S_ISREG(i->a.mode))
			return S_ISDIR(i->a.mode) ? -EISDIR : -EINVAL;
		if (a->size > VOLUME_FILE_MAX)
			return -EFBIG;
	}
	if ((set & VOLUME_SET_MODE) && S_ISLNK(i->a.mode))
		return -EOPNOTSUPP;
	if (((set & VOLUME_SET_ATIME) && time_bad(&a->atime)) || ((set & VOLUME_SET_MTIME) && time_bad(&a->mtime)) ||
	    ((set & VOLUME_SET_CTIME) && time_bad(&a->ctime)))
		return -EINVAL;
	return 0;
}

/* Cuts the file down towards size by one step. i is changed, not put. *ret_done: it is there. */
static int shrink(struct volume *v, struct inode *i, uint64_t size, bool *ret_done)
{
	uint64_t from;
	int rc = meta_extent_punch(engine_meta(v), i->a.ino, size, i->a.size - size, &i->a.allocated_bytes, &from);

	if (rc)
		return rc;
	i->a.size = from;
	*ret_done = from == size;
	return 0;
}

static void set_times(struct volume *v, struct inode *i, unsigned set, const struct volume_attr *a)
{
	struct timespec now;

	engine_now(v, &now);
	if (set & (VOLUME_SET_ATIME | VOLUME_SET_ATIME_NOW))
		i->a.atime = set & VOLUME_SET_ATIME_NOW ? now : a->atime;
	if (set & (VOLUME_SET_MTIME | VOLUME_SET_MTIME_NOW))
		i->a.mtime = set & VOLUME_SET_MTIME_NOW ? now : a->mtime;
	i->a.ctime = set & VOLUME_SET_CTIME ? a->ctime : now;
}

/* All but the size. acl: the new access ACL, empty where there is none. */
static int set_rest(struct volume *v, struct inode *i, unsigned set, const struct volume_attr *a, const struct buf *acl)
{
	struct meta *m = engine_meta(v);
	int rc = 0;

	if (set & VOLUME_SET_KILL_PRIV)
		rc = ns_kill_priv(m, i);
	if (!rc && acl->len)
		rc = meta_xattr_put(m, i->a.ino, NS_ACL_ACCESS, acl->data, acl->len);
	if (set & VOLUME_SET_MODE)
		i->a.mode = (i->a.mode & S_IFMT) | (a->mode & 07777);
	if (set & VOLUME_SET_UID)
		i->a.uid = a->uid;
	if (set & VOLUME_SET_GID)
		i->a.gid = a->gid;
	set_times(v, i, set, a);
	return rc;
}

static int change(struct volume *v, struct inode *i, unsigned set, const struct volume_attr *a, const struct buf *acl,
		  bool *ret_done)
{
	int rc = 0;

	*ret_done = true;
	i->a.change++;
	if ((set & VOLUME_SET_SIZE) && a->size != i->a.size) {
		engine_now(v, &i->a.mtime);
		i->a.ctime = i->a.mtime;
		if (a->size > i->a.size)
			i->a.size = a->size;
		else
			rc = shrink(v, i, a->size, ret_done);
	}
	if (!rc && *ret_done)
		rc = set_rest(v, i, set, a, acl);
	if (!rc)
		rc = meta_inode_put(engine_meta(v), i);
	return rc ? engine_fail(v, rc, "attributes could not be set") : engine_commit(v);
}

/* One record: all of it, or a step of a long truncation. */
static int set_step(struct volume *v, uint64_t ino, unsigned set, const struct volume_attr *attr, struct inode *i,
		    bool *ret_done, struct volume_wait *w)
{
	struct buf acl = BUF_INIT;
	int rc = engine_begin(v, 0, w);

	if (rc)
		return rc;
	rc = meta_inode_get(engine_meta(v), ino, i);
	if (!rc)
		rc = check_setattr(i, set, attr);
	if (!rc && (set & VOLUME_SET_MODE))
		rc = ns_acl_chmod(engine_meta(v), i, attr->mode, &acl);
	rc = rc ? engine_abort(v, rc) : change(v, i, set, attr, &acl, ret_done);
	buf_free(&acl);
	return rc;
}

int volume_setattr(struct volume *v, uint64_t ino, unsigned set, const struct volume_attr *attr, struct volume_attr *ret,
		   struct volume_wait *w)
{
	struct inode i;
	bool done = false;

	while (!done) {
		int rc = set_step(v, ino, set, attr, &i, &done, w);

		if (rc)
			return rc;
	}
	*ret = i.a;
	return 0;
}
