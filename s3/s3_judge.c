/*
 * s3_judge.c - what the end of an attempt means. A pure function of the
 * request, what came back, and this machine's clock.
 *
 * The rule behind `maybe_applied`: an attempt of which anything was sent may
 * have taken effect unless the server said no in so many words (a 4xx that is
 * final, 412 included, or a redirect). A 5xx, a 409 and a broken connection say nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crc32c.h"
#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"
#include "s3_xml.h"

/* A server refuses signatures older than 15 minutes; a smaller difference explains no refusal. */
#define SKEW_S 300

static void CL_PRINTF(4, 5) say(struct s3_verdict *v, enum s3_action action, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->detail, sizeof(v->detail), fmt, ap);
	va_end(ap);
	v->action = action;
	v->result = result;
}

/* --- no answer --- */

static void judge_transport(const struct s3_request *q, const struct s3_attempt *a, CURLcode cc, struct s3_verdict *v)
{
	const char *text = a->error[0] ? a->error : curl_easy_strerror(cc), *host = q->s->cfg.host;

	v->maybe_applied = a->sends > 0;
	switch (cc) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CERTPROBLEM:
		say(v, S3_DECIDED, ERR_CONFIG, "the certificate of %.60s is not trusted (%.90s): set AWS_CA_BUNDLE to its authority", host,
		    text);
		return;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		say(v, S3_DECIDED, ERR_CONFIG, "the endpoint %.100s cannot be used: %.100s", host, text);
		return;
	case CURLE_OUT_OF_MEMORY:
		say(v, S3_DECIDED, -ENOMEM, "out of memory");
		return;
	case CURLE_WRITE_ERROR:
		if (a->no_memory)
			say(v, S3_DECIDED, -ENOMEM, "no memory for the answer to %s", q->what);
		else if (a->too_large)
			say(v, S3_DECIDED, -EFBIG, "%s: the answer is larger than %llu bytes", q->what, (unsigned long long)a->limit);
		else
			say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: %.150s", q->what, text);
		return;
	case CURLE_COULDNT_RESOLVE_HOST:
		say(v, S3_RETRY, ERR_UNAVAILABLE, "cannot find the host %.150s: check the endpoint", host);
		return;
	case CURLE_COULDNT_CONNECT:
		say(v, S3_RETRY, ERR_UNAVAILABLE, "cannot connect to %.60s: %.120s", host, text);
		return;
	case CURLE_OPERATION_TIMEDOUT:
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: %s", q->what, a->sends ? "the transfer stalled" : "connecting takes too long");
		return;
	case CURLE_ABORTED_BY_CALLBACK:
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: the connection was closed before an answer came", q->what);
		return;
	default:
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: %.180s", q->what, text);
	}
}

/* --- refusals --- */

struct code {
	const char *code;
	enum s3_action action;
	int result;
};

/* Codes whose meaning is the same whatever the status. Those that are retried report ERR_UNAVAILABLE in the end. */
static const struct code codes[] = {
	{ "NoSuchBucket", S3_DECIDED, ERR_NO_BUCKET },
	{ "InvalidBucketName", S3_DECIDED, ERR_CONFIG },
	{ "PreconditionFailed", S3_DECIDED, ERR_PRECONDITION },
	{ "ExpiredToken", S3_REFRESH, ERR_AUTH },
	{ "TokenRefreshRequired", S3_REFRESH, ERR_AUTH },
	{ "InvalidAccessKeyId", S3_REFRESH, ERR_AUTH },
	{ "InvalidToken", S3_REFRESH, ERR_AUTH },
	{ "SignatureDoesNotMatch", S3_DECIDED, ERR_AUTH },
	{ "AccountProblem", S3_DECIDED, ERR_AUTH },
	{ "AllAccessDisabled", S3_DECIDED, ERR_AUTH },
	{ "AccessDenied", S3_DECIDED, ERR_AUTH },
	{ "InvalidObjectState", S3_DECIDED, ERR_UNSUPPORTED },
	{ "QuotaExceeded", S3_DECIDED, -ENOSPC },
	{ "EntityTooLarge", S3_DECIDED, -EFBIG },
	{ "KeyTooLongError", S3_DECIDED, -ENAMETOOLONG },
	{ "NotImplemented", S3_DECIDED, ERR_UNSUPPORTED },
	{ "BucketAlreadyOwnedByYou", S3_DECIDED, -EEXIST },
	{ "BucketAlreadyExists", S3_DECIDED, -EEXIST },
	{ "BucketNotEmpty", S3_DECIDED, -ENOTEMPTY },
	{ "NoSuchUpload", S3_DECIDED, -ENOENT },
	{ "RequestTimeout", S3_RETRY, ERR_UNAVAILABLE },
	{ "BadDigest", S3_RETRY, ERR_CORRUPT },
	{ "IncompleteBody", S3_RETRY, ERR_UNAVAILABLE },
	{ "XAmzContentSHA256Mismatch", S3_RETRY, ERR_CORRUPT },
	{ "XAmzContentChecksumMismatch", S3_RETRY, ERR_CORRUPT },
	{ "InternalError", S3_RETRY, ERR_UNAVAILABLE },
	{ "ServiceUnavailable", S3_RETRY, ERR_UNAVAILABLE },
	{ "SlowDown", S3_RETRY, ERR_UNAVAILABLE },
	{ "TooManyRequests", S3_RETRY, ERR_UNAVAILABLE },
	{ "RequestLimitExceeded", S3_RETRY, ERR_UNAVAILABLE },
	{ "Throttling", S3_RETRY, ERR_UNAVAILABLE },
};

static const struct code *find_code(const char *code)
{
	for (size_t i = 0; *code && i < CL_ARRAY_LEN(codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return &codes[i];
	return NULL;
}

static void say_answer(struct s3_verdict *v, enum s3_action action, int result, const struct s3_request *q, unsigned status,
		       const struct s3_xml_error *e)
{
	say(v, action, result, "%s: HTTP status %u%s%s%s%.110s", q->what, status, *e->code ? " " : "", e->code,
	    *e->message ? ": " : "", e->message);
}

static bool clock_is_off(const struct s3_headers *h, const char *code, struct s3_verdict *v)
{
	int64_t off = h->date_s ? (int64_t)time(NULL) - h->date_s : 0, by = off < 0 ? -off : off;

	if (strcmp(code, "RequestTimeTooSkewed") != 0 && by < SKEW_S)
		return false;
	say(v, S3_DECIDED, ERR_CLOCK_SKEW, "this machine's clock is %lld s %s of the server's: set it (timedatectl set-ntp true)",
	    (long long)by, off < 0 ? "behind that" : "ahead");
	return true;
}

/* Another region's bucket: the server says which. */
static bool other_region(const struct s3_headers *h, const struct s3_xml_error *e, const struct s3_request *q,
			 struct s3_verdict *v)
{
	const char *region = *h->region ? h->region : e->region;
	bool moved = h->status == 301 || h->status == 307 || h->status == 308;

	if (!moved && strcmp(e->code, "AuthorizationHeaderMalformed") != 0 && strcmp(e->code, "IllegalLocationConstraintException") != 0)
		return false;
	if (s3_config_is_region(region) && strcmp(region, q->sent_region) != 0) {
		say(v, S3_REGION, ERR_CONFIG, "the bucket %.63s is in region %s", q->s->cfg.bucket, region);
		snprintf(v->region, sizeof(v->region), "%s", region);
	} else if (moved) {
		say(v, S3_DECIDED, ERR_CONFIG, "the server sends us elsewhere (HTTP status %u %s): set AWS_REGION or AWS_ENDPOINT_URL_S3 (%.80s)",
		    h->status, e->code, *e->endpoint ? e->endpoint : h->location);
	} else {
		say_answer(v, S3_DECIDED, ERR_CONFIG, q, h->status, e);
	}
	return true;
}

/* A 404. Only an answer that speaks S3 says that an object is not there: a proxy's 404 must not pass for an empty store. */
static void judge_404(const struct s3_request *q, unsigned status, const struct s3_xml_error *e, struct s3_verdict *v)
{
	if (strcmp(e->code, "NoSuchKey") == 0 || strcmp(e->code, "NoSuchVersion") == 0 || q->head)
		say_answer(v, S3_DECIDED, -ENOENT, q, status, e);
	else if (*e->code)
		say_answer(v, S3_DECIDED, ERR_UNSUPPORTED, q, status, e);
	else
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: HTTP status 404 without an S3 error: is %.100s an S3 endpoint?", q->what,
		    q->s->cfg.host);
}

static void judge_status(const struct s3_request *q, const struct s3_headers *h, const struct s3_xml_error *e,
			 struct s3_verdict *v)
{
	unsigned status = h->status;

	if (status == 404)
		judge_404(q, status, e, v);
	else if (status == 412)
		say_answer(v, S3_DECIDED, ERR_PRECONDITION, q, status, e);
	else if (status == 401 || status == 403)
		say(v, S3_DECIDED, ERR_AUTH, "%s: refused with HTTP status %u %s: check the keys and their permissions on bucket %.63s", q->what,
		    status, e->code, q->s->cfg.bucket);
	else if (status == 507)
		say_answer(v, S3_DECIDED, -ENOSPC, q, status, e);
	else if (status == 408 || status == 409 || status == 425 || status == 429 || (status >= 500 && status != 501 && status != 505))
		say_answer(v, S3_RETRY, ERR_UNAVAILABLE, q, status, e);
	else if (status < 200)
		say_answer(v, S3_RETRY, ERR_UNAVAILABLE, q, status, e);
	else
		say_answer(v, S3_DECIDED, ERR_UNSUPPORTED, q, status, e);
}

static void judge_refusal(const struct s3_request *q, const struct s3_headers *h, const struct s3_xml_error *e,
			  struct s3_verdict *v)
{
	const struct code *known = find_code(e->code);

	v->wait_ms = (uint64_t)h->retry_after_s * 1000;
	if ((h->status == 403 || strcmp(e->code, "RequestTimeTooSkewed") == 0) && clock_is_off(h, e->code, v))
		return;
	if (other_region(h, e, q, v))
		return;
	if (known && known->result == ERR_AUTH)
		say(v, known->action, ERR_AUTH, "%s: refused with %s%s%.90s: check the keys and their permissions on bucket %.63s", q->what,
		    e->code, *e->message ? ": " : "", e->message, q->s->cfg.bucket);
	else if (known && known->result == ERR_NO_BUCKET)
		say(v, known->action, known->result, "there is no bucket %.63s at %.100s", q->s->cfg.bucket, q->s->cfg.host);
	else if (known)
		say_answer(v, known->action, known->result, q, h->status, e);
	else
		judge_status(q, h, e, v);
	/* What is retried was no definite no; nor is anything with 5xx. */
	v->maybe_applied = v->action == S3_RETRY || h->status >= 500 || h->status == 409;
}

/* --- good answers --- */

static void short_body(struct s3_verdict *v, const struct s3_request *q, uint64_t got, uint64_t want)
{
	say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: the answer's body is wrong: %llu bytes in place of %llu", q->what,
	    (unsigned long long)got, (unsigned long long)want);
}

/* The object's size and what of it must have come, from status and headers; false when they make no sense. */
static bool expected(const struct s3_request *q, const struct s3_attempt *a, uint64_t *ret_size, uint64_t *ret_len)
{
	const struct s3_headers *h = &a->a.headers;
	uint64_t first = q->range_first, size, left;

	if (h->status == 206) {
		if (!h->has_range || !h->has_total)
			return false;
		size = h->range_total;
	} else {
		if (h->status != 200 || (!h->has_length && !h->chunked))
			return false;
		size = h->has_length ? h->length : a->skip + a->a.len;
		if (!h->has_length && (q->range_suffix || q->range_first || q->range_length != STORE_ANY))
			return false; /* no way to tell what part this is */
	}
	if (q->range_suffix)
		first = size > q->range_length ? size - q->range_length : 0;
	left = size > first ? size - first : 0;
	*ret_size = size;
	*ret_len = q->range_length < left ? q->range_length : left;
	return h->status != 206 || (h->range_first == first && h->range_last - first + 1 == *ret_len);
}

static void judge_object(struct s3_request *q, struct s3_attempt *a, struct s3_verdict *v)
{
	struct s3_headers *h = &a->a.headers;
	uint64_t size, len;
	uint8_t sum[4];
	uint32_t crc;

	/* A proxy's page with status 200 is no object. */
	if (!*h->etag) {
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: an answer without ETag: is %.100s an S3 endpoint?", q->what, q->s->cfg.host);
		return;
	}
	if (!expected(q, a, &size, &len)) {
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: the answer's headers do not fit the range that was asked for", q->what);
		return;
	}
	if (a->a.len != len) {
		short_body(v, q, a->a.len, len);
		return;
	}
	/* The checksum is of the whole object. */
	if (*h->crc32c && len == size && s3_text_unbase64(h->crc32c, sum, 4) == 4) {
		crc = crc32c(0, a->a.data, a->a.len);
		if (crc != ((uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3])) {
			say(v, S3_RETRY, ERR_CORRUPT, "%s: the object does not match its checksum", q->what);
			return;
		}
	}
	h->range_total = size;
	h->has_total = true;
	say(v, S3_DECIDED, 0, "%s", "");
}

static void judge_success(struct s3_request *q, struct s3_attempt *a, struct s3_verdict *v)
{
	int rc = q->accept ? q->accept(q, &a->a) : 0;

	if (rc == 0)
		say(v, S3_DECIDED, 0, "%s", "");
	else if (rc == -ENOMEM)
		say(v, S3_DECIDED, rc, "no memory for the answer to %s", q->what);
	else if (rc == ERR_CORRUPT)
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: the answer cannot be understood", q->what);
	else
		memcpy(v->detail, q->detail, sizeof(v->detail));
	if (rc != 0 && rc != ERR_CORRUPT && rc != -ENOMEM) {
		v->action = S3_RETRY;
		v->result = ERR_UNAVAILABLE;
	}
	v->maybe_applied = rc != 0;
}

/* Whether a 416 says that what was asked for begins at or past the end. Else bytes that are there would pass for none. */
static bool past_the_end(const struct s3_request *q, const struct s3_headers *h, const struct s3_xml_error *e)
{
	if (!q->range_suffix && q->range_first == 0 && q->range_length == STORE_ANY)
		return false;
	if (h->has_total)
		return q->range_suffix ? h->range_total == 0 : q->range_first >= h->range_total;
	return strcmp(e->code, "InvalidRange") == 0;
}

static void judge_answer(struct s3_request *q, struct s3_attempt *a, struct s3_verdict *v)
{
	const struct s3_headers *h = &a->a.headers;
	struct s3_xml_error e = { .code = "" };
	bool is_error = h->status < 200 || h->status > 299;

	/* Some errors come with status 200: COPY, complete, delete; told by the body. */
	if ((is_error || !q->get) && a->a.len) {
		if (s3_xml_error(a->a.data, a->a.len, &e) == 0)
			is_error = true;
		else
			e.code[0] = '\0';
	}
	if (q->get && h->status == 416 && !past_the_end(q, h, &e)) {
		say(v, S3_RETRY, ERR_UNAVAILABLE, "%s: HTTP status 416 does not fit what was asked for", q->what);
	} else if (q->get && h->status == 416) {
		free(a->a.data);
		a->a.data = NULL;
		a->a.len = 0;
		say(v, S3_DECIDED, 0, "%s", "");
	} else if (is_error) {
		judge_refusal(q, h, &e, v);
		if (h->status < 300) /* begun, then failed: nothing definite unless it says so */
			v->maybe_applied = v->result != ERR_PRECONDITION;
	} else if (q->get) {
		judge_object(q, a, v);
	} else {
		judge_success(q, a, v);
	}
}

void s3_judge(struct s3_request *q, struct s3_attempt *a, CURLcode cc, struct s3_verdict *ret)
{
	bool stopped_early = cc == CURLE_WRITE_ERROR && a->a.headers.status >= 300 && a->too_large;

	*ret = (struct s3_verdict){ .action = S3_DECIDED };
	if (cc != CURLE_OK && !stopped_early)
		judge_transport(q, a, cc, ret);
	else if (a->a.headers.status == 0)
		say(ret, S3_RETRY, ERR_UNAVAILABLE, "%s: the answer is no HTTP", q->what);
	else
		judge_answer(q, a, ret);
	if (ret->action == S3_DECIDED && ret->result == 0) {
		q->answer = a->a;
		a->a = (struct s3_answer){ .data = NULL };
	} else if (a->a.headers.date_s) {
		q->answer.headers.date_s = a->a.headers.date_s; /* the server's time is told with failures too */
	}
}
