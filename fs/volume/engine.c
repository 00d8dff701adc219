/*
 * engine.c - operations: the lock, the gate, one record each.
 *
 * Invariant: between operations every change in the map is in exactly one
 * record of the active segment and in its cut's delta. An operation that fails half-way
 * leaves a map that is ahead of the log, so the volume stops changing for good
 * (VOLUME_FAILED); what is in the log stays true and is what a remount recovers.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "volume_impl.h"

static int sink_change(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct volume *v = user;

	v->rec_dirty = true;
	if (val)
		record_put(&v->rec, key, klen, val, vlen);
	else
		record_del(&v->rec, key, klen);
	if (v->rec.err)
		return v->rec.err;
	return kvmap_set(v->delta, key, klen, val, vlen);
}

static void sink_live(void *user, uint64_t segment, uint32_t logical, uint32_t len, int sign)
{
	struct volume *v = user;

	if (v->rec_open) /* what a cut leaves out is judged by these: an operation that gives up now has changed something */
		v->rec_dirty = true;
	if (segment != v->live_segment)
		return;
	while (len > 0) {
		uint32_t g = logical / GRANULE_BYTES;
		uint32_t n = GRANULE_BYTES - logical % GRANULE_BYTES;

		if (n > len)
			n = len;
		if (g >= SEGMENT_GRANULES)
			return;
		v->granule_live[g] = sign > 0 ? v->granule_live[g] + n : v->granule_live[g] - n;
		logical += n;
		len -= n;
	}
}

void engine_sink(struct volume *v, struct meta_sink *ret)
{
	*ret = (struct meta_sink){ .change = sink_change, .live = sink_live, .user = v };
}

void volume_submit(struct volume *v, enum exec_lane lane, struct job *j)
{
	v->busy++;
	v->o.exec->submit(v->o.exec, lane, j);
}

void engine_set_failed(struct volume *v, enum volume_state state, const char *why)
{
	if (v->state == VOLUME_FENCED || v->state == VOLUME_FAILED)
		return;
	v->state = state;
	snprintf(v->error, sizeof v->error, "%s", why);
	logmsg(LOGMSG_ERROR, "%s: %s; the volume is read-only from here on. What the store has not got stays in the cache directory: "
	       "see clonefs salvage", v->o.store->address, why);
	commit_answer(v);
}

static int refused(const struct volume *v)
{
	if (v->closing)
		return -ESHUTDOWN;
	switch (v->state) {
	case VOLUME_FENCED:
		return ERR_FENCED;
	case VOLUME_FAILED:
	case VOLUME_SERVING_RO:
		return ERR_READ_ONLY;
	default:
		return 0;
	}
}

/* Room for one more operation in the active segment, or a cut that makes it. */
static int make_room(struct volume *v, size_t data_bytes)
{
	int rc;

	if (segment_has_room(v->active, data_bytes))
		return 0;
	rc = commit_cut(v);
	if (rc)
		return rc;
	return segment_has_room(v->active, data_bytes) ? 0 : -EFBIG;
}

int engine_begin(struct volume *v, size_t data_bytes, struct volume_wait *w)
{
	const char *why;
	int rc;

	if (data_bytes > VOLUME_WRITE_MAX)
		return -EINVAL;
	pthread_mutex_lock(&v->mu);
	rc = refused(v);
	if (!rc && commit_gate_closed(v, &why))
		rc = ERR_PARKED;
	if (!rc) {
		rc = make_room(v, data_bytes);
		/* A disk that is full or does not take a new segment is a state that may pass, and nothing has been changed: wait at the gate. */
		if (rc == -ENOSPC || (rc && rc == v->disk_rc))
			rc = ERR_PARKED;
		else if (rc && rc != -EFBIG)
			engine_set_failed(v, VOLUME_FAILED, "the local log cannot be written");
	}
	if (rc == ERR_PARKED) {
		if (w)
			wait_push(v, &v->gate_waiters, w, v->lsn);
		else
			rc = -EAGAIN;
	}
	if (rc) {
		pthread_mutex_unlock(&v->mu);
		return rc;
	}
	buf_reset(&v->rec);
	record_begin(&v->rec, &v->rec_start);
	v->rec_open = true;
	v->rec_dirty = false;
	return 0;
}

int engine_abort(struct volume *v, int rc)
{
	if (v->rec_dirty)
		return engine_fail(v, rc, "an operation gave up after it had changed the map");
	if (!meta_is_fit(v->meta))
		return engine_fail(v, rc, "the map failed");
	v->rec_open = false;
	pthread_mutex_unlock(&v->mu);
	return rc;
}

int engine_fail(struct volume *v, int rc, const char *what)
{
	char why[200];

	snprintf(why, sizeof why, "%s (%s)", what, err_text(rc));
	v->rec_open = false;
	engine_set_failed(v, VOLUME_FAILED, why);
	pthread_mutex_unlock(&v->mu);
	return rc ? rc : -EIO;
}

int engine_commit(struct volume *v)
{
	uint64_t lsn = v->lsn + 1;
	int rc;

	if (!v->rec_dirty)
		return engine_abort(v, 0);
	record_finish(&v->rec, v->rec_start, lsn, v->o.env->real_ns(v->o.env), 0, segment_header(v->active)->salt);
	if (v->rec.err)
		return engine_fail(v, v->rec.err, "no memory for a log record");
	if (v->rec.len > RECORD_MAX_BYTES)
		return engine_fail(v, -E2BIG, "an operation outgrew its log record");
	rc = segment_append_record(v->active, v->rec.data, v->rec.len, lsn);
	if (rc)
		return engine_fail(v, rc, "a record could not be appended to the local log");
	v->lsn = lsn;
	if (!v->cut_oldest_boot_ns)
		v->cut_oldest_boot_ns = volume_boot(v);
	v->rec_open = false;
	rc = meta_step(v->meta);
	if (rc)
		return engine_fail(v, rc, "the map cannot be changed");
	pthread_mutex_unlock(&v->mu);
	return 0;
}

void engine_lock(struct volume *v)
{
	pthread_mutex_lock(&v->mu);
}

int engine_unlock(struct volume *v, int rc)
{
	pthread_mutex_unlock(&v->mu);
	return rc;
}

uint64_t engine_deadline(struct volume *v)
{
	return v->o.outage_timeout_ms ? volume_boot(v) + v->o.outage_timeout_ms * 1000000u : 0;
}

struct meta *engine_meta(struct volume *v)
{
	return v->meta;
}

struct cache *engine_cache(struct volume *v)
{
	return v->cache;
}

struct orphans *engine_orphans(struct volume *v)
{
	return v->orphans;
}

uint64_t engine_new_ino(struct volume *v)
{
	return v->next_ino++;
}

void engine_now(struct volume *v, struct timespec *ret)
{
	uint64_t ns = v->o.env->real_ns(v->o.env);

	ret->tv_sec = (time_t)(ns / 1000000000u);
	ret->tv_nsec = (long)(ns % 1000000000u);
}

int engine_data(struct volume *v, const void *buf, size_t len, uint64_t *ret_segment, uint32_t *ret_logical)
{
	uint64_t hash;
	int rc = segment_append_data(v->active, buf, len, ret_logical, &hash);

	if (rc)
		return rc;
	*ret_segment = segment_header(v->active)->id;
	record_data(&v->rec, v->rec_start, *ret_logical, (uint32_t)len, hash);
	v->written_bytes += len;
	return 0;
}

int engine_segment_ref(struct volume *v, uint64_t id, struct segment_ref *ret)
{
	int rc = meta_segment_get(v->meta, id, ret);

	if (rc != -ENOENT)
		return rc;
	memset(ret, 0, sizeof *ret);
	ret->id = id;
	return 0;
}
