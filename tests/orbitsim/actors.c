/*
 * actors.c - threads of which exactly one runs: an actor goes on until it sleeps (each call of a double does), then the scheduler wakes whoever is next in
 * virtual time. Threads, and not contexts of one, so that blocking code is what it is, and sanitizers know the stacks.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orbit.h"

static _Thread_local struct actor *self;

struct actor *actor_self(void)
{
	return self;
}

uint64_t process_now(const struct process *p)
{
	return p->boot_ns + p->w->now_ns / 1000 * p->rate;
}

void note(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->trace)
		return;
	printf("%10.3f %-6s ", (double)w->now_ns / 1e9, self ? self->p->name : "-");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void violate(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->violation, sizeof(w->violation), fmt, ap);
	va_end(ap);
	note(w, "VIOLATION: %s", w->violation);
}

static void wait_sem(sem_t *s)
{
	while (sem_wait(s) != 0)
		;
}

void actor_sleep(struct actor *a, uint64_t ns)
{
	if (a->w->ending)
		return;
	a->wake_ns = a->w->now_ns + ns;
	if (a->wake_ns < a->p->frozen_ns)
		a->wake_ns = a->p->frozen_ns;
	sem_post(&a->w->turn);
	wait_sem(&a->go);
}

static void *body(void *user)
{
	struct actor *a = user;

	self = a;
	wait_sem(&a->go);
	a->run(a);
	a->over = true;
	sem_post(&a->w->turn);
	return NULL;
}

void actors_start(struct world *w)
{
	sem_init(&w->turn, 0, 0);
	for (unsigned i = 0; i < ACTORS; i++) {
		sem_init(&w->actors[i].go, 0, 0);
		if (pthread_create(&w->actors[i].thread, NULL, body, &w->actors[i]) != 0)
			abort();
	}
}

void actors_run(struct world *w, uint64_t until_ns, void (*between)(struct world *w))
{
	while (!w->violation[0]) {
		struct actor *next = NULL;

		for (unsigned i = 0; i < ACTORS; i++)
			if (!w->actors[i].over && (!next || w->actors[i].wake_ns < next->wake_ns))
				next = &w->actors[i];
		if (!next || next->wake_ns > until_ns)
			break;
		if (next->wake_ns > w->now_ns)
			w->now_ns = next->wake_ns;
		late_land(w);
		between(w);
		sem_post(&next->go);
		wait_sem(&w->turn);
	}
	if (w->now_ns < until_ns)
		w->now_ns = until_ns;
}

void actors_stop(struct world *w)
{
	w->ending = true;
	for (unsigned i = 0; i < PROCESSES; i++)
		w->processes[i].crashed = true;
	for (unsigned i = 0; i < ACTORS; i++) {
		if (!w->actors[i].over) {
			sem_post(&w->actors[i].go);
			wait_sem(&w->turn);
		}
		pthread_join(w->actors[i].thread, NULL);
		sem_destroy(&w->actors[i].go);
	}
	sem_destroy(&w->turn);
}
