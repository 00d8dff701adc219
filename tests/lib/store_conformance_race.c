/* store_conformance_race.c - conditions under races, many requests in flight, requests from done(), and close. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "err.h"
#include "store_conformance.h"

#define RACERS 50
#define ROUNDS 5
#define ADDERS 8
#define ADDS 10
#define CHAIN 200
#define FLOOD 300

struct racer {
	struct store_req r;
	struct iovec iov;
	char body[64];
};

static void racer_init(struct racer *x, const char *key, unsigned round, unsigned i)
{
	snprintf(x->body, sizeof(x->body), "round %u racer %u", round, i);
	x->iov = (struct iovec){ .iov_base = x->body, .iov_len = strlen(x->body) };
	store_req_init(&x->r, STORE_PUT);
	x->r.key = key;
	x->r.body = &x->iov;
	x->r.body_count = 1;
	x->r.done = store_wait_done;
}

/* Sends all, waits, and expects one winner whose body is what is read. */
static int run_race(struct conformance *c, struct racer *x, const char *what)
{
	int winner = -1, winners = 0;
	struct store_req r;
	int rc;

	for (unsigned i = 0; i < RACERS; i++)
		c->s->submit(c->s, &x[i].r);
	for (unsigned i = 0; i < RACERS; i++)
		c->s->wait(c->s, &x[i].r);
	for (unsigned i = 0; i < RACERS; i++) {
		if (x[i].r.result == 0) {
			winner = (int)i;
			winners++;
		} else {
			/* The loser of a compare-and-swap may meet a 409 or 500 to the end. */
			CONFORM(c, x[i].r.result == ERR_PRECONDITION ||
				(x[i].r.if_match != NULL && x[i].r.result == ERR_UNAVAILABLE && x[i].r.ambiguous),
				"%s: a loser got %s %s", what, err_text(x[i].r.result), x[i].r.detail);
		}
	}
	CONFORM(c, winners == 1, "%s: %d of %d won", what, winners, RACERS);
	rc = store_get(c->s, x[0].r.key, &r);
	CONFORM(c, rc == 0 && r.data_len == strlen(x[winner].body) && memcmp(r.data, x[winner].body, r.data_len) == 0,
		"%s: the object is not the winner's (%s)", what, err_text(rc));
	CONFORM(c, strcmp(r.etag, x[winner].r.etag) == 0, "%s: the ETag is not the winner's", what);
	store_req_reset(&r);
	for (unsigned i = 0; i < RACERS; i++)
		store_req_reset(&x[i].r);
	return 0;
}

static int check_create_race(struct conformance *c, struct racer *x)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		char name[64], key[STORE_KEY_MAX];
		int rc;

		/* Twice in the same place, in a directory that comes and goes. */
		snprintf(name, sizeof(name), "race/create/%u/key", round / 2);
		snprintf(key, sizeof(key), "%s", conformance_key(c, name));
		for (unsigned i = 0; i < RACERS; i++) {
			racer_init(&x[i], key, round, i);
			x[i].r.if_none_match = true;
		}
		if (run_race(c, x, "racing creates"))
			return -1;
		rc = store_delete(c->s, key);
		CONFORM(c, rc == 0, "DELETE: %s", err_last());
	}
	return 0;
}

static int check_swap_race(struct conformance *c, struct racer *x)
{
	char key[STORE_KEY_MAX], etag[STORE_ETAG_MAX];
	struct store_req r;
	int rc;

	snprintf(key, sizeof(key), "%s", conformance_key(c, "race/swap"));
	racer_init(&x[0], key, 0, 0);
	x[0].r.if_match = "0123456789abcdef0123456789abcdef";
	rc = store_call(c->s, &x[0].r);
	CONFORM(c, rc == ERR_PRECONDITION || rc == -ENOENT, "PUT if-match of a missing object: %s", err_text(rc));
	store_req_reset(&x[0].r);
	if (conformance_put(c, "race/swap", "first"))
		return -1;
	for (unsigned round = 0; round < ROUNDS; round++) {
		store_req_init(&r, STORE_HEAD);
		r.key = key;
		rc = store_call(c->s, &r);
		CONFORM(c, rc == 0, "HEAD: %s", err_text(rc));
		memcpy(etag, r.etag, sizeof(etag));
		store_req_reset(&r);
		for (unsigned i = 0; i < RACERS; i++) {
			racer_init(&x[i], key, round, i);
			x[i].r.if_match = etag;
		}
		if (run_race(c, x, "racing compare-and-swaps"))
			return -1;
	}
	return 0;
}

struct adder {
	struct conformance *c;
	char key[STORE_KEY_MAX];
	atomic_int *failed;
};

/* Adds one by compare-and-swap. 1: done; 0: somebody was faster; negative: an error. */
static int add_one(struct adder *a)
{
	char etag[STORE_ETAG_MAX], text[32];
	struct iovec iov;
	struct store_req r;
	int value, rc;

	rc = store_get(a->c->s, a->key, &r);
	if (rc == 0) {
		snprintf(text, sizeof(text), "%.*s", (int)r.data_len, (const char *)r.data);
		memcpy(etag, r.etag, sizeof(etag));
	}
	store_req_reset(&r);
	if (rc)
		return rc;
	value = atoi(text);
	snprintf(text, sizeof(text), "%d", value + 1);
	iov = (struct iovec){ .iov_base = text, .iov_len = strlen(text) };
	store_req_init(&r, STORE_PUT);
	r.key = a->key;
	r.body = &iov;
	r.body_count = 1;
	r.if_match = etag;
	rc = store_call(a->c->s, &r);
	/* An ambiguous answer cannot be counted on either way; a healthy store gives none here but a lost race's. */
	if (rc == ERR_UNAVAILABLE && r.ambiguous)
		rc = ERR_PRECONDITION;
	store_req_reset(&r);
	return rc == 0 ? 1 : rc == ERR_PRECONDITION ? 0 : rc;
}

static void *adder_main(void *arg)
{
	struct adder *a = arg;

	for (int done = 0; done < ADDS;) {
		int rc = add_one(a);

		if (rc < 0) {
			atomic_store(a->failed, rc);
			break;
		}
		done += rc;
	}
	return NULL;
}

/* Threads that add to one number: no addition may be lost. */
static int check_counter(struct conformance *c)
{
	pthread_t threads[ADDERS];
	struct adder adder = { .c = c };
	struct store_req r;
	atomic_int failed = 0;
	int value, rc;

	if (conformance_put(c, "race/counter", "0"))
		return -1;
	snprintf(adder.key, sizeof(adder.key), "%s", conformance_key(c, "race/counter"));
	adder.failed = &failed;
	for (int i = 0; i < ADDERS; i++)
		CONFORM(c, pthread_create(&threads[i], NULL, adder_main, &adder) == 0, "cannot start a thread");
	for (int i = 0; i < ADDERS; i++)
		pthread_join(threads[i], NULL);
	CONFORM(c, atomic_load(&failed) == 0, "adding by compare-and-swap: %s", err_text(atomic_load(&failed)));
	rc = store_get(c->s, adder.key, &r);
	CONFORM(c, rc == 0 && r.data_len > 0 && r.data_len < 8, "GET: %s", err_text(rc));
	value = 0;
	for (size_t i = 0; i < r.data_len; i++)
		value = value * 10 + (r.data[i] - '0');
	CONFORM(c, value == ADDERS * ADDS, "%d additions by compare-and-swap gave %d", ADDERS * ADDS, value);
	store_req_reset(&r);
	return 0;
}

struct chain {
	struct store *s;
	struct store_req r;
	pthread_mutex_t lock;
	pthread_cond_t over;
	int left; /* whoever has the request */
	int result;
	bool is_over;
};

static void chain_next(struct store_req *r)
{
	struct chain *ch = r->user;
	int rc = r->result;

	store_req_reset(r);
	if (rc == 0 && --ch->left > 0) {
		ch->s->submit(ch->s, r);
		return;
	}
	pthread_mutex_lock(&ch->lock);
	ch->result = rc;
	ch->is_over = true;
	pthread_cond_signal(&ch->over);
	pthread_mutex_unlock(&ch->lock);
}

/* done() may submit; and the same request may be used again. */
static int check_chain(struct conformance *c)
{
	struct chain ch = { .s = c->s, .left = CHAIN, .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };

	if (conformance_put(c, "race/chain", "link"))
		return -1;
	store_req_init(&ch.r, STORE_GET);
	ch.r.key = conformance_key(c, "race/chain");
	ch.r.done = chain_next;
	ch.r.user = &ch;
	c->s->submit(c->s, &ch.r);
	pthread_mutex_lock(&ch.lock);
	while (!ch.is_over)
		pthread_cond_wait(&ch.over, &ch.lock);
	pthread_mutex_unlock(&ch.lock);
	CONFORM(c, ch.result == 0, "requests from done(): %s", err_text(ch.result));
	return 0;
}

/* Writes that completed are seen by what is submitted afterwards, however many are in flight. */
static int check_flood(struct conformance *c)
{
	struct racer *x = calloc(FLOOD, sizeof(*x));
	char (*keys)[128] = calloc(FLOOD, sizeof(*keys));
	int rc = 0;

	CONFORM(c, x != NULL && keys != NULL, "out of memory");
	for (unsigned i = 0; i < FLOOD; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%sflood/%u/%u", c->base, i % 7, i);
		racer_init(&x[i], keys[i], 0, i);
		c->s->submit(c->s, &x[i].r);
	}
	for (unsigned i = 0; i < FLOOD; i++) {
		c->s->wait(c->s, &x[i].r);
		if (x[i].r.result != 0 && !rc)
			rc = conformance_fail(c, "PUT", __LINE__, "%d PUTs at once: %s %s", FLOOD, err_text(x[i].r.result), x[i].r.detail);
		store_req_reset(&x[i].r);
		store_req_init(&x[i].r, STORE_GET);
		x[i].r.key = keys[i];
		x[i].r.done = store_wait_done;
		c->s->submit(c->s, &x[i].r);
	}
	for (unsigned i = 0; i < FLOOD; i++) {
		c->s->wait(c->s, &x[i].r);
		if (!rc && (x[i].r.result != 0 || x[i].r.data_len != x[i].iov.iov_len ||
			    memcmp(x[i].r.data, x[i].body, x[i].iov.iov_len) != 0))
			rc = conformance_fail(c, "GET", __LINE__, "GET of what was just written: %s", err_text(x[i].r.result));
		store_req_reset(&x[i].r);
	}
	free(keys);
	free(x);
	return rc;
}

int conformance_races(struct conformance *c)
{
	struct racer *x = calloc(RACERS, sizeof(*x));
	int rc;

	CONFORM(c, x != NULL, "out of memory");
	rc = check_create_race(c, x) || check_swap_race(c, x) || check_counter(c) || check_chain(c) || check_flood(c) ? -1 : 0;
	free(x);
	return rc;
}

struct closing {
	struct store_req r;
	struct store *s;
	atomic_int done, again;
	atomic_int result;
};

/* Sends itself again once, to try submitting while the store is being closed. */
static void closing_done(struct store_req *r)
{
	struct closing *x = r->user;

	if (r->result == -ECANCELED && atomic_fetch_add(&x->again, 1) == 0) {
		store_req_reset(r);
		x->s->submit(x->s, r);
		return;
	}
	atomic_store(&x->result, r->result);
	atomic_fetch_add(&x->done, 1);
}

int store_conformance_close(struct store *s, char *why, size_t n)
{
	struct conformance c = { .s = s, .why = why, .n = n };
	struct closing *x = calloc(FLOOD, sizeof(*x));
	static uint8_t body[65536];
	const struct iovec iov = { .iov_base = body, .iov_len = sizeof(body) };
	int rc = 0;

	CONFORM(&c, x != NULL, "out of memory");
	for (unsigned i = 0; i < FLOOD; i++) {
		x[i].s = s;
		store_req_init(&x[i].r, i % 3 ? STORE_PUT : STORE_GET);
		x[i].r.key = i % 3 ? "closing/put" : "closing/get";
		x[i].r.body = &iov;
		x[i].r.body_count = 1;
		x[i].r.done = closing_done;
		x[i].r.user = &x[i];
		s->submit(s, &x[i].r);
	}
	store_close(s);
	for (unsigned i = 0; i < FLOOD && !rc; i++) {
		int result = atomic_load(&x[i].result);

		if (atomic_load(&x[i].done) != 1)
			rc = conformance_fail(&c, "done", __LINE__, "close: request %u was done %d times", i, atomic_load(&x[i].done));
		else if (result != 0 && result != -ENOENT && result != -ECANCELED)
			rc = conformance_fail(&c, "result", __LINE__, "close: request %u got %s", i, err_text(result));
	}
	for (unsigned i = 0; i < FLOOD; i++)
		store_req_reset(&x[i].r);
	free(x);
	return rc;
}
