/*
 * ignore.h - paths that are not replicated, in gitignore(5)'s syntax.
 *
 * One pattern a line. Empty lines and lines that begin with # say nothing (\# is a pattern that begins with #); trailing spaces go unless
 * escaped; ! takes back what an earlier pattern left out, but not what lies below a directory that is left out; a slash at the end matches directories
 * alone; a slash anywhere else ties the pattern to the root, else it matches at every depth; *, ? and [...] do not match a slash; ** does as in
 * gitignore(5): leading, trailing, and as a whole part in the middle. The last pattern that matches decides.
 *
 * Immutable after parsing: any number of threads.
 */
#ifndef CLONELOVE_IGNORE_H
#define CLONELOVE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct ignore;

/* text need not end in a newline. `name` is for messages ("line 3 of NAME"). ERR_CONFIG: a line over 4096 bytes or with a NUL, over 10,000 lines. */
int ignore_parse(const char *name, const char *text, size_t len, struct ignore **ret);
void ignore_free(struct ignore *g); /* NULL is fine */

/* Is this path left out, by itself or with a directory above it? */
bool ignore_match(const struct ignore *g, const char *path, size_t len, bool is_dir);
/*
 * The same by the path alone, whatever lies there (DESIGN.md, "Ignored paths"): what leaves out a directory leaves out anything of its name. g: NULL = no patterns.
 * ignore_needs_kind: by these patterns that cannot be told, as one of them keeps nothing but directories (!x/).
 */
bool ignore_leaves_out(const struct ignore *g, const char *path, size_t len);
bool ignore_needs_kind(const struct ignore *g);
bool ignore_is_empty(const struct ignore *g);

/* As a text that ignore_parse makes the same of: the same patterns, the same text. */
void ignore_text(const struct ignore *g, struct buf *out);

#endif
