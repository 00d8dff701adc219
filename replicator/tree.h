/*
 * tree.h - the directory that is replicated, as a table of functions: POSIX (tree_posix.c), and the simulation's.
 *
 * Paths are relative to the tree's root, as entry.h has them, and are never resolved through a symlink or out of the tree
 * (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS): a directory on the way that is none is -ENOTDIR or -ELOOP, an attempt to leave -EXDEV.
 * What is being made lies in the tree's own corner, `.clonesync/tmp` on the same file system, under names the caller chooses ("temps": 1 to 64
 * characters of [0-9a-z.-]). `.clonesync` belongs to root and is no path of the tree: every call refuses it (-EINVAL).
 *
 * Nothing here decides anything: no call looks at the index, retries, or cleans up behind a failure. Each does one thing that either happened
 * or did not, in one system call where other processes could see a difference (publish, withdraw).
 *
 * Durability: nothing is durable before sync_file, sync_dir, sync_all or sync_notes says so. publish and withdraw are atomic to every reader; after
 * power loss the old or the new name is there.
 *
 * Threads: any number may call, on different temps and paths. Calls block for disk, never for anything else; a file on a dead mount gives an error.
 * Errors: 0 or -errno.
 */
#ifndef CLONELOVE_TREE_H
#define CLONELOVE_TREE_H

#include "entry.h"
#include "index.h"

#define TREE_CORNER ".clonesync"
#define TREE_TEMP_MAX 64u
#define TREE_TEMP_KEEP 'x' /* a temp so named may hold what was taken out of the tree: opening a tree moves it to the trash, and removes the others */
#define TREE_TEMP_PART 'p' /* one that a fetch makes of several blocks: opening a tree leaves it alone (fetch_part.h) */
#define TREE_TEMP_MAKE 'm' /* one that is being made for the tree: half of it, perhaps */
#define TREE_TOKEN_BYTES 16

struct tree_file; /* an open file */

struct tree_stat {
	enum entry_kind kind;     /* ENTRY_FILE.. where carried is set */
	bool carried;             /* false: a fifo, socket or device: left alone */
	struct index_stat id;
	uint16_t mode;
};

struct tree_owner { uint32_t uid, gid; };

/* A non-zero result ends the listing and is returned. */
typedef int (*tree_visit)(void *user, const char *name, size_t len, const struct tree_stat *st);

struct tree {
	/* --- looking --- */
	int (*stat)(struct tree *t, const char *path, struct tree_stat *ret); /* "" = the root */
	/* Every name in a directory, in no order; the corner is left out. What vanishes meanwhile is left out, too; what cannot be looked at is there, all zeros. */
	int (*list)(struct tree *t, const char *dir, tree_visit visit, void *user);
	/* Metadata as an entry without version, hash and link: kind, mode, owners with their names, times, size, target, xattrs (without
	 * security.* and trusted.*). st: the stat that goes with it; -EAGAIN when it changed while looking. */
	int (*describe)(struct tree *t, const char *path, struct tree_stat *ret_st, struct entry *ret);
	int (*describe_temp)(struct tree *t, const char *temp, struct tree_stat *ret_st, struct entry *ret); /* the same of a temp; -EINVAL: not carried */

	/* --- contents --- */
	int (*open)(struct tree *t, const char *path, struct tree_file **ret); /* a regular file, for reading, without touching atime */
	int (*open_temp)(struct tree *t, const char *temp, struct tree_file **ret);
	int (*fstat)(struct tree_file *f, struct tree_stat *ret);
	/* Bytes read, 0 at the end. */
	int64_t (*read)(struct tree_file *f, void *buf, size_t len, uint64_t off);
	/* What memory has of it may go: what is read then comes from the disk. A hint; what was not written to the disk yet stays. */
	void (*uncache)(struct tree_file *f, uint64_t off, uint64_t len);
	/* The next data at or after off, and where it ends; a whole file of holes: *ret_data = *ret_end = size. */
	int (*data)(struct tree_file *f, uint64_t off, uint64_t *ret_data, uint64_t *ret_end);
	/* 1: nobody has it open for writing, and this will be known of until close (a read lease); 0: somebody has; -ENOTSUP: not told here. */
	int (*quiet)(struct tree_file *f);
	/* After quiet() == 1: 1 while still so. */
	int (*still_quiet)(struct tree_file *f);
	void (*close)(struct tree_file *f);

	/* --- making, in the corner --- */
	int (*make_file)(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret); /* sparse, 0600, size as said; -EEXIST */
	int (*reopen_file)(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret); /* one that make_file made, in an earlier start perhaps; -EINVAL: it is not so any more */
	int (*write)(struct tree_file *f, const void *buf, size_t len, uint64_t off);              /* all of it */
	/* From another file, sharing blocks where the file system can. All of it; -EIO when the source is shorter. */
	int (*copy)(struct tree_file *to, struct tree_file *from, uint64_t off, uint64_t len);
	int (*make_dir)(struct tree *t, const char *temp);                                         /* 0700 */
	int (*make_symlink)(struct tree *t, const char *temp, const char *target);
	int (*link_from)(struct tree *t, const char *path, const char *temp);                      /* another name of path's inode */
	/* Owner, mode, xattrs, times as the entry says, of a temp or of a path (in place, for changes of metadata alone). Owners that are
	 * unknown here by name are set by number. *ret: whose it is now. Without the right to: -EPERM. */
	int (*dress_temp)(struct tree *t, const char *temp, const struct entry *e, struct tree_owner *ret);
	int (*dress)(struct tree *t, const char *path, const struct entry *e, struct tree_owner *ret);
	/* The same of an open file, whatever its name is by now. On the way from one state to the other nobody may do what neither allows; a failure
	 * or a death half-way leaves a mixture of them (entry_between). */
	int (*dress_file)(struct tree *t, struct tree_file *f, const struct entry *e, struct tree_owner *ret);
	int (*stat_temp)(struct tree *t, const char *temp, struct tree_stat *ret);
	int (*remove_temp)(struct tree *t, const char *temp);                                      /* a directory must be empty: -ENOTEMPTY */
	int (*rename_temp)(struct tree *t, const char *from, const char *to);                      /* -EEXIST */

	/* --- changing places --- */
	int (*publish)(struct tree *t, const char *temp, const char *path);  /* nothing may be there: -EEXIST */
	int (*exchange)(struct tree *t, const char *temp, const char *path); /* what was there is now the temp; -ENOENT */
	int (*withdraw)(struct tree *t, const char *path, const char *temp); /* out of the tree */
	int (*remove_dir)(struct tree *t, const char *path);                 /* -ENOTEMPTY */
	/* The time of a directory alone, once it is quiet. */
	int (*set_dir_time)(struct tree *t, const char *path, int64_t s, uint32_t ns);

	/* --- the trash: `.clonesync/trash/` (trash.h) --- */
	/* From the temps, under a name (one part, ENTRY_NAME_MAX): -EEXIST. */
	int (*trash)(struct tree *t, const char *temp, const char *name);
	int (*list_temps)(struct tree *t, tree_visit visit, void *user); /* every name in there, in no order; what cannot be looked at is not `carried` */
	int (*list_trash)(struct tree *t, tree_visit visit, void *user);
	int (*untrash)(struct tree *t, const char *name, const char *path); /* into the tree; nothing may be there: -EEXIST */
	int (*remove_trash)(struct tree *t, const char *name);              /* for good; a directory with all in it, but not into other file systems */
	/* The notes about it: appended; whole or not at all. sync: durable when it returns. */
	int (*note)(struct tree *t, const void *p, size_t len, bool sync);
	int (*sync_notes)(struct tree *t);
	int (*notes_get)(struct tree *t, struct buf *ret);                  /* all of them, behind what is in ret; none is no error */
	int (*notes_put)(struct tree *t, const void *p, size_t len);        /* in place of all; durable; after a crash these or the old ones */

	/* --- durability --- */
	/* The disk may begin to write this part: a hint, that makes a sync behind it shorter and says nothing of what became of it. May wait while the disk has enough to do. */
	void (*begin_sync)(struct tree_file *f, uint64_t off, uint64_t len);
	int (*sync_file)(struct tree_file *f);
	int (*sync_dir)(struct tree *t, const char *path);     /* names in it; "" = the root */
	/*
	 * All that was done to the tree and its corner before this call, contents and names, is durable: one call in place of many of the two above. -EOPNOTSUPP: not to be
	 * had here, or not now (it would wait long for what others write, or the disk has failed): each is to be synced by itself, and says itself what is wrong with it.
	 */
	int (*sync_all)(struct tree *t);

	/* --- is it still the tree? --- */
	/* 0: the root is the directory that was opened, on the same file system, and the corner is there; -ESTALE otherwise. */
	int (*alive)(struct tree *t);
	bool (*far)(struct tree *t); /* its contents may have to come from elsewhere when they are read (clonefs) */
	int (*token_get)(struct tree *t, uint8_t *ret);        /* TREE_TOKEN_BYTES; -ENOENT */
	int (*token_put)(struct tree *t, const uint8_t *token); /* durable when it returns */
	void (*free)(struct tree *t);
};

/*
 * Opens a directory as a tree, and makes its corner (0700, root's, where that is us). -EPERM where `.clonesync` belongs to another user or is no
 * directory; -ENOTDIR; err_last says what to do. Leftover temps are removed, kept in the trash (TREE_TEMP_KEEP) or left alone (TREE_TEMP_PART); one that can be neither is left, and logged.
 */
int tree_posix_open(const char *dir, struct tree **ret);
/* The same beside a process that has it open: leaves the temps alone, and makes nothing: -ENOENT. */
int tree_posix_look(const char *dir, struct tree **ret);

#endif
