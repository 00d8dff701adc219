/*
 * dns.h - the answers that a name has, as a table of functions, so that a pool does not know who serves it: store (an object beside the cluster's own),
 * and whatever else a row of dns.c names.
 *
 * A name's answers are a set of addresses and a *token*, a short text that never repeats. Both change in one step, and only from the token that whoever
 * asks for it has seen: a compare-and-swap. That is all that keeps a request harmless which arrives late, twice or not at all (DESIGN.md, "Late
 * effects"). Where a service cannot do it in one step, its driver says so (`exact`).
 *
 * Threads: one at a time per driver; calls block, but never for longer than their deadline. A driver keeps nothing that it could not lose.
 */
#ifndef CLONELOVE_DNS_H
#define CLONELOVE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "env.h"
#include "store.h"

#define DNS_NAME_MAX 254    /* with its NUL; without the dot at its end */
#define DNS_ADDRESS_MAX 46  /* an IPv4 or IPv6 literal in inet_ntop's form, with its NUL */
#define DNS_TOKEN_MAX 64    /* of [A-Za-z0-9._-], with its NUL; "" = the name has none yet */
#define DNS_ANSWERS_MAX 1000

struct dns_answers {
	char token[DNS_TOKEN_MAX];
	char (*addresses)[DNS_ADDRESS_MAX]; /* malloc'd; sorted by strcmp, none twice */
	size_t count;
};

struct dns_change {
	const char *name;                 /* fully qualified, lower case */
	const struct dns_answers *from;   /* as read() gave them: the token (or that there is none) must be this one still */
	const struct dns_answers *to;     /* count >= 1; its token is new */
	uint32_t ttl_s;
};

struct dns {
	const char *kind;  /* "store" */
	const char *where; /* for messages; never a secret */
	bool exact;        /* a swap is one step at the service, and a late one changes nothing */

	/* What the service itself holds (no resolver in between). A name that is not there: 0, no token, no addresses. Else a negative error with a message;
	 * answers that cannot be what a pool has (too many, no address) are ERR_CORRUPT. On 0 the caller frees with dns_answers_free. */
	int (*read)(struct dns *d, const char *name, uint32_t deadline_ms, struct dns_answers *ret);
	/*
	 * 0: done, and durable there. ERR_PRECONDITION: the token is another; nothing was changed by this call. ERR_UNAVAILABLE: not known; it may
	 * take effect, now or later. Others, with a message: nothing was changed, and trying the same again would not help (ERR_AUTH, ERR_CONFIG, ...).
	 */
	int (*swap)(struct dns *d, const struct dns_change *c, uint32_t deadline_ms);
	void (*close)(struct dns *d);
};

struct dns_context { /* what drivers are given; outlives them */
	struct store *store; /* the cluster's */
	struct env *env;
};

/*
 * Opens the driver that a section [dns NAME] of clonectl.conf asks for by its `driver`; the driver takes its other settings from the section
 * (conf_take), and what nobody took is an error. Nothing is sent. 0, or ERR_CONFIG and others with a message that names file and line.
 */
int dns_open(const struct dns_context *x, struct conf_section *s, struct dns **ret);
void dns_close(struct dns *d); /* NULL is fine */
/* As swap() of the table, behind a look at what is to be written: at least one address, in order, a new token; else -EINVAL, and nothing is sent. */
int dns_swap(struct dns *d, const struct dns_change *c, uint32_t deadline_ms);

void dns_answers_free(struct dns_answers *a); /* frees the addresses, and leaves none */
bool dns_is_address(const char *text);        /* in inet_ntop's form */
bool dns_is_name(const char *text);           /* a host name: labels of [a-z0-9_-], no dot at its end */
bool dns_is_token(const char *text);          /* "" is not */

/* A driver is a function of this kind, and a row in dns.c. */
typedef int dns_driver_open(const struct dns_context *x, struct conf_section *s, struct dns **ret);
dns_driver_open dns_store_open;

#endif
