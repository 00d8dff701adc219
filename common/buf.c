/*
 * buf.c - bytes: the growing buffer and the bounded cursor.
 *
 * Invariants: len <= cap; data is NULL only where cap is 0; after an error a
 * buffer does not change any more. A cursor never moves past its end, and
 * after an error it does not move at all.
 */
#include "buf.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define BUF_FIRST_BYTES 64
#define BUF_MAX_BYTES ((size_t)1 << 38) /* no buffer comes near; whoever asks for more has miscounted */

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = 0;
}

int buf_reserve(struct buf *b, size_t more)
{
	size_t need, cap;
	uint8_t *data;

	if (b->err)
		return b->err;
	if (more <= b->cap - b->len)
		return 0;
	if (more > BUF_MAX_BYTES - b->len)
		return b->err = -ENOMEM;
	need = b->len + more;
	cap = b->cap ? 2 * b->cap : BUF_FIRST_BYTES;
	if (cap < need)
		cap = need;
	data = realloc(b->data, cap);
	if (data == NULL)
		return b->err = -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

void buf_bytes(struct buf *b, const void *p, size_t len)
{
	if (len == 0 || buf_reserve(b, len))
		return;
	memcpy(b->data + b->len, p, len);
	b->len += len;
}

void buf_zero(struct buf *b, size_t len)
{
	if (len == 0 || buf_reserve(b, len))
		return;
	memset(b->data + b->len, 0, len);
	b->len += len;
}

void buf_u8(struct buf *b, uint8_t x)
{
	buf_bytes(b, &x, sizeof(x));
}

void buf_u16(struct buf *b, uint16_t x)
{
	x = htole16(x);
	buf_bytes(b, &x, sizeof(x));
}

void buf_u32(struct buf *b, uint32_t x)
{
	x = htole32(x);
	buf_bytes(b, &x, sizeof(x));
}

void buf_u64(struct buf *b, uint64_t x)
{
	x = htole64(x);
	buf_bytes(b, &x, sizeof(x));
}

void buf_be64(struct buf *b, uint64_t x)
{
	x = htobe64(x);
	buf_bytes(b, &x, sizeof(x));
}

void buf_str16(struct buf *b, const void *p, size_t len)
{
	if (b->err)
		return;
	if (len > UINT16_MAX) {
		b->err = -EINVAL;
		return;
	}
	/* Both or nothing: a length without its bytes must not be left behind. */
	if (buf_reserve(b, sizeof(uint16_t) + len))
		return;
	buf_u16(b, (uint16_t)len);
	buf_bytes(b, p, len);
}

struct cursor cursor_make(const void *p, size_t len)
{
	static const uint8_t empty[1];
	struct cursor c;

	/* A cursor over nothing has an address too, so that NULL from cursor_view always means failure. */
	c.p = p != NULL ? p : empty;
	c.end = c.p + (p != NULL ? len : 0);
	c.err = p == NULL && len > 0 ? ERR_CORRUPT : 0;
	return c;
}

size_t cursor_left(const struct cursor *c)
{
	return c->err ? 0 : (size_t)(c->end - c->p);
}

const uint8_t *cursor_view(struct cursor *c, size_t len)
{
	const uint8_t *p = c->p;

	if (c->err)
		return NULL;
	if (len > cursor_left(c)) {
		c->err = ERR_CORRUPT;
		return NULL;
	}
	c->p += len;
	return p;
}

void cursor_copy(struct cursor *c, void *ret, size_t len)
{
	const uint8_t *p = cursor_view(c, len);

	if (len == 0)
		return;
	if (p == NULL)
		memset(ret, 0, len);
	else
		memcpy(ret, p, len);
}

uint8_t cursor_u8(struct cursor *c)
{
	uint8_t x;

	cursor_copy(c, &x, sizeof(x));
	return x;
}

uint16_t cursor_u16(struct cursor *c)
{
	uint16_t x;

	cursor_copy(c, &x, sizeof(x));
	return le16toh(x);
}

uint32_t cursor_u32(struct cursor *c)
{
	uint32_t x;

	cursor_copy(c, &x, sizeof(x));
	return le32toh(x);
}

uint64_t cursor_u64(struct cursor *c)
{
	uint64_t x;

	cursor_copy(c, &x, sizeof(x));
	return le64toh(x);
}

uint64_t cursor_be64(struct cursor *c)
{
	uint64_t x;

	cursor_copy(c, &x, sizeof(x));
	return be64toh(x);
}

const uint8_t *cursor_str16(struct cursor *c, size_t *ret_len)
{
	size_t len = cursor_u16(c);
	const uint8_t *p = cursor_view(c, len);

	*ret_len = p != NULL ? len : 0;
	return p;
}

int cursor_end(const struct cursor *c)
{
	return c->err || c->p != c->end ? ERR_CORRUPT : 0;
}

void put_u32(void *p, uint32_t x)
{
	x = htole32(x);
	memcpy(p, &x, sizeof(x));
}

void put_u64(void *p, uint64_t x)
{
	x = htole64(x);
	memcpy(p, &x, sizeof(x));
}

void put_be64(void *p, uint64_t x)
{
	x = htobe64(x);
	memcpy(p, &x, sizeof(x));
}

uint32_t get_u32(const void *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return le32toh(x);
}

uint64_t get_u64(const void *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return le64toh(x);
}

uint64_t get_be64(const void *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return be64toh(x);
}
