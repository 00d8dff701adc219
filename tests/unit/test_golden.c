/*
 * test_golden.c - the format does not change by accident. Fixed inputs must encode to exactly the bytes of
 * tests/golden/, and those must decode to them. What zstd packed is pinned for decoding only: its output differs
 * between versions.
 *
 * A fixture changes together with the version in FORMAT.md, and never otherwise. CLONELOVE_GOLDEN_WRITE=1 writes the
 * ones that are missing, and only those.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "object.h"
#include "record.h"
#include "run.h"
#include "value.h"

#define DATA_LEN (2 * BLOCK_BYTES + 5000)
#define SEGMENT_ID 0x0102030405060708u
#define SALT 0x1112131415161718u
#define TIME 1767225600123456789u

/* --- fixtures as files of hexadecimal --- */

static FILE *golden_file(const char *name, const char *mode)
{
	const char *dir = getenv("CLONELOVE_GOLDEN_DIR");
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.hex", dir ? dir : "tests/golden", name);
	return fopen(path, mode);
}

static void golden_write(const char *name, const struct buf *b)
{
	FILE *f = golden_file(name, "wx");

	assert_non_null(f);
	for (size_t i = 0; i < b->len; i++)
		fprintf(f, "%02x%s", b->data[i], i % 32 == 31 || i + 1 == b->len ? "\n" : "");
	assert_int_equal(fclose(f), 0);
}

static void golden_read(const char *name, struct buf *ret)
{
	FILE *f = golden_file(name, "r");
	unsigned x;

	if (!f)
		fail_msg("no fixture %s.hex: run from the top of the source tree, or set CLONELOVE_GOLDEN_DIR", name);
	while (fscanf(f, "%2x", &x) == 1)
		buf_u8(ret, (uint8_t)x);
	assert_true(feof(f));
	fclose(f);
	assert_int_equal(ret->err, 0);
}

static void maybe_write(const char *name, const struct buf *made)
{
	FILE *f = golden_file(name, "r");

	if (f)
		fclose(f);
	else if (getenv("CLONELOVE_GOLDEN_WRITE"))
		golden_write(name, made);
}

/* The fixture, which must be what was made. The caller frees. */
static void same_as_golden(const char *name, const struct buf *made, struct buf *ret)
{
	maybe_write(name, made);
	golden_read(name, ret);
	assert_int_equal(ret->len, made->len);
	assert_memory_equal(ret->data, made->data, made->len);
}

/* --- the inputs --- */

static void fill_id(uint8_t *id, uint8_t first, size_t len)
{
	for (size_t i = 0; i < len; i++)
		id[i] = (uint8_t)(first + i);
}

static void small(void **state)
{
	struct superblock s = { .created_real_ns = TIME, .compress = 3, .unsafe_no_fencing = true, .root_uid = 1001, .root_gid = 1002, .root_mode = 02750 }, s2;
	struct claim c = { .epoch = 7, .real_ns = TIME, .node = "db-1.example" }, c2;
	struct heartbeat h = { .epoch = 7, .slot = 8, .lsn = 9, .real_ns = TIME, .state = HEARTBEAT_RELEASED, .node = "db-1.example" }, h2;
	struct buf b = BUF_INIT, g = BUF_INIT;

	(void)state;
	fill_id(s.volume_uuid, 0x10, ID_BYTES);
	assert_int_equal(superblock_encode(&s, &b), 0);
	same_as_golden("superblock", &b, &g);
	assert_int_equal(superblock_decode(g.data, g.len, &s2), 0);
	assert_memory_equal(s2.volume_uuid, s.volume_uuid, ID_BYTES);
	assert_true(s2.created_real_ns == TIME && s2.compress == 3 && s2.unsafe_no_fencing);
	assert_true(s2.root_uid == 1001 && s2.root_gid == 1002 && s2.root_mode == 02750);
	/* Where FORMAT.md says they are. */
	assert_memory_equal(g.data, "CLNLVOLU", 8);
	assert_true(g.len == 256 && g.data[8] == 1 && get_u32(g.data + 16) == 256 && get_u64(g.data + 40) == TIME && get_u32(g.data + 48) == 3 && g.data[52] == 1);

	buf_reset(&b);
	buf_reset(&g);
	fill_id(c.volume_uuid, 0x10, ID_BYTES);
	fill_id(c.claim_id, 0x20, ID_BYTES);
	fill_id(c.log_uuid, 0x30, ID_BYTES);
	fill_id(c.machine_id, 0x40, ID_BYTES);
	assert_int_equal(claim_encode(&c, &b), 0);
	same_as_golden("claim", &b, &g);
	assert_int_equal(claim_decode(g.data, g.len, &c2), 0);
	assert_memory_equal(c2.claim_id, c.claim_id, ID_BYTES);
	assert_memory_equal(c2.log_uuid, c.log_uuid, ID_BYTES);
	assert_memory_equal(c2.machine_id, c.machine_id, ID_BYTES);
	assert_true(c2.epoch == 7 && c2.real_ns == TIME);
	assert_string_equal(c2.node, c.node);
	assert_memory_equal(g.data, "CLNLCLAI", 8);
	assert_true(g.data[40] == 0x20 && g.data[56] == 0x30 && g.data[72] == 0x40 && get_u64(g.data + 88) == 7 && g.data[104] == 'd');

	buf_reset(&b);
	buf_reset(&g);
	fill_id(h.volume_uuid, 0x10, ID_BYTES);
	fill_id(h.claim_id, 0x20, ID_BYTES);
	assert_int_equal(heartbeat_encode(&h, &b), 0);
	same_as_golden("heartbeat", &b, &g);
	assert_int_equal(heartbeat_decode(g.data, g.len, &h2), 0);
	assert_true(h2.epoch == 7 && h2.slot == 8 && h2.lsn == 9 && h2.real_ns == TIME && h2.state == HEARTBEAT_RELEASED);
	assert_string_equal(h2.node, h.node);
	assert_memory_equal(g.data, "CLNLBEAT", 8);
	assert_true(get_u64(g.data + 56) == 7 && get_u64(g.data + 72) == 9 && g.data[88] == 2 && g.data[96] == 'd');
	buf_free(&b);
	buf_free(&g);
}

static void manifest(void **state)
{
	struct manifest_part parts[3] = { { .bytes = 100, .count = 5 }, { .bytes = 200, .count = 6 }, { .bytes = 300, .count = 7 } };
	struct manifest_run runs[2] = { { parts, 1, 100 }, { parts + 1, 2, 500 } };
	struct manifest m = { .epoch = 3, .slot = 44, .lsn = 555, .next_ino = 666, .commit_real_ns = TIME, .runs = runs, .run_count = 2 }, r;
	struct buf b = BUF_INIT, g = BUF_INIT;

	(void)state;
	fill_id(m.volume_uuid, 0x10, ID_BYTES);
	fill_id(m.slot_hash, 0x50, HASH_BYTES);
	for (uint8_t i = 0; i < 3; i++) {
		fill_id(parts[i].id, (uint8_t)(0x60 + i), ID_BYTES);
		fill_id(parts[i].hash, (uint8_t)(0x70 + i), HASH_BYTES);
	}
	assert_int_equal(manifest_encode(&m, &b), 0);
	same_as_golden("manifest", &b, &g);
	assert_int_equal(manifest_decode(g.data, g.len, &r), 0);
	assert_true(r.epoch == 3 && r.slot == 44 && r.lsn == 555 && r.next_ino == 666 && r.commit_real_ns == TIME && r.run_count == 2);
	assert_true(r.runs[0].part_count == 1 && r.runs[1].part_count == 2 && r.runs[1].bytes == 500);
	assert_memory_equal(&r.runs[1].parts[1].id, parts[2].id, ID_BYTES);
	assert_memory_equal(&r.runs[1].parts[1].hash, parts[2].hash, HASH_BYTES);
	assert_true(r.runs[1].parts[1].bytes == 300 && r.runs[1].parts[1].count == 7);
	assert_true(get_u32(g.data + 112) == 2 && get_u32(g.data + 160) == 1 && get_u64(g.data + 168) == 100 && g.data[176] == 0x60);
	assert_int_equal(g.len, 160 + 2 * 16 + 3 * 64 + 32);
	manifest_free(&r);
	buf_free(&b);
	buf_free(&g);
}

static struct object_footer footer(enum object_type type)
{
	struct object_footer f = { .type = type, .epoch = 7, .slot = 8, .first_lsn = 1001, .last_lsn = 1000, .acked_epoch = 7, .acked_slot = 6,
				   .commit_real_ns = TIME, .next_ino = 4242 };

	fill_id(f.volume_uuid, 0x10, ID_BYTES);
	fill_id(f.put_id, 0x80, ID_BYTES);
	fill_id(f.claim_id, 0x20, ID_BYTES);
	fill_id(f.prev_hash, 0x90, HASH_BYTES);
	return f;
}

static void marks(void **state)
{
	struct object_footer o = footer(OBJECT_OPEN), s = footer(OBJECT_SEAL), r;
	struct buf b = BUF_INIT, g = BUF_INIT;

	(void)state;
	o.slot = 0;
	o.has_parent = true;
	o.parent_epoch = 5;
	o.parent_slot = 99;
	o.durability = 1;
	o.fence_lease_ms = 5000;
	fill_id(o.log_uuid, 0x30, ID_BYTES);
	assert_int_equal(object_encode_mark(&o, &b), 0);
	same_as_golden("open", &b, &g);
	assert_int_equal(object_verify(g.data, g.len, &r, NULL), 0);
	assert_true(r.type == OBJECT_OPEN && r.epoch == 7 && r.slot == 0 && r.first_lsn == 1001 && r.last_lsn == 1000 && r.acked_epoch == 7 &&
		    r.acked_slot == 6 && r.commit_real_ns == TIME && r.next_ino == 4242);
	assert_true(r.has_parent && r.parent_epoch == 5 && r.parent_slot == 99 && r.durability == 1 && r.fence_lease_ms == 5000);
	assert_memory_equal(r.log_uuid, o.log_uuid, ID_BYTES);
	assert_memory_equal(r.prev_hash, o.prev_hash, HASH_BYTES);

	const uint8_t *f = g.data + 128;

	assert_memory_equal(g.data, "CLNLHEAD", 8);
	assert_memory_equal(f, "CLNLFOOT", 8);
	assert_true(g.len == 640 && g.data[10] == 1 && f[10] == 1 && f[56] == 0x80 && f[72] == 0x20 && f[88] == 0x90 && get_u64(f + 120) == 1001 &&
		    get_u64(f + 144) == 6 && get_u64(f + 152) == TIME && get_u64(f + 160) == 4242 && get_u64(f + 168) == 640);
	assert_true(f[280] == 1 && f[284] == 1 && get_u64(f + 288) == 5 && get_u64(f + 296) == 99 && f[304] == 0x30 && get_u32(f + 320) == 5000);

	buf_reset(&b);
	buf_reset(&g);
	s.sealed_by_epoch = 12;
	assert_int_equal(object_encode_mark(&s, &b), 0);
	same_as_golden("seal", &b, &g);
	assert_int_equal(object_verify(g.data, g.len, &r, NULL), 0);
	assert_true(r.type == OBJECT_SEAL && r.sealed_by_epoch == 12 && get_u64(g.data + 128 + 328) == 12);
	buf_free(&b);
	buf_free(&g);
}

/* One of each kind of key and value, and a tombstone. */
struct entry { uint8_t key[64], val[256]; size_t klen, vlen; };
enum { ENTRIES = 8 };

static void make_entries(struct entry *e)
{
	struct inode file = { .a = { .ino = 20, .size = 70000, .allocated_bytes = 66000, .rdev = 1, .change = 2, .mode = S_IFREG | 0640, .uid = 33, .gid = 34,
				     .nlink = 2, .atime = { 11, 12 }, .mtime = { 13, 14 }, .ctime = { -15, 16 }, .btime = { 17, 999999999 } },
			      .parent = 1, .xattrs = 3, .entries = 4 };
	struct inode link = { .a = { .ino = 21, .mode = S_IFLNK | 0777, .nlink = 1 }, .target_len = 6, .target = "../a/b" };
	struct extent x = { .ino = 20, .start = 4096, .len = 65536, .segment = SEGMENT_ID, .logical = 8192 };
	struct segment_ref r = { .epoch = 7, .slot = 8, .object_bytes = 70000, .data_len = 66000, .table_offset = 60000, .table_len = 500 };

	e[0].klen = value_key_dirent(1, 0x1234500, e[0].key);
	assert_int_equal(value_dirent_encode(20, S_IFREG, "n\xc3\xa4me", 5, e[0].val, &e[0].vlen), 0);
	e[1].klen = value_key_extent(20, 4096 + 65536 - 1, e[1].key);
	assert_int_equal(value_extent_encode(&x, e[1].val), 0);
	e[1].vlen = VALUE_EXTENT_BYTES;
	e[2].klen = value_key_inode(20, e[2].key);
	assert_int_equal(value_inode_encode(&file, e[2].val, &e[2].vlen), 0);
	e[3].klen = value_key_inode(21, e[3].key);
	assert_int_equal(value_inode_encode(&link, e[3].val, &e[3].vlen), 0);
	e[4].klen = value_key_orphan(22, e[4].key);
	value_orphan_encode(e[4].val);
	e[4].vlen = VALUE_ORPHAN_BYTES;
	fill_id(r.table_hash, 0xa0, HASH_BYTES);
	e[5].klen = value_key_segment(SEGMENT_ID, e[5].key);
	assert_int_equal(value_segment_encode(&r, e[5].val), 0);
	e[5].vlen = VALUE_SEGMENT_BYTES;
	e[6].klen = value_key_xattr(20, "user.a", 6, e[6].key);
	memcpy(e[6].val, "value", 5);
	e[6].vlen = 5;
	e[7].klen = value_key_xattr(20, "user.b", 6, e[7].key); /* empty; and the next one deleted */
	e[7].vlen = 0;
}

static void make_run(int compress, struct buf *out)
{
	struct entry e[ENTRIES] = { { .klen = 0 } };
	struct run_writer *w;
	uint8_t key[VALUE_KEY_MAX], val[20] = { 0 };

	make_entries(e);
	assert_int_equal(run_writer_new(compress, &w), 0);
	for (int i = 0; i < ENTRIES; i++)
		assert_int_equal(run_writer_add(w, e[i].key, e[i].klen, e[i].val, e[i].vlen), 0);
	assert_int_equal(run_writer_add(w, key, value_key_xattr(20, "user.c", 6, key), NULL, 0), 0);
	for (uint64_t i = 0; i < 40; i++) /* so that packing pays */
		assert_int_equal(run_writer_add(w, key, value_key_xattr(21 + i, "user.same", 9, key), val, sizeof(val)), 0);
	assert_int_equal(run_writer_finish(w, out), 0);
	run_writer_free(w);
}

static void check_run(const void *p, size_t len)
{
	struct entry e[ENTRIES] = { { .klen = 0 } };
	struct run_reader *r;
	const uint8_t *key, *val;
	size_t klen, vlen;

	make_entries(e);
	assert_int_equal(run_reader_new(p, len, &r), 0);
	for (int i = 0; i < ENTRIES; i++) {
		assert_int_equal(run_reader_next(r, &key, &klen, &val, &vlen), 1);
		assert_int_equal(klen, e[i].klen);
		assert_memory_equal(key, e[i].key, klen);
		assert_non_null(val);
		assert_int_equal(vlen, e[i].vlen);
		assert_memory_equal(val, e[i].val, vlen);
		assert_int_equal(value_check(key, klen, val, vlen), 0);
	}
	assert_int_equal(run_reader_next(r, &key, &klen, &val, &vlen), 1);
	assert_null(val);
	for (uint64_t i = 0; i < 40; i++) {
		assert_int_equal(run_reader_next(r, &key, &klen, &val, &vlen), 1);
		assert_int_equal(get_be64(key + 1), 21 + i);
		assert_int_equal(vlen, 20);
	}
	assert_int_equal(run_reader_next(r, &key, &klen, &val, &vlen), 0);
	run_reader_free(r);
}

static void runs(void **state)
{
	struct buf b = BUF_INIT, g = BUF_INIT;

	(void)state;
	make_run(0, &b);
	same_as_golden("run-raw", &b, &g);
	check_run(g.data, g.len);
	assert_memory_equal(g.data, "CLNLRUN", 8);
	assert_true(get_u32(g.data + 16) == g.len && get_u32(g.data + 20) == 1 && get_u64(g.data + 24) == ENTRIES + 41 && g.data[52] == 0);
	assert_memory_equal(g.data + 64, "\x00\x11\x0f""D", 4); /* the first entry: shares 0, 17 more, 14 of value */
	buf_reset(&b);
	buf_reset(&g);
	make_run(1, &b);
	maybe_write("run-zstd", &b);
	golden_read("run-zstd", &g);
	assert_int_equal(g.data[52], 1);
	check_run(g.data, g.len);
	buf_free(&b);
	buf_free(&g);
}

static void make_data(uint8_t *data, bool *live)
{
	uint64_t seed = 5;

	for (size_t i = 0; i < DATA_LEN; i++) /* the first block does not pack, the others do */
		data[i] = (uint8_t)(i < BLOCK_BYTES ? rng_next(&seed) >> 56 : i / 97);
	for (size_t g = 0; g < (DATA_LEN + GRANULE_BYTES - 1) / GRANULE_BYTES; g++)
		live[g] = g < 2 || (g >= 32 && g != 33);
}

static void make_cut(int compress, struct buf *out)
{
	static uint8_t data[DATA_LEN];
	static bool live[SEGMENT_GRANULES];
	static struct object_table t;
	struct object_footer f = footer(OBJECT_CUT);
	struct buf run = BUF_INIT;

	make_data(data, live);
	make_run(compress, &run);
	f.last_lsn = 1100;
	f.segment_id = SEGMENT_ID;
	f.data_len = DATA_LEN;
	f.flags = 1;
	assert_int_equal(object_encode_cut(&f, data, live, run.data, run.len, compress, &t, out), 0);
	buf_free(&run);
}

static void check_cut(const struct buf *g, uint8_t codec)
{
	static uint8_t data[DATA_LEN], out[BLOCK_BYTES];
	static bool live[SEGMENT_GRANULES];
	static struct object_table t;
	struct object_footer f;

	make_data(data, live);
	assert_int_equal(object_verify(g->data, g->len, &f, &t), 0);
	assert_true(f.first_lsn == 1001 && f.last_lsn == 1100 && f.segment_id == SEGMENT_ID && f.data_len == DATA_LEN && f.flags == 1);
	check_run(g->data + f.run_offset, f.run_len);
	assert_int_equal(t.blocks[1].stored_len, 0); /* elided */
	assert_int_equal(t.blocks[2].codec, codec);
	for (uint32_t i = 0; i < 3; i += 2) {
		uint32_t len;

		assert_int_equal(object_decode_block(&t, SEGMENT_ID, i, g->data + t.blocks[i].offset, t.blocks[i].stored_len, out, &len), 0);
		for (uint32_t off = 0; off < len; off++) {
			uint32_t at = i * BLOCK_BYTES + off;

			assert_int_equal(out[off], live[at / GRANULE_BYTES] ? data[at] : 0);
		}
	}
}

static void cuts(void **state)
{
	struct buf b = BUF_INIT, g = BUF_INIT;
	const uint8_t *f, *t;

	(void)state;
	make_cut(0, &b);
	same_as_golden("cut-raw", &b, &g);
	check_cut(&g, 0);
	f = g.data + g.len - 512;
	t = g.data + get_u32(f + 204);
	assert_true(f[176] == 1 && get_u64(f + 184) == SEGMENT_ID && get_u32(f + 192) == DATA_LEN && get_u32(f + 196) + get_u32(f + 200) == get_u32(f + 204) &&
		    get_u32(f + 204) + get_u32(f + 208) + 512 == g.len);
	assert_memory_equal(t, "CLTB\1\0\0\0", 8);
	assert_true(get_u32(t + 8) == DATA_LEN && get_u32(t + 16) == 128 && get_u32(t + 20) == 65536 && get_u64(t + 52) != 0 && get_u64(t + 68) == 0);
	assert_int_equal(get_u32(f + 208), 24 + 12 * 3 + 8 * 34);
	buf_reset(&b);
	buf_reset(&g);
	make_cut(1, &b);
	maybe_write("cut-zstd", &b);
	golden_read("cut-zstd", &g);
	check_cut(&g, 1);
	buf_free(&b);
	buf_free(&g);
}

static void record(void **state)
{
	struct entry e[ENTRIES] = { { .klen = 0 } };
	struct buf b = BUF_INIT, g = BUF_INIT;
	struct cursor c;
	struct record r;
	const uint8_t *key, *val;
	size_t start, klen, vlen;

	(void)state;
	make_entries(e);
	record_begin(&b, &start);
	record_data(&b, start, 8192, 4096, 0x2122232425262728);
	for (int i = 0; i < ENTRIES; i++)
		record_put(&b, e[i].key, e[i].klen, e[i].val, e[i].vlen);
	record_del(&b, e[0].key, e[0].klen);
	record_finish(&b, start, 1001, TIME, 77, SALT);
	assert_int_equal(b.err, 0);
	same_as_golden("record", &b, &g);
	c = cursor_make(g.data, g.len);
	assert_int_equal(record_parse(&c, SALT, &r), 0);
	assert_true(r.lsn == 1001 && r.real_ns == TIME && r.request_id == 77 && r.data_logical == 8192 && r.data_len == 4096 && r.data_hash == 0x2122232425262728);
	for (int i = 0; i < ENTRIES; i++) {
		assert_int_equal(record_next(&r, &key, &klen, &val, &vlen), 1);
		assert_true(klen == e[i].klen && vlen == e[i].vlen && memcmp(key, e[i].key, klen) == 0 && memcmp(val, e[i].val, vlen) == 0);
	}
	assert_int_equal(record_next(&r, &key, &klen, &val, &vlen), 1);
	assert_null(val);
	assert_int_equal(record_next(&r, &key, &klen, &val, &vlen), 0);
	assert_memory_equal(g.data, "CLRC", 4);
	assert_true(get_u32(g.data + 4) == g.len && g.data[8] == 1 && get_u64(g.data + 16) == 1001 && get_u32(g.data + 48) == 8192 && g.data[56] == 17);
	buf_free(&b);
	buf_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small),
		cmocka_unit_test(manifest),
		cmocka_unit_test(marks),
		cmocka_unit_test(runs),
		cmocka_unit_test(cuts),
		cmocka_unit_test(record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
