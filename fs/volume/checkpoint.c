/*
 * checkpoint.c - incremental checkpoints.
 *
 * The net change since the last checkpoint (v->since, exactly at the acknowledged prefix) is frozen, merged with as many of the
 * newest runs as are small beside it, and written as one new run; the manifest goes last, create-if-absent. A crash
 * before the manifest leaves unnamed parts, nothing else. A failed attempt keeps its change and is made again.
 *
 * Size-tiered merging keeps the number of runs at about 8 and the bytes written at a small multiple of the change.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "run_parts.h"
#include "volume_impl.h"

#define RUNS_MAX 8
#define RETRY_NS 5000000000ull

static void submit_ckpt(struct volume *v)
{
	v->ckpt_busy = true;
	volume_submit(v, EXEC_WORK, &v->ckpt_job);
}

void checkpoint_consider(struct volume *v)
{
	struct kvmap *fresh;

	if (v->ckpt_busy || v->advance_queued || v->closing || v->state != VOLUME_SERVING)
		return;
	if (v->ckpt_delta) {
		if (volume_boot(v) >= v->ckpt_retry_boot_ns)
			submit_ckpt(v);
		return;
	}
	if (kvmap_bytes(v->since) < v->o.checkpoint_bytes && v->since_slots < CHECKPOINT_SLOTS_MAX)
		return;
	if (v->since_slots == 0 || kvmap_new(&fresh))
		return;
	v->ckpt_delta = v->since;
	v->ckpt_next = v->since_at;
	v->since = fresh;
	v->since_slots = 0;
	v->since_bytes = 0;
	submit_ckpt(v);
}

static int kvmap_source(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen)
{
	return kvmap_next(user, key, klen, val, vlen) ? 1 : 0;
}

/* How many of the newest runs to merge with the change. */
static uint32_t merge_depth(const struct manifest *m, uint64_t delta_bytes)
{
	uint64_t sum = delta_bytes;
	uint32_t k = 0;

	while (k < m->run_count && (m->runs[k].bytes <= 2 * sum || m->run_count - k >= RUNS_MAX))
		sum += m->runs[k++].bytes;
	return k;
}

static int write_run(struct volume *v, uint32_t depth, struct manifest_run *ret)
{
	struct run_source *sources = calloc(depth + 1, sizeof *sources);
	struct run_merge *merge = NULL;
	struct kvmap_iter it;
	uint32_t i;
	int rc = sources ? 0 : -ENOMEM;

	if (rc)
		return rc;
	kvmap_first(v->ckpt_delta, &it);
	sources[0] = (struct run_source){ .next = kvmap_source, .user = &it };
	for (i = 0; !rc && i < depth; i++) {
		struct part_source *p;

		rc = part_source_new(v->o.store, &v->manifest.runs[i], &p);
		if (!rc)
			sources[i + 1] = (struct run_source){ .next = part_source_next, .user = p };
	}
	/* Below the oldest run there is nothing that a tombstone could hide. */
	if (!rc)
		rc = run_merge_new(sources, depth + 1, depth == v->manifest.run_count, &merge);
	if (!rc)
		rc = run_parts_write(v->o.store, v->o.env, (int)v->sb.compress, merge, ret);
	run_merge_free(merge);
	for (i = 1; i <= depth; i++)
		part_source_free(sources[i].user);
	free(sources);
	return rc;
}

static int copy_run(const struct manifest_run *from, struct manifest_run *ret)
{
	*ret = *from;
	ret->parts = malloc((from->part_count ? from->part_count : 1) * sizeof *ret->parts);
	if (!ret->parts)
		return -ENOMEM;
	memcpy(ret->parts, from->parts, from->part_count * sizeof *ret->parts);
	return 0;
}

/* The manifest of the new run and what remains of the old ones. Takes `run`. */
static int make_manifest(struct volume *v, struct manifest_run *run, uint32_t depth, struct manifest *ret)
{
	uint32_t kept = v->manifest.run_count - depth, i;
	int rc = 0;

	*ret = v->ckpt_next;
	memcpy(ret->volume_uuid, v->sb.volume_uuid, ID_BYTES);
	ret->run_count = 0;
	ret->runs = calloc(kept + 1, sizeof *ret->runs);
	if (!ret->runs) {
		free(run->parts);
		return -ENOMEM;
	}
	ret->runs[ret->run_count++] = *run;
	for (i = 0; !rc && i < kept; i++) {
		rc = copy_run(&v->manifest.runs[depth + i], &ret->runs[ret->run_count]);
		if (!rc)
			ret->run_count++;
	}
	if (rc)
		manifest_free(ret);
	return rc;
}

/*
 * Creates the manifest. Whatever is found there after a doubt was put by us: the epoch and its acknowledged slots are ours
 * alone, so an earlier attempt's manifest is as good, and taken.
 */
static int put_manifest(struct volume *v, struct manifest *m)
{
	struct buf bytes = BUF_INIT;
	struct store_req req;
	char key[OBJECT_KEY_MAX];
	int rc = manifest_encode(m, &bytes);

	if (rc)
		goto done;
	object_key_manifest(m->epoch, m->slot, key);
	rc = store_put(v->o.store, key, bytes.data, bytes.len, true, &req);
	store_req_reset(&req);
	if (rc && (rc == ERR_PRECONDITION || rc == ERR_UNAVAILABLE)) {
		struct manifest there;

		rc = store_get(v->o.store, key, &req);
		if (!rc)
			rc = manifest_decode(req.data, req.data_len, &there);
		if (!rc) {
			manifest_free(m);
			*m = there;
		}
		store_req_reset(&req);
	}
done:
	buf_free(&bytes);
	return rc;
}

static int write_checkpoint(struct volume *v)
{
	uint32_t depth = v->has_manifest ? merge_depth(&v->manifest, kvmap_bytes(v->ckpt_delta) / 3) : 0;
	struct manifest_run run;
	struct manifest m;
	int rc = write_run(v, depth, &run);

	if (rc)
		return rc;
	rc = make_manifest(v, &run, depth, &m);
	if (rc)
		return rc;
	rc = put_manifest(v, &m);
	if (rc) {
		manifest_free(&m);
		return rc;
	}
	if (v->has_manifest)
		manifest_free(&v->manifest);
	v->manifest = m;
	v->has_manifest = true;
	return 0;
}

void checkpoint_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, ckpt_job);
	int rc = write_checkpoint(v);

	if (rc)
		logmsg(LOGMSG_WARNING, "%s: a checkpoint could not be written (%s): %s; trying again", v->o.store->address,
		       err_text(rc), err_last());
	pthread_mutex_lock(&v->mu);
	if (rc) {
		v->ckpt_retry_boot_ns = volume_boot(v) + RETRY_NS;
	} else {
		kvmap_free(v->ckpt_delta);
		v->ckpt_delta = NULL;
		v->checkpoints++;
	}
	v->ckpt_busy = false;
	v->busy--;
	pthread_mutex_unlock(&v->mu);
}
