/*
 * request.c - what all backends do with a request before and after the work: checking it, failing it, resetting it; and the
 * splitting of option strings. Stateless.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "err.h"
#include "store.h"

#define OPTION_BYTES 256

void store_req_init(struct store_req *r, enum store_op op)
{
	memset(r, 0, sizeof(*r));
	r->op = op;
	/* "To the end" is what a GET that says nothing means. */
	r->range_length = STORE_ANY;
}

void store_req_reset(struct store_req *r)
{
	free(r->data);
	for (size_t i = 0; i < r->entry_count; i++)
		free(r->entries[i].key);
	free(r->entries);
	r->result = 0;
	r->ambiguous = false;
	memset(r->detail, 0, sizeof(r->detail));
	r->data = NULL;
	r->data_len = 0;
	r->object_size = 0;
	memset(r->etag, 0, sizeof(r->etag));
	r->mtime_s = 0;
	r->server_time_s = 0;
	r->entries = NULL;
	r->entry_count = 0;
	r->truncated = false;
	r->layer = NULL;
}

int store_fail(struct store_req *r, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(r->detail, sizeof(r->detail), fmt, ap) < 0)
		r->detail[0] = '\0';
	va_end(ap);
	r->result = result;
	return result;
}

uint64_t store_body_bytes(const struct store_req *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->body_count; i++)
		sum += r->body[i].iov_len;
	return sum;
}

/* The length of the UTF-8 sequence at s (RFC 3629: shortest form, no surrogates, up to U+10FFFF), or 0. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0; /* the NUL at the end stops it too */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

bool store_key_is_utf8(const char *key)
{
	const unsigned char *s = (const unsigned char *)key;

	while (*s != '\0') {
		size_t n = utf8_length(s);

		if (n == 0)
			return false;
		s += n;
	}
	return true;
}

/* What is wrong with the components of `key`, or NULL. The last one of a list's prefix may be anything. */
static const char *component_fault(const char *key, bool is_prefix)
{
	while (true) {
		size_t len = strcspn(key, "/");

		if (key[len] == '\0' && is_prefix)
			return NULL;
		if (len == 0)
			return "a key has no empty component and no '/' at either end";
		if ((len == 1 && key[0] == '.') || (len == 2 && key[0] == '.' && key[1] == '.'))
			return "a key has no '.' or '..' component";
		if (key[len] == '\0')
			return NULL;
		key += len + 1;
	}
}

static int check_key(struct store_req *r, const char *key, bool is_prefix)
{
	const char *fault;

	if (key == NULL)
		return store_fail(r, -EINVAL, "a key is missing");
	if (strlen(key) > STORE_KEY_MAX)
		return store_fail(r, -EINVAL, "a key has at most %d bytes, this one has %zu", STORE_KEY_MAX, strlen(key));
	if (!store_key_is_utf8(key))
		return store_fail(r, -EINVAL, "a key is UTF-8");
	fault = component_fault(key, is_prefix);
	if (fault != NULL)
		return store_fail(r, -EINVAL, "bad key \"%.100s\": %s", key, fault);
	return 0;
}

static int check_list(struct store_req *r)
{
	if (r->max_keys > STORE_LIST_MAX)
		return store_fail(r, -EINVAL, "a listing has at most %d entries, asked for %u", STORE_LIST_MAX, r->max_keys);
	if (r->delimiter != NULL && strcmp(r->delimiter, "/") != 0)
		return store_fail(r, -EINVAL, "the delimiter can only be \"/\"");
	if (r->start_after != NULL && strlen(r->start_after) > STORE_KEY_MAX)
		return store_fail(r, -EINVAL, "start_after has more than %d bytes", STORE_KEY_MAX);
	return check_key(r, r->key, true);
}

static int check_delete(struct store_req *r)
{
	int rc = 0;

	if (r->keys == NULL || r->key_count < 1 || r->key_count > STORE_DELETE_MAX)
		return store_fail(r, -EINVAL, "a delete has 1 to %d keys, this one has %zu", STORE_DELETE_MAX, r->key_count);
	if (r->if_match != NULL && r->key_count != 1)
		return store_fail(r, -EINVAL, "a delete on a condition has one key");
	for (size_t i = 0; i < r->key_count && !rc; i++)
		rc = check_key(r, r->keys[i], false);
	return rc;
}

/* On the wire an empty condition is none, "*" is any object's, and a comma makes a list. */
static bool is_etag(const char *s)
{
	if (*s == '\0' || strcmp(s, "*") == 0)
		return false;
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == ',')
			return false;
	return true;
}

int store_check_req(struct store_req *r)
{
	int rc;

	if (r->if_match != NULL && strlen(r->if_match) >= STORE_ETAG_MAX)
		return store_fail(r, -EINVAL, "if_match is longer than any ETag");
	if (r->if_match != NULL && !is_etag(r->if_match))
		return store_fail(r, -EINVAL, "if_match is no ETag: \"%.60s\"", r->if_match);
	switch (r->op) {
	case STORE_PUT:
		if (r->if_none_match && r->if_match != NULL)
			return store_fail(r, -EINVAL, "if_match and if_none_match exclude each other");
		if (r->body_count > 0 && r->body == NULL)
			return store_fail(r, -EINVAL, "the body is missing");
		return check_key(r, r->key, false);
	case STORE_LIST:
		return check_list(r);
	case STORE_DELETE:
		return check_delete(r);
	case STORE_COPY:
		rc = check_key(r, r->source_key, false);
		return rc ? rc : check_key(r, r->key, false);
	case STORE_GET:
	case STORE_HEAD:
		return check_key(r, r->key, false);
	case STORE_OPS:
		break;
	}
	return store_fail(r, -EINVAL, "unknown operation %d", (int)r->op);
}

int store_options(const char *options, int (*each)(void *user, const char *key, const char *value), void *user)
{
	char pair[OPTION_BYTES];
	int rc = 0;

	while (options != NULL && *options != '\0' && !rc) {
		size_t len = strcspn(options, ",");
		char *value;

		if (len >= sizeof(pair))
			return err_set(ERR_CONFIG, "store option \"%.40s...\" is too long", options);
		memcpy(pair, options, len);
		pair[len] = '\0';
		value = strchr(pair, '=');
		if (value != NULL)
			*value++ = '\0';
		if (len > 0)
			rc = each(user, pair, value != NULL ? value : pair + len);
		options += len + (options[len] == ',');
	}
	return rc;
}

void store_range(const struct store_req *r, uint64_t size, uint64_t *ret_off, size_t *ret_len)
{
	uint64_t off = r->range_offset, left;

	if (r->range_suffix)
		off = r->range_length < size ? size - r->range_length : 0;
	if (off > size)
		off = size;
	left = size - off;
	*ret_off = off;
	*ret_len = (size_t)(r->range_length < left ? r->range_length : left);
}
