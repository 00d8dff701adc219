/*
 * object_manifest.c - the manifest of a checkpoint: which runs, newest first, of which parts. Stateless.
 *
 * Memory of a decoded manifest is bounded by its bytes: a part costs 64 of them, a run 16, and both counts are held
 * against what is left before anything is allocated.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "object_frame.h"

#define RESERVED_BYTES 40u
#define RUN_BYTES 16u
#define PART_BYTES 64u

static const char manifest_magic[] = "CLNLMANI";

int manifest_encode(const struct manifest *m, struct buf *out)
{
	size_t start;

	object_frame_begin(out, &start, manifest_magic, 0, 0, m->volume_uuid);
	buf_u64(out, m->epoch);
	buf_u64(out, m->slot);
	buf_u64(out, m->lsn);
	buf_u64(out, m->next_ino);
	buf_u64(out, m->commit_real_ns);
	buf_bytes(out, m->slot_hash, HASH_BYTES);
	buf_u32(out, m->run_count);
	buf_u32(out, 0);
	buf_zero(out, RESERVED_BYTES);
	for (uint32_t i = 0; i < m->run_count; i++) {
		const struct manifest_run *r = &m->runs[i];

		buf_u32(out, r->part_count);
		buf_u32(out, 0);
		buf_u64(out, r->bytes);
		for (uint32_t k = 0; k < r->part_count; k++) {
			buf_bytes(out, r->parts[k].id, ID_BYTES);
			buf_u32(out, r->parts[k].bytes);
			buf_u32(out, 0);
			buf_u64(out, r->parts[k].count);
			buf_bytes(out, r->parts[k].hash, HASH_BYTES);
		}
	}
	return object_frame_end(out, start, 0);
}

static int decode_run(struct cursor *c, struct manifest_run *r)
{
	uint32_t count = cursor_u32(c), reserved = cursor_u32(c);

	r->bytes = cursor_u64(c);
	if (reserved)
		return ERR_NEWER_FORMAT;
	if (c->err || count > cursor_left(c) / PART_BYTES)
		return ERR_CORRUPT;
	r->parts = calloc(count ? count : 1, sizeof(*r->parts));
	if (!r->parts)
		return -ENOMEM;
	r->part_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct manifest_part *part = &r->parts[i];

		cursor_copy(c, part->id, ID_BYTES);
		part->bytes = cursor_u32(c);
		if (cursor_u32(c))
			return ERR_NEWER_FORMAT;
		part->count = cursor_u64(c);
		cursor_copy(c, part->hash, HASH_BYTES);
	}
	return c->err;
}

static int decode_runs(struct cursor *c, uint32_t count, struct manifest *m)
{
	if (count > cursor_left(c) / RUN_BYTES)
		return ERR_CORRUPT;
	m->runs = calloc(count ? count : 1, sizeof(*m->runs));
	if (!m->runs)
		return -ENOMEM;
	m->run_count = count;
	for (uint32_t i = 0; i < count; i++) {
		int rc = decode_run(c, &m->runs[i]);

		if (rc)
			return rc;
	}
	return cursor_end(c);
}

int manifest_decode(const void *p, size_t len, struct manifest *ret)
{
	struct manifest m = { .runs = NULL };
	struct cursor c;
	uint16_t type;
	uint32_t count, reserved;
	int rc = object_frame_open(p, len, manifest_magic, 0, &type, m.volume_uuid, &c);

	if (rc)
		return rc;
	m.epoch = cursor_u64(&c);
	m.slot = cursor_u64(&c);
	m.lsn = cursor_u64(&c);
	m.next_ino = cursor_u64(&c);
	m.commit_real_ns = cursor_u64(&c);
	cursor_copy(&c, m.slot_hash, HASH_BYTES);
	count = cursor_u32(&c);
	reserved = cursor_u32(&c);
	if (c.err || cursor_left(&c) < RESERVED_BYTES)
		return ERR_CORRUPT;
	if (type || reserved || !object_frame_zeros(&c, RESERVED_BYTES))
		return ERR_NEWER_FORMAT;
	rc = decode_runs(&c, count, &m);
	if (rc) {
		manifest_free(&m);
		return rc;
	}
	*ret = m;
	return 0;
}

void manifest_free(struct manifest *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->run_count; i++)
		free(m->runs[i].parts);
	free(m->runs);
	m->runs = NULL;
	m->run_count = 0;
}
