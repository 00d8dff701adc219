/* fuzz_superblock.c - superblock_decode on any bytes. */
#include "fuzz.h"
#include "object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf made = BUF_INIT;
	struct superblock x;
	uint8_t *p;

	if (size < 1)
		return 0;
	p = fuzz_copy(data + 1, --size);
	if (data[0] & 1)
		fuzz_fix_frame(p, size);
	if (superblock_decode(p, size, &x) == 0) {
		FUZZ_ASSERT(superblock_encode(&x, &made) == 0);
		fuzz_same(&made, p, size);
	}
	free(p);
	return 0;
}
