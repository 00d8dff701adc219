/*
 * store_conformance_list.c - listings, against a model: all keys sorted as bytes, filtered and rolled up one by one. Every
 * combination of prefix, start_after, delimiter and page size is tried over keys chosen around the places where '/' sorts
 * between other characters. And odd but legal keys, and multi-delete.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "err.h"
#include "store_conformance.h"

#define MANY 1005
#define IN_FLIGHT 64

/* Sorted by the test itself. '-' and '.' sort before '/', '0' and letters after. */
static const char *const names[] = {
	"a-b", "a.b", "a/b", "a/b-c", "a/c/d", "a/c/d!", "a/c-d", "a/c0", "a0", "ab/x", "ab", "b", "c/1", "c/2/3", "c/2/4", "c/2-",
	"c-", "c0/0", "A", "~", "\xc3\xa9/x", "\xc3\xa9-", "z/z/z/z/z", "z/z/z/z-z", "z/z/z-",
};

static const char *const ignored = "ab"; /* "ab" and "ab/x" cannot both be kept by a directory store */

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct model { char *key[64]; size_t count; bool truncated; };

static void model_free(struct model *m)
{
	while (m->count > 0)
		free(m->key[--m->count]);
}

/* What the listing must be, of `all` sorted keys (with the base in front). */
static void model_list(struct model *m, char **all, size_t count, const char *prefix, const char *after, bool roll, size_t max)
{
	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < count; i++) {
		const char *slash, *key = all[i];
		size_t len = strlen(key);
		char *name;

		if (strncmp(key, prefix, strlen(prefix)) != 0)
			continue;
		slash = roll ? strchr(key + strlen(prefix), '/') : NULL;
		if (slash != NULL)
			len = (size_t)(slash - key) + 1;
		name = strndup(key, len);
		if (name == NULL)
			abort();
		if ((after != NULL && strcmp(name, after) <= 0) || (m->count && strcmp(m->key[m->count - 1], name) == 0)) {
			free(name);
		} else if (m->count == max) {
			free(name);
			m->truncated = true;
			return;
		} else {
			m->key[m->count++] = name;
		}
	}
}

static int check_one(struct conformance *c, char **all, size_t count, const char *prefix, const char *after, bool roll, unsigned max)
{
	struct model m;
	struct store_req r;
	int rc;

	model_list(&m, all, count, prefix, after, roll, max);
	store_req_init(&r, STORE_LIST);
	r.key = prefix;
	r.start_after = after;
	r.delimiter = roll ? "/" : NULL;
	r.max_keys = max;
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0, "LIST %s after %s: %s %s", prefix, after ? after : "-", err_text(rc), r.detail);
	CONFORM(c, r.entry_count == m.count && r.truncated == m.truncated,
		"LIST \"%s\" after \"%s\"%s, %u at most: %zu entries%s, not %zu%s", prefix, after ? after : "", roll ? " rolled up" : "", max,
		r.entry_count, r.truncated ? " and more" : "", m.count, m.truncated ? " and more" : "");
	for (size_t i = 0; i < m.count; i++) {
		bool is_prefix = m.key[i][strlen(m.key[i]) - 1] == '/';

		CONFORM(c, strcmp(r.entries[i].key, m.key[i]) == 0, "LIST \"%s\" after \"%s\"%s, %u at most: entry %zu is %s, not %s",
			prefix, after ? after : "", roll ? " rolled up" : "", max, i, r.entries[i].key, m.key[i]);
		CONFORM(c, r.entries[i].size_bytes == (is_prefix ? 0 : 3), "LIST: the size of %s is %llu", r.entries[i].key,
			(unsigned long long)r.entries[i].size_bytes);
	}
	store_req_reset(&r);
	model_free(&m);
	return 0;
}

static int check_combinations(struct conformance *c, char **all, size_t count)
{
	static const char *const prefixes[] = { "", "a", "a/", "a/c", "a/c/", "a/c/d", "c", "c/2", "none", "z/z/z", "\xc3\xa9", "b" };
	static const char *const afters[] = { NULL, "a-", "a/", "a/b", "a/c/", "a/c/d", "a0", "ab", "c/2/3", "z/z/z/z", "\xc3\xa9", "~~" };
	static const unsigned maxes[] = { 1, 3, 1000 };

	for (size_t p = 0; p < CL_ARRAY_LEN(prefixes); p++)
		for (size_t a = 0; a < CL_ARRAY_LEN(afters); a++)
			for (size_t k = 0; k < 2 * CL_ARRAY_LEN(maxes); k++) {
				char prefix[256], after[256];

				snprintf(prefix, sizeof(prefix), "%s%s", c->base, prefixes[p]);
				snprintf(after, sizeof(after), "%s%s", c->base, afters[a] ? afters[a] : "");
				if (check_one(c, all, count, prefix, afters[a] ? after : NULL, k % 2, maxes[k / 2]))
					return -1;
			}
	/* A prefix that ends before the base does, and a start_after that is no key of ours. */
	return check_one(c, all, count, c->base, "", false, 1000) || check_one(c, all, count, c->base, "zzzz", true, 10) ||
	       check_one(c, all, count, c->base, "A", true, 10) ? -1 : 0;
}

/* Every continuation from the last entry of a page leads through all, rolled up or not. */
static int check_pages(struct conformance *c, char **all, size_t count, bool roll)
{
	struct model m;
	char after[STORE_KEY_MAX + 1] = "";
	bool more = true;
	size_t at = 0;

	model_list(&m, all, count, c->base, NULL, roll, 60);
	while (more) {
		struct store_req r;
		int rc;

		store_req_init(&r, STORE_LIST);
		r.key = c->base;
		r.start_after = after[0] ? after : NULL;
		r.delimiter = roll ? "/" : NULL;
		r.max_keys = 2;
		rc = store_call(c->s, &r);
		CONFORM(c, rc == 0 && r.entry_count <= 2, "LIST page: %s", err_text(rc));
		for (size_t i = 0; i < r.entry_count; i++, at++)
			CONFORM(c, at < m.count && strcmp(r.entries[i].key, m.key[at]) == 0, "LIST page: entry %zu is %s", at,
				r.entries[i].key);
		more = r.truncated;
		CONFORM(c, !more || r.entry_count > 0, "LIST page: empty, but not the last");
		if (more)
			snprintf(after, sizeof(after), "%s", r.entries[r.entry_count - 1].key);
		store_req_reset(&r);
	}
	CONFORM(c, at == m.count, "LIST pages: %zu entries, not %zu", at, m.count);
	model_free(&m);
	return 0;
}

static int check_order(struct conformance *c)
{
	struct conformance in = *c;
	char *all[CL_ARRAY_LEN(names)];
	size_t count = 0;
	int rc;

	snprintf(in.base, sizeof(in.base), "%.50sorder/", c->base);
	for (size_t i = 0; i < CL_ARRAY_LEN(names); i++) {
		if (strcmp(names[i], ignored) == 0)
			continue;
		if (conformance_put(&in, names[i], "abc"))
			return -1;
		all[count] = strdup(conformance_key(&in, names[i]));
		if (all[count++] == NULL)
			abort();
	}
	qsort(all, count, sizeof(all[0]), compare);
	rc = check_combinations(&in, all, count) || check_pages(&in, all, count, false) || check_pages(&in, all, count, true) ? -1 : 0;
	while (count > 0)
		free(all[--count]);
	return rc;
}

static int collect_first(void *user, const struct store_entry *e)
{
	char *to = user;

	if (to[0] != '\0')
		return 1; /* more than one */
	snprintf(to, STORE_KEY_MAX + 1, "%s", e->key);
	return 0;
}

/* Write, read, list and delete one key, alone under its prefix. */
static int check_odd(struct conformance *c, const char *name, unsigned i)
{
	char prefixed[STORE_KEY_MAX + 1], dir[STORE_KEY_MAX + 1], found[STORE_KEY_MAX + 1] = "";
	struct store_req r;
	int rc;

	snprintf(dir, sizeof(dir), "%sodd/%02u/", c->base, i);
	snprintf(prefixed, sizeof(prefixed), "%s%s", dir, name);
	rc = store_put(c->s, prefixed, name, strlen(name), true, &r);
	CONFORM(c, rc == 0, "PUT of the odd key %u \"%.60s\": %s %s", i, name, err_text(rc), r.detail);
	store_req_reset(&r);
	rc = store_get(c->s, prefixed, &r);
	CONFORM(c, rc == 0 && r.data_len == strlen(name) && memcmp(r.data, name, r.data_len) == 0, "GET of the odd key %u \"%.60s\": %s", i,
		name, err_text(rc));
	store_req_reset(&r);
	rc = store_list_all(c->s, dir, NULL, collect_first, found);
	CONFORM(c, rc == 0 && strcmp(found, prefixed) == 0, "LIST of the odd key %u \"%.60s\": %s, found \"%.200s\"", i, name,
		rc < 0 ? err_last() : "", found);
	store_req_init(&r, STORE_COPY);
	r.source_key = prefixed;
	r.key = conformance_key(c, "odd/copy");
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0, "COPY of the odd key %u \"%.60s\": %s %s", i, name, err_text(rc), r.detail);
	store_req_reset(&r);
	rc = store_delete(c->s, prefixed);
	CONFORM(c, rc == 0, "DELETE of the odd key %u: %s", i, err_last());
	rc = store_get(c->s, prefixed, &r);
	CONFORM(c, rc == -ENOENT, "GET of the odd key %u after its deletion: %s", i, err_text(rc));
	store_req_reset(&r);
	return 0;
}

static int check_odd_keys(struct conformance *c)
{
	static const char *const odd[] = {
		" ", "a b", " lead", "trail ", "+", "a+b", "%41", "%", "100%", "%2F", "&amp;<>\"'", "#", "?a=b&c=d", ";", "=", "*", "[x]", "\\",
		"a\\b", "$HOME", "`x`", "|", "~user", "...", "a..b", "..a", ".hidden", "-rf", "@", ":", "a:b", ",", "!", "(1)", "{}", "^",
		"\xc3\xa9t\xc3\xa9", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x90\x91", "e\xcc\x81", "a\nb", "a\tb", "a\rb", "\x01", "\x1f\x7f", "CON",
		"x.", "index.html", "UPPER", "upper", "\xc2\xa0", "\xef\xbf\xbe",
	};
	char longest[STORE_KEY_MAX + 1], name[256];
	size_t room;

	for (unsigned i = 0; i < CL_ARRAY_LEN(odd); i++)
		if (check_odd(c, odd[i], i))
			return -1;
	/* The longest key there may be, of long components. */
	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	room = STORE_KEY_MAX - strlen(c->base) - strlen("odd/99/");
	snprintf(longest, sizeof(longest), "%.200s/%.*s", name, (int)(room - 201), name);
	if (room - 201 > 255) /* one component more */
		longest[300] = '/';
	return check_odd(c, longest, 99);
}

static int count_one(void *user, const struct store_entry *e)
{
	size_t *count = user;

	(void)e;
	(*count)++;
	return 0;
}

static int put_many(struct conformance *c, char (*keys)[128])
{
	struct store_req *r = calloc(IN_FLIGHT, sizeof(*r));
	static const struct iovec body = { .iov_base = (void *)(uintptr_t)"x", .iov_len = 1 };
	int rc = 0;

	CONFORM(c, r != NULL, "out of memory");
	for (size_t i = 0; i < MANY; i += IN_FLIGHT) {
		size_t n = MANY - i < IN_FLIGHT ? MANY - i : IN_FLIGHT;

		for (size_t k = 0; k < n; k++) {
			store_req_init(&r[k], STORE_PUT);
			r[k].key = keys[i + k];
			r[k].body = &body;
			r[k].body_count = 1;
			r[k].done = store_wait_done;
			c->s->submit(c->s, &r[k]);
		}
		for (size_t k = 0; k < n; k++) {
			c->s->wait(c->s, &r[k]);
			if (r[k].result != 0 && !rc)
				rc = conformance_fail(c, "PUT", __LINE__, "one of many PUTs: %s %s", err_text(r[k].result), r[k].detail);
			store_req_reset(&r[k]);
		}
	}
	free(r);
	return rc;
}

static int check_many(struct conformance *c)
{
	static char keys[MANY][128];
	static const char *list[STORE_DELETE_MAX];
	size_t count = 0, prefix_len;
	struct store_req r;
	int rc;

	for (size_t i = 0; i < MANY; i++)
		snprintf(keys[i], sizeof(keys[i]), "%smany/%02zu/%04zu", c->base, i / 100, i);
	if (put_many(c, keys))
		return -1;
	store_req_init(&r, STORE_LIST);
	r.key = conformance_key(c, "many/");
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0 && r.entry_count == STORE_LIST_MAX && r.truncated, "LIST of many: %s, %zu entries", err_text(rc), r.entry_count);
	for (size_t i = 0; i < r.entry_count; i++)
		CONFORM(c, strcmp(r.entries[i].key, keys[i]) == 0, "LIST of many: entry %zu is %s", i, r.entries[i].key);
	store_req_reset(&r);
	rc = store_list_all(c->s, conformance_key(c, "many/"), keys[2], count_one, &count);
	CONFORM(c, rc == 0 && count == MANY - 3, "store_list_all: %s, %zu keys", err_text(rc), count);
	/* The last 999 and one that is missing. */
	for (size_t i = 0; i < STORE_DELETE_MAX; i++)
		list[i] = keys[MANY - STORE_DELETE_MAX + i];
	list[0] = conformance_key(c, "many/missing");
	store_req_init(&r, STORE_DELETE);
	r.keys = list;
	r.key_count = STORE_DELETE_MAX;
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0, "DELETE of %d keys: %s %s", STORE_DELETE_MAX, err_text(rc), r.detail);
	store_req_reset(&r);
	store_req_init(&r, STORE_LIST);
	r.key = conformance_key(c, "many/");
	prefix_len = strlen(c->base);
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0 && r.entry_count == 6 && !r.truncated, "LIST after DELETE: %s, %zu entries, the first is %s", err_text(rc),
		r.entry_count, r.entry_count ? r.entries[0].key + prefix_len : "-");
	store_req_reset(&r);
	return 0;
}

int conformance_list(struct conformance *c)
{
	return check_order(c) || check_odd_keys(c) || check_many(c) ? -1 : 0;
}
