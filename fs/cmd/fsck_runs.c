/*
 * fsck_runs.c - checkpoints: every manifest against the log object it stands at,
 * every part it names against the store.
 *
 * Parts of the newest manifest are read and hashed always (a mount reads them);
 * those of older ones with --deep; the others are checked for being there with their size.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fsck.h"

static void check_place(struct fsck *k, struct fsck_manifest *x)
{
	const struct fsck_slot *s = fsck_find_slot(k, x->epoch, x->slot);

	if (!s || !s->lineage) {
		fsck_report(k, FSCK_NOTE, x->o->key, "a checkpoint beyond the end of its epoch: ignored by every mount");
		return;
	}
	x->lineage = true;
	if (memcmp(x->m.slot_hash, s->f.own_hash, HASH_BYTES))
		fsck_report(k, FSCK_ERROR, x->o->key, "stands on another object than %s (hash differs)", s->o->key);
	if (x->m.lsn != s->f.last_lsn)
		fsck_report(k, FSCK_ERROR, x->o->key, "says LSN %" PRIu64 ", but %s ends at %" PRIu64, x->m.lsn, s->o->key, s->f.last_lsn);
}

static int read_manifest(struct fsck *k, size_t i)
{
	struct fsck_manifest *x = &k->manifests[i];
	struct store_req r;
	bool present;
	int rc = fsck_read(k, x->o->key, 0, &r, &present), bad = 0;

	if (!rc && !present)
		fsck_report(k, FSCK_ERROR, x->o->key, "was listed, but is not there");
	else if (!rc && (bad = manifest_decode(r.data, r.data_len, &x->m)))
		fsck_report(k, FSCK_ERROR, x->o->key, "the checkpoint's manifest does not decode: %s", err_text(bad));
	else if (!rc)
		x->readable = true;
	store_req_reset(&r);
	if (!x->readable)
		return rc;
	if (x->m.epoch != x->epoch || x->m.slot != x->slot || memcmp(x->m.volume_uuid, k->sb.volume_uuid, ID_BYTES))
		fsck_report(k, FSCK_ERROR, x->o->key, "the manifest belongs to another place or volume");
	else
		check_place(k, x);
	return 0;
}

/* The parts that lineage manifests name, each once; `read` where its bytes are to be hashed. */
struct part { const struct manifest_part *p; const char *of; bool read; };
struct parts { struct part *items; size_t count; };
static struct parts parts; /* of the one check this process makes; set up before the threads, read by them */

static int compare_part(const void *a, const void *b)
{
	return memcmp(((const struct part *)a)->p->id, ((const struct part *)b)->p->id, ID_BYTES);
}

static int check_part(struct fsck *k, size_t i)
{
	const struct part *x = &parts.items[i];
	uint8_t hash[HASH_BYTES];
	char key[OBJECT_KEY_MAX];
	const struct fsck_object *o;
	struct store_req r;
	bool present;
	int rc;

	object_key_run(x->p->id, key);
	o = fsck_find(k, key);
	if (o && o->size_bytes != x->p->bytes)
		fsck_report(k, FSCK_ERROR, key, "is %" PRIu64 " bytes long, the checkpoint %s says %" PRIu32, o->size_bytes, x->of, x->p->bytes);
	if (o && !x->read)
		return 0;
	rc = fsck_read(k, key, 0, &r, &present);
	if (!rc && !present) {
		fsck_report(k, FSCK_ERROR, key, "missing: the checkpoint %s needs it", x->of);
	} else if (!rc) {
		hash_blake2b(r.data, r.data_len, hash);
		if (memcmp(hash, x->p->hash, HASH_BYTES))
			fsck_report(k, FSCK_ERROR, key, "its bytes do not match the hash that the checkpoint %s has", x->of);
	}
	store_req_reset(&r);
	return rc;
}

static int collect(struct fsck *k)
{
	const struct fsck_manifest *newest = NULL;
	size_t cap = 0, n = 0;

	for (size_t i = 0; i < k->manifest_count; i++) {
		const struct fsck_manifest *x = &k->manifests[i];

		if (!x->lineage)
			continue;
		newest = x; /* sorted: the last one */
		for (uint32_t r = 0; r < x->m.run_count; r++)
			cap += x->m.runs[r].part_count;
	}
	parts.items = calloc(cap + 1, sizeof(*parts.items));
	if (!parts.items)
		return -ENOMEM;
	for (size_t i = 0; i < k->manifest_count; i++) {
		const struct fsck_manifest *x = &k->manifests[i];

		for (uint32_t r = 0; x->lineage && r < x->m.run_count; r++)
			for (uint32_t p = 0; p < x->m.runs[r].part_count; p++)
				parts.items[n++] = (struct part){ &x->m.runs[r].parts[p], x->o->key, k->deep || x == newest };
	}
	if (n)
		qsort(parts.items, n, sizeof(*parts.items), compare_part);
	for (size_t i = 0; i < n; i++) { /* shared by several manifests: once, read if any of them asks */
		if (parts.count && compare_part(&parts.items[parts.count - 1], &parts.items[i]) == 0)
			parts.items[parts.count - 1].read |= parts.items[i].read;
		else
			parts.items[parts.count++] = parts.items[i];
	}
	return 0;
}

int fsck_runs(struct fsck *k)
{
	int rc = fsck_parallel(k, "reading checkpoints", k->manifest_count, read_manifest);

	if (!rc)
		rc = collect(k);
	if (!rc)
		rc = fsck_parallel(k, "checking their parts", parts.count, check_part);
	free(parts.items);
	parts = (struct parts){ NULL, 0 };
	return rc;
}
