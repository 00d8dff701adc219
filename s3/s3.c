/*
 * s3.c - the S3 store's table: opening, submitting, closing. What runs on
 * callers' threads is here; it touches the I/O thread's state only under s->mu.
 */
#include "s3.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"

static void enqueue(struct s3_op *op)
{
	struct s3 *s = op->s;
	bool first, closing;

	pthread_mutex_lock(&s->mu);
	closing = s->closing;
	first = !s->queue;
	if (!closing) {
		op->next = NULL;
		*s->queue_end = op;
		s->queue_end = &op->next;
	}
	pthread_mutex_unlock(&s->mu);
	if (closing)
		s3_op_end(op, -ECANCELED, false, "the store is being closed");
	/* The loop takes the whole queue at once: one wakeup per filling is enough, and none from the loop itself. */
	else if (first && !pthread_equal(pthread_self(), s->thread))
		curl_multi_wakeup(s->multi);
}

static int prepare(struct s3_op *op)
{
	struct store_req *r = op->r;
	int rc = store_check_req(r);

	if (rc != 0)
		return rc;
	switch (r->op) {
	case STORE_PUT:
		/* Completing a multipart upload on a condition is ignored in silence by many servers: one piece then. */
		if (!r->if_none_match && !r->if_match && store_body_bytes(r) > op->s->cfg.multipart_bytes)
			return s3_multipart_prepare(op);
		return s3_put_prepare(op);
	case STORE_GET: op->start = s3_get_start; return 0;
	case STORE_HEAD: op->start = s3_head_start; return 0;
	case STORE_LIST: op->start = s3_list_start; return 0;
	case STORE_DELETE: op->start = s3_delete_start; return 0;
	case STORE_COPY: op->start = s3_copy_start; return 0;
	case STORE_OPS: break;
	}
	return -EINVAL;
}

static struct s3_op *new_op(struct s3 *s, struct store_req *r)
{
	struct s3_op *op = calloc(1, sizeof(*op));

	if (!op)
		return NULL;
	op->s = s;
	op->r = r;
	op->start_ns = counters_now_ns();
	if (__builtin_mul_overflow(r->deadline_ms ? r->deadline_ms : s->cfg.timeout_ms, UINT64_C(1000000), &op->deadline_ns) ||
	    __builtin_add_overflow(op->deadline_ns, op->start_ns, &op->deadline_ns))
		op->deadline_ns = UINT64_MAX;
	return op;
}

static void submit(struct store *base, struct store_req *r)
{
	struct s3 *s = CL_CONTAINER_OF(base, struct s3, base);
	struct s3_op *op = new_op(s, r);
	int rc;

	if (!op) {
		store_fail(r, -ENOMEM, "out of memory");
		r->done(r);
		return;
	}
	rc = prepare(op);
	if (rc != 0)
		s3_op_end(op, rc, false, r->detail[0] ? NULL : err_text(rc));
	else
		enqueue(op);
}

int s3_create_bucket(struct store *base)
{
	struct s3 *s = CL_CONTAINER_OF(base, struct s3, base);
	struct store_req r;
	struct s3_op *op;
	int rc;

	store_req_init(&r, STORE_PUT);
	r.done = store_wait_done;
	op = new_op(s, &r);
	if (!op)
		return err_set(-ENOMEM, "out of memory");
	op->start = s3_bucket_start;
	enqueue(op);
	store_wait_threads(base, &r);
	rc = r.result;
	if (rc == -EEXIST && strstr(r.detail, "BucketAlreadyOwnedByYou"))
		rc = 0;
	if (rc != 0)
		err_set(rc, "cannot create the bucket %s: %s", s->cfg.bucket, r.detail);
	store_req_reset(&r);
	return rc;
}

static void counters(struct store *base, struct store_counters *ret)
{
	counters_read(&CL_CONTAINER_OF(base, struct s3, base)->counters, ret);
}

static void free_store(struct s3 *s)
{
	for (size_t i = 0; i < s->idle_count; i++)
		curl_easy_cleanup(s->idle[i]);
	if (s->multi)
		curl_multi_cleanup(s->multi);
	credentials_close(s->creds);
	sigv4_signer_free(s->signer);
	counters_destroy(&s->counters);
	pthread_mutex_destroy(&s->mu);
	free(s->address);
	free(s);
}

static void close_store(struct store *base)
{
	struct s3 *s = CL_CONTAINER_OF(base, struct s3, base);

	pthread_mutex_lock(&s->mu);
	s->closing = true;
	pthread_mutex_unlock(&s->mu);
	curl_multi_wakeup(s->multi);
	pthread_join(s->thread, NULL);
	free_store(s);
}

static int start_thread(struct s3 *s)
{
	sigset_t all, old;
	int rc;

	/* Signals are for the program's own threads; a broken pipe under OpenSSL must not end the process. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&s->thread, NULL, s3_io_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? err_set(-rc, "cannot start the S3 thread: %s", strerror(rc)) : 0;
}

static int set_up(struct s3 *s)
{
	struct credentials_options o = { *s->cfg.profile ? s->cfg.profile : NULL, s->cfg.region,
					 *s->cfg.ca_bundle ? s->cfg.ca_bundle : NULL };
	int rc = secret_curl_init();

	if (rc == 0)
		rc = credentials_open(&o, &s->creds);
	if (rc != 0)
		return rc;
	rc = sigv4_signer_new("s3", &s->signer);
	s->multi = curl_multi_init();
	if (rc != 0 || !s->multi || !s->address)
		return err_set(-ENOMEM, "out of memory");
	curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)s->cfg.connections);
	return start_thread(s);
}

int store_s3_open(const char *address, const char *options, struct store **ret)
{
	struct s3 *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(-ENOMEM, "out of memory");
	rc = s3_config_make(address, options, &s->cfg);
	if (rc != 0) {
		free(s);
		return rc;
	}
	pthread_mutex_init(&s->mu, NULL);
	counters_init(&s->counters);
	s->queue_end = &s->queue;
	s->address = strdup(address);
	s->base = (struct store){ .kind = "s3", .address = s->address, .submit = submit, .wait = store_wait_threads,
				  .counters = counters, .close = close_store };
	rc = set_up(s);
	if (rc != 0) {
		free_store(s);
		return rc;
	}
	*ret = &s->base;
	return 0;
}
