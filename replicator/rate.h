/*
 * rate.h - so many bytes a second and no more: a token bucket. Time is the caller's (boot time, in ns).
 *
 * What is sent may be larger than what the bucket holds: it is sent whole as soon as the bucket is not empty, and leaves a debt. So a piece of any size gets through, and over any
 * time from t0 to t1 no more is sent than rate * (t1 - t0) + RATE_BURST_MS of it + one piece.
 */
#ifndef CLONELOVE_RATE_H
#define CLONELOVE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_BURST_MS 200u

struct rate { uint64_t bytes_s; /* 0: no limit */ int64_t left; uint64_t at_ns; };

void rate_init(struct rate *r, uint64_t bytes_s, uint64_t now_ns); /* full */
/* May something be sent now? */
bool rate_ready(struct rate *r, uint64_t now_ns);
void rate_took(struct rate *r, uint64_t bytes);
/* Takes back what was not sent after all. */
void rate_gave_back(struct rate *r, uint64_t bytes);
/* When something may be sent, if nothing is sent before; as of the last rate_ready. 0: no limit. */
uint64_t rate_ready_at(const struct rate *r);

#endif
