/*
 * scenes_clock.c - clocks that are wrong, and set right, while everybody is connected: the later edit wins all the same.
 */
#include "scenes.h"

#define YEAR (365 * 86400 * (int64_t)SECOND)

/* One edits, and then another that does not know of it, and could not be known of. */
static void edit_and_again(struct world *w, struct machine *first, struct machine *second, unsigned alone)
{
	uint32_t x, y;

	cut_off(w, alone, true);
	run_for(w, 2 * SECOND);
	x = user_put(first, "f", 100);
	run_for(w, 3 * SECOND);
	y = user_put(second, "f", 100);
	run_for(w, 3 * SECOND);
	cut_off(w, alone, false);
	world_rest(w);
	expect_everywhere(w, y, true, "it is the later");
	expect_everywhere(w, x, false, "it is the earlier");
	EXPECT(w, machine_has(first, x, HAS_TRASH));
	check_end(w);
}

/* Whose clock jumps ahead has the others' to go by. */
void clock_jumps(struct world *w)
{
	boot_all(w);
	user_put(&w->m[0], "f", 100);
	world_rest(w);
	w->m[0].skew_ns = YEAR;
	edit_and_again(w, &w->m[0], &w->m[1], 1);
}

/* One was behind when it came up, and was set right: nobody is held back by what it showed then. */
void clock_set_right(struct world *w)
{
	w->m[0].skew_ns = -YEAR;
	boot_all(w);
	user_put(&w->m[0], "f", 100);
	world_rest(w);
	w->m[0].skew_ns = 0;
	run_for(w, 700 * SECOND);
	edit_and_again(w, &w->m[1], &w->m[2], 1);
}
