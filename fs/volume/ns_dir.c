/*
 * ns_dir.c - readdir, by cookies that never change: a name that is there all the
 * time is seen exactly once, whatever else comes and goes.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "ns.h"

enum { COOKIE_DOT = 1, COOKIE_DOTDOT = 2 };

typedef int each_fn(void *user, const struct volume_dirent *e, const struct volume_attr *attr);

static int dots(const struct inode *d, uint64_t cookie, bool want_attr, each_fn *each, void *user)
{
	struct volume_dirent e = { .ino = d->a.ino, .cookie = COOKIE_DOT, .type = S_IFDIR, .len = 1, .name = "." };
	int stop;

	if (cookie < COOKIE_DOT) {
		stop = each(user, &e, want_attr ? &d->a : NULL);
		if (stop)
			return stop;
	}
	if (cookie >= COOKIE_DOTDOT)
		return 0;
	e = (struct volume_dirent){ .ino = d->parent, .cookie = COOKIE_DOTDOT, .type = S_IFDIR, .len = 2, .name = ".." };
	return each(user, &e, NULL);
}

static int names(struct meta *m, uint64_t dir, uint64_t cookie, bool want_attr, each_fn *each, void *user)
{
	struct volume_dirent e;
	struct inode i;
	int rc;

	while ((rc = meta_name_next(m, dir, cookie, &e)) == 0) {
		if (want_attr) {
			rc = meta_inode_get(m, e.ino, &i);
			if (rc)
				return rc == -ENOENT ? ERR_CORRUPT : rc;
		}
		if (each(user, &e, want_attr ? &i.a : NULL))
			return 0;
		cookie = e.cookie;
	}
	return rc == -ENOENT ? 0 : rc;
}

int volume_readdir(struct volume *v, uint64_t dir, uint64_t cookie, bool want_attr,
		   int (*each)(void *user, const struct volume_dirent *e, const struct volume_attr *attr), void *user)
{
	struct inode d;
	int rc;

	engine_lock(v);
	rc = ns_dir_get(engine_meta(v), dir, &d);
	if (rc)
		return engine_unlock(v, rc);
	if (dots(&d, cookie, want_attr, each, user))
		return engine_unlock(v, 0);
	if (cookie < COOKIE_DOTDOT)
		cookie = COOKIE_DOTDOT;
	return engine_unlock(v, names(engine_meta(v), dir, cookie, want_attr, each, user));
}
