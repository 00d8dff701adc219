/*
 * kvmap.c - a B+-tree of entries in an arena, that only grows: a deleted key stays, as a tombstone.
 *
 * Nodes are NODE_BYTES long and aligned to that, so that an iterator needs no more than the address of a slot. A slot
 * holds the first 16 bytes of its key as two numbers that compare as the bytes do; the key itself is looked at only
 * when those are equal, which for the volume's keys means that the keys are. A leaf's slots point to entries; an
 * inner node's slots to nodes, each with the smallest key of what is below it (the first slot of a node stands for
 * everything smaller, too).
 *
 * Invariants: slots ascend strictly; every leaf but an empty map's holds a slot; leaves are chained in order; all
 * leaves have the same depth. A full node is split on the way down, before anything is changed, so that running out
 * of memory leaves the same map behind. A new value goes over the old one where it fits; the room it does not use is
 * dead, as is an entry that was moved.
 */
#include "kvmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define NODE_BYTES 2048u
#define NODE_SLOTS 84u
#define DEPTH_MAX 12          /* 42^12 keys */
#define SLAB_FIRST 4u         /* nodes */
#define SLAB_MAX 256u
#define CHUNK_FIRST (16u << 10)
#define CHUNK_MAX (1u << 20)
#define COMPACT_MIN (256u << 10) /* arenas below this are not worth it */
#define TOMBSTONE UINT32_MAX

struct entry {
	uint32_t vlen; /* TOMBSTONE, or bytes of value */
	uint32_t vcap; /* bytes there are for it */
	uint16_t klen;
	uint8_t bytes[]; /* key, value */
};

struct head { uint64_t h0, h1; };

struct slot {
	struct head head;
	union { struct entry *entry; struct node *child; } to;
};

struct node {
	struct node *next; /* leaves: the one after */
	uint32_t count;
	uint32_t inner;
	struct slot slots[NODE_SLOTS];
};
_Static_assert(sizeof(struct node) <= NODE_BYTES, "a node fits its place");

struct slab { struct slab *next; uint8_t *nodes; size_t count, used; };
struct chunk { struct chunk *next; size_t cap, used; uint8_t bytes[]; };

struct kvmap {
	struct node *root, *leftmost;
	unsigned depth; /* inner levels above the leaves */
	size_t count;
	struct slab *slabs;
	struct chunk *chunks;
	size_t chunk_bytes;         /* of all chunks, headers included */
	size_t slab_bytes;
	size_t used, dead;          /* bytes of the arena handed out, and of those the ones nobody needs */
};

/* --- memory --- */

static struct node *node_new(struct kvmap *m, bool inner)
{
	struct slab *s = m->slabs;
	struct node *n;

	if (!s || s->used == s->count) {
		size_t count = s ? (s->count < SLAB_MAX ? s->count * 2 : SLAB_MAX) : SLAB_FIRST;

		s = malloc(sizeof(*s));
		if (!s)
			return NULL;
		s->nodes = aligned_alloc(NODE_BYTES, count * NODE_BYTES);
		if (!s->nodes) {
			free(s);
			return NULL;
		}
		s->count = count;
		s->used = 0;
		s->next = m->slabs;
		m->slabs = s;
		m->slab_bytes += sizeof(*s) + count * NODE_BYTES;
	}
	n = (struct node *)(void *)(s->nodes + s->used++ * NODE_BYTES);
	n->next = NULL;
	n->count = 0;
	n->inner = inner;
	return n;
}

static size_t entry_bytes(size_t klen, size_t vcap)
{
	return (sizeof(struct entry) + klen + vcap + 7) & ~(size_t)7;
}

static void chunks_free(struct chunk *c)
{
	while (c) {
		struct chunk *next = c->next;

		free(c);
		c = next;
	}
}

static struct entry *entry_new(struct kvmap *m, const void *key, size_t klen, size_t vcap)
{
	size_t bytes = entry_bytes(klen, vcap);
	struct chunk *c = m->chunks;
	struct entry *e;

	if (!c || c->cap - c->used < bytes) {
		size_t cap = c ? (c->cap < CHUNK_MAX / 2 ? c->cap * 2 : CHUNK_MAX) : CHUNK_FIRST;

		while (cap < bytes)
			cap *= 2;
		c = malloc(sizeof(*c) + cap);
		if (!c)
			return NULL;
		c->cap = cap;
		c->used = 0;
		c->next = m->chunks;
		m->chunks = c;
		m->chunk_bytes += sizeof(*c) + cap;
	}
	e = (struct entry *)(void *)(c->bytes + c->used);
	c->used += bytes;
	m->used += bytes;
	e->klen = (uint16_t)klen;
	e->vcap = (uint32_t)vcap;
	memcpy(e->bytes, key, klen);
	return e;
}

int kvmap_new(struct kvmap **ret)
{
	struct kvmap *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->root = m->leftmost = node_new(m, false);
	if (!m->root) {
		free(m);
		return -ENOMEM;
	}
	*ret = m;
	return 0;
}

void kvmap_free(struct kvmap *m)
{
	if (!m)
		return;
	chunks_free(m->chunks);
	while (m->slabs) {
		struct slab *s = m->slabs;

		m->slabs = s->next;
		free(s->nodes);
		free(s);
	}
	free(m);
}

size_t kvmap_count(const struct kvmap *m)
{
	return m->count;
}

size_t kvmap_bytes(const struct kvmap *m)
{
	return sizeof(*m) + m->chunk_bytes + m->slab_bytes;
}

/* --- order --- */

static struct head head_of(const void *key, size_t klen)
{
	uint8_t pad[16] = { 0 };
	const uint8_t *p = key;
	struct head h;

	if (klen < sizeof(pad)) {
		memcpy(pad, p, klen);
		p = pad;
	}
	h.h0 = get_be64(p);
	h.h1 = get_be64(p + 8);
	return h;
}

static int key_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int d = memcmp(a, b, alen < blen ? alen : blen);

	if (d)
		return d;
	return (alen > blen) - (alen < blen);
}

/* The smallest entry below a slot. */
static const struct entry *slot_entry(const struct slot *s, unsigned levels)
{
	while (levels-- > 0)
		s = &s->to.child->slots[0];
	return s->to.entry;
}

/* A key against a slot's, `levels` above the entries: < 0, 0, > 0. */
static int slot_cmp(struct head h, const uint8_t *key, size_t klen, const struct slot *s, unsigned levels)
{
	const struct entry *e;

	if (h.h0 != s->head.h0)
		return h.h0 < s->head.h0 ? -1 : 1;
	if (h.h1 != s->head.h1)
		return h.h1 < s->head.h1 ? -1 : 1;
	e = slot_entry(s, levels);
	return key_cmp(key, klen, e->bytes, e->klen);
}

/* How many of n's slots are <= key; *ret_equal: the last of those is the key itself. */
static uint32_t node_find(const struct node *n, struct head h, const uint8_t *key, size_t klen, unsigned levels, bool *ret_equal)
{
	uint32_t lo = 0, hi = n->count;

	*ret_equal = false;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		int d = slot_cmp(h, key, klen, &n->slots[mid], levels);

		if (d < 0) {
			hi = mid;
		} else {
			lo = mid + 1;
			if (d == 0) {
				*ret_equal = true;
				return lo;
			}
		}
	}
	return lo;
}

/* --- change --- */

static void slot_insert(struct node *n, uint32_t at, struct slot s)
{
	memmove(&n->slots[at + 1], &n->slots[at], (n->count - at) * sizeof(s));
	n->slots[at] = s;
	n->count++;
}

/*
 * Splits the full child at `at` of the parent, which has room. Keys that arrive in order leave full nodes behind:
 * the last node of a level gives only its last slot away.
 */
static int node_split(struct kvmap *m, struct node *parent, uint32_t at, bool rightmost)
{
	struct node *left = parent->slots[at].to.child, *right = node_new(m, left->inner);
	uint32_t keep = rightmost ? NODE_SLOTS - 1 : NODE_SLOTS / 2;
	struct slot s;

	if (!right)
		return -ENOMEM;
	right->count = left->count - keep;
	memcpy(right->slots, &left->slots[keep], right->count * sizeof(s));
	left->count = keep;
	right->next = left->next;
	left->next = right;
	s.head = right->slots[0].head;
	s.to.child = right;
	slot_insert(parent, at + 1, s);
	return 0;
}

static int root_split(struct kvmap *m)
{
	struct node *old = m->root, *root;
	int rc;

	if (m->depth >= DEPTH_MAX)
		return -ENOMEM;
	root = node_new(m, true);
	if (!root)
		return -ENOMEM;
	root->slots[0].head = old->slots[0].head;
	root->slots[0].to.child = old;
	root->count = 1;
	rc = node_split(m, root, 0, true);
	if (rc)
		return rc; /* the new root's memory stays in its slab until the map goes */
	m->root = root;
	m->depth++;
	return 0;
}

/* The leaf for a key, with room for one more slot, and where in it. *ret_at: slots <= key. */
static int leaf_for(struct kvmap *m, struct head h, const uint8_t *key, size_t klen, struct node **ret, uint32_t *ret_at, bool *ret_equal)
{
	struct node *n;
	bool equal, rightmost = true;

	if (m->root->count == NODE_SLOTS) {
		int rc = root_split(m);

		if (rc)
			return rc;
	}
	n = m->root;
	for (unsigned level = m->depth; level > 0; level--) {
		uint32_t at = node_find(n, h, key, klen, level, &equal);

		at -= at > 0;
		if (n->slots[at].to.child->count == NODE_SLOTS) {
			int rc = node_split(m, n, at, rightmost && at + 1 == n->count);

			if (rc)
				return rc;
			if (slot_cmp(h, key, klen, &n->slots[at + 1], level) >= 0)
				at++;
		}
		rightmost = rightmost && at + 1 == n->count;
		n = n->slots[at].to.child;
	}
	*ret = n;
	*ret_at = node_find(n, h, key, klen, 0, ret_equal);
	return 0;
}

static size_t entry_live(const struct entry *e)
{
	return e->vlen == TOMBSTONE ? 0 : e->vlen;
}

static void entry_fill(struct entry *e, const void *val, size_t vlen)
{
	e->vlen = val ? (uint32_t)vlen : TOMBSTONE;
	if (val && vlen)
		memcpy(e->bytes + e->klen, val, vlen);
}

/* Copies all that lives into fresh chunks. Without the memory for that the map stays as it is, larger than it need be. */
static void compact(struct kvmap *m)
{
	struct chunk *old = m->chunks;
	size_t old_bytes = m->chunk_bytes, old_used = m->used;
	struct node *n;

	/* First all of the room, as one chunk: nothing may fail half way. */
	m->chunks = NULL;
	m->chunk_bytes = 0;
	n = m->leftmost;
	size_t need = 0;
	for (; n; n = n->next)
		for (uint32_t i = 0; i < n->count; i++)
			need += entry_bytes(n->slots[i].to.entry->klen, entry_live(n->slots[i].to.entry));
	struct chunk *c = malloc(sizeof(*c) + need + CHUNK_FIRST);
	if (!c) {
		m->chunks = old;
		m->chunk_bytes = old_bytes;
		m->used = old_used;
		return;
	}
	c->next = NULL;
	c->cap = need + CHUNK_FIRST;
	c->used = 0;
	m->chunks = c;
	m->chunk_bytes = sizeof(*c) + c->cap;
	m->used = m->dead = 0;
	for (n = m->leftmost; n; n = n->next) {
		for (uint32_t i = 0; i < n->count; i++) {
			const struct entry *from = n->slots[i].to.entry;
			struct entry *to = entry_new(m, from->bytes, from->klen, entry_live(from));

			entry_fill(to, from->vlen == TOMBSTONE ? NULL : from->bytes + from->klen, from->vlen);
			n->slots[i].to.entry = to;
		}
	}
	chunks_free(old);
}

static int replace(struct kvmap *m, struct slot *s, const void *val, size_t vlen)
{
	struct entry *e = s->to.entry, *bigger;
	size_t now = val ? vlen : 0;

	if (now <= e->vcap) {
		m->dead += entry_live(e);
		m->dead -= now;
		entry_fill(e, val, vlen);
	} else {
		bigger = entry_new(m, e->bytes, e->klen, now);
		if (!bigger)
			return -ENOMEM;
		entry_fill(bigger, val, vlen);
		/* Of the old one, what lay unused was counted before. */
		m->dead += entry_bytes(e->klen, e->vcap) - (e->vcap - entry_live(e));
		s->to.entry = bigger;
	}
	if (m->used > COMPACT_MIN && m->dead > m->used / 2)
		compact(m);
	return 0;
}

int kvmap_set(struct kvmap *m, const void *key, size_t klen, const void *val, size_t vlen)
{
	struct node *leaf;
	struct slot s;
	uint32_t at;
	bool equal;
	int rc;

	if (klen < 1 || klen > KVMAP_KEY_MAX || (val && vlen > KVMAP_VALUE_MAX))
		return -EINVAL;
	s.head = head_of(key, klen);
	rc = leaf_for(m, s.head, key, klen, &leaf, &at, &equal);
	if (rc)
		return rc;
	if (equal)
		return replace(m, &leaf->slots[at - 1], val, vlen);
	s.to.entry = entry_new(m, key, klen, val ? vlen : 0);
	if (!s.to.entry)
		return -ENOMEM;
	entry_fill(s.to.entry, val, vlen);
	slot_insert(leaf, at, s);
	m->count++;
	return 0;
}

int kvmap_merge(struct kvmap *m, const struct kvmap *newer)
{
	struct kvmap_iter it;
	const uint8_t *key, *val;
	size_t klen, vlen;

	kvmap_first(newer, &it);
	while (kvmap_next(&it, &key, &klen, &val, &vlen)) {
		int rc = kvmap_set(m, key, klen, val, vlen);

		if (rc)
			return rc;
	}
	return 0;
}

/* --- iteration: `at` is the address of the next slot, NULL at the end --- */

void kvmap_first(const struct kvmap *m, struct kvmap_iter *it)
{
	it->map = m;
	it->at = m->leftmost->count ? &m->leftmost->slots[0] : NULL;
}

bool kvmap_next(struct kvmap_iter *it, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen)
{
	const struct slot *s = it->at;
	const struct node *n;
	const struct entry *e;

	if (!s)
		return false;
	e = s->to.entry;
	*ret_key = e->bytes;
	*ret_klen = e->klen;
	*ret_val = e->vlen == TOMBSTONE ? NULL : e->bytes + e->klen;
	*ret_vlen = entry_live(e);
	n = (const struct node *)((uintptr_t)s & ~(uintptr_t)(NODE_BYTES - 1));
	if (++s < n->slots + n->count)
		it->at = s;
	else
		it->at = n->next ? &n->next->slots[0] : NULL;
	return true;
}
