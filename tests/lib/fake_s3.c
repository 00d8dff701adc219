/* fake_s3.c - the smallest S3 that the client cannot tell from a bad one. */
#include "fake_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "crc32c.h"
#include "s3_text.h"
#include "sigv4.h"

struct fake_object *fake_s3_find(struct fake_s3 *f, const char *key)
{
	for (struct fake_object *o = f->objects; o; o = o->next)
		if (strcmp(o->key, key) == 0)
			return o;
	return NULL;
}

static void remove_object(struct fake_s3 *f, const char *key)
{
	for (struct fake_object **p = &f->objects; *p; p = &(*p)->next) {
		struct fake_object *o = *p;

		if (strcmp(o->key, key) != 0)
			continue;
		*p = o->next;
		free(o->key);
		free(o->body);
		free(o);
		return;
	}
}

void fake_s3_set(struct fake_s3 *f, const char *key, const char *body, size_t len)
{
	struct fake_object *o = calloc(1, sizeof(*o)), **p;

	remove_object(f, key);
	if (!o)
		abort();
	o->key = strdup(key);
	o->body = malloc(len + 1);
	if (!o->key || !o->body)
		abort();
	if (len)
		memcpy(o->body, body, len);
	o->body[len] = '\0';
	o->len = len;
	snprintf(o->etag, sizeof(o->etag), "%032x", ++f->versions);
	for (p = &f->objects; *p && strcmp((*p)->key, key) < 0; p = &(*p)->next)
		;
	o->next = *p;
	*p = o;
}

static void error_body(struct http_double_reply *reply, unsigned status, const char *code)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>as told</Message>"
		 "<RequestId>1</RequestId></Error>", code);
	reply->status = status;
	http_double_set_body(reply, text);
}

static void check_hashes(struct fake_s3 *f, const struct http_double_request *r)
{
	const char *want = http_double_header(r, "x-amz-content-sha256"), *auth = http_double_header(r, "authorization");
	const char *sum = http_double_header(r, "x-amz-checksum-crc32c");
	char hex[65], text[12];
	uint32_t c = crc32c(0, r->body, r->body_len);

	if (!auth || strncmp(auth, "AWS4-HMAC-SHA256 Credential=", 28) != 0 || !http_double_header(r, "x-amz-date"))
		f->unsigned_requests++;
	if (sigv4_sha256_hex(&(struct iovec){ (char *)(uintptr_t)r->body, r->body_len }, 1, hex) != 0 || !want || strcmp(want, hex) != 0)
		f->bad_hash++;
	s3_text_base64((uint8_t[]){ (uint8_t)(c >> 24), (uint8_t)(c >> 16), (uint8_t)(c >> 8), (uint8_t)c }, 4, text);
	if (sum && strcmp(sum, text) != 0)
		f->bad_hash++;
}

static void note(char *to, size_t size, const char *value)
{
	snprintf(to, size, "%s", value ? value : "");
}

static void put(struct fake_s3 *f, const char *key, const struct http_double_request *r, struct http_double_reply *reply)
{
	struct fake_object *o = fake_s3_find(f, key);
	const char *none = http_double_header(r, "if-none-match"), *match = http_double_header(r, "if-match");
	const char *source = http_double_header(r, "x-amz-copy-source");
	char text[256];

	note(f->last_if_match, sizeof(f->last_if_match), match);
	note(f->last_type, sizeof(f->last_type), http_double_header(r, "content-type"));
	if (http_double_argument(r, "partNumber")) {
		f->parts++;
		snprintf(text, sizeof(text), "%.100s?part%s", key, http_double_argument(r, "partNumber"));
		fake_s3_set(f, text, r->body, r->body_len);
		http_double_set_header(reply, "ETag", "\"0123456789abcdef\"");
		return;
	}
	f->puts++;
	if ((none && o) || (match && (!o || strcmp(match, o->etag) != 0))) {
		error_body(reply, 412, "PreconditionFailed");
		return;
	}
	if (source) {
		char from[1024];
		ptrdiff_t n;

		note(f->last_copy_source, sizeof(f->last_copy_source), source);
		snprintf(from, sizeof(from), "%s", source);
		n = s3_text_decode(from, strlen(from));
		from[n > 0 ? n : 0] = '\0';
		o = strncmp(from, "/bucket/", 8) == 0 ? fake_s3_find(f, from + 8) : NULL;
		if (!o) {
			error_body(reply, 404, "NoSuchKey");
			return;
		}
		fake_s3_set(f, key, o->body, o->len);
		snprintf(text, sizeof(text), "<CopyObjectResult><ETag>&quot;%s&quot;</ETag></CopyObjectResult>",
			 fake_s3_find(f, key)->etag);
		http_double_set_body(reply, text);
		return;
	}
	fake_s3_set(f, key, r->body, r->body_len);
	snprintf(text, sizeof(text), "\"%s\"", fake_s3_find(f, key)->etag);
	http_double_set_header(reply, "ETag", text);
}

static void get_range(const struct fake_s3 *f, const struct fake_object *o, const char *range, struct http_double_reply *reply)
{
	unsigned long long first = 0, last = o->len ? o->len - 1 : 0;
	char text[128], sum[12];
	uint32_t c = crc32c(0, o->body, o->len);

	if (range && !f->ignore_range) {
		if (sscanf(range, "bytes=-%llu", &last) == 1) {
			first = last < o->len ? o->len - last : 0;
			last = o->len - 1;
		} else {
			sscanf(range, "bytes=%llu-%llu", &first, &last);
		}
		if (first >= o->len) {
			snprintf(text, sizeof(text), "bytes */%zu", o->len);
			http_double_set_header(reply, "Content-Range", text);
			error_body(reply, 416, "InvalidRange");
			return;
		}
		last = last < o->len ? last : o->len - 1;
		snprintf(text, sizeof(text), "bytes %llu-%llu/%zu", first, last, o->len);
		http_double_set_header(reply, "Content-Range", text);
		reply->status = 206;
	}
	s3_text_base64((uint8_t[]){ (uint8_t)(c >> 24), (uint8_t)(c >> 16), (uint8_t)(c >> 8), (uint8_t)c }, 4, sum);
	http_double_set_header(reply, "x-amz-checksum-crc32c", sum);
	reply->body_len = o->len ? last - first + 1 : 0;
	reply->body = malloc(reply->body_len + 1);
	if (!reply->body)
		abort();
	memcpy(reply->body, o->body + first, reply->body_len);
}

static void get(struct fake_s3 *f, const char *key, const struct http_double_request *r, struct http_double_reply *reply)
{
	const struct fake_object *o = fake_s3_find(f, key);
	char text[64];

	f->gets++;
	note(f->last_range, sizeof(f->last_range), http_double_header(r, "range"));
	if (!o) {
		error_body(reply, 404, "NoSuchKey");
		return;
	}
	snprintf(text, sizeof(text), "\"%s\"", o->etag);
	http_double_set_header(reply, "ETag", text);
	http_double_set_header(reply, "Last-Modified", "Fri, 24 May 2013 00:00:00 GMT");
	get_range(f, o, strcmp(r->method, "HEAD") == 0 ? NULL : http_double_header(r, "range"), reply);
	if (f->announce_bytes)
		reply->announce = f->announce_bytes;
}

static void add_key(const struct fake_s3 *f, struct buf *b, const char *key)
{
	if (f->ignore_encoding) {
		for (; *key; key++)
			if ((unsigned char)*key < 0x20)
				s3_text_addf(b, "&#x%02x;", (unsigned)*key);
			else
				s3_text_xml(b, (char[]){ *key, '\0' });
	} else {
		s3_text_encode(b, key, strlen(key), true);
	}
}

/* Pages by token ("after:KEY"), common prefixes once each. */
static void list(struct fake_s3 *f, const struct http_double_request *r, struct http_double_reply *reply)
{
	const char *prefix = http_double_argument(r, "prefix"), *after = http_double_argument(r, "start-after");
	const char *token = http_double_argument(r, "continuation-token"), *delimiter = http_double_argument(r, "delimiter");
	const char *max = http_double_argument(r, "max-keys");
	char decoded[5][1024], last[1024] = "";
	const char **args[] = { &prefix, &after, &token, &delimiter, &max };
	struct buf b = BUF_INIT;
	size_t n = 0, limit;
	bool more = false;

	for (size_t i = 0; i < 5; i++) { /* arguments come as they were sent */
		ptrdiff_t len;

		snprintf(decoded[i], sizeof(decoded[i]), "%s", *args[i] ? *args[i] : "");
		len = s3_text_decode(decoded[i], strlen(decoded[i]));
		decoded[i][len > 0 ? len : 0] = '\0';
		*args[i] = decoded[i];
	}
	limit = strtoul(max, NULL, 10);
	s3_text_add(&b, "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>");
	if (!f->ignore_encoding)
		s3_text_add(&b, "<EncodingType>url</EncodingType>");
	for (struct fake_object *o = f->objects; o && !more; o = o->next) {
		const char *slash = *delimiter && strlen(o->key) >= strlen(prefix) ? strchr(o->key + strlen(prefix), '/') : NULL;
		char name[1024];

		snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - o->key + 1) : 1000, o->key);
		/* As AWS does: start-after is compared with keys, so the prefix it names may come again. */
		if (strncmp(o->key, prefix, strlen(prefix)) != 0 || (*after && !*token && strcmp(o->key, after) <= 0) ||
		    (*token && strcmp(name, token) <= 0) || (slash && strcmp(name, last) == 0))
			continue;
		if (n == limit) {
			more = true;
			break;
		}
		n++;
		snprintf(last, sizeof(last), "%s", name);
		s3_text_add(&b, slash ? "<CommonPrefixes><Prefix>" : "<Contents><Key>");
		add_key(f, &b, name);
		if (slash)
			s3_text_add(&b, "</Prefix></CommonPrefixes>");
		else
			s3_text_addf(&b, "</Key><LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;%s&quot;</ETag>"
				     "<Size>%zu</Size></Contents>", o->etag, o->len);
	}
	if (more) {
		s3_text_add(&b, "<NextContinuationToken>");
		s3_text_encode(&b, last, strlen(last), true);
		s3_text_add(&b, "</NextContinuationToken>");
	}
	s3_text_addf(&b, "<IsTruncated>%s</IsTruncated></ListBucketResult>", more ? "true" : "false");
	reply->body_len = b.len;
	reply->body = s3_text_take(&b);
}

static void delete_one(struct fake_s3 *f, const char *key, const struct http_double_request *r, struct http_double_reply *reply)
{
	const char *match = http_double_header(r, "if-match");
	const struct fake_object *o = fake_s3_find(f, key);

	reply->status = 204;
	if (http_double_argument(r, "uploadId")) {
		f->aborts++;
		return;
	}
	if (match && !f->ignore_delete_if_match && (!o || strcmp(match, o->etag) != 0))
		error_body(reply, 412, "PreconditionFailed");
	else
		remove_object(f, key);
}

static void post(struct fake_s3 *f, const char *key, const struct http_double_request *r, struct http_double_reply *reply)
{
	struct buf whole = BUF_INIT;
	char text[256];

	if (strstr(r->body, "<Delete ")) {
		for (const char *p = strstr(r->body, "<Key>"); p; p = strstr(p + 1, "<Key>")) {
			snprintf(text, sizeof(text), "%.*s", (int)strcspn(p + 5, "<"), p + 5);
			remove_object(f, text);
		}
		http_double_set_body(reply, "<DeleteResult></DeleteResult>");
	} else if (!http_double_argument(r, "uploadId")) {
		http_double_set_body(reply, "<InitiateMultipartUploadResult><UploadId>up/1+2</UploadId></InitiateMultipartUploadResult>");
	} else {
		for (unsigned i = 1;; i++) {
			const struct fake_object *o;

			snprintf(text, sizeof(text), "%.100s?part%u", key, i);
			o = fake_s3_find(f, text);
			if (!o)
				break;
			buf_bytes(&whole, o->body, o->len);
			remove_object(f, text);
		}
		if (whole.len == 0) {
			error_body(reply, 404, "NoSuchUpload");
			return;
		}
		fake_s3_set(f, key, (char *)whole.data, whole.len);
		buf_free(&whole);
		http_double_set_body(reply, "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>");
	}
}

static void serve(struct fake_s3 *f, const char *key, const struct http_double_request *r, struct http_double_reply *reply)
{
	if (strcmp(r->method, "PUT") == 0)
		put(f, key, r, reply);
	else if (strcmp(r->method, "POST") == 0)
		post(f, key, r, reply);
	else if (strcmp(r->method, "DELETE") == 0)
		delete_one(f, key, r, reply);
	else if (!*key)
		list(f, r, reply);
	else
		get(f, key, r, reply);
}

static const struct fake_fault *pick_fault(struct fake_s3 *f, const struct http_double_request *r)
{
	for (size_t i = 0; i < f->fault_count; i++) {
		struct fake_fault *x = &f->faults[i];

		if ((x->method && strcmp(x->method, r->method) != 0) || x->count == 0 ||
		    (x->argument && !http_double_argument(r, x->argument) && !strstr(r->url, x->argument)))
			continue;
		if (x->skip) {
			x->skip--;
			continue;
		}
		f->random = f->random * 1103515245u + 12345u;
		if (x->percent && (f->random >> 16) % 100 >= x->percent)
			continue;
		x->count--;
		return x;
	}
	return NULL;
}

static void misbehave(const struct fake_fault *x, struct http_double_reply *reply)
{
	free(reply->body);
	*reply = (struct http_double_reply){ .status = 200 };
	switch (x->kind) {
	case FAKE_STATUS: error_body(reply, x->status, x->code); return;
	case FAKE_ERROR_200: error_body(reply, 200, x->code); return;
	case FAKE_STALL: reply->stall_ms = x->ms; reply->drop = true; return;
	case FAKE_DROP: reply->drop = true; return;
	case FAKE_NOT_S3: http_double_set_body(reply, "<html><body>Not found</body></html>"); reply->status = x->status; return;
	case FAKE_GARBAGE: http_double_set_body(reply, "<ListBucketResult><Contents><Key>a"); return;
	case FAKE_SLOW: case FAKE_SHORT: case FAKE_CORRUPT: return;
	}
}

/* What the server refuses before it looks at the request. */
static bool refuse(struct fake_s3 *f, const struct http_double_request *r, struct http_double_reply *reply)
{
	const char *auth = http_double_header(r, "authorization");

	if (f->clock_offset_s > 900 || f->clock_offset_s < -900) {
		error_body(reply, 403, "RequestTimeTooSkewed");
		return true;
	}
	if (f->expired_key && auth && strstr(auth, f->expired_key)) {
		error_body(reply, 400, "ExpiredToken");
		return true;
	}
	if (f->want_region && auth && !strstr(auth, "/eu-north-1/s3/")) {
		error_body(reply, 301, "PermanentRedirect");
		http_double_set_header(reply, "x-amz-bucket-region", "eu-north-1");
		return true;
	}
	if (strncmp(r->url, "/bucket", 7) != 0 || (r->url[7] && r->url[7] != '/')) {
		error_body(reply, 404, "NoSuchBucket");
		return true;
	}
	return false;
}

static void handle(void *user, const struct http_double_request *r, struct http_double_reply *reply)
{
	struct fake_s3 *f = user;
	const struct fake_fault *x;
	struct tm tm;
	time_t t;
	char key[1200] = "", date[64];
	ptrdiff_t n;

	pthread_mutex_lock(&f->mu);
	t = time(NULL) + (time_t)f->clock_offset_s;
	f->requests++;
	check_hashes(f, r);
	if (!refuse(f, r, reply)) {
		if (strlen(r->url) > 8)
			snprintf(key, sizeof(key), "%s", r->url + 8);
		n = s3_text_decode(key, strlen(key));
		key[n > 0 ? n : 0] = '\0';
		x = pick_fault(f, r);
		if (!x || x->after || x->kind == FAKE_SLOW || x->kind == FAKE_SHORT || x->kind == FAKE_CORRUPT)
			serve(f, key, r, reply);
		if (x && x->kind == FAKE_SLOW)
			reply->stall_ms = x->ms;
		else if (x && x->kind == FAKE_SHORT)
			reply->announce = reply->body_len + 1000;
		else if (x && x->kind == FAKE_CORRUPT && reply->body_len)
			reply->body[reply->body_len / 2] ^= 4;
		else if (x)
			misbehave(x, reply);
	}
	pthread_mutex_unlock(&f->mu);
	if (!reply->drop && strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm)))
		http_double_set_header(reply, "Date", date);
}

void fake_s3_start(struct fake_s3 *f)
{
	*f = (struct fake_s3){ .random = 1 };
	pthread_mutex_init(&f->mu, NULL);
	f->http = http_double_start(handle, f);
}

void fake_s3_stop(struct fake_s3 *f)
{
	http_double_stop(f->http);
	while (f->objects) {
		char *key = strdup(f->objects->key);

		remove_object(f, key);
		free(key);
	}
	pthread_mutex_destroy(&f->mu);
}

void fake_s3_fault(struct fake_s3 *f, struct fake_fault fault)
{
	pthread_mutex_lock(&f->mu);
	if (f->fault_count == sizeof(f->faults) / sizeof(f->faults[0]))
		abort();
	f->faults[f->fault_count++] = fault;
	pthread_mutex_unlock(&f->mu);
}

void fake_s3_clear(struct fake_s3 *f)
{
	pthread_mutex_lock(&f->mu);
	f->fault_count = 0;
	f->requests = f->puts = f->gets = f->bad_hash = f->unsigned_requests = f->aborts = f->parts = 0;
	pthread_mutex_unlock(&f->mu);
}
