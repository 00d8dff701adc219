/*
 * hash_lanes.c - BLAKE2b (RFC 7693) on vectors of eight 64-bit words, word i of each belonging to content i. The compression function is written once, as vectors of the compiler's,
 * and compiled for each kind of processor.
 */
#include "hash_lanes.h"

#include <stdlib.h>
#include <string.h>

struct hash_lanes {
	_Alignas(64) uint64_t h[8][HASH_LANES];
	uint64_t bytes;
	unsigned count;
	enum hash_lanes_kind kind;
	struct hash_stream *plain[HASH_LANES];
};

static const uint64_t iv[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

#if defined(__x86_64__)
#define ROUNDS 12

typedef uint64_t vec __attribute__((vector_size(64)));

static const uint8_t sigma[ROUNDS][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 }, { 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 }, { 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 }, { 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 }, { 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, { 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
};

static inline uint64_t word(const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof x); /* x86 is little-endian, as BLAKE2b is */
	return x;
}

#define ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define MIX(a, b, c, d, x, y)                                                                         \
	a += b + (x), d = ROTATE(d ^ a, 32), c += d, b = ROTATE(b ^ c, 24), a += b + (y), d = ROTATE(d ^ a, 16), c += d, b = ROTATE(b ^ c, 63)

/* One block of each content, at p[i] + at: `bytes` of each are in with it. */
#define COMPRESS(name, features)                                                                      \
	__attribute__((target(features))) static void name(uint64_t (*h)[HASH_LANES], const uint8_t *const *p, size_t at, uint64_t bytes, bool last) \
	{                                                                                             \
		vec m[16], v[16];                                                                     \
                                                                                                      \
		for (size_t i = 0; i < 16; i++)                                                       \
			m[i] = (vec){ word(p[0] + at + 8 * i), word(p[1] + at + 8 * i), word(p[2] + at + 8 * i), word(p[3] + at + 8 * i), \
				      word(p[4] + at + 8 * i), word(p[5] + at + 8 * i), word(p[6] + at + 8 * i), word(p[7] + at + 8 * i) }; \
		memcpy(v, h, 8 * sizeof *v);                                                          \
		for (size_t i = 0; i < 8; i++)                                                        \
			v[8 + i] = (vec){ 0 } + iv[i];                                                \
		v[12] ^= bytes;                                                                       \
		if (last)                                                                             \
			v[14] = ~v[14];                                                               \
		_Pragma("GCC unroll 12") for (size_t r = 0; r < ROUNDS; r++) {                        \
			const uint8_t *s = sigma[r];                                                  \
                                                                                                      \
			MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);                               \
			MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);                               \
			MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);                              \
			MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);                              \
			MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);                              \
			MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);                            \
			MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);                             \
			MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);                             \
		}                                                                                     \
		for (size_t i = 0; i < 8; i++)                                                        \
			v[i] ^= v[8 + i];                                                             \
		for (size_t i = 0; i < 8; i++)                                                        \
			for (size_t lane = 0; lane < HASH_LANES; lane++)                              \
				h[i][lane] ^= v[i][lane];                                             \
	}

COMPRESS(compress_avx2, "avx2")
COMPRESS(compress_avx512, "avx512f,avx512dq,avx512vl")

static bool has(enum hash_lanes_kind kind)
{
	if (kind == HASH_LANES_AVX512)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
	return kind == HASH_LANES_PLAIN || __builtin_cpu_supports("avx2");
}

static void compress(struct hash_lanes *s, const uint8_t *const *p, size_t at, bool last)
{
	(s->kind == HASH_LANES_AVX512 ? compress_avx512 : compress_avx2)(s->h, p, at, s->bytes, last);
}
#else
static bool has(enum hash_lanes_kind kind)
{
	return kind == HASH_LANES_PLAIN;
}

static void compress(struct hash_lanes *s, const uint8_t *const *p, size_t at, bool last)
{
	(void)s, (void)p, (void)at, (void)last;
	abort();
}
#endif

struct hash_lanes *hash_lanes_new_as(enum hash_lanes_kind kind, unsigned count)
{
	struct hash_lanes *s = has(kind) ? aligned_alloc(_Alignof(struct hash_lanes), sizeof *s) : NULL;

	if (!s)
		return NULL;
	memset(s, 0, sizeof *s);
	s->kind = kind;
	s->count = count;
	for (size_t i = 0; i < 8; i++)
		for (size_t lane = 0; lane < HASH_LANES; lane++)
			s->h[i][lane] = i ? iv[i] : iv[i] ^ (0x01010000 | HASH_BYTES); /* no key, one content, a hash of so many bytes */
	for (unsigned i = 0; kind == HASH_LANES_PLAIN && i < count; i++) {
		s->plain[i] = hash_stream_new();
		if (!s->plain[i]) {
			hash_lanes_free(s);
			return NULL;
		}
	}
	return s;
}

/* Lanes that nobody needs cost as much as the others. */
struct hash_lanes *hash_lanes_new(unsigned count)
{
	enum hash_lanes_kind kind = count >= 2 && has(HASH_LANES_AVX512) ? HASH_LANES_AVX512 : count >= 3 && has(HASH_LANES_AVX2) ? HASH_LANES_AVX2 : HASH_LANES_PLAIN;

	return hash_lanes_new_as(kind, count);
}

/* What is left of each, less than a block or one, as the last. */
static void finish(struct hash_lanes *s, const uint8_t *const *p, size_t at, size_t len)
{
	uint8_t end[HASH_LANES][HASH_LANES_BLOCK];
	const uint8_t *q[HASH_LANES];

	memset(end, 0, sizeof end);
	for (size_t i = 0; i < HASH_LANES; i++) {
		memcpy(end[i], p[i] + at, len);
		q[i] = end[i];
	}
	s->bytes += len;
	compress(s, q, 0, true);
}

void hash_lanes_add(struct hash_lanes *s, const uint8_t *const *p, size_t len, bool last)
{
	const uint8_t *q[HASH_LANES];
	size_t at = 0;

	for (unsigned i = 0; s->kind == HASH_LANES_PLAIN && i < s->count; i++)
		hash_stream_add(s->plain[i], p[i], len);
	if (s->kind == HASH_LANES_PLAIN)
		return;
	if (len == 0 || (!last && len % HASH_LANES_BLOCK))
		abort(); /* a hash of something else must not go on */
	for (unsigned i = 0; i < HASH_LANES; i++)
		q[i] = p[i < s->count ? i : 0];
	for (; len - at > (last ? HASH_LANES_BLOCK : 0); at += HASH_LANES_BLOCK) {
		s->bytes += HASH_LANES_BLOCK;
		compress(s, q, at, false);
	}
	if (last)
		finish(s, q, at, len - at);
}

void hash_lanes_end(struct hash_lanes *s, uint8_t (*ret)[HASH_BYTES])
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->kind == HASH_LANES_PLAIN) {
			hash_stream_end(s->plain[i], ret[i]);
			s->plain[i] = NULL;
			continue;
		}
		for (size_t k = 0; k < HASH_BYTES / 8; k++)
			memcpy(ret[i] + 8 * k, &s->h[k][i], 8);
	}
	hash_lanes_free(s);
}

void hash_lanes_free(struct hash_lanes *s)
{
	uint8_t left[HASH_BYTES];

	if (!s)
		return;
	for (unsigned i = 0; i < s->count; i++)
		if (s->plain[i])
			hash_stream_end(s->plain[i], left);
	free(s);
}
