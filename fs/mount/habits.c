/*
 * habits.c - one word for each file, by its inode number; files that share a place push each other out.
 *
 * ino << 3 | written since the last fsync << 2 | how many fsyncs in a row came after exactly one write, up to 3. Threads may overtake each
 * other between a load and its store: the worst is a sync too many, or one that begins late.
 */
#include "habits.h"

#define WRITTEN 4u
#define IN_A_ROW 3u

static unsigned look(struct habits *h, uint64_t ino)
{
	uint64_t was = atomic_load_explicit(&h->of[ino % HABITS], memory_order_relaxed);

	return was >> 3 == ino ? (unsigned)(was & (WRITTEN | IN_A_ROW)) : 0;
}

static void keep(struct habits *h, uint64_t ino, unsigned habit)
{
	atomic_store_explicit(&h->of[ino % HABITS], ino << 3 | habit, memory_order_relaxed);
}

bool habits_wrote(struct habits *h, uint64_t ino)
{
	unsigned habit = look(h, ino);

	keep(h, ino, habit & WRITTEN ? WRITTEN : habit | WRITTEN);
	return habit == IN_A_ROW;
}

void habits_synced(struct habits *h, uint64_t ino)
{
	unsigned habit = look(h, ino);

	if (habit & WRITTEN)
		keep(h, ino, (habit & IN_A_ROW) < IN_A_ROW ? (habit & IN_A_ROW) + 1 : IN_A_ROW);
}
