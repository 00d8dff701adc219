/*
 * pool.c - threads that carry out requests.
 *
 * One mutex guards the queue. A request is in the queue, or with exactly one thread, or done. Once `closing` is set nothing
 * enters the queue, and what it held is answered -ECANCELED without having been started, so never ambiguously. What runs is
 * left to finish: its answer is the true one.
 */
#include "pool.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "backends.h"
#include "err.h"

#define DEADLINE_MS 30000
#define POOL_THREADS_MAX 256

struct task {
	struct store_req *req;
	uint64_t start_ns;
	struct task *next;
};

struct pool {
	void (*run)(void *user, struct store_req *r);
	void *user;
	struct counters *counters;
	pthread_mutex_t lock;
	pthread_cond_t ready;
	struct task *head, **tail;
	bool closing;
	unsigned started;
	pthread_t threads[];
};

static bool is_late(const struct task *t)
{
	uint64_t ms = t->req->deadline_ms ? t->req->deadline_ms : DEADLINE_MS;

	return (counters_now_ns() - t->start_ns) / 1000000 >= ms;
}

static void task_run(struct pool *p, struct task *t)
{
	struct store_req *r = t->req;

	if (is_late(t)) {
		store_fail(r, ERR_UNAVAILABLE, "waited for a thread until the deadline");
	} else {
		counters_attempt(p->counters, r->op, false, r->op == STORE_PUT ? store_body_bytes(r) : 0);
		p->run(p->user, r);
	}
	counters_end(p->counters, r->op, r->result, t->start_ns, r->data_len);
	free(t);
	r->done(r);
}

/* The next task; NULL when the pool closes. */
static struct task *task_take(struct pool *p)
{
	struct task *t = NULL;

	pthread_mutex_lock(&p->lock);
	while (p->head == NULL && !p->closing)
		pthread_cond_wait(&p->ready, &p->lock);
	if (!p->closing) {
		t = p->head;
		p->head = t->next;
		if (p->head == NULL)
			p->tail = &p->head;
	}
	pthread_mutex_unlock(&p->lock);
	return t;
}

static void *pool_main(void *arg)
{
	struct pool *p = arg;
	struct task *t;

	while ((t = task_take(p)) != NULL)
		task_run(p, t);
	return NULL;
}

static void cancel(struct pool *p, struct store_req *r)
{
	store_fail(r, -ECANCELED, "the store is being closed");
	counters_end(p->counters, r->op, r->result, counters_now_ns(), 0);
	r->done(r);
}

void pool_submit(struct pool *p, struct store_req *r)
{
	struct task *t;

	if (store_check_req(r)) {
		r->done(r);
		return;
	}
	t = malloc(sizeof(*t));
	if (t == NULL) {
		store_fail(r, -ENOMEM, "out of memory");
		r->done(r);
		return;
	}
	*t = (struct task){ .req = r, .start_ns = counters_now_ns() };
	pthread_mutex_lock(&p->lock);
	if (!p->closing) {
		*p->tail = t;
		p->tail = &t->next;
		pthread_cond_signal(&p->ready);
		t = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	if (t != NULL) {
		free(t);
		cancel(p, r);
	}
}

static int thread_add(struct pool *p)
{
	sigset_t all, old;
	int rc;

	/* Signals belong to the program's main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->threads[p->started], NULL, pool_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!rc)
		p->started++;
	return -rc;
}

int pool_start(unsigned threads, void (*run)(void *user, struct store_req *r), void *user, struct counters *counters,
	       struct pool **ret)
{
	struct pool *p;
	int rc = 0;

	if (threads < 1 || threads > POOL_THREADS_MAX)
		return err_set(ERR_CONFIG, "a store has 1 to %d threads, not %u", POOL_THREADS_MAX, threads);
	p = calloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
	if (p == NULL)
		return err_set(-ENOMEM, "cannot start the store's threads: out of memory");
	p->run = run;
	p->user = user;
	p->counters = counters;
	p->tail = &p->head;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->ready, NULL);
	while (p->started < threads && !rc)
		rc = thread_add(p);
	if (rc) {
		pool_stop(p);
		return err_set(rc, "cannot start the store's threads: %s", err_text(rc));
	}
	*ret = p;
	return 0;
}

void pool_stop(struct pool *p)
{
	struct task *t, *next;

	if (p == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	t = p->head;
	p->head = NULL;
	p->tail = &p->head;
	pthread_cond_broadcast(&p->ready);
	pthread_mutex_unlock(&p->lock);
	for (; t != NULL; t = next) {
		next = t->next;
		cancel(p, t->req);
		free(t);
	}
	for (unsigned i = 0; i < p->started; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->ready);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
