/*
 * tree_posix.c - a directory on this machine as a tree: opening it, looking, reading, syncing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "err.h"
#include "logmsg.h"
#include "tree_posix_impl.h"

#define BENEATH (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

int posix_beneath(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC), .resolve = BENEATH };
	long fd;

	do /* the kernel could not rule out a race with a rename: it asks to be asked again */
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	while (fd < 0 && errno == EAGAIN);
	return fd < 0 ? -errno : (int)fd;
}

static bool in_corner(const char *path)
{
	size_t n = strlen(TREE_CORNER);

	return strncmp(path, TREE_CORNER, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

int posix_enter(struct posix_tree *p, const char *path, struct posix_place *ret)
{
	const char *slash = strrchr(path, '/');
	char dir[ENTRY_PATH_MAX + 1];
	int fd;

	if (!entry_path_valid(path, strlen(path)) || in_corner(path))
		return -EINVAL;
	if (!slash) {
		*ret = (struct posix_place){ p->root, false, path };
		return 0;
	}
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	fd = posix_beneath(p->root, dir, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return fd;
	*ret = (struct posix_place){ fd, true, slash + 1 };
	return 0;
}

void posix_leave(struct posix_place *pl)
{
	if (pl->own)
		close(pl->fd);
}

int posix_open_dir(struct posix_tree *p, const char *path, bool read, int *ret)
{
	int fd;

	if (path[0] && (!entry_path_valid(path, strlen(path)) || in_corner(path)))
		return -EINVAL;
	fd = posix_beneath(p->root, path[0] ? path : ".", O_DIRECTORY | (read ? O_RDONLY : O_PATH));
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}

int posix_temp_ok(const char *temp)
{
	size_t n = strspn(temp, "0123456789abcdefghijklmnopqrstuvwxyz.-");

	return n > 0 && n <= TREE_TEMP_MAX && temp[n] == '\0' && temp[0] != '.' ? 0 : -EINVAL;
}

void posix_stat_from(const struct stat *st, struct tree_stat *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->carried = true;
	if (S_ISREG(st->st_mode))
		ret->kind = ENTRY_FILE;
	else if (S_ISDIR(st->st_mode))
		ret->kind = ENTRY_DIR;
	else if (S_ISLNK(st->st_mode))
		ret->kind = ENTRY_SYMLINK;
	else
		ret->carried = false;
	ret->id = (struct index_stat){ .ino = st->st_ino, .size = (uint64_t)st->st_size, .links = st->st_nlink, .mtime_s = st->st_mtim.tv_sec,
				       .ctime_s = st->st_ctim.tv_sec, .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
				       .ctime_ns = (uint32_t)st->st_ctim.tv_nsec, .uid = st->st_uid, .gid = st->st_gid };
	ret->mode = (uint16_t)(st->st_mode & 07777);
}

/* --- looking --- */

static int posix_stat(struct tree *t, const char *path, struct tree_stat *ret)
{
	struct posix_tree *p = posix_of(t);
	struct posix_place pl;
	struct stat st;
	int rc;

	if (!path[0]) {
		if (fstat(p->root, &st))
			return -errno;
		posix_stat_from(&st, ret);
		return 0;
	}
	rc = posix_enter(p, path, &pl);
	if (rc)
		return rc;
	rc = fstatat(pl.fd, pl.name, &st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
	posix_leave(&pl);
	if (!rc)
		posix_stat_from(&st, ret);
	return rc;
}

int posix_list_names(DIR *d, const char *without, tree_visit visit, void *user)
{
	struct tree_stat ts;
	struct dirent *e;
	struct stat st;
	int rc = 0;

	while (!rc) {
		errno = 0;
		e = readdir(d);
		if (!e)
			return errno ? -errno : 0;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, without))
			continue;
		memset(&ts, 0, sizeof ts);
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			posix_stat_from(&st, &ts);
		else if (errno == ENOENT)
			continue;
		rc = visit(user, e->d_name, strlen(e->d_name), &ts);
	}
	return rc;
}

static int posix_list(struct tree *t, const char *dir, tree_visit visit, void *user)
{
	DIR *d;
	int fd, rc = posix_open_dir(posix_of(t), dir, true, &fd);

	if (rc)
		return rc;
	d = fdopendir(fd);
	if (!d) {
		rc = -errno;
		close(fd);
		return rc;
	}
	rc = posix_list_names(d, dir[0] ? "" : TREE_CORNER, visit, user);
	closedir(d);
	return rc;
}

static int posix_describe(struct tree *t, const char *path, struct tree_stat *ret_st, struct entry *ret)
{
	struct posix_tree *p = posix_of(t);
	struct posix_place pl;
	int rc = posix_enter(p, path, &pl);

	if (rc)
		return rc;
	rc = posix_describe_at(p, pl.fd, pl.name, ret_st, ret);
	posix_leave(&pl);
	return rc;
}

/* --- contents --- */

static int wrap(int fd, struct tree_file **ret)
{
	struct tree_file *f;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	f = malloc(sizeof *f);
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	f->fd = fd;
	*ret = f;
	return 0;
}

static int open_at(int fd, const char *name, struct tree_file **ret)
{
	/* NONBLOCK: a fifo that has taken the file's place must not hold us. NOATIME is refused where the file is not ours. */
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, got = openat(fd, name, flags | O_NOATIME);

	if (got < 0 && errno == EPERM)
		got = openat(fd, name, flags);
	return wrap(got, ret);
}

static int posix_open(struct tree *t, const char *path, struct tree_file **ret)
{
	struct posix_place pl;
	int rc = posix_enter(posix_of(t), path, &pl);

	if (rc)
		return rc;
	rc = open_at(pl.fd, pl.name, ret);
	posix_leave(&pl);
	return rc;
}

static int posix_open_temp(struct tree *t, const char *temp, struct tree_file **ret)
{
	return posix_temp_ok(temp) ? -EINVAL : open_at(posix_of(t)->tmp, temp, ret);
}

static int posix_fstat(struct tree_file *f, struct tree_stat *ret)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return -errno;
	posix_stat_from(&st, ret);
	return 0;
}

static int64_t posix_read(struct tree_file *f, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(f->fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return (int64_t)done;
}

static int posix_data(struct tree_file *f, uint64_t off, uint64_t *ret_data, uint64_t *ret_end)
{
	off_t data = lseek(f->fd, (off_t)off, SEEK_DATA), end;
	struct stat st;

	if (data < 0 && errno == ENXIO) {
		if (fstat(f->fd, &st))
			return -errno;
		*ret_data = *ret_end = (uint64_t)st.st_size;
		return 0;
	}
	end = data < 0 ? -1 : lseek(f->fd, data, SEEK_HOLE);
	if (end < 0)
		return -errno;
	*ret_data = (uint64_t)data;
	*ret_end = (uint64_t)end;
	return 0;
}

static void posix_uncache(struct tree_file *f, uint64_t off, uint64_t len)
{
	posix_fadvise(f->fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
}

static int posix_quiet(struct tree_file *f)
{
	if (fcntl(f->fd, F_SETLEASE, F_RDLCK) == 0)
		return 1;
	if (errno == EAGAIN)
		return 0;
	/* Not our file and no CAP_LEASE, or a file system without leases. */
	return errno == EACCES || errno == EINVAL || errno == EPERM || errno == EOPNOTSUPP ? -ENOTSUP : -errno;
}

static int posix_still_quiet(struct tree_file *f)
{
	int lease = fcntl(f->fd, F_GETLEASE);

	return lease < 0 ? -errno : lease == F_RDLCK;
}

static void posix_close(struct tree_file *f)
{
	if (!f)
		return;
	close(f->fd); /* a lease goes with it; whoever waited to write goes on */
	free(f);
}

static void posix_begin_sync(struct tree_file *f, uint64_t off, uint64_t len)
{
	(void)sync_file_range(f->fd, (off_t)off, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

static int posix_sync_file(struct tree_file *f)
{
	return fsync(f->fd) ? -errno : 0;
}

static int posix_sync_dir(struct tree *t, const char *path)
{
	int fd, rc = posix_open_dir(posix_of(t), path, true, &fd);

	if (rc)
		return rc;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

/* --- is it still the tree? --- */

static bool posix_far(struct tree *t)
{
	return posix_of(t)->far;
}

static int posix_alive(struct tree *t)
{
	struct posix_tree *p = posix_of(t);
	struct stat st, corner;

	if (stat(p->dir, &st) || st.st_dev != p->dev || st.st_ino != p->ino)
		return -ESTALE;
	if (fstatat(p->root, TREE_CORNER, &corner, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(corner.st_mode))
		return -ESTALE;
	return 0;
}

static int posix_token_get(struct tree *t, uint8_t *ret)
{
	uint8_t b[TREE_TOKEN_BYTES + 1];
	int fd = openat(posix_of(t)->corner, "token", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, b, sizeof b);
	close(fd);
	if (n != TREE_TOKEN_BYTES)
		return n < 0 ? -errno : -ENOENT; /* torn: as good as none */
	memcpy(ret, b, TREE_TOKEN_BYTES);
	return 0;
}

static int posix_token_put(struct tree *t, const uint8_t *token)
{
	int corner = posix_of(t)->corner, rc = 0, fd;

	fd = openat(corner, "token.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	errno = EIO; /* for a short write */
	if (write(fd, token, TREE_TOKEN_BYTES) != TREE_TOKEN_BYTES || fsync(fd))
		rc = -errno;
	close(fd);
	if (!rc && (renameat(corner, "token.new", corner, "token") || fsync(corner)))
		rc = -errno;
	return rc;
}

static void posix_free(struct tree *t)
{
	struct posix_tree *p;

	if (!t)
		return;
	p = posix_of(t);
	for (size_t i = 0; i < 4; i++) {
		int fd = (int[]){ p->trash, p->tmp, p->corner, p->root }[i];

		if (fd >= 0)
			close(fd);
	}
	pthread_mutex_destroy(&p->owners_mu);
	free(p->dir);
	free(p);
}

/* --- opening --- */

/* A directory of ours in `at`; make: where it is missing. */
static int own_dir(struct posix_tree *p, int at, const char *name, bool make, int *ret)
{
	struct stat st;
	int fd;

	if (make && mkdirat(at, name, 0700) && errno != EEXIST)
		return err_set(-errno, "cannot make %s in %s: %s", name, p->dir, strerror(errno));
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && !make)
		return err_set(-errno, "cannot open %s in %s (%s): does clonesync keep this directory, and is it yours?", name, p->dir, strerror(errno));
	if (fd < 0)
		return err_set(errno == ENOENT ? -ENOENT : -EPERM, "%s in %s cannot be opened as a directory (%s): it belongs to clonesync; "
			       "move away what is there under that name", name, p->dir, strerror(errno));
	if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		close(fd);
		return err_set(-EPERM, "%s in %s is not clonesync's own (owner %u, mode %o): move it away", name, p->dir, st.st_uid,
			       st.st_mode & 07777u);
	}
	*ret = fd;
	return 0;
}

/*
 * Temps are nobody's once the process that made them is gone, but for those that may hold what was taken out of the tree: the only copy, perhaps. A directory made
 * there is empty, or was taken out of the tree whole. What can be neither removed nor moved stays, and is tried again: what is to be kept when the trash is tended,
 * all else at the next start.
 */
static void clear_temp(struct posix_tree *p, const char *name)
{
	bool keep = name[0] == TREE_TEMP_KEEP;

	if (name[0] == TREE_TEMP_PART || (!keep && unlinkat(p->tmp, name, 0) == 0))
		return;
	if ((keep || errno == EISDIR) && unlinkat(p->tmp, name, AT_REMOVEDIR) == 0) /* else errno says why it is not removed */
		return;
	if ((keep || errno == ENOTEMPTY || errno == EEXIST) && renameat2(p->tmp, name, p->trash, name, RENAME_NOREPLACE) == 0)
		return;
	logmsg(LOGMSG_WARNING, "%s/%s/tmp/%s is left over, and cannot be %s: %s", p->dir, TREE_CORNER, name, keep ? "moved to the trash" : "removed", strerror(errno));
}

static int clear_temps(struct posix_tree *p)
{
	int fd = openat(p->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (errno = 0, (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			clear_temp(p, e->d_name);
	rc = -errno;
	closedir(d);
	return rc;
}

/* The line of a file system in mountinfo(5): ... major:minor ... - type ... */
static bool is_clonefs(dev_t dev)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, type[32];
	unsigned maj, min;
	bool yes = false;
	size_t cap = 0;

	if (!f)
		return false;
	while (!yes && getline(&line, &cap, f) > 0) {
		const char *dash = strstr(line, " - ");

		yes = sscanf(line, "%*u %*u %u:%u", &maj, &min) == 2 && maj == major(dev) && min == minor(dev) && dash &&
		      sscanf(dash + 3, "%31s", type) == 1 && strcmp(type, "fuse.clonefs") == 0;
	}
	free(line);
	fclose(f);
	return yes;
}

static int open_dirs(struct posix_tree *p, bool ours)
{
	struct stat st;
	int rc;

	p->root = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->root < 0 || fstat(p->root, &st))
		return err_set(-errno, "cannot open %s: %s", p->dir, strerror(errno));
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	rc = own_dir(p, p->root, TREE_CORNER, ours, &p->corner);
	if (!rc)
		rc = own_dir(p, p->corner, "tmp", ours, &p->tmp);
	if (!rc)
		rc = own_dir(p, p->corner, "trash", ours, &p->trash);
	if (!rc && ours) {
		rc = p->t.sync_notes(&p->t); /* what a process wrote down that died, before what it is about goes where it must be known */
		if (!rc)
			rc = clear_temps(p);
		if (rc)
			err_set(rc, "cannot clear %s/%s/tmp: %s", p->dir, TREE_CORNER, strerror(-rc));
	}
	return rc;
}

static int open_tree(const char *dir, bool ours, struct tree **ret)
{
	struct posix_tree *p = calloc(1, sizeof *p);
	int rc;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->owners_mu, NULL);
	p->root = p->corner = p->tmp = p->trash = -1;
	p->t = (struct tree){ .stat = posix_stat, .list = posix_list, .describe = posix_describe, .open = posix_open,
			      .open_temp = posix_open_temp, .fstat = posix_fstat, .read = posix_read, .uncache = posix_uncache, .data = posix_data, .quiet = posix_quiet,
			      .still_quiet = posix_still_quiet, .close = posix_close, .begin_sync = posix_begin_sync, .sync_file = posix_sync_file, .sync_dir = posix_sync_dir,
			      .alive = posix_alive, .far = posix_far, .token_get = posix_token_get, .token_put = posix_token_put, .free = posix_free };
	posix_make_functions(&p->t);
	posix_trash_functions(&p->t);
	p->dir = realpath(dir, NULL);
	rc = p->dir ? open_dirs(p, ours) : err_set(-errno, "cannot open %s: %s", dir, strerror(errno));
	if (rc) {
		posix_free(&p->t);
		return rc;
	}
	p->far = is_clonefs(p->dev);
	posix_sync_functions(p, p->far);
	/* A lease that is broken sends this; unhandled it would end the process. */
	signal(SIGIO, SIG_IGN);
	*ret = &p->t;
	return 0;
}

int tree_posix_open(const char *dir, struct tree **ret)
{
	return open_tree(dir, true, ret);
}

int tree_posix_look(const char *dir, struct tree **ret)
{
	return open_tree(dir, false, ret);
}
