/*
 * metrics.c - the gauges and counters of a mount in Prometheus' text format,
 * served by libmicrohttpd (a thread of its own) on a unix socket or a loopback
 * port. GET /metrics; anything else is 404.
 *
 * It reads the same snapshot as the control socket, keeps nothing, and never
 * waits for the store, so that it answers during an outage too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "control_internal.h"
#include "err.h"

struct metrics {
	struct control *c;
	struct MHD_Daemon *daemon;
	char *socket_path; /* to remove; NULL for a port */
};

static void CL_PRINTF(2, 3) put(struct buf *b, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_bytes(b, line, n < 0 ? 0 : (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	put(b, "# HELP clonefs_%s %s\n# TYPE clonefs_%s %s\n", name, help, name, type);
}

static void gauge(struct buf *b, const char *name, const char *help, double x)
{
	head(b, name, "gauge", help);
	put(b, "clonefs_%s %.17g\n", name, x);
}

static void counter(struct buf *b, const char *name, const char *help, uint64_t x)
{
	head(b, name, "counter", help);
	put(b, "clonefs_%s %" PRIu64 "\n", name, x);
}

/* A label value: backslash, quote and newline are escaped. */
static void put_label(struct buf *b, const char *name, const char *value)
{
	put(b, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			put(b, "\\%c", *value);
		else if (*value == '\n')
			put(b, "\\n");
		else
			put(b, "%c", *value);
	}
	put(b, "\"");
}

static void put_info(struct buf *b, struct control *c, const struct volume_status *v)
{
	head(b, "info", "gauge", "What is mounted where, by which node.");
	put(b, "clonefs_info{");
	put_label(b, "address", c->o.address);
	put(b, ",");
	put_label(b, "mountpoint", c->o.mountpoint);
	put(b, ",");
	put_label(b, "node", v->node);
	put(b, "} 1\n");
	head(b, "state", "gauge", "1 for the state the volume is in.");
	for (int s = VOLUME_SERVING; s <= VOLUME_SERVING_RO; s++)
		put(b, "clonefs_state{state=\"%s\"} %d\n", control_state_name((enum volume_state)s), (int)v->state == s);
}

static void put_volume(struct buf *b, const struct control_snapshot *s)
{
	const struct volume_status *v = &s->v;

	gauge(b, "uptime_seconds", "Seconds since the mount began.", s->uptime_s);
	gauge(b, "epoch", "The writer's epoch.", (double)v->epoch);
	gauge(b, "lag_seconds", "Age of the oldest change that the store has not got.", (double)v->lag_ns / 1e9);
	gauge(b, "lag_bytes", "Bytes that the store has not got.", (double)v->lag_bytes);
	gauge(b, "lease_age_seconds", "Seconds since the store last confirmed this writer.", (double)v->lease_age_ns / 1e9);
	gauge(b, "parked_requests", "Requests that wait for space, lag or the store.", (double)v->parked);
	gauge(b, "cache_used_bytes", "Disk space of the cache directory in use.", (double)v->cache_used_bytes);
	gauge(b, "cache_budget_bytes", "Hard limit of the cache directory.", (double)v->cache_budget_bytes);
	gauge(b, "inodes", "Inodes of the volume.", (double)v->inodes);
	gauge(b, "data_bytes", "Bytes that files refer to.", (double)v->data_bytes);
	gauge(b, "segments", "Segments of the volume.", (double)v->segments);
	gauge(b, "segment_bytes", "Bytes of all segments' objects.", (double)v->segment_bytes);
	gauge(b, "lost_operations", "Operations that this node's log had and the volume has not, as found at the mount.", (double)v->lost_operations);
	gauge(b, "trouble", "1 while there is an error that clonefs stat tells.", v->error[0] != '\0');
	counter(b, "lsn_total", "Last log sequence number given out.", v->lsn);
	counter(b, "lsn_local_total", "Last log sequence number durable on the local disk.", v->lsn_local);
	counter(b, "lsn_store_total", "Last log sequence number that the store has.", v->lsn_store);
	counter(b, "cache_hits_total", "Reads served from the cache.", v->cache_hits);
	counter(b, "cache_misses_total", "Reads that had to fetch.", v->cache_misses);
	counter(b, "objects_put_total", "Log objects sent.", v->objects_put);
	counter(b, "object_bytes_put_total", "Bytes of log objects sent.", v->object_bytes_put);
	counter(b, "written_bytes_total", "Bytes written by users of the file system.", v->written_bytes);
	counter(b, "elided_bytes_total", "Bytes written and not sent, because they were overwritten or deleted first.", v->elided_bytes);
	counter(b, "checkpoints_total", "Checkpoints made.", v->checkpoints);
}

static void put_per_op(struct buf *b, const char *name, const char *help, const uint64_t *x)
{
	head(b, name, "counter", help);
	for (int op = 0; op < STORE_OPS; op++)
		put(b, "clonefs_%s{op=\"%s\"} %" PRIu64 "\n", name, control_op_name((enum store_op)op), x[op]);
}

/* Buckets are cumulative. Their sum is not kept by the store, so the sum series is left out. */
static void put_latency(struct buf *b, const struct store_counters *s)
{
	head(b, "store_latency_seconds", "histogram", "Time from request to answer of the store.");
	for (int op = 0; op < STORE_OPS; op++) {
		const char *name = control_op_name((enum store_op)op);
		uint64_t sum = 0;

		for (unsigned i = 0; i + 1 < STORE_HIST; i++) {
			sum += s->latency[op][i];
			put(b, "clonefs_store_latency_seconds_bucket{op=\"%s\",le=\"%.9g\"} %" PRIu64 "\n", name,
			    (double)(UINT64_C(64) << i) / 1e6, sum);
		}
		sum += s->latency[op][STORE_HIST - 1];
		put(b, "clonefs_store_latency_seconds_bucket{op=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, sum);
		put(b, "clonefs_store_latency_seconds_count{op=\"%s\"} %" PRIu64 "\n", name, sum);
	}
}

static int render(struct control *c, struct buf *b)
{
	struct control_snapshot s;

	control_snapshot(c, &s);
	put_info(b, c, &s.v);
	put_volume(b, &s);
	put_per_op(b, "store_requests_total", "Requests sent to the store, retries included.", s.s.requests);
	put_per_op(b, "store_retries_total", "Requests sent again.", s.s.retries);
	put_per_op(b, "store_failures_total", "Requests that failed in the end.", s.s.failures);
	counter(b, "store_sent_bytes_total", "Bytes of bodies sent to the store.", s.s.bytes_sent);
	counter(b, "store_received_bytes_total", "Bytes of bodies received from the store.", s.s.bytes_received);
	put_latency(b, &s.s);
	return b->err;
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
	struct buf b = BUF_INIT;
	enum MHD_Result ok;

	if ((strcmp(method, "GET") && strcmp(method, "HEAD")) || strcmp(url, "/metrics"))
		return answer(conn, MHD_HTTP_NOT_FOUND, "text/plain", nothing, strlen(nothing));
	ok = render(m->c, &b) ? MHD_NO : answer(conn, MHD_HTTP_OK, "text/plain; version=0.0.4", b.data, b.len);
	buf_free(&b);
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
	return strncmp(where, "unix:", 5) == 0 ? control_listen_unix(where + 5, ret_fd) : listen_loopback(where, ret_fd);
}

int metrics_start(struct control *c, const char *where, struct metrics **ret)
{
	struct metrics *m = calloc(1, sizeof(*m));
	bool is_unix = strncmp(where, "unix:", 5) == 0;
	int fd = -1, rc;

	if (!m)
		return -ENOMEM;
	m->c = c;
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
