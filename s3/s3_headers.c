/* s3_headers.c - what is malformed is as if it were not there; the request's judge decides what it cannot do without. */
#include "s3_headers.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3_text.h"
#include "s3_xml.h"

static void status_line(struct s3_headers *h, const char *line)
{
	const char *sp = strchr(line, ' ');
	char digits[4];
	uint64_t n = 0;

	*h = (struct s3_headers){ .status = 0 };
	if (!sp)
		return;
	snprintf(digits, sizeof(digits), "%.3s", sp + 1);
	if (s3_text_u64(digits, &n) && n >= 100)
		h->status = (unsigned)n;
}

/* "bytes 0-9/443" or "bytes" and, for 416, star slash total. */
static void content_range(struct s3_headers *h, char *v)
{
	char *dash, *slash = strchr(v, '/');
	uint64_t first, last, total;

	h->has_range = h->has_total = false;
	if (strncasecmp(v, "bytes", 5) != 0 || !slash)
		return;
	v += 5;
	v += strspn(v, " =");
	*slash++ = '\0';
	h->has_total = s3_text_u64(slash, &total);
	if (h->has_total)
		h->range_total = total;
	dash = strchr(v, '-');
	if (!dash)
		return;
	*dash++ = '\0';
	if (!s3_text_u64(v, &first) || !s3_text_u64(dash, &last) || last < first || (h->has_total && last >= total))
		return;
	h->range_first = first;
	h->range_last = last;
	h->has_range = true;
}

static void etag(struct s3_headers *h, const char *v)
{
	size_t len = strlen(v);

	h->etag[0] = '\0';
	if (len >= 2 && v[0] == '"' && v[len - 1] == '"') {
		v++;
		len -= 2;
	}
	if (len < sizeof(h->etag))
		s3_xml_printable(v, len, h->etag, sizeof(h->etag));
}

static int64_t http_date(const char *v)
{
	time_t t = curl_getdate(v, NULL);

	return t > 0 ? (int64_t)t : 0;
}

static void field(struct s3_headers *h, const char *name, char *v)
{
	uint64_t n;

	if (strcasecmp(name, "etag") == 0)
		etag(h, v);
	else if (strcasecmp(name, "last-modified") == 0)
		h->mtime_s = http_date(v);
	else if (strcasecmp(name, "date") == 0)
		h->date_s = http_date(v);
	else if (strcasecmp(name, "content-length") == 0)
		h->has_length = s3_text_u64(v, &h->length);
	else if (strcasecmp(name, "transfer-encoding") == 0)
		h->chunked = strcasecmp(v, "chunked") == 0;
	else if (strcasecmp(name, "content-range") == 0)
		content_range(h, v);
	else if (strcasecmp(name, "x-amz-checksum-crc32c") == 0)
		snprintf(h->crc32c, sizeof(h->crc32c), "%.8s", strlen(v) == 8 ? v : "");
	else if (strcasecmp(name, "x-amz-bucket-region") == 0)
		s3_xml_printable(v, strlen(v), h->region, sizeof(h->region));
	else if (strcasecmp(name, "location") == 0)
		s3_xml_printable(v, strlen(v), h->location, sizeof(h->location));
	else if (strcasecmp(name, "x-amz-request-id") == 0)
		s3_xml_printable(v, strlen(v), h->request_id, sizeof(h->request_id));
	else if (strcasecmp(name, "retry-after") == 0)
		h->retry_after_s = s3_text_u64(v, &n) && n < 3600 ? (uint32_t)n : 0;
}

void s3_headers_line(struct s3_headers *h, const char *line, size_t len)
{
	char copy[1024], *colon, *v;

	while (len && (line[len - 1] == '\r' || line[len - 1] == '\n' || line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	if (len >= sizeof(copy) || memchr(line, '\0', len))
		return; /* none that matters is so long */
	memcpy(copy, line, len);
	copy[len] = '\0';
	if (strncmp(copy, "HTTP/", 5) == 0) {
		status_line(h, copy);
		return;
	}
	colon = strchr(copy, ':');
	if (!colon)
		return;
	*colon = '\0';
	v = colon + 1;
	v += strspn(v, " \t");
	field(h, copy, v);
}
