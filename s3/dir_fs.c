/*
 * dir_fs.c - what the directory store needs of a file system: root, temporary files, parents, locks.
 *
 * Durability of a name needs the directory above it synced, and that one's name in turn. A directory that we once saw durable
 * stays so as long as it is the same one (inode number and birth time), so those are remembered. Where there is no birth time
 * an inode number may come back as another directory; then nothing is remembered, and each write syncs the chain.
 *
 * A temporary file is locked (flock) by its writer from birth; the kernel drops the lock with the process. So a file in DIR_OWN
 * that can be locked is a dead writer's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backends.h"
#include "dir.h"
#include "env.h"
#include "err.h"
#include "hash.h"

#define DIR_MODE 0700
#define FILE_MODE 0600
#define LOCK_FILES 32
#define TEMP_PREFIX "tmp."

static int open_dir_at(int fd, const char *path)
{
	int ret = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return ret < 0 ? -errno : ret;
}

/* Lock held. */
static bool is_suspect(const struct dir *d, const struct stat *st)
{
	for (unsigned i = 0; i < d->suspects && i < DIR_SUSPECTS; i++)
		if (d->suspect[i].dev == st->st_dev && d->suspect[i].ino == st->st_ino)
			return true;
	return d->suspects > DIR_SUSPECTS;
}

/* Lock held. */
static int sync_locked(struct dir *d, int fd, int sync_rc, bool changed)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!sync_rc) /* looked at after the sync: whoever got the error for a name that we found has told by now */
		return !changed && is_suspect(d, &st) ? -EIO : 0;
	if (!is_suspect(d, &st)) {
		if (d->suspects < DIR_SUSPECTS) {
			d->suspect[d->suspects].dev = st.st_dev;
			d->suspect[d->suspects].ino = st.st_ino;
		}
		d->suspects++;
	}
	return sync_rc;
}

int dir_sync(struct dir *d, int fd, bool changed)
{
	int rc = fsync(fd) ? -errno : 0;

	pthread_mutex_lock(&d->lock);
	rc = sync_locked(d, fd, rc, changed);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* Syncs the directory that holds the root, so that the root's own name lasts. Lock held. made: the root was made just now. */
static int sync_above_root(struct dir *d, bool made)
{
	const char *path = d->path;
	char above[PATH_MAX];
	char *slash;
	int fd, rc;

	if (snprintf(above, sizeof(above), "%s", path) >= (int)sizeof(above))
		return -ENAMETOOLONG;
	slash = strrchr(above, '/');
	if (slash == NULL)
		return -EINVAL;
	slash[slash == above] = '\0'; /* "/name" leaves "/" */
	fd = open_dir_at(AT_FDCWD, above);
	if (fd < 0)
		return fd;
	rc = sync_locked(d, fd, fsync(fd) ? -errno : 0, made);
	close(fd);
	if (rc && made)
		rmdir(path); /* so that it is made again, see step_down */
	return rc;
}

int dir_root(struct dir *d, bool create, int *ret_fd)
{
	int rc = 0;

	pthread_mutex_lock(&d->lock);
	if (d->root_fd < 0) {
		bool made = create && mkdir(d->path, DIR_MODE) == 0;

		if (create && !made && errno != EEXIST)
			rc = -errno;
		else if (create)
			rc = sync_above_root(d, made); /* also when another made it: it may not have come to that */
		if (!rc)
			rc = open_dir_at(AT_FDCWD, d->path);
		if (rc >= 0) {
			d->root_fd = rc;
			rc = 0;
		}
	}
	*ret_fd = d->root_fd;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* Lock held. Removed by an operator: made again. The descriptor is not closed, another thread may be using it just now. */
static bool own_is_usable(const struct dir *d)
{
	struct stat st;

	return d->own_fd >= 0 && fstat(d->own_fd, &st) == 0 && st.st_nlink > 0;
}

int dir_own(struct dir *d, int *ret_fd)
{
	int root, rc = dir_root(d, true, &root);

	if (rc)
		return rc;
	pthread_mutex_lock(&d->lock);
	if (!own_is_usable(d)) {
		if (mkdirat(root, DIR_OWN, DIR_MODE) && errno != EEXIST)
			rc = -errno;
		else
			rc = open_dir_at(root, DIR_OWN);
		if (rc >= 0) {
			d->own_fd = rc;
			rc = 0;
		}
	}
	*ret_fd = d->own_fd;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

bool dir_is_gone(struct dir *d)
{
	struct stat st;
	int fd;

	return dir_root(d, false, &fd) == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0;
}

int dir_temp_make(struct dir *d, struct dir_temp *ret)
{
	uint64_t salt;
	int own, rc = dir_own(d, &own);

	if (rc)
		return rc;
	for (int tries = 0; tries < 100; tries++) {
		struct stat st;

		env_system()->random(env_system(), &salt, sizeof(salt));
		snprintf(ret->name, sizeof(ret->name), TEMP_PREFIX "%016llx", (unsigned long long)salt);
		ret->fd = openat(own, ret->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
		if (ret->fd < 0 && errno != EEXIST)
			return -errno;
		if (ret->fd < 0)
			continue;
		/* A cleaner may have come between the two calls, holding the lock or having removed the name. */
		if (flock(ret->fd, LOCK_EX | LOCK_NB) == 0 && fstat(ret->fd, &st) == 0 && st.st_nlink > 0)
			return 0;
		close(ret->fd);
	}
	return -EAGAIN;
}

void dir_temp_unname(struct dir *d, const struct dir_temp *t)
{
	int own;

	/* A name that cannot be removed now is removed by the next dir_clean. */
	if (dir_own(d, &own) == 0)
		unlinkat(own, t->name, 0);
}

static void clean_one(int own, const char *name)
{
	int fd = openat(own, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(own, name, 0);
	close(fd);
}

void dir_clean(struct dir *d)
{
	struct dirent *e;
	int root, own;
	DIR *dir;

	if (dir_root(d, false, &root))
		return;
	own = open_dir_at(root, DIR_OWN);
	if (own < 0)
		return;
	dir = fdopendir(own);
	if (dir == NULL) {
		close(own);
		return;
	}
	while ((e = readdir(dir)) != NULL)
		if (strncmp(e->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) == 0)
			clean_one(own, e->d_name);
	closedir(dir);
}

const char *dir_leaf(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash != NULL ? slash + 1 : key;
}

/* The slot of the durable table for an open directory; -1 where it cannot be told from a later one. Fills *ret. */
static int durable_slot(int fd, struct statx *ret)
{
	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, ret) || !(ret->stx_mask & STATX_BTIME))
		return -1;
	return (int)(ret->stx_ino * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (DIR_DURABLE - 1));
}

static bool durable_known(struct dir *d, int fd)
{
	struct statx x;
	int i = durable_slot(fd, &x);
	bool known;

	if (i < 0)
		return false;
	pthread_mutex_lock(&d->lock);
	known = d->durable[i].ino == x.stx_ino && d->durable[i].btime_s == x.stx_btime.tv_sec &&
		d->durable[i].btime_ns == x.stx_btime.tv_nsec;
	pthread_mutex_unlock(&d->lock);
	return known;
}

static void durable_remember(struct dir *d, int fd)
{
	struct statx x;
	int i = durable_slot(fd, &x);

	if (i < 0)
		return;
	pthread_mutex_lock(&d->lock);
	d->durable[i].ino = x.stx_ino;
	d->durable[i].btime_s = x.stx_btime.tv_sec;
	d->durable[i].btime_ns = x.stx_btime.tv_nsec;
	pthread_mutex_unlock(&d->lock);
}

/*
 * One step down a path, making the directory where missing. In a directory already durable only the step's own name needs its
 * parent synced. Whoever finds a directory that another just made syncs too: the other may not have come to it. One whose name
 * could not be synced goes again if it is empty, so that the next one is made, and its name dirty, anew.
 */
static int step_down(struct dir *d, int fd, const char *name, int *ret_fd)
{
	bool made = mkdirat(fd, name, DIR_MODE) == 0;
	int rc, sub;

	if (!made && errno != EEXIST)
		return -errno;
	sub = open_dir_at(fd, name);
	if (sub < 0)
		return sub;
	if (!durable_known(d, sub)) {
		rc = dir_sync(d, fd, made);
		if (rc) {
			close(sub);
			unlinkat(fd, name, AT_REMOVEDIR);
			return rc;
		}
		durable_remember(d, sub);
	}
	*ret_fd = sub;
	return 0;
}

static int make_parent(struct dir *d, const char *key, int *ret_fd)
{
	char name[DIR_NAME_MAX + 1];
	const char *slash;
	int rc, root, sub = -1, fd;

	rc = dir_root(d, true, &root);
	if (rc)
		return rc;
	fd = open_dir_at(root, ".");
	if (fd < 0)
		return fd;
	for (; (slash = strchr(key, '/')) != NULL; key = slash + 1) {
		memcpy(name, key, (size_t)(slash - key));
		name[slash - key] = '\0';
		rc = step_down(d, fd, name, &sub);
		close(fd);
		if (rc)
			return rc;
		fd = sub;
	}
	*ret_fd = fd;
	return 0;
}

int dir_parent(struct dir *d, const char *key, bool create, int *ret_fd)
{
	char path[STORE_KEY_MAX + 1] = ".";
	const char *leaf = dir_leaf(key);
	int root, fd, rc = dir_root(d, create, &root);

	if (rc)
		return rc;
	if (leaf > key) {
		memcpy(path, key, (size_t)(leaf - key) - 1);
		path[leaf - key - 1] = '\0';
	}
	fd = open_dir_at(root, path);
	if (fd >= 0 && (!create || leaf == key || durable_known(d, fd))) {
		*ret_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	else if (!create || fd != -ENOENT)
		return fd;
	return make_parent(d, key, ret_fd);
}

int dir_prune_down(struct dir *d, const char *key)
{
	char path[STORE_KEY_MAX + DIR_NAME_MAX + 2];
	struct dirent *e;
	int root, fd, rc = dir_root(d, false, &root);
	DIR *dir;

	if (rc)
		return rc;
	fd = open_dir_at(root, key);
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -ENOMEM;
	}
	/* Objects are left alone by construction: only rmdir is ever called, and that on what claims to be a directory. */
	while (!rc && (e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN)
			rc = -ENOTEMPTY;
		else if (snprintf(path, sizeof(path), "%s/%s", key, e->d_name) > STORE_KEY_MAX)
			rc = -ENOTEMPTY;
		else
			rc = dir_prune_down(d, path);
	}
	closedir(dir);
	if (!rc && unlinkat(root, key, AT_REMOVEDIR))
		rc = -errno;
	return rc;
}

void dir_prune_up(struct dir *d, const char *key)
{
	char path[STORE_KEY_MAX + 1];
	char *slash;
	int root;

	if (dir_root(d, false, &root))
		return;
	snprintf(path, sizeof(path), "%s", key);
	while ((slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		if (unlinkat(root, path, AT_REMOVEDIR))
			return; /* not empty, most often */
	}
}

int dir_lock(struct dir *d, const char *key, enum dir_lock kind, int *ret_fd)
{
	char name[24];
	int own, fd, rc = dir_own(d, &own);

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "lock.%02u", (unsigned)(hash_xxh3(key, strlen(key), 0) % LOCK_FILES));
	fd = openat(own, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0)
		return -errno;
	while (flock(fd, kind == DIR_LOCK_EXCLUSIVE ? LOCK_EX : LOCK_SH)) {
		if (errno == EINTR)
			continue;
		rc = -errno;
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int dir_check_key(struct store_req *r, const char *key)
{
	while (true) {
		size_t len = strcspn(key, "/");

		if (len > DIR_NAME_MAX)
			return store_fail(r, ERR_UNSUPPORTED, "a directory store holds no key with a component of over %d bytes",
					  DIR_NAME_MAX);
		if (len == strlen(DIR_OWN) && strncmp(key, DIR_OWN, len) == 0)
			return store_fail(r, ERR_UNSUPPORTED, "the name " DIR_OWN " is the store's own");
		if (key[len] == '\0')
			return 0;
		key += len + 1;
	}
}

int dir_fail(struct dir *d, struct store_req *r, int err, const char *what, const char *key)
{
	int code = err;

	switch (-err) {
	case EDQUOT:
		code = -ENOSPC;
		break;
	case EACCES:
	case EPERM:
		code = ERR_AUTH;
		break;
	case EIO:
	case EROFS:
	case ESTALE:
	case EMFILE:
	case ENFILE:
	case ENOLCK:
	case EAGAIN:
	case ETIMEDOUT:
		/* May pass, or be mended: the caller tries again. */
		code = ERR_UNAVAILABLE;
		break;
	case ENOENT:
		if (dir_is_gone(d))
			return store_fail(r, ERR_NO_BUCKET, "the directory %s was removed", d->path);
		break;
	default:
		break;
	}
	return store_fail(r, code, "cannot %s %s/%s: %s", what, d->path, key, err_text(err));
}
