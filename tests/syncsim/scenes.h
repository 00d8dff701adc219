/*
 * scenes.h - what the files of scenes share: the stage, and the scenes that are not in scenes.c itself.
 */
#ifndef CLONELOVE_SYNCSIM_SCENES_H
#define CLONELOVE_SYNCSIM_SCENES_H

#include "syncworld.h"

#define SECOND 1000000000ull
#define BIG (FRAME_CONTENT_MAX + 1000u) /* does not travel with its announcement */
#define EXPECT(w, cond) do { if (!(cond)) world_violation(w, "not so: %s", #cond); } while (0)

struct node_status status_of(struct machine *m);
void run_for(struct world *w, uint64_t ns);
void boot_all(struct world *w);
void cut_off(struct world *w, unsigned number, bool cut);
void expect_everywhere(struct world *w, uint32_t token, bool there, const char *what);

/* --- scenes_copy.c --- */
void copy_of_all(struct world *w);
void copy_of_before(struct world *w);
void copy_of_something_else(struct world *w);
void copy_away(struct world *w);
void copy_gone_on_with(struct world *w);
void copy_alone(struct world *w);

/* --- scenes_ignore.c --- */
void ignored_and_not(struct world *w);
void ignored_and_made_elsewhere(struct world *w);
void deleted_and_ignored(struct world *w);
void ignored_in_a_directory(struct world *w);
void all_ignore_it(struct world *w);
void ignored_names(struct world *w);
void ignored_by_its_holder(struct world *w);
void ignored_before_it_was_known(struct world *w);

/* --- scenes_restored.c --- */
void restored_while_looked_at(struct world *w);
void restored_while_told(struct world *w);
void restored_while_scanning(struct world *w);

/* --- scenes_clock.c --- */
void clock_jumps(struct world *w);
void clock_set_right(struct world *w);

/* --- scenes_rot.c --- */
void rot_is_restored(struct world *w);
void rot_that_nobody_has(struct world *w);
void rot_with_a_mode(struct world *w);
void rot_that_is_edited(struct world *w);
void rot_of_two_names(struct world *w);
void rot_that_cannot_be_read(struct world *w);
void rot_that_was_none(struct world *w);
void rot_behind_a_restart(struct world *w);

#endif
