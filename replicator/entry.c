/*
 * entry.c - entries as bytes, and merging.
 *
 * The encoding is canonical: one entry, one string of bytes. Decoding refuses everything else, so that hashing what was received
 * equals hashing what would be sent.
 */
#include "entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define ENTRY_FORMAT 1u
#define FLAG_DELETED 1u
#define FLAG_UNSETTLED 2u
#define FLAG_LINK 4u
#define FLAG_XATTRS 8u
#define FLAG_DIR_TIME 16u
#define FLAGS_KNOWN 31u

static const uint8_t zeros[HASH_BYTES];

void entry_init(struct entry *e)
{
	memset(e, 0, sizeof *e);
	e->kind = ENTRY_FILE;
}

void entry_free(struct entry *e)
{
	if (!e)
		return;
	vector_free(&e->known);
	free(e->target);
	free(e->xattrs);
	entry_init(e);
}

int entry_copy(const struct entry *from, struct entry *to)
{
	struct entry n = *from;

	n.known = (struct vector)VECTOR_INIT;
	n.target = from->target ? strdup(from->target) : NULL;
	n.xattrs = from->xattrs_len ? malloc(from->xattrs_len) : NULL;
	if ((from->target && !n.target) || (from->xattrs_len && !n.xattrs) || vector_copy(&from->known, &n.known)) {
		free(n.target);
		free(n.xattrs);
		return -ENOMEM;
	}
	if (n.xattrs)
		memcpy(n.xattrs, from->xattrs, from->xattrs_len);
	entry_free(to);
	*to = n;
	return 0;
}

bool entry_path_valid(const char *path, size_t len)
{
	size_t start = 0;

	if (len == 0 || len > ENTRY_PATH_MAX)
		return false;
	for (size_t i = 0; i <= len; i++) {
		size_t n = i - start;

		if (i < len && path[i] == '\0')
			return false;
		if (i < len && path[i] != '/')
			continue;
		if (n == 0 || n > ENTRY_NAME_MAX || (n == 1 && path[start] == '.') || (n == 2 && memcmp(path + start, "..", 2) == 0))
			return false;
		start = i + 1;
	}
	return true;
}

/* --- bytes --- */

bool entry_linked(const struct entry *e)
{
	return memcmp(e->link, zeros, ENTRY_LINK_BYTES) != 0;
}

static bool target_valid(const struct entry *e)
{
	size_t n = e->target ? strlen(e->target) : 0;

	return e->kind == ENTRY_SYMLINK && !e->deleted ? n >= 1 && n <= ENTRY_TARGET_MAX : !e->target;
}

/* What both directions insist on. */
static bool valid(const struct entry *e)
{
	bool file = e->kind == ENTRY_FILE && !e->deleted;

	if ((e->kind != ENTRY_FILE && e->kind != ENTRY_DIR && e->kind != ENTRY_SYMLINK) || (e->mode & ~07777) || e->mtime_ns > 999999999 ||
	    e->dir_ns > 999999999 || (e->kind == ENTRY_DIR && (e->mtime_s || e->mtime_ns)))
		return false;
	if ((e->dot.seq == 0) != (e->stamp == 0) || e->stamp == UINT64_MAX || !vector_covers(&e->known, &e->dot))
		return false;
	if (!file && (e->size || memcmp(e->hash, zeros, HASH_BYTES) != 0 || entry_linked(e) || e->unsettled))
		return false;
	if (e->size > ENTRY_SIZE_MAX || (e->deleted && e->xattrs_len && e->kind != ENTRY_DIR))
		return false;
	return target_valid(e);
}

static void put_name(struct buf *out, const char *name)
{
	size_t n = strnlen(name, ENTRY_OWNER_MAX);

	buf_u8(out, (uint8_t)n);
	buf_bytes(out, name, n);
}

void entry_encode(const struct entry *e, struct buf *out)
{
	unsigned flags = (e->deleted ? FLAG_DELETED : 0) | (e->unsettled ? FLAG_UNSETTLED : 0) | (entry_linked(e) ? FLAG_LINK : 0) |
			 (e->xattrs_len ? FLAG_XATTRS : 0) | (e->dir_s || e->dir_ns ? FLAG_DIR_TIME : 0);

	if (!valid(e) || e->xattrs_len > ENTRY_XATTRS_MAX) {
		out->err = out->err ? out->err : -EINVAL;
		return;
	}
	buf_u8(out, ENTRY_FORMAT);
	buf_u8(out, (uint8_t)e->kind);
	buf_u8(out, (uint8_t)flags);
	buf_bytes(out, e->dot.inc, INCARNATION_BYTES);
	buf_u64(out, e->dot.seq);
	buf_u64(out, e->stamp);
	vector_encode(&e->known, out);
	buf_u16(out, e->mode);
	buf_u32(out, e->uid);
	buf_u32(out, e->gid);
	put_name(out, e->owner);
	put_name(out, e->group);
	buf_u64(out, (uint64_t)e->mtime_s);
	buf_u32(out, e->mtime_ns);
	if (flags & FLAG_DIR_TIME) {
		buf_u64(out, (uint64_t)e->dir_s);
		buf_u32(out, e->dir_ns);
	}
	if (e->kind == ENTRY_FILE && !e->deleted) {
		buf_u64(out, e->size);
		buf_bytes(out, e->hash, HASH_BYTES);
	}
	if (flags & FLAG_LINK)
		buf_bytes(out, e->link, ENTRY_LINK_BYTES);
	if (e->target)
		buf_str16(out, e->target, strlen(e->target));
	if (flags & FLAG_XATTRS) {
		buf_u32(out, e->xattrs_len);
		buf_bytes(out, e->xattrs, e->xattrs_len);
	}
}

static void get_name(struct cursor *c, char *ret)
{
	size_t n = cursor_u8(c);
	const uint8_t *p;

	if (n > ENTRY_OWNER_MAX) {
		c->err = ERR_CORRUPT;
		return;
	}
	p = cursor_view(c, n);
	if (!p)
		return;
	if (n && memchr(p, '\0', n))
		c->err = ERR_CORRUPT;
	else if (n)
		memcpy(ret, p, n);
}

static void get_target(struct cursor *c, struct entry *e)
{
	size_t n;
	const uint8_t *p = cursor_str16(c, &n);

	if (!p)
		return;
	if (n == 0 || n > ENTRY_TARGET_MAX || memchr(p, '\0', n)) {
		c->err = ERR_CORRUPT;
		return;
	}
	e->target = strndup((const char *)p, n);
	if (!e->target)
		c->err = -ENOMEM;
}

static void get_xattrs(struct cursor *c, struct entry *e)
{
	uint32_t n = cursor_u32(c);
	const uint8_t *p = n && n <= ENTRY_XATTRS_MAX ? cursor_view(c, n) : NULL;
	struct xattr x, last = { NULL, 0, NULL, 0 };
	struct cursor in;
	int more;

	if (!p) {
		c->err = c->err ? c->err : ERR_CORRUPT;
		return;
	}
	in = cursor_make(p, n);
	while ((more = entry_xattrs_next(&in, &x)) > 0) {
		size_t m = last.name_len < x.name_len ? last.name_len : x.name_len;
		int order = last.name ? memcmp(last.name, x.name, m) : -1;

		if (order > 0 || (order == 0 && last.name_len >= x.name_len)) {
			c->err = ERR_CORRUPT;
			return;
		}
		last = x;
	}
	if (more < 0) {
		c->err = more;
		return;
	}
	e->xattrs = malloc(n);
	if (!e->xattrs) {
		c->err = -ENOMEM;
		return;
	}
	memcpy(e->xattrs, p, n);
	e->xattrs_len = n;
}

static unsigned get_fixed(struct cursor *c, struct entry *e)
{
	unsigned flags;

	e->kind = (enum entry_kind)cursor_u8(c);
	flags = cursor_u8(c);
	e->deleted = flags & FLAG_DELETED;
	e->unsettled = flags & FLAG_UNSETTLED;
	cursor_copy(c, e->dot.inc, INCARNATION_BYTES);
	e->dot.seq = cursor_u64(c);
	e->stamp = cursor_u64(c);
	vector_decode(c, &e->known);
	e->mode = cursor_u16(c);
	e->uid = cursor_u32(c);
	e->gid = cursor_u32(c);
	get_name(c, e->owner);
	get_name(c, e->group);
	e->mtime_s = (int64_t)cursor_u64(c);
	e->mtime_ns = cursor_u32(c);
	if (flags & FLAG_DIR_TIME) {
		e->dir_s = (int64_t)cursor_u64(c);
		e->dir_ns = cursor_u32(c);
		if (!e->dir_s && !e->dir_ns)
			c->err = c->err ? c->err : ERR_CORRUPT;
	}
	if (flags & ~FLAGS_KNOWN)
		c->err = c->err ? c->err : ERR_CORRUPT;
	return flags;
}

int entry_decode(struct cursor *c, struct entry *ret)
{
	struct entry e;
	unsigned flags, format = cursor_u8(c);

	if (c->err || format != ENTRY_FORMAT)
		return c->err = c->err ? c->err : format > ENTRY_FORMAT ? ERR_NEWER_FORMAT : ERR_CORRUPT;
	entry_init(&e);
	flags = get_fixed(c, &e);
	if (!c->err && e.kind == ENTRY_FILE && !e.deleted) {
		e.size = cursor_u64(c);
		cursor_copy(c, e.hash, HASH_BYTES);
	}
	if (!c->err && (flags & FLAG_LINK)) {
		cursor_copy(c, e.link, ENTRY_LINK_BYTES);
		if (!entry_linked(&e))
			c->err = c->err ? c->err : ERR_CORRUPT;
	}
	if (!c->err && e.kind == ENTRY_SYMLINK && !e.deleted)
		get_target(c, &e);
	if (!c->err && (flags & FLAG_XATTRS))
		get_xattrs(c, &e);
	if (!c->err && !valid(&e))
		c->err = ERR_CORRUPT;
	if (c->err) {
		entry_free(&e);
		return c->err;
	}
	*ret = e;
	return 0;
}

/* --- comparing --- */

static bool same_owner(const char *a, const char *b, uint32_t na, uint32_t nb)
{
	return a[0] && b[0] ? strcmp(a, b) == 0 : na == nb;
}

bool entry_same(const struct entry *a, const struct entry *b)
{
	if (a->deleted || b->deleted)
		return a->deleted && b->deleted;
	if (a->kind != b->kind || a->mode != b->mode || !same_owner(a->owner, b->owner, a->uid, b->uid) ||
	    !same_owner(a->group, b->group, a->gid, b->gid))
		return false;
	if (a->xattrs_len != b->xattrs_len || (a->xattrs_len && memcmp(a->xattrs, b->xattrs, a->xattrs_len) != 0))
		return false;
	if (a->kind == ENTRY_DIR)
		return true;
	if (a->mtime_s != b->mtime_s || a->mtime_ns != b->mtime_ns)
		return false;
	if (a->kind == ENTRY_SYMLINK)
		return strcmp(a->target, b->target) == 0;
	return a->size == b->size && memcmp(a->hash, b->hash, HASH_BYTES) == 0;
}

/* The value that e has for name; false: none. */
static bool xattr_get(const struct entry *e, const struct xattr *name, struct xattr *ret)
{
	struct cursor c = cursor_make(e->xattrs, e->xattrs_len);

	while (entry_xattrs_next(&c, ret) > 0)
		if (ret->name_len == name->name_len && memcmp(ret->name, name->name, name->name_len) == 0)
			return true;
	return false;
}

static bool same_value(const struct xattr *a, const struct xattr *b)
{
	return a->value_len == b->value_len && (!a->value_len || memcmp(a->value, b->value, a->value_len) == 0);
}

static bool xattrs_between(const struct entry *found, const struct entry *from, const struct entry *to)
{
	struct cursor c = cursor_make(found->xattrs, found->xattrs_len);
	struct xattr x, a, b;

	while (entry_xattrs_next(&c, &x) > 0)
		if (!(xattr_get(from, &x, &a) && same_value(&x, &a)) && !(xattr_get(to, &x, &b) && same_value(&x, &b)))
			return false;
	c = cursor_make(from->xattrs, from->xattrs_len);
	while (entry_xattrs_next(&c, &a) > 0) /* what both have is never taken away */
		if (xattr_get(to, &a, &b) && !xattr_get(found, &a, &x))
			return false;
	return true;
}

bool entry_between(const struct entry *found, const struct entry *from, const struct entry *to)
{
	unsigned both = from->mode & to->mode & 0777, any = from->mode | to->mode;

	if (found->kind == ENTRY_SYMLINK || from->kind != found->kind || to->kind != found->kind || found->deleted || from->deleted || to->deleted)
		return false;
	/* Set-id bits go on the way. */
	if ((found->mode & both) != both || (found->mode & ~any))
		return false;
	if (!same_owner(found->owner, from->owner, found->uid, from->uid) && !same_owner(found->owner, to->owner, found->uid, to->uid))
		return false;
	if (!same_owner(found->group, from->group, found->gid, from->gid) && !same_owner(found->group, to->group, found->gid, to->gid))
		return false;
	if ((found->mtime_s != from->mtime_s || found->mtime_ns != from->mtime_ns) && (found->mtime_s != to->mtime_s || found->mtime_ns != to->mtime_ns))
		return false;
	return xattrs_between(found, from, to);
}

int entry_order(const struct entry *a, const struct entry *b)
{
	if (a->stamp != b->stamp)
		return a->stamp < b->stamp ? -1 : 1;
	return dot_compare(&a->dot, &b->dot);
}

static int by_dir_time(const struct entry *a, const struct entry *b)
{
	if (a->dir_s != b->dir_s)
		return a->dir_s < b->dir_s ? -1 : 1;
	return a->dir_ns < b->dir_ns ? -1 : a->dir_ns > b->dir_ns;
}

bool entry_raise_time(struct entry *e, int64_t s, uint32_t ns)
{
	struct entry x = { .dir_s = s, .dir_ns = ns };

	if (by_dir_time(e, &x) >= 0)
		return false;
	e->dir_s = s;
	e->dir_ns = ns;
	return true;
}

/* What a node said of one change, without what is merged for itself. */
static int change_bytes(const struct entry *e, struct buf *out)
{
	struct entry x = *e;
	struct vector v = VECTOR_INIT;
	int rc = vector_raise(&v, &e->dot);

	x.known = v;
	x.dir_s = 0;
	x.dir_ns = 0;
	if (!rc)
		entry_encode(&x, out);
	vector_free(&v);
	return rc ? rc : out->err;
}

/* Of two entries with one dot and one stamp. One node's word about one change: where it differs all the same, the bytes decide. */
static int twin_order(const struct entry *a, const struct entry *b, int *ret)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	int rc = change_bytes(a, &x), c;

	if (!rc)
		rc = change_bytes(b, &y);
	if (!rc) {
		c = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
		*ret = c ? c : x.len < y.len ? -1 : x.len > y.len;
	}
	buf_free(&x);
	buf_free(&y);
	return rc;
}

/* The larger one as it is, with the later time as a directory. */
static int merged(const struct entry *winner, const struct entry *loser, struct entry *ret)
{
	int rc = entry_copy(winner, ret);

	if (!rc)
		entry_raise_time(ret, loser->dir_s, loser->dir_ns);
	return rc;
}

int entry_merge(struct entry *mine, const struct entry *theirs, struct merge *ret)
{
	struct merge m = { false, false, false, false };
	bool one_dot = dot_equal(&mine->dot, &theirs->dot), strangers;
	int order = entry_order(theirs, mine), rc = 0;
	struct entry n;

	if (order == 0)
		rc = twin_order(theirs, mine, &order);
	if (rc)
		return rc;
	m.theirs = order > 0;
	m.twin = one_dot && order != 0 && mine->dot.seq;
	/* What has no version is known to nobody. */
	strangers = one_dot || !mine->dot.seq || !theirs->dot.seq ||
		    (!vector_covers(&mine->known, &theirs->dot) && !vector_covers(&theirs->known, &mine->dot));
	m.conflict = strangers && !entry_same(mine, theirs);
	entry_init(&n);
	rc = m.theirs ? merged(theirs, mine, &n) : merged(mine, theirs, &n);
	if (rc) {
		entry_free(&n);
		return rc;
	}
	m.changed = m.theirs || by_dir_time(&n, mine) != 0;
	entry_free(mine);
	*mine = n;
	*ret = m;
	return 0;
}

/* --- blocks --- */

uint64_t entry_block_bytes(uint64_t size)
{
	uint64_t b = ENTRY_BLOCK_BYTES_MIN;

	while (size > b * ENTRY_BLOCKS_MAX)
		b *= 2;
	return b;
}

uint32_t entry_block_count(uint64_t size)
{
	uint64_t b = entry_block_bytes(size);

	return (uint32_t)(size / b + (size % b != 0));
}

/* --- xattrs --- */

static int by_name(const void *a, const void *b)
{
	const struct xattr *x = a, *y = b;
	size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
	int c = memcmp(x->name, y->name, n);

	return c ? c : x->name_len < y->name_len ? -1 : x->name_len > y->name_len;
}

void entry_xattrs_encode(struct xattr *x, size_t count, struct buf *out)
{
	size_t total = 0;

	if (count)
		qsort(x, count, sizeof *x, by_name);
	for (size_t i = 0; i < count && !out->err; i++) {
		if (x[i].name_len == 0 || x[i].name_len > 255 || (i > 0 && by_name(&x[i - 1], &x[i]) == 0)) {
			out->err = -EINVAL;
			return;
		}
		total += 5 + x[i].name_len + x[i].value_len;
		if (x[i].value_len > ENTRY_XATTRS_MAX || total > ENTRY_XATTRS_MAX) {
			out->err = -E2BIG;
			return;
		}
		buf_u8(out, (uint8_t)x[i].name_len);
		buf_bytes(out, x[i].name, x[i].name_len);
		buf_u32(out, (uint32_t)x[i].value_len);
		buf_bytes(out, x[i].value, x[i].value_len);
	}
}

int entry_xattrs_next(struct cursor *c, struct xattr *ret)
{
	struct xattr x;

	if (cursor_left(c) == 0 && !c->err)
		return 0;
	x.name_len = cursor_u8(c);
	x.name = (const char *)cursor_view(c, x.name_len);
	x.value_len = cursor_u32(c);
	x.value = cursor_view(c, x.value_len);
	if (c->err || x.name_len == 0 || memchr(x.name, '\0', x.name_len))
		return ERR_CORRUPT;
	*ret = x;
	return 1;
}
