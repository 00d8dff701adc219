/*
 * frame.h - messages between peers, as bytes. PROTOCOL.md has the layouts.
 *
 * Encoders append one whole frame to a buffer. frame_next cuts a received stream into frames; the decoders read a frame's body. Every decoder
 * takes hostile bytes, is bounded, and gives views into the body (valid as long as it is) but for entries, which own memory.
 * Pure functions: 0, ERR_CORRUPT, ERR_NEWER_FORMAT, -ENOMEM; results are written only on success. Records of what is not replicated (carried.h) are -EPERM,
 * with a message for the log.
 */
#ifndef CLONELOVE_FRAME_H
#define CLONELOVE_FRAME_H

#include "entry.h"
#include "sums.h"

#define FRAME_VERSION 1u
#define FRAME_HEAD_BYTES 6u
#define FRAME_MAX (4u << 20)            /* length field */
#define FRAME_CONTENT_MAX 65536u        /* of a file inside its announcement */
#define FRAME_PIECE_MAX (1u << 20)      /* of a GET */
#define FRAME_DATA_HEAD_BYTES 13u
#define FRAME_NODE_BYTES 32
#define FRAME_SIGNATURE_BYTES 64
#define FRAME_ID_BYTES 16
#define FRAME_NAME_MAX 255u
#define FRAME_ROOT 65535u               /* the node of ASK_SUMS whose children are the 256 nodes */

enum frame_type {
	FRAME_HELLO = 1, FRAME_MEMBERS, FRAME_RECORDS, FRAME_MARK, FRAME_ASK_SUMS, FRAME_SUMS, FRAME_ASK_LEAVES, FRAME_LEAF, FRAME_GET,
	FRAME_DATA, FRAME_ASK_CUT, FRAME_CUT, FRAME_ERROR, FRAME_JOINED, FRAME_TYPES
};

struct frame_text { const char *p; size_t len; }; /* bytes, not NUL-terminated */

struct frame_hello {
	uint16_t lowest, highest;
	uint8_t node[FRAME_NODE_BYTES], signature[FRAME_SIGNATURE_BYTES];
	uint8_t incarnation[INCARNATION_BYTES], index_id[FRAME_ID_BYTES], tree_id[FRAME_ID_BYTES];
	struct frame_text cluster, name, address;
	uint64_t wall_us;
	bool joining;
};

enum frame_member_state { FRAME_MEMBER = 1, FRAME_FORGOTTEN = 2 };
struct frame_member {
	uint8_t node[FRAME_NODE_BYTES];
	enum frame_member_state state;
	uint64_t stamp;
	struct frame_text name, address;
};

struct frame_record {
	struct frame_text path;
	struct entry entry;              /* owned when decoded */
	bool held, has_content;
	uint64_t position;
	const uint8_t *content;          /* RECORDS alone */
	uint32_t content_len;
};

struct frame_get { uint64_t request; uint8_t hash[HASH_BYTES]; uint64_t size, offset; uint32_t length; };

enum frame_status { FRAME_BYTES, FRAME_ZEROS, FRAME_GONE, FRAME_FAILED };
struct frame_data { uint64_t request; enum frame_status status; uint32_t length; const uint8_t *bytes; };

enum frame_error { FRAME_REFUSED = 1, FRAME_ANOTHER_LINK = 2 }; /* codes of ERROR */

struct frame_cut { uint64_t request; struct vector context; struct sum root; uint64_t missing, wall_us; };

/* --- the stream --- */

struct frame {
	enum frame_type type;
	const uint8_t *body;
	size_t len;
	struct buf *whole; /* NULL, or: its body lies in there, and nothing else that anybody wants. Who needs it for longer may take the bytes, and leave an empty one */
};

/*
 * The frame at the start of [p, p + len): *ret_used bytes of it, 0 when more are needed. A body that is compressed is expanded into
 * scratch (reset first). ERR_CORRUPT: the connection is of no more use.
 */
int frame_next(const uint8_t *p, size_t len, struct buf *scratch, struct frame *ret, size_t *ret_used);

/* Begins a frame in out; frame_end fills in the length, and compresses bodies over 1 KiB where `compress` is set and it
 * saves an eighth. out->err on failure (-E2BIG over FRAME_MAX). *ret_start is between the two's. */
void frame_begin(struct buf *out, enum frame_type type, size_t *ret_start);
void frame_end(struct buf *out, size_t start, bool compress);

/* --- bodies: put between begin and end --- */
void frame_put_hello(struct buf *out, const struct frame_hello *h);
void frame_put_member(struct buf *out, const struct frame_member *m);  /* after a u16 count */
void frame_put_record(struct buf *out, const struct frame_record *r);  /* after a u32 count; content only where content_len says and content is set */
void frame_put_leaf_record(struct buf *out, const struct frame_record *r);
void frame_put_mark(struct buf *out, uint64_t position, const struct vector *context);
void frame_put_sum(struct buf *out, struct sum s);
void frame_put_get(struct buf *out, const struct frame_get *g);
void frame_put_data(struct buf *out, const struct frame_data *d);
void frame_put_data_head(struct buf *out, const struct frame_data *d);  /* what comes before its bytes, FRAME_DATA_HEAD_BYTES */
void frame_put_cut(struct buf *out, const struct frame_cut *c);
void frame_put_error(struct buf *out, uint16_t code, const char *text);

/* --- bodies: decoding. The ones with counts are read one after the other from a cursor; cursor_end tells whether all was read. --- */
int frame_get_hello(const struct frame *f, struct frame_hello *ret);
int frame_get_member(struct cursor *c, struct frame_member *ret);
int frame_get_record(struct cursor *c, struct frame_record *ret);       /* entry_free(&ret->entry) is the caller's */
int frame_get_leaf_record(struct cursor *c, struct frame_record *ret);
int frame_get_mark(struct cursor *c, uint64_t *ret_position, struct vector *ret_context); /* ret_context was initialised */
struct sum frame_get_sum(struct cursor *c);
int frame_get_get(const struct frame *f, struct frame_get *ret);
int frame_get_data(const struct frame *f, struct frame_data *ret);
int frame_get_cut(const struct frame *f, struct frame_cut *ret);        /* vector_free(&ret->context) is the caller's */
int frame_get_error(const struct frame *f, uint16_t *ret_code, struct frame_text *ret_text);

#endif
