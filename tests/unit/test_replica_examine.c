/* test_replica_examine.c - what is at a path: every verdict, on a real directory, with writers who come in between. */
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

#include "err.h"
#include "examine.h"

static char root[64];
static struct tree *t, real;
static struct env env;
static struct examine_result res;
static struct index_record rec;

static uint64_t far_future(struct env *e)
{
	(void)e;
	return UINT64_C(4000000000) * 1000000000; /* nothing here is suspect unless a test wants it */
}

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
	strcpy(root, "/var/tmp/replica-examine.XXXXXX");
	env = *env_system();
	env.real_ns = far_future;
	examine_result_init(&res);
	index_record_init(&rec);
	if (!mkdtemp(root) || tree_posix_open(root, &t))
		return -1;
	real = *t;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	examine_result_free(&res);
	index_record_free(&rec);
	t->free(t);
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *path)
{
	static char b[200];

	snprintf(b, sizeof b, "%s/%s", root, path);
	return b;
}

static void put(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static enum examine_verdict look(const char *path, bool anyway, bool take_busy)
{
	struct examine_options o = { .hash_anyway = anyway, .take_busy = take_busy };

	assert_int_equal(examine(t, &env, path, &rec, &o, &res), 0);
	return res.verdict;
}

/* The record becomes what was just found. What comes after is in another tick of the kernel's clock, as for all that is not suspect. */
static void learn(void)
{
	usleep(20000);
	index_record_free(&rec);
	assert_int_equal(entry_copy(&res.found, &rec.known), 0);
	rec.held = true;
	rec.stat = res.stat.id;
}

static void expect_hash(const char *text)
{
	uint8_t block[HASH_BYTES], hash[HASH_BYTES];

	hash_blake2b(text, strlen(text), block);
	hash_blake2b(block, HASH_BYTES, hash);
	assert_memory_equal(res.found.hash, hash, HASH_BYTES);
}

static void a_file(void **state)
{
	struct timespec times[2];
	struct stat st;

	(void)state;
	assert_int_equal(look("f", false, false), EXAMINE_GONE);
	put("f", "one");
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	assert_true(res.read && !res.suspect && res.found.size == 3 && res.blocks.len == 0);
	expect_hash("one");
	learn();
	assert_int_equal(look("f", false, false), EXAMINE_SAME);
	assert_false(res.read);
	assert_int_equal(look("f", true, false), EXAMINE_SAME);
	assert_true(res.read);
	/* Metadata alone. */
	assert_int_equal(chmod(at("f"), 0600), 0);
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	assert_int_equal(res.found.mode, 0600);
	expect_hash("one");
	learn();
	/* Back and forth: the ctime is new, nothing else; SAME says what to remember. */
	assert_int_equal(chmod(at("f"), 0644) | chmod(at("f"), 0600), 0);
	assert_int_equal(look("f", false, false), EXAMINE_SAME);
	assert_memory_not_equal(&res.stat.id, &rec.stat, sizeof rec.stat);
	rec.stat = res.stat.id;
	usleep(20000);
	/* Other bytes, the same size, and the old mtime set back by the writer. */
	assert_int_equal(stat(at("f"), &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	put("f", "two");
	assert_int_equal(utimensat(AT_FDCWD, at("f"), times, 0), 0);
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	expect_hash("two");
	/* Other kinds under its name. */
	assert_int_equal(unlink(at("f")), 0);
	assert_int_equal(look("f", false, false), EXAMINE_GONE);
	assert_int_equal(mkfifo(at("f"), 0644), 0);
	assert_int_equal(look("f", false, false), EXAMINE_OTHER);
	assert_int_equal(unlink(at("f")), 0);
	assert_int_equal(symlink("x", at("f")), 0);
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	assert_int_equal(res.found.kind, ENTRY_SYMLINK);
	learn();
	assert_int_equal(look("f", false, false), EXAMINE_SAME);
	assert_int_equal(look("f/below", false, false), EXAMINE_GONE);
}

static void a_directory(void **state)
{
	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	assert_int_equal(look("d", false, false), EXAMINE_CHANGED);
	assert_int_equal(res.found.kind, ENTRY_DIR);
	learn();
	put("d/f", "x"); /* its mtime is no change of its own */
	assert_int_equal(look("d", false, false), EXAMINE_SAME);
	assert_int_equal(chmod(at("d"), 0700), 0);
	assert_int_equal(look("d", false, false), EXAMINE_CHANGED);
}

/* A record that is not held: what lies there is compared with what lay there, not with what is wanted. */
static void not_held(void **state)
{
	(void)state;
	put("f", "one");
	look("f", false, false);
	learn();
	assert_int_equal(entry_copy(&rec.known, &rec.disk), 0);
	rec.held = false;
	rec.on_disk = true;
	memset(rec.known.hash, 9, HASH_BYTES);
	assert_int_equal(look("f", false, false), EXAMINE_SAME);
	put("f", "three");
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	rec.on_disk = false; /* nothing of ours was there */
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
}

static void writers(void **state)
{
	struct tree_file *f;
	int fd;

	(void)state;
	put("f", "one");
	assert_int_equal(t->open(t, "f", &f), 0);
	if (t->quiet(f) == -ENOTSUP) {
		print_message("# SKIP host: the file system of /var/tmp has no leases\n");
		t->close(f);
		skip();
	}
	t->close(f);
	fd = open(at("f"), O_WRONLY | O_APPEND);
	assert_int_equal(look("f", false, false), EXAMINE_BUSY);
	assert_int_equal(look("f", false, true), EXAMINE_CHANGED);
	assert_true(res.found.unsettled);
	learn();
	assert_int_equal(look("f", false, false), EXAMINE_BUSY); /* still, and not taken for the same */
	close(fd);
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	assert_false(res.found.unsettled);
	expect_hash("one");
}

/* --- who comes in between --- */

static int interloper;

static int64_t read_and_be_disturbed(struct tree_file *f, void *buf, size_t len, uint64_t off)
{
	int64_t n = real.read(f, buf, len, off);

	if (interloper == 1) { /* a writer: it waits for the lease, so without waiting */
		int fd = open(at("f"), O_WRONLY | O_NONBLOCK);

		assert_true(fd < 0 && errno == EWOULDBLOCK);
	} else if (interloper == 2) {
		assert_int_equal(chmod(at("f"), 0711), 0);
	}
	interloper = 0;
	return n;
}

static int no_leases(struct tree_file *f)
{
	(void)f;
	return -ENOTSUP;
}

static int64_t read_error(struct tree_file *f, void *buf, size_t len, uint64_t off)
{
	(void)f;
	(void)buf;
	(void)len;
	(void)off;
	return -EIO;
}

static void in_between(void **state)
{
	struct examine_options o = { 0 };
	atomic_bool stop = true;
	struct tree_file *f;
	int leases;

	(void)state;
	put("f", "one");
	assert_int_equal(t->open(t, "f", &f), 0);
	leases = t->quiet(f);
	t->close(f);
	t->read = read_and_be_disturbed;
	if (leases == 1) {
		interloper = 1;
		assert_int_equal(look("f", false, false), EXAMINE_BUSY);
		assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	}
	t->quiet = no_leases;
	interloper = 2;
	assert_int_equal(look("f", false, false), EXAMINE_BUSY); /* something about it changed while it was read */
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	t->read = read_error;
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), -EIO);
	o.stop = &stop;
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), -ECANCELED);
	/* A young mtime: to be looked at again. */
	*t = real;
	env.real_ns = env_system()->real_ns;
	put("g", "fresh");
	assert_int_equal(look("g", false, false), EXAMINE_CHANGED);
	assert_true(res.suspect);
}

/* --- large and sparse files: the hash is that of the bytes, holes or not --- */

static void blocks(void **state)
{
	uint8_t *b = calloc(1, 5u * ENTRY_BLOCK_BYTES_MIN), list[5 * HASH_BYTES], hash[HASH_BYTES];
	uint32_t size = 4 * ENTRY_BLOCK_BYTES_MIN + 777;
	int fd = open(at("f"), O_RDWR | O_CREAT, 0644);

	(void)state;
	assert_true(b && fd >= 0);
	memset(b + ENTRY_BLOCK_BYTES_MIN, 'x', 10);
	memset(b + 4 * ENTRY_BLOCK_BYTES_MIN, 'y', 777);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, b + ENTRY_BLOCK_BYTES_MIN, 10, ENTRY_BLOCK_BYTES_MIN), 10);
	assert_int_equal(pwrite(fd, b + 4 * ENTRY_BLOCK_BYTES_MIN, 777, 4 * ENTRY_BLOCK_BYTES_MIN), 777);
	close(fd);
	for (uint32_t i = 0; i < 5; i++)
		hash_blake2b(b + i * ENTRY_BLOCK_BYTES_MIN, i < 4 ? ENTRY_BLOCK_BYTES_MIN : 777, list + i * HASH_BYTES);
	hash_blake2b(list, sizeof list, hash);
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	assert_memory_equal(res.found.hash, hash, HASH_BYTES);
	assert_int_equal(res.blocks.len, sizeof list);
	assert_memory_equal(res.blocks.data, list, sizeof list);
	/* The same bytes without holes. */
	fd = open(at("g"), O_RDWR | O_CREAT, 0644);
	assert_int_equal(write(fd, b, size), size);
	close(fd);
	assert_int_equal(look("g", false, false), EXAMINE_CHANGED);
	assert_memory_equal(res.found.hash, hash, HASH_BYTES);
	free(b);
}

/* Who changes a mode in the tick in which the record was made leaves no trace in the stat that is compared. */
static void mode_in_the_same_tick(void **state)
{
	(void)state;
	put("f", "text");
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	learn();
	assert_int_equal(chmod(at("f"), 0600), 0);
	assert_int_equal(t->stat(t, "f", &res.stat), 0);
	rec.stat = res.stat.id;
	assert_int_equal(look("f", false, false), EXAMINE_CHANGED);
	assert_int_equal(res.found.mode, 0600);
	assert_false(res.read); /* the content has not changed, for all that is seen */
	expect_hash("text");
	learn();
	assert_int_equal(look("f", false, false), EXAMINE_SAME);
}

/* What takes long is read apart, and believed for the very file that was read. */
static void apart(void **state)
{
	struct examine_hashed h = { .blocks = BUF_INIT };
	struct examine_options o = { .apart = 3 };
	struct timespec times[2];
	struct stat st;
	char was[200];
	int fd;

	(void)state;
	put("f", "ab");
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_CHANGED);
	put("f", "one");
	usleep(30000);
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_LONG);
	assert_int_equal(res.stat.id.size, 3);
	assert_false(res.suspect); /* by its own clock, far in the future */
	assert_int_equal(examine_apart(t, &env, "none", NULL, &h), -EBUSY);
	fd = open(at("f"), O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(examine_apart(t, &env, "f", NULL, &h), -EBUSY);
	close(fd);
	assert_int_equal(examine_apart(t, &env, "f", NULL, &h), 0);
	o.hashed = &h;
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_CHANGED);
	assert_true(res.read);
	expect_hash("one");
	/* Other bytes, the same size, and the mtime set back: not what was read. */
	assert_int_equal(stat(at("f"), &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	put("f", "two");
	assert_int_equal(utimensat(AT_FDCWD, at("f"), times, 0), 0);
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_LONG);
	/* So young that a change after it might not show: suspect. */
	env.real_ns = env_system()->real_ns;
	put("f", "six");
	assert_int_equal(examine(t, &env, "f", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_LONG);
	assert_true(res.suspect);
	assert_int_equal(examine_apart(t, &env, "f", NULL, &h), 0);
	assert_true(h.suspect);
	/* So is what was moved here a moment ago, until two ticks are over. */
	usleep(50000);
	snprintf(was, sizeof was, "%s", at("f"));
	assert_int_equal(rename(was, at("g")), 0);
	assert_int_equal(examine(t, &env, "g", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_LONG);
	assert_true(res.suspect);
	usleep(50000);
	assert_int_equal(examine(t, &env, "g", NULL, &o, &res), 0);
	assert_int_equal(res.verdict, EXAMINE_LONG);
	assert_false(res.suspect);
	examine_hashed_free(&h);
}

/* A time of a file may be any number of seconds, and is never so much that it is near again. */
static void times_far_away(void **state)
{
	const int64_t times[] = { INT64_MIN, INT64_MIN / 1000000000, -1, 0, 1, INT64_MAX / 1000000000, INT64_MAX };
	uint64_t now = 1700000000123456789ull;

	(void)state;
	for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
		struct index_stat s = { .ctime_s = times[i], .ctime_ns = 999999999 };

		assert_int_equal(examine_young(now, &s), times[i] > 1700000000);
	}
	assert_true(examine_young(now, &(struct index_stat){ .ctime_s = 1700000000, .ctime_ns = 123456789 - EXAMINE_SUSPECT_NS + 1 }));
	assert_false(examine_young(now, &(struct index_stat){ .ctime_s = 1700000000, .ctime_ns = 123456789 - EXAMINE_SUSPECT_NS }));
	assert_true(examine_young(now, &(struct index_stat){ .ctime_s = 1700000000, .ctime_ns = 123456790 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file, setup, teardown), cmocka_unit_test_setup_teardown(a_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(not_held, setup, teardown), cmocka_unit_test_setup_teardown(writers, setup, teardown),
		cmocka_unit_test_setup_teardown(in_between, setup, teardown), cmocka_unit_test_setup_teardown(blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(mode_in_the_same_tick, setup, teardown), cmocka_unit_test_setup_teardown(apart, setup, teardown),
		cmocka_unit_test(times_far_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
