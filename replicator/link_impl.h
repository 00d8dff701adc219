/*
 * link_impl.h - the inside of links: link.c (hub, events), link_tls.c (TLS and its keys), link_call.c (addresses, calling), link_queue.c (what is to be sent).
 *
 * A link goes CONNECTING -> SHAKING -> GREETING -> UP -> (CLOSING) -> gone. All of it happens on the hub's thread, but for the send queue, which is
 * under the hub's mutex like the list of what to call. The mutex is held for pointer moves alone.
 */
#ifndef CLONELOVE_LINK_IMPL_H
#define CLONELOVE_LINK_IMPL_H

#include <netdb.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "link.h"

#define LINK_ADDRESS_MAX 300u
#define LINK_READ_BYTES 65536u
#define LINK_EXPORT_BYTES 32u

enum link_state { LINK_CONNECTING, LINK_SHAKING, LINK_GREETING, LINK_UP, LINK_CLOSING };

struct call { /* an address to call; in the hub's list. The hub's thread alone has what is not said to be under mu */
	struct call *next;
	struct link_hub *hub;
	char address[LINK_ADDRESS_MAX];
	struct link *link;           /* the one we called, or NULL */
	uint64_t at_ns, pause_ns;    /* boot time of the next try */
	unsigned turn;               /* which of its addresses, which of the keys */
	uint8_t node[FRAME_NODE_BYTES]; /* who answered there last, if node_known */
	bool node_known;
	bool looking;                /* a thread looks its name up */
	bool dropped;                /* mu: no more; freed by the hub's thread */
	bool looked;                 /* mu: the thread has been, */
	struct addrinfo *found;      /* mu: and found these (NULL: nothing) */
};

struct part { /* of a queue: whole frames */
	struct part *next;
	struct buf b;
};

struct link {
	struct link *next;
	struct link_hub *hub;
	struct call *call;           /* NULL: we were called */
	enum link_state state;
	bool inbound, told_up;
	uint8_t from[8];             /* inbound: the network it comes from */
	int fd;
	SSL *ssl;
	size_t key;                  /* of the cluster's, that we call with */
	uint64_t since_ns;
	char address[LINK_ADDRESS_MAX];
	uint8_t node[FRAME_NODE_BYTES];
	void *user;
	char why[256];
	struct buf in, scratch;
	size_t in_done;              /* bytes of `in` that were handed on */
	uint32_t events;             /* what epoll was asked for */
	bool want_write, want_read;  /* what TLS waits for */
	bool held;                   /* nothing is read: what the thread knows of hold */
	/* under the hub's mutex */
	struct part *queue, **queue_end;
	bool close_wanted, hold;
	char close_why[256];
	/* the hub's thread: what is being sent */
	struct buf out;
	size_t out_done;
	atomic_size_t queued;
};

struct link_hub {
	struct link_options o;
	pthread_t thread;
	bool started;
	int epoll_fd, wake_fd, listen_fd;
	uint16_t port;
	SSL_CTX *server, *client;
	struct link *links;          /* the thread's */
	unsigned strangers;          /* links that are not up */
	pthread_mutex_t mu;
	struct call *calls;          /* under mu */
	bool stopping, pause;        /* under mu */
	bool paused;                 /* the thread's: what it knows of pause */
	unsigned lookups;            /* under mu: threads under way */
	pthread_cond_t idle;         /* lookups is 0 */
};

/* --- link_tls.c --- */
int link_tls_open(struct link_hub *h);
void link_tls_close(struct link_hub *h);
/* A TLS object for l's socket; the peer's part is to be accepted or connected to. */
int link_tls_start(struct link *l);
/* 1 done, 0 later (l->want_* say what for), negative: failed, l->why says how. */
int link_tls_shake(struct link *l);
int link_tls_export(struct link *l, bool client, uint8_t *ret);
/* Bytes; 0: later; negative: the connection ended. */
int link_tls_read(struct link *l, void *p, size_t len);
int link_tls_write(struct link *l, const void *p, size_t len);

/* --- link_call.c --- */
/* HOST:PORT taken apart. host: NULL-terminated, "" = any. */
int link_address_split(const char *address, char *host, size_t host_cap, char *port, size_t port_cap);
int link_listen(struct link_hub *h, const char *address);
/* What is due is called; milliseconds until the next is due, -1 = never. mu not held. */
int link_call_due(struct link_hub *h);
void link_call_all(struct link_hub *h);  /* everybody is due now. The hub's thread, mu not held */
void link_call_ended(struct link *l); /* its call gets its next time */
void link_call_free_all(struct link_hub *h); /* the hub's thread has ended; waits for the name service */

void link_tune(int fd);

/* --- link_queue.c --- */
int link_queue_put(struct link *l, struct buf *b);   /* under mu. b is empty then, or has an error */
bool link_queue_take(struct link *l);                /* the next of what waits becomes `out`, which is empty, or was sent; false: nothing waits. mu not held */
int link_write_out(struct link *l);                  /* 1: all of `out` is written; 0: later; negative: the connection ended */
int link_transmit(struct link *l);                   /* what can be sent now; 0, or negative: the connection ended */

/* --- link.c --- */
void link_wake(struct link_hub *h);
struct link *link_up_to(struct link_hub *h, const uint8_t *node); /* the link to a node that is up, or NULL */
struct link *link_new(struct link_hub *h, int fd, bool inbound, struct call *c);

#endif
