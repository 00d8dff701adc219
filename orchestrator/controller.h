/*
 * controller.h - a controller's rounds (DESIGN.md, "A round of the controller"): look, report, and where it leads decide.
 *
 * Everything it touches is given to it: store, clock and randomness (cluster), the lease, the checks, the DNS drivers. Single-threaded but for the lease,
 * which another thread may step meanwhile. A round blocks for the store and the DNS.
 */
#ifndef CLONELOVE_CONTROLLER_H
#define CLONELOVE_CONTROLLER_H

#include "cluster.h"
#include "dns.h"
#include "health.h"
#include "lead.h"

#define CONTROLLER_EVERY_MS 2000
#define CONTROLLER_DNS_MS 3000

struct controller;

struct controller_options {
	const struct cluster *cluster;
	struct lead *lead;
	struct health *health;
	const char *name; /* a label: its report's, and the lease's holder */
	const char *host; /* the member on whose machine it runs; "" */
	/* The driver of a section; NULL with a message where there is none. */
	struct dns *(*dns)(void *user, const char *section);
	void *user;
};

/* All of it borrowed until controller_free. 0 or -ENOMEM. */
int controller_new(const struct controller_options *o, struct controller **ret);
void controller_free(struct controller *c); /* NULL is fine */
/* One round. 0, or why nothing could be looked at (with a message): the store. lease_ms as `site` has it is left in *ret_lease_ms. */
int controller_round(struct controller *c, uint64_t *ret_lease_ms);

#endif
