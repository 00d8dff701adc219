/* pathmap.c - chains in a table that doubles. */
#include "pathmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define BUCKETS_MIN 64u

struct pathmap_item *pathmap_get(const struct pathmap *m, const char *path, size_t len)
{
	uint64_t hash = hash_xxh3(path, len, 0);
	struct pathmap_item *i = m->bucket_count ? m->buckets[hash % m->bucket_count] : NULL;

	while (i && (i->hash != hash || i->len != len || memcmp(i->path, path, len) != 0))
		i = i->chain;
	return i;
}

static int grow(struct pathmap *m)
{
	size_t count = m->bucket_count ? 2 * m->bucket_count : BUCKETS_MIN;
	struct pathmap_item **b = calloc(count, sizeof(struct pathmap_item *));

	if (!b)
		return -ENOMEM;
	for (struct pathmap_item *i = m->first; i; i = i->next) {
		i->chain = b[i->hash % count];
		b[i->hash % count] = i;
	}
	free(m->buckets);
	m->buckets = b;
	m->bucket_count = count;
	return 0;
}

int pathmap_add(struct pathmap *m, const char *path, size_t len, struct pathmap_item *item)
{
	if (m->count >= m->bucket_count && grow(m))
		return -ENOMEM;
	item->path = malloc(len + 1);
	if (!item->path)
		return -ENOMEM;
	if (len)
		memcpy(item->path, path, len);
	item->path[len] = '\0';
	item->len = len;
	item->hash = hash_xxh3(path, len, 0);
	item->chain = m->buckets[item->hash % m->bucket_count];
	m->buckets[item->hash % m->bucket_count] = item;
	item->next = NULL;
	item->prev = m->last;
	if (m->last)
		m->last->next = item;
	else
		m->first = item;
	m->last = item;
	m->count++;
	return 0;
}

void pathmap_remove(struct pathmap *m, struct pathmap_item *item)
{
	struct pathmap_item **at = &m->buckets[item->hash % m->bucket_count];

	while (*at != item)
		at = &(*at)->chain;
	*at = item->chain;
	if (item->prev)
		item->prev->next = item->next;
	else
		m->first = item->next;
	if (item->next)
		item->next->prev = item->prev;
	else
		m->last = item->prev;
	free(item->path);
	item->path = NULL;
	m->count--;
}

void pathmap_free(struct pathmap *m)
{
	free(m->buckets);
	*m = (struct pathmap)PATHMAP_INIT;
}
