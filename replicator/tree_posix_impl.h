/*
 * tree_posix_impl.h - the inside of the POSIX tree, for tree_posix*.c alone.
 *
 * Every path is split into its directory, opened by openat2 from the root's descriptor, and its last part, used with the *at calls and never
 * followed. What has no *at call (xattrs) goes through /proc/self/fd.
 */
#ifndef CLONELOVE_TREE_POSIX_IMPL_H
#define CLONELOVE_TREE_POSIX_IMPL_H

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "tree.h"

#define OWNERS_CACHED 64u

struct owner { bool known; unsigned id; char name[ENTRY_OWNER_MAX + 1]; bool found; int rc; uint64_t until_s; };

struct posix_tree {
	struct tree t;
	char *dir;
	int root, corner, tmp, trash;
	dev_t dev;
	ino_t ino;
	bool far;
	/* tree_posix_sync.c */
	enum posix_sync { POSIX_SYNC_EACH, POSIX_SYNC_FS, POSIX_SYNC_ONE } sync;
	atomic_uint_fast64_t sync_rate;        /* bytes a second */
	atomic_bool sync_failed;
	pthread_mutex_t owners_mu;
	struct owner owners[2][OWNERS_CACHED]; /* users, groups; under owners_mu */
};

struct tree_file { int fd; };

static inline struct posix_tree *posix_of(struct tree *t) { return (struct posix_tree *)(void *)t; } /* t is the first member */

/* A place: a descriptor of the directory (closed by posix_leave unless it is the root's) and a name in it. */
struct posix_place { int fd; bool own; const char *name; };
int posix_enter(struct posix_tree *p, const char *path, struct posix_place *ret);
void posix_leave(struct posix_place *pl);
/* The directory itself; "" is the root. A descriptor to close, O_PATH or (read) to list and sync it. */
int posix_open_dir(struct posix_tree *p, const char *path, bool read, int *ret);
/* openat2 from a directory, never out of it, through a symlink or into another file system: a descriptor or -errno. */
int posix_beneath(int root, const char *path, int flags);
/* Every name in d but `without`. What cannot be looked at (a damaged inode) is there all the same, as something that is not carried: it must not keep all else from being seen. */
int posix_list_names(DIR *d, const char *without, tree_visit visit, void *user);
/* 0 where temp is a name that tree.h allows. */
int posix_temp_ok(const char *temp);

void posix_stat_from(const struct stat *st, struct tree_stat *ret);
/* --- tree_posix_meta.c --- */
int posix_describe_at(struct posix_tree *p, int fd, const char *name, struct tree_stat *ret_st, struct entry *ret);
int posix_dress_at(struct posix_tree *p, int fd, const char *name, const struct entry *e, struct tree_owner *ret);
int posix_dress_fd(struct posix_tree *p, int fd, const struct entry *e, struct tree_owner *ret);
/* --- tree_posix_make.c: fills in the functions that make and move --- */
void posix_make_functions(struct tree *t);
/* --- tree_posix_trash.c --- */
void posix_trash_functions(struct tree *t);
/* --- tree_posix_sync.c: fills in sync_all. one: a sync of anything syncs all that was done before (clonefs) --- */
void posix_sync_functions(struct posix_tree *p, bool one);

#endif
