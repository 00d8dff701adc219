/*
 * carried.h - what is replicated at all: which paths, which attributes of them. One answer for both sides: a tree tells of nothing else, and from a peer nothing
 * else is taken. So what is in an index can be put on a disk; without that a member could make all others keep what none of them can ever apply.
 *
 * Extended attributes: `user.*` of files and directories, and POSIX ACLs (`system.posix_acl_access`; `system.posix_acl_default` of directories) that are whole, as
 * acl(5) and linux/posix_acl_xattr.h have them. Pure functions over any bytes.
 */
#ifndef CLONELOVE_CARRIED_H
#define CLONELOVE_CARRIED_H

#include "entry.h"

/* Not the tree's own corner (tree.h), at its root, nor what is below it. path is valid (entry_path_valid). */
bool carried_path(const char *path, size_t len);
bool carried_xattr_name(const char *name, size_t len);
/* By name and value, of what is of that kind: an ACL with a number that is nobody's (of a user that the namespace of ours does not map) could be set nowhere. */
bool carried_xattr(enum entry_kind kind, const struct xattr *x);
/* Its attributes are, by name, kind and value; and its owner and group are some (-1 is nobody's number: chown(2) takes it for "as it is"). */
bool carried_entry(const struct entry *e);

#endif
