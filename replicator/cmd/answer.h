/*
 * answer.h - what a running clonesync tells: on its control socket, and to Prometheus.
 */
#ifndef CLONELOVE_ANSWER_H
#define CLONELOVE_ANSWER_H

#include "ctlsock.h"
#include "host.h"
#include "settings.h"

struct answer;

/* Everything there is to tell, read once. */
struct snapshot {
	struct node_status node; /* error: 0 once nothing is left undone */
	struct host_watching watching;
	bool paused;
	double uptime_s;
	char refused[512];   /* who did not let us come up last, and why; "" = nobody since somebody did */
	char behind[160];    /* why it is not what the cluster has; "" = it is */
	const char *state;   /* the same in a word or two */
};
void answer_snapshot(struct answer *a, struct snapshot *ret);

/* A request of its own file: {"do":"diff","member":WHO}. */
bool answer_diff(struct host *host, struct ctlsock_conn *k, struct json_object *q);

/* All outlive it. Its threads: the control socket's and, where asked for, the metrics'. 0 or an error with a message. */
int answer_start(struct host *host, const struct settings *s, struct answer **ret);
void answer_stop(struct answer *a); /* NULL is fine */

#endif
