/*
 * tree_posix_make.c - what is made in the corner, and how it gets into the tree and out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "tree_posix_impl.h"

#define COPY_BYTES (1u << 20)

static int temp_fd(struct tree *t, const char *temp)
{
	return posix_temp_ok(temp) ? -1 : posix_of(t)->tmp;
}

static int posix_make_file(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret)
{
	struct tree_file *f;
	int fd = temp_fd(t, temp), rc = 0;

	if (fd < 0 || size > ENTRY_SIZE_MAX)
		return -EINVAL;
	f = malloc(sizeof *f);
	if (!f)
		return -ENOMEM;
	f->fd = openat(fd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd < 0) {
		rc = -errno;
	} else if (size && ftruncate(f->fd, (off_t)size)) {
		rc = -errno;
		close(f->fd);
		unlinkat(fd, temp, 0);
	}
	if (rc) {
		free(f);
		return rc;
	}
	*ret = f;
	return 0;
}

/* With another name it is not a temp alone: nobody writes to it then. */
static int posix_reopen_file(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret)
{
	int dir = temp_fd(t, temp), fd = dir < 0 ? -1 : openat(dir, temp, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = 0;
	struct tree_file *f;
	struct stat st;

	if (fd < 0)
		return dir < 0 || errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EINVAL : -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_size < 0 || (uint64_t)st.st_size != size)
		rc = -EINVAL;
	f = rc ? NULL : malloc(sizeof *f);
	if (!f) {
		close(fd);
		return rc ? rc : -ENOMEM;
	}
	f->fd = fd;
	*ret = f;
	return 0;
}

static int posix_write(struct tree_file *f, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(f->fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int copy_by_hand(struct tree_file *to, int from, uint64_t off, uint64_t len)
{
	char *b = malloc(COPY_BYTES);
	int rc = b ? 0 : -ENOMEM;

	while (!rc && len) {
		ssize_t n = pread(from, b, len < COPY_BYTES ? (size_t)len : COPY_BYTES, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n < 0 ? -errno : -EIO;
			break;
		}
		rc = posix_write(to, b, (size_t)n, off);
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	free(b);
	return rc;
}

static int posix_copy(struct tree_file *to, struct tree_file *from, uint64_t off, uint64_t len)
{
	while (len) {
		off_t in = (off_t)off, out = (off_t)off;
		ssize_t n = copy_file_range(from->fd, &in, to->fd, &out, (size_t)len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EXDEV || errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
			return copy_by_hand(to, from->fd, off, len);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int posix_make_dir(struct tree *t, const char *temp)
{
	int fd = temp_fd(t, temp);

	return fd < 0 ? -EINVAL : mkdirat(fd, temp, 0700) ? -errno : 0;
}

static int posix_make_symlink(struct tree *t, const char *temp, const char *target)
{
	int fd = temp_fd(t, temp);

	return fd < 0 ? -EINVAL : symlinkat(target, fd, temp) ? -errno : 0;
}

static int posix_link_from(struct tree *t, const char *path, const char *temp)
{
	struct posix_place pl;
	int fd = temp_fd(t, temp), rc;

	if (fd < 0)
		return -EINVAL;
	rc = posix_enter(posix_of(t), path, &pl);
	if (rc)
		return rc;
	rc = linkat(pl.fd, pl.name, fd, temp, 0) ? -errno : 0;
	posix_leave(&pl);
	return rc;
}

static int posix_dress_temp(struct tree *t, const char *temp, const struct entry *e, struct tree_owner *ret)
{
	int fd = temp_fd(t, temp);

	return fd < 0 ? -EINVAL : posix_dress_at(posix_of(t), fd, temp, e, ret);
}

static int posix_dress(struct tree *t, const char *path, const struct entry *e, struct tree_owner *ret)
{
	struct posix_place pl;
	int rc = posix_enter(posix_of(t), path, &pl);

	if (rc)
		return rc;
	rc = posix_dress_at(posix_of(t), pl.fd, pl.name, e, ret);
	posix_leave(&pl);
	return rc;
}

static int posix_dress_file(struct tree *t, struct tree_file *f, const struct entry *e, struct tree_owner *ret)
{
	return posix_dress_fd(posix_of(t), f->fd, e, ret);
}

static int posix_stat_temp(struct tree *t, const char *temp, struct tree_stat *ret)
{
	int fd = temp_fd(t, temp);
	struct stat st;

	if (fd < 0)
		return -EINVAL;
	if (fstatat(fd, temp, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	posix_stat_from(&st, ret);
	return 0;
}

static int posix_describe_temp(struct tree *t, const char *temp, struct tree_stat *ret_st, struct entry *ret)
{
	int fd = temp_fd(t, temp);

	return fd < 0 ? -EINVAL : posix_describe_at(posix_of(t), fd, temp, ret_st, ret);
}

static int posix_remove_temp(struct tree *t, const char *temp)
{
	int fd = temp_fd(t, temp);

	if (fd < 0)
		return -EINVAL;
	if (unlinkat(fd, temp, 0) == 0 || (errno == EISDIR && unlinkat(fd, temp, AT_REMOVEDIR) == 0))
		return 0;
	return errno == EEXIST ? -ENOTEMPTY : -errno;
}

static int posix_rename_temp(struct tree *t, const char *from, const char *to)
{
	int fd = temp_fd(t, from);

	if (fd < 0 || posix_temp_ok(to))
		return -EINVAL;
	return renameat2(fd, from, fd, to, RENAME_NOREPLACE) ? -errno : 0;
}

/* --- changing places --- */

static int move(struct tree *t, const char *temp, const char *path, bool in, unsigned flags)
{
	struct posix_place pl;
	int fd = temp_fd(t, temp), rc;

	if (fd < 0)
		return -EINVAL;
	rc = posix_enter(posix_of(t), path, &pl);
	if (rc)
		return rc;
	if (in)
		rc = renameat2(fd, temp, pl.fd, pl.name, flags) ? -errno : 0;
	else
		rc = renameat2(pl.fd, pl.name, fd, temp, flags) ? -errno : 0;
	posix_leave(&pl);
	return rc;
}

static int posix_publish(struct tree *t, const char *temp, const char *path)
{
	return move(t, temp, path, true, RENAME_NOREPLACE);
}

static int posix_exchange(struct tree *t, const char *temp, const char *path)
{
	return move(t, temp, path, true, RENAME_EXCHANGE);
}

static int posix_withdraw(struct tree *t, const char *path, const char *temp)
{
	return move(t, temp, path, false, RENAME_NOREPLACE);
}

static int posix_remove_dir(struct tree *t, const char *path)
{
	struct posix_place pl;
	int rc = posix_enter(posix_of(t), path, &pl);

	if (rc)
		return rc;
	rc = unlinkat(pl.fd, pl.name, AT_REMOVEDIR) ? -errno : 0;
	posix_leave(&pl);
	return rc == -EEXIST ? -ENOTEMPTY : rc;
}

static int posix_set_dir_time(struct tree *t, const char *path, int64_t s, uint32_t ns)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { (time_t)s, (long)ns } };
	int fd, rc = posix_open_dir(posix_of(t), path, true, &fd);

	if (rc)
		return rc;
	rc = futimens(fd, times) ? -errno : 0;
	close(fd);
	return rc;
}

void posix_make_functions(struct tree *t)
{
	t->make_file = posix_make_file;
	t->reopen_file = posix_reopen_file;
	t->write = posix_write;
	t->copy = posix_copy;
	t->make_dir = posix_make_dir;
	t->make_symlink = posix_make_symlink;
	t->link_from = posix_link_from;
	t->dress_temp = posix_dress_temp;
	t->dress = posix_dress;
	t->dress_file = posix_dress_file;
	t->stat_temp = posix_stat_temp;
	t->describe_temp = posix_describe_temp;
	t->remove_temp = posix_remove_temp;
	t->rename_temp = posix_rename_temp;
	t->publish = posix_publish;
	t->exchange = posix_exchange;
	t->withdraw = posix_withdraw;
	t->remove_dir = posix_remove_dir;
	t->set_dir_time = posix_set_dir_time;
}
