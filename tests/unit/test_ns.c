/*
 * test_ns.c - the POSIX operations on an engine in memory: random operations against the model, and one by one what the model cannot ask
 * for: errors at limits, orphans, listings of a directory that changes.
 */
#include "../lib/fake/ns_test.h"
#include "../lib/fsmodel.h"

/* --- against the model --- */

static void tell(void *user, const char *line)
{
	(void)user;
	print_error("differs: %s\n", line);
}

static void idle(void *user)
{
	fake_arrive(user);
}

/* Runs op to its end, through whatever parks it. */
static int run_op(struct volume *v, const struct fsmodel_target *t, const struct fsop *op, struct fsop_result *res)
{
	struct answer a = { .w.resume = answered };

	for (;;) {
		int rc;

		a.done = false;
		rc = fsop_run(t, op, &a.w, res);
		if (rc != ERR_PARKED)
			return rc;
		fake_release(v, 0);
		fake_arrive(v);
		assert_true(a.done);
		assert_int_equal(a.rc, 0);
	}
}

static void random_history(uint64_t seed, unsigned steps, uint64_t mask, bool disturb)
{
	struct fake_options fo = { .name_hash_mask = mask, .keep_changes = true };
	struct fsmodel_options mo = { .times = true, .opens = true };
	struct fsmodel *m = fsmodel_new(&mo);
	struct volume *v;
	uint64_t s = seed;

	assert_int_equal(fake_open(&fo, &v), 0);
	struct fsmodel_target t = FSMODEL_TARGET(v, idle, v);
	for (unsigned n = 1; n <= steps; n++) {
		struct fsop_result res = { .now = { .tv_sec = n, .tv_nsec = (long)n } };
		struct fsop op;
		char text[400];
		int rc, want;

		if (disturb && rng_below(&s, 20) == 0)
			fake_evict(v);
		if (disturb && rng_below(&s, 20) == 0)
			fake_park(v, 1);
		fake_set_time(v, n * 1000000000ull + n);
		fsop_random(m, &s, &op);
		rc = run_op(v, &t, &op, &res);
		want = fsmodel_apply(m, &op, &res);
		fake_park(v, 0);
		if (rc != want || fake_check(v) || (n % 20 == 0 && fsmodel_compare(m, &t, tell, NULL))) {
			fsop_print(&op, text, sizeof text);
			fail_msg("seed %" PRIu64 " step %u: %s: %s, should be %s", seed, n, text, err_text(rc), err_text(want));
		}
		if (rng_below(&s, 3) == 0)
			fake_run(v);
	}
	assert_int_equal(fsmodel_compare(m, &t, tell, NULL), 0);
	fsmodel_free(m);
	finish(v);
}

static void test_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++)
		random_history(seed, 1200, 0, false);
}

static void test_model_collisions(void **state)
{
	(void)state;
	/* Two bits of hash: four buckets, so nearly every name collides; and bucket 0, whose first cookies are taken. */
	random_history(101, 1500, 3ull << 9, false);
	random_history(102, 1500, 1, false);
}

static void test_model_disturbed(void **state)
{
	(void)state;
	for (uint64_t seed = 201; seed <= 206; seed++)
		random_history(seed, 1000, 0, true);
}

/* --- errors, one by one --- */

static void test_errors_names(void **state)
{
	struct volume *v = fresh();
	uint64_t d = make(v, 1, "d", S_IFDIR | 0755), f = make(v, 1, "f", S_IFREG | 0644);
	char longest[256], target[VOLUME_SYMLINK_MAX + 2];
	struct volume_attr a;

	(void)state;
	memset(longest, 'n', sizeof longest);
	memset(target, 't', sizeof target);
	assert_int_equal(volume_lookup(v, 1, LIT("none"), &a), -ENOENT);
	assert_int_equal(volume_lookup(v, f, LIT("x"), &a), -ENOTDIR);
	assert_int_equal(volume_lookup(v, 777, LIT("x"), &a), -ENOENT);
	assert_int_equal(volume_lookup(v, 1, longest, 256, &a), -ENAMETOOLONG);
	assert_int_equal(volume_lookup(v, 1, LIT("a/b"), &a), -EINVAL);
	assert_int_equal(volume_lookup(v, d, LIT(".."), &a), 0);
	assert_int_equal(a.ino, 1);
	assert_int_equal(volume_lookup(v, d, LIT("."), &a), 0);
	assert_int_equal(a.ino, d);

	assert_int_equal(volume_mknod(v, 1, LIT("f"), S_IFREG, 0, &cred, &a, NULL), -EEXIST);
	assert_int_equal(volume_mknod(v, 1, LIT("."), S_IFDIR, 0, &cred, &a, NULL), -EEXIST);
	assert_int_equal(volume_mknod(v, 1, LIT(""), S_IFDIR, 0, &cred, &a, NULL), -ENOENT);
	assert_int_equal(volume_mknod(v, f, LIT("x"), S_IFREG, 0, &cred, &a, NULL), -ENOTDIR);
	assert_int_equal(volume_mknod(v, 1, longest, 256, S_IFREG, 0, &cred, &a, NULL), -ENAMETOOLONG);
	assert_int_equal(volume_mknod(v, 1, longest, 255, S_IFREG, 0, &cred, &a, NULL), 0);
	assert_int_equal(volume_mknod(v, 1, LIT("l"), S_IFLNK, 0, &cred, &a, NULL), -EINVAL);
	assert_int_equal(volume_mknod(v, 1, LIT("dev"), S_IFCHR | 0600, 0x103, &cred, &a, NULL), 0);
	assert_int_equal(a.rdev, 0x103);

	assert_int_equal(volume_symlink(v, 1, LIT("l"), "", 0, &cred, &a, NULL), -ENOENT);
	assert_int_equal(volume_symlink(v, 1, LIT("l"), target, VOLUME_SYMLINK_MAX + 1, &cred, &a, NULL), -ENAMETOOLONG);
	assert_int_equal(volume_symlink(v, 1, LIT("l"), target, VOLUME_SYMLINK_MAX, &cred, &a, NULL), 0);
	assert_int_equal(a.size, VOLUME_SYMLINK_MAX);
	assert_int_equal(a.mode, S_IFLNK | 0777);
	assert_int_equal(volume_readlink(v, f, target), -EINVAL);

	assert_int_equal(volume_link(v, d, 1, LIT("dd"), &a, NULL), -EPERM);
	assert_int_equal(volume_link(v, f, 1, LIT("d"), &a, NULL), -EEXIST);
	assert_int_equal(volume_link(v, 777, 1, LIT("g"), &a, NULL), -ENOENT);
	assert_int_equal(volume_unlink(v, 1, LIT("d"), NULL), -EISDIR);
	assert_int_equal(volume_unlink(v, 1, LIT(".."), NULL), -EISDIR);
	assert_int_equal(volume_rmdir(v, 1, LIT("f"), NULL), -ENOTDIR);
	assert_int_equal(volume_rmdir(v, 1, LIT("."), NULL), -EINVAL);
	assert_int_equal(volume_rmdir(v, 1, LIT(".."), NULL), -ENOTEMPTY);
	make(v, d, "x", S_IFREG);
	assert_int_equal(volume_rmdir(v, 1, LIT("d"), NULL), -ENOTEMPTY);
	assert_int_equal(volume_unlink(v, d, LIT("x"), NULL), 0);
	/* A removed directory that is still open takes nothing more. */
	assert_int_equal(volume_open_ref(v, d), 0);
	assert_int_equal(volume_rmdir(v, 1, LIT("d"), NULL), 0);
	assert_int_equal(volume_mknod(v, d, LIT("x"), S_IFREG, 0, &cred, &a, NULL), -ENOENT);
	assert_int_equal(volume_link(v, f, d, LIT("x"), &a, NULL), -ENOENT);
	assert_int_equal(attr(v, d).nlink, 0);
	volume_open_unref(v, d);
	fake_run(v);
	assert_int_equal(volume_getattr(v, d, &a), -ENOENT);
	finish(v);
}

static void test_errors_rename(void **state)
{
	struct volume *v = fresh();
	uint64_t a = make(v, 1, "a", S_IFDIR | 0755), b = make(v, a, "b", S_IFDIR | 0755), c = make(v, b, "c", S_IFDIR | 0755);
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), g;
	struct volume_attr x;

	(void)state;
	make(v, 1, "g", S_IFREG | 0644);
	assert_int_equal(volume_rename(v, 1, LIT("a"), 1, LIT("z"), 8, NULL), -EINVAL);
	assert_int_equal(volume_rename(v, 1, LIT("a"), 1, LIT("z"), RENAME_NOREPLACE | RENAME_EXCHANGE, NULL), -EINVAL);
	assert_int_equal(volume_rename(v, 1, LIT("no"), 1, LIT("z"), 0, NULL), -ENOENT);
	assert_int_equal(volume_rename(v, 1, LIT("f"), f, LIT("z"), 0, NULL), -ENOTDIR);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("no"), RENAME_EXCHANGE, NULL), -ENOENT);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("g"), RENAME_NOREPLACE, NULL), -EEXIST);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("f"), RENAME_NOREPLACE, NULL), -EEXIST);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("f"), 0, NULL), 0);
	assert_int_equal(volume_rename(v, 1, LIT("a"), a, LIT("z"), 0, NULL), -EINVAL);
	assert_int_equal(volume_rename(v, 1, LIT("a"), c, LIT("z"), 0, NULL), -EINVAL);
	assert_int_equal(volume_rename(v, b, LIT("c"), 1, LIT("a"), 0, NULL), -ENOTEMPTY);
	assert_int_equal(volume_rename(v, b, LIT("c"), 1, LIT("a"), RENAME_EXCHANGE, NULL), -EINVAL);
	assert_int_equal(volume_rename(v, 1, LIT("a"), b, LIT("c"), RENAME_EXCHANGE, NULL), -EINVAL);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("a"), 0, NULL), -EISDIR);
	assert_int_equal(volume_rename(v, 1, LIT("a"), 1, LIT("f"), 0, NULL), -ENOTDIR);
	make(v, 1, "full", S_IFDIR | 0755);
	assert_int_equal(volume_rename(v, 1, LIT("full"), 1, LIT("a"), 0, NULL), -ENOTEMPTY);
	assert_int_equal(volume_rename(v, 1, LIT("."), 1, LIT("z"), 0, NULL), -EBUSY);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT(".."), 0, NULL), -EBUSY);
	/* Two names of one file: nothing happens, both stay. */
	assert_int_equal(volume_link(v, f, 1, LIT("f2"), &x, NULL), 0);
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("f2"), 0, NULL), 0);
	assert_int_equal(attr(v, f).nlink, 2);
	/* Exchange of a directory and a file across directories: the counts go along, and "..". */
	assert_int_equal(attr(v, 1).nlink, 4);
	assert_int_equal(attr(v, b).nlink, 3);
	assert_int_equal(volume_rename(v, b, LIT("c"), 1, LIT("f"), RENAME_EXCHANGE, NULL), 0);
	assert_int_equal(attr(v, 1).nlink, 5);
	assert_int_equal(attr(v, b).nlink, 2);
	assert_int_equal(volume_lookup(v, c, LIT(".."), &x), 0);
	assert_int_equal(x.ino, 1);
	/* Over an empty directory, over a file. */
	assert_int_equal(volume_rename(v, 1, LIT("f"), 1, LIT("full"), 0, NULL), 0);
	assert_int_equal(attr(v, 1).nlink, 4);
	assert_int_equal(volume_lookup(v, 1, LIT("g"), &x), 0);
	g = x.ino;
	assert_int_equal(volume_rename(v, 1, LIT("f2"), 1, LIT("g"), 0, NULL), 0);
	assert_int_equal(volume_getattr(v, g, &x), -ENOENT);
	finish(v);
}

static void test_limits(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), fifo = make(v, 1, "p", S_IFIFO | 0600), sock = make(v, 1, "s", S_IFSOCK | 0600), d;
	struct volume_attr a = { .size = 1 };
	struct inode i;
	uint64_t n;
	size_t got;
	char c = 'x';

	(void)state;
	d = make(v, 1, "d", S_IFDIR | 0755);
	assert_int_equal(volume_write(v, f, VOLUME_FILE_MAX, &c, 1, false, false, NULL), -EFBIG);
	assert_int_equal(volume_write(v, f, UINT64_MAX, &c, 1, false, false, NULL), -EFBIG);
	assert_int_equal(volume_write(v, f, VOLUME_FILE_MAX - 1, &c, 1, false, false, NULL), 0);
	assert_int_equal(attr(v, f).size, VOLUME_FILE_MAX);
	assert_int_equal(volume_write(v, f, 0, &c, 1, true, false, NULL), -EFBIG);
	assert_int_equal(volume_write(v, d, 0, &c, 1, false, false, NULL), -EISDIR);
	assert_int_equal(volume_write(v, fifo, 0, &c, 1, false, false, NULL), -EINVAL);
	assert_int_equal(volume_write(v, 777, 0, &c, 1, false, false, NULL), -ENOENT);
	assert_int_equal(volume_write(v, f, 0, &c, VOLUME_WRITE_MAX + 1, false, false, NULL), -EINVAL);
	assert_int_equal(volume_read(v, f, VOLUME_FILE_MAX - 1, 100, &c, &got, NULL), 0);
	assert_int_equal(got, 1);
	assert_int_equal(volume_read(v, f, VOLUME_FILE_MAX, 1, &c, &got, NULL), 0);
	assert_int_equal(got, 0);
	assert_int_equal(volume_read(v, d, 0, 1, &c, &got, NULL), -EISDIR);
	assert_int_equal(volume_setattr(v, d, VOLUME_SET_SIZE, &a, &a, NULL), -EISDIR);
	assert_int_equal(volume_setattr(v, fifo, VOLUME_SET_SIZE, &a, &a, NULL), -EINVAL);
	a.size = (uint64_t)VOLUME_FILE_MAX + 1;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_SIZE, &a, &a, NULL), -EFBIG);
	a.mtime.tv_nsec = 1000000000;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_MTIME, &a, &a, NULL), -EINVAL);
	a.size = 0;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_SIZE, &a, &a, NULL), 0);

	assert_int_equal(volume_fallocate(v, f, 0, 0, 0, NULL), -EINVAL);
	assert_int_equal(volume_fallocate(v, f, FALLOC_FL_PUNCH_HOLE, 0, 1, NULL), -EOPNOTSUPP);
	assert_int_equal(volume_fallocate(v, f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096, NULL), -EOPNOTSUPP);
	assert_int_equal(volume_fallocate(v, f, 0, VOLUME_FILE_MAX, 1, NULL), -EFBIG);
	assert_int_equal(volume_fallocate(v, d, 0, 0, 1, NULL), -EISDIR);
	assert_int_equal(volume_fallocate(v, fifo, 0, 0, 1, NULL), -ESPIPE);
	assert_int_equal(volume_fallocate(v, sock, 0, 0, 1, NULL), -ENODEV);
	put(v, f, 0, "0123456789", 10);
	assert_int_equal(volume_copy_range(v, f, 0, f, 5, 10, &n, NULL), -EINVAL);
	assert_int_equal(volume_copy_range(v, f, 0, f, VOLUME_FILE_MAX, 10, &n, NULL), -EFBIG);
	assert_int_equal(volume_copy_range(v, f, 10, f, 100, 10, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(volume_copy_range(v, f, 0, d, 0, 10, &n, NULL), -EISDIR);
	assert_int_equal(volume_copy_range(v, f, 0, f, 10, UINT64_MAX, &n, NULL), 0);
	assert_int_equal(n, 10);
	assert_int_equal(volume_seek(v, f, 20, SEEK_DATA, &n), -ENXIO);
	assert_int_equal(volume_seek(v, f, 0, SEEK_HOLE, &n), 0);
	assert_int_equal(n, 20);
	assert_int_equal(volume_seek(v, f, 0, SEEK_SET, &n), -EINVAL);

	/* Link counts at their limit: set in the map, since making 65,000 of each would take long. */
	assert_int_equal(engine_begin(v, 0, NULL), 0);
	assert_int_equal(meta_inode_get(v->meta, f, &i), 0);
	i.a.nlink = VOLUME_LINK_MAX;
	assert_int_equal(meta_inode_put(v->meta, &i), 0);
	assert_int_equal(meta_inode_get(v->meta, d, &i), 0);
	i.a.nlink = VOLUME_LINK_MAX;
	assert_int_equal(meta_inode_put(v->meta, &i), 0);
	assert_int_equal(engine_commit(v), 0);
	assert_int_equal(volume_link(v, f, 1, LIT("f2"), &a, NULL), -EMLINK);
	assert_int_equal(volume_mknod(v, d, LIT("x"), S_IFDIR, 0, &cred, &a, NULL), -EMLINK);
	assert_int_equal(volume_mknod(v, d, LIT("x"), S_IFREG, 0, &cred, &a, NULL), 0);
	make(v, 1, "e", S_IFDIR);
	assert_int_equal(volume_rename(v, 1, LIT("e"), d, LIT("y"), 0, NULL), -EMLINK);
	assert_int_equal(volume_rename(v, 1, LIT("e"), d, LIT("x"), RENAME_EXCHANGE, NULL), -EMLINK);
	assert_int_equal(volume_rename(v, d, LIT("x"), 1, LIT("e"), RENAME_EXCHANGE, NULL), -EMLINK);
	fake_close(v);
}

static void test_errors_xattr(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), p = make(v, 1, "p", S_IFIFO | 0600);
	static uint8_t big[VOLUME_XATTR_VALUE_MAX + 1];
	char name[300], list[16];
	size_t len;
	int rc = 0, n;

	(void)state;
	memset(name, 'u', sizeof name);
	memcpy(name, "user.", 5);
	name[256] = '\0';
	assert_int_equal(volume_setxattr(v, f, name, "", 0, 0, NULL), -ERANGE);
	name[255] = '\0';
	assert_int_equal(volume_setxattr(v, f, name, "", 0, 0, NULL), 0);
	assert_int_equal(volume_removexattr(v, f, name, NULL), 0);
	assert_int_equal(volume_setxattr(v, f, "", "", 0, 0, NULL), -ERANGE);
	assert_int_equal(volume_setxattr(v, f, "user.", "", 0, 0, NULL), -EINVAL);
	assert_int_equal(volume_setxattr(v, f, "other.x", "", 0, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(volume_setxattr(v, f, "user.a", "", 0, 4, NULL), -EINVAL);
	assert_int_equal(volume_setxattr(v, f, "user.a", big, sizeof big, 0, NULL), -E2BIG);
	assert_int_equal(volume_setxattr(v, p, "user.a", "", 0, 0, NULL), -EPERM);
	assert_int_equal(volume_setxattr(v, p, "trusted.a", "", 0, 0, NULL), 0);
	assert_int_equal(volume_setxattr(v, f, "user.a", "", 0, XATTR_REPLACE, NULL), -ENODATA);
	assert_int_equal(volume_setxattr(v, f, "user.a", "value", 5, XATTR_CREATE, NULL), 0);
	assert_int_equal(volume_setxattr(v, f, "user.a", "", 0, XATTR_CREATE, NULL), -EEXIST);
	assert_int_equal(volume_getxattr(v, f, "user.a", NULL, 0, &len), 0);
	assert_int_equal(len, 5);
	assert_int_equal(volume_getxattr(v, f, "user.a", list, 4, &len), -ERANGE);
	assert_int_equal(volume_getxattr(v, f, "user.b", list, 4, &len), -ENODATA);
	assert_int_equal(volume_getxattr(v, 777, "user.b", list, 4, &len), -ENOENT);
	assert_int_equal(volume_listxattr(v, f, NULL, 0, &len), 0);
	assert_int_equal(len, 7);
	assert_int_equal(volume_listxattr(v, f, list, 6, &len), -ERANGE);
	assert_int_equal(volume_removexattr(v, f, "user.b", NULL), -ENODATA);
	assert_int_equal(volume_setxattr(v, f, "user.full", big, VOLUME_XATTR_VALUE_MAX, 0, NULL), 0);
	/* As many names as a list can return, and no more. */
	for (n = 0; n < 400 && !rc; n++) {
		snprintf(name, sizeof name, "user.%03d%0246d", n, 0);
		rc = volume_setxattr(v, f, name, "", 0, 0, NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(volume_listxattr(v, f, NULL, 0, &len), 0);
	assert_in_range(len, 65536 - 256, 65536);
	/* A file with so much is taken away in steps. */
	assert_int_equal(volume_unlink(v, 1, LIT("f"), NULL), 0);
	fake_run(v);
	assert_int_equal(volume_getxattr(v, f, "user.a", list, sizeof list, &len), -ENOENT);
	finish(v);
}

static void test_set_id(void **state)
{
	struct volume *v = fresh();
	uint64_t d = make(v, 1, "d", S_IFDIR | 0755), f;
	struct volume_attr a = { .mode = 02775, .gid = 555 };
	uint64_t change;

	(void)state;
	assert_int_equal(volume_setattr(v, d, VOLUME_SET_MODE | VOLUME_SET_GID, &a, &a, NULL), 0);
	f = make(v, d, "f", S_IFREG | 06777);
	assert_int_equal(attr(v, f).gid, 555);
	assert_int_equal(attr(v, f).mode, S_IFREG | 06755);
	assert_int_equal(attr(v, make(v, d, "sub", S_IFDIR | 0755)).mode, S_IFDIR | 02755);
	assert_int_equal(volume_setxattr(v, f, "security.capability", "cap", 3, 0, NULL), 0);
	change = attr(v, f).change;
	put(v, f, 0, "x", 1);
	assert_int_equal(attr(v, f).mode, S_IFREG | 06755);
	assert_true(attr(v, f).change > change);
	assert_int_equal(volume_write(v, f, 0, "x", 1, false, true, NULL), 0);
	assert_int_equal(attr(v, f).mode, S_IFREG | 0755);
	assert_int_equal(volume_removexattr(v, f, "security.capability", NULL), -ENODATA);
	/* Without group execution the bit means mandatory locking, and stays. */
	a.mode = 06644;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_MODE, &a, &a, NULL), 0);
	a.uid = 7;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_UID | VOLUME_SET_KILL_PRIV, &a, &a, NULL), 0);
	assert_int_equal(a.mode, S_IFREG | 02644);
	assert_int_equal(a.uid, 7);
	finish(v);
}

/* --- orphans --- */

static void test_orphans(void **state)
{
	struct volume *v = fresh();
	uint64_t f = holey(v, "f", 3000), g = holey(v, "g", 3000), records;
	struct volume_attr a;

	(void)state;
	/* Open: it stays, readable and writable, until closed by all. */
	assert_int_equal(volume_open_ref(v, f), 0);
	assert_int_equal(volume_open_ref(v, f), 0);
	assert_int_equal(volume_unlink(v, 1, LIT("f"), NULL), 0);
	fake_run(v);
	assert_int_equal(attr(v, f).nlink, 0);
	put(v, f, 0, "still", 5);
	assert_int_equal(volume_link(v, f, 1, LIT("f"), &a, NULL), -ENOENT);
	volume_open_unref(v, f);
	fake_run(v);
	assert_int_equal(volume_getattr(v, f, &a), 0);
	records = fake_stats(v)->records;
	volume_open_unref(v, f);
	fake_run(v);
	assert_int_equal(volume_getattr(v, f, &a), -ENOENT);
	assert_int_equal(fake_stats(v)->records - records, 3);
	assert_int_equal(volume_open_ref(v, f), -ENOENT);
	/* Parked in the middle: it goes on when the gate opens. */
	assert_int_equal(volume_unlink(v, 1, LIT("g"), NULL), 0);
	fake_park(v, 1);
	fake_run(v);
	assert_int_equal(volume_getattr(v, g, &a), 0);
	fake_release(v, 0);
	fake_run(v);
	assert_int_equal(volume_getattr(v, g, &a), -ENOENT);
	/* O_TMPFILE: a name later, or never. */
	assert_int_equal(volume_tmpfile(v, 1, 0600, &cred, &a, NULL), 0);
	assert_int_equal(a.nlink, 0);
	assert_int_equal(volume_link(v, a.ino, 1, LIT("t"), &a, NULL), 0);
	assert_int_equal(a.nlink, 1);
	volume_open_unref(v, a.ino);
	fake_run(v);
	assert_int_equal(attr(v, a.ino).nlink, 1);
	assert_int_equal(volume_tmpfile(v, 1, 0600, &cred, &a, NULL), 0);
	f = a.ino;
	volume_open_unref(v, f);
	fake_run(v);
	assert_int_equal(volume_getattr(v, f, &a), -ENOENT);
	finish(v);
}

/* A small file goes with its last reference: in that call, by one record, without a job. While writers are held it stays, and goes afterwards. */
static void test_orphans_small(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0600), g = make(v, 1, "g", S_IFREG | 0600), records;
	struct volume_attr a;

	(void)state;
	put(v, f, 0, "some", 4);
	put(v, g, 0, "some", 4);
	assert_int_equal(volume_open_ref(v, f), 0);
	assert_int_equal(volume_open_ref(v, g), 0);
	assert_int_equal(volume_unlink(v, 1, LIT("f"), NULL), 0);
	assert_int_equal(volume_unlink(v, 1, LIT("g"), NULL), 0);
	records = fake_stats(v)->records;
	volume_open_unref(v, f);
	assert_int_equal(volume_getattr(v, f, &a), -ENOENT);
	assert_int_equal(fake_stats(v)->records - records, 1);
	fake_park(v, 1);
	volume_open_unref(v, g);
	assert_int_equal(volume_getattr(v, g, &a), 0);
	fake_release(v, 0);
	fake_run(v);
	assert_int_equal(volume_getattr(v, g, &a), -ENOENT);
	finish(v);
}

/* Stopped while a step is queued, and while one is parked: nothing is touched afterwards, nothing leaks (under the sanitizer). */
static void test_orphans_stop(void **state)
{
	struct volume *v = fresh();

	(void)state;
	holey(v, "f", 200);
	assert_int_equal(volume_unlink(v, 1, LIT("f"), NULL), 0);
	fake_close(v);
	v = fresh();
	holey(v, "f", 200);
	assert_int_equal(volume_unlink(v, 1, LIT("f"), NULL), 0);
	fake_park(v, 1);
	fake_run(v);
	fake_close(v);
}

static void test_many_refs(void **state)
{
	struct volume *v = fresh();
	uint64_t ino[500], s = 7;
	unsigned open[500] = { 0 }, n;

	(void)state;
	for (n = 0; n < 500; n++) {
		char name[16];

		snprintf(name, sizeof name, "f%u", n);
		ino[n] = make(v, 1, name, S_IFREG | 0600);
	}
	for (unsigned k = 0; k < 20000; k++) {
		n = (unsigned)rng_below(&s, 500);
		if (open[n] && rng_below(&s, 2)) {
			volume_open_unref(v, ino[n]);
			open[n]--;
		} else {
			assert_int_equal(volume_open_ref(v, ino[n]), 0);
			open[n]++;
		}
		n = (unsigned)rng_below(&s, 500);
		assert_int_equal(orphans_is_open(v->orphans, ino[n]), open[n] != 0);
	}
	finish(v);
}

/* --- readdir --- */

struct listing { struct volume *v; unsigned seen, max; uint64_t last; char got[400]; };

static int each_entry(void *user, const struct volume_dirent *e, const struct volume_attr *a)
{
	struct listing *l = user;

	(void)a;
	if (l->seen == l->max)
		return 1;
	l->seen++;
	assert_true(e->cookie > l->last);
	l->last = e->cookie;
	if (e->name[0] == 'k') {
		unsigned n = (unsigned)atoi(e->name + 1);

		assert_true(n < 400);
		l->got[n]++;
	}
	return 0;
}

static void test_readdir(void **state)
{
	struct volume *v = fresh();
	struct listing l = { .v = v };
	uint64_t s = 5;
	unsigned n, total = 0;
	char name[32];

	(void)state;
	for (n = 0; n < 400; n++) {
		snprintf(name, sizeof name, "k%u", n);
		make(v, 1, name, S_IFREG | 0644);
	}
	/* Listed in small portions while others come and go: what stays is seen once. */
	do {
		l.seen = 0;
		l.max = 1 + (unsigned)rng_below(&s, 9);
		assert_int_equal(volume_readdir(v, 1, l.last, rng_below(&s, 2), each_entry, &l), 0);
		total += l.seen;
		snprintf(name, sizeof name, "t%zu", rng_below(&s, 50));
		if (volume_unlink(v, 1, name, strlen(name), NULL) == -ENOENT)
			make(v, 1, name, S_IFREG | 0644);
	} while (l.seen);
	for (n = 0; n < 400; n++)
		assert_int_equal(l.got[n], 1);
	assert_true(total >= 402);
	assert_int_equal(volume_readdir(v, make(v, 1, "f", S_IFREG), 0, false, each_entry, &l), -ENOTDIR);
	assert_int_equal(volume_readdir(v, 777, 0, false, each_entry, &l), -ENOENT);
	finish(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_names), cmocka_unit_test(test_errors_rename), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_errors_xattr), cmocka_unit_test(test_set_id), cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_orphans_small), cmocka_unit_test(test_orphans_stop), cmocka_unit_test(test_many_refs), cmocka_unit_test(test_readdir),
		cmocka_unit_test(test_model), cmocka_unit_test(test_model_collisions), cmocka_unit_test(test_model_disturbed),
	};

	return cmocka_run_group_tests_name("ns", tests, NULL, NULL);
}
