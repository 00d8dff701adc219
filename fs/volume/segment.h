/*
 * segment.h - one segment: a file of the cache directory, named
 * "seg-<16 hex of the ID>". While it is the writer's it is local log (records
 * and data); once its log object is acknowledged the same file is the cache of
 * that object. A fetched object's file has the same layout.
 *
 *   0        header page: magic, version, is-log, ID, salt, epoch, first LSN, log UUID, checksum; at 1 KiB, once its
 *            object is acknowledged, a mark (a log segment without it may be all there
 *            is of its data); at 2 KiB, once a write or sync of the log failed, another: what is there may not last
 *   4 KiB    block table (object_table_encode) once known: cut or fetched
 *   64 KiB   records (SEGMENT_RECORDS_MAX), local log only
 *   2112 KiB data: logical offset x at SEGMENT_DATA_OFFSET + x
 *
 * Which granules a file holds is not stored: every granule read is verified
 * against the table, and one that does not match is absent and fetched again. So no
 * unclean stop, lost write or flipped bit can make a stale map lie. Before
 * the table is known (local log) sums are kept in memory.
 *
 * A write of 4 KiB or more begins on a granule; smaller ones are packed at 8-byte
 * steps inside granules. Each segment has its own mutex (innermost lock).
 */
#ifndef CLONELOVE_SEGMENT_H
#define CLONELOVE_SEGMENT_H

#include <stdbool.h>

#include "disk.h"
#include "object.h"
#include "record.h"

#define SEGMENT_TABLE_OFFSET 4096u
#define SEGMENT_RECORDS_OFFSET (64u << 10)
#define SEGMENT_RECORDS_MAX (2u << 20)
#define SEGMENT_DATA_OFFSET (SEGMENT_RECORDS_OFFSET + SEGMENT_RECORDS_MAX)

struct segment; /* reference counted */

struct segment_header {
	uint64_t id, salt, epoch, first_lsn;
	uint8_t log_uuid[ID_BYTES];
	bool is_log; /* false: made by a fetch */
};

/* A file made ahead of need: allocated, synced, its directory entry durable. Blocking (disk). recycled: the name of an old file to turn into it
 * (a spare itself, which is then filled), or NULL. */
enum {
	SEGMENT_FILL = 1,  /* what was never written of the file is written, so that no later sync has extents to convert */
	SEGMENT_BLANK = 2, /* recycled has no header (segment_blank): there is nothing to make durable, and nothing is synced */
};
int segment_prepare(struct disk *d, const char *recycled, const char *spare_name, unsigned how);

/* Turns the spare (or a new file when spare_name is NULL) into an active log segment. The header is written with the first flush.
 * The rename need not be durable before segment_sync, which makes it so. */
int segment_create(struct disk *d, const char *spare_name, const struct segment_header *h, struct segment **ret);
/* Opens an existing file by ID. ERR_CORRUPT: the header does not check, or is another's. */
int segment_open(struct disk *d, uint64_t id, struct segment **ret);
/* The same by file name ("salvage/seg-..."). read_only: nothing is ever written to the file. */
int segment_open_name(struct disk *d, const char *name, bool read_only, struct segment **ret);
/* A new, empty file for an object's data; the table is written into it. */
int segment_create_fetched(struct disk *d, uint64_t id, const struct object_table *t, struct segment **ret);
/* The same under another name (segment_moved tells when it was renamed), and with no file at all: a table to verify
 * fetched blocks with while the disk takes nothing; reads find every block absent, stores fail. */
int segment_create_named(struct disk *d, const char *name, uint64_t id, const struct object_table *t, struct segment **ret);
int segment_create_memory(uint64_t id, const struct object_table *t, struct segment **ret);
void segment_moved(struct segment *s, const char *name);
#define SEGMENT_NAME_BYTES 40
void segment_name(uint64_t id, char ret[SEGMENT_NAME_BYTES]); /* "seg-<16 hex>" */
struct segment *segment_ref(struct segment *s);
void segment_unref(struct segment *s); /* the last one closes the file and frees */
/* Closes the file handle to save descriptors; the next access opens it again. Not while it is log and unsynced. */
void segment_idle(struct segment *s);
bool segment_is_open(struct segment *s);
bool segment_on_disk(const struct segment *s); /* false: made by segment_create_memory */
bool segment_shared(const struct segment *s); /* more than one reference is held */

const struct segment_header *segment_header(const struct segment *s);
uint32_t segment_data_len(const struct segment *s);
uint32_t segment_records_len(const struct segment *s);
uint64_t segment_disk_usage(struct segment *s);

/* --- local log: append (one appender at a time; readers and sync may run beside it) --- */
/* Room for a record of RECORD_MAX_BYTES and data_bytes of data? */
bool segment_has_room(const struct segment *s, size_t data_bytes);
/* Appends len bytes (> 0, room was checked); to memory and by pwrite. *ret_logical: where. *ret_hash: XXH3-64 seeded with
 * the salt, for the record. A pwrite error is kept: the data stays in memory, segment_sync will fail, reads are served from memory. */
int segment_append_data(struct segment *s, const void *buf, size_t len, uint32_t *ret_logical, uint64_t *ret_hash);
int segment_append_record(struct segment *s, const void *rec, size_t len, uint64_t lsn);
/* Writes the records appended so far, fdatasyncs, and (first time) makes the name durable. Blocking; at most one caller at a time.
 * *ret_lsn: the newest LSN that is durable now. After a failure every later call fails too: the segment's bytes live in memory only. */
int segment_sync(struct segment *s, uint64_t *ret_lsn);
uint32_t segment_sync_count(const struct segment *s); /* of those that succeeded since it was created */
/* No sync of it was ever begun since it was created: its file has no header, as little on the disk as before the kernel. While nobody syncs. */
bool segment_blank(const struct segment *s);
/* No more appends. Fixes the sums. */
void segment_freeze(struct segment *s);
bool segment_is_frozen(struct segment *s);
/* All data bytes (memory or file), for encoding: data_len bytes into buf (SEGMENT_DATA_MAX). Verified. ERR_CORRUPT, -EIO. */
int segment_load_data(struct segment *s, uint8_t *buf);
/* The data in memory while it is there, else NULL: it stays there, and where it is, until segment_memory_put. Of a frozen segment it does
 * not change. */
const uint8_t *segment_memory_get(struct segment *s);
void segment_memory_put(struct segment *s);
/* The sums of all granules of a frozen segment that has no table yet, as long as the segment lives; else NULL. */
const uint64_t *segment_sums(const struct segment *s);
/* Frees the in-memory copy of the data once synced; reads come from the file afterwards. */
void segment_drop_memory(struct segment *s);
/* Writes the table into the file and takes it as the truth for verification (after encoding; elided granules are absent from then on).
 * Not synced: a lost table is read from the object again. */
int segment_set_table(struct segment *s, const struct object_table *t);
/* Reads the table stored in the file; ERR_CORRUPT where it is absent or does not hash to table_hash. Takes it as the truth. */
int segment_load_table(struct segment *s, const uint8_t *table_hash, uint32_t table_len);
/* Its object is acknowledged: the file may be lost from now on. Marks the file so (not synced), lets the memory go where it
 * was to be dropped. */
void segment_committed(struct segment *s);
/* A write or sync of its log failed: the file is not to be used again for anything that must last. */
bool segment_failed(struct segment *s);
/* Gives back the disk space of a frozen log segment that holds nothing: past the data, and the unused part of the records
 * (all of them once committed). Not needed for anything; errors are of no consequence. */
void segment_trim(struct segment *s);
bool segment_has_table(const struct segment *s);
const struct object_table *segment_table(const struct segment *s); /* after has_table; immutable */

/* --- replay --- */
/* Calls each() for every intact record in order (LSNs consecutive, data verified against data_hash); stops at the first that is
 * not, or when each returns non-zero (returned). Restores data_len, sums and records_len so that the segment can be frozen and encoded. */
int segment_replay(struct segment *s, int (*each)(void *user, struct record *r), void *user);
/* After that: what is behind the records that counted never counts again, whatever a later read makes of it. Lasts with the next
 * segment_sync; where it cannot be written the file has failed, as after any write of its log. */
void segment_cut_off(struct segment *s);
/* The same as segment_replay, going on behind records that are not intact: LSNs grow, with gaps. For reading what is left, not for going on from it. */
int segment_salvage(struct segment *s, int (*each)(void *user, struct record *r), void *user);
/* Calls each() for every record of frozen log (from memory or file; data not looked at), changing nothing. ERR_CORRUPT when one
 * is missing. */
int segment_records(struct segment *s, int (*each)(void *user, struct record *r), void *user);

/* --- reading --- */
/* len bytes at logical into buf, every granule verified. 0, or ERR_CORRUPT with the absent or bad granules' blocks marked
 * in need (SEGMENT_BLOCKS flags): those are to be fetched. -EIO: the file cannot be read (treat as absent). */
int segment_read(struct segment *s, uint32_t logical, uint32_t len, uint8_t *buf, bool *ret_need);
/* True when all of the range was verified or stored since the segment was opened (a hint: saves asking). */
bool segment_present(const struct segment *s, uint32_t logical, uint32_t len);
/* Stores decoded, verified blocks: len bytes from `block` on, whole ones but for the data's last. */
int segment_store_block(struct segment *s, uint32_t block, const uint8_t *data, uint32_t len);
/* True once after a granule of the block was found bad (not merely absent) in the file. */
bool segment_take_damage(struct segment *s, uint32_t block);

#endif
