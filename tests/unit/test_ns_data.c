/*
 * test_ns_data.c - reading and writing on an engine in memory: parking, fragments, long truncations, shared extents, readahead, reads that
 * meet a changing map. Prints what operations cost.
 */
#include "../lib/fake/ns_test.h"

/* --- parking --- */

static void test_parking(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644);
	struct answer a = { .w.resume = answered };
	static char buf[3 * MIB];
	size_t got;

	(void)state;
	fake_park(v, 1);
	assert_int_equal(volume_write(v, f, 0, "abc", 3, false, false, NULL), -EAGAIN);
	assert_int_equal(volume_write(v, f, 0, "abc", 3, false, false, &a.w), ERR_PARKED);
	assert_int_equal(attr(v, f).size, 0);
	fake_release(v, -EIO);
	assert_true(a.done);
	assert_int_equal(a.rc, -EIO);
	/* Data in two segments: all is asked for before the read parks (the first piece by the read itself). */
	memset(buf, 'q', sizeof buf);
	for (unsigned n = 0; n < 20; n++)
		put(v, f, n * (uint64_t)MIB, buf, MIB);
	fake_evict(v);
	assert_int_equal(volume_read(v, f, 6 * MIB, 3 * MIB, buf, &got, NULL), -EAGAIN);
	a.done = false;
	memset(&v->stats, 0, sizeof v->stats);
	assert_int_equal(volume_read(v, f, 6 * MIB, 3 * MIB, buf, &got, &a.w), ERR_PARKED);
	assert_true(fake_stats(v)->prefetched_bytes >= MIB);
	assert_int_equal(fake_stats(v)->parked, 1);
	assert_false(a.done);
	fake_arrive(v);
	assert_true(a.done);
	assert_int_equal(volume_read(v, f, 6 * MIB, 3 * MIB, buf, &got, &a.w), 0);
	assert_int_equal(got, 3 * MIB);
	finish(v);
}

/* --- reads that meet a changing map --- */

struct meddle { uint64_t ino; unsigned times; bool overwrite; };

static void meddle(struct volume *v, void *user)
{
	struct meddle *m = user;
	static const char fresh_bytes[] = "new bytes";

	if (m->times-- == 0)
		return;
	fake_damage(v, 0, true);
	if (m->overwrite) {
		/* What was read from is gone, as when its object was made without it; the map has another answer. */
		v->segments[v->count - 1].len = SEGMENT_DATA_MAX;
		put(v, m->ino, 0, fresh_bytes, sizeof fresh_bytes);
		v->segments[v->count - 1].damaged = false;
	}
}

static void test_read_race(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644);
	struct meddle m = { .ino = f, .times = 1, .overwrite = true };
	char buf[32] = "";
	size_t got;

	(void)state;
	put(v, f, 0, "old bytes", 10);
	fake_on_read(v, meddle, &m);
	assert_int_equal(volume_read(v, f, 0, sizeof buf, buf, &got, NULL), 0);
	assert_int_equal(got, 10);
	assert_string_equal(buf, "new bytes");
	/* Where the map still says the same, damage is damage. */
	m = (struct meddle){ .ino = f, .times = 1 };
	fake_on_read(v, meddle, &m);
	assert_int_equal(volume_read(v, f, 0, sizeof buf, buf, &got, NULL), ERR_DAMAGED);
	fake_damage(v, 0, false);
	v->segments[v->count - 1].refs[0] += 0;
	finish(v);
}

/* --- fragments --- */

static void check_pattern(struct volume *v, uint64_t f, const uint8_t *want, size_t len)
{
	uint8_t *got = malloc(len);
	struct answer a = { .w.resume = answered };
	size_t n;

	assert_non_null(got);
	assert_int_equal(volume_read(v, f, 0, len, got, &n, &a.w), 0);
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
	free(got);
}

static unsigned most_in_a_block(struct volume *v, uint64_t f, uint64_t size)
{
	unsigned most = 0, n;

	for (uint64_t b = 0; b < size; b += NS_FRAGMENT_BLOCK) {
		assert_int_equal(ns_fragment_count(v->meta, f, b, UINT64_MAX, UINT64_MAX, &n), 0);
		if (n > most)
			most = n;
	}
	return most;
}

static void test_fragments(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), s = 42, mtime;
	static uint8_t want[2 * MIB], big[MIB];
	struct answer a = { .w.resume = answered };
	unsigned n;

	(void)state;
	/* Single bytes all over the place: the worst there is. */
	for (n = 0; n < 60000; n++) {
		size_t at = rng_below(&s, 2 * MIB);

		want[at] = (uint8_t)(1 + rng_below(&s, 255));
		assert_int_equal(volume_write(v, f, at, &want[at], 1, false, false, &a.w), 0);
	}
	put(v, f, 2 * MIB - 1, &want[2 * MIB - 1], 1);
	assert_true(most_in_a_block(v, f, 2 * MIB) <= NS_FRAGMENTS_MAX);
	print_message("60000 single bytes in 2 MiB: %u extents, at most %u in 64 KiB, %" PRIu64 " bytes written for each\n", extents(v, f),
		      most_in_a_block(v, f, 2 * MIB), fake_stats(v)->data_bytes / 60000);
	check_pattern(v, f, want, sizeof want);
	/* Holes do the same. */
	for (n = 0; n < 20000; n++) {
		size_t at = rng_below(&s, 2 * MIB - 9);

		memset(want + at, 0, 7);
		assert_int_equal(volume_fallocate(v, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 7, &a.w), 0);
	}
	assert_true(most_in_a_block(v, f, 2 * MIB) <= NS_FRAGMENTS_MAX);
	check_pattern(v, f, want, sizeof want);
	/* One write over a megabyte of that is one record. */
	memset(big, 0x5a, sizeof big);
	memcpy(want + 300001, big, sizeof big);
	mtime = fake_stats(v)->records;
	assert_int_equal(volume_write(v, f, 300001, big, sizeof big, false, false, &a.w), 0);
	assert_in_range(fake_stats(v)->records - mtime, 1, 3);
	check_pattern(v, f, want, sizeof want);
	print_message("largest record: %" PRIu64 " bytes\n", fake_stats(v)->record_bytes_max);
	finish(v);
}

static void test_appends(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), g = make(v, 1, "g", S_IFREG | 0644);
	static uint8_t page[4096], line[100];
	unsigned n;

	(void)state;
	for (n = 0; n < 512; n++)
		assert_int_equal(volume_write(v, f, 0, page, sizeof page, true, false, NULL), 0);
	assert_int_equal(extents(v, f), 1);
	for (n = 0; n < 20000; n++)
		assert_int_equal(volume_write(v, g, 0, line, sizeof line, true, false, NULL), 0);
	assert_int_equal(attr(v, g).size, 2000000);
	print_message("2 MiB of 4 KiB appends: 1 extent; 20000 lines of 100 bytes: %u extents, %" PRIu64 " bytes written\n", extents(v, g),
		      fake_stats(v)->data_bytes - 512 * 4096);
	assert_true(extents(v, g) < 1000);
	finish(v);
}

/* A block whose pieces cannot be read stays as it is, and what would be too much for a record is refused whole. */
static void test_fragments_damaged(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644);
	struct answer a = { .w.resume = answered };
	static uint8_t big[MIB];
	struct volume_attr before;
	unsigned n;

	(void)state;
	for (n = 0; n < 1100; n++) {
		uint64_t last = v->segments ? v->segments[v->count - 1].id : 0;

		assert_int_equal(volume_write(v, f, n * 40, "x", 1, false, false, &a.w), 0);
		fake_damage(v, last, true);
	}
	assert_true(extents(v, f) > META_EXTENTS_PER_OP);
	before = attr(v, f);
	assert_int_equal(volume_write(v, f, 0, big, sizeof big, false, false, &a.w), -EIO);
	assert_true(attr(v, f).change == before.change);
	finish(v);
}

/* While the pieces of a block are read to be joined, one of them is written: the new byte must win. */
static void write_meanwhile(struct volume *v, void *user)
{
	uint64_t f = *(uint64_t *)user;

	put(v, f, 400, "N", 1);
}

static void test_fragments_race(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644);
	struct answer a = { .w.resume = answered };
	static uint8_t want[70000];
	unsigned n;

	(void)state;
	for (n = 0; n < NS_FRAGMENTS_MAX; n++) {
		want[n * 40] = 'o';
		put(v, f, n * 40, "o", 1);
	}
	want[400] = 'N';
	want[60000] = 'x';
	fake_on_read(v, write_meanwhile, &f);
	assert_int_equal(volume_write(v, f, 60000, "x", 1, false, false, &a.w), 0);
	check_pattern(v, f, want, 60001);
	assert_int_equal(extents(v, f), 2);
	/* Away when they are asked for: the write parks before it has changed anything. */
	for (n = 0; n < NS_FRAGMENTS_MAX; n++)
		put(v, f, 4096 + n * 40, "o", 1);
	for (n = 0; n < NS_FRAGMENTS_MAX; n++)
		want[4096 + n * 40] = 'o';
	fake_evict(v);
	a.done = false;
	for (n = 0; n < NS_FRAGMENTS_MAX; n++) {
		int rc = volume_write(v, f, 50000 + n * 16, "y", 1, false, false, &a.w);

		if (rc == ERR_PARKED) {
			fake_arrive(v);
			assert_true(a.done);
			assert_int_equal(volume_write(v, f, 50000 + n * 16, "y", 1, false, false, &a.w), 0);
			break;
		}
		assert_int_equal(rc, 0);
	}
	assert_true(a.done);
	for (; n < UINT32_MAX; n--)
		want[50000 + n * 16] = 'y';
	check_pattern(v, f, want, 60001);
	finish(v);
}

/* Sharing must not make what writing may not. */
static void test_fragments_copied(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), g = make(v, 1, "g", S_IFREG | 0644), s = 8, n, done;
	static uint8_t want[MIB], dst[MIB + 40000];
	struct answer a = { .w.resume = answered };

	(void)state;
	for (unsigned k = 0; k < 20000; k++) {
		size_t at = rng_below(&s, MIB);

		want[at] = 'f';
		assert_int_equal(volume_write(v, f, at, "f", 1, false, false, &a.w), 0);
	}
	want[MIB - 1] = 'f';
	put(v, f, MIB - 1, "f", 1);
	for (unsigned k = 0; k < 800; k++) {
		size_t at = rng_below(&s, sizeof dst);

		dst[at] = 'g';
		assert_int_equal(volume_write(v, g, at, "g", 1, false, false, &a.w), 0);
	}
	for (unsigned k = 0; k < 40; k++) {
		size_t from = rng_below(&s, MIB), to = rng_below(&s, 40000), len = 1 + rng_below(&s, MIB - from);

		if (to + len > sizeof dst)
			len = sizeof dst - to;
		memcpy(dst + to, want + from, len);
		for (done = 0; done < len; done += n) {
			assert_int_equal(volume_copy_range(v, f, from + done, g, to + done, len - done, &n, &a.w), 0);
			assert_in_range(n, 1, len - done);
		}
		assert_true(most_in_a_block(v, g, sizeof dst) <= NS_FRAGMENTS_MAX);
	}
	put(v, g, sizeof dst - 1, "g", 1);
	dst[sizeof dst - 1] = 'g';
	check_pattern(v, f, want, sizeof want);
	check_pattern(v, g, dst, sizeof dst);
	finish(v);
}

/* --- truncation, holes and deletion in steps --- */

static void test_truncate(void **state)
{
	struct volume *v = fresh();
	uint64_t f = holey(v, "f", 5000), records;
	struct volume_attr a = { .size = 100 };
	uint8_t buf[9000];
	size_t got;

	(void)state;
	records = fake_stats(v)->records;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_SIZE, &a, &a, NULL), 0);
	assert_int_equal(fake_stats(v)->records - records, 5);
	assert_int_equal(a.size, 100);
	assert_int_equal(a.allocated_bytes, 100);
	assert_int_equal(fake_check(v), 0);
	a.size = 9000;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_SIZE, &a, &a, NULL), 0);
	memset(buf, 0xff, sizeof buf);
	assert_int_equal(volume_read(v, f, 0, sizeof buf, buf, &got, NULL), 0);
	assert_int_equal(got, 9000);
	assert_int_equal(buf[0], 1);
	for (unsigned n = 1; n < 9000; n++)
		assert_int_equal(buf[n], 0);
	/* A step that parks goes on where it was. */
	f = holey(v, "g", 3000);
	struct answer w = { .w.resume = answered };
	fake_park(v, 1);
	a.size = 0;
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_SIZE, &a, &a, &w.w), ERR_PARKED);
	fake_release(v, 0);
	assert_int_equal(volume_setattr(v, f, VOLUME_SET_SIZE, &a, &a, &w.w), 0);
	assert_int_equal(extents(v, f), 0);
	f = holey(v, "h", 3000);
	assert_int_equal(volume_fallocate(v, f, FALLOC_FL_ZERO_RANGE, 100, 3000 * 8192ull, NULL), 0);
	assert_int_equal(extents(v, f), 1);
	assert_int_equal(attr(v, f).size, 100 + 3000 * 8192ull);
	finish(v);
}

static void test_copy(void **state)
{
	struct volume *v = fresh();
	uint64_t f = holey(v, "f", 2000), g = make(v, 1, "g", S_IFREG | 0644), done = 0, n, written = fake_stats(v)->data_bytes;
	uint64_t size = attr(v, f).size;
	unsigned calls = 0;

	(void)state;
	for (; done < size; done += n, calls++) {
		assert_int_equal(volume_copy_range(v, f, done, g, done, size - done, &n, NULL), 0);
		assert_true(n > 0);
	}
	assert_int_equal(fake_stats(v)->data_bytes, written);
	assert_int_equal(extents(v, g), 2000);
	assert_int_equal(attr(v, g).allocated_bytes, 2000 * 4096);
	assert_int_equal(meta_live_bytes(v->meta), 2 * 2000 * 4096);
	print_message("copy_range of 2000 extents: %u calls, no byte written\n", calls);
	/* The origin goes; what was shared stays. */
	assert_int_equal(volume_unlink(v, 1, LIT("f"), NULL), 0);
	fake_run(v);
	assert_int_equal(meta_live_bytes(v->meta), 2000 * 4096);
	finish(v);
}

/* --- readahead --- */

static void test_readahead(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644), s = 3;
	static uint8_t buf[MIB];
	size_t got;
	unsigned n;

	(void)state;
	for (n = 0; n < 64; n++)
		put(v, f, n * (uint64_t)MIB, buf, MIB);
	memset(&v->stats, 0, sizeof v->stats);
	for (n = 0; n < 100; n++)
		assert_int_equal(volume_read(v, f, rng_below(&s, 64) * MIB, 16384, buf, &got, NULL), 0);
	assert_in_range(fake_stats(v)->prefetched_bytes, 0, 4 * MIB);
	memset(&v->stats, 0, sizeof v->stats);
	for (n = 0; n < 256; n++) {
		assert_int_equal(volume_read(v, f, n * 131072ull, 131072, buf, &got, NULL), 0);
		if (n == 4)
			assert_in_range(fake_stats(v)->prefetched_bytes, 1, 2 * MIB);
	}
	/* 32 MiB read: never more than the widest window ahead, and every byte asked for once. */
	assert_in_range(fake_stats(v)->prefetched_bytes, 35 * MIB, 40 * MIB);
	finish(v);
}

/* --- what it costs --- */

/* Processor time: the machine may be busy with other things. */
static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void test_cost(void **state)
{
	struct fake_options o = { .keep_changes = false };
	struct volume *v;
	static uint8_t buf[16384];
	uint64_t s = 9, f;
	const unsigned files = 50000, rounds = 100000, blocks = 4096;
	struct volume_attr a;
	char name[32];
	double t;
	unsigned n;

	(void)state;
	assert_int_equal(fake_open(&o, &v), 0);
	t = now_us();
	for (n = 0; n < files; n++) {
		snprintf(name, sizeof name, "file%u", n);
		make(v, 1, name, S_IFREG | 0644);
	}
	print_message("create %.2f us", (now_us() - t) / files);
	t = now_us();
	for (n = 0; n < rounds; n++) {
		snprintf(name, sizeof name, "file%zu", rng_below(&s, files));
		assert_int_equal(volume_lookup(v, 1, name, strlen(name), &a), 0);
	}
	print_message(", lookup %.2f us", (now_us() - t) / rounds);
	t = now_us();
	for (n = 0; n < rounds; n++)
		assert_int_equal(volume_getattr(v, 2 + rng_below(&s, files), &a), 0);
	print_message(", getattr %.2f us", (now_us() - t) / rounds);
	f = make(v, 1, "db", S_IFREG | 0644);
	for (n = 0; n < blocks; n++)
		put(v, f, n * 16384ull, buf, sizeof buf);
	t = now_us();
	for (n = 0; n < rounds / 4; n++)
		put(v, f, rng_below(&s, blocks) * 16384, buf, sizeof buf);
	t = (now_us() - t) / (rounds / 4.0);
	print_message(", random 16 KiB write %.2f us (with its copy of the data)", t);
	t = now_us();
	for (n = 0; n < files; n++) {
		snprintf(name, sizeof name, "file%u", n);
		assert_int_equal(volume_unlink(v, 1, name, strlen(name), NULL), 0);
	}
	print_message(", unlink %.2f us\n", (now_us() - t) / files);
	assert_int_equal(fake_check(v), 0);
	fake_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parking), cmocka_unit_test(test_read_race), cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_appends), cmocka_unit_test(test_fragments_damaged), cmocka_unit_test(test_fragments_race),
		cmocka_unit_test(test_fragments_copied), cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_copy), cmocka_unit_test(test_readahead), cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests_name("ns_data", tests, NULL, NULL);
}
