/*
 * insync.h - is this member what the cluster has, as far as its status tells? What `clonesync status` and the metrics show.
 */
#ifndef CLONELOVE_INSYNC_H
#define CLONELOVE_INSYNC_H

#include "node.h"

/*
 * True: everything that the peers that can be reached knew when their indexes were compared with ours is here, and held. That the comparison came before the
 * question is what this answer lacks of a cut (the union of their contexts at the call): a change that a peer made a moment ago, and
 * that is on its way, is not seen. `clonesync wait --in-sync`, and admission to a pool, ask the peers (host_sync_begin). Else why not, as text for an operator. Where there are other members and none of them can
 * be reached, who knows?
 */
bool insync(const struct node_status *s, bool paused, char *ret_why, size_t cap);
/* The same in a word: "in sync", "behind", "scanning", "joining", "alone", "paused", "forgotten",
 * "halted". */
const char *insync_state(const struct node_status *s, bool paused);

#endif
