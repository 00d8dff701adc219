/* test_hash_lanes.c - hashes side by side are those that libsodium makes, of each kind that this processor has, for any length, cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "hash_lanes.h"

#define LONGEST 70000u

static void one(enum hash_lanes_kind kind, unsigned count, size_t len, uint64_t *rng)
{
	uint8_t *bytes[HASH_LANES], ret[HASH_LANES][HASH_BYTES], want[HASH_BYTES];
	struct hash_lanes *s = hash_lanes_new_as(kind, count);
	size_t at = 0;

	if (!s)
		return; /* not on this processor */
	for (unsigned i = 0; i < count; i++) {
		bytes[i] = malloc(len);
		rng_fill(rng, bytes[i], len);
	}
	while (at < len) {
		size_t piece = HASH_LANES_BLOCK * (1 + rng_below(rng, 40));
		const uint8_t *p[HASH_LANES];

		if (piece > len - at)
			piece = len - at;
		for (unsigned i = 0; i < count; i++)
			p[i] = bytes[i] + at;
		at += piece;
		hash_lanes_add(s, p, piece, at == len);
	}
	hash_lanes_end(s, ret);
	for (unsigned i = 0; i < count; i++) {
		hash_blake2b(bytes[i], len, want);
		assert_memory_equal(ret[i], want, HASH_BYTES);
		free(bytes[i]);
	}
}

static void test_as_one_by_one(void **state)
{
	static const size_t lengths[] = { 1, 7, 8, 127, 128, 129, 255, 256, 257, 1024, 65536, 65537, LONGEST };
	uint64_t rng = 7;

	(void)state;
	for (enum hash_lanes_kind kind = HASH_LANES_PLAIN; kind <= HASH_LANES_AVX512; kind++)
		for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
			for (unsigned count = 1; count <= HASH_LANES; count += lengths[i] > 1024 ? 3 : 1)
				one(kind, count, lengths[i], &rng);
}

/* Which kind that is the processor decides; the hash may not depend on it. */
static void test_as_chosen(void **state)
{
	uint8_t bytes[300], ret[HASH_LANES][HASH_BYTES], want[HASH_BYTES];
	const uint8_t *p[HASH_LANES];

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * i);
	for (unsigned count = 1; count <= HASH_LANES; count++) {
		struct hash_lanes *s = hash_lanes_new(count);

		assert_non_null(s);
		for (unsigned i = 0; i < count; i++)
			p[i] = bytes + i;
		hash_lanes_add(s, p, 256, false);
		for (unsigned i = 0; i < count; i++)
			p[i] = bytes + i + 256;
		hash_lanes_add(s, p, 30, true);
		hash_lanes_end(s, ret);
		for (unsigned i = 0; i < count; i++) {
			hash_blake2b(bytes + i, 286, want);
			assert_memory_equal(ret[i], want, HASH_BYTES);
		}
		hash_lanes_free(hash_lanes_new(count)); /* without an end */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_one_by_one),
		cmocka_unit_test(test_as_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
