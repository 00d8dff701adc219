/*
 * hook.h - a volume between a store that is asked before each request and a disk that fails when told: for histories that need an
 * exact order of events. The functions assert (cmocka).
 */
#ifndef CLONELOVE_TEST_HOOK_H
#define CLONELOVE_TEST_HOOK_H

#include <stdatomic.h>

#include "fault_disk.h"
#include "vol.h"

struct world { struct store *mem; char base[64]; };

#define HOOK_ANSWERED 1 /* by before() itself */

/* A store with a say before each request: before() may block, or returns what the request fails with (0 = it goes through). */
struct hook {
	struct store s;
	struct store *below;
	int (*before)(struct hook *h, struct store_req *r);
	struct world *w;
	atomic_int stage;
	atomic_bool away;
	const char *pattern; /* part of the keys whose PUT fails while away */
	void *user;
};

void hook_init(struct hook *h, struct world *w, int (*before)(struct hook *h, struct store_req *r));
/* For before: while away, PUTs of keys with pattern, or of cuts (opening records and seals go through), fail. */
int hook_away_puts(struct hook *h, struct store_req *r);
int hook_away_cuts(struct hook *h, struct store_req *r);

/* A fresh volume in memory and a directory for caches. */
int world_setup(void **state);
int world_teardown(void **state);
int world_open(struct vol *t, struct world *w, struct store *s, const char *dir, const struct volume_options *o);
void world_must_open(struct vol *t, struct world *w, struct store *s, const char *dir, const struct volume_options *o);

void file_fill(uint8_t *p, size_t n, unsigned seed);
void file_put(struct vol *t, const char *name, size_t len, unsigned seed);
void file_check(struct vol *t, const char *name, size_t len, unsigned seed);
struct volume_status vol_status(struct vol *t);
/* A cut without waiting for it: the wait object, to be waited for and freed. */
struct vol_wait *vol_start_sync(struct vol *t);

/* A volume on a disk that fails when told. env: as in the options, or NULL for the system's. */
struct faulty { struct vol t; struct disk *fault; };
void faulty_open(struct faulty *f, struct world *w, struct store *s, const char *dir, const struct volume_options *o);
void faulty_close(struct faulty *f);

#endif
