/*
 * fetch_part.h - a file of several blocks that was not fetched to its end before the process ended is gone on with by the next one (DESIGN.md, "From cluster to disk").
 *
 * Its temp is named TREE_TEMP_PART, what tells this start from others, and the content's hash: opening a tree leaves it alone. What it holds is not trusted: who takes
 * it up reads and hashes each block. What nobody has taken up goes once nothing is wanted, or ten minutes after the start.
 */
#ifndef CLONELOVE_FETCH_PART_H
#define CLONELOVE_FETCH_PART_H

#include "tree.h"

struct node;

void fetch_part_name(struct node *n, const uint8_t *hash, char *ret); /* TREE_TEMP_MAX + 1 bytes. Core */
void fetch_parts_due(struct node *n);                                 /* Core */
/* For a job: one of this content and of an earlier start, by temp's name, becomes temp, and is open for reading and writing. -ENOENT: there is none that can be used; or an error
 * of the disk. */
int fetch_part_take(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret);
/* Of a content's list of hashes: a byte for each block, is it nothing but zeros? (The last, not always: it may be said to be none.) To be freed; NULL without memory. Hashes a block. */
uint8_t *fetch_part_zeros(const uint8_t *list, uint32_t count, uint64_t size);

#endif
