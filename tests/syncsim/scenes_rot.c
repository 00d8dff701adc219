/*
 * scenes_rot.c - contents that change on a disk with nobody's doing: what is held is read now and then, what is rotten is had again from others, and goes to nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scenes.h"

void rot_file(struct machine *m, const char *path)
{
	struct inode *in = simtree_find(&m->tree, path);

	in->data[in->len / 2] ^= 1;
	ledger_content(m->w, in->data, in->len, 0); /* for the trash, where it may be; in a tree it is no user's content */
	m->w->rots++;
	world_say(m->w, "%u: '%s' rots", m->number, path);
}

/* What a user did, or nobody, is none. */
void rot_told(struct node_host *h, const char *path, enum node_rot what)
{
	struct machine *m = CL_CONTAINER_OF(h, struct machine, host);
	struct world *w = m->w;

	world_say(w, "%u: '%s' is rotten: %u", m->number, path, (unsigned)what);
	w->rot_told[what]++;
	if (!w->rots && w->reads_failed < 2)
		world_violation(w, "%u takes '%s' for rotten, and nothing is", m->number, path);
}

static void scrub(struct world *w, struct machine *m)
{
	node_scrub(m->node);
	world_rest(w);
	run_for(w, 5 * SECOND);
	world_rest(w);
	EXPECT(w, !status_of(m).scrub.running && status_of(m).scrub.last.ended_us);
}

static bool is_at(struct machine *m, const char *path, uint32_t token)
{
	struct inode *in = simtree_find(&m->tree, path);

	return in && token_of(m->w, in) == token;
}

void rot_is_restored(struct world *w)
{
	struct machine *m = &w->m[0];
	const uint64_t size = 6 * ENTRY_BLOCK_BYTES_MIN;
	uint64_t fetched;
	uint32_t big, small;

	boot_all(w);
	big = user_put(m, "big", size);
	small = user_put(m, "small", 100);
	world_rest(w);
	run_for(w, SECOND);
	fetched = status_of(m).fetched_bytes;
	scrub(w, m);
	EXPECT(w, status_of(m).scrub.last.files == 2 && status_of(m).scrub.last.bytes == size + 100 && !status_of(m).scrub.last.rotten);
	rot_file(m, "big");
	rot_file(m, "small");
	scrub(w, m);
	EXPECT(w, status_of(m).scrub.last.rotten == 2 && status_of(m).scrub.restored == 2 && !status_of(m).rotten);
	EXPECT(w, w->rot_told[NODE_ROT_FOUND] == 2 && w->rot_told[NODE_ROT_RESTORED] == 2);
	EXPECT(w, status_of(m).fetched_bytes - fetched <= ENTRY_BLOCK_BYTES_MIN + 100);
	expect_everywhere(w, big, true, "it was rotten on one machine alone");
	expect_everywhere(w, small, true, "it was rotten on one machine alone");
	EXPECT(w, status_of(m).trash_items == 0 || status_of(m).trash_items == 2); /* as of when it was tended */
	check_end(w);
}

/* Nobody has it: it stays as it is, and nobody gets it. Then its user puts something else there. */
void rot_that_nobody_has(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was, edit;

	boot_all(w);
	cut_off(w, 0, true);
	was = user_put(m, "f", BIG);
	run_for(w, 2 * SECOND);
	rot_file(m, "f");
	node_scrub(m->node);
	run_for(w, 2 * SECOND);
	EXPECT(w, status_of(m).rotten == 1);
	cut_off(w, 0, false);
	run_for(w, 100 * SECOND);
	EXPECT(w, status_of(m).rotten == 1 && simtree_find(&m->tree, "f") && !is_at(m, "f", was));
	EXPECT(w, w->rot_told[NODE_ROT_KEPT] == 1);
	for (unsigned i = 1; i < w->count; i++)
		EXPECT(w, !simtree_find(&w->m[i].tree, "f"));
	w->tokens[was].released = true;
	edit = user_put(m, "f", BIG);
	run_for(w, 100 * SECOND);
	world_rest(w);
	expect_everywhere(w, edit, true, "it was written over what was rotten");
	EXPECT(w, status_of(m).rotten == 0);
	check_end(w);
}

/* It is known to be rotten, nobody is there to have it from, and somebody sets its mode: that makes no edit of it. */
void rot_with_a_mode(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was;

	boot_all(w);
	was = user_put(m, "f", BIG);
	world_rest(w);
	run_for(w, SECOND);
	cut_off(w, 0, true);
	rot_file(m, "f");
	node_scrub(m->node);
	run_for(w, 2 * SECOND);
	EXPECT(w, status_of(m).rotten == 1);
	user_mode(m, "f", 0600);
	run_for(w, 2 * SECOND);
	EXPECT(w, status_of(m).rotten == 1);
	cut_off(w, 0, false);
	world_rest(w);
	run_for(w, 5 * SECOND);
	world_rest(w);
	expect_everywhere(w, was, true, "nobody changed it");
}

/* What a user did in the meantime counts, as it always does. */
void rot_that_is_edited(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was, edit, gone;

	boot_all(w);
	was = user_put(m, "f", 100);
	w->tokens[was].released = true; /* nobody knows it in what is written over */
	gone = user_put(m, "g", 100);
	world_rest(w);
	run_for(w, SECOND);
	rot_file(m, "f");
	rot_file(m, "g");
	node_scrub(m->node);
	edit = user_write(m, "f");
	user_remove(m, "g");
	world_rest(w);
	run_for(w, 5 * SECOND);
	world_rest(w);
	expect_everywhere(w, edit, true, "it was written over what was rotten");
	expect_everywhere(w, gone, false, "it was deleted");
	EXPECT(w, w->rot_told[NODE_ROT_FOUND] == 0);
	check_end(w);
}

void rot_of_two_names(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was;

	boot_all(w);
	was = user_put(m, "f", BIG);
	user_dir(m, "a");
	user_link(m, "a/g", "f");
	world_rest(w);
	run_for(w, SECOND);
	rot_file(m, "f");
	scrub(w, m);
	EXPECT(w, w->rot_told[NODE_ROT_FOUND] == 2 && status_of(m).rotten == 0);
	EXPECT(w, is_at(m, "f", was) && is_at(m, "a/g", was) && simtree_find(&m->tree, "f") == simtree_find(&m->tree, "a/g"));
	check_end(w);
}

void rot_that_cannot_be_read(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was;

	boot_all(w);
	was = user_put(m, "f", BIG);
	world_rest(w);
	run_for(w, SECOND);
	simtree_find(&m->tree, "f")->unreadable = true;
	w->rots++;
	scrub(w, m);
	EXPECT(w, w->rot_told[NODE_ROT_FOUND] == 1 && w->rot_told[NODE_ROT_RESTORED] == 1 && is_at(m, "f", was));
	EXPECT(w, !simtree_find(&m->tree, "f")->unreadable);
	check_end(w);
}

/* Its disk could not read it, and can again: that it was marked is forgotten by the next pass. */
void rot_that_was_none(struct world *w)
{
	struct machine *m = &w->m[0];
	struct inode *in;
	uint32_t was;

	boot_all(w);
	cut_off(w, 0, true);
	was = user_put(m, "f", BIG);
	run_for(w, SECOND);
	in = simtree_find(&m->tree, "f");
	in->unreadable = true;
	w->rots++;
	node_scrub(m->node);
	run_for(w, 10 * SECOND);
	EXPECT(w, status_of(m).rotten == 1);
	in->unreadable = false;
	node_scrub(m->node);
	run_for(w, 10 * SECOND);
	EXPECT(w, status_of(m).rotten == 0 && simtree_find(&m->tree, "f") == in);
	cut_off(w, 0, false);
	world_rest(w);
	expect_everywhere(w, was, true, "it could be read again");
	check_end(w);
}

void rot_behind_a_restart(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was;

	boot_all(w);
	user_put(m, "first", 8 * ENTRY_BLOCK_BYTES_MIN); /* as much as is read at a time */
	was = user_put(m, "last", BIG);
	world_rest(w);
	run_for(w, SECOND);
	rot_file(m, "last");
	w->scrub_rate = 1000; /* behind the first it waits for minutes: a debt that is not its next process's */
	machine_stop(m);
	machine_boot(m);
	world_rest(w);
	node_scrub(m->node);
	run_for(w, 2 * SECOND);
	EXPECT(w, status_of(m).scrub.running && !status_of(m).scrub.now.rotten);
	for (unsigned i = 0; i < 6 && status_of(m).scrub.running; i++) {
		machine_stop(m);
		machine_boot(m);
		run_for(w, 5 * SECOND);
	}
	world_rest(w);
	EXPECT(w, !status_of(m).scrub.running && status_of(m).scrub.last.rotten == 1 && is_at(m, "last", was));
	check_end(w);
}
