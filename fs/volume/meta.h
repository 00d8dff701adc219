/*
 * meta.h - the map of a volume: one LMDB database with the keys below, changed
 * inside one long write transaction, and every change handed to the log.
 *
 * Keys (one byte of table, then big-endian numbers, so that they sort):
 *   'D' dir(8) cookie(8)     name: ino(8) type(1) name bytes
 *   'E' ino(8) last(8)       extent; last = offset of its last byte: start(8) segment(8) logical(4)
 *   'I' ino(8)               inode (see inode_encode in FORMAT.md), a symlink's target at its end
 *   'O' ino(8)               orphan: no name, still open or not yet reaped
 *   'S' segment id(8)        where its object is (struct segment_ref)
 *   'X' ino(8) name          extended attribute's value
 *
 * A cookie is 63 bits: the upper 55 of the name's XXH3 (seed: the directory's inode number), 8 for collisions; never
 * below 3 (0 start, 1 ".", 2 ".."). It is chosen when the name is made and never changes.
 *
 * Not thread-safe: the engine's lock is held for every call. Reads cost about a microsecond. A failure of LMDB itself
 * (-EIO, -ENOSPC, ...) leaves the map unfit: the engine fails the volume.
 */
#ifndef CLONELOVE_META_H
#define CLONELOVE_META_H

#include "cache.h"
#include "volume.h"

struct meta;

/* Where changes go. Called after the map has it. */
struct meta_sink {
	/* val NULL = delete. Returns 0 or an error, which fails the change. */
	int (*change)(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen);
	/* `len` bytes at logical of a segment are referred to once more (sign > 0) or once less. Also called while loading. */
	void (*live)(void *user, uint64_t segment, uint32_t logical, uint32_t len, int sign);
	void *user;
};

/* A new, empty database file in dir, without a name (an old one's is deleted). map_bytes: address space, 0 = 64 GiB. sink is copied. */
int meta_open(const char *dir, uint64_t map_bytes, const struct meta_sink *sink, struct meta **ret);
void meta_close(struct meta *m);
/* False after a failure of LMDB: every call fails from then on. */
bool meta_is_fit(const struct meta *m);

/* Bulk load before anything else: keys strictly ascending, no tombstones; no sink.change, but sink.live for extents. Ends with meta_load_end. */
int meta_load(struct meta *m, const void *key, size_t klen, const void *val, size_t vlen);
int meta_load_end(struct meta *m);
/* Applies one change from a log object or record, in any order of keys (val NULL = delete). sink.live is called for extents that appear, change and go;
 * sink.change is not. */
int meta_apply(struct meta *m, const void *key, size_t klen, const void *val, size_t vlen);
/* Ends one operation's changes: keeps the transaction short (commits, unsynced, every so many changes). */
int meta_step(struct meta *m);

/* Has the disk room for one more operation's changes (and for all that was changed since the last commit)? While it has not, none is to be
 * begun: a disk that turns out to be full at the commit would leave the map unfit. meta_look_for_room asks the disk again. */
bool meta_has_room(const struct meta *m);
void meta_look_for_room(struct meta *m);

/* Counters kept by the map itself. */
uint64_t meta_inode_count(const struct meta *m);
uint64_t meta_live_bytes(const struct meta *m); /* sum of extent lengths */

struct inode {
	struct volume_attr a;      /* allocated_bytes is maintained by the extent calls */
	uint64_t parent;           /* directories: where ".." goes */
	uint32_t xattrs;           /* how many */
	uint32_t entries;          /* directories: names in it */
	uint16_t target_len;       /* symlinks */
	char target[VOLUME_SYMLINK_MAX + 1];
};
int meta_inode_get(struct meta *m, uint64_t ino, struct inode *ret); /* -ENOENT */
int meta_inode_put(struct meta *m, const struct inode *i);
int meta_inode_del(struct meta *m, uint64_t ino);

struct dirent_key { uint64_t dir, cookie; };
int meta_name_get(struct meta *m, uint64_t dir, const char *name, size_t len, struct volume_dirent *ret); /* -ENOENT */
int meta_name_put(struct meta *m, uint64_t dir, const char *name, size_t len, uint64_t ino, uint32_t type); /* new, or replaces what that name means; -ENOSPC when 256 names collide */
int meta_name_del(struct meta *m, uint64_t dir, const char *name, size_t len);
int meta_name_next(struct meta *m, uint64_t dir, uint64_t cookie, struct volume_dirent *ret); /* first with a greater cookie; -ENOENT */

struct extent { uint64_t ino, start, len, segment; uint32_t logical; };
/* The first extent that ends after off (it may begin after it); -ENOENT. */
int meta_extent_find(struct meta *m, uint64_t ino, uint64_t off, struct extent *ret);
/* Makes [e->start, +len) map to the segment, replacing what was there; joins neighbours of one segment that adjoin on both sides (up to 8 MiB).
 * *io_alloc (the inode's allocated bytes) is adjusted. At most MAX extents may be replaced: -E2BIG and nothing done otherwise
 * (the caller punches in steps first). */
#define META_EXTENTS_PER_OP 1024
int meta_extent_set(struct meta *m, const struct extent *e, uint64_t *io_alloc);
/* Removes what maps [off, off+len), from its end downwards, at most META_EXTENTS_PER_OP extents; *ret_from: everything from there on is gone (off = all). */
int meta_extent_punch(struct meta *m, uint64_t ino, uint64_t off, uint64_t len, uint64_t *io_alloc, uint64_t *ret_from);

int meta_xattr_get(struct meta *m, uint64_t ino, const char *name, const uint8_t **ret, size_t *ret_len); /* view, valid until the next change; -ENODATA */
int meta_xattr_put(struct meta *m, uint64_t ino, const char *name, const void *value, size_t len);
int meta_xattr_del(struct meta *m, uint64_t ino, const char *name);
int meta_xattr_next(struct meta *m, uint64_t ino, const char *after, char *ret_name /* 256 */); /* -ENOENT at the end; after "" = first */

int meta_orphan_put(struct meta *m, uint64_t ino);
int meta_orphan_del(struct meta *m, uint64_t ino);
int meta_orphan_next(struct meta *m, uint64_t after, uint64_t *ret); /* -ENOENT */

int meta_segment_get(struct meta *m, uint64_t id, struct segment_ref *ret); /* -ENOENT */
/* Not through sink.change: segments follow from the objects. The bytes of key and value, for runs: meta_segment_encode. */
int meta_segment_put(struct meta *m, const struct segment_ref *r);
void meta_segment_encode(const struct segment_ref *r, struct buf *key, struct buf *val);
uint64_t meta_segment_count(const struct meta *m);
uint64_t meta_segment_bytes(const struct meta *m);

/* Walks all keys of a table (for fsck, tests and the simulation's comparison): each gets views. table 0 = all. */
int meta_walk(struct meta *m, uint8_t table, int (*each)(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen), void *user);
/* Checks what must hold within the map: link counts, parents, entries, names to inodes, extents inside files and segments, xattr counts,
 * allocated bytes. Calls report() per violation (a readable line); returns how many, or a negative error. */
int meta_check(struct meta *m, void (*report)(void *user, const char *line), void *user);

#endif
