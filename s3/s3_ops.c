/* s3_ops.c - PUT of one piece, GET, HEAD, COPY, and making a bucket. Each is one request (COPY and PUT too). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "crc32c.h"
#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"
#include "s3_xml.h"

static void refuse(struct s3_op *op, int rc)
{
	s3_op_end(op, rc, false, rc == -ENOMEM ? "out of memory" : err_text(rc));
}

/* --- PUT --- */

static void put_start(struct s3_op *op)
{
	s3_io_add(&op->q);
}

/* A conditional PUT meets a missing key: 412 with some servers, 404 with others. */
static void put_done(struct s3_request *q)
{
	struct s3_op *op = q->user;

	if (q->result == -ENOENT)
		q->result = op->r->if_match ? ERR_PRECONDITION : ERR_UNSUPPORTED;
	s3_op_done(q);
}

int s3_checksum_headers(struct s3_request *q, uint32_t crc)
{
	uint8_t be[4] = { (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc };
	char text[12];
	int rc;

	if (!q->s->cfg.checksum)
		return 0;
	s3_text_base64(be, 4, text);
	rc = s3_request_header(q, "x-amz-checksum-crc32c", "%s", text);
	return rc ? rc : s3_request_header(q, "x-amz-sdk-checksum-algorithm", "CRC32C");
}

/* Every S3 server gives a stored object an ETag. A proxy's page with status 200 has stored nothing. */
static int accept_stored(struct s3_request *q, struct s3_answer *a)
{
	(void)q;
	return *a->headers.etag ? 0 : ERR_CORRUPT;
}

int s3_put_prepare(struct s3_op *op)
{
	struct store_req *r = op->r;
	struct s3_request *q = &op->q;
	int rc;

	s3_request_init(q, op, "PUT", "PUT");
	op->start = put_start;
	q->done = put_done;
	q->accept = accept_stored;
	q->mutates = true;
	q->body = r->body;
	q->body_count = r->body_count;
	q->body_bytes = store_body_bytes(r);
	if (q->body_bytes > S3_SINGLE_PUT_MAX)
		return store_fail(r, ERR_UNSUPPORTED, "a PUT with a condition can have at most 5 GiB");
	rc = sigv4_sha256_hex(q->body, q->body_count, q->sha256);
	for (size_t i = 0; i < r->body_count; i++)
		op->crc = crc32c(op->crc, r->body[i].iov_base, r->body[i].iov_len);
	if (rc == 0)
		rc = s3_request_key(q, r->key);
	if (rc == 0)
		rc = s3_request_header(q, "content-type", "%s", r->content_type ? r->content_type : "application/octet-stream");
	if (rc == 0 && r->if_none_match)
		rc = s3_request_header(q, "if-none-match", "*");
	/* Without quotes: with them Ceph 16 and 18 compare wrongly, without them all servers that know it compare right. */
	if (rc == 0 && r->if_match)
		rc = s3_request_header(q, "if-match", "%s", r->if_match);
	if (rc == 0)
		rc = s3_checksum_headers(q, op->crc);
	return rc ? rc : s3_request_storage_headers(q);
}

/* --- GET and HEAD --- */

static void get_done(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct store_req *r = op->r;

	if (q->result == 0) {
		r->data = q->answer.data;
		r->data_len = q->answer.len;
		r->object_size = q->answer.headers.range_total;
		op->received = q->answer.len;
		q->answer.data = NULL;
	}
	s3_op_done(q);
}

static void head_done(struct s3_request *q)
{
	struct s3_op *op = q->user;

	if (q->result == 0)
		op->r->object_size = q->answer.headers.length;
	s3_op_done(q);
}

static int range_header(struct s3_request *q)
{
	uint64_t last;

	if (q->range_suffix)
		return q->range_length == STORE_ANY ? 0 : s3_request_header(q, "range", "bytes=-%llu", (unsigned long long)q->range_length);
	if (q->range_length == STORE_ANY || __builtin_add_overflow(q->range_first, q->range_length - 1, &last))
		return q->range_first ? s3_request_header(q, "range", "bytes=%llu-", (unsigned long long)q->range_first) : 0;
	return s3_request_header(q, "range", "bytes=%llu-%llu", (unsigned long long)q->range_first, (unsigned long long)last);
}

void s3_get_start(struct s3_op *op)
{
	struct store_req *r = op->r;
	struct s3_request *q = &op->q;
	int rc;

	if (r->range_length == 0) { /* HTTP has no empty range; whether the object is there is still asked */
		s3_head_start(op);
		return;
	}
	s3_request_init(q, op, "GET", "GET");
	q->done = get_done;
	q->get = true;
	q->range_first = r->range_suffix ? 0 : r->range_offset;
	q->range_length = r->range_length;
	q->range_suffix = r->range_suffix && r->range_length != STORE_ANY;
	q->may_hedge = true;
	rc = s3_request_key(q, r->key);
	if (rc == 0)
		rc = range_header(q);
	if (rc == 0 && op->s->cfg.checksum)
		rc = s3_request_header(q, "x-amz-checksum-mode", "ENABLED");
	if (rc != 0)
		refuse(op, rc);
	else
		s3_io_add(q);
}

static int head_accept(struct s3_request *q, struct s3_answer *a)
{
	(void)q;
	return a->headers.has_length && *a->headers.etag ? 0 : ERR_CORRUPT;
}

void s3_head_start(struct s3_op *op)
{
	struct s3_request *q = &op->q;
	int rc;

	s3_request_init(q, op, "HEAD", "HEAD");
	q->done = head_done;
	q->head = true;
	q->accept = head_accept;
	rc = s3_request_key(q, op->r->key);
	if (rc != 0)
		refuse(op, rc);
	else
		s3_io_add(q);
}

/* --- COPY --- */

static int copy_accept(struct s3_request *q, struct s3_answer *a)
{
	char etag[STORE_ETAG_MAX];
	size_t len;
	int rc;

	(void)q;
	/* The answer is sent while the copying goes on: only a whole result means that it was done. */
	rc = s3_xml_value(a->data, a->len, "CopyObjectResult", "ETag", etag, sizeof(etag));
	if (rc != 0)
		return rc;
	len = strlen(etag);
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"') {
		memmove(etag, etag + 1, len - 2);
		etag[len - 2] = '\0';
	}
	memcpy(a->headers.etag, etag, sizeof(etag));
	return 0;
}

void s3_copy_start(struct s3_op *op)
{
	struct store_req *r = op->r;
	struct s3_request *q = &op->q;
	struct buf source = BUF_INIT;
	char *text;
	int rc;

	if (r->if_none_match || r->if_match) {
		s3_op_end(op, ERR_UNSUPPORTED, false, "COPY takes no condition");
		return;
	}
	s3_request_init(q, op, "PUT", "COPY");
	q->mutates = true;
	q->stall_ns = UINT64_MAX / 2; /* a large object is silent for as long as it takes */
	q->accept = copy_accept;
	s3_text_addf(&source, "/%s", op->s->cfg.bucket);
	s3_prefixed_key(op->s, r->source_key, &source);
	text = s3_text_take(&source);
	rc = text ? s3_request_key(q, r->key) : -ENOMEM;
	if (rc == 0)
		rc = s3_request_header(q, "x-amz-copy-source", "%s", text);
	/* Without REPLACE the source's type would stay, and an object could not be copied onto itself. */
	if (rc == 0)
		rc = s3_request_header(q, "x-amz-metadata-directive", "REPLACE");
	if (rc == 0)
		rc = s3_request_header(q, "content-type", "%s", r->content_type ? r->content_type : "application/octet-stream");
	if (rc == 0)
		rc = s3_request_storage_headers(q);
	free(text);
	if (rc != 0)
		refuse(op, rc);
	else
		s3_io_add(q);
}

/* --- a bucket --- */

void s3_bucket_start(struct s3_op *op)
{
	struct s3_request *q = &op->q;
	struct s3_config *c = &op->s->cfg;
	struct buf b = BUF_INIT;
	char *body;
	int rc = 0;

	s3_request_init(q, op, "PUT", "creation of the bucket");
	q->mutates = true;
	q->path = strdup("");
	q->query = strdup("");
	if (!q->path || !q->query)
		rc = -ENOMEM;
	if (rc == 0 && !c->custom_endpoint && strcmp(c->region, "us-east-1") != 0) {
		s3_text_addf(&b, "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
			     "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>", c->region);
		body = s3_text_take(&b);
		rc = body ? s3_request_own_body(q, body) : -ENOMEM;
		if (rc == 0)
			rc = s3_request_header(q, "content-type", "application/xml");
	}
	if (rc != 0)
		refuse(op, rc);
	else
		s3_io_add(q);
}
