/*
 * test_store_dir_sync.c - the directory store on a file system that is as unkind as it may be.
 *
 * The system calls it makes are caught here. A model keeps what is not durable yet: files written but not synced, directories
 * whose names changed but were not synced. Checked are the rules D1 to D4 of s3/DESIGN.md: no name for unsynced content,
 * nothing acknowledged with anything unsynced on its path. Then each call in turn is made to fail, and in turn is the last one
 * the process ever makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../lib/dir_fixture.h"

enum { DIRTY_MAX = 64 };

static struct {
	pthread_mutex_t lock;
	bool armed;           /* count, fail and keep the model */
	int calls;            /* since armed */
	int fail_at, fail_errno; /* this call fails; 0 = none */
	int die_at;           /* the process ends at this call: before it is made */
	uint64_t own;         /* the store's own directory: its names need not last */
	uint64_t dirty[DIRTY_MAX];
	const char *violation;
} model = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t inode_at(int fd, const char *path)
{
	struct stat st;

	if (syscall(SYS_newfstatat, fd, path, &st, path[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH))
		return 0;
	return (uint64_t)st.st_ino;
}

static void clean(uint64_t ino)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i] == ino)
			model.dirty[i] = 0;
}

static void soil(uint64_t ino)
{
	if (!model.armed || ino == model.own)
		return;
	clean(ino);
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i] == 0) {
			model.dirty[i] = ino;
			return;
		}
	abort();
}

static bool is_dirty(uint64_t ino)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (ino != 0 && model.dirty[i] == ino)
			return true;
	return false;
}

static bool any_dirty(void)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i] != 0)
			return true;
	return false;
}

/* Before a call: takes the lock; true when the call is to fail (errno set). */
static bool enter(void)
{
	pthread_mutex_lock(&model.lock);
	if (!model.armed)
		return false;
	model.calls++;
	if (model.calls == model.die_at)
		_exit(33);
	if (model.calls != model.fail_at)
		return false;
	errno = model.fail_errno;
	return true;
}

static long leave(long rc)
{
	int saved = errno;

	pthread_mutex_unlock(&model.lock);
	errno = saved;
	return rc;
}

/* --- the calls --- */

int fsync(int fd)
{
	long rc = enter() ? -1 : 0; /* the disk itself is spared: what counts is that it was asked */

	if (rc == 0)
		clean(inode_at(fd, ""));
	return (int)leave(rc);
}

int syncfs(int fd)
{
	long rc = enter() ? -1 : 0;

	(void)fd;
	if (rc == 0)
		memset(model.dirty, 0, sizeof(model.dirty));
	return (int)leave(rc);
}

ssize_t write(int fd, const void *p, size_t len)
{
	long rc = enter() ? -1 : syscall(SYS_write, fd, p, len > 1 && model.armed ? len / 2 + 1 : len); /* and short ones */

	if (rc > 0)
		soil(inode_at(fd, ""));
	return leave(rc);
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
	long rc = enter() ? -1 : 0;

	if (rc == 0) {
		if (is_dirty(inode_at(from, old)))
			model.violation = "a name was linked to unsynced content";
		rc = syscall(SYS_linkat, from, old, to, new, flags);
		if (rc == 0)
			soil(inode_at(to, ""));
	}
	return (int)leave(rc);
}

int renameat(int from, const char *old, int to, const char *new)
{
	long rc = enter() ? -1 : 0;

	if (rc == 0) {
		if (is_dirty(inode_at(from, old)))
			model.violation = "a name was given to unsynced content";
		rc = syscall(SYS_renameat2, from, old, to, new, 0);
		if (rc == 0)
			soil(inode_at(to, ""));
	}
	return (int)leave(rc);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
	long rc = enter() ? -1 : syscall(SYS_mkdirat, fd, path, mode);

	if (rc == 0)
		soil(strcmp(path, DIR_OWN) == 0 ? 0 : inode_at(fd, ""));
	return (int)leave(rc);
}

int unlinkat(int fd, const char *path, int flags)
{
	uint64_t ino;
	long rc = enter() ? -1 : 0;

	if (rc == 0) {
		ino = inode_at(fd, path);
		if ((flags & AT_REMOVEDIR) && is_dirty(ino)) {
			/* Only if it is empty does it go, and take unsynced deletions with it. */
			rc = syscall(SYS_unlinkat, fd, path, flags);
			if (rc == 0)
				model.violation = "a directory was removed before its deletions were synced";
		} else {
			rc = syscall(SYS_unlinkat, fd, path, flags);
		}
		if (rc == 0)
			clean(ino);
		if (rc == 0 && !(flags & AT_REMOVEDIR))
			soil(inode_at(fd, ""));
	}
	return (int)leave(rc);
}

int flock(int fd, int how)
{
	long rc = enter() ? -1 : syscall(SYS_flock, fd, how);

	return (int)leave(rc);
}

int openat(int fd, const char *path, int flags, ...)
{
	unsigned mode = 0;
	va_list ap;
	long rc;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, unsigned);
		va_end(ap);
	}
	rc = enter() ? -1 : syscall(SYS_openat, fd, path, flags, mode);
	return (int)leave(rc);
}

/* --- driving it --- */

static void arm(struct store *s)
{
	pthread_mutex_lock(&model.lock);
	model.own = 0;
	if (s != NULL)
		model.own = inode_at(AT_FDCWD, path_of(DIR_OWN));
	memset(model.dirty, 0, sizeof(model.dirty));
	model.calls = model.fail_at = model.die_at = 0;
	model.violation = NULL;
	model.armed = true;
	pthread_mutex_unlock(&model.lock);
}

static void disarm(void)
{
	pthread_mutex_lock(&model.lock);
	model.armed = false;
	pthread_mutex_unlock(&model.lock);
}

/* What an acknowledged request must leave. */
static void check_durable(const char *what)
{
	const char *wrong;

	pthread_mutex_lock(&model.lock);
	model.armed = false;
	wrong = model.violation != NULL ? model.violation : any_dirty() ? "acknowledged with something unsynced" :
		model.calls == 0 ? "no calls were caught" : NULL;
	pthread_mutex_unlock(&model.lock);
	if (wrong != NULL)
		fail_msg("%s: %s", what, wrong);
}

struct step { /* one request */
	enum store_op op;
	const char *key, *source;
	bool create, swap;
	int want;
};

static const char *const new_text = "the new content, of more than a few bytes";
static const char *const old_text = "old";

/* Carries it out; etag: the expected one of a swap. */
static int carry_out(struct store *s, const struct step *p, const char *etag, bool *ret_ambiguous)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)new_text, .iov_len = strlen(new_text) };
	struct store_req r;
	int rc;

	store_req_init(&r, p->op);
	r.key = p->key;
	r.source_key = p->source;
	r.keys = &p->key;
	r.key_count = 1;
	r.body = &iov;
	r.body_count = 1;
	r.if_none_match = p->create;
	r.if_match = p->swap ? etag : NULL;
	rc = store_call(s, &r);
	*ret_ambiguous = r.ambiguous;
	if (rc != 0 && r.detail[0] == '\0')
		fail_msg("a failure without a reason: %s", err_text(rc));
	store_req_reset(&r);
	return rc;
}

static const struct step steps[] = {
	{ STORE_PUT, "new", NULL, true, false, 0 },
	{ STORE_PUT, "new", NULL, false, false, 0 },
	{ STORE_PUT, "a/b/c/new", NULL, true, false, 0 },
	{ STORE_PUT, "a/b/new", NULL, false, false, 0 },
	{ STORE_PUT, "there/old", NULL, false, false, 0 },
	{ STORE_PUT, "there/old", NULL, true, false, ERR_PRECONDITION },
	{ STORE_PUT, "there/old", NULL, false, true, 0 },
	{ STORE_PUT, "there/other", NULL, true, false, 0 },
	{ STORE_COPY, "there/old", "there/new-text", false, false, 0 },
	{ STORE_COPY, "x/y", "there/new-text", false, false, 0 },
	{ STORE_DELETE, "there/old", NULL, false, false, 0 },
	{ STORE_DELETE, "there/old", NULL, false, true, 0 },
	{ STORE_DELETE, "lone/ly/one", NULL, false, false, 0 },
	{ STORE_PUT, "void", NULL, true, false, 0 },  /* empty directories are in its way */
	{ STORE_PUT, "void", NULL, false, false, 0 },
};

/* The same beginning for every trial. */
static struct store *begin(char *ret_etag)
{
	struct store *s = open_store();

	put(s, "there/old", old_text);
	put(s, "there/new-text", new_text);
	put(s, "lone/ly/one", old_text);
	etag_of(s, "there/old", ret_etag);
	if (mkdir(path_of("void"), 0700) || mkdir(path_of("void/in"), 0700))
		fail_msg("mkdir: %s", strerror(errno));
	return s;
}

static void end(struct store *s)
{
	store_close(s);
	if (nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS))
		fail_msg("cannot remove %s", root);
}

static void test_durable_when_acknowledged(void **state)
{
	char etag[STORE_ETAG_MAX], what[128];
	bool ambiguous;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(steps); i++) {
		struct store *s = begin(etag);

		arm(s);
		assert_int_equal(carry_out(s, &steps[i], etag, &ambiguous), steps[i].want);
		snprintf(what, sizeof(what), "step %zu", i);
		check_durable(what);
		end(s);
	}
}

/* Directories and objects that another process made and has not synced yet: whoever builds on them syncs them. */
static void test_others_unsynced(void **state)
{
	static const struct { const char *key; bool create; int want; } cases[] = {
		{ "d1/d2/new", true, 0 }, { "d1/d2/new", false, 0 }, { "d1/d2/theirs", true, ERR_PRECONDITION },
		{ "d1/d2/d3/new", true, 0 },
	};
	char etag[STORE_ETAG_MAX];

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(cases); i++) {
		struct step p = { STORE_PUT, cases[i].key, NULL, cases[i].create, false, 0 };
		struct store *s = begin(etag);
		bool ambiguous;
		int fd;

		arm(s);
		fd = openat(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
		assert_int_equal(mkdirat(fd, "d1", 0700), 0);
		close(fd);
		fd = openat(AT_FDCWD, path_of("d1"), O_RDONLY | O_DIRECTORY);
		assert_int_equal(mkdirat(fd, "d2", 0700), 0);
		close(fd);
		fd = openat(AT_FDCWD, path_of("d1/d2"), O_RDONLY | O_DIRECTORY);
		assert_int_equal(linkat(AT_FDCWD, path_of("there/old"), fd, "theirs", 0), 0);
		close(fd);
		assert_true(any_dirty());
		assert_int_equal(carry_out(s, &p, etag, &ambiguous), cases[i].want);
		check_durable(cases[i].key);
		end(s);
	}
}

/* What the object's content is: 'n' new, 'o' old, '-' not there. Anything else is a torn object. */
static char content(const char *key)
{
	struct store *s = open_store();
	struct store_req r;
	int rc = store_get(s, key, &r);
	char c = 'x';

	if (rc == -ENOENT)
		c = '-';
	else if (rc == 0 && r.data_len == strlen(new_text) && memcmp(r.data, new_text, r.data_len) == 0)
		c = 'n';
	else if (rc == 0 && r.data_len == strlen(old_text) && memcmp(r.data, old_text, r.data_len) == 0)
		c = 'o';
	store_req_reset(&r);
	store_close(s);
	return c;
}

static char after(const struct step *p)
{
	return p->want != 0 ? 'o' : p->op == STORE_DELETE ? '-' : 'n';
}

static void check_bystanders(void)
{
	assert_int_equal(content("there/new-text"), 'n');
	assert_int_equal(leftovers(), 0);
}

/* Every call fails once: no half-truth comes of it. */
static void test_each_call_fails(void **state)
{
	static const int errnos[] = { EIO, ENOSPC };
	int tried = 0;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(steps); i++)
		for (size_t e = 0; e < (i < 3 ? CL_ARRAY_LEN(errnos) : 1); e++)
			for (int at = 1;; at++) {
				const struct step *p = &steps[i];
				char etag[STORE_ETAG_MAX], before, now;
				struct store *s = begin(etag);
				bool ambiguous, reached;
				int rc;

				before = content(p->key);
				arm(s);
				model.fail_at = at;
				model.fail_errno = errnos[e];
				rc = carry_out(s, p, etag, &ambiguous);
				reached = model.calls >= at;
				if (rc == p->want)
					check_durable("with a failed call");
				disarm();
				store_close(s);
				now = content(p->key);
				if (rc == p->want ? now != after(p) : ambiguous ? now != before && now != after(p) : now != before)
					fail_msg("step %zu, call %d fails with %s: %s%s, and the object is '%c', was '%c'", i, at,
						 strerror(errnos[e]), err_text(rc), ambiguous ? " (ambiguous)" : "", now, before);
				check_bystanders();
				end(open_store());
				tried++;
				if (!reached) {
					assert_int_equal(rc, p->want);
					break;
				}
			}
	assert_true(tried > 150);
}

/* The process ends at each call: the object is the old one or the new one, and the next opener cleans up. */
static void test_each_call_is_the_last(void **state)
{
	int died = 0;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(steps); i++)
		for (int at = 1;; at++) {
			const struct step *p = &steps[i];
			char etag[STORE_ETAG_MAX], before, now;
			struct store *s = begin(etag);
			bool ambiguous;
			int status;
			pid_t pid;

			before = content(p->key);
			store_close(s);
			pid = fork();
			assert_true(pid >= 0);
			if (pid == 0) {
				s = open_store();
				arm(s);
				model.die_at = at;
				_exit(carry_out(s, p, etag, &ambiguous) == p->want ? 0 : 1);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 33));
			now = content(p->key);
			if (now != before && now != after(p))
				fail_msg("step %zu, dead at call %d: the object is '%c'", i, at, now);
			check_bystanders();
			end(open_store());
			if (WEXITSTATUS(status) == 0) {
				assert_int_equal(now, after(p));
				break;
			}
			died++;
		}
	assert_true(died > 120);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_durable_when_acknowledged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_others_unsynced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_call_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_call_is_the_last, setup, teardown),
	};

	store_threads = "threads=1"; /* many are opened */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
