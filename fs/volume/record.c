/*
 * record.c - one operation of the local log as bytes. See record.h; layout in FORMAT.md.
 *
 * A record is header, changes, checksum. The checksum is last and covers everything before it, so a torn record never
 * checks, whichever part of it reached the disk. An error while building is kept in the buffer (b->err), as buf.h has it.
 */
#include "record.h"

#include <errno.h>

#include "err.h"
#include "hash.h"
#include "kvmap.h"
#include "object.h"

#define HEADER_BYTES 56u
#define SUM_BYTES 8u
#define KEY_DELETED 0x8000u

/* Offsets in the header. */
enum { AT_MAGIC = 0, AT_TOTAL = 4, AT_KIND = 8, AT_LSN = 16, AT_TIME = 24, AT_REQUEST = 32, AT_HASH = 40, AT_LOGICAL = 48, AT_LEN = 52 };

void record_begin(struct buf *b, size_t *ret_start)
{
	*ret_start = b->len;
	buf_zero(b, HEADER_BYTES);
}

void record_data(struct buf *b, size_t start, uint32_t logical, uint32_t len, uint64_t data_hash)
{
	if (b->err)
		return;
	put_u64(b->data + start + AT_HASH, data_hash);
	put_u32(b->data + start + AT_LOGICAL, logical);
	put_u32(b->data + start + AT_LEN, len);
}

static bool key_ok(struct buf *b, size_t klen)
{
	if (b->err)
		return false;
	if (klen >= 1 && klen <= KVMAP_KEY_MAX)
		return true;
	b->err = -EINVAL;
	return false;
}

void record_put(struct buf *b, const void *key, size_t klen, const void *val, size_t vlen)
{
	if (!key_ok(b, klen))
		return;
	if (vlen > KVMAP_VALUE_MAX) {
		b->err = -EINVAL;
		return;
	}
	buf_u16(b, (uint16_t)klen);
	buf_bytes(b, key, klen);
	buf_u32(b, (uint32_t)vlen);
	buf_bytes(b, val, vlen);
}

void record_del(struct buf *b, const void *key, size_t klen)
{
	if (!key_ok(b, klen))
		return;
	buf_u16(b, (uint16_t)(klen | KEY_DELETED));
	buf_bytes(b, key, klen);
}

void record_finish(struct buf *b, size_t start, uint64_t lsn, uint64_t real_ns, uint64_t request_id, uint64_t salt)
{
	uint8_t *p;
	size_t total;

	if (b->err)
		return;
	total = b->len - start + SUM_BYTES;
	if (total > RECORD_MAX_BYTES) {
		b->err = -E2BIG;
		return;
	}
	if (buf_reserve(b, SUM_BYTES))
		return;
	p = b->data + start;
	put_u32(p + AT_MAGIC, RECORD_MAGIC);
	put_u32(p + AT_TOTAL, (uint32_t)total);
	put_u32(p + AT_KIND, RECORD_OP);
	put_u64(p + AT_LSN, lsn);
	put_u64(p + AT_TIME, real_ns);
	put_u64(p + AT_REQUEST, request_id);
	buf_u64(b, hash_xxh3(p, total - SUM_BYTES, salt));
}

/* Are these whole changes, to the last byte? Asked once, so that no change of a record is applied when another does not parse. */
static bool changes_ok(struct cursor c)
{
	struct record r = { .changes = c };
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc;

	do
		rc = record_next(&r, &key, &klen, &val, &vlen);
	while (rc > 0);
	return rc == 0;
}

int record_parse(struct cursor *c, uint64_t salt, struct record *ret)
{
	struct record r;
	const uint8_t *p = c->p;
	uint32_t total;

	if (cursor_left(c) < HEADER_BYTES + SUM_BYTES || get_u32(p + AT_MAGIC) != RECORD_MAGIC)
		return ERR_CORRUPT;
	total = get_u32(p + AT_TOTAL);
	if (total < HEADER_BYTES + SUM_BYTES || total > RECORD_MAX_BYTES || total > cursor_left(c))
		return ERR_CORRUPT;
	if (hash_xxh3(p, total - SUM_BYTES, salt) != get_u64(p + total - SUM_BYTES))
		return ERR_CORRUPT;
	/* Intact, but of a kind this program does not know: not the end of a log. */
	if (get_u32(p + AT_KIND) != RECORD_OP || get_u32(p + AT_KIND + 4) != 0)
		return ERR_NEWER_FORMAT;
	r.lsn = get_u64(p + AT_LSN);
	r.real_ns = get_u64(p + AT_TIME);
	r.request_id = get_u64(p + AT_REQUEST);
	r.data_hash = get_u64(p + AT_HASH);
	r.data_logical = get_u32(p + AT_LOGICAL);
	r.data_len = get_u32(p + AT_LEN);
	r.total_bytes = total;
	r.changes = cursor_make(p + HEADER_BYTES, total - HEADER_BYTES - SUM_BYTES);
	if (r.data_len > SEGMENT_DATA_MAX || r.data_logical > SEGMENT_DATA_MAX - r.data_len)
		return ERR_CORRUPT;
	if (!changes_ok(r.changes))
		return ERR_CORRUPT;
	c->p += total;
	*ret = r;
	return 0;
}

int record_next(struct record *r, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen)
{
	struct cursor *c = &r->changes;
	const uint8_t *key, *val = NULL;
	size_t klen, vlen = 0;
	uint16_t head;

	if (c->err)
		return c->err;
	if (cursor_left(c) == 0)
		return 0;
	head = cursor_u16(c);
	klen = head & ~KEY_DELETED;
	if (klen < 1 || klen > KVMAP_KEY_MAX)
		c->err = ERR_CORRUPT;
	key = cursor_view(c, klen);
	if (!(head & KEY_DELETED)) {
		vlen = cursor_u32(c);
		if (vlen > KVMAP_VALUE_MAX)
			c->err = ERR_CORRUPT;
		val = cursor_view(c, vlen);
	}
	if (c->err)
		return c->err;
	*ret_key = key;
	*ret_klen = klen;
	*ret_val = val;
	*ret_vlen = vlen;
	return 1;
}
