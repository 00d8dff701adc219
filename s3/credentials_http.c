/*
 * credentials_http.c - keys from services: STS, containers, the instance.
 * Blocking, on the thread that renews. Answers go into secret memory; what
 * passes through libcurl's buffers is wiped when it frees them (secret_curl_init).
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "aws_config.h"
#include "credentials_impl.h"
#include "err.h"
#include "s3_text.h"
#include "s3_xml.h"
#include "sigv4.h"

enum { BODY_MAX = 65536, URL_MAX = 1024 };

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
	struct secret *s = user;

	(void)size;
	if (n > BODY_MAX - s->len)
		return 0;
	memcpy(s->text + s->len, p, n);
	s->len += n;
	s->text[s->len] = '\0';
	return n;
}

static int set_up(CURL *curl, const struct credentials_http *h, struct curl_slist **headers, struct secret *body, char *message)
{
	CURLcode rc = CURLE_OK;

	for (size_t i = 0; h->headers && h->headers[i]; i++) {
		struct curl_slist *more = curl_slist_append(*headers, h->headers[i]);

		if (!more)
			return -ENOMEM;
		*headers = more;
	}
#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(curl, option, value))
	SET(CURLOPT_URL, h->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_CUSTOMREQUEST, h->method);
	SET(CURLOPT_HTTPHEADER, *headers);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, body);
	SET(CURLOPT_ERRORBUFFER, message);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TIMEOUT_MS, h->timeout_ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, h->timeout_ms);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (h->body)
		SET(CURLOPT_POSTFIELDS, h->body);
	if (h->ca_bundle) {
		SET(CURLOPT_CAINFO, h->ca_bundle);
		SET(CURLOPT_CAPATH, NULL); /* else the system's directory of authorities would be trusted beside it */
	}
	if (h->no_proxy)
		SET(CURLOPT_NOPROXY, "*");
#undef SET
	return rc == CURLE_OK ? 0 : -ENOMEM;
}

int credentials_http_call(const struct credentials_http *h, long *ret_status, struct secret **ret_body)
{
	char message[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	struct secret *body = secret_new(NULL, BODY_MAX);
	CURL *curl = curl_easy_init();
	CURLcode cc;
	int rc = curl && body ? 0 : -ENOMEM;

	if (rc == 0) {
		body->len = 0;
		rc = set_up(curl, h, &headers, body, message);
	}
	if (rc != 0) {
		err_set(rc, "out of memory");
	} else {
		cc = curl_easy_perform(curl);
		if (cc != CURLE_OK)
			rc = err_set(ERR_UNAVAILABLE, "%s does not answer: %s", h->what,
				     message[0] ? message : curl_easy_strerror(cc));
		else
			curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	}
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	if (rc != 0)
		secret_free(body);
	else
		*ret_body = body;
	return rc;
}

/* --- the instance: IMDSv2 --- */

static int imds_get(const char *method, const char *base, const char *path, const char *header, struct secret **ret)
{
	char url[URL_MAX];
	const char *headers[] = { header, NULL };
	struct credentials_http h = { .what = "the instance's metadata service", .method = method, .url = url,
				      .headers = headers, .timeout_ms = 1500, .no_proxy = 1 };
	struct secret *body;
	long status = 0;
	int rc = 0;

	if (snprintf(url, sizeof(url), "%s%s", base, path) >= (int)sizeof(url))
		return err_set(ERR_CONFIG, "AWS_EC2_METADATA_SERVICE_ENDPOINT is too long");
	for (int attempt = 0; attempt < 2; attempt++) {
		rc = credentials_http_call(&h, &status, &body);
		if (rc != 0)
			continue;
		if (status == 200) {
			*ret = body;
			return 0;
		}
		secret_free(body);
		rc = status == 404 ? -ENOENT : err_set(ERR_UNAVAILABLE, "%s answers %s with HTTP status %ld", h.what, path, status);
		if (status < 500)
			break;
	}
	return rc;
}

static int imds_role(const char *base, const char *token_header, struct credentials_set *s)
{
	static const char path[] = "/latest/meta-data/iam/security-credentials/";
	struct secret *role, *json = NULL, *code;
	char full[512];
	int rc = imds_get("GET", base, path, token_header, &role);

	if (rc != 0)
		return rc;
	role->text[strcspn(role->text, "\r\n")] = '\0';
	if (!*role->text || snprintf(full, sizeof(full), "%s%s", path, role->text) >= (int)sizeof(full))
		rc = -ENOENT;
	secret_free(role);
	if (rc == 0)
		rc = imds_get("GET", base, full, token_header, &json);
	if (rc != 0)
		return rc;
	snprintf(s->source, sizeof(s->source), "the instance's role %.100s", full + sizeof(path) - 1);
	if (aws_json_get(json->text, json->len, "Code", &code) == 0) {
		if (strcmp(code->text, "Success") != 0)
			rc = err_set(ERR_AUTH, "the instance's metadata service says %.60s for %s", code->text, s->source);
		secret_free(code);
	}
	if (rc == 0)
		rc = credentials_from_json("the instance's metadata service", json, "Token", s);
	secret_free(json);
	return rc;
}

int credentials_imds(struct credentials_set *s)
{
	const char *base = env("AWS_EC2_METADATA_SERVICE_ENDPOINT"), *mode = env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	const char *off = env("AWS_EC2_METADATA_DISABLED");
	char trimmed[256];
	struct secret *token, *header;
	bool disabled = false, configured = base != NULL;
	int rc;

	if (off && s3_text_bool(off, &disabled) && disabled)
		return -ENOENT;
	if (!base)
		base = mode && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
	snprintf(trimmed, sizeof(trimmed), "%s", base);
	if (*trimmed && trimmed[strlen(trimmed) - 1] == '/')
		trimmed[strlen(trimmed) - 1] = '\0';
	rc = imds_get("PUT", trimmed, "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600", &token);
	if (rc != 0)
		return configured ? rc : -ENOENT; /* nobody there: this is no instance */
	header = secret_new(NULL, token->len + 64);
	if (!header) {
		secret_free(token);
		return err_set(-ENOMEM, "out of memory");
	}
	snprintf(header->text, header->len, "X-aws-ec2-metadata-token: %s", token->text);
	rc = imds_role(trimmed, header->text, s);
	secret_free(header);
	secret_free(token);
	return rc;
}

/* --- containers --- */

/* Plain http only where the network cannot listen in: loopback, and the two link-local addresses of ECS and EKS. */
static int safe_container_uri(const char *uri)
{
	static const char *const hosts[] = { "127.", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]" };
	size_t len;

	if (strncmp(uri, "https://", 8) == 0)
		return 1;
	if (strncmp(uri, "http://", 7) != 0)
		return 0;
	uri += 7;
	if (memchr(uri, '@', strcspn(uri, "/?#"))) /* what stands before it is no host */
		return 0;
	len = *uri == '[' ? strcspn(uri, "]") + 1 : strcspn(uri, ":/?#@");
	for (size_t i = 1; i < CL_ARRAY_LEN(hosts); i++)
		if (len == strlen(hosts[i]) && memcmp(uri, hosts[i], len) == 0)
			return 1;
	return strncmp(uri, "127.", 4) == 0 && strspn(uri, "0123456789.") == len;
}

/* The Authorization header; *ret stays NULL where none is configured. */
static int container_header(struct secret **ret)
{
	const char *file = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), *token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct secret *text = NULL, *header;
	int rc;

	if (file) {
		rc = secret_read_file(file, 16384, &text);
		if (rc != 0)
			return err_set(ERR_AUTH, "cannot read %s (AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE): %s", file, strerror(-rc));
		text->text[strcspn(text->text, "\r\n")] = '\0';
		token = text->text;
	}
	if (!token)
		return 0;
	if (strpbrk(token, "\r\n")) {
		secret_free(text);
		return err_set(ERR_AUTH, "AWS_CONTAINER_AUTHORIZATION_TOKEN has a line break in it");
	}
	header = secret_new(NULL, strlen(token) + 32);
	if (header)
		snprintf(header->text, header->len, "Authorization: %s", token);
	secret_free(text);
	*ret = header;
	return header ? 0 : err_set(-ENOMEM, "out of memory");
}

int credentials_container(const struct credentials_options *o, struct credentials_set *s)
{
	const char *relative = env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), *full = env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	char url[URL_MAX];
	struct secret *header = NULL, *body;
	const char *headers[] = { NULL, NULL };
	struct credentials_http h = { .what = "the container's credential service", .method = "GET", .url = url,
				      .headers = headers, .ca_bundle = o->ca_bundle, .timeout_ms = 5000, .no_proxy = 1 };
	long status = 0;
	int rc;

	if (!relative && !full)
		return -ENOENT;
	if (snprintf(url, sizeof(url), "%s%s", relative ? "http://169.254.170.2" : "", relative ? relative : full) >= (int)sizeof(url))
		return err_set(ERR_CONFIG, "the URI of the container's credential service is too long");
	if (!safe_container_uri(url))
		return err_set(ERR_CONFIG, "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this machine: %s", url);
	snprintf(s->source, sizeof(s->source), "the container's role");
	rc = container_header(&header);
	if (rc != 0)
		return rc;
	if (header)
		headers[0] = header->text;
	rc = credentials_http_call(&h, &status, &body);
	secret_free(header);
	if (rc != 0)
		return rc;
	if (status != 200)
		rc = err_set(status >= 500 ? ERR_UNAVAILABLE : ERR_AUTH, "%s answers with HTTP status %ld", h.what, status);
	else
		rc = credentials_from_json(h.what, body, "Token", s);
	secret_free(body);
	return rc;
}
