/* hash.c - the two hashes of the formats, from libxxhash and libsodium. Stateless. */
#include "hash.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <xxhash.h>

static pthread_once_t init_once = PTHREAD_ONCE_INIT;

/* libsodium chooses the fastest code for this processor when it is initialised. */
static void init(void)
{
	if (sodium_init() < 0)
		abort();
}

uint64_t hash_xxh3(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}

void hash_blake2b(const void *p, size_t len, uint8_t *ret_hash)
{
	hash_blake2b2(p, len, NULL, 0, ret_hash);
}

void hash_blake2b2(const void *p, size_t len, const void *q, size_t qlen, uint8_t *ret_hash)
{
	crypto_generichash_state st;

	pthread_once(&init_once, init);
	/* These fail for sizes out of range only, and ours are constant; a hash left unset must not go on. */
	if (crypto_generichash_init(&st, NULL, 0, HASH_BYTES) ||
	    (len > 0 && crypto_generichash_update(&st, p, len)) ||
	    (qlen > 0 && crypto_generichash_update(&st, q, qlen)) ||
	    crypto_generichash_final(&st, ret_hash, HASH_BYTES))
		abort();
}

struct hash_stream { crypto_generichash_state st; };

struct hash_stream *hash_stream_new(void)
{
	/* The state wants to lie on 64 bytes; its size is a multiple of that. */
	struct hash_stream *s = aligned_alloc(_Alignof(struct hash_stream), sizeof *s);

	if (!s)
		return NULL;
	pthread_once(&init_once, init);
	if (crypto_generichash_init(&s->st, NULL, 0, HASH_BYTES))
		abort();
	return s;
}

void hash_stream_add(struct hash_stream *s, const void *p, size_t len)
{
	if (len > 0 && crypto_generichash_update(&s->st, p, len))
		abort();
}

void hash_stream_end(struct hash_stream *s, uint8_t *ret_hash)
{
	if (crypto_generichash_final(&s->st, ret_hash, HASH_BYTES))
		abort();
	free(s);
}
