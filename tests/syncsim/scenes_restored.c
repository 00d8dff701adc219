/*
 * scenes_restored.c - what the disk has comes back as somebody's restoring of it, while something else lies there already and nobody has concluded from that yet: that change does not know of
 * the restored one, which is kept.
 */
#include <stdio.h>

#include "scenes.h"

struct stage { struct machine *m, *b, *c; uint32_t x, y; };

static struct stage begin(struct world *w)
{
	struct stage s = { &w->m[0], &w->m[1], &w->m[2], 0, 0 };

	boot_all(w);
	s.x = user_put(s.m, "f", 100);
	user_put(s.m, "g", 100);
	world_rest(w);
	run_for(w, 10 * SECOND);
	return s;
}

static int first_item(void *user, const struct trash_item *item)
{
	snprintf(user, ENTRY_NAME_MAX + 1, "%s", item->note.name);
	return 1;
}

static void restore(struct world *w, struct stage *s)
{
	char name[ENTRY_NAME_MAX + 1] = "";

	EXPECT(w, !machine_has(s->b, s->x, HAS_TREE));
	if (trash_list(&s->b->tree.t, first_item, name) != 1 || trash_restore(&s->b->tree.t, &s->b->env, name, NULL, NULL))
		world_violation(w, "nothing to restore");
	w->tokens[s->x].released = false;
	w->tokens[s->x].restored = w->tokens[s->x].touched = true;
	ledger_new_at(w, "f");
	world_say(w, "user of 1 restores f");
	run_for(w, 3 * SECOND);
}

static void end(struct world *w, struct stage *s)
{
	s->m->list_ns = 0;
	world_rest(w);
	expect_everywhere(w, s->y, true, "it is the later");
	EXPECT(w, machine_has(s->b, s->x, HAS_TREE) || machine_has(s->b, s->x, HAS_TRASH));
	check_end(w);
}

/* A job is under way that has found it. */
void restored_while_looked_at(struct world *w)
{
	struct stage s = begin(w);

	s.m->list_ns = 10 * SECOND;
	machine_event(s.m, "", true, false);
	run_for(w, SECOND);                     /* the first job is under way */
	s.y = user_put(s.m, "f", 100);          /* to be looked at by the second */
	machine_event(s.m, "", true, false);
	run_for(w, 11 * SECOND);                /* which is under way now */
	user_remove(s.c, "f");
	run_for(w, 3 * SECOND);
	restore(w, &s);
	end(w, &s);
}

/* The event is not read yet. */
void restored_while_told(struct world *w)
{
	struct stage s = begin(w);
	struct sim_event *events;

	s.m->list_ns = 10 * SECOND;
	machine_event(s.m, "", true, false);
	run_for(w, SECOND);                     /* a job is under way, and nothing is applied */
	user_remove(s.c, "f");
	run_for(w, 2 * SECOND);
	s.y = user_put(s.m, "f", 100);
	events = s.m->events;
	s.m->events = NULL;
	s.m->events_end = &s.m->events;
	restore(w, &s);
	*s.m->events_end = events;
	while (*s.m->events_end)
		s.m->events_end = &(*s.m->events_end)->next;
	end(w, &s);
}

/* It was put there while no process ran, and the scan has not come to it. */
void restored_while_scanning(struct world *w)
{
	struct stage s = begin(w);

	machine_stop(s.m);
	s.y = user_put(s.m, "f", 100);
	s.m->list_ns = 20 * SECOND;
	machine_boot(s.m);
	run_for(w, 5 * SECOND);                 /* it is linked, and looks through its tree */
	user_remove(s.c, "f");
	run_for(w, 3 * SECOND);
	restore(w, &s);
	end(w, &s);
}
