/*
 * buf.h - bytes: a growing buffer to encode into and a bounded cursor to
 * decode from. All integers are little-endian, fixed width, except the
 * _be64 calls (keys, which must sort as bytes).
 *
 * Both carry a sticky error: after the first failure every further call is a
 * no-op (a decode yields 0), so a codec checks once, at its end.
 */
#ifndef CLONELOVE_BUF_H
#define CLONELOVE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len, cap;
	int err; /* 0 or -ENOMEM */
};

#define BUF_INIT { NULL, 0, 0, 0 }

void buf_free(struct buf *b);            /* frees the bytes, and leaves an empty buffer */
void buf_reset(struct buf *b);           /* empties it, keeps the memory, clears the error */
int buf_reserve(struct buf *b, size_t more); /* room for `more` bytes; 0 or -ENOMEM */
void buf_u8(struct buf *b, uint8_t x);
void buf_u16(struct buf *b, uint16_t x);
void buf_u32(struct buf *b, uint32_t x);
void buf_u64(struct buf *b, uint64_t x);
void buf_be64(struct buf *b, uint64_t x);
void buf_bytes(struct buf *b, const void *p, size_t len);
void buf_zero(struct buf *b, size_t len);
/* A u16 length, then the bytes. len above 65535 sets err to -EINVAL. */
void buf_str16(struct buf *b, const void *p, size_t len);

struct cursor {
	const uint8_t *p, *end;
	int err; /* 0 or ERR_CORRUPT */
};

struct cursor cursor_make(const void *p, size_t len);
size_t cursor_left(const struct cursor *c);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
uint64_t cursor_be64(struct cursor *c);
/* Copies len bytes out; zeroes ret when they are not there. */
void cursor_copy(struct cursor *c, void *ret, size_t len);
/* A view of the next len bytes (borrowed), or NULL with err set. */
const uint8_t *cursor_view(struct cursor *c, size_t len);
/* A u16 length and a view of that many bytes. */
const uint8_t *cursor_str16(struct cursor *c, size_t *ret_len);
/* 0 when nothing failed and nothing is left over; else ERR_CORRUPT. */
int cursor_end(const struct cursor *c);

/* The same encodings into and from plain memory. */
void put_u32(void *p, uint32_t x);
void put_u64(void *p, uint64_t x);
void put_be64(void *p, uint64_t x);
uint32_t get_u32(const void *p);
uint64_t get_u64(const void *p);
uint64_t get_be64(const void *p);

#endif
