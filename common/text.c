/* text.c - no state. UTF-8 as RFC 3629 has it: the shortest form alone, no surrogates, up to U+10FFFF. */
#include "text.h"

#include <stdio.h>
#include <string.h>

/* Length and code point of the character at p; 0: it is no UTF-8. A NUL ends it like any byte that does not belong. */
static size_t decode(const unsigned char *p, unsigned *ret)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : (*p & 0xf8) == 0xf0 ? 4 : 0;
	unsigned c = n <= 1 ? *p : *p & (0x7fu >> n);

	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (!n || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return n;
}

size_t text_char(const char *p)
{
	unsigned c;
	size_t n = decode((const unsigned char *)p, &c);

	if (!n || c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
		return 0;
	return n;
}

bool text_is_utf8(const char *text)
{
	unsigned c;

	for (size_t n; *text; text += n) {
		n = decode((const unsigned char *)text, &c);
		if (!n)
			return false;
	}
	return true;
}

void text_clean(char *text, char with)
{
	while (*text) {
		size_t n = text_char(text);

		if (!n)
			*text = with;
		text += n ? n : 1;
	}
}

const char *text_shown(const char *text, char *ret, size_t cap)
{
	size_t at = 0;

	while (*text && at + 5 <= cap) {
		size_t n = *text == '\\' ? 0 : text_char(text);

		if (n) {
			memcpy(ret + at, text, n);
			at += n;
			text += n;
		} else {
			at += (size_t)snprintf(ret + at, cap - at, "\\%03o", (unsigned char)*text++);
		}
	}
	ret[at] = '\0';
	return ret;
}
