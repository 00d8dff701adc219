/*
 * test_replica_apply.c - putting entries in their place on a real directory, with a local user who acts between two calls. The simulation (tests/syncsim) does
 * this at every call; here are the cases by name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "apply.h"
#include "examine.h"

static char root[64];
static struct tree *t, real;
static struct entry want, disk;
static struct apply_item item;
static void (*before_exchange)(void), (*after_exchange)(void), (*before_withdraw)(void), (*before_link)(void), (*before_dress)(void), (*before_write)(void);

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

static int hooked_exchange(struct tree *x, const char *temp, const char *path)
{
	int rc;

	if (before_exchange)
		before_exchange();
	before_exchange = NULL;
	rc = real.exchange(x, temp, path);
	if (after_exchange)
		after_exchange();
	after_exchange = NULL;
	return rc;
}

static int hooked_withdraw(struct tree *x, const char *path, const char *temp)
{
	if (before_withdraw)
		before_withdraw();
	before_withdraw = NULL;
	return real.withdraw(x, path, temp);
}

static int hooked_link(struct tree *x, const char *path, const char *temp)
{
	if (before_link)
		before_link();
	before_link = NULL;
	return real.link_from(x, path, temp);
}

static int hooked_write(struct tree_file *f, const void *p, size_t len, uint64_t off)
{
	if (before_write)
		before_write();
	before_write = NULL;
	return real.write(f, p, len, off);
}

static int hooked_dress(struct tree *x, struct tree_file *f, const struct entry *e, struct tree_owner *ret)
{
	if (before_dress)
		before_dress();
	before_dress = NULL;
	return real.dress_file(x, f, e, ret);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/var/tmp/replica-apply.XXXXXX");
	if (!mkdtemp(root) || tree_posix_open(root, &t))
		return -1;
	real = *t;
	t->exchange = hooked_exchange;
	t->withdraw = hooked_withdraw;
	t->link_from = hooked_link;
	t->write = hooked_write;
	t->dress_file = hooked_dress;
	before_exchange = after_exchange = before_withdraw = before_link = before_dress = before_write = NULL;
	entry_init(&want);
	entry_init(&disk);
	memset(&item, 0, sizeof item);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	entry_free(&want);
	entry_free(&disk);
	t->free(t);
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *path)
{
	static char b[300];

	snprintf(b, sizeof b, "%s/%s", root, path);
	return b;
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
	char b[64] = "";
	int fd = open(at(path), O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, b, sizeof b - 1) >= 0);
	close(fd);
	assert_string_equal(b, text);
}

static unsigned count_in(const char *dir)
{
	DIR *d = opendir(at(dir));
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void want_file(const char *text)
{
	uint8_t block[HASH_BYTES];

	want.mode = 0640;
	want.mtime_s = 1000;
	want.uid = getuid();
	want.gid = getgid();
	want.size = strlen(text);
	hash_blake2b(text, strlen(text), block);
	hash_blake2b(block, HASH_BYTES, want.hash);
	item.want = &want;
	item.bytes = text;
}

/* What lies at path now is what should. */
static void believe(const char *path)
{
	struct examine_options o = { 0 };
	struct examine_result r;

	examine_result_init(&r);
	usleep(30000); /* what is older than two ticks is not suspect */
	assert_int_equal(examine(t, env_system(), path, NULL, &o, &r), 0);
	assert_int_equal(r.verdict, EXAMINE_CHANGED);
	assert_int_equal(entry_copy(&r.found, &disk), 0);
	item.disk = &disk;
	item.stat = r.stat.id;
	item.young = r.young;
	examine_result_free(&r);
}

static enum apply_outcome go(const char *path)
{
	static unsigned made;

	item.path = path;
	item.outcome = APPLY_OPEN;
	snprintf(item.temp, sizeof item.temp, "%c-%u", item.disk ? 'x' : 'm', ++made);
	apply(t, env_system(), 1, &item, 1);
	return item.outcome;
}

static void a_new_file(void **state)
{
	struct tree_stat st;

	(void)state;
	want_file("hello");
	assert_int_equal(go("f"), APPLY_DONE);
	assert_text("f", "hello");
	assert_int_equal(t->stat(t, "f", &st), 0);
	assert_memory_equal(&st.id, &item.now, sizeof st.id);
	assert_true(st.mode == 0640 && st.id.mtime_s == 1000 && !item.doubt);
	/* Something is there that should not be, and what is there stays. */
	want_file("other");
	assert_int_equal(go("f"), APPLY_STRANGE);
	assert_text("f", "hello");
	assert_int_equal(go("no/f"), APPLY_STRANGE);
	/* Not the content it should be. */
	item.bytes = "wrong";
	assert_int_equal(go("g"), APPLY_NO_CONTENT);
	assert_int_equal(count_in(".clonesync/tmp") + count_in(".clonesync/trash"), 0);
}

static void replacing(void **state)
{
	char kept[256];

	(void)state;
	put("f", "one");
	believe("f");
	want_file("two");
	item.known = true; /* superseded: nobody needs it */
	assert_int_equal(go("f"), APPLY_DONE);
	assert_text("f", "two");
	assert_int_equal(count_in(".clonesync/trash"), 0);
	believe("f");
	want_file("three");
	item.known = false; /* it lost a conflict */
	assert_int_equal(go("f"), APPLY_DONE);
	assert_text("f", "three");
	assert_true(item.trashed);
	snprintf(kept, sizeof kept, ".clonesync/trash/%s", item.temp);
	assert_text(kept, "two");
	assert_int_equal(count_in(".clonesync/trash"), 1);
	assert_int_equal(count_in(".clonesync/tmp"), 0);
}

/* A writer who comes while a lease is held would have to wait for it: it is noticed, and goes on afterwards. */
static void knock(void)
{
	assert_int_equal(open(at("f"), O_WRONLY | O_NONBLOCK), -1);
	assert_int_equal(errno, EWOULDBLOCK);
}

static void other_at_name(void)
{
	char old[300];

	snprintf(old, sizeof old, "%s/n", root);
	put("n", "renamed");
	assert_int_equal(rename(old, at("f")), 0);
}

/* Somebody's edit was displaced: it is where it was, and nothing else has changed. */
static void an_edit_meanwhile(void **state)
{
	(void)state;
	put("f", "one");
	believe("f");
	want_file("two");
	item.known = true;
	before_exchange = knock;
	assert_int_equal(go("f"), APPLY_BUSY);
	assert_text("f", "one");
	before_exchange = other_at_name;
	assert_int_equal(go("f"), APPLY_STRANGE);
	assert_text("f", "renamed");
	believe("f");
	put("n", "renamed");
	other_at_name();
	assert_int_equal(go("f"), APPLY_STRANGE);
	assert_text("f", "renamed");
	/* Behind the exchange: what is now under the name is about to be edited, and is not taken for ours. */
	believe("f");
	after_exchange = knock;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_true(item.doubt);
	assert_int_equal(count_in(".clonesync/tmp") + count_in(".clonesync/trash"), 0);
	/* An edit that was displaced goes back; what took its place was edited in that moment, and is not thrown away either. */
	believe("f");
	want_file("three");
	before_exchange = other_at_name;
	after_exchange = knock;
	assert_int_equal(go("f"), APPLY_STRANGE);
	assert_text("f", "renamed");
	assert_int_equal(count_in(".clonesync/tmp"), 0);
	assert_int_equal(count_in(".clonesync/trash"), 1);
}

/* As a tool does that writes in place and sets the time back: nothing but the ctime tells. Never waits for a lease. */
static void rewrite(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_NONBLOCK);
	struct timespec times[2];
	struct stat st;

	if (fd < 0)
		return; /* it has to wait: it comes later */
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal((size_t)st.st_size, strlen(text));
	assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_int_equal(futimens(fd, times), 0);
	close(fd);
}

static void rewrite_f(void)
{
	rewrite("f", "ONE");
}

static void chmod_f(void)
{
	assert_int_equal(chmod(at("f"), 0604), 0);
}

static void assert_mode(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(lstat(at(path), &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

/* What shows in no size and no mtime is an edit all the same: made before applying begins, while the new content is made, and right before the exchange. */
static void a_hidden_edit_meanwhile(void **state)
{
	void (**when[])(void) = { NULL, &before_write, &before_exchange };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		put("f", "one");
		believe("f");
		want_file("two");
		item.known = true;
		if (when[k])
			*when[k] = rewrite_f;
		else
			rewrite_f();
		if (k < 2) {
			assert_int_equal(go("f"), APPLY_STRANGE);
			assert_text("f", "ONE");
		} else { /* the writer has to wait, and is seen to; it finds what was there */
			assert_int_equal(go("f"), APPLY_BUSY);
			assert_text("f", "one");
		}
		assert_int_equal(count_in(".clonesync/tmp"), 0);
	}
}

/* Who changes the metadata alone has done something, too. */
static void a_chmod_meanwhile(void **state)
{
	void (**when[])(void) = { NULL, &before_write, &before_exchange, &before_withdraw };

	(void)state;
	for (size_t k = 0; k < 6; k++) {
		bool deletes = k == 3 || k == 5;

		put("f", "one");
		assert_int_equal(chmod(at("f"), 0644), 0);
		believe("f");
		want_file("two");
		want.deleted = deletes;
		item.known = true;
		if (k == 0 || k == 5)
			chmod_f();
		else if (k == 4)
			assert_int_equal(chown(at("f"), 12, 13), 0);
		else
			*when[k] = chmod_f;
		assert_int_equal(go("f"), APPLY_STRANGE);
		assert_text("f", "one");
		if (k != 4)
			assert_mode("f", 0604);
		assert_int_equal(count_in(".clonesync/tmp") + count_in(".clonesync/trash"), 0);
		want.deleted = false;
		assert_int_equal(unlink(at("f")), 0);
	}
}

/* A record made in the tick of the last write says nothing of a second one in that tick, however long ago that was. */
static void a_second_write_in_the_tick(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		put("f", k ? "ONE" : "one");
		believe("f");
		disk.hash[0] ^= 0x5a;
		if (k == 0) { /* the record is of what was there before the second write */
			item.young = true;
			want_file("two");
			item.known = true;
			assert_int_equal(go("f"), APPLY_STRANGE);
			assert_text("f", "one");
		} else { /* made long enough after it: what is there need not be read */
			want_file("two");
			item.known = true;
			assert_int_equal(go("f"), APPLY_DONE);
		}
		assert_int_equal(count_in(".clonesync/tmp") + count_in(".clonesync/trash"), 0);
	}
	/* It is what the record says: nothing is kept of it. */
	believe("f");
	item.young = true;
	want_file("six");
	assert_int_equal(go("f"), APPLY_DONE);
	assert_int_equal(count_in(".clonesync/trash"), 0);
}

/* Another name came or went: only the count and the ctime are others. Nothing was edited. */
static void another_name_meanwhile(void **state)
{
	char g[300];

	(void)state;
	put("f", "one");
	believe("f");
	snprintf(g, sizeof g, "%s/g", root);
	assert_int_equal(link(at("f"), g), 0);
	want_file("two");
	item.known = true;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_text("f", "two");
	assert_text("g", "one");
	assert_int_equal(count_in(".clonesync/tmp") + count_in(".clonesync/trash"), 0);
}

static unsigned kept_names;

static void count_kept(void)
{
	DIR *d = opendir(at(".clonesync/tmp"));

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		kept_names += e->d_name[0] == TREE_TEMP_KEEP;
	closedir(d);
}

/* A crash while it is made leaves nothing that looks like what was taken out of the tree. */
static void half_made(void **state)
{
	(void)state;
	put("f", "one");
	believe("f");
	want_file("two");
	item.known = true;
	kept_names = 0;
	before_write = count_kept;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_int_equal(kept_names, 0);
	believe("f");
	want_file("three");
	before_exchange = count_kept;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_int_equal(kept_names, 1);
}

static void an_open_writer(void **state)
{
	int fd;

	(void)state;
	put("f", "one");
	believe("f");
	want_file("two");
	item.known = true;
	fd = open(at("f"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(go("f"), APPLY_BUSY);
	assert_int_equal(pwrite(fd, "ONE", 3, 0), 3);
	close(fd);
	assert_text("f", "ONE");
}

static void another_link(void)
{
	char old[300];

	snprintf(old, sizeof old, "%s/f", root);
	assert_int_equal(link(old, at("elsewhere")), 0);
}

static uint64_t inode_of(const char *path)
{
	struct tree_stat st;

	assert_int_equal(t->stat(t, path, &st), 0);
	return st.id.ino;
}

/* Metadata alone are set where the file is; but only of the file that the record is about, and that nobody has open. */
static void in_place(void **state)
{
	struct tree_stat st;
	uint64_t ino;
	int fd;

	(void)state;
	put("f", "one");
	believe("f");
	ino = inode_of("f");
	want_file("one");
	item.known = item.in_place = true;
	fd = open(at("f"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(go("f"), APPLY_BUSY);
	close(fd);
	assert_int_equal(t->stat(t, "f", &st), 0);
	assert_int_equal(st.mode, 0644);
	believe("f");
	assert_int_equal(go("f"), APPLY_DONE);
	assert_int_equal(t->stat(t, "f", &st), 0);
	assert_true(st.id.ino == ino && st.mode == 0640 && st.id.mtime_s == 1000 && !item.doubt && item.now_young);
	assert_memory_equal(&st.id, &item.now, sizeof st.id);
	/* Another file has the name when it is done: its metadata are its own, and it is looked at. */
	believe("f");
	want.mode = 0600;
	before_dress = other_at_name;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_true(item.doubt);
	assert_text("f", "renamed");
	assert_int_equal(t->stat(t, "f", &st), 0);
	assert_int_equal(st.mode, 0644);
	/* An inode with another name is not only ours to change: made anew. */
	put("f", "one");
	another_link();
	believe("f");
	ino = inode_of("f");
	assert_int_equal(go("f"), APPLY_DONE);
	assert_true(inode_of("f") != ino && inode_of("elsewhere") == ino);
	assert_int_equal(t->stat(t, "elsewhere", &st), 0);
	assert_int_equal(st.mode, 0644);
	/* An edit that the record does not know of. */
	believe("f");
	put("f", "two");
	want.mode = 0640;
	assert_int_equal(go("f"), APPLY_STRANGE);
	assert_text("f", "two");
	assert_int_equal(count_in(".clonesync/tmp"), 0);
}

/* Another name of a file that has all that is wanted; not of one that somebody writes into, or that is another by now. */
static void linking(void **state)
{
	struct tree_stat st;
	uint64_t ino;
	int fd;

	(void)state;
	put("g", "one");
	put("f", "old");
	assert_int_equal(t->stat(t, "g", &st), 0);
	item.link_stat = st.id;
	ino = st.id.ino;
	believe("f");
	want_file("one");
	want.mode = 0644;
	want.mtime_s = st.id.mtime_s;
	want.mtime_ns = st.id.mtime_ns;
	item.known = true;
	item.link_from = "g";
	fd = open(at("g"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(go("f"), APPLY_BUSY);
	close(fd);
	assert_text("f", "old");
	assert_int_equal(go("f"), APPLY_DONE);
	assert_true(inode_of("f") == ino && item.now.ino == ino && item.now.links == 2 && !item.doubt);
	assert_int_equal(count_in(".clonesync/tmp"), 0);
	/* g is not what it was: made instead, and g stays as it is. */
	put("g", "else!");
	believe("f");
	assert_int_equal(go("f"), APPLY_DONE);
	assert_true(inode_of("f") != ino);
	assert_text("f", "one");
	assert_text("g", "else!");
	assert_int_equal(count_in(".clonesync/tmp"), 0);
}

static void rewrite_g(void)
{
	rewrite("g", "ONE");
}

static void link_wanted(void)
{
	struct tree_stat st;

	assert_int_equal(t->stat(t, "g", &st), 0);
	item.link_stat = st.id;
	item.link_young = false;
	want_file("one");
	want.mode = 0644;
	want.mtime_s = st.id.mtime_s;
	want.mtime_ns = st.id.mtime_ns;
	item.known = true;
	item.link_from = "g";
}

/* What it is to be a name of is looked at before it is: nothing but the ctime may tell that it is not what it was. */
static void linking_to_what_was_edited(void **state)
{
	uint64_t ino;

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		put("g", "one");
		put("f", "old");
		believe("f");
		usleep(30000);
		link_wanted();
		if (k == 0)
			rewrite_g();
		else if (k == 1) /* in the very tick of its record */
			item.link_young = true, rewrite("g", "ONE"), item.link_stat.ctime_s = 0;
		else
			before_link = rewrite_g; /* it has to wait */
		ino = inode_of("g");
		if (k < 2) { /* made instead */
			assert_int_equal(go("f"), APPLY_DONE);
			assert_true(inode_of("f") != ino);
			assert_text("f", "one");
			assert_text("g", "ONE");
		} else {
			assert_int_equal(go("f"), APPLY_BUSY);
			assert_text("f", "old");
			assert_text("g", "one");
		}
		assert_int_equal(count_in(".clonesync/tmp"), 0);
		assert_int_equal(unlink(at("f")), 0);
		assert_int_equal(unlink(at("g")), 0);
	}
	/* A record from the tick of its last write says enough where the content does. */
	put("g", "one");
	put("f", "old");
	believe("f");
	link_wanted();
	item.link_young = true;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_true(inode_of("f") == inode_of("g"));
}

static void deleting(void **state)
{
	(void)state;
	put("f", "one");
	believe("f");
	want.deleted = true;
	item.want = &want;
	item.known = true;
	assert_int_equal(go("f"), APPLY_DONE);
	assert_int_equal(access(at("f"), F_OK), -1);
	assert_int_equal(count_in(".clonesync/trash"), 1); /* always */
	put("f", "new");
	assert_int_equal(go("f"), APPLY_STRANGE);
	assert_text("f", "new");
	/* A directory goes when it is empty. */
	assert_int_equal(mkdir(at("d"), 0755), 0);
	put("d/f", "x");
	believe("d");
	want.kind = ENTRY_DIR;
	assert_int_equal(go("d"), APPLY_STRANGE);
	assert_text("d/f", "x");
	assert_int_equal(unlink(at("d/f")), 0);
	assert_int_equal(go("d"), APPLY_DONE);
	assert_int_equal(access(at("d"), F_OK), -1);
}

static void a_file_for_a_directory(void **state)
{
	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	believe("d");
	put("d/late", "x"); /* after it was looked at */
	want_file("file");
	item.known = true;
	assert_int_equal(go("d"), APPLY_STRANGE);
	assert_text("d/late", "x");
	assert_int_equal(unlink(at("d/late")), 0);
	assert_int_equal(go("d"), APPLY_DONE);
	assert_text("d", "file");
	believe("d");
	entry_free(&want);
	want.kind = ENTRY_DIR;
	want.mode = 0750;
	want.uid = getuid();
	want.gid = getgid();
	assert_int_equal(go("d"), APPLY_DONE);
	assert_int_equal(mkdir(at("d/e"), 0755), 0);
	assert_int_equal(count_in(".clonesync/tmp"), 0);
}

#define MANY 10

static bool refuse_together;
static unsigned together, each, in_tree[4];

static int counted_sync_all(struct tree *x)
{
	assert_true(together < 4);
	in_tree[together++] = count_in("");
	return refuse_together ? -EOPNOTSUPP : real.sync_all(x);
}

static int counted_sync_file(struct tree_file *f)
{
	if (count_in("") == 0) /* before any has its name */
		each++;
	return real.sync_file(f);
}

/* Many are made, synced by one call, moved, and their names synced by another; where there is no such call each is synced, and before any is moved. */
static void many(void **state)
{
	char paths[MANY][8];

	(void)state;
	t->sync_all = counted_sync_all;
	t->sync_file = counted_sync_file;
	for (unsigned round = 0; round < 2; round++) {
		struct apply_item items[MANY];

		refuse_together = round == 1;
		together = each = 0;
		want_file("one of many");
		for (unsigned i = 0; i < MANY; i++) {
			items[i] = item;
			snprintf(paths[i], sizeof paths[i], "f%u", i);
			snprintf(items[i].temp, sizeof items[i].temp, "m-%u", i);
			items[i].path = paths[i];
		}
		items[3].bytes = "not of many"; /* it is found out before anything is made */
		apply(t, env_system(), 0, items, MANY);
		for (unsigned i = 0; i < MANY; i++) {
			assert_int_equal(items[i].outcome, i == 3 ? APPLY_NO_CONTENT : APPLY_DONE);
			if (i == 3)
				continue;
			assert_int_equal(items[i].rc, 0);
			assert_false(items[i].doubt);
			assert_text(paths[i], "one of many");
			assert_int_equal(unlink(at(paths[i])), 0);
		}
		assert_int_equal(together, 2);
		assert_int_equal(in_tree[0], 0);
		assert_int_equal(in_tree[1], MANY - 1);
		assert_int_equal(each, refuse_together ? MANY - 1 : 0);
		assert_int_equal(count_in(".clonesync/tmp"), 0);
	}
}

static int refused_sync_dir(struct tree *x, const char *path)
{
	(void)x;
	(void)path;
	return -EIO;
}

/* A name that a loss of power might take back is no success: nobody may be told that it is there. */
static void a_name_not_durable(void **state)
{
	(void)state;
	t->sync_dir = refused_sync_dir;
	want_file("new");
	assert_int_equal(go("f"), APPLY_FAILED);
	assert_int_equal(item.rc, -EIO);
	assert_text("f", "new");
	t->sync_dir = real.sync_dir;
	believe("f");
	want_file("newer");
	item.known = true;
	t->sync_dir = refused_sync_dir;
	assert_int_equal(go("f"), APPLY_FAILED);
	assert_text("f", "newer");
	assert_int_equal(count_in(".clonesync/tmp"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_new_file, setup, teardown), cmocka_unit_test_setup_teardown(replacing, setup, teardown),
		cmocka_unit_test_setup_teardown(an_edit_meanwhile, setup, teardown), cmocka_unit_test_setup_teardown(an_open_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hidden_edit_meanwhile, setup, teardown), cmocka_unit_test_setup_teardown(a_chmod_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_write_in_the_tick, setup, teardown), cmocka_unit_test_setup_teardown(another_name_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(half_made, setup, teardown),
		cmocka_unit_test_setup_teardown(in_place, setup, teardown), cmocka_unit_test_setup_teardown(linking, setup, teardown),
		cmocka_unit_test_setup_teardown(linking_to_what_was_edited, setup, teardown), cmocka_unit_test_setup_teardown(deleting, setup, teardown), cmocka_unit_test_setup_teardown(a_file_for_a_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(many, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_not_durable, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
