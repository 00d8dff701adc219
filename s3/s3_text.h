/*
 * s3_text.h - the small text work of S3 and its neighbours: building strings
 * in a struct buf, URL encoding as SigV4 wants it, hex, base64, dates.
 */
#ifndef CLONELOVE_S3_TEXT_H
#define CLONELOVE_S3_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "compiler.h"

/* Appending to a buffer; errors are sticky in b->err. */
void s3_text_add(struct buf *b, const char *s);
void s3_text_addf(struct buf *b, const char *fmt, ...) CL_PRINTF(2, 3);
/* %XX for all but A-Z a-z 0-9 - . _ ~ (and '/' when keep_slash). */
void s3_text_encode(struct buf *b, const char *s, size_t len, bool keep_slash);
/* The text of an XML element: escapes & < > " ' and carriage returns. */
void s3_text_xml(struct buf *b, const char *s);
/* Ends the buffer with a NUL and hands it over (malloc'd); NULL when anything failed. The buffer is left empty. */
char *s3_text_take(struct buf *b);

/* Decodes %XX, and '+' to a space, in place. Returns the new length, or -1 for a broken escape or a NUL. */
ptrdiff_t s3_text_decode(char *s, size_t len);

/* Lower-case hex; ret_hex: 2 * len + 1 bytes. */
void s3_text_hex(const uint8_t *p, size_t len, char *ret_hex);
/* ret_text: at least (len + 2) / 3 * 4 + 1 bytes. */
void s3_text_base64(const uint8_t *p, size_t len, char *ret_text);
/* Returns the number of bytes, or -1 when it is no base64 or does not fit. */
ptrdiff_t s3_text_unbase64(const char *text, uint8_t *ret, size_t size);

/* "20130524T000000Z"; ret_date: 17 bytes. */
void s3_text_amz_date(int64_t time_s, char *ret_date);
/* "2013-05-24T00:00:00[.000]Z" to seconds; -1 when it is not that. */
int64_t s3_text_iso_time(const char *text);

/* A whole decimal number; false on anything else or overflow. */
bool s3_text_u64(const char *text, uint64_t *ret);
/* "on"/"true"/"yes"/"1" and their opposites. */
bool s3_text_bool(const char *text, bool *ret);

#endif
