/*
 * s3_xml_walk.c - expat behind one callback.
 *
 * XML 1.0 has no way to write most control characters, yet servers do send
 * them in keys ("&#x01;", or the raw byte). Such a document is rewritten first:
 * each forbidden character c becomes U+F000+c, a private-use character, and is
 * turned back in the text. A document that holds both is ambiguous and refused.
 */
#include "s3_xml_walk.h"

#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "err.h"
#include "secret.h"

struct walk {
	struct s3_xml_walk *w;
	XML_Parser parser;
	struct secret *memory; /* the text passes through here: some documents hold credentials */
	char *text;
	size_t text_len;
	unsigned depth; /* elements open */
	bool has_children, rewritten, root_seen;
	int rc;
};

static void stop(struct walk *x, int rc)
{
	if (x->rc == 0)
		x->rc = rc;
	XML_StopParser(x->parser, XML_FALSE);
}

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	struct walk *x = user;
	const char *local = local_name(name);

	(void)attributes;
	if (x->rc)
		return;
	if (x->depth == S3_XML_DEPTH || strlen(local) >= S3_XML_NAME) {
		stop(x, ERR_CORRUPT);
		return;
	}
	strcpy(x->w->names[x->depth++], local);
	x->root_seen = true;
	x->has_children = false;
	x->text_len = 0;
}

/* U+F000+c for a control character c is ef 80 80+c in UTF-8. */
static void restore_controls(struct walk *x)
{
	size_t out = 0;

	for (size_t i = 0; i < x->text_len; i++) {
		unsigned char *t = (unsigned char *)x->text;

		if (i + 2 < x->text_len && t[i] == 0xef && t[i + 1] == 0x80 && t[i + 2] >= 0x81 && t[i + 2] < 0xa0) {
			t[out++] = t[i + 2] & 0x1f;
			i += 2;
		} else {
			t[out++] = t[i];
		}
	}
	x->text_len = out;
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
	struct walk *x = user;
	int rc;

	(void)name;
	if (x->rc)
		return;
	x->depth--;
	if (x->has_children)
		x->text_len = 0;
	if (x->rewritten)
		restore_controls(x);
	x->text[x->text_len] = '\0';
	rc = x->w->end(x->w->user, x->w, x->depth, x->w->names[x->depth], x->text, x->text_len);
	x->text_len = 0;
	x->has_children = true; /* of the parent */
	if (rc)
		stop(x, rc);
}

static void XMLCALL on_text(void *user, const XML_Char *s, int len)
{
	struct walk *x = user;

	if (x->rc || x->has_children)
		return;
	if ((size_t)len >= S3_XML_TEXT - x->text_len) {
		stop(x, ERR_CORRUPT);
		return;
	}
	memcpy(x->text + x->text_len, s, (size_t)len);
	x->text_len += (size_t)len;
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
			       int internal)
{
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)internal;
	stop(user, ERR_CORRUPT); /* no S3 answer has one; attacks do */
}

static bool forbidden(unsigned long c)
{
	return c > 0 && c < 0x20 && c != '\t' && c != '\n' && c != '\r';
}

/* The length of a character reference at p to a forbidden character (in *ret), or 0. */
static size_t bad_reference(const char *p, size_t len, unsigned long *ret)
{
	size_t i = 2;
	unsigned base = 10;
	unsigned long c = 0;

	if (len < 4 || p[0] != '&' || p[1] != '#')
		return 0;
	if (p[2] == 'x' || p[2] == 'X') {
		base = 16;
		i = 3;
	}
	for (; i < len && i < 12 && p[i] != ';'; i++) {
		unsigned d;

		if (p[i] >= '0' && p[i] <= '9')
			d = (unsigned)(p[i] - '0');
		else if (base == 16 && (p[i] | 32) >= 'a' && (p[i] | 32) <= 'f')
			d = (unsigned)((p[i] | 32) - 'a') + 10;
		else
			return 0;
		c = c * base + d;
	}
	if (i >= len || p[i] != ';' || !forbidden(c))
		return 0;
	*ret = c;
	return i + 1;
}

/* Returns 0 (nothing to do), 1 (rewritten into out), ERR_CORRUPT or -ENOMEM. */
static int rewrite(const char *p, size_t len, struct buf *out)
{
	bool found = false, private_use = false;
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		unsigned long c = (unsigned char)p[i];

		n = 1;
		if (c == '&' && (n = bad_reference(p + i, len - i, &c)) == 0)
			n = 1;
		if (!forbidden(c)) {
			private_use |= len - i > 2 && (unsigned char)p[i] == 0xef && (unsigned char)p[i + 1] == 0x80 &&
				       (unsigned char)p[i + 2] < 0xa0;
			if (found)
				buf_u8(out, (uint8_t)p[i]);
			continue;
		}
		if (!found)
			buf_bytes(out, p, i);
		found = true;
		buf_bytes(out, (uint8_t[]){ 0xef, 0x80, (uint8_t)(0x80 + c) }, 3);
	}
	if (out->err)
		return out->err;
	if (found && private_use)
		return ERR_CORRUPT;
	return found;
}

static int parse(struct walk *x, const char *p, size_t len)
{
	XML_SetUserData(x->parser, x);
	XML_SetElementHandler(x->parser, on_start, on_end);
	XML_SetCharacterDataHandler(x->parser, on_text);
	XML_SetStartDoctypeDeclHandler(x->parser, on_doctype);
	if (XML_Parse(x->parser, p, (int)len, 1) != XML_STATUS_OK)
		return x->rc ? x->rc : XML_GetErrorCode(x->parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : ERR_CORRUPT;
	return x->rc ? x->rc : x->root_seen ? 0 : ERR_CORRUPT;
}

int s3_xml_walk(const void *data, size_t len, struct s3_xml_walk *w)
{
	struct walk x = { .w = w };
	struct buf clean = BUF_INIT;
	int rc;

	if (len == 0 || len > INT32_MAX / 4)
		return ERR_CORRUPT;
	rc = rewrite(data, len, &clean);
	x.rewritten = rc == 1;
	if (rc >= 0) {
		rc = -ENOMEM;
		x.memory = secret_new(NULL, S3_XML_TEXT);
		x.parser = XML_ParserCreate("UTF-8");
		if (x.memory && x.parser) {
			x.text = x.memory->text;
			rc = x.rewritten ? parse(&x, (const char *)clean.data, clean.len) : parse(&x, data, len);
		}
	}
	if (x.parser)
		XML_ParserFree(x.parser);
	secret_free(x.memory);
	buf_free(&clean);
	return rc;
}
