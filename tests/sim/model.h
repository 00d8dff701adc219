/*
 * model.h - what a volume must hold: operations as they were accepted, and
 * their fold, an in-memory tree.
 *
 * Contents, names, targets and xattrs are the model's own; attributes that only the
 * engine can know (times, inode numbers, change counters) are noted with each operation as the engine
 * showed them right after it, and must come back the same. What the model can know of
 * them (type, size, links, mode) it checks.
 */
#ifndef CLONELOVE_SIM_MODEL_H
#define CLONELOVE_SIM_MODEL_H

#include "volume.h"
#include "world.h"

#define OP_NAME_MAX 15
#define OP_ATTRS_MAX 5

enum op_kind {
	OP_CREATE, OP_MKDIR, OP_FIFO, OP_SYMLINK, OP_TMPFILE, OP_LINK, OP_UNLINK, OP_RMDIR, OP_RENAME, OP_WRITE, OP_TRUNCATE, OP_CHMOD,
	OP_UTIMES, OP_FALLOCATE, OP_COPY, OP_SETXATTR, OP_REMOVEXATTR, OP_KINDS
};
extern const char *const op_names[OP_KINDS];

struct op {
	uint64_t id;
	enum op_kind kind;
	uint64_t ino, dir, new_dir, dst;
	char name[OP_NAME_MAX + 1], new_name[OP_NAME_MAX + 1];
	unsigned flags;           /* rename flags, fallocate mode, setxattr flags; write: 1 = append */
	uint64_t off, dst_off, len, done;
	uint64_t data_seed;       /* what is written, an xattr's value, a symlink's target */
	uint32_t mode;
	struct timespec mtime;
	/* what the engine said */
	uint64_t lsn_before, lsn_after, at_ns;
	struct volume_attr attrs[OP_ATTRS_MAX];
	unsigned attr_count;
};

/* Deterministic bytes: noise, text-like or zeros, by the seed. */
void op_data(uint64_t seed, uint64_t len, uint8_t *out);
void op_target(uint64_t seed, char *out /* 64 */);
void op_print(const struct op *o, char *out, size_t cap);

#define MODEL_PAGE_BYTES 4096u
struct model_page { uint64_t index; uint8_t *data; };
struct model_name { char name[OP_NAME_MAX + 1]; uint64_t ino; };
struct model_xattr { char name[OP_NAME_MAX + 1]; uint64_t seed, len; };

struct model_inode {
	struct model_inode *next;
	struct volume_attr a;
	uint64_t size;
	uint32_t nlink, mode;             /* files only: links */
	struct model_page *pages; size_t page_count, page_cap;
	struct model_name *names; size_t name_count, name_cap;
	struct model_xattr *xattrs; size_t xattr_count, xattr_cap;
	uint64_t parent;                  /* directories */
	char target[64];
};

#define MODEL_BUCKETS 128
struct model {
	struct model_inode *buckets[MODEL_BUCKETS];
	uint64_t inodes;
	bool impossible;                  /* an operation was applied that could not have worked: no tree is the fold of these */
};

struct model *model_new(void);           /* the root alone */
void model_free(struct model *m);
/* Forgets what has no name: nothing of it survives a mount. */
void model_prune(struct model *m);
struct model_inode *model_get(struct model *m, uint64_t ino);
struct model_name *model_lookup(struct model_inode *dir, const char *name);
/* The error (positive errno, some error) the operation must meet, 0 where it must work. */
int model_predict(struct model *m, const struct op *o);
/* Does it. o->attrs and o->done are as the engine gave them. An empty string, or what is wrong with them. */
void model_apply(struct model *m, const struct op *o, char *wrong, size_t cap);
void model_read(const struct model_inode *i, uint64_t off, size_t len, uint8_t *out); /* zeros where nothing is */
/* Attributes as noted, put into the tree. */
void model_note(struct model *m, const struct volume_attr *a);

/* --- histories: operations in the order of their LSNs --- */
struct history { struct op **ops; size_t count, cap; };
void history_add(struct history *h, struct op *o);
/* The operations whose LSN is at most lsn: how many. */
size_t history_upto(const struct history *h, uint64_t lsn);
void history_copy(struct history *to, const struct history *from, size_t count);
void history_free(struct history *h);
struct model *history_fold(const struct history *h, size_t count);

#endif
