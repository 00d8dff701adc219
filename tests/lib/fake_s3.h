/*
 * fake_s3.h - a small S3 in memory on http_double, that fails as told: for what a real server cannot be made to do on
 * demand. One bucket, "bucket"; path style. Checks that requests are signed, and their bodies against the hashes sent.
 */
#ifndef CLONELOVE_FAKE_S3_H
#define CLONELOVE_FAKE_S3_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http_double.h"

enum fake_kind {
	FAKE_STATUS,     /* answers with status, code */
	FAKE_DROP,       /* closes without an answer */
	FAKE_STALL,      /* waits `ms`, then closes */
	FAKE_SLOW,       /* waits `ms`, then answers as it should */
	FAKE_SHORT,      /* announces more bytes than it sends */
	FAKE_ERROR_200,  /* status 200, an <Error> with code in the body */
	FAKE_CORRUPT,    /* flips a bit of the body */
	FAKE_NOT_S3,     /* status, with a page of HTML */
	FAKE_GARBAGE,    /* status 200, half a document */
};

struct fake_fault {
	const char *method;   /* NULL: any */
	const char *argument; /* only requests with this query argument; NULL: any */
	enum fake_kind kind;
	unsigned status;
	const char *code;
	unsigned ms;
	bool after;           /* the request takes effect first */
	unsigned skip, count; /* lets `skip` such requests pass, then hits `count` */
	unsigned percent;     /* 0: always; else with this probability, from the fake's own sequence */
};

struct fake_object {
	char *key, *body, etag[40];
	size_t len;
	struct fake_object *next;
};

struct fake_s3 {
	struct http_double *http;
	pthread_mutex_t mu;
	struct fake_object *objects;
	struct fake_fault faults[8];
	size_t fault_count;
	unsigned random, versions;
	/* behaviour */
	bool ignore_range, ignore_delete_if_match, ignore_encoding, want_region;
	int64_t clock_offset_s;     /* of the Date header, and beyond 900 s it refuses */
	const char *expired_key;    /* this access key is answered with ExpiredToken */
	uint64_t announce_bytes;    /* GET: claims to be this long */
	/* what it saw */
	unsigned requests, puts, gets, bad_hash, unsigned_requests, aborts, parts;
	char last_range[64], last_type[64], last_if_match[64], last_copy_source[512];
};

void fake_s3_start(struct fake_s3 *f); /* zeroes it first */
void fake_s3_stop(struct fake_s3 *f);
void fake_s3_fault(struct fake_s3 *f, struct fake_fault fault);
void fake_s3_clear(struct fake_s3 *f); /* forgets faults and counts */
/* Under f->mu or with the server quiet. */
struct fake_object *fake_s3_find(struct fake_s3 *f, const char *key);
void fake_s3_set(struct fake_s3 *f, const char *key, const char *body, size_t len);

#endif
