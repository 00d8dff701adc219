/*
 * metrics.h - gauges and counters in Prometheus' text format, served on a unix
 * socket or a loopback port by libmicrohttpd, on a thread of its own.
 *
 * GET /metrics; anything else is 404. What is served is read when it is asked for, so it must never wait.
 */
#ifndef CLONELOVE_METRICS_H
#define CLONELOVE_METRICS_H

#include "buf.h"
#include "compiler.h"

struct metrics;

struct metrics_text {
	struct buf b;
	const char *prefix; /* of each name, "_" is put between */
};

void metrics_put(struct metrics_text *t, const char *fmt, ...) CL_PRINTF(2, 3);
void metrics_head(struct metrics_text *t, const char *name, const char *type, const char *help);
void metrics_gauge(struct metrics_text *t, const char *name, const char *help, double x);
void metrics_counter(struct metrics_text *t, const char *name, const char *help, uint64_t x);
/* name="value", escaped. */
void metrics_label(struct metrics_text *t, const char *name, const char *value);

struct metrics_options {
	const char *where;  /* "unix:PATH" or "127.0.0.1:PORT" ("localhost:PORT", "[::1]:PORT"). Anything but loopback is refused */
	const char *prefix; /* borrowed */
	void (*render)(void *user, struct metrics_text *t); /* on its thread */
	void *user;
};

/* Its socket, listening; ERR_CONFIG or -errno with a message. */
int metrics_listen(const char *where, int *ret_fd);
/* Could it listen there? As metrics_listen, and nothing is left: what is at the path of a unix socket is not touched. */
int metrics_check(const char *where);
int metrics_start(const struct metrics_options *o, struct metrics **ret);
void metrics_stop(struct metrics *m); /* NULL is fine */

#endif
