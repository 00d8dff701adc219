/*
 * listing.h - builds the answer to a LIST from keys offered in byte order: prefix, start_after, delimiter, max_keys. Shared by
 * the backends that walk their keys themselves.
 *
 * A common prefix stands in the order, and against start_after, as the string it is: "a/" is listed if it is greater than
 * start_after, so that a listing goes on after its last entry whatever that was.
 */
#ifndef CLONELOVE_LISTING_H
#define CLONELOVE_LISTING_H

#include "store.h"

struct listing {
	struct store_req *req;
	size_t cap;
	size_t prefix_len;
	unsigned max;
};

void listing_begin(struct listing *l, struct store_req *r);

/*
 * Offers a key, in order. Returns 0, LISTING_FULL (the page is full and this key would have been on the next: stop), or
 * -ENOMEM. etag may be NULL.
 */
#define LISTING_FULL 1
int listing_offer(struct listing *l, const char *key, uint64_t size_bytes, int64_t mtime_s, const char *etag);

#endif
