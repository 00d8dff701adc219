/*
 * secret.h - strings that must not reach a core dump or a swap file: kept in
 * memory that is locked, excluded from dumps and zeroed when freed.
 */
#ifndef CLONELOVE_SECRET_H
#define CLONELOVE_SECRET_H

#include <stddef.h>

struct secret {
	size_t len;  /* without the final NUL */
	char text[]; /* ends with NUL */
};

/* A copy of len bytes (p may be NULL: zeros, to be filled in). NULL when there is no memory. */
struct secret *secret_new(const char *p, size_t len);
void secret_free(struct secret *s); /* NULL is fine */

/*
 * Reads a whole file of at most max_bytes without a buffer in between.
 * Returns 0, -errno, or -EFBIG. No message is set: the caller knows what the file means.
 */
int secret_read_file(const char *path, size_t max_bytes, struct secret **ret);
/* The same from a descriptor, to its end. */
int secret_read_fd(int fd, size_t max_bytes, struct secret **ret);

/* Excludes the pages that hold p from core dumps (for the environment's strings, which are not ours to move). */
void secret_shield(const void *p, size_t len);

/*
 * Starts libcurl, once, with an allocator that zeroes what it frees: the
 * answers of credential services pass through its buffers. Returns 0 or a
 * negative error with a message.
 */
int secret_curl_init(void);

#endif
