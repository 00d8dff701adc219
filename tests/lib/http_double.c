/* http_double.c - libmicrohttpd, one thread for each connection, so that a handler may sleep. */
#include "http_double.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct http_double {
	struct MHD_Daemon *daemon;
	http_double_fn *fn;
	void *user;
	unsigned port, connections;
};

struct upload {
	char *body;
	size_t len, cap;
};

struct sending {
	char *body;
	size_t len;
};

static ssize_t send_some(void *user, uint64_t pos, char *buf, size_t max)
{
	struct sending *s = user;
	size_t n;

	if (pos >= s->len)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	n = s->len - pos < max ? s->len - (size_t)pos : max;
	memcpy(buf, s->body + pos, n);
	return (ssize_t)n;
}

static void sent(void *user)
{
	struct sending *s = user;

	free(s->body);
	free(s);
}

/* Announces more than there is, then breaks off. */
static struct MHD_Response *short_response(struct http_double_reply *r)
{
	struct sending *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->body = r->body;
	s->len = r->body_len;
	return MHD_create_response_from_callback(r->announce, 4096, send_some, s, sent);
}

static enum MHD_Result answer(struct MHD_Connection *c, struct http_double_reply *r)
{
	struct MHD_Response *m;
	enum MHD_Result rc;

	if (r->stall_ms)
		nanosleep(&(struct timespec){ r->stall_ms / 1000, (long)(r->stall_ms % 1000) * 1000000 }, NULL);
	if (r->drop) {
		free(r->body);
		return MHD_NO;
	}
	if (r->announce && r->announce != r->body_len)
		m = short_response(r);
	else
		m = MHD_create_response_from_buffer(r->body_len, r->body, r->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	for (size_t i = 0; i < r->header_count; i++)
		MHD_add_response_header(m, r->headers[i][0], r->headers[i][1]);
	rc = MHD_queue_response(c, r->status, m);
	MHD_destroy_response(m);
	return rc;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
			      const char *data, size_t *size, void **state)
{
	struct http_double *d = cls;
	struct upload *u = *state;
	struct http_double_request r = { .method = method, .url = url, .connection = c };
	struct http_double_reply reply = { .status = 200 };

	(void)version;
	if (!u) {
		*state = calloc(1, sizeof(*u));
		return *state ? MHD_YES : MHD_NO;
	}
	if (*size) {
		if (u->len + *size >= u->cap) {
			u->cap = 2 * (u->len + *size) + 1;
			u->body = realloc(u->body, u->cap);
			if (!u->body)
				abort();
		}
		memcpy(u->body + u->len, data, *size);
		u->len += *size;
		u->body[u->len] = '\0';
		*size = 0;
		return MHD_YES;
	}
	r.body = u->body ? u->body : "";
	r.body_len = u->len;
	d->fn(d->user, &r, &reply);
	return answer(c, &reply);
}

static void over(void *cls, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
	struct upload *u = *state;

	(void)cls;
	(void)c;
	(void)code;
	if (u)
		free(u->body);
	free(u);
	*state = NULL;
}

static void connected(void *cls, struct MHD_Connection *c, void **state, enum MHD_ConnectionNotificationCode code)
{
	struct http_double *d = cls;

	(void)c;
	(void)state;
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		__atomic_add_fetch(&d->connections, 1, __ATOMIC_RELAXED);
}

/* Paths are compared as they are sent. */
static size_t keep_escapes(void *cls, struct MHD_Connection *c, char *s)
{
	(void)cls;
	(void)c;
	return strlen(s);
}

static void quiet(void *cls, const char *fmt, va_list ap)
{
	(void)cls;
	(void)fmt;
	(void)ap;
}

struct http_double *http_double_start(http_double_fn *fn, void *user)
{
	struct http_double *d = calloc(1, sizeof(*d));
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const union MHD_DaemonInfo *info;

	if (!d)
		abort();
	d->fn = fn;
	d->user = user;
	d->daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG |
				     MHD_USE_SUPPRESS_DATE_NO_CLOCK, 0, NULL,
				     NULL, handle, d, MHD_OPTION_EXTERNAL_LOGGER, quiet, NULL, MHD_OPTION_SOCK_ADDR, &any,
				     MHD_OPTION_NOTIFY_COMPLETED, over, d, MHD_OPTION_NOTIFY_CONNECTION, connected, d,
				     MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT, 1000u,
				     MHD_OPTION_END);
	info = d->daemon ? MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!info) {
		fprintf(stderr, "cannot start the HTTP double\n");
		abort();
	}
	d->port = info->port;
	return d;
}

void http_double_stop(struct http_double *d)
{
	if (!d)
		return;
	MHD_stop_daemon(d->daemon);
	free(d);
}

unsigned http_double_port(const struct http_double *d)
{
	return d->port;
}

unsigned http_double_connections(const struct http_double *d)
{
	return __atomic_load_n(&d->connections, __ATOMIC_RELAXED);
}

const char *http_double_header(const struct http_double_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *http_double_argument(const struct http_double_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

void http_double_set_header(struct http_double_reply *reply, const char *name, const char *value)
{
	if (reply->header_count == sizeof(reply->headers) / sizeof(reply->headers[0]))
		abort();
	snprintf(reply->headers[reply->header_count][0], sizeof(reply->headers[0][0]), "%s", name);
	snprintf(reply->headers[reply->header_count++][1], sizeof(reply->headers[0][1]), "%s", value);
}

void http_double_set_body(struct http_double_reply *reply, const char *text)
{
	free(reply->body);
	reply->body = strdup(text);
	reply->body_len = strlen(text);
	if (!reply->body)
		abort();
}
