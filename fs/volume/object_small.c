/*
 * object_small.c - superblock, claim and heartbeat: 256 bytes each. Stateless; FORMAT.md has the layouts.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "object_frame.h"

#define SMALL_BYTES 256u
#define COMPRESS_MAX 22u /* zstd's highest level */

#define SUPERBLOCK_UNSAFE 1u

static const char superblock_magic[] = "CLNLVOLU", claim_magic[] = "CLNLCLAI", heartbeat_magic[] = "CLNLBEAT";

/* All of these are of type 0; what follows the known fields is reserved. A field out of range that hashes was written so on purpose. */
static int small_end(struct cursor *c, uint16_t type)
{
	if (type != 0 || !object_frame_zeros(c, cursor_left(c)))
		return ERR_NEWER_FORMAT;
	return cursor_end(c);
}

int superblock_encode(const struct superblock *s, struct buf *out)
{
	size_t start;

	if (s->compress > COMPRESS_MAX || s->root_mode > 07777)
		return -EINVAL;
	object_frame_begin(out, &start, superblock_magic, 0, s->features, s->volume_uuid);
	buf_u64(out, s->created_real_ns);
	buf_u32(out, s->compress);
	buf_u32(out, s->unsafe_no_fencing ? SUPERBLOCK_UNSAFE : 0);
	buf_u32(out, s->root_uid);
	buf_u32(out, s->root_gid);
	buf_u32(out, s->root_mode);
	return object_frame_end(out, start, SMALL_BYTES);
}

int superblock_decode(const void *p, size_t len, struct superblock *ret)
{
	struct superblock s = { .features = 0 };
	struct cursor c;
	uint16_t type;
	uint32_t flags;
	int rc = object_frame_open(p, len, superblock_magic, SMALL_BYTES, &type, s.volume_uuid, &c);

	if (rc)
		return rc;
	s.created_real_ns = cursor_u64(&c);
	s.compress = cursor_u32(&c);
	flags = cursor_u32(&c);
	s.unsafe_no_fencing = flags & SUPERBLOCK_UNSAFE;
	s.root_uid = cursor_u32(&c);
	s.root_gid = cursor_u32(&c);
	s.root_mode = cursor_u32(&c);
	if (flags & ~SUPERBLOCK_UNSAFE)
		return ERR_NEWER_FORMAT;
	rc = small_end(&c, type);
	if (rc)
		return rc;
	if (s.compress > COMPRESS_MAX || s.root_mode > 07777)
		return ERR_CORRUPT;
	*ret = s;
	return 0;
}

int claim_encode(const struct claim *c, struct buf *out)
{
	size_t start;

	if (!object_node_ok(c->node))
		return -EINVAL;
	object_frame_begin(out, &start, claim_magic, 0, 0, c->volume_uuid);
	buf_bytes(out, c->claim_id, ID_BYTES);
	buf_bytes(out, c->log_uuid, ID_BYTES);
	buf_bytes(out, c->machine_id, ID_BYTES);
	buf_u64(out, c->epoch);
	buf_u64(out, c->real_ns);
	object_node_put(out, c->node);
	return object_frame_end(out, start, SMALL_BYTES);
}

int claim_decode(const void *p, size_t len, struct claim *ret)
{
	struct claim m;
	struct cursor c;
	uint16_t type;
	int rc = object_frame_open(p, len, claim_magic, SMALL_BYTES, &type, m.volume_uuid, &c);

	if (rc)
		return rc;
	cursor_copy(&c, m.claim_id, ID_BYTES);
	cursor_copy(&c, m.log_uuid, ID_BYTES);
	cursor_copy(&c, m.machine_id, ID_BYTES);
	m.epoch = cursor_u64(&c);
	m.real_ns = cursor_u64(&c);
	rc = object_node_get(&c, m.node);
	if (!rc)
		rc = small_end(&c, type);
	if (rc)
		return rc;
	*ret = m;
	return 0;
}

int heartbeat_encode(const struct heartbeat *h, struct buf *out)
{
	size_t start;

	if (!object_node_ok(h->node) || (h->state != HEARTBEAT_ALIVE && h->state != HEARTBEAT_RELEASED))
		return -EINVAL;
	object_frame_begin(out, &start, heartbeat_magic, 0, 0, h->volume_uuid);
	buf_bytes(out, h->claim_id, ID_BYTES);
	buf_u64(out, h->epoch);
	buf_u64(out, h->slot);
	buf_u64(out, h->lsn);
	buf_u64(out, h->real_ns);
	buf_u32(out, (uint32_t)h->state);
	buf_u32(out, 0);
	object_node_put(out, h->node);
	return object_frame_end(out, start, SMALL_BYTES);
}

int heartbeat_decode(const void *p, size_t len, struct heartbeat *ret)
{
	struct heartbeat h;
	struct cursor c;
	uint16_t type;
	uint32_t state, reserved;
	int rc = object_frame_open(p, len, heartbeat_magic, SMALL_BYTES, &type, h.volume_uuid, &c);

	if (rc)
		return rc;
	cursor_copy(&c, h.claim_id, ID_BYTES);
	h.epoch = cursor_u64(&c);
	h.slot = cursor_u64(&c);
	h.lsn = cursor_u64(&c);
	h.real_ns = cursor_u64(&c);
	state = cursor_u32(&c);
	reserved = cursor_u32(&c);
	if ((state != HEARTBEAT_ALIVE && state != HEARTBEAT_RELEASED) || reserved)
		return ERR_NEWER_FORMAT;
	h.state = (enum heartbeat_state)state;
	rc = object_node_get(&c, h.node);
	if (!rc)
		rc = small_end(&c, type);
	if (rc)
		return rc;
	*ret = h;
	return 0;
}
