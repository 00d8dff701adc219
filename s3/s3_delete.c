/*
 * s3_delete.c - DELETE of one key, of many, and on a condition.
 *
 * Many keys go into one multi-delete, but for those with characters that XML
 * cannot write: each of them has a request of its own beside it. If-Match on
 * DELETE is ignored in silence by many servers; so before the first such
 * request of a store, a probe finds out, with a key of its own under "probe/".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "crc32c.h"
#include "env.h"
#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"
#include "s3_xml.h"

struct batch {
	struct s3_request *requests;
	size_t count, left;
	size_t failed;             /* keys that the multi-delete refused, and the first of them */
	struct s3_xml_error first;
	int result;
	bool some;                 /* something was deleted, or may have been */
	char detail[256];
};

/* --- one key --- */

static void one_done(struct s3_request *q)
{
	struct s3_op *op = q->user;

	if (q->result == -ENOENT) /* gone already is as good */
		q->result = op->r->if_match ? ERR_PRECONDITION : 0;
	s3_op_done(q);
}

/* S3 has nothing to say about a deleted key; a page of some proxy is not S3. */
static int accept_one(struct s3_request *q, struct s3_answer *a)
{
	(void)q;
	return a->len == 0 ? 0 : ERR_CORRUPT;
}

static int fill_one(struct s3_request *q, struct s3_op *op, const char *key, const char *if_match)
{
	int rc;

	s3_request_init(q, op, "DELETE", "DELETE");
	q->mutates = true;
	q->accept = accept_one;
	rc = s3_request_key(q, key);
	if (rc == 0 && if_match)
		rc = s3_request_header(q, "if-match", "%s", if_match);
	return rc;
}

static void start_one(struct s3_op *op)
{
	int rc = fill_one(&op->q, op, op->r->keys[0], op->r->if_match);

	op->q.done = one_done;
	if (rc != 0)
		s3_op_end(op, rc, false, err_text(rc));
	else
		s3_io_add(&op->q);
}

/* --- many --- */

static bool writable_in_xml(const char *key)
{
	for (; *key; key++)
		if ((unsigned char)*key < 0x20 || (unsigned char)*key == 0x7f ||
		    (strncmp(key, "\xef\xbf", 2) == 0 && (unsigned char)key[2] >= 0xbe))
			return false;
	return true;
}

static void tell_refused(const struct batch *b, char *ret, size_t size)
{
	snprintf(ret, size, "%zu of the keys cannot be deleted, the first is %.60s: %s %.40s", b->failed, b->first.key, b->first.code,
		 b->first.message);
}

static int accept_result(struct s3_request *q, struct s3_answer *a)
{
	struct s3_op *op = q->user;
	struct batch *b = op->more;
	const char *code = b->first.code;
	int rc = s3_xml_delete(a->data, a->len, &b->failed, &b->first);

	if (rc != 0 || b->failed == 0)
		return rc;
	tell_refused(b, q->detail, sizeof(q->detail));
	if (strcmp(code, "AccessDenied") == 0 || strcmp(code, "MethodNotAllowed") == 0 || strcmp(code, "InvalidArgument") == 0)
		return 0; /* no use in trying again; many_done reports it */
	return -EAGAIN;
}

static void many_done(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct batch *b = op->more;
	int result = q->result;

	if (result == -ENOENT) /* of one key: gone already is as good; of many: the server knows no such request */
		result = q->own_body ? ERR_UNSUPPORTED : 0;
	b->some |= result == 0 || q->maybe_applied;
	if (result == 0 && q->own_body && b->failed) {
		result = strcmp(b->first.code, "AccessDenied") == 0 ? ERR_AUTH : ERR_UNSUPPORTED;
		tell_refused(b, q->detail, sizeof(q->detail));
	}
	if (q->answer.headers.date_s)
		op->r->server_time_s = q->answer.headers.date_s;
	if (result != 0 && b->result == 0) {
		b->result = result;
		memcpy(b->detail, q->detail, sizeof(b->detail));
	}
	if (--b->left == 0)
		s3_op_end(op, b->result, b->some, b->detail);
}

static void many_finish(struct s3_op *op)
{
	struct batch *b = op->more;

	for (size_t i = 0; b && b->requests && i < b->count; i++)
		s3_request_free(&b->requests[i]);
	if (b)
		free(b->requests);
	free(b);
}

static char *delete_document(const struct s3_op *op)
{
	struct buf b = BUF_INIT;

	s3_text_add(&b, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
	for (size_t i = 0; i < op->r->key_count; i++) {
		if (!writable_in_xml(op->r->keys[i]))
			continue;
		s3_text_add(&b, "<Object><Key>");
		s3_text_xml(&b, op->s->cfg.prefix);
		s3_text_xml(&b, op->r->keys[i]);
		s3_text_add(&b, "</Key></Object>");
	}
	s3_text_add(&b, "</Delete>");
	return s3_text_take(&b);
}

static int fill_many(struct s3_request *q, struct s3_op *op)
{
	char md5[32], *body = delete_document(op);
	int rc;

	s3_request_init(q, op, "POST", "DELETE");
	q->mutates = true;
	q->accept = accept_result;
	q->path = strdup("");
	q->query = strdup("delete=");
	if (!body || !q->path || !q->query) {
		free(body);
		return -ENOMEM;
	}
	rc = s3_request_own_body(q, body);
	if (rc == 0)
		rc = sigv4_md5_base64(body, q->body_bytes, md5);
	if (rc == 0)
		rc = s3_request_header(q, "content-md5", "%s", md5);
	if (rc == 0)
		rc = s3_request_header(q, "content-type", "application/xml");
	return rc ? rc : s3_checksum_headers(q, crc32c(0, body, q->body_bytes));
}

static int fill_batch(struct s3_op *op, struct batch *b)
{
	const struct store_req *r = op->r;
	size_t odd = 0;
	int rc;

	for (size_t i = 0; i < r->key_count; i++)
		odd += !writable_in_xml(r->keys[i]);
	if (!writable_in_xml(op->s->cfg.prefix))
		return -EINVAL;
	b->requests = calloc(odd + 1, sizeof(*b->requests));
	if (!b->requests)
		return -ENOMEM;
	for (size_t i = 0; odd && i < r->key_count; i++) {
		if (writable_in_xml(r->keys[i]))
			continue;
		rc = fill_one(&b->requests[b->count++], op, r->keys[i], NULL);
		if (rc != 0)
			return rc;
	}
	if (odd == r->key_count)
		return 0;
	return fill_many(&b->requests[b->count++], op);
}

static void start_many(struct s3_op *op)
{
	struct batch *b = calloc(1, sizeof(*b));
	int rc = -ENOMEM;

	op->more = b;
	op->finish = many_finish;
	if (b)
		rc = fill_batch(op, b);
	if (rc != 0) {
		s3_op_end(op, rc, false, err_text(rc));
		return;
	}
	b->left = b->count;
	for (size_t i = 0; i < b->count; i++) {
		b->requests[i].done = many_done;
		s3_io_add(&b->requests[i]);
	}
}

/* --- the probe: PUT a key, DELETE it over an ETag it cannot have, DELETE it --- */

static void probe_step(struct s3_request *q);

struct probe {
	char key[64];
	int step;
};

static int probe_send(struct s3_op *op)
{
	struct probe *p = op->more;
	struct s3_request *q = &op->q;
	int rc;

	s3_request_free(q);
	if (p->step == 0) {
		s3_request_init(q, op, "PUT", "PUT of a probe");
		rc = s3_request_key(q, p->key);
		if (rc == 0)
			rc = s3_request_header(q, "content-type", "application/octet-stream");
	} else {
		rc = fill_one(q, op, p->key, p->step == 1 ? "00000000000000000000000000000000" : NULL);
		q->mutates = false; /* the key that is meant has not been touched */
	}
	if (rc == 0) {
		q->done = probe_step;
		s3_io_add(q);
	}
	return rc;
}

static void probe_step(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct probe *p = op->more;
	struct s3 *s = op->s;
	int rc = q->result;

	if (p->step == 1 && (rc == 0 || rc == ERR_PRECONDITION)) {
		s->delete_cond = rc == 0 ? S3_COND_IGNORED : S3_COND_HONOURED;
		rc = 0;
	}
	if (p->step == 2) /* a probe that stays behind does no harm */
		rc = 0;
	if (rc == 0 && p->step < 2) {
		p->step++;
		rc = probe_send(op);
		if (rc == 0)
			return;
	}
	if (rc != 0) {
		s3_op_end(op, rc, false, q->detail);
		return;
	}
	s3_request_free(q);
	s3_delete_start(op);
}

static void probe_finish(struct s3_op *op)
{
	free(op->more);
}

static void start_probe(struct s3_op *op)
{
	struct probe *p = calloc(1, sizeof(*p));
	uint64_t x[2];
	int rc = -ENOMEM;

	op->more = p;
	op->finish = probe_finish;
	if (p) {
		env_system()->random(env_system(), x, sizeof(x));
		snprintf(p->key, sizeof(p->key), "probe/delete-%016llx%016llx", (unsigned long long)x[0], (unsigned long long)x[1]);
		rc = probe_send(op);
	}
	if (rc != 0)
		s3_op_end(op, rc, false, err_text(rc));
}

void s3_delete_start(struct s3_op *op)
{
	if (op->r->key_count > 1)
		start_many(op);
	else if (!op->r->if_match || op->s->delete_cond == S3_COND_HONOURED)
		start_one(op);
	else if (op->s->delete_cond == S3_COND_UNKNOWN)
		start_probe(op);
	else
		s3_op_end(op, ERR_UNSUPPORTED, false, "this server ignores If-Match on DELETE: nothing was deleted");
}
