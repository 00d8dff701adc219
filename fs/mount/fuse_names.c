/*
 * fuse_names.c - names: lookup, create, link, remove, rename.
 *
 * nodeid = inode number. A name that goes away may be the last of an inode that somebody still has open; the kernel does not
 * tell (see lookups.h), so before every removal the engine is held to keep the inode until the kernel forgets it. Between that look at
 * the victim and the removal nothing else changes the name: the kernel holds the directory's lock for both.
 */
#include "session_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"

static struct volume_cred cred_of(fuse_req_t req)
{
	const struct fuse_ctx *x = fuse_req_ctx(req);

	return (struct volume_cred){ x->uid, x->gid, (uint32_t)x->umask };
}

void fuse_lookup_op(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	uint64_t changes = atomic_load(&session_of(req)->changes);
	struct volume_attr a;
	int rc = volume_lookup(session_of(req)->v, dir, name, strlen(name), &a);

	if (rc == -ENOENT) {
		/* The kernel remembers that there is nothing, until it makes something there itself. */
		struct fuse_entry_param none = { .ino = 0, .entry_timeout = SESSION_VALID_S };

		fuse_reply_entry(req, &none);
	} else if (rc < 0) {
		reply_error(req, "lookup", dir, rc);
	} else {
		reply_lookup(req, &a, changes);
	}
}

void fuse_forget_op(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	lookups_forget(session_of(req)->lookups, ino, count);
	fuse_reply_none(req);
}

void fuse_forget_multi_op(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		lookups_forget(session_of(req)->lookups, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* --------------------------------------------------------------- creations */

static int run_mknod(struct request *q)
{
	struct volume_attr a;
	int rc = volume_mknod(q->s->v, q->ino, q->name, strlen(q->name), q->mode, q->rdev, &q->cred, &a, &q->wait);

	if (rc == 0) {
		changed(q, q->ino);
		reply_entry(q->req, &a);
	}
	return rc;
}

static void start_mknod(fuse_req_t req, const char *what, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	struct request *q = request_new(req, what, run_mknod, dir);

	if (!q)
		return;
	q->name = name;
	q->mode = mode;
	q->rdev = rdev;
	q->cred = cred_of(req);
	request_start(q);
}

void fuse_mknod_op(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	start_mknod(req, "mknod", dir, name, mode, rdev);
}

void fuse_mkdir_op(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	start_mknod(req, "mkdir", dir, name, S_IFDIR | (mode & 07777), 0);
}

static int run_symlink(struct request *q)
{
	struct volume_attr a;
	int rc = volume_symlink(q->s->v, q->ino, q->name, strlen(q->name), q->name2, strlen(q->name2), &q->cred, &a, &q->wait);

	if (rc == 0) {
		changed(q, q->ino);
		reply_entry(q->req, &a);
	}
	return rc;
}

void fuse_symlink_op(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
	struct request *q = request_new(req, "symlink", run_symlink, dir);

	if (!q)
		return;
	q->name = name;
	q->name2 = target;
	q->cred = cred_of(req);
	request_start(q);
}

static int run_link(struct request *q)
{
	struct volume_attr a;
	int rc = volume_link(q->s->v, q->ino, q->ino2, q->name, strlen(q->name), &a, &q->wait);

	if (rc == 0) {
		changed(q, q->ino2);
		reply_entry(q->req, &a);
	}
	return rc;
}

void fuse_link_op(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct request *q = request_new(req, "link", run_link, ino);

	if (!q)
		return;
	q->ino2 = dir;
	q->name = name;
	request_start(q);
}

/* The answer to CREATE and TMPFILE. The handle carries nothing; pages read earlier stay good, as no one else writes. */
static void reply_create(struct request *q, const struct volume_attr *a, bool held)
{
	struct fuse_file_info fi = { .flags = (int)q->flags, .keep_cache = 1 };
	struct fuse_entry_param e;
	struct lookups *l = q->s->lookups;

	entry_from_attr(a, &e);
	if ((held ? lookups_add_held(l, a->ino) : lookups_add(l, a->ino)) == 0) {
		fuse_reply_create(q->req, &e, &fi);
		return;
	}
	if (held)
		volume_open_unref(q->s->v, a->ino);
	fuse_reply_err(q->req, ENOMEM);
}

static int run_create(struct request *q)
{
	struct volume_attr a;
	int rc = volume_mknod(q->s->v, q->ino, q->name, strlen(q->name), q->mode, 0, &q->cred, &a, &q->wait);

	/* The kernel asks to create what it knows is not there, under the directory's lock; a name that exists all the same is opened,
	 * as open(2) without O_EXCL would. */
	if (rc == -EEXIST && !(q->flags & O_EXCL)) {
		rc = volume_lookup(q->s->v, q->ino, q->name, strlen(q->name), &a);
		if (rc == 0 && !S_ISREG(a.mode))
			rc = S_ISDIR(a.mode) ? -EISDIR : -EEXIST;
	}
	if (rc == 0) {
		changed(q, q->ino);
		reply_create(q, &a, false);
	}
	return rc;
}

static int run_tmpfile(struct request *q)
{
	struct volume_attr a;
	int rc = volume_tmpfile(q->s->v, q->ino, q->mode, &q->cred, &a, &q->wait);

	if (rc == 0)
		reply_create(q, &a, true);
	return rc;
}

void fuse_tmpfile_op(fuse_req_t req, fuse_ino_t dir, mode_t mode, struct fuse_file_info *fi)
{
	struct request *q = request_new(req, "open(O_TMPFILE)", run_tmpfile, dir);

	if (!q)
		return;
	q->mode = S_IFREG | (mode & 07777);
	q->flags = (unsigned)fi->flags;
	q->cred = cred_of(req);
	request_start(q);
}

void fuse_create_op(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct request *q;

	if (strcmp(name, WIRE_TMPFILE_NAME) == 0) {
		fuse_tmpfile_op(req, dir, mode, fi);
		return;
	}
	q = request_new(req, "create", run_create, dir);
	if (!q)
		return;
	q->name = name;
	q->mode = S_IFREG | (mode & 07777);
	q->flags = (unsigned)fi->flags;
	q->cred = cred_of(req);
	request_start(q);
}

void fuse_readlink_op(fuse_req_t req, fuse_ino_t ino)
{
	char target[VOLUME_SYMLINK_MAX + 1];
	int rc = volume_readlink(session_of(req)->v, ino, target);

	if (rc < 0)
		reply_error(req, "readlink", ino, rc);
	else
		fuse_reply_readlink(req, target);
}

/* ---------------------------------------------------------------- removals */

/* Before the name goes: if it is its inode's last, the inode stays as long as the kernel knows it. What is not there needs no
 * keeping: the operation itself finds the right error. */
static int hold_victim(struct session *s, uint64_t dir, const char *name)
{
	struct volume_attr a;
	int rc = volume_lookup(s->v, dir, name, strlen(name), &a);

	if (rc < 0)
		return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc;
	return S_ISDIR(a.mode) || a.nlink <= 1 ? lookups_hold(s->lookups, a.ino) : 0;
}

static int run_unlink(struct request *q)
{
	int rc = hold_victim(q->s, q->ino, q->name);

	if (rc == 0)
		rc = volume_unlink(q->s->v, q->ino, q->name, strlen(q->name), &q->wait);
	if (rc == 0) {
		changed(q, q->ino);
		fuse_reply_err(q->req, 0);
	}
	return rc;
}

static int run_rmdir(struct request *q)
{
	int rc = hold_victim(q->s, q->ino, q->name);

	if (rc == 0)
		rc = volume_rmdir(q->s->v, q->ino, q->name, strlen(q->name), &q->wait);
	if (rc == 0) {
		changed(q, q->ino);
		fuse_reply_err(q->req, 0);
	}
	return rc;
}

/* What has that name now: its ctime moved. The kernel holds the directory's lock, so it is what was moved there. */
static void named_changed(struct request *q, uint64_t dir, const char *name)
{
	struct volume_attr a;

	if (volume_lookup(q->s->v, dir, name, strlen(name), &a) == 0)
		changed(q, a.ino);
}

static int run_rename(struct request *q)
{
	int rc = q->flags & RENAME_EXCHANGE ? 0 : hold_victim(q->s, q->ino2, q->name2);

	if (rc == 0)
		rc = volume_rename(q->s->v, q->ino, q->name, strlen(q->name), q->ino2, q->name2, strlen(q->name2), q->flags, &q->wait);
	if (rc == 0) {
		changed(q, q->ino);
		changed(q, q->ino2);
		named_changed(q, q->ino2, q->name2);
		if (q->flags & RENAME_EXCHANGE)
			named_changed(q, q->ino, q->name);
		fuse_reply_err(q->req, 0);
	}
	return rc;
}

void fuse_unlink_op(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct request *q = request_new(req, "unlink", run_unlink, dir);

	if (!q)
		return;
	q->name = name;
	request_start(q);
}

void fuse_rmdir_op(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct request *q = request_new(req, "rmdir", run_rmdir, dir);

	if (!q)
		return;
	q->name = name;
	request_start(q);
}

void fuse_rename_op(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir, const char *new_name, unsigned flags)
{
	struct request *q = request_new(req, "rename", run_rename, dir);

	if (!q)
		return;
	q->name = name;
	q->ino2 = new_dir;
	q->name2 = new_name;
	q->flags = flags;
	request_start(q);
}
