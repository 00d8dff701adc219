/*
 * volume.c - making, opening and closing a volume. The order of opening is in DESIGN.md, "Recovery, in order".
 *
 * Everything up to the opening record can fail without a trace but a claim that nobody opened, which the next opener seals.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "recover_impl.h"
#include "volume_impl.h"

#define DEFAULT_DF_BYTES (1ull << 50)
#define OPEN_TRIES 8
#define LEASE_MAX_MS (UINT32_MAX - 1ull) /* what the opening record can say: a taker must wait for all that we go by */

static bool superblock_is_ours(const uint8_t *p, size_t len, const uint8_t *uuid)
{
	struct superblock there;

	return superblock_decode(p, len, &there) == 0 && memcmp(there.volume_uuid, uuid, ID_BYTES) == 0;
}

int volume_format(struct store *s, struct env *env, bool unsafe_no_fencing, int compress)
{
	return volume_format_for(s, env, unsafe_no_fencing, compress, 0, 0, 0);
}

int volume_format_for(struct store *s, struct env *env, bool unsafe_no_fencing, int compress, uint32_t uid, uint32_t gid, uint32_t mode)
{
	struct superblock sb;
	struct buf b = BUF_INIT;
	int rc = store_probe(s);

	if (rc == ERR_NO_FENCING && unsafe_no_fencing)
		rc = 0;
	if (rc)
		return rc;
	memset(&sb, 0, sizeof sb);
	env->random(env, sb.volume_uuid, sizeof sb.volume_uuid);
	sb.created_real_ns = env->real_ns(env);
	sb.compress = (uint32_t)compress;
	sb.unsafe_no_fencing = unsafe_no_fencing;
	sb.root_uid = uid;
	sb.root_gid = gid;
	sb.root_mode = mode;
	rc = superblock_encode(&sb, &b);
	if (!rc)
		rc = recover_create(s, "volume", &b, superblock_is_ours, sb.volume_uuid);
	buf_free(&b);
	if (rc == ERR_PRECONDITION)
		return err_set(ERR_VOLUME_EXISTS, "%s: a volume is there already; nothing was changed", s->address);
	return rc;
}

/* --- opening --- */

static struct volume *volume_alloc(const struct volume_options *o)
{
	struct volume *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->o = *o;
	snprintf(v->node, sizeof v->node, "%s", o->node ? o->node : "");
	v->o.node = v->node;
	v->meta_dir = strdup(o->meta_dir);
	v->o.meta_dir = v->meta_dir;
	if (!v->o.uploads)
		v->o.uploads = 4;
	if (!v->o.commit_interval_ms)
		v->o.commit_interval_ms = 1000;
	if (!v->o.max_lag_ms)
		v->o.max_lag_ms = 5000;
	if (!v->o.checkpoint_bytes)
		v->o.checkpoint_bytes = 32u << 20;
	if (!v->o.df_bytes)
		v->o.df_bytes = DEFAULT_DF_BYTES;
	v->fence_lease_ns = v->o.max_lag_ms == UINT64_MAX ? UINT64_MAX :
			    (v->o.max_lag_ms < LEASE_MAX_MS ? v->o.max_lag_ms : LEASE_MAX_MS) * 1000000u;
	v->fenced_slot = UINT64_MAX;
	v->build_job.run = upload_build_run;
	v->advance_job.run = upload_advance_run;
	v->sync_job.run = commit_sync_run;
	v->reply_job.run = commit_reply_run;
	v->tick_job.run = commit_tick_run;
	v->heartbeat_job.run = epoch_heartbeat_run;
	v->ckpt_job.run = checkpoint_run;
	if (!v->meta_dir || pthread_mutex_init(&v->mu, NULL)) {
		free(v->meta_dir);
		free(v);
		return NULL;
	}
	return v;
}

/* No job runs any more. */
static void volume_free(struct volume *v)
{
	struct cut *c;

	/* First: until it is closed, fetches that end resume parked reads, and these look at all the rest. */
	cache_close(v->cache);
	while ((c = v->cuts)) {
		v->cuts = c->next;
		cut_free(c);
	}
	while ((c = v->leaving)) {
		v->leaving = c->next;
		cut_free(c);
	}
	orphans_free(v->orphans);
	mark_close(v);
	segment_unref(v->active);
	kvmap_free(v->delta);
	kvmap_free(v->since);
	kvmap_free(v->ckpt_delta);
	if (v->has_manifest)
		manifest_free(&v->manifest);
	meta_close(v->meta);
	buf_free(&v->rec);
	pthread_mutex_destroy(&v->mu);
	free(v->meta_dir);
	free(v);
}

static int open_meta(struct volume *v)
{
	struct meta_sink sink;
	int rc;

	engine_sink(v, &sink);
	meta_close(v->meta);
	v->meta = NULL;
	kvmap_free(v->since);
	v->since = NULL;
	rc = meta_open(v->meta_dir, 0, &sink, &v->meta);
	if (rc)
		return err_set(rc, "%s: the map cannot be made there: %s", v->meta_dir, err_text(rc));
	return kvmap_new(&v->since);
}

static int open_cache(struct volume *v)
{
	struct cache_options co = { .store = v->o.store, .disk = v->o.disk, .env = v->o.env, .exec = v->o.exec,
				    .budget_bytes = v->o.cache_bytes, .read_only = v->o.read_only };
	int rc = cache_open(&co, &v->cache);

	return rc ? err_set(rc, "the cache directory cannot be used: %s", err_text(rc)) : 0;
}

/*
 * Is the newest claim's writer somebody else who may be alive? One who was overtaken between claim and opening record opened under a
 * newer log identity than it had claimed with (take_epoch): where the claim was opened, the record says who writes.
 */
static int check_alive(struct volume *v, const struct survey *sv)
{
	bool opened = sv->has_tip && sv->tip_epoch == sv->newest_claim && memcmp(sv->tip_open.claim_id, sv->claim.claim_id, ID_BYTES) == 0;
	const uint8_t *log_uuid = opened ? sv->tip_open.log_uuid : sv->claim.log_uuid;

	if (!sv->newest_claim || sv->released || v->o.takeover || sv->age_s >= VOLUME_ALIVE_S)
		return 0;
	if (memcmp(log_uuid, v->log_uuid, ID_BYTES) == 0 && memcmp(sv->claim.machine_id, v->o.machine_id, ID_BYTES) == 0)
		return 0;
	return err_set(ERR_VOLUME_BUSY, "%s: its writer, node %s, was alive %" PRId64 " s ago; unmount it there, wait, or take it over with --takeover",
		       v->o.store->address, sv->claim.node, sv->age_s);
}

/*
 * Does the store still refuse to create what exists? It was probed thoroughly when the volume was made, but may be behind another door
 * now. The superblock serves, with its own bytes: where they are taken nothing is changed by it.
 */
static int check_fencing(struct volume *v)
{
	struct store_req got, put;
	int rc, tries;

	if (v->sb.unsafe_no_fencing)
		return 0;
	rc = recover_get(v->o.store, "volume", 0, &got);
	for (tries = 0; !rc && tries < OPEN_TRIES; tries++) {
		int r = store_put(v->o.store, "volume", got.data, got.data_len, true, &put);

		store_req_reset(&put);
		if (r == ERR_PRECONDITION)
			break;
		if (r == 0)
			rc = err_set(ERR_NO_FENCING, "%s does not honour If-None-Match any more: an object was created twice; nothing keeps two writers "
				     "apart there. Use the address and server that the volume was made with", v->o.store->address);
		else if (r != ERR_UNAVAILABLE || tries + 1 == OPEN_TRIES)
			rc = err_set(r, "%s cannot be written to: %s", v->o.store->address, err_text(r));
	}
	store_req_reset(&got);
	return rc;
}

static bool claim_is_ours(const uint8_t *p, size_t len, const uint8_t *id)
{
	struct claim c;

	return claim_decode(p, len, &c) == 0 && memcmp(c.claim_id, id, ID_BYTES) == 0;
}

static int put_claim(struct volume *v, uint64_t epoch)
{
	struct claim c;
	struct buf b = BUF_INIT;
	char key[OBJECT_KEY_MAX];
	int rc;

	memset(&c, 0, sizeof c);
	v->o.env->random(v->o.env, v->claim_id, ID_BYTES);
	memcpy(c.volume_uuid, v->sb.volume_uuid, ID_BYTES);
	memcpy(c.claim_id, v->claim_id, ID_BYTES);
	memcpy(c.log_uuid, v->log_uuid, ID_BYTES);
	memcpy(c.machine_id, v->o.machine_id, ID_BYTES);
	c.epoch = epoch;
	c.real_ns = v->o.env->real_ns(v->o.env);
	memcpy(c.node, v->node, sizeof c.node);
	rc = claim_encode(&c, &b);
	object_key_claim(epoch, key);
	if (!rc)
		rc = recover_create(v->o.store, key, &b, claim_is_ours, v->claim_id);
	buf_free(&b);
	if (rc == ERR_PRECONDITION)
		return err_set(ERR_FENCED, "%s: another node is opening this volume right now (it claimed epoch %" PRIu64 " first)",
			       v->o.store->address, epoch);
	v->epoch = epoch;
	return rc;
}

static int put_open(struct volume *v, const struct recovered *r)
{
	struct object_footer f;
	struct buf b = BUF_INIT;
	char key[OBJECT_KEY_MAX];
	int rc;

	memset(&f, 0, sizeof f);
	f.type = OBJECT_OPEN;
	memcpy(f.volume_uuid, v->sb.volume_uuid, ID_BYTES);
	f.epoch = v->epoch;
	memcpy(f.claim_id, v->claim_id, ID_BYTES);
	memcpy(f.log_uuid, v->log_uuid, ID_BYTES);
	v->o.env->random(v->o.env, f.put_id, ID_BYTES);
	f.last_lsn = r->lsn;
	f.first_lsn = r->lsn + 1;
	f.commit_real_ns = r->commit_real_ns + 1;
	f.next_ino = r->next_ino;
	f.durability = (uint32_t)v->o.durability;
	f.fence_lease_ms = v->fence_lease_ns == UINT64_MAX ? UINT32_MAX : (uint32_t)(v->fence_lease_ns / 1000000u);
	f.has_parent = r->has_tip;
	if (r->has_tip) {
		f.parent_epoch = r->tip_epoch;
		f.parent_slot = r->tip_slot;
		memcpy(f.prev_hash, r->tip_hash, HASH_BYTES);
	}
	rc = object_encode_mark(&f, &b);
	object_key_slot(v->epoch, 0, key);
	v->lease_boot_ns = volume_boot(v);
	if (!rc)
		rc = recover_create(v->o.store, key, &b, recover_mark_is_ours, f.put_id);
	buf_free(&b);
	memcpy(v->chain_hash, f.own_hash, HASH_BYTES);
	v->last_commit_real_ns = f.commit_real_ns;
	if (rc == ERR_PRECONDITION)
		return err_set(ERR_FENCED, "%s: another node took this volume over while it was being opened here", v->o.store->address);
	return rc;
}

static void stage(const struct volume *v, const char *what)
{
	if (v->o.stage)
		v->o.stage(v->o.stage_user, what);
}

static int survey_and_replay(struct volume *v, struct survey *sv, struct recovered *r)
{
	int rc = open_meta(v);

	stage(v, "reading checkpoint and log");
	if (!rc)
		rc = recover_survey(v->o.store, sv);
	if (rc)
		return rc;
	v->sb = sv->sb;
	return recover_replay(v->o.store, sv, v->meta, v->since, r);
}

/*
 * For how long the writers before us may still acknowledge from their leases. An epoch that has a slot behind its opening record was
 * served, so whoever opened it has waited for those before (start_serving); one that has none may have died waiting, and then it
 * is for us to wait.
 */
static int lease_before(struct volume *v, const struct survey *sv, const struct recovered *r, uint64_t *ret_ns)
{
	struct object_footer f = r->tip_open;
	bool served = r->tip_slot > 0;
	uint64_t ms = 0;
	int rc = 0;

	*ret_ns = 0;
	if (!r->has_tip || sv->released)
		return 0;
	while (!rc) {
		if (memcmp(f.log_uuid, v->log_uuid, ID_BYTES) != 0 && f.durability == VOLUME_DURABILITY_LOCAL &&
		    f.fence_lease_ms != UINT32_MAX && f.fence_lease_ms > ms)
			ms = f.fence_lease_ms;
		if (served || !f.has_parent)
			break;
		served = f.parent_slot > 0;
		rc = recover_footer(v->o.store, &v->sb, f.parent_epoch, 0, &f, NULL, NULL);
	}
	*ret_ns = ms * 1000000u;
	return rc == -ENOENT ? 0 : rc; /* collected: then somebody has served since */
}

/* Claim, seal, open. *ret_quiet_ns: boot time at which the writers before us have stopped acknowledging. */
static int take_epoch(struct volume *v, struct survey *sv, struct recovered *r, bool *ret_ours, uint64_t *ret_quiet_ns)
{
	struct sealer sealer;
	uint64_t sealed_ns, lease_ns;
	int rc = -EAGAIN, tries;

	stage(v, "claiming the volume");
	for (tries = 0; rc == -EAGAIN && tries < OPEN_TRIES; tries++) {
		if (tries > 0) { /* an epoch below our claim was opened meanwhile: its history is the one to go on from */
			if (r->has_manifest)
				manifest_free(&r->manifest);
			r->has_manifest = false;
			rc = survey_and_replay(v, sv, r);
			/* Another's epoch lies between us and our old log now, so that log goes on from nothing here: a new identity keeps its
			 * tail out for good, whenever we die. */
			if (!rc)
				rc = adopt_log_identity(v, sv->has_tip ? sv->tip_open.log_uuid : NULL);
			if (rc)
				return rc;
		} else {
			rc = adopt_log_identity(v, sv->has_tip ? sv->tip_open.log_uuid : NULL);
			if (!rc)
				rc = check_alive(v, sv);
			if (!rc)
				rc = check_fencing(v);
			if (!rc)
				rc = put_claim(v, sv->newest_claim + 1);
			if (rc)
				return rc;
		}
		sealer.epoch = v->epoch;
		memcpy(sealer.claim_id, v->claim_id, ID_BYTES);
		rc = recover_seal(v->o.store, sv, &sealer, v->meta, v->since, r);
	}
	if (rc)
		return rc == -EAGAIN ? err_set(ERR_FENCED, "%s: other nodes keep opening this volume", v->o.store->address) : rc;
	sealed_ns = volume_boot(v);
	rc = lease_before(v, sv, r, &lease_ns);
	if (rc)
		return rc;
	*ret_quiet_ns = sealed_ns + lease_ns;
	*ret_ours = r->has_tip && memcmp(r->tip_open.log_uuid, v->log_uuid, ID_BYTES) == 0;
	return put_open(v, r);
}

static void take_state(struct volume *v, struct survey *sv, struct recovered *r)
{
	v->next_ino = r->next_ino;
	v->lsn = v->lsn_local = v->lsn_store = r->lsn;
	v->manifest = r->manifest;
	v->has_manifest = r->has_manifest;
	r->has_manifest = false;
	memcpy(v->heartbeat_etag, sv->heartbeat_etag, sizeof v->heartbeat_etag);
	v->next_slot = 1;
	/* Many short epochs cost requests to walk, too. */
	v->since_slots = r->replayed_objects + 16 * r->epochs;
	v->since_at.epoch = v->epoch;
	v->since_at.slot = 0;
	v->since_at.lsn = r->lsn;
	v->since_at.next_ino = r->next_ino;
	v->since_at.commit_real_ns = v->last_commit_real_ns;
	memcpy(v->since_at.slot_hash, v->chain_hash, HASH_BYTES);
}

/* The first active segment. Where the log that was taken up fills the whole budget, some of it goes to the store first. */
static int first_active(struct volume *v)
{
	bool said = false;
	int rc;

	pthread_mutex_lock(&v->mu);
	while ((rc = commit_new_active(v)) == -ENOSPC && (v->cuts || v->leaving || v->advance_queued) && v->state == VOLUME_SERVING) {
		upload_kick(v);
		pthread_mutex_unlock(&v->mu);
		if (!said)
			stage(v, "sending what fills the cache directory");
		if (!said)
			logmsg(LOGMSG_NOTICE, "%s: the cache directory is full of what the store has not got; sending that first", v->o.store->address);
		said = true;
		v->o.exec->idle(v->o.exec);
		pthread_mutex_lock(&v->mu);
	}
	if (rc && v->state == VOLUME_FENCED)
		rc = err_set(ERR_FENCED, "%s: %s", v->o.store->address, v->error);
	else if (rc)
		err_set(rc, "no local log can be made in the cache directory: %s", err_text(rc));
	pthread_mutex_unlock(&v->mu);
	return rc;
}

static int start_serving(struct volume *v, bool ours, uint64_t quiet_ns)
{
	int rc = orphans_new(v, v->o.exec, &v->orphans);

	if (rc)
		return rc;
	if (v->o.read_only) {
		v->state = VOLUME_SERVING_RO;
		return 0;
	}
	stage(v, "taking up the local log");
	rc = adopt_local_log(v, ours);
	if (rc)
		return rc;
	v->state = VOLUME_SERVING;
	v->heartbeat_boot_ns = volume_boot(v);
	rc = epoch_heartbeat_write(v, HEARTBEAT_ALIVE);
	if (rc)
		logmsg(LOGMSG_WARNING, "%s: the heartbeat could not be written yet: %s", v->o.store->address, err_text(rc));
	if (volume_boot(v) < quiet_ns)
		stage(v, "waiting until the last writer's lease has run out");
	/* Before the first cut: a slot behind the opening record says that this wait is over. */
	while (volume_boot(v) < quiet_ns)
		v->o.exec->idle(v->o.exec);
	rc = first_active(v);
	if (rc)
		return rc;
	pthread_mutex_lock(&v->mu);
	volume_submit(v, EXEC_WORK, &v->tick_job);
	if (v->unsynced_count)
		commit_kick_sync(v);
	upload_kick(v);
	orphans_kick(v->orphans);
	pthread_mutex_unlock(&v->mu);
	return 0;
}

/* Until no job and no request is left. closing is set. */
static void wait_idle(struct volume *v)
{
	pthread_mutex_lock(&v->mu);
	while (v->busy) {
		pthread_mutex_unlock(&v->mu);
		v->o.exec->idle(v->o.exec);
		pthread_mutex_lock(&v->mu);
	}
	pthread_mutex_unlock(&v->mu);
}

int volume_open(const struct volume_options *o, struct volume **ret)
{
	struct volume *v;
	struct survey sv;
	struct recovered r;
	bool ours = false;
	uint64_t quiet_ns = 0;
	int rc;

	if (!o->node || !o->node[0] || strlen(o->node) > NODE_NAME_MAX)
		return err_set(ERR_CONFIG, "a node name of 1 to %d bytes is needed", NODE_NAME_MAX);
	v = volume_alloc(o);
	if (!v)
		return -ENOMEM;
	memset(&r, 0, sizeof r);
	rc = survey_and_replay(v, &sv, &r);
	if (!rc)
		rc = open_cache(v);
	if (!rc && !o->read_only)
		rc = take_epoch(v, &sv, &r, &ours, &quiet_ns);
	if (!rc) {
		take_state(v, &sv, &r);
		if (o->read_only) {
			v->epoch = r.tip_epoch;
			v->acked_slot = r.tip_slot;
		}
		rc = start_serving(v, ours, quiet_ns);
	}
	if (rc) {
		if (r.has_manifest)
			manifest_free(&r.manifest);
		pthread_mutex_lock(&v->mu);
		v->closing = true;
		pthread_mutex_unlock(&v->mu);
		if (v->orphans)
			orphans_stop(v->orphans);
		wait_idle(v);
		volume_free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

/* --- closing --- */

static uint64_t bytes_left(struct volume *v)
{
	uint64_t n = 0;
	const struct cut *c;

	for (c = v->cuts; c; c = c->next)
		n += c->bytes;
	if (v->active && v->lsn >= v->cut_first_lsn)
		n += (uint64_t)segment_data_len(v->active) + segment_records_len(v->active);
	return n;
}

static int drain_all(struct volume *v, int (*progress)(void *user, uint64_t bytes_left), void *user)
{
	uint64_t next_report = 0;
	int rc = 0;

	pthread_mutex_lock(&v->mu);
	while (v->lsn_store < v->lsn) {
		uint64_t left;

		if (v->state != VOLUME_SERVING) {
			rc = v->state == VOLUME_FENCED ? ERR_FENCED : -EIO;
			break;
		}
		if (v->lsn >= v->cut_first_lsn && v->cut_count < v->o.uploads)
			(void)commit_cut(v); /* tried again as long as it takes */
		upload_kick(v);
		left = bytes_left(v);
		pthread_mutex_unlock(&v->mu);
		v->o.exec->idle(v->o.exec);
		if (progress && volume_boot(v) >= next_report) {
			next_report = volume_boot(v) + VOLUME_TICK_NS;
			if (progress(user, left))
				rc = -ECANCELED;
		}
		pthread_mutex_lock(&v->mu);
		if (rc)
			break;
	}
	pthread_mutex_unlock(&v->mu);
	if (!rc && progress)
		(void)progress(user, 0);
	return rc;
}

int volume_close(struct volume *v, bool drain, int (*progress)(void *user, uint64_t bytes_left), void *user)
{
	bool ro;
	int rc = 0;

	pthread_mutex_lock(&v->mu);
	ro = v->state == VOLUME_SERVING_RO;
	v->draining = drain && !ro;
	v->closing = true;
	wait_answer_all(v, &v->gate_waiters, -ESHUTDOWN);
	pthread_mutex_unlock(&v->mu);
	orphans_stop(v->orphans);
	if (drain && !ro) {
		rc = drain_all(v, progress, user);
		pthread_mutex_lock(&v->mu);
		while (v->heartbeat_busy) {
			pthread_mutex_unlock(&v->mu);
			v->o.exec->idle(v->o.exec);
			pthread_mutex_lock(&v->mu);
		}
		pthread_mutex_unlock(&v->mu);
		if (!rc && epoch_heartbeat_write(v, HEARTBEAT_RELEASED))
			logmsg(LOGMSG_WARNING, "%s: drained, but `released` could not be written: another node will wait or need --takeover",
			       v->o.store->address);
	}
	pthread_mutex_lock(&v->mu);
	v->draining = false;
	v->sync_all = true;
	if (!ro && v->lsn_local < v->lsn && v->lsn_store < v->lsn)
		commit_kick_sync(v);
	wait_answer_all(v, &v->local_waiters, -ESHUTDOWN);
	wait_answer_all(v, &v->store_waiters, -ESHUTDOWN);
	pthread_mutex_unlock(&v->mu);
	wait_idle(v);
	volume_free(v);
	return rc;
}

/* --- looking --- */

void volume_status(struct volume *v, struct volume_status *ret)
{
	struct cache_status cs;
	const char *why = NULL;

	memset(ret, 0, sizeof *ret);
	cache_status(v->cache, &cs);
	pthread_mutex_lock(&v->mu);
	ret->state = v->state;
	snprintf(ret->error, sizeof ret->error, "%s", v->error);
	if (v->state == VOLUME_SERVING && commit_gate_closed(v, &why)) {
		ret->state = VOLUME_HELD;
		if (!v->error[0])
			snprintf(ret->error, sizeof ret->error, "%s", why);
	} else if (v->state == VOLUME_SERVING && v->disk_rc && !v->error[0]) {
		snprintf(ret->error, sizeof ret->error, "%s", v->disk_trouble);
	}
	if (!ret->error[0])
		snprintf(ret->error, sizeof ret->error, "%s", v->lost);
	ret->lost_operations = v->lost_operations;
	snprintf(ret->found_lost, sizeof ret->found_lost, "%s", v->lost);
	memcpy(ret->node, v->node, sizeof ret->node);
	memcpy(ret->uuid, v->sb.volume_uuid, ID_BYTES);
	ret->epoch = v->epoch;
	ret->slot = v->acked_slot;
	ret->lsn = v->lsn;
	ret->lsn_local = v->lsn_local;
	ret->lsn_store = v->lsn_store;
	ret->lag_ns = commit_lag_ns(v);
	ret->lag_bytes = bytes_left(v);
	ret->lease_age_ns = v->state == VOLUME_SERVING_RO ? 0 : volume_boot(v) - v->lease_boot_ns;
	ret->parked = v->local_waiters.count + v->store_waiters.count + v->gate_waiters.count;
	ret->inodes = meta_inode_count(v->meta);
	ret->data_bytes = meta_live_bytes(v->meta);
	ret->segments = meta_segment_count(v->meta);
	ret->segment_bytes = meta_segment_bytes(v->meta);
	ret->objects_put = v->objects_put;
	ret->object_bytes_put = v->object_bytes_put;
	ret->written_bytes = v->written_bytes;
	ret->elided_bytes = v->elided_bytes;
	ret->checkpoints = v->checkpoints;
	pthread_mutex_unlock(&v->mu);
	ret->cache_used_bytes = cs.used_bytes;
	ret->cache_budget_bytes = cs.budget_bytes;
	ret->cache_hits = cs.hits;
	ret->cache_misses = cs.misses;
}

int volume_statfs(struct volume *v, struct volume_statfs *ret)
{
	uint64_t live;

	pthread_mutex_lock(&v->mu);
	live = meta_live_bytes(v->meta);
	ret->inodes = meta_inode_count(v->meta);
	pthread_mutex_unlock(&v->mu);
	ret->total_bytes = v->o.df_bytes;
	ret->free_bytes = live < v->o.df_bytes ? v->o.df_bytes - live : 0;
	return 0;
}
