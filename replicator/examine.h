/*
 * examine.h - what is at a path now, compared with its record: the first half of a local change (DESIGN.md, "From disk to cluster").
 *
 * Only looks: nothing is written, nothing decided. A file's content is read when anything about its inode is not the record's, and its hash is
 * believed only if no writer was there while it was made (CLUSTER rule 6): a read lease was granted and not broken, or, where the file system
 * gives none, nothing about the file changed meanwhile and its mtime is old enough for a change to have shown.
 *
 * Blocks for disk. Any number of threads, on different paths or the same.
 */
#ifndef CLONELOVE_EXAMINE_H
#define CLONELOVE_EXAMINE_H

#include <stdatomic.h>

#include "env.h"
#include "index.h"
#include "tree.h"

#define EXAMINE_SUSPECT_NS 20000000ull /* two ticks of the slowest kernel clock (HZ=100) */

enum examine_verdict {
	EXAMINE_SAME,     /* what the record says lies there: `found` is not filled in; stat is, and may be newer (a ctime) */
	EXAMINE_CHANGED,  /* `found` is what lies there */
	EXAMINE_GONE,     /* nothing is there, or a directory on the way is none any more */
	EXAMINE_OTHER,    /* a fifo, socket or device: nothing that is carried */
	EXAMINE_BUSY,     /* a writer has it open, or it changed while being looked at: later */
	EXAMINE_LONG      /* its content is to be read, and that takes long (`apart`): stat says of what, suspect that what is read
	                  * now would have to be read again. Nothing else is filled in */
};

/* A content that was read before, and of what. */
struct examine_hashed {
	struct index_stat stat;
	uint8_t hash[HASH_BYTES];
	struct buf blocks;
	bool suspect;
};

struct examine_options {
	bool hash_anyway;         /* read the content even if nothing looks changed (scrub, after an unclean stop, a suspect) */
	bool take_busy;           /* a file that is open for ever: take what is there now, marked unsettled */
	uint64_t apart;           /* not 0: what has so many bytes is not read here */
	const struct examine_hashed *hashed; /* or NULL: believed, if it is about what is there */
	const atomic_bool *stop;  /* NULL, or: give up when it becomes true (-ECANCELED) */
};

struct examine_result {
	enum examine_verdict verdict;
	struct entry found;       /* CHANGED: without version and link group */
	struct tree_stat stat;    /* SAME, CHANGED */
	struct buf blocks;        /* CHANGED, a file of more than one block whose content was read: the list of block hashes */
	bool read;                /* its content was read, */
	bool quiet;               /* and nobody had it open for writing: a lease said so */
	bool young;               /* index_record.young of stat */
	bool suspect;             /* its mtime is so young that a later change may not show: examine again with hash_anyway */
};

/*
 * An owner's name may be another than it was though nobody changed the file: a user was renamed; or the name that its maker has for the number is not known here, and the number is somebody
 * else's. So where the numbers are those that `record` (the stat in its record) has, found is whose the record says.
 */
void examine_owners(struct entry *found, const struct index_stat *st, const struct entry *was, const struct index_stat *record);

void examine_result_init(struct examine_result *r);
void examine_result_free(struct examine_result *r);

/* Was this stat, taken when the clock was at least real_ns, so soon after its ctime that a later change might not show in it? */
bool examine_young(uint64_t real_ns, const struct index_stat *s);

/* Of a record that is so: might its content be other than when it was made, without that showing in the stat? A write sets both times. */
bool examine_hides(bool young, const struct index_stat *s);

/* Of such a record: would any write since, by whomever, show in the stat? Where times have whole seconds alone, nobody knows. */
bool examine_shows(bool young, const struct index_stat *s);

/* record: what the index has of the path, NULL = nothing. 0, or an error of the disk (-EIO, -EACCES, ...), -ENOMEM, -ECANCELED. */
int examine(struct tree *t, struct env *env, const char *path, const struct index_record *record, const struct examine_options *o,
	    struct examine_result *ret);

/*
 * Reads a file's content, for `hashed` of a later call: nobody may have it open for writing, from beginning to end. -EBUSY: somebody has, or it changed; or it is none.
 * Why that may be believed: a change after it shows in the ctime, unless it was made in the tick of the last one before it, and then it is suspect.
 */
int examine_apart(struct tree *t, struct env *env, const char *path, const atomic_bool *stop, struct examine_hashed *ret);
void examine_hashed_free(struct examine_hashed *h);

/* The hash of an open file's first `size` bytes, and its block list where there is more than one block (else blocks stays empty). -EIO where it
 * is shorter. quiet: a lease is held; -EBUSY as soon as it is broken. */
int examine_hash(struct tree *t, struct tree_file *f, uint64_t size, bool quiet, const atomic_bool *stop, uint8_t *ret_hash, struct buf *blocks);

#endif
