/*
 * test_replica_trash.c - the trash of a real directory: whole paths, whatever bytes and however long; what a crash, a torn note, a lost note leave; restoring without
 * overwriting; what goes when, by a clock that no wall clock moves.
 */
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

#include "trash.h"

#define HOUR_NS 3600000000000ull

static char root[64];
static struct tree *t;
static const uint8_t boot[2][TRASH_BOOT_BYTES] = { "first boot", "second boot" };

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
	strcpy(root, "/var/tmp/replica-trash.XXXXXX");
	return !mkdtemp(root) || tree_posix_open(root, &t) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	t->free(t);
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *path)
{
	static char b[2][5000];
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
	char b[64] = "";
	int fd = open(at(path), O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, b, sizeof b - 1) >= 0);
	close(fd);
	assert_string_equal(b, text);
}

/* As the core does it: noted, taken out, moved. */
static void throw_away(const char *path, const char *temp, enum trash_why why, uint64_t clock_ns)
{
	struct trash_note n = { temp, path, why, 1700000000000000ull, clock_ns };

	assert_int_equal(trash_note(t, &n, 1, true), 0);
	assert_int_equal(t->withdraw(t, path, temp), 0);
	assert_int_equal(t->trash(t, temp, temp), 0);
}

struct found { const char *name; struct trash_item item; char path[ENTRY_PATH_MAX + 1]; unsigned count; };

static int find(void *user, const struct trash_item *item)
{
	struct found *f = user;

	f->count++;
	if (!f->name || strcmp(f->name, item->note.name) == 0) {
		f->item = *item;
		strcpy(f->path, item->note.path);
	}
	return 0;
}

static struct found look(const char *name)
{
	struct found f = { .name = name };

	assert_int_equal(trash_list(t, find, &f), 0);
	return f;
}

static struct trash_state tend(unsigned which_boot, uint64_t boot_ns, uint64_t clock_ns, uint64_t keep_ns, uint64_t most_bytes)
{
	struct trash_rules r = { boot[which_boot], boot_ns, clock_ns, 5, keep_ns, most_bytes };
	struct trash_state s;

	assert_int_equal(trash_tend(t, &r, &s), 0);
	return s;
}

static void whole_paths(void **state)
{
	char deep[1100], odd[300], last[300], got[ENTRY_PATH_MAX + 1];
	struct found f;

	(void)state;
	memset(deep, 0, sizeof deep);
	for (int i = 0; i < 4; i++) { /* names of 255 bytes, of any byte */
		memset(odd, 0, sizeof odd);
		for (int k = 0; k < 255; k++) {
			odd[k] = (char)(1 + (i * 60 + k) % 255);
			if (odd[k] == '/')
				odd[k] = 'x';
		}
		strcat(strcat(deep, i ? "/" : ""), odd);
		if (i < 3)
			assert_int_equal(mkdir(at(deep), 0755), 0);
	}
	put(deep, "deep");
	strcpy(last, odd);
	put("a", "short");
	throw_away(deep, "x-1", TRASH_DELETED, 7);
	throw_away("a", "x-2", TRASH_CONFLICT, 8);
	f = look("x-1");
	assert_int_equal(f.count, 2);
	assert_string_equal(f.path, deep);
	assert_int_equal(f.item.note.why, TRASH_DELETED);
	assert_int_equal(f.item.size, 4);
	assert_int_equal(f.item.kind, ENTRY_FILE);
	assert_int_equal(f.item.note.wall_us, 1700000000000000ull);
	assert_int_equal(look("x-2").item.note.why, TRASH_CONFLICT);
	/* Directories on the way are made again. */
	for (int i = 0; i < 3; i++) {
		*strrchr(deep, '/') = '\0';
		assert_int_equal(rmdir(at(deep)), 0);
	}
	assert_int_equal(trash_restore(t, env_system(), "x-1", NULL, got), 0);
	assert_text(got, "deep");
	assert_string_equal(strrchr(got, '/') + 1, last);
	assert_int_equal(trash_restore(t, env_system(), "x-1", NULL, got), -ENOENT);
}

static void never_over_anything(void **state)
{
	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	put("d/f", "old");
	throw_away("d/f", "x-1", TRASH_DELETED, 1);
	put("d/f", "new");
	assert_int_equal(trash_restore(t, env_system(), "x-1", NULL, NULL), -EEXIST);
	assert_text("d/f", "new");
	assert_int_equal(trash_restore(t, env_system(), "x-1", "d/f/g", NULL), -ENOTDIR);
	assert_int_equal(trash_restore(t, env_system(), "x-1", "../f", NULL), -EINVAL);
	assert_int_equal(trash_restore(t, env_system(), "x-1", ".clonesync/f", NULL), -EINVAL);
	assert_int_equal(symlink("/var/tmp", at("out")), 0);
	assert_int_equal(trash_restore(t, env_system(), "x-1", "out/replica-trash-escaped", NULL), -ENOTDIR);
	assert_int_equal(trash_restore(t, env_system(), "../token", "t", NULL), -ENOENT);
	assert_int_equal(look("x-1").count, 1);
	assert_int_equal(trash_restore(t, env_system(), "x-1", "e/f", NULL), 0);
	assert_text("e/f", "old");
	assert_text("d/f", "new");
}

/* The process dies before the move; the index is of no use; the note is there. */
static void a_crash_between(void **state)
{
	struct trash_note n = { "x-1", "d/f", TRASH_CONFLICT, 1, 5 };

	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	put("d/f", "edit");
	assert_int_equal(trash_note(t, &n, 1, true), 0);
	assert_int_equal(t->withdraw(t, "d/f", "x-1"), 0);
	t->free(t);
	assert_int_equal(tree_posix_look(root, &t), 0); /* who only looks moves nothing */
	assert_text(".clonesync/tmp/x-1", "edit");
	t->free(t);
	assert_int_equal(tree_posix_open(root, &t), 0);
	assert_string_equal(look("x-1").path, "d/f");
	assert_int_equal(trash_restore(t, env_system(), "x-1", NULL, NULL), 0);
	assert_text("d/f", "edit");
}

static int no_space(struct tree *x, const char *temp, const char *name)
{
	(void)x;
	(void)temp;
	(void)name;
	return -ENOSPC;
}

static void what_found_no_space(void **state)
{
	struct trash_rules r = { boot[0], 1, 1, 1, HOUR_NS, 0 };
	struct trash_note n = { "x-1", "f", TRASH_DELETED, 1, 1 };
	struct tree real = *t;
	struct trash_state s;

	(void)state;
	put("f", "kept");
	assert_int_equal(trash_note(t, &n, 1, true), 0);
	assert_int_equal(t->withdraw(t, "f", "x-1"), 0);
	assert_int_equal(t->make_dir(t, "x-2"), 0); /* an empty directory is nothing */
	put(".clonesync/tmp/f-1", "being fetched");
	t->trash = no_space;
	assert_int_equal(trash_tend(t, &r, &s), -ENOSPC);
	assert_true(s.stuck);
	assert_text(".clonesync/tmp/x-1", "kept");
	t->trash = real.trash;
	assert_int_equal(trash_tend(t, &r, &s), 0);
	assert_false(s.stuck);
	assert_int_equal(s.items, 1);
	assert_string_equal(look("x-1").path, "f");
	assert_text(".clonesync/tmp/f-1", "being fetched");
	assert_int_equal(access(at(".clonesync/tmp/x-2"), F_OK), -1);
}

static int note_no_space(struct tree *x, const void *p, size_t len, bool sync)
{
	(void)x;
	(void)p;
	(void)len;
	(void)sync;
	return -ENOSPC;
}

static int (*really_remove)(struct tree *x, const char *name);

static int remove_but_one(struct tree *x, const char *name)
{
	return strcmp(name, "x-1") == 0 ? -EIO : really_remove(x, name);
}

/* Where the disk is full the trash is what makes room: no note that cannot be written, and no item that cannot be removed, keeps others from going. */
static void purging_a_full_disk(void **state)
{
	struct trash_rules r = { boot[0], 1, 5 * HOUR_NS, 1, HOUR_NS, 0 };
	struct tree real = *t;
	struct trash_state s;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		char name[8], temp[8];

		snprintf(name, sizeof name, "f%u", i);
		snprintf(temp, sizeof temp, "x-%u", i);
		put(name, "old");
		throw_away(name, temp, TRASH_DELETED, 1);
	}
	put("g", "without a note");
	assert_int_equal(t->withdraw(t, "g", "x-3"), 0);
	assert_int_equal(t->trash(t, "x-3", "x-3"), 0);
	really_remove = real.remove_trash;
	t->remove_trash = remove_but_one;
	t->note = note_no_space;
	assert_int_equal(trash_tend(t, &r, &s), -ENOSPC);
	assert_true(s.removed == 2 && s.items == 2 && !s.stuck);
	t->note = real.note;
	assert_int_equal(trash_tend(t, &r, &s), -EIO);
	t->remove_trash = real.remove_trash;
	assert_int_equal(trash_tend(t, &r, &s), 0);
	assert_true(s.removed == 1 && s.items == 1);
	assert_text(".clonesync/trash/x-3", "without a note");
}

/* One thing that cannot be put away is no reason not to begin. */
static void a_bad_temp(void **state)
{
	struct trash_rules r = { boot[0], 1, 1, 1, HOUR_NS, 0 };
	struct trash_state s;

	(void)state;
	assert_int_equal(mkdir(at(".clonesync/tmp/x-1"), 0755), 0);
	assert_int_equal(mkdir(at(".clonesync/trash/x-1"), 0755), 0);
	put(".clonesync/tmp/x-1/f", "new");
	put(".clonesync/trash/x-1/f", "old");
	put(".clonesync/tmp/x-2", "edit");
	put(".clonesync/tmp/m-3", "half");
	t->free(t);
	assert_int_equal(tree_posix_open(root, &t), 0);
	assert_text(".clonesync/tmp/x-1/f", "new");
	assert_text(".clonesync/trash/x-1/f", "old");
	assert_text(".clonesync/trash/x-2", "edit");
	assert_int_equal(access(at(".clonesync/tmp/m-3"), F_OK), -1);
	assert_int_equal(trash_tend(t, &r, &s), -EEXIST);
	assert_true(s.stuck && s.items == 2);
	assert_int_equal(unlink(at(".clonesync/trash/x-1/f")), 0);
	assert_int_equal(rmdir(at(".clonesync/trash/x-1")), 0);
	assert_int_equal(trash_tend(t, &r, &s), 0);
	assert_text(".clonesync/trash/x-1/f", "new");
}

/* Notes that are torn or wrong take nothing but themselves. */
static void torn_notes(void **state)
{
	static const char junk[] = "\x43\x6c\x43\x54\x10\0\0\0 torn ClCT\0\0";
	int fd;

	(void)state;
	put("a", "a");
	put("b", "b");
	put("c", "c");
	throw_away("a", "x-1", TRASH_DELETED, 1);
	fd = open(at(".clonesync/trash.notes"), O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, junk, sizeof junk), (ssize_t)sizeof junk);
	close(fd);
	throw_away("b", "x-2", TRASH_DELETED, 2);
	assert_int_equal(t->withdraw(t, "c", "x-3"), 0);
	assert_int_equal(t->trash(t, "x-3", "x-3"), 0);
	assert_string_equal(look("x-1").path, "a");
	assert_string_equal(look("x-2").path, "b");
	/* Without a note: listed, kept from now on, restored to where one says. */
	assert_int_equal(look("x-3").count, 3);
	assert_int_equal(look("x-3").item.note.why, TRASH_UNKNOWN);
	assert_int_equal(trash_restore(t, env_system(), "x-3", NULL, NULL), -ENODATA);
	assert_int_equal(tend(0, 1, 100 * HOUR_NS, 200 * HOUR_NS, 0).removed, 0);
	assert_int_equal(tend(0, 1, 250 * HOUR_NS, 200 * HOUR_NS, 0).removed, 2);
	assert_int_equal(trash_restore(t, env_system(), "x-3", "c", NULL), 0);
	assert_text("c", "c");
	assert_int_equal(unlink(at(".clonesync/trash.notes")), 0);
	assert_int_equal(look(NULL).count, 0);
}

static void only_time_that_passed(void **state)
{
	struct trash_clock c;

	(void)state;
	assert_int_equal(trash_clock_load(t, boot[0], 50 * HOUR_NS, &c), 0);
	assert_int_equal(trash_clock_ns(&c, 50 * HOUR_NS), 0);
	put("f", "f");
	throw_away("f", "x-1", TRASH_DELETED, trash_clock_ns(&c, 51 * HOUR_NS));
	assert_int_equal(tend(0, 52 * HOUR_NS, trash_clock_ns(&c, 52 * HOUR_NS), 5 * HOUR_NS, 0).items, 1);
	/* The process was away for three hours; the machine was not. */
	assert_int_equal(trash_clock_load(t, boot[0], 55 * HOUR_NS, &c), 0);
	assert_int_equal(trash_clock_ns(&c, 55 * HOUR_NS), 5 * HOUR_NS);
	/* Another boot, however long after, by whatever wall clock: what was written down last goes on. */
	assert_int_equal(trash_clock_load(t, boot[1], 3 * HOUR_NS, &c), 0);
	assert_int_equal(trash_clock_ns(&c, 3 * HOUR_NS), 2 * HOUR_NS);
	assert_int_equal(trash_clock_ns(&c, HOUR_NS), 2 * HOUR_NS); /* nor does it go back */
	assert_int_equal(tend(1, 6 * HOUR_NS, trash_clock_ns(&c, 6 * HOUR_NS) - 1, 5 * HOUR_NS + HOUR_NS, 0).items, 1);
	assert_int_equal(tend(1, 8 * HOUR_NS, trash_clock_ns(&c, 8 * HOUR_NS), 6 * HOUR_NS, 0).items, 0);
	assert_int_equal(look(NULL).count, 0);
}

static void a_limit_of_size(void **state)
{
	char big[1001];

	(void)state;
	memset(big, 'b', 1000);
	big[1000] = '\0';
	for (unsigned i = 0; i < 4; i++) {
		char name[8], temp[8];

		snprintf(name, sizeof name, "f%u", i);
		snprintf(temp, sizeof temp, "x-%u", i);
		put(name, big);
		throw_away(name, temp, TRASH_DELETED, i * 10 * HOUR_NS);
	}
	/* At 40 h they are 40, 30, 20 and 10 h old: what is younger than a day stays, whatever the limit. */
	assert_int_equal(tend(0, 1, 40 * HOUR_NS, 1000 * HOUR_NS, 3500).removed, 1);
	assert_int_equal(tend(0, 1, 40 * HOUR_NS, 1000 * HOUR_NS, 10).removed, 1);
	assert_int_equal(look("x-2").count, 2);
	assert_int_equal(tend(0, 1, 40 * HOUR_NS, 1000 * HOUR_NS, 0).removed, 0);
}

static void directories_go_whole(void **state)
{
	char path[200] = "d";

	(void)state;
	assert_int_equal(mkdir(at(path), 0755), 0);
	put("d/f", "f");
	assert_int_equal(mkdir(at("d/empty"), 0755), 0);
	for (int i = 0; i < 30; i++) {
		strcat(path, "/e");
		assert_int_equal(mkdir(at(path), 0755), 0);
	}
	assert_int_equal(symlink("f", at("d/e/l")), 0);
	throw_away("d", "x-1", TRASH_CONFLICT, 1);
	assert_int_equal(look("x-1").item.kind, ENTRY_DIR);
	assert_int_equal(trash_restore(t, env_system(), "x-1", NULL, NULL), 0);
	assert_text("d/f", "f");
	throw_away("d", "x-2", TRASH_CONFLICT, 1);
	assert_int_equal(trash_remove(t, "x-2"), 0);
	assert_int_equal(look(NULL).count, 0);
	assert_int_equal(trash_remove(t, "x-2"), -ENOENT);
	assert_int_equal(trash_remove(t, "../token"), -EINVAL);
	assert_int_equal(trash_remove(t, ".."), -EINVAL);
}

/* Notes of what is not there any more do not grow for ever; those of what is are not lost by that. */
static void notes_are_shortened(void **state)
{
	struct stat before, after;

	(void)state;
	put("f", "f");
	throw_away("f", "x-keep", TRASH_DELETED, 1);
	for (unsigned i = 0; i < 2000; i++) {
		char temp[16];
		struct trash_note n = { temp, "some/where/else", TRASH_CONFLICT, 1, 1 };

		snprintf(temp, sizeof temp, "x-%u", i);
		assert_int_equal(trash_note(t, &n, 1, false), 0);
	}
	assert_int_equal(stat(at(".clonesync/trash.notes"), &before), 0);
	tend(0, 1, 2, HOUR_NS, 0);
	assert_int_equal(stat(at(".clonesync/trash.notes"), &after), 0);
	assert_true(after.st_size < before.st_size / 100);
	assert_string_equal(look("x-keep").path, "f");
	assert_int_equal(look("x-keep").item.note.clock_ns, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_paths, setup, teardown), cmocka_unit_test_setup_teardown(never_over_anything, setup, teardown),
		cmocka_unit_test_setup_teardown(a_crash_between, setup, teardown), cmocka_unit_test_setup_teardown(what_found_no_space, setup, teardown),
		cmocka_unit_test_setup_teardown(purging_a_full_disk, setup, teardown), cmocka_unit_test_setup_teardown(a_bad_temp, setup, teardown),
		cmocka_unit_test_setup_teardown(torn_notes, setup, teardown), cmocka_unit_test_setup_teardown(only_time_that_passed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_limit_of_size, setup, teardown), cmocka_unit_test_setup_teardown(directories_go_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(notes_are_shortened, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
