/*
 * hash_lanes.h - BLAKE2b-256 of several contents of one length at once, each in a lane of the processor's vectors: with AVX-512 or AVX2 three to seven times as fast as one after
 * the other. Elsewhere it is just that, by libsodium. The hashes are the same (RFC 7693).
 *
 * A hash_lanes is one thread's at a time.
 */
#ifndef CLONELOVE_HASH_LANES_H
#define CLONELOVE_HASH_LANES_H

#include <stdbool.h>

#include "hash.h"

#define HASH_LANES 8u
#define HASH_LANES_BLOCK 128u

enum hash_lanes_kind { HASH_LANES_PLAIN, HASH_LANES_AVX2, HASH_LANES_AVX512 };

struct hash_lanes;
struct hash_lanes *hash_lanes_new(unsigned count); /* of so many contents, 1 to HASH_LANES; NULL without memory */
struct hash_lanes *hash_lanes_new_as(enum hash_lanes_kind kind, unsigned count); /* for tests; NULL as well: not on this processor */
/* The next len bytes of each, not 0: a multiple of HASH_LANES_BLOCK, but in the last call, which has to come. */
void hash_lanes_add(struct hash_lanes *s, const uint8_t *const *p, size_t len, bool last);
void hash_lanes_end(struct hash_lanes *s, uint8_t (*ret)[HASH_BYTES]); /* behind the last; frees it */
void hash_lanes_free(struct hash_lanes *s); /* without an end; NULL is fine */

#endif
