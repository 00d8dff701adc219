/* names.c - treetest's operations on paths. */
#include "tree.h"

#include <linux/fs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

static const char *const xattr_names[] = { "user.one", "user.two", "trusted.one", "security.one", "user.", "bogus.x" };

/* /proc/self/fd/N/path: the extended attribute calls of this age take no directory. */
static const char *full(char *buf, int s, const char *path)
{
	snprintf(buf, PATH_ROOM + 64, "/proc/self/fd/%d/%s", tree_root[s], path);
	return buf;
}

void do_open(void)
{
	static const int extra[] = { O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_DSYNC, O_NOATIME };
	char path[PATH_ROOM];
	int flags = (int)below(3) | O_NONBLOCK; /* O_RDONLY, O_WRONLY, O_RDWR; a fifo must not hold us */
	mode_t mode = some_mode();

	if (!chance(3))
		flags |= O_CREAT;
	for (size_t i = 0; i < COUNT(extra); i++)
		if (chance(7))
			flags |= extra[i];
	some_path(path);
	saying("open %s flags %#o mode %o", path, (unsigned)flags, mode);
	open_both(tree_root, path, flags, mode);
	compare_path(path);
}

void do_mkdir(void)
{
	char path[PATH_ROOM];
	mode_t mode = some_mode();

	some_path(path);
	saying("mkdir %s mode %o", path, mode);
	BOTH(mkdirat(tree_root[s], path, mode));
	agree();
	compare_path(path);
}

void do_mknod(void)
{
	static const mode_t types[] = { S_IFIFO, S_IFREG, S_IFSOCK, S_IFCHR, S_IFBLK };
	char path[PATH_ROOM];
	mode_t mode = some_mode() | types[below(COUNT(types))];
	dev_t dev = makedev(240, 77); /* of no driver: opening it is ENXIO */

	some_path(path);
	saying("mknod %s mode %o", path, mode);
	BOTH(mknodat(tree_root[s], path, mode, dev));
	agree();
	compare_path(path);
}

void do_symlink(void)
{
	char path[PATH_ROOM], target[4200], name[PATH_ROOM];
	size_t len;

	some_path(path);
	some_name(target);
	if (chance(3)) {
		some_name(name);
		snprintf(target + strlen(target), 2 * PATH_ROOM, "/%s", name);
	} else if (chance(4)) {
		len = 1 + below(4096);
		memset(target, 't', len);
		target[len] = '\0';
	}
	saying("symlink %s to %.100s", path, target);
	BOTH(symlinkat(target, tree_root[s], path));
	agree();
	compare_path(path);
}

void do_link(void)
{
	char path[PATH_ROOM], to[PATH_ROOM];
	int flags = chance(3) ? AT_SYMLINK_FOLLOW : 0;

	some_path(path);
	some_path(to);
	saying("link %s to %s flags %#x", path, to, (unsigned)flags);
	BOTH(linkat(tree_root[s], path, tree_root[s], to, flags));
	agree();
	compare_path(path);
	compare_path(to);
}

void do_unlink(void)
{
	char path[PATH_ROOM];

	some_path(path);
	saying("unlink %s", path);
	BOTH(unlinkat(tree_root[s], path, 0));
	agree();
	compare_path(path);
}

void do_rmdir(void)
{
	char path[PATH_ROOM];

	some_path(path);
	saying("rmdir %s", path);
	BOTH(unlinkat(tree_root[s], path, AT_REMOVEDIR));
	agree();
	compare_path(path);
}

void do_rename(void)
{
	static const unsigned flag[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_EXCHANGE, 64 };
	char path[PATH_ROOM], to[PATH_ROOM];
	unsigned flags = flag[below(COUNT(flag))];

	some_path(path);
	some_path(to);
	saying("rename %s to %s flags %u", path, to, flags);
	BOTH(renameat2(tree_root[s], path, tree_root[s], to, flags));
	agree();
	compare_path(path);
	compare_path(to);
}

void do_chmod(void)
{
	char path[PATH_ROOM];
	mode_t mode = some_mode();

	some_path(path);
	saying("chmod %s to %o", path, mode);
	BOTH(fchmodat(tree_root[s], path, mode, 0));
	agree();
	compare_path(path);
}

void do_chown(void)
{
	static const unsigned ids[] = { 0, 5001, 5002, 5001, 5002, (unsigned)-1, 70000 };
	char path[PATH_ROOM];
	unsigned uid = ids[below(COUNT(ids))], gid = ids[below(COUNT(ids))];
	int flags = chance(3) ? AT_SYMLINK_NOFOLLOW : 0;

	if (uid == (unsigned)-1 && gid == (unsigned)-1)
		uid = 0;
	some_path(path);
	saying("chown %s to %d:%d flags %#x", path, (int)uid, (int)gid, (unsigned)flags);
	BOTH(fchownat(tree_root[s], path, uid, gid, flags));
	agree();
	compare_path(path);
}

/* Never near the present: a time near the present is one that the file system set. */
static struct timespec some_time(void)
{
	static const int64_t seconds[] = { -2000000000, -1, 0, 1, 1000000000, 2147483647, 2147483648, 4294967295, 4294967297, 9000000000 };
	static const long nanoseconds[] = { 0, 1, 999999999, 123456789, UTIME_NOW, UTIME_OMIT, UTIME_OMIT, 1000000000, -1 };
	long ns = chance(2) ? 5 : nanoseconds[below(COUNT(nanoseconds))];

	return (struct timespec){ seconds[below(COUNT(seconds))], ns };
}

void do_utimes(void)
{
	char path[PATH_ROOM];
	struct timespec t[2] = { some_time(), some_time() };
	int flags = chance(3) ? AT_SYMLINK_NOFOLLOW : 0;
	const struct timespec *times = chance(6) ? NULL : t;

	some_path(path);
	saying("utimensat %s to %lld.%ld and %lld.%ld%s flags %#x", path, (long long)t[0].tv_sec, t[0].tv_nsec, (long long)t[1].tv_sec, t[1].tv_nsec,
	       times ? "" : " (NULL)", (unsigned)flags);
	BOTH(utimensat(tree_root[s], path, times, flags));
	agree();
	compare_path(path);
}

void do_truncate(void)
{
	char path[PATH_ROOM], at[PATH_ROOM + 64];
	off_t size = chance(3) ? 0 : (off_t)below(200000);

	some_path(path);
	saying("truncate %s to %lld", path, (long long)size);
	BOTH(truncate(full(at, s, path), size));
	agree();
	compare_path(path);
}

void do_setxattr(void)
{
	char path[PATH_ROOM], at[PATH_ROOM + 64], value[100];
	const char *name = xattr_names[below(COUNT(xattr_names))];
	size_t len = below(sizeof(value));
	int flags = (int)below(4);

	some_path(path);
	some_bytes(value, len);
	saying("setxattr %s %s, %zu bytes, flags %d", path, name, len, flags);
	BOTH(lsetxattr(full(at, s, path), name, value, len, flags));
	agree();
	compare_path(path);
}

void do_removexattr(void)
{
	static const char *const acls[] = { "system.posix_acl_access", "system.posix_acl_default" };
	char path[PATH_ROOM], at[PATH_ROOM + 64];
	const char *name = chance(3) ? acls[below(2)] : xattr_names[below(COUNT(xattr_names))];

	some_path(path);
	saying("removexattr %s %s", path, name);
	BOTH(lremovexattr(full(at, s, path), name));
	agree();
	compare_path(path);
}

/* Well-formed more often than not (linux/posix_acl_xattr.h): version 2, then tag, permission and ID of each entry. */
void do_setacl(void)
{
	static const uint16_t tags[] = { 1, 2, 2, 4, 8, 16, 32 };
	struct { uint32_t version; struct { uint16_t tag, perm; uint32_t id; } e[COUNT(tags)]; } acl = { .version = chance(50) ? 1 : 2 };
	char path[PATH_ROOM], at[PATH_ROOM + 64];
	const char *name = chance(2) ? "system.posix_acl_access" : "system.posix_acl_default";
	bool named = chance(2);
	size_t n = 0;

	for (size_t i = 0; i < COUNT(tags); i++) {
		bool special = tags[i] == 2 || tags[i] == 8 || tags[i] == 16;

		if ((special && !named) || chance(60))
			continue;
		acl.e[n].tag = tags[i];
		acl.e[n].perm = (uint16_t)below(8);
		acl.e[n++].id = tags[i] == 2 || tags[i] == 8 ? 5000 + (uint32_t)i : UINT32_MAX;
	}
	some_path(path);
	saying("set %s of %s: %zu entries", name, path, n);
	BOTH(setxattr(full(at, s, path), name, &acl, 4 + n * 8, 0));
	agree();
	compare_path(path);
}

void do_readlink(void)
{
	char path[PATH_ROOM], got[2][4200];
	size_t room = chance(2) ? sizeof(got[0]) : 1 + below(100);

	some_path(path);
	saying("readlink %s into %zu bytes", path, room);
	BOTH(readlinkat(tree_root[s], path, got[s], room));
	agree();
	if (result[0] > 0 && memcmp(got[0], got[1], (size_t)result[0]) != 0)
		differ("the target of %s", path);
}

void do_stat(void)
{
	char path[PATH_ROOM];
	struct stat st[2];

	some_path(path);
	saying("stat %s", path);
	BOTH(fstatat(tree_root[s], path, &st[s], 0));
	agree();
	if (result[0] == 0 && !differ_in_nothing(st))
		compare_stat(&st[0], &st[1], path);
}

void do_access(void)
{
	char path[PATH_ROOM];
	int mode = (int)below(8), flags = AT_EACCESS | (chance(4) ? AT_SYMLINK_NOFOLLOW : 0);

	some_path(path);
	saying("access %s mode %d flags %#x", path, mode, (unsigned)flags);
	BOTH(faccessat(tree_root[s], path, mode, flags));
	agree();
}

void do_list(void)
{
	char path[PATH_ROOM];
	int fd[2];

	some_path(path);
	saying("list %s", path);
	for (int s = 0; s < 2; s++) {
		fd[s] = openat(tree_root[s], path, O_RDONLY | O_DIRECTORY);
		result[s] = fd[s] < 0 ? -errno : 0;
	}
	agree();
	if (fd[0] < 0)
		return;
	compare_list(fd, path, NULL);
	close(fd[0]);
	close(fd[1]);
}

/* A file without a name, which may get one. */
void do_tmpfile(void)
{
	char path[PATH_ROOM], to[PATH_ROOM], proc[64];
	mode_t mode = some_mode();
	int fd[2], flags = O_TMPFILE | (chance(2) ? O_RDWR : O_WRONLY) | (chance(4) ? O_EXCL : 0);

	some_path(path);
	some_path(to);
	saying("open(O_TMPFILE) in %s flags %#o mode %o, then link to %s", path, (unsigned)flags, mode, to);
	for (int s = 0; s < 2; s++) {
		fd[s] = openat(tree_root[s], path, flags, mode);
		result[s] = fd[s] < 0 ? -errno : 0;
	}
	agree();
	if (fd[0] < 0)
		return;
	BOTH(write(fd[s], "tmp", 3));
	agree();
	compare_fds(fd, "the file without a name");
	BOTH((snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd[s]), linkat(AT_FDCWD, proc, tree_root[s], to, AT_SYMLINK_FOLLOW)));
	agree();
	compare_fds(fd, "the file that got one");
	compare_path(to);
	close(fd[0]);
	close(fd[1]);
}
