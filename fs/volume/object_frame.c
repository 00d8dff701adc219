/*
 * object_frame.c - front and hash of the objects of a volume; see object_frame.h.
 * Stateless.
 */
#include "object_frame.h"

#include <errno.h>
#include <string.h>

#include "err.h"

/* Offsets in the front. */
enum { AT_VERSION = 8, AT_TYPE = 10, AT_FEATURES = 12, AT_TOTAL = 16, AT_RESERVED = 20, AT_UUID = 24 };

void object_frame_begin(struct buf *out, size_t *ret_start, const char *magic, uint16_t type, uint32_t features, const uint8_t *volume_uuid)
{
	*ret_start = out->len;
	buf_bytes(out, magic, OBJECT_MAGIC_BYTES);
	buf_u16(out, FORMAT_VERSION);
	buf_u16(out, type);
	buf_u32(out, features);
	buf_u64(out, 0); /* length, reserved */
	buf_bytes(out, volume_uuid, ID_BYTES);
}

int object_frame_end(struct buf *out, size_t start, size_t total_bytes)
{
	uint8_t hash[HASH_BYTES];
	size_t len;

	if (!out->err && total_bytes)
		buf_zero(out, total_bytes - HASH_BYTES - (out->len - start));
	if (!out->err && out->len - start > UINT32_MAX - HASH_BYTES)
		out->err = -EFBIG;
	if (buf_reserve(out, HASH_BYTES)) {
		out->len = start;
		return out->err;
	}
	len = out->len - start;
	put_u32(out->data + start + AT_TOTAL, (uint32_t)(len + HASH_BYTES));
	hash_blake2b(out->data + start, len, hash);
	buf_bytes(out, hash, HASH_BYTES);
	return 0;
}

int object_frame_open(const void *p, size_t len, const char *magic, size_t total_bytes, uint16_t *ret_type, uint8_t *ret_volume_uuid,
		      struct cursor *ret_body)
{
	const uint8_t *b = p;
	uint8_t hash[HASH_BYTES];

	if (len < OBJECT_FRAME_BYTES + HASH_BYTES || memcmp(b, magic, OBJECT_MAGIC_BYTES) != 0 || get_u32(b + AT_TOTAL) != len)
		return ERR_CORRUPT;
	hash_blake2b(b, len - HASH_BYTES, hash);
	if (memcmp(hash, b + len - HASH_BYTES, HASH_BYTES) != 0)
		return ERR_CORRUPT;
	if (b[AT_VERSION] != FORMAT_VERSION || b[AT_VERSION + 1] != 0)
		return ERR_NEWER_FORMAT;
	if (get_u32(b + AT_FEATURES) != 0 || get_u32(b + AT_RESERVED) != 0)
		return ERR_NEWER_FORMAT;
	if (total_bytes && len != total_bytes)
		return ERR_CORRUPT;
	*ret_type = (uint16_t)(b[AT_TYPE] | (b[AT_TYPE + 1] << 8));
	memcpy(ret_volume_uuid, b + AT_UUID, ID_BYTES);
	*ret_body = cursor_make(b + OBJECT_FRAME_BYTES, len - OBJECT_FRAME_BYTES - HASH_BYTES);
	return 0;
}

bool object_frame_zeros(struct cursor *c, size_t len)
{
	const uint8_t *p = cursor_view(c, len);

	if (!p)
		return false;
	while (len > 0 && *p == 0) {
		p++;
		len--;
	}
	return len == 0;
}

bool object_node_ok(const char *node)
{
	size_t len = strnlen(node, NODE_NAME_MAX + 1);

	if (len < 1 || len > NODE_NAME_MAX)
		return false;
	/* It goes into messages: nothing that a terminal would obey. */
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)node[i] < 0x20 || node[i] == 0x7f)
			return false;
	return true;
}

void object_node_put(struct buf *out, const char *node)
{
	size_t len = strnlen(node, NODE_NAME_MAX);

	buf_bytes(out, node, len);
	buf_zero(out, NODE_NAME_MAX - len);
}

int object_node_get(struct cursor *c, char *ret_node)
{
	char node[NODE_NAME_MAX + 1] = { 0 };
	const uint8_t *p = cursor_view(c, NODE_NAME_MAX);

	if (!p)
		return ERR_CORRUPT;
	memcpy(node, p, NODE_NAME_MAX);
	if (!object_node_ok(node))
		return ERR_CORRUPT;
	for (size_t i = strlen(node); i < NODE_NAME_MAX; i++)
		if (node[i])
			return ERR_CORRUPT;
	memcpy(ret_node, node, sizeof(node));
	return 0;
}
