/*
 * exec_threads.c - the executor made of real threads.
 *
 * Each lane is a FIFO served by its threads. Timed jobs wait in one list
 * sorted by time; a timer thread sleeps on a timerfd of CLOCK_BOOTTIME (a
 * condition variable cannot wait on that clock) and moves what is due into the
 * lanes. One mutex guards everything here; it is held for a few pointer moves
 * and never while a job runs.
 *
 * Invariant: pending counts jobs that are timed, queued or running. A running
 * job may queue more, so stopping is over only when pending is 0; only then
 * are the threads told to leave.
 */
#include "exec.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "compiler.h"
#include "err.h"

#define WORK_THREADS_MAX 256

struct lane {
	struct threads *owner;
	pthread_cond_t ready;
	struct job *head, **tail;
};

struct threads {
	struct exec exec; /* what callers see */
	pthread_mutex_t lock;
	pthread_cond_t idle;   /* pending became 0 while stopping */
	struct lane lanes[EXEC_LANES];
	struct job *timed[EXEC_LANES]; /* sorted by at_boot_ns; first come first among equals */
	uint64_t pending;
	bool stopping; /* timed jobs run at once from here on */
	bool leave;    /* the threads end */
	int timer_fd;
	unsigned started;
	pthread_t threads[]; /* the timer's first */
};

static struct threads *threads_of(struct exec *x)
{
	return CL_CONTAINER_OF(x, struct threads, exec);
}

/* Arms the timer for the earliest timed job. at == 0 disarms it, at == 1 fires at once. Lock held. */
static void arm(struct threads *t, uint64_t at)
{
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(at / 1000000000),
						 .tv_nsec = (long)(at % 1000000000) } };

	/* Cannot fail for a valid descriptor and time; a timer that never fires would hang its owners silently. */
	if (timerfd_settime(t->timer_fd, TFD_TIMER_ABSTIME, &when, NULL))
		abort();
}

/* Lock held. */
static void arm_earliest(struct threads *t)
{
	uint64_t at = 0;

	for (int i = 0; i < EXEC_LANES; i++)
		if (t->timed[i] != NULL && (at == 0 || t->timed[i]->at_boot_ns < at))
			at = t->timed[i]->at_boot_ns;
	arm(t, at);
}

/* Lock held. */
static void lane_push(struct lane *l, struct job *j)
{
	j->next = NULL;
	*l->tail = j;
	l->tail = &j->next;
	pthread_cond_signal(&l->ready);
}

static void threads_submit(struct exec *x, enum exec_lane lane, struct job *j)
{
	struct threads *t = threads_of(x);

	pthread_mutex_lock(&t->lock);
	t->pending++;
	lane_push(&t->lanes[lane], j);
	pthread_mutex_unlock(&t->lock);
}

static void threads_submit_at(struct exec *x, enum exec_lane lane, uint64_t at_boot_ns, struct job *j)
{
	struct threads *t = threads_of(x);
	struct job **at;

	pthread_mutex_lock(&t->lock);
	t->pending++;
	if (t->stopping) {
		lane_push(&t->lanes[lane], j);
	} else {
		j->at_boot_ns = at_boot_ns > 0 ? at_boot_ns : 1; /* 0 would disarm the timer */
		for (at = &t->timed[lane]; *at != NULL && (*at)->at_boot_ns <= j->at_boot_ns; at = &(*at)->next)
			;
		j->next = *at;
		*at = j;
		if (at == &t->timed[lane])
			arm_earliest(t);
	}
	pthread_mutex_unlock(&t->lock);
}

static uint64_t boot_ns(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_BOOTTIME, &now))
		abort();
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Moves what is due by `now` into the lanes. Lock held. */
static void release_due(struct threads *t, uint64_t now)
{
	for (int i = 0; i < EXEC_LANES; i++)
		while (t->timed[i] != NULL && t->timed[i]->at_boot_ns <= now) {
			struct job *j = t->timed[i];

			t->timed[i] = j->next;
			lane_push(&t->lanes[i], j);
		}
	arm_earliest(t);
}

static void threads_idle(struct exec *x)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	(void)x;
	nanosleep(&pause, NULL); /* cut short by a signal is fine: the caller looks again */
}

static void *timer_main(void *arg)
{
	struct threads *t = arg;
	bool leave = false;

	while (!leave) {
		uint64_t fired;

		if (read(t->timer_fd, &fired, sizeof(fired)) < 0 && errno != EINTR)
			abort();
		pthread_mutex_lock(&t->lock);
		leave = t->leave;
		if (!leave)
			release_due(t, boot_ns());
		pthread_mutex_unlock(&t->lock);
	}
	return NULL;
}

static void *lane_main(void *arg)
{
	struct lane *l = arg;
	struct threads *t = l->owner;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct job *j = l->head;

		if (j == NULL) {
			if (t->leave)
				break;
			pthread_cond_wait(&l->ready, &t->lock);
			continue;
		}
		l->head = j->next;
		if (l->head == NULL)
			l->tail = &l->head;
		pthread_mutex_unlock(&t->lock);
		j->run(j); /* may have freed j */
		pthread_mutex_lock(&t->lock);
		if (--t->pending == 0 && t->stopping)
			pthread_cond_broadcast(&t->idle);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* Tells every thread to leave, joins them and frees t. */
static void threads_end(struct threads *t)
{
	pthread_mutex_lock(&t->lock);
	t->leave = true;
	for (int i = 0; i < EXEC_LANES; i++)
		pthread_cond_broadcast(&t->lanes[i].ready);
	arm(t, 1);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->started; i++)
		pthread_join(t->threads[i], NULL);
	for (int i = 0; i < EXEC_LANES; i++)
		pthread_cond_destroy(&t->lanes[i].ready);
	pthread_cond_destroy(&t->idle);
	pthread_mutex_destroy(&t->lock);
	close(t->timer_fd);
	free(t);
}

static int thread_add(struct threads *t, const char *name, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	int rc;

	/* Signals belong to the program's main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&t->threads[t->started], NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return -rc;
	pthread_setname_np(t->threads[t->started], name); /* for ps and debuggers; no harm where it fails */
	t->started++;
	return 0;
}

int exec_threads_start(unsigned work_threads, struct exec **ret)
{
	static const char *const name[EXEC_LANES] = { "cl-sync", "cl-work", "cl-reply", "cl-files" };
	const unsigned count[EXEC_LANES] = { 1, work_threads, 2, 1 };
	struct threads *t;
	int rc;

	if (work_threads < 1 || work_threads > WORK_THREADS_MAX)
		return err_set(-EINVAL, "cannot start %u work threads: must be 1 to %d", work_threads, WORK_THREADS_MAX);
	t = calloc(1, sizeof(*t) + (work_threads + 5) * sizeof(t->threads[0]));
	if (t == NULL)
		return err_set(-ENOMEM, "cannot start threads: out of memory");
	t->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	if (t->timer_fd < 0) {
		rc = -errno;
		free(t);
		return err_set(rc, "cannot make a timer: %s", err_text(rc));
	}
	t->exec = (struct exec){ threads_submit, threads_submit_at, threads_idle };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->idle, NULL);
	for (int i = 0; i < EXEC_LANES; i++) {
		t->lanes[i].owner = t;
		t->lanes[i].tail = &t->lanes[i].head;
		pthread_cond_init(&t->lanes[i].ready, NULL);
	}
	rc = thread_add(t, "cl-timer", timer_main, t);
	for (int i = 0; i < EXEC_LANES; i++)
		for (unsigned k = 0; k < count[i] && !rc; k++)
			rc = thread_add(t, name[i], lane_main, &t->lanes[i]);
	if (rc) {
		threads_end(t);
		return err_set(rc, "cannot start a thread: %s", err_text(rc));
	}
	*ret = &t->exec;
	return 0;
}

void exec_threads_stop(struct exec *x)
{
	struct threads *t;

	if (x == NULL)
		return;
	t = threads_of(x);
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	release_due(t, UINT64_MAX);
	while (t->pending > 0)
		pthread_cond_wait(&t->idle, &t->lock);
	pthread_mutex_unlock(&t->lock);
	threads_end(t);
}
