/*
 * fuse_reply.c - answers to the kernel: attributes, entries, errors; and the
 * buffers that answers are made in.
 *
 * A reply fails only when the connection has been cut: then the kernel keeps no count of anything any more, so nothing is taken back.
 */
#include "session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "err.h"
#include "logmsg.h"

void stat_from_attr(const struct volume_attr *a, struct stat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->st_ino = a->ino;
	ret->st_mode = a->mode;
	ret->st_nlink = a->nlink;
	ret->st_uid = a->uid;
	ret->st_gid = a->gid;
	ret->st_rdev = a->rdev;
	ret->st_size = (off_t)a->size;
	/* 4 KiB is the granule of checksums and packing, and what InnoDB takes for the block of its log. cp and cat use 128 KiB or more whatever
	 * is said here. */
	ret->st_blksize = SESSION_BLOCK_BYTES;
	ret->st_blocks = (blkcnt_t)((a->allocated_bytes + 511) / 512);
	ret->st_atim = a->atime;
	ret->st_mtim = a->mtime;
	ret->st_ctim = a->ctime;
}

void entry_from_attr(const struct volume_attr *a, struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ino = a->ino; /* never used again for another inode, so one generation is enough */
	ret->attr_timeout = SESSION_VALID_S;
	ret->entry_timeout = SESSION_VALID_S;
	stat_from_attr(a, &ret->attr);
}

void reply_entry(fuse_req_t req, const struct volume_attr *a)
{
	struct fuse_entry_param e;

	entry_from_attr(a, &e);
	if (lookups_add(session_of(req)->lookups, a->ino) < 0)
		fuse_reply_err(req, ENOMEM);
	else
		fuse_reply_entry(req, &e);
}

uint32_t asker(fuse_req_t req)
{
	return (uint32_t)fuse_req_ctx(req)->pid;
}

void reply_lookup(fuse_req_t req, struct volume_attr *a, uint64_t changes)
{
	struct session *s = session_of(req);
	struct fuse_entry_param e;

	if (lookups_add(s->lookups, a->ino) < 0) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	lookups_told(s->lookups, a->ino, asker(req));
	/* Who changes the inode from here on sees that we were told; who did before is seen in the count. */
	if (atomic_load(&s->changes) != changes)
		(void)volume_getattr(s->v, a->ino, a);
	entry_from_attr(a, &e);
	fuse_reply_entry(req, &e);
}

void changed(struct request *q, uint64_t ino)
{
	atomic_fetch_add(&q->s->changes, 1);
	/* Offset -1: attributes alone. It takes no lock that the request holds. ENOENT: the kernel has forgotten the inode. */
	if (lookups_told_others(q->s->lookups, ino, asker(q->req)))
		(void)fuse_lowlevel_notify_inval_inode(q->s->fuse, ino, -1, 0);
}

void reply_attr(fuse_req_t req, const struct volume_attr *a)
{
	struct stat st;

	stat_from_attr(a, &st);
	fuse_reply_attr(req, &st, SESSION_VALID_S);
}

/* EIO means that somebody's data is in question: said once a second at most, with the file. */
static void log_io_error(struct session *s, const char *what, uint64_t ino, int rc)
{
	struct timespec now;
	uint64_t second, last = atomic_load(&s->io_error_s);

	clock_gettime(CLOCK_BOOTTIME, &now);
	second = (uint64_t)now.tv_sec + 1;
	if (second == last || !atomic_compare_exchange_strong(&s->io_error_s, &last, second))
		return;
	logmsg(LOGMSG_ERROR, "%s: %s failed on inode %llu: %s (find %s -xdev -inum %llu names the file; clonefs fsck --deep checks the store)",
	       s->mountpoint, what, (unsigned long long)ino, err_text(rc), s->mountpoint, (unsigned long long)ino);
}

void reply_error(fuse_req_t req, const char *what, uint64_t ino, int rc)
{
	int code = err_errno(rc);

	if (code == EIO)
		log_io_error(session_of(req), what, ino, rc);
	fuse_reply_err(req, code);
}

/* ----------------------------------------------------------- thread buffers */

struct buffer { void *p; size_t size; };

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static int buffer_key_error;

static void buffer_free(void *p)
{
	struct buffer *b = p;

	if (b->p)
		munmap(b->p, b->size);
	free(b);
}

static void buffer_make_key(void)
{
	buffer_key_error = pthread_key_create(&buffer_key, buffer_free);
}

void *thread_buffer(size_t len)
{
	struct buffer *b;
	size_t size = 128u << 10;

	pthread_once(&buffer_once, buffer_make_key);
	if (buffer_key_error)
		return NULL;
	b = pthread_getspecific(buffer_key);
	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b || pthread_setspecific(buffer_key, b) != 0) {
			free(b);
			return NULL;
		}
	}
	if (b->size >= len)
		return b->p;
	while (size < len)
		size *= 2;
	if (b->p)
		munmap(b->p, b->size);
	b->p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b->size = size;
	if (b->p == MAP_FAILED) {
		b->p = NULL;
		b->size = 0;
	}
	return b->p;
}
