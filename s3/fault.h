/*
 * fault.h - rules that make a store fail on purpose: for tests, and for an operator's drills (CLONELOVE_FAULTS, see
 * store_open). The layer itself is store_fault_open in backends.h.
 *
 * Rules are separated by ';', ',' or white space. A rule is
 *
 *     OP:PATTERN:PART[:PART...]
 *
 * OP: put get head list delete copy, read (get head list), write (put delete copy), or * for all. PATTERN: a shell pattern for
 * the key (the prefix of a list, any of the keys of a delete); '*' matches '/' too. A PART is one fault and any of these:
 *
 *     p=0.1       fires with this probability (1)
 *     after=N     not for the first N requests that match
 *     count=N     N times at most
 *     delay=MS    the fault comes after this long; with no fault named, the request is only delayed
 *
 * An item "seed=N" sets the seed. Rules are tried in order; the first that fires is applied. Delays without a fault add up.
 *
 *     503 500     refused, not carried out: ERR_UNAVAILABLE, and ambiguous for writes, as a caller cannot know
 *     conflict409 the same, as a lost race of conditional PUTs: conditional PUT only
 *     200-error-body  the same, as an answer of 200 whose body is an error: write and copy
 *     lost-reply  carried out, then ERR_UNAVAILABLE
 *     late        ERR_UNAVAILABLE at once; carried out all the same `delay` later (1000 ms): writes
 *     412-after-success  carried out, then ERR_PRECONDITION: conditional PUT only
 *     stall       no answer until the request's deadline, then ERR_UNAVAILABLE; not carried out
 *     short       the body ends too soon, as seen from its length: ERR_UNAVAILABLE; get
 *     truncate    half of the bytes, and success: a damaged object; get
 *     corrupt     one bit is wrong, and success: a damaged object; get
 *     partial     the first half of the keys is deleted, then ERR_UNAVAILABLE; delete
 *     404 auth no-bucket clock-skew no-space unsupported canceled
 *                 refused with -ENOENT (get, head, copy), ERR_AUTH, ERR_NO_BUCKET, ERR_CLOCK_SKEW, -ENOSPC (write),
 *                 ERR_UNSUPPORTED, -ECANCELED
 */
#ifndef CLONELOVE_FAULT_H
#define CLONELOVE_FAULT_H

#include <stdint.h>

#include "store.h"

enum fault_kind {
	FAULT_NONE, /* only a delay, or nothing */
	FAULT_REFUSE, FAULT_LOST_REPLY, FAULT_LATE, FAULT_412_AFTER_SUCCESS, FAULT_STALL,
	FAULT_SHORT, FAULT_TRUNCATE, FAULT_CORRUPT, FAULT_PARTIAL
};

struct fault { /* what is to be done to one request */
	enum fault_kind kind;
	int result;         /* FAULT_REFUSE */
	bool ambiguous;     /* FAULT_REFUSE of a write */
	const char *detail; /* static */
	uint64_t delay_ms;
	uint64_t random;    /* for what a fault has to choose */
};

struct fault_rules;

/* 0, or ERR_CONFIG with a message that names the part. */
int fault_rules_parse(const char *text, uint64_t seed, struct fault_rules **ret);
void fault_rules_free(struct fault_rules *f);
/* Thread-safe. The same requests in the same order get the same faults. */
void fault_rules_choose(struct fault_rules *f, const struct store_req *r, struct fault *ret);

#endif
