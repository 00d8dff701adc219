/*
 * dir.h - the inside of the directory store. DESIGN.md has the rules; here is who does what:
 * dir.c opens, dispatches, closes; dir_fs.c has the root, temporary files, locks and the durability of directories; dir_read.c
 * reads objects and their ETags; dir_write.c publishes and deletes; dir_list.c walks, with the names of
 * a big directory kept by dir_level.c.
 */
#ifndef CLONELOVE_DIR_H
#define CLONELOVE_DIR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "counters.h"
#include "etag.h"
#include "pool.h"
#include "store.h"

/* The store's own directory inside the root; as a key's component it is refused, and listings pass it over, at any depth. */
#define DIR_OWN ".clonelove"
#define DIR_NAME_MAX 255

enum { DIR_ETAGS = 1024, DIR_DURABLE = 256, DIR_SUSPECTS = 64 };

struct dir_version { /* what changes whenever a file's content does */
	uint64_t dev, ino, size;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
};

/* dir_level.c: the sorted names of the big directory that was listed last. */
struct dir_level {
	pthread_mutex_t lock; /* guards what follows; taken alone */
	char *base;           /* NULL: none */
	struct dir_version version;
	char **name;
	size_t count;
};

void dir_level_init(struct dir_level *l);
void dir_level_destroy(struct dir_level *l);
/* Whether a directory of this fstat has been unchanged for so long that its names, read from now on, may be kept. */
bool dir_level_quiet(const struct stat *st);
/* Keeps the names of a quiet directory, in any order. Takes name and its strings over. */
void dir_level_keep(struct dir_level *l, const char *base, const struct stat *st, char **name, size_t count);
/* Passes the names at or after `from` to each() until it returns non-zero. 0, -ENOENT (not kept, or changed), or each's error. */
int dir_level_pass(struct dir_level *l, const char *base, const struct stat *st, const char *from,
		   int (*each)(void *user, const char *name), void *user);

struct dir {
	struct store store;
	struct counters counters;
	struct pool *pool;
	char *path;    /* absolute, without a '/' at its end */
	char *address;
	struct dir_level level;

	pthread_mutex_t lock; /* guards what follows */
	int root_fd;          /* -1 until the root exists */
	int own_fd;           /* DIR_OWN, -1 until the first write */
	struct { struct dir_version version; char etag[ETAG_HEX + 1]; } etags[DIR_ETAGS];
	struct { uint64_t ino; int64_t btime_s; uint32_t btime_ns; } durable[DIR_DURABLE];
	struct { uint64_t dev, ino; } suspect[DIR_SUSPECTS]; /* directories of which a sync failed, ever */
	unsigned suspects;    /* above DIR_SUSPECTS: all are */
};

/* --- dir_fs.c --- */

/* The root's descriptor (stays the store's). Without create: -ENOENT where there is no root yet. */
int dir_root(struct dir *d, bool create, int *ret_fd);
/* DIR_OWN's, made with the root where missing. */
int dir_own(struct dir *d, int *ret_fd);
/*
 * Syncs a directory. changed: what is to last was changed by the caller, after `fd` was opened; else it was there already, and then a
 * directory of which a sync ever failed is answered with -EIO, since a sync that comes after says nothing of it (D2).
 */
int dir_sync(struct dir *d, int fd, bool changed);
/* Whether the root has been removed under us: then nothing found missing is missing, and nothing can be written. */
bool dir_is_gone(struct dir *d);
/* Removes what writers that died left in DIR_OWN. */
void dir_clean(struct dir *d);

struct dir_temp { int fd; char name[48]; };
int dir_temp_make(struct dir *d, struct dir_temp *ret);
/* Removes its temporary name. The file is the caller's to close; until then it is locked. */
void dir_temp_unname(struct dir *d, const struct dir_temp *t);

/*
 * Opens the directory that holds `key`. create: makes it where missing, and returns only once its name and those above are
 * durable. -ENOENT, -ENOTDIR (a component is an object), ...
 */
int dir_parent(struct dir *d, const char *key, bool create, int *ret_fd);
const char *dir_leaf(const char *key);
/* Tries to remove the directory `key` and all below it, as long as these are empty directories. 0 if it is gone. */
int dir_prune_down(struct dir *d, const char *key);
/* Removes the directories above `key` that have become empty. */
void dir_prune_up(struct dir *d, const char *key);

enum dir_lock { DIR_LOCK_SHARED, DIR_LOCK_EXCLUSIVE };
/* Locks what changes `key` against a compare-and-swap of it, across processes. Unlock by closing *ret_fd. */
int dir_lock(struct dir *d, const char *key, enum dir_lock kind, int *ret_fd);

/* 0, or what is wrong with key for this store (ERR_UNSUPPORTED, r->detail set). */
int dir_check_key(struct store_req *r, const char *key);
/* Turns an errno (negative) of the file system into r->result and detail; returns it. */
int dir_fail(struct dir *d, struct store_req *r, int err, const char *what, const char *key);

/* --- dir_read.c --- */
void dir_version_of(const struct stat *st, struct dir_version *ret);
/* Opens an object: -ENOENT for what is missing or no regular file. */
int dir_object_open(struct dir *d, const char *key, int *ret_fd, struct stat *ret_st);
/* The ETag of an open object: from its attribute, the cache, or its content. ret: ETAG_HEX + 1 bytes. */
int dir_etag(struct dir *d, int fd, const struct stat *st, char *ret);
/* Only if that needs no reading of content; else "". */
void dir_etag_cheap(struct dir *d, int fd, const struct stat *st, char *ret);
/* Writes the ETag to the file's attribute, where the file system has attributes. Its content must be complete. */
void dir_etag_attach(int fd, const char *etag);
void dir_etag_remember(struct dir *d, int fd, const char *etag);
int dir_head(struct dir *d, struct store_req *r);
int dir_get(struct dir *d, struct store_req *r);

/* --- dir_write.c --- */
int dir_put(struct dir *d, struct store_req *r);
int dir_copy(struct dir *d, struct store_req *r);
int dir_delete(struct dir *d, struct store_req *r);

/* --- dir_list.c --- */
int dir_list(struct dir *d, struct store_req *r);

#endif
