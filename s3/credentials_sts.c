/* credentials_sts.c - roles: AssumeRoleWithWebIdentity and AssumeRole of STS (API version 2011-06-15). Stateless. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credentials_impl.h"
#include "err.h"
#include "s3_text.h"
#include "s3_xml.h"
#include "sigv4.h"

enum { TOKEN_MAX = 65536, STS_TIMEOUT_MS = 10000 };

static const char *region_of(const struct credentials_options *o)
{
	return o->region && *o->region ? o->region : "us-east-1";
}

static void endpoint(const struct credentials_options *o, char *ret, size_t size)
{
	const char *custom = getenv("AWS_ENDPOINT_URL_STS"), *region = region_of(o);

	if (!custom || !*custom)
		custom = getenv("AWS_ENDPOINT_URL");
	if (custom && *custom)
		snprintf(ret, size, "%s", custom);
	else
		snprintf(ret, size, "https://sts.%s.amazonaws.com%s", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	if (*ret && ret[strlen(ret) - 1] != '/' && strlen(ret) + 1 < size)
		strcat(ret, "/");
}

/* Sends the form and takes the keys from the answer. */
static int call(const struct credentials_options *o, const char *url, const char *const *headers, const char *form,
		const char *role_arn, struct credentials_set *s)
{
	struct credentials_http h = { .what = "the token service (STS)", .method = "POST", .url = url, .headers = headers,
				      .body = form, .ca_bundle = o->ca_bundle, .timeout_ms = STS_TIMEOUT_MS };
	struct s3_xml_credentials c;
	struct s3_xml_error e;
	struct secret *body;
	long status = 0;
	int rc = credentials_http_call(&h, &status, &body);

	if (rc != 0)
		return rc;
	if (status != 200) {
		if (s3_xml_error(body->text, body->len, &e) != 0)
			e = (struct s3_xml_error){ .code = "no reason given" };
		rc = err_set(status >= 500 ? ERR_UNAVAILABLE : ERR_AUTH, "%s refuses the role %.160s: HTTP status %ld, %s %s", h.what,
			     role_arn, status, e.code, e.message);
	} else {
		rc = s3_xml_sts(body->text, body->len, &c);
		if (rc != 0)
			err_set(rc = rc == -ENOMEM ? rc : ERR_AUTH, "%s gave no credentials that could be understood", h.what);
	}
	secret_free(body);
	if (rc != 0)
		return rc;
	s->access_key = c.access_key;
	s->secret_key = c.secret_key;
	s->session_token = c.session_token;
	s->expires_s = c.expires_s;
	snprintf(s->source, sizeof(s->source), "the role %.140s", role_arn);
	return 0;
}

int credentials_web_identity(const struct credentials_options *o, const char *role_arn, const char *token_file,
			     const char *session_name, struct credentials_set *s)
{
	static const char *const headers[] = { "Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL };
	struct secret *token, *form;
	struct buf head = BUF_INIT, encoded = BUF_INIT;
	char url[256];
	int rc = secret_read_file(token_file, TOKEN_MAX, &token);

	if (rc != 0)
		return err_set(ERR_AUTH, "cannot read the web identity token %s: %s", token_file, strerror(-rc));
	token->text[strcspn(token->text, "\r\n")] = '\0';
	s3_text_add(&head, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
	s3_text_encode(&head, role_arn, strlen(role_arn), false);
	s3_text_add(&head, "&RoleSessionName=");
	s3_text_encode(&head, session_name, strlen(session_name), false);
	s3_text_add(&head, "&WebIdentityToken=");
	(void)buf_reserve(&encoded, 3 * strlen(token->text) + 1); /* at once: a buffer that grows leaves copies behind */
	s3_text_encode(&encoded, token->text, strlen(token->text), false);
	secret_free(token);
	form = head.err || encoded.err ? NULL : secret_new(NULL, head.len + encoded.len);
	if (form) {
		memcpy(form->text, head.data, head.len);
		if (encoded.len)
			memcpy(form->text + head.len, encoded.data, encoded.len);
		endpoint(o, url, sizeof(url));
		rc = call(o, url, headers, form->text, role_arn, s);
	} else {
		rc = err_set(-ENOMEM, "out of memory");
	}
	if (encoded.data)
		explicit_bzero(encoded.data, encoded.cap);
	buf_free(&encoded);
	buf_free(&head);
	secret_free(form);
	return rc;
}

/* host[:port] of a URL, without the default port. */
static void host_of(const char *url, char *ret, size_t size)
{
	const char *host = strstr(url, "://");
	bool https = strncmp(url, "https", 5) == 0;
	size_t len;

	host = host ? host + 3 : url;
	len = strcspn(host, "/?#");
	if (https && len > 4 && strncmp(host + len - 4, ":443", 4) == 0)
		len -= 4;
	else if (!https && len > 3 && strncmp(host + len - 3, ":80", 3) == 0)
		len -= 3;
	snprintf(ret, size, "%.*s", (int)len, host);
}

static int sign(const struct credentials_options *o, const struct credentials_set *source, const char *host, const char *form,
		char *ret_date, char *ret_auth)
{
	static const char type[] = "application/x-www-form-urlencoded; charset=utf-8";
	char hash[65];
	struct sigv4_header h[4] = { { "content-type", type }, { "host", host }, { "x-amz-date", ret_date },
				     { "x-amz-security-token", source->session_token ? source->session_token->text : "" } };
	struct sigv4_request r = { "POST", "/", "", h, source->session_token ? 4 : 3, hash };
	struct sigv4_signer *signer;
	int rc = sigv4_sha256_hex(&(struct iovec){ (char *)(uintptr_t)form, strlen(form) }, 1, hash);

	s3_text_amz_date((int64_t)time(NULL), ret_date);
	if (rc == 0)
		rc = sigv4_signer_new("sts", &signer);
	if (rc != 0)
		return rc;
	rc = sigv4_sign(signer, source->access_key->text, source->secret_key->text, 1, region_of(o), ret_date, &r, ret_auth);
	sigv4_signer_free(signer);
	return rc;
}

int credentials_assume_role(const struct credentials_options *o, const struct credentials_set *source, const char *role_arn,
			    const char *session_name, const char *external_id, struct credentials_set *s)
{
	char url[256], host[256], date[17], auth[SIGV4_AUTH_MAX], date_header[32], auth_header[SIGV4_AUTH_MAX + 16];
	const char *headers[] = { "Content-Type: application/x-www-form-urlencoded; charset=utf-8", date_header, auth_header, NULL,
				  NULL };
	struct secret *token = NULL;
	struct buf b = BUF_INIT;
	char *form;
	int rc;

	s3_text_add(&b, "Action=AssumeRole&Version=2011-06-15&RoleArn=");
	s3_text_encode(&b, role_arn, strlen(role_arn), false);
	s3_text_add(&b, "&RoleSessionName=");
	s3_text_encode(&b, session_name, strlen(session_name), false);
	if (external_id) {
		s3_text_add(&b, "&ExternalId=");
		s3_text_encode(&b, external_id, strlen(external_id), false);
	}
	form = s3_text_take(&b);
	if (!form)
		return err_set(-ENOMEM, "out of memory");
	endpoint(o, url, sizeof(url));
	host_of(url, host, sizeof(host));
	rc = sign(o, source, host, form, date, auth);
	snprintf(date_header, sizeof(date_header), "X-Amz-Date: %s", date);
	snprintf(auth_header, sizeof(auth_header), "Authorization: %s", rc == 0 ? auth : "");
	if (rc == 0 && source->session_token) {
		token = secret_new(NULL, source->session_token->len + 32);
		if (token) {
			snprintf(token->text, token->len, "X-Amz-Security-Token: %s", source->session_token->text);
			headers[3] = token->text;
		} else {
			rc = -ENOMEM;
		}
	}
	if (rc != 0)
		err_set(rc, "cannot sign the request for the role %.160s", role_arn);
	else
		rc = call(o, url, headers, form, role_arn, s);
	secret_free(token);
	free(form);
	return rc;
}
