/*
 * step.h - time and background work of a volume in one thread, step by step: the same calls run the same jobs in the same order. For tests that
 * count events ("the Nth fails").
 *
 * Whoever waits (the engine by exec->idle and by condition variables, a test by step_once) runs the next job; where none is due, time moves on to
 * when one is.
 */
#ifndef CLONELOVE_TEST_STEP_H
#define CLONELOVE_TEST_STEP_H

#include <stdbool.h>

#include "env.h"
#include "exec.h"
#include "store.h"

struct env *step_env(void);   /* virtual clocks, reproducible randomness; step_reset begins them anew */
struct exec *step_exec(void);
void step_reset(void);        /* nothing may be queued */
bool step_once(void);         /* false: nothing is queued, not even for later */
void step_all_due(void);      /* runs what is due, without moving time */
unsigned long step_count(void); /* steps since step_reset: a test that waits for ever ends by this */

/* For a test program's own pthread_cond_wait and nanosleep (defined there, so that no other program gets them): is the calling thread the one
 * that the world runs on? Then waiting is a step, and sleeping (which may be done with locks held) lets only time go on. */
bool step_is_mine(void);
void step_sleep(uint64_t ns);

/* Every request of this layer is answered before submit returns. below is borrowed. */
struct store *step_store(struct store *below);

#endif
