/* test_disk.c - the cache directory on a real file system: every call of the table, its errors, and the lock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler.h"
#include "disk.h"
#include "err.h"

static char dir[64];
static struct disk *d;

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/clonelove-disk-XXXXXX");
	return mkdtemp(dir) && disk_posix_open(dir, &d) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	disk_posix_close(d);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void test_read_write(void **state)
{
	struct disk_file *f, *g;
	char buf[64];
	uint64_t n;
	size_t got;

	(void)state;
	assert_int_equal(d->open(d, "a", DISK_READ, &f), -ENOENT);
	assert_int_equal(d->open(d, "a", DISK_WRITE, &f), -ENOENT);
	assert_int_equal(d->open(d, "a", DISK_CREATE, &f), 0);
	assert_int_equal(d->open(d, "a", DISK_CREATE, &g), -EEXIST);
	assert_int_equal(d->pwrite(f, "hello", 5, 10), 0);
	assert_int_equal(d->sync(f), 0);
	assert_int_equal(d->size(f, &n), 0);
	assert_int_equal(n, 15);
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(d->pread(f, buf, sizeof(buf), 8, &got), 0);
	assert_int_equal(got, 7);
	assert_memory_equal(buf, "\0\0hellox", 8);
	assert_int_equal(d->pread(f, buf, sizeof(buf), 15, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(d->truncate(f, 12), 0);
	assert_int_equal(d->size(f, &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(d->open(d, "a", DISK_READ, &g), 0);
	assert_int_equal(d->pwrite(g, "x", 1, 0), -EBADF);
	d->close(g);
	d->close(f);
}

static void test_space(void **state)
{
	struct disk_file *f;
	uint64_t before, after, n;
	char c = 'y';
	size_t got;
	int rc;

	(void)state;
	assert_int_equal(d->open(d, "a", DISK_CREATE, &f), 0);
	assert_int_equal(d->pwrite(f, "z", 1, 0), 0);
	assert_int_equal(d->usage(f, &before), 0);
	rc = d->allocate(f, 0, 4 << 20);
	if (rc == -EOPNOTSUPP) {
		print_message("skipped: this file system cannot allocate\n");
	} else {
		assert_int_equal(rc, 0);
		assert_int_equal(d->usage(f, &after), 0);
		assert_true(after >= 4 << 20 && after > before);
		assert_int_equal(d->pread(f, &c, 1, 0, &got), 0);
		assert_int_equal(c, 'z');
		assert_int_equal(d->punch(f, 1 << 20, 2 << 20), 0);
		assert_int_equal(d->size(f, &n), 0);
		assert_int_equal(n, 4 << 20);
		assert_int_equal(d->usage(f, &before), 0);
		assert_true(before + (2 << 20) <= after);
	}
	d->close(f);
	assert_int_equal(d->free_bytes(d, &n), 0);
	assert_true(n > 0);
}

/* Bytes of the file that are on disk and were written; -1 where the file system does not show its extents. */
static long long written_bytes(const char *name)
{
	enum { EXTENTS = 256 };
	struct fiemap *map = calloc(1, sizeof(*map) + EXTENTS * sizeof(struct fiemap_extent));
	long long n = -1;
	char path[128];
	unsigned i;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	assert_true(map && fd >= 0);
	map->fm_length = FIEMAP_MAX_OFFSET;
	map->fm_extent_count = EXTENTS;
	if (ioctl(fd, FS_IOC_FIEMAP, map) == 0) {
		assert_in_range(map->fm_mapped_extents, 1, EXTENTS - 1);
		for (i = 0, n = 0; i < map->fm_mapped_extents; i++)
			n += map->fm_extents[i].fe_flags & FIEMAP_EXTENT_UNWRITTEN ? 0 : (long long)map->fm_extents[i].fe_length;
	}
	(void)close(fd);
	free(map);
	return n;
}

/* A file that was written here and there, synced or not: filling it changes no byte, and leaves nothing unwritten. */
static void test_fill(void **state)
{
	static const struct { uint32_t off, len; } pieces[] = { { 0, 4096 }, { 65536, 5000 }, { 300000, 1 }, { 1 << 20, 700000 }, { 2500000, 4096 } };
	enum { SIZE = 3 << 20 };
	uint8_t *want = calloc(1, SIZE), *got = calloc(1, SIZE);
	struct disk_file *f;
	size_t i, n;

	(void)state;
	assert_true(want && got);
	assert_int_equal(d->open(d, "a", DISK_CREATE, &f), 0);
	assert_int_equal(d->truncate(f, SIZE), 0);
	if (d->allocate(f, 0, SIZE)) {
		print_message("skipped: this file system cannot allocate\n");
		d->close(f);
		free(want);
		free(got);
		return;
	}
	for (i = 0; i < CL_ARRAY_LEN(pieces); i++) {
		memset(want + pieces[i].off, (int)i + 1, pieces[i].len);
		assert_int_equal(d->pwrite(f, want + pieces[i].off, pieces[i].len, pieces[i].off), 0);
		if (i == 2)
			assert_int_equal(d->sync(f), 0);
	}
	assert_int_equal(d->fill(f, 0, SIZE), 0);
	assert_int_equal(d->sync(f), 0);
	assert_int_equal(d->pread(f, got, SIZE, 0, &n), 0);
	assert_int_equal(n, SIZE);
	assert_memory_equal(got, want, SIZE);
	if (written_bytes("a") < 0)
		print_message("not looked at: this file system does not show its extents\n");
	else
		assert_int_equal(written_bytes("a"), SIZE);
	d->close(f);
	free(want);
	free(got);
}

static int count(void *user, const char *name)
{
	(*(int *)user)++;
	assert_true(strcmp(name, "x") == 0 || strcmp(name, "y") == 0 || strcmp(name, "lock") == 0);
	return 0;
}

static int stop_at_once(void *user, const char *name)
{
	(void)user;
	(void)name;
	return 77;
}

static void test_names(void **state)
{
	static const char *const bad[] = { "", "/etc/passwd", "../x", "a/../b", "a/b/c", "a/", "/", ".", "..", "./x", "a/." };
	struct disk_file *f;
	size_t i;
	int n = 0;

	(void)state;
	for (i = 0; i < CL_ARRAY_LEN(bad); i++) {
		assert_int_equal(d->open(d, bad[i], DISK_CREATE, &f), -EINVAL);
		assert_int_equal(d->unlink(d, bad[i]), -EINVAL);
		assert_int_equal(d->rename(d, "x", bad[i]), -EINVAL);
	}
	assert_int_equal(d->mkdir(d, "salvage"), 0);
	assert_int_equal(d->mkdir(d, "salvage"), 0);
	assert_int_equal(d->open(d, "x", DISK_CREATE, &f), 0);
	d->close(f);
	assert_int_equal(d->open(d, "salvage/x", DISK_CREATE, &f), 0);
	d->close(f);
	assert_int_equal(d->open(d, "y", DISK_CREATE, &f), 0);
	d->close(f);
	assert_int_equal(d->list(d, "", count, &n), 0);
	assert_int_equal(n, 3);
	n = 0;
	assert_int_equal(d->list(d, "salvage", count, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(d->list(d, "", stop_at_once, NULL), 77);
	assert_int_equal(d->list(d, "none", stop_at_once, NULL), -ENOENT);
	assert_int_equal(d->rename(d, "x", "salvage/x"), 0);
	assert_int_equal(d->open(d, "x", DISK_READ, &f), -ENOENT);
	assert_int_equal(d->sync_dir(d, ""), 0);
	assert_int_equal(d->sync_dir(d, "salvage"), 0);
	assert_int_equal(d->unlink(d, "salvage/x"), 0);
	assert_int_equal(d->unlink(d, "salvage/x"), -ENOENT);
}

static void test_symlink_refused(void **state)
{
	char path[128];
	struct disk_file *f;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/link", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(d->open(d, "link", DISK_READ, &f), -ELOOP);
}

static void test_lock(void **state)
{
	struct disk *second;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(disk_posix_open(dir, &second), -EWOULDBLOCK);
	assert_non_null(strstr(err_last(), dir));
	pid = fork();
	if (pid == 0)
		_exit(disk_posix_open(dir, &second) == -EWOULDBLOCK ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	disk_posix_close(d);
	d = NULL;
	assert_int_equal(disk_posix_open(dir, &d), 0);
}

static void test_bad_directory(void **state)
{
	struct disk *x;
	char path[128];
	struct stat st;

	(void)state;
	assert_int_equal(disk_posix_open("/nonexistent/cache", &x), -ENOENT);
	assert_non_null(strstr(err_last(), "/nonexistent/cache"));
	(void)snprintf(path, sizeof(path), "%s/lock", dir);
	assert_int_equal(disk_posix_open(path, &x), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/new", dir);
	assert_int_equal(disk_posix_open(path, &x), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	disk_posix_close(x);
	disk_posix_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_space, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_symlink_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_directory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
