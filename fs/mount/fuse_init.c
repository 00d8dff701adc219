/*
 * fuse_init.c - what is agreed with the kernel when the connection begins.
 *
 * Wanted, where the kernel has it:
 *   ASYNC_READ, PARALLEL_DIROPS              as much at once as there is
 *   READDIRPLUS, READDIRPLUS_AUTO            attributes come with names when they are asked for
 *   EXPLICIT_INVAL_DATA                      pages stay until we say so: nobody else changes them. AUTO_INVAL_DATA would drop a file's pages
 *                                            whenever our own write moved its mtime
 *   CACHE_SYMLINKS, POSIX_ACL, DONT_MASK     (a default ACL decides in place of the umask, so the umask must reach us)
 *   HANDLE_KILLPRIV_V2                       see fuse_inode.c; version 1 would have us clear set-id bits at root's writes too
 * Not wanted:
 *   ASYNC_DIO                                a direct write that the kernel does not wait for leaves pages and times behind that somebody read while it was under
 *                                            way, and no flush is sent for its O_DSYNC (tests/mounted/aio.sh)
 *   ATOMIC_O_TRUNC                           cannot go with an open that sends no message
 *   WRITEBACK_CACHE                          would hide writes from the lag limit, put data behind renames and break O_APPEND
 *   SPLICE_*                                 a request is one copy into the log, an answer one out of a buffer
 *   EXPORT_SUPPORT, locks                    one kernel: its own locks serve
 */
#include "session_impl.h"

#include <string.h>

#include "logmsg.h"

/* Background requests: readahead. More than will ever be parked at a time; beyond this the kernel queues them,
 * with no worker held up. A parked write keeps a copy of its data, at most 1 MiB each. */
#define MAX_BACKGROUND 1024

static void want(struct fuse_conn_info *conn, uint64_t cap)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	fuse_set_feature_flag(conn, cap);
#else
	if (conn->capable & cap)
		conn->want |= (unsigned)cap;
#endif
}

static void refuse(struct fuse_conn_info *conn, uint64_t cap)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	fuse_unset_feature_flag(conn, cap);
#else
	conn->want &= ~(unsigned)cap;
#endif
}

void fuse_init_op(void *user, struct fuse_conn_info *conn)
{
	struct session *s = user;

	want(conn, FUSE_CAP_ASYNC_READ);
	want(conn, FUSE_CAP_PARALLEL_DIROPS);
	want(conn, FUSE_CAP_READDIRPLUS);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	want(conn, FUSE_CAP_CACHE_SYMLINKS);
	if (!s->c->no_xattr)
		want(conn, FUSE_CAP_POSIX_ACL);
	want(conn, FUSE_CAP_DONT_MASK);
	refuse(conn, FUSE_CAP_ASYNC_DIO);
	refuse(conn, FUSE_CAP_AUTO_INVAL_DATA);
	refuse(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	refuse(conn, FUSE_CAP_WRITEBACK_CACHE);
	refuse(conn, FUSE_CAP_SPLICE_READ);
	refuse(conn, FUSE_CAP_SPLICE_WRITE);
	refuse(conn, FUSE_CAP_SPLICE_MOVE);
	refuse(conn, FUSE_CAP_HANDLE_KILLPRIV);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	if (conn->capable & FUSE_CAP_HANDLE_KILLPRIV_V2) {
		want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
		s->killpriv = true;
	}
#endif
	s->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	s->no_opendir = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
	if (conn->max_write > VOLUME_WRITE_MAX)
		conn->max_write = VOLUME_WRITE_MAX;
	s->max_write = conn->max_write;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND / 4 * 3;
	conn->time_gran = 1;
	/* VOLUME.md promises atomic direct writes up to this size less a page. */
	if (s->max_write < VOLUME_WRITE_MAX)
		logmsg(s->c->database ? LOGMSG_WARNING : LOGMSG_NOTICE,
		       "%s: this kernel takes writes of at most %u bytes at once: larger ones are not atomic across a crash", s->mountpoint,
		       s->max_write);
	atomic_store(&s->init_done, true);
}
