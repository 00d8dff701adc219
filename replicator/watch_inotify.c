/*
 * watch_inotify.c - a tree of the watched directories, kept up with the events themselves.
 *
 * A node stands for a directory; its path is its name and those of its parents, so a rename changes one node. A directory that is moved away loses
 * its nodes (the kernel's watches on it are removed), and gets new ones where it appears again: that the owner is told of all of its new place once
 * that is watched is what makes the order of the two events, and their being split over two reads, not matter.
 *
 * Everything here belongs to the watch's thread after start, but for the counters.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "entry.h"
#include "err.h"
#include "tree.h"
#include "watch.h"

#define MASK (IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
	      IN_ONLYDIR | IN_EXCL_UNLINK)
#define READ_BYTES 65536u
#define BUCKETS_MIN 256u

struct node {
	struct node *parent, *children, *next, **at; /* siblings; at: where the pointer to us is */
	struct node *by_wd;                          /* chain of the bucket */
	int wd;                                      /* -1 = blind */
	bool fresh;                                  /* found in its parent, still to be watched */
	size_t len;
	char name[];
};

struct watch {
	struct watch_options o;
	int root, inotify, wake;
	dev_t dev;
	pthread_t thread;
	bool started, lost;
	struct node *top, **buckets;
	size_t bucket_count;
	atomic_uint_fast64_t count, blind;
	atomic_bool stopping, again;
};

/* --- nodes --- */

static struct node **bucket_of(struct watch *w, int wd)
{
	return &w->buckets[(unsigned)wd * 2654435769u % w->bucket_count];
}

static struct node *find_wd(struct watch *w, int wd)
{
	struct node *n = *bucket_of(w, wd);

	while (n && n->wd != wd)
		n = n->by_wd;
	return n;
}

static void unlink_wd(struct watch *w, struct node *n)
{
	struct node **at = bucket_of(w, n->wd);

	while (*at != n)
		at = &(*at)->by_wd;
	*at = n->by_wd;
	n->wd = -1;
	atomic_fetch_sub(&w->count, 1);
}

/* More buckets when there are twice as many watches; without memory the chains are longer, that is all. */
static void grow(struct watch *w)
{
	size_t count = 4 * w->bucket_count, old_count = w->bucket_count;
	struct node **old = w->buckets, **b = calloc(count, sizeof(struct node *));

	if (!b)
		return;
	w->buckets = b;
	w->bucket_count = count;
	for (size_t i = 0; i < old_count; i++)
		for (struct node *n = old[i], *next; n; n = next) {
			struct node **at = bucket_of(w, n->wd);

			next = n->by_wd;
			n->by_wd = *at;
			*at = n;
		}
	free(old);
}

static void link_wd(struct watch *w, struct node *n, int wd)
{
	struct node **at;

	if (atomic_load(&w->count) > 2 * w->bucket_count)
		grow(w);
	n->wd = wd;
	at = bucket_of(w, wd);
	n->by_wd = *at;
	*at = n;
	atomic_fetch_add(&w->count, 1);
}

static struct node *child(struct node *parent, const char *name)
{
	struct node *n = parent->children;

	while (n && strcmp(n->name, name))
		n = n->next;
	return n;
}

static struct node *node_new(struct node *parent, const char *name)
{
	size_t len = strlen(name);
	struct node *n = calloc(1, sizeof *n + len + 1);

	if (!n)
		return NULL;
	memcpy(n->name, name, len);
	n->len = len;
	n->wd = -1;
	n->parent = parent;
	if (parent) {
		n->next = parent->children;
		if (n->next)
			n->next->at = &n->next;
		n->at = &parent->children;
		parent->children = n;
	}
	return n;
}

/* Forgets n and what is below, and the kernel's watches on them. */
static void node_free(struct watch *w, struct node *n)
{
	while (n->children)
		node_free(w, n->children);
	if (n->wd >= 0) {
		(void)inotify_rm_watch(w->inotify, n->wd);
		unlink_wd(w, n);
	} else {
		atomic_fetch_sub(&w->blind, 1);
	}
	if (n->at) {
		*n->at = n->next;
		if (n->next)
			n->next->at = n->at;
	}
	free(n);
}

/* The path of name in n; name NULL: of n itself. false: longer than a path may be. out: ENTRY_PATH_MAX. */
static bool path_of(const struct node *n, const char *name, char *out, size_t *ret_len)
{
	size_t len = name ? strlen(name) : 0, at;

	for (const struct node *p = n; p->parent; p = p->parent)
		len += p->len + (len > 0);
	if (len > ENTRY_PATH_MAX)
		return false;
	*ret_len = at = len;
	if (name) {
		at -= strlen(name);
		memcpy(out + at, name, strlen(name));
	}
	for (const struct node *p = n; p->parent; p = p->parent) {
		if (at < len)
			out[--at] = '/';
		at -= p->len;
		memcpy(out + at, p->name, p->len);
	}
	return true;
}

/* --- telling --- */

static void dirty(struct watch *w, const struct node *n, const char *name, bool deep, bool writing)
{
	char path[ENTRY_PATH_MAX];
	size_t len;

	if (path_of(n, name, path, &len))
		w->o.events->dirty(w->o.user, path, len, deep, writing);
}

static void blind(struct watch *w, const struct node *n, int rc)
{
	char path[ENTRY_PATH_MAX];
	size_t len;

	if (path_of(n, NULL, path, &len))
		w->o.events->blind(w->o.user, path, len, rc);
}

/* --- watching directories --- */

static int open_dir(struct watch *w, const struct node *n)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	char path[ENTRY_PATH_MAX + 1];
	size_t len;
	long fd;

	if (!path_of(n, NULL, path, &len))
		return -ENAMETOOLONG;
	path[len] = '\0';
	do
		fd = syscall(SYS_openat2, w->root, len ? path : ".", &how, sizeof how);
	while (fd < 0 && errno == EAGAIN);
	return fd < 0 ? -errno : (int)fd;
}

/* A watch on the very directory that fd is open on. The kernel gives one number to one inode: a second node for it has taken its place. */
static int add_watch(struct watch *w, struct node *n, int fd)
{
	char path[32];
	struct node *old;
	int wd;

	if (w->o.most_watches && atomic_load(&w->count) >= w->o.most_watches)
		return -ENOSPC;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(w->inotify, path, MASK);
	if (wd < 0)
		return -errno;
	old = find_wd(w, wd);
	if (old == n)
		return 0;
	if (old) { /* moved, and the event that says so is still to come */
		unlink_wd(w, old);
		atomic_fetch_add(&w->blind, 1);
	}
	link_wd(w, n, wd);
	return 0;
}

/* New nodes for the directories in d. */
static int read_dir(struct watch *w, struct node *n, DIR *d)
{
	struct dirent *e;

	while ((e = readdir(d))) {
		struct stat st;
		bool is_dir = e->d_type == DT_DIR;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (!n->parent && !strcmp(e->d_name, TREE_CORNER)))
			continue;
		if (e->d_type == DT_UNKNOWN)
			is_dir = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
		if (is_dir && !child(n, e->d_name)) {
			struct node *c = node_new(n, e->d_name);

			if (!c)
				return -ENOMEM;
			c->fresh = true;
			atomic_fetch_add(&w->blind, 1); /* until it is watched */
		}
	}
	return 0;
}

/* Watches n, then reads it. -ENOENT: it is gone, or no directory of this tree any more; 1: it is blind, and said to be. */
static int watch_one(struct watch *w, struct node *n)
{
	int fd = open_dir(w, n), rc = fd < 0 ? fd : add_watch(w, n, fd);
	DIR *d = rc ? NULL : fdopendir(fd);

	if (!rc && !d)
		rc = -errno;
	if (rc) {
		if (fd >= 0)
			close(fd);
		if (rc == -ENOTDIR || rc == -ELOOP || rc == -EXDEV)
			rc = -ENOENT;
		if (rc == -ENOENT || rc == -ENOMEM)
			return rc;
		blind(w, n, rc);
		return 1;
	}
	atomic_fetch_sub(&w->blind, 1);
	rc = read_dir(w, n, d);
	closedir(d);
	return rc;
}

/* The same for n and everything below. No descriptor is held on the way down. Only want of memory is an error, or that the root is gone. */
static int watch_below(struct watch *w, struct node *n)
{
	int rc = watch_one(w, n);

	if (rc == -ENOENT && n->parent) {
		node_free(w, n);
		return 0;
	}
	if (rc)
		return rc > 0 ? 0 : rc;
	for (struct node *c = n->children, *next; c && !rc; c = next) {
		next = c->next;
		if (!c->fresh)
			continue;
		c->fresh = false;
		rc = watch_below(w, c);
	}
	return rc;
}

/* --- events --- */

static void appeared(struct watch *w, struct node *n, const char *name)
{
	struct node *c = child(n, name);

	if (c) /* a new one under an old name: what was said of the old one does not hold */
		node_free(w, c);
	c = node_new(n, name);
	if (!c) {
		w->lost = true;
		return;
	}
	atomic_fetch_add(&w->blind, 1);
	if (watch_below(w, c))
		w->lost = true;
}

static void disappeared(struct watch *w, struct node *n, const char *name)
{
	struct node *c = child(n, name);

	if (c)
		node_free(w, c);
}

static bool in_corner(const struct node *n, const char *name)
{
	return !n->parent && strcmp(name, TREE_CORNER) == 0;
}

/* false: the root is gone. */
static bool one_event(struct watch *w, const struct inotify_event *e)
{
	struct node *n = e->wd >= 0 ? find_wd(w, e->wd) : NULL;
	const char *name = e->len ? e->name : NULL;

	if (e->mask & IN_Q_OVERFLOW) {
		w->lost = true;
		return true;
	}
	if (!n) /* of a watch that we have removed */
		return true;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
		return n->parent != NULL; /* a directory's own end is told by its parent */
	if (e->mask & IN_IGNORED) {
		unlink_wd(w, n);
		atomic_fetch_add(&w->blind, 1);
		return n->parent != NULL;
	}
	if (name && in_corner(n, name))
		return true;
	if (e->mask & IN_ISDIR && name) {
		if (e->mask & (IN_DELETE | IN_MOVED_FROM))
			disappeared(w, n, name);
		if (e->mask & (IN_CREATE | IN_MOVED_TO))
			appeared(w, n, name);
		/*
		 * Told last: what happened before all of it was watched is for the owner to find. What is gone is told to be gone: there is nothing to list,
		 * and that it went just now is known.
		 */
		dirty(w, n, name, e->mask & (IN_CREATE | IN_MOVED_TO), false);
		return true;
	}
	dirty(w, n, name, false, e->mask & IN_MODIFY);
	return true;
}

/* After lost events the nodes may be wrong as well: all of them are made anew. */
static int start_over(struct watch *w)
{
	while (w->top->children)
		node_free(w, w->top->children);
	if (w->top->wd >= 0)
		atomic_fetch_add(&w->blind, 1); /* until watch_below has it again */
	return watch_below(w, w->top);
}

static int again_below(struct watch *w, struct node *n)
{
	char name[ENTRY_NAME_MAX + 1];
	struct node *c, *next, *p;
	int rc = 0;

	if (n->wd < 0) {
		while (n->children)
			node_free(w, n->children);
		/* By its name: watching may find it gone, and then there is no node any more. */
		p = n->parent;
		memcpy(name, n->name, n->len + 1);
		rc = watch_below(w, n);
		dirty(w, p ? p : n, p ? name : NULL, true, false);
		return rc;
	}
	for (c = n->children; c && !rc; c = next) {
		next = c->next;
		rc = again_below(w, c);
	}
	return rc;
}

/* One read's worth. false: the root is gone. */
static bool read_events(struct watch *w)
{
	char b[READ_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(w->inotify, b, sizeof b);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(const void *)(b + at);

		if (!one_event(w, e))
			return false;
		at += (ssize_t)(sizeof *e + e->len);
	}
	return true;
}

static void *watch_main(void *arg)
{
	struct watch *w = arg;
	struct pollfd p[2] = { { .fd = w->inotify, .events = POLLIN }, { .fd = w->wake, .events = POLLIN } };
	bool there = true;

	while (there && !atomic_load(&w->stopping)) {
		uint64_t count;

		/* Without memory to start over: a little later. */
		(void)poll(p, 2, w->lost ? 1000 : -1);
		if (p[1].revents && read(w->wake, &count, sizeof count) < 0 && errno != EAGAIN)
			break;
		there = read_events(w);
		if (there && w->lost && start_over(w) == 0) {
			w->lost = false;
			w->o.events->lost(w->o.user);
		}
		if (there && atomic_exchange(&w->again, false) && again_below(w, w->top))
			w->lost = true;
		if (w->o.events->over)
			w->o.events->over(w->o.user);
	}
	if (!there)
		w->o.events->gone(w->o.user);
	return NULL;
}

/* --- starting and stopping --- */

static void wake(struct watch *w)
{
	uint64_t one = 1;
	ssize_t n = write(w->wake, &one, sizeof one);

	(void)n;
}

static int open_all(struct watch *w)
{
	w->root = open(w->o.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->root < 0)
		return err_set(-errno, "cannot open %s: %s", w->o.dir, strerror(errno));
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake < 0)
		return err_set(-errno, "cannot make an event counter: %s", strerror(errno));
	w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->inotify < 0)
		return err_set(-errno, errno == EMFILE ? "cannot watch %s: this user has too many inotify instances: "
			       "sysctl -w fs.inotify.max_user_instances=1024" : "cannot watch %s", w->o.dir);
	w->bucket_count = BUCKETS_MIN;
	w->buckets = calloc(w->bucket_count, sizeof(struct node *));
	w->top = node_new(NULL, "");
	return w->buckets && w->top ? 0 : -ENOMEM;
}

static int start_thread(struct watch *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = -pthread_create(&w->thread, NULL, watch_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->started = rc == 0;
	return rc;
}

int watch_start(const struct watch_options *o, struct watch **ret)
{
	struct watch *w = calloc(1, sizeof *w);
	int rc;

	if (!w)
		return -ENOMEM;
	w->o = *o;
	w->root = w->inotify = w->wake = -1;
	rc = open_all(w);
	if (!rc) {
		atomic_store(&w->blind, 1);
		rc = watch_below(w, w->top);
		if (rc)
			err_set(rc, "cannot watch %s: %s", o->dir, err_text(rc));
	}
	if (!rc)
		rc = start_thread(w);
	if (rc) {
		watch_stop(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void watch_stop(struct watch *w)
{
	if (!w)
		return;
	if (w->started) {
		atomic_store(&w->stopping, true);
		wake(w);
		pthread_join(w->thread, NULL);
	}
	if (w->top)
		node_free(w, w->top);
	free(w->buckets);
	for (size_t i = 0; i < 3; i++) {
		int fd = (int[]){ w->inotify, w->wake, w->root }[i];

		if (fd >= 0)
			close(fd);
	}
	free(w);
}

uint64_t watch_count(struct watch *w)
{
	return atomic_load(&w->count);
}

uint64_t watch_blind_count(struct watch *w)
{
	return atomic_load(&w->blind);
}

void watch_again(struct watch *w)
{
	atomic_store(&w->again, true);
	wake(w);
}

uint64_t watch_limit(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	unsigned long long n = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%llu", &n) != 1)
		n = 0;
	fclose(f);
	return n;
}
