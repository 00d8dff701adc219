/*
 * segment_read.c - reading with checksums, and filling with fetched blocks.
 *
 * Whatever comes from the file is hashed granule by granule before it counts;
 * nothing remembered makes up for that. Bytes that do not match are absent: a
 * hole, a torn write, another life of a recycled file and a flipped bit are all
 * the same case, cured by a fetch. `present` only says what is likely there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "segment_impl.h"

#define GRANULES_PER_BLOCK (BLOCK_BYTES / GRANULE_BYTES)

void segment_mark_present(struct segment *s, uint32_t first, uint32_t count)
{
	uint32_t g;

	for (g = first; g < first + count; g++) {
		uint64_t bit = (uint64_t)1 << (g % 64);

		if (!(atomic_load_explicit(&s->present[g / 64], memory_order_relaxed) & bit))
			atomic_fetch_or_explicit(&s->present[g / 64], bit, memory_order_relaxed);
	}
}

bool segment_present(const struct segment *s, uint32_t logical, uint32_t len)
{
	uint64_t g, last = ((uint64_t)logical + len + GRANULE_BYTES - 1) / GRANULE_BYTES;

	if (last > SEGMENT_GRANULES)
		return false;
	for (g = logical / GRANULE_BYTES; g < last; g++)
		if (!(atomic_load_explicit(&s->present[g / 64], memory_order_relaxed) >> (g % 64) & 1))
			return false;
	return true;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* A granule that did not match: absent, or bad where it was there once or holds something. */
static void note_miss(struct segment *s, uint32_t g, const uint8_t *granule, bool *ret_need)
{
	uint64_t bit = (uint64_t)1 << (g % 64);
	uint32_t block = g / GRANULES_PER_BLOCK;

	ret_need[block] = true;
	if ((atomic_fetch_and_explicit(&s->present[g / 64], ~bit, memory_order_relaxed) & bit) || !all_zero(granule, GRANULE_BYTES))
		atomic_fetch_or_explicit(&s->damaged[block / 64], (uint64_t)1 << (block % 64), memory_order_relaxed);
}

bool segment_take_damage(struct segment *s, uint32_t block)
{
	uint64_t bit = (uint64_t)1 << (block % 64);

	return atomic_fetch_and_explicit(&s->damaged[block / 64], ~bit, memory_order_relaxed) & bit;
}

/* The granules [first, first + count) from the file into buf, whole (zeros behind the data's end), each verified. */
static int read_granules(struct segment *s, struct disk_file *f, const struct object_table *t, uint32_t first, uint32_t count,
			 uint8_t *buf, bool *ret_need)
{
	uint64_t off = (uint64_t)first * GRANULE_BYTES;
	size_t want = (size_t)count * GRANULE_BYTES, len = want, n;
	uint32_t g;
	int rc;

	if (off + len > t->data_len)
		len = (size_t)(t->data_len - off);
	rc = s->disk->pread(f, buf, len, SEGMENT_DATA_OFFSET + off, &n);
	if (rc)
		return rc;
	memset(buf + n, 0, want - n);
	for (g = first; g < first + count; g++, buf += GRANULE_BYTES) {
		if (t->sums[g] && object_granule_sum(s->header.id, buf) == t->sums[g]) {
			segment_mark_present(s, g, 1);
			continue;
		}
		note_miss(s, g, buf, ret_need);
		rc = ERR_CORRUPT;
	}
	return rc;
}

/* One granule by way of a page of its own, of which [from, to) is wanted. */
static int read_part(struct segment *s, struct disk_file *f, const struct object_table *t, uint32_t from, uint32_t to, uint8_t *buf,
		     bool *ret_need)
{
	uint8_t page[GRANULE_BYTES];
	uint32_t g = from / GRANULE_BYTES;
	int rc = read_granules(s, f, t, g, 1, page, ret_need);

	if (rc == 0)
		memcpy(buf, page + from % GRANULE_BYTES, to - from);
	return rc;
}

static int worse(int a, int b)
{
	return a == 0 || (a == ERR_CORRUPT && b) ? b : a;
}

static int read_file(struct segment *s, struct disk_file *f, const struct object_table *t, uint32_t logical, uint32_t len, uint8_t *buf,
		     bool *ret_need)
{
	uint32_t end = logical + len, at = logical;
	int rc = 0;

	while (at < end && rc != -EIO) {
		uint32_t stop = at - at % GRANULE_BYTES + GRANULE_BYTES;
		int r;

		if (at % GRANULE_BYTES == 0 && end - at >= GRANULE_BYTES) {
			uint32_t count = (end - at) / GRANULE_BYTES;

			stop = at + count * GRANULE_BYTES;
			r = read_granules(s, f, t, at / GRANULE_BYTES, count, buf, ret_need);
		} else {
			if (stop > end)
				stop = end;
			r = read_part(s, f, t, at, stop, buf, ret_need);
		}
		buf += stop - at;
		at = stop;
		rc = worse(rc, r && r != ERR_CORRUPT ? -EIO : r);
	}
	return rc;
}

static void need_all(uint32_t logical, uint32_t len, bool *ret_need)
{
	uint32_t b;

	for (b = logical / BLOCK_BYTES; b <= (logical + len - 1) / BLOCK_BYTES; b++)
		ret_need[b] = true;
}

int segment_read(struct segment *s, uint32_t logical, uint32_t len, uint8_t *buf, bool *ret_need)
{
	const struct segment_truth *t;
	const uint8_t *memory;
	struct disk_file *f;
	int rc;

	memset(ret_need, 0, SEGMENT_BLOCKS * sizeof(*ret_need));
	if (len == 0)
		return 0;
	if (logical >= SEGMENT_DATA_MAX || len > SEGMENT_DATA_MAX - logical)
		return -EINVAL;
	memory = segment_memory_get(s);
	if (memory) {
		rc = logical + len <= segment_data_len(s) ? 0 : -EINVAL;
		if (rc == 0)
			memcpy(buf, memory + logical, len);
		segment_memory_put(s);
		return rc;
	}
	t = atomic_load_explicit(&s->truth, memory_order_acquire);
	if (!t) {
		need_all(logical, len, ret_need);
		return ERR_CORRUPT;
	}
	if (logical + len > t->table.data_len)
		return -EINVAL;
	if (!s->disk) {
		need_all(logical, len, ret_need);
		return ERR_CORRUPT;
	}
	rc = segment_file_get(s, &f);
	if (rc == 0) {
		rc = read_file(s, f, &t->table, logical, len, buf, ret_need);
		segment_file_put(s);
	}
	if (rc && rc != ERR_CORRUPT) {
		need_all(logical, len, ret_need);
		return -EIO;
	}
	return rc;
}

/* Writes the granules that the table knows; elided ones stay holes. */
static int store_granules(struct segment *s, struct disk_file *f, const struct object_table *t, uint32_t first, const uint8_t *data,
			  uint32_t len)
{
	uint32_t count = (len + GRANULE_BYTES - 1) / GRANULE_BYTES, g, run = 0;
	int rc = 0;

	for (g = 0; rc == 0 && g <= count; g++) {
		uint32_t from, to;

		if (g < count && t->sums[first + g])
			continue;
		from = run * GRANULE_BYTES;
		to = g * GRANULE_BYTES < len ? g * GRANULE_BYTES : len;
		if (g > run)
			rc = s->disk->pwrite(f, data + from, to - from,
					     SEGMENT_DATA_OFFSET + (uint64_t)first * GRANULE_BYTES + from);
		if (rc == 0 && g > run)
			segment_mark_present(s, first + run, g - run);
		run = g + 1;
	}
	return rc;
}

int segment_store_block(struct segment *s, uint32_t block, const uint8_t *data, uint32_t len)
{
	const struct segment_truth *t = atomic_load_explicit(&s->truth, memory_order_acquire);
	uint64_t off = (uint64_t)block * BLOCK_BYTES;
	struct disk_file *f;
	int rc;

	/* Only an object's table vouches for a block; what is still log is written by its appender alone. */
	if (!t || !t->final || s->read_only || off >= t->table.data_len || off + len > t->table.data_len)
		return -EINVAL;
	rc = segment_file_get(s, &f);
	if (rc)
		return rc;
	rc = store_granules(s, f, &t->table, block * GRANULES_PER_BLOCK, data, len);
	segment_file_put(s);
	return rc;
}

int segment_load_data(struct segment *s, uint8_t *buf)
{
	const struct segment_truth *t;
	const uint8_t *memory = segment_memory_get(s);
	bool need[SEGMENT_BLOCKS];
	uint32_t g, run = 0, count;
	int rc = 0;

	if (memory) {
		memcpy(buf, memory, segment_data_len(s));
		segment_memory_put(s);
		return 0;
	}
	t = atomic_load_explicit(&s->truth, memory_order_acquire);
	if (!t)
		return ERR_CORRUPT;
	count = (t->table.data_len + GRANULE_BYTES - 1) / GRANULE_BYTES;
	for (g = 0; rc == 0 && g <= count; g++) {
		uint32_t from = run * GRANULE_BYTES, end = g * GRANULE_BYTES;

		if (g < count && t->table.sums[g])
			continue;
		if (end > t->table.data_len)
			end = t->table.data_len;
		if (end > from)
			rc = segment_read(s, from, end - from, buf + from, need);
		if (g < count) /* elided: zeros, as on the wire */
			memset(buf + end, 0, (g + 1) * GRANULE_BYTES < t->table.data_len ? GRANULE_BYTES : t->table.data_len - end);
		run = g + 1;
	}
	return rc;
}
