/*
 * object_table.c - the block table of a segment, and blocks checked against it. Stateless.
 *
 * A table that decodes is one that the encoder could have made: blocks lie one after another from the head on, a
 * block is left out exactly when all its granules are, and what a block stores is never longer than what it says.
 */
#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "err.h"
#include "object.h"

#define TABLE_MAGIC 0x42544c43u /* "CLTB" */
#define TABLE_VERSION 1
#define HEADER_BYTES 16u
#define BLOCK_ENTRY_BYTES 12u
#define GRANULES_PER_BLOCK (BLOCK_BYTES / GRANULE_BYTES)

enum { CODEC_RAW = 0, CODEC_ZSTD = 1 };

uint64_t object_granule_sum(uint64_t segment_id, const void *granule)
{
	uint64_t sum = hash_xxh3(granule, GRANULE_BYTES, segment_id);

	return sum ? sum : 1; /* 0 means elided */
}

static uint32_t block_count(uint32_t data_len)
{
	return (data_len + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

static uint32_t granule_count(uint32_t data_len)
{
	return (data_len + GRANULE_BYTES - 1) / GRANULE_BYTES;
}

static uint32_t block_len(uint32_t data_len, uint32_t block)
{
	uint32_t left = data_len - block * BLOCK_BYTES;

	return left < BLOCK_BYTES ? left : BLOCK_BYTES;
}

static bool block_live(const struct object_table *t, uint32_t block, uint32_t granules)
{
	uint32_t g = block * GRANULES_PER_BLOCK, end = g + GRANULES_PER_BLOCK;

	for (; g < end && g < granules; g++)
		if (t->sums[g])
			return true;
	return false;
}

static int table_check(const struct object_table *t)
{
	uint32_t granules = granule_count(t->data_len);
	uint64_t at = OBJECT_HEAD_BYTES;

	for (uint32_t i = 0; i < block_count(t->data_len); i++) {
		const struct object_block *b = &t->blocks[i];
		uint32_t len = block_len(t->data_len, i);

		if (b->codec > CODEC_ZSTD)
			return ERR_NEWER_FORMAT;
		if (!block_live(t, i, granules)) {
			if (b->offset || b->stored_len || b->codec)
				return ERR_CORRUPT;
			continue;
		}
		if (b->offset != at || (b->codec == CODEC_RAW ? b->stored_len != len : !b->stored_len || b->stored_len >= len))
			return ERR_CORRUPT;
		at += b->stored_len;
	}
	return 0;
}

int object_table_encode(const struct object_table *t, struct buf *out)
{
	size_t start = out->len;
	uint32_t blocks = block_count(t->data_len), granules = granule_count(t->data_len);

	if (t->data_len > SEGMENT_DATA_MAX || table_check(t))
		return -EINVAL;
	buf_u32(out, TABLE_MAGIC);
	buf_u16(out, TABLE_VERSION);
	buf_u16(out, 0);
	buf_u32(out, t->data_len);
	buf_u32(out, 0);
	for (uint32_t i = 0; i < blocks; i++) {
		buf_u32(out, t->blocks[i].offset);
		buf_u32(out, t->blocks[i].stored_len);
		buf_u32(out, t->blocks[i].codec);
	}
	for (uint32_t i = 0; i < granules; i++)
		buf_u64(out, t->sums[i]);
	if (!out->err)
		buf_u64(out, hash_xxh3(out->data + start, out->len - start, 0));
	if (out->err)
		out->len = start;
	return out->err;
}

int object_table_decode(const void *p, size_t len, struct object_table *ret)
{
	struct object_table t;
	struct cursor c;
	const uint8_t *b = p;
	uint32_t blocks, granules;
	int rc;

	if (len < HEADER_BYTES + 8 || get_u32(b) != TABLE_MAGIC || get_u64(b + len - 8) != hash_xxh3(b, len - 8, 0))
		return ERR_CORRUPT;
	if (get_u32(b + 4) != TABLE_VERSION || get_u32(b + 12) != 0)
		return ERR_NEWER_FORMAT;
	memset(&t, 0, sizeof(t));
	t.data_len = get_u32(b + 8);
	if (t.data_len > SEGMENT_DATA_MAX)
		return ERR_CORRUPT;
	blocks = block_count(t.data_len);
	granules = granule_count(t.data_len);
	c = cursor_make(b + HEADER_BYTES, len - HEADER_BYTES - 8);
	for (uint32_t i = 0; i < blocks; i++) {
		uint32_t codec;

		t.blocks[i].offset = cursor_u32(&c);
		t.blocks[i].stored_len = cursor_u32(&c);
		codec = cursor_u32(&c);
		if (codec > CODEC_ZSTD)
			return ERR_NEWER_FORMAT;
		t.blocks[i].codec = (uint8_t)codec;
	}
	for (uint32_t i = 0; i < granules; i++)
		t.sums[i] = cursor_u64(&c);
	rc = cursor_end(&c);
	if (!rc)
		rc = table_check(&t);
	if (rc)
		return rc;
	*ret = t;
	return 0;
}

/* Every granule of the block's bytes [from, from + len) is what the table says: its sum, or zeros where it was left out. */
static bool granules_ok(const struct object_table *t, uint64_t segment_id, uint32_t block, uint32_t from, const uint8_t *data,
			uint32_t len)
{
	static const uint8_t zeros[GRANULE_BYTES];
	const uint64_t *sum = &t->sums[block * GRANULES_PER_BLOCK + from / GRANULE_BYTES];

	for (uint32_t off = 0; off < len; off += GRANULE_BYTES, sum++) {
		if (*sum == 0 ? memcmp(data + off, zeros, GRANULE_BYTES) != 0 : object_granule_sum(segment_id, data + off) != *sum)
			return false;
	}
	return true;
}

bool object_block_raw(const struct object_table *t, uint32_t block)
{
	return t->blocks[block].codec == CODEC_RAW;
}

int object_check_raw(const struct object_table *t, uint64_t segment_id, uint32_t block, const void *stored, uint32_t *ret_len)
{
	const struct object_block *b = &t->blocks[block];
	uint32_t len, whole, part;
	uint8_t last[GRANULE_BYTES] = { 0 };

	if (t->data_len > SEGMENT_DATA_MAX || block >= block_count(t->data_len))
		return ERR_CORRUPT;
	len = block_len(t->data_len, block);
	if (b->codec != CODEC_RAW || b->stored_len != len)
		return ERR_CORRUPT;
	part = len % GRANULE_BYTES;
	whole = len - part;
	if (!granules_ok(t, segment_id, block, 0, stored, whole))
		return ERR_CORRUPT;
	memcpy(last, (const uint8_t *)stored + whole, part);
	if (part && !granules_ok(t, segment_id, block, whole, last, part))
		return ERR_CORRUPT;
	*ret_len = len;
	return 0;
}

int object_decode_block(const struct object_table *t, uint64_t segment_id, uint32_t block, const void *stored, size_t stored_len,
			uint8_t *out, uint32_t *ret_len)
{
	const struct object_block *b;
	uint32_t len;

	if (t->data_len > SEGMENT_DATA_MAX || block >= block_count(t->data_len))
		return ERR_CORRUPT;
	b = &t->blocks[block];
	len = block_len(t->data_len, block);
	if (b->codec > CODEC_ZSTD)
		return ERR_NEWER_FORMAT;
	/* A block that was left out has no bytes to give; zeros would be a lie. */
	if (b->stored_len == 0 || stored_len != b->stored_len)
		return ERR_CORRUPT;
	if (b->codec == CODEC_RAW) {
		if (stored_len != len)
			return ERR_CORRUPT;
		memcpy(out, stored, len);
	} else {
		size_t n = ZSTD_decompress(out, len, stored, stored_len);

		if (ZSTD_isError(n) || n != len)
			return ERR_CORRUPT;
	}
	memset(out + len, 0, BLOCK_BYTES - len);
	if (!granules_ok(t, segment_id, block, 0, out, len))
		return ERR_CORRUPT;
	*ret_len = len;
	return 0;
}
