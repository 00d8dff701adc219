/*
 * scenes.c - single histories that chance seldom makes, told one step after the other: each is about one rule, and says what has to be so at its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenes.h"

/* --- the stage --- */

/* Three machines that know each other, without faults; nothing happens by itself. */
static void set_stage(struct world *w, uint64_t seed, bool trace, unsigned missing_percent)
{
	for (;; seed++) {
		world_init(w, seed, SYNC_BREAK_NONE, trace);
		if (w->count == 3)
			break;
		world_free(w);
	}
	w->missing_percent = missing_percent;
	w->keep_ns = TRASH_KEEP_NS;
	w->user_ops_most = UINT64_MAX;
	for (unsigned i = 0; i < w->count; i++) {
		w->m[i].seeds = 7u & ~(1u << i);
		w->m[i].absent = false;
	}
}

void run_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->now_ns + ns;

	while (w->now_ns < until && !w->violation[0])
		if (!world_step(w))
			w->now_ns = until;
}

void boot_all(struct world *w)
{
	for (unsigned i = 0; i < w->count; i++)
		machine_boot(&w->m[i]);
	world_rest(w);
}

struct node_status status_of(struct machine *m)
{
	struct node_status s = { 0 };

	if (m->node)
		node_status(m->node, &s);
	return s;
}

/* Names go, and nobody is told, the watcher neither. "": all. */
static void vanish(struct machine *m, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < m->tree.now.count;) {
		const char *p = m->tree.now.all[i].path;

		if (strncmp(p, TREE_CORNER, strlen(TREE_CORNER)) != 0 && (!len || (strncmp(p, path, len) == 0 && (p[len] == '\0' || p[len] == '/'))))
			m->tree.now.all[i] = m->tree.now.all[--m->tree.now.count];
		else
			i++;
	}
	m->tree.past_count = 0;
	world_say(m->w, "'%s' of %u vanishes", path, m->number);
}

void cut_off(struct world *w, unsigned number, bool cut)
{
	for (unsigned i = 0; i < w->count; i++)
		if (i != number)
			world_cut(w, number, i, cut);
}

void expect_everywhere(struct world *w, uint32_t token, bool there, const char *what)
{
	for (unsigned i = 0; i < w->count; i++)
		if (machine_has(&w->m[i], token, HAS_TREE) != there)
			world_violation(w, "token %u is %sin the tree of %u: %s", token, there ? "not " : "", i, what);
}

/* --- the scenes --- */

/* A file goes at some time, and nobody sees it; somebody edits it elsewhere; then it is found to be gone. The edit stays. */
static void gone_unseen(struct world *w, bool linked)
{
	uint32_t was, edit;

	boot_all(w);
	user_dir(&w->m[0], "a");
	was = user_put(&w->m[0], "a/f", 100);
	world_rest(w);
	run_for(w, 10 * SECOND);
	if (!linked)
		cut_off(w, 0, true);
	vanish(&w->m[0], "a");
	run_for(w, 10 * SECOND);
	edit = user_put(&w->m[1], "a/f", 100);
	run_for(w, linked ? 0 : 10 * SECOND);
	machine_event(&w->m[0], "", true, false);
	run_for(w, 10 * SECOND);
	cut_off(w, 0, false);
	world_rest(w);
	expect_everywhere(w, edit, true, "it was written after the other had gone, unseen");
	expect_everywhere(w, was, false, "it was replaced");
}

static void gone_unseen_cut(struct world *w)
{
	gone_unseen(w, false);
}

static void gone_unseen_linked(struct world *w)
{
	gone_unseen(w, true);
}

/* The same across a restart: what went while no process ran. But what nobody edited is deleted. */
static void gone_while_stopped(struct world *w)
{
	uint32_t a, b, edit;

	boot_all(w);
	a = user_put(&w->m[0], "f", 100);
	b = user_put(&w->m[0], "g", 100);
	world_rest(w);
	machine_kill(&w->m[0]);
	vanish(&w->m[0], "");
	run_for(w, 10 * SECOND);
	edit = user_put(&w->m[1], "f", 100);
	run_for(w, 10 * SECOND);
	cut_off(w, 0, true);
	machine_boot(&w->m[0]);
	run_for(w, 10 * SECOND);
	cut_off(w, 0, false);
	world_rest(w);
	expect_everywhere(w, a, false, "it was replaced");
	expect_everywhere(w, b, false, "it was deleted");
	expect_everywhere(w, edit, true, "it was written after the other had gone, unseen");
}

/* One path is told of as gone while a listing shows that all is: nothing of that is alone. */
static void gone_beside_a_listing(struct world *w)
{
	char name[2] = "k";
	uint32_t t[6];

	boot_all(w);
	for (unsigned i = 0; i < 6; i++, name[0]++)
		t[i] = user_put(&w->m[0], name, 100);
	world_rest(w);
	vanish(&w->m[0], "");
	node_dirty(w->m[0].node, "k", 1, false, false); /* the first job is under way with it when the others come */
	node_dirty(w->m[0].node, "l", 1, false, false);
	node_dirty(w->m[0].node, "", 0, true, false);
	run_for(w, 20 * SECOND);
	EXPECT(w, status_of(&w->m[0]).halted && status_of(&w->m[0]).missing >= 5);
	for (unsigned i = 1; i < 6; i++)
		EXPECT(w, machine_has(&w->m[1], t[i], HAS_TREE));
	EXPECT(w, node_go_on(w->m[0].node, status_of(&w->m[0]).question, false) == 0);
	world_rest(w);
	for (unsigned i = 1; i < 6; i++)
		expect_everywhere(w, t[i], true, "nobody deleted it");
}

/* Somebody says that what is missing was deleted. More is missing by then: about that, nobody was asked. */
static void a_word_for_each_question(struct world *w)
{
	char name[2] = "f";
	uint32_t t[10], question;

	boot_all(w);
	for (unsigned i = 0; i < 10; i++, name[0]++)
		t[i] = user_put(&w->m[0], name, 100);
	world_rest(w);
	for (name[0] = 'f'; name[0] < 'f' + 6; name[0]++)
		vanish(&w->m[0], name);
	machine_event(&w->m[0], "", true, false);
	run_for(w, 20 * SECOND);
	question = status_of(&w->m[0]).question;
	EXPECT(w, status_of(&w->m[0]).missing == 6 && question);
	for (; name[0] < 'f' + 9; name[0]++) {
		vanish(&w->m[0], name);
		machine_event(&w->m[0], name, false, false);
	}
	run_for(w, SECOND);
	EXPECT(w, node_go_on(w->m[0].node, question + 1, true) == -ESRCH);
	EXPECT(w, node_go_on(w->m[0].node, question, true) == 0);
	run_for(w, 20 * SECOND);
	EXPECT(w, status_of(&w->m[0]).missing == 3 && status_of(&w->m[0]).question != question);
	EXPECT(w, node_go_on(w->m[0].node, question, true) == -ESRCH);
	machine_kill(&w->m[0]); /* and asks again when it comes back */
	machine_boot(&w->m[0]);
	run_for(w, 20 * SECOND);
	EXPECT(w, status_of(&w->m[0]).missing == 3);
	EXPECT(w, node_go_on(w->m[0].node, status_of(&w->m[0]).question, false) == 0);
	world_rest(w);
	for (unsigned i = 0; i < 10; i++)
		expect_everywhere(w, t[i], i >= 6, "what was asked about was deleted, and nothing else");
}

/* Of a large tree no more is kept in mind at a time than what is in some directories; what has no versions gets them a slice at a time, whoever dies between. */
static void large_tree(struct world *w)
{
	enum { DIRS = 20, EACH = 30 };
	struct machine *m = &w->m[0];
	uint32_t t[DIRS * EACH];
	uint64_t most = 0;
	char path[24];

	w->batch = 4;
	boot_all(w);
	machine_kill(m);
	machine_forget_index(m);
	for (unsigned d = 0; d < DIRS; d++) {
		snprintf(path, sizeof path, "d%u", d);
		user_dir(m, path);
		for (unsigned i = 0; i < EACH; i++) {
			snprintf(path, sizeof path, "d%u/f%u", d, i);
			t[d * EACH + i] = user_put(m, path, 50);
		}
	}
	machine_boot(m);
	for (unsigned steps = 0; steps < 100000 && !w->violation[0] && !machine_has(&w->m[1], t[EACH], HAS_TREE); steps++) {
		uint64_t dirty = status_of(m).dirty;

		most = dirty > most ? dirty : most;
		world_step(w);
	}
	EXPECT(w, most > 0 && most < 5 * EACH);
	machine_kill(m); /* it may be in the middle of that */
	machine_boot(m);
	world_rest(w);
	for (unsigned i = 0; i < DIRS * EACH; i++)
		expect_everywhere(w, t[i], true, "nobody changed it");
}

/* Somebody was away, and uploads come all the time, more than it can put in place: what it missed gets there all the same, and so do they. Their names come first, where it counts. */
static void uploads_outrun(struct world *w)
{
	struct machine *m = &w->m[0], *late = &w->m[2];
	uint32_t missed[40], at[4000];
	unsigned uploads = 0, there = 0, new_there = 0;
	char name[16];

	w->batch = 4;
	w->want_keep = 64;
	w->fetch_most = 2;
	boot_all(w);
	cut_off(w, 2, true);
	for (unsigned i = 0; i < CL_ARRAY_LEN(missed); i++) {
		snprintf(name, sizeof name, "z%u", i);
		missed[i] = user_put(m, name, i % 2 ? BIG : 100);
	}
	run_for(w, 10 * SECOND);
	cut_off(w, 2, false);
	for (; there < CL_ARRAY_LEN(missed) && uploads < CL_ARRAY_LEN(at) && !w->violation[0]; uploads++) {
		snprintf(name, sizeof name, "a%u", uploads);
		at[uploads] = user_put(m, name, 50);
		for (unsigned i = 0; i < 2; i++)
			world_step(w);
		while (there < CL_ARRAY_LEN(missed) && machine_has(late, missed[there], HAS_TREE))
			there++;
	}
	for (unsigned i = 0; i < uploads; i++)
		new_there += machine_has(late, at[i], HAS_TREE);
	world_say(w, "after %u uploads %u of what was missed is there, and %u of them are; %llu are wanted", uploads, there, new_there, (unsigned long long)status_of(late).wanted);
	EXPECT(w, there == CL_ARRAY_LEN(missed));
	EXPECT(w, status_of(late).wanted > 64); /* else they did not outrun it */
	EXPECT(w, new_there > uploads / 20);
	world_rest(w);
}

/* Who alone has a content looks through its tree anew, for longer than what nobody has is waited for. */
static void held_by_one_that_scans(struct world *w)
{
	struct machine *m = &w->m[2];
	uint32_t t;

	boot_all(w);
	user_put(&w->m[0], "f", 100);
	world_rest(w);
	t = user_put(m, "f", BIG);
	for (unsigned i = 0; i < 100000 && status_of(&w->m[0]).wanted + status_of(&w->m[1]).wanted < 1 && !w->violation[0]; i++) /* the first that wants it has not fetched it yet, and tells the other */
		world_step(w);
	EXPECT(w, !machine_has(&w->m[0], t, HAS_TREE) && !machine_has(&w->m[1], t, HAS_TREE));
	machine_kill(m);
	machine_forget_index(m);
	m->list_ns = 100 * SECOND;
	machine_boot(m);
	run_for(w, 90 * SECOND);
	EXPECT(w, status_of(&w->m[0]).peers == 2 && status_of(&w->m[0]).wanted == 1);
	EXPECT(w, status_of(&w->m[0]).unheard_s > 60);
	m->list_ns = 0;
	world_rest(w);
	expect_everywhere(w, t, true, "it was there all the time");
	run_for(w, 15 * SECOND);
	EXPECT(w, status_of(&w->m[0]).unheard_s == 0);
}

/* What one alone has, who is away, is more than is fetched at a time. What the others make is fetched all the same. */
static void holder_away(struct world *w)
{
	struct machine *m = &w->m[2];
	char name[] = "f00";
	uint32_t t[60], more;

	w->fetch_most = 16;
	boot_all(w);
	cut_off(w, 2, true);
	for (unsigned i = 0; i < CL_ARRAY_LEN(t); i++) {
		name[1] = (char)('0' + i / 10);
		name[2] = (char)('0' + i % 10);
		t[i] = user_put(m, name, BIG);
	}
	run_for(w, 10 * SECOND);
	cut_off(w, 2, false);
	for (unsigned i = 0; i < 100000 && status_of(&w->m[0]).wanted < CL_ARRAY_LEN(t) / 2 && !w->violation[0]; i++)
		world_step(w);
	machine_kill(m);
	run_for(w, 5 * SECOND);
	EXPECT(w, status_of(&w->m[0]).wanted > 20);
	more = user_put(&w->m[1], "more", BIG);
	run_for(w, 10 * SECOND);
	EXPECT(w, machine_has(&w->m[0], more, HAS_TREE));
	cut_off(w, 0, true); /* and what was begun goes on, and nothing is given up, when somebody is there again */
	run_for(w, 60 * SECOND);
	cut_off(w, 0, false);
	machine_boot(m);
	world_rest(w);
	for (unsigned i = 0; i < CL_ARRAY_LEN(t); i++)
		expect_everywhere(w, t[i], true, "it was there all the time");
	check_end(w);
}

/* Two live with one key, an image of a machine and that machine, and both reach a third. What the one says that it knows is not known to the other. */
static void two_of_one_key(struct world *w)
{
	struct machine *m = &w->m[2], *image = &w->m[1];
	uint32_t was, t;

	boot_all(w);
	was = user_put(m, "f", 100);
	world_rest(w);
	machine_kill(image);
	simtree_copy(&m->tree, &image->tree);
	machine_copy_index(m, image, "data.mdb");
	memcpy(image->key, m->key, sizeof image->key);
	machine_boot(image);
	run_for(w, 5 * SECOND);
	EXPECT(w, status_of(&w->m[0]).peers == 2);
	t = user_put(m, "f", BIG);
	for (unsigned i = 0; i < 100000 && !status_of(&w->m[0]).wanted && !w->violation[0]; i++)
		world_step(w);
	user_put(&w->m[0], "g", 100); /* goes out at once; that f is there now, when it is */
	run_for(w, 5 * SECOND);
	machine_kill(image); /* its operator hears of it */
	machine_new_key(image);
	world_rest(w);
	expect_everywhere(w, t, true, "nobody replaced it");
	expect_everywhere(w, was, false, "it was replaced");
}

/* As if so many starts of members had made changes, and all of it were known to this one. */
static void age(struct machine *m, unsigned starts)
{
	uint8_t id[INDEX_ID_BYTES] = { 0 };
	struct vector v = VECTOR_INIT;
	struct dot d = { .seq = 1 };
	struct index_txn *t;
	struct index *x;
	bool is_new;

	if (index_open(m->dir, 64u << 20, id, &x, &is_new) || index_begin(x, true, &t) || index_context_get(t, &v))
		abort();
	for (unsigned i = 0; i < starts; i++) {
		m->env.random(&m->env, d.inc, sizeof d.inc);
		if (vector_raise(&v, &d))
			abort();
	}
	if (index_context_put(t, &v) || index_commit(t))
		abort();
	index_close(x);
	vector_free(&v);
}

/* More starts that make changes than a vector has room for; and more than is kept, of one path. */
static void many_starts(struct world *w)
{
	struct machine *m = &w->m[0];
	struct node_status s;

	w->context_keep = 0;
	boot_all(w);
	user_put(m, "f", 100);
	world_rest(w);
	machine_stop(m);
	age(m, VECTOR_MAX - 100);
	machine_boot(m);
	for (unsigned i = 0; i < 200 && !w->violation[0]; i++) {
		user_mode(m, "f", 0600 + i % 2);
		world_rest(w);
		run_for(w, SECOND);
		machine_stop(m);
		machine_boot(m);
	}
	run_for(w, 70 * SECOND); /* it is not cut all the time */
	user_mode(m, "f", 0644);
	world_rest(w);
	run_for(w, 2 * SECOND);
	for (unsigned i = 0; i < w->count; i++) {
		s = status_of(&w->m[i]);
		world_say(w, "%u: a context of %llu", i, (unsigned long long)s.context);
		EXPECT(w, s.context <= NODE_CONTEXT_KEEP + w->count);
		EXPECT(w, s.error == 0);
	}
	check_end(w);
}

/* Another name of a file is made and found; before the first is looked at for that, somebody has it open; writes by it, and removes it. The other has what was written. */
static void written_by_a_name_that_went(struct world *w)
{
	struct machine *m = &w->m[0];
	uint32_t was, t;

	boot_all(w);
	was = user_put(m, "f", 100);
	world_rest(w);
	run_for(w, 10 * SECOND);
	user_link(m, "g", "f");
	for (unsigned i = 0; i < 100000 && status_of(m).records < 2 && !w->violation[0]; i++)
		world_step(w);
	t = user_open(m, "f");
	EXPECT(w, t);
	run_for(w, SECOND);
	user_finish(m);
	user_remove(m, "f");
	world_rest(w);
	expect_everywhere(w, t, true, "it has another name");
	expect_everywhere(w, was, false, "it was written over");
	check_end(w);
}

/* Two names of one file come to a member of which one call to its tree fails, or that dies there, at each call in turn. They stay names of one file. */
static void names_of_one_file(struct world *w, bool die)
{
	struct machine *m = &w->m[0], *at = &w->m[1];

	boot_all(w);
	for (unsigned k = 1; k <= 60 && !w->violation[0]; k++) {
		user_put(m, "f", 100);
		if (k > 1)
			user_remove(m, "g");
		user_link(m, "g", "f");
		*(die ? &at->die_at : &at->fail_at) = k;
		world_rest(w);
		run_for(w, SECOND);
		world_rest(w);
		at->die_at = at->fail_at = 0;
		for (unsigned i = 0; i < w->count; i++)
			if (!simtree_find(&w->m[i].tree, "f") || simtree_find(&w->m[i].tree, "f") != simtree_find(&w->m[i].tree, "g"))
				world_violation(w, "f and g are not of one inode on %u, call %u", i, k);
	}
	check_end(w);
}

static void names_of_one_file_failing(struct world *w)
{
	names_of_one_file(w, false);
}

static void names_of_one_file_dying(struct world *w)
{
	names_of_one_file(w, true);
}

/* Who loses power, and with it what it knew since two names became one file, does not win over what that file became meanwhile. */
static void links_of_before(struct world *w)
{
	struct machine *m = &w->m[0], *back = &w->m[1];
	char then[256], now[256];
	uint32_t t;

	machine_index_path(back, "backup.mdb", then, sizeof then);
	machine_index_path(back, "data.mdb", now, sizeof now);
	boot_all(w);
	user_put(m, "f", 100);
	world_rest(w);
	machine_copy_index(back, back, "backup.mdb");
	user_link(m, "g", "f");
	world_rest(w);
	machine_kill(back);
	t = user_open(m, "f");
	user_finish(m);
	run_for(w, 5 * SECOND);
	simindex_copy(then, now);
	unlink(then);
	machine_reset(back);
	machine_boot(back);
	world_rest(w);
	expect_everywhere(w, t, true, "it was written while one was away");
	for (unsigned i = 0; i < w->count; i++)
		EXPECT(w, simtree_find(&w->m[i].tree, "f") && simtree_find(&w->m[i].tree, "f") == simtree_find(&w->m[i].tree, "g"));
	check_end(w);
}

/* A user gets another name on one machine (usermod -l): nobody changed the files, so what another machine's user does to them is not lost to that. */
static void owner_renamed(struct world *w)
{
	uint32_t was, edit;

	boot_all(w);
	was = user_put(&w->m[0], "f", 100);
	world_rest(w);
	run_for(w, 10 * SECOND);
	w->m[1].renamed = 1;
	edit = user_put(&w->m[0], "f", 100);
	world_rest(w);
	expect_everywhere(w, edit, true, "nobody changed it since");
	expect_everywhere(w, was, false, "it was replaced");
	for (unsigned i = 0; i < w->count; i++)
		EXPECT(w, status_of(&w->m[i]).trash_items == 0);
}

/* The owner of a file is unknown by name on another machine, where the number is somebody else's: it goes by number there, and stays whose it is. */
static void owner_unknown(struct world *w)
{
	struct inode *in[3];

	w->m[0].renamed = 1u << 3;
	w->m[1].owners = w->m[0].owners + 1;
	boot_all(w);
	user_put(&w->m[0], "f", 100);
	user_owner(&w->m[0], "f", w->m[0].owners + 3);
	user_put(&w->m[0], "g", 100);
	world_rest(w);
	user_owner(&w->m[0], "g", w->m[0].owners + 3); /* in place */
	user_mode(&w->m[1], "f", 0751);
	world_rest(w);
	machine_kill(&w->m[1]); /* read again */
	machine_power_loss(&w->m[1]);
	world_rest(w);
	user_mode(&w->m[1], "g", 0751);
	world_rest(w);
	for (const char *const *path = (const char *const[]){ "f", "g", NULL }; *path; path++)
		for (unsigned i = 0; i < w->count; i++) {
			in[i] = simtree_find(&w->m[i].tree, *path);
			EXPECT(w, in[i] && in[i]->mode == 0751 && in[i]->uid == w->m[0].owners + 3 && in[i]->gid == in[i]->uid);
		}
	for (unsigned k = 1; k < 60 && !w->violation[0]; k++) { /* nor is it anybody's doing where the process dies in between */
		user_put(&w->m[0], "f", 100);
		world_rest(w);
		if (k % 2)
			user_put(&w->m[0], "f", 100);
		user_owner(&w->m[0], "f", w->m[0].owners + 3);
		user_mode(&w->m[0], "f", 0600 + k);
		w->m[1].die_at = k / 2 + 1;
		world_rest(w);
		w->m[1].die_at = 0;
		for (unsigned i = 0; i < w->count; i++) {
			in[i] = simtree_find(&w->m[i].tree, "f");
			EXPECT(w, in[i]->uid == w->m[0].owners + 3 && in[i]->gid == in[i]->uid);
		}
	}
	user_owner(&w->m[1], "f", w->m[1].owners); /* but what a user does is a change */
	world_rest(w);
	for (unsigned i = 0; i < w->count; i++) {
		in[i] = simtree_find(&w->m[i].tree, "f");
		EXPECT(w, in[i]->uid == w->m[i].owners && in[i]->gid == in[i]->uid);
	}
}

static unsigned parts_of(const struct machine *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->tree.now.count; i++)
		n += strncmp(m->tree.now.all[i].path, CORNER_TMP "p", sizeof CORNER_TMP) == 0;
	return n;
}

/* A start that ends in the middle of a file of several blocks; the next one asks for the others alone. */
static void gone_on_with(struct world *w)
{
	const uint64_t size = 12 * ENTRY_BLOCK_BYTES_MIN;
	struct machine *m = &w->m[1];
	struct tree_file *stray;
	uint64_t first;

	boot_all(w);
	user_put(&w->m[0], "f", size);
	for (unsigned i = 0; i < 20000 && status_of(m).fetched_bytes < size / 3; i++)
		run_for(w, SECOND / 10000);
	first = status_of(m).fetched_bytes;
	EXPECT(w, first >= size / 3 && first < size);
	machine_stop(m);
	EXPECT(w, parts_of(m) == 1);
	machine_boot(m);
	world_rest(w);
	world_say(w, "of %llu bytes %llu, and then %llu", (unsigned long long)size, (unsigned long long)first, (unsigned long long)status_of(m).fetched_bytes);
	EXPECT(w, status_of(m).fetched_bytes > 0 && status_of(m).fetched_bytes <= size - first + 4 * ENTRY_BLOCK_BYTES_MIN);
	EXPECT(w, parts_of(m) == 0);
	/* What nobody takes up does not stay. */
	machine_stop(m);
	EXPECT(w, m->tree.t.make_file(&m->tree.t, "p-1-1-00", size, &stray) == 0);
	m->tree.t.close(stray);
	EXPECT(w, parts_of(m) == 1);
	machine_boot(m);
	world_rest(w);
	EXPECT(w, parts_of(m) == 0);
	check_end(w);
}

/* More is told with its contents, while one looks for long, than there is room for: it is told the rest later, and asks for nothing. */
static void told_while_looking(struct world *w)
{
	const unsigned files = 40, size = 1000;
	struct machine *m = &w->m[1];
	char path[16];

	w->inline_most = 8 * size;
	boot_all(w);
	m->list_ns = 10 * SECOND;
	machine_event(m, "", true, false);
	run_for(w, SECOND);
	for (unsigned i = 0; i < files; i++) { /* each in a frame of its own */
		snprintf(path, sizeof path, "f%u", i);
		user_put(&w->m[0], path, size);
		run_for(w, SECOND / 10);
	}
	m->list_ns = 0;
	world_rest(w);
	world_say(w, "%u files: %llu bytes", files, (unsigned long long)status_of(m).fetched_bytes);
	EXPECT(w, status_of(m).fetched_bytes <= files * size * 5 / 4); /* where neither is under way for a moment one is taken in, whatever is kept */
	check_end(w);
}

static const struct scene { const char *name; void (*play)(struct world *w); unsigned missing_percent; } scenes[] = {
	{ "gone, unseen, then edited elsewhere, cut off", gone_unseen_cut, 101 },
	{ "gone, unseen, then edited elsewhere", gone_unseen_linked, 101 },
	{ "gone while no process ran, then edited elsewhere", gone_while_stopped, 101 },
	{ "one is told of as gone while a listing shows that all is", gone_beside_a_listing, 50 },
	{ "a large tree without an index", large_tree, 101 },
	{ "what was missed, while uploads outrun their member", uploads_outrun, 101 },
	{ "what one alone has, while it scans", held_by_one_that_scans, 101 },
	{ "a published copy that has all", copy_of_all, 101 },
	{ "a published copy of before", copy_of_before, 101 },
	{ "a published copy of something else", copy_of_something_else, 101 },
	{ "a published copy that is away", copy_away, 101 },
	{ "a death in the middle of a published file", copy_gone_on_with, 101 },
	{ "a published copy, and members out of reach", copy_alone, 101 },
	{ "more than is fetched at a time, of one that is away", holder_away, 101 },
	{ "two of one key, and what one of them knows", two_of_one_key, 101 },
	{ "more starts than a vector has room for", many_starts, 101 },
	{ "what was written by a name that went", written_by_a_name_that_went, 101 },
	{ "two names of one file, and a call that fails", names_of_one_file_failing, 101 },
	{ "two names of one file, and a death", names_of_one_file_dying, 101 },
	{ "names of one file, and an index of before", links_of_before, 101 },
	{ "an owner that has another name since", owner_renamed, 101 },
	{ "an owner whose number is another's", owner_unknown, 101 },
	{ "a start that ends in the middle of a big file", gone_on_with, 101 },
	{ "told of more than there is room for, while it looks", told_while_looking, 101 },
	{ "ignored, and not any more", ignored_and_not, 101 },
	{ "ignored, and made elsewhere meanwhile", ignored_and_made_elsewhere, 101 },
	{ "deleted, and ignored", deleted_and_ignored, 101 },
	{ "ignored, in a directory that is to go", ignored_in_a_directory, 101 },
	{ "ignored by all, in a directory that goes", all_ignore_it, 101 },
	{ "an ignored name of a file that is not", ignored_names, 101 },
	{ "ignored by who alone has it", ignored_by_its_holder, 101 },
	{ "ignored before anybody knew of it", ignored_before_it_was_known, 101 },
	{ "restored elsewhere while what took its place is looked at", restored_while_looked_at, 101 },
	{ "restored elsewhere while what took its place is told of", restored_while_told, 101 },
	{ "restored elsewhere while what took its place was not seen", restored_while_scanning, 101 },
	{ "a clock that jumps ahead while connected", clock_jumps, 101 },
	{ "a clock that was behind, and is set right", clock_set_right, 101 },
	{ "rot is restored, a block of it fetched", rot_is_restored, 101 },
	{ "rot of what nobody else has", rot_that_nobody_has, 101 },
	{ "rot of which somebody sets the mode", rot_with_a_mode, 101 },
	{ "rot that somebody writes over before it is read", rot_that_is_edited, 101 },
	{ "rot of a file with two names", rot_of_two_names, 101 },
	{ "rot that cannot even be read", rot_that_cannot_be_read, 101 },
	{ "what could not be read for a while", rot_that_was_none, 101 },
	{ "a pass that goes on behind a restart", rot_behind_a_restart, 101 },
	{ "a word about what is missing is about that alone", a_word_for_each_question, 50 },
};

static int ended(struct world *w, const char *name)
{
	bool failed = w->violation[0] != '\0';

	printf("%s - %s%s%s\n", failed ? "not ok" : "ok", name, failed ? ": " : "", w->violation);
	fflush(stdout);
	world_free(w);
	return failed;
}

int scenes_run(bool trace)
{
	struct world *w = malloc(sizeof *w);
	int failed = 0;

	if (!w)
		abort();
	for (size_t i = 0; i < CL_ARRAY_LEN(scenes); i++) {
		set_stage(w, 1, trace, scenes[i].missing_percent);
		scenes[i].play(w);
		failed += ended(w, scenes[i].name);
	}
	free(w);
	return failed ? 1 : 0;
}

int sweeps_run(uint64_t seed, const char *only, bool trace)
{
	struct world *w = malloc(sizeof *w);
	char name[128];
	int failed = 0;

	if (!w)
		abort();
	for (size_t i = 0; i < sweep_count(); i++) {
		sweep_name(i, name, sizeof name);
		if (!strstr(name, only))
			continue;
		set_stage(w, seed, trace, 101);
		boot_all(w);
		sweep(w, i);
		failed += ended(w, name);
	}
	free(w);
	return failed ? 1 : 0;
}
