/* perm.c - owners from the first instant, permissions as several users, set-id bits, files without a name. */
#include "posix.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

/* ------------------------------------------------------------------- owner */

/* Makes one of each, and looks at once through the descriptor or the name. Returns a mask of what was wrong. */
static int make_all(void *arg)
{
	const char *dir = arg;
	struct stat st;
	int wrong = 0, fd;

	if (chdir(dir) < 0)
		return 120;
	umask(022);
	fd = open("f", O_CREAT | O_EXCL | O_RDWR, 0640);
	wrong |= fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() ? 1 : 0;
	close(fd);
	wrong |= mkdir("d", 0755) < 0 || lstat("d", &st) < 0 || st.st_uid != geteuid() ? 2 : 0;
	wrong |= symlink("x", "s") < 0 || lstat("s", &st) < 0 || st.st_uid != geteuid() ? 4 : 0;
	wrong |= mkfifo("p", 0644) < 0 || lstat("p", &st) < 0 || st.st_uid != geteuid() ? 8 : 0;
	/* A file that its owner alone may write: nobody else could have done what follows. */
	fd = open("only", O_CREAT | O_EXCL | O_WRONLY, 0200);
	wrong |= fd < 0 || write(fd, "x", 1) != 1 ? 16 : 0;
	close(fd);
	fd = open("only", O_WRONLY);
	wrong |= fd < 0 ? 32 : 0;
	close(fd);
	return wrong;
}

static void check_group(const char *dir, gid_t want, const char *what)
{
	static const char *const names[] = { "f", "d", "s", "p", "only" };
	char path[64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		ok(stat_of(path).st_gid == want, "%s: %s has group %u", what, names[i], (unsigned)want);
	}
}

static int make_shared_group(void *arg)
{
	int fd = open(arg, O_CREAT | O_EXCL | O_WRONLY, 02775);

	close(fd);
	return fd < 0;
}

void suite_owner(void)
{
	make_dir("plain", 0777);
	expect(run_as(USER_A, GROUP_A, 0, make_all, (void *)(uintptr_t)"plain"), 0, "everything a user makes is the user's at once");
	check_group("plain", GROUP_A, "in a plain directory");
	make_dir("setgid", 0777);
	NEED(chown("setgid", 0, GROUP_C));
	NEED(chmod("setgid", 02777));
	expect(run_as(USER_A, GROUP_A, 0, make_all, (void *)(uintptr_t)"setgid"), 0, "the same in a set-group-id directory");
	check_group("setgid", GROUP_C, "in a set-group-id directory");
	ok(stat_of("setgid/d").st_mode & S_ISGID, "a directory made there is set-group-id too");
	ok(!(stat_of("setgid/f").st_mode & S_ISGID), "a file is not");
	expect(run_as(USER_A, GROUP_A, 0, make_shared_group, (void *)(uintptr_t)"setgid/g"), 0, "a file with set-group-id asked for, by somebody outside the group");
	ok(!(stat_of("setgid/g").st_mode & S_ISGID), "does not get it");
	expect(run_as(USER_A, GROUP_A, GROUP_C, make_shared_group, (void *)(uintptr_t)"setgid/h"), 0, "the same by a member");
	ok(stat_of("setgid/h").st_mode & S_ISGID, "gets it");
	make_dir("mine", 0755);
	ok(stat_of("mine").st_uid == 0 && stat_of("mine").st_gid == 0, "what root makes is root's");
}

/* -------------------------------------------------------------- permission */

/* What a user with these rights on file and directory may do. `file` is tried as owner, in the group, and as another. */
static const struct {
	enum call c;
	mode_t needs_dir, needs_file; /* rwx bits (of one class) */
} rights[] = {
	{ C_OPEN_READ, 1, 4 }, { C_OPEN_WRITE, 1, 2 }, { C_TRUNCATE, 1, 2 }, { C_STAT, 1, 0 }, { C_LSTAT, 1, 0 }, { C_ACCESS_READ, 1, 4 },
	{ C_ACCESS_EXEC, 1, 1 }, { C_GETXATTR, 1, 4 }, { C_SETXATTR, 1, 2 }, { C_UNLINK, 3, 0 }, { C_RENAME_FROM, 3, 0 },
};

static void set_file(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	unlink(path);
	make_file(path, "content", 0600);
	need(lsetxattr(path, "user.t", "v", 1, 0) == 0, "lsetxattr");
	NEED(chown(path, uid, gid));
	NEED(chmod(path, mode));
}

static void file_rights(void)
{
	static const struct { const char *who; uid_t uid; gid_t gid, extra; unsigned shift; } classes[] = {
		{ "the owner", USER_A, GROUP_A, 0, 6 }, { "the group", USER_B, GROUP_A, 0, 3 }, { "a second group", USER_B, GROUP_B, GROUP_A, 3 },
		{ "another user", USER_B, GROUP_B, 0, 0 },
	};

	make_dir("scratch", 0777);
	for (size_t k = 0; k < ARRAY_LEN(classes); k++)
		for (size_t i = 0; i < ARRAY_LEN(rights); i++)
			for (mode_t bits = 0; bits < 8; bits++) {
				mode_t others = 0777 & ~(7u << classes[k].shift);
				int want = (bits & rights[i].needs_file) == rights[i].needs_file ? 0 : EACCES;
				int got;

				make_dir("dir", 0777);
				/* All the others may do everything: it must not help. */
				set_file("dir/f", USER_A, GROUP_A, others | bits << classes[k].shift);
				got = call_as(classes[k].uid, classes[k].gid, classes[k].extra, rights[i].c, "dir/f", "scratch/x");
				if (got != want || bits == 0 || bits == 7)
					expect(got, want, "%s by %s with rights %o", call_name(rights[i].c), classes[k].who, bits);
				unlink("scratch/x.moved");
				unlink("dir/f");
				NEED(rmdir("dir"));
			}
}

static void directory_rights(void)
{
	for (mode_t bits = 0; bits < 8; bits++)
		for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
			int want = (bits & rights[i].needs_dir) == rights[i].needs_dir ? 0 : EACCES;
			int got;

			make_dir("dir", 0777);
			set_file("dir/f", USER_A, GROUP_A, 0777);
			NEED(chown("dir", USER_A, GROUP_A));
			NEED(chmod("dir", bits << 6));
			got = call_as(USER_A, GROUP_A, 0, rights[i].c, "dir/f", "scratch/x");
			if (got != want || bits == 0 || bits == 3 || bits == 7)
				expect(got, want, "%s in a directory with rights %o", call_name(rights[i].c), bits);
			unlink("scratch/x.moved");
			unlink("dir/f");
			NEED(rmdir("dir"));
		}
	for (mode_t bits = 0; bits < 8; bits++) {
		make_dir("dir", 0777);
		make_file("dir/f", "", 0644);
		NEED(chown("dir", USER_A, GROUP_A));
		NEED(chmod("dir", bits << 6));
		expect(call_as(USER_A, GROUP_A, 0, C_OPEN_DIR, "dir", NULL), bits & 4 ? 0 : EACCES, "opendir with rights %o", bits);
		expect(call_as(USER_A, GROUP_A, 0, C_CREATE_EXCL, "dir/new", NULL), (bits & 3) == 3 ? 0 : EACCES, "creating with rights %o", bits);
		expect(call_as(USER_A, GROUP_A, 0, C_CHDIR, "dir", NULL), bits & 1 ? 0 : EACCES, "chdir with rights %o", bits);
		unlink("dir/new");
		unlink("dir/f");
		NEED(rmdir("dir"));
	}
}

static int chgrp_to(void *arg)
{
	return CODE(chown("owned", (uid_t)-1, *(gid_t *)arg));
}

static int give_away(void *arg)
{
	return CODE(chown("owned", *(uid_t *)arg, (gid_t)-1));
}

static void owner_only(void)
{
	gid_t b = GROUP_B, c = GROUP_C;
	uid_t other = USER_B, self = USER_A;

	set_file("owned", USER_A, GROUP_A, 0666);
	expect(call_as(USER_B, GROUP_B, 0, C_CHMOD, "owned", NULL), EPERM, "chmod by another user");
	expect(call_as(USER_A, GROUP_A, 0, C_CHMOD, "owned", NULL), 0, "chmod by the owner");
	expect(call_as(USER_B, GROUP_A, 0, C_CHMOD, "owned", NULL), EPERM, "chmod by the group");
	expect(run_as(USER_A, GROUP_A, GROUP_B, chgrp_to, &b), 0, "chgrp by the owner to a group of the owner's");
	expect(run_as(USER_A, GROUP_A, GROUP_B, chgrp_to, &c), EPERM, "chgrp by the owner to another group");
	expect(run_as(USER_B, GROUP_B, GROUP_A, chgrp_to, &b), EPERM, "chgrp by another user");
	expect(run_as(USER_A, GROUP_A, 0, give_away, &other), EPERM, "chown by the owner to another user");
	expect(run_as(USER_A, GROUP_A, 0, give_away, &self), 0, "chown by the owner to itself");
	set_file("owned", USER_A, GROUP_A, 0666);
	expect(call_as(USER_B, GROUP_B, 0, C_UTIMES, "owned", NULL), 0, "utimensat(now) by who may write");
	expect(call_as(USER_B, GROUP_B, 0, C_UTIMES_SET, "owned", NULL), EPERM, "utimensat(time) by who may write");
	expect(call_as(USER_A, GROUP_A, 0, C_UTIMES_SET, "owned", NULL), 0, "utimensat(time) by the owner");
	set_file("owned", USER_A, GROUP_A, 0444);
	expect(call_as(USER_B, GROUP_B, 0, C_UTIMES, "owned", NULL), EACCES, "utimensat(now) by who may not write");
	expect(call_as(USER_A, GROUP_A, 0, C_UTIMES, "owned", NULL), 0, "utimensat(now) by the owner of a read-only file");
}

static void sticky(void)
{
	static const struct { uid_t dir, file, who; int code; const char *what; } cases[] = {
		{ USER_A, USER_B, USER_B, 0, "one's own file" },
		{ USER_A, USER_B, USER_A, 0, "another's file in one's own directory" },
		{ 0, USER_A, USER_B, EPERM, "another's file in another's directory" },
		{ 0, USER_A, 0, 0, "any file as root" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (int dir = 0; dir < 2; dir++)
			for (int how = 0; how < 3; how++) {
				static const enum call calls[2][3] = { { C_UNLINK, C_RENAME_FROM, C_RENAME_TO }, { C_RMDIR, C_RENAME_FROM, C_RMDIR } };
				enum call c = calls[dir][how];

				make_dir("sticky", 01777);
				NEED(chown("sticky", cases[i].dir, GROUP_A));
				if (dir)
					make_dir("sticky/f", 0777);
				else
					make_file("sticky/f", "", 0666);
				NEED(chown("sticky/f", cases[i].file, GROUP_A));
				make_file("scratch/x", "", 0666);
				NEED(chown("scratch/x", cases[i].who, GROUP_A));
				expect(call_as(cases[i].who, GROUP_B, 0, c, "sticky/f", "scratch/x"), cases[i].code, "%s in a sticky directory: %s%s", call_name(c),
				       cases[i].what, dir ? " (a directory)" : "");
				unlink("scratch/x");
				unlink("scratch/x.moved");
				rmdir("scratch/x.moved");
				unlink("sticky/f");
				rmdir("sticky/f");
				NEED(rmdir("sticky"));
			}
}

void suite_permission(void)
{
	file_rights();
	directory_rights();
	owner_only();
	sticky();
	set_file("script", USER_A, GROUP_A, 0644);
	expect(call_as(USER_A, GROUP_A, 0, C_EXEC, "script", NULL), EACCES, "execve of a file without execute permission");
	expect(call_as(0, 0, 0, C_EXEC, "script", NULL), EACCES, "nor may root");
	expect(call_as(0, 0, 0, C_ACCESS_READ, "script", NULL), 0, "but root may read it");
	NEED(chmod("script", 0));
	expect(call_as(0, 0, 0, C_OPEN_WRITE, "script", NULL), 0, "root may write a file of mode 0");
	make_dir("closed", 0);
	expect(call_as(0, 0, 0, C_MKDIR, "closed/in", NULL), 0, "and make things in a directory of mode 0");
}

/* ------------------------------------------------------------------- setid */

enum change { CH_WRITE, CH_PWRITEV, CH_TRUNCATE, CH_FTRUNCATE, CH_O_TRUNC, CH_FALLOCATE, CH_DIRECT, CH_COPY, CH_CHOWN, CH_CHGRP, CH_LINK, CHANGES };
static const char *const change_names[CHANGES] = { "write", "pwritev", "truncate", "ftruncate", "open(O_TRUNC)", "fallocate", "an O_DIRECT write",
						   "copy_file_range", "chown to itself", "chgrp", "link" };

static int direct_write(const char *path)
{
	static char block[8192];
	char *aligned = block + (4096 - (uintptr_t)block % 4096) % 4096;
	int fd = open(path, O_WRONLY | O_DIRECT), rc;

	if (fd < 0)
		return errno;
	rc = CODE(pwrite(fd, aligned, 4096, 0));
	close(fd);
	return rc;
}

static int copy_onto(const char *path)
{
	int in = open("source", O_RDONLY), out = open(path, O_WRONLY), rc;

	rc = in < 0 || out < 0 ? errno : CODE(copy_file_range(in, NULL, out, NULL, 4, 0));
	close(in);
	close(out);
	return rc;
}

static int change_file(void *arg)
{
	enum change c = *(enum change *)arg;
	struct iovec iov = { (char[]){ "v" }, 1 };
	const char *path = "f";
	int fd, rc;

	switch (c) {
	case CH_TRUNCATE: return CODE(truncate(path, 3));
	case CH_O_TRUNC:
		fd = open(path, O_WRONLY | O_TRUNC);
		return fd < 0 ? errno : close(fd);
	case CH_CHOWN: return CODE(chown(path, geteuid(), (gid_t)-1));
	case CH_CHGRP: return CODE(chown(path, (uid_t)-1, getegid()));
	case CH_LINK: return CODE(link(path, "f2"));
	case CH_DIRECT: return direct_write(path);
	case CH_COPY: return copy_onto(path);
	default: break;
	}
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return errno;
	rc = c == CH_WRITE ? CODE(write(fd, "w", 1)) : c == CH_PWRITEV ? CODE(pwritev(fd, &iov, 1, 1)) :
	     c == CH_FTRUNCATE ? CODE(ftruncate(fd, 2)) : CODE(fallocate(fd, 0, 0, 9000));
	close(fd);
	return rc;
}

static void set_id_after(enum change c, uid_t uid, mode_t before, mode_t want)
{
	unlink("f");
	unlink("f2");
	make_file("f", "0123456789", 0600);
	NEED(chown("f", USER_A, GROUP_A));
	NEED(chmod("f", before));
	expect(run_as(uid, uid ? GROUP_A : 0, 0, change_file, &c), 0, "%s by %s", change_names[c], uid ? "the owner" : "root");
	if (!ok((stat_of("f").st_mode & 07777) == want, "%s by %s turns mode %04o into %04o", change_names[c], uid ? "the owner" : "root", before, want))
		printf("# mode %04o\n", stat_of("f").st_mode & 07777);
}

static int chmod_setgid(void *arg)
{
	return CODE(chmod(arg, 02755));
}

static int chown_nothing(void *arg)
{
	return CODE(chown(arg, (uid_t)-1, (gid_t)-1));
}

void suite_setid(void)
{
	make_file("source", "source", 0644);
	NEED(chmod(".", 0777));
	for (int i = 0; i < CHANGES; i++) {
		enum change c = (enum change)i;
		bool owner_change = c == CH_CHOWN || c == CH_CHGRP;

		/* chmod(2): set-group-id without group execute once meant mandatory locking, and stays. */
		set_id_after(c, USER_A, 06777, c == CH_LINK ? 06777 : 0777);
		set_id_after(c, USER_A, 04700, c == CH_LINK ? 04700 : 0700);
		if (!owner_change)
			set_id_after(c, 0, 06777, 06777);
		else
			set_id_after(c, 0, 06777, 0777);
	}
	/* By who may write the file, and does not own it. */
	for (int i = 0; i < CHANGES; i++) {
		enum change c = (enum change)i;

		if (c == CH_CHOWN || c == CH_CHGRP || c == CH_LINK)
			continue;
		unlink("f");
		make_file("f", "0123456789", 0600);
		NEED(chown("f", USER_A, GROUP_A));
		NEED(chmod("f", 06777));
		expect(run_as(USER_B, GROUP_B, 0, change_file, &c), 0, "%s by another user", change_names[c]);
		ok((stat_of("f").st_mode & 07777) == 0777, "clears the bits too");
	}
	/* A second write in the same open file after the bits were given back. */
	unlink("f");
	make_file("f", "x", 0600);
	NEED(chown("f", USER_A, GROUP_A));
	for (int i = 0; i < 3; i++) {
		enum change c = CH_WRITE;

		NEED(chmod("f", 06777));
		expect(run_as(USER_A, GROUP_A, 0, change_file, &c), 0, "write number %d", i);
		ok((stat_of("f").st_mode & 07777) == 0777, "and the bits are gone again");
	}
	NEED(chown("f", USER_A, GROUP_C));
	expect(run_as(USER_A, GROUP_A, 0, chmod_setgid, (void *)(uintptr_t)"f"), 0, "chmod g+s by an owner outside the group");
	ok(!(stat_of("f").st_mode & S_ISGID), "does not set it");
	expect(run_as(USER_A, GROUP_A, GROUP_C, chmod_setgid, (void *)(uintptr_t)"f"), 0, "the same by an owner in the group");
	ok(stat_of("f").st_mode & S_ISGID, "does");
	NEED(chmod("f", 06755));
	(void)run_as(USER_B, GROUP_B, 0, chown_nothing, (void *)(uintptr_t)"f"); /* EPERM on ext4; over FUSE it succeeds, and does nothing */
	ok((stat_of("f").st_mode & 07777) == 06755, "chown to nobody by another user takes no bits away");
	make_dir("d", 06755);
	NEED(chown("d", USER_A, GROUP_A));
	ok((stat_of("d").st_mode & 07777) == 06755, "chown of a directory keeps its bits");
}

/* ----------------------------------------------------------------- orphans */

static void unlinked_open(void)
{
	char big[70000], got[70000];
	struct stat st;
	int fd, again;

	make_file("f", "first", 0644);
	fd = open("f", O_RDWR);
	need(fd >= 0, "open");
	OK(unlink("f"));
	NEED(fstat(fd, &st));
	ok(st.st_nlink == 0 && st.st_size == 5, "an unlinked open file has no link and all its bytes");
	make_file("f", "second", 0644);
	ok(pread(fd, got, 5, 0) == 5 && memcmp(got, "first", 5) == 0, "it is read though the name is another's now");
	fill(big, sizeof(big), 1);
	ok(pwrite(fd, big, sizeof(big), 1000000) == (ssize_t)sizeof(big), "it can be written");
	OK(fsync(fd));
	ok(pread(fd, got, sizeof(got), 1000000) == (ssize_t)sizeof(got) && filled(got, sizeof(got), 1), "and read back");
	OK(ftruncate(fd, 3));
	OK(fchmod(fd, 0600));
	OK(fchown(fd, 1, 1));
	NEED(fstat(fd, &st));
	ok(st.st_size == 3 && (st.st_mode & 0777) == 0600 && st.st_uid == 1 && st.st_nlink == 0, "truncated, its mode and owner changed");
	snprintf(got, 64, "/proc/self/fd/%d", fd);
	again = open(got, O_RDWR);
	ok(again >= 0, "it can be opened again through /proc");
	close(fd);
	ok(pread(again, got, 3, 0) == 3 && memcmp(got, "fir", 3) == 0, "and lives on with the second descriptor");
	FAILS(linkat(AT_FDCWD, "/proc/self/fd/9999", AT_FDCWD, "x", AT_SYMLINK_FOLLOW), ENOENT);
	close(again);
	ok(content_is("f", "second"), "the new file is untouched");
}

static void renamed_over(void)
{
	char got[4];
	int fd;

	make_file("old", "old", 0644);
	make_file("new", "new", 0644);
	fd = open("old", O_RDWR);
	need(fd >= 0, "open");
	OK(rename("new", "old"));
	sync();
	ok(read(fd, got, 3) == 3 && memcmp(got, "old", 3) == 0, "a file that was renamed over is read on");
	ok(pwrite(fd, "OLD", 3, 0) == 3, "and written");
	ok(content_is("old", "new"), "without touching the new one");
	close(fd);
}

static void tmpfiles(void)
{
	char path[64], got[8];
	struct stat st;
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);

	if (fd < 0 && errno == EOPNOTSUPP) {
		skip("O_TMPFILE", "this file system has none");
		return;
	}
	if (!ok(fd >= 0, "open(O_TMPFILE)"))
		return;
	NEED(fstat(fd, &st));
	ok(st.st_nlink == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640, "has no name and the mode asked for");
	ok(write(fd, "hello", 5) == 5, "can be written");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	ok(content_is("named", "hello"), "and be given a name");
	NEED(fstat(fd, &st));
	ok(st.st_nlink == 1, "which is its one link");
	OK(unlink("named"));
	ok(pread(fd, got, 5, 0) == 5 && memcmp(got, "hello", 5) == 0, "without it, it is as before");
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	need(fd >= 0, "open(O_TMPFILE|O_EXCL)");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
	FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	FAILS(open("f", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
	umask(027);
	fd = open(".", O_TMPFILE | O_RDWR, 0666);
	umask(0);
	NEED(fstat(fd, &st));
	ok((st.st_mode & 0777) == 0640, "the umask applies");
	close(fd);
}

static void lost_directory(void)
{
	struct stat st;
	int fd;

	make_dir("gone", 0755);
	fd = open("gone", O_RDONLY | O_DIRECTORY);
	need(fd >= 0, "open");
	NEED(chdir("gone"));
	OK(rmdir("../gone"));
	ok(stat(".", &st) == 0 && st.st_nlink == 0, "the working directory can be removed and still be looked at");
	FAILS(open("new", O_CREAT | O_WRONLY, 0644), ENOENT);
	FAILS(mkdir("new", 0755), ENOENT);
	ok(openat(fd, "x", O_RDONLY) < 0 && errno == ENOENT, "nothing is in it");
	ok(fstat(fd, &st) == 0 && st.st_nlink == 0, "a descriptor of it can be asked too");
	OK(fchmod(fd, 0700));
	OK(fsync(fd));
	ok(getcwd((char[64]){ 0 }, 64) == NULL && errno == ENOENT, "getcwd finds no path");
	ok(chdir("..") == 0 || errno == ENOENT, "\"..\" leads out or nowhere");
	close(fd);
}

void suite_orphans(void)
{
	char top[4096], got[8];
	struct stat st;
	int fd;

	need(getcwd(top, sizeof(top)) != NULL, "getcwd");
	unlinked_open();
	renamed_over();
	tmpfiles();
	lost_directory();
	NEED(chdir(top));
	make_file("path", "path", 0644);
	fd = open("path", O_PATH);
	need(fd >= 0, "open(O_PATH)");
	OK(unlink("path"));
	ok(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 4, "a file held by O_PATH alone lives on");
	snprintf(top, 64, "/proc/self/fd/%d", fd);
	close(fd + 1000);
	{
		int real = open(top, O_RDONLY);

		ok(real >= 0 && read(real, got, 4) == 4 && memcmp(got, "path", 4) == 0, "and can be opened");
		close(real);
	}
	close(fd);
	for (int i = 0; i < 300; i++) {
		snprintf(top, sizeof(top), "many%d", i);
		make_file(top, top, 0644);
		fd = open(top, O_RDONLY);
		need(fd >= 0, "open");
		NEED(unlink(top));
		if (pread(fd, got, 4, 0) != 4 || memcmp(got, "many", 4) != 0)
			ok(false, "unlinked file %d", i);
		close(fd);
	}
	ok(!exists("many0") && !exists("many299"), "300 files opened, unlinked, read, closed");
}
