/*
 * fuzz_block.c - stored blocks of data: codec, length and stored bytes are the input's. With the sums of what it really unpacks to a block is
 * accepted, and with one of them wrong it is not.
 */
#include <zstd.h>

#include "err.h"
#include "fuzz.h"
#include "object.h"

#define SEGMENT_ID 77u

static size_t unpack(uint8_t codec, const uint8_t *stored, size_t stored_len, uint8_t *out, size_t len)
{
	if (codec == 0) {
		if (stored_len != len)
			return 0;
		memcpy(out, stored, len);
		return len;
	}
	size_t n = ZSTD_decompress(out, len, stored, stored_len);

	return ZSTD_isError(n) ? 0 : n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct object_table t;
	static uint8_t real[BLOCK_BYTES], out[BLOCK_BYTES];
	uint32_t len, got = 0;
	uint8_t *p;
	bool good;

	if (size < 4)
		return 0;
	memset(&t, 0, sizeof(t));
	memset(real, 0, sizeof(real));
	size -= 4;
	p = fuzz_copy(data + 4, size);
	t.blocks[0].codec = data[0] & 3;
	t.blocks[0].stored_len = (uint32_t)size;
	len = data[1] & 1 ? (uint32_t)size : (uint32_t)(data[2] | (data[3] << 8)) + 1;
	t.data_len = len < BLOCK_BYTES ? len : BLOCK_BYTES;
	len = t.data_len;
	good = t.blocks[0].codec <= 1 && size > 0 && len > 0 && unpack(t.blocks[0].codec, p, size, real, len) == len;
	if (good)
		for (uint32_t g = 0; g * GRANULE_BYTES < len; g++)
			t.sums[g] = object_granule_sum(SEGMENT_ID, real + g * GRANULE_BYTES);
	int rc = object_decode_block(&t, SEGMENT_ID, 0, p, size, out, &got);

	/* Looked at where it lies: the same verdict. */
	FUZZ_ASSERT(t.blocks[0].codec != 0 || size == 0 || size != len || object_check_raw(&t, SEGMENT_ID, 0, p, &got) == rc);
	FUZZ_ASSERT((rc == 0) == good && (rc == 0 || rc == ERR_CORRUPT || rc == ERR_NEWER_FORMAT));
	if (good) {
		FUZZ_ASSERT(got == len && memcmp(out, real, len) == 0);
		t.sums[(len - 1) / GRANULE_BYTES] ^= 1u << (data[1] % 32);
		FUZZ_ASSERT(t.blocks[0].codec != 0 || object_check_raw(&t, SEGMENT_ID, 0, p, &got) == object_decode_block(&t, SEGMENT_ID, 0, p, size, out, &got));
		FUZZ_ASSERT(object_decode_block(&t, SEGMENT_ID, 0, p, size, out, &got) == ERR_CORRUPT || t.sums[(len - 1) / GRANULE_BYTES] == 0);
	}
	free(p);
	return 0;
}
