/*
 * store_conformance.h - what include/store.h promises, tried on a store. Run on every backend, the real server included.
 *
 * Works below a key prefix of its own ("conformance-<random>/") and deletes what it made. Returns 0, or -1 with a line in
 * `why` (n bytes) that names the promise that was not kept.
 */
#ifndef CLONELOVE_STORE_CONFORMANCE_H
#define CLONELOVE_STORE_CONFORMANCE_H

#include <stddef.h>

#include "store.h"

int store_conformance(struct store *s, char *why, size_t n);

/* The same for close, which ends s: every request in flight is done once, with its result or -ECANCELED. */
int store_conformance_close(struct store *s, char *why, size_t n);

/* --- shared by the suite's files --- */

struct conformance {
	struct store *s;
	char *why;
	size_t n;
	char base[64]; /* the prefix, with '/' at its end */
};

/* Fills why and returns -1. */
int conformance_fail(struct conformance *c, const char *what, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define CONFORM(c, cond, ...) \
	do { \
		if (!(cond)) \
			return conformance_fail((c), #cond, __LINE__, __VA_ARGS__); \
	} while (0)

/* base + name, in one of a few static thread-local buffers. */
const char *conformance_key(struct conformance *c, const char *name);
int conformance_put(struct conformance *c, const char *name, const char *text);

int conformance_list(struct conformance *c);   /* store_conformance_list.c */
int conformance_races(struct conformance *c);  /* store_conformance_race.c */

#endif
