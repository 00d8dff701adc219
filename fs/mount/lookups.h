/*
 * lookups.h - which inodes the kernel knows, and which of them the engine is
 * held to keep although they have no name any more.
 *
 * The kernel counts each reply that names an inode, and gives the count back with FORGET when it drops the inode: which it
 * does not do while a file is open, mapped, somebody's working directory or held by O_PATH. So the engine's open reference is
 * tied to this count instead of to open and release: it is taken when the last name goes (before it goes), and dropped with
 * the last FORGET. Thereby OPEN, RELEASE and OPENDIR need not be sent to us at all.
 *
 * And it is remembered who was told an inode's attributes. The kernel drops what it knows of a directory when something is made in it, but takes
 * an answer that was under way meanwhile for news, and believes it for a day. Whoever changes an inode therefore asks whether another than
 * itself may still be about to hear of what was before; then the kernel is told to pass over that (changed() in fuse_reply.c).
 *
 * Thread-safe. The table's locks are innermost: lookups_add may be called under the engine's lock, and no call here takes
 * the engine's lock while it holds one of its own.
 */
#ifndef CLONELOVE_LOOKUPS_H
#define CLONELOVE_LOOKUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "volume.h"

struct lookups;

/* v is borrowed. */
int lookups_new(struct volume *v, struct lookups **ret);
/* Forgets all without a word to the engine (which is about to close). NULL is fine. */
void lookups_free(struct lookups *l);

/* The kernel is about to be told of ino once more (before the reply is sent: a FORGET may follow at once). -ENOMEM: do not tell it. */
int lookups_add(struct lookups *l, uint64_t ino);
/* The same for an inode that comes with an open reference of the engine already taken (O_TMPFILE): that reference is ours now. */
int lookups_add_held(struct lookups *l, uint64_t ino);
/* Makes sure that the engine keeps ino until the kernel has forgotten it. Call before its last name goes. Returns 0, or the engine's error. */
int lookups_hold(struct lookups *l, uint64_t ino);
/* The thread pid (0 = unknown) is about to be told ino's attributes. Call before they are read, or read them again where the session's
 * count of changes moved meanwhile. */
void lookups_told(struct lookups *l, uint64_t ino, uint32_t pid);
/* Was any thread but pid told of them since this was last asked? */
bool lookups_told_others(struct lookups *l, uint64_t ino, uint32_t pid);
/* FORGET. */
void lookups_forget(struct lookups *l, uint64_t ino, uint64_t count);
/* How many inodes the kernel knows. */
uint64_t lookups_count(struct lookups *l);

#endif
