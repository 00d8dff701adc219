/* compare.c - is the same on both sides? */
#include "tree.h"

#include <dirent.h>
#include <sys/fsuid.h>
#include <sys/xattr.h>

#define NAMES_MAX 4096
#define LIST_ROOM 4096

/* A time near the present is one that a file system set: on the two sides not at the same instant. */
static bool present(const struct timespec *t)
{
	return t->tv_sec > 1600000000 && t->tv_sec < 2000000000;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return (present(a) && present(b)) || (a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec);
}

void compare_stat(const struct stat *a, const struct stat *b, const char *path)
{
	if (a->st_mode != b->st_mode)
		differ("%s: mode %o and %o", path, a->st_mode, b->st_mode);
	if (a->st_nlink != b->st_nlink)
		differ("%s: %ju and %ju links", path, (uintmax_t)a->st_nlink, (uintmax_t)b->st_nlink);
	if (a->st_uid != b->st_uid || a->st_gid != b->st_gid)
		differ("%s: owner %u:%u and %u:%u", path, a->st_uid, a->st_gid, b->st_uid, b->st_gid);
	if (a->st_rdev != b->st_rdev)
		differ("%s: device %jx and %jx", path, (uintmax_t)a->st_rdev, (uintmax_t)b->st_rdev);
	/* The size of a directory is each file system's own affair. */
	if (!S_ISDIR(a->st_mode) && a->st_size != b->st_size)
		differ("%s: size %jd and %jd", path, (intmax_t)a->st_size, (intmax_t)b->st_size);
	if (!same_time(&a->st_mtim, &b->st_mtim))
		differ("%s: mtime %jd.%09ld and %jd.%09ld", path, (intmax_t)a->st_mtim.tv_sec, a->st_mtim.tv_nsec, (intmax_t)b->st_mtim.tv_sec,
		       b->st_mtim.tv_nsec);
	if (!same_time(&a->st_atim, &b->st_atim))
		differ("%s: atime %jd.%09ld and %jd.%09ld", path, (intmax_t)a->st_atim.tv_sec, a->st_atim.tv_nsec, (intmax_t)b->st_atim.tv_sec,
		       b->st_atim.tv_nsec);
	if (!present(&a->st_ctim) || !present(&b->st_ctim))
		differ("%s: ctime %jd and %jd", path, (intmax_t)a->st_ctim.tv_sec, (intmax_t)b->st_ctim.tv_sec);
}

/*
 * Set-group-id of a file that its group may not execute means nothing (execve(2) passes over it). Linux clears it at a write by who is
 * not in the group; FUSE's protocol (linux/fuse.h, HANDLE_KILLPRIV_V2) has it stay. Where that is all that differs it is taken away, so
 * that a later chmod does not make it mean something on one side.
 */
bool differ_in_nothing(const struct stat st[2])
{
	return !S_ISDIR(st[0].st_mode) && (st[0].st_mode ^ st[1].st_mode) == S_ISGID && !(st[0].st_mode & S_IXGRP);
}

static void compare_one(const char *path)
{
	struct stat st[2];

	BOTH(fstatat(tree_root[s], path, &st[s], AT_SYMLINK_NOFOLLOW));
	agree();
	if (result[0] < 0)
		return;
	if (differ_in_nothing(st)) {
		BOTH(fchmodat(tree_root[s], path, st[s].st_mode & 07777 & ~(mode_t)S_ISGID, 0));
		BOTH(fstatat(tree_root[s], path, &st[s], AT_SYMLINK_NOFOLLOW));
	}
	compare_stat(&st[0], &st[1], path);
}

void compare_path(const char *path)
{
	char dir[PATH_ROOM], *slash;

	setfsuid(0); /* whoever the operation was done as */
	compare_one(path);
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash[1] == '\0') {
		*slash = '\0';
		slash = strrchr(dir, '/');
	}
	if (!slash)
		return;
	*slash = '\0';
	/* What all share has the times and links that all make. */
	if (strncmp(dir, "shared", 6) != 0 || strchr(dir, '/'))
		compare_one(dir);
}

void compare_fds(const int fd[2], const char *what)
{
	struct stat st[2];

	BOTH(fstat(fd[s], &st[s]));
	agree();
	if (result[0] < 0)
		return;
	setfsuid(0);
	if (differ_in_nothing(st)) {
		BOTH(fchmod(fd[s], st[s].st_mode & 07777 & ~(mode_t)S_ISGID));
		BOTH(fstat(fd[s], &st[s]));
	}
	compare_stat(&st[0], &st[1], what);
}

/* ------------------------------------------------------------- directories */

struct names { size_t count; struct { char name[256]; unsigned char type; } at[NAMES_MAX]; };

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void read_names(int dir, const char *prefix, struct names *ret, const char *path)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	ret->count = 0;
	if (!d) { /* a directory that was removed while open: no "." leads to it */
		if (errno == ENOENT)
			return;
		differ("%s cannot be listed: %s", path, strerror(errno));
	}
	while (errno = 0, (e = readdir(d))) {
		if (prefix && strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		if (ret->count == NAMES_MAX)
			cannot("too many names");
		snprintf(ret->at[ret->count].name, sizeof(ret->at[0].name), "%s", e->d_name);
		ret->at[ret->count++].type = e->d_type;
	}
	if (errno)
		differ("%s cannot be listed to its end: %s", path, strerror(errno));
	closedir(d);
	qsort(ret->at, ret->count, sizeof(ret->at[0]), by_name);
}

static struct names *list_both(const int dir[2], const char *path, const char *prefix)
{
	struct names *n = malloc(2 * sizeof(*n));

	if (!n)
		cannot("memory");
	for (int s = 0; s < 2; s++)
		read_names(dir[s], prefix, &n[s], path);
	for (size_t i = 0; i < n[0].count || i < n[1].count; i++) {
		if (i == n[0].count || i == n[1].count || strcmp(n[0].at[i].name, n[1].at[i].name) != 0)
			differ("%s holds %zu and %zu names; the first that differs is %s and %s", path, n[0].count, n[1].count,
			       i < n[0].count ? n[0].at[i].name : "none", i < n[1].count ? n[1].at[i].name : "none");
		if (n[0].at[i].type != n[1].at[i].type)
			differ("%s/%s is listed with type %d and %d", path, n[0].at[i].name, n[0].at[i].type, n[1].at[i].type);
	}
	return n;
}

void compare_list(const int dir[2], const char *path, const char *prefix)
{
	setfsuid(0);
	free(list_both(dir, path, prefix));
}

/* -------------------------------------------------------------------- tree */

static void compare_content(const int dir[2], const char *name, const char *path)
{
	static char data[2][1 << 17];
	int fd[2];
	off_t off = 0;

	for (int s = 0; s < 2; s++) {
		fd[s] = openat(dir[s], name, O_RDONLY);
		if (fd[s] < 0)
			differ("%s cannot be opened on the %s side: %s", path, tree_side[s], strerror(errno));
	}
	do {
		BOTH(pread(fd[s], data[s], sizeof(data[0]), off));
		agree();
		if (result[0] > 0 && memcmp(data[0], data[1], (size_t)result[0]) != 0)
			differ("the bytes of %s, in the %zu from %jd", path, (size_t)result[0], (intmax_t)off);
		off += result[0];
	} while (result[0] > 0);
	close(fd[0]);
	close(fd[1]);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_attributes(const char *at, char *room, char **ret, size_t max)
{
	ssize_t len = llistxattr(at, room, LIST_ROOM);
	size_t n = 0;

	for (char *p = room; len > 0 && p < room + len && n < max; p += strlen(p) + 1)
		ret[n++] = p;
	qsort(ret, n, sizeof(*ret), by_text);
	return n;
}

static void compare_attributes(const int dir[2], const char *name, const char *path)
{
	char room[2][LIST_ROOM], *names[2][64], value[2][LIST_ROOM], at[2][PATH_ROOM];
	size_t n[2];

	for (int s = 0; s < 2; s++) {
		snprintf(at[s], sizeof(at[s]), "/proc/self/fd/%d/%s", dir[s], name);
		n[s] = list_attributes(at[s], room[s], names[s], COUNT(names[0]));
	}
	if (n[0] != n[1])
		differ("%s has %zu and %zu extended attributes", path, n[0], n[1]);
	for (size_t i = 0; i < n[0]; i++) {
		if (strcmp(names[0][i], names[1][i]) != 0)
			differ("%s has the attributes %s and %s", path, names[0][i], names[1][i]);
		BOTH(lgetxattr(at[s], names[s][i], value[s], LIST_ROOM));
		agree();
		if (result[0] > 0 && memcmp(value[0], value[1], (size_t)result[0]) != 0)
			differ("the value of %s's %s", path, names[0][i]);
	}
}

/* Inodes of one side that belong to one of the other: two names of one file on one side are two names of one file on the other. */
static struct { ino_t ino[2]; } *pairs;
static size_t pair_count;

static void compare_identity(const struct stat st[2], const char *path)
{
	if (st[0].st_nlink < 2 || S_ISDIR(st[0].st_mode))
		return;
	for (size_t i = 0; i < pair_count; i++)
		if (pairs[i].ino[0] == st[0].st_ino || pairs[i].ino[1] == st[1].st_ino) {
			if (pairs[i].ino[0] != st[0].st_ino || pairs[i].ino[1] != st[1].st_ino)
				differ("%s is another file's second name on one side alone", path);
			return;
		}
	pairs = realloc(pairs, (pair_count + 1) * sizeof(*pairs));
	if (!pairs)
		cannot("memory");
	pairs[pair_count].ino[0] = st[0].st_ino;
	pairs[pair_count++].ino[1] = st[1].st_ino;
}

static void walk(const int dir[2], const char *path, const char *prefix);

static void compare_entry(const int dir[2], const char *name, const char *path)
{
	char target[2][4200];
	struct stat st[2];
	int sub[2];

	BOTH(fstatat(dir[s], name, &st[s], AT_SYMLINK_NOFOLLOW));
	agree();
	if (differ_in_nothing(st)) { /* of what was reached through a symlink, or by another name */
		BOTH(fchmodat(dir[s], name, st[s].st_mode & 07777 & ~(mode_t)S_ISGID, 0));
		BOTH(fstatat(dir[s], name, &st[s], AT_SYMLINK_NOFOLLOW));
	}
	compare_stat(&st[0], &st[1], path);
	compare_identity(st, path);
	compare_attributes(dir, name, path);
	if (S_ISREG(st[0].st_mode)) {
		compare_content(dir, name, path);
	} else if (S_ISLNK(st[0].st_mode)) {
		BOTH(readlinkat(dir[s], name, target[s], sizeof(target[s])));
		agree();
		if (memcmp(target[0], target[1], (size_t)result[0]) != 0)
			differ("the target of %s", path);
	} else if (S_ISDIR(st[0].st_mode)) {
		for (int s = 0; s < 2; s++) {
			sub[s] = openat(dir[s], name, O_RDONLY | O_DIRECTORY);
			if (sub[s] < 0)
				differ("%s cannot be opened on the %s side: %s", path, tree_side[s], strerror(errno));
		}
		walk(sub, path, NULL);
		close(sub[0]);
		close(sub[1]);
	}
}

static void walk(const int dir[2], const char *path, const char *prefix)
{
	struct names *n = list_both(dir, path, prefix);

	for (size_t i = 0; i < n->count; i++) {
		char *at = NULL;

		/* What the root of a file system holds of its own. */
		if (strcmp(n->at[i].name, ".") == 0 || strcmp(n->at[i].name, "..") == 0 || strcmp(n->at[i].name, "lost+found") == 0)
			continue;
		if (asprintf(&at, "%s/%s", path, n->at[i].name) < 0)
			cannot("memory");
		compare_entry(dir, n->at[i].name, at);
		free(at);
	}
	free(n);
}

void compare_tree(const char *path, const char *prefix)
{
	int dir[2];

	pair_count = 0;
	for (int s = 0; s < 2; s++) {
		dir[s] = openat(tree_root[s], path, O_RDONLY | O_DIRECTORY);
		if (dir[s] < 0)
			differ("%s cannot be opened on the %s side: %s", path, tree_side[s], strerror(errno));
	}
	walk(dir, path, prefix);
	close(dir[0]);
	close(dir[1]);
}
