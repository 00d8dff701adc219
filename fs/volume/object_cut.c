/*
 * object_cut.c - a cut as one object: head, data blocks, run, table, footer; and the check of a whole object.
 *
 * The parts that replay needs are last, so that the object's tail alone replays it. Stateless; scratch memory is
 * allocated per call.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "err.h"
#include "object_frame.h"
#include "run.h"

#define GRANULES_PER_BLOCK (BLOCK_BYTES / GRANULE_BYTES)
#define TABLE_BYTES_MAX (32u << 10)
#define SAMPLES 2048u /* bytes looked at before zstd is let at a block */

enum { CODEC_RAW = 0, CODEC_ZSTD = 1 };

/* Where a piece of the object is: in `made` or in the data. Only neighbours in the same place are joined, so there are at most
 * two for each block, and one at each end. */
#define PIECES_MAX (2 * SEGMENT_BLOCKS + 2)
struct piece { bool made; size_t at, len; };

struct cutter {
	const uint8_t *data;
	const bool *live;
	const uint64_t *sums; /* known ones, or NULL */
	struct object_table *t;
	struct buf *made;
	struct piece pieces[PIECES_MAX];
	size_t count;
	uint64_t bytes; /* of the object so far */
	int compress;
	uint64_t segment_id;
	ZSTD_CCtx *zstd;  /* NULL until a block is worth it */
	uint8_t *scratch; /* BLOCK_BYTES */
};

static void put_piece(struct cutter *c, bool made, size_t at, size_t len)
{
	struct piece *last = c->count ? &c->pieces[c->count - 1] : NULL;

	c->bytes += len;
	if (last && last->made == made && last->at + last->len == at)
		last->len += len;
	else
		c->pieces[c->count++] = (struct piece){ made, at, len };
}

/* What was appended to `made` since it was `from` long. */
static void put_made(struct cutter *c, size_t from)
{
	put_piece(c, true, from, c->made->len - from);
}

static bool granule_live(const struct cutter *c, uint32_t g)
{
	return !c->live || c->live[g];
}

/* Sums of a block's live granules into the table; how many there are. Only the last granule of a segment can need padding. */
static uint32_t block_sums(const struct cutter *c, uint32_t block, uint32_t len)
{
	uint32_t live = 0;

	for (uint32_t off = 0; off < len; off += GRANULE_BYTES) {
		const uint8_t *p = c->data + (size_t)block * BLOCK_BYTES + off;
		uint32_t g = block * GRANULES_PER_BLOCK + off / GRANULE_BYTES;

		if (!granule_live(c, g))
			continue;
		live++;
		if (c->sums) {
			c->t->sums[g] = c->sums[g];
			continue;
		}
		if (len - off < GRANULE_BYTES) {
			memset(c->scratch, 0, GRANULE_BYTES);
			memcpy(c->scratch, p, len - off);
			p = c->scratch;
		}
		c->t->sums[g] = object_granule_sum(c->segment_id, p);
	}
	return live;
}

/* The block as it goes on the wire: elided granules are zeros. */
static const uint8_t *block_masked(const struct cutter *c, uint32_t block, uint32_t len)
{
	const uint8_t *p = c->data + (size_t)block * BLOCK_BYTES;

	memcpy(c->scratch, p, len);
	for (uint32_t off = 0; off < len; off += GRANULE_BYTES) {
		uint32_t n = len - off < GRANULE_BYTES ? len - off : GRANULE_BYTES;

		if (!granule_live(c, block * GRANULES_PER_BLOCK + off / GRANULE_BYTES))
			memset(c->scratch + off, 0, n);
	}
	return c->scratch;
}

/*
 * Is it worth trying? Images, archives and what is encrypted have bytes of all values alike, and zstd finds nothing
 * in them but takes its time. The sum of squares of the byte counts of n samples is n * n / 256 + n when all bytes
 * are equally likely, give or take n / 11; text and database pages are at several times that. Repeats of such bytes
 * are missed here, which costs space only.
 */
static bool looks_compressible(const uint8_t *p, uint32_t len)
{
	uint16_t count[256] = { 0 };
	uint64_t squares = 0;
	uint32_t step = len / (SAMPLES / 64);

	if (len < SAMPLES * 2)
		return true;
	for (uint32_t off = 0; off + 64 <= len; off += step)
		for (uint32_t i = 0; i < 64; i++)
			count[p[off + i]]++;
	for (int i = 0; i < 256; i++)
		squares += (uint64_t)count[i] * count[i];
	return squares > (uint64_t)SAMPLES * SAMPLES / 256 * 5 / 4 + SAMPLES;
}

/* Packs the block into `made` where that saves an eighth. */
static bool block_pack(struct cutter *c, const uint8_t *p, uint32_t len, struct object_block *b)
{
	size_t room = len - len / 8 - 1, n, from = c->made->len;

	if (!c->zstd)
		c->zstd = ZSTD_createCCtx();
	if (!c->zstd) {
		c->made->err = -ENOMEM;
		return false;
	}
	if (buf_reserve(c->made, room))
		return false;
	n = ZSTD_compressCCtx(c->zstd, c->made->data + from, room, p, len, c->compress);
	if (ZSTD_isError(n))
		return false;
	b->codec = CODEC_ZSTD;
	b->stored_len = (uint32_t)n;
	c->made->len += n;
	put_made(c, from);
	return true;
}

static void put_block(struct cutter *c, uint32_t i, uint32_t len, bool holes)
{
	const uint8_t *p = holes ? block_masked(c, i, len) : c->data + (size_t)i * BLOCK_BYTES;
	struct object_block *b = &c->t->blocks[i];
	size_t from = c->made->len;

	b->offset = (uint32_t)c->bytes;
	if (c->compress && len > 64 && (holes || looks_compressible(p, len)) && block_pack(c, p, len, b))
		return;
	b->codec = CODEC_RAW;
	b->stored_len = len;
	if (!holes) {
		put_piece(c, false, (size_t)i * BLOCK_BYTES, len);
		return;
	}
	buf_bytes(c->made, p, len);
	put_made(c, from);
}

static void put_blocks(struct cutter *c, uint32_t data_len)
{
	for (uint32_t i = 0; i * BLOCK_BYTES < data_len && !c->made->err; i++) {
		uint32_t left = data_len - i * BLOCK_BYTES, len = left < BLOCK_BYTES ? left : BLOCK_BYTES;
		uint32_t live = block_sums(c, i, len);

		if (live)
			put_block(c, i, len, live < (len + GRANULE_BYTES - 1) / GRANULE_BYTES);
	}
}

/* Run, table and footer behind the data. */
static int put_tail(struct cutter *c, struct object_footer *f, const void *run, size_t run_len)
{
	struct buf *out = c->made;
	size_t from = out->len, table;
	int rc;

	f->run_offset = (uint32_t)c->bytes;
	f->run_len = (uint32_t)run_len;
	hash_blake2b(run, run_len, f->run_hash);
	buf_bytes(out, run, run_len);
	f->table_offset = f->run_offset + f->run_len;
	table = out->len;
	rc = object_table_encode(c->t, out);
	if (rc)
		return rc;
	f->table_len = (uint32_t)(out->len - table);
	hash_blake2b(out->data + table, f->table_len, f->table_hash);
	rc = object_footer_encode(f, (uint64_t)f->table_offset + f->table_len + OBJECT_FOOTER_BYTES, out);
	if (rc)
		return rc;
	put_made(c, from);
	return out->err;
}

/* The pieces with the addresses that they have now that nothing moves any more. */
static int take_pieces(const struct cutter *c, struct object_pieces *ret)
{
	struct iovec *iov = malloc(c->count * sizeof(*iov));

	if (!iov)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++) {
		const struct piece *p = &c->pieces[i];
		const uint8_t *base = p->made ? c->made->data : c->data;

		iov[i] = (struct iovec){ (uint8_t *)(uintptr_t)base + p->at, p->len };
	}
	*ret = (struct object_pieces){ .made = *c->made, .iov = iov, .count = c->count, .bytes = (size_t)c->bytes };
	return 0;
}

int object_encode_pieces(struct object_footer *f, const uint8_t *data, const bool *live, const uint64_t *sums, const void *run,
			 size_t run_len, int compress, struct object_table *t, struct object_pieces *ret)
{
	struct buf made = BUF_INIT;
	struct cutter c = { .data = data, .live = live, .sums = sums, .t = t, .made = &made, .compress = compress, .segment_id = f->segment_id };
	int rc;

	if (f->type != OBJECT_CUT || f->data_len > SEGMENT_DATA_MAX || run_len > UINT32_MAX / 2 || compress < 0)
		return -EINVAL;
	memset(t, 0, sizeof(*t));
	t->data_len = f->data_len;
	c.scratch = malloc(BLOCK_BYTES);
	rc = c.scratch ? buf_reserve(&made, OBJECT_HEAD_BYTES + run_len + TABLE_BYTES_MAX + OBJECT_FOOTER_BYTES) : -ENOMEM;
	if (!rc)
		rc = object_head_encode(f, &made);
	if (!rc) {
		put_made(&c, 0);
		put_blocks(&c, f->data_len);
		rc = made.err;
	}
	if (!rc)
		rc = put_tail(&c, f, run, run_len);
	if (!rc)
		rc = take_pieces(&c, ret);
	if (rc)
		buf_free(&made);
	ZSTD_freeCCtx(c.zstd);
	free(c.scratch);
	return rc;
}

void object_pieces_free(struct object_pieces *p)
{
	buf_free(&p->made);
	free(p->iov);
	*p = (struct object_pieces){ .iov = NULL };
}

int object_encode_cut(struct object_footer *f, const uint8_t *data, const bool *live, const void *run, size_t run_len,
		      int compress, struct object_table *t, struct buf *out)
{
	struct object_pieces p = { .iov = NULL };
	int rc = object_encode_pieces(f, data, live, NULL, run, run_len, compress, t, &p);

	if (!rc)
		rc = buf_reserve(out, p.bytes);
	for (size_t i = 0; !rc && i < p.count; i++)
		buf_bytes(out, p.iov[i].iov_base, p.iov[i].iov_len);
	object_pieces_free(&p);
	return rc;
}

/* --- a whole object --- */

static int verify_run(const void *part, size_t len)
{
	struct run_reader *r;
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc = run_reader_new(part, len, &r);

	if (rc)
		return rc;
	do
		rc = run_reader_next(r, &key, &klen, &val, &vlen);
	while (rc > 0);
	run_reader_free(r);
	return rc;
}

static int verify_blocks(const uint8_t *p, const struct object_footer *f, const struct object_table *t, uint8_t *block)
{
	uint64_t end = OBJECT_HEAD_BYTES;

	for (uint32_t i = 0; i * BLOCK_BYTES < t->data_len; i++) {
		const struct object_block *b = &t->blocks[i];
		uint32_t len;
		int rc;

		if (b->stored_len == 0)
			continue;
		end = (uint64_t)b->offset + b->stored_len;
		if (end > f->run_offset)
			return ERR_CORRUPT;
		rc = object_decode_block(t, f->segment_id, i, p + b->offset, b->stored_len, block, &len);
		if (rc)
			return rc;
	}
	return end == f->run_offset ? 0 : ERR_CORRUPT;
}

static int verify_cut(const uint8_t *p, const struct object_footer *f, struct object_table *t)
{
	uint8_t hash[HASH_BYTES], *block;
	int rc;

	hash_blake2b(p + f->table_offset, f->table_len, hash);
	if (memcmp(hash, f->table_hash, HASH_BYTES) != 0)
		return ERR_CORRUPT;
	hash_blake2b(p + f->run_offset, f->run_len, hash);
	if (memcmp(hash, f->run_hash, HASH_BYTES) != 0)
		return ERR_CORRUPT;
	rc = object_table_decode(p + f->table_offset, f->table_len, t);
	if (rc)
		return rc;
	if (t->data_len != f->data_len)
		return ERR_CORRUPT;
	rc = verify_run(p + f->run_offset, f->run_len);
	if (rc)
		return rc;
	block = malloc(BLOCK_BYTES);
	if (!block)
		return -ENOMEM;
	rc = verify_blocks(p, f, t, block);
	free(block);
	return rc;
}

int object_verify(const void *p, size_t len, struct object_footer *ret_footer, struct object_table *ret_table)
{
	struct object_footer f;
	struct object_table t;
	struct buf head = BUF_INIT;
	int rc = object_decode_footer(p, len, len, &f);

	if (rc)
		return rc;
	rc = object_head_encode(&f, &head);
	if (!rc && memcmp(head.data, p, OBJECT_HEAD_BYTES) != 0)
		rc = ERR_CORRUPT;
	buf_free(&head);
	memset(&t, 0, sizeof(t));
	if (!rc && f.type == OBJECT_CUT)
		rc = verify_cut(p, &f, &t);
	if (rc)
		return rc;
	*ret_footer = f;
	if (ret_table)
		*ret_table = t;
	return 0;
}
