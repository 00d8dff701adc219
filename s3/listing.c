/* listing.c - builds the answer to a LIST. The entries are always valid: what has been added is complete. */
#include "listing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTING_FIRST 16

void listing_begin(struct listing *l, struct store_req *r)
{
	l->req = r;
	l->cap = 0;
	l->prefix_len = strlen(r->key);
	l->max = r->max_keys ? r->max_keys : STORE_LIST_MAX;
}

static int grow(struct listing *l)
{
	size_t cap = l->cap ? l->cap * 2 : LISTING_FIRST;
	struct store_entry *e = realloc(l->req->entries, cap * sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	l->req->entries = e;
	l->cap = cap;
	return 0;
}

static int append(struct listing *l, char *name, uint64_t size_bytes, int64_t mtime_s, const char *etag)
{
	struct store_entry *e;

	if (l->req->entry_count == l->cap && grow(l))
		return -ENOMEM;
	e = &l->req->entries[l->req->entry_count++];
	*e = (struct store_entry){ .key = name, .size_bytes = size_bytes, .mtime_s = mtime_s };
	snprintf(e->etag, sizeof(e->etag), "%s", etag != NULL ? etag : "");
	return 0;
}

/* The length of what stands for `key` in the listing: up to its common prefix's '/', or all of it. */
static size_t rolled_length(const struct listing *l, const char *key)
{
	const char *slash = l->req->delimiter != NULL ? strchr(key + l->prefix_len, '/') : NULL;

	return slash != NULL ? (size_t)(slash - key) + 1 : strlen(key);
}

int listing_offer(struct listing *l, const char *key, uint64_t size_bytes, int64_t mtime_s, const char *etag)
{
	struct store_req *r = l->req;
	char *name;
	bool is_prefix;
	int rc;

	if (strncmp(key, r->key, l->prefix_len) != 0)
		return 0;
	name = strndup(key, rolled_length(l, key));
	if (name == NULL)
		return -ENOMEM;
	is_prefix = name[strlen(name) - 1] == '/';
	if ((r->start_after != NULL && strcmp(name, r->start_after) <= 0) ||
	    (is_prefix && r->entry_count > 0 && strcmp(name, r->entries[r->entry_count - 1].key) == 0)) {
		free(name);
		return 0;
	}
	if (r->entry_count == l->max) {
		free(name);
		r->truncated = true;
		return LISTING_FULL;
	}
	rc = is_prefix ? append(l, name, 0, 0, NULL) : append(l, name, size_bytes, mtime_s, etag);
	if (rc)
		free(name);
	return rc;
}
