/* test_s3_xml.c - S3's documents and headers, good and bad: what real servers send, and what none should. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "s3_headers.h"
#include "s3_text.h"
#include "s3_xml.h"
#include "secret.h"

static int error(const char *text, struct s3_xml_error *ret)
{
	return s3_xml_error(text, strlen(text), ret);
}

static void test_error(void **state)
{
	struct s3_xml_error e;

	(void)state;
	assert_int_equal(error("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>a &amp; b\n</Message>"
			       "<Key>k</Key><Region>eu-west-1</Region><Other><Code>x</Code></Other></Error>", &e), 0);
	assert_string_equal(e.code, "NoSuchKey");
	assert_string_equal(e.message, "a & b?");
	assert_string_equal(e.region, "eu-west-1");
	assert_int_equal(error("<Error/>", &e), 0);
	assert_string_equal(e.code, "");
	assert_int_equal(error("<e:ErrorResponse xmlns:e=\"x\"><e:Error><e:Code>Throttling</e:Code></e:Error></e:ErrorResponse>", &e), 0);
	assert_string_equal(e.code, "Throttling");
	assert_int_equal(error("", &e), ERR_CORRUPT);
	assert_int_equal(error("<html></html>", &e), ERR_CORRUPT);
	assert_int_equal(error("<Error><Code>Cut", &e), ERR_CORRUPT);
	assert_int_equal(error("<Error></Error><Error></Error>", &e), ERR_CORRUPT);
	assert_int_equal(error("Service Unavailable", &e), ERR_CORRUPT);
}

static void test_attacks(void **state)
{
	struct s3_xml_error e;
	struct buf b = BUF_INIT;
	char *text;

	(void)state;
	assert_int_equal(error("<!DOCTYPE Error [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Error><Code>&b;</Code></Error>", &e), ERR_CORRUPT);
	assert_int_equal(error("<!DOCTYPE Error SYSTEM \"file:///etc/passwd\"><Error/>", &e), ERR_CORRUPT);
	for (int i = 0; i < 1000; i++)
		s3_text_add(&b, "<Error>");
	text = s3_text_take(&b);
	assert_int_equal(error(text, &e), ERR_CORRUPT); /* too deep */
	free(text);
	s3_text_add(&b, "<Error><Code>");
	for (int i = 0; i < 20000; i++)
		s3_text_add(&b, "x");
	s3_text_add(&b, "</Code></Error>");
	text = s3_text_take(&b);
	assert_int_equal(error(text, &e), ERR_CORRUPT); /* too long */
	free(text);
}

static int list(const char *text, struct s3_xml_list *ret)
{
	return s3_xml_list(text, strlen(text), ret);
}

#define LIST(inner) "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>" inner \
	"<IsTruncated>false</IsTruncated></ListBucketResult>"
#define ENTRY(key) "<Contents><Key>" key "</Key><LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;abc&quot;</ETag>" \
	"<Size>12</Size><Owner><ID>x</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"

static void one_key(const char *text, const char *want)
{
	struct s3_xml_list l;

	assert_int_equal(list(text, &l), 0);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.entries[0].key, want);
	assert_int_equal(l.entries[0].size_bytes, 12);
	assert_int_equal(l.entries[0].mtime_s, 1369353600);
	assert_string_equal(l.entries[0].etag, "abc");
	s3_xml_list_free(&l);
}

static void test_list(void **state)
{
	struct s3_xml_list l;

	(void)state;
	assert_int_equal(list(LIST(""), &l), 0);
	assert_int_equal(l.count, 0);
	s3_xml_list_free(&l);
	one_key(LIST(ENTRY("a b")), "a b");
	one_key(LIST(ENTRY("a+b%20")), "a+b%20"); /* not said to be encoded: literal */
	one_key(LIST("<EncodingType>url</EncodingType>" ENTRY("a+b%2B%C3%BC%01")), "a b+\xc3\xbc\x01");
	one_key(LIST(ENTRY("a+b%2B") "<EncodingType>url</EncodingType>"), "a b+"); /* said afterwards */
	/* Control characters as servers send them, and the prefix that stays unencoded. */
	one_key(LIST(ENTRY("a&#x01;&#31;b\x02")), "a\x01\x1f" "b\x02");
	one_key(LIST("<Prefix>p&#x1;</Prefix><EncodingType>url</EncodingType>" ENTRY("p%01q")), "p\x01q");
	one_key(LIST(ENTRY("a\xef\x80\x81")), "a\xef\x80\x81"); /* U+F001 itself, in a document without control characters */
	assert_int_equal(list(LIST(ENTRY("a\xef\x80\x81&#x01;")), &l), ERR_CORRUPT); /* both: ambiguous */
	assert_int_equal(list("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t/+=</NextContinuationToken>"
			      "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes></ListBucketResult>", &l), 0);
	assert_true(l.truncated);
	assert_string_equal(l.token, "t/+=");
	assert_string_equal(l.entries[0].key, "x/");
	s3_xml_list_free(&l);
}

static void test_bad_lists(void **state)
{
	static const char *const bad[] = {
		"<ListBucketResult></ListBucketResult>", /* does not say whether that was all */
		"<Other><IsTruncated>false</IsTruncated></Other>",
		LIST("<Contents></Contents>"),
		LIST("<Contents><Key></Key></Contents>"),
		LIST("<Contents><Key>a</Key><Key>b</Key></Contents>"),
		LIST("<Contents><Key>a</Key><Size>-1</Size></Contents>"),
		LIST("<Contents><Key>a</Key><LastModified>yesterday</LastModified></Contents>"),
		LIST("<EncodingType>url</EncodingType><Contents><Key>a%</Key></Contents>"),
		LIST("<EncodingType>url</EncodingType><Contents><Key>a%00b</Key></Contents>"),
		"<ListBucketResult><IsTruncated>perhaps</IsTruncated></ListBucketResult>",
	};
	const char *good = LIST(ENTRY("a") ENTRY("b"));
	struct s3_xml_list l;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++)
		assert_int_equal(list(bad[i], &l), ERR_CORRUPT);
	/* Cut anywhere, it is never taken for a whole one. */
	for (size_t n = 0; n < strlen(good); n++)
		assert_int_equal(s3_xml_list(good, n, &l), ERR_CORRUPT);
	assert_int_equal(list(good, &l), 0);
	s3_xml_list_free(&l);
}

static void test_delete(void **state)
{
	const char *text = "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message>"
			   "</Error><Error><Key>c</Key><Code>InternalError</Code></Error></DeleteResult>";
	struct s3_xml_error first;
	size_t failed;

	(void)state;
	assert_int_equal(s3_xml_delete(text, strlen(text), &failed, &first), 0);
	assert_int_equal(failed, 2);
	assert_string_equal(first.key, "b");
	assert_string_equal(first.code, "AccessDenied");
	text = "<DeleteResult/>";
	assert_int_equal(s3_xml_delete(text, strlen(text), &failed, &first), 0);
	assert_int_equal(failed, 0);
	text = "<Error><Code>InternalError</Code></Error>";
	assert_int_equal(s3_xml_delete(text, strlen(text), &failed, &first), ERR_CORRUPT);
}

static void test_values(void **state)
{
	const char *text = " \n<CopyObjectResult>  \n<ETag>\"x\"</ETag></CopyObjectResult>";
	char value[8], root[64];

	(void)state;
	assert_int_equal(s3_xml_value(text + 2, strlen(text + 2), "CopyObjectResult", "ETag", value, sizeof(value)), 0);
	assert_string_equal(value, "\"x\"");
	assert_int_equal(s3_xml_value(text + 2, strlen(text + 2), "CopyObjectResult", "ETag", value, 3), ERR_CORRUPT);
	assert_int_equal(s3_xml_value(text + 2, strlen(text + 2), "CopyObjectResult", "Other", value, sizeof(value)), ERR_CORRUPT);
	assert_int_equal(s3_xml_value(text + 2, strlen(text + 2), "Else", "ETag", value, sizeof(value)), ERR_CORRUPT);
	s3_xml_root(text + 2, strlen(text + 2), root);
	assert_string_equal(root, "CopyObjectResult");
	s3_xml_root("", 0, root);
	assert_string_equal(root, "");
}

static void test_sts(void **state)
{
	const char *text = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>"
			   "<AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>ST</SessionToken>"
			   "<Expiration>2013-05-24T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
	struct s3_xml_credentials c;

	(void)state;
	assert_int_equal(s3_xml_sts(text, strlen(text), &c), 0);
	assert_string_equal(c.access_key->text, "AK");
	assert_string_equal(c.secret_key->text, "SK");
	assert_string_equal(c.session_token->text, "ST");
	assert_int_equal(c.expires_s, 1369353600);
	secret_free(c.access_key);
	secret_free(c.secret_key);
	secret_free(c.session_token);
	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(s3_xml_sts(text, n, &c), ERR_CORRUPT);
}

static void feed(struct s3_headers *h, const char *lines)
{
	*h = (struct s3_headers){ .status = 0 };
	while (*lines) {
		size_t n = strcspn(lines, "\n") + 1;

		s3_headers_line(h, lines, n);
		lines += n;
	}
}

static void test_headers(void **state)
{
	struct s3_headers h;

	(void)state;
	feed(&h, "HTTP/1.1 100 Continue\r\nETag: \"old\"\r\n\r\nHTTP/1.1 206 Partial\r\nEtag:   \"abc-2\"  \r\nContent-Length: 10\r\n"
		 "CONTENT-RANGE: bytes 5-14/443\r\nLast-Modified: Fri, 24 May 2013 00:00:00 GMT\r\nDate: Fri, 24 May 2013 00:00:01 GMT\r\n"
		 "x-amz-checksum-crc32c: AAAAAA==\r\nx-amz-bucket-region: eu-west-3\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n");
	assert_int_equal(h.status, 206);
	assert_string_equal(h.etag, "abc-2");
	assert_true(h.has_length && h.length == 10 && h.chunked);
	assert_true(h.has_range && h.has_total && h.range_first == 5 && h.range_last == 14 && h.range_total == 443);
	assert_int_equal(h.mtime_s, 1369353600);
	assert_int_equal(h.date_s, 1369353601);
	assert_string_equal(h.crc32c, "AAAAAA==");
	assert_string_equal(h.region, "eu-west-3");
	assert_int_equal(h.retry_after_s, 7);
	feed(&h, "HTTP/1.1 200\r\nETag: unquoted\r\nx-amz-checksum-crc32c: AAAAAA==-3\r\nContent-Range: bytes */10\r\n");
	assert_int_equal(h.status, 200);
	assert_string_equal(h.etag, "unquoted");
	assert_string_equal(h.crc32c, ""); /* of parts: not the object's */
	assert_true(!h.has_range && h.has_total && h.range_total == 10);
	feed(&h, "garbage\nHTTP/1.1 abc\nContent-Length: 1e9\nContent-Range: bytes 9-5/10\nContent-Range\n: x\nRetry-After: Fri\n");
	assert_int_equal(h.status, 0);
	assert_false(h.has_length || h.has_range);
	assert_int_equal(h.retry_after_s, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error),	   cmocka_unit_test(test_attacks), cmocka_unit_test(test_list),
		cmocka_unit_test(test_bad_lists), cmocka_unit_test(test_delete),	 cmocka_unit_test(test_values),
		cmocka_unit_test(test_sts),	   cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
