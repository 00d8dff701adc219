/*
 * exchange.h - indexes: what peers are told, what they tell, and comparing (DESIGN.md, "What a node knows").
 *
 * For each peer there are two ways that do not know of each other. Out: everything that changed in our index since the peer came up, in the order of positions, and
 * a mark when it has all of it. In: once it is up, its sums are compared with ours, down to leaves, and the leaves that differ are asked for whole; from
 * then on its marks are believed, and its context becomes part of ours.
 * Core's thread, but for the jobs that put frames together.
 */
#ifndef CLONELOVE_EXCHANGE_H
#define CLONELOVE_EXCHANGE_H

#include "node.h"
#include "version.h"

/* Starts to send what is there to send, if the peer takes it. */
void exchange_pump(struct node *n, struct node_peer *p);
/* Begins to compare (nothing, while that is under way or our first scan is). node_heard is called when it is over. */
void exchange_compare(struct node *n, struct node_peer *p);
/* A context of which everything is known becomes part of ours. */
int exchange_join(struct node *n, const struct vector *context);
/* Answers. */
int exchange_ask_sums(struct node *n, struct node_peer *p, const struct frame *f);
int exchange_ask_leaves(struct node *n, struct node_peer *p, const struct frame *f);
/* Merges the records that were told. Who told them is heard no more if that fails. */
void exchange_take_told(struct node *n);
void exchange_drop_told(struct node *n);
void exchange_free_peer(struct node_peer *p);
/* What was found here has versions now: peers may count on us. */
void exchange_joined(struct node *n);

#endif
