/*
 * cache_fetch.c - from the store: which GETs are sent, tried again, given up,
 * and who is told.
 *
 * A block is idle, wanted or under way; adjacent wanted blocks become one GET, several GETs run at once. A GET
 * is with the store (counted in cache.gets and busy) or waits for its next try. Answers:
 *
 *   good             blocks go to cache_fill.c; waiters whose blocks are all idle are resumed with 0 and read again
 *   does not verify  fetched once more, a few times when the transport says so, then ERR_CORRUPT
 *   object missing   ERR_DAMAGED
 *   store away       tried again with growing pauses as long as somebody waits; a waiter with a deadline gets -EIO then (and makes pauses shorter)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache_impl.h"
#include "err.h"
#include "logmsg.h"

#define RETRY_MIN_NS 100000000u
#define RETRY_MAX_NS 5000000000u
#define PAUSE_LEAST_NS 10000000u
#define TRANSIT_TRIES 6u

struct get {
	struct store_req req;
	struct job job;
	struct link link; /* in cache.waiting */
	struct cache *c;
	struct fetch *f;
	struct get *next;
	char key[OBJECT_KEY_MAX];
	bool table, waiting;
	uint32_t first, last;
	unsigned bad, away;
};

/* --- waiters --- */

static void waiter_run(struct job *j)
{
	struct waiter *w = CL_CONTAINER_OF(j, struct waiter, job);
	struct cache *c = w->c;

	w->w->resume(w->w, w->rc);
	free(w);
	pthread_mutex_lock(&c->mu);
	cache_busy(c, -1);
	pthread_mutex_unlock(&c->mu);
}

static struct waiter *new_waiter(struct cache *c, struct volume_wait *w)
{
	struct waiter *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->job.run = waiter_run;
	n->c = c;
	n->w = w;
	cache_busy(c, 1);
	return n;
}

static void answer(struct cache *c, struct waiter *list)
{
	struct waiter *next;

	for (; list; list = next) {
		next = list->next;
		c->o.exec->submit(c->o.exec, EXEC_REPLY, &list->job);
	}
}

int cache_resume_later(struct cache *c, struct volume_wait *w, uint64_t after_ns)
{
	struct waiter *n;

	pthread_mutex_lock(&c->mu);
	n = c->closing ? NULL : new_waiter(c, w);
	pthread_mutex_unlock(&c->mu);
	if (!n)
		return -ESHUTDOWN;
	c->o.exec->submit_at(c->o.exec, EXEC_REPLY, c->o.env->boot_ns(c->o.env) + after_ns, &n->job);
	return ERR_PARKED;
}

static bool pending(const struct fetch *f, uint32_t first, uint32_t last)
{
	uint32_t b;

	for (b = first; b <= last; b++)
		if (f->state[b] != BLOCK_IDLE)
			return true;
	return false;
}

/* Moves waiters that are done to *list: those who touch first..last with rc if it is an error, and those with nothing under way. */
static void take_waiters(struct fetch *f, uint32_t first, uint32_t last, int rc, struct waiter **list)
{
	struct waiter **p = &f->waiters, *w;

	while ((w = *p)) {
		bool touched = w->first <= last && first <= w->last;

		if (!(rc && touched) && pending(f, w->first, w->last)) {
			p = &w->next;
			continue;
		}
		*p = w->next;
		w->rc = touched ? rc : 0;
		w->next = *list;
		*list = w;
	}
}

void cache_fetch_answer(struct cache *c, struct fetch *f)
{
	struct waiter *done = NULL;

	take_waiters(f, 0, SEGMENT_BLOCKS - 1, 0, &done);
	answer(c, done);
}

static void maybe_free(struct cache *c, struct fetch *f)
{
	if (f->gets || f->waiters || f->table_wanted || pending(f, 0, SEGMENT_BLOCKS - 1))
		return;
	link_del(&f->link);
	/* One without a file is forgotten again: perhaps the disk takes the next. */
	if (f->e && !f->e->gone && f->e->pins == 1 && !segment_on_disk(f->e->seg))
		f->e->usage_bytes ? cache_unload(c, f->e) : cache_remove(c, f->e);
	if (f->e)
		cache_unpin(c, f->e);
	free(f);
}

/* --- deadlines --- */

struct expiry { struct job job; struct cache *c; };
static void arm(struct cache *c, uint64_t deadline_ns);

static void expiry_run(struct job *j)
{
	struct expiry *x = CL_CONTAINER_OF(j, struct expiry, job);
	struct cache *c = x->c;
	uint64_t now = c->o.env->boot_ns(c->o.env), next = 0;
	struct waiter *late = NULL, **p, *w;
	struct link *l, *after;

	free(x);
	pthread_mutex_lock(&c->mu);
	c->expiry_ns = 0;
	for (l = c->fetches.next; l != &c->fetches; l = after) {
		struct fetch *f = CL_CONTAINER_OF(l, struct fetch, link);

		after = l->next;
		for (p = &f->waiters; (w = *p);) {
			if (w->deadline_ns == 0 || w->deadline_ns > now) {
				if (w->deadline_ns && (next == 0 || w->deadline_ns < next))
					next = w->deadline_ns;
				p = &w->next;
				continue;
			}
			*p = w->next;
			w->rc = -EIO;
			w->next = late;
			late = w;
		}
		maybe_free(c, f);
	}
	if (next && !c->closing)
		arm(c, next);
	pthread_mutex_unlock(&c->mu);
	answer(c, late);
	pthread_mutex_lock(&c->mu);
	cache_unref_locked(c);
}

static void arm(struct cache *c, uint64_t deadline_ns)
{
	struct expiry *x;

	if (c->expiry_ns && c->expiry_ns <= deadline_ns)
		return;
	x = malloc(sizeof(*x));
	if (!x) /* the next waiter arms it */
		return;
	x->job.run = expiry_run;
	x->c = c;
	c->refs++;
	c->expiry_ns = deadline_ns;
	c->o.exec->submit_at(c->o.exec, EXEC_WORK, deadline_ns, &x->job);
}

/* --- asking --- */

static struct fetch *find_fetch(struct cache *c, uint64_t id)
{
	struct link *l;

	for (l = c->fetches.next; l != &c->fetches; l = l->next) {
		struct fetch *f = CL_CONTAINER_OF(l, struct fetch, link);

		if (f->ref.id == id)
			return f;
	}
	return NULL;
}

static struct fetch *new_fetch(struct cache *c, const struct segment_ref *ref)
{
	struct fetch *f = calloc(1, sizeof(*f));
	struct entry *e;

	if (!f)
		return NULL;
	f->ref = *ref;
	e = cache_find(c, ref->id);
	if (e && e->seg && !e->dying && !e->loading && segment_has_table(e->seg)) {
		e->pins++;
		f->e = e;
	} else {
		f->table_wanted = true;
	}
	link_add(c->fetches.prev, &f->link);
	return f;
}

int cache_fetch(struct cache *c, const struct segment_ref *ref, const bool *need, uint32_t first, uint32_t last, struct volume_wait *w)
{
	struct waiter *n = w ? new_waiter(c, w) : NULL;
	struct fetch *f = w && !n ? NULL : find_fetch(c, ref->id);
	uint32_t b;

	if (!f && (n || !w))
		f = new_fetch(c, ref);
	if (!f) {
		if (n)
			cache_busy(c, -1);
		free(n);
		return -ENOMEM;
	}
	for (b = first; b <= last; b++)
		if (need[b] && f->state[b] == BLOCK_IDLE)
			f->state[b] = BLOCK_WANTED;
	if (n) {
		n->first = first;
		n->last = last;
		n->deadline_ns = w->lsn;
		n->next = f->waiters;
		f->waiters = n;
		if (n->deadline_ns) {
			uint64_t now = c->o.env->boot_ns(c->o.env);

			c->patience_ns = n->deadline_ns > now ? n->deadline_ns - now : 1;
			arm(c, n->deadline_ns);
		}
	}
	return 0;
}

/* --- sending --- */

static void get_done(struct store_req *r)
{
	struct get *g = r->user;

	g->c->o.exec->submit(g->c->o.exec, EXEC_WORK, &g->job);
}

static void send(struct get *g)
{
	const struct segment_ref *ref = &g->f->ref;

	store_req_init(&g->req, STORE_GET);
	g->req.key = g->key;
	g->req.done = get_done;
	g->req.user = g;
	if (g->table) {
		g->req.range_offset = ref->table_offset;
		g->req.range_length = ref->table_len;
	} else {
		const struct object_table *t = segment_table(g->f->e->seg);

		g->req.range_offset = t->blocks[g->first].offset;
		g->req.range_length = (uint64_t)t->blocks[g->last].offset + t->blocks[g->last].stored_len - g->req.range_offset;
	}
	g->c->o.store->submit(g->c->o.store, &g->req);
}

/* The next run of wanted blocks that adjoin in the object; false: none. Elided ones lie between without a byte. */
static bool next_run(struct fetch *f, uint32_t *ret_first, uint32_t *ret_last)
{
	const struct object_table *t = segment_table(f->e->seg);
	uint64_t end = 0, bytes = 0;
	bool any = false;
	uint32_t b;

	for (b = 0; b < SEGMENT_BLOCKS; b++) {
		const struct object_block *k = &t->blocks[b];

		if (k->stored_len == 0) {
			if (f->state[b] == BLOCK_WANTED)
				f->state[b] = BLOCK_IDLE; /* there is nothing to fetch */
			continue;
		}
		if (f->state[b] != BLOCK_WANTED || (any && (k->offset != end || bytes + k->stored_len > CACHE_GET_BYTES))) {
			if (any)
				break;
			continue;
		}
		if (!any)
			*ret_first = b;
		any = true;
		*ret_last = b;
		end = (uint64_t)k->offset + k->stored_len;
		bytes += k->stored_len;
		f->state[b] = BLOCK_UNDER_WAY;
	}
	return any;
}

/* The next GET of f, or NULL: nothing to send (or no memory: whoever waits is told). */
static struct get *next_get(struct cache *c, struct fetch *f, struct waiter **failed)
{
	struct get *g;

	if (!f->table_wanted && !f->e) /* the table is under way */
		return NULL;
	g = calloc(1, sizeof(*g));
	if (!g) {
		f->table_wanted = false;
		memset(f->state, BLOCK_IDLE, sizeof(f->state)); /* GETs under way find theirs idle, and pass */
		take_waiters(f, 0, SEGMENT_BLOCKS - 1, -ENOMEM, failed);
		return NULL;
	}
	g->c = c;
	g->f = f;
	link_init(&g->link);
	g->table = f->table_wanted;
	f->table_wanted = false;
	if (!g->table && !next_run(f, &g->first, &g->last)) {
		free(g);
		return NULL;
	}
	object_key_slot(f->ref.epoch, f->ref.slot, g->key);
	f->gets++;
	c->gets++;
	cache_busy(c, 1);
	return g;
}

/* Jobs run by get_run, below. */
static void get_run(struct job *j);

void cache_pump(struct cache *c)
{
	struct waiter *done = NULL;
	struct get *list = NULL, *g, *next;
	struct link *l, *after;

	pthread_mutex_lock(&c->mu);
	for (l = c->fetches.next; l != &c->fetches; l = after) {
		struct fetch *f = CL_CONTAINER_OF(l, struct fetch, link);

		after = l->next;
		while (!c->closing && c->gets < CACHE_GETS_MAX && (g = next_get(c, f, &done))) {
			g->job.run = get_run;
			g->next = list;
			list = g;
		}
		take_waiters(f, 0, SEGMENT_BLOCKS - 1, 0, &done); /* whose blocks turned out to be nothing */
		maybe_free(c, f);
	}
	pthread_mutex_unlock(&c->mu);
	answer(c, done);
	for (g = list; g; g = next) {
		next = g->next;
		send(g);
	}
}

/* --- receiving --- */

static bool store_away(int rc)
{
	return rc == ERR_UNAVAILABLE || rc == ERR_AUTH || rc == ERR_CLOCK_SKEW || rc == -ENOMEM;
}

/* g is over: rc goes to those who waited for its blocks. */
static void finish(struct get *g, int rc)
{
	struct cache *c = g->c;
	struct fetch *f = g->f;
	struct waiter *done = NULL;
	uint32_t b;

	if (g->table) {
		g->first = 0;
		g->last = SEGMENT_BLOCKS - 1;
	}
	pthread_mutex_lock(&c->mu);
	for (b = g->first; b <= g->last; b++)
		if (rc || !g->table) {
			if (f->state[b] == BLOCK_UNDER_WAY || g->table)
				f->state[b] = BLOCK_IDLE;
		}
	take_waiters(f, g->first, g->last, rc, &done);
	f->gets--;
	c->gets--;
	maybe_free(c, f);
	pthread_mutex_unlock(&c->mu);
	answer(c, done);
	store_req_reset(&g->req);
	free(g);
	cache_pump(c);
	pthread_mutex_lock(&c->mu);
	cache_busy(c, -1);
	pthread_mutex_unlock(&c->mu);
}

/* A reader with a deadline who comes during a pause must see its end: else he is told EIO though the store is back. */
static uint64_t pause_ns(struct get *g, uint64_t patience_ns)
{
	uint64_t max = RETRY_MIN_NS, random;

	if (g->away < 16)
		max <<= g->away;
	if (g->away >= 16 || max > RETRY_MAX_NS)
		max = RETRY_MAX_NS;
	if (patience_ns && max > patience_ns / 4)
		max = patience_ns / 4 > PAUSE_LEAST_NS ? patience_ns / 4 : PAUSE_LEAST_NS;
	g->away++;
	g->c->o.env->random(g->c->o.env, &random, sizeof(random));
	return max / 2 + random % (max / 2);
}

static bool anyone_waits(const struct get *g)
{
	const struct waiter *w;

	for (w = g->f->waiters; w; w = w->next)
		if (g->table || (w->first <= g->last && g->first <= w->last))
			return true;
	return false;
}

/* The store is away: g waits, and the timer owns a reference on the cache. False where nobody waits for it. */
static bool try_later(struct get *g)
{
	struct cache *c = g->c;
	uint64_t at;
	bool wait;

	if (g->away == 4)
		logmsg(LOGMSG_WARNING, "%s/%s: cannot be fetched, and is waited for: %s", c->o.store->address, g->key, g->req.detail);
	store_req_reset(&g->req);
	pthread_mutex_lock(&c->mu);
	wait = !c->closing && anyone_waits(g);
	if (wait) {
		at = c->o.env->boot_ns(c->o.env) + pause_ns(g, c->patience_ns);
		g->waiting = true;
		link_add(&c->waiting, &g->link);
		c->gets--;
		c->refs++;
		c->o.exec->submit_at(c->o.exec, EXEC_WORK, at, &g->job);
		cache_busy(c, -1);
	}
	pthread_mutex_unlock(&c->mu);
	return wait;
}

/* The pause is over: g goes out again, or is freed where the cache was closed meanwhile. */
static void wake(struct get *g)
{
	struct cache *c = g->c;
	bool orphan;

	pthread_mutex_lock(&c->mu);
	orphan = !g->f;
	if (!orphan) {
		link_del(&g->link);
		g->waiting = false;
		c->gets++;
		cache_busy(c, 1);
	}
	cache_unref_locked(c); /* not the last one unless orphaned */
	if (orphan)
		free(g);
	else
		send(g);
}

static int take(struct get *g)
{
	struct cache *c = g->c;
	struct fetch *f = g->f;
	bool fresh = true;
	int rc;

	if (g->req.result)
		return g->req.result;
	if (!g->table)
		return cache_fill_blocks(c, f, g->first, g->last, &g->req);
	rc = cache_fill_table(c, f, g->req.data, g->req.data_len, &fresh);
	if (rc == 0 && !fresh) { /* the file may hold the blocks: let the readers look again first */
		pthread_mutex_lock(&c->mu);
		memset(f->state, BLOCK_IDLE, sizeof(f->state));
		pthread_mutex_unlock(&c->mu);
	}
	return rc;
}

static void get_run(struct job *j)
{
	struct get *g = CL_CONTAINER_OF(j, struct get, job);
	struct cache *c = g->c;
	bool closing;
	int rc;

	if (g->waiting) {
		wake(g);
		return;
	}
	pthread_mutex_lock(&c->mu);
	closing = c->closing;
	pthread_mutex_unlock(&c->mu);
	rc = closing ? -ESHUTDOWN : take(g);
	if (rc == ERR_CORRUPT && g->bad++ == 0) {
		logmsg(LOGMSG_WARNING, "%s/%s: what came back does not match its checksum; fetching it again", c->o.store->address, g->key);
		store_req_reset(&g->req);
		send(g);
		return;
	}
	/* Bytes that were lost on the way say nothing about the object. */
	if (rc == ERR_CORRUPT && g->req.result && g->bad < TRANSIT_TRIES && try_later(g))
		return;
	if (store_away(rc) && try_later(g))
		return;
	if (rc == -ENOENT) {
		logmsg(LOGMSG_ERROR, "%s/%s: this object of the log is missing; data in it cannot be read", c->o.store->address, g->key);
		rc = ERR_DAMAGED;
	} else if (rc == -ECANCELED) {
		rc = -ESHUTDOWN;
	} else if (rc && !store_away(rc) && rc != -ESHUTDOWN) {
		logmsg(LOGMSG_ERROR, "%s/%s: cannot be read: %s", c->o.store->address, g->key,
		       *g->req.detail ? g->req.detail : err_text(rc));
	}
	finish(g, rc);
}

/* --- the end --- */

void cache_fetch_forget(struct cache *c, uint64_t id)
{
	struct fetch *f = find_fetch(c, id);

	if (f)
		f->dropped = true;
}

void cache_fetch_stop(struct cache *c)
{
	struct waiter *done = NULL;
	struct link *l, *after;

	pthread_mutex_lock(&c->mu);
	while (c->waiting.next != &c->waiting) {
		struct get *g = CL_CONTAINER_OF(c->waiting.next, struct get, link);

		link_del(&g->link);
		g->f->gets--;
		g->f = NULL; /* its timer frees it */
	}
	for (l = c->fetches.next; l != &c->fetches; l = after) {
		struct fetch *f = CL_CONTAINER_OF(l, struct fetch, link);

		after = l->next;
		f->table_wanted = false;
		memset(f->state, BLOCK_IDLE, sizeof(f->state));
		take_waiters(f, 0, SEGMENT_BLOCKS - 1, -ESHUTDOWN, &done);
		maybe_free(c, f);
	}
	cache_stage_clear(c);
	pthread_mutex_unlock(&c->mu);
	answer(c, done);
}
