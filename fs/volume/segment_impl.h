/*
 * segment_impl.h - the inside of struct segment, shared by segment.c (files),
 * segment_log.c (append, sync), segment_replay.c and segment_read.c.
 *
 * What is true at every moment:
 * - While `data` is there it holds all appended bytes, zeros between and after them, and reads are served from it. It goes
 *   only when the segment is frozen and either the file is known to hold everything (a successful sync after the last
 *   append) or the object is acknowledged.
 * - Bytes below data_len and records_len never change. The one appender writes above them and then moves them under mu.
 * - `truth` says what each granule must hash to. It is replaced, never changed; what it replaced stays until the end, so that a
 *   reader needs no lock on it.
 * - `failed` is set by the first failed write or sync of log and stays: the file is then never written or synced again.
 * - mu is held for a few instructions only, never over I/O. A handle in use is counted, so that segment_idle leaves it.
 */
#ifndef CLONELOVE_SEGMENT_IMPL_H
#define CLONELOVE_SEGMENT_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "segment.h"

#define SEGMENT_MEMORY_KEPT 4 /* mappings of 10 MiB kept for the next segments, of all volumes of the process */
#define SEGMENT_FILE_BYTES ((uint64_t)SEGMENT_DATA_OFFSET + SEGMENT_DATA_MAX)

struct segment_truth {
	struct segment_truth *replaced;
	bool final; /* an object's table; else only data_len and sums count */
	struct object_table table;
};

struct segment {
	atomic_uint refs;
	struct disk *disk;        /* NULL: no file */
	bool read_only;
	struct segment_header header;
	_Atomic(struct segment_truth *) truth; /* NULL while nothing is known */
	_Atomic uint64_t present[SEGMENT_GRANULES / 64]; /* verified or stored since opened */
	_Atomic uint64_t damaged[SEGMENT_BLOCKS / 64];   /* found bad since the last segment_take_damage */
	/* the appender's own, and segment_sync's own */
	struct segment_truth *spare_truth; /* made ahead, so that a freeze cannot fail */
	uint32_t records_written;
	bool header_begun, header_written, name_durable;

	pthread_mutex_t mu; /* protects what follows */
	char name[SEGMENT_NAME_BYTES];
	struct disk_file *file;
	unsigned file_users;
	uint8_t *data, *records; /* one mapping: data, then records */
	bool memory_clean; /* but for what was appended it is zeros (constant) */
	unsigned memory_users;
	bool drop_wanted, frozen, committed;
	bool wrote; /* log was written through this handle; it is the one to report what went wrong */
	int failed;
	uint32_t data_len, records_len;
	uint32_t synced_data, synced_records, sync_count;
	bool synced;
	uint64_t last_lsn;
};

int segment_file_get(struct segment *s, struct disk_file **ret);
void segment_file_put(struct segment *s);
/* Memory for one segment, all zeros. */
int segment_map_memory(uint8_t **ret);
/* Gives it back: s's own, to which nothing is written any more (NULL: to be unmapped). mu not held. */
void segment_unmap_memory(struct segment *s, uint8_t *p);
/* With mu held: the mapping to unmap (after unlocking) if it may go now, else NULL. */
uint8_t *segment_memory_take(struct segment *s);
/* Publishes t (owned from now on). */
void segment_set_truth(struct segment *s, struct segment_truth *t);
void segment_fill_sums(struct segment_truth *t, uint64_t id, const uint8_t *data, uint32_t data_len);
void segment_mark_present(struct segment *s, uint32_t first, uint32_t count);
int segment_write_header(struct segment *s, struct disk_file *f);
/* Tells the next process, as well as the disk allows, that a write or sync of this log failed. */
void segment_mark_failed(struct segment *s);
/* After a write or sync of its log: a failure (rc other than 0) stays, and is marked in the file. */
void segment_keep_failure(struct segment *s, int rc);
/* Where len bytes go when the data ends at `end`. */
uint64_t segment_place(uint64_t end, size_t len);

#endif
