/*
 * s3_config.c - precedence: option, then environment, then profile, then default.
 */
#include "s3_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "aws_config.h"
#include "backends.h"
#include "err.h"
#include "s3_text.h"

#define MIB (1024u * 1024u)

struct given { /* strings whose meaning depends on others */
	char endpoint[300], path_style[8];
	struct s3_config *c;
};

struct option {
	const char *name;
	enum { STRING, BOOL, NUMBER, SIZE } type;
	void *to;
	uint64_t min, max; /* STRING: max = size of the array */
};

/* "64M", "1G", "5242880". */
static bool parse_size(const char *text, uint64_t *ret)
{
	size_t len = strlen(text);
	char digits[24];
	unsigned shift = 0;

	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	switch (digits[len - 1]) {
	case 'K': case 'k': shift = 10; break;
	case 'M': case 'm': shift = 20; break;
	case 'G': case 'g': shift = 30; break;
	default: break;
	}
	if (shift)
		digits[len - 1] = '\0';
	return s3_text_u64(digits, ret) && !__builtin_mul_overflow(*ret, UINT64_C(1) << shift, ret);
}

static int set_option(const struct option *o, const char *value)
{
	uint64_t n;

	switch (o->type) {
	case STRING:
		if (strlen(value) >= o->max || strlen(value) < o->min)
			return err_set(ERR_CONFIG, "the store option %s has a value of bad length: %.60s", o->name, value);
		strcpy(o->to, value);
		return 0;
	case BOOL:
		if (!s3_text_bool(value, o->to))
			return err_set(ERR_CONFIG, "the store option %s is on or off, not %.60s", o->name, value);
		return 0;
	case NUMBER:
	case SIZE:
		if (!(o->type == SIZE ? parse_size(value, &n) : s3_text_u64(value, &n)) || n < o->min || n > o->max)
			return err_set(ERR_CONFIG, "the store option %s is a number from %llu to %llu, not %.60s", o->name,
				       (unsigned long long)o->min, (unsigned long long)o->max, value);
		*(uint64_t *)o->to = n;
		return 0;
	}
	return err_set(ERR_CONFIG, "the store option %s is of no known type", o->name);
}

static int option(void *user, const char *key, const char *value)
{
	struct given *g = user;
	struct s3_config *c = g->c;
	uint64_t connections = c->connections;
	char checksum[8] = "", known[512] = "";
	const struct option options[] = {
		{ "region", STRING, c->region, 1, sizeof(c->region) },
		{ "endpoint", STRING, g->endpoint, 1, sizeof(g->endpoint) },
		{ "profile", STRING, c->profile, 1, sizeof(c->profile) },
		{ "path_style", STRING, g->path_style, 1, sizeof(g->path_style) },
		{ "ca_bundle", STRING, c->ca_bundle, 1, sizeof(c->ca_bundle) },
		{ "connections", NUMBER, &connections, 1, 4096 },
		{ "timeout_ms", NUMBER, &c->timeout_ms, 100, 86400000 },
		{ "connect_timeout_ms", NUMBER, &c->connect_timeout_ms, 10, 600000 },
		{ "stall_ms", NUMBER, &c->stall_ms, 100, 600000 },
		{ "hedge_ms", NUMBER, &c->hedge_ms, 0, 600000 },
		{ "multipart_threshold", SIZE, &c->multipart_bytes, 5 * MIB, UINT64_C(5) << 30 },
		{ "part_size", SIZE, &c->part_bytes, 5 * MIB, UINT64_C(5) << 30 },
		{ "checksum", STRING, checksum, 1, sizeof(checksum) },
		{ "sse", STRING, c->sse, 1, sizeof(c->sse) },
		{ "sse_kms_key_id", STRING, c->sse_kms_key_id, 1, sizeof(c->sse_kms_key_id) },
		{ "storage_class", STRING, c->storage_class, 1, sizeof(c->storage_class) },
		{ "requester_pays", BOOL, &c->requester_pays, 0, 0 },
	};
	int rc;

	for (size_t i = 0; i < CL_ARRAY_LEN(options); i++) {
		if (strcmp(options[i].name, key) == 0) {
			rc = set_option(&options[i], value);
			c->connections = (unsigned)connections;
			if (rc == 0 && *checksum && strcmp(checksum, "crc32c") != 0 && strcmp(checksum, "off") != 0)
				rc = err_set(ERR_CONFIG, "the store option checksum is crc32c or off, not %s", checksum);
			if (rc == 0 && *checksum)
				c->checksum = strcmp(checksum, "off") != 0;
			return rc;
		}
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "", options[i].name);
	}
	return err_set(ERR_CONFIG, "an S3 store has no option %.60s (it has %s)", key, known);
}

static int parse_address(const char *address, struct s3_config *c)
{
	const char *p = address + 5, *slash;
	size_t len;

	if (strncmp(address, "s3://", 5) != 0)
		return err_set(ERR_CONFIG, "%.100s is no S3 address: write s3://bucket/prefix", address);
	slash = strchr(p, '/');
	len = slash ? (size_t)(slash - p) : strlen(p);
	if (len < 1 || len >= sizeof(c->bucket) || strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") < len)
		return err_set(ERR_CONFIG, "%.100s names no bucket: write s3://bucket/prefix", address);
	memcpy(c->bucket, p, len);
	p += len;
	while (*p == '/')
		p++;
	len = strlen(p);
	while (len && p[len - 1] == '/')
		len--;
	if (len + 2 > sizeof(c->prefix))
		return err_set(ERR_CONFIG, "the prefix in %.60s... is longer than %zu bytes", address, sizeof(c->prefix) - 2);
	memcpy(c->prefix, p, len);
	if (len)
		c->prefix[len] = '/';
	if (strstr(c->prefix, "//") || strncmp(c->prefix, "./", 2) == 0 || strncmp(c->prefix, "../", 3) == 0 ||
	    strstr(c->prefix, "/./") || strstr(c->prefix, "/../"))
		return err_set(ERR_CONFIG, "the prefix in %.100s has an empty, \".\" or \"..\" component", address);
	return 0;
}

static int parse_endpoint(const char *url, struct s3_config *c)
{
	const char *host;
	size_t len;

	if (strchr(url, '@')) /* not repeated: there may be a password in it */
		return err_set(ERR_CONFIG, "the endpoint must be https://host[:port], without user or password: those are no keys for S3");
	c->https = strncasecmp(url, "https://", 8) == 0;
	if (!c->https && strncasecmp(url, "http://", 7) != 0)
		return err_set(ERR_CONFIG, "the endpoint %.200s must begin with https:// or http://", url);
	host = url + (c->https ? 8 : 7);
	len = strcspn(host, "/?#");
	if (len == 0 || len >= sizeof(c->host) || strspn(host + len, "/") != strlen(host + len))
		return err_set(ERR_CONFIG, "the endpoint %.200s must be https://host[:port] and nothing more", url);
	memcpy(c->host, host, len);
	c->host[len] = '\0';
	for (char *p = c->host; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (c->https && len > 4 && strcmp(c->host + len - 4, ":443") == 0)
		c->host[len - 4] = '\0';
	else if (!c->https && len > 3 && strcmp(c->host + len - 3, ":80") == 0)
		c->host[len - 3] = '\0';
	c->custom_endpoint = true;
	return 0;
}

bool s3_config_is_region(const char *region)
{
	size_t len = strlen(region);

	return len > 0 && len < sizeof(((struct s3_config *)0)->region) &&
	       strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

void s3_config_set_region(struct s3_config *c, const char *region)
{
	snprintf(c->region, sizeof(c->region), "%.63s", region);
	if (c->custom_endpoint)
		return;
	c->https = true;
	snprintf(c->host, sizeof(c->host), "s3.%s.amazonaws.com%s", c->region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static const char *first(const char *a, const char *b, const char *c)
{
	return a && *a ? a : b && *b ? b : c && *c ? c : NULL;
}

static const char *profile_endpoint(const struct aws_profiles *p)
{
	const char *services = aws_profiles_get(p, p->name, "services"), *url = NULL;
	char section[160];

	if (services) {
		snprintf(section, sizeof(section), "services %.140s", services);
		url = aws_config_get(p->config, section, "s3.endpoint_url");
	}
	return first(url, aws_profiles_get(p, p->name, "endpoint_url"), NULL);
}

/* A bucket's name as the first label of a host's needs: dots would not match the wildcard of a certificate. */
static bool dns_label(const char *bucket)
{
	size_t len = strlen(bucket);

	return len >= 3 && len <= 63 && strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && bucket[0] != '-' &&
	       bucket[len - 1] != '-';
}

static int choose_style(struct s3_config *c, const char *style)
{
	bool on;

	if (style && (strcasecmp(style, "path") == 0 || strcasecmp(style, "virtual") == 0)) /* the profile's words */
		c->path_style = strcasecmp(style, "path") == 0;
	else if (!style || strcasecmp(style, "auto") == 0)
		c->path_style = c->custom_endpoint || !dns_label(c->bucket);
	else if (s3_text_bool(style, &on))
		c->path_style = on;
	else
		return err_set(ERR_CONFIG, "the store option path_style is auto, on or off, not %.60s", style);
	return 0;
}

/* What options did not say, from the environment and the profile. */
static int complete(struct given *g, const struct aws_profiles *p)
{
	struct s3_config *c = g->c;
	const char *region = first(c->region, getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"));
	const char *ca = first(c->ca_bundle, getenv("AWS_CA_BUNDLE"), aws_profiles_get(p, p->name, "ca_bundle"));
	const char *ignore = getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), *endpoint = first(g->endpoint, NULL, NULL);
	bool ignored = false;
	char text[512];
	int rc;

	if (ignore && !s3_text_bool(ignore, &ignored))
		ignored = false;
	if (!endpoint && !ignored)
		endpoint = first(getenv("AWS_ENDPOINT_URL_S3"), getenv("AWS_ENDPOINT_URL"), profile_endpoint(p));
	if (endpoint) {
		rc = parse_endpoint(endpoint, c);
		if (rc != 0)
			return rc;
	}
	region = first(region, aws_profiles_get(p, p->name, "region"), "us-east-1");
	if (!s3_config_is_region(region))
		return err_set(ERR_CONFIG, "%.60s is no region", region);
	snprintf(text, sizeof(text), "%s", region);
	s3_config_set_region(c, text);
	if (ca) {
		if (strlen(ca) >= sizeof(text))
			return err_set(ERR_CONFIG, "the path of the CA bundle is too long");
		snprintf(text, sizeof(text), "%s", ca);
		strcpy(c->ca_bundle, text);
		if (access(c->ca_bundle, R_OK) != 0)
			return err_set(ERR_CONFIG, "cannot read the CA bundle %s (AWS_CA_BUNDLE): %s", c->ca_bundle, strerror(errno));
	}
	return choose_style(c, first(g->path_style, aws_profiles_get(p, p->name, "s3.addressing_style"), NULL));
}

int s3_config_make(const char *address, const char *options, struct s3_config *ret)
{
	struct s3_config c = { .checksum = true, .connections = 128, .timeout_ms = 30000, .connect_timeout_ms = 5000,
			       .stall_ms = 10000, .multipart_bytes = 64 * MIB, .part_bytes = 16 * MIB };
	struct given g = { .c = &c };
	struct aws_profiles p;
	int rc = parse_address(address, &c);

	if (rc == 0)
		rc = store_options(options, option, &g);
	if (rc == 0 && *c.sse && strcmp(c.sse, "AES256") != 0 && strcmp(c.sse, "aws:kms") != 0 && strcmp(c.sse, "aws:kms:dsse") != 0)
		rc = err_set(ERR_CONFIG, "the store option sse is AES256, aws:kms or aws:kms:dsse, not %s", c.sse);
	if (rc == 0 && *c.sse_kms_key_id && strncmp(c.sse, "aws:kms", 7) != 0)
		rc = err_set(ERR_CONFIG, "the store option sse_kms_key_id needs sse=aws:kms");
	if (rc == 0)
		rc = aws_profiles_open(*c.profile ? c.profile : NULL, &p);
	if (rc != 0)
		return rc;
	rc = complete(&g, &p);
	aws_profiles_close(&p);
	if (rc == 0)
		*ret = c;
	return rc;
}
