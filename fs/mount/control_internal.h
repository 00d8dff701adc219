/*
 * control_internal.h - the inside of struct control, shared by control.c (the
 * socket), control_stat.c (what it tells) and control_metrics.c (the same for Prometheus).
 */
#ifndef CLONELOVE_CONTROL_INTERNAL_H
#define CLONELOVE_CONTROL_INTERNAL_H

#include <json-c/json.h>
#include <time.h>

#include "control.h"
#include "ctlsock.h"
#include "metrics.h"

struct control {
	struct control_options o; /* strings are borrowed: the mount's configuration outlives the control socket */
	struct timespec started;  /* CLOCK_BOOTTIME */
	struct ctlsock *socket;
	char link[CONTROL_PATH_MAX]; /* "" = none */
	struct metrics *metrics;
};

/* Everything there is to tell, read once. */
struct control_snapshot {
	struct volume_status v;
	struct store_counters s;
	double uptime_s;
};
void control_snapshot(struct control *c, struct control_snapshot *ret);
const char *control_op_name(enum store_op op);
const char *control_state_name(enum volume_state s);
/* The reply to "stat"; the caller owns it. NULL = no memory. */
struct json_object *control_stat_json(struct control *c);

/* The same for Prometheus; user: the struct control. */
void control_metrics(void *user, struct metrics_text *t);

#endif
