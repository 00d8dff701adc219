/*
 * fuzz_meta.c - any keys and values in the map: a checkpoint's, a log object's and a record's changes come to meta_load and meta_apply as they are
 * once their checksums hold. What the map took is then read by every typed call, checked, and changed.
 *
 * Input: a byte (odd: loaded sorted first, then applied), then changes: length of the key (1), of the value (2, 0xffff: a delete), key, value.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "fuzz.h"
#include "meta.h"
#include "value.h"

#define STEPS 200 /* of what a corrupt map may make endless: more than an input has keys for */

static char dir[] = "/dev/shm/fuzz-meta.XXXXXX";

static void remove_dir(void)
{
	(void)rmdir(dir);
}

static int on_change(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	(void)user;
	FUZZ_ASSERT(value_check(key, klen, val, vlen) == 0);
	return 0;
}

static void on_live(void *user, uint64_t segment, uint32_t logical, uint32_t len, int sign)
{
	(void)user;
	(void)segment;
	FUZZ_ASSERT(sign == 1 || sign == -1);
	FUZZ_ASSERT((uint64_t)logical + len <= SEGMENT_DATA_MAX);
}

static void read_inode(struct meta *m, uint64_t ino)
{
	static struct inode i;
	char name[VOLUME_NAME_MAX + 1] = "";
	struct volume_dirent d = { .cookie = 0 };
	struct extent e;
	const uint8_t *v;
	size_t n;
	uint64_t at = 0;
	int rc;

	if (meta_inode_get(m, ino, &i) == 0)
		FUZZ_ASSERT(i.a.ino == ino && i.target_len <= VOLUME_SYMLINK_MAX);
	for (n = 0; n < STEPS && (rc = meta_extent_find(m, ino, at, &e)) == 0; n++) {
		FUZZ_ASSERT(e.start + e.len > at && e.len > 0);
		at = e.start + e.len;
	}
	FUZZ_ASSERT(n < STEPS);
	for (n = 0; n < STEPS && meta_name_next(m, ino, d.cookie, &d) == 0; n++) {
		struct volume_dirent again;

		FUZZ_ASSERT(d.len == strlen(d.name));
		(void)meta_name_get(m, ino, d.name, d.len, &again);
	}
	FUZZ_ASSERT(n < STEPS);
	for (n = 0; n < STEPS && meta_xattr_next(m, ino, name, name) == 0; n++) {
		size_t len;

		FUZZ_ASSERT(meta_xattr_get(m, ino, name, &v, &len) == 0);
	}
	FUZZ_ASSERT(n < STEPS);
}

/* As a write, a truncation and an unlink would. */
static void change_inode(struct meta *m, uint64_t ino)
{
	struct extent e = { .ino = ino, .start = 4096, .len = 8192, .segment = 7, .logical = 0 };
	struct volume_dirent d = { .cookie = 0 };
	uint64_t alloc = 0, from;
	struct inode i;

	if (meta_inode_get(m, ino, &i) != 0)
		return;
	(void)meta_extent_set(m, &e, &alloc);
	(void)meta_extent_punch(m, ino, 0, UINT64_MAX, &alloc, &from);
	if (meta_name_next(m, ino, 0, &d) == 0)
		(void)meta_name_del(m, ino, d.name, d.len);
	(void)meta_name_put(m, ino, "new", 3, 9, S_IFREG);
	(void)meta_inode_put(m, &i);
	(void)meta_step(m);
}

static int apply(struct meta *m, const uint8_t *p, size_t size, bool load)
{
	int rc = 0;

	while (!rc && size >= 3 && size - 3 >= p[0]) {
		size_t klen = p[0], vlen = (size_t)(p[1] | p[2] << 8), have = size - 3 - klen;
		bool del = vlen == 0xffff;
		uint8_t *key, *val;

		vlen = del ? 0 : vlen > have ? have : vlen;
		key = fuzz_copy(p + 3, klen);
		val = fuzz_copy(p + 3 + klen, vlen);
		if (klen)
			rc = load ? meta_load(m, key, klen, val, vlen) : meta_apply(m, key, klen, del ? NULL : val, vlen);
		free(key);
		free(val);
		p += 3 + klen + vlen;
		size -= 3 + klen + vlen;
	}
	return rc;
}

static int read_key(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	uint64_t *seen = user;
	struct value_key k;

	FUZZ_ASSERT(value_check(key, klen, val, vlen) == 0 && value_key_parse(key, klen, &k) == 0); /* no other gets in */
	for (int i = 0; i < 16; i++) {
		if (seen[i] == k.a)
			return 0;
		if (seen[i] == 0) {
			seen[i] = k.a;
			return 0;
		}
	}
	return 0;
}

static void line(void *user, const char *text)
{
	(void)user;
	FUZZ_ASSERT(*text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct meta_sink sink = { on_change, on_live, NULL };
	static bool made;
	uint64_t seen[16] = { 0 };
	struct meta *m;
	int rc = 0;

	if (size < 1 || size > 8192)
		return 0;
	if (!made) {
		FUZZ_ASSERT(mkdtemp(dir));
		atexit(remove_dir);
		made = true;
	}
	FUZZ_ASSERT(meta_open(dir, 8u << 20, &sink, &m) == 0);
	if (data[0] & 1)
		rc = apply(m, data + 1, size - 1, true);
	if (!rc)
		rc = meta_load_end(m);
	if (!rc)
		(void)apply(m, data + 1, size - 1, false);
	(void)meta_walk(m, 0, read_key, seen);
	(void)meta_check(m, line, NULL);
	for (int i = 0; i < 16 && seen[i]; i++)
		read_inode(m, seen[i]);
	for (int i = 0; i < 16 && seen[i]; i++)
		change_inode(m, seen[i]);
	(void)meta_check(m, line, NULL);
	meta_close(m);
	return 0;
}
