/*
 * fault.c - the layer that makes a store fail by rule (fault.h).
 *
 * A request is held from submit to done by one struct held: first it may wait in the timer, then it is refused, or sent below
 * and its answer bent, or left to stall in the timer. A late write is answered at once and goes on as a held request without a
 * caller, with copies of all that it borrows. Closing stops the timer, which cancels what waits there; then closes below, which
 * waits for the rest.
 */
#include "fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "compiler.h"
#include "counters.h"
#include "err.h"
#include "layer.h"
#include "timer.h"

#define DEADLINE_MS 30000

struct faults {
	struct store store;
	struct store *below;
	struct counters counters;
	struct timer *timer;
	struct fault_rules *rules;
};

struct held {
	struct timer_entry entry;
	struct faults *layer;
	struct store_req *above; /* NULL: answered already (late) */
	struct store_req req;    /* what is sent below */
	struct fault fault;
	uint64_t start_ns;
	void *copies;            /* what req borrows, where its caller is gone */
	struct iovec iov;
};

static struct faults *faults_of(struct store *s)
{
	return CL_CONTAINER_OF(s, struct faults, store);
}

static bool is_write(const struct store_req *r)
{
	return r->op == STORE_PUT || r->op == STORE_COPY || r->op == STORE_DELETE;
}

static void held_free(struct held *h)
{
	store_req_reset(&h->req);
	free(h->copies);
	free(h);
}

static void finish(struct held *h)
{
	struct store_req *above = h->above;

	if (above != NULL)
		counters_end(&h->layer->counters, above->op, above->result, h->start_ns, above->data_len);
	held_free(h);
	if (above != NULL)
		above->done(above);
}

static void cancel(struct held *h)
{
	if (h->above != NULL)
		store_fail(h->above, -ECANCELED, "the store is being closed");
	finish(h);
}

/* The answer in place of what the store said, or would have said. */
static void refuse(struct held *h)
{
	if (h->above != NULL) {
		store_fail(h->above, h->fault.result, "%s", h->fault.detail);
		h->above->ambiguous = h->fault.ambiguous;
	}
	finish(h);
}

static void damage(struct held *h)
{
	struct store_req *r = h->above;

	if (r->result != 0 || r->data_len == 0)
		return;
	if (h->fault.kind == FAULT_TRUNCATE)
		r->data_len /= 2;
	else
		r->data[h->fault.random / 8 % r->data_len] ^= (uint8_t)(1u << h->fault.random % 8);
}

static void came_back(struct store_req *r)
{
	struct held *h = r->user;
	bool bend = h->fault.kind == FAULT_LOST_REPLY || h->fault.kind == FAULT_SHORT || h->fault.kind == FAULT_PARTIAL ||
		    (h->fault.kind == FAULT_412_AFTER_SUCCESS && r->result == 0);

	/* Being closed is no reply that could be lost. A read that failed by itself has no body to be short. */
	if (r->result == -ECANCELED || (h->fault.kind == FAULT_SHORT && r->result != 0))
		bend = false;
	if (bend) {
		refuse(h);
		return;
	}
	if (h->above != NULL)
		layer_answer(h->above, r);
	if (h->fault.kind == FAULT_TRUNCATE || h->fault.kind == FAULT_CORRUPT)
		damage(h);
	finish(h);
}

static void send_below(struct held *h)
{
	h->req.done = came_back;
	h->req.user = h;
	if (h->fault.kind == FAULT_PARTIAL) {
		h->req.key_count /= 2;
		if (h->req.key_count == 0) {
			refuse(h);
			return;
		}
	}
	h->layer->below->submit(h->layer->below, &h->req);
}

static void stalled(struct timer_entry *e, bool early)
{
	struct held *h = CL_CONTAINER_OF(e, struct held, entry);

	if (early) {
		h->above->ambiguous = is_write(h->above);
		cancel(h);
	} else {
		refuse(h);
	}
}

static void carry_out(struct held *h)
{
	uint64_t deadline_ms = h->req.deadline_ms ? h->req.deadline_ms : DEADLINE_MS;

	switch (h->fault.kind) {
	case FAULT_REFUSE:
		refuse(h);
		break;
	case FAULT_STALL:
		h->entry.run = stalled;
		timer_add(h->layer->timer, &h->entry, deadline_ms * 1000000);
		break;
	default:
		send_below(h);
		break;
	}
}

static void delayed(struct timer_entry *e, bool early)
{
	struct held *h = CL_CONTAINER_OF(e, struct held, entry);

	if (early)
		cancel(h);
	else
		carry_out(h);
}

/* Room for a copy of s at *at (only counted where `base` is NULL); returns the copy. */
static char *copy_string(char *base, size_t *at, const char *s)
{
	size_t n;
	char *to;

	if (s == NULL)
		return NULL;
	n = strlen(s) + 1;
	to = base != NULL ? memcpy(base + *at, s, n) : NULL;
	*at += n;
	return to;
}

/* Copies what the request borrows to base, in one order; returns the bytes needed (base NULL: only counts). */
static size_t copy_borrowed(struct held *h, const struct store_req *from, char *base)
{
	size_t at = from->key_count * sizeof(char *), body = (size_t)store_body_bytes(from);
	struct store_req ask = *from;
	const char **keys = (const char **)(void *)base;

	ask.key = copy_string(base, &at, from->key);
	ask.source_key = copy_string(base, &at, from->source_key);
	ask.content_type = copy_string(base, &at, from->content_type);
	ask.if_match = copy_string(base, &at, from->if_match);
	for (size_t i = 0; i < from->key_count; i++) {
		char *key = copy_string(base, &at, from->keys[i]);

		if (base != NULL)
			keys[i] = key;
	}
	if (base != NULL) {
		h->iov = (struct iovec){ .iov_base = base + at, .iov_len = body };
		for (size_t i = 0, to = at; i < from->body_count; to += from->body[i++].iov_len)
			if (from->body[i].iov_len > 0)
				memcpy(base + to, from->body[i].iov_base, from->body[i].iov_len);
		ask.keys = keys;
		ask.body = &h->iov;
		ask.body_count = 1;
		ask.start_after = NULL;
		ask.delimiter = NULL;
		layer_ask(&h->req, &ask);
	}
	return at + body;
}

/* Cuts the request loose from its caller, who is answered now. */
static void let_go(struct held *h)
{
	struct store_req *above = h->above;

	h->copies = malloc(copy_borrowed(h, above, NULL) + 1);
	if (h->copies == NULL) {
		store_fail(above, -ENOMEM, "out of memory");
		finish(h);
		return;
	}
	copy_borrowed(h, above, h->copies);
	store_fail(above, h->fault.result, "%s", h->fault.detail);
	above->ambiguous = h->fault.ambiguous;
	counters_end(&h->layer->counters, above->op, above->result, h->start_ns, 0);
	h->above = NULL;
	h->fault.kind = FAULT_NONE;
	h->entry.run = delayed;
	timer_add(h->layer->timer, &h->entry, h->fault.delay_ms * 1000000);
	above->done(above);
}

static void faults_submit(struct store *s, struct store_req *r)
{
	struct faults *f = faults_of(s);
	struct held *h;

	if (store_check_req(r)) {
		r->done(r);
		return;
	}
	h = calloc(1, sizeof(*h));
	if (h == NULL) {
		store_fail(r, -ENOMEM, "out of memory");
		r->done(r);
		return;
	}
	h->layer = f;
	h->above = r;
	h->start_ns = counters_now_ns();
	layer_ask(&h->req, r);
	fault_rules_choose(f->rules, r, &h->fault);
	if (h->fault.kind == FAULT_LATE) {
		let_go(h);
	} else if (h->fault.delay_ms > 0) {
		h->entry.run = delayed;
		timer_add(f->timer, &h->entry, h->fault.delay_ms * 1000000);
	} else {
		carry_out(h);
	}
}

static void faults_counters(struct store *s, struct store_counters *ret)
{
	struct faults *f = faults_of(s);

	layer_counters(f->below, &f->counters, ret);
}

static void faults_close(struct store *s)
{
	struct faults *f = faults_of(s);

	timer_stop(f->timer);
	store_close(f->below);
	timer_free(f->timer);
	fault_rules_free(f->rules);
	counters_destroy(&f->counters);
	free(f);
}

int store_fault_open(struct store *below, const char *rules, uint64_t seed, struct store **ret)
{
	struct faults *f = calloc(1, sizeof(*f));
	int rc;

	if (f == NULL)
		return err_set(-ENOMEM, "cannot inject faults into %s: out of memory", below->address);
	rc = fault_rules_parse(rules, seed, &f->rules);
	if (!rc)
		rc = timer_start(&f->timer);
	if (rc) {
		fault_rules_free(f->rules);
		free(f);
		return rc;
	}
	f->store = (struct store){ .kind = "fault", .address = below->address, .submit = faults_submit, .wait = store_wait_threads,
				   .counters = faults_counters, .close = faults_close };
	f->below = below;
	counters_init(&f->counters);
	*ret = &f->store;
	return 0;
}
