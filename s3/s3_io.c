/*
 * s3_io.c - the I/O thread: one loop over libcurl's multi interface.
 *
 * A request is in exactly one place: the ready list (waits for a free
 * connection), the backoff list (waits for its time), or active (has one or two
 * attempts under way). Every way out goes through s3_io_finish, which calls
 * done() once, with no attempt left and no lock held.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "env.h"
#include "err.h"
#include "logmsg.h"
#include "s3_impl.h"

#define NS_PER_MS UINT64_C(1000000)
/* How often deadlines, stalls and hedges are looked at. */
#define TICK_MS 20
/* Slower than this over a whole stall window is a stall. */
#define STALL_BYTES_PER_S 1024
#define KEYS_POLL_MS 20
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 5000
/* A checksum that fails as often as this is the object's fault, not the network's. */
#define CORRUPT_MAX 4

/* --- lists --- */

static void list_add(struct s3_list *l, struct s3_request *q)
{
	q->next = NULL;
	q->prev = l->tail;
	*(l->tail ? &l->tail->next : &l->head) = q;
	l->tail = q;
	l->count++;
}

static void list_remove(struct s3_list *l, struct s3_request *q)
{
	*(q->prev ? &q->prev->next : &l->head) = q->next;
	*(q->next ? &q->next->prev : &l->tail) = q->prev;
	l->count--;
}

static void leave_list(struct s3_request *q)
{
	if (q->state == S3_READY)
		list_remove(&q->s->ready, q);
	else if (q->state == S3_BACKOFF)
		list_remove(&q->s->backoff, q);
	q->state = S3_IDLE;
}

static void make_ready(struct s3_request *q)
{
	leave_list(q);
	q->state = S3_READY;
	list_add(&q->s->ready, q);
}

void s3_io_add(struct s3_request *q)
{
	make_ready(q);
}

/* --- ends --- */

static void drop_attempts(struct s3_request *q)
{
	for (int i = 0; i < S3_HEDGE; i++) {
		/* What was sent and is now abandoned may still take effect. */
		if (q->attempts[i] && q->attempts[i]->sends && q->mutates)
			q->maybe_applied = true;
		if (q->attempts[i])
			s3_attempt_free(q->attempts[i]);
		q->attempts[i] = NULL;
	}
}

static void finish(struct s3_request *q, int result)
{
	drop_attempts(q);
	leave_list(q);
	q->result = result;
	q->done(q);
}

void s3_io_finish(struct s3_request *q, int result, const char *fmt, ...)
{
	char text[sizeof(q->detail)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(q->detail, text, sizeof(text));
	finish(q, result);
}

void s3_io_cancel(struct s3_request *q)
{
	s3_io_finish(q, -ECANCELED, "%s was cancelled", q->what);
}

static void time_is_up(struct s3_request *q)
{
	char last[sizeof(q->detail)];

	memcpy(last, q->detail, sizeof(last));
	s3_io_finish(q, ERR_UNAVAILABLE, "%s: no success in time after %u %s%s%.180s", q->what, q->sent,
		     q->sent == 1 ? "attempt" : "attempts", *last ? "; the last: " : "", last);
}

/* --- tries --- */

/* Full jitter: anything between 0 and a bound that doubles. */
static uint64_t jitter_ms(unsigned tries)
{
	uint64_t bound = tries < 8 ? (uint64_t)BACKOFF_FIRST_MS << tries : BACKOFF_MAX_MS, x;
	struct env *env = env_system();

	env->random(env, &x, sizeof(x));
	return x % ((bound < BACKOFF_MAX_MS ? bound : BACKOFF_MAX_MS) + 1);
}

static void back_off(struct s3_request *q, uint64_t wait_ms, uint64_t now)
{
	uint64_t left_ms = q->deadline_ns > now ? (q->deadline_ns - now) / NS_PER_MS : 0;

	if (left_ms < 2) {
		time_is_up(q);
		return;
	}
	/* A wait beyond the deadline would waste what is left of it. */
	if (wait_ms > left_ms / 2)
		wait_ms = left_ms / 2;
	leave_list(q);
	q->wake_ns = now + (wait_ms ? wait_ms : 1) * NS_PER_MS;
	q->state = S3_BACKOFF;
	list_add(&q->s->backoff, q);
}

static void launch(struct s3_request *q, uint64_t now)
{
	int rc = s3_attempt_send(q, now);

	if (rc == 0) {
		leave_list(q);
		q->state = S3_ACTIVE;
	} else if (rc == -EAGAIN) {
		back_off(q, KEYS_POLL_MS, now);
	} else {
		finish(q, rc);
	}
}

static void change_region(struct s3 *s, const char *region)
{
	if (strcmp(s->cfg.region, region) == 0)
		return;
	logmsg(LOGMSG_NOTICE, "the bucket %s is in region %s, not %s: going on there (set AWS_REGION=%s to save the detour)",
	       s->cfg.bucket, region, s->cfg.region, region);
	s3_config_set_region(&s->cfg, region);
}

static void apply(struct s3_request *q, const struct s3_verdict *v, uint64_t generation, uint64_t now)
{
	struct s3 *s = q->s;
	uint64_t wait;

	if (q->mutates && v->maybe_applied)
		q->maybe_applied = true;
	memcpy(q->detail, v->detail, sizeof(q->detail));
	if (v->action == S3_DECIDED || s->cancelling || (v->action == S3_REFRESH && q->refreshed) ||
	    (v->action == S3_REGION && q->region_changed) || (v->result == ERR_CORRUPT && ++q->corrupt >= CORRUPT_MAX)) {
		finish(q, v->result);
		return;
	}
	/* The other of two hedged attempts may still make it. */
	if (q->attempts[0] || q->attempts[1])
		return;
	if (v->action == S3_REGION) {
		q->region_changed = true;
		change_region(s, v->region);
		make_ready(q);
		return;
	}
	if (v->action == S3_REFRESH) {
		q->refreshed = true;
		credentials_refused(s->creds, generation);
		make_ready(q);
		return;
	}
	wait = jitter_ms(q->tries++);
	back_off(q, wait > v->wait_ms ? wait : v->wait_ms, now);
}

static void attempt_ended(struct s3_attempt *a, CURLcode cc, uint64_t now)
{
	struct s3_request *q = a->q;
	struct s3_verdict v;
	uint64_t generation = a->generation;

	s3_judge(q, a, cc, &v);
	a->clean = cc == CURLE_OK;
	for (int i = 0; i < S3_HEDGE; i++)
		if (q->attempts[i] == a)
			q->attempts[i] = NULL;
	s3_attempt_free(a);
	apply(q, &v, generation, now);
}

/* --- the clock --- */

static bool stalled(struct s3_attempt *a, uint64_t now)
{
	uint64_t window = now - a->window_ns;

	if (window < a->q->stall_ns)
		return false;
	if (a->window_bytes < window / NS_PER_MS * STALL_BYTES_PER_S / 1000)
		return true;
	a->window_ns = now;
	a->window_bytes = 0;
	return false;
}

static void hedge(struct s3_request *q, uint64_t now)
{
	struct s3 *s = q->s;
	const struct s3_attempt *a = q->attempts[0] ? q->attempts[0] : q->attempts[1];

	if (!q->may_hedge || q->hedged || !s->cfg.hedge_ms || s->active_count >= s->cfg.connections || !a ||
	    now - a->start_ns < s->cfg.hedge_ms * NS_PER_MS)
		return;
	q->hedged = true;
	(void)s3_attempt_send(q, now); /* without it, the first goes on alone */
}

/* Whether something was ended: that may end others with it, so the caller begins anew. */
static bool tick_one(struct s3_attempt *a, uint64_t now)
{
	struct s3_request *q = a->q;

	if (now >= q->deadline_ns) {
		time_is_up(q);
		return true;
	}
	if (stalled(a, now)) {
		attempt_ended(a, CURLE_OPERATION_TIMEDOUT, now);
		return true;
	}
	hedge(q, now);
	return false;
}

static void tick(struct s3 *s, uint64_t now)
{
	struct s3_request *q;
	struct s3_attempt *a;

again:
	for (a = s->active; a; a = a->next)
		if (tick_one(a, now))
			goto again;
	for (q = s->ready.head; q; q = q->next) {
		if (now >= q->deadline_ns) {
			time_is_up(q);
			goto again;
		}
	}
}

/* Wakes what waited long enough. */
static void wake_backoff(struct s3 *s, uint64_t now)
{
	struct s3_request *q, *next;

	for (q = s->backoff.head; q; q = next) {
		next = q->next;
		if (q->wake_ns <= now)
			make_ready(q);
	}
}

/* --- the loop --- */

/* Starts what was submitted. Returns whether the store is closing. */
static bool take_submitted(struct s3 *s)
{
	struct s3_op *op, *next;
	bool closing;

	pthread_mutex_lock(&s->mu);
	op = s->queue;
	s->queue = NULL;
	s->queue_end = &s->queue;
	closing = s->closing;
	pthread_mutex_unlock(&s->mu);
	for (; op; op = next) {
		next = op->next;
		if (closing)
			s3_op_end(op, -ECANCELED, false, "the store is being closed");
		else
			op->start(op);
	}
	return closing;
}

static void cancel_all(struct s3 *s)
{
	s->cancelling = true;
	while (s->active)
		s3_io_cancel(s->active->q);
	while (s->backoff.head)
		s3_io_cancel(s->backoff.head);
	while (s->ready.head)
		s3_io_cancel(s->ready.head);
}

static bool reap(struct s3 *s)
{
	bool any = false;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(s->multi, &left))) {
		struct s3_attempt *a = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &a);
		attempt_ended(a, m->data.result, counters_now_ns());
		any = true;
	}
	return any;
}

/* How long nothing can be due. Looked up last, since every step of the loop may have sent a request to the backoff list. */
static int poll_ms(struct s3 *s)
{
	uint64_t now = counters_now_ns(), ms = 1000;
	bool submitted;

	/* What done() calls of this round submitted, without a wakeup; others may have queued behind it. */
	pthread_mutex_lock(&s->mu);
	submitted = s->queue != NULL;
	pthread_mutex_unlock(&s->mu);
	if (submitted)
		return 0;

	for (const struct s3_request *q = s->backoff.head; q; q = q->next) {
		uint64_t wait = q->wake_ns > now ? (q->wake_ns - now) / NS_PER_MS + 1 : 0;

		ms = wait < ms ? wait : ms;
	}
	if ((s->active || s->ready.head) && ms > TICK_MS)
		ms = TICK_MS;
	return (int)ms;
}

void *s3_io_main(void *arg)
{
	struct s3 *s = arg;
	uint64_t last_tick = 0;

	while (!take_submitted(s)) {
		uint64_t now = counters_now_ns();
		int running;

		wake_backoff(s, now);
		if (now - last_tick >= TICK_MS * NS_PER_MS) {
			tick(s, now);
			last_tick = now;
		}
		while (s->ready.head && s->active_count < s->cfg.connections)
			launch(s->ready.head, now);
		curl_multi_perform(s->multi, &running);
		if (!reap(s) && curl_multi_poll(s->multi, NULL, 0, poll_ms(s), NULL) != CURLM_OK)
			nanosleep(&(struct timespec){ .tv_nsec = TICK_MS * 1000000 }, NULL); /* no memory, which passes */
	}
	cancel_all(s);
	/* What was submitted by the done() calls of the cancelled, before they could know. */
	take_submitted(s);
	return NULL;
}
