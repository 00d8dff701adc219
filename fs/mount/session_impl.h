/*
 * session_impl.h - the inside of struct session, and struct request: shared by
 * session.c, request.c and fuse_*.c only.
 */
#ifndef CLONELOVE_SESSION_IMPL_H
#define CLONELOVE_SESSION_IMPL_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "habits.h"
#include "lookups.h"
#include "session.h"

/* How long the kernel may believe what we told it, in seconds. There is one writer and all its changes pass through this kernel, so:
 * until it forgets. (A read-only mount shows one commit for ever.) */
#define SESSION_VALID_S 86400.0
#define SESSION_BLOCK_BYTES 4096
#define SESSION_MAX_THREADS 64

struct session {
	const struct mount_config *c;
	struct volume *v;
	struct lookups *lookups;
	struct fuse_session *fuse;
	char *mountpoint;
	unsigned max_write;      /* negotiated */
	bool no_open, no_opendir; /* the kernel takes ENOSYS for "never ask" */
	bool killpriv;           /* the kernel leaves set-id bits to us (HANDLE_KILLPRIV_V2) */
	bool mounted;
	int event_fd;

	pthread_t threads[SESSION_MAX_THREADS];
	atomic_bool thread_done[SESSION_MAX_THREADS];
	unsigned thread_count;
	atomic_bool stopping, ended, init_done;

	/* Requests parked in the engine. Lock order: parked_mu > libfuse's locks. */
	pthread_mutex_t parked_mu;
	struct request *parked; /* doubly linked */
	atomic_uint interrupted; /* of those, how many got a signal: looked at by session_tick */
	struct habits habits;
	atomic_uint_fast64_t changes; /* of inodes, as changed() counts them */
	atomic_uint_fast64_t io_error_s; /* when an I/O error was last logged */
};

/* The session a libfuse request belongs to. */
static inline struct session *session_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* ------------------------------------------------------------ struct request
 * One request of the kernel that may park. It is run at once on the worker; when the engine parks it, what it borrowed from
 * the receive buffer is copied, and it is run again from resume() until it is answered, which happens exactly once.
 */
struct request {
	struct volume_wait wait;
	struct session *s;
	fuse_req_t req;
	const char *what;                  /* for messages: "write" */
	/* Makes the engine's call. 0: it sent the answer itself. ERR_PARKED. Other errors are answered by the caller. */
	int (*run)(struct request *q);
	bool done_on_resume;               /* fsync: resume(0) is the answer */

	uint64_t ino, ino2;
	uint64_t off, off2, len;
	unsigned flags;                    /* of the operation: rename flags, fallocate mode, what to set */
	uint32_t mode;
	uint64_t rdev;
	struct volume_cred cred;
	struct volume_attr attr;
	bool kill_priv;
	const char *name, *name2;          /* end with NUL; borrowed until `owned` */
	const void *data;                  /* data_len bytes; the same */
	size_t data_len;
	void *owned;                       /* one block with copies of all three */

	/* under parked_mu */
	enum { REQUEST_RUNNING, REQUEST_PARKED, REQUEST_ANSWERED } state;
	bool resumed;                      /* resume() came while it was still running */
	int resume_rc;
	struct request *next, *prev;
	atomic_bool interrupted;
};

/* NULL: -ENOMEM was answered. */
struct request *request_new(fuse_req_t req, const char *what, int (*run)(struct request *q), uint64_t ino);
/* Runs and answers it, now or later; q is gone for the caller. */
void request_start(struct request *q);
/* Answers requests whose process got SIGKILL; true when others wait to be looked at again. */
bool request_reap_killed(struct session *s);

/* --- replies (fuse_reply.c) --- */
void reply_error(fuse_req_t req, const char *what, uint64_t ino, int rc);
void reply_entry(fuse_req_t req, const struct volume_attr *a);
/* The answer to a LOOKUP. changes: what the session counted before a was read. */
void reply_lookup(fuse_req_t req, struct volume_attr *a, uint64_t changes);
void reply_attr(fuse_req_t req, const struct volume_attr *a);
/* The attributes of ino, or of the directory ino, were changed by an operation at which the kernel only drops what it knows of them: call it before
 * the answer (see lookups.h). Writes, truncations and changes of attributes need it not: the kernel itself tells older answers from newer. */
void changed(struct request *q, uint64_t ino);
/* The thread that asks. */
uint32_t asker(fuse_req_t req);
void entry_from_attr(const struct volume_attr *a, struct fuse_entry_param *ret);
void stat_from_attr(const struct volume_attr *a, struct stat *ret);
/* At least len bytes (at most 1 MiB and a bit), the calling thread's own until it asks again; NULL = no memory. */
void *thread_buffer(size_t len);

/* What libfuse does not hand on of the request this thread is processing (fuse_wire.c). */
void wire_attach(struct session *s);
void wire_process(struct session *s, struct fuse_buf *b);
/* The kernel asks that this write clears set-id bits. */
bool wire_kill_priv(struct session *s, fuse_req_t req, const struct fuse_file_info *fi);
#define WIRE_TMPFILE_NAME "/" /* no name holds a slash: so is O_TMPFILE told apart from a create */

/* --- the operations, by file --- */
void fuse_init_op(void *user, struct fuse_conn_info *conn);
/* fuse_names.c */
void fuse_lookup_op(fuse_req_t req, fuse_ino_t dir, const char *name);
void fuse_forget_op(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fuse_forget_multi_op(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fuse_mknod_op(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev);
void fuse_mkdir_op(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode);
void fuse_symlink_op(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name);
void fuse_link_op(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name);
void fuse_unlink_op(fuse_req_t req, fuse_ino_t dir, const char *name);
void fuse_rmdir_op(fuse_req_t req, fuse_ino_t dir, const char *name);
void fuse_rename_op(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir, const char *new_name, unsigned flags);
void fuse_create_op(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *fi);
void fuse_tmpfile_op(fuse_req_t req, fuse_ino_t dir, mode_t mode, struct fuse_file_info *fi);
void fuse_readlink_op(fuse_req_t req, fuse_ino_t ino);
/* fuse_inode.c */
void fuse_getattr_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_setattr_op(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
void fuse_getxattr_op(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fuse_setxattr_op(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void fuse_listxattr_op(fuse_req_t req, fuse_ino_t ino, size_t size);
void fuse_removexattr_op(fuse_req_t req, fuse_ino_t ino, const char *name);
void fuse_statfs_op(fuse_req_t req, fuse_ino_t ino);
/* fuse_data.c */
void fuse_open_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_release_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_read_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_write_op(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_flush_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_fsync_op(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fuse_fallocate_op(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void fuse_copy_file_range_op(fuse_req_t req, fuse_ino_t src, off_t src_off, struct fuse_file_info *src_fi, fuse_ino_t dst, off_t dst_off,
			     struct fuse_file_info *dst_fi, size_t len, int flags);
void fuse_lseek_op(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void fuse_ioctl_op(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags, const void *in,
		   size_t in_size, size_t out_size);
/* fuse_dir.c */
void fuse_opendir_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fuse_readdir_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fuse_readdirplus_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);

#endif
