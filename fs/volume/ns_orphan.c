/*
 * ns_orphan.c - inodes without a name: who holds them open, and taking them away
 * in steps.
 *
 * References are counted in memory only: after a crash nothing is open, and whatever is listed as an orphan goes.
 * The count is protected by the engine's lock, the reaper's state by o->mu (taken inside it):
 *
 *   IDLE -> QUEUED -> RUNNING -> QUEUED (more to do) | PARKED (the gate is closed) | IDLE
 *   PARKED -> QUEUED when the wait is answered
 *
 * A queued job and a parked wait cannot be withdrawn: whoever frees the orphans then leaves the memory to them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "err.h"
#include "exec.h"
#include "ns.h"

/* Small enough to be deleted in the record that removes the last name. */
#define AT_ONCE_EXTENTS 64u
#define AT_ONCE_XATTRS 8u
/* Keys of up to 264 bytes: with a step's extents still within a record. */
#define XATTRS_PER_STEP 256u

struct ref { uint64_t ino; uint32_t count; bool linkable; }; /* ino 0 = free slot */

enum reaper { IDLE, QUEUED, RUNNING, PARKED };

struct orphans {
	struct volume *v;
	struct exec *x;
	struct readahead *ahead;
	/* the engine's lock */
	struct ref *refs;
	size_t cap, used; /* cap is a power of two */
	/* mu */
	pthread_mutex_t mu;
	pthread_cond_t left_running;
	enum reaper state;
	bool stopped, freed, again, resumed;
	/* the running step's alone */
	uint64_t at;
	struct job job;
	struct volume_wait wait;
};

/* --- open references: a hash table, linear probing --- */

static size_t slot_of(const struct orphans *o, uint64_t ino)
{
	size_t i = (size_t)((ino * 0x9e3779b97f4a7c15u) >> 20) & (o->cap - 1);

	while (o->refs[i].ino && o->refs[i].ino != ino)
		i = (i + 1) & (o->cap - 1);
	return i;
}

static int grow(struct orphans *o)
{
	struct ref *old = o->refs;
	size_t old_cap = o->cap, i;
	struct ref *refs = calloc(old_cap ? old_cap * 2 : 64, sizeof *refs);

	if (!refs)
		return -ENOMEM;
	o->refs = refs;
	o->cap = old_cap ? old_cap * 2 : 64;
	for (i = 0; i < old_cap; i++)
		if (old[i].ino)
			refs[slot_of(o, old[i].ino)] = old[i];
	free(old);
	return 0;
}

/* Empties slot i and moves up what probing put behind it. */
static void vacate(struct orphans *o, size_t i)
{
	size_t j = i;

	o->refs[i].ino = 0;
	o->used--;
	for (;;) {
		struct ref r;

		j = (j + 1) & (o->cap - 1);
		if (!o->refs[j].ino)
			return;
		r = o->refs[j];
		o->refs[j].ino = 0;
		o->refs[slot_of(o, r.ino)] = r;
	}
}

int ns_orphan_ref(struct orphans *o, uint64_t ino, bool linkable)
{
	struct ref *r;

	if (o->used >= o->cap / 2) {
		int rc = grow(o);

		if (rc)
			return rc;
	}
	r = &o->refs[slot_of(o, ino)];
	if (!r->ino) {
		*r = (struct ref){ .ino = ino, .linkable = linkable };
		o->used++;
	}
	r->count++;
	return 0;
}

static const struct ref *find_ref(const struct orphans *o, uint64_t ino)
{
	return o->cap ? &o->refs[slot_of(o, ino)] : NULL;
}

bool orphans_is_open(struct orphans *o, uint64_t ino)
{
	const struct ref *r = find_ref(o, ino);

	return r && r->ino;
}

bool ns_orphan_linkable(struct orphans *o, uint64_t ino)
{
	const struct ref *r = find_ref(o, ino);

	return r && r->ino && r->linkable;
}

struct readahead *ns_orphan_readahead(struct orphans *o)
{
	return o->ahead;
}

int volume_open_ref(struct volume *v, uint64_t ino)
{
	struct inode i;
	int rc;

	engine_lock(v);
	rc = meta_inode_get(engine_meta(v), ino, &i);
	if (!rc)
		rc = ns_orphan_ref(engine_orphans(v), ino, false);
	return engine_unlock(v, rc);
}

/* --- becoming an orphan --- */

static int is_small(struct meta *m, const struct inode *i, bool *ret)
{
	uint64_t at = 0;
	struct extent e;
	unsigned n;
	int rc = 0;

	*ret = false;
	if (i->xattrs > AT_ONCE_XATTRS)
		return 0;
	for (n = 0; i->a.allocated_bytes && n <= AT_ONCE_EXTENTS; n++) {
		rc = meta_extent_find(m, i->a.ino, at, &e);
		if (rc)
			break;
		at = e.start + e.len;
	}
	*ret = n <= AT_ONCE_EXTENTS;
	return rc == -ENOENT ? 0 : rc;
}

/* Takes away one step's worth; *ret_gone: the inode itself too. i is put where it stays. */
static int reap(struct meta *m, struct inode *i, bool listed, bool *ret_gone)
{
	char name[VOLUME_NAME_MAX + 1];
	uint64_t from = 0;
	unsigned n;
	int rc = 0;

	*ret_gone = false;
	if (i->a.allocated_bytes)
		rc = meta_extent_punch(m, i->a.ino, 0, VOLUME_FILE_MAX, &i->a.allocated_bytes, &from);
	for (n = 0; !rc && i->xattrs && n < XATTRS_PER_STEP; n++) {
		rc = meta_xattr_next(m, i->a.ino, "", name);
		if (!rc)
			rc = meta_xattr_del(m, i->a.ino, name);
		i->xattrs--;
	}
	if (rc)
		return rc;
	if (from || i->xattrs) {
		if (from)
			i->a.size = from;
		return meta_inode_put(m, i);
	}
	*ret_gone = true;
	rc = meta_inode_del(m, i->a.ino);
	return rc || !listed ? rc : meta_orphan_del(m, i->a.ino);
}

int ns_orphan_add(struct volume *v, struct inode *i)
{
	struct orphans *o = engine_orphans(v);
	struct meta *m = engine_meta(v);
	bool small = false, open = orphans_is_open(o, i->a.ino), gone;
	int rc = open ? 0 : is_small(m, i, &small);

	if (rc)
		return rc;
	if (small)
		return reap(m, i, false, &gone);
	rc = meta_orphan_put(m, i->a.ino);
	if (!rc)
		rc = meta_inode_put(m, i);
	if (!rc && !open)
		orphans_kick(o);
	return rc;
}

/* --- the last reference --- */

static bool drop_ref(struct orphans *o, uint64_t ino)
{
	size_t at;

	if (!orphans_is_open(o, ino))
		return false;
	at = slot_of(o, ino);
	if (--o->refs[at].count)
		return false;
	vacate(o, at);
	return true;
}

/* A small file goes here and now: a job of its own would cost more than the file. Everything else, and whatever comes while writers are held, is the
 * reaper's. */
void volume_open_unref(struct volume *v, uint64_t ino)
{
	bool may_change = engine_begin(v, 0, NULL) == 0, small = false, gone;
	struct orphans *o;
	struct meta *m;
	struct inode i;
	int rc = 0;

	if (!may_change)
		engine_lock(v);
	o = engine_orphans(v);
	m = engine_meta(v);
	if (drop_ref(o, ino) && meta_inode_get(m, ino, &i) == 0 && i.a.nlink == 0) {
		rc = may_change ? is_small(m, &i, &small) : 0;
		if (!rc && small)
			rc = reap(m, &i, true, &gone);
		else if (!rc)
			orphans_kick(o);
	}
	if (!may_change)
		(void)engine_unlock(v, 0);
	else if (rc)
		(void)engine_fail(v, rc, "a deleted file could not be taken away");
	else
		(void)engine_commit(v);
}

/* --- the reaper --- */

static int next_closed(struct orphans *o, struct meta *m, uint64_t *ret)
{
	int rc;

	do
		rc = meta_orphan_next(m, o->at, &o->at);
	while (!rc && orphans_is_open(o, o->at));
	*ret = o->at;
	return rc;
}

/* One record. 0: there may be more; -ENOENT: this pass is through; ERR_PARKED, or why it cannot go on. */
static int step(struct orphans *o)
{
	struct volume *v = o->v;
	struct inode i;
	struct meta *m;
	uint64_t ino;
	bool gone;
	int rc = engine_begin(v, 0, &o->wait);

	if (rc)
		return rc;
	m = engine_meta(v);
	rc = next_closed(o, m, &ino);
	if (!rc)
		rc = meta_inode_get(m, ino, &i) ? ERR_CORRUPT : 0;
	if (rc)
		return engine_abort(v, rc);
	rc = reap(m, &i, true, &gone);
	if (!rc && !gone)
		o->at = ino - 1; /* the same again */
	return rc ? engine_fail(v, rc, "a deleted file could not be taken away") : engine_commit(v);
}

static void release(struct orphans *o)
{
	pthread_mutex_destroy(&o->mu);
	pthread_cond_destroy(&o->left_running);
	readahead_free(o->ahead);
	free(o->refs);
	free(o);
}

/* With mu held; lets go of it. Whether o is to be freed is decided under it. */
static void settle(struct orphans *o, enum reaper state)
{
	bool freed;

	if (state == QUEUED && o->stopped)
		state = IDLE;
	o->state = state;
	if (state == QUEUED)
		o->x->submit(o->x, EXEC_WORK, &o->job);
	freed = state == IDLE && o->freed;
	pthread_cond_broadcast(&o->left_running);
	pthread_mutex_unlock(&o->mu);
	if (freed)
		release(o);
}

static enum reaper after_step(struct orphans *o, int rc)
{
	switch (rc) {
	case 0:
		return QUEUED;
	case ERR_PARKED:
		return o->resumed ? QUEUED : PARKED;
	case -ENOENT:
		if (!o->again)
			return IDLE;
		o->again = false;
		o->at = 0;
		return QUEUED;
	default:
		return IDLE;
	}
}

static void run(struct job *j)
{
	struct orphans *o = CL_CONTAINER_OF(j, struct orphans, job);
	int rc;

	pthread_mutex_lock(&o->mu);
	if (o->stopped) {
		settle(o, IDLE);
		return;
	}
	o->state = RUNNING;
	o->resumed = false;
	pthread_mutex_unlock(&o->mu);
	rc = step(o);
	pthread_mutex_lock(&o->mu);
	settle(o, after_step(o, rc));
}

static void resume(struct volume_wait *w, int rc)
{
	struct orphans *o = CL_CONTAINER_OF(w, struct orphans, wait);

	pthread_mutex_lock(&o->mu);
	if (o->state != PARKED) { /* answered before run() came back: it will see */
		o->resumed = true;
		pthread_mutex_unlock(&o->mu);
		return;
	}
	/* -EIO is outage_timeout's: no reason to give up; the others mean that nothing changes any more. */
	settle(o, rc == 0 || rc == -EIO ? QUEUED : IDLE);
}

int orphans_new(struct volume *v, struct exec *x, struct orphans **ret)
{
	struct orphans *o = calloc(1, sizeof *o);

	if (!o)
		return -ENOMEM;
	o->ahead = readahead_new();
	if (!o->ahead) {
		free(o);
		return -ENOMEM;
	}
	o->v = v;
	o->x = x;
	o->job.run = run;
	o->wait.resume = resume;
	pthread_mutex_init(&o->mu, NULL);
	pthread_cond_init(&o->left_running, NULL);
	*ret = o;
	return 0;
}

void orphans_kick(struct orphans *o)
{
	pthread_mutex_lock(&o->mu);
	o->again = true;
	if (o->state == IDLE && !o->stopped)
		settle(o, QUEUED);
	else
		pthread_mutex_unlock(&o->mu);
}

void orphans_stop(struct orphans *o)
{
	pthread_mutex_lock(&o->mu);
	o->stopped = true;
	while (o->state == RUNNING)
		pthread_cond_wait(&o->left_running, &o->mu);
	pthread_mutex_unlock(&o->mu);
}

void orphans_free(struct orphans *o)
{
	bool now;

	if (!o)
		return;
	pthread_mutex_lock(&o->mu);
	o->stopped = o->freed = true;
	now = o->state == IDLE;
	pthread_mutex_unlock(&o->mu);
	if (now)
		release(o);
}
