/* sums.c - three levels of sums, the upper two kept up with each change. */
#include "sums.h"

#include <errno.h>
#include <stdlib.h>

#include "buf.h"
#include "hash.h"

struct sums {
	struct sum root, node[SUM_FANOUT], leaf[SUM_LEAVES];
};

int sums_new(struct sums **ret)
{
	struct sums *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void sums_free(struct sums *s)
{
	free(s);
}

uint16_t sums_leaf(const char *path, size_t len)
{
	return (uint16_t)hash_xxh3(path, len, 0);
}

struct sum sums_hash(const char *path, size_t path_len, const void *entry, size_t entry_len)
{
	uint8_t inner[2 * HASH_BYTES], h[HASH_BYTES];

	/* Two hashes, so that no byte of the path can be taken for one of the entry. */
	hash_blake2b(path, path_len, inner);
	hash_blake2b(entry, entry_len, inner + HASH_BYTES);
	hash_blake2b(inner, sizeof inner, h);
	return (struct sum){ get_u64(h), get_u64(h + 8) };
}

static void add(struct sum *a, struct sum b)
{
	a->lo += b.lo;
	a->hi += b.hi + (a->lo < b.lo);
}

static void sub(struct sum *a, struct sum b)
{
	uint64_t borrow = a->lo < b.lo;

	a->lo -= b.lo;
	a->hi -= b.hi + borrow;
}

void sums_add(struct sums *s, uint16_t leaf, struct sum hash)
{
	add(&s->leaf[leaf], hash);
	add(&s->node[leaf / SUM_FANOUT], hash);
	add(&s->root, hash);
}

void sums_sub(struct sums *s, uint16_t leaf, struct sum hash)
{
	sub(&s->leaf[leaf], hash);
	sub(&s->node[leaf / SUM_FANOUT], hash);
	sub(&s->root, hash);
}

struct sum sums_root(const struct sums *s)
{
	return s->root;
}

struct sum sums_node(const struct sums *s, unsigned node)
{
	return s->node[node % SUM_FANOUT];
}

struct sum sums_of_leaf(const struct sums *s, uint16_t leaf)
{
	return s->leaf[leaf];
}

int sum_equal(struct sum a, struct sum b)
{
	return a.lo == b.lo && a.hi == b.hi;
}
