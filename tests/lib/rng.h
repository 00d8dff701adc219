/* rng.h - a small seeded generator for tests (splitmix64, Steele, Lea and Flood, 2014): one seed, one sequence. */
#ifndef CLONELOVE_RNG_H
#define CLONELOVE_RNG_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t rng_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 <= result < n. */
static inline size_t rng_below(uint64_t *state, size_t n)
{
	return (size_t)(rng_next(state) % n);
}

static inline void rng_fill(uint64_t *state, void *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)p)[i] = (uint8_t)(rng_next(state) >> 56);
}

#endif
