/*
 * meta.c - the map's database: opening it, raw keys and values, the long write
 * transaction.
 *
 * One LMDB environment, one unnamed database, one write transaction that is always open; reads go
 * through it too, so they see every change at once. The file is a view of the log and is made anew
 * at each open: nothing is synced, and a crash loses nothing that matters. It has no name: nobody can cut it short or write to it
 * under its mapping. After an error of LMDB the transaction is unusable, every later call fails, and the engine fails the volume.
 *
 * A full disk is no such error: LMDB finds out when it commits, and then all that the transaction changed is lost. So the space that a
 * transaction may need is allocated before it begins (meta_has_room, which the gate asks).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "meta_impl.h"

#define MAP_DEFAULT_BYTES (64ull << 30)
#define ROOM_STEP_MIN (1ull << 20) /* allocated at a time: a quarter of the file, within these */
#define ROOM_STEP_MAX (16ull << 20)
#define OP_CHANGES (META_EXTENTS_PER_OP + 64) /* of one operation, at most, and their bytes */
#define OP_BYTES RECORD_MAX_BYTES

int meta_raw_error(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
		return -ENOSPC;
	default:
		return rc > 0 ? -rc : -EIO;
	}
}

/* The error of a call inside the transaction. */
static int judged(struct meta *m, int rc)
{
	if (rc && rc != MDB_NOTFOUND)
		m->unfit = true;
	return meta_raw_error(rc);
}

bool meta_is_fit(const struct meta *m)
{
	return m->txn && !m->unfit;
}

static int begin(struct meta *m)
{
	int rc = mdb_txn_begin(m->env, NULL, 0, &m->txn);

	if (rc) {
		m->txn = NULL;
		return meta_raw_error(rc);
	}
	m->changes = 0;
	m->bytes = 0;
	return 0;
}

static int begin_cursor(struct meta *m)
{
	int rc = begin(m);

	if (!rc)
		rc = meta_raw_error(mdb_cursor_open(m->txn, m->dbi, &m->cur));
	if (rc && m->txn) {
		mdb_txn_abort(m->txn);
		m->txn = NULL;
	}
	return rc;
}

/*
 * What the transaction and one more operation may write beyond the pages in use before it: a copy of each page they touch (a leaf and what
 * is above it, for each change; there are no more than there are), and what is new, in pages that may be half empty.
 */
static uint64_t room_wanted(const struct meta *m)
{
	uint64_t touched = 2 * ((uint64_t)m->changes + OP_CHANGES), pages = m->used_bytes / m->page_bytes;

	return (touched < pages ? touched : pages) * m->page_bytes + 2 * ((uint64_t)m->bytes + OP_BYTES) + 128 * ((uint64_t)m->changes + OP_CHANGES) +
	       64 * (uint64_t)m->page_bytes;
}

/* Where files cannot be allocated ahead there is nothing to be known. */
static void allocate_ahead(struct meta *m)
{
	uint64_t want = m->used_bytes + room_wanted(m), step = m->used_bytes / 4;
	mdb_filehandle_t fd;
	int rc;

	if (m->allocated < want && !mdb_env_get_fd(m->env, &fd)) {
		step = step < ROOM_STEP_MIN ? ROOM_STEP_MIN : step > ROOM_STEP_MAX ? ROOM_STEP_MAX : step;
		do
			rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)m->allocated, (off_t)(want + step - m->allocated));
		while (rc && errno == EINTR);
		if (!rc)
			m->allocated = want + step;
		else if (errno != ENOSPC && errno != EDQUOT)
			m->allocated = UINT64_MAX;
	}
	m->room = m->allocated >= want;
}

static void note_size(struct meta *m)
{
	MDB_envinfo info;
	MDB_stat st;

	if (mdb_env_info(m->env, &info) || mdb_env_stat(m->env, &st))
		return;
	m->page_bytes = st.ms_psize;
	m->used_bytes = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
	allocate_ahead(m);
}

bool meta_has_room(const struct meta *m)
{
	return m->room;
}

void meta_look_for_room(struct meta *m)
{
	if (!m->room)
		allocate_ahead(m);
}

int meta_raw_commit(struct meta *m)
{
	int rc;

	if (!meta_is_fit(m))
		return -EIO;
	mdb_cursor_close(m->cur);
	m->cur = NULL;
	rc = mdb_txn_commit(m->txn);
	m->txn = NULL;
	if (rc)
		return err_set(meta_raw_error(rc), "%s: the map cannot be written: %s", m->path, mdb_strerror(rc));
	rc = begin_cursor(m);
	note_size(m);
	return rc;
}

bool meta_raw_within(const MDB_val *k, const uint8_t *prefix)
{
	return k->mv_size >= VALUE_KEY_PREFIX_BYTES && memcmp(k->mv_data, prefix, VALUE_KEY_PREFIX_BYTES) == 0;
}

static int cursor_get(struct meta *m, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
	if (!meta_is_fit(m))
		return -EIO;
	return judged(m, mdb_cursor_get(m->cur, k, v, op));
}

int meta_raw_get(struct meta *m, const uint8_t *key, size_t klen, MDB_val *ret)
{
	MDB_val k = { klen, (void *)(uintptr_t)key };

	return cursor_get(m, &k, ret, MDB_SET);
}

int meta_raw_seek(struct meta *m, const uint8_t *key, size_t klen, MDB_val *ret_key, MDB_val *ret_val)
{
	*ret_key = (MDB_val){ klen, (void *)(uintptr_t)key };
	return cursor_get(m, ret_key, ret_val, MDB_SET_RANGE);
}

int meta_raw_next(struct meta *m, MDB_val *ret_key, MDB_val *ret_val)
{
	return cursor_get(m, ret_key, ret_val, MDB_NEXT);
}

int meta_raw_prev(struct meta *m, MDB_val *ret_key, MDB_val *ret_val)
{
	return cursor_get(m, ret_key, ret_val, MDB_PREV);
}

int meta_raw_last(struct meta *m, MDB_val *ret_key, MDB_val *ret_val)
{
	return cursor_get(m, ret_key, ret_val, MDB_LAST);
}

static int tell(struct meta *m, const uint8_t *key, size_t klen, const void *val, size_t vlen)
{
	return m->sink.change ? m->sink.change(m->sink.user, key, klen, val, vlen) : 0;
}

int meta_raw_put(struct meta *m, const uint8_t *key, size_t klen, const void *val, size_t vlen, bool log, bool *ret_new)
{
	MDB_val k = { klen, (void *)(uintptr_t)key }, old;
	MDB_val v = { vlen, (void *)(uintptr_t)val };
	int rc = cursor_get(m, &k, &old, MDB_SET);
	bool is_new = rc == -ENOENT;

	if (rc && !is_new)
		return rc;
	k = (MDB_val){ klen, (void *)(uintptr_t)key };
	rc = mdb_cursor_put(m->cur, &k, &v, is_new ? 0 : MDB_CURRENT);
	if (rc)
		return judged(m, rc);
	m->changes++;
	m->bytes += vlen;
	if (ret_new)
		*ret_new = is_new;
	return log ? tell(m, key, klen, val, vlen) : 0;
}

int meta_raw_append(struct meta *m, const uint8_t *key, size_t klen, const void *val, size_t vlen)
{
	MDB_val k = { klen, (void *)(uintptr_t)key };
	MDB_val v = { vlen, (void *)(uintptr_t)val };
	int rc;

	if (!meta_is_fit(m))
		return -EIO;
	rc = mdb_cursor_put(m->cur, &k, &v, MDB_APPEND);
	if (rc == MDB_KEYEXIST)
		return ERR_CORRUPT;
	if (rc)
		return judged(m, rc);
	m->changes++;
	m->bytes += vlen;
	return m->changes >= META_LOADS_PER_COMMIT || m->bytes >= META_BYTES_PER_COMMIT ? meta_raw_commit(m) : 0;
}

int meta_raw_del(struct meta *m, const uint8_t *key, size_t klen, bool log)
{
	MDB_val k = { klen, (void *)(uintptr_t)key }, old;
	int rc = cursor_get(m, &k, &old, MDB_SET);

	if (rc)
		return rc;
	rc = mdb_cursor_del(m->cur, 0);
	if (rc)
		return judged(m, rc);
	m->changes++;
	return log ? tell(m, key, klen, NULL, 0) : 0;
}

/* --- open and close --- */

static int remove_old(const char *path)
{
	if (unlink(path) && errno != ENOENT)
		return err_set(-errno, "%s: cannot remove the old map: %s", path, err_text(-errno));
	return 0;
}

static int env_open(struct meta *m, uint64_t map_bytes)
{
	const unsigned flags = MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOTLS | MDB_NORDAHEAD;
	int rc = mdb_env_create(&m->env);

	if (rc) {
		m->env = NULL;
		return err_set(meta_raw_error(rc), "the map cannot be opened: %s", mdb_strerror(rc));
	}
	rc = mdb_env_set_mapsize(m->env, map_bytes ? map_bytes : MAP_DEFAULT_BYTES);
	if (!rc)
		rc = mdb_env_open(m->env, m->path, flags, 0600);
	if (rc)
		return err_set(meta_raw_error(rc), "%s: the map cannot be opened: %s", m->path, mdb_strerror(rc));
	if (unlink(m->path))
		return err_set(-errno, "%s: the name of the map cannot be removed: %s", m->path, err_text(-errno));
	m->page_bytes = 4096;
	m->room = true;
	note_size(m);
	return 0;
}

static int database_open(struct meta *m)
{
	int rc = begin(m);

	if (rc)
		return rc;
	rc = mdb_dbi_open(m->txn, NULL, 0, &m->dbi);
	if (!rc)
		rc = mdb_cursor_open(m->txn, m->dbi, &m->cur);
	return meta_raw_error(rc);
}

int meta_open(const char *dir, uint64_t map_bytes, const struct meta_sink *sink, struct meta **ret)
{
	struct meta *m = calloc(1, sizeof *m);
	int rc;

	if (!m)
		return -ENOMEM;
	m->sink = *sink;
	m->name_hash_mask = UINT64_MAX;
	rc = asprintf(&m->path, "%s/map", dir);
	if (rc < 0) {
		free(m);
		return -ENOMEM;
	}
	rc = remove_old(m->path);
	if (!rc)
		rc = env_open(m, map_bytes);
	if (!rc)
		rc = database_open(m);
	if (rc) {
		meta_close(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void meta_close(struct meta *m)
{
	if (!m)
		return;
	if (m->cur)
		mdb_cursor_close(m->cur);
	if (m->txn)
		mdb_txn_abort(m->txn);
	if (m->env)
		mdb_env_close(m->env); /* and the file is gone */
	free(m->path);
	free(m);
}

int meta_step(struct meta *m)
{
	if (!meta_is_fit(m))
		return -EIO;
	if (m->changes >= META_CHANGES_PER_COMMIT || m->bytes >= META_BYTES_PER_COMMIT)
		return meta_raw_commit(m);
	allocate_ahead(m);
	return 0;
}

/* --- counters --- */

uint64_t meta_inode_count(const struct meta *m)
{
	return m->inodes;
}

uint64_t meta_live_bytes(const struct meta *m)
{
	return m->live_bytes;
}

uint64_t meta_segment_count(const struct meta *m)
{
	return m->segments;
}

uint64_t meta_segment_bytes(const struct meta *m)
{
	return m->segment_bytes;
}

/* --- all keys --- */

int meta_walk(struct meta *m, uint8_t table, int (*each)(void *user, const uint8_t *key, size_t klen, const uint8_t *val,
	      size_t vlen), void *user)
{
	MDB_val k = { 1, &table }, v;
	MDB_cursor *c;
	int rc;

	if (!meta_is_fit(m))
		return -EIO;
	rc = mdb_cursor_open(m->txn, m->dbi, &c);
	if (rc)
		return meta_raw_error(rc);
	rc = mdb_cursor_get(c, &k, &v, table ? MDB_SET_RANGE : MDB_FIRST);
	while (!rc && (!table || *(const uint8_t *)k.mv_data == table)) {
		int stop = each(user, k.mv_data, k.mv_size, v.mv_data, v.mv_size);

		if (stop) {
			mdb_cursor_close(c);
			return stop;
		}
		rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : meta_raw_error(rc);
}
