/* names.c - errors of every call that takes a path; creation, names, symlinks, rename, links. */
#include "posix.h"

#include <dirent.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* Calls that act on the last component itself when it is a symlink, or make it: a loop there is no ELOOP for them. */
static bool follows(enum call c)
{
	switch (c) {
	case C_RMDIR: case C_UNLINK: case C_MKDIR: case C_MKFIFO: case C_SYMLINK_AT: case C_LINK_FROM: case C_LINK_TO: case C_RENAME_FROM:
	case C_RENAME_TO: case C_LCHOWN: case C_LSTAT: case C_READLINK: case C_CREATE_EXCL:
		return false;
	default:
		return true;
	}
}

static bool makes(enum call c)
{
	return c == C_CREATE || c == C_CREATE_EXCL || c == C_MKDIR || c == C_MKFIFO || c == C_SYMLINK_AT || c == C_LINK_TO || c == C_RENAME_TO;
}

void suite_errors(void)
{
	char name256[257], long_path[PATH_MAX + 64];

	memset(name256, 'n', 256);
	name256[256] = '\0';
	for (size_t i = 0; i < sizeof(long_path) - 1; i += 2)
		memcpy(long_path + i, "./", 2);
	long_path[sizeof(long_path) - 1] = '\0';
	make_file("file", "x", 0755);
	make_file("aux", "y", 0644);
	NEED(symlink("loop2", "loop1"));
	NEED(symlink("loop1", "loop2"));
	for (int i = 0; i < CALLS; i++) {
		enum call c = (enum call)i;
		const char *n = call_name(c);

		expect(make_call(c, "missing/below", "aux"), ENOENT, "%s below a missing directory", n);
		expect(make_call(c, "file/below", "aux"), ENOTDIR, "%s below a file", n);
		expect(make_call(c, "loop1/below", "aux"), ELOOP, "%s below a symlink loop", n);
		expect(make_call(c, name256, "aux"), ENAMETOOLONG, "%s of a name of 256 bytes", n);
		expect(make_call(c, long_path, "aux"), ENAMETOOLONG, "%s of a path longer than PATH_MAX", n);
		expect(make_call(c, "", "aux"), ENOENT, "%s of the empty path", n);
		if (!makes(c))
			expect(make_call(c, "missing", "aux"), ENOENT, "%s of a missing file", n);
		if (follows(c))
			expect(make_call(c, "loop1", "aux"), ELOOP, "%s of a symlink loop", n);
	}
}

static void type_errors(void)
{
	make_dir("dir", 0755);
	make_dir("full", 0755);
	make_file("full/f", "", 0644);
	make_file("file", "", 0644);
	NEED(symlink("file", "link"));
	FAILS(mkdir("dir", 0755), EEXIST);
	FAILS(mkdir("file", 0755), EEXIST);
	FAILS(mkdir("link", 0755), EEXIST);
	FAILS(mkfifo("file", 0644), EEXIST);
	FAILS(symlink("x", "file"), EEXIST);
	FAILS(symlink("x", "dir"), EEXIST);
	FAILS(link("file", "dir"), EEXIST);
	FAILS(link("file", "file"), EEXIST);
	FAILS(link("dir", "dirlink"), EPERM);
	FAILS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("link", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("dir", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
	FAILS(open("dir", O_WRONLY), EISDIR);
	FAILS(open("dir", O_RDWR), EISDIR);
	FAILS(open("dir", O_CREAT | O_WRONLY, 0644), EISDIR);
	FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("file/", O_RDONLY), ENOTDIR);
	FAILS(open("new/", O_CREAT | O_WRONLY, 0644), EISDIR);
	FAILS(unlink("dir"), EISDIR);
	FAILS(rmdir("file"), ENOTDIR);
	FAILS(rmdir("link"), ENOTDIR);
	FAILS(rmdir("full"), ENOTEMPTY);
	FAILS(rmdir("dir/."), EINVAL);
	FAILS(rmdir("full/.."), ENOTEMPTY);
	FAILS(truncate("dir", 0), EISDIR);
	FAILS(truncate("file", -1), EINVAL);
	FAILS(readlink("file", (char[8]){ 0 }, 8), EINVAL);
	FAILS(readlink("dir", (char[8]){ 0 }, 8), EINVAL);
	FAILS(chdir("file"), ENOTDIR);
	OK(unlink("link"));
	ok(exists("file"), "unlink of a symlink leaves its target");
	OK(rmdir("dir"));
	ok(!exists("dir"), "rmdir removes the directory");
}

static void modes(void)
{
	static const mode_t umasks[] = { 0, 022, 027, 077, 0777 }, asked[] = { 0, 0400, 0644, 0666, 0755, 0777, 01777, 02755, 04755, 07777 };

	for (size_t u = 0; u < ARRAY_LEN(umasks); u++)
		for (size_t a = 0; a < ARRAY_LEN(asked); a++) {
			mode_t want = asked[a] & ~umasks[u];
			int fd;

			umask(umasks[u]);
			fd = open("m", O_CREAT | O_EXCL | O_RDWR, asked[a]);
			need(fd >= 0, "open");
			ok((stat_of("m").st_mode & 07777) == want, "open(O_CREAT, %04o) under umask %03o has mode %04o", asked[a], umasks[u], want);
			close(fd);
			NEED(unlink("m"));
			NEED(mkdir("m", asked[a]));
			ok((stat_of("m").st_mode & 06777) == (want & 0777), "mkdir(%04o) under umask %03o has mode %04o", asked[a], umasks[u], want & 0777);
			NEED(rmdir("m"));
			NEED(mknod("m", S_IFIFO | asked[a], 0));
			ok((stat_of("m").st_mode & 07777) == want, "mknod(S_IFIFO|%04o) under umask %03o has mode %04o", asked[a], umasks[u], want);
			NEED(unlink("m"));
		}
	umask(0);
}

static void nodes(void)
{
	const struct { const char *name; mode_t type; dev_t dev; } kinds[] = {
		{ "fifo", S_IFIFO, 0 }, { "socket", S_IFSOCK, 0 }, { "char", S_IFCHR, makedev(1, 3) }, { "block", S_IFBLK, makedev(7, 200) },
		{ "bigdev", S_IFCHR, makedev(300, 70000) }, { "regular", S_IFREG, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct stat st;

		expect(CODE(mknod(kinds[i].name, kinds[i].type | 0640, kinds[i].dev)), 0, "mknod of a %s", kinds[i].name);
		st = stat_of(kinds[i].name);
		ok((st.st_mode & S_IFMT) == kinds[i].type, "the %s is one", kinds[i].name);
		ok(st.st_rdev == kinds[i].dev, "the %s keeps its device number", kinds[i].name);
		ok(st.st_nlink == 1 && st.st_size == 0, "the %s is empty and has one link", kinds[i].name);
		FAILS(mknod(kinds[i].name, kinds[i].type | 0640, kinds[i].dev), EEXIST);
	}
}

void suite_create(void)
{
	struct stat st;
	int fd;

	modes();
	nodes();
	type_errors();
	fd = open("fresh", O_CREAT | O_RDWR, 0644);
	need(fd >= 0, "open");
	NEED(fstat(fd, &st));
	ok(st.st_size == 0 && st.st_nlink == 1 && st.st_blocks == 0, "a new file is empty");
	ok(st.st_ino == stat_of("fresh").st_ino, "fstat and lstat agree");
	OK(write(fd, "abc", 3));
	close(fd);
	OK(close(open("fresh", O_CREAT | O_RDWR, 0)));
	ok(content_is("fresh", "abc"), "open(O_CREAT) of a file that exists leaves it");
	OK(close(open("fresh", O_CREAT | O_TRUNC | O_WRONLY, 0)));
	ok(stat_of("fresh").st_size == 0, "O_TRUNC empties it");
	make_dir("d", 0755);
	st = stat_of("d");
	ok(st.st_nlink == 2, "a new directory has two links");
	make_dir("d/e", 0755);
	ok(stat_of("d").st_nlink == 3, "and one more for a subdirectory");
	ok(stat_of("d/e/..").st_ino == st.st_ino, "whose \"..\" is the directory");
}

/* ------------------------------------------------------------------- names */

void suite_names(void)
{
	char name[257], path[600];
	int bytes = 0;

	memset(name, 'x', 255);
	name[255] = '\0';
	OK(mkdir(name, 0755));
	snprintf(path, sizeof(path), "%s/%s", name, name);
	OK(close(open(path, O_CREAT | O_WRONLY, 0644)));
	ok(exists(path), "a name of 255 bytes is found again");
	OK(rename(path, "short"));
	OK(rename("short", path));
	OK(unlink(path));
	name[255] = 'x';
	name[256] = '\0';
	FAILS(mkdir(name, 0755), ENAMETOOLONG);
	ok(pathconf(".", _PC_NAME_MAX) == 255, "pathconf says 255");
	make_dir("bytes", 0755);
	for (int b = 1; b < 256; b++) {
		if (b == '/' || b == '.')
			continue;
		snprintf(path, sizeof(path), "bytes/%c", b);
		make_file(path, path, 0644);
		bytes++;
	}
	for (int b = 1; b < 256; b++) {
		snprintf(path, sizeof(path), "bytes/%c", b);
		if (b != '/' && b != '.' && !content_is(path, path))
			ok(false, "the name of the one byte %d", b);
	}
	ok(bytes == 253, "every byte but slash, dot and NUL is a name");
	make_file("a\n b\t\\*?\"'", "odd", 0644);
	ok(content_is("a\n b\t\\*?\"'", "odd"), "a name of white space and quotes");
	make_file("\xff\xfe\x80 not utf-8", "odd", 0644);
	ok(exists("\xff\xfe\x80 not utf-8"), "a name that is not UTF-8");
	make_file("Case", "1", 0644);
	ok(!exists("case"), "upper and lower case differ");
	make_file("...", "1", 0644);
	ok(content_is("...", "1"), "three dots are a name");
	make_file("-rf", "1", 0644);
	OK(unlink("./-rf"));
}

void suite_symlinks(void)
{
	char target[4097], got[4200];

	for (size_t len = 1; len <= 4095; len = len < 55 ? len + 18 : len < 4000 ? len * 3 : len + 1) {
		ssize_t n;

		memset(target, 't', len);
		target[len] = '\0';
		expect(CODE(symlink(target, "s")), 0, "symlink to %zu bytes", len);
		ok(stat_of("s").st_size == (off_t)len, "its size is the target's length");
		n = readlink("s", got, sizeof(got));
		ok(n == (ssize_t)len && memcmp(got, target, len) == 0, "readlink gives the %zu bytes back", len);
		ok(readlink("s", got, 1) == 1, "readlink into a small buffer cuts off");
		OK(unlink("s"));
	}
	memset(target, 't', 4095);
	target[4095] = '\0';
	OK(symlink(target, "s4095"));
	ok(readlink("s4095", got, sizeof(got)) == 4095, "4095 bytes are the most");
	target[4095] = 't';
	target[4096] = '\0';
	FAILS(symlink(target, "s4096"), ENAMETOOLONG);
	FAILS(symlink("", "empty"), ENOENT);
	OK(symlink("nowhere", "dangling"));
	FAILS(open("dangling", O_RDONLY), ENOENT);
	OK(close(open("dangling", O_CREAT | O_WRONLY, 0644)));
	ok(exists("nowhere"), "open(O_CREAT) through a dangling symlink makes the target");
	make_dir("d", 0755);
	make_file("d/f", "inside", 0644);
	OK(symlink("d", "dl"));
	ok(content_is("dl/f", "inside"), "a symlink to a directory leads into it");
	OK(symlink("dl/f", "chain"));
	ok(content_is("chain", "inside"), "and a chain of them too");
	ok((stat_of("dl").st_mode & 07777) == 0777, "a symlink's mode is 0777");
	FAILS(open("dl", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), ENOTDIR);
	OK(rename("dl", "dl2"));
	ok(S_ISLNK(stat_of("dl2").st_mode) && exists("d"), "rename moves the symlink, not the target");
	OK(link("dl2", "dl3"));
	ok(S_ISLNK(stat_of("dl3").st_mode) && stat_of("dl3").st_nlink == 2, "a symlink may have two names");
}

/* ------------------------------------------------------------------ rename */

enum kind { MISSING, REGULAR, EMPTY, FULL, LINK, FIFO, KINDS };
static const char *const kind_names[KINDS] = { "nothing", "a file", "an empty directory", "a full directory", "a symlink", "a fifo" };

static void make_kind(enum kind k, const char *path)
{
	char inner[64];

	switch (k) {
	case REGULAR: make_file(path, path, 0644); break;
	case FULL:
		make_dir(path, 0755);
		snprintf(inner, sizeof(inner), "%s/in", path);
		make_file(inner, path, 0644);
		break;
	case EMPTY: make_dir(path, 0755); break;
	case LINK: NEED(symlink("elsewhere", path)); break;
	case FIFO: NEED(mkfifo(path, 0644)); break;
	default: break;
	}
}

static void clear_kind(const char *path)
{
	char inner[64];

	snprintf(inner, sizeof(inner), "%s/in", path);
	unlink(inner);
	if (rmdir(path) < 0)
		unlink(path);
}

static bool is_dir(enum kind k)
{
	return k == EMPTY || k == FULL;
}

static int rename_code(enum kind from, enum kind to)
{
	if (from == MISSING)
		return ENOENT;
	if (to == MISSING)
		return 0;
	if (is_dir(from) && !is_dir(to))
		return ENOTDIR;
	if (!is_dir(from) && is_dir(to))
		return EISDIR;
	return to == FULL ? ENOTEMPTY : 0;
}

static int exchange(const char *a, const char *b)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static int noreplace(const char *a, const char *b)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE);
}

static void rename_matrix(const char *to)
{
	for (int i = 0; i < KINDS; i++)
		for (int j = 0; j < KINDS; j++) {
			enum kind f = (enum kind)i, t = (enum kind)j;
			int code = rename_code(f, t);
			ino_t ino = 0, other = 0;

			make_kind(f, "from");
			make_kind(t, to);
			if (f != MISSING)
				ino = stat_of("from").st_ino;
			if (t != MISSING)
				other = stat_of(to).st_ino;
			expect(CODE(rename("from", to)), code, "rename of %s over %s", kind_names[f], kind_names[t]);
			if (code == 0)
				ok(stat_of(to).st_ino == ino && !exists("from"), "and it is there under the new name alone");
			else
				ok((f == MISSING || stat_of("from").st_ino == ino) && (t == MISSING || stat_of(to).st_ino == other), "and nothing changed");
			clear_kind("from");
			clear_kind(to);

			make_kind(f, "from");
			make_kind(t, to);
			expect(CODE(noreplace("from", to)), f == MISSING ? ENOENT : t == MISSING ? 0 : EEXIST, "RENAME_NOREPLACE of %s over %s",
			       kind_names[f], kind_names[t]);
			clear_kind("from");
			clear_kind(to);

			make_kind(f, "from");
			make_kind(t, to);
			ino = f == MISSING ? 0 : stat_of("from").st_ino;
			other = t == MISSING ? 0 : stat_of(to).st_ino;
			expect(CODE(exchange("from", to)), f == MISSING || t == MISSING ? ENOENT : 0, "RENAME_EXCHANGE of %s and %s", kind_names[f], kind_names[t]);
			if (f != MISSING && t != MISSING)
				ok(stat_of(to).st_ino == ino && stat_of("from").st_ino == other, "and they changed places");
			clear_kind("from");
			clear_kind(to);
		}
}

static void rename_directories(void)
{
	make_dir("p", 0755);
	make_dir("p/q", 0755);
	make_dir("p/q/r", 0755);
	FAILS(rename("p", "p/q/r/s"), EINVAL);
	FAILS(rename("p", "p/q"), EINVAL);
	FAILS(rename("p/q/r", "p"), ENOTEMPTY);
	FAILS(rename("p/.", "x"), EBUSY);
	FAILS(rename("p", "p/.."), EBUSY);
	FAILS(exchange("p", "p/q"), EINVAL);
	make_dir("other", 0755);
	ok(stat_of("other").st_nlink == 2 && stat_of("p").st_nlink == 3, "link counts before");
	OK(rename("p/q", "other/q"));
	ok(stat_of("other").st_nlink == 3 && stat_of("p").st_nlink == 2, "a moved directory's link moves with it");
	ok(stat_of("other/q/..").st_ino == stat_of("other").st_ino, "\"..\" leads to the new parent");
	ok(exists("other/q/r"), "what is below comes along");
	make_file("p/f", "", 0644);
	OK(exchange("p/f", "other/q"));
	ok(stat_of("other").st_nlink == 2 && stat_of("p").st_nlink == 3, "exchange across directories moves the link too");
	ok(S_ISREG(stat_of("other/q").st_mode) && exists("p/f/r"), "a file and a directory changed places");
	OK(rename("p", "p"));
	FAILS(renameat2(AT_FDCWD, "p", AT_FDCWD, "z", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
	OK(rename("p/", "p2/"));
	make_file("plain", "", 0644);
	FAILS(rename("plain", "plain2/"), ENOTDIR);
	FAILS(rename("plain/", "plain2"), ENOTDIR);
}

static void rename_files(void)
{
	struct stat before, after;
	char buf[8];
	int fd;

	make_file("h1", "same", 0644);
	NEED(link("h1", "h2"));
	OK(rename("h1", "h2"));
	ok(exists("h1") && exists("h2") && stat_of("h1").st_nlink == 2, "rename between two names of one file does nothing");
	make_file("victim", "old", 0644);
	NEED(link("victim", "victim2"));
	make_file("winner", "new", 0644);
	fd = open("victim", O_RDONLY);
	need(fd >= 0, "open");
	OK(rename("winner", "victim"));
	ok(content_is("victim", "new") && content_is("victim2", "old"), "only the name was replaced");
	ok(stat_of("victim2").st_nlink == 1, "and the old file lost a link");
	ok(read(fd, buf, sizeof(buf)) == 3 && memcmp(buf, "old", 3) == 0, "whoever has the old file open reads it");
	close(fd);
	make_file("t", "", 0644);
	before = stat_of("t");
	usleep(20000);
	OK(rename("t", "t2"));
	after = stat_of("t2");
	ok(after.st_ctim.tv_sec > before.st_ctim.tv_sec ||
	   (after.st_ctim.tv_sec == before.st_ctim.tv_sec && after.st_ctim.tv_nsec > before.st_ctim.tv_nsec), "rename moves ctime");
	ok(after.st_mtim.tv_sec == before.st_mtim.tv_sec && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec, "but not mtime");
}

void suite_rename(void)
{
	rename_matrix("to");
	make_dir("sub", 0755);
	rename_matrix("sub/to");
	rename_directories();
	rename_files();
}

/* ------------------------------------------------------------------- links */

void suite_links(void)
{
	struct stat before, after;
	char name[32];

	make_file("a", "shared", 0644);
	before = stat_of("a");
	usleep(20000);
	OK(link("a", "b"));
	after = stat_of("b");
	ok(after.st_ino == before.st_ino && after.st_nlink == 2, "two names of one inode");
	ok(after.st_ctim.tv_sec > before.st_ctim.tv_sec || after.st_ctim.tv_nsec != before.st_ctim.tv_nsec, "link moves ctime");
	NEED(close(open("b", O_WRONLY | O_TRUNC)));
	ok(stat_of("a").st_size == 0, "a change through one name is seen through the other");
	OK(chmod("b", 0600));
	ok((stat_of("a").st_mode & 0777) == 0600, "a mode too");
	OK(unlink("a"));
	ok(stat_of("b").st_nlink == 1, "unlink takes a link");
	OK(link("b", "a"));
	make_dir("d", 0755);
	OK(link("a", "d/a"));
	ok(stat_of("d/a").st_nlink == 3, "names in two directories");
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		NEED(link("a", name));
	}
	ok(stat_of("a").st_nlink == 203, "203 links");
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		NEED(unlink(name));
	}
	ok(stat_of("a").st_nlink == 3, "and 3 again");
	OK(symlink("a", "s"));
	OK(linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0));
	ok(S_ISLNK(stat_of("s2").st_mode), "linkat links the symlink itself");
	OK(linkat(AT_FDCWD, "s", AT_FDCWD, "s3", AT_SYMLINK_FOLLOW));
	ok(S_ISREG(stat_of("s3").st_mode), "or, when asked, what it leads to");
	FAILS(linkat(AT_FDCWD, "a", AT_FDCWD, "z", 0x4000000), EINVAL);
	NEED(mkfifo("fifo", 0644));
	OK(link("fifo", "fifo2"));
	ok(stat_of("fifo2").st_nlink == 2, "a fifo may have two names");
}
