/*
 * link.c - the hub's thread: polls, moves bytes, greets, hands frames on.
 *
 * Crash behaviour: none of this is remembered. What a dead link had in its queues is said again by whoever needs it, from the index.
 */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"
#include "link_impl.h"
#include "logmsg.h"

#define EVENTS 64
#define READS_AT_A_TIME 64 /* then others have their turn */
#define WHY_PAUSED "it is paused by its operator"

void link_wake(struct link_hub *h)
{
	uint64_t one = 1;
	ssize_t n = write(h->wake_fd, &one, sizeof one);

	(void)n; /* a full counter wakes as well */
}

/* --- a link's life --- */

static bool stranger(const struct link *l)
{
	return l->state < LINK_UP;
}

static int watch(struct link *l, uint32_t events, int how)
{
	struct epoll_event e = { .events = events, .data.ptr = l };

	l->events = events;
	return epoll_ctl(l->hub->epoll_fd, how, l->fd, &e) ? -errno : 0;
}

static void peer_name(struct link *l)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[64], port[8];

	if (l->call)
		snprintf(l->address, sizeof l->address, "%s", l->call->address);
	else if (getpeername(l->fd, (struct sockaddr *)&ss, &len) == 0 &&
		 getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(l->address, sizeof l->address, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	else
		snprintf(l->address, sizeof l->address, "?");
}

/* IPv4: its address. IPv6: the first half, all of which one machine may have. */
static void note_network(struct link *l)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	if (getpeername(l->fd, (struct sockaddr *)&ss, &len))
		return;
	if (ss.ss_family == AF_INET) {
		memcpy(l->from, &((struct sockaddr_in *)&ss)->sin_addr, 4);
	} else if (ss.ss_family == AF_INET6) {
		const struct in6_addr *a = &((struct sockaddr_in6 *)&ss)->sin6_addr;

		memcpy(l->from, IN6_IS_ADDR_V4MAPPED(a) ? a->s6_addr + 12 : a->s6_addr, IN6_IS_ADDR_V4MAPPED(a) ? 4 : sizeof l->from);
	}
}

static void destroy(struct link *l)
{
	SSL_free(l->ssl);
	if (l->fd >= 0)
		close(l->fd); /* epoll forgets it with that */
	buf_free(&l->in);
	buf_free(&l->scratch);
	while (link_queue_take(l))
		;
	buf_free(&l->out);
	free(l);
}

struct link *link_new(struct link_hub *h, int fd, bool inbound, struct call *c)
{
	struct link *l = calloc(1, sizeof *l);

	if (!l) {
		close(fd);
		return NULL;
	}
	l->hub = h;
	l->fd = fd;
	l->inbound = inbound;
	l->call = c;
	l->state = inbound ? LINK_SHAKING : LINK_CONNECTING;
	l->since_ns = h->o.env->boot_ns(h->o.env);
	/* Each try with the next of the keys: during a change the peer may have only one of them. */
	l->key = c ? c->turn % keys_count(h->o.keys) : 0;
	l->queue_end = &l->queue;
	peer_name(l);
	note_network(l);
	link_tune(fd);
	if (link_tls_start(l) || watch(l, inbound ? EPOLLIN : EPOLLOUT, EPOLL_CTL_ADD)) {
		destroy(l);
		return NULL;
	}
	l->next = h->links;
	h->links = l;
	h->strangers++;
	if (c)
		c->link = l;
	return l;
}

/* Out of the list, told, freed. */
static void end(struct link *l)
{
	struct link_hub *h = l->hub;
	struct link **at = &h->links;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (!l->told_up)
		h->strangers--;
	if (l->told_up)
		h->o.events->down(h->o.user, l, l->why[0] ? l->why : "closed");
	else if (l->why[0])
		logmsg(LOGMSG_INFO, "no link with %s: %s", l->address, l->why);
	link_call_ended(l);
	destroy(l);
}

static void fail(struct link *l, const char *why)
{
	if (!l->why[0])
		snprintf(l->why, sizeof l->why, "%s", why);
}

/* Says why, sends what it can without waiting, and is done. */
static int refuse_as(struct link *l, uint16_t code, const char *why)
{
	size_t start;

	fail(l, why);
	while (link_write_out(l) > 0 && link_queue_take(l)) /* what was to be said before */
		;
	if (l->out_done < l->out.len)
		return -ECONNABORTED; /* half a frame is out: another one would be none */
	frame_begin(&l->out, FRAME_ERROR, &start);
	frame_put_error(&l->out, code, why);
	frame_end(&l->out, start, false);
	atomic_fetch_add(&l->queued, l->out.len - start);
	(void)link_write_out(l);
	return -ECONNABORTED;
}

static int refuse(struct link *l, const char *why)
{
	return refuse_as(l, FRAME_REFUSED, why);
}

/* --- greeting --- */

static int say_hello(struct link *l)
{
	struct link_hub *h = l->hub;
	struct frame_hello hello;
	uint8_t proof[LINK_EXPORT_BYTES];
	size_t start;
	int rc = link_tls_export(l, !l->inbound, proof);

	if (rc)
		return rc;
	memset(&hello, 0, sizeof hello);
	hello.lowest = hello.highest = FRAME_VERSION;
	hello.cluster = hello.name = hello.address = (struct frame_text){ "", 0 };
	h->o.events->hello(h->o.user, &hello);
	memcpy(hello.node, node_key_public(h->o.node), sizeof hello.node);
	node_key_sign(h->o.node, proof, sizeof proof, hello.signature);
	frame_begin(&l->out, FRAME_HELLO, &start);
	frame_put_hello(&l->out, &hello);
	frame_end(&l->out, start, false);
	atomic_fetch_add(&l->queued, l->out.len - start);
	return l->out.err;
}

struct link *link_up_to(struct link_hub *h, const uint8_t *node)
{
	struct link *o;

	for (o = h->links; o; o = o->next)
		if (o->state == LINK_UP && memcmp(o->node, node, sizeof o->node) == 0)
			return o;
	return NULL;
}

/* Of two links between two nodes the one called by the node with the smaller key stays; the same caller's newer one replaces its older. */
static bool replaces(const struct link *l, const struct link *o)
{
	bool we_are_smaller = memcmp(node_key_public(l->hub->o.node), l->node, sizeof l->node) < 0;

	if (l->inbound == o->inbound)
		return true;
	return l->inbound != we_are_smaller;
}

static int heard_hello(struct link *l, const struct frame *f)
{
	struct link_hub *h = l->hub;
	uint8_t proof[LINK_EXPORT_BYTES];
	struct frame_hello hello;
	struct link *o;
	const char *no;
	int rc = f->type == FRAME_HELLO ? frame_get_hello(f, &hello) : ERR_CORRUPT;

	if (rc == ERR_NEWER_FORMAT)
		return refuse(l, "the two speak no common version of the protocol: update the older one");
	if (rc || link_tls_export(l, l->inbound, proof) || !node_key_verify(hello.node, proof, sizeof proof, hello.signature))
		return refuse(l, "that is no greeting of a member");
	memcpy(l->node, hello.node, sizeof l->node);
	if (l->call) {
		memcpy(l->call->node, l->node, sizeof l->node);
		l->call->node_known = true;
	}
	if (memcmp(hello.node, node_key_public(h->o.node), sizeof hello.node) == 0)
		return refuse(l, "it is this node itself, or a copy of it: each node needs a state directory of its own");
	no = h->paused ? WHY_PAUSED : h->o.events->judge ? h->o.events->judge(h->o.user, &hello) : NULL;
	if (no)
		return refuse(l, no);
	o = link_up_to(h, l->node);
	if (o && !replaces(l, o))
		return refuse_as(l, FRAME_ANOTHER_LINK, "there is a link between the two already");
	if (l->inbound) {
		rc = say_hello(l);
		if (rc)
			return rc;
	}
	if (o) {
		fail(o, "replaced by a newer connection");
		o->state = LINK_CLOSING;
	}
	l->state = LINK_UP;
	l->told_up = true;
	h->strangers--;
	h->o.events->up(h->o.user, l, &hello);
	return 0;
}

/* --- bytes --- */

static int one_frame(struct link *l, const struct frame *f)
{
	struct frame_text text;
	uint16_t code = 0;
	int rc;

	if (f->type == FRAME_ERROR) {
		if (frame_get_error(f, &code, &text) == 0)
			snprintf(l->why, sizeof l->why, "the peer says: %.*s", (int)text.len, text.p);
		if (l->state == LINK_GREETING && l->why[0] && code != FRAME_ANOTHER_LINK && l->hub->o.events->refused)
			l->hub->o.events->refused(l->hub->o.user, l->address, l->why);
		return -ECONNABORTED;
	}
	if (l->state == LINK_GREETING)
		return heard_hello(l, f);
	rc = f->type == FRAME_HELLO ? ERR_CORRUPT : l->hub->o.events->frame(l->hub->o.user, l, f);
	return rc ? refuse(l, rc == ERR_CORRUPT ? "a message that makes no sense" : err_text(rc)) : 0;
}

static int hand_on(struct link *l)
{
	struct frame f;
	size_t used;
	int rc;

	while (l->state != LINK_CLOSING && l->in_done < l->in.len) {
		rc = frame_next(l->in.data + l->in_done, l->in.len - l->in_done, &l->scratch, &f, &used);
		if (rc)
			return rc == -ENOMEM ? rc : refuse(l, "bytes that are no message");
		if (!used)
			break;
		if (!f.whole && l->in_done == 0 && used == l->in.len)
			f.whole = &l->in;
		l->in_done += used;
		rc = one_frame(l, &f);
		if (rc)
			return rc;
		if (!l->in.data) /* it was taken */
			l->in_done = 0;
	}
	if (!l->in_done)
		return 0;
	memmove(l->in.data, l->in.data + l->in_done, l->in.len - l->in_done);
	l->in.len -= l->in_done;
	l->in_done = 0;
	return 0;
}

/* Room is made for so much. A long frame is read to its end and no further: so it is alone in its buffer, and need not be copied. */
static size_t room_for(const struct link *l)
{
	size_t total = l->state == LINK_UP && l->in.len >= 4 ? 4 + (size_t)get_u32(l->in.data) : 0;

	return total < LINK_READ_BYTES || total > 4 + FRAME_MAX ? LINK_READ_BYTES : total - l->in.len;
}

/* *ret_more: it stopped because others have their turn. */
static int receive(struct link *l, bool *ret_more)
{
	for (unsigned i = 0; i < READS_AT_A_TIME; i++) {
		size_t room = room_for(l);
		int n;

		if (buf_reserve(&l->in, room))
			return -ENOMEM;
		n = link_tls_read(l, l->in.data + l->in.len, room);
		if (n <= 0)
			return n;
		l->in.len += (size_t)n;
		n = hand_on(l);
		if (n || l->state == LINK_CLOSING)
			return n;
	}
	*ret_more = true;
	return 0;
}

static int connected(struct link *l)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error) {
		fail(l, strerror(error ? error : errno));
		return -ECONNREFUSED;
	}
	l->state = LINK_SHAKING;
	return 0;
}

static int shake(struct link *l)
{
	int rc = link_tls_shake(l);

	if (rc == ERR_AUTH && l->call && l->hub->o.events->refused)
		l->hub->o.events->refused(l->hub->o.user, l->address, l->why);
	if (rc <= 0)
		return rc;
	l->state = LINK_GREETING;
	return l->inbound ? 0 : say_hello(l);
}

/* Everything that can be done for l now. A negative result ends it. */
static int pump(struct link *l, uint32_t events, bool *ret_more)
{
	uint32_t want = l->held ? 0 : EPOLLIN;
	int rc = 0;

	if (l->held && (events & (EPOLLHUP | EPOLLERR))) { /* it would be told again and again */
		fail(l, "the connection was reset");
		return -ECONNRESET;
	}

	if (l->state == LINK_CONNECTING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		rc = connected(l);
	if (!rc && l->state == LINK_SHAKING)
		rc = shake(l);
	if (!rc && !l->held && l->state >= LINK_GREETING && l->state < LINK_CLOSING)
		rc = receive(l, ret_more);
	if (!rc && l->state >= LINK_GREETING && l->state < LINK_CLOSING)
		rc = link_transmit(l);
	if (rc || l->state == LINK_CLOSING)
		return rc ? rc : -ECONNABORTED;
	if (l->state == LINK_CONNECTING || l->out.len > l->out_done || l->want_write)
		want |= EPOLLOUT;
	return want == l->events ? 0 : watch(l, want, EPOLL_CTL_MOD);
}

/* --- from other threads --- */

int link_send(struct link *l, struct buf *b)
{
	struct link_hub *h = l->hub;
	size_t len = b->len;
	int rc = b->err;

	if (!rc && len) {
		pthread_mutex_lock(&h->mu);
		if (l->close_wanted) {
			rc = -EPIPE;
		} else if (atomic_load(&l->queued) + len > LINK_QUEUE_MAX) {
			rc = -ENOBUFS;
			l->close_wanted = true;
		} else {
			rc = link_queue_put(l, b);
			l->close_wanted = rc != 0;
		}
		if (!rc)
			atomic_fetch_add(&l->queued, len);
		pthread_mutex_unlock(&h->mu);
		link_wake(h);
	}
	buf_reset(b);
	return rc;
}

void link_hold(struct link *l, bool hold)
{
	pthread_mutex_lock(&l->hub->mu);
	l->hold = hold;
	pthread_mutex_unlock(&l->hub->mu);
	link_wake(l->hub);
}

size_t link_queued(const struct link *l)
{
	return atomic_load(&l->queued);
}

void link_close(struct link *l, const char *why)
{
	struct link_hub *h = l->hub;

	pthread_mutex_lock(&h->mu);
	if (!l->close_wanted) {
		l->close_wanted = true;
		snprintf(l->close_why, sizeof l->close_why, "%s", why);
	}
	pthread_mutex_unlock(&h->mu);
	link_wake(h);
}

const uint8_t *link_node(const struct link *l)
{
	return l->node;
}

const char *link_address(const struct link *l)
{
	return l->address;
}

bool link_local(const struct link *l, char *ret, size_t cap)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[64], *h = host;

	if (getsockname(l->fd, (struct sockaddr *)&ss, &len) || getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, NULL, 0, NI_NUMERICHOST) ||
	    strchr(host, '%')) /* of one network alone */
		return false;
	if (strncmp(h, "::ffff:", 7) == 0 && strchr(h, '.'))
		h += 7;
	return (size_t)snprintf(ret, cap, strchr(h, ':') ? "[%s]" : "%s", h) < cap;
}

void *link_user(const struct link *l)
{
	return l->user;
}

void link_set_user(struct link *l, void *user)
{
	l->user = user;
}

/* --- the thread --- */

/* Has it said what takes the key? TLS gets past the first message of who calls only if that one does (its binder, RFC 8446 4.2.11.2). */
static bool shown(const struct link *l)
{
	OSSL_HANDSHAKE_STATE s = SSL_get_state(l->ssl);

	return s != TLS_ST_BEFORE && s != TLS_ST_SR_CLNT_HELLO;
}

/* Of those that came (NULL: from anywhere) before `last` and are not up, the one that goes first; and how many there are, that one too. */
static struct link *first_to_go(struct link_hub *h, const uint8_t *from, const struct link *last, unsigned *ret_count)
{
	struct link *first = NULL;

	*ret_count = 0;
	for (struct link *l = h->links; l; l = l->next) { /* newer ones come first */
		if (!l->inbound || !stranger(l) || (from && memcmp(l->from, from, sizeof l->from) != 0))
			continue;
		++*ret_count;
		if (l != last && (!first || shown(l) <= shown(first)))
			first = l;
	}
	return first;
}

static void make_way(struct link *l)
{
	fail(l, "it had not shown the cluster's key, and others came");
	l->state = LINK_CLOSING; /* ended once this round's events are done */
}

static void accept_all(struct link_hub *h)
{
	struct link *l, *first;
	unsigned count;

	for (;;) {
		int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) { /* nothing more; or no descriptor is left, which who goes gives back. The next poll tries again */
			first = errno == EMFILE || errno == ENFILE ? first_to_go(h, NULL, NULL, &count) : NULL;
			if (first)
				make_way(first);
			return;
		}
		l = link_new(h, fd, true, NULL);
		if (!l)
			continue;
		first = first_to_go(h, l->from, l, &count);
		if (count <= LINK_STRANGERS_EACH)
			first = first_to_go(h, NULL, l, &count);
		else
			count = LINK_STRANGERS_MAX + 1;
		if (count > LINK_STRANGERS_MAX)
			make_way(first);
	}
}

/* What is wanted of l from elsewhere, and its time to come up. Negative: it ends. */
static int look_after(struct link *l, uint64_t now)
{
	char why[sizeof l->close_why];
	bool close_wanted, waiting;

	pthread_mutex_lock(&l->hub->mu);
	waiting = l->queue || l->hold != l->held;
	l->held = l->hold;
	close_wanted = l->close_wanted;
	memcpy(why, l->close_why, sizeof why);
	pthread_mutex_unlock(&l->hub->mu);
	if (l->hub->paused && l->state >= LINK_UP)
		return refuse(l, WHY_PAUSED);
	if (close_wanted)
		return refuse(l, why[0] ? why : "the peer does not read what we send");
	if (stranger(l) && now - l->since_ns > (l->inbound ? LINK_STRANGER_S : LINK_HANDSHAKE_S) * 1000000000ull) {
		fail(l, "no answer in time");
		return -ETIMEDOUT;
	}
	return waiting && l->state == LINK_UP ? 1 : 0;
}

/* Each wake-up is followed by this, and this by a look at who is to be called. */
static void hear_of_pause(struct link_hub *h)
{
	bool was = h->paused;

	pthread_mutex_lock(&h->mu);
	h->paused = h->pause;
	pthread_mutex_unlock(&h->mu);
	if (was && !h->paused)
		link_call_all(h);
}

/* Every link: those that have something to send, were told to close, took too long. True: somebody has not had enough. */
static bool look_after_all(struct link_hub *h)
{
	uint64_t now = h->o.env->boot_ns(h->o.env);
	struct link *l, *next;
	bool more = false;

	for (l = h->links; l; l = next) {
		int rc = l->state == LINK_CLOSING ? -1 : look_after(l, now);

		if (rc > 0)
			rc = pump(l, 0, &more);
		next = l->next;
		if (rc < 0)
			end(l);
	}
	return more;
}

static bool stopping(struct link_hub *h)
{
	bool yes;

	pthread_mutex_lock(&h->mu);
	yes = h->stopping;
	pthread_mutex_unlock(&h->mu);
	return yes;
}

static void serve(struct link_hub *h, struct epoll_event *e, int n, bool *ret_more)
{
	for (int i = 0; i < n; i++) {
		uint64_t count;
		ssize_t got;

		if (e[i].data.ptr == h) {
			accept_all(h);
		} else if (e[i].data.ptr == &h->wake_fd) {
			got = read(h->wake_fd, &count, sizeof count);
			(void)got;
		} else {
			struct link *l = e[i].data.ptr;

			/* No link is freed before all events of this round are done. */
			if (l->state != LINK_CLOSING && pump(l, e[i].events, ret_more) < 0)
				l->state = LINK_CLOSING;
		}
	}
}

static void *hub_main(void *arg)
{
	struct link_hub *h = arg;
	struct epoll_event events[EVENTS];
	bool more = false, had; /* read ahead and not handed on: poll does not tell of that */

	while (!stopping(h)) {
		int due = link_call_due(h), n;

		if (more)
			due = 0;
		else if (h->strangers && (due < 0 || due > 1000))
			due = 1000;
		n = epoll_wait(h->epoll_fd, events, EVENTS, due);
		had = more;
		more = false;
		serve(h, events, n, &more);
		hear_of_pause(h);
		more |= look_after_all(h);
		if (more || had)
			for (struct link *l = h->links; l; l = l->next)
				if (l->state == LINK_UP && SSL_has_pending(l->ssl) && pump(l, 0, &more) < 0) {
					l->state = LINK_CLOSING;
					more = true; /* it is ended in the next round */
				}
	}
	while (h->links) {
		fail(h->links, "this node stops");
		end(h->links);
	}
	return NULL;
}

/* --- starting and stopping --- */

static int watch_own(struct link_hub *h, int fd, void *what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &e) ? err_set(-errno, "cannot poll: %s", strerror(errno)) : 0;
}

static int open_all(struct link_hub *h)
{
	int rc = link_tls_open(h);

	if (rc)
		return rc;
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll_fd < 0 || h->wake_fd < 0)
		return err_set(-errno, "cannot make what the network's thread polls with: %s", strerror(errno));
	rc = watch_own(h, h->wake_fd, &h->wake_fd);
	if (!rc && h->o.listen) {
		rc = link_listen(h, h->o.listen);
		if (!rc)
			rc = watch_own(h, h->listen_fd, h);
	}
	if (!rc) {
		rc = -pthread_create(&h->thread, NULL, hub_main, h);
		h->started = rc == 0;
	}
	return rc;
}

int link_hub_start(const struct link_options *o, struct link_hub **ret)
{
	struct link_hub *h = calloc(1, sizeof *h);
	int rc;

	if (!h)
		return -ENOMEM;
	h->o = *o;
	h->pause = h->paused = o->paused;
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes by write(2) */
	h->epoll_fd = h->wake_fd = h->listen_fd = -1;
	pthread_mutex_init(&h->mu, NULL);
	pthread_cond_init(&h->idle, NULL);
	rc = open_all(h);
	if (rc) {
		link_hub_stop(h);
		return rc;
	}
	*ret = h;
	return 0;
}

void link_hub_stop(struct link_hub *h)
{
	if (!h)
		return;
	if (h->started) {
		pthread_mutex_lock(&h->mu);
		h->stopping = true;
		pthread_mutex_unlock(&h->mu);
		link_wake(h);
		pthread_join(h->thread, NULL);
	}
	link_call_free_all(h);
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){ h->listen_fd, h->wake_fd, h->epoll_fd }[i];

		if (fd >= 0)
			close(fd);
	}
	link_tls_close(h);
	pthread_cond_destroy(&h->idle);
	pthread_mutex_destroy(&h->mu);
	free(h);
}

void link_hub_pause(struct link_hub *h, bool pause)
{
	pthread_mutex_lock(&h->mu);
	h->pause = pause;
	pthread_mutex_unlock(&h->mu);
	link_wake(h);
}

bool link_hub_paused(struct link_hub *h)
{
	bool yes;

	pthread_mutex_lock(&h->mu);
	yes = h->pause;
	pthread_mutex_unlock(&h->mu);
	return yes;
}

uint16_t link_hub_port(const struct link_hub *h)
{
	return h->port;
}
