/*
 * test_sigv4.c - the signer against AWS's published values: the four worked
 * examples of the S3 API Reference, and cases of the Signature Version 4 test
 * suite. Also hashes, base64, URL encoding and CRC-32C against known answers.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compiler.h"
#include "crc32c.h"
#include "s3_text.h"
#include "sigv4.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define S3_HOST "examplebucket.s3.amazonaws.com"

static void check(const char *service, const char *access, const char *secret, const char *region, const char *date,
		  const struct sigv4_request *r, const char *names, const char *signature)
{
	char auth[SIGV4_AUTH_MAX], want[256];
	struct sigv4_signer *s;

	assert_int_equal(sigv4_signer_new(service, &s), 0);
	for (int again = 0; again < 2; again++) { /* the second time from the kept key */
		assert_int_equal(sigv4_sign(s, access, secret, 1, region, date, r, auth), 0);
		assert_non_null(strstr(auth, "AWS4-HMAC-SHA256 Credential="));
		snprintf(want, sizeof(want), "SignedHeaders=%s,", names);
		assert_non_null(strstr(auth, want));
		assert_string_equal(strstr(auth, "Signature=") + 10, signature);
	}
	/* Another secret under another generation must not use the kept key. */
	assert_int_equal(sigv4_sign(s, access, "other", 2, region, date, r, auth), 0);
	assert_string_not_equal(strstr(auth, "Signature=") + 10, signature);
	sigv4_signer_free(s);
}

static void check_s3(const char *method, const char *path, const char *query, const struct sigv4_header *h, size_t n,
		     const char *payload, const char *names, const char *signature)
{
	struct sigv4_request r = { method, path, query, h, n, payload };

	check("s3", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", "20130524T000000Z", &r,
	      names, signature);
}

static void test_s3_examples(void **state)
{
	const struct sigv4_header get[] = { { "host", S3_HOST }, { "range", "bytes=0-9" },
					    { "x-amz-content-sha256", EMPTY }, { "x-amz-date", "20130524T000000Z" } };
	char put_hash[65];
	const char *text = "Welcome to Amazon S3.";
	const struct iovec iov[2] = { { (char *)(uintptr_t)text, 7 }, { (char *)(uintptr_t)text + 7, strlen(text) - 7 } };
	struct sigv4_header put[] = { { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
				      { "date", "Fri, 24 May 2013 00:00:00 GMT" }, { "host", S3_HOST },
				      { "x-amz-date", "20130524T000000Z" }, { "x-amz-content-sha256", put_hash } };
	const struct sigv4_header list[] = { { "host", S3_HOST }, { "x-amz-content-sha256", EMPTY },
					     { "x-amz-date", "20130524T000000Z" } };

	(void)state;
	check_s3("GET", "/test.txt", "", get, CL_ARRAY_LEN(get), EMPTY, "host;range;x-amz-content-sha256;x-amz-date",
		 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	assert_int_equal(sigv4_sha256_hex(iov, 2, put_hash), 0);
	assert_string_equal(put_hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
	check_s3("PUT", "/test%24file.text", "", put, CL_ARRAY_LEN(put), put_hash,
		 "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	check_s3("GET", "/", "lifecycle=", list, CL_ARRAY_LEN(list), EMPTY, "host;x-amz-content-sha256;x-amz-date",
		 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	check_s3("GET", "/", "max-keys=2&prefix=J", list, CL_ARRAY_LEN(list), EMPTY,
		 "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void check_suite(const char *method, const char *path, const char *query, const struct sigv4_header *h, size_t n,
			const char *payload, const char *names, const char *signature)
{
	struct sigv4_request r = { method, path, query, h, n, payload };

	check("service", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "20150830T123600Z", &r, names,
	      signature);
}

static void test_suite(void **state)
{
	const struct sigv4_header plain[] = { { "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" } };
	const struct sigv4_header trim[] = { { "host", "example.amazonaws.com" }, { "my-header1", " value1" },
					     { "my-header2", " \"a   b   c\"" }, { "x-amz-date", "20150830T123600Z" } };
	const struct sigv4_header form[] = { { "content-type", "application/x-www-form-urlencoded" },
					     { "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" } };
	const char *body = "Param1=value1";
	char hash[65];

	(void)state;
	check_suite("GET", "/", "", plain, 2, EMPTY, "host;x-amz-date",
		    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	check_suite("GET", "", "", plain, 2, EMPTY, "host;x-amz-date",
		    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	check_suite("GET", "/", "Param1=value1&Param2=value2", plain, 2, EMPTY, "host;x-amz-date",
		    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
	check_suite("POST", "/", "", plain, 2, EMPTY, "host;x-amz-date",
		    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
	check_suite("GET", "/", "", trim, 4, EMPTY, "host;my-header1;my-header2;x-amz-date",
		    "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
	assert_int_equal(sigv4_sha256_hex(&(struct iovec){ (char *)(uintptr_t)body, strlen(body) }, 1, hash), 0);
	check_suite("POST", "/", "", form, 3, hash, "content-type;host;x-amz-date",
		    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
}

/* The worked example of the IAM User Guide. */
static void test_iam(void **state)
{
	const struct sigv4_header h[] = { { "x-amz-date", "20150830T123600Z" }, { "host", "iam.amazonaws.com" },
					  { "content-type", "application/x-www-form-urlencoded; charset=utf-8" } };
	struct sigv4_request r = { "GET", "/", "Action=ListUsers&Version=2010-05-08", h, 3, EMPTY };

	(void)state;
	check("iam", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "20150830T123600Z", &r,
	      "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

static void test_limits(void **state)
{
	struct sigv4_header h[SIGV4_HEADERS_MAX + 1];
	struct sigv4_request r = { "GET", "/", "", h, CL_ARRAY_LEN(h), EMPTY };
	char auth[SIGV4_AUTH_MAX], *huge = malloc(4096);
	struct sigv4_signer *s;

	(void)state;
	assert_non_null(huge);
	memset(huge, 'x', 4095);
	huge[4095] = '\0';
	for (size_t i = 0; i < CL_ARRAY_LEN(h); i++)
		h[i] = (struct sigv4_header){ "a", "b" };
	assert_int_equal(sigv4_signer_new("s3", &s), 0);
	assert_int_equal(sigv4_sign(s, "a", "b", 1, "r", "20150830T123600Z", &r, auth), -E2BIG);
	r.header_count = 1;
	assert_int_equal(sigv4_sign(s, "a", "b", 1, "r", "2015", &r, auth), -EINVAL);
	assert_int_equal(sigv4_sign(s, "a", huge, 2, "r", "20150830T123600Z", &r, auth), -E2BIG);
	assert_int_equal(sigv4_sign(s, huge, "b", 1, "r", "20150830T123600Z", &r, auth), -E2BIG);
	assert_int_equal(sigv4_sign(s, "a", "b", 1, "r", "20150830T123600Z", &r, auth), 0);
	sigv4_signer_free(s);
	sigv4_signer_free(NULL);
	free(huge);
}

static void test_text(void **state)
{
	char text[64], *s;
	uint8_t back[16];
	struct buf b = BUF_INIT;
	uint64_t n;
	bool on;

	(void)state;
	s3_text_base64((const uint8_t *)"foob", 4, text);
	assert_string_equal(text, "Zm9vYg==");
	s3_text_base64((const uint8_t *)"fooba", 5, text);
	assert_string_equal(text, "Zm9vYmE=");
	assert_int_equal(s3_text_unbase64("Zm9vYmE=", back, sizeof(back)), 5);
	assert_memory_equal(back, "fooba", 5);
	assert_int_equal(s3_text_unbase64("Zm9vYmE", back, sizeof(back)), -1);
	assert_int_equal(s3_text_unbase64("Zm=vYmE=", back, sizeof(back)), -1);
	assert_int_equal(s3_text_unbase64("Zm9vYmE=", back, 4), -1);
	assert_int_equal(sigv4_md5_base64("", 0, text), 0);
	assert_string_equal(text, "1B2M2Y8AsgTpgAmY7PhCfg==");
	s3_text_encode(&b, "a b/\xc3\xa9~+", 8, true);
	s = s3_text_take(&b);
	assert_string_equal(s, "a%20b/%C3%A9~%2B");
	assert_int_equal(s3_text_decode(s, strlen(s)), 8);
	assert_memory_equal(s, "a b/\xc3\xa9~+", 8);
	free(s);
	strcpy(text, "a+b%2");
	assert_int_equal(s3_text_decode(text, 5), -1);
	strcpy(text, "%00");
	assert_int_equal(s3_text_decode(text, 3), -1);
	assert_int_equal(s3_text_iso_time("2013-05-24T00:00:00.000Z"), 1369353600);
	assert_int_equal(s3_text_iso_time("2013-05-24T00:00:00Z"), 1369353600);
	assert_int_equal(s3_text_iso_time("2013-05-24"), -1);
	assert_int_equal(s3_text_iso_time("2013-05-24T00:00:00Zx"), -1);
	s3_text_amz_date(1369353600, text);
	assert_string_equal(text, "20130524T000000Z");
	assert_true(s3_text_u64("18446744073709551615", &n) && n == UINT64_MAX);
	assert_false(s3_text_u64("18446744073709551616", &n));
	assert_false(s3_text_u64("", &n) || s3_text_u64("-1", &n) || s3_text_u64("1 ", &n));
	assert_true(s3_text_bool("Yes", &on) && on && s3_text_bool("off", &on) && !on);
	assert_false(s3_text_bool("maybe", &on));
}

static void test_crc32c(void **state)
{
	uint8_t zeros[32] = { 0 }, ones[32], up[32], *random = malloc(5000);
	uint32_t whole;

	(void)state;
	assert_non_null(random);
	memset(ones, 0xff, 32);
	for (size_t i = 0; i < 32; i++)
		up[i] = (uint8_t)i;
	for (size_t i = 0; i < 5000; i++)
		random[i] = (uint8_t)(i * 2654435761u >> 13);
	/* RFC 3720, appendix B.4. */
	assert_int_equal(crc32c_table(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c_table(0, zeros, 32), 0x8a9136aa);
	assert_int_equal(crc32c_table(0, ones, 32), 0x62a8ab43);
	assert_int_equal(crc32c_table(0, up, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, "", 0), 0);
	/* Both ways agree, whole and in two pieces, at every alignment. */
	whole = crc32c_table(0, random, 5000);
	for (size_t cut = 0; cut < 40; cut++) {
		assert_int_equal(crc32c(crc32c(0, random, cut), random + cut, 5000 - cut), whole);
		assert_int_equal(crc32c_table(crc32c_table(0, random, cut), random + cut, 5000 - cut), whole);
		assert_int_equal(crc32c(0, random + cut, 1000), crc32c_table(0, random + cut, 1000));
	}
	free(random);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s3_examples), cmocka_unit_test(test_suite), cmocka_unit_test(test_iam),
		cmocka_unit_test(test_limits),      cmocka_unit_test(test_text),  cmocka_unit_test(test_crc32c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
