/*
 * request.c - a request of the kernel that may have to wait.
 *
 * States: RUNNING (on a worker, or on EXEC_REPLY from resume) -> PARKED (the engine keeps the wait object; the request is in
 * session.parked) -> RUNNING again -> gone. Or PARKED -> ANSWERED: its process was killed and got EINTR; resume() then only frees it.
 * Every request is answered exactly once, by whoever moved it out of PARKED, or by the thread that runs it.
 *
 * Interrupts: a signal alone does not end a request, as no program expects EINTR from a regular file. A process that was
 * killed must not hang until the store is back, though: when a parked request is interrupted and SIGKILL is pending for its
 * thread, it is answered EINTR. A request is parked before it did anything (or, for long truncations and the like, after whole steps of
 * it that stand on their own, as after a crash between them), and is not run again then; nobody is left to see the result.
 *
 * A crash loses nothing here: what was not answered was not acknowledged.
 */
#include "session_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"
#include "logmsg.h"

static void resume(struct volume_wait *w, int rc);

struct request *request_new(fuse_req_t req, const char *what, int (*run)(struct request *q), uint64_t ino)
{
	struct request *q = calloc(1, sizeof(*q));

	if (!q) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	q->wait.resume = resume;
	q->s = session_of(req);
	q->req = req;
	q->what = what;
	q->run = run;
	q->ino = ino;
	q->state = REQUEST_RUNNING;
	return q;
}

static void request_free(struct request *q)
{
	free(q->owned);
	free(q);
}

/* Copies what points into the receive buffer, once. */
static int own(struct request *q)
{
	size_t n = q->name ? strlen(q->name) + 1 : 0, n2 = q->name2 ? strlen(q->name2) + 1 : 0;
	char *p;

	if (q->owned || n + n2 + q->data_len == 0)
		return 0;
	p = malloc(n + n2 + q->data_len);
	if (!p)
		return -ENOMEM;
	q->owned = p;
	if (q->data_len > 0)
		q->data = memcpy(p, q->data, q->data_len);
	if (n > 0)
		q->name = memcpy(p + q->data_len, q->name, n);
	if (n2 > 0)
		q->name2 = memcpy(p + q->data_len + n, q->name2, n2);
	return 0;
}

static void wake_ticker(struct session *s)
{
	uint64_t one = 1;

	/* A counter that is full is readable already. */
	if (write(s->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		logmsg(LOGMSG_WARNING, "the event counter of the mount: %s", strerror(errno));
}

/* libfuse calls this under the request's lock, perhaps at once from fuse_req_interrupt_func. Only marks: /proc is read elsewhere. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct request *q = data;

	(void)req;
	if (!atomic_exchange(&q->interrupted, true)) {
		atomic_fetch_add(&q->s->interrupted, 1);
		wake_ticker(q->s);
	}
}

/* After this no on_interrupt of q runs or will run. */
static void deaf(struct request *q)
{
	fuse_req_interrupt_func(q->req, NULL, NULL);
	if (atomic_exchange(&q->interrupted, false))
		atomic_fetch_sub(&q->s->interrupted, 1);
}

static void answer(struct request *q, int rc)
{
	if (rc == 0)
		fuse_reply_err(q->req, 0);
	else
		reply_error(q->req, q->what, q->ino, rc);
}

static void list_add(struct session *s, struct request *q)
{
	q->prev = NULL;
	q->next = s->parked;
	if (s->parked)
		s->parked->prev = q;
	s->parked = q;
}

static void list_del(struct session *s, struct request *q)
{
	if (q->prev)
		q->prev->next = q->next;
	else
		s->parked = q->next;
	if (q->next)
		q->next->prev = q->prev;
}

/*
 * The engine said ERR_PARKED. Returns true when resume() came in the meantime (*ret_rc is what it said) and the caller goes on;
 * false when q is out of the caller's hands.
 */
static bool park(struct request *q, int *ret_rc)
{
	struct session *s = q->s;
	int rc = own(q);
	bool resumed;

	fuse_req_interrupt_func(q->req, on_interrupt, q);
	pthread_mutex_lock(&s->parked_mu);
	resumed = q->resumed;
	q->resumed = false;
	*ret_rc = q->resume_rc;
	if (!resumed && rc == 0) {
		q->state = REQUEST_PARKED;
		list_add(s, q);
		pthread_mutex_unlock(&s->parked_mu);
		return false;
	}
	if (!resumed) {
		/* It cannot be run later without its arguments: answered now, freed by resume(). */
		deaf(q);
		answer(q, rc);
		q->state = REQUEST_ANSWERED;
	}
	pthread_mutex_unlock(&s->parked_mu);
	if (resumed)
		deaf(q);
	return resumed;
}

static void drive(struct request *q)
{
	int rc;

	for (;;) {
		rc = q->run(q);
		if (rc != ERR_PARKED)
			break;
		if (!park(q, &rc))
			return;
		if (rc < 0 || q->done_on_resume) {
			answer(q, rc);
			request_free(q);
			return;
		}
	}
	if (rc < 0)
		answer(q, rc);
	request_free(q);
}

void request_start(struct request *q)
{
	drive(q);
}

/* On EXEC_REPLY, or (an fsync) on the thread that synced; no lock held. */
static void resume(struct volume_wait *w, int rc)
{
	struct request *q = CL_CONTAINER_OF(w, struct request, wait);
	struct session *s = q->s;

	pthread_mutex_lock(&s->parked_mu);
	if (q->state == REQUEST_RUNNING) {
		q->resumed = true;
		q->resume_rc = rc;
		pthread_mutex_unlock(&s->parked_mu);
		return;
	}
	if (q->state == REQUEST_ANSWERED) {
		pthread_mutex_unlock(&s->parked_mu);
		request_free(q);
		return;
	}
	list_del(s, q);
	q->state = REQUEST_RUNNING;
	pthread_mutex_unlock(&s->parked_mu);
	deaf(q);
	if (rc == 0 && !q->done_on_resume) {
		drive(q);
		return;
	}
	answer(q, rc);
	request_free(q);
}

/* ------------------------------------------------------------------ killed */

/* proc(5): SigPnd and ShdPnd are masks of pending signals. A fatal signal of any kind shows as SIGKILL in the first. */
static bool is_killed(pid_t tid)
{
	char path[48], line[160];
	bool killed = false;
	FILE *f;

	if (tid <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		uint64_t mask;

		if ((sscanf(line, "SigPnd: %" SCNx64, &mask) == 1 || sscanf(line, "ShdPnd: %" SCNx64, &mask) == 1) &&
		    mask >> (SIGKILL - 1) & 1)
			killed = true;
	}
	fclose(f);
	return killed;
}

bool request_reap_killed(struct session *s)
{
	struct request *q, *next;

	if (atomic_load(&s->interrupted) == 0)
		return false;
	pthread_mutex_lock(&s->parked_mu);
	for (q = s->parked; q; q = next) {
		next = q->next;
		if (!atomic_load(&q->interrupted) || !is_killed(fuse_req_ctx(q->req)->pid))
			continue;
		list_del(s, q);
		deaf(q);
		q->state = REQUEST_ANSWERED;
		fuse_reply_err(q->req, EINTR);
		q->req = NULL;
	}
	pthread_mutex_unlock(&s->parked_mu);
	return atomic_load(&s->interrupted) > 0;
}
