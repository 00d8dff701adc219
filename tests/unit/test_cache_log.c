/*
 * test_cache_log.c - the segment cache and the local log: from a new segment to one that is cache, spares, restarts, and all
 * of it on a disk that fails.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "../lib/cache_world.h"
#include "cache_impl.h"

#define FILE_BYTES ((uint64_t)SEGMENT_DATA_OFFSET + SEGMENT_DATA_MAX)

/* --- local log --- */

static struct segment *new_log(uint64_t id, uint32_t bytes, bool sync)
{
	struct segment_header h = { .id = id, .salt = id * 3 + 1, .epoch = 1, .first_lsn = 10 };
	uint8_t *data = calloc(1, bytes + 8);
	struct buf b = BUF_INIT;
	struct segment *s;
	uint64_t hash, lsn;
	uint32_t logical;
	size_t start;

	fill(id, data, bytes);
	assert_int_equal(cache_new_log(c, &h, &s), 0);
	record_begin(&b, &start);
	assert_int_equal(segment_append_data(s, data, bytes, &logical, &hash), 0);
	record_data(&b, start, logical, bytes, hash);
	record_finish(&b, start, 10, 1, 0, h.salt);
	assert_int_equal(segment_append_record(s, b.data, b.len, 10), 0);
	if (sync)
		assert_int_equal(segment_sync(s, &lsn), 0);
	buf_free(&b);
	free(data);
	return s;
}

/* Freezes, encodes, stores the object, and tells the cache. Takes the caller's reference. */
static struct segment_ref commit(struct segment *s)
{
	uint64_t id = segment_header(s)->id;
	uint32_t len = segment_data_len(s);
	struct segment_ref r;
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 1, .first_lsn = 1, .segment_id = id, .data_len = len };
	struct object_table *t = malloc(sizeof(*t));
	uint8_t *data = malloc(SEGMENT_DATA_MAX);
	struct buf b = BUF_INIT;

	segment_freeze(s);
	r = make_object(id, len, NULL);
	assert_int_equal(segment_load_data(s, data), 0);
	f.slot = r.slot;
	assert_int_equal(object_encode_cut(&f, data, NULL, "run", 3, 0, t, &b), 0);
	assert_memory_equal(f.table_hash, r.table_hash, HASH_BYTES);
	assert_int_equal(segment_set_table(s, t), 0);
	segment_unref(s); /* the cache has its own; while another reads from a file, it is not moved */
	cache_log_committed(c, s, &r);
	buf_free(&b);
	free(data);
	free(t);
	return r;
}

/* What was begun is done, however long a busy machine takes; and a little longer, for what only a timer begins. */
static void settle(void)
{
	bool busy = true;
	unsigned i;

	usleep(60000);
	for (i = 0; busy && i < 2000; i++) {
		pthread_mutex_lock(&c->mu);
		busy = c->busy != 0;
		pthread_mutex_unlock(&c->mu);
		if (busy)
			usleep(5000);
	}
}

static void test_log_life(void **state)
{
	struct segment_ref refs[12], r = { .id = 0 };
	struct segment *s;
	uint8_t b[100];
	unsigned i;

	(void)state;
	open_cache(120 * MIB, false);
	for (i = 0; i < 12; i++) {
		uint64_t id = i + 1;

		s = new_log(id, i % 3 == 2 ? 8 * MIB : 30000, true);
		r = (struct segment_ref){ .id = id };
		assert_int_equal(cache_read(c, &r, 5, 100, b, NULL), 0); /* found by ID alone */
		refs[i] = commit(s);
		settle();
		check(&refs[i], 0, refs[i].data_len);
		assert_true(fault_disk_usage(d) <= 120 * MIB);
	}
	assert_int_equal(gets(), 0); /* what was written here needs no fetch */
	assert_true(status().log_bytes == 0);
	/* The small ones went to files of their size. */
	assert_true(status().used_bytes < 6 * (uint64_t)FULL_FILE + 8 * 120000);
	reopen_cache(120 * MIB);
	for (i = 0; i < 12; i++)
		check(&refs[i], 0, refs[i].data_len);
	assert_int_equal(gets(), 0);
	cache_drop(c, 1);
	assert_int_not_equal(cache_read(c, &refs[0], 0, 10, b, NULL), 0);
}

/* The spare that a small committed segment leaves is the same blocks again: nothing is allocated in the steady state. */
static void test_recycling(void **state)
{
	struct segment_ref r;
	unsigned i;

	(void)state;
	open_cache(40 * MIB, false);
	r = commit(new_log(1, 5000, true));
	settle();
	fault_disk_fail(d, FAULT_OPEN, 0, 0, 0);
	for (i = 2; i < 20; i++) {
		r = commit(new_log(i, 5000, true));
		settle();
		check(&r, 0, 5000);
	}
	assert_int_equal(gets(), 0);
	assert_true(status().used_bytes <= 3 * (uint64_t)FULL_FILE);
	for (i = 20; i < 30; i++) { /* empty ones: dropped */
		struct segment *s = new_log(i, 8, true);

		segment_freeze(s);
		cache_drop(c, i);
		segment_unref(s);
		settle();
	}
	assert_true(status().used_bytes <= 3 * (uint64_t)FULL_FILE);
	/* Large ones fill the budget, and evicted files are used again. */
	for (i = 30; i < 40; i++) {
		r = commit(new_log(i, 8 * MIB, true));
		settle();
		check(&r, 0, 8 * MIB);
		assert_true(fault_disk_usage(d) <= 40 * MIB);
	}
	assert_int_equal(gets(), 0);
}

static void sync_often(struct segment *s)
{
	uint64_t lsn;
	unsigned i;

	for (i = 0; i < 70; i++)
		assert_int_equal(segment_sync(s, &lsn), 0);
}

static ino_t file_of(uint64_t id)
{
	struct stat st;
	char path[128];

	seg_path(id, path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

/* Log files go round while some are under way to the store: no more are ever made than that takes, whatever is in them. */
static void go_round(uint64_t budget, unsigned limit)
{
	enum { UNDER_WAY = 3, SEGMENTS = 24 };
	struct segment *s[UNDER_WAY];
	struct segment_ref refs[SEGMENTS];
	ino_t seen[SEGMENTS];
	atomic_bool stop = false;
	unsigned i, k, files = 0;
	pthread_t watch;
	void *peak;

	open_cache(budget, false);
	assert_int_equal(pthread_create(&watch, NULL, watch_budget, &stop), 0);
	for (i = 0; i < SEGMENTS + UNDER_WAY; i++) {
		if (i >= UNDER_WAY) {
			refs[i - UNDER_WAY] = commit(s[i % UNDER_WAY]);
			settle();
			check(&refs[i - UNDER_WAY], 0, refs[i - UNDER_WAY].data_len);
		}
		if (i >= SEGMENTS)
			continue;
		s[i % UNDER_WAY] = new_log(i + 1, i % 3 ? 8 * MIB - 4096 * i : 5000, true);
		sync_often(s[i % UNDER_WAY]);
		settle(); /* a file that is being made is not made twice */
		for (k = 0; k < files && seen[k] != file_of(i + 1); k++)
			;
		if (k == files)
			seen[files++] = file_of(i + 1);
	}
	print_message("%u files for %u segments\n", files, SEGMENTS);
	assert_true(files <= limit);
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(watch, &peak), 0);
	assert_true((uintptr_t)peak <= budget);
	for (i = 0; i < SEGMENTS; i++)
		check(&refs[i], 0, refs[i].data_len);
}

static void test_files_go_round(void **state)
{
	(void)state;
	go_round(400 * MIB, 5);
	assert_int_equal(gets(), 0); /* every byte was kept on its way out of them */
}

/* The same where the copies of old segments have to give way. */
static void test_files_go_round_full(void **state)
{
	(void)state;
	go_round(100 * MIB, 6);
}

/* A stream's file is not copied; one that was synced often is. Both hold what was written. */
static void test_large_files(void **state)
{
	struct segment_ref stream, often;
	struct segment *s;
	ino_t before;

	(void)state;
	open_cache(400 * MIB, false);
	s = new_log(1, 8 * MIB, true);
	before = file_of(1);
	stream = commit(s);
	settle();
	assert_int_equal(file_of(1), before);
	s = new_log(2, 8 * MIB, true);
	sync_often(s);
	before = file_of(2);
	often = commit(s);
	settle();
	assert_int_not_equal(file_of(2), before);
	check(&stream, 0, stream.data_len);
	check(&often, 0, often.data_len);
	reopen_cache(400 * MIB);
	check(&stream, 0, stream.data_len);
	check(&often, 0, often.data_len);
	assert_int_equal(gets(), 0);
}

/* Bytes of spare files, and of those the bytes that were never written. */
static void look_at_spares(uint64_t *ret_bytes, uint64_t *ret_unwritten)
{
	uint64_t bytes = 0, unwritten = 0;
	struct dirent *de;
	DIR *stream = opendir(dir);

	assert_non_null(stream);
	while ((de = readdir(stream))) {
		int fd = strncmp(de->d_name, "spare-", 6) ? -1 : openat(dirfd(stream), de->d_name, O_RDONLY);
		off_t size, hole = 0, data;

		if (fd < 0)
			continue;
		size = lseek(fd, 0, SEEK_END);
		bytes += (uint64_t)size;
		while ((hole = lseek(fd, hole, SEEK_HOLE)) >= 0 && hole < size) {
			data = lseek(fd, hole, SEEK_DATA);
			unwritten += (uint64_t)((data < 0 ? size : data) - hole);
			hole = data < 0 ? size : data;
		}
		(void)close(fd);
	}
	(void)closedir(stream);
	*ret_bytes = bytes;
	*ret_unwritten = unwritten;
}

/* While a stream goes on, files are not written beforehand: it seldom syncs. Where it does not, those made anew and those that go round are. */
static void test_filled_ahead(void **state)
{
	uint64_t bytes, unwritten;
	struct segment *s[3];
	unsigned i, filled;

	(void)state;
	open_cache(400 * MIB, false);
	for (i = 0; i < 3; i++) {
		(void)commit(new_log(i + 1, 8 * MIB, true));
		settle();
	}
	assert_int_equal(fault_disk_filled(d), 0);
	s[0] = new_log(10, 8 * MIB, true);
	sync_often(s[0]);
	(void)commit(s[0]);
	settle();
	assert_true(fault_disk_filled(d) >= 1); /* its own file, which is a spare now, and spares that the stream had left */
	look_at_spares(&bytes, &unwritten);
	assert_true(bytes >= FILE_BYTES);
	assert_int_equal(unwritten, 0);
	for (i = 0; i < 3; i++) { /* more than there are spares */
		s[i] = new_log(11 + i, 8 * MIB, true);
		settle();
	}
	filled = fault_disk_filled(d);
	assert_true(filled > 2);
	for (i = 0; i < 3; i++)
		(void)commit(s[i]);
	settle();
	assert_int_equal(fault_disk_filled(d), filled);
	reopen_cache(400 * MIB); /* removes the spares */
	for (i = 0; i < 8; i++) { /* little in each, and not always synced */
		(void)commit(new_log(20 + i, 5000 + 100000 * i, i % 2));
		settle();
	}
	look_at_spares(&bytes, &unwritten);
	print_message("%u fills, %llu bytes of spares, %llu never written\n", fault_disk_filled(d), (unsigned long long)bytes, (unsigned long long)unwritten);
	assert_true(bytes >= FILE_BYTES);
	assert_int_equal(unwritten, 0);
}

static void test_log_budget(void **state)
{
	struct segment *s[16], *extra;
	struct segment_header h = { .id = 99, .salt = 1, .epoch = 1, .first_lsn = 10 };
	struct segment_ref r, old;
	unsigned i, n = 0;

	(void)state;
	open_cache(60 * MIB, false);
	old = make_object(500, 2 * MIB, NULL);
	check(&old, 0, 2 * MIB);
	while (n < 16 && !cache_log_held(c)) {
		s[n] = new_log(n + 1, 8 * MIB - 5000, true);
		segment_freeze(s[n]);
		segment_drop_memory(s[n]);
		n++;
		settle();
		assert_true(fault_disk_usage(d) <= 60 * MIB);
	}
	print_message("%u unsent segments in 60 MiB\n", n);
	assert_in_range(n, 5, 7);
	assert_int_equal(cache_new_log(c, &h, &extra), -ENOSPC);
	/* Whatever is read meanwhile, no unsent byte is given up for it. */
	for (i = 0; i < 20; i++) {
		r = make_object(600 + i, MIB, NULL);
		check(&r, 0, MIB);
	}
	assert_true(fault_disk_usage(d) <= 60 * MIB);
	for (i = 0; i < n; i++) {
		r = (struct segment_ref){ .id = i + 1, .data_len = 8 * MIB - 5000 };
		check(&r, 0, r.data_len);
	}
	for (i = 0; i < n; i++) {
		r = commit(s[i]);
		check(&r, 0, r.data_len);
	}
	settle();
	assert_true(!cache_log_held(c));
	assert_int_equal(cache_new_log(c, &h, &extra), 0);
	segment_unref(extra);
}

static void test_small_log_in_outage(void **state)
{
	struct segment *s[40];
	struct segment_ref r;
	unsigned n = 0, i;

	(void)state;
	open_cache(60 * MIB, false);
	while (n < 40 && !cache_log_held(c)) { /* one-second cuts with little in them while the store is away */
		s[n] = new_log(n + 1, 10000, true);
		segment_freeze(s[n]);
		n++;
		settle();
	}
	print_message("%u small unsent segments in 60 MiB\n", n);
	assert_true(n == 40);
	for (i = 0; i < n; i++) {
		r = (struct segment_ref){ .id = i + 1, .data_len = 10000 };
		check(&r, 0, 10000);
		segment_unref(s[i]);
	}
}

static struct segment *found[8];
static unsigned found_count;

/* None; or one whose header does not hold, which the volume judges: here, what was never begun goes and the rest is put aside. */
static bool broken(uint64_t id, struct segment *s, int why)
{
	if (!s && why == -ENODATA)
		cache_drop(c, id);
	else if (!s)
		assert_int_equal(cache_set_aside(c, id), 0);
	return !s;
}

static int keep(void *user, uint64_t id, struct segment *s, int why)
{
	(void)user;
	if (broken(id, s, why))
		return 0;
	found[found_count++] = segment_ref(s);
	cache_adopt_log(c, s);
	return 0;
}

static int look(void *user, uint64_t id, struct segment *s, int why)
{
	if (!broken(id, s, why))
		(*(unsigned *)user)++;
	return 0;
}

static int count_record(void *user, struct record *r)
{
	(void)r;
	(*(unsigned *)user)++;
	return 0;
}

static void test_restart_with_log(void **state)
{
	struct segment *s[3];
	struct segment_ref done, r;
	unsigned i, n = 0;
	char path[140];

	(void)state;
	open_cache(60 * MIB, false);
	done = commit(new_log(50, 8 * MIB, true));
	settle();
	for (i = 0; i < 3; i++)
		s[i] = new_log(i + 1, 5 * MIB, i < 2); /* the third was never synced */
	cache_close(c);
	for (i = 0; i < 3; i++)
		segment_unref(s[i]);

	/* A read-only mount under pressure touches none of it. */
	open_cache(36 * MIB, true);
	for (i = 0; i < 20; i++) {
		r = make_object(600 + i, MIB, NULL);
		check(&r, 0, MIB);
	}
	cache_close(c);

	open_cache(60 * MIB, false);
	for (i = 0; i < 20; i++) { /* nor does a writer before it has looked */
		r = make_object(700 + i, MIB, NULL);
		check(&r, 0, MIB);
	}
	found_count = 0;
	assert_int_equal(cache_scan_log(c, keep, NULL), 0);
	assert_int_equal(found_count, 2); /* the committed one is cache, the third never began */
	(void)snprintf(path, sizeof(path), "%s/seg-0000000000000003", dir);
	assert_int_not_equal(access(path, F_OK), 0);
	for (i = 0; i < 2; i++) {
		unsigned records = 0;

		assert_int_equal(segment_replay(found[i], count_record, &records), 0);
		assert_int_equal(records, 1);
		segment_freeze(found[i]);
		assert_int_equal(segment_data_len(found[i]), 5 * MIB);
	}
	for (i = 0; i < 30; i++) {
		r = make_object(800 + i, MIB, NULL);
		check(&r, 0, MIB);
	}
	r = (struct segment_ref){ .id = segment_header(found[0])->id, .data_len = 5 * MIB };
	check(&r, 0, 5 * MIB);
	r = commit(found[0]);
	check(&r, 0, 5 * MIB);
	(void)snprintf(path, sizeof(path), "%s/salvage/seg-%016llx", dir, (unsigned long long)segment_header(found[1])->id);
	assert_int_equal(cache_salvage(c, found[1]), 0);
	assert_int_equal(access(path, F_OK), 0);
	segment_unref(found[1]);
	settle();
	n = 0;
	reopen_cache(60 * MIB);
	assert_int_equal(cache_scan_log(c, look, &n), 0);
	assert_int_equal(n, 0);
	check(&done, 0, done.data_len);
}

/* Log that the volume does not want is cache like any other, evictable; and one with a broken header is put aside, not deleted. */
static void test_unwanted_log(void **state)
{
	struct segment *s;
	struct segment_ref r;
	unsigned i, n = 0;
	char path[140];

	(void)state;
	open_cache(60 * MIB, false);
	for (i = 0; i < 2; i++) {
		s = new_log(i + 1, 5 * MIB, true);
		segment_unref(s);
	}
	cache_close(c);
	c = NULL;
	spoil_file(2, 30, 1);
	open_cache(24 * MIB, false);
	assert_int_equal(cache_scan_log(c, look, &n), 0);
	assert_int_equal(n, 1);
	(void)snprintf(path, sizeof(path), "%s/salvage/seg-0000000000000002", dir);
	assert_int_equal(access(path, F_OK), 0);
	for (i = 0; i < 30; i++) {
		r = make_object(800 + i, MIB, NULL);
		check(&r, 0, MIB);
	}
	(void)snprintf(path, sizeof(path), "%s/seg-0000000000000001", dir);
	assert_int_not_equal(access(path, F_OK), 0);
}

/* The map said "unacknowledged" a moment ago, and the segment was acknowledged, and perhaps evicted, since. */
static void test_stale_ref(void **state)
{
	struct segment_ref r, stale = { .id = 1 };
	struct waiting p;
	uint8_t b[10];

	(void)state;
	open_cache(60 * MIB, false);
	r = commit(new_log(1, 5000, true));
	settle();
	assert_int_equal(cache_read(c, &stale, 0, 10, b, NULL), 0); /* still here */
	cache_drop(c, 1);
	settle();
	waiting_init(&p, 0);
	assert_int_equal(cache_read(c, &stale, 0, 10, b, &p.w), ERR_PARKED);
	assert_int_equal(waiting_wait(&p), 0); /* look again */
	assert_int_equal(cache_read(c, &stale, 0, 10, b, NULL), -EAGAIN);
	check(&r, 0, 5000);
}

/* More log than there may be descriptors: an outage, and then a start with all of it. */
static int keep_many(void *user, uint64_t id, struct segment *s, int why)
{
	unsigned *n = user, records = 0;

	assert_false(broken(id, s, why));
	assert_int_equal(segment_replay(s, count_record, &records), 0);
	assert_int_equal(records, 1);
	segment_freeze(s);
	cache_adopt_log(c, s);
	(*n)++;
	return 0;
}

static void test_much_log(void **state)
{
	enum { MANY = 300 };
	struct segment_ref r;
	unsigned i, n = 0;

	(void)state;
	open_cache(150 * MIB, false);
	for (i = 0; i < MANY; i++) {
		struct segment *s = new_log(i + 1, 3000, true);

		segment_freeze(s);
		segment_drop_memory(s);
		segment_unref(s);
	}
	assert_true(fault_disk_usage(d) <= 150 * MIB);
	for (i = 0; i < MANY; i++) {
		r = (struct segment_ref){ .id = i + 1, .data_len = 3000 };
		check(&r, 0, 3000);
	}
	reopen_cache(150 * MIB);
	assert_int_equal(cache_scan_log(c, keep_many, &n), 0);
	assert_int_equal(n, MANY);
	for (i = 0; i < MANY; i++) {
		r = (struct segment_ref){ .id = i + 1, .data_len = 3000 };
		check(&r, 0, 3000);
	}
	assert_true(fault_disk_open_peak(d) <= CACHE_OPEN_MAX);
	assert_true(fault_disk_usage(d) <= 150 * MIB);
}

/* A file whose sync failed holds no log again, and one never seen to fail does. */
static void test_failed_file_not_recycled(void **state)
{
	struct segment *s;
	uint64_t lsn;

	(void)state;
	open_cache(60 * MIB, false);
	settle();
	assert_true(status().used_bytes <= 2 * (uint64_t)FULL_FILE);
	s = new_log(1, 5000, false);
	settle();
	fault_disk_fail(d, FAULT_SYNC, 0, 1, -EIO);
	assert_int_equal(segment_sync(s, &lsn), -EIO);
	fault_disk_fail(d, FAULT_RENAME, 0, 0, 0);
	(void)commit(s);
	settle();
	assert_int_equal(fault_disk_calls(d), 0); /* making a spare of it begins with a rename */
}

struct chaos { atomic_bool stop; struct segment_ref *refs; };

static void *chaos_run(void *arg)
{
	static const unsigned ops[] = { FAULT_OPEN, FAULT_PREAD, FAULT_PWRITE, FAULT_SYNC, FAULT_RENAME, FAULT_UNLINK, FAULT_ALLOCATE,
					FAULT_ANY, 0 };
	static const int codes[] = { -EIO, -ENOSPC, -EMFILE };
	struct chaos *k = arg;
	uint64_t rng = 5, id = 5000;

	while (!atomic_load(&k->stop)) {
		struct segment_header h = { .id = id, .salt = id, .epoch = 1, .first_lsn = 1 };
		struct segment *s;
		size_t what = rng_below(&rng, 12);

		fault_disk_fail(d, ops[rng_below(&rng, CL_ARRAY_LEN(ops))], (unsigned)rng_below(&rng, 20),
				(unsigned)rng_below(&rng, 50), codes[rng_below(&rng, 3)]);
		if (what == 0)
			cache_drop(c, 1 + rng_below(&rng, 24));
		if (what == 1)
			shim_mode(SHIM_AWAY, 0);
		if (what < 4 && cache_new_log(c, &h, &s) == 0) {
			cache_drop(c, id);
			segment_unref(s);
		}
		id++;
		usleep(2000);
		if (what == 1)
			shim_mode(SHIM_PASS, 0);
	}
	fault_disk_fail(d, 0, 0, 0, 0);
	return NULL;
}

/* Whatever the disk does, and though the store goes away now and then: every read is answered, with the right bytes. */
static void test_chaos(void **state)
{
	struct segment_ref refs[24];
	struct chaos k = { .refs = refs };
	atomic_bool stop = false;
	struct load l[3];
	pthread_t t[3], w, watch;
	unsigned i;
	void *peak;

	(void)state;
	open_cache(40 * MIB, false);
	assert_int_equal(pthread_create(&watch, NULL, watch_budget, &stop), 0);
	for (i = 0; i < 24; i++)
		refs[i] = make_object(i + 1, 1000000 + i * 150000, NULL);
	assert_int_equal(pthread_create(&w, NULL, chaos_run, &k), 0);
	for (i = 0; i < 3; i++) {
		l[i] = (struct load){ refs, 24, 150, i + 1 };
		assert_int_equal(pthread_create(&t[i], NULL, load_run, &l[i]), 0);
	}
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	atomic_store(&k.stop, true);
	assert_int_equal(pthread_join(w, NULL), 0);
	shim_mode(SHIM_PASS, 0);
	for (i = 0; i < 24; i++)
		check(&refs[i], 0, refs[i].data_len);
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(watch, &peak), 0);
	assert_true((uintptr_t)peak <= 40 * MIB); /* files that could not be removed included */
	assert_true(fault_disk_usage(d) <= status().used_bytes);
}

static void test_sync_failed_log(void **state)
{
	struct segment *s;
	struct segment_ref r;
	uint64_t lsn;

	(void)state;
	open_cache(60 * MIB, false);
	settle();
	s = new_log(1, 70000, false);
	fault_disk_fail(d, FAULT_SYNC, 0, 1, -EIO);
	assert_int_equal(segment_sync(s, &lsn), -EIO);
	fault_disk_fail(d, 0, 0, 0, 0);
	r = commit(s);
	settle();
	check(&r, 0, 70000); /* from whatever of the file verifies, and the store */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_log_life), T(test_recycling), T(test_files_go_round), T(test_files_go_round_full), T(test_large_files), T(test_filled_ahead), T(test_log_budget), T(test_small_log_in_outage),
		T(test_restart_with_log), T(test_unwanted_log), T(test_stale_ref), T(test_much_log),
		T(test_failed_file_not_recycled), T(test_chaos), T(test_sync_failed_log),
	};

	be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
