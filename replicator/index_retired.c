/* index_retired.c - incarnations that went out of the context, each with its last sequence. */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "index_impl.h"

#define KEY_BYTES (1 + INCARNATION_BYTES)

static void key_of(const uint8_t *inc, uint8_t *out)
{
	out[0] = 'C';
	memcpy(out + 1, inc, INCARNATION_BYTES);
}

int index_retired_put(struct index_txn *t, const struct dot *d)
{
	uint8_t key[KEY_BYTES], seq[8];
	int rc;

	if (!t->write || !d->seq)
		return -EINVAL;
	key_of(d->inc, key);
	put_u64(seq, d->seq);
	rc = index_raw_put(t, key, sizeof key, seq, sizeof seq);
	if (rc && !t->failed)
		t->failed = rc;
	return rc;
}

int index_retired_get(struct index_txn *t, const uint8_t *inc, uint64_t *ret_seq)
{
	uint8_t key[KEY_BYTES];
	MDB_val v;
	int rc;

	key_of(inc, key);
	rc = index_raw_get(t, key, sizeof key, &v);
	if (!rc && v.mv_size != 8)
		rc = ERR_CORRUPT;
	if (!rc)
		*ret_seq = get_u64(v.mv_data);
	return rc;
}

int index_retired(struct index_txn *t, size_t most, struct vector *ret)
{
	uint8_t from[KEY_BYTES] = { 'C' };
	MDB_cursor *c;
	MDB_val key, v;
	size_t count = 0;
	int rc = index_cursor(t, &c);

	if (rc)
		return rc;
	for (rc = index_raw_seek(c, from, 1, 1, &key, &v); !rc && count < most; count++) {
		struct dot d;

		if (key.mv_size != KEY_BYTES || v.mv_size != 8) {
			rc = ERR_CORRUPT;
			break;
		}
		memcpy(d.inc, (const uint8_t *)key.mv_data + 1, sizeof d.inc);
		d.seq = get_u64(v.mv_data);
		rc = vector_raise(ret, &d);
		if (!rc)
			rc = index_raw_next(c, from, 1, &key, &v);
	}
	mdb_cursor_close(c);
	return rc == -ENOENT ? 0 : rc;
}

int index_retired_clear(struct index_txn *t)
{
	struct vector some = VECTOR_INIT;
	uint8_t key[KEY_BYTES];
	int rc;

	do {
		some.count = 0;
		rc = index_retired(t, VECTOR_MAX, &some);
		for (size_t i = 0; i < some.count && !rc; i++) {
			key_of(some.dots[i].inc, key);
			rc = index_raw_del(t, key, sizeof key);
		}
	} while (!rc && some.count);
	vector_free(&some);
	if (rc && !t->failed)
		t->failed = rc;
	return rc;
}
