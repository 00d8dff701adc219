/*
 * commit.c - cuts, group commit, waiting and the gate.
 *
 * A waiter for local durability is answered when its LSN is on the local disk
 * and our lease on the epoch is fresh, or when the store has it. A waiter for the store is answered when the acknowledged
 * prefix covers it. A mutation is parked at the gate while the store is too far behind, the log's budget or
 * the disk is full, or segments wait for fdatasync; it has changed nothing yet and is simply made again.
 *
 * After a failed fdatasync the segment's LSNs are never called locally durable: lsn_local stops below them until
 * the store has acknowledged them (rule 11).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "volume_impl.h"

#define DISK_PATIENCE_NS 1000000000ull

/* --- waiting --- */

static void append(struct wait_queue *q, struct volume_wait *w)
{
	w->next = NULL;
	if (q->tail)
		q->tail->next = w;
	else
		q->head = w;
	q->tail = w;
	q->count++;
}

void wait_push(struct volume *v, struct wait_queue *q, struct volume_wait *w, uint64_t lsn)
{
	w->lsn = lsn;
	w->rc = 0;
	w->deadline_boot_ns = engine_deadline(v);
	append(q, w);
}

static void reply(struct volume *v, struct volume_wait *w, int rc)
{
	w->rc = rc;
	append(&v->replies, w);
	if (!v->reply_queued) {
		v->reply_queued = true;
		volume_submit(v, EXEC_REPLY, &v->reply_job);
	}
}

void commit_reply_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, reply_job);
	struct volume_wait *w, *next;

	pthread_mutex_lock(&v->mu);
	w = v->replies.head;
	memset(&v->replies, 0, sizeof v->replies);
	v->reply_queued = false;
	pthread_mutex_unlock(&v->mu);
	for (; w; w = next) {
		next = w->next;
		w->resume(w, w->rc);
	}
	pthread_mutex_lock(&v->mu);
	v->busy--;
	pthread_mutex_unlock(&v->mu);
}

/* Moves from q to done, in order, every waiter for which pick says a code <= 0 (1 = it stays). */
static void take(struct volume *v, struct wait_queue *q, int (*pick)(struct volume *v, const struct volume_wait *w), struct wait_queue *done)
{
	struct volume_wait *w = q->head, *next;

	memset(q, 0, sizeof *q);
	for (; w; w = next) {
		int rc = pick(v, w);

		next = w->next;
		if (rc <= 0)
			w->rc = rc;
		append(rc <= 0 ? done : q, w);
	}
}

/* The same, and answers them. */
static void sift(struct volume *v, struct wait_queue *q, int (*pick)(struct volume *v, const struct volume_wait *w))
{
	struct wait_queue done = { NULL, NULL, 0 };
	struct volume_wait *w, *next;

	take(v, q, pick, &done);
	for (w = done.head; w; w = next) {
		next = w->next;
		reply(v, w, w->rc);
	}
}

void wait_answer_all(struct volume *v, struct wait_queue *q, int rc)
{
	struct volume_wait *w = q->head, *next;

	memset(q, 0, sizeof *q);
	for (; w; w = next) {
		next = w->next;
		reply(v, w, rc);
	}
}

static bool timed_out(struct volume *v, const struct volume_wait *w)
{
	return w->deadline_boot_ns && volume_boot(v) >= w->deadline_boot_ns;
}

static bool lease_fresh(struct volume *v)
{
	if (v->fence_lease_ns == UINT64_MAX)
		return true;
	return volume_boot(v) - v->lease_boot_ns <= v->fence_lease_ns;
}

static int pick_local(struct volume *v, const struct volume_wait *w)
{
	if (w->lsn <= v->lsn_store)
		return 0;
	if (w->lsn <= v->lsn_local && lease_fresh(v))
		return 0;
	return timed_out(v, w) ? -EIO : 1;
}

static int pick_store(struct volume *v, const struct volume_wait *w)
{
	if (w->lsn <= v->lsn_store)
		return 0;
	return timed_out(v, w) ? -EIO : 1;
}

static int pick_gate(struct volume *v, const struct volume_wait *w)
{
	const char *why;

	if (!commit_gate_closed(v, &why))
		return 0;
	return timed_out(v, w) ? -EIO : 1;
}

/* What the waiters need next: a cut of the active segment, or a confirmed slot to renew the lease. */
static void serve_waiters(struct volume *v)
{
	const struct volume_wait *w;
	bool want = false;

	for (w = v->store_waiters.head; w && !want; w = w->next)
		want = w->lsn >= v->cut_first_lsn;
	for (w = v->local_waiters.head; w && !want; w = w->next) {
		if (w->lsn <= v->lsn_local)
			want = v->cut_count == 0; /* only the lease is missing: any slot renews it */
	}
	/* While uploads are full, waiting makes one object of what would have been several. */
	if (want && v->cut_count < v->o.uploads) {
		int rc = commit_cut(v);

		if (rc && rc != -ENOSPC)
			logmsg(LOGMSG_WARNING, "a cut that a waiting fsync needs failed: %s", err_text(rc));
	}
}

void commit_answer(struct volume *v)
{
	if (v->state == VOLUME_FENCED || v->state == VOLUME_FAILED) {
		/* What the store has is safe whoever owns the volume now; nothing else may be acknowledged. */
		sift(v, &v->local_waiters, pick_store);
		sift(v, &v->store_waiters, pick_store);
		wait_answer_all(v, &v->local_waiters, -EIO);
		wait_answer_all(v, &v->store_waiters, -EIO);
		wait_answer_all(v, &v->gate_waiters, v->state == VOLUME_FENCED ? ERR_FENCED : ERR_READ_ONLY);
		return;
	}
	sift(v, &v->local_waiters, pick_local);
	sift(v, &v->store_waiters, pick_store);
	if (v->gate_waiters.head)
		sift(v, &v->gate_waiters, pick_gate);
	if (v->local_waiters.head || v->store_waiters.head)
		serve_waiters(v);
}

/* --- the gate --- */

uint64_t commit_lag_ns(struct volume *v)
{
	uint64_t now = volume_boot(v);
	const struct cut *c;

	for (c = v->cuts; c; c = c->next)
		if (c->oldest_boot_ns)
			return now - c->oldest_boot_ns;
	return v->cut_oldest_boot_ns ? now - v->cut_oldest_boot_ns : 0;
}

static const char new_segment[] = "no new segment of the local log can be made", log_sync[] = "fdatasync of the local log failed";

bool commit_gate_closed(struct volume *v, const char **ret_why)
{
	const char *why = cache_log_held(v->cache);

	if (!why && !meta_has_room(v->meta))
		why = "the disk of the cache directory is full, there is no room for the map: make room on it";
	if (!why && v->o.max_lag_ms != UINT64_MAX && commit_lag_ns(v) >= v->o.max_lag_ms * 1000000u)
		why = v->disk_rc ? v->disk_trouble : "the store is max_lag behind";
	if (!why && v->disk_rc && v->disk_what == new_segment)
		why = v->disk_trouble;
	if (!why && v->unsynced_count >= VOLUME_UNSYNCED_MAX)
		why = v->disk_rc ? v->disk_trouble : "the local disk does not keep up";
	if (!why && v->ckpt_delta && v->since_bytes / CHECKPOINT_BACKLOG >= v->o.checkpoint_bytes)
		why = "the store takes no checkpoints (runs/, manifests/)";
	if (why)
		*ret_why = why;
	return why != NULL;
}

/* Room of the disk is the operator's to make, so it is said, once each time. What is only the store's lag is said where its answers come in. */
static void tell_held(struct volume *v)
{
	const char *why = cache_log_held(v->cache);

	if (!why && !meta_has_room(v->meta))
		why = "the disk of the cache directory is full, there is no room for the map";
	if (why && !v->held_said)
		logmsg(LOGMSG_WARNING, "%s: writes are held: %s. They go on by themselves", v->o.store->address, why);
	else if (!why && v->held_said)
		logmsg(LOGMSG_NOTICE, "%s: the cache directory has room again: writes go on", v->o.store->address);
	v->held_said = why != NULL;
}

static void tell_disk(struct volume *v)
{
	if (!v->disk_rc || v->disk_said || (v->disk_rc == -ENOSPC && volume_boot(v) - v->disk_since_ns < DISK_PATIENCE_NS))
		return;
	v->disk_said = true;
	logmsg(LOGMSG_ERROR, "%s: %s", v->o.store->address, v->disk_trouble);
}

/*
 * What the local disk answered to one of these; 0 = it works. A disk that fails fdatasync may well make files: that is no sign of health.
 * Where it is full the gate is closed, and says so; files that are in use for a moment may look like it.
 */
static void note_disk(struct volume *v, int rc, const char *what)
{
	if (rc == v->disk_rc || (!rc && what == new_segment && v->disk_what == log_sync) || (rc == -ENOSPC && cache_log_held(v->cache)))
		return;
	if (!rc && v->disk_said)
		logmsg(LOGMSG_NOTICE, "%s: the cache directory's disk takes the local log again", v->o.store->address);
	v->disk_rc = rc;
	v->disk_what = what;
	v->disk_said = false;
	v->disk_since_ns = volume_boot(v);
	if (rc)
		snprintf(v->disk_trouble, sizeof v->disk_trouble,
			 "%s (%s): check the cache directory's disk. Reads go on; writes and fsync wait for it where they must", what, err_text(rc));
	tell_disk(v);
}

/* --- cuts --- */

static bool sync_frozen(const struct volume *v);

struct cut *cut_new(struct volume *v)
{
	struct cut *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->v = v;
	c->state = CUT_FROZEN;
	c->live = calloc(SEGMENT_GRANULES, sizeof *c->live);
	if (!c->live) {
		free(c);
		return NULL;
	}
	return c;
}

void cut_free(struct cut *c)
{
	if (!c)
		return;
	store_req_reset(&c->req);
	upload_drop_object(c);
	free(c->table);
	free(c->live);
	kvmap_free(c->delta);
	segment_unref(c->seg);
	free(c);
}

int commit_new_active(struct volume *v)
{
	struct segment_header h = { .epoch = v->epoch, .first_lsn = v->lsn + 1, .is_log = true };
	struct segment_ref taken;
	struct kvmap *delta;
	int rc;

	memcpy(h.log_uuid, v->log_uuid, sizeof h.log_uuid);
	do { /* never reused: a random number that no segment of the volume has */
		v->o.env->random(v->o.env, &h.id, sizeof h.id);
		rc = h.id ? meta_segment_get(v->meta, h.id, &taken) : 0;
	} while (rc == 0);
	if (rc != -ENOENT)
		return rc;
	v->o.env->random(v->o.env, &h.salt, sizeof h.salt);
	rc = kvmap_new(&delta);
	if (rc)
		return rc;
	rc = cache_new_log(v->cache, &h, &v->active);
	if (rc != -ENOMEM)
		note_disk(v, rc, new_segment);
	if (rc) {
		kvmap_free(delta);
		return rc;
	}
	v->delta = delta;
	memset(v->granule_live, 0, sizeof v->granule_live);
	v->live_segment = h.id;
	v->cut_first_lsn = v->lsn + 1;
	v->cut_oldest_boot_ns = 0;
	return 0;
}

void commit_enqueue(struct volume *v, struct cut *c)
{
	uint64_t now = v->o.env->real_ns(v->o.env);

	c->slot = v->next_slot++;
	c->next_ino = v->next_ino;
	c->commit_real_ns = now > v->last_commit_real_ns ? now : v->last_commit_real_ns + 1;
	v->last_commit_real_ns = c->commit_real_ns;
	v->o.env->random(v->o.env, c->put_id, sizeof c->put_id);
	if (v->cuts_tail)
		v->cuts_tail->next = c;
	else
		v->cuts = c;
	v->cuts_tail = c;
	v->cut_count++;
	if (c->seg && !c->synced)
		v->unsynced_count++;
}

int commit_cut(struct volume *v)
{
	bool empty = v->lsn < v->cut_first_lsn;
	struct segment *old = v->active;
	struct kvmap *old_delta = v->delta;
	struct cut *c = cut_new(v);
	size_t g;
	int rc;

	if (v->state == VOLUME_FAILED) { /* the delta may hold half an operation that no record has */
		cut_free(c);
		return -EIO;
	}
	if (!c)
		return -ENOMEM;
	c->first_lsn = v->cut_first_lsn;
	c->last_lsn = v->lsn;
	if (empty) {
		c->synced = true;
		rc = kvmap_new(&c->delta);
		if (rc) {
			cut_free(c);
			return rc;
		}
	} else {
		uint64_t oldest = v->cut_oldest_boot_ns;

		for (g = 0; g < SEGMENT_GRANULES; g++)
			c->live[g] = v->granule_live[g] != 0;
		rc = commit_new_active(v);
		if (rc) { /* nothing has changed: the old one stays active */
			cut_free(c);
			return rc;
		}
		segment_freeze(old);
		c->seg = old;
		c->delta = old_delta;
		c->oldest_boot_ns = oldest;
		c->bytes = (uint64_t)segment_data_len(old) + segment_records_len(old);
	}
	commit_enqueue(v, c);
	if (!empty && sync_frozen(v))
		commit_kick_sync(v);
	upload_kick(v);
	return 0;
}

/* --- group commit --- */

void commit_kick_sync(struct volume *v)
{
	if (v->sync_queued || v->state == VOLUME_FAILED || v->state == VOLUME_SERVING_RO)
		return;
	if (v->syncing) { /* whoever syncs queues it when the pass is over */
		v->sync_again = true;
		return;
	}
	v->sync_queued = true;
	volume_submit(v, EXEC_SYNC, &v->sync_job);
}

/* With durability=store nobody waits for the local disk; it is synced when the store does not keep up, so that memory can be given back. */
static bool sync_frozen(const struct volume *v)
{
	return v->o.durability == VOLUME_DURABILITY_LOCAL || v->cut_count > v->o.uploads || v->sync_all;
}

/* The oldest frozen segment that still has to be synced, if nothing before it failed. */
static struct cut *next_unsynced(struct volume *v)
{
	struct cut *c;

	for (c = v->cuts; c; c = c->next) {
		if (c->sync_failed) /* even when its object is there: behind one that is not, recovery never gets to it */
			return NULL;
		if (c->seg && !c->synced && !c->sync_failed)
			return c;
	}
	return NULL;
}

static bool blocked_by_failure(struct volume *v)
{
	struct cut *c;

	for (c = v->cuts; c; c = c->next)
		if (c->sync_failed)
			return true;
	return false;
}

static void frozen_synced(struct volume *v, struct segment *seg, int rc)
{
	struct cut *c;
	unsigned place = 0;

	for (c = v->cuts; c && c->seg != seg; c = c->next)
		place++;
	if (!c) /* the store acknowledged it while we were syncing */
		return;
	v->unsynced_count--;
	note_disk(v, rc, log_sync);
	if (rc) {
		c->sync_failed = true;
		logmsg(LOGMSG_ERROR, "%s: fdatasync of the local log failed (%s): these operations are acknowledged through the store only; "
		       "check the cache directory's disk", v->o.store->address, err_text(rc));
		return;
	}
	c->synced = true;
	if (v->lsn_local < c->last_lsn)
		v->lsn_local = c->last_lsn;
	if (place >= VOLUME_MEMORY_CUTS && c->state == CUT_FROZEN && !c->building) {
		segment_drop_memory(seg);
		kvmap_free(c->delta); /* the records have it all: cut_build reads them */
		c->delta = NULL;
	}
}

/* Does anybody wait for what the active segment holds? */
static bool active_wanted(const struct volume *v, uint64_t lsn)
{
	const struct volume_wait *w;

	if (!v->active || v->lsn < v->cut_first_lsn || v->lsn_local >= v->lsn)
		return false;
	if (v->sync_all || lsn > v->lsn_local)
		return true;
	for (w = v->local_waiters.head; w; w = w->next)
		if (w->lsn > v->lsn_local)
			return true;
	return false;
}

/* Answers on this thread whom a sync has just satisfied: waking another one to do it costs more. mu held, dropped for it. */
static void answer_synced(struct volume *v)
{
	struct wait_queue done = { NULL, NULL, 0 };
	struct volume_wait *w, *next;

	if (v->state == VOLUME_FENCED || v->state == VOLUME_FAILED)
		return; /* commit_answer knows what may still be said */
	take(v, &v->local_waiters, pick_local, &done);
	if (!done.head)
		return;
	pthread_mutex_unlock(&v->mu);
	for (w = done.head; w; w = next) {
		next = w->next;
		w->resume(w, w->rc);
	}
	pthread_mutex_lock(&v->mu);
}

static void sync_frozen_one(struct volume *v, struct cut *c)
{
	struct segment *seg = segment_ref(c->seg);
	uint64_t lsn;
	int rc;

	pthread_mutex_unlock(&v->mu);
	rc = segment_sync(seg, &lsn);
	if (!rc)
		mark_advance(v, lsn);
	pthread_mutex_lock(&v->mu);
	frozen_synced(v, seg, rc);
	pthread_mutex_unlock(&v->mu);
	segment_unref(seg);
	pthread_mutex_lock(&v->mu);
}

static void sync_active(struct volume *v)
{
	struct segment *seg = segment_ref(v->active);
	uint64_t lsn = 0;
	int rc;

	pthread_mutex_unlock(&v->mu);
	rc = segment_sync(seg, &lsn);
	if (!rc)
		mark_advance(v, lsn);
	pthread_mutex_lock(&v->mu);
	/* It may have been frozen meanwhile; everything before it was synced, and stays so. */
	if (!rc && v->lsn_local < lsn)
		v->lsn_local = lsn;
	note_disk(v, rc, log_sync);
	if (rc) {
		/* Its operations go on to the store from memory, and a new file begins. */
		if (v->active == seg && commit_cut(v))
			logmsg(LOGMSG_WARNING, "%s: no new local log segment yet", v->o.store->address);
	}
	pthread_mutex_unlock(&v->mu);
	segment_unref(seg);
	pthread_mutex_lock(&v->mu);
}

/*
 * One pass: every frozen segment in order, then the active one where somebody waits for it, or the caller does for lsn (0: he does
 * not). One thread at a time: syncing is set by it, and what is asked for meanwhile is a new pass, on EXEC_SYNC.
 * mu held, dropped for each fdatasync and for answers. The volume stays while it runs: it is counted.
 */
static void sync_pass(struct volume *v, uint64_t lsn)
{
	struct cut *c;

	v->syncing = true;
	v->busy++;
	/* The caller of an fsync is kept no longer than for what it waits for. */
	while ((!lsn || lsn > v->lsn_local) && (c = next_unsynced(v))) {
		sync_frozen_one(v, c);
		answer_synced(v);
		commit_answer(v);
	}
	if (!blocked_by_failure(v) && !next_unsynced(v) && active_wanted(v, lsn))
		sync_active(v);
	answer_synced(v);
	commit_answer(v);
	v->syncing = false;
	/* Who asked meanwhile may have been answered by what this pass synced: waking a thread for nothing costs more than asking. */
	if (v->sync_again && (next_unsynced(v) || active_wanted(v, 0)))
		commit_kick_sync(v);
	v->sync_again = false;
	v->busy--;
}

void commit_sync_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, sync_job);

	pthread_mutex_lock(&v->mu);
	v->sync_queued = false; /* what is asked for from here on is a new pass */
	if (v->syncing)
		v->sync_again = true;
	else
		sync_pass(v, 0);
	v->busy--;
	pthread_mutex_unlock(&v->mu);
}

/* --- the calls --- */

/* 0: every operation through lsn is durable, as q's waiters mean it. 1: not yet. */
static int durable(struct volume *v, const struct wait_queue *q, uint64_t lsn)
{
	if (lsn <= v->lsn_store)
		return 0;
	if (v->state == VOLUME_FENCED || v->state == VOLUME_FAILED)
		return -EIO;
	return q == &v->local_waiters && lsn <= v->lsn_local && lease_fresh(v) ? 0 : 1;
}

static int wait_for(struct volume *v, struct wait_queue *q, struct volume_wait *w, uint64_t lsn)
{
	int rc = durable(v, q, lsn);

	if (rc <= 0)
		return rc;
	if (v->closing)
		return -ESHUTDOWN;
	if (!w)
		return -EAGAIN;
	wait_push(v, q, w, lsn);
	return ERR_PARKED;
}

int volume_fsync(struct volume *v, struct volume_wait *w)
{
	bool store = v->o.durability == VOLUME_DURABILITY_STORE;
	struct wait_queue *q = store ? &v->store_waiters : &v->local_waiters;
	uint64_t lsn;
	int rc = 0;

	pthread_mutex_lock(&v->mu);
	lsn = v->lsn;
	if (v->state == VOLUME_SERVING_RO)
		goto out;
	/* Nobody syncs: this thread does. Others that come meanwhile wait, and share the next pass. */
	if (!store && w && !v->closing && lsn > v->lsn_local && durable(v, q, lsn) == 1 && !v->syncing && !v->sync_queued)
		sync_pass(v, lsn);
	rc = wait_for(v, q, w, lsn);
	if (rc == ERR_PARKED) {
		if (!store && lsn > v->lsn_local)
			commit_kick_sync(v);
		else
			commit_answer(v);
	}
out:
	pthread_mutex_unlock(&v->mu);
	return rc;
}

void volume_sync_ahead(struct volume *v)
{
	pthread_mutex_lock(&v->mu);
	if (v->o.durability == VOLUME_DURABILITY_LOCAL && v->state == VOLUME_SERVING && !v->closing &&
	    v->lsn > v->lsn_local && !v->syncing && !v->sync_queued)
		sync_pass(v, v->lsn);
	pthread_mutex_unlock(&v->mu);
}

int volume_sync(struct volume *v, struct volume_wait *w)
{
	int rc;

	pthread_mutex_lock(&v->mu);
	rc = v->state == VOLUME_SERVING_RO ? 0 : wait_for(v, &v->store_waiters, w, v->lsn);
	if (rc == ERR_PARKED)
		commit_answer(v);
	pthread_mutex_unlock(&v->mu);
	return rc;
}

/* --- time --- */

static void tick(struct volume *v)
{
	uint64_t now = volume_boot(v);
	bool due, refused;

	if (v->state != VOLUME_SERVING)
		return;
	if (!meta_is_fit(v->meta)) { /* a reader met it, who changes no state */
		engine_set_failed(v, VOLUME_FAILED, "the map cannot be read");
		commit_answer(v);
		return;
	}
	due = v->cut_oldest_boot_ns && now - v->cut_oldest_boot_ns >= v->o.commit_interval_ms * 1000000u &&
	      v->cut_count < v->o.uploads + VOLUME_MEMORY_CUTS;
	refused = v->disk_rc && v->disk_what == new_segment && v->lsn >= v->cut_first_lsn; /* does the disk take one now? */
	if ((due || refused) && commit_cut(v) == 0)
		now = volume_boot(v);
	meta_look_for_room(v->meta);
	tell_held(v);
	tell_disk(v);
	if (v->unsynced_count > 0 && sync_frozen(v) && !v->sync_queued && !blocked_by_failure(v))
		commit_kick_sync(v);
	upload_kick(v);
	commit_answer(v);
	checkpoint_consider(v);
	if (now - v->heartbeat_boot_ns >= VOLUME_HEARTBEAT_NS && !v->heartbeat_busy && !v->closing) {
		v->heartbeat_busy = true;
		volume_submit(v, EXEC_WORK, &v->heartbeat_job);
	}
}

void commit_tick_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, tick_job);

	pthread_mutex_lock(&v->mu);
	if (v->closing && !v->draining) {
		v->busy--;
		pthread_mutex_unlock(&v->mu);
		return;
	}
	tick(v);
	v->o.exec->submit_at(v->o.exec, EXEC_WORK, volume_boot(v) + VOLUME_TICK_NS, &v->tick_job);
	pthread_mutex_unlock(&v->mu);
}
