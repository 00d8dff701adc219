/*
 * ns_acl.c - POSIX ACLs in the form of Linux's system.posix_acl_* attributes:
 * checking them, what a new inode inherits, and how they and the mode follow each other.
 *
 * The kernel decides access by them; here only acl(5), "Object creation and default ACLs" and "Correspondence between ACL
 * entries and file permission bits", are kept: a default ACL takes the place of the umask; the group bits of the mode are the mask
 * where there is one. An access ACL of only owner, group and others says no more than the mode and is not stored.
 *
 * The bytes: version (2), then per entry tag (u16), permissions (u16), id (u32), little-endian, in the order of the tags.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "ns.h"

#define VERSION 2u
#define HEAD_BYTES 4u
#define ENTRY_BYTES 8u

enum tag { USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

/* Where the entries that matter are in the value; 0 = there is none. */
struct acl { uint8_t *p; size_t len; size_t user_obj, group_obj, mask, other; bool named; };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (p[1] << 8));
}

static uint32_t perm_at(const struct acl *a, size_t off)
{
	return get16(a->p + off + 2);
}

static void set_perm(struct acl *a, size_t off, uint32_t perm)
{
	a->p[off + 2] = (uint8_t)(perm & 7);
	a->p[off + 3] = 0;
}

/* One entry after those before it: tags ascend, USER and GROUP alone may repeat. */
static int take(struct acl *a, size_t off, uint16_t *io_last)
{
	uint16_t tag = get16(a->p + off);

	if (get16(a->p + off + 2) > 7)
		return -EINVAL;
	if (tag < *io_last || (tag == *io_last && tag != USER && tag != GROUP))
		return -EINVAL;
	*io_last = tag;
	switch (tag) {
	case USER_OBJ:
		a->user_obj = off;
		return 0;
	case GROUP_OBJ:
		a->group_obj = off;
		return 0;
	case MASK:
		a->mask = off;
		return 0;
	case OTHER:
		a->other = off;
		return 0;
	case USER: case GROUP:
		a->named = true;
		return get_u32(a->p + off + 4) == UINT32_MAX ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static int parse(uint8_t *p, size_t len, struct acl *ret)
{
	struct acl a = { .p = p, .len = len };
	uint16_t last = 0;
	size_t off;
	int rc;

	if (len < HEAD_BYTES || (len - HEAD_BYTES) % ENTRY_BYTES)
		return -EINVAL;
	if (get_u32(p) != VERSION)
		return -EOPNOTSUPP;
	for (off = HEAD_BYTES; off < len; off += ENTRY_BYTES) {
		rc = take(&a, off, &last);
		if (rc)
			return rc;
	}
	if (!a.user_obj || !a.group_obj || !a.other || (a.named && !a.mask))
		return -EINVAL;
	*ret = a;
	return 0;
}

static bool says_only_mode(const struct acl *a)
{
	return !a->named && !a->mask;
}

static size_t group_class(const struct acl *a)
{
	return a->mask ? a->mask : a->group_obj;
}

int ns_acl_check(const void *value, size_t len, uint32_t mode, uint32_t *ret_mode, bool *ret_equiv)
{
	struct acl a;
	/* parse only reads here; set_perm is what it keeps a writable pointer for. */
	int rc = parse((uint8_t *)(uintptr_t)value, len, &a);

	if (rc)
		return rc;
	*ret_mode = (mode & ~0777u) | perm_at(&a, a.user_obj) << 6 | perm_at(&a, group_class(&a)) << 3 | perm_at(&a, a.other);
	*ret_equiv = says_only_mode(&a);
	return 0;
}

/* A copy of i's ACL attribute, parsed; ret->len 0 where it has none. */
static int load(struct meta *m, const struct inode *i, const char *name, struct buf *ret, struct acl *ret_acl)
{
	const uint8_t *p;
	size_t len;
	int rc;

	if (i->xattrs == 0)
		return 0;
	rc = meta_xattr_get(m, i->a.ino, name, &p, &len);
	if (rc)
		return rc == -ENODATA ? 0 : rc;
	buf_bytes(ret, p, len);
	if (ret->err)
		return ret->err;
	return parse(ret->data, ret->len, ret_acl) ? err_set(ERR_CORRUPT, "inode %llu has an ACL that is none", (unsigned long long)i->a.ino) : 0;
}

/* acl(5), object creation: each class gets what the creator asked for and the default ACL allows. */
static void restrict_to(struct acl *a, uint32_t *io_mode)
{
	uint32_t user = perm_at(a, a->user_obj) & (*io_mode >> 6), group = perm_at(a, group_class(a)) & (*io_mode >> 3);
	uint32_t other = perm_at(a, a->other) & *io_mode;

	set_perm(a, a->user_obj, user);
	set_perm(a, group_class(a), group);
	set_perm(a, a->other, other);
	*io_mode = (*io_mode & ~0777u) | user << 6 | group << 3 | other;
}

int ns_acl_inherit(struct meta *m, const struct inode *dir, uint32_t umask, uint32_t *io_mode, struct ns_acl_new *ret)
{
	struct acl a;
	int rc = load(m, dir, NS_ACL_DEFAULT, &ret->access, &a);

	if (rc)
		return rc;
	if (ret->access.len == 0) {
		*io_mode &= ~(umask & 0777);
		return 0;
	}
	if (S_ISDIR(*io_mode)) {
		buf_bytes(&ret->deflt, ret->access.data, ret->access.len);
		if (ret->deflt.err)
			return ret->deflt.err;
	}
	restrict_to(&a, io_mode);
	if (says_only_mode(&a))
		buf_reset(&ret->access);
	return 0;
}

int ns_acl_apply(struct meta *m, struct inode *i, const struct ns_acl_new *a)
{
	int rc = 0;

	if (a->access.len) {
		rc = meta_xattr_put(m, i->a.ino, NS_ACL_ACCESS, a->access.data, a->access.len);
		i->xattrs++;
	}
	if (!rc && a->deflt.len) {
		rc = meta_xattr_put(m, i->a.ino, NS_ACL_DEFAULT, a->deflt.data, a->deflt.len);
		i->xattrs++;
	}
	return rc;
}

void ns_acl_free(struct ns_acl_new *a)
{
	buf_free(&a->access);
	buf_free(&a->deflt);
}

int ns_acl_chmod(struct meta *m, const struct inode *i, uint32_t mode, struct buf *ret)
{
	struct acl a;
	int rc = load(m, i, NS_ACL_ACCESS, ret, &a);

	if (rc || ret->len == 0)
		return rc;
	set_perm(&a, a.user_obj, mode >> 6);
	set_perm(&a, group_class(&a), mode >> 3);
	set_perm(&a, a.other, mode);
	return 0;
}
