/*
 * link_call.c - addresses: listening on one, calling others again and again.
 *
 * Names are looked up on a thread of their own for each try (a name service may take its time, and nobody waits for it); the socket then connects
 * without blocking, on the hub's thread. A try that does not get a link up is followed by a pause, twice as long each time, from half of it to all of it at random.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "link_impl.h"

#define PAUSE_MIN_NS 200000000ull
#define PAUSE_MAX_NS (LINK_RETRY_MAX_S * 1000000000ull)
#define USER_TIMEOUT_MS 20000

int link_address_split(const char *address, char *host, size_t host_cap, char *port, size_t port_cap)
{
	const char *colon = strrchr(address, ':'), *start = address, *end = colon;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) >= port_cap)
		return ERR_CONFIG;
	if (*address == '[') {
		start++;
		if (colon == address || colon[-1] != ']')
			return ERR_CONFIG;
		end = colon - 1;
	} else if (memchr(address, ':', (size_t)(colon - address))) {
		return ERR_CONFIG; /* an IPv6 address without brackets */
	}
	if (end < start || (size_t)(end - start) >= host_cap || strtoul(colon + 1, NULL, 10) > 65535)
		return ERR_CONFIG;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	strcpy(port, colon + 1);
	return 0;
}

void link_tune(int fd)
{
	int one = 1, timeout = USER_TIMEOUT_MS, idle = 5;

	/* Failing to tune costs latency, not correctness. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

static int listen_on(const struct addrinfo *a, uint16_t *ret_port)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	int one = 1, rc, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) || bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 128) ||
	    getsockname(fd, (struct sockaddr *)&ss, &len)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret_port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
	return fd;
}

/* A descriptor that listens, or an error with a message. */
static int open_listener(const char *address, uint16_t *ret_port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
	char host[LINK_ADDRESS_MAX], port[8];
	int rc = link_address_split(address, host, sizeof host, port, sizeof port);

	if (rc)
		return err_set(rc, "%s is no address to listen on: HOST:PORT, [IPV6]:PORT or :PORT", address);
	rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &list);
	if (rc)
		return err_set(rc == EAI_AGAIN ? -EAGAIN : ERR_CONFIG, "cannot look up %s: %s", address, gai_strerror(rc));
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		rc = listen_on(a, ret_port);
		if (rc >= 0)
			break;
	}
	freeaddrinfo(list);
	if (rc < 0)
		return err_set(rc, "cannot listen on %s: %s%s", address, strerror(-rc), rc == -EADDRINUSE ? "; end what listens there, or choose another port" : "");
	return rc;
}

int link_listen(struct link_hub *h, const char *address)
{
	int fd = open_listener(address, &h->port);

	if (fd < 0)
		return fd;
	h->listen_fd = fd;
	return 0;
}

int link_check_listen(const char *address)
{
	uint16_t port;
	int fd = open_listener(address, &port);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int link_check_call(const char *address)
{
	char host[LINK_ADDRESS_MAX], port[8];

	if (strlen(address) < LINK_ADDRESS_MAX && link_address_split(address, host, sizeof host, port, sizeof port) == 0)
		return 0;
	return err_set(ERR_CONFIG, "%s is no address of a peer: HOST:PORT or [IPV6]:PORT", address);
}

/* --- calling --- */

/* The turn-th of the addresses, round and round. */
static int connect_turn(const struct addrinfo *list, unsigned turn)
{
	unsigned count = 0;
	int fd;

	for (const struct addrinfo *a = list; a; a = a->ai_next)
		count++;
	turn = count ? turn % count : 0;
	while (turn-- > 0)
		list = list->ai_next;
	fd = list ? socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static void plan_next(struct call *c, struct env *env)
{
	uint64_t rnd;

	c->pause_ns = c->pause_ns < PAUSE_MIN_NS ? PAUSE_MIN_NS : c->pause_ns * 2 > PAUSE_MAX_NS ? PAUSE_MAX_NS : c->pause_ns * 2;
	env->random(env, &rnd, sizeof rnd);
	c->at_ns = env->boot_ns(env) + c->pause_ns / 2 + rnd % (c->pause_ns / 2 + 1);
	c->turn++;
}

/* flags: AI_NUMERICHOST asks no name service. */
static int look_up(const char *address, int flags, struct addrinfo **ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags };
	char host[LINK_ADDRESS_MAX], port[8];

	if (link_address_split(address, host, sizeof host, port, sizeof port))
		return EAI_NONAME;
	return getaddrinfo(host[0] ? host : "127.0.0.1", port, &hints, ret);
}

/* On a thread of its own. The call stays: sweep leaves it while it is looking. */
static void *look_up_main(void *arg)
{
	struct call *c = arg;
	struct link_hub *h = c->hub;
	struct addrinfo *list = NULL;

	(void)look_up(c->address, 0, &list);
	pthread_mutex_lock(&h->mu);
	c->found = list;
	c->looked = true;
	h->lookups--;
	pthread_cond_broadcast(&h->idle);
	link_wake(h);
	pthread_mutex_unlock(&h->mu);
	return NULL;
}

static int start_look_up(struct link_hub *h, struct call *c)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int rc;

	pthread_mutex_lock(&h->mu);
	h->lookups++;
	pthread_mutex_unlock(&h->mu);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &attr, look_up_main, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (rc) {
		pthread_mutex_lock(&h->mu);
		h->lookups--;
		pthread_mutex_unlock(&h->mu);
	}
	c->looking = rc == 0;
	return -rc;
}

static void connect_to(struct link_hub *h, struct call *c, struct addrinfo *list)
{
	int fd = list ? connect_turn(list, c->turn) : -1;

	if (list)
		freeaddrinfo(list);
	if (fd < 0 || !link_new(h, fd, false, c))
		plan_next(c, h->o.env);
}

static void call_now(struct link_hub *h, struct call *c)
{
	struct addrinfo *list = NULL;

	if (c->node_known && link_up_to(h, c->node)) { /* it called us */
		plan_next(c, h->o.env);
		return;
	}
	if (look_up(c->address, AI_NUMERICHOST, &list) == 0)
		connect_to(h, c, list);
	else if (start_look_up(h, c))
		plan_next(c, h->o.env);
}

/* Takes out of the list what was dropped and that nothing uses any more. mu held. */
static void sweep(struct link_hub *h)
{
	struct call **at = &h->calls, *c;

	while ((c = *at)) {
		if (c->dropped && !c->link && !c->looking) {
			*at = c->next;
			free(c);
		} else {
			at = &c->next;
		}
	}
}

/* One call's turn. Returns the boot time at which it wants to be looked at again. */
static uint64_t attend(struct link_hub *h, struct call *c, uint64_t now)
{
	struct addrinfo *list;
	bool dropped, looked;

	pthread_mutex_lock(&h->mu);
	dropped = c->dropped;
	looked = c->looked;
	list = c->found;
	c->looked = false;
	c->found = NULL;
	pthread_mutex_unlock(&h->mu);
	if (looked) {
		c->looking = false;
		if (!dropped)
			connect_to(h, c, list);
		else if (list)
			freeaddrinfo(list);
	} else if (!dropped && !c->link && !c->looking && c->at_ns <= now) {
		call_now(h, c);
	}
	return dropped || c->link || c->looking ? UINT64_MAX : c->at_ns;
}

int link_call_due(struct link_hub *h)
{
	uint64_t now = h->o.env->boot_ns(h->o.env), next = UINT64_MAX;
	struct call *c;

	pthread_mutex_lock(&h->mu);
	sweep(h);
	c = h->calls;
	pthread_mutex_unlock(&h->mu);
	/* New ones come to the front, and only this thread takes any out: the rest of the list stands. */
	for (; c && !h->paused; c = c->next) {
		uint64_t at = attend(h, c, now);

		if (at < next)
			next = at;
	}
	if (next == UINT64_MAX)
		return -1;
	now = h->o.env->boot_ns(h->o.env);
	return next <= now ? 0 : (int)((next - now) / 1000000) + 1;
}

void link_call_all(struct link_hub *h)
{
	struct call *c;

	pthread_mutex_lock(&h->mu);
	c = h->calls;
	pthread_mutex_unlock(&h->mu);
	for (; c; c = c->next) /* as link_call_due goes through it */
		c->at_ns = c->pause_ns = 0;
}

void link_call_free_all(struct link_hub *h)
{
	struct call *c;

	pthread_mutex_lock(&h->mu);
	while (h->lookups)
		pthread_cond_wait(&h->idle, &h->mu);
	while ((c = h->calls)) {
		h->calls = c->next;
		if (c->found)
			freeaddrinfo(c->found);
		free(c);
	}
	pthread_mutex_unlock(&h->mu);
}

void link_call_ended(struct link *l)
{
	struct call *c = l->call;

	if (!c)
		return;
	c->link = NULL;
	if (l->told_up)
		c->pause_ns = 0; /* it was there: back soon */
	plan_next(c, l->hub->o.env);
	l->call = NULL;
}

static struct call *find(struct link_hub *h, const char *address)
{
	struct call *c;

	for (c = h->calls; c && (c->dropped || strcmp(c->address, address)); c = c->next)
		;
	return c;
}

int link_hub_call(struct link_hub *h, const char *address)
{
	struct call *c;
	int rc = link_check_call(address);

	if (rc)
		return rc;
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	strcpy(c->address, address);
	c->hub = h;
	pthread_mutex_lock(&h->mu);
	if (find(h, address)) {
		free(c);
	} else {
		c->next = h->calls;
		h->calls = c;
	}
	pthread_mutex_unlock(&h->mu);
	link_wake(h);
	return 0;
}

void link_hub_call_no_more(struct link_hub *h, const char *address)
{
	struct call *c;

	pthread_mutex_lock(&h->mu);
	c = find(h, address);
	if (c)
		c->dropped = true;
	pthread_mutex_unlock(&h->mu);
	link_wake(h);
}
