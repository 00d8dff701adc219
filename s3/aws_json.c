/*
 * aws_json.c - one string out of a flat JSON object (RFC 8259). A library would
 * leave copies of the secrets in ordinary memory; this one writes them where they belong.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "aws_config.h"
#include "err.h"
#include "secret.h"

enum { JSON_DEPTH = 16 };

struct json {
	const char *p, *end;
};

static void skip_space(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

static bool take(struct json *j, char c)
{
	skip_space(j);
	if (j->p == j->end || *j->p != c)
		return false;
	j->p++;
	return true;
}

static int hex4(struct json *j, uint32_t *ret)
{
	uint32_t x = 0;

	if (j->end - j->p < 4)
		return ERR_CORRUPT;
	for (int i = 0; i < 4; i++) {
		char c = *j->p++;

		if (c >= '0' && c <= '9')
			x = x << 4 | (uint32_t)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			x = x << 4 | (uint32_t)((c | 32) - 'a' + 10);
		else
			return ERR_CORRUPT;
	}
	*ret = x;
	return 0;
}

/* One character of a string into out (at most 3 bytes). Credentials are ASCII: surrogate pairs and NUL are refused. */
static int character(struct json *j, char *out, size_t *n)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint32_t x;

	if (*j->p != '\\') {
		if ((unsigned char)*j->p < 0x20)
			return ERR_CORRUPT;
		out[(*n)++] = *j->p++;
		return 0;
	}
	if (++j->p == j->end)
		return ERR_CORRUPT;
	if (*j->p != 'u') {
		at = *j->p ? strchr(from, *j->p) : NULL;
		if (!at)
			return ERR_CORRUPT;
		out[(*n)++] = to[at - from];
		j->p++;
		return 0;
	}
	j->p++;
	if (hex4(j, &x) != 0 || x == 0 || (x >= 0xd800 && x < 0xe000))
		return ERR_CORRUPT;
	if (x < 0x80) {
		out[(*n)++] = (char)x;
	} else if (x < 0x800) {
		out[(*n)++] = (char)(0xc0 | x >> 6);
		out[(*n)++] = (char)(0x80 | (x & 63));
	} else {
		out[(*n)++] = (char)(0xe0 | x >> 12);
		out[(*n)++] = (char)(0x80 | (x >> 6 & 63));
		out[(*n)++] = (char)(0x80 | (x & 63));
	}
	return 0;
}

/* Behind the opening quote. ret may be NULL: skip it. A decoded string is never longer than its encoding. */
static int string(struct json *j, struct secret **ret)
{
	struct secret *s = NULL;
	const char *q = j->p;
	char skipped[4];
	size_t n = 0;
	int rc = 0;

	while (q < j->end && *q != '"')
		q += *q == '\\' && q + 1 < j->end ? 2 : 1;
	if (q >= j->end)
		return ERR_CORRUPT;
	if (ret) {
		s = secret_new(NULL, (size_t)(q - j->p));
		if (!s)
			return -ENOMEM;
	}
	while (rc == 0 && j->p < q) {
		if (!s)
			n = 0;
		rc = character(j, s ? s->text : skipped, &n);
	}
	if (rc == 0 && j->p != q)
		rc = ERR_CORRUPT;
	if (rc != 0) {
		secret_free(s);
		return rc;
	}
	j->p = q + 1;
	if (s) {
		s->text[n] = '\0';
		s->len = n;
		*ret = s;
	}
	return 0;
}

/* Any other value; the nesting is only counted, since nothing inside is wanted. */
static int skip_value(struct json *j)
{
	int depth = 0, rc;

	do {
		skip_space(j);
		if (j->p == j->end)
			return ERR_CORRUPT;
		switch (*j->p++) {
		case '"':
			rc = string(j, NULL);
			if (rc != 0)
				return rc;
			break;
		case '{':
		case '[':
			if (++depth > JSON_DEPTH)
				return ERR_CORRUPT;
			break;
		case '}':
		case ']':
			if (--depth < 0)
				return ERR_CORRUPT;
			break;
		default:
			while (j->p < j->end && !strchr(",:{}[]\" \t\r\n", *j->p))
				j->p++;
		}
	} while (depth > 0);
	return 0;
}

static int member(struct json *j, const char *name, struct secret **ret)
{
	struct secret *key;
	bool wanted;
	int rc;

	if (!take(j, '"'))
		return ERR_CORRUPT;
	rc = string(j, &key);
	if (rc != 0)
		return rc;
	wanted = strcmp(key->text, name) == 0;
	secret_free(key);
	if (!take(j, ':'))
		return ERR_CORRUPT;
	skip_space(j);
	if (!wanted || j->p == j->end || *j->p != '"')
		return skip_value(j);
	j->p++;
	if (*ret)
		return ERR_CORRUPT; /* twice: which one is meant? */
	return string(j, ret);
}

int aws_json_get(const char *text, size_t len, const char *name, struct secret **ret)
{
	struct json j = { text, text + len };
	struct secret *found = NULL;
	int rc = 0;

	if (!take(&j, '{'))
		return ERR_CORRUPT;
	if (!take(&j, '}')) {
		do
			rc = member(&j, name, &found);
		while (rc == 0 && take(&j, ','));
		if (rc == 0 && !take(&j, '}'))
			rc = ERR_CORRUPT;
	}
	skip_space(&j);
	if (rc == 0 && j.p != j.end)
		rc = ERR_CORRUPT;
	if (rc == 0 && !found)
		rc = -ENOENT;
	if (rc != 0) {
		secret_free(found);
		return rc;
	}
	*ret = found;
	return 0;
}
