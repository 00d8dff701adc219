/*
 * simstore.c - the object store of a simulated world.
 *
 * Strongly consistent: a request has its effect at one instant between submit
 * and answer, and whatever completed with 0 is seen by all that are submitted later. Everything else is
 * weather: answers that are lost, effects that come long after the answer (and after the sender died), 412 after
 * one's own success, storms, outages, short bodies and flipped bits.
 *
 * What must never happen is checked here: an object under log/ or epochs/ written over,
 * created without a condition, or deleted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "world.h"

#define SERVER_BASE_S 1767225600

struct simreq {
	struct simreq *next, **link;
	struct simstore *s;
	struct proc *p;
	struct store_req *r;         /* NULL once its process died */
	struct coro *waiter;
	enum store_op op;
	char *key, *source_key, *start_after, *if_match, *delimiter;
	struct simblob *body;
	char **keys;
	size_t key_count;
	bool if_none_match, range_suffix;
	uint64_t range_offset, range_length;
	unsigned max_keys;
	/* the plan */
	int answer;                  /* 1 = as the effect has it */
	bool ambiguous, has_effect, flip, own_412;
	bool effected, answered;
	/* what the effect found */
	int result;
	struct simblob *data;
	uint64_t version, object_size;
	int64_t mtime_s;
	struct store_entry *entries;
	size_t entry_count;
	bool truncated;
};

/* --- objects --- */

struct simblob *simblob_new(const void *p, size_t len)
{
	struct simblob *b = malloc(sizeof *b + len);

	if (!b)
		abort();
	b->refs = 1;
	b->len = len;
	if (len)
		memcpy(b->data, p, len);
	return b;
}

struct simblob *simblob_ref(struct simblob *b)
{
	b->refs++;
	return b;
}

void simblob_unref(struct simblob *b)
{
	if (b && --b->refs == 0)
		free(b);
}

struct simstore *simstore_new(struct world *w)
{
	struct simstore *s = world_alloc(w, sizeof *s);

	s->w = w;
	return s;
}

/* The first object whose key is not below key. */
static size_t lower(const struct simstore *s, const char *key)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (strcmp(s->objects[mid].key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct simobject *find(struct simstore *s, const char *key)
{
	size_t i = lower(s, key);

	return i < s->count && !strcmp(s->objects[i].key, key) ? &s->objects[i] : NULL;
}

const struct simobject *simstore_find(struct simstore *s, const char *key)
{
	return find(s, key);
}

static int64_t server_time(const struct simstore *s)
{
	return SERVER_BASE_S + (int64_t)(s->w->now_ns / SIM_S);
}

static struct simobject *set(struct simstore *s, const char *key, struct simblob *blob)
{
	size_t i = lower(s, key);
	struct simobject *o;

	if (i == s->count || strcmp(s->objects[i].key, key) != 0) {
		if (s->count == s->cap) {
			s->cap = s->cap ? s->cap * 2 : 64;
			s->objects = realloc(s->objects, s->cap * sizeof(*s->objects));
			if (!s->objects)
				abort();
		}
		memmove(&s->objects[i + 1], &s->objects[i], (s->count - i) * sizeof(*s->objects));
		s->count++;
		memset(&s->objects[i], 0, sizeof s->objects[i]);
		s->objects[i].key = strdup(key);
		if (!s->objects[i].key)
			abort();
	}
	o = &s->objects[i];
	simblob_unref(o->blob);
	o->blob = simblob_ref(blob);
	o->version = ++s->version;
	o->mtime_s = server_time(s);
	return o;
}

void simstore_set(struct simstore *s, const char *key, const void *data, size_t len)
{
	struct simblob *b = simblob_new(data, len);

	set(s, key, b);
	simblob_unref(b);
}

bool simstore_remove(struct simstore *s, const char *key)
{
	struct simobject *o = find(s, key);

	if (!o)
		return false;
	free(o->key);
	simblob_unref(o->blob);
	s->count--;
	memmove(o, o + 1, (size_t)(&s->objects[s->count] - o) * sizeof(*o));
	return true;
}

static void free_entries(struct simreq *q)
{
	for (size_t i = 0; i < q->entry_count; i++)
		free(q->entries[i].key);
	free(q->entries);
	q->entries = NULL;
	q->entry_count = 0;
}

static void req_free(struct simreq *q)
{
	*q->link = q->next;
	if (q->next)
		q->next->link = q->link;
	free_entries(q);
	simblob_unref(q->body);
	simblob_unref(q->data);
	for (size_t i = 0; i < q->key_count; i++)
		free(q->keys[i]);
	free(q->keys);
	free(q->key);
	free(q->source_key);
	free(q->start_after);
	free(q->if_match);
	free(q->delimiter);
	free(q);
}

void simstore_free(struct simstore *s)
{
	while (s->reqs)
		req_free(s->reqs);
	while (s->count)
		simstore_remove(s, s->objects[s->count - 1].key);
	free(s->objects);
	s->objects = NULL;
}

/* --- effects --- */

static bool immutable(const char *key)
{
	return !strncmp(key, "log/", 4) || !strncmp(key, "epochs/", 7);
}

static bool etag_is(const struct simobject *o, const char *etag)
{
	char own[STORE_ETAG_MAX];

	snprintf(own, sizeof own, "%016llx", (unsigned long long)o->version);
	return !strcmp(own, etag);
}

/* When each epoch's log last grew: what a lease is measured against. */
static void note_log(struct simstore *s, const char *key)
{
	unsigned long long epoch;

	if (sscanf(key, "log/%llu/", &epoch) == 1 && epoch < SIMSTORE_EPOCHS)
		s->last_log_ns[epoch] = s->w->now_ns;
}

static void effect_put(struct simreq *q)
{
	struct simstore *s = q->s;
	struct simobject *o = find(s, q->key);
	bool overwrite = s->w->brk == BREAK_STORE_OVERWRITES && q->if_none_match && immutable(q->key);

	if (immutable(q->key) && !q->if_none_match)
		world_violation(s->w, "V2: PUT %s without if-none-match", q->key);
	if (o && q->if_none_match && !overwrite) {
		q->result = ERR_PRECONDITION;
		if (s->w->brk == BREAK_STORE_412_LIES && immutable(q->key))
			q->result = 0;
		return;
	}
	if (q->if_match && (!o || !etag_is(o, q->if_match))) {
		q->result = o ? ERR_PRECONDITION : -ENOENT;
		return;
	}
	if (o && immutable(q->key) &&
	    (o->blob->len != q->body->len || memcmp(o->blob->data, q->body->data, o->blob->len) != 0))
		world_violation(s->w, "V2: %s was written over with other bytes", q->key);
	o = set(s, q->key, q->body);
	note_log(s, q->key);
	q->version = o->version;
	q->result = 0;
	s->effects++;
}

static void effect_get(struct simreq *q)
{
	struct simobject *o = find(q->s, q->key);
	uint64_t off, len;

	q->result = o ? 0 : -ENOENT;
	if (!o)
		return;
	q->version = o->version;
	q->mtime_s = o->mtime_s;
	q->object_size = o->blob->len;
	if (q->op == STORE_HEAD)
		return;
	off = q->range_suffix ? (q->range_length < o->blob->len ? o->blob->len - q->range_length : 0) : q->range_offset;
	off = off < o->blob->len ? off : o->blob->len;
	len = o->blob->len - off;
	if (!q->range_suffix && q->range_length < len)
		len = q->range_length;
	q->data = simblob_new(o->blob->data + off, len);
	if (q->flip && len > 0)
		q->data->data[rng_below(&q->s->w->rng, len)] ^= (uint8_t)(1u << rng_below(&q->s->w->rng, 8));
}

static void add_entry(struct simreq *q, const char *key, size_t len, const struct simobject *o)
{
	struct store_entry *e;

	q->entries = realloc(q->entries, (q->entry_count + 1) * sizeof(*q->entries));
	if (!q->entries)
		abort();
	e = &q->entries[q->entry_count++];
	memset(e, 0, sizeof *e);
	e->key = strndup(key, len);
	if (!e->key)
		abort();
	if (o) {
		e->size_bytes = o->blob->len;
		e->mtime_s = o->mtime_s;
		snprintf(e->etag, sizeof e->etag, "%016llx", (unsigned long long)o->version);
	}
}

static void effect_list(struct simreq *q)
{
	struct simstore *s = q->s;
	unsigned max = q->max_keys ? q->max_keys : STORE_LIST_MAX;
	size_t plen = strlen(q->key), i = lower(s, q->key);

	q->result = 0;
	for (; i < s->count; i++) {
		const struct simobject *o = &s->objects[i];
		const char *cut = NULL;
		size_t len = strlen(o->key);

		if (strncmp(o->key, q->key, plen) != 0)
			break;
		if (q->start_after && strcmp(o->key, q->start_after) <= 0)
			continue;
		if (s->w->brk == BREAK_STORE_STALE_LIST && immutable(o->key) && o->mtime_s + 3 > server_time(s))
			continue;
		if (q->delimiter)
			cut = strstr(o->key + plen, q->delimiter);
		if (cut) {
			len = (size_t)(cut - o->key) + strlen(q->delimiter);
			if (q->entry_count && !strncmp(q->entries[q->entry_count - 1].key, o->key, len) &&
			    q->entries[q->entry_count - 1].key[len] == '\0')
				continue;
		}
		if (q->entry_count == max) {
			q->truncated = true;
			break;
		}
		add_entry(q, o->key, len, cut ? NULL : o);
	}
}

static void effect_delete(struct simreq *q)
{
	q->result = 0;
	for (size_t i = 0; i < q->key_count; i++) {
		struct simobject *o = find(q->s, q->keys[i]);

		if (q->if_match && (!o || !etag_is(o, q->if_match))) {
			q->result = ERR_PRECONDITION;
			return;
		}
		if (o && immutable(q->keys[i]))
			world_violation(q->s->w, "V2/V6: %s was deleted", q->keys[i]);
		simstore_remove(q->s, q->keys[i]);
		q->s->effects++;
	}
}

static void effect_copy(struct simreq *q)
{
	struct simobject *o = find(q->s, q->source_key);
	struct simblob *b;

	q->result = o ? 0 : -ENOENT;
	if (!o)
		return;
	b = simblob_ref(o->blob);
	if (immutable(q->key))
		world_violation(q->s->w, "V2: COPY onto %s", q->key);
	set(q->s, q->key, b);
	simblob_unref(b);
}

static void effect_of(struct simreq *q)
{
	switch (q->op) {
	case STORE_PUT:
		effect_put(q);
		break;
	case STORE_GET:
	case STORE_HEAD:
		effect_get(q);
		break;
	case STORE_LIST:
		effect_list(q);
		break;
	case STORE_DELETE:
		effect_delete(q);
		break;
	case STORE_COPY:
		effect_copy(q);
		break;
	default:
		q->result = ERR_UNSUPPORTED;
	}
	/* The probe takes its names from the system, not from the seed. */
	world_hash(q->s->w, hash_xxh3(q->key, strncmp(q->key, "probe/", 6) ? strlen(q->key) : 6, (uint64_t)q->op) ^ (uint64_t)(int64_t)q->result);
	if (q->s->w->verbose)
		world_trace(q->s->w, "  store: %s %s from %s/%u: %d%s",
			    ((const char *const[]){ "PUT", "GET", "HEAD", "LIST", "DELETE", "COPY" })[q->op], q->key,
			    q->p->n->name, q->p->index, q->result, q->r ? "" : " (its sender is dead)");
}

/* --- answers --- */

static void deliver(struct simreq *q)
{
	struct store_req *r = q->r;
	int rc = q->answer == 1 ? q->result : q->answer;

	r->server_time_s = server_time(q->s);
	r->result = rc;
	r->ambiguous = rc != 0 && q->ambiguous;
	if (rc) {
		snprintf(r->detail, sizeof r->detail, "simulated: %s", err_text(rc));
		return;
	}
	r->object_size = q->object_size;
	r->mtime_s = q->mtime_s;
	if (q->version)
		snprintf(r->etag, sizeof r->etag, "%016llx", (unsigned long long)q->version);
	if (q->data) {
		r->data = malloc(q->data->len + 1);
		if (!r->data)
			abort();
		memcpy(r->data, q->data->data, q->data->len);
		r->data_len = q->data->len;
	}
	r->entries = q->entries;
	r->entry_count = q->entry_count;
	r->truncated = q->truncated;
	q->entries = NULL;
	q->entry_count = 0;
}

static void maybe_free(struct simreq *q)
{
	if ((q->effected || !q->has_effect) && (q->answered || !q->r))
		req_free(q);
}

static void on_effect(void *arg)
{
	struct simreq *q = arg;

	q->s->pending_effects--;
	q->effected = true;
	effect_of(q);
	if (q->own_412 && q->result == 0)
		q->answer = ERR_PRECONDITION;
	maybe_free(q);
}

static void on_answer(void *arg)
{
	struct simreq *q = arg;
	struct store_req *r = q->r;
	struct coro *waiter;

	if (!r)
		return;
	deliver(q);
	q->answered = true;
	waiter = q->waiter;
	r->layer = NULL;
	maybe_free(q);
	r->done(r);
	if (waiter)
		coro_wake(waiter, 0);
}

/* --- the plan: what becomes of a request --- */

static uint64_t latency(struct simstore *s, bool slow)
{
	struct rng *r = &s->w->rng;

	if (slow)
		return rng_skewed(r, 200 * SIM_MS, 20 * SIM_S);
	return rng_permille(r, 30) ? rng_range(r, 20 * SIM_MS, 900 * SIM_MS) : rng_range(r, SIM_MS, 20 * SIM_MS);
}

static void plan(struct simreq *q, uint64_t deadline_ns, uint64_t *ret_effect_ns, uint64_t *ret_answer_ns)
{
	struct simstore *s = q->s;
	const struct weather *we = &s->weather;
	struct rng *r = &s->w->rng;
	bool writes = q->op == STORE_PUT || q->op == STORE_DELETE || q->op == STORE_COPY;
	unsigned dice = (unsigned)rng_below(r, 1000);

	q->answer = 1;
	q->has_effect = true;
	*ret_effect_ns = latency(s, rng_permille(r, we->slow));
	*ret_answer_ns = *ret_effect_ns + latency(s, rng_permille(r, we->slow));
	if (we->refuse) {
		q->has_effect = false;
		q->answer = we->refuse;
		return;
	}
	if (we->away || we->storm) {
		q->has_effect = writes && rng_permille(r, we->storm ? 100 : 30);
		q->answer = ERR_UNAVAILABLE;
		q->ambiguous = writes && (q->has_effect || we->away || rng_permille(r, 500));
		if (we->away) {
			*ret_answer_ns = deadline_ns;
			*ret_effect_ns = rng_below(r, 2 * deadline_ns);
		}
		return;
	}
	if (*ret_answer_ns > deadline_ns) { /* the caller gives up first; the request goes on its way */
		q->answer = ERR_UNAVAILABLE;
		q->ambiguous = writes;
		*ret_answer_ns = deadline_ns;
	}
	if (dice < we->fail_clean) {
		q->has_effect = false;
		q->answer = ERR_UNAVAILABLE;
		q->ambiguous = false;
		return;
	}
	dice -= we->fail_clean;
	if (!writes) {
		if (q->op == STORE_GET && dice < we->get_error)
			q->answer = ERR_CORRUPT;
		else if (q->op == STORE_GET && dice < we->get_error + we->get_flip)
			q->flip = true;
		return;
	}
	if (dice < we->fail_ambiguous) {
		q->has_effect = false;
		q->answer = ERR_UNAVAILABLE;
		q->ambiguous = true;
	} else if ((dice -= we->fail_ambiguous) < we->lost_reply) {
		q->answer = ERR_UNAVAILABLE;
		q->ambiguous = true;
	} else if ((dice -= we->lost_reply) < we->late) {
		q->answer = ERR_UNAVAILABLE;
		q->ambiguous = true;
		*ret_effect_ns = *ret_answer_ns + rng_skewed(r, 1, 300 * SIM_S);
	} else if ((dice -= we->late) < we->own_412 && q->if_none_match) {
		q->own_412 = true;
		q->ambiguous = rng_permille(r, 500);
	}
}

static void break_plan(struct simreq *q, uint64_t *effect_ns)
{
	struct rng *r = &q->s->w->rng;

	if (q->op != STORE_PUT || strncmp(q->key, "log/", 4) != 0 || q->answer != 1)
		return;
	if (q->s->w->brk == BREAK_STORE_ACKS_EARLY && rng_permille(r, 200)) {
		q->answer = 0;
		*effect_ns += rng_range(r, 5 * SIM_S, 60 * SIM_S);
	}
	if (q->s->w->brk == BREAK_STORE_LOSES && rng_permille(r, 60)) {
		q->answer = 0;
		q->has_effect = false;
	}
}

/* --- the table of functions --- */

static char *copy(const char *t)
{
	char *c = t ? strdup(t) : NULL;

	if (t && !c)
		abort();
	return c;
}

static struct simblob *gather(const struct store_req *r)
{
	size_t len = 0, at = 0;
	struct simblob *b;

	for (size_t i = 0; i < r->body_count; i++)
		len += r->body[i].iov_len;
	b = simblob_new(NULL, 0);
	b = realloc(b, sizeof *b + len);
	if (!b)
		abort();
	b->len = len;
	for (size_t i = 0; i < r->body_count; i++) {
		if (r->body[i].iov_len)
			memcpy(b->data + at, r->body[i].iov_base, r->body[i].iov_len);
		at += r->body[i].iov_len;
	}
	return b;
}

static struct simreq *req_new(struct simstore *s, struct proc *p, struct store_req *r)
{
	struct simreq *q = calloc(1, sizeof *q);

	if (!q)
		abort();
	q->s = s;
	q->p = p;
	q->r = r;
	q->op = r->op;
	q->key = copy(r->key ? r->key : "");
	q->source_key = copy(r->source_key);
	q->start_after = copy(r->start_after);
	q->delimiter = copy(r->delimiter);
	q->if_match = copy(r->if_match);
	q->if_none_match = r->if_none_match;
	q->range_offset = r->range_offset;
	q->range_length = r->range_length;
	q->range_suffix = r->range_suffix;
	q->max_keys = r->max_keys;
	if (r->op == STORE_PUT)
		q->body = gather(r);
	if (r->key_count) {
		q->keys = calloc(r->key_count, sizeof(*q->keys));
		if (!q->keys)
			abort();
		q->key_count = r->key_count;
		for (size_t i = 0; i < r->key_count; i++)
			q->keys[i] = copy(r->keys[i]);
	}
	q->next = s->reqs;
	if (q->next)
		q->next->link = &q->next;
	q->link = &s->reqs;
	s->reqs = q;
	return q;
}

static void fail_now(struct store_req *r, int rc)
{
	r->result = rc;
	r->ambiguous = false;
	snprintf(r->detail, sizeof r->detail, "simulated: %s", err_text(rc));
	r->layer = NULL;
	r->done(r);
}

static void store_submit(struct store *st, struct store_req *r)
{
	struct proc *p = CL_CONTAINER_OF(st, struct proc, store);
	struct simstore *s = p->w->store;
	uint64_t effect_ns, answer_ns;
	struct simreq *q;
	bool die_after;

	s->requests++;
	if (proc_op(p, &die_after)) {
		/* A dead machine hears nothing; whoever waits for the answer is unwound. */
		r->layer = NULL;
		r->result = ERR_CRASHED;
		if (r->done == store_wait_done)
			fail_now(r, ERR_CRASHED);
		return;
	}
	q = req_new(s, p, r);
	r->layer = q;
	plan(q, (r->deadline_ms ? r->deadline_ms : 30000) * SIM_MS, &effect_ns, &answer_ns);
	break_plan(q, &effect_ns);
	if (q->answer == 1 && effect_ns > answer_ns)
		effect_ns = answer_ns;
	if (q->has_effect) {
		s->pending_effects++;
		world_at(p->w, NULL, effect_ns, 'E', on_effect, q);
	}
	world_at(p->w, p, answer_ns, 'A', on_answer, q);
	if (die_after)
		proc_crash(p, p->crash_kind);
}

/* Its requests lose their owner. A coroutine that waits for one gets ERR_CRASHED. */
void simstore_proc_dead(struct simstore *s, struct proc *p)
{
	struct simreq *q, *next;

	for (q = s->reqs; q; q = next) {
		struct store_req *r = q->r;

		next = q->next;
		if (q->p != p || !r || q->answered)
			continue;
		q->r = NULL;
		if (r->done == store_wait_done) {
			struct coro *waiter = q->waiter;

			fail_now(r, ERR_CRASHED);
			if (waiter)
				coro_wake(waiter, 0);
		} else {
			r->layer = NULL;
			r->result = ERR_CRASHED;
		}
		maybe_free(q);
	}
}

static void store_do_wait(struct store *st, struct store_req *r)
{
	while (r->layer) {
		struct simreq *q = r->layer;

		q->waiter = coro_self();
		coro_block();
	}
	store_wait_threads(st, r);
}

static void store_counters_zero(struct store *st, struct store_counters *ret)
{
	(void)st;
	memset(ret, 0, sizeof *ret);
}

static void store_do_close(struct store *st)
{
	(void)st;
}

void simstore_attach(struct simstore *s, struct proc *p)
{
	(void)s;
	p->store = (struct store){
		.kind = "sim", .address = "sim://world", .submit = store_submit, .wait = store_do_wait,
		.counters = store_counters_zero, .close = store_do_close,
	};
}
