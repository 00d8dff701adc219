/*
 * s3_impl.h - the inside of the S3 backend. Private to s3/s3*.c and its tests.
 *
 * An *operation* (struct s3_op) is one request of the store's table. It makes
 * one or more *requests* (struct s3_request): an HTTP exchange that is tried
 * until it is decided or its deadline is over. Each try is an *attempt*
 * (struct s3_attempt): one libcurl transfer, signed when it is sent.
 *
 * Everything below belongs to the I/O thread, except what says otherwise.
 */
#ifndef CLONELOVE_S3_IMPL_H
#define CLONELOVE_S3_IMPL_H

#include <curl/curl.h>
#include <pthread.h>

#include "buf.h"
#include "compiler.h"
#include "counters.h"
#include "credentials.h"
#include "s3_config.h"
#include "s3_headers.h"
#include "sigv4.h"
#include "store.h"

enum { S3_REQUEST_HEADERS = 20, S3_HEDGE = 2 };

/* Without a length asked for, no object larger than this is read into memory; and no XML answer is longer. */
#define S3_GET_MAX (UINT64_C(64) << 20)
#define S3_XML_MAX (UINT64_C(16) << 20)
#define S3_SINGLE_PUT_MAX (UINT64_C(5) << 30)

struct s3;
struct s3_request;

/* What an attempt brought. */
struct s3_answer {
	struct s3_headers headers;
	uint8_t *data; /* malloc'd body (of a GET: the bytes asked for) */
	size_t len;
};

struct s3_attempt {
	struct s3_request *q;
	struct s3_attempt *prev, *next; /* s3->active */
	CURL *easy;
	struct curl_slist *header_lines;
	struct s3_answer a;
	size_t cap;
	uint64_t skip;          /* bytes of the body before those asked for (a server that ignores Range) */
	uint64_t limit;         /* bytes to keep at most */
	bool begun;             /* the first byte of the body was seen, and cap, skip and limit are set */
	bool too_large, no_memory;
	bool clean;             /* it came to its end: the easy handle can be used again */
	size_t iov, iov_off;    /* the upload's cursor */
	bool retry;             /* not the request's first */
	unsigned sends;         /* how often libcurl began to send it: never more than once */
	uint64_t start_ns, window_ns, window_bytes; /* stall detection: bytes moved since window_ns */
	uint64_t generation;    /* of the keys it was signed with */
	char error[CURL_ERROR_SIZE];
};

enum s3_state { S3_IDLE, S3_READY, S3_BACKOFF, S3_ACTIVE };

struct s3_request {
	/* --- what is asked; set by the operation --- */
	struct s3 *s;
	enum store_op op;      /* what it is counted as */
	const char *method;
	const char *what;      /* for messages: "PUT of a part" */
	char *path;            /* encoded, from the bucket on: "/key"; "" = the bucket */
	char *query;           /* canonical */
	struct sigv4_header headers[S3_REQUEST_HEADERS]; /* name static, value malloc'd */
	size_t header_count;
	const struct iovec *body;
	size_t body_count;
	uint64_t body_bytes;
	char *own_body;        /* malloc'd, where body points at own_iov */
	struct iovec own_iov;
	char sha256[65];       /* of the body */
	bool head;             /* no body in the answer */
	bool get;              /* the body is an object's, to be checked against the range */
	bool mutates;          /* an attempt that ended without a verdict may have taken effect */
	bool may_hedge;
	uint64_t range_first, range_length; /* get */
	bool range_suffix;
	uint64_t stall_ns, deadline_ns;
	/* Looks at a 2xx answer: 0, or a negative code that makes it be tried again (ERR_CORRUPT, or with detail set). NULL: nothing to look at. */
	int (*accept)(struct s3_request *q, struct s3_answer *a);
	void (*done)(struct s3_request *q); /* the last touch: may free q */
	void *user;

	/* --- state --- */
	enum s3_state state;
	struct s3_request *prev, *next; /* the list of its state */
	struct s3_attempt *attempts[S3_HEDGE];
	unsigned tries, sent;  /* failed tries; attempts sent */
	uint64_t wake_ns;
	unsigned corrupt;      /* answers that failed their checksum */
	bool hedged, refreshed, region_changed;
	char sent_region[64];  /* that the last attempt was signed for */
	bool maybe_applied;    /* an earlier attempt may have taken effect, now or later */

	/* --- the result --- */
	int result;
	char detail[256];
	struct s3_answer answer;
};

struct s3_list {
	struct s3_request *head, *tail;
	size_t count;
};

struct s3_op {
	struct s3 *s;
	struct store_req *r;
	struct s3_op *next;            /* the submission queue */
	void (*start)(struct s3_op *op);
	void (*finish)(struct s3_op *op); /* frees what `more` holds; may be NULL */
	uint64_t start_ns, deadline_ns;
	struct s3_request q;
	uint32_t crc;                  /* of a PUT's body */
	uint64_t received;             /* body bytes, for the counters */
	void *more;                    /* the operation's own */
};

enum s3_cond { S3_COND_UNKNOWN, S3_COND_HONOURED, S3_COND_IGNORED };

struct s3 {
	struct store base;
	struct s3_config cfg;
	struct credentials *creds;
	struct sigv4_signer *signer;
	struct counters counters;
	CURLM *multi;
	pthread_t thread;

	pthread_mutex_t mu;
	struct s3_op *queue, **queue_end; /* under mu: submitted, not yet seen by the I/O thread */
	bool closing;                     /* under mu */

	struct s3_list ready, backoff;
	struct s3_attempt *active;
	size_t active_count;
	bool cancelling;
	CURL *idle[64];                   /* easy handles to use again */
	size_t idle_count;
	enum s3_cond delete_cond;         /* does the server honour If-Match on DELETE? */
	char *address;
};

/* --- s3_io.c: the thread --- */
void *s3_io_main(void *arg);
/* Hands a filled-in request to the loop. Completes through q->done, never from within. */
void s3_io_add(struct s3_request *q);
/* Ends q with what it has. */
void s3_io_finish(struct s3_request *q, int result, const char *fmt, ...) CL_PRINTF(3, 4);
/* Ends it without an answer, at the close or because nobody wants it any more. */
void s3_io_cancel(struct s3_request *q);

/* --- s3_attempt.c: one transfer --- */
/* Signs and starts. 0; -EAGAIN: no keys yet; another error: q->detail says why. */
int s3_attempt_send(struct s3_request *q, uint64_t now_ns);
/* Takes it out of libcurl and frees it. */
void s3_attempt_free(struct s3_attempt *a);

/* --- s3_judge.c: what an attempt's end means --- */
enum s3_action { S3_DECIDED, S3_RETRY, S3_REFRESH, S3_REGION };
struct s3_verdict {
	enum s3_action action;
	int result;            /* S3_DECIDED: the result; else what to report when it cannot be tried again */
	bool maybe_applied;    /* this attempt may have taken effect */
	uint64_t wait_ms;      /* at least, before the next try */
	char detail[256];
	char region[64];       /* S3_REGION */
};
/* Moves a good answer's body to q->answer. */
void s3_judge(struct s3_request *q, struct s3_attempt *a, CURLcode cc, struct s3_verdict *ret);

/* --- s3_request.c: filling requests in --- */
void s3_request_init(struct s3_request *q, struct s3_op *op, const char *method, const char *what);
int s3_request_key(struct s3_request *q, const char *key);     /* sets path to prefix + key */
int s3_request_header(struct s3_request *q, const char *name, const char *fmt, ...) CL_PRINTF(3, 4);
int s3_request_storage_headers(struct s3_request *q);          /* encryption and storage class of a new object */
int s3_request_own_body(struct s3_request *q, char *body);     /* takes body over, hashes it */
void s3_request_free(struct s3_request *q);                    /* what it holds, not q */
int s3_prefixed_key(const struct s3 *s, const char *key, struct buf *ret_encoded);

/* --- operations; each starts on the I/O thread and ends in s3_op_end --- */
int s3_checksum_headers(struct s3_request *q, uint32_t crc); /* of the body, where the store sends them */
int s3_put_prepare(struct s3_op *op);       /* on the submitter's thread: hashes the body */
int s3_multipart_prepare(struct s3_op *op); /* the same, for a body in parts */
void s3_get_start(struct s3_op *op);
void s3_head_start(struct s3_op *op);
void s3_copy_start(struct s3_op *op);
void s3_list_start(struct s3_op *op);
void s3_delete_start(struct s3_op *op);
void s3_bucket_start(struct s3_op *op);
/* Reports and frees the operation. detail NULL: already in r->detail. */
void s3_op_end(struct s3_op *op, int result, bool ambiguous, const char *detail);
/* The usual q->done of an operation of one request. */
void s3_op_done(struct s3_request *q);
/* Takes etag, times and size from an answer's headers. */
void s3_op_headers(struct store_req *r, const struct s3_headers *h);

#endif
