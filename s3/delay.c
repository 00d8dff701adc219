/*
 * delay.c - the layer that makes a store slow: every request waits before it goes below, and its answer after.
 *
 * A request is in one of three places: waiting to go (in the timer), below, waiting to be answered (in the timer). Closing
 * stops the timer first: what had not gone is cancelled, what had is answered, and what comes back from below later passes
 * straight through, as a stopped timer runs its entries at once.
 */
#include <errno.h>
#include <stdlib.h>

#include "backends.h"
#include "compiler.h"
#include "counters.h"
#include "env.h"
#include "err.h"
#include "layer.h"
#include "timer.h"

struct delay {
	struct store store;
	struct store *below;
	struct counters counters;
	struct timer *timer;
	uint32_t base_ms, jitter_ms;
};

struct held {
	struct timer_entry entry;
	struct delay *layer;
	struct store_req *above;
	struct store_req req; /* what is sent below */
	uint64_t start_ns, back_ns;
};

static struct delay *delay_of(struct store *s)
{
	return CL_CONTAINER_OF(s, struct delay, store);
}

static void finish(struct held *h)
{
	struct store_req *above = h->above;

	counters_end(&h->layer->counters, above->op, above->result, h->start_ns, above->data_len);
	free(h);
	above->done(above);
}

static void answer(struct timer_entry *e, bool early)
{
	(void)early; /* it has happened: the true answer, sooner */
	finish(CL_CONTAINER_OF(e, struct held, entry));
}

static void came_back(struct store_req *r)
{
	struct held *h = r->user;

	layer_answer(h->above, r);
	h->entry.run = answer;
	timer_add(h->layer->timer, &h->entry, h->back_ns);
}

static void send_below(struct timer_entry *e, bool early)
{
	struct held *h = CL_CONTAINER_OF(e, struct held, entry);

	if (early) {
		store_fail(h->above, -ECANCELED, "the store is being closed");
		finish(h);
		return;
	}
	h->layer->below->submit(h->layer->below, &h->req);
}

static void delay_submit(struct store *s, struct store_req *r)
{
	struct delay *d = delay_of(s);
	struct held *h = calloc(1, sizeof(*h));
	uint64_t us = (uint64_t)d->base_ms * 1000, random;

	if (h == NULL) {
		store_fail(r, -ENOMEM, "out of memory");
		r->done(r);
		return;
	}
	if (d->jitter_ms > 0) {
		env_system()->random(env_system(), &random, sizeof(random));
		us += random % ((uint64_t)d->jitter_ms * 1000 + 1);
	}
	h->layer = d;
	h->above = r;
	h->start_ns = counters_now_ns();
	h->back_ns = us * 1000 / 2;
	layer_ask(&h->req, r);
	h->req.done = came_back;
	h->req.user = h;
	h->entry.run = send_below;
	timer_add(d->timer, &h->entry, us * 1000 - h->back_ns);
}

static void delay_counters(struct store *s, struct store_counters *ret)
{
	struct delay *d = delay_of(s);

	layer_counters(d->below, &d->counters, ret);
}

static void delay_close(struct store *s)
{
	struct delay *d = delay_of(s);

	timer_stop(d->timer);
	store_close(d->below);
	timer_free(d->timer);
	counters_destroy(&d->counters);
	free(d);
}

int store_delay_open(struct store *below, uint32_t base_ms, uint32_t jitter_ms, struct store **ret)
{
	struct delay *d = calloc(1, sizeof(*d));
	int rc;

	if (d == NULL)
		return err_set(-ENOMEM, "cannot delay %s: out of memory", below->address);
	rc = timer_start(&d->timer);
	if (rc) {
		free(d);
		return rc;
	}
	d->store = (struct store){ .kind = "delay", .address = below->address, .submit = delay_submit, .wait = store_wait_threads,
				   .counters = delay_counters, .close = delay_close };
	d->below = below;
	d->base_ms = base_ms;
	d->jitter_ms = jitter_ms;
	counters_init(&d->counters);
	*ret = &d->store;
	return 0;
}
