/*
 * vol.h - a volume with everything under it, for tests: real threads and disk, any store; and blocking forms of the calls that park.
 */
#ifndef CLONELOVE_TEST_VOL_H
#define CLONELOVE_TEST_VOL_H

#include "disk.h"
#include "env.h"
#include "exec.h"
#include "store.h"
#include "volume.h"

struct vol {
	struct store *store; /* borrowed */
	struct disk *disk;
	struct exec *exec;
	struct volume *v;
	char dir[256];       /* cache directory */
};

/* Options as a test wants them: node "a", local durability, 64 MiB cache. */
void vol_options(struct volume_options *o, const char *node);
/* Opens on cache directory dir (kept across opens). 0 or volume_open's error, with nothing left open. */
int vol_open(struct vol *t, struct store *s, const char *dir, const struct volume_options *o);
int vol_close(struct vol *t, bool drain);

/* A wait object and its answer. */
struct vol_wait;
struct vol_wait *vol_wait_new(void);
struct volume_wait *vol_wait_of(struct vol_wait *w);
int vol_wait(struct vol_wait *w);         /* the code resume brought; may be used again afterwards */
void vol_wait_free(struct vol_wait *w);

/* Makes `call` (which uses the wait object W) again until it is not parked. */
#define VOL_CALL(call_rc, W, call)                                        \
	do {                                                              \
		struct vol_wait *vw_ = vol_wait_new();                    \
		struct volume_wait *W = vol_wait_of(vw_);                 \
		do {                                                      \
			(call_rc) = (call);                               \
			if ((call_rc) == ERR_PARKED)                      \
				(call_rc) = vol_wait(vw_) ? vol_rc(vw_) : ERR_PARKED; \
		} while ((call_rc) == ERR_PARKED);                        \
		vol_wait_free(vw_);                                       \
	} while (0)
int vol_rc(const struct vol_wait *w);

int vol_fsync(struct vol *t);
int vol_sync(struct vol *t);
/* Writes a whole file by path component under the root: creates it when it is missing. */
int vol_put_file(struct vol *t, const char *name, const void *data, size_t len);
/* Reads it all; *ret malloc'd. */
int vol_get_file(struct vol *t, const char *name, uint8_t **ret, size_t *ret_len);

#endif
