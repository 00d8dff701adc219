/*
 * sweep.c - one thing that a user does, and while it is noted here and applied elsewhere one call to a tree fails, or is the last of its process, or of its machine before
 * the power goes, or a commit fails: each in turn.
 *
 * Nobody else does anything, so what there has to be in the end is what the user left, on every machine, to the last name of an inode. (That all are the same, which
 * histories by chance are judged by, is less: a node's own doing that it takes for somebody's change is the same everywhere, too.)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "syncworld.h"

#define SECOND 1000000000ull
#define CALLS_MOST 300u
#define CALLS_ROT 120u /* by then it is restored; and read again all the time */

/* --- what a user does, in a directory that has f and g (names of one file), h, d/i, d/e/j --- */

static const char *at(const char *dir, const char *name)
{
	static char path[2][64];
	static unsigned turn;

	turn ^= 1;
	snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
	return path[turn];
}

static void move(struct machine *m, const char *from, const char *to)
{
	struct inode *there = simtree_find(&m->tree, to);

	m->tree.acting = true;
	if (there && token_of(m->w, there))
		m->w->tokens[token_of(m->w, there)].released = true;
	if (simtree_user_rename(&m->tree, from, to))
		abort();
	m->tree.acting = false;
}

static void write_in_place(struct machine *m, const char *path)
{
	if (!user_open(m, path))
		abort();
	for (unsigned i = 0; i < 30; i++) /* it is seen half written */
		world_step(m->w);
	user_finish(m);
}

static void prepare(struct machine *m, const char *dir)
{
	user_dir(m, dir);
	user_dir(m, at(dir, "d"));
	user_dir(m, at(dir, "d/e"));
	user_put(m, at(dir, "f"), 100);
	user_link(m, at(dir, "g"), at(dir, "f"));
	user_put(m, at(dir, "h"), 100);
	user_put(m, at(dir, "d/i"), 100);
	user_put(m, at(dir, "d/e/j"), 100);
}

static void remove_d(struct machine *m, const char *dir)
{
	user_remove(m, at(dir, "d/e/j"));
	user_remove(m, at(dir, "d/e"));
	user_remove(m, at(dir, "d/i"));
	user_remove(m, at(dir, "d"));
}

static void put_new(struct machine *m, const char *dir) { user_put(m, at(dir, "n"), 100); }
static void put_over(struct machine *m, const char *dir) { user_put(m, at(dir, "h"), 100); }
static void overwrite(struct machine *m, const char *dir) { write_in_place(m, at(dir, "h")); }
static void set_mode(struct machine *m, const char *dir) { user_mode(m, at(dir, "h"), 0600); }
static void set_dir_mode(struct machine *m, const char *dir) { user_mode(m, at(dir, "d"), 0700); }
static void set_linked_mode(struct machine *m, const char *dir) { user_mode(m, at(dir, "g"), 0600); }
static void unlink_one(struct machine *m, const char *dir) { user_remove(m, at(dir, "h")); }
static void unlink_name(struct machine *m, const char *dir) { user_remove(m, at(dir, "f")); }
static void link_more(struct machine *m, const char *dir) { user_link(m, at(dir, "d/n"), at(dir, "f")); }
static void link_first(struct machine *m, const char *dir) { user_link(m, at(dir, "n"), at(dir, "h")); }
static void overwrite_linked(struct machine *m, const char *dir) { write_in_place(m, at(dir, "f")); }
static void put_over_name(struct machine *m, const char *dir) { user_put(m, at(dir, "f"), 100); }
static void move_file(struct machine *m, const char *dir) { move(m, at(dir, "h"), at(dir, "n")); }
static void move_over(struct machine *m, const char *dir) { move(m, at(dir, "h"), at(dir, "f")); }
static void move_name(struct machine *m, const char *dir) { move(m, at(dir, "f"), at(dir, "d/e/f")); }
static void move_name_over(struct machine *m, const char *dir) { move(m, at(dir, "f"), at(dir, "h")); }
static void move_dir(struct machine *m, const char *dir) { move(m, at(dir, "d"), at(dir, "n")); }
static void remove_tree(struct machine *m, const char *dir) { remove_d(m, dir); }

static void write_and_unlink_name(struct machine *m, const char *dir)
{
	write_in_place(m, at(dir, "f"));
	user_remove(m, at(dir, "f"));
}

static void link_write_and_unlink(struct machine *m, const char *dir)
{
	user_link(m, at(dir, "n"), at(dir, "h"));
	write_in_place(m, at(dir, "h"));
	user_remove(m, at(dir, "h"));
}

static void file_over_dir(struct machine *m, const char *dir)
{
	remove_d(m, dir);
	user_put(m, at(dir, "d"), 100);
}

static void dir_over_file(struct machine *m, const char *dir)
{
	user_remove(m, at(dir, "h"));
	user_dir(m, at(dir, "h"));
	user_put(m, at(dir, "h/k"), 100);
}

static void made_anew(struct machine *m, const char *dir)
{
	remove_d(m, dir);
	user_dir(m, at(dir, "d"));
	user_put(m, at(dir, "d/i"), 100);
}

static void rot_one(struct machine *m, const char *dir) { rot_file(m, at(dir, "h")); }
static void rot_linked(struct machine *m, const char *dir) { rot_file(m, at(dir, "g")); }

/* rots: what there was before it has to be there in the end. */
static const struct doing { const char *name; void (*act)(struct machine *m, const char *dir); bool rots; } doings[] = {
	{ "a new file", put_new, false },
	{ "a file put over another", put_over, false },
	{ "a file written in place", overwrite, false },
	{ "a mode", set_mode, false },
	{ "the mode of a directory", set_dir_mode, false },
	{ "the mode of a file with two names", set_linked_mode, false },
	{ "a file removed", unlink_one, false },
	{ "a name removed", unlink_name, false },
	{ "a third name", link_more, false },
	{ "a second name", link_first, false },
	{ "a file with two names written in place", overwrite_linked, false },
	{ "a file put over a name", put_over_name, false },
	{ "a file moved", move_file, false },
	{ "a file moved over a name", move_over, false },
	{ "a name moved", move_name, false },
	{ "a name moved over a file", move_name_over, false },
	{ "a directory moved", move_dir, false },
	{ "a directory removed", remove_tree, false },
	{ "a name written by and removed", write_and_unlink_name, false },
	{ "a second name, the first written by and removed", link_write_and_unlink, false },
	{ "a file in a directory's place", file_over_dir, false },
	{ "a directory in a file's place", dir_over_file, false },
	{ "a directory removed and made anew", made_anew, false },
	{ "rot of a file", rot_one, true },
	{ "rot of a file with two names", rot_linked, true },
};

/* --- what there has to be --- */

struct left { const char *path; enum entry_kind kind; uint16_t mode; int64_t mtime_ns; uint32_t token; size_t first; };
struct tree_left { struct left all[64]; size_t count; };

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

static void take_stock(const struct machine *m, struct tree_left *ret)
{
	struct names n = { NULL, 0, 0 };

	simtree_names_copy(&m->tree.now, &n);
	qsort(n.all, n.count, sizeof *n.all, by_path);
	ret->count = 0;
	for (size_t i = 0; i < n.count; i++) {
		const struct inode *in = n.all[i].in;
		struct left *l = &ret->all[ret->count];
		size_t first = 0;

		if (strncmp(n.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) == 0)
			continue;
		if (ret->count == CL_ARRAY_LEN(ret->all))
			abort();
		while (n.all[first].in != in || strncmp(n.all[first].path, TREE_CORNER, strlen(TREE_CORNER)) == 0)
			first++;
		*l = (struct left){ n.all[i].path, in->kind, in->mode, in->kind == ENTRY_DIR ? 0 : in->mtime_ns, token_of(m->w, in), 0 };
		for (size_t k = 0; k < ret->count; k++)
			if (strcmp(ret->all[k].path, n.all[first].path) == 0)
				l->first = k + 1;
		ret->count++;
	}
	free(n.all);
}

static void compare(struct world *w, const struct tree_left *is, const struct tree_left *should, unsigned number, const char *when)
{
	for (size_t i = 0; i < is->count || i < should->count; i++) {
		const struct left *a = i < is->count ? &is->all[i] : NULL, *b = i < should->count ? &should->all[i] : NULL;

		if (a && b && strcmp(a->path, b->path) == 0 && a->kind == b->kind && a->mode == b->mode && a->mtime_ns == b->mtime_ns && a->token == b->token &&
		    a->first == b->first)
			continue;
		world_violation(w, "%s: %u has %s (token %u, mode %o, name %zu), and should have %s (token %u, mode %o, name %zu)", when, number, a ? a->path : "nothing",
				a ? a->token : 0, a ? a->mode : 0, a ? a->first : 0, b ? b->path : "nothing", b ? b->token : 0, b ? b->mode : 0, b ? b->first : 0);
	}
}

static void rest(struct world *w)
{
	world_rest(w);
	for (uint64_t until = w->now_ns + 3 * SECOND; w->now_ns < until && !w->violation[0];)
		if (!world_step(w))
			w->now_ns = until;
	world_rest(w);
}

static void remove_all(struct machine *m)
{
	for (;;) {
		const char *last = NULL;

		for (size_t i = 0; i < m->tree.now.count; i++) {
			const char *p = m->tree.now.all[i].path;

			if (strncmp(p, TREE_CORNER, strlen(TREE_CORNER)) != 0 && (!last || strcmp(p, last) > 0))
				last = p;
		}
		if (!last)
			return;
		user_remove(m, last);
	}
}

/* --- what happens meanwhile --- */

static const struct blow { const char *name; bool here; enum { FAILS, DIES, POWER, COMMIT } how; } blows[] = {
	{ "a call fails where it is done", true, FAILS },
	{ "a call fails elsewhere", false, FAILS },
	{ "a death where it is done", true, DIES },
	{ "a death elsewhere", false, DIES },
	{ "a loss of power elsewhere", false, POWER },
	{ "a commit fails where it is done", true, COMMIT },
	{ "a commit fails elsewhere", false, COMMIT },
};

/* A process that dies takes its machine with it. */
static void die_with_power(struct machine *m)
{
	for (uint64_t until = m->w->now_ns + 3 * SECOND; m->node && m->w->now_ns < until;)
		if (!world_step(m->w))
			return;
	if (!m->node)
		machine_power_loss(m);
}

/* False: it was over before that call. */
static bool once(struct world *w, const struct doing *d, const struct blow *b, unsigned call)
{
	static struct tree_left should, is;
	struct machine *m = &w->m[0], *hit = &w->m[b->here ? 0 : 1];
	uint64_t *left = b->how == FAILS ? &hit->fail_at : b->how == COMMIT ? &hit->commit_at : &hit->die_at;
	char when[128];
	bool came;

	snprintf(when, sizeof when, "%s, %s, call %u", d->name, b->name, call);
	remove_all(m);
	rest(w);
	prepare(m, "t");
	rest(w);
	*left = call;
	if (d->rots)
		take_stock(m, &should);
	d->act(m, "t");
	if (!d->rots)
		take_stock(m, &should);
	world_say(w, "%s", when);
	if (b->how == POWER)
		die_with_power(hit);
	for (unsigned i = 0; i < (d->rots ? 3u : 1u); i++) /* what cannot be read is read again, then it is fetched */
		rest(w);
	came = *left == 0;
	*left = 0;
	for (unsigned i = 0; i < w->count && !w->violation[0]; i++) {
		take_stock(&w->m[i], &is);
		compare(w, &is, &should, i, when);
	}
	return came;
}

size_t sweep_count(void)
{
	return CL_ARRAY_LEN(doings) * CL_ARRAY_LEN(blows);
}

void sweep_name(size_t number, char *ret, size_t cap)
{
	snprintf(ret, cap, "%s, and %s", doings[number / CL_ARRAY_LEN(blows)].name, blows[number % CL_ARRAY_LEN(blows)].name);
}

void sweep(struct world *w, size_t number)
{
	const struct doing *d = &doings[number / CL_ARRAY_LEN(blows)];
	const struct blow *b = &blows[number % CL_ARRAY_LEN(blows)];

	for (unsigned i = 0; i < w->count && d->rots; i++) { /* what is held is read all the time */
		machine_stop(&w->m[i]);
		w->scrub_rate = 64u << 20;
		w->scrub_every_ns = SECOND;
		machine_boot(&w->m[i]);
	}
	for (unsigned call = 1; call < (d->rots ? CALLS_ROT : CALLS_MOST) && !w->violation[0] && once(w, d, b, call); call++)
		;
}
