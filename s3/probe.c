/*
 * probe.c - finds out whether a store is fit to fence writers with.
 *
 * A server that ignores If-None-Match answers 200 to every create, and one that checks it without atomicity lets two of a race
 * through now and then. So: several rounds, in each a number of creates of one key in flight at a time, each with a body of its
 * own; then the object is read: it must be the one winner's, and one more create must be refused.
 *
 * A create that failed for reasons of its own (a 409 to the end, a timeout) may or may not have taken effect; it is no winner,
 * and the object may be its own. Objects are deleted again; what a crash leaves under probe/ harms nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends.h"
#include "compiler.h"
#include "env.h"
#include "err.h"
#include "store.h"

#define PROBE_ROUNDS 3
#define PROBE_RACERS 8
#define PROBE_BODY 24

struct racer {
	struct store_req req;
	struct iovec iov;
	char body[PROBE_BODY];
};

static int racer_verdict(struct store *s, struct racer *racers, const char *key, int *ret_winner)
{
	int winners = 0, refused = 0, first_error = 0;
	const char *detail = "";

	*ret_winner = -1;
	for (int i = 0; i < PROBE_RACERS; i++) {
		int rc = racers[i].req.result;

		if (rc == 0) {
			winners++;
			*ret_winner = i;
		} else if (rc == ERR_PRECONDITION) {
			refused++;
		} else if (first_error == 0) {
			first_error = rc;
			detail = racers[i].req.detail;
		}
	}
	if (winners > 1)
		return err_set(ERR_NO_FENCING,
			       "%s does not honour If-None-Match: %d of %d racing creates of one object succeeded; use a store that does",
			       s->address, winners, PROBE_RACERS);
	/* Where some were refused one has won, though its reply may have been lost; the object tells. */
	if (winners == 0 && refused == 0)
		return err_set(first_error, "cannot write %s in %s: %s", key, s->address,
			       detail[0] != '\0' ? detail : err_text(first_error));
	return 0;
}

/* Sends all at once and waits for all. */
static int race(struct store *s, const char *key, struct racer *racers, int *ret_winner)
{
	int rc;

	for (int i = 0; i < PROBE_RACERS; i++) {
		struct racer *c = &racers[i];

		env_system()->random(env_system(), c->body, sizeof(c->body));
		c->iov = (struct iovec){ .iov_base = c->body, .iov_len = sizeof(c->body) };
		store_req_init(&c->req, STORE_PUT);
		c->req.key = key;
		c->req.body = &c->iov;
		c->req.body_count = 1;
		c->req.if_none_match = true;
		c->req.done = store_wait_done;
	}
	for (int i = 0; i < PROBE_RACERS; i++)
		s->submit(s, &racers[i].req);
	for (int i = 0; i < PROBE_RACERS; i++)
		s->wait(s, &racers[i].req);
	rc = racer_verdict(s, racers, key, ret_winner);
	for (int i = 0; i < PROBE_RACERS; i++)
		store_req_reset(&racers[i].req);
	return rc;
}

/* Whether the object is the winner's (any racer's where none knows that it won). */
static int check_object(struct store *s, const char *key, const struct racer *racers, int winner)
{
	struct store_req r;
	int owner = -1, rc;

	rc = store_get(s, key, &r);
	if (!rc) {
		for (int i = 0; i < PROBE_RACERS; i++)
			if (r.data_len == PROBE_BODY && memcmp(r.data, racers[i].body, PROBE_BODY) == 0)
				owner = i;
		if (owner < 0)
			rc = err_set(ERR_CORRUPT, "%s gave back other bytes than were written to %s; check the address", s->address, key);
		else if (winner >= 0 && owner != winner)
			rc = err_set(ERR_NO_FENCING,
				     "%s does not honour If-None-Match: a create that it refused replaced the object; use a store that does",
				     s->address);
	}
	store_req_reset(&r);
	return rc;
}

/* A create of what exists must be refused. */
static int check_refusal(struct store *s, const char *key)
{
	struct store_req r;
	int rc = store_put(s, key, "late", 4, true, &r);

	store_req_reset(&r);
	if (rc == ERR_PRECONDITION)
		return 0;
	if (rc)
		return rc;
	return err_set(ERR_NO_FENCING, "%s does not honour If-None-Match: an object was created twice; use a store that does",
		       s->address);
}

static int probe_round(struct store *s)
{
	struct racer racers[PROBE_RACERS];
	uint8_t id[16];
	char key[64] = "probe/";
	int winner, rc;

	env_system()->random(env_system(), id, sizeof(id));
	for (size_t i = 0; i < sizeof(id); i++)
		snprintf(key + 6 + 2 * i, 3, "%02x", id[i]);
	rc = race(s, key, racers, &winner);
	if (!rc)
		rc = check_object(s, key, racers, winner);
	if (!rc)
		rc = check_refusal(s, key);
	if (rc) {
		/* The first failure is the one to tell; err_set of this delete must not hide it. */
		struct store_req r;
		const char *const keys[] = { key };

		store_req_init(&r, STORE_DELETE);
		r.keys = keys;
		r.key_count = CL_ARRAY_LEN(keys);
		store_call(s, &r);
		store_req_reset(&r);
		return rc;
	}
	return store_delete(s, key);
}

int store_probe(struct store *s)
{
	int rc = 0;

	for (int i = 0; i < PROBE_ROUNDS && !rc; i++)
		rc = probe_round(s);
	return rc;
}
