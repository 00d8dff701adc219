/*
 * object_dump.c - any object of a volume, printed for a person or as JSON.
 *
 * An object is checked whole before a line of it is printed. What it says of itself becomes one small JSON tree,
 * printed either way by object_print.c; the entries of its run, of which there can be hundreds of thousands, are
 * printed one by one. Names that are not plain UTF-8 text come as hexadecimal: nothing from an object reaches a
 * terminal as a control character.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "object_print.h"
#include "run.h"

typedef int dump_fn(const char *key, const void *p, size_t len, struct printer *pr);

/* --- small objects --- */

static int dump_superblock(const char *key, const void *p, size_t len, struct printer *pr)
{
	struct superblock s;
	json_object *o;
	int rc = superblock_decode(p, len, &s);

	(void)key;
	if (rc)
		return rc;
	o = object_print_top(pr, "superblock");
	object_print_hex(pr, o, "volume", s.volume_uuid, ID_BYTES);
	object_print_time(pr, o, "created", s.created_real_ns);
	object_print_u64(pr, o, "compress", s.compress);
	object_print_bool(pr, o, "unsafe_no_fencing", s.unsafe_no_fencing);
	object_print_u64(pr, o, "root_uid", s.root_uid);
	object_print_u64(pr, o, "root_gid", s.root_gid);
	object_print_u64(pr, o, "root_mode", s.root_mode);
	return object_print_end(pr);
}

static int dump_claim(const char *key, const void *p, size_t len, struct printer *pr)
{
	struct claim c;
	json_object *o;
	uint64_t epoch;
	int rc = claim_decode(p, len, &c);

	if (rc)
		return rc;
	if (object_parse_claim_key(key, &epoch) && epoch != c.epoch)
		return err_set(ERR_CORRUPT, "%s holds the claim of epoch %" PRIu64, key, c.epoch);
	o = object_print_top(pr, "claim");
	object_print_hex(pr, o, "volume", c.volume_uuid, ID_BYTES);
	object_print_u64(pr, o, "epoch", c.epoch);
	object_print_text(pr, o, "node", c.node, strlen(c.node));
	object_print_time(pr, o, "time", c.real_ns);
	object_print_hex(pr, o, "claim", c.claim_id, ID_BYTES);
	object_print_hex(pr, o, "log", c.log_uuid, ID_BYTES);
	object_print_hex(pr, o, "machine", c.machine_id, ID_BYTES);
	return object_print_end(pr);
}

static int dump_heartbeat(const char *key, const void *p, size_t len, struct printer *pr)
{
	struct heartbeat h;
	json_object *o;
	int rc = heartbeat_decode(p, len, &h);

	(void)key;
	if (rc)
		return rc;
	o = object_print_top(pr, "heartbeat");
	object_print_hex(pr, o, "volume", h.volume_uuid, ID_BYTES);
	object_print_str(pr, o, "state", h.state == HEARTBEAT_ALIVE ? "alive" : "released");
	object_print_text(pr, o, "node", h.node, strlen(h.node));
	object_print_time(pr, o, "time", h.real_ns);
	object_print_u64(pr, o, "epoch", h.epoch);
	object_print_u64(pr, o, "slot", h.slot);
	object_print_u64(pr, o, "lsn", h.lsn);
	object_print_hex(pr, o, "claim", h.claim_id, ID_BYTES);
	return object_print_end(pr);
}

/* --- manifests --- */

static void manifest_parts(struct printer *pr, const struct manifest *m, json_object *list)
{
	for (uint32_t i = 0; i < m->run_count; i++) {
		for (uint32_t k = 0; k < m->runs[i].part_count; k++) {
			const struct manifest_part *part = &m->runs[i].parts[k];
			json_object *o = object_print_item(pr, list);

			object_print_u64(pr, o, "run", i);
			object_print_hex(pr, o, "part", part->id, ID_BYTES);
			object_print_u64(pr, o, "bytes", part->bytes);
			object_print_u64(pr, o, "keys", part->count);
			object_print_hex(pr, o, "hash", part->hash, HASH_BYTES);
		}
	}
}

static int dump_manifest(const char *key, const void *p, size_t len, struct printer *pr)
{
	struct manifest m;
	json_object *o;
	uint64_t epoch, slot;
	int rc = manifest_decode(p, len, &m);

	if (rc)
		return rc;
	if (object_parse_manifest_key(key, &epoch, &slot) && (epoch != m.epoch || slot != m.slot)) {
		rc = err_set(ERR_CORRUPT, "%s holds the manifest of epoch %" PRIu64 ", slot %" PRIu64, key, m.epoch, m.slot);
		manifest_free(&m);
		return rc;
	}
	o = object_print_top(pr, "manifest");
	object_print_hex(pr, o, "volume", m.volume_uuid, ID_BYTES);
	object_print_u64(pr, o, "epoch", m.epoch);
	object_print_u64(pr, o, "slot", m.slot);
	object_print_u64(pr, o, "lsn", m.lsn);
	object_print_time(pr, o, "commit", m.commit_real_ns);
	object_print_u64(pr, o, "next_ino", m.next_ino);
	object_print_hex(pr, o, "slot_hash", m.slot_hash, HASH_BYTES);
	object_print_u64(pr, o, "runs", m.run_count);
	manifest_parts(pr, &m, object_print_list(pr, o, "parts"));
	manifest_free(&m);
	return object_print_end(pr);
}

/* --- runs --- */

static int dump_entries(struct printer *pr, const void *part, size_t len)
{
	struct run_reader *r;
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc = run_reader_new(part, len, &r);

	if (rc)
		return rc;
	while ((rc = run_reader_next(r, &key, &klen, &val, &vlen)) > 0) {
		rc = object_print_change(pr, key, klen, val, vlen);
		if (rc)
			break;
	}
	run_reader_free(r);
	return rc;
}

static int dump_run(const char *key, const void *p, size_t len, struct printer *pr)
{
	struct run_reader *r;
	json_object *o;
	int rc = run_reader_new(p, len, &r);

	(void)key;
	if (rc)
		return rc;
	run_reader_free(r);
	o = object_print_top(pr, "run");
	object_print_u64(pr, o, "bytes", len);
	rc = object_print_changes_begin(pr);
	if (!rc)
		rc = dump_entries(pr, p, len);
	return rc ? rc : object_print_end(pr);
}

/* --- the log --- */

static void dump_common(struct printer *pr, json_object *o, const struct object_footer *f, size_t len)
{
	object_print_hex(pr, o, "volume", f->volume_uuid, ID_BYTES);
	object_print_u64(pr, o, "epoch", f->epoch);
	object_print_u64(pr, o, "slot", f->slot);
	object_print_u64(pr, o, "bytes", len);
	object_print_hex(pr, o, "put", f->put_id, ID_BYTES);
	object_print_hex(pr, o, "claim", f->claim_id, ID_BYTES);
	object_print_hex(pr, o, "previous_hash", f->prev_hash, HASH_BYTES);
	object_print_hex(pr, o, "hash", f->own_hash, HASH_BYTES);
	object_print_u64(pr, o, "first_lsn", f->first_lsn);
	object_print_u64(pr, o, "last_lsn", f->last_lsn);
	object_print_u64(pr, o, "acked_epoch", f->acked_epoch);
	object_print_u64(pr, o, "acked_slot", f->acked_slot);
	object_print_time(pr, o, "commit", f->commit_real_ns);
	object_print_u64(pr, o, "next_ino", f->next_ino);
}

static void dump_open(struct printer *pr, json_object *o, const struct object_footer *f)
{
	object_print_bool(pr, o, "has_parent", f->has_parent);
	if (f->has_parent) {
		object_print_u64(pr, o, "parent_epoch", f->parent_epoch);
		object_print_u64(pr, o, "parent_slot", f->parent_slot);
	}
	object_print_hex(pr, o, "log", f->log_uuid, ID_BYTES);
	object_print_str(pr, o, "durability", f->durability ? "store" : "local");
	object_print_u64(pr, o, "fence_lease_ms", f->fence_lease_ms);
}

static void dump_block(struct printer *pr, json_object *list, const struct object_table *t, uint32_t i)
{
	const uint32_t per_block = BLOCK_BYTES / GRANULE_BYTES;
	uint32_t granules = (t->data_len + GRANULE_BYTES - 1) / GRANULE_BYTES, all = 0, live = 0;
	json_object *o = object_print_item(pr, list);

	for (uint32_t g = i * per_block; g < (i + 1) * per_block && g < granules; g++) {
		all++;
		live += t->sums[g] != 0;
	}
	object_print_u64(pr, o, "block", i);
	object_print_u64(pr, o, "offset", t->blocks[i].offset);
	object_print_u64(pr, o, "stored_bytes", t->blocks[i].stored_len);
	object_print_str(pr, o, "codec", t->blocks[i].stored_len == 0 ? "elided" : t->blocks[i].codec ? "zstd" : "raw");
	object_print_u64(pr, o, "granules", all);
	object_print_u64(pr, o, "live_granules", live);
}

static void dump_cut(struct printer *pr, json_object *o, const struct object_footer *f, const struct object_table *t)
{
	json_object *list;

	object_print_bool(pr, o, "snapshot", f->flags & 1);
	object_print_segment(pr, o, "segment", f->segment_id);
	object_print_u64(pr, o, "data_bytes", f->data_len);
	object_print_u64(pr, o, "run_offset", f->run_offset);
	object_print_u64(pr, o, "run_bytes", f->run_len);
	object_print_u64(pr, o, "table_offset", f->table_offset);
	object_print_u64(pr, o, "table_bytes", f->table_len);
	list = object_print_list(pr, o, "blocks");
	for (uint32_t i = 0; i * BLOCK_BYTES < t->data_len; i++)
		dump_block(pr, list, t, i);
}

static int dump_slot(const char *key, const void *p, size_t len, struct printer *pr)
{
	static const char *const names[] = { "", "opening record", "cut", "seal" };
	struct object_footer f;
	struct object_table t;
	json_object *o;
	uint64_t epoch, slot;
	int rc = object_verify(p, len, &f, &t);

	if (rc)
		return rc;
	if (object_parse_slot_key(key, &epoch, &slot) && (epoch != f.epoch || slot != f.slot))
		return err_set(ERR_CORRUPT, "%s holds epoch %" PRIu64 ", slot %" PRIu64, key, f.epoch, f.slot);
	o = object_print_top(pr, names[f.type]);
	dump_common(pr, o, &f, len);
	if (f.type == OBJECT_OPEN)
		dump_open(pr, o, &f);
	if (f.type == OBJECT_SEAL)
		object_print_u64(pr, o, "sealed_by_epoch", f.sealed_by_epoch);
	if (f.type != OBJECT_CUT)
		return object_print_end(pr);
	dump_cut(pr, o, &f, &t);
	rc = object_print_changes_begin(pr);
	if (!rc)
		rc = dump_entries(pr, (const uint8_t *)p + f.run_offset, f.run_len);
	return rc ? rc : object_print_end(pr);
}

/* --- which --- */

static dump_fn *kind_of(const char *key)
{
	uint64_t a, b;

	if (strcmp(key, "volume") == 0)
		return dump_superblock;
	if (strcmp(key, "heartbeat") == 0)
		return dump_heartbeat;
	if (object_parse_claim_key(key, &a))
		return dump_claim;
	if (object_parse_slot_key(key, &a, &b))
		return dump_slot;
	if (object_parse_manifest_key(key, &a, &b))
		return dump_manifest;
	if (strncmp(key, "runs/", 5) == 0 && strlen(key) == 5 + 2 * ID_BYTES)
		return dump_run;
	return NULL;
}

int object_dump(const char *key, const void *p, size_t len, bool json, struct buf *out)
{
	struct printer pr = { .out = out, .json = json };
	dump_fn *dump = kind_of(key);
	size_t start = out->len;
	int rc;

	if (!dump)
		return err_set(-EINVAL, "%s is not the name of a volume's object: volume, heartbeat, epochs/..., log/..., manifests/... or runs/...", key);
	err_clear();
	rc = dump(key, p, len, &pr);
	json_object_put(pr.top);
	if (!rc)
		return 0;
	out->len = start;
	if (*err_last())
		return rc;
	if (rc == ERR_NEWER_FORMAT)
		return err_set(rc, "%s was written by a newer version of this program", key);
	return err_set(rc, "cannot print %s (%zu bytes): %s", key, len, err_text(rc));
}
