/*
 * err.h - error codes of the project, and the message that goes with one.
 *
 * Every function that can fail returns 0 or a negative code: -errno, or one of
 * the private codes below, each of which has a parent errno (what a system
 * call would return for it) and a text. Thread-safe.
 */
#ifndef CLONELOVE_ERR_H
#define CLONELOVE_ERR_H

#include "compiler.h"

enum {
	ERR_PARKED = -10001,       /* not an error: the caller's wait object was queued, an answer follows */
	ERR_PRECONDITION = -10002, /* if-match / if-none-match did not hold (HTTP 412) */
	ERR_CORRUPT = -10003,      /* bytes that fail their checksum or do not parse */
	ERR_DAMAGED = -10004,      /* an object that must exist is missing: a hole in the log */
	ERR_FENCED = -10005,       /* another writer owns the volume now */
	ERR_NEWER_FORMAT = -10006, /* written by a newer version of this program */
	ERR_NOT_A_VOLUME = -10007, /* the address holds no volume */
	ERR_VOLUME_EXISTS = -10008,
	ERR_VOLUME_BUSY = -10009,  /* its writer was alive a moment ago */
	ERR_AUTH = -10010,         /* the store refused the credentials */
	ERR_NO_BUCKET = -10011,
	ERR_CLOCK_SKEW = -10012,
	ERR_UNAVAILABLE = -10013,  /* the store did not answer in time, or answered 5xx to the end: may be tried again;
				    * whether a write took effect is not known */
	ERR_UNSUPPORTED = -10014,  /* the store cannot do what was asked */
	ERR_NO_FENCING = -10015,   /* the store ignores If-None-Match */
	ERR_CONFIG = -10016,       /* a bad option, address or configuration line */
	ERR_CRASHED = -10017,      /* simulation only: the machine this call ran on is gone */
	ERR_READ_ONLY = -10018,    /* the volume is mounted read-only, or turned so after a failure */
	ERR_NO_NAMES = -10019,     /* the name service could not say whether there is such a user or group: may be tried again */
};

/* The errno (positive) a system call should return for `code`; 0 for 0. */
int err_errno(int code);

/* A short lower-case text for `code`; static storage, never NULL. */
const char *err_text(int code);

/*
 * Remembers a message for the calling thread (what failed, on what, what to
 * do) and returns `code`, so that `return err_set(...)` reads well. At most
 * 1023 bytes are kept. err_last returns the message, or "" where there is
 * none; err_clear forgets it. err_last's result is valid until the thread's
 * next err_set.
 */
int err_set(int code, const char *fmt, ...) CL_PRINTF(2, 3);
const char *err_last(void);
void err_clear(void);

#endif
