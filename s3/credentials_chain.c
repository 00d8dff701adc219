/* credentials_chain.c - the order of the sources, and those that live in the environment and in profiles. Stateless. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aws_config.h"
#include "credentials_impl.h"
#include "err.h"
#include "s3_text.h"

enum { ROLE_DEPTH = 5 };

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

/* A fresh session name where none is configured. */
static const char *session(const char *configured, char *buf, size_t size)
{
	if (configured)
		return configured;
	snprintf(buf, size, "clonelove-%ld-%lld", (long)getpid(), (long long)time(NULL));
	return buf;
}

static int set_keys(struct credentials_set *s, const char *access, const char *secret, const char *token)
{
	s->access_key = secret_new(access, strlen(access));
	s->secret_key = secret_new(secret, strlen(secret));
	if (token)
		s->session_token = secret_new(token, strlen(token));
	if (!s->access_key || !s->secret_key || (token && !s->session_token))
		return err_set(-ENOMEM, "out of memory");
	return 0;
}

static int from_environment(struct credentials_set *s)
{
	const char *access = env("AWS_ACCESS_KEY_ID"), *secret = env("AWS_SECRET_ACCESS_KEY"), *token = env("AWS_SESSION_TOKEN");

	if (!access && !secret)
		return -ENOENT;
	if (!access || !secret)
		return err_set(ERR_AUTH, "%s is set, but %s is not", access ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
			       access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	snprintf(s->source, sizeof(s->source), "the environment");
	secret_shield(secret, strlen(secret) + 1);
	if (token)
		secret_shield(token, strlen(token) + 1);
	return set_keys(s, access, secret, token);
}

static int from_environment_role(const struct credentials_options *o, struct credentials_set *s)
{
	const char *file = env("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = env("AWS_ROLE_ARN");
	char name[64];

	if (!file)
		return -ENOENT; /* AWS_ROLE_ARN alone is for other tools */
	if (!role)
		return err_set(ERR_AUTH, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
	return credentials_web_identity(o, role, file, session(env("AWS_ROLE_SESSION_NAME"), name, sizeof(name)), s);
}

static int from_profile(const struct credentials_options *o, const struct aws_profiles *p, const char *profile, unsigned depth,
			struct credentials_set *s);

static int from_credential_source(const struct credentials_options *o, const char *profile, const char *source,
				  struct credentials_set *s)
{
	int rc;

	if (strcmp(source, "Environment") == 0)
		rc = from_environment(s);
	else if (strcmp(source, "EcsContainer") == 0)
		rc = credentials_container(o, s);
	else if (strcmp(source, "Ec2InstanceMetadata") == 0)
		rc = credentials_imds(s);
	else
		return err_set(ERR_CONFIG, "profile %s: unknown credential_source %s", profile, source);
	if (rc == -ENOENT)
		return err_set(ERR_AUTH, "profile %s: credential_source %s has no credentials", profile, source);
	return rc;
}

/* A profile with role_arn: by token, or assumed with the keys of another source. */
static int from_role(const struct credentials_options *o, const struct aws_profiles *p, const char *profile, const char *role,
		     unsigned depth, struct credentials_set *s)
{
	const char *file = aws_profiles_get(p, profile, "web_identity_token_file");
	const char *source = aws_profiles_get(p, profile, "source_profile");
	const char *where = aws_profiles_get(p, profile, "credential_source");
	const char *name = aws_profiles_get(p, profile, "role_session_name");
	struct credentials_set *base;
	char buf[64];
	int rc;

	name = session(name, buf, sizeof(buf));
	if (file)
		return credentials_web_identity(o, role, file, name, s);
	if (!source && !where)
		return err_set(ERR_CONFIG, "profile %s has role_arn, but neither source_profile nor credential_source", profile);
	if (aws_profiles_get(p, profile, "mfa_serial"))
		return err_set(ERR_CONFIG, "profile %s asks for a code (mfa_serial), which a service cannot type", profile);
	base = credentials_set_new(profile);
	if (!base)
		return err_set(-ENOMEM, "out of memory");
	rc = source ? from_profile(o, p, source, depth + 1, base) : from_credential_source(o, profile, where, base);
	if (rc == -ENOENT)
		rc = err_set(ERR_AUTH, "profile %s: its source_profile %s has no credentials", profile, source ? source : "");
	if (rc == 0)
		rc = credentials_assume_role(o, base, role, name, aws_profiles_get(p, profile, "external_id"), s);
	credentials_set_free(base);
	return rc;
}

static int from_profile(const struct credentials_options *o, const struct aws_profiles *p, const char *profile, unsigned depth,
			struct credentials_set *s)
{
	const char *access = aws_profiles_get(p, profile, "aws_access_key_id");
	const char *secret = aws_profiles_get(p, profile, "aws_secret_access_key");
	const char *role = aws_profiles_get(p, profile, "role_arn"), *command = aws_profiles_get(p, profile, "credential_process");
	const char *source = aws_profiles_get(p, profile, "source_profile");

	if (depth >= ROLE_DEPTH)
		return err_set(ERR_CONFIG, "profile %s: source_profile goes in circles", p->name);
	/* A profile may be its own source: then its static keys are meant. */
	if (role && !(depth > 0 && access && source && strcmp(source, profile) == 0))
		return from_role(o, p, profile, role, depth, s);
	snprintf(s->source, sizeof(s->source), "profile %.100s", profile);
	if (access && secret)
		return set_keys(s, access, secret, aws_profiles_get(p, profile, "aws_session_token"));
	if (access || secret)
		return err_set(ERR_AUTH, "profile %s has %s, but not %s", profile, access ? "aws_access_key_id" : "aws_secret_access_key",
			       access ? "aws_secret_access_key" : "aws_access_key_id");
	if (command)
		return credentials_process(command, s);
	if (aws_profiles_get(p, profile, "sso_session") || aws_profiles_get(p, profile, "sso_start_url"))
		return err_set(ERR_CONFIG, "profile %s signs on interactively (sso): give it a credential_process line such as "
			       "\"aws configure export-credentials --profile %s\"", profile, profile);
	return -ENOENT;
}

static int from_profiles(const struct credentials_options *o, struct credentials_set *s)
{
	struct aws_profiles p;
	int rc = aws_profiles_open(o->profile, &p);

	if (rc != 0)
		return rc;
	rc = from_profile(o, &p, p.name, 0, s);
	if (rc == -ENOENT && p.named)
		rc = err_set(ERR_AUTH, "profile %s has no credentials in it (%s, %s)", p.name, p.credentials_path, p.config_path);
	aws_profiles_close(&p);
	return rc;
}

static int run_chain(const struct credentials_options *o, struct credentials_set *s)
{
	int rc = -ENOENT;

	/* A profile named by option goes before the environment's keys: it was said more precisely. */
	if (!o->profile) {
		rc = from_environment(s);
		if (rc == -ENOENT)
			rc = from_environment_role(o, s);
	}
	if (rc == -ENOENT)
		rc = from_profiles(o, s);
	if (rc == -ENOENT)
		rc = credentials_container(o, s);
	if (rc == -ENOENT)
		rc = credentials_imds(s);
	if (rc == -ENOENT)
		rc = err_set(ERR_AUTH, "no S3 credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
			     "give the machine a role");
	return rc;
}

int credentials_chain(const struct credentials_options *o, struct credentials_set **ret)
{
	struct credentials_set *s = credentials_set_new("");
	int rc;

	if (!s)
		return err_set(-ENOMEM, "out of memory");
	rc = secret_curl_init();
	if (rc == 0)
		rc = run_chain(o, s);
	if (rc != 0) {
		credentials_set_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int credentials_from_json(const char *what, const struct secret *json, const char *token_name, struct credentials_set *s)
{
	struct secret *expires = NULL;
	int rc = aws_json_get(json->text, json->len, "AccessKeyId", &s->access_key);

	if (rc == 0)
		rc = aws_json_get(json->text, json->len, "SecretAccessKey", &s->secret_key);
	if (rc == 0)
		rc = aws_json_get(json->text, json->len, token_name, &s->session_token);
	if (rc == 0 || (rc == -ENOENT && s->secret_key))
		rc = aws_json_get(json->text, json->len, "Expiration", &expires);
	if (rc == 0) {
		s->expires_s = s3_text_iso_time(expires->text);
		rc = s->expires_s > 0 ? 0 : ERR_CORRUPT;
	} else if (rc == -ENOENT && s->secret_key) {
		rc = 0; /* keys that never expire */
	}
	secret_free(expires);
	if (rc == -ENOMEM)
		return err_set(rc, "out of memory");
	if (rc != 0)
		return err_set(ERR_AUTH, "%s gave no credentials that could be understood", what);
	return 0;
}
