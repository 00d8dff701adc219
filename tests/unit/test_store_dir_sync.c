/*
 * test_store_dir_sync.c - the directory store on a file system that is as unkind as it may be.
 *
 * The system calls it makes are caught here. A model keeps what is not durable yet: files written but not synced, directories
 * whose names changed but were not synced. Checked are the rules D1 to D4 of s3/DESIGN.md: no name for unsynced content,
 * nothing acknowledged with anything unsynced on its path. Then each call in turn is made to fail, and in turn is the last one
 * the process ever makes. A directory whose sync failed has lost the names that were dirty then: later syncs succeed, as a kernel's
 * do that reported its error once, but bring none of them to the disk; only changing a name again makes it dirty anew.
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
#include "hash.h"

enum { DIRTY_MAX = 64 };

static struct {
	pthread_mutex_t lock;
	bool armed;           /* count, fail and keep the model */
	int calls;            /* since armed */
	int fail_at, fail_errno; /* this call fails; 0 = none */
	int fail_syncs;       /* from there on, so many syncs fail, and what else there is succeeds; 0 = the call alone */
	int die_at;           /* the process ends at this call: before it is made */
	uint64_t own;         /* the store's own directory: its names need not last */
	struct { uint64_t ino, name; bool lost; } dirty[DIRTY_MAX]; /* a file's content (name 0), or a name in a directory */
	const char *violation;
} model = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t inode_at(int fd, const char *path)
{
	struct stat st;

	if (syscall(SYS_newfstatat, fd, path, &st, path[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH))
		return 0;
	return (uint64_t)st.st_ino;
}

static uint64_t name_of(const char *name)
{
	return hash_xxh3(name, strlen(name), 0) | 1;
}

/* A sync of it succeeded: what an earlier one lost is clean to the kernel, and so not written by this one. */
static void clean(uint64_t ino)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i].ino == ino && !model.dirty[i].lost)
			model.dirty[i].ino = 0;
}

static void lose(uint64_t ino)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i].ino == ino)
			model.dirty[i].lost = true;
}

/* It is gone, and nothing of it need last. */
static void forget(uint64_t ino)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i].ino == ino)
			model.dirty[i].ino = 0;
}

static void forget_name(uint64_t ino, uint64_t name)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i].ino == ino && model.dirty[i].name == name)
			model.dirty[i].ino = 0;
}

static void soil(uint64_t ino, uint64_t name)
{
	if (!model.armed || ino == 0 || ino == model.own)
		return;
	forget_name(ino, name);
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i].ino == 0) {
			model.dirty[i].ino = ino;
			model.dirty[i].name = name;
			model.dirty[i].lost = false;
			return;
		}
	abort();
}

static bool is_dirty(uint64_t ino)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (ino != 0 && model.dirty[i].ino == ino)
			return true;
	return false;
}

static bool any_dirty(void)
{
	for (int i = 0; i < DIRTY_MAX; i++)
		if (model.dirty[i].ino != 0)
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
	if (model.calls != model.fail_at || model.fail_syncs > 0)
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

	if (rc == 0 && model.armed && model.fail_syncs > 0 && model.calls >= model.fail_at) {
		model.fail_syncs--;
		errno = model.fail_errno;
		rc = -1;
	}
	if (rc == 0)
		clean(inode_at(fd, ""));
	else
		lose(inode_at(fd, ""));
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
		soil(inode_at(fd, ""), 0);
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
			soil(inode_at(to, ""), name_of(new));
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
			soil(inode_at(to, ""), name_of(new));
	}
	return (int)leave(rc);
}

int mkdirat(int fd, const char *path, mode_t mode)
{
	long rc = enter() ? -1 : syscall(SYS_mkdirat, fd, path, mode);

	if (rc == 0)
		soil(strcmp(path, DIR_OWN) == 0 ? 0 : inode_at(fd, ""), name_of(path));
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
			forget(ino);
		if (rc == 0 && (flags & AT_REMOVEDIR))
			forget_name(inode_at(fd, ""), name_of(path));
		else if (rc == 0)
			soil(inode_at(fd, ""), name_of(path));
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
	model.calls = model.fail_at = model.fail_syncs = model.die_at = 0;
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

/*
 * Each sync fails, one or two in a row, and the caller asks again, as all of ours do, until it is told that the object is there. Then it
 * is on the disk, and no sync that came after the one that failed is taken for proof.
 */
static void test_failed_sync_is_not_forgotten(void **state)
{
	int believed = 0, refused = 0;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(steps); i++)
		for (int in_a_row = 1; in_a_row <= 2; in_a_row++)
			for (int at = 1;; at++) {
				const struct step *p = &steps[i];
				char etag[STORE_ETAG_MAX], what[128];
				struct store *s = begin(etag);
				bool ambiguous, failed;
				int rc = ERR_UNAVAILABLE;

				arm(s);
				model.fail_at = at;
				model.fail_errno = EIO;
				model.fail_syncs = in_a_row;
				for (int tries = 0; tries < 4 && rc == ERR_UNAVAILABLE; tries++)
					rc = carry_out(s, p, etag, &ambiguous);
				failed = model.fail_syncs == 0;
				snprintf(what, sizeof(what), "step %zu, asked again after %d syncs failed from call %d on", i, in_a_row, at);
				if (rc == p->want || rc == ERR_PRECONDITION) {
					check_durable(what);
					believed += failed;
				} else {
					refused += failed;
					if (rc != ERR_UNAVAILABLE || p->op != STORE_DELETE)
						fail_msg("%s: %s", what, err_text(rc));
				}
				disarm();
				store_close(s);
				if (rc == p->want || rc == ERR_PRECONDITION)
					assert_int_equal(content(p->key), after(p));
				check_bystanders();
				end(open_store());
				if (!failed)
					break;
			}
	assert_true(believed > 60);
	assert_true(refused > 0);
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
		cmocka_unit_test_setup_teardown(test_failed_sync_is_not_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_call_is_the_last, setup, teardown),
	};

	store_threads = "threads=1"; /* many are opened */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
