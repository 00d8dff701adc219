/*
 * entry.h - the replicated value of a path: what is there, and which version of it. Its bytes are the same in the index and on the
 * wire (PROTOCOL.md, "Entries"); equal entries have equal bytes, so bytes can be hashed and compared.
 *
 * The path itself is not in here: it is the index's key, and a field of the messages. A path is relative to the tree's root, its parts
 * are 1..255 bytes without '/' and NUL, none is "." or "..", it has 1..4095 bytes.
 *
 * An entry owns its vector, target and xattrs: entry_free. Nothing here is thread-safe by itself.
 */
#ifndef CLONELOVE_ENTRY_H
#define CLONELOVE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "hash.h"
#include "version.h"

#define ENTRY_PATH_MAX 4095u
#define ENTRY_NAME_MAX 255u
#define ENTRY_OWNER_MAX 63u            /* a user's or group's name */
#define ENTRY_TARGET_MAX 4095u
#define ENTRY_XATTRS_MAX 65536u        /* all of a path's, encoded */
#define ENTRY_LINK_BYTES 16
#define ENTRY_BLOCK_BYTES_MIN 131072u  /* a file of up to 512 MiB; larger ones have larger blocks, never more than */
#define ENTRY_BLOCKS_MAX 4096u         /* so many of them: a list of hashes is at most 128 KiB */
#define ENTRY_SIZE_MAX (1ull << 62)

enum entry_kind { ENTRY_FILE = 1, ENTRY_DIR = 2, ENTRY_SYMLINK = 3 };

struct entry {
	enum entry_kind kind;              /* of a tombstone: what it was */
	bool deleted;
	bool unsettled;                    /* a writer had it open when it was hashed */
	struct dot dot;
	uint64_t stamp;                    /* stamp.h; 0 with dot.seq 0 */
	struct vector known;               /* what its maker knew of for this path, itself included; never changed afterwards */
	uint16_t mode;                     /* permission, set-id and sticky bits */
	uint32_t uid, gid;                 /* for nodes that do not know the names */
	char owner[ENTRY_OWNER_MAX + 1], group[ENTRY_OWNER_MAX + 1]; /* "" = no name */
	int64_t mtime_s;                   /* files and symlinks; else 0 */
	uint32_t mtime_ns;
	int64_t dir_s;                     /* the latest mtime the path had as a directory: a merged maximum, kept whatever it is now */
	uint32_t dir_ns;
	uint64_t size;                     /* files; else 0 */
	uint8_t hash[HASH_BYTES];          /* files: BLAKE2b-256 of the list of block hashes; else zeros */
	uint8_t link[ENTRY_LINK_BYTES];    /* link group; zeros = none */
	char *target;                      /* symlinks: NUL-terminated; else NULL */
	uint8_t *xattrs;                   /* xattr_list's encoding, or NULL */
	uint32_t xattrs_len;
};

/* No memory owned: kind FILE, everything else zero. */
void entry_init(struct entry *e);
void entry_free(struct entry *e);      /* leaves an initialised one; NULL is fine */
int entry_copy(const struct entry *from, struct entry *to); /* `to` was initialised; unchanged on failure */

/* An entry that breaks the rules above sets out->err to -EINVAL. */
void entry_encode(const struct entry *e, struct buf *out);
/* Takes hostile bytes; consumes exactly one entry. 0, ERR_CORRUPT, ERR_NEWER_FORMAT, -ENOMEM; *ret is written only on success. */
int entry_decode(struct cursor *c, struct entry *ret);

bool entry_linked(const struct entry *e); /* it has a link group */
bool entry_path_valid(const char *path, size_t len);

/* The same thing would lie on the disk, names of owners compared before their numbers. Versions and link groups are not looked at, nor
 * a directory's mtime. Two tombstones are the same. */
bool entry_same(const struct entry *a, const struct entry *b);

/* Could `found` be what is left on the disk where setting the metadata of `from` to that of `to` stopped half-way? All three are directories, or files of one
 * content, which is not looked at: each owner, time and xattr is one of the two's, the mode's bits are. */
bool entry_between(const struct entry *found, const struct entry *from, const struct entry *to);

/* The order of DESIGN.md: <0, 0 (the same dot), >0. What has no version comes before everything that has one. */
int entry_order(const struct entry *a, const struct entry *b);

struct merge {
	bool changed;   /* *mine is not what it was: in version, or dir_s, dir_ns */
	bool theirs;    /* the version is now theirs */
	bool conflict;  /* neither knew of the other, and they are not the same: the loser's bytes are to be kept */
	bool twin;      /* one dot, two contents: two nodes share an incarnation */
};
/* *mine = mine merged with theirs. 0 or -ENOMEM (*mine unchanged). */
int entry_merge(struct entry *mine, const struct entry *theirs, struct merge *ret);

/* The time the path had as a directory, raised to a later one (0, 0 = none). Was it? */
bool entry_raise_time(struct entry *e, int64_t s, uint32_t ns);

/* Block size of a file of this size: a power of two, at least ENTRY_BLOCK_BYTES_MIN. */
uint64_t entry_block_bytes(uint64_t size);
uint32_t entry_block_count(uint64_t size); /* 0 for an empty file */

/* xattrs: sorted by name, each u8 length and name, u32 length and value. */
struct xattr { const char *name; size_t name_len; const void *value; size_t value_len; };
/* Sorts the array, appends the encoding to out. out->err: -E2BIG over ENTRY_XATTRS_MAX, -EINVAL for a doubled or bad name. */
void entry_xattrs_encode(struct xattr *x, size_t count, struct buf *out);
/* The next one (views into the list); 1, 0 at the end, or ERR_CORRUPT. */
int entry_xattrs_next(struct cursor *c, struct xattr *ret);

#endif
