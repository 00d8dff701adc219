/*
 * habits.h - which files are synced after each write: their next sync may begin as soon as a write is answered, before the
 * kernel has brought the fsync. From any thread, no lock.
 */
#ifndef CLONELOVE_HABITS_H
#define CLONELOVE_HABITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HABITS 256

/* All zero: nothing is known. */
struct habits { atomic_uint_fast64_t of[HABITS]; };

/* A write of ino was answered. True: an fsync is likely to follow it. */
bool habits_wrote(struct habits *h, uint64_t ino);
/* An fsync of ino came. */
void habits_synced(struct habits *h, uint64_t ino);

#endif
