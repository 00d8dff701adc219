/* more.c - mappings beyond the end, leases, directory positions while names come and go, attributes by namespace and type, times by operation, RWF_ flags. */
#include "posix.h"

#include <dirent.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

/* ---------------------------------------------------------------- mappings */

/* The signal that touching the byte at `at` of the file's mapping ends a process with; 0 = none. */
static int touch(int fd, size_t len, size_t at, bool store)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	NEED(pid);
	if (pid == 0) {
		volatile char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		if (p == MAP_FAILED)
			_exit(1);
		if (store)
			p[at] = 'x';
		else
			(void)p[at];
		_exit(0);
	}
	NEED(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void beyond_the_end(void)
{
	int fd = open("m", O_RDWR | O_CREAT, 0644);
	char b[4096];

	NEED(ftruncate(fd, 5000));
	ok(touch(fd, 16384, 0, true) == 0, "a store within the file");
	ok(touch(fd, 16384, 8191, true) == 0, "a store behind the end, in its page, is no error");
	ok(touch(fd, 16384, 8192, false) == SIGBUS, "a load of the page behind that is SIGBUS");
	ok(touch(fd, 16384, 8192, true) == SIGBUS, "a store too");
	NEED(fsync(fd));
	ok(stat_of("m").st_size == 5000, "and none of them made the file longer");
	NEED(ftruncate(fd, 8192));
	ok(pread(fd, b, 3192, 5000) == 3192 && b[3191] == 0 && b[0] == 0, "what was stored behind the end is zero when the file grows");
	NEED(ftruncate(fd, 0));
	ok(touch(fd, 4096, 0, false) == SIGBUS, "any page of an empty file is SIGBUS");
	close(fd);
}

static void mapping_errors(void)
{
	int rd = open("m", O_RDONLY), wr = open("m", O_WRONLY), rw = open("m", O_RDWR), dir = open(".", O_RDONLY);
	char *p;

	ok(mmap(NULL, 4096, PROT_READ, MAP_SHARED, wr, 0) == MAP_FAILED && errno == EACCES, "mapping a write-only descriptor gives EACCES");
	ok(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, rd, 0) == MAP_FAILED && errno == EACCES, "a shared writable mapping of a read-only one too");
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, rd, 0);
	ok(p != MAP_FAILED, "a private one may be written");
	munmap(p, 4096);
	ok(mmap(NULL, 0, PROT_READ, MAP_SHARED, rw, 0) == MAP_FAILED && errno == EINVAL, "a mapping of nothing gives EINVAL");
	ok(mmap(NULL, 4096, PROT_READ, MAP_SHARED, rw, 17) == MAP_FAILED && errno == EINVAL, "an offset within a page gives EINVAL");
	ok(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dir, 0) == MAP_FAILED && errno == ENODEV, "mapping a directory gives ENODEV");
	p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, rd, 0);
	need(p != MAP_FAILED, "mmap");
	FAILS(mprotect(p, 4096, PROT_READ | PROT_WRITE), EACCES);
	FAILS(msync(p + 1, 4096, MS_SYNC), EINVAL);
	FAILS(msync(p, 4096, MS_SYNC | MS_ASYNC), EINVAL);
	OK(msync(p, 8192, MS_ASYNC));
	OK(msync(p, 8192, MS_SYNC | MS_INVALIDATE));
	munmap(p, 8192);
	FAILS(msync(p, 4096, MS_SYNC), ENOMEM);
	close(rd);
	close(wr);
	close(rw);
	close(dir);
}

void suite_mappings(void)
{
	beyond_the_end();
	mapping_errors();
}

/* ------------------------------------------------------------------ leases */

static int open_nonblock(void *arg)
{
	int fd = open("lease", *(int *)arg | O_NONBLOCK);

	return fd < 0 ? errno : 0;
}

void suite_leases(void)
{
	int rd, rw, read_flag = O_RDONLY, write_flag = O_WRONLY;

	make_file("lease", "x", 0666);
	signal(SIGIO, SIG_IGN);
	rd = open("lease", O_RDONLY);
	if (fcntl(rd, F_SETLEASE, F_RDLCK) < 0 && errno == EINVAL) {
		skip("leases", "host: this kernel has none here");
		close(rd);
		return;
	}
	ok(fcntl(rd, F_GETLEASE) == F_RDLCK, "a read lease is held");
	expect(run_as(0, 0, 0, open_nonblock, &read_flag), 0, "opening to read beside a read lease");
	expect(run_as(0, 0, 0, open_nonblock, &write_flag), EWOULDBLOCK, "opening to write, not waiting, beside a read lease");
	OK(fcntl(rd, F_SETLEASE, F_UNLCK));
	expect(run_as(0, 0, 0, open_nonblock, &write_flag), 0, "and once it is given up");
	rw = open("lease", O_RDWR);
	FAILS(fcntl(rw, F_SETLEASE, F_RDLCK), EAGAIN);
	FAILS(fcntl(rw, F_SETLEASE, F_WRLCK), EAGAIN); /* another descriptor is open */
	close(rd);
	OK(fcntl(rw, F_SETLEASE, F_WRLCK));
	expect(run_as(0, 0, 0, open_nonblock, &read_flag), EWOULDBLOCK, "opening to read beside a write lease");
	FAILS(fcntl(rw, F_SETLEASE, 99), EINVAL);
	OK(fcntl(rw, F_SETLEASE, F_UNLCK));
	close(rw);
}

/* --------------------------------------------------------------- positions */

enum { NAMES = 700 };

static bool next_named(DIR *d, const char *prefix, char *ret)
{
	struct dirent *e;

	while ((e = readdir(d)))
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
			snprintf(ret, 64, "%.63s", e->d_name);
			return true;
		}
	return false;
}

/* A position that was told stays good while other names come and go: what was behind it and stayed is found from it, once. */
static void positions_last(void)
{
	static char after[NAMES][64];
	char name[300], got[64];
	int n = 0, found = 0;
	bool seen[NAMES] = { false }, twice = false;
	long place;
	DIR *d;

	make_dir("places", 0755);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "places/stay-%03d", i);
		NEED(mknod(name, S_IFREG | 0644, 0));
		snprintf(name, sizeof(name), "places/go-%03d", i);
		NEED(mknod(name, S_IFREG | 0644, 0));
	}
	d = opendir("places");
	need(d != NULL, "opendir");
	for (int i = 0; i < NAMES / 2; i++)
		need(next_named(d, "stay-", got), "readdir");
	place = telldir(d);
	while (n < NAMES && next_named(d, "stay-", after[n]))
		n++;
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "places/go-%03d", i);
		NEED(unlink(name));
		snprintf(name, sizeof(name), "places/new-%03d", i);
		NEED(mknod(name, S_IFREG | 0644, 0));
	}
	seekdir(d, place);
	while (next_named(d, "stay-", got))
		for (int i = 0; i < n; i++)
			if (strcmp(got, after[i]) == 0) {
				twice = twice || seen[i];
				seen[i] = true;
				found++;
			}
	ok(n == NAMES - NAMES / 2 && found == n && !twice, "after %d names went and %d came, a position leads to what was behind it (%d of %d)", NAMES, NAMES, found, n);
	closedir(d);
}

void suite_positions(void)
{
	char name[64];
	struct stat st;
	DIR *a, *b;
	int left;

	positions_last();
	make_dir("two", 0755);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "two/n%d", i);
		NEED(mkdir(name, 0755));
	}
	st = stat_of("two");
	ok(st.st_nlink == 52, "a directory has a link for each subdirectory (%ju)", (uintmax_t)st.st_nlink);
	a = opendir("two");
	b = opendir("two");
	need(a && b, "opendir");
	for (left = 0; readdir(a); left++)
		if (left % 2)
			readdir(b);
	ok(left == 52, "two readers of one directory do not disturb each other");
	for (left = 26; readdir(b); left++)
		;
	ok(left == 52, "and each sees all");
	closedir(a);
	closedir(b);
	st = stat_of("two");
	ok(st.st_size >= 0 && st.st_blocks >= 0 && st.st_blksize >= 512, "size, blocks and block size of a directory are numbers");
}

/* -------------------------------------------------------------- attributes */

static int set_user_attribute(void *arg)
{
	return CODE(lsetxattr(arg, "user.x", "1", 1, 0));
}

void suite_namespaces(void)
{
	/* xattr(7), by type: in which namespaces it may have attributes. */
	static const struct { const char *path; int user, trusted, security, acl, dflt; } types[] = {
		{ "file", 0, 0, 0, 0, EACCES }, { "dir", 0, 0, 0, 0, 0 }, { "link", EPERM, 0, 0, EOPNOTSUPP, EOPNOTSUPP }, { "fifo", EPERM, 0, 0, 0, EACCES },
		{ "sock", EPERM, 0, 0, 0, EACCES }, { "null", EPERM, 0, 0, 0, EACCES },
	};
	static const uint8_t acl[] = { 2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255 };
	static char value[65537], got[65537];
	struct statfs sf;
	char b[8];
	int fd;

	make_file("file", "", 0644);
	make_dir("dir", 01777);
	NEED(symlink("file", "link"));
	NEED(mkfifo("fifo", 0666));
	NEED(mknod("sock", S_IFSOCK | 0666, 0));
	NEED(mknod("null", S_IFCHR | 0666, 1 << 8 | 3));
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		const char *p = types[i].path;

		expect(CODE(lsetxattr(p, "user.x", "1", 1, 0)), types[i].user, "a user attribute of a %s", p);
		expect(CODE(lsetxattr(p, "trusted.x", "1", 1, 0)), types[i].trusted, "a trusted attribute of a %s", p);
		expect(CODE(lsetxattr(p, "security.x", "1", 1, 0)), types[i].security, "a security attribute of a %s", p);
		expect(CODE(lsetxattr(p, "system.posix_acl_access", acl, sizeof(acl), 0)), types[i].acl, "an access ACL of a %s", p);
		expect(CODE(lsetxattr(p, "system.posix_acl_default", acl, sizeof(acl), 0)), types[i].dflt, "a default ACL of a %s", p);
		expect(CODE(lsetxattr(p, "system.x", "1", 1, 0)), EOPNOTSUPP, "another system attribute of a %s", p);
		expect(CODE(lgetxattr(p, "trusted.none", b, 8)), ENODATA, "an attribute that a %s has not", p);
		expect(CODE(lremovexattr(p, "trusted.none")), ENODATA, "removing an attribute that a %s has not", p);
		expect(CODE(lremovexattr(p, "trusted.x")), 0, "removing one that a %s has", p);
	}
	NEED(chmod("dir", 01777));
	expect(run_as(USER_B, GROUP_B, 0, set_user_attribute, (void *)(uintptr_t)"dir"), EPERM, "a user attribute of another's sticky directory");
	FAILS(setxattr("file", "", "1", 1, 0), ERANGE);
	FAILS(getxattr("file", "", b, 8), ERANGE);
	FAILS(getxattr("file", "trusted.", b, 8), EINVAL);
	FAILS(getxattr("missing", "user.x", b, 8), ENOENT);
	FAILS(listxattr("missing", b, 8), ENOENT);
	FAILS(removexattr("missing", "user.x"), ENOENT);
	fd = open("file", O_RDONLY);
	OK(fsetxattr(fd, "user.y", "22", 2, XATTR_CREATE));
	FAILS(fsetxattr(fd, "user.y", "22", 2, XATTR_CREATE), EEXIST);
	FAILS(fsetxattr(fd, "user.z", "22", 2, XATTR_REPLACE), ENODATA);
	ok(fgetxattr(fd, "user.y", b, 8) == 2 && flistxattr(fd, NULL, 0) > 0, "attributes through a descriptor");
	OK(fremovexattr(fd, "user.y"));
	close(fd);
	FAILS(setxattr("file", "user.big", value, 65537, 0), E2BIG);
	if (statfs(".", &sf) == 0 && sf.f_type == 0x65735546) { /* ext4 has one block for all of them */
		fill(value, 65536, 9);
		OK(setxattr("file", "user.big", value, 65536, 0));
		ok(getxattr("file", "user.big", got, sizeof(got)) == 65536 && memcmp(value, got, 65536) == 0, "the largest value there may be");
	}
}

/* ------------------------------------------------------------------- times */

static struct timespec mtime_of(const char *path)
{
	return stat_of(path).st_mtim;
}

static bool old(struct timespec t)
{
	return t.tv_sec == 1000;
}

/* Runs one change of a file (and of its directory) that had old times; what had to move, did, and nothing else. */
#define MOVES(file_moves, dir_moves, call)                                                                                                           \
	do {                                                                                                                                         \
		struct timespec o_[2] = { { 1000, 0 }, { 1000, 0 } };                                                                                \
		NEED(utimensat(AT_FDCWD, "t/f", o_, 0));                                                                                             \
		NEED(utimensat(AT_FDCWD, "t", o_, 0));                                                                                               \
		expect(CODE(call), 0, "%s", #call);                                                                                                  \
		ok(old(mtime_of("t/f")) == !(file_moves), "%s %s the file's mtime", #call, (file_moves) ? "moves" : "leaves");                       \
		ok(old(mtime_of("t")) == !(dir_moves), "%s %s the directory's mtime", #call, (dir_moves) ? "moves" : "leaves");                      \
	} while (0)

void suite_moments(void)
{
	struct iovec iov = { (char[]){ "v" }, 1 };
	int fd, src;
	char *p;

	make_dir("t", 0755);
	make_dir("u", 0755);
	make_file("t/f", "some content", 0644);
	make_file("src", "source", 0644);
	fd = open("t/f", O_RDWR);
	src = open("src", O_RDONLY);
	need(fd >= 0 && src >= 0, "open");
	MOVES(true, false, pwrite(fd, "x", 1, 0));
	MOVES(false, false, pwrite(fd, "x", 0, 0));
	MOVES(true, false, pwritev(fd, &iov, 1, 1));
	MOVES(true, false, ftruncate(fd, 12));
	MOVES(true, false, truncate("t/f", 12));
	MOVES(true, false, truncate("t/f", 5));
	MOVES(true, false, fallocate(fd, 0, 0, 5));
	MOVES(true, false, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 50));
	MOVES(true, false, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3));
	MOVES(true, false, fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 3));
	MOVES(true, false, copy_file_range(src, &(off_t){ 0 }, fd, &(off_t){ 0 }, 3, 0));
	MOVES(false, false, pread(fd, (char[4]){ 0 }, 4, 0));
	MOVES(false, false, fchmod(fd, 0600));
	MOVES(false, false, fchown(fd, 1, 1));
	MOVES(false, false, fsetxattr(fd, "user.a", "1", 1, 0));
	MOVES(false, false, fremovexattr(fd, "user.a"));
	MOVES(false, false, fsync(fd));
	MOVES(false, true, link("t/f", "t/g"));
	MOVES(false, true, unlink("t/g"));
	MOVES(false, true, symlink("x", "t/s"));
	MOVES(false, true, rename("t/s", "t/s2"));
	MOVES(false, true, rename("t/s2", "u/s2"));
	MOVES(false, true, mkfifo("t/p", 0644));
	MOVES(false, true, renameat2(AT_FDCWD, "t/p", AT_FDCWD, "u/s2", RENAME_EXCHANGE));
	MOVES(false, true, mkdir("t/d", 0755));
	MOVES(false, true, rename("u/s2", "t/s2"));
	MOVES(false, false, mkdir("t/d/e", 0755));
	MOVES(false, true, rename("t/d", "u/d"));
	MOVES(false, false, close(open("t/f", O_RDWR | O_CREAT, 0644)));
	MOVES(false, false, close(open("t", O_TMPFILE | O_RDWR, 0644)));
	MOVES(false, false, rename("t/f", "t/f"));
	MOVES(false, false, readlink("t/p", (char[4]){ 0 }, 4));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(p != MAP_FAILED, "mmap");
	MOVES(true, false, (*(volatile char *)p = 'm', msync(p, 4096, MS_SYNC)));
	munmap(p, 4096);
	close(fd);
	close(src);
}

/* --------------------------------------------------------------- RWF_ flags */

void suite_rwf(void)
{
	static const struct { int flag; const char *name; } flags[] = { { 0, "no flag" }, { RWF_DSYNC, "RWF_DSYNC" }, { RWF_SYNC, "RWF_SYNC" }, { RWF_HIPRI, "RWF_HIPRI" } };
	struct iovec w = { (char[]){ "0123456789" }, 10 }, r = { (char[16]){ 0 }, 16 };
	int fd = open("f", O_RDWR | O_CREAT, 0644), ap = open("f", O_RDWR | O_APPEND);

	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		ok(pwritev2(fd, &w, 1, (off_t)(i * 10), flags[i].flag) == 10, "pwritev2 with %s", flags[i].name);
		ok(preadv2(fd, &r, 1, (off_t)(i * 10), flags[i].flag & RWF_HIPRI) == 10 && memcmp(r.iov_base, "0123456789", 10) == 0, "and read back");
	}
	ok(pwritev2(fd, &w, 1, 0, RWF_APPEND) == 10 && stat_of("f").st_size == 50, "RWF_APPEND writes at the end");
	ok(preadv2(fd, &r, 1, 45, 0) == 5, "and no byte more");
	NEED(lseek(fd, 3, SEEK_SET));
	ok(preadv2(fd, &r, 1, -1, 0) == 16 && lseek(fd, 0, SEEK_CUR) == 19, "an offset of -1 is the descriptor's own");
	ok(pwrite(ap, "end", 3, 0) == 3 && stat_of("f").st_size == 53, "pwrite on O_APPEND appends, on Linux");
	ok(lseek(ap, 0, SEEK_CUR) == 0, "and leaves the offset");
	close(fd);
	close(ap);
}
