/*
 * http_double.h - an HTTP server on loopback for tests, whose answers are a function. It can also misbehave: close without
 * an answer, stall, send less than it announced.
 */
#ifndef CLONELOVE_HTTP_DOUBLE_H
#define CLONELOVE_HTTP_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_double;

struct http_double_request {
	const char *method;
	const char *url;   /* path, decoded by nobody */
	const char *body;  /* with a NUL behind it */
	size_t body_len;
	/* private */
	void *connection;
};

struct http_double_reply {
	unsigned status;          /* 200 to begin with */
	char headers[10][2][160];
	size_t header_count;
	char *body;               /* malloc'd, taken over; NULL = empty */
	size_t body_len;
	uint64_t announce;        /* Content-Length, where it differs from body_len: less or more is sent than said; 0 = the same */
	unsigned stall_ms;        /* waits before it answers */
	bool drop;                /* closes the connection without an answer */
};

/* Runs on a thread of the connection's own; several at once. */
typedef void http_double_fn(void *user, const struct http_double_request *r, struct http_double_reply *ret);

struct http_double *http_double_start(http_double_fn *fn, void *user);
void http_double_stop(struct http_double *d);
unsigned http_double_port(const struct http_double *d);
unsigned http_double_connections(const struct http_double *d); /* accepted so far */

/* NULL: not there. */
const char *http_double_header(const struct http_double_request *r, const char *name);
const char *http_double_argument(const struct http_double_request *r, const char *name);
void http_double_set_header(struct http_double_reply *reply, const char *name, const char *value);
/* Sets a copy of a string as body. */
void http_double_set_body(struct http_double_reply *reply, const char *text);

#endif
