/* attrs.c - times, extended attributes, POSIX ACLs as raw bytes (acl(5), linux/posix_acl_xattr.h). */
#include "posix.h"

#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

/* ------------------------------------------------------------------- times */

static bool same(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static void set_times(void)
{
	static const struct timespec values[] = {
		{ 0, 0 }, { 1, 1 }, { 1234567890, 123456789 }, { 2147483647, 999999999 }, { 2147483648, 5 }, { 4294967296, 7 }, { -1, 500000000 }, { -2147483648, 0 },
	};
	struct timespec t[2];
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		t[0] = values[i];
		t[1] = values[ARRAY_LEN(values) - 1 - i];
		OK(utimensat(AT_FDCWD, "f", t, 0));
		st = stat_of("f");
		ok(same(st.st_atim, t[0]) && same(st.st_mtim, t[1]), "times of %lld.%09ld and %lld.%09ld are kept to the nanosecond", (long long)t[0].tv_sec,
		   t[0].tv_nsec, (long long)t[1].tv_sec, t[1].tv_nsec);
	}
	t[0] = (struct timespec){ 1000, 1 };
	t[1] = (struct timespec){ 2000, 2 };
	NEED(utimensat(AT_FDCWD, "f", t, 0));
	t[0].tv_nsec = UTIME_OMIT;
	t[1] = (struct timespec){ 3000, 3 };
	OK(utimensat(AT_FDCWD, "f", t, 0));
	st = stat_of("f");
	ok(st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 3000, "UTIME_OMIT leaves atime");
	t[0].tv_nsec = UTIME_NOW;
	t[1].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "f", t, 0));
	st = stat_of("f");
	ok(st.st_mtim.tv_sec == 3000 && labs(st.st_atim.tv_sec - time(NULL)) < 10, "UTIME_NOW is now");
	OK(utimensat(AT_FDCWD, "f", NULL, 0));
	ok(labs(stat_of("f").st_mtim.tv_sec - time(NULL)) < 10, "NULL is now for both");
	t[0] = t[1] = (struct timespec){ 5, 1000000000 };
	FAILS(utimensat(AT_FDCWD, "f", t, 0), EINVAL);
	NEED(symlink("f", "l"));
	t[0] = t[1] = (struct timespec){ 77, 77 };
	OK(utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW));
	ok(stat_of("l").st_mtim.tv_sec == 77 && stat_of("f").st_mtim.tv_sec != 77, "a symlink has times of its own");
}

/* Which times an operation moves, on the file and on its directory. */
enum { F_M = 1, F_C = 2, D_M = 4, D_C = 8 };
enum op { OP_WRITE, OP_READ, OP_CHMOD, OP_CHOWN, OP_LINK, OP_UNLINK2, OP_RENAME, OP_TRUNC, OP_FTRUNC_SAME, OP_TRUNC_OPEN, OP_SETXATTR, OP_RMXATTR, OP_CREATE,
	  OP_MKDIR, OP_RMDIR, OP_STAT, OP_FALLOC, OP_READDIR, OP_UTIME, OPS };
static const struct { const char *name; int moves; } op_table[OPS] = {
	[OP_WRITE] = { "write", F_M | F_C }, [OP_READ] = { "read", 0 }, [OP_CHMOD] = { "chmod", F_C }, [OP_CHOWN] = { "chown", F_C },
	[OP_LINK] = { "link", F_C | D_M | D_C }, [OP_UNLINK2] = { "unlink of a second name", F_C | D_M | D_C }, [OP_RENAME] = { "rename", F_C | D_M | D_C },
	[OP_TRUNC] = { "truncate", F_M | F_C }, [OP_FTRUNC_SAME] = { "ftruncate to the same size", F_M | F_C },
	[OP_TRUNC_OPEN] = { "open(O_TRUNC)", F_M | F_C }, [OP_SETXATTR] = { "setxattr", F_C }, [OP_RMXATTR] = { "removexattr", F_C },
	[OP_CREATE] = { "creating a file", D_M | D_C }, [OP_MKDIR] = { "mkdir", D_M | D_C }, [OP_RMDIR] = { "rmdir", D_M | D_C }, [OP_STAT] = { "stat", 0 },
	[OP_FALLOC] = { "fallocate beyond the end", F_M | F_C }, [OP_READDIR] = { "readdir", 0 }, [OP_UTIME] = { "utimensat of atime", F_C },
};

static int with_fd(enum op o)
{
	struct timespec t[2] = { { 1, 1 }, { 0, UTIME_OMIT } };
	int fd = open("d/f", O_RDWR), rc;
	char b;

	switch (o) {
	case OP_WRITE: rc = write(fd, "w", 1) == 1 ? 0 : -1; break;
	case OP_READ: rc = read(fd, &b, 1) == 1 ? 0 : -1; break;
	case OP_FTRUNC_SAME: rc = ftruncate(fd, lseek(fd, 0, SEEK_END)); break;
	case OP_FALLOC: rc = fallocate(fd, 0, 0, lseek(fd, 0, SEEK_END) + 10); break;
	default: rc = futimens(fd, t); break;
	}
	close(fd);
	return rc;
}

static int do_op(enum op o)
{
	struct stat st;

	switch (o) {
	case OP_CHMOD: return chmod("d/f", 0640);
	case OP_CHOWN: return chown("d/f", 3, 3);
	case OP_LINK: return link("d/f", "d/second");
	case OP_UNLINK2: return unlink("d/second");
	case OP_RENAME: return rename("d/f", "d/g") || rename("d/g", "d/f");
	case OP_TRUNC: return truncate("d/f", 2);
	case OP_TRUNC_OPEN: return close(open("d/f", O_WRONLY | O_TRUNC));
	case OP_SETXATTR: return setxattr("d/f", "user.t", "1", 1, 0);
	case OP_RMXATTR: return removexattr("d/f", "user.t");
	case OP_CREATE: return close(open("d/new", O_CREAT | O_EXCL | O_WRONLY, 0644));
	case OP_MKDIR: return mkdir("d/sub", 0755);
	case OP_RMDIR: return rmdir("d/sub");
	case OP_STAT: return lstat("d/f", &st);
	case OP_READDIR: return make_call(C_OPEN_DIR, "d", NULL);
	default: return with_fd(o);
	}
}

static void moved_times(void)
{
	make_dir("d", 0755);
	make_file("d/f", "content", 0644);
	for (int i = 0; i < OPS; i++) {
		struct stat f = stat_of("d/f"), d = stat_of("d"), f2, d2;
		int moved;

		usleep(12000); /* more than a clock tick */
		expect(CODE(do_op((enum op)i)), 0, "%s", op_table[i].name);
		f2 = stat_of("d/f");
		d2 = stat_of("d");
		moved = (later(f2.st_mtim, f.st_mtim) ? F_M : 0) | (later(f2.st_ctim, f.st_ctim) ? F_C : 0) | (later(d2.st_mtim, d.st_mtim) ? D_M : 0) |
			(later(d2.st_ctim, d.st_ctim) ? D_C : 0);
		if (!ok((i == OP_RENAME ? moved | F_C : moved) == op_table[i].moves, "%s moves the times it must, and no others", op_table[i].name))
			printf("# moved%s%s%s%s\n", moved & F_M ? " mtime" : "", moved & F_C ? " ctime" : "", moved & D_M ? " directory's mtime" : "",
			       moved & D_C ? " directory's ctime" : "");
	}
}

void suite_times(void)
{
	make_file("f", "", 0644);
	ok(labs(stat_of("f").st_mtim.tv_sec - time(NULL)) < 10, "a new file is of now");
	set_times();
	moved_times();
}

/* ------------------------------------------------------------------- xattr */

static int user_setxattr(void *arg)
{
	return CODE(setxattr(arg, "trusted.t", "1", 1, 0));
}

static void values(const char *path)
{
	static const size_t sizes[] = { 0, 1, 100, 1000, 2000 };
	char v[2048], got[2048];

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		fill(v, sizes[i], i);
		OK(setxattr(path, "user.size", v, sizes[i], 0));
		ok(getxattr(path, "user.size", NULL, 0) == (ssize_t)sizes[i], "a value of %zu bytes has its size", sizes[i]);
		ok(getxattr(path, "user.size", got, sizeof(got)) == (ssize_t)sizes[i] && memcmp(v, got, sizes[i]) == 0, "and its bytes");
		if (sizes[i] > 1)
			FAILS(getxattr(path, "user.size", got, sizes[i] - 1), ERANGE);
	}
	OK(removexattr(path, "user.size"));
	FAILS(getxattr(path, "user.size", got, sizeof(got)), ENODATA);
	FAILS(removexattr(path, "user.size"), ENODATA);
}

void suite_xattr(void)
{
	static char big[65537];
	char name[300], list[4096];
	ssize_t n;
	int found = 0;

	make_file("f", "", 0644);
	make_dir("d", 0755);
	NEED(symlink("f", "l"));
	values("f");
	values("d");
	OK(setxattr("f", "user.a", "1", 1, XATTR_CREATE));
	FAILS(setxattr("f", "user.a", "2", 1, XATTR_CREATE), EEXIST);
	OK(setxattr("f", "user.a", "33", 2, XATTR_REPLACE));
	FAILS(setxattr("f", "user.b", "2", 1, XATTR_REPLACE), ENODATA);
	FAILS(setxattr("f", "user.b", "2", 1, 99), EINVAL);
	FAILS(setxattr("f", "user.", "2", 1, 0), EINVAL);
	FAILS(setxattr("f", "bogus.x", "2", 1, 0), EOPNOTSUPP);
	FAILS(setxattr("f", "plain", "2", 1, 0), EOPNOTSUPP);
	FAILS(setxattr("f", "user.big", big, sizeof(big), 0), E2BIG);
	FAILS(lsetxattr("l", "user.x", "2", 1, 0), EPERM);
	OK(lsetxattr("l", "trusted.x", "2", 1, 0));
	ok(getxattr("f", "trusted.x", list, 1) < 0 && errno == ENODATA, "which is the symlink's own");
	OK(setxattr("f", "trusted.t", "t", 1, 0));
	OK(setxattr("f", "security.t", "s", 1, 0));
	memset(name, 'x', sizeof(name));
	memcpy(name, "user.", 5);
	name[255] = '\0';
	OK(setxattr("f", name, "long", 4, 0));
	ok(getxattr("f", name, list, sizeof(list)) == 4, "a name of 255 bytes");
	name[255] = 'x';
	name[256] = '\0';
	FAILS(setxattr("f", name, "long", 4, 0), ERANGE);
	n = listxattr("f", list, sizeof(list));
	for (char *p = list; n > 0 && p < list + n; p += strlen(p) + 1)
		found += strcmp(p, "user.a") == 0 || strcmp(p, "trusted.t") == 0 || strcmp(p, "security.t") == 0;
	ok(found == 3, "listxattr names them all");
	ok(listxattr("f", NULL, 0) == n, "and says how much room that takes");
	FAILS(listxattr("f", list, 5), ERANGE);
	expect(run_as(USER_A, GROUP_A, 0, user_setxattr, (void *)(uintptr_t)"f"), EPERM, "trusted attributes by a user");
	expect(call_as(USER_A, GROUP_A, 0, C_SETXATTR, "f", NULL), EACCES, "user attributes of a file one may not write");
	OK(link("f", "f2"));
	ok(getxattr("f2", "user.a", list, sizeof(list)) == 2, "attributes belong to the inode");
	OK(rename("f", "g"));
	ok(getxattr("g", "user.a", list, sizeof(list)) == 2 && list[0] == '3', "and stay with it");
}

/* --------------------------------------------------------------------- acl */

enum { U_OBJ = 1, U = 2, G_OBJ = 4, G = 8, MASK = 16, OTHER = 32 };
struct entry { uint16_t tag, perm; uint32_t id; };
#define NONE UINT32_MAX

/* Version 2, then tag, permission and ID of each entry, little-endian. */
static size_t acl_bytes(const struct entry *e, size_t n, uint8_t *out)
{
	uint8_t *p = out;

	*p++ = 2;
	*p++ = 0;
	*p++ = 0;
	*p++ = 0;
	for (size_t i = 0; i < n; i++) {
		*p++ = (uint8_t)e[i].tag;
		*p++ = 0;
		*p++ = (uint8_t)e[i].perm;
		*p++ = 0;
		for (int b = 0; b < 4; b++)
			*p++ = (uint8_t)(e[i].id >> 8 * b);
	}
	return (size_t)(p - out);
}

static int set_acl(const char *path, const char *which, const struct entry *e, size_t n)
{
	uint8_t b[512];
	size_t len = acl_bytes(e, n, b);

	return setxattr(path, which, b, len, 0);
}

static bool acl_is(const char *path, const char *which, const struct entry *e, size_t n)
{
	uint8_t want[512], got[512];
	size_t len = acl_bytes(e, n, want);

	return getxattr(path, which, got, sizeof(got)) == (ssize_t)len && memcmp(want, got, len) == 0;
}

static void access_acl(void)
{
	struct entry e[] = { { U_OBJ, 6, NONE }, { U, 4, USER_B }, { G_OBJ, 0, NONE }, { MASK, 4, NONE }, { OTHER, 0, NONE } };
	struct entry plain[] = { { U_OBJ, 7, NONE }, { G_OBJ, 5, NONE }, { OTHER, 1, NONE } };

	make_file("f", "secret", 0600);
	NEED(chown("f", USER_A, GROUP_A));
	expect(call_as(USER_B, GROUP_B, 0, C_OPEN_READ, "f", NULL), EACCES, "before the ACL, reading");
	OK(set_acl("f", ACCESS, e, ARRAY_LEN(e)));
	ok(acl_is("f", ACCESS, e, ARRAY_LEN(e)), "the ACL reads back");
	ok((stat_of("f").st_mode & 0777) == 0640, "the mode's group bits are the mask");
	expect(call_as(USER_B, GROUP_B, 0, C_OPEN_READ, "f", NULL), 0, "reading by the named user");
	expect(call_as(USER_B, GROUP_B, 0, C_OPEN_WRITE, "f", NULL), EACCES, "writing by the named user");
	expect(call_as(USER_B + 1, GROUP_A, 0, C_OPEN_READ, "f", NULL), EACCES, "reading by the group");
	OK(chmod("f", 0600));
	e[3].perm = 0;
	ok(acl_is("f", ACCESS, e, ARRAY_LEN(e)), "chmod sets the mask");
	expect(call_as(USER_B, GROUP_B, 0, C_OPEN_READ, "f", NULL), EACCES, "which takes the named user's right away");
	OK(chmod("f", 0667));
	e[3].perm = 6;
	e[4].perm = 7;
	ok(acl_is("f", ACCESS, e, ARRAY_LEN(e)), "chmod sets mask and others");
	expect(call_as(USER_B, GROUP_B, 0, C_OPEN_READ, "f", NULL), 0, "and with the mask the right comes back");
	OK(set_acl("f", ACCESS, plain, ARRAY_LEN(plain)));
	ok((stat_of("f").st_mode & 0777) == 0751, "a minimal ACL is the mode");
	FAILS(getxattr("f", ACCESS, NULL, 0), ENODATA);
	OK(set_acl("f", ACCESS, e, ARRAY_LEN(e)));
	OK(removexattr("f", ACCESS));
	FAILS(getxattr("f", ACCESS, NULL, 0), ENODATA);
	e[0].tag = 3;
	FAILS(set_acl("f", ACCESS, e, ARRAY_LEN(e)), EINVAL);
	FAILS(set_acl("f", ACCESS, plain, 2), EINVAL);
	FAILS(setxattr("f", ACCESS, "\1\0\0\0", 4, 0), EOPNOTSUPP);
	FAILS(set_acl("f", DEFAULT, plain, ARRAY_LEN(plain)), EACCES);
}

static int user_sets_acl(void *arg)
{
	struct entry e[] = { { U_OBJ, 7, NONE }, { G_OBJ, 5, NONE }, { OTHER, 0, NONE } };

	return CODE(set_acl(arg, ACCESS, e, ARRAY_LEN(e)));
}

static void inheritance(void)
{
	struct entry d[] = { { U_OBJ, 7, NONE }, { U, 7, USER_B }, { G_OBJ, 5, NONE }, { MASK, 7, NONE }, { OTHER, 0, NONE } };
	struct entry file[] = { { U_OBJ, 6, NONE }, { U, 7, USER_B }, { G_OBJ, 5, NONE }, { MASK, 4, NONE }, { OTHER, 0, NONE } };

	make_dir("d", 0755);
	OK(set_acl("d", DEFAULT, d, ARRAY_LEN(d)));
	ok((stat_of("d").st_mode & 0777) == 0755, "a default ACL leaves the directory's mode");
	FAILS(getxattr("d", ACCESS, NULL, 0), ENODATA);
	umask(077);
	NEED(close(open("d/f", O_CREAT | O_EXCL | O_WRONLY, 0644)));
	ok(acl_is("d/f", ACCESS, file, ARRAY_LEN(file)), "a file inherits it, masked by the mode asked for, not by the umask");
	ok((stat_of("d/f").st_mode & 0777) == 0640, "and its mode says so");
	NEED(mkdir("d/sub", 0777));
	ok(acl_is("d/sub", ACCESS, d, ARRAY_LEN(d)) && acl_is("d/sub", DEFAULT, d, ARRAY_LEN(d)), "a directory inherits it as both");
	ok((stat_of("d/sub").st_mode & 0777) == 0770, "and its mode says so");
	NEED(mkfifo("d/p", 0666));
	ok((stat_of("d/p").st_mode & 0777) == 0660, "a fifo too");
	NEED(symlink("x", "d/l"));
	ok((stat_of("d/l").st_mode & 0777) == 0777, "a symlink does not");
	umask(0);
	NEED(chown("d/f", USER_A, GROUP_A));
	expect(call_as(USER_B, GROUP_B, 0, C_OPEN_READ, "d/f", NULL), 0, "the named user may read what was inherited");
	OK(removexattr("d", DEFAULT));
	NEED(close(open("d/g", O_CREAT | O_EXCL | O_WRONLY, 0644)));
	FAILS(getxattr("d/g", ACCESS, NULL, 0), ENODATA);
	OK(set_acl("d", ACCESS, d, ARRAY_LEN(d)));
	NEED(chown("d", USER_A, GROUP_A));
	expect(call_as(USER_B, GROUP_B, 0, C_CREATE_EXCL, "d/h", NULL), 0, "creating in a directory by its ACL alone");
}

void suite_acl(void)
{
	struct entry e[] = { { U_OBJ, 7, NONE }, { G_OBJ, 5, NONE }, { OTHER, 5, NONE } };

	make_file("probe", "", 0644);
	if (set_acl("probe", ACCESS, e, ARRAY_LEN(e)) < 0 && errno == EOPNOTSUPP) {
		skip("ACLs", "this file system is mounted without them");
		return;
	}
	access_acl();
	inheritance();
	NEED(chown("probe", USER_A, GROUP_C));
	NEED(chmod("probe", 02755));
	expect(run_as(USER_B, GROUP_B, 0, user_sets_acl, (void *)(uintptr_t)"probe"), EPERM, "setting an ACL by another user");
	expect(run_as(USER_A, GROUP_A, GROUP_C, user_sets_acl, (void *)(uintptr_t)"probe"), 0, "setting an ACL by the owner, a member of the group");
	ok((stat_of("probe").st_mode & 07777) == 02750, "keeps set-group-id");
	expect(run_as(USER_A, GROUP_A, 0, user_sets_acl, (void *)(uintptr_t)"probe"), 0, "by an owner outside the group");
	ok((stat_of("probe").st_mode & 07777) == 0750, "clears it");
}
