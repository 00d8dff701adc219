/* fuzz_s3_xml.c - any bytes as any of S3's and STS's documents: no crash, no leak, and what is accepted is whole. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "s3_xml.h"
#include "secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const uint8_t *data, size_t size)
{
	struct s3_xml_list l;

	if (s3_xml_list(data, size, &l) != 0)
		return;
	for (size_t i = 0; i < l.count; i++)
		if (!l.entries[i].key || !*l.entries[i].key || !memchr(l.entries[i].etag, '\0', sizeof(l.entries[i].etag)))
			abort();
	s3_xml_list_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_xml_credentials c;
	struct s3_xml_error e;
	size_t failed;
	char value[128], root[64];

	check_list(data, size);
	if (s3_xml_error(data, size, &e) == 0 && !memchr(e.message, '\0', sizeof(e.message)))
		abort();
	(void)s3_xml_delete(data, size, &failed, &e);
	(void)s3_xml_value(data, size, "CopyObjectResult", "ETag", value, sizeof(value));
	s3_xml_root(data, size, root);
	if (s3_xml_sts(data, size, &c) == 0) {
		secret_free(c.access_key);
		secret_free(c.secret_key);
		secret_free(c.session_token);
	}
	return 0;
}
