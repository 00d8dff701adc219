/*
 * ns_ahead.c - who reads sequentially, and how far ahead of them to fetch.
 *
 * Per inode, not per handle (handles carry no state), in a small table where a newcomer takes the slot that was
 * used longest ago among a few. A reader that goes on where the last read ended (or near it: the kernel's own readahead comes in several
 * requests, not always in order) gets a window that doubles; one that jumps loses it.
 * Protected by the engine's lock.
 */
#include <stdlib.h>

#include "ns.h"

#define SLOTS 256u
#define WAYS 4u
#define NEAR_BYTES (256u << 10)
#define WINDOW_FIRST (256u << 10)
#define WINDOW_MAX (8u << 20)

struct reader { uint64_t ino, last, next, fetched, used; uint32_t window; };
struct readahead { uint64_t clock; struct reader slots[SLOTS]; };

struct readahead *readahead_new(void)
{
	return calloc(1, sizeof(struct readahead));
}

void readahead_free(struct readahead *r)
{
	free(r);
}

static struct reader *reader_of(struct readahead *r, uint64_t ino)
{
	size_t base = (size_t)((ino * 0x9e3779b97f4a7c15u) >> 32) % (SLOTS / WAYS) * WAYS;
	struct reader *oldest = &r->slots[base];

	for (size_t i = 0; i < WAYS; i++) {
		struct reader *s = &r->slots[base + i];

		if (s->ino == ino)
			return s;
		if (s->used < oldest->used)
			oldest = s;
	}
	/* A read that starts a file counts as sequential: next is 0. */
	*oldest = (struct reader){ .ino = ino, .last = UINT64_MAX };
	return oldest;
}

static bool goes_on(const struct reader *s, uint64_t off)
{
	return off >= s->next ? off - s->next <= NEAR_BYTES : s->next - off <= NEAR_BYTES;
}

bool readahead_next(struct readahead *r, uint64_t ino, uint64_t off, uint64_t len, uint64_t size, uint64_t *ret_off,
		    uint64_t *ret_len)
{
	struct reader *s = reader_of(r, ino);
	uint64_t end = off + len, goal;

	s->used = ++r->clock;
	/* The same read again, after it was parked. */
	if (off == s->last)
		return false;
	s->last = off;
	if (!goes_on(s, off)) {
		s->window = 0;
		s->next = s->fetched = end;
		return false;
	}
	if (s->next < end)
		s->next = end;
	if (s->fetched < s->next)
		s->fetched = s->next;
	/* The first read alone proves nothing; from the second on, a step is worth asking for when half the window is used up. */
	if (s->window == 0) {
		s->window = WINDOW_FIRST / 2;
		return false;
	}
	if (s->fetched - s->next > s->window / 2 || s->fetched >= size)
		return false;
	if (s->window < WINDOW_MAX)
		s->window *= 2;
	goal = s->next + s->window;
	if (goal > size)
		goal = size;
	if (goal <= s->fetched)
		return false;
	*ret_off = s->fetched;
	*ret_len = goal - s->fetched;
	s->fetched = goal;
	return true;
}
