/*
 * examine.c - looking at a path. Order matters: metadata, then content, then once more that neither has changed.
 */
#include "examine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define PIECE_BYTES (1u << 20) /* between two looks at the lease */

void examine_result_init(struct examine_result *r)
{
	memset(r, 0, sizeof *r);
	entry_init(&r->found);
}

void examine_result_free(struct examine_result *r)
{
	entry_free(&r->found);
	buf_free(&r->blocks);
	examine_result_init(r);
}

void examine_owners(struct entry *found, const struct index_stat *st, const struct entry *was, const struct index_stat *record)
{
	if (!record->ino)
		return;
	if (st->uid == record->uid) {
		memcpy(found->owner, was->owner, sizeof found->owner);
		found->uid = was->uid;
	}
	if (st->gid == record->gid) {
		memcpy(found->group, was->group, sizeof found->group);
		found->gid = was->gid;
	}
}

/* --- hashing --- */

struct hashing {
	struct tree *t;
	struct tree_file *f;
	uint64_t size, block;
	bool quiet;
	bool begin_sync;         /* it is likely to be synced next */
	const atomic_bool *stop;
	uint8_t *piece;
	uint64_t data, end;      /* the data that SEEK_DATA told of; nothing but zeros between `off` asked and `data` */
	uint64_t asked;
	uint8_t zeros[HASH_BYTES]; /* of a whole block of zeros, made when first wanted */
	bool have_zeros;
};

static int interrupted(const struct hashing *h)
{
	if (h->stop && atomic_load(h->stop))
		return -ECANCELED;
	if (h->quiet) {
		int still = h->t->still_quiet(h->f);

		if (still != 1)
			return still < 0 ? still : -EBUSY;
	}
	return 0;
}

/* Is [off, off + len) a hole? */
static bool all_hole(struct hashing *h, uint64_t off, uint64_t len)
{
	if (off >= h->end || off < h->asked) {
		h->asked = off;
		if (h->t->data(h->f, off, &h->data, &h->end)) {
			h->data = off; /* not told: read it */
			h->end = UINT64_MAX;
		}
	}
	return off + len <= h->data;
}

static int read_block(struct hashing *h, uint64_t off, uint64_t len, uint8_t *ret_hash)
{
	struct hash_stream *s = hash_stream_new();
	int rc = s ? 0 : -ENOMEM;

	if (h->begin_sync)
		h->t->begin_sync(h->f, off, len);
	while (!rc && len) {
		size_t want = len < PIECE_BYTES ? (size_t)len : PIECE_BYTES;
		int64_t n = h->t->read(h->f, h->piece, want, off);

		rc = n < 0 ? (int)n : (size_t)n < want ? -EIO : interrupted(h);
		if (rc)
			break;
		hash_stream_add(s, h->piece, want);
		off += want;
		len -= want;
	}
	if (s)
		hash_stream_end(s, ret_hash);
	return rc;
}

static int zero_block(struct hashing *h, uint64_t len, uint8_t *ret_hash)
{
	struct hash_stream *s;

	if (len == h->block && h->have_zeros) {
		memcpy(ret_hash, h->zeros, HASH_BYTES);
		return 0;
	}
	s = hash_stream_new();
	if (!s)
		return -ENOMEM;
	memset(h->piece, 0, PIECE_BYTES);
	for (uint64_t left = len; left;) {
		size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;

		hash_stream_add(s, h->piece, n);
		left -= n;
	}
	hash_stream_end(s, ret_hash);
	if (len == h->block) {
		memcpy(h->zeros, ret_hash, HASH_BYTES);
		h->have_zeros = true;
	}
	return interrupted(h);
}

/* All of them, into list. */
static int hash_blocks(struct hashing *h, uint32_t count, uint8_t *list)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < count; i++) {
		uint64_t off = i * h->block, len = h->size - off < h->block ? h->size - off : h->block;
		uint8_t *to = list + (size_t)i * HASH_BYTES;

		rc = all_hole(h, off, len) ? zero_block(h, len, to) : read_block(h, off, len, to);
	}
	return rc;
}

static int hash_file(struct tree *t, struct tree_file *f, uint64_t size, bool quiet, bool begin_sync, const atomic_bool *stop, uint8_t *ret_hash, struct buf *blocks)
{
	struct hashing h = { .t = t, .f = f, .size = size, .block = entry_block_bytes(size), .quiet = quiet, .begin_sync = begin_sync, .stop = stop };
	uint32_t count = entry_block_count(size);
	int rc = interrupted(&h);

	buf_reset(blocks);
	h.piece = malloc(PIECE_BYTES);
	if (!h.piece || buf_reserve(blocks, (size_t)count * HASH_BYTES))
		rc = -ENOMEM;
	if (!rc)
		rc = hash_blocks(&h, count, blocks->data);
	free(h.piece);
	if (rc)
		return rc;
	blocks->len = (size_t)count * HASH_BYTES;
	hash_blake2b(blocks->data, blocks->len, ret_hash);
	if (count <= 1)
		buf_reset(blocks);
	return 0;
}

int examine_hash(struct tree *t, struct tree_file *f, uint64_t size, bool quiet, const atomic_bool *stop, uint8_t *ret_hash, struct buf *blocks)
{
	return hash_file(t, f, size, quiet, false, stop, ret_hash, blocks);
}

/* --- looking --- */

/* The entry that the record says lies on the disk; NULL: nothing. */
static const struct entry *on_disk(const struct index_record *r)
{
	const struct entry *e = !r ? NULL : r->held ? &r->known : r->on_disk ? &r->disk : NULL;

	return e && !e->deleted ? e : NULL;
}

/* How long ago that was, below zero in the future. A file's time may be any number of seconds: what is far away is as far as can be told. */
static int64_t age_ns(uint64_t real_ns, int64_t s, uint32_t ns)
{
	const int64_t far_s = 1000000000, now_s = (int64_t)(real_ns / 1000000000);

	if (s < now_s - far_s)
		return INT64_MAX;
	if (s > now_s + far_s)
		return INT64_MIN;
	return (now_s - s) * 1000000000 + (int64_t)(real_ns % 1000000000) - (int64_t)ns;
}

static bool suspect_at(uint64_t real_ns, const struct tree_stat *st)
{
	int64_t age = age_ns(real_ns, st->id.mtime_s, st->id.mtime_ns);

	/* A time in the future tells nothing of when it was set. */
	return age >= 0 && age < (int64_t)EXAMINE_SUSPECT_NS;
}

static bool suspect(struct env *env, const struct tree_stat *st)
{
	return suspect_at(env->real_ns(env), st);
}

static int busy(struct examine_result *ret)
{
	examine_result_free(ret);
	ret->verdict = EXAMINE_BUSY;
	return 0;
}

/* May what happens from now on have this very ctime? Not where that is in the future: what happens now has another one then. */
static bool same_tick(struct env *env, const struct index_stat *s)
{
	int64_t now = (int64_t)env->real_ns(env), apart_s = now / 1000000000 - s->ctime_s, since_ns;

	if (apart_s > 1 || apart_s < -1) /* a time may be any number of seconds */
		return false;
	since_ns = now - (s->ctime_s * 1000000000 + (int64_t)s->ctime_ns);
	return since_ns > -(int64_t)EXAMINE_SUSPECT_NS && since_ns < (int64_t)EXAMINE_SUSPECT_NS;
}

int examine_apart(struct tree *t, struct env *env, const char *path, const atomic_bool *stop, struct examine_hashed *ret)
{
	struct tree_stat before, after;
	struct tree_file *f;
	int rc = t->open(t, path, &f), lease;

	if (rc)
		return rc == -ENOENT || rc == -EINVAL || rc == -ELOOP || rc == -ENOTDIR ? -EBUSY : rc;
	lease = t->quiet(f);
	rc = lease == 0 ? -EBUSY : lease < 0 && lease != -ENOTSUP ? lease : t->fstat(f, &before);
	if (!rc) {
		ret->stat = before.id;
		ret->suspect = suspect(env, &before) || same_tick(env, &before.id);
		rc = hash_file(t, f, before.id.size, lease == 1, true, stop, ret->hash, &ret->blocks); /* it is big, and news */
	}
	if (!rc)
		rc = t->fstat(f, &after);
	if (!rc && memcmp(&before.id, &after.id, sizeof before.id) != 0)
		rc = -EBUSY;
	t->close(f);
	return rc;
}

void examine_hashed_free(struct examine_hashed *h)
{
	buf_free(&h->blocks);
}

static int take_hashed(const struct examine_hashed *h, struct examine_result *ret)
{
	memcpy(ret->found.hash, h->hash, HASH_BYTES);
	buf_reset(&ret->blocks);
	buf_bytes(&ret->blocks, h->blocks.data, h->blocks.len);
	ret->suspect = h->suspect;
	ret->read = true;
	return ret->blocks.err;
}

/* Reads the content of what `ret` describes. */
static int read_content(struct tree *t, struct env *env, const char *path, const struct examine_options *o, struct examine_result *ret)
{
	struct tree_stat before, after;
	struct tree_file *f;
	int rc = t->open(t, path, &f), lease;

	if (rc == -ENOENT || rc == -EINVAL || rc == -ELOOP || rc == -ENOTDIR)
		return busy(ret); /* it was a file a moment ago */
	if (rc)
		return rc;
	lease = t->quiet(f);
	if (lease == 0 && !o->take_busy) {
		t->close(f);
		return busy(ret);
	}
	ret->found.unsettled = lease == 0;
	rc = lease < 0 && lease != -ENOTSUP ? lease : t->fstat(f, &before);
	if (!rc && memcmp(&before.id, &ret->stat.id, sizeof before.id) != 0)
		rc = -EBUSY;
	if (!rc && lease && o->hashed && memcmp(&o->hashed->stat, &before.id, sizeof before.id) == 0) {
		t->close(f);
		rc = take_hashed(o->hashed, ret);
		ret->quiet = lease == 1;
		return rc;
	}
	if (!rc && lease && o->apart && before.id.size >= o->apart) {
		struct tree_stat st = ret->stat;

		t->close(f);
		examine_result_free(ret);
		ret->verdict = EXAMINE_LONG;
		ret->stat = st;
		ret->suspect = suspect(env, &st) || same_tick(env, &st.id);
		return 0;
	}
	if (!rc)
		rc = examine_hash(t, f, ret->found.size, lease == 1, o->stop, ret->found.hash, &ret->blocks);
	if (!rc)
		rc = t->fstat(f, &after);
	if (!rc && memcmp(&before.id, &after.id, sizeof before.id) != 0)
		rc = ret->found.unsettled ? 0 : -EBUSY; /* who is taken while being written is what was read, whatever that is */
	t->close(f);
	if (rc == -EBUSY || (rc == -EIO && ret->found.unsettled))
		return busy(ret);
	if (rc)
		return rc;
	ret->read = true;
	ret->quiet = lease == 1;
	/* Under a lease as well: a change in the same tick, after it, would show neither in size nor in mtime. */
	ret->suspect = suspect(env, &ret->stat);
	return 0;
}

bool examine_young(uint64_t real_ns, const struct index_stat *s)
{
	return age_ns(real_ns, s->ctime_s, s->ctime_ns) < (int64_t)EXAMINE_SUSPECT_NS;
}

bool examine_hides(bool young, const struct index_stat *s)
{
	return young && s->mtime_s == s->ctime_s && s->mtime_ns == s->ctime_ns;
}

bool examine_shows(bool young, const struct index_stat *s)
{
	return s->ctime_ns && !examine_hides(young, s);
}

/* unchanged: its stat is the record's, so its content is believed to be. */
static int look(struct tree *t, struct env *env, const char *path, const struct index_record *record, const struct examine_options *o,
		bool unchanged, struct examine_result *ret)
{
	const struct entry *was = on_disk(record);
	int rc = t->describe(t, path, &ret->stat, &ret->found);

	if (rc == -EAGAIN)
		return busy(ret);
	if (rc)
		return rc;
	ret->verdict = EXAMINE_CHANGED;
	if (was)
		examine_owners(&ret->found, &ret->stat.id, was, &record->stat);
	/* A file's stat is not the record's, if only in its ctime: who writes and then sets size and mtime back shows nowhere else. */
	if (ret->found.kind == ENTRY_FILE && unchanged && !examine_hides(record->young, &record->stat) && memcmp(&record->stat, &ret->stat.id, sizeof record->stat) == 0) {
		memcpy(ret->found.hash, was->hash, HASH_BYTES);
	} else if (ret->found.kind == ENTRY_FILE) {
		rc = read_content(t, env, path, o, ret);
		if (rc || ret->verdict == EXAMINE_BUSY || ret->verdict == EXAMINE_LONG)
			return rc;
	}
	if (was && entry_same(was, &ret->found) && was->unsettled == ret->found.unsettled) {
		struct tree_stat st = ret->stat;
		bool doubt = ret->suspect, read = ret->read;

		examine_result_free(ret);
		ret->verdict = EXAMINE_SAME;
		ret->stat = st;
		ret->suspect = doubt;
		ret->read = read;
	}
	return 0;
}

int examine(struct tree *t, struct env *env, const char *path, const struct index_record *record, const struct examine_options *o,
	    struct examine_result *ret)
{
	const struct entry *was = on_disk(record);
	struct tree_stat st;
	bool unchanged;
	uint64_t now = env->real_ns(env);
	int rc = t->stat(t, path, &st);

	examine_result_free(ret);
	if (rc == 0 && !st.carried) {
		ret->verdict = EXAMINE_OTHER;
		return 0;
	}
	unchanged = rc == 0 && was && !was->unsettled && !o->hash_anyway && was->kind == st.kind && memcmp(&record->stat, &st.id, sizeof st.id) == 0;
	if (unchanged && was->mode == st.mode && !record->young) {
		ret->verdict = EXAMINE_SAME;
		ret->stat = st;
		return 0;
	}
	if (rc == 0)
		rc = look(t, env, path, record, o, unchanged, ret);
	ret->young = rc == 0 && examine_young(now, &ret->stat.id);
	ret->suspect |= ret->young && ret->read && suspect_at(now, &ret->stat); /* it grew old enough while it was read: its record is young all the same, until it is looked at again */
	if (rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP) {
		examine_result_free(ret);
		ret->verdict = EXAMINE_GONE;
		return 0;
	}
	if (rc)
		examine_result_free(ret);
	return rc;
}
