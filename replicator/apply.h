/*
 * apply.h - putting an entry in its place on the disk, without losing what somebody did there meanwhile (DESIGN.md, "From cluster to disk").
 *
 * An item says what is wanted at a path and what should lie there. Its contents are made in the corner first, dressed and synced, then moved into
 * place by one rename. Right before that, what lies there is compared with what should, by its whole stat and all its metadata, under a read lease that is held
 * until the item is done; its content is read where the stat cannot tell (a record made in the tick of the last change, another ctime). What was displaced is
 * looked at once more afterwards. If it is not what should have lain there, or if a writer comes, it is somebody's edit: it stays, or is put back, and the
 * owner has to examine the path. Where no lease is to be had, what was displaced is kept in the trash.
 *
 * Where the metadata alone differ they are set in place, under a read lease, if what lies there is beyond doubt what should; else it is made anew, too.
 * A death half-way leaves a mixture (entry_between): the owner has noted down both.
 *
 * The temp of an item that displaces something has a name that begins with TREE_TEMP_KEEP: after a crash it may hold somebody's edit, and whoever opens
 * the tree moves it to the trash. It has that name only right before it changes places, being whole and synced by then; while it is made its name begins
 * with TREE_TEMP_MAKE instead.
 *
 * Blocks for disk; any number of threads, on different items. Directories get their own times elsewhere.
 */
#ifndef CLONELOVE_APPLY_H
#define CLONELOVE_APPLY_H

#include "env.h"
#include "index.h"
#include "tree.h"

enum apply_outcome {
	APPLY_OPEN,    /* nothing was done yet */
	APPLY_DONE,    /* `want` lies there now (or nothing, if it is a tombstone); `now` is its stat, its name durable. rc: what failed behind that, or 0 */
	APPLY_STRANGE, /* what lies there is not what should: examine it. The tree is as it was */
	APPLY_BUSY,    /* a writer has it open: later. The tree is as it was */
	APPLY_NO_CONTENT, /* the content that was to be had here is not what it should be: fetch it */
	APPLY_FAILED   /* rc says why; what lies there is to be found out, and may be `want`, but not durable */
};

struct apply_item {
	/* what is asked for */
	const char *path;
	const struct entry *want;
	const struct entry *disk;      /* what should lie there; NULL = nothing */
	struct index_stat stat;        /* of it */
	bool young;                    /* index_record.young, of stat */
	bool rot;                      /* `disk` is a content that nobody wrote */
	bool known;                    /* `want` knows of `disk`, or has its content: no need to keep it */
	bool in_place;                 /* a file that has the content of `disk`: the metadata may be set where it is. The content is still to be had below */
	const char *link_from;         /* or NULL: a path whose inode it should share, */
	struct index_stat link_stat;   /* if it still is this, beyond doubt. Else it is made as follows, */
	bool link_young;               /* index_record.young, of link_stat */
	bool only_link;                /* but not where `disk` has all that is wanted but the inode: that waits (BUSY) */
	/* the content of a file, one of */
	const void *bytes;             /* all of it (may be NULL where the size is 0), */
	const char *copy_from;         /* or a path of the tree that should have it, */
	char ready[TREE_TEMP_MAX + 1]; /* or a temp that has it, checked */
	/* for the corner */
	char temp[TREE_TEMP_MAX + 1];
	char made[TREE_TEMP_MAX + 1];  /* what is made has this name at first; apply()'s own */
	/* what came of it */
	enum apply_outcome outcome;
	int rc;
	struct index_stat now;
	bool now_young;
	bool doubt;                    /* DONE, but a change behind our back might not show in `now`: examine, and read it */
	bool apart;                    /* DONE or BUSY: the inode is not the one it should share, and may be when it is tried again */
	bool kept;                     /* not DONE, and ready is there still: the owner's again */
	bool trashed;                  /* what was displaced is in the trash, under the temp's name */
	bool prepared;                 /* what is wanted lies under made, synced */
	bool noted;                    /* where that came from is noted down for good */
	/* The directory it is in, before and after this and the items before it in the same directory: in the last one of these. */
	enum apply_dir { APPLY_DIR_NOT, APPLY_DIR_SEEN, APPLY_DIR_UNSEEN } dir;
	struct index_stat dir_before, dir_after;
};

/*
 * Does all of it, for items that do not depend on each other; then syncs the directories. Each item has its outcome. clock_ns: the trash's clock. Nothing is displaced
 * before it is noted down where it was (trash.h). FAILED, or DONE with an rc, and something displaced: it lies in the temps still, for trash_tend.
 */
void apply(struct tree *t, struct env *env, uint64_t clock_ns, struct apply_item *items, size_t count);

#endif
