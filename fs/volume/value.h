/*
 * value.h - the keys and values of a volume's map, as bytes: what meta.h keeps,
 * and what records, runs and log objects carry. FORMAT.md, "The map", has the layouts.
 *
 * Pure functions on the caller's memory. Keys are big-endian, so that they sort; values little-endian.
 * Every decoder takes hostile bytes: 0, ERR_CORRUPT or ERR_NEWER_FORMAT; *ret is written only on success.
 * An encoder refuses (-EINVAL) what its decoder would refuse.
 */
#ifndef CLONELOVE_VALUE_H
#define CLONELOVE_VALUE_H

#include "meta.h"

enum value_table {
	VALUE_DIRENT = 'D', VALUE_EXTENT = 'E', VALUE_INODE = 'I', VALUE_ORPHAN = 'O', VALUE_SEGMENT = 'S', VALUE_XATTR = 'X',
};

#define VALUE_KEY_PREFIX_BYTES 9u  /* a table's letter and the first number */
#define VALUE_KEY_PAIR_BYTES 17u   /* dirent, extent */
#define VALUE_KEY_MAX (VALUE_KEY_PREFIX_BYTES + VOLUME_NAME_MAX)

#define VALUE_INODE_FIXED 120u
#define VALUE_INODE_MAX (VALUE_INODE_FIXED + VOLUME_SYMLINK_MAX)
#define VALUE_DIRENT_FIXED 9u
#define VALUE_DIRENT_MAX (VALUE_DIRENT_FIXED + VOLUME_NAME_MAX)
#define VALUE_EXTENT_BYTES 20u
#define VALUE_ORPHAN_BYTES 1u
#define VALUE_SEGMENT_BYTES 80u

/* Keys: written to out (at least the size named above), the length returned. value_key_prefix is where the keys of one number in one table begin
 * (all of an inode's extents, say); inode, orphan and segment keys are exactly that. */
size_t value_key_prefix(enum value_table table, uint64_t number, uint8_t *out);
size_t value_key_inode(uint64_t ino, uint8_t *out);
size_t value_key_orphan(uint64_t ino, uint8_t *out);
size_t value_key_segment(uint64_t id, uint8_t *out);
size_t value_key_dirent(uint64_t dir, uint64_t cookie, uint8_t *out);
size_t value_key_extent(uint64_t ino, uint64_t last, uint8_t *out);
/* name: 1..VOLUME_NAME_MAX bytes without NUL (0 is returned otherwise). out: VALUE_KEY_MAX. */
size_t value_key_xattr(uint64_t ino, const char *name, size_t len, uint8_t *out);

struct value_key {
	enum value_table table;
	uint64_t a;          /* inode, directory or segment ID */
	uint64_t b;          /* cookie, or the offset of an extent's last byte */
	const uint8_t *name; /* xattr: a view, not NUL-terminated */
	size_t name_len;
};
/* ERR_CORRUPT for a key of no known table, or of the wrong length. */
int value_key_parse(const void *key, size_t klen, struct value_key *ret);

/* out: VALUE_INODE_MAX bytes. The inode number is in the key: decode sets a.ino from ino. target is copied and NUL-terminated. */
int value_inode_encode(const struct inode *i, uint8_t *out, size_t *ret_len);
int value_inode_decode(uint64_t ino, const void *val, size_t vlen, struct inode *ret);

/* out: VALUE_DIRENT_MAX bytes. decode: cookie goes to ret->cookie, the name is NUL-terminated. type: S_IFMT bits. */
int value_dirent_encode(uint64_t ino, uint32_t type, const char *name, size_t len, uint8_t *out, size_t *ret_len);
int value_dirent_decode(uint64_t cookie, const void *val, size_t vlen, struct volume_dirent *ret);

/* The key's last is start + len - 1. out: VALUE_EXTENT_BYTES. */
int value_extent_encode(const struct extent *e, uint8_t *out);
int value_extent_decode(uint64_t ino, uint64_t last, const void *val, size_t vlen, struct extent *ret);

/* out: VALUE_ORPHAN_BYTES. */
void value_orphan_encode(uint8_t *out);
int value_orphan_decode(const void *val, size_t vlen);

/* out: VALUE_SEGMENT_BYTES. id is in the key. */
int value_segment_encode(const struct segment_ref *r, uint8_t *out);
int value_segment_decode(uint64_t id, const void *val, size_t vlen, struct segment_ref *ret);

/* Any key with its value: does it parse? val NULL = deletion: the key alone is checked. */
int value_check(const void *key, size_t klen, const void *val, size_t vlen);

#endif
