/*
 * lead.h - leadership by lease (DESIGN.md, "Leadership"): who may decide, in which epoch.
 *
 * Times are CLOCK_BOOTTIME in ns, from the cluster's env.
 */
#ifndef CLONELOVE_LEAD_H
#define CLONELOVE_LEAD_H

#include "cluster.h"

struct lead;

/* holder: a label, for people. -ENOMEM, or the errno of a mutex. */
int lead_new(const struct cluster *c, const char *holder, struct lead **ret);
void lead_free(struct lead *l); /* NULL is fine. Nothing is written */

/*
 * One look: gives a beat, or claims where nobody leads any more. lease_ms: of leases claimed or renewed from here on. Returns when it wants to be called
 * again; later costs time or the leadership, never more. One thread; blocks for the store. Store errors are in lead_info, and are tried again.
 */
uint64_t lead_step(struct lead *l, uint64_t lease_ms);
/* Gives the lease back, so that another needs not wait for it; the caller has stopped deciding. The stepping thread, or when there is none any more. */
void lead_release(struct lead *l);

/* May this process decide, now? Any thread; cheap. */
bool lead_holds(struct lead *l, uint64_t *ret_epoch);

struct lead_info {
	bool holds;
	uint64_t epoch;                 /* the last one seen, whoever's; 0: none yet */
	char holder[CLUSTER_LABEL_MAX]; /* whose it is; "" */
	char error[256];                /* why the last look failed; "": it did not */
};
void lead_info(struct lead *l, struct lead_info *ret); /* any thread */

#endif
