/* rate.c - no state but the caller's. The bucket is filled up to the present whenever it is asked. */
#include "rate.h"

#define S_NS 1000000000ull

static int64_t full(const struct rate *r)
{
	uint64_t burst = r->bytes_s / 1000 * RATE_BURST_MS + r->bytes_s % 1000 * RATE_BURST_MS / 1000;

	return burst ? (int64_t)burst : 1;
}

void rate_init(struct rate *r, uint64_t bytes_s, uint64_t now_ns)
{
	*r = (struct rate){ .bytes_s = bytes_s < INT64_MAX / 1000 ? bytes_s : INT64_MAX / 1000, .at_ns = now_ns };
	r->left = full(r);
}

bool rate_ready(struct rate *r, uint64_t now_ns)
{
	uint64_t passed = now_ns > r->at_ns ? now_ns - r->at_ns : 0, bytes, most;

	if (!r->bytes_s)
		return true;
	most = (uint64_t)(full(r) - r->left);
	/* Whole bytes alone, and the time they take, rounded against who sends: what is left of it counts the next time. */
	if (passed / S_NS >= most / r->bytes_s + 1) {
		r->left = full(r);
		r->at_ns = now_ns;
	} else {
		bytes = (uint64_t)((__extension__ (unsigned __int128)passed) * r->bytes_s / S_NS);
		if (bytes >= most) {
			r->left = full(r);
			r->at_ns = now_ns;
		} else {
			r->left += (int64_t)bytes;
			r->at_ns += (uint64_t)(((__extension__ (unsigned __int128)bytes) * S_NS + r->bytes_s - 1) / r->bytes_s);
		}
	}
	return r->left > 0;
}

void rate_took(struct rate *r, uint64_t bytes)
{
	if (r->bytes_s)
		r->left -= bytes < INT64_MAX / 4 ? (int64_t)bytes : INT64_MAX / 4;
}

void rate_gave_back(struct rate *r, uint64_t bytes)
{
	if (!r->bytes_s)
		return;
	r->left += bytes < INT64_MAX / 4 ? (int64_t)bytes : INT64_MAX / 4;
	if (r->left > full(r))
		r->left = full(r);
}

uint64_t rate_ready_at(const struct rate *r)
{
	uint64_t missing = r->left > 0 ? 0 : (uint64_t)(1 - r->left);

	return r->bytes_s ? r->at_ns + (uint64_t)((__extension__ (unsigned __int128)missing) * S_NS / r->bytes_s) + 1 : 0;
}
