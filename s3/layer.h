/*
 * layer.h - what layers that stack on another store share. A layer cannot pass its caller's request on (the one below uses
 * done and layer for itself), so it sends one of its own and carries the answer back.
 */
#ifndef CLONELOVE_LAYER_H
#define CLONELOVE_LAYER_H

#include "counters.h"
#include "store.h"

/* A new request that asks the same as `from`, borrowing its strings and body; done and user are the caller's to set. */
void layer_ask(struct store_req *to, const struct store_req *from);

/* Moves the answer of `from` to `to`, whose own answer must be empty. */
void layer_answer(struct store_req *to, struct store_req *from);

/*
 * What a layer's counters() says: what went out is counted below, how it ended and how long it took is what the layer's caller
 * saw.
 */
void layer_counters(struct store *below, struct counters *own, struct store_counters *ret);

#endif
