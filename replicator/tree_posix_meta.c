/*
 * tree_posix_meta.c - metadata: reading all of it, setting all of it; owners by name.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "carried.h"
#include "err.h"
#include "tree_posix_impl.h"

#define OWNER_VALID_S 60
#define OWNER_FAILED_S 5 /* a name service that is away may take long to say so: not asked again for each file */
#define NSS_BYTES_MAX (64u << 20)
#define XATTRS_MAX 256u

/* --- owners --- */

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec;
}

/* Is that an answer, or could it not be said? (getpwnam(3); where there is not even a file of names the C library says ENOENT.) */
static bool answered(int kind, int rc)
{
	return rc == 0 || rc == ESRCH || (rc == ENOENT && access(kind == 0 ? "/etc/passwd" : "/etc/group", F_OK) != 0);
}

/* Asks the name service. kind: 0 users, 1 groups. By id when name is NULL; *ret_found says whether there is one. ERR_NO_NAMES: that is not known: an owner must not become somebody else's for that. */
static int ask(int kind, const char *name, unsigned id, char *ret_name, unsigned *ret_id, bool *ret_found)
{
	for (size_t cap = 4096; cap <= NSS_BYTES_MAX; cap *= 4) {
		struct passwd pw, *got_pw = NULL;
		struct group gr, *got_gr = NULL;
		char *b = malloc(cap);
		int rc;

		if (!b)
			return -ENOMEM;
		if (kind == 0)
			rc = name ? getpwnam_r(name, &pw, b, cap, &got_pw) : getpwuid_r((uid_t)id, &pw, b, cap, &got_pw);
		else
			rc = name ? getgrnam_r(name, &gr, b, cap, &got_gr) : getgrgid_r((gid_t)id, &gr, b, cap, &got_gr);
		*ret_found = got_pw || got_gr;
		if (*ret_found) {
			const char *n = got_pw ? pw.pw_name : gr.gr_name;

			*ret_id = got_pw ? pw.pw_uid : gr.gr_gid;
			if (strlen(n) > ENTRY_OWNER_MAX)
				*ret_found = false; /* goes by number */
			else
				strcpy(ret_name, n);
		}
		free(b);
		if (rc != ERANGE)
			return *ret_found || answered(kind, rc) ? 0 : ERR_NO_NAMES;
	}
	return ERR_NO_NAMES;
}

static struct owner *slot_by_id(struct posix_tree *p, int kind, unsigned id)
{
	return &p->owners[kind][id % OWNERS_CACHED];
}

/* The name of an id, "" for none. */
static int name_of(struct posix_tree *p, int kind, unsigned id, char *ret)
{
	struct owner *o = slot_by_id(p, kind, id), fresh = { .known = true, .id = id };
	unsigned got;
	bool hit;
	int rc;

	pthread_mutex_lock(&p->owners_mu);
	hit = o->known && o->id == id && o->until_s > now_s();
	rc = hit ? o->rc : 0;
	if (hit && !rc)
		strcpy(ret, o->found ? o->name : "");
	pthread_mutex_unlock(&p->owners_mu);
	if (hit)
		return rc;
	fresh.rc = ask(kind, NULL, id, fresh.name, &got, &fresh.found);
	if (fresh.rc == -ENOMEM)
		return fresh.rc;
	fresh.until_s = now_s() + (fresh.rc ? OWNER_FAILED_S : OWNER_VALID_S);
	if (!fresh.rc)
		strcpy(ret, fresh.found ? fresh.name : "");
	pthread_mutex_lock(&p->owners_mu);
	*o = fresh;
	pthread_mutex_unlock(&p->owners_mu);
	return fresh.rc;
}

/* The id that an entry's owner has here. */
static int id_of(struct posix_tree *p, int kind, const char *name, unsigned number, unsigned *ret)
{
	char own[ENTRY_OWNER_MAX + 1] = "";
	bool found = false;
	unsigned id = number;
	int rc = 0;

	if (name[0]) {
		/* Nearly always the number has that name here, too. */
		rc = name_of(p, kind, number, own);
		if (!rc && strcmp(own, name) == 0) {
			*ret = number;
			return 0;
		}
		if (!rc)
			rc = ask(kind, name, 0, own, &id, &found);
		if (!found)
			id = number;
	}
	if (!rc)
		*ret = id;
	return rc;
}

/* --- xattrs --- */

static void proc_path(int fd, const char *name, char *out, size_t cap)
{
	snprintf(out, cap, "/proc/self/fd/%d/%s", fd, name);
}

/* The list of names, in memory of its own; *ret_len 0 where there are none or the file system has no xattrs. */
static int list_names(const char *path, bool follow, char **ret, size_t *ret_len)
{
	ssize_t (*list)(const char *, char *, size_t) = follow ? listxattr : llistxattr;

	for (;;) {
		ssize_t n = list(path, NULL, 0), got;
		char *names;

		if (n < 0 && errno != EOPNOTSUPP)
			return -errno;
		*ret_len = 0;
		*ret = NULL;
		if (n <= 0)
			return 0;
		names = malloc((size_t)n);
		if (!names)
			return -ENOMEM;
		got = list(path, names, (size_t)n);
		if (got >= 0) {
			*ret = names;
			*ret_len = (size_t)got;
			return 0;
		}
		free(names);
		if (errno != ERANGE)
			return -errno;
	}
}

static int get_value(const char *path, const char *name, struct xattr *ret)
{
	for (;;) {
		ssize_t n = lgetxattr(path, name, NULL, 0), got;
		char *v;

		if (n < 0)
			return -errno;
		v = malloc((size_t)n + 1);
		if (!v)
			return -ENOMEM;
		got = lgetxattr(path, name, v, (size_t)n);
		if (got >= 0 && got <= n) {
			*ret = (struct xattr){ name, strlen(name), v, (size_t)got };
			return 0;
		}
		free(v);
		if (errno != ERANGE)
			return -errno;
	}
}

static int read_xattrs(const char *path, struct entry *e)
{
	struct xattr x[XATTRS_MAX];
	struct buf b = BUF_INIT;
	size_t len, count = 0;
	char *names, *n;
	int rc = list_names(path, false, &names, &len);

	for (n = names; !rc && n < names + len; n += strlen(n) + 1) {
		if (!carried_xattr_name(n, strlen(n)))
			continue;
		if (count == XATTRS_MAX)
			rc = -E2BIG;
		else
			rc = get_value(path, n, &x[count]);
		if (rc == -ENODATA) { /* gone meanwhile */
			rc = 0;
			continue;
		}
		/* Whoever got it would refuse it, and all that came with it. */
		if (!rc && !carried_xattr(e->kind, &x[count])) {
			free((void *)(uintptr_t)x[count].value);
			continue;
		}
		count += !rc;
	}
	if (!rc && count) {
		entry_xattrs_encode(x, count, &b);
		rc = b.err;
	}
	for (size_t i = 0; i < count; i++)
		free((void *)(uintptr_t)x[i].value);
	free(names);
	if (rc || !count) {
		buf_free(&b);
		return rc;
	}
	e->xattrs = b.data;
	e->xattrs_len = (uint32_t)b.len;
	return 0;
}

/* Is name in the entry's list? */
static bool entry_has(const struct entry *e, const char *name)
{
	struct cursor c = cursor_make(e->xattrs, e->xattrs_len);
	struct xattr x;

	while (entry_xattrs_next(&c, &x) > 0)
		if (x.name_len == strlen(name) && memcmp(x.name, name, x.name_len) == 0)
			return true;
	return false;
}

/* path leads to the inode itself, through /proc/self/fd: followed. */
static int set_xattrs(const char *path, const struct entry *e)
{
	struct cursor c = cursor_make(e->xattrs, e->xattrs_len);
	char name[256], *names, *n;
	struct xattr x;
	size_t len;
	int rc = list_names(path, true, &names, &len);

	for (n = names; !rc && n < names + len; n += strlen(n) + 1)
		if (carried_xattr_name(n, strlen(n)) && !entry_has(e, n) && removexattr(path, n) && errno != ENODATA)
			rc = -errno;
	free(names);
	while (!rc && (rc = entry_xattrs_next(&c, &x)) > 0) {
		memcpy(name, x.name, x.name_len);
		name[x.name_len] = '\0';
		rc = !carried_xattr_name(name, strlen(name)) ? -EPERM : setxattr(path, name, x.value, x.value_len, 0) ? -errno : 0;
	}
	return rc;
}

/* --- all of it --- */

static int read_target(int fd, const char *name, struct entry *e)
{
	char b[ENTRY_TARGET_MAX + 2];
	ssize_t n = readlinkat(fd, name, b, sizeof b);

	if (n < 0)
		return -errno;
	if (n == 0 || n > (ssize_t)ENTRY_TARGET_MAX)
		return -ENAMETOOLONG;
	e->target = strndup(b, (size_t)n);
	return e->target ? 0 : -ENOMEM;
}

static void fill(const struct tree_stat *st, struct entry *e)
{
	e->kind = st->kind;
	e->mode = st->kind == ENTRY_SYMLINK ? 0777 : st->mode;
	e->uid = st->id.uid;
	e->gid = st->id.gid;
	if (st->kind == ENTRY_DIR) {
		e->dir_s = st->id.mtime_s;
		e->dir_ns = st->id.mtime_ns;
	} else {
		e->mtime_s = st->id.mtime_s;
		e->mtime_ns = st->id.mtime_ns;
	}
	if (st->kind == ENTRY_FILE)
		e->size = st->id.size;
}

int posix_describe_at(struct posix_tree *p, int fd, const char *name, struct tree_stat *ret_st, struct entry *ret)
{
	char path[64 + ENTRY_NAME_MAX];
	struct tree_stat before, after;
	struct stat st;
	struct entry e;
	int rc = 0;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	posix_stat_from(&st, &before);
	if (!before.carried)
		return -EINVAL;
	entry_init(&e);
	fill(&before, &e);
	proc_path(fd, name, path, sizeof path);
	rc = name_of(p, 0, before.id.uid, e.owner);
	if (!rc)
		rc = name_of(p, 1, before.id.gid, e.group);
	if (!rc && e.kind == ENTRY_SYMLINK)
		rc = read_target(fd, name, &e);
	if (!rc)
		rc = read_xattrs(path, &e);
	if (!rc && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		rc = -errno;
	if (!rc) {
		posix_stat_from(&st, &after);
		if (memcmp(&before.id, &after.id, sizeof before.id) != 0 || before.kind != after.kind)
			rc = -EAGAIN;
	}
	if (rc) {
		entry_free(&e);
		return rc;
	}
	entry_free(ret);
	*ret = e;
	*ret_st = before;
	return 0;
}

/* The owner first: changing it clears the set-id bits. The times last. */
static int dress_link(int fd, const char *name, const struct entry *e, unsigned uid, unsigned gid)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { (time_t)e->mtime_s, (long)e->mtime_ns } };

	if (fchownat(fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) || utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return 0;
}

/* The mode is narrowed to what both states allow before anything else is someone else's; who it belongs to and what the ACL says then changes unseen. */
static int dress_open(int own, const struct entry *e, unsigned uid, unsigned gid)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { (time_t)e->mtime_s, (long)e->mtime_ns } };
	char path[64];
	struct stat st;
	int rc;

	if (fstat(own, &st))
		return -errno;
	if ((e->kind == ENTRY_DIR) != S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (e->kind == ENTRY_DIR)
		times[1].tv_nsec = UTIME_OMIT; /* its own call, later */
	if (fchmod(own, st.st_mode & e->mode & 0777))
		return -errno;
	if ((st.st_uid != uid || st.st_gid != gid) && fchown(own, uid, gid))
		return -errno;
	snprintf(path, sizeof path, "/proc/self/fd/%d", own);
	rc = set_xattrs(path, e);
	if (!rc && fchmod(own, e->mode)) /* an ACL brings a mode of its own */
		rc = -errno;
	if (!rc && futimens(own, times))
		rc = -errno;
	return rc;
}

static int owner_of(struct posix_tree *p, const struct entry *e, struct tree_owner *ret)
{
	int rc = id_of(p, 0, e->owner, e->uid, &ret->uid);

	return rc ? rc : id_of(p, 1, e->group, e->gid, &ret->gid);
}

int posix_dress_fd(struct posix_tree *p, int fd, const struct entry *e, struct tree_owner *ret)
{
	struct tree_owner o;
	int rc = owner_of(p, e, &o);

	if (!rc)
		rc = dress_open(fd, e, o.uid, o.gid);
	if (!rc)
		*ret = o;
	return rc;
}

int posix_dress_at(struct posix_tree *p, int fd, const char *name, const struct entry *e, struct tree_owner *ret)
{
	struct tree_owner o;
	int rc, own;

	if (e->kind != ENTRY_SYMLINK) {
		own = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (own < 0)
			return -errno;
		rc = posix_dress_fd(p, own, e, ret);
		close(own);
		return rc;
	}
	rc = owner_of(p, e, &o);
	if (!rc)
		rc = dress_link(fd, name, e, o.uid, o.gid);
	if (!rc)
		*ret = o;
	return rc;
}
