/* test_buf.c - bytes, encoded and decoded; and the hashes, against their published values. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "buf.h"
#include "env.h"
#include "err.h"
#include "hash.h"

static void test_layout(void **state)
{
	static const uint8_t want[] = {
		0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08,
		0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x03, 0x00, 'a', 'b', 'c', 0, 0, 0x00, 0x00,
	};
	struct buf b = BUF_INIT;

	(void)state;
	buf_u8(&b, 0x01);
	buf_u16(&b, 0x0203);
	buf_u32(&b, 0x04050607);
	buf_u64(&b, UINT64_C(0x08090a0b0c0d0e0f));
	buf_be64(&b, UINT64_C(0x08090a0b0c0d0e0f));
	buf_str16(&b, "abc", 3);
	buf_zero(&b, 2);
	buf_str16(&b, NULL, 0);
	buf_bytes(&b, NULL, 0);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(b.data, want, sizeof(want));
	buf_free(&b);
	assert_null(b.data);
	assert_int_equal(b.len + b.cap, 0);
}

static void test_round_trip(void **state)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	uint8_t bytes[5];
	const uint8_t *p;
	size_t len;

	(void)state;
	for (uint64_t i = 0; i < 2000; i++) { /* through many growths */
		buf_u8(&b, (uint8_t)i);
		buf_u16(&b, (uint16_t)(i * 7));
		buf_u32(&b, (uint32_t)(i * 1234567));
		buf_u64(&b, i * UINT64_C(0x123456789abcdef));
		buf_be64(&b, ~i);
		buf_str16(&b, "hello, world", i % 13);
		buf_bytes(&b, "12345", 5);
	}
	c = cursor_make(b.data, b.len);
	for (uint64_t i = 0; i < 2000; i++) {
		assert_int_equal(cursor_u8(&c), (uint8_t)i);
		assert_int_equal(cursor_u16(&c), (uint16_t)(i * 7));
		assert_int_equal(cursor_u32(&c), (uint32_t)(i * 1234567));
		assert_int_equal(cursor_u64(&c), i * UINT64_C(0x123456789abcdef));
		assert_int_equal(cursor_be64(&c), ~i);
		p = cursor_str16(&c, &len);
		assert_non_null(p);
		assert_int_equal(len, i % 13);
		assert_memory_equal(p, "hello, world", len);
		cursor_copy(&c, bytes, 5);
		assert_memory_equal(bytes, "12345", 5);
	}
	assert_int_equal(cursor_left(&c), 0);
	assert_int_equal(cursor_end(&c), 0);
	buf_free(&b);
}

static void test_sticky_buf(void **state)
{
	static uint8_t big[65536];
	struct buf b = BUF_INIT;

	(void)state;
	buf_u8(&b, 1);
	buf_str16(&b, big, 65535);
	assert_int_equal(b.err, 0);
	assert_int_equal(b.len, 1 + 2 + 65535);
	buf_reset(&b);
	buf_u8(&b, 1);
	buf_str16(&b, big, 65536);
	assert_int_equal(b.err, -EINVAL);
	assert_int_equal(b.len, 1);
	buf_u64(&b, 1);
	buf_zero(&b, 1);
	buf_bytes(&b, big, 10);
	assert_int_equal(b.len, 1);
	assert_int_equal(buf_reserve(&b, 1), -EINVAL);
	buf_reset(&b);
	assert_int_equal(b.err, 0);
	/* No memory for that; and no overflow on the way to finding out. */
	buf_u8(&b, 1);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
	assert_int_equal(b.err, -ENOMEM);
	buf_u8(&b, 2);
	assert_int_equal(b.len, 1);
	buf_free(&b);
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
	buf_free(&b);
}

static void test_reserve(void **state)
{
	struct buf b = BUF_INIT;
	const uint8_t *data;

	(void)state;
	assert_int_equal(buf_reserve(&b, 1000), 0);
	data = b.data;
	for (int i = 0; i < 1000; i++)
		buf_u8(&b, (uint8_t)i);
	assert_ptr_equal(b.data, data); /* there was room */
	assert_int_equal(b.len, 1000);
	buf_free(&b);
}

/* Every proper prefix of an encoding fails, stays failed and gives zeros. */
static void test_short_input(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_u32(&b, 0xffffffff);
	buf_str16(&b, "abc", 3);
	buf_u64(&b, UINT64_MAX);
	for (size_t n = 0; n < b.len; n++) {
		/* An exact allocation, so that a checker sees any step beyond it. */
		uint8_t *exact = malloc(n ? n : 1), copy[4] = { 1, 1, 1, 1 };
		struct cursor c;
		size_t len = 99;

		assert_non_null(exact);
		if (n > 0)
			memcpy(exact, b.data, n);
		c = cursor_make(exact, n);
		cursor_u32(&c);
		cursor_str16(&c, &len);
		cursor_u64(&c);
		assert_int_equal(c.err, ERR_CORRUPT);
		assert_int_equal(cursor_end(&c), ERR_CORRUPT);
		assert_int_equal(cursor_left(&c), 0);
		assert_int_equal(cursor_u8(&c), 0);
		assert_null(cursor_view(&c, 0));
		assert_null(cursor_str16(&c, &len));
		assert_int_equal(len, 0);
		cursor_copy(&c, copy, 4);
		assert_int_equal(copy[0] + copy[1] + copy[2] + copy[3], 0);
		free(exact);
	}
	buf_free(&b);
}

static void test_cursor_edges(void **state)
{
	static const uint8_t two[] = { 1, 2 };
	struct cursor c = cursor_make(NULL, 0);
	size_t len;

	(void)state;
	assert_int_equal(cursor_end(&c), 0);
	assert_non_null(cursor_view(&c, 0));
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(c.err, ERR_CORRUPT);
	c = cursor_make(NULL, 5);
	assert_int_equal(cursor_end(&c), ERR_CORRUPT);
	c = cursor_make(two, 2);
	assert_int_equal(cursor_end(&c), ERR_CORRUPT); /* left over */
	assert_int_equal(cursor_u8(&c), 1);
	assert_null(cursor_view(&c, SIZE_MAX));
	c = cursor_make("\x05\x00" "abcd", 6); /* says 5, has 4 */
	assert_null(cursor_str16(&c, &len));
	assert_int_equal(len, 0);
}

static void test_plain(void **state)
{
	uint8_t p[8];

	(void)state;
	put_u32(p, 0x01020304);
	assert_memory_equal(p, "\x04\x03\x02\x01", 4);
	assert_int_equal(get_u32(p), 0x01020304);
	put_u64(p, UINT64_C(0x0102030405060708));
	assert_memory_equal(p, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
	assert_int_equal(get_u64(p), UINT64_C(0x0102030405060708));
	put_be64(p, UINT64_C(0x0102030405060708));
	assert_memory_equal(p, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	assert_int_equal(get_be64(p), UINT64_C(0x0102030405060708));
}

static void to_hex(const uint8_t *p, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < HASH_BYTES; i++) {
		ret[2 * i] = digits[p[i] >> 4];
		ret[2 * i + 1] = digits[p[i] & 15];
	}
	ret[2 * HASH_BYTES] = '\0';
}

static void test_hashes(void **state)
{
	uint8_t h[HASH_BYTES], g[HASH_BYTES];
	char hex[2 * HASH_BYTES + 1];

	(void)state;
	/* b2sum -l 256 of nothing and of "abc". */
	hash_blake2b(NULL, 0, h);
	to_hex(h, hex);
	assert_string_equal(hex, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
	hash_blake2b("abc", 3, h);
	to_hex(h, hex);
	assert_string_equal(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	for (size_t i = 0; i <= 3; i++) {
		hash_blake2b2("abc", i, &"abc"[i], 3 - i, g);
		assert_memory_equal(g, h, HASH_BYTES);
	}
	/* xxhsum -H3 of nothing. */
	assert_int_equal(hash_xxh3(NULL, 0, 0), UINT64_C(0x2d06800538d394c2));
	assert_int_not_equal(hash_xxh3("abc", 3, 0), hash_xxh3("abc", 3, 1));
	assert_int_not_equal(hash_xxh3("abc", 3, 0), hash_xxh3("abd", 3, 0));
}

static void test_env(void **state)
{
	struct env *e = env_system();
	uint8_t a[32] = { 0 }, b[32] = { 0 };
	uint64_t t = e->boot_ns(e);

	(void)state;
	assert_true(t > 0);
	assert_true(e->boot_ns(e) >= t);
	assert_true(e->real_ns(e) > UINT64_C(1600000000000000000));
	e->random(e, a, sizeof(a));
	e->random(e, b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_sticky_buf),
		cmocka_unit_test(test_reserve), cmocka_unit_test(test_short_input), cmocka_unit_test(test_cursor_edges),
		cmocka_unit_test(test_plain), cmocka_unit_test(test_hashes), cmocka_unit_test(test_env),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
