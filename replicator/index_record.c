/* index_record.c - records as bytes. They never leave this machine, but a disk may rot: decoding is bounded like any other. */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "index_impl.h"

#define FLAG_HELD 1u
#define FLAG_ON_DISK 2u
#define FLAG_STAT 4u
#define FLAG_YOUNG 8u
#define FLAG_LEFT_OUT 16u
#define FLAG_STALE 32u
#define FLAG_ROT 64u

static const struct index_stat no_stat;

void index_record_init(struct index_record *r)
{
	memset(r, 0, sizeof *r);
	entry_init(&r->known);
	entry_init(&r->disk);
}

void index_record_free(struct index_record *r)
{
	entry_free(&r->known);
	entry_free(&r->disk);
	index_record_init(r);
}

void index_record_encode(const struct index_record *r, struct buf *out)
{
	const struct index_stat *s = &r->stat;
	bool stat = memcmp(s, &no_stat, sizeof *s) != 0, disk = !r->held && r->on_disk;

	buf_u8(out, (uint8_t)((r->held ? FLAG_HELD : 0) | (disk ? FLAG_ON_DISK : 0) | (stat ? FLAG_STAT : 0) | (stat && r->young ? FLAG_YOUNG : 0) |
			   (r->left_out ? FLAG_LEFT_OUT : 0) | (r->stale ? FLAG_STALE : 0) | (disk && r->rot ? FLAG_ROT : 0)));
	buf_u64(out, r->position);
	if (!r->held)
		buf_u64(out, r->holders);
	if (stat) {
		buf_u64(out, s->ino);
		buf_u64(out, s->size);
		buf_u64(out, s->links);
		buf_u64(out, (uint64_t)s->mtime_s);
		buf_u32(out, s->mtime_ns);
		buf_u64(out, (uint64_t)s->ctime_s);
		buf_u32(out, s->ctime_ns);
		buf_u32(out, s->uid);
		buf_u32(out, s->gid);
	}
	entry_encode(&r->known, out);
	if (disk)
		entry_encode(&r->disk, out);
}

int index_record_decode(const void *p, size_t len, struct index_record *ret)
{
	struct cursor c = cursor_make(p, len);
	struct index_record r;
	unsigned flags = cursor_u8(&c);

	index_record_init(&r);
	r.held = flags & FLAG_HELD;
	r.on_disk = flags & FLAG_ON_DISK;
	r.young = flags & FLAG_YOUNG;
	r.left_out = flags & FLAG_LEFT_OUT;
	r.stale = flags & FLAG_STALE;
	r.rot = flags & FLAG_ROT;
	r.position = cursor_u64(&c);
	if (!r.held)
		r.holders = cursor_u64(&c);
	if (flags & FLAG_STAT) {
		r.stat.ino = cursor_u64(&c);
		r.stat.size = cursor_u64(&c);
		r.stat.links = cursor_u64(&c);
		r.stat.mtime_s = (int64_t)cursor_u64(&c);
		r.stat.mtime_ns = cursor_u32(&c);
		r.stat.ctime_s = (int64_t)cursor_u64(&c);
		r.stat.ctime_ns = cursor_u32(&c);
		r.stat.uid = cursor_u32(&c);
		r.stat.gid = cursor_u32(&c);
	}
	if (!c.err && ((flags & ~127u) || (r.rot && !r.on_disk) || (r.young && !(flags & FLAG_STAT)) || (r.held && r.on_disk) || (r.left_out && (r.on_disk || (flags & FLAG_STAT)))))
		c.err = ERR_CORRUPT;
	if (!c.err)
		entry_decode(&c, &r.known);
	if (!c.err && r.on_disk)
		entry_decode(&c, &r.disk);
	if (cursor_end(&c)) {
		index_record_free(&r);
		return c.err == -ENOMEM ? -ENOMEM : ERR_CORRUPT;
	}
	index_record_free(ret);
	*ret = r;
	return 0;
}
