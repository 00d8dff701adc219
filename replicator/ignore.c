/*
 * ignore.c - gitignore's patterns: parsing, and matching by a matcher of our own, since fnmatch(3) knows no "**" and follows the locale.
 */
#include "ignore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "err.h"

#define LINE_MAX_BYTES 4096u
#define LINES_MAX 10000u

struct pattern {
	char *text;         /* NUL-terminated, without the marks below */
	bool back;          /* ! */
	bool dirs;          /* ended in a slash */
	bool rooted;        /* matched against the whole path, else against its last part */
};

struct ignore {
	struct pattern *p;
	size_t count, cap;
};

/* --- matching --- */

/* A set such as [a-z], at s behind '['. The byte behind it, or NULL where it does not end (then '[' is a byte like any other). */
static const char *set_match(const char *s, unsigned char c, bool *ret)
{
	bool no = *s == '!' || *s == '^', hit = false, first = true;

	s += no;
	for (; *s && (first || *s != ']'); first = false) {
		unsigned char lo = (unsigned char)(*s == '\\' && s[1] ? *++s : *s), hi = lo;

		s++;
		if (*s == '-' && s[1] && s[1] != ']') {
			s++;
			hi = (unsigned char)(*s == '\\' && s[1] ? *++s : *s);
			s++;
		}
		hit |= c >= lo && c <= hi;
	}
	if (*s != ']')
		return NULL;
	*ret = hit != no && c != '/';
	return s + 1;
}

/* One element of the pattern against one byte. *ret_next: the pattern behind it. */
static bool one(const char *p, unsigned char c, const char **ret_next)
{
	bool hit;

	if (*p == '[') {
		const char *end = set_match(p + 1, c, &hit);

		if (end) {
			*ret_next = end;
			return hit;
		}
	}
	if (*p == '?') {
		*ret_next = p + 1;
		return c != '/';
	}
	if (*p == '\\' && p[1])
		p++;
	*ret_next = p + 1;
	return (unsigned char)*p == c;
}

/* Two stars as a whole part: behind the pattern's start or a slash, before its end or a slash. */
static bool whole_part(const char *start, const char *p)
{
	return p[0] == '*' && p[1] == '*' && (p == start || p[-1] == '/') && (p[2] == '\0' || p[2] == '/');
}

/*
 * The whole of [s, end) against p. Backtracks to the last star alone, and to the last double star where that does not help: what a later star of a
 * kind can reach, an earlier one could, so time is bounded by the product of the lengths, for each kind.
 */
static bool match(const char *start, const char *s, const char *end)
{
	const char *p = start, *star = NULL, *star_s = NULL, *deep = NULL, *deep_s = NULL, *next;

	for (;;) {
		if (whole_part(start, p)) {
			if (p[2] == '\0') /* everything inside: at least one part */
				return s < end;
			deep = p + 3; /* behind the slash: no part, or any number */
			deep_s = s;
			star = NULL;
			p = deep;
			continue;
		}
		if (*p == '*') {
			while (*p == '*')
				p++;
			star = p;
			star_s = s;
			continue;
		}
		if (s == end && *p == '\0')
			return true;
		if (s < end && *p && one(p, (unsigned char)*s, &next)) {
			p = next;
			s++;
			continue;
		}
		if (star && star_s < end && *star_s != '/') {
			s = ++star_s;
			p = star;
			continue;
		}
		if (!deep)
			return false;
		while (deep_s < end && *deep_s != '/')
			deep_s++;
		if (deep_s == end)
			return false;
		s = ++deep_s;
		p = deep;
		star = NULL;
	}
}

static bool pattern_match(const struct pattern *t, const char *path, size_t len, bool is_dir)
{
	const char *s = path;

	if (t->dirs && !is_dir)
		return false;
	if (!t->rooted) {
		const char *slash = memrchr(path, '/', len);

		s = slash ? slash + 1 : path;
	}
	return match(t->text, s, path + len);
}

static bool left_out(const struct ignore *g, const char *path, size_t len, bool is_dir)
{
	for (size_t i = g->count; i-- > 0;)
		if (pattern_match(&g->p[i], path, len, is_dir))
			return !g->p[i].back;
	return false;
}

bool ignore_match(const struct ignore *g, const char *path, size_t len, bool is_dir)
{
	for (size_t i = 1; i < len; i++)
		if (path[i] == '/' && left_out(g, path, i, true))
			return true;
	return left_out(g, path, len, is_dir);
}

bool ignore_leaves_out(const struct ignore *g, const char *path, size_t len)
{
	return g && len && ignore_match(g, path, len, true);
}

bool ignore_needs_kind(const struct ignore *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->p[i].back && g->p[i].dirs)
			return true;
	return false;
}

bool ignore_is_empty(const struct ignore *g)
{
	return g->count == 0;
}

/* --- parsing --- */

static size_t without_trailing_spaces(const char *s, size_t len)
{
	while (len && (s[len - 1] == ' ' || s[len - 1] == '\r' || s[len - 1] == '\t')) {
		size_t slashes = 0;

		while (slashes < len - 1 && s[len - 2 - slashes] == '\\')
			slashes++;
		if (s[len - 1] == ' ' && slashes % 2)
			break;
		len--;
	}
	return len;
}

static int add(struct ignore *g, const char *s, size_t len)
{
	struct pattern t = { NULL, false, false, false };

	if (len && *s == '!') {
		t.back = true;
		s++;
		len--;
	}
	if (len && s[len - 1] == '/') {
		t.dirs = true;
		len--;
	}
	if (len == 0)
		return 0;
	t.rooted = memchr(s, '/', len) != NULL;
	if (*s == '/') {
		s++;
		len--;
	}
	if (len == 0)
		return 0;
	if (g->count == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 16;
		struct pattern *p = realloc(g->p, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		g->p = p;
		g->cap = cap;
	}
	t.text = strndup(s, len);
	if (!t.text)
		return -ENOMEM;
	g->p[g->count++] = t;
	return 0;
}

static int add_line(struct ignore *g, const char *name, unsigned number, const char *s, size_t len)
{
	if (len > LINE_MAX_BYTES || memchr(s, '\0', len))
		return err_set(ERR_CONFIG, "line %u of %s is no pattern: it is longer than %u bytes or holds a zero byte", number, name, LINE_MAX_BYTES);
	len = without_trailing_spaces(s, len);
	return len == 0 || *s == '#' ? 0 : add(g, s, len);
}

int ignore_parse(const char *name, const char *text, size_t len, struct ignore **ret)
{
	struct ignore *g = calloc(1, sizeof *g);
	const char *end = text + len;
	unsigned number = 0;
	int rc = g ? 0 : -ENOMEM;

	while (!rc && text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((eol ? eol : end) - text);

		if (++number > LINES_MAX)
			rc = err_set(ERR_CONFIG, "%s has more than %u lines", name, LINES_MAX);
		else
			rc = add_line(g, name, number, text, n);
		text += n + (eol != NULL);
	}
	if (rc) {
		ignore_free(g);
		return rc;
	}
	*ret = g;
	return 0;
}

void ignore_free(struct ignore *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->count; i++)
		free(g->p[i].text);
	free(g->p);
	free(g);
}

void ignore_text(const struct ignore *g, struct buf *out)
{
	for (size_t i = 0; i < g->count; i++) {
		const struct pattern *t = &g->p[i];

		buf_bytes(out, "!", t->back);
		buf_bytes(out, "/", t->rooted); /* that of one with a slash in it says the same */
		buf_bytes(out, t->text, strlen(t->text));
		buf_bytes(out, "/", t->dirs);
		buf_bytes(out, "\n", 1);
	}
}
