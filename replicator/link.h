/*
 * link.h - connections to peers: TLS 1.3 with the cluster's key, both sides proven, whole frames in and out.
 *
 * A hub listens, calls the peers it is told of again and again, and has one thread that polls everything. A link is up when both HELLOs
 * are exchanged and the peer's signature over the TLS exporter holds; only then the owner hears of it. There is at most one link to a node: of two, the one
 * that the node with the smaller key called stays; of two in one direction, the newer.
 *
 * What a peer may cost: a connection that we made and that is not up within LINK_HANDSHAKE_S is closed; one that was made to us, within LINK_STRANGER_S. Of these
 * at most LINK_STRANGERS_MAX are on their way up, LINK_STRANGERS_EACH of one address (an IPv6 network of 64 bits counts as one). Where there is one too many, another goes: first who has
 * not shown the key, of those the oldest. So whoever has the key gets in beside any number of silent sockets. A frame is at most FRAME_MAX; a frame that does not decode, or a send queue over LINK_QUEUE_MAX (the peer does not read), ends the link.
 *
 * Threads: the events are called on the hub's thread, one at a time, with no lock held; they must not block. link_send, link_hold, link_close and
 * link_queued may be called from any thread, between `up` and the return of `down`. Sources: RFC 8446 4.2.11 (external PSKs), RFC 5705, RFC 8446 7.5 (exporters).
 */
#ifndef CLONELOVE_LINK_H
#define CLONELOVE_LINK_H

#include "env.h"
#include "frame.h"
#include "keys.h"

#define LINK_HANDSHAKE_S 10
#define LINK_STRANGER_S 5
#define LINK_STRANGERS_MAX 64u
#define LINK_STRANGERS_EACH 16u
#define LINK_QUEUE_MAX (64u << 20)
#define LINK_RETRY_MAX_S 30

struct link;
struct link_hub;

struct link_events {
	/* Fills in what HELLO says beside versions, node and signature: identity of index and tree, names, the clock. Texts must stay valid until the
	 * next call. */
	void (*hello)(void *user, struct frame_hello *ret);
	/* May the peer come up? NULL = yes; else why not, for the peer's operator (static or valid until the next call). Without a judge all may whose keys
	 * are right; every other event has to be there. */
	const char *(*judge)(void *user, const struct frame_hello *h);
	void (*up)(void *user, struct link *l, const struct frame_hello *h);
	/* 0, or an error that ends the link (ERR_CORRUPT: the frame is not what its type says). */
	int (*frame)(void *user, struct link *l, const struct frame *f);
	void (*drained)(void *user, struct link *l);         /* the send queue is empty again */
	void (*down)(void *user, struct link *l, const char *why);
	/* A node that we called, or that called us, does not let us come up, and says why; or one that we called has another key. NULL: nobody wants to know. */
	void (*refused)(void *user, const char *address, const char *why);
};

struct link_options {
	const struct keys *keys;           /* these three outlive the hub */
	const struct node_key *node;
	struct env *env;
	const char *listen;                /* HOST:PORT, [HOST]:PORT, :PORT; NULL = only calls */
	const struct link_events *events;
	void *user;
	bool paused;                       /* it begins with link_hub_pause() */
};

/* Could a hub listen there? As link_hub_start, and nothing is left; to be asked before anything is made. Could others be called there (HOST:PORT)? ERR_CONFIG. */
int link_check_listen(const char *address);
int link_check_call(const char *address);
/* 0; -EADDRINUSE and the like with a message; ERR_CONFIG for an address that is none. */
int link_hub_start(const struct link_options *o, struct link_hub **ret);
/* Ends every link (down is called), joins the thread. NULL is fine. */
void link_hub_stop(struct link_hub *h);
uint16_t link_hub_port(const struct link_hub *h);        /* where it listens; 0 = nowhere */
/* Calls this address (HOST:PORT) until told otherwise, with growing, jittered pauses. Adding twice is adding once. ERR_CONFIG. */
int link_hub_call(struct link_hub *h, const char *address);
/* While paused every link ends, who calls is told so, and nobody is called; afterwards everybody is, at once. */
void link_hub_pause(struct link_hub *h, bool pause);
bool link_hub_paused(struct link_hub *h);
void link_hub_call_no_more(struct link_hub *h, const char *address);

const uint8_t *link_node(const struct link *l);          /* the peer's key */
const char *link_address(const struct link *l);          /* for messages: where it is */
/* Our own end's host, as an address has it (IPv6 in brackets); false: it has none that others could use. In events alone. */
bool link_local(const struct link *l, char *ret, size_t cap);
void *link_user(const struct link *l);                   /* the owner's own; NULL until set */
void link_set_user(struct link *l, void *user);
/* Takes whole frames over from b (which is empty then). Never blocks. -EPIPE when it is down, -ENOBUFS over LINK_QUEUE_MAX (it goes down then). */
int link_send(struct link *l, struct buf *b);
size_t link_queued(const struct link *l);
/* While it is held nothing more is read from it (frames that were read already still come): in the end the peer has to wait. Others do not. Never blocks. */
void link_hold(struct link *l, bool hold);
void link_close(struct link *l, const char *why);        /* sends ERROR, then closes; `down` follows */

#endif
