/* tree_posix_trash.c - the trash of a tree on this machine, and the notes about it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "tree_posix_impl.h"

#define NOTES "trash.notes"

static int name_ok(const char *name)
{
	return entry_path_valid(name, strlen(name)) && !strchr(name, '/') ? 0 : -EINVAL;
}

static int posix_trash(struct tree *t, const char *temp, const char *name)
{
	if (posix_temp_ok(temp) || name_ok(name))
		return -EINVAL;
	return renameat2(posix_of(t)->tmp, temp, posix_of(t)->trash, name, RENAME_NOREPLACE) ? -errno : 0;
}

/* dup(2) would share the place in the directory with whoever else lists it. */
static int list_fd(int dir, tree_visit visit, void *user)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rc = posix_list_names(d, "", visit, user);
	closedir(d);
	return rc;
}

static int posix_list_temps(struct tree *t, tree_visit visit, void *user)
{
	return list_fd(posix_of(t)->tmp, visit, user);
}

static int posix_list_trash(struct tree *t, tree_visit visit, void *user)
{
	return list_fd(posix_of(t)->trash, visit, user);
}

static int posix_untrash(struct tree *t, const char *name, const char *path)
{
	struct posix_place pl;
	int rc = name_ok(name);

	if (!rc)
		rc = posix_enter(posix_of(t), path, &pl);
	if (rc)
		return rc;
	rc = renameat2(posix_of(t)->trash, name, pl.fd, pl.name, RENAME_NOREPLACE) ? -errno : 0;
	posix_leave(&pl);
	return rc;
}

/* Removes what is in the directory but for other directories; *ret_below: the first of those (to be freed), NULL = it is empty. */
static int empty_dir(int trash, const char *path, char **ret_below)
{
	int fd = posix_beneath(trash, path, O_RDONLY | O_DIRECTORY), rc = 0; /* never across a mount */
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	*ret_below = NULL;
	if (!d) {
		rc = fd < 0 ? fd : -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && !*ret_below && (errno = 0, e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || unlinkat(dirfd(d), e->d_name, 0) == 0)
			continue;
		if (errno == EISDIR) {
			if (asprintf(ret_below, "%s/%s", path, e->d_name) < 0) {
				*ret_below = NULL;
				rc = -ENOMEM;
			}
		} else if (errno != ENOENT) {
			rc = -errno;
		}
	}
	if (!rc && !*ret_below && errno)
		rc = -errno;
	closedir(d);
	return rc;
}

/* No recursion: as deep as the tree may be, one descriptor is open. */
static int remove_all(int trash, const char *name)
{
	char *path = strdup(name), *below;
	size_t top = strlen(name);
	int rc = path ? 0 : -ENOMEM;

	while (!rc) {
		char *slash;

		rc = empty_dir(trash, path, &below);
		if (!rc && below) {
			free(path);
			path = below;
			continue;
		}
		if (!rc && unlinkat(trash, path, AT_REMOVEDIR))
			rc = -errno;
		if (rc || strlen(path) == top)
			break;
		slash = strrchr(path, '/');
		*slash = '\0';
	}
	free(path);
	return rc;
}

static int posix_remove_trash(struct tree *t, const char *name)
{
	int trash = posix_of(t)->trash;

	if (name_ok(name))
		return -EINVAL;
	if (unlinkat(trash, name, 0) == 0)
		return 0;
	return errno == EISDIR ? remove_all(trash, name) : -errno;
}

/* --- notes --- */

static int append(int fd, off_t size, const void *p, size_t len)
{
	size_t done = 0;
	int rc = 0;

	while (!rc && done < len) {
		ssize_t n = write(fd, (const char *)p + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			rc = n < 0 ? -errno : -EIO;
		else
			done += (size_t)n;
	}
	if (rc && ftruncate(fd, size)) /* what is left of it is passed over when it is read */
		return rc;
	return rc;
}

static int posix_note(struct tree *t, const void *p, size_t len, bool sync)
{
	struct posix_tree *x = posix_of(t);
	int fd = openat(x->corner, NOTES, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600), rc;
	struct stat st;

	if (fd < 0)
		return -errno;
	rc = fstat(fd, &st) ? -errno : append(fd, st.st_size, p, len);
	if (!rc && sync && (fdatasync(fd) || (st.st_size == 0 && fsync(x->corner))))
		rc = -errno;
	close(fd);
	return rc;
}

static int posix_sync_notes(struct tree *t)
{
	struct posix_tree *x = posix_of(t);
	int fd = openat(x->corner, NOTES, O_WRONLY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = fdatasync(fd) || fsync(x->corner) ? -errno : 0;
	close(fd);
	return rc;
}

static int posix_notes_get(struct tree *t, struct buf *ret)
{
	int fd = openat(posix_of(t)->corner, NOTES, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	ssize_t n = 1;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	while (!rc && n) {
		rc = buf_reserve(ret, 1u << 16);
		if (rc)
			break;
		n = read(fd, ret->data + ret->len, 1u << 16);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n > 0)
			ret->len += (size_t)n;
	}
	close(fd);
	return rc;
}

static int posix_notes_put(struct tree *t, const void *p, size_t len)
{
	int corner = posix_of(t)->corner, fd = openat(corner, NOTES ".new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), rc;

	if (fd < 0)
		return -errno;
	rc = append(fd, 0, p, len);
	if (!rc && fsync(fd))
		rc = -errno;
	close(fd);
	if (!rc && (renameat(corner, NOTES ".new", corner, NOTES) || fsync(corner)))
		rc = -errno;
	if (rc)
		unlinkat(corner, NOTES ".new", 0);
	return rc;
}

void posix_trash_functions(struct tree *t)
{
	t->trash = posix_trash;
	t->list_temps = posix_list_temps;
	t->list_trash = posix_list_trash;
	t->untrash = posix_untrash;
	t->remove_trash = posix_remove_trash;
	t->note = posix_note;
	t->sync_notes = posix_sync_notes;
	t->notes_get = posix_notes_get;
	t->notes_put = posix_notes_put;
}
