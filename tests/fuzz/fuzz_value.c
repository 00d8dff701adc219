/* fuzz_value.c - keys and values of the map. Input: length of the key, key, value. */
#include "fuzz.h"
#include "value.h"

static void again(const struct value_key *k, const uint8_t *val, size_t vlen)
{
	static uint8_t out[VALUE_INODE_MAX];
	static struct inode i;
	struct volume_dirent d;
	struct extent e;
	struct segment_ref s;
	size_t len = vlen;

	switch (k->table) {
	case VALUE_INODE:
		FUZZ_ASSERT(value_inode_decode(k->a, val, vlen, &i) == 0 && value_inode_encode(&i, out, &len) == 0 && i.a.ino == k->a);
		break;
	case VALUE_DIRENT:
		FUZZ_ASSERT(value_dirent_decode(k->b, val, vlen, &d) == 0 && value_dirent_encode(d.ino, d.type, d.name, d.len, out, &len) == 0);
		break;
	case VALUE_EXTENT:
		FUZZ_ASSERT(value_extent_decode(k->a, k->b, val, vlen, &e) == 0 && value_extent_encode(&e, out) == 0 && e.start + e.len - 1 == k->b);
		break;
	case VALUE_SEGMENT:
		FUZZ_ASSERT(value_segment_decode(k->a, val, vlen, &s) == 0 && value_segment_encode(&s, out) == 0);
		break;
	case VALUE_ORPHAN:
		value_orphan_encode(out);
		break;
	case VALUE_XATTR:
		return;
	}
	FUZZ_ASSERT(len == vlen && memcmp(out, val, len) == 0);
}

static void same_key(const struct value_key *k, const uint8_t *key, size_t klen)
{
	uint8_t out[VALUE_KEY_MAX];
	size_t len = 0;

	switch (k->table) {
	case VALUE_INODE: len = value_key_inode(k->a, out); break;
	case VALUE_ORPHAN: len = value_key_orphan(k->a, out); break;
	case VALUE_SEGMENT: len = value_key_segment(k->a, out); break;
	case VALUE_DIRENT: len = value_key_dirent(k->a, k->b, out); break;
	case VALUE_EXTENT: len = value_key_extent(k->a, k->b, out); break;
	case VALUE_XATTR: len = value_key_xattr(k->a, (const char *)k->name, k->name_len, out); break;
	}
	FUZZ_ASSERT(len == klen && memcmp(out, key, klen) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct value_key k;
	uint8_t *key, *val;
	size_t klen;

	if (size < 1 || data[0] > size - 1)
		return 0;
	klen = data[0];
	key = fuzz_copy(data + 1, klen);
	val = fuzz_copy(data + 1 + klen, size - 1 - klen);
	if (value_key_parse(key, klen, &k) == 0) {
		same_key(&k, key, klen);
		if (value_check(key, klen, val, size - 1 - klen) == 0)
			again(&k, val, size - 1 - klen);
		FUZZ_ASSERT(value_check(key, klen, NULL, 0) == 0);
	} else {
		FUZZ_ASSERT(value_check(key, klen, val, size - 1 - klen) != 0);
	}
	free(key);
	free(val);
	return 0;
}
