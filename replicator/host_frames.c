/* host_frames.c - frames on their way to the core: heard, or held back while the node is full. All of it on the core's thread. */
#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "host_impl.h"

#define HELD_MOST (4u << 20)

void host_note_free(struct host *h, struct note *n)
{
	if (n->kind == NOTE_FRAME) {
		pthread_mutex_lock(&h->mu);
		h->frame_bytes -= n->len;
		pthread_cond_signal(&h->room);
		pthread_mutex_unlock(&h->mu);
	}
	buf_free(&n->whole);
	free(n);
}

void host_hear_frame(struct host *h, struct note *n)
{
	struct frame f = { n->type, n->body, n->len, n->whole.data ? &n->whole : NULL };
	int rc = n->p->peer ? node_frame(h->node, n->p->peer, &f) : 0;

	if (rc == -EPERM)
		host_bad_peer(h, n->p, err_last());
	else if (rc)
		h->base.close(&h->base, n->p, err_text(rc));
}

/* So much is held back of one peer; then nothing more is read from it, until half of that was heard. */
static void pause_reading(struct peer_link *p)
{
	bool pause = p->held_bytes > (p->paused ? HELD_MOST / 2 : HELD_MOST);

	if (pause == p->paused)
		return;
	p->paused = pause;
	pthread_mutex_lock(&p->mu);
	if (p->link)
		link_hold(p->link, pause);
	pthread_mutex_unlock(&p->mu);
}

/* While the node is full, frames wait here; in the end the peer does. True: this one does. */
bool host_hold(struct host *h, struct note *n)
{
	struct peer_link *p = n->p;

	if (!p->held && !node_full(h->node))
		return false;
	if (!p->held) {
		p->held_end = &p->held;
		p->next_held = h->holding;
		h->holding = p;
	}
	n->next = NULL;
	*p->held_end = n;
	p->held_end = &n->next;
	p->held_bytes += n->len;
	pause_reading(p);
	return true;
}

void host_hear_held(struct host *h, unsigned *left)
{
	struct peer_link **at = &h->holding, *p;

	while ((p = *at)) {
		while (p->held && *left && !node_full(h->node)) {
			struct note *n = p->held;

			p->held = n->next;
			p->held_bytes -= n->len;
			(*left)--;
			host_hear_frame(h, n);
			host_note_free(h, n);
		}
		pause_reading(p);
		if (p->held)
			at = &p->next_held;
		else
			*at = p->next_held;
	}
}

/* It is down: nobody answers for what it said last. */
void host_drop_held(struct host *h, struct peer_link *p)
{
	struct peer_link **at = &h->holding;

	if (!p->held)
		return;
	while (*at != p)
		at = &(*at)->next_held;
	*at = p->next_held;
	while (p->held) {
		struct note *n = p->held;

		p->held = n->next;
		host_note_free(h, n);
	}
}
