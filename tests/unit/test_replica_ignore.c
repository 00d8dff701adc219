/* test_replica_ignore.c - gitignore's patterns: cases, git itself as judge over random ones, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "ignore.h"

static struct ignore *parse(const char *text)
{
	struct ignore *g = NULL;

	assert_int_equal(ignore_parse("test", text, strlen(text), &g), 0);
	return g;
}

/* path: a trailing slash makes it a directory. */
static bool matches(const struct ignore *g, const char *path)
{
	size_t n = strlen(path);
	bool dir = path[n - 1] == '/';

	return ignore_match(g, path, n - dir, dir);
}

static void cases(void **state)
{
	static const struct { const char *patterns, *path; bool out; } c[] = {
		{ "", "a", false },
		{ "# a\n\na\n", "a", true },
		{ "# a\n", "# a", false },
		{ "\\#a", "#a", true },
		{ "\\!a", "!a", true },
		{ "*.tmp", "d/x.tmp", true },
		{ "*.tmp\n!keep.tmp", "d/keep.tmp", false },
		{ "d/\n!d/keep", "d/keep", true }, /* nothing is taken back below what is out */
		{ "d/", "d", false },
		{ "d/", "d/", true },
		{ "d/", "x/d/y", true },
		{ "/d", "x/d", false },
		{ "/d", "d", true },
		{ "a/b", "x/a/b", false },
		{ "a/b", "a/b", true },
		{ "a/*", "a/b/c", true },
		{ "a/*", "a", false },
		{ "a*c", "a/c", false },
		{ "**/a", "a", true },
		{ "**/a", "x/y/a", true },
		{ "a/**", "a", false },
		{ "a/**", "a/b/c", true },
		{ "a/**/b", "a/b", true },
		{ "a/**/b", "a/x/y/b", true },
		{ "a/**/b", "a/xb", false },
		{ "a/**/b/**/c", "a/b/x/b/y/c", true },
		{ "x**y", "xaay", true },
		{ "[a-c]x", "bx", true },
		{ "[!a-c]x", "bx", false },
		{ "[]]x", "]x", true },
		{ "?", "a", true },
		{ "?", "ab", false },
		{ "a\\*", "a*", true },
		{ "a\\*", "ab", false },
		{ "a ", "a", true },
		{ "a\\ ", "a ", true },
		{ "a\r\nb", "a", true },
		{ "*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false },
	};

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(c); i++) {
		struct ignore *g = parse(c[i].patterns);

		if (matches(g, c[i].path) != c[i].out)
			fail_msg("pattern \"%s\", path %s: expected %s", c[i].patterns, c[i].path, c[i].out ? "left out" : "kept");
		ignore_free(g);
	}
}

/* Random patterns over a small alphabet, each asked of git as well. */
static void random_text(uint64_t *r, char *out, bool pattern)
{
	static const char *const parts[] = { "a", "b", "ab", "*", "**", "?", "[ab]", "a*", "*b" };
	size_t n = 1 + rng_below(r, 4), at = 0;

	if (pattern && rng_below(r, 5) == 0)
		out[at++] = '!';
	if (pattern && rng_below(r, 5) == 0)
		out[at++] = '/';
	for (size_t i = 0; i < n; i++)
		at += (size_t)sprintf(out + at, "%s%s", i ? "/" : "", parts[rng_below(r, pattern ? 9 : 3)]);
	if (pattern && rng_below(r, 5) == 0) /* git takes what it is asked about for no directory: it is not there */
		out[at++] = '/';
	out[at] = '\0';
}

#define ASKED 200

static void git_agrees(void **state)
{
	char dir[] = "/tmp/replica-ignore.XXXXXX", patterns[512], command[600], line[512];
	uint64_t r = 21;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(command, sizeof command, "git init -q %s 2>/dev/null", dir);
	assert_int_equal(system(command), 0);
	for (int round = 0; round < 40; round++) {
		char path[ASKED][64], file[300];
		struct ignore *g;
		size_t at = 0;
		FILE *f;

		for (int k = 0; k < 4; k++) {
			random_text(&r, patterns + at, true);
			at += strlen(patterns + at);
			patterns[at++] = '\n';
		}
		patterns[at] = '\0';
		g = parse(patterns);
		snprintf(file, sizeof file, "%s/.git/info/exclude", dir);
		assert_non_null(f = fopen(file, "w"));
		fputs(patterns, f);
		fclose(f);
		snprintf(file, sizeof file, "%s/.git/asked", dir);
		assert_non_null(f = fopen(file, "w"));
		for (int i = 0; i < ASKED; i++) {
			random_text(&r, path[i], false);
			fprintf(f, "%s\n", path[i]);
		}
		fclose(f);
		/* --verbose --non-matching: one line for each path asked; "::" begins that of a path that nothing matches. */
		snprintf(command, sizeof command, "git -C %s check-ignore --no-index -v -n --stdin < %s", dir, file);
		assert_non_null(f = popen(command, "r"));
		for (int i = 0; i < ASKED; i++) {
			const char *third;
			bool out;

			assert_non_null(fgets(line, sizeof line, f));
			third = strncmp(line, "::", 2) == 0 ? NULL : strchr(strchr(line, ':') + 1, ':') + 1;
			out = third && *third != '!';
			if (matches(g, path[i]) != out)
				fail_msg("patterns %s path %s: git says %s", patterns, path[i], line);
		}
		pclose(f);
		ignore_free(g);
	}
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

/* The text of either makes the same of the rules again. */
static void assert_same_text(const struct ignore *g, const struct ignore *h, bool same)
{
	struct buf a = BUF_INIT, b = BUF_INIT, again = BUF_INIT;
	struct ignore *back;

	ignore_text(g, &a);
	ignore_text(h, &b);
	assert_int_equal(a.err || b.err, 0);
	assert_int_equal(a.len == b.len && memcmp(a.data, b.data, a.len) == 0, same);
	assert_int_equal(ignore_parse("text", (const char *)a.data, a.len, &back), 0);
	ignore_text(back, &again);
	assert_int_equal(again.len, a.len);
	assert_memory_equal(again.data, a.data, a.len);
	ignore_free(back);
	buf_free(&a);
	buf_free(&b);
	buf_free(&again);
}

static void refused_and_told_apart(void **state)
{
	struct ignore *g, *h;
	char *big = malloc(5000);

	(void)state;
	assert_non_null(big);
	memset(big, 'x', 5000);
	memcpy(big, "a\n", 2);
	assert_int_equal(ignore_parse("the file", big, 5000, &g), ERR_CONFIG);
	assert_non_null(strstr(err_last(), "line 2 of the file"));
	assert_int_equal(ignore_parse("the file", "a\0b", 3, &g), ERR_CONFIG);
	free(big);
	g = parse("a\n# comment\nb/\n");
	h = parse("a\nb/");
	assert_same_text(g, h, true);
	ignore_free(h);
	h = parse("b/\na");
	assert_same_text(g, h, false);
	ignore_free(g);
	ignore_free(h);
	/* Whatever stands at the ends of a line. */
	g = parse("\\#a\n\\!b\n!/c/\n/d/e\nf\\ \ng/**/h/\n/#i\n");
	h = parse("\\#a\n\\!b\n!/c/\nd/e\nf\\ \ng/**/h/\n/#i\n");
	assert_same_text(g, h, true);
	ignore_free(g);
	ignore_free(h);
}

/* What can be gone by is the path alone. */
static void by_the_path(void **state)
{
	struct ignore *g = parse("cache/\n*.tmp\n!kept.tmp\na/*\n!a/b\n"), *kind = parse("*\n!*/\n"), *none = parse("# nothing\n\n"), *all = parse("*");
	static const struct { const char *path; bool out; } c[] = {
		{ "cache", true }, { "x/cache", true }, { "x/cache/y", true }, { "cached", false }, { "h.tmp", true }, { "kept.tmp", false }, { "h.tmp/kept.tmp", true },
		{ "a", false }, { "a/x", true }, { "a/b", false }, { "a/b/c", false }, { "a/b/h.tmp", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof c / sizeof *c; i++)
		if (ignore_leaves_out(g, c[i].path, strlen(c[i].path)) != c[i].out)
			fail_msg("%s is %sleft out", c[i].path, c[i].out ? "not " : "");
	assert_false(ignore_leaves_out(NULL, "x", 1));
	assert_true(ignore_leaves_out(all, "x", 1));
	assert_false(ignore_leaves_out(all, "", 0)); /* the root is not a path in it */
	assert_false(ignore_needs_kind(g));
	assert_true(ignore_needs_kind(kind));
	assert_true(ignore_is_empty(none) && !ignore_is_empty(g));
	ignore_free(g);
	ignore_free(kind);
	ignore_free(none);
	ignore_free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cases), cmocka_unit_test(git_agrees), cmocka_unit_test(refused_and_told_apart), cmocka_unit_test(by_the_path) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
