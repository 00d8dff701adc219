/*
 * test_poison.c - a cache directory that was damaged while nobody had it mounted: what the store has is there, the log is gone on from as far as
 * it holds, and what is missing is said and kept. The simulation does it at random (tests/sim/poison.c); here is each case by itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/hook.h"
#include "buf.h"
#include "err.h"
#include "meta.h"
#include "segment.h"

#define FILES 6
#define LEN 3000u

/* The directory of a process that was killed: a copy of it, taken while it runs, that has FILES files which the store has not got. */
struct killed {
	struct world *w;
	struct hook h;
	char dir[100];
	uint64_t lsn_store, lsn;
};

CL_PRINTF(1, 2) static void sh(const char *fmt, ...)
{
	char cmd[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

static void options(struct volume_options *o)
{
	vol_options(o, "a");
	o->max_lag_ms = UINT64_MAX;
	o->commit_interval_ms = 3600000;
	o->uploads = 2 * FILES;
}

static const char *name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof name, "f%u", i);
	return name;
}

/* cuts: a segment for each file, in place of one for all. */
static void make_killed(struct killed *k, struct world *w, bool cuts)
{
	struct volume_options o;
	struct vol_wait *waits[FILES] = { NULL };
	struct vol t;

	k->w = w;
	hook_init(&k->h, w, hook_away_cuts);
	options(&o);
	world_must_open(&t, w, &k->h.s, "first", &o);
	file_put(&t, "before", LEN, 99);
	assert_int_equal(vol_sync(&t), 0);
	k->lsn_store = vol_status(&t).lsn_store;
	atomic_store(&k->h.away, true);
	for (unsigned i = 0; i < FILES; i++) {
		file_put(&t, name_of(i), LEN, i);
		assert_int_equal(vol_fsync(&t), 0);
		if (cuts && i + 1 < FILES)
			waits[i] = vol_start_sync(&t);
	}
	k->lsn = vol_status(&t).lsn;
	assert_int_equal(vol_status(&t).lsn_local, k->lsn);
	snprintf(k->dir, sizeof k->dir, "%s/killed", w->base);
	/* What was committed before is still being put in order, and file names change until it is. */
	sh("for i in $(seq 300); do a=$(ls %s/first); sleep 0.1; case $a in *tmp-*) ;; \"$(ls %s/first)\") break ;; esac; done; cp -r %s/first %s", w->base, w->base, w->base, k->dir);
	vol_close(&t, false);
	for (unsigned i = 0; i < FILES; i++)
		if (waits[i]) {
			assert_int_equal(vol_wait(waits[i]), -ESHUTDOWN);
			vol_wait_free(waits[i]);
		}
}

/* --- the files of it --- */

struct file { char path[400]; uint64_t first_lsn; };

static int by_lsn(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->first_lsn < y->first_lsn ? -1 : x->first_lsn > y->first_lsn;
}

/* Segments of unsent log, in order. */
static size_t log_files(const struct killed *k, struct file *ret, size_t max)
{
	DIR *d = opendir(k->dir);
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		uint8_t page[4096];
		int fd;

		if (strncmp(e->d_name, "seg-", 4) != 0)
			continue;
		assert_true(n < max);
		snprintf(ret[n].path, sizeof ret[n].path, "%s/%s", k->dir, e->d_name);
		fd = open(ret[n].path, O_RDONLY);
		assert_true(fd >= 0);
		assert_int_equal(pread(fd, page, sizeof page, 0), sizeof page);
		close(fd);
		ret[n].first_lsn = get_u64(page + 40);
		n += page[12] == 1 && ret[n].first_lsn > k->lsn_store;
	}
	closedir(d);
	qsort(ret, n, sizeof *ret, by_lsn);
	return n;
}

static void file_write(const char *path, uint64_t off, const void *p, size_t len)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, len, (off_t)off), (ssize_t)len);
	close(fd);
}

static void file_flip(const char *path, uint64_t off)
{
	uint8_t b;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, (off_t)off), 1);
	close(fd);
	b ^= 0x10;
	file_write(path, off, &b, 1);
}

/* Where the n-th record of the segment begins; its LSN. */
static uint64_t record_at(const char *path, unsigned n, uint64_t *ret_lsn)
{
	uint64_t at = SEGMENT_RECORDS_OFFSET;
	uint8_t head[56];
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	for (;; n--) {
		assert_int_equal(pread(fd, head, sizeof head, (off_t)at), sizeof head);
		assert_int_equal(get_u32(head), RECORD_MAGIC);
		if (n == 0)
			break;
		at += get_u32(head + 4);
	}
	close(fd);
	*ret_lsn = get_u64(head + 16);
	return at;
}

static unsigned salvaged(const struct killed *k)
{
	char path[200];
	unsigned n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "%s/salvage", k->dir);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, "seg-", 4) == 0;
	if (d)
		closedir(d);
	return n;
}

/* Opens the damaged directory: the volume must have got to lsn, with the rest called lost; and with it the first `files` files. Twice, for what was
 * found is found once, and done with. */
static void check_open(struct killed *k, uint64_t lsn, unsigned files, unsigned in_salvage)
{
	struct volume_options o;
	struct vol t;
	uint8_t *p;
	size_t n;

	options(&o);
	for (unsigned again = 0; again < 2; again++) {
		world_must_open(&t, k->w, &k->h.s, "killed", &o);
		assert_int_equal(vol_status(&t).lsn, lsn);
		assert_int_equal(vol_status(&t).lost_operations, again ? 0 : k->lsn - lsn);
		assert_int_equal(vol_status(&t).error[0] != '\0', !again && lsn < k->lsn);
		file_check(&t, "before", LEN, 99);
		for (unsigned i = 0; i < FILES; i++) {
			if (i < files) {
				file_check(&t, name_of(i), LEN, i);
				continue;
			}
			p = NULL;
			assert_true(vol_get_file(&t, name_of(i), &p, &n) == -ENOENT || i == files);
			free(p);
		}
		assert_int_equal(salvaged(k), in_salvage);
		if (again) {
			atomic_store(&k->h.away, false);
			file_put(&t, "after", LEN, 77);
			assert_int_equal(vol_sync(&t), 0);
		}
		vol_close(&t, false);
	}
}

static void test_whole(void **state)
{
	struct killed k;

	make_killed(&k, *state, true);
	check_open(&k, k.lsn, FILES, 0);
}

static void test_first_record(void **state)
{
	static const uint8_t zero[65536];
	struct killed k;
	struct file f[16];

	make_killed(&k, *state, false);
	assert_int_equal(log_files(&k, f, 16), 1);
	file_write(f[0].path, SEGMENT_RECORDS_OFFSET, zero, sizeof zero);
	check_open(&k, k.lsn_store, 0, 1);
}

static void test_header(void **state)
{
	struct killed k;
	struct file f[16];
	size_t n;

	make_killed(&k, *state, true);
	n = log_files(&k, f, 16);
	assert_int_equal(n, FILES);
	file_flip(f[n - 1].path, 42);
	check_open(&k, f[n - 1].first_lsn - 1, FILES - 1, 1);
}

/* Zeros, or nothing, as in a file that was never begun. */
static void test_header_gone(void **state)
{
	static const uint8_t zero[4096];
	struct killed k;
	struct file f[16];
	size_t n;

	make_killed(&k, *state, true);
	n = log_files(&k, f, 16);
	file_write(f[n - 1].path, 0, zero, sizeof zero);
	assert_int_equal(truncate(f[n - 2].path, 0), 0);
	check_open(&k, f[n - 2].first_lsn - 1, FILES - 2, 2);
}

static void test_file_gone(void **state)
{
	struct killed k;
	struct file f[16];
	size_t n;

	make_killed(&k, *state, true);
	n = log_files(&k, f, 16);
	assert_int_equal(unlink(f[n - 1].path), 0);
	check_open(&k, f[n - 1].first_lsn - 1, FILES - 1, 0);
}

/* The one in the middle: what is before it is gone on from, what is after it goes to salvage. */
static void test_middle_file(void **state)
{
	struct killed k;
	struct file f[16];
	uint64_t lsn;

	make_killed(&k, *state, true);
	assert_int_equal(log_files(&k, f, 16), FILES);
	file_flip(f[2].path, record_at(f[2].path, 0, &lsn) + 60);
	check_open(&k, f[2].first_lsn - 1, 2, FILES - 2);
}

struct seen { uint64_t first, last, n; };

static int see(void *user, struct record *r)
{
	struct seen *s = user;

	if (!s->n++)
		s->first = r->lsn;
	s->last = r->lsn;
	return 0;
}

/* What is behind a damaged record is found in the copy that salvage/ has. */
static void test_middle_record(void **state)
{
	struct killed k;
	struct file f[16];
	struct segment *s;
	struct seen seen = { 0 };
	struct disk *d;
	uint64_t lsn;
	char name[64];

	make_killed(&k, *state, false);
	assert_int_equal(log_files(&k, f, 16), 1);
	file_flip(f[0].path, record_at(f[0].path, 5, &lsn) + 60);
	snprintf(name, sizeof name, "salvage/%s", strrchr(f[0].path, '/') + 1);
	check_open(&k, lsn - 1, 2, 1);

	assert_int_equal(disk_posix_open(k.dir, &d), 0);
	assert_int_equal(segment_open_name(d, name, true, &s), 0);
	assert_int_equal(segment_replay(s, see, &seen), 0);
	assert_int_equal(seen.last, lsn - 1);
	memset(&seen, 0, sizeof seen);
	for (unsigned i = 0; i < 2; i++) {
		memset(&seen, 0, sizeof seen);
		assert_int_equal(segment_salvage(s, see, &seen), 0);
		assert_int_equal(seen.n, k.lsn - k.lsn_store - 1);
		assert_int_equal(seen.first, k.lsn_store + 1);
		assert_int_equal(seen.last, k.lsn);
	}
	segment_unref(s);
	disk_posix_close(d);
}

/*
 * It was misread but once, by a disk that reads it well afterwards. By then the log has been gone on from before it, under the same LSNs, and
 * what was acknowledged since is what counts: the old record must not come back in its place.
 */
static void test_passing_misread(void **state)
{
	struct volume_options o;
	struct killed k;
	struct file f[16];
	struct vol t;
	uint64_t lsn, at;

	make_killed(&k, *state, false);
	assert_int_equal(log_files(&k, f, 16), 1);
	at = record_at(f[0].path, 5, &lsn) + 60;
	file_flip(f[0].path, at);
	options(&o);
	world_must_open(&t, k.w, &k.h.s, "killed", &o);
	assert_int_equal(vol_status(&t).lsn, lsn - 1);
	file_put(&t, "after", LEN, 77);
	assert_int_equal(vol_fsync(&t), 0);
	lsn = vol_status(&t).lsn;
	vol_close(&t, false);
	file_flip(f[0].path, at);
	world_must_open(&t, k.w, &k.h.s, "killed", &o);
	assert_int_equal(vol_status(&t).lsn, lsn);
	assert_int_equal(vol_status(&t).lost_operations, 0);
	file_check(&t, "after", LEN, 77);
	vol_close(&t, false);
}

/* Its data, in place of the record: the same. */
static void test_data(void **state)
{
	struct killed k;
	struct file f[16];

	make_killed(&k, *state, false);
	assert_int_equal(log_files(&k, f, 16), 1);
	file_flip(f[0].path, SEGMENT_DATA_OFFSET + 10);
	check_open(&k, k.lsn_store + 1, 0, 1); /* the first file was made, and never written */
}

/* The store has it: damage is no matter, and no alarm. */
static void test_cache(void **state)
{
	struct world *w = *state;
	struct killed k = { .w = w };
	struct volume_options o;
	struct file f[16];
	struct vol t;
	size_t n;

	make_killed(&k, w, true);
	options(&o);
	atomic_store(&k.h.away, false);
	world_must_open(&t, w, &k.h.s, "killed", &o);
	assert_int_equal(vol_sync(&t), 0);
	vol_close(&t, false);
	k.lsn_store = 0;
	n = log_files(&k, f, 16);
	for (size_t i = 0; i < n; i++)
		file_flip(f[i].path, i % 2 ? 20 : SEGMENT_DATA_OFFSET);
	world_must_open(&t, w, &k.h.s, "killed", &o);
	assert_int_equal(vol_status(&t).lost_operations, 0);
	assert_string_equal(vol_status(&t).error, "");
	for (unsigned i = 0; i < FILES; i++)
		file_check(&t, name_of(i), LEN, i);
	assert_int_equal(salvaged(&k), 0);
	vol_close(&t, false);
}

/* The mark itself. */
static void test_mark(void **state)
{
	struct volume_options o;
	struct killed k;
	struct vol t;
	char path[200];

	make_killed(&k, *state, true);
	options(&o);
	snprintf(path, sizeof path, "%s/durable", k.dir);
	for (unsigned i = 0; i < 3; i++) {
		if (i == 0)
			file_flip(path, 30);
		else if (i == 1)
			assert_int_equal(unlink(path), 0);
		world_must_open(&t, k.w, &k.h.s, "killed", &o);
		assert_int_equal(vol_status(&t).lsn, k.lsn);
		assert_int_equal(vol_status(&t).lost_operations, 0);
		assert_int_equal(strstr(vol_status(&t).error, "durable") != NULL, i < 2);
		vol_close(&t, false);
	}
}

/* The file that says whose log it is. */
static void test_identity(void **state)
{
	struct killed k;
	char path[200];

	make_killed(&k, *state, true);
	snprintf(path, sizeof path, "%s/local", k.dir);
	file_flip(path, 30);
	/* it is not known to be the writer's own any more, who may be alive */
	{
		struct volume_options o;
		struct vol t;

		options(&o);
		o.takeover = true;
		world_must_open(&t, k.w, &k.h.s, "killed", &o);
		assert_int_equal(vol_status(&t).lsn, k.lsn_store);
		assert_int_equal(vol_status(&t).lost_operations, k.lsn - k.lsn_store);
		assert_int_equal(salvaged(&k), FILES);
		vol_close(&t, false);
	}
}

/* Nobody can cut the map short under its mapping, or write to it. */
static void test_map_has_no_name(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol t;
	char path[200];

	options(&o);
	world_must_open(&t, w, w->mem, "first", &o);
	file_put(&t, "f", LEN, 1);
	snprintf(path, sizeof path, "%s/first/meta/map", w->base);
	assert_int_not_equal(access(path, F_OK), 0);
	vol_close(&t, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_first_record, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_header, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_header_gone, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_file_gone, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_middle_file, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_middle_record, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_passing_misread, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_data, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_cache, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_mark, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_identity, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_map_has_no_name, world_setup, world_teardown),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
