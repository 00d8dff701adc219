/*
 * test_segment_crash.c - segment files in bad times: torn writes, recycled space, failed syncs, power loss at every turn.
 */
#include "../lib/segment_model.h"

static void test_torn_records(void **state)
{
	struct model *m = malloc(sizeof(*m));
	char name[SEGMENT_NAME_BYTES];
	size_t at, start, i, expect;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < 6; i++)
		assert_int_equal(model_op(m, (uint32_t)(i * 30)), 0);
	assert_int_equal(model_sync(m), 0);
	segment_unref(m->s);
	segment_name(ID, name);
	start = m->ops[2].record_end;
	/* from the end back, so that each step starts from an intact beginning */
	for (at = m->ops[5].record_end; at-- > start;) {
		for (expect = 0; expect < 6 && m->ops[expect].record_end <= at;)
			expect++;
		flip(name, SEGMENT_RECORDS_OFFSET + at);
		assert_int_equal(replay(m, ID), expect);
		flip(name, SEGMENT_RECORDS_OFFSET + at);
		assert_true(replay(m, ID) >= expect);
		scribble(name, SEGMENT_RECORDS_OFFSET + at, SEGMENT_RECORDS_OFFSET + at + 1, 0);
		assert_in_range(replay(m, ID), expect, expect + 1);
	}
	free(m);
}

static void test_torn_data(void **state)
{
	struct model *m = malloc(sizeof(*m));
	char name[SEGMENT_NAME_BYTES];
	uint32_t at;
	size_t i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < 5; i++)
		assert_int_equal(model_op(m, 333), 0);
	assert_int_equal(model_sync(m), 0);
	segment_unref(m->s);
	segment_name(ID, name);
	for (at = 0; at < 333; at++) {
		uint64_t where = SEGMENT_DATA_OFFSET + m->ops[3].logical + at;

		flip(name, where);
		assert_int_equal(replay(m, ID), 3);
		flip(name, where);
	}
	assert_int_equal(replay(m, ID), 5); /* what lay behind a torn record was left alone */
	free(m);
}

static void test_data_of_another_record(void **state)
{
	struct model *m = malloc(sizeof(*m));
	uint8_t buf[333];
	struct disk_file *f;
	char name[SEGMENT_NAME_BYTES];
	size_t n;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	assert_int_equal(model_op(m, 333), 0);
	assert_int_equal(model_op(m, 333), 0);
	assert_int_equal(model_sync(m), 0);
	segment_unref(m->s);
	segment_name(ID, name);
	assert_int_equal(posix->open(posix, name, DISK_WRITE, &f), 0);
	assert_int_equal(posix->pread(f, buf, 333, SEGMENT_DATA_OFFSET, &n), 0);
	assert_int_equal(posix->pwrite(f, buf, 333, SEGMENT_DATA_OFFSET + m->ops[1].logical), 0);
	posix->close(f);
	assert_int_equal(replay(m, ID), 1);
	free(m);
}

/* Two lives of one file: the same LSNs, the same sizes, so that the old records and data lie exactly where new ones would. */
static void test_recycled(void **state)
{
	struct model *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));
	char name[SEGMENT_NAME_BYTES];
	struct segment *s;
	bool need[SEGMENT_BLOCKS];
	uint8_t buf[4096];
	int i;

	(void)state;
	model_start(a, NULL, ID, SALT, 1);
	for (i = 0; i < 50; i++)
		assert_int_equal(model_op(a, 5000), 0);
	assert_int_equal(model_sync(a), 0);
	segment_unref(a->s);
	segment_name(ID, name);
	assert_int_equal(segment_prepare(d, name, "spare-1", 0), 0);
	assert_int_equal(segment_open(d, ID, &s), -ENOENT);
	assert_int_equal(segment_open_name(d, "spare-1", true, &s), ERR_CORRUPT);
	model_start(b, "spare-1", ID + 1, SALT + 1, 1);
	for (i = 0; i < 10; i++)
		assert_int_equal(model_op(b, 5000), 0);
	assert_int_equal(model_sync(b), 0);
	assert_int_equal(model_op(b, 5000), 0); /* its data is in the file, its record is not */
	segment_unref(b->s);
	assert_int_equal(replay(b, ID + 1), 10);
	/* The old sums hold under the old ID only, and behind the data's end there is nothing. */
	assert_int_equal(segment_open(d, ID + 1, &s), 0);
	assert_int_equal(segment_replay(s, see, &(struct seen){ b, 0 }), 0);
	assert_int_equal(segment_read(s, segment_data_len(s), 1, buf, need), -EINVAL);
	segment_unref(s);
	free(a);
	free(b);
}

/* A recycled file whose old salt and ID come again would replay old records; that the salt alone decides is shown here. */
static void test_salt_decides(void **state)
{
	struct model *a = malloc(sizeof(*a));
	struct segment_header h = header(ID, SALT + 1, 1);
	char name[SEGMENT_NAME_BYTES];
	struct segment *s;
	uint64_t lsn;
	int i;

	(void)state;
	model_start(a, NULL, ID, SALT, 1);
	for (i = 0; i < 5; i++)
		assert_int_equal(model_op(a, 50), 0);
	assert_int_equal(model_sync(a), 0);
	segment_unref(a->s);
	segment_name(ID, name);
	assert_int_equal(segment_prepare(d, name, "spare-1", 0), 0);
	assert_int_equal(segment_create(d, "spare-1", &h, &s), 0);
	assert_int_equal(segment_sync(s, &lsn), 0);
	assert_int_equal(lsn, 0);
	segment_unref(s);
	a->salt = SALT + 1;
	assert_int_equal(replay(a, ID), 0);
	free(a);
}

static void test_sync_failure(void **state)
{
	struct model *m = malloc(sizeof(*m));
	struct seen seen = { m, 0 };
	uint8_t *data = malloc(SEGMENT_DATA_MAX);
	int i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < 20; i++)
		assert_int_equal(model_op(m, 3000), 0);
	assert_int_equal(model_sync(m), 0);
	for (i = 0; i < 20; i++)
		assert_int_equal(model_op(m, 3000), 0);
	fault_disk_fail(d, FAULT_SYNC, 0, 1, -EIO);
	assert_int_equal(model_sync(m), -EIO);
	assert_int_equal(model_sync(m), -EIO); /* though the disk is well again: it was never asked */
	assert_int_equal(fault_disk_calls(d), 1);
	fault_disk_fail(d, FAULT_PWRITE | FAULT_SYNC, 0, 0, 0);
	assert_int_equal(model_op(m, 3000), 0);
	assert_int_equal(fault_disk_calls(d), 0); /* nor is anything written to that file any more */
	segment_freeze(m->s);
	segment_drop_memory(m->s); /* refused: memory is all there is */
	scribble("seg-1234567890abcdef", SEGMENT_DATA_OFFSET, SEGMENT_DATA_OFFSET + (1 << 20), 0);
	model_check_reads(m, m->s, m->count);
	assert_int_equal(segment_load_data(m->s, data), 0);
	/* The records are still to be had, to go on elsewhere. */
	assert_int_equal(segment_replay(m->s, see, &seen), 0);
	assert_int_equal(seen.count, 41);
	segment_committed(m->s); /* now it may go */
	segment_unref(m->s);
	free(data);
	free(m);
}

static void test_append_failure(void **state)
{
	struct model *m = malloc(sizeof(*m));

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	assert_int_equal(model_op(m, 3000), 0);
	fault_disk_fail(d, FAULT_PWRITE, 0, 1, -ENOSPC);
	assert_int_equal(model_op(m, 3000), 0);
	model_check_reads(m, m->s, 2);
	assert_int_equal(model_sync(m), -ENOSPC);
	segment_unref(m->s);
	assert_int_equal(replay(m, ID), 0);
	free(m);
}

/* Memory goes only when the file holds everything. */
static void test_drop_waits_for_sync(void **state)
{
	struct model *m = malloc(sizeof(*m));

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	assert_int_equal(model_op(m, 8192), 0);
	assert_int_equal(model_sync(m), 0);
	assert_int_equal(model_op(m, 8192), 0);
	segment_freeze(m->s);
	segment_drop_memory(m->s);
	scribble("seg-1234567890abcdef", SEGMENT_DATA_OFFSET, SEGMENT_DATA_OFFSET + 4096, 1);
	model_check_reads(m, m->s, 2); /* from memory: the file would not verify */
	assert_int_equal(model_sync(m), 0);
	{
		uint8_t b[8];
		bool need[SEGMENT_BLOCKS];

		assert_int_equal(segment_read(m->s, 0, 8, b, need), ERR_CORRUPT); /* from the file now */
		assert_true(need[0]);
		assert_false(need[1]);
	}
	segment_unref(m->s);
	free(m);
}

/* The whole life up to `count` operations, every disk call failing once at its turn, then power loss. */
static int life(struct model *m)
{
	int rc = segment_prepare(d, NULL, "spare-1", 0), i;
	struct segment_header h = header(ID, SALT, 1);

	memset(m, 0, sizeof(*m));
	m->salt = SALT;
	m->next_lsn = 1;
	m->rng = 99;
	if (rc)
		return rc;
	rc = segment_create(d, "spare-1", &h, &m->s);
	for (i = 0; rc == 0 && i < 12; i++) {
		rc = model_op(m, (uint32_t)i * 700);
		if (rc == 0 && i % 4 == 3)
			(void)model_sync(m); /* what was acknowledged before stays so */
	}
	segment_unref(m->s);
	return rc;
}

static void test_every_call_fails_once(void **state)
{
	struct model *m = malloc(sizeof(*m));
	unsigned n;

	(void)state;
	for (n = 0; n < 60; n++) {
		unsigned calls;

		(void)d->unlink(d, "spare-1");
		(void)d->unlink(d, "seg-1234567890abcdef");
		fault_disk_record(d, true);
		fault_disk_fail(d, FAULT_ANY & ~(unsigned)FAULT_UNLINK, n, 1, -EIO);
		m->s = NULL;
		(void)life(m);
		calls = fault_disk_calls(d);
		fault_disk_fail(d, 0, 0, 0, 0);
		assert_int_equal(fault_disk_power_loss(d, n), 0);
		fault_disk_record(d, false);
		assert_true(replay(m, ID) >= m->acked);
		if (calls <= n)
			break;
	}
	assert_in_range(n, 15, 59); /* the sweep went to the end */
	free(m);
}

static void test_power_loss(void **state)
{
	struct model *a = malloc(sizeof(*a)), *m = malloc(sizeof(*m));
	uint64_t seed;
	size_t replayed = 0, acked = 0, total = 0;

	(void)state;
	for (seed = 1; seed <= 300; seed++) {
		uint64_t rng = seed;
		size_t ops = rng_below(&rng, 40), i;
		bool blank = seed % 3 == 0;

		(void)d->unlink(d, "seg-1234567890abcdef");
		(void)d->unlink(d, "seg-1234567890abcdf4");
		/* an earlier life in the same file: synced, and its header with it, or never, and then nothing is synced to use it again */
		fault_disk_record(d, blank);
		fault_disk_fail(d, FAULT_SYNC | FAULT_SYNC_DIR, 0, 0, 0);
		model_start(a, NULL, ID + 5, SALT + seed, 1);
		for (i = 0; i < 40; i++)
			assert_int_equal(model_op(a, (uint32_t)rng_below(&rng, 6000)), 0);
		assert_true(segment_blank(a->s));
		if (!blank) {
			assert_int_equal(model_sync(a), 0);
			assert_false(segment_blank(a->s));
		}
		segment_unref(a->s);
		assert_int_equal(segment_prepare(d, "seg-1234567890abcdf4", "spare-1", blank ? SEGMENT_BLANK : seed % 2 ? SEGMENT_FILL : 0), 0);
		assert_true(blank == (fault_disk_calls(d) == 0));
		fault_disk_record(d, true);
		model_start(m, "spare-1", ID, SALT, 1);
		for (i = 0; i < ops; i++) {
			assert_int_equal(model_op(m, (uint32_t)rng_below(&rng, rng_below(&rng, 2) ? 300 : 20000)), 0);
			if (rng_below(&rng, 5) == 0)
				assert_int_equal(model_sync(m), 0);
		}
		if (seed % 2) { /* the power fails within a sync */
			fault_disk_fail(d, FAULT_SYNC, 0, 1, -EIO);
			assert_int_equal(model_sync(m), -EIO);
		}
		segment_unref(m->s);
		assert_int_equal(fault_disk_power_loss(d, seed * 77), 0);
		fault_disk_record(d, false);
		i = replay(m, ID);
		assert_true(i >= m->acked);
		assert_int_equal(replay(m, ID), i); /* and again the same */
		replayed += i;
		acked += m->acked;
		total += ops;
		(void)d->unlink(d, "spare-1");
	}
	print_message("power loss: %zu operations, %zu acknowledged, %zu replayed\n", total, acked, replayed);
	assert_true(replayed > acked && acked > 0 && replayed < total);
	free(a);
	free(m);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_torn_records), T(test_torn_data), T(test_data_of_another_record), T(test_recycled),
		T(test_salt_decides), T(test_sync_failure), T(test_append_failure), T(test_drop_waits_for_sync),
		T(test_every_call_fails_once), T(test_power_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
