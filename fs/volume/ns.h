/*
 * ns.h - what the operations in ns_*.c share. Every call here wants the
 * engine's lock, except where it says so.
 *
 * Changes follow one rule: what can be refused is refused before the first change; an error after it goes to engine_fail.
 */
#ifndef CLONELOVE_NS_H
#define CLONELOVE_NS_H

#include "engine.h"

/* --- names (ns_name.c) --- */
int ns_name_check(const char *name, size_t len); /* no lock. 0, -ENOENT (empty), -ENAMETOOLONG, -EINVAL ('/' or NUL) */
bool ns_name_is_dots(const char *name, size_t len); /* "." or ".." */
int ns_dir_get(struct meta *m, uint64_t ino, struct inode *ret);    /* -ENOENT, -ENOTDIR */
int ns_parent_get(struct meta *m, uint64_t ino, struct inode *ret); /* the same, and -ENOENT when it is removed */

/* --- inodes (ns_inode.c) --- */
/* A change of content, or of names in a directory: mtime, ctime, change. Of the inode alone: ctime, change. */
void ns_touch_data(struct volume *v, struct inode *i);
void ns_touch_inode(struct volume *v, struct inode *i);
/* Regular file for data operations: -ENOENT, -EISDIR, -EINVAL. */
int ns_file_get(struct meta *m, uint64_t ino, struct inode *ret);
/* Clears set-user-id, set-group-id where group-executable, and the capability attribute. Changes i and perhaps the map; i is to be put. */
int ns_kill_priv(struct meta *m, struct inode *i);

/* --- ACLs (ns_acl.c) --- */
#define NS_ACL_ACCESS "system.posix_acl_access"
#define NS_ACL_DEFAULT "system.posix_acl_default"

/* What a new inode gets from its directory's default ACL. */
struct ns_acl_new { struct buf access, deflt; };
/* Applies the default ACL of dir, or umask where it has none, to *io_mode. Nothing is changed yet. 0, -ENOMEM, ERR_CORRUPT. */
int ns_acl_inherit(struct meta *m, const struct inode *dir, uint32_t umask, uint32_t *io_mode, struct ns_acl_new *ret);
/* Writes them for i (its xattrs are counted; i is to be put). */
int ns_acl_apply(struct meta *m, struct inode *i, const struct ns_acl_new *a);
void ns_acl_free(struct ns_acl_new *a);
/* The access ACL after a chmod: new (empty where there is none), so that it can fail before anything changed. */
int ns_acl_chmod(struct meta *m, const struct inode *i, uint32_t mode, struct buf *ret);
/* Checks an ACL attribute's value. *ret_mode: mode with the bits the ACL means (access ACLs); *ret_equiv: the mode says it all. -EINVAL, -EOPNOTSUPP.
 * No lock. */
int ns_acl_check(const void *value, size_t len, uint32_t mode, uint32_t *ret_mode, bool *ret_equiv);

/* --- orphans (ns_orphan.c) --- */
/* i has no name any more (nlink is 0, and it was changed for the last time): deletes it now if it is small and not open, else leaves
 * it to be reaped. Puts i. */
int ns_orphan_add(struct volume *v, struct inode *i);
/* Open references, with the lock held. linkable: made by O_TMPFILE. */
int ns_orphan_ref(struct orphans *o, uint64_t ino, bool linkable);
bool ns_orphan_linkable(struct orphans *o, uint64_t ino);
struct readahead *ns_orphan_readahead(struct orphans *o);

/* --- reading (ns_read.c) --- */
struct ns_piece {
	uint64_t start, len; /* in the file */
	uint32_t logical;
	struct segment_ref ref;
};
struct ns_pieces { struct ns_piece *at; size_t count, cap; };
/* The pieces of extents within [off, off+len), at most max (SIZE_MAX); the list is appended to. */
int ns_pieces_gather(struct volume *v, uint64_t ino, uint64_t off, uint64_t len, size_t max, struct ns_pieces *io);
bool ns_pieces_equal(const struct ns_pieces *a, const struct ns_pieces *b);
void ns_pieces_free(struct ns_pieces *p);
/* Without the lock: reads all pieces; buf is the file from `base` on. ahead (may be NULL): fetches to start before parking. */
int ns_pieces_read(struct cache *c, const struct ns_pieces *p, uint64_t base, void *buf, const struct ns_pieces *ahead,
		   struct volume_wait *w);

/* Sequential readers, by inode, in a small table (ns_ahead.c). */
struct readahead *readahead_new(void);
void readahead_free(struct readahead *r);
/* A read of [off, off+len) of a file of size bytes: is something to be fetched ahead, and what? */
bool readahead_next(struct readahead *r, uint64_t ino, uint64_t off, uint64_t len, uint64_t size, uint64_t *ret_off,
		    uint64_t *ret_len);

/* --- fragments (ns_fragment.c) ---
 * So that any write fits in one record, no 64 KiB of a file hold more than NS_FRAGMENTS_MAX extents: whoever would add one more
 * rewrites the small ones as one first. */
#define NS_FRAGMENT_BLOCK 65536u
#define NS_FRAGMENTS_MAX 56u
/* Is there room for the edges of a change of [off, off+len)? 0, or 1 and the block to be compacted. */
int ns_fragment_room(struct meta *m, uint64_t ino, uint64_t off, uint64_t len, uint64_t *ret_block);
/* Extents (parts of them) in the block that are outside of [skip, skip_end). */
int ns_fragment_count(struct meta *m, uint64_t ino, uint64_t block, uint64_t skip, uint64_t skip_end, unsigned *ret);
/* Without the lock: an operation of its own. 0 = look again; ERR_PARKED, or the error that keeps the block from being read. */
int ns_fragment_compact(struct volume *v, uint64_t ino, uint64_t block, struct volume_wait *w);
/* engine_begin, with room for the edges made where that is possible. */
int ns_begin_range(struct volume *v, uint64_t ino, uint64_t off, uint64_t len, size_t data_bytes, struct volume_wait *w);

#endif
