/*
 * s3_attempt.c - one transfer: the URL, the headers, the signature, the body in and out.
 *
 * libcurl sends a request a second time by itself when a kept connection turns
 * out to be dead, and tells nobody. For a conditional PUT that is fatal: the
 * first sending may have taken effect, and the second meets 412. So the
 * pre-request callback lets a transfer begin once only; the retry is ours, and counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"

/* --- callbacks --- */

static int on_prereq(void *user, char *ip, char *local_ip, int port, int local_port)
{
	struct s3_attempt *a = user;

	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	if (a->sends++)
		return CURL_PREREQFUNC_ABORT;
	/* Counted here: what found no connection cost nobody a request. */
	counters_attempt(&a->q->s->counters, a->q->op, a->retry, a->q->body_bytes);
	return CURL_PREREQFUNC_OK;
}

static size_t on_header(char *p, size_t size, size_t n, void *user)
{
	struct s3_attempt *a = user;

	(void)size;
	a->window_bytes += n;
	s3_headers_line(&a->a.headers, p, n);
	return n;
}

static size_t on_read(char *p, size_t size, size_t n, void *user)
{
	struct s3_attempt *a = user;
	const struct s3_request *q = a->q;
	size_t out = 0;

	n *= size;
	while (out < n && a->iov < q->body_count) {
		const struct iovec *v = &q->body[a->iov];
		size_t part = v->iov_len - a->iov_off < n - out ? v->iov_len - a->iov_off : n - out;

		if (part)
			memcpy(p + out, (const char *)v->iov_base + a->iov_off, part);
		out += part;
		a->iov_off += part;
		if (a->iov_off == v->iov_len) {
			a->iov++;
			a->iov_off = 0;
		}
	}
	a->window_bytes += out;
	return out;
}

/* libcurl rewinds after a proxy's or server's early answer on a fresh sending, which on_prereq refuses; to 0 only. */
static int on_seek(void *user, curl_off_t offset, int origin)
{
	struct s3_attempt *a = user;

	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_FAIL;
	a->iov = 0;
	a->iov_off = 0;
	return CURL_SEEKFUNC_OK;
}

/* How much of the body to keep, once status and headers are known. */
static void begin_body(struct s3_attempt *a)
{
	const struct s3_request *q = a->q;
	const struct s3_headers *h = &a->a.headers;

	a->begun = true;
	a->limit = S3_XML_MAX;
	if (q->get && (h->status == 200 || h->status == 206)) {
		a->limit = q->range_length == STORE_ANY ? S3_GET_MAX : q->range_length;
		/* A server may answer a range with the whole object (RFC 9110, 14.2). */
		if (h->status == 200 && q->range_suffix)
			a->skip = h->has_length && h->length > q->range_length ? h->length - q->range_length : 0;
		else if (h->status == 200)
			a->skip = q->range_first;
		if (q->range_length == STORE_ANY && h->has_length && h->length - (h->length < a->skip ? h->length : a->skip) > a->limit)
			a->too_large = true;
	}
}

static bool make_room(struct s3_attempt *a, size_t more)
{
	const struct s3_headers *h = &a->a.headers;
	uint64_t cap = a->a.len + more;
	uint8_t *data;

	if (cap <= a->cap)
		return true;
	if (a->cap == 0 && h->has_length && h->length > cap)
		cap = h->length < a->limit ? h->length : a->limit;
	else if (a->cap)
		cap = cap < 2 * (uint64_t)a->cap ? 2 * (uint64_t)a->cap : cap;
	data = realloc(a->a.data, (size_t)cap);
	if (!data) {
		a->no_memory = true;
		return false;
	}
	a->a.data = data;
	a->cap = (size_t)cap;
	return true;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct s3_attempt *a = user;
	size_t all = n, skip;

	(void)size;
	a->window_bytes += n;
	if (!a->begun)
		begin_body(a);
	if (a->too_large)
		return 0;
	skip = n < a->skip ? n : (size_t)a->skip;
	a->skip -= skip;
	p += skip;
	n -= skip;
	if (n > a->limit - a->a.len) {
		/* Of a whole object in place of a range, the rest is not wanted; anything else is too much. */
		if (a->q->get && a->q->range_length != STORE_ANY && a->a.headers.status == 200) {
			n = (size_t)(a->limit - a->a.len);
		} else {
			a->too_large = true;
			return 0;
		}
	}
	if (n && !make_room(a, n))
		return 0;
	if (n)
		memcpy(a->a.data + a->a.len, p, n);
	a->a.len += n;
	return all;
}

/* --- sending --- */

static int add_line(struct s3_attempt *a, const char *name, const char *value)
{
	struct curl_slist *more;
	size_t size;
	char *line;

	/* One of them is the session token: nothing that grows or is not wiped. */
	size = strlen(name) + strlen(value) + 3;
	line = malloc(size);
	if (!line)
		return -ENOMEM;
	snprintf(line, size, *value ? "%s: %s" : "%s;%s", name, value);
	more = curl_slist_append(a->header_lines, line);
	explicit_bzero(line, size);
	free(line);
	if (!more)
		return -ENOMEM;
	a->header_lines = more;
	return 0;
}

static void host_and_url(const struct s3_request *q, struct buf *host, struct buf *path, struct buf *url)
{
	const struct s3_config *c = &q->s->cfg;

	if (c->path_style)
		s3_text_addf(host, "%s", c->host);
	else
		s3_text_addf(host, "%s.%s", c->bucket, c->host);
	if (c->path_style)
		s3_text_addf(path, "/%s%s", c->bucket, q->path);
	else
		s3_text_add(path, *q->path ? q->path : "/");
	buf_u8(host, 0);
	buf_u8(path, 0);
	if (host->err || path->err) {
		url->err = -ENOMEM;
		return;
	}
	s3_text_addf(url, "%s://%s%s%s%s", c->https ? "https" : "http", (char *)host->data, (char *)path->data,
		     *q->query ? "?" : "", q->query);
	buf_u8(url, 0);
}

/* Collects all headers, signs them, and makes libcurl's list. */
static int sign(struct s3_request *q, struct s3_attempt *a, const struct credentials_set *keys, const char *host,
		const char *path)
{
	struct sigv4_header h[S3_REQUEST_HEADERS + 6];
	struct sigv4_request r = { q->method, path, q->query, h, 0, q->sha256 };
	char date[17], auth[SIGV4_AUTH_MAX];
	size_t n = 0;
	int rc;

	s3_text_amz_date((int64_t)time(NULL), date);
	h[n++] = (struct sigv4_header){ "host", host };
	h[n++] = (struct sigv4_header){ "x-amz-date", date };
	h[n++] = (struct sigv4_header){ "x-amz-content-sha256", q->sha256 };
	if (keys->session_token)
		h[n++] = (struct sigv4_header){ "x-amz-security-token", keys->session_token->text };
	if (q->s->cfg.requester_pays)
		h[n++] = (struct sigv4_header){ "x-amz-request-payer", "requester" };
	for (size_t i = 0; i < q->header_count; i++)
		h[n++] = q->headers[i];
	r.header_count = n;
	rc = sigv4_sign(q->s->signer, keys->access_key->text, keys->secret_key->text, keys->generation, q->s->cfg.region, date,
			&r, auth);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_line(a, h[i].name, h[i].value);
	if (rc == 0)
		rc = add_line(a, "authorization", auth);
	/* libcurl would add these: an Expect costs a second with servers that do not know it. */
	for (size_t i = 0; rc == 0 && i < 2; i++) {
		struct curl_slist *more = curl_slist_append(a->header_lines, i ? "Accept:" : "Expect:");

		if (more)
			a->header_lines = more;
		else
			rc = -ENOMEM;
	}
	return rc;
}

/* libcurl's buffers: small for small answers, since hundreds of transfers have one each. */
static long buffer_bytes(uint64_t expected)
{
	return expected >= 256 * 1024 ? 256 * 1024 : expected >= 32 * 1024 ? 64 * 1024 : 16 * 1024;
}

static int set_method(struct s3_request *q, CURL *e)
{
	CURLcode rc = CURLE_OK;

#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(e, option, value))
	if (q->head) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (strcmp(q->method, "PUT") == 0) {
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->body_bytes);
		SET(CURLOPT_UPLOAD_BUFFERSIZE, buffer_bytes(q->body_bytes));
	} else if (strcmp(q->method, "POST") == 0) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_bytes);
	} else {
		SET(CURLOPT_HTTPGET, 1L);
		if (strcmp(q->method, "GET") != 0)
			SET(CURLOPT_CUSTOMREQUEST, q->method);
	}
	return rc == CURLE_OK ? 0 : -ENOMEM;
}

static int set_up(struct s3_request *q, struct s3_attempt *a, const char *url)
{
	const struct s3_config *c = &q->s->cfg;
	uint64_t want = q->get && q->range_length != STORE_ANY ? q->range_length : q->get ? 256 * 1024 : 0;
	CURLcode rc = CURLE_OK;
	CURL *e = a->easy;

	SET(CURLOPT_URL, url);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP09_ALLOWED, 0L);
	SET(CURLOPT_HTTPHEADER, a->header_lines);
	SET(CURLOPT_PRIVATE, a);
	SET(CURLOPT_ERRORBUFFER, a->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (*c->ca_bundle) {
		SET(CURLOPT_CAINFO, c->ca_bundle);
		SET(CURLOPT_CAPATH, NULL); /* else the system's directory of authorities would be trusted beside it */
	}
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_MAXAGE_CONN, 20L); /* servers close idle connections; a dead one costs a try */
	SET(CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
	SET(CURLOPT_PREREQFUNCTION, on_prereq);
	SET(CURLOPT_PREREQDATA, a);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, a);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, a);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, a);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_SEEKDATA, a);
	SET(CURLOPT_BUFFERSIZE, buffer_bytes(want));
#undef SET
	return rc == CURLE_OK ? set_method(q, e) : -ENOMEM;
}

static CURL *take_easy(struct s3 *s)
{
	CURL *e;

	if (s->idle_count == 0)
		return curl_easy_init();
	e = s->idle[--s->idle_count];
	curl_easy_reset(e);
	return e;
}

static void link_active(struct s3_attempt *a)
{
	struct s3 *s = a->q->s;

	a->next = s->active;
	if (s->active)
		s->active->prev = a;
	s->active = a;
	s->active_count++;
}

static int build(struct s3_request *q, struct s3_attempt *a, const struct credentials_set *keys)
{
	struct buf host = BUF_INIT, path = BUF_INIT, url = BUF_INIT;
	int rc;

	host_and_url(q, &host, &path, &url);
	rc = url.err;
	if (rc == 0)
		rc = sign(q, a, keys, (char *)host.data, (char *)path.data);
	if (rc == 0)
		rc = set_up(q, a, (char *)url.data);
	buf_free(&host);
	buf_free(&path);
	buf_free(&url);
	return rc;
}

int s3_attempt_send(struct s3_request *q, uint64_t now_ns)
{
	struct credentials_set *keys;
	struct s3_attempt *a;
	int rc = credentials_get(q->s->creds, &keys), slot = q->attempts[0] ? 1 : 0;
	char last[100];

	if (rc == -EAGAIN)
		return rc;
	if (rc != 0) {
		snprintf(last, sizeof(last), "%.90s%s", q->detail, *q->detail ? "; " : "");
		snprintf(q->detail, sizeof(q->detail), "%s%.150s", last, err_last());
		return rc;
	}
	a = calloc(1, sizeof(*a));
	if (a) {
		a->q = q;
		a->easy = take_easy(q->s);
		a->start_ns = a->window_ns = now_ns;
		a->generation = keys->generation;
		rc = a->easy ? build(q, a, keys) : -ENOMEM;
	} else {
		rc = -ENOMEM;
	}
	credentials_set_free(keys);
	if (rc == 0 && curl_multi_add_handle(q->s->multi, a->easy) != CURLM_OK)
		rc = -ENOMEM;
	if (rc != 0) {
		snprintf(q->detail, sizeof(q->detail), "cannot send %s: %s", q->what, err_text(rc));
		if (a && a->easy)
			curl_easy_cleanup(a->easy);
		if (a)
			curl_slist_free_all(a->header_lines);
		free(a);
		return rc;
	}
	q->attempts[slot] = a;
	memcpy(q->sent_region, q->s->cfg.region, sizeof(q->sent_region));
	a->retry = q->sent++ > 0;
	link_active(a);
	return 0;
}

void s3_attempt_free(struct s3_attempt *a)
{
	struct s3 *s = a->q->s;

	if (a->prev)
		a->prev->next = a->next;
	else
		s->active = a->next;
	if (a->next)
		a->next->prev = a->prev;
	s->active_count--;
	curl_multi_remove_handle(s->multi, a->easy);
	curl_slist_free_all(a->header_lines);
	/* libcurl may leave a handle that failed in a state that takes no new options: only good ones are kept. */
	if (a->clean && s->idle_count < CL_ARRAY_LEN(s->idle))
		s->idle[s->idle_count++] = a->easy;
	else
		curl_easy_cleanup(a->easy);
	free(a->a.data);
	free(a);
}
