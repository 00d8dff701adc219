/*
 * segment_log.c - the local log's half of a segment: append, sync, freeze.
 *
 * An append copies to memory, moves the published length under the mutex, and
 * hands the bytes to the kernel with one pwrite outside it: there is one
 * appender, and nobody reads the file while the memory is there.
 *
 * Order of a sync: header (first time), records, fdatasync, directory (first time). The data of every record was given to the
 * kernel before the record was appended, so one fdatasync covers both; a crash before its end leaves records
 * whose checksum or data hash does not hold, where replay stops.
 *
 * Writes end on 4 KiB, zeros behind the bytes, so that a recycled file's old block is never read back to fill a page.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "segment_impl.h"

#define RECORD_ROOM RECORD_MAX_BYTES

uint64_t segment_place(uint64_t end, size_t len)
{
	uint64_t granule = (end + GRANULE_BYTES - 1) & ~(uint64_t)(GRANULE_BYTES - 1), at = (end + 7) & ~(uint64_t)7;

	/* Small writes are packed, but none lies across two granules: each can be read with one. */
	if (len >= GRANULE_BYTES || at % GRANULE_BYTES + len > GRANULE_BYTES)
		return granule;
	return at;
}

bool segment_has_room(const struct segment *s, size_t data_bytes)
{
	uint64_t end = segment_data_len(s);

	if ((uint64_t)segment_records_len(s) + RECORD_ROOM > SEGMENT_RECORDS_MAX || data_bytes > SEGMENT_DATA_MAX)
		return false;
	return data_bytes == 0 || segment_place(end, data_bytes) + data_bytes <= SEGMENT_DATA_MAX;
}

void segment_keep_failure(struct segment *s, int rc)
{
	bool first;

	pthread_mutex_lock(&s->mu);
	first = rc && !s->failed;
	if (first)
		s->failed = rc;
	pthread_mutex_unlock(&s->mu);
	if (first)
		segment_mark_failed(s);
}

static uint64_t page_up(uint64_t x)
{
	return (x + GRANULE_BYTES - 1) & ~(uint64_t)(GRANULE_BYTES - 1);
}

/* Data [from, to) and zeros to the end of its last granule. What was synced before stays as it is: from is the old end. */
static void write_data(struct segment *s, const uint8_t *data, uint64_t from, uint64_t to)
{
	struct disk_file *f;
	int rc;

	rc = segment_file_get(s, &f);
	if (rc == 0) {
		rc = s->disk->pwrite(f, data + from, (size_t)(page_up(to) - from), SEGMENT_DATA_OFFSET + from);
		segment_file_put(s);
	}
	segment_keep_failure(s, rc);
}

int segment_append_data(struct segment *s, const void *buf, size_t len, uint32_t *ret_logical, uint64_t *ret_hash)
{
	uint64_t end, at;
	uint8_t *data;
	bool usable, failed;

	pthread_mutex_lock(&s->mu);
	data = s->data;
	end = s->data_len;
	usable = s->records && !s->frozen;
	failed = s->failed != 0;
	pthread_mutex_unlock(&s->mu);
	if (!usable || len == 0)
		return -EINVAL;
	at = segment_place(end, len);
	if (len > SEGMENT_DATA_MAX || at + len > SEGMENT_DATA_MAX)
		return -ENOSPC;
	memcpy(data + at, buf, len);
	pthread_mutex_lock(&s->mu);
	s->data_len = (uint32_t)(at + len);
	pthread_mutex_unlock(&s->mu);
	if (!failed)
		write_data(s, data, end, at + len);
	*ret_logical = (uint32_t)at;
	*ret_hash = hash_xxh3(buf, len, s->header.salt);
	return 0;
}

int segment_append_record(struct segment *s, const void *rec, size_t len, uint64_t lsn)
{
	uint32_t at;
	bool usable;

	pthread_mutex_lock(&s->mu);
	at = s->records_len;
	usable = s->records && !s->frozen && lsn == s->last_lsn + 1;
	pthread_mutex_unlock(&s->mu);
	if (!usable || len == 0)
		return -EINVAL;
	if (len > SEGMENT_RECORDS_MAX - at)
		return -ENOSPC;
	memcpy(s->records + at, rec, len);
	pthread_mutex_lock(&s->mu);
	s->records_len = (uint32_t)(at + len);
	s->last_lsn = lsn;
	pthread_mutex_unlock(&s->mu);
	return 0;
}

/* Records [from, to). The last page goes from a copy, because the appender may be writing behind `to` in it. */
static int write_records(struct segment *s, struct disk_file *f, const uint8_t *records, uint32_t from, uint32_t to)
{
	uint32_t page = to & ~(GRANULE_BYTES - 1);
	uint8_t tail[GRANULE_BYTES];
	int rc = 0;

	if (page > from) {
		rc = s->disk->pwrite(f, records + from, page - from, SEGMENT_RECORDS_OFFSET + from);
		from = page;
	}
	if (rc == 0 && to > from) {
		memset(tail, 0, sizeof(tail));
		memcpy(tail, records + from, to - from);
		rc = s->disk->pwrite(f, tail, GRANULE_BYTES - from % GRANULE_BYTES, SEGMENT_RECORDS_OFFSET + from);
	}
	return rc;
}

static int sync_file(struct segment *s, const uint8_t *records, uint32_t records_len)
{
	struct disk_file *f;
	int rc = segment_file_get(s, &f);

	if (rc)
		return rc;
	s->header_begun = true;
	if (!s->header_written)
		rc = segment_write_header(s, f);
	if (rc == 0 && records && records_len > s->records_written)
		rc = write_records(s, f, records, s->records_written, records_len);
	if (rc == 0)
		rc = s->disk->sync(f);
	segment_file_put(s);
	if (rc == 0 && !s->name_durable)
		rc = s->disk->sync_dir(s->disk, "");
	if (rc)
		return rc;
	s->header_written = s->name_durable = true;
	s->records_written = records_len;
	return 0;
}

int segment_sync(struct segment *s, uint64_t *ret_lsn)
{
	uint32_t data_len, records_len;
	const uint8_t *records;
	uint8_t *gone = NULL;
	uint64_t lsn;
	int rc;

	if (!s->header.is_log || s->read_only)
		return -EINVAL;
	pthread_mutex_lock(&s->mu);
	rc = s->failed;
	data_len = s->data_len;
	records_len = s->records_len;
	lsn = s->last_lsn;
	records = s->records;
	if (records)
		s->memory_users++;
	pthread_mutex_unlock(&s->mu);
	if (rc == 0)
		rc = sync_file(s, records, records_len);
	segment_keep_failure(s, rc);
	pthread_mutex_lock(&s->mu);
	if (records)
		s->memory_users--;
	if (rc == 0) {
		s->synced = true;
		s->sync_count++;
		s->synced_data = data_len;
		s->synced_records = records_len;
	}
	gone = segment_memory_take(s);
	pthread_mutex_unlock(&s->mu);
	if (gone)
		segment_unmap_memory(s, gone);
	if (rc == 0)
		*ret_lsn = lsn;
	return rc;
}

uint32_t segment_sync_count(const struct segment *s)
{
	struct segment *m = (struct segment *)(uintptr_t)s;
	uint32_t n;

	pthread_mutex_lock(&m->mu);
	n = m->sync_count;
	pthread_mutex_unlock(&m->mu);
	return n;
}

bool segment_blank(const struct segment *s)
{
	return s->wrote && !s->header_begun;
}

void segment_freeze(struct segment *s)
{
	struct segment_truth *t = s->spare_truth;
	const uint8_t *data;
	uint32_t len;

	pthread_mutex_lock(&s->mu);
	s->frozen = true;
	len = s->data_len;
	pthread_mutex_unlock(&s->mu);
	if (!t)
		return; /* frozen before, or restored by replay */
	s->spare_truth = NULL;
	data = segment_memory_get(s); /* there: it goes only after this */
	segment_fill_sums(t, s->header.id, data, len);
	segment_set_truth(s, t);
	segment_memory_put(s);
}

bool segment_failed(struct segment *s)
{
	bool failed;

	pthread_mutex_lock(&s->mu);
	failed = s->failed != 0;
	pthread_mutex_unlock(&s->mu);
	return failed;
}

bool segment_is_frozen(struct segment *s)
{
	bool frozen;

	pthread_mutex_lock(&s->mu);
	frozen = s->frozen;
	pthread_mutex_unlock(&s->mu);
	return frozen;
}

void segment_drop_memory(struct segment *s)
{
	uint8_t *gone;

	pthread_mutex_lock(&s->mu);
	s->drop_wanted = true;
	gone = segment_memory_take(s);
	pthread_mutex_unlock(&s->mu);
	if (gone)
		segment_unmap_memory(s, gone);
}
