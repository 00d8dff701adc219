/* main.c - runs the suites, and what they share. Usage: posixtest DIR [SUITE...] | --ground DIR | --readonly DIR */
#include "posix.h"

#include <dirent.h>
#include <ftw.h>
#include <grp.h>
#include <stdarg.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

static const struct { const char *name; void (*run)(void); } suites[] = {
	{ "errors", suite_errors }, { "create", suite_create }, { "owner", suite_owner }, { "permission", suite_permission },
	{ "setid", suite_setid }, { "rename", suite_rename }, { "links", suite_links }, { "orphans", suite_orphans }, { "data", suite_data },
	{ "direct", suite_direct }, { "mmap", suite_mmap }, { "space", suite_space }, { "copy", suite_copy }, { "times", suite_times },
	{ "names", suite_names }, { "symlinks", suite_symlinks }, { "readdir", suite_readdir }, { "xattr", suite_xattr }, { "acl", suite_acl },
	{ "locks", suite_locks }, { "special", suite_special }, { "races", suite_races },
	{ "descriptors", suite_descriptors }, { "addresses", suite_addresses }, { "flags", suite_flags }, { "limits", suite_limits }, { "opath", suite_opath },
	{ "mappings", suite_mappings }, { "leases", suite_leases }, { "positions", suite_positions }, { "namespaces", suite_namespaces }, { "moments", suite_moments }, { "rwf", suite_rwf },
	{ "sockets", suite_sockets }, { "signals", suite_signals },
};

static unsigned count, failed;
static const char *suite = "";

bool ok(bool pass, const char *fmt, ...)
{
	va_list ap;

	count++;
	failed += !pass;
	printf("%sok %u - %s: ", pass ? "" : "not ", count, suite);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	return pass;
}

void skip(const char *what, const char *why)
{
	printf("ok %u - %s: %s # SKIP %s\n", ++count, suite, what, why);
}

void expect(int got, int code, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!ok(got == code, "%s gives %s", text, code ? strerrorname_np(code) : "success"))
		printf("# it gave %s\n", got ? strerrorname_np(got) : "success");
}

void need(bool fine, const char *what)
{
	if (fine)
		return;
	printf("Bail out! %s: %s: %s\n", suite, what, strerror(errno));
	fflush(stdout);
	_exit(2);
}

void make_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	need(fd >= 0, path);
	need(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write");
	NEED(fchmod(fd, mode));
	NEED(close(fd));
}

void make_dir(const char *path, mode_t mode)
{
	NEED(mkdir(path, 0700));
	NEED(chmod(path, mode));
}

struct stat stat_of(const char *path)
{
	struct stat st;

	need(lstat(path, &st) == 0, path);
	return st;
}

bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

char *content_of(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY);
	size_t len = 0, cap = 1 << 16;
	char *p = malloc(cap + 1);

	need(p != NULL, "malloc");
	while (fd >= 0) {
		ssize_t n = read(fd, p + len, cap - len);

		if (n < 0)
			break;
		if (n == 0) {
			close(fd);
			p[len] = '\0';
			if (ret_len)
				*ret_len = len;
			return p;
		}
		len += (size_t)n;
		if (len == cap) {
			p = realloc(p, (cap *= 2) + 1);
			need(p != NULL, "realloc");
		}
	}
	if (fd >= 0)
		close(fd);
	free(p);
	return NULL;
}

bool content_is(const char *path, const char *text)
{
	char *p = content_of(path, NULL);
	bool same = p && strcmp(p, text) == 0;

	free(p);
	return same;
}

void fill(void *p, size_t len, uint64_t seed)
{
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++) {
		uint64_t x = (i / 8 + 1) * 0x9e3779b97f4a7c15ull ^ (seed + 1) * 0xbf58476d1ce4e5b9ull;

		x ^= x >> 31;
		b[i] = (uint8_t)((x * 0x94d049bb133111ebull) >> (i % 8 * 8));
	}
}

bool filled(const void *p, size_t len, uint64_t seed)
{
	uint8_t *want = malloc(len ? len : 1);
	bool same;

	need(want != NULL, "malloc");
	fill(want, len, seed);
	same = memcmp(p, want, len) == 0;
	free(want);
	return same;
}

int run_as(uid_t uid, gid_t gid, gid_t extra, int (*fn)(void *), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	NEED(pid);
	if (pid == 0) {
		if (setgroups(extra ? 1 : 0, &extra) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(127);
		_exit(fn(arg));
	}
	NEED(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

/* ------------------------------------------------------------------- calls */

static const char *const call_names[CALLS] = {
	[C_OPEN_READ] = "open(O_RDONLY)", [C_OPEN_WRITE] = "open(O_WRONLY)", [C_CREATE] = "open(O_CREAT)", [C_CREATE_EXCL] = "open(O_CREAT|O_EXCL)",
	[C_OPEN_DIR] = "opendir", [C_MKDIR] = "mkdir", [C_RMDIR] = "rmdir", [C_UNLINK] = "unlink", [C_MKFIFO] = "mkfifo", [C_SYMLINK_AT] = "symlink",
	[C_LINK_FROM] = "link from", [C_LINK_TO] = "link to", [C_RENAME_FROM] = "rename from", [C_RENAME_TO] = "rename to", [C_CHMOD] = "chmod",
	[C_CHOWN] = "chown", [C_LCHOWN] = "lchown", [C_TRUNCATE] = "truncate", [C_STAT] = "stat", [C_LSTAT] = "lstat", [C_READLINK] = "readlink",
	[C_UTIMES] = "utimensat(now)", [C_UTIMES_SET] = "utimensat(time)", [C_ACCESS_READ] = "access(R_OK)", [C_ACCESS_EXEC] = "access(X_OK)",
	[C_STATVFS] = "statvfs", [C_SETXATTR] = "setxattr", [C_GETXATTR] = "getxattr", [C_CHDIR] = "chdir", [C_EXEC] = "execve",
};

const char *call_name(enum call c)
{
	return call_names[c];
}

static int close_code(int fd)
{
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int list_code(const char *path)
{
	DIR *d = opendir(path);

	if (!d)
		return errno;
	closedir(d);
	return 0;
}

/* Inside a child already: only its failure comes back. */
static int exec_code(const char *path)
{
	char *const argv[] = { (char *)(uintptr_t)path, NULL }, *const envp[] = { NULL };

	execve(path, argv, envp);
	return errno;
}

static int attribute_call(enum call c, const char *path)
{
	struct timespec t[2] = { { 1000000, 1 }, { 2000000, 2 } };
	struct statvfs sv;
	struct stat st;
	char buf[4096];

	switch (c) {
	case C_CHMOD: return CODE(chmod(path, 0755));
	case C_CHOWN: return CODE(chown(path, geteuid(), getegid()));
	case C_LCHOWN: return CODE(lchown(path, geteuid(), getegid()));
	case C_TRUNCATE: return CODE(truncate(path, 0));
	case C_STAT: return CODE(stat(path, &st));
	case C_LSTAT: return CODE(lstat(path, &st));
	case C_READLINK: return CODE(readlink(path, buf, sizeof(buf)));
	case C_UTIMES: return CODE(utimensat(AT_FDCWD, path, NULL, 0));
	case C_UTIMES_SET: return CODE(utimensat(AT_FDCWD, path, t, 0));
	case C_ACCESS_READ: return CODE(access(path, R_OK));
	case C_ACCESS_EXEC: return CODE(access(path, X_OK));
	case C_STATVFS: return CODE(statvfs(path, &sv));
	case C_SETXATTR: return CODE(setxattr(path, "user.t", "v", 1, 0));
	case C_GETXATTR: return CODE(getxattr(path, "user.t", buf, sizeof(buf)));
	case C_CHDIR: return CODE(chdir(path));
	default: return exec_code(path);
	}
}

int make_call(enum call c, const char *path, const char *aux)
{
	char moved[300];

	snprintf(moved, sizeof(moved), "%s.moved", aux ? aux : "");
	switch (c) {
	case C_OPEN_READ: return close_code(open(path, O_RDONLY));
	case C_OPEN_WRITE: return close_code(open(path, O_WRONLY));
	case C_CREATE: return close_code(open(path, O_WRONLY | O_CREAT, 0644));
	case C_CREATE_EXCL: return close_code(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
	case C_OPEN_DIR: return list_code(path);
	case C_MKDIR: return CODE(mkdir(path, 0755));
	case C_RMDIR: return CODE(rmdir(path));
	case C_UNLINK: return CODE(unlink(path));
	case C_MKFIFO: return CODE(mkfifo(path, 0644));
	case C_SYMLINK_AT: return CODE(symlink("target", path));
	case C_LINK_FROM: return CODE(link(path, moved));
	case C_LINK_TO: return CODE(link(aux, path));
	case C_RENAME_FROM: return CODE(rename(path, moved));
	case C_RENAME_TO: return CODE(rename(aux, path));
	default: return attribute_call(c, path);
	}
}

struct call_args { enum call c; const char *path, *aux; };

static int call_child(void *arg)
{
	struct call_args *a = arg;

	return make_call(a->c, a->path, a->aux);
}

int call_as(uid_t uid, gid_t gid, gid_t extra, enum call c, const char *path, const char *aux)
{
	struct call_args a = { c, path, aux };

	return run_as(uid, gid, extra, call_child, &a);
}

/* -------------------------------------------------------------------- main */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *w)
{
	(void)st;
	(void)w;
	return type == FTW_DP || type == FTW_D ? rmdir(path) : unlink(path);
}

static void run_suite(const char *top, size_t i)
{
	char dir[4096];

	suite = suites[i].name;
	snprintf(dir, sizeof(dir), "%s/%s", top, suite);
	umask(0);
	need(mkdir(dir, 0755) == 0, dir);
	need(chdir(dir) == 0, dir);
	suites[i].run();
	need(chdir(top) == 0, top);
	if (nftw(dir, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0)
		ok(false, "the directory can be removed afterwards: %s", strerror(errno));
	fflush(stdout);
}

static int finish(void)
{
	printf("1..%u\n", count);
	if (failed)
		printf("# %u of %u failed\n", failed, count);
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	char top[2048];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && (strcmp(argv[1], "--readonly") == 0 || strcmp(argv[1], "--ground") == 0)) {
		suite = argv[1] + 2;
		NEED(chdir(argv[2]));
		if (argv[1][2] == 'g')
			make_readonly_ground();
		else
			suite_readonly();
		return finish();
	}
	if (argc < 2 || !realpath(argv[1], top)) {
		fprintf(stderr, "usage: posixtest DIR [SUITE...]\n");
		return 2;
	}
	if (geteuid() != 0) {
		printf("1..0 # SKIP root is needed: owners and permissions are tested as several users\n");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
		bool wanted = argc == 2;

		for (int a = 2; a < argc; a++)
			wanted |= strcmp(argv[a], suites[i].name) == 0;
		if (wanted)
			run_suite(top, i);
	}
	return finish();
}
