/*
 * aws_config.h - the shared files of AWS's tools, ~/.aws/config and
 * ~/.aws/credentials, and the flat JSON of credential services. All values stay
 * in secret memory: none of it is ever copied to ordinary memory.
 * Source: "Configuration and credential file settings", AWS SDKs and Tools Reference Guide.
 */
#ifndef CLONELOVE_AWS_CONFIG_H
#define CLONELOVE_AWS_CONFIG_H

#include <stddef.h>

struct secret;

/* One parsed file. Takes text over, in success and failure. Unreadable lines are skipped, as AWS's tools do. Returns 0 or -ENOMEM. */
struct aws_config;
int aws_config_parse(struct secret *text, struct aws_config **ret);
void aws_config_free(struct aws_config *c);

/*
 * The value of key (lower case) in [section]; the last one counts. A nested
 * setting ("s3 =" and, indented, "addressing_style = path") has the key "s3.addressing_style".
 * NULL where there is none. Borrowed.
 */
const char *aws_config_get(const struct aws_config *c, const char *section, const char *key);

/* Both files, and the name of the profile in use. */
struct aws_profiles {
	struct aws_config *config, *credentials; /* NULL: no such file */
	char name[128];
	int named; /* asked for by option or AWS_PROFILE, so that it must exist */
	char config_path[512], credentials_path[512];
};

/* Reads what the environment names (AWS_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE). `profile` wins where not NULL.
 * A file that is not there is no error; one that cannot be read is. */
int aws_profiles_open(const char *profile, struct aws_profiles *ret);
void aws_profiles_close(struct aws_profiles *p);

/* The value of key for a profile: from the credentials file, else the config file; NULL where there is none. */
const char *aws_profiles_get(const struct aws_profiles *p, const char *profile, const char *key);
int aws_profiles_exists(const struct aws_profiles *p, const char *profile);

/*
 * The string member `name` of a JSON object (its first level). Returns 0 (secret_free it), -ENOENT (no such member, or
 * null, or no string), ERR_CORRUPT, -ENOMEM.
 */
int aws_json_get(const char *text, size_t len, const char *name, struct secret **ret);

#endif
