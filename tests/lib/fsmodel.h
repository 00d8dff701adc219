/*
 * fsmodel.h - a file system in plain memory that says what every operation on a
 * volume must answer and leave behind; random operations; and the comparison of a volume with it.
 *
 * Nothing here knows which engine the volume has. Operations are values: they can be kept in a
 * list and applied again to another model, to know the state after the k-th. Everything follows from seeds.
 *
 *   fsop_random(m, &seed, &op);                       // from the model's state: mostly sensible, partly wrong on purpose
 *   rc = fsop_run(&target, &op, &wait, &res);         // on the volume; ERR_PARKED: again after resume
 *   want = fsmodel_apply(m, &op, &res);               // what it should have been; changes the model when it is 0
 *
 * Every operation is one record of the volume's log (files are small enough), so that a crash is between two.
 */
#ifndef CLONELOVE_FSMODEL_H
#define CLONELOVE_FSMODEL_H

#include "volume.h"

#define FSMODEL_FILE_MAX (768u << 10) /* no file grows beyond this */

enum fsop_kind {
	FSOP_MKNOD, FSOP_SYMLINK, FSOP_TMPFILE, FSOP_LINK, FSOP_UNLINK, FSOP_RMDIR, FSOP_RENAME, FSOP_SETATTR, FSOP_SETXATTR, FSOP_REMOVEXATTR,
	FSOP_WRITE, FSOP_FALLOCATE, FSOP_COPY,
	FSOP_OPEN, FSOP_CLOSE, /* references in memory: not part of what a crash leaves */
	FSOP_KINDS
};

struct fsop {
	enum fsop_kind kind;
	uint64_t ino, ino2;        /* the directory or file; the second directory, or the copy's destination */
	uint64_t target;           /* FSOP_LINK: the inode that gets a name */
	uint64_t off, off2, len;
	uint64_t seed;             /* of the data, target or value written */
	uint32_t mode, flags, set;
	bool append, kill_priv;
	struct volume_attr attr;
	struct volume_cred cred;
	char name[VOLUME_NAME_MAX + 2], name2[VOLUME_NAME_MAX + 2];
};

/* What the volume answered, as far as the model cannot know it. */
struct fsop_result {
	uint64_t ino;          /* of what was created */
	uint64_t copied;       /* FSOP_COPY: may be less than asked, not 0 where there was something to copy */
	struct timespec now;   /* the volume's clock during the operation; only where times are compared */
};

struct fsmodel;

struct fsmodel_options {
	bool times;   /* compare times: the clock is known to the test */
	bool opens;   /* make references: FSOP_OPEN, FSOP_CLOSE, FSOP_TMPFILE */
	unsigned dirs, names; /* about how much there is to be: 0 = 6 and 24 */
};

struct fsmodel *fsmodel_new(const struct fsmodel_options *o);
struct fsmodel *fsmodel_clone(const struct fsmodel *m);
void fsmodel_free(struct fsmodel *m);
/* What a crash leaves: nothing is open, orphans are gone. */
void fsmodel_crash(struct fsmodel *m);
void fsmodel_set_root(struct fsmodel *m, const struct volume_attr *root);
/* How many inodes there are, open orphans included. */
size_t fsmodel_count(const struct fsmodel *m);

void fsop_random(struct fsmodel *m, uint64_t *seed, struct fsop *ret);
/* One line for messages. */
void fsop_print(const struct fsop *op, char *ret, size_t size);
int fsmodel_apply(struct fsmodel *m, const struct fsop *op, const struct fsop_result *res);

/* The volume under test: its calls (so that this file links without them), and how to let the world go on while a call is parked. */
struct fsmodel_target {
	struct volume *v;
	void (*idle)(void *user);
	void *user;
	int (*lookup)(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_attr *ret);
	int (*mknod)(struct volume *v, uint64_t dir, const char *name, size_t len, uint32_t mode, uint64_t rdev, const struct volume_cred *cred,
		     struct volume_attr *ret, struct volume_wait *w);
	int (*tmpfile)(struct volume *v, uint64_t dir, uint32_t mode, const struct volume_cred *cred, struct volume_attr *ret, struct volume_wait *w);
	int (*symlink)(struct volume *v, uint64_t dir, const char *name, size_t len, const char *target, size_t target_len,
		       const struct volume_cred *cred, struct volume_attr *ret, struct volume_wait *w);
	int (*link)(struct volume *v, uint64_t ino, uint64_t dir, const char *name, size_t len, struct volume_attr *ret, struct volume_wait *w);
	int (*unlink)(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_wait *w);
	int (*rmdir)(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_wait *w);
	int (*rename)(struct volume *v, uint64_t dir, const char *name, size_t len, uint64_t new_dir, const char *new_name, size_t new_len, unsigned flags,
		      struct volume_wait *w);
	int (*readlink)(struct volume *v, uint64_t ino, char *ret_target);
	int (*readdir)(struct volume *v, uint64_t dir, uint64_t cookie, bool want_attr,
		       int (*each)(void *user, const struct volume_dirent *e, const struct volume_attr *attr), void *user);
	int (*getattr)(struct volume *v, uint64_t ino, struct volume_attr *ret);
	int (*setattr)(struct volume *v, uint64_t ino, unsigned set, const struct volume_attr *attr, struct volume_attr *ret, struct volume_wait *w);
	int (*open_ref)(struct volume *v, uint64_t ino);
	void (*open_unref)(struct volume *v, uint64_t ino);
	int (*getxattr)(struct volume *v, uint64_t ino, const char *name, void *value, size_t size, size_t *ret_len);
	int (*setxattr)(struct volume *v, uint64_t ino, const char *name, const void *value, size_t len, int flags, struct volume_wait *w);
	int (*listxattr)(struct volume *v, uint64_t ino, char *list, size_t size, size_t *ret_len);
	int (*removexattr)(struct volume *v, uint64_t ino, const char *name, struct volume_wait *w);
	int (*read)(struct volume *v, uint64_t ino, uint64_t off, size_t size, void *buf, size_t *ret, struct volume_wait *w);
	int (*write)(struct volume *v, uint64_t ino, uint64_t off, const void *buf, size_t size, bool append, bool kill_priv, struct volume_wait *w);
	int (*fallocate)(struct volume *v, uint64_t ino, int mode, uint64_t off, uint64_t len, struct volume_wait *w);
	int (*copy_range)(struct volume *v, uint64_t src, uint64_t src_off, uint64_t dst, uint64_t dst_off, uint64_t len, uint64_t *ret,
			  struct volume_wait *w);
	int (*seek)(struct volume *v, uint64_t ino, uint64_t off, int whence, uint64_t *ret);
};

#define FSMODEL_TARGET(volume_, idle_, user_)                                                                                       \
	{ .v = (volume_), .idle = (idle_), .user = (user_), .lookup = volume_lookup, .mknod = volume_mknod, .tmpfile = volume_tmpfile, \
	  .symlink = volume_symlink, .link = volume_link, .unlink = volume_unlink, .rmdir = volume_rmdir, .rename = volume_rename,   \
	  .readlink = volume_readlink, .readdir = volume_readdir, .getattr = volume_getattr, .setattr = volume_setattr,              \
	  .open_ref = volume_open_ref, .open_unref = volume_open_unref, .getxattr = volume_getxattr, .setxattr = volume_setxattr,    \
	  .listxattr = volume_listxattr, .removexattr = volume_removexattr, .read = volume_read, .write = volume_write,              \
	  .fallocate = volume_fallocate, .copy_range = volume_copy_range, .seek = volume_seek }

/* Runs op once; may return ERR_PARKED (w is queued then; after its resume with 0 the same call is to be made again). */
int fsop_run(const struct fsmodel_target *t, const struct fsop *op, struct volume_wait *w, struct fsop_result *ret);

/* Walks the volume from its root (and the model's open orphans) and compares everything. Calls report() per difference; returns how
 * many, or the first error of the volume. */
int fsmodel_compare(const struct fsmodel *m, const struct fsmodel_target *t, void (*report)(void *user, const char *line), void *user);

#endif
