/*
 * fsck_garbage.c - objects that nothing refers to; --repair deletes them.
 *
 * Only what can never be needed again goes: keys of the probe, and parts of runs
 * that no manifest names. A checkpoint uploads its parts before its manifest, and a
 * manifest may still be on its way from a writer that died: so parts go only
 * when they are a day old by the store's own clock and no writer is alive. Log objects, claims and
 * manifests are never deleted here, whatever state they are in.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fsck.h"

#define PROBE_AGE_S 3600
#define PART_AGE_S 86400

static bool parse_part_key(const char *key, uint8_t *ret_id)
{
	for (size_t i = 0; i < ID_BYTES; i++)
		if (sscanf(key + 5 + 2 * i, "%2hhx", &ret_id[i]) != 1)
			return false;
	return key[5 + 2 * ID_BYTES] == '\0';
}

static bool part_in_use(const struct fsck *k, const char *key)
{
	uint8_t id[ID_BYTES];

	if (!parse_part_key(key, id))
		return true; /* not a part at all: not ours to delete */
	for (size_t i = 0; i < k->manifest_count; i++) {
		const struct manifest *m = &k->manifests[i].m;

		if (!k->manifests[i].readable)
			return true; /* what it needs is not known */
		for (uint32_t r = 0; r < m->run_count; r++)
			for (uint32_t p = 0; p < m->runs[r].part_count; p++)
				if (memcmp(m->runs[r].parts[p].id, id, ID_BYTES) == 0)
					return true;
	}
	return false;
}

static int store_clock(struct fsck *k, int64_t *ret)
{
	struct store_req r;
	bool present;
	int rc = fsck_read(k, "volume", 0, &r, &present);

	*ret = r.server_time_s;
	store_req_reset(&r);
	return rc;
}

static int delete(struct fsck *k, const char *key)
{
	int rc = store_delete(k->store, key);

	if (rc)
		return err_last()[0] ? rc : err_set(rc, "deleting %s/%s: %s", k->store->address, key, err_text(rc));
	fsck_report(k, FSCK_REPAIRED, key, "deleted");
	return 0;
}

struct tally { uint64_t probes, parts, young; };

static int look_at(struct fsck *k, const struct fsck_object *o, int64_t now, struct tally *t)
{
	/* Of unknown age: young. */
	int64_t age = now > 0 && o->mtime_s > 0 ? now - o->mtime_s : 0;
	bool probe = strncmp(o->key, "probe/", 6) == 0, part = strncmp(o->key, "runs/", 5) == 0;

	if (probe && age >= PROBE_AGE_S) {
		t->probes++;
		return k->repair ? delete(k, o->key) : 0;
	}
	if (!part || part_in_use(k, o->key))
		return 0;
	if (k->live || age < PART_AGE_S) {
		t->young++;
		return 0;
	}
	t->parts++;
	return k->repair ? delete(k, o->key) : 0;
}

int fsck_garbage(struct fsck *k)
{
	struct tally t = { 0 };
	int64_t now;
	int rc = store_clock(k, &now);

	progress_begin(&k->bar, "looking for garbage", k->object_count);
	for (size_t i = 0; !rc && i < k->object_count; i++) {
		rc = look_at(k, &k->objects[i], now, &t);
		progress_add(&k->bar, 1);
	}
	progress_end(&k->bar);
	if (!rc && !k->repair && (t.probes || t.parts))
		fsck_report(k, FSCK_NOTE, "", "%" PRIu64 " left-over probe keys and %" PRIu64 " parts of checkpoints that nothing refers to; --repair "
			    "deletes them", t.probes, t.parts);
	if (!rc && t.young)
		fsck_report(k, FSCK_NOTE, "runs/", "%" PRIu64 " parts of checkpoints are not referred to yet; they stay until they are a day old and "
			    "no writer is alive", t.young);
	return rc;
}
