/* s3_headers.h - the headers of an answer, line by line as they come from the network. */
#ifndef CLONELOVE_S3_HEADERS_H
#define CLONELOVE_S3_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

struct s3_headers {
	unsigned status;             /* 0: none yet */
	char etag[STORE_ETAG_MAX];   /* without quotes; "" when it is not there or too long */
	int64_t mtime_s, date_s;     /* Last-Modified, Date; 0: not there */
	bool has_length, chunked;
	uint64_t length;             /* Content-Length */
	bool has_range, has_total;   /* Content-Range: first-last of total; 416 has only the total */
	uint64_t range_first, range_last, range_total;
	char crc32c[16];             /* base64 of the whole object's; "" when not there, or one of parts ("...-3") */
	char region[40];             /* x-amz-bucket-region */
	char location[128];          /* Location, for messages */
	char request_id[40];         /* x-amz-request-id */
	uint32_t retry_after_s;
};

/* One line, with or without its line break. A status line begins anew (100 Continue, a proxy's answer). */
void s3_headers_line(struct s3_headers *h, const char *line, size_t len);

#endif
