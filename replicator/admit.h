/*
 * admit.h - the one at the door: which nodes may come up (DESIGN.md, "Members").
 *
 * It refuses whom the cluster has forgotten, a new node where there are as many as can be, and the second of two processes that live with one node key. A process
 * is told by the incarnation in its HELLO, new with each start: the last one that was heard of a key is the node, also when it calls again; one that was followed by
 * another and calls again lives beside it, and is a copy (an image of a machine that runs). It is let in once the other has not been up for ADMIT_TWIN_S.
 * Known of processes that this one has heard of, not on disk. A node that sent what no member may send is not let in for ADMIT_BAD_S: it would send it again at once.
 *
 * Thread-safe: admit_know is called by the core, admit_judge by whoever brings links up.
 */
#ifndef CLONELOVE_ADMIT_H
#define CLONELOVE_ADMIT_H

#include "env.h"
#include "members.h"

#define ADMIT_TWIN_S 60u
#define ADMIT_BAD_S 60u

struct admit;

int admit_new(struct env *env, struct admit **ret); /* env outlives it */
void admit_free(struct admit *a); /* NULL is fine */
/* What the membership is now. -ENOMEM: it judges by what it knew before. */
int admit_know(struct admit *a, const struct members *s);
/* NULL = may come up; else why not and what is to be done, for the other's operator. Static storage. *ret_twin: two live with one key. */
const char *admit_judge(struct admit *a, const struct frame_hello *h, bool *ret_twin);
/* A link with this node is up; is down again. */
void admit_up(struct admit *a, const uint8_t *node);
void admit_down(struct admit *a, const uint8_t *node);
/* It sent what no member may send (carried.h). */
void admit_bad(struct admit *a, const uint8_t *node);

#endif
