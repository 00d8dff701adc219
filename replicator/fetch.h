/*
 * fetch.h - contents from peers, block by block, each checked against the list of hashes, the list against the entry (DESIGN.md, "From cluster to disk").
 *
 * A fetch is of one content, for one path. It goes LIST (files of more than one block) -> BLOCKS -> READY; blocks that our older version has at the same place are
 * copied from there, others come from the published copy where there is one and it is right there (node.h, node_host), else from peers. It survives the loss of connections, and with several blocks the process's end (fetch_part.h); it asks every peer in turn; what a peer says not to hold is not asked of it again for a second.
 * Core's thread; disk is touched by jobs alone.
 */
#ifndef CLONELOVE_FETCH_H
#define CLONELOVE_FETCH_H

#include <stdbool.h>

#include "frame.h"
#include "tree.h"

struct fetches;
struct node;
struct node_peer;

int fetches_new(struct node *n, struct fetches **ret);
void fetches_free(struct fetches *f); /* its temps stay; NULL is fine */

/*
 * The content of `want` (a live file, size > 0) for path; old: what lies there now (NULL or a file: where blocks may come from); kept: it is not given up where nobody has it. Starts or goes on.
 * 1: it is there; ret_temp (TREE_TEMP_MAX + 1) has it, and is the caller's now. 0: under way, or waiting for a peer that has it; *ret_gone: every peer that is up
 * says that it has not. -EBUSY: enough are under way. (One that nobody who is up has makes room for another, and is to be asked for again.) Other errors: of the disk; the fetch is given up.
 */
int fetch_get(struct fetches *f, const char *path, const struct entry *want, const struct entry *old, bool kept, char *ret_temp, bool *ret_gone);
/* Drops what no path wants any more. */
void fetch_sweep(struct fetches *f);

int fetch_data(struct fetches *f, struct node_peer *p, const struct frame *fr); /* a DATA frame */
void fetch_peer_up(struct fetches *f, struct node_peer *p);
void fetch_peer_down(struct fetches *f, struct node_peer *p);
/* Somebody announced that it holds this content. */
void fetch_held(struct fetches *f, const uint8_t *hash, struct node_peer *p);
bool fetch_small(uint64_t size);                        /* a file of so many bytes is one block */
bool fetch_room(const struct fetches *all, bool small); /* another can be begun: small ones beside any number of big ones */

#endif
