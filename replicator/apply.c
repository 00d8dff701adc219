/*
 * apply.c - made in the corner, moved by one rename, what was displaced compared, before and behind that.
 *
 * All items of a batch are made, then synced, then moved, then their directories are synced: with as many calls to sync as one item has, where the tree has sync_all.
 *
 * Crash behaviour: before the rename there is a temp that nobody needs ("m..."; for a moment "x...", whole and synced); after it the tree has the new entry whole,
 * and a temp "x..." that has what was displaced, until that is found to be superseded. The index is told only afterwards; its owner has noted down what it was
 * about to do.
 */
#include "apply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply_content.h"
#include "err.h"
#include "examine.h"
#include "trash.h"

#define TOGETHER 4u /* so many are synced by one call, where that is to be had */

static void fail(struct apply_item *i, int rc)
{
	i->outcome = APPLY_FAILED;
	i->rc = rc;
}

/* --- making --- */

/* What did not get its place goes; but the content that was fetched for it is kept, for when that is tried again. Not where it is the disk that is full. */
static void unmake(struct tree *t, struct apply_item *i, const char *temp, int rc)
{
	i->kept = i->ready[0] && rc != -ENOSPC && rc != -EDQUOT && rc != ERR_CRASHED && t->rename_temp(t, temp, i->ready) == 0;
	if (!i->kept)
		t->remove_temp(t, temp);
}

/* Not synced yet. False: the outcome says why not. */
static bool make(struct tree *t, struct apply_item *i)
{
	struct tree_owner owner;
	int rc = i->want->kind == ENTRY_FILE ? apply_content(t, i) : i->want->kind == ENTRY_DIR ? t->make_dir(t, i->made)
									      : t->make_symlink(t, i->made, i->want->target);

	if (!rc)
		rc = t->dress_temp(t, i->made, i->want, &owner);
	if (rc == -EILSEQ) {
		i->outcome = APPLY_NO_CONTENT;
	} else if (rc) {
		unmake(t, i, i->made, rc);
		fail(i, rc);
	}
	return !rc;
}

/* What was made is on the disk for good before it gets its name. */
static bool sync_made(struct tree *t, struct apply_item *i)
{
	struct tree_file *f;
	int rc;

	if (i->want->kind != ENTRY_FILE)
		return true;
	rc = t->open_temp(t, i->made, &f);
	if (!rc) {
		rc = t->sync_file(f);
		t->close(f);
	}
	if (rc) {
		t->remove_temp(t, i->made);
		fail(i, rc);
	}
	return !rc;
}

/* --- comparing --- */

/* The same file, as far as a rename leaves that to be seen. */
static bool same_file(const struct index_stat *a, const struct index_stat *b)
{
	return a->ino == b->ino && a->size == b->size && a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns;
}

/* Of one content, which is not looked at. st: of found; made: of e, when it was put or found there. */
static bool same_metadata(struct entry *found, const struct index_stat *st, const struct entry *e, const struct index_stat *made)
{
	memcpy(found->hash, e->hash, HASH_BYTES);
	examine_owners(found, st, e, made);
	return entry_same(found, e);
}

/* What is meant to be at a path, and what is there, watched from when it was compared. */
struct held {
	const char *path;
	const struct entry *is;
	struct index_stat stat;        /* as its record has it */
	bool prove;                    /* that does not tell enough */
	struct tree_file *f;           /* a file that could be opened */
	bool leased;                   /* who wants to write into it is waiting from now on, and is noticed */
	bool proven;                   /* its content is beyond doubt what the record says */
	bool barred;                   /* not opened, or not leased, for want of rights, or of leases: that stays so */
	struct index_stat id;          /* as it is */
};

static void let_go(struct tree *t, struct held *h)
{
	if (h->f)
		t->close(h->f);
	h->f = NULL;
}

/* Is the content what the record says? Its stat does not tell where it was taken in the tick of the last change, or has another ctime than the record's. */
static enum apply_outcome prove(struct tree *t, struct held *h)
{
	uint8_t hash[HASH_BYTES];
	struct buf list = BUF_INIT;
	int rc;

	h->proven = !h->prove && !h->is->unsettled && memcmp(&h->id, &h->stat, sizeof h->id) == 0;
	if (h->proven || !h->f)
		return APPLY_DONE;
	rc = examine_hash(t, h->f, h->is->size, h->leased, NULL, hash, &list);
	buf_free(&list);
	if (rc == -EBUSY)
		return APPLY_BUSY;
	h->proven = !rc;
	return rc || memcmp(hash, h->is->hash, HASH_BYTES) == 0 ? APPLY_DONE : APPLY_STRANGE;
}

/* With what is there, described behind the lease. */
static enum apply_outcome compare(struct tree *t, struct held *h, int *ret_rc)
{
	struct tree_stat st, open;
	enum apply_outcome o;
	struct entry e;
	int rc;

	entry_init(&e);
	rc = t->describe(t, h->path, &st, &e);
	if (rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP || rc == -EAGAIN || rc == -EINVAL) {
		o = APPLY_STRANGE;
	} else if (rc) {
		*ret_rc = rc;
		o = APPLY_FAILED;
	} else if (st.kind != h->is->kind || !same_metadata(&e, &st.id, h->is, &h->stat) || (st.kind != ENTRY_DIR && !same_file(&st.id, &h->stat)) ||
		   (h->f && (t->fstat(h->f, &open) || open.id.ino != st.id.ino))) {
		o = APPLY_STRANGE;
	} else {
		h->id = st.id;
		o = h->is->kind == ENTRY_FILE ? prove(t, h) : APPLY_DONE;
	}
	entry_free(&e);
	return o;
}

/*
 * DONE: what is at h->path is what h says, and to be let go. Else nothing is held. A file that cannot be opened, or has no lease, is compared as far as that
 * goes: it is not to be thrown away then. *ret_rc: with FAILED.
 */
static enum apply_outcome hold(struct tree *t, struct held *h, int *ret_rc)
{
	enum apply_outcome o = APPLY_DONE;
	int rc = h->is->kind == ENTRY_FILE ? t->open(t, h->path, &h->f) : 0, quiet;

	if (rc) {
		h->f = NULL;
		h->barred = rc == -EACCES || rc == -EPERM;
		if (rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP || rc == -EINVAL)
			return APPLY_STRANGE;
	}
	if (h->f) {
		quiet = t->quiet(h->f);
		h->leased = quiet == 1;
		h->barred = quiet == -ENOTSUP;
		if (quiet == 0)
			o = APPLY_BUSY;
	}
	if (o == APPLY_DONE)
		o = compare(t, h, ret_rc);
	if (o != APPLY_DONE)
		let_go(t, h);
	return o;
}

/* Does what should lie at the item's path? prove: as in struct held. */
static enum apply_outcome hold_disk(struct tree *t, struct apply_item *i, bool prove, struct held *h)
{
	int rc = 0;

	*h = (struct held){ .path = i->path, .is = i->disk, .stat = i->stat, .prove = prove };
	i->outcome = hold(t, h, &rc);
	if (i->outcome == APPLY_FAILED)
		fail(i, rc);
	return i->outcome;
}

/* Are the metadata of a temp those of e, to the last field? 1, 0, or an error. made: e's stat. */
static int temp_is(struct tree *t, const char *temp, const struct entry *e, const struct index_stat *made, struct tree_stat *ret_st)
{
	struct entry x;
	int rc;

	entry_init(&x);
	rc = t->describe_temp(t, temp, ret_st, &x);
	if (!rc)
		rc = same_metadata(&x, &ret_st->id, e, made);
	else if (rc == -EINVAL || rc == -EAGAIN) /* nothing that is carried; or somebody changes it */
		rc = 0;
	entry_free(&x);
	return rc;
}

/*
 * What was displaced, now under temp: is it what was held, with nothing done to it between, and nobody about to? DONE: it may go. Otherwise why not. Its ctime is the
 * rename's now; but who writes is noticed by the lease, and everything else shows in the metadata. *ret_keep: no proof that nobody has changed its content.
 */
static enum apply_outcome judge(struct tree *t, struct apply_item *i, const struct held *h, bool *ret_keep)
{
	struct tree_stat st;
	int rc = temp_is(t, i->temp, i->disk, &h->id, &st);

	*ret_keep = true;
	if (rc < 0) {
		fail(i, rc);
		return APPLY_FAILED;
	}
	if (!rc || (st.kind != ENTRY_DIR && !same_file(&st.id, &h->id)))
		return APPLY_STRANGE;
	if (st.kind == ENTRY_FILE && h->leased && t->still_quiet(h->f) != 1)
		return APPLY_BUSY;
	*ret_keep = st.kind == ENTRY_FILE && !(h->leased && h->proven);
	return APPLY_DONE; /* a directory: removing it will tell whether it is empty */
}

/* --- placing --- */

/* To the trash, unless the new version knew of it. */
static int dispose(struct tree *t, struct apply_item *i, const char *temp, bool keep)
{
	struct tree_stat st;
	int rc;

	if (!keep)
		return t->remove_temp(t, temp);
	rc = t->stat_temp(t, temp, &st);
	if (rc)
		return rc;
	if (st.carried && st.kind == ENTRY_DIR) {
		rc = t->remove_temp(t, temp);
		if (rc != -ENOTEMPTY)
			return rc;
	}
	if (!i->noted)
		rc = t->sync_notes(t);
	if (!rc)
		rc = t->trash(t, temp, temp);
	i->trashed = !rc;
	return rc;
}

/*
 * The stat of what was just put there, and whether it can be believed: it must still be what was put there, metadata too (who changes that needs no lease), and
 * nobody may have opened it for writing. It was there in any case: whoever took it away since took that. f: the file, under a lease since before; NULL = none.
 */
static void settle(struct tree *t, struct env *env, struct apply_item *i, const struct index_stat *made, struct tree_file *f)
{
	uint64_t now = env->real_ns(env);
	struct tree_stat st;
	struct entry e;

	entry_init(&e);
	if (t->describe(t, i->path, &st, &e)) {
		i->doubt = true;
	} else {
		e.unsettled = i->want->unsettled;
		i->doubt = st.id.ino != made->ino || !same_metadata(&e, &st.id, i->want, made) || (i->want->kind == ENTRY_FILE && (!f || t->still_quiet(f) != 1));
	}
	entry_free(&e);
	i->now = i->doubt ? *made : st.id;
	i->now_young = examine_young(now, &i->now);
	if (i->doubt)
		i->now.ctime_s = i->now.ctime_ns = 0; /* never the same again: it will be read */
}

/* What was held has got other metadata. */
static void settle_dressed(struct tree *t, struct env *env, struct apply_item *i, const struct held *h, const struct tree_owner *owner)
{
	struct index_stat made = h->id;

	made.uid = owner->uid;
	made.gid = owner->gid;
	settle(t, env, i, &made, h->f);
}

/* Somebody's edit was displaced: back with it. Our new entry is under temp afterwards, unless that was changed as well. f: ours, as in settle. */
static void put_back(struct tree *t, struct apply_item *i, const struct index_stat *made, struct tree_file *f)
{
	struct tree_stat st;
	int rc = t->exchange(t, i->temp, i->path);
	bool ours;

	if (rc == -ENOENT) { /* ours was removed meanwhile: what was there before goes there again, and is examined */
		rc = t->publish(t, i->temp, i->path);
		if (!rc)
			return;
	}
	if (rc) {
		fail(i, dispose(t, i, i->temp, true) ? rc : -EAGAIN);
		return;
	}
	rc = temp_is(t, i->temp, i->want, made, &st);
	ours = rc == 1 && same_file(&st.id, made) && (!f || t->still_quiet(f) == 1);
	if (rc < 0)
		fail(i, rc);
	else if (dispose(t, i, i->temp, !ours))
		fail(i, -EIO);
}

/* The temp did not get its name: what is there is not what the record says, or the tree failed. */
static void not_placed(struct tree *t, struct apply_item *i, const char *temp, int rc)
{
	unmake(t, i, temp, rc);
	if (rc == -EEXIST || rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP)
		i->outcome = APPLY_STRANGE;
	else
		fail(i, rc);
}

/* What should be there is, and is held. */
static void change_places(struct tree *t, struct env *env, struct apply_item *i, const struct index_stat *made, struct tree_file *f, const struct held *h)
{
	bool keep;
	int rc = strcmp(i->made, i->temp) ? t->rename_temp(t, i->made, i->temp) : 0;

	if (rc) {
		t->remove_temp(t, i->made);
		fail(i, rc);
		return;
	}
	rc = t->exchange(t, i->temp, i->path);
	if (rc) {
		not_placed(t, i, i->temp, rc);
		return;
	}
	i->outcome = judge(t, i, h, &keep);
	if (i->outcome == APPLY_DONE && i->disk->kind == ENTRY_DIR) {
		rc = t->remove_temp(t, i->temp);
		if (rc == -ENOTEMPTY)
			i->outcome = APPLY_STRANGE;
		else if (rc)
			fail(i, rc);
	} else if (i->outcome == APPLY_DONE) {
		i->rc = dispose(t, i, i->temp, keep || !i->known);
	}
	if (i->outcome == APPLY_STRANGE || i->outcome == APPLY_BUSY)
		put_back(t, i, made, f);
	if (i->outcome == APPLY_DONE)
		settle(t, env, i, made, f);
}

static int note_any(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	(void)name;
	(void)len;
	(void)st;
	*(bool *)user = true;
	return 1;
}

/* A directory that holds something, what is ignored for example, would take it out of its place for a moment, and come back with it. */
static bool is_full(struct tree *t, const struct apply_item *i)
{
	bool full = false;

	return i->disk->kind == ENTRY_DIR && t->list(t, i->path, note_any, &full) >= 0 && full;
}

static void place_over(struct tree *t, struct env *env, struct apply_item *i, const struct index_stat *made, struct tree_file *f)
{
	struct held h;

	/* It may be thrown away, and for that nothing will do but its content where there is any doubt: somebody might have set the time back. */
	if (hold_disk(t, i, i->young, &h) != APPLY_DONE) {
		unmake(t, i, i->made, 0);
		return;
	}
	if (is_full(t, i)) {
		unmake(t, i, i->made, 0);
		i->outcome = APPLY_STRANGE;
		let_go(t, &h);
		return;
	}
	change_places(t, env, i, made, f, &h);
	let_go(t, &h);
}

static void place_new(struct tree *t, struct env *env, struct apply_item *i, const struct index_stat *made, struct tree_file *f)
{
	int rc = t->publish(t, i->made, i->path);

	if (rc) {
		not_placed(t, i, i->made, rc);
		return;
	}
	settle(t, env, i, made, f);
	i->outcome = APPLY_DONE;
}

/* Moves what was made into place, with a lease on it, so that a writer that comes at once is noticed. */
static void place(struct tree *t, struct env *env, struct apply_item *i)
{
	struct tree_file *f = NULL;
	struct tree_stat st;
	int rc = t->stat_temp(t, i->made, &st);

	if (!rc && i->want->kind == ENTRY_FILE)
		rc = t->open_temp(t, i->made, &f);
	if (rc) {
		t->remove_temp(t, i->made);
		fail(i, rc);
		return;
	}
	if (f && t->quiet(f) != 1) {
		t->close(f);
		f = NULL;
	}
	if (i->disk)
		place_over(t, env, i, &st.id, f);
	else
		place_new(t, env, i, &st.id, f);
	if (f)
		t->close(f);
}

/* The item has no name of the inode that it should share. False: it is to be made. for_good: trying again is of no use. */
static bool not_linked(struct tree *t, struct apply_item *i, struct held *h, bool for_good)
{
	let_go(t, h);
	i->apart = !for_good;
	if (!i->only_link || for_good)
		return false;
	i->outcome = APPLY_BUSY;
	return true;
}

/*
 * Another name of a file that has all it should have, and that nobody has open: under a lease from before it is compared, so that it goes on being so until it has
 * its name. False: that is not what it was, or cannot be known to be, and it is to be made.
 */
static bool place_link(struct tree *t, struct env *env, struct apply_item *i)
{
	struct held h = { .path = i->link_from, .is = i->want, .stat = i->link_stat,
			  .prove = examine_hides(i->link_young, &i->link_stat) };
	enum apply_outcome o;
	struct tree_stat st;
	int rc = 0;

	o = hold(t, &h, &rc);
	if (o == APPLY_BUSY) {
		i->outcome = o;
		return true;
	}
	if (o != APPLY_DONE || !h.leased || !h.proven)
		return not_linked(t, i, &h, o == APPLY_DONE && h.barred);
	rc = t->link_from(t, i->link_from, i->made);
	if (rc)
		return not_linked(t, i, &h, rc == -EMLINK || rc == -EPERM || rc == -EACCES);
	if (t->stat_temp(t, i->made, &st) || !same_file(&st.id, &h.id) || t->still_quiet(h.f) != 1) {
		t->remove_temp(t, i->made);
		i->outcome = APPLY_BUSY;
	} else if (i->disk) {
		place_over(t, env, i, &st.id, h.f);
	} else {
		place_new(t, env, i, &st.id, h.f);
	}
	let_go(t, &h);
	return true;
}

/*
 * A file's metadata alone. Its content cannot change meanwhile: the lease keeps whoever opens it for writing waiting. So what the record says of it is true as long
 * as the file is the record's, seen behind the lease. False: nothing was done, and it is to be made anew.
 */
static bool change_in_place(struct tree *t, struct env *env, struct apply_item *i)
{
	struct held h;
	struct tree_owner owner;
	int rc;

	if (i->stat.links != 1)
		return false;
	if (hold_disk(t, i, examine_hides(i->young, &i->stat), &h) != APPLY_DONE)
		return true;
	if (!h.leased || !h.proven || h.id.links != 1) {
		let_go(t, &h);
		i->outcome = APPLY_OPEN;
		return false;
	}
	rc = t->dress_file(t, h.f, i->want, &owner);
	if (!rc)
		rc = t->sync_file(h.f);
	if (!rc)
		settle_dressed(t, env, i, &h, &owner);
	let_go(t, &h);
	if (rc)
		fail(i, rc);
	else
		i->outcome = APPLY_DONE;
	return true;
}

/* A directory's metadata, in place: it has no content that could be torn. */
static void redress(struct tree *t, struct env *env, struct apply_item *i)
{
	struct held h;
	struct tree_owner owner;
	int rc;

	if (hold_disk(t, i, examine_hides(i->young, &i->stat), &h) != APPLY_DONE)
		return;
	rc = t->dress(t, i->path, i->want, &owner);
	if (rc) {
		fail(i, rc);
		return;
	}
	settle_dressed(t, env, i, &h, &owner);
	i->outcome = APPLY_DONE;
}

/* Out of the tree, and to the trash. */
static void withdraw(struct tree *t, struct apply_item *i, const struct held *h)
{
	bool keep;
	int rc = t->withdraw(t, i->path, i->temp);

	if (rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP) {
		i->outcome = APPLY_STRANGE;
		return;
	}
	if (rc) {
		fail(i, rc);
		return;
	}
	i->outcome = judge(t, i, h, &keep);
	if (i->outcome == APPLY_DONE) {
		i->rc = dispose(t, i, i->temp, i->disk->kind == ENTRY_FILE || !i->known);
	} else if (i->outcome != APPLY_FAILED) {
		rc = t->publish(t, i->temp, i->path);
		if (rc && dispose(t, i, i->temp, true)) /* somebody made a new one there: the trash keeps the old */
			fail(i, rc);
	}
}

static void take_away(struct tree *t, struct apply_item *i)
{
	struct held h;
	int rc;

	memset(&i->now, 0, sizeof i->now);
	if (!i->disk) {
		i->outcome = APPLY_DONE;
		return;
	}
	if (hold_disk(t, i, examine_hides(i->young, &i->stat), &h) != APPLY_DONE)
		return;
	if (i->disk->kind != ENTRY_DIR) {
		withdraw(t, i, &h);
		let_go(t, &h);
		return;
	}
	rc = t->remove_dir(t, i->path);
	i->outcome = !rc ? APPLY_DONE : APPLY_STRANGE;
	if (rc && rc != -ENOTEMPTY && rc != -ENOENT && rc != -ENOTDIR && rc != -ELOOP)
		fail(i, rc);
}

static bool is_made(const struct apply_item *i)
{
	return !i->want->deleted && !(i->want->kind == ENTRY_DIR && i->disk && i->disk->kind == ENTRY_DIR);
}

/* All that is sure to be made is made first, and synced together: many small files cost one sync. */
static void make_all(struct tree *t, struct apply_item *items, size_t count)
{
	size_t files = 0;
	bool synced;

	for (size_t k = 0; k < count; k++) {
		struct apply_item *i = &items[k];

		i->prepared = false;
		if (i->outcome != APPLY_OPEN || !is_made(i) || i->in_place || i->link_from)
			continue;
		i->prepared = make(t, i);
		files += i->prepared && i->want->kind == ENTRY_FILE;
	}
	synced = files >= TOGETHER && t->sync_all(t) == 0;
	for (size_t k = 0; k < count && !synced; k++)
		if (items[k].prepared)
			items[k].prepared = sync_made(t, &items[k]);
}

static void one(struct tree *t, struct env *env, struct apply_item *i)
{
	if (i->want->deleted) {
		take_away(t, i);
		return;
	}
	if (!is_made(i)) {
		redress(t, env, i);
		return;
	}
	if ((i->in_place && change_in_place(t, env, i)) || (i->link_from && place_link(t, env, i))) {
		if (i->ready[0]) /* not needed after all */
			t->remove_temp(t, i->ready);
		return;
	}
	if (i->prepared || (make(t, i) && sync_made(t, i)))
		place(t, env, i);
}

/* The directory that path is in; "" for the root. ret: ENTRY_PATH_MAX + 1. */
static void parent_of(const char *path, char *ret)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	memcpy(ret, path, n);
	ret[n] = '\0';
}

static int sync_parent(struct tree *t, const char *path)
{
	char dir[ENTRY_PATH_MAX + 1];

	parent_of(path, dir);
	return t->sync_dir(t, dir);
}

static bool see_parent(struct tree *t, const char *path, struct index_stat *ret)
{
	char dir[ENTRY_PATH_MAX + 1];
	struct tree_stat st;

	parent_of(path, dir);
	if (!dir[0] || t->stat(t, dir, &st) || !st.carried || st.kind != ENTRY_DIR)
		return false;
	*ret = st.id;
	return true;
}

static bool same_parent(const char *a, const char *b)
{
	const char *x = strrchr(a, '/'), *y = strrchr(b, '/');

	return (!x && !y) || (x && y && x - a == y - b && memcmp(a, b, (size_t)(x - a)) == 0);
}

/* Is something taken out of the tree for it? A directory is removed where it is, or dressed where it is. */
static bool displaces(const struct apply_item *i)
{
	return i->disk && !(i->disk->kind == ENTRY_DIR && (i->want->deleted || i->want->kind == ENTRY_DIR));
}

/* What will go to the trash in any case is noted for good here, with one sync for all; what may, when it does. */
static void note_all(struct tree *t, struct env *env, uint64_t clock_ns, struct apply_item *items, size_t count)
{
	struct trash_note *notes = calloc(count + 1, sizeof *notes);
	uint64_t wall_us = env->real_ns(env) / 1000;
	bool sync = false;
	size_t n = 0;
	int rc;

	for (size_t k = 0; k < count && notes; k++) {
		struct apply_item *i = &items[k];

		if (!displaces(i))
			continue;
		notes[n++] = (struct trash_note){ i->temp, i->path, i->rot ? TRASH_ROT : i->want->deleted && i->known ? TRASH_DELETED : TRASH_CONFLICT, wall_us, clock_ns };
		sync |= i->want->deleted || !i->known;
	}
	rc = !notes ? -ENOMEM : n ? trash_note(t, notes, n, sync) : 0;
	free(notes);
	for (size_t k = 0; k < count; k++) {
		items[k].noted = sync;
		if (!rc || !displaces(&items[k]))
			continue;
		fail(&items[k], rc);
		if (items[k].ready[0]) /* nobody else knows of it: it must not fill the disk, attempt by attempt */
			t->remove_temp(t, items[k].ready);
	}
}

static void sync_parents(struct tree *t, struct apply_item *items, size_t count)
{
	size_t done = 0;

	for (size_t k = 0; k < count; k++)
		done += items[k].outcome == APPLY_DONE;
	if (done >= TOGETHER && t->sync_all(t) == 0)
		return;
	for (size_t k = 0; k < count; k++) {
		int rc;

		if (items[k].outcome != APPLY_DONE || (k && items[k - 1].outcome == APPLY_DONE && same_parent(items[k - 1].path, items[k].path)))
			continue;
		rc = sync_parent(t, items[k].path);
		if (rc && rc != -ENOENT && rc != -ENOTDIR && rc != -ELOOP) /* gone since: whoever removed it is heard of */
			for (size_t m = k; m < count && same_parent(items[k].path, items[m].path); m++)
				if (items[m].outcome == APPLY_DONE)
					fail(&items[m], rc); /* done, but nobody may be told so yet: a loss of power might undo it */
	}
}

void apply(struct tree *t, struct env *env, uint64_t clock_ns, struct apply_item *items, size_t count)
{
	struct index_stat before = { 0 };
	bool seen = false;

	for (size_t k = 0; k < count; k++) {
		memcpy(items[k].made, items[k].temp, sizeof items[k].made);
		items[k].made[0] = TREE_TEMP_MAKE;
		items[k].kept = false;
	}
	note_all(t, env, clock_ns, items, count);
	make_all(t, items, count);
	for (size_t k = 0; k < count; k++) {
		if (k == 0 || !same_parent(items[k - 1].path, items[k].path))
			seen = see_parent(t, items[k].path, &before);
		if (items[k].outcome == APPLY_OPEN)
			one(t, env, &items[k]);
		if (k + 1 < count && same_parent(items[k].path, items[k + 1].path))
			continue;
		items[k].dir_before = before;
		items[k].dir = seen && see_parent(t, items[k].path, &items[k].dir_after) ? APPLY_DIR_SEEN : APPLY_DIR_UNSEEN;
	}
	sync_parents(t, items, count);
}
