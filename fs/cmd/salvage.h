/*
 * salvage.h - local log segments that were never (or not certainly) sent, read
 * back: for clonefs salvage.
 */
#ifndef CLONELOVE_SALVAGE_H
#define CLONELOVE_SALVAGE_H

#include "segment.h"
#include "value.h"

struct salvage_segment {
	struct segment *s;
	bool moved;          /* it was in salvage/: fenced, certainly not part of the volume */
	uint64_t first_lsn, last_lsn, records, written_bytes;
	uint64_t missing;    /* operations before or between those that are damaged */
	uint64_t from_ns, to_ns;
};

struct salvage {
	struct disk *disk, *moved;        /* the cache directory (NULL: a mount holds it) and its salvage/ (NULL: none) */
	struct salvage_segment *segments; /* by first LSN */
	size_t count, unreadable;         /* unreadable: files in salvage/ whose header is damaged: nothing can be got out of them */
	uint64_t after_lsn;               /* records up to here are in the store: left out */
};

/* Opens CACHE_DIR, reads every local log segment in it and in salvage/. Changes nothing. */
int salvage_open(const char *cache_dir, struct salvage *ret);
void salvage_close(struct salvage *s);
/* Calls each() for every record above after_lsn, in order of LSN; non-zero ends it and is returned. */
int salvage_walk(struct salvage *s, int (*each)(void *user, const struct salvage_segment *g, struct record *r), void *user);
/* Writes the data as files, inode-<number>, and manifest.json into dir (made; must be empty). Counts what it wrote. */
struct salvage_counts { uint64_t files, bytes, elsewhere_bytes, operations; };
int salvage_extract(struct salvage *s, const char *dir, struct salvage_counts *ret);

/* One change as JSON ({"put":"name","dir":..,"name":..,"inode":..}); the caller owns it. */
struct json_object;
struct json_object *salvage_change_json(const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen);

#endif
