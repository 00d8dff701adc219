/*
 * scenario.c - what happens to the machines: the director of a history. Every number comes from the seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "object.h"
#include "segment.h"
#include "session.h"

struct scenario { const char *name; void (*shape)(struct plan *p, struct rng *r); };

static void shape_mixed(struct plan *p, struct rng *r)
{
	p->nodes = (unsigned)rng_range(r, 1, 3);
	p->crash = (unsigned)rng_below(r, 100);
	p->power = (unsigned)rng_below(r, 100);
	p->freeze = rng_permille(r, 300) ? 100 : 0;
	p->takeover = (unsigned)rng_below(r, 600);
	p->follower = (unsigned)rng_below(r, 200);
	p->storm = rng_permille(r, 300) ? 50 : 0;
	p->away = rng_permille(r, 200) ? 40 : 0;
	p->wipe = rng_permille(r, 300) ? 60 : 0;
	p->rot = rng_permille(r, 200) ? 200 : 0;
	p->close = 60;
	p->skew = 100;
	p->image = rng_permille(r, 250) ? 200 : 0;
	p->crash_point = 300;
}

static void shape_single(struct plan *p, struct rng *r)
{
	p->nodes = 1;
	p->crash_point = 900;
	p->power = 60;
	p->crash = 40;
	p->close = (unsigned)rng_below(r, 60);
}

static void shape_takeover(struct plan *p, struct rng *r)
{
	p->nodes = (unsigned)rng_range(r, 2, 3);
	p->takeover = 900;
	p->crash = 30;
	p->freeze = (unsigned)rng_below(r, 100);
	p->crash_point = 300;
	p->follower = 100;
	p->weather.late = 60;
	p->weather.lost_reply = 60;
}

static void shape_race(struct plan *p, struct rng *r)
{
	p->nodes = 3;
	p->takeover = 1000;
	p->crash = 100;
	p->crash_point = 700;
	p->step_ns = rng_range(r, 50, 500) * SIM_MS;
	p->weather.late = 100;
	p->weather.lost_reply = 100;
	p->weather.own_412 = 100;
	p->weather.slow = 200;
}

static void shape_weather(struct plan *p, struct rng *r)
{
	shape_mixed(p, r);
	p->weather = (struct weather){ .fail_clean = 80, .fail_ambiguous = 60, .lost_reply = 80, .late = 60, .own_412 = 80, .get_error = 50,
				       .get_flip = 0, .slow = 100 };
	p->storm = 100;
	p->away = 60;
}

static void shape_disk(struct plan *p, struct rng *r)
{
	p->nodes = (unsigned)rng_range(r, 1, 2);
	p->disk_fault = 200;
	p->power = 100;
	p->crash_point = 500;
	p->takeover = 200;
	p->rot = 150;
	p->disk_bytes = rng_permille(r, 400) ? rng_range(r, 40, 90) << 20 : p->disk_bytes;
}

static void shape_freeze(struct plan *p, struct rng *r)
{
	p->nodes = 2;
	p->freeze = 300;
	p->seize = 600;
	p->takeover = 800;
	p->think_ns = rng_range(r, 5, 50) * SIM_MS;
	p->max_lag_ms = rng_range(r, 300, 3000);
	if (rng_permille(r, 700))
		p->durability = VOLUME_DURABILITY_LOCAL;
}

static void shape_big(struct plan *p, struct rng *r)
{
	shape_mixed(p, r);
	p->meddle = 300;
	p->max_write = VOLUME_WRITE_MAX;
	p->cache_bytes = rng_range(r, 64, 128) << 20;
	p->steps = 12;
}

static void shape_checkpoint(struct plan *p, struct rng *r)
{
	shape_mixed(p, r);
	p->checkpoint_bytes = rng_range(r, 256, 8192);
	p->commit_interval_ms = 50;
	p->weather.late = 40;
}

/* Long outages with much to send afterwards: queued cuts give their memory back, and the budget fills up. */
static void shape_outage(struct plan *p, struct rng *r)
{
	shape_mixed(p, r);
	p->nodes = 1 + (unsigned)rng_below(r, 2);
	p->away = 150;
	p->max_lag_ms = rng_permille(r, 700) ? UINT64_MAX : 60000;
	p->durability = VOLUME_DURABILITY_LOCAL;
	p->commit_interval_ms = rng_range(r, 20, 300);
	p->cache_bytes = rng_range(r, 64, 600) << 20;
	p->crash = 40;
	p->step_ns = rng_range(r, 1, 10) * SIM_S;
	p->think_ns = rng_range(r, 20, 200) * SIM_MS;
}

/* A cache that holds little of what is read. */
static void shape_cache(struct plan *p, struct rng *r)
{
	shape_mixed(p, r);
	p->cache_bytes = rng_range(r, 60, 80) << 20;
	p->commit_interval_ms = rng_range(r, 20, 200);
	p->meddle = 200;
	p->reads = 500;
	p->rot = 200;
}

/* Much metadata in one cut. */
static void shape_bulk(struct plan *p, struct rng *r)
{
	shape_mixed(p, r);
	p->commit_interval_ms = rng_range(r, 2, 5) * 1000;
	p->max_lag_ms = 20000;
	p->big_xattrs = 500;
	p->think_ns = rng_range(r, 1, 20) * SIM_MS;
	p->checkpoint_bytes = rng_range(r, 20000, 400000);
	p->steps = 6;
}

/* Damaged cache directories, mostly with much in them that the store has not got. */
static void shape_poison(struct plan *p, struct rng *r)
{
	p->nodes = rng_permille(r, 700) ? 1 : 2;
	p->poison = (unsigned)rng_range(r, 300, 900);
	p->crash = (unsigned)rng_range(r, 100, 300);
	p->power = rng_permille(r, 300) ? 60 : 0;
	p->crash_point = 300;
	p->takeover = 500;
	p->away = rng_permille(r, 600) ? 100 : 0;
	p->close = 40;
	p->steps = (unsigned)rng_range(r, 10, 40);
	p->commit_interval_ms = rng_range(r, 50, 1000);
	p->think_ns = rng_range(r, 5, 60) * SIM_MS;
	if (rng_permille(r, 800))
		p->durability = VOLUME_DURABILITY_LOCAL;
	p->outage_timeout_ms = 0;
}

static const struct scenario scenarios[] = {
	{ "mixed", shape_mixed }, { "single", shape_single }, { "takeover", shape_takeover }, { "race", shape_race }, { "weather", shape_weather },
	{ "disk", shape_disk }, { "freeze", shape_freeze }, { "big", shape_big }, { "checkpoint", shape_checkpoint },
	{ "outage", shape_outage }, { "cache", shape_cache }, { "bulk", shape_bulk }, { "poison", shape_poison },
};

const char *scenario_name(unsigned i)
{
	return i < CL_ARRAY_LEN(scenarios) ? scenarios[i].name : NULL;
}

static void make_plan(struct plan *p, struct rng *r, const char *scenario)
{
	static const uint64_t lags[] = { 500, 2000, 5000, 5000, UINT64_MAX };
	size_t k = rng_below(r, CL_ARRAY_LEN(scenarios));

	for (size_t i = 0; scenario && i < CL_ARRAY_LEN(scenarios); i++)
		if (!strcmp(scenario, scenarios[i].name))
			k = i;
	*p = (struct plan){
		.scenario = scenarios[k].name, .clients = (unsigned)rng_range(r, 1, 3), .steps = (unsigned)rng_range(r, 4, 24),
		.step_ns = rng_range(r, 200, 4000) * SIM_MS, .think_ns = rng_range(r, 5, 400) * SIM_MS,
		.durability = rng_permille(r, 400) ? VOLUME_DURABILITY_STORE : VOLUME_DURABILITY_LOCAL,
		.max_lag_ms = lags[rng_below(r, CL_ARRAY_LEN(lags))], .commit_interval_ms = rng_permille(r, 500) ? 1000 : rng_range(r, 20, 2000),
		.outage_timeout_ms = rng_permille(r, 150) ? 20000 : 0, .checkpoint_bytes = rng_permille(r, 500) ? 32u << 20 : rng_range(r, 1000, 60000),
		.cache_bytes = rng_range(r, 100, 400) << 20, .disk_bytes = 1ull << 30, .uploads = (unsigned)rng_range(r, 1, 6),
		.max_write = 100000, .meddle = 20,
	};
	if (rng_permille(r, 600))
		p->weather = (struct weather){ .fail_clean = (unsigned)rng_below(r, 40), .fail_ambiguous = (unsigned)rng_below(r, 30),
					       .lost_reply = (unsigned)rng_below(r, 40), .late = (unsigned)rng_below(r, 20),
					       .own_412 = (unsigned)rng_below(r, 40), .get_error = (unsigned)rng_below(r, 20),
					       .get_flip = rng_permille(r, 300) ? (unsigned)rng_below(r, 20) : 0,
					       .slow = (unsigned)rng_below(r, 40) };
	scenarios[k].shape(p, r);
}

/* --- what happens --- */

static struct session *live(struct trial *t, struct node *n)
{
	struct session *s = n->proc ? n->proc->user : NULL;

	(void)t;
	return s && !s->p->dead ? s : NULL;
}

static void start_some(struct trial *t, struct node *n)
{
	struct rng *r = &t->w->rng;
	bool ro = rng_permille(r, t->plan.follower);
	struct session *s;

	if (n->proc || t->w->node_count > 20)
		return;
	if (rng_permille(r, t->plan.skew))
		n->skew_ns = (int64_t)rng_below(r, 7200) * 1000000000 - 3600000000000;
	s = session_start(t, n, ro, rng_permille(r, t->plan.takeover));
	if (rng_permille(r, t->plan.crash_point)) {
		s->p->crash_at = rng_permille(r, 400) ? rng_skewed(r, 1, 60) : rng_range(r, 1, 600);
		s->p->crash_in_sync = rng_permille(r, 300);
		if (s->p->crash_in_sync)
			s->p->crash_at = rng_skewed(r, 1, 60);
		s->p->crash_kind = rng_permille(r, 500) && !(t->plan.poison && !t->plan.power) ? CRASH_POWER : CRASH_KILL;
	}
}

/* Damage that V8 must repair: a flipped bit in a segment that the store has, and that is part of the volume for good. */
static void rot(struct trial *t, struct node *n)
{
	const struct simstore *st = t->w->store;
	const struct simobject *o = &st->objects[rng_below(&t->w->rng, st->count)];
	struct object_footer f;
	uint64_t epoch, slot;
	char name[64];

	if (!object_parse_slot_key(o->key, &epoch, &slot) || slot == 0 ||
	    object_decode_footer(o->blob->data, o->blob->len, o->blob->len, &f) != 0 || f.type != OBJECT_CUT || !f.data_len)
		return;
	for (uint64_t k = 0; k < slot; k++) {
		char key[OBJECT_KEY_MAX];

		object_key_slot(epoch, k, key);
		if (!simstore_find(t->w->store, key))
			return;
	}
	snprintf(name, sizeof name, "seg-%016" PRIx64, f.segment_id);
	for (unsigned k = 0; k < 4; k++)
		if (simdisk_rot(n->disk, name, rng_permille(&t->w->rng, 100) ? SEGMENT_TABLE_OFFSET + rng_below(&t->w->rng, 20000) :
				SEGMENT_DATA_OFFSET + rng_below(&t->w->rng, f.data_len)))
			world_trace(t->w, "a bit of %s on %s flips", name, n->name);
}

static void weather_back(void *arg)
{
	struct trial *t = arg;

	t->w->store->weather.away = t->w->store->weather.storm = false;
	t->w->store->weather.refuse = 0;
	world_trace(t->w, "the store is back");
}

static void weather_turns(struct trial *t, bool away)
{
	struct rng *r = &t->w->rng;

	if (t->w->store->weather.away || t->w->store->weather.storm || t->w->store->weather.refuse)
		return;
	world_trace(t->w, away ? "the store goes away" : "a storm of errors");
	if (away && rng_permille(r, 200))
		t->w->store->weather.refuse = rng_permille(r, 500) ? ERR_AUTH : ERR_CLOCK_SKEW;
	else if (away)
		t->w->store->weather.away = true;
	else
		t->w->store->weather.storm = true;
	world_at(t->w, NULL, rng_skewed(r, 500 * SIM_MS, away ? 240 * SIM_S : 30 * SIM_S), 'B', weather_back, t);
}

static void thaw_later(void *arg)
{
	proc_thaw(arg);
}

static void disk_turns(struct trial *t, struct node *n)
{
	struct rng *r = &t->w->rng;
	struct simdisk_faults f = { 0 };

	if (rng_permille(r, 500))
		f.sync_fail = 100;
	if (rng_permille(r, 300))
		f.write_fail = 50;
	simdisk_set_faults(n->disk, &f);
}

/* What an operator does who sees a machine hang: takes its volume over elsewhere. */
static void seize(struct trial *t, struct node *frozen)
{
	for (unsigned i = 0; i < t->plan.nodes; i++) {
		struct node *n = t->w->nodes[i];
		struct session *s = live(t, n);

		if (n == frozen || (s && !s->failed && !s->superseded_ns))
			continue;
		if (s)
			proc_crash(s->p, CRASH_KILL);
		session_start(t, n, false, true);
		return;
	}
}

/* A machine comes back with an older disk, or with that of another. */
static void images(struct trial *t, struct node *n)
{
	struct rng *r = &t->w->rng;
	struct node *other = t->w->nodes[rng_below(r, t->plan.nodes)];

	if (!rng_permille(r, t->plan.image))
		return;
	if (n->image && rng_permille(r, 500)) {
		world_trace(t->w, "%s gets its disk back as it was once", n->name);
		node_take_image(n, n->image);
	} else if (other != n) {
		world_trace(t->w, "%s gets an image of %s's disk", n->name, other->name);
		node_take_image(n, other->disk);
	}
}

static void take_image(struct trial *t, struct node *n)
{
	if (!rng_permille(&t->w->rng, t->plan.image))
		return;
	if (n->image)
		simdisk_free(n->image);
	n->image = simdisk_copy(n->disk);
}

static void poison(struct trial *t, struct node *n, bool open)
{
	struct rng *r = &t->w->rng;
	const char *name;

	for (uint64_t k = rng_skewed(r, 1, 4); k > 0; k--) {
		name = simdisk_poison(n->disk, r);
		if (!name)
			continue;
		n->poisoned = true;
		n->poisoned_live |= open;
		world_trace(t->w, "%s on %s is damaged", name, n->name);
	}
}

static void happen(struct trial *t, struct node *n)
{
	const struct plan *p = &t->plan;
	struct rng *r = &t->w->rng;
	struct session *s = live(t, n);

	if (rng_permille(r, p->storm))
		weather_turns(t, false);
	if (rng_permille(r, p->away))
		weather_turns(t, true);
	if (rng_permille(r, p->rot))
		rot(t, n);
	if (rng_permille(r, p->disk_fault))
		disk_turns(t, n);
	if (rng_permille(r, p->skew))
		n->skew_ns = (int64_t)rng_below(r, 7200) * 1000000000 - 3600000000000;
	take_image(t, n);
	if (p->poison && rng_permille(r, s ? p->poison / 10 : p->poison))
		poison(t, n, s != NULL);
	if (!s) {
		images(t, n);
		if (rng_permille(r, p->wipe)) {
			world_trace(t->w, "%s gets an empty disk", n->name);
			node_wipe(n, p->disk_bytes);
		}
		if (rng_permille(r, 600))
			start_some(t, n);
		return;
	}
	if (rng_permille(r, p->crash)) {
		proc_crash(s->p, CRASH_KILL);
	} else if (rng_permille(r, p->power)) {
		proc_crash(s->p, CRASH_POWER);
	} else if (rng_permille(r, p->freeze) && !s->p->frozen) {
		proc_freeze(s->p);
		if (rng_permille(r, p->seize))
			seize(t, n);
		world_at(t->w, NULL, rng_skewed(r, 10 * SIM_MS, 90 * SIM_S), 'T', thaw_later, s->p);
	} else if ((rng_permille(r, p->close) || s->failed) && s->opened && !s->stopping) {
		session_close(s, rng_permille(r, 600));
	}
}

struct formatting { struct trial *t; struct proc *p; bool done; int rc; };

static void format(void *arg)
{
	struct formatting *f = arg;

	f->rc = volume_format(&f->p->store, &f->p->env, false, (int)rng_below(&f->t->w->rng, 4));
	f->done = true;
	proc_exit(f->p);
}

static bool format_may_fail(int rc)
{
	return rc == ERR_UNAVAILABLE || rc == ERR_CRASHED || rc == ERR_CORRUPT;
}

/* Until there is a volume: in fair weather, or in any, with a machine that dies on the way. */
bool scenario_format(struct trial *t)
{
	struct rng *r = &t->w->rng;
	bool rough = rng_permille(r, 200);

	for (unsigned tries = 0; tries < 100; tries++) {
		struct formatting *f = world_alloc(t->w, sizeof *f);

		f->t = t;
		f->p = proc_start(t->w->nodes[0]);
		if (rough && tries < 3) {
			t->w->store->weather = t->plan.weather;
			f->p->crash_at = rng_range(r, 1, 60);
		} else {
			memset(&t->w->store->weather, 0, sizeof t->w->store->weather);
		}
		world_at(t->w, f->p, 0, 'F', format, f);
		while (!f->done && !f->p->dead)
			coro_sleep(SIM_MS);
		if (!f->p->exited)
			continue;
		if (f->rc == 0 || (tries > 0 && f->rc == ERR_VOLUME_EXISTS))
			return true;
		if (!rough || !format_may_fail(f->rc))
			break;
	}
	world_violation(t->w, "formatting failed: %s", err_last());
	return false;
}

static void direct(void *arg)
{
	struct trial *t = arg;

	for (unsigned i = 0; i < t->plan.nodes; i++)
		node_new(t->w, t->plan.disk_bytes);
	if (!scenario_format(t))
		return;
	t->w->store->weather = t->plan.weather;
	start_some(t, t->w->nodes[0]);
	for (unsigned i = 0; i < t->plan.steps && !t->w->stopped; i++) {
		coro_sleep(rng_permille(&t->w->rng, 200) ? rng_skewed(&t->w->rng, SIM_MS, t->plan.step_ns) :
			   rng_range(&t->w->rng, SIM_MS, t->plan.step_ns));
		happen(t, t->w->nodes[rng_below(&t->w->rng, t->plan.nodes)]);
	}
	if (!t->w->stopped)
		trial_check_end(t);
	world_stop(t->w);
}

void scenario_options(struct trial *t)
{
	const struct plan *p = &t->plan;

	t->base_options = (struct volume_options){
		.durability = p->durability, .max_lag_ms = p->max_lag_ms, .commit_interval_ms = p->commit_interval_ms, .cache_bytes = p->cache_bytes,
		.outage_timeout_ms = p->outage_timeout_ms, .uploads = p->uploads, .checkpoint_bytes = p->checkpoint_bytes,
	};
}

static void trial_free(struct trial *t)
{
	for (struct session *s = t->sessions; s; s = s->next) {
		history_free(&s->h);
		free(s->acks);
		model_free(s->m);
		if (s->v && volume_abandon)
			volume_abandon(s->v);
	}
}

int scenario_run(uint64_t seed, const char *scenario, enum sim_break brk, bool verbose, struct result *ret)
{
	struct trial t;
	struct world *w;

	memset(&t, 0, sizeof t);
	memset(ret, 0, sizeof *ret);
	if (world_new(seed, brk, verbose, &w))
		return -1;
	t.w = w;
	if (ace_batches(scenario))
		ace_prepare(&t, scenario);
	else
		make_plan(&t.plan, &w->rng, scenario);
	scenario_options(&t);
	world_trace(w, "seed %" PRIu64 ": %s, %u nodes, %u clients, %s, max_lag %" PRId64 " ms, interval %" PRIu64 " ms, checkpoint %"
		    PRIu64, seed, t.plan.scenario, t.plan.nodes, t.plan.clients, t.plan.durability == VOLUME_DURABILITY_STORE ? "store" : "local",
		    (int64_t)t.plan.max_lag_ms, t.plan.commit_interval_ms, t.plan.checkpoint_bytes);
	world_at(w, NULL, 0, 'R', ace_batches(scenario) ? ace_direct : direct, &t);
	world_run(w);
	snprintf(ret->violation, sizeof ret->violation, "%s", w->violation);
	if (ret->violation[0] && ace_batches(scenario))
		ace_explain(&t, ret->violation + strlen(ret->violation), sizeof ret->violation - strlen(ret->violation));
	ret->event_hash = w->event_hash;
	ret->events = w->events;
	ret->virtual_ns = w->now_ns;
	ret->ops = (unsigned)t.next_op_id;
	ret->acks = t.acks_local + t.acks_store;
	ret->opens = t.opens;
	coro_kill_all(w);
	trial_free(&t);
	world_free(w);
	return ret->violation[0] != '\0';
}
