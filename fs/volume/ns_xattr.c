/*
 * ns_xattr.c - extended attributes: user., trusted., security. and the two
 * POSIX ACLs, with the errors of setxattr(2) and its kin.
 *
 * Invariant: inode.xattrs is how many there are, and all names together fit in what listxattr(2) can return (64 KiB).
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "err.h"
#include "ns.h"

#define LIST_MAX 65536u
/* So many names fit in LIST_MAX whatever their length. */
#define COUNT_SAFE (LIST_MAX / (VOLUME_NAME_MAX + 1))

static bool is_acl(const char *name)
{
	return !strcmp(name, NS_ACL_ACCESS) || !strcmp(name, NS_ACL_DEFAULT);
}

static int check_name(const char *name)
{
	static const char *const spaces[] = { "user.", "trusted.", "security." };
	size_t len = strnlen(name, VOLUME_NAME_MAX + 1), i;

	if (len == 0 || len > VOLUME_NAME_MAX)
		return -ERANGE;
	if (is_acl(name))
		return 0;
	for (i = 0; i < CL_ARRAY_LEN(spaces); i++)
		if (!strncmp(name, spaces[i], strlen(spaces[i])))
			return name[strlen(spaces[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

static int answer(const void *p, size_t len, void *buf, size_t size, size_t *ret_len)
{
	if (size != 0) {
		if (len > size)
			return -ERANGE;
		memcpy(buf, p, len);
	}
	*ret_len = len;
	return 0;
}

int volume_getxattr(struct volume *v, uint64_t ino, const char *name, void *value, size_t size, size_t *ret_len)
{
	const uint8_t *p;
	struct inode i;
	size_t len;
	int rc = check_name(name);

	if (rc)
		return rc;
	engine_lock(v);
	rc = meta_inode_get(engine_meta(v), ino, &i);
	if (!rc)
		rc = i.xattrs ? meta_xattr_get(engine_meta(v), ino, name, &p, &len) : -ENODATA;
	if (!rc)
		rc = answer(p, len, value, size, ret_len);
	return engine_unlock(v, rc);
}

/* All names, each with its NUL; list may be NULL to measure. */
static int list_names(struct meta *m, uint64_t ino, char *list, size_t size, size_t *ret_len)
{
	char name[VOLUME_NAME_MAX + 1] = "";
	size_t at = 0;
	int rc;

	while ((rc = meta_xattr_next(m, ino, name, name)) == 0) {
		size_t len = strlen(name) + 1;

		if (list) {
			if (len > size - at)
				return -ERANGE;
			memcpy(list + at, name, len);
		}
		at += len;
	}
	*ret_len = at;
	return rc == -ENOENT ? 0 : rc;
}

int volume_listxattr(struct volume *v, uint64_t ino, char *list, size_t size, size_t *ret_len)
{
	struct inode i;
	int rc;

	engine_lock(v);
	rc = meta_inode_get(engine_meta(v), ino, &i);
	*ret_len = 0;
	if (!rc && i.xattrs)
		rc = list_names(engine_meta(v), ino, size ? list : NULL, size, ret_len);
	return engine_unlock(v, rc);
}

/* --- changing --- */

struct change {
	const char *name;
	const void *value;
	size_t len;
	int flags;
	bool exists, remove; /* remove: no attribute in the end (an ACL that says no more than the mode) */
	uint32_t mode;       /* after it */
};

static int check_acl(const struct inode *i, struct change *c)
{
	uint32_t mode;
	bool equiv;
	int rc;

	if (S_ISLNK(i->a.mode))
		return -EOPNOTSUPP;
	/* acl(5): no entries at all = no ACL. */
	if (c->len == 0 || c->len == 4) {
		c->remove = true;
		if (c->len == 0)
			return 0;
		return get_u32(c->value) == 2 ? 0 : -EOPNOTSUPP;
	}
	rc = ns_acl_check(c->value, c->len, i->a.mode, &mode, &equiv);
	if (rc)
		return rc;
	if (!strcmp(c->name, NS_ACL_DEFAULT))
		return S_ISDIR(i->a.mode) ? 0 : -EACCES;
	c->mode = mode;
	c->remove = equiv;
	return 0;
}

static int check_room(struct meta *m, const struct inode *i, const char *name)
{
	size_t used;
	int rc;

	if (i->xattrs < COUNT_SAFE)
		return 0;
	rc = list_names(m, i->a.ino, NULL, 0, &used);
	if (rc)
		return rc;
	return used + strlen(name) + 1 > LIST_MAX ? -ENOSPC : 0;
}

static int check_set(struct meta *m, const struct inode *i, struct change *c)
{
	const uint8_t *p;
	size_t len;
	int rc = i->xattrs ? meta_xattr_get(m, i->a.ino, c->name, &p, &len) : -ENODATA;

	if (rc && rc != -ENODATA)
		return rc;
	c->exists = rc == 0;
	c->mode = i->a.mode;
	if (c->exists && (c->flags & XATTR_CREATE))
		return -EEXIST;
	if (!c->exists && (c->flags & XATTR_REPLACE))
		return -ENODATA;
	if (is_acl(c->name)) {
		rc = check_acl(i, c);
		if (rc)
			return rc;
	} else if (!strncmp(c->name, "user.", 5) && !S_ISREG(i->a.mode) && !S_ISDIR(i->a.mode)) {
		return -EPERM; /* xattr(7) */
	}
	return c->exists || c->remove ? 0 : check_room(m, i, c->name);
}

static int put_change(struct volume *v, struct inode *i, const struct change *c)
{
	struct meta *m = engine_meta(v);
	int rc = 0;

	if (!c->remove) {
		rc = meta_xattr_put(m, i->a.ino, c->name, c->value, c->len);
		i->xattrs += !c->exists;
	} else if (c->exists) {
		rc = meta_xattr_del(m, i->a.ino, c->name);
		i->xattrs--;
	}
	i->a.mode = c->mode;
	ns_touch_inode(v, i);
	if (!rc)
		rc = meta_inode_put(m, i);
	return rc ? engine_fail(v, rc, "an extended attribute could not be changed") : engine_commit(v);
}

int volume_setxattr(struct volume *v, uint64_t ino, const char *name, const void *value, size_t len, int flags,
		    struct volume_wait *w)
{
	struct change c = { .name = name, .value = value, .len = len, .flags = flags };
	struct inode i;
	int rc = check_name(name);

	if (rc)
		return rc;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (len > VOLUME_XATTR_VALUE_MAX)
		return -E2BIG;
	rc = engine_begin(v, 0, w);
	if (rc)
		return rc;
	rc = meta_inode_get(engine_meta(v), ino, &i);
	if (!rc)
		rc = check_set(engine_meta(v), &i, &c);
	return rc ? engine_abort(v, rc) : put_change(v, &i, &c);
}

int volume_removexattr(struct volume *v, uint64_t ino, const char *name, struct volume_wait *w)
{
	struct change c = { .name = name, .exists = true, .remove = true };
	const uint8_t *p;
	struct inode i;
	size_t len;
	int rc = check_name(name);

	if (rc)
		return rc;
	rc = engine_begin(v, 0, w);
	if (rc)
		return rc;
	rc = meta_inode_get(engine_meta(v), ino, &i);
	if (!rc)
		rc = i.xattrs ? meta_xattr_get(engine_meta(v), ino, name, &p, &len) : -ENODATA;
	/* Removing an ACL that is not there is no error, as in Linux's own file systems. */
	if (rc == -ENODATA && is_acl(name))
		return engine_abort(v, 0);
	if (rc)
		return engine_abort(v, rc);
	c.mode = i.a.mode;
	return put_change(v, &i, &c);
}
