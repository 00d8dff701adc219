/*
 * stamp.h - the hybrid clock: stamps that follow causality and stay near the wall clock (Kulkarni and others, "Logical Physical
 * Clocks", 2014), without a node's wrong clock drawing the others' along.
 *
 * A stamp is microseconds since 1970 of a wall clock, so that 64 bits do for both halves: what must come later than its
 * parent within a microsecond is simply one more. Comparing never rejects a stamp; making one is bounded (CLUSTER rule 9):
 *
 *     stamp = max(parent + 1, min(own clock, median of the peers' clocks + 1 s))
 *
 * where the peers' clocks are what they said, and our boot clock since: so a clock that is hours ahead cannot win conflicts for hours, one that is behind still follows causality, and a stamp from
 * far ahead is answered (parent + 1) but never becomes anybody's clock.
 */
#ifndef CLONELOVE_STAMP_H
#define CLONELOVE_STAMP_H

#include <stddef.h>
#include <stdint.h>

#define STAMP_AHEAD_US 1000000ull

/* parent: the stamp of what this change replaces, 0 = nothing. now_us: our wall clock. peers_us: what the peers' wall clocks
 * show now (may be empty: then ours is all there is). Sorts peers_us in place. */
uint64_t stamp_next(uint64_t parent, uint64_t now_us, uint64_t *peers_us, size_t peer_count);

/* The median of the clocks; the lower of the two middle ones. count > 0. Sorts in place. */
uint64_t stamp_median(uint64_t *us, size_t count);

#endif
