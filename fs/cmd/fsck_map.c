/*
 * fsck_map.c - builds the volume's map as a mount would, in a temporary
 * directory, and checks it: the tree itself (meta_check), every segment against its
 * object, and the result against fsck_chain's own reading of the log.
 *
 * With --deep the map is built a second time from the log alone, checkpoints
 * hidden, and the two must be equal: a checkpoint is a shortcut, never another history.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "fsck.h"
#include "recover.h"
#include "value.h"

static int sink_change(void *user CL_UNUSED, const uint8_t *key CL_UNUSED, size_t klen CL_UNUSED, const uint8_t *val CL_UNUSED,
		       size_t vlen CL_UNUSED)
{
	return 0;
}

static void sink_live(void *user CL_UNUSED, uint64_t segment CL_UNUSED, uint32_t logical CL_UNUSED, uint32_t len CL_UNUSED, int sign CL_UNUSED)
{
}

/* ---------------------------------------------------------- the directory */

static int temp_dir(char *ret, size_t size)
{
	const char *base = getenv("TMPDIR");

	snprintf(ret, size, "%s/fsck.clonefs.XXXXXX", base && base[0] == '/' ? base : "/var/tmp");
	if (!mkdtemp(ret))
		return err_set(-errno, "making a directory for the map, %s: %s; set TMPDIR to one with space", ret, strerror(errno));
	return 0;
}

static void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(dir);
}

/* The files are open and mapped: they vanish with the process, whatever ends it, when their names go now. */
static int open_map(struct meta **ret)
{
	struct meta_sink sink = { sink_change, sink_live, NULL };
	char dir[512];
	int rc = temp_dir(dir, sizeof(dir));

	if (rc)
		return rc;
	rc = meta_open(dir, 0, &sink, ret);
	remove_dir(dir);
	if (rc && !err_last()[0])
		return err_set(rc, "the map in %s: %s", dir, err_text(rc));
	return rc;
}

/* --------------------------------------------------------------- building */

/* A store without its checkpoints: listings under manifests/ are empty. */
struct hiding {
	struct store s;
	struct store *below;
};

static void hiding_submit(struct store *s, struct store_req *r)
{
	struct hiding *h = CL_CONTAINER_OF(s, struct hiding, s);

	if (r->op == STORE_LIST && strncmp(r->key, "manifests/", 10) == 0) {
		r->result = 0;
		r->entries = NULL;
		r->entry_count = 0;
		r->truncated = false;
		r->done(r);
		return;
	}
	h->below->submit(h->below, r);
}

static void hiding_wait(struct store *s, struct store_req *r)
{
	struct hiding *h = CL_CONTAINER_OF(s, struct hiding, s);

	h->below->wait(h->below, r);
}

static void hiding_counters(struct store *s, struct store_counters *ret)
{
	struct hiding *h = CL_CONTAINER_OF(s, struct hiding, s);

	h->below->counters(h->below, ret);
}

static bool is_finding(int rc)
{
	return rc == ERR_DAMAGED || rc == ERR_CORRUPT;
}

/* 0 with *ret NULL where the volume cannot be recovered: that is a finding, not a failure of the check. */
static int build(struct fsck *k, struct store *s, struct meta **ret, struct recovered *ret_r)
{
	struct survey sv;
	struct meta *m;
	int rc = open_map(&m);

	*ret = NULL;
	memset(ret_r, 0, sizeof(*ret_r));
	if (rc)
		return rc;
	rc = recover_survey(s, &sv);
	if (!rc)
		rc = recover_replay(s, &sv, m, NULL, ret_r);
	if (ret_r->has_manifest)
		manifest_free(&ret_r->manifest);
	if (!rc) {
		*ret = m;
		return 0;
	}
	meta_close(m);
	if (!is_finding(rc))
		return rc;
	fsck_report(k, FSCK_ERROR, "", "a mount would refuse this volume: %s", err_last());
	return 0;
}

/* ------------------------------------------------------------- comparison */

static void compare_readings(struct fsck *k, const struct recovered *r)
{
	bool later = r->tip_epoch > k->tip_epoch || (r->tip_epoch == k->tip_epoch && r->tip_slot >= k->tip_slot);

	if (k->live && later)
		return; /* the writer went on while we read */
	if (r->has_tip != k->has_tip || (r->has_tip && (r->tip_epoch != k->tip_epoch || r->tip_slot != k->tip_slot || r->lsn != k->tip_lsn)))
		fsck_report(k, FSCK_ERROR, "", "a mount recovers to epoch %" PRIu64 " slot %" PRIu64 " LSN %" PRIu64 ", but the log's chain ends at epoch %"
			    PRIu64 " slot %" PRIu64 " LSN %" PRIu64, r->tip_epoch, r->tip_slot, r->lsn, k->tip_epoch, k->tip_slot, k->tip_lsn);
}

struct sums { uint64_t by_table[256], count[256]; };

static int add_sum(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct sums *s = user;

	/* Chained, so that order counts too. */
	s->by_table[key[0]] = hash_xxh3(val, vlen, hash_xxh3(key, klen, s->by_table[key[0]]));
	s->count[key[0]]++;
	return 0;
}

static int compare_histories(struct fsck *k, struct meta *with)
{
	struct hiding h = { .s = { .kind = "hiding", .address = k->store->address, .submit = hiding_submit, .wait = hiding_wait,
				   .counters = hiding_counters }, .below = k->store };
	const struct fsck_slot *first = k->slot_count ? &k->slots[0] : NULL;
	struct recovered r;
	struct meta *without;
	struct sums a = { 0 }, b = { 0 };
	int rc;

	if (!first || k->live || !first->lineage || first->slot != 0 || first->f.has_parent)
		return 0; /* a live log moves on; a collected one has no beginning any more */
	rc = build(k, &h.s, &without, &r);
	if (rc || !without)
		return rc;
	rc = meta_walk(with, 0, add_sum, &a);
	if (!rc)
		rc = meta_walk(without, 0, add_sum, &b);
	for (unsigned t = 0; !rc && t < 256; t++)
		if (a.by_table[t] != b.by_table[t] || a.count[t] != b.count[t])
			fsck_report(k, FSCK_ERROR, "manifests/", "the newest checkpoint and the log behind it give another map than the whole log: "
				    "table %c has %" PRIu64 " and %" PRIu64 " keys", (int)t, a.count[t], b.count[t]);
	meta_close(without);
	return rc;
}

/* --------------------------------------------------------------- segments */

static int check_segment(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct fsck *k = user;
	struct value_key vk;
	struct segment_ref ref;
	const struct fsck_slot *s;
	char at[OBJECT_KEY_MAX];

	if (value_key_parse(key, klen, &vk) || value_segment_decode(vk.a, val, vlen, &ref)) {
		fsck_report(k, FSCK_ERROR, "", "a segment's entry in the map does not decode");
		return 0;
	}
	k->segments++;
	object_key_slot(ref.epoch, ref.slot, at);
	s = fsck_find_slot(k, ref.epoch, ref.slot);
	if (!s && k->live)
		return 0; /* newer than our listing */
	if (!s)
		fsck_report(k, FSCK_ERROR, at, "missing: files refer to the data of this object");
	else if (s->o->size_bytes != ref.object_bytes)
		fsck_report(k, FSCK_ERROR, at, "is %" PRIu64 " bytes long and should be %" PRIu64, s->o->size_bytes, ref.object_bytes);
	else if (s->readable && (!s->lineage || s->f.segment_id != ref.id || s->f.data_len != ref.data_len || s->f.table_offset != ref.table_offset ||
				 s->f.table_len != ref.table_len || memcmp(s->f.table_hash, ref.table_hash, HASH_BYTES)))
		fsck_report(k, FSCK_ERROR, at, "the map's entry for its segment does not match its footer");
	return 0;
}

static void report_line(void *user, const char *line)
{
	fsck_report(user, FSCK_ERROR, "", "%s", line);
}

int fsck_map(struct fsck *k, struct meta **ret)
{
	struct recovered r;
	int rc;

	progress_begin(&k->bar, "building the map", 0);
	rc = build(k, k->store, ret, &r);
	progress_end(&k->bar);
	if (rc || !*ret)
		return rc;
	compare_readings(k, &r);
	progress_begin(&k->bar, "checking the tree", 0);
	rc = meta_check(*ret, report_line, k);
	if (rc >= 0)
		rc = meta_walk(*ret, VALUE_SEGMENT, check_segment, k);
	progress_end(&k->bar);
	k->inodes = meta_inode_count(*ret);
	k->data_bytes = meta_live_bytes(*ret);
	if (!rc && k->deep) {
		progress_begin(&k->bar, "comparing with the whole log", 0);
		rc = compare_histories(k, *ret);
		progress_end(&k->bar);
	}
	return rc && !err_last()[0] ? err_set(rc, "walking the map: %s", err_text(rc)) : rc;
}
