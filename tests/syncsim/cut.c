/*
 * cut.c - is a node that says it is in sync so?
 *
 * When a cut begins, everything is noted that the machines that are linked to this one hold: entries with versions, their contents on their disks. When it ends, those
 * whose links stayed up all the time were asked, or the node lies; and each noted entry, or a later one of its path, is on this disk.
 */
#include <stdlib.h>
#include <string.h>

#include "syncworld.h"

struct noting { struct sim_cut *c; unsigned of; };

static int note(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct noting *k = user;
	struct sim_cut *c = k->c;
	struct seen *s;

	if (!r->held || !r->known.dot.seq)
		return 0;
	c->seen[k->of] = realloc(c->seen[k->of], (c->count[k->of] + 1) * sizeof *s);
	if (!c->seen[k->of])
		abort();
	s = &c->seen[k->of][c->count[k->of]++];
	s->path = strndup(path, len);
	entry_init(&s->e);
	if (!s->path || entry_copy(&r->known, &s->e))
		abort();
	return 0;
}

static void forget_seen(struct sim_cut *c)
{
	for (unsigned i = 0; i < NODES_MAX; i++) {
		for (size_t k = 0; k < c->count[i]; k++) {
			free(c->seen[i][k].path);
			entry_free(&c->seen[i][k].e);
		}
		free(c->seen[i]);
		c->seen[i] = NULL;
		c->count[i] = 0;
	}
	c->cut = NULL;
}

/* What the file at path is, if it has one block; false: something else, or nothing. */
static bool hash_at(struct machine *m, const char *path, uint64_t *ret_size, uint8_t *ret)
{
	struct inode *in = simtree_find(&m->tree, path);
	uint8_t block[HASH_BYTES];

	if (!in || in->kind != ENTRY_FILE || in->len > ENTRY_BLOCK_BYTES_MIN)
		return false;
	hash_blake2b(in->data, in->len, block);
	hash_blake2b(block, in->len ? HASH_BYTES : 0, ret);
	*ret_size = in->len;
	return true;
}

static bool being_written(struct machine *m, const char *path)
{
	struct inode *in = simtree_find(&m->tree, path);

	return in && in->writers;
}

/* Is nothing known here that was not looked at? Then the tree is what the index says. */
static bool quiet(const struct machine *m)
{
	struct node_status s;

	node_status(m->node, &s);
	return !m->events && !s.dirty && !m->todo && !m->over && !m->slow;
}

/* Who had it has deleted it by now: nothing at all is later than what it had. */
static bool deleted_since(struct machine *o, const struct seen *s)
{
	struct index_record r;
	struct index_txn *t;
	bool gone;

	if (!o->node || o->crashed || index_begin(o->index, false, &t))
		return false;
	index_record_init(&r);
	gone = index_get(t, s->path, strlen(s->path), &r) == 0 && r.known.deleted && entry_order(&r.known, &s->e) > 0;
	index_record_free(&r);
	index_abort(t);
	return gone;
}

static void judge_one(struct machine *m, struct index_txn *t, unsigned of, const struct seen *s)
{
	struct index_record r;
	const struct entry *disk;
	uint8_t hash[HASH_BYTES];
	struct vector context = VECTOR_INIT;
	uint64_t size;
	int rc;

	index_record_init(&r);
	rc = index_get(t, s->path, strlen(s->path), &r);
	disk = rc ? NULL : r.held ? &r.known : r.on_disk ? &r.disk : NULL;
	/* Where nothing is, it may have been deleted since, and made anew elsewhere: that is wanted now. Of two deletions either will do. */
	if (m->w->tombs_ns && (index_context_get(t, &context) || index_retired(t, SIZE_MAX, &context)))
		abort();
	if (machine_ignores(m, s->path))
		;
	else if ((rc || r.known.stamp == 1) && vector_covers(&context, &s->e.dot))
		; /* deleted since, and that is forgotten already; at most somebody has said of what the rules had left out that it is there */
	else if (s->e.deleted && (!disk || disk->deleted))
		;
	else if (rc && deleted_since(&m->w->m[of], s)) /* while it was compared with: then it never comes here, and the deletion is on its way */
		;
	else if (!disk ? !s->e.deleted && (rc || entry_order(&r.known, &s->e) <= 0) : entry_order(disk, &s->e) < 0)
		world_violation(m->w, "in sync: %u has not what %u had of %s (deleted %d, stamp %llu; here rc %d, held %d, on disk %d, deleted %d, stamps %llu, %llu)",
				m->number, of, s->path, s->e.deleted, (unsigned long long)s->e.stamp, rc, r.held, r.on_disk, r.known.deleted,
				(unsigned long long)r.known.stamp, (unsigned long long)r.disk.stamp);
	else if (disk && !disk->deleted && disk->kind == ENTRY_FILE && disk->size <= ENTRY_BLOCK_BYTES_MIN && quiet(m) && !being_written(m, s->path) &&
		 (!hash_at(m, s->path, &size, hash) || size != disk->size || (size && memcmp(hash, disk->hash, sizeof hash) != 0)))
		world_violation(m->w, "in sync: %u has something else at %s", m->number, s->path);
	vector_free(&context);
	index_record_free(&r);
}

static void ended(void *user, const uint8_t (*nodes)[FRAME_NODE_BYTES], unsigned count)
{
	struct machine *m = user;
	struct sim_cut *c = &m->sync;
	struct node_status status;
	struct index_txn *t;

	world_say(m->w, "%u is in sync with %u", m->number, count);
	node_status(m->node, &status);
	if (status.members && !count)
		world_violation(m->w, "in sync: %u asked nobody", m->number);
	if (index_begin(m->index, false, &t))
		abort();
	for (unsigned i = 0; i < m->w->count; i++) {
		bool asked = false;

		for (unsigned k = 0; k < count; k++)
			asked |= memcmp(nodes[k], m->w->m[i].key, FRAME_NODE_BYTES) == 0;
		if ((c->up & (1u << i)) && !asked)
			world_violation(m->w, "in sync: %u did not ask %u", m->number, i);
		for (size_t k = 0; (c->up & (1u << i)) && k < c->count[i]; k++)
			judge_one(m, t, i, &c->seen[i][k]);
	}
	index_abort(t);
	forget_seen(c);
	c->ended++;
}

void cut_begin(struct machine *m)
{
	uint64_t before = m->sync.ended;
	struct node_cut *cut;

	if (!m->node || m->crashed || m->sync.cut)
		return;
	world_say(m->w, "%u is asked to be in sync", m->number);
	m->sync.up = 0;
	for (unsigned i = 0; i < m->w->count; i++) {
		struct noting k = { &m->sync, i };
		struct machine *o = &m->w->m[i];
		struct index_txn *t;

		if (!m->links[i].peer || !o->links[m->number].peer || !o->node || o->crashed || index_begin(o->index, false, &t))
			continue;
		m->sync.up |= 1u << i;
		if (index_since(t, 0, UINT32_MAX, note, &k))
			abort();
		index_abort(t);
	}
	if (node_cut_begin(m->node, ended, m, &cut))
		abort();
	if (m->sync.ended == before)
		m->sync.cut = cut;
}

void cut_link_down(struct machine *m, unsigned other)
{
	m->sync.up &= ~(1u << other);
}

void cut_drop(struct machine *m)
{
	if (m->sync.cut && world_chance(m->w, 500))
		node_cut_drop(m->node, m->sync.cut); /* else with the node */
	forget_seen(&m->sync);
}
