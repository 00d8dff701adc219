/*
 * fuzz.h - shared by the fuzz targets. A target takes any bytes: it must not read or write out of bounds, and what it accepts must encode
 * to the same bytes again. The first byte of an input chooses whether checksums are made good first, so that what is behind them is reached too.
 */
#ifndef CLONELOVE_FUZZ_H
#define CLONELOVE_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ASSERT(x) do { if (!(x)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

/* A copy of its own allocation, exactly as long, so that a byte too far is seen. */
static inline uint8_t *fuzz_copy(const uint8_t *p, size_t len)
{
	uint8_t *q = calloc(1, len ? len : 1);

	FUZZ_ASSERT(q);
	if (len)
		memcpy(q, p, len);
	return q;
}

/* Length and hash of a frame made good. */
static inline void fuzz_fix_frame(uint8_t *p, size_t len)
{
	if (len < 40 + HASH_BYTES)
		return;
	put_u32(p + 16, (uint32_t)len);
	hash_blake2b(p, len - HASH_BYTES, p + len - HASH_BYTES);
}

/* The checksums of a run's part, and of as many of its blocks as there are. */
static inline void fuzz_fix_run(uint8_t *p, size_t len)
{
	size_t at = 40;

	if (len < at)
		return;
	put_u32(p + 16, (uint32_t)len);
	put_u64(p + 32, hash_xxh3(p, 32, 0));
	for (uint32_t i = 0; len - at >= 24; i++) {
		uint32_t stored = get_u32(p + at);

		if (stored > len - at - 24)
			return;
		put_u64(p + at + 16, hash_xxh3(p + at + 24, stored, hash_xxh3(p + at, 16, i)));
		at += 24 + (size_t)stored;
	}
}

/* What was accepted is what the encoder makes of it. */
static inline void fuzz_same(struct buf *made, const uint8_t *p, size_t len)
{
	FUZZ_ASSERT(made->err == 0 && made->len == len && memcmp(made->data, p, len) == 0);
	buf_free(made);
}

#endif
