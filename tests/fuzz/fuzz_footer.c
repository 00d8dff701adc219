/* fuzz_footer.c - heads and footers of the objects under log/. */
#include "err.h"
#include "fuzz.h"
#include "object_frame.h"

static void one_footer(const uint8_t *p, size_t size)
{
	struct object_footer f, before;
	struct buf made = BUF_INIT;
	/* As long as it says it is: the one length that can be accepted. */
	uint64_t object_size = size >= OBJECT_FOOTER_BYTES ? get_u64(p + size - OBJECT_FOOTER_BYTES + 168) : size;

	if (object_decode_footer(p, size, object_size, &f) != 0)
		return;
	FUZZ_ASSERT(object_decode_footer(p, size, object_size + 1, &before) != 0);
	before = f;
	FUZZ_ASSERT(object_footer_encode(&f, object_size, &made) == 0);
	FUZZ_ASSERT(memcmp(f.own_hash, before.own_hash, HASH_BYTES) == 0);
	fuzz_same(&made, p + size - OBJECT_FOOTER_BYTES, OBJECT_FOOTER_BYTES);
	if (f.type == OBJECT_CUT) {
		FUZZ_ASSERT((uint64_t)f.run_offset + f.run_len + f.table_len + OBJECT_FOOTER_BYTES == object_size && f.data_len <= SEGMENT_DATA_MAX);
		return;
	}
	FUZZ_ASSERT(object_size == OBJECT_HEAD_BYTES + OBJECT_FOOTER_BYTES);
	FUZZ_ASSERT(object_encode_mark(&f, &made) == 0 && object_verify(made.data, made.len, &before, NULL) == 0);
	buf_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum object_type type;
	uint64_t epoch, slot;
	uint8_t put_id[ID_BYTES], *p;

	if (size < 1)
		return 0;
	p = fuzz_copy(data + 1, --size);
	if (data[0] & 1) {
		if (size >= OBJECT_FOOTER_BYTES)
			fuzz_fix_frame(p + size - OBJECT_FOOTER_BYTES, OBJECT_FOOTER_BYTES);
		else
			fuzz_fix_frame(p, size);
	}
	one_footer(p, size);
	if (object_decode_head(p, size, &type, &epoch, &slot, put_id) == 0)
		FUZZ_ASSERT(size == OBJECT_HEAD_BYTES && type >= OBJECT_OPEN && type <= OBJECT_SEAL);
	free(p);
	return 0;
}
