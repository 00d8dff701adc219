/* user_trash.c - what users do with what is in a trash. */
#include <errno.h>
#include <string.h>

#include "syncworld.h"

struct choice { struct machine *m; uint64_t seen; char name[ENTRY_NAME_MAX + 1]; };

static int choose_one(void *user, const struct trash_item *item)
{
	struct choice *c = user;

	if (world_random(c->m->w, ++c->seen) == 0)
		snprintf(c->name, sizeof c->name, "%s", item->note.name);
	return 0;
}

/* Gets something back from the trash, to where it was or elsewhere; or throws it away. */
void user_trash(struct machine *m)
{
	struct choice c = { .m = m };
	char to[64], path[ENTRY_PATH_MAX + 1];
	struct inode *in;
	uint32_t t;
	int rc;

	if (trash_list(&m->tree.t, choose_one, &c) || !c.seen)
		return;
	if (world_chance(m->w, 150)) {
		world_say(m->w, "user of %u throws away %s", m->number, c.name);
		trash_remove(&m->tree.t, c.name);
		return;
	}
	user_some_path(m->w, false, to);
	rc = trash_restore(&m->tree.t, &m->env, c.name, world_chance(m->w, 300) ? to : NULL, path);
	if (rc) {
		if (rc != -EEXIST && rc != -ENODATA && rc != -ENOTDIR && rc != -ELOOP)
			world_violation(m->w, "%s cannot be restored on %u: %s", c.name, m->number, strerror(-rc));
		return;
	}
	in = simtree_find(&m->tree, path);
	t = in ? token_of(m->w, in) : 0;
	if (in && in->kind == ENTRY_FILE) { /* setting metadata in place may have died half-way: as they are now they are this user's doing */
		ledger_meta(m->w, in);
		if (in->half) /* somebody had it open when it was taken out */
			ledger_content(m->w, in->data, in->len, 0);
	}
	if (t) { /* wanted again: from now on it has to stay. Twice, from two trashes, is the same file: who replaces the one replaces the other */
		m->w->tokens[t].released &= m->w->tokens[t].restored;
		m->w->tokens[t].restored = m->w->tokens[t].touched = true;
		m->w->tokens[t].hidden = false;
	}
	m->w->restored++;
	ledger_new_at(m->w, path);
	world_say(m->w, "user of %u restores %s to %s (token %u)", m->number, c.name, path, t);
}
