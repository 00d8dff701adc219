/* fetch_peer.c - by how long its requests took, and how many it has. */
#include "fetch_peer.h"

#include "node_impl.h"

#define GET_NS 1000000ull /* what one takes of a peer that has not answered any */
#define SLOTS 64u

uint64_t fetch_peer_bit(unsigned slot)
{
	return 1ull << (slot % SLOTS);
}

static uint64_t answer_in(const struct node_peer *p)
{
	return (p->gets + 1) * (p->get_ns ? p->get_ns : p->gets ? GET_NS : 0);
}

static bool may_have(const struct node_peer *p, uint64_t gone)
{
	return !p->down && !(gone & fetch_peer_bit(p->slot));
}

struct node_peer *fetch_peer_next(struct node_peer *peers, uint64_t gone, unsigned *turn)
{
	struct node_peer *best = NULL;
	unsigned count = 0, at = 0, first, best_at = 0;

	for (struct node_peer *p = peers; p; p = p->next)
		count += may_have(p, gone);
	if (!count)
		return NULL;
	first = (*turn)++ % count;
	for (struct node_peer *p = peers; p; p = p->next) {
		unsigned behind; /* the turn's, round and round */

		if (!may_have(p, gone))
			continue;
		behind = (at++ + count - first) % count;
		if (!best || answer_in(p) < answer_in(best) || (answer_in(p) == answer_in(best) && behind < best_at)) {
			best = p;
			best_at = behind;
		}
	}
	return best;
}

void fetch_peer_answered(struct node_peer *p, uint64_t took_ns)
{
	p->get_ns = p->get_ns ? (7 * p->get_ns + took_ns) / 8 + 1 : took_ns;
}
