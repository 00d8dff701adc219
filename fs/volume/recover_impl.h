/* recover_impl.h - shared by recover.c and recover_replay.c; see recover.h. */
#ifndef CLONELOVE_RECOVER_IMPL_H
#define CLONELOVE_RECOVER_IMPL_H

#include "recover.h"

/* GET with a few tries; suffix 0 = all. Sets a message on failure other than -ENOENT. The caller resets the request. */
int recover_get(struct store *s, const char *key, uint64_t suffix, struct store_req *ret);
/* The checked footer of a slot; the times may be NULL. -ENOENT sets no message. */
int recover_footer(struct store *s, const struct superblock *sb, uint64_t epoch, uint64_t slot, struct object_footer *ret,
		   int64_t *ret_mtime, int64_t *ret_server);

#endif
