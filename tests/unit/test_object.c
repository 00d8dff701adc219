/* test_object.c - the objects of a volume as bytes: round trips, and every decoder against flipped, truncated and forged bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "object.h"
#include "run.h"

/* --- any decoder as a function of bytes alone: decodes, encodes again into out --- */
typedef int again_fn(const void *p, size_t len, struct buf *out);

static int superblock_again(const void *p, size_t len, struct buf *out)
{
	struct superblock s;
	int rc = superblock_decode(p, len, &s);

	return rc ? rc : superblock_encode(&s, out);
}

static int claim_again(const void *p, size_t len, struct buf *out)
{
	struct claim c;
	int rc = claim_decode(p, len, &c);

	return rc ? rc : claim_encode(&c, out);
}

static int heartbeat_again(const void *p, size_t len, struct buf *out)
{
	struct heartbeat h;
	int rc = heartbeat_decode(p, len, &h);

	return rc ? rc : heartbeat_encode(&h, out);
}

static int manifest_again(const void *p, size_t len, struct buf *out)
{
	struct manifest m;
	int rc = manifest_decode(p, len, &m);

	if (rc)
		return rc;
	rc = manifest_encode(&m, out);
	manifest_free(&m);
	return rc;
}

static int table_again(const void *p, size_t len, struct buf *out)
{
	struct object_table t;
	int rc = object_table_decode(p, len, &t);

	return rc ? rc : object_table_encode(&t, out);
}

static int mark_again(const void *p, size_t len, struct buf *out)
{
	struct object_footer f;
	int rc = object_verify(p, len, &f, NULL);

	return rc ? rc : object_encode_mark(&f, out);
}

/* Every flipped bit is refused or changes nothing; every truncation and every byte too many is refused. */
static void torture(const struct buf *b, again_fn *again)
{
	struct buf out = BUF_INIT;

	assert_int_equal(again(b->data, b->len, &out), 0);
	assert_int_equal(out.len, b->len);
	assert_memory_equal(out.data, b->data, b->len);
	for (size_t bit = 0; bit < b->len * 8; bit++) {
		b->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		buf_reset(&out);
		int rc = again(b->data, b->len, &out);

		b->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_true(rc == ERR_CORRUPT || rc == ERR_NEWER_FORMAT ||
			    (rc == 0 && out.len == b->len && memcmp(out.data, b->data, b->len) == 0));
	}
	for (size_t len = 0; len < b->len; len++) {
		uint8_t *copy = malloc(len ? len : 1);

		assert_non_null(copy);
		memcpy(copy, b->data, len);
		buf_reset(&out);
		assert_int_equal(again(copy, len, &out), ERR_CORRUPT);
		free(copy);
	}
	uint8_t *longer = calloc(1, b->len + 1);

	assert_non_null(longer);
	memcpy(longer, b->data, b->len);
	buf_reset(&out);
	assert_int_equal(again(longer, b->len + 1, &out), ERR_CORRUPT);
	free(longer);
	buf_free(&out);
}

/* Sets bytes of a framed object and makes its hash good again. */
static void forge(struct buf *b, size_t at, const void *bytes, size_t len)
{
	memcpy(b->data + at, bytes, len);
	hash_blake2b(b->data, b->len - HASH_BYTES, b->data + b->len - HASH_BYTES);
}

static void expect_newer(again_fn *again, struct buf *b, size_t at)
{
	struct buf out = BUF_INIT;
	uint8_t old = b->data[at], x = (uint8_t)(old ^ 0x40);

	forge(b, at, &x, 1);
	assert_int_equal(again(b->data, b->len, &out), ERR_NEWER_FORMAT);
	forge(b, at, &old, 1);
	buf_free(&out);
}

/* What every frame refuses as newer: version, type, features, what is reserved. */
static void newer_frames(struct buf *b, again_fn *again, size_t reserved)
{
	expect_newer(again, b, 8);
	expect_newer(again, b, 10);
	expect_newer(again, b, 12);
	expect_newer(again, b, 15);
	expect_newer(again, b, 20);
	expect_newer(again, b, reserved);
}

static void superblocks(void **state)
{
	struct superblock s = { .volume_uuid = "0123456789abcde", .created_real_ns = 17, .compress = 3, .unsafe_no_fencing = true,
				.root_uid = 33, .root_gid = 34, .root_mode = 0750 }, r;
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(superblock_encode(&s, &b), 0);
	assert_int_equal(superblock_decode(b.data, b.len, &r), 0);
	assert_memory_equal(r.volume_uuid, s.volume_uuid, ID_BYTES);
	assert_int_equal(r.created_real_ns, 17);
	assert_int_equal(r.compress, 3);
	assert_true(r.unsafe_no_fencing);
	assert_int_equal(r.features, 0);
	assert_true(r.root_uid == 33 && r.root_gid == 34 && r.root_mode == 0750);
	torture(&b, superblock_again);
	newer_frames(&b, superblock_again, 68);
	expect_newer(superblock_again, &b, 52); /* flags */
	buf_reset(&b);
	s.features = 1;
	assert_int_equal(superblock_encode(&s, &b), 0);
	assert_int_equal(superblock_decode(b.data, b.len, &r), ERR_NEWER_FORMAT);
	s.compress = 23;
	assert_int_equal(superblock_encode(&s, &b), -EINVAL);
	buf_free(&b);
}

static void claims(void **state)
{
	struct claim c = { .volume_uuid = "v", .claim_id = "c", .log_uuid = "l", .machine_id = "m", .epoch = 7, .real_ns = 8, .node = "db-1" }, r;
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(claim_encode(&c, &b), 0);
	assert_int_equal(claim_decode(b.data, b.len, &r), 0);
	assert_memory_equal(r.volume_uuid, c.volume_uuid, ID_BYTES);
	assert_memory_equal(r.claim_id, c.claim_id, ID_BYTES);
	assert_memory_equal(r.log_uuid, c.log_uuid, ID_BYTES);
	assert_memory_equal(r.machine_id, c.machine_id, ID_BYTES);
	assert_int_equal(r.epoch, 7);
	assert_int_equal(r.real_ns, 8);
	assert_string_equal(r.node, "db-1");
	torture(&b, claim_again);
	newer_frames(&b, claim_again, 200);
	memset(c.node, 'n', NODE_NAME_MAX); /* the longest */
	buf_reset(&b);
	assert_int_equal(claim_encode(&c, &b), 0);
	assert_int_equal(claim_decode(b.data, b.len, &r), 0);
	assert_string_equal(r.node, c.node);
	/* Names that a terminal would obey, empty ones, bytes behind the end. */
	forge(&b, 104, "\x1b[2J", 4);
	assert_int_equal(claim_decode(b.data, b.len, &r), ERR_CORRUPT);
	forge(&b, 104, "\0abc", 4);
	assert_int_equal(claim_decode(b.data, b.len, &r), ERR_CORRUPT);
	forge(&b, 104, "a\0bc", 4);
	assert_int_equal(claim_decode(b.data, b.len, &r), ERR_CORRUPT);
	buf_reset(&b);
	memset(c.node, 0, sizeof(c.node));
	assert_int_equal(claim_encode(&c, &b), -EINVAL);
	memset(c.node, 'x', sizeof(c.node));
	assert_int_equal(claim_encode(&c, &b), -EINVAL);
	assert_int_equal(b.len, 0);
	buf_free(&b);
}

static void heartbeats(void **state)
{
	struct heartbeat h = { .volume_uuid = "v", .claim_id = "c", .epoch = 1, .slot = 2, .lsn = 3, .real_ns = 4,
			       .state = HEARTBEAT_RELEASED, .node = "n" }, r;
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(heartbeat_encode(&h, &b), 0);
	assert_int_equal(heartbeat_decode(b.data, b.len, &r), 0);
	assert_int_equal(r.epoch, 1);
	assert_int_equal(r.slot, 2);
	assert_int_equal(r.lsn, 3);
	assert_int_equal(r.real_ns, 4);
	assert_int_equal(r.state, HEARTBEAT_RELEASED);
	assert_string_equal(r.node, "n");
	torture(&b, heartbeat_again);
	newer_frames(&b, heartbeat_again, 200);
	h.state = 3;
	assert_int_equal(heartbeat_encode(&h, &b), -EINVAL);
	buf_free(&b);
}

static void manifests(void **state)
{
	struct manifest_part parts[3] = { { .id = "a", .bytes = 1, .count = 2, .hash = "x" }, { .id = "b", .bytes = 3, .count = 4, .hash = "y" },
					  { .id = "c", .bytes = 5, .count = 6, .hash = "z" } };
	struct manifest_run runs[3] = { { parts, 1, 1 }, { NULL, 0, 0 }, { parts + 1, 2, 8 } };
	struct manifest m = { .volume_uuid = "v", .epoch = 1, .slot = 2, .lsn = 3, .next_ino = 4, .commit_real_ns = 5, .slot_hash = "h",
			      .runs = runs, .run_count = 3 }, r;
	struct buf b = BUF_INIT;

	(void)state;
	assert_int_equal(manifest_encode(&m, &b), 0);
	assert_int_equal(manifest_decode(b.data, b.len, &r), 0);
	assert_int_equal(r.epoch, 1);
	assert_int_equal(r.slot, 2);
	assert_int_equal(r.lsn, 3);
	assert_int_equal(r.next_ino, 4);
	assert_int_equal(r.commit_real_ns, 5);
	assert_memory_equal(r.slot_hash, m.slot_hash, HASH_BYTES);
	assert_int_equal(r.run_count, 3);
	assert_int_equal(r.runs[0].part_count, 1);
	assert_int_equal(r.runs[1].part_count, 0);
	assert_int_equal(r.runs[2].part_count, 2);
	assert_int_equal(r.runs[2].bytes, 8);
	for (int i = 0; i < 2; i++) {
		assert_memory_equal(r.runs[2].parts[i].id, parts[i + 1].id, ID_BYTES);
		assert_int_equal(r.runs[2].parts[i].bytes, parts[i + 1].bytes);
		assert_int_equal(r.runs[2].parts[i].count, parts[i + 1].count);
		assert_memory_equal(r.runs[2].parts[i].hash, parts[i + 1].hash, HASH_BYTES);
	}
	manifest_free(&r);
	torture(&b, manifest_again);
	newer_frames(&b, manifest_again, 130);
	forge(&b, 112, "\xff\xff\xff\xff", 4); /* more runs than could be */
	assert_int_equal(manifest_decode(b.data, b.len, &r), ERR_CORRUPT);
	forge(&b, 112, "\3\0\0\0", 4);
	forge(&b, 160, "\xff\xff\xff\x0f", 4); /* more parts than could be */
	assert_int_equal(manifest_decode(b.data, b.len, &r), ERR_CORRUPT);
	forge(&b, 160, "\1\0\0\0", 4);
	assert_int_equal(manifest_decode(b.data, b.len, &r), 0);
	manifest_free(&r);
	manifest_free(&r);
	buf_reset(&b);
	m.run_count = 0;
	assert_int_equal(manifest_encode(&m, &b), 0);
	torture(&b, manifest_again);
	buf_free(&b);
}

static void keys(void **state)
{
	static const uint8_t id[ID_BYTES] = { 0x01, 0xab, 0xff };
	char key[OBJECT_KEY_MAX];
	uint64_t e = 0, s = 0;

	(void)state;
	object_key_claim(12, key);
	assert_string_equal(key, "epochs/0000000012");
	assert_true(object_parse_claim_key(key, &e));
	assert_int_equal(e, 12);
	object_key_slot(3, 45, key);
	assert_string_equal(key, "log/0000000003/000000000045");
	assert_true(object_parse_slot_key(key, &e, &s));
	assert_true(e == 3 && s == 45);
	object_key_manifest(9999999999, 999999999999, key);
	assert_string_equal(key, "manifests/9999999999/999999999999");
	assert_true(object_parse_manifest_key(key, &e, &s));
	assert_true(e == 9999999999 && s == 999999999999);
	object_key_run(id, key);
	assert_string_equal(key, "runs/01abff00000000000000000000000000");
	object_key_slot(UINT64_MAX, UINT64_MAX, key); /* too long to be one, but it fits the buffer */
	assert_false(object_parse_slot_key(key, &e, &s));

	static const char *const bad[] = { "", "log", "log/", "log/0000000003", "log/0000000003/", "log/0000000003/00000000004", "log/0000000003/0000000000450",
		"log/000000003/000000000045", "log/0000000003/00000000004a", "log/0000000003/+00000000045", "log/0000000003/ 00000000045",
		"Log/0000000003/000000000045", "log/0000000003/000000000045/", "epochs/000000001", "epochs/00000000012", "epochs/000000001x", "epochs/",
		"manifests/0000000003", "xlog/0000000003/000000000045" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(object_parse_claim_key(bad[i], &e));
		assert_false(object_parse_slot_key(bad[i], &e, &s));
		assert_false(object_parse_manifest_key(bad[i], &e, &s));
	}
}

static struct object_footer base(enum object_type type)
{
	struct object_footer f = { .type = type, .volume_uuid = "volume", .epoch = 4, .slot = 5, .put_id = "put", .claim_id = "claim", .prev_hash = "prev",
				   .first_lsn = 101, .last_lsn = 100, .acked_epoch = 4, .acked_slot = 3, .commit_real_ns = 77, .next_ino = 88 };

	return f;
}

static void same_common(const struct object_footer *a, const struct object_footer *b)
{
	assert_int_equal(a->type, b->type);
	assert_memory_equal(a->volume_uuid, b->volume_uuid, ID_BYTES);
	assert_true(a->epoch == b->epoch && a->slot == b->slot);
	assert_memory_equal(a->put_id, b->put_id, ID_BYTES);
	assert_memory_equal(a->claim_id, b->claim_id, ID_BYTES);
	assert_memory_equal(a->prev_hash, b->prev_hash, HASH_BYTES);
	assert_true(a->first_lsn == b->first_lsn && a->last_lsn == b->last_lsn);
	assert_true(a->acked_epoch == b->acked_epoch && a->acked_slot == b->acked_slot);
	assert_true(a->commit_real_ns == b->commit_real_ns && a->next_ino == b->next_ino && a->flags == b->flags);
	assert_memory_equal(a->own_hash, b->own_hash, HASH_BYTES);
}

static void marks(void **state)
{
	struct object_footer o = base(OBJECT_OPEN), s = base(OBJECT_SEAL), r;
	struct buf b = BUF_INIT;
	enum object_type type;
	uint64_t epoch, slot;
	uint8_t put_id[ID_BYTES];

	(void)state;
	o.has_parent = true;
	o.parent_epoch = 2;
	o.parent_slot = 9;
	memcpy(o.log_uuid, "log", 3);
	o.durability = 1;
	o.fence_lease_ms = 5000;
	assert_int_equal(object_encode_mark(&o, &b), 0);
	assert_int_equal(b.len, OBJECT_HEAD_BYTES + OBJECT_FOOTER_BYTES);
	assert_int_equal(object_decode_footer(b.data, b.len, b.len, &r), 0);
	same_common(&o, &r);
	assert_true(r.has_parent && r.parent_epoch == 2 && r.parent_slot == 9 && r.durability == 1 && r.fence_lease_ms == 5000);
	assert_memory_equal(r.log_uuid, o.log_uuid, ID_BYTES);
	assert_int_equal(object_decode_head(b.data, OBJECT_HEAD_BYTES, &type, &epoch, &slot, put_id), 0);
	assert_true(type == OBJECT_OPEN && epoch == 4 && slot == 5);
	assert_memory_equal(put_id, o.put_id, ID_BYTES);
	torture(&b, mark_again);

	buf_reset(&b);
	s.sealed_by_epoch = 6;
	assert_int_equal(object_encode_mark(&s, &b), 0);
	/* The footer alone is as good as the whole. */
	assert_int_equal(object_decode_footer(b.data + OBJECT_HEAD_BYTES, OBJECT_FOOTER_BYTES, b.len, &r), 0);
	same_common(&s, &r);
	assert_int_equal(r.sealed_by_epoch, 6);
	torture(&b, mark_again);
	/* The object is not as long as its footer says. */
	assert_int_equal(object_decode_footer(b.data, b.len, b.len + 1, &r), ERR_CORRUPT);
	assert_int_equal(object_decode_footer(b.data + OBJECT_HEAD_BYTES, OBJECT_FOOTER_BYTES, OBJECT_FOOTER_BYTES, &r), ERR_CORRUPT);

	s.first_lsn = 100;
	assert_int_equal(object_encode_mark(&s, &b), -EINVAL);
	s = base(OBJECT_CUT);
	assert_int_equal(object_encode_mark(&s, &b), -EINVAL);
	s = base(OBJECT_OPEN);
	s.parent_slot = 1; /* of no parent */
	assert_int_equal(object_encode_mark(&s, &b), -EINVAL);
	s = base(OBJECT_OPEN);
	s.flags = 1;
	assert_int_equal(object_encode_mark(&s, &b), -EINVAL);
	buf_free(&b);
}

/* A head that belongs to another object under a good footer. */
static void heads_must_match(void **state)
{
	struct object_footer f = base(OBJECT_SEAL), r;
	struct buf a = BUF_INIT, b = BUF_INIT;

	(void)state;
	assert_int_equal(object_encode_mark(&f, &a), 0);
	f.slot++;
	assert_int_equal(object_encode_mark(&f, &b), 0);
	memcpy(b.data, a.data, OBJECT_HEAD_BYTES);
	assert_int_equal(object_decode_footer(b.data, b.len, b.len, &r), 0);
	assert_int_equal(object_verify(b.data, b.len, &r, NULL), ERR_CORRUPT);
	buf_free(&a);
	buf_free(&b);
}

static void small_run(struct buf *b)
{
	struct run_writer *w;

	assert_int_equal(run_writer_new(0, &w), 0);
	assert_int_equal(run_writer_add(w, "key", 3, "value", 5), 0);
	assert_int_equal(run_writer_finish(w, b), 0);
	run_writer_free(w);
}

/* In pieces, and with sums that are known: the same bytes, and what is stored raw and whole is the caller's memory. */
static void same_in_pieces(const struct object_footer *f, const uint8_t *data, const bool *live, const struct buf *run, int compress,
			   const struct object_table *t, const struct buf *whole)
{
	struct object_footer g = *f;
	static struct object_table u;
	static uint64_t sums[SEGMENT_GRANULES];
	struct object_pieces p = { .iov = NULL };
	uint8_t granule[GRANULE_BYTES];
	size_t at = 0, in_data = 0, raw = 0;

	for (uint32_t off = 0; off < f->data_len; off += GRANULE_BYTES) {
		uint32_t n = f->data_len - off < GRANULE_BYTES ? f->data_len - off : GRANULE_BYTES;

		memset(granule, 0, sizeof(granule));
		memcpy(granule, data + off, n);
		sums[off / GRANULE_BYTES] = object_granule_sum(f->segment_id, granule);
	}
	assert_int_equal(object_encode_pieces(&g, data, live, sums, run->data, run->len, compress, &u, &p), 0);
	assert_int_equal(p.bytes, whole->len);
	assert_memory_equal(&u, t, sizeof(u));
	assert_memory_equal(g.own_hash, f->own_hash, HASH_BYTES);
	for (size_t i = 0; i < p.count; at += p.iov[i++].iov_len) {
		const uint8_t *from = p.iov[i].iov_base;

		assert_true(at + p.iov[i].iov_len <= whole->len);
		assert_memory_equal(from, whole->data + at, p.iov[i].iov_len);
		if (from >= data && from < data + f->data_len)
			in_data += p.iov[i].iov_len;
	}
	assert_int_equal(at, whole->len);
	for (uint32_t b = 0; b * BLOCK_BYTES < f->data_len; b++) {
		bool holes = false;

		for (uint32_t k = b * 16; live && k < (b + 1) * 16 && k * GRANULE_BYTES < f->data_len; k++)
			holes |= !live[k];
		raw += t->blocks[b].codec == 0 && !holes ? t->blocks[b].stored_len : 0;
	}
	assert_int_equal(in_data, raw);
	object_pieces_free(&p);
	object_pieces_free(&p);
}

static void encode_cut(struct object_footer *f, const uint8_t *data, uint32_t len, const bool *live, int compress, struct object_table *t, struct buf *b)
{
	struct buf run = BUF_INIT;

	*f = base(OBJECT_CUT);
	f->last_lsn = 120;
	f->segment_id = 0xabcdef;
	f->data_len = len;
	f->flags = 1;
	small_run(&run);
	assert_int_equal(object_encode_cut(f, data, live, run.data, run.len, compress, t, b), 0);
	assert_int_equal(f->run_len, run.len);
	assert_memory_equal(b->data + f->run_offset, run.data, run.len);
	same_in_pieces(f, data, live, &run, compress, t, b);
	buf_free(&run);
}

/* Reads a cut as a mount does: footer from the tail, table by its hash, blocks one by one. Live granules must be data's. */
static void check_cut(const struct object_footer *f, const uint8_t *data, uint32_t len, const bool *live, const struct buf *b)
{
	struct object_footer r;
	struct object_table t;
	static uint8_t out[BLOCK_BYTES];
	uint8_t hash[HASH_BYTES];

	assert_int_equal(object_decode_footer(b->data + b->len - OBJECT_FOOTER_BYTES, OBJECT_FOOTER_BYTES, b->len, &r), 0);
	same_common(f, &r);
	assert_true(r.segment_id == f->segment_id && r.data_len == len && r.run_offset == f->run_offset && r.run_len == f->run_len &&
		    r.table_offset == f->table_offset && r.table_len == f->table_len);
	hash_blake2b(b->data + r.table_offset, r.table_len, hash);
	assert_memory_equal(hash, r.table_hash, HASH_BYTES);
	hash_blake2b(b->data + r.run_offset, r.run_len, hash);
	assert_memory_equal(hash, r.run_hash, HASH_BYTES);
	assert_int_equal(object_table_decode(b->data + r.table_offset, r.table_len, &t), 0);
	assert_int_equal(t.data_len, len);
	for (uint32_t i = 0; i * BLOCK_BYTES < len; i++) {
		uint32_t want = len - i * BLOCK_BYTES < BLOCK_BYTES ? len - i * BLOCK_BYTES : BLOCK_BYTES, got = 0;

		if (t.blocks[i].stored_len == 0) {
			assert_int_equal(object_decode_block(&t, f->segment_id, i, b->data, 0, out, &got), ERR_CORRUPT);
			for (uint32_t g = i * 16; g < (i + 1) * 16 && g * GRANULE_BYTES < len; g++)
				assert_true(live && !live[g] && t.sums[g] == 0);
			continue;
		}
		assert_int_equal(object_decode_block(&t, f->segment_id, i, b->data + t.blocks[i].offset, t.blocks[i].stored_len, out, &got), 0);
		assert_int_equal(got, want);
		for (uint32_t off = 0; off < want; off += GRANULE_BYTES) {
			uint32_t g = i * 16 + off / GRANULE_BYTES, n = want - off < GRANULE_BYTES ? want - off : GRANULE_BYTES;

			assert_int_equal(t.sums[g] == 0, live && !live[g]);
			if (t.sums[g])
				assert_memory_equal(out + off, data + i * BLOCK_BYTES + off, n);
		}
	}
	assert_int_equal(object_verify(b->data, b->len, &r, &t), 0);
}

/* kind: 0 random, 1 text, 2 blocks of both. */
static void fill(uint64_t *seed, int kind, uint8_t *p, size_t len)
{
	rng_fill(seed, p, len);
	for (size_t i = 0; i < len; i++)
		if (kind == 1 || (kind == 2 && i / BLOCK_BYTES % 2))
			p[i] &= 7;
}

static void cuts(void **state)
{
	static const uint32_t lens[] = { 0, 1, 8, 63, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 200000, 1u << 20, SEGMENT_DATA_MAX - 1, SEGMENT_DATA_MAX };
	uint8_t *data = malloc(SEGMENT_DATA_MAX);
	static struct object_table t;
	static bool live[SEGMENT_GRANULES];
	uint64_t seed = 1;

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (int kind = 0; kind < 3; kind++) {
			for (int holes = 0; holes < 3; holes++) {
				struct object_footer f;
				struct buf b = BUF_INIT;

				if (lens[i] > 1u << 20 && kind + holes != 2)
					continue;
				fill(&seed, kind, data, lens[i]);
				for (size_t g = 0; g < SEGMENT_GRANULES; g++)
					live[g] = holes == 1 ? rng_below(&seed, 2) : rng_below(&seed, 30) == 0;
				encode_cut(&f, data, lens[i], holes ? live : NULL, kind == 2 ? 0 : 1, &t, &b);
				check_cut(&f, data, lens[i], holes ? live : NULL, &b);
				buf_free(&b);
			}
		}
	}
	free(data);
}

static void compression_pays(void **state)
{
	uint8_t *data = malloc(1u << 20);
	static struct object_table t;
	struct object_footer f;
	struct buf b = BUF_INIT;
	uint64_t seed = 4;

	(void)state;
	assert_non_null(data);
	fill(&seed, 2, data, 1u << 20);
	encode_cut(&f, data, 1u << 20, NULL, 1, &t, &b);
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(t.blocks[i].codec, i % 2);
		assert_true(i % 2 ? t.blocks[i].stored_len < BLOCK_BYTES / 2 : t.blocks[i].stored_len == BLOCK_BYTES);
	}
	buf_free(&b);
	free(data);
}

/* What is elided leaves no trace: other bytes there give the same object. And a live granule's bytes do not. */
static void elided_bytes_do_not_matter(void **state)
{
	static uint8_t data[3 * BLOCK_BYTES];
	static struct object_table t;
	static bool live[SEGMENT_GRANULES];
	uint64_t seed = 2;

	(void)state;
	for (int compress = 0; compress < 2; compress++) {
		struct object_footer f;
		struct buf a = BUF_INIT, b = BUF_INIT;

		fill(&seed, compress, data, sizeof(data));
		for (size_t g = 0; g < 48; g++)
			live[g] = g >= 32 || g == 3;
		encode_cut(&f, data, sizeof(data) - 100, live, compress, &t, &a);
		assert_int_equal(t.blocks[1].stored_len, 0);
		memset(data + 2 * GRANULE_BYTES, 0x55, GRANULE_BYTES);
		memset(data + BLOCK_BYTES, 0xaa, BLOCK_BYTES);
		encode_cut(&f, data, sizeof(data) - 100, live, compress, &t, &b);
		assert_int_equal(a.len, b.len);
		assert_memory_equal(a.data, b.data, a.len);
		data[3 * GRANULE_BYTES] ^= 1;
		buf_reset(&b);
		encode_cut(&f, data, sizeof(data) - 100, live, compress, &t, &b);
		assert_true(a.len != b.len || memcmp(a.data, b.data, a.len) != 0);
		buf_free(&a);
		buf_free(&b);
	}
}

/* A small cut: every flipped bit is refused, or the object still says the same. */
static void cut_flips(void **state)
{
	static uint8_t data[3 * GRANULE_BYTES + 50];
	static bool live[SEGMENT_GRANULES] = { true, false, true, true };
	static struct object_table t, t2;
	uint64_t seed = 6;

	(void)state;
	for (int compress = 0; compress < 2; compress++) {
		struct object_footer f, r;
		struct buf b = BUF_INIT;

		fill(&seed, 0, data, sizeof(data));
		if (compress) /* so that the object is small, and flips in packed bytes are tried */
			memset(data, 'a', sizeof(data));
		data[5] = 'x';
		encode_cut(&f, data, sizeof(data), live, compress, &t, &b);
		for (size_t bit = 0; bit < b.len * 8; bit += bit / 8 > 128 && bit / 8 < f.run_offset && !compress ? 61 : 1) {
			b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			int rc = object_verify(b.data, b.len, &r, &t2);

			assert_true(rc == ERR_CORRUPT || rc == ERR_NEWER_FORMAT || rc == 0);
			/* Only packed bytes may change without changing what they say, which the sums have checked. */
			if (rc == 0) {
				assert_true(compress && bit / 8 >= OBJECT_HEAD_BYTES && bit / 8 < f.run_offset);
				assert_memory_equal(&t, &t2, sizeof(t));
				same_common(&f, &r);
			}
			b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
		for (size_t len = 0; len < b.len; len++)
			assert_int_equal(object_verify(b.data, len, &r, &t2), ERR_CORRUPT);
		buf_free(&b);
	}
}

static void tables(void **state)
{
	static uint8_t data[BLOCK_BYTES + 5000];
	static bool live[SEGMENT_GRANULES];
	static struct object_table t, r;
	struct object_footer f;
	struct buf object = BUF_INIT, b = BUF_INIT;

	(void)state;
	for (size_t g = 0; g < 18; g++)
		live[g] = g % 3 == 0;
	encode_cut(&f, data, sizeof(data), live, 1, &t, &object);
	assert_int_equal(object_table_encode(&t, &b), 0);
	assert_int_equal(object_table_decode(b.data, b.len, &r), 0);
	assert_memory_equal(&t, &r, sizeof(t));
	torture(&b, table_again);

	/* Tables that no encoder makes. */
	r = t;
	r.blocks[1].offset++;
	assert_int_equal(object_table_encode(&r, &b), -EINVAL);
	r = t;
	r.blocks[0].stored_len = BLOCK_BYTES + 1;
	assert_int_equal(object_table_encode(&r, &b), -EINVAL);
	r = t;
	r.blocks[0].codec = 2;
	assert_int_equal(object_table_encode(&r, &b), -EINVAL);
	r = t;
	memset(r.sums, 0, sizeof(r.sums)); /* all elided, but stored */
	assert_int_equal(object_table_encode(&r, &b), -EINVAL);
	r = t;
	r.data_len = SEGMENT_DATA_MAX + 1;
	assert_int_equal(object_table_encode(&r, &b), -EINVAL);
	assert_int_equal(object_decode_block(&r, 1, 0, data, 1, data, &r.data_len), ERR_CORRUPT);
	assert_int_equal(object_decode_block(&t, 1, SEGMENT_BLOCKS + 7, data, 1, data, &r.data_len), ERR_CORRUPT);
	buf_free(&object);
	buf_free(&b);
}

/* A block served from another place, segment, or with a swapped granule. */
static void blocks_are_bound(void **state)
{
	static uint8_t data[2 * BLOCK_BYTES], out[BLOCK_BYTES], stored[BLOCK_BYTES];
	static struct object_table t;
	struct object_footer f;
	struct buf b = BUF_INIT;
	uint64_t seed = 8;
	uint32_t len;

	(void)state;
	rng_fill(&seed, data, sizeof(data));
	encode_cut(&f, data, sizeof(data), NULL, 1, &t, &b);
	const uint8_t *b0 = b.data + t.blocks[0].offset, *b1 = b.data + t.blocks[1].offset;

	assert_int_equal(object_decode_block(&t, f.segment_id, 0, b0, BLOCK_BYTES, out, &len), 0);
	assert_int_equal(object_decode_block(&t, f.segment_id, 0, b1, BLOCK_BYTES, out, &len), ERR_CORRUPT);
	assert_int_equal(object_decode_block(&t, f.segment_id + 1, 0, b0, BLOCK_BYTES, out, &len), ERR_CORRUPT);
	assert_int_equal(object_decode_block(&t, f.segment_id, 0, b0, BLOCK_BYTES - 1, out, &len), ERR_CORRUPT);
	memcpy(stored, b0, BLOCK_BYTES);
	memcpy(stored, b0 + GRANULE_BYTES, GRANULE_BYTES);
	memcpy(stored + GRANULE_BYTES, b0, GRANULE_BYTES);
	assert_int_equal(object_decode_block(&t, f.segment_id, 0, stored, BLOCK_BYTES, out, &len), ERR_CORRUPT);
	buf_free(&b);
}

static void cut_arguments(void **state)
{
	static struct object_table t;
	struct object_footer f = base(OBJECT_CUT);
	struct buf b = BUF_INIT;
	uint8_t data[8] = { 0 };

	(void)state;
	buf_u8(&b, 1);
	f.data_len = 8;
	f.last_lsn = f.first_lsn - 2;
	assert_int_equal(object_encode_cut(&f, data, NULL, "r", 1, 0, &t, &b), -EINVAL);
	assert_int_equal(b.len, 1);
	f = base(OBJECT_CUT);
	f.flags = 2;
	assert_int_equal(object_encode_cut(&f, data, NULL, "r", 1, 0, &t, &b), -EINVAL);
	f = base(OBJECT_CUT);
	f.data_len = SEGMENT_DATA_MAX + 1;
	assert_int_equal(object_encode_cut(&f, data, NULL, "r", 1, 0, &t, &b), -EINVAL);
	f = base(OBJECT_SEAL);
	assert_int_equal(object_encode_cut(&f, data, NULL, "r", 1, 0, &t, &b), -EINVAL);
	assert_int_equal(b.len, 1);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(superblocks),
		cmocka_unit_test(claims),
		cmocka_unit_test(heartbeats),
		cmocka_unit_test(manifests),
		cmocka_unit_test(keys),
		cmocka_unit_test(marks),
		cmocka_unit_test(heads_must_match),
		cmocka_unit_test(cuts),
		cmocka_unit_test(compression_pays),
		cmocka_unit_test(elided_bytes_do_not_matter),
		cmocka_unit_test(cut_flips),
		cmocka_unit_test(tables),
		cmocka_unit_test(blocks_are_bound),
		cmocka_unit_test(cut_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
