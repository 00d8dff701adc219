/*
 * progress.c - tells a terminal what goes on, over itself; silent elsewhere.
 *
 * The owner draws when it has something new, at most ten times a second. A thread draws when a second has passed without that, so that no call, however
 * long, leaves the person at the terminal alone. It lives from begin to end, and only where somebody looks. ticker.mu guards what is drawn.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define BAR 30
#define DRAW_EVERY_NS 100000000u
#define SILENT_NS 1000000000u
#define TICK_NS 100000000

static struct { pthread_mutex_t mu; pthread_cond_t cond; pthread_t thread; struct progress *bar; bool running; } ticker = {
	.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void draw_line(const struct progress *p, uint64_t done, uint64_t total, uint64_t seconds)
{
	char bar[BAR + 1];

	if (total) {
		fprintf(stderr, "\r\033[K%-28.28s", p->what);
		for (unsigned i = 0; i < BAR; i++)
			bar[i] = i < done * BAR / total ? '#' : '.';
		bar[BAR] = '\0';
		fprintf(stderr, " [%s] %3u%%", bar, (unsigned)(done * 100 / total));
	} else {
		fprintf(stderr, "\r\033[K%s", p->what);
		if (done)
			fprintf(stderr, " %" PRIu64, done);
	}
	if (seconds)
		fprintf(stderr, " %" PRIu64 " s", seconds);
	fflush(stderr);
}

/* ticker.mu held. */
static void draw(struct progress *p, uint64_t now)
{
	uint64_t done = atomic_load(&p->done), total = atomic_load(&p->total);

	if (total && total < done)
		total = done;
	if (p->tty)
		draw_line(p, done, total, (now - p->begun_ns) / 1000000000u);
	if (p->fd >= 0)
		dprintf(p->fd, "%d %" PRIu64 " %" PRIu64 "\n", p->stage, done, total ? total : done);
	p->drawn = true;
	p->drawn_ns = now;
}

static void *ticker_main(void *arg)
{
	struct timespec at;
	uint64_t now;

	(void)arg;
	pthread_mutex_lock(&ticker.mu);
	while (ticker.bar) {
		clock_gettime(CLOCK_REALTIME, &at);
		at.tv_nsec += TICK_NS;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&ticker.cond, &ticker.mu, &at);
		now = now_ns();
		if (ticker.bar && now - ticker.bar->drawn_ns >= SILENT_NS)
			draw(ticker.bar, now);
	}
	pthread_mutex_unlock(&ticker.mu);
	return NULL;
}

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	sigset_t all, old;

	p->what = what;
	p->stage++;
	p->tty = isatty(STDERR_FILENO) == 1;
	p->drawn = false;
	p->begun_ns = p->drawn_ns = now_ns();
	atomic_store(&p->total, total);
	atomic_store(&p->done, 0);
	if (!p->tty && p->fd < 0)
		return;
	ticker.bar = p;
	sigfillset(&all); /* signals are for the program's own thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ticker.running = pthread_create(&ticker.thread, NULL, ticker_main, NULL) == 0; /* else the owner alone draws */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void progress_add(struct progress *p, uint64_t n)
{
	atomic_fetch_add(&p->done, n);
}

void progress_draw(struct progress *p)
{
	uint64_t now;

	if (!p->tty && p->fd < 0)
		return;
	now = now_ns();
	pthread_mutex_lock(&ticker.mu);
	if (now >= p->drawn_ns + DRAW_EVERY_NS)
		draw(p, now);
	pthread_mutex_unlock(&ticker.mu);
}

void progress_say(struct progress *p, const char *what)
{
	pthread_mutex_lock(&ticker.mu);
	p->what = what;
	pthread_mutex_unlock(&ticker.mu);
}

/* ticker.mu held. */
static void erase(struct progress *p)
{
	if (p->tty && p->drawn) {
		fprintf(stderr, "\r\033[K");
		fflush(stderr);
	}
	p->drawn = false;
}

void progress_hide(struct progress *p)
{
	pthread_mutex_lock(&ticker.mu);
	erase(p);
	p->drawn_ns = now_ns();
	pthread_mutex_unlock(&ticker.mu);
}

void progress_end(struct progress *p)
{
	bool running;

	pthread_mutex_lock(&ticker.mu);
	if (p->fd >= 0)
		draw(p, now_ns());
	erase(p); /* what follows is the result */
	ticker.bar = NULL;
	running = ticker.running;
	ticker.running = false;
	pthread_cond_signal(&ticker.cond);
	pthread_mutex_unlock(&ticker.mu);
	if (running)
		pthread_join(ticker.thread, NULL);
}
