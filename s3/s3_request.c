/* s3_request.c - filling requests in, and what operations share. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"

static const char empty_sha256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

void s3_request_init(struct s3_request *q, struct s3_op *op, const char *method, const char *what)
{
	*q = (struct s3_request){ .s = op->s, .op = op->r->op, .method = method, .what = what, .user = op,
				  .deadline_ns = op->deadline_ns, .stall_ns = op->s->cfg.stall_ms * 1000000,
				  .done = s3_op_done };
	memcpy(q->sha256, empty_sha256, sizeof(empty_sha256));
}

int s3_prefixed_key(const struct s3 *s, const char *key, struct buf *ret_encoded)
{
	s3_text_add(ret_encoded, "/");
	s3_text_encode(ret_encoded, s->cfg.prefix, strlen(s->cfg.prefix), true);
	s3_text_encode(ret_encoded, key, strlen(key), true);
	return ret_encoded->err;
}

int s3_request_key(struct s3_request *q, const char *key)
{
	struct buf b = BUF_INIT;

	s3_prefixed_key(q->s, key, &b);
	q->path = s3_text_take(&b);
	q->query = strdup("");
	return q->path && q->query ? 0 : -ENOMEM;
}

int s3_request_header(struct s3_request *q, const char *name, const char *fmt, ...)
{
	char *value;
	va_list ap;
	int n;

	if (q->header_count == S3_REQUEST_HEADERS)
		return -E2BIG;
	va_start(ap, fmt);
	n = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	/* A line break would begin a header of its own. */
	if (strpbrk(value, "\r\n")) {
		free(value);
		return -EINVAL;
	}
	q->headers[q->header_count++] = (struct sigv4_header){ name, value };
	return 0;
}

int s3_request_storage_headers(struct s3_request *q)
{
	const struct s3_config *c = &q->s->cfg;
	int rc = 0;

	if (*c->sse)
		rc = s3_request_header(q, "x-amz-server-side-encryption", "%s", c->sse);
	if (rc == 0 && *c->sse_kms_key_id)
		rc = s3_request_header(q, "x-amz-server-side-encryption-aws-kms-key-id", "%s", c->sse_kms_key_id);
	if (rc == 0 && *c->storage_class)
		rc = s3_request_header(q, "x-amz-storage-class", "%s", c->storage_class);
	return rc;
}

int s3_request_own_body(struct s3_request *q, char *body)
{
	q->own_body = body;
	q->own_iov = (struct iovec){ body, strlen(body) };
	q->body = &q->own_iov;
	q->body_count = 1;
	q->body_bytes = q->own_iov.iov_len;
	return sigv4_sha256_hex(q->body, 1, q->sha256);
}

void s3_request_free(struct s3_request *q)
{
	for (size_t i = 0; i < q->header_count; i++)
		free((char *)(uintptr_t)q->headers[i].value);
	q->header_count = 0;
	free(q->path);
	free(q->query);
	free(q->own_body);
	free(q->answer.data);
	q->path = q->query = q->own_body = NULL;
	q->answer.data = NULL;
}

void s3_op_headers(struct store_req *r, const struct s3_headers *h)
{
	memcpy(r->etag, h->etag, sizeof(r->etag));
	r->mtime_s = h->mtime_s;
	r->server_time_s = h->date_s;
}

void s3_op_end(struct s3_op *op, int result, bool ambiguous, const char *detail)
{
	struct store_req *r = op->r;
	char text[sizeof(r->detail)];

	if (detail) {
		/* Through a copy: the detail may live in what is freed below. */
		snprintf(text, sizeof(text), "%s", result == 0 ? "" : *detail ? detail : err_text(result));
		memcpy(r->detail, text, sizeof(text));
	}
	r->result = result;
	r->ambiguous = result != 0 && ambiguous;
	counters_end(&op->s->counters, r->op, result, op->start_ns, op->received);
	if (op->finish)
		op->finish(op);
	s3_request_free(&op->q);
	free(op);
	r->done(r);
}

void s3_op_done(struct s3_request *q)
{
	struct s3_op *op = q->user;

	if (q->result == 0)
		s3_op_headers(op->r, &q->answer.headers);
	op->r->server_time_s = q->answer.headers.date_s;
	s3_op_end(op, q->result, q->maybe_applied, q->detail);
}
