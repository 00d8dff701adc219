/*
 * run_parts.h - the runs of a checkpoint in the store: reading one as a merge
 * source, writing a merge as parts. Blocking; one thread per object.
 */
#ifndef CLONELOVE_RUN_PARTS_H
#define CLONELOVE_RUN_PARTS_H

#include "env.h"
#include "object.h"
#include "run.h"
#include "store.h"

/* Reads a run's parts one after another, the next being fetched while this one is used. */
struct part_source;
int part_source_new(struct store *s, const struct manifest_run *run, struct part_source **ret); /* run: borrowed */
void part_source_free(struct part_source *p);
/* A run_source callback; user is the part_source. ERR_DAMAGED or ERR_CORRUPT name the part in err_last. */
int part_source_next(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen);

/* Writes everything a merge yields as the parts of one run (ret->parts malloc'd). On failure the parts already put are deleted again where possible. */
int run_parts_write(struct store *s, struct env *env, int compress, struct run_merge *m, struct manifest_run *ret);

#endif
