/*
 * check.c - the end of a history: what a fresh machine sees, read-only and by
 * takeover; and that no single object can be missing without being missed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "object.h"
#include "session.h"

static void wait_for_open(struct session *s)
{
	while (!s->opened && !s->failed && !s->p->dead && !s->t->w->stopped)
		coro_sleep(5 * SIM_MS);
}

static void report_check(void *user, const char *line)
{
	struct session *s = user;

	world_violation(s->t->w, "the map is inconsistent (session %u): %s", s->index, line);
}

static void check_map(struct session *s)
{
	int rc;

	engine_lock(s->v);
	rc = meta_check(engine_meta(s->v), report_check, s);
	engine_unlock(s->v, 0);
	if (rc < 0)
		world_violation(s->t->w, "the map cannot be checked: %s", err_text(rc));
}

struct session *check_open(struct trial *t, bool read_only)
{
	struct session *s;
	bool late;

	/* A claim on its way since its sender's death may win the epoch from us; who comes second is told so, and tries again. */
	do {
		late = t->w->store->pending_effects > 0;
		s = session_start(t, node_new(t->w, 1ull << 30), read_only, true);
		wait_for_open(s);
	} while (!t->w->stopped && !s->opened && late && !read_only && s->open_rc == ERR_FENCED);
	if (t->w->stopped)
		return NULL;
	if (!s->opened) {
		world_violation(t->w, "a fresh machine cannot open the volume%s: %s", read_only ? " read-only" : "", err_last());
		return NULL;
	}
	check_map(s);
	return s;
}

void check_close(struct session *s)
{
	session_close(s, false);
	while (!s->closed && !s->p->dead && !s->t->w->stopped)
		coro_sleep(5 * SIM_MS);
}

/* --- one object less --- */

struct slot { uint64_t epoch, slot; struct object_footer f; bool lineage; };
struct logview { struct slot *s; size_t count; uint64_t tip; };

static void view_log(struct trial *t, struct logview *v)
{
	const struct simstore *st = t->w->store;

	v->s = calloc(st->count + 1, sizeof(*v->s));
	if (!v->s)
		abort();
	v->count = 0;
	v->tip = 0;
	for (size_t i = 0; i < st->count; i++) {
		const struct simobject *o = &st->objects[i];
		struct slot *s = &v->s[v->count];

		if (!object_parse_slot_key(o->key, &s->epoch, &s->slot))
			continue;
		if (object_decode_footer(o->blob->data, o->blob->len, o->blob->len, &s->f) != 0) {
			world_violation(t->w, "%s does not decode", o->key);
			return;
		}
		if (s->f.type == OBJECT_OPEN && s->epoch > v->tip)
			v->tip = s->epoch;
		v->count++;
	}
}

static struct slot *view_find(struct logview *v, uint64_t epoch, uint64_t slot)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->s[i].epoch == epoch && v->s[i].slot == slot)
			return &v->s[i];
	return NULL;
}

/* Marks what is part of the volume: from the tip through the parents that opening records name. */
static void mark_lineage(struct logview *v)
{
	uint64_t epoch = v->tip, end = UINT64_MAX;

	while (epoch) {
		struct slot *open = view_find(v, epoch, 0), *s;

		for (uint64_t n = 0; n <= end && (s = view_find(v, epoch, n)) && s->f.type != OBJECT_SEAL; n++)
			s->lineage = true;
		if (!open || !open->f.has_parent)
			break;
		epoch = open->f.parent_epoch;
		end = open->f.parent_slot;
	}
}

static bool after(uint64_t e1, uint64_t s1, uint64_t e2, uint64_t s2)
{
	return e1 != e2 ? e1 > e2 : s1 > s2;
}

/* The newest checkpoint of the lineage: what lies at or before it is not replayed. */
static void newest_manifest(struct trial *t, struct logview *v, uint64_t *ret_epoch, uint64_t *ret_slot)
{
	const struct simstore *st = t->w->store;
	uint64_t e, n;

	*ret_epoch = *ret_slot = 0;
	for (size_t i = 0; i < st->count; i++) {
		struct slot *s;

		if (!object_parse_manifest_key(st->objects[i].key, &e, &n))
			continue;
		s = view_find(v, e, n);
		if (s && s->lineage && after(e, n, *ret_epoch, *ret_slot)) {
			*ret_epoch = e;
			*ret_slot = n;
		}
	}
}

/* Something else in the store proves that this object was there. */
static bool proven(struct logview *v, const struct slot *s)
{
	for (size_t i = 0; i < v->count; i++) {
		const struct slot *o = &v->s[i];

		if (o == s || !o->lineage)
			continue;
		if (o->f.type == OBJECT_CUT && o->f.acked_epoch == s->epoch && o->f.acked_slot >= s->slot && o->epoch == s->epoch)
			return true;
		if (o->f.type == OBJECT_OPEN && o->f.has_parent && o->f.parent_epoch == s->epoch && o->f.parent_slot >= s->slot)
			return true;
	}
	return false;
}

struct try_open { struct trial *t; struct proc *p; bool read_only, done; int rc; char message[512]; };

static void open_damaged(void *arg)
{
	struct try_open *y = arg;
	struct volume_options o = y->t->base_options;
	struct volume *v = NULL;

	o.store = &y->p->store;
	o.disk = &y->p->disk;
	o.env = &y->p->env;
	o.exec = &y->p->exec;
	o.meta_dir = y->p->meta_dir;
	o.node = y->p->n->name;
	o.read_only = y->read_only;
	o.takeover = true;
	err_clear();
	y->rc = volume_open(&o, &v);
	snprintf(y->message, sizeof y->message, "%s", err_last());
	if (y->rc == 0)
		volume_close(v, false, NULL, NULL);
	y->done = true;
	proc_exit(y->p);
}

static void must_refuse(struct trial *t, struct node *n, const char *key, bool read_only)
{
	struct try_open *y = world_alloc(t->w, sizeof *y);
	size_t objects = t->w->store->count;

	y->t = t;
	y->p = proc_start(n);
	y->read_only = read_only;
	world_at(t->w, y->p, 0, 'D', open_damaged, y);
	while (!y->done && !t->w->stopped)
		coro_sleep(5 * SIM_MS);
	if (t->w->stopped)
		return;
	t->damage_checks++;
	if (y->rc != ERR_DAMAGED)
		world_violation(t->w, "V1: without %s, opening%s gave %s (%s), not ERR_DAMAGED", key, read_only ? " read-only" : "", err_text(y->rc),
				y->message);
	else if (!strstr(y->message, key))
		world_violation(t->w, "V1: the message about the missing %s does not name it: %s", key, y->message);
	else if (t->w->store->count != objects)
		world_violation(t->w, "V1: opening a damaged volume changed the store");
}

/* --- one bit less --- */

struct try_rotten { struct trial *t; struct proc *p; struct model *m; const char *key; bool done; };

/* Whatever bit is wrong: an error, or the right bytes. */
static void open_rotten(void *arg)
{
	struct try_rotten *y = arg;
	struct session s = { .t = y->t, .p = y->p, .n = y->p->n, .read_only = true };
	struct volume_options o = y->t->base_options;
	char diff[300];
	int rc;

	o.store = &y->p->store;
	o.disk = &y->p->disk;
	o.env = &y->p->env;
	o.exec = &y->p->exec;
	o.meta_dir = y->p->meta_dir;
	o.node = y->p->n->name;
	o.read_only = true;
	rc = volume_open(&o, &s.v);
	if (rc == 0) {
		rc = compare_tree(&s, y->m, diff, sizeof diff);
		if (rc > 0)
			world_violation(y->t->w, "V8: with a bit of %s flipped, %s", y->key, diff);
		volume_close(s.v, false, NULL, NULL);
	} else if (rc != ERR_CORRUPT && rc != ERR_DAMAGED && rc != ERR_NEWER_FORMAT && rc != ERR_NOT_A_VOLUME) {
		world_violation(y->t->w, "V8: with a bit of %s flipped, opening gave %s (%s)", y->key, err_text(rc), err_last());
	}
	y->done = true;
	proc_exit(y->p);
}

static void rot_one(struct trial *t, struct node *n, struct model *m)
{
	struct simstore *st = t->w->store;
	size_t i = rng_below(&t->w->rng, st->count);
	const struct simobject *o = &st->objects[i];
	struct simblob *b = simblob_ref(o->blob), *bad = simblob_new(o->blob->data, o->blob->len);
	struct try_rotten *y = world_alloc(t->w, sizeof *y);
	char key[STORE_KEY_MAX];

	snprintf(key, sizeof key, "%s", o->key);
	if (bad->len) {
		bad->data[rng_below(&t->w->rng, bad->len)] ^= (uint8_t)(1u << rng_below(&t->w->rng, 8));
		simstore_set(st, key, bad->data, bad->len);
		world_trace(t->w, "a bit of %s flips", key);
		*y = (struct try_rotten){ .t = t, .p = proc_start(n), .m = m, .key = key };
		world_at(t->w, y->p, 0, 'D', open_rotten, y);
		while (!y->done && !t->w->stopped)
			coro_sleep(5 * SIM_MS);
		if (!t->w->stopped)
			simstore_set(st, key, b->data, b->len);
	}
	simblob_unref(b);
	simblob_unref(bad);
}

static void damage(struct trial *t, struct model *m)
{
	struct node *n = node_new(t->w, 1ull << 30);
	struct logview v;
	uint64_t me, ms;
	size_t i, tried = 0;

	view_log(t, &v);
	mark_lineage(&v);
	newest_manifest(t, &v, &me, &ms);
	for (unsigned k = 0; k < 40 && tried < 2 && v.count && !t->w->stopped; k++) {
		char key[OBJECT_KEY_MAX];
		struct simblob *b;

		i = rng_below(&t->w->rng, v.count);
		if (!v.s[i].lineage || !after(v.s[i].epoch, v.s[i].slot, me, ms) || !proven(&v, &v.s[i]))
			continue;
		object_key_slot(v.s[i].epoch, v.s[i].slot, key);
		b = simblob_ref(simstore_find(t->w->store, key)->blob);
		simstore_remove(t->w->store, key);
		world_trace(t->w, "removing %s", key);
		must_refuse(t, n, key, true);
		if (!t->w->stopped)
			must_refuse(t, n, key, false);
		simstore_set(t->w->store, key, b->data, b->len);
		simblob_unref(b);
		tried++;
	}
	free(v.s);
	for (unsigned k = 0; k < 2 && !t->w->stopped; k++)
		rot_one(t, n, m);
}

/* --- the end --- */

static void settle(struct trial *t)
{
	uint64_t until = t->w->now_ns + 600 * SIM_S;
	struct simdisk_faults none = { 0 };

	t->quiet = true;
	memset(&t->w->store->weather, 0, sizeof t->w->store->weather);
	for (unsigned i = 0; i < t->w->node_count; i++) {
		simdisk_set_faults(t->w->nodes[i]->disk, &none);
		simdisk_set_capacity(t->w->nodes[i]->disk, 4ull << 30);
		if (t->w->nodes[i]->proc) {
			t->w->nodes[i]->proc->crash_at = 0;
			proc_thaw(t->w->nodes[i]->proc);
		}
	}
	for (struct session *s = t->sessions; s; s = s->next) {
		while (!s->p->dead && !t->w->stopped && (s->opening || s->clients || s->held) && t->w->now_ns < until)
			coro_sleep(20 * SIM_MS);
		if (!s->p->dead && !t->w->stopped && (s->clients || s->held))
			world_violation(t->w, "V9: session %u still holds %" PRIu64 " calls long after the store came back", s->index, s->held);
		else if (!s->p->dead && !t->w->stopped && s->opening)
			world_violation(t->w, "V9: session %u never finished opening", s->index);
	}
}

static void end_sessions(struct trial *t, bool *ret_alive)
{
	struct rng *r = &t->w->rng;

	*ret_alive = false;
	for (struct session *s = t->sessions; s; s = s->next) {
		if (s->p->dead)
			continue;
		switch (rng_below(r, 5)) {
		case 0:
			proc_crash(s->p, CRASH_KILL);
			break;
		case 1:
			proc_crash(s->p, CRASH_POWER);
			break;
		case 2:
			*ret_alive = true;
			break;
		default:
			session_close(s, rng_permille(r, 600));
		}
	}
	for (struct session *s = t->sessions; s; s = s->next) {
		uint64_t until = t->w->now_ns + 300 * SIM_S;

		while (!s->p->dead && s->stopping && !s->closed && !t->w->stopped && t->w->now_ns < until)
			coro_sleep(10 * SIM_MS);
		if (!s->p->dead && s->stopping && !s->closed && !t->w->stopped)
			world_violation(t->w, "V9: session %u does not come to a close", s->index);
	}
}

void trial_check_end(struct trial *t)
{
	struct session *ro, *rw;
	uint64_t lsn;
	size_t base;
	bool alive, calm;

	settle(t);
	if (!t->w->stopped)
		end_sessions(t, &alive);
	if (t->w->stopped)
		return;
	if (rng_permille(&t->w->rng, 700))
		while (t->w->store->pending_effects && !alive)
			coro_sleep(SIM_S);
	calm = !alive && !t->w->store->pending_effects;
	ro = check_open(t, true);
	if (!ro)
		return;
	lsn = ro->lsn_open;
	base = ro->base;
	check_close(ro);
	if (calm && !t->w->stopped)
		damage(t, ro->m);
	if (t->w->stopped)
		return;
	rw = check_open(t, false);
	if (!rw)
		return;
	/* LSNs alone may have grown: a writer reaps what was open and has no name. */
	if (calm && rw->base != base)
		world_violation(t->w, "V1: read-only shows %zu operations, the takeover %zu", base, rw->base);
	if (rw->lsn_open < lsn)
		world_violation(t->w, "V1: the takeover goes back from LSN %" PRIu64 " to %" PRIu64, lsn, rw->lsn_open);
	check_close(rw);
	/* What the taker left must itself be a volume. */
	if (!t->w->stopped)
		ro = check_open(t, true);
}
