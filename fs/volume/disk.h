/*
 * disk.h - the cache directory as a table of functions: POSIX, or the
 * simulation's disk that tears and drops what was not synced.
 *
 * Names are relative, with at most one '/' ("salvage/x"). Calls are
 * thread-safe, may block, and return 0 or -errno (ENOSPC, EIO, ENOENT, EEXIST, ...).
 * Files are plain handles; at most a few hundred are open at a time.
 */
#ifndef CLONELOVE_DISK_H
#define CLONELOVE_DISK_H

#include <stddef.h>
#include <stdint.h>

struct disk_file { struct disk *disk; }; /* the first member of each implementation's handle */

enum { DISK_READ = 0, DISK_WRITE = 1, DISK_CREATE = 2 /* new; -EEXIST where it exists */ };

struct disk {
	int (*open)(struct disk *d, const char *name, int flags, struct disk_file **ret);
	void (*close)(struct disk_file *f);
	/* Reads up to len bytes; *ret is short only at the end of file. */
	int (*pread)(struct disk_file *f, void *buf, size_t len, uint64_t off, size_t *ret);
	/* Writes all or fails (some of it may be written then). Not durable before sync. */
	int (*pwrite)(struct disk_file *f, const void *buf, size_t len, uint64_t off);
	/* fdatasync: everything written to f before the call is durable when it returns 0. After a failure
	 * nothing is known of the writes since the last success, and a later 0 does not cover them. */
	int (*sync)(struct disk_file *f);
	/* Reserves space (posix_fallocate without changing the bytes there); -EOPNOTSUPP is fine for callers. */
	int (*allocate)(struct disk_file *f, uint64_t off, uint64_t len);
	/* The same, and what was not written yet is written, with zeros, where the file system can tell: a later sync has no extents to convert. Nobody writes to the
	 * file meanwhile. May be NULL: allocate does then. */
	int (*fill)(struct disk_file *f, uint64_t off, uint64_t len);
	int (*truncate)(struct disk_file *f, uint64_t size);
	/* Gives the space of a range back; it reads as zeros, the size stays. May be NULL or -EOPNOTSUPP: callers do without. */
	int (*punch)(struct disk_file *f, uint64_t off, uint64_t len);
	int (*size)(struct disk_file *f, uint64_t *ret);
	/* Bytes of disk space f occupies. */
	int (*usage)(struct disk_file *f, uint64_t *ret);
	int (*rename)(struct disk *d, const char *from, const char *to); /* replaces */
	int (*unlink)(struct disk *d, const char *name);
	int (*mkdir)(struct disk *d, const char *name); /* -EEXIST is success */
	/* Makes creations, renames and unlinks durable. dir: "" = the root. */
	int (*sync_dir)(struct disk *d, const char *dir);
	/* Calls each() per regular file of dir, in no order, with its name without dir, until it returns non-zero (which is returned). */
	int (*list)(struct disk *d, const char *dir, int (*each)(void *user, const char *name), void *user);
	int (*free_bytes)(struct disk *d, uint64_t *ret);
};

/* The directory at path, made (0700) where it is missing, locked against a second process (flock on "lock"; -EWOULDBLOCK).
 * disk_posix_close releases it. Sets an error message. */
int disk_posix_open(const char *path, struct disk **ret);
void disk_posix_close(struct disk *d);

#endif
