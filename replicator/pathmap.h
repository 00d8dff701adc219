/*
 * pathmap.h - things by path: a hash table that keeps the order in which they came.
 *
 * An item is embedded in the owner's struct and freed by the owner; the map copies the path. Not thread-safe.
 */
#ifndef CLONELOVE_PATHMAP_H
#define CLONELOVE_PATHMAP_H

#include <stddef.h>
#include <stdint.h>

struct pathmap_item {
	struct pathmap_item *chain, *prev, *next; /* next: in the order of arrival */
	uint64_t hash;
	size_t len;
	char *path;                               /* NUL-terminated */
};

struct pathmap {
	struct pathmap_item **buckets, *first, *last;
	size_t bucket_count, count;
};

#define PATHMAP_INIT { NULL, NULL, NULL, 0, 0 }

struct pathmap_item *pathmap_get(const struct pathmap *m, const char *path, size_t len); /* NULL */
/* Nothing is there under this path yet. 0 or -ENOMEM. */
int pathmap_add(struct pathmap *m, const char *path, size_t len, struct pathmap_item *item);
void pathmap_remove(struct pathmap *m, struct pathmap_item *item); /* the item is the owner's to free */
void pathmap_free(struct pathmap *m);                              /* it is empty */

#endif
