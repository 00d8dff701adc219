/*
 * frame.c - bodies of the messages. frame_stream.c has the frames themselves.
 */
#include "frame.h"

#include <errno.h>
#include <string.h>

#include "carried.h"
#include "err.h"

#define RECORD_HELD 1u
#define RECORD_CONTENT 2u
#define HELLO_JOINING 1u

static void put_text(struct buf *out, struct frame_text t)
{
	buf_str16(out, t.p, t.len);
}

static struct frame_text get_text(struct cursor *c, size_t max)
{
	struct frame_text t;

	t.p = (const char *)cursor_str16(c, &t.len);
	if (t.p && t.len > max)
		c->err = ERR_CORRUPT;
	return t;
}

/* A boolean, or a set of known flags. */
static unsigned get_flags(struct cursor *c, unsigned known)
{
	unsigned flags = cursor_u8(c);

	if (flags & ~known)
		c->err = c->err ? c->err : ERR_CORRUPT;
	return flags;
}

void frame_put_hello(struct buf *out, const struct frame_hello *h)
{
	buf_u16(out, h->lowest);
	buf_u16(out, h->highest);
	buf_bytes(out, h->node, sizeof h->node);
	buf_bytes(out, h->signature, sizeof h->signature);
	buf_bytes(out, h->incarnation, sizeof h->incarnation);
	buf_bytes(out, h->index_id, sizeof h->index_id);
	buf_bytes(out, h->tree_id, sizeof h->tree_id);
	put_text(out, h->cluster);
	put_text(out, h->name);
	put_text(out, h->address);
	buf_u64(out, h->wall_us);
	buf_u8(out, h->joining ? HELLO_JOINING : 0);
}

int frame_get_hello(const struct frame *f, struct frame_hello *ret)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_hello h;

	h.lowest = cursor_u16(&c);
	h.highest = cursor_u16(&c);
	/* What a later version adds may look different from here on; but it would say that it does not speak ours. */
	if (!c.err && h.lowest > FRAME_VERSION)
		return ERR_NEWER_FORMAT;
	cursor_copy(&c, h.node, sizeof h.node);
	cursor_copy(&c, h.signature, sizeof h.signature);
	cursor_copy(&c, h.incarnation, sizeof h.incarnation);
	cursor_copy(&c, h.index_id, sizeof h.index_id);
	cursor_copy(&c, h.tree_id, sizeof h.tree_id);
	h.cluster = get_text(&c, FRAME_NAME_MAX);
	h.name = get_text(&c, FRAME_NAME_MAX);
	h.address = get_text(&c, FRAME_NAME_MAX);
	h.wall_us = cursor_u64(&c);
	h.joining = get_flags(&c, HELLO_JOINING);
	if (c.err || h.lowest == 0 || h.highest < h.lowest)
		return ERR_CORRUPT;
	/* A side that speaks later versions too may have more to say behind this. */
	if (h.highest == FRAME_VERSION && cursor_left(&c))
		return ERR_CORRUPT;
	*ret = h;
	return 0;
}

void frame_put_member(struct buf *out, const struct frame_member *m)
{
	buf_bytes(out, m->node, sizeof m->node);
	buf_u8(out, (uint8_t)m->state);
	buf_u64(out, m->stamp);
	put_text(out, m->name);
	put_text(out, m->address);
}

int frame_get_member(struct cursor *c, struct frame_member *ret)
{
	struct frame_member m;

	cursor_copy(c, m.node, sizeof m.node);
	m.state = (enum frame_member_state)cursor_u8(c);
	m.stamp = cursor_u64(c);
	m.name = get_text(c, FRAME_NAME_MAX);
	m.address = get_text(c, FRAME_NAME_MAX);
	if (!c->err && m.state != FRAME_MEMBER && m.state != FRAME_FORGOTTEN)
		c->err = ERR_CORRUPT;
	if (!c->err)
		*ret = m;
	return c->err;
}

static void put_record(struct buf *out, const struct frame_record *r, bool content)
{
	put_text(out, r->path);
	entry_encode(&r->entry, out);
	buf_u8(out, (uint8_t)((r->held ? RECORD_HELD : 0) | (content ? RECORD_CONTENT : 0)));
	buf_u64(out, r->position);
	if (!content)
		return;
	buf_u32(out, r->content_len);
	buf_bytes(out, r->content, r->content_len);
}

void frame_put_record(struct buf *out, const struct frame_record *r)
{
	if (r->has_content && r->content_len > FRAME_CONTENT_MAX)
		out->err = out->err ? out->err : -EINVAL;
	put_record(out, r, r->has_content);
}

void frame_put_leaf_record(struct buf *out, const struct frame_record *r)
{
	put_record(out, r, false);
}

static int get_record(struct cursor *c, unsigned known_flags, struct frame_record *ret)
{
	struct frame_record r;
	unsigned flags;
	int rc;

	memset(&r, 0, sizeof r);
	r.path = get_text(c, ENTRY_PATH_MAX);
	if (!c->err && !entry_path_valid(r.path.p, r.path.len))
		c->err = ERR_CORRUPT;
	if (c->err)
		return c->err;
	entry_init(&r.entry);
	rc = entry_decode(c, &r.entry);
	if (rc)
		return rc;
	flags = get_flags(c, known_flags);
	r.held = flags & RECORD_HELD;
	r.has_content = flags & RECORD_CONTENT;
	r.position = cursor_u64(c);
	if (r.has_content) {
		r.content_len = cursor_u32(c);
		if (r.content_len > FRAME_CONTENT_MAX || r.entry.kind != ENTRY_FILE || r.entry.deleted || r.content_len != r.entry.size)
			c->err = c->err ? c->err : ERR_CORRUPT;
		r.content = cursor_view(c, r.content_len);
	}
	if (!c->err && r.entry.dot.seq == 0) /* what has no version is nobody's business */
		c->err = ERR_CORRUPT;
	if (!c->err && !carried_path(r.path.p, r.path.len))
		c->err = err_set(-EPERM, "it sent the path %.*s, in a place that is each member's own", (int)r.path.len, r.path.p);
	if (!c->err && !carried_entry(&r.entry))
		c->err = err_set(-EPERM, "it sent %.*s with an owner or an attribute that is not replicated, and that no member could set", (int)r.path.len, r.path.p);
	if (c->err)
		entry_free(&r.entry);
	else
		*ret = r;
	return c->err;
}

int frame_get_record(struct cursor *c, struct frame_record *ret)
{
	return get_record(c, RECORD_HELD | RECORD_CONTENT, ret);
}

int frame_get_leaf_record(struct cursor *c, struct frame_record *ret)
{
	return get_record(c, RECORD_HELD, ret);
}

void frame_put_mark(struct buf *out, uint64_t position, const struct vector *context)
{
	buf_u64(out, position);
	vector_encode(context, out);
}

int frame_get_mark(struct cursor *c, uint64_t *ret_position, struct vector *ret_context)
{
	struct vector v = VECTOR_INIT;
	uint64_t position = cursor_u64(c);

	vector_decode(c, &v);
	if (c->err) {
		vector_free(&v);
		return c->err;
	}
	vector_free(ret_context);
	*ret_context = v;
	*ret_position = position;
	return 0;
}

void frame_put_sum(struct buf *out, struct sum s)
{
	buf_u64(out, s.lo);
	buf_u64(out, s.hi);
}

struct sum frame_get_sum(struct cursor *c)
{
	struct sum s;

	s.lo = cursor_u64(c);
	s.hi = cursor_u64(c);
	return s;
}

void frame_put_get(struct buf *out, const struct frame_get *g)
{
	buf_u64(out, g->request);
	buf_bytes(out, g->hash, sizeof g->hash);
	buf_u64(out, g->size);
	buf_u64(out, g->offset);
	buf_u32(out, g->length);
}

int frame_get_get(const struct frame *f, struct frame_get *ret)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_get g;

	g.request = cursor_u64(&c);
	cursor_copy(&c, g.hash, sizeof g.hash);
	g.size = cursor_u64(&c);
	g.offset = cursor_u64(&c);
	g.length = cursor_u32(&c);
	if (cursor_end(&c) || g.length > FRAME_PIECE_MAX || g.size > ENTRY_SIZE_MAX || g.offset > g.size || g.length > g.size - g.offset)
		return ERR_CORRUPT;
	*ret = g;
	return 0;
}

void frame_put_data_head(struct buf *out, const struct frame_data *d)
{
	buf_u64(out, d->request);
	buf_u8(out, (uint8_t)d->status);
	buf_u32(out, d->length);
}

void frame_put_data(struct buf *out, const struct frame_data *d)
{
	frame_put_data_head(out, d);
	if (d->status == FRAME_BYTES)
		buf_bytes(out, d->bytes, d->length);
}

int frame_get_data(const struct frame *f, struct frame_data *ret)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_data d;

	d.request = cursor_u64(&c);
	d.status = (enum frame_status)cursor_u8(&c);
	d.length = cursor_u32(&c);
	if (c.err || d.status > FRAME_FAILED || d.length > FRAME_PIECE_MAX)
		return ERR_CORRUPT;
	d.bytes = d.status == FRAME_BYTES ? cursor_view(&c, d.length) : NULL;
	if (cursor_end(&c))
		return ERR_CORRUPT;
	*ret = d;
	return 0;
}

void frame_put_cut(struct buf *out, const struct frame_cut *c)
{
	buf_u64(out, c->request);
	vector_encode(&c->context, out);
	frame_put_sum(out, c->root);
	buf_u64(out, c->missing);
	buf_u64(out, c->wall_us);
}

int frame_get_cut(const struct frame *f, struct frame_cut *ret)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_cut t = { .context = VECTOR_INIT };

	t.request = cursor_u64(&c);
	vector_decode(&c, &t.context);
	t.root = frame_get_sum(&c);
	t.missing = cursor_u64(&c);
	t.wall_us = cursor_u64(&c);
	if (cursor_end(&c)) {
		vector_free(&t.context);
		return c.err == -ENOMEM ? -ENOMEM : ERR_CORRUPT;
	}
	*ret = t;
	return 0;
}

void frame_put_error(struct buf *out, uint16_t code, const char *text)
{
	size_t n = strnlen(text, FRAME_NAME_MAX);

	buf_u16(out, code);
	buf_str16(out, text, n);
}

int frame_get_error(const struct frame *f, uint16_t *ret_code, struct frame_text *ret_text)
{
	struct cursor c = cursor_make(f->body, f->len);
	uint16_t code = cursor_u16(&c);
	struct frame_text t = get_text(&c, FRAME_NAME_MAX);

	if (cursor_end(&c))
		return ERR_CORRUPT;
	*ret_code = code;
	*ret_text = t;
	return 0;
}
