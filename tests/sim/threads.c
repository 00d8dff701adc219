/*
 * threads.c - the C library's blocking calls, for the one thread of a
 * simulation: whoever would block lets the world go on instead. Being defined in the
 * program, these take the place of the library's own for everything linked into it.
 *
 * A condition variable's wait returns after a little while, signalled or not, as POSIX
 * allows. Outside of a coroutine the calls are what they always are.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

static uint64_t virtual_ns(struct proc *p, clockid_t clock)
{
	return clock == CLOCK_REALTIME ? p->env.real_ns(&p->env) : p->env.boot_ns(&p->env);
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
	int rc;

	while ((rc = pthread_mutex_trylock(m)) == EBUSY)
		coro_sleep(20 * SIM_US);
	return rc;
}

int pthread_cond_wait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m)
{
	(void)c;
	pthread_mutex_unlock(m);
	coro_sleep(SIM_MS);
	return pthread_mutex_lock(m);
}

int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, const struct timespec *restrict until)
{
	struct proc *p = coro_proc();
	uint64_t at = (uint64_t)until->tv_sec * SIM_S + (uint64_t)until->tv_nsec;
	int rc;

	pthread_cond_wait(c, m);
	/* Which clock the condition uses is not known here: the nearer one is meant. */
	rc = p && (virtual_ns(p, CLOCK_MONOTONIC) >= at || virtual_ns(p, CLOCK_REALTIME) >= at) ? ETIMEDOUT : 0;
	return at > 1000000000ull * SIM_S && p && virtual_ns(p, CLOCK_REALTIME) < at ? 0 : rc;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	struct proc *p = coro_proc();
	uint64_t ns;

	if (!p)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ns = virtual_ns(p, clock);
	ts->tv_sec = (time_t)(ns / SIM_S);
	ts->tv_nsec = (long)(ns % SIM_S);
	return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	uint64_t ns = (uint64_t)t->tv_sec * SIM_S + (uint64_t)t->tv_nsec;
	struct proc *p = coro_proc();

	(void)left;
	if (flags & TIMER_ABSTIME) {
		uint64_t now = p ? virtual_ns(p, clock) : 0;

		ns = ns > now ? ns - now : 0;
	}
	coro_sleep(ns);
	return 0;
}

int nanosleep(const struct timespec *t, struct timespec *left)
{
	return clock_nanosleep(CLOCK_MONOTONIC, 0, t, left);
}

int usleep(useconds_t us)
{
	coro_sleep(us * SIM_US);
	return 0;
}

int sched_yield(void)
{
	coro_sleep(100 * SIM_US);
	return 0;
}
