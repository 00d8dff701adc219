/*
 * s3_multipart.c - a large PUT in parts: create, parts (some at a time),
 * complete, HEAD for the ETag (some servers give none, or another, when
 * completing). Nothing is visible before complete takes effect, so only that
 * request can make the result ambiguous. A failure aborts the upload, briefly
 * and best effort; what a crash leaves behind, a lifecycle rule of the bucket removes.
 */
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

enum { PARTS_MAX = 10000, PARTS_AT_ONCE = 4, ABORT_MS = 2000 };

struct part {
	struct s3_request q;
	struct iovec *iov;
	size_t iov_count;
	uint64_t bytes;
	char sha256[65];
	uint32_t crc;
	bool live;
};

struct upload {
	struct part *parts;
	size_t count, next, in_flight, finished;
	char *id;
	char id_text[1100];
	char etag[STORE_ETAG_MAX];
	bool stopping;        /* a part failed: the others are being cancelled */
	int result;
	bool ambiguous;
	char detail[256];
};

static void start_parts(struct s3_op *op);
static void start_complete(struct s3_op *op);

/* --- on the submitter's thread: cut the body into parts and hash them --- */

/* The ranges of bytes [off, off + len) of the body. */
static int slice(const struct store_req *r, uint64_t off, uint64_t len, struct part *p)
{
	p->iov = calloc(r->body_count, sizeof(*p->iov));
	if (!p->iov)
		return -ENOMEM;
	p->bytes = len;
	for (size_t i = 0; i < r->body_count && len; i++) {
		uint64_t have = r->body[i].iov_len;
		size_t take;

		if (off >= have) {
			off -= have;
			continue;
		}
		take = (size_t)(have - off < len ? have - off : len);
		p->iov[p->iov_count++] = (struct iovec){ (char *)r->body[i].iov_base + off, take };
		p->crc = crc32c(p->crc, (char *)r->body[i].iov_base + off, take);
		len -= take;
		off = 0;
	}
	return sigv4_sha256_hex(p->iov, p->iov_count, p->sha256);
}

static void finish(struct s3_op *op)
{
	struct upload *u = op->more;

	for (size_t i = 0; u && u->parts && i < u->count; i++) {
		s3_request_free(&u->parts[i].q);
		free(u->parts[i].iov);
	}
	if (u)
		free(u->parts);
	free(u);
}

/* --- the end --- */

static void aborted(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct upload *u = op->more;

	s3_op_end(op, u->result, u->ambiguous, u->detail);
}

static int upload_query(struct s3_request *q, const char *path_of, const char *first, const struct upload *u)
{
	struct buf b = BUF_INIT;
	int rc = s3_request_key(q, path_of);

	s3_text_addf(&b, "%suploadId=", first);
	s3_text_encode(&b, u->id_text, strlen(u->id_text), false);
	free(q->query);
	q->query = s3_text_take(&b);
	return rc ? rc : q->query ? 0 : -ENOMEM;
}

static void fail(struct s3_op *op, int result, bool ambiguous, const char *detail)
{
	struct upload *u = op->more;
	int rc;

	u->result = result;
	u->ambiguous = ambiguous;
	snprintf(u->detail, sizeof(u->detail), "%s", detail);
	/* Of an ambiguous complete nothing may be aborted: the object may be made of these parts. */
	if (!u->id || ambiguous) {
		s3_op_end(op, result, ambiguous, u->detail);
		return;
	}
	s3_request_free(&op->q);
	s3_request_init(&op->q, op, "DELETE", "abort of the upload");
	op->q.deadline_ns = counters_now_ns() + ABORT_MS * UINT64_C(1000000);
	op->q.done = aborted;
	rc = upload_query(&op->q, op->r->key, "", u);
	if (rc != 0)
		s3_op_end(op, result, ambiguous, u->detail);
	else
		s3_io_add(&op->q);
}

/* --- create --- */

static int accept_create(struct s3_request *q, struct s3_answer *a)
{
	struct s3_op *op = q->user;
	struct upload *u = op->more;
	int rc = s3_xml_value(a->data, a->len, "InitiateMultipartUploadResult", "UploadId", u->id_text, sizeof(u->id_text));

	if (rc == 0 && !*u->id_text)
		rc = ERR_CORRUPT;
	return rc;
}

static void created(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct upload *u = op->more;

	if (q->result != 0) {
		s3_op_end(op, q->result == -ENOENT ? ERR_UNSUPPORTED : q->result, false, q->detail);
		return;
	}
	u->id = u->id_text;
	start_parts(op);
}

static void start(struct s3_op *op)
{
	struct s3_request *q = &op->q;
	int rc;

	s3_request_init(q, op, "POST", "start of an upload in parts");
	q->done = created;
	q->accept = accept_create;
	rc = s3_request_key(q, op->r->key);
	free(q->query);
	q->query = strdup("uploads=");
	if (rc == 0 && !q->query)
		rc = -ENOMEM;
	if (rc == 0)
		rc = s3_request_header(q, "content-type", "%s", op->r->content_type ? op->r->content_type : "application/octet-stream");
	if (rc == 0 && op->s->cfg.checksum)
		rc = s3_request_header(q, "x-amz-checksum-algorithm", "CRC32C");
	if (rc == 0)
		rc = s3_request_storage_headers(q);
	if (rc != 0)
		s3_op_end(op, rc, false, err_text(rc));
	else
		s3_io_add(q);
}

int s3_multipart_prepare(struct s3_op *op)
{
	struct store_req *r = op->r;
	uint64_t total = store_body_bytes(r), size = op->s->cfg.part_bytes, off = 0;
	struct upload *u = calloc(1, sizeof(*u));
	int rc = 0;

	op->start = start;
	op->finish = finish;
	op->more = u;
	if (!u)
		return -ENOMEM;
	if (size < (total + PARTS_MAX - 1) / PARTS_MAX)
		size = (total + PARTS_MAX - 1) / PARTS_MAX;
	u->count = (size_t)((total + size - 1) / size);
	u->parts = calloc(u->count, sizeof(*u->parts));
	if (!u->parts)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < u->count; i++, off += size)
		rc = slice(r, off, total - off < size ? total - off : size, &u->parts[i]);
	return rc;
}

/* --- parts --- */

static int accept_part(struct s3_request *q, struct s3_answer *a)
{
	(void)q;
	return *a->headers.etag ? 0 : ERR_CORRUPT;
}

static void part_failed(struct s3_op *op, struct s3_request *q)
{
	struct upload *u = op->more;
	int result = q->result == -ENOENT ? ERR_UNAVAILABLE : q->result;
	char detail[256];

	memcpy(detail, q->detail, sizeof(detail));
	u->stopping = true;
	for (size_t i = 0; i < u->next; i++)
		if (u->parts[i].live)
			s3_io_cancel(&u->parts[i].q);
	fail(op, result, false, detail);
}

static void part_done(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct upload *u = op->more;
	struct part *p = CL_CONTAINER_OF(q, struct part, q);

	p->live = false;
	u->in_flight--;
	if (u->stopping)
		return;
	if (q->result != 0) {
		part_failed(op, q);
		return;
	}
	if (++u->finished == u->count)
		start_complete(op);
	else
		start_parts(op);
}

static int fill_part(struct s3_op *op, struct part *p, size_t number)
{
	struct upload *u = op->more;
	struct s3_request *q = &p->q;
	char first[48];
	int rc;

	s3_request_init(q, op, "PUT", "PUT of a part");
	q->done = part_done;
	q->accept = accept_part;
	q->body = p->iov;
	q->body_count = p->iov_count;
	q->body_bytes = p->bytes;
	memcpy(q->sha256, p->sha256, sizeof(q->sha256));
	snprintf(first, sizeof(first), "partNumber=%zu&", number);
	rc = upload_query(q, op->r->key, first, u);
	if (rc == 0)
		rc = s3_request_header(q, "content-type", "application/octet-stream");
	return rc ? rc : s3_checksum_headers(q, p->crc);
}

static void start_parts(struct s3_op *op)
{
	struct upload *u = op->more;

	while (u->in_flight < PARTS_AT_ONCE && u->next < u->count) {
		struct part *p = &u->parts[u->next++];
		int rc = fill_part(op, p, u->next);

		if (rc != 0) {
			p->q.result = rc;
			snprintf(p->q.detail, sizeof(p->q.detail), "%s", err_text(rc));
			part_failed(op, &p->q);
			return;
		}
		p->live = true;
		u->in_flight++;
		s3_io_add(&p->q);
	}
}

/* --- complete, and what the object's ETag is now --- */

static void head_done(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct upload *u = op->more;

	/* The object is there whatever this HEAD says. */
	s3_op_headers(op->r, &q->answer.headers);
	if (q->result != 0 || !*op->r->etag)
		memcpy(op->r->etag, u->etag, sizeof(op->r->etag));
	s3_op_end(op, 0, false, "");
}

static int accept_complete(struct s3_request *q, struct s3_answer *a)
{
	struct s3_op *op = q->user;
	struct upload *u = op->more;
	char etag[STORE_ETAG_MAX + 2];
	size_t len;
	int rc = s3_xml_value(a->data, a->len, "CompleteMultipartUploadResult", "ETag", etag, sizeof(etag));

	if (rc != 0)
		return rc;
	len = strlen(etag);
	if (len >= 2 && etag[0] == '"' && etag[len - 1] == '"')
		snprintf(u->etag, sizeof(u->etag), "%.*s", (int)(len - 2), etag + 1);
	else
		snprintf(u->etag, sizeof(u->etag), "%.*s", STORE_ETAG_MAX - 1, etag);
	return 0;
}

static void completed(struct s3_request *q)
{
	struct s3_op *op = q->user;
	int rc = q->result;

	if (rc != 0) {
		/* The upload is not known (any more): an earlier attempt may have completed it. */
		fail(op, rc == -ENOENT ? ERR_UNAVAILABLE : rc, q->maybe_applied, q->detail);
		return;
	}
	s3_request_free(q);
	s3_request_init(q, op, "HEAD", "HEAD after an upload in parts");
	q->head = true;
	q->done = head_done;
	rc = s3_request_key(q, op->r->key);
	if (rc != 0)
		s3_op_end(op, 0, false, "");
	else
		s3_io_add(q);
}

static char *complete_document(const struct s3_op *op)
{
	const struct upload *u = op->more;
	struct buf b = BUF_INIT;
	char sum[12];

	s3_text_add(&b, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (size_t i = 0; i < u->count; i++) {
		uint32_t c = u->parts[i].crc;

		s3_text_addf(&b, "<Part><PartNumber>%zu</PartNumber><ETag>&quot;", i + 1);
		s3_text_xml(&b, u->parts[i].q.answer.headers.etag);
		s3_text_add(&b, "&quot;</ETag>");
		s3_text_base64((uint8_t[]){ (uint8_t)(c >> 24), (uint8_t)(c >> 16), (uint8_t)(c >> 8), (uint8_t)c }, 4, sum);
		if (op->s->cfg.checksum)
			s3_text_addf(&b, "<ChecksumCRC32C>%s</ChecksumCRC32C>", sum);
		s3_text_add(&b, "</Part>");
	}
	s3_text_add(&b, "</CompleteMultipartUpload>");
	return s3_text_take(&b);
}

static void start_complete(struct s3_op *op)
{
	struct upload *u = op->more;
	struct s3_request *q = &op->q;
	char *body = complete_document(op);
	int rc = body ? 0 : -ENOMEM;

	s3_request_free(q);
	s3_request_init(q, op, "POST", "completion of an upload in parts");
	q->mutates = true;
	q->stall_ns = UINT64_MAX / 2;
	q->accept = accept_complete;
	q->done = completed;
	if (rc == 0)
		rc = s3_request_own_body(q, body);
	if (rc == 0)
		rc = upload_query(q, op->r->key, "", u);
	if (rc == 0)
		rc = s3_request_header(q, "content-type", "application/xml");
	if (rc != 0)
		fail(op, rc, false, err_text(rc));
	else
		s3_io_add(q);
}
