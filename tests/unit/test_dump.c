/* test_dump.c - clonefs dump: what it prints of each kind of object, and what it refuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <json-c/json.h>

#include <cmocka.h>

#include "err.h"
#include "object.h"
#include "run.h"
#include "value.h"

/* JSON of the object, parsed; the text contains `expect`. The caller puts it. */
static json_object *dump(const char *key, const struct buf *b, const char *expect)
{
	struct buf text = BUF_INIT, json = BUF_INIT;
	json_object *o;

	assert_int_equal(object_dump(key, b->data, b->len, false, &text), 0);
	buf_u8(&text, 0);
	if (!strstr((const char *)text.data, expect))
		fail_msg("\"%s\" is not in:\n%s", expect, (const char *)text.data);
	assert_int_equal(object_dump(key, b->data, b->len, true, &json), 0);
	assert_int_equal(json.data[json.len - 1], '\n');
	buf_u8(&json, 0);
	o = json_tokener_parse((const char *)json.data);
	assert_non_null(o);
	buf_free(&text);
	buf_free(&json);
	return o;
}

static json_object *member(json_object *o, const char *name)
{
	json_object *v = json_object_object_get(o, name);

	if (!v)
		fail_msg("no \"%s\"", name);
	return v;
}

static uint64_t number(json_object *o, const char *name)
{
	return json_object_get_uint64(member(o, name));
}

static const char *string(json_object *o, const char *name)
{
	return json_object_get_string(member(o, name));
}

static void small(void **state)
{
	struct superblock s = { .volume_uuid = { 0xab, 1 }, .created_real_ns = 1767225600000000001u, .compress = 3 };
	struct claim c = { .epoch = 7, .node = "caf\xc3\xa9" };
	struct heartbeat h = { .epoch = UINT64_MAX, .state = HEARTBEAT_ALIVE, .node = "\xff\xfe" };
	struct buf b = BUF_INIT, out = BUF_INIT;
	json_object *o;

	(void)state;
	assert_int_equal(superblock_encode(&s, &b), 0);
	o = dump("volume", &b, "created: 2026-01-01T00:00:00.000000001Z\n");
	assert_string_equal(string(o, "object"), "superblock");
	assert_string_equal(string(o, "volume"), "ab010000000000000000000000000000");
	assert_int_equal(number(o, "compress"), 3);
	assert_false(json_object_get_boolean(member(o, "unsafe_no_fencing")));
	json_object_put(o);

	buf_reset(&b);
	assert_int_equal(claim_encode(&c, &b), 0);
	o = dump("epochs/0000000007", &b, "node: caf\xc3\xa9\n");
	assert_int_equal(number(o, "epoch"), 7);
	json_object_put(o);
	assert_int_equal(object_dump("epochs/0000000008", b.data, b.len, false, &out), ERR_CORRUPT); /* it is not that one */
	assert_non_null(strstr(err_last(), "epoch 7"));

	buf_reset(&b);
	assert_int_equal(heartbeat_encode(&h, &b), 0);
	o = dump("heartbeat", &b, "node_hex: fffe\n"); /* not text */
	assert_true(number(o, "epoch") == UINT64_MAX);
	json_object_put(o);
	assert_int_equal(out.len, 0);
	buf_free(&b);
	buf_free(&out);
}

static void manifests(void **state)
{
	struct manifest_part parts[2] = { { .id = { 1 }, .bytes = 100, .count = 5 }, { .id = { 2 }, .bytes = 200, .count = 6 } };
	struct manifest_run runs[2] = { { parts, 1, 100 }, { parts + 1, 1, 200 } };
	struct manifest m = { .epoch = 3, .slot = 44, .runs = runs, .run_count = 2 };
	struct buf b = BUF_INIT, out = BUF_INIT;
	json_object *o, *p;

	(void)state;
	assert_int_equal(manifest_encode(&m, &b), 0);
	o = dump("manifests/0000000003/000000000044", &b, "  run=1 part=02000000000000000000000000000000 bytes=200 keys=6 ");
	p = json_object_array_get_idx(member(o, "parts"), 1);
	assert_int_equal(number(p, "keys"), 6);
	json_object_put(o);
	assert_int_equal(object_dump("manifests/0000000003/000000000045", b.data, b.len, false, &out), ERR_CORRUPT);
	buf_free(&b);
	buf_free(&out);
}

static void add(struct run_writer *w, const uint8_t *key, size_t klen, const void *val, size_t vlen)
{
	assert_int_equal(run_writer_add(w, key, klen, val, vlen), 0);
}

static void make_run(struct buf *out)
{
	struct run_writer *w;
	uint8_t key[VALUE_KEY_MAX], val[VALUE_INODE_MAX], blob[100] = { 1, 2, 3 };
	struct extent e = { .ino = 5, .start = 0, .len = 10, .segment = 0xabc, .logical = 16 };
	struct inode i = { .a = { .mode = S_IFREG | 0644, .nlink = 1, .size = 10 } };
	size_t len;

	assert_int_equal(run_writer_new(0, &w), 0);
	assert_int_equal(value_dirent_encode(5, S_IFREG, "bad\x1b[0mname", 11, val, &len), 0);
	add(w, key, value_key_dirent(1, 256, key), val, len);
	assert_int_equal(value_dirent_encode(5, S_IFREG, "a \"b\"", 5, val, &len), 0);
	add(w, key, value_key_dirent(1, 512, key), val, len);
	add(w, key, value_key_dirent(1, 768, key), NULL, 0);
	assert_int_equal(value_extent_encode(&e, val), 0);
	add(w, key, value_key_extent(5, 9, key), val, VALUE_EXTENT_BYTES);
	assert_int_equal(value_inode_encode(&i, val, &len), 0);
	add(w, key, value_key_inode(5, key), val, len);
	add(w, key, value_key_inode(6, key), "?", 1); /* does not parse: printed all the same */
	add(w, key, value_key_xattr(5, "user.a", 6, key), blob, sizeof(blob));
	add(w, (const uint8_t *)"zz", 2, "", 0);
	assert_int_equal(run_writer_finish(w, out), 0);
	run_writer_free(w);
}

static void check_changes(json_object *o)
{
	json_object *list = member(o, "changes"), *c;

	assert_int_equal(json_object_array_length(list), 8);
	c = json_object_array_get_idx(list, 0);
	assert_string_equal(string(c, "name_hex"), "6261641b5b306d6e616d65");
	c = json_object_array_get_idx(list, 1);
	assert_string_equal(string(c, "op"), "put");
	assert_string_equal(string(c, "table"), "dirent");
	assert_string_equal(string(c, "name"), "a \"b\"");
	c = json_object_array_get_idx(list, 2);
	assert_string_equal(string(c, "op"), "delete");
	assert_int_equal(number(c, "cookie"), 768);
	c = json_object_array_get_idx(list, 3);
	assert_string_equal(string(c, "segment"), "0000000000000abc");
	assert_int_equal(number(c, "len"), 10);
	c = json_object_array_get_idx(list, 4);
	assert_string_equal(string(c, "mode"), "0100644");
	c = json_object_array_get_idx(list, 5);
	assert_string_equal(string(c, "value_hex"), "3f");
	assert_non_null(string(c, "error"));
	c = json_object_array_get_idx(list, 6);
	assert_int_equal(number(c, "value_bytes"), 100);
	assert_int_equal(strlen(string(c, "value_begins_hex")), 128);
	c = json_object_array_get_idx(list, 7);
	assert_string_equal(string(c, "key_hex"), "7a7a");
}

static void runs(void **state)
{
	struct buf b = BUF_INIT;
	struct run_writer *w;
	json_object *o;

	(void)state;
	make_run(&b);
	o = dump("runs/000102030405060708090a0b0c0d0e0f", &b, "  op=put table=dirent dir=1 cookie=512 ino=5 type=file name=\"a \\\"b\\\"\"\n");
	check_changes(o);
	json_object_put(o);
	buf_reset(&b);
	assert_int_equal(run_writer_new(0, &w), 0);
	assert_int_equal(run_writer_finish(w, &b), 0);
	run_writer_free(w);
	o = dump("runs/000102030405060708090a0b0c0d0e0f", &b, "changes:\n"); /* none */
	assert_int_equal(json_object_array_length(member(o, "changes")), 0);
	json_object_put(o);
	buf_free(&b);
}

static void log_objects(void **state)
{
	static uint8_t data[BLOCK_BYTES + 5000];
	static bool live[SEGMENT_GRANULES];
	static struct object_table t;
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 7, .slot = 8, .first_lsn = 1, .last_lsn = 9, .segment_id = 0x77, .data_len = sizeof(data) };
	struct object_footer s = { .type = OBJECT_SEAL, .epoch = 7, .slot = 9, .first_lsn = 10, .last_lsn = 9, .sealed_by_epoch = 8 };
	struct object_footer n = { .type = OBJECT_OPEN, .epoch = 8, .first_lsn = 10, .last_lsn = 9, .has_parent = true, .parent_epoch = 7, .parent_slot = 8 };
	struct buf b = BUF_INIT, run = BUF_INIT, out = BUF_INIT;
	json_object *o, *block;

	(void)state;
	live[17] = true;
	make_run(&run);
	assert_int_equal(object_encode_cut(&f, data, live, run.data, run.len, 0, &t, &b), 0);
	o = dump("log/0000000007/000000000008", &b, "object: cut\n");
	assert_string_equal(string(o, "segment"), "0000000000000077");
	assert_int_equal(json_object_array_length(member(o, "blocks")), 2);
	block = json_object_array_get_idx(member(o, "blocks"), 0);
	assert_string_equal(string(block, "codec"), "elided");
	block = json_object_array_get_idx(member(o, "blocks"), 1);
	assert_int_equal(number(block, "granules"), 2);
	assert_int_equal(number(block, "live_granules"), 1);
	check_changes(o);
	json_object_put(o);
	assert_int_equal(object_dump("log/0000000007/000000000009", b.data, b.len, true, &out), ERR_CORRUPT);
	b.data[140] ^= 1; /* in the data */
	assert_int_equal(object_dump("log/0000000007/000000000008", b.data, b.len, true, &out), ERR_CORRUPT);
	assert_non_null(strstr(err_last(), "log/0000000007/000000000008"));
	assert_int_equal(out.len, 0);

	buf_reset(&b);
	assert_int_equal(object_encode_mark(&s, &b), 0);
	o = dump("log/0000000007/000000000009", &b, "sealed_by_epoch: 8\n");
	json_object_put(o);
	buf_reset(&b);
	assert_int_equal(object_encode_mark(&n, &b), 0);
	o = dump("log/0000000008/000000000000", &b, "parent_slot: 8\n");
	json_object_put(o);
	buf_free(&b);
	buf_free(&run);
	buf_free(&out);
}

static void refused(void **state)
{
	struct superblock s = { .features = 2 };
	struct buf b = BUF_INIT, out = BUF_INIT;

	(void)state;
	buf_bytes(&out, "kept", 4);
	assert_int_equal(object_dump("volumes", "", 0, false, &out), -EINVAL);
	assert_non_null(strstr(err_last(), "volumes"));
	assert_int_equal(object_dump("volume", "x", 1, false, &out), ERR_CORRUPT);
	assert_int_equal(object_dump("runs/000102030405060708090a0b0c0d0e0f", "x", 1, true, &out), ERR_CORRUPT);
	assert_int_equal(superblock_encode(&s, &b), 0);
	assert_int_equal(object_dump("volume", b.data, b.len, false, &out), ERR_NEWER_FORMAT);
	assert_non_null(strstr(err_last(), "newer"));
	assert_int_equal(out.len, 4);
	assert_memory_equal(out.data, "kept", 4);
	buf_free(&b);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small),
		cmocka_unit_test(manifests),
		cmocka_unit_test(runs),
		cmocka_unit_test(log_objects),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
