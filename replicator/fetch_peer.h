/*
 * fetch_peer.h - which peer a piece is asked of: the one that will have answered first, by what it took it before. What one of several requests takes is the time to its answer by their number:
 * it is small for a peer that is near, and for one that is far as long as its line is not full; so the near ones are asked first, and the others as soon as these have enough to do. Nobody stays
 * unknown: who has not been asked yet is asked. Core's thread.
 */
#ifndef CLONELOVE_FETCH_PEER_H
#define CLONELOVE_FETCH_PEER_H

#include <stdint.h>

struct node_peer;

uint64_t fetch_peer_bit(unsigned slot); /* in masks of peers */
/* gone: a mask of peers that do not have it. Of equal ones the turn decides, which goes on with each call. NULL: there is none. */
struct node_peer *fetch_peer_next(struct node_peer *peers, uint64_t gone, unsigned *turn);
void fetch_peer_answered(struct node_peer *p, uint64_t took_ns); /* one of several requests, as above */

#endif
