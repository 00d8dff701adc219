/*
 * fsck_data.c - --deep: every log object of the lineage read whole and every
 * byte of it checked: head, table, metadata, each 4 KiB granule; and every granule
 * that a file refers to must be in its object (what was left out must be what
 * nothing needs).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fsck.h"
#include "value.h"

struct live {
	uint64_t id;
	size_t slot; /* index in k->slots */
	uint8_t bits[SEGMENT_GRANULES / 8];
};

struct lives { struct live *items; size_t count; struct fsck *k; };
static struct lives lives; /* set up before the threads, read by them */

static int compare_live(const void *a, const void *b)
{
	const struct live *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static struct live *find_live(uint64_t id)
{
	struct live want;

	want.id = id;
	return lives.count ? bsearch(&want, lives.items, lives.count, sizeof(want), compare_live) : NULL;
}

static int mark_extent(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct fsck *k = user;
	struct value_key vk;
	struct extent e;
	struct live *l;

	if (value_key_parse(key, klen, &vk) || value_extent_decode(vk.a, vk.b, val, vlen, &e)) {
		fsck_report(k, FSCK_ERROR, "", "an extent in the map does not decode");
		return 0;
	}
	l = find_live(e.segment);
	if (!l) {
		if (!k->live)
			fsck_report(k, FSCK_ERROR, "", "inode %" PRIu64 " at offset %" PRIu64 " refers to segment %016" PRIx64 ", which no object holds",
				    e.ino, e.start, e.segment);
		return 0;
	}
	if (!e.len || e.logical + e.len > SEGMENT_DATA_MAX) {
		fsck_report(k, FSCK_ERROR, "", "inode %" PRIu64 " at offset %" PRIu64 ": the extent reaches outside its segment", e.ino, e.start);
		return 0;
	}
	for (uint64_t g = e.logical / GRANULE_BYTES; g <= (e.logical + e.len - 1) / GRANULE_BYTES; g++)
		l->bits[g / 8] |= (uint8_t)(1u << (g % 8));
	return 0;
}

static void check_blocks(struct fsck *k, const struct fsck_slot *s, const struct object_table *t, const struct store_req *r)
{
	uint8_t *out = malloc(BLOCK_BYTES);
	uint32_t blocks = (t->data_len + BLOCK_BYTES - 1) / BLOCK_BYTES, len;

	for (uint32_t b = 0; out && b < blocks; b++) {
		const struct object_block *x = &t->blocks[b];
		int bad;

		if (!x->stored_len)
			continue;
		bad = (uint64_t)x->offset + x->stored_len > r->data_len ? ERR_CORRUPT :
			object_decode_block(t, s->f.segment_id, b, r->data + x->offset, x->stored_len, out, &len);
		if (bad)
			fsck_report(k, FSCK_ERROR, s->o->key, "block %" PRIu32 " (logical %" PRIu32 " on) does not check: %s", b, b * BLOCK_BYTES,
				    err_text(bad));
	}
	free(out);
}

static void check_elision(struct fsck *k, const struct fsck_slot *s, const struct object_table *t)
{
	const struct live *l = find_live(s->f.segment_id);
	unsigned missing = 0;

	for (uint32_t g = 0; l && g < SEGMENT_GRANULES; g++) {
		bool needed = l->bits[g / 8] >> (g % 8) & 1, there = g < (t->data_len + GRANULE_BYTES - 1) / GRANULE_BYTES && t->sums[g];

		missing += needed && !there;
	}
	if (missing)
		fsck_report(k, FSCK_ERROR, s->o->key, "%u granules that files refer to were left out of this object", missing);
}

static void check_cut(struct fsck *k, const struct fsck_slot *s, const struct store_req *r)
{
	const struct object_footer *f = &s->f;
	uint8_t hash[HASH_BYTES];
	struct object_table *t;

	if ((uint64_t)f->run_offset + f->run_len > r->data_len || (uint64_t)f->table_offset + f->table_len > r->data_len) {
		fsck_report(k, FSCK_ERROR, s->o->key, "is shorter than its footer says");
		return;
	}
	hash_blake2b(r->data + f->run_offset, f->run_len, hash);
	if (memcmp(hash, f->run_hash, HASH_BYTES))
		fsck_report(k, FSCK_ERROR, s->o->key, "its metadata does not match its hash");
	if (!f->table_len)
		return;
	hash_blake2b(r->data + f->table_offset, f->table_len, hash);
	t = calloc(1, sizeof(*t));
	if (!t || memcmp(hash, f->table_hash, HASH_BYTES) || object_table_decode(r->data + f->table_offset, f->table_len, t)) {
		fsck_report(k, FSCK_ERROR, s->o->key, "its block table does not match its hash");
	} else {
		check_blocks(k, s, t, r);
		check_elision(k, s, t);
	}
	free(t);
}

static int check_object(struct fsck *k, size_t i)
{
	const struct fsck_slot *s = &k->slots[i];
	uint8_t put_id[ID_BYTES];
	enum object_type type;
	uint64_t epoch, slot;
	struct store_req r;
	bool present;
	int rc;

	if (!s->lineage)
		return 0;
	rc = fsck_read(k, s->o->key, 0, &r, &present);
	if (!rc && !present) {
		fsck_report(k, FSCK_ERROR, s->o->key, "missing");
	} else if (!rc) {
		if (r.data_len != s->o->size_bytes)
			fsck_report(k, FSCK_ERROR, s->o->key, "has %zu bytes, its listing says %" PRIu64, r.data_len, s->o->size_bytes);
		if (r.data_len < OBJECT_HEAD_BYTES || object_decode_head(r.data, OBJECT_HEAD_BYTES, &type, &epoch, &slot, put_id) || type != s->f.type || epoch != s->epoch || slot != s->slot ||
		    memcmp(put_id, s->f.put_id, ID_BYTES))
			fsck_report(k, FSCK_ERROR, s->o->key, "its head does not match its footer");
		if (s->f.type == OBJECT_CUT)
			check_cut(k, s, &r);
		pthread_mutex_lock(&k->mu);
		k->bytes_read += r.data_len;
		pthread_mutex_unlock(&k->mu);
	}
	store_req_reset(&r);
	return rc;
}

static int collect(struct fsck *k)
{
	lives.items = calloc(k->slot_count + 1, sizeof(*lives.items));
	if (!lives.items)
		return -ENOMEM;
	for (size_t i = 0; i < k->slot_count; i++)
		if (k->slots[i].lineage && k->slots[i].f.type == OBJECT_CUT && k->slots[i].f.segment_id)
			lives.items[lives.count++] = (struct live){ .id = k->slots[i].f.segment_id, .slot = i };
	if (lives.count)
		qsort(lives.items, lives.count, sizeof(*lives.items), compare_live);
	for (size_t i = 1; i < lives.count; i++)
		if (lives.items[i].id == lives.items[i - 1].id)
			fsck_report(k, FSCK_ERROR, k->slots[lives.items[i].slot].o->key, "has the segment ID of %s: IDs are never used twice",
				    k->slots[lives.items[i - 1].slot].o->key);
	return 0;
}

int fsck_data(struct fsck *k, struct meta *m)
{
	int rc;

	progress_begin(&k->bar, "collecting what files refer to", 0);
	rc = collect(k);
	if (!rc && m)
		rc = meta_walk(m, VALUE_EXTENT, mark_extent, k);
	progress_end(&k->bar);
	if (!rc)
		rc = fsck_parallel(k, "checking all data", k->slot_count, check_object);
	free(lives.items);
	lives = (struct lives){ NULL, 0, NULL };
	return rc;
}
