/*
 * fuse_inode.c - attributes, extended attributes, statfs.
 *
 * Set-id bits: the kernel leaves them to us (HANDLE_KILLPRIV_V2). It marks writes and truncations of callers without CAP_FSETID;
 * changes of owner clear them always; and a SETATTR that sets nothing is its way of saying "clear them now". That saves
 * asking for security.capability before every write.
 */
#include "session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"

#define ACL_ACCESS "system.posix_acl_access"
#define GROUPS_MAX 65536

void fuse_getattr_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *s = session_of(req);
	struct volume_attr a;
	int rc;

	(void)fi;
	lookups_told(s->lookups, ino, asker(req));
	rc = volume_getattr(s->v, ino, &a);
	if (rc < 0)
		reply_error(req, "getattr", ino, rc);
	else
		reply_attr(req, &a);
}

/*
 * "Clear them now" comes from who is about to change the file's bytes, and from anybody's chown(file, -1, -1): nothing tells the two apart. Of root and the
 * owner it is believed; others who allocate or copy have the bits cleared by that operation itself (fuse_data.c), and may not take them off a
 * file that they cannot write.
 */
static int run_setattr(struct request *q)
{
	uint32_t uid = fuse_req_ctx(q->req)->uid;
	struct volume_attr a;
	int rc;

	if (q->flags == VOLUME_SET_KILL_PRIV && uid != 0) {
		rc = volume_getattr(q->s->v, q->ino, &a);
		if (rc == 0 && a.uid != uid)
			reply_attr(q->req, &a);
		if (rc < 0 || a.uid != uid)
			return rc;
	}
	rc = volume_setattr(q->s->v, q->ino, q->flags, &q->attr, &a, &q->wait);
	if (rc == 0)
		reply_attr(q->req, &a);
	return rc;
}

static unsigned what_to_set(struct session *s, int to_set)
{
	static const struct { int fuse; unsigned volume; } map[] = {
		{ FUSE_SET_ATTR_MODE, VOLUME_SET_MODE },
		{ FUSE_SET_ATTR_UID, VOLUME_SET_UID },
		{ FUSE_SET_ATTR_GID, VOLUME_SET_GID },
		{ FUSE_SET_ATTR_SIZE, VOLUME_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, VOLUME_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, VOLUME_SET_MTIME },
	};
	unsigned set = 0;

	for (size_t i = 0; i < CL_ARRAY_LEN(map); i++)
		if (to_set & map[i].fuse)
			set |= map[i].volume;
	/* The kernel sends "now" together with the plain bit. */
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		set = (set & ~(unsigned)VOLUME_SET_ATIME) | VOLUME_SET_ATIME_NOW;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		set = (set & ~(unsigned)VOLUME_SET_MTIME) | VOLUME_SET_MTIME_NOW;
	/* FATTR_KILL_SUIDGID of the protocol; libfuse calls it KILL_SUID. */
	if (s->killpriv && (set == 0 || to_set & FUSE_SET_ATTR_KILL_SUID))
		set |= VOLUME_SET_KILL_PRIV;
	return set;
}

void fuse_setattr_op(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct request *q = request_new(req, "setattr", run_setattr, ino);

	if (!q)
		return;
	q->flags = what_to_set(q->s, to_set);
	(void)fi;
	/* truncate, ftruncate and O_TRUNC move the times even where the size stays (POSIX.1-2008, and ext4). */
	if (q->flags & VOLUME_SET_SIZE && !(q->flags & VOLUME_SET_MTIME))
		q->flags |= VOLUME_SET_MTIME_NOW;
	q->attr.mode = (uint32_t)st->st_mode & 07777;
	q->attr.uid = st->st_uid;
	q->attr.gid = st->st_gid;
	q->attr.size = (uint64_t)st->st_size;
	q->attr.atime = st->st_atim;
	q->attr.mtime = st->st_mtim;
	request_start(q);
}

/* ------------------------------------------------------ extended attributes */

/* With noxattr each of the four calls is answered ENOSYS once: the kernel says EOPNOTSUPP itself from then on. What is stored stays. */
static bool without_xattr(fuse_req_t req)
{
	bool without = session_of(req)->c->no_xattr;

	if (without)
		fuse_reply_err(req, ENOSYS);
	return without;
}

void fuse_getxattr_op(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	void *value = size ? thread_buffer(size) : NULL;
	size_t len = 0;
	int rc;

	if (without_xattr(req))
		return;
	rc = size && !value ? -ENOMEM : volume_getxattr(session_of(req)->v, ino, name, value, size, &len);
	if (rc < 0)
		reply_error(req, "getxattr", ino, rc);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else
		fuse_reply_buf(req, value, len);
}

void fuse_listxattr_op(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *list = size ? thread_buffer(size) : NULL;
	size_t len = 0;
	int rc;

	if (without_xattr(req))
		return;
	rc = size && !list ? -ENOMEM : volume_listxattr(session_of(req)->v, ino, list, size, &len);
	if (rc < 0)
		reply_error(req, "listxattr", ino, rc);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else
		fuse_reply_buf(req, list, len);
}

/* Is the caller in the group (or root)? */
static bool in_group(fuse_req_t req, uint32_t gid)
{
	const struct fuse_ctx *x = fuse_req_ctx(req);
	gid_t few[64], *list = few;
	bool found = x->uid == 0 || x->gid == gid;
	int n;

	if (found)
		return true;
	n = fuse_req_getgroups(req, CL_ARRAY_LEN(few), few);
	if (n > (int)CL_ARRAY_LEN(few) && n <= GROUPS_MAX) {
		list = malloc((size_t)n * sizeof(*list));
		n = list ? fuse_req_getgroups(req, n, list) : 0;
	}
	for (int i = 0; i < n && !found; i++)
		found = list[i] == gid;
	if (list != few)
		free(list);
	return found;
}

static int run_setxattr(struct request *q)
{
	int rc = volume_setxattr(q->s->v, q->ino, q->name, q->data, q->data_len, (int)q->flags, &q->wait);

	if (rc == 0) {
		changed(q, q->ino);
		fuse_reply_err(q->req, 0);
	}
	return rc;
}

/* chmod(2)'s rule, which setting an access ACL must follow too: set-group-id goes when the owner is not in the file's group. */
static int run_setacl(struct request *q)
{
	struct volume_attr a, changed;
	int rc = volume_getattr(q->s->v, q->ino, &a);

	if (rc == 0 && a.mode & S_ISGID && !in_group(q->req, a.gid)) {
		a.mode &= 07777 & ~(uint32_t)S_ISGID;
		rc = volume_setattr(q->s->v, q->ino, VOLUME_SET_MODE, &a, &changed, &q->wait);
	}
	return rc ? rc : run_setxattr(q);
}

void fuse_setxattr_op(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct request *q;

	if (without_xattr(req))
		return;
	q = request_new(req, "setxattr", strcmp(name, ACL_ACCESS) == 0 ? run_setacl : run_setxattr, ino);
	if (!q)
		return;
	q->name = name;
	q->data = value;
	q->data_len = size;
	q->flags = (unsigned)flags;
	request_start(q);
}

static int run_removexattr(struct request *q)
{
	int rc = volume_removexattr(q->s->v, q->ino, q->name, &q->wait);

	if (rc == 0) {
		changed(q, q->ino);
		fuse_reply_err(q->req, 0);
	}
	return rc;
}

void fuse_removexattr_op(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct request *q;

	if (without_xattr(req))
		return;
	q = request_new(req, "removexattr", run_removexattr, ino);
	if (!q)
		return;
	q->name = name;
	request_start(q);
}

void fuse_statfs_op(fuse_req_t req, fuse_ino_t ino)
{
	struct volume_statfs f;
	struct statvfs st = { 0 };
	int rc = volume_statfs(session_of(req)->v, &f);

	if (rc < 0) {
		reply_error(req, "statfs", ino, rc);
		return;
	}
	st.f_bsize = SESSION_BLOCK_BYTES;
	st.f_frsize = SESSION_BLOCK_BYTES;
	st.f_blocks = f.total_bytes / SESSION_BLOCK_BYTES;
	st.f_bfree = f.free_bytes / SESSION_BLOCK_BYTES;
	st.f_bavail = st.f_bfree;
	/* There is no table of inodes that could run full; df -i wants a number all the same. */
	st.f_ffree = 1ull << 32;
	st.f_files = f.inodes + st.f_ffree;
	st.f_favail = st.f_ffree;
	st.f_namemax = VOLUME_NAME_MAX;
	fuse_reply_statfs(req, &st);
}
