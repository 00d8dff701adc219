/*
 * segment.c - segment files: made ahead, created, opened, closed, their header
 * and their table. segment_impl.h has the invariants.
 *
 * Crash behaviour: a file counts from the moment its header is on disk, which
 * the first segment_sync does before anything in it is acknowledged. The header is written once; that the object was
 * acknowledged later is a mark in another sector of its page, so that tearing the mark cannot harm the header.
 * A spare's header page is zeroed and synced before it may be used, so a recycled file never comes
 * back as the segment it was; one that never had a header cannot, and is not synced.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "err.h"
#include "segment_impl.h"

#define HEADER_MAGIC "CLVSEGMT"
#define MARK_MAGIC "CLVACKED"
#define FAILED_MAGIC "CLVFAILD"
#define HEADER_BYTES 80u  /* checksum included */
#define MARK_OFFSET 1024u /* its own sector */
#define FAILED_OFFSET 2048u
#define MARK_BYTES 16u
#define PAGE 4096u

void segment_name(uint64_t id, char ret[SEGMENT_NAME_BYTES])
{
	(void)snprintf(ret, SEGMENT_NAME_BYTES, "seg-%016llx", (unsigned long long)id);
}

/* --- the header page --- */

static void encode_header(const struct segment_header *h, uint8_t *page)
{
	memset(page, 0, PAGE);
	memcpy(page, HEADER_MAGIC, 8);
	put_u32(page + 8, FORMAT_VERSION);
	put_u32(page + 12, h->is_log);
	put_u64(page + 16, h->id);
	put_u64(page + 24, h->salt);
	put_u64(page + 32, h->epoch);
	put_u64(page + 40, h->first_lsn);
	memcpy(page + 48, h->log_uuid, ID_BYTES);
	put_u64(page + 72, hash_xxh3(page, 72, 0));
}

static void encode_mark(const struct segment_header *h, const char *magic, uint8_t *mark)
{
	memcpy(mark, magic, 8);
	put_u64(mark + 8, hash_xxh3(&h->salt, sizeof(h->salt), h->id));
}

static int decode_header(const uint8_t *page, struct segment_header *ret, bool *ret_acked, bool *ret_failed)
{
	struct segment_header h;
	uint8_t mark[MARK_BYTES];

	if (memcmp(page, HEADER_MAGIC, 8) != 0 || get_u64(page + 72) != hash_xxh3(page, 72, 0))
		return ERR_CORRUPT;
	if (get_u32(page + 8) > FORMAT_VERSION)
		return ERR_NEWER_FORMAT;
	if (get_u32(page + 12) > 1)
		return ERR_CORRUPT;
	memset(&h, 0, sizeof(h));
	h.is_log = get_u32(page + 12);
	h.id = get_u64(page + 16);
	h.salt = get_u64(page + 24);
	h.epoch = get_u64(page + 32);
	h.first_lsn = get_u64(page + 40);
	memcpy(h.log_uuid, page + 48, ID_BYTES);
	encode_mark(&h, MARK_MAGIC, mark);
	*ret_acked = memcmp(page + MARK_OFFSET, mark, MARK_BYTES) == 0;
	encode_mark(&h, FAILED_MAGIC, mark);
	*ret_failed = memcmp(page + FAILED_OFFSET, mark, MARK_BYTES) == 0;
	*ret = h;
	return 0;
}

int segment_write_header(struct segment *s, struct disk_file *f)
{
	uint8_t page[PAGE];

	encode_header(&s->header, page);
	return s->disk->pwrite(f, page, sizeof(page), 0);
}

/*
 * The kernel shows what it could not write as if it were there, and says so once. For a process that comes after, in the same
 * boot, the mark is shown just so; after a power loss what is read is what is there, mark or no mark.
 */
void segment_mark_failed(struct segment *s)
{
	uint8_t mark[MARK_BYTES];
	struct disk_file *f;

	if (s->read_only || segment_file_get(s, &f))
		return;
	encode_mark(&s->header, FAILED_MAGIC, mark);
	(void)s->disk->pwrite(f, mark, sizeof(mark), FAILED_OFFSET);
	segment_file_put(s);
}

static int read_header(struct disk *d, struct disk_file *f, struct segment_header *ret, bool *ret_failed)
{
	uint8_t page[PAGE];
	bool acked;
	size_t n;
	int rc = d->pread(f, page, sizeof(page), 0, &n);

	if (rc)
		return rc;
	if (n < sizeof(page))
		return ERR_CORRUPT;
	rc = decode_header(page, ret, &acked, ret_failed);
	if (rc == 0 && acked)
		ret->is_log = false;
	return rc;
}

/* --- the struct --- */

static struct segment *new_segment(struct disk *d, const char *name, const struct segment_header *h)
{
	struct segment *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->disk = d;
	if (h)
		s->header = *h;
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	pthread_mutex_init(&s->mu, NULL);
	return s;
}

struct segment *segment_ref(struct segment *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void segment_unref(struct segment *s)
{
	struct segment_truth *t, *next;

	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (s->file)
		s->disk->close(s->file);
	if (s->data)
		segment_unmap_memory(s, s->data);
	for (t = atomic_load(&s->truth); t; t = next) {
		next = t->replaced;
		free(t);
	}
	free(s->spare_truth);
	pthread_mutex_destroy(&s->mu);
	free(s);
}

bool segment_shared(const struct segment *s)
{
	return atomic_load_explicit(&s->refs, memory_order_acquire) > 1;
}

const struct segment_header *segment_header(const struct segment *s)
{
	return &s->header;
}

uint32_t segment_data_len(const struct segment *s)
{
	struct segment *m = (struct segment *)(uintptr_t)s;
	uint32_t len;

	pthread_mutex_lock(&m->mu);
	len = m->data_len;
	pthread_mutex_unlock(&m->mu);
	return len;
}

uint32_t segment_records_len(const struct segment *s)
{
	struct segment *m = (struct segment *)(uintptr_t)s;
	uint32_t len;

	pthread_mutex_lock(&m->mu);
	len = m->records_len;
	pthread_mutex_unlock(&m->mu);
	return len;
}

/*
 * Memory of log: one mapping, zero until touched, so that a nearly empty segment costs little. A few that were given back stay, zeroed, for
 * the next segments: to have a stream's every page made, cleared and unmapped by the kernel costs more than the copying into it.
 */
static struct {
	pthread_mutex_t mu; /* innermost */
	uint8_t *kept[SEGMENT_MEMORY_KEPT];
	unsigned count;
} memory = { .mu = PTHREAD_MUTEX_INITIALIZER };

int segment_map_memory(uint8_t **ret)
{
	void *p = NULL;

	pthread_mutex_lock(&memory.mu);
	if (memory.count)
		p = memory.kept[--memory.count];
	pthread_mutex_unlock(&memory.mu);
	if (!p)
		p = mmap(NULL, SEGMENT_DATA_MAX + SEGMENT_RECORDS_MAX, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	*ret = p;
	return 0;
}

void segment_unmap_memory(struct segment *s, uint8_t *p)
{
	bool keep = s && s->memory_clean;

	if (keep) {
		pthread_mutex_lock(&memory.mu);
		keep = memory.count < SEGMENT_MEMORY_KEPT;
		pthread_mutex_unlock(&memory.mu);
	}
	if (keep) { /* what was touched is what was appended */
		memset(p, 0, s->data_len);
		memset(p + SEGMENT_DATA_MAX, 0, s->records_len);
		pthread_mutex_lock(&memory.mu);
		keep = memory.count < SEGMENT_MEMORY_KEPT;
		if (keep)
			memory.kept[memory.count++] = p;
		pthread_mutex_unlock(&memory.mu);
	}
	if (!keep)
		(void)munmap(p, SEGMENT_DATA_MAX + SEGMENT_RECORDS_MAX);
}

const uint8_t *segment_memory_get(struct segment *s)
{
	const uint8_t *p;

	pthread_mutex_lock(&s->mu);
	p = s->data;
	if (p)
		s->memory_users++;
	pthread_mutex_unlock(&s->mu);
	return p;
}

uint8_t *segment_memory_take(struct segment *s)
{
	bool on_disk = s->synced && !s->failed && s->synced_data == s->data_len && s->synced_records == s->records_len;
	uint8_t *p = s->data;

	if (!s->drop_wanted || !s->frozen || s->memory_users || !(on_disk || s->committed))
		return NULL;
	s->data = s->records = NULL;
	return p;
}

void segment_memory_put(struct segment *s)
{
	uint8_t *gone;

	pthread_mutex_lock(&s->mu);
	s->memory_users--;
	gone = segment_memory_take(s);
	pthread_mutex_unlock(&s->mu);
	if (gone)
		segment_unmap_memory(s, gone);
}

/* --- the file handle --- */

int segment_file_get(struct segment *s, struct disk_file **ret)
{
	struct disk_file *mine = NULL, *extra = NULL;
	char name[SEGMENT_NAME_BYTES];
	int rc;

	if (!s->disk)
		return -EIO;
	pthread_mutex_lock(&s->mu);
	if (!s->file) {
		memcpy(name, s->name, sizeof(name));
		pthread_mutex_unlock(&s->mu);
		rc = s->disk->open(s->disk, name, s->read_only ? DISK_READ : DISK_WRITE, &mine);
		if (rc)
			return rc;
		pthread_mutex_lock(&s->mu);
		if (s->file)
			extra = mine; /* another thread was faster */
		else
			s->file = mine;
	}
	s->file_users++;
	*ret = s->file;
	pthread_mutex_unlock(&s->mu);
	if (extra)
		s->disk->close(extra);
	return 0;
}

void segment_file_put(struct segment *s)
{
	pthread_mutex_lock(&s->mu);
	s->file_users--;
	pthread_mutex_unlock(&s->mu);
}

void segment_idle(struct segment *s)
{
	struct disk_file *f = NULL;

	pthread_mutex_lock(&s->mu);
	/* Log that is not synced keeps its handle: only that one is sure to report what went wrong with its writes. */
	if (s->file && s->file_users == 0 &&
	    (!s->header.is_log || s->committed || !s->wrote ||
	     (s->frozen && s->synced && s->synced_data == s->data_len && s->synced_records == s->records_len))) {
		f = s->file;
		s->file = NULL;
	}
	pthread_mutex_unlock(&s->mu);
	if (f)
		s->disk->close(f);
}

bool segment_on_disk(const struct segment *s)
{
	return s->disk != NULL;
}

bool segment_is_open(struct segment *s)
{
	bool open;

	pthread_mutex_lock(&s->mu);
	open = s->file != NULL;
	pthread_mutex_unlock(&s->mu);
	return open;
}

void segment_moved(struct segment *s, const char *name)
{
	pthread_mutex_lock(&s->mu);
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	pthread_mutex_unlock(&s->mu);
}

uint64_t segment_disk_usage(struct segment *s)
{
	struct disk_file *f;
	uint64_t bytes = 0;
	int rc = segment_file_get(s, &f);

	if (rc)
		return 0;
	rc = s->disk->usage(f, &bytes);
	segment_file_put(s);
	/* Counting too much is the safe side of a budget. */
	return rc ? SEGMENT_FILE_BYTES : bytes;
}

/* --- making files --- */

static int make_spare(struct disk *d, struct disk_file *f, unsigned how)
{
	static const uint8_t zero[PAGE];
	int rc = d->pwrite(f, zero, sizeof(zero), 0);

	if (rc == 0)
		rc = d->truncate(f, SEGMENT_FILE_BYTES);
	if (rc == 0)
		rc = how & SEGMENT_FILL && d->fill ? d->fill(f, 0, SEGMENT_FILE_BYTES) : d->allocate(f, 0, SEGMENT_FILE_BYTES);
	if (rc == -EOPNOTSUPP)
		rc = 0;
	if (rc == 0 && !(how & SEGMENT_BLANK))
		rc = d->sync(f);
	return rc;
}

int segment_prepare(struct disk *d, const char *recycled, const char *spare_name, unsigned how)
{
	struct disk_file *f;
	int rc = 0;

	if (recycled && strcmp(recycled, spare_name) != 0)
		rc = d->rename(d, recycled, spare_name);
	if (rc == 0)
		rc = d->open(d, spare_name, recycled ? DISK_WRITE : DISK_CREATE, &f);
	if (rc)
		return rc;
	rc = make_spare(d, f, how);
	d->close(f);
	if (rc == 0 && !(how & SEGMENT_BLANK))
		rc = d->sync_dir(d, "");
	if (rc)
		(void)d->unlink(d, spare_name); /* one left behind is removed at the next start */
	return rc;
}

static int create_log_file(struct disk *d, const char *spare_name, const char *name, struct disk_file **ret)
{
	struct disk_file *f;
	int rc;

	if (spare_name) {
		rc = d->rename(d, spare_name, name);
		if (rc)
			return rc;
		rc = d->open(d, name, DISK_WRITE, ret);
		if (rc)
			(void)d->unlink(d, name);
		return rc;
	}
	rc = d->open(d, name, DISK_CREATE, &f);
	if (rc)
		return rc;
	rc = d->allocate(f, 0, SEGMENT_FILE_BYTES);
	if (rc && rc != -EOPNOTSUPP) {
		d->close(f);
		(void)d->unlink(d, name);
		return rc;
	}
	*ret = f;
	return 0;
}

int segment_create(struct disk *d, const char *spare_name, const struct segment_header *h, struct segment **ret)
{
	char name[SEGMENT_NAME_BYTES];
	struct segment *s;
	int rc = -ENOMEM;

	segment_name(h->id, name);
	s = new_segment(d, name, h);
	if (!s)
		return -ENOMEM;
	s->header.is_log = true;
	s->spare_truth = calloc(1, sizeof(*s->spare_truth));
	if (!s->spare_truth)
		goto fail;
	rc = segment_map_memory(&s->data);
	if (rc)
		goto fail;
	s->memory_clean = true;
	s->records = s->data + SEGMENT_DATA_MAX;
	rc = create_log_file(d, spare_name, name, &s->file);
	if (rc)
		goto fail;
	s->last_lsn = h->first_lsn - 1;
	s->wrote = true;
	*ret = s;
	return 0;
fail:
	segment_unref(s);
	return rc;
}

int segment_open_name(struct disk *d, const char *name, bool read_only, struct segment **ret)
{
	struct segment *s;
	bool failed = false;
	int rc;

	if (strlen(name) >= SEGMENT_NAME_BYTES)
		return -ENAMETOOLONG;
	s = new_segment(d, name, NULL);
	if (!s)
		return -ENOMEM;
	s->read_only = read_only;
	rc = d->open(d, name, read_only ? DISK_READ : DISK_WRITE, &s->file);
	if (rc == 0)
		rc = read_header(d, s->file, &s->header, &failed);
	if (rc) {
		segment_unref(s);
		return rc;
	}
	s->header_begun = s->header_written = true;
	s->failed = failed ? -EIO : 0;
	*ret = s;
	return 0;
}

int segment_open(struct disk *d, uint64_t id, struct segment **ret)
{
	char name[SEGMENT_NAME_BYTES];
	struct segment *s;
	int rc;

	segment_name(id, name);
	rc = segment_open_name(d, name, false, &s);
	if (rc)
		return rc;
	if (s->header.id != id) {
		segment_unref(s);
		return ERR_CORRUPT;
	}
	*ret = s;
	return 0;
}

/* --- the table --- */

void segment_set_truth(struct segment *s, struct segment_truth *t)
{
	pthread_mutex_lock(&s->mu);
	t->replaced = atomic_load(&s->truth);
	s->data_len = t->table.data_len;
	atomic_store_explicit(&s->truth, t, memory_order_release);
	pthread_mutex_unlock(&s->mu);
}

void segment_fill_sums(struct segment_truth *t, uint64_t id, const uint8_t *data, uint32_t data_len)
{
	uint32_t g;

	t->table.data_len = data_len;
	/* The memory is zero behind data_len, so the last granule is padded as the format wants it. */
	for (g = 0; (uint64_t)g * GRANULE_BYTES < data_len; g++)
		t->table.sums[g] = object_granule_sum(id, data + (size_t)g * GRANULE_BYTES);
}

static int final_truth(const struct object_table *t, struct segment_truth **ret)
{
	struct segment_truth *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->final = true;
	n->table = *t;
	*ret = n;
	return 0;
}

static int write_table(struct segment *s, const struct object_table *t)
{
	struct buf b = BUF_INIT;
	struct disk_file *f;
	int rc = object_table_encode(t, &b);

	if (rc == 0 && b.len > SEGMENT_RECORDS_OFFSET - SEGMENT_TABLE_OFFSET)
		rc = -E2BIG;
	if (rc == 0)
		rc = segment_file_get(s, &f);
	if (rc == 0) {
		rc = s->disk->pwrite(f, b.data, b.len, SEGMENT_TABLE_OFFSET);
		segment_file_put(s);
	}
	buf_free(&b);
	return rc;
}

int segment_set_table(struct segment *s, const struct object_table *t)
{
	struct segment_truth *n;
	bool wrong, write;
	int rc;

	pthread_mutex_lock(&s->mu);
	wrong = s->header.is_log && s->frozen && t->data_len != s->data_len;
	write = s->disk && !s->failed && !s->read_only;
	pthread_mutex_unlock(&s->mu);
	if (wrong || t->data_len > SEGMENT_DATA_MAX)
		return -EINVAL;
	rc = final_truth(t, &n);
	if (rc)
		return rc;
	/* A table that cannot be written is read from the object again after the next start. */
	if (write)
		(void)write_table(s, t);
	segment_set_truth(s, n);
	return 0;
}

static int read_table(struct segment *s, const uint8_t *table_hash, uint32_t table_len, struct object_table *ret)
{
	uint8_t hash[HASH_BYTES], *raw;
	struct disk_file *f;
	size_t n = 0;
	int rc;

	if (table_len > SEGMENT_RECORDS_OFFSET - SEGMENT_TABLE_OFFSET)
		return ERR_CORRUPT;
	raw = malloc(table_len ? table_len : 1);
	if (!raw)
		return -ENOMEM;
	rc = segment_file_get(s, &f);
	if (rc == 0) {
		rc = s->disk->pread(f, raw, table_len, SEGMENT_TABLE_OFFSET, &n);
		segment_file_put(s);
	}
	if (rc == 0) {
		hash_blake2b(raw, n, hash);
		rc = n == table_len && memcmp(hash, table_hash, HASH_BYTES) == 0 ? object_table_decode(raw, n, ret) : ERR_CORRUPT;
	}
	free(raw);
	return rc;
}

int segment_load_table(struct segment *s, const uint8_t *table_hash, uint32_t table_len)
{
	struct segment_truth *n = calloc(1, sizeof(*n));
	int rc;

	if (!n)
		return -ENOMEM;
	n->final = true;
	rc = read_table(s, table_hash, table_len, &n->table);
	if (rc) {
		free(n);
		return rc;
	}
	segment_set_truth(s, n);
	return 0;
}

const uint64_t *segment_sums(const struct segment *s)
{
	const struct segment_truth *t = atomic_load_explicit(&s->truth, memory_order_acquire);

	return t && !t->final ? t->table.sums : NULL;
}

bool segment_has_table(const struct segment *s)
{
	const struct segment_truth *t = atomic_load_explicit(&s->truth, memory_order_acquire);

	return t && t->final;
}

const struct object_table *segment_table(const struct segment *s)
{
	const struct segment_truth *t = atomic_load_explicit(&s->truth, memory_order_acquire);

	return t && t->final ? &t->table : NULL;
}

/* --- fetched segments --- */

int segment_create_named(struct disk *d, const char *name, uint64_t id, const struct object_table *t, struct segment **ret)
{
	struct segment_header h = { .id = id };
	struct segment_truth *n = NULL;
	struct segment *s = new_segment(d, name, &h);
	int rc;

	if (!s)
		return -ENOMEM;
	rc = final_truth(t, &n);
	if (rc)
		goto fail;
	segment_set_truth(s, n);
	rc = d->open(d, name, DISK_CREATE, &s->file);
	if (rc)
		goto fail;
	rc = segment_write_header(s, s->file);
	if (rc == 0)
		rc = write_table(s, t);
	if (rc) {
		(void)d->unlink(d, name);
		goto fail;
	}
	s->header_written = true;
	*ret = s;
	return 0;
fail:
	segment_unref(s);
	return rc;
}

int segment_create_fetched(struct disk *d, uint64_t id, const struct object_table *t, struct segment **ret)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(id, name);
	return segment_create_named(d, name, id, t, ret);
}

int segment_create_memory(uint64_t id, const struct object_table *t, struct segment **ret)
{
	struct segment_header h = { .id = id };
	struct segment *s = new_segment(NULL, "", &h);
	struct segment_truth *n;
	int rc;

	if (!s)
		return -ENOMEM;
	rc = final_truth(t, &n);
	if (rc) {
		segment_unref(s);
		return rc;
	}
	segment_set_truth(s, n);
	*ret = s;
	return 0;
}

/* --- after the log --- */

void segment_committed(struct segment *s)
{
	uint8_t mark[MARK_BYTES], *gone;
	struct disk_file *f;
	bool write;

	pthread_mutex_lock(&s->mu);
	write = s->header.is_log && !s->committed && !s->failed && !s->read_only && s->disk;
	s->committed = true;
	gone = segment_memory_take(s);
	pthread_mutex_unlock(&s->mu);
	if (gone)
		segment_unmap_memory(s, gone);
	if (!write || segment_file_get(s, &f))
		return;
	/* Not synced, and no matter if it fails: without the mark the next start finds log that the store has already. */
	encode_mark(&s->header, MARK_MAGIC, mark);
	(void)s->disk->pwrite(f, mark, sizeof(mark), MARK_OFFSET);
	segment_file_put(s);
}

static uint64_t round_up(uint64_t x)
{
	return (x + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

void segment_trim(struct segment *s)
{
	uint64_t records_end, data_end;
	struct disk_file *f;
	bool ok;

	pthread_mutex_lock(&s->mu);
	ok = s->disk && s->header.is_log && s->frozen && !s->failed && !s->read_only;
	records_end = SEGMENT_RECORDS_OFFSET + (s->committed ? 0 : round_up(s->records_len));
	data_end = SEGMENT_DATA_OFFSET + round_up(s->data_len);
	pthread_mutex_unlock(&s->mu);
	if (!ok || segment_file_get(s, &f))
		return;
	(void)s->disk->truncate(f, data_end);
	if (s->disk->punch && records_end < SEGMENT_DATA_OFFSET)
		(void)s->disk->punch(f, records_end, SEGMENT_DATA_OFFSET - records_end);
	segment_file_put(s);
}
