/*
 * ignore.h - paths that are not replicated, in gitignore(5)'s syntax.
 *
 * One pattern a line. Empty lines and lines that begin with # say nothing (\# is a pattern that begins with #); trailing spaces go unless
 * escaped; ! takes back what an earlier pattern left out, but not what lies below a directory that is left out; a slash at the end matches directories
 * alone; a slash anywhere else ties the pattern to the root, else it matches at every depth; *, ? and [...] do not match a slash; ** does as in
 * gitignore(5): leading, trailing, and as a whole part in the middle. The last pattern that matches decides.
 *
 * All members of a cluster must have the same patterns: ignore_hash tells whether they do.
 * Immutable after parsing: any number of threads.
 */
#ifndef CLONELOVE_IGNORE_H
#define CLONELOVE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"

struct ignore;

/* text need not end in a newline. `name` is for messages ("line 3 of NAME"). ERR_CONFIG: a line over 4096 bytes or with a NUL, over 10,000 lines. */
int ignore_parse(const char *name, const char *text, size_t len, struct ignore **ret);
void ignore_free(struct ignore *g); /* NULL is fine */

/* Is this path left out, by itself or with a directory above it? */
bool ignore_match(const struct ignore *g, const char *path, size_t len, bool is_dir);

/* The same patterns, the same hash. ret: HASH_BYTES. */
void ignore_hash(const struct ignore *g, uint8_t *ret);

#endif
