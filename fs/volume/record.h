/*
 * record.h - one operation in the local log: its LSN, the data it wrote, and
 * the keys it put and deleted. FORMAT.md has the bytes.
 *
 * The checksum is XXH3-64 seeded with the segment's salt, so that recycled
 * space never replays an older log. Functions are pure; buffers are the caller's.
 */
#ifndef CLONELOVE_RECORD_H
#define CLONELOVE_RECORD_H

#include "buf.h"

#define RECORD_MAGIC 0x43524c43u /* "CLRC", the first bytes */
#define RECORD_MAX_BYTES (192u << 10) /* an operation is split before it grows beyond this */

enum record_kind { RECORD_OP = 1 };

/* Starts a record in b (appended at its end; *ret_start is where). lsn is filled in by record_finish. */
void record_begin(struct buf *b, size_t *ret_start);
/* The data this operation appended to its own segment (at most one range), with its XXH3-64 (seed: salt). Before any put. */
void record_data(struct buf *b, size_t start, uint32_t logical, uint32_t len, uint64_t data_hash);
void record_put(struct buf *b, const void *key, size_t klen, const void *val, size_t vlen);
void record_del(struct buf *b, const void *key, size_t klen);
/* Fills in length, LSN, time and checksum. request_id: reserved for answers stored across a daemon's death
 * (fs/mount/DESIGN.md says what that takes), 0 now. */
void record_finish(struct buf *b, size_t start, uint64_t lsn, uint64_t real_ns, uint64_t request_id, uint64_t salt);

struct record {
	uint64_t lsn, real_ns, request_id, data_hash;
	uint32_t data_logical, data_len; /* data_len 0 = none */
	size_t total_bytes;              /* of the record in the log */
	struct cursor changes;           /* for record_next */
};

/* Decodes the record at c (advances past it). Returns 0; ERR_CORRUPT when it is torn, not a record, or of another
 * salt, which at the end of a log is simply its end; c is not moved then. */
int record_parse(struct cursor *c, uint64_t salt, struct record *ret);
/* Next change: 1 and views (val NULL = delete), 0 at the end, ERR_CORRUPT. */
int record_next(struct record *r, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen);

#endif
