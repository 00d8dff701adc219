/*
 * node_time.c - the times of directories: whose doing they are, and the job that sets them.
 *
 * A record's stat has the time that the directory was last known to have on the disk, by what was found or by what applying did to it. Found with another, it is
 * somebody's doing, and raises the time that is known. What differs from that, with nobody's doing in it, is to be set: index_untimed. Applying makes names come
 * and go, so it notes the directory's time before and after: the difference is its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

#define QUIET_NS 100000000           /* after the last name that came or went */
#define BUSY_AGAIN_NS 1000000000ull  /* while contents are still to come, or what failed */

static bool same_time(const struct index_stat *a, const struct index_stat *b)
{
	return a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns;
}

static bool is_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

bool node_time_counts(struct node *n, const char *path)
{
	if (n->joining || n->power)
		return false;
	for (const struct pathmap_item *i = n->intents.first; i; i = i->next) /* what we were doing in there when we died */
		if (!((const struct intent *)(const void *)i)->over && (is_in(i->path, path) || strcmp(i->path, path) == 0))
			return false;
	return true;
}

bool node_note_time(struct node *n, const char *path, struct index_record *r, const struct index_stat *st)
{
	const struct entry *d = node_on_disk(r);

	if (!d || d->kind != ENTRY_DIR || (same_time(&r->stat, st) && (r->known.dir_s || r->known.dir_ns)) || !node_time_counts(n, path))
		return false;
	return entry_raise_time(&r->known, st->mtime_s, st->mtime_ns);
}

int node_look_at_parent(struct node *n, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? node_look(n, path, (size_t)(slash - path), false, false, NODE_AGAIN_NS) : 0;
}

int node_time_applied(struct node *n, struct index_txn *t, const struct apply_item *i)
{
	const char *slash = strrchr(i->path, '/');
	struct index_record r;
	const struct entry *d;
	size_t len;
	int rc;

	if (i->dir == APPLY_DIR_NOT || !slash)
		return 0;
	if (i->dir == APPLY_DIR_UNSEEN) /* what was ours in its time will count as somebody's: a little late, and no harm */
		return node_look_at_parent(n, i->path);
	len = (size_t)(slash - i->path);
	index_record_init(&r);
	rc = index_get(t, i->path, len, &r);
	d = rc ? NULL : node_on_disk(&r);
	if (d && d->kind == ENTRY_DIR && r.stat.ino == i->dir_before.ino && r.stat.ino == i->dir_after.ino) {
		/* Somebody's doing; or nobody has said a time yet, as it was made where all joined: then this one will do. */
		if ((!same_time(&r.stat, &i->dir_before) || (!r.known.dir_s && !r.known.dir_ns)) && !n->joining && !n->power)
			entry_raise_time(&r.known, i->dir_before.mtime_s, i->dir_before.mtime_ns);
		r.stat.mtime_s = i->dir_after.mtime_s; /* not the ctime: somebody's chmod is still to be found */
		r.stat.mtime_ns = i->dir_after.mtime_ns;
		rc = index_put(t, i->path, len, &r);
	}
	index_record_free(&r);
	return rc == -ENOENT ? 0 : rc;
}

/* --- the job --- */

struct timing { char *path; int64_t s; uint32_t ns; struct index_stat stat; bool strange, set; int rc; };

struct time_job {
	struct node_job j;
	struct node *n;
	struct index_txn *t;   /* while choosing */
	size_t count;
	int rc;
	struct timing items[NODE_BATCH];
};

static void job_free(struct node_job *j)
{
	struct time_job *a = (struct time_job *)(void *)j;

	for (size_t i = 0; i < a->count; i++)
		free(a->items[i].path);
	free(a);
}

static void set_one(struct tree *t, struct timing *k)
{
	struct tree_stat st;

	k->rc = t->stat(t, k->path, &st);
	if (k->rc || !st.carried || st.kind != ENTRY_DIR || st.id.ino != k->stat.ino || !same_time(&st.id, &k->stat)) {
		k->strange = true;
		return;
	}
	k->rc = t->set_dir_time(t, k->path, k->s, k->ns);
	if (!k->rc)
		k->rc = t->stat(t, k->path, &st);
	k->set = !k->rc && st.id.ino == k->stat.ino && st.id.mtime_s == k->s && st.id.mtime_ns == k->ns;
}

static void run(struct node_job *j)
{
	struct time_job *a = (struct time_job *)(void *)j;

	for (size_t i = 0; i < a->count; i++)
		set_one(a->n->o.tree, &a->items[i]);
}

static int conclude(struct node *n, struct index_txn *t, struct timing *k)
{
	size_t len = strlen(k->path);
	struct index_record r;
	int rc;

	if (!k->set) { /* a new name in it, or another directory: to be looked at. Or it failed */
		if (k->rc && !k->strange)
			node_failed(n, k->rc);
		n->times_ns = node_now(n) + BUSY_AGAIN_NS;
		return node_look(n, k->path, len, false, false, NODE_AGAIN_NS);
	}
	index_record_init(&r);
	rc = index_get(t, k->path, len, &r);
	if (!rc && r.stat.ino == k->stat.ino) {
		r.stat.mtime_s = k->s;
		r.stat.mtime_ns = k->ns;
		rc = index_put(t, k->path, len, &r);
	}
	index_record_free(&r);
	return rc == -ENOENT ? 0 : rc;
}

static void done(struct node_job *j)
{
	struct time_job *a = (struct time_job *)(void *)j;
	struct node *n = a->n;
	struct index_txn *t;
	int rc;

	node_job_over(n);
	n->tree_job = false;
	rc = index_begin(n->o.index, true, &t);
	if (!rc) {
		for (size_t i = 0; i < a->count && !rc; i++)
			rc = conclude(n, t, &a->items[i]);
		rc = node_commit(n, t, rc);
	}
	if (rc) { /* what was set will be found to be so */
		node_failed(n, rc);
		n->times_ns = node_now(n) + BUSY_AGAIN_NS;
	}
	job_free(j);
	node_pump(n);
}

/* A directory is quiet when nothing has come or gone in it for a while, and nothing is about to. */
static int choose(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct time_job *a = user;
	struct timing *k = &a->items[a->count];
	uint64_t real = a->n->o.env->real_ns(a->n->o.env);
	int64_t since = (int64_t)real - (r->stat.mtime_s * 1000000000 + (int64_t)r->stat.mtime_ns);
	bool wanted;
	int rc;

	if ((since >= 0 && since < QUIET_NS) || pathmap_get(&a->n->dirty, path, len))
		return 0;
	rc = index_wanted_in(a->t, path, len, &wanted);
	if (rc || wanted)
		return rc;
	*k = (struct timing){ .path = strndup(path, len), .s = r->known.dir_s, .ns = r->known.dir_ns, .stat = r->stat };
	if (!k->path)
		return -ENOMEM;
	return ++a->count == NODE_BATCH;
}

bool node_start_times(struct node *n)
{
	struct time_job *a;
	int rc;

	if (!n->untimed || n->scanning || n->joining)
		return false;
	if (n->times_ns > node_now(n)) {
		node_wake(n, n->times_ns);
		return false;
	}
	a = calloc(1, sizeof *a);
	rc = a ? index_begin(n->o.index, false, &a->t) : -ENOMEM;
	if (!rc) {
		a->n = n;
		rc = index_untimed(a->t, UINT32_MAX, choose, a);
		index_abort(a->t);
	}
	if (rc < 0)
		node_failed(n, rc);
	if (rc < 0 || !a->count) {
		n->times_ns = node_now(n) + (rc || n->wanted ? BUSY_AGAIN_NS : QUIET_NS / 2);
		node_wake(n, n->times_ns);
		if (a)
			job_free(&a->j);
		return false;
	}
	a->j = (struct node_job){ run, done, job_free, NULL };
	n->tree_job = true;
	node_submit(n, &a->j);
	return true;
}
