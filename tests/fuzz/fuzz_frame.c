/* fuzz_frame.c - what a peer of the replicator sends: a stream of any bytes, and each body by every decoder of its type. */
#include "carried.h"
#include "err.h"
#include "frame.h"
#include "fuzz.h"

static void same_entry(const struct frame_record *r, const uint8_t *p, size_t len, bool leaf)
{
	struct buf made = BUF_INIT;

	if (leaf)
		frame_put_leaf_record(&made, r);
	else
		frame_put_record(&made, r);
	fuzz_same(&made, p, len);
}

static void record_list(const struct frame *f, size_t skip, bool leaf)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_record r;
	uint32_t count;

	cursor_view(&c, skip);
	count = cursor_u32(&c);
	for (uint32_t i = 0; i < count && !c.err; i++) {
		const uint8_t *at = c.p;
		int rc = leaf ? frame_get_leaf_record(&c, &r) : frame_get_record(&c, &r);

		if (rc)
			break;
		FUZZ_ASSERT(entry_path_valid(r.path.p, r.path.len) && r.entry.dot.seq && carried_path(r.path.p, r.path.len) && carried_entry(&r.entry));
		same_entry(&r, at, (size_t)(c.p - at), leaf);
		entry_free(&r.entry);
	}
}

static void mark(const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct vector v = VECTOR_INIT;
	struct buf made = BUF_INIT;
	uint64_t position;

	if (frame_get_mark(&c, &position, &v) == 0) {
		frame_put_mark(&made, position, &v);
		fuzz_same(&made, f->body, (size_t)(c.p - f->body));
	}
	vector_free(&v);
}

static void members(const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_member m;
	unsigned count = cursor_u16(&c);

	while (count-- > 0 && frame_get_member(&c, &m) == 0)
		FUZZ_ASSERT(m.name.len <= FRAME_NAME_MAX);
}

static void small(const struct frame *f)
{
	struct buf made = BUF_INIT;
	struct frame_hello h;
	struct frame_get g;
	struct frame_data d;
	struct frame_cut k;
	struct frame_text t;
	uint16_t code;

	if (f->type == FRAME_HELLO && frame_get_hello(f, &h) == 0) {
		frame_put_hello(&made, &h);
		FUZZ_ASSERT(made.len <= f->len && memcmp(made.data, f->body, made.len) == 0);
	} else if (f->type == FRAME_GET && frame_get_get(f, &g) == 0) {
		frame_put_get(&made, &g);
		fuzz_same(&made, f->body, f->len);
	} else if (f->type == FRAME_DATA && frame_get_data(f, &d) == 0) {
		frame_put_data(&made, &d);
		fuzz_same(&made, f->body, f->len);
	} else if (f->type == FRAME_CUT && frame_get_cut(f, &k) == 0) {
		frame_put_cut(&made, &k);
		vector_free(&k.context);
		fuzz_same(&made, f->body, f->len);
	} else if (f->type == FRAME_ERROR) {
		(void)frame_get_error(f, &code, &t);
	}
	buf_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf scratch = BUF_INIT;
	uint8_t *p = fuzz_copy(data, size);
	size_t at = 0, used = 0;
	struct frame f;

	while (frame_next(p + at, size - at, &scratch, &f, &used) == 0 && used) {
		at += used;
		if (f.type == FRAME_RECORDS)
			record_list(&f, 0, false);
		else if (f.type == FRAME_LEAF)
			record_list(&f, 3, true);
		else if (f.type == FRAME_MARK)
			mark(&f);
		else if (f.type == FRAME_MEMBERS)
			members(&f);
		else
			small(&f);
	}
	buf_free(&scratch);
	free(p);
	return 0;
}
