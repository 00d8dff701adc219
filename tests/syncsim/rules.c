/*
 * rules.c - what machines ignore: their rules, and what follows from them for the ledger.
 *
 * A machine has other rules only from a start on. What lies at a path that its rules leave out, no process of it may touch (simtree_move.c asks here), and nobody else may ever have of it; what a user deletes there is
 * deleted for nobody. Once a path is ignored no more, what lies there may lose against what others know: from then on less is asked of it.
 */
#include <stdlib.h>
#include <string.h>

#include "syncworld.h"

static const char *const texts[RULES_COUNT] = {
	[RULES_NONE] = "", [RULES_F] = "f\n", [RULES_G_D] = "g\nd/\n", [RULES_ROOT_A] = "/a\n", [RULES_KEPT] = "b\n!b/f\n*h\n", [RULES_IN_A] = "a/*\n!a/c\n",
	[RULES_ALL_BUT] = "*\n!/f\n", [RULES_DEEP] = "i\n/b/f\na/c\n",
};

static const struct ignore *parsed(enum rules k)
{
	static struct ignore *all[RULES_COUNT];

	if (!all[k] && ignore_parse("rules", texts[k], strlen(texts[k]), &all[k]))
		abort();
	return all[k];
}

static bool left_out(enum rules k, const char *path)
{
	return strncmp(path, TREE_CORNER, strlen(TREE_CORNER)) != 0 && ignore_leaves_out(parsed(k), path, strlen(path));
}

bool machine_ignores(const struct machine *m, const char *path)
{
	return left_out(m->rules, path);
}

/* What lies where the rules change is judged by less: what others know of it may win, and nobody knows when it was changed. */
static void change(struct machine *m, enum rules to)
{
	struct world *w = m->w;

	ledger_unfirm(m, false); /* what was deleted and not noted may be at a path of which nothing is noted now */
	for (size_t i = 0; i < m->tree.now.count; i++) {
		const struct name *n = &m->tree.now.all[i];
		uint32_t t = left_out(m->rules, n->path) || left_out(to, n->path) ? token_of(w, n->in) : 0;

		if (!t)
			continue;
		w->tokens[t].touched = true;
		w->tokens[t].vanished = w->tokens[t].hidden = false;
	}
	m->rules = to;
	world_say(w, "%u ignores by rules %d", m->number, (int)to);
}

const struct ignore *rules_boot(struct machine *m)
{
	if (m->w->rules && m->w->users && world_chance(m->w, 400))
		m->next_rules = (enum rules)world_random(m->w, RULES_COUNT);
	if (m->next_rules != m->rules)
		change(m, m->next_rules);
	return m->rules == RULES_NONE || m->w->brk == SYNC_BREAK_RULES_UNHEARD ? NULL : parsed(m->rules);
}

void rules_copied(struct world *w)
{
	for (uint32_t t = 1; t <= w->token_count && w->rules; t++) {
		w->tokens[t].touched = true;
		w->tokens[t].vanished = w->tokens[t].hidden = false;
	}
}

void rules_removed(struct machine *m, uint32_t t)
{
	struct world *w = m->w;
	bool others = false, elsewhere = false, told = machine_has(m, t, HAS_TREE) && !w->tokens[t].released && !w->tokens[t].touched;

	for (unsigned i = 0; i < w->count; i++) {
		bool has = i != m->number && machine_has(&w->m[i], t, HAS_CARRIED);

		others |= i != m->number && machine_has(&w->m[i], t, HAS_TRASH);
		told &= i == m->number || has || machine_idle(&w->m[i]) || w->m[i].tree.now.count == 0;
		elsewhere |= has && !w->m[i].tree.emptied;
	}
	w->tokens[t].released |= !others;
	w->tokens[t].touched |= !others;
	w->tokens[t].vanished |= told && elsewhere;
}

void rules_lost_name(struct sim_tree *s, const char *path)
{
	const struct inode *in = simtree_find(s, path);

	for (size_t i = 0; in && machine_ignores(s->m, path) && i < s->now.count; i++)
		if (s->now.all[i].in == in && strncmp(s->now.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) != 0 && !machine_ignores(s->m, s->now.all[i].path))
			machine_event(s->m, s->now.all[i].path, false, false);
}

void rules_judge_touch(struct sim_tree *s, const char *path)
{
	if (!s->acting && machine_ignores(s->m, path))
		world_violation(s->m->w, "ignored: %u touches %s, which it ignores", s->m->number, path);
}

static int judge_record(void *user, const char *path, size_t len, const struct index_record *r)
{
	const struct machine *m = user;
	char text[ENTRY_PATH_MAX + 1];

	memcpy(text, path, len);
	text[len] = '\0';
	if (machine_ignores(m, text) != r->left_out || r->stale || (r->left_out && (r->on_disk || r->stat.ino || (r->held && !r->known.deleted))))
		world_violation(m->w, "ignored: the record of %s on %u is not as the rules have it (left out %d, stale %d, on disk %d, held %d, deleted %d)", text, m->number, r->left_out,
				r->stale, r->on_disk, r->held, r->known.deleted);
	return 0;
}

void check_rules(struct world *w)
{
	struct index_txn *txn;

	for (unsigned i = 0; i < w->count; i++) {
		if (index_begin(w->m[i].index, false, &txn) || index_since(txn, 0, UINT32_MAX, judge_record, &w->m[i]))
			abort();
		index_abort(txn);
	}
	for (uint32_t t = 1; t <= w->token_count; t++)
		for (unsigned i = 0; i < w->count && w->tokens[t].hidden; i++)
			if (i != w->tokens[t].maker && machine_has(&w->m[i], t, HAS_TRASH))
				world_violation(w, "ignored: %u has token %u, which is ignored on %u, where it was written", i, t, w->tokens[t].maker);
}
