/* controller_impl.h - what the parts of a controller share. Not for use outside orchestrator/controller*.c. */
#ifndef CLONELOVE_CONTROLLER_IMPL_H
#define CLONELOVE_CONTROLLER_IMPL_H

#include "compiler.h"
#include "controller.h"
#include "poolplan.h"
#include "view.h"

#define CONTROLLER_DRAIN_MS 5000 /* beyond the TTL */
#define CONTROLLER_RETRY_MAX_MS 60000

/* What this leader knows of a pool; from nothing in each epoch. */
struct controller_pool {
	char name[CLUSTER_LABEL_MAX];
	char token[DNS_TOKEN_MAX];     /* the last one that it saw confirmed; "" = the name is to be settled */
	struct dns_answers answers;    /* as read in this round */
	bool read, settled;            /* in this round */
	unsigned failures;
	uint64_t retry_ns;
};

/* Since when a member is out of all that it could be in; 0: it is not, or that is not known. */
struct controller_out { char name[CLUSTER_LABEL_MAX]; uint64_t since_ns; };

struct controller {
	struct controller_options o;
	struct view view;
	struct cluster_site site;
	uint64_t epoch;                /* in which it leads; what follows is of it */
	uint64_t serial;
	struct controller_pool *pools;
	size_t pool_count;
	struct controller_out *outs;
	size_t out_count;

	struct cluster_view said, next; /* view: as last written; as this round makes it */
	bool have_said;

	struct cluster_report report;  /* our own */
	struct cluster_version report_version;
	char process[CLUSTER_ID_MAX];
	uint64_t report_ns;            /* when it was last put */
};

uint64_t controller_now(const struct controller *c);
void controller_problem(struct controller *c, const char *on, const char *fmt, ...) CL_PRINTF(3, 4);
/* Does this process lead, in the epoch that the round began in? */
bool controller_leads(struct controller *c);

/*
 * A decision is written before what it tells of is done, then its end. begin: 0, and then we still lead; ERR_FENCED, or the store's error: do nothing.
 * end: rc is what came of it.
 */
int controller_begin(struct controller *c, const char *what, const char *on, const char *why, struct cluster_decision *ret, struct cluster_version *ret_v);
void controller_end(struct controller *c, struct cluster_decision *d, struct cluster_version *v, int rc);

/* The parts of a round. */
int controller_report(struct controller *c);  /* puts our own where it is due */
int controller_watch(struct controller *c);   /* says whom to check */
int controller_pools(struct controller *c);
int controller_members(struct controller *c); /* behind the pools */
int controller_say(struct controller *c);     /* writes `view` where it differs */

/* The pool that a role's members are checked as; NULL: none. */
const struct cluster_pool *controller_check_of(const struct view *v, const char *role);

#endif
