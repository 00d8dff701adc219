/*
 * test_disk_full.c - a cache directory whose disk is full, for the map or for the log, or fails for good: changes wait, what can be read is
 * read, it is said, and all goes on where it stopped once the disk takes something again.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/hook.h"
#include "err.h"

#define NAMES_MAX 60000u

static atomic_bool map_disk_full;

/* The map allocates its space ahead, without changing its file's size; segments do it otherwise. */
int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (mode == FALLOC_FL_KEEP_SIZE && atomic_load(&map_disk_full)) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

static int make_name(struct vol *t, unsigned i, struct volume_wait *w)
{
	struct volume_cred cred = { 0 };
	struct volume_attr a;
	char name[32];

	snprintf(name, sizeof name, "name-%u", i);
	return volume_mknod(t->v, VOLUME_ROOT_INO, name, strlen(name), S_IFREG | 0644, 0, &cred, &a, w);
}

static void check_names(struct vol *t, unsigned count)
{
	struct volume_attr a;
	char name[32];

	for (unsigned i = 0; i <= count; i++) {
		snprintf(name, sizeof name, "name-%u", i);
		assert_int_equal(volume_lookup(t->v, VOLUME_ROOT_INO, name, strlen(name), &a), i < count ? 0 : -ENOENT);
	}
}

static void test_map(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol_wait *wait = vol_wait_new();
	struct vol t;
	unsigned n = 0;
	int rc = 0;

	vol_options(&o, "a");
	world_must_open(&t, w, w->mem, "a", &o);
	file_put(&t, "file", 100000, 1);
	atomic_store(&map_disk_full, true);
	while (n < NAMES_MAX && (rc = make_name(&t, n, vol_wait_of(wait))) != ERR_PARKED) {
		assert_int_equal(rc, 0);
		n++;
	}
	assert_int_equal(rc, ERR_PARKED);
	assert_int_equal(vol_status(&t).state, VOLUME_HELD);
	assert_non_null(strstr(vol_status(&t).error, "no room for the map"));
	assert_int_equal(vol_sync(&t), 0); /* what was done is done */
	file_check(&t, "file", 100000, 1);
	check_names(&t, n);
	usleep(500000); /* it is asked again, and not answered before there is room */
	assert_int_equal(vol_status(&t).state, VOLUME_HELD);
	assert_int_equal(vol_status(&t).parked, 1);
	atomic_store(&map_disk_full, false);
	assert_int_equal(vol_wait(wait), 0);
	for (unsigned end = n + 5000; n < end; n++)
		VOL_CALL(rc, w2, make_name(&t, n, w2));
	assert_int_equal(rc, 0);
	check_names(&t, n);
	assert_string_equal(vol_status(&t).error, "");
	assert_int_equal(vol_close(&t, true), 0);
	world_must_open(&t, w, w->mem, "b", &o);
	check_names(&t, n);
	vol_close(&t, false);
	vol_wait_free(wait);
}

/* Writes until it is held. */
static unsigned write_held(struct vol *t, unsigned n, struct vol_wait *wait)
{
	static uint8_t data[1 << 19];
	struct volume_cred cred = { 0 };
	struct volume_attr a;
	char name[32];
	int rc;

	for (;; n++) {
		snprintf(name, sizeof name, "data-%u", n);
		file_fill(data, sizeof data, n);
		rc = volume_mknod(t->v, VOLUME_ROOT_INO, name, strlen(name), S_IFREG | 0644, 0, &cred, &a, vol_wait_of(wait));
		if (!rc)
			rc = volume_write(t->v, a.ino, 0, data, sizeof data, false, false, vol_wait_of(wait));
		if (rc == ERR_PARKED)
			return n;
		assert_int_equal(rc, 0);
		assert_true(n < 400);
	}
}

static void check_data(struct vol *t, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof name, "data-%u", i);
		file_check(t, name, 1 << 19, i);
	}
}

static void trouble(struct world *w, unsigned ops, int error, const char *said)
{
	struct volume_options o;
	struct vol_wait *wait = vol_wait_new(), *sync = vol_wait_new();
	struct faulty f;
	unsigned n;
	int rc;

	vol_options(&o, "a");
	o.cache_bytes = 100u << 20;
	faulty_open(&f, w, w->mem, "a", &o);
	file_put(&f.t, "before", 100000, 7);
	assert_int_equal(vol_fsync(&f.t), 0);
	fault_disk_fail(f.fault, ops, 0, 1000000000, error);
	n = write_held(&f.t, 0, wait);
	rc = volume_fsync(f.t.v, vol_wait_of(sync));
	usleep(1500000);
	assert_int_equal(vol_status(&f.t).state, VOLUME_HELD);
	if (!strstr(vol_status(&f.t).error, said))
		fail_msg("clonefs stat says: %s", vol_status(&f.t).error);
	file_check(&f.t, "before", 100000, 7);
	check_data(&f.t, n);
	fault_disk_fail(f.fault, ops, 0, 0, 0);
	assert_int_equal(vol_wait(wait), 0);
	assert_int_equal(rc == ERR_PARKED ? vol_wait(sync) : rc, 0);
	file_put(&f.t, "after", 100000, 8);
	assert_int_equal(vol_fsync(&f.t), 0);
	assert_int_equal(vol_sync(&f.t), 0);
	check_data(&f.t, n);
	assert_string_equal(vol_status(&f.t).error, "");
	faulty_close(&f);
	faulty_open(&f, w, w->mem, "a", &o);
	check_data(&f.t, n);
	file_check(&f.t, "before", 100000, 7);
	file_check(&f.t, "after", 100000, 8);
	assert_int_equal(vol_status(&f.t).lost_operations, 0);
	faulty_close(&f);
	vol_wait_free(wait);
	vol_wait_free(sync);
}

static void test_log(void **state)
{
	trouble(*state, FAULT_ALLOCATE, -ENOSPC, "no new segment of the local log can be made");
}

static void test_dead_disk(void **state)
{
	trouble(*state, FAULT_OPEN | FAULT_PWRITE | FAULT_SYNC | FAULT_ALLOCATE | FAULT_RENAME | FAULT_SYNC_DIR | FAULT_UNLINK, -EIO,
		"check the cache directory's disk");
}

static void test_read_only_disk(void **state)
{
	trouble(*state, FAULT_PWRITE | FAULT_SYNC | FAULT_ALLOCATE | FAULT_RENAME | FAULT_UNLINK, -EROFS, "check the cache directory's disk");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_map, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_log, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_dead_disk, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_read_only_disk, world_setup, world_teardown),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
