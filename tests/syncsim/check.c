/*
 * check.c - what has to be so when everything was mended and came to rest.
 *
 * R1: all trees are the same, and their sums. R3: every content that somebody wrote and nobody replaced or deleted is in the trees or in a trash. R4: what was
 * deleted, and the deletion noted, is in no tree. (R2 is judged whenever something comes into a tree, simtree.c.)
 */
#include <stdlib.h>
#include <string.h>

#include "syncworld.h"

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

/* What is carried: on this machine, and on the other (NULL: on any). */
static void list_tree(const struct machine *m, const struct machine *other, struct names *ret)
{
	simtree_names_copy(&m->tree.now, ret);
	for (size_t i = 0; i < ret->count;) {
		if (strncmp(ret->all[i].path, TREE_CORNER, strlen(TREE_CORNER)) == 0 || machine_ignores(m, ret->all[i].path) ||
		    (other && machine_ignores(other, ret->all[i].path)))
			ret->all[i] = ret->all[--ret->count];
		else
			i++;
	}
	if (ret->count)
		qsort(ret->all, ret->count, sizeof *ret->all, by_path);
}

static bool same_inode(const struct inode *a, const struct inode *b)
{
	if (a->kind != b->kind || a->mode != b->mode || simtree_owner(a->uid) != simtree_owner(b->uid) ||
	    simtree_owner(a->gid) != simtree_owner(b->gid) || memcmp(a->attrs, b->attrs, sizeof a->attrs) != 0)
		return false;
	if (a->kind == ENTRY_DIR)
		return a->mtime_ns == b->mtime_ns;
	if (a->mtime_ns != b->mtime_ns || a->len != b->len)
		return false;
	return a->kind == ENTRY_SYMLINK ? strcmp(a->target, b->target) == 0 : !a->len || memcmp(a->data, b->data, a->len) == 0;
}

/* The first name of the same inode. */
static const char *first_name(const struct names *a, size_t i)
{
	size_t k = 0;

	while (a->all[k].in != a->all[i].in)
		k++;
	return a->all[k].path;
}

/* R1 counts which names are names of one file. */
static void compare_links(struct world *w, const struct names *a, const struct names *b, unsigned x, unsigned y)
{
	for (size_t i = 0; i < a->count && i < b->count; i++)
		if (strcmp(first_name(a, i), first_name(b, i)) != 0)
			world_violation(w, "R1: %s is a name of %s on %u, of %s on %u", a->all[i].path, first_name(a, i), x, first_name(b, i), y);
}

static void compare(struct world *w, const struct machine *x, const struct machine *y)
{
	struct names a = { NULL, 0, 0 }, b = { NULL, 0, 0 };
	size_t i = 0;

	list_tree(x, y, &a);
	list_tree(y, x, &b);
	while (i < a.count && i < b.count && strcmp(a.all[i].path, b.all[i].path) == 0 && same_inode(a.all[i].in, b.all[i].in))
		i++;
	if (i < a.count || i < b.count) {
		const char *p = i >= a.count ? b.all[i].path : i >= b.count ? a.all[i].path : strcmp(a.all[i].path, b.all[i].path) < 0 ? a.all[i].path : b.all[i].path;
		const struct inode *in = simtree_find(&x->tree, p), *on = simtree_find(&y->tree, p);

		world_violation(w, "R1: %s is not the same on %u and %u (kind %d/%d, token %u/%u, mode %o/%o, owner %u:%u/%u:%u, xattrs %u %u/%u %u, mtime %lld/%lld)", p, x->number, y->number,
				in ? (int)in->kind : 0, on ? (int)on->kind : 0, in ? token_of(w, in) : 0, on ? token_of(w, on) : 0, in ? in->mode : 0,
				on ? on->mode : 0, in ? in->uid : 0, in ? in->gid : 0, on ? on->uid : 0, on ? on->gid : 0,
				in ? in->attrs[0] : 0, in ? in->attrs[1] : 0, on ? on->attrs[0] : 0, on ? on->attrs[1] : 0, in ? (long long)in->mtime_ns : 0, on ? (long long)on->mtime_ns : 0);
	}
	compare_links(w, &a, &b, x->number, y->number);
	free(a.all);
	free(b.all);
}

/* Who belongs to the cluster: on every machine the same, all machines, nobody else. */
static void check_members(struct world *w)
{
	struct buf first = BUF_INIT, b = BUF_INIT;

	for (unsigned i = 0; i < w->count; i++) {
		const struct members *s = node_members(w->m[i].node);

		for (unsigned k = 0; k < w->count; k++)
			if (!members_get(s, w->m[k].key) || members_get(s, w->m[k].key)->forgotten)
				world_violation(w, "members: %u does not count %u among them", i, k);
		if (members_live(s) != w->count)
			world_violation(w, "members: %u knows of %zu", i, members_live(s));
		buf_reset(&b);
		members_encode(s, i ? &b : &first);
		if (i && (b.len != first.len || memcmp(b.data, first.data, b.len) != 0))
			world_violation(w, "members: %u knows others than 0", i);
	}
	for (size_t i = 0; i < w->forget_count; i++)
		for (unsigned k = 0; k < w->count; k++)
			if (w->forgets[i].known && memcmp(w->m[k].key, w->forgets[i].key, sizeof w->m[k].key) == 0)
				world_violation(w, "members: %u was forgotten, and is one", k);
	buf_free(&first);
	buf_free(&b);
}

/* All have joined by now: who is taken for one that has not keeps what is lost from being given up, and deletions from being forgotten. */
static void check_joined(struct world *w)
{
	struct node_peer_status s;

	for (unsigned i = 0; i < w->count; i++)
		for (unsigned k = 0; k < w->count; k++)
			if (i != k && node_peer_status(w->m[i].node, w->m[k].key, &s) && s.joining)
				world_violation(w, "joining: %u takes %u for joining", i, k);
}

/* Replicating is nobody's doing. (A death in the middle of it may be taken for somebody's.) */
static bool knows_dir_time(const struct world *w, int64_t mtime_ns)
{
	for (size_t i = 0; i < w->dir_time_count; i++)
		if (w->dir_times[i] == mtime_ns)
			return true;
	return false;
}

/* R2, of metadata: they are as somebody left them, not half one's and half another's. */
static void check_metas(struct world *w, const struct machine *m)
{
	struct names a = { NULL, 0, 0 };

	list_tree(m, NULL, &a);
	for (size_t i = 0; i < a.count; i++) {
		const struct inode *in = a.all[i].in;

		if (in->kind == ENTRY_FILE && !ledger_knows_meta(w, in))
			world_violation(w, "R2: nobody left %s as it is (inode %llu, mode %o, owner %u/%u, xattrs %u %u, mtime %lld)", a.all[i].path,
					(unsigned long long)in->id, in->mode, in->uid, in->gid, in->attrs[0], in->attrs[1], (long long)in->mtime_ns);
		if (in->kind == ENTRY_DIR && w->peace && !w->dirs_ended && !knows_dir_time(w, in->mtime_ns))
			world_violation(w, "the time of %s is none that a user's doing gave to a directory (%lld)", a.all[i].path, (long long)in->mtime_ns);
	}
	free(a.all);
}

/* Whatever a process took out of the tree is known to be from there; and it is whole. */
static int check_item(void *user, const struct trash_item *item)
{
	struct machine *m = user;
	char path[512];

	snprintf(path, sizeof path, "%s%s", CORNER_TRASH, item->note.name);
	for (size_t i = 0; i < m->tree.now.count; i++) {
		const struct name *n = &m->tree.now.all[i];

		if (strcmp(n->path, path) == 0 && n->in->kind == ENTRY_FILE && n->in->len && !n->in->half && !ledger_knows(m->w, n->in->data, n->in->len))
			world_violation(m->w, "R2: %s in the trash of %u has a content that nobody wrote (%zu bytes)", item->note.name, m->number, n->in->len);
		if (strcmp(n->path, path) == 0 && n->was_at && !n->unnoted && strcmp(n->was_at, item->note.path) != 0)
			world_violation(m->w, "%s in the trash of %u is from %s, not from '%s'", item->note.name, m->number, n->was_at, item->note.path);
	}
	return 0;
}

static void check_trash(struct machine *m)
{
	m->tree.acting = true; /* no faults */
	if (trash_list(&m->tree.t, check_item, m))
		world_violation(m->w, "the trash of %u cannot be listed", m->number);
	m->tree.acting = false;
}

/* Does a file in its tree have this content? */
static bool tree_has(const struct machine *m, const struct entry *e)
{
	for (size_t i = 0; i < m->tree.now.count; i++) {
		const struct inode *in = m->tree.now.all[i].in;
		uint64_t block = entry_block_bytes(e->size);
		struct buf list = BUF_INIT;
		uint8_t h[HASH_BYTES];

		if (in->kind != ENTRY_FILE || in->len != e->size || in->writers || strncmp(m->tree.now.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) == 0 ||
		    machine_ignores(m, m->tree.now.all[i].path))
			continue;
		for (uint64_t off = 0; off < in->len; off += block) {
			hash_blake2b(in->data + off, (size_t)(in->len - off < block ? in->len - off : block), h);
			buf_bytes(&list, h, sizeof h);
		}
		hash_blake2b(list.data, list.len, h);
		buf_free(&list);
		if (memcmp(h, e->hash, sizeof h) == 0)
			return true;
	}
	return false;
}

/* Who gives up what nobody holds has asked everybody: nobody that it is linked to does. */
void check_lost(struct machine *m, const char *path)
{
	struct index_record r;
	struct index_txn *t;

	world_say(m->w, "%u gives up %s", m->number, path);
	index_record_init(&r);
	if (index_begin(m->index, false, &t)) /* as it was before the decision */
		abort();
	if (index_get(t, path, strlen(path), &r) == 0)
		for (unsigned i = 0; i < m->w->count; i++)
			if (m->links[i].peer && m->w->m[i].node && !m->w->m[i].crashed && !m->w->m[i].tree.missing && tree_has(&m->w->m[i], &r.known))
				world_violation(m->w, "%u gives up what %s was to have, and %u has it", m->number, path, i);
	index_record_free(&r);
	index_abort(t);
}

struct old { struct machine *m; struct vector context; };

/* A deletion whose maker was lost before it said what it knew is covered by nobody, and stays. */
static int find_old(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct old *o = user;
	struct machine *m = o->m;
	uint64_t now_us = m->env.real_ns(&m->env) / 1000;

	if (r->known.deleted && vector_covers(&o->context, &r->known.dot) && r->known.stamp + 2 * (m->w->tombs_ns / 1000) + 1000000 < now_us)
		world_violation(m->w, "deletions: %u remembers that of %.*s", m->number, (int)len, path);
	return 0;
}

void check_forgotten(struct world *w)
{
	struct index_txn *t;

	for (unsigned i = 0; i < w->count; i++) {
		struct old o = { &w->m[i], VECTOR_INIT };

		if (index_begin(w->m[i].index, false, &t) || index_context_get(t, &o.context) || index_retired(t, SIZE_MAX, &o.context) || index_since(t, 0, UINT32_MAX, find_old, &o))
			abort();
		index_abort(t);
		vector_free(&o.context);
	}
}

void check_end(struct world *w)
{
	struct node_status first, s;

	check_members(w);
	check_joined(w);

	node_status(w->m[0].node, &first);
	for (unsigned i = 0; i < w->count; i++)
		check_trash(&w->m[i]);
	for (unsigned i = 1; i < w->count; i++) {
		compare(w, &w->m[0], &w->m[i]);
		node_status(w->m[i].node, &s);
		if (!sum_equal(first.root, s.root))
			world_violation(w, "R1: the sums of 0 and %u differ", i);
	}
	check_metas(w, &w->m[0]);
	check_rules(w);
	for (uint32_t t = 1; t <= w->token_count; t++) {
		bool kept = false;

		for (unsigned i = 0; i < w->count && !kept; i++)
			kept = machine_has(&w->m[i], t, HAS_TRASH);
		if (w->tokens[t].closed && !w->tokens[t].released && !kept)
			world_violation(w, "R3: token %u, written on %u, is nowhere", t, w->tokens[t].maker);
		kept = !w->tokens[t].vanished;
		for (unsigned i = 0; i < w->count && !kept; i++)
			kept = machine_has(&w->m[i], t, HAS_TREE);
		if (!kept)
			world_violation(w, "R5: token %u vanished from a tree, nobody deleted it, and it is in none", t);
		if (w->tokens[t].firm && !w->tokens[t].touched && w->tokens[t].deleted_by)
			for (unsigned i = 0; i < w->count; i++)
				if (machine_has(&w->m[i], t, HAS_CARRIED))
					world_violation(w, "R4: token %u was deleted on %d, and is in the tree of %u", t, w->tokens[t].deleted_by - 1, i);
	}
}
