/*
 * kvmap.h - a sorted in-memory map of changed keys: the newest value or the
 * tombstone of each. The delta of a cut, and of the time since a checkpoint.
 *
 * Not thread-safe: one owner at a time. Keys up to 511 bytes, values up to
 * 64 KiB + 512. Memory comes from an arena; superseded values are counted and
 * the arena is compacted when over half of it is dead.
 */
#ifndef CLONELOVE_KVMAP_H
#define CLONELOVE_KVMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVMAP_KEY_MAX 511
#define KVMAP_VALUE_MAX (65536u + 512)

struct kvmap;

int kvmap_new(struct kvmap **ret);
void kvmap_free(struct kvmap *m);
/* val NULL = tombstone. 0 or -ENOMEM (the map is unchanged). Bytes are copied. */
int kvmap_set(struct kvmap *m, const void *key, size_t klen, const void *val, size_t vlen);
size_t kvmap_count(const struct kvmap *m);
size_t kvmap_bytes(const struct kvmap *m); /* memory in use, all told */
/* Merges all of newer into m. */
int kvmap_merge(struct kvmap *m, const struct kvmap *newer);

/* Iterates in key order (memcmp, shorter first). The map must not change meanwhile. Views stay valid until it does. */
struct kvmap_iter { const struct kvmap *map; const void *at; };
void kvmap_first(const struct kvmap *m, struct kvmap_iter *it);
bool kvmap_next(struct kvmap_iter *it, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen);

#endif
