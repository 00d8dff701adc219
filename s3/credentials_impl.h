/* credentials_impl.h - the sources of the chain. Private to credentials*.c. Each returns 0 and fills the set, or a negative error with a message. */
#ifndef CLONELOVE_CREDENTIALS_IMPL_H
#define CLONELOVE_CREDENTIALS_IMPL_H

#include "credentials.h"

/* The instance's role by IMDSv2. -ENOENT (no message): there is no such service here, or it is switched off, or it has no role. */
int credentials_imds(struct credentials_set *s);
/* The container's endpoint. -ENOENT (no message): not configured. */
int credentials_container(const struct credentials_options *o, struct credentials_set *s);
/* AssumeRoleWithWebIdentity with the token in a file. */
int credentials_web_identity(const struct credentials_options *o, const char *role_arn, const char *token_file,
			     const char *session_name, struct credentials_set *s);
/* AssumeRole, signed with `source`. external_id may be NULL. */
int credentials_assume_role(const struct credentials_options *o, const struct credentials_set *source, const char *role_arn,
			    const char *session_name, const char *external_id, struct credentials_set *s);
/* Runs a command through sh and reads its JSON. */
int credentials_process(const char *command, struct credentials_set *s);
/* Takes AccessKeyId, SecretAccessKey, `token_name` and Expiration from JSON. `what` is for messages. */
int credentials_from_json(const char *what, const struct secret *json, const char *token_name, struct credentials_set *s);

/* A small blocking HTTP call. headers: "Name: value" strings, NULL at the end. */
struct credentials_http {
	const char *what; /* for messages */
	const char *method, *url, *const *headers;
	const char *body, *ca_bundle; /* may be NULL */
	long timeout_ms;
	int no_proxy;
};
/* Returns 0 with any status below 600; ERR_UNAVAILABLE when no answer came. ret_body: secret_free it. */
int credentials_http_call(const struct credentials_http *h, long *ret_status, struct secret **ret_body);

#endif
