/*
 * fuse_dir.c - reading directories.
 *
 * OPENDIR is answered ENOSYS ("do not ask"): the kernel then also keeps what it read of a directory until it changes it itself.
 * Cookies are the engine's: they stay valid however the directory changes, so that nothing is skipped or
 * seen twice while somebody deletes behind the reader.
 */
#include "session_impl.h"

#include <errno.h>
#include <string.h>

#include "err.h"

void fuse_opendir_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (session_of(req)->no_opendir) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

struct fill {
	fuse_req_t req;
	struct lookups *lookups;
	char *buf;
	size_t size, used;
	int rc;
};

static bool is_dots(const struct volume_dirent *e)
{
	return e->name[0] == '.' && (e->len == 1 || (e->len == 2 && e->name[1] == '.'));
}

static int fill_one(void *user, const struct volume_dirent *e, const struct volume_attr *attr)
{
	struct fill *f = user;
	struct stat st = { .st_ino = e->ino, .st_mode = e->type };
	size_t need;

	(void)attr;
	need = fuse_add_direntry(f->req, f->buf + f->used, f->size - f->used, e->name, &st, (off_t)e->cookie);
	if (need > f->size - f->used)
		return 1;
	f->used += need;
	return 0;
}

/* Under the engine's lock. Each entry that is sent counts as a lookup, but "." and ".." and those without attributes: node 0 tells the kernel so. */
static int fill_plus(void *user, const struct volume_dirent *e, const struct volume_attr *attr)
{
	struct fill *f = user;
	struct fuse_entry_param p = { .ino = 0 };
	bool counted = attr && !is_dots(e);
	size_t need;

	if (counted)
		entry_from_attr(attr, &p);
	p.attr.st_ino = e->ino;
	p.attr.st_mode = counted ? p.attr.st_mode : (mode_t)e->type;
	need = fuse_add_direntry_plus(f->req, f->buf + f->used, f->size - f->used, e->name, &p, (off_t)e->cookie);
	if (need > f->size - f->used)
		return 1;
	if (counted && lookups_add(f->lookups, e->ino) < 0) {
		f->rc = -ENOMEM;
		return 1;
	}
	if (counted)
		lookups_told(f->lookups, e->ino, asker(f->req));
	f->used += need;
	return 0;
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct session *s = session_of(req);
	struct fill f = { req, s->lookups, thread_buffer(size), size, 0, 0 };
	int rc = f.buf ? volume_readdir(s->v, ino, (uint64_t)off, plus, plus ? fill_plus : fill_one, &f) : -ENOMEM;

	/* Entries that are in the buffer count already: they are sent, and the error comes with the next call. */
	if (rc >= 0 && f.used == 0)
		rc = f.rc;
	if (rc < 0 && f.used == 0)
		reply_error(req, "readdir", ino, rc);
	else
		fuse_reply_buf(req, f.buf, f.used);
}

void fuse_readdir_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, false);
}

void fuse_readdirplus_op(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, true);
}
