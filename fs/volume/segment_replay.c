/*
 * segment_replay.c - from the bytes a crash left back to a frozen segment.
 *
 * A record counts when its checksum holds under this segment's salt, its LSN follows, its data lies behind the data before
 * it, and that data hashes to what the record says. The first that does not ends the log: on a disk that keeps its promises nothing
 * behind it was acknowledged, because a sync covers all that was appended before it. Where the disk did not (adopt.c finds
 * out), segment_salvage goes on behind the damage: a record proves itself, by a checksum that is salted.
 *
 * The state is rebuilt in memory from what the records vouch for, zeros elsewhere. Where the file says
 * otherwise (space between writes that did not arrive, or of a recycled file) it is put right, so that the sums hold
 * for the file too; where that fails the memory stays and is read instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "segment_impl.h"

struct replay {
	struct segment *s;
	const uint8_t *records;
	size_t records_len;   /* bytes to look at */
	uint8_t *data;        /* to be restored; NULL: the data is memory, nothing to verify or restore */
	struct disk_file *file;
	uint64_t lsn, end;    /* of what counts so far */
	size_t used;
	bool mended;          /* the file was written to */
	bool past_damage;     /* goes on behind what does not count; LSNs have gaps then */
	int (*each)(void *user, struct record *r);
	void *user;
};

/* The record's data: read, verified, and put in its place. ERR_CORRUPT: it did not arrive. */
static int restore_data(struct replay *p, const struct record *r)
{
	struct segment *s = p->s;
	uint8_t *at = p->data + r->data_logical;
	size_t n;
	int rc = s->disk->pread(p->file, at, r->data_len, (uint64_t)SEGMENT_DATA_OFFSET + r->data_logical, &n);

	if (rc)
		return rc;
	if (n == r->data_len && hash_xxh3(at, n, s->header.salt) == r->data_hash)
		return 0;
	memset(at, 0, r->data_len);
	return ERR_CORRUPT;
}

static int check_record(struct replay *p, const struct record *r)
{
	if (p->past_damage ? r->lsn <= p->lsn : r->lsn != p->lsn + 1)
		return ERR_CORRUPT;
	if (r->data_len == 0)
		return 0;
	if (r->data_len > SEGMENT_DATA_MAX || r->data_logical > SEGMENT_DATA_MAX - r->data_len || r->data_logical < p->end)
		return ERR_CORRUPT;
	return p->data ? restore_data(p, r) : 0;
}

/* Moves c to where the next record may begin. */
static bool skip_damage(struct cursor *c)
{
	uint8_t magic[4];
	const uint8_t *at;

	put_u32(magic, RECORD_MAGIC);
	at = cursor_left(c) > 1 ? memmem(c->p + 1, cursor_left(c) - 1, magic, sizeof magic) : NULL;
	if (at)
		c->p = at;
	return at != NULL;
}

/* Returns 0 at the log's end, what each() returned, or a read error (which must not pass for the end). */
static int replay_records(struct replay *p)
{
	struct cursor c = cursor_make(p->records, p->records_len);

	while (cursor_left(&c) > 0) {
		const uint8_t *at = c.p;
		struct record r;
		int rc = record_parse(&c, p->s->header.salt, &r);

		if (rc == 0)
			rc = check_record(p, &r);
		if (rc == ERR_CORRUPT) {
			if (p->past_damage && (c.p != at || skip_damage(&c)))
				continue;
			return 0;
		}
		if (rc == 0)
			rc = p->each(p->user, &r);
		if (rc) {
			if (p->data && r.data_len)
				memset(p->data + r.data_logical, 0, r.data_len);
			return rc;
		}
		p->lsn = r.lsn;
		p->used = p->records_len - cursor_left(&c);
		if (r.data_len)
			p->end = (uint64_t)r.data_logical + r.data_len;
	}
	return 0;
}

/* Makes the file hold exactly what was restored; what lies behind is left alone. */
static int mend_file(struct replay *p)
{
	struct segment *s = p->s;
	uint64_t off, end = p->end;
	uint8_t *chunk = malloc(BLOCK_BYTES);
	int rc = chunk ? 0 : -ENOMEM;

	for (off = 0; rc == 0 && off < end; off += BLOCK_BYTES) {
		size_t len = end - off < BLOCK_BYTES ? (size_t)(end - off) : BLOCK_BYTES, n;

		rc = s->disk->pread(p->file, chunk, len, SEGMENT_DATA_OFFSET + off, &n);
		if (rc == 0 && (n < len || memcmp(chunk, p->data + off, len) != 0)) {
			p->mended = true;
			rc = s->read_only || s->failed ? -EROFS : s->disk->pwrite(p->file, p->data + off, len, SEGMENT_DATA_OFFSET + off);
		}
	}
	free(chunk);
	return rc;
}

/* Publishes the restored state. memory: the mapping, kept where the file could not be mended. */
static int restore_state(struct replay *p, uint8_t **memory)
{
	struct segment *s = p->s;
	struct segment_truth *t = calloc(1, sizeof(*t));
	bool exact;

	if (!t)
		return -ENOMEM;
	segment_fill_sums(t, s->header.id, p->data, (uint32_t)p->end);
	exact = mend_file(p) == 0;
	segment_set_truth(s, t);
	s->records_written = (uint32_t)p->used;
	pthread_mutex_lock(&s->mu);
	s->records_len = (uint32_t)p->used;
	s->last_lsn = p->lsn;
	s->frozen = true;
	s->synced = false;
	s->wrote |= p->mended;
	if (!exact && !s->data) {
		s->data = *memory;
		*memory = NULL;
	}
	pthread_mutex_unlock(&s->mu);
	if (exact)
		segment_mark_present(s, 0, (uint32_t)((p->end + GRANULE_BYTES - 1) / GRANULE_BYTES));
	return 0;
}

static int replay_file(struct replay *p)
{
	struct segment *s = p->s;
	uint8_t *memory = NULL, *records = malloc(SEGMENT_RECORDS_MAX);
	int rc = records ? segment_map_memory(&memory) : -ENOMEM, restored;

	if (rc == 0)
		rc = segment_file_get(s, &p->file);
	if (rc)
		goto out;
	rc = s->disk->pread(p->file, records, SEGMENT_RECORDS_MAX, SEGMENT_RECORDS_OFFSET, &p->records_len);
	if (rc == 0) {
		p->records = records;
		p->data = memory;
		rc = replay_records(p);
		restored = restore_state(p, &memory);
		if (rc == 0)
			rc = restored;
	}
	segment_file_put(s);
out:
	if (memory)
		segment_unmap_memory(NULL, memory);
	free(records);
	return rc;
}

static int replay(struct segment *s, bool past_damage, int (*each)(void *user, struct record *r), void *user)
{
	struct replay p = { .s = s, .lsn = s->header.first_lsn - 1, .past_damage = past_damage, .each = each, .user = user };
	int rc;

	if (!s->header.is_log)
		return -EINVAL;
	pthread_mutex_lock(&s->mu);
	p.records = s->records;
	p.records_len = s->records_len;
	if (p.records)
		s->memory_users++;
	pthread_mutex_unlock(&s->mu);
	if (!p.records)
		return replay_file(&p);
	/* Not yet gone from memory (its file may have failed): the same records, all of them true. */
	rc = replay_records(&p);
	segment_memory_put(s);
	return rc;
}

int segment_replay(struct segment *s, int (*each)(void *user, struct record *r), void *user)
{
	return replay(s, false, each, user);
}

int segment_salvage(struct segment *s, int (*each)(void *user, struct record *r), void *user)
{
	return replay(s, true, each, user);
}

void segment_cut_off(struct segment *s)
{
	static const uint8_t none[sizeof(uint32_t)]; /* in place of RECORD_MAGIC */
	uint32_t at = segment_records_len(s);
	struct disk_file *f;
	int rc;

	if (segment_failed(s) || at + sizeof none > SEGMENT_RECORDS_MAX)
		return;
	rc = segment_file_get(s, &f);
	if (!rc) {
		rc = s->disk->pwrite(f, none, sizeof none, SEGMENT_RECORDS_OFFSET + (uint64_t)at);
		segment_file_put(s);
	}
	segment_keep_failure(s, rc);
	pthread_mutex_lock(&s->mu);
	s->wrote = true;
	s->synced = false;
	pthread_mutex_unlock(&s->mu);
}

int segment_records(struct segment *s, int (*each)(void *user, struct record *r), void *user)
{
	struct replay p = { .s = s, .lsn = s->header.first_lsn - 1, .each = each, .user = user };
	uint8_t *read = NULL;
	bool memory;
	uint64_t last;
	size_t n = 0;
	int rc = 0;

	pthread_mutex_lock(&s->mu);
	p.records = s->records;
	p.records_len = s->records_len;
	last = s->last_lsn;
	memory = p.records != NULL;
	if (memory)
		s->memory_users++;
	pthread_mutex_unlock(&s->mu);
	if (!memory) {
		p.records = read = malloc(p.records_len + 1);
		rc = read ? segment_file_get(s, &p.file) : -ENOMEM;
		if (rc == 0) {
			rc = s->disk->pread(p.file, read, p.records_len, SEGMENT_RECORDS_OFFSET, &n);
			segment_file_put(s);
			if (rc == 0 && n < p.records_len)
				rc = ERR_CORRUPT;
		}
	}
	if (rc == 0)
		rc = replay_records(&p);
	if (rc == 0 && p.lsn != last)
		rc = ERR_CORRUPT;
	if (memory)
		segment_memory_put(s);
	free(read);
	return rc;
}
