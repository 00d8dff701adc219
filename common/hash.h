/*
 * hash.h - the two hashes of the formats: XXH3-64 (seeded) against accidents,
 * BLAKE2b-256 where objects are chained and compared.
 */
#ifndef CLONELOVE_HASH_H
#define CLONELOVE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 32

uint64_t hash_xxh3(const void *p, size_t len, uint64_t seed);
/* ret_hash: HASH_BYTES bytes. */
void hash_blake2b(const void *p, size_t len, uint8_t *ret_hash);
/* The same, piece by piece: new (NULL without memory), add any number of times, end (writes HASH_BYTES bytes and frees it). */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_add(struct hash_stream *s, const void *p, size_t len);
void hash_stream_end(struct hash_stream *s, uint8_t *ret_hash);
/* Of the concatenation of two ranges (either may be empty). */
void hash_blake2b2(const void *p, size_t len, const void *q, size_t qlen, uint8_t *ret_hash);

#endif
