/*
 * dir_write.c - publishing and deleting.
 *
 * Publishing: the content goes to a temporary file, which is synced; then the key's name is given to it in one step (link for a
 * create, so that of many exactly one succeeds; rename otherwise), and the directory is synced before success is reported. A
 * crash at any point leaves the old object or the new one, never a part of one.
 *
 * Locks: a compare-and-swap holds its key's lock alone from the comparison to the rename. Whatever else replaces or removes
 * that object holds it shared. A create needs none: while there is something to compare with, it cannot succeed.
 *
 * A sync that failed is reported once; what it was to write may be lost, though the next one succeeds. So what a directory held when
 * a sync of it failed is never taken for durable because of another sync: an object there is made anew before anything relies on it.
 *
 * Directories come and go with their objects: one may vanish between finding it and using it, then all starts anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backends.h"
#include "dir.h"
#include "err.h"

#define PUBLISH_TRIES 100
#define CHUNK_BYTES (1u << 20)

static int write_exactly(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Copies the body to the file and hashes what is written. Piece by piece where one is large, so that it is hashed while it is at hand. */
static int write_body(int fd, const struct store_req *r, struct etag_state *e)
{
	for (size_t i = 0; i < r->body_count; i++) {
		const uint8_t *p = r->body[i].iov_base;
		size_t left = r->body[i].iov_len;

		while (left > 0) {
			size_t n = left < CHUNK_BYTES ? left : CHUNK_BYTES;
			int rc = write_exactly(fd, p, n);

			if (rc)
				return rc;
			etag_add(e, p, n);
			p += n;
			left -= n;
		}
	}
	return 0;
}

static int write_copy(int fd, int source, uint64_t size, struct etag_state *e)
{
	uint8_t *chunk = malloc(CHUNK_BYTES);
	uint64_t off = 0;
	int rc = chunk == NULL ? -ENOMEM : 0;

	while (!rc && off < size) {
		ssize_t n = pread(source, chunk, CHUNK_BYTES, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n < 0 ? -errno : -ESTALE;
			break;
		}
		if ((uint64_t)n > size - off)
			n = (ssize_t)(size - off);
		rc = write_exactly(fd, chunk, (size_t)n);
		if (!rc)
			etag_add(e, chunk, (size_t)n);
		off += (uint64_t)n;
	}
	free(chunk);
	return rc;
}

/* Something else than an object is in the way of the name: gives way if it is but empty directories. */
static int make_way(struct dir *d, struct store_req *r)
{
	if (dir_prune_down(d, r->key) == 0)
		return -EAGAIN;
	return store_fail(r, ERR_UNSUPPORTED, "a directory store cannot hold both \"%.100s\" and keys below it", r->key);
}

/* Replaces an object by an equal one, whose name is dirty again where it was lost: under the lock, so that nothing comes between. */
static int remake(struct dir *d, const char *key, int own, int parent)
{
	struct etag_state *e = NULL;
	char etag[ETAG_HEX + 1];
	struct dir_temp t;
	struct stat st;
	int fd, rc = dir_object_open(d, key, &fd, &st);

	if (rc)
		return rc;
	rc = dir_temp_make(d, &t);
	if (rc) {
		close(fd);
		return rc;
	}
	e = etag_begin();
	rc = e == NULL ? -ENOMEM : write_copy(t.fd, fd, (uint64_t)st.st_size, e);
	if (rc) {
		etag_free(e);
	} else {
		struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st.st_mtim };

		etag_end(e, etag);
		rc = futimens(t.fd, times) ? -errno : 0; /* its age says who is alive */
		dir_etag_attach(t.fd, etag);
		if (!rc && (fsync(t.fd) || renameat(own, t.name, parent, dir_leaf(key))))
			rc = -errno;
	}
	if (rc)
		dir_temp_unname(d, &t);
	close(t.fd);
	close(fd);
	return rc;
}

/*
 * What we are about to tell of an object that is there must still be so after a crash, though its writer may not have come to the
 * sync, or was told that it failed.
 */
static int make_durable(struct dir *d, const char *key, int parent)
{
	int own, lock, rc = dir_sync(d, parent, false);

	if (rc != -EIO)
		return rc;
	rc = dir_own(d, &own);
	if (!rc)
		rc = dir_lock(d, key, DIR_LOCK_EXCLUSIVE, &lock);
	if (rc)
		return rc;
	rc = remake(d, key, own, parent);
	close(lock);
	return rc ? rc : dir_sync(d, parent, true);
}

/* A comparison failed, r says how: that too must last before it is told, also where the reason is that there is no object any more. */
static int refused(struct dir *d, struct store_req *r, const char *key, int parent)
{
	int rc = make_durable(d, key, parent);

	return rc ? dir_fail(d, r, rc == -ENOENT ? -EIO : rc, "sync the directory of", key) : ERR_PRECONDITION;
}

static int publish_create(struct dir *d, struct store_req *r, int own, const char *temp, int parent)
{
	const char *leaf = dir_leaf(r->key);
	struct stat st;
	int rc;

	if (linkat(own, temp, parent, leaf, 0) == 0)
		return 0;
	if (errno == ENOENT)
		return -EAGAIN;
	if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EXDEV)
		return store_fail(r, ERR_UNSUPPORTED, "the file system of %s has no hard links, which creating an object needs", d->path);
	if (errno != EEXIST)
		return dir_fail(d, r, -errno, "create", r->key);
	if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW))
		return -EAGAIN; /* gone again */
	if (S_ISDIR(st.st_mode))
		return make_way(d, r);
	rc = make_durable(d, r->key, parent);
	if (rc == -ENOENT)
		return -EAGAIN;
	if (rc)
		return dir_fail(d, r, rc, "sync the directory of", r->key);
	return store_fail(r, ERR_PRECONDITION, "there is an object of this key");
}

/* 0 when the object is the one of the ETag r->if_match. */
static int compare(struct dir *d, struct store_req *r, const char *key)
{
	char etag[ETAG_HEX + 1];
	struct stat st;
	int fd, rc = dir_object_open(d, key, &fd, &st);

	if (rc == -ENOENT && !dir_is_gone(d))
		return store_fail(r, ERR_PRECONDITION, "the object to be replaced or deleted is not there");
	if (rc)
		return dir_fail(d, r, rc, "read", key);
	rc = dir_etag(d, fd, &st, etag);
	close(fd);
	if (rc)
		return dir_fail(d, r, rc, "read", key);
	if (strcmp(etag, r->if_match) != 0)
		return store_fail(r, ERR_PRECONDITION, "the object is not the one expected");
	return 0;
}

static int publish_replace(struct dir *d, struct store_req *r, int own, const char *temp, int parent)
{
	int lock, rc = dir_lock(d, r->key, r->if_match != NULL ? DIR_LOCK_EXCLUSIVE : DIR_LOCK_SHARED, &lock);

	if (rc)
		return dir_fail(d, r, rc, "lock", r->key);
	if (r->if_match != NULL)
		rc = compare(d, r, r->key);
	if (!rc && renameat(own, temp, parent, dir_leaf(r->key))) {
		if (errno == ENOENT)
			rc = -EAGAIN;
		else if (errno == EISDIR || errno == EEXIST || errno == ENOTEMPTY)
			rc = make_way(d, r);
		else
			rc = dir_fail(d, r, -errno, "write", r->key);
	}
	close(lock);
	return rc == ERR_PRECONDITION ? refused(d, r, r->key, parent) : rc;
}

/* Gives the synced temporary file the name. *ret_named: whether it still has its temporary one. */
static int publish(struct dir *d, struct store_req *r, const struct dir_temp *t, bool *ret_named)
{
	int own, parent, rc = dir_own(d, &own);

	if (rc)
		return dir_fail(d, r, rc, "write", r->key);
	for (int tries = 0; tries < PUBLISH_TRIES; tries++) {
		rc = dir_parent(d, r->key, true, &parent);
		if (rc == -ENOENT && !dir_is_gone(d)) {
			rc = -EAGAIN; /* a directory went while we were on our way down */
			continue;
		}
		if (rc == -ENOTDIR)
			return store_fail(r, ERR_UNSUPPORTED, "a directory store cannot hold \"%.100s\": an object is where one of its"
					  " directories would be", r->key);
		if (rc)
			return dir_fail(d, r, rc, "make the directory of", r->key);
		if (r->op == STORE_PUT && r->if_none_match)
			rc = publish_create(d, r, own, t->name, parent);
		else
			rc = publish_replace(d, r, own, t->name, parent);
		if (!rc) {
			*ret_named = r->op == STORE_PUT && r->if_none_match;
			r->ambiguous = true; /* until its name is durable */
			rc = dir_sync(d, parent, true);
			if (rc)
				dir_fail(d, r, rc, "sync the directory of", r->key);
			else
				r->ambiguous = false;
			rc = rc ? r->result : 0;
		}
		close(parent);
		if (rc != -EAGAIN || dir_is_gone(d))
			break;
	}
	if (rc == -EAGAIN)
		return dir_fail(d, r, dir_is_gone(d) ? -ENOENT : -EAGAIN, "write", r->key);
	return rc;
}

/* PUT and COPY (source >= 0, of `size` bytes). */
static int store_new(struct dir *d, struct store_req *r, int source, uint64_t size)
{
	struct etag_state *e = etag_begin();
	char etag[ETAG_HEX + 1];
	struct dir_temp t;
	struct stat st;
	bool named = true;
	int rc;

	if (e == NULL)
		return store_fail(r, -ENOMEM, "out of memory");
	rc = dir_temp_make(d, &t);
	if (rc) {
		etag_free(e);
		if (rc == -ENOENT)
			return store_fail(r, ERR_NO_BUCKET, "the directory %s cannot be made: the one above it is missing", d->path);
		return dir_fail(d, r, rc, "make a temporary file for", r->key);
	}
	rc = source >= 0 ? write_copy(t.fd, source, size, e) : write_body(t.fd, r, e);
	if (rc)
		etag_free(e);
	else
		etag_end(e, etag);
	if (!rc) {
		dir_etag_attach(t.fd, etag);
		rc = fsync(t.fd) || fstat(t.fd, &st) ? -errno : 0;
	}
	rc = rc ? dir_fail(d, r, rc, "write", r->key) : publish(d, r, &t, &named);
	if (!rc) {
		memcpy(r->etag, etag, sizeof(etag));
		r->mtime_s = st.st_mtim.tv_sec;
		r->object_size = (uint64_t)st.st_size;
	}
	if (named)
		dir_temp_unname(d, &t);
	if (!rc)
		dir_etag_remember(d, t.fd, etag); /* after the unlink, which is a change of the inode */
	close(t.fd);
	return rc;
}

int dir_put(struct dir *d, struct store_req *r)
{
	int rc = dir_check_key(r, r->key);
	struct stat st;
	int root;

	if (rc)
		return rc;
	/* Spares the writing where a create is lost already, or the store is not there. */
	if (dir_root(d, true, &root) == 0 && r->if_none_match && fstatat(root, r->key, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode)) {
		int parent;

		rc = dir_parent(d, r->key, true, &parent);
		if (!rc) {
			rc = make_durable(d, r->key, parent);
			close(parent);
		}
		if (!rc)
			return store_fail(r, ERR_PRECONDITION, "there is an object of this key");
	}
	return store_new(d, r, -1, 0);
}

int dir_copy(struct dir *d, struct store_req *r)
{
	struct stat st;
	int fd, rc = dir_check_key(r, r->source_key);

	if (!rc)
		rc = dir_check_key(r, r->key);
	if (rc)
		return rc;
	rc = dir_object_open(d, r->source_key, &fd, &st);
	if (rc)
		return dir_fail(d, r, rc, "read", r->source_key);
	rc = store_new(d, r, fd, (uint64_t)st.st_size);
	close(fd);
	return rc;
}

/* Removes one name. What is not there, or is no object, is no error; *io_all: turns false then. */
static int delete_one(struct dir *d, struct store_req *r, const char *key, int parent, bool *io_all)
{
	int lock, rc = dir_lock(d, key, r->if_match != NULL ? DIR_LOCK_EXCLUSIVE : DIR_LOCK_SHARED, &lock);

	if (rc)
		return dir_fail(d, r, rc, "lock", key);
	if (r->if_match != NULL)
		rc = compare(d, r, key);
	if (!rc && unlinkat(parent, dir_leaf(key), 0)) {
		struct stat st;

		*io_all = false;
		rc = -errno;
		if (rc == -ENOENT || rc == -EISDIR ||
		    (rc == -EPERM && fstatat(parent, dir_leaf(key), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)))
			rc = 0;
		else
			rc = dir_fail(d, r, rc, "delete", key);
	}
	close(lock);
	return rc;
}

static bool same_parent(const char *a, const char *b)
{
	size_t n = (size_t)(dir_leaf(a) - a);

	return n == (size_t)(dir_leaf(b) - b) && memcmp(a, b, n) == 0;
}

/* Deletes the keys [from, to), all in one directory, with one sync; then the directory, if it is empty now. */
static int delete_group(struct dir *d, struct store_req *r, size_t from, size_t to)
{
	int parent, sync_rc, rc = dir_parent(d, r->keys[from], false, &parent);
	bool all = true;

	if ((rc == -ENOENT && !dir_is_gone(d)) || rc == -ENOTDIR)
		return r->if_match != NULL ? compare(d, r, r->keys[from]) : 0;
	if (rc)
		return dir_fail(d, r, rc, "delete", r->keys[from]);
	for (size_t i = from; i < to && !rc; i++)
		rc = delete_one(d, r, r->keys[i], parent, &all);
	if (rc == ERR_PRECONDITION) {
		rc = refused(d, r, r->keys[from], parent);
		close(parent);
		return rc;
	}
	sync_rc = dir_sync(d, parent, all);
	if (!rc && sync_rc)
		rc = dir_fail(d, r, sync_rc, "sync the directory of", r->keys[from]);
	close(parent);
	if (!rc)
		dir_prune_up(d, r->keys[from]);
	return rc;
}

int dir_delete(struct dir *d, struct store_req *r)
{
	size_t from, to;
	int rc = 0;

	for (from = 0; from < r->key_count && !rc; from++)
		rc = dir_check_key(r, r->keys[from]);
	for (from = 0; from < r->key_count && !rc; from = to) {
		for (to = from + 1; to < r->key_count && same_parent(r->keys[from], r->keys[to]); to++)
			;
		rc = delete_group(d, r, from, to);
		if (rc && rc != ERR_PRECONDITION)
			r->ambiguous = true; /* some may be gone */
	}
	return rc;
}
