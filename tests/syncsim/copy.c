/*
 * copy.c - a published copy, that some machines begin with. In histories it has whatever some machine has at that path just now: of before, of afterwards, half written; or what lies at another path,
 * less of it, more, something else, nothing; or it is away. In scenes: what they have put there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "syncworld.h"

struct object { const uint8_t *data; size_t len; };

static bool file_of(const struct machine *m, const char *path, struct object *ret)
{
	const struct inode *in = simtree_find(&m->tree, path);

	if (!in || in->kind != ENTRY_FILE)
		return false;
	*ret = (struct object){ in->data, in->len };
	return true;
}

/* What some file is, on the same machine. */
static bool another(const struct machine *m, struct object *ret)
{
	size_t from = world_random(m->w, m->tree.now.count);

	for (size_t i = 0; i < m->tree.now.count; i++) {
		const struct name *n = &m->tree.now.all[(from + i) % m->tree.now.count];

		if (n->in->kind != ENTRY_FILE)
			continue;
		*ret = (struct object){ n->in->data, n->in->len };
		return true;
	}
	return false;
}

static void give(struct node_published *g, const struct object *o)
{
	uint64_t left = g->offset < o->len ? o->len - g->offset : 0;

	g->len = left < g->length ? (size_t)left : g->length;
	g->bytes = malloc(g->len + 1);
	if (!g->bytes)
		abort();
	memcpy(g->bytes, o->data + (g->len ? g->offset : 0), g->len);
}

static int by_chance(struct world *w, struct node_published *g)
{
	const struct machine *m = &w->m[world_random(w, w->count)];
	uint64_t how = world_random(w, 100);
	struct object o;

	if (how < 3)
		return ERR_UNAVAILABLE;
	if (how < 6 || !(how < 12 ? another(m, &o) : file_of(m, g->path, &o)))
		return -ENOENT;
	give(g, &o);
	if (how < 24 && g->len)
		g->bytes[world_random(w, g->len)] ^= (uint8_t)(1 + world_random(w, 255));
	else if (how < 30)
		g->len = world_random(w, g->len + 1);
	return 0;
}

static int by_scene(struct world *w, struct node_published *g)
{
	struct object o;

	for (const struct sim_object *s = w->objects; s->path; s++) {
		if (strcmp(s->path, g->path) != 0)
			continue;
		o = (struct object){ s->data, s->len };
		give(g, &o);
		return s->rc;
	}
	return -ENOENT;
}

static void published(struct node_host *h, struct node_published *g)
{
	struct machine *m = CL_CONTAINER_OF(h, struct machine, host);
	struct world *w = m->w;

	g->bytes = NULL;
	g->len = 0;
	g->rc = w->objects ? by_scene(w, g) : by_chance(w, g);
	w->copy_gets++;
	g->j.next = m->over;
	m->over = &g->j;
}

void copy_boot(struct machine *m)
{
	m->host.published = m->w->objects || (m->w->copies && (m->number + m->w->seed) % 2) ? published : NULL;
}
