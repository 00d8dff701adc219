/*
 * volume.h - the volume engine: a file system on an object store, with a local
 * log. Used by the mount, the commands and the simulation.
 *
 * Threads: every call may be made from any thread; the engine has one lock.
 * No call blocks on the store or on space except those that say "blocking"; volume_fsync may sync the local disk itself.
 * A call that cannot be answered now returns ERR_PARKED and keeps `w`: later
 * w->resume(w, rc) is called once, with no lock held, on EXEC_REPLY, or for a wait of volume_fsync on the thread that synced; rc == 0
 * means "make the same call again" (volume_fsync and volume_sync: "done"),
 * rc < 0 is the answer. Passing w == NULL makes such a call return -EAGAIN.
 *
 * Errors: negative errno or a code of err.h; see each call. A mutation that
 * returned 0 is in the log in order; it is durable after volume_fsync.
 */
#ifndef CLONELOVE_VOLUME_H
#define CLONELOVE_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct disk;
struct env;
struct exec;
struct store;
struct volume;

#define VOLUME_ROOT_INO 1
#define VOLUME_NAME_MAX 255
#define VOLUME_SYMLINK_MAX 4095
#define VOLUME_XATTR_VALUE_MAX 65536
#define VOLUME_LINK_MAX 65000
#define VOLUME_FILE_MAX INT64_MAX
#define VOLUME_WRITE_MAX (1u << 20) /* bytes of one atomic write */

struct volume_wait {
	void (*resume)(struct volume_wait *w, int rc);
	/* private */
	struct volume_wait *next;
	uint64_t lsn;
	uint64_t deadline_boot_ns; /* 0 = none */
	int rc;
};

enum volume_durability { VOLUME_DURABILITY_LOCAL, VOLUME_DURABILITY_STORE };

struct volume_options {
	struct store *store;      /* borrowed; outlives the volume */
	struct disk *disk;        /* the cache directory, locked by the caller; borrowed */
	struct env *env;          /* borrowed */
	struct exec *exec;        /* borrowed; stopped by the caller after volume_close */
	const char *meta_dir;     /* a directory for LMDB's file, which is made anew at each open */
	const char *node;         /* this machine's name, 1..64 bytes */
	uint8_t machine_id[16];   /* binds the local log to this machine */
	bool read_only;           /* claim nothing, serve the newest commit */
	bool takeover;            /* take the volume over from a writer that may be alive */
	enum volume_durability durability;
	uint64_t max_lag_ms;      /* 5000; UINT64_MAX = unlimited */
	uint64_t commit_interval_ms; /* 1000 */
	uint64_t cache_bytes;     /* hard budget of the cache directory's segments, unsent ones included */
	uint64_t outage_timeout_ms; /* 0 = hold for ever; else held calls, and reads that wait for the store, get EIO after this long */
	unsigned uploads;         /* log objects in flight, 4 */
	uint64_t checkpoint_bytes; /* replay bound: log metadata bytes since the last checkpoint, 32 MiB */
	/* Told what volume_open is at, each time that it begins something that may take long (a few words). NULL: nobody wants to know. */
	void (*stage)(void *user, const char *what);
	void *stage_user;
	uint64_t df_bytes;        /* what df shows as the size, 1 PiB by default (0) */
};

/*
 * Makes an empty volume. Blocking. `compress` 0 or a zstd level. Returns 0,
 * ERR_VOLUME_EXISTS, ERR_NO_FENCING (unless unsafe_no_fencing), or the store's error.
 */
int volume_format(struct store *s, struct env *env, bool unsafe_no_fencing, int compress);
/* The same, with another owner of the root directory than root and another mode (permission bits, 0 = 0755). */
int volume_format_for(struct store *s, struct env *env, bool unsafe_no_fencing, int compress, uint32_t uid, uint32_t gid, uint32_t mode);

/*
 * Opens for use. Blocking: reads claims and checkpoint, claims an epoch, seals
 * the old one, replays, adopts or salvages the local log, waits out the old
 * writer's lease where it must. Errors: ERR_NOT_A_VOLUME, ERR_VOLUME_BUSY,
 * ERR_NEWER_FORMAT, ERR_DAMAGED, ERR_CORRUPT, ERR_FENCED (lost a race), the store's; each with a message.
 */
int volume_open(const struct volume_options *o, struct volume **ret);

/*
 * Ends it. Blocking. drain: first commits everything to the store and writes
 * `released` (progress may be NULL; called with bytes left every 100 ms or so;
 * a non-zero return stops draining). Without drain the unsent rest stays in
 * the local log. Parked calls are answered -ESHUTDOWN. Returns 0, or what kept
 * it from draining (the volume is closed all the same).
 */
int volume_close(struct volume *v, bool drain, int (*progress)(void *user, uint64_t bytes_left), void *user);

struct volume_attr {
	uint64_t ino, size, allocated_bytes, rdev, change; /* change: grows with each change of the inode */
	uint32_t mode, uid, gid, nlink;
	struct timespec atime, mtime, ctime, btime;
};

enum { /* what volume_setattr changes */
	VOLUME_SET_MODE = 1, VOLUME_SET_UID = 2, VOLUME_SET_GID = 4, VOLUME_SET_SIZE = 8,
	VOLUME_SET_ATIME = 16, VOLUME_SET_MTIME = 32, VOLUME_SET_CTIME = 64,
	VOLUME_SET_ATIME_NOW = 128, VOLUME_SET_MTIME_NOW = 256,
	VOLUME_SET_KILL_PRIV = 512, /* clear set-user-id, and set-group-id where group-executable */
};

struct volume_cred { uint32_t uid, gid, umask; };

/* --- names. `name` is len bytes, no '/' and no NUL. ---
 * All take the parent's inode number; results in *ret on success. ENOENT, ENOTDIR, EEXIST, ENAMETOOLONG, EMLINK,
 * ENOTEMPTY, EISDIR, EINVAL as rename(2), link(2), ... have them. Access was checked by the kernel. */
int volume_lookup(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_attr *ret);
/* mode holds the type: regular, fifo, socket, device (rdev), directory. Parent's set-group-id bit, default ACL and cred's
 * umask are applied here. */
int volume_mknod(struct volume *v, uint64_t dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
		 const struct volume_cred *cred, struct volume_attr *ret, struct volume_wait *w);
/* A regular file without a name (O_TMPFILE): an orphan until linked. Holds one open reference like volume_open_ref. */
int volume_tmpfile(struct volume *v, uint64_t dir, uint32_t mode, const struct volume_cred *cred,
		   struct volume_attr *ret, struct volume_wait *w);
int volume_symlink(struct volume *v, uint64_t dir, const char *name, size_t len, const char *target, size_t target_len,
		   const struct volume_cred *cred, struct volume_attr *ret, struct volume_wait *w);
int volume_link(struct volume *v, uint64_t ino, uint64_t dir, const char *name, size_t len,
		struct volume_attr *ret, struct volume_wait *w);
int volume_unlink(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_wait *w);
int volume_rmdir(struct volume *v, uint64_t dir, const char *name, size_t len, struct volume_wait *w);
/* flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE. */
int volume_rename(struct volume *v, uint64_t dir, const char *name, size_t len, uint64_t new_dir, const char *new_name,
		  size_t new_len, unsigned flags, struct volume_wait *w);
/* ret_target: VOLUME_SYMLINK_MAX + 1 bytes, ends with NUL. */
int volume_readlink(struct volume *v, uint64_t ino, char *ret_target);

struct volume_dirent { uint64_t ino, cookie; uint32_t type; /* S_IFMT bits */ uint16_t len; char name[VOLUME_NAME_MAX + 1]; };
/* Calls each() for entries after `cookie` (0 = from the start; "." and ".." come first) until it returns non-zero.
 * attr is NULL unless want_attr (and for ".."). Cookies stay valid across changes. each() runs under the engine's lock. */
int volume_readdir(struct volume *v, uint64_t dir, uint64_t cookie, bool want_attr,
		   int (*each)(void *user, const struct volume_dirent *e, const struct volume_attr *attr), void *user);

/* --- inodes --- */
int volume_getattr(struct volume *v, uint64_t ino, struct volume_attr *ret);
int volume_setattr(struct volume *v, uint64_t ino, unsigned set, const struct volume_attr *attr,
		   struct volume_attr *ret, struct volume_wait *w);
/* Kernel references that keep an unlinked inode alive: open handles and O_TMPFILE. Put of the last one lets the orphan be reaped. */
int volume_open_ref(struct volume *v, uint64_t ino);
void volume_open_unref(struct volume *v, uint64_t ino);

int volume_getxattr(struct volume *v, uint64_t ino, const char *name, void *value, size_t size, size_t *ret_len);
int volume_setxattr(struct volume *v, uint64_t ino, const char *name, const void *value, size_t len, int flags, struct volume_wait *w);
int volume_listxattr(struct volume *v, uint64_t ino, char *list, size_t size, size_t *ret_len);
int volume_removexattr(struct volume *v, uint64_t ino, const char *name, struct volume_wait *w);

/* --- data --- */
/* Up to size bytes at off into buf (holes are zeros); short only at the end of file. EIO (ERR_CORRUPT) when a block is bad
 * everywhere. Parks while blocks are fetched. */
int volume_read(struct volume *v, uint64_t ino, uint64_t off, size_t size, void *buf, size_t *ret, struct volume_wait *w);
/* One atomic write of at most VOLUME_WRITE_MAX bytes; append writes at the end of file whatever off is. kill_priv as setattr. */
int volume_write(struct volume *v, uint64_t ino, uint64_t off, const void *buf, size_t size, bool append, bool kill_priv,
		 struct volume_wait *w);
/* mode: as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; else -EOPNOTSUPP. Allocating is a promise
 * of nothing more than size: the store does not run full by halves. */
int volume_fallocate(struct volume *v, uint64_t ino, int mode, uint64_t off, uint64_t len, struct volume_wait *w);
/* Shares extents; *ret may be less than len. Overlapping ranges of one file: -EINVAL. */
int volume_copy_range(struct volume *v, uint64_t src, uint64_t src_off, uint64_t dst, uint64_t dst_off, uint64_t len,
		      uint64_t *ret, struct volume_wait *w);
/* whence SEEK_DATA or SEEK_HOLE. */
int volume_seek(struct volume *v, uint64_t ino, uint64_t off, int whence, uint64_t *ret);

/* Until every operation before this call is durable, as the durability option means it: 0 or resume(w, 0) = done. With local
 * durability the first to come makes the fdatasync on its own thread (one at a time); who comes meanwhile is parked. */
int volume_fsync(struct volume *v, struct volume_wait *w);
/* For who expects a volume_fsync at any moment: syncs what there is to the local disk now, on this thread, unless somebody does or
 * durability is not local. Promises nothing. */
void volume_sync_ahead(struct volume *v);
/* The same, but until the store has it, whatever the durability option. */
int volume_sync(struct volume *v, struct volume_wait *w);

enum volume_state { VOLUME_SERVING, VOLUME_HELD, VOLUME_FENCED, VOLUME_FAILED, VOLUME_SERVING_RO };

struct volume_status {
	enum volume_state state;
	char node[65];
	uint8_t uuid[16];
	uint64_t epoch, slot;            /* newest slot of the acknowledged prefix */
	uint64_t lsn, lsn_local, lsn_store; /* last assigned; durable on the local disk; acknowledged by the store */
	uint64_t lag_ns, lag_bytes;      /* age and bytes of what the store has not got */
	uint64_t lease_age_ns;           /* since the store last confirmed a slot of ours */
	uint64_t cache_used_bytes, cache_budget_bytes, cache_hits, cache_misses;
	uint64_t parked;                 /* requests waiting now */
	uint64_t inodes, data_bytes;     /* in the volume: inodes, bytes that files refer to */
	uint64_t segments, segment_bytes;
	uint64_t objects_put, object_bytes_put, written_bytes, elided_bytes, checkpoints;
	uint64_t lost_operations;        /* found at open: this node's log had them, and the volume has not */
	char found_lost[200];            /* the same in words; "" = nothing */
	char error[256];                 /* why it is held, fenced or failed, or what was lost; "" otherwise */
};
void volume_status(struct volume *v, struct volume_status *ret);

struct volume_statfs { uint64_t total_bytes, free_bytes, inodes; };
int volume_statfs(struct volume *v, struct volume_statfs *ret);

#endif
