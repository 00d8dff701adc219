/* s3_xml.c - the documents of S3 and STS, each by one walk. */
#include "s3_xml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "s3_text.h"
#include "s3_xml_walk.h"
#include "secret.h"

void s3_xml_printable(const char *text, size_t len, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++)
		ret[n++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	ret[n] = '\0';
}

static void take_error_field(struct s3_xml_error *e, const char *name, const char *text, size_t len)
{
	const struct {
		const char *name;
		char *to;
		size_t size;
	} fields[] = {
		{ "Code", e->code, sizeof(e->code) },
		{ "Message", e->message, sizeof(e->message) },
		{ "Region", e->region, sizeof(e->region) },
		{ "Endpoint", e->endpoint, sizeof(e->endpoint) },
		{ "Key", e->key, sizeof(e->key) },
		{ "ServerTime", e->server_time, sizeof(e->server_time) },
	};

	for (size_t i = 0; i < CL_ARRAY_LEN(fields); i++)
		if (strcmp(name, fields[i].name) == 0)
			s3_xml_printable(text, len, fields[i].to, fields[i].size);
}

/* S3: <Error><Code>…; STS: <ErrorResponse><Error><Code>…. */
static int error_end(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len)
{
	if (depth == 0)
		return strcmp(name, "Error") == 0 || strcmp(name, "ErrorResponse") == 0 ? 0 : ERR_CORRUPT;
	if (strcmp(w->names[depth - 1], "Error") == 0)
		take_error_field(user, name, text, len);
	return 0;
}

int s3_xml_error(const void *data, size_t len, struct s3_xml_error *ret)
{
	struct s3_xml_error e = { .code = "" };
	struct s3_xml_walk w = { .end = error_end, .user = &e };
	int rc = s3_xml_walk(data, len, &w);

	if (rc == 0)
		*ret = e;
	return rc;
}

/* --- lists --- */

struct list {
	struct s3_xml_list l;
	size_t cap;
	bool url_encoded, truncated_seen;
	char *key;
	uint64_t size;
	int64_t mtime_s;
	char etag[STORE_ETAG_MAX];
};

static int add_entry(struct list *x)
{
	struct store_entry *e;

	if (!x->key || !*x->key)
		return ERR_CORRUPT;
	if (x->l.count == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 64;

		e = reallocarray(x->l.entries, cap, sizeof(*e));
		if (!e)
			return -ENOMEM;
		x->l.entries = e;
		x->cap = cap;
	}
	e = &x->l.entries[x->l.count++];
	*e = (struct store_entry){ .key = x->key, .size_bytes = x->size, .mtime_s = x->mtime_s };
	memcpy(e->etag, x->etag, sizeof(e->etag));
	x->key = NULL;
	x->size = 0;
	x->mtime_s = 0;
	x->etag[0] = '\0';
	return 0;
}

static int take_text(char **to, const char *text, size_t len)
{
	if (*to || memchr(text, '\0', len))
		return ERR_CORRUPT;
	*to = strndup(text, len);
	return *to ? 0 : -ENOMEM;
}

static int entry_field(struct list *x, const char *name, char *text, size_t len)
{
	if (strcmp(name, "Key") == 0 || strcmp(name, "Prefix") == 0)
		return take_text(&x->key, text, len);
	if (strcmp(name, "Size") == 0)
		return s3_text_u64(text, &x->size) ? 0 : ERR_CORRUPT;
	if (strcmp(name, "LastModified") == 0) {
		x->mtime_s = s3_text_iso_time(text);
		return x->mtime_s < 0 ? ERR_CORRUPT : 0;
	}
	if (strcmp(name, "ETag") == 0) {
		while (len && text[len - 1] == '"')
			len--;
		for (; len && *text == '"'; text++)
			len--;
		if (len >= sizeof(x->etag))
			return ERR_CORRUPT;
		memcpy(x->etag, text, len);
		x->etag[len] = '\0';
	}
	return 0;
}

static int list_end(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len)
{
	struct list *x = user;

	if (depth == 0)
		return strcmp(name, "ListBucketResult") == 0 ? 0 : ERR_CORRUPT;
	if (depth == 1) {
		if (strcmp(name, "Contents") == 0 || strcmp(name, "CommonPrefixes") == 0)
			return add_entry(x);
		if (strcmp(name, "EncodingType") == 0)
			x->url_encoded = strcmp(text, "url") == 0;
		if (strcmp(name, "NextContinuationToken") == 0)
			return take_text(&x->l.token, text, len);
		if (strcmp(name, "IsTruncated") == 0)
			return s3_text_bool(text, &x->l.truncated) ? (x->truncated_seen = true, 0) : ERR_CORRUPT;
		return 0;
	}
	if (depth == 2 && strcmp(w->names[1], "Contents") == 0)
		return strcmp(name, "Prefix") == 0 ? 0 : entry_field(x, name, text, len);
	if (depth == 2 && strcmp(w->names[1], "CommonPrefixes") == 0 && strcmp(name, "Prefix") == 0)
		return entry_field(x, name, text, len);
	return 0;
}

/* EncodingType may stand behind the keys, so they are decoded at the end. */
static int decode_keys(struct list *x)
{
	for (size_t i = 0; x->url_encoded && i < x->l.count; i++) {
		char *key = x->l.entries[i].key;
		ptrdiff_t n = s3_text_decode(key, strlen(key));

		if (n < 0)
			return ERR_CORRUPT;
		key[n] = '\0';
	}
	return 0;
}

int s3_xml_list(const void *data, size_t len, struct s3_xml_list *ret)
{
	struct list x = { .cap = 0 };
	struct s3_xml_walk w = { .end = list_end, .user = &x };
	int rc = s3_xml_walk(data, len, &w);

	if (rc == 0)
		rc = decode_keys(&x);
	if (rc == 0 && (x.key || !x.truncated_seen))
		rc = ERR_CORRUPT;
	free(x.key);
	if (rc != 0)
		s3_xml_list_free(&x.l);
	else
		*ret = x.l;
	return rc;
}

void s3_xml_list_free(struct s3_xml_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->entries[i].key);
	free(l->entries);
	free(l->token);
	*l = (struct s3_xml_list){ .entries = NULL };
}

/* --- the rest --- */

struct deleted {
	struct s3_xml_error first, now;
	size_t failed;
};

static int delete_end(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len)
{
	struct deleted *x = user;

	if (depth == 0)
		return strcmp(name, "DeleteResult") == 0 ? 0 : ERR_CORRUPT;
	if (depth == 2 && strcmp(w->names[1], "Error") == 0)
		take_error_field(&x->now, name, text, len);
	if (depth == 1 && strcmp(name, "Error") == 0) {
		/* Some servers call a key that was not there an error; it is none. */
		if (strcmp(x->now.code, "NoSuchKey") != 0 && x->failed++ == 0)
			x->first = x->now;
		x->now = (struct s3_xml_error){ .code = "" };
	}
	return 0;
}

int s3_xml_delete(const void *data, size_t len, size_t *ret_failed, struct s3_xml_error *ret_first)
{
	struct deleted x = { .failed = 0 };
	struct s3_xml_walk w = { .end = delete_end, .user = &x };
	int rc = s3_xml_walk(data, len, &w);

	if (rc == 0) {
		*ret_failed = x.failed;
		*ret_first = x.first;
	}
	return rc;
}

struct value {
	const char *root, *name;
	char *text;
	size_t size;
	bool found;
};

static int value_end(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len)
{
	struct value *x = user;

	if (strcmp(w->names[0], x->root) != 0)
		return ERR_CORRUPT;
	if (depth == 1 && strcmp(name, x->name) == 0) {
		if (x->found || len >= x->size)
			return ERR_CORRUPT;
		memcpy(x->text, text, len + 1);
		x->found = true;
	}
	return 0;
}

int s3_xml_value(const void *data, size_t len, const char *root, const char *name, char *ret_text, size_t size)
{
	struct value x = { root, name, ret_text, size, false };
	struct s3_xml_walk w = { .end = value_end, .user = &x };
	int rc = s3_xml_walk(data, len, &w);

	return rc ? rc : x.found ? 0 : ERR_CORRUPT;
}

static int root_end(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len)
{
	(void)depth;
	(void)name;
	(void)text;
	(void)len;
	strcpy(user, w->names[0]);
	return 1; /* seen enough */
}

void s3_xml_root(const void *data, size_t len, char ret_name[static 64])
{
	struct s3_xml_walk w = { .end = root_end, .user = ret_name };

	ret_name[0] = '\0';
	(void)s3_xml_walk(data, len, &w); /* a document that does not parse leaves "" */
}

static int sts_end(void *user, const struct s3_xml_walk *w, unsigned depth, const char *name, char *text, size_t len)
{
	struct s3_xml_credentials *c = user;
	struct secret **to = strcmp(name, "AccessKeyId") == 0	  ? &c->access_key
			     : strcmp(name, "SecretAccessKey") == 0 ? &c->secret_key
			     : strcmp(name, "SessionToken") == 0    ? &c->session_token
								    : NULL;

	if (depth == 0 || strcmp(w->names[depth - 1], "Credentials") != 0)
		return 0;
	if (strcmp(name, "Expiration") == 0) {
		c->expires_s = s3_text_iso_time(text);
		return c->expires_s < 0 ? ERR_CORRUPT : 0;
	}
	if (!to)
		return 0;
	if (*to || len == 0)
		return ERR_CORRUPT;
	*to = secret_new(text, len);
	return *to ? 0 : -ENOMEM;
}

int s3_xml_sts(const void *data, size_t len, struct s3_xml_credentials *ret)
{
	struct s3_xml_credentials c = { .expires_s = 0 };
	struct s3_xml_walk w = { .end = sts_end, .user = &c };
	int rc = s3_xml_walk(data, len, &w);

	if (rc == 0 && (!c.access_key || !c.secret_key || !c.session_token || c.expires_s == 0))
		rc = ERR_CORRUPT;
	if (rc != 0) {
		secret_free(c.access_key);
		secret_free(c.secret_key);
		secret_free(c.session_token);
	} else {
		*ret = c;
	}
	return rc;
}
