/*
 * node_look.c - the job that looks: dirty paths are examined, deep ones listed, changes synced (CLUSTER rule 4), then become versions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define SUSPECT_AGAIN_NS (2 * EXAMINE_SUSPECT_NS)
#define ENOUGH 8u /* files that are nearly too big for it: so much is read by one job */
#define TOGETHER 4u /* so many are synced by one call, where that is to be had */
#define UNLISTED_MOST 8u /* so many jobs in a row may have no directory to list */

struct look {
	char *path;
	bool deep, have, first, held, told, glance, there;
	bool name;             /* because another name of it was looked at */
	enum node_missing word;
	struct index_record record;
	struct examine_options o;
	struct examine_hashed hashed;  /* o's, or not */
	bool mounted;          /* another file system is mounted there */
	bool put_off;          /* the job had read enough before it came to this one */
	uint64_t since_ns;
	/* what came of it */
	struct examine_result x;
	struct buf names;      /* deep: u16 length, name, struct tree_stat, for each */
	bool listed;
	int rc;
};

struct look_job {
	struct node_job j;
	struct node *n;
	int alive;
	size_t count;
	struct look looks[NODE_BATCH];
};

static void job_free(struct node_job *j)
{
	struct look_job *l = (struct look_job *)(void *)j;

	for (size_t i = 0; i < l->count; i++) {
		index_record_free(&l->looks[i].record);
		examine_result_free(&l->looks[i].x);
		buf_free(&l->looks[i].names);
		examine_hashed_free(&l->looks[i].hashed);
		free(l->looks[i].path);
	}
	free(l);
}

/* --- run: anywhere --- */

static int note_name(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	struct buf *b = user;

	buf_str16(b, name, len);
	buf_bytes(b, st, sizeof *st);
	return b->err;
}

/* What was hashed is on the disk for good. -EBUSY: it is not what was hashed any more. */
static int sync_found(struct tree *t, struct look *k)
{
	struct tree_stat st;
	struct tree_file *f;
	int rc = t->open(t, k->path, &f);

	if (rc)
		return rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP || rc == -EINVAL ? -EBUSY : rc;
	rc = t->sync_file(f);
	if (!rc)
		rc = t->fstat(f, &st);
	if (!rc && !k->x.found.unsettled && memcmp(&st.id, &k->x.stat.id, sizeof st.id) != 0)
		rc = -EBUSY;
	t->close(f);
	return rc;
}

/* The same behind a sync of everything. */
static int still_found(struct tree *t, const struct look *k)
{
	struct tree_stat st;
	int rc = t->stat(t, k->path, &st);

	if (rc)
		return rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP ? -EBUSY : rc;
	return k->x.found.unsettled || memcmp(&st.id, &k->x.stat.id, sizeof st.id) == 0 ? 0 : -EBUSY;
}

static int sync_name(struct tree *t, const char *path)
{
	char dir[ENTRY_PATH_MAX + 1];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	int rc;

	memcpy(dir, path, n);
	dir[n] = '\0';
	rc = t->sync_dir(t, dir);
	return rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP ? 0 : rc;
}

static bool is_news(const struct look *k)
{
	return !k->rc && k->path[0] && !k->glance && (k->x.verdict == EXAMINE_CHANGED || k->x.verdict == EXAMINE_GONE);
}

static bool same_dir(const char *a, const char *b)
{
	const char *x = strrchr(a, '/'), *y = strrchr(b, '/');

	return (!x && !y) || (x && y && x - a == y - b && memcmp(a, b, (size_t)(x - a)) == 0);
}

/*
 * What was found is synced, contents and names, before it may be told of. Many files by one call, where the tree has that; then it is looked only whether each is
 * still what was hashed. Else each file by itself, and each directory once for those that follow each other in it.
 */
static void sync_all(struct tree *t, struct look *looks, size_t count)
{
	const struct look *last = NULL;
	size_t news = 0;
	bool synced;

	for (size_t i = 0; i < count; i++)
		news += is_news(&looks[i]);
	synced = news >= TOGETHER && t->sync_all(t) == 0;
	for (size_t i = 0; i < count; i++) {
		struct look *k = &looks[i];

		if (!is_news(k))
			continue;
		if (k->x.verdict == EXAMINE_CHANGED && k->x.found.kind == ENTRY_FILE)
			k->rc = synced ? still_found(t, k) : sync_found(t, k);
		if (k->rc == -EBUSY) {
			k->rc = 0;
			examine_result_free(&k->x);
			k->x.verdict = EXAMINE_BUSY;
		}
	}
	for (size_t i = 0; i < count && !synced; i++) {
		struct look *k = &looks[i];

		if (!is_news(k))
			continue;
		k->rc = last && same_dir(last->path, k->path) ? last->rc : sync_name(t, k->path);
		last = k;
	}
}

static int note_none(void *user CL_UNUSED, const char *name CL_UNUSED, size_t len CL_UNUSED, const struct tree_stat *st CL_UNUSED)
{
	return 1;
}

static void list_one(struct tree *t, struct look *k)
{
	bool found = k->x.verdict == EXAMINE_SAME || k->x.verdict == EXAMINE_CHANGED;

	if (k->rc || k->put_off || k->glance || (k->path[0] && !found))
		return;
	if (k->deep)
		k->rc = t->list(t, k->path, note_name, &k->names);
	else if (k->path[0] && k->x.stat.kind == ENTRY_DIR) /* is it what is mounted there that was looked at? */
		k->rc = t->list(t, k->path, note_none, NULL);
	k->listed = k->deep && !k->rc;
	k->mounted = k->rc == -EXDEV;
	if (k->rc == 1 || k->rc == -ENOTDIR || k->rc == -ENOENT || k->rc == -ELOOP || k->rc == -EXDEV)
		k->rc = 0;
}

static void glance_at(struct tree *t, struct look *k)
{
	k->rc = t->stat(t, k->path, &k->x.stat);
	k->there = !k->rc;
	if (k->rc == -ENOENT || k->rc == -ENOTDIR || k->rc == -ELOOP)
		k->rc = 0;
}

static void run(struct node_job *j)
{
	struct look_job *l = (struct look_job *)(void *)j;
	struct tree *t = l->n->o.tree;
	uint64_t read = 0;
	bool gone = false;

	for (size_t i = 0; i < l->count; i++) {
		struct look *k = &l->looks[i];

		if (k->glance) {
			glance_at(t, k);
			continue;
		}
		k->put_off = k->path[0] && !k->held && !k->o.hashed && read >= ENOUGH * l->n->o.hash_apart;
		if (k->path[0] && !k->put_off)
			k->rc = examine(t, l->n->o.env, k->path, k->have ? &k->record : NULL, &k->o, &k->x);
		read += k->x.read && !k->o.hashed ? k->x.stat.id.size : 0;
		gone |= k->x.verdict == EXAMINE_GONE || !k->path[0];
	}
	sync_all(t, l->looks, l->count);
	for (size_t i = 0; i < l->count; i++)
		list_one(t, &l->looks[i]);
	/* A tree that is not there has no files: nobody deleted them (R5). */
	l->alive = gone ? t->alive(t) : 0;
}

/* --- done: on the core --- */

static int child_path(const struct look *k, const char *name, size_t len, char *ret, size_t *ret_len)
{
	size_t at = strlen(k->path);

	if (at + 1 + len > ENTRY_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(ret, k->path, at);
	if (at)
		ret[at++] = '/';
	memcpy(ret + at, name, len);
	*ret_len = at + len;
	return 0;
}

struct listing { struct node *n; struct pathmap seen; };

static int miss(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct listing *s = user;

	if (!node_on_disk(r) || pathmap_get(&s->seen, path, len))
		return 0;
	return node_look(s->n, path, len, false, false, 0);
}

/* What a listing shows that is not as recorded, and what it does not show. */
static int compare_names(struct node *n, struct index_txn *t, struct look *k)
{
	struct listing s = { n, PATHMAP_INIT };
	struct cursor c = cursor_make(k->names.data, k->names.len);
	char path[ENTRY_PATH_MAX + 1];
	struct index_record r;
	bool deep, kept = false, others = false; /* names that are ignored, or not carried; and others */
	int rc = 0;

	index_record_init(&r);
	while (!rc && cursor_left(&c)) {
		struct pathmap_item *i = calloc(1, sizeof *i);
		const struct entry *d = NULL;
		struct tree_stat st;
		size_t len, plen;
		const char *name = (const char *)cursor_str16(&c, &len);

		cursor_copy(&c, &st, sizeof st);
		rc = i ? child_path(k, name, len, path, &plen) : -ENOMEM;
		if (!rc)
			rc = pathmap_add(&s.seen, path, plen, i);
		if (rc) {
			free(i);
			kept |= rc == -ENAMETOOLONG;
			rc = rc == -ENAMETOOLONG ? 0 : rc;
			continue;
		}
		if (ignore_leaves_out(n->o.ignore, path, plen)) {
			kept = true;
			continue;
		}
		kept |= !st.carried;
		others |= st.carried;
		rc = index_get(t, path, plen, &r);
		if (!rc)
			d = node_on_disk(&r);
		if (rc && rc != -ENOENT)
			break;
		rc = 0;
		/* What could not be looked at may be a directory, and is looked at until it can be. */
		deep = st.carried ? st.kind == ENTRY_DIR : !st.id.ino;
		if (deep || !d || k->o.hash_anyway || r.young || d->mode != st.mode || memcmp(&r.stat, &st.id, sizeof st.id) != 0)
			rc = node_look(n, path, plen, deep, k->o.hash_anyway, 0);
	}
	if (!rc)
		rc = index_children(t, k->path, strlen(k->path), miss, &s);
	while (s.seen.first) {
		struct pathmap_item *i = s.seen.first;

		pathmap_remove(&s.seen, i);
		free(i);
	}
	pathmap_free(&s.seen);
	index_record_free(&r);
	if ((!rc || rc == -ENOENT) && kept && !others)
		rc = node_found_kept(n, t, k->path);
	return rc == -ENOENT ? 0 : rc;
}

/* first: the first scan waits for it. */
static int look_later(struct node *n, struct look *k, bool first, uint64_t after_ns)
{
	size_t len = strlen(k->path);
	struct dirty *d;
	int rc;

	if (k->glance)
		return node_glance(n, k->path, len, after_ns);
	n->look_first = first;
	rc = node_look(n, k->path, len, k->deep, k->o.hash_anyway, after_ns);
	d = (struct dirty *)(void *)pathmap_get(&n->dirty, k->path, len);
	if (rc || !d)
		return rc;
	if (!d->since_ns)
		d->since_ns = k->since_ns ? k->since_ns : node_now(n);
	d->told |= k->told;
	if (d->word == MISSING_ASK)
		d->word = k->word;
	return 0;
}

static void begin_concluding(struct node *n, const struct look *k)
{
	n->look_first = k->first;
	n->look_held = k->held;
	n->look_told = k->told;
	n->look_word = k->word;
}

static void end_concluding(struct node *n)
{
	n->look_first = n->look_held = n->look_told = false;
	n->look_word = MISSING_ASK;
}

/* First of all listings: what they show to be missing is known of before anything is said to be missing alone. */
static int conclude_listing(struct node *n, struct index_txn *t, struct look *k)
{
	int rc;

	if (k->rc || !k->listed || (k->path[0] && k->x.verdict == EXAMINE_BUSY))
		return 0;
	begin_concluding(n, k);
	rc = compare_names(n, t, k);
	end_concluding(n);
	return rc;
}

/* Directories that had much to look at are listed one by one, others many at a time. */
static int conclude_listings(struct node *n, struct index_txn *t, struct look_job *l)
{
	size_t before = n->dirty.count;
	bool any = false;
	int rc = 0;

	for (size_t i = 0; i < l->count && !rc; i++) {
		rc = conclude_listing(n, t, &l->looks[i]);
		any |= l->looks[i].listed;
	}
	if (any)
		n->list_most = n->dirty.count > before + n->o.batch ? 1 : n->list_most < NODE_BATCH ? 2 * n->list_most : NODE_BATCH;
	return rc;
}

/* The longer it has been so, the later it is looked at again: not so late that it matters, and an event comes before that. */
static uint64_t pause(const struct node *n, const struct look *k)
{
	uint64_t for_ns = k->since_ns ? node_now(n) - k->since_ns : 0;

	return for_ns / 4 < NODE_AGAIN_NS ? NODE_AGAIN_NS : for_ns / 4 < NODE_AGAIN_MOST_NS ? for_ns / 4 : NODE_AGAIN_MOST_NS;
}

/*
 * It is neither busy nor unreadable: it is only not its turn. Its other names are not looked at once more for that: where a content is read at each look (its ctime is ahead of
 * the clock) and is enough for one job, two names would put each other off for ever.
 */
static int put_off(struct node *n, struct look *k, bool first, uint64_t after_ns)
{
	bool there = pathmap_get(&n->dirty, k->path, strlen(k->path)) != NULL;
	int rc = look_later(n, k, first, after_ns);
	struct dirty *d = (struct dirty *)(void *)pathmap_get(&n->dirty, k->path, strlen(k->path));

	n->look_first = false;
	if (d && !there)
		d->name = k->name;
	if (d && !k->since_ns)
		d->since_ns = 0;
	return rc;
}

/* The first scan waits for what is read long, or cannot be, but not for ever: since_ns is when that was first seen. */
static bool waits(const struct node *n, const struct look *k)
{
	return k->first && (!k->since_ns || node_now(n) - k->since_ns < NODE_DEFER_NS);
}

static int look_failed(struct node *n, struct look *k)
{
	int rc = look_later(n, k, waits(n, k), pause(n, k));
	struct dirty *d = (struct dirty *)(void *)pathmap_get(&n->dirty, k->path, strlen(k->path));

	if (d)
		d->failed = true;
	return rc;
}

/* Is the scan to end without it? Behind a power loss that alone could have told a torn file from somebody's change. */
static int look_without(struct node *n, struct index_txn *t, const struct look *k, bool first)
{
	return n->power && !first && k->path[0] ? node_doubt(t, k->path) : 0;
}

static int read_apart(struct node *n, struct index_txn *t, struct look *k)
{
	bool first = waits(n, k);
	int rc = look_without(n, t, k, first);

	if (!rc && k->x.suspect) /* it was moved here a moment ago: so it is read once, and not twice */
		return put_off(n, k, first, SUSPECT_AGAIN_NS);
	if (!rc)
		rc = put_off(n, k, first, NODE_AGAIN_MOST_NS);
	return rc ? rc : node_hash_apart(n, k->path, strlen(k->path));
}

static int conclude(struct node *n, struct index_txn *t, struct look *k)
{
	bool suspect = k->x.suspect;
	int rc = 0;

	if (k->rc == -ECANCELED) /* we stop: the next start's scan finds it */
		return look_later(n, k, k->first, 0);
	if (k->rc == -EXDEV) /* below a file system that is mounted in the tree: as it was, until that is gone */
		return look_without(n, t, k, false);
	if (k->mounted) /* it is not entered, and what it is mounted on stays, as it is known */
		return node_found_kept(n, t, k->path);
	if (k->rc) { /* what cannot be read keeps the scan from ending, but not for ever */
		node_failed(n, k->rc);
		rc = look_without(n, t, k, waits(n, k));
		return rc ? rc : look_failed(n, k);
	}
	if (k->glance)
		return node_glanced(n, t, k->path, k->there ? &k->x.stat : NULL);
	if (k->put_off)
		return put_off(n, k, k->first, 0);
	if (k->path[0] && k->x.verdict == EXAMINE_LONG)
		return read_apart(n, t, k);
	if (k->path[0] && k->x.verdict == EXAMINE_BUSY) {
		rc = look_without(n, t, k, false);
		return rc ? rc : look_later(n, k, false, pause(n, k));
	}
	begin_concluding(n, k);
	if (k->path[0])
		rc = node_found(n, t, k->path, &k->x);
	end_concluding(n);
	if (!rc && suspect)
		rc = node_look(n, k->path, strlen(k->path), false, true, SUSPECT_AGAIN_NS);
	return rc;
}

static size_t found_gone(const struct look_job *l)
{
	size_t gone = 0;

	for (size_t i = 0; i < l->count; i++)
		gone += l->looks[i].path[0] && (l->looks[i].x.verdict == EXAMINE_GONE || l->looks[i].x.verdict == EXAMINE_OTHER);
	return gone;
}

static bool any_put_off(const struct look_job *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->looks[i].put_off)
			return true;
	return false;
}

static void done(struct node_job *j)
{
	struct look_job *l = (struct look_job *)(void *)j;
	struct node *n = l->n;
	struct index_txn *t;
	int rc;

	node_job_over(n);
	n->tree_job = false;
	if (l->alive) {
		n->halted = true;
		node_failed(n, l->alive);
		job_free(j);
		return;
	}
	rc = index_begin(n->o.index, true, &t);
	if (!rc) {
		rc = conclude_listings(n, t, l);
		n->look_alone = found_gone(l) == 1 && !any_put_off(l) && !node_look_is_due(n);
		for (size_t i = 0; i < l->count && !rc; i++)
			rc = conclude(n, t, &l->looks[i]);
		rc = node_commit(n, t, rc);
	}
	if (rc) { /* nothing was noted: all of it again */
		node_failed(n, rc);
		for (size_t i = 0; i < l->count; i++)
			look_later(n, &l->looks[i], l->looks[i].first, NODE_AGAIN_NS);
	}
	n->look_first = false;
	for (size_t i = 0; i < l->count; i++)
		n->first_left -= l->looks[i].first;
	job_free(j);
	node_pump(n);
}

/* --- choosing --- */

static int look_at_name(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct node *n = user;
	struct dirty *d;
	int rc = node_on_disk(r) ? node_look(n, path, len, false, false, 0) : 0;

	d = rc ? NULL : (struct dirty *)(void *)pathmap_get(&n->dirty, path, len);
	if (d)
		d->name = true;
	return rc;
}

static int add(struct node *n, struct index_txn *t, struct look_job *l, struct dirty *d)
{
	struct look *k = &l->looks[l->count];
	int rc;

	memset(k, 0, sizeof *k);
	examine_result_init(&k->x);
	index_record_init(&k->record);
	k->path = strdup(d->at.path);
	if (!k->path)
		return -ENOMEM;
	rc = d->at.len ? index_get(t, d->at.path, d->at.len, &k->record) : -ENOENT;
	if (rc && rc != -ENOENT) {
		free(k->path);
		return rc;
	}
	k->have = !rc;
	if (k->have && k->record.stat.links > 1 && !d->name) { /* all its names, in one transaction */
		rc = index_with_inode(t, k->record.stat.ino, look_at_name, n);
		if (rc)
			node_failed(n, rc);
	}
	k->deep = d->deep;
	k->glance = d->glance;
	k->o.hash_anyway = d->hash;
	k->o.stop = &n->hurry;
	k->o.apart = n->o.hash_apart;
	if (node_hash_take(n, d->at.path, d->at.len, &k->hashed))
		k->o.hashed = &k->hashed;
	k->first = d->first;
	k->name = d->name;
	k->held = d->held;
	k->told = d->told;
	k->word = d->word;
	n->held -= d->held;
	k->since_ns = d->since_ns;
	k->o.take_busy = d->since_ns && node_now(n) - d->since_ns >= NODE_DEFER_NS;
	l->count++;
	pathmap_remove(&n->dirty, &d->at);
	free(d);
	return 0;
}

/* Nothing can come of looking at what is in a directory that is not known of, and cannot be looked at; and reading it may take long: it is its turn behind that. */
static bool waits_for_dir(struct node *n, struct dirty *d)
{
	const char *slash = d->inside ? strrchr(d->at.path, '/') : NULL;
	const struct dirty *dir = slash ? (const struct dirty *)(void *)pathmap_get(&n->dirty, d->at.path, (size_t)(slash - d->at.path)) : NULL;
	uint64_t now = node_now(n);

	if (!dir || (!dir->failed && !dir->inside))
		return false;
	d->due_ns = (dir->due_ns > now ? dir->due_ns : now) + NODE_AGAIN_NS;
	if (d->first && !dir->first) { /* nor does the first scan wait for it any more */
		d->first = false;
		n->first_left--;
	}
	return true;
}

/* Paths that are due, directories to list or others, until the job is full or `room` is. */
static int choose(struct node *n, struct look_job *l, struct index_txn *t, uint64_t now, bool deep, size_t room)
{
	int rc = 0;

	for (struct pathmap_item *i = n->dirty.first, *next; i && !rc && room && l->count < NODE_BATCH; i = next) {
		struct dirty *d = (struct dirty *)(void *)i;

		next = i->next;
		if (d->due_ns > now || d->deep != deep || waits_for_dir(n, d))
			continue;
		rc = add(n, t, l, d);
		room--;
	}
	return rc;
}

/*
 * What is in directories is looked at before others are listed, and no more of these at a time than seems good: else every path of a large tree would be dirty before
 * the first one was looked at. But what is dirty all the time does not keep them from being listed.
 */
static int choose_all(struct node *n, struct look_job *l, struct index_txn *t)
{
	uint64_t now = node_now(n);
	int rc = choose(n, l, t, now, false, n->unlisted < UNLISTED_MOST ? NODE_BATCH : NODE_BATCH - 1);
	size_t before = l->count;

	if (!rc)
		rc = choose(n, l, t, now, true, n->unlisted < UNLISTED_MOST ? n->list_most : 1);
	n->unlisted = l->count > before ? 0 : n->unlisted + 1;
	return rc ? rc : choose(n, l, t, now, false, NODE_BATCH); /* other names, that those made dirty */
}

bool node_start_look(struct node *n)
{
	struct look_job *l;
	struct index_txn *t;
	int rc;

	if (!node_look_is_due(n))
		return false;
	l = calloc(1, sizeof *l);
	rc = l ? index_begin(n->o.index, false, &t) : -ENOMEM;
	if (!rc) {
		rc = choose_all(n, l, t);
		index_abort(t);
	}
	if (rc)
		node_failed(n, rc);
	if (!l || !l->count) {
		free(l);
		return false;
	}
	l->j = (struct node_job){ run, done, job_free, NULL };
	l->n = n;
	n->tree_job = true;
	node_submit(n, &l->j);
	return true;
}
