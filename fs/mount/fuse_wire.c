/*
 * fuse_wire.c - what the kernel says and libfuse does not hand on.
 *
 * libfuse's low-level interface lacks, in one version or another: the mark "clear set-id bits" of a WRITE (in all), the capability
 * HANDLE_KILLPRIV_V2 and O_TMPFILE (before 3.17). Requests pass through wire_process on their way to libfuse, where the header
 * (linux/fuse.h, a stable ABI) can be read:
 *
 * - WRITE: its mark is kept for the thread that processes it.
 * - INIT: the answer passes through io_writev on its way out, where the flag is added that libfuse does not know. Without it the kernel
 *   would ask for security.capability before each write: twice the messages.
 * - TMPFILE has the shape of CREATE, so it is handed on as one, of a name that cannot be.
 *
 * Requests that come over io_uring do not pass here; then the caller's user is what there is to go by.
 */
#include "session_impl.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "logmsg.h"

#define LIBFUSE_LACKS_KILLPRIV_V2 (FUSE_VERSION < FUSE_MAKE_VERSION(3, 17))

static _Thread_local bool thread_writes, thread_kill_priv;

#if LIBFUSE_LACKS_KILLPRIV_V2
static _Thread_local bool thread_patch_init;

static ssize_t io_read(int fd, void *buf, size_t len, void *user)
{
	(void)user;
	return read(fd, buf, len);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *user)
{
	struct session *s = user;

	if (thread_patch_init && count >= 2 && iov[1].iov_len >= offsetof(struct fuse_init_out, flags) + sizeof(uint32_t) &&
	    ((struct fuse_out_header *)iov[0].iov_base)->error == 0) {
		((struct fuse_init_out *)iov[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
		s->killpriv = true;
	}
	return writev(fd, iov, count);
}

static void see_init(const struct fuse_in_header *h, size_t size)
{
	const struct fuse_init_in *in = (const struct fuse_init_in *)(const void *)(h + 1);

	thread_patch_init = size >= sizeof(*h) + offsetof(struct fuse_init_in, flags) + sizeof(in->flags) && in->flags & FUSE_HANDLE_KILLPRIV_V2;
}
#endif

void wire_attach(struct session *s)
{
#if LIBFUSE_LACKS_KILLPRIV_V2
	static const struct fuse_custom_io io = { .writev = io_writev, .read = io_read };
	int rc = fuse_session_custom_io(s->fuse, &io, fuse_session_fd(s->fuse));

	/* All works without it, only slower. */
	if (rc < 0)
		logmsg(LOGMSG_WARNING, "libfuse takes no hooks (%s): small writes cost two messages each", strerror(-rc));
#else
	(void)s;
#endif
}

void wire_process(struct session *s, struct fuse_buf *b)
{
	struct fuse_in_header *h = b->mem;

	thread_writes = thread_kill_priv = false;
	switch (h->opcode) {
	case FUSE_WRITE: {
		const struct fuse_write_in *in = (const struct fuse_write_in *)(const void *)(h + 1);

		thread_writes = b->size >= sizeof(*h) + sizeof(*in);
		thread_kill_priv = thread_writes && in->write_flags & FUSE_WRITE_KILL_SUIDGID;
		break;
	}
#if LIBFUSE_LACKS_KILLPRIV_V2
	case FUSE_INIT:
		see_init(h, b->size);
		break;
	case FUSE_TMPFILE:
		h->opcode = FUSE_CREATE;
		break;
#endif
	default:
		break;
	}
	fuse_session_process_buf(s->fuse, b);
#if LIBFUSE_LACKS_KILLPRIV_V2
	thread_patch_init = false;
#endif
}

bool wire_kill_priv(struct session *s, fuse_req_t req, const struct fuse_file_info *fi)
{
	if (!s->killpriv)
		return false;
	if (thread_writes)
		return thread_kill_priv;
	return !fi->writepage && fuse_req_ctx(req)->uid != 0;
}
