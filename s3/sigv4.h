/*
 * sigv4.h - AWS Signature Version 4 in the Authorization header, on OpenSSL.
 * Source: "Create a signed AWS API request", IAM User Guide, and "Signature
 * Calculations for the Authorization Header", Amazon S3 API Reference.
 */
#ifndef CLONELOVE_SIGV4_H
#define CLONELOVE_SIGV4_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SIGV4_AUTH_MAX 1024 /* bytes of an Authorization value, final NUL included */
#define SIGV4_HEADERS_MAX 48

struct sigv4_header {
	const char *name;  /* lower case */
	const char *value; /* as sent; spaces are folded for signing */
};

struct sigv4_request {
	const char *method;
	const char *path;    /* encoded as it is sent; S3: encoded once, never normalised */
	const char *query;   /* canonical: encoded, sorted, "name=" for a name without a value; "" for none */
	const struct sigv4_header *headers; /* all that are signed: host and x-amz-date among them; any order */
	size_t header_count;
	const char *payload_sha256; /* hex, or UNSIGNED-PAYLOAD */
};

/* Keeps the derived key of one (secret, day, region, service). One thread at a time. */
struct sigv4_signer;
int sigv4_signer_new(const char *service, struct sigv4_signer **ret);
void sigv4_signer_free(struct sigv4_signer *s);

/*
 * Writes the Authorization value. amz_date is the x-amz-date header's value.
 * `generation` names the secret, so that the derived key is used again as long
 * as it is the same. Returns 0, -ENOMEM, -E2BIG, -EINVAL or -EIO (OpenSSL).
 */
int sigv4_sign(struct sigv4_signer *s, const char *access_key, const char *secret_key, uint64_t generation,
	       const char *region, const char *amz_date, const struct sigv4_request *r,
	       char ret_auth[static SIGV4_AUTH_MAX]);

/* SHA-256 of a list of ranges, as lower-case hex (65 bytes). Returns 0 or -EIO. */
int sigv4_sha256_hex(const struct iovec *iov, size_t count, char *ret_hex);
/* MD5 of a range as base64 (25 bytes), for Content-MD5. Returns 0 or -EIO. */
int sigv4_md5_base64(const void *p, size_t len, char *ret_text);

#endif
