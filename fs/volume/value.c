/*
 * value.c - keys and values of the map as bytes. See value.h; layouts in FORMAT.md.
 *
 * Stateless. Each value is either of fixed size or ends with the one field whose length varies, so that a value
 * with bytes left over is corrupt, never half understood.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "value.h"

#define INODE_VERSION 1
#define ORPHAN_VERSION 1
#define SEGMENT_VERSION 1
#define NS_PER_S 1000000000

static void put_u16le(uint8_t *p, uint16_t x)
{
	p[0] = (uint8_t)(x & 0xff);
	p[1] = (uint8_t)(x >> 8);
}

static uint16_t get_u16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | (p[1] << 8));
}

/* --- keys --- */

size_t value_key_prefix(enum value_table table, uint64_t number, uint8_t *out)
{
	out[0] = (uint8_t)table;
	put_be64(out + 1, number);
	return VALUE_KEY_PREFIX_BYTES;
}

size_t value_key_inode(uint64_t ino, uint8_t *out)
{
	return value_key_prefix(VALUE_INODE, ino, out);
}

size_t value_key_orphan(uint64_t ino, uint8_t *out)
{
	return value_key_prefix(VALUE_ORPHAN, ino, out);
}

size_t value_key_segment(uint64_t id, uint8_t *out)
{
	return value_key_prefix(VALUE_SEGMENT, id, out);
}

size_t value_key_dirent(uint64_t dir, uint64_t cookie, uint8_t *out)
{
	value_key_prefix(VALUE_DIRENT, dir, out);
	put_be64(out + VALUE_KEY_PREFIX_BYTES, cookie);
	return VALUE_KEY_PAIR_BYTES;
}

size_t value_key_extent(uint64_t ino, uint64_t last, uint8_t *out)
{
	value_key_prefix(VALUE_EXTENT, ino, out);
	put_be64(out + VALUE_KEY_PREFIX_BYTES, last);
	return VALUE_KEY_PAIR_BYTES;
}

static bool xattr_name_ok(const void *name, size_t len)
{
	return len >= 1 && len <= VOLUME_NAME_MAX && !memchr(name, 0, len);
}

size_t value_key_xattr(uint64_t ino, const char *name, size_t len, uint8_t *out)
{
	if (!xattr_name_ok(name, len))
		return 0;
	value_key_prefix(VALUE_XATTR, ino, out);
	memcpy(out + VALUE_KEY_PREFIX_BYTES, name, len);
	return VALUE_KEY_PREFIX_BYTES + len;
}

int value_key_parse(const void *key, size_t klen, struct value_key *ret)
{
	const uint8_t *p = key;
	struct value_key k = { .table = 0 };

	if (klen < VALUE_KEY_PREFIX_BYTES)
		return ERR_CORRUPT;
	k.a = get_be64(p + 1);
	switch (p[0]) {
	case VALUE_DIRENT:
	case VALUE_EXTENT:
		if (klen != VALUE_KEY_PAIR_BYTES)
			return ERR_CORRUPT;
		k.b = get_be64(p + VALUE_KEY_PREFIX_BYTES);
		break;
	case VALUE_INODE:
	case VALUE_ORPHAN:
	case VALUE_SEGMENT:
		if (klen != VALUE_KEY_PREFIX_BYTES)
			return ERR_CORRUPT;
		break;
	case VALUE_XATTR:
		k.name = p + VALUE_KEY_PREFIX_BYTES;
		k.name_len = klen - VALUE_KEY_PREFIX_BYTES;
		if (!xattr_name_ok(k.name, k.name_len))
			return ERR_CORRUPT;
		break;
	default:
		return ERR_CORRUPT;
	}
	k.table = (enum value_table)p[0];
	*ret = k;
	return 0;
}

/* --- inodes --- */

static bool type_ok(uint32_t type)
{
	switch (type) {
	case S_IFREG: case S_IFDIR: case S_IFLNK: case S_IFCHR: case S_IFBLK: case S_IFIFO: case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

static bool time_ok(const struct timespec *t)
{
	return t->tv_nsec >= 0 && t->tv_nsec < NS_PER_S;
}

static bool inode_ok(const struct inode *i)
{
	const struct volume_attr *a = &i->a;

	if (!type_ok(a->mode & S_IFMT) || a->mode > 0xffff || a->size > VOLUME_FILE_MAX)
		return false;
	if (!time_ok(&a->atime) || !time_ok(&a->mtime) || !time_ok(&a->ctime) || !time_ok(&a->btime))
		return false;
	if (i->target_len > VOLUME_SYMLINK_MAX || memchr(i->target, 0, i->target_len))
		return false;
	return S_ISLNK(a->mode) ? i->target_len > 0 : i->target_len == 0;
}

static void put_time(uint8_t *s, uint8_t *ns, const struct timespec *t)
{
	put_u64(s, (uint64_t)t->tv_sec);
	put_u32(ns, (uint32_t)t->tv_nsec);
}

static void get_time(const uint8_t *s, const uint8_t *ns, struct timespec *t)
{
	t->tv_sec = (time_t)get_u64(s);
	t->tv_nsec = (long)get_u32(ns);
}

int value_inode_encode(const struct inode *i, uint8_t *out, size_t *ret_len)
{
	const struct volume_attr *a = &i->a;

	if (!inode_ok(i))
		return -EINVAL;
	out[0] = INODE_VERSION;
	out[1] = 0;
	put_u16le(out + 2, i->target_len);
	put_u32(out + 4, a->mode);
	put_u32(out + 8, a->uid);
	put_u32(out + 12, a->gid);
	put_u32(out + 16, a->nlink);
	put_u32(out + 20, i->xattrs);
	put_u32(out + 24, i->entries);
	put_u32(out + 28, 0);
	put_u64(out + 32, a->size);
	put_u64(out + 40, a->allocated_bytes);
	put_u64(out + 48, a->rdev);
	put_u64(out + 56, a->change);
	put_u64(out + 64, i->parent);
	put_time(out + 72, out + 104, &a->atime);
	put_time(out + 80, out + 108, &a->mtime);
	put_time(out + 88, out + 112, &a->ctime);
	put_time(out + 96, out + 116, &a->btime);
	memcpy(out + VALUE_INODE_FIXED, i->target, i->target_len);
	*ret_len = VALUE_INODE_FIXED + (size_t)i->target_len;
	return 0;
}

/* Everything but the target, which is 4 KiB: callers decode inodes on every operation. */
static void inode_fixed(uint64_t ino, const uint8_t *p, struct inode *ret)
{
	struct volume_attr *a = &ret->a;

	a->ino = ino;
	ret->target_len = get_u16le(p + 2);
	a->mode = get_u32(p + 4);
	a->uid = get_u32(p + 8);
	a->gid = get_u32(p + 12);
	a->nlink = get_u32(p + 16);
	ret->xattrs = get_u32(p + 20);
	ret->entries = get_u32(p + 24);
	a->size = get_u64(p + 32);
	a->allocated_bytes = get_u64(p + 40);
	a->rdev = get_u64(p + 48);
	a->change = get_u64(p + 56);
	ret->parent = get_u64(p + 64);
	get_time(p + 72, p + 104, &a->atime);
	get_time(p + 80, p + 108, &a->mtime);
	get_time(p + 88, p + 112, &a->ctime);
	get_time(p + 96, p + 116, &a->btime);
}

/* inode_ok on the encoded bytes, so that *ret stays untouched until all is known to be good. */
static bool inode_bytes_ok(const uint8_t *p, size_t len)
{
	uint16_t target_len = get_u16le(p + 2);
	uint32_t mode = get_u32(p + 4);

	for (size_t off = 104; off < VALUE_INODE_FIXED; off += 4)
		if (get_u32(p + off) >= NS_PER_S)
			return false;
	if (!type_ok(mode & S_IFMT) || mode > 0xffff || get_u64(p + 32) > VOLUME_FILE_MAX)
		return false;
	if (target_len > VOLUME_SYMLINK_MAX || len != VALUE_INODE_FIXED + (size_t)target_len)
		return false;
	if (memchr(p + VALUE_INODE_FIXED, 0, target_len))
		return false;
	return S_ISLNK(mode) ? target_len > 0 : target_len == 0;
}

int value_inode_decode(uint64_t ino, const void *val, size_t vlen, struct inode *ret)
{
	const uint8_t *p = val;

	if (vlen < 1)
		return ERR_CORRUPT;
	if (p[0] > INODE_VERSION)
		return ERR_NEWER_FORMAT;
	if (p[0] != INODE_VERSION || vlen < VALUE_INODE_FIXED)
		return ERR_CORRUPT;
	if (p[1] != 0 || get_u32(p + 28) != 0)
		return ERR_NEWER_FORMAT;
	if (!inode_bytes_ok(p, vlen))
		return ERR_CORRUPT;
	inode_fixed(ino, p, ret);
	memcpy(ret->target, p + VALUE_INODE_FIXED, ret->target_len);
	ret->target[ret->target_len] = '\0';
	return 0;
}

/* --- names --- */

static bool name_ok(const char *name, size_t len)
{
	if (len < 1 || len > VOLUME_NAME_MAX || memchr(name, 0, len) || memchr(name, '/', len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

int value_dirent_encode(uint64_t ino, uint32_t type, const char *name, size_t len, uint8_t *out, size_t *ret_len)
{
	if (!type_ok(type) || !name_ok(name, len))
		return -EINVAL;
	put_u64(out, ino);
	out[8] = (uint8_t)(type >> 12);
	memcpy(out + VALUE_DIRENT_FIXED, name, len);
	*ret_len = VALUE_DIRENT_FIXED + len;
	return 0;
}

int value_dirent_decode(uint64_t cookie, const void *val, size_t vlen, struct volume_dirent *ret)
{
	const uint8_t *p = val;
	size_t len;

	if (vlen <= VALUE_DIRENT_FIXED)
		return ERR_CORRUPT;
	len = vlen - VALUE_DIRENT_FIXED;
	if (p[8] & 0xf0)
		return ERR_NEWER_FORMAT;
	if (!type_ok((uint32_t)p[8] << 12) || !name_ok((const char *)p + VALUE_DIRENT_FIXED, len))
		return ERR_CORRUPT;
	ret->ino = get_u64(p);
	ret->cookie = cookie;
	ret->type = (uint32_t)p[8] << 12;
	ret->len = (uint16_t)len;
	memcpy(ret->name, p + VALUE_DIRENT_FIXED, len);
	ret->name[len] = '\0';
	return 0;
}

/* --- extents --- */

static bool extent_ok(const struct extent *e)
{
	if (e->len == 0 || e->logical >= SEGMENT_DATA_MAX || e->len > SEGMENT_DATA_MAX - e->logical)
		return false;
	return e->start <= VOLUME_FILE_MAX && e->len <= (uint64_t)VOLUME_FILE_MAX - e->start;
}

int value_extent_encode(const struct extent *e, uint8_t *out)
{
	if (!extent_ok(e))
		return -EINVAL;
	put_u64(out, e->start);
	put_u64(out + 8, e->segment);
	put_u32(out + 16, e->logical);
	return 0;
}

int value_extent_decode(uint64_t ino, uint64_t last, const void *val, size_t vlen, struct extent *ret)
{
	const uint8_t *p = val;
	struct extent e;

	if (vlen != VALUE_EXTENT_BYTES)
		return ERR_CORRUPT;
	e.ino = ino;
	e.start = get_u64(p);
	e.segment = get_u64(p + 8);
	e.logical = get_u32(p + 16);
	if (e.start > last || last > VOLUME_FILE_MAX)
		return ERR_CORRUPT;
	e.len = last - e.start + 1;
	if (!extent_ok(&e))
		return ERR_CORRUPT;
	*ret = e;
	return 0;
}

/* --- orphans --- */

void value_orphan_encode(uint8_t *out)
{
	out[0] = ORPHAN_VERSION;
}

int value_orphan_decode(const void *val, size_t vlen)
{
	const uint8_t *p = val;

	if (vlen < 1 || p[0] < ORPHAN_VERSION)
		return ERR_CORRUPT;
	if (p[0] > ORPHAN_VERSION)
		return ERR_NEWER_FORMAT;
	return vlen == VALUE_ORPHAN_BYTES ? 0 : ERR_CORRUPT;
}

/* --- segments --- */

static bool segment_ok(const struct segment_ref *r)
{
	return r->data_len <= SEGMENT_DATA_MAX && (uint64_t)r->table_offset + r->table_len <= r->object_bytes;
}

int value_segment_encode(const struct segment_ref *r, uint8_t *out)
{
	if (!segment_ok(r))
		return -EINVAL;
	memset(out, 0, VALUE_SEGMENT_BYTES);
	out[0] = SEGMENT_VERSION;
	put_u64(out + 8, r->epoch);
	put_u64(out + 16, r->slot);
	put_u64(out + 24, r->object_bytes);
	put_u32(out + 32, r->data_len);
	put_u32(out + 36, r->table_offset);
	put_u32(out + 40, r->table_len);
	memcpy(out + 48, r->table_hash, HASH_BYTES);
	return 0;
}

int value_segment_decode(uint64_t id, const void *val, size_t vlen, struct segment_ref *ret)
{
	const uint8_t *p = val;
	struct segment_ref r;

	if (vlen < 8)
		return ERR_CORRUPT;
	if (p[0] > SEGMENT_VERSION)
		return ERR_NEWER_FORMAT;
	if (p[0] != SEGMENT_VERSION)
		return ERR_CORRUPT;
	/* Flags: segments of an ancestor volume carry its UUID after the fixed part; this version knows none. */
	if (p[1] || p[2] || p[3] || get_u32(p + 4) != 0)
		return ERR_NEWER_FORMAT;
	if (vlen != VALUE_SEGMENT_BYTES || get_u32(p + 44) != 0)
		return ERR_CORRUPT;
	r.id = id;
	r.epoch = get_u64(p + 8);
	r.slot = get_u64(p + 16);
	r.object_bytes = get_u64(p + 24);
	r.data_len = get_u32(p + 32);
	r.table_offset = get_u32(p + 36);
	r.table_len = get_u32(p + 40);
	memcpy(r.table_hash, p + 48, HASH_BYTES);
	if (!segment_ok(&r))
		return ERR_CORRUPT;
	*ret = r;
	return 0;
}

/* --- any --- */

static int check_value(const struct value_key *k, const void *val, size_t vlen)
{
	struct volume_dirent d;
	struct extent e;
	struct segment_ref r;

	switch (k->table) {
	case VALUE_DIRENT:
		return value_dirent_decode(k->b, val, vlen, &d);
	case VALUE_EXTENT:
		return value_extent_decode(k->a, k->b, val, vlen, &e);
	case VALUE_ORPHAN:
		return value_orphan_decode(val, vlen);
	case VALUE_SEGMENT:
		return value_segment_decode(k->a, val, vlen, &r);
	case VALUE_XATTR:
		return vlen <= VOLUME_XATTR_VALUE_MAX ? 0 : ERR_CORRUPT;
	case VALUE_INODE:
		break;
	}
	struct inode i;
	return value_inode_decode(k->a, val, vlen, &i);
}

int value_check(const void *key, size_t klen, const void *val, size_t vlen)
{
	struct value_key k;
	int rc = value_key_parse(key, klen, &k);

	if (rc || !val)
		return rc;
	return check_value(&k, val, vlen);
}
