/*
 * ns_name.c - names: lookup, making and removing them. (Renaming: ns_rename.c.)
 *
 * Invariants, checked by meta_check: an inode's link count is its number of names (a directory's: 2 and its
 * subdirectories); an inode without a name is listed as an orphan in the same record that took its last name, so a
 * crash leaves nothing that is not found again.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "ns.h"

int ns_name_check(const char *name, size_t len)
{
	if (len == 0)
		return -ENOENT;
	if (len > VOLUME_NAME_MAX)
		return -ENAMETOOLONG;
	return memchr(name, 0, len) || memchr(name, '/', len) ? -EINVAL : 0;
}

bool ns_name_is_dots(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

int ns_dir_get(struct meta *m, uint64_t ino, struct inode *ret)
{
	int rc = meta_inode_get(m, ino, ret);

	if (rc)
		return rc;
	return S_ISDIR(ret->a.mode) ? 0 : -ENOTDIR;
}

int ns_parent_get(struct meta *m, uint64_t ino, struct inode *ret)
{
	int rc = ns_dir_get(m, ino, ret);

	if (rc)
		return rc;
	return ret->a.nlink == 0 ? -ENOENT : 0;
}

static int lookup(struct meta *m, uint64_t dir, const char *name, size_t len, struct inode *ret)
{
	struct volume_dirent e;
	int rc = ns_dir_get(m, dir, ret);

	if (rc)
		return rc;
	if (ns_name_is_dots(name, len))
		return len == 1 ? 0 : meta_inode_get(m, ret->parent, ret);
	rc = meta_name_get(m, dir, name, len, &e);
	if (rc)
		return rc;
	rc = meta_inode_get(m, e.ino, ret);
	return rc == -ENOENT ? err_set(ERR_CORRUPT, "inode %llu has a name, but is not there; run fsck.clonefs", (unsigned long long)e.ino) : rc;
}

int volume_lookup(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_attr *ret)
{
	struct inode i;
	int rc = ns_name_check(name, len);

	if (rc)
		return rc;
	engine_lock(v);
	rc = lookup(engine_meta(v), dir, name, len, &i);
	if (!rc)
		*ret = i.a;
	return engine_unlock(v, rc);
}

/* --- making --- */

/* The directory, and that the name is free in it. */
static int check_new_name(struct meta *m, uint64_t dir, const char *name, size_t len, struct inode *ret_dir)
{
	struct volume_dirent e;
	int rc = ns_parent_get(m, dir, ret_dir);

	if (rc)
		return rc;
	if (ns_name_is_dots(name, len))
		return -EEXIST;
	rc = meta_name_get(m, dir, name, len, &e);
	if (rc == 0)
		return -EEXIST;
	return rc == -ENOENT ? 0 : rc;
}

/* Owner, group, mode, ACLs and times of a new inode in dir; its type and permissions are in i->a.mode. */
static int dress(struct volume *v, const struct inode *dir, const struct volume_cred *cred, struct inode *i,
		 struct ns_acl_new *acl)
{
	struct timespec now;

	engine_now(v, &now);
	i->a.uid = cred->uid;
	i->a.gid = cred->gid;
	if (dir->a.mode & S_ISGID) {
		i->a.gid = dir->a.gid;
		if (S_ISDIR(i->a.mode))
			i->a.mode |= S_ISGID;
	}
	i->a.atime = i->a.mtime = i->a.ctime = i->a.btime = now;
	i->a.change = 1;
	i->parent = S_ISDIR(i->a.mode) ? dir->a.ino : 0;
	if (S_ISLNK(i->a.mode))
		return 0;
	return ns_acl_inherit(engine_meta(v), dir, cred->umask, &i->a.mode, acl);
}

/* The changes of a creation: name, inode, directory. The name goes first: it alone can be refused (too many of one hash). */
static int put_new(struct volume *v, struct inode *dir, const char *name, size_t len, struct inode *i,
		   const struct ns_acl_new *acl)
{
	struct meta *m = engine_meta(v);
	int rc = meta_name_put(m, dir->a.ino, name, len, i->a.ino, i->a.mode & S_IFMT);

	if (rc == -ENOSPC)
		return engine_abort(v, rc);
	if (!rc)
		rc = ns_acl_apply(m, i, acl);
	if (!rc)
		rc = meta_inode_put(m, i);
	dir->entries++;
	if (S_ISDIR(i->a.mode))
		dir->a.nlink++;
	ns_touch_data(v, dir);
	if (!rc)
		rc = meta_inode_put(m, dir);
	return rc ? engine_fail(v, rc, "a file could not be created") : engine_commit(v);
}

/* i: type, permissions, rdev, target and size are set. */
static int create(struct volume *v, uint64_t dir, const char *name, size_t len, struct inode *i, const struct volume_cred *cred,
		  struct volume_attr *ret, struct volume_wait *w)
{
	struct ns_acl_new acl = { BUF_INIT, BUF_INIT };
	struct inode parent;
	int rc = ns_name_check(name, len);

	if (rc)
		return rc;
	rc = engine_begin(v, 0, w);
	if (rc)
		return rc;
	rc = check_new_name(engine_meta(v), dir, name, len, &parent);
	if (!rc && S_ISDIR(i->a.mode) && parent.a.nlink >= VOLUME_LINK_MAX)
		rc = -EMLINK;
	if (!rc)
		rc = dress(v, &parent, cred, i, &acl);
	if (rc) {
		rc = engine_abort(v, rc);
	} else {
		i->a.ino = engine_new_ino(v);
		i->a.nlink = S_ISDIR(i->a.mode) ? 2 : 1;
		rc = put_new(v, &parent, name, len, i, &acl);
	}
	ns_acl_free(&acl);
	if (!rc)
		*ret = i->a;
	return rc;
}

int volume_mknod(struct volume *v, uint64_t dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
		 const struct volume_cred *cred,
		 struct volume_attr *ret, struct volume_wait *w)
{
	struct inode i = { .a.mode = mode & (S_IFMT | 07777) };

	switch (mode & S_IFMT) {
	case S_IFREG: case S_IFDIR: case S_IFIFO: case S_IFSOCK:
		break;
	case S_IFCHR: case S_IFBLK:
		i.a.rdev = rdev;
		break;
	default:
		return -EINVAL;
	}
	return create(v, dir, name, len, &i, cred, ret, w);
}

int volume_symlink(struct volume *v, uint64_t dir, const char *name, size_t len, const char *target, size_t target_len,
		   const struct volume_cred *cred, struct volume_attr *ret, struct volume_wait *w)
{
	struct inode i = { .a.mode = S_IFLNK | 0777, .a.size = target_len };

	if (target_len == 0)
		return -ENOENT;
	if (target_len > VOLUME_SYMLINK_MAX)
		return -ENAMETOOLONG;
	if (memchr(target, 0, target_len))
		return -EINVAL;
	memcpy(i.target, target, target_len);
	i.target_len = (uint16_t)target_len;
	return create(v, dir, name, len, &i, cred, ret, w);
}

int volume_tmpfile(struct volume *v, uint64_t dir, uint32_t mode, const struct volume_cred *cred,
		   struct volume_attr *ret, struct volume_wait *w)
{
	struct inode parent, i = { .a.mode = S_IFREG | (mode & 07777) };
	struct ns_acl_new acl = { BUF_INIT, BUF_INIT };
	struct meta *m;
	int rc = engine_begin(v, 0, w);

	if (rc)
		return rc;
	m = engine_meta(v);
	rc = ns_parent_get(m, dir, &parent);
	if (!rc)
		rc = dress(v, &parent, cred, &i, &acl);
	if (!rc) {
		i.a.ino = engine_new_ino(v);
		rc = ns_orphan_ref(engine_orphans(v), i.a.ino, true);
	}
	if (rc) {
		ns_acl_free(&acl);
		return engine_abort(v, rc);
	}
	rc = ns_acl_apply(m, &i, &acl);
	if (!rc)
		rc = meta_inode_put(m, &i);
	if (!rc)
		rc = meta_orphan_put(m, i.a.ino);
	ns_acl_free(&acl);
	rc = rc ? engine_fail(v, rc, "a temporary file could not be created") : engine_commit(v);
	if (rc)
		volume_open_unref(v, i.a.ino);
	else
		*ret = i.a;
	return rc;
}

/* --- hard links --- */

static int check_linkable(struct volume *v, const struct inode *i)
{
	if (S_ISDIR(i->a.mode))
		return -EPERM;
	/* As linkat(2): a file without a name gets one only if it was made by O_TMPFILE. */
	if (i->a.nlink == 0 && !ns_orphan_linkable(engine_orphans(v), i->a.ino))
		return -ENOENT;
	return i->a.nlink >= VOLUME_LINK_MAX ? -EMLINK : 0;
}

int volume_link(struct volume *v, uint64_t ino, uint64_t dir, const char *name, size_t len, struct volume_attr *ret,
		struct volume_wait *w)
{
	struct inode parent, i;
	struct meta *m;
	bool orphan;
	int rc = ns_name_check(name, len);

	if (rc)
		return rc;
	rc = engine_begin(v, 0, w);
	if (rc)
		return rc;
	m = engine_meta(v);
	rc = check_new_name(m, dir, name, len, &parent);
	if (!rc)
		rc = meta_inode_get(m, ino, &i);
	if (!rc)
		rc = check_linkable(v, &i);
	if (rc)
		return engine_abort(v, rc);
	rc = meta_name_put(m, dir, name, len, ino, i.a.mode & S_IFMT);
	if (rc == -ENOSPC)
		return engine_abort(v, rc);
	orphan = i.a.nlink == 0;
	i.a.nlink++;
	ns_touch_inode(v, &i);
	parent.entries++;
	ns_touch_data(v, &parent);
	if (!rc && orphan)
		rc = meta_orphan_del(m, ino);
	if (!rc)
		rc = meta_inode_put(m, &i);
	if (!rc)
		rc = meta_inode_put(m, &parent);
	rc = rc ? engine_fail(v, rc, "a link could not be made") : engine_commit(v);
	if (!rc)
		*ret = i.a;
	return rc;
}

/* --- removing --- */

static int check_victim(struct meta *m, uint64_t dir, const char *name, size_t len, bool want_dir, struct inode *ret_dir,
			struct inode *ret)
{
	struct volume_dirent e;
	int rc = ns_parent_get(m, dir, ret_dir);

	if (rc)
		return rc;
	if (ns_name_is_dots(name, len))
		return !want_dir ? -EISDIR : len == 1 ? -EINVAL : -ENOTEMPTY;
	rc = meta_name_get(m, dir, name, len, &e);
	if (rc)
		return rc;
	rc = meta_inode_get(m, e.ino, ret);
	if (rc)
		return rc == -ENOENT ? ERR_CORRUPT : rc;
	if (want_dir != S_ISDIR(ret->a.mode))
		return want_dir ? -ENOTDIR : -EISDIR;
	return want_dir && ret->entries ? -ENOTEMPTY : 0;
}

static int remove_name(struct volume *v, uint64_t dir, const char *name, size_t len, bool want_dir, struct volume_wait *w)
{
	struct inode parent, i;
	struct meta *m;
	int rc = ns_name_check(name, len);

	if (rc)
		return rc;
	rc = engine_begin(v, 0, w);
	if (rc)
		return rc;
	m = engine_meta(v);
	rc = check_victim(m, dir, name, len, want_dir, &parent, &i);
	if (rc)
		return engine_abort(v, rc);
	rc = meta_name_del(m, dir, name, len);
	parent.entries--;
	if (want_dir)
		parent.a.nlink--;
	ns_touch_data(v, &parent);
	i.a.nlink = want_dir ? 0 : i.a.nlink - 1;
	ns_touch_inode(v, &i);
	if (!rc)
		rc = meta_inode_put(m, &parent);
	if (!rc)
		rc = i.a.nlink ? meta_inode_put(m, &i) : ns_orphan_add(v, &i);
	return rc ? engine_fail(v, rc, "a name could not be removed") : engine_commit(v);
}

int volume_unlink(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_wait *w)
{
	return remove_name(v, dir, name, len, false, w);
}

int volume_rmdir(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_wait *w)
{
	return remove_name(v, dir, name, len, true, w);
}
