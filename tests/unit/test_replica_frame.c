/* test_replica_frame.c - messages of the replicator: round trips, streams cut anywhere, hostile bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "frame.h"

static struct frame_text text(const char *s)
{
	return (struct frame_text){ s, strlen(s) };
}

static bool text_is(struct frame_text t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.p, s, t.len) == 0;
}

/* The one frame that b holds. */
static struct frame only_frame(struct buf *b, struct buf *scratch)
{
	struct frame f;
	size_t used;

	assert_int_equal(b->err, 0);
	for (size_t len = 0; len < b->len; len++) {
		assert_int_equal(frame_next(b->data, len, scratch, &f, &used), 0);
		assert_int_equal(used, 0);
	}
	assert_int_equal(frame_next(b->data, b->len, scratch, &f, &used), 0);
	assert_int_equal(used, b->len);
	return f;
}

static struct frame_hello a_hello(void)
{
	struct frame_hello h = { .lowest = 1, .highest = 1, .wall_us = 5, .joining = true };

	memset(h.node, 1, sizeof h.node);
	memset(h.signature, 2, sizeof h.signature);
	memset(h.incarnation, 3, sizeof h.incarnation);
	memset(h.index_id, 4, sizeof h.index_id);
	memset(h.tree_id, 5, sizeof h.tree_id);
	h.cluster = text("site");
	h.name = text("web-1");
	h.address = text("");
	return h;
}

static void hello(void **state)
{
	struct frame_hello h = a_hello(), g;
	struct buf b = BUF_INIT, scratch = BUF_INIT;
	struct frame f;
	size_t start;

	(void)state;
	frame_begin(&b, FRAME_HELLO, &start);
	frame_put_hello(&b, &h);
	frame_end(&b, start, true);
	f = only_frame(&b, &scratch);
	assert_int_equal(f.type, FRAME_HELLO);
	assert_int_equal(frame_get_hello(&f, &g), 0);
	assert_true(text_is(g.cluster, "site") && text_is(g.name, "web-1") && text_is(g.address, "") && g.joining && g.wall_us == 5);
	assert_true(memcmp(g.signature, h.signature, sizeof h.signature) == 0);
	for (size_t len = 0; len < f.len; len++) {
		struct frame cut = { .type = f.type, .body = f.body, .len = len };

		assert_int_not_equal(frame_get_hello(&cut, &g), 0);
	}
	/* A later version that no longer speaks ours; one that does, and says more; nonsense. */
	((uint8_t *)(uintptr_t)f.body)[0] = 2;
	assert_int_equal(frame_get_hello(&f, &g), ERR_NEWER_FORMAT);
	((uint8_t *)(uintptr_t)f.body)[0] = 1;
	((uint8_t *)(uintptr_t)f.body)[2] = 9;
	buf_zero(&b, 3);
	f = (struct frame){ .type = FRAME_HELLO, .body = b.data + FRAME_HEAD_BYTES, .len = b.len - FRAME_HEAD_BYTES };
	assert_int_equal(frame_get_hello(&f, &g), 0);
	b.data[FRAME_HEAD_BYTES + 2] = 1;
	assert_int_equal(frame_get_hello(&f, &g), ERR_CORRUPT);
	buf_free(&b);
	buf_free(&scratch);
}

static void make_record(struct frame_record *r, const char *path, const char *content)
{
	memset(r, 0, sizeof *r);
	r->path = text(path);
	entry_init(&r->entry);
	r->entry.dot = (struct dot){ { 7 }, 3 };
	r->entry.stamp = 10;
	assert_int_equal(vector_raise(&r->entry.known, &r->entry.dot), 0);
	r->held = true;
	r->position = 99;
	if (content) {
		r->has_content = true;
		r->content = (const uint8_t *)content;
		r->content_len = (uint32_t)strlen(content);
		r->entry.size = r->content_len;
	}
}

static void records(void **state)
{
	struct buf b = BUF_INIT, scratch = BUF_INIT;
	struct frame_record r, g;
	struct cursor c;
	struct frame f;
	char long_text[4000];
	size_t start;

	(void)state;
	memset(long_text, 'x', sizeof long_text);
	long_text[sizeof long_text - 1] = '\0';
	frame_begin(&b, FRAME_RECORDS, &start);
	buf_u32(&b, 3);
	make_record(&r, "a/b", "hello");
	frame_put_record(&b, &r);
	entry_free(&r.entry);
	make_record(&r, "c", NULL);
	frame_put_record(&b, &r);
	entry_free(&r.entry);
	make_record(&r, "d", long_text);
	frame_put_record(&b, &r);
	entry_free(&r.entry);
	frame_end(&b, start, true);
	assert_true(b.len < 1000); /* it compresses well */
	f = only_frame(&b, &scratch);
	c = cursor_make(f.body, f.len);
	assert_int_equal(cursor_u32(&c), 3);
	assert_int_equal(frame_get_record(&c, &g), 0);
	assert_true(text_is(g.path, "a/b") && g.held && g.position == 99 && g.has_content && memcmp(g.content, "hello", 5) == 0);
	entry_free(&g.entry);
	assert_int_equal(frame_get_record(&c, &g), 0);
	assert_true(text_is(g.path, "c") && !g.has_content && g.entry.dot.seq == 3);
	entry_free(&g.entry);
	assert_int_equal(frame_get_record(&c, &g), 0);
	assert_true(g.content_len == 3999 && memcmp(g.content, long_text, 3999) == 0);
	entry_free(&g.entry);
	assert_int_equal(cursor_end(&c), 0);
	/* In a leaf there are no contents; a path must stay below the root; an unversioned entry is nobody's business. */
	c = cursor_make(f.body + 4, f.len - 4);
	assert_int_equal(frame_get_leaf_record(&c, &g), ERR_CORRUPT);
	buf_reset(&b);
	make_record(&r, "../a", NULL);
	frame_put_record(&b, &r);
	c = cursor_make(b.data, b.len);
	assert_int_equal(frame_get_record(&c, &g), ERR_CORRUPT);
	buf_reset(&b);
	r.path = text("a");
	r.entry.dot.seq = 0;
	r.entry.stamp = 0;
	frame_put_record(&b, &r);
	c = cursor_make(b.data, b.len);
	assert_int_equal(frame_get_record(&c, &g), ERR_CORRUPT);
	entry_free(&r.entry);
	buf_free(&b);
	buf_free(&scratch);
}

struct acl_entry { uint16_t tag, rights; uint32_t id; };

/* One attribute, an ACL of so many entries where there are any. */
static void set_xattr(struct entry *e, const char *name, const void *value, size_t len)
{
	struct xattr x = { name, strlen(name), value, len };
	struct buf b = BUF_INIT;

	free(e->xattrs);
	entry_xattrs_encode(&x, 1, &b);
	assert_int_equal(b.err, 0);
	e->xattrs = b.data;
	e->xattrs_len = (uint32_t)b.len;
}

static void set_acl(struct entry *e, const char *name, const struct acl_entry *a, size_t count)
{
	struct buf b = BUF_INIT;

	buf_u32(&b, 2);
	for (size_t i = 0; i < count; i++) {
		buf_u16(&b, a[i].tag);
		buf_u16(&b, a[i].rights);
		buf_u32(&b, a[i].id);
	}
	set_xattr(e, name, b.data, b.len);
	buf_free(&b);
}

static int take(struct frame_record *r)
{
	struct buf b = BUF_INIT;
	struct frame_record g;
	struct cursor c;
	int rc, leaf;

	frame_put_leaf_record(&b, r);
	assert_int_equal(b.err, 0);
	c = cursor_make(b.data, b.len);
	rc = frame_get_record(&c, &g);
	if (!rc)
		entry_free(&g.entry);
	c = cursor_make(b.data, b.len);
	leaf = frame_get_leaf_record(&c, &g);
	if (!leaf)
		entry_free(&g.entry);
	assert_int_equal(rc, leaf);
	buf_free(&b);
	return rc;
}

/* What no member could put on its disk is not taken, so that not all of them keep it for ever. */
static void not_replicated(void **state)
{
	static const struct acl_entry whole[] = { { 1, 7, UINT32_MAX }, { 2, 6, 1000 }, { 2, 4, 1001 }, { 4, 5, UINT32_MAX }, { 8, 4, 50 }, { 16, 7, UINT32_MAX }, { 32, 0, UINT32_MAX } };
	static const char *const places[] = { ".clonesync", ".clonesync/trash", ".clonesync/tmp/x" }, *const others[] = { ".clonesyncs", "a/.clonesync", ".clonesyn", ".CLONESYNC/x" };
	static const char *const names[] = { "security.capability", "security.selinux", "trusted.overlay.opaque", "system.nfs4_acl", "btrfs.compression", "user.", "user", "x" };
	struct acl_entry broken[7];
	struct frame_record r;

	(void)state;
	make_record(&r, "a", NULL);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		r.path = text(places[i]);
		assert_int_equal(take(&r), -EPERM);
	}
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		r.path = text(others[i]);
		assert_int_equal(take(&r), 0);
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		set_xattr(&r.entry, names[i], "v", 1);
		assert_int_equal(take(&r), -EPERM);
	}
	set_xattr(&r.entry, "user.colour", "", 0);
	assert_int_equal(take(&r), 0);
	set_acl(&r.entry, "system.posix_acl_access", whole, 7);
	assert_int_equal(take(&r), 0);
	set_acl(&r.entry, "system.posix_acl_default", whole, 7);
	assert_int_equal(take(&r), -EPERM);
	r.entry.kind = ENTRY_DIR;
	assert_int_equal(take(&r), 0);
	/* Without any of its entries but the named ones; with two of one; with an unknown one; with no such right; of nobody. */
	for (size_t without = 0; without < 7; without++) {
		size_t n = 0;

		for (size_t i = 0; i < 7; i++)
			if (i != without)
				broken[n++] = whole[i];
		set_acl(&r.entry, "system.posix_acl_access", broken, n);
		assert_int_equal(take(&r), without == 1 || without == 2 || without == 4 ? 0 : -EPERM);
	}
	for (unsigned how = 0; how < 4; how++) {
		memcpy(broken, whole, sizeof whole);
		if (how == 0)
			broken[1] = broken[0];
		else if (how == 1)
			broken[4].tag = 9;
		else if (how == 2)
			broken[3].rights = 8;
		else
			broken[2].id = UINT32_MAX;
		set_acl(&r.entry, "system.posix_acl_access", broken, 7);
		assert_int_equal(take(&r), -EPERM);
	}
	set_acl(&r.entry, "system.posix_acl_access", whole, 0);
	assert_int_equal(take(&r), -EPERM);
	set_xattr(&r.entry, "system.posix_acl_access", "\2\0\0\0\1\0\7", 7);
	assert_int_equal(take(&r), -EPERM);
	free(r.entry.xattrs);
	r.entry.xattrs = NULL;
	r.entry.xattrs_len = 0;
	assert_int_equal(take(&r), 0);
	r.entry.gid = UINT32_MAX;
	assert_int_equal(take(&r), -EPERM);
	entry_free(&r.entry);
}

static void gets_and_data(void **state)
{
	struct buf b = BUF_INIT;
	struct frame_get g = { .request = 5, .size = 100, .offset = 90, .length = 10 }, gg;
	struct frame_data d = { 5, FRAME_BYTES, 3, (const uint8_t *)"abc" }, dd;
	struct frame f = { .type = FRAME_GET };

	(void)state;
	frame_put_get(&b, &g);
	f.body = b.data;
	f.len = b.len;
	assert_int_equal(frame_get_get(&f, &gg), 0);
	assert_true(gg.offset == 90 && gg.length == 10 && gg.size == 100);
	put_u32(b.data + b.len - 4, 11); /* past the end of the file */
	assert_int_equal(frame_get_get(&f, &gg), ERR_CORRUPT);
	put_u64(b.data + b.len - 12, UINT64_MAX - 3);
	assert_int_equal(frame_get_get(&f, &gg), ERR_CORRUPT);
	buf_reset(&b);
	frame_put_data(&b, &d);
	f.body = b.data;
	f.len = b.len;
	assert_int_equal(frame_get_data(&f, &dd), 0);
	assert_true(dd.length == 3 && memcmp(dd.bytes, "abc", 3) == 0);
	put_u32(b.data + 9, 4);
	assert_int_equal(frame_get_data(&f, &dd), ERR_CORRUPT);
	put_u32(b.data + 9, 2);
	assert_int_equal(frame_get_data(&f, &dd), ERR_CORRUPT);
	buf_free(&b);
}

static void cuts_marks_errors(void **state)
{
	struct frame_cut k = { .request = 1, .context = VECTOR_INIT, .root = { 2, 3 }, .missing = 4, .wall_us = 5 }, kk;
	struct dot d = { { 9 }, 12 };
	struct vector v = VECTOR_INIT;
	struct buf b = BUF_INIT;
	struct frame f = { .type = FRAME_CUT };
	struct frame_text t;
	struct cursor c;
	uint64_t position;
	uint16_t code;

	(void)state;
	assert_int_equal(vector_raise(&k.context, &d), 0);
	frame_put_cut(&b, &k);
	f.body = b.data;
	f.len = b.len;
	assert_int_equal(frame_get_cut(&f, &kk), 0);
	assert_true(kk.missing == 4 && kk.root.hi == 3 && vector_covers(&kk.context, &d));
	vector_free(&kk.context);
	f.len--;
	assert_int_equal(frame_get_cut(&f, &kk), ERR_CORRUPT);
	buf_reset(&b);
	frame_put_mark(&b, 8, &k.context);
	c = cursor_make(b.data, b.len);
	assert_int_equal(frame_get_mark(&c, &position, &v), 0);
	assert_true(position == 8 && vector_covers(&v, &d) && cursor_end(&c) == 0);
	buf_reset(&b);
	frame_put_error(&b, 3, "no");
	f.body = b.data;
	f.len = b.len;
	assert_int_equal(frame_get_error(&f, &code, &t), 0);
	assert_true(code == 3 && text_is(t, "no"));
	vector_free(&v);
	vector_free(&k.context);
	buf_free(&b);
}

static void streams_refused(void **state)
{
	struct buf b = BUF_INIT, scratch = BUF_INIT, z = BUF_INIT;
	struct frame f;
	size_t start, used;

	(void)state;
	frame_begin(&b, FRAME_ERROR, &start);
	buf_zero(&b, 5000);
	frame_end(&b, start, false);
	assert_int_equal(frame_next(b.data, b.len, &scratch, &f, &used), 0);
	assert_int_equal(f.len, 5000);
	b.data[4] = FRAME_TYPES;
	assert_int_equal(frame_next(b.data, FRAME_HEAD_BYTES, &scratch, &f, &used), ERR_CORRUPT);
	b.data[4] = FRAME_ERROR;
	b.data[5] = 2;
	assert_int_equal(frame_next(b.data, FRAME_HEAD_BYTES, &scratch, &f, &used), ERR_CORRUPT);
	b.data[5] = 1; /* says that it is compressed, and is not */
	assert_int_equal(frame_next(b.data, b.len, &scratch, &f, &used), ERR_CORRUPT);
	put_u32(b.data, FRAME_MAX + 1);
	assert_int_equal(frame_next(b.data, 4, &scratch, &f, &used), ERR_CORRUPT);
	put_u32(b.data, 1);
	assert_int_equal(frame_next(b.data, b.len, &scratch, &f, &used), ERR_CORRUPT);
	/* A compressed frame whose length lies. */
	frame_begin(&z, FRAME_ERROR, &start);
	buf_zero(&z, 5000);
	frame_end(&z, start, true);
	assert_true(z.len < 100);
	put_u32(z.data + FRAME_HEAD_BYTES, 4999);
	assert_int_equal(frame_next(z.data, z.len, &scratch, &f, &used), ERR_CORRUPT);
	put_u32(z.data + FRAME_HEAD_BYTES, 5001);
	assert_int_equal(frame_next(z.data, z.len, &scratch, &f, &used), ERR_CORRUPT);
	put_u32(z.data + FRAME_HEAD_BYTES, 5000);
	assert_int_equal(frame_next(z.data, z.len, &scratch, &f, &used), 0);
	assert_int_equal(used, z.len);
	/* Too long to send. */
	buf_reset(&b);
	frame_begin(&b, FRAME_DATA, &start);
	buf_zero(&b, FRAME_MAX);
	frame_end(&b, start, false);
	assert_int_equal(b.err, -E2BIG);
	buf_free(&b);
	buf_free(&z);
	buf_free(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello), cmocka_unit_test(records), cmocka_unit_test(gets_and_data), cmocka_unit_test(cuts_marks_errors),
		cmocka_unit_test(streams_refused), cmocka_unit_test(not_replicated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
