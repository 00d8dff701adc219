/*
 * disk_posix.c - the cache directory on a local file system.
 *
 * A name is "x" or "dir/x", always relative to the directory's descriptor, so
 * that a directory moved while in use stays the same one. Nothing is buffered
 * here: what a crash leaves is what the kernel's contract says (pwrite: nothing
 * promised; fdatasync: the bytes; fsync of the directory: the names).
 * The flock on "lock" ends with the process, however it ends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk.h"
#include "err.h"

#define FILL_BYTES (256u << 10)

struct posix_disk {
	struct disk disk;
	int dir_fd, lock_fd;
};

struct posix_file {
	struct disk_file file;
	int fd;
};

static struct posix_disk *disk_of(struct disk *d)
{
	return CL_CONTAINER_OF(d, struct posix_disk, disk);
}

static int fd_of(struct disk_file *f)
{
	return CL_CONTAINER_OF(f, struct posix_file, file)->fd;
}

/* A quota that is used up is a full disk. */
static int space_error(int e)
{
	return e == EDQUOT ? -ENOSPC : -e;
}

/* Names come from this program and from its own listings; one that could leave the directory is refused all the same. */
static bool name_ok(const char *name)
{
	const char *slash = strchr(name, '/'), *last = slash ? slash + 1 : name;
	size_t first_len = slash ? (size_t)(slash - name) : strlen(name);

	if (first_len == 0 || *last == '\0' || strchr(last, '/'))
		return false;
	if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return false;
	return name[0] != '.' || (first_len != 1 && !(first_len == 2 && name[1] == '.'));
}

static int posix_open(struct disk *d, const char *name, int flags, struct disk_file **ret)
{
	int oflags = O_CLOEXEC | O_NOFOLLOW;
	struct posix_file *f;

	if (!name_ok(name))
		return -EINVAL;
	oflags |= flags & (DISK_WRITE | DISK_CREATE) ? O_RDWR : O_RDONLY;
	if (flags & DISK_CREATE)
		oflags |= O_CREAT | O_EXCL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->file.disk = d;
	do
		f->fd = openat(disk_of(d)->dir_fd, name, oflags, 0600);
	while (f->fd < 0 && errno == EINTR);
	if (f->fd < 0) {
		int rc = space_error(errno);

		free(f);
		return rc;
	}
	*ret = &f->file;
	return 0;
}

static void posix_close(struct disk_file *f)
{
	if (!f)
		return;
	/* Nothing rests on close's answer: what must last was synced, and Linux releases the descriptor in any case. */
	(void)close(fd_of(f));
	free(CL_CONTAINER_OF(f, struct posix_file, file));
}

static int posix_pread(struct disk_file *f, void *buf, size_t len, uint64_t off, size_t *ret)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd_of(f), (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret = done;
	return 0;
}

static int posix_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd_of(f), (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return space_error(errno);
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Not repeated after any error, EINTR included: a second fdatasync may return 0 for pages the first one lost. */
static int posix_sync(struct disk_file *f)
{
	return fdatasync(fd_of(f)) ? -errno : 0;
}

static int posix_fallocate_mode(struct disk_file *f, int mode, uint64_t off, uint64_t len)
{
	int rc;

	do
		rc = fallocate(fd_of(f), mode, (off_t)off, (off_t)len);
	while (rc && errno == EINTR);
	return rc ? space_error(errno) : 0;
}

static int posix_allocate(struct disk_file *f, uint64_t off, uint64_t len)
{
	return posix_fallocate_mode(f, 0, off, len);
}

static int write_zeros(struct disk_file *f, uint64_t off, uint64_t end)
{
	static const uint8_t zero[FILL_BYTES];
	int rc = 0;

	for (; rc == 0 && off < end; off += FILL_BYTES)
		rc = posix_pwrite(f, zero, end - off < FILL_BYTES ? (size_t)(end - off) : FILL_BYTES, off);
	return rc;
}

/* lseek(2): a range that is allocated and was not written is a hole to SEEK_HOLE. The descriptor's offset is used by nothing else. */
static int posix_fill(struct disk_file *f, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	int rc = posix_allocate(f, off, len);

	while (rc == 0 && off < end) {
		off_t hole = lseek(fd_of(f), (off_t)off, SEEK_HOLE), data;

		if (hole < 0 || (uint64_t)hole >= end)
			break; /* none; or the file system does not say, and all stays as it was allocated */
		data = lseek(fd_of(f), hole, SEEK_DATA);
		off = data < 0 || (uint64_t)data > end ? end : (uint64_t)data;
		rc = write_zeros(f, (uint64_t)hole, off);
	}
	return rc;
}

static int posix_punch(struct disk_file *f, uint64_t off, uint64_t len)
{
	return posix_fallocate_mode(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int posix_truncate(struct disk_file *f, uint64_t size)
{
	int rc;

	do
		rc = ftruncate(fd_of(f), (off_t)size);
	while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

static int posix_size(struct disk_file *f, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd_of(f), &st))
		return -errno;
	*ret = (uint64_t)st.st_size;
	return 0;
}

static int posix_usage(struct disk_file *f, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd_of(f), &st))
		return -errno;
	*ret = (uint64_t)st.st_blocks * 512;
	return 0;
}

static int posix_rename(struct disk *d, const char *from, const char *to)
{
	int fd = disk_of(d)->dir_fd;

	if (!name_ok(from) || !name_ok(to))
		return -EINVAL;
	return renameat(fd, from, fd, to) ? -errno : 0;
}

static int posix_unlink(struct disk *d, const char *name)
{
	if (!name_ok(name))
		return -EINVAL;
	return unlinkat(disk_of(d)->dir_fd, name, 0) ? -errno : 0;
}

static int posix_mkdir(struct disk *d, const char *name)
{
	if (!name_ok(name))
		return -EINVAL;
	if (mkdirat(disk_of(d)->dir_fd, name, 0700) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

static int open_dir(struct disk *d, const char *dir)
{
	int fd;

	if (*dir != '\0' && !name_ok(dir))
		return -EINVAL;
	fd = openat(disk_of(d)->dir_fd, *dir == '\0' ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int posix_sync_dir(struct disk *d, const char *dir)
{
	int fd = open_dir(d, dir), rc;

	if (fd < 0)
		return fd;
	rc = fsync(fd) ? -errno : 0;
	(void)close(fd);
	return rc;
}

static int is_regular(int fd, const struct dirent *de, bool *ret)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN) {
		*ret = de->d_type == DT_REG;
		return 0;
	}
	*ret = false;
	if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	*ret = S_ISREG(st.st_mode);
	return 0;
}

static int posix_list(struct disk *d, const char *dir, int (*each)(void *user, const char *name), void *user)
{
	int fd = open_dir(d, dir), rc = 0;
	DIR *stream;

	if (fd < 0)
		return fd;
	stream = fdopendir(fd);
	if (!stream) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	while (rc == 0) {
		const struct dirent *de;
		bool regular;

		errno = 0;
		de = readdir(stream);
		if (!de) {
			rc = -errno;
			break;
		}
		rc = is_regular(fd, de, &regular);
		if (rc == 0 && regular)
			rc = each(user, de->d_name);
	}
	(void)closedir(stream);
	return rc;
}

static int posix_free_bytes(struct disk *d, uint64_t *ret)
{
	struct statvfs st;

	if (fstatvfs(disk_of(d)->dir_fd, &st))
		return -errno;
	*ret = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
	return 0;
}

static const struct disk posix_table = {
	.open = posix_open, .close = posix_close, .pread = posix_pread, .pwrite = posix_pwrite, .sync = posix_sync,
	.allocate = posix_allocate, .fill = posix_fill, .truncate = posix_truncate, .punch = posix_punch, .size = posix_size,
	.usage = posix_usage, .rename = posix_rename, .unlink = posix_unlink, .mkdir = posix_mkdir,
	.sync_dir = posix_sync_dir, .list = posix_list, .free_bytes = posix_free_bytes,
};

static int lock_dir(struct posix_disk *p, const char *path)
{
	p->lock_fd = openat(p->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock_fd < 0)
		return err_set(-errno, "cannot make the lock file in the cache directory %s: %s; check its owner and mode", path,
			       strerror(errno));
	if (flock(p->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(-EWOULDBLOCK,
			       "the cache directory %s is in use by another process; unmount that volume or choose another cache_dir",
			       path);
	return err_set(-errno, "cannot lock the cache directory %s: %s", path, strerror(errno));
}

int disk_posix_open(const char *path, struct disk **ret)
{
	struct posix_disk *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	p->disk = posix_table;
	p->dir_fd = p->lock_fd = -1;
	if (mkdir(path, 0700) && errno != EEXIST) {
		rc = err_set(-errno, "cannot make the cache directory %s: %s; make its parent or choose another cache_dir", path,
			     strerror(errno));
		goto fail;
	}
	p->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0) {
		rc = err_set(-errno, "cannot open the cache directory %s: %s", path, strerror(errno));
		goto fail;
	}
	rc = lock_dir(p, path);
	if (rc)
		goto fail;
	*ret = &p->disk;
	return 0;
fail:
	disk_posix_close(&p->disk);
	return rc;
}

void disk_posix_close(struct disk *d)
{
	struct posix_disk *p;

	if (!d)
		return;
	p = disk_of(d);
	if (p->lock_fd >= 0)
		(void)close(p->lock_fd);
	if (p->dir_fd >= 0)
		(void)close(p->dir_fd);
	free(p);
}
