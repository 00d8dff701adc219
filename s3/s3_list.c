/*
 * s3_list.c - ListObjectsV2. One page per operation, begun by start-after so
 * that no state outlives it; with a delimiter a page may hold nothing but the
 * common prefix that start_after already named, and then the next page is
 * fetched by token.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "s3_impl.h"
#include "s3_text.h"
#include "s3_xml.h"

struct listing_state {
	struct s3_xml_list page; /* the last one parsed */
};

static void parameter(struct buf *b, const char *name, const char *prefix, const char *value)
{
	s3_text_addf(b, "%s%s=", b->len ? "&" : "", name);
	s3_text_encode(b, prefix, strlen(prefix), false);
	s3_text_encode(b, value, strlen(value), false);
}

/* In the order SigV4 sorts names. */
static char *make_query(const struct s3_op *op, const char *token)
{
	const struct store_req *r = op->r;
	const char *prefix = op->s->cfg.prefix;
	struct buf b = BUF_INIT;

	if (token)
		parameter(&b, "continuation-token", "", token);
	if (r->delimiter)
		parameter(&b, "delimiter", "", r->delimiter);
	parameter(&b, "encoding-type", "", "url");
	parameter(&b, "list-type", "", "2");
	s3_text_addf(&b, "&max-keys=%u", r->max_keys ? r->max_keys : STORE_LIST_MAX);
	parameter(&b, "prefix", prefix, r->key);
	if (r->start_after && *r->start_after)
		parameter(&b, "start-after", prefix, r->start_after);
	return s3_text_take(&b);
}

static int accept_page(struct s3_request *q, struct s3_answer *a)
{
	struct s3_op *op = q->user;
	struct listing_state *st = op->more;

	s3_xml_list_free(&st->page);
	return s3_xml_list(a->data, a->len, &st->page);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct store_entry *)a)->key, ((const struct store_entry *)b)->key);
}

/*
 * Keys and common prefixes, each as they came, ascend. A page that is cut off and does not cannot be continued from its last
 * key: what lies between would be lost.
 */
static bool in_order(const struct s3_op *op, const struct s3_xml_list *page)
{
	const char *last[2] = { NULL, NULL };

	for (size_t i = 0; i < page->count; i++) {
		const char *key = page->entries[i].key;
		bool rolled = op->r->delimiter && *key && key[strlen(key) - 1] == '/';

		if (last[rolled] && strcmp(last[rolled], key) >= 0)
			return false;
		last[rolled] = key;
	}
	return true;
}

/* Strips the store's prefix, drops what start_after covers, sorts, and hands the entries to the request. */
static int take_page(struct s3_op *op, struct s3_xml_list *page)
{
	struct store_req *r = op->r;
	const char *prefix = op->s->cfg.prefix;
	size_t prefix_len = strlen(prefix), n = 0;

	if (page->truncated && !in_order(op, page))
		return ERR_UNSUPPORTED;
	for (size_t i = 0; i < page->count; i++) {
		struct store_entry e = page->entries[i];
		const char *key = e.key + prefix_len;

		if (strncmp(e.key, prefix, prefix_len) != 0 || strncmp(key, r->key, strlen(r->key)) != 0)
			return ERR_CORRUPT; /* not what was asked for */
		if (!*key || (r->start_after && strcmp(key, r->start_after) <= 0)) {
			free(e.key);
		} else {
			memmove(e.key, key, strlen(key) + 1);
			page->entries[n++] = e;
		}
		page->entries[i].key = i >= n ? NULL : page->entries[i].key;
	}
	page->count = n;
	if (n > 1)
		qsort(page->entries, n, sizeof(*page->entries), by_key);
	for (size_t i = 1; i < n; i++)
		if (strcmp(page->entries[i - 1].key, page->entries[i].key) == 0)
			return ERR_CORRUPT;
	r->entries = page->entries;
	r->entry_count = n;
	r->truncated = page->truncated;
	page->entries = NULL;
	page->count = 0;
	return 0;
}

static void page_done(struct s3_request *q)
{
	struct s3_op *op = q->user;
	struct listing_state *st = op->more;
	int rc;

	op->received += q->answer.len;
	if (q->result != 0) {
		if (q->result == -ENOENT)
			q->result = ERR_NO_BUCKET;
		s3_op_done(q);
		return;
	}
	rc = take_page(op, &st->page);
	if (rc == 0 && op->r->entry_count == 0 && op->r->truncated) {
		char *query = st->page.token ? make_query(op, st->page.token) : NULL;

		free(op->r->entries);
		op->r->entries = NULL;
		if (query) {
			free(q->query);
			q->query = query;
			free(q->answer.data);
			q->answer = (struct s3_answer){ .data = NULL };
			q->tries = q->sent = 0;
			s3_io_add(q);
			return;
		}
		rc = st->page.token ? -ENOMEM : ERR_CORRUPT;
	}
	if (rc != 0)
		s3_op_end(op, rc, false, rc == ERR_CORRUPT ? "the server's listing makes no sense"
					 : rc == ERR_UNSUPPORTED ? "the server does not list keys in order" : "out of memory");
	else
		s3_op_done(q);
}

static void list_finish(struct s3_op *op)
{
	struct listing_state *st = op->more;

	if (st)
		s3_xml_list_free(&st->page);
	free(st);
}

void s3_list_start(struct s3_op *op)
{
	struct s3_request *q = &op->q;

	s3_request_init(q, op, "GET", "LIST");
	op->more = calloc(1, sizeof(struct listing_state));
	op->finish = list_finish;
	q->done = page_done;
	q->accept = accept_page;
	q->path = strdup("");
	q->query = make_query(op, NULL);
	if (!op->more || !q->path || !q->query)
		s3_op_end(op, -ENOMEM, false, "out of memory");
	else
		s3_io_add(q);
}
