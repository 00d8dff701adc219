/*
 * members.h - who belongs to the cluster: a set of node keys, the same everywhere in the end (DESIGN.md, "Members").
 *
 * One record for each key that was ever met. A node writes its own (name, address) and nobody else's; anybody may forget a key, and that is for good. Two
 * records of one key merge to the later in a total order: forgotten before member, then the stamp, then name and address as bytes. So sets that were merged in
 * any order, any number of times, are the same.
 *
 * Bounded: MEMBERS_MAX records. Beyond them those go that were forgotten the longest ago. MEMBERS_LIVE_MAX live ones, more are not merged in: far more than
 * may come up (MEMBERS_ADMIT_MAX), so that sets that grew apart still become one.
 *
 * No thread of its own, not thread-safe. 0 or a negative error.
 */
#ifndef CLONELOVE_MEMBERS_H
#define CLONELOVE_MEMBERS_H

#include "frame.h"

#define MEMBERS_MAX 1024u
#define MEMBERS_LIVE_MAX 256u
#define MEMBERS_ADMIT_MAX 64u      /* this one among them */
#define MEMBERS_STAMP_MAX (1ull << 62)

struct member {
	uint8_t node[FRAME_NODE_BYTES];
	bool forgotten;
	uint64_t stamp;                /* µs of its writer's clock, later than what it replaced */
	char name[FRAME_NAME_MAX + 1], address[FRAME_NAME_MAX + 1]; /* HOST:PORT; empty: it cannot be called */
};

struct members { struct member *all; size_t count, cap; }; /* sorted by key */

#define MEMBERS_INIT { NULL, 0, 0 }

void members_free(struct members *s);
const struct member *members_get(const struct members *s, const uint8_t *node); /* NULL */
size_t members_live(const struct members *s);
/* The order in which records of one key merge: <0, 0, >0. */
int members_order(const struct member *a, const struct member *b);
int members_copy(const struct members *from, struct members *to); /* `to` is empty. -ENOMEM */
/* *ret_changed: the set is another now. What the bounds leave out changes nothing. -ENOMEM. */
int members_merge(struct members *s, const struct member *m, bool *ret_changed);

/* u16 count and the records as in a MEMBERS frame. */
void members_encode(const struct members *s, struct buf *out);
/* Merges a list in, of hostile bytes, to the cursor's end. ERR_CORRUPT: some of it may have been merged. */
int members_decode(struct cursor *c, struct members *s, bool *ret_changed);

#endif
