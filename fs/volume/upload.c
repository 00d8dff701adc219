/*
 * upload.c - log objects to the store, and the acknowledged prefix.
 *
 * One build job encodes cuts in slot order (each footer carries the hash of the one before). A built object never changes; every
 * PUT of it is if-none-match with the same bytes. After a 412 the object in its slot is read back: our put-ID means that an
 * earlier attempt arrived; anything else is another writer's seal, and from that slot on nothing is ours.
 * Most of an object lies in the memory of its frozen segment, which is held until the store has acknowledged it.
 *
 * Crash behaviour: nothing here is needed after a crash. A cut that no one acknowledged is found in the local log
 * and goes out again under the next epoch; the seal keeps the old object out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "volume_impl.h"

#define OUTAGE_TRIES 3
#define BAD_HEAD_TRIES 10

static void cut_send(struct cut *c);
static void cut_answer_run(struct job *j);

/* --- building --- */

static int encode_delta(struct volume *v, const struct kvmap *delta, struct buf *out)
{
	struct run_writer *w;
	struct kvmap_iter it;
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc = run_writer_new((int)v->sb.compress, &w);

	if (rc)
		return rc;
	kvmap_first(delta, &it);
	while (!rc && kvmap_next(&it, &key, &klen, &val, &vlen))
		rc = run_writer_add(w, key, klen, val, vlen);
	if (!rc)
		rc = run_writer_finish(w, out);
	run_writer_free(w);
	return rc;
}

static void footer_fill(struct volume *v, struct cut *c, const uint8_t *prev_hash, uint64_t acked_slot)
{
	struct object_footer *f = &c->footer;

	memset(f, 0, sizeof *f);
	f->type = OBJECT_CUT;
	memcpy(f->volume_uuid, v->sb.volume_uuid, ID_BYTES);
	f->epoch = v->epoch;
	f->slot = c->slot;
	memcpy(f->put_id, c->put_id, ID_BYTES);
	memcpy(f->claim_id, v->claim_id, ID_BYTES);
	memcpy(f->prev_hash, prev_hash, HASH_BYTES);
	f->first_lsn = c->first_lsn;
	f->last_lsn = c->last_lsn;
	f->acked_epoch = v->epoch;
	f->acked_slot = acked_slot;
	f->commit_real_ns = c->commit_real_ns;
	f->next_ino = c->next_ino;
	if (c->seg) {
		f->segment_id = segment_header(c->seg)->id;
		f->data_len = segment_data_len(c->seg);
	}
}

static int add_changes(void *user, struct record *r)
{
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc;

	while ((rc = record_next(r, &key, &klen, &val, &vlen)) > 0) {
		rc = kvmap_set(user, key, klen, val, vlen);
		if (rc)
			return rc;
	}
	return rc;
}

/* What was given back while the store was away is in the records: the same changes in the same order. */
static int delta_again(struct cut *c)
{
	int rc = kvmap_new(&c->delta);

	if (!rc)
		rc = segment_records(c->seg, add_changes, c->delta);
	if (rc) {
		kvmap_free(c->delta);
		c->delta = NULL;
	}
	return rc;
}

void upload_drop_object(struct cut *c)
{
	object_pieces_free(&c->object);
	if (c->data)
		segment_memory_put(c->seg);
	free(c->loaded);
	c->data = NULL;
	c->loaded = NULL;
}

/* The data to encode, which stays until upload_drop_object: in the segment's memory, or read back where that was given up. */
static int cut_load(struct cut *c)
{
	c->data = segment_memory_get(c->seg);
	if (c->data)
		return 0;
	c->loaded = malloc(SEGMENT_DATA_MAX);
	return c->loaded ? segment_load_data(c->seg, c->loaded) : -ENOMEM;
}

static int cut_build(struct volume *v, struct cut *c, const uint8_t *prev_hash, uint64_t acked_slot)
{
	const uint64_t *sums = NULL;
	struct buf run = BUF_INIT;
	int rc = c->delta ? 0 : delta_again(c);

	if (rc)
		return rc;
	footer_fill(v, c, prev_hash, acked_slot);
	c->table = calloc(1, sizeof *c->table);
	if (!c->table)
		return -ENOMEM;
	rc = encode_delta(v, c->delta, &run);
	if (!rc && c->footer.data_len) {
		sums = segment_sums(c->seg);
		rc = cut_load(c);
	}
	if (!rc)
		rc = object_encode_pieces(&c->footer, c->data ? c->data : c->loaded, c->live, sums, run.data, run.len, (int)v->sb.compress,
					  c->table, &c->object);
	if (!rc && c->seg && c->footer.data_len)
		rc = segment_set_table(c->seg, c->table);
	buf_free(&run);
	if (rc) {
		free(c->table);
		c->table = NULL;
		upload_drop_object(c);
	}
	return rc;
}

static struct cut *next_to_build(struct volume *v)
{
	struct cut *c;
	unsigned under_way = 0;

	for (c = v->cuts; c && c->slot < v->fenced_slot; c = c->next) {
		if (c->state == CUT_FROZEN)
			return under_way < v->o.uploads ? c : NULL;
		if (c->state != CUT_ACKED)
			under_way++;
	}
	return NULL;
}

void upload_kick(struct volume *v)
{
	if (v->build_queued || v->state == VOLUME_FAILED || v->state == VOLUME_SERVING_RO || !next_to_build(v))
		return;
	if (v->closing && !v->draining)
		return;
	v->build_queued = true;
	volume_submit(v, EXEC_WORK, &v->build_job);
}

static void count_elided(struct volume *v, const struct cut *c)
{
	size_t g, n = (c->footer.data_len + GRANULE_BYTES - 1) / GRANULE_BYTES;

	for (g = 0; g < n; g++)
		if (!c->live[g])
			v->elided_bytes += GRANULE_BYTES;
}

void upload_build_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, build_job);
	struct cut *c;

	pthread_mutex_lock(&v->mu);
	while (!(v->closing && !v->draining) && v->state != VOLUME_FAILED && (c = next_to_build(v))) {
		uint64_t acked = v->acked_slot;
		int rc;

		c->building = true;
		pthread_mutex_unlock(&v->mu);
		rc = cut_build(v, c, v->chain_hash, acked);
		pthread_mutex_lock(&v->mu);
		c->building = false;
		if (rc == -ENOMEM)
			break; /* the next tick tries again */
		if (rc) {
			engine_set_failed(v, VOLUME_FAILED, "a segment of the local log cannot be read back");
			break;
		}
		memcpy(v->chain_hash, c->footer.own_hash, HASH_BYTES);
		count_elided(v, c);
		c->state = CUT_SENDING;
		c->sent_boot_ns = volume_boot(v);
		v->busy++; /* until the cut is acknowledged or given up */
		pthread_mutex_unlock(&v->mu);
		cut_send(c);
		pthread_mutex_lock(&v->mu);
	}
	v->build_queued = false;
	v->busy--;
	pthread_mutex_unlock(&v->mu);
}

/* --- sending --- */

static void cut_done(struct store_req *r)
{
	struct cut *c = r->user;

	c->job.run = cut_answer_run;
	c->v->o.exec->submit(c->v->o.exec, EXEC_WORK, &c->job);
}

/* Nothing held. state is SENDING or CHECKING. */
static void cut_send(struct cut *c)
{
	struct volume *v = c->v;

	store_req_reset(&c->req);
	object_key_slot(v->epoch, c->slot, c->key);
	if (c->state == CUT_SENDING) {
		store_req_init(&c->req, STORE_PUT);
		c->req.body = c->object.iov;
		c->req.body_count = c->object.count;
		c->req.if_none_match = true;
		c->tries++;
	} else {
		store_req_init(&c->req, STORE_GET);
		c->req.range_offset = 0;
		c->req.range_length = OBJECT_HEAD_BYTES;
	}
	c->req.key = c->key;
	c->req.done = cut_done;
	c->req.user = c;
	v->o.store->submit(v->o.store, &c->req);
}

static void resend_run(struct job *j)
{
	struct cut *c = CL_CONTAINER_OF(j, struct cut, job);
	struct volume *v = c->v;
	bool give_up;

	pthread_mutex_lock(&v->mu);
	give_up = (v->closing && !v->draining) || c->slot >= v->fenced_slot || v->state == VOLUME_FAILED;
	if (give_up)
		v->busy--;
	else
		c->state = CUT_SENDING;
	pthread_mutex_unlock(&v->mu);
	if (!give_up)
		cut_send(c);
}

/* mu held. Full jitter between the shortest and a doubling bound. */
static void back_off(struct volume *v, struct cut *c)
{
	uint64_t bound = VOLUME_RETRY_MIN_NS << (c->tries < 6 ? c->tries : 6), rnd;

	if (bound > VOLUME_RETRY_MAX_NS)
		bound = VOLUME_RETRY_MAX_NS;
	v->o.env->random(v->o.env, &rnd, sizeof rnd);
	if (!v->outage && c->tries >= OUTAGE_TRIES) { /* one refusal is nothing that an operator could act on */
		bool full = c->req.result == -ENOSPC;

		v->outage = true;
		snprintf(v->error, sizeof v->error, "%s: %.150s", full ? "the store is full: make room there, or raise its quota" :
			 "the store does not take log objects", c->req.detail);
		logmsg(full ? LOGMSG_ERROR : LOGMSG_WARNING, "%s: PUT of %s failed (%s: %s); %strying again until it is taken", v->o.store->address, c->key,
		       err_text(c->req.result), c->req.detail, full ? "the store is full: make room there, or raise its quota; " : "");
	}
	c->state = CUT_BACKOFF;
	c->job.run = resend_run;
	v->o.exec->submit_at(v->o.exec, EXEC_WORK, volume_boot(v) + VOLUME_RETRY_MIN_NS + rnd % bound, &c->job);
}

/* mu held. Takes the acknowledged head of the queue out, and tells everyone. */
static void advance(struct volume *v)
{
	struct cut *c;
	bool moved = false;

	while ((c = v->cuts) && c->state == CUT_ACKED) {
		v->cuts = c->next;
		if (!v->cuts)
			v->cuts_tail = NULL;
		v->cut_count--;
		if (c->seg && !c->synced && !c->sync_failed)
			v->unsynced_count--;
		v->acked_slot = c->slot;
		v->lsn_store = c->last_lsn;
		if (v->lease_boot_ns < c->sent_boot_ns)
			v->lease_boot_ns = c->sent_boot_ns;
		c->next = NULL;
		if (v->leaving_tail)
			v->leaving_tail->next = c;
		else
			v->leaving = c;
		v->leaving_tail = c;
		moved = true;
	}
	if (!moved)
		return;
	v->heartbeat_boot_ns = volume_boot(v);
	if (!v->advance_queued) {
		v->advance_queued = true;
		volume_submit(v, EXEC_WORK, &v->advance_job);
	}
	commit_answer(v);
	upload_kick(v);
}

static void cut_acked(struct volume *v, struct cut *c)
{
	if (v->outage) {
		v->outage = false;
		if (v->state == VOLUME_SERVING)
			v->error[0] = '\0';
		logmsg(LOGMSG_NOTICE, "%s: the store takes log objects again", v->o.store->address);
	}
	c->state = CUT_ACKED;
	v->objects_put++;
	v->object_bytes_put += c->object.bytes;
	upload_drop_object(c);
	advance(v);
}

static void cut_fenced(struct volume *v, struct cut *c)
{
	char why[160];

	if (c->slot < v->fenced_slot)
		v->fenced_slot = c->slot;
	snprintf(why, sizeof why, "another node has taken this volume over (its seal is at %s)", c->key);
	engine_set_failed(v, VOLUME_FENCED, why);
}

/* The answer to a PUT, or to the look at who is in our slot. True: ask again now (state says what). */
static bool cut_answered(struct volume *v, struct cut *c)
{
	enum object_type type;
	uint64_t epoch, slot;
	uint8_t put_id[ID_BYTES];
	int rc = c->req.result;

	if (c->state == CUT_SENDING) {
		if (rc == 0) {
			cut_acked(v, c);
			v->busy--;
			return false;
		}
		if (rc == ERR_PRECONDITION) {
			c->state = CUT_CHECKING;
			return true;
		}
		back_off(v, c);
		return false;
	}
	if (rc == 0) {
		rc = object_decode_head(c->req.data, c->req.data_len, &type, &epoch, &slot, put_id);
		if (rc && c->tries < BAD_HEAD_TRIES) { /* a damaged answer is no other writer's: ask again */
			c->req.result = rc;
			back_off(v, c);
			return false;
		}
		if (rc == 0 && type == OBJECT_CUT && epoch == v->epoch && slot == c->slot &&
		    memcmp(put_id, c->put_id, ID_BYTES) == 0)
			cut_acked(v, c);
		else
			cut_fenced(v, c);
		v->busy--;
		return false;
	}
	back_off(v, c);
	return false;
}

static void cut_answer_run(struct job *j)
{
	struct cut *c = CL_CONTAINER_OF(j, struct cut, job);
	struct volume *v = c->v;
	bool again;

	pthread_mutex_lock(&v->mu);
	again = cut_answered(v, c);
	pthread_mutex_unlock(&v->mu);
	if (again)
		cut_send(c);
}

/* --- what leaves the queue --- */

static void segment_ref_of(const struct cut *c, struct segment_ref *r)
{
	const struct object_footer *f = &c->footer;

	memset(r, 0, sizeof *r);
	r->id = f->segment_id;
	r->epoch = f->epoch;
	r->slot = f->slot;
	r->object_bytes = (uint64_t)f->table_offset + f->table_len + OBJECT_FOOTER_BYTES;
	r->data_len = f->data_len;
	r->table_offset = f->table_offset;
	r->table_len = f->table_len;
	memcpy(r->table_hash, f->table_hash, HASH_BYTES);
}

static int since_add(struct volume *v, const struct cut *c, const struct segment_ref *r)
{
	struct buf key = BUF_INIT, val = BUF_INIT;
	int rc = kvmap_merge(v->since, c->delta);

	if (!rc && c->seg) {
		meta_segment_encode(r, &key, &val);
		rc = key.err ? key.err : val.err;
		if (!rc)
			rc = kvmap_set(v->since, key.data, key.len, val.data, val.len);
	}
	buf_free(&key);
	buf_free(&val);
	v->since_slots++;
	v->since_at.epoch = v->epoch;
	v->since_at.slot = c->slot;
	v->since_at.lsn = c->last_lsn;
	v->since_at.next_ino = c->next_ino;
	v->since_at.commit_real_ns = c->commit_real_ns;
	memcpy(v->since_at.slot_hash, c->footer.own_hash, HASH_BYTES);
	return rc;
}

void upload_advance_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, advance_job);
	struct segment_ref r;
	struct cut *c;
	int rc;

	pthread_mutex_lock(&v->mu);
	while ((c = v->leaving)) {
		v->leaving = c->next;
		if (!v->leaving)
			v->leaving_tail = NULL;
		segment_ref_of(c, &r);
		rc = 0;
		if (c->seg)
			rc = meta_segment_put(v->meta, &r);
		if (rc)
			engine_set_failed(v, VOLUME_FAILED, "the map cannot be changed");
		pthread_mutex_unlock(&v->mu);
		if (c->seg && r.data_len)
			cache_log_committed(v->cache, c->seg, &r);
		else if (c->seg) /* its records are of no more use, and it has nothing to read */
			cache_drop(v->cache, r.id);
		rc = since_add(v, c, &r);
		cut_free(c);
		pthread_mutex_lock(&v->mu);
		v->since_bytes = kvmap_bytes(v->since);
		if (rc)
			engine_set_failed(v, VOLUME_FAILED, "no memory for the changes since the last checkpoint");
	}
	v->advance_queued = false;
	checkpoint_consider(v);
	v->busy--;
	pthread_mutex_unlock(&v->mu);
}
