/*
 * scenes_ignore.c - scenes of what is ignored: by one, by all, before and after others knew of it.
 */
#include <errno.h>
#include <string.h>

#include "scenes.h"

static void ignore(struct machine *m, enum rules rules)
{
	machine_stop(m);
	machine_kill(m);
	m->next_rules = rules;
	machine_boot(m);
	world_rest(m->w);
}

/* What begins to be ignored stays as it is, here and elsewhere; when that is over, the others' state is had again. */
void ignored_and_not(struct world *w)
{
	uint32_t was, mine, theirs, new, only;

	boot_all(w);
	was = user_put(&w->m[0], "f", 100);
	world_rest(w);
	ignore(&w->m[0], RULES_F);
	user_remove(&w->m[1], "f");
	world_rest(w);
	EXPECT(w, machine_has(&w->m[0], was, HAS_TREE) && !machine_has(&w->m[1], was, HAS_TREE) && !machine_has(&w->m[2], was, HAS_TREE));
	theirs = user_put(&w->m[2], "f", 100);
	mine = user_put(&w->m[0], "f", 100);
	user_dir(&w->m[0], "d");
	only = user_put(&w->m[0], "d/f", 100);
	world_rest(w);
	EXPECT(w, machine_has(&w->m[1], theirs, HAS_TREE) && !machine_has(&w->m[0], theirs, HAS_TREE));
	EXPECT(w, machine_has(&w->m[0], mine, HAS_TREE) && !machine_has(&w->m[1], mine, HAS_TREE));
	check_end(w);
	user_remove(&w->m[0], "f");
	new = user_put(&w->m[0], "f", 100);
	ignore(&w->m[0], RULES_NONE);
	expect_everywhere(w, theirs, true, "the others knew of it");
	expect_everywhere(w, new, false, "nobody knew when it was written");
	expect_everywhere(w, only, true, "nobody else had anything there");
	EXPECT(w, machine_has(&w->m[0], new, HAS_TRASH));
	check_end(w);
}

/*
 * Nobody knew of it while it was ignored, and somebody else makes the path while its process does not run with other rules yet: that wins, a deletion too, and what lay there is in the trash. What
 * was made at another path is news as ever.
 */
void ignored_and_made_elsewhere(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t mine, theirs, gone, beside;

	boot_all(w);
	user_put(&w->m[1], "g", 100);
	user_dir(&w->m[1], "d");
	ignore(m, RULES_F);
	mine = user_put(m, "f", 100);
	gone = user_put(m, "d/f", 100);
	world_rest(w);
	machine_stop(m);
	machine_kill(m);
	run_for(w, SECOND);
	theirs = user_put(&w->m[1], "f", 100);
	user_put(&w->m[1], "d/f", 100);
	user_put(&w->m[1], "e", 100);
	run_for(w, 3 * SECOND);
	user_remove(&w->m[2], "d/f");
	run_for(w, 3 * SECOND);
	beside = user_put(m, "e", 100); /* later, while no process runs */
	m->next_rules = RULES_NONE;
	machine_boot(m);
	world_rest(w);
	expect_everywhere(w, theirs, true, "the others knew of it");
	EXPECT(w, machine_has(m, mine, HAS_TRASH));
	expect_everywhere(w, gone, false, "the others knew of its deletion");
	EXPECT(w, machine_has(m, gone, HAS_TRASH));
	expect_everywhere(w, beside, true, "it was not ignored, and is the later");
	check_end(w);
}

/* Deleted where it is ignored, it is there for all others, and comes back; deleted for all others, it goes when it is ignored no more. */
void deleted_and_ignored(struct world *w)
{
	uint32_t stays, goes;

	boot_all(w);
	stays = user_put(&w->m[1], "f", 100);
	user_dir(&w->m[1], "d");
	goes = user_put(&w->m[1], "d/f", 100);
	world_rest(w);
	ignore(&w->m[0], RULES_F);
	user_remove(&w->m[0], "f");
	user_remove(&w->m[2], "d/f");
	world_rest(w);
	EXPECT(w, !machine_has(&w->m[0], stays, HAS_TREE) && machine_has(&w->m[1], stays, HAS_TREE) && machine_has(&w->m[2], stays, HAS_TREE));
	EXPECT(w, machine_has(&w->m[0], goes, HAS_TREE) && !machine_has(&w->m[1], goes, HAS_TREE));
	check_end(w);
	ignore(&w->m[0], RULES_NONE);
	expect_everywhere(w, stays, true, "it was deleted for nobody");
	expect_everywhere(w, goes, false, "it was deleted");
	EXPECT(w, machine_has(&w->m[0], goes, HAS_TRASH));
	check_end(w);
}

/* What is ignored keeps its directories, everywhere, against a deletion and against a file in the place of one further up. */
void ignored_in_a_directory(struct world *w)
{
	uint32_t kept, gone, file;

	boot_all(w);
	ignore(&w->m[1], RULES_G_D);
	user_dir(&w->m[0], "a");
	user_dir(&w->m[0], "a/c");
	gone = user_put(&w->m[0], "a/c/x", 100);
	world_rest(w);
	kept = user_put(&w->m[1], "a/c/g", 100);
	world_rest(w);
	user_remove(&w->m[0], "a/c/x");
	user_remove(&w->m[0], "a/c");
	user_remove(&w->m[0], "a");
	world_rest(w);
	expect_everywhere(w, gone, false, "it was deleted");
	for (unsigned i = 0; i < w->count; i++)
		EXPECT(w, simtree_is_dir(&w->m[i].tree, "a/c"));
	if (w->violation[0])
		return;
	user_remove(&w->m[2], "a/c");
	user_remove(&w->m[2], "a");
	file = user_put(&w->m[2], "a", 100);
	world_rest(w);
	for (unsigned i = 0; i < w->count; i++)
		EXPECT(w, simtree_is_dir(&w->m[i].tree, "a/c") && machine_has(&w->m[i], kept, HAS_TREE) == (i == 1));
	EXPECT(w, machine_has(&w->m[2], file, HAS_TRASH));
	check_end(w);
	if (w->violation[0])
		return;
	user_remove(&w->m[1], "a/c/g"); /* now it can */
	user_remove(&w->m[0], "a/c");
	user_remove(&w->m[0], "a");
	world_rest(w);
	for (unsigned i = 0; i < w->count; i++)
		EXPECT(w, !simtree_find(&w->m[i].tree, "a"));
	check_end(w);
}

/* All ignore what all have: its directory goes all the same where it is not. */
void all_ignore_it(struct world *w)
{
	boot_all(w);
	user_dir(&w->m[0], "a");
	user_put(&w->m[0], "a/g", 100);
	world_rest(w);
	for (unsigned i = 0; i < w->count; i++)
		ignore(&w->m[i], RULES_G_D);
	for (unsigned i = 0; i < w->count; i++)
		user_remove(&w->m[i], "a/g");
	user_remove(&w->m[0], "a");
	world_rest(w);
	for (unsigned i = 0; i < w->count; i++)
		EXPECT(w, !simtree_find(&w->m[i].tree, "a"));
	check_end(w);
}

/* One inode, by a name that is ignored and one that is not. */
void ignored_names(struct world *w)
{
	uint32_t by_it;

	boot_all(w);
	ignore(&w->m[0], RULES_G_D);
	user_put(&w->m[0], "f", 100);
	world_rest(w);
	user_link(&w->m[0], "g", "f");
	world_rest(w);
	by_it = user_write(&w->m[0], "g");
	world_rest(w);
	expect_everywhere(w, by_it, true, "it was written into the file by another name");
	for (unsigned i = 1; i < w->count; i++)
		EXPECT(w, !simtree_find(&w->m[i].tree, "g"));
	check_end(w);
	user_put(&w->m[1], "f", 100); /* another inode there: the ignored name keeps its own */
	world_rest(w);
	EXPECT(w, token_of(w, simtree_find(&w->m[0].tree, "g")) == by_it);
	check_end(w);
	ignore(&w->m[0], RULES_NONE);
	expect_everywhere(w, by_it, true, "it is ignored no more");
	check_end(w);
}

/* One that alone has what it ignores from now on, and who knows of it: they give it up, and it stays where it is. */
void ignored_by_its_holder(struct world *w)
{
	uint32_t t;

	boot_all(w);
	cut_off(w, 0, true);
	t = user_put(&w->m[0], "f", BIG);
	run_for(w, SECOND);
	machine_kill(&w->m[0]);
	w->m[0].next_rules = RULES_F;
	cut_off(w, 0, false);
	machine_boot(&w->m[0]);
	world_rest(w);
	EXPECT(w, machine_has(&w->m[0], t, HAS_TREE) && !machine_has(&w->m[1], t, HAS_TREE));
	check_end(w);
}

/* A file that has no version yet, as its machine has yet to join, and is ignored from the next start on: nobody is ever told of it. */
void ignored_before_it_was_known(struct world *w)
{
	struct machine *m = &w->m[0];
	struct index_record r;
	struct index_txn *t;
	uint32_t token;

	boot_all(w);
	machine_kill(m);
	machine_forget_index(m);
	token = user_put(m, "f", 100);
	cut_off(w, 0, true);
	machine_boot(m);
	run_for(w, SECOND);
	index_record_init(&r);
	EXPECT(w, !index_begin(m->index, false, &t) && index_get(t, "f", 1, &r) == 0 && !r.known.dot.seq);
	index_abort(t);
	machine_kill(m);
	m->next_rules = RULES_F;
	cut_off(w, 0, false);
	machine_boot(m);
	world_rest(w);
	for (unsigned i = 0; i < w->count; i++) {
		EXPECT(w, !index_begin(w->m[i].index, false, &t) && index_get(t, "f", 1, &r) == -ENOENT);
		index_abort(t);
	}
	EXPECT(w, machine_has(m, token, HAS_TREE));
	index_record_free(&r);
	check_end(w);
}
