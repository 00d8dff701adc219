/* store_conformance.c - single requests, their answers and their errors; and the suite's entry. */
#include "store_conformance.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compiler.h"
#include "env.h"
#include "err.h"

#define BIG_BYTES (20u << 20)

int conformance_fail(struct conformance *c, const char *what, int line, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(c->why, c->n, "%s (line %d, %s)", text, line, what);
	return -1;
}

const char *conformance_key(struct conformance *c, const char *name)
{
	static _Thread_local char buffers[8][STORE_KEY_MAX + 64];
	static _Thread_local unsigned next;
	char *b = buffers[next++ % 8];

	snprintf(b, sizeof(buffers[0]), "%s%s", c->base, name);
	return b;
}

int conformance_put(struct conformance *c, const char *name, const char *text)
{
	struct store_req r;
	int rc = store_put(c->s, conformance_key(c, name), text, strlen(text), false, &r);

	CONFORM(c, rc == 0, "PUT of %s: %s %s", name, err_text(rc), r.detail);
	store_req_reset(&r);
	return 0;
}

/* GET must give exactly these bytes. */
static int expect(struct conformance *c, const char *name, const void *data, size_t len)
{
	struct store_req r;
	int rc = store_get(c->s, conformance_key(c, name), &r);

	CONFORM(c, rc == 0, "GET of %s: %s %s", name, err_text(rc), r.detail);
	CONFORM(c, r.data_len == len, "GET of %s gave %zu bytes, not %zu", name, r.data_len, len);
	CONFORM(c, len == 0 || memcmp(r.data, data, len) == 0, "GET of %s gave other bytes", name);
	CONFORM(c, r.object_size == len, "GET of %s: object_size %llu", name, (unsigned long long)r.object_size);
	store_req_reset(&r);
	return 0;
}

static int head(struct conformance *c, const char *name, struct store_req *ret)
{
	store_req_init(ret, STORE_HEAD);
	ret->key = conformance_key(c, name);
	return store_call(c->s, ret);
}

static int check_basics(struct conformance *c)
{
	char etag[STORE_ETAG_MAX];
	struct store_req r;
	int64_t now = (int64_t)time(NULL);
	int rc;

	rc = store_put(c->s, conformance_key(c, "basic/one"), "hello", 5, false, &r);
	CONFORM(c, rc == 0, "PUT: %s %s", err_text(rc), r.detail);
	CONFORM(c, r.etag[0] != '\0' && r.etag[0] != '"', "PUT gave the ETag \"%s\"", r.etag);
	memcpy(etag, r.etag, sizeof(etag));
	store_req_reset(&r);
	if (expect(c, "basic/one", "hello", 5))
		return -1;
	rc = head(c, "basic/one", &r);
	CONFORM(c, rc == 0 && r.object_size == 5, "HEAD: %s, size %llu", err_text(rc), (unsigned long long)r.object_size);
	CONFORM(c, strcmp(r.etag, etag) == 0, "HEAD's ETag %s is not PUT's %s", r.etag, etag);
	CONFORM(c, llabs(r.mtime_s - now) < 600, "HEAD's mtime is %lld, the time %lld", (long long)r.mtime_s, (long long)now);
	CONFORM(c, r.server_time_s == 0 || llabs(r.server_time_s - now) < 600, "server_time_s is off");
	store_req_reset(&r);
	rc = store_get(c->s, conformance_key(c, "basic/one"), &r);
	CONFORM(c, rc == 0 && strcmp(r.etag, etag) == 0, "GET's ETag %s is not PUT's %s", r.etag, etag);
	store_req_reset(&r);
	/* Another content has another ETag, and replaces the old one whole. */
	rc = store_put(c->s, conformance_key(c, "basic/one"), "bye", 3, false, &r);
	CONFORM(c, rc == 0 && strcmp(r.etag, etag) != 0, "a changed object kept its ETag");
	store_req_reset(&r);
	if (expect(c, "basic/one", "bye", 3) || conformance_put(c, "basic/empty", "") || expect(c, "basic/empty", "", 0))
		return -1;
	rc = store_delete(c->s, conformance_key(c, "basic/one"));
	CONFORM(c, rc == 0, "DELETE: %s", err_last());
	rc = head(c, "basic/one", &r);
	CONFORM(c, rc == -ENOENT, "HEAD of a deleted object: %s", err_text(rc));
	store_req_reset(&r);
	rc = store_delete(c->s, conformance_key(c, "basic/one"));
	CONFORM(c, rc == 0, "DELETE of a missing object: %s", err_last());
	return expect(c, "basic/empty", "", 0);
}

static int check_missing(struct conformance *c)
{
	struct store_req r;
	int rc = store_get(c->s, conformance_key(c, "missing/x"), &r);

	CONFORM(c, rc == -ENOENT && r.data == NULL, "GET of a missing object: %s", err_text(rc));
	store_req_reset(&r);
	rc = head(c, "missing/x", &r);
	CONFORM(c, rc == -ENOENT, "HEAD of a missing object: %s", err_text(rc));
	store_req_reset(&r);
	store_req_init(&r, STORE_COPY);
	r.source_key = conformance_key(c, "missing/x");
	r.key = conformance_key(c, "missing/y");
	rc = store_call(c->s, &r);
	CONFORM(c, rc == -ENOENT, "COPY of a missing object: %s", err_text(rc));
	store_req_reset(&r);
	/* What is only a prefix is no object. */
	if (conformance_put(c, "missing/dir/file", "x"))
		return -1;
	rc = store_get(c->s, conformance_key(c, "missing/dir"), &r);
	CONFORM(c, rc == -ENOENT, "GET of a prefix: %s", err_text(rc));
	store_req_reset(&r);
	rc = store_get(c->s, conformance_key(c, "missing/dir/file/below"), &r);
	CONFORM(c, rc == -ENOENT, "GET below an object: %s", err_text(rc));
	store_req_reset(&r);
	rc = store_delete(c->s, conformance_key(c, "missing/dir"));
	CONFORM(c, rc == 0, "DELETE of a prefix: %s", err_last());
	return expect(c, "missing/dir/file", "x", 1);
}

static int check_vectors(struct conformance *c)
{
	struct iovec v[40];
	uint8_t all[40 * 40];
	struct store_req r;
	size_t len = 0;
	int rc;

	for (size_t i = 0; i < CL_ARRAY_LEN(v); i++) { /* of 0 to 39 bytes */
		memset(all + len, (int)('A' + i), i);
		v[i] = (struct iovec){ .iov_base = i ? all + len : NULL, .iov_len = i };
		len += i;
	}
	store_req_init(&r, STORE_PUT);
	r.key = conformance_key(c, "vectors");
	r.body = v;
	r.body_count = CL_ARRAY_LEN(v);
	r.content_type = "text/plain";
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0, "PUT of %zu parts: %s %s", CL_ARRAY_LEN(v), err_text(rc), r.detail);
	store_req_reset(&r);
	/* And a body of no parts at all. */
	store_req_init(&r, STORE_PUT);
	r.key = conformance_key(c, "vectors-none");
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0, "PUT without a body: %s %s", err_text(rc), r.detail);
	store_req_reset(&r);
	return expect(c, "vectors", all, len) || expect(c, "vectors-none", "", 0) ? -1 : 0;
}

static int check_ranges(struct conformance *c)
{
	static const char text[] = "0123456789";
	static const struct { bool suffix; uint64_t off, len; const char *want; } cases[] = {
		{ false, 0, STORE_ANY, text }, { false, 0, 10, text }, { false, 0, 1, "0" }, { false, 3, 4, "3456" },
		{ false, 9, 1, "9" }, { false, 9, 100, "9" }, { false, 3, STORE_ANY, "3456789" }, { false, 10, 1, "" },
		{ false, 10, STORE_ANY, "" }, { false, 11, 5, "" }, { false, UINT64_C(1) << 40, 5, "" }, { false, 2, 0, "" },
		{ true, 0, 1, "9" }, { true, 0, 4, "6789" }, { true, 0, 10, text }, { true, 0, 11, text },
		{ true, 0, UINT64_C(1) << 40, text }, { true, 0, STORE_ANY, text }, { true, 0, 0, "" }, { true, 7, 2, "89" },
	};

	if (conformance_put(c, "range", text) || conformance_put(c, "range-empty", ""))
		return -1;
	for (size_t i = 0; i < 2 * CL_ARRAY_LEN(cases); i++) {
		bool empty = i >= CL_ARRAY_LEN(cases); /* of an empty object nothing but nothing can be read */
		size_t k = i % CL_ARRAY_LEN(cases);
		const char *want = empty ? "" : cases[k].want;
		struct store_req r;
		int rc;

		store_req_init(&r, STORE_GET);
		r.key = conformance_key(c, empty ? "range-empty" : "range");
		r.range_suffix = cases[k].suffix;
		r.range_offset = cases[k].off;
		r.range_length = cases[k].len;
		rc = store_call(c->s, &r);
		CONFORM(c, rc == 0, "range GET %zu: %s %s", i, err_text(rc), r.detail);
		CONFORM(c, r.data_len == strlen(want) && (r.data_len == 0 || memcmp(r.data, want, r.data_len) == 0),
			"range GET %zu gave %zu bytes \"%.*s\", not \"%s\"", i, r.data_len, (int)r.data_len,
			r.data ? (const char *)r.data : "", want);
		store_req_reset(&r);
	}
	return 0;
}

static int check_big(struct conformance *c)
{
	uint8_t *data = malloc(BIG_BYTES);
	uint32_t x = 12345;
	struct store_req r;
	int rc;

	CONFORM(c, data != NULL, "out of memory");
	for (size_t i = 0; i < BIG_BYTES; i += 4) {
		x = x * 1664525 + 1013904223;
		memcpy(data + i, &x, 4);
	}
	rc = store_put(c->s, conformance_key(c, "big"), data, BIG_BYTES - 3, false, &r);
	CONFORM(c, rc == 0, "PUT of %u bytes: %s %s", BIG_BYTES - 3, err_text(rc), r.detail);
	store_req_reset(&r);
	if (expect(c, "big", data, BIG_BYTES - 3))
		return -1;
	store_req_init(&r, STORE_GET);
	r.key = conformance_key(c, "big");
	r.range_offset = 7654321;
	r.range_length = 1 << 20;
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0 && r.data_len == 1 << 20 && memcmp(r.data, data + 7654321, 1 << 20) == 0, "range GET of a big object: %s",
		err_text(rc));
	CONFORM(c, r.object_size == BIG_BYTES - 3, "range GET: object_size is %llu", (unsigned long long)r.object_size);
	store_req_reset(&r);
	store_req_init(&r, STORE_COPY);
	r.source_key = conformance_key(c, "big");
	r.key = conformance_key(c, "big-copy");
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0, "COPY of a big object: %s %s", err_text(rc), r.detail);
	store_req_reset(&r);
	rc = expect(c, "big-copy", data, BIG_BYTES - 3);
	free(data);
	return rc;
}

static int check_copy(struct conformance *c)
{
	struct store_req r;
	int rc;

	if (conformance_put(c, "copy/from", "source") || conformance_put(c, "copy/over", "something longer"))
		return -1;
	for (int i = 0; i < 2; i++) {
		const char *to = i ? "copy/over" : "copy/new/deep";

		store_req_init(&r, STORE_COPY);
		r.source_key = conformance_key(c, "copy/from");
		r.key = conformance_key(c, to);
		r.content_type = i ? "image/png" : NULL;
		rc = store_call(c->s, &r);
		CONFORM(c, rc == 0, "COPY to %s: %s %s", to, err_text(rc), r.detail);
		store_req_reset(&r);
		if (expect(c, to, "source", 6))
			return -1;
	}
	/* A copy is a copy. */
	if (conformance_put(c, "copy/from", "changed") || expect(c, "copy/over", "source", 6))
		return -1;
	rc = store_delete(c->s, conformance_key(c, "copy/from"));
	CONFORM(c, rc == 0, "DELETE: %s", err_last());
	return expect(c, "copy/new/deep", "source", 6);
}

static int check_conditional_delete(struct conformance *c)
{
	const char *key = conformance_key(c, "delete-if");
	char etag[STORE_ETAG_MAX];
	struct store_req r;
	int rc;

	rc = store_put(c->s, key, "a", 1, false, &r);
	CONFORM(c, rc == 0, "PUT: %s", err_last());
	memcpy(etag, r.etag, sizeof(etag));
	store_req_reset(&r);
	if (conformance_put(c, "delete-if", "b"))
		return -1;
	store_req_init(&r, STORE_DELETE);
	r.keys = &key;
	r.key_count = 1;
	r.if_match = etag;
	rc = store_call(c->s, &r);
	/* A store that cannot do this must say so, not do something else. */
	CONFORM(c, rc == ERR_PRECONDITION || rc == ERR_UNSUPPORTED, "DELETE over a stale ETag: %s", err_text(rc));
	store_req_reset(&r);
	if (expect(c, "delete-if", "b", 1))
		return -1;
	rc = head(c, "delete-if", &r);
	CONFORM(c, rc == 0, "HEAD: %s", err_text(rc));
	memcpy(etag, r.etag, sizeof(etag));
	store_req_reset(&r);
	store_req_init(&r, STORE_DELETE);
	r.keys = &key;
	r.key_count = 1;
	r.if_match = etag;
	rc = store_call(c->s, &r);
	CONFORM(c, rc == 0 || rc == ERR_UNSUPPORTED, "DELETE over the right ETag: %s %s", err_text(rc), r.detail);
	store_req_reset(&r);
	if (rc == 0) {
		rc = head(c, "delete-if", &r);
		CONFORM(c, rc == -ENOENT, "HEAD after DELETE over the right ETag: %s", err_text(rc));
		store_req_reset(&r);
	}
	return 0;
}

static int reject(struct conformance *c, struct store_req *r, const char *what)
{
	int rc = store_call(c->s, r);

	CONFORM(c, rc == -EINVAL, "%s: %s, not EINVAL", what, err_text(rc));
	CONFORM(c, r->detail[0] != '\0', "%s: no reason given", what);
	store_req_reset(r);
	return 0;
}

static int check_rejects(struct conformance *c)
{
	static const char *const bad[] = { "", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a", "a/..", "\xff", "a\xc0\xafz",
					   "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82" };
	const char *key = bad[0];
	char longest[STORE_KEY_MAX + 2];
	struct store_req r;

	memset(longest, 'k', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	for (size_t i = 0; i <= CL_ARRAY_LEN(bad); i++) {
		key = i < CL_ARRAY_LEN(bad) ? bad[i] : longest;
		store_req_init(&r, STORE_PUT);
		r.key = key;
		if (reject(c, &r, "PUT of a bad key"))
			return -1;
		store_req_init(&r, STORE_GET);
		r.key = key;
		if (reject(c, &r, "GET of a bad key"))
			return -1;
		store_req_init(&r, STORE_DELETE);
		r.keys = &key;
		r.key_count = 1;
		if (reject(c, &r, "DELETE of a bad key"))
			return -1;
	}
	store_req_init(&r, STORE_LIST);
	r.key = "";
	r.max_keys = STORE_LIST_MAX + 1;
	if (reject(c, &r, "LIST of too many"))
		return -1;
	store_req_init(&r, STORE_LIST);
	r.key = "";
	r.delimiter = "-";
	if (reject(c, &r, "LIST with another delimiter"))
		return -1;
	store_req_init(&r, STORE_LIST);
	r.key = "../";
	if (reject(c, &r, "LIST above the store"))
		return -1;
	store_req_init(&r, STORE_DELETE);
	if (reject(c, &r, "DELETE of nothing"))
		return -1;
	store_req_init(&r, STORE_PUT);
	r.key = conformance_key(c, "x");
	r.if_none_match = true;
	r.if_match = "x";
	return reject(c, &r, "PUT on two conditions");
}

static int check_counters(struct conformance *c)
{
	struct store_counters before, after;
	uint64_t sum = 0;

	c->s->counters(c->s, &before);
	if (conformance_put(c, "counted", "12345") || expect(c, "counted", "12345", 5))
		return -1;
	c->s->counters(c->s, &after);
	CONFORM(c, after.requests[STORE_PUT] > before.requests[STORE_PUT], "a PUT was not counted");
	CONFORM(c, after.requests[STORE_GET] > before.requests[STORE_GET], "a GET was not counted");
	CONFORM(c, after.bytes_sent >= before.bytes_sent + 5, "a PUT's bytes were not counted");
	CONFORM(c, after.bytes_received >= before.bytes_received + 5, "a GET's bytes were not counted");
	for (int i = 0; i < STORE_HIST; i++)
		sum += after.latency[STORE_PUT][i] - before.latency[STORE_PUT][i];
	CONFORM(c, sum == 1, "a PUT stands %llu times in the histogram", (unsigned long long)sum);
	return 0;
}

static int remove_one(void *user, const struct store_entry *e)
{
	return store_delete(user, e->key);
}

int store_conformance(struct store *s, char *why, size_t n)
{
	static int (*const checks[])(struct conformance *) = {
		check_basics, check_missing, check_vectors, check_ranges, check_copy, check_conditional_delete, check_rejects,
		check_counters, check_big, conformance_list, conformance_races,
	};
	struct conformance c = { .s = s, .why = why, .n = n };
	uint32_t id;
	int rc = 0;

	env_system()->random(env_system(), &id, sizeof(id));
	snprintf(c.base, sizeof(c.base), "conformance-%08x/", id);
	for (size_t i = 0; i < CL_ARRAY_LEN(checks) && !rc; i++)
		rc = checks[i](&c);
	if (store_list_all(s, c.base, NULL, remove_one, s) && !rc) {
		snprintf(why, n, "cleaning up: %s", err_last());
		rc = -1;
	}
	return rc;
}
