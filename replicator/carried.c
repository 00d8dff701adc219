/* carried.c - no state. What makes an ACL whole is what the kernel asks of one (fs/posix_acl.c, posix_acl_valid). */
#include "carried.h"

#include <string.h>

#include "buf.h"
#include "tree.h"

#define ACL_VERSION 2u
#define ACL_NOBODY UINT32_MAX /* the ID of entries that need none, and of no user */

enum { ACL_USER_OBJ = 1, ACL_USER = 2, ACL_GROUP_OBJ = 4, ACL_GROUP = 8, ACL_MASK = 16, ACL_OTHER = 32 };

bool carried_path(const char *path, size_t len)
{
	size_t n = strlen(TREE_CORNER);

	return len < n || memcmp(path, TREE_CORNER, n) != 0 || (len > n && path[n] != '/');
}

static bool is_named(const char *name, size_t len, const char *what)
{
	return len == strlen(what) && memcmp(name, what, len) == 0;
}

bool carried_xattr_name(const char *name, size_t len)
{
	return (len > 5 && memcmp(name, "user.", 5) == 0) || is_named(name, len, "system.posix_acl_access") || is_named(name, len, "system.posix_acl_default");
}

/* In the order of the tags: owner, named users, owning group, named groups, the mask (which named ones need), others. */
static bool acl_whole(const void *p, size_t len)
{
	struct cursor c = cursor_make(p, len);
	unsigned last = 0;
	bool named = false;

	if (cursor_u32(&c) != ACL_VERSION)
		return false;
	while (!c.err && cursor_left(&c)) {
		unsigned tag = cursor_u16(&c), rights = cursor_u16(&c);
		uint32_t id = cursor_u32(&c);
		bool many = tag == ACL_USER || tag == ACL_GROUP;

		if (c.err || rights > 7 || tag < last || (tag == last && !many) || (many && id == ACL_NOBODY))
			return false;
		/* None of those that must be there was passed over. */
		if ((last < ACL_USER_OBJ && tag != ACL_USER_OBJ) || (last < ACL_GROUP_OBJ && tag > ACL_GROUP_OBJ) || tag > ACL_OTHER || (tag & (tag - 1)) ||
		    (tag == ACL_OTHER && named && last != ACL_MASK))
			return false;
		named |= many;
		last = tag;
	}
	return !c.err && last == ACL_OTHER;
}

bool carried_xattr(enum entry_kind kind, const struct xattr *x)
{
	if (kind == ENTRY_SYMLINK || !carried_xattr_name(x->name, x->name_len))
		return false;
	if (is_named(x->name, x->name_len, "system.posix_acl_default") && kind != ENTRY_DIR)
		return false;
	return x->name[0] != 's' || acl_whole(x->value, x->value_len);
}

bool carried_entry(const struct entry *e)
{
	struct cursor c = cursor_make(e->xattrs, e->xattrs_len);
	struct xattr x;
	int more;

	if (e->uid == ACL_NOBODY || e->gid == ACL_NOBODY)
		return false;
	while ((more = entry_xattrs_next(&c, &x)) > 0)
		if (!carried_xattr(e->kind, &x))
			return false;
	return more == 0;
}
