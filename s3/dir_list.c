/*
 * dir_list.c - listings: a walk over the tree in the byte order of the keys.
 *
 * A directory sorts as its name with '/' at the end ("a-b" < "a/x" < "a0"), so one sorted level after the other gives sorted
 * keys. A level may be huge while a page is small: of a level only the smallest names not yet passed are kept, and it is read
 * again when these run out. What cannot lie in the page (prefix, start_after) is neither kept nor entered.
 *
 * readdir gives every name that is there throughout; one that goes away meanwhile is passed over.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends.h"
#include "dir.h"
#include "err.h"
#include "listing.h"

#define KEEP_MIN 64

struct walk {
	struct dir *d;
	struct listing l;
	const char *prefix, *after; /* "" for none */
	bool roll;                  /* there is a delimiter */
};

struct names { /* the smallest names of a level */
	char **name;
	size_t count, cap, keep;
	bool dropped; /* there are more */
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_cut(struct names *n)
{
	qsort(n->name, n->count, sizeof(char *), compare_names);
	while (n->count > n->keep) {
		free(n->name[--n->count]);
		n->dropped = true;
	}
}

static int names_add(struct names *n, const char *name)
{
	if (n->count == n->cap) {
		names_cut(n);
		if (n->count && strcmp(name, n->name[n->count - 1]) > 0 && n->count == n->keep) {
			n->dropped = true;
			return 0;
		}
	}
	n->name[n->count] = strdup(name);
	return n->name[n->count] != NULL ? (n->count++, 0) : -ENOMEM;
}

static int names_begin(struct names *n, size_t keep)
{
	*n = (struct names){ .keep = keep, .cap = 2 * keep };
	n->name = calloc(n->cap, sizeof(char *));
	return n->name != NULL ? 0 : -ENOMEM;
}

static void names_free(struct names *n)
{
	while (n->count > 0)
		free(n->name[--n->count]);
	free(n->name);
}

static bool starts_with(const char *s, const char *start)
{
	return strncmp(s, start, strlen(start)) == 0;
}

/* Whether keys of interest are named `full`, or lie below it where it ends in '/'. */
static bool in_page(const struct walk *w, const char *full)
{
	bool is_dir = full[strlen(full) - 1] == '/';

	if (!starts_with(full, w->prefix) && !(is_dir && starts_with(w->prefix, full)))
		return false;
	return strcmp(full, w->after) > 0 || (is_dir && !w->roll && starts_with(w->after, full));
}

/* 1: a name of ours, which *ret_dir says to be a directory. 0: to be passed over. */
static int classify(int fd, const struct dirent *e, bool *ret_dir)
{
	unsigned type = e->d_type;

	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strcmp(e->d_name, DIR_OWN) == 0)
		return 0;
	if (type == DT_UNKNOWN) {
		struct stat st;

		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			return errno == ENOENT ? 0 : -errno;
		type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_LNK;
	}
	*ret_dir = type == DT_DIR;
	return (type == DT_DIR || type == DT_REG) && store_key_is_utf8(e->d_name);
}

/* Opens the directory of keys that start with base ("" or with '/' at its end). *ret is NULL where there is none. */
static int open_level(struct dir *d, const char *base, DIR **ret)
{
	char path[STORE_KEY_MAX + 4];
	int root, fd, rc = dir_root(d, false, &root);

	*ret = NULL;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	snprintf(path, sizeof(path), "./%s", base);
	fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	*ret = fdopendir(fd);
	if (*ret == NULL) {
		close(fd);
		return -ENOMEM;
	}
	return 0;
}

/* Goes through a level's names, directories with '/' at their end, in no order. */
static int scan_level(DIR *dir, int (*each)(void *user, const char *name), void *user)
{
	char name[DIR_NAME_MAX + 2];
	struct dirent *e;
	int rc = 0;

	while (rc >= 0) {
		bool is_dir;

		errno = 0;
		e = readdir(dir);
		if (e == NULL)
			return -errno;
		rc = classify(dirfd(dir), e, &is_dir);
		if (rc <= 0)
			continue;
		snprintf(name, sizeof(name), "%.*s%s", DIR_NAME_MAX, e->d_name, is_dir ? "/" : "");
		rc = each(user, name);
	}
	return rc;
}

struct selection { /* of a level's names, those of interest */
	struct walk *w;
	const char *base, *bound;
	struct names *n;
};

static int select_name(void *user, const char *name)
{
	struct selection *s = user;
	char full[STORE_KEY_MAX + DIR_NAME_MAX + 4];

	/* Longer than any key: not ours. */
	if (snprintf(full, sizeof(full), "%s%s", s->base, name) > STORE_KEY_MAX)
		return 0;
	if (strcmp(name, s->bound) <= 0 || !in_page(s->w, full))
		return 0;
	return names_add(s->n, name);
}

/* The same, but of names that come in order: 1 when there can be no more to add. */
static int select_next(void *user, const char *name)
{
	struct selection *s = user;
	int rc;

	if (s->n->count == s->n->keep) {
		s->n->dropped = true;
		return 1;
	}
	rc = select_name(s, name);
	if (rc == 0 && strncmp(s->w->prefix, s->base, strlen(s->base)) == 0 &&
	    strncmp(name, s->w->prefix + strlen(s->base), strlen(s->w->prefix) - strlen(s->base)) > 0)
		return 1; /* past the prefix */
	return rc;
}

/* The first name, in order, that can be of interest: not before the part that `key` has in this level. */
static void raise_from(char *from, size_t size, const char *base, const char *key)
{
	const char *part;
	size_t len;

	if (!starts_with(key, base))
		return;
	part = key + strlen(base);
	len = strcspn(part, "/");
	len += part[len] == '/';
	if (len < size && strncmp(part, from, len) > 0) {
		memcpy(from, part, len);
		from[len] = '\0';
	}
}

struct all_names { char **name; size_t count, cap; };

static int keep_name(void *user, const char *name)
{
	struct all_names *a = user;

	if (a->count == a->cap) {
		size_t cap = a->cap ? a->cap * 2 : 4096;
		char **grown = realloc(a->name, cap * sizeof(char *));

		if (grown == NULL)
			return -ENOMEM;
		a->name = grown;
		a->cap = cap;
	}
	a->name[a->count] = strdup(name);
	return a->name[a->count] != NULL ? (a->count++, 0) : -ENOMEM;
}

/* Keeps the names of a level that has more than a page, if it has been quiet since before it is read here. */
static void keep_level(struct walk *w, const char *base)
{
	struct all_names a = { 0 };
	struct stat st;
	DIR *dir;

	if (open_level(w->d, base, &dir) || dir == NULL)
		return;
	if (fstat(dirfd(dir), &st) == 0 && dir_level_quiet(&st) && scan_level(dir, keep_name, &a) == 0) {
		dir_level_keep(&w->d->level, base, &st, a.name, a.count);
	} else {
		while (a.count > 0)
			free(a.name[--a.count]);
		free(a.name);
	}
	closedir(dir);
}

/* Collects the smallest names of a level after `bound`; directories with '/' at their end. */
static int read_level(struct walk *w, const char *base, const char *bound, struct names *n)
{
	struct selection s = { .w = w, .base = base, .bound = bound, .n = n };
	char from[DIR_NAME_MAX + 2];
	struct stat st;
	DIR *dir;
	int rc = open_level(w->d, base, &dir);

	if (rc || dir == NULL)
		return rc;
	snprintf(from, sizeof(from), "%s", bound);
	raise_from(from, sizeof(from), base, w->prefix);
	raise_from(from, sizeof(from), base, w->after);
	rc = fstat(dirfd(dir), &st) ? -errno : dir_level_pass(&w->d->level, base, &st, from, select_next, &s);
	if (rc == -ENOENT) {
		rc = scan_level(dir, select_name, &s);
		if (!rc) {
			names_cut(n);
			if (n->dropped)
				keep_level(w, base);
		}
	}
	closedir(dir);
	return rc;
}

/* Whether there is any object below: 1 or 0. */
static int has_object(struct walk *w, const char *base)
{
	DIR *dir;
	int rc = open_level(w->d, base, &dir);

	while (!rc && dir != NULL) {
		char below[STORE_KEY_MAX + DIR_NAME_MAX + 4];
		struct dirent *e;
		bool is_dir;

		errno = 0;
		e = readdir(dir);
		if (e == NULL) {
			rc = -errno;
			break;
		}
		rc = classify(dirfd(dir), e, &is_dir);
		if (rc <= 0)
			continue;
		if (snprintf(below, sizeof(below), "%s%s%s", base, e->d_name, is_dir ? "/" : "") > STORE_KEY_MAX)
			rc = 0;
		else if (is_dir)
			rc = has_object(w, below);
	}
	if (dir != NULL)
		closedir(dir);
	return rc;
}

static int offer_object(struct walk *w, const char *key)
{
	char etag[ETAG_HEX + 1] = "";
	struct stat st;
	int fd, root, rc = dir_object_open(w->d, key, &fd, &st);

	if (rc == -ENOENT)
		return 0;
	if (rc == -EACCES) {
		/* It is there all the same. */
		rc = dir_root(w->d, false, &root);
		if (!rc && fstatat(root, key, &st, AT_SYMLINK_NOFOLLOW))
			return errno == ENOENT ? 0 : -errno;
	} else if (!rc) {
		dir_etag_cheap(w->d, fd, &st, etag);
		close(fd);
	}
	return rc ? rc : listing_offer(&w->l, key, (uint64_t)st.st_size, st.st_mtim.tv_sec, etag);
}

static int walk_level(struct walk *w, const char *base);

static int visit(struct walk *w, const char *full)
{
	size_t len = strlen(full);
	char inside[STORE_KEY_MAX + 4];
	int rc;

	if (full[len - 1] != '/')
		return offer_object(w, full);
	if (!w->roll || !starts_with(full, w->prefix))
		return walk_level(w, full);
	rc = has_object(w, full);
	if (rc <= 0)
		return rc;
	/* Any key below stands for the common prefix. */
	snprintf(inside, sizeof(inside), "%.*sx", STORE_KEY_MAX, full);
	return listing_offer(&w->l, inside, 0, 0, NULL);
}

static int walk_level(struct walk *w, const char *base)
{
	char bound[DIR_NAME_MAX + 2] = "", full[STORE_KEY_MAX + DIR_NAME_MAX + 4];
	bool more = true;
	int rc = 0;

	while (more && !rc) {
		size_t want = w->l.max - w->l.req->entry_count + 1;
		struct names n;

		rc = names_begin(&n, want > KEEP_MIN ? want : KEEP_MIN);
		if (rc)
			return rc;
		rc = read_level(w, base, bound, &n);
		for (size_t i = 0; i < n.count && !rc; i++) {
			/* readdir may give a name twice when the directory changes under it. */
			if (i > 0 && strcmp(n.name[i], n.name[i - 1]) == 0)
				continue;
			snprintf(full, sizeof(full), "%s%s", base, n.name[i]);
			rc = visit(w, full);
		}
		more = n.dropped;
		if (n.count > 0)
			snprintf(bound, sizeof(bound), "%.*s", DIR_NAME_MAX + 1, n.name[n.count - 1]);
		names_free(&n);
	}
	return rc;
}

int dir_list(struct dir *d, struct store_req *r)
{
	struct walk w = { .d = d, .prefix = r->key, .after = r->start_after != NULL ? r->start_after : "",
			  .roll = r->delimiter != NULL };
	char base[STORE_KEY_MAX + 1];
	int rc;

	/* Everything asked for lies below the directory that the prefix names before its last '/'. */
	snprintf(base, sizeof(base), "%.*s", (int)(dir_leaf(r->key) - r->key), r->key);
	listing_begin(&w.l, r);
	rc = walk_level(&w, base);
	if (rc < 0)
		return dir_fail(d, r, rc, "list", r->key);
	return dir_is_gone(d) ? dir_fail(d, r, -ENOENT, "list", r->key) : 0;
}
