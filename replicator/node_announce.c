/* node_announce.c - contents that came with their announcement, until they are applied. */
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

static void free_announced(struct node *n, struct announced *a)
{
	pathmap_remove(&n->announced, &a->at);
	n->announced_bytes -= a->len;
	free(a);
}

/* Makes room: what was announced long ago belongs to a version that another has followed, or is had in another way. */
static void drop_old(struct node *n)
{
	uint64_t now = node_now(n);

	while (n->announced.first && now - ((struct announced *)(void *)n->announced.first)->since_ns >= NODE_INLINE_KEEP_NS)
		free_announced(n, (struct announced *)(void *)n->announced.first);
}

void node_announce(struct node *n, const uint8_t *hash, const uint8_t *bytes, uint32_t len)
{
	struct announced *a;
	uint8_t list[HASH_BYTES], h[HASH_BYTES];

	if (len > n->o.inline_most - n->announced_bytes)
		drop_old(n);
	if (len > n->o.inline_most - n->announced_bytes)
		return;
	hash_blake2b(bytes, len, list);
	hash_blake2b(list, len ? HASH_BYTES : 0, h);
	if (memcmp(h, hash, HASH_BYTES) != 0)
		return;
	a = malloc(sizeof *a + len);
	if (!a || pathmap_add(&n->announced, (const char *)hash, HASH_BYTES, &a->at)) {
		free(a);
		return;
	}
	a->since_ns = node_now(n);
	a->len = len;
	memcpy(a->bytes, bytes, len);
	n->announced_bytes += len;
}

bool node_full(struct node *n)
{
	size_t half = n->o.inline_most / 2;

	/* A look counts too, they take turns. What was told in this turn is merged at its end, and then something is started: with nothing under way one frame is taken in each turn. */
	if ((!n->tree_job && !n->told_bytes) || n->announced_bytes + n->told_bytes < half)
		return false;
	drop_old(n);
	return n->announced_bytes + n->told_bytes >= half;
}

struct announced *node_announced_take(struct node *n, const struct entry *e)
{
	struct announced *a = (struct announced *)(void *)pathmap_get(&n->announced, (const char *)e->hash, HASH_BYTES);

	if (!a || a->len != e->size)
		return NULL;
	pathmap_remove(&n->announced, &a->at);
	n->announced_bytes -= a->len;
	return a;
}

void node_announced_free(struct node *n)
{
	while (n->announced.first)
		free_announced(n, (struct announced *)(void *)n->announced.first);
	pathmap_free(&n->announced);
}
