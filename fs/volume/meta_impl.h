/*
 * meta_impl.h - the inside of struct meta, for meta*.c alone: keys and values
 * as bytes in one LMDB database, behind one cursor of one write transaction.
 *
 * Views that meta_raw_* return are LMDB's own and die with the next change or meta_raw_commit.
 */
#ifndef CLONELOVE_META_IMPL_H
#define CLONELOVE_META_IMPL_H

#include <lmdb.h>

#include "meta.h"
#include "value.h"

/* Changes between two commits of the transaction: a commit costs a write per dirty page, so seldom is cheap in all and long
 * in one go; this keeps it within some milliseconds. */
#define META_CHANGES_PER_COMMIT 2000
/* The same while loading, where pages fill up one after the other and nobody waits. */
#define META_LOADS_PER_COMMIT 50000
/* Whatever the number: changed pages are in memory until the commit, and values may be long. */
#define META_BYTES_PER_COMMIT (8u << 20)

struct meta {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;        /* always open; NULL = unfit after a failure */
	MDB_cursor *cur;     /* in txn */
	bool unfit;          /* LMDB failed; views that were handed out before are still there */
	char *path;
	uint64_t used_bytes; /* of the file, by what is committed */
	uint64_t allocated;  /* of it, from its beginning; UINT64_MAX: its file system does not do that */
	unsigned page_bytes;
	bool room;           /* what is allocated is enough, as of the last look */
	struct meta_sink sink;
	unsigned changes;    /* since the transaction began, */
	size_t bytes;        /* and their values' */
	uint64_t inodes, live_bytes, segments, segment_bytes;
	uint64_t name_hash_mask; /* all ones; tests force collisions with less */
	struct extent scratch[META_EXTENTS_PER_OP + 2];
};

/* All return 0 or a negative error; -ENOENT = no such key. */
int meta_raw_get(struct meta *m, const uint8_t *key, size_t klen, MDB_val *ret);
/* The first key >= key, the one after, the one before the cursor's. */
int meta_raw_seek(struct meta *m, const uint8_t *key, size_t klen, MDB_val *ret_key, MDB_val *ret_val);
int meta_raw_next(struct meta *m, MDB_val *ret_key, MDB_val *ret_val);
int meta_raw_prev(struct meta *m, MDB_val *ret_key, MDB_val *ret_val);
int meta_raw_last(struct meta *m, MDB_val *ret_key, MDB_val *ret_val);
/* Changes the map and, where log is set, tells the sink. *ret_new: the key was not there. Deleting what is not there: -ENOENT. */
int meta_raw_put(struct meta *m, const uint8_t *key, size_t klen, const void *val, size_t vlen, bool log, bool *ret_new);
int meta_raw_append(struct meta *m, const uint8_t *key, size_t klen, const void *val, size_t vlen);
int meta_raw_del(struct meta *m, const uint8_t *key, size_t klen, bool log);
int meta_raw_commit(struct meta *m);
/* Does key k begin with the 9 bytes of prefix? */
bool meta_raw_within(const MDB_val *k, const uint8_t *prefix);
int meta_raw_error(int mdb_rc);

/* sink.live for a whole extent, and the sum. */
void meta_extent_live(struct meta *m, const struct extent *e, int sign);

#endif
