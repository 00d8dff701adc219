/*
 * history.c - what happens: users act while machines lose links, processes, power, indexes and disks; then everything is mended, and has to come to rest.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syncworld.h"

#define REST_STEPS 400000u
#define REST_NS (900ull * 1000000000ull)

static struct machine *some_machine(struct world *w)
{
	return &w->m[world_random(w, w->count)];
}

/* All of what was on a machine's disk is gone, or another's image is on it. */
static void lose_disk(struct machine *m, struct machine *image)
{
	uint8_t *before = ledger_before(m->w, m);

	machine_kill(m);
	ledger_unfirm(m, true);
	simtree_clear(&m->tree);
	m->tree.emptied = m->tree.restoring = false;
	machine_forget_index(m);
	if (image) {
		simtree_copy(&image->tree, &m->tree);
		machine_copy_index(image, m, "data.mdb");
		m->owners = image->owners;
		world_say(m->w, "%u becomes an image of %u", m->number, image->number);
		/* What the other had not noted yet, it may delete without anybody ever knowing; here it is news. */
		for (uint32_t t = 1; t <= m->w->token_count && !machine_idle(image); t++)
			m->w->tokens[t].touched |= machine_has(m, t, HAS_TREE);
	} else {
		world_say(m->w, "%u has a new disk", m->number);
	}
	if (image && world_chance(m->w, 300)) { /* its identity too: two live with one key, until the operator hears of it */
		memcpy(m->key, image->key, sizeof m->key);
		m->outcast = false;
		world_say(m->w, "%u has the key of %u", m->number, image->number);
	} else {
		machine_new_key(m);
	}
	machine_reset(m);
	ledger_after(m, before);
}

/* A backup of tree and index, brought back later. */
struct backup { bool there; unsigned of; struct machine m; uint8_t key[32]; bool noted; /* all that was in its tree was in its index */ };

static void take_backup(struct world *w, struct backup *b)
{
	struct machine *m = some_machine(w);

	if (b->there)
		return;
	b->there = true;
	b->of = m->number;
	memcpy(b->key, m->key, sizeof b->key);
	b->noted = machine_idle(m);
	b->m.w = w;
	b->m.env = m->env;
	b->m.number = m->number;
	simtree_init(&b->m.tree, &b->m);
	b->m.env.real_ns = m->env.real_ns;
	b->m.owners = m->owners;
	simtree_copy(&m->tree, &b->m.tree);
	snprintf(b->m.dir, sizeof b->m.dir, "%s", m->dir);
	machine_copy_index(m, m, "backup.mdb");
	world_say(w, "%u is backed up", m->number);
}

static void bring_back(struct world *w, struct backup *b)
{
	struct machine *m = &w->m[b->of];
	uint8_t *before;
	char from[256], to[256];
	bool index;

	if (!b->there)
		return;
	index = world_chance(w, 500);
	before = ledger_before(w, m);
	machine_kill(m);
	ledger_unfirm(m, true);
	simtree_clear(&m->tree);
	m->tree.emptied = m->tree.restoring = false;
	simtree_copy(&b->m.tree, &m->tree);
	m->owners = b->m.owners;
	if (index) {
		machine_forget_index(m);
		snprintf(from, sizeof from, "%s/backup.mdb", m->dir);
		snprintf(to, sizeof to, "%s/data.mdb", m->dir);
		rename(from, to);
		/* Its identity with it, forgotten since or not. */
		memcpy(m->key, b->key, sizeof m->key);
		m->outcast = false;
	}
	machine_reset(m);
	world_say(w, "%u is as it was backed up", m->number);
	ledger_after(m, before);
	if (!index || !b->noted)
		ledger_stale(m);
	b->there = false;
}

/* Somebody's operator ends a membership: of a key that no machine has any more, or of one that has it. */
static void forget_somebody(struct machine *m, bool living)
{
	const struct members *s;

	if (!m->node || m->crashed)
		return;
	s = node_members(m->node);
	for (size_t i = 0; i < s->count; i++)
		if (!s->all[i].forgotten && memcmp(s->all[i].node, m->key, sizeof m->key) != 0 && world_owns(m->w, s->all[i].node) == living) {
			machine_forget(m, s->all[i].node);
			return;
		}
}

/* All that is in the tree is gone, as if another file system were there; users of that machine can do nothing until it is dealt with. */
static void empty_tree(struct machine *m)
{
	uint8_t *before;
	size_t had = 0;

	if (!m->node || m->tree.emptied || m->tree.restoring || m->tree.missing || !machine_idle(m))
		return;
	for (size_t i = 0; i < m->tree.now.count; i++)
		had += strncmp(m->tree.now.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) != 0;
	if (had < 3)
		return;
	world_say(m->w, "the tree of %u is empty", m->number);
	ledger_vanish(m);
	before = ledger_before(m->w, m);
	for (size_t i = 0; i < m->tree.now.count;) {
		if (strncmp(m->tree.now.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) != 0)
			m->tree.now.all[i] = m->tree.now.all[--m->tree.now.count];
		else
			i++;
	}
	m->tree.past_count = 0;
	ledger_after(m, before);
	m->tree.emptied = true;
	m->w->emptied++;
	machine_event(m, "", true, false);
}

bool machine_go_on(struct machine *m)
{
	struct node_status s;
	bool deleted = (!m->tree.emptied && !m->tree.restoring) || m->w->brk == SYNC_BREAK_MISSING_ASKED;

	if (!m->node || m->crashed)
		return false;
	node_status(m->node, &s);
	if (!s.halted || !s.missing)
		return false;
	world_say(m->w, "%u halted for %llu of %llu, and is told that they %s", m->number, (unsigned long long)s.missing, (unsigned long long)s.missing_of,
		  deleted ? "were deleted" : "were not");
	if (!node_go_on(m->node, s.question, deleted)) {
		m->tree.restoring |= m->tree.emptied;
		m->tree.emptied = false;
	}
	return true;
}

static void something_happens(struct world *w, struct backup *b, uint64_t *crashes)
{
	struct machine *m = some_machine(w), *o = some_machine(w);
	uint64_t what = world_random(w, 100);

	if (w->missing_percent <= 100 && world_chance(w, 250)) {
		empty_tree(m);
	} else if (what < 20 && m != o) {
		world_say(w, "%u and %u are cut off", m->number, o->number);
		world_cut(w, m->number, o->number, true);
	} else if (what < 40 && m != o) {
		world_cut(w, m->number, o->number, false);
	} else if (what < 52 && m->node) {
		m->die_at = 1 + world_random(w, 60);
		++*crashes;
	} else if (what < 60 && m->node) {
		machine_stop(m);
	} else if (what < 72) {
		machine_power_loss(m);
		++*crashes;
	} else if (what < 74) {
		machine_kill(m);
		machine_forget_index(m);
		ledger_unfirm(m, true);
		world_say(w, "%u has lost its index", m->number);
		ledger_stale(m);
	} else if (what < 76) {
		lose_disk(m, NULL);
	} else if (what < 78 && m != o && !o->crashed) {
		lose_disk(m, o);
	} else if (what < 81) {
		take_backup(w, b);
	} else if (what < 83) {
		bring_back(w, b);
	} else if (what < 86) {
		m->skew_ns += ((int64_t)world_random(w, 7200) - 3600) * 1000000000;
		if (m->skew_ns > 7200000000000 || m->skew_ns < -7200000000000)
			m->skew_ns = 0;
	} else if (what < 92 && m->node && m->events) {
		while (m->events) { /* the kernel's queue ran over */
			struct sim_event *e = m->events;

			m->events = e->next;
			free(e);
		}
		m->events_end = &m->events;
		machine_event(m, "", true, false);
	} else if (what < 93) {
		world_say(w, "the root of %u is gone", m->number);
		m->tree.missing = true;
		machine_event(m, "", true, false);
	} else if (what == 93) {
		forget_somebody(m, false);
	} else if (what == 94) {
		forget_somebody(m, true);
	} else if (what < 98) {
		m->absent = false;
		if (m->outcast)
			machine_rejoin(m);
	} else if (!m->node) {
		machine_boot(m);
	}
}

/* An image gets an identity of its own. */
static void give_identity(struct machine *m)
{
	for (unsigned k = 0; k < m->w->count; k++)
		if (k != m->number && memcmp(m->key, m->w->m[k].key, sizeof m->key) == 0) {
			machine_kill(m);
			machine_new_key(m);
		}
}

static void mend(struct world *w)
{
	bool common = w->rules && world_chance(w, 500); /* nothing is ignored any more, by anybody */

	w->faults = w->users = false;
	for (unsigned i = 0; i < w->count; i++) {
		struct machine *m = &w->m[i];

		m->die_at = 0;
		m->list_ns = m->list_ns ? m->list_ns / 20 : 0; /* it has to come to rest in time */
		m->cut = 0;
		if (m->tree.missing) /* it halted, or would have: the operator mounts it, and starts it again */
			machine_kill(m);
		m->tree.missing = false;
		m->absent = false;
		give_identity(m);
		user_finish(m);
		if (common) {
			machine_kill(m);
			m->next_rules = RULES_NONE;
		}
		machine_boot(m);
	}
	world_say(w, "everything is mended");
}

/* What operators do until it is all in order: the forgotten join as new, who is gone is forgotten. */
static void operate(struct world *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		if (w->m[i].outcast)
			machine_rejoin(&w->m[i]);
		machine_boot(&w->m[i]);
		forget_somebody(&w->m[i], false);
	}
}

static bool at_rest(struct world *w)
{
	for (unsigned i = 0; i < w->count; i++)
		if (machine_go_on(&w->m[i]))
			return false;
	for (unsigned i = 0; i < w->count; i++) {
		struct machine *m = &w->m[i];
		struct node_status s;

		if (!m->node) {
			machine_boot(m);
			return false;
		}
		if (!machine_idle(m))
			return false;
		node_status(m->node, &s);
		for (size_t k = 0; k < m->tree.now.count; k++)
			if (simtree_is_left(m->tree.now.all[k].path)) /* it is tried again */
				return false;
		if (s.wanted || s.untimed || s.joining || s.compared + 1 < w->count || s.members + 1 != w->count || s.error)
			return false;
		for (unsigned k = 0; k < w->count; k++)
			if (m->links[k].in)
				return false;
	}
	return true;
}

static void unrest(struct world *w, const char *what)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct machine *m = &w->m[i];
		struct node_status s = { 0 };

		if (m->node)
			node_status(m->node, &s);
		world_say(w, "%u: dirty %llu wanted %llu peers %llu compared %llu joining %d halted %d working %d error %d", i, (unsigned long long)s.dirty,
			  (unsigned long long)s.wanted, (unsigned long long)s.peers, (unsigned long long)s.compared, s.joining, s.halted, s.working,
			  s.error);
	}
	world_violation(w, "%s (%llu steps)", what, (unsigned long long)w->steps);
}

void world_rest(struct world *w)
{
	uint64_t until = w->now_ns + REST_NS, steps = w->steps + REST_STEPS;

	while (!at_rest(w) && !w->violation[0]) {
		for (unsigned i = 0; i < w->count; i++)
			user_finish(&w->m[i]);
		operate(w);
		if (!world_step(w) && !at_rest(w))
			unrest(w, "nothing goes on, and not all is done");
		else if (w->now_ns > until || w->steps > steps)
			unrest(w, "it does not come to rest");
	}
}

/* While everything goes on. */
static void ask_one(struct machine *m)
{
	cut_begin(m);
	if (m->differ.running < NODES_MAX)
		differ_begin(m, false);
}

/* At rest, every machine is in sync when it is asked, and says so. */
static void ask_all(struct world *w)
{
	uint64_t until = w->now_ns + REST_NS, left = w->count;
	uint64_t before[NODES_MAX];

	for (unsigned i = 0; i < w->count; i++) {
		before[i] = w->m[i].sync.ended;
		cut_begin(&w->m[i]);
		if (differ_begin(&w->m[i], true) + 1 != w->count)
			world_violation(w, "differs: %u does not ask all the others", i);
	}
	while (left && !w->violation[0]) {
		left = 0;
		for (unsigned i = 0; i < w->count; i++)
			left += (w->m[i].sync.ended == before[i]) + w->m[i].differ.running;
		if (left && (!world_step(w) || w->now_ns > until))
			world_violation(w, "in sync: %llu never say so, or what differs", (unsigned long long)left);
	}
	for (unsigned i = 0; i < w->count; i++)
		w->m[i].differ.at_rest = false;
}

/*
 * One is backed up, and users of others go on. Deletions are forgotten, all that are due; then one comes back from its backup, who knows nothing of them, and finds nobody who remembers. What it has and others
 * deleted is deleted there as well.
 */
static void return_late(struct world *w, struct backup *b)
{
	uint64_t until;

	take_backup(w, b);
	for (uint64_t acts = 5 + world_random(w, 20); acts && !w->violation[0]; acts--) {
		struct machine *m = some_machine(w);

		if (m->number != b->of)
			user_act(m);
		for (unsigned i = 0; i < 20; i++)
			world_step(w);
	}
	if (!w->violation[0])
		world_rest(w);
	until = w->now_ns + 3 * w->tombs_ns + 2000000000;
	while (w->now_ns < until && !w->violation[0])
		if (!world_step(w))
			w->now_ns = until;
	world_rest(w);
	if (!w->violation[0])
		check_forgotten(w);
	if (w->violation[0] || !b->there)
		return;
	bring_back(w, b);
	give_identity(&w->m[b->of]);
	machine_boot(&w->m[b->of]);
	world_rest(w);
	if (!w->violation[0])
		check_end(w);
}

int history_run(uint64_t seed, enum sync_break brk, bool trace, struct history_result *ret)
{
	struct world *w = malloc(sizeof *w);
	static struct backup b;
	uint64_t steps, calm;
	char path[256];

	if (!w)
		abort();
	memset(ret, 0, sizeof *ret);
	memset(&b, 0, sizeof b);
	world_init(w, seed, brk, trace);
	w->users = true;
	w->peace = world_chance(w, 100);
	w->faults = !w->peace && world_chance(w, 500);
	w->one_size = world_chance(w, 250);
	w->meta_permille = world_chance(w, 300) ? 700 : 80;
	w->user_permille = (unsigned)world_random(w, 120);
	w->keep_ns = world_chance(w, 300) ? 5000000000ull + world_random(w, 20000000000ull) : TRASH_KEEP_NS;
	w->hash_apart = world_chance(w, 300) ? 1 + world_random(w, 300) : 0;
	w->inline_most = world_chance(w, 300) ? 1 + world_random(w, 1000) : 0;
	w->batch = world_chance(w, 200) ? 1 + (unsigned)world_random(w, 4) : 0;
	w->copies = w->seed % 3 == 1;
	w->want_keep = world_chance(w, 300) ? 1 + world_random(w, 4) : 0;
	w->fetch_most = world_chance(w, 300) ? 1 + (unsigned)world_random(w, 2) : 0;
	w->missing_percent = world_chance(w, 350) ? 50 : 101;
	w->tombs_ns = world_chance(w, 400) ? 100000000ull + world_random(w, world_chance(w, 500) ? 1000000000ull : 20000000000ull) : 0;
	w->context_keep = world_chance(w, 500) ? 1 + world_random(w, 4) : 0;
	w->known_keep = w->context_keep && world_chance(w, 500) ? 1 + world_random(w, 3) : 0;
	w->rules = seed % 4 == 2;
	w->scrub_rate = seed % 5 == 4 ? 64u << 20 : 0;
	w->scrub_every_ns = 2000000000;
	w->user_ops_most = 10 + world_random(w, 100);
	steps = 300 + world_random(w, 2500);
	calm = 20 + world_random(w, 200); /* steps between two blows */
	for (unsigned i = 0; i < w->count; i++) {
		w->m[i].list_ns = world_chance(w, 100) ? world_random(w, 10000000000ull) : 0;
		w->m[i].skew_ns = world_chance(w, 300) ? ((int64_t)world_random(w, 7200) - 3600) * 1000000000 : 0;
		for (unsigned k = 0; k < 5 && world_chance(w, 500); k++)
			user_act(&w->m[i]);
		machine_boot(&w->m[i]);
	}
	while (w->steps < steps && !w->violation[0]) {
		if (!w->peace && world_random(w, calm) == 0)
			something_happens(w, &b, &ret->crashes);
		if (world_chance(w, 20))
			machine_go_on(some_machine(w));
		if (world_chance(w, 60))
			user_act(some_machine(w));
		if (world_chance(w, 30))
			machine_boot(some_machine(w));
		if (world_chance(w, 15))
			ask_one(some_machine(w));
		if (!world_step(w)) {
			w->steps++;
			w->now_ns += 1000000;
		}
	}
	mend(w);
	world_rest(w);
	if (!w->violation[0])
		check_end(w);
	if (!w->violation[0])
		ask_all(w);
	if (!w->violation[0] && w->tombs_ns)
		return_late(w, &b);
	snprintf(ret->violation, sizeof ret->violation, "%s", w->violation);
	ret->hash = w->hash;
	ret->steps = w->steps;
	ret->user_ops = w->user_ops;
	ret->purged = w->purged;
	ret->restored = w->restored;
	ret->emptied = w->emptied;
	for (unsigned i = 0; i < w->count; i++) {
		struct node_status s = { 0 };

		if (w->m[i].node)
			node_status(w->m[i].node, &s);
		ret->tombs_gone += s.tombs_gone;
		ret->copied += s.published_bytes;
	}
	ret->tombs_gone += w->tombs_gone;
	ret->copied += w->copied;
	ret->virtual_ms = w->now_ns / 1000000;
	for (unsigned i = 0; i < w->count; i++) {
		snprintf(path, sizeof path, "%s/backup.mdb", w->m[i].dir);
		unlink(path);
	}
	simtree_free(&b.m.tree);
	world_free(w);
	free(w);
	return ret->violation[0] ? 1 : 0;
}
