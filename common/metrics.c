/*
 * metrics.c - Prometheus' text format, and the little server for it. It keeps
 * nothing but its socket.
 */
#include "metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctlsock.h"
#include "err.h"

struct metrics {
	struct metrics_options o;
	struct MHD_Daemon *daemon;
	char *socket_path; /* to remove; NULL for a port */
};

void metrics_put(struct metrics_text *t, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_bytes(&t->b, line, n < 0 ? 0 : (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

void metrics_head(struct metrics_text *t, const char *name, const char *type, const char *help)
{
	metrics_put(t, "# HELP %s_%s %s\n# TYPE %s_%s %s\n", t->prefix, name, help, t->prefix, name, type);
}

void metrics_gauge(struct metrics_text *t, const char *name, const char *help, double x)
{
	metrics_head(t, name, "gauge", help);
	metrics_put(t, "%s_%s %.17g\n", t->prefix, name, x);
}

void metrics_counter(struct metrics_text *t, const char *name, const char *help, uint64_t x)
{
	metrics_head(t, name, "counter", help);
	metrics_put(t, "%s_%s %" PRIu64 "\n", t->prefix, name, x);
}

void metrics_label(struct metrics_text *t, const char *name, const char *value)
{
	metrics_put(t, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			metrics_put(t, "\\%c", *value);
		else if (*value == '\n')
			metrics_put(t, "\\n");
		else
			metrics_put(t, "%c", *value);
	}
	metrics_put(t, "\"");
}

static enum MHD_Result answer(struct MHD_Connection *conn, unsigned status, const char *type, void *text, size_t len)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	ok = MHD_queue_response(conn, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result handle(void *user, struct MHD_Connection *conn, const char *url, const char *method,
			      const char *version CL_UNUSED, const char *data CL_UNUSED, size_t *size CL_UNUSED, void **state CL_UNUSED)
{
	static char nothing[] = "The metrics are at /metrics.\n";
	struct metrics *m = user;
	struct metrics_text t = { BUF_INIT, m->o.prefix };
	enum MHD_Result ok;

	if ((strcmp(method, "GET") && strcmp(method, "HEAD")) || strcmp(url, "/metrics"))
		return answer(conn, MHD_HTTP_NOT_FOUND, "text/plain", nothing, strlen(nothing));
	m->o.render(m->o.user, &t);
	ok = t.b.err ? MHD_NO : answer(conn, MHD_HTTP_OK, "text/plain; version=0.0.4", t.b.data, t.b.len);
	buf_free(&t.b);
	return ok;
}

/* Metrics name nodes and addresses: they are for this machine, and what collects them beyond it brings its own authentication. */
static int listen_loopback(const char *where, int *ret_fd)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const char *colon = strrchr(where, ':');
	bool six = strncmp(where, "[::1]:", 6) == 0;
	int fd, rc, one = 1;
	unsigned long port;
	char *end;

	port = colon ? strtoul(colon + 1, &end, 10) : 0;
	if (!colon || !colon[1] || *end || port > 65535 ||
	    (!six && strncmp(where, "127.0.0.1:", 10) && strncmp(where, "localhost:", 10)))
		return err_set(ERR_CONFIG, "metrics=%s: not unix:/PATH, 127.0.0.1:PORT or [::1]:PORT (only loopback is served)", where);
	fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(-errno, "metrics=%s: %s", where, strerror(errno));
	a4.sin_port = a6.sin6_port = htons((uint16_t)port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, six ? (void *)&a6 : (void *)&a4, six ? sizeof(a6) : sizeof(a4)) || listen(fd, 16)) {
		rc = err_set(-errno, "metrics=%s: %s; choose another port", where, strerror(errno));
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int metrics_listen(const char *where, int *ret_fd)
{
	return strncmp(where, "unix:", 5) == 0 ? ctlsock_listen(where + 5, ret_fd) : listen_loopback(where, ret_fd);
}

int metrics_check(const char *where)
{
	int fd, rc;

	if (strncmp(where, "unix:", 5) == 0)
		return where[5] == '/' ? 0 : err_set(ERR_CONFIG, "metrics=%s: the path of a socket begins with a /", where);
	rc = listen_loopback(where, &fd);
	if (!rc)
		close(fd);
	return rc;
}

int metrics_start(const struct metrics_options *o, struct metrics **ret)
{
	struct metrics *m = calloc(1, sizeof(*m));
	const char *where = o->where;
	bool is_unix = strncmp(where, "unix:", 5) == 0;
	int fd = -1, rc;

	if (!m)
		return -ENOMEM;
	m->o = *o;
	rc = metrics_listen(where, &fd);
	if (!rc && is_unix && !(m->socket_path = strdup(where + 5)))
		rc = -ENOMEM;
	if (!rc) {
		m->daemon = MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD, 0, NULL, NULL, handle, m, MHD_OPTION_LISTEN_SOCKET, fd,
					     MHD_OPTION_CONNECTION_LIMIT, 16u, MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_END);
		if (!m->daemon)
			rc = err_set(-EIO, "metrics=%s: the metrics server did not start (%s)", where, strerror(errno));
	}
	if (rc) {
		if (fd >= 0)
			close(fd);
		metrics_stop(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void metrics_stop(struct metrics *m)
{
	if (!m)
		return;
	if (m->daemon)
		MHD_stop_daemon(m->daemon); /* closes the socket */
	if (m->socket_path)
		unlink(m->socket_path);
	free(m->socket_path);
	free(m);
}
