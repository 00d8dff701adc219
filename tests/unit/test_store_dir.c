/*
 * test_store_dir.c - the directory store: the conformance of all stores, and what is its own: ETags, odd entries, conflicts,
 * leftovers, a full disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "../lib/dir_fixture.h"
#include "../lib/store_conformance.h"
#include "backends.h"
#include "compiler.h"
#include "dir.h"
#include "err.h"

static void test_conformance(void **state)
{
	struct store *s = open_store();
	char why[512] = "";

	(void)state;
	if (store_conformance(s, why, sizeof(why)))
		fail_msg("%s", why);
	/* All that it made is gone, but for the store's own directory. */
	store_close(s);
	assert_int_equal(leftovers(), 0);
	assert_int_equal(remove(path_of("x")) < 0 && errno == ENOENT, 1);
	nftw(path_of(DIR_OWN), remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(rmdir(root), 0);
}

static void test_close(void **state)
{
	char why[512] = "";

	(void)state;
	for (int i = 0; i < 3; i++)
		if (store_conformance_close(open_store(), why, sizeof(why)))
			fail_msg("%s", why);
	assert_int_equal(leftovers(), 0);
}

static void test_addresses(void **state)
{
	static const struct { const char *address; int want; } bad[] = {
		{ "file://relative", ERR_CONFIG }, { "file://", ERR_CONFIG }, { "/tmp", ERR_CONFIG }, { "ftp://x", ERR_CONFIG },
		{ "", ERR_CONFIG }, { "file:///nonexistent/deep/er", ERR_NO_BUCKET }, { "file:///etc/passwd", ERR_NO_BUCKET },
		{ "file:///etc/passwd/x", ERR_NO_BUCKET },
	};
	struct store *s = NULL;
	char address[400];

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		err_clear();
		assert_int_equal(store_open(bad[i].address, NULL, &s), bad[i].want);
		assert_string_not_equal(err_last(), "");
		assert_null(s);
	}
	snprintf(address, sizeof(address), "file://%s///", root);
	assert_int_equal(store_open(address, "nonsense=1", &s), ERR_CONFIG);
	assert_non_null(strstr(err_last(), "nonsense"));
	assert_int_equal(store_open(address, "threads=0", &s), ERR_CONFIG);
	assert_int_equal(store_open(address, "threads=-1", &s), ERR_CONFIG);
	assert_int_equal(store_open(address, "threads=2", &s), 0);
	assert_string_equal(s->kind, "dir");
	assert_string_equal(s->address + 7, root);
	/* Nothing is made before the first write. */
	assert_int_equal(access(root, F_OK), -1);
	put(s, "a", "x");
	store_close(s);
	assert_int_equal(access(path_of("a"), F_OK), 0);
}

static void test_faults_variable(void **state)
{
	char address[400];
	struct store *s;

	(void)state;
	snprintf(address, sizeof(address), "file://%s", root);
	setenv("CLONELOVE_FAULTS", "put:*:nonsense", 1);
	assert_int_equal(store_open(address, NULL, &s), ERR_CONFIG);
	setenv("CLONELOVE_FAULTS", "put:bad/*:503", 1);
	assert_int_equal(store_open(address, NULL, &s), 0);
	unsetenv("CLONELOVE_FAULTS");
	assert_int_equal(try_put(s, "good/x", "1", true), 0);
	assert_int_equal(try_put(s, "bad/x", "1", true), ERR_UNAVAILABLE);
	store_close(s);
}

static void test_missing_root(void **state)
{
	struct store *s = open_store(), *other;
	struct store_req r;

	(void)state;
	/* A store nobody has written to is empty. */
	assert_int_equal(store_get(s, "a", &r), -ENOENT);
	store_req_reset(&r);
	assert_int_equal(store_delete(s, "a"), 0);
	store_req_init(&r, STORE_LIST);
	r.key = "";
	assert_int_equal(store_call(s, &r), 0);
	assert_int_equal(r.entry_count, 0);
	store_req_reset(&r);
	/* Another makes it: it is seen. */
	other = open_store();
	put(other, "a", "x");
	expect(s, "a", "x");
	put(s, "b", "y");
	store_close(other);
	/* A root that went away is no empty store. */
	assert_int_equal(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(store_get(s, "a", &r), ERR_NO_BUCKET);
	store_req_reset(&r);
	assert_int_equal(try_put(s, "c", "z", false), ERR_NO_BUCKET);
	assert_int_equal(try_put(s, "c/d", "z", true), ERR_NO_BUCKET);
	store_req_init(&r, STORE_LIST);
	r.key = "";
	assert_int_equal(store_call(s, &r), ERR_NO_BUCKET);
	store_req_reset(&r);
	store_close(s);
}

static void test_conflicts(void **state)
{
	struct store *s = open_store();
	char longest[300];
	struct store_req r;

	(void)state;
	put(s, "file", "x");
	put(s, "dir/sub/file", "x");
	assert_int_equal(try_put(s, "file/below", "y", false), ERR_UNSUPPORTED);
	assert_int_equal(try_put(s, "file/below/deep", "y", true), ERR_UNSUPPORTED);
	assert_int_equal(try_put(s, "dir", "y", false), ERR_UNSUPPORTED);
	assert_int_equal(try_put(s, "dir/sub", "y", true), ERR_UNSUPPORTED);
	assert_non_null(strstr(err_last(), "both"));
	expect(s, "dir/sub/file", "x");
	expect(s, "file", "x");
	/* Directories that only look like being in the way go. */
	assert_int_equal(mkdir(path_of("empty"), 0700), 0);
	assert_int_equal(mkdir(path_of("empty/deep"), 0700), 0);
	assert_int_equal(mkdir(path_of("empty/deep/er"), 0700), 0);
	assert_int_equal(try_put(s, "empty", "now a file", true), 0);
	assert_int_equal(mkdir(path_of("empty2"), 0700), 0);
	assert_int_equal(try_put(s, "empty2", "now a file", false), 0);
	expect(s, "empty", "now a file");
	/* When the last object of a directory goes, so does the directory, and its name is free. */
	assert_int_equal(store_delete(s, "dir/sub/file"), 0);
	assert_int_equal(access(path_of("dir"), F_OK), -1);
	assert_int_equal(try_put(s, "dir", "y", true), 0);
	/* Names that a directory cannot hold, or that are the store's. */
	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	assert_int_equal(try_put(s, longest, "y", true), ERR_UNSUPPORTED);
	longest[255] = '\0';
	assert_int_equal(try_put(s, longest, "y", true), 0);
	assert_int_equal(try_put(s, DIR_OWN, "y", true), ERR_UNSUPPORTED);
	assert_int_equal(try_put(s, "a/" DIR_OWN "/x", "y", true), ERR_UNSUPPORTED);
	assert_int_equal(store_get(s, DIR_OWN "/lock.00", &r), ERR_UNSUPPORTED);
	store_req_reset(&r);
	assert_int_equal(try_put(s, DIR_OWN "x", "y", true), 0);
	store_close(s);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_strange_entries(void **state)
{
	struct store *s = open_store(), *inner;
	struct store_req r;
	char path[400];
	int n = 0;

	(void)state;
	put(s, "a/object", "x");
	/* A link, a FIFO, a name that is no UTF-8, an empty directory, another store inside: none is an object of ours. */
	assert_int_equal(symlink("object", path_of("a/link")), 0);
	assert_int_equal(symlink("a", path_of("link")), 0);
	assert_int_equal(mkfifo(path_of("a/fifo"), 0600), 0);
	write_file(path_of("a/\xff\xfe"), "x");
	assert_int_equal(mkdir(path_of("void"), 0700), 0);
	assert_int_equal(mkdir(path_of("void/void"), 0700), 0);
	snprintf(path, sizeof(path), "%s/inner", root);
	assert_int_equal(store_dir_open(path, NULL, &inner), 0);
	assert_int_equal(store_list_all(s, "", NULL, count_one, &n), 0);
	assert_int_equal(n, 1);
	put(inner, "thing", "y");
	assert_int_equal(store_list_all(s, "", NULL, count_one, &n), 0);
	assert_int_equal(n, 3); /* a/object, inner/thing; not inner's own */
	store_req_init(&r, STORE_LIST);
	r.key = "";
	r.delimiter = "/";
	assert_int_equal(store_call(s, &r), 0);
	assert_int_equal(r.entry_count, 2);
	assert_string_equal(r.entries[0].key, "a/");
	assert_string_equal(r.entries[1].key, "inner/");
	store_req_reset(&r);
	assert_int_equal(store_get(s, "a/link", &r), -ENOENT);
	store_req_reset(&r);
	assert_int_equal(store_get(s, "a/fifo", &r), -ENOENT);
	store_req_reset(&r);
	store_close(inner);
	store_close(s);
}

static void test_etags(void **state)
{
	char one[STORE_ETAG_MAX], two[STORE_ETAG_MAX], three[STORE_ETAG_MAX];
	struct store *s = open_store();
	struct store_req r;
	int fd;

	(void)state;
	put(s, "one", "content");
	put(s, "two", "content");
	etag_of(s, "one", one);
	etag_of(s, "two", two);
	assert_string_equal(one, two);
	/* Without its attribute: the same, and so in another process. */
	removexattr(path_of("one"), "user.clonelove.etag");
	etag_of(s, "one", two);
	assert_string_equal(one, two);
	store_close(s);
	s = open_store();
	etag_of(s, "one", two);
	assert_string_equal(one, two);
	/* A file changed by hand, of the same size, is another one, attribute or not. */
	etag_of(s, "two", two);
	usleep(20000);
	fd = open(path_of("two"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "C", 1, 0), 1);
	close(fd);
	etag_of(s, "two", three);
	assert_string_not_equal(two, three);
	/* And one copied in by hand can be replaced by what it is. */
	write_file(path_of("three"), "content");
	etag_of(s, "three", three);
	assert_string_equal(one, three);
	/* A listing tells the ETag where it is at hand. */
	store_req_init(&r, STORE_LIST);
	r.key = "one";
	assert_int_equal(store_call(s, &r), 0);
	assert_int_equal(r.entry_count, 1);
	assert_true(r.entries[0].etag[0] == '\0' || strcmp(r.entries[0].etag, one) == 0);
	store_req_reset(&r);
	store_close(s);
}

static void test_cleaning(void **state)
{
	struct store *s = open_store();
	int fd, live;

	(void)state;
	put(s, "a", "x");
	store_close(s);
	fd = open(path_of(DIR_OWN "/tmp.dead"), O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	live = open(path_of(DIR_OWN "/tmp.live"), O_WRONLY | O_CREAT, 0600);
	assert_true(live >= 0);
	assert_int_equal(flock(live, LOCK_EX), 0);
	assert_int_equal(leftovers(), 2);
	s = open_store();
	assert_int_equal(leftovers(), 1);
	close(live);
	store_close(s);
	store_close(open_store());
	assert_int_equal(leftovers(), 0);
	/* Somebody removes the store's own directory under it. */
	s = open_store();
	put(s, "b", "x");
	assert_int_equal(nftw(path_of(DIR_OWN), remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	put(s, "c", "x");
	assert_int_equal(try_put(s, "c", "y", true), ERR_PRECONDITION);
	store_close(s);
}

static void test_no_permission(void **state)
{
	struct store *s;
	pid_t pid;
	int status;

	(void)state;
	s = open_store();
	put(s, "a/b", "x");
	store_close(s);
	if (geteuid() != 0)
		print_message("not root: tried as this user only\n");
	assert_int_equal(chmod(path_of("a/b"), 0), 0);
	assert_int_equal(chmod(path_of("a"), 0555), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store_req r;
		int bad = 0;

		if (geteuid() == 0 && (chmod(top, 0755) || chmod(root, 0755) || setuid(65534)))
			_exit(100);
		if (store_dir_open(root, NULL, &s))
			_exit(101);
		bad |= store_get(s, "a/b", &r) != ERR_AUTH ? 1 : 0;
		bad |= try_put(s, "a/c", "x", true) != ERR_AUTH ? 2 : 0;
		bad |= strstr(err_last(), "ermission") == NULL ? 4 : 0;
		bad |= store_delete(s, "a/b") != ERR_AUTH ? 8 : 0;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(path_of("a"), 0700), 0);
}

static int compare_next(void *user, const struct store_entry *e)
{
	int *next = user;
	char want[32];

	snprintf(want, sizeof(want), "big/%05d", *next);
	if (strcmp(e->key, want) != 0)
		return -ERANGE;
	++*next;
	return 0;
}

/* A big directory is kept between pages, and never one name of it beyond its time. */
static void test_big_directory(void **state)
{
	struct store *s = open_store(), *other = open_store();
	struct dir *d = CL_CONTAINER_OF(s, struct dir, store);
	struct store_req r;
	char name[32];
	int next = 0;

	(void)state;
	put(s, "big/00000", "x");
	for (int i = 1; i < 3000; i++) {
		snprintf(name, sizeof(name), "big/%05d", i);
		write_file(path_of(name), "x");
	}
	assert_int_equal(store_list_all(s, "big/", NULL, compare_next, &next), 0);
	assert_int_equal(next, 3000);
	assert_null(d->level.base); /* too fresh to be kept */
	sleep(4);
	next = 0;
	assert_int_equal(store_list_all(s, "b", NULL, compare_next, &next), 0);
	assert_int_equal(next, 3000);
	assert_int_equal(d->level.count, 3000);
	next = 1501;
	assert_int_equal(store_list_all(s, "", "big/01500", compare_next, &next), 0);
	assert_int_equal(next, 3000);
	next = 1230;
	assert_int_equal(store_list_all(s, "big/0123", NULL, compare_next, &next), 0);
	assert_int_equal(next, 1240);
	/* Changed by another: seen at once, in the middle too. */
	put(other, "big/03000", "x");
	next = 0;
	assert_int_equal(store_list_all(s, "big/", NULL, compare_next, &next), 0);
	assert_int_equal(next, 3001);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "big/%05d", i * 20);
		assert_int_equal(store_delete(other, name), 0);
		store_req_init(&r, STORE_LIST);
		r.key = "big/";
		assert_int_equal(store_call(s, &r), 0);
		assert_int_equal(r.entry_count, 1000);
		for (size_t k = 0; k < r.entry_count; k++)
			assert_string_not_equal(r.entries[k].key, name);
		store_req_reset(&r);
	}
	store_close(other);
	store_close(s);
}

static void test_no_space(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(mkdir(root, 0700), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		static char body[300000];
		struct store_req r;
		struct store *s;
		int bad = 0, rc = 0;

		/* A file system of 2 MiB, in a mount namespace that ends with this process. */
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", root, "tmpfs", 0, "size=2m"))
			_exit(77);
		s = open_store();
		put(s, "old", "old");
		for (int i = 0; i < 20 && !rc; i++) {
			char key[20];

			snprintf(key, sizeof(key), "fill/%d", i);
			rc = store_put(s, key, body, sizeof(body), true, &r);
			bad |= rc && r.ambiguous ? 1 : 0;
			store_req_reset(&r);
		}
		bad |= rc != -ENOSPC ? 2 : 0;
		bad |= store_put(s, "old", body, sizeof(body), false, &r) != -ENOSPC ? 4 : 0;
		store_req_reset(&r);
		expect(s, "old", "old");
		bad |= leftovers() != 0 ? 8 : 0; /* room that nobody could give back */
		bad |= store_delete(s, "fill/0") != 0 ? 16 : 0;
		bad |= store_put(s, "fill/new", body, sizeof(body), true, &r) != 0 ? 32 : 0;
		store_req_reset(&r);
		store_close(s);
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: no right to mount a small file system\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_conformance, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_faults_variable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conflicts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strange_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_etags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cleaning, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_big_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_space, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
