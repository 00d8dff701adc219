/*
 * fuse_data.c - the bytes of files.
 *
 * OPEN is answered ENOSYS, which the kernel takes for "handles carry nothing; do not ask again": opening and closing cost no
 * message at all from then on (see lookups.h for how unlinked files live on), cached pages stay, and O_TRUNC comes as a SETATTR.
 * FLUSH likewise: nothing is written back at close, so there is nothing to flush.
 *
 * O_APPEND: the kernel takes the offset from its own size of the file, under the inode's lock. One kernel writes the
 * volume, so that size is right, and several processes that append never overlap.
 *
 * O_DIRECT reaches us as any offset and length, so it works from 512 bytes (from one byte, in fact). It is not forced on anybody. FOPEN_PARALLEL_DIRECT_WRITES
 * means nothing without FOPEN_DIRECT_IO, which would take shared mmap away; asynchronous direct writes (io_submit, io_uring: what InnoDB uses) run
 * in parallel without it.
 */
#include "session_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

/* A copy shares extents, so it is quick; but its answer has 32 bits. */
#define COPY_MAX (1ull << 30)

void fuse_open_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (session_of(req)->no_open) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

void fuse_release_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

void fuse_flush_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

/* Over io_uring a request brings the buffer of its answer; else it is the thread's. */
static void *read_buffer(struct request *q)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	char *payload;
	size_t size;

	if (fuse_req_is_uring(q->req) && fuse_req_get_payload(q->req, &payload, &size, NULL) == 0 && size >= q->len)
		return payload;
#endif
	return thread_buffer(q->len);
}

static int run_read(struct request *q)
{
	void *buf = read_buffer(q);
	size_t n = 0;
	int rc = buf ? volume_read(q->s->v, q->ino, q->off, q->len, buf, &n, &q->wait) : -ENOMEM;

	if (rc == 0)
		fuse_reply_buf(q->req, buf, n);
	return rc;
}

void fuse_read_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct request *q = request_new(req, "read", run_read, ino);

	(void)fi;
	if (!q)
		return;
	q->off = (uint64_t)off;
	q->len = size;
	request_start(q);
}

static int run_write(struct request *q)
{
	int rc = volume_write(q->s->v, q->ino, q->off, q->data, q->data_len, false, q->kill_priv, &q->wait);

	if (rc == 0)
		fuse_reply_write(q->req, q->data_len);
	return rc;
}

void fuse_write_op(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);
	struct request *q = request_new(req, "write", run_write, ino);

	if (!q)
		return;
	q->off = (uint64_t)off;
	q->data = data;
	q->data_len = size;
	q->kill_priv = wire_kill_priv(s, req, fi);
	request_start(q); /* answered, most likely */
	if (habits_wrote(&s->habits, ino))
		volume_sync_ahead(s->v);
}

static int run_fsync(struct request *q)
{
	int rc = volume_fsync(q->s->v, &q->wait);

	if (rc == 0)
		fuse_reply_err(q->req, 0);
	return rc;
}

/* Of a file and of a directory: the log is one, so all that was answered before is durable with it. */
void fuse_fsync_op(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct request *q = request_new(req, "fsync", run_fsync, ino);

	(void)datasync;
	(void)fi;
	if (!q)
		return;
	habits_synced(&q->s->habits, ino);
	q->done_on_resume = true;
	request_start(q);
}

/* A caller other than root changes ino's bytes: set-id bits and capabilities go, where there are any (see run_setattr in fuse_inode.c). */
static int clear_set_id(struct request *q, uint64_t ino)
{
	struct volume_attr a;
	size_t len;
	int rc;

	if (!q->s->killpriv || fuse_req_ctx(q->req)->uid == 0)
		return 0;
	rc = volume_getattr(q->s->v, ino, &a);
	if (rc < 0)
		return rc;
	if (!(a.mode & (S_ISUID | S_ISGID)) && volume_getxattr(q->s->v, ino, "security.capability", NULL, 0, &len) == -ENODATA)
		return 0;
	return volume_setattr(q->s->v, ino, VOLUME_SET_KILL_PRIV, &a, &a, &q->wait);
}

static int run_fallocate(struct request *q)
{
	int rc = clear_set_id(q, q->ino);

	if (rc == 0)
		rc = volume_fallocate(q->s->v, q->ino, (int)q->mode, q->off, q->len, &q->wait);
	if (rc == 0) {
		changed(q, q->ino);
		fuse_reply_err(q->req, 0);
	}
	return rc;
}

void fuse_fallocate_op(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct request *q = request_new(req, "fallocate", run_fallocate, ino);

	(void)fi;
	if (!q)
		return;
	q->mode = (uint32_t)mode;
	q->off = (uint64_t)off;
	q->len = (uint64_t)len;
	request_start(q);
}

static int run_copy(struct request *q)
{
	uint64_t n = 0;
	int rc = clear_set_id(q, q->ino2);

	if (rc == 0)
		rc = volume_copy_range(q->s->v, q->ino, q->off, q->ino2, q->off2, q->len, &n, &q->wait);
	if (rc == 0)
		fuse_reply_write(q->req, n);
	return rc;
}

void fuse_copy_file_range_op(fuse_req_t req, fuse_ino_t src, off_t src_off, struct fuse_file_info *src_fi, fuse_ino_t dst, off_t dst_off,
			     struct fuse_file_info *dst_fi, size_t len, int flags)
{
	struct request *q;

	(void)src_fi;
	(void)dst_fi;
	if (flags != 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	q = request_new(req, "copy_file_range", run_copy, src);
	if (!q)
		return;
	q->off = (uint64_t)src_off;
	q->ino2 = dst;
	q->off2 = (uint64_t)dst_off;
	q->len = len < COPY_MAX ? len : COPY_MAX;
	request_start(q);
}

void fuse_lseek_op(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	uint64_t found = 0;
	int rc;

	(void)fi;
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	rc = volume_seek(session_of(req)->v, ino, (uint64_t)off, whence, &found);
	if (rc < 0)
		reply_error(req, "lseek", ino, rc);
	else
		fuse_reply_lseek(req, (off_t)found);
}

void fuse_ioctl_op(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags, const void *in,
		   size_t in_size, size_t out_size)
{
	(void)ino;
	(void)cmd;
	(void)arg;
	(void)fi;
	(void)flags;
	(void)in;
	(void)in_size;
	(void)out_size;
	fuse_reply_err(req, ENOTTY);
}
