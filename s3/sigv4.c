/*
 * sigv4.c - signing. Stateless but for the derived key, which lives with its
 * intermediate values in secret memory: who has it can sign for a day.
 */
#include "sigv4.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3_text.h"
#include "secret.h"

struct sigv4_key {
	uint8_t key[32];
	uint8_t scratch[512];
};

struct sigv4_signer {
	char service[16];
	char region[64], day[9];
	uint64_t generation;
	int valid;
	struct secret *memory; /* holds *key */
	struct sigv4_key *key;
};

int sigv4_signer_new(const char *service, struct sigv4_signer **ret)
{
	struct sigv4_signer *s;

	if (strlen(service) >= sizeof(s->service))
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->memory = secret_new(NULL, sizeof(struct sigv4_key));
	if (!s->memory) {
		free(s);
		return -ENOMEM;
	}
	strcpy(s->service, service);
	s->key = (struct sigv4_key *)(void *)s->memory->text;
	*ret = s;
	return 0;
}

void sigv4_signer_free(struct sigv4_signer *s)
{
	if (!s)
		return;
	secret_free(s->memory);
	free(s);
}

static int hmac(const void *key, size_t key_len, const void *p, size_t len, uint8_t ret_mac[32])
{
	unsigned n = 32;

	if (!HMAC(EVP_sha256(), key, (int)key_len, p, len, ret_mac, &n) || n != 32)
		return -EIO;
	return 0;
}

static int derive(struct sigv4_signer *s, const char *secret_key, uint64_t generation, const char *region, const char *day)
{
	struct sigv4_key *k = s->key;
	size_t len = strlen(secret_key);
	int rc;

	if (s->valid && s->generation == generation && strcmp(s->day, day) == 0 && strcmp(s->region, region) == 0)
		return 0;
	s->valid = 0;
	if (len + 4 > sizeof(k->scratch) || strlen(region) >= sizeof(s->region))
		return -E2BIG;
	memcpy(k->scratch, "AWS4", 4);
	memcpy(k->scratch + 4, secret_key, len);
	rc = hmac(k->scratch, len + 4, day, strlen(day), k->key);
	if (rc == 0)
		rc = hmac(k->key, 32, region, strlen(region), k->key);
	if (rc == 0)
		rc = hmac(k->key, 32, s->service, strlen(s->service), k->key);
	if (rc == 0)
		rc = hmac(k->key, 32, "aws4_request", 12, k->key);
	explicit_bzero(k->scratch, sizeof(k->scratch));
	if (rc != 0)
		return rc;
	s->generation = generation;
	strcpy(s->day, day);
	strcpy(s->region, region);
	s->valid = 1;
	return 0;
}

/* Leading and trailing blanks go, inner runs become one space. */
static void add_folded(struct buf *b, const char *v)
{
	while (*v == ' ' || *v == '\t')
		v++;
	for (; *v; v++) {
		if (*v == ' ' || *v == '\t') {
			while (v[1] == ' ' || v[1] == '\t')
				v++;
			if (v[1])
				buf_u8(b, ' ');
		} else {
			buf_u8(b, (uint8_t)*v);
		}
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct sigv4_header *const *)a)->name, (*(const struct sigv4_header *const *)b)->name);
}

static int canonical_request(const struct sigv4_request *r, struct buf *ret_text, struct buf *ret_names)
{
	const struct sigv4_header *h[SIGV4_HEADERS_MAX];
	size_t room = strlen(r->method) + strlen(r->path) + strlen(r->query) + 128;

	if (r->header_count > SIGV4_HEADERS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < r->header_count; i++) {
		h[i] = &r->headers[i];
		room += 2 * strlen(h[i]->name) + strlen(h[i]->value) + 3;
	}
	/* A session token is among the values: room for all of it at once, since a buffer that grows leaves copies behind. */
	if (buf_reserve(ret_text, room) != 0)
		return ret_text->err;
	qsort(h, r->header_count, sizeof(h[0]), by_name);
	s3_text_addf(ret_text, "%s\n", r->method);
	s3_text_add(ret_text, *r->path ? r->path : "/");
	s3_text_add(ret_text, "\n");
	s3_text_add(ret_text, r->query);
	s3_text_add(ret_text, "\n");
	for (size_t i = 0; i < r->header_count; i++) {
		s3_text_addf(ret_text, "%s:", h[i]->name);
		add_folded(ret_text, h[i]->value);
		s3_text_add(ret_text, "\n");
		s3_text_addf(ret_names, "%s%s", i ? ";" : "", h[i]->name);
	}
	s3_text_add(ret_text, "\n");
	buf_bytes(ret_text, ret_names->data, ret_names->len);
	s3_text_addf(ret_text, "\n%s", r->payload_sha256);
	buf_u8(ret_names, 0);
	return ret_text->err ? ret_text->err : ret_names->err;
}

int sigv4_sign(struct sigv4_signer *s, const char *access_key, const char *secret_key, uint64_t generation,
	       const char *region, const char *amz_date, const struct sigv4_request *r,
	       char ret_auth[static SIGV4_AUTH_MAX])
{
	struct buf text = BUF_INIT, names = BUF_INIT, to_sign = BUF_INIT;
	char day[9], hash[65], signature[65];
	uint8_t mac[32];
	int rc, n;

	if (strlen(amz_date) != 16)
		return -EINVAL;
	memcpy(day, amz_date, 8);
	day[8] = '\0';
	rc = derive(s, secret_key, generation, region, day);
	if (rc == 0)
		rc = canonical_request(r, &text, &names);
	if (rc == 0)
		rc = sigv4_sha256_hex(&(struct iovec){ text.data, text.len }, 1, hash);
	if (rc == 0) {
		s3_text_addf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", amz_date, day, region,
			     s->service, hash);
		rc = to_sign.err;
	}
	if (rc == 0)
		rc = hmac(s->key->key, 32, to_sign.data, to_sign.len, mac);
	if (rc == 0) {
		s3_text_hex(mac, 32, signature);
		n = snprintf(ret_auth, SIGV4_AUTH_MAX,
			     "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request,SignedHeaders=%s,Signature=%s",
			     access_key, day, region, s->service, (const char *)names.data, signature);
		if (n < 0 || n >= SIGV4_AUTH_MAX)
			rc = -E2BIG;
	}
	if (text.data)
		explicit_bzero(text.data, text.cap);
	buf_free(&text);
	buf_free(&names);
	buf_free(&to_sign);
	return rc;
}

int sigv4_sha256_hex(const struct iovec *iov, size_t count, char *ret_hex)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t hash[32];
	unsigned n = 32;
	int ok;

	if (!ctx)
		return -EIO;
	ok = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
	for (size_t i = 0; ok && i < count; i++)
		if (iov[i].iov_len)
			ok = EVP_DigestUpdate(ctx, iov[i].iov_base, iov[i].iov_len);
	ok = ok && EVP_DigestFinal_ex(ctx, hash, &n) && n == 32;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return -EIO;
	s3_text_hex(hash, 32, ret_hex);
	return 0;
}

int sigv4_md5_base64(const void *p, size_t len, char *ret_text)
{
	uint8_t hash[16];
	unsigned n = 16;

	if (!EVP_Digest(p, len, hash, &n, EVP_md5(), NULL) || n != 16)
		return -EIO;
	s3_text_base64(hash, 16, ret_text);
	return 0;
}
