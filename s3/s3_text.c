/* s3_text.c - text helpers without state. All decoding is bounded and refuses what it does not understand. */
#include "s3_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

void s3_text_add(struct buf *b, const char *s)
{
	buf_bytes(b, s, strlen(s));
}

void s3_text_addf(struct buf *b, const char *fmt, ...)
{
	char small[512], *big = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(small)) {
		buf_bytes(b, small, (size_t)n);
		return;
	}
	va_start(ap, fmt);
	n = vasprintf(&big, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->err = -ENOMEM;
		return;
	}
	buf_bytes(b, big, (size_t)n);
	free(big);
}

static bool unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

void s3_text_encode(struct buf *b, const char *s, size_t len, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		char e[3] = { '%', hex[c >> 4], hex[c & 15] };

		if (unreserved(c) || (keep_slash && c == '/'))
			buf_u8(b, c);
		else
			buf_bytes(b, e, 3);
	}
}

void s3_text_xml(struct buf *b, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&': s3_text_add(b, "&amp;"); break;
		case '<': s3_text_add(b, "&lt;"); break;
		case '>': s3_text_add(b, "&gt;"); break;
		case '"': s3_text_add(b, "&quot;"); break;
		case '\'': s3_text_add(b, "&#39;"); break;
		case '\r': s3_text_add(b, "&#13;"); break;
		default: buf_u8(b, (uint8_t)*s);
		}
	}
}

char *s3_text_take(struct buf *b)
{
	char *s = NULL;

	buf_u8(b, 0);
	if (!b->err) {
		s = (char *)b->data;
		*b = (struct buf)BUF_INIT;
	}
	buf_free(b);
	return s;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

ptrdiff_t s3_text_decode(char *s, size_t len)
{
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			int hi = i + 1 < len ? nibble(s[i + 1]) : -1, lo = i + 2 < len ? nibble(s[i + 2]) : -1;

			if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
				return -1;
			c = (char)(hi << 4 | lo);
			i += 2;
		} else if (c == '\0') {
			return -1;
		}
		s[out++] = c;
	}
	return (ptrdiff_t)out;
}

void s3_text_hex(const uint8_t *p, size_t len, char *ret_hex)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		ret_hex[2 * i] = hex[p[i] >> 4];
		ret_hex[2 * i + 1] = hex[p[i] & 15];
	}
	ret_hex[2 * len] = '\0';
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void s3_text_base64(const uint8_t *p, size_t len, char *ret_text)
{
	for (size_t i = 0; i < len; i += 3) {
		uint32_t x = (uint32_t)p[i] << 16;

		if (i + 1 < len)
			x |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < len)
			x |= p[i + 2];
		*ret_text++ = base64[x >> 18];
		*ret_text++ = base64[x >> 12 & 63];
		*ret_text++ = i + 1 < len ? base64[x >> 6 & 63] : '=';
		*ret_text++ = i + 2 < len ? base64[x & 63] : '=';
	}
	*ret_text = '\0';
}

ptrdiff_t s3_text_unbase64(const char *text, uint8_t *ret, size_t size)
{
	size_t len = strlen(text), out = 0;

	if (len % 4)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t x = 0;
		size_t bytes = 3;

		for (size_t j = 0; j < 4; j++) {
			const char *at = text[i + j] == '=' ? NULL : strchr(base64, text[i + j]);

			if (text[i + j] == '=' && i + 4 == len && j >= 2 && (j == 3 || text[i + 3] == '='))
				bytes--;
			else if (!at)
				return -1;
			x = x << 6 | (at ? (uint32_t)(at - base64) : 0);
		}
		if (out + bytes > size)
			return -1;
		for (size_t j = 0; j < bytes; j++)
			ret[out++] = (uint8_t)(x >> (16 - 8 * j));
	}
	return (ptrdiff_t)out;
}

void s3_text_amz_date(int64_t time_s, char *ret_date)
{
	time_t t = (time_t)time_s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(ret_date, 17, "%Y%m%dT%H%M%SZ", &tm) != 16)
		strcpy(ret_date, "19700101T000000Z"); /* a clock beyond the year 9999: the server will say how far off it is */
}

int64_t s3_text_iso_time(const char *text)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end)
		return -1;
	if (*end == '.')
		for (end++; isdigit((unsigned char)*end); end++)
			;
	if (strcmp(end, "Z") != 0 && strcmp(end, "+00:00") != 0)
		return -1;
	return (int64_t)timegm(&tm);
}

bool s3_text_u64(const char *text, uint64_t *ret)
{
	uint64_t x = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(x, 10u, &x) ||
		    __builtin_add_overflow(x, (uint64_t)(*text - '0'), &x))
			return false;
	}
	*ret = x;
	return true;
}

bool s3_text_bool(const char *text, bool *ret)
{
	static const char *const yes[] = { "on", "true", "yes", "1" }, *const no[] = { "off", "false", "no", "0" };

	for (size_t i = 0; i < CL_ARRAY_LEN(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0)
			return *ret = true;
		if (strcasecmp(text, no[i]) == 0) {
			*ret = false;
			return true;
		}
	}
	return false;
}
