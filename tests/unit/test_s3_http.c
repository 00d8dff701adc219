/*
 * test_s3_http.c - the S3 backend against a server that fails on demand: storms of 503, lost replies, resets, stalls, short
 * bodies, errors with status 200, 409, 412 after one's own success, skew, expired keys, redirects.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/fake_s3.h"
#include "backends.h"
#include "err.h"
#include "logmsg.h"
#include "store.h"

static struct fake_s3 fake;
static struct store *store;

#define SET(field, value) (pthread_mutex_lock(&fake.mu), fake.field = (value), pthread_mutex_unlock(&fake.mu))

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void open_with(const char *options)
{
	char all[512];

	store_close(store);
	store = NULL;
	snprintf(all, sizeof(all), "endpoint=http://127.0.0.1:%u,%s", http_double_port(fake.http), options);
	if (store_s3_open("s3://bucket/pre", all, &store) != 0)
		fail_msg("%s", err_last());
}

static int setup(void **state)
{
	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "AKTEST", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent/config", 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials", 1);
	fake_s3_start(&fake);
	open_with("stall_ms=400,timeout_ms=8000");
	return 0;
}

static int teardown(void **state)
{
	unsigned bad = fake.bad_hash + fake.unsigned_requests;

	(void)state;
	store_close(store);
	store = NULL;
	fake_s3_stop(&fake);
	assert_int_equal(bad, 0); /* every request was signed, every hash right */
	return 0;
}

static int put(const char *key, const char *text, bool create, struct store_req *r)
{
	return store_put(store, key, text, strlen(text), create, r);
}

static void has(const char *key, const char *text)
{
	struct store_req r;

	assert_int_equal(store_get(store, key, &r), 0);
	assert_int_equal(r.data_len, strlen(text));
	assert_memory_equal(r.data, text, r.data_len);
	store_req_reset(&r);
}

static struct store_counters counters(void)
{
	struct store_counters c;

	store->counters(store, &c);
	return c;
}

/* --- as it should be --- */

static void range(uint64_t off, uint64_t len, bool suffix, const char *want, const char *header)
{
	struct store_req r;

	store_req_init(&r, STORE_GET);
	r.key = "a b/ü+%";
	r.range_offset = off;
	r.range_length = len;
	r.range_suffix = suffix;
	assert_int_equal(store_call(store, &r), 0);
	assert_int_equal(r.data_len, strlen(want));
	if (*want)
		assert_memory_equal(r.data, want, r.data_len);
	assert_int_equal(r.object_size, 10);
	if (header)
		assert_string_equal(fake.last_range, header);
	store_req_reset(&r);
}

static void test_basics(void **state)
{
	struct store_req r;

	(void)state;
	assert_int_equal(put("a b/ü+%", "0123456789", true, &r), 0);
	assert_string_equal(r.etag, "00000000000000000000000000000001");
	assert_true(llabs(r.server_time_s - (int64_t)time(NULL)) < 5);
	store_req_reset(&r);
	assert_non_null(fake_s3_find(&fake, "pre/a b/ü+%"));
	assert_string_equal(fake.last_type, "application/octet-stream");
	for (int whole = 0; whole < 2; whole++) { /* the second time from a server that ignores Range */
		SET(ignore_range, whole);
		range(0, STORE_ANY, false, "0123456789", "");
		range(2, 3, false, "234", "bytes=2-4");
		range(7, 100, false, "789", "bytes=7-106");
		range(7, STORE_ANY, false, "789", "bytes=7-");
		range(0, 4, true, "6789", "bytes=-4");
		range(0, 40, true, "0123456789", "bytes=-40");
		range(10, 5, false, "", NULL);
		range(50, STORE_ANY, false, "", NULL);
		range(3, 0, false, "", NULL);
	}
	store_req_init(&r, STORE_HEAD);
	r.key = "a b/ü+%";
	assert_int_equal(store_call(store, &r), 0);
	assert_int_equal(r.object_size, 10);
	assert_int_equal(r.mtime_s, 1369353600);
	store_req_reset(&r);
	r.key = "missing";
	assert_int_equal(store_call(store, &r), -ENOENT);
	store_req_reset(&r);
	store_req_init(&r, STORE_COPY);
	r.source_key = "a b/ü+%";
	r.key = "copy";
	r.content_type = "text/plain";
	assert_int_equal(store_call(store, &r), 0);
	assert_string_equal(r.etag, "00000000000000000000000000000002");
	store_req_reset(&r);
	assert_string_equal(fake.last_copy_source, "/bucket/pre/a%20b/%C3%BC%2B%25");
	has("copy", "0123456789");
	assert_int_equal(store_get(store, "missing", &r), -ENOENT);
	assert_false(r.ambiguous);
	store_req_reset(&r);
}

static void test_conditions(void **state)
{
	struct store_req r;
	const struct iovec body = { (char[]){ "second" }, 6 };

	(void)state;
	assert_int_equal(put("k", "first", true, &r), 0);
	store_req_reset(&r);
	assert_int_equal(put("k", "other", true, &r), ERR_PRECONDITION);
	assert_false(r.ambiguous); /* one attempt, one clear no */
	assert_non_null(strstr(r.detail, "412"));
	store_req_reset(&r);
	store_req_init(&r, STORE_PUT);
	r.key = "k";
	r.body = &body;
	r.body_count = 1;
	r.if_match = "00000000000000000000000000000001";
	assert_int_equal(store_call(store, &r), 0);
	assert_string_equal(fake.last_if_match, "00000000000000000000000000000001"); /* no quotes */
	store_req_reset(&r);
	assert_int_equal(store_call(store, &r), ERR_PRECONDITION);
	assert_false(r.ambiguous);
	store_req_reset(&r);
	has("k", "second");
}

/* --- failures that pass --- */

static void test_storm(void **state)
{
	struct store_req r;

	(void)state;
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STATUS, .status = 503, .code = "SlowDown", .count = 5 });
	assert_int_equal(put("k", "value", false, &r), 0);
	store_req_reset(&r);
	has("k", "value");
	assert_int_equal(counters().retries[STORE_PUT], 5);
	assert_int_equal(counters().requests[STORE_PUT], 6);
	assert_int_equal(counters().failures[STORE_PUT], 0);
}

static void test_transient_kinds(void **state)
{
	static const struct fake_fault faults[] = {
		{ .kind = FAKE_STATUS, .status = 500, .code = "InternalError", .count = 1 },
		{ .kind = FAKE_STATUS, .status = 502, .code = "", .count = 1 },
		{ .kind = FAKE_STATUS, .status = 504, .code = "", .count = 1 },
		{ .kind = FAKE_STATUS, .status = 429, .code = "TooManyRequests", .count = 1 },
		{ .kind = FAKE_STATUS, .status = 400, .code = "RequestTimeout", .count = 1 },
		{ .kind = FAKE_STATUS, .status = 409, .code = "OperationAborted", .count = 1 },
		{ .kind = FAKE_DROP, .count = 1 },
		{ .kind = FAKE_STALL, .ms = 1500, .count = 1 },
		{ .method = "GET", .kind = FAKE_SHORT, .count = 1 },
		{ .method = "GET", .kind = FAKE_CORRUPT, .count = 1 },
		{ .kind = FAKE_ERROR_200, .code = "InternalError", .method = "PUT", .count = 1 },
	};
	struct store_req r;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(faults); i++) {
		uint64_t start = now_ms();

		fake_s3_clear(&fake);
		fake_s3_fault(&fake, faults[i]);
		assert_int_equal(put("k", "value", false, &r), 0);
		store_req_reset(&r);
		has("k", "value");
		assert_true(now_ms() - start < 3000);
		assert_int_equal(fake.requests, 3); /* it did fail once, and was tried once more */
	}
}

/* The reply of a create is lost: the retry meets one's own object. Also on a kept connection, where libcurl itself would send again. */
static void test_lost_reply(void **state)
{
	struct store_req r;

	(void)state;
	assert_int_equal(put("warm", "x", false, &r), 0); /* leaves a connection to be used again */
	store_req_reset(&r);
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "PUT", .kind = FAKE_DROP, .after = true, .count = 1 });
	assert_int_equal(put("k", "mine", true, &r), ERR_PRECONDITION);
	assert_true(r.ambiguous);
	store_req_reset(&r);
	assert_int_equal(fake.puts, 2);
	assert_int_equal(counters().retries[STORE_PUT], 1); /* counted, so it was ours */
	has("k", "mine");
}

static void test_412_after_5xx_and_409(void **state)
{
	static const struct fake_fault faults[] = {
		{ .method = "PUT", .kind = FAKE_STATUS, .status = 500, .code = "InternalError", .after = true, .count = 1 },
		{ .method = "PUT", .kind = FAKE_STATUS, .status = 503, .code = "SlowDown", .after = true, .count = 1 },
		{ .method = "PUT", .kind = FAKE_STATUS, .status = 409, .code = "ConditionalRequestConflict", .after = true, .count = 1 },
		{ .method = "PUT", .kind = FAKE_STALL, .ms = 1000, .after = true, .count = 1 },
		{ .method = "PUT", .kind = FAKE_ERROR_200, .code = "InternalError", .after = true, .count = 1 },
	};
	struct store_req r;
	char key[16];

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(faults); i++) {
		fake_s3_clear(&fake);
		fake_s3_fault(&fake, faults[i]);
		snprintf(key, sizeof(key), "k%zu", i);
		assert_int_equal(put(key, "mine", true, &r), ERR_PRECONDITION);
		assert_true(r.ambiguous);
		store_req_reset(&r);
		has(key, "mine");
	}
}

/* Nothing but failures until the deadline. */
static void test_deadline(void **state)
{
	struct store_req r;
	struct iovec body = { (char[]){ "v" }, 1 };
	uint64_t start = now_ms();

	(void)state;
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STATUS, .status = 503, .code = "SlowDown", .count = 1000000 });
	store_req_init(&r, STORE_PUT);
	r.key = "k";
	r.body = &body;
	r.body_count = 1;
	r.deadline_ms = 700;
	assert_int_equal(store_call(store, &r), ERR_UNAVAILABLE);
	assert_true(r.ambiguous);
	assert_non_null(strstr(r.detail, "SlowDown"));
	assert_in_range(now_ms() - start, 300, 1200);
	store_req_reset(&r);
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STALL, .ms = 1500, .count = 1000 });
	start = now_ms();
	assert_int_equal(store_call(store, &r), ERR_UNAVAILABLE);
	assert_in_range(now_ms() - start, 600, 1200);
	assert_true(r.ambiguous);
	store_req_reset(&r);
	assert_int_equal(counters().failures[STORE_PUT], 2);
	/* Nobody listens: nothing was sent, nothing is unclear. */
	open_with("endpoint=http://127.0.0.1:9,timeout_ms=500");
	assert_int_equal(store_call(store, &r), ERR_UNAVAILABLE);
	assert_false(r.ambiguous);
	assert_non_null(strstr(r.detail, "cannot connect"));
	store_req_reset(&r);
}

static void test_bad_bodies(void **state)
{
	struct store_req r;
	uint64_t start;

	(void)state;
	open_with("timeout_ms=1500");
	assert_int_equal(put("k", "value", false, &r), 0);
	store_req_reset(&r);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_SHORT, .count = 1000 });
	assert_int_equal(store_get(store, "k", &r), ERR_UNAVAILABLE);
	store_req_reset(&r);
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL); /* the attempt that the deadline cut off may still be on its way */
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_CORRUPT, .count = 1000 });
	assert_int_equal(store_get(store, "k", &r), ERR_CORRUPT);
	assert_null(r.data);
	store_req_reset(&r);
	assert_int_equal(fake.gets, 4);
	/* A 404 that is not S3's says nothing about the object. */
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_NOT_S3, .status = 404, .count = 1000 });
	assert_int_equal(store_get(store, "k", &r), ERR_UNAVAILABLE);
	assert_non_null(strstr(r.detail, "S3 endpoint"));
	store_req_reset(&r);
	/* Larger than anything we keep: refused at its headers. */
	fake_s3_clear(&fake);
	SET(announce_bytes, UINT64_C(1) << 40);
	start = now_ms();
	assert_int_equal(store_get(store, "k", &r), -EFBIG);
	assert_true(now_ms() - start < 500);
	store_req_reset(&r);
}

/* --- refusals --- */

static void test_skew(void **state)
{
	struct store_req r;

	(void)state;
	SET(clock_offset_s, 7200);
	assert_int_equal(store_get(store, "k", &r), ERR_CLOCK_SKEW);
	assert_non_null(strstr(r.detail, "behind"));
	assert_non_null(strstr(r.detail, "72")); /* 7199 or 7200 s */
	store_req_reset(&r);
	SET(clock_offset_s, -7200);
	assert_int_equal(put("k", "v", true, &r), ERR_CLOCK_SKEW);
	assert_non_null(strstr(r.detail, "ahead"));
	assert_false(r.ambiguous);
	store_req_reset(&r);
	assert_int_equal(fake.requests, 2); /* no use in trying again */
}

static void test_refusals(void **state)
{
	static const struct {
		unsigned status;
		const char *code;
		int result;
	} cases[] = {
		{ 403, "AccessDenied", ERR_AUTH },	   { 403, "SignatureDoesNotMatch", ERR_AUTH },
		{ 403, "", ERR_AUTH },			   { 404, "NoSuchBucket", ERR_NO_BUCKET },
		{ 507, "", -ENOSPC },			   { 403, "QuotaExceeded", -ENOSPC },
		{ 501, "NotImplemented", ERR_UNSUPPORTED }, { 405, "MethodNotAllowed", ERR_UNSUPPORTED },
		{ 400, "InvalidBucketName", ERR_CONFIG },   { 400, "SomethingNew", ERR_UNSUPPORTED },
	};
	struct store_req r;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(cases); i++) {
		fake_s3_clear(&fake);
		fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STATUS, .status = cases[i].status, .code = cases[i].code, .count = 9 });
		assert_int_equal(put("k", "v", true, &r), cases[i].result);
		assert_false(r.ambiguous && cases[i].status < 500);
		assert_true(strlen(r.detail) > 10);
		store_req_reset(&r);
		assert_int_equal(fake.requests, 1);
	}
	fake_s3_clear(&fake);
	assert_null(fake_s3_find(&fake, "pre/k"));
}

static void test_region(void **state)
{
	struct store_req r;

	(void)state;
	SET(want_region, true);
	assert_int_equal(put("k", "v", true, &r), 0);
	store_req_reset(&r);
	assert_int_equal(fake.requests, 2);
	has("k", "v");
	assert_int_equal(fake.requests, 3); /* it remembers */
}

static void write_keys(const char *path, const char *access)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "[default]\naws_access_key_id = %s\naws_secret_access_key = s\naws_session_token = t\n", access);
	fclose(f);
}

static void test_expired(void **state)
{
	char path[] = "/tmp/test_s3_http.XXXXXX";
	struct store_req r;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	write_keys(path, "OLDKEY");
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	open_with("timeout_ms=5000");
	assert_int_equal(put("k", "v", false, &r), 0);
	store_req_reset(&r);
	SET(expired_key, "OLDKEY");
	write_keys(path, "NEWKEY");
	fake_s3_clear(&fake);
	has("k", "v");
	assert_int_equal(fake.requests, 2);
	/* Expired again, and nothing newer to be had: an error that says so. */
	SET(expired_key, "NEWKEY");
	assert_int_equal(store_get(store, "k", &r), ERR_AUTH);
	assert_non_null(strstr(r.detail, "ExpiredToken"));
	store_req_reset(&r);
	unlink(path);
}

/* --- several requests in one operation --- */

static void test_copy_error_200(void **state)
{
	struct store_req r;

	(void)state;
	assert_int_equal(put("a", "value", false, &r), 0);
	store_req_reset(&r);
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "PUT", .kind = FAKE_ERROR_200, .code = "InternalError", .count = 2 });
	store_req_init(&r, STORE_COPY);
	r.source_key = "a";
	r.key = "b";
	assert_int_equal(store_call(store, &r), 0);
	store_req_reset(&r);
	has("b", "value");
	assert_int_equal(counters().retries[STORE_COPY], 2);
	r.source_key = "missing";
	assert_int_equal(store_call(store, &r), -ENOENT);
	store_req_reset(&r);
}

static void test_list(void **state)
{
	static const char *const keys[] = { "d/a", "d/b\x01x", "d/c d+e", "d/sub/1", "d/sub/2", "d/z" };
	struct store_req r;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(keys); i++) {
		assert_int_equal(put(keys[i], "v", false, &r), 0);
		store_req_reset(&r);
	}
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_GARBAGE, .count = 1 });
	for (int raw = 0; raw < 2; raw++) { /* the second time from a server that ignores encoding-type */
		static const char *const want[] = { "d/a", "d/b\x01x", "d/c d+e", "d/sub/", "d/z" };
		const char *after = NULL;
		char last[64];
		size_t n = 0;

		SET(ignore_encoding, raw);
		do { /* one at a time: each continuation begins at a boundary, the prefix among them */
			store_req_init(&r, STORE_LIST);
			r.key = "d/";
			r.delimiter = "/";
			r.max_keys = 1;
			r.start_after = after;
			assert_int_equal(store_call(store, &r), 0);
			assert_int_equal(r.entry_count, 1);
			assert_string_equal(r.entries[0].key, want[n++]);
			snprintf(last, sizeof(last), "%s", r.entries[0].key);
			after = last;
			n = r.truncated ? n : n + 100;
			store_req_reset(&r);
		} while (n < 100);
		assert_int_equal(n, 105);
	}
}

static void test_delete(void **state)
{
	const char *keys[] = { "a&b<c>", "plain", "ctl\x02", "missing" };
	const char *one = "plain";
	struct store_req r;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(put(keys[i], "v", false, &r), 0);
		store_req_reset(&r);
	}
	fake_s3_set(&fake, "pre/a&amp;b&lt;c&gt;", "", 0); /* the fake does not decode XML */
	fake_s3_fault(&fake, (struct fake_fault){ .method = "POST", .kind = FAKE_ERROR_200, .code = "SlowDown", .count = 1 });
	fake_s3_fault(&fake, (struct fake_fault){ .method = "DELETE", .kind = FAKE_STATUS, .status = 503, .code = "SlowDown", .count = 1 });
	store_req_init(&r, STORE_DELETE);
	r.keys = keys;
	r.key_count = 4;
	assert_int_equal(store_call(store, &r), 0);
	store_req_reset(&r);
	assert_null(fake_s3_find(&fake, "pre/plain"));
	assert_null(fake_s3_find(&fake, "pre/ctl\x02"));
	assert_null(fake_s3_find(&fake, "pre/a&amp;b&lt;c&gt;"));
	/* On a condition: only where the server honours it. */
	for (int ignore = 0; ignore < 2; ignore++) {
		open_with("timeout_ms=3000");
		SET(ignore_delete_if_match, ignore);
		assert_int_equal(put("plain", "v", false, &r), 0);
		store_req_reset(&r);
		store_req_init(&r, STORE_DELETE);
		r.keys = &one;
		r.key_count = 1;
		r.if_match = "ffffffffffffffffffffffffffffffff";
		assert_int_equal(store_call(store, &r), ignore ? ERR_UNSUPPORTED : ERR_PRECONDITION);
		assert_false(r.ambiguous);
		store_req_reset(&r);
		has("plain", "v");
	}
	for (struct fake_object *o = fake.objects; o; o = o->next)
		assert_null(strstr(o->key, "probe/"));
}

static void test_multipart(void **state)
{
	size_t len = 13 * 1024 * 1024 + 17;
	uint8_t *big = malloc(len);
	struct iovec body[3];
	struct store_req r;

	(void)state;
	assert_non_null(big);
	for (size_t i = 0; i < len; i++)
		big[i] = (uint8_t)(i * 2654435761u >> 11);
	body[0] = (struct iovec){ big, 1000 };
	body[1] = (struct iovec){ big + 1000, 7000000 };
	body[2] = (struct iovec){ big + 7001000, len - 7001000 };
	open_with("multipart_threshold=5M,part_size=5M,timeout_ms=20000,stall_ms=2000");
	fake_s3_fault(&fake, (struct fake_fault){ .method = "PUT", .argument = "partNumber", .kind = FAKE_DROP, .skip = 1, .count = 1 });
	fake_s3_fault(&fake, (struct fake_fault){ .method = "POST", .argument = "uploadId", .kind = FAKE_ERROR_200, .code = "InternalError", .count = 1 });
	store_req_init(&r, STORE_PUT);
	r.key = "big";
	r.body = body;
	r.body_count = 3;
	assert_int_equal(store_call(store, &r), 0);
	assert_string_equal(r.etag, fake_s3_find(&fake, "pre/big")->etag);
	store_req_reset(&r);
	assert_int_equal(fake_s3_find(&fake, "pre/big")->len, len);
	assert_memory_equal(fake_s3_find(&fake, "pre/big")->body, big, len);
	assert_int_equal(fake.parts, 3);
	/* On a condition it goes in one piece. */
	r.if_none_match = true;
	assert_int_equal(store_call(store, &r), ERR_PRECONDITION);
	store_req_reset(&r);
	assert_int_equal(fake.parts, 3);
	/* A part is refused: the upload is aborted. */
	r.if_none_match = false;
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "PUT", .kind = FAKE_STATUS, .status = 403, .code = "AccessDenied", .skip = 1, .count = 1 });
	assert_int_equal(store_call(store, &r), ERR_AUTH);
	assert_false(r.ambiguous);
	assert_int_equal(fake.aborts, 1);
	store_req_reset(&r);
	/* The reply of complete is lost, and the upload gone with it: unclear, and not aborted. */
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "POST", .argument = "uploadId", .kind = FAKE_DROP, .after = true, .count = 1 });
	assert_int_equal(store_call(store, &r), ERR_UNAVAILABLE);
	assert_true(r.ambiguous);
	assert_int_equal(fake.aborts, 0);
	store_req_reset(&r);
	free(big);
}

/* --- many at once --- */

#define MANY 400

static unsigned left;

static void many_done(struct store_req *r)
{
	(void)r;
	__atomic_sub_fetch(&left, 1, __ATOMIC_RELEASE);
}

static void wait_all(void)
{
	while (__atomic_load_n(&left, __ATOMIC_ACQUIRE))
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

static void test_many(void **state)
{
	struct store_req *r = calloc(MANY, sizeof(*r));
	char (*keys)[16] = calloc(MANY, sizeof(*keys));
	struct iovec *body = calloc(MANY, sizeof(*body));

	(void)state;
	assert_true(r && keys && body);
	open_with("timeout_ms=20000,stall_ms=1000,connections=64");
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STATUS, .status = 503, .code = "SlowDown", .count = 1000, .percent = 20 });
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_DROP, .count = 1000, .percent = 10 });
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_DROP, .after = true, .count = 1000, .percent = 10 });
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_SHORT, .count = 1000, .percent = 10 });
	for (int get = 0; get < 2; get++) {
		left = MANY;
		for (size_t i = 0; i < MANY; i++) {
			snprintf(keys[i], sizeof(keys[i]), "key%zu", i);
			body[i] = (struct iovec){ keys[i], strlen(keys[i]) };
			store_req_init(&r[i], get ? STORE_GET : STORE_PUT);
			r[i].key = keys[i];
			r[i].body = &body[i];
			r[i].body_count = 1;
			r[i].done = many_done;
			store->submit(store, &r[i]);
		}
		wait_all();
		for (size_t i = 0; i < MANY; i++) {
			assert_int_equal(r[i].result, 0);
			assert_true(!get || (r[i].data_len == strlen(keys[i]) && memcmp(r[i].data, keys[i], r[i].data_len) == 0));
			store_req_reset(&r[i]);
		}
	}
	assert_true(counters().retries[STORE_PUT] > 50);
	free(r);
	free(keys);
	free(body);
}

static void test_hedge(void **state)
{
	struct store_req r;
	uint64_t start;

	(void)state;
	open_with("hedge_ms=100,timeout_ms=5000,stall_ms=4000");
	assert_int_equal(put("k", "value", false, &r), 0);
	store_req_reset(&r);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_STALL, .ms = 3000, .count = 1 });
	start = now_ms();
	has("k", "value");
	assert_in_range(now_ms() - start, 100, 1500);
	/* Both attempts wait, the first fails, the second brings it. */
	fake_s3_clear(&fake);
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_STALL, .ms = 300, .count = 1 });
	fake_s3_fault(&fake, (struct fake_fault){ .method = "GET", .kind = FAKE_SLOW, .ms = 600, .count = 1 });
	has("k", "value");
	assert_int_equal(fake.gets, 1);
}

/* A request submitted by the done() of one that timed out must not wait for anything else to happen. */
static struct store_req second;

static void submit_second(struct store_req *r)
{
	(void)r;
	store->submit(store, &second);
}

static void test_chained(void **state)
{
	struct store_req first;
	uint64_t start = now_ms();

	(void)state;
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STALL, .ms = 400, .count = 1 });
	store_req_init(&first, STORE_GET);
	first.key = "k";
	first.deadline_ms = 300;
	first.done = submit_second;
	store_req_init(&second, STORE_GET);
	second.key = "k";
	second.done = many_done;
	left = 1;
	store->submit(store, &first);
	wait_all();
	assert_int_equal(first.result, ERR_UNAVAILABLE);
	assert_int_equal(second.result, -ENOENT);
	assert_in_range(now_ms() - start, 250, 800);
	store_req_reset(&first);
	store_req_reset(&second);
}

static void test_close(void **state)
{
	struct store_req r[20];
	struct iovec body = { (char[]){ "v" }, 1 };
	unsigned unclear = 0;

	(void)state;
	open_with("connections=4,timeout_ms=30000,stall_ms=30000");
	fake_s3_fault(&fake, (struct fake_fault){ .kind = FAKE_STALL, .ms = 700, .count = 100 });
	left = 20;
	for (size_t i = 0; i < 20; i++) {
		store_req_init(&r[i], STORE_PUT);
		r[i].key = "k";
		r[i].body = &body;
		r[i].body_count = 1;
		r[i].done = many_done;
		store->submit(store, &r[i]);
	}
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
	store_close(store);
	store = NULL;
	assert_int_equal(left, 0);
	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(r[i].result, -ECANCELED);
		unclear += r[i].ambiguous;
	}
	assert_int_equal(unclear, 4); /* those that had been sent */
}

static void bad(const char *address, const char *options, const char *word)
{
	struct store *s = NULL;

	assert_int_equal(store_s3_open(address, options, &s), ERR_CONFIG);
	if (!strstr(err_last(), word))
		fail_msg("\"%s\" does not speak of %s", err_last(), word);
}

static void test_config(void **state)
{
	(void)state;
	bad("s3://", NULL, "bucket");
	bad("s3:///x", NULL, "bucket");
	bad("s3://b@d/x", NULL, "bucket");
	bad("s3://bucket/a//b", NULL, "component");
	bad("s3://bucket/../b", NULL, "component");
	bad("s3://bucket", "nonsense=1", "no option");
	bad("s3://bucket", "connections=0", "from 1");
	bad("s3://bucket", "sse=rot13", "sse");
	bad("s3://bucket", "sse_kms_key_id=x", "needs sse");
	bad("s3://bucket", "endpoint=ftp://x", "https://");
	bad("s3://bucket", "endpoint=http://u:p@x", "host");
	bad("s3://bucket", "endpoint=http://x/path", "nothing more");
	bad("s3://bucket", "ca_bundle=/nonexistent", "CA bundle");
	bad("s3://bucket", "path_style=sometimes", "path_style");
	bad("s3://bucket", "region=EU west", "region");
	bad("s3://bucket", "profile=nosuch", "nosuch");
	bad("s3://bucket", "checksum=md5", "checksum");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_basics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conditions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_storm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transient_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_reply, setup, teardown),
		cmocka_unit_test_setup_teardown(test_412_after_5xx_and_409, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_skew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_region, setup, teardown),
		cmocka_unit_test_setup_teardown(test_expired, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_error_200, setup, teardown),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_multipart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hedge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chained, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
	};

	logmsg_init("test_s3_http", LOGMSG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
