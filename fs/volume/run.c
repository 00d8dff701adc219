/*
 * run.c - sorted runs: the writer and the reader of one part. See run.h; layout in FORMAT.md.
 *
 * The writer gathers entries in `raw` and, whenever that reaches BLOCK_RAW, turns them into one block in `blocks`.
 * Its error is sticky: a writer that once failed to take a key never finishes a part, so no part can lack a key that
 * its maker believes written.
 *
 * The reader trusts nothing: a block is checked before any entry of it is looked at, every length against what is
 * left, and the keys must ascend strictly through the whole part. One form only is accepted of what could be written
 * in several, so that equal runs are equal bytes before compression.
 */
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "err.h"
#include "hash.h"
#include "kvmap.h"

#define RUN_VERSION 1
#define HEADER_BYTES 40u
#define BLOCK_HEADER_BYTES 24u
#define BLOCK_RAW (32u << 10)        /* a block is closed once it holds this much */
#define BLOCK_RAW_MAX (128u << 10)   /* more than BLOCK_RAW and the largest entry */
#define ENTRY_HEAD_MAX 15u           /* three numbers of at most five bytes */

enum { CODEC_RAW = 0, CODEC_ZSTD = 1 };

static const uint8_t magic[8] = { 'C', 'L', 'N', 'L', 'R', 'U', 'N', 0 };

/* Binds a block's bytes to its header and to its place in the part. */
static uint64_t block_sum(const uint8_t *header, uint32_t index, const void *stored, size_t len)
{
	return hash_xxh3(stored, len, hash_xxh3(header, 16, index));
}

/* --- writer --- */

struct run_writer {
	int compress;
	ZSTD_CCtx *zstd;
	struct buf raw, blocks, packed;
	uint32_t block_count, entries; /* of the part; of the open block */
	uint64_t count;                /* keys of the part */
	size_t prev_len;
	int err;
	uint8_t prev[KVMAP_KEY_MAX];
};

int run_writer_new(int compress, struct run_writer **ret)
{
	struct run_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->compress = compress;
	if (compress) {
		w->zstd = ZSTD_createCCtx();
		if (!w->zstd) {
			free(w);
			return -ENOMEM;
		}
	}
	*ret = w;
	return 0;
}

void run_writer_free(struct run_writer *w)
{
	if (!w)
		return;
	ZSTD_freeCCtx(w->zstd);
	buf_free(&w->raw);
	buf_free(&w->blocks);
	buf_free(&w->packed);
	free(w);
}

size_t run_writer_bytes(const struct run_writer *w)
{
	return HEADER_BYTES + w->blocks.len + w->raw.len;
}

size_t run_writer_count(const struct run_writer *w)
{
	return (size_t)w->count;
}

/* What to store of the open block: packed when that saves an eighth, raw otherwise. */
static int block_pack(struct run_writer *w, const uint8_t **ret, size_t *ret_len, uint8_t *ret_codec)
{
	size_t room = w->raw.len - w->raw.len / 8, n;

	*ret = w->raw.data;
	*ret_len = w->raw.len;
	*ret_codec = CODEC_RAW;
	if (!w->zstd)
		return 0;
	buf_reset(&w->packed);
	if (buf_reserve(&w->packed, room))
		return -ENOMEM;
	n = ZSTD_compressCCtx(w->zstd, w->packed.data, room, w->raw.data, w->raw.len, w->compress);
	if (ZSTD_isError(n))
		return 0; /* too large, or out of memory: stored raw it is as good */
	*ret = w->packed.data;
	*ret_len = n;
	*ret_codec = CODEC_ZSTD;
	return 0;
}

static int block_close(struct run_writer *w)
{
	uint8_t header[BLOCK_HEADER_BYTES] = { 0 };
	const uint8_t *stored;
	size_t len;
	int rc;

	if (w->raw.len == 0)
		return 0;
	rc = block_pack(w, &stored, &len, &header[12]);
	if (rc)
		return rc;
	if (w->blocks.len + len > UINT32_MAX - HEADER_BYTES - BLOCK_HEADER_BYTES)
		return -EFBIG;
	put_u32(header, (uint32_t)len);
	put_u32(header + 4, (uint32_t)w->raw.len);
	put_u32(header + 8, w->entries);
	put_u64(header + 16, block_sum(header, w->block_count, stored, len));
	buf_bytes(&w->blocks, header, sizeof(header));
	buf_bytes(&w->blocks, stored, len);
	if (w->blocks.err)
		return w->blocks.err;
	buf_reset(&w->raw);
	w->entries = 0;
	w->block_count++;
	return 0;
}

static uint8_t *varint_put(uint8_t *p, uint32_t x)
{
	while (x >= 0x80) {
		*p++ = (uint8_t)(x | 0x80);
		x >>= 7;
	}
	*p++ = (uint8_t)x;
	return p;
}

static size_t common_prefix(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	size_t n = 0, max = alen < blen ? alen : blen;

	while (n < max && a[n] == b[n])
		n++;
	return n;
}

int run_writer_add(struct run_writer *w, const void *key, size_t klen, const void *val, size_t vlen)
{
	const uint8_t *k = key;
	uint8_t *p;
	size_t shared;

	if (w->err)
		return w->err;
	if (klen < 1 || klen > KVMAP_KEY_MAX || (val && vlen > KVMAP_VALUE_MAX))
		return -EINVAL;
	shared = common_prefix(k, klen, w->prev, w->prev_len);
	if (shared == klen || (shared < w->prev_len && k[shared] < w->prev[shared]))
		return -EINVAL;
	memcpy(w->prev + shared, k + shared, klen - shared);
	w->prev_len = klen;
	if (w->entries == 0)
		shared = 0;
	if (!val)
		vlen = 0;
	if (buf_reserve(&w->raw, ENTRY_HEAD_MAX + klen + vlen))
		return w->err = -ENOMEM;
	p = w->raw.data + w->raw.len;
	p = varint_put(p, (uint32_t)shared);
	p = varint_put(p, (uint32_t)(klen - shared));
	p = varint_put(p, val ? (uint32_t)vlen + 1 : 0);
	memcpy(p, k + shared, klen - shared);
	p += klen - shared;
	if (vlen)
		memcpy(p, val, vlen);
	w->raw.len = (size_t)(p - w->raw.data) + vlen;
	w->entries++;
	w->count++;
	if (w->raw.len >= BLOCK_RAW)
		w->err = block_close(w);
	return w->err;
}

int run_writer_finish(struct run_writer *w, struct buf *out)
{
	uint8_t header[HEADER_BYTES] = { 0 };

	if (!w->err)
		w->err = block_close(w);
	if (w->err)
		return w->err;
	if (buf_reserve(out, HEADER_BYTES + w->blocks.len))
		return out->err;
	memcpy(header, magic, sizeof(magic));
	header[8] = RUN_VERSION;
	put_u32(header + 16, (uint32_t)(HEADER_BYTES + w->blocks.len));
	put_u32(header + 20, w->block_count);
	put_u64(header + 24, w->count);
	put_u64(header + 32, hash_xxh3(header, 32, 0));
	buf_bytes(out, header, sizeof(header));
	buf_bytes(out, w->blocks.data, w->blocks.len);
	if (out->err)
		return out->err;
	buf_reset(&w->blocks);
	w->block_count = 0;
	w->count = 0;
	return 0;
}

/* --- reader --- */

struct run_reader {
	const uint8_t *next, *end;    /* the blocks not yet opened */
	const uint8_t *at, *at_end;   /* the entries of the open block */
	uint8_t *raw;                 /* a block unpacked; made when first needed */
	ZSTD_DCtx *zstd;
	uint32_t index, block_count;
	uint32_t entries;             /* left in the open block */
	uint64_t count;               /* keys left */
	int err;
	bool block_start;
	size_t klen;
	uint8_t key[KVMAP_KEY_MAX];
};

int run_reader_new(const void *part, size_t len, struct run_reader **ret)
{
	const uint8_t *p = part;
	struct run_reader *r;

	if (len < HEADER_BYTES || memcmp(p, magic, sizeof(magic)) != 0)
		return ERR_CORRUPT;
	if (get_u64(p + 32) != hash_xxh3(p, 32, 0))
		return ERR_CORRUPT;
	/* Version, then features: bits of what a reader must know. */
	if (get_u32(p + 8) != RUN_VERSION || get_u32(p + 12) != 0)
		return ERR_NEWER_FORMAT;
	if (get_u32(p + 16) != len)
		return ERR_CORRUPT;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->next = p + HEADER_BYTES;
	r->end = p + len;
	r->block_count = get_u32(p + 20);
	r->count = get_u64(p + 24);
	*ret = r;
	return 0;
}

void run_reader_free(struct run_reader *r)
{
	if (!r)
		return;
	ZSTD_freeDCtx(r->zstd);
	free(r->raw);
	free(r);
}

static int block_unpack(struct run_reader *r, const uint8_t *stored, size_t len, size_t raw_len)
{
	size_t n;

	if (!r->raw)
		r->raw = malloc(BLOCK_RAW_MAX);
	if (!r->zstd)
		r->zstd = ZSTD_createDCtx();
	if (!r->raw || !r->zstd)
		return -ENOMEM;
	n = ZSTD_decompressDCtx(r->zstd, r->raw, raw_len, stored, len);
	if (ZSTD_isError(n) || n != raw_len)
		return ERR_CORRUPT;
	r->at = r->raw;
	return 0;
}

/* 1: a block is open; 0: that was the last, and the part ends as its header said; or an error. */
static int block_open(struct run_reader *r)
{
	const uint8_t *h = r->next, *stored;
	uint32_t len, raw_len;
	int rc = 0;

	if (r->index == r->block_count)
		return r->next == r->end && r->count == 0 ? 0 : ERR_CORRUPT;
	if ((size_t)(r->end - r->next) < BLOCK_HEADER_BYTES)
		return ERR_CORRUPT;
	len = get_u32(h);
	raw_len = get_u32(h + 4);
	stored = h + BLOCK_HEADER_BYTES;
	if (len > (size_t)(r->end - stored) || raw_len < 1 || raw_len > BLOCK_RAW_MAX)
		return ERR_CORRUPT;
	if (get_u64(h + 16) != block_sum(h, r->index, stored, len))
		return ERR_CORRUPT;
	if (h[12] > CODEC_ZSTD || h[13] || h[14] || h[15])
		return ERR_NEWER_FORMAT;
	if (h[12] == CODEC_ZSTD)
		rc = block_unpack(r, stored, len, raw_len);
	else if (len != raw_len)
		rc = ERR_CORRUPT;
	else
		r->at = stored;
	if (rc)
		return rc;
	r->at_end = r->at + raw_len;
	r->entries = get_u32(h + 8);
	r->next = stored + len;
	r->index++;
	r->block_start = true;
	return r->entries ? 1 : ERR_CORRUPT;
}

/* A number of at most 32 bits in its shortest form; the position after it, or NULL. */
static const uint8_t *varint_get(const uint8_t *p, const uint8_t *end, uint32_t *ret)
{
	uint64_t x = 0;

	for (unsigned shift = 0; p < end && shift < 35; shift += 7) {
		uint8_t c = *p++;

		x |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			if ((c == 0 && shift > 0) || x > UINT32_MAX)
				return NULL;
			*ret = (uint32_t)x;
			return p;
		}
	}
	return NULL;
}

/* Is the key that shares `shared` bytes with the one before, and goes on with these, greater (and not sharing more)? */
static bool key_follows(const struct run_reader *r, const uint8_t *suffix, size_t shared, size_t unshared)
{
	if (!r->block_start)
		return shared <= r->klen && unshared > 0 && (shared == r->klen || suffix[0] > r->key[shared]);
	if (shared != 0 || unshared == 0)
		return false;
	size_t n = common_prefix(suffix, unshared, r->key, r->klen);

	return n < unshared && (n == r->klen || suffix[n] > r->key[n]);
}

static int entry_next(struct run_reader *r, const uint8_t **ret_val, size_t *ret_vlen)
{
	uint32_t shared, unshared, tag;
	const uint8_t *p = r->at;
	size_t vlen;

	p = varint_get(p, r->at_end, &shared);
	if (p)
		p = varint_get(p, r->at_end, &unshared);
	if (p)
		p = varint_get(p, r->at_end, &tag);
	if (!p || unshared > KVMAP_KEY_MAX || shared > KVMAP_KEY_MAX - unshared || tag > KVMAP_VALUE_MAX + 1)
		return ERR_CORRUPT;
	vlen = tag ? tag - 1 : 0;
	if (unshared + vlen > (size_t)(r->at_end - p) || !key_follows(r, p, shared, unshared))
		return ERR_CORRUPT;
	memcpy(r->key + shared, p, unshared);
	r->klen = shared + unshared;
	p += unshared;
	*ret_val = tag ? p : NULL;
	*ret_vlen = vlen;
	r->at = p + vlen;
	r->block_start = false;
	/* A block ends where its last entry does. */
	if (--r->entries == 0 && r->at != r->at_end)
		return ERR_CORRUPT;
	return 0;
}

int run_reader_next(struct run_reader *r, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen)
{
	const uint8_t *val;
	size_t vlen;
	int rc;

	if (r->err)
		return r->err;
	if (r->entries == 0) {
		rc = block_open(r);
		if (rc < 0)
			r->err = rc;
		if (rc <= 0)
			return rc;
	}
	if (r->count == 0)
		return r->err = ERR_CORRUPT;
	rc = entry_next(r, &val, &vlen);
	if (rc)
		return r->err = rc;
	r->count--;
	*ret_key = r->key;
	*ret_klen = r->klen;
	*ret_val = val;
	*ret_vlen = vlen;
	return 1;
}
