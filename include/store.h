/*
 * store.h - an object store as a table of asynchronous functions, so that
 * layers stack: s3 (HTTP), dir (a local directory), mem (tests), fault and
 * delay (on top of another), and the simulation's own.
 *
 * Consistency every backend gives: a request that completed with 0 is seen by
 * every request submitted afterwards, listings included; a conditional PUT is
 * atomic (of many racing creates exactly one returns 0).
 *
 * A request is owned by the caller until submit and again from done() on. The
 * backend writes result fields only. done() is called exactly once, from any
 * thread (perhaps from within submit), with no lock held; it must not block,
 * and may submit further requests. After close has begun, unfinished requests
 * complete with -ECANCELED.
 *
 * Keys are relative to the store's prefix, at most STORE_KEY_MAX bytes of
 * UTF-8 without leading '/', "//", "." or ".." components.
 */
#ifndef CLONELOVE_STORE_H
#define CLONELOVE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STORE_KEY_MAX 512
#define STORE_ETAG_MAX 96
#define STORE_LIST_MAX 1000
#define STORE_DELETE_MAX 1000
#define STORE_ANY UINT64_MAX

enum store_op { STORE_PUT, STORE_GET, STORE_HEAD, STORE_LIST, STORE_DELETE, STORE_COPY, STORE_OPS };

struct store_entry {          /* one line of a listing */
	char *key;            /* relative to the prefix */
	uint64_t size_bytes;
	int64_t mtime_s;      /* the server's Last-Modified */
	char etag[STORE_ETAG_MAX];
};

struct store_req {
	/* --- what is asked (caller) --- */
	enum store_op op;
	const char *key;             /* PUT GET HEAD COPY; LIST: the key prefix ("" = all) */
	const char *source_key;      /* COPY: from (same store) */
	const struct iovec *body;    /* PUT: borrowed until done */
	size_t body_count;
	const char *content_type;    /* PUT, COPY; NULL = application/octet-stream */
	bool if_none_match;          /* PUT: create only; HTTP "If-None-Match: *" */
	const char *if_match;        /* PUT, DELETE of one key: only over this ETag (as head/get/put gave it) */
	uint64_t range_offset;       /* GET: first byte; with range_suffix: unused */
	uint64_t range_length;       /* GET: at most this many; STORE_ANY = to the end */
	bool range_suffix;           /* GET: the last range_length bytes (all, if shorter) */
	const char *start_after;     /* LIST: keys greater than this (relative); NULL = from the start */
	const char *delimiter;       /* LIST: "/" or NULL; common prefixes come as entries ending in '/' with size 0 */
	unsigned max_keys;           /* LIST: 1..STORE_LIST_MAX; 0 = STORE_LIST_MAX */
	const char *const *keys;     /* DELETE: keys; a missing key is no error */
	size_t key_count;            /* DELETE: 1..STORE_DELETE_MAX */
	uint64_t deadline_ms;        /* give up (ERR_UNAVAILABLE) after this long; 0 = the store's default (30 s) */
	void (*done)(struct store_req *r);
	void *user;                  /* the caller's own */

	/* --- what came back (backend); valid when done() is called --- */
	int result;                  /* 0, -ENOENT, ERR_PRECONDITION, ERR_AUTH, ERR_NO_BUCKET, ERR_CLOCK_SKEW, ERR_UNAVAILABLE,
				      * ERR_UNSUPPORTED, -ENOSPC, -ECANCELED, ERR_CORRUPT, -ENOMEM, ... ENOENT of GET, HEAD, COPY;
				      * a suffix or range GET that starts at or past the end returns 0 with data_len 0. */
	bool ambiguous;              /* PUT, COPY, DELETE with a result other than 0: an attempt may have taken effect, now or later */
	char detail[256];            /* a readable line about a failure: status, code, server's message. Never a secret. */
	uint8_t *data;               /* GET: malloc'd; the caller frees (store_req_reset does) */
	size_t data_len;
	uint64_t object_size;        /* GET (when known), HEAD */
	char etag[STORE_ETAG_MAX];   /* PUT GET HEAD: without quotes */
	int64_t mtime_s;             /* GET HEAD: Last-Modified */
	int64_t server_time_s;       /* the server's Date of the last answer; 0 where there is none */
	struct store_entry *entries; /* LIST: malloc'd array, sorted by key as bytes */
	size_t entry_count;
	bool truncated;              /* LIST: there is more after the last entry */

	/* --- private to whichever layer holds the request --- */
	void *layer;
};

enum { STORE_HIST = 24 };            /* latency buckets: bucket i counts answers under 2^i * 64 us; the last one the rest */

struct store_counters {
	uint64_t requests[STORE_OPS];     /* attempts sent, retries included */
	uint64_t retries[STORE_OPS];
	uint64_t failures[STORE_OPS];     /* requests that ended with a result other than 0, ENOENT and ERR_PRECONDITION */
	uint64_t bytes_sent, bytes_received; /* bodies only */
	uint64_t latency[STORE_OPS][STORE_HIST];
};

struct store {
	const char *kind;    /* "s3", "dir", "mem", "fault", "delay", ... */
	const char *address; /* for messages: "s3://bucket/prefix"; never a secret */
	void (*submit)(struct store *s, struct store_req *r);
	/* Blocks until r (submitted before, done == store_wait_done) completed. A simulation runs its world here. */
	void (*wait)(struct store *s, struct store_req *r);
	void (*counters)(struct store *s, struct store_counters *ret);
	/* Cancels what is unfinished, waits for its done() calls, frees s (and the layer below). */
	void (*close)(struct store *s);
};

/*
 * Opens an address: "s3://bucket[/prefix]" or "file:///absolute/path".
 * Options (may be NULL) is a comma-separated list of key=value for the backend,
 * described in s3/DESIGN.md and clonefs(1). For drills, the environment
 * variable CLONELOVE_FAULTS stacks the fault layer on top (see s3/fault.h).
 * Returns 0, or a negative error with err_set's message saying what to do.
 */
int store_open(const char *address, const char *options, struct store **ret);
void store_close(struct store *s); /* NULL is fine */

/* Zeroes a request and sets op; store_req_reset frees what came back and zeroes the result fields (the request may be sent again). */
void store_req_init(struct store_req *r, enum store_op op);
void store_req_reset(struct store_req *r);

/* submit + wait; returns r->result. Only one thread uses r. */
int store_call(struct store *s, struct store_req *r);
/* For backends made of threads: the usual done and wait. r->user and r->done belong to the call. */
void store_wait_done(struct store_req *r);
void store_wait_threads(struct store *s, struct store_req *r);

/* The common calls, blocking. Those with ret_req leave the answer there for the caller to read and store_req_reset. */
int store_put(struct store *s, const char *key, const void *data, size_t len, bool if_none_match, struct store_req *ret_req);
int store_get(struct store *s, const char *key, struct store_req *ret_req);
int store_delete(struct store *s, const char *key);
/* Calls each() for every key under prefix greater than start_after, in order, until it returns non-zero (which is returned). */
int store_list_all(struct store *s, const char *prefix, const char *start_after,
		   int (*each)(void *user, const struct store_entry *e), void *user);

/*
 * Checks that the store is reachable, writable and honours If-None-Match, by
 * racing creates on a key under "probe/" that it deletes again. Returns 0,
 * ERR_NO_FENCING, or what went wrong, with a message.
 */
int store_probe(struct store *s);

#endif
