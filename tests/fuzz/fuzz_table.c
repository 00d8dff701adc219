/* fuzz_table.c - block tables. */
#include "fuzz.h"
#include "object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct object_table t;
	struct buf made = BUF_INIT;
	uint8_t *p;

	if (size < 1)
		return 0;
	p = fuzz_copy(data + 1, --size);
	if ((data[0] & 1) && size >= 8)
		put_u64(p + size - 8, hash_xxh3(p, size - 8, 0));
	if (object_table_decode(p, size, &t) == 0) {
		FUZZ_ASSERT(t.data_len <= SEGMENT_DATA_MAX);
		FUZZ_ASSERT(object_table_encode(&t, &made) == 0);
		fuzz_same(&made, p, size);
	}
	free(p);
	return 0;
}
