/* fsmodel_compare.c - a volume against the model: every name, attribute, byte and extended attribute, by the volume's own calls. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "fsmodel_impl.h"

struct compare {
	const struct fsmodel *m;
	const struct fsmodel_target *t;
	void (*report)(void *user, const char *line);
	void *user;
	int found;
	const struct minode *dir;
	size_t seen;
	uint64_t last_cookie;
};

static void say(struct compare *c, const char *fmt, ...) CL_PRINTF(2, 3);

static void say(struct compare *c, const char *fmt, ...)
{
	char line[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	c->found++;
	c->report(c->user, line);
}

struct read_wait { struct volume_wait w; bool done; int rc; };

static void read_resume(struct volume_wait *w, int rc)
{
	struct read_wait *r = CL_CONTAINER_OF(w, struct read_wait, w);

	r->rc = rc;
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
}

static int read_all(struct compare *c, uint64_t ino, uint64_t off, size_t len, uint8_t *buf, size_t *ret)
{
	struct read_wait r = { .w.resume = read_resume };

	for (;;) {
		int rc;

		r.done = false;
		rc = c->t->read(c->t->v, ino, off, len, buf, ret, &r.w);
		if (rc != ERR_PARKED)
			return rc;
		while (!__atomic_load_n(&r.done, __ATOMIC_ACQUIRE))
			c->t->idle(c->t->user);
		if (r.rc)
			return r.rc;
	}
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void compare_attr(struct compare *c, const struct minode *i, const struct volume_attr *a)
{
	const struct volume_attr *b = &i->a;

	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->nlink != b->nlink)
		say(c, "inode %" PRIu64 ": mode %o owner %u:%u links %u, should be %o %u:%u %u", b->ino, a->mode, a->uid, a->gid, a->nlink, b->mode, b->uid,
		    b->gid, b->nlink);
	if (!S_ISDIR(b->mode) && a->size != b->size)
		say(c, "inode %" PRIu64 ": size %" PRIu64 ", should be %" PRIu64, b->ino, a->size, b->size);
	if (!c->m->o.times)
		return;
	if (!same_time(&a->mtime, &b->mtime) || !same_time(&a->ctime, &b->ctime) || !same_time(&a->atime, &b->atime) || !same_time(&a->btime, &b->btime))
		say(c, "inode %" PRIu64 ": times a %lld m %lld c %lld b %lld, should be %lld %lld %lld %lld", b->ino, (long long)a->atime.tv_sec,
		    (long long)a->mtime.tv_sec, (long long)a->ctime.tv_sec, (long long)a->btime.tv_sec, (long long)b->atime.tv_sec,
		    (long long)b->mtime.tv_sec, (long long)b->ctime.tv_sec, (long long)b->btime.tv_sec);
}

static void compare_bytes(struct compare *c, const struct minode *i, const uint8_t *got, size_t len)
{
	if (len == 0 || memcmp(got, i->data, len) == 0)
		return;
	for (size_t k = 0; k < len; k++)
		if (got[k] != i->data[k]) {
			say(c, "inode %" PRIu64 ": byte %zu is %02x, should be %02x", i->a.ino, k, got[k], i->data[k]);
			return;
		}
}

static bool zeros(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* What seek calls a hole must be zeros, and its answers must lead through the file. */
static void compare_seek(struct compare *c, const struct minode *i)
{
	uint64_t at = 0, data, hole;

	while (at < i->a.size) {
		int rc = c->t->seek(c->t->v, i->a.ino, at, SEEK_DATA, &data);

		if (rc == -ENXIO)
			data = i->a.size;
		else if (rc || data < at || data >= i->a.size) {
			say(c, "inode %" PRIu64 ": SEEK_DATA at %" PRIu64 ": %s", i->a.ino, at, err_text(rc));
			return;
		}
		if (!zeros(i->data + at, data - at)) {
			say(c, "inode %" PRIu64 ": data in the hole from %" PRIu64 " to %" PRIu64, i->a.ino, at, data);
			return;
		}
		if (data == i->a.size)
			return;
		rc = c->t->seek(c->t->v, i->a.ino, data, SEEK_HOLE, &hole);
		if (rc || hole <= data || hole > i->a.size) {
			say(c, "inode %" PRIu64 ": SEEK_HOLE at %" PRIu64 ": %s", i->a.ino, data, err_text(rc));
			return;
		}
		at = hole;
	}
}

static int compare_data(struct compare *c, const struct minode *i)
{
	size_t size = (size_t)i->a.size, got = 0;
	uint8_t *buf = aligned_alloc(16, (size + 32) / 16 * 16); /* not malloc, which tests make fail for the volume */
	int rc;

	if (!buf)
		return -ENOMEM;
	memset(buf, 0xa5, size + 10);
	rc = read_all(c, i->a.ino, 0, size + 10, buf, &got);
	if (rc)
		say(c, "inode %" PRIu64 " cannot be read: %s", i->a.ino, err_text(rc));
	else if (got != size)
		say(c, "inode %" PRIu64 ": %zu bytes read, should be %zu", i->a.ino, got, size);
	else
		compare_bytes(c, i, buf, size);
	free(buf);
	compare_seek(c, i);
	return rc;
}

static void compare_xattrs(struct compare *c, const struct minode *i)
{
	static char list[65536];
	static uint8_t value[VOLUME_XATTR_VALUE_MAX];
	size_t len, n = 0;
	int rc = c->t->listxattr(c->t->v, i->a.ino, list, sizeof list, &len);

	for (size_t at = 0; !rc && at < len; at += strlen(list + at) + 1)
		n++;
	if (rc || n != i->xattr_count)
		say(c, "inode %" PRIu64 ": %zu extended attributes, should be %zu (%s)", i->a.ino, n, i->xattr_count, err_text(rc));
	for (size_t k = 0; k < i->xattr_count; k++) {
		const struct mxattr *x = &i->xattrs[k];

		rc = c->t->getxattr(c->t->v, i->a.ino, x->name, value, sizeof value, &len);
		if (rc || len != x->len || memcmp(value, x->value, len))
			say(c, "inode %" PRIu64 ": the attribute %s differs (%s)", i->a.ino, x->name, err_text(rc));
	}
}

static int each_name(void *user, const struct volume_dirent *e, const struct volume_attr *attr)
{
	struct compare *c = user;
	const struct mname *n = fsmodel_name(c->dir, e->name);
	const struct minode *i;

	if (e->cookie <= c->last_cookie)
		say(c, "directory %" PRIu64 ": cookies do not ascend", c->dir->a.ino);
	c->last_cookie = e->cookie;
	if (!strcmp(e->name, ".") || !strcmp(e->name, "..")) {
		if (e->ino != (e->len == 1 ? c->dir->a.ino : c->dir->parent))
			say(c, "directory %" PRIu64 ": \"%s\" is %" PRIu64, c->dir->a.ino, e->name, e->ino);
		return 0;
	}
	c->seen++;
	i = n ? fsmodel_inode(c->m, n->ino) : NULL;
	if (!i || n->ino != e->ino || e->len != strlen(e->name) || (i->a.mode & S_IFMT) != e->type || !attr || attr->ino != e->ino)
		say(c, "directory %" PRIu64 ": the name \"%s\" means %" PRIu64 ", should be %" PRIu64, c->dir->a.ino, e->name, e->ino, n ? n->ino : 0);
	return 0;
}

static void compare_dir(struct compare *c, const struct minode *d)
{
	int rc;

	c->dir = d;
	c->seen = 0;
	c->last_cookie = 0;
	rc = c->t->readdir(c->t->v, d->a.ino, 0, true, each_name, c);
	if (rc || c->seen != d->name_count)
		say(c, "directory %" PRIu64 ": %zu names, should be %zu (%s)", d->a.ino, c->seen, d->name_count, err_text(rc));
	for (size_t k = 0; k < d->name_count; k++) {
		struct volume_attr a;

		rc = c->t->lookup(c->t->v, d->a.ino, d->names[k].name, strlen(d->names[k].name), &a);
		if (rc || a.ino != d->names[k].ino)
			say(c, "directory %" PRIu64 ": \"%s\" is not found (%s)", d->a.ino, d->names[k].name, err_text(rc));
	}
}

static int compare_inode(struct compare *c, const struct minode *i)
{
	char target[VOLUME_SYMLINK_MAX + 1];
	struct volume_attr a;
	int rc = c->t->getattr(c->t->v, i->a.ino, &a);

	if (rc) {
		say(c, "inode %" PRIu64 ": %s", i->a.ino, err_text(rc));
		return 0;
	}
	compare_attr(c, i, &a);
	compare_xattrs(c, i);
	if (S_ISDIR(i->a.mode))
		compare_dir(c, i);
	else if (S_ISREG(i->a.mode))
		return compare_data(c, i);
	else if (S_ISLNK(i->a.mode) && (c->t->readlink(c->t->v, i->a.ino, target) || strcmp(target, i->target)))
		say(c, "inode %" PRIu64 ": another symlink target", i->a.ino);
	return 0;
}

int fsmodel_compare(const struct fsmodel *m, const struct fsmodel_target *t, void (*report)(void *user, const char *line), void *user)
{
	struct compare c = { .m = m, .t = t, .report = report, .user = user };

	for (size_t i = 0; i < m->count; i++) {
		int rc = compare_inode(&c, &m->inodes[i]);

		if (rc)
			return rc;
	}
	return c.found;
}
