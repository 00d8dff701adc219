/*
 * index_impl.h - the inside of the index, for index*.c alone: keys and values in one LMDB database.
 *
 * A path is (directory number, name), as in a file system: LMDB's keys are at most 511 bytes. Numbers are this index's own; the root has 1.
 *
 *     E dir name          the record (index_record.c)
 *     F dir name          u64: the number of a directory below; there for every path that has records below it
 *     D dir               u64 parent, name: the way back
 *     P position dir name nothing: records in the order of their changes
 *     W dir name          nothing: wanted
 *     A position dir name nothing: wanted, in the order in which it came
 *     T dir name          nothing: a directory whose time is to be set
 *     L leaf dir name     nothing: by leaf of the sums
 *     H hash dir name     nothing: files on the disk by content, held or not
 *     G link dir name     nothing: files on the disk by link group
 *     I inode dir name    nothing: files by inode: another name may come at any time
 *     X hash dir name     nothing: files that are rotten, by the content that they should have
 *     B hash              a list of block hashes
 *     R hash dir name     nothing: contents of more than one block, known or on the disk, held or not: whose list is needed
 *     C incarnation       u64: the last sequence of one that is no part of the context any more
 *     V name              small values; those with a dot before their name are the index's own
 *
 * Numbers in keys are big-endian.
 */
#ifndef CLONELOVE_INDEX_IMPL_H
#define CLONELOVE_INDEX_IMPL_H

#include <lmdb.h>

#include "index.h"

#define INDEX_ROOT 1u
#define INDEX_KEY_MAX (1 + HASH_BYTES + 8 + ENTRY_NAME_MAX)

struct index {
	MDB_env *env;
	MDB_dbi dbi;
	struct sums *sums;
	uint8_t id[INDEX_ID_BYTES];
	const struct ignore *ignore;
	void *map;                      /* of the file; NULL: not found */
	int lock_fd;
};

struct sum_change { uint16_t leaf; bool add; struct sum hash; };

struct index_txn {
	struct index *x;
	MDB_txn *txn;
	bool wanted_news;
	bool write, changed;            /* changed: something was written; else a commit leaves the disk alone */
	int failed;                     /* a change went wrong half-way: only abort is left */
	uint64_t position, count, wanted, next_dir, wanted_bytes, rotten; /* written back at commit */
	struct sum_change *changes;     /* applied to the sums at commit */
	size_t change_count, change_cap;
};

/* A place: directory number and name. */
struct index_place { uint64_t dir; const char *name; size_t len; };

/* --- index_key.c: the database as bytes. -ENOENT where a key is not there. --- */
int index_raw_error(int mdb_rc);
int index_raw_get(struct index_txn *t, const uint8_t *key, size_t klen, MDB_val *ret);
int index_raw_put(struct index_txn *t, const uint8_t *key, size_t klen, const void *val, size_t vlen);
int index_raw_del(struct index_txn *t, const uint8_t *key, size_t klen);
/* The first key at or after `key` that begins with its first `prefix` bytes, for a walk that may be interrupted. */
int index_raw_seek(MDB_cursor *c, const uint8_t *key, size_t klen, size_t prefix, MDB_val *ret_key, MDB_val *ret_val);
int index_raw_next(MDB_cursor *c, const uint8_t *prefix, size_t plen, MDB_val *ret_key, MDB_val *ret_val);
int index_cursor(struct index_txn *t, MDB_cursor **ret);

/* table, number (where with_number), place: the length. out: INDEX_KEY_MAX. */
size_t index_key(char table, const struct index_place *p, uint8_t *out);
size_t index_key_number(char table, uint64_t number, const struct index_place *p, uint8_t *out);
/* p NULL: what all keys of this hash begin with. */
size_t index_key_hash(const uint8_t *hash, const struct index_place *p, uint8_t *out);
size_t index_key_rot(const uint8_t *hash, const struct index_place *p, uint8_t *out);
size_t index_key_ref(const uint8_t *hash, const struct index_place *p, uint8_t *out);
size_t index_key_blocks(const uint8_t *hash, uint8_t *out);
/* The place at the end of a key, behind `skip` bytes. ERR_CORRUPT when it is too short. */
int index_key_place(const MDB_val *key, size_t skip, struct index_place *ret);

/* --- index_path.c: paths to places and back --- */
/* create: directories on the way get numbers. -ENOENT otherwise when one has none. */
int index_path_place(struct index_txn *t, const char *path, size_t len, bool create, struct index_place *ret);
/* The number of a directory itself (the root for len 0). */
int index_path_dir(struct index_txn *t, const char *path, size_t len, uint64_t *ret);
/* out: ENTRY_PATH_MAX bytes. */
int index_path_of(struct index_txn *t, const struct index_place *p, char *out, size_t *ret_len);
/* Gives up the numbers of directories that nothing is below of any more, from dir upwards. */
int index_path_prune(struct index_txn *t, uint64_t dir);

/* --- index_record.c: records as bytes --- */
void index_record_encode(const struct index_record *r, struct buf *out);
int index_record_decode(const void *p, size_t len, struct index_record *ret);

#endif
