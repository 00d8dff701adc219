/*
 * index.h - what a node knows and what lies on its disk: one record for each path, in LMDB.
 *
 * A record has the newest entry the node knows of, and the entry of what is on the disk. `held` says that they are the same version. From the
 * records follow, kept by index_put in the same transaction and never set by anyone else:
 *   - positions: each change of a record gives it the next number (DESIGN.md, "What a node knows");
 *   - what is wanted: the records that are not held, but for what is left out;
 *   - which paths hold a content, and which share an inode;
 *   - the directories whose time on the disk is not the one that is known;
 *   - the sums over the live entries (in memory, made anew at open).
 *
 * Threads: one writer, the core, has write transactions; any thread may have read transactions (a snapshot, short-lived: a long one keeps
 * the file growing). The sums belong to the writer. A struct index_txn is used by one thread.
 *
 * Durability: a committed transaction survives the process at once, and power loss after the next index_sync or commit; a loss takes whole
 * transactions, from the end. That is enough: after an unclean stop the node has a new incarnation and compares the tree (DESIGN.md).
 *
 * Errors: 0 or negative; -ENOENT where said; -ENOSPC and -EIO from LMDB; ERR_CORRUPT for a record that does not decode (the index is then
 * thrown away and made anew from tree and peers: nothing is only here).
 */
#ifndef CLONELOVE_INDEX_H
#define CLONELOVE_INDEX_H

#include "entry.h"
#include "sums.h"

#define INDEX_ID_BYTES 16
#define INDEX_HOLDERS_MAX 64u /* peers that are told apart as holders of something wanted */

struct index;
struct index_txn;

/* How a file on the disk is recognised as the one its record is about. */
struct index_stat { uint64_t ino, size, links; int64_t mtime_s, ctime_s; uint32_t mtime_ns, ctime_ns, uid, gid; };

struct index_record {
	struct entry known;
	bool held;                /* the disk has `known`; `disk` is not used then */
	bool on_disk;             /* not held: `disk` says what is there; false = nothing of ours */
	struct entry disk;
	struct index_stat stat;   /* of what is there; zeros where nothing is */
	bool young;               /* so soon after its ctime that a later change, in the same tick of the clock, would not show in it */
	bool left_out;            /* the path is ignored (index_set_ignore): nothing is known to lie there, nothing is wanted. Set by index_put */
	bool rot;                 /* `disk` is a content that nobody wrote: it changed without a trace in the stat (DESIGN.md, "Rot") */
	bool stale;               /* it was left out, and has not been looked at since: nobody knows when what lies there became what it is */
	uint64_t holders;         /* not held: a bit for each peer slot that said it holds `known` */
	uint64_t position;        /* given by index_put */
};

struct ignore;
/* Paths that are put from now on are left out by these rules (borrowed; NULL = none). Records that are there stay as they are until they are put. The writer's. */
void index_set_ignore(struct index *x, const struct ignore *rules);

void index_record_init(struct index_record *r);
void index_record_free(struct index_record *r); /* leaves an initialised one */

/*
 * Opens or makes the index in directory dir (made, 0700, where it is missing). map_bytes: the most the file may ever grow to.
 * *ret_new: it was made now, with a fresh random ID (random: INDEX_ID_BYTES bytes). ERR_NEWER_FORMAT, ERR_CORRUPT, -EBUSY (another process has it).
 */
int index_open(const char *dir, uint64_t map_bytes, const uint8_t *random, struct index **ret, bool *ret_new);
void index_close(struct index *x);                 /* no transaction is open; NULL is fine */
int index_sync(struct index *x);
/* Pages of the file that were touched count as memory of this process: they do not any more, and stay in the kernel's cache. Beside any transaction, on any thread. */
void index_release(struct index *x);
const uint8_t *index_id(const struct index *x);    /* changes when positions start anew */
const struct sums *index_sums(const struct index *x);

int index_begin(struct index *x, bool write, struct index_txn **ret);
int index_commit(struct index_txn *t);             /* frees t, also on failure: nothing has changed then, the sums included. Without a change it costs the disk nothing */
void index_abort(struct index_txn *t);             /* NULL is fine */

/* --- records; paths as entry.h has them --- */
int index_get(struct index_txn *t, const char *path, size_t len, struct index_record *ret); /* -ENOENT. *ret was initialised */
/* Stores r. Its position is renewed if `known` or `held` differ from what was stored; r->position is set. */
int index_put(struct index_txn *t, const char *path, size_t len, struct index_record *r);
/* Gives a record the next position, as if it had changed: it is told of once more. -ENOENT. */
int index_renew(struct index_txn *t, const char *path, size_t len);
int index_delete(struct index_txn *t, const char *path, size_t len);                        /* forgets the record altogether; -ENOENT */

/* Called with views that die with the next change. A non-zero result ends the walk and is returned. */
typedef int (*index_visit)(void *user, const char *path, size_t len, const struct index_record *r);
/* The records directly in a directory (len 0: the root), in the order of their names' bytes. */
int index_children(struct index_txn *t, const char *dir, size_t len, index_visit visit, void *user);
/* Every record below dir, parents before children. */
int index_below(struct index_txn *t, const char *dir, size_t len, index_visit visit, void *user);
/* Records by position, from the first above `after`; at most `most` of them. */
int index_since(struct index_txn *t, uint64_t after, unsigned most, index_visit visit, void *user);
int index_wanted(struct index_txn *t, unsigned most, index_visit visit, void *user);
/* The same in the order of positions: as they came, but for what has another version since, which came anew. From behind *at on (zeros: from the first); *at is where it
 * ended: at the last one visited, or zeros where there are no more. What comes to be wanted while somebody goes through all this way lies before him. */
struct index_at { size_t len; uint8_t key[1 + 8 + 8 + ENTRY_NAME_MAX]; };
int index_wanted_from(struct index_txn *t, struct index_at *at, unsigned most, index_visit visit, void *user);
/* What is wanted directly in this directory. */
int index_wanted_below(struct index_txn *t, const char *dir, size_t len, unsigned most, index_visit visit, void *user);
/* Held directories whose time on the disk is to be set. */
int index_untimed(struct index_txn *t, unsigned most, index_visit visit, void *user);
/* Is anything wanted directly in this directory? */
int index_wanted_in(struct index_txn *t, const char *dir, size_t len, bool *ret);
int index_leaf(struct index_txn *t, uint16_t leaf, index_visit visit, void *user);          /* live and deleted */
/* Files on the disk with this content, held or not. */
int index_with_hash(struct index_txn *t, const uint8_t *hash, index_visit visit, void *user);
/* Files that should have this content, and are rotten. */
int index_rotten_of(struct index_txn *t, const uint8_t *hash, index_visit visit, void *user);
/* Files that had this inode when they were last looked at. */
int index_with_inode(struct index_txn *t, uint64_t ino, index_visit visit, void *user);

/* Files on the disk by their link group. */
int index_with_link(struct index_txn *t, const uint8_t *link, index_visit visit, void *user);

uint64_t index_position(struct index_txn *t);      /* the last one given */
uint64_t index_count(struct index_txn *t);         /* records */
uint64_t index_wanted_count(struct index_txn *t);
bool index_wanted_news(const struct index_txn *t); /* something is wanted that was not, or not so, before this transaction */
uint64_t index_rotten_count(struct index_txn *t);  /* of them rotten */
uint64_t index_wanted_bytes(struct index_txn *t);  /* the sizes of the files among them */

/* --- block lists of files of more than one block, by the file's hash. A list goes with the last record that has to do with the content: of what is known or on the disk. --- */
int index_blocks_put(struct index_txn *t, const uint8_t *hash, const uint8_t *list, size_t len); /* -ENOENT: no record has: it is not kept */
int index_blocks_get(struct index_txn *t, const uint8_t *hash, struct buf *ret);            /* -ENOENT */

/* --- the context, and small values by name (1..64 bytes) --- */
int index_context_get(struct index_txn *t, struct vector *ret);
int index_context_put(struct index_txn *t, const struct vector *v);                         /* the same as is there already is no change */
/* Incarnations that are no part of the context any more, as everybody knows all of them, each with its last sequence. */
int index_retired_put(struct index_txn *t, const struct dot *d);
int index_retired_get(struct index_txn *t, const uint8_t *inc, uint64_t *ret_seq);          /* -ENOENT */
int index_retired(struct index_txn *t, size_t most, struct vector *ret);                    /* the first of them by incarnation, joined to *ret */
int index_retired_clear(struct index_txn *t);
int index_value_get(struct index_txn *t, const char *name, struct buf *ret);                /* -ENOENT */
int index_value_put(struct index_txn *t, const char *name, const void *p, size_t len);      /* p NULL: deletes */

#endif
