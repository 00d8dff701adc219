/* stamp.c - the hybrid clock. Stateless: the only memory it needs is the parent's stamp, and that is in the index. */
#include "stamp.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t stamp_median(uint64_t *us, size_t count)
{
	qsort(us, count, sizeof *us, by_value);
	return us[(count - 1) / 2];
}

uint64_t stamp_next(uint64_t parent, uint64_t now_us, uint64_t *peers_us, size_t peer_count)
{
	uint64_t wall = now_us;

	if (peer_count) {
		uint64_t median = stamp_median(peers_us, peer_count), bound;

		bound = median > UINT64_MAX - STAMP_AHEAD_US ? UINT64_MAX : median + STAMP_AHEAD_US;
		if (wall > bound)
			wall = bound;
	}
	if (wall == 0)
		wall = 1; /* 0 means no stamp */
	/* UINT64_MAX would leave no room for a child: a decoder refuses it, so a parent never is. */
	return wall > parent ? wall : parent + 1;
}
