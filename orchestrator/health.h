/*
 * health.h - checks of members over the network: a TCP connection, or an HTTP(S) answer of 200 to 399, each target by itself every two seconds, from a
 * thread of its own. Three failures in a row are "down", two good ones are "up"; between them it stays what it was, "unknown" at first.
 */
#ifndef CLONELOVE_HEALTH_H
#define CLONELOVE_HEALTH_H

#include "cluster.h"

#define HEALTH_EVERY_MS 2000
#define HEALTH_TIMEOUT_MS 2000

struct health_target {
	char member[CLUSTER_LABEL_MAX], address[DNS_ADDRESS_MAX];
	char host[DNS_NAME_MAX], path[256]; /* HTTP(S): what is asked for; HTTPS: the name of the certificate */
	unsigned port;
	enum cluster_check check;
};

/* What one who looks knows of members: real, or a simulation's. */
struct health {
	/* From here on these are checked, and no others; what is known of a target that is the same as before stays. Copied. 0 or -ENOMEM. */
	int (*watch)(struct health *h, const struct health_target *t, size_t count);
	/* ret_why: sizeof(((struct cluster_sight *)0)->why) bytes, "" where it is up. A member that is not watched is unknown. */
	enum cluster_health (*sees)(struct health *h, const char *member, char *ret_why);
	void (*close)(struct health *h);
};

/* The real one (libcurl). 0 or a negative error with a message. */
int health_open(struct health **ret);
void health_close(struct health *h); /* NULL is fine */

/* For tests: one result more of a target; what is thought of it then. failed: in a row, or good ones as a negative number. */
enum cluster_health health_judge(enum cluster_health before, bool good, int *in_a_row);

#endif
