/*
 * credentials.h - where the keys come from, and keeping them fresh.
 *
 * The chain, first hit wins, as AWS's SDKs have it:
 *  1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *  2. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN (STS)
 *  3. the profile (option `profile`, AWS_PROFILE, "default"): role_arn with web_identity_token_file, source_profile or
 *     credential_source; static keys; credential_process
 *  4. a container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
 *  5. the instance: IMDSv2
 * A source that is configured and fails ends the search with its error.
 */
#ifndef CLONELOVE_CREDENTIALS_H
#define CLONELOVE_CREDENTIALS_H

#include <stdint.h>

#include "secret.h"

struct credentials_options {
	const char *profile;   /* NULL: the environment's */
	const char *region;    /* for STS; NULL: us-east-1 */
	const char *ca_bundle; /* for STS and https container endpoints; NULL: the system's */
};

/* One set of keys. Immutable, shared by reference. */
struct credentials_set {
	struct secret *access_key, *secret_key, *session_token; /* session_token may be NULL */
	int64_t expires_s;   /* 0: never */
	uint64_t generation; /* given by struct credentials: differs for each set */
	char source[160];    /* where it came from, for messages */
	int refs;            /* atomic */
};

/* Runs the chain once. Blocking (network, processes). Returns 0, ERR_AUTH, ERR_CONFIG, ERR_UNAVAILABLE, -ENOMEM, with a message. */
int credentials_chain(const struct credentials_options *o, struct credentials_set **ret);

struct credentials_set *credentials_set_new(const char *source);
void credentials_set_ref(struct credentials_set *s);
void credentials_set_free(struct credentials_set *s); /* drops a reference; NULL is fine */

/*
 * Keys that are kept fresh by a thread of their own: fetched again some
 * minutes before they expire, and when a server says that they have.
 * Blocking open: the first fetch is waited for, so that its error is the caller's.
 */
struct credentials;
int credentials_open(const struct credentials_options *o, struct credentials **ret);
void credentials_close(struct credentials *c); /* NULL is fine */

/*
 * The current set (credentials_set_free it). Does not block. -EAGAIN: none is
 * valid now and a fetch is under way, ask again; another error: the last fetch
 * failed, with its message (it is tried again in the background).
 */
int credentials_get(struct credentials *c, struct credentials_set **ret);

/* A server refused the set of this generation as expired or unknown: fetch anew. */
void credentials_refused(struct credentials *c, uint64_t generation);

#endif
