/*
 * node_want.c - what is known and not held: what can be done about it now, and the job that does it.
 *
 * Decisions about directories (a live child revives its directory; a file in a directory's place ends what was in there) are made only once the context covers the
 * deletion, or the file, that they answer: by then every change is known that its maker made before, those of the children too. A maker that is gone for good
 * may have left changes that nobody will ever know of; once all members were heard for a while, what is known has to do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define COPIED_MOST (64u << 20)       /* bytes that a job copies here: others wait for it */
#define CANDIDATES (4 * NODE_BATCH) /* planned at a time */
#define LOST_NS 30000000000ull        /* so long nobody held it: it is lost */

struct want {
	char *path;
	struct entry want, disk;
	struct announced *content;
	char *copy_from, *link_from;
};

struct apply_job {
	struct node_job j;
	struct node *n;
	uint64_t clock_ns;
	size_t count;
	struct want wants[NODE_BATCH];
	struct apply_item items[NODE_BATCH];
};

enum plan { PLAN_ITEM, PLAN_LATER, PLAN_DECIDED };

/* --- the job --- */

static void job_free(struct node_job *j)
{
	struct apply_job *a = (struct apply_job *)(void *)j;

	for (size_t i = 0; i < a->count; i++) {
		free(a->wants[i].path);
		entry_free(&a->wants[i].want);
		entry_free(&a->wants[i].disk);
		free(a->wants[i].content);
		free(a->wants[i].copy_from);
		free(a->wants[i].link_from);
	}
	free(a);
}

static void run(struct node_job *j)
{
	struct apply_job *a = (struct apply_job *)(void *)j;

	apply(a->n->o.tree, a->n->o.env, a->clock_ns, a->items, a->count);
}

/* The disk has the item's entry now. */
static int note_applied(struct node *n, struct index_txn *t, struct want *w, struct apply_item *i)
{
	struct index_record r;
	size_t len = strlen(w->path);
	bool new_dir = w->want.kind == ENTRY_DIR && !w->want.deleted; /* w->want is moved */
	int rc;

	index_record_init(&r);
	rc = index_get(t, w->path, len, &r);
	r.young = i->now_young;
	if (!rc && w->want.kind == ENTRY_DIR && i->disk && i->disk->kind == ENTRY_DIR && !i->doubt)
		node_note_time(n, w->path, &r, &i->now);
	if (i->apart) /* it is not in the group yet: that is still wanted */
		memset(w->want.link, 0, sizeof w->want.link);
	if (rc == -ENOENT) /* forgotten meanwhile: what is there is news */
		rc = node_look(n, w->path, len, false, true, 0);
	else if (!rc)
		rc = node_applied(n, t, w->path, len, &r, &w->want, &i->now);
	if (!rc && i->rot && r.held)
		node_scrub_restored(n, w->path);
	if (!rc && i->doubt)
		rc = node_look(n, w->path, len, false, true, NODE_AGAIN_NS);
	index_record_free(&r);
	if (!rc && i->link_from) /* a name of it came */
		rc = node_look_at_links(n, t, w->path, i->now.ino, &i->now);
	if (!rc && i->disk && i->stat.links > 1) /* a name of it went */
		rc = node_look_at_links(n, t, w->path, i->stat.ino, NULL);
	node_wait_over(n, w->path, len);
	node_intent_over(n, w->path);
	if (i->apart)
		node_want_soon(n, w->path, len, NULL);
	if (!rc && new_dir)
		rc = node_want_below(n, t, w->path, len);
	return rc;
}

static int conclude(struct node *n, struct index_txn *t, struct want *w, struct apply_item *i)
{
	size_t len = strlen(w->path);
	struct wait *wait;
	int rc = node_time_applied(n, t, i);

	if (!rc && i->apart && !node_is_held(n, i->link_from, strlen(i->link_from))) /* what it should be a name of may not be what its record says */
		rc = node_look(n, i->link_from, strlen(i->link_from), false, false, 0);
	if (rc)
		return rc;
	switch (i->outcome) {
	case APPLY_DONE:
		if (i->rc) {
			node_failed(n, i->rc);
			node_tend_soon(n); /* what was displaced may not be in the trash yet */
		}
		return note_applied(n, t, w, i);
	case APPLY_STRANGE:
		node_intent_over(n, w->path);
		node_wait(n, w->path, len, UINT64_MAX);
		return node_look(n, w->path, len, true, true, 0);
	case APPLY_NO_CONTENT:
		node_intent_over(n, w->path);
		wait = node_wait(n, w->path, len, 0);
		if (wait)
			wait->no_copy = true;
		return 0;
	case APPLY_BUSY:
		node_intent_over(n, w->path);
		node_wait(n, w->path, len, UINT64_MAX);
		return 0;
	default: /* the intent stays until it was looked at; what was displaced may not be in the trash yet */
		node_failed(n, i->rc);
		node_tend_soon(n);
		wait = node_wait(n, w->path, len, UINT64_MAX);
		if (wait)
			wait->failed = true;
		return node_look(n, w->path, len, true, true, NODE_AGAIN_NS);
	}
}

static void done(struct node_job *j)
{
	struct apply_job *a = (struct apply_job *)(void *)j;
	struct node *n = a->n;
	struct index_txn *t;
	int rc;

	node_job_over(n);
	n->tree_job = n->applying = false;
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].kept)
			node_keep(n, a->wants[i].path, &a->wants[i].want, a->items[i].ready);
	rc = index_begin(n->o.index, true, &t);
	if (!rc) {
		for (size_t i = 0; i < a->count && !rc; i++)
			rc = conclude(n, t, &a->wants[i], &a->items[i]);
		n->lazy = true; /* that we hold it as well */
		rc = node_commit(n, t, rc);
		n->lazy = false;
	}
	if (rc) { /* nothing was noted, the intents go on: looking will tell */
		node_failed(n, rc);
		for (size_t i = 0; i < a->count; i++)
			node_look(n, a->wants[i].path, strlen(a->wants[i].path), true, true, NODE_AGAIN_NS);
		node_tend_soon(n);
	}
	job_free(j);
	node_pump(n);
}

/* --- what has to come first --- */

/* May it be decided about path, or is something still to be heard of? */
static bool may_decide(struct node *n, const char *path, bool covered)
{
	struct wait *w;

	if (covered)
		return true;
	w = node_wait(n, path, strlen(path), 0);
	if (!w)
		return false;
	if (!node_all_heard(n))
		w->open_ns = 0;
	else if (!w->open_ns)
		w->open_ns = node_now(n);
	return w->open_ns && node_now(n) - w->open_ns >= LOST_NS;
}

struct below { struct node *n; unsigned on_disk, lives; struct buf paths; };

static int note_child(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct below *b = user;

	b->on_disk += node_on_disk(r) != NULL;
	if (node_live(r) && !r->left_out) { /* what is ignored here is for others to say */
		b->lives++;
		buf_str16(&b->paths, path, len);
	}
	return b->paths.err;
}

/* A live child, and where it should be is none: made again from its tombstone, or from what the child is like. */
static int revive(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, const struct entry *child)
{
	const struct entry *like = r->on_disk && r->disk.kind == ENTRY_DIR ? &r->disk : r->known.dot.seq ? &r->known : NULL;
	struct entry e;
	int rc = 0;

	entry_init(&e);
	if (like && like->kind == ENTRY_DIR) {
		rc = entry_copy(like, &e);
	} else {
		e.mode = 0755;
		e.uid = child ? child->uid : 0;
		e.gid = child ? child->gid : 0;
		if (child) {
			memcpy(e.owner, child->owner, sizeof e.owner);
			memcpy(e.group, child->group, sizeof e.group);
		}
	}
	e.kind = ENTRY_DIR;
	e.deleted = false;
	e.mtime_s = 0;
	e.mtime_ns = 0;
	if (!rc)
		rc = node_decide(n, t, path, len, r, &e);
	entry_free(&e);
	return rc;
}

static int note_live(void *user, const char *path, size_t len, const struct index_record *r)
{
	if (node_live(r) && !r->left_out)
		buf_str16(user, path, len);
	return ((struct buf *)user)->err;
}

static int end_one(struct node *n, struct index_txn *t, const char *path, size_t len)
{
	struct index_record r;
	struct entry e;
	int rc;

	index_record_init(&r);
	entry_init(&e);
	rc = index_get(t, path, len, &r);
	if (!rc && node_live(&r))
		rc = node_tombstone(&r.known, &e);
	if (!rc && node_live(&r))
		rc = node_decide(n, t, path, len, &r, &e);
	entry_free(&e);
	index_record_free(&r);
	return rc;
}

/* Something that is no directory has taken the place above it: it ends, with all below it. What is inside first, as everywhere. */
static int end_all(struct node *n, struct index_txn *t, const char *path, size_t len)
{
	struct buf all = BUF_INIT;
	size_t *at = NULL, count = 0;
	struct cursor c;
	int rc = index_below(t, path, len, note_live, &all);

	at = rc ? NULL : calloc(all.len / 3 + 1, sizeof *at);
	if (!rc && !at)
		rc = -ENOMEM;
	c = cursor_make(all.data, all.len);
	while (!rc && cursor_left(&c)) {
		size_t n_bytes;

		at[count++] = (size_t)(c.p - all.data);
		cursor_str16(&c, &n_bytes);
	}
	while (!rc && count) {
		size_t below;
		const char *p;

		count--;
		c = cursor_make(all.data + at[count], all.len - at[count]);
		p = (const char *)cursor_str16(&c, &below);
		rc = end_one(n, t, p, below);
	}
	free(at);
	buf_free(&all);
	return rc ? rc : end_one(n, t, path, len);
}

/* Is what is above it, as far as it lives, something else than a directory? */
static int under_no_dir(struct index_txn *t, const char *path, bool *ret)
{
	struct index_record r;
	size_t len = strlen(path);
	int rc = 0;

	*ret = false;
	index_record_init(&r);
	while (!rc) {
		while (len && path[len - 1] != '/')
			len--;
		if (!len)
			break;
		rc = index_get(t, path, --len, &r);
		if (!rc && node_live(&r) && r.known.dot.seq) {
			*ret = r.known.kind != ENTRY_DIR;
			break;
		}
		rc = rc == -ENOENT ? 0 : rc;
	}
	index_record_free(&r);
	return rc;
}

/* The directory that is on the disk has to go. *ret: ITEM, when nothing is in it any more. */
static int plan_dir_goes(struct node *n, struct index_txn *t, const char *path, struct index_record *r, enum plan *ret)
{
	struct below b = { .n = n };
	size_t len = strlen(path);
	bool ends = !r->known.deleted;
	struct cursor c;
	int rc = index_children(t, path, len, note_child, &b);

	*ret = b.on_disk || b.lives ? PLAN_LATER : PLAN_ITEM;
	if (!rc && b.lives && may_decide(n, path, node_covers(n, t, &r->known.dot))) {
		*ret = PLAN_DECIDED;
		if (!ends)
			rc = under_no_dir(t, path, &ends);
		if (!rc && !ends)
			rc = revive(n, t, path, len, r, NULL);
		c = cursor_make(b.paths.data, b.paths.len);
		while (!rc && ends && cursor_left(&c)) {
			size_t child_len;
			const char *child = (const char *)cursor_str16(&c, &child_len);

			rc = end_all(n, t, child, child_len);
		}
	}
	buf_free(&b.paths);
	if (!rc && *ret == PLAN_LATER)
		node_wait(n, path, len, UINT64_MAX);
	return rc;
}

/* Is there a directory for it to be in? */
static int plan_parent(struct node *n, struct index_txn *t, const char *path, struct index_record *r, enum plan *ret)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	struct index_record p;
	const struct entry *d;
	int rc;

	*ret = PLAN_ITEM;
	if (!slash)
		return 0;
	index_record_init(&p);
	rc = index_get(t, path, len, &p);
	if (rc == -ENOENT)
		rc = 0;
	d = node_on_disk(&p);
	if (rc || (d && d->kind == ENTRY_DIR && !p.known.deleted && p.known.kind == ENTRY_DIR)) {
		index_record_free(&p);
		return rc;
	}
	*ret = PLAN_LATER;
	if (may_decide(n, path, node_covers(n, t, &r->known.dot) && node_covers(n, t, &p.known.dot))) {
		bool ends;

		rc = under_no_dir(t, path, &ends);
		if (!rc && ends) {
			*ret = PLAN_DECIDED;
			rc = end_all(n, t, path, strlen(path));
		} else if (!rc && (p.known.deleted || !p.known.dot.seq)) {
			*ret = PLAN_DECIDED;
			rc = revive(n, t, path, len, &p, &r->known);
		}
	}
	index_record_free(&p);
	if (!rc && *ret == PLAN_LATER)
		node_wait(n, path, strlen(path), UINT64_MAX);
	return rc;
}

/* --- contents --- */

static int note_copy(void *user, const char *path, size_t len, const struct index_record *r)
{
	char **ret = user;

	(void)r;
	*ret = strndup(path, len);
	return 1;
}

/*
 * Nobody holds it, and has not for long: who has what was before says that again, later. It does not claim to know what was lost: should that turn up after
 * all, it is kept as what lost a conflict is.
 */
static int answer_lost(struct node *n, struct index_txn *t, const char *path, struct index_record *r)
{
	struct entry e, after;
	int rc;

	entry_init(&e);
	entry_init(&after);
	after.stamp = r->known.stamp;
	rc = r->on_disk ? entry_copy(&r->disk, &e) : node_tombstone(&r->known, &e);
	if (!rc)
		rc = node_decide_over(n, t, path, strlen(path), r, &e, &after);
	entry_free(&e);
	if (!rc)
		n->o.host->lost(n->o.host, path);
	return rc;
}

static int plan_fetch(struct node *n, struct index_txn *t, const char *path, struct index_record *r, struct apply_item *i, enum plan *ret)
{
	bool gone = false;
	int rc = fetch_get(n->fetches, path, &r->known, r->on_disk && r->disk.kind == ENTRY_FILE ? &r->disk : NULL, r->rot, i->ready, &gone);
	struct wait *w;

	if (rc == 1)
		return 0;
	*ret = PLAN_LATER;
	if (rc == -EBUSY) {
		node_want_fetch(n, path, strlen(path), fetch_small(r->known.size));
		node_wait_over(n, path, strlen(path));
		return 0;
	}
	w = node_wait(n, path, strlen(path), UINT64_MAX);
	if (rc)
		node_failed(n, rc);
	if (!w)
		return -ENOMEM;
	w->failed |= rc != 0;
	if (!gone || !node_all_heard(n)) {
		w->gone_ns = 0;
	} else if (!w->gone_ns) {
		w->gone_ns = node_now(n);
	} else if (node_now(n) - w->gone_ns >= LOST_NS && r->rot) { /* nothing of what is here may take its place: that was nobody's doing */
		if (!w->kept)
			n->o.host->rot(n->o.host, path, NODE_ROT_KEPT);
		w->kept = true;
	} else if (node_now(n) - w->gone_ns >= LOST_NS) {
		*ret = PLAN_DECIDED;
		node_wait_over(n, path, strlen(path));
		return answer_lost(n, t, path, r);
	}
	return 0;
}

static int plan_content(struct node *n, struct index_txn *t, const char *path, struct index_record *r, struct want *w, struct apply_item *i, enum plan *ret)
{
	const struct wait *wait = (const struct wait *)(const void *)pathmap_get(&n->waits, path, strlen(path));
	int rc;

	if (r->known.size == 0)
		return 0;
	w->content = node_announced_take(n, &r->known);
	if (w->content) {
		i->bytes = w->content->bytes;
		return 0;
	}
	if (!wait || !wait->no_copy) {
		if (r->on_disk && r->disk.kind == ENTRY_FILE && memcmp(r->disk.hash, r->known.hash, HASH_BYTES) == 0)
			w->copy_from = strdup(path);
		rc = w->copy_from ? 0 : index_with_hash(t, r->known.hash, note_copy, &w->copy_from);
		if (rc < 0)
			return rc;
	}
	i->copy_from = w->copy_from;
	return i->copy_from || node_kept_take(n, path, &r->known, i->ready) ? 0 : plan_fetch(n, t, path, r, i, ret);
}

/* --- links --- */

struct mate { const char *path; size_t len; const struct entry *want; char *found; struct index_stat stat; bool young, other, doubt; };

/* A file of the group that has all that is wanted. doubt: there is one that is looked at first. */
static int note_member(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct mate *m = user;

	if ((len == m->len && memcmp(path, m->path, len) == 0) || !r->held || !entry_same(&r->known, m->want))
		return 0;
	m->doubt |= !r->stat.ctime_s;
	if (!r->stat.ctime_s)
		return 0;
	m->found = strndup(path, len);
	m->stat = r->stat;
	m->young = r->young;
	return m->found ? 1 : -ENOMEM;
}

/* Another name of the inode that is not to be one: of no group, no two are. */
static int note_other(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct mate *m = user;

	if ((len == m->len && memcmp(path, m->path, len) == 0) || !node_on_disk(r))
		return 0;
	m->other |= r->known.deleted || !entry_linked(m->want) || memcmp(r->known.link, m->want->link, ENTRY_LINK_BYTES) != 0;
	return 0;
}

/* Whose inode it is to share; or nothing is to be done on the disk, since it does, or has one for itself: *ret DECIDED. */
static int plan_link(struct node *n, struct index_txn *t, const char *path, struct index_record *r, struct want *w, struct apply_item *i, enum plan *ret)
{
	struct mate m = { .path = path, .len = strlen(path), .want = &r->known };
	const struct entry *disk = node_on_disk(r);
	bool all_but_link = disk && disk->kind == ENTRY_FILE && entry_same(disk, &r->known) && disk->unsettled == r->known.unsettled;
	struct entry e;
	int rc = entry_linked(&r->known) ? index_with_link(t, r->known.link, note_member, &m) : 0;

	/* Also where it had one name when it was looked at: another may have been applied to its inode since. */
	if (rc >= 0 && all_but_link && !m.found)
		rc = index_with_inode(t, r->stat.ino, note_other, &m);
	if (rc >= 0 && !m.found && m.doubt) { /* to be linked to that, or to have an inode of its own */
		*ret = PLAN_LATER;
		return node_wait(n, path, m.len, UINT64_MAX) ? 0 : -ENOMEM;
	}
	w->link_from = m.found;
	i->link_from = m.found;
	i->link_stat = m.stat;
	i->link_young = m.young;
	i->only_link = all_but_link;
	if (rc < 0 || !all_but_link || (m.found ? m.stat.ino != r->stat.ino : m.other))
		return rc < 0 ? rc : 0;
	if (pathmap_get(&n->dirty, path, m.len)) { /* is it still what the record says? */
		*ret = PLAN_LATER;
		return node_wait(n, path, m.len, UINT64_MAX) ? 0 : -ENOMEM;
	}
	entry_init(&e);
	rc = entry_copy(&r->known, &e);
	*ret = PLAN_DECIDED;
	if (!rc) {
		struct index_stat st = r->stat;

		rc = node_applied(n, t, path, m.len, r, &e, &st);
	}
	entry_free(&e);
	return rc;
}

/* Members of a group one after the other: the second is a name of the first. */
static bool group_under_way(const struct apply_job *a, const struct index_record *r)
{
	for (size_t k = 0; k + 1 < a->count; k++)
		if (entry_linked(&r->known) && memcmp(a->wants[k].want.link, r->known.link, ENTRY_LINK_BYTES) == 0)
			return true;
	return false;
}

/* --- choosing --- */

static int plan(struct node *n, struct index_txn *t, const char *path, struct index_record *r, struct want *w, struct apply_item *i, enum plan *ret)
{
	const struct entry *disk = node_on_disk(r);
	int rc = 0;

	*ret = PLAN_ITEM;
	if (disk && disk->kind == ENTRY_DIR && (r->known.deleted || r->known.kind != ENTRY_DIR))
		rc = plan_dir_goes(n, t, path, r, ret);
	if (!rc && *ret == PLAN_ITEM && !r->known.deleted)
		rc = plan_parent(n, t, path, r, ret);
	if (!rc && *ret == PLAN_ITEM && !r->known.deleted && r->known.kind == ENTRY_FILE)
		rc = plan_link(n, t, path, r, w, i, ret);
	if (!rc && *ret == PLAN_ITEM && !r->known.deleted && r->known.kind == ENTRY_FILE)
		rc = plan_content(n, t, path, r, w, i, ret);
	return rc;
}

static int fill(struct node *n, const char *path, struct index_record *r, struct want *w, struct apply_item *i)
{
	const struct entry *disk = node_on_disk(r);
	const struct wait *wait = (const struct wait *)(const void *)pathmap_get(&n->waits, path, strlen(path));
	int rc = entry_copy(&r->known, &w->want);
	bool content = false, dirs = disk && disk->kind == ENTRY_DIR && !r->known.deleted && r->known.kind == ENTRY_DIR;

	if (!rc && disk) {
		rc = entry_copy(disk, &w->disk);
		content = disk->kind == ENTRY_FILE && !r->known.deleted && r->known.kind == ENTRY_FILE && disk->size == r->known.size &&
			  memcmp(disk->hash, r->known.hash, HASH_BYTES) == 0;
		i->in_place = content && !disk->unsettled && !i->link_from && (!wait || !wait->no_copy);
	}
	if (!rc)
		rc = node_intent(n, path, &r->known, i->in_place || dirs ? disk : NULL);
	if (rc)
		return rc;
	i->path = w->path;
	i->want = &w->want;
	i->disk = disk ? &w->disk : NULL;
	i->stat = r->stat;
	i->young = r->young;
	i->rot = r->rot;
	i->known = content || (disk && disk->dot.seq && vector_covers(&r->known.known, &disk->dot));
	node_temp(n, disk ? TREE_TEMP_KEEP : 'm', i->temp);
	return 0;
}

struct choice { struct node *n; struct index_txn *t; struct apply_job *a; unsigned planned; uint64_t copied; bool decided; };

static void unchoose(struct apply_job *a)
{
	struct want *w = &a->wants[--a->count];

	free(w->path);
	free(w->content);
	free(w->copy_from);
	free(w->link_from);
	memset(w, 0, sizeof *w);
	memset(&a->items[a->count], 0, sizeof a->items[0]);
}

static int choose_one(void *user, const char *path, size_t len)
{
	struct choice *c = user;
	struct apply_job *a = c->a;
	struct want *w = &a->wants[a->count];
	struct apply_item *i = &a->items[a->count];
	enum plan p = PLAN_LATER;
	struct index_record r;
	int rc;

	index_record_init(&r);
	entry_init(&w->want);
	entry_init(&w->disk);
	w->path = strndup(path, len);
	a->count++; /* what is half made is freed with the job */
	rc = w->path ? index_get(c->t, path, len, &r) : -ENOMEM;
	if (rc == -ENOENT || (!rc && (r.held || r.left_out))) {
		node_wait_over(c->n, path, len);
		rc = 0;
	} else if (!rc && group_under_way(a, &r)) {
		node_want_soon(c->n, path, len, &r);
	} else if (!rc) {
		rc = plan(c->n, c->t, w->path, &r, w, i, &p);
	}
	if (!rc && p == PLAN_ITEM && i->copy_from)
		c->copied += r.known.size;
	if (!rc && p == PLAN_ITEM)
		rc = fill(c->n, w->path, &r, w, i);
	if (!rc && p == PLAN_DECIDED) {
		c->decided = true;
		node_want_soon(c->n, path, len, &r);
	}
	if (!rc && p != PLAN_ITEM)
		unchoose(a);
	index_record_free(&r);
	if (!rc && (a->count == c->n->o.batch || c->copied >= COPIED_MOST || ++c->planned >= CANDIDATES))
		return NODE_ENOUGH;
	return rc ? rc : p == PLAN_ITEM ? NODE_CHOSEN : NODE_LATER;
}

/* What was chosen is kept by path no more, and is not applied: all that is wanted is gone through again. What was fetched for it goes. */
static void not_chosen(struct node *n, struct apply_job *a)
{
	n->scan_wanted = true;
	n->scanning_wanted = false; /* from the first on */
	node_wake(n, node_now(n) + NODE_AGAIN_NS);
	for (size_t i = 0; i < a->count; i++) {
		if (a->wants[i].path)
			node_intent_drop(n, a->wants[i].path);
		if (a->items[i].ready[0])
			node_remove_temp(n, a->items[i].ready);
	}
	job_free(&a->j);
}

bool node_start_apply(struct node *n)
{
	struct choice c = { .n = n };
	struct apply_job *a;
	struct index_txn *t;
	int rc;

	fetch_parts_due(n);
	fetch_sweep(n->fetches);
	node_kept_sweep(n);
	if (!n->wanted) {
		node_choose_free(n);
		node_waits_over(n);
		return false;
	}
	if (!node_any_candidates(n)) /* with each piece that comes it is asked */
		return false;
	a = calloc(1, sizeof *a);
	if (!a) {
		node_failed(n, -ENOMEM);
		return false;
	}
	rc = index_begin(n->o.index, true, &t);
	if (!rc) {
		c.t = t;
		c.a = a;
		rc = node_candidates(n, t, choose_one, &c);
		if (rc || c.decided || a->count)
			rc = node_commit(n, t, rc);
		else
			index_abort(t);
	}
	n->again |= c.decided && !rc;
	if (!a->count && n->fresh.count + n->fresh_dirs.count + n->early.count + n->fetched.count) /* those behind them, when others had their turn */
		node_wake(n, node_now(n));
	if (rc) {
		node_failed(n, rc);
		not_chosen(n, a);
		return false;
	}
	if (!a->count) {
		job_free(&a->j);
		return false;
	}
	a->j = (struct node_job){ run, done, job_free, NULL };
	a->n = n;
	a->clock_ns = trash_clock_ns(&n->trash_clock, node_now(n));
	n->tree_job = n->applying = true;
	node_submit(n, &a->j);
	return true;
}
