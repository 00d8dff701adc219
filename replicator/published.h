/*
 * published.h - a copy of the tree that somebody has published in an object store: an object for each file, its key the path, its body the content (DESIGN.md, "Joining").
 *
 * Contents are got from there by the path and size that members told, and nothing else: its keys are never listed into anything, its times and sizes never looked at. What comes is
 * no more than bytes, that whoever asked for them hashes. It may be away, old, half or hostile.
 *
 * A failure that is not about one object ends the asking for a while (half a minute, then twice as long each time, ten minutes at the most): what is asked for meanwhile fails at
 * once. That, and that it is over, is said in the log.
 */
#ifndef CLONELOVE_PUBLISHED_H
#define CLONELOVE_PUBLISHED_H

#include "env.h"
#include "node.h"
#include "store.h"

#define PUBLISHED_DEADLINE_MS 20000u   /* of one get */

struct published;

/*
 * Opens it by its address, and asks whether it can be read: blocks, for ten seconds at most. Where it cannot, the log says so, and it is as after any failure; it
 * says so, too, where nothing is in it. Errors, with a message: the address is none (ERR_CONFIG), or there can be nothing behind it.
 */
int published_open(const char *address, struct env *env, struct published **ret);
/* The same of a store, which is the published's then, also where this fails; nothing is asked. */
int published_new(struct store *s, struct env *env, struct published **ret);
/* done(user, g) is called once, on any thread, perhaps before this returns; it must not block. g->bytes are the caller's then. */
void published_get(struct published *p, struct node_published *g, void (*done)(void *user, struct node_published *g), void *user);
/* What is under way, and what is asked for from now on, fails with -ECANCELED; returns when each done() of before has returned. */
void published_cancel(struct published *p);
void published_close(struct published *p); /* cancels; NULL is fine */

#endif
