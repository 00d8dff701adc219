/* layer.c - what layers that stack on another store share. Stateless. */
#include "layer.h"

#include <string.h>

void layer_ask(struct store_req *to, const struct store_req *from)
{
	*to = *from;
	to->data = NULL;
	to->entries = NULL;
	to->entry_count = 0;
	store_req_reset(to);
	to->done = NULL;
	to->user = NULL;
}

void layer_answer(struct store_req *to, struct store_req *from)
{
	to->result = from->result;
	to->ambiguous = from->ambiguous;
	memcpy(to->detail, from->detail, sizeof(to->detail));
	to->data = from->data;
	to->data_len = from->data_len;
	to->object_size = from->object_size;
	memcpy(to->etag, from->etag, sizeof(to->etag));
	to->mtime_s = from->mtime_s;
	to->server_time_s = from->server_time_s;
	to->entries = from->entries;
	to->entry_count = from->entry_count;
	to->truncated = from->truncated;
	/* They are the other's now. */
	from->data = NULL;
	from->entries = NULL;
	from->entry_count = 0;
}

void layer_counters(struct store *below, struct counters *own, struct store_counters *ret)
{
	struct store_counters seen;

	below->counters(below, ret);
	counters_read(own, &seen);
	memcpy(ret->failures, seen.failures, sizeof(ret->failures));
	memcpy(ret->latency, seen.latency, sizeof(ret->latency));
}
