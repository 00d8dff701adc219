/*
 * backends.h - the constructors behind store_open, and what backends share. Not for use outside s3/ and tests.
 *
 * All return 0 and a store, or a negative error with err_set's message.
 */
#ifndef CLONELOVE_BACKENDS_H
#define CLONELOVE_BACKENDS_H

#include <stddef.h>
#include <stdint.h>

#include "store.h"

/* "s3://bucket[/prefix]"; options as S3.md has them, or NULL. */
int store_s3_open(const char *address, const char *options, struct store **ret);

/*
 * A directory, by absolute path. The directory need not exist (its parent must): it is made at the first write.
 * Options: threads=N (requests carried out at a time, 16).
 */
int store_dir_open(const char *path, const char *options, struct store **ret);

/* In memory; gone at close. For tests. Requests run on `threads` threads (0 = 4). */
int store_mem_open(unsigned threads, struct store **ret);

/*
 * Layers. Each takes `below` over on success: closing it closes what is below. fault: see fault.h. delay: every request takes
 * base_ms and up to jitter_ms more, half before it takes effect and half after.
 */
int store_fault_open(struct store *below, const char *rules, uint64_t seed, struct store **ret);
int store_delay_open(struct store *below, uint32_t base_ms, uint32_t jitter_ms, struct store **ret);

/*
 * What every backend checks before it starts: 0, or -EINVAL with r->detail saying what is wrong: keys as store.h has them (a
 * trailing '/' is not a key either), counts in range, only "/" as delimiter, conditions where they have a meaning.
 */
int store_check_req(struct store_req *r);

bool store_key_is_utf8(const char *key);

/* The bytes of a PUT's body. */
uint64_t store_body_bytes(const struct store_req *r);

/* Which bytes of an object of that size a GET asks for: possibly none, never beyond its end. */
void store_range(const struct store_req *r, uint64_t size, uint64_t *ret_off, size_t *ret_len);

/* Sets r->result and r->detail (cut to fit); returns result. */
int store_fail(struct store_req *r, int result, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Goes through "key=value,key=value" (NULL and "" are empty): calls each() with every pair, both with NUL at their end; a key
 * alone has value "". Stops at the first non-zero result and returns it. Longer than 255 bytes: ERR_CONFIG.
 */
int store_options(const char *options, int (*each)(void *user, const char *key, const char *value), void *user);

#endif
