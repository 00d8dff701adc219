/*
 * fsck_chain.c - who wrote what: claims, opening records, seals and the chain of
 * log objects, checked against each other, from the footers alone.
 *
 * This is a second reading of the rules that recovery follows (fs/volume/DESIGN.md,
 * "Recovery, in order"), written apart from it on purpose: fsck_map compares what
 * the two make of the volume.
 *
 * The tip is the highest epoch that begins with an opening record. Its parents,
 * down to one without, are the lineage. In an epoch below the tip the child's
 * opening record says where it ended, and a seal must stand behind that; in the tip
 * the first absent slot is the end, unless anything knew it acknowledged.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fsck.h"

#define WRITER_SILENT_S 45
#define CLAIMS_MAX 10000000u
#define MISSING_SHOWN 10u

/* ----------------------------------------------------------------- claims */

static int check_claim(struct fsck *k, size_t i)
{
	char key[OBJECT_KEY_MAX];
	struct store_req r;
	struct claim c;
	bool present;
	int rc;

	object_key_claim(i + 1, key);
	if (!fsck_find(k, key))
		return 0; /* reported by read_claims */
	rc = fsck_read(k, key, 0, &r, &present);
	if (!rc && !present)
		fsck_report(k, FSCK_ERROR, key, "was listed, but is not there");
	else if (!rc) {
		int bad = claim_decode(r.data, r.data_len, &c);

		if (bad)
			fsck_report(k, FSCK_ERROR, key, "the claim does not decode: %s", err_text(bad));
		else if (c.epoch != i + 1 || memcmp(c.volume_uuid, k->sb.volume_uuid, ID_BYTES))
			fsck_report(k, FSCK_ERROR, key, "the claim belongs to another epoch or volume");
		else
			k->claims[i] = c;
	}
	store_req_reset(&r);
	return rc;
}

static int read_claims(struct fsck *k)
{
	char key[OBJECT_KEY_MAX];
	unsigned missing = 0;

	if (k->claim_count > CLAIMS_MAX) {
		fsck_report(k, FSCK_ERROR, "epochs/", "claims run to epoch %" PRIu64 ", more than ever can be", k->claim_count);
		k->claim_count = 0;
	}
	k->claims = calloc(k->claim_count + 1, sizeof(*k->claims));
	if (!k->claims)
		return -ENOMEM;
	for (uint64_t e = 1; e <= k->claim_count; e++) {
		object_key_claim(e, key);
		if (!fsck_find(k, key) && missing++ < MISSING_SHOWN)
			fsck_report(k, FSCK_ERROR, key, "this claim is missing, though later epochs are claimed");
	}
	return fsck_parallel(k, "reading claims", k->claim_count, check_claim);
}

static const struct claim *claim_of(const struct fsck *k, uint64_t epoch)
{
	const struct claim *c = epoch && epoch <= k->claim_count ? &k->claims[epoch - 1] : NULL;

	return c && c->epoch == epoch ? c : NULL;
}

/* ---------------------------------------------------------------- footers */

static void check_footer(struct fsck *k, struct fsck_slot *s)
{
	const struct object_footer *f = &s->f;
	const struct claim *c = claim_of(k, f->type == OBJECT_SEAL ? f->sealed_by_epoch : s->epoch);

	if (f->type == OBJECT_SEAL && f->sealed_by_epoch <= s->epoch)
		fsck_report(k, FSCK_ERROR, s->o->key, "a seal by epoch %" PRIu64 ", which is not above it", f->sealed_by_epoch);
	if (!c)
		fsck_report(k, FSCK_ERROR, s->o->key, "written under epoch %" PRIu64 ", which nobody claimed (or its claim is unreadable)",
			    f->type == OBJECT_SEAL ? f->sealed_by_epoch : s->epoch);
	else if (memcmp(c->claim_id, f->claim_id, ID_BYTES))
		fsck_report(k, FSCK_ERROR, s->o->key, "written by somebody else than the one who claimed epoch %" PRIu64, c->epoch);
	if ((f->type == OBJECT_OPEN && s->slot != 0) || (f->type == OBJECT_CUT && s->slot == 0))
		fsck_report(k, FSCK_ERROR, s->o->key, "an object of this type cannot be in this slot");
}

static int read_footer(struct fsck *k, size_t i)
{
	struct fsck_slot *s = &k->slots[i];
	struct store_req r;
	bool present;
	int rc = fsck_read(k, s->o->key, OBJECT_FOOTER_BYTES, &r, &present);

	if (!rc && !present) {
		fsck_report(k, FSCK_ERROR, s->o->key, "was listed, but is not there");
	} else if (!rc) {
		int bad = object_decode_footer(r.data, r.data_len, r.object_size, &s->f);

		if (bad)
			fsck_report(k, FSCK_ERROR, s->o->key, "the footer does not check (%s): the object is truncated or overwritten",
				    err_text(bad));
		else if (s->f.epoch != s->epoch || s->f.slot != s->slot)
			fsck_report(k, FSCK_ERROR, s->o->key, "holds epoch %" PRIu64 " slot %" PRIu64 ": a copy under a wrong name", s->f.epoch, s->f.slot);
		else if (memcmp(s->f.volume_uuid, k->sb.volume_uuid, ID_BYTES))
			fsck_report(k, FSCK_ERROR, s->o->key, "belongs to another volume");
		else
			s->readable = true;
		if (s->readable)
			check_footer(k, s);
	}
	store_req_reset(&r);
	return rc;
}

/* ---------------------------------------------------------------- lineage */

/* An absent slot, asked for by name: a listing taken beside a writer may have passed its place too early. */
static int really_absent(struct fsck *k, const char *key, bool *ret)
{
	struct store_req r;
	bool present;
	int rc = fsck_read(k, key, OBJECT_FOOTER_BYTES, &r, &present);

	store_req_reset(&r);
	*ret = !present;
	return rc;
}

static void check_link(struct fsck *k, const struct fsck_slot *before, const struct fsck_slot *s)
{
	const struct object_footer *f = &s->f, *b = &before->f;

	if (memcmp(f->prev_hash, b->own_hash, HASH_BYTES))
		fsck_report(k, FSCK_ERROR, s->o->key, "its chain hash is not that of %s: one of the two was replaced", before->o->key);
	if (f->first_lsn != b->last_lsn + 1)
		fsck_report(k, FSCK_ERROR, s->o->key, "begins at LSN %" PRIu64 ", but %s ends at %" PRIu64, f->first_lsn, before->o->key, b->last_lsn);
	if (f->type == OBJECT_CUT && f->commit_real_ns <= b->commit_real_ns)
		fsck_report(k, FSCK_ERROR, s->o->key, "its commit time is not after that of %s", before->o->key);
}

/* What this object knew acknowledged must be part of the volume. */
static void check_acked(struct fsck *k, const struct fsck_slot *s)
{
	char key[OBJECT_KEY_MAX];
	const struct fsck_slot *a;

	if (!s->f.acked_epoch)
		return;
	a = fsck_find_slot(k, s->f.acked_epoch, s->f.acked_slot);
	if (a && a->lineage)
		return;
	object_key_slot(s->f.acked_epoch, s->f.acked_slot, key);
	fsck_report(k, FSCK_ERROR, key, "acknowledged according to %s, but %s", s->o->key,
		    a ? "not part of the volume's history" : "missing: restore it from a version or a copy of the bucket");
}

/* Marks slots 0..last of an epoch (last UINT64_MAX: as far as they go); *ret_last is the newest marked, NULL where slot 0 is no good. */
static int mark_epoch(struct fsck *k, uint64_t epoch, uint64_t last, struct fsck_slot **ret_last)
{
	struct fsck_slot *before = NULL;

	*ret_last = NULL;
	for (uint64_t n = 0; n <= last; n++) {
		struct fsck_slot *s = fsck_find_slot(k, epoch, n);
		char key[OBJECT_KEY_MAX];

		if (!s && last == UINT64_MAX)
			break;
		object_key_slot(epoch, n, key);
		if (!s) {
			fsck_report(k, FSCK_ERROR, key, "missing, though a later epoch was opened on what follows it: the log has a hole");
			return 0;
		}
		if (!s->readable)
			return 0; /* reported; what follows cannot be judged */
		if (s->f.type == OBJECT_SEAL) {
			s->seal_of_lineage = true;
			if (last == UINT64_MAX)
				break;
			fsck_report(k, FSCK_ERROR, key, "a seal inside an epoch that a later one says goes on to slot %" PRIu64, last);
			return 0;
		}
		if (before)
			check_link(k, before, s);
		s->lineage = true;
		before = *ret_last = s;
	}
	return 0;
}

/* The seal behind the last slot of a closed epoch. */
static void check_seal(struct fsck *k, const struct fsck_slot *last)
{
	struct fsck_slot *s = fsck_find_slot(k, last->epoch, last->slot + 1);
	char key[OBJECT_KEY_MAX];

	object_key_slot(last->epoch, last->slot + 1, key);
	if (!s)
		fsck_report(k, FSCK_ERROR, key, "the seal of a closed epoch is missing: its old writer could go on");
	else if (s->readable && s->f.type != OBJECT_SEAL)
		fsck_report(k, FSCK_ERROR, key, "the epoch was closed before this slot, but no seal stands here");
	else if (s->readable)
		s->seal_of_lineage = true;
}

/* Did the writer of this epoch say that it had this slot acknowledged? */
static bool heartbeat_knows(const struct fsck *k, uint64_t epoch, uint64_t slot)
{
	const struct claim *c = claim_of(k, epoch);

	return k->has_heartbeat && k->heartbeat.epoch == epoch && k->heartbeat.slot >= slot && c &&
	       memcmp(c->claim_id, k->heartbeat.claim_id, ID_BYTES) == 0;
}

static int check_gap(struct fsck *k, uint64_t gap)
{
	char key[OBJECT_KEY_MAX], knows[OBJECT_KEY_MAX] = "";
	bool absent = true;
	int rc = 0;

	object_key_slot(k->tip_epoch, gap, key);
	for (size_t i = 0; i < k->slot_count && !knows[0]; i++) {
		const struct fsck_slot *s = &k->slots[i];

		if (s->readable && s->epoch == k->tip_epoch && s->slot > gap &&
		    (s->f.type == OBJECT_SEAL || (s->f.acked_epoch == k->tip_epoch && s->f.acked_slot >= gap)))
			strcpy(knows, s->o->key);
	}
	for (size_t i = 0; i < k->manifest_count && !knows[0]; i++)
		if (k->manifests[i].epoch == k->tip_epoch && k->manifests[i].slot >= gap)
			strcpy(knows, k->manifests[i].o->key);
	if (!knows[0] && heartbeat_knows(k, k->tip_epoch, gap))
		strcpy(knows, "heartbeat");
	if (!knows[0])
		return 0;
	rc = really_absent(k, key, &absent);
	if (!rc && absent)
		fsck_report(k, FSCK_ERROR, key, "missing, though %s knew it acknowledged: the log has a hole. Restore it from a version or a copy "
			    "of the bucket; nothing mounts until then", knows);
	return rc;
}

static int walk_lineage(struct fsck *k)
{
	struct fsck_slot *child = NULL, *last;
	uint64_t epoch = k->tip_epoch, end = UINT64_MAX;
	int rc = 0;

	while (!rc) {
		struct fsck_slot *open = fsck_find_slot(k, epoch, 0);

		rc = mark_epoch(k, epoch, end, &last);
		if (rc || !last)
			break;
		if (end == UINT64_MAX) {
			k->tip_slot = last->slot;
			k->tip_lsn = last->f.last_lsn;
			rc = check_gap(k, last->slot + 1);
		} else if (last->slot == end) {
			check_link(k, last, child);
			check_seal(k, last);
		}
		if (!open->f.has_parent)
			break;
		if (open->f.parent_epoch >= epoch) {
			fsck_report(k, FSCK_ERROR, open->o->key, "names a parent that is not below it");
			break;
		}
		child = open;
		epoch = open->f.parent_epoch;
		end = open->f.parent_slot;
	}
	return rc;
}

/* What is under log/ and in no lineage. */
static void check_rest(struct fsck *k)
{
	uint64_t abandoned = 0, bytes = 0;

	for (size_t i = 0; i < k->slot_count; i++) {
		const struct fsck_slot *s = &k->slots[i];

		if (s->lineage) {
			check_acked(k, s);
			continue;
		}
		if (!s->readable || s->f.type == OBJECT_SEAL)
			continue;
		if (s->f.type == OBJECT_OPEN && s->epoch != k->tip_epoch && s->epoch < k->tip_epoch)
			fsck_report(k, FSCK_ERROR, s->o->key, "this epoch was opened, but no later one goes on from it");
		abandoned++;
		bytes += s->o->size_bytes;
	}
	if (abandoned) {
		char text[CMD_TEXT];

		fsck_report(k, FSCK_NOTE, "log/", "%" PRIu64 " objects (%s) were sent after a seal or behind a gap, never acknowledged: not part of "
			    "the volume, harmless", abandoned, cmd_bytes(bytes, text));
	}
}

/* ------------------------------------------------------------- heartbeat */

static int read_heartbeat(struct fsck *k)
{
	struct store_req r;
	bool present;
	int rc = fsck_read(k, "heartbeat", 0, &r, &present);

	k->store_time_s = r.server_time_s;
	k->sign_of_life_s = present ? r.mtime_s : 0;
	if (!rc && present) {
		int bad = heartbeat_decode(r.data, r.data_len, &k->heartbeat);

		if (bad)
			fsck_report(k, FSCK_ERROR, "heartbeat", "does not decode: %s", err_text(bad));
		else if (memcmp(k->heartbeat.volume_uuid, k->sb.volume_uuid, ID_BYTES))
			fsck_report(k, FSCK_ERROR, "heartbeat", "belongs to another volume");
		else
			k->has_heartbeat = true;
	}
	store_req_reset(&r);
	return rc;
}

static void check_heartbeat(struct fsck *k)
{
	const struct heartbeat *h = &k->heartbeat;
	bool released = k->has_heartbeat && h->state == HEARTBEAT_RELEASED && h->epoch >= k->claim_count;
	const struct fsck_slot *s = k->has_heartbeat ? fsck_find_slot(k, h->epoch, h->slot) : NULL;

	for (size_t i = 0; i < k->slot_count; i++)
		if (k->slots[i].epoch >= k->claim_count && k->slots[i].o->mtime_s > k->sign_of_life_s)
			k->sign_of_life_s = k->slots[i].o->mtime_s;
	k->live = k->claim_count && !released && (!k->store_time_s || k->store_time_s - k->sign_of_life_s < WRITER_SILENT_S);
	if (k->has_heartbeat && heartbeat_knows(k, h->epoch, h->slot) && !k->live && !(s && s->lineage))
		fsck_report(k, FSCK_ERROR, "heartbeat", "says that epoch %" PRIu64 " slot %" PRIu64 " was acknowledged, which is %s", h->epoch, h->slot,
			    s ? "not part of the volume's history" : "missing");
}

int fsck_chain(struct fsck *k)
{
	int rc = read_claims(k);

	if (!rc)
		rc = read_heartbeat(k);
	if (!rc)
		rc = fsck_parallel(k, "reading the log's footers", k->slot_count, read_footer);
	if (rc)
		return rc;
	for (size_t i = 0; i < k->slot_count; i++) {
		const struct fsck_slot *s = &k->slots[i];

		if (s->slot == 0 && s->readable && s->f.type == OBJECT_OPEN && s->epoch > k->tip_epoch) {
			k->has_tip = true;
			k->tip_epoch = s->epoch;
		}
	}
	if (k->has_tip)
		rc = walk_lineage(k);
	else if (k->slot_count)
		fsck_report(k, FSCK_ERROR, "log/", "holds objects, but no epoch begins with an opening record");
	if (!rc) {
		check_rest(k);
		check_heartbeat(k);
	}
	return rc;
}
