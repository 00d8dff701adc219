/*
 * timer.c - a thread that calls back later.
 *
 * Entries wait in a list sorted by time, searched from its end, where nearly all new ones belong. Whoever unlinks an
 * entry under the lock calls its run(), so that is called once.
 */
#include "timer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "counters.h"
#include "err.h"

struct timer {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct timer_entry head; /* of a ring */
	bool stopped;
	pthread_t thread;
};

static void unlink_entry(struct timer_entry *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->prev = e->next = NULL;
}

static void wait_until(struct timer *t, uint64_t at_ns)
{
	struct timespec at = { .tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000) };

	pthread_cond_timedwait(&t->changed, &t->lock, &at);
}

static void *timer_main(void *arg)
{
	struct timer *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stopped) {
		struct timer_entry *e = t->head.next;

		if (e == &t->head) {
			pthread_cond_wait(&t->changed, &t->lock);
		} else if (e->at_ns > counters_now_ns()) {
			wait_until(t, e->at_ns);
		} else {
			unlink_entry(e);
			pthread_mutex_unlock(&t->lock);
			e->run(e, false);
			pthread_mutex_lock(&t->lock);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int timer_start(struct timer **ret)
{
	struct timer *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;
	sigset_t all, old;
	int rc;

	if (t == NULL)
		return err_set(-ENOMEM, "cannot start a timer: out of memory");
	t->head.prev = t->head.next = &t->head;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->thread, NULL, timer_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		pthread_cond_destroy(&t->changed);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return err_set(-rc, "cannot start a timer: %s", err_text(-rc));
	}
	*ret = t;
	return 0;
}

void timer_add(struct timer *t, struct timer_entry *e, uint64_t after_ns)
{
	struct timer_entry *at;
	bool stopped;

	e->at_ns = counters_now_ns() + after_ns;
	pthread_mutex_lock(&t->lock);
	stopped = t->stopped;
	if (!stopped) {
		for (at = t->head.prev; at != &t->head && at->at_ns > e->at_ns; at = at->prev)
			;
		e->prev = at;
		e->next = at->next;
		at->next->prev = e;
		at->next = e;
		if (at == &t->head)
			pthread_cond_signal(&t->changed);
	}
	pthread_mutex_unlock(&t->lock);
	if (stopped)
		e->run(e, true);
}

void timer_stop(struct timer *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopped = true;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	pthread_mutex_lock(&t->lock);
	while (t->head.next != &t->head) {
		struct timer_entry *e = t->head.next;

		unlink_entry(e);
		pthread_mutex_unlock(&t->lock);
		e->run(e, true);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

void timer_free(struct timer *t)
{
	if (t == NULL)
		return;
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
