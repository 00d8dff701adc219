/*
 * simtree_trash.c - the trash of a simulated tree. What a process takes out of it for good must have been there long enough, by the world's own time.
 *
 * Notes are durable up to the last sync; a loss of power leaves any part of what was appended since.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "simtree_impl.h"

#define NOTED_NS 1000000000ull /* the time counts from the note, which is of before the job that takes it */

static int sim_trash(struct tree *t, const char *temp, const char *name)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in;
	char from[512];
	int rc = tree_resolve_temp(t, temp, true, &in);

	if (!rc && simtree_find(s, tree_corner(CORNER_TRASH, name)))
		rc = -EEXIST;
	if (rc)
		return rc;
	snprintf(from, sizeof from, "%s", tree_corner(CORNER_TMP, temp));
	names_journal(s);
	if (s->m->w->brk == SYNC_BREAK_TRASH_LOSES)
		names_drop(s, from);
	else
		names_move(s, from, tree_corner(CORNER_TRASH, name));
	world_say(s->m->w, "%u trashes inode %llu as %s", s->m->number, (unsigned long long)in->id, name);
	tree_leave(t);
	return 0;
}

static int list(struct tree *t, const char *dir, tree_visit visit, void *user)
{
	struct sim_tree *s = sim_of(t);
	struct names all = { NULL, 0, 0 };
	struct tree_stat st;
	int rc = tree_enter(t, false);

	if (rc)
		return rc;
	simtree_names_copy(&s->now, &all);
	for (size_t i = 0; i < all.count && !rc; i++) {
		const char *name = all.all[i].path + strlen(dir);

		if (strncmp(all.all[i].path, dir, strlen(dir)) != 0 || strchr(name, '/'))
			continue;
		memset(&st, 0, sizeof st);
		st.carried = true;
		st.kind = all.all[i].in->kind;
		st.id.size = all.all[i].in->len;
		rc = visit(user, name, strlen(name), &st);
	}
	free(all.all);
	return rc;
}

static int sim_list_temps(struct tree *t, tree_visit visit, void *user)
{
	return list(t, CORNER_TMP, visit, user);
}

static int sim_list_trash(struct tree *t, tree_visit visit, void *user)
{
	return list(t, CORNER_TRASH, visit, user);
}

static int sim_untrash(struct tree *t, const char *name, const char *path)
{
	struct sim_tree *s = sim_of(t);
	char from[512];
	int rc = tree_enter(t, true);

	snprintf(from, sizeof from, "%s", tree_corner(CORNER_TRASH, name));
	if (!rc)
		rc = names_parent(s, path);
	if (!rc)
		rc = !simtree_find(s, from) ? -ENOENT : simtree_find(s, path) ? -EEXIST : 0;
	if (rc)
		return rc;
	names_journal(s);
	names_move(s, from, path);
	simtree_touch(s, simtree_find(s, path), false);
	tree_tell(s, path);
	tree_leave(t);
	return 0;
}

static int sim_remove_trash(struct tree *t, const char *name)
{
	struct sim_tree *s = sim_of(t);
	struct world *w = s->m->w;
	struct name *n;
	uint8_t *before;
	char path[512];
	int rc = tree_enter(t, true);

	snprintf(path, sizeof path, "%s", tree_corner(CORNER_TRASH, name));
	n = names_find(s, path);
	if (!rc && !n)
		rc = -ENOENT;
	if (rc)
		return rc;
	if (!s->acting && w->now_ns - n->taken_ns + NOTED_NS < w->keep_ns)
		world_violation(w, "R3: %u throws %s away, which was taken from %s only %llu ms ago", s->m->number, name, n->was_at ? n->was_at : "?",
				(unsigned long long)(w->now_ns - n->taken_ns) / 1000000);
	before = ledger_before(w, s->m);
	names_journal(s);
	while (!names_is_empty(s, path))
		for (size_t i = 0; i < s->now.count; i++)
			if (names_below(s->now.all[i].path, path) && names_is_empty(s, s->now.all[i].path)) {
				names_drop(s, s->now.all[i].path);
				break;
			}
	names_drop(s, path);
	w->purged++;
	world_say(w, "%u throws %s away", s->m->number, name);
	ledger_after(s->m, before);
	tree_leave(t);
	return 0;
}

static int sim_note(struct tree *t, const void *p, size_t len, bool sync)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, true);

	if (rc)
		return rc;
	if (s->m->w->brk != SYNC_BREAK_NOTE_LOST || world_chance(s->m->w, 800))
		buf_bytes(&s->notes, p, len);
	if (sync)
		s->notes_synced = s->notes.len;
	tree_leave(t);
	return 0;
}

static int sim_sync_notes(struct tree *t)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, true);

	if (!rc)
		s->notes_synced = s->notes.len;
	return rc;
}

static int sim_notes_get(struct tree *t, struct buf *ret)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, false);

	if (!rc)
		buf_bytes(ret, s->notes.data, s->notes.len);
	return rc ? rc : ret->err;
}

static int sim_notes_put(struct tree *t, const void *p, size_t len)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, true);

	if (rc)
		return rc;
	buf_reset(&s->notes);
	buf_bytes(&s->notes, p, len);
	s->notes_synced = s->notes.len;
	tree_leave(t);
	return 0;
}

void simtree_trash(struct tree *t)
{
	t->trash = sim_trash;
	t->list_temps = sim_list_temps;
	t->list_trash = sim_list_trash;
	t->untrash = sim_untrash;
	t->remove_trash = sim_remove_trash;
	t->note = sim_note;
	t->sync_notes = sim_sync_notes;
	t->notes_get = sim_notes_get;
	t->notes_put = sim_notes_put;
}

bool simtree_is_left(const char *path)
{
	return strncmp(path, CORNER_TMP, strlen(CORNER_TMP)) == 0 && path[strlen(CORNER_TMP)] == TREE_TEMP_KEEP;
}

void simtree_trash_power_loss(struct sim_tree *s)
{
	size_t left = s->notes_synced + world_random(s->m->w, s->notes.len - s->notes_synced + 1);

	/* A name that is in the temps now may be so again for what was known there, and is gone: that had no need to be noted for good. */
	for (size_t i = 0; i < s->now.count; i++)
		if (simtree_is_left(s->now.all[i].path))
			s->now.all[i].unnoted = true;
	if (left < s->notes.len && world_chance(s->m->w, 500))
		memset(s->notes.data + left, 0, s->notes.len - left); /* a length without bytes */
	else
		s->notes.len = left;
	s->notes_synced = s->notes.len;
}
