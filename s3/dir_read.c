/*
 * dir_read.c - reading objects, and their ETags.
 *
 * An object's file is never changed once it has its name, only replaced; so a descriptor shows one version whatever happens to
 * the name. The ETag (a hash of the content) is kept in an extended attribute beside the size and modification time it was
 * made for: a file that was edited or copied in by hand does not match and is hashed again. Where the file system has no
 * attributes it is hashed once per process and version.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"
#include "dir.h"
#include "err.h"
#include "hash.h"

#define ETAG_ATTRIBUTE "user.clonelove.etag"
#define ATTRIBUTE_BYTES 160
#define CHUNK_BYTES (1u << 20)

void dir_version_of(const struct stat *st, struct dir_version *ret)
{
	memset(ret, 0, sizeof(*ret)); /* it is hashed and compared as bytes */
	ret->dev = (uint64_t)st->st_dev;
	ret->ino = (uint64_t)st->st_ino;
	ret->size = (uint64_t)st->st_size;
	ret->mtime_s = st->st_mtim.tv_sec;
	ret->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	ret->ctime_s = st->st_ctim.tv_sec;
	ret->ctime_ns = (uint32_t)st->st_ctim.tv_nsec;
}

int dir_object_open(struct dir *d, const char *key, int *ret_fd, struct stat *ret_st)
{
	int root, fd, rc = dir_root(d, false, &root);

	if (rc)
		return rc;
	/* O_NONBLOCK: opening a stray FIFO must not hang. */
	fd = openat(root, key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP || errno == ENXIO ? -ENOENT : -errno;
	if (fstat(fd, ret_st)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	if (!S_ISREG(ret_st->st_mode)) {
		close(fd);
		return -ENOENT;
	}
	*ret_fd = fd;
	return 0;
}

static int attribute_format(char *ret, size_t size, const char *etag, const struct stat *st)
{
	return snprintf(ret, size, "1 %s %lld %lld.%09ld", etag, (long long)st->st_size, (long long)st->st_mtim.tv_sec,
			st->st_mtim.tv_nsec);
}

void dir_etag_attach(int fd, const char *etag)
{
	char text[ATTRIBUTE_BYTES];
	struct stat st;
	int len;

	if (fstat(fd, &st))
		return;
	len = attribute_format(text, sizeof(text), etag, &st);
	/* Without attributes the content says it. */
	if (len > 0 && fsetxattr(fd, ETAG_ATTRIBUTE, text, (size_t)len, 0))
		return;
}

static bool etag_from_attribute(int fd, const struct stat *st, char *ret)
{
	char text[ATTRIBUTE_BYTES], want[ATTRIBUTE_BYTES];
	ssize_t len = fgetxattr(fd, ETAG_ATTRIBUTE, text, sizeof(text) - 1);

	if (len < 2 + ETAG_HEX || memcmp(text, "1 ", 2) != 0)
		return false;
	text[len] = '\0';
	memcpy(ret, text + 2, ETAG_HEX);
	ret[ETAG_HEX] = '\0';
	attribute_format(want, sizeof(want), ret, st);
	return strcmp(text, want) == 0;
}

static size_t cache_slot(const struct dir_version *v)
{
	return (size_t)(hash_xxh3(v, sizeof(*v), 0) % DIR_ETAGS);
}

static bool etag_from_cache(struct dir *d, const struct stat *st, char *ret)
{
	struct dir_version v;
	bool found;
	size_t i;

	dir_version_of(st, &v);
	i = cache_slot(&v);
	pthread_mutex_lock(&d->lock);
	found = memcmp(&d->etags[i].version, &v, sizeof(v)) == 0;
	if (found)
		memcpy(ret, d->etags[i].etag, ETAG_HEX + 1);
	pthread_mutex_unlock(&d->lock);
	return found;
}

void dir_etag_remember(struct dir *d, int fd, const char *etag)
{
	struct dir_version v;
	struct stat st;
	size_t i;

	if (fstat(fd, &st))
		return;
	dir_version_of(&st, &v);
	i = cache_slot(&v);
	pthread_mutex_lock(&d->lock);
	d->etags[i].version = v;
	memcpy(d->etags[i].etag, etag, ETAG_HEX + 1);
	pthread_mutex_unlock(&d->lock);
}

/* Reads exactly len bytes at off; -ESTALE when they are not there any more. */
static int read_exactly(int fd, uint8_t *p, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ESTALE; /* somebody cut the file under us */
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static int etag_from_content(int fd, const struct stat *st, char *ret)
{
	uint64_t off = 0, size = (uint64_t)st->st_size;
	struct etag_state *e = etag_begin();
	uint8_t *chunk = malloc(CHUNK_BYTES);
	int rc = e == NULL || chunk == NULL ? -ENOMEM : 0;

	while (!rc && off < size) {
		size_t n = size - off < CHUNK_BYTES ? (size_t)(size - off) : CHUNK_BYTES;

		rc = read_exactly(fd, chunk, n, off);
		if (!rc)
			etag_add(e, chunk, n);
		off += n;
	}
	free(chunk);
	if (rc)
		etag_free(e);
	else
		etag_end(e, ret);
	return rc;
}

int dir_etag(struct dir *d, int fd, const struct stat *st, char *ret)
{
	struct stat now;
	int rc;

	if (etag_from_attribute(fd, st, ret) || etag_from_cache(d, st, ret))
		return 0;
	rc = etag_from_content(fd, st, ret);
	if (rc)
		return rc;
	/* Remembered only for what it was made of. */
	if (fstat(fd, &now) == 0 && now.st_ctim.tv_sec == st->st_ctim.tv_sec && now.st_ctim.tv_nsec == st->st_ctim.tv_nsec)
		dir_etag_remember(d, fd, ret);
	return 0;
}

void dir_etag_cheap(struct dir *d, int fd, const struct stat *st, char *ret)
{
	if (!etag_from_attribute(fd, st, ret) && !etag_from_cache(d, st, ret))
		ret[0] = '\0';
}

/* Opens r->key and fills what HEAD and GET have in common. */
static int open_described(struct dir *d, struct store_req *r, int *ret_fd)
{
	struct stat st;
	int fd = -1, rc = dir_check_key(r, r->key);

	if (rc)
		return rc;
	rc = dir_object_open(d, r->key, &fd, &st);
	if (rc)
		return dir_fail(d, r, rc, "read", r->key);
	rc = dir_etag(d, fd, &st, r->etag);
	if (rc) {
		close(fd);
		return dir_fail(d, r, rc, "read", r->key);
	}
	r->object_size = (uint64_t)st.st_size;
	r->mtime_s = st.st_mtim.tv_sec;
	*ret_fd = fd;
	return 0;
}

int dir_head(struct dir *d, struct store_req *r)
{
	int fd = -1, rc = open_described(d, r, &fd);

	if (rc)
		return rc;
	close(fd);
	return 0;
}

int dir_get(struct dir *d, struct store_req *r)
{
	uint64_t off;
	size_t len;
	int fd = -1, rc = open_described(d, r, &fd);

	if (rc)
		return rc;
	store_range(r, r->object_size, &off, &len);
	r->data = malloc(len + 1);
	rc = r->data == NULL ? -ENOMEM : read_exactly(fd, r->data, len, off);
	close(fd);
	if (rc) {
		free(r->data);
		r->data = NULL;
		return dir_fail(d, r, rc, "read", r->key);
	}
	r->data_len = len;
	return 0;
}
