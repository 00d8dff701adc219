/*
 * index.c - opening and transactions.
 *
 * The counters and the ID are values of the database, read when a transaction begins and written when it commits; the sums live in memory and take
 * a transaction's changes only once it has committed, so that an abort costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "index_impl.h"

#define INDEX_FORMAT 7u
#define OWN_STATE ".state"  /* u32 format, 16 ID, u64 position, count, wanted, next_dir, wanted_bytes; and if it is not 0: rotten */
#define OWN_STATE_BYTES (4 + INDEX_ID_BYTES + 48)

/* ret_id: for who opens; later it is what it is, and any number of threads read it. */
static int read_state(struct index_txn *t, uint8_t *ret_id)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	uint8_t id[INDEX_ID_BYTES];
	uint32_t format;
	int rc = index_value_get(t, OWN_STATE, &b);

	if (rc) {
		buf_free(&b);
		return rc;
	}
	c = cursor_make(b.data, b.len);
	format = cursor_u32(&c);
	cursor_copy(&c, id, sizeof id);
	if (ret_id)
		memcpy(ret_id, id, sizeof id);
	t->position = cursor_u64(&c);
	t->count = cursor_u64(&c);
	t->wanted = cursor_u64(&c);
	t->next_dir = cursor_u64(&c);
	t->wanted_bytes = cursor_u64(&c);
	t->rotten = cursor_u64(&c);
	rc = format > INDEX_FORMAT ? ERR_NEWER_FORMAT : format < INDEX_FORMAT ? ERR_CORRUPT : cursor_end(&c);
	buf_free(&b);
	return rc;
}

static int write_state(struct index_txn *t)
{
	uint8_t b[OWN_STATE_BYTES];

	put_u32(b, INDEX_FORMAT);
	memcpy(b + 4, t->x->id, INDEX_ID_BYTES);
	put_u64(b + 4 + INDEX_ID_BYTES, t->position);
	put_u64(b + 12 + INDEX_ID_BYTES, t->count);
	put_u64(b + 20 + INDEX_ID_BYTES, t->wanted);
	put_u64(b + 28 + INDEX_ID_BYTES, t->next_dir);
	put_u64(b + 36 + INDEX_ID_BYTES, t->wanted_bytes);
	put_u64(b + 44 + INDEX_ID_BYTES, t->rotten);
	return index_value_put(t, OWN_STATE, b, sizeof b);
}

static void txn_free(struct index_txn *t)
{
	free(t->changes);
	free(t);
}

static int begin(struct index *x, bool write, struct index_txn **ret)
{
	struct index_txn *t = calloc(1, sizeof *t);
	int rc;

	if (!t)
		return -ENOMEM;
	t->x = x;
	t->write = write;
	rc = index_raw_error(mdb_txn_begin(x->env, NULL, write ? 0 : MDB_RDONLY, &t->txn));
	if (rc) {
		txn_free(t);
		return rc;
	}
	*ret = t;
	return 0;
}

int index_begin(struct index *x, bool write, struct index_txn **ret)
{
	struct index_txn *t;
	int rc = begin(x, write, &t);

	if (rc)
		return rc;
	rc = read_state(t, NULL);
	if (rc) {
		index_abort(t);
		return rc == -ENOENT ? ERR_CORRUPT : rc;
	}
	*ret = t;
	return 0;
}

void index_abort(struct index_txn *t)
{
	if (!t)
		return;
	mdb_txn_abort(t->txn);
	txn_free(t);
}

int index_commit(struct index_txn *t)
{
	int rc = t->failed;

	if (!rc && t->changed)
		rc = write_state(t);
	if (rc || !t->changed) {
		index_abort(t);
		return rc;
	}
	rc = index_raw_error(mdb_txn_commit(t->txn)); /* gone, either way */
	for (size_t i = 0; !rc && i < t->change_count; i++) {
		const struct sum_change *s = &t->changes[i];

		if (s->add)
			sums_add(t->x->sums, s->leaf, s->hash);
		else
			sums_sub(t->x->sums, s->leaf, s->hash);
	}
	txn_free(t);
	return rc;
}

/* --- opening --- */

static int lock_dir(const char *dir, int *ret_fd)
{
	char path[4096];
	int fd, rc;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return err_set(-errno, "cannot make the index's directory %s: %s", dir, strerror(errno));
	if ((size_t)snprintf(path, sizeof path, "%s/lock", dir) >= sizeof path)
		return err_set(-ENAMETOOLONG, "the path of the index is too long: %s", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(-errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return err_set(rc, rc == -EBUSY ? "another process has the index in %s open" : "cannot lock the index in %s", dir);
	}
	*ret_fd = fd;
	return 0;
}

static int open_env(struct index *x, const char *dir, uint64_t map_bytes)
{
	MDB_txn *txn;
	int rc = mdb_env_create(&x->env);

	if (!rc)
		rc = mdb_env_set_mapsize(x->env, map_bytes);
	if (!rc) /* NOMETASYNC: a commit may be lost to a power loss, the file stays whole */
		rc = mdb_env_open(x->env, dir, MDB_NOMETASYNC | MDB_NOTLS, 0600);
	if (!rc)
		rc = mdb_txn_begin(x->env, NULL, 0, &txn);
	if (!rc) {
		rc = mdb_dbi_open(txn, NULL, 0, &x->dbi);
		if (rc)
			mdb_txn_abort(txn);
		else
			rc = mdb_txn_commit(txn);
	}
	return index_raw_error(rc);
}

/* LMDB does not tell where it has mapped its file: proc_pid_maps(5) does. */
static void find_map(struct index *x)
{
	char link[32], path[4096], line[4200];
	unsigned long from;
	int fd, at;
	ssize_t n;
	FILE *f;

	if (mdb_env_get_fd(x->env, &fd))
		return;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	f = n > 0 ? fopen("/proc/self/maps", "re") : NULL;
	if (!f)
		return;
	path[n] = '\0';
	while (!x->map && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%lx-%*x %*s %*x %*s %*u %n", &from, &at) == 1 && strcmp(line + at, path) == 0)
			x->map = (void *)from; /* NOLINT(performance-no-int-to-ptr) */
	}
	fclose(f);
}

void index_release(struct index *x)
{
	MDB_envinfo info;
	MDB_stat st;

	/* The mapping is shared and only read: LMDB writes to the file. So nothing is lost by it. */
	if (x->map && !mdb_env_info(x->env, &info) && !mdb_env_stat(x->env, &st))
		(void)madvise(x->map, (info.me_last_pgno + 1) * st.ms_psize, MADV_DONTNEED);
}

static int make_new(struct index *x, const uint8_t *random)
{
	struct index_txn *t;
	int rc = begin(x, true, &t);

	if (rc)
		return rc;
	memcpy(x->id, random, INDEX_ID_BYTES);
	t->next_dir = INDEX_ROOT + 1;
	t->changed = true;
	return index_commit(t);
}

static int add_to_sums(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct index *x = user;
	struct buf b = BUF_INIT;

	if (r->known.deleted || r->known.dot.seq == 0)
		return 0;
	entry_encode(&r->known, &b);
	if (!b.err)
		sums_add(x->sums, sums_leaf(path, len), sums_hash(path, len, b.data, b.len));
	buf_free(&b);
	return b.err;
}

static int load(struct index *x, const uint8_t *random, bool *ret_new)
{
	struct index_txn *t;
	struct buf b = BUF_INIT;
	int rc = begin(x, false, &t);

	if (rc)
		return rc;
	rc = index_value_get(t, OWN_STATE, &b);
	buf_free(&b);
	*ret_new = rc == -ENOENT;
	if (*ret_new) {
		index_abort(t);
		return make_new(x, random);
	}
	if (!rc)
		rc = read_state(t, x->id);
	if (!rc)
		rc = index_below(t, "", 0, add_to_sums, x);
	index_abort(t);
	return rc;
}

int index_open(const char *dir, uint64_t map_bytes, const uint8_t *random, struct index **ret, bool *ret_new)
{
	struct index *x = calloc(1, sizeof *x);
	int rc;

	if (!x)
		return -ENOMEM;
	x->lock_fd = -1;
	rc = sums_new(&x->sums);
	if (!rc)
		rc = lock_dir(dir, &x->lock_fd);
	if (!rc) {
		rc = open_env(x, dir, map_bytes);
		if (!rc)
			find_map(x);
		if (!rc)
			rc = load(x, random, ret_new);
		if (rc)
			err_set(rc, "cannot open the index in %s: %s%s", dir, err_text(rc),
				rc == ERR_CORRUPT ? " (or an older build made it): move it away, and this member joins again" : "");
	}
	if (rc) {
		index_close(x);
		return rc;
	}
	*ret = x;
	return 0;
}

void index_close(struct index *x)
{
	if (!x)
		return;
	if (x->env)
		mdb_env_close(x->env);
	if (x->lock_fd >= 0)
		close(x->lock_fd);
	sums_free(x->sums);
	free(x);
}

int index_sync(struct index *x)
{
	return index_raw_error(mdb_env_sync(x->env, 1));
}

const uint8_t *index_id(const struct index *x)
{
	return x->id;
}

const struct sums *index_sums(const struct index *x)
{
	return x->sums;
}

uint64_t index_position(struct index_txn *t)
{
	return t->position;
}

uint64_t index_count(struct index_txn *t)
{
	return t->count;
}

bool index_wanted_news(const struct index_txn *t)
{
	return t->wanted_news;
}

uint64_t index_wanted_count(struct index_txn *t)
{
	return t->wanted;
}

uint64_t index_rotten_count(struct index_txn *t)
{
	return t->rotten;
}

uint64_t index_wanted_bytes(struct index_txn *t)
{
	return t->wanted_bytes;
}
