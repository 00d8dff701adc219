/*
 * fuzz_local_log.c - a whole file of the local log as a crash may leave it: opened, replayed, frozen, read and encoded again as a restart does, and
 * shown and extracted as clonefs salvage does.
 *
 * Input: what to make good (a byte of GOOD_ flags), length of the records (2 bytes), the header (96 bytes), the records, and the rest is data.
 */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "../../fs/cmd/salvage.c" /* its scan of an open disk is static */
#include "../lib/mem_disk.h"

enum { GOOD_HEADER = 1, GOOD_RECORDS = 2, GOOD_DATA = 4, MARK_ACKED = 8, MARK_FAILED = 16, EXTRACT = 32 };
#define HEADER_FIELDS 96u
#define ID UINT64_C(0x1122334455667788)
#define NAME "seg-1122334455667788"
#define SUM_AT 72u
#define RECORD_HEADER 56u

static uint8_t header[4096];

static void mark(unsigned at, const char *magic)
{
	uint64_t salt = get_u64(header + 24);

	memcpy(header + at, magic, 8);
	put_u64(header + at + 8, hash_xxh3(&salt, sizeof salt, get_u64(header + 16)));
}

static void make_header(const uint8_t *p, size_t len, uint8_t good)
{
	memset(header, 0, sizeof header);
	memcpy(header, p, len);
	if (good & GOOD_HEADER) {
		memcpy(header, "CLVSEGMT", 8);
		put_u32(header + 8, FORMAT_VERSION);
		put_u32(header + 12, get_u32(header + 12) & 1);
		put_u64(header + 16, ID);
		put_u64(header + SUM_AT, hash_xxh3(header, SUM_AT, 0));
	}
	if (good & MARK_ACKED)
		mark(1024, "CLVACKED");
	if (good & MARK_FAILED)
		mark(2048, "CLVFAILD");
}

/* Checksums of as many records as there are, one behind the other from the header's first LSN on. */
static void fix_records(uint8_t *p, size_t len, const uint8_t *data, size_t data_len, uint8_t good)
{
	uint64_t salt = get_u64(header + 24), lsn = get_u64(header + 40);

	while (len >= RECORD_HEADER + 8) {
		uint32_t total = get_u32(p + 4), at = get_u32(p + 48), n = get_u32(p + 52);

		if (total < RECORD_HEADER + 8 || total > len)
			return;
		put_u64(p + 16, lsn++);
		if ((good & GOOD_DATA) && n && n <= data_len && at <= data_len - n)
			put_u64(p + 40, hash_xxh3(data + at, n, salt));
		put_u64(p + total - 8, hash_xxh3(p, total - 8, salt));
		p += total;
		len -= total;
	}
}

static int count(void *user, struct record *r)
{
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc;

	++*(uint64_t *)user;
	while ((rc = record_next(r, &key, &klen, &val, &vlen)) == 1)
		json_object_put(salvage_change_json(key, klen, val, vlen));
	FUZZ_ASSERT(rc == 0);
	return 0;
}

/* As adopt.c takes a segment up again, and as upload.c sends it. */
static void adopt(struct disk *d)
{
	static uint8_t data[SEGMENT_DATA_MAX];
	uint64_t n = 0, again = 0;
	struct object_footer f = { .type = OBJECT_CUT, .epoch = 1, .slot = 1, .segment_id = ID };
	struct object_table t;
	struct buf b = BUF_INIT;
	bool need[SEGMENT_BLOCKS];
	struct segment *s;

	if (segment_open(d, ID, &s) != 0)
		return;
	if (segment_header(s)->is_log && segment_replay(s, count, &n) == 0 && n) {
		segment_freeze(s);
		f.data_len = segment_data_len(s);
		f.first_lsn = segment_header(s)->first_lsn;
		f.last_lsn = f.first_lsn + n - 1;
		FUZZ_ASSERT(f.data_len <= SEGMENT_DATA_MAX && segment_records_len(s) <= SEGMENT_RECORDS_MAX);
		FUZZ_ASSERT(segment_records(s, count, &again) == 0 && again == n);
		FUZZ_ASSERT(segment_load_data(s, data) == 0);
		if (f.data_len) {
			memset(need, 0, sizeof need);
			FUZZ_ASSERT(segment_read(s, 0, f.data_len, data, need) == 0);
		}
		if (object_encode_cut(&f, data, NULL, "run", 3, 0, &t, &b) == 0 && f.data_len) {
			FUZZ_ASSERT(segment_set_table(s, &t) == 0);
			segment_committed(s);
			memset(need, 0, sizeof need);
			FUZZ_ASSERT(segment_read(s, 0, f.data_len, data, need) == 0);
		}
		buf_free(&b);
	}
	segment_unref(s);
}

static void remove_all(const char *dir)
{
	DIR *l = opendir(dir);
	struct dirent *e;

	while (l && (e = readdir(l)) != NULL)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(l), e->d_name, 0);
	if (l)
		closedir(l);
	rmdir(dir);
}

static void salvage(struct disk *d, bool files)
{
	struct salvage s = { .after_lsn = 0 };
	struct salvage_counts n;
	char dir[] = "/tmp/fuzz-salvage.XXXXXX";
	uint64_t seen = 0;

	FUZZ_ASSERT(scan(&s, d, true) == 0 || s.count == 0);
	for (size_t i = 0; i < s.count; i++)
		FUZZ_ASSERT((seen = 0, segment_salvage(s.segments[i].s, count, &seen)) == 0 && seen == s.segments[i].records); /* again the same */
	if (files && s.count && mkdtemp(dir)) {
		(void)salvage_extract(&s, dir, &n);
		remove_all(dir);
	}
	salvage_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct disk *d;
	uint8_t *records, good;
	size_t records_len;

	if (size < 3 + HEADER_FIELDS || size > 3 + HEADER_FIELDS + (192u << 10))
		return 0;
	good = p[0];
	records_len = (size_t)(p[1] | p[2] << 8);
	make_header(p + 3, HEADER_FIELDS, good);
	p += 3 + HEADER_FIELDS;
	size -= 3 + HEADER_FIELDS;
	if (records_len > size)
		records_len = size;
	records = fuzz_copy(p, records_len);
	if (good & GOOD_RECORDS)
		fix_records(records, records_len, p + records_len, size - records_len, good);
	d = mem_disk_new();
	FUZZ_ASSERT(d && mem_disk_put(d, NAME, 0, header, sizeof header) == 0);
	FUZZ_ASSERT(mem_disk_put(d, NAME, SEGMENT_RECORDS_OFFSET, records, records_len) == 0);
	FUZZ_ASSERT(mem_disk_put(d, NAME, SEGMENT_DATA_OFFSET, p + records_len, size - records_len) == 0);
	salvage(d, good & EXTRACT);
	adopt(d);
	adopt(d); /* what the first one wrote to the file is read by the next */
	mem_disk_free(d);
	free(records);
	return 0;
}
