/*
 * sums.h - "are we the same?", answered in time proportional to the difference.
 *
 * A fixed tree of three levels over the 16-bit prefix of a path's hash: 65,536 leaves, 256 nodes, one root. A leaf is the sum modulo 2^128 of the
 * hashes of its live entries, so an entry goes in and out by adding and subtracting, in any order; a node is the sum of
 * its leaves. The hash of an entry is over path and bytes (entry.h: canonical), version and vector too: equal roots say that two nodes know the same.
 *
 * A mebibyte of memory. Not thread-safe. The sums keep honest nodes from doing needless work; peers are authenticated, and contents
 * have hashes of their own, so that sums can be forged by who holds the cluster's key is no matter.
 */
#ifndef CLONELOVE_SUMS_H
#define CLONELOVE_SUMS_H

#include <stddef.h>
#include <stdint.h>

#define SUM_FANOUT 256u
#define SUM_LEAVES 65536u

struct sum { uint64_t lo, hi; };
struct sums;

int sums_new(struct sums **ret);
void sums_free(struct sums *s); /* NULL is fine */

uint16_t sums_leaf(const char *path, size_t len); /* the leaf a path belongs to */
struct sum sums_hash(const char *path, size_t path_len, const void *entry, size_t entry_len);
void sums_add(struct sums *s, uint16_t leaf, struct sum hash);
void sums_sub(struct sums *s, uint16_t leaf, struct sum hash);

struct sum sums_root(const struct sums *s);
struct sum sums_node(const struct sums *s, unsigned node);   /* 0..SUM_FANOUT-1: leaves node*256.. */
struct sum sums_of_leaf(const struct sums *s, uint16_t leaf);
int sum_equal(struct sum a, struct sum b);

#endif
