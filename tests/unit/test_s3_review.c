/*
 * test_s3_review.c - the S3 backend against answers that look right and are not: a proxy's page with status 200, a range
 * refused that is there, listings out of order, deletes refused in part, regions and addresses that lead elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/http_double.h"
#include "backends.h"
#include "credentials.h"
#include "err.h"
#include "logmsg.h"
#include "store.h"

static struct http_double *http;
static struct store *store;

/* What the server answers: the first `count` requests with `first`, all others with `then`. */
struct answer {
	unsigned status;
	const char *body;
	const char *headers[4][2];
};

static struct script {
	pthread_mutex_t mu;
	struct answer first, then;
	unsigned count, requests;
	bool foreign_scope; /* a request was signed for a region that is no region's name */
} script = { .mu = PTHREAD_MUTEX_INITIALIZER };

#define ETAG { "ETag", "\"0123456789abcdef0123456789abcdef\"" }

static const char page[] = "<html><body>Back soon</body></html>";

static void handle(void *user, const struct http_double_request *r, struct http_double_reply *reply)
{
	const struct answer *a;
	const char *auth = http_double_header(r, "authorization");

	(void)user;
	pthread_mutex_lock(&script.mu);
	a = script.requests++ < script.count ? &script.first : &script.then;
	script.foreign_scope |= auth && strstr(auth, "elsewhere");
	reply->status = a->status;
	for (size_t i = 0; i < 4 && a->headers[i][0]; i++)
		http_double_set_header(reply, a->headers[i][0], a->headers[i][1]);
	if (a->body)
		http_double_set_body(reply, a->body);
	pthread_mutex_unlock(&script.mu);
}

static void play(unsigned count, struct answer first, struct answer then)
{
	pthread_mutex_lock(&script.mu);
	script.first = first;
	script.then = then;
	script.count = count;
	script.requests = 0;
	script.foreign_scope = false;
	pthread_mutex_unlock(&script.mu);
}

static void open_with(const char *options)
{
	char all[256];

	store_close(store);
	store = NULL;
	snprintf(all, sizeof(all), "endpoint=http://127.0.0.1:%u,timeout_ms=1500%s", http_double_port(http), options);
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
	http = http_double_start(handle, NULL);
	open_with("");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(store);
	store = NULL;
	http_double_stop(http);
	return 0;
}

/* A proxy in maintenance says 200 to everything. Only what speaks S3, with an ETag, has stored or read anything. */
static void test_proxy_page(void **state)
{
	const struct answer proxy = { .status = 200, .body = page }, stored = { .status = 200, .headers = { ETAG } };
	const struct answer object = { .status = 200, .body = "value", .headers = { ETAG } }, gone = { .status = 204 };
	const char *key = "k";
	struct store_req r;

	(void)state;
	play(1, proxy, stored);
	assert_int_equal(store_put(store, "k", "value", 5, false, &r), 0);
	assert_int_equal(script.requests, 2);
	store_req_reset(&r);
	play(1000, proxy, stored);
	assert_int_equal(store_put(store, "k", "value", 5, false, &r), ERR_UNAVAILABLE);
	assert_true(r.ambiguous);
	store_req_reset(&r);
	play(1, proxy, object);
	assert_int_equal(store_get(store, "k", &r), 0);
	assert_int_equal(r.data_len, 5);
	assert_memory_equal(r.data, "value", 5);
	store_req_reset(&r);
	play(1, proxy, object);
	store_req_init(&r, STORE_HEAD);
	r.key = key;
	assert_int_equal(store_call(store, &r), 0);
	assert_int_equal(r.object_size, 5);
	store_req_reset(&r);
	play(1, proxy, gone);
	store_req_init(&r, STORE_DELETE);
	r.keys = &key;
	r.key_count = 1;
	assert_int_equal(store_call(store, &r), 0);
	assert_int_equal(script.requests, 2);
	store_req_reset(&r);
}

static int get_range(uint64_t off, uint64_t len, bool suffix, struct store_req *r)
{
	store_req_init(r, STORE_GET);
	r->key = "k";
	r->range_offset = off;
	r->range_length = len;
	r->range_suffix = suffix;
	return store_call(store, r);
}

/* 416 reads as "nothing there" only where it says so, and fits what was asked for. */
static void test_416(void **state)
{
	const struct answer s3 = { .status = 416, .body = "<Error><Code>InvalidRange</Code></Error>" };
	const struct answer sized = { .status = 416, .body = "<Error><Code>InvalidRange</Code></Error>",
				      .headers = { { "Content-Range", "bytes */10" } } };
	const struct answer proxy = { .status = 416, .body = page };
	struct store_req r;

	(void)state;
	play(0, s3, s3);
	assert_int_equal(get_range(10, 5, false, &r), 0);
	assert_int_equal(r.data_len, 0);
	store_req_reset(&r);
	play(0, sized, sized);
	assert_int_equal(get_range(10, STORE_ANY, false, &r), 0);
	assert_int_equal(r.object_size, 10);
	store_req_reset(&r);
	/* The object is longer than where the range starts. */
	assert_int_not_equal(get_range(9, 5, false, &r), 0);
	store_req_reset(&r);
	assert_int_not_equal(get_range(0, 5, true, &r), 0);
	store_req_reset(&r);
	/* No range was asked for. */
	assert_int_not_equal(get_range(0, STORE_ANY, false, &r), 0);
	store_req_reset(&r);
	play(0, proxy, proxy);
	assert_int_not_equal(get_range(10, 5, false, &r), 0);
	store_req_reset(&r);
}

/* Another success than 200 and 206 brings no object. */
static void test_other_success(void **state)
{
	const struct answer none = { .status = 204, .headers = { ETAG, { "Content-Length", "0" } } };
	const struct answer other = { .status = 203, .body = "value", .headers = { ETAG } };
	struct store_req r;

	(void)state;
	play(0, none, none);
	assert_int_not_equal(store_get(store, "k", &r), 0);
	store_req_reset(&r);
	play(0, other, other);
	assert_int_not_equal(store_get(store, "k", &r), 0);
	store_req_reset(&r);
}

static int list(struct store_req *r)
{
	store_req_init(r, STORE_LIST);
	r->key = "";
	return store_call(store, r);
}

/* A page that is cut off and not in order cannot be continued from its last key: what lies between would be lost. */
static void test_unsorted_listing(void **state)
{
	static const char body[] = "<ListBucketResult><IsTruncated>%s</IsTruncated>"
				   "<Contents><Key>pre/z</Key><Size>1</Size></Contents><Contents><Key>pre/b</Key><Size>1</Size></Contents>"
				   "<NextContinuationToken>t</NextContinuationToken></ListBucketResult>";
	struct answer a = { .status = 200 };
	char text[512];
	struct store_req r;

	(void)state;
	for (int more = 0; more < 2; more++) {
		snprintf(text, sizeof(text), body, more ? "true" : "false");
		a.body = text;
		play(0, a, a);
		if (more) {
			assert_int_equal(list(&r), ERR_UNSUPPORTED);
			assert_non_null(strstr(r.detail, "order"));
		} else { /* the whole of it: sorted here */
			assert_int_equal(list(&r), 0);
			assert_int_equal(r.entry_count, 2);
			assert_string_equal(r.entries[0].key, "b");
		}
		store_req_reset(&r);
	}
}

static int delete_two(struct store_req *r)
{
	static const char *const keys[] = { "a", "b" };

	store_req_init(r, STORE_DELETE);
	r->keys = keys;
	r->key_count = 2;
	return store_call(store, r);
}

static void test_partial_delete(void **state)
{
	const struct answer denied = { .status = 200, .body = "<DeleteResult><Error><Key>pre/b</Key><Code>AccessDenied</Code>"
							      "<Message>locked</Message></Error></DeleteResult>" };
	const struct answer missing = { .status = 200, .body = "<DeleteResult><Error><Key>pre/a</Key><Code>NoSuchKey</Code></Error>"
							       "</DeleteResult>" };
	const struct answer mixed = { .status = 200, .body = "<DeleteResult><Error><Key>pre/a</Key><Code>NoSuchKey</Code></Error>"
							     "<Error><Key>pre/b</Key><Code>AccessDenied</Code></Error></DeleteResult>" };
	const struct answer refused = { .status = 403, .body = "<Error><Code>AccessDenied</Code></Error>" };
	const struct answer unknown = { .status = 404, .body = "<Error><Code>NoSuchKey</Code></Error>" };
	struct store_req r;

	(void)state;
	play(0, denied, denied);
	assert_int_equal(delete_two(&r), ERR_AUTH);
	assert_true(r.ambiguous);
	assert_non_null(strstr(r.detail, "pre/b")); /* says which */
	store_req_reset(&r);
	/* A key that was not there is no error. */
	play(0, missing, missing);
	assert_int_equal(delete_two(&r), 0);
	assert_int_equal(script.requests, 1);
	store_req_reset(&r);
	play(0, mixed, mixed);
	assert_int_equal(delete_two(&r), ERR_AUTH);
	assert_non_null(strstr(r.detail, "pre/b"));
	store_req_reset(&r);
	/* Refused as a whole: a clear no. */
	play(0, refused, refused);
	assert_int_equal(delete_two(&r), ERR_AUTH);
	assert_false(r.ambiguous);
	store_req_reset(&r);
	/* A server that knows no multi-delete has deleted nothing. */
	play(0, unknown, unknown);
	assert_int_not_equal(delete_two(&r), 0);
	store_req_reset(&r);
}

/* The region goes into the host's name and the signature: only what can be a region's name is followed. */
static void test_foreign_region(void **state)
{
	const struct answer moved = { .status = 301, .body = "<Error><Code>PermanentRedirect</Code></Error>",
				      .headers = { { "x-amz-bucket-region", "elsewhere.example/x" } } };
	const struct answer stored = { .status = 200, .headers = { ETAG } };
	struct store_req r;

	(void)state;
	play(1, moved, stored);
	assert_int_equal(store_put(store, "k", "v", 1, false, &r), ERR_CONFIG);
	assert_false(script.foreign_scope);
	assert_int_equal(script.requests, 1);
	store_req_reset(&r);
}

/* A condition that says nothing would be none on the wire, or any object's. */
static void test_empty_condition(void **state)
{
	const struct answer stored = { .status = 200, .headers = { ETAG } };
	static const char *const conditions[] = { "", "*", " ", "a\r\nx-amz-acl: public-read" };
	const char *key = "k";
	struct store_req r;

	(void)state;
	play(0, stored, stored);
	for (size_t i = 0; i < CL_ARRAY_LEN(conditions); i++) {
		store_req_init(&r, STORE_PUT);
		r.key = key;
		r.if_match = conditions[i];
		assert_int_equal(store_call(store, &r), -EINVAL);
		store_req_reset(&r);
		store_req_init(&r, STORE_DELETE);
		r.keys = &key;
		r.key_count = 1;
		r.if_match = conditions[i];
		assert_int_equal(store_call(store, &r), -EINVAL);
		store_req_reset(&r);
	}
	assert_int_equal(script.requests, 0);
}

/* The container's token goes over plain http to this machine only, whatever stands before an '@'. */
static void test_container_address(void **state)
{
	static const char *const bad[] = { "http://localhost:x@192.0.2.1/c", "http://[::1]@192.0.2.1/c", "http://127.0.0.1:80@192.0.2.1/c",
					   "http://127.0.0.1@192.0.2.1/c" };
	struct credentials_options o = { .region = "us-east-1" };
	struct credentials_set *s;

	(void)state;
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i], 1);
		assert_int_equal(credentials_chain(&o, &s), ERR_CONFIG);
	}
	unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

/* A credential_process that closes its output and does not end is ended. */
static void test_process_that_stays(void **state)
{
	char path[] = "/tmp/test_s3_review.XXXXXX";
	struct credentials_options o = { .region = "us-east-1" };
	struct credentials_set *s;
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	(void)state;
	assert_non_null(f);
	fputs("[default]\ncredential_process = echo '{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}'; exec >&- 2>&-; sleep 20\n", f);
	fclose(f);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	setenv("AWS_CONFIG_FILE", path, 1);
	alarm(10);
	assert_int_equal(credentials_chain(&o, &s), ERR_AUTH);
	alarm(0);
	unlink(path);
}

/* An error does not repeat a password. */
static void test_endpoint_password(void **state)
{
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_s3_open("s3://bucket", "endpoint=https://user:hunter2@host", &s), ERR_CONFIG);
	assert_null(strstr(err_last(), "hunter2"));
	assert_non_null(strstr(err_last(), "host"));
	assert_int_equal(store_s3_open("s3://bucket", "endpoint=ftp://user:hunter2@host", &s), ERR_CONFIG);
	assert_null(strstr(err_last(), "hunter2"));
}

/* What never left this machine was not sent. */
static void test_counts(void **state)
{
	struct store_counters c;
	struct store_req r;

	(void)state;
	open_with(",endpoint=http://127.0.0.1:9,timeout_ms=300");
	assert_int_equal(store_put(store, "k", "value", 5, false, &r), ERR_UNAVAILABLE);
	store_req_reset(&r);
	store->counters(store, &c);
	assert_int_equal(c.requests[STORE_PUT], 0);
	assert_int_equal(c.bytes_sent, 0);
	assert_int_equal(c.failures[STORE_PUT], 1);
}

/* --- secrets do not stay behind --- */

/* How often the text, which is spelled backwards so that it is not in memory by itself, is in this process's memory. */
static unsigned copies_in_memory(const char *backwards)
{
	static char block[65536];
	size_t len = strlen(backwards);
	unsigned long from, to;
	char line[512], mode[8];
	unsigned found = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);

	assert_true(maps && mem >= 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w' || to - from > (1ul << 30))
			continue;
		for (; from < to; from += sizeof(block) - len) { /* overlapping, so that none is cut in two */
			ssize_t got = pread(mem, block, to - from < sizeof(block) ? to - from : sizeof(block), (off_t)from);

			if (got <= 0)
				break;
			if ((uintptr_t)block < from + sizeof(block) && (uintptr_t)block + sizeof(block) > from)
				continue; /* itself */
			for (size_t i = 0; i + len <= (size_t)got; i++) {
				size_t j = 0;

				while (j < len && block[i + j] == backwards[len - 1 - j])
					j++;
				found += j == len;
			}
		}
	}
	memset(block, 0, sizeof(block));
	close(mem);
	fclose(maps);
	return found;
}

static void write_secret(const char *path, const char *before, const char *backwards, size_t filler)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	setvbuf(f, NULL, _IONBF, 0);
	fputs(before, f);
	for (size_t i = strlen(backwards); i-- > 0;)
		fputc(backwards[i], f);
	for (size_t i = 0; i < filler; i++)
		fputc('x', f);
	fputc('\n', f);
	fclose(f);
}

static void test_session_token_wiped(void **state)
{
	static const char backwards[] = "dedruofriahtelpmaxenekotnoisses";
	char path[] = "/tmp/test_s3_review.XXXXXX";
	struct store_req r;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	write_secret(path, "[default]\naws_access_key_id = A\naws_secret_access_key = s\naws_session_token = ", backwards, 900);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	open_with(",endpoint=http://127.0.0.1:9,timeout_ms=300");
	assert_int_not_equal(copies_in_memory(backwards), 0); /* the search does find it while it is held */
	assert_int_equal(store_put(store, "k", "value", 5, false, &r), ERR_UNAVAILABLE);
	store_req_reset(&r);
	store_close(store);
	store = NULL;
	unlink(path);
	assert_int_equal(copies_in_memory(backwards), 0);
}

static void test_identity_token_wiped(void **state)
{
	static const char backwards[] = "dedruofriahtnekotytitnedibew";
	char path[] = "/tmp/test_s3_review.XXXXXX";
	struct credentials_options o = { .region = "us-east-1" };
	struct credentials_set *s;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	write_secret(path, "", backwards, 900);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", path, 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
	setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9", 1);
	assert_int_equal(credentials_chain(&o, &s), ERR_UNAVAILABLE);
	unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	unsetenv("AWS_ROLE_ARN");
	unsetenv("AWS_ENDPOINT_URL_STS");
	unlink(path);
	assert_int_equal(copies_in_memory(backwards), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_proxy_page, setup, teardown),
		cmocka_unit_test_setup_teardown(test_416, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_success, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsorted_listing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_partial_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_region, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_condition, setup, teardown),
		cmocka_unit_test_setup_teardown(test_container_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_process_that_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endpoint_password, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_session_token_wiped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identity_token_wiped, setup, teardown),
	};

	logmsg_init("test_s3_review", LOGMSG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
