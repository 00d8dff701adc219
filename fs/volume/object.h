/*
 * object.h - the objects of a volume in the store, as bytes: superblock,
 * claim, opening record, log object, seal, manifest, heartbeat. FORMAT.md has the layouts.
 * Pure functions: no I/O, no clock. Every decoder takes hostile bytes.
 *
 * Decoders return 0, ERR_CORRUPT, ERR_NEWER_FORMAT or -ENOMEM; objects end exactly where they say.
 */
#ifndef CLONELOVE_OBJECT_H
#define CLONELOVE_OBJECT_H

#include <stdbool.h>
#include <sys/uio.h>

#include "buf.h"
#include "hash.h"

#define FORMAT_VERSION 1
#define ID_BYTES 16
#define GRANULE_BYTES 4096u
#define BLOCK_BYTES 65536u
#define SEGMENT_DATA_MAX (8u << 20)
#define SEGMENT_BLOCKS (SEGMENT_DATA_MAX / BLOCK_BYTES)
#define SEGMENT_GRANULES (SEGMENT_DATA_MAX / GRANULE_BYTES)
#define OBJECT_FOOTER_BYTES 512u  /* fixed; the last bytes of every object under log/ */
#define OBJECT_HEAD_BYTES 128u    /* the first bytes of every object under log/ */
#define OBJECT_KEY_MAX 64
#define NODE_NAME_MAX 64

/* Key names; ret: OBJECT_KEY_MAX bytes. */
void object_key_claim(uint64_t epoch, char *ret);
void object_key_slot(uint64_t epoch, uint64_t slot, char *ret);
void object_key_manifest(uint64_t epoch, uint64_t slot, char *ret);
void object_key_run(const uint8_t *id, char *ret);
/* Parses what the above made; false where the name is not of that form. */
bool object_parse_claim_key(const char *key, uint64_t *ret_epoch);
bool object_parse_slot_key(const char *key, uint64_t *ret_epoch, uint64_t *ret_slot);
bool object_parse_manifest_key(const char *key, uint64_t *ret_epoch, uint64_t *ret_slot);

struct superblock {
	uint8_t volume_uuid[ID_BYTES];
	uint64_t created_real_ns;
	uint32_t compress;         /* zstd level, 0 = none */
	bool unsafe_no_fencing;
	uint32_t features;         /* bits that a reader must know; unknown ones: ERR_NEWER_FORMAT */
	uint32_t root_uid, root_gid; /* of the root directory as it was made */
	uint32_t root_mode;        /* permission bits; 0 = 0755 */
};
int superblock_encode(const struct superblock *s, struct buf *out);
int superblock_decode(const void *p, size_t len, struct superblock *ret);

struct claim {
	uint8_t volume_uuid[ID_BYTES], claim_id[ID_BYTES], log_uuid[ID_BYTES], machine_id[ID_BYTES];
	uint64_t epoch, real_ns;
	char node[NODE_NAME_MAX + 1];
};
int claim_encode(const struct claim *c, struct buf *out);
int claim_decode(const void *p, size_t len, struct claim *ret);

enum object_type { OBJECT_OPEN = 1, OBJECT_CUT = 2, OBJECT_SEAL = 3 };

/* One block of a cut's data (64 KiB of logical space, the last may be shorter). */
struct object_block {
	uint32_t offset;      /* in the object; 0 with stored_len 0 */
	uint32_t stored_len;  /* 0 = elided whole */
	uint8_t codec;        /* 0 raw, 1 zstd; later: AEAD */
};

/* The block table: where a segment's data is in its object, and the checksum of every granule. */
struct object_table {
	uint32_t data_len;                               /* logical bytes */
	struct object_block blocks[SEGMENT_BLOCKS];
	uint64_t sums[SEGMENT_GRANULES];                 /* XXH3-64 (seed: segment ID) of each granule, zero-padded to 4 KiB; 0 = elided */
};
int object_table_encode(const struct object_table *t, struct buf *out);
int object_table_decode(const void *p, size_t len, struct object_table *ret);
uint64_t object_granule_sum(uint64_t segment_id, const void *granule); /* GRANULE_BYTES bytes; never 0 */

struct object_footer {
	enum object_type type;
	uint8_t volume_uuid[ID_BYTES];
	uint64_t epoch, slot;
	uint8_t put_id[ID_BYTES];          /* random per cut; also in the head */
	uint8_t claim_id[ID_BYTES];        /* OPEN, CUT: the epoch's claim; SEAL: the sealer's */
	uint8_t prev_hash[HASH_BYTES];     /* own_hash of the slot before (OPEN: of the parent's last slot; zeros where there is none) */
	uint64_t first_lsn, last_lsn;      /* CUT: last = first - 1 when empty. OPEN, SEAL: last_lsn = newest before it, first = last + 1 */
	uint64_t acked_epoch, acked_slot;  /* the contiguous prefix the writer knew acknowledged when it fixed this object */
	uint64_t commit_real_ns;           /* max(previous + 1, clock) */
	uint64_t next_ino;                 /* allocator state after this object */
	/* CUT */
	uint64_t segment_id;
	uint32_t data_len;                 /* logical */
	uint32_t run_offset, run_len;      /* the net change, one run part */
	uint8_t run_hash[HASH_BYTES];
	uint32_t table_offset, table_len;
	uint8_t table_hash[HASH_BYTES];
	uint32_t flags;                    /* bit 0: a snapshot forced this cut; others reserved, refused */
	/* OPEN */
	bool has_parent;
	uint64_t parent_epoch, parent_slot;
	uint8_t log_uuid[ID_BYTES];        /* of the opener, as in its claim */
	uint32_t durability, fence_lease_ms; /* what this writer promises */
	/* SEAL */
	uint64_t sealed_by_epoch;
	uint8_t own_hash[HASH_BYTES];      /* BLAKE2b of the footer's bytes before it; through run_hash, table_hash and sums it covers all */
};

/* Encodes an OPEN or SEAL object (head + footer); fills f->own_hash. */
int object_encode_mark(struct object_footer *f, struct buf *out);

/* The bytes of an object in pieces: what was made for it, and parts of the caller's data that go out as they are. */
struct object_pieces {
	struct buf made;
	struct iovec *iov;     /* count of them, in order: into `made` and into the data */
	size_t count, bytes;   /* bytes: of all pieces */
};
void object_pieces_free(struct object_pieces *p); /* zeroed is fine, and what it leaves */

/*
 * Encodes a cut. data: data_len logical bytes, in memory. live: per granule, false = nothing refers to it (elided: its bytes
 * are zeroed on the wire, its sum is 0); NULL = all are live. sums: object_granule_sum of each granule where the caller knows them, else
 * NULL. run: the encoded run part. compress: zstd level or 0. t: filled in. f: offsets, hashes and own_hash are filled in.
 * *ret points into data, which must stay as it is while *ret is used; blocks that do not compress are not copied.
 */
int object_encode_pieces(struct object_footer *f, const uint8_t *data, const bool *live, const uint64_t *sums, const void *run,
			 size_t run_len, int compress, struct object_table *t, struct object_pieces *ret);
/* The same in one piece, appended to out. */
int object_encode_cut(struct object_footer *f, const uint8_t *data, const bool *live, const void *run, size_t run_len,
		      int compress, struct object_table *t, struct buf *out);

/* p: the LAST len >= OBJECT_FOOTER_BYTES bytes of the object. Checks magic, version, own_hash and that offsets fit object_size. */
int object_decode_footer(const void *p, size_t len, uint64_t object_size, struct object_footer *ret);
/* p: the first OBJECT_HEAD_BYTES bytes. */
int object_decode_head(const void *p, size_t len, enum object_type *ret_type, uint64_t *ret_epoch, uint64_t *ret_slot, uint8_t *ret_put_id);
/* One stored block to its logical bytes (out: BLOCK_BYTES; *ret_len = its logical length from the table). Checks each granule. */
int object_decode_block(const struct object_table *t, uint64_t segment_id, uint32_t block, const void *stored, size_t stored_len,
			uint8_t *out, uint32_t *ret_len);
/* Of a block that is stored raw: the same check where it lies. stored: as many bytes as the table says. */
int object_check_raw(const struct object_table *t, uint64_t segment_id, uint32_t block, const void *stored, uint32_t *ret_len);
bool object_block_raw(const struct object_table *t, uint32_t block);

/* A whole object under log/, in memory: everything is checked, every block of data and every entry of the run. ret_table may be NULL; zeroed for OPEN and SEAL. */
int object_verify(const void *p, size_t len, struct object_footer *ret_footer, struct object_table *ret_table);

struct manifest_part { uint8_t id[ID_BYTES]; uint32_t bytes; uint64_t count; uint8_t hash[HASH_BYTES]; };
struct manifest_run { struct manifest_part *parts; uint32_t part_count; uint64_t bytes; };
struct manifest {
	uint8_t volume_uuid[ID_BYTES];
	uint64_t epoch, slot, lsn, next_ino, commit_real_ns;
	uint8_t slot_hash[HASH_BYTES];     /* own_hash of the log object at (epoch, slot) */
	struct manifest_run *runs;         /* newest first */
	uint32_t run_count;
};
int manifest_encode(const struct manifest *m, struct buf *out);
int manifest_decode(const void *p, size_t len, struct manifest *ret);
void manifest_free(struct manifest *m); /* frees the arrays, not m */

enum heartbeat_state { HEARTBEAT_ALIVE = 1, HEARTBEAT_RELEASED = 2 };
struct heartbeat {
	uint8_t volume_uuid[ID_BYTES], claim_id[ID_BYTES];
	uint64_t epoch, slot, lsn, real_ns;
	enum heartbeat_state state;
	char node[NODE_NAME_MAX + 1];
};
int heartbeat_encode(const struct heartbeat *h, struct buf *out);
int heartbeat_decode(const void *p, size_t len, struct heartbeat *ret);

/* Prints any object of a volume readably (clonefs dump); key tells which kind. json: one JSON document. Returns 0 or the decoder's error, with a message. */
int object_dump(const char *key, const void *p, size_t len, bool json, struct buf *out);

#endif
