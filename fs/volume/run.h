/*
 * run.h - sorted runs: keys in order, each with a value or a tombstone,
 * prefix-compressed, in 32 KiB blocks of zstd with their own checksums.
 * FORMAT.md has the bytes. Buffers are the caller's; no I/O here.
 *
 * A run that would exceed its part size is split into parts (several byte
 * strings, key ranges disjoint and ascending).
 */
#ifndef CLONELOVE_RUN_H
#define CLONELOVE_RUN_H

#include <stdbool.h>

#include "buf.h"

#define RUN_PART_BYTES (4u << 20) /* encoded size at which a part is closed */

struct run_writer;

/* zstd level 0 = stored. */
int run_writer_new(int compress, struct run_writer **ret);
void run_writer_free(struct run_writer *w);
/* Keys must ascend strictly (-EINVAL otherwise). val NULL = tombstone. */
int run_writer_add(struct run_writer *w, const void *key, size_t klen, const void *val, size_t vlen);
size_t run_writer_bytes(const struct run_writer *w); /* encoded so far, about */
size_t run_writer_count(const struct run_writer *w);
/* The keys of all parts of one writer ascend: a part begins after the last key of the one before. */
/* Ends the part: its bytes are appended to out (empty when nothing was added: an empty part is valid), and the writer is ready for the next. */
int run_writer_finish(struct run_writer *w, struct buf *out);

/* Reads one part, whole in memory and borrowed until free. Every block's checksum is verified before any of its keys is returned. */
struct run_reader;
int run_reader_new(const void *part, size_t len, struct run_reader **ret); /* 0, ERR_CORRUPT, ERR_NEWER_FORMAT, -ENOMEM */
void run_reader_free(struct run_reader *r);
/* 1 and views (valid until the next call), 0 at the end, or an error. val NULL = tombstone. */
int run_reader_next(struct run_reader *r, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen);

/*
 * k-way merge. Sources are pulled through a callback with run_reader_next's
 * contract; source 0 is the newest, and for equal keys the newest wins.
 * drop_tombstones: leave them out (only when the oldest source is the bottom).
 */
struct run_source {
	int (*next)(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen);
	void *user;
};
struct run_merge;
int run_merge_new(const struct run_source *sources, size_t count, bool drop_tombstones, struct run_merge **ret);
void run_merge_free(struct run_merge *m);
int run_merge_next(struct run_merge *m, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen);

#endif
