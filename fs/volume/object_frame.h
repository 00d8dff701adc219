/*
 * object_frame.h - what all objects but runs have in common: 40 bytes at the
 * front that say what it is, and a BLAKE2b-256 of all before at the end.
 * Private to object_*.c. FORMAT.md, "Frames".
 */
#ifndef CLONELOVE_OBJECT_FRAME_H
#define CLONELOVE_OBJECT_FRAME_H

#include "object.h"

#define OBJECT_FRAME_BYTES 40u
#define OBJECT_MAGIC_BYTES 8u

/* Appends the front. magic: OBJECT_MAGIC_BYTES characters. */
void object_frame_begin(struct buf *out, size_t *ret_start, const char *magic, uint16_t type, uint32_t features, const uint8_t *volume_uuid);
/* Fills with zeros up to total_bytes - HASH_BYTES (0 = no filling), then length and hash. Returns out's error; out is as it was at begin then. */
int object_frame_end(struct buf *out, size_t start, size_t total_bytes);
/*
 * Checks magic, length, hash, version and features, in this order: bytes that do not hash are corrupt, whatever version they claim.
 * *ret_body: what is between front and hash. total_bytes: 0, or the one length this object can have.
 */
int object_frame_open(const void *p, size_t len, const char *magic, size_t total_bytes, uint16_t *ret_type, uint8_t *ret_volume_uuid,
		      struct cursor *ret_body);
/* The next len bytes are reserved: all zeros? */
bool object_frame_zeros(struct cursor *c, size_t len);

/* A node's name: NODE_NAME_MAX bytes, zero-padded; 1..NODE_NAME_MAX of them printable (no control characters). */
bool object_node_ok(const char *node);
void object_node_put(struct buf *out, const char *node);
int object_node_get(struct cursor *c, char *ret_node); /* NODE_NAME_MAX + 1 */

/* The head of a log object, as its footer implies it: the two always say the same. OBJECT_HEAD_BYTES are appended. */
int object_head_encode(const struct object_footer *f, struct buf *out);
/* The footer alone: object_bytes must be known. Fills f->own_hash. */
int object_footer_encode(struct object_footer *f, uint64_t object_bytes, struct buf *out);

#endif
