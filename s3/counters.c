/* counters.c - the sums of a store's requests, under one mutex so that a reader sees them consistent. */
#include "counters.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "err.h"

void counters_init(struct counters *c)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
}

void counters_destroy(struct counters *c)
{
	pthread_mutex_destroy(&c->lock);
}

uint64_t counters_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

unsigned counters_bucket(uint64_t latency_ns)
{
	uint64_t us = latency_ns / 1000;
	unsigned i = 0;

	while (i < STORE_HIST - 1 && us >= (UINT64_C(64) << i))
		i++;
	return i;
}

void counters_attempt(struct counters *c, enum store_op op, bool retry, uint64_t sent_bytes)
{
	pthread_mutex_lock(&c->lock);
	c->sum.requests[op]++;
	if (retry)
		c->sum.retries[op]++;
	c->sum.bytes_sent += sent_bytes;
	pthread_mutex_unlock(&c->lock);
}

void counters_end(struct counters *c, enum store_op op, int result, uint64_t start_ns, uint64_t received_bytes)
{
	uint64_t now = counters_now_ns();
	unsigned bucket = counters_bucket(now > start_ns ? now - start_ns : 0);

	pthread_mutex_lock(&c->lock);
	if (result != 0 && result != -ENOENT && result != ERR_PRECONDITION)
		c->sum.failures[op]++;
	c->sum.bytes_received += received_bytes;
	c->sum.latency[op][bucket]++;
	pthread_mutex_unlock(&c->lock);
}

void counters_read(struct counters *c, struct store_counters *ret)
{
	pthread_mutex_lock(&c->lock);
	*ret = c->sum;
	pthread_mutex_unlock(&c->lock);
}
