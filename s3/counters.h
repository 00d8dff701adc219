/*
 * counters.h - what a store counts: attempts, retries, failures, bytes, and how long answers took. Shared by the
 * backends. Thread-safe; a call costs an uncontended mutex.
 */
#ifndef CLONELOVE_COUNTERS_H
#define CLONELOVE_COUNTERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store.h"

struct counters {
	pthread_mutex_t lock;
	struct store_counters sum;
};

void counters_init(struct counters *c);
void counters_destroy(struct counters *c);

/* CLOCK_MONOTONIC in ns: a request's start, for counters_end. */
uint64_t counters_now_ns(void);

/* One attempt goes out with that many bytes of body. retry: it is not the request's first. */
void counters_attempt(struct counters *c, enum store_op op, bool retry, uint64_t sent_bytes);

/* The request is over (once, however many attempts): its result, its start, the bytes of body that came back. */
void counters_end(struct counters *c, enum store_op op, int result, uint64_t start_ns, uint64_t received_bytes);

void counters_read(struct counters *c, struct store_counters *ret);

/* The histogram's bucket for an answer that took so long. */
unsigned counters_bucket(uint64_t latency_ns);

#endif
