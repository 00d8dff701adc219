/* fuzz_http_headers.c - any bytes as the header lines of an answer, and as the texts they hold. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "s3_headers.h"
#include "s3_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_texts(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);
	uint8_t out[64];
	uint64_t n;
	bool b;

	if (!copy)
		return;
	memcpy(copy, data, size);
	copy[size] = '\0';
	(void)s3_text_unbase64(copy, out, sizeof(out));
	(void)s3_text_iso_time(copy);
	(void)s3_text_u64(copy, &n);
	(void)s3_text_bool(copy, &b);
	if (s3_text_decode(copy, size) > (ptrdiff_t)size)
		abort();
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_headers h = { .status = 0 };
	const uint8_t *line = data, *end = data + size;

	while (line < end) {
		const uint8_t *nl = memchr(line, '\n', (size_t)(end - line));
		size_t len = nl ? (size_t)(nl - line) + 1 : (size_t)(end - line);

		s3_headers_line(&h, (const char *)line, len);
		line += len;
		if (!memchr(h.etag, '\0', sizeof(h.etag)) || !memchr(h.region, '\0', sizeof(h.region)) ||
		    (h.has_range && h.range_last < h.range_first))
			abort();
	}
	try_texts(data, size);
	return 0;
}
