/* link_queue.c - what is to be sent, as a list of buffers: who has a long frame hands it over, and nobody copies it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "err.h"
#include "link_impl.h"

#define JOIN_BYTES 65536u /* frames are put together up to so much; longer ones stay by themselves */

int link_queue_put(struct link *l, struct buf *b)
{
	struct part *last = l->queue ? (struct part *)(void *)((char *)l->queue_end - offsetof(struct part, next)) : NULL;

	if (last && last->b.len + b->len <= JOIN_BYTES) {
		buf_bytes(&last->b, b->data, b->len);
		return last->b.err;
	}
	last = calloc(1, sizeof *last);
	if (!last)
		return -ENOMEM;
	last->b = *b;
	*b = (struct buf)BUF_INIT;
	*l->queue_end = last;
	l->queue_end = &last->next;
	return 0;
}

bool link_queue_take(struct link *l)
{
	struct part *q;

	pthread_mutex_lock(&l->hub->mu);
	q = l->queue;
	if (q)
		l->queue = q->next;
	if (!l->queue)
		l->queue_end = &l->queue;
	pthread_mutex_unlock(&l->hub->mu);
	buf_free(&l->out);
	l->out_done = 0;
	if (q)
		l->out = q->b;
	free(q);
	return q != NULL;
}

int link_write_out(struct link *l)
{
	while (!l->out.err && l->out_done < l->out.len) {
		int n = link_tls_write(l, l->out.data + l->out_done, l->out.len - l->out_done);

		if (n <= 0)
			return n;
		l->out_done += (size_t)n;
		atomic_fetch_sub(&l->queued, (size_t)n);
	}
	return l->out.err ? l->out.err : 1;
}

/* Records of TLS are 16 KiB: many of them are to go as few, long segments. */
static void cork(struct link *l, int on)
{
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

int link_transmit(struct link *l)
{
	bool had = l->out_done < l->out.len, much = atomic_load(&l->queued) >= JOIN_BYTES;
	int rc;

	if (much)
		cork(l, 1);
	while ((rc = link_write_out(l)) > 0 && link_queue_take(l))
		had = true;
	if (much)
		cork(l, 0);
	if (rc > 0 && had && l->state == LINK_UP)
		l->hub->o.events->drained(l->hub->o.user, l);
	return rc < 0 ? rc : 0;
}
