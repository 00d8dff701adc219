/*
 * frame_stream.c - cutting a stream into frames, and making frames: length, type, flags, compression.
 */
#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "err.h"
#include "frame.h"

#define FLAG_ZSTD 1u
#define COMPRESS_MIN 1024u
#define COMPRESS_LEVEL 1
#define SAMPLE 16384u

static int expand(const uint8_t *p, size_t len, struct buf *scratch, struct frame *ret)
{
	struct cursor c = cursor_make(p, len);
	uint32_t raw = cursor_u32(&c);
	size_t n;

	if (c.err || raw == 0 || raw > FRAME_MAX)
		return ERR_CORRUPT;
	buf_reset(scratch);
	if (buf_reserve(scratch, raw))
		return -ENOMEM;
	n = ZSTD_decompress(scratch->data, raw, c.p, cursor_left(&c));
	if (ZSTD_isError(n) || n != raw)
		return ERR_CORRUPT;
	scratch->len = n;
	ret->body = scratch->data;
	ret->len = n;
	ret->whole = scratch;
	return 0;
}

int frame_next(const uint8_t *p, size_t len, struct buf *scratch, struct frame *ret, size_t *ret_used)
{
	struct frame f;
	size_t total;
	uint32_t n;
	int rc = 0;

	*ret_used = 0;
	if (len < 4)
		return 0;
	n = get_u32(p);
	if (n < 2 || n > FRAME_MAX)
		return ERR_CORRUPT;
	total = 4 + (size_t)n;
	/* Type and flags are judged as soon as they are there: nobody makes us wait for megabytes of nonsense. */
	if (len >= FRAME_HEAD_BYTES && (p[4] < FRAME_HELLO || p[4] >= FRAME_TYPES || (p[5] & ~FLAG_ZSTD)))
		return ERR_CORRUPT;
	if (len < total)
		return 0;
	f.type = (enum frame_type)p[4];
	f.body = p + FRAME_HEAD_BYTES;
	f.len = total - FRAME_HEAD_BYTES;
	f.whole = NULL;
	if (p[5] & FLAG_ZSTD)
		rc = expand(f.body, f.len, scratch, &f);
	if (rc)
		return rc;
	*ret = f;
	*ret_used = total;
	return 0;
}

void frame_begin(struct buf *out, enum frame_type type, size_t *ret_start)
{
	*ret_start = out->len;
	buf_u32(out, 0);
	buf_u8(out, (uint8_t)type);
	buf_u8(out, 0);
}

/* The body from `at` on becomes its compressed form, if that saves an eighth. A sample of a long one tells whether it is worth trying: pictures and archives are not. */
static void shrink(struct buf *out, size_t start)
{
	size_t at = start + FRAME_HEAD_BYTES, raw = out->len - at, room = raw - raw / 8, n;
	struct buf z = BUF_INIT;

	if (raw > FRAME_MAX || buf_reserve(&z, room))
		return;
	if (raw >= 4 * SAMPLE) {
		n = ZSTD_compress(z.data, room, out->data + at + raw / 2, SAMPLE, COMPRESS_LEVEL);
		if (ZSTD_isError(n) || n > SAMPLE - SAMPLE / 8) {
			buf_free(&z);
			return;
		}
	}
	n = ZSTD_compress(z.data, room, out->data + at, raw, COMPRESS_LEVEL);
	if (!ZSTD_isError(n) && n + 4 < room) {
		put_u32(out->data + at, (uint32_t)raw);
		memcpy(out->data + at + 4, z.data, n);
		out->len = at + 4 + n;
		out->data[start + 5] = FLAG_ZSTD;
	}
	buf_free(&z);
}

void frame_end(struct buf *out, size_t start, bool compress)
{
	if (out->err)
		return;
	if (compress && out->len - start >= FRAME_HEAD_BYTES + COMPRESS_MIN)
		shrink(out, start);
	if (out->len - start - 4 > FRAME_MAX) {
		out->err = -E2BIG;
		return;
	}
	put_u32(out->data + start, (uint32_t)(out->len - start - 4));
}
