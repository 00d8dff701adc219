/*
 * s3_xml.h - what S3 answers in XML, parsed with expat. Input is whatever a
 * network sent: bounded, no entities, no document types, no external anything.
 */
#ifndef CLONELOVE_S3_XML_H
#define CLONELOVE_S3_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

struct s3_xml_error {
	char code[64];     /* "" when the document has none */
	char message[200]; /* printable: control characters are replaced */
	char region[40];
	char endpoint[128];
	char key[128];
	char server_time[32];
};

/*
 * Reads an <Error> document. Returns 0, or ERR_CORRUPT when it is none.
 */
int s3_xml_error(const void *data, size_t len, struct s3_xml_error *ret);

struct s3_xml_list {
	struct store_entry *entries; /* malloc'd; keys as the server has them, decoded, in no order */
	size_t count;
	bool truncated;
	char *token; /* malloc'd: NextContinuationToken, or NULL */
};

/* Reads a ListBucketResult. Returns 0, ERR_CORRUPT or -ENOMEM; nothing is left to free unless 0. */
int s3_xml_list(const void *data, size_t len, struct s3_xml_list *ret);
void s3_xml_list_free(struct s3_xml_list *l);

/* Reads a DeleteResult: the number of <Error>s other than NoSuchKey, and the first of them (key and code). Returns 0, ERR_CORRUPT or -ENOMEM. */
int s3_xml_delete(const void *data, size_t len, size_t *ret_failed, struct s3_xml_error *ret_first);

/* Reads the element `name` directly below the root `root`. Returns 0, ERR_CORRUPT (another root, no such element, too long). */
int s3_xml_value(const void *data, size_t len, const char *root, const char *name, char *ret_text, size_t size);

/* The local name of the root element ("" when there is none): tells an <Error> with status 200 from a result. */
void s3_xml_root(const void *data, size_t len, char ret_name[static 64]);

/* The secrets of a web identity or assumed role: the elements of <Credentials>, wherever it is. Returns as s3_xml_error. */
struct secret;
struct s3_xml_credentials {
	struct secret *access_key, *secret_key, *session_token; /* secret_free each */
	int64_t expires_s;
};
int s3_xml_sts(const void *data, size_t len, struct s3_xml_credentials *ret);

/* One line for a message: control characters become '?', cut to size. Shared with the header parser. */
void s3_xml_printable(const char *text, size_t len, char *ret, size_t size);

#endif
