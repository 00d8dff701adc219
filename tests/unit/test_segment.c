/*
 * test_segment.c - segment files in good times: what is appended comes back, tables and elision, fetched blocks, threads.
 */
#include "../lib/segment_model.h"

static void test_placement(void **state)
{
	struct model *m = malloc(sizeof(*m));
	static const struct { uint32_t len, at; } steps[] = {
		{ 100, 0 }, { 3, 104 }, { 8, 112 }, { 4096, 4096 }, { 4090, 8192 }, { 5, 12288 }, { 4000, 12296 },
		{ 100, 16384 }, { 10000, 20480 }, { 1, 30480 }, { 65536, 32768 },
	};
	size_t i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < CL_ARRAY_LEN(steps); i++) {
		assert_int_equal(model_op(m, steps[i].len), 0);
		assert_int_equal(m->ops[i].logical, steps[i].at);
	}
	model_check_reads(m, m->s, m->count);
	segment_unref(m->s);
	free(m);
}

static void test_full(void **state)
{
	struct model *m = malloc(sizeof(*m));
	int i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < 8; i++) {
		assert_true(segment_has_room(m->s, 1 << 20));
		assert_int_equal(model_op(m, 1 << 20), 0);
	}
	assert_false(segment_has_room(m->s, 1));
	assert_true(segment_has_room(m->s, 0));
	assert_int_equal(model_op(m, 1), -ENOSPC);
	assert_int_equal(model_sync(m), 0);
	segment_freeze(m->s);
	assert_int_equal(model_op(m, 0), -EINVAL);
	segment_drop_memory(m->s);
	model_check_reads(m, m->s, m->count);
	segment_unref(m->s);
	assert_int_equal(replay(m, ID), 8);
	free(m);
}

/* The memory of one segment serves the next: nothing of the first may be seen in it, behind what is appended or between. */
static void test_memory_used_again(void **state)
{
	static uint8_t ones[1 << 20], page[GRANULE_BYTES];
	struct segment_header h = { .id = ID, .salt = SALT, .first_lsn = 1, .is_log = true };
	struct segment *s;
	const uint8_t *p;
	uint64_t hash, lsn;
	uint32_t at;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (int turn = 0; turn < 12; turn++, h.id++) {
		assert_int_equal(segment_create(d, NULL, &h, &s), 0);
		assert_int_equal(segment_append_data(s, "x", 1, &at, &hash), 0);
		assert_int_equal(segment_append_data(s, ones, GRANULE_BYTES + 1, &at, &hash), 0);
		assert_int_equal(at, GRANULE_BYTES);
		for (int i = 0; turn % 3 && i < 7; i++)
			assert_int_equal(segment_append_data(s, ones, sizeof(ones), &at, &hash), 0);
		for (lsn = 1; turn % 3 == 1 && lsn < 200; lsn++)
			assert_int_equal(segment_append_record(s, ones, 10000, lsn), 0);
		if (turn % 2)
			assert_int_equal(segment_sync(s, &lsn), 0);
		segment_freeze(s);
		p = segment_memory_get(s);
		assert_non_null(p);
		memset(page, 0, sizeof(page));
		page[0] = 'x';
		assert_memory_equal(p, page, GRANULE_BYTES);
		assert_true(segment_sums(s)[0] == object_granule_sum(h.id, page));
		page[0] = 0xff;
		assert_memory_equal(p + 2 * GRANULE_BYTES, page, GRANULE_BYTES);
		for (uint32_t i = segment_data_len(s); i < SEGMENT_DATA_MAX; i++)
			assert_int_equal(p[i], 0);
		segment_drop_memory(s); /* not while it is held */
		assert_ptr_equal(segment_memory_get(s), p);
		segment_memory_put(s);
		segment_memory_put(s);
		if (turn % 2)
			assert_null(segment_memory_get(s));
		segment_unref(s);
	}
}

static void test_round_trip(void **state)
{
	struct model *m = malloc(sizeof(*m));
	uint8_t *live = malloc(SEGMENT_DATA_MAX), *back = malloc(SEGMENT_DATA_MAX);
	struct seen seen = { m, 0 };
	bool need[SEGMENT_BLOCKS];
	struct segment *s;
	uint32_t len;
	int i;

	(void)state;
	model_start(m, NULL, ID, SALT, 100);
	for (i = 0; i < 200; i++)
		assert_int_equal(model_op(m, (uint32_t)rng_below(&m->rng, i % 3 ? 9000 : 70000)), 0);
	assert_int_equal(model_sync(m), 0);
	segment_freeze(m->s);
	len = segment_data_len(m->s);
	assert_int_equal(segment_load_data(m->s, live), 0);
	segment_drop_memory(m->s);
	model_check_reads(m, m->s, m->count);
	assert_true(segment_present(m->s, m->ops[10].logical, m->ops[10].len));
	memset(back, 0xee, SEGMENT_DATA_MAX);
	assert_int_equal(segment_load_data(m->s, back), 0);
	assert_memory_equal(live, back, len);
	assert_int_equal(segment_read(m->s, len - 1, 2, back, need), -EINVAL);
	assert_int_equal(segment_read(m->s, SEGMENT_DATA_MAX - 1, 2, back, need), -EINVAL);
	segment_idle(m->s);
	assert_false(segment_is_open(m->s));
	model_check_reads(m, m->s, m->count);
	assert_true(segment_is_open(m->s));
	segment_unref(m->s);

	assert_int_equal(segment_open(d, ID, &s), 0);
	assert_true(segment_header(s)->is_log);
	assert_int_equal(segment_header(s)->first_lsn, 100);
	assert_int_equal(segment_header(s)->epoch, 7);
	assert_int_equal(segment_replay(s, see, &seen), 0);
	assert_int_equal(seen.count, m->count);
	segment_freeze(s);
	assert_int_equal(segment_data_len(s), len);
	memset(back, 0xee, SEGMENT_DATA_MAX);
	assert_int_equal(segment_load_data(s, back), 0);
	assert_memory_equal(live, back, len);
	segment_unref(s);
	free(live);
	free(back);
	free(m);
}

static void test_header(void **state)
{
	struct model *m = malloc(sizeof(*m));
	char name[SEGMENT_NAME_BYTES], other[SEGMENT_NAME_BYTES];
	struct segment *s;
	uint32_t at;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	assert_int_equal(model_op(m, 10), 0);
	assert_int_equal(segment_open(d, ID, &s), ERR_CORRUPT); /* not begun: the header comes with the first sync */
	assert_int_equal(model_sync(m), 0);
	segment_name(ID, name);
	for (at = 0; at < 80; at++) {
		flip(name, at);
		assert_int_equal(segment_open(d, ID, &s), ERR_CORRUPT);
		flip(name, at);
	}
	assert_int_equal(segment_open(d, ID, &s), 0);
	segment_unref(s);
	segment_name(ID + 1, other); /* right bytes, wrong name */
	assert_int_equal(d->rename(d, name, other), 0);
	assert_int_equal(segment_open(d, ID + 1, &s), ERR_CORRUPT);
	assert_int_equal(segment_open(d, ID, &s), -ENOENT);
	segment_unref(m->s);
	free(m);
}

/* --- tables --- */

struct encoded { struct buf object; struct object_table table; struct object_footer footer; };

static void encode(struct segment *s, const bool *live, struct encoded *e)
{
	uint8_t *data = malloc(SEGMENT_DATA_MAX);

	memset(e, 0, sizeof(*e));
	assert_int_equal(segment_load_data(s, data), 0);
	e->footer.type = OBJECT_CUT;
	e->footer.epoch = 7;
	e->footer.slot = 1;
	e->footer.first_lsn = 1;
	e->footer.segment_id = segment_header(s)->id;
	e->footer.data_len = segment_data_len(s);
	assert_int_equal(object_encode_cut(&e->footer, data, live, "run", 3, 1, &e->table, &e->object), 0);
	free(data);
}

static void test_table_and_elision(void **state)
{
	struct model *m = malloc(sizeof(*m));
	bool live[SEGMENT_GRANULES], need[SEGMENT_BLOCKS];
	uint8_t *back = malloc(SEGMENT_DATA_MAX), wrong[HASH_BYTES] = { 0 };
	struct encoded e, again;
	struct segment *s;
	uint8_t buf[4096];
	int i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < 64; i++)
		assert_int_equal(model_op(m, 4096), 0);
	assert_int_equal(model_sync(m), 0);
	segment_freeze(m->s);
	for (i = 0; i < (int)SEGMENT_GRANULES; i++)
		live[i] = i % 3 != 0 && (i < 16 || i >= 32);
	encode(m->s, live, &e);
	assert_false(segment_has_table(m->s));
	assert_int_equal(segment_set_table(m->s, &e.table), 0);
	assert_true(segment_has_table(m->s));
	assert_memory_equal(segment_table(m->s), &e.table, sizeof(e.table));
	segment_drop_memory(m->s);
	for (i = 0; i < 64; i++)
		assert_int_equal(segment_read(m->s, (uint32_t)i * 4096, 4096, buf, need), live[i] ? 0 : ERR_CORRUPT);
	/* Encoded again it is the same object, byte for byte. */
	encode(m->s, live, &again);
	assert_int_equal(e.object.len, again.object.len);
	assert_memory_equal(e.object.data, again.object.data, e.object.len);
	segment_committed(m->s);
	segment_unref(m->s);

	assert_int_equal(segment_open(d, ID, &s), 0);
	assert_false(segment_header(s)->is_log); /* the mark */
	assert_int_equal(segment_read(s, 4096, 10, buf, need), ERR_CORRUPT);
	assert_true(need[0]);
	assert_int_equal(segment_load_table(s, wrong, e.footer.table_len), ERR_CORRUPT);
	assert_int_equal(segment_load_table(s, e.footer.table_hash, e.footer.table_len - 8), ERR_CORRUPT);
	assert_false(segment_has_table(s));
	assert_int_equal(segment_load_table(s, e.footer.table_hash, e.footer.table_len), 0);
	assert_int_equal(segment_data_len(s), 64 * 4096);
	check_read(s, &m->ops[1], 0, 4096);
	segment_unref(s);
	buf_free(&e.object);
	buf_free(&again.object);
	free(back);
	free(m);
}

static void test_store_block(void **state)
{
	struct model *m = malloc(sizeof(*m));
	bool need[SEGMENT_BLOCKS];
	uint8_t *block = malloc(BLOCK_BYTES), buf[4096];
	struct encoded e;
	struct segment *s;
	uint32_t b, len;
	int i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	for (i = 0; i < 40; i++)
		assert_int_equal(model_op(m, 5000), 0);
	segment_freeze(m->s);
	encode(m->s, NULL, &e);
	segment_unref(m->s);
	assert_int_equal(d->unlink(d, "seg-1234567890abcdef"), 0);

	assert_int_equal(segment_create_fetched(d, ID, &e.table, &s), 0);
	assert_int_equal(segment_read(s, 70000, 4096, buf, need), ERR_CORRUPT);
	assert_true(need[1] && !need[0] && !need[2]);
	assert_false(segment_present(s, 70000, 1));
	for (b = 0; b * BLOCK_BYTES < e.table.data_len; b++) {
		assert_int_equal(object_decode_block(&e.table, ID, b, e.object.data + e.table.blocks[b].offset,
						     e.table.blocks[b].stored_len, block, &len), 0);
		assert_int_equal(segment_store_block(s, b, block, len), 0);
	}
	assert_int_equal(segment_store_block(s, b, block, len), -EINVAL);
	model_check_reads(m, s, m->count);
	assert_false(segment_take_damage(s, 0));
	flip("seg-1234567890abcdef", SEGMENT_DATA_OFFSET + 8192);
	assert_int_equal(segment_read(s, 8193, 5, buf, need), ERR_CORRUPT); /* seen at every read */
	assert_true(segment_take_damage(s, 0));
	assert_false(segment_take_damage(s, 0));
	assert_false(segment_present(s, 8192, 1));
	/* two granules exchanged */
	flip("seg-1234567890abcdef", SEGMENT_DATA_OFFSET + 8192);
	assert_int_equal(segment_read(s, 8193, 5, buf, need), 0);
	segment_unref(s);
	free(block);
	buf_free(&e.object);
	free(m);
}

/* --- trim --- */

static void test_trim(void **state)
{
	struct model *m = malloc(sizeof(*m));
	uint64_t before, after;
	uint8_t *data = malloc(SEGMENT_DATA_MAX);

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	assert_int_equal(model_op(m, 100000), 0);
	assert_int_equal(model_op(m, 77), 0);
	assert_int_equal(model_sync(m), 0);
	before = segment_disk_usage(m->s);
	segment_trim(m->s); /* not frozen: nothing happens */
	assert_int_equal(segment_disk_usage(m->s), before);
	segment_freeze(m->s);
	segment_trim(m->s);
	after = segment_disk_usage(m->s);
	if (before > 8 << 20)
		assert_true(after < 1 << 20);
	segment_unref(m->s);
	assert_int_equal(replay(m, ID), 2);
	free(data);
	free(m);
}

/* --- threads --- */

struct race {
	struct model *m;
	atomic_size_t published;
	atomic_bool done;
	atomic_uint_fast64_t acked;
};

static void *race_sync(void *arg)
{
	struct race *r = arg;
	uint64_t lsn = 0, last = 0;
	unsigned n = 0;

	while (!atomic_load(&r->done) || n == 0) {
		size_t before = atomic_load(&r->published);

		if (segment_sync(r->m->s, &lsn) || lsn < last || lsn < before)
			return (void *)1;
		last = lsn;
		atomic_store(&r->acked, lsn);
		n++;
	}
	return NULL;
}

static void *race_read(void *arg)
{
	struct race *r = arg;
	uint64_t rng = (uint64_t)(uintptr_t)&rng;
	uint8_t want[20000], got[20000];
	bool need[SEGMENT_BLOCKS];

	while (!atomic_load(&r->done)) {
		size_t n = atomic_load(&r->published);
		const struct op *o;

		if (n == 0)
			continue;
		o = &r->m->ops[rng_below(&rng, n)];
		if (o->len == 0)
			continue;
		content(o, want);
		if (segment_read(r->m->s, o->logical, o->len, got, need) || memcmp(got, want, o->len) != 0)
			return (void *)1;
		(void)segment_disk_usage(r->m->s);
		segment_idle(r->m->s);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct model *m = malloc(sizeof(*m));
	struct race r = { .m = m };
	pthread_t t[3];
	void *bad;
	uint64_t lsn;
	int i;

	(void)state;
	model_start(m, NULL, ID, SALT, 1);
	assert_int_equal(pthread_create(&t[0], NULL, race_sync, &r), 0);
	assert_int_equal(pthread_create(&t[1], NULL, race_read, &r), 0);
	assert_int_equal(pthread_create(&t[2], NULL, race_read, &r), 0);
	for (i = 0; i < 700; i++) {
		assert_int_equal(model_op(m, (uint32_t)(i * 37 % 19000)), 0);
		atomic_store(&r.published, m->count);
	}
	segment_freeze(m->s);
	segment_drop_memory(m->s);
	usleep(20000);
	atomic_store(&r.done, true);
	for (i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
	assert_int_equal(segment_sync(m->s, &lsn), 0);
	assert_int_equal(lsn, 700);
	model_check_reads(m, m->s, m->count);
	segment_unref(m->s);
	assert_int_equal(replay(m, ID), 700);
	free(m);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_placement), T(test_full), T(test_memory_used_again), T(test_round_trip), T(test_header), T(test_table_and_elision),
		T(test_store_block), T(test_trim), T(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
