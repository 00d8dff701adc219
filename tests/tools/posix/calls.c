/*
 * calls.c - the errors of each call that are not about names and permissions: descriptors, addresses, flags, limits, file types; and a read-only mount.
 * In the order of the manual pages' ERRORS sections. What a file system may choose is asked of ours alone (`ours`), with the reason.
 */
#include "posix.h"

#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#define NO_FD 9999

/* Does the mount under test answer (and not the file system it is compared with)? */
static bool ours(void)
{
	struct statfs f;

	return statfs(".", &f) == 0 && f.f_type == 0x65735546; /* FUSE_SUPER_MAGIC */
}

/* ------------------------------------------------------------- descriptors */

static void no_descriptor(int fd, const char *what)
{
	struct iovec iov = { (char[8]){ 0 }, 8 };
	struct flock l = { .l_type = F_RDLCK };
	struct statfs sf;
	struct stat st;
	char b[8];

	printf("# %s\n", what);
	FAILS(read(fd, b, 1), EBADF);
	FAILS(pread(fd, b, 1, 0), EBADF);
	FAILS(readv(fd, &iov, 1), EBADF);
	FAILS(preadv(fd, &iov, 1, 0), EBADF);
	FAILS(preadv2(fd, &iov, 1, 0, 0), EBADF);
	FAILS(write(fd, b, 1), EBADF);
	FAILS(pwrite(fd, b, 1, 0), EBADF);
	FAILS(writev(fd, &iov, 1), EBADF);
	FAILS(pwritev(fd, &iov, 1, 0), EBADF);
	FAILS(pwritev2(fd, &iov, 1, 0, 0), EBADF);
	FAILS(lseek(fd, 0, SEEK_SET), EBADF);
	FAILS(ftruncate(fd, 0), EBADF);
	FAILS(fallocate(fd, 0, 0, 1), EBADF);
	FAILS(copy_file_range(fd, NULL, fd, NULL, 1, 0), EBADF);
	FAILS(fsync(fd), EBADF);
	FAILS(fdatasync(fd), EBADF);
	FAILS(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), EBADF);
	FAILS(syncfs(fd), EBADF);
	FAILS(readahead(fd, 0, 1), EBADF);
	ok(posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL) == EBADF, "posix_fadvise gives EBADF");
	FAILS(fchmod(fd, 0644), EBADF);
	FAILS(fchown(fd, 0, 0), EBADF);
	FAILS(flock(fd, LOCK_SH), EBADF);
	FAILS(fcntl(fd, F_SETLK, &l), EBADF);
	FAILS(fcntl(fd, F_SETLEASE, F_RDLCK), EBADF);
	FAILS(syscall(SYS_getdents64, fd, b, 8), EBADF);
	FAILS(fsetxattr(fd, "user.a", "", 0, 0), EBADF);
	FAILS(fgetxattr(fd, "user.a", b, 8), EBADF);
	FAILS(flistxattr(fd, b, 8), EBADF);
	FAILS(fremovexattr(fd, "user.a"), EBADF);
	ok(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EBADF, "mmap gives EBADF");
	/* These an O_PATH descriptor does. */
	if (fd == NO_FD) {
		FAILS(fstat(fd, &st), EBADF);
		FAILS(fstatfs(fd, &sf), EBADF);
		FAILS(fchdir(fd), EBADF);
		FAILS(close(fd), EBADF);
		FAILS(futimens(fd, NULL), EBADF);
	}
}

/* What the call on a relative name gives with this in place of a directory's descriptor. */
static void no_directory(int fd, int code)
{
	struct open_how how = { .flags = O_RDONLY };
	struct statx sx;
	struct stat st;
	char b[8];

	FAILS(openat(fd, "x", O_RDONLY), code);
	FAILS(openat(fd, "x", O_RDWR | O_CREAT, 0644), code);
	FAILS(syscall(SYS_openat2, fd, "x", &how, sizeof(how)), code);
	FAILS(mkdirat(fd, "x", 0755), code);
	FAILS(mknodat(fd, "x", S_IFIFO | 0644, 0), code);
	FAILS(symlinkat("t", fd, "x"), code);
	FAILS(linkat(fd, "x", AT_FDCWD, "y", 0), code);
	FAILS(linkat(AT_FDCWD, "f", fd, "y", 0), code);
	FAILS(unlinkat(fd, "x", 0), code);
	FAILS(unlinkat(fd, "x", AT_REMOVEDIR), code);
	FAILS(renameat(fd, "x", AT_FDCWD, "y"), code);
	FAILS(renameat(AT_FDCWD, "f", fd, "y"), code);
	FAILS(renameat2(fd, "x", AT_FDCWD, "y", RENAME_NOREPLACE), code);
	FAILS(readlinkat(fd, "x", b, 8), code);
	FAILS(fstatat(fd, "x", &st, 0), code);
	FAILS(statx(fd, "x", 0, STATX_BASIC_STATS, &sx), code);
	FAILS(fchmodat(fd, "x", 0644, 0), code);
	FAILS(fchownat(fd, "x", 0, 0, 0), code);
	FAILS(utimensat(fd, "x", NULL, 0), code);
	FAILS(faccessat(fd, "x", F_OK, 0), code);
}

/* The right kind of object, opened in the wrong way; and the wrong kind. */
static void wrong_descriptors(void)
{
	int rd = open("f", O_RDONLY), wr = open("f", O_WRONLY), rw = open("f", O_RDWR), dir = open("d", O_RDONLY), fifo = open("p", O_RDWR);
	struct iovec iov[1] = { { (char[8]){ 0 }, 8 } };
	volatile int many = IOV_MAX + 1, minus = -1; /* volatile: the compiler warns of what is meant here */
	char b[8];

	need(rd >= 0 && wr >= 0 && rw >= 0 && dir >= 0 && fifo >= 0, "open");
	FAILS(read(dir, b, 1), EISDIR);
	FAILS(pread(dir, b, 1, 0), EISDIR);
	FAILS(readv(dir, iov, 1), EISDIR);
	FAILS(read(wr, b, 1), EBADF);
	FAILS(write(rd, b, 1), EBADF);
	FAILS(write(dir, b, 1), EBADF);
	FAILS(pread(fifo, b, 1, 0), ESPIPE);
	FAILS(pwrite(fifo, b, 1, 0), ESPIPE);
	FAILS(preadv(fifo, iov, 1, 0), ESPIPE);
	FAILS(lseek(fifo, 0, SEEK_SET), ESPIPE);
	FAILS(lseek(rw, 0, 99), EINVAL);
	FAILS(lseek(rw, -1, SEEK_SET), EINVAL);
	FAILS(lseek(rw, -100, SEEK_END), EINVAL);
	FAILS(lseek(rw, -1, SEEK_DATA), ENXIO);
	FAILS(lseek(rw, -1, SEEK_HOLE), ENXIO);
	FAILS(lseek(rw, 1000000, SEEK_DATA), ENXIO);
	FAILS(lseek(rw, 1000000, SEEK_HOLE), ENXIO);
	FAILS(readv(rw, iov, minus), EINVAL);
	FAILS(readv(rw, iov, many), EINVAL);
	FAILS(preadv(rw, iov, 1, -1), EINVAL);
	FAILS(pwritev(rw, iov, 1, -1), EINVAL);
	FAILS(writev(rw, iov, many), EINVAL);
	FAILS(preadv2(rw, iov, 1, 0, 1 << 30), EOPNOTSUPP);
	FAILS(pwritev2(rw, iov, 1, 0, 1 << 30), EOPNOTSUPP);
	ok(readv(rw, iov, 0) == 0 && writev(rw, iov, 0) == 0, "no vectors are nothing");
	FAILS(ftruncate(dir, 0), EINVAL);
	FAILS(ftruncate(rd, 0), EINVAL);
	FAILS(ftruncate(fifo, 0), EINVAL);
	FAILS(ftruncate(rw, -1), EINVAL);
	/* The largest file: ext4's is some TiB, ours what off_t can say. */
	FAILS(ftruncate(rw, LLONG_MAX), ours() ? 0 : EFBIG);
	FAILS(truncate("p", 0), EINVAL);
	FAILS(truncate("f", LLONG_MAX), ours() ? 0 : EFBIG);
	NEED(truncate("f", 7));
	FAILS(pwrite(rw, b, 1, LLONG_MAX), EINVAL);
	FAILS(fallocate(rw, 0, LLONG_MAX - 5, 100), EFBIG);
	FAILS(fallocate(dir, 0, 0, 1), EBADF);
	FAILS(fallocate(fifo, 0, 0, 1), ESPIPE);
	FAILS(fallocate(rd, 0, 0, 1), EBADF);
	FAILS(fallocate(rw, 0, 0, -1), EINVAL);
	FAILS(fallocate(rw, FALLOC_FL_KEEP_SIZE, -1, 1), EINVAL);
	FAILS(fallocate(rw, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 1), EOPNOTSUPP);
	FAILS(fallocate(rw, 0x4000, 0, 1), EOPNOTSUPP);
	if (ours()) { /* modes that a file system may have or not: ext4 has them */
		FAILS(fallocate(rw, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
		FAILS(fallocate(rw, FALLOC_FL_INSERT_RANGE, 0, 4096), EOPNOTSUPP);
		FAILS(fallocate(rw, FALLOC_FL_UNSHARE_RANGE, 0, 4096), EOPNOTSUPP);
	}
	FAILS(copy_file_range(rw, NULL, rd, NULL, 1, 0), EBADF);
	FAILS(copy_file_range(wr, NULL, rw, NULL, 1, 0), EBADF);
	FAILS(copy_file_range(dir, NULL, rw, NULL, 1, 0), EISDIR);
	FAILS(copy_file_range(rd, NULL, fifo, NULL, 1, 0), EINVAL);
	FAILS(copy_file_range(fifo, NULL, rw, NULL, 1, 0), EINVAL);
	FAILS(copy_file_range(rd, &(off_t){ 0 }, rw, &(off_t){ 1 }, 4, 0), EINVAL);
	FAILS(fsync(fifo), EINVAL);
	FAILS(fdatasync(fifo), EINVAL);
	FAILS(sync_file_range(fifo, 0, 0, SYNC_FILE_RANGE_WRITE), ESPIPE);
	FAILS(sync_file_range(rw, 0, 0, 64), EINVAL);
	FAILS(sync_file_range(rw, -1, 1, SYNC_FILE_RANGE_WRITE), EINVAL);
	OK(sync_file_range(rw, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
	ok(posix_fadvise(fifo, 0, 0, POSIX_FADV_NORMAL) == ESPIPE, "posix_fadvise of a fifo gives ESPIPE");
	ok(posix_fadvise(rw, 0, 0, 99) == EINVAL, "posix_fadvise with an unknown advice gives EINVAL");
	FAILS(syscall(SYS_getdents64, rd, b, 8), ENOTDIR);
	FAILS(fchdir(rd), ENOTDIR);
	FAILS(flock(rd, 16), EINVAL);
	no_directory(rd, ENOTDIR);
	close(rd);
	close(wr);
	close(rw);
	close(dir);
	close(fifo);
}

/* An absolute path needs no directory: what is given for one is not looked at. */
static void absolute_paths(void)
{
	char path[PATH_MAX + 8];
	struct stat st;

	need(getcwd(path, PATH_MAX) != NULL, "getcwd");
	strcat(path, "/f");
	OK(fstatat(NO_FD, path, &st, 0));
	OK(close(openat(NO_FD, path, O_RDONLY)));
	OK(faccessat(NO_FD, path, F_OK, 0));
}

void suite_descriptors(void)
{
	int fd;

	make_file("f", "content", 0644);
	make_dir("d", 0755);
	NEED(mkfifo("p", 0644));
	no_descriptor(NO_FD, "no descriptor");
	fd = open("f", O_PATH);
	need(fd >= 0, "open(O_PATH)");
	no_descriptor(fd, "a descriptor of O_PATH");
	close(fd);
	no_directory(NO_FD, EBADF);
	wrong_descriptors();
	absolute_paths();
}

/* --------------------------------------------------------------- addresses */

void suite_addresses(void)
{
	/* volatile: the compiler must not know. */
	void *volatile bad = (void *)(uintptr_t)8;
	char *path = bad, b[8];
	struct stat st;
	int fd;

	make_file("f", "content", 0644);
	NEED(symlink("f", "l"));
	NEED(setxattr("f", "user.a", "1", 1, 0));
	fd = open("f", O_RDWR);
	need(fd >= 0, "open");
	FAILS(open(path, O_RDONLY), EFAULT);
	FAILS(creat(path, 0644), EFAULT);
	FAILS(mkdir(path, 0755), EFAULT);
	FAILS(mkfifo(path, 0644), EFAULT);
	FAILS(rmdir(path), EFAULT);
	FAILS(unlink(path), EFAULT);
	FAILS(link(path, "x"), EFAULT);
	FAILS(link("f", path), EFAULT);
	FAILS(symlink(path, "x"), EFAULT);
	FAILS(symlink("x", path), EFAULT);
	FAILS(rename(path, "x"), EFAULT);
	FAILS(rename("f", path), EFAULT);
	FAILS(syscall(SYS_readlinkat, AT_FDCWD, path, b, sizeof(b)), EFAULT); /* the sanitizers' readlink looks at the path itself */
	FAILS(readlink("l", path, 8), EFAULT);
	FAILS(stat(path, &st), EFAULT);
	FAILS(syscall(SYS_newfstatat, AT_FDCWD, "f", bad, 0), EFAULT);
	FAILS(syscall(SYS_fstat, fd, bad), EFAULT);
	FAILS(syscall(SYS_statfs, "f", bad), EFAULT);
	FAILS(chmod(path, 0644), EFAULT);
	FAILS(chown(path, 0, 0), EFAULT);
	FAILS(lchown(path, 0, 0), EFAULT);
	FAILS(truncate(path, 0), EFAULT);
	FAILS(access(path, F_OK), EFAULT);
	FAILS(syscall(SYS_utimensat, AT_FDCWD, "f", bad, 0), EFAULT);
	FAILS(syscall(SYS_utimensat, AT_FDCWD, path, NULL, 0), EFAULT);
	FAILS(read(fd, bad, 4), EFAULT);
	FAILS(write(fd, bad, 4), EFAULT);
	FAILS(pread(fd, bad, 4, 0), EFAULT);
	FAILS(pwrite(fd, bad, 4, 0), EFAULT);
	FAILS(syscall(SYS_readv, fd, bad, 1), EFAULT);
	FAILS(syscall(SYS_writev, fd, bad, 1), EFAULT);
	FAILS(setxattr("f", path, "1", 1, 0), EFAULT);
	FAILS(setxattr("f", "user.b", bad, 1, 0), EFAULT);
	FAILS(getxattr("f", "user.a", bad, 8), EFAULT);
	FAILS(listxattr("f", bad, 64), EFAULT);
	FAILS(chdir(path), EFAULT);
	ok(stat_of("f").st_size == 7 && content_is("f", "content"), "and nothing was changed by any of them");
	close(fd);
}

/* ------------------------------------------------------------------- flags */

static void open_flags(void)
{
	struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_BENEATH };
	int fd;

	FAILS(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("new", O_RDWR | O_CREAT | O_DIRECTORY, 0644), EINVAL);
	FAILS(open("d", O_RDWR), EISDIR);
	FAILS(open("d", O_RDONLY | O_CREAT, 0644), EISDIR);
	FAILS(open("d", O_RDONLY | O_TRUNC), EISDIR);
	FAILS(open("f", O_TMPFILE | O_RDWR, 0644), ENOTDIR);
	FAILS(open("missing", O_TMPFILE | O_RDWR, 0644), ENOENT);
	FAILS(open("d", O_TMPFILE | O_RDONLY, 0644), EINVAL);
	FAILS(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
	FAILS(open("s", O_RDWR), ENXIO);
	FAILS(open("nodev", O_RDONLY), ENXIO);
	FAILS(syscall(SYS_openat2, AT_FDCWD, "../flags/f", &how, sizeof(how)), EXDEV);
	FAILS(syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)), EXDEV);
	how.resolve = RESOLVE_NO_SYMLINKS;
	FAILS(syscall(SYS_openat2, AT_FDCWD, "l", &how, sizeof(how)), ELOOP);
	how = (struct open_how){ .flags = O_RDONLY, .mode = 0644 };
	FAILS(syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof(how)), EINVAL);
	fd = open("f", O_RDONLY | O_NOATIME);
	ok(fd >= 0, "root may open with O_NOATIME");
	close(fd);
	fd = creat("f", 0600);
	ok(fd >= 0 && stat_of("f").st_size == 0 && (stat_of("f").st_mode & 0777) == 0644, "creat of a file that exists empties it, and leaves its mode");
	FAILS(read(fd, (char[1]){ 0 }, 1), EBADF);
	close(fd);
	fd = open("f", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_SYNC, 0600);
	ok((fcntl(fd, F_GETFL) & (O_APPEND | O_SYNC | O_ACCMODE)) == (O_APPEND | O_SYNC | O_RDWR), "F_GETFL tells the flags");
	close(fd);
}

static void other_flags(void)
{
	struct statx sx;
	struct stat st;
	int d = open("d", O_RDONLY);

	FAILS(fstatat(AT_FDCWD, "f", &st, 0x40000000), EINVAL);
	FAILS(statx(AT_FDCWD, "f", 0x40000000, STATX_BASIC_STATS, &sx), EINVAL);
	FAILS(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &sx), EINVAL);
	FAILS(statx(AT_FDCWD, "f", 0, STATX__RESERVED, &sx), EINVAL);
	FAILS(statx(AT_FDCWD, "", 0, STATX_BASIC_STATS, &sx), ENOENT);
	OK(statx(d, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx));
	ok((sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && S_ISDIR(sx.stx_mode), "statx of a descriptor gives all of stat(2)");
	OK(statx(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &sx));
	ok(S_ISLNK(sx.stx_mode) && sx.stx_size == 1, "statx of a symlink itself");
	FAILS(unlinkat(AT_FDCWD, "f", 0x40000000), EINVAL);
	FAILS(unlinkat(AT_FDCWD, "d", 0), EISDIR);
	FAILS(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR), ENOTDIR);
	FAILS(linkat(AT_FDCWD, "f", AT_FDCWD, "x", 0x40000000), EINVAL);
	FAILS(linkat(d, "", AT_FDCWD, "x", AT_EMPTY_PATH), EPERM);
	FAILS(fchownat(AT_FDCWD, "f", 0, 0, 0x40000000), EINVAL);
	OK(fchownat(d, "", 7, 7, AT_EMPTY_PATH));
	ok(stat_of("d").st_uid == 7, "fchownat of a descriptor");
	FAILS(utimensat(AT_FDCWD, "f", NULL, 0x40000000), EINVAL);
	FAILS(syscall(SYS_fchmodat2, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
	FAILS(syscall(SYS_fchmodat2, AT_FDCWD, "f", 0600, 0x40000000), EINVAL);
	FAILS(access("f", 8), EINVAL);
	FAILS(faccessat(AT_FDCWD, "f", R_OK, 0x40000000), EINVAL);
	FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", 0x80), EINVAL);
	FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", RENAME_EXCHANGE | RENAME_WHITEOUT), EINVAL);
	if (ours()) /* whiteouts are for overlayfs's upper layer; ext4 makes them */
		FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", RENAME_WHITEOUT), EINVAL);
	FAILS(mknod("x", S_IFDIR | 0755, 0), EPERM);
	FAILS(mknod("x", S_IFLNK | 0755, 0), EINVAL);
	FAILS(mknod("x", 0130000 | 0755, 0), EINVAL);
	FAILS(readlink("l", (char[1]){ 0 }, 0), EINVAL);
	ok(!exists("x"), "and none of them made anything");
	close(d);
}

void suite_flags(void)
{
	make_file("f", "content", 0644);
	make_dir("d", 0755);
	NEED(symlink("f", "l"));
	NEED(mkfifo("p", 0644));
	NEED(mknod("s", S_IFSOCK | 0644, 0));
	NEED(mknod("nodev", S_IFCHR | 0644, 240 << 8 | 77)); /* of no driver */
	open_flags();
	other_flags();
}

/* ------------------------------------------------------------------ limits */

/* A chain of symlinks of that length, the last to "f". */
static void chain(int n)
{
	char to[32] = "f", name[32];

	for (int i = 1; i <= n; i++) {
		snprintf(name, sizeof(name), "chain%d", i);
		NEED(symlink(to, name));
		memcpy(to, name, sizeof(to));
	}
}

static void deep_paths(void)
{
	char path[PATH_MAX + 300], name[251];
	int fds[21], fd;

	memset(name, 'd', 250);
	name[250] = '\0';
	chain(41);
	OK(close(open("chain40", O_RDONLY)));
	FAILS(open("chain41", O_RDONLY), ELOOP);
	FAILS(stat("chain41", &(struct stat){ 0 }), ELOOP);
	/* A path of PATH_MAX - 1 bytes is one; directories go deeper than a path can say. */
	fds[0] = open(".", O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 20; i++) {
		NEED(mkdirat(fds[i], name, 0755));
		fds[i + 1] = openat(fds[i], name, O_RDONLY | O_DIRECTORY);
		NEED(fds[i + 1]);
	}
	fd = openat(fds[20], "deep", O_RDWR | O_CREAT, 0644);
	NEED(close(fd));
	ok(faccessat(fds[20], "deep", F_OK, 0) == 0, "a file deeper than PATH_MAX is reached by steps");
	path[0] = '\0';
	for (int i = 0; i < 16; i++) {
		strcat(path, name);
		strcat(path, "/");
	}
	while (strlen(path) < PATH_MAX - 1)
		strcat(path, "/");
	OK(access(path, F_OK));
	strcat(path, "/");
	FAILS(access(path, F_OK), ENAMETOOLONG);
	OK(unlinkat(fds[20], "deep", 0));
	for (int i = 20; i > 0; i--) {
		close(fds[i]);
		NEED(unlinkat(fds[i - 1], name, AT_REMOVEDIR));
	}
	close(fds[0]);
}

static int write_beyond(void *arg)
{
	struct rlimit l = { 1000, 1000 };
	int fd;

	unlink("limited");
	fd = open("limited", O_RDWR | O_CREAT, 0644);
	if (fd < 0 || setrlimit(RLIMIT_FSIZE, &l) < 0)
		return 100;
	return *(int *)arg ? CODE(ftruncate(fd, 1001)) : CODE(pwrite(fd, "x", 1, 1000));
}

static void file_size_limit(void)
{
	signal(SIGXFSZ, SIG_DFL);
	for (int how = 0; how < 2; how++) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		NEED(pid);
		if (pid == 0)
			_exit(write_beyond(&how));
		NEED(waitpid(pid, &status, 0));
		ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ, "%s beyond RLIMIT_FSIZE is SIGXFSZ", how ? "ftruncate" : "a write");
	}
	signal(SIGXFSZ, SIG_IGN);
	for (int how = 0; how < 2; how++)
		expect(run_as(USER_A, GROUP_A, 0, write_beyond, &how), EFBIG, "%s beyond RLIMIT_FSIZE, with the signal ignored,", how ? "ftruncate" : "a write");
	signal(SIGXFSZ, SIG_DFL);
}

static void other_file_systems(void)
{
	struct stat here = stat_of("."), there;
	char path[64];
	int fd;

	if (stat("/dev/shm", &there) < 0 || there.st_dev == here.st_dev) {
		skip("EXDEV", "host: there is no /dev/shm");
		return;
	}
	snprintf(path, sizeof(path), "/dev/shm/posixtest-%d", (int)getpid());
	FAILS(link("f", path), EXDEV);
	FAILS(rename("f", path), EXDEV);
	FAILS(rename("d", path), EXDEV);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	need(fd >= 0, path);
	FAILS(rename(path, "f"), EXDEV);
	FAILS(link(path, "g"), EXDEV);
	FAILS(renameat2(AT_FDCWD, path, AT_FDCWD, "f", RENAME_EXCHANGE), EXDEV);
	close(fd);
	NEED(unlink(path));
	ok(exists("f") && exists("d"), "and everything is where it was");
}

static void busy(void)
{
	if (mount("d", "d", NULL, MS_BIND, NULL) < 0) {
		skip("EBUSY of a mount point", "host: nothing can be mounted here");
		return;
	}
	FAILS(rmdir("d"), EBUSY);
	FAILS(rename("d", "e"), EBUSY);
	make_dir("other", 0755);
	FAILS(rename("other", "d"), EBUSY);
	NEED(umount("d"));
	FAILS(rename("d/.", "e"), EBUSY);
	FAILS(rename("d/..", "e"), EBUSY);
	FAILS(rename("other", "d/."), EBUSY);
	OK(rmdir("d"));
}

/* A program that runs is not written to, and one that is written to does not run. */
static void text_busy(void)
{
	int fd;

	make_file("script", "#!/bin/sh\nexit 0\n", 0755);
	fd = open("script", O_WRONLY);
	expect(call_as(0, 0, 0, C_EXEC, "script", NULL), ETXTBSY, "execve of a file open for writing");
	close(fd);
	expect(call_as(0, 0, 0, C_EXEC, "script", NULL), 0, "execve once it is closed");
	make_file("nonsense", "nonsense", 0755);
	expect(call_as(0, 0, 0, C_EXEC, "nonsense", NULL), ENOEXEC, "execve of what is no program");
	expect(call_as(0, 0, 0, C_EXEC, "d", NULL), EACCES, "execve of a directory");
}

void suite_limits(void)
{
	make_file("f", "content", 0644);
	make_dir("d", 0755);
	NEED(chmod(".", 0777));
	deep_paths();
	file_size_limit();
	other_file_systems();
	text_busy();
	busy();
}

/* ------------------------------------------------------------------ O_PATH */

void suite_opath(void)
{
	struct stat st;
	char b[16], proc[64];
	int f, d, l, again;

	make_file("f", "content", 0000);
	make_dir("d", 0755);
	make_file("d/in", "inside", 0644);
	NEED(symlink("f", "l"));
	f = open("f", O_PATH);
	d = open("d", O_PATH | O_DIRECTORY);
	l = open("l", O_PATH | O_NOFOLLOW);
	need(f >= 0 && d >= 0 && l >= 0, "open(O_PATH)");
	ok(fstat(f, &st) == 0 && st.st_size == 7, "fstat of an O_PATH descriptor");
	ok(fstat(l, &st) == 0 && S_ISLNK(st.st_mode), "O_PATH|O_NOFOLLOW is the symlink itself");
	ok(readlinkat(l, "", b, sizeof(b)) == 1 && b[0] == 'f', "readlinkat of it with no name");
	OK(fchownat(l, "", 5, 5, AT_EMPTY_PATH));
	ok(stat_of("l").st_uid == 5 && stat_of("f").st_uid == 0, "fchownat changes the symlink's owner");
	ok(openat(d, "in", O_RDONLY) >= 0, "openat through an O_PATH directory");
	OK(rename("d", "moved"));
	ok(fstatat(d, "in", &st, 0) == 0, "which may be renamed meanwhile");
	OK(fchdir(d));
	ok(access("in", F_OK) == 0, "fchdir to it");
	NEED(chdir(".."));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", f);
	again = open(proc, O_RDONLY);
	ok(again >= 0 && read(again, b, 7) == 7 && memcmp(b, "content", 7) == 0, "it is opened for reading through /proc");
	OK(chmod(proc, 0640));
	ok((stat_of("f").st_mode & 0777) == 0640, "chmod through /proc changes the file");
	close(again);
	OK(linkat(f, "", AT_FDCWD, "second", AT_EMPTY_PATH));
	ok(stat_of("second").st_ino == stat_of("f").st_ino, "linkat with AT_EMPTY_PATH gives it another name");
	FAILS(open("missing", O_PATH), ENOENT);
	FAILS(open("f", O_PATH | O_DIRECTORY), ENOTDIR);
	ok(open("missing", O_PATH | O_CREAT, 0644) < 0, "O_PATH makes nothing");
	ok(!exists("missing"), "whatever else is asked");
	close(f);
	close(d);
	close(l);
}

/* ---------------------------------------------------------------- readonly */

/* On a mount that is read-only, in a directory that make_readonly_ground made before: nothing may be changed, everything read. */
void suite_readonly(void)
{
	struct timespec t[2] = { { 1, 1 }, { 2, 2 } };
	char b[16];
	int fd;

	FAILS(open("f", O_WRONLY), EROFS);
	FAILS(open("f", O_RDWR), EROFS);
	FAILS(open("f", O_RDONLY | O_TRUNC), EROFS);
	FAILS(open("new", O_RDONLY | O_CREAT, 0644), EROFS);
	FAILS(open("new", O_RDWR | O_CREAT | O_EXCL, 0644), EROFS);
	FAILS(open("f", O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST);
	FAILS(open(".", O_TMPFILE | O_RDWR, 0644), EROFS);
	FAILS(mkdir("new", 0755), EROFS);
	FAILS(mkdir("d", 0755), EEXIST);
	FAILS(mkfifo("new", 0644), EROFS);
	FAILS(symlink("x", "new"), EROFS);
	FAILS(link("f", "new"), EROFS);
	FAILS(unlink("f"), EROFS);
	FAILS(rmdir("d"), EROFS);
	FAILS(rename("f", "g"), EROFS);
	FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "d", RENAME_EXCHANGE), EROFS);
	FAILS(truncate("f", 0), EROFS);
	FAILS(chmod("f", 0600), EROFS);
	FAILS(chown("f", 1, 1), EROFS);
	FAILS(lchown("l", 1, 1), EROFS);
	FAILS(utimensat(AT_FDCWD, "f", NULL, 0), EROFS);
	FAILS(utimensat(AT_FDCWD, "f", t, 0), EROFS);
	FAILS(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW), EROFS);
	FAILS(setxattr("f", "user.b", "1", 1, 0), EROFS);
	FAILS(removexattr("f", "user.a"), EROFS);
	FAILS(access("f", W_OK), EROFS);
	FAILS(access("d", W_OK), EROFS);
	OK(access("f", R_OK));
	FAILS(open("missing", O_RDWR), ENOENT);
	FAILS(unlink("missing"), EROFS);
	FAILS(mkdir("f/x", 0755), ENOTDIR);
	fd = open("f", O_RDONLY);
	ok(fd >= 0 && read(fd, b, 7) == 7 && memcmp(b, "content", 7) == 0, "a file is read");
	FAILS(fchmod(fd, 0600), EROFS);
	FAILS(fchown(fd, 1, 1), EROFS);
	FAILS(futimens(fd, NULL), EROFS);
	FAILS(fsetxattr(fd, "user.b", "1", 1, 0), EROFS);
	FAILS(write(fd, b, 1), EBADF);
	FAILS(ftruncate(fd, 0), EINVAL);
	OK(fsync(fd));
	close(fd);
	fd = open("p", O_RDWR | O_NONBLOCK);
	ok(fd >= 0 && write(fd, "x", 1) == 1, "a fifo is written to: its bytes are not the file system's");
	close(fd);
	ok(getxattr("f", "user.a", b, sizeof(b)) == 1, "an attribute is read");
	ok(readlink("l", b, sizeof(b)) == 1, "a symlink too");
	expect(call_as(0, 0, 0, C_OPEN_DIR, "d", NULL), 0, "a directory is listed");
}

void make_readonly_ground(void)
{
	make_file("f", "content", 0644);
	make_dir("d", 0755);
	NEED(symlink("f", "l"));
	NEED(mkfifo("p", 0644));
	NEED(setxattr("f", "user.a", "1", 1, 0));
}
