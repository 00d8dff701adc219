/*
 * view.h - the cluster as one process last read it, and since when each object is as it is: by this process's CLOCK_BOOTTIME, never by a time that stands
 * in an object. Single-threaded use.
 */
#ifndef CLONELOVE_VIEW_H
#define CLONELOVE_VIEW_H

#include "cluster.h"

struct view_object {
	enum cluster_kind kind; /* CLUSTER_SITE, _MEMBER, _POOL or _REPORT */
	char name[CLUSTER_LABEL_MAX], etag[STORE_ETAG_MAX];
	bool readable;          /* u holds it; else error says why not */
	bool moved;             /* it was seen to change: since_ns is when, and not just when it was first looked at */
	uint64_t since_ns;
	char error[256];
	union { struct cluster_site site; struct cluster_member member; struct cluster_pool pool; struct cluster_report report; } u;
	/* private */
	unsigned round;
};

struct view {
	struct view_object **objects; /* by kind, then by name */
	size_t count;
	/* private */
	unsigned round;
};

void view_free(struct view *v); /* leaves it empty; all zero is an empty view */
/*
 * One listing, and a GET for each object that is new or has changed. 0, and then all of the view is what the store has by now, each object read or with
 * its error; or the store's error, and then some of it may be older.
 */
int view_refresh(struct view *v, const struct cluster *c);
/* NULL: there is none. Valid until the next refresh. */
const struct view_object *view_find(const struct view *v, enum cluster_kind kind, const char *name);
/* Has it been seen to change within so long? */
bool view_is_fresh(const struct view_object *o, uint64_t now_ns, uint64_t within_ms);

#endif
