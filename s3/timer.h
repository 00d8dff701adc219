/*
 * timer.h - a thread that calls back later: for the layers that hold requests for a while. Real time (CLOCK_MONOTONIC).
 */
#ifndef CLONELOVE_TIMER_H
#define CLONELOVE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct timer;

/* Embedded in its owner; run() is called with no lock held and may free it. early: the timer is being stopped. */
struct timer_entry {
	void (*run)(struct timer_entry *e, bool early);
	/* private */
	uint64_t at_ns;
	struct timer_entry *prev, *next;
};

int timer_start(struct timer **ret);
/* Calls e->run after so long; at once (early, from here) when the timer has been stopped. */
void timer_add(struct timer *t, struct timer_entry *e, uint64_t after_ns);
/* Runs all that is left, early, from here; later ones are run at once. Waits for a run() that is under way. */
void timer_stop(struct timer *t);
/* After timer_stop, when nobody calls timer_add any more. NULL is fine. */
void timer_free(struct timer *t);

#endif
