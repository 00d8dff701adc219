/*
 * version.h - which change knows of which: dots, vectors, contexts.
 *
 * A dot names one change: the incarnation of the node that made it (16 random bytes) and a sequence number that this incarnation has
 * given to nothing else, from 1. A vector says for some incarnations the last sequence known; an incarnation that is not
 * in it stands at 0. The vector of an entry is about its path alone; a node's context is about everything.
 * DESIGN.md has what they mean; CLUSTER rule 1 and 2 what they guard against.
 *
 * Pure functions; nothing here is thread-safe by itself. Allocation failures are -ENOMEM.
 */
#ifndef CLONELOVE_VERSION_H
#define CLONELOVE_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define INCARNATION_BYTES 16
#define VECTOR_MAX 4096u /* elements a decoder accepts: members a cluster ever had */

struct dot {
	uint8_t inc[INCARNATION_BYTES];
	uint64_t seq; /* 0: no change at all (what was found on disk and has no version yet) */
};

struct vector {
	struct dot *dots; /* sorted by incarnation, no two alike, no seq 0 */
	size_t count, cap;
};

#define VECTOR_INIT { NULL, 0, 0 }

bool dot_equal(const struct dot *a, const struct dot *b);
/* A total order without meaning, the same on every node: <0, 0, >0. */
int dot_compare(const struct dot *a, const struct dot *b);

void vector_free(struct vector *v); /* leaves an empty one */
int vector_copy(const struct vector *from, struct vector *to); /* `to` is overwritten, its memory reused; unchanged on failure */
uint64_t vector_get(const struct vector *v, const uint8_t *inc);
/* Raises v[d.inc] to d.seq where it is lower. */
int vector_raise(struct vector *v, const struct dot *d);
/* v = the larger of both, element by element. Unchanged on failure. */
int vector_join(struct vector *v, const struct vector *other);
/* The same, of what somebody else sent: -E2BIG, and unchanged, where it would have more elements than that. */
int vector_join_within(struct vector *v, const struct vector *other, size_t most);
/* v[d.inc] >= d.seq. A dot with seq 0 is covered by everything. */
bool vector_covers(const struct vector *v, const struct dot *d);
/* Every element of other is covered by v. */
bool vector_includes(const struct vector *v, const struct vector *other);
/* Drops an incarnation (of a node that was forgotten). */
void vector_drop(struct vector *v, const uint8_t *inc);

/* u16 count, then per element 16 bytes and a u64. */
void vector_encode(const struct vector *v, struct buf *out);
/* Takes hostile bytes: on anything unsorted, doubled, zero or over VECTOR_MAX the cursor fails and *ret is empty. */
void vector_decode(struct cursor *c, struct vector *ret);

#endif
