/*
 * node_change.c - versions: what was found on the disk, what peers say, and what is decided here, as changes of records.
 *
 * A record's belief of the disk (node_on_disk) changes only by what was found or put there; its newest entry only by the order of versions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define HELD 1 /* it is looked at again: nothing is known for sure */

const struct entry *node_on_disk(const struct index_record *r)
{
	const struct entry *e = r->held ? &r->known : r->on_disk ? &r->disk : NULL;

	return e && !e->deleted ? e : NULL;
}

bool node_live(const struct index_record *r)
{
	return !r->known.deleted;
}

static bool same(const struct entry *a, const struct entry *b)
{
	return entry_same(a, b) && a->unsettled == b->unsettled && memcmp(a->link, b->link, sizeof a->link) == 0;
}

static void take(struct entry *to, struct entry *from)
{
	entry_free(to);
	*to = *from;
	entry_init(from);
}

/* --- what a record says --- */

/* The newest is now *e (moved); what lies on the disk stays what it is. What time it had as a directory is not forgotten, whatever it is. */
static void set_known(struct index_record *r, struct entry *e)
{
	entry_raise_time(e, r->known.dir_s, r->known.dir_ns);
	if (r->held) {
		r->on_disk = !r->known.deleted;
		if (r->on_disk)
			take(&r->disk, &r->known);
		r->held = false;
	}
	take(&r->known, e);
	r->held = r->on_disk ? !r->known.deleted && same(&r->disk, &r->known) : r->known.deleted;
	if (r->held) {
		entry_free(&r->disk);
		r->on_disk = false;
	}
}

/* On the disk lies now *e (moved), NULL = nothing; the newest stays what it is. */
static void set_disk(struct index_record *r, struct entry *e, const struct index_stat *st)
{
	if (e && e->deleted) {
		entry_free(e);
		e = NULL;
	}
	r->rot = false;
	r->held = e ? !r->known.deleted && same(e, &r->known) : r->known.deleted;
	entry_free(&r->disk);
	r->on_disk = e && !r->held;
	if (r->on_disk)
		take(&r->disk, e);
	else if (e)
		entry_free(e);
	memset(&r->stat, 0, sizeof r->stat);
	if (st && (r->on_disk || (r->held && !r->known.deleted)))
		r->stat = *st;
}

void node_unversion(struct entry *e)
{
	memset(&e->dot, 0, sizeof e->dot);
	e->stamp = 0;
	e->known.count = 0;
}

int node_applied(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e, const struct index_stat *st)
{
	(void)n;
	r->stale = false;
	set_disk(r, e, st);
	return index_put(t, path, len, r);
}

/* --- decisions --- */

int node_decide_over(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e, const struct entry *over)
{
	int rc = node_version(n, t, e, over, r->on_disk ? &r->disk : NULL);

	if (rc)
		return rc;
	set_known(r, e);
	if (!node_on_disk(r))
		memset(&r->stat, 0, sizeof r->stat);
	return index_put(t, path, len, r);
}

int node_decide(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e)
{
	return node_decide_over(n, t, path, len, r, e, &r->known);
}

/*
 * An entry that everything we know of says was superseded, by something we do not have any more: a deletion. Said aloud, as a change, so that all
 * end up the same.
 */
static int answer_dead(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, const struct entry *e)
{
	struct entry x;
	int rc;

	entry_init(&x);
	rc = r->known.dot.seq ? entry_copy(&r->known, &x) : node_tombstone(e, &x);
	if (!rc)
		rc = node_version(n, t, &x, r->known.dot.seq ? &r->known : NULL, e);
	if (!rc) {
		set_known(r, &x);
		if (!node_on_disk(r))
			memset(&r->stat, 0, sizeof r->stat);
		rc = index_put(t, path, len, r);
	}
	entry_free(&x);
	return rc;
}

/*
 * What has the content of the newest counts as that, once it was looked at: what somebody has put there since, and no look has found yet, does not know of the newest, and a change found
 * then would claim to. *was: what the disk has until then; or deleted. (What has no version, and where nothing is to be looked at, counts at once: a member that joins has it all over.)
 */
static int doubt_before(struct node *n, const char *path, size_t len, const struct index_record *r, const struct entry *newest, struct entry *was)
{
	const struct entry *disk = node_on_disk(r);
	bool quiet = !n->dirty.count && (!n->tree_job || n->applying);
	int rc;

	was->deleted = true;
	if (!disk || disk->kind == ENTRY_DIR || dot_equal(&disk->dot, &newest->dot) || !same(disk, newest) || (!disk->dot.seq && quiet))
		return 0;
	rc = node_look(n, path, len, false, false, 0);
	return rc ? rc : entry_copy(disk, was);
}

static int merge_record(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, const struct entry *e)
{
	struct entry x, was;
	struct merge m;
	int rc;

	entry_init(&x);
	entry_init(&was);
	rc = entry_copy(&r->known, &x);
	if (!rc)
		rc = entry_merge(&x, e, &m);
	if (!rc && m.twin)
		n->alerts++;
	if (!rc)
		rc = doubt_before(n, path, len, r, &x, &was);
	if (!rc && m.changed) {
		set_known(r, &x);
		if (r->held && !was.deleted) {
			r->held = false;
			r->on_disk = true;
			take(&r->disk, &was);
		}
		if (!node_on_disk(r))
			memset(&r->stat, 0, sizeof r->stat);
		rc = index_put(t, path, len, r);
	} else if (!rc && r->known.deleted && !e->deleted) {
		rc = index_renew(t, path, len); /* whoever says so has not heard of the deletion: sums leave those out */
	}
	entry_free(&x);
	entry_free(&was);
	return rc;
}

int node_merge(struct node *n, struct index_txn *t, const char *path, size_t len, const struct entry *e, bool *ret_wanted)
{
	struct index_record r;
	struct entry x;
	bool none;
	int rc;

	*ret_wanted = false;
	index_record_init(&r);
	entry_init(&x);
	rc = index_get(t, path, len, &r);
	none = rc == -ENOENT;
	if (none && node_tombs_needless(n, t, e)) {
		index_record_free(&r);
		return 0;
	}
	if (none)
		rc = 0;
	if (!r.known.dot.seq) /* what has no version says nothing, of times neither */
		r.known.dir_s = r.known.dir_ns = 0;
	if (!rc && !e->deleted && node_covers(n, t, &e->dot) && (none || !r.known.dot.seq || entry_order(&r.known, e) < 0)) {
		rc = answer_dead(n, t, path, len, &r, e);
	} else if (!rc && none) {
		rc = entry_copy(e, &x);
		if (!rc) {
			set_known(&r, &x);
			rc = index_put(t, path, len, &r);
		}
	} else if (!rc) {
		rc = merge_record(n, t, path, len, &r, e);
	}
	*ret_wanted = !rc && !r.held && !r.left_out && dot_equal(&r.known.dot, &e->dot);
	if (!rc && !r.held && !r.left_out)
		node_want_news(n, path, len, &r);
	entry_free(&x);
	index_record_free(&r);
	return rc;
}

/* --- what was found --- */

/*
 * A change made here, of what lay on the disk. also: what may have lain there as well, or NULL. The change wins over that, and does not claim to know of
 * it: whoever has it keeps it in the trash. (It would be lost where it never lay here, and this change is followed by one that puts a file there.)
 */
static int local_change(struct node *n, struct index_txn *t, const char *path, bool none, struct index_record *r, struct entry *e,
			const struct index_stat *st, const struct entry *also, uint64_t made_us)
{
	const struct entry *parent = node_on_disk(r);
	int rc;

	if (!parent && !none && r->held)
		parent = &r->known; /* made anew where it was deleted */
	rc = node_version_behind(n, t, e, parent, NULL, also ? also->stamp : 0, made_us);
	if (rc)
		return rc;
	entry_raise_time(e, r->known.dir_s, r->known.dir_ns);
	if (none || entry_order(&r->known, e) < 0) {
		entry_free(&r->disk);
		r->on_disk = false;
		take(&r->known, e);
		r->held = true;
		memset(&r->stat, 0, sizeof r->stat);
		if (!r->known.deleted)
			r->stat = *st;
	} else {
		entry_raise_time(&r->known, e->dir_s, e->dir_ns);
		set_disk(r, e, st); /* a later one is known already; this one is kept when that takes its place */
	}
	return index_put(t, path, strlen(path), r);
}

static int found_gone(struct node *n, struct index_txn *t, const char *path, struct index_record *r)
{
	const struct intent *i = (const struct intent *)(const void *)pathmap_get(&n->intents, path, strlen(path));
	const struct entry *disk = node_on_disk(r);
	enum node_missing believed;
	struct entry x;
	int rc;

	if (!disk)
		return 0;
	if (!disk->dot.seq && r->held)
		return index_delete(t, path, strlen(path));
	/* Our own doing, that the index was not told of, is nobody's deletion: what is wanted by now goes on being so. */
	believed = i && i->entry.deleted ? MISSING_RESTORE : (disk->dot.seq || r->rot) && !n->power ? node_missing(n, path) : MISSING_RESTORE;
	if (believed == MISSING_ASK)
		return HELD;
	if (believed == MISSING_RESTORE) { /* not believed to have been deleted: wanted again */
		set_disk(r, NULL, NULL);
		rc = index_put(t, path, strlen(path), r);
		return rc || r->held ? rc : node_cuts_lost(n, path, strlen(path), r);
	}
	entry_init(&x);
	rc = node_tombstone(disk, &x);
	/* If something was being put in its place, it may have been that which was deleted. */
	/*
	 * Whose going nobody saw went at some time since it was last seen: the deletion is dated then. An edit that somebody made meanwhile, elsewhere, is later, and stays.
	 */
	if (!rc)
		rc = local_change(n, t, path, false, r, &x, NULL, i ? &i->entry : NULL, n->look_told ? UINT64_MAX : n->seen_us);
	entry_free(&x);
	return rc;
}

/*
 * Is a version wanted here that this process made? (It vanished, and is to come back.) One made now would say that it knows of that: a vector says only the last of an
 * incarnation. Whoever has the content would throw it away.
 */
static bool would_claim(const struct node *n, const struct index_record *r)
{
	return !r->held && !r->known.deleted && r->known.kind == ENTRY_FILE && memcmp(r->known.dot.inc, n->incarnation, sizeof n->incarnation) == 0;
}

static int found_stranger(struct node *n, struct index_txn *t, const char *path, bool none, struct index_record *r, struct entry *e,
			  const struct index_stat *st)
{
	const struct entry *disk = node_on_disk(r);

	/* Nothing was believed to be here, and a peer's word of the path came before the scan did: it may well have been here all the time. */
	bool late = n->scanning && !disk;

	/* It was ignored: nobody knows how old it is. What others know of the path wins, a deletion too. */
	bool stale = n->look_stale || (!disk && !n->look_told && node_was_ignored(n, path, strlen(path)));

	if ((!none && r->known.dot.seq && (n->power || stale || would_claim(n, r))) || (n->joining && (none || !r->known.dot.seq || late || (disk && !disk->dot.seq)))) {
		node_unversion(e);
		entry_raise_time(e, none || !r->known.dot.seq ? r->known.dir_s : 0, none || !r->known.dot.seq ? r->known.dir_ns : 0);
		if (none || !r->known.dot.seq) {
			take(&r->known, e);
			entry_free(&r->disk);
			r->on_disk = false;
			r->held = true;
			r->stat = *st;
		} else {
			set_disk(r, e, st);
		}
		return index_put(t, path, strlen(path), r);
	}
	if (none && stale) { /* and should that be heard of yet: as at the end of joining, node_join.c */
		int rc = node_version(n, t, e, NULL, NULL);

		if (rc)
			return rc;
		e->stamp = 1;
		take(&r->known, e);
		r->held = true;
		r->stat = *st;
		return index_put(t, path, strlen(path), r);
	}
	return local_change(n, t, path, none, r, e, st, NULL, UINT64_MAX);
}

/* *e has the version of what the record says lies there. */
static int half_way(const struct index_record *r, struct entry *e)
{
	const struct entry *disk = node_on_disk(r);
	int rc = vector_copy(&disk->known, &e->known);

	if (rc)
		return rc;
	e->dot = disk->dot;
	e->stamp = disk->stamp;
	return 0;
}

struct apart { const char *path; size_t len; const struct entry *known; uint64_t ino; };

/* A file of the group that has all that is wanted, and another inode. */
static int note_apart(void *user, const char *path, size_t len, const struct index_record *r)
{
	const struct apart *a = user;

	return (len != a->len || memcmp(path, a->path, len) != 0) && r->held && entry_same(&r->known, a->known) && r->stat.ino != a->ino;
}

/*
 * What was wanted is there, which the index was not told of; and while it was not, another name of the group may have been made, that had nothing to be linked to.
 * Then this one is not in the group yet: that is still wanted.
 */
static int found_wanted(struct index_txn *t, const char *path, struct index_record *r, const struct index_stat *st)
{
	struct apart a = { path, strlen(path), &r->known, st->ino };
	int rc = !r->held && r->known.dot.seq && entry_linked(&r->known) ? index_with_link(t, r->known.link, note_apart, &a) : 0;
	struct entry e;

	if (rc < 0)
		return rc;
	if (!rc) {
		entry_free(&r->disk);
		r->on_disk = false;
		r->held = true;
		return 0;
	}
	entry_init(&e);
	rc = entry_copy(&r->known, &e);
	if (rc)
		return rc;
	memset(e.link, 0, sizeof e.link);
	set_disk(r, &e, st);
	return 0;
}

/* A view of what was found, as it is if it is our own doing: who has no name here got the number, whoever has that here. */
static struct entry intended(const struct entry *found, const struct entry *e)
{
	struct entry x = *found;

	if (x.uid == e->uid)
		memcpy(x.owner, e->owner, sizeof x.owner);
	if (x.gid == e->gid)
		memcpy(x.group, e->group, sizeof x.group);
	return x;
}

static int found_changed(struct node *n, struct index_txn *t, const char *path, bool none, struct index_record *r, struct examine_result *x)
{
	const struct intent *i = (const struct intent *)(const void *)pathmap_get(&n->intents, path, strlen(path));
	const struct entry *disk = node_on_disk(r);
	const struct index_stat *st = &x->stat.id;
	struct entry e, ours = i ? intended(&x->found, &i->entry) : x->found;
	int rc = 0;

	if (disk && disk->kind == ENTRY_DIR && x->found.kind == ENTRY_DIR)
		node_note_time(n, path, r, st);
	if (!none && ((disk && disk->kind == ENTRY_DIR) || !node_time_counts(n, path)))
		x->found.dir_s = x->found.dir_ns = 0; /* nothing new, or not somebody's doing; local_change has the one that is known */
	if ((!none && !r->known.deleted && same(&x->found, &r->known)) || (disk && same(&x->found, disk))) {
		if (!none && !r->known.deleted && same(&x->found, &r->known))
			rc = found_wanted(t, path, r, st);
		entry_raise_time(&r->known, x->found.dir_s, x->found.dir_ns);
		r->stat = *st;
		return rc ? rc : index_put(t, path, strlen(path), r);
	}
	if (i && !none && same(&ours, &i->entry)) { /* our own doing, that the index was not told of */
		entry_init(&e);
		rc = entry_copy(&i->entry, &e);
		if (!rc) {
			set_disk(r, &e, st);
			rc = index_put(t, path, strlen(path), r);
		}
		return rc;
	}
	/* Our own doing, half-way: still the version that it was, and what is wanted goes on being so. */
	if (i && i->in_place && disk && disk->kind == x->found.kind && memcmp(x->found.hash, i->from.hash, HASH_BYTES) == 0 && x->found.size == i->from.size &&
	    entry_between(&ours, &i->from, &i->entry)) {
		rc = half_way(r, &x->found);
		if (!rc)
			set_disk(r, &x->found, st);
		return rc ? rc : index_put(t, path, strlen(path), r);
	}
	return found_stranger(n, t, path, none, r, &x->found, st);
}

int node_doubt(struct index_txn *t, const char *path)
{
	const struct entry *disk;
	struct index_record r;
	int rc;

	index_record_init(&r);
	rc = index_get(t, path, strlen(path), &r);
	disk = rc ? NULL : node_on_disk(&r);
	if (disk && disk->kind == ENTRY_FILE && r.known.dot.seq) {
		set_disk(&r, NULL, NULL);
		rc = index_put(t, path, strlen(path), &r);
	}
	index_record_free(&r);
	return rc == -ENOENT ? 0 : rc;
}

/* Is there, as far as is known, a directory to be in? Otherwise that is to be looked at first. */
static int has_parent(struct index_txn *t, const char *path, bool *ret)
{
	const char *slash = strrchr(path, '/');
	struct index_record r;
	const struct entry *d;
	int rc;

	*ret = true;
	if (!slash)
		return 0;
	index_record_init(&r);
	rc = index_get(t, path, (size_t)(slash - path), &r);
	d = rc ? NULL : node_on_disk(&r);
	*ret = d && d->kind == ENTRY_DIR;
	index_record_free(&r);
	return rc == -ENOENT ? 0 : rc;
}

static int look_above_first(struct node *n, const char *path, size_t len)
{
	size_t above = (size_t)(strrchr(path, '/') - path);
	struct dirty *d = (struct dirty *)(void *)pathmap_get(&n->dirty, path, above);
	int rc = d && d->failed ? 0 : node_look(n, path, above, false, false, 0); /* what cannot be looked at is no sooner for that */

	if (!rc)
		rc = node_look(n, path, len, false, true, 0);
	d = rc ? NULL : (struct dirty *)(void *)pathmap_get(&n->dirty, path, len);
	if (d)
		d->inside = true;
	return rc;
}

struct children { struct node *n; unsigned count, held, unasked; }; /* unasked: held, and nobody was asked about it */

static int look_at_child(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct children *c = user;
	struct dirty *d;
	int rc;

	if (!node_on_disk(r))
		return 0;
	c->count++;
	d = (struct dirty *)(void *)pathmap_get(&c->n->dirty, path, len);
	if (d && d->held) {
		c->held++;
		c->unasked += d->word == MISSING_ASK;
		return 0;
	}
	rc = node_look(c->n, path, len, false, false, 0);
	d = rc ? NULL : (struct dirty *)(void *)pathmap_get(&c->n->dirty, path, len);
	if (d)
		d->told |= c->n->look_told;
	return rc;
}

/* --- link groups --- */

struct group { const char *path; size_t len; bool there; uint8_t link[ENTRY_LINK_BYTES]; };

static int note_group(void *user, const char *path, size_t len, const struct index_record *r)
{
	const struct entry *d = node_on_disk(r);
	struct group *g = user;

	if ((len == g->len && memcmp(path, g->path, len) == 0) || !d)
		return 0;
	g->there = true;
	if (entry_linked(d))
		memcpy(g->link, d->link, sizeof g->link);
	return entry_linked(d);
}

/*
 * The group of a file that was found. While it is the inode that it was, its group is what it was: that another name went is no change of this one. Another inode has
 * the group of the other names that are known of it; without any it is a file like others.
 */
static int find_group(struct node *n, struct index_txn *t, const char *path, const struct index_record *r, const struct index_stat *st, uint8_t *ret)
{
	static const uint8_t none[ENTRY_LINK_BYTES];
	struct group g = { path, strlen(path), false, { 0 } };
	const struct entry *d = node_on_disk(r);
	int rc = 0;

	memcpy(ret, none, ENTRY_LINK_BYTES);
	if (d && d->kind == ENTRY_FILE && entry_linked(d) && r->stat.ino == st->ino) {
		memcpy(ret, d->link, ENTRY_LINK_BYTES);
		return 0;
	}
	if (st->links > 1)
		rc = index_with_inode(t, st->ino, note_group, &g);
	if (rc < 0)
		return rc;
	rc = 0;
	if (g.there && memcmp(g.link, none, sizeof none) == 0) { /* theirs, too */
		n->o.env->random(n->o.env, g.link, sizeof g.link);
		rc = node_look_at_links(n, t, path, st->ino, NULL);
	}
	memcpy(ret, g.link, ENTRY_LINK_BYTES);
	return rc;
}

/* What we put there, and could not note, and what no other name tells the group of: it was the first of it. */
static void own_group(const struct node *n, const char *path, struct entry *found)
{
	const struct intent *i = (const struct intent *)(const void *)pathmap_get(&n->intents, path, strlen(path));

	if (i && !entry_linked(found) && entry_same(found, &i->entry) && found->unsettled == i->entry.unsettled)
		memcpy(found->link, i->entry.link, sizeof found->link);
}

/* All is as it was but the group: a change like any other, unless something later is wanted there anyway. */
static int found_link(struct node *n, struct index_txn *t, const char *path, struct index_record *r, const struct index_stat *st)
{
	const struct entry *d = node_on_disk(r);
	uint8_t link[ENTRY_LINK_BYTES];
	struct entry e;
	int rc = 0;

	if (!d || d->kind != ENTRY_FILE)
		return 0;
	rc = find_group(n, t, path, r, st, link);
	if (rc || memcmp(link, d->link, sizeof link) == 0)
		return rc;
	if (!r->held || !d->dot.seq) { /* no version of its own */
		memcpy(r->held ? r->known.link : r->disk.link, link, sizeof link);
		return index_put(t, path, strlen(path), r);
	}
	entry_init(&e);
	rc = entry_copy(&r->known, &e);
	memcpy(e.link, link, sizeof link);
	if (!rc && (n->power || (n->joining && n->scanning))) { /* not believed, as no other difference is */
		node_unversion(&e);
		set_disk(r, &e, st);
		rc = index_put(t, path, strlen(path), r);
	} else if (!rc) {
		rc = local_change(n, t, path, false, r, &e, st, NULL, UINT64_MAX);
	}
	entry_free(&e);
	return rc;
}

struct links { struct node *n; const char *path; size_t len; const struct index_stat *st; };

static int look_at_link(void *user, const char *path, size_t len, const struct index_record *r)
{
	const struct links *l = user;

	if ((len == l->len && memcmp(path, l->path, len) == 0) || !node_on_disk(r) || (l->st && memcmp(&r->stat, l->st, sizeof r->stat) == 0))
		return 0;
	/* What is held back was looked at. Its record stays as it is, so its other names, looked at with it, would have it looked at for ever, and never judged. */
	return node_is_held(l->n, path, len) ? 0 : node_look(l->n, path, len, false, false, 0);
}

int node_look_at_links(struct node *n, struct index_txn *t, const char *path, uint64_t ino, const struct index_stat *st)
{
	struct links l = { n, path, strlen(path), st };

	return ino ? index_with_inode(t, ino, look_at_link, &l) : 0;
}

/* The disk is what it was believed to be, and that is what the newest would be: it counts as that (doubt_before), if nothing was said since it was looked at. */
static bool is_newest(struct node *n, const char *path, size_t len, const struct index_record *r)
{
	return !r->held && r->on_disk && r->disk.kind != ENTRY_DIR && !entry_linked(&r->disk) && same(&r->disk, &r->known) && !pathmap_get(&n->dirty, path, len);
}

/* Behind the record: without one that has to do with this content it is not kept. */
static int keep_blocks(struct index_txn *t, const uint8_t *hash, const struct buf *blocks)
{
	int rc = index_blocks_put(t, hash, blocks->data, blocks->len);

	return rc == -ENOENT ? 0 : rc;
}

int node_found(struct node *n, struct index_txn *t, const char *path, struct examine_result *x)
{
	struct children below = { n, 0, 0, 0 };
	struct index_record r;
	size_t len = strlen(path);
	const struct entry *had;
	struct index_stat was;
	uint8_t hash[HASH_BYTES];
	bool none, parent, other, newest;
	int rc;

	memcpy(hash, x->found.hash, sizeof hash);
	index_record_init(&r);
	rc = index_get(t, path, len, &r);
	none = rc == -ENOENT;
	if (none)
		rc = 0;
	was = r.stat;
	n->look_stale = r.stale;
	r.stale = false; /* not before something is concluded from it */
	if (!rc && x->verdict == EXAMINE_CHANGED && x->found.kind == ENTRY_FILE)
		rc = find_group(n, t, path, &r, &x->stat.id, x->found.link);
	if (!rc && x->verdict == EXAMINE_CHANGED && x->found.kind == ENTRY_FILE)
		own_group(n, path, &x->found);
	if (!rc && x->verdict == EXAMINE_SAME)
		rc = found_link(n, t, path, &r, &x->stat.id);
	had = rc ? NULL : node_on_disk(&r);
	/* Gone, and not known of: it came and went. */
	other = (x->verdict != EXAMINE_SAME && x->verdict != EXAMINE_CHANGED) || !had || r.stat.ino != x->stat.id.ino;
	newest = !rc && x->verdict == EXAMINE_SAME && is_newest(n, path, len, &r);
	if (newest) {
		entry_free(&r.disk);
		r.on_disk = false;
		r.held = true;
	}
	if (!rc && x->verdict == EXAMINE_SAME && (node_note_time(n, path, &r, &x->stat.id) || memcmp(&r.stat, &x->stat.id, sizeof r.stat) != 0 ||
						  r.young != x->young || n->look_stale || newest)) {
		r.stat = x->stat.id;
		r.young = x->young;
		rc = none ? 0 : index_put(t, path, len, &r);
	} else if (!rc && (x->verdict == EXAMINE_GONE || x->verdict == EXAMINE_OTHER || (x->verdict == EXAMINE_CHANGED && x->found.kind != ENTRY_DIR))) {
		/* What was in a directory goes before it, so that nobody sees it deleted with something alive inside. */
		if (node_on_disk(&r) && node_on_disk(&r)->kind == ENTRY_DIR)
			rc = index_children(t, path, len, look_at_child, &below);
		if (rc == -ENOENT)
			rc = 0;
		if (!rc && below.count) {
			rc = below.unasked && !n->releasing ? node_hold(n, path) : node_look(n, path, len, false, true, below.held ? NODE_SOON_NS : 0);
			if (!rc)
				node_look_again(n, path, len);
			index_record_free(&r);
			return rc;
		}
	}
	if (!rc && (x->verdict == EXAMINE_GONE || x->verdict == EXAMINE_OTHER)) {
		if (n->look_stale)
			rc = index_put(t, path, len, &r);
		if (!rc)
			rc = found_gone(n, t, path, &r);
	}
	if (!rc && x->verdict == EXAMINE_CHANGED) {
		rc = has_parent(t, path, &parent);
		if (!rc && !parent) {
			index_record_free(&r);
			return look_above_first(n, path, len);
		}
		if (!rc && node_is_rot(n, &r, x)) {
			rc = node_rot(n, t, path, &r, x);
		} else if (!rc) {
			r.young = x->young;
			rc = found_changed(n, t, path, none, &r, x);
		}
		if (!rc && x->blocks.len)
			rc = keep_blocks(t, hash, &x->blocks);
	}
	index_record_free(&r);
	/* Whatever the record's stat says: another name may have been made and found while this one was busy. What was written by this one shows there alone once it is gone. */
	if (!rc && other)
		rc = node_look_at_links(n, t, path, was.ino, NULL);
	if (!rc && (x->verdict == EXAMINE_SAME || x->verdict == EXAMINE_CHANGED) && x->stat.kind == ENTRY_FILE && x->stat.id.links > 1)
		rc = node_look_at_links(n, t, path, x->stat.id.ino, &x->stat.id);
	if (!rc && other)
		rc = node_look_at_parent(n, path);
	if (!rc && pathmap_get(&n->intents, path, len)) {
		node_intent_over(n, path);
		node_want_soon(n, path, len, NULL);
	}
	return rc == HELD ? 0 : rc;
}
