/*
 * recover_replay.c - from checkpoint and log to a map.
 *
 * The lineage is walked down from the tip through the parents that opening records name, until a manifest is found (or the
 * beginning). Then the log is replayed upwards; each object must continue the LSNs and carry the hash of the one before.
 *
 * In the tip a missing slot is the end of the log, unless something later proves that it was acknowledged: then it is damage,
 * and that is decided before anything is sealed. In an older epoch the child's opening record says how far it goes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "recover_impl.h"
#include "run_parts.h"
#include "value.h"

#define WINDOW 16
#define TAIL_BYTES 65536u

struct link {                     /* one epoch of the lineage */
	uint64_t epoch, last_slot; /* last_slot UINT64_MAX: the tip, not known yet */
	struct object_footer open;
};

struct replay {
	struct store *s;
	const struct survey *sv;
	const struct sealer *sealer;
	struct meta *meta;
	struct kvmap *since;
	struct recovered r;
	struct link *links;        /* tip first */
	size_t link_count;
	uint64_t from_slot;        /* first slot to replay in the oldest link */
	uint64_t manifest_above;   /* newest slot of the tip that a manifest names, 0 = none */
};

static int damaged(struct replay *p, uint64_t epoch, uint64_t slot, const char *why)
{
	char key[OBJECT_KEY_MAX];

	object_key_slot(epoch, slot, key);
	return err_set(ERR_DAMAGED, "%s/%s is missing, but %s: the log has a hole. Nothing was changed; restore that object "
		       "from a version of it or a copy of the store; fsck.clonefs names all that is missing", p->s->address, key, why);
}

static int corrupt(struct replay *p, const char *key, const char *why)
{
	return err_set(ERR_CORRUPT, "%s/%s: %s; nothing was changed. Restore that object from a version of it or a copy of the store; fsck.clonefs names all that "
		       "is damaged", p->s->address, key, why);
}

/* --- the lineage and its newest checkpoint --- */

struct manifest_list { uint64_t epoch, max_slot, *slots; size_t count; int err; };

static int note_manifest(void *user, const struct store_entry *e)
{
	struct manifest_list *l = user;
	uint64_t epoch, slot, *more;

	if (!object_parse_manifest_key(e->key, &epoch, &slot) || epoch != l->epoch || slot > l->max_slot)
		return 0;
	more = realloc(l->slots, (l->count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	l->slots = more;
	l->slots[l->count++] = slot;
	return 0;
}

static int load_manifest(struct replay *p, uint64_t epoch, uint64_t slot, struct manifest *ret)
{
	char key[OBJECT_KEY_MAX];
	struct store_req req;
	int rc;

	object_key_manifest(epoch, slot, key);
	rc = recover_get(p->s, key, 0, &req);
	if (!rc) {
		rc = manifest_decode(req.data, req.data_len, ret);
		if (!rc && (ret->epoch != epoch || ret->slot != slot || memcmp(ret->volume_uuid, p->sv->sb.volume_uuid, ID_BYTES))) {
			manifest_free(ret);
			rc = ERR_CORRUPT;
		}
		if (rc == ERR_CORRUPT)
			logmsg(LOGMSG_WARNING, "%s/%s: the checkpoint is damaged; using an older one", p->s->address, key);
	}
	store_req_reset(&req);
	return rc;
}

/* The newest usable manifest of one epoch: 1 found, 0 none, or an error. */
static int find_manifest(struct replay *p, const struct link *l)
{
	struct manifest_list list = { .epoch = l->epoch, .max_slot = l->last_slot };
	char prefix[OBJECT_KEY_MAX];
	int rc, found = 0;

	object_key_manifest(l->epoch, 0, prefix);
	prefix[strlen(prefix) - 12] = '\0';
	rc = store_list_all(p->s, prefix, NULL, note_manifest, &list);
	if (rc) {
		free(list.slots);
		return err_set(rc, "%s/%s cannot be listed: %s", p->s->address, prefix, err_text(rc));
	}
	if (list.count && l->epoch == p->links[0].epoch)
		p->manifest_above = list.slots[list.count - 1];
	while (!found && list.count > 0) {
		rc = load_manifest(p, l->epoch, list.slots[--list.count], &p->r.manifest);
		if (rc == 0)
			found = 1;
		else if (rc != ERR_CORRUPT && rc != -ENOENT)
			break;
	}
	free(list.slots);
	return found ? 1 : rc == ERR_CORRUPT || rc == -ENOENT ? 0 : rc;
}

static int push_link(struct replay *p, uint64_t epoch, uint64_t last_slot, const struct object_footer *open)
{
	struct link *more = realloc(p->links, (p->link_count + 1) * sizeof *more);

	if (!more)
		return -ENOMEM;
	p->links = more;
	more[p->link_count++] = (struct link){ .epoch = epoch, .last_slot = last_slot, .open = *open };
	return 0;
}

static int walk_lineage(struct replay *p)
{
	int rc = push_link(p, p->r.tip_epoch, UINT64_MAX, &p->r.tip_open);

	while (!rc) {
		struct link l = p->links[p->link_count - 1];
		struct object_footer open;

		rc = find_manifest(p, &l);
		if (rc < 0)
			return rc;
		if (rc) {
			p->r.has_manifest = true;
			p->from_slot = p->r.manifest.slot + 1;
			return 0;
		}
		if (!l.open.has_parent) {
			p->from_slot = 1;
			return 0;
		}
		rc = recover_footer(p->s, &p->sv->sb, l.open.parent_epoch, 0, &open, NULL, NULL);
		if (rc == -ENOENT)
			return damaged(p, l.open.parent_epoch, 0, "a later opening record names it as its parent");
		if (!rc && open.type != OBJECT_OPEN)
			return err_set(ERR_CORRUPT, "%s: epoch %" PRIu64 " does not begin with an opening record", p->s->address,
				       l.open.parent_epoch);
		if (!rc)
			rc = push_link(p, l.open.parent_epoch, l.open.parent_slot, &open);
	}
	return rc;
}

/* --- the checkpoint --- */

static int genesis(struct replay *p)
{
	struct inode root;
	uint8_t key[VALUE_KEY_PREFIX_BYTES], *val = malloc(VALUE_INODE_MAX);
	uint64_t ns = p->sv->sb.created_real_ns;
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
	size_t vlen, klen = value_key_inode(VOLUME_ROOT_INO, key);
	int rc;

	if (!val)
		return -ENOMEM;
	memset(&root, 0, sizeof root);
	root.a = (struct volume_attr){ .ino = VOLUME_ROOT_INO, .mode = 0040000 | (p->sv->sb.root_mode ? p->sv->sb.root_mode : 0755), .nlink = 2,
				       .uid = p->sv->sb.root_uid, .gid = p->sv->sb.root_gid, .atime = t, .mtime = t, .ctime = t, .btime = t };
	root.parent = VOLUME_ROOT_INO;
	rc = value_inode_encode(&root, val, &vlen);
	if (!rc)
		rc = meta_apply(p->meta, key, klen, val, vlen);
	if (!rc && p->since)
		rc = kvmap_set(p->since, key, klen, val, vlen);
	free(val);
	p->r.next_ino = VOLUME_ROOT_INO + 1;
	return rc;
}

static int load_checkpoint(struct replay *p)
{
	const struct manifest *m = &p->r.manifest;
	struct run_source *sources = calloc(m->run_count ? m->run_count : 1, sizeof *sources);
	struct run_merge *merge = NULL;
	const uint8_t *key, *val;
	size_t klen, vlen;
	uint32_t i;
	int rc = sources ? 0 : -ENOMEM;

	for (i = 0; !rc && i < m->run_count; i++) {
		struct part_source *src;

		rc = part_source_new(p->s, &m->runs[i], &src);
		if (!rc)
			sources[i] = (struct run_source){ .next = part_source_next, .user = src };
	}
	if (!rc)
		rc = run_merge_new(sources, m->run_count, true, &merge);
	while (!rc && (rc = run_merge_next(merge, &key, &klen, &val, &vlen)) > 0) {
		rc = meta_load(p->meta, key, klen, val, vlen);
		p->r.loaded_keys++;
	}
	if (!rc)
		rc = meta_load_end(p->meta);
	run_merge_free(merge);
	for (i = 0; sources && i < m->run_count; i++)
		part_source_free(sources[i].user);
	free(sources);
	p->r.lsn = m->lsn;
	p->r.next_ino = m->next_ino;
	p->r.commit_real_ns = m->commit_real_ns;
	return rc;
}

/* --- objects --- */

struct slot_entry { uint64_t slot, size; };
struct slot_list { uint64_t epoch; struct slot_entry *e; size_t count; };

static int note_slot(void *user, const struct store_entry *e)
{
	struct slot_list *l = user;
	struct slot_entry *more;
	uint64_t epoch, slot;

	if (!object_parse_slot_key(e->key, &epoch, &slot) || epoch != l->epoch)
		return 0;
	if ((l->count & (l->count - 1)) == 0) { /* grow by doubling */
		more = realloc(l->e, (l->count ? 2 * l->count : 1) * sizeof *more);
		if (!more)
			return -ENOMEM;
		l->e = more;
	}
	l->e[l->count++] = (struct slot_entry){ .slot = slot, .size = e->size_bytes };
	return 0;
}

static int list_slots(struct replay *p, uint64_t epoch, uint64_t after_slot, struct slot_list *ret)
{
	char prefix[OBJECT_KEY_MAX], after[OBJECT_KEY_MAX];
	int rc;

	memset(ret, 0, sizeof *ret);
	ret->epoch = epoch;
	object_key_slot(epoch, after_slot, after);
	object_key_slot(epoch, 0, prefix);
	prefix[strlen(prefix) - 12] = '\0';
	rc = store_list_all(p->s, prefix, after, note_slot, ret);
	if (rc) {
		free(ret->e);
		ret->e = NULL;
		return err_set(rc, "%s/%s cannot be listed: %s", p->s->address, prefix, err_text(rc));
	}
	return 0;
}

/* The run part of a cut: from the tail we have, or fetched. *ret_alloc is to be freed. */
static int get_run(struct replay *p, const char *key, const struct object_footer *f, const uint8_t *tail, size_t tail_len,
		   uint64_t size, const uint8_t **ret, uint8_t **ret_alloc)
{
	uint64_t tail_at = size - tail_len;
	uint8_t hash[HASH_BYTES];
	struct store_req req;
	int rc, tries;

	*ret_alloc = NULL;
	if (f->run_offset >= tail_at) {
		*ret = tail + (f->run_offset - tail_at);
	} else {
		for (tries = 0, rc = ERR_UNAVAILABLE; tries < 4 && rc == ERR_UNAVAILABLE; tries++) {
			store_req_init(&req, STORE_GET);
			req.key = key;
			req.range_offset = f->run_offset;
			req.range_length = f->run_len;
			rc = store_call(p->s, &req);
			if (rc || req.data_len != f->run_len) {
				if (!rc)
					rc = ERR_CORRUPT;
				err_set(rc, "%s/%s: cannot be read: %s", p->s->address, key, req.detail);
				store_req_reset(&req);
			}
		}
		if (rc)
			return rc;
		*ret_alloc = req.data;
		*ret = req.data;
		req.data = NULL;
		store_req_reset(&req);
	}
	hash_blake2b(*ret, f->run_len, hash);
	if (memcmp(hash, f->run_hash, HASH_BYTES)) {
		free(*ret_alloc);
		*ret_alloc = NULL;
		return corrupt(p, key, "its metadata does not match its hash");
	}
	return 0;
}

static int apply_change(struct replay *p, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	int rc = meta_apply(p->meta, key, klen, val, vlen);

	if (!rc && p->since)
		rc = kvmap_set(p->since, key, klen, val, vlen);
	if (!rc)
		rc = meta_step(p->meta);
	return rc;
}

static int apply_segment(struct replay *p, const struct object_footer *f, uint64_t size)
{
	struct segment_ref r = { .id = f->segment_id, .epoch = f->epoch, .slot = f->slot, .object_bytes = size, .data_len = f->data_len,
				 .table_offset = f->table_offset, .table_len = f->table_len };
	struct buf key = BUF_INIT, val = BUF_INIT;
	int rc;

	memcpy(r.table_hash, f->table_hash, HASH_BYTES);
	rc = meta_segment_put(p->meta, &r);
	if (!rc && p->since) {
		meta_segment_encode(&r, &key, &val);
		rc = key.err ? key.err : val.err;
		if (!rc)
			rc = kvmap_set(p->since, key.data, key.len, val.data, val.len);
	}
	buf_free(&key);
	buf_free(&val);
	return rc;
}

/* Applies one cut whose footer has been checked against its place. */
static int apply_cut(struct replay *p, const char *key, const struct object_footer *f, const uint8_t *tail, size_t tail_len, uint64_t size)
{
	const uint8_t *run, *k, *val;
	struct run_reader *reader = NULL;
	uint8_t *alloc;
	size_t klen, vlen;
	int rc;

	if (memcmp(f->prev_hash, p->r.tip_hash, HASH_BYTES))
		return corrupt(p, key, "it does not follow the object before it (its chain hash differs)");
	if (f->first_lsn != p->r.lsn + 1 || f->last_lsn + 1 < f->first_lsn)
		return corrupt(p, key, "its operations do not follow those before it");
	rc = get_run(p, key, f, tail, tail_len, size, &run, &alloc);
	if (rc)
		return rc;
	rc = run_reader_new(run, f->run_len, &reader);
	while (!rc && (rc = run_reader_next(reader, &k, &klen, &val, &vlen)) > 0)
		rc = apply_change(p, k, klen, val, vlen);
	run_reader_free(reader);
	free(alloc);
	if (rc == ERR_CORRUPT)
		return corrupt(p, key, "its metadata cannot be decoded");
	if (!rc && f->segment_id)
		rc = apply_segment(p, f, size);
	if (rc)
		return rc;
	p->r.lsn = f->last_lsn;
	if (f->next_ino > p->r.next_ino)
		p->r.next_ino = f->next_ino;
	p->r.commit_real_ns = f->commit_real_ns;
	memcpy(p->r.tip_hash, f->own_hash, HASH_BYTES);
	p->r.tip_slot = f->slot;
	p->r.replayed_objects++;
	p->r.replayed_bytes += f->run_len + f->table_len + OBJECT_FOOTER_BYTES;
	return 0;
}

/* Decodes and applies what a GET of an object's tail brought. 1: it is a seal (the epoch ends before it). */
static int take_object(struct replay *p, uint64_t epoch, uint64_t slot, const char *key, struct store_req *req)
{
	struct object_footer f;
	int rc = object_decode_footer(req->data, req->data_len, req->object_size, &f);

	if (rc == ERR_NEWER_FORMAT)
		return err_set(rc, "%s/%s: written by a newer version of clonefs; update this machine", p->s->address, key);
	if (rc)
		return corrupt(p, key, "its footer is damaged");
	if (f.epoch != epoch || f.slot != slot || memcmp(f.volume_uuid, p->sv->sb.volume_uuid, ID_BYTES))
		return corrupt(p, key, "it belongs to another place or volume");
	if (f.type == OBJECT_SEAL)
		return 1;
	if (f.type != OBJECT_CUT)
		return corrupt(p, key, "an opening record stands where none can be");
	return apply_cut(p, key, &f, req->data, req->data_len, req->object_size);
}

struct fetch { struct store_req req; char key[OBJECT_KEY_MAX]; bool busy; };

static void fetch_start(struct replay *p, struct fetch *f, uint64_t epoch, uint64_t slot)
{
	object_key_slot(epoch, slot, f->key);
	store_req_init(&f->req, STORE_GET);
	f->req.key = f->key;
	f->req.range_suffix = true;
	f->req.range_length = TAIL_BYTES;
	f->req.done = store_wait_done;
	f->busy = true;
	p->s->submit(p->s, &f->req);
}

/* Waits for a fetch; after a passing failure it asks again. */
static int fetch_wait(struct replay *p, struct fetch *f)
{
	int rc;

	p->s->wait(p->s, &f->req);
	f->busy = false;
	rc = f->req.result;
	if (rc == ERR_UNAVAILABLE || rc == ERR_CORRUPT) {
		store_req_reset(&f->req);
		rc = recover_get(p->s, f->key, TAIL_BYTES, &f->req);
	}
	if (rc && rc != -ENOENT)
		return err_set(rc, "%s/%s: cannot be read: %s", p->s->address, f->key, f->req.detail[0] ? f->req.detail : err_text(rc));
	return rc;
}

/* Replays `count` slots from `from`, all of which are known to be there. *ret_sealed: a seal was met. */
static int replay_range(struct replay *p, uint64_t epoch, uint64_t from, uint64_t count, bool *ret_sealed)
{
	struct fetch *w = calloc(WINDOW, sizeof *w);
	uint64_t i, sent = 0;
	int rc = w ? 0 : -ENOMEM;

	*ret_sealed = false;
	for (i = 0; !rc && i < count; i++) {
		struct fetch *f = &w[i % WINDOW];

		for (; sent < count && sent < i + WINDOW; sent++)
			fetch_start(p, &w[sent % WINDOW], epoch, from + sent);
		rc = fetch_wait(p, f);
		if (rc == -ENOENT)
			rc = damaged(p, epoch, from + i, "the store has shown it");
		if (!rc)
			rc = take_object(p, epoch, from + i, f->key, &f->req);
		store_req_reset(&f->req);
		if (rc == 1) {
			*ret_sealed = true;
			p->r.sealed_slot = from + i;
			rc = 0;
			break;
		}
	}
	for (i = 0; w && i < WINDOW; i++)
		if (w[i].busy) {
			p->s->wait(p->s, &w[i].req);
			store_req_reset(&w[i].req);
		}
	free(w);
	return rc;
}

/* --- epochs --- */

/* How many of the listed slots follow on from `from` without a gap. */
static uint64_t contiguous(const struct slot_list *l, uint64_t from)
{
	uint64_t n = 0;

	while (n < l->count && l->e[n].slot == from + n)
		n++;
	return n;
}

static int replay_closed(struct replay *p, const struct link *l, uint64_t from)
{
	struct slot_list list;
	uint64_t want = l->last_slot + 1 > from ? l->last_slot + 1 - from : 0, have;
	bool sealed;
	int rc;

	if (!want)
		return 0;
	rc = list_slots(p, l->epoch, from - 1, &list);
	if (rc)
		return rc;
	have = contiguous(&list, from);
	free(list.e);
	if (have < want)
		return damaged(p, l->epoch, from + have, "a later epoch was opened on what follows it");
	rc = replay_range(p, l->epoch, from, want, &sealed);
	if (!rc && sealed)
		return err_set(ERR_CORRUPT, "%s: epoch %" PRIu64 " is sealed before the slot that a later epoch was opened on", p->s->address, l->epoch);
	return rc;
}

/* `gap` is the first absent slot of the tip: anything that knew it acknowledged makes it damage. */
static int check_gap(struct replay *p, uint64_t gap, const struct slot_list *l, uint64_t first_above)
{
	const struct survey *sv = p->sv;
	uint64_t i;

	if (p->manifest_above >= gap)
		return damaged(p, p->r.tip_epoch, gap, "a later checkpoint includes it");
	if (sv->has_heartbeat && sv->heartbeat.epoch == p->r.tip_epoch && sv->heartbeat.slot >= gap &&
	    memcmp(sv->heartbeat.claim_id, p->r.tip_open.claim_id, ID_BYTES) == 0)
		return damaged(p, p->r.tip_epoch, gap, "the heartbeat says that it was acknowledged");
	for (i = first_above; i < l->count; i++) {
		struct object_footer f;
		int rc = recover_footer(p->s, &sv->sb, p->r.tip_epoch, l->e[i].slot, &f, NULL, NULL);

		if (rc == -ENOENT)
			continue;
		if (rc)
			return rc;
		if (f.type == OBJECT_SEAL)
			return damaged(p, p->r.tip_epoch, gap, "a seal stands above it");
		if (f.acked_epoch == p->r.tip_epoch && f.acked_slot >= gap)
			return damaged(p, p->r.tip_epoch, gap, "a later object says that it was acknowledged");
	}
	return 0;
}

/*
 * A listing beside a live writer is not of one moment: it may show what was acknowledged later and not what was before. Is the gap one
 * after all? Then, and only then, it is damage.
 */
static bool gap_was_filled(struct replay *p, uint64_t gap)
{
	struct object_footer f;

	return recover_footer(p->s, &p->sv->sb, p->r.tip_epoch, gap, &f, NULL, NULL) == 0;
}

/* Puts a seal at (epoch, slot). 0: it is ours; ERR_PRECONDITION: something else is there. */
static int put_seal(struct replay *p, uint64_t epoch, uint64_t slot)
{
	struct object_footer f;
	struct buf b = BUF_INIT;
	char key[OBJECT_KEY_MAX];
	int rc;

	memset(&f, 0, sizeof f);
	f.type = OBJECT_SEAL;
	memcpy(f.volume_uuid, p->sv->sb.volume_uuid, ID_BYTES);
	f.epoch = epoch;
	f.slot = slot;
	/* One sealer, one slot: its claim ID tells its seal from any other's. */
	memcpy(f.put_id, p->sealer->claim_id, ID_BYTES);
	memcpy(f.claim_id, p->sealer->claim_id, ID_BYTES);
	memcpy(f.prev_hash, p->r.tip_hash, HASH_BYTES);
	f.last_lsn = p->r.lsn;
	f.first_lsn = p->r.lsn + 1;
	f.acked_epoch = epoch;
	f.acked_slot = slot ? slot - 1 : 0;
	f.commit_real_ns = p->r.commit_real_ns;
	f.next_ino = p->r.next_ino;
	f.sealed_by_epoch = p->sealer->epoch;
	rc = object_encode_mark(&f, &b);
	object_key_slot(epoch, slot, key);
	if (!rc)
		rc = recover_create(p->s, key, &b, recover_mark_is_ours, f.put_id);
	buf_free(&b);
	return rc;
}

/*
 * The tip: replay to its end, and with a sealer put the seal there. What arrives meanwhile is part of it. A listing only says where to
 * begin to read ahead: what a refused seal, or a look at a gap, has shown to be there is read whether it is listed or not, so each round
 * takes at least one slot.
 */
static int replay_tip(struct replay *p, uint64_t from)
{
	uint64_t epoch = p->r.tip_epoch, have;
	struct slot_list list;
	bool sealed = false;
	int rc;

	for (;;) {
		rc = list_slots(p, epoch, from - 1, &list);
		if (rc)
			return rc;
		have = contiguous(&list, from);
		rc = replay_range(p, epoch, from, have, &sealed);
		from = p->r.tip_slot + 1;
		if (!rc && !sealed)
			rc = check_gap(p, from, &list, have);
		free(list.e);
		if (rc != ERR_DAMAGED || !gap_was_filled(p, from)) {
			if (rc || sealed || !p->sealer)
				return rc;
			rc = put_seal(p, epoch, from);
			if (rc == 0)
				p->r.sealed_slot = from;
			if (rc != ERR_PRECONDITION)
				return rc;
		}
		/* An object of the old writer, or another's seal, is there. */
		rc = replay_range(p, epoch, from, 1, &sealed);
		if (rc || sealed)
			return rc;
		from = p->r.tip_slot + 1;
	}
}

/* Ends every claimed epoch between the tip and the sealer's that was never opened. -EAGAIN: one was opened after all. */
static int seal_unopened(struct replay *p)
{
	uint64_t e;
	int rc;

	for (e = p->sealer->epoch - 1; e > p->r.tip_epoch; e--) {
		struct object_footer f;

		rc = put_seal(p, e, 0);
		if (rc == ERR_PRECONDITION) {
			rc = recover_footer(p->s, &p->sv->sb, e, 0, &f, NULL, NULL);
			if (!rc && f.type == OBJECT_OPEN)
				return -EAGAIN;
		}
		if (rc)
			return rc == -ENOENT ? ERR_UNAVAILABLE : rc;
	}
	return 0;
}

static int replay_all(struct replay *p)
{
	size_t i;
	int rc = walk_lineage(p);

	p->r.epochs = p->link_count;
	if (!rc)
		rc = p->r.has_manifest ? load_checkpoint(p) : genesis(p);
	for (i = p->link_count; !rc && i-- > 0;) {
		const struct link *l = &p->links[i];
		bool oldest = i == p->link_count - 1;
		uint64_t from = oldest ? p->from_slot : 1;

		if (!oldest && memcmp(l->open.prev_hash, p->r.tip_hash, HASH_BYTES))
			return err_set(ERR_CORRUPT, "%s: the opening record of epoch %" PRIu64 " does not follow its parent (the chain hash differs)",
				       p->s->address, l->epoch);
		memcpy(p->r.tip_hash, oldest && p->r.has_manifest ? p->r.manifest.slot_hash : l->open.own_hash, HASH_BYTES);
		p->r.tip_slot = from - 1;
		if (l->open.last_lsn != p->r.lsn && !(oldest && p->r.has_manifest))
			return err_set(ERR_CORRUPT, "%s: epoch %" PRIu64 " was opened after operation %" PRIu64 ", but the log before it ends with %" PRIu64,
				       p->s->address, l->epoch, l->open.last_lsn, p->r.lsn);
		rc = i > 0 ? replay_closed(p, l, from) : replay_tip(p, from);
	}
	return rc;
}

int recover_replay(struct store *s, const struct survey *sv, struct meta *meta, struct kvmap *since, struct recovered *ret)
{
	struct replay p = { .s = s, .sv = sv, .meta = meta, .since = since };
	int rc;

	p.r.has_tip = sv->has_tip;
	p.r.tip_epoch = sv->tip_epoch;
	p.r.tip_open = sv->tip_open;
	rc = p.r.has_tip ? replay_all(&p) : genesis(&p);
	free(p.links);
	if (rc) {
		if (p.r.has_manifest)
			manifest_free(&p.r.manifest);
		return rc;
	}
	*ret = p.r;
	return 0;
}

int recover_seal(struct store *s, const struct survey *sv, const struct sealer *sealer, struct meta *meta, struct kvmap *since,
		 struct recovered *io)
{
	struct replay p = { .s = s, .sv = sv, .sealer = sealer, .meta = meta, .since = since, .r = *io };
	int rc;

	if (p.r.has_tip && p.r.tip_epoch > sealer->epoch) /* a later claim was opened: its log is not ours to end */
		return err_set(ERR_FENCED, "%s: another node took this volume over while it was being opened here", s->address);
	rc = seal_unopened(&p);
	if (!rc && p.r.has_tip && !p.r.sealed_slot)
		rc = replay_tip(&p, p.r.tip_slot + 1);
	*io = p.r;
	return rc;
}
