/*
 * pool.h - threads that carry out the requests of a backend whose work blocks (dir, mem): a queue, deadlines while in it,
 * cancellation at the end, and the counting.
 */
#ifndef CLONELOVE_POOL_H
#define CLONELOVE_POOL_H

#include "counters.h"
#include "store.h"

struct pool;

/* run() does the work of one checked request on a thread of the pool and sets its result fields. */
int pool_start(unsigned threads, void (*run)(void *user, struct store_req *r), void *user, struct counters *counters,
	       struct pool **ret);

/* Checks r and queues it; its done() is called by a thread of the pool, or here when r cannot be queued. */
void pool_submit(struct pool *p, struct store_req *r);

/* Cancels what is queued, lets what runs finish, joins the threads, frees p. Not from within done(). */
void pool_stop(struct pool *p);

#endif
