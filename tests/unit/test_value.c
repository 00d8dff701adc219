/* test_value.c - keys and values of the map: round trips, order, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "value.h"

static void keys_sort(void **state)
{
	static const uint64_t n[] = { 0, 1, 255, 256, 65535, 1u << 31, UINT64_C(1) << 40, INT64_MAX, UINT64_MAX };
	uint8_t a[VALUE_KEY_MAX], b[VALUE_KEY_MAX];
	struct value_key k;

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		for (size_t j = 0; j < 9; j++) {
			assert_int_equal(value_key_extent(7, n[i], a), VALUE_KEY_PAIR_BYTES);
			assert_int_equal(value_key_extent(7, n[j], b), VALUE_KEY_PAIR_BYTES);
			assert_true((memcmp(a, b, VALUE_KEY_PAIR_BYTES) < 0) == (n[i] < n[j]));
			value_key_dirent(n[i], 5, a);
			value_key_dirent(n[j], 4, b);
			assert_true((memcmp(a, b, VALUE_KEY_PAIR_BYTES) < 0) == (n[i] < n[j]));
			value_key_inode(n[i], a);
			value_key_inode(n[j], b);
			assert_true((memcmp(a, b, VALUE_KEY_PREFIX_BYTES) < 0) == (n[i] < n[j]));
		}
		assert_int_equal(value_key_parse(a, value_key_dirent(n[i], n[8 - i], a), &k), 0);
		assert_true(k.table == VALUE_DIRENT && k.a == n[i] && k.b == n[8 - i]);
		assert_int_equal(value_key_parse(a, value_key_segment(n[i], a), &k), 0);
		assert_true(k.table == VALUE_SEGMENT && k.a == n[i]);
		assert_int_equal(value_key_parse(a, value_key_orphan(n[i], a), &k), 0);
		assert_true(k.table == VALUE_ORPHAN && k.a == n[i]);
	}
}

static void keys_refused(void **state)
{
	uint8_t key[VALUE_KEY_MAX + 1] = { 0 };
	char name[VOLUME_NAME_MAX + 1];
	struct value_key k;

	(void)state;
	for (size_t len = 0; len <= sizeof(key); len++) {
		for (const char *t = "DEIOS"; *t; t++) {
			key[0] = (uint8_t)*t;
			assert_int_equal(value_key_parse(key, len, &k), len == (strchr("DE", *t) ? 17 : 9) ? 0 : ERR_CORRUPT);
		}
		memset(key + 9, 'n', sizeof(key) - 9);
		key[0] = 'X';
		assert_int_equal(value_key_parse(key, len, &k), len >= 10 && len <= VALUE_KEY_MAX ? 0 : ERR_CORRUPT);
		key[0] = 'Z';
		assert_int_equal(value_key_parse(key, len, &k), ERR_CORRUPT);
	}
	memset(name, 'a', sizeof(name));
	assert_int_equal(value_key_xattr(1, name, sizeof(name), key), 0);
	assert_int_equal(value_key_xattr(1, name, 0, key), 0);
	assert_int_equal(value_key_xattr(1, "a\0b", 3, key), 0);
	assert_int_equal(value_key_xattr(1, name, VOLUME_NAME_MAX, key), VALUE_KEY_MAX);
}

static void random_inode(uint64_t *s, struct inode *i)
{
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
	struct timespec *t[] = { &i->a.atime, &i->a.mtime, &i->a.ctime, &i->a.btime };

	memset(i, 0, sizeof(*i));
	i->a.ino = rng_next(s);
	i->a.size = rng_next(s) >> 1;
	i->a.allocated_bytes = rng_next(s);
	i->a.rdev = rng_next(s);
	i->a.change = rng_next(s);
	i->a.mode = types[rng_below(s, 7)] | (uint32_t)rng_below(s, 07777 + 1);
	i->a.uid = (uint32_t)rng_next(s);
	i->a.gid = (uint32_t)rng_next(s);
	i->a.nlink = (uint32_t)rng_next(s);
	for (int k = 0; k < 4; k++) {
		t[k]->tv_sec = (time_t)rng_next(s);
		t[k]->tv_nsec = (long)rng_below(s, 1000000000);
	}
	i->parent = rng_next(s);
	i->xattrs = (uint32_t)rng_next(s);
	i->entries = (uint32_t)rng_next(s);
	if (S_ISLNK(i->a.mode)) {
		i->target_len = (uint16_t)(1 + rng_below(s, VOLUME_SYMLINK_MAX));
		memset(i->target, 'a' + (int)rng_below(s, 26), i->target_len);
	}
}

static void inodes(void **state)
{
	static struct inode i, r;
	static uint8_t val[VALUE_INODE_MAX + 1];
	uint64_t s = 1;
	size_t len;

	(void)state;
	for (int n = 0; n < 2000; n++) {
		random_inode(&s, &i);
		assert_int_equal(value_inode_encode(&i, val, &len), 0);
		assert_int_equal(len, 120u + i.target_len);
		memset(&r, 0, sizeof(r));
		assert_int_equal(value_inode_decode(i.a.ino, val, len, &r), 0);
		assert_memory_equal(&i, &r, sizeof(i));
		for (size_t cut = 0; cut < len; cut += len > 200 && cut > 130 ? 97 : 1)
			assert_int_equal(value_inode_decode(1, val, cut, &r), ERR_CORRUPT);
		assert_int_equal(value_inode_decode(1, val, len + 1, &r), ERR_CORRUPT);
	}
}

static int inode_with(size_t at, uint8_t x)
{
	static struct inode i, r;
	static uint8_t val[VALUE_INODE_MAX];
	uint64_t s = 3;
	size_t len;

	do
		random_inode(&s, &i);
	while (!S_ISREG(i.a.mode));
	assert_int_equal(value_inode_encode(&i, val, &len), 0);
	val[at] = x;
	r.a.ino = 99;
	int rc = value_inode_decode(1, val, len, &r);

	assert_int_equal(r.a.ino, rc ? 99 : 1); /* untouched by a failure */
	return rc;
}

static void inodes_refused(void **state)
{
	static struct inode i;
	static uint8_t val[VALUE_INODE_MAX];
	uint64_t s = 3;
	size_t len;

	(void)state;
	assert_int_equal(inode_with(0, 1), 0);
	assert_int_equal(inode_with(0, 0), ERR_CORRUPT);
	assert_int_equal(inode_with(0, 2), ERR_NEWER_FORMAT);
	assert_int_equal(inode_with(1, 1), ERR_NEWER_FORMAT);
	assert_int_equal(inode_with(30, 1), ERR_NEWER_FORMAT);
	assert_int_equal(inode_with(2, 5), ERR_CORRUPT);      /* a target of a file */
	assert_int_equal(inode_with(6, 1), ERR_CORRUPT);      /* mode beyond 16 bits */
	assert_int_equal(inode_with(5, 0x31), ERR_CORRUPT);   /* a type that is none */
	assert_int_equal(inode_with(39, 0x80), ERR_CORRUPT);  /* a negative size */
	for (size_t t = 0; t < 4; t++)
		assert_int_equal(inode_with(107 + 4 * t, 0x40), ERR_CORRUPT); /* over a second of nanoseconds */
	random_inode(&s, &i);
	i.a.mtime.tv_nsec = -1;
	assert_int_equal(value_inode_encode(&i, val, &len), -EINVAL);
	random_inode(&s, &i);
	i.a.mode = S_IFREG;
	i.target_len = 1;
	assert_int_equal(value_inode_encode(&i, val, &len), -EINVAL);
	i.a.mode = S_IFLNK;
	i.target[0] = 0;
	assert_int_equal(value_inode_encode(&i, val, &len), -EINVAL);
	i.target_len = 0;
	assert_int_equal(value_inode_encode(&i, val, &len), -EINVAL);
}

static void names(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/" };
	uint8_t val[VALUE_DIRENT_MAX + 1];
	char name[VOLUME_NAME_MAX + 1];
	struct volume_dirent d;
	size_t len;

	(void)state;
	memset(name, 'n', sizeof(name));
	for (size_t n = 1; n <= VOLUME_NAME_MAX; n++) {
		assert_int_equal(value_dirent_encode(42, S_IFLNK, name, n, val, &len), 0);
		assert_int_equal(value_dirent_decode(77, val, len, &d), 0);
		assert_true(d.ino == 42 && d.cookie == 77 && d.type == S_IFLNK && d.len == n && strlen(d.name) == n);
		assert_memory_equal(d.name, name, n);
	}
	assert_int_equal(value_dirent_decode(77, val, len + 1, &d), ERR_CORRUPT);
	assert_int_equal(value_dirent_encode(42, S_IFREG, name, sizeof(name), val, &len), -EINVAL);
	assert_int_equal(value_dirent_encode(42, 0, name, 1, val, &len), -EINVAL);
	assert_int_equal(value_dirent_encode(42, S_IFREG | 0644, name, 1, val, &len), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(value_dirent_encode(42, S_IFREG, bad[i], strlen(bad[i]), val, &len), -EINVAL);
		memset(val, 0, sizeof(val));
		val[8] = 8;
		memcpy(val + 9, bad[i], strlen(bad[i]));
		assert_int_equal(value_dirent_decode(1, val, 9 + strlen(bad[i]), &d), ERR_CORRUPT);
	}
	assert_int_equal(value_dirent_encode(42, S_IFREG, "..a", 3, val, &len), 0);
	val[8] |= 0x10;
	assert_int_equal(value_dirent_decode(1, val, len, &d), ERR_NEWER_FORMAT);
	val[8] = 3;
	assert_int_equal(value_dirent_decode(1, val, len, &d), ERR_CORRUPT);
	val[8] = 8;
	val[10] = 0;
	assert_int_equal(value_dirent_decode(1, val, len, &d), ERR_CORRUPT);
	for (size_t n = 0; n <= 9; n++)
		assert_int_equal(value_dirent_decode(1, val, n, &d), ERR_CORRUPT);
}

static void extents(void **state)
{
	struct extent e = { 5, 4096, SEGMENT_DATA_MAX, 9, 0 }, r;
	uint8_t val[VALUE_EXTENT_BYTES];

	(void)state;
	assert_int_equal(value_extent_encode(&e, val), 0);
	assert_int_equal(value_extent_decode(5, 4096 + SEGMENT_DATA_MAX - 1, val, sizeof(val), &r), 0);
	assert_true(r.ino == 5 && r.start == 4096 && r.len == SEGMENT_DATA_MAX && r.segment == 9 && r.logical == 0);
	assert_int_equal(value_extent_decode(5, 4096 + SEGMENT_DATA_MAX, val, sizeof(val), &r), ERR_CORRUPT); /* longer than a segment */
	assert_int_equal(value_extent_decode(5, 4095, val, sizeof(val), &r), ERR_CORRUPT);
	assert_int_equal(value_extent_decode(5, 4096, val, sizeof(val), &r), 0);
	assert_int_equal(r.len, 1);
	assert_int_equal(value_extent_decode(5, UINT64_MAX, val, sizeof(val), &r), ERR_CORRUPT);
	assert_int_equal(value_extent_decode(5, 4096, val, sizeof(val) - 1, &r), ERR_CORRUPT);
	put_u32(val + 16, SEGMENT_DATA_MAX - 1);
	assert_int_equal(value_extent_decode(5, 4096, val, sizeof(val), &r), 0);
	assert_int_equal(value_extent_decode(5, 4097, val, sizeof(val), &r), ERR_CORRUPT); /* beyond the segment's end */
	put_u32(val + 16, SEGMENT_DATA_MAX);
	assert_int_equal(value_extent_decode(5, 4096, val, sizeof(val), &r), ERR_CORRUPT);
	put_u32(val + 16, UINT32_MAX);
	assert_int_equal(value_extent_decode(5, 4096, val, sizeof(val), &r), ERR_CORRUPT);
	put_u64(val, 0); /* a length of 2^64 */
	put_u32(val + 16, 0);
	assert_int_equal(value_extent_decode(5, UINT64_MAX, val, sizeof(val), &r), ERR_CORRUPT);
	e.len = 0;
	assert_int_equal(value_extent_encode(&e, val), -EINVAL);
	e.len = UINT64_MAX;
	assert_int_equal(value_extent_encode(&e, val), -EINVAL);
	e.len = 10;
	e.start = (uint64_t)INT64_MAX - 9;
	assert_int_equal(value_extent_encode(&e, val), -EINVAL);
	e.start--;
	assert_int_equal(value_extent_encode(&e, val), 0);
	assert_int_equal(value_extent_decode(5, (uint64_t)INT64_MAX - 1, val, sizeof(val), &r), 0);
}

static void segments(void **state)
{
	struct segment_ref s = { .id = 3, .epoch = 4, .slot = 5, .object_bytes = 1000, .data_len = 6, .table_offset = 700, .table_len = 300 }, r;
	uint8_t val[VALUE_SEGMENT_BYTES + 1] = { 0 };

	(void)state;
	memset(s.table_hash, 0x77, HASH_BYTES);
	assert_int_equal(value_segment_encode(&s, val), 0);
	memset(&r, 0, sizeof(r));
	assert_int_equal(value_segment_decode(3, val, VALUE_SEGMENT_BYTES, &r), 0);
	assert_true(r.id == 3 && r.epoch == 4 && r.slot == 5 && r.object_bytes == 1000 && r.data_len == 6 && r.table_offset == 700 && r.table_len == 300);
	assert_memory_equal(r.table_hash, s.table_hash, HASH_BYTES);
	for (size_t len = 0; len < VALUE_SEGMENT_BYTES; len++)
		assert_int_equal(value_segment_decode(3, val, len, &r), ERR_CORRUPT);
	assert_int_equal(value_segment_decode(3, val, VALUE_SEGMENT_BYTES + 1, &r), ERR_CORRUPT);
	val[4] = 1; /* a segment of an ancestor */
	assert_int_equal(value_segment_decode(3, val, VALUE_SEGMENT_BYTES, &r), ERR_NEWER_FORMAT);
	val[4] = 0;
	val[0] = 2;
	assert_int_equal(value_segment_decode(3, val, VALUE_SEGMENT_BYTES, &r), ERR_NEWER_FORMAT);
	val[0] = 1;
	val[40] = 0xff; /* the table would lie beyond the object */
	val[41] = 0xff;
	assert_int_equal(value_segment_decode(3, val, VALUE_SEGMENT_BYTES, &r), ERR_CORRUPT);
	s.table_len = 301;
	assert_int_equal(value_segment_encode(&s, val), -EINVAL);
	s.table_len = 0;
	s.data_len = SEGMENT_DATA_MAX + 1;
	assert_int_equal(value_segment_encode(&s, val), -EINVAL);
}

static void any(void **state)
{
	static uint8_t big[VOLUME_XATTR_VALUE_MAX + 1];
	uint8_t key[VALUE_KEY_MAX], val[VALUE_ORPHAN_BYTES];
	size_t klen;

	(void)state;
	klen = value_key_xattr(1, "user.x", 6, key);
	assert_int_equal(value_check(key, klen, big, 0), 0);
	assert_int_equal(value_check(key, klen, big, VOLUME_XATTR_VALUE_MAX), 0);
	assert_int_equal(value_check(key, klen, big, sizeof(big)), ERR_CORRUPT);
	assert_int_equal(value_check(key, klen, NULL, 0), 0);
	klen = value_key_orphan(1, key);
	value_orphan_encode(val);
	assert_int_equal(value_check(key, klen, val, sizeof(val)), 0);
	assert_int_equal(value_check(key, klen, val, 0), ERR_CORRUPT);
	val[0] = 2;
	assert_int_equal(value_check(key, klen, val, 1), ERR_NEWER_FORMAT);
	klen = value_key_inode(1, key);
	assert_int_equal(value_check(key, klen, big, 120), ERR_CORRUPT);
	assert_int_equal(value_check(key, klen - 1, NULL, 0), ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_sort),
		cmocka_unit_test(keys_refused),
		cmocka_unit_test(inodes),
		cmocka_unit_test(inodes_refused),
		cmocka_unit_test(names),
		cmocka_unit_test(extents),
		cmocka_unit_test(segments),
		cmocka_unit_test(any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
