/*
 * segment_model.h - a segment and what ought to be in it, for the tests of segments (each includes it once).
 *
 * The model keeps each operation's bytes. After every crash made up in a test replay must give a prefix of the operations, at
 * least as long as what a sync acknowledged, each with exactly its data.
 */
#ifndef CLONELOVE_TEST_SEGMENT_MODEL_H
#define CLONELOVE_TEST_SEGMENT_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compiler.h"
#include "err.h"
#include "fault_disk.h"
#include "rng.h"
#include "segment.h"

#define ID 0x1234567890abcdefu
#define SALT 0xfeedfacecafebeefu
#define OPS_MAX 4096

static char dir[64];
static struct disk *posix, *d;

struct op { uint64_t lsn; uint32_t logical, len; uint64_t seed; size_t record_end; };

struct model {
	struct segment *s;
	uint64_t salt, next_lsn, rng;
	struct op ops[OPS_MAX];
	size_t count;
	uint64_t acked; /* newest LSN a sync said is durable */
};

static inline int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/clonelove-segment-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir) || disk_posix_open(dir, &posix))
		return -1;
	d = fault_disk_new(posix);
	return d ? 0 : -1;
}

static inline int teardown(void **state)
{
	char command[128];

	(void)state;
	assert_int_equal(fault_disk_open_files(d), 0);
	fault_disk_close(d);
	disk_posix_close(posix);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static inline struct segment_header header(uint64_t id, uint64_t salt, uint64_t first_lsn)
{
	struct segment_header h = { .id = id, .salt = salt, .epoch = 7, .first_lsn = first_lsn, .is_log = true };

	memset(h.log_uuid, 0x5a, sizeof(h.log_uuid));
	return h;
}

static inline void model_start(struct model *m, const char *spare, uint64_t id, uint64_t salt, uint64_t first_lsn)
{
	struct segment_header h = header(id, salt, first_lsn);

	memset(m, 0, sizeof(*m));
	m->salt = salt;
	m->next_lsn = first_lsn;
	m->rng = salt ^ id;
	m->acked = first_lsn - 1;
	assert_int_equal(segment_create(d, spare, &h, &m->s), 0);
}

static inline void content(const struct op *o, uint8_t *buf)
{
	uint64_t rng = o->seed;

	rng_fill(&rng, buf, o->len);
}

/* One operation with len bytes of data (0: none). */
static inline int model_op(struct model *m, uint32_t len)
{
	struct op *o = &m->ops[m->count];
	uint8_t *data = malloc(len + 1u);
	struct buf b = BUF_INIT;
	uint64_t hash;
	size_t start;
	int rc = 0;

	assert_true(m->count < OPS_MAX && data);
	o->lsn = m->next_lsn;
	o->len = len;
	o->seed = rng_next(&m->rng);
	content(o, data);
	record_begin(&b, &start);
	if (len) {
		rc = segment_append_data(m->s, data, len, &o->logical, &hash);
		if (rc == 0)
			record_data(&b, start, o->logical, len, hash);
	}
	record_put(&b, &o->seed, sizeof(o->seed), data, len < 40 ? len : 40);
	record_finish(&b, start, o->lsn, 1, 0, m->salt);
	assert_int_equal(b.err, 0);
	if (rc == 0)
		rc = segment_append_record(m->s, b.data, b.len, o->lsn);
	if (rc == 0) {
		o->record_end = segment_records_len(m->s);
		m->count++;
		m->next_lsn++;
	}
	buf_free(&b);
	free(data);
	return rc;
}

static inline int model_sync(struct model *m)
{
	uint64_t lsn;
	int rc = segment_sync(m->s, &lsn);

	if (rc == 0) {
		assert_int_equal(lsn, m->next_lsn - 1);
		m->acked = lsn;
	}
	return rc;
}

static inline void check_read(struct segment *s, const struct op *o, uint32_t from, uint32_t len)
{
	uint8_t *want = malloc(o->len), *got = malloc(len);
	bool need[SEGMENT_BLOCKS];

	content(o, want);
	assert_int_equal(segment_read(s, o->logical + from, len, got, need), 0);
	assert_memory_equal(got, want + from, len);
	free(want);
	free(got);
}

static inline void model_check_reads(struct model *m, struct segment *s, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		const struct op *o = &m->ops[i];
		uint32_t from;

		if (!o->len)
			continue;
		check_read(s, o, 0, o->len);
		from = (uint32_t)rng_below(&m->rng, o->len);
		check_read(s, o, from, 1 + (uint32_t)rng_below(&m->rng, o->len - from));
	}
}

struct seen { const struct model *m; size_t count; };

static inline int see(void *user, struct record *r)
{
	struct seen *s = user;
	const struct op *o = &s->m->ops[s->count];
	const uint8_t *key, *val;
	size_t klen, vlen;

	assert_true(s->count < s->m->count);
	assert_int_equal(r->lsn, o->lsn);
	assert_int_equal(r->data_len, o->len);
	if (o->len)
		assert_int_equal(r->data_logical, o->logical);
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 1);
	assert_memory_equal(key, &o->seed, sizeof(o->seed));
	assert_int_equal(record_next(r, &key, &klen, &val, &vlen), 0);
	s->count++;
	return 0;
}

/* Opens, replays, checks everything that came back; returns how many operations did. */
static inline size_t replay(struct model *m, uint64_t id)
{
	struct seen seen = { m, 0 };
	struct segment *s;
	int rc = segment_open(d, id, &s);

	if (rc) {
		assert_true(rc == ERR_CORRUPT || rc == -ENOENT);
		return 0;
	}
	assert_int_equal(segment_header(s)->salt, m->salt);
	assert_int_equal(segment_replay(s, see, &seen), 0);
	assert_int_equal(segment_records_len(s), seen.count ? m->ops[seen.count - 1].record_end : 0);
	segment_freeze(s);
	model_check_reads(m, s, seen.count);
	segment_unref(s);
	return seen.count;
}

/* Overwrites [from, to) of the file below the segment. */
static inline void scribble(const char *name, uint64_t from, uint64_t to, int byte)
{
	struct disk_file *f;
	uint8_t *b = malloc(to - from);

	memset(b, byte, to - from);
	assert_int_equal(posix->open(posix, name, DISK_WRITE, &f), 0);
	assert_int_equal(posix->pwrite(f, b, to - from, from), 0);
	posix->close(f);
	free(b);
}

static inline void flip(const char *name, uint64_t at)
{
	struct disk_file *f;
	uint8_t b;
	size_t n;

	assert_int_equal(posix->open(posix, name, DISK_WRITE, &f), 0);
	assert_int_equal(posix->pread(f, &b, 1, at, &n), 0);
	b ^= 0x10;
	assert_int_equal(posix->pwrite(f, &b, 1, at), 0);
	posix->close(f);
}

#endif
