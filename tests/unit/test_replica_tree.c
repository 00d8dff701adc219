/* test_replica_tree.c - the replicator's tree on a real directory: nothing leaves it, everything is carried, moves are whole. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "tree.h"

static char top[64], root[80];
static struct tree *t;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

static int setup(void **state)
{
	(void)state;
	/* Where the work directory is: /tmp may be without xattrs. */
	snprintf(top, sizeof top, "/var/tmp/replica-tree.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(root, sizeof root, "%s/tree", top);
	return mkdir(root, 0755) || tree_posix_open(root, &t);
}

static int teardown(void **state)
{
	(void)state;
	t->free(t);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *path)
{
	static char b[2][4200];
	static int which;

	which ^= 1;
	snprintf(b[which], sizeof b[which], "%s/%s", root, path);
	return b[which];
}

static void put(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void assert_text(const char *path, const char *text)
{
	char b[256];
	int fd = open(at(path), O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, b, sizeof b);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(b, text, strlen(text));
	close(fd);
}

static void nothing_leaves(void **state)
{
	struct tree_stat st;
	struct tree_file *f;

	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	put("d/f", "inside");
	assert_int_equal(symlink("..", at("up")), 0);
	assert_int_equal(symlink("/etc", at("etc")), 0);
	assert_int_equal(symlink("d", at("way")), 0);
	assert_int_equal(symlink("d/f", at("last")), 0);
	assert_int_equal(t->stat(t, "d/f", &st), 0);
	assert_int_equal(t->stat(t, "way/f", &st), -ELOOP);
	assert_int_equal(t->stat(t, "up/tree", &st), -ELOOP);
	assert_int_equal(t->open(t, "etc/passwd", &f), -ELOOP);
	assert_int_equal(t->open(t, "last", &f), -ELOOP); /* never followed */
	assert_int_equal(t->stat(t, "last", &st), 0);
	assert_int_equal(st.kind, ENTRY_SYMLINK);
	assert_int_equal(t->stat(t, "d/f/x", &st), -ENOTDIR);
	assert_int_equal(t->stat(t, "../x", &st), -EINVAL);
	assert_int_equal(t->stat(t, "/etc", &st), -EINVAL);
	assert_int_equal(t->stat(t, ".clonesync", &st), -EINVAL);
	assert_int_equal(t->open(t, ".clonesync/token", &f), -EINVAL);
	assert_int_equal(t->stat(t, ".clonesync-not", &st), -ENOENT);
	assert_int_equal(t->make_dir(t, "../x"), -EINVAL);
	assert_int_equal(t->make_dir(t, ""), -EINVAL);
	assert_int_equal(t->make_dir(t, "."), -EINVAL);
	assert_int_equal(t->make_dir(t, "x"), 0);
	assert_int_equal(t->publish(t, "x", "way/x"), -ELOOP);
	assert_int_equal(t->publish(t, "x", "d"), -EEXIST);
	assert_int_equal(t->remove_temp(t, "x"), 0);
	assert_int_equal(mkfifo(at("fifo"), 0644), 0);
	assert_int_equal(t->stat(t, "fifo", &st), 0);
	assert_false(st.carried);
	assert_int_equal(t->open(t, "fifo", &f), -EINVAL); /* and does not wait for a writer */
}

struct names { unsigned count; bool odd; };

static int count_names(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	struct names *n = user;

	(void)st;
	n->count++;
	n->odd |= len == 3 && memcmp(name, "\x01\xff\n", 3) == 0;
	return 0;
}

static int stop(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	(void)user;
	(void)name;
	(void)len;
	(void)st;
	return 7;
}

static void listing(void **state)
{
	struct names n = { 0, false };

	(void)state;
	put("a", "1");
	put("\x01\xff\n", "2");
	assert_int_equal(mkdir(at("d"), 0755), 0);
	assert_int_equal(t->list(t, "", count_names, &n), 0);
	assert_true(n.count == 3 && n.odd);
	assert_int_equal(t->list(t, "", stop, NULL), 7);
	assert_int_equal(t->list(t, "a", count_names, &n), -ENOTDIR);
	assert_int_equal(t->list(t, "none", count_names, &n), -ENOENT);
}

/* What describe reads of one path, dress gives to another. */
static void metadata(void **state)
{
	struct timespec times[2] = { { 5, 6 }, { -77, 123456789 } };
	struct tree_stat st;
	struct entry e, g;
	struct tree_file *f;
	struct tree_owner owner;

	(void)state;
	put("f", "text");
	assert_int_equal(setxattr(at("f"), "user.b", "two", 3, 0), 0);
	assert_int_equal(setxattr(at("f"), "user.a", "", 0, 0), 0);
	assert_int_equal(setxattr(at("f"), "trusted.no", "x", 1, 0), 0);
	assert_int_equal(chown(at("f"), 33, 4242424), 0);
	assert_int_equal(chmod(at("f"), 06751), 0);
	assert_int_equal(utimensat(AT_FDCWD, at("f"), times, 0), 0);
	entry_init(&e);
	entry_init(&g);
	assert_int_equal(t->describe(t, "f", &st, &e), 0);
	assert_true(e.kind == ENTRY_FILE && e.size == 4 && e.mode == 06751 && e.uid == 33 && e.gid == 4242424);
	assert_string_equal(e.owner, "www-data");
	assert_string_equal(e.group, "");
	assert_true(e.mtime_s == -77 && e.mtime_ns == 123456789);
	assert_int_equal(t->make_file(t, "tmp1", 4, &f), 0);
	assert_int_equal(t->write(f, "text", 4, 0), 0);
	t->close(f);
	assert_int_equal(t->dress_temp(t, "tmp1", &e, &owner), 0);
	assert_true(owner.uid == 33 && owner.gid == 4242424);
	assert_int_equal(t->publish(t, "tmp1", "copy"), 0);
	assert_int_equal(t->describe(t, "copy", &st, &g), 0);
	assert_true(entry_same(&e, &g));
	assert_int_equal(getxattr(at("copy"), "trusted.no", NULL, 0), -1);
	/* In place: what the entry has not goes; a name counts more than a number; an unknown name falls back to the number. */
	entry_free(&e);
	e.mode = 0600;
	e.uid = 1;
	e.gid = 2;
	strcpy(e.owner, "www-data");
	strcpy(e.group, "no-such-group");
	assert_int_equal(t->dress(t, "copy", &e, &owner), 0);
	assert_true(owner.uid == 33 && owner.gid == 2);
	assert_int_equal(t->describe(t, "copy", &st, &g), 0);
	assert_true(g.uid == 33 && g.gid == 2 && g.mode == 0600 && !g.xattrs_len && g.mtime_s == 0);
	assert_text("copy", "text");
	/* Of the open file, whatever has its name. */
	e.mode = 04711;
	e.owner[0] = e.group[0] = '\0';
	e.uid = e.gid = 7;
	assert_int_equal(t->open(t, "copy", &f), 0);
	assert_int_equal(rename(at("f"), at("copy")), 0);
	assert_int_equal(t->dress_file(t, f, &e, &owner), 0);
	assert_true(owner.uid == 7 && owner.gid == 7);
	assert_int_equal(t->fstat(f, &st), 0);
	assert_true(st.id.uid == 7 && st.id.gid == 7 && st.mode == 04711);
	t->close(f);
	assert_int_equal(t->stat(t, "copy", &st), 0);
	assert_true(st.id.uid == 33 && st.mode == 06751);
	entry_free(&e);
	entry_free(&g);
}

static void directories_and_links(void **state)
{
	struct tree_stat st, st2;
	struct entry e;
	struct tree_owner owner;

	(void)state;
	entry_init(&e);
	e.kind = ENTRY_DIR;
	e.mode = 02775;
	assert_int_equal(t->make_dir(t, "d1"), 0);
	assert_int_equal(t->dress_temp(t, "d1", &e, &owner), 0);
	assert_int_equal(t->publish(t, "d1", "dir"), 0);
	assert_int_equal(t->set_dir_time(t, "dir", 99, 5), 0);
	assert_int_equal(t->stat(t, "dir", &st), 0);
	assert_true(st.mode == 02775 && st.id.mtime_s == 99 && st.id.mtime_ns == 5);
	e.kind = ENTRY_SYMLINK;
	e.mode = 0777;
	e.uid = 33;
	e.mtime_s = 1234;
	assert_int_equal(t->make_symlink(t, "l", "../nowhere"), 0);
	assert_int_equal(t->dress_temp(t, "l", &e, &owner), 0);
	assert_int_equal(t->publish(t, "l", "dir/link"), 0);
	entry_free(&e);
	assert_int_equal(t->describe(t, "dir/link", &st, &e), 0);
	assert_true(e.kind == ENTRY_SYMLINK && e.uid == 33 && e.mtime_s == 1234);
	assert_string_equal(e.target, "../nowhere");
	put("f", "shared");
	assert_int_equal(t->link_from(t, "f", "t"), 0);
	assert_int_equal(t->publish(t, "t", "dir/f"), 0);
	assert_int_equal(t->stat(t, "f", &st), 0);
	assert_int_equal(t->stat(t, "dir/f", &st2), 0);
	assert_true(st.id.ino == st2.id.ino && st.id.links == 2);
	assert_int_equal(t->remove_dir(t, "dir"), -ENOTEMPTY);
	assert_int_equal(t->withdraw(t, "dir", "gone"), 0);
	assert_int_equal(t->remove_temp(t, "gone"), -ENOTEMPTY);
	assert_int_equal(t->trash(t, "gone", "a/b"), -EINVAL);
	assert_int_equal(t->trash(t, "gone", "dir.1"), 0);
	assert_text(".clonesync/trash/dir.1/f", "shared");
	entry_free(&e);
}

static void exchanging(void **state)
{
	struct tree_file *f;
	struct tree_stat st;

	(void)state;
	put("f", "old");
	assert_int_equal(t->make_file(t, "n", 3, &f), 0);
	assert_int_equal(t->make_file(t, "n", 3, &f), -EEXIST);
	assert_int_equal(t->write(f, "new", 3, 0), 0);
	assert_int_equal(t->sync_file(f), 0);
	t->close(f);
	assert_int_equal(t->exchange(t, "n", "none"), -ENOENT);
	assert_int_equal(t->exchange(t, "n", "f"), 0);
	assert_text("f", "new");
	assert_text(".clonesync/tmp/n", "old");
	assert_int_equal(t->sync_dir(t, ""), 0);
	assert_int_equal(t->exchange(t, "n", "f"), 0);
	assert_text("f", "old");
	assert_int_equal(t->withdraw(t, "f", "n"), -EEXIST);
	assert_int_equal(t->withdraw(t, "f", "o"), 0);
	assert_int_equal(t->stat(t, "f", &st), -ENOENT);
	assert_int_equal(t->stat_temp(t, "o", &st), 0);
	assert_int_equal(t->rename_temp(t, "n", "o"), -EEXIST);
	assert_int_equal(t->rename_temp(t, "n", "../f"), -EINVAL);
	assert_int_equal(t->rename_temp(t, "o", "p"), 0);
	assert_int_equal(t->rename_temp(t, "o", "q"), -ENOENT);
	assert_int_equal(t->remove_temp(t, "p"), 0);
	assert_int_equal(t->remove_temp(t, "p"), -ENOENT);
}

static void sparse_and_copies(void **state)
{
	struct tree_file *f, *g;
	uint64_t data, end;
	char b[8];

	(void)state;
	assert_int_equal(t->make_file(t, "a", 64 << 20, &f), 0);
	assert_int_equal(t->data(f, 0, &data, &end), 0);
	assert_true(data == 64 << 20 && end == 64 << 20);
	assert_int_equal(t->write(f, "x", 1, 32 << 20), 0);
	assert_int_equal(t->data(f, 0, &data, &end), 0);
	assert_true(data <= 32 << 20 && data >= 31 << 20 && end > 32 << 20);
	assert_int_equal(t->make_file(t, "b", 64 << 20, &g), 0);
	assert_int_equal(t->copy(g, f, 32 << 20, 4096), 0);
	assert_int_equal(t->read(g, b, 2, 32 << 20), 2);
	assert_true(b[0] == 'x' && b[1] == 0);
	assert_int_equal(t->read(g, b, 8, (64 << 20) - 3), 3);
	assert_int_equal(t->copy(g, f, (64 << 20) - 10, 20), -EIO); /* the source ends there */
	t->close(f);
	t->close(g);
}

static void quiet(void **state)
{
	struct tree_file *f;
	int fd, rc;

	(void)state;
	put("f", "x");
	fd = open(at("f"), O_WRONLY);
	assert_int_equal(t->open(t, "f", &f), 0);
	rc = t->quiet(f);
	if (rc == -ENOTSUP) {
		close(fd);
		t->close(f);
		skip(); /* no leases on this file system */
	}
	assert_int_equal(rc, 0);
	close(fd);
	assert_int_equal(t->quiet(f), 1);
	assert_int_equal(t->still_quiet(f), 1);
	fd = open(at("f"), O_WRONLY | O_NONBLOCK); /* would wait for us; NONBLOCK says so */
	assert_true(fd < 0 && errno == EWOULDBLOCK);
	assert_int_equal(t->still_quiet(f), 0);
	t->close(f);
	fd = open(at("f"), O_WRONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	close(fd);
}

static void identity(void **state)
{
	uint8_t token[TREE_TOKEN_BYTES] = { 1, 2 }, got[TREE_TOKEN_BYTES];
	char away[96];
	struct tree *other;
	struct tree_file *f;

	(void)state;
	assert_int_equal(t->alive(t), 0);
	assert_int_equal(t->token_get(t, got), -ENOENT);
	assert_int_equal(t->token_put(t, token), 0);
	assert_int_equal(t->token_get(t, got), 0);
	assert_memory_equal(got, token, sizeof token);
	assert_int_equal(truncate(at(".clonesync/token"), 3), 0);
	assert_int_equal(t->token_get(t, got), -ENOENT);
	/* Temps left behind go when the tree is opened again; what was withdrawn and is not empty is kept. */
	assert_int_equal(t->make_file(t, "left", 1, &f), 0);
	t->close(f);
	assert_int_equal(t->make_file(t, "p-left", 3, &f), 0); /* what a fetch has of a file, it goes on with */
	assert_int_equal(t->write(f, "ab", 2, 1), 0);
	t->close(f);
	assert_int_equal(mkdir(at("d"), 0755), 0);
	put("d/precious", "p");
	assert_int_equal(t->withdraw(t, "d", "w"), 0);
	put("edit", "mine");
	assert_int_equal(t->withdraw(t, "edit", "x-1"), 0);
	assert_int_equal(t->make_dir(t, "x-2"), 0);
	assert_int_equal(tree_posix_open(root, &other), 0);
	assert_int_equal(access(at(".clonesync/tmp/left"), F_OK), -1);
	assert_int_equal(access(at(".clonesync/tmp/x-1"), F_OK), -1);
	assert_int_equal(access(at(".clonesync/tmp/x-2"), F_OK), -1);
	assert_int_equal(t->reopen_file(t, "p-none", 3, &f), -ENOENT);
	assert_int_equal(t->reopen_file(t, "../p", 3, &f), -EINVAL);
	assert_int_equal(t->reopen_file(t, "p-left", 4, &f), -EINVAL);
	assert_int_equal(link(at(".clonesync/tmp/p-left"), at("named")), 0); /* somebody else's as well */
	assert_int_equal(t->reopen_file(t, "p-left", 3, &f), -EINVAL);
	assert_int_equal(unlink(at("named")), 0);
	assert_int_equal(t->reopen_file(t, "p-left", 3, &f), 0);
	assert_int_equal(t->read(f, got, 3, 0), 3);
	assert_memory_equal(got, "\0ab", 3);
	assert_int_equal(t->write(f, "c", 1, 0), 0);
	t->close(f);
	assert_text(".clonesync/tmp/p-left", "cab");
	assert_int_equal(t->remove_temp(t, "p-left"), 0);
	assert_int_equal(symlink("/etc/passwd", at(".clonesync/tmp/p-left")), 0);
	assert_int_equal(t->reopen_file(t, "p-left", 3, &f), -EINVAL);
	assert_text(".clonesync/trash/x-1", "mine");
	assert_text(".clonesync/trash/w/precious", "p");
	other->free(other);
	/* Another directory under the name: not the tree any more. */
	snprintf(away, sizeof away, "%s/away", top);
	assert_int_equal(rename(root, away), 0);
	assert_int_equal(t->alive(t), -ESTALE);
	assert_int_equal(mkdir(root, 0755), 0);
	assert_int_equal(t->alive(t), -ESTALE);
	assert_int_equal(rmdir(root), 0);
	assert_int_equal(rename(away, root), 0);
	assert_int_equal(t->alive(t), 0);
	/* A user's `.clonesync`: refused. */
	snprintf(away, sizeof away, "%s/other", top);
	assert_int_equal(mkdir(away, 0755), 0);
	snprintf(away, sizeof away, "%s/other/.clonesync", top);
	assert_int_equal(mkdir(away, 0755), 0);
	snprintf(away, sizeof away, "%s/other", top);
	assert_int_equal(tree_posix_open(away, &other), -EPERM);
	assert_non_null(strstr(err_last(), "move it away"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_leaves, setup, teardown), cmocka_unit_test_setup_teardown(listing, setup, teardown),
		cmocka_unit_test_setup_teardown(metadata, setup, teardown),
		cmocka_unit_test_setup_teardown(directories_and_links, setup, teardown),
		cmocka_unit_test_setup_teardown(exchanging, setup, teardown), cmocka_unit_test_setup_teardown(sparse_and_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(quiet, setup, teardown), cmocka_unit_test_setup_teardown(identity, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
