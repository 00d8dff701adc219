/* fuzz_record.c - the local log's records: a log of any bytes is parsed to its end. */
#include "err.h"
#include "fuzz.h"
#include "record.h"

#define SALT 0x1112131415161718u

static void again(const uint8_t *p, struct record *r)
{
	struct buf made = BUF_INIT;
	const uint8_t *key, *val;
	size_t start, klen, vlen;
	int rc;

	record_begin(&made, &start);
	record_data(&made, start, r->data_logical, r->data_len, r->data_hash);
	while ((rc = record_next(r, &key, &klen, &val, &vlen)) == 1) {
		if (val)
			record_put(&made, key, klen, val, vlen);
		else
			record_del(&made, key, klen);
	}
	FUZZ_ASSERT(rc == 0); /* a record that parsed holds only changes that parse */
	record_finish(&made, start, r->lsn, r->real_ns, r->request_id, SALT);
	fuzz_same(&made, p, r->total_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c;
	struct record r;
	uint8_t *p;

	if (size < 1)
		return 0;
	p = fuzz_copy(data + 1, --size);
	if ((data[0] & 1) && size >= 64) {
		uint32_t total = get_u32(p + 4);

		if (total >= 64 && total <= size)
			put_u64(p + total - 8, hash_xxh3(p, total - 8, SALT));
	}
	c = cursor_make(p, size);
	for (;;) {
		const uint8_t *at = c.p;
		int rc = record_parse(&c, SALT, &r);

		if (rc) {
			FUZZ_ASSERT(c.p == at && (rc == ERR_CORRUPT || rc == ERR_NEWER_FORMAT));
			break;
		}
		FUZZ_ASSERT(c.p == at + r.total_bytes);
		again(at, &r);
	}
	free(p);
	return 0;
}
