/*
 * control_internal.h - the inside of struct control, shared by control.c (the
 * socket), control_stat.c (what it tells) and metrics.c (the same for Prometheus).
 */
#ifndef CLONELOVE_CONTROL_INTERNAL_H
#define CLONELOVE_CONTROL_INTERNAL_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>

#include "control.h"

struct conn;
struct hub;
struct metrics;

struct control {
	struct control_options o; /* strings are borrowed: the mount's configuration outlives the control socket */
	struct timespec started;  /* CLOCK_BOOTTIME */
	struct hub *hub;
	int listen_fd;
	char link[CONTROL_PATH_MAX]; /* "" = none */
	pthread_t thread;
	atomic_bool stopping;
	struct conn **conns; /* the thread's own */
	size_t conn_count;
	struct metrics *metrics;
};

/* A unix socket (0600) that listens at path; its directory is made. */
int control_listen_unix(const char *path, int *ret_fd);

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

/* where: "unix:PATH" or "127.0.0.1:PORT" ("localhost:PORT", "[::1]:PORT"). Anything but loopback is refused. */
/* Its socket, listening. */
int metrics_listen(const char *where, int *ret_fd);
int metrics_start(struct control *c, const char *where, struct metrics **ret);
void metrics_stop(struct metrics *m); /* NULL is fine */

#endif
