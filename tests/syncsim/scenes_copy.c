/*
 * scenes_copy.c - scenes of a member that begins with a published copy, which is all that it should be, or is not.
 */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "scenes.h"

#define BLOCK ENTRY_BLOCK_BYTES_MIN
#define BLOCKS 40u
#define OBJECTS_MOST 8u

static struct sim_object objects[OBJECTS_MOST + 1]; /* the last one has no path */
static size_t count;

/* What lies at this path on this machine, so many bytes of it. */
static struct sim_object *publish(struct machine *m, const char *path, size_t len)
{
	const struct inode *in = simtree_find(&m->tree, path);
	struct sim_object *o = &objects[count++];

	if (!in || count > OBJECTS_MOST)
		abort();
	*o = (struct sim_object){ .path = path, .data = calloc(len, 1), .len = len };
	if (!o->data)
		abort();
	memcpy(o->data, in->data, len < in->len ? len : in->len);
	return o;
}

static void begin(struct world *w)
{
	memset(objects, 0, sizeof objects);
	count = 0;
	w->m[0].seeds = 2;
	w->m[1].seeds = 1;
	machine_boot(&w->m[0]);
	machine_boot(&w->m[1]);
	run_for(w, 5 * SECOND);
	user_put(&w->m[0], "f", BLOCKS * BLOCK - 100);
	user_dir(&w->m[0], "d");
	user_put(&w->m[0], "d/small", BIG);
	user_put(&w->m[0], "other", 2 * BLOCK);
	run_for(w, 5 * SECOND);
}

static struct node_status joined(struct world *w)
{
	struct node_status s;

	w->objects = objects;
	machine_boot(&w->m[2]);
	world_rest(w);
	node_status(w->m[2].node, &s);
	world_say(w, "%llu bytes of the copy, %llu of members, %llu gets", (unsigned long long)s.published_bytes, (unsigned long long)s.fetched_bytes, (unsigned long long)w->copy_gets);
	return s;
}

static void end(struct world *w)
{
	check_end(w);
	while (count)
		free(objects[--count].data);
}

/* All of it is there: nothing comes from members. What was deleted, and what never was, is not asked for. */
void copy_of_all(struct world *w)
{
	struct node_status s;
	uint32_t gone;

	begin(w);
	gone = user_put(&w->m[1], "gone", BIG);
	run_for(w, 5 * SECOND);
	publish(&w->m[0], "f", BLOCKS * BLOCK - 100);
	publish(&w->m[0], "d/small", BIG);
	publish(&w->m[0], "other", 2 * BLOCK);
	publish(&w->m[0], "gone", BIG);
	publish(&w->m[0], "gone", BIG)->path = "never";
	user_remove(&w->m[1], "gone");
	run_for(w, 5 * SECOND);
	s = joined(w);
	EXPECT(w, s.fetched_bytes == 0);
	EXPECT(w, s.published_bytes == BLOCKS * BLOCK - 100 + BIG + 2 * BLOCK);
	EXPECT(w, w->copy_gets == BLOCKS + 1 + 2);
	expect_everywhere(w, gone, false, "it was deleted");
	EXPECT(w, !simtree_find(&w->m[2].tree, "never"));
	end(w);
}

/* Some blocks are not what they were, and there is less of it, or more: what is right is taken, the rest comes from members. */
void copy_of_before(struct world *w)
{
	struct sim_object *o;
	struct node_status s;

	begin(w);
	o = publish(&w->m[0], "f", (BLOCKS - 2) * BLOCK); /* less: the last two blocks are not there */
	o->data[3 * BLOCK + 5] ^= 1;
	publish(&w->m[0], "other", 3 * BLOCK); /* more */
	s = joined(w);
	EXPECT(w, s.published_bytes == (BLOCKS - 3) * BLOCK + 2 * BLOCK);
	EXPECT(w, s.fetched_bytes == 3 * BLOCK - 100 + BIG);
	end(w);
}

/* Nothing in it is right: three blocks of a file are tried and no more. It has what nobody else has as well: that is of no use. */
void copy_of_something_else(struct world *w)
{
	struct sim_object *o;
	struct node_status s;

	begin(w);
	o = publish(&w->m[0], "f", BLOCKS * BLOCK - 100);
	for (size_t i = 0; i < o->len; i++)
		o->data[i] ^= 0x55;
	publish(&w->m[0], "other", BIG)->path = "d/small";
	publish(&w->m[0], "f", 2 * BLOCK)->path = "other";
	s = joined(w);
	EXPECT(w, s.published_bytes == 0);
	EXPECT(w, s.fetched_bytes == BLOCKS * BLOCK - 100 + BIG + 2 * BLOCK);
	EXPECT(w, w->copy_gets == 3 + 1 + 2);
	end(w);
}

/* It fails: each file is asked for once, and comes from members. */
void copy_away(struct world *w)
{
	struct node_status s;

	begin(w);
	publish(&w->m[0], "f", BLOCK)->rc = ERR_UNAVAILABLE;
	publish(&w->m[0], "other", BLOCK)->rc = ERR_AUTH;
	s = joined(w);
	EXPECT(w, s.published_bytes == 0);
	EXPECT(w, s.fetched_bytes == BLOCKS * BLOCK - 100 + BIG + 2 * BLOCK);
	EXPECT(w, w->copy_gets == 3);
	end(w);
}

/* Boots the last machine, and stops in the middle of the big file. How much of it came. */
static uint64_t half_way(struct world *w)
{
	struct node_status s = { 0 };

	begin(w);
	publish(&w->m[0], "f", BLOCKS * BLOCK - 100);
	w->objects = objects;
	machine_boot(&w->m[2]);
	for (unsigned i = 0; i < 100000 && s.published_bytes < 3 * BLOCK; i++) {
		run_for(w, SECOND / 10000);
		node_status(w->m[2].node, &s);
	}
	EXPECT(w, s.published_bytes >= 3 * BLOCK && s.published_bytes < BLOCKS * BLOCK - 100);
	return s.published_bytes;
}

/* What had come before the process died counts. */
void copy_gone_on_with(struct world *w)
{
	uint64_t first = half_way(w);
	struct node_status s;

	machine_kill(&w->m[2]);
	s = joined(w);
	EXPECT(w, s.published_bytes > 0 && s.published_bytes <= BLOCKS * BLOCK - first);
	EXPECT(w, s.fetched_bytes <= BIG + 2 * BLOCK); /* nothing of it came from members */
	end(w);
}

/* What was told of comes from there, whoever is up. */
void copy_alone(struct world *w)
{
	const struct inode *in;

	half_way(w);
	cut_off(w, 2, true);
	run_for(w, 5 * SECOND);
	in = simtree_find(&w->m[2].tree, "f");
	EXPECT(w, in && in->len == BLOCKS * BLOCK - 100);
	cut_off(w, 2, false);
	EXPECT(w, joined(w).published_bytes == BLOCKS * BLOCK - 100);
	end(w);
}
