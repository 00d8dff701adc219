/*
 * object_footer.c - head and footer of the objects under log/; opening records and seals, which are nothing else.
 *
 * Stateless. The footer's hash covers the object: run and table by their hashes, the data by the table's sums, and
 * the head because it says nothing that the footer does not (object_verify compares them). Fields of another type
 * than the object's are zero.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "object_frame.h"

#define HEAD_RESERVED_BYTES 16u
#define MARK_BYTES (OBJECT_HEAD_BYTES + OBJECT_FOOTER_BYTES)
#define FLAGS_KNOWN 1u
#define DURABILITY_MAX 1u
#define CUT_BYTES 96u  /* the fields of a cut, in the footer */
#define OPEN_BYTES 48u
#define SEAL_BYTES 8u

static const char head_magic[] = "CLNLHEAD", footer_magic[] = "CLNLFOOT";

static bool type_ok(uint32_t type)
{
	return type == OBJECT_OPEN || type == OBJECT_CUT || type == OBJECT_SEAL;
}

/* --- head --- */

int object_head_encode(const struct object_footer *f, struct buf *out)
{
	size_t start;

	object_frame_begin(out, &start, head_magic, (uint16_t)f->type, 0, f->volume_uuid);
	buf_u64(out, f->epoch);
	buf_u64(out, f->slot);
	buf_bytes(out, f->put_id, ID_BYTES);
	buf_u64(out, f->type == OBJECT_CUT ? f->segment_id : 0);
	return object_frame_end(out, start, OBJECT_HEAD_BYTES);
}

int object_decode_head(const void *p, size_t len, enum object_type *ret_type, uint64_t *ret_epoch, uint64_t *ret_slot, uint8_t *ret_put_id)
{
	struct cursor c;
	uint16_t type;
	uint8_t uuid[ID_BYTES], put_id[ID_BYTES];
	uint64_t epoch, slot;
	int rc = object_frame_open(p, len, head_magic, OBJECT_HEAD_BYTES, &type, uuid, &c);

	if (rc)
		return rc;
	epoch = cursor_u64(&c);
	slot = cursor_u64(&c);
	cursor_copy(&c, put_id, ID_BYTES);
	cursor_u64(&c); /* segment ID: the footer has it */
	if (!type_ok(type) || !object_frame_zeros(&c, HEAD_RESERVED_BYTES))
		return ERR_NEWER_FORMAT;
	rc = cursor_end(&c);
	if (rc)
		return rc;
	*ret_type = (enum object_type)type;
	*ret_epoch = epoch;
	*ret_slot = slot;
	memcpy(ret_put_id, put_id, ID_BYTES);
	return 0;
}

/* --- footer --- */

static bool cut_ok(const struct object_footer *f, uint64_t object_bytes)
{
	uint64_t run_end = (uint64_t)f->run_offset + f->run_len, table_end = (uint64_t)f->table_offset + f->table_len;

	return f->first_lsn >= 1 && f->last_lsn >= f->first_lsn - 1 && f->data_len <= SEGMENT_DATA_MAX &&
	       f->run_offset >= OBJECT_HEAD_BYTES && run_end == f->table_offset && table_end + OBJECT_FOOTER_BYTES == object_bytes;
}

static bool footer_ok(const struct object_footer *f, uint64_t object_bytes)
{
	if (f->type == OBJECT_CUT)
		return cut_ok(f, object_bytes);
	if (object_bytes != MARK_BYTES || f->last_lsn == UINT64_MAX || f->first_lsn != f->last_lsn + 1)
		return false;
	return f->type == OBJECT_SEAL || f->has_parent || (f->parent_epoch == 0 && f->parent_slot == 0);
}

static void put_cut(const struct object_footer *f, struct buf *out)
{
	if (f->type != OBJECT_CUT) {
		buf_zero(out, CUT_BYTES);
		return;
	}
	buf_u64(out, f->segment_id);
	buf_u32(out, f->data_len);
	buf_u32(out, f->run_offset);
	buf_u32(out, f->run_len);
	buf_u32(out, f->table_offset);
	buf_u32(out, f->table_len);
	buf_u32(out, 0);
	buf_bytes(out, f->run_hash, HASH_BYTES);
	buf_bytes(out, f->table_hash, HASH_BYTES);
}

static void put_open(const struct object_footer *f, struct buf *out)
{
	if (f->type != OBJECT_OPEN) {
		buf_zero(out, OPEN_BYTES);
		return;
	}
	buf_u32(out, f->has_parent);
	buf_u32(out, f->durability);
	buf_u64(out, f->parent_epoch);
	buf_u64(out, f->parent_slot);
	buf_bytes(out, f->log_uuid, ID_BYTES);
	buf_u32(out, f->fence_lease_ms);
	buf_u32(out, 0);
}

int object_footer_encode(struct object_footer *f, uint64_t object_bytes, struct buf *out)
{
	size_t start;
	int rc;

	if (!type_ok(f->type) || !footer_ok(f, object_bytes) || (f->flags & ~FLAGS_KNOWN) || (f->flags && f->type != OBJECT_CUT) ||
	    (f->type == OBJECT_OPEN && f->durability > DURABILITY_MAX))
		return -EINVAL;
	object_frame_begin(out, &start, footer_magic, (uint16_t)f->type, 0, f->volume_uuid);
	buf_u64(out, f->epoch);
	buf_u64(out, f->slot);
	buf_bytes(out, f->put_id, ID_BYTES);
	buf_bytes(out, f->claim_id, ID_BYTES);
	buf_bytes(out, f->prev_hash, HASH_BYTES);
	buf_u64(out, f->first_lsn);
	buf_u64(out, f->last_lsn);
	buf_u64(out, f->acked_epoch);
	buf_u64(out, f->acked_slot);
	buf_u64(out, f->commit_real_ns);
	buf_u64(out, f->next_ino);
	buf_u64(out, object_bytes);
	buf_u32(out, f->flags);
	buf_u32(out, 0); /* key of the encryption */
	put_cut(f, out);
	put_open(f, out);
	buf_u64(out, f->type == OBJECT_SEAL ? f->sealed_by_epoch : 0);
	rc = object_frame_end(out, start, OBJECT_FOOTER_BYTES);
	if (!rc)
		memcpy(f->own_hash, out->data + out->len - HASH_BYTES, HASH_BYTES);
	return rc;
}

static int get_cut(struct cursor *c, struct object_footer *f)
{
	if (f->type != OBJECT_CUT)
		return object_frame_zeros(c, CUT_BYTES) ? 0 : ERR_NEWER_FORMAT;
	f->segment_id = cursor_u64(c);
	f->data_len = cursor_u32(c);
	f->run_offset = cursor_u32(c);
	f->run_len = cursor_u32(c);
	f->table_offset = cursor_u32(c);
	f->table_len = cursor_u32(c);
	if (cursor_u32(c))
		return ERR_NEWER_FORMAT;
	cursor_copy(c, f->run_hash, HASH_BYTES);
	cursor_copy(c, f->table_hash, HASH_BYTES);
	return 0;
}

static int get_open(struct cursor *c, struct object_footer *f)
{
	uint32_t has_parent;

	if (f->type != OBJECT_OPEN)
		return object_frame_zeros(c, OPEN_BYTES) ? 0 : ERR_NEWER_FORMAT;
	has_parent = cursor_u32(c);
	f->has_parent = has_parent;
	f->durability = cursor_u32(c);
	f->parent_epoch = cursor_u64(c);
	f->parent_slot = cursor_u64(c);
	cursor_copy(c, f->log_uuid, ID_BYTES);
	f->fence_lease_ms = cursor_u32(c);
	if (cursor_u32(c) || has_parent > 1 || f->durability > DURABILITY_MAX)
		return ERR_NEWER_FORMAT;
	return 0;
}

/* The fields of every type, up to those of one. */
static int get_common(struct cursor *c, struct object_footer *f, uint64_t *ret_object_bytes)
{
	f->epoch = cursor_u64(c);
	f->slot = cursor_u64(c);
	cursor_copy(c, f->put_id, ID_BYTES);
	cursor_copy(c, f->claim_id, ID_BYTES);
	cursor_copy(c, f->prev_hash, HASH_BYTES);
	f->first_lsn = cursor_u64(c);
	f->last_lsn = cursor_u64(c);
	f->acked_epoch = cursor_u64(c);
	f->acked_slot = cursor_u64(c);
	f->commit_real_ns = cursor_u64(c);
	f->next_ino = cursor_u64(c);
	*ret_object_bytes = cursor_u64(c);
	f->flags = cursor_u32(c);
	if (cursor_u32(c) || (f->flags & ~(f->type == OBJECT_CUT ? FLAGS_KNOWN : 0)))
		return ERR_NEWER_FORMAT;
	return 0;
}

static int get_seal(struct cursor *c, struct object_footer *f)
{
	uint64_t by = cursor_u64(c);

	if (f->type != OBJECT_SEAL && by)
		return ERR_NEWER_FORMAT;
	f->sealed_by_epoch = by;
	return object_frame_zeros(c, cursor_left(c)) ? cursor_end(c) : ERR_NEWER_FORMAT;
}

int object_decode_footer(const void *p, size_t len, uint64_t object_size, struct object_footer *ret)
{
	struct object_footer f = { .flags = 0 };
	struct cursor c;
	uint16_t type;
	uint64_t object_bytes;
	const uint8_t *at;
	int rc;

	if (len < OBJECT_FOOTER_BYTES || len > object_size)
		return ERR_CORRUPT;
	at = (const uint8_t *)p + (len - OBJECT_FOOTER_BYTES);
	rc = object_frame_open(at, OBJECT_FOOTER_BYTES, footer_magic, OBJECT_FOOTER_BYTES, &type, f.volume_uuid, &c);
	if (rc)
		return rc;
	if (!type_ok(type))
		return ERR_NEWER_FORMAT;
	f.type = (enum object_type)type;
	memcpy(f.own_hash, at + OBJECT_FOOTER_BYTES - HASH_BYTES, HASH_BYTES);
	rc = get_common(&c, &f, &object_bytes);
	if (!rc)
		rc = get_cut(&c, &f);
	if (!rc)
		rc = get_open(&c, &f);
	if (!rc)
		rc = get_seal(&c, &f);
	if (rc)
		return rc;
	if (object_bytes != object_size || !footer_ok(&f, object_bytes))
		return ERR_CORRUPT;
	*ret = f;
	return 0;
}

int object_encode_mark(struct object_footer *f, struct buf *out)
{
	size_t start = out->len;
	int rc;

	if (f->type != OBJECT_OPEN && f->type != OBJECT_SEAL)
		return -EINVAL;
	rc = object_head_encode(f, out);
	if (!rc)
		rc = object_footer_encode(f, MARK_BYTES, out);
	if (rc)
		out->len = start;
	return rc;
}
